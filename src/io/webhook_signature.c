#include "io/webhook_signature.h"

#include <assert.h>

#include "base/base64.h"
#include "base/hmac.h"
#include "base/limits.h"

const char *const webhook_scheme_names[] = {"none", "hmac-sha256", "standard-webhooks", NULL};

enum { SECRET_MAX = 4096 };

Status webhook_key(WebhookScheme scheme, Str secret, Arena *arena, Str *ret, Error *err)
{
    static const Str prefix = {"whsec_", 6};
    if (scheme != WEBHOOK_STANDARD) {
        *ret = str_copy(arena, secret);
        return secret.len > 0 ? STATUS_OK : error_set(err, ERROR_CONFIG, "the secret is empty");
    }
    Str text = str_starts_with(secret, prefix)
                   ? (Str){secret.ptr + prefix.len, secret.len - prefix.len}
                   : secret;
    CLEANUP(buf_done) Buf key = {.max = SECRET_MAX};
    if (!base64_decode(&key, text) || key.len == 0 || key.overflowed) {
        error_set(err, ERROR_CONFIG, "the secret is none of Standard Webhooks");
        return error_hint(err, "It is \"whsec_\" and 24 to 64 random bytes in base64: \"openssl "
                               "rand -base64 32\" makes some.");
    }
    *ret = str_copy(arena, buf_view(&key));
    return STATUS_OK;
}

// What the HMAC is made of, in @copy where it is not the body alone.
static Str signed_text(WebhookScheme scheme, const WebhookMessage *message, Buf *copy)
{
    if (scheme != WEBHOOK_STANDARD) {
        return message->body;
    }
    buf_str(copy, message->id);
    buf_char(copy, '.');
    buf_str(copy, message->time);
    buf_char(copy, '.');
    buf_str(copy, message->body);
    return buf_view(copy);
}

void webhook_sign(WebhookScheme scheme, Str key, const WebhookMessage *message, Buf *out)
{
    assert(scheme != WEBHOOK_NONE);
    CLEANUP(buf_done) Buf copy = {.max = LIMIT_TEXT_BYTES};
    Hmac digest;
    bool is_signed = hmac_sign(key, signed_text(scheme, message, &copy), &digest);
    assert(is_signed); // webhook_key() gives no empty key
    if (scheme == WEBHOOK_STANDARD) {
        buf_cstr(out, "v1,");
        base64_encode(out, (Str){(const char *)digest.bytes, HMAC_SIZE});
    } else {
        buf_cstr(out, "sha256=");
        hmac_to_hex(out, &digest);
    }
}
