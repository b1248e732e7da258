// Turns a table from one version of its relation into the next. DuckDB alters a table in place,
// inside the transaction, as long as that transaction has not deleted rows of it that were there
// before. Otherwise, and for what ALTER TABLE cannot do, the table is made anew from the old one's
// rows.
//
// mode=history never takes a column away: what was dropped stays with its values, and steps aside
// when a new column needs its name.
#include "base/limits.h"
#include "sinks/duckdb_table.h"

#define DROPPED_COLUMN "weir_dropped"

static bool same_place(SqlTable a, SqlTable b)
{
    return duck_same_name(a.schema, b.schema) && duck_same_name(a.name, b.name);
}

// One step of turning a table into the next version of its relation.
typedef struct Evolution {
    DuckSink *sink;
    Arena *arena;
    DuckFoundTable *table;
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

static Status rename_column(Evolution *step, DuckFound *column, Str to, Error *err)
{
    sql_rename_column(&step->sink->session.sql, step->table->name, column->name, to);
    if (run(step, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    column->name = to;
    return STATUS_OK;
}

// A column that the source has no more gives its name to one that it has.
static Status step_aside(Evolution *step, DuckFound *column, Error *err)
{
    Str to;
    int number = 1;
    do {
        to = str_from(
            arena_printf(step->arena, "%" STR_FMT "_old%d", STR_ARG(column->name), number++));
    } while (duck_find_column(step->table, to) != NULL);
    return rename_column(step, column, to, err);
}

// A table cannot be without columns: its last one only gets a name of nobody's here, and goes when
// others are there.
static Status drop_column(Evolution *step, Str name, Error *err)
{
    DuckFoundTable *table = step->table;
    DuckFound *found = duck_find_column(table, name);
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
    DuckFound *owner = duck_find_column(step->table, to);
    if (owner != NULL && step_aside(step, owner, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    DuckFound *found = duck_find_column(step->table, from);
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
    DuckFound *owner = duck_find_column(step->table, added->name);
    if (owner != NULL && step_aside(step, owner, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    DuckType type = duck_type_of(added, sink->exact, sink->session.has_json);
    if (added->missing_value.ptr != NULL) {
        Buf literal = {.max = LIMIT_TEXT_BYTES};
        DuckParse parsed = duck_literal(type, added->missing_value, &literal);
        buf_done(&literal);
        if (parsed != DUCK_PARSE_OK) {
            error_set(err, ERROR_DATA, "column \"%" STR_FMT "\": DuckDB cannot hold its default",
                      STR_ARG(added->name));
            return duck_hint_exact(type, parsed, err);
        }
    }
    sql_add_column(sql, duck_dialect(sink), step->table->name, added);
    if (run(step, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    step->table->columns[step->table->count++] = (DuckFound){.name = added->name};
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
    DuckFound *found = duck_find_column(step->table, change->now->name);
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
    if (!alike && duck_has_rows(sink, step->table->name, step->arena, &rows, err) != STATUS_OK) {
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
static Status rebuild(DuckSink *sink, DuckFoundTable *table, SqlTable to, Error *err)
{
    Buf *sql = &sink->session.sql;
    SqlTable between = {.catalog = to.catalog, .schema = to.schema, .name = STR(DUCK_REBUILT)};
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
    DuckFoundTable other;
    if (same_place(step->table->name, to)) {
        return STATUS_OK;
    }
    if (duck_inspect(step->sink, to, step->arena, &other, err) != STATUS_OK) {
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
    if (duck_make_schema(step->sink, to, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!duck_same_name(step->table->name.schema, to.schema)) {
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

Status duck_evolve(DuckSink *sink, DuckFoundTable *table, const Relation *was, const Relation *now,
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
    if (duck_inspect(sink, table->name, arena, table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    table->is_made = is_made;
    return duck_require_fit(sink, table, now, false, err);
}
