// Numbers as text, compared exactly: of any size and precision, without a double in between. The
// text is that of a JSON number (RFC 8259 §6).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/** Larger exponents, also negative ones, are not taken: 1e1000000000 is no number of any use. */
enum { DECIMAL_EXPONENT_MAX = 999999999 };

/** A multiple is looked for of divisors with at most so many significant digits. */
enum { DECIMAL_DIVISOR_DIGITS = 1000 };

/**
 * The value is the digits of @whole and @fraction, read as one integer, times 10 to the @exponent.
 * Both borrow from the text. Neither end has a zero, so that equal numbers have equal digits and an
 * equal exponent; zero has no digits.
 */
typedef struct Decimal {
    Str whole;
    Str fraction;
    int64_t exponent;
    bool is_negative; // never of zero
    bool is_small;    // an integer of at most 18 digits, which is in @small
    int64_t small;
} Decimal;

/** False, with *ret untouched, when @text is not a JSON number or its exponent is out of range. */
MUST_CHECK bool decimal_parse(Str text, Decimal *ret);

/** Less than 0, 0 or greater than 0, as @a is to @b. */
int decimal_compare(const Decimal *a, const Decimal *b);

/** 1.0 and 1e3 are integers, 1.5 is none. */
static inline bool decimal_is_integer(const Decimal *number)
{
    return number->is_small || number->exponent >= 0;
}

/** Significant digits. */
static inline size_t decimal_digits(const Decimal *number)
{
    return number->whole.len + number->fraction.len;
}

/** @number divided by @divisor is an integer. @divisor is greater than zero and has at most
 *  DECIMAL_DIVISOR_DIGITS digits. */
bool decimal_is_multiple(const Decimal *number, const Decimal *divisor);

/** Equal numbers have equal hashes. */
uint64_t decimal_hash(const Decimal *number);
