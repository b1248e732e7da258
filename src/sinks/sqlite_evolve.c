#include "sinks/sqlite_evolve.h"

#include <assert.h>

#include "base/limits.h"
#include "sinks/sqlite_convert.h"

Status sqlite_create(SqliteSink *sink, SqlTable table, const Relation *relation, Error *err)
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

static Status drop_own_index(SqliteSink *sink, SqlTable table, Error *err)
{
    buf_cstr(&sink->sql, "DROP INDEX IF EXISTS ");
    sqlite_index_name(&sink->sql, table);
    return sqlite_db_exec_buf(&sink->db, &sink->sql, err);
}

Status sqlite_move_table(SqliteSink *sink, SqliteFound *table, Str to, Error *err)
{
    // SQLite takes "Orders" -> "orders" for a name that is in use.
    Str between = STR("weir_rename");
    bool in_steps = sqlite_same_name(table->name.name, to);
    if (drop_own_index(sink, table->name, err) != STATUS_OK ||
        (in_steps && rename_table(sink, table->name.name, between, err) != STATUS_OK) ||
        rename_table(sink, in_steps ? between : table->name.name, to, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    table->name.name = to;
    return STATUS_OK;
}

static Status rename_column(SqliteSink *sink, const SqliteFound *table, SqliteColumn *column,
                            Str to, Error *err)
{
    sql_rename_column(&sink->sql, table->name, column->name, to);
    if (sqlite_db_exec_buf(&sink->db, &sink->sql, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    column->name = to;
    return STATUS_OK;
}

// A column that the source has no more gives its name to one that it has.
static Status step_aside(SqliteSink *sink, const SqliteFound *table, SqliteColumn *column,
                         Arena *arena, Error *err)
{
    Str to;
    int number = 1;
    do {
        to = str_from(arena_printf(arena, "%" STR_FMT "_old%d", STR_ARG(column->name), number++));
    } while (sqlite_found_column(table, to) != NULL);
    return rename_column(sink, table, column, to, err);
}

// Bring the names of kept columns from @was to @now. Names may be exchanged, or be those of columns
// that stay behind.
static Status rename_columns(SqliteSink *sink, SqliteFound *table, const Relation *now,
                             Arena *arena, Error *err)
{
    for (uint16_t i = 0; i < now->column_count; i++) {
        SqliteColumn *owner = sqlite_found_column(table, now->columns[i].name);
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
        SqliteColumn *column = &table->columns[i];
        if (column->now >= 0 && !str_equal(column->name, now->columns[column->now].name) &&
            rename_column(sink, table, column, now->columns[column->now].name, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// What relation_diff() says, applied to the table that was found.
typedef struct Plan {
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
                         size_t count, SqliteFound *table)
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
        SqliteColumn *found = added ? NULL : sqlite_found_column(table, name);
        if (found != NULL) {
            found->now = i;
        }
    }
    for (size_t k = 0; k < count; k++) {
        if (changes[k].edit == SCHEMA_DROP_COLUMN) {
            SqliteColumn *found = sqlite_found_column(table, changes[k].was->name);
            if (found != NULL) {
                found->dropped = sink->mode == SQL_MIRROR;
            }
        }
    }
}

static bool key_of_table_is(const SqliteFound *table, const Relation *now)
{
    size_t matching = 0;
    for (size_t i = 0; i < table->count; i++) {
        const SqliteColumn *found = &table->columns[i];
        if (found->in_key && found->now >= 0 && relation_is_key(now, (uint16_t)found->now)) {
            matching++;
        }
    }
    return matching == table->key_count && matching == now->key_count;
}

static void make_plan(const SqliteSink *sink, const Relation *was, const Relation *now,
                      SqliteFound *table, Arena *arena, Plan *ret)
{
    SchemaChange *changes;
    size_t count = relation_diff(was, now, arena, &changes);
    *ret = (Plan){.added = ARENA_ARRAY(arena, bool, now->column_count),
                  .conversions = ARENA_ARRAY(arena, SqliteConversion, now->column_count)};
    for (size_t i = 0; i < count; i++) {
        switch (changes[i].edit) {
        case SCHEMA_DROP_COLUMN:
            ret->rebuilds = ret->rebuilds || sink->mode == SQL_MIRROR;
            break;
        case SCHEMA_CHANGE_TYPE:
            plan_type(ret, now, &changes[i]);
            break;
        case SCHEMA_ADD_COLUMN:
            ret->added[index_of(now, changes[i].now)] = true;
            break;
        case SCHEMA_RENAME_TABLE:  // done
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

static bool is_carried(const SqliteColumn *column)
{
    return column->now < 0 && !column->dropped;
}

// The new table: the columns of @now, and behind them what the old one has besides.
static Status create_successor(SqliteSink *sink, const SqliteFound *table, SqlTable successor,
                               const Relation *now, Error *err)
{
    if (sqlite_create(sink, successor, now, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < table->count; i++) {
        const SqliteColumn *column = &table->columns[i];
        if (!is_carried(column) ||
            (sink->mode == SQL_HISTORY && sqlite_is_history_column(column->name))) {
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
static void write_transfer(Buf *sql, const SqliteFound *table, SqlTable successor,
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

static Status transfer_rows(SqliteSink *sink, const SqliteFound *table, SqlTable successor,
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
    const char *sql = "SELECT sql FROM main.sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE AND "
                      "type IN ('index', 'trigger') AND sql IS NOT NULL";
    *ret = (StrList){.items = ARENA_ARRAY(arena, Str, OBJECTS_MAX)};
    if (sqlite_query(sink, sql, table.name, &statement, err) != STATUS_OK) {
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
        if (sqlite_db_exec_buf(&sink->db, &sink->sql, &error) != STATUS_OK) {
            // As in Postgres: with a column go the indexes on it.
            notice_tell(&sink->base.context.notice,
                        "table \"%" STR_FMT "\" changed and lost this: %" STR_FMT,
                        STR_ARG(table.name), STR_ARG(objects.items[i]));
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

static Status rebuild(SqliteSink *sink, const SqliteFound *table, const Relation *now, Plan *plan,
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

const char *sqlite_forget_statement(SqliteSink *sink, const Relation *relation)
{
    Buf *sql = &sink->message;
    buf_reset(sql);
    sql_checkpoint_forget(sql, sqlite_checkpoint_table, str_from(sink->base.context.pipeline),
                          relation->oid);
    return buf_cstring(sql);
}

Status sqlite_hint_copy_again(SqliteSink *sink, SqlTable table, const Relation *relation,
                              Error *err)
{
    const char *forget = sqlite_forget_statement(sink, relation);
    Buf sql = {.max = ERROR_MESSAGE_MAX};
    buf_cstr(&sql, sink->mode == SQL_HISTORY ? "ALTER TABLE " : "DROP TABLE ");
    sql_table_name(&sql, table);
    buf_cstr(&sql, sink->mode == SQL_HISTORY ? " RENAME TO a_name_that_you_like;" : ";");
    error_hint(err, "Have the table copied again: run this in \"%s\" and start again: %s %s",
               sink->db.path, buf_cstring(&sql), forget);
    buf_done(&sql);
    return STATUS_FAIL;
}

static Status cannot_convert(SqliteSink *sink, const SqliteFound *table, const Relation *now,
                             const Plan *plan, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "column \"%" STR_FMT "\" of table \"%" STR_FMT ".%" STR_FMT
              "\" changed from %" STR_FMT " to %" STR_FMT
              ", and the rows that are in the target cannot be converted exactly",
              STR_ARG(plan->stuck_now->name), STR_ARG(now->schema), STR_ARG(now->name),
              STR_ARG(plan->stuck_was->type_name), STR_ARG(plan->stuck_now->type_name));
    return sqlite_hint_copy_again(sink, table->name, now, err);
}

static Status evolve(SqliteSink *sink, SqliteFound *table, const Relation *was, const Relation *now,
                     Arena *arena, Error *err)
{
    Plan plan;
    bool rows = false;
    make_plan(sink, was, now, table, arena, &plan);
    if (plan.cannot_convert && sqlite_has_rows(sink, table->name, &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (rows) {
        return cannot_convert(sink, table, now, &plan, err);
    }
    if (drop_own_index(sink, table->name, err) != STATUS_OK ||
        rename_columns(sink, table, now, arena, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (plan.rebuilds) {
        Status status = rebuild(sink, table, now, &plan, arena, err);
        bool refused = status != STATUS_OK && (err == NULL || err->kind == ERROR_CONFIG);
        return refused ? sqlite_hint_copy_again(sink, table->name, now, err) : status;
    }
    for (uint16_t i = 0; i < now->column_count; i++) {
        if (plan.added[i] && add_column(sink, table->name, &now->columns[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// @was, with a number for each column of another type that no column of @now has: as if it had been
// dropped, and another one of its name been added.
static const Relation *set_apart(const Relation *was, const Relation *now, Arena *arena)
{
    SchemaChange *changes;
    size_t count = relation_diff(was, now, arena, &changes);
    Relation *apart = relation_copy(arena, was);
    for (size_t i = 0; i < count; i++) {
        if (changes[i].edit == SCHEMA_CHANGE_TYPE) {
            ptrdiff_t at = changes[i].was - was->columns;
            apart->columns[at].attnum = (int16_t)(INT16_MAX - at);
        }
    }
    return apart;
}

// A mirror is empty when a type changes, for it is copied anew. A history keeps its rows: where
// they cannot be converted, the columns of another type stay as they were, under other names.
Status sqlite_evolve(SqliteSink *sink, SqliteFound *table, const Relation *was, const Relation *now,
                     Arena *arena, Error *err)
{
    if (sink->mode != SQL_HISTORY) {
        return evolve(sink, table, was, now, arena, err);
    }
    if (sqlite_db_exec(&sink->db, "SAVEPOINT weir_evolve", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Error failure = {0};
    if (evolve(sink, table, was, now, arena, &failure) == STATUS_OK) {
        return sqlite_db_exec(&sink->db, "RELEASE weir_evolve", err);
    }
    if (failure.kind != ERROR_CONFIG) {
        *err = failure;
        return STATUS_FAIL;
    }
    buf_reset(&sink->sql);
    if (sqlite_db_exec(&sink->db, "ROLLBACK TO weir_evolve", err) != STATUS_OK ||
        sqlite_db_exec(&sink->db, "RELEASE weir_evolve", err) != STATUS_OK ||
        sqlite_inspect(sink, table->name, arena, table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return evolve(sink, table, set_apart(was, now, arena), now, arena, err);
}
