// Rows, one statement a change. SQLite runs in our process, so a prepared statement costs a
// function call: there is nothing to gain from folding changes first, and what is applied in order
// needs no proof that the order does not matter.
#include <assert.h>
#include <stdio.h>

#include "base/limits.h"
#include "sinks/sqlite_sink.h"
#include "sinks/sqlite_value.h"

enum { INDEX_COLUMNS = 4 }; // of a table without a key

static bool has_bit(const uint64_t *bits, uint16_t at)
{
    return (bits[at / 64] >> (at % 64) & 1) != 0;
}

static void set_bit(uint64_t *bits, uint16_t at)
{
    bits[at / 64] |= (uint64_t)1 << (at % 64);
}

static size_t bit_bytes(const Relation *relation)
{
    return ((size_t)relation->column_count / 64 + 1) * sizeof(uint64_t);
}

void sqlite_table_free(SqliteTable *table)
{
    sqlite_db_finalize(&table->insert);
    sqlite_db_finalize(&table->remove);
    sqlite_db_finalize(&table->latest);
    for (size_t i = 0; i < table->update_count; i++) {
        sqlite_db_finalize(&table->updates[i].statement);
    }
    Arena arena = table->arena; // the table itself is in it
    arena_done(&arena);
}

void sqlite_table_forget(SqliteSink *sink, uint32_t oid)
{
    SqliteTable *table = map_remove_u64(&sink->tables, oid);
    if (table != NULL) {
        sink->last = NULL;
        sqlite_table_free(table);
    }
}

void sqlite_table_put(SqliteSink *sink, const Relation *relation, SqlTable target,
                      const char *rowid)
{
    sqlite_table_forget(sink, relation->oid);
    Arena arena = {.chunk_size = 4096};
    SqliteTable *table = arena_alloc_zero(&arena, sizeof(*table));
    table->relation = relation;
    table->target = (SqlTable){.name = str_copy(&arena, target.name)};
    table->rowid = rowid;
    table->columns = arena_alloc_zero(&arena, bit_bytes(relation));
    for (size_t i = 0; i < SQLITE_UPDATES; i++) {
        table->updates[i].columns = arena_alloc_zero(&arena, bit_bytes(relation));
    }
    table->arena = arena;
    map_put_u64(&sink->tables, relation->oid, table);
}

Status sqlite_table_find(SqliteSink *sink, const Relation *relation, SqliteTable **ret, Error *err)
{
    SqliteTable *table = sink->last;
    if (table == NULL || table->relation != relation) {
        table = map_get_u64(&sink->tables, relation->oid);
    }
    if (table == NULL ||
        (table->relation != relation && !relation_equal(table->relation, relation))) {
        return error_set(err, ERROR_FATAL,
                         "a change of table \"%" STR_FMT ".%" STR_FMT
                         "\" came before the table was prepared",
                         STR_ARG(relation->schema), STR_ARG(relation->name));
    }
    sink->last = table;
    *ret = table;
    return STATUS_OK;
}

void sqlite_index_name(Buf *sql, SqlTable target)
{
    char name[LIMIT_NAME_BYTES];
    (void)snprintf(name, sizeof(name), "weir_key_%" STR_FMT, STR_ARG(target.name));
    sql_identifier(sql, str_from(name));
}

// Small, and with many different values.
static bool tells_rows_apart(const Column *column)
{
    switch (column->type) {
    case TYPE_BOOL:
    case TYPE_TEXT:
    case TYPE_BYTEA:
    case TYPE_JSON:
    case TYPE_JSONB:
    case TYPE_BIT:
    case TYPE_OTHER:
        return false;
    default:
        return true;
    }
}

// Columns for the index of a table without a key: a few that tell rows apart, else a text.
static uint16_t choose_index_columns(const Relation *relation, uint16_t ret[static INDEX_COLUMNS])
{
    uint16_t count = 0;
    for (uint16_t i = 0; i < relation->column_count && count < INDEX_COLUMNS; i++) {
        if (tells_rows_apart(&relation->columns[i])) {
            ret[count++] = i;
        }
    }
    for (uint16_t i = 0; i < relation->column_count && count == 0; i++) {
        TypeClass type = relation->columns[i].type;
        if (type == TYPE_TEXT || type == TYPE_OTHER) {
            ret[count++] = i;
        }
    }
    return count;
}

