#include <assert.h>
#include <locale.h>

#include "sinks/duckdb_parse.h"

static DuckParse parse_integer(DuckType type, Str text, void *ret_cell)
{
    static const struct {
        int64_t min;
        int64_t max;
    } ranges[] = {
        [DUCK_SMALLINT] = {INT16_MIN, INT16_MAX},
        [DUCK_INTEGER] = {INT32_MIN, INT32_MAX},
        [DUCK_BIGINT] = {INT64_MIN, INT64_MAX},
        [DUCK_UINTEGER] = {0, UINT32_MAX},
    };
    int64_t value;
    assert(type.kind < ARRAY_LEN(ranges));
    if (!str_to_int64(text, &value)) {
        return DUCK_PARSE_SYNTAX;
    }
    if (value < ranges[type.kind].min || value > ranges[type.kind].max) {
        return DUCK_PARSE_CANNOT_HOLD;
    }
    // The low bytes come first on every machine that DuckDB's library is built for.
    memcpy(ret_cell, &value, duck_cell_size(type));
    return DUCK_PARSE_OK;
}

// A number's digits and the power of ten they are to be multiplied with.
typedef struct Decimal {
    uint64_t digits;
    int exponent;
    bool negative;
    bool is_exact; // all digits are in `digits`
} Decimal;

static bool parse_exponent(Cursor *in, int *ret)
{
    *ret = 0;
    if (!accept(in, 'e') && !accept(in, 'E')) {
        return true;
    }
    bool negative = sign(in);
    int64_t value;
    if (!digits(in, 1, 6, &value)) {
        return false;
    }
    *ret = negative ? (int)-value : (int)value;
    return true;
}

static bool parse_decimal(Str text, Decimal *ret)
{
    enum { DIGITS_MAX = 19 };
    Cursor in = cursor_of(text);
    Decimal number = {.is_exact = true};
    int count = 0;
    bool seen = false;
    bool after_point = false;
    number.negative = accept(&in, '-');
    for (; in.at < in.end; in.at++) {
        if (*in.at == '.' && !after_point) {
            after_point = true;
            continue;
        }
        if (!ascii_is_digit(*in.at)) {
            break;
        }
        seen = true;
        if (count == DIGITS_MAX) {
            number.is_exact = false;
            continue;
        }
        number.digits = number.digits * 10 + (uint64_t)(*in.at - '0');
        count += number.digits > 0 ? 1 : 0;
        number.exponent -= after_point ? 1 : 0;
    }
    int exponent;
    if (!seen || !parse_exponent(&in, &exponent) || !at_end(&in)) {
        return false;
    }
    number.exponent += exponent;
    *ret = number;
    return true;
}

// The C library's own conversion in the "C" locale, whatever locale the program has: correct for
// every text, and slow. *ret_float is rounded once, from the text, not from the double.
static DuckParse parse_with_libc(Str text, double *ret_double, float *ret_float)
{
    static locale_t c_locale; // made once, kept for ever
    locale_t locale = __atomic_load_n(&c_locale, __ATOMIC_ACQUIRE);
    if (locale == (locale_t)0) {
        locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        assert(locale != (locale_t)0);
        __atomic_store_n(&c_locale, locale, __ATOMIC_RELEASE);
    }
    char copy[512];
    if (text.len == 0 || text.len >= sizeof(copy)) {
        return DUCK_PARSE_SYNTAX;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    char *end;
    if (ret_double != NULL) {
        *ret_double = strtod_l(copy, &end, locale);
    } else {
        assert(ret_float != NULL);
        *ret_float = strtof_l(copy, &end, locale);
    }
    return end == copy + text.len ? DUCK_PARSE_OK : DUCK_PARSE_SYNTAX;
}

static bool parse_special(Str text, double *ret)
{
    if (str_is(text, "NaN")) {
        *ret = __builtin_nan("");
    } else if (str_is(text, "Infinity")) {
        *ret = __builtin_inf();
    } else if (str_is(text, "-Infinity")) {
        *ret = -__builtin_inf();
    } else {
        return false;
    }
    return true;
}

// When the digits and the power of ten are both exact in the type, so is one multiplication or
// division of them (Clinger's fast path): for a double digits below 2^53 and 10^22, for a float
// below 2^24 and 10^10.
static DuckParse parse_double(Str text, double *ret)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    Decimal number;
    if (!parse_decimal(text, &number)) {
        return parse_special(text, ret) ? DUCK_PARSE_OK : DUCK_PARSE_SYNTAX;
    }
    if (!number.is_exact || number.digits > UINT64_C(1) << 53 || number.exponent < -22 ||
        number.exponent > 22) {
        return parse_with_libc(text, ret, NULL);
    }
    double value = (double)number.digits;
    value =
        number.exponent < 0 ? value / powers[-number.exponent] : value * powers[number.exponent];
    *ret = number.negative ? -value : value;
    return DUCK_PARSE_OK;
}

