// Which table a relation gets: its own of before, one that somebody else made, or a new one.
#include <stdio.h>

#include "io/file.h"
#include "sinks/sqlite_evolve.h"
#include "sinks/sqlite_value.h"

SqlTable sqlite_target(const SqliteSink *sink, const Relation *relation, Arena *arena)
{
    bool bare = sink->names == SQLITE_NAMES_BARE ||
                (sink->names == SQLITE_NAMES_AUTO && str_is(relation->schema, "public"));
    if (bare) {
        return (SqlTable){.name = str_copy(arena, relation->name)};
    }
    return (SqlTable){
        .name = str_from(arena_printf(arena, "%" STR_FMT ".%" STR_FMT, STR_ARG(relation->schema),
                                      STR_ARG(relation->name)))};
}

// A table that was there before this pipeline.
static Status adopt(SqliteSink *sink, const SqliteFound *table, const Relation *now, Error *err)
{
    bool rows;
    if (sqlite_require_fit(sink, table, now, true, err) != STATUS_OK ||
        sqlite_has_rows(sink, table->name, &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool kept = rows && sink->existing == SQL_EXISTING_KEEP;
    if (sqlite_note_kept(sink, now->oid, kept, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!rows || kept) {
        return STATUS_OK;
    }
    if (sink->existing == SQL_EXISTING_TRUNCATE) {
        buf_cstr(&sink->sql, "DELETE FROM ");
        sql_table_name(&sink->sql, table->name);
        return sqlite_db_exec_buf(&sink->db, &sink->sql, err);
    }
    return sql_refuse_rows(table->name, sink->db.path, err);
}

static Status table_is_gone(SqliteSink *sink, const Relation *now, Str name, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "table \"%" STR_FMT "\", which this pipeline made, is not in \"%s\"", STR_ARG(name),
              sink->db.path);
    return error_hint(err, "Put it back, or have it copied again: %s",
                      sqlite_forget_statement(sink, now));
}

static Status check_name(const Relation *relation, SqlTable target, Error *err)
{
    static const char *const taken[] = {"weir_rebuild", "weir_rename"};
    bool reserved = target.name.len >= 7 && sqlite3_strnicmp(target.name.ptr, "sqlite_", 7) == 0;
    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        reserved = reserved || sqlite_same_name(target.name, str_from(taken[i]));
    }
    if (!reserved) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG,
              "table \"%" STR_FMT ".%" STR_FMT "\" would get the name \"%" STR_FMT
              "\", which is reserved",
              STR_ARG(relation->schema), STR_ARG(relation->name), STR_ARG(target.name));
    return error_hint(err, "Say names=qualified, or leave the table out.");
}

