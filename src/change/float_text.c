#include "change/float_text.h"

#include <assert.h>
#include <locale.h>

#include "base/cursor.h"

// A number's digits and the power of ten they are to be multiplied with.
typedef struct Digits {
    uint64_t digits;
    int exponent;
    bool negative;
    bool is_exact; // all digits are in `digits`
} Digits;

static bool parse_exponent(Cursor *in, int *ret)
{
    *ret = 0;
    if (!cursor_accept(in, 'e') && !cursor_accept(in, 'E')) {
        return true;
    }
    bool negative = cursor_sign(in);
    int64_t value;
    if (!cursor_digits(in, 1, 6, &value)) {
        return false;
    }
    *ret = negative ? (int)-value : (int)value;
    return true;
}

static bool parse_digits(Str text, Digits *ret)
{
    enum { DIGITS_MAX = 19 };
    Cursor in = cursor_of(text);
    Digits number = {.is_exact = true};
    int count = 0;
    bool seen = false;
    bool after_point = false;
    number.negative = cursor_accept(&in, '-');
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
    if (!seen || !parse_exponent(&in, &exponent) || !cursor_at_end(&in)) {
        return false;
    }
    number.exponent += exponent;
    *ret = number;
    return true;
}

// The C library's own conversion in the "C" locale, whatever locale the program has: correct for
// every text, and slow. *ret_float is rounded once, from the text, not from the double.
static bool parse_with_libc(Str text, double *ret_double, float *ret_float)
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
        return false;
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
    return end == copy + text.len;
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
bool float_text_double(Str text, double *ret)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    Digits number;
    if (!parse_digits(text, &number)) {
        return parse_special(text, ret);
    }
    if (!number.is_exact || number.digits > UINT64_C(1) << 53 || number.exponent < -22 ||
        number.exponent > 22) {
        return parse_with_libc(text, ret, NULL);
    }
    double value = (double)number.digits;
    value =
        number.exponent < 0 ? value / powers[-number.exponent] : value * powers[number.exponent];
    *ret = number.negative ? -value : value;
    return true;
}

bool float_text_float(Str text, float *ret)
{
    static const float powers[] = {1e0F, 1e1F, 1e2F, 1e3F, 1e4F, 1e5F,
                                   1e6F, 1e7F, 1e8F, 1e9F, 1e10F};
    Digits number;
    if (!parse_digits(text, &number)) {
        double special;
        if (!parse_special(text, &special)) {
            return false;
        }
        *ret = (float)special;
        return true;
    }
    if (!number.is_exact || number.digits > UINT64_C(1) << 24 || number.exponent < -10 ||
        number.exponent > 10) {
        return parse_with_libc(text, NULL, ret);
    }
    float value = (float)number.digits;
    value =
        number.exponent < 0 ? value / powers[-number.exponent] : value * powers[number.exponent];
    *ret = number.negative ? -value : value;
    return true;
}
