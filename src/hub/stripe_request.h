// What is asked of Stripe's API for a row that is pushed. Pure.
#pragma once

#include "model/mixer.h"

typedef struct StripeRequest {
    const char *method; // "POST", "DELETE"
    const char *path;   // "/v1/products/prod_1"
    Str id;             // of the object; empty: Stripe is to make one
    Str body;           // as application/x-www-form-urlencoded; ptr NULL: none
} StripeRequest;

/**
 * In @arena. The search key of @row is the object's id: with one the object is changed or deleted,
 * without one it is made. Names have brackets, "metadata[id]", "items[0][price]"; null, and what is
 * empty, is empty text, which takes a value away, and is not said of an object that is to be made;
 * integers are digits only. *ret_is_empty: the row says nothing beside the id, and nothing is to be
 * asked. ERROR_DATA: the id cannot be one.
 */
MUST_CHECK Status stripe_request(const PushedRow *row, Arena *arena, StripeRequest *ret,
                                 bool *ret_is_empty, Error *err);
