// What a request for a new object has made, when nobody has heard of it: Stripe keeps a 500 by the
// request's key, and something may have been made all the same.
#pragma once

#include "hub/hub_echo.h"
#include "hub/rate_limit.h"
#include "hub/stripe_api.h"
#include "model/mixer.h"

typedef struct StripeMade {
    StripeApi *api;
    const Pause *pause;
    RateLimit *limit; // a token for each page
    const HubEcho *echo;
    const Object *object;
    const PushedRow *row; // of @object: what was asked for
    const char *path;     // "/v1/products": where
    int64_t since_s;      // by Stripe's clock: what is older is something else
} StripeMade;

/**
 * Look for it in the list of all that is there, the newest first. It is what says the same keys of
 * other systems as the row does, in its metadata, say; of a row without one, all that the row says;
 * and what no push is known of. *ret: it, in @arena; JSON_NULL: there is none. ERROR_DATA: it
 * cannot be told.
 */
MUST_CHECK Status stripe_find_made(const StripeMade *made, Arena *arena, JsonValue *ret,
                                   Error *err);
