// What one system says, made into checked objects: the rules of its location, one after the other.
//
//     receiver_row() or receiver_json() -> outcomes: an object each, or why there is none
#pragma once

#include "model/hub.h"

/** Working memory of one thread. */
typedef struct Receiver Receiver;

/** What one rule makes of a change. */
typedef struct Received {
    const MixerRule *rule;
    bool is_valid;
    Object object;                 // when it is valid
    Error error;                   // otherwise: ERROR_DATA, the first thing that is wrong
    const SchemaProblem *problems; // all that the model's check found; may be none
    size_t problem_count;
} Received;

/** Outcomes, one a rule, in the order of the file. */
typedef struct ReceivedList {
    Received *items; // valid until the receiver's next use, and no longer than what was given
    size_t count;    // 0: no rule is about the location, or it is a delete where nobody owns
} ReceivedList;

/** @hub, of which @system is one, outlives it. */
RETURNS_NONNULL Receiver *receiver_new(const Hub *hub, const HubSystem *system);

/** Accepts NULL. */
void receiver_free(Receiver *receiver);

/**
 * A row of a SYSTEM_POSTGRESQL. @op: read, insert, update, or delete, of which @row is the old row.
 * @before: of an update, the old row; NULL: it was not sent.
 * @relation lives as long as the receiver, and is known by its address. ERROR_CONFIG: the table
 * does not fit a rule (mixer_bind()).
 */
MUST_CHECK Status receiver_row(Receiver *receiver, ChangeOp op, const Relation *relation,
                               const Value *before, const Value *row, ReceivedList *ret,
                               Error *err);

/** An object that was not made by a rule: its check, in an outcome without a rule. */
void receiver_object(Receiver *receiver, const Object *object, Received *ret);

/** A JSON value at @location. Of a deleted object of SYSTEM_STRIPE, which tells all of it, search
 *  keys that are nowhere are null. */
ReceivedList receiver_json(Receiver *receiver, Str location, ChangeOp op, const JsonValue *value);
