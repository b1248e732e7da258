#include "base/decimal.h"

#include <assert.h>

#include "base/ascii.h"

enum { SMALL_DIGITS = 18 }; // fit into 64 bits, whatever they are

// The digits at the start of @text, which are cut off it.
static Str take_digits(Str *text)
{
    size_t len = 0;
    while (len < text->len && ascii_is_digit(text->ptr[len])) {
        len++;
    }
    Str digits = {text->ptr, len};
    *text = (Str){text->ptr + len, text->len - len};
    return digits;
}

static bool take_any(Str *text, char a, char b)
{
    if (text->len == 0 || (text->ptr[0] != a && text->ptr[0] != b)) {
        return false;
    }
    *text = (Str){text->ptr + 1, text->len - 1};
    return true;
}

static bool parse_exponent(Str *text, int64_t *ret)
{
    *ret = 0;
    if (!take_any(text, 'e', 'E')) {
        return true;
    }
    bool is_negative = text->len > 0 && text->ptr[0] == '-';
    (void)take_any(text, '-', '+');
    Str digits = take_digits(text);
    for (size_t i = 0; i < digits.len; i++) {
        *ret = *ret * 10 + (digits.ptr[i] - '0');
        if (*ret > DECIMAL_EXPONENT_MAX) {
            return false;
        }
    }
    *ret = is_negative ? -*ret : *ret;
    return digits.len > 0;
}

static Str strip_front(Str digits)
{
    while (digits.len > 0 && digits.ptr[0] == '0') {
        digits = (Str){digits.ptr + 1, digits.len - 1};
    }
    return digits;
}

static Str strip_back(Str digits)
{
    while (digits.len > 0 && digits.ptr[digits.len - 1] == '0') {
        digits.len--;
    }
    return digits;
}

static char digit_at(const Decimal *number, size_t at)
{
    return at < number->whole.len ? number->whole.ptr[at]
                                  : number->fraction.ptr[at - number->whole.len];
}

static void set_small(Decimal *number)
{
    size_t count = decimal_digits(number);
    number->is_small = number->exponent >= 0 && number->exponent <= SMALL_DIGITS &&
                       count + (size_t)number->exponent <= SMALL_DIGITS;
    if (!number->is_small) {
        return;
    }
    int64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        value = value * 10 + (digit_at(number, i) - '0');
    }
    for (int64_t i = 0; i < number->exponent; i++) {
        value *= 10;
    }
    number->small = number->is_negative ? -value : value;
}

// Zeros at both ends of the digits go, those behind the last one into the exponent.
static void normalize(Decimal *number, Str whole, Str fraction)
{
    number->exponent -= (int64_t)fraction.len;
    number->whole = strip_front(whole);
    number->fraction = number->whole.len == 0 ? strip_front(fraction) : fraction;
    size_t before = decimal_digits(number);
    number->fraction = strip_back(number->fraction);
    if (number->fraction.len == 0) {
        number->whole = strip_back(number->whole);
    }
    size_t after = decimal_digits(number);
    number->exponent += (int64_t)(before - after);
    if (after == 0) {
        number->exponent = 0;
        number->is_negative = false;
    }
}

bool decimal_parse(Str text, Decimal *ret)
{
    Decimal number = {0};
    number.is_negative = take_any(&text, '-', '-');
    Str whole = take_digits(&text);
    Str fraction = {0};
    if (whole.len == 0 || (whole.len > 1 && whole.ptr[0] == '0')) {
        return false;
    }
    if (take_any(&text, '.', '.')) {
        fraction = take_digits(&text);
        if (fraction.len == 0) {
            return false;
        }
    }
    if (!parse_exponent(&text, &number.exponent) || text.len > 0) {
        return false;
    }
    normalize(&number, whole, fraction);
    set_small(&number);
    *ret = number;
    return true;
}

// Both are greater than zero.
static int compare_magnitude(const Decimal *a, const Decimal *b)
{
    size_t a_digits = decimal_digits(a);
    size_t b_digits = decimal_digits(b);
    int64_t a_top = a->exponent + (int64_t)a_digits; // place of the first digit
    int64_t b_top = b->exponent + (int64_t)b_digits;
    if (a_top != b_top) {
        return a_top < b_top ? -1 : 1;
    }
    for (size_t i = 0; i < a_digits && i < b_digits; i++) {
        char a_digit = digit_at(a, i);
        char b_digit = digit_at(b, i);
        if (a_digit != b_digit) {
            return a_digit < b_digit ? -1 : 1;
        }
    }
    return a_digits == b_digits ? 0 : a_digits < b_digits ? -1 : 1;
}

static int sign_of(const Decimal *number)
{
    return decimal_digits(number) == 0 ? 0 : number->is_negative ? -1 : 1;
}

