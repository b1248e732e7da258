// One statement a question. PostgreSQL computes an expression as often as it is written, so that
// none is written twice where it is not free; and nothing here keeps a scan from being parallel.
#include "pg/digest.h"

#include <inttypes.h>

#include "base/limits.h"
#include "base/mem.h"

// A function has up to 100 arguments.
enum { CONCAT_COLUMNS = 48, STATEMENT_MAX = 64 << 20 };

typedef struct PgReader {
    DigestReader base;
    PGconn *conn;
    bool owns;
    bool is_done;
    Cancel *cancel;
    DigestKind kind;
    size_t column_count;
    PGresult *row; // the last one
    Value *values;
} PgReader;

// ---------------------------------------------------------------------------------------------
// The statement
// ---------------------------------------------------------------------------------------------

// IS NOT NULL would ask a composite value whether its fields are. And concat() takes the output
// function, where a cast to text may be something else: char(n) loses its blanks.
static void put_text(Buf *sql, const char *name, const char *before, const char *after)
{
    buf_printf(sql, "CASE WHEN %s IS DISTINCT FROM NULL THEN %sconcat(%s)%s END", name, before,
               name, after);
}

static void put_value(Buf *sql, const DigestQuery *query, const DigestColumn *column)
{
    CLEANUP(buf_done) Buf name;
    buf_init(&name, LIMIT_NAME_BYTES * 4);
    pg_identifier(&name, query->relation->columns[column->index].name);
    if (column->type.ptr == NULL) {
        buf_str(sql, buf_view(&name));
        return;
    }
    CLEANUP(buf_done) Buf cast;
    buf_init(&cast, LIMIT_NAME_BYTES * 4);
    buf_printf(&cast, "::%" STR_FMT, STR_ARG(column->type));
    buf_char(sql, '(');
    put_text(sql, buf_cstring(&name), "", buf_cstring(&cast));
    buf_char(sql, ')');
}

static bool is_float4(const DigestQuery *query, const DigestColumn *column)
{
    return column->type.ptr == NULL && query->relation->columns[column->index].type == TYPE_FLOAT4;
}

static void put_form(Buf *sql, const PgRows *rows, const DigestQuery *query,
                     const DigestColumn *column)
{
    CLEANUP(buf_done) Buf value;
    buf_init(&value, LIMIT_NAME_BYTES * 16);
    put_value(&value, query, column);
    const char *of = buf_cstring(&value);
    bool has_zone = query->relation->columns[column->index].type == TYPE_TIMESTAMPTZ;
    const char *send = is_float4(query, column) ? "float4send" : "float8send";
    switch (column->form) {
    case DIGEST_TEXT:
        put_text(sql, of, rows->convert ? "md5(convert_to(" : "md5(",
                 rows->convert ? ", 'UTF8'))" : ")");
        break;
    case DIGEST_WORD:
        buf_cstr(sql, of);
        break;
    case DIGEST_BYTES:
        buf_printf(sql, "md5(%s)", of);
        break;
    case DIGEST_FLOAT:
        buf_printf(sql,
                   "CASE WHEN %s = 'NaN' THEN 'NaN' WHEN %s = 0 THEN '0'"
                   " ELSE encode(%s(%s), 'hex') END",
                   of, of, send, of);
        break;
    case DIGEST_DAYS:
        buf_printf(sql,
                   "CASE WHEN isfinite(%s) THEN (%s - date '2000-01-01')::text ELSE %s::text"
                   " END",
                   of, of, of);
        break;
    case DIGEST_TIMESTAMP:
        buf_printf(sql, "encode(%s(%s), 'hex')", has_zone ? "timestamptz_send" : "timestamp_send",
                   of);
        break;
    case DIGEST_INTERVAL:
        buf_printf(sql, "encode(interval_send(%s), 'hex')", of);
        break;
    }
}

