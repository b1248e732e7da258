#include "base/hmac.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/ascii.h"

bool hmac_sign(Str key, Str message, Hmac *ret)
{
    unsigned size = 0;
    if (key.len == 0 || key.len > INT32_MAX) {
        return false;
    }
    return HMAC(EVP_sha256(), key.ptr, (int)key.len, (const unsigned char *)message.ptr,
                message.len, ret->bytes, &size) != NULL &&
           size == HMAC_SIZE;
}

bool hmac_is_signed(const Hmac *digests, size_t count, const Str *keys, size_t key_count,
                    Str message)
{
    bool is_same = false;
    for (size_t i = 0; i < key_count; i++) {
        Hmac digest;
        if (!hmac_sign(keys[i], message, &digest)) {
            continue;
        }
        for (size_t j = 0; j < count; j++) {
            is_same |= CRYPTO_memcmp(digests[j].bytes, digest.bytes, HMAC_SIZE) == 0;
        }
        OPENSSL_cleanse(&digest, sizeof(digest));
    }
    return is_same;
}

Hmac sha256(Str data)
{
    Hmac digest;
    (void)SHA256((const unsigned char *)(data.len == 0 ? "" : data.ptr), data.len, digest.bytes);
    return digest;
}

void hmac_to_hex(Buf *out, const Hmac *digest)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < HMAC_SIZE; i++) {
        buf_char(out, hex[digest->bytes[i] >> 4]);
        buf_char(out, hex[digest->bytes[i] & 15]);
    }
}

bool hmac_from_hex(Str text, Hmac *ret)
{
    if (text.len != (size_t)2 * HMAC_SIZE) {
        return false;
    }
    for (size_t i = 0; i < HMAC_SIZE; i++) {
        char pair[] = {text.ptr[2 * i], text.ptr[2 * i + 1]};
        int high = ascii_hex_value(pair[0]);
        int low = ascii_hex_value(pair[1]);
        if (high < 0 || low < 0 || ascii_is_upper(pair[0]) || ascii_is_upper(pair[1])) {
            return false;
        }
        ret->bytes[i] = (unsigned char)(high * 16 + low);
    }
    return true;
}
