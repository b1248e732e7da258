// Tables: made, and checked against what is there.
#include "sinks/duckdb_table.h"

#include "base/ascii.h"
#include "base/limits.h"
#include "base/mem.h"
#include "io/file.h"

SqlTable duck_target(const DuckSink *sink, const Relation *relation)
{
    bool is_public = str_is(relation->schema, "public");
    return (SqlTable){.catalog = sink->session.catalog,
                      .schema = is_public ? STR("main") : relation->schema,
                      .name = relation->name};
}

bool duck_same_name(Str a, Str b)
{
    for (size_t i = 0; i < a.len && a.len == b.len; i++) {
        if (ascii_to_lower(a.ptr[i]) != ascii_to_lower(b.ptr[i])) {
            return false;
        }
    }
    return a.len == b.len;
}

DuckFound *duck_find_column(const DuckFoundTable *table, Str name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (duck_same_name(table->columns[i].name, name)) {
            return &table->columns[i];
        }
    }
    return NULL;
}

// ---------------------------------------------------------------------------------------------
// What is there
// ---------------------------------------------------------------------------------------------

Status duck_inspect(DuckSink *sink, SqlTable place, Arena *arena, DuckFoundTable *ret, Error *err)
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
    *ret = (DuckFoundTable){.name = place};
    ret->columns = ARENA_ARRAY(arena, DuckFound, rows.row_count + 1 + LIMIT_COLUMNS);
    for (size_t i = 0; i < rows.row_count; i++) {
        const Str *row = &rows.cells[i * rows.column_count];
        if (!duck_same_name(row[SCHEMA], place.schema) || !duck_same_name(row[TABLE], place.name)) {
            continue; // other letters that lower() makes one
        }
        ret->exists = true;
        ret->is_table = row[IS_TABLE].ptr != NULL;
        ret->name.schema = row[SCHEMA];
        ret->name.name = row[TABLE];
        ret->columns[ret->count++] = (DuckFound){.name = row[COLUMN], .type = row[TYPE]};
    }
    return STATUS_OK;
}

Status duck_has_rows(DuckSink *sink, SqlTable table, Arena *arena, bool *ret, Error *err)
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

static void compare_column(const DuckFoundTable *table, Str name, Str type, Buf *differences)
{
    const DuckFound *found = duck_find_column(table, name);
    if (found == NULL) {
        differ(differences, "column \"%" STR_FMT "\" is missing", STR_ARG(name));
    } else if (!str_equal(found->type, type)) {
        differ(differences, "column \"%" STR_FMT "\" is %" STR_FMT " and not %" STR_FMT,
               STR_ARG(name), STR_ARG(found->type), STR_ARG(type));
    }
}