// The first @count columns, written down.
static void put_row(Buf *sql, const PgRows *rows, const DigestQuery *query, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool begins = i % CONCAT_COLUMNS == 0;
        if (begins) {
            buf_cstr(sql, i == 0 ? "concat(" : ") || concat(");
        }
        buf_cstr(sql, begins ? "" : ", ");
        put_form(sql, rows, query, &query->columns[i]);
        buf_cstr(sql, ", ','");
    }
    buf_char(sql, ')');
}

// The first digits of the digest of the first @count columns.
static void put_digest(Buf *sql, const PgRows *rows, const DigestQuery *query, size_t count,
                       unsigned digits)
{
    buf_cstr(sql, "substr(md5(");
    put_row(sql, rows, query, count);
    buf_printf(sql, "), 1, %u)", digits);
}

static void put_from(Buf *sql, const PgRows *rows, const DigestQuery *query)
{
    const char *word = " WHERE ";
    buf_printf(sql, " FROM %" STR_FMT, STR_ARG(rows->from));
    if (rows->filter.len > 0) {
        buf_printf(sql, " WHERE (%" STR_FMT ")", STR_ARG(rows->filter));
        word = " AND ";
    }
    if (query->wanted != NULL) {
        unsigned digits = query->kind == DIGEST_PAIRS ? query->digits : DIGEST_HEX_SIZE;
        buf_cstr(sql, word);
        put_digest(sql, rows, query, query->key_count, digits);
        buf_cstr(sql, " = ANY ('{");
        digest_list(sql, query);
        buf_cstr(sql, "}'::text[])");
    }
}

static void put_buckets(Buf *sql, const PgRows *rows, const DigestQuery *query)
{
    buf_cstr(sql, "SELECT ");
    put_digest(sql, rows, query, query->key_count, query->digits);
    buf_cstr(sql, ", sum(('x' || ");
    put_digest(sql, rows, query, query->column_count, DIGEST_HEX_SIZE);
    buf_cstr(sql, ")::bit(64)::bigint), count(*)");
    put_from(sql, rows, query);
    buf_cstr(sql, " GROUP BY 1");
}

static void put_pairs(Buf *sql, const PgRows *rows, const DigestQuery *query)
{
    buf_cstr(sql, "SELECT ");
    put_digest(sql, rows, query, query->key_count, DIGEST_HEX_SIZE);
    buf_cstr(sql, " COLLATE \"C\", ");
    put_digest(sql, rows, query, query->column_count, DIGEST_HEX_SIZE);
    buf_cstr(sql, " COLLATE \"C\"");
    if (query->kind == DIGEST_ROWS) {
        buf_cstr(sql, ", ");
        put_row(sql, rows, query, query->column_count);
        for (size_t i = 0; i < query->column_count; i++) {
            buf_cstr(sql, ", ");
            put_value(sql, query, &query->columns[i]);
        }
    }
    put_from(sql, rows, query);
    buf_cstr(sql, " ORDER BY 1, 2");
}

// ---------------------------------------------------------------------------------------------
// The answer
// ---------------------------------------------------------------------------------------------

static Str cell(const PGresult *result, int column)
{
    return (Str){pg_value(result, 0, column), (size_t)PQgetlength(result, 0, column)};
}

