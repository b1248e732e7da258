// Tables: made, checked against what is there, and turned from one version of a relation into the
// next. DuckDB alters a table in place, inside the transaction, as long as that transaction has not
// deleted rows of it that were there before. Otherwise, and for what ALTER TABLE cannot do, the
// table is made anew from the old one's rows.
//
// mode=history never takes a column away: what was dropped stays with its values, and steps aside
// when a new column needs its name.
#include <assert.h>

#include "base/limits.h"
#include "base/mem.h"
#include "sinks/duckdb_sink.h"

#define REBUILD_TABLE  "weir_rebuild"
#define DROPPED_COLUMN "weir_dropped"

// A column that the target's table has.
typedef struct Found {
    Str name;
    Str type;
} Found;

typedef struct FoundTable {
    SqlTable name;
    bool exists;
    bool is_table;   // not a view
    bool is_made;    // by the open transaction
    bool is_changed; // rows were deleted
    Found *columns;
    size_t count;
} FoundTable;

SqlTable duck_target(const DuckSink *sink, const Relation *relation)
{
    bool is_public = str_is(relation->schema, "public");
    return (SqlTable){.catalog = sink->session.catalog,
                      .schema = is_public ? STR("main") : relation->schema,
                      .name = relation->name};
}

// DuckDB tells no apart from names that differ in ASCII's case only.
static bool same_name(Str a, Str b)
{
    for (size_t i = 0; i < a.len && a.len == b.len; i++) {
        char x = a.ptr[i];
        char y = b.ptr[i];
        x = (char)(x >= 'A' && x <= 'Z' ? x - 'A' + 'a' : x);
        y = (char)(y >= 'A' && y <= 'Z' ? y - 'A' + 'a' : y);
        if (x != y) {
            return false;
        }
    }
    return a.len == b.len;
}

static bool same_place(SqlTable a, SqlTable b)
{
    return same_name(a.schema, b.schema) && same_name(a.name, b.name);
}

static Found *find_column(const FoundTable *table, Str name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (same_name(table->columns[i].name, name)) {
            return &table->columns[i];
        }
    }
    return NULL;
}

// ---------------------------------------------------------------------------------------------
// What is there
// ---------------------------------------------------------------------------------------------

