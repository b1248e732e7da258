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
    buf_cstr(buf, op);
    add_field(buf, str_from(lsn));
    buf_char(buf, '\t');
    buf_uint64(buf, change->ordinal);
    if (change->transaction->xid == 0) {
        add_field(buf, STR("\\N"));
    } else {
        buf_char(buf, '\t');
        buf_uint64(buf, change->transaction->xid);
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
    if (postgres_copy_into(sink, target, COPY_FORM_TEXT, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const Relation *relation = target->relation;
    Buf *buf = &sink->copy.buf;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (row == NULL || !value_is_data(row[i])) {
            buf_bytes(buf, "\\N", 2);
        } else {
            copy_text_encode(buf, value_str(row[i]));
        }
        buf_char(buf, '\t');
    }
    add_facts(buf, change, op);
    sink->copy.rows++;
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

static bool is_gone(const char *op)
{
    return strcmp(op, change_op_name(CHANGE_DELETE)) == 0;
}

static Status no_earlier_row(const PgTarget *target, Error *err)
{
    CLEANUP(buf_done) Buf source;
    buf_init(&source, ERROR_MESSAGE_MAX);
    sql_table_name(&source,
                   (SqlTable){.schema = target->relation->schema, .name = target->relation->name});
    error_set(err, ERROR_DATA,
              "update in %" STR_FMT " leaves a large column as it was, and the history has no "
              "earlier row of that key to take it from",
              STR_ARG(target->name));
    return error_hint(err,
                      "Copy the table, or on the source: ALTER TABLE %s REPLICA IDENTITY FULL;",
                      buf_cstring(&source));
}

// What the last row of the key had in each column that this update leaves unchanged.
static Status last_values(PostgresSink *sink, const PgTarget *target, const Value *key_row,
                          Value *row, Error *err)
{
    const Relation *relation = target->relation;
    const char **parameters = ARENA_ARRAY(&sink->scratch, const char *, relation->key_count);
    buf_reset(&sink->sql);
    buf_cstr(&sink->sql, "SELECT ");
    buf_str(&sink->sql, target->columns);
    buf_cstr(&sink->sql, ", \"_weir_op\" FROM ");
    buf_str(&sink->sql, target->name);
    for (uint16_t i = 0; i < relation->key_count; i++) {
        buf_cstr(&sink->sql, i == 0 ? " WHERE " : " AND ");
        sql_identifier(&sink->sql, relation->columns[relation->key[i]].name);
        const PgColumn *column = &target->column[relation->key[i]];
        buf_printf(&sink->sql, " %" STR_FMT " $%d::%" STR_FMT, STR_ARG(column->equals), i + 1,
                   STR_ARG(column->type));
        parameters[i] = str_to_cstr(&sink->scratch, value_str(key_row[relation->key[i]]));
    }
    buf_cstr(&sink->sql, " ORDER BY \"_weir_lsn\" DESC, \"_weir_ordinal\" DESC LIMIT 1");
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_query(sink, buf_cstring(&sink->sql), relation->key_count, parameters, &result,
                       err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQntuples(result) == 0 || is_gone(pg_value(result, 0, relation->column_count))) {
        return no_earlier_row(target, err);
    }
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (value_is_known(row[i])) {
            continue;
        }
        row[i] = (Value){.state = VALUE_NULL};
        if (!PQgetisnull(result, 0, i)) {
            size_t len = (size_t)PQgetlength(result, 0, i);
            row[i] = (Value){.state = VALUE_TEXT,
                             .ptr = arena_copy(&sink->scratch, pg_value(result, 0, i), len),
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

// @row with every column known: from the old row, else from the history.
static Status fill(PostgresSink *sink, const PgTarget *target, const Change *change,
                   const Value **row, Error *err)
{
    const Relation *relation = target->relation;
    const Value *old_row = change->old_row;
    size_t size = relation->column_count * sizeof(Value);
    Value *filled = memcpy(arena_alloc(&sink->scratch, size), *row, size);
    for (uint16_t i = 0; old_row != NULL && i < relation->column_count; i++) {
        if (!value_is_known(filled[i]) && value_is_known(old_row[i])) {
            filled[i] = old_row[i];
        }
    }
    *row = filled;
    if (!has_unknown(relation, filled)) {
        return STATUS_OK;
    }
    const Value *where = old_row != NULL ? old_row : filled;
    for (uint16_t i = 0; i < relation->key_count; i++) {
        if (!value_is_data(where[relation->key[i]])) {
            return no_earlier_row(target, err);
        }
    }
    return relation->key_count == 0 ? no_earlier_row(target, err)
                                    : last_values(sink, target, where, filled, err);
}

static Status append_update(PostgresSink *sink, const PgTarget *target, const Change *change,
                            Error *err)
{
    const Value *row = change->new_row;
    if (has_unknown(target->relation, row) && fill(sink, target, change, &row, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (key_changes(target->relation, change) &&
        append_row(sink, target, change, change->old_row, "delete", err) != STATUS_OK) {
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
    return STATUS_OK;
}
