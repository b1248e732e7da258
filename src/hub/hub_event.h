// What a system says by posting it: an object, and what has happened to it. Pure.
#pragma once

#include "change/batch.h"
#include "codec/json_value.h"

typedef struct HubEvent {
    Str id;        // "evt_1"; by it an event is known that comes again. Empty: it has none
    Str type;      // of Stripe "product.updated", of others the location
    Str location;  // what the object is: "product"
    Str object_id; // "prod_1"; empty: it has none
    Str request;   // of Stripe the idempotency key of what was asked for; empty: none is known
    const JsonValue *object;
    int64_t created_s; // since 1970, to the second
    ChangeOp op;       // insert, update or delete
} HubEvent;

/** Those that were said at once: they have one id. */
typedef struct HubEvents {
    const HubEvent *items;
    size_t count;
} HubEvents;

/** Of one second, a creation is the first and a deletion the last thing that happened to an object;
 *  of two others nothing says which was first: they have the same rank. */
int hub_event_rank(ChangeOp op);

/** Whether @event tells older news of its object than one of @created_s and @rank. */
bool hub_event_is_older(const HubEvent *event, int64_t created_s, int rank);

/** The relations of changes that are events, without a name: their columns are id, type, created,
 *  object and request. */
extern const Relation stripe_relation;
extern const Relation webhook_relation;

/** @kind, one of those, with the name of the system that posts. In @arena. */
const Relation *hub_event_relation(const Relation *kind, Str system, Arena *arena);

/** Add @event to @batch, as a change of @relation, which outlives it; its JSON is copied. */
void hub_event_put(Batch *batch, const Relation *relation, const HubEvent *event,
                   const Transaction *transaction, uint64_t ordinal);

/** What a change tells that hub_event_put() made. */
typedef struct HubTelling {
    JsonValue object;
    Str location;
    Str request; // as of the event
} HubTelling;

/** Read it, in @arena. It borrows from @change. */
MUST_CHECK Status hub_event_take(const Change *change, Arena *arena, HubTelling *ret, Error *err);
