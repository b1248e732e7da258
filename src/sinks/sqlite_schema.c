// Which table a relation gets: its own of before, one that somebody else made, or a new one.
#include <stdio.h>

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
    if (!table->has_rowid && sink->existing == SQL_EXISTING_KEEP) {
        return error_set(err, ERROR_CONFIG,
                         "table \"%" STR_FMT
                         "\" in \"%s\" is WITHOUT ROWID, which existing=keep cannot work with",
                         STR_ARG(table->name.name), sink->db.path);
    }
    if (!rows || sink->existing == SQL_EXISTING_KEEP) {
        return STATUS_OK;
    }
    if (sink->existing == SQL_EXISTING_TRUNCATE) {
        buf_cstr(&sink->sql, "DELETE FROM ");
        sql_table_name(&sink->sql, table->name);
        return sqlite_db_exec_buf(&sink->db, &sink->sql, err);
    }
    error_set(err, ERROR_CONFIG, "table \"%" STR_FMT "\" in \"%s\" already has rows",
              STR_ARG(table->name.name), sink->db.path);
    return error_hint(err, "Empty it, use another file, or say existing=truncate (its rows are "
                           "removed) or existing=keep (rows are added beside them).");
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
    static const char *const taken[] = {"weir_rebuild", "weir_rename", SQLITE_COPIED_TABLE,
                                        SQLITE_PLACES_TABLE};
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

static void tell(SqliteSink *sink, const char *format, ...) PRINTF_LIKE(2, 3);

static void tell(SqliteSink *sink, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (sink->base.context.notice != NULL) {
        sink->base.context.notice(sink->base.context.notice_context, text);
    }
}

// The source gave the owner's name to another table, so the owner was renamed there or dropped. Its
// rows step aside; should it still live, its next change says how it is called now.
static Status park(SqliteSink *sink, const SqlTarget *owner, SqlTable target, Arena *arena,
                   Error *err)
{
    const Relation relation = {.oid = owner->oid, .schema = owner->schema, .name = owner->name};
    SqliteFound table;
    SqliteFound other;
    SqlTable aside;
    int number = 1;
    do {
        aside.name =
            str_from(arena_printf(arena, "%" STR_FMT "_old%d", STR_ARG(target.name), number++));
        aside.schema = aside.catalog = (Str){0};
        if (sqlite_inspect(sink, aside, arena, &other, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    } while (other.exists || sql_targets_owner(&sink->targets, &sqlite_dialect, aside) != NULL);
    sqlite_table_forget(sink, owner->oid);
    if (sqlite_inspect(sink, target, arena, &table, err) != STATUS_OK ||
        (table.exists && sqlite_move_table(sink, &table, aside.name, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    tell(sink,
         "table \"%" STR_FMT ".%" STR_FMT
         "\" is another one than before: the rows of the one that had this name are in \"%" STR_FMT
         "\" now",
         STR_ARG(relation.schema), STR_ARG(relation.name), STR_ARG(aside.name));
    return sqlite_place_put(sink, &relation, aside, err);
}

// The source cannot have two tables of one name: the owner of the target had it before.
static bool has_lost_its_name(const SqlTarget *owner, const Relation *now)
{
    return owner != NULL && owner->oid != now->oid && str_equal(owner->schema, now->schema) &&
           str_equal(owner->name, now->name);
}

static Status check_relation(SqliteSink *sink, const Relation *now, SqlTable target, Error *err)
{
    if (check_name(now, target, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return sql_check_columns(&sqlite_dialect, now, (SqlMode)sink->mode, err);
}

static Status claim(SqliteSink *sink, const Relation *now, SqlTable target, Arena *arena,
                    Error *err)
{
    const SqlTarget *owner = sql_targets_owner(&sink->targets, &sqlite_dialect, target);
    if (check_relation(sink, now, target, err) != STATUS_OK ||
        (has_lost_its_name(owner, now) && park(sink, owner, target, arena, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    return sql_targets_claim(&sink->targets, &sqlite_dialect, now, target, err);
}

static Status shape(SqliteSink *sink, const Relation *was, const Relation *now, SqlTable target,
                    Arena *arena, Error *err)
{
    SqliteFound table;
    const SqlitePlace *place = sqlite_place_find(sink, now->oid);
    SqlTable at = target;
    if (place != NULL) {
        at.name = str_copy(arena, place->table);
    } else if (was != NULL) {
        at = sqlite_target(sink, was, arena);
    }
    if (sqlite_inspect(sink, at, arena, &table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!table.exists) {
        return place != NULL ? table_is_gone(sink, now, at.name, err)
                             : sqlite_create(sink, target, now, err);
    }
    if (place == NULL && was == NULL) {
        return adopt(sink, &table, now, err);
    }
    if (sqlite_require_fit(sink, &table, was == NULL ? now : was, false, err) != STATUS_OK ||
        (!str_equal(at.name, target.name) &&
         sqlite_move_table(sink, &table, target.name, err) != STATUS_OK)) {
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
    Status status = claim(sink, now, target, &arena, err);
    if (status == STATUS_OK) {
        status = shape(sink, was, now, target, &arena, err);
    }
    if (status == STATUS_OK) {
        status = pick_rowid(sink, target, &arena, &rowid, err);
    }
    if (status == STATUS_OK) {
        sqlite_table_put(sink, now, target, rowid);
        status = sqlite_place_put(sink, now, target, err);
    }
    arena_done(&arena);
    return status;
}

static void report_error(Report *report, const Error *error)
{
    report_problem(report, PROBLEM_MUST, error->hint[0] == '\0' ? NULL : error->hint, "%s",
                   error->message);
}

static void report_name(SqliteSink *sink, const Relation *relation, SqlTable target, Report *report)
{
    Error problem = {0};
    const SqlTarget *owner = sql_targets_owner(&sink->targets, &sqlite_dialect, target);
    if (check_relation(sink, relation, target, &problem) != STATUS_OK ||
        (!has_lost_its_name(owner, relation) &&
         sql_targets_claim(&sink->targets, &sqlite_dialect, relation, target, &problem) !=
             STATUS_OK)) {
        report_error(report, &problem);
    }
}

static void report_rows(const SqliteSink *sink, SqlTable target, Report *report)
{
    if (sink->existing == SQL_EXISTING_FAIL) {
        report_problem(report, PROBLEM_MUST, "existing=truncate or existing=keep",
                       "table \"%" STR_FMT "\" in \"%s\" already has rows", STR_ARG(target.name),
                       sink->db.path);
    } else if (sink->existing == SQL_EXISTING_TRUNCATE) {
        report_problem(report, PROBLEM_NOTE, NULL,
                       "the rows of table \"%" STR_FMT "\" in \"%s\" will be removed",
                       STR_ARG(target.name), sink->db.path);
    }
}

Status sqlite_check(SqliteSink *sink, const Relation *relation, Report *report, Error *err)
{
    Arena arena = {0};
    SqliteFound table = {0};
    Error problem = {0};
    bool rows = false;
    SqlTable target = sqlite_target(sink, relation, &arena);
    const SqlTarget *owner = sql_targets_owner(&sink->targets, &sqlite_dialect, target);
    Status status = STATUS_OK;
    // Not for a table of this pipeline, nor for one that would step aside.
    if (sink->db.handle != NULL && owner == NULL) {
        status = sqlite_inspect(sink, target, &arena, &table, err);
    }
    report_name(sink, relation, target, report);
    if (status == STATUS_OK && table.exists) {
        if (sqlite_require_fit(sink, &table, relation, true, &problem) != STATUS_OK) {
            report_error(report, &problem);
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
