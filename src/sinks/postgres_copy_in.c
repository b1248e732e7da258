// Rows go in by COPY, in chunks: a chunk is one write to the socket. In binary, where every
// column's type has a form that we can write: the target's server is busiest with reading numbers
// and times.
//
// A COPY stays open from one batch of copied rows to the next, so that the target works while the
// next batch is read; whatever needs another statement ends it, see postgres_sink.h.
#include <assert.h>

#include "pg/copy_text.h"
#include "sinks/postgres_sink.h"

enum { CHUNK_BYTES = 128 * 1024, PART_BYTES = 1 << 20 };

// Signature, no flags, no extension; see "File Formats" of COPY in Postgres's manual.
static const char binary_header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";
static const char binary_trailer[] = "\377\377";

static void column_list(PostgresSink *sink, const PgTarget *target)
{
    const char *before = " (";
    if (target->columns.len > 0) {
        buf_cstr(&sink->sql, before);
        buf_str(&sink->sql, target->columns);
        before = ", ";
    }
    for (int i = 0; sink->mode == SQL_HISTORY && i < SQL_HISTORY_COLUMN_COUNT; i++) {
        buf_printf(&sink->sql, "%s\"%s\"", before, sql_history_columns[i]);
        before = ", ";
    }
    // A table without columns has no list either.
    buf_cstr(&sink->sql, before[0] == ',' ? ")" : "");
}

// The columns have the types that they had when the table was looked up. Bytes do not say what they
// are, and somebody may have altered the table since; from here on nobody can, as it is locked.
static bool has_its_types(const PgTarget *target, const PGresult *columns)
{
    for (int i = 0; i < target->relation->column_count; i++) {
        if (PQftype(columns, i) != target->column[i].type_oid) {
            return false;
        }
    }
    return true;
}

static Status start_copy(PostgresSink *sink, const PgTarget *target, CopyForm form,
                         bool *ret_has_its_types, Error *err)
{
    bool is_binary = form == COPY_FORM_BINARY;
    CLEANUP(pg_result_clear) PGresult *columns = NULL;
    PgWait wait = postgres_sink_wait(sink);
    buf_reset(&sink->sql);
    if (is_binary) {
        buf_printf(&sink->sql, "SELECT %" STR_FMT " FROM %" STR_FMT " WHERE false; ",
                   STR_ARG(target->columns), STR_ARG(target->name));
    }
    buf_cstr(&sink->sql, "COPY ");
    buf_str(&sink->sql, target->name);
    column_list(sink, target);
    buf_cstr(&sink->sql, is_binary ? " FROM STDIN WITH (FORMAT binary)" : " FROM STDIN");
    if (buf_check(&sink->sql, "a statement", err) != STATUS_OK ||
        pg_start_copy(sink->session.conn, &wait, buf_cstring(&sink->sql), PGRES_COPY_IN,
                      is_binary ? &columns : NULL, err) != STATUS_OK) {
        return postgres_session_explain(&sink->session, err);
    }
    buf_reset(&sink->copy.buf);
    if (is_binary) {
        buf_bytes(&sink->copy.buf, binary_header, sizeof(binary_header) - 1);
    }
    sink->copy.target = target;
    sink->copy.form = form;
    sink->copy.rows = 0;
    *ret_has_its_types = !is_binary || has_its_types(target, columns);
    return STATUS_OK;
}

