#include "base/buf.h"

#include <assert.h>
#include <endian.h>

void buf_done(Buf *buf)
{
    if (buf == NULL) {
        return;
    }
    mem_free(buf->ptr);
    *buf = (Buf){.max = buf->max};
}

bool buf_reserve(Buf *buf, size_t extra)
{
    assert(buf->len <= buf->capacity);
    if (buf->overflowed || extra > buf->max - buf->len) {
        buf->overflowed = true;
        return false;
    }
    size_t wanted = buf->len + extra;
    if (wanted <= buf->capacity) {
        return true;
    }
    size_t grown = MAX(buf->capacity * 2, (size_t)256);
    buf->capacity = MIN(MAX(grown, wanted), buf->max);
    buf->ptr = mem_resize(buf->ptr, buf->capacity + 1); // a NUL always fits behind the contents
    return true;
}

void buf_quoted(Buf *buf, Str text, const char *special, char escape)
{
    assert(special[0] != '\0');
    buf_char(buf, special[0]);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c != '\0' && strchr(special, c) != NULL) {
            buf_char(buf, escape == '\0' ? c : escape);
        }
        buf_char(buf, c);
    }
    buf_char(buf, special[0]);
}

void buf_uint64(Buf *buf, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buf_bytes(buf, digits + at, sizeof(digits) - at);
}

void buf_int64(Buf *buf, int64_t value)
{
    if (value < 0) {
        buf_char(buf, '-');
        buf_uint64(buf, 0 - (uint64_t)value);
    } else {
        buf_uint64(buf, (uint64_t)value);
    }
}

void buf_be16(Buf *buf, uint16_t value)
{
    uint16_t wire = htobe16(value);
    buf_bytes(buf, &wire, sizeof(wire));
}

void buf_be32(Buf *buf, uint32_t value)
{
    uint32_t wire = htobe32(value);
    buf_bytes(buf, &wire, sizeof(wire));
}

void buf_be64(Buf *buf, uint64_t value)
{
    uint64_t wire = htobe64(value);
    buf_bytes(buf, &wire, sizeof(wire));
}

void buf_vprintf(Buf *buf, const char *format, va_list args)
{
    assert(format != NULL);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    assert(len >= 0);
    if (len > 0 && buf_reserve(buf, (size_t)len)) {
        (void)vsnprintf(buf->ptr + buf->len, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
}

void buf_printf(Buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(buf, format, args);
    va_end(args);
}

const char *buf_cstring(Buf *buf)
{
    if (buf->ptr == NULL) {
        buf->ptr = mem_alloc(1);
    }
    buf->ptr[buf->len] = '\0';
    return buf->ptr;
}

Status buf_check(const Buf *buf, const char *what, Error *err)
{
    if (buf->overflowed) {
        return error_set(err, ERROR_DATA, "%s is larger than the limit of %zu bytes", what,
                         buf->max);
    }
    return STATUS_OK;
}