static DuckParse parse_float(Str text, float *ret)
{
    static const float powers[] = {1e0F, 1e1F, 1e2F, 1e3F, 1e4F, 1e5F,
                                   1e6F, 1e7F, 1e8F, 1e9F, 1e10F};
    Decimal number;
    if (!parse_decimal(text, &number)) {
        double special;
        if (!parse_special(text, &special)) {
            return DUCK_PARSE_SYNTAX;
        }
        *ret = (float)special;
        return DUCK_PARSE_OK;
    }
    if (!number.is_exact || number.digits > UINT64_C(1) << 24 || number.exponent < -10 ||
        number.exponent > 10) {
        return parse_with_libc(text, NULL, ret);
    }
    float value = (float)number.digits;
    value =
        number.exponent < 0 ? value / powers[-number.exponent] : value * powers[number.exponent];
    *ret = number.negative ? -value : value;
    return DUCK_PARSE_OK;
}

static DuckHugeint power_of_ten(int exponent)
{
    DuckHugeint power = 1;
    for (int i = 0; i < exponent; i++) {
        power *= 10;
    }
    return power;
}

// Postgres pads or cuts to the column's scale itself, so digits beyond it can only be zeros.
static DuckParse parse_scaled(DuckType type, Str text, DuckHugeint *ret)
{
    Cursor in = cursor_of(text);
    bool negative = accept(&in, '-');
    DuckHugeint value = 0;
    int places = -1; // behind the point; -1: it has not been seen
    int count = 0;
    bool is_zero_beyond = true;
    if (at_end(&in) || str_is(text, "NaN") || str_is(text, "Infinity") ||
        str_is(text, "-Infinity")) {
        return at_end(&in) ? DUCK_PARSE_SYNTAX : DUCK_PARSE_CANNOT_HOLD;
    }
    for (; in.at < in.end; in.at++) {
        if (*in.at == '.' && places < 0) {
            places = 0;
            continue;
        }
        if (!ascii_is_digit(*in.at)) {
            return DUCK_PARSE_SYNTAX;
        }
        if (places >= type.scale) {
            is_zero_beyond = is_zero_beyond && *in.at == '0';
            continue;
        }
        count += value > 0 || *in.at != '0' ? 1 : 0;
        places += places >= 0 ? 1 : 0;
        if (count > type.width) {
            return DUCK_PARSE_CANNOT_HOLD;
        }
        value = value * 10 + (*in.at - '0');
    }
    int missing = type.scale - MAX(places, 0);
    if (!is_zero_beyond || (value > 0 && count + missing > type.width)) {
        return DUCK_PARSE_CANNOT_HOLD;
    }
    value = value > 0 ? value * power_of_ten(missing) : 0;
    *ret = negative ? -value : value;
    return DUCK_PARSE_OK;
}

static DuckParse parse_numeric(DuckType type, Str text, void *ret)
{
    DuckHugeint value;
    DuckParse parsed = parse_scaled(type, text, &value);
    if (parsed == DUCK_PARSE_OK) {
        memcpy(ret, &value, duck_cell_size(type)); // see parse_integer()
    }
    return parsed;
}

DuckParse duck_parse_number(DuckType type, Str text, void *ret_cell)
{
    switch (type.kind) {
    case DUCK_FLOAT:
        return parse_float(text, ret_cell);
    case DUCK_DOUBLE:
        return parse_double(text, ret_cell);
    case DUCK_DECIMAL:
        return parse_numeric(type, text, ret_cell);
    default:
        return parse_integer(type, text, ret_cell);
    }
}
