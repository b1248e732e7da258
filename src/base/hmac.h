// HMAC-SHA256 (RFC 2104): by what a request is signed.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

enum { HMAC_SIZE = 32 };

typedef struct Hmac {
    unsigned char bytes[HMAC_SIZE];
} Hmac;

/** Of @message by @key. False: there is no key. */
MUST_CHECK bool hmac_sign(Str key, Str message, Hmac *ret);

/**
 * Whether one of @count @digests is that of @message by one of @keys. Each is compared with each,
 * and all of it: how long it takes tells nothing about a digest. An empty key signs nothing.
 */
bool hmac_is_signed(const Hmac *digests, size_t count, const Str *keys, size_t key_count,
                    Str message);

/** The SHA-256 of @data, without a key. */
Hmac sha256(Str data);

/** Append as hexadecimal digits, small ones. */
void hmac_to_hex(Buf *out, const Hmac *digest);

/** False: @text is no such digits. */
MUST_CHECK bool hmac_from_hex(Str text, Hmac *ret);
