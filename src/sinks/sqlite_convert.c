#include "sinks/sqlite_convert.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

static const char pointer_type[] = "weir_conversion";

enum {
    OID_INET = 869,
    VARLENA_HEADER = 4,           // typmods of character types count it: VARHDRSZ in Postgres
    TIME_DIGITS = 6,              // of times without a modifier
    NUMERIC_TEXT_MAX = 256 << 10, // 131072 digits before the point and 16383 behind it
};

static Str value_text(sqlite3_value *value)
{
    const char *text = (const char *)sqlite3_value_text(value);
    return (Str){text, (size_t)sqlite3_value_bytes(value)};
}

static void result_text(sqlite3_context *context, Str text)
{
    sqlite3_result_text64(context, text.ptr == NULL ? "" : text.ptr, text.len, SQLITE_TRANSIENT,
                          SQLITE_UTF8);
}

static void refuse(sqlite3_context *context, const SqliteConversion *conversion)
{
    char text[300];
    (void)snprintf(text, sizeof(text),
                   "a stored value of column \"%" STR_FMT "\" cannot be converted to %" STR_FMT,
                   STR_ARG(conversion->now->name), STR_ARG(conversion->now->type_name));
    sqlite3_result_error(context, text, -1);
}

static bool is_decimal(Str text)
{
    size_t digits = 0;
    size_t points = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        digits += ascii_is_digit(c) ? 1 : 0;
        points += c == '.' ? 1 : 0;
        if (!ascii_is_digit(c) && c != '.' && !(c == '-' && i == 0)) {
            return false;
        }
    }
    return digits > 0 && points <= 1 && text.ptr[text.len - 1] != '.';
}

// Add one to the last place of a run of digits with a point in it.
static void count_up(Buf *digits, size_t from)
{
    for (size_t i = digits->len; i-- > from;) {
        if (digits->ptr[i] == '.') {
            continue;
        }
        if (digits->ptr[i] < '9') {
            digits->ptr[i] = (char)(digits->ptr[i] + 1);
            return;
        }
        digits->ptr[i] = '0';
    }
    buf_char(digits, '0'); // room for the carry: 9.9 -> 10.0
    memmove(digits->ptr + from + 1, digits->ptr + from, digits->len - 1 - from);
    digits->ptr[from] = '1';
}

static bool is_zero(Str digits)
{
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] >= '1' && digits.ptr[i] <= '9') {
            return false;
        }
    }
    return true;
}

// A decimal number with @scale digits behind the point, rounded half away from zero as numeric is.
static void rescale(Str text, size_t scale, Buf *ret)
{
    bool negative = text.ptr[0] == '-';
    Str digits = negative ? (Str){text.ptr + 1, text.len - 1} : text;
    ptrdiff_t point = str_find(digits, '.');
    Str whole = {digits.ptr, point < 0 ? digits.len : (size_t)point};
    Str fraction = {digits.ptr + whole.len + 1, point < 0 ? 0 : digits.len - whole.len - 1};
    buf_char(ret, '-');
    buf_str(ret, whole);
    if (scale > 0) {
        buf_char(ret, '.');
    }
    for (size_t i = 0; i < scale; i++) {
        char digit = '0';
        if (i < fraction.len) {
            digit = fraction.ptr[i];
        }
        buf_char(ret, digit);
    }
    if (fraction.len > scale && fraction.ptr[scale] >= '5') {
        count_up(ret, 1);
    }
    if (!negative || is_zero(buf_view(ret))) {
        memmove(ret->ptr, ret->ptr + 1, ret->len - 1);
        ret->len--;
    }
}

// A number of any storage as a decimal text, to integers and to numeric(p,s).
static bool round_decimal(sqlite3_value *value, size_t scale, Buf *ret)
{
    Str text = str_trim(value_text(value));
    if (!is_decimal(text) || text.len > NUMERIC_TEXT_MAX) {
        return false;
    }
    rescale(text, scale, ret);
    return true;
}

static void to_numeric(sqlite3_context *context, sqlite3_value *value,
                       const SqliteConversion *conversion)
{
    int precision;
    int scale = 0;
    bool bounded = numeric_typmod(conversion->now->base_typmod, &precision, &scale);
    Str text = str_trim(value_text(value));
    if (str_is(text, "NaN") || str_is(text, "Infinity") || str_is(text, "-Infinity") ||
        (!bounded && is_decimal(text))) {
        result_text(context, text);
        return;
    }
    Buf rounded;
    buf_init(&rounded, (size_t)NUMERIC_TEXT_MAX * 2);
    if (bounded && round_decimal(value, (size_t)scale, &rounded)) {
        result_text(context, buf_view(&rounded));
    } else {
        refuse(context, conversion);
    }
    buf_done(&rounded);
}

