// History: every change is appended, see sql_history_columns in sql.h.
#include "base/clock.h"
#include "pg/copy_text.h"
#include "sinks/postgres_sink.h"

static void add_field(Buf *buf, Str text)
{
    buf_char(buf, '\t');
    buf_str(buf, text);
}

// The history columns behind the row's own: none of their values needs escaping.
static void add_facts(Buf *buf, const Change *change, const char *op)
{
    char lsn[SQL_LSN_TEXT_SIZE];
    sql_history_lsn(change->transaction->commit_lsn, lsn);
    add_field(buf, str_from(op));
    add_field(buf, str_from(lsn));
    buf_printf(buf, "\t%llu", (unsigned long long)change->ordinal);
    if (change->transaction->xid == 0) {
        add_field(buf, STR("\\N"));
    } else {
        buf_printf(buf, "\t%u", change->transaction->xid);
    }
    if (change->transaction->commit_time_us == 0) {
        add_field(buf, STR("\\N"));
    } else {
        char when[CLOCK_TEXT_SIZE];
        clock_format_us(change->transaction->commit_time_us, when);
        add_field(buf, str_from(when));
    }
    buf_char(buf, '\n');
}

static Status append_row(PostgresSink *sink, const PgTarget *target, const Change *change,
                         const Value *row, const char *op, Error *err)
{
    bool other = sink->copy.target != target;
    if (other && (postgres_copy_end(sink, err) != STATUS_OK ||
                  postgres_copy_begin(sink, target, true, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    const Relation *relation = target->relation;
    Buf *buf = &sink->copy.buf;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        buf_cstr(buf, i == 0 ? "" : "\t");
        if (row == NULL || !value_is_data(row[i])) {
            buf_cstr(buf, "\\N");
        } else {
            copy_text_encode(buf, value_str(row[i]));
        }
    }
    add_facts(buf, change, op);
    return postgres_copy_flush(sink, err);
}

static bool has_unknown(const Relation *relation, const Value *row)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (!value_is_known(row[i])) {
            return true;
        }
    }
    return false;
}

// What the last row of the key had in each column that this update leaves unchanged.
static Status last_values(PostgresSink *sink, const PgTarget *target, const Value *key_row,
                          Value *row, Error *err)
{
    const Relation *relation = target->relation;
    const char **parameters = ARENA_ARRAY(&sink->scratch, const char *, relation->key_count);
    buf_reset(&sink->sql);
    buf_printf(&sink->sql, "SELECT %" STR_FMT " FROM %" STR_FMT, STR_ARG(target->columns),
               STR_ARG(target->name));
    for (uint16_t i = 0; i < relation->key_count; i++) {
        buf_cstr(&sink->sql, i == 0 ? " WHERE " : " AND ");
        sql_identifier(&sink->sql, relation->columns[relation->key[i]].name);
        buf_printf(&sink->sql, " = $%d", i + 1);
        parameters[i] = str_to_cstr(&sink->scratch, value_str(key_row[relation->key[i]]));
    }
    buf_cstr(&sink->sql, " AND \"_weir_op\" NOT IN ('delete', 'truncate')"
                         " ORDER BY \"_weir_lsn\" DESC, \"_weir_ordinal\" DESC LIMIT 1");
    PgWait wait = postgres_sink_wait(sink);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(sink->conn, &wait, buf_cstring(&sink->sql), relation->key_count, parameters,
                 &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQntuples(result) == 0) {
        return error_set(err, ERROR_DATA,
                         "an update in %" STR_FMT
                         " leaves a column unchanged, and no earlier row of its key is there",
                         STR_ARG(target->name));
    }
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (value_is_known(row[i])) {
            continue;
        }
        row[i] = (Value){.state = VALUE_NULL};
        if (!PQgetisnull(result, 0, i)) {
            size_t len = (size_t)PQgetlength(result, 0, i);
            row[i] = (Value){.state = VALUE_TEXT,
                             .ptr = arena_copy(&sink->scratch, PQgetvalue(result, 0, i), len),
                             .len = (uint32_t)len};
        }
    }
    return STATUS_OK;
}

static bool key_changes(const Relation *relation, const Change *change)
{
    for (uint16_t i = 0; change->old_row != NULL && i < relation->key_count; i++) {
        uint16_t column = relation->key[i];
        if (value_is_known(change->new_row[column]) &&
            !value_equal(change->old_row[column], change->new_row[column])) {
            return true;
        }
    }
    return false;
}

static Status append_update(PostgresSink *sink, const PgTarget *target, const Change *change,
                            Error *err)
{
    const Relation *relation = target->relation;
    const Value *row = change->new_row;
    const Value *old_row = change->old_row;
    if (has_unknown(relation, row)) {
        if (relation->key_count == 0 || postgres_copy_end(sink, err) != STATUS_OK) {
            return relation->key_count == 0
                       ? error_set(err, ERROR_DATA,
                                   "an update in %" STR_FMT
                                   " leaves a column unchanged, and no key says of which row",
                                   STR_ARG(target->name))
                       : STATUS_FAIL;
        }
        size_t size = relation->column_count * sizeof(Value);
        Value *filled = memcpy(arena_alloc(&sink->scratch, size), row, size);
        if (last_values(sink, target, old_row != NULL ? old_row : row, filled, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        row = filled;
    }
    if (key_changes(relation, change) &&
        append_row(sink, target, change, old_row, "delete", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return append_row(sink, target, change, row, "update", err);
}

static Status append_change(PostgresSink *sink, const Change *change, Error *err)
{
    if (change->relation == NULL || change->op == CHANGE_SCHEMA) {
        return STATUS_OK;
    }
    const PgTarget *target = postgres_target(sink, change->relation);
    const char *op = change_op_name(change->op);
    switch (change->op) {
    case CHANGE_READ:
    case CHANGE_INSERT:
        return append_row(sink, target, change, change->new_row, op, err);
    case CHANGE_UPDATE:
        return append_update(sink, target, change, err);
    case CHANGE_DELETE:
        return append_row(sink, target, change, change->old_row, op, err);
    case CHANGE_TRUNCATE:
        return append_row(sink, target, change, NULL, op, err);
    case CHANGE_MESSAGE:
    case CHANGE_SCHEMA:
        break;
    }
    return STATUS_OK;
}

Status postgres_history(PostgresSink *sink, const Change *changes, size_t count, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (append_change(sink, &changes[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (sink->scratch.total > 1 << 20) {
            arena_reset(&sink->scratch);
        }
    }
    return postgres_copy_end(sink, err);
}
