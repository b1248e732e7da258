// The events that Stripe has, by its API: what was missed while nobody listened is told like this.
// Stripe lists the newest first; here the oldest come first, a page at a time.
#pragma once

#include "codec/json_value.h"
#include "io/cancel.h"
#include "model/hub.h"

typedef struct StripeList StripeList;

/** @settings outlive it. */
RETURNS_NONNULL StripeList *stripe_list_new(const StripeSettings *settings, const Cancel *cancel);

/** Accepts NULL. */
void stripe_list_free(StripeList *list);

/** Begin with the first event of @since_s, seconds since 1970, or later. */
void stripe_list_begin(StripeList *list, int64_t since_s);

/**
 * The next events, in @arena; STATUS_AGAIN: there are no more now. Called again then, it goes on
 * with those that have happened since. Waits for the API.
 */
MUST_CHECK Status stripe_list_next(StripeList *list, Arena *arena, const JsonValue **ret,
                                   size_t *ret_count, Error *err);
