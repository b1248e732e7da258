// mode=history: every change is a row more; an update that changes the key is two of one position,
// a delete with the old key and an update with the row.
//
// An update that leaves a TOASTed column as it was brings no value for it; the row gets the value
// that the history had for that key at that point. Within a write it is found among the changes
// before it; what is older is joined from the table, for all such rows of a write at once.
#include <assert.h>

#include "base/limits.h"
#include "sinks/duckdb_sink.h"

// A row that some columns have to be looked up for, as of the moment before @before: the first
// change of this write that left them out. Later ones may have given its key to another row.
typedef struct Lookup {
    const Value *key_row;
    const Change *before;
} Lookup;

// What this write knows about the row of a key.
typedef struct Tracked {
    const Value *row; // unknown columns are those to be looked up
    Lookup lookup;    // before NULL: nothing is to be looked up
} Tracked;

// A row that waits for its lookup.
typedef struct Waiting {
    const Change *change;
    const Value *row;
    Lookup lookup;
} Waiting;

typedef struct History {
    DuckSink *sink;
    DuckTable *table;
    Map tracked; // key as bytes -> Tracked
    Buf key;
    Waiting *waiting;
    size_t waiting_count;
} History;

// ---------------------------------------------------------------------------------------------
// Rows
// ---------------------------------------------------------------------------------------------

static void write_own_columns(DuckSink *sink, uint16_t first, ChangeOp op, const Change *change)
{
    const Transaction *transaction = change->transaction;
    char lsn[SQL_LSN_TEXT_SIZE];
    sql_history_lsn(transaction->commit_lsn, lsn);
    duck_writer_text(&sink->writer, (uint16_t)(first + SQL_HISTORY_OP),
                     str_from(change_op_name(op)));
    duck_writer_text(&sink->writer, (uint16_t)(first + SQL_HISTORY_LSN), str_from(lsn));
    duck_writer_int64(&sink->writer, (uint16_t)(first + SQL_HISTORY_ORDINAL),
                      (int64_t)change->ordinal);
    if (transaction->xid == 0) {
        duck_writer_null(&sink->writer, (uint16_t)(first + SQL_HISTORY_XID));
    } else {
        duck_writer_int64(&sink->writer, (uint16_t)(first + SQL_HISTORY_XID), transaction->xid);
    }
    if (transaction->commit_time_us == 0) {
        duck_writer_null(&sink->writer, (uint16_t)(first + SQL_HISTORY_COMMIT_TIME));
    } else {
        duck_writer_int64(&sink->writer, (uint16_t)(first + SQL_HISTORY_COMMIT_TIME),
                          transaction->commit_time_us);
    }
}

