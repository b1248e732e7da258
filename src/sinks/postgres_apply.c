// Mirror: the target's rows are the source's rows.
//
// A run of changes is compacted to one change per key and applied in sets: deletes, inserts by
// COPY, updates grouped by the columns they know. Sets can meet what single changes would not (two
// rows that exchange a unique value, a trigger that counts): then the whole run is taken back and
// applied change by change in the source's order, and only if that fails too it is an error.
//
// Every statement checks how many rows it touched: a row that should be there and is not means that
// the target is no mirror any more, and nobody may be left to believe it is.
#include <assert.h>

#include "sinks/postgres_sink.h"

enum { SET_ROWS_MAX = 10000 };

// ---------------------------------------------------------------------------------------------
// One change at a time
// ---------------------------------------------------------------------------------------------

typedef struct Statement {
    Buf *sql;
    const char **parameters;
    int count;
    Arena *arena;
} Statement;

static Statement new_statement(PostgresSink *sink, const Relation *relation)
{
    buf_reset(&sink->sql);
    size_t most = (size_t)relation->column_count * 2 + 1;
    return (Statement){.sql = &sink->sql,
                       .parameters = ARENA_ARRAY(&sink->scratch, const char *, most),
                       .arena = &sink->scratch};
}

static void parameter(Statement *statement, Value value)
{
    statement->parameters[statement->count++] =
        value.state == VALUE_NULL ? NULL : str_to_cstr(statement->arena, value_str(value));
    buf_printf(statement->sql, "$%d", statement->count);
}

static Status divergence(const PgTarget *target, const char *what, int64_t rows, Error *err)
{
    error_set(err, ERROR_DATA, "%s in %" STR_FMT " found %lld rows instead of one", what,
              STR_ARG(target->name), (long long)rows);
    return error_hint(err,
                      "The target's rows are not the source's: somebody else has written to the "
                      "table. Copy it anew under another --name with ?existing=truncate.");
}

static Status run_one(PostgresSink *sink, const PgTarget *target, const Statement *statement,
                      const char *what, Error *err)
{
    int64_t rows;
    if (buf_check(statement->sql, "a statement", err) != STATUS_OK ||
        postgres_run_with(sink, buf_cstring(statement->sql), statement->count,
                          statement->parameters, &rows, err) != STATUS_OK) {
        return error_wrap(err, "%s in %" STR_FMT, what, STR_ARG(target->name));
    }
    return rows == 1 ? STATUS_OK : divergence(target, what, rows, err);
}

static Status insert_one(PostgresSink *sink, const PgTarget *target, const Value *row, Error *err)
{
    const Relation *relation = target->relation;
    Statement statement = new_statement(sink, relation);
    buf_printf(statement.sql,
               "INSERT INTO %" STR_FMT " (%" STR_FMT ") OVERRIDING SYSTEM VALUE VALUES (",
               STR_ARG(target->name), STR_ARG(target->columns));
    for (uint16_t i = 0; i < relation->column_count; i++) {
        buf_cstr(statement.sql, i == 0 ? "" : ", ");
        parameter(&statement, row[i]);
    }
    buf_char(statement.sql, ')');
    return run_one(sink, target, &statement, "an insert", err);
}

// WHERE the row is: by its key, or exactly one of the rows that are equal in every column. Text is
// compared in the latter case: not every type has an equality.
static void where_row(Statement *statement, const PgTarget *target, const Value *row)
{
    const Relation *relation = target->relation;
    if (relation->key_count > 0) {
        for (uint16_t i = 0; i < relation->key_count; i++) {
            buf_cstr(statement->sql, i == 0 ? " WHERE " : " AND ");
            sql_identifier(statement->sql, relation->columns[relation->key[i]].name);
            buf_cstr(statement->sql, " = ");
            parameter(statement, row[relation->key[i]]);
        }
        return;
    }
    buf_printf(statement->sql, " WHERE ctid = (SELECT ctid FROM %" STR_FMT, STR_ARG(target->name));
    const char *before = " WHERE ";
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (value_is_known(row[i])) {
            buf_cstr(statement->sql, before);
            sql_identifier(statement->sql, relation->columns[i].name);
            buf_cstr(statement->sql, "::text IS NOT DISTINCT FROM ");
            parameter(statement, row[i]);
            buf_cstr(statement->sql, "::text");
            before = " AND ";
        }
    }
    buf_cstr(statement->sql, " LIMIT 1)");
}

static Status delete_one(PostgresSink *sink, const PgTarget *target, const Value *row, Error *err)
{
    Statement statement = new_statement(sink, target->relation);
    buf_printf(statement.sql, "DELETE FROM %" STR_FMT, STR_ARG(target->name));
    where_row(&statement, target, row);
    return run_one(sink, target, &statement, "a delete", err);
}

