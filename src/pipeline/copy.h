// Copies tables from a snapshot of the source into the sink.
#pragma once

#include "pipeline/dead.h"
#include "pipeline/meter.h"
#include "pipeline/sink.h"
#include "pipeline/source.h"
#include "pipeline/state.h"
#include "pipeline/tables.h"

/** What every copy of one snapshot shares. */
typedef struct CopyJob {
    Source *source;
    Snapshot *snapshot;
    Lsn snapshot_lsn;
    Tables *tables;
    State *state; // where checkpoints go when the sink does not store them; may be NULL
    // Where rows go that are refused; NULL: they stop the copy. Not with lanes.
    Dead *dead;
    bool persistent; // table states are stored; false for `weir copy`
    Cancel *cancel;
    Meter *meter;
} CopyJob;

/** How a lane gets its own instance of the sink. */
typedef struct SinkRecipe {
    const SinkOps *ops;
    Settings *settings;
    SinkContext context;
} SinkRecipe;

/**
 * Give the target its table and note in the checkpoint that a copy begins, so that its rows are
 * known as ours after a crash. Not committed.
 */
MUST_CHECK Status copy_prepare(const CopyJob *job, Sink *sink, Table *table,
                               const Relation *relation, Checkpoint *changed, Error *err);

/**
 * Copy the rows of one table that copy_prepare() was called for. The last ones are not committed
 * yet: the caller does that, with whatever else is to be true from then on. STATUS_AGAIN: the table
 * was rewritten since the snapshot was taken, and nothing was done.
 */
MUST_CHECK Status copy_table(const CopyJob *job, Sink *sink, Table *table, const Relation *relation,
                             Error *err);

/** Nothing of a copy of @relation, which is prepared, may be committed before all of it is. */
bool copy_is_whole(Sink *sink, const Relation *relation);

/** Store @changed with the data: commit at the sink, and in the local state if need be. */
MUST_CHECK Status copy_commit(const CopyJob *job, Sink *sink, Checkpoint *changed, Error *err);

/** ERROR_TRANSIENT: what STATUS_AGAIN of copy_table() says. */
MUST_CHECK Status copy_was_rewritten(const Relation *relation, Error *err);

/**
 * Prepare and copy @count tables, up to @lanes at a time where the sink can. One that was rewritten
 * since the snapshot was taken is passed over: it stays TABLE_PENDING.
 */
MUST_CHECK Status copy_tables(const CopyJob *job, Sink *sink, const SinkRecipe *recipe,
                              const SourceTable *tables, size_t count, size_t lanes, Error *err);

/** An opened instance for a lane; free with sink_free(). Thread: not while another lane is made. */
MUST_CHECK Status sink_open_lane(const SinkRecipe *recipe, Sink **ret, Error *err);

/** The schema event that a sink without tables gets before the first row of a relation version. */
MUST_CHECK Status write_schema_event(Sink *sink, const Relation *relation,
                                     const Transaction *transaction, uint64_t ordinal, Error *err);
