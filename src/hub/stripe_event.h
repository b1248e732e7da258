// An event as Stripe tells it (docs.stripe.com/api/events/object), by a webhook or in a list. Pure.
#pragma once

#include "change/batch.h"
#include "codec/json_value.h"

typedef struct StripeEvent {
    Str id;        // "evt_1"
    Str type;      // "product.updated"
    Str location;  // what the object is: "product"
    Str object_id; // "prod_1"; empty: it has none
    const JsonValue *object;
    int64_t created_s; // since 1970, to the second
    ChangeOp op;       // insert, update or delete
} StripeEvent;

/** Borrows from @value. ERROR_DATA: it is no event that has its object with it. */
MUST_CHECK Status stripe_event_read(const JsonValue *value, StripeEvent *ret, Error *err);

/** Of one second, a creation is the first and a deletion the last thing that happened to an object;
 *  of two others nothing says which was first: they have the same rank. */
int stripe_event_rank(ChangeOp op);

/** Whether @event tells older news of its object than one of @created_s and @rank. */
bool stripe_event_is_older(const StripeEvent *event, int64_t created_s, int rank);

/** The relation of changes that are events: its columns are id, type, created and object. */
extern const Relation stripe_relation;

/** Add @event to @batch, as a change of that relation; its JSON is copied. */
void stripe_event_put(Batch *batch, const StripeEvent *event, const Transaction *transaction);

/** The object of a change that stripe_event_put() made, in @arena. */
MUST_CHECK Status stripe_event_object(const Change *change, Arena *arena, JsonValue *ret,
                                      Str *ret_location, Error *err);
