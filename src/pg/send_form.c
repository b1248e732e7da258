#include "pg/send_form.h"

#include <assert.h>
#include <endian.h>
#include <math.h>

#include "base/ascii.h"
#include "base/cursor.h"
#include "change/float_text.h"
#include "change/time_text.h"
#include "change/types.h"

// ---------------------------------------------------------------------------------------------
// Numbers
// ---------------------------------------------------------------------------------------------

static bool write_bool(Str text, Buf *out)
{
    if (!str_is(text, "t") && !str_is(text, "f")) {
        return false;
    }
    buf_char(out, text.ptr[0] == 't' ? 1 : 0);
    return true;
}

static bool integer_of(Str text, int64_t min, int64_t max, int64_t *ret)
{
    return str_to_int64(text, ret) && *ret >= min && *ret <= max;
}

static bool write_int2(Str text, Buf *out)
{
    int64_t value;
    if (!integer_of(text, INT16_MIN, INT16_MAX, &value)) {
        return false;
    }
    buf_be16(out, (uint16_t)value);
    return true;
}

static bool write_int4(Str text, Buf *out)
{
    int64_t value;
    if (!integer_of(text, INT32_MIN, INT32_MAX, &value)) {
        return false;
    }
    buf_be32(out, (uint32_t)value);
    return true;
}

static bool write_int8(Str text, Buf *out)
{
    int64_t value;
    if (!str_to_int64(text, &value)) {
        return false;
    }
    buf_be64(out, (uint64_t)value);
    return true;
}

static bool write_oid(Str text, Buf *out)
{
    int64_t value;
    if (!integer_of(text, 0, UINT32_MAX, &value)) {
        return false;
    }
    buf_be32(out, (uint32_t)value);
    return true;
}

// Only a text that says so is infinite or zero: a number that the type cannot hold is the server's
// to refuse.
static bool is_out_of_range(Str text, double value)
{
    if (isinf(value)) {
        return !str_is(text, "Infinity") && !str_is(text, "-Infinity");
    }
    for (size_t i = 0; value == 0 && i < text.len; i++) {
        if (text.ptr[i] >= '1' && text.ptr[i] <= '9') {
            return true;
        }
    }
    return false;
}

static bool write_float4(Str text, Buf *out)
{
    float value;
    uint32_t bits;
    if (!float_text_float(text, &value) || is_out_of_range(text, value)) {
        return false;
    }
    memcpy(&bits, &value, sizeof(bits));
    buf_be32(out, bits);
    return true;
}

static bool write_float8(Str text, Buf *out)
{
    double value;
    uint64_t bits;
    if (!float_text_double(text, &value) || is_out_of_range(text, value)) {
        return false;
    }
    memcpy(&bits, &value, sizeof(bits));
    buf_be64(out, bits);
    return true;
}

// numeric_send() in numeric.c: digits to the base of 10,000, of which the first has the weight of
// 10,000 to the power of so much, the sign, and how many decimal digits to show behind the point.
enum {
    NUMERIC_POSITIVE = 0x0000,
    NUMERIC_NEGATIVE = 0x4000,
    NUMERIC_NAN = 0xC000,
    NUMERIC_INFINITY = 0xD000,
    NUMERIC_MINUS_INFINITY = 0xF000,
    NUMERIC_GROUP = 4,       // decimal digits in one of those
    NUMERIC_TEXT_MAX = 4000, // longer ones are rare, and their server's
};

static void numeric_head(Buf *out, uint16_t groups, int weight, uint16_t sign, size_t scale)
{
    buf_be16(out, groups);
    buf_be16(out, (uint16_t)weight);
    buf_be16(out, sign);
    buf_be16(out, (uint16_t)scale);
}

static bool write_numeric_special(Str text, Buf *out)
{
    uint16_t sign;
    if (str_is(text, "NaN")) {
        sign = NUMERIC_NAN;
    } else if (str_is(text, "Infinity")) {
        sign = NUMERIC_INFINITY;
    } else if (str_is(text, "-Infinity")) {
        sign = NUMERIC_MINUS_INFINITY;
    } else {
        return false;
    }
    numeric_head(out, 0, 0, sign, 0);
    return true;
}

static Str take_digits(Cursor *in)
{
    const char *start = in->at;
    while (in->at < in->end && ascii_is_digit(*in->at)) {
        in->at++;
    }
    return (Str){start, (size_t)(in->at - start)};
}