Status sqlite_make_index(SqliteSink *sink, const SqliteTable *table, Error *err)
{
    const Relation *relation = table->relation;
    uint16_t columns[INDEX_COLUMNS];
    uint16_t count = relation->key_count > 0 ? 1 : choose_index_columns(relation, columns);
    if (count == 0) {
        return STATUS_OK;
    }
    Buf *sql = &sink->sql;
    buf_cstr(sql, "CREATE INDEX IF NOT EXISTS ");
    sqlite_index_name(sql, table->target);
    buf_cstr(sql, " ON ");
    sql_table_name(sql, table->target);
    buf_cstr(sql, " (");
    if (relation->key_count > 0) {
        sql_column_list(sql, relation, true);
    }
    for (uint16_t i = 0; i < count && relation->key_count == 0; i++) {
        buf_cstr(sql, i == 0 ? "" : ", ");
        sql_identifier(sql, relation->columns[columns[i]].name);
    }
    buf_char(sql, ')');
    return sqlite_db_exec_buf(&sink->db, sql, err);
}

// How a statement names one row: by the key, or without one by all columns of the old row.
static void append_locator(const SqliteTable *table, Buf *sql)
{
    const Relation *relation = table->relation;
    const char *separator = " WHERE ";
    if (relation->key_count > 0) {
        for (uint16_t i = 0; i < relation->key_count; i++) {
            buf_cstr(sql, separator);
            sql_identifier(sql, relation->columns[relation->key[i]].name);
            buf_cstr(sql, " = ?");
            separator = " AND ";
        }
        return;
    }
    buf_printf(sql, " WHERE %s = (SELECT %s FROM ", table->rowid, table->rowid);
    sql_table_name(sql, table->target);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        buf_cstr(sql, separator);
        sql_identifier(sql, relation->columns[i].name);
        buf_cstr(sql, " IS ?");
        separator = " AND ";
    }
    buf_cstr(sql, " LIMIT 1)");
}

static Status bind_column(SqliteSink *sink, const SqliteTable *table, sqlite3_stmt *statement,
                          int index, uint16_t column, const Value *row, Error *err)
{
    return sqlite_bind(statement, index, &table->relation->columns[column], row[column],
                       &sink->scratch, err);
}

