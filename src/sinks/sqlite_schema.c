// Tables: made, checked against what is there, and turned from one version of a relation into the
// next. SQLite can rename and add columns in place. Everything else (another key, a dropped column,
// values that are stored differently) makes the table anew and copies its rows, in the transaction
// that also stores the position from which on rows have the new shape.
//
// mode=history never takes a column away: what was dropped stays with its values, and steps aside
// when a new column needs its name.
#include <assert.h>
#include <stdio.h>

#include "base/limits.h"
#include "sinks/sqlite_convert.h"
#include "sinks/sqlite_sink.h"
#include "sinks/sqlite_value.h"

// A column that the target's table has.
typedef struct Found {
    Str name;
    SqliteAffinity affinity;
    Str declared;
    bool in_key;
    bool required; // NOT NULL without a default
    bool dropped;  // mirror: the source has it no more
    int now;       // index in the relation that the table is for, or -1
} Found;

typedef struct FoundTable {
    SqlTable name;
    bool exists;
    bool is_table;  // not a view, not a virtual table
    bool has_rowid; // not WITHOUT ROWID
    Found *columns;
    size_t count;
    size_t key_count;
} FoundTable;

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

static bool same_name(Str a, Str b)
{
    return a.len == b.len && sqlite3_strnicmp(a.ptr, b.ptr, (int)a.len) == 0;
}

