// How a request to a webhook is signed, for those who ask and for those who are asked:
//
//   none               not at all
//   hmac-sha256        a header has the HMAC of the body: sha256=<hex>, as GitHub does it
//   standard-webhooks  webhook-id, webhook-timestamp (seconds since 1970) and webhook-signature,
//                      v1,<base64 of the HMAC of "id.timestamp.body">; while secrets are exchanged,
//                      several with blanks between them (standardwebhooks.com)
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

typedef enum WebhookScheme {
    WEBHOOK_NONE,
    WEBHOOK_HMAC_SHA256,
    WEBHOOK_STANDARD,
} WebhookScheme;

/** As a user writes them, in that order; NULL-terminated. */
extern const char *const webhook_scheme_names[];

/** The header of hmac-sha256, where nobody says another. */
#define WEBHOOK_HMAC_HEADER "X-Hub-Signature-256"

/**
 * The key that @secret stands for, in @arena: of standard-webhooks it is base64, with "whsec_"
 * before it or not. ERROR_CONFIG, without the secret: it is none.
 */
MUST_CHECK Status webhook_key(WebhookScheme scheme, Str secret, Arena *arena, Str *ret, Error *err);

/** What is signed, and where it says so. */
typedef struct WebhookMessage {
    Str id;   // of standard-webhooks, as is the next
    Str time; // as it is written
    Str body;
} WebhookMessage;

/** Append the value of the header: of hmac-sha256 or of standard-webhooks. @key: webhook_key(). */
void webhook_sign(WebhookScheme scheme, Str key, const WebhookMessage *message, Buf *out);

/** A request that was signed longer ago may be one that somebody has listened to and says again. */
enum { WEBHOOK_TOLERANCE_S = 300 };

/**
 * Whether @signature, the value of the header, is that of @message by one of @keys. @now_s: seconds
 * since 1970; of standard-webhooks, it has to be signed within the tolerance of that. ERROR_DATA
 * says what is wrong, without anything of the request or a key. How long it takes tells nothing
 * about a signature.
 */
MUST_CHECK Status webhook_check(WebhookScheme scheme, const WebhookMessage *message, Str signature,
                                const Str *keys, size_t key_count, int64_t now_s, Error *err);
