#include "sinks/duckdb_value.h"

#include <assert.h>
#include <locale.h>

#include "change/value.h"
#include "sinks/sql.h"

#define MICROS_PER_SECOND INT64_C(1000000)
#define MICROS_PER_DAY    (86400 * MICROS_PER_SECOND)

// DuckDB's special values: the largest number and its negative are the infinities.
#define DATE_INFINITY      INT32_MAX
#define TIMESTAMP_INFINITY INT64_MAX

// Offsets of time zones lie strictly within sixteen hours, in Postgres as in DuckDB, which stores
// how far they are west of the easternmost one.
enum { TIMETZ_OFFSET_MAX = 16 * 3600 - 1, TIMETZ_OFFSET_BITS = 24 };

// ---------------------------------------------------------------------------------------------
// Reading text
// ---------------------------------------------------------------------------------------------

typedef struct Cursor {
    const char *at;
    const char *end;
} Cursor;

static Cursor cursor_of(Str text)
{
    return (Cursor){text.ptr, text.len == 0 ? text.ptr : text.ptr + text.len};
}

static bool at_end(const Cursor *in)
{
    return in->at == in->end;
}

static bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

static bool accept(Cursor *in, char c)
{
    if (in->at == in->end || *in->at != c) {
        return false;
    }
    in->at++;
    return true;
}

static bool accept_text(Cursor *in, Str text)
{
    if ((size_t)(in->end - in->at) < text.len || memcmp(in->at, text.ptr, text.len) != 0) {
        return false;
    }
    in->at += text.len;
    return true;
}

// @min to @max digits (at most 18).
static bool digits(Cursor *in, int min, int max, int64_t *ret)
{
    int64_t value = 0;
    int count = 0;
    while (count < max && in->at < in->end && is_digit(*in->at)) {
        value = value * 10 + (*in->at++ - '0');
        count++;
    }
    *ret = value;
    return count >= min && (in->at == in->end || !is_digit(*in->at));
}

// An optional "." with one to six digits, as microseconds.
static bool fraction(Cursor *in, int64_t *ret)
{
    *ret = 0;
    if (!accept(in, '.')) {
        return true;
    }
    const char *start = in->at;
    if (!digits(in, 1, 6, ret)) {
        return false;
    }
    for (ptrdiff_t count = in->at - start; count < 6; count++) {
        *ret *= 10;
    }
    return true;
}

// ---------------------------------------------------------------------------------------------
// Numbers
// ---------------------------------------------------------------------------------------------

static DuckParse parse_integer(Str text, int64_t min, int64_t max, int64_t *ret)
{
    int64_t value;
    if (!str_to_int64(text, &value)) {
        return DUCK_PARSE_SYNTAX;
    }
    if (value < min || value > max) {
        return DUCK_PARSE_CANNOT_HOLD;
    }
    *ret = value;
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
    bool negative = accept(in, '-');
    int64_t value;
    if ((!negative && accept(in, '+') && at_end(in)) || !digits(in, 1, 6, &value)) {
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
        if (!is_digit(*in.at)) {
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
        if (!is_digit(*in.at)) {
            return DUCK_PARSE_SYNTAX;
        }
        if (places >= type.scale) {
            is_zero_beyond = is_zero_beyond && *in.at == '0';
            continue;
        }
        value = value * 10 + (*in.at - '0');
        count += value > 0 ? 1 : 0;
        places += places >= 0 ? 1 : 0;
        if (count > type.width) {
            return DUCK_PARSE_CANNOT_HOLD;
        }
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
        // The low bytes come first on every machine that DuckDB's library is built for.
        memcpy(ret, &value, duck_cell_size(type));
    }
    return parsed;
}

// ---------------------------------------------------------------------------------------------
// Dates and times
// ---------------------------------------------------------------------------------------------

// Days from 1970-01-01 in the proleptic Gregorian calendar. Years count from March, so that a leap
// day is the last of its year, in eras of 400 years, which are all alike.
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    enum { DAYS_PER_ERA = 146097, DAYS_TO_1970 = 719468 };
    year -= month <= 2 ? 1 : 0;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - DAYS_TO_1970;
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static bool is_date(int64_t year, int64_t month, int64_t day)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (month < 1 || month > 12 || day < 1) {
        return false;
    }
    return day <= days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
}

