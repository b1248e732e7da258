// Tables: made from the source's relation, checked when they are there, altered with it.
#include <assert.h>

#include "sinks/postgres_sink.h"

// Types below this id are the server's own and the same everywhere (FirstNormalObjectId).
enum { FIRST_USER_OID = 16384 };

static PostgresSink *self(Sink *sink)
{
    return (PostgresSink *)sink;
}

// ---------------------------------------------------------------------------------------------
// Names and types
// ---------------------------------------------------------------------------------------------

SqlTable postgres_place(const PostgresSink *sink, const Relation *relation)
{
    SqlTable table = {.schema = relation->schema, .name = relation->name};
    for (size_t i = 0; i < sink->schemas.count; i++) {
        Str to = sink->schemas.items[i];
        Str from = to;
        Str head;
        (void)str_split(&from, ':', &head);
        if (from.ptr == NULL) {
            table.schema = to; // one schema for all
        } else if (str_equal(head, relation->schema)) {
            table.schema = from;
            return table;
        }
    }
    return table;
}

static bool target_has_type(PostgresSink *sink, Str name)
{
    static char yes, no;
    void *known = map_get(&sink->type_exists, name);
    if (known == NULL) {
        const char *parameters[] = {str_to_cstr(&sink->arena, name)};
        PgWait wait = postgres_sink_wait(sink);
        CLEANUP(pg_result_clear) PGresult *result = NULL;
        bool there = sink->conn != NULL && PQtransactionStatus(sink->conn) != PQTRANS_INERROR &&
                     pg_query(sink->conn, &wait, "SELECT to_regtype($1) IS NOT NULL", 1, parameters,
                              &result, NULL) == STATUS_OK &&
                     PQgetvalue(result, 0, 0)[0] == 't';
        known = there ? &yes : &no;
        (void)map_put(&sink->type_exists, str_from(parameters[0]), known);
    }
    return known == &yes;
}

// The source's own type where the target has it: always for the server's own types, by name for the
// user's; otherwise what is under a domain, otherwise text, which holds any value exactly.
Str postgres_type_for(PostgresSink *sink, const Column *column)
{
    bool own = column->type_oid < FIRST_USER_OID && column->type_oid != 0;
    if (own || target_has_type(sink, column->type_name)) {
        return column->type_name;
    }
    bool base_own = column->base_type_oid < FIRST_USER_OID && column->base_type_oid != 0;
    if (column->kind != TYPE_KIND_OTHER &&
        (base_own || target_has_type(sink, column->base_type_name))) {
        return column->base_type_name;
    }
    return STR("text");
}

static void print_type(const Column *column, Buf *sql)
{
    buf_str(sql, column->type_name);
}

// Types are resolved before: see with_target_types().
const SqlDialect postgres_dialect = {
    .name = "postgres",
    .type = print_type,
    .text_type = "text",
    .integer_type = "bigint",
    .time_type = "timestamp with time zone",
    .declares_not_null = true,
};

static Relation *with_target_types(PostgresSink *sink, const Relation *relation, Arena *arena)
{
    Relation *copy = relation_copy(arena, relation);
    for (uint16_t i = 0; i < copy->column_count; i++) {
        copy->columns[i].type_name = postgres_type_for(sink, &relation->columns[i]);
    }
    return copy;
}

const PgTarget *postgres_target(const PostgresSink *sink, const Relation *relation)
{
    const PgTarget *target = map_get_u64(&sink->targets, (uint64_t)(uintptr_t)relation);
    assert(target != NULL);
    return target;
}

// ---------------------------------------------------------------------------------------------
// What is there
// ---------------------------------------------------------------------------------------------

typedef struct FoundColumn {
    Str name;
    Str type;
    bool must_be_given; // NOT NULL without a default
    bool is_generated;
} FoundColumn;

typedef struct FoundTable {
    bool exists;
    FoundColumn *columns;
    size_t count;
} FoundTable;