static void to_integer(sqlite3_context *context, sqlite3_value *value,
                       const SqliteConversion *conversion)
{
    if (sqlite3_value_type(value) == SQLITE_FLOAT) {
        double rounded = rint(sqlite3_value_double(value)); // half to even, as Postgres does
        if (rounded >= -0x1p63 && rounded < 0x1p63) {
            sqlite3_result_int64(context, (int64_t)rounded);
        } else {
            refuse(context, conversion);
        }
        return;
    }
    Buf rounded;
    buf_init(&rounded, (size_t)NUMERIC_TEXT_MAX * 2);
    int64_t number;
    if (round_decimal(value, 0, &rounded) && str_to_int64(buf_view(&rounded), &number)) {
        sqlite3_result_int64(context, number);
    } else {
        refuse(context, conversion);
    }
    buf_done(&rounded);
}

// real is stored as the number that its shortest text says, not as the nearest binary one.
static double shortest_real(float number)
{
    char text[32];
    double result = (double)number;
    for (int digits = 6; digits <= 9; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, (double)number);
        if (str_to_double(str_from(text), &result) && (float)result == number) {
            break;
        }
    }
    return result;
}

static void to_float(sqlite3_context *context, sqlite3_value *value,
                     const SqliteConversion *conversion)
{
    double number = sqlite3_value_double(value);
    if (sqlite3_value_type(value) == SQLITE_TEXT) {
        Str text = str_trim(value_text(value));
        if (!str_to_double(text, &number)) {
            refuse(context, conversion);
            return;
        }
        if (isnan(number)) {
            result_text(context, STR("NaN"));
            return;
        }
    }
    bool is_real = conversion->now->type == TYPE_FLOAT4;
    sqlite3_result_double(context, is_real ? shortest_real((float)number) : number);
}

// real -> double precision keeps the binary number, which is not the one that its text says.
static void real_to_double(sqlite3_context *context, sqlite3_value *value,
                           const SqliteConversion *conversion)
{
    if (sqlite3_value_type(value) == SQLITE_TEXT) {
        result_text(context, STR("NaN"));
        return;
    }
    sqlite3_result_double(context, (double)(float)sqlite3_value_double(value));
}

static void integer_to_bool(sqlite3_context *context, sqlite3_value *value,
                            const SqliteConversion *conversion)
{
    sqlite3_result_int(context, sqlite3_value_int64(value) != 0);
}

static void bool_to_text(sqlite3_context *context, sqlite3_value *value,
                         const SqliteConversion *conversion)
{
    result_text(context, sqlite3_value_int(value) != 0 ? STR("true") : STR("false"));
}

static void to_text(sqlite3_context *context, sqlite3_value *value,
                    const SqliteConversion *conversion)
{
    result_text(context, value_text(value));
}

static Str without_trailing_spaces(Str text)
{
    while (text.len > 0 && text.ptr[text.len - 1] == ' ') {
        text.len--;
    }
    return text;
}

static void trim_bpchar(sqlite3_context *context, sqlite3_value *value,
                        const SqliteConversion *conversion)
{
    result_text(context, without_trailing_spaces(value_text(value)));
}

static void pad_bpchar(sqlite3_context *context, sqlite3_value *value,
                       const SqliteConversion *conversion)
{
    int32_t typmod = conversion->now->base_typmod;
    size_t wanted = typmod > VARLENA_HEADER ? (size_t)(typmod - VARLENA_HEADER) : 0;
    Str text = without_trailing_spaces(value_text(value));
    size_t have = utf8_length(text);
    if (have > wanted) {
        refuse(context, conversion);
        return;
    }
    size_t spaces = wanted - have;
    char *padded = mem_alloc(text.len + spaces);
    if (text.len > 0) {
        memcpy(padded, text.ptr, text.len);
    }
    memset(padded + text.len, ' ', spaces);
    result_text(context, (Str){padded, text.len + spaces});
    mem_free(padded);
}

static bool is_integer(const Column *column)
{
    return column->type == TYPE_INT2 || column->type == TYPE_INT4 || column->type == TYPE_INT8 ||
           column->type == TYPE_OID;
}

static bool is_float(const Column *column)
{
    return column->type == TYPE_FLOAT4 || column->type == TYPE_FLOAT8;
}

static bool is_bpchar(const Column *column)
{
    return column->base_type_oid == OID_BPCHAR;
}