static Status update_one(PostgresSink *sink, const PgTarget *target, const Change *change,
                         Error *err)
{
    const Relation *relation = target->relation;
    Statement statement = new_statement(sink, relation);
    buf_printf(statement.sql, "UPDATE %" STR_FMT " SET ", STR_ARG(target->name));
    const char *before = "";
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (value_is_known(change->new_row[i])) {
            buf_cstr(statement.sql, before);
            sql_identifier(statement.sql, relation->columns[i].name);
            buf_cstr(statement.sql, " = ");
            parameter(&statement, change->new_row[i]);
            before = ", ";
        }
    }
    if (before[0] == '\0') {
        return STATUS_OK; // nothing is known to have changed
    }
    where_row(&statement, target, change->old_row != NULL ? change->old_row : change->new_row);
    return run_one(sink, target, &statement, "an update", err);
}

static Status no_identity(const PgTarget *target, const char *what, Error *err)
{
    error_set(err, ERROR_DATA, "%s of %" STR_FMT " does not say which row it means", what,
              STR_ARG(target->name));
    return error_hint(err, "ALTER TABLE … REPLICA IDENTITY FULL; on the source, or a primary key.");
}

static Status apply_one(PostgresSink *sink, const Change *change, Error *err)
{
    if (change->relation == NULL || change->op == CHANGE_SCHEMA) {
        return STATUS_OK;
    }
    const PgTarget *target = postgres_target(sink, change->relation);
    bool keyed = change->relation->key_count > 0;
    switch (change->op) {
    case CHANGE_READ:
    case CHANGE_INSERT:
        return insert_one(sink, target, change->new_row, err);
    case CHANGE_UPDATE:
        return keyed || change->old_row != NULL ? update_one(sink, target, change, err)
                                                : no_identity(target, "an update", err);
    case CHANGE_DELETE:
        return change->old_row != NULL ? delete_one(sink, target, change->old_row, err)
                                       : no_identity(target, "a delete", err);
    case CHANGE_TRUNCATE:
    case CHANGE_MESSAGE:
    case CHANGE_SCHEMA:
        break;
    }
    return STATUS_OK;
}

// Tables that were truncated together have to be truncated together: foreign keys between them.
static Status truncate(PostgresSink *sink, const Change *changes, size_t count, Error *err)
{
    buf_reset(&sink->sql);
    for (size_t i = 0; i < count; i++) {
        const PgTarget *target = postgres_target(sink, changes[i].relation);
        buf_printf(&sink->sql, "%s%" STR_FMT, i == 0 ? "TRUNCATE " : ", ", STR_ARG(target->name));
    }
    return postgres_run(sink, buf_cstring(&sink->sql), err);
}

static size_t truncates_together(const Change *changes, size_t count)
{
    size_t run = 1;
    while (run < count && changes[run].op == CHANGE_TRUNCATE &&
           changes[run].transaction == changes[0].transaction) {
        run++;
    }
    return run;
}

