// mode=history: every change is a row more.
#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "sinks/sqlite_sink.h"
#include "sinks/sqlite_value.h"

static void prepare_insert_text(const SqliteTable *table, Buf *sql)
{
    const Relation *relation = table->relation;
    buf_cstr(sql, "INSERT INTO ");
    sql_table_name(sql, table->target);
    buf_cstr(sql, " (");
    for (int i = 0; i < SQL_HISTORY_COLUMN_COUNT; i++) {
        buf_printf(sql, "%s\"%s\"", i == 0 ? "" : ", ", sql_history_columns[i]);
    }
    if (relation->column_count > 0) {
        buf_cstr(sql, ", ");
        sql_column_list(sql, relation, false);
    }
    buf_cstr(sql, ") VALUES (?");
    for (int i = 1; i < SQL_HISTORY_COLUMN_COUNT + relation->column_count; i++) {
        buf_cstr(sql, ", ?");
    }
    buf_char(sql, ')');
}

static Status prepare_latest(SqliteSink *sink, SqliteTable *table, Error *err)
{
    const Relation *relation = table->relation;
    Buf *sql = &sink->sql;
    if (sqlite_make_index(sink, table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_printf(sql, "SELECT \"%s\", ", sql_history_columns[SQL_HISTORY_OP]);
    sql_column_list(sql, relation, false);
    buf_cstr(sql, " FROM ");
    sql_table_name(sql, table->target);
    const char *separator = " WHERE ";
    for (uint16_t i = 0; i < relation->key_count; i++) {
        buf_cstr(sql, separator);
        sql_identifier(sql, relation->columns[relation->key[i]].name);
        buf_cstr(sql, " = ?");
        separator = " AND ";
    }
    buf_printf(sql, " AND NOT (\"%s\" = ? AND \"%s\" = ?) ORDER BY %s DESC LIMIT 1",
               sql_history_columns[SQL_HISTORY_LSN], sql_history_columns[SQL_HISTORY_ORDINAL],
               table->rowid);
    return sqlite_db_prepare(&sink->db, sql, &table->latest, err);
}

static void bind_number(sqlite3_stmt *statement, int index, int64_t number)
{
    int code = sqlite3_bind_int64(statement, index, number);
    assert(code == SQLITE_OK);
    (void)code;
}

static Status no_earlier_row(const Relation *relation, Error *err)
{
    error_set(err, ERROR_DATA,
              "the update leaves a large column as it was, and the history has no "
              "earlier row of that key to take it from");
    return error_hint(err,
                      "Copy the table, or ALTER TABLE \"%" STR_FMT "\".\"%" STR_FMT
                      "\" REPLICA IDENTITY FULL;",
                      STR_ARG(relation->schema), STR_ARG(relation->name));
}

// The row of that key as the history last saw it before this change, whose own delete of the old
// key may be there already. table->latest is stepped to it.
static Status find_latest(SqliteSink *sink, SqliteTable *table, const Change *change, Error *err)
{
    const Relation *relation = table->relation;
    const Value *key_row = change->old_row != NULL ? change->old_row : change->new_row;
    char lsn[SQL_LSN_TEXT_SIZE];
    if (relation->key_count == 0 || table->rowid == NULL) {
        return no_earlier_row(relation, err);
    }
    if (table->latest == NULL && prepare_latest(sink, table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sql_history_lsn(change->transaction->commit_lsn, lsn);
    sqlite_db_bind_text(table->latest, relation->key_count + 1, str_from(lsn));
    bind_number(table->latest, relation->key_count + 2, (int64_t)change->ordinal);
    for (uint16_t i = 0; i < relation->key_count; i++) {
        uint16_t column = relation->key[i];
        if (sqlite_bind(table->latest, i + 1, &relation->columns[column], key_row[column],
                        &sink->scratch, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    bool found;
    if (sqlite_db_step(&sink->db, table->latest, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!found || str_is(sqlite_db_column(table->latest, 0), change_op_name(CHANGE_DELETE))) {
        (void)sqlite3_reset(table->latest);
        return no_earlier_row(relation, err);
    }
    return STATUS_OK;
}

static void bind_position(SqliteTable *table, ChangeOp op, const Change *change,
                          char lsn[static SQL_LSN_TEXT_SIZE], char time[static CLOCK_TEXT_SIZE])
{
    const Transaction *transaction = change->transaction;
    sqlite3_stmt *insert = table->insert;
    // What is not known (a copied row has no transaction) stays NULL.
    (void)sqlite3_clear_bindings(insert);
    sql_history_lsn(transaction->commit_lsn, lsn);
    sqlite_db_bind_text(insert, SQL_HISTORY_OP + 1, str_from(change_op_name(op)));
    sqlite_db_bind_text(insert, SQL_HISTORY_LSN + 1, str_from(lsn));
    bind_number(insert, SQL_HISTORY_ORDINAL + 1, (int64_t)change->ordinal);
    if (transaction->xid != 0) {
        bind_number(insert, SQL_HISTORY_XID + 1, transaction->xid);
    }
    if (transaction->commit_time_us != 0) {
        clock_format_us(transaction->commit_time_us, time);
        sqlite_db_bind_text(insert, SQL_HISTORY_COMMIT_TIME + 1, str_from(time));
    }
}

// What the row of the history says about a column. Unchanged: the last row of the key knows it.
static Value image(ChangeOp op, const Change *change, const Value *row, uint16_t column)
{
    static const Value null = {.state = VALUE_NULL};
    if (row == NULL || (op == CHANGE_DELETE && row[column].state == VALUE_ABSENT)) {
        return null;
    }
    bool sent = change->old_row != NULL && value_is_known(change->old_row[column]);
    return row[column].state == VALUE_UNCHANGED && sent ? change->old_row[column] : row[column];
}

static Status fill_from_latest(SqliteSink *sink, SqliteTable *table, const Change *change,
                               Error *err)
{
    if (find_latest(sink, table, change, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (uint16_t i = 0; i < table->relation->column_count; i++) {
        if (image(CHANGE_UPDATE, change, change->new_row, i).state == VALUE_UNCHANGED) {
            int code = sqlite3_bind_value(table->insert, SQL_HISTORY_COLUMN_COUNT + i + 1,
                                          sqlite3_column_value(table->latest, i + 1));
            assert(code == SQLITE_OK);
            (void)code;
        }
    }
    (void)sqlite3_reset(table->latest);
    return STATUS_OK;
}

static Status append_row(SqliteSink *sink, SqliteTable *table, ChangeOp op, const Change *change,
                         const Value *row, Error *err)
{
    char lsn[SQL_LSN_TEXT_SIZE];
    char time[CLOCK_TEXT_SIZE];
    bool needs_latest = false;
    if (table->insert == NULL) {
        prepare_insert_text(table, &sink->sql);
        if (sqlite_db_prepare(&sink->db, &sink->sql, &table->insert, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    bind_position(table, op, change, lsn, time);
    for (uint16_t i = 0; i < table->relation->column_count; i++) {
        Value value = image(op, change, row, i);
        if (value.state == VALUE_UNCHANGED && op == CHANGE_UPDATE) {
            needs_latest = true;
        } else if (sqlite_bind(table->insert, SQL_HISTORY_COLUMN_COUNT + i + 1,
                               &table->relation->columns[i], value, &sink->scratch,
                               err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    if (needs_latest && fill_from_latest(sink, table, change, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return sqlite_db_run(&sink->db, table->insert, err);
}

Status sqlite_append(SqliteSink *sink, SqliteTable *table, const Change *change, Error *err)
{
    switch (change->op) {
    case CHANGE_TRUNCATE:
        return append_row(sink, table, CHANGE_TRUNCATE, change, NULL, err);
    case CHANGE_DELETE:
        if (change->old_row == NULL) {
            return error_set(err, ERROR_DATA, "the server does not say which row it was");
        }
        return append_row(sink, table, CHANGE_DELETE, change, change->old_row, err);
    case CHANGE_UPDATE:
        // Nobody could see otherwise that the row with the old key is gone.
        if (sqlite_key_changes(table->relation, change) &&
            append_row(sink, table, CHANGE_DELETE, change, change->old_row, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        return append_row(sink, table, CHANGE_UPDATE, change, change->new_row, err);
    default:
        return append_row(sink, table, change->op, change, change->new_row, err);
    }
}