static bool is_text(const Column *column)
{
    return column->type == TYPE_TEXT && column->base_type_oid != OID_CHAR;
}

// Its text form is what the cast to text gives: the cast goes through the output function.
static bool is_stored_as_text(const Column *column)
{
    switch (column->type) {
    case TYPE_BOOL:
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
    case TYPE_BYTEA:
        return false;
    default:
        return column->base_type_oid != OID_INET && !is_integer(column); // inet adds its mask
    }
}

// The same type with another modifier.
static bool find_modifier(const Column *was, const Column *now, SqliteConversion *ret)
{
    int32_t from = was->base_typmod;
    int32_t to = now->base_typmod;
    int precision;
    int scale = 0;
    if (from == to || (to < 0 && !is_bpchar(now))) {
        return true;
    }
    switch (now->type) {
    case TYPE_NUMERIC:
        ret->convert = to_numeric;
        return numeric_typmod(to, &precision, &scale) && scale >= 0;
    case TYPE_TEXT: // a varchar that is too long for the new limit is an error in Postgres
        ret->convert = is_bpchar(now) ? pad_bpchar : NULL;
        return true;
    case TYPE_TIME:
    case TYPE_TIMETZ:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return (from < 0 ? TIME_DIGITS : from) <= to;
    case TYPE_BIT:
        return now->base_type_oid == OID_VARBIT && from >= 0 && from <= to;
    default:
        return false;
    }
}

static bool find_to_text(const Column *was, const Column *now, SqliteConversion *ret)
{
    if (is_bpchar(now) && now->base_typmod > 0) {
        ret->convert = pad_bpchar;
        return is_integer(was) || is_stored_as_text(was);
    }
    if (was->type == TYPE_BOOL) {
        ret->convert = bool_to_text;
        return true;
    }
    if (is_integer(was)) {
        ret->convert = to_text;
        return true;
    }
    ret->convert = is_bpchar(was) ? trim_bpchar : NULL;
    return is_stored_as_text(was);
}

static bool find_to_number(const Column *was, const Column *now, SqliteConversion *ret)
{
    bool from_decimal = is_integer(was) || was->type == TYPE_NUMERIC || is_text(was);
    int precision;
    int scale = 0;
    if (now->type == TYPE_NUMERIC) {
        (void)numeric_typmod(now->base_typmod, &precision, &scale);
        ret->convert = to_numeric;
        return from_decimal && scale >= 0;
    }
    if (is_float(now)) {
        bool widened = was->type == TYPE_FLOAT4 && now->type == TYPE_FLOAT8;
        ret->convert = widened ? real_to_double : to_float;
        return from_decimal || is_float(was);
    }
    bool stays = is_integer(was) || was->type == TYPE_BOOL;
    ret->convert = stays ? NULL : to_integer;
    return stays || from_decimal || is_float(was);
}

bool sqlite_conversion_find(const Column *was, const Column *now, SqliteConversion *ret)
{
    *ret = (SqliteConversion){.now = now};
    if (was->base_type_oid == now->base_type_oid) {
        return find_modifier(was, now, ret);
    }
    if (now->type == TYPE_NUMERIC || is_float(now) || is_integer(now)) {
        return find_to_number(was, now, ret);
    }
    if (is_text(now)) {
        return find_to_text(was, now, ret);
    }
    if (now->type == TYPE_BOOL && is_integer(was)) {
        ret->convert = integer_to_bool;
        return true;
    }
    // The label of an enum is its text; json keeps the text that it was given.
    return (is_text(was) && !is_bpchar(was) &&
            (now->kind == TYPE_KIND_ENUM || now->type == TYPE_JSON)) ||
           (was->type == TYPE_JSONB && now->type == TYPE_JSON);
}

static void weir_convert(sqlite3_context *context, int count, sqlite3_value **values)
{
    assert(count == 2);
    const SqliteConversion *conversion = sqlite3_value_pointer(values[1], pointer_type);
    if (conversion == NULL) {
        sqlite3_result_error(context, "weir_convert() is not for others", -1);
    } else if (sqlite3_value_type(values[0]) != SQLITE_NULL) {
        conversion->convert(context, values[0], conversion);
    }
}

int sqlite_conversion_register(sqlite3 *db)
{
    return sqlite3_create_function_v2(db, "weir_convert", 2, SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL,
                                      weir_convert, NULL, NULL, NULL);
}

void sqlite_conversion_bind(sqlite3_stmt *statement, int index, SqliteConversion *conversion)
{
    int code = sqlite3_bind_pointer(statement, index, conversion, pointer_type, NULL);
    assert(code == SQLITE_OK);
    (void)code;
}