static Status bind_locator(SqliteSink *sink, const SqliteTable *table, sqlite3_stmt *statement,
                           int index, const Value *row, Error *err)
{
    const Relation *relation = table->relation;
    bool by_key = relation->key_count > 0;
    uint16_t count = by_key ? relation->key_count : relation->column_count;
    for (uint16_t i = 0; i < count; i++) {
        uint16_t column = by_key ? relation->key[i] : i;
        if (bind_column(sink, table, statement, index++, column, row, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status diverged(SqliteSink *sink, const SqliteTable *table, Error *err)
{
    error_set(err, ERROR_DATA,
              table->relation->key_count > 0 ? "the target has no such row"
                                             : "the target has no row like the old one");
    return sqlite_hint_copy_again(sink, table->target, table->relation, err);
}

static Status prepare_insert(SqliteSink *sink, SqliteTable *table, Error *err)
{
    const Relation *relation = table->relation;
    Buf *sql = &sink->sql;
    buf_cstr(sql, "INSERT INTO ");
    sql_table_name(sql, table->target);
    if (relation->column_count == 0) {
        buf_cstr(sql, " DEFAULT VALUES");
        return sqlite_db_prepare(&sink->db, sql, &table->insert, err);
    }
    buf_cstr(sql, " (");
    sql_column_list(sql, relation, false);
    buf_cstr(sql, ") VALUES (?");
    for (uint16_t i = 1; i < relation->column_count; i++) {
        buf_cstr(sql, ", ?");
    }
    buf_char(sql, ')');
    return sqlite_db_prepare(&sink->db, sql, &table->insert, err);
}

Status sqlite_clear(SqliteSink *sink, SqliteTable *table, Lsn copied_at, Error *err)
{
    Buf *sql = &sink->sql;
    if (sink->mode == SQL_HISTORY) {
        sql_clear_history(sql, &sqlite_dialect, table->target, copied_at);
    } else {
        buf_cstr(sql, "DELETE FROM ");
        sql_table_name(sql, table->target);
    }
    return sqlite_db_exec_buf(&sink->db, sql, err);
}

static Status insert_row(SqliteSink *sink, SqliteTable *table, const Change *change, Error *err)
{
    if (table->insert == NULL && prepare_insert(sink, table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (uint16_t i = 0; i < table->relation->column_count; i++) {
        if (bind_column(sink, table, table->insert, i + 1, i, change->new_row, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    if (sqlite_db_run(&sink->db, table->insert, err) != STATUS_OK) {
        int code = sqlite3_extended_errcode(sink->db.handle);
        if (code == SQLITE_CONSTRAINT_PRIMARYKEY || code == SQLITE_CONSTRAINT_ROWID) {
            error_set(err, ERROR_DATA, "the target already has such a row");
            (void)sqlite_hint_copy_again(sink, table->target, table->relation, err);
        }
        return STATUS_FAIL;
    }
    return STATUS_OK;
}

static Status need_row_identity(SqliteSink *sink, SqliteTable *table, const Value *row, Error *err)
{
    const Relation *relation = table->relation;
    if (row != NULL && relation->key_count > 0) {
        return STATUS_OK;
    }
    if (row != NULL && table->rowid != NULL) {
        if (table->has_index) {
            return STATUS_OK;
        }
        table->has_index = true;
        return sqlite_make_index(sink, table, err);
    }
    if (row != NULL) {
        error_set(err, ERROR_CONFIG, "its columns hide every name of SQLite's row id");
        return error_hint(err, "Give the table a primary key, or rename column \"oid\", \"rowid\" "
                               "or \"_rowid_\".");
    }
    error_set(err, ERROR_DATA, "the server does not say which row it was");
    return error_hint(err, "ALTER TABLE \"%" STR_FMT "\".\"%" STR_FMT "\" REPLICA IDENTITY FULL;",
                      STR_ARG(relation->schema), STR_ARG(relation->name));
}

static Status run_on_one_row(SqliteSink *sink, SqliteTable *table, sqlite3_stmt *statement,
                             const Value *locator, Error *err)
{
    if (sqlite_db_run(&sink->db, statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int64_t rows = sqlite3_changes64(sink->db.handle);
    assert(rows <= 1);
    return rows == 1 ? STATUS_OK : diverged(sink, table, err);
}

static Status delete_row(SqliteSink *sink, SqliteTable *table, const Change *change, Error *err)
{
    if (need_row_identity(sink, table, change->old_row, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (table->remove == NULL) {
        buf_cstr(&sink->sql, "DELETE FROM ");
        sql_table_name(&sink->sql, table->target);
        append_locator(table, &sink->sql);
        if (sqlite_db_prepare(&sink->db, &sink->sql, &table->remove, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    if (bind_locator(sink, table, table->remove, 1, change->old_row, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return run_on_one_row(sink, table, table->remove, change->old_row, err);
}

static Status prepare_update(SqliteSink *sink, SqliteTable *table, const uint64_t *columns,
                             sqlite3_stmt **ret, Error *err)
{
    const Relation *relation = table->relation;
    const char *separator = " SET ";
    buf_cstr(&sink->sql, "UPDATE ");
    sql_table_name(&sink->sql, table->target);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (has_bit(columns, i)) {
            buf_cstr(&sink->sql, separator);
            sql_identifier(&sink->sql, relation->columns[i].name);
            buf_cstr(&sink->sql, " = ?");
            separator = ", ";
        }
    }
    append_locator(table, &sink->sql);
    return sqlite_db_prepare(&sink->db, &sink->sql, ret, err);
}

// The statement that sets just these columns. Few sets occur: all of them, or all but the TOASTed.
static Status update_statement(SqliteSink *sink, SqliteTable *table, sqlite3_stmt **ret, Error *err)
{
    size_t bytes = bit_bytes(table->relation);
    for (size_t i = 0; i < table->update_count; i++) {
        if (memcmp(table->updates[i].columns, table->columns, bytes) == 0) {
            *ret = table->updates[i].statement;
            return STATUS_OK;
        }
    }
    sqlite3_stmt *statement;
    if (prepare_update(sink, table, table->columns, &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    SqliteUpdate *slot = &table->updates[table->next_update];
    sqlite_db_finalize(&slot->statement);
    slot->statement = statement;
    memcpy(slot->columns, table->columns, bytes);
    table->update_count = MAX(table->update_count, table->next_update + 1);
    table->next_update = (table->next_update + 1) % SQLITE_UPDATES;
    *ret = statement;
    return STATUS_OK;
}

bool sqlite_key_changes(const Relation *relation, const Change *change)
{
    for (uint16_t i = 0; i < relation->key_count && change->old_row != NULL; i++) {
        uint16_t column = relation->key[i];
        if (value_is_known(change->new_row[column]) &&
            !value_equal(change->new_row[column], change->old_row[column])) {
            return true;
        }
    }
    return false;
}

// Which columns the update writes: what it knows, and the key only if that changes, for writing a
// key costs SQLite more. At least one, so that a row that is missing shows.
static bool choose_columns(SqliteTable *table, const Change *change)
{
    const Relation *relation = table->relation;
    bool key_changes = sqlite_key_changes(relation, change);
    bool any = false;
    memset(table->columns, 0, bit_bytes(relation));
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (value_is_known(change->new_row[i]) && (key_changes || !relation_is_key(relation, i))) {
            set_bit(table->columns, i);
            any = true;
        }
    }
    return any;
}

static Status update_row(SqliteSink *sink, SqliteTable *table, const Change *change, Error *err)
{
    const Relation *relation = table->relation;
    bool by_key = relation->key_count > 0;
    const Value *locator = change->old_row != NULL || !by_key ? change->old_row : change->new_row;
    if (need_row_identity(sink, table, locator, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    assert(locator != NULL);
    const Value *values = change->new_row;
    if (!choose_columns(table, change)) {
        set_bit(table->columns, by_key ? relation->key[0] : 0); // to the value that it has
        values = locator;
    }
    sqlite3_stmt *statement;
    if (update_statement(sink, table, &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int index = 1;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (has_bit(table->columns, i) &&
            bind_column(sink, table, statement, index++, i, values, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    if (bind_locator(sink, table, statement, index, locator, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return run_on_one_row(sink, table, statement, locator, err);
}

static Status mirror(SqliteSink *sink, SqliteTable *table, const Change *change, Error *err)
{
    switch (change->op) {
    case CHANGE_READ:
    case CHANGE_INSERT:
        return insert_row(sink, table, change, err);
    case CHANGE_UPDATE:
        return update_row(sink, table, change, err);
    case CHANGE_DELETE:
        return delete_row(sink, table, change, err);
    default:
        assert(change->op == CHANGE_TRUNCATE);
        buf_cstr(&sink->sql, "DELETE FROM ");
        sql_table_name(&sink->sql, table->target);
        return sqlite_db_exec_buf(&sink->db, &sink->sql, err);
    }
}

Status sqlite_apply(SqliteSink *sink, SqliteTable *table, const Change *change, Error *err)
{
    const Relation *relation = table->relation;
    Status status = sink->mode == SQL_MIRROR ? mirror(sink, table, change, err)
                                             : sqlite_append(sink, table, change, err);
    if (sink->scratch.total > 0) {
        arena_reset(&sink->scratch);
    }
    if (status != STATUS_OK) {
        const Value *row = change->old_row != NULL ? change->old_row : change->new_row;
        buf_reset(&sink->message);
        sql_describe_row(&sink->message, relation, row);
        return error_wrap(err, "%s of table \"%" STR_FMT ".%" STR_FMT "\"%" STR_FMT,
                          change_op_name(change->op), STR_ARG(relation->schema),
                          STR_ARG(relation->name), STR_ARG(buf_view(&sink->message)));
    }
    return STATUS_OK;
}
