// `weir verify`: what the target's rows come to. DuckDB has MD5, so this is SQL; what it spells in
// another way than Postgres is written down by its value.
#include "base/limits.h"
#include "base/mem.h"
#include "sinks/duckdb_sink.h"

// Bits of a number as so many hexadecimal digits.
#define HEX16(number) "lpad(lower(to_hex(" number ")), 16, '0')"
#define HEX8(number)  "right(" HEX16("(" number ")::BIGINT") ", 8)"

typedef struct DuckReader {
    DigestReader base;
    DuckSink *sink;
    const DigestQuery *query;
    DuckStatement statement;
    DuckResult result;
    DuckChunk chunk; // NULL: none is being read
    uint64_t row;    // the next one of it
    Value *values;
} DuckReader;

static DuckSink *self(Sink *sink)
{
    return (DuckSink *)sink;
}

static DuckType kept_as(const DuckSink *sink, const Column *column)
{
    return duck_type_of(column, sink->exact, sink->session.has_json);
}

static DigestForm form_of(DuckKind kind)
{
    switch (kind) {
    case DUCK_BLOB:
        return DIGEST_BYTES;
    case DUCK_FLOAT:
    case DUCK_DOUBLE:
        return DIGEST_FLOAT;
    case DUCK_DATE:
        return DIGEST_DAYS;
    case DUCK_TIMESTAMP:
    case DUCK_TIMESTAMPTZ:
        return DIGEST_TIMESTAMP;
    case DUCK_INTERVAL:
        return DIGEST_INTERVAL;
    case DUCK_JSON:
    case DUCK_VARCHAR:
        return DIGEST_TEXT;
    default:
        return DIGEST_WORD;
    }
}

Status duck_digest_check(Sink *base, Error *err)
{
    return sql_require_mirror((SqlMode)self(base)->mode, err);
}