// "2026-11-21" with " BC" at the very end of the text, which is taken off. Year 1 BC is year 0.
static bool date_part(Cursor *in, int64_t *ret_days)
{
    int64_t year;
    int64_t month;
    int64_t day;
    bool before_christ = in->end - in->at > 3 && memcmp(in->end - 3, " BC", 3) == 0;
    in->end -= before_christ ? 3 : 0;
    if (!digits(in, 4, 7, &year) || !accept(in, '-') || !digits(in, 2, 2, &month) ||
        !accept(in, '-') || !digits(in, 2, 2, &day) || year == 0) {
        return false;
    }
    year = before_christ ? 1 - year : year;
    if (!is_date(year, month, day)) {
        return false;
    }
    *ret_days = days_of(year, month, day);
    return true;
}

// "23:59:59.999999", up to "24:00:00".
static bool time_part(Cursor *in, int64_t *ret_micros)
{
    int64_t hour;
    int64_t minute;
    int64_t second;
    int64_t micros;
    if (!digits(in, 2, 2, &hour) || !accept(in, ':') || !digits(in, 2, 2, &minute) ||
        !accept(in, ':') || !digits(in, 2, 2, &second) || !fraction(in, &micros) || minute > 59 ||
        second > 59) {
        return false;
    }
    int64_t total = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros;
    if (total > MICROS_PER_DAY) {
        return false;
    }
    *ret_micros = total;
    return true;
}

// "+02", "-03:30", "+00:19:32": seconds east of Greenwich.
static bool offset_part(Cursor *in, int64_t *ret_seconds)
{
    int64_t hour;
    int64_t minute = 0;
    int64_t second = 0;
    bool west = accept(in, '-');
    if ((!west && !accept(in, '+')) || !digits(in, 2, 2, &hour) ||
        (accept(in, ':') && !digits(in, 2, 2, &minute)) ||
        (accept(in, ':') && !digits(in, 2, 2, &second)) || minute > 59 || second > 59) {
        return false;
    }
    int64_t total = (hour * 60 + minute) * 60 + second;
    if (total > TIMETZ_OFFSET_MAX) {
        return false;
    }
    *ret_seconds = west ? -total : total;
    return true;
}

// 1, -1 or 0: "infinity", "-infinity" or neither.
static int infinity_of(Str text)
{
    if (text.len < 8 || is_digit(text.ptr[1])) {
        return 0;
    }
    return str_is(text, "infinity") ? 1 : str_is(text, "-infinity") ? -1 : 0;
}

static DuckParse parse_date(Str text, int32_t *ret)
{
    int sign = infinity_of(text);
    if (sign != 0) {
        *ret = sign * DATE_INFINITY;
        return DUCK_PARSE_OK;
    }
    Cursor in = cursor_of(text);
    int64_t days;
    if (!date_part(&in, &days) || !at_end(&in)) {
        return DUCK_PARSE_SYNTAX;
    }
    if (days >= DATE_INFINITY || days <= -DATE_INFINITY) {
        return DUCK_PARSE_CANNOT_HOLD;
    }
    *ret = (int32_t)days;
    return DUCK_PARSE_OK;
}

static DuckParse parse_time(Str text, int64_t *ret)
{
    Cursor in = cursor_of(text);
    int64_t micros;
    if (!time_part(&in, &micros) || !at_end(&in)) {
        return DUCK_PARSE_SYNTAX;
    }
    *ret = micros;
    return DUCK_PARSE_OK;
}

static DuckParse parse_timetz(Str text, uint64_t *ret)
{
    Cursor in = cursor_of(text);
    int64_t micros;
    int64_t offset;
    if (!time_part(&in, &micros) || !offset_part(&in, &offset) || !at_end(&in)) {
        return DUCK_PARSE_SYNTAX;
    }
    *ret = (uint64_t)micros << TIMETZ_OFFSET_BITS | (uint64_t)(TIMETZ_OFFSET_MAX - offset);
    return DUCK_PARSE_OK;
}

static DuckParse parse_timestamp(Str text, bool with_zone, int64_t *ret)
{
    int sign = infinity_of(text);
    if (sign != 0) {
        *ret = sign * TIMESTAMP_INFINITY;
        return DUCK_PARSE_OK;
    }
    Cursor in = cursor_of(text);
    int64_t days;
    int64_t micros;
    int64_t offset = 0;
    if (!date_part(&in, &days) || !accept(&in, ' ') || !time_part(&in, &micros) ||
        (with_zone && !offset_part(&in, &offset)) || !at_end(&in)) {
        return DUCK_PARSE_SYNTAX;
    }
    int64_t total;
    micros -= offset * MICROS_PER_SECOND;
    if (__builtin_mul_overflow(days, MICROS_PER_DAY, &total) ||
        __builtin_add_overflow(total, micros, &total) || total >= TIMESTAMP_INFINITY ||
        total <= -TIMESTAMP_INFINITY) {
        return DUCK_PARSE_CANNOT_HOLD;
    }
    *ret = total;
    return DUCK_PARSE_OK;
}