// What keeps @table from taking the rows of @now as @exact has them, in words; empty: nothing does.
// @is_strict: somebody else made the table, so that further columns tell of a misunderstanding.
static void compare(const DuckSink *sink, bool exact, const DuckFoundTable *table,
                    const Relation *now, bool is_strict, Buf *differences)
{
    const SqlDialect *dialect = duck_dialects[exact][sink->session.has_json];
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

static bool fits_as(const DuckSink *sink, bool exact, const DuckFoundTable *table,
                    const Relation *now, bool is_strict)
{
    Buf differences = {.max = ERROR_MESSAGE_MAX / 2};
    compare(sink, exact, table, now, is_strict, &differences);
    bool fits = differences.len == 0 && !differences.overflowed;
    buf_done(&differences);
    return fits;
}

// What has a table of ours copied again once it is gone.
static const char *forget_statement(const DuckSink *sink, const Relation *now, Buf *ret)
{
    sql_checkpoint_forget(ret, duck_checkpoint_table(sink), str_from(sink->base.context.pipeline),
                          now->oid);
    return buf_cstring(ret);
}

// @is_strict: it is none of ours.
static void hint_misfit(const DuckSink *sink, const DuckFoundTable *table, const Relation *now,
                        bool is_strict, Error *err)
{
    CLEANUP(buf_done) Buf hint = {.max = ERROR_MESSAGE_MAX};
    CLEANUP(buf_done) Buf forget = {.max = ERROR_MESSAGE_MAX};
    if (fits_as(sink, !sink->exact, table, now, is_strict)) {
        buf_printf(&hint, "It was made with exact=%s: say that again. Otherwise: ",
                   sink->exact ? "false" : "true");
    }
    if (is_strict) {
        buf_cstr(&hint, "Rename or drop that table (a fitting one is made then), or use another "
                        "file.");
    } else {
        buf_printf(&hint, "Drop that table, and have it copied again: %s",
                   forget_statement(sink, now, &forget));
    }
    error_set_hint(err, "%s", buf_cstring(&hint));
}

Status duck_require_fit(DuckSink *sink, const DuckFoundTable *table, const Relation *now,
                        bool is_strict, Error *err)
{
    Buf differences = {.max = ERROR_MESSAGE_MAX / 2};
    compare(sink, sink->exact, table, now, is_strict, &differences);
    bool fits = differences.len == 0 && !differences.overflowed;
    if (!fits) {
        error_set(err, ERROR_CONFIG,
                  "table \"%" STR_FMT ".%" STR_FMT "\" in \"%s\" does not fit \"%" STR_FMT
                  ".%" STR_FMT "\": %s",
                  STR_ARG(table->name.schema), STR_ARG(table->name.name), sink->session.path,
                  STR_ARG(now->schema), STR_ARG(now->name), buf_cstring(&differences));
        hint_misfit(sink, table, now, is_strict, err);
    }
    buf_done(&differences);
    return fits ? STATUS_OK : STATUS_FAIL;
}

// ---------------------------------------------------------------------------------------------
// Making
// ---------------------------------------------------------------------------------------------

Status duck_make_schema(DuckSink *sink, SqlTable table, Error *err)
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
    if (duck_make_schema(sink, table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sql_create_table(&sink->session.sql, duck_dialect(sink), table, &keyless, (SqlMode)sink->mode);
    return duck_run(&sink->session, NULL, err);
}

static Status adopt(DuckSink *sink, DuckFoundTable *table, const Relation *now, Arena *arena,
                    Error *err)
{
    bool rows;
    if (duck_require_fit(sink, table, now, true, err) != STATUS_OK ||
        duck_has_rows(sink, table->name, arena, &rows, err) != STATUS_OK) {
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
    return sql_refuse_rows(table->name, sink->session.path, err);
}

static Status table_is_gone(const DuckSink *sink, const Relation *now, SqlTable place, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "table \"%" STR_FMT ".%" STR_FMT "\", which this pipeline made, is not in \"%s\"",
              STR_ARG(place.schema), STR_ARG(place.name), sink->session.path);
    CLEANUP(buf_done) Buf forget = {.max = ERROR_MESSAGE_MAX};
    return error_hint(err, "Put it back, or have it copied again: %s",
                      forget_statement(sink, now, &forget));
}

// ---------------------------------------------------------------------------------------------
// prepare()
// ---------------------------------------------------------------------------------------------

static Status check_names(DuckSink *sink, const Relation *relation, Error *err)
{
    SqlTable target = duck_target(sink, relation);
    SqlTable checkpoint = duck_checkpoint_table(sink);
    if (duck_same_name(target.name, STR(DUCK_REBUILT)) ||
        (duck_same_name(target.schema, checkpoint.schema) &&
         duck_same_name(target.name, checkpoint.name))) {
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
            if (duck_same_name(relation->columns[i].name, STR("rowid"))) {
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
                    DuckFoundTable *table, Error *err)
{
    SqlTable target = duck_target(sink, now);
    bool is_ours = was != NULL || map_get_u64(&sink->ours, now->oid) != NULL;
    SqlTable place = was == NULL ? target : duck_target(sink, was);
    if (duck_inspect(sink, place, arena, table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!table->exists) {
        if (is_ours) {
            return table_is_gone(sink, now, place, err);
        }
        if (create(sink, target, now, err) != STATUS_OK ||
            duck_note_kept(sink, now->oid, false, err) != STATUS_OK ||
            duck_inspect(sink, target, arena, table, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        table->is_made = true;
        return STATUS_OK;
    }
    if (was != NULL && !relation_equal(was, now)) {
        return duck_evolve(sink, table, was, now, arena, err);
    }
    return is_ours ? duck_require_fit(sink, table, now, false, err)
                   : adopt(sink, table, now, arena, err);
}

Status duck_has(DuckSink *sink, const Relation *relation, bool *ret, Error *err)
{
    Arena arena = {0};
    DuckFoundTable table;
    Error misfit = {0};
    Status status = duck_inspect(sink, duck_target(sink, relation), &arena, &table, err);
    *ret = status == STATUS_OK && table.exists &&
           duck_require_fit(sink, &table, relation, false, &misfit) == STATUS_OK;
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

static void remember(DuckSink *sink, const Relation *now, const DuckFoundTable *found)
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
        column->name = str_copy(&table->arena, duck_find_column(found, name)->name);
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
    DuckFoundTable found = {0};
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

// DuckDB opens a file once, for all of its tables.
static void claim(const DuckSink *sink, Report *report)
{
    Arena scratch = {.chunk_size = 1024};
    report_claim(report,
                 &(Claim){
                     .key = file_identity(sink->session.path, &scratch),
                     .what = str_from(arena_printf(&scratch, "\"%s\"", sink->session.path)),
                     .mend = STR("Use another file: DuckDB lets one at a time write to it."),
                 });
    arena_done(&scratch);
}

Status duck_check(DuckSink *sink, const Relation *relation, Report *report, Error *err)
{
    Arena arena = {0};
    DuckFoundTable table = {0};
    Error problem = {0};
    bool rows = false;
    SqlTable target = duck_target(sink, relation);
    claim(sink, report);
    if (check_names(sink, relation, &problem) != STATUS_OK ||
        sql_targets_claim(&sink->targets, duck_dialect(sink), relation, target, &problem) !=
            STATUS_OK) {
        report_failure(report, NULL, &problem);
    }
    bool is_ours = map_get_u64(&sink->ours, relation->oid) != NULL;
    Status status = STATUS_OK;
    if (sink->session.connection != NULL && !is_ours) {
        status = duck_inspect(sink, target, &arena, &table, err);
    }
    if (status == STATUS_OK && table.exists &&
        duck_require_fit(sink, &table, relation, true, &problem) != STATUS_OK) {
        report_failure(report, NULL, &problem);
    } else if (status == STATUS_OK && table.exists) {
        status = duck_has_rows(sink, table.name, &arena, &rows, err);
    }
    if (rows && sink->existing == SQL_EXISTING_FAIL) {
        (void)sql_refuse_rows(table.name, sink->session.path, &problem);
        report_failure(report, NULL, &problem);
    } else if (rows && sink->existing == SQL_EXISTING_TRUNCATE) {
        report_problem(report, PROBLEM_NOTE, NULL,
                       "the rows of table \"%" STR_FMT "\" in \"%s\" will be removed",
                       STR_ARG(target.name), sink->session.path);
    }
    arena_done(&arena);
    return status;
}