// @row may be NULL; what it does not know is NULL.
static Status append_as(DuckSink *sink, const DuckTable *table, ChangeOp op, const Change *change,
                        const Value *row, Error *err)
{
    uint16_t count = table->relation->column_count;
    if (duck_append_to(sink, table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (uint16_t i = 0; i < count; i++) {
        if (row == NULL || !value_is_known(row[i])) {
            duck_writer_null(&sink->writer, i);
        } else if (duck_writer_value(&sink->writer, i, row[i], err) != STATUS_OK) {
            return duck_about_row(table->relation, row, err);
        }
    }
    write_own_columns(sink, count, op, change);
    return duck_writer_end_row(&sink->writer, err);
}

static bool changes_key(const Change *change)
{
    const Relation *relation = change->relation;
    for (uint16_t i = 0; i < relation->key_count && change->old_row != NULL; i++) {
        uint16_t column = relation->key[i];
        if (!value_equal(change->old_row[column], change->new_row[column])) {
            return true;
        }
    }
    return false;
}

static Status append(DuckSink *sink, const DuckTable *table, const Change *change, const Value *row,
                     Error *err)
{
    return append_as(sink, table, change->op, change, row, err);
}

// Before an update: the row is not under its old key any more.
static Status append_old_key(DuckSink *sink, const DuckTable *table, const Change *change,
                             Error *err)
{
    return changes_key(change) ? append_as(sink, table, CHANGE_DELETE, change, change->old_row, err)
                               : STATUS_OK;
}

static bool is_complete(const Value *row, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        if (!value_is_known(row[i])) {
            return false;
        }
    }
    return true;
}

// ---------------------------------------------------------------------------------------------
// Following rows through a write
// ---------------------------------------------------------------------------------------------

static Str key_of(History *history, const Value *row)
{
    const Relation *relation = history->table->relation;
    buf_reset(&history->key);
    for (uint16_t i = 0; i < relation->key_count; i++) {
        Value value = row[relation->key[i]];
        buf_bytes(&history->key, &value.len, sizeof(value.len));
        buf_bytes(&history->key, value.ptr, value_is_data(value) ? value.len : 0);
    }
    return buf_view(&history->key);
}

static void track(History *history, const Value *row, Lookup lookup)
{
    Arena *arena = &history->sink->scratch;
    Tracked *tracked = map_get(&history->tracked, key_of(history, row));
    if (tracked == NULL) {
        tracked = arena_alloc(arena, sizeof(*tracked));
        (void)map_put(&history->tracked, str_copy(arena, buf_view(&history->key)), tracked);
    }
    *tracked = (Tracked){row, lookup};
}

static Status no_key(const Relation *relation, Error *err)
{
    error_set(err, ERROR_DATA, "the table has no key, and an update left a column out");
    return error_hint(err,
                      "In the source: ALTER TABLE \"%" STR_FMT "\".\"%" STR_FMT
                      "\" REPLICA IDENTITY FULL; or give the table a primary key.",
                      STR_ARG(relation->schema), STR_ARG(relation->name));
}

// *ret: the update's row as far as this write knows it, *ret_lookup: where the rest is.
static void complete(History *history, const Change *change, const Value **ret, Lookup *ret_lookup)
{
    DuckSink *sink = history->sink;
    uint16_t count = change->relation->column_count;
    const Value *row = duck_full_row(sink, change);
    const Value *key_row = change->old_row == NULL ? change->new_row : change->old_row;
    const Tracked *tracked = map_get(&history->tracked, key_of(history, key_row));
    *ret = row;
    *ret_lookup = (Lookup){0};
    if (is_complete(row, count)) {
        return;
    }
    if (tracked != NULL) {
        Value *filled = ARENA_ARRAY(&sink->scratch, Value, count);
        for (uint16_t i = 0; i < count; i++) {
            filled[i] = value_is_known(row[i]) ? row[i] : tracked->row[i];
        }
        *ret = filled;
    }
    if (!is_complete(*ret, count)) {
        *ret_lookup = tracked == NULL ? (Lookup){key_row, change} : tracked->lookup;
    }
}

static Status append_update(History *history, const Change *change, Error *err)
{
    const Relation *relation = history->table->relation;
    const Value *row;
    Lookup lookup;
    if (append_old_key(history->sink, history->table, change, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (relation->key_count == 0) {
        row = duck_full_row(history->sink, change);
        return is_complete(row, relation->column_count)
                   ? append(history->sink, history->table, change, row, err)
                   : no_key(relation, err);
    }
    complete(history, change, &row, &lookup);
    if (change->old_row != NULL) {
        (void)map_remove(&history->tracked, key_of(history, change->old_row));
    }
    track(history, row, lookup);
    if (lookup.before == NULL) {
        return append(history->sink, history->table, change, row, err);
    }
    history->waiting[history->waiting_count++] = (Waiting){change, row, lookup};
    return STATUS_OK;
}

static Status append_change(History *history, const Change *change, Error *err)
{
    bool has_key = history->table->relation->key_count > 0;
    switch (change->op) {
    case CHANGE_READ:
    case CHANGE_INSERT:
        if (has_key) {
            track(history, change->new_row, (Lookup){0});
        }
        return append(history->sink, history->table, change, change->new_row, err);
    case CHANGE_UPDATE:
        return append_update(history, change, err);
    case CHANGE_DELETE:
        if (has_key && change->old_row != NULL) {
            (void)map_remove(&history->tracked, key_of(history, change->old_row));
        }
        return append(history->sink, history->table, change, change->old_row, err);
    case CHANGE_TRUNCATE:
        map_reset(&history->tracked);
        return append(history->sink, history->table, change, NULL, err);
    case CHANGE_MESSAGE:
    case CHANGE_SCHEMA:
        break;
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Looking up
//
// The stage has k0, k1, … the key to look up; b_lsn, b_ordinal, before when; c0, c1, … the known
// values; and the history's own columns under their names.
// ---------------------------------------------------------------------------------------------

static bool same_columns(const Value *a, const Value *b, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        if (value_is_known(a[i]) != value_is_known(b[i])) {
            return false;
        }
    }
    return true;
}

static DuckWriterColumn *stage_columns(const History *history, const Value *shape, uint16_t *ret)
{
    const DuckTable *table = history->table;
    const Relation *relation = table->relation;
    Arena *arena = &history->sink->scratch;
    size_t most = (size_t)relation->key_count + 2 + table->column_count;
    DuckWriterColumn *columns = ARENA_ARRAY(arena, DuckWriterColumn, most);
    uint16_t width = 0;
    for (uint16_t i = 0; i < relation->key_count; i++) {
        columns[width++] = (DuckWriterColumn){.name = str_from(arena_printf(arena, "k%u", i)),
                                              .called = table->columns[relation->key[i]].name,
                                              .type = table->columns[relation->key[i]].type};
    }
    columns[width++] = (DuckWriterColumn){.name = STR("b_lsn"), .type = {.kind = DUCK_VARCHAR}};
    columns[width++] = (DuckWriterColumn){.name = STR("b_ordinal"), .type = {.kind = DUCK_BIGINT}};
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (value_is_known(shape[i])) {
            columns[width++] = (DuckWriterColumn){.name = str_from(arena_printf(arena, "c%u", i)),
                                                  .called = table->columns[i].name,
                                                  .type = table->columns[i].type};
        }
    }
    for (int i = 0; i < SQL_HISTORY_COLUMN_COUNT; i++) {
        columns[width] = table->columns[relation->column_count + i];
        columns[width++].name = str_from(sql_history_columns[i]);
    }
    *ret = width;
    return columns;
}

static Status stage_row(const History *history, const Waiting *waiting, Error *err)
{
    DuckSink *sink = history->sink;
    const Relation *relation = history->table->relation;
    const Change *before = waiting->lookup.before;
    char lsn[SQL_LSN_TEXT_SIZE];
    uint16_t at = 0;
    for (; at < relation->key_count; at++) {
        Value key = waiting->lookup.key_row[relation->key[at]];
        if (duck_writer_value(&sink->writer, at, key, err) != STATUS_OK) {
            return duck_about_row(relation, waiting->lookup.key_row, err);
        }
    }
    sql_history_lsn(before->transaction->commit_lsn, lsn);
    duck_writer_text(&sink->writer, at++, str_from(lsn));
    duck_writer_int64(&sink->writer, at++, (int64_t)before->ordinal);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (value_is_known(waiting->row[i]) &&
            duck_writer_value(&sink->writer, at++, waiting->row[i], err) != STATUS_OK) {
            return duck_about_row(relation, waiting->lookup.key_row, err);
        }
    }
    write_own_columns(sink, at, waiting->change->op, waiting->change);
    return duck_writer_end_row(&sink->writer, err);
}

// A copied row stands before every change of its LSN: the snapshot's changes begin there.
#define OLDER_FIRST "\"_weir_lsn\", t.\"_weir_op\" <> 'read', t.\"_weir_ordinal\""

static void put_lookup(const History *history, const Value *shape)
{
    const DuckTable *table = history->table;
    const Relation *relation = table->relation;
    Buf *sql = &history->sink->session.sql;
    buf_cstr(sql, "INSERT INTO ");
    sql_table_name(sql, table->target);
    buf_cstr(sql, " (");
    for (uint16_t i = 0; i < table->column_count; i++) {
        buf_cstr(sql, i == 0 ? "" : ", ");
        sql_identifier(sql, table->columns[i].name);
    }
    buf_cstr(sql, ") SELECT ");
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (value_is_known(shape[i])) {
            buf_printf(sql, "s.\"c%u\", ", i);
        } else {
            buf_cstr(sql, "t.");
            sql_identifier(sql, table->columns[i].name);
            buf_cstr(sql, ", ");
        }
    }
    for (int i = 0; i < SQL_HISTORY_COLUMN_COUNT; i++) {
        buf_printf(sql, "%ss.\"%s\"", i == 0 ? "" : ", ", sql_history_columns[i]);
    }
    buf_cstr(sql, " FROM " DUCK_TEMPORARY(DUCK_STAGE) " AS s JOIN ");
    sql_table_name(sql, table->target);
    buf_cstr(sql, " AS t ON ");
    for (uint16_t i = 0; i < relation->key_count; i++) {
        buf_cstr(sql, "t.");
        sql_identifier(sql, table->columns[relation->key[i]].name);
        buf_printf(sql, " = s.\"k%u\" AND ", i);
    }
    buf_cstr(sql, "t.\"_weir_op\" IN ('read', 'insert', 'update') AND "
                  "(t." OLDER_FIRST ") < (s.\"b_lsn\", true, s.\"b_ordinal\") "
                  "QUALIFY row_number() OVER (PARTITION BY s.rowid ORDER BY "
                  "t.\"_weir_lsn\" DESC, t.\"_weir_op\" <> 'read' DESC, t.\"_weir_ordinal\" DESC) "
                  "= 1");
}

static Status no_earlier_row(size_t missing, Error *err)
{
    error_set(err, ERROR_DATA,
              "%zu updates leave a large column as it was, and the history has no earlier row of "
              "their keys to take it from",
              missing);
    return error_hint(err, "Copy the table, or ALTER TABLE … REPLICA IDENTITY FULL.");
}

// All @waiting know the same columns.
static Status look_up(const History *history, const Waiting *waiting, size_t count, Error *err)
{
    DuckSink *sink = history->sink;
    uint64_t found;
    uint16_t width;
    const DuckWriterColumn *columns = stage_columns(history, waiting[0].row, &width);
    if (duck_stage(sink, columns, width, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < count; i++) {
        if (stage_row(history, &waiting[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    if (duck_append_end(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    put_lookup(history, waiting[0].row);
    if (duck_run(&sink->session, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return found == count ? STATUS_OK : no_earlier_row(count - found, err);
}

static Status look_up_all(History *history, Error *err)
{
    Waiting *left = history->waiting;
    size_t total = history->waiting_count;
    Waiting *group = ARENA_ARRAY(&history->sink->scratch, Waiting, total);
    while (total > 0) {
        size_t count = 0;
        size_t kept = 0;
        const Value *shape = left[0].row;
        for (size_t i = 0; i < total; i++) {
            if (same_columns(shape, left[i].row, history->table->relation->column_count)) {
                group[count++] = left[i];
            } else {
                left[kept++] = left[i];
            }
        }
        if (look_up(history, group, count, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        total = kept;
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------

static bool leaves_columns_out(const Change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (changes[i].op == CHANGE_UPDATE &&
            !is_complete(changes[i].new_row, changes[i].relation->column_count)) {
            return true;
        }
    }
    return false;
}

// Nothing to be looked up: rows need not be followed.
static Status append_plain(DuckSink *sink, DuckTable *table, const Change *changes, size_t count,
                           Error *err)
{
    for (size_t i = 0; i < count; i++) {
        const Change *change = &changes[i];
        if (change->op == CHANGE_MESSAGE || change->op == CHANGE_SCHEMA) {
            continue;
        }
        const Value *row = change->op == CHANGE_DELETE ? change->old_row : change->new_row;
        if (change->op == CHANGE_UPDATE && append_old_key(sink, table, change, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (append(sink, table, change, row, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

Status duck_append_history(DuckSink *sink, DuckTable *table, const Change *changes, size_t count,
                           Error *err)
{
    if (!leaves_columns_out(changes, count)) {
        return append_plain(sink, table, changes, count, err);
    }
    History history = {.sink = sink, .table = table, .key = {.max = LIMIT_TEXT_BYTES}};
    history.waiting = ARENA_ARRAY(&sink->scratch, Waiting, count);
    Status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = append_change(&history, &changes[i], err);
    }
    map_done(&history.tracked);
    buf_done(&history.key);
    return status == STATUS_OK ? look_up_all(&history, err) : STATUS_FAIL;
}
