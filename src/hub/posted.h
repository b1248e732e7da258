// What the sources of systems that post have in common: requests become events, each with a
// position of its own, and are answered when that is durable. Which events were told is kept
// (events_told.h).
//
// Positions are microseconds of our clock, each larger than the one before.
#pragma once

#include "hub/events_told.h"
#include "hub/hub_end.h"
#include "pipeline/source.h"

enum { POSTED_SECOND_US = 1000000 };

enum { POSTED_WAITING_MAX = 256 }; // more than an inbox has

/** A request that is answered when everything before `end` is durable. */
typedef struct PostedWaiting {
    HttpPost *post;
    Lsn end;
} PostedWaiting;

/** Zeroed but for the first three is closed. Thread: the source's. */
typedef struct Posted {
    Source *source; // whose it is
    const HubEnd *end;
    const Relation *relation; // of the changes that events become
    EventsTold *told;
    Batch *batch; // being filled; NULL: none yet
    Lsn position; // all told events are before it
    Lsn confirmed;
    bool is_open; // the inbox is
    PostedWaiting waiting[POSTED_WAITING_MAX];
    size_t waiting_count;
} Posted;

/** What @post, which the gate has let in, tells: in @arena. ERROR_DATA: nothing that can be told.
 */
typedef Status (*PostedReader)(void *context, HttpPost *post, Arena *arena, HubEvents *ret,
                               Error *err);

/** SourceOps.resume, up to what is the system's own. @overlap_s: so long before the last position
 *  there may be events that were not told. */
MUST_CHECK Status posted_resume(Posted *posted, const Checkpoint *checkpoint, Checkpoint *changed,
                                int64_t overlap_s, Error *err);

/** Whether requests are to be let in: a run with an end takes what there is by now. */
bool posted_listens(const Posted *posted);

/** From here on they are. */
MUST_CHECK Status posted_open(Posted *posted, InboxGate gate, void *context, Error *err);

/** Tell @events that are news. @is_listed: they are from before now. *ret_end: what has to be
 *  durable before they need not be told again; LSN_NONE: nothing. */
MUST_CHECK Status posted_tell(Posted *posted, const HubEvents *events, bool is_listed, Lsn *ret_end,
                              Error *err);

/** Take requests out of the inbox, as long as the batch has room. */
MUST_CHECK Status posted_take(Posted *posted, PostedReader reader, void *context, Error *err);

/** The batch, made durable as told; STATUS_AGAIN: it is empty, and no end has been come to.
 *  @is_complete: nothing is on its way that was before `until`. */
MUST_CHECK Status posted_seal(Posted *posted, bool is_complete, Batch **ret, Error *err);

/** Wait for requests, for @wake_fd, for @other_fd (-1: nothing), or to be cancelled. */
void posted_wait(const Posted *posted, int wake_fd, int other_fd, int timeout_ms);

/** SourceOps.tables: there are none. */
Status posted_tables(Source *source, const SourceTables **ret, Error *err);

/** SourceOps.poll() that takes nothing in: STATUS_AGAIN. */
Status posted_rest(int wake_fd, int timeout_ms);

/** SourceOps.confirm: answer what is durable. */
void posted_confirm(Posted *posted, Position position);

/** SourceOps.now. */
Lsn posted_now(Posted *posted);

/** Answer what is left. Also when nothing was resumed. */
void posted_close(Posted *posted);