// "-04:05:06.789" at the end of an interval: hours without a limit of their own.
static bool interval_time(Cursor *in, DuckInterval *interval)
{
    int64_t hours;
    int64_t minutes;
    int64_t seconds;
    int64_t micros;
    bool negative = accept(in, '-');
    if ((!negative && accept(in, '+') && at_end(in)) || !digits(in, 2, 10, &hours) ||
        !accept(in, ':') || !digits(in, 2, 2, &minutes) || !accept(in, ':') ||
        !digits(in, 2, 2, &seconds) || !fraction(in, &micros) || !at_end(in)) {
        return false;
    }
    // Negative throughout: INT64_MIN has no positive counterpart.
    int64_t total;
    if (__builtin_mul_overflow(hours, -3600 * MICROS_PER_SECOND, &total) ||
        __builtin_sub_overflow(total, (minutes * 60 + seconds) * MICROS_PER_SECOND + micros,
                               &total) ||
        (!negative && total == INT64_MIN)) {
        return false;
    }
    interval->micros = negative ? total : -total;
    return true;
}

// "3 mons": a number and what it counts.
static bool interval_unit(Cursor *in, int64_t count, DuckInterval *interval)
{
    static const struct {
        Str name;
        int months;
        int days;
    } units[] = {{STR("years"), 12, 0}, {STR("year"), 12, 0}, {STR("mons"), 1, 0},
                 {STR("mon"), 1, 0},    {STR("days"), 0, 1},  {STR("day"), 0, 1}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (!accept_text(in, units[i].name)) {
            continue;
        }
        int64_t months = interval->months + count * units[i].months;
        int64_t days = interval->days + count * units[i].days;
        if (months < INT32_MIN || months > INT32_MAX || days < INT32_MIN || days > INT32_MAX) {
            return false;
        }
        interval->months = (int32_t)months;
        interval->days = (int32_t)days;
        return at_end(in) || (accept(in, ' ') && !at_end(in));
    }
    return false;
}

// "1 year 2 mons -3 days +04:05:06.789": what IntervalStyle postgres writes.
static DuckParse parse_interval(Str text, DuckInterval *ret)
{
    if (infinity_of(text) != 0) {
        return DUCK_PARSE_CANNOT_HOLD;
    }
    Cursor in = cursor_of(text);
    DuckInterval interval = {0};
    bool done = at_end(&in);
    if (done) {
        return DUCK_PARSE_SYNTAX;
    }
    while (!done) {
        Cursor word = in;
        bool negative = accept(&word, '-');
        int64_t count;
        if (!negative && accept(&word, '+') && at_end(&word)) {
            return DUCK_PARSE_SYNTAX;
        }
        if (!digits(&word, 1, 10, &count) || !accept(&word, ' ')) {
            if (!interval_time(&in, &interval)) {
                return DUCK_PARSE_SYNTAX;
            }
            break;
        }
        in = word;
        if (!interval_unit(&in, negative ? -count : count, &interval)) {
            return DUCK_PARSE_SYNTAX;
        }
        done = at_end(&in);
    }
    *ret = interval;
    return DUCK_PARSE_OK;
}

// ---------------------------------------------------------------------------------------------
// The rest
// ---------------------------------------------------------------------------------------------