static Status find_table(PostgresSink *sink, SqlTable table, Arena *arena, FoundTable *ret,
                         Error *err)
{
    const char *parameters[] = {str_to_cstr(arena, table.schema), str_to_cstr(arena, table.name)};
    PgWait wait = postgres_sink_wait(sink);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(sink->conn, &wait,
                 "SELECT a.attname, format_type(a.atttypid, a.atttypmod),"
                 "       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '',"
                 "       a.attgenerated <> ''"
                 "  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                 "  LEFT JOIN pg_attribute a"
                 "    ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
                 " WHERE n.nspname = $1 AND c.relname = $2 ORDER BY a.attnum",
                 2, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    size_t rows = (size_t)PQntuples(result);
    *ret = (FoundTable){.exists = rows > 0, .columns = ARENA_ARRAY(arena, FoundColumn, rows)};
    for (int i = 0; i < (int)rows; i++) {
        if (!PQgetisnull(result, i, 0)) {
            ret->columns[ret->count++] = (FoundColumn){
                .name = str_copy(arena, str_from(PQgetvalue(result, i, 0))),
                .type = str_copy(arena, str_from(PQgetvalue(result, i, 1))),
                .must_be_given = PQgetvalue(result, i, 2)[0] == 't',
                .is_generated = PQgetvalue(result, i, 3)[0] == 't',
            };
        }
    }
    return STATUS_OK;
}

static const FoundColumn *find_column(const FoundTable *found, Str name)
{
    for (size_t i = 0; i < found->count; i++) {
        if (str_equal(found->columns[i].name, name)) {
            return &found->columns[i];
        }
    }
    return NULL;
}

// What keeps the table from taking the relation: one sentence and the statement that mends it.
static bool misfit(PostgresSink *sink, const Relation *relation, SqlTable table,
                   const FoundTable *found, Buf *what, Buf *mend)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const Column *column = &relation->columns[i];
        const FoundColumn *there = find_column(found, column->name);
        if (there == NULL || there->is_generated) {
            buf_printf(what, "column \"%" STR_FMT "\" %s", STR_ARG(column->name),
                       there == NULL ? "is missing" : "is generated by the target");
            buf_cstr(mend, "ALTER TABLE ");
            sql_table_name(mend, table);
            buf_cstr(mend, there == NULL ? " ADD COLUMN " : " ALTER COLUMN ");
            sql_identifier(mend, column->name);
            if (there == NULL) {
                buf_printf(mend, " %" STR_FMT ";", STR_ARG(postgres_type_for(sink, column)));
            } else {
                buf_cstr(mend, " DROP EXPRESSION;");
            }
            return true;
        }
    }
    for (size_t i = 0; i < found->count; i++) {
        const FoundColumn *extra = &found->columns[i];
        if (relation_find_column(relation, extra->name) < 0 && extra->must_be_given) {
            buf_printf(what,
                       "column \"%" STR_FMT
                       "\" is not in the source, and has neither a default nor "
                       "room for NULL",
                       STR_ARG(extra->name));
            buf_cstr(mend, "ALTER TABLE ");
            sql_table_name(mend, table);
            buf_cstr(mend, " ALTER COLUMN ");
            sql_identifier(mend, extra->name);
            buf_cstr(mend, " DROP NOT NULL;");
            return true;
        }
    }
    return false;
}

static Status check_fit(PostgresSink *sink, const Relation *relation, SqlTable table,
                        const FoundTable *found, Error *err)
{
    CLEANUP(buf_done) Buf what;
    CLEANUP(buf_done) Buf mend;
    CLEANUP(buf_done) Buf name;
    buf_init(&what, 4096);
    buf_init(&mend, 8192);
    buf_init(&name, 4096);
    if (!misfit(sink, relation, table, found, &what, &mend)) {
        return STATUS_OK;
    }
    sql_table_name(&name, table);
    error_set(err, ERROR_CONFIG, "target table %s does not fit: %s", buf_cstring(&name),
              buf_cstring(&what));
    return error_hint(err, "%s", buf_cstring(&mend));
}

