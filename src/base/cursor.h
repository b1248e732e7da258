// Reading a short text from its left to its right.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/ascii.h"
#include "base/str.h"

/** What is left of a text. Each of the readers below takes what it knows off, and says whether it
 * was there; after a false the cursor is anywhere. */
typedef struct Cursor {
    const char *at;
    const char *end;
} Cursor;

static inline Cursor cursor_of(Str text)
{
    return (Cursor){text.ptr, text.len == 0 ? text.ptr : text.ptr + text.len};
}

static inline bool cursor_at_end(const Cursor *in)
{
    return in->at == in->end;
}

static inline bool cursor_accept(Cursor *in, char c)
{
    if (in->at == in->end || *in->at != c) {
        return false;
    }
    in->at++;
    return true;
}

static inline bool cursor_accept_text(Cursor *in, Str text)
{
    if ((size_t)(in->end - in->at) < text.len || memcmp(in->at, text.ptr, text.len) != 0) {
        return false;
    }
    in->at += text.len;
    return true;
}

/** @min to @max digits (at most 18). */
static inline bool cursor_digits(Cursor *in, int min, int max, int64_t *ret)
{
    int64_t value = 0;
    int count = 0;
    while (count < max && in->at < in->end && ascii_is_digit(*in->at)) {
        value = value * 10 + (*in->at++ - '0');
        count++;
    }
    *ret = value;
    return count >= min && (in->at == in->end || !ascii_is_digit(*in->at));
}

/** An optional "." with one to six digits, as microseconds. */
static inline bool cursor_fraction(Cursor *in, int64_t *ret)
{
    *ret = 0;
    if (!cursor_accept(in, '.')) {
        return true;
    }
    const char *start = in->at;
    if (!cursor_digits(in, 1, 6, ret)) {
        return false;
    }
    for (ptrdiff_t count = in->at - start; count < 6; count++) {
        *ret *= 10;
    }
    return true;
}

/** "-", "+" or nothing: whether it is negative. */
static inline bool cursor_sign(Cursor *in)
{
    bool negative = cursor_accept(in, '-');
    if (!negative) {
        (void)cursor_accept(in, '+');
    }
    return negative;
}
