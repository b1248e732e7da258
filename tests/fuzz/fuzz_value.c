// Values of any bytes as Postgres's types: numbers, bytes, DuckDB's cells and what a server is
// sent. A cell is filled or untouched, whole numbers come back as they went in, and what has limits
// is within them.
//
// The first three bytes are the kind, the width and the scale of DuckDB's type; the first is also
// the type of what is sent.
#include <endian.h>
#include <math.h>

#include "base/mem.h"
#include "change/types.h"
#include "change/value.h"
#include "fuzz.h"
#include "pg/send_form.h"
#include "sinks/duckdb_value.h"

static void check_numbers(Value value)
{
    int64_t number;
    char written[32];
    if (value_to_int64(value, &number)) {
        int len = snprintf(written, sizeof(written), "%lld", (long long)number);
        Value again = {written, (uint32_t)len, VALUE_TEXT};
        int64_t same;
        FUZZ_CHECK(value_to_int64(again, &same) && same == number);
        double real;
        FUZZ_CHECK(value_to_double(value, &real) &&
                   fabs(real - (double)number) <= fabs(real) / 1e15);
    }
    bool truth;
    (void)(value_to_bool(value, &truth) ? truth : false);
}

static void check_bytes(Value value)
{
    size_t size;
    if (!value_bytea_size(value, &size)) {
        return;
    }
    FUZZ_CHECK(size <= value.len / 2);
    char *bytes = mem_alloc(size);
    if (value_to_bytea(value, bytes, size)) {
        for (size_t i = 0; i < size; i++) {
            char pair[3];
            char given[3] = {value.ptr[2 + 2 * i], value.ptr[3 + 2 * i], '\0'};
            (void)snprintf(pair, sizeof(pair), "%02x", (unsigned)(unsigned char)bytes[i]);
            FUZZ_CHECK(strcasecmp(pair, given) == 0);
        }
    }
    mem_free(bytes);
}

// The largest number of so many digits.
static DuckHugeint largest(unsigned digits)
{
    DuckHugeint value = 1;
    for (unsigned i = 0; i < digits; i++) {
        value *= 10;
    }
    return value - 1;
}

static DuckHugeint decimal_in(DuckType type, const void *cell)
{
    DuckHugeint huge = 0;
    switch (duck_cell_size(type)) {
    case 2:
        return *(const int16_t *)cell;
    case 4:
        return *(const int32_t *)cell;
    case 8:
        return *(const int64_t *)cell;
    default:
        memcpy(&huge, cell, sizeof(huge));
        return huge;
    }
}

static void check_cell(DuckType type, Str text)
{
    _Alignas(16) unsigned char cell[32];
    memset(cell, 0xA5, sizeof(cell));
    DuckParse parsed = duck_parse(type, text, cell);
    size_t from = parsed == DUCK_PARSE_OK ? duck_cell_size(type) : 0;
    for (size_t i = from; i < sizeof(cell); i++) {
        FUZZ_CHECK(cell[i] == 0xA5);
    }
    if (parsed == DUCK_PARSE_OK && type.kind == DUCK_DECIMAL) {
        DuckHugeint value = decimal_in(type, cell);
        FUZZ_CHECK(value <= largest(type.width) && value >= -largest(type.width));
    }
    int64_t number;
    if (type.kind == DUCK_BIGINT &&
        value_to_int64((Value){text.ptr, (uint32_t)text.len, VALUE_TEXT}, &number)) {
        FUZZ_CHECK(parsed == DUCK_PARSE_OK && memcmp(cell, &number, sizeof(number)) == 0);
    }
    if (parsed == DUCK_PARSE_OK && type.kind == DUCK_BOOLEAN) {
        FUZZ_CHECK(cell[0] <= 1);
    }
}

// All of it or nothing, and never longer than what the text can say.
static void check_sent(uint32_t type_oid, Value value)
{
    const PgSendForm *form = pg_send_form(type_oid);
    if (form == NULL) {
        return;
    }
    Buf out = {.max = SIZE_MAX / 2};
    buf_char(&out, '!');
    bool is_sent = pg_send_value(form, value, &out);
    FUZZ_CHECK(is_sent || out.len == 1);
    if (is_sent) {
        uint32_t len;
        FUZZ_CHECK(out.len >= 1 + sizeof(len));
        memcpy(&len, out.ptr + 1, sizeof(len));
        FUZZ_CHECK(be32toh(len) == out.len - 1 - sizeof(len) && out.len <= 32 + value.len * 2);
    }
    FUZZ_CHECK(out.ptr[0] == '!');
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    Value value = {(const char *)data + 3, (uint32_t)(size - 3), VALUE_TEXT};
    DuckType type = {.kind = (DuckKind)(data[0] % (DUCK_UUID + 1))};
    type.width = (uint8_t)(1 + data[1] % DUCK_DECIMAL_MAX);
    type.scale = (uint8_t)(data[2] % (type.width + 1));
    check_numbers(value);
    check_bytes(value);
    for (uint32_t oid = data[0]; oid < OID_JSONB + 256; oid += 256) {
        check_sent(oid, value);
    }
    if (type.kind != DUCK_VARCHAR && type.kind != DUCK_JSON && type.kind != DUCK_BLOB) {
        check_cell(type, value_str(value));
    }
    // Defaults are text of the server's catalogs, which has no NUL.
    Buf sql = {.max = SIZE_MAX / 2};
    bool is_text = value.len == 0 || memchr(value.ptr, 0, value.len) == NULL;
    if (is_text && duck_literal(type, value_str(value), &sql) == DUCK_PARSE_OK) {
        FUZZ_CHECK(sql.len >= 2 && sql.len <= value.len * 4 + 256);
    }
    buf_done(&sql);
    return 0;
}