static Status has_rows(PostgresSink *sink, Str name, bool *ret, Error *err)
{
    PgWait wait = postgres_sink_wait(sink);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    const char *sql =
        arena_printf(&sink->scratch, "SELECT EXISTS (SELECT 1 FROM %" STR_FMT ")", STR_ARG(name));
    if (pg_query(sink->conn, &wait, sql, 0, NULL, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = PQgetvalue(result, 0, 0)[0] == 't';
    return STATUS_OK;
}

static Str table_text(PostgresSink *sink, SqlTable table)
{
    buf_reset(&sink->sql);
    sql_table_name(&sink->sql, table);
    return str_copy(&sink->arena, buf_view(&sink->sql));
}

// A table with rows that this pipeline did not put there.
static Status settle_existing(PostgresSink *sink, Str name, Error *err)
{
    bool rows;
    if (sink->existing == SQL_EXISTING_KEEP) {
        return STATUS_OK;
    }
    if (has_rows(sink, name, &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (rows && sink->existing == SQL_EXISTING_FAIL) {
        error_set(err, ERROR_CONFIG,
                  "target table %" STR_FMT " has rows that this pipeline did not copy",
                  STR_ARG(name));
        return error_hint(err, "Empty it, or say what to do with them: ?existing=truncate removes "
                               "them, ?existing=keep adds the source's rows beside them.");
    }
    return rows ? postgres_run(sink,
                               arena_printf(&sink->scratch, "DELETE FROM %" STR_FMT, STR_ARG(name)),
                               err)
                : STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Making and altering
// ---------------------------------------------------------------------------------------------

static Status make_schema(PostgresSink *sink, Str schema, Error *err)
{
    const char *parameters[] = {str_to_cstr(&sink->scratch, schema)};
    PgWait wait = postgres_sink_wait(sink);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    // Looked for first: CREATE SCHEMA IF NOT EXISTS wants the right to create also when it exists.
    if (pg_query(sink->conn, &wait, "SELECT 1 FROM pg_namespace WHERE nspname = $1", 1, parameters,
                 &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQntuples(result) > 0) {
        return STATUS_OK;
    }
    buf_reset(&sink->sql);
    buf_cstr(&sink->sql, "CREATE SCHEMA IF NOT EXISTS ");
    sql_identifier(&sink->sql, schema);
    return postgres_run(sink, buf_cstring(&sink->sql), err);
}

static Status make_table(PostgresSink *sink, const Relation *relation, SqlTable table, Error *err)
{
    if (make_schema(sink, table.schema, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const Relation *typed = with_target_types(sink, relation, &sink->scratch);
    buf_reset(&sink->sql);
    sql_create_table(&sink->sql, &postgres_dialect, table, typed, (SqlMode)sink->mode);
    return postgres_run(sink, buf_cstring(&sink->sql), err);
}

static void alter_type(PostgresSink *sink, SqlTable table, const Column *column)
{
    Str type = postgres_type_for(sink, column);
    buf_cstr(&sink->sql, "ALTER TABLE ");
    sql_table_name(&sink->sql, table);
    buf_cstr(&sink->sql, " ALTER COLUMN ");
    sql_identifier(&sink->sql, column->name);
    buf_printf(&sink->sql, " TYPE %" STR_FMT " USING ", STR_ARG(type));
    sql_identifier(&sink->sql, column->name);
    // Through text: whatever the two types are, a value's text is what counts.
    buf_printf(&sink->sql, "::text::%" STR_FMT, STR_ARG(type));
}

static void alter_key(PostgresSink *sink, SqlTable table, const Relation *now)
{
    // Whatever the primary key is called: it is looked up by what it is.
    buf_cstr(&sink->sql, "DO $weir$ DECLARE k text; BEGIN SELECT conname INTO k FROM pg_constraint "
                         "WHERE contype = 'p' AND conrelid = ");
    CLEANUP(buf_done) Buf name;
    buf_init(&name, 4096);
    sql_table_name(&name, table);
    sql_literal(&sink->sql, buf_view(&name));
    buf_cstr(&sink->sql, "::regclass; IF k IS NOT NULL THEN EXECUTE format('ALTER TABLE %s DROP "
                         "CONSTRAINT %I', ");
    sql_literal(&sink->sql, buf_view(&name));
    buf_cstr(&sink->sql, ", k); END IF; END $weir$; ");
    if (now->key_count > 0) {
        buf_printf(&sink->sql, "ALTER TABLE %s ADD PRIMARY KEY (", buf_cstring(&name));
        sql_column_list(&sink->sql, now, true);
        buf_char(&sink->sql, ')');
    }
}

static void rename_table(PostgresSink *sink, SqlTable from, SqlTable to)
{
    if (!str_equal(from.schema, to.schema)) {
        buf_cstr(&sink->sql, "ALTER TABLE ");
        sql_table_name(&sink->sql, from);
        buf_cstr(&sink->sql, " SET SCHEMA ");
        sql_identifier(&sink->sql, to.schema);
        buf_cstr(&sink->sql, "; ");
        from.schema = to.schema;
    }
    if (!str_equal(from.name, to.name)) {
        buf_cstr(&sink->sql, "ALTER TABLE ");
        sql_table_name(&sink->sql, from);
        buf_cstr(&sink->sql, " RENAME TO ");
        sql_identifier(&sink->sql, to.name);
    }
}

static void add_column(PostgresSink *sink, SqlTable table, const Column *column)
{
    Column typed = *column;
    typed.type_name = postgres_type_for(sink, column);
    sql_add_column(&sink->sql, &postgres_dialect, table, &typed);
    if (column->missing_value.ptr != NULL) {
        buf_cstr(&sink->sql, "; ALTER TABLE ");
        sql_table_name(&sink->sql, table);
        buf_cstr(&sink->sql, " ALTER COLUMN ");
        sql_identifier(&sink->sql, column->name);
        buf_cstr(&sink->sql, " DROP DEFAULT");
    }
}

// Names that change places (a → b, b → a): each goes through a name that nobody has.
static Str parked_name(PostgresSink *sink, const Column *column)
{
    return str_from(arena_printf(&sink->scratch, "weir_rename_%d", column->attnum));
}

static bool name_is_taken(const Relation *was, const SchemaChange *change)
{
    return relation_find_column(was, change->now->name) >= 0;
}

static Status alter(PostgresSink *sink, SqlTable from, SqlTable to, const Relation *was,
                    const Relation *now, const SchemaChange *change, Error *err)
{
    bool history = sink->mode == SQL_HISTORY;
    buf_reset(&sink->sql);
    switch (change->edit) {
    case SCHEMA_RENAME_TABLE:
        rename_table(sink, from, to);
        break;
    case SCHEMA_ADD_COLUMN:
        add_column(sink, to, change->now);
        break;
    case SCHEMA_DROP_COLUMN:
        if (!history) { // what it held is part of the history
            sql_drop_column(&sink->sql, to, change->was->name);
        }
        break;
    case SCHEMA_RENAME_COLUMN:
        sql_rename_column(&sink->sql, to, change->was->name,
                          name_is_taken(was, change) ? parked_name(sink, change->was)
                                                     : change->now->name);
        break;
    case SCHEMA_CHANGE_TYPE:
        alter_type(sink, to, change->now);
        break;
    case SCHEMA_CHANGE_KEY:
        if (!history) {
            alter_key(sink, to, now);
        }
        break;
    }
    return sink->sql.len == 0 ? STATUS_OK : postgres_run(sink, buf_cstring(&sink->sql), err);
}

static Status unpark(PostgresSink *sink, SqlTable to, const Relation *was,
                     const SchemaChange *changes, size_t count, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        const SchemaChange *change = &changes[i];
        if (change->edit != SCHEMA_RENAME_COLUMN || !name_is_taken(was, change)) {
            continue;
        }
        buf_reset(&sink->sql);
        sql_rename_column(&sink->sql, to, parked_name(sink, change->was), change->now->name);
        if (postgres_run(sink, buf_cstring(&sink->sql), err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status evolve(PostgresSink *sink, const Relation *was, const Relation *now, Error *err)
{
    SqlTable from = postgres_place(sink, was);
    SqlTable to = postgres_place(sink, now);
    SchemaChange *changes;
    size_t count = relation_diff(was, now, &sink->scratch, &changes);
    if (!str_equal(from.schema, to.schema) && make_schema(sink, to.schema, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool renamed = false;
    for (size_t i = 0; i < count; i++) {
        // Parked columns get their names before anything that comes behind the renames.
        bool behind =
            changes[i].edit > SCHEMA_RENAME_COLUMN || changes[i].edit == SCHEMA_ADD_COLUMN;
        if (behind && !renamed) {
            renamed = true;
            if (unpark(sink, to, was, changes, count, err) != STATUS_OK) {
                return STATUS_FAIL;
            }
        }
        if (alter(sink, from, to, was, now, &changes[i], err) != STATUS_OK) {
            return error_wrap(err, "alter the target's table");
        }
    }
    return renamed ? STATUS_OK : unpark(sink, to, was, changes, count, err);
}

static void remember(PostgresSink *sink, const Relation *relation, SqlTable table,
                     const FoundTable *found)
{
    PgTarget *target = arena_alloc_zero(&sink->arena, sizeof(*target));
    Str *types = ARENA_ARRAY(&sink->arena, Str, relation->column_count);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const FoundColumn *column = find_column(found, relation->columns[i].name);
        types[i] = str_copy(&sink->arena, column->type);
    }
    Str name = table_text(sink, table);
    buf_reset(&sink->sql);
    sql_column_list(&sink->sql, relation, false);
    *target = (PgTarget){
        .relation = relation,
        .table = {.schema = str_copy(&sink->arena, table.schema),
                  .name = str_copy(&sink->arena, table.name)},
        .columns = str_copy(&sink->arena, buf_view(&sink->sql)),
        .name = name,
        .types = types,
    };
    (void)map_put_u64(&sink->targets, (uint64_t)(uintptr_t)relation, target);
}

static Status bring_about(PostgresSink *sink, const Relation *was, const Relation *now,
                          SqlTable table, Error *err)
{
    FoundTable found;
    if (was != NULL) {
        return evolve(sink, was, now, err);
    }
    if (find_table(sink, table, &sink->scratch, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!found.exists) {
        return make_table(sink, now, table, err);
    }
    if (check_fit(sink, now, table, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return settle_existing(sink, table_text(sink, table), err);
}

Status postgres_prepare(Sink *base, const Relation *was, const Relation *now, Error *err)
{
    PostgresSink *sink = self(base);
    SqlTable table = postgres_place(sink, now);
    FoundTable found;
    arena_reset(&sink->scratch);
    if (sql_check_columns(&postgres_dialect, now, (SqlMode)sink->mode, err) != STATUS_OK ||
        sql_targets_claim(&sink->owners, &postgres_dialect, now, table, err) != STATUS_OK ||
        postgres_begin(sink, err) != STATUS_OK ||
        bring_about(sink, was, now, table, err) != STATUS_OK ||
        find_table(sink, table, &sink->scratch, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!found.exists) {
        error_set(err, ERROR_CONFIG,
                  "target table \"%" STR_FMT "\".\"%" STR_FMT "\" is gone: it was made by this "
                  "pipeline, and dropped by somebody else",
                  STR_ARG(table.schema), STR_ARG(table.name));
        return error_hint(err, "Start again under another --name, which copies it anew.");
    }
    if (check_fit(sink, now, table, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    remember(sink, now, table, &found);
    return STATUS_OK;
}

Status postgres_clear(Sink *base, const Relation *relation, Error *err)
{
    PostgresSink *sink = self(base);
    const PgTarget *target = postgres_target(sink, relation);
    if (postgres_begin(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const char *where = sink->mode == SQL_HISTORY ? " WHERE \"_weir_op\" = 'read'" : "";
    return postgres_run(
        sink,
        arena_printf(&sink->scratch, "DELETE FROM %" STR_FMT "%s", STR_ARG(target->name), where),
        err);
}

Status postgres_check_table(Sink *base, const Relation *relation, Report *report, Error *err)
{
    PostgresSink *sink = self(base);
    SqlTable table = postgres_place(sink, relation);
    FoundTable found;
    bool rows;
    arena_reset(&sink->scratch);
    if (find_table(sink, table, &sink->scratch, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Error problem = {0};
    if (!found.exists) {
        return STATUS_OK;
    }
    if (check_fit(sink, relation, table, &found, &problem) != STATUS_OK) {
        report_problem(report, PROBLEM_MUST, problem.hint, "%s", problem.message);
        return STATUS_OK;
    }
    Str name = table_text(sink, table);
    if (has_rows(sink, name, &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (rows && sink->existing == SQL_EXISTING_FAIL) {
        report_problem(report, PROBLEM_NOTE, NULL,
                       "target table %" STR_FMT
                       " has rows: unless this pipeline copied them, it will "
                       "be refused (see existing= of the sink)",
                       STR_ARG(name));
    }
    return STATUS_OK;
}