static int hex_digit(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// DuckDB keeps a UUID as a signed number whose order is that of the text: the top bit is flipped.
static DuckParse parse_uuid(Str text, DuckHugeint *ret)
{
    enum { UUID_TEXT = 36 };
    __extension__ unsigned __int128 value = 0;
    if (text.len != UUID_TEXT) {
        return DUCK_PARSE_SYNTAX;
    }
    for (size_t i = 0; i < UUID_TEXT; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        int digit = is_dash ? 0 : hex_digit(text.ptr[i]);
        if (digit < 0 || is_dash != (text.ptr[i] == '-')) {
            return DUCK_PARSE_SYNTAX;
        }
        if (!is_dash) {
            value = value << 4 | (unsigned)digit;
        }
    }
    __extension__ const unsigned __int128 top = (unsigned __int128)1 << 127;
    *ret = (DuckHugeint)(value ^ top);
    return DUCK_PARSE_OK;
}

static DuckParse parse_bool(Str text, uint8_t *ret)
{
    if (text.len != 1 || (text.ptr[0] != 't' && text.ptr[0] != 'f')) {
        return DUCK_PARSE_SYNTAX;
    }
    *ret = text.ptr[0] == 't' ? 1 : 0;
    return DUCK_PARSE_OK;
}

static DuckParse parse_integer_cell(DuckType type, Str text, void *ret_cell)
{
    int64_t value;
    int64_t min = type.kind == DUCK_SMALLINT  ? INT16_MIN
                  : type.kind == DUCK_INTEGER ? INT32_MIN
                  : type.kind == DUCK_BIGINT  ? INT64_MIN
                                              : 0;
    int64_t max = type.kind == DUCK_SMALLINT  ? INT16_MAX
                  : type.kind == DUCK_INTEGER ? INT32_MAX
                  : type.kind == DUCK_BIGINT  ? INT64_MAX
                                              : UINT32_MAX;
    DuckParse parsed = parse_integer(text, min, max, &value);
    if (parsed == DUCK_PARSE_OK) {
        memcpy(ret_cell, &value, duck_cell_size(type)); // little-endian: see parse_numeric()
    }
    return parsed;
}

// Bytes of the character at @at: 1 to 4, or 0 when it is not one. Overlong forms, surrogates and
// what lies behind U+10FFFF are told by the second byte.
static size_t utf8_character(const unsigned char *at, size_t left)
{
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t len;
    if (at[0] < 0x80) {
        return 1;
    }
    if (at[0] >= 0xc2 && at[0] <= 0xdf) {
        len = 2;
    } else if (at[0] >= 0xe0 && at[0] <= 0xef) {
        len = 3;
        low = at[0] == 0xe0 ? 0xa0 : low;
        high = at[0] == 0xed ? 0x9f : high;
    } else if (at[0] >= 0xf0 && at[0] <= 0xf4) {
        len = 4;
        low = at[0] == 0xf0 ? 0x90 : low;
        high = at[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (left < len || at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if (at[i] < 0x80 || at[i] > 0xbf) {
            return 0;
        }
    }
    return len;
}

bool duck_is_utf8(Str text)
{
    const unsigned char *at = (const unsigned char *)text.ptr;
    size_t left = text.len;
    while (left > 0) {
        uint64_t word;
        if (left >= sizeof(word)) {
            memcpy(&word, at, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof(word);
                left -= sizeof(word);
                continue;
            }
        }
        size_t len = utf8_character(at, left);
        if (len == 0) {
            return false;
        }
        at += len;
        left -= len;
    }
    return true;
}

size_t duck_cell_size(DuckType type)
{
    switch (type.kind) {
    case DUCK_VARCHAR:
    case DUCK_JSON:
    case DUCK_BLOB:
        return 0;
    case DUCK_BOOLEAN:
        return 1;
    case DUCK_SMALLINT:
        return 2;
    case DUCK_INTEGER:
    case DUCK_UINTEGER:
    case DUCK_FLOAT:
    case DUCK_DATE:
        return 4;
    case DUCK_BIGINT:
    case DUCK_DOUBLE:
    case DUCK_TIME:
    case DUCK_TIMETZ:
    case DUCK_TIMESTAMP:
    case DUCK_TIMESTAMPTZ:
        return 8;
    case DUCK_INTERVAL:
    case DUCK_UUID:
        return 16;
    case DUCK_DECIMAL:
        return type.width <= 4 ? 2 : type.width <= 9 ? 4 : type.width <= 18 ? 8 : 16;
    }
    return 0;
}

DuckParse duck_parse(DuckType type, Str text, void *ret_cell)
{
    switch (type.kind) {
    case DUCK_BOOLEAN:
        return parse_bool(text, ret_cell);
    case DUCK_SMALLINT:
    case DUCK_INTEGER:
    case DUCK_BIGINT:
    case DUCK_UINTEGER:
        return parse_integer_cell(type, text, ret_cell);
    case DUCK_FLOAT:
        return parse_float(text, ret_cell);
    case DUCK_DOUBLE:
        return parse_double(text, ret_cell);
    case DUCK_DECIMAL:
        return parse_numeric(type, text, ret_cell);
    case DUCK_DATE:
        return parse_date(text, ret_cell);
    case DUCK_TIME:
        return parse_time(text, ret_cell);
    case DUCK_TIMETZ:
        return parse_timetz(text, ret_cell);
    case DUCK_TIMESTAMP:
    case DUCK_TIMESTAMPTZ:
        return parse_timestamp(text, type.kind == DUCK_TIMESTAMPTZ, ret_cell);
    case DUCK_INTERVAL:
        return parse_interval(text, ret_cell);
    case DUCK_UUID:
        return parse_uuid(text, ret_cell);
    case DUCK_VARCHAR:
    case DUCK_JSON:
    case DUCK_BLOB:
        break;
    }
    assert(!"a type without a cell of fixed size");
    return DUCK_PARSE_SYNTAX;
}

void duck_type_name(DuckType type, Buf *ret)
{
    static const char *const names[] = {
        [DUCK_VARCHAR] = "VARCHAR",     [DUCK_JSON] = "JSON",
        [DUCK_BLOB] = "BLOB",           [DUCK_BOOLEAN] = "BOOLEAN",
        [DUCK_SMALLINT] = "SMALLINT",   [DUCK_INTEGER] = "INTEGER",
        [DUCK_BIGINT] = "BIGINT",       [DUCK_UINTEGER] = "UINTEGER",
        [DUCK_FLOAT] = "FLOAT",         [DUCK_DOUBLE] = "DOUBLE",
        [DUCK_DECIMAL] = "DECIMAL",     [DUCK_DATE] = "DATE",
        [DUCK_TIME] = "TIME",           [DUCK_TIMETZ] = "TIME WITH TIME ZONE",
        [DUCK_TIMESTAMP] = "TIMESTAMP", [DUCK_TIMESTAMPTZ] = "TIMESTAMP WITH TIME ZONE",
        [DUCK_INTERVAL] = "INTERVAL",   [DUCK_UUID] = "UUID",
    };
    buf_cstr(ret, names[type.kind]);
    if (type.kind == DUCK_DECIMAL) {
        buf_printf(ret, "(%u,%u)", type.width, type.scale);
    }
}

// ---------------------------------------------------------------------------------------------
// Literals: only for defaults, so clarity goes before speed. A string constant, which DuckDB turns
// into the column's type; an expression it would fill in by an UPDATE, and after that the
// transaction could not alter the table again.
// ---------------------------------------------------------------------------------------------

// "\x0aff" is a BLOB's text form too once each byte has its own prefix.
static DuckParse blob_literal(Str text, Buf *sql)
{
    size_t size;
    Value value = {.ptr = text.ptr, .len = (uint32_t)text.len, .state = VALUE_TEXT};
    if (!value_bytea_size(value, &size)) {
        return DUCK_PARSE_SYNTAX;
    }
    buf_char(sql, '\'');
    for (size_t i = 0; i < size; i++) {
        buf_cstr(sql, "\\x");
        buf_bytes(sql, text.ptr + 2 + i * 2, 2);
    }
    buf_char(sql, '\'');
    return DUCK_PARSE_OK;
}

// DuckDB writes the era behind the date, and every year of it with our digits.
static void date_literal(Str text, Buf *sql)
{
    if (text.len <= 3 || memcmp(text.ptr + text.len - 3, " BC", 3) != 0) {
        sql_literal(sql, text);
        return;
    }
    Str rest = {text.ptr, text.len - 3};
    Str date;
    (void)str_split(&rest, ' ', &date);
    buf_char(sql, '\'');
    buf_str(sql, date);
    buf_cstr(sql, rest.len > 0 ? " (BC) " : " (BC)");
    buf_str(sql, rest);
    buf_char(sql, '\'');
}

static void interval_literal(const DuckInterval *interval, Buf *sql)
{
    // DuckDB reads the number before its sign, and INT64_MIN has no positive counterpart.
    int64_t last = interval->micros == INT64_MIN ? -1 : 0;
    buf_printf(sql,
               "'%" PRId32 " months %" PRId32 " days %" PRId64 " microseconds %" PRId64
               " microseconds'",
               interval->months, interval->days, interval->micros - last, last);
}

DuckParse duck_literal(DuckType type, Str text, Buf *sql)
{
    union {
        char bytes[16];
        DuckHugeint align;
        DuckInterval interval;
    } cell;
    if (type.kind == DUCK_VARCHAR || type.kind == DUCK_JSON) {
        sql_literal(sql, text);
        return DUCK_PARSE_OK;
    }
    if (type.kind == DUCK_BLOB) {
        return blob_literal(text, sql);
    }
    DuckParse parsed = duck_parse(type, text, &cell);
    if (parsed != DUCK_PARSE_OK) {
        return parsed;
    }
    switch (type.kind) {
    case DUCK_DATE:
    case DUCK_TIMESTAMP:
    case DUCK_TIMESTAMPTZ:
        date_literal(text, sql);
        break;
    case DUCK_INTERVAL:
        interval_literal(&cell.interval, sql);
        break;
    default:
        sql_literal(sql, text);
        break;
    }
    return DUCK_PARSE_OK;
}
