// Tables: altered as the source's were, in the transaction that writes the first row of the new
// shape.
//
// mode=history never takes a column away: what was dropped stays with its values, and steps aside
// when its name is needed again.
#include "sinks/postgres_sink.h"

typedef struct Evolution {
    PostgresSink *sink;
    SqlTable table; // under its new name
    const Relation *was;
    const Relation *now;
    bool history;
} Evolution;

static Status look(const Evolution *step, PgFoundTable *ret, Error *err)
{
    return postgres_session_find(&step->sink->session, step->table, &step->sink->scratch, ret, err);
}

static Buf *alter_table(const Evolution *step)
{
    Buf *sql = &step->sink->sql;
    buf_reset(sql);
    buf_cstr(sql, "ALTER TABLE ");
    sql_table_name(sql, step->table);
    return sql;
}

static Status rename_column(const Evolution *step, Str from, Str to, Error *err)
{
    buf_reset(&step->sink->sql);
    sql_rename_column(&step->sink->sql, step->table, from, to);
    return postgres_run_buf(step->sink, err);
}

// A column that the source has no more gives its name to one that it has.
static Status step_aside(const Evolution *step, Str name, Error *err)
{
    PgFoundTable found;
    if (look(step, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (postgres_find_column(&found, name) == NULL) {
        return STATUS_OK;
    }
    Str to;
    int number = 1;
    do {
        to = str_from(
            arena_printf(&step->sink->scratch, "%" STR_FMT "_old%d", STR_ARG(name), number++));
    } while (postgres_find_column(&found, to) != NULL);
    return rename_column(step, name, to, err);
}

// ---------------------------------------------------------------------------------------------
// One edit each
// ---------------------------------------------------------------------------------------------

// An index that is in the way when the table moves: one of its own, whose name is taken where it
// goes, or one that has the name that the table gets. Its new name is free in both schemas.
static const char blocking_index[] =
    "SELECT format('ALTER INDEX %I.%I RENAME TO %I', n.nspname, c.relname, free.name)"
    "  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    "  LEFT JOIN pg_index i ON i.indexrelid = c.oid"
    "  LEFT JOIN pg_class t ON t.oid = i.indrelid, LATERAL ("
    "    SELECT start.name || '_' || number AS name FROM generate_series(1, 999) AS number, ("
    "      SELECT left(c.relname, length) AS name FROM generate_series(0, 59) AS length"
    "       WHERE octet_length(left(c.relname, length)) <= 59 ORDER BY length DESC LIMIT 1) start"
    "     WHERE NOT EXISTS ("
    "       SELECT FROM pg_class o JOIN pg_namespace s ON s.oid = o.relnamespace"
    "        WHERE o.relname = start.name || '_' || number AND s.nspname IN (n.nspname, $3))"
    "     ORDER BY number LIMIT 1) free"
    " WHERE c.relkind IN ('i', 'I')"
    "   AND (n.nspname = $3 AND c.relname = $4"
    "     OR n.nspname = $1 AND t.relname = $2 AND $1 <> $3 AND EXISTS ("
    "       SELECT FROM pg_class o JOIN pg_namespace s ON s.oid = o.relnamespace"
    "        WHERE s.nspname = $3 AND o.relname = c.relname))"
    " LIMIT 1";

static Status make_way(const Evolution *step, SqlTable from, Error *err)
{
    Arena *scratch = &step->sink->scratch;
    const char *parameters[] = {str_to_cstr(scratch, from.schema), str_to_cstr(scratch, from.name),
                                str_to_cstr(scratch, step->table.schema),
                                str_to_cstr(scratch, step->table.name)};
    for (;;) {
        CLEANUP(pg_result_clear) PGresult *result = NULL;
        if (postgres_query(step->sink, blocking_index, 4, parameters, &result, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (PQntuples(result) == 0) {
            return STATUS_OK;
        }
        if (postgres_run(step->sink, pg_value(result, 0, 0), err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
}

static Status rename_table(Evolution *step, Str to, Error *err)
{
    Buf *sql = alter_table(step);
    buf_cstr(sql, " RENAME TO ");
    sql_identifier(sql, to);
    step->table.name = to;
    return postgres_run_buf(step->sink, err);
}

static Status set_schema(Evolution *step, Str to, Error *err)
{
    if (postgres_session_make_schema(&step->sink->session, to, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Buf *sql = alter_table(step);
    buf_cstr(sql, " SET SCHEMA ");
    sql_identifier(sql, to);
    step->table.schema = to;
    return postgres_run_buf(step->sink, err);
}

static Status move_table(Evolution *step, SqlTable from, Error *err)
{
    SqlTable to = step->table;
    bool other_schema = !str_equal(from.schema, to.schema);
    bool other_name = !str_equal(from.name, to.name);
    if (make_way(step, from, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    step->table = from;
    if (other_schema && other_name) {
        // Its old name may be taken in the new schema, and its new one in the old.
        Str parked =
            str_from(arena_printf(&step->sink->scratch, "weir_rename_%" PRIu32, step->now->oid));
        if (rename_table(step, parked, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    if (other_schema && set_schema(step, to.schema, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return other_name ? rename_table(step, to.name, err) : STATUS_OK;
}

static Status drop_column(const Evolution *step, const Column *column, Error *err)
{
    PgFoundTable found;
    if (step->history) {
        return STATUS_OK; // what it held is part of the history
    }
    if (look(step, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (postgres_find_column(&found, column->name) == NULL) {
        return STATUS_OK;
    }
    buf_reset(&step->sink->sql);
    sql_drop_column(&step->sink->sql, step->table, column->name);
    return postgres_run_buf(step->sink, err);
}

// Somebody was faster than the source: the column is there already. The rows that are there get
// what they read in the source.
static Status adopt_column(const Evolution *step, const Column *column, Error *err)
{
    if (column->missing_value.ptr == NULL) {
        return STATUS_OK;
    }
    Buf *sql = &step->sink->sql;
    buf_reset(sql);
    buf_cstr(sql, "UPDATE ");
    sql_table_name(sql, step->table);
    buf_cstr(sql, " SET ");
    sql_identifier(sql, column->name);
    buf_cstr(sql, " = ");
    sql_literal(sql, column->missing_value);
    return postgres_run_buf(step->sink, err);
}

static Status add_column(const Evolution *step, const Column *column, Error *err)
{
    PgFoundTable found;
    if (step->history && step_aside(step, column->name, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (look(step, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const PgFoundColumn *there = postgres_find_column(&found, column->name);
    if (there != NULL && postgres_type_fits(step->sink, column, there)) {
        return adopt_column(step, column, err);
    }
    Column typed = *column;
    typed.type_name = postgres_type_for(step->sink, column);
    buf_reset(&step->sink->sql);
    sql_add_column(&step->sink->sql, &postgres_dialect, step->table, &typed);
    if (postgres_run_buf(step->sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (column->missing_value.ptr == NULL) {
        return STATUS_OK;
    }
    // The default was for the rows that are there.
    Buf *sql = alter_table(step);
    buf_cstr(sql, " ALTER COLUMN ");
    sql_identifier(sql, column->name);
    buf_cstr(sql, " DROP DEFAULT");
    return postgres_run_buf(step->sink, err);
}

static Status convert_column(const Evolution *step, const SchemaChange *change, Error *err)
{
    Str type = postgres_type_for(step->sink, change->now);
    Buf *sql = alter_table(step);
    buf_cstr(sql, " ALTER COLUMN ");
    sql_identifier(sql, change->now->name);
    buf_cstr(sql, " TYPE ");
    buf_str(sql, type);
    if (change->was->base_type_oid != change->now->base_type_oid) {
        // Through text: whatever the two types are, a value's text is what counts.
        buf_cstr(sql, " USING ");
        sql_identifier(sql, change->now->name);
        buf_cstr(sql, "::text::");
        buf_str(sql, type);
    }
    return postgres_run_buf(step->sink, err);
}

// A mirror is empty when a type changes, for it is copied anew. A history keeps its rows: where
// they cannot be converted, the column stays as it was, under another name.
static Status change_type(const Evolution *step, const SchemaChange *change, Error *err)
{
    if (!step->history) {
        return convert_column(step, change, err);
    }
    if (postgres_run(step->sink, "SAVEPOINT weir_type", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Error failure = {0};
    if (convert_column(step, change, &failure) == STATUS_OK) {
        return postgres_run(step->sink, "RELEASE weir_type", err);
    }
    if (failure.kind != ERROR_DATA && failure.kind != ERROR_CONFIG) {
        *err = failure;
        return STATUS_FAIL;
    }
    if (postgres_run(step->sink, "ROLLBACK TO weir_type; RELEASE weir_type", err) != STATUS_OK ||
        step_aside(step, change->now->name, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Column added = *change->now;
    added.missing_value = (Str){0};
    return add_column(step, &added, err);
}

// ---------------------------------------------------------------------------------------------
// All of them
// ---------------------------------------------------------------------------------------------

// A name that nobody has, on the way from a to b while b is on its way elsewhere.
static Str parked_name(const Evolution *step, const Column *column)
{
    return str_from(arena_printf(&step->sink->scratch, "weir_rename_%d", column->attnum));
}

static bool is_parked(const Evolution *step, const SchemaChange *change)
{
    return change->edit == SCHEMA_RENAME_COLUMN &&
           relation_find_column(step->was, change->now->name) >= 0;
}

static Status rename_or_park(const Evolution *step, const SchemaChange *change, Error *err)
{
    if (is_parked(step, change)) {
        return rename_column(step, change->was->name, parked_name(step, change->was), err);
    }
    if (step->history && step_aside(step, change->now->name, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return rename_column(step, change->was->name, change->now->name, err);
}

static Status unpark(const Evolution *step, const SchemaChange *changes, size_t count, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_parked(step, &changes[i])) {
            continue;
        }
        // Every column with a rename has left its name: one that is still there was dropped.
        if ((step->history && step_aside(step, changes[i].now->name, err) != STATUS_OK) ||
            rename_column(step, parked_name(step, changes[i].was), changes[i].now->name, err) !=
                STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static bool anything_relaxed(const Evolution *step)
{
    for (uint16_t i = 0; i < step->now->column_count; i++) {
        const Column *now = &step->now->columns[i];
        int was = now->attnum > 0 ? relation_find_attnum(step->was, now->attnum)
                                  : relation_find_column(step->was, now->name);
        if (was >= 0 && step->was->columns[was].not_null && !now->not_null) {
            return true;
        }
    }
    return false;
}

// What became nullable in the source. The other way round nothing happens: changes from before may
// still come, with NULL.
static Status relax(const Evolution *step, Error *err)
{
    PgFoundTable found;
    if (step->history || !anything_relaxed(step)) {
        return STATUS_OK;
    }
    if (look(step, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (uint16_t i = 0; i < step->now->column_count; i++) {
        const Column *now = &step->now->columns[i];
        const PgFoundColumn *there = postgres_find_column(&found, now->name);
        if (now->not_null || relation_is_key(step->now, i) || there == NULL || !there->not_null) {
            continue;
        }
        Buf *sql = alter_table(step);
        buf_cstr(sql, " ALTER COLUMN ");
        sql_identifier(sql, now->name);
        buf_cstr(sql, " DROP NOT NULL");
        if (postgres_run_buf(step->sink, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status alter(Evolution *step, const SchemaChange *change, Error *err)
{
    switch (change->edit) {
    case SCHEMA_RENAME_TABLE:
        return move_table(step, postgres_place(step->sink, step->was), err);
    case SCHEMA_ADD_COLUMN:
        return add_column(step, change->now, err);
    case SCHEMA_DROP_COLUMN:
        return drop_column(step, change->was, err);
    case SCHEMA_RENAME_COLUMN:
        return rename_or_park(step, change, err);
    case SCHEMA_CHANGE_TYPE:
        return change_type(step, change, err);
    case SCHEMA_CHANGE_KEY:
        return step->history ? STATUS_OK
                             : postgres_set_key(step->sink, step->table, step->now, err);
    }
    return STATUS_OK;
}

static bool comes_behind_renames(SchemaEdit edit)
{
    return edit == SCHEMA_CHANGE_TYPE || edit == SCHEMA_ADD_COLUMN || edit == SCHEMA_CHANGE_KEY;
}

static Status alter_all(Evolution *step, const SchemaChange *changes, size_t count, Error *err)
{
    size_t at = 0;
    for (; at < count && !comes_behind_renames(changes[at].edit); at++) {
        if (alter(step, &changes[at], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    if (unpark(step, changes, count, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (; at < count; at++) {
        if (alter(step, &changes[at], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return relax(step, err);
}

Status postgres_evolve(PostgresSink *sink, const Relation *was, const Relation *now, Error *err)
{
    Evolution step = {.sink = sink,
                      .table = postgres_place(sink, now),
                      .was = was,
                      .now = now,
                      .history = sink->mode == SQL_HISTORY};
    SchemaChange *changes;
    size_t count = relation_diff(was, now, &sink->scratch, &changes);
    if (alter_all(&step, changes, count, err) != STATUS_OK) {
        return error_wrap(err, "alter the target's table");
    }
    return STATUS_OK;
}