// The @at-th group; those of the integer part end at the point, those behind it begin there.
static uint16_t numeric_group(Str whole, Str fraction, size_t whole_groups, size_t at)
{
    uint16_t value = 0;
    bool is_whole = at < whole_groups;
    Str digits = is_whole ? whole : fraction;
    ptrdiff_t first = is_whole
                          ? (ptrdiff_t)whole.len - (ptrdiff_t)((whole_groups - at) * NUMERIC_GROUP)
                          : (ptrdiff_t)((at - whole_groups) * NUMERIC_GROUP);
    for (ptrdiff_t i = first; i < first + NUMERIC_GROUP; i++) {
        bool is_there = i >= 0 && i < (ptrdiff_t)digits.len;
        value = (uint16_t)(value * 10 + (is_there ? digits.ptr[i] - '0' : 0));
    }
    return value;
}

static bool write_numeric(Str text, Buf *out)
{
    Cursor in = cursor_of(text);
    bool is_negative = cursor_accept(&in, '-');
    Str whole = take_digits(&in);
    Str fraction = {in.at, 0};
    bool has_point = cursor_accept(&in, '.');
    if (has_point) {
        fraction = take_digits(&in);
    }
    if (whole.len == 0 || (has_point && fraction.len == 0) || !cursor_at_end(&in) ||
        text.len > NUMERIC_TEXT_MAX) {
        return write_numeric_special(text, out);
    }
    size_t whole_groups = (whole.len + NUMERIC_GROUP - 1) / NUMERIC_GROUP;
    size_t groups = whole_groups + (fraction.len + NUMERIC_GROUP - 1) / NUMERIC_GROUP;
    size_t first = 0;
    // Neither end has a zero, as the server has it.
    while (first < groups && numeric_group(whole, fraction, whole_groups, first) == 0) {
        first++;
    }
    while (groups > first && numeric_group(whole, fraction, whole_groups, groups - 1) == 0) {
        groups--;
    }
    bool is_zero = first == groups;
    numeric_head(out, (uint16_t)(groups - first), is_zero ? 0 : (int)whole_groups - 1 - (int)first,
                 is_negative && !is_zero ? NUMERIC_NEGATIVE : NUMERIC_POSITIVE, fraction.len);
    for (size_t i = first; i < groups; i++) {
        buf_be16(out, numeric_group(whole, fraction, whole_groups, i));
    }
    return true;
}

// ---------------------------------------------------------------------------------------------
// Dates and times: from 2000-01-01 on
// ---------------------------------------------------------------------------------------------

enum { DAYS_TO_2000 = 10957 };

static bool write_date(Str text, Buf *out)
{
    int sign = time_text_infinity(text);
    int64_t days;
    if (sign != 0) {
        buf_be32(out, (uint32_t)(sign > 0 ? INT32_MAX : INT32_MIN));
        return true;
    }
    // A year has at most seven digits: far from the two.
    if (!time_text_date(text, &days)) {
        return false;
    }
    buf_be32(out, (uint32_t)(int32_t)(days - DAYS_TO_2000));
    return true;
}

static bool write_time(Str text, Buf *out)
{
    int64_t micros;
    if (!time_text_time(text, &micros)) {
        return false;
    }
    buf_be64(out, (uint64_t)micros);
    return true;
}

// The zone counts to the west.
static bool write_timetz(Str text, Buf *out)
{
    int64_t micros;
    int64_t offset;
    if (!time_text_timetz(text, &micros, &offset)) {
        return false;
    }
    buf_be64(out, (uint64_t)micros);
    buf_be32(out, (uint32_t)(int32_t)-offset);
    return true;
}

static bool write_any_timestamp(Str text, bool with_zone, Buf *out)
{
    int sign = time_text_infinity(text);
    if (sign != 0) {
        buf_be64(out, (uint64_t)(sign > 0 ? INT64_MAX : INT64_MIN));
        return true;
    }
    int64_t days;
    int64_t micros;
    int64_t total;
    if (!time_text_timestamp(text, with_zone, &days, &micros) ||
        __builtin_mul_overflow(days - DAYS_TO_2000, MICROS_PER_DAY, &total) ||
        __builtin_add_overflow(total, micros, &total) || total == INT64_MAX || total == INT64_MIN) {
        return false;
    }
    buf_be64(out, (uint64_t)total);
    return true;
}

static bool write_timestamp(Str text, Buf *out)
{
    return write_any_timestamp(text, false, out);
}

