#include "io/webhook_signature.h"

#include <assert.h>

#include "base/base64.h"
#include "base/hmac.h"
#include "base/limits.h"

const char *const webhook_scheme_names[] = {"none", "hmac-sha256", "standard-webhooks", NULL};

enum { SECRET_MAX = 4096, SIGNATURES_MAX = 16 };

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

// ---------------------------------------------------------------------------------------------
// Checking
// ---------------------------------------------------------------------------------------------

// "v1,<base64>", with blanks between several. Others are of schemes that say nothing here.
static size_t read_standard(Str text, Hmac ret[static SIGNATURES_MAX])
{
    size_t count = 0;
    Str item;
    while (count < SIGNATURES_MAX && str_split(&text, ' ', &item)) {
        CLEANUP(buf_done) Buf digest = {.max = 2 * (size_t)HMAC_SIZE};
        Str version = {0};
        (void)str_split(&item, ',', &version);
        if (str_is(version, "v1") && item.ptr != NULL && base64_decode(&digest, item) &&
            digest.len == HMAC_SIZE && !digest.overflowed) {
            memcpy(ret[count++].bytes, digest.ptr, HMAC_SIZE);
        }
    }
    return count;
}

static size_t read_hex(Str text, Hmac *ret)
{
    static const Str prefix = {"sha256=", 7};
    if (str_starts_with(text, prefix)) {
        text = (Str){text.ptr + prefix.len, text.len - prefix.len};
    }
    return hmac_from_hex(text, ret) ? 1 : 0;
}

static Status check_time(Str time, int64_t now_s, Error *err)
{
    int64_t time_s;
    if (!str_to_int64(time, &time_s)) {
        return error_set(err, ERROR_DATA, "the signature says no time");
    }
    int64_t age_s;
    if (__builtin_sub_overflow(now_s, time_s, &age_s) || age_s > WEBHOOK_TOLERANCE_S ||
        age_s < -WEBHOOK_TOLERANCE_S) {
        error_set(err, ERROR_DATA, "it was not signed within five minutes of now");
        return error_hint(err, "If it was, the clock of this machine or of the sender's is wrong.");
    }
    return STATUS_OK;
}

Status webhook_check(WebhookScheme scheme, const WebhookMessage *message, Str signature,
                     const Str *keys, size_t key_count, int64_t now_s, Error *err)
{
    Hmac digests[SIGNATURES_MAX];
    if (scheme == WEBHOOK_NONE) {
        return STATUS_OK;
    }
    if (scheme == WEBHOOK_STANDARD && message->id.len == 0) {
        return error_set(err, ERROR_DATA, "the request has no webhook-id");
    }
    size_t count = scheme == WEBHOOK_STANDARD ? read_standard(signature, digests)
                                              : read_hex(signature, digests);
    if (count == 0) {
        return error_set(err, ERROR_DATA, "there is no signature");
    }
    CLEANUP(buf_done) Buf copy = {.max = LIMIT_TEXT_BYTES};
    if (!hmac_is_signed(digests, count, keys, key_count, signed_text(scheme, message, &copy))) {
        return error_set(err, ERROR_DATA, "it is not signed by a secret of this system");
    }
    return scheme == WEBHOOK_STANDARD ? check_time(message->time, now_s, err) : STATUS_OK;
}