static Status query(SqliteSink *sink, const char *sql, Str parameter, sqlite3_stmt **ret,
                    Error *err)
{
    buf_cstr(&sink->sql, sql);
    if (sqlite_db_prepare(&sink->db, &sink->sql, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sqlite_db_bind_text(*ret, 1, parameter);
    return STATUS_OK;
}

static Status look_up(SqliteSink *sink, FoundTable *table, Error *err)
{
    CLEANUP(sqlite_db_finalize) sqlite3_stmt *statement = NULL;
    const char *sql = "SELECT type, wr FROM pragma_table_list "
                      "WHERE schema = 'main' AND name = ?1 COLLATE NOCASE";
    bool row;
    if (query(sink, sql, table->name.name, &statement, err) != STATUS_OK ||
        sqlite_db_step(&sink->db, statement, &row, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    table->exists = row;
    table->is_table = row && str_is(sqlite_db_column(statement, 0), "table");
    table->has_rowid = row && sqlite3_column_int(statement, 1) == 0;
    return STATUS_OK;
}

static Status look_at_columns(SqliteSink *sink, FoundTable *table, Arena *arena, Error *err)
{
    enum { NAME, TYPE, REQUIRED, KEY, HIDDEN };
    CLEANUP(sqlite_db_finalize) sqlite3_stmt *statement = NULL;
    const char *sql = "SELECT name, type, \"notnull\" AND dflt_value IS NULL, pk, hidden "
                      "FROM pragma_table_xinfo(?1)";
    if (query(sink, sql, table->name.name, &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    size_t capacity = (size_t)sqlite3_limit(sink->db.handle, SQLITE_LIMIT_COLUMN, -1);
    table->columns = ARENA_ARRAY(arena, Found, capacity);
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
        Found *column = &table->columns[table->count++];
        column->name = str_copy(arena, sqlite_db_column(statement, NAME));
        column->declared = str_copy(arena, sqlite_db_column(statement, TYPE));
        column->affinity = sqlite_affinity(column->declared);
        column->required = sqlite3_column_int(statement, REQUIRED) != 0;
        column->in_key = sqlite3_column_int(statement, KEY) > 0;
        column->now = -1;
        table->key_count += column->in_key ? 1 : 0;
    }
}

static Status inspect(SqliteSink *sink, SqlTable name, Arena *arena, FoundTable *ret, Error *err)
{
    *ret = (FoundTable){.name = name};
    if (look_up(sink, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return ret->exists ? look_at_columns(sink, ret, arena, err) : STATUS_OK;
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

static bool is_history_column(Str name)
{
    for (int i = 0; i < SQL_HISTORY_COLUMN_COUNT; i++) {
        if (same_name(name, str_from(sql_history_columns[i]))) {
            return true;
        }
    }
    return false;
}

static Status has_rows(SqliteSink *sink, SqlTable table, bool *ret, Error *err)
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

static void compare_columns(const FoundTable *table, const Relation *relation, Buf *differences)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const Column *column = &relation->columns[i];
        const Found *found = find_column(table, column->name);
        if (found == NULL) {
            differ(differences, "column \"%" STR_FMT "\" is missing", STR_ARG(column->name));
        } else if (!sqlite_type_fits(found->declared, column)) {
            differ(differences,
                   "column \"%" STR_FMT "\" of type \"%" STR_FMT "\" cannot hold %" STR_FMT,
                   STR_ARG(column->name), STR_ARG(found->declared), STR_ARG(column->type_name));
        }
    }
}

// Columns that the relation does not have. @is_strict: somebody else made the table, so that they
// tell of a misunderstanding; in ours they are only in the way when nothing can be left out.
static void compare_others(const FoundTable *table, const Relation *relation, bool is_strict,
                           Buf *differences)
{
    for (size_t i = 0; i < table->count; i++) {
        const Found *found = &table->columns[i];
        bool known = relation_find_column(relation, found->name) >= 0;
        for (uint16_t k = 0; k < relation->column_count && !known; k++) {
            known = same_name(relation->columns[k].name, found->name);
        }
        if (!known && (is_strict || found->required)) {
            differ(differences, "column \"%" STR_FMT "\" is not in the source",
                   STR_ARG(found->name));
        }
    }
}

static bool same_key(const FoundTable *table, const Relation *relation)
{
    if (table->key_count != relation->key_count) {
        return false;
    }
    for (uint16_t i = 0; i < relation->key_count; i++) {
        const Found *found = find_column(table, relation->columns[relation->key[i]].name);
        if (found == NULL || !found->in_key) {
            return false;
        }
    }
    return true;
}

// What keeps @table from taking the rows of @relation, in words; empty: nothing does.
static void compare(const SqliteSink *sink, const FoundTable *table, const Relation *relation,
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
        if (find_column(table, str_from(sql_history_columns[i])) == NULL) {
            differ(differences, "column \"%s\" is missing", sql_history_columns[i]);
        }
    }
    if (table->key_count > 0) {
        differ(differences, "it has a primary key");
    }
}

static Status require_fit(SqliteSink *sink, const FoundTable *table, const Relation *relation,
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
        error_hint(err, "Rename or drop that table (a fitting one is made then), or use another "
                        "file.");
    }
    buf_done(&differences);
    return fits ? STATUS_OK : STATUS_FAIL;
}

static Status create(SqliteSink *sink, SqlTable table, const Relation *relation, Error *err)
{
    if (relation->column_count == 0 && sink->mode == SQL_MIRROR) {
        error_set(err, ERROR_CONFIG, "table \"%" STR_FMT ".%" STR_FMT "\" has no columns",
                  STR_ARG(relation->schema), STR_ARG(relation->name));
        return error_hint(err, "SQLite has no such tables. Leave it out.");
    }
    sql_create_table(&sink->sql, &sqlite_dialect, table, relation, (SqlMode)sink->mode);
    return sqlite_db_exec_buf(&sink->db, &sink->sql, err);
}

static Status rename_table(SqliteSink *sink, Str from, Str to, Error *err)
{
    Buf *sql = &sink->sql;
    buf_cstr(sql, "ALTER TABLE ");
    sql_identifier(sql, from);
    buf_cstr(sql, " RENAME TO ");
    sql_identifier(sql, to);
    return sqlite_db_exec_buf(&sink->db, sql, err);
}

static Status move_table(SqliteSink *sink, FoundTable *table, Str to, Error *err)
{
    // SQLite takes "Orders" -> "orders" for a name that is in use.
    Str between = STR("weir_rename");
    bool in_steps = same_name(table->name.name, to);
    if (in_steps && rename_table(sink, table->name.name, between, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (rename_table(sink, in_steps ? between : table->name.name, to, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    table->name.name = to;
    return STATUS_OK;
}

static Status rename_column(SqliteSink *sink, const FoundTable *table, Found *column, Str to,
                            Error *err)
{
    sql_rename_column(&sink->sql, table->name, column->name, to);
    if (sqlite_db_exec_buf(&sink->db, &sink->sql, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    column->name = to;
    return STATUS_OK;
}

// A column that the source has no more gives its name to one that it has.
static Status step_aside(SqliteSink *sink, const FoundTable *table, Found *column, Arena *arena,
                         Error *err)
{
    Str to;
    int number = 1;
    do {
        to = str_from(arena_printf(arena, "%" STR_FMT "_old%d", STR_ARG(column->name), number++));
    } while (find_column(table, to) != NULL);
    return rename_column(sink, table, column, to, err);
}

// Bring the names of kept columns from @was to @now. Names may be exchanged, or be those of columns
// that stay behind.
static Status rename_columns(SqliteSink *sink, FoundTable *table, const Relation *now, Arena *arena,
                             Error *err)
{
    for (uint16_t i = 0; i < now->column_count; i++) {
        Found *owner = find_column(table, now->columns[i].name);
        if (owner == NULL || owner->now == i) {
            continue;
        }
        if (owner->now < 0) {
            if (step_aside(sink, table, owner, arena, err) != STATUS_OK) {
                return STATUS_FAIL;
            }
            continue;
        }
        Str between = str_from(arena_printf(arena, "weir_rename_%d", owner->now));
        if (rename_column(sink, table, owner, between, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    for (size_t i = 0; i < table->count; i++) {
        Found *column = &table->columns[i];
        if (column->now >= 0 && !str_equal(column->name, now->columns[column->now].name) &&
            rename_column(sink, table, column, now->columns[column->now].name, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// What relation_diff() says, applied to the table that was found.
typedef struct Plan {
    bool renames_table;
    bool rebuilds;
    bool cannot_convert; // only an empty table can take it
    const Column *stuck_was;
    const Column *stuck_now;
    bool *added;                   // by column of now
    SqliteConversion *conversions; // by column of now
} Plan;

static uint16_t index_of(const Relation *relation, const Column *column)
{
    ptrdiff_t index = column - relation->columns;
    assert(index >= 0 && index < relation->column_count);
    return (uint16_t)index;
}

static void plan_type(Plan *plan, const Relation *now, const SchemaChange *change)
{
    SqliteConversion *conversion = &plan->conversions[index_of(now, change->now)];
    if (!sqlite_conversion_find(change->was, change->now, conversion)) {
        plan->cannot_convert = true;
        plan->stuck_was = change->was;
        plan->stuck_now = change->now;
        *conversion = (SqliteConversion){0};
    }
    plan->rebuilds = plan->rebuilds || plan->cannot_convert || conversion->convert != NULL;
}

// Which column of the found table becomes which of @now.
static void plan_columns(const SqliteSink *sink, const Relation *now, const SchemaChange *changes,
                         size_t count, FoundTable *table)
{
    // Names as they are in the table: those of @was.
    for (uint16_t i = 0; i < now->column_count; i++) {
        Str name = now->columns[i].name;
        bool added = false;
        for (size_t k = 0; k < count; k++) {
            if (changes[k].now != &now->columns[i]) {
                continue;
            }
            name = changes[k].edit == SCHEMA_RENAME_COLUMN ? changes[k].was->name : name;
            added = added || changes[k].edit == SCHEMA_ADD_COLUMN;
        }
        Found *found = added ? NULL : find_column(table, name);
        if (found != NULL) {
            found->now = i;
        }
    }
    for (size_t k = 0; k < count; k++) {
        if (changes[k].edit == SCHEMA_DROP_COLUMN) {
            Found *found = find_column(table, changes[k].was->name);
            if (found != NULL) {
                found->dropped = sink->mode == SQL_MIRROR;
            }
        }
    }
}

static bool key_of_table_is(const FoundTable *table, const Relation *now)
{
    size_t matching = 0;
    for (size_t i = 0; i < table->count; i++) {
        const Found *found = &table->columns[i];
        if (found->in_key && found->now >= 0 && relation_is_key(now, (uint16_t)found->now)) {
            matching++;
        }
    }
    return matching == table->key_count && matching == now->key_count;
}

static void make_plan(const SqliteSink *sink, const Relation *was, const Relation *now,
                      FoundTable *table, Arena *arena, Plan *ret)
{
    SchemaChange *changes;
    size_t count = relation_diff(was, now, arena, &changes);
    *ret = (Plan){.added = ARENA_ARRAY(arena, bool, now->column_count),
                  .conversions = ARENA_ARRAY(arena, SqliteConversion, now->column_count)};
    for (size_t i = 0; i < count; i++) {
        switch (changes[i].edit) {
        case SCHEMA_RENAME_TABLE:
            ret->renames_table = true;
            break;
        case SCHEMA_DROP_COLUMN:
            ret->rebuilds = ret->rebuilds || sink->mode == SQL_MIRROR;
            break;
        case SCHEMA_CHANGE_TYPE:
            plan_type(ret, now, &changes[i]);
            break;
        case SCHEMA_ADD_COLUMN:
            ret->added[index_of(now, changes[i].now)] = true;
            break;
        case SCHEMA_RENAME_COLUMN: // plan_columns()
        case SCHEMA_CHANGE_KEY:    // below: the identity alone changes nothing here
            break;
        }
    }
    plan_columns(sink, now, changes, count, table);
    if (sink->mode == SQL_MIRROR && !key_of_table_is(table, now)) {
        ret->rebuilds = true;
    }
}

// A float's default goes in by UPDATE: bound, it is exact.
static bool is_float(const Column *column)
{
    return column->type == TYPE_FLOAT4 || column->type == TYPE_FLOAT8;
}

static Status fill_column(SqliteSink *sink, SqlTable table, const Column *column, Error *err)
{
    CLEANUP(sqlite_db_finalize) sqlite3_stmt *statement = NULL;
    Value value = {column->missing_value.ptr, (uint32_t)column->missing_value.len, VALUE_TEXT};
    buf_cstr(&sink->sql, "UPDATE ");
    sql_table_name(&sink->sql, table);
    buf_cstr(&sink->sql, " SET ");
    sql_identifier(&sink->sql, column->name);
    buf_cstr(&sink->sql, " = ?1");
    if (sqlite_db_prepare(&sink->db, &sink->sql, &statement, err) != STATUS_OK ||
        sqlite_bind(statement, 1, column, value, &sink->scratch, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return sqlite_db_run(&sink->db, statement, err);
}

static Status add_column(SqliteSink *sink, SqlTable table, const Column *column, Error *err)
{
    Column plain = *column;
    bool fills = is_float(column) && column->missing_value.ptr != NULL;
    if (fills) {
        plain.missing_value = (Str){0};
    }
    sql_add_column(&sink->sql, &sqlite_dialect, table, &plain);
    if (sqlite_db_exec_buf(&sink->db, &sink->sql, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return fills ? fill_column(sink, table, column, err) : STATUS_OK;
}

static bool is_carried(const Found *column)
{
    return column->now < 0 && !column->dropped;
}

// The new table: the columns of @now, and behind them what the old one has besides.
static Status create_successor(SqliteSink *sink, const FoundTable *table, SqlTable successor,
                               const Relation *now, Error *err)
{
    if (create(sink, successor, now, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < table->count; i++) {
        const Found *column = &table->columns[i];
        if (!is_carried(column) || (sink->mode == SQL_HISTORY && is_history_column(column->name))) {
            continue;
        }
        Buf *sql = &sink->sql;
        buf_cstr(sql, "ALTER TABLE ");
        sql_table_name(sql, successor);
        buf_cstr(sql, " ADD COLUMN ");
        sql_identifier(sql, column->name);
        buf_printf(sql, " %s", sqlite_affinity_name(column->affinity));
        if (sqlite_db_exec_buf(&sink->db, sql, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// INSERT INTO successor (…) SELECT … FROM table. Parameters: ?1… by column of now, a conversion or
// a value for the rows that are there.
static void write_transfer(Buf *sql, const FoundTable *table, SqlTable successor,
                           const Relation *now, const Plan *plan)
{
    const char *comma = "";
    buf_cstr(sql, "INSERT INTO ");
    sql_table_name(sql, successor);
    buf_cstr(sql, " (");
    sql_column_list(sql, now, false);
    for (size_t i = 0; i < table->count; i++) {
        if (is_carried(&table->columns[i])) {
            buf_cstr(sql, ", ");
            sql_identifier(sql, table->columns[i].name);
        }
    }
    buf_cstr(sql, ") SELECT ");
    for (uint16_t i = 0; i < now->column_count; i++) {
        buf_cstr(sql, comma);
        comma = ", ";
        if (plan->added[i]) {
            buf_printf(sql, "?%d", i + 1);
            continue;
        }
        if (plan->conversions[i].convert != NULL) {
            buf_cstr(sql, "weir_convert(");
            sql_identifier(sql, now->columns[i].name);
            buf_printf(sql, ", ?%d)", i + 1);
            continue;
        }
        sql_identifier(sql, now->columns[i].name);
    }
    for (size_t i = 0; i < table->count; i++) {
        if (is_carried(&table->columns[i])) {
            buf_cstr(sql, ", ");
            sql_identifier(sql, table->columns[i].name);
        }
    }
    // Without ORDER BY rows come in the order of their row ids, and history needs that to stay.
    buf_cstr(sql, " FROM ");
    sql_table_name(sql, table->name);
    buf_cstr(sql, " NOT INDEXED");
}

static Status transfer_rows(SqliteSink *sink, const FoundTable *table, SqlTable successor,
                            const Relation *now, Plan *plan, Error *err)
{
    CLEANUP(sqlite_db_finalize) sqlite3_stmt *statement = NULL;
    write_transfer(&sink->sql, table, successor, now, plan);
    if (sqlite_db_prepare(&sink->db, &sink->sql, &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (uint16_t i = 0; i < now->column_count; i++) {
        const Column *column = &now->columns[i];
        if (plan->added[i] && column->missing_value.ptr != NULL) {
            Value value = {column->missing_value.ptr, (uint32_t)column->missing_value.len,
                           VALUE_TEXT};
            if (sqlite_bind(statement, i + 1, column, value, &sink->scratch, err) != STATUS_OK) {
                return STATUS_FAIL;
            }
        } else if (plan->conversions[i].convert != NULL) {
            sqlite_conversion_bind(statement, i + 1, &plan->conversions[i]);
        }
    }
    return sqlite_db_run(&sink->db, statement, err);
}

// What others hung on the table: it goes when the table is dropped, so it is made again.
static Status saved_objects(SqliteSink *sink, SqlTable table, Arena *arena, StrList *ret,
                            Error *err)
{
    enum { OBJECTS_MAX = 1000 };
    CLEANUP(sqlite_db_finalize) sqlite3_stmt *statement = NULL;
    const char *sql = "SELECT sql FROM main.sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE "
                      "AND type IN ('index', 'trigger') AND sql IS NOT NULL";
    *ret = (StrList){.items = ARENA_ARRAY(arena, Str, OBJECTS_MAX)};
    if (query(sink, sql, table.name, &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (;;) {
        bool row;
        if (sqlite_db_step(&sink->db, statement, &row, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (!row || ret->count == OBJECTS_MAX) {
            return STATUS_OK;
        }
        ret->items[ret->count++] = str_copy(arena, sqlite_db_column(statement, 0));
    }
}

static void restore_objects(SqliteSink *sink, StrList objects, SqlTable table)
{
    for (size_t i = 0; i < objects.count; i++) {
        Error error;
        buf_str(&sink->sql, objects.items[i]);
        if (sqlite_db_exec_buf(&sink->db, &sink->sql, &error) != STATUS_OK &&
            sink->base.context.notice != NULL) {
            // As in Postgres: with a column go the indexes on it.
            Buf *text = &sink->message;
            buf_reset(text);
            buf_printf(text, "table \"%" STR_FMT "\" changed and lost this: %" STR_FMT,
                       STR_ARG(table.name), STR_ARG(objects.items[i]));
            sink->base.context.notice(sink->base.context.notice_context, buf_cstring(text));
        }
    }
}

static Status replace_table(SqliteSink *sink, SqlTable table, SqlTable successor, Error *err)
{
    // Views on the table stay as they are: with the modern behaviour, SQLite would refuse to rename
    // while a view looks at a table that is gone for a moment.
    Buf *sql = &sink->sql;
    if (sqlite_db_exec(&sink->db, "PRAGMA legacy_alter_table = ON", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_cstr(sql, "DROP TABLE ");
    sql_table_name(sql, table);
    if (sqlite_db_exec_buf(&sink->db, sql, err) != STATUS_OK ||
        rename_table(sink, successor.name, table.name, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return sqlite_db_exec(&sink->db, "PRAGMA legacy_alter_table = OFF", err);
}

static Status rebuild(SqliteSink *sink, const FoundTable *table, const Relation *now, Plan *plan,
                      Arena *arena, Error *err)
{
    SqlTable successor = {.name = STR("weir_rebuild")};
    StrList objects;
    if (saved_objects(sink, table->name, arena, &objects, err) != STATUS_OK ||
        create_successor(sink, table, successor, now, err) != STATUS_OK ||
        transfer_rows(sink, table, successor, now, plan, err) != STATUS_OK ||
        replace_table(sink, table->name, successor, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    restore_objects(sink, objects, table->name);
    return STATUS_OK;
}

static Status cannot_convert(SqliteSink *sink, const FoundTable *table, const Relation *now,
                             const Plan *plan, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "column \"%" STR_FMT "\" of table \"%" STR_FMT ".%" STR_FMT
              "\" changed from %" STR_FMT " to %" STR_FMT
              ", and the rows that are in the target cannot be converted exactly",
              STR_ARG(plan->stuck_now->name), STR_ARG(now->schema), STR_ARG(now->name),
              STR_ARG(plan->stuck_was->type_name), STR_ARG(plan->stuck_now->type_name));
    Buf *sql = &sink->message;
    buf_reset(sql);
    buf_cstr(sql, "DROP TABLE ");
    sql_table_name(sql, table->name);
    buf_cstr(sql, "; DELETE FROM " SQL_CHECKPOINT_TABLE " WHERE pipeline = ");
    sql_literal(sql, str_from(sink->base.context.pipeline));
    buf_printf(sql, " AND key = 'table:%" PRIu32 "';", now->oid);
    return error_hint(err, "Have the table copied again: run this in \"%s\" and start again: %s",
                      sink->db.path, buf_cstring(sql));
}

static Status drop_history_index(SqliteSink *sink, SqlTable table, Error *err)
{
    buf_cstr(&sink->sql, "DROP INDEX IF EXISTS ");
    sqlite_history_index(&sink->sql, table);
    return sqlite_db_exec_buf(&sink->db, &sink->sql, err);
}

static Status evolve(SqliteSink *sink, FoundTable *table, const Relation *was, const Relation *now,
                     Arena *arena, Error *err)
{
    Plan plan;
    bool rows = false;
    SqlTable target = sqlite_target(sink, now, arena);
    if (require_fit(sink, table, was, false, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    make_plan(sink, was, now, table, arena, &plan);
    if (plan.cannot_convert && has_rows(sink, table->name, &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (rows) {
        return cannot_convert(sink, table, now, &plan, err);
    }
    if ((sink->mode == SQL_HISTORY && drop_history_index(sink, table->name, err) != STATUS_OK) ||
        (!str_equal(table->name.name, target.name) &&
         move_table(sink, table, target.name, err) != STATUS_OK) ||
        rename_columns(sink, table, now, arena, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (plan.rebuilds) {
        return rebuild(sink, table, now, &plan, arena, err);
    }
    for (uint16_t i = 0; i < now->column_count; i++) {
        if (plan.added[i] && add_column(sink, table->name, &now->columns[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// A table that was there before this pipeline.
static Status adopt(SqliteSink *sink, const FoundTable *table, const Relation *now, Error *err)
{
    bool rows;
    if (require_fit(sink, table, now, true, err) != STATUS_OK ||
        has_rows(sink, table->name, &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!table->has_rowid && sink->existing == SQL_EXISTING_KEEP) {
        return error_set(err, ERROR_CONFIG,
                         "table \"%" STR_FMT "\" in \"%s\" is WITHOUT ROWID, which existing=keep "
                         "cannot work with",
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

static Status table_is_gone(const SqliteSink *sink, const Relation *now, Str name, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "table \"%" STR_FMT "\", which this pipeline made, is not in \"%s\"", STR_ARG(name),
              sink->db.path);
    return error_hint(err,
                      "Put it back, or have it copied again: DELETE FROM " SQL_CHECKPOINT_TABLE
                      " WHERE pipeline = '%s' AND key = 'table:%" PRIu32 "';",
                      sink->base.context.pipeline, now->oid);
}

static Status check_name(const Relation *relation, SqlTable target, Error *err)
{
    static const char *const taken[] = {"weir_rebuild", "weir_rename", SQLITE_COPIED_TABLE};
    bool reserved = target.name.len >= 7 && sqlite3_strnicmp(target.name.ptr, "sqlite_", 7) == 0;
    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        reserved = reserved || same_name(target.name, str_from(taken[i]));
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

static Status claim(SqliteSink *sink, const Relation *now, SqlTable target, Error *err)
{
    if (check_name(now, target, err) != STATUS_OK ||
        sql_check_columns(&sqlite_dialect, now, (SqlMode)sink->mode, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return sql_targets_claim(&sink->targets, &sqlite_dialect, now, target, err);
}

static Status shape(SqliteSink *sink, const Relation *was, const Relation *now, Arena *arena,
                    Error *err)
{
    FoundTable table;
    SqlTable target = sqlite_target(sink, now, arena);
    bool is_ours = map_get_u64(&sink->ours, now->oid) != NULL;
    SqlTable place = was == NULL ? target : sqlite_target(sink, was, arena);
    if (inspect(sink, place, arena, &table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!table.exists) {
        return is_ours ? table_is_gone(sink, now, place.name, err) : create(sink, target, now, err);
    }
    if (was == NULL) {
        return is_ours ? require_fit(sink, &table, now, false, err) : adopt(sink, &table, now, err);
    }
    if (relation_equal(was, now)) {
        return require_fit(sink, &table, now, false, err);
    }
    return evolve(sink, &table, was, now, arena, err);
}

// SQLite names the row id in three ways; a column of that name hides each.
static Status pick_rowid(SqliteSink *sink, SqlTable target, Arena *arena, const char **ret,
                         Error *err)
{
    static const char *const names[] = {"rowid", "_rowid_", "oid"};
    FoundTable table;
    if (inspect(sink, target, arena, &table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = NULL;
    for (size_t i = 0; i < ARRAY_LEN(names) && table.has_rowid && *ret == NULL; i++) {
        *ret = find_column(&table, str_from(names[i])) == NULL ? names[i] : NULL;
    }
    return STATUS_OK;
}

Status sqlite_prepare(SqliteSink *sink, const Relation *was, const Relation *now, Error *err)
{
    Arena arena = {0};
    SqlTable target = sqlite_target(sink, now, &arena);
    const char *rowid;
    sqlite_table_forget(sink, now->oid);
    Status status = claim(sink, now, target, err);
    if (status == STATUS_OK) {
        status = shape(sink, was, now, &arena, err);
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

static void report_error(Report *report, const Error *error)
{
    report_problem(report, PROBLEM_MUST, error->hint[0] == '\0' ? NULL : error->hint, "%s",
                   error->message);
}

Status sqlite_check(SqliteSink *sink, const Relation *relation, Report *report, Error *err)
{
    Arena arena = {0};
    FoundTable table = {0};
    Error problem = {0};
    bool rows = false;
    SqlTable target = sqlite_target(sink, relation, &arena);
    if (claim(sink, relation, target, &problem) != STATUS_OK) {
        report_error(report, &problem);
    }
    bool is_ours = map_get_u64(&sink->ours, relation->oid) != NULL;
    Status status = STATUS_OK;
    if (sink->db.handle != NULL && !is_ours) {
        status = inspect(sink, target, &arena, &table, err);
    }
    if (status == STATUS_OK && table.exists &&
        require_fit(sink, &table, relation, true, &problem) != STATUS_OK) {
        report_error(report, &problem);
    } else if (status == STATUS_OK && table.exists) {
        status = has_rows(sink, target, &rows, err);
    }
    if (rows && sink->existing == SQL_EXISTING_FAIL) {
        report_problem(report, PROBLEM_MUST, "existing=truncate or existing=keep",
                       "table \"%" STR_FMT "\" in \"%s\" already has rows", STR_ARG(target.name),
                       sink->db.path);
    } else if (rows && sink->existing == SQL_EXISTING_TRUNCATE) {
        report_problem(report, PROBLEM_NOTE, NULL,
                       "the rows of table \"%" STR_FMT "\" in \"%s\" will be removed",
                       STR_ARG(target.name), sink->db.path);
    }
    arena_done(&arena);
    return status;
}
