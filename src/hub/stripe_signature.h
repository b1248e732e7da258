// How Stripe signs the requests of a webhook (docs.stripe.com/webhooks, "Verify manually"):
//
//     Stripe-Signature: t=1700000000,v1=<hex>,v1=<hex>,v0=…
//
// v1 is the HMAC-SHA256, by a secret of the endpoint, of the time, a dot and the body. While
// secrets are exchanged there is one v1 for each. Other schemes say nothing.
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "config/option.h"

/** A request that was signed longer ago may be one that somebody has listened to and says again. */
enum { STRIPE_SIGNATURE_TOLERANCE_S = 300 };

/**
 * Whether @header signs @body by one of @secrets. @now_s: seconds since 1970. ERROR_DATA says what
 * is wrong, without anything of the header, the body or a secret. How long it takes tells nothing
 * about a signature.
 */
MUST_CHECK Status stripe_signature_check(Str header, Str body, const StrList *secrets,
                                         int64_t now_s, Error *err);