static Status inspect(DuckSink *sink, SqlTable place, Arena *arena, FoundTable *ret, Error *err)
{
    enum { COLUMN, TYPE, SCHEMA, TABLE, IS_TABLE };
    Str parameters[] = {sink->session.catalog, place.schema, place.name};
    DuckRows rows;
    buf_cstr(&sink->session.sql,
             "SELECT column_name, data_type, schema_name, table_name, CASE WHEN table_oid IN "
             "(SELECT table_oid FROM duckdb_tables() WHERE database_name = $1) THEN 't' END "
             "FROM duckdb_columns() WHERE database_name = $1 AND lower(schema_name) = lower($2) "
             "AND lower(table_name) = lower($3) ORDER BY column_index");
    if (duck_select(&sink->session, parameters, ARRAY_LEN(parameters), arena, &rows, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = (FoundTable){.name = place};
    ret->columns = ARENA_ARRAY(arena, Found, rows.row_count + 1 + LIMIT_COLUMNS);
    for (size_t i = 0; i < rows.row_count; i++) {
        const Str *row = &rows.cells[i * rows.column_count];
        if (!same_name(row[SCHEMA], place.schema) || !same_name(row[TABLE], place.name)) {
            continue; // other letters that lower() makes one
        }
        ret->exists = true;
        ret->is_table = row[IS_TABLE].ptr != NULL;
        ret->name.schema = row[SCHEMA];
        ret->name.name = row[TABLE];
        ret->columns[ret->count++] = (Found){.name = row[COLUMN], .type = row[TYPE]};
    }
    return STATUS_OK;
}

static Status has_rows(DuckSink *sink, SqlTable table, Arena *arena, bool *ret, Error *err)
{
    DuckRows rows;
    buf_cstr(&sink->session.sql, "SELECT 't' FROM ");
    sql_table_name(&sink->session.sql, table);
    buf_cstr(&sink->session.sql, " LIMIT 1");
    if (duck_select(&sink->session, NULL, 0, arena, &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = rows.row_count > 0;
    return STATUS_OK;
}

static void differ(Buf *list, const char *format, ...) PRINTF_LIKE(2, 3);

static void differ(Buf *list, const char *format, ...)
{
    char text[LIMIT_NAME_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    buf_cstr(list, list->len > 0 ? "; " : "");
    buf_cstr(list, text);
}

static void compare_column(const FoundTable *table, Str name, Str type, Buf *differences)
{
    const Found *found = find_column(table, name);
    if (found == NULL) {
        differ(differences, "column \"%" STR_FMT "\" is missing", STR_ARG(name));
    } else if (!str_equal(found->type, type)) {
        differ(differences, "column \"%" STR_FMT "\" is %" STR_FMT " and not %" STR_FMT,
               STR_ARG(name), STR_ARG(found->type), STR_ARG(type));
    }
}

// What keeps @table from taking the rows of @now, in words; empty: nothing does. @is_strict:
// somebody else made the table, so that further columns tell of a misunderstanding.
static void compare(const DuckSink *sink, const FoundTable *table, const Relation *now,
                    bool is_strict, Buf *differences)
{
    const SqlDialect *dialect = duck_dialect(sink);
    Buf type = {.max = LIMIT_NAME_BYTES};
    if (!table->is_table) {
        differ(differences, "it is not a table");
        return;
    }
    for (uint16_t i = 0; i < now->column_count; i++) {
        buf_reset(&type);
        dialect->type(&now->columns[i], &type);
        compare_column(table, now->columns[i].name, buf_view(&type), differences);
    }
    buf_done(&type);
    size_t known = now->column_count;
    for (int i = 0; i < SQL_HISTORY_COLUMN_COUNT && sink->mode == SQL_HISTORY; i++) {
        compare_column(table, str_from(sql_history_columns[i]),
                       str_from(sql_history_type(dialect, i)), differences);
        known++;
    }
    if (is_strict && table->count > known) {
        differ(differences, "it has %zu columns instead of %zu", table->count, known);
    }
}

static Status require_fit(DuckSink *sink, const FoundTable *table, const Relation *now,
                          bool is_strict, Error *err)
{
    Buf differences = {.max = ERROR_MESSAGE_MAX / 2};
    compare(sink, table, now, is_strict, &differences);
    bool fits = differences.len == 0 && !differences.overflowed;
    if (!fits) {
        error_set(err, ERROR_CONFIG,
                  "table \"%" STR_FMT ".%" STR_FMT "\" in \"%s\" does not fit \"%" STR_FMT
                  ".%" STR_FMT "\": %s",
                  STR_ARG(table->name.schema), STR_ARG(table->name.name), sink->session.path,
                  STR_ARG(now->schema), STR_ARG(now->name), buf_cstring(&differences));
        error_hint(err, "Rename or drop that table (a fitting one is made then), or use another "
                        "file.");
    }
    buf_done(&differences);
    return fits ? STATUS_OK : STATUS_FAIL;
}

// ---------------------------------------------------------------------------------------------
// Making
// ---------------------------------------------------------------------------------------------

static Status make_schema(DuckSink *sink, SqlTable table, Error *err)
{
    Buf *sql = &sink->session.sql;
    buf_cstr(sql, "CREATE SCHEMA IF NOT EXISTS ");
    sql_identifier(sql, table.catalog);
    buf_char(sql, '.');
    sql_identifier(sql, table.schema);
    return duck_run(&sink->session, NULL, err);
}

static Status create(DuckSink *sink, SqlTable table, const Relation *now, Error *err)
{
    Relation keyless = *now;
    keyless.key_count = 0; // see duckdb_sink.h
    if (now->column_count == 0 && sink->mode == SQL_MIRROR) {
        error_set(err, ERROR_CONFIG, "table \"%" STR_FMT ".%" STR_FMT "\" has no columns",
                  STR_ARG(now->schema), STR_ARG(now->name));
        return error_hint(err, "DuckDB has no such tables. Leave it out.");
    }
    if (make_schema(sink, table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sql_create_table(&sink->session.sql, duck_dialect(sink), table, &keyless, (SqlMode)sink->mode);
    return duck_run(&sink->session, NULL, err);
}

static Status adopt(DuckSink *sink, FoundTable *table, const Relation *now, Arena *arena,
                    Error *err)
{
    bool rows;
    if (require_fit(sink, table, now, true, err) != STATUS_OK ||
        has_rows(sink, table->name, arena, &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool kept = rows && sink->existing == SQL_EXISTING_KEEP;
    if (duck_note_kept(sink, now->oid, kept, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!rows || kept) {
        return STATUS_OK;
    }
    if (sink->existing == SQL_EXISTING_TRUNCATE) {
        buf_cstr(&sink->session.sql, "DELETE FROM ");
        sql_table_name(&sink->session.sql, table->name);
        table->is_changed = true;
        return duck_run(&sink->session, NULL, err);
    }
    error_set(err, ERROR_CONFIG, "table \"%" STR_FMT ".%" STR_FMT "\" in \"%s\" already has rows",
              STR_ARG(table->name.schema), STR_ARG(table->name.name), sink->session.path);
    return error_hint(err, "Empty it, use another file, or say existing=truncate (its rows are "
                           "removed) or existing=keep (rows are added beside them).");
}

static Status table_is_gone(const DuckSink *sink, const Relation *now, SqlTable place, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "table \"%" STR_FMT ".%" STR_FMT "\", which this pipeline made, is not in \"%s\"",
              STR_ARG(place.schema), STR_ARG(place.name), sink->session.path);
    return error_hint(err,
                      "Put it back, or have it copied again: DELETE FROM weir.checkpoint WHERE "
                      "pipeline = '%s' AND key = 'table:%" PRIu32 "';",
                      sink->base.context.pipeline, now->oid);
}

// ---------------------------------------------------------------------------------------------
// Altering
// ---------------------------------------------------------------------------------------------

// One step of turning a table into the next version of its relation.
typedef struct Evolution {
    DuckSink *sink;
    Arena *arena;
    FoundTable *table;
    const Relation *was;
    const Relation *now;
    const SchemaChange *changes;
    size_t count;
} Evolution;

static void alter(Evolution *step)
{
    buf_cstr(&step->sink->session.sql, "ALTER TABLE ");
    sql_table_name(&step->sink->session.sql, step->table->name);
}

static Status run(Evolution *step, Error *err)
{
    return duck_run(&step->sink->session, NULL, err);
}

static Status rename_column(Evolution *step, Found *column, Str to, Error *err)
{
    sql_rename_column(&step->sink->session.sql, step->table->name, column->name, to);
    if (run(step, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    column->name = to;
    return STATUS_OK;
}

// A column that the source has no more gives its name to one that it has.
static Status step_aside(Evolution *step, Found *column, Error *err)
{
    Str to;
    int number = 1;
    do {
        to = str_from(
            arena_printf(step->arena, "%" STR_FMT "_old%d", STR_ARG(column->name), number++));
    } while (find_column(step->table, to) != NULL);
    return rename_column(step, column, to, err);
}

// A table cannot be without columns: its last one only gets a name of nobody's here, and goes when
// others are there.
static Status drop_column(Evolution *step, Str name, Error *err)
{
    FoundTable *table = step->table;
    Found *found = find_column(table, name);
    if (found == NULL) {
        return STATUS_OK;
    }
    if (table->count == 1) {
        return rename_column(step, found, STR(DROPPED_COLUMN), err);
    }
    sql_drop_column(&step->sink->session.sql, table->name, found->name);
    size_t at = (size_t)(found - table->columns);
    memmove(found, found + 1, (table->count - at - 1) * sizeof(*found));
    table->count--;
    return run(step, err);
}

static Status drop_columns(Evolution *step, Error *err)
{
    for (size_t i = 0; i < step->count && step->sink->mode == SQL_MIRROR; i++) {
        if (step->changes[i].edit == SCHEMA_DROP_COLUMN &&
            drop_column(step, step->changes[i].was->name, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// The first half of a rename, or the second: names may be exchanged, so that every column that gets
// another one goes to a name of nobody's first.
static Status rename_half(Evolution *step, Str from, Str to, Error *err)
{
    Found *owner = find_column(step->table, to);
    if (owner != NULL && step_aside(step, owner, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Found *found = find_column(step->table, from);
    if (found == NULL) {
        return error_set(err, ERROR_CONFIG,
                         "column \"%" STR_FMT "\" is not in table \"%" STR_FMT "\" of \"%s\"",
                         STR_ARG(from), STR_ARG(step->table->name.name), step->sink->session.path);
    }
    return rename_column(step, found, to, err);
}

static Status rename_columns(Evolution *step, Error *err)
{
    for (int half = 0; half < 2; half++) {
        for (size_t i = 0; i < step->count; i++) {
            const SchemaChange *change = &step->changes[i];
            Str between = str_from(arena_printf(step->arena, "weir_rename_%zu", i));
            if (change->edit == SCHEMA_RENAME_COLUMN &&
                rename_half(step, half == 0 ? change->was->name : between,
                            half == 0 ? between : change->now->name, err) != STATUS_OK) {
                return STATUS_FAIL;
            }
        }
    }
    return STATUS_OK;
}

static bool is_integer(DuckKind kind)
{
    return kind == DUCK_SMALLINT || kind == DUCK_INTEGER || kind == DUCK_BIGINT ||
           kind == DUCK_UINTEGER;
}

// Whether DuckDB's cast gives what Postgres's assignment cast gives, for every value that it takes
// at all. Times and floats have another text; a timestamp's zone is the session's.
static bool casts_alike(DuckType was, DuckType now)
{
    bool from_number = is_integer(was.kind) || was.kind == DUCK_DECIMAL;
    bool from_text = was.kind == DUCK_VARCHAR || was.kind == DUCK_JSON;
    bool to_text = now.kind == DUCK_VARCHAR || now.kind == DUCK_JSON;
    if (from_number) {
        return is_integer(now.kind) || now.kind == DUCK_DECIMAL || now.kind == DUCK_VARCHAR;
    }
    if (was.kind == DUCK_FLOAT) {
        return now.kind == DUCK_DOUBLE;
    }
    if (was.kind == DUCK_UUID || was.kind == DUCK_BOOLEAN) {
        return now.kind == DUCK_VARCHAR;
    }
    return from_text && (to_text || is_integer(now.kind) || now.kind == DUCK_UUID);
}

// Without the default afterwards: it was for the rows that are there.
static Status add_column(Evolution *step, const Column *added, Error *err)
{
    DuckSink *sink = step->sink;
    Buf *sql = &sink->session.sql;
    Found *owner = find_column(step->table, added->name);
    if (owner != NULL && step_aside(step, owner, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    DuckType type = duck_type_of(added, sink->exact, sink->session.has_json);
    if (added->missing_value.ptr != NULL) {
        Buf literal = {.max = LIMIT_TEXT_BYTES};
        DuckParse parsed = duck_literal(type, added->missing_value, &literal);
        buf_done(&literal);
        if (parsed != DUCK_PARSE_OK) {
            return error_set(err, ERROR_DATA,
                             "column \"%" STR_FMT "\": DuckDB cannot hold its default",
                             STR_ARG(added->name));
        }
    }
    sql_add_column(sql, duck_dialect(sink), step->table->name, added);
    if (run(step, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    step->table->columns[step->table->count++] = (Found){.name = added->name};
    if (added->missing_value.ptr == NULL) {
        return STATUS_OK;
    }
    alter(step);
    buf_cstr(sql, " ALTER COLUMN ");
    sql_identifier(sql, added->name);
    buf_cstr(sql, " DROP DEFAULT");
    return run(step, err);
}

static Status cannot_convert(const Evolution *step, const SchemaChange *change, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "column \"%" STR_FMT "\" was %" STR_FMT " and is %" STR_FMT
              " now, and the values in \"%s\" cannot be converted as Postgres did",
              STR_ARG(change->now->name), STR_ARG(change->was->type_name),
              STR_ARG(change->now->type_name), step->sink->session.path);
    return error_hint(err, "Have the table copied again.");
}

// Whether every value that is there can be cast.
static Status can_cast(const Evolution *step, Str name, DuckType type, bool *ret, Error *err)
{
    DuckRows rows;
    Buf *sql = &step->sink->session.sql;
    buf_cstr(sql, "SELECT '' FROM ");
    sql_table_name(sql, step->table->name);
    buf_cstr(sql, " WHERE ");
    sql_identifier(sql, name);
    buf_cstr(sql, " IS NOT NULL AND TRY_CAST(");
    sql_identifier(sql, name);
    buf_cstr(sql, " AS ");
    duck_type_name(type, sql);
    buf_cstr(sql, ") IS NULL LIMIT 1");
    if (duck_select(&step->sink->session, NULL, 0, step->arena, &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = rows.row_count == 0;
    return STATUS_OK;
}

// What is not converted exactly is so only in an empty table: the pipeline copies a table anew when
// a type changes, and clears it first. A history stays, so its column steps aside.
static Status change_type(Evolution *step, const SchemaChange *change, Error *err)
{
    DuckSink *sink = step->sink;
    Buf *sql = &sink->session.sql;
    DuckType was = duck_type_of(change->was, sink->exact, sink->session.has_json);
    DuckType now = duck_type_of(change->now, sink->exact, sink->session.has_json);
    Found *found = find_column(step->table, change->now->name);
    bool rows = false;
    if (found == NULL ||
        (was.kind == now.kind && was.width == now.width && was.scale == now.scale)) {
        return STATUS_OK;
    }
    bool alike = casts_alike(was, now);
    if (alike && sink->mode == SQL_HISTORY &&
        can_cast(step, found->name, now, &alike, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!alike && sink->mode == SQL_HISTORY) {
        return add_column(step, change->now, err);
    }
    if (!alike && has_rows(sink, step->table->name, step->arena, &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (rows) {
        return cannot_convert(step, change, err);
    }
    alter(step);
    buf_cstr(sql, " ALTER COLUMN ");
    sql_identifier(sql, found->name);
    buf_cstr(sql, " SET DATA TYPE ");
    duck_type_name(now, sql);
    buf_cstr(sql, alike ? " USING CAST(" : " USING CAST(CAST(");
    sql_identifier(sql, found->name);
    buf_cstr(sql, alike ? " AS " : " AS VARCHAR) AS ");
    duck_type_name(now, sql);
    buf_char(sql, ')');
    return run(step, err);
}

static Status alter_columns(Evolution *step, Error *err)
{
    if (drop_columns(step, err) != STATUS_OK || rename_columns(step, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < step->count; i++) {
        if (step->changes[i].edit == SCHEMA_CHANGE_TYPE &&
            change_type(step, &step->changes[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    for (size_t i = 0; i < step->count; i++) {
        if (step->changes[i].edit == SCHEMA_ADD_COLUMN &&
            add_column(step, step->changes[i].now, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return drop_column(step, STR(DROPPED_COLUMN), err);
}

static Status rename_table(DuckSink *sink, SqlTable from, Str to, Error *err)
{
    Buf *sql = &sink->session.sql;
    buf_cstr(sql, "ALTER TABLE ");
    sql_table_name(sql, from);
    buf_cstr(sql, " RENAME TO ");
    sql_identifier(sql, to);
    return duck_run(&sink->session, NULL, err);
}

// The same rows in a table that this transaction has made, so that it may be altered at will.
static Status rebuild(DuckSink *sink, FoundTable *table, SqlTable to, Error *err)
{
    Buf *sql = &sink->session.sql;
    SqlTable between = {.catalog = to.catalog, .schema = to.schema, .name = STR(REBUILD_TABLE)};
    buf_cstr(sql, "CREATE TABLE ");
    sql_table_name(sql, between);
    buf_cstr(sql, " AS SELECT * FROM ");
    sql_table_name(sql, table->name);
    if (duck_run(&sink->session, NULL, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_cstr(sql, "DROP TABLE ");
    sql_table_name(sql, table->name);
    if (duck_run(&sink->session, NULL, err) != STATUS_OK ||
        rename_table(sink, between, to.name, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    table->name = to;
    table->is_made = true;
    return STATUS_OK;
}

static Status move_table(Evolution *step, SqlTable to, Error *err)
{
    FoundTable other;
    if (same_place(step->table->name, to)) {
        return STATUS_OK;
    }
    if (inspect(step->sink, to, step->arena, &other, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (other.exists) {
        error_set(err, ERROR_CONFIG,
                  "table \"%" STR_FMT ".%" STR_FMT "\" was renamed, and \"%s\" already has a table "
                  "\"%" STR_FMT ".%" STR_FMT "\"",
                  STR_ARG(step->was->schema), STR_ARG(step->was->name), step->sink->session.path,
                  STR_ARG(to.schema), STR_ARG(to.name));
        return error_hint(err, "Rename or drop that one in DuckDB.");
    }
    if (make_schema(step->sink, to, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!same_name(step->table->name.schema, to.schema)) {
        return rebuild(step->sink, step->table, to, err);
    }
    if (rename_table(step->sink, step->table->name, to.name, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    step->table->name = to;
    return STATUS_OK;
}

static bool alters_columns(const Evolution *step)
{
    for (size_t i = 0; i < step->count; i++) {
        SchemaEdit edit = step->changes[i].edit;
        if (edit == SCHEMA_ADD_COLUMN || edit == SCHEMA_DROP_COLUMN || edit == SCHEMA_CHANGE_TYPE) {
            return true;
        }
    }
    return false;
}

static Status evolve(DuckSink *sink, FoundTable *table, const Relation *was, const Relation *now,
                     Arena *arena, Error *err)
{
    Evolution step = {.sink = sink, .arena = arena, .table = table, .was = was, .now = now};
    SchemaChange *changes;
    step.count = relation_diff(was, now, arena, &changes);
    step.changes = changes;
    DuckTable *last = map_get_u64(&sink->tables, now->oid);
    bool must_rebuild = last != NULL && last->changed_in == sink->transaction &&
                        last->made_in != sink->transaction && alters_columns(&step);
    if (must_rebuild && rebuild(sink, table, table->name, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (move_table(&step, duck_target(sink, now), err) != STATUS_OK ||
        alter_columns(&step, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_made = table->is_made;
    if (inspect(sink, table->name, arena, table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    table->is_made = is_made;
    return require_fit(sink, table, now, false, err);
}

// ---------------------------------------------------------------------------------------------
// prepare()
// ---------------------------------------------------------------------------------------------

static Status check_names(DuckSink *sink, const Relation *relation, Error *err)
{
    SqlTable target = duck_target(sink, relation);
    if (same_name(target.name, STR(REBUILD_TABLE)) ||
        (same_name(target.schema, STR("weir")) && same_name(target.name, STR("checkpoint")))) {
        error_set(err, ERROR_CONFIG,
                  "table \"%" STR_FMT ".%" STR_FMT "\" has a name that weir needs for itself",
                  STR_ARG(relation->schema), STR_ARG(relation->name));
        return error_hint(err, "Leave the table out of the pipeline, or rename it.");
    }
    if (sql_check_columns(duck_dialect(sink), relation, (SqlMode)sink->mode, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (sink->mode == SQL_MIRROR && relation->key_count == 0) {
        for (uint16_t i = 0; i < relation->column_count; i++) {
            if (same_name(relation->columns[i].name, STR("rowid"))) {
                error_set(err, ERROR_CONFIG,
                          "table \"%" STR_FMT ".%" STR_FMT
                          "\" has no key, and its column \"rowid\" "
                          "hides the only other name that DuckDB has for a row",
                          STR_ARG(relation->schema), STR_ARG(relation->name));
                return error_hint(err, "Give the table a primary key, rename the column, or use "
                                       "mode=history.");
            }
        }
    }
    return STATUS_OK;
}

static Status shape(DuckSink *sink, const Relation *was, const Relation *now, Arena *arena,
                    FoundTable *table, Error *err)
{
    SqlTable target = duck_target(sink, now);
    bool is_ours = was != NULL || map_get_u64(&sink->ours, now->oid) != NULL;
    SqlTable place = was == NULL ? target : duck_target(sink, was);
    if (inspect(sink, place, arena, table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!table->exists) {
        if (is_ours) {
            return table_is_gone(sink, now, place, err);
        }
        if (create(sink, target, now, err) != STATUS_OK ||
            duck_note_kept(sink, now->oid, false, err) != STATUS_OK ||
            inspect(sink, target, arena, table, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        table->is_made = true;
        return STATUS_OK;
    }
    if (was != NULL && !relation_equal(was, now)) {
        return evolve(sink, table, was, now, arena, err);
    }
    return is_ours ? require_fit(sink, table, now, false, err)
                   : adopt(sink, table, now, arena, err);
}

Status duck_has(DuckSink *sink, const Relation *relation, bool *ret, Error *err)
{
    Arena arena = {0};
    FoundTable table;
    Error misfit = {0};
    Status status = inspect(sink, duck_target(sink, relation), &arena, &table, err);
    *ret = status == STATUS_OK && table.exists &&
           require_fit(sink, &table, relation, false, &misfit) == STATUS_OK;
    arena_done(&arena);
    return status;
}

static DuckType history_type(int which)
{
    switch (which) {
    case SQL_HISTORY_ORDINAL:
    case SQL_HISTORY_XID:
        return (DuckType){.kind = DUCK_BIGINT};
    case SQL_HISTORY_COMMIT_TIME:
        return (DuckType){.kind = DUCK_TIMESTAMPTZ};
    default:
        return (DuckType){.kind = DUCK_VARCHAR};
    }
}

static void remember(DuckSink *sink, const Relation *now, const FoundTable *found)
{
    DuckTable *last = map_get_u64(&sink->tables, now->oid);
    DuckTable *table = mem_alloc_zero(sizeof(*table));
    table->relation = now;
    table->target = (SqlTable){.catalog = sink->session.catalog,
                               .schema = str_copy(&table->arena, found->name.schema),
                               .name = str_copy(&table->arena, found->name.name)};
    table->column_count =
        (uint16_t)(now->column_count + (sink->mode == SQL_HISTORY ? SQL_HISTORY_COLUMN_COUNT : 0));
    table->columns = ARENA_ARRAY(&table->arena, DuckWriterColumn, table->column_count);
    for (uint16_t i = 0; i < table->column_count; i++) {
        DuckWriterColumn *column = &table->columns[i];
        int own = i - now->column_count;
        Str name = own < 0 ? now->columns[i].name : str_from(sql_history_columns[own]);
        column->name = str_copy(&table->arena, find_column(found, name)->name);
        column->type = own >= 0
                           ? history_type(own)
                           : duck_type_of(&now->columns[i], sink->exact, sink->session.has_json);
    }
    table->changed_in = found->is_changed ? sink->transaction : last == NULL ? 0 : last->changed_in;
    table->made_in = found->is_made ? sink->transaction : last == NULL ? 0 : last->made_in;
    map_put_u64(&sink->tables, now->oid, table);
    duck_table_free(last);
}

// That were not written to before.
static uint16_t count_new_columns(const DuckSink *sink, const Relation *was, const Relation *now)
{
    if (map_get_u64(&sink->ours, now->oid) == NULL) {
        return now->column_count;
    }
    bool has_more = was != NULL && now->column_count > was->column_count;
    return has_more ? (uint16_t)(now->column_count - was->column_count) : 0;
}

Status duck_prepare(DuckSink *sink, const Relation *was, const Relation *now, Error *err)
{
    Arena arena = {0};
    FoundTable found = {0};
    Status status = check_names(sink, now, err);
    if (status == STATUS_OK) {
        status =
            sql_targets_claim(&sink->targets, duck_dialect(sink), now, duck_target(sink, now), err);
    }
    if (status == STATUS_OK) {
        status = shape(sink, was, now, &arena, &found, err);
    }
    if (status == STATUS_OK) {
        status = duck_session_make_room(&sink->session, count_new_columns(sink, was, now), err);
    }
    if (status == STATUS_OK) {
        remember(sink, now, &found);
        map_put_u64(&sink->ours, now->oid, sink);
    }
    arena_done(&arena);
    return status;
}

void duck_table_free(DuckTable *table)
{
    if (table != NULL) {
        Arena arena = table->arena;
        arena_done(&arena);
        mem_free(table);
    }
}

Status duck_table_find(DuckSink *sink, const Relation *relation, DuckTable **ret, Error *err)
{
    DuckTable *table = map_get_u64(&sink->tables, relation->oid);
    if (table == NULL ||
        (table->relation != relation && !relation_equal(table->relation, relation))) {
        return error_set(err, ERROR_FATAL,
                         "a change of table \"%" STR_FMT ".%" STR_FMT
                         "\" came before the table was prepared",
                         STR_ARG(relation->schema), STR_ARG(relation->name));
    }
    *ret = table;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// weir check
// ---------------------------------------------------------------------------------------------

static void report_error(Report *report, const Error *error)
{
    report_problem(report, PROBLEM_MUST, error->hint[0] == '\0' ? NULL : error->hint, "%s",
                   error->message);
}

Status duck_check(DuckSink *sink, const Relation *relation, Report *report, Error *err)
{
    Arena arena = {0};
    FoundTable table = {0};
    Error problem = {0};
    bool rows = false;
    SqlTable target = duck_target(sink, relation);
    if (check_names(sink, relation, &problem) != STATUS_OK ||
        sql_targets_claim(&sink->targets, duck_dialect(sink), relation, target, &problem) !=
            STATUS_OK) {
        report_error(report, &problem);
    }
    bool is_ours = map_get_u64(&sink->ours, relation->oid) != NULL;
    Status status = STATUS_OK;
    if (sink->session.connection != NULL && !is_ours) {
        status = inspect(sink, target, &arena, &table, err);
    }
    if (status == STATUS_OK && table.exists &&
        require_fit(sink, &table, relation, true, &problem) != STATUS_OK) {
        report_error(report, &problem);
    } else if (status == STATUS_OK && table.exists) {
        status = has_rows(sink, table.name, &arena, &rows, err);
    }
    if (rows && sink->existing == SQL_EXISTING_FAIL) {
        report_problem(report, PROBLEM_MUST, "existing=truncate or existing=keep",
                       "table \"%" STR_FMT "\" in \"%s\" already has rows", STR_ARG(target.name),
                       sink->session.path);
    } else if (rows && sink->existing == SQL_EXISTING_TRUNCATE) {
        report_problem(report, PROBLEM_NOTE, NULL,
                       "the rows of table \"%" STR_FMT "\" in \"%s\" will be removed",
                       STR_ARG(target.name), sink->session.path);
    }
    arena_done(&arena);
    return status;
}
