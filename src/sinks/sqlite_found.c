#include "sinks/sqlite_found.h"

#include <stdio.h>

#include "base/limits.h"

bool sqlite_same_name(Str a, Str b)
{
    return a.len == b.len && sqlite3_strnicmp(a.ptr, b.ptr, (int)a.len) == 0;
}

Status sqlite_query(SqliteSink *sink, const char *sql, Str parameter, sqlite3_stmt **ret,
                    Error *err)
{
    buf_cstr(&sink->sql, sql);
    if (sqlite_db_prepare(&sink->db, &sink->sql, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sqlite_db_bind_text(*ret, 1, parameter);
    return STATUS_OK;
}

Status sqlite_has_table(SqliteSink *sink, Str name, bool *ret, Error *err)
{
    CLEANUP(sqlite_db_finalize) sqlite3_stmt *statement = NULL;
    const char *sql = "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' "
                      "AND name = ?1 COLLATE NOCASE";
    if (sqlite_query(sink, sql, name, &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return sqlite_db_step(&sink->db, statement, ret, err);
}

static Status look_up(SqliteSink *sink, SqliteFound *table, Error *err)
{
    CLEANUP(sqlite_db_finalize) sqlite3_stmt *statement = NULL;
    const char *sql =
        "SELECT type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE";
    bool row;
    if (sqlite_query(sink, sql, table->name.name, &statement, err) != STATUS_OK ||
        sqlite_db_step(&sink->db, statement, &row, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    table->exists = row;
    table->is_table = row && str_is(sqlite_db_column(statement, 0), "table");
    table->has_rowid = row && sqlite3_column_int(statement, 1) == 0;
    return STATUS_OK;
}

static Status look_at_columns(SqliteSink *sink, SqliteFound *table, Arena *arena, Error *err)
{
    enum { NAME, TYPE, REQUIRED, KEY, HIDDEN };
    CLEANUP(sqlite_db_finalize) sqlite3_stmt *statement = NULL;
    const char *sql = "SELECT name, type, \"notnull\" AND dflt_value IS NULL, pk, hidden FROM "
                      "pragma_table_xinfo(?1)";
    if (sqlite_query(sink, sql, table->name.name, &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    size_t capacity = (size_t)sqlite3_limit(sink->db.handle, SQLITE_LIMIT_COLUMN, -1);
    table->columns = ARENA_ARRAY(arena, SqliteColumn, capacity);
    for (;;) {
        bool row;
        if (sqlite_db_step(&sink->db, statement, &row, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (!row) {
            return STATUS_OK;
        }
        // A generated column is its owner's business: we neither write nor carry it.
        if (sqlite3_column_int(statement, HIDDEN) != 0 || table->count == capacity) {
            continue;
        }
        SqliteColumn *column = &table->columns[table->count++];
        column->name = str_copy(arena, sqlite_db_column(statement, NAME));
        column->declared = str_copy(arena, sqlite_db_column(statement, TYPE));
        column->affinity = sqlite_affinity(column->declared);
        column->required = sqlite3_column_int(statement, REQUIRED) != 0;
        column->in_key = sqlite3_column_int(statement, KEY) > 0;
        column->now = -1;
        table->key_count += column->in_key ? 1 : 0;
    }
}

Status sqlite_inspect(SqliteSink *sink, SqlTable name, Arena *arena, SqliteFound *ret, Error *err)
{
    *ret = (SqliteFound){.name = name};
    if (look_up(sink, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return ret->exists ? look_at_columns(sink, ret, arena, err) : STATUS_OK;
}

SqliteColumn *sqlite_found_column(const SqliteFound *table, Str name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (sqlite_same_name(table->columns[i].name, name)) {
            return &table->columns[i];
        }
    }
    return NULL;
}

bool sqlite_is_history_column(Str name)
{
    for (int i = 0; i < SQL_HISTORY_COLUMN_COUNT; i++) {
        if (sqlite_same_name(name, str_from(sql_history_columns[i]))) {
            return true;
        }
    }
    return false;
}

Status sqlite_has_rows(SqliteSink *sink, SqlTable table, bool *ret, Error *err)
{
    CLEANUP(sqlite_db_finalize) sqlite3_stmt *statement = NULL;
    buf_cstr(&sink->sql, "SELECT 1 FROM ");
    sql_table_name(&sink->sql, table);
    buf_cstr(&sink->sql, " LIMIT 1");
    if (sqlite_db_prepare(&sink->db, &sink->sql, &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return sqlite_db_step(&sink->db, statement, ret, err);
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

static void compare_columns(const SqliteFound *table, const Relation *relation, Buf *differences)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const Column *column = &relation->columns[i];
        const SqliteColumn *found = sqlite_found_column(table, column->name);
        if (found == NULL) {
            differ(differences, "column \"%" STR_FMT "\" is missing", STR_ARG(column->name));
        } else if (!sqlite_type_fits(found->declared, column)) {
            differ(differences,
                   "column \"%" STR_FMT "\" of type \"%" STR_FMT "\" cannot hold %" STR_FMT,
                   STR_ARG(column->name), STR_ARG(found->declared), STR_ARG(column->type_name));
        }
    }
}

// Columns that the relation does not have.
static void compare_others(const SqliteFound *table, const Relation *relation, bool is_strict,
                           Buf *differences)
{
    for (size_t i = 0; i < table->count; i++) {
        const SqliteColumn *found = &table->columns[i];
        bool known = relation_find_column(relation, found->name) >= 0;
        for (uint16_t k = 0; k < relation->column_count && !known; k++) {
            known = sqlite_same_name(relation->columns[k].name, found->name);
        }
        if (!known && (is_strict || found->required)) {
            differ(differences, "column \"%" STR_FMT "\" is not in the source",
                   STR_ARG(found->name));
        }
    }
}

static bool same_key(const SqliteFound *table, const Relation *relation)
{
    if (table->key_count != relation->key_count) {
        return false;
    }
    for (uint16_t i = 0; i < relation->key_count; i++) {
        const SqliteColumn *found =
            sqlite_found_column(table, relation->columns[relation->key[i]].name);
        if (found == NULL || !found->in_key) {
            return false;
        }
    }
    return true;
}

// What keeps @table from taking the rows of @relation, in words; empty: nothing does.
static void compare(const SqliteSink *sink, const SqliteFound *table, const Relation *relation,
                    bool is_strict, Buf *differences)
{
    if (!table->is_table) {
        differ(differences, "it is not a plain table");
        return;
    }
    compare_columns(table, relation, differences);
    if (sink->mode == SQL_MIRROR) {
        compare_others(table, relation, is_strict, differences);
        if (!same_key(table, relation)) {
            Buf key = {.max = LIMIT_NAME_BYTES};
            sql_column_list(&key, relation, true);
            differ(differences, "its primary key is not (%s)", buf_cstring(&key));
            buf_done(&key);
        }
        return;
    }
    for (int i = 0; i < SQL_HISTORY_COLUMN_COUNT; i++) {
        if (sqlite_found_column(table, str_from(sql_history_columns[i])) == NULL) {
            differ(differences, "column \"%s\" is missing", sql_history_columns[i]);
        }
    }
    if (table->key_count > 0) {
        differ(differences, "it has a primary key");
    }
}

Status sqlite_require_fit(SqliteSink *sink, const SqliteFound *table, const Relation *relation,
                          bool is_strict, Error *err)
{
    Buf differences = {.max = ERROR_MESSAGE_MAX / 2};
    compare(sink, table, relation, is_strict, &differences);
    bool fits = differences.len == 0 && !differences.overflowed;
    if (!fits) {
        error_set(err, ERROR_CONFIG,
                  "table \"%" STR_FMT "\" in \"%s\" does not fit \"%" STR_FMT ".%" STR_FMT "\": %s",
                  STR_ARG(table->name.name), sink->db.path, STR_ARG(relation->schema),
                  STR_ARG(relation->name), buf_cstring(&differences));
        if (is_strict) {
            error_set_hint(err, "Rename or drop that table (a fitting one is made then), or use "
                                "another file.");
        } else { // ours, and altered by somebody else
            (void)sqlite_hint_copy_again(sink, table->name, relation, err);
        }
    }
    buf_done(&differences);
    return fits ? STATUS_OK : STATUS_FAIL;
}
