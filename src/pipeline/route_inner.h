// What the files of a route share. Thread: the route's.
#pragma once

#include "pipeline/route.h"
#include "pipeline/route_side.h"

struct Route {
    RouteOptions options;
    Sink *sink;
    Checkpoint checkpoint; // as stored when the route was opened
    Tables tables;
    Position durable;
    Position resumed; // changes at or before it are already in the sink
    Position written; // end of the last batch delivered
    Position handed;  // to the sink: the last change
    bool in_transaction;
    bool has_changes; // written but not committed
    size_t uncommitted_bytes;
    int64_t uncommitted_since_ms;
    int64_t committed_at_ms;
    int64_t commit_took_us; // the last one
    int64_t rest_until_us;  // no commit before it, unless there is much to commit
    Lsn last_commit_lsn;    // for counting transactions only
    Table *last_table;      // cache of the table of `last_relation`
    const Relation *last_relation;
    bool has_pending;    // some table waits for its copy
    bool says_missing;   // the checkpoint does, see save_missing()
    bool says_no_copies; // the same
    ChangeRun merged;    // several batches' changes
    SideCopy *side;
    CopyJob job;
};

// route.c

/** Without copies a table is ready as soon as it is known: only what happens from now on counts. */
void route_adopt(Route *route, Table *table);

/** @now is how the source has @table: what was changed while it was not published is in its rows
 *  only, so it is copied again. */
void route_close_gap(Route *route, Table *table, const Relation *now);

/** Of a sink that takes everything the checkpoint says which tables the source has told. */
void route_note_told(Route *route, const Relation *relation);

/** Hand changes to the sink: those that are not to be held or dropped, in the shape that their
 *  table has by then. */
MUST_CHECK Status route_deliver_changes(Route *route, const Change *changes, size_t count,
                                        Error *err);

/** What the sink was handed, with its position. Not within a transaction. */
MUST_CHECK Status route_commit(Route *route, Error *err);

/** The same, unless there is nothing to commit. */
MUST_CHECK Status route_commit_all(Route *route, Error *err);

bool route_until_is_written(const Route *route);

// route_copies.c

/** Begin and end copies beside the stream. Between transactions. */
MUST_CHECK Status route_serve_copies(Route *route, Error *err);