Status duck_digest_columns(Sink *base, const Relation *relation, DigestColumn *columns,
                           size_t count, Error *err)
{
    (void)err;
    for (size_t i = 0; i < count; i++) {
        const Column *column = &relation->columns[columns[i].index];
        columns[i].form = form_of(kept_as(self(base), column).kind);
        columns[i].type = (Str){0};
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// The statement
// ---------------------------------------------------------------------------------------------

// @format with each $ replaced by the column's name.
static void put_format(Buf *sql, const Column *column, const char *format)
{
    for (const char *c = format; *c != '\0'; c++) {
        if (*c == '$') {
            sql_identifier(sql, column->name);
        } else {
            buf_char(sql, *c);
        }
    }
}

static const char *form_format(DuckType type)
{
    switch (type.kind) {
    case DUCK_BOOLEAN:
        return "CASE $ WHEN true THEN 't' WHEN false THEN 'f' END";
    // Not DuckDB, but its compression loses the sign of a zero, where a column has nothing else.
    case DUCK_FLOAT:
        return "CASE WHEN isnan($) THEN 'NaN' WHEN $ = 0 THEN '0' ELSE " HEX8(
            "$::BIT::UINTEGER") " END";
    case DUCK_DOUBLE:
        return "CASE WHEN isnan($) THEN 'NaN' WHEN $ = 0 THEN '0' ELSE " HEX16(
            "$::BIT::UBIGINT") " END";
    case DUCK_BLOB:
        return "md5($)";
    case DUCK_DATE:
        return "CASE WHEN isfinite($) THEN ($ - DATE '2000-01-01')::VARCHAR ELSE $::VARCHAR END";
    case DUCK_TIMESTAMP:
    case DUCK_TIMESTAMPTZ:
        return "CASE WHEN isfinite($) THEN " HEX16(
            "epoch_us($) - 946684800000000") " WHEN $::VARCHAR = 'infinity' THEN '7fffffffffffffff'"
                                             " WHEN $::VARCHAR = '-infinity' THEN "
                                             "'8000000000000000' END";
    case DUCK_INTERVAL:
        return HEX16(
            "datepart('hour', $) * 3600000000 + datepart('minute', $) * 60000000 + "
            "datepart('microsecond', $)") " || " HEX8("datepart('day', $)") " || " HEX8("datepart('"
                                                                                        "year', $) "
                                                                                        "* 12 + "
                                                                                        "datepart('"
                                                                                        "month', "
                                                                                        "$)");
    case DUCK_DECIMAL: // without a digit before the point there is none of a zero
        return type.width > type.scale ? "$::VARCHAR"
                                       : "CASE WHEN $ < 0 THEN '-0' || substr($::VARCHAR, 2) "
                                         "ELSE '0' || $::VARCHAR END";
    case DUCK_JSON:
    case DUCK_VARCHAR:
        return "md5($::VARCHAR)";
    default:
        return "$::VARCHAR";
    }
}

// As Postgres would have it: what is repaired by its key is found by this.
static const char *value_format(DuckType type)
{
    switch (type.kind) {
    case DUCK_BLOB:
        return "'\\x' || lower(hex($))";
    case DUCK_FLOAT:
    case DUCK_DOUBLE:
        return "CASE WHEN isnan($) THEN 'NaN' WHEN isinf($) THEN if($ > 0, 'Infinity', '-Infinity')"
               " ELSE $::VARCHAR END";
    case DUCK_DATE:
    case DUCK_TIMESTAMP:
    case DUCK_TIMESTAMPTZ:
        return "CASE WHEN contains($::VARCHAR, ' (BC)') THEN replace($::VARCHAR, ' (BC)', '') || "
               "' BC' ELSE $::VARCHAR END";
    case DUCK_INTERVAL:
        return "replace($::VARCHAR, 'month', 'mon')";
    case DUCK_BOOLEAN:
    case DUCK_DECIMAL:
        return form_format(type);
    default:
        return "$::VARCHAR";
    }
}

static const Column *column_at(const DigestQuery *query, size_t at)
{
    return &query->relation->columns[query->columns[at].index];
}

static void put_row(Buf *sql, const DuckSink *sink, const DigestQuery *query, size_t count)
{
    buf_cstr(sql, "concat(");
    for (size_t i = 0; i < count; i++) {
        const Column *column = column_at(query, i);
        buf_cstr(sql, i == 0 ? "" : ", ");
        put_format(sql, column, form_format(kept_as(sink, column)));
        buf_cstr(sql, ", ','");
    }
    buf_char(sql, ')');
}

static void put_digest(Buf *sql, const DuckSink *sink, const DigestQuery *query, size_t count)
{
    buf_cstr(sql, "('0x' || substr(md5(");
    put_row(sql, sink, query, count);
    buf_cstr(sql, "), 1, 16))::UBIGINT");
}

// A derived table: each expression is written, and computed, once.
static void put_from(Buf *sql, const DuckSink *sink, const DigestQuery *query)
{
    buf_cstr(sql, " FROM (SELECT ");
    put_digest(sql, sink, query, query->key_count);
    buf_cstr(sql, " AS weir_key, ");
    put_digest(sql, sink, query, query->column_count);
    buf_cstr(sql, " AS weir_digest");
    if (query->kind == DIGEST_ROWS) {
        buf_cstr(sql, ", ");
        put_row(sql, sink, query, query->column_count);
        buf_cstr(sql, " AS weir_text");
        for (size_t i = 0; i < query->column_count; i++) {
            const Column *column = column_at(query, i);
            buf_cstr(sql, ", ");
            put_format(sql, column, value_format(kept_as(sink, column)));
            buf_printf(sql, " AS weir_value%zu", i);
        }
    }
    buf_cstr(sql, " FROM ");
    sql_table_name(sql, duck_target(sink, query->relation));
    buf_cstr(sql, ") AS weir_rows");
}

static void put_bucket(Buf *sql, const DigestQuery *query)
{
    buf_printf(sql, "(weir_key >> %u)", 64 - 4 * query->digits);
}

// One constant for all of them: there may be very many.
static void put_wanted(Buf *sql, const DigestQuery *query)
{
    buf_cstr(sql, " IN (SELECT unnest(string_split('");
    for (size_t i = 0; i < query->wanted_count; i++) {
        buf_cstr(sql, i == 0 ? "" : ",");
        buf_uint64(sql, query->wanted[i]);
    }
    buf_cstr(sql, "', ','))::UBIGINT)");
}

static void put_statement(Buf *sql, const DuckSink *sink, const DigestQuery *query)
{
    if (query->kind == DIGEST_BUCKETS) {
        buf_cstr(sql, "SELECT ");
        put_bucket(sql, query);
        buf_cstr(sql, ", (sum(weir_digest) % 18446744073709551616)::UBIGINT, count(*)::UBIGINT");
        put_from(sql, sink, query);
        buf_cstr(sql, " GROUP BY 1");
        return;
    }
    buf_cstr(sql, "SELECT weir_key, weir_digest");
    if (query->kind == DIGEST_ROWS) {
        buf_cstr(sql, ", weir_text");
        for (size_t i = 0; i < query->column_count; i++) {
            buf_printf(sql, ", weir_value%zu", i);
        }
    }
    put_from(sql, sink, query);
    if (query->wanted != NULL) {
        buf_cstr(sql, " WHERE ");
        if (query->kind == DIGEST_PAIRS) {
            put_bucket(sql, query);
        } else {
            buf_cstr(sql, "weir_key");
        }
        put_wanted(sql, query);
    }
    buf_cstr(sql, " ORDER BY 1, 2");
}

// ---------------------------------------------------------------------------------------------
// The answer
// ---------------------------------------------------------------------------------------------

static const DuckLibrary *library_of(const DuckReader *reader)
{
    const DuckSession *session = &reader->sink->session;
    return &session->library;
}

static uint64_t number_at(const DuckReader *reader, uint64_t column)
{
    const DuckLibrary *library = library_of(reader);
    DuckVector vector = library->data_chunk_get_vector(reader->chunk, column);
    const uint64_t *numbers = library->vector_get_data(vector);
    return numbers[reader->row];
}

static Str text_at(const DuckReader *reader, uint64_t column)
{
    const DuckLibrary *library = library_of(reader);
    DuckVector vector = library->data_chunk_get_vector(reader->chunk, column);
    const uint64_t *validity = library->vector_get_validity(vector);
    const DuckString *strings = library->vector_get_data(vector);
    uint64_t row = reader->row;
    bool is_null = validity != NULL && (validity[row / 64] >> (row % 64) & 1) == 0;
    return is_null ? (Str){0} : duck_string_view(&strings[row]);
}

static void take_row(DuckReader *reader, DigestRow *ret)
{
    *ret = (DigestRow){.key = number_at(reader, 0), .digest = number_at(reader, 1)};
    if (reader->query->kind == DIGEST_BUCKETS) {
        ret->count = number_at(reader, 2);
    }
    if (reader->query->kind == DIGEST_ROWS) {
        ret->text = text_at(reader, 2);
        for (size_t i = 0; i < reader->query->column_count; i++) {
            Str text = text_at(reader, 3 + i);
            reader->values[i] =
                (Value){text.ptr, (uint32_t)text.len, text.ptr == NULL ? VALUE_NULL : VALUE_TEXT};
        }
        ret->values = reader->values;
    }
    reader->row++;
}

// The end, or a failure in the middle: the rows come while they are computed.
static Status check_end(DuckReader *reader, Error *err)
{
    const DuckSession *session = &reader->sink->session;
    const char *text = session->library.result_error(&reader->result);
    if (text != NULL && text[0] != '\0') {
        return duck_fail(session, session->library.result_error_type(&reader->result), text, err);
    }
    return duck_check_cancel(session, err) == STATUS_OK ? STATUS_AGAIN : STATUS_FAIL;
}

static Status reader_next(DigestReader *base, DigestRow *ret, Error *err)
{
    DuckReader *reader = (DuckReader *)base;
    const DuckLibrary *library = library_of(reader);
    while (reader->chunk == NULL || reader->row == library->data_chunk_get_size(reader->chunk)) {
        if (reader->chunk != NULL) {
            library->destroy_data_chunk(&reader->chunk);
        }
        reader->chunk = library->fetch_chunk(reader->result);
        reader->row = 0;
        if (reader->chunk == NULL) {
            return check_end(reader, err);
        }
    }
    take_row(reader, ret);
    return STATUS_OK;
}

static void reader_close(DigestReader *base)
{
    DuckReader *reader = (DuckReader *)base;
    const DuckLibrary *library = library_of(reader);
    if (reader->chunk != NULL) {
        library->destroy_data_chunk(&reader->chunk);
    }
    library->destroy_result(&reader->result);
    library->destroy_prepare(&reader->statement);
    mem_free(reader->values);
    mem_free(reader);
}

static Status execute(DuckReader *reader, Error *err)
{
    DuckSession *session = &reader->sink->session;
    const DuckLibrary *library = &session->library;
    if (buf_check(&session->sql, "a statement for DuckDB", err) != STATUS_OK ||
        duck_check_cancel(session, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (library->prepare(session->connection, buf_cstring(&session->sql), &reader->statement) !=
        DUCK_SUCCESS) {
        return duck_fail(session, DUCK_ERROR_BINDER, library->prepare_error(reader->statement),
                         err);
    }
    if (library->execute_prepared_streaming(reader->statement, &reader->result) != DUCK_SUCCESS) {
        return duck_fail(session, library->result_error_type(&reader->result),
                         library->result_error(&reader->result), err);
    }
    return STATUS_OK;
}

Status duck_digest_open(Sink *base, const DigestQuery *query, DigestReader **ret, Error *err)
{
    DuckSink *sink = self(base);
    if (duck_session_take_all_memory(&sink->session, err) != STATUS_OK) {
        return STATUS_FAIL; // rows may be of any size
    }
    DuckReader *reader = mem_alloc_zero(sizeof(*reader));
    reader->base = (DigestReader){reader_next, reader_close};
    reader->sink = sink;
    reader->query = query;
    reader->values = mem_alloc_zero(query->column_count * sizeof(Value));
    put_statement(&sink->session.sql, sink, query);
    Status status = execute(reader, err);
    buf_reset(&sink->session.sql);
    if (status != STATUS_OK) {
        reader_close(&reader->base);
        return STATUS_FAIL;
    }
    *ret = &reader->base;
    return STATUS_OK;
}
