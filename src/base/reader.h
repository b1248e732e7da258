// Reads untrusted bytes. Every getter checks the bounds, returns false when there are not enough
// bytes, and leaves its output alone then; a message is read as one chain of ||.
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/macros.h"
#include "base/str.h"

typedef struct Reader {
    const uint8_t *at;
    const uint8_t *end;
} Reader;

static inline Reader reader_from(const void *data, size_t len)
{
    const uint8_t *bytes = data;
    return (Reader){bytes, len == 0 ? bytes : bytes + len};
}

static inline size_t reader_left(const Reader *in)
{
    return (size_t)(in->end - in->at);
}

MUST_CHECK static inline bool reader_u8(Reader *in, uint8_t *ret)
{
    if (reader_left(in) < 1) {
        return false;
    }
    *ret = *in->at++;
    return true;
}

MUST_CHECK static inline bool reader_u16(Reader *in, uint16_t *ret)
{
    uint16_t wire;
    if (reader_left(in) < sizeof(wire)) {
        return false;
    }
    memcpy(&wire, in->at, sizeof(wire));
    in->at += sizeof(wire);
    *ret = be16toh(wire);
    return true;
}

MUST_CHECK static inline bool reader_u32(Reader *in, uint32_t *ret)
{
    uint32_t wire;
    if (reader_left(in) < sizeof(wire)) {
        return false;
    }
    memcpy(&wire, in->at, sizeof(wire));
    in->at += sizeof(wire);
    *ret = be32toh(wire);
    return true;
}

MUST_CHECK static inline bool reader_u64(Reader *in, uint64_t *ret)
{
    uint64_t wire;
    if (reader_left(in) < sizeof(wire)) {
        return false;
    }
    memcpy(&wire, in->at, sizeof(wire));
    in->at += sizeof(wire);
    *ret = be64toh(wire);
    return true;
}

/** @len bytes, borrowed from the input. */
MUST_CHECK static inline bool reader_bytes(Reader *in, size_t len, Str *ret)
{
    if (len > reader_left(in)) {
        return false;
    }
    *ret = (Str){(const char *)in->at, len};
    in->at += len;
    return true;
}

/** Up to the next NUL, which is consumed and not part of the result. */
MUST_CHECK static inline bool reader_cstring(Reader *in, Str *ret)
{
    size_t left = reader_left(in);
    const uint8_t *nul = left == 0 ? NULL : memchr(in->at, 0, left);
    if (nul == NULL) {
        return false;
    }
    *ret = (Str){(const char *)in->at, (size_t)(nul - in->at)};
    in->at = nul + 1;
    return true;
}
