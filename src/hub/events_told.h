// Which events of a system were told, so that none is told twice, and none that is older than what
// its object was told last. An SQLite file in the state directory of the pipeline.
//
// An event is noted before it is passed on, with the position that it has; what did not become
// durable is forgotten at the next start. So it is known exactly as long as it counts, wherever
// the process ends.
//
// Positions are microseconds of this machine's clock (posted.h).
#pragma once

#include "change/position.h"
#include "hub/hub_event.h"

typedef struct EventsTold EventsTold;

/**
 * Open what is kept in @directory, and forget what did not become durable: all at or behind @end.
 * @since_s: when nothing is kept there, from when on events count. @now_s: what nobody asks for any
 * more goes.
 */
MUST_CHECK Status events_told_open(const char *directory, Lsn end, int64_t since_s, int64_t now_s,
                                   EventsTold **ret, Error *err);

/** What was not saved is forgotten. Accepts NULL. */
void events_told_close(EventsTold *told);

/**
 * STATUS_AGAIN: @event is news. STATUS_OK: it was told, or something newer of its object was;
 * *ret_lsn is where.
 */
MUST_CHECK Status events_told_find(EventsTold *told, const HubEvent *event, Lsn *ret_lsn,
                                   Error *err);

/** @event is told at @lsn. */
MUST_CHECK Status events_told_add(EventsTold *told, const HubEvent *event, Lsn lsn, Error *err);

/** Make what was added durable. Some of what nobody asks for any more goes, at least as much as is
 *  added in the long run; it takes time for so much only. @durable: what is told before is durable
 *  elsewhere, too. @now_s: seconds since 1970. */
MUST_CHECK Status events_told_save(EventsTold *told, Lsn durable, int64_t now_s, Error *err);

/** From when on there may be events that nobody has told; seconds since 1970. What is said to have
 *  been made behind @now_s (a test clock of Stripe's may say so) says nothing of that. */
MUST_CHECK Status events_told_since(EventsTold *told, int64_t now_s, int64_t *ret_s, Error *err);

/** All events before @since_s are told, and durable. */
MUST_CHECK Status events_told_all_before(EventsTold *told, int64_t since_s, Error *err);
