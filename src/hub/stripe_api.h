// Stripe's API: requests, repeated by Stripe's rules. https://docs.stripe.com/error-low-level
#pragma once

#include "codec/json_value.h"
#include "io/http_client.h"
#include "model/hub.h"

/** Of the API that is asked for, whatever the account's default is. */
#define STRIPE_API_VERSION "2024-06-20"

/** Thread: one at a time. */
typedef struct StripeApi StripeApi;

/** @settings outlive it. */
RETURNS_NONNULL StripeApi *stripe_api_new(const StripeSettings *settings, const Pause *pause);

/** Accepts NULL. */
void stripe_api_free(StripeApi *api);

typedef struct StripeQuestion {
    const char *method;
    const char *path; // "/v1/events?limit=100"
    Str body;         // a form; ptr NULL: none
    Str key;          // of a POST: the same request by the same key is done once; empty: none
} StripeQuestion;

/**
 * Ask, and again when Stripe wants to be asked again: it is waited as long as it says, or ever
 * longer. STATUS_OK: *ret is the answer, whatever it says but that: also what is the key's for
 * good. ERROR_TRANSIENT: no luck after some tries; ERROR_CANCELLED.
 */
MUST_CHECK Status stripe_api_ask(StripeApi *api, const StripeQuestion *question, HttpAnswer *ret,
                                 Error *err);

/** @answer refuses, and whoever asks by the same key gets nothing else as long as Stripe keeps it.
 *  Below 500 nothing was done; from there on something may have been. */
bool stripe_api_is_final(const HttpAnswer *answer);

/** @answer says that what was to be deleted is not there. Of an account that is 403, as of one that
 *  is somebody else's. */
bool stripe_api_is_gone(const HttpAnswer *answer, Arena *arena);

/**
 * The object that an answer is, in @arena, which borrows from the answer. What is refused has
 * Stripe's own words: kinds as http_answer_check() has them.
 */
MUST_CHECK Status stripe_api_read(const StripeQuestion *question, const HttpAnswer *answer,
                                  Arena *arena, JsonValue *ret, Error *err);