int decimal_compare(const Decimal *a, const Decimal *b)
{
    if (a->is_small && b->is_small) {
        return a->small < b->small ? -1 : a->small > b->small;
    }
    int a_sign = sign_of(a);
    int b_sign = sign_of(b);
    if (a_sign != b_sign || a_sign == 0) {
        return a_sign < b_sign ? -1 : a_sign > b_sign;
    }
    return a_sign * compare_magnitude(a, b);
}

// ---------------------------------------------------------------------------------------------
// Multiples: the remainder by long division, a digit after the other
// ---------------------------------------------------------------------------------------------

enum {
    LIMB = 1000000000,
    LIMB_DIGITS = 9,
    LIMBS = DECIMAL_DIVISOR_DIGITS / LIMB_DIGITS + 2,
};

// The first limb is the least.
typedef struct Large {
    uint32_t limbs[LIMBS];
    size_t count;
} Large;

static Large large_from(const Decimal *number)
{
    Large large = {0};
    size_t digits = decimal_digits(number);
    large.count =
        (digits + LIMB_DIGITS - 1) / LIMB_DIGITS + 1; // one for the remainder's next digit
    assert(large.count <= LIMBS);
    for (size_t i = 0; i < digits; i++) {
        size_t limb = (digits - 1 - i) / LIMB_DIGITS;
        large.limbs[limb] = large.limbs[limb] * 10 + (uint32_t)(digit_at(number, i) - '0');
    }
    return large;
}

static bool large_is_less(const Large *a, const Large *b)
{
    for (size_t i = a->count; i-- > 0;) {
        if (a->limbs[i] != b->limbs[i]) {
            return a->limbs[i] < b->limbs[i];
        }
    }
    return false;
}

static void large_subtract(Large *from, const Large *what)
{
    uint32_t borrow = 0;
    for (size_t i = 0; i < from->count; i++) {
        uint32_t taken = what->limbs[i] + borrow;
        borrow = from->limbs[i] < taken;
        from->limbs[i] = from->limbs[i] + (borrow != 0 ? LIMB : 0) - taken;
    }
}

// remainder = (remainder * 10 + digit) mod divisor
static void large_step(Large *remainder, const Large *divisor, uint32_t digit)
{
    uint64_t carry = digit;
    for (size_t i = 0; i < remainder->count; i++) {
        uint64_t value = (uint64_t)remainder->limbs[i] * 10 + carry;
        remainder->limbs[i] = (uint32_t)(value % LIMB);
        carry = value / LIMB;
    }
    while (!large_is_less(remainder, divisor)) {
        large_subtract(remainder, divisor);
    }
}

static bool is_large_multiple(const Decimal *number, const Decimal *divisor, size_t zeros)
{
    Large by = large_from(divisor);
    Large remainder = {.count = by.count};
    size_t digits = decimal_digits(number);
    for (size_t i = 0; i < digits + zeros; i++) {
        large_step(&remainder, &by, i < digits ? (uint32_t)(digit_at(number, i) - '0') : 0);
    }
    static const Large zero;
    return memcmp(remainder.limbs, zero.limbs, sizeof(zero.limbs)) == 0;
}

static bool is_small_multiple(const Decimal *number, uint64_t divisor, size_t zeros)
{
    uint64_t remainder = 0;
    size_t digits = decimal_digits(number);
    for (size_t i = 0; i < digits + zeros; i++) {
        uint64_t digit = i < digits ? (uint64_t)(digit_at(number, i) - '0') : 0;
        remainder = (remainder * 10 + digit) % divisor; // below 10^18 * 10 + 10: fits
    }
    return remainder == 0;
}

bool decimal_is_multiple(const Decimal *number, const Decimal *divisor)
{
    size_t divisor_digits = decimal_digits(divisor);
    assert(sign_of(divisor) > 0 && divisor_digits <= DECIMAL_DIVISOR_DIGITS);
    if (decimal_digits(number) == 0) {
        return true;
    }
    if (number->exponent < divisor->exponent) {
        return false; // its last digit, which is no zero, is in a place that no multiple has
    }
    // Zeros more than the divisor has factors of 2 and 5 change nothing, and it has fewer than
    // four a digit of either.
    uint64_t difference = (uint64_t)(number->exponent - divisor->exponent);
    size_t zeros = (size_t)MIN(difference, (uint64_t)(4 * divisor_digits));
    if (divisor_digits > SMALL_DIGITS) {
        return is_large_multiple(number, divisor, zeros);
    }
    uint64_t small = 0;
    for (size_t i = 0; i < divisor_digits; i++) {
        small = small * 10 + (uint64_t)(digit_at(divisor, i) - '0');
    }
    return is_small_multiple(number, small, zeros);
}

uint64_t decimal_hash(const Decimal *number)
{
    // By digit: where the point stands among them does not count.
    uint64_t hash = (uint64_t)number->exponent * 31 + number->is_negative;
    size_t digits = decimal_digits(number);
    for (size_t i = 0; i < digits; i++) {
        hash = (hash ^ (uint8_t)digit_at(number, i)) * UINT64_C(0x100000001b3);
    }
    return hash ^ hash >> 32;
}
