// `weir verify`: what the target's rows come to. SQLite has no MD5: its statements call functions
// of ours, so that it is SQLite that sorts, on disk if need be.
//
//   weir_row('iitf', a, b, c, d)   the values written down; a letter for each says how
//   weir_digest(text)              the digest, so that SQLite's signed numbers keep its order
//   weir_wanted(digest)            whether the query wants it
#include <math.h>

#include "base/limits.h"
#include "base/md5.h"
#include "base/mem.h"
#include "sinks/sqlite_sink.h"
#include "sinks/sqlite_value.h"

// A function has up to 127 arguments, unless SQLite was built with more.
enum { ROW_COLUMNS = 100 };

// Flips the order of signed numbers into that of unsigned ones, and back.
#define SIGN (UINT64_C(1) << 63)

/** The letters of weir_row(). */
enum { KEPT_BOOL = 'b', KEPT_INTEGER = 'i', KEPT_FLOAT = 'f', KEPT_BLOB = 'x', KEPT_TEXT = 't' };

typedef struct Bucket {
    uint64_t count;
    uint64_t sum;
} Bucket;

typedef struct SqliteReader {
    DigestReader base;
    SqliteSink *sink;
    const DigestQuery *query;
    sqlite3_stmt *statement;
    Bucket *buckets; // of DIGEST_BUCKETS, once they are full
    size_t next_bucket;
    Arena arena; // of one row
} SqliteReader;

static SqliteSink *self(Sink *sink)
{
    return (SqliteSink *)sink;
}

static char kept_as(const Column *column)
{
    switch (column->type) {
    case TYPE_BOOL:
        return KEPT_BOOL;
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
    case TYPE_OID:
        return KEPT_INTEGER;
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
        return KEPT_FLOAT;
    case TYPE_BYTEA:
        return KEPT_BLOB;
    default:
        return KEPT_TEXT;
    }
}

static DigestForm form_of(char kept)
{
    switch (kept) {
    case KEPT_BOOL:
    case KEPT_INTEGER:
        return DIGEST_WORD;
    case KEPT_FLOAT:
        return DIGEST_FLOAT;
    case KEPT_BLOB:
        return DIGEST_BYTES;
    default:
        return DIGEST_TEXT;
    }
}

Status sqlite_digest_check(Sink *base, Error *err)
{
    return sql_require_mirror((SqlMode)self(base)->mode, err);
}

