// A route takes batches to one sink: skips what the sink already has, brings tables into shape,
// copies tables that appear, and decides when to commit.
//
// Thread: one, from route_open() to route_close().
#pragma once

#include "pipeline/copy.h"
#include "pipeline/dead.h"

typedef struct RouteOptions {
    Source *source;
    SinkRecipe sink;
    State *state;      // for a sink that does not store checkpoints; NULL: none is kept
    Dead *dead;        // NULL: nothing was or is set aside
    bool copies;       // tables that are not in the target yet are copied; otherwise only followed
    bool keeps_tables; // the source lists those only that the target has: others may wait
    bool persistent;
    size_t lanes;     // tables copied at the same time
    Position until;   // commit as soon as it is reached; lsn LSN_NONE: none
    bool stops_there; // exactly: what was committed at or behind `until` is not delivered
    Cancel *cancel;
    Meter *meter;
} RouteOptions;

typedef struct Route Route;

/** Open the sink and read its checkpoint. */
MUST_CHECK Status route_open(const RouteOptions *options, Route **ret, Error *err);

/** What is stored: for the source to continue from. */
const Checkpoint *route_checkpoint(const Route *route);

/** Everything at or before it is durable at the sink; (0, 0): nothing yet. */
Position route_durable(const Route *route);

/** Store @changed (the source's entries) before anything is delivered. */
MUST_CHECK Status route_store(Route *route, Checkpoint *changed, Error *err);

/** Copy every table of @tables that the target does not have whole yet. */
MUST_CHECK Status route_copy(Route *route, const SourceTables *tables, Error *err);

/** Try those dead letters again that may be, before anything is delivered. */
MUST_CHECK Status route_retry_dead(Route *route, Error *err);

/** Continue behind @position. Called once, before the first delivery. */
void route_start(Route *route, Position position);

/** Deliver batches that follow one another, as one run. */
MUST_CHECK Status route_deliver(Route *route, Batch *const *batches, size_t count, Error *err);

/** How long the caller may wait for the next batch before it has to call route_flush(). */
int64_t route_patience_us(const Route *route, int64_t now_us);

/**
 * Commit if it is time: @idle: no batch is waiting; @draining: nothing more will come. Between
 * transactions it also starts and finishes the copies of tables that appeared.
 */
MUST_CHECK Status route_flush(Route *route, bool idle, bool draining, Error *err);

/** route_flush() waits for the copy of a table. Thread: any. */
bool route_is_copying(const Route *route);

/** Accepts NULL. Uncommitted work is dropped. */
void route_close(Route *route);