Status postgres_copy_into(PostgresSink *sink, const PgTarget *target, CopyForm form, Error *err)
{
    if (sink->copy.target == target && sink->copy.form == form) {
        return STATUS_OK;
    }
    bool has_its_types;
    if (postgres_session_settle(&sink->session, err) != STATUS_OK ||
        start_copy(sink, target, form, &has_its_types, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!has_its_types) {
        return error_set(err, ERROR_TRANSIENT,
                         "the columns of %" STR_FMT " have other types by now",
                         STR_ARG(target->name));
    }
    return STATUS_OK;
}

// Wait until the socket has taken everything, so that memory stays bounded however slow the target.
static Status drain(PostgresSink *sink, Error *err)
{
    PgWait wait = postgres_sink_wait(sink);
    for (int unsent; (unsent = PQflush(sink->session.conn)) != 0;) {
        if (unsent < 0) {
            return pg_result_error(sink->session.conn, NULL, "send rows", err);
        }
        if (pg_wait(sink->session.conn, &wait, true, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status send_bytes(PostgresSink *sink, Str bytes, Error *err)
{
    for (size_t sent = 0; sent < bytes.len;) {
        int part = (int)MIN(bytes.len - sent, (size_t)PART_BYTES);
        int code = PQputCopyData(sink->session.conn, bytes.ptr + sent, part);
        if (code < 0) {
            return pg_result_error(sink->session.conn, NULL, "send rows", err);
        }
        sent += code > 0 ? (size_t)part : 0;
        if (drain(sink, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status send_rows(PostgresSink *sink, Error *err)
{
    if (buf_check(&sink->copy.buf, "a row", err) != STATUS_OK ||
        send_bytes(sink, buf_view(&sink->copy.buf), err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_reset(&sink->copy.buf);
    return STATUS_OK;
}

// @reason: NULL ends it well.
static Status finish(PostgresSink *sink, const char *reason, PGresult **ret, Error *err)
{
    PgWait wait = postgres_sink_wait(sink);
    int code;
    while ((code = PQputCopyEnd(sink->session.conn, reason)) == 0) {
        if (pg_wait(sink->session.conn, &wait, true, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    if (code < 0) {
        return pg_result_error(sink->session.conn, NULL, "end a COPY", err);
    }
    return pg_results(sink->session.conn, &wait, ret, err);
}

Status postgres_copy_end(PostgresSink *sink, Error *err)
{
    const PgTarget *target = sink->copy.target;
    if (target == NULL) {
        return STATUS_OK;
    }
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (sink->copy.form == COPY_FORM_BINARY) {
        buf_bytes(&sink->copy.buf, binary_trailer, sizeof(binary_trailer) - 1);
    }
    // A failure before the end leaves it open, for postgres_copy_abort().
    if (send_rows(sink, err) != STATUS_OK) {
        return error_wrap(err, "insert into %" STR_FMT, STR_ARG(target->name));
    }
    sink->copy.target = NULL;
    if (finish(sink, NULL, &result, err) != STATUS_OK) {
        error_wrap(err, "insert into %" STR_FMT, STR_ARG(target->name));
        if (err != NULL && strcmp(err->sqlstate, "23505") == 0 && err->hint[0] == '\0') {
            error_hint(err, "Somebody else has written to the table; ?existing=truncate removes "
                            "such rows before a table is copied.");
        }
        return postgres_session_explain(&sink->session, err);
    }
    int64_t rows;
    // A trigger of the target may have its own idea of what is to be inserted.
    if (sink->is_quiet &&
        (!str_to_int64(str_from(PQcmdTuples(result)), &rows) || rows != sink->copy.rows)) {
        return error_set(err, ERROR_DATA, "%s of %lld rows arrived in %" STR_FMT,
                         PQcmdTuples(result), (long long)sink->copy.rows, STR_ARG(target->name));
    }
    return STATUS_OK;
}

// What the form of the bytes cannot say, their text may, and the server knows.
static Status go_on_in_text(PostgresSink *sink, Error *err)
{
    const PgTarget *target = sink->copy.target;
    bool has_its_types;
    return postgres_copy_end(sink, err) == STATUS_OK
               ? start_copy(sink, target, COPY_FORM_TEXT, &has_its_types, err)
               : STATUS_FAIL;
}

Status postgres_copy_values_into(PostgresSink *sink, const PgTarget *target, Error *err)
{
    // It may have become one of text.
    if (sink->copy.target == target) {
        return STATUS_OK;
    }
    bool has_its_types;
    if (postgres_session_settle(&sink->session, err) != STATUS_OK ||
        start_copy(sink, target, target->row_form, &has_its_types, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return has_its_types ? STATUS_OK : go_on_in_text(sink, err);
}

Status postgres_copy_rows(PostgresSink *sink, Str rows, size_t count, Error *err)
{
    if (send_rows(sink, err) != STATUS_OK || send_bytes(sink, rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sink->copy.rows += (int64_t)count;
    return STATUS_OK;
}

// False: a value is not in its column's form. Nothing of the row is added.
static bool add_binary(PostgresSink *sink, const Value *row)
{
    const PgTarget *target = sink->copy.target;
    size_t start = sink->copy.buf.len;
    buf_be16(&sink->copy.buf, target->relation->column_count);
    for (uint16_t i = 0; i < target->relation->column_count; i++) {
        if (!pg_send_value(target->column[i].form, row[i], &sink->copy.buf)) {
            sink->copy.buf.len = start;
            return false;
        }
    }
    return true;
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
    if (sink->copy.form == COPY_FORM_BINARY && !add_binary(sink, row) &&
        go_on_in_text(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (sink->copy.form == COPY_FORM_TEXT) {
        copy_text_encode_row(&sink->copy.buf, row, relation->column_count);
    }
    sink->copy.rows++;
    return postgres_copy_flush(sink, err);
}

Status postgres_copy_flush(PostgresSink *sink, Error *err)
{
    return sink->copy.buf.len >= CHUNK_BYTES ? send_rows(sink, err) : STATUS_OK;
}

Status postgres_copy_abort(PostgresSink *sink, Error *err)
{
    if (sink->copy.target == NULL) {
        return STATUS_OK;
    }
    sink->copy.target = NULL;
    buf_reset(&sink->copy.buf);
    // The refusal that we ask for is no failure.
    Error refusal = {0};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (finish(sink, "given up", &result, &refusal) != STATUS_OK && refusal.sqlstate[0] == '\0') {
        *err = refusal;
        return STATUS_FAIL;
    }
    return STATUS_OK;
}
