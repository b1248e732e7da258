// The copy of one table beside the stream, by a thread of its own, and the changes of the table
// that are held back meanwhile.
//
// Thread: the route's.
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "pipeline/copy.h"
#include "pipeline/route_held.h"

typedef struct SideCopy {
    CopyJob job;
    Sink *sink; // NULL: the thread only gets the snapshot, the rows go through the route's own
    Table *table;
    const Relation *relation;
    Held *held; // its changes since the copy began
    pthread_t thread;
    atomic_bool is_finished;
    _Atomic Lsn snapshot_lsn; // LSN_NONE: there is no snapshot yet
    // What became of it; job.snapshot and job.snapshot_lsn are the thread's as well until it ended.
    Status status;
    Error error;
} SideCopy;

/**
 * Start to copy @table, which has been prepared in the shape of @relation. @recipe: of the thread's
 * own sink; NULL: it only gets the snapshot.
 */
MUST_CHECK Status side_start(const CopyJob *job, const SinkRecipe *recipe, Table *table,
                             const Relation *relation, SideCopy **ret, Error *err);

/** A change of its table: hold it back, unless the copy is known to have it. */
MUST_CHECK Status side_hold(SideCopy *side, const Change *change, Error *err);

/** The thread has ended, or so much is held that the stream has to wait for it. */
bool side_is_due(const SideCopy *side);

/** Wait for the thread: then the rows are there, through @sink when the thread had none. Status as
 *  of copy_table(). */
MUST_CHECK Status side_join(SideCopy *side, Sink *sink, Error *err);

/** Give up: the thread is waited for, and what it has done is dropped. Its cancel token is set. */
void side_abandon(SideCopy *side);

/** After side_join(). */
void side_free(SideCopy *side);
