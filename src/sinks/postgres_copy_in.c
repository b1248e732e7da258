// Rows go in by COPY in text format, in chunks: a chunk is one write to the socket.
#include <assert.h>

#include "pg/copy_text.h"
#include "sinks/postgres_sink.h"

enum { CHUNK_BYTES = 128 * 1024 };

Status postgres_copy_begin(PostgresSink *sink, const PgTarget *target, bool history, Error *err)
{
    assert(sink->copy.target == NULL);
    buf_reset(&sink->sql);
    buf_printf(&sink->sql, "COPY %" STR_FMT " (%" STR_FMT, STR_ARG(target->name),
               STR_ARG(target->columns));
    for (int i = 0; history && i < SQL_HISTORY_COLUMN_COUNT; i++) {
        buf_printf(&sink->sql, ", \"%s\"", sql_history_columns[i]);
    }
    buf_cstr(&sink->sql, ") FROM STDIN");
    PgWait wait = postgres_sink_wait(sink);
    if (pg_start_copy(sink->conn, &wait, buf_cstring(&sink->sql), PGRES_COPY_IN, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_reset(&sink->copy.buf);
    sink->copy.target = target;
    sink->copy.rows = 0;
    return STATUS_OK;
}

static Status send_chunk(PostgresSink *sink, Error *err)
{
    PgWait wait = postgres_sink_wait(sink);
    const Buf *buf = &sink->copy.buf;
    if (buf_check(buf, "a row", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    size_t sent = 0;
    while (sent < buf->len) {
        int part = (int)MIN(buf->len - sent, (size_t)CHUNK_BYTES * 8);
        int code = PQputCopyData(sink->conn, buf->ptr + sent, part);
        if (code < 0) {
            return pg_result_error(sink->conn, NULL, "send rows", err);
        }
        sent += code > 0 ? (size_t)part : 0;
        if (code == 0 && pg_wait(sink->conn, &wait, true, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    buf_reset(&sink->copy.buf);
    // Wait until the socket has taken it, so that memory stays bounded however slow the target is.
    for (int unsent; (unsent = PQflush(sink->conn)) != 0;) {
        if (unsent < 0) {
            return pg_result_error(sink->conn, NULL, "send rows", err);
        }
        if (pg_wait(sink->conn, &wait, true, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

Status postgres_copy_row(PostgresSink *sink, const Value *row, Error *err)
{
    const Relation *relation = sink->copy.target->relation;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (row[i].state != VALUE_TEXT && row[i].state != VALUE_NULL) {
            return error_set(err, ERROR_FATAL,
                             "column \"%" STR_FMT "\" has no text value to insert",
                             STR_ARG(relation->columns[i].name));
        }
    }
    copy_text_encode_row(&sink->copy.buf, row, relation->column_count);
    sink->copy.rows++;
    return STATUS_OK;
}

Status postgres_copy_flush(PostgresSink *sink, Error *err)
{
    return sink->copy.buf.len >= CHUNK_BYTES ? send_chunk(sink, err) : STATUS_OK;
}

static Status finish_copy(PostgresSink *sink, Error *err)
{
    PgWait wait = postgres_sink_wait(sink);
    int code;
    while ((code = PQputCopyEnd(sink->conn, NULL)) == 0) {
        if (pg_wait(sink->conn, &wait, true, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    if (code < 0) {
        return pg_result_error(sink->conn, NULL, "end a COPY", err);
    }
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    return pg_results(sink->conn, &wait, &result, err);
}

Status postgres_copy_end(PostgresSink *sink, Error *err)
{
    const PgTarget *target = sink->copy.target;
    if (target == NULL) {
        return STATUS_OK;
    }
    sink->copy.target = NULL;
    if (send_chunk(sink, err) != STATUS_OK || finish_copy(sink, err) != STATUS_OK) {
        return error_wrap(err, "insert into %" STR_FMT, STR_ARG(target->name));
    }
    return STATUS_OK;
}
