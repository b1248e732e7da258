// Text as pointer and length, passed by value. A Str borrows: it is valid as long as what it points
// into. NUL-terminated strings exist only at the edges to libc and libpq (str_to_cstr).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/macros.h"

typedef struct Str {
    const char *ptr; // may be NULL when len is 0
    size_t len;
} Str;

/** A Str of a string literal. */
#define STR(literal) ((Str){"" literal, sizeof(literal) - 1})

/** For printf: "%" STR_FMT with STR_ARG(s). Cut at INT_MAX bytes. */
#define STR_FMT ".*s"
#define STR_ARG(s) \
    (int)((s).len > INT32_MAX ? INT32_MAX : (s).len), ((s).ptr == NULL ? "" : (s).ptr)

/** NULL gives the empty Str. */
static inline Str str_from(const char *text)
{
    return (Str){text, text == NULL ? 0 : strlen(text)};
}

static inline bool str_equal(Str a, Str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool str_is(Str a, const char *text)
{
    return str_equal(a, str_from(text));
}

bool str_starts_with(Str text, Str prefix);

/** Byte-wise order, shorter first. */
int str_compare(Str a, Str b);

/** Position of @byte, or -1. */
ptrdiff_t str_find(Str text, char byte);

Str str_trim(Str text);

/** Cut @text at the first @separator: *ret_head is what was before it (all, when there is none),
 *  @text becomes what is behind it. Returns false when @text was already used up (ptr NULL). */
bool str_split(Str *text, char separator, Str *ret_head);

/** Copy into @arena. */
Str str_copy(Arena *arena, Str text);

/** NUL-terminated copy in @arena. */
RETURNS_NONNULL char *str_to_cstr(Arena *arena, Str text);

/** The whole of @text as a number; false (and *ret untouched) on anything else, also on overflow.
 */
MUST_CHECK bool str_to_uint64(Str text, uint64_t *ret);
MUST_CHECK bool str_to_int64(Str text, int64_t *ret);
MUST_CHECK bool str_to_double(Str text, double *ret);

/** How many single-character edits turn @a into @b: for "did you mean". */
unsigned str_distance(Str a, Str b);