static Status apply_in_order(PostgresSink *sink, const Change *changes, size_t count, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (apply_one(sink, &changes[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Sets
// ---------------------------------------------------------------------------------------------

// A set is one text array a column, unnested side by side and cast to the column's own type: so the
// number of parameters does not grow with the rows.
typedef struct Set {
    PostgresSink *sink;
    const PgTarget *target;
    uint16_t *columns; // key columns first
    uint16_t column_count;
    uint16_t key_count;
    Buf *arrays;
    int64_t rows;
} Set;

static void array_element(Buf *array, Value value)
{
    buf_char(array, array->len == 0 ? '{' : ',');
    if (value.state == VALUE_NULL) {
        buf_cstr(array, "NULL");
        return;
    }
    buf_char(array, '"');
    for (uint32_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '"' || c == '\\') {
            buf_char(array, '\\');
        }
        buf_char(array, c);
    }
    buf_char(array, '"');
}

static void set_add(Set *set, const Value *row)
{
    for (uint16_t i = 0; i < set->column_count; i++) {
        array_element(&set->arrays[i], row[set->columns[i]]);
    }
    set->rows++;
}

static void set_init(Set *set, PostgresSink *sink, const PgTarget *target, const Value *shape)
{
    const Relation *relation = target->relation;
    *set = (Set){.sink = sink, .target = target, .key_count = relation->key_count};
    set->columns = ARENA_ARRAY(&sink->scratch, uint16_t, relation->column_count);
    for (uint16_t i = 0; i < relation->key_count; i++) {
        set->columns[set->column_count++] = relation->key[i];
    }
    // A delete has no shape: the key is all there is.
    for (uint16_t i = 0; shape != NULL && i < relation->column_count; i++) {
        if (!relation_is_key(relation, i) && value_is_known(shape[i])) {
            set->columns[set->column_count++] = i;
        }
    }
    set->arrays = ARENA_ARRAY(&sink->scratch, Buf, set->column_count);
    for (uint16_t i = 0; i < set->column_count; i++) {
        buf_init(&set->arrays[i], (size_t)1 << 30);
    }
}

static void set_done(Set *set)
{
    for (uint16_t i = 0; i < set->column_count; i++) {
        buf_done(&set->arrays[i]);
    }
}

static void cast_column(const Set *set, uint16_t at)
{
    buf_printf(&set->sink->sql, "u.c%u::%" STR_FMT, at,
               STR_ARG(set->target->types[set->columns[at]]));
}

static void column_name(const Set *set, uint16_t at)
{
    sql_identifier(&set->sink->sql, set->target->relation->columns[set->columns[at]].name);
}

static void unnest_and_match(const Set *set, const char *keyword)
{
    Buf *sql = &set->sink->sql;
    buf_printf(sql, " %s unnest(", keyword);
    for (uint16_t i = 0; i < set->column_count; i++) {
        buf_printf(sql, "%s$%u::text[]", i == 0 ? "" : ", ", i + 1);
    }
    buf_cstr(sql, ") AS u (");
    for (uint16_t i = 0; i < set->column_count; i++) {
        buf_printf(sql, "%sc%u", i == 0 ? "" : ", ", i);
    }
    buf_cstr(sql, ") WHERE ");
    for (uint16_t i = 0; i < set->key_count; i++) {
        buf_cstr(sql, i == 0 ? "t." : " AND t.");
        column_name(set, i);
        buf_cstr(sql, " = ");
        cast_column(set, i);
    }
}

static Status run_set(Set *set, const char *what, Error *err)
{
    const char **parameters = ARENA_ARRAY(&set->sink->scratch, const char *, set->column_count);
    for (uint16_t i = 0; i < set->column_count; i++) {
        buf_char(&set->arrays[i], '}');
        if (buf_check(&set->arrays[i], "a set of changes", err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        parameters[i] = buf_cstring(&set->arrays[i]);
    }
    int64_t rows;
    if (postgres_run_with(set->sink, buf_cstring(&set->sink->sql), set->column_count, parameters,
                          &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (rows != set->rows) {
        return error_set(err, ERROR_DATA, "%s in %" STR_FMT " found %lld rows instead of %lld",
                         what, STR_ARG(set->target->name), (long long)rows, (long long)set->rows);
    }
    return STATUS_OK;
}

static Status run_deletes(Set *set, Error *err)
{
    buf_reset(&set->sink->sql);
    buf_printf(&set->sink->sql, "DELETE FROM %" STR_FMT " AS t", STR_ARG(set->target->name));
    unnest_and_match(set, "USING");
    return run_set(set, "deletes", err);
}

static Status run_updates(Set *set, Error *err)
{
    if (set->column_count == set->key_count) {
        return STATUS_OK; // only the key is known, and it stays
    }
    buf_reset(&set->sink->sql);
    buf_printf(&set->sink->sql, "UPDATE %" STR_FMT " AS t SET ", STR_ARG(set->target->name));
    for (uint16_t i = set->key_count; i < set->column_count; i++) {
        buf_cstr(&set->sink->sql, i == set->key_count ? "" : ", ");
        column_name(set, i);
        buf_cstr(&set->sink->sql, " = ");
        cast_column(set, i);
    }
    unnest_and_match(set, "FROM");
    return run_set(set, "updates", err);
}

static bool same_shape(const Relation *relation, const Value *a, const Value *b)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (value_is_known(a[i]) != value_is_known(b[i])) {
            return false;
        }
    }
    return true;
}

// Apply the rows from @first on that have its operation and shape, up to SET_ROWS_MAX; they are
// marked.
static Status apply_set(PostgresSink *sink, const PgTarget *target, const CompactedTable *table,
                        size_t first, bool *done, Error *err)
{
    CompactedOp op = table->rows[first].op;
    Set set;
    set_init(&set, sink, target, op == COMPACTED_DELETE ? NULL : table->rows[first].row);
    for (size_t i = first; i < table->row_count && set.rows < SET_ROWS_MAX; i++) {
        const CompactedRow *row = &table->rows[i];
        bool fits = !done[i] && row->op == op &&
                    (op == COMPACTED_DELETE ||
                     same_shape(table->relation, table->rows[first].row, row->row));
        if (fits) {
            set_add(&set, row->row);
            done[i] = true;
        }
    }
    Status status = op == COMPACTED_DELETE ? run_deletes(&set, err) : run_updates(&set, err);
    set_done(&set);
    return status;
}

static Status apply_sets(PostgresSink *sink, const PgTarget *target, const CompactedTable *table,
                         CompactedOp op, Error *err)
{
    bool *done = ARENA_ARRAY(&sink->scratch, bool, table->row_count);
    for (size_t i = 0; i < table->row_count && table->count_by_op[op] > 0; i++) {
        if (table->rows[i].op == op && !done[i] &&
            apply_set(sink, target, table, i, done, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status copy_inserts(PostgresSink *sink, const PgTarget *target, const CompactedTable *table,
                           Error *err)
{
    if (table->count_by_op[COMPACTED_INSERT] == 0) {
        return STATUS_OK;
    }
    if (postgres_copy_begin(sink, target, false, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < table->row_count; i++) {
        if (table->rows[i].op == COMPACTED_INSERT &&
            (postgres_copy_row(sink, table->rows[i].row, err) != STATUS_OK ||
             postgres_copy_flush(sink, err) != STATUS_OK)) {
            return STATUS_FAIL;
        }
    }
    return postgres_copy_end(sink, err);
}

static Status apply_compacted(PostgresSink *sink, const Compacted *compacted, Error *err)
{
    // All deletes before all inserts, over all tables: a row may move from one partition to
    // another.
    for (size_t i = 0; i < compacted->table_count; i++) {
        const CompactedTable *table = &compacted->tables[i];
        if (apply_sets(sink, postgres_target(sink, table->relation), table, COMPACTED_DELETE,
                       err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    for (size_t i = 0; i < compacted->table_count; i++) {
        const CompactedTable *table = &compacted->tables[i];
        const PgTarget *target = postgres_target(sink, table->relation);
        if (copy_inserts(sink, target, table, err) != STATUS_OK ||
            apply_sets(sink, target, table, COMPACTED_UPDATE, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static bool may_work_in_order(const Error *err)
{
    return err->kind == ERROR_DATA;
}

static Status apply_folded(PostgresSink *sink, const Change *changes, const Compacted *compacted,
                           Error *err)
{
    if (compacted->table_count == 0) {
        return STATUS_OK;
    }
    Error failure = {0};
    if (postgres_run(sink, "SAVEPOINT weir", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (apply_compacted(sink, compacted, &failure) == STATUS_OK) {
        return postgres_run(sink, "RELEASE weir", err);
    }
    if (!may_work_in_order(&failure) || PQstatus(sink->conn) != CONNECTION_OK) {
        if (err != NULL) {
            *err = failure;
        }
        return STATUS_FAIL;
    }
    sink->copy.target = NULL;
    if (postgres_run(sink, "ROLLBACK TO weir; RELEASE weir", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return apply_in_order(sink, changes, compacted->consumed, err);
}

// ---------------------------------------------------------------------------------------------
// Runs
// ---------------------------------------------------------------------------------------------

// Copied rows need no folding: they go in as they come.
static Status copy_reads(PostgresSink *sink, const Change *changes, size_t count, Error *err)
{
    if (postgres_copy_begin(sink, postgres_target(sink, changes[0].relation), false, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < count; i++) {
        if (postgres_copy_row(sink, changes[i].new_row, err) != STATUS_OK ||
            postgres_copy_flush(sink, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return postgres_copy_end(sink, err);
}

static size_t reads_together(const Change *changes, size_t count)
{
    size_t run = 0;
    while (run < count && changes[run].op == CHANGE_READ &&
           changes[run].relation == changes[0].relation) {
        run++;
    }
    return run;
}

static Status apply_run(PostgresSink *sink, const Change *changes, size_t count, size_t *ret_taken,
                        Error *err)
{
    *ret_taken = reads_together(changes, count);
    if (*ret_taken > 0) {
        return copy_reads(sink, changes, *ret_taken, err);
    }
    if (changes[0].op == CHANGE_TRUNCATE) {
        *ret_taken = truncates_together(changes, count);
        return truncate(sink, changes, *ret_taken, err);
    }
    Compacted compacted;
    compact(changes, count, &sink->scratch, &compacted);
    *ret_taken = compacted.consumed;
    if (apply_folded(sink, changes, &compacted, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (compacted.barrier != NULL && compacted.barrier->op != CHANGE_TRUNCATE) {
        *ret_taken += 1;
        return apply_one(sink, compacted.barrier, err);
    }
    return STATUS_OK;
}

Status postgres_mirror(PostgresSink *sink, const Change *changes, size_t count, Error *err)
{
    for (size_t at = 0; at < count;) {
        size_t taken;
        arena_reset(&sink->scratch);
        if (apply_run(sink, changes + at, count - at, &taken, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        assert(taken > 0);
        at += taken;
    }
    return STATUS_OK;
}