// A sum of numbers with a sign, modulo 2^64.
static bool parse_sum(Str text, uint64_t *ret)
{
    bool is_negative = text.len > 0 && text.ptr[0] == '-';
    uint64_t sum = 0;
    for (size_t i = is_negative ? 1 : 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
        sum = sum * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    *ret = is_negative ? 0 - sum : sum;
    return text.len > 0;
}

static Status take_row(PgReader *reader, DigestRow *ret, Error *err)
{
    const PGresult *result = reader->row;
    int expected = reader->kind == DIGEST_ROWS ? 3 + (int)reader->column_count
                                               : (reader->kind == DIGEST_BUCKETS ? 3 : 2);
    bool is_bucket = reader->kind == DIGEST_BUCKETS;
    if (PQntuples(result) != 1 || PQnfields(result) != expected ||
        !digest_parse_hex(cell(result, 0), &ret->key) ||
        !(is_bucket ? parse_sum(cell(result, 1), &ret->digest) &&
                          str_to_uint64(cell(result, 2), &ret->count)
                    : digest_parse_hex(cell(result, 1), &ret->digest))) {
        return error_set(err, ERROR_DATA, "the server gave no digests");
    }
    if (reader->kind == DIGEST_ROWS) {
        ret->text = cell(result, 2);
        for (int i = 0; i < (int)reader->column_count; i++) {
            Str value = cell(result, 3 + i);
            bool is_null = PQgetisnull(result, 0, 3 + i) == 1;
            reader->values[i] =
                (Value){value.ptr, (uint32_t)value.len, is_null ? VALUE_NULL : VALUE_TEXT};
        }
        ret->values = reader->values;
    }
    return STATUS_OK;
}

static Status next_result(PgReader *reader, Error *err)
{
    PgWait wait = {.cancel = reader->cancel};
    while (PQisBusy(reader->conn) == 1) {
        if (pg_wait(reader->conn, &wait, false, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    pg_result_clear(&reader->row);
    reader->row = PQgetResult(reader->conn);
    return STATUS_OK;
}

static Status pg_reader_next(DigestReader *base, DigestRow *ret, Error *err)
{
    PgReader *reader = (PgReader *)base;
    while (!reader->is_done) {
        if (next_result(reader, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        switch (PQresultStatus(reader->row)) {
        case PGRES_SINGLE_TUPLE:
            return take_row(reader, ret, err);
        case PGRES_TUPLES_OK: // all rows have come
            break;
        default:
            if (reader->row != NULL) {
                return pg_result_error(reader->conn, reader->row, "compute digests", err);
            }
            reader->is_done = true;
            break;
        }
    }
    return STATUS_AGAIN;
}

static void pg_reader_close(DigestReader *base)
{
    PgReader *reader = (PgReader *)base;
    if (!reader->is_done && reader->owns) {
        pg_ask_to_stop(reader->conn);
    } else if (!reader->is_done) {
        pg_stop(reader->conn, reader->cancel);
    }
    if (reader->owns) {
        pg_close(&reader->conn);
    }
    pg_result_clear(&reader->row);
    mem_free(reader->values);
    mem_free(reader);
}

bool pg_digest_converts(const PGconn *conn)
{
    const char *encoding = PQparameterStatus(conn, "server_encoding");
    return encoding != NULL && strcmp(encoding, "UTF8") != 0 && strcmp(encoding, "SQL_ASCII") != 0;
}

static Status send_query(PGconn *conn, const PgRows *rows, const DigestQuery *query, Error *err)
{
    CLEANUP(buf_done) Buf sql;
    buf_init(&sql, STATEMENT_MAX);
    if (query->kind == DIGEST_BUCKETS) {
        put_buckets(&sql, rows, query);
    } else {
        put_pairs(&sql, rows, query);
    }
    if (buf_check(&sql, "a statement for digests", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQsendQuery(conn, buf_cstring(&sql)) != 1 || PQsetSingleRowMode(conn) != 1) {
        return pg_result_error(conn, NULL, "send a statement", err);
    }
    return STATUS_OK;
}

Status pg_digest_open(PGconn *conn, bool owns, Cancel *cancel, const PgRows *rows,
                      const DigestQuery *query, DigestReader **ret, Error *err)
{
    if (send_query(conn, rows, query, err) != STATUS_OK) {
        if (owns) {
            pg_close(&conn);
        }
        return STATUS_FAIL;
    }
    PgReader *reader = mem_alloc_zero(sizeof(*reader));
    *reader = (PgReader){
        .base = {pg_reader_next, pg_reader_close},
        .conn = conn,
        .owns = owns,
        .cancel = cancel,
        .kind = query->kind,
        .column_count = query->column_count,
        .values = mem_alloc_zero(MAX(query->column_count, (size_t)1) * sizeof(Value)),
    };
    *ret = &reader->base;
    return STATUS_OK;
}
