// A byte buffer that grows up to a ceiling given at creation. Appending past the ceiling marks the
// buffer as overflowed and drops the bytes; the caller checks once at the end with buf_check().
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

typedef struct Buf {
    char *ptr;
    size_t len;
    size_t capacity;
    size_t max;
    bool overflowed;
} Buf;

static inline void buf_init(Buf *buf, size_t max)
{
    *buf = (Buf){.max = max};
}

/** Accepts a zeroed Buf. */
void buf_done(Buf *buf);

/** Empty it, keep the memory. */
static inline void buf_reset(Buf *buf)
{
    buf->len = 0;
    buf->overflowed = false;
}

/** Make room for @extra more bytes; false (and overflowed) when the ceiling forbids it. */
bool buf_reserve(Buf *buf, size_t extra);

static inline void buf_bytes(Buf *buf, const void *data, size_t len)
{
    if (len == 0) {
        return; // @data may be NULL
    }
    if (len <= buf->capacity - buf->len || buf_reserve(buf, len)) {
        memcpy(buf->ptr + buf->len, data, len);
        buf->len += len;
    }
}

static inline void buf_char(Buf *buf, char c)
{
    if (buf->len < buf->capacity || buf_reserve(buf, 1)) {
        buf->ptr[buf->len++] = c;
    }
}

static inline void buf_str(Buf *buf, Str text)
{
    buf_bytes(buf, text.ptr, text.len);
}

static inline void buf_cstr(Buf *buf, const char *text)
{
    buf_bytes(buf, text, strlen(text));
}

/** @text between quotes, the first of the characters @special: before each of them in it stands
 *  @escape, or, where that is NUL, the same character once more. */
void buf_quoted(Buf *buf, Str text, const char *special, char escape);

/** Decimal digits of a number. */
void buf_uint64(Buf *buf, uint64_t value);
void buf_int64(Buf *buf, int64_t value);

/** Big-endian integers, as on the Postgres wire. */
void buf_be16(Buf *buf, uint16_t value);
void buf_be32(Buf *buf, uint32_t value);
void buf_be64(Buf *buf, uint64_t value);

void buf_printf(Buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(Buf *buf, const char *format, va_list args) PRINTF_LIKE(2, 0);

/** The contents; valid until the next append. */
static inline Str buf_view(const Buf *buf)
{
    return (Str){buf->ptr, buf->len};
}

/** The contents with a NUL behind them (not counted in len); valid until the next append. */
RETURNS_NONNULL const char *buf_cstring(Buf *buf);

/** STATUS_FAIL with ERROR_DATA when bytes were dropped; @what names the thing that is too big. */
MUST_CHECK Status buf_check(const Buf *buf, const char *what, Error *err);