// A float4 is kept as the float8 that its text is.
Status sqlite_digest_columns(Sink *base, const Relation *relation, DigestColumn *columns,
                             size_t count, Error *err)
{
    (void)base;
    (void)err;
    for (size_t i = 0; i < count; i++) {
        const Column *column = &relation->columns[columns[i].index];
        columns[i].form = form_of(kept_as(column));
        columns[i].type = column->type == TYPE_FLOAT4 ? STR("double precision") : (Str){0};
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// The functions
// ---------------------------------------------------------------------------------------------

static void put_hex(Buf *out, uint64_t number)
{
    buf_printf(out, "%016llx", (unsigned long long)number);
}

static void put_float(Buf *out, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof(bits));
    if (number == 0) { // -0 is, too
        buf_char(out, '0');
    } else {
        put_hex(out, bits);
    }
}

static void put_md5(Buf *out, Str text)
{
    char hex[MD5_HEX_SIZE];
    md5_hex(text, hex);
    buf_bytes(out, hex, sizeof(hex));
}

static Str value_bytes(sqlite3_value *value)
{
    // In this order: the first may change how long it is.
    bool is_blob = sqlite3_value_type(value) == SQLITE_BLOB;
    const void *ptr = is_blob ? sqlite3_value_blob(value) : sqlite3_value_text(value);
    return (Str){ptr, (size_t)sqlite3_value_bytes(value)};
}

// What is not stored as it ought to be is written in a way that nothing of the source is.
static void put_stranger(Buf *out, int type, sqlite3_value *value)
{
    buf_printf(out, "?%d", type);
    put_md5(out, value_bytes(value));
}

static void put_form(Buf *out, char kept, sqlite3_value *value)
{
    int type = sqlite3_value_type(value);
    if (type == SQLITE_NULL) {
        return;
    }
    if (kept == KEPT_BOOL && type == SQLITE_INTEGER &&
        (sqlite3_value_int64(value) & ~INT64_C(1)) == 0) {
        buf_char(out, sqlite3_value_int64(value) == 1 ? 't' : 'f');
    } else if (kept == KEPT_INTEGER && type == SQLITE_INTEGER) {
        buf_int64(out, sqlite3_value_int64(value));
    } else if (kept == KEPT_FLOAT && type == SQLITE_FLOAT) {
        put_float(out, sqlite3_value_double(value));
    } else if (kept == KEPT_FLOAT && type == SQLITE_TEXT && str_is(value_bytes(value), "NaN")) {
        buf_cstr(out, "NaN");
    } else if ((kept == KEPT_BLOB && type == SQLITE_BLOB) ||
               (kept == KEPT_TEXT && type == SQLITE_TEXT)) {
        put_md5(out, value_bytes(value));
    } else {
        put_stranger(out, type, value);
    }
}

static void weir_row(sqlite3_context *context, int count, sqlite3_value **values)
{
    CLEANUP(buf_done) Buf out;
    buf_init(&out, LIMIT_TEXT_BYTES);
    const char *kept = (const char *)sqlite3_value_text(values[0]);
    for (int i = 1; i < count; i++) {
        put_form(&out, kept[i - 1], values[i]);
        buf_char(&out, ',');
    }
    sqlite3_result_text64(context, buf_cstring(&out), out.len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

static void weir_digest(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3_result_int64(context, (int64_t)(md5_number(value_bytes(values[0])) ^ SIGN));
}

static uint64_t bucket_of(const DigestQuery *query, uint64_t digest)
{
    return digest >> (64 - 4 * query->digits);
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left == right ? 0 : (left < right ? -1 : 1);
}

static void weir_wanted(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    const DigestQuery *query = sqlite3_user_data(context);
    uint64_t digest = (uint64_t)sqlite3_value_int64(values[0]) ^ SIGN;
    uint64_t key = query->kind == DIGEST_PAIRS ? bucket_of(query, digest) : digest;
    sqlite3_result_int(context, bsearch(&key, query->wanted, query->wanted_count, sizeof(key),
                                        compare_numbers) != NULL);
}

static Status register_functions(SqliteReader *reader, Error *err)
{
    sqlite3 *db = reader->sink->db.handle;
    int flags = SQLITE_UTF8 | SQLITE_DIRECTONLY;
    // Finalizing a statement does not need what its functions were given.
    void *query = (void *)(uintptr_t)reader->query;
    int code =
        sqlite3_create_function_v2(db, "weir_row", -1, flags, NULL, weir_row, NULL, NULL, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_create_function_v2(db, "weir_digest", 1, flags, NULL, weir_digest, NULL,
                                          NULL, NULL);
    }
    if (code == SQLITE_OK) {
        code = sqlite3_create_function_v2(db, "weir_wanted", 1, flags, query, weir_wanted, NULL,
                                          NULL, NULL);
    }
    return code == SQLITE_OK
               ? STATUS_OK
               : sqlite_db_fail(&reader->sink->db, code, err, "\"%s\"", reader->sink->db.path);
}

// ---------------------------------------------------------------------------------------------
// The statement
// ---------------------------------------------------------------------------------------------

static void put_name(Buf *sql, const DigestQuery *query, size_t at)
{
    sql_identifier(sql, query->relation->columns[query->columns[at].index].name);
}

static void put_row(Buf *sql, const DigestQuery *query, size_t count)
{
    for (size_t begin = 0; begin < count; begin += ROW_COLUMNS) {
        size_t end = MIN(begin + ROW_COLUMNS, count);
        buf_cstr(sql, begin == 0 ? "weir_row('" : " || weir_row('");
        for (size_t i = begin; i < end; i++) {
            buf_char(sql, kept_as(&query->relation->columns[query->columns[i].index]));
        }
        buf_char(sql, '\'');
        for (size_t i = begin; i < end; i++) {
            buf_cstr(sql, ", ");
            put_name(sql, query, i);
        }
        buf_char(sql, ')');
    }
}

static void put_digest(Buf *sql, const DigestQuery *query, size_t count)
{
    buf_cstr(sql, "weir_digest(");
    put_row(sql, query, count);
    buf_char(sql, ')');
}

static void put_statement(Buf *sql, SqlTable table, const DigestQuery *query)
{
    buf_cstr(sql, "SELECT ");
    put_digest(sql, query, query->key_count);
    buf_cstr(sql, ", ");
    put_digest(sql, query, query->column_count);
    if (query->kind == DIGEST_ROWS) {
        buf_cstr(sql, ", ");
        put_row(sql, query, query->column_count);
        for (size_t i = 0; i < query->column_count; i++) {
            buf_cstr(sql, ", ");
            put_name(sql, query, i);
        }
    }
    buf_cstr(sql, " FROM ");
    sql_table_name(sql, table);
    if (query->wanted != NULL) {
        buf_cstr(sql, " WHERE weir_wanted(");
        put_digest(sql, query, query->key_count);
        buf_char(sql, ')');
    }
    if (query->kind != DIGEST_BUCKETS) {
        buf_cstr(sql, " ORDER BY 1, 2");
    }
}

// ---------------------------------------------------------------------------------------------
// The answer
// ---------------------------------------------------------------------------------------------

static Status step(SqliteReader *reader, DigestRow *ret, Error *err)
{
    bool has_row;
    if (sqlite_db_step(&reader->sink->db, reader->statement, &has_row, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!has_row) {
        return STATUS_AGAIN;
    }
    ret->key = (uint64_t)sqlite3_column_int64(reader->statement, 0) ^ SIGN;
    ret->digest = (uint64_t)sqlite3_column_int64(reader->statement, 1) ^ SIGN;
    return STATUS_OK;
}

static Status fill_buckets(SqliteReader *reader, Error *err)
{
    reader->buckets = mem_alloc_zero(((size_t)1 << 4 * reader->query->digits) * sizeof(Bucket));
    DigestRow row = {0};
    Status status;
    while ((status = step(reader, &row, err)) == STATUS_OK) {
        Bucket *bucket = &reader->buckets[bucket_of(reader->query, row.key)];
        bucket->count++;
        bucket->sum += row.digest;
    }
    return status == STATUS_AGAIN ? STATUS_OK : STATUS_FAIL;
}

static Status next_bucket(SqliteReader *reader, DigestRow *ret, Error *err)
{
    if (reader->buckets == NULL && fill_buckets(reader, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    size_t count = (size_t)1 << 4 * reader->query->digits;
    while (reader->next_bucket < count) {
        size_t at = reader->next_bucket++;
        const Bucket *bucket = &reader->buckets[at];
        if (bucket->count > 0) {
            *ret = (DigestRow){.key = at, .digest = bucket->sum, .count = bucket->count};
            return STATUS_OK;
        }
    }
    return STATUS_AGAIN;
}

// The shortest that is read back as the same number.
static Str float_text(double number, Arena *arena)
{
    if (isinf(number)) {
        return str_from(number > 0 ? "Infinity" : "-Infinity");
    }
    char *text = arena_printf(arena, "%.15g", number);
    double back;
    if (!str_to_double(str_from(text), &back) || back != number) {
        text = arena_printf(arena, "%.17g", number);
    }
    return str_from(text);
}

static Str bytes_text(Str bytes, Arena *arena)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, LIMIT_TEXT_BYTES);
    buf_cstr(&text, "\\x");
    for (size_t i = 0; i < bytes.len; i++) {
        buf_printf(&text, "%02x", (unsigned char)bytes.ptr[i]);
    }
    return str_copy(arena, buf_view(&text));
}

static Value value_of(SqliteReader *reader, size_t at, int cell)
{
    char kept = kept_as(&reader->query->relation->columns[reader->query->columns[at].index]);
    sqlite3_stmt *statement = reader->statement;
    Str text;
    switch (sqlite3_column_type(statement, cell)) {
    case SQLITE_NULL:
        return (Value){.state = VALUE_NULL};
    case SQLITE_BLOB:
        text = (Str){sqlite3_column_blob(statement, cell),
                     (size_t)sqlite3_column_bytes(statement, cell)};
        text = bytes_text(text, &reader->arena);
        break;
    case SQLITE_FLOAT:
        text = float_text(sqlite3_column_double(statement, cell), &reader->arena);
        break;
    default:
        text = sqlite_db_column(statement, cell);
        break;
    }
    if (kept == KEPT_BOOL && text.len == 1 && (text.ptr[0] & ~1) == '0') {
        text = text.ptr[0] == '1' ? STR("t") : STR("f");
    }
    return (Value){text.ptr, (uint32_t)text.len, VALUE_TEXT};
}

static Status next_row(SqliteReader *reader, DigestRow *ret, Error *err)
{
    Status status = step(reader, ret, err);
    if (status != STATUS_OK || reader->query->kind != DIGEST_ROWS) {
        return status;
    }
    arena_reset(&reader->arena);
    size_t count = reader->query->column_count;
    Value *values = ARENA_ARRAY(&reader->arena, Value, count);
    for (size_t i = 0; i < count; i++) {
        values[i] = value_of(reader, i, 3 + (int)i);
    }
    ret->text = sqlite_db_column(reader->statement, 2);
    ret->values = values;
    return STATUS_OK;
}

static Status reader_next(DigestReader *base, DigestRow *ret, Error *err)
{
    SqliteReader *reader = (SqliteReader *)base;
    return reader->query->kind == DIGEST_BUCKETS ? next_bucket(reader, ret, err)
                                                 : next_row(reader, ret, err);
}

static void reader_close(DigestReader *base)
{
    SqliteReader *reader = (SqliteReader *)base;
    sqlite_db_finalize(&reader->statement);
    mem_free(reader->buckets);
    arena_done(&reader->arena);
    mem_free(reader);
}

Status sqlite_digest_open(Sink *base, const DigestQuery *query, DigestReader **ret, Error *err)
{
    SqliteSink *sink = self(base);
    SqliteReader *reader = mem_alloc_zero(sizeof(*reader));
    reader->base = (DigestReader){reader_next, reader_close};
    reader->sink = sink;
    reader->query = query;
    put_statement(&sink->sql, sqlite_target(sink, query->relation, &reader->arena), query);
    if (register_functions(reader, err) != STATUS_OK ||
        sqlite_db_prepare(&sink->db, &sink->sql, &reader->statement, err) != STATUS_OK) {
        reader_close(&reader->base);
        return STATUS_FAIL;
    }
    *ret = &reader->base;
    return STATUS_OK;
}
