// Keys that a database gives a row that is pushed: a serial number, say. The row is ours, and comes
// back to nobody; its keys have to, or the others could not find the object by them.
//
// The statement that makes the row tells of them by a logical message. So that is part of the
// transaction: what is rolled back was never told, what is committed comes with all else that the
// database says, once, in front of whatever happens to the row later, and wherever anybody is
// killed. Nothing is remembered for it here.
#pragma once

#include "model/hub.h"

#define HUB_GIVEN_PREFIX "weir given"

/**
 * The keys in @message, whose prefix is HUB_GIVEN_PREFIX, in @arena; may borrow from it. Fewer than
 * two say nothing. ERROR_DATA: it is none of ours, or the hub has changed since.
 */
MUST_CHECK Status hub_given_take(const Hub *hub, const LogicalMessage *message, Arena *arena,
                                 Object *ret, Error *err);