static bool write_timestamptz(Str text, Buf *out)
{
    return write_any_timestamp(text, true, out);
}

static bool write_interval(Str text, Buf *out)
{
    Interval interval;
    if (!time_text_interval(text, &interval)) {
        return false; // infinity, too: before version 17 there was none
    }
    buf_be64(out, (uint64_t)interval.micros);
    buf_be32(out, (uint32_t)interval.days);
    buf_be32(out, (uint32_t)interval.months);
    return true;
}

// ---------------------------------------------------------------------------------------------
// The rest
// ---------------------------------------------------------------------------------------------

static bool write_text(Str text, Buf *out)
{
    buf_str(out, text);
    return true;
}

static bool write_jsonb(Str text, Buf *out)
{
    buf_char(out, 1); // the form's version
    buf_str(out, text);
    return true;
}

static bool write_bytea(Str text, Buf *out)
{
    Value value = {.ptr = text.ptr, .len = (uint32_t)text.len, .state = VALUE_TEXT};
    size_t size;
    if (!value_bytea_size(value, &size)) {
        return false;
    }
    if (size > 0 && buf_reserve(out, size)) {
        if (!value_to_bytea(value, out->ptr + out->len, size)) {
            return false;
        }
        out->len += size;
    }
    return true;
}

static bool write_uuid(Str text, Buf *out)
{
    enum { UUID_TEXT = 36 };
    int high = -1;
    if (text.len != UUID_TEXT) {
        return false;
    }
    for (size_t i = 0; i < UUID_TEXT; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text.ptr[i] != '-') {
                return false;
            }
            continue;
        }
        int digit = ascii_hex_value(text.ptr[i]);
        if (digit < 0) {
            return false;
        }
        if (high < 0) {
            high = digit;
            continue;
        }
        buf_char(out, (char)(high << 4 | digit));
        high = -1;
    }
    return true;
}

const PgSendForm *pg_send_form(uint32_t type_oid)
{
    static const PgSendForm forms[] = {
        {OID_BOOL, OID_BOOL, "boolean", write_bool},
        {OID_BYTEA, OID_BYTEA, "bytea", write_bytea},
        {OID_INT8, OID_INT8, "bigint", write_int8},
        {OID_INT2, OID_INT2, "smallint", write_int2},
        {OID_INT4, OID_INT4, "integer", write_int4},
        {OID_TEXT, OID_TEXT, "text", write_text},
        {OID_OID, OID_OID, "oid", write_oid},
        {OID_JSON, OID_JSON, "json", write_text},
        {OID_FLOAT4, OID_FLOAT4, "real", write_float4},
        {OID_FLOAT8, OID_FLOAT8, "double precision", write_float8},
        {OID_BPCHAR, OID_TEXT, "text", write_text},
        {OID_VARCHAR, OID_TEXT, "text", write_text},
        {OID_DATE, OID_DATE, "date", write_date},
        {OID_TIME, OID_TIME, "time", write_time},
        {OID_TIMESTAMP, OID_TIMESTAMP, "timestamp", write_timestamp},
        {OID_TIMESTAMPTZ, OID_TIMESTAMPTZ, "timestamptz", write_timestamptz},
        {OID_INTERVAL, OID_INTERVAL, "interval", write_interval},
        {OID_TIMETZ, OID_TIMETZ, "timetz", write_timetz},
        {OID_NUMERIC, OID_NUMERIC, "numeric", write_numeric},
        {OID_UUID, OID_UUID, "uuid", write_uuid},
        {OID_JSONB, OID_JSONB, "jsonb", write_jsonb},
    };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (forms[i].type_oid == type_oid) {
            return &forms[i];
        }
    }
    return NULL;
}

bool pg_send_value(const PgSendForm *form, Value value, Buf *out)
{
    assert(value.state == VALUE_NULL || value.state == VALUE_TEXT);
    if (value.state == VALUE_NULL) {
        buf_be32(out, UINT32_MAX);
        return true;
    }
    size_t start = out->len;
    buf_be32(out, 0);
    if (!form->write(value_str(value), out)) {
        out->len = start;
        return false;
    }
    // A buffer that has overflowed keeps nothing: its owner looks.
    if (out->len >= start + sizeof(uint32_t)) {
        uint32_t len = htobe32((uint32_t)(out->len - start - sizeof(len)));
        memcpy(out->ptr + start, &len, sizeof(len));
    }
    return true;
}