static Status check_relation(SqliteSink *sink, const Relation *now, SqlTable target, Error *err)
{
    if (check_name(now, target, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return sql_check_columns(&sqlite_dialect, now, (SqlMode)sink->mode, err);
}

static Status move(SqliteSink *sink, SqliteFound *table, SqlTable target, Error *err)
{
    bool taken;
    if (!sqlite_same_name(table->name.name, target.name)) {
        if (sqlite_has_table(sink, target.name, &taken, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (taken) {
            error_set(err, ERROR_CONFIG,
                      "table \"%" STR_FMT
                      "\" was renamed, and \"%s\" already has a table \"%" STR_FMT "\"",
                      STR_ARG(table->name.name), sink->db.path, STR_ARG(target.name));
            return error_hint(err, "Rename or drop that one in SQLite.");
        }
    }
    return sqlite_move_table(sink, table, target.name, err);
}

static Status shape(SqliteSink *sink, const Relation *was, const Relation *now, SqlTable target,
                    Arena *arena, Error *err)
{
    SqliteFound table;
    bool is_ours = was != NULL || map_get_u64(&sink->ours, now->oid) != NULL;
    SqlTable at = was == NULL ? target : sqlite_target(sink, was, arena);
    if (sqlite_inspect(sink, at, arena, &table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!table.exists) {
        if (is_ours) {
            return table_is_gone(sink, now, at.name, err);
        }
        return sqlite_note_kept(sink, now->oid, false, err) == STATUS_OK
                   ? sqlite_create(sink, target, now, err)
                   : STATUS_FAIL;
    }
    if (!is_ours) {
        return adopt(sink, &table, now, err);
    }
    if (sqlite_require_fit(sink, &table, was == NULL ? now : was, false, err) != STATUS_OK ||
        (!str_equal(at.name, target.name) && move(sink, &table, target, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    return was == NULL || relation_equal(was, now)
               ? STATUS_OK
               : sqlite_evolve(sink, &table, was, now, arena, err);
}

// SQLite names the row id in three ways; a column of that name hides each.
static Status pick_rowid(SqliteSink *sink, SqlTable target, Arena *arena, const char **ret,
                         Error *err)
{
    static const char *const names[] = {"rowid", "_rowid_", "oid"};
    SqliteFound table;
    if (sqlite_inspect(sink, target, arena, &table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = NULL;
    for (size_t i = 0; i < ARRAY_LEN(names) && table.has_rowid && *ret == NULL; i++) {
        *ret = sqlite_found_column(&table, str_from(names[i])) == NULL ? names[i] : NULL;
    }
    return STATUS_OK;
}

Status sqlite_prepare(SqliteSink *sink, const Relation *was, const Relation *now, Error *err)
{
    Arena arena = {0};
    SqlTable target = sqlite_target(sink, now, &arena);
    const char *rowid;
    sqlite_table_forget(sink, now->oid);
    Status status = check_relation(sink, now, target, err);
    if (status == STATUS_OK) {
        status = sql_targets_claim(&sink->targets, &sqlite_dialect, now, target, err);
    }
    if (status == STATUS_OK) {
        status = shape(sink, was, now, target, &arena, err);
    }
    if (status == STATUS_OK) {
        status = pick_rowid(sink, target, &arena, &rowid, err);
    }
    if (status == STATUS_OK) {
        sqlite_table_put(sink, now, target, rowid);
        map_put_u64(&sink->ours, now->oid, sink);
    }
    arena_done(&arena);
    return status;
}

Status sqlite_has(SqliteSink *sink, const Relation *relation, bool *ret, Error *err)
{
    Arena arena = {0};
    SqliteFound table;
    Error misfit = {0};
    Status status =
        sqlite_inspect(sink, sqlite_target(sink, relation, &arena), &arena, &table, err);
    *ret = status == STATUS_OK && table.exists &&
           sqlite_require_fit(sink, &table, relation, false, &misfit) == STATUS_OK;
    arena_done(&arena);
    return status;
}

static void report_name(SqliteSink *sink, const Relation *relation, SqlTable target, Report *report)
{
    Error problem = {0};
    if (check_relation(sink, relation, target, &problem) != STATUS_OK ||
        sql_targets_claim(&sink->targets, &sqlite_dialect, relation, target, &problem) !=
            STATUS_OK) {
        report_failure(report, NULL, &problem);
    }
}

static void report_rows(const SqliteSink *sink, SqlTable target, Report *report)
{
    Error problem = {0};
    if (sink->existing == SQL_EXISTING_FAIL) {
        (void)sql_refuse_rows(target, sink->db.path, &problem);
        report_failure(report, NULL, &problem);
    } else if (sink->existing == SQL_EXISTING_TRUNCATE) {
        report_problem(report, PROBLEM_NOTE, NULL,
                       "the rows of table \"%" STR_FMT "\" in \"%s\" will be removed",
                       STR_ARG(target.name), sink->db.path);
    }
}

// With existing=keep several may fill one table.
static void claim(const SqliteSink *sink, SqlTable target, Report *report)
{
    if (sink->existing == SQL_EXISTING_KEEP) {
        return;
    }
    Arena scratch = {.chunk_size = 1024};
    Str file = file_identity(sink->db.path, &scratch);
    report_claim(report,
                 &(Claim){
                     .key = str_from(arena_printf(&scratch, "%" STR_FMT "/%" STR_FMT, STR_ARG(file),
                                                  STR_ARG(target.name))),
                     .what = str_from(arena_printf(&scratch, "table \"%" STR_FMT "\" in \"%s\"",
                                                   STR_ARG(target.name), sink->db.path)),
                     .mend = STR("Use another file, or existing=keep for each of them."),
                 });
    arena_done(&scratch);
}

Status sqlite_check(SqliteSink *sink, const Relation *relation, Report *report, Error *err)
{
    Arena arena = {0};
    SqliteFound table = {0};
    Error problem = {0};
    bool rows = false;
    SqlTable target = sqlite_target(sink, relation, &arena);
    bool is_ours = map_get_u64(&sink->ours, relation->oid) != NULL;
    Status status = STATUS_OK;
    if (sink->db.handle != NULL && !is_ours) {
        status = sqlite_inspect(sink, target, &arena, &table, err);
    }
    report_name(sink, relation, target, report);
    claim(sink, target, report);
    if (status == STATUS_OK && table.exists) {
        if (sqlite_require_fit(sink, &table, relation, true, &problem) != STATUS_OK) {
            report_failure(report, NULL, &problem);
        } else {
            status = sqlite_has_rows(sink, target, &rows, err);
        }
    }
    if (rows) {
        report_rows(sink, target, report);
    }
    arena_done(&arena);
    return status;
}
