// Copies: those that a pipeline begins with, and those beside the stream.
//
// A table that appears while the stream runs (it was added to the publication, or its rows were
// rewritten by an ALTER TABLE) is copied from a snapshot of its own, taken at LSN X:
//
//   PENDING   its changes are dropped: they were committed before X, so the copy has them
//   COPYING   beside the stream, by a thread with a sink instance of its own. What was committed
//             before X is in the copy, but X is not known until the snapshot exists. All other
//             changes are held back (route_side.c), until they are many: then the stream waits
//             from the next end of a transaction on
//   READY     those at or behind X are delivered; this and `copied_at` are committed together with
//             the held changes, so that a crash at any point either copies again or has it all
//
// A sink without parallel instances takes the rows between two transactions, while the stream
// waits; but not while the snapshot does, which has to outlast every transaction that is open on
// the source.
#include <assert.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "pipeline/route_inner.h"

enum {
    COPY_REST_MS = 100, // when a table was rewritten before its rows were read, doubled
    COPY_RESTS = 6,     // up to so often
};

// What is not copied now can be copied beside the stream.
static bool goes_on(const Route *route)
{
    return route->options.persistent && route->options.until.lsn == LSN_NONE;
}

// The catalogs are ahead of the stream, which may still have changes of the table that had the name
// before. A table that is new to the target waits for the stream to tell it in its place.
static bool must_wait(const Route *route, const Table *table, const Relation *relation)
{
    Position until = route->options.until;
    bool has_stream = route->options.persistent && // and goes on from here
                      (until.lsn == LSN_NONE || position_compare(route->durable, until) < 0);
    return has_stream && route->sink->ops->has_tables && table->target == NULL &&
           tables_rival(&route->tables, relation) != NULL;
}

// Not only the copies that a pipeline begins with.
static bool has_streamed(const Route *route)
{
    size_t cursor = 0;
    void *value;
    while (map_next(&route->tables.by_oid, &cursor, &value)) {
        const Table *table = value;
        if (table->state == TABLE_READY && table->copied_at < route->durable.lsn) {
            return true;
        }
    }
    return false;
}

// A table that is late is copied beside the stream, so that the others need not wait for it.
static void copy_later(Route *route, Table *table, const Relation *relation)
{
    table->prepared = relation_copy(&route->tables.arena, relation);
    route->has_pending = true;
}

// Whoever truncates a table all the time may do so between any snapshot and the look into it.
static void copy_once_more(Route *route, Table *table, const Relation *relation)
{
    int64_t rest_ms = (int64_t)COPY_REST_MS << MIN(table->vain_copies, (uint32_t)COPY_RESTS);
    table->vain_copies++;
    table->copy_not_before_ms = clock_monotonic_ms() + rest_ms;
    table->state = TABLE_PENDING;
    route->has_pending = true;
    atomic_fetch_sub(&route->options.meter->tables_total, 1); // counted when it begins
    if (table->vain_copies == 1) {
        notice_tell(&route->sink->context.notice,
                    "table \"%" STR_FMT ".%" STR_FMT "\" was truncated or rewritten before its "
                    "rows could be read: it is tried again, beside the stream",
                    STR_ARG(relation->schema), STR_ARG(relation->name));
    }
}

static SourceTables missing_tables(Route *route, const SourceTables *tables, Arena *arena)
{
    SourceTables missing = {.items = ARENA_ARRAY(arena, SourceTable, tables->count)};
    bool may_wait = goes_on(route) && has_streamed(route);
    int64_t rows = 0;
    for (size_t i = 0; i < tables->count; i++) {
        const Relation *relation = tables->items[i].relation;
        Table *table = tables_get(&route->tables, relation->oid);
        route_adopt(route, table);
        route_close_gap(route, table, relation);
        if (table->state == TABLE_READY || must_wait(route, table, relation)) {
            continue;
        }
        if (may_wait) {
            copy_later(route, table, relation);
        } else {
            missing.items[missing.count++] = tables->items[i];
            int64_t estimate = tables->items[i].row_estimate;
            rows = estimate < 0 || rows < 0 ? -1 : rows + estimate;
        }
    }
    atomic_store(&route->options.meter->tables_total, (int64_t)missing.count);
    atomic_store(&route->options.meter->tables_done, 0);
    atomic_store(&route->options.meter->copy_rows, 0);
    atomic_store(&route->options.meter->copy_bytes, 0);
    atomic_store(&route->options.meter->copy_rows_estimate, rows);
    return missing;
}

// What is there from the start is not told.
static Status note_all_told(Route *route, const SourceTables *tables, Error *err)
{
    if (checkpoint_get(&route->checkpoint, CHECKPOINT_POSITION) != NULL) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < tables->count; i++) {
        route_note_told(route, tables->items[i].relation);
    }
    Checkpoint changed = {0};
    tables_save(&route->tables, &changed);
    Status status = route_store(route, &changed, err);
    checkpoint_done(&changed);
    return status;
}

static Status in_snapshot(Route *route, const SourceTable *tables, size_t count, Error *err)
{
    Source *source = route->options.source;
    CopyJob *job = &route->job;
    if (source->ops->snapshot_open(source, &job->snapshot, &job->snapshot_lsn, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status = copy_tables(job, route->sink, &route->options.sink, tables, count,
                                route->options.lanes, err);
    source->ops->snapshot_close(job->snapshot);
    job->snapshot = NULL;
    return status;
}

// The tables that were passed over need another snapshot, and the others need not wait for it. A
// run that ends takes it with its next attempt.
static Status copy_rest_later(Route *route, const SourceTables *tables, Error *err)
{
    for (size_t i = 0; i < tables->count; i++) {
        const Relation *relation = tables->items[i].relation;
        Table *table = tables_find(&route->tables, relation->oid);
        if (table->state == TABLE_READY) {
            continue;
        }
        if (!goes_on(route)) {
            return copy_was_rewritten(relation, err);
        }
        copy_later(route, table, relation);
        copy_once_more(route, table, relation);
    }
    return STATUS_OK;
}

Status route_copy(Route *route, const SourceTables *tables, Error *err)
{
    if (route->sink->ops->takes_all) {
        return note_all_told(route, tables, err); // whoever reads it there copies for itself
    }
    Arena scratch = {0};
    SourceTables missing = missing_tables(route, tables, &scratch);
    Status status =
        missing.count == 0 ? STATUS_OK : in_snapshot(route, missing.items, missing.count, err);
    if (status == STATUS_OK) {
        status = copy_rest_later(route, &missing, err);
    }
    arena_done(&scratch);
    return status;
}

// ---------------------------------------------------------------------------------------------
// While the stream runs
// ---------------------------------------------------------------------------------------------

static Status side_begin(Route *route, Table *table, const Relation *relation, Error *err)
{
    Checkpoint changed = {0};
    Status status = copy_prepare(&route->job, route->sink, table, relation, &changed, err);
    if (status == STATUS_OK) {
        status = copy_commit(&route->job, route->sink, &changed, err);
    }
    CRASH_POINT("side-prepared");
    checkpoint_done(&changed);
    if (status != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_apart = route->sink->ops->is_parallel && !copy_is_whole(route->sink, relation);
    return side_start(&route->job, is_apart ? &route->options.sink : NULL, table, relation,
                      &route->side, err);
}

static Status deliver_held(Route *route, Held *held, Error *err)
{
    Batch *batch;
    Status status = held_next(held, &batch, err);
    while (status == STATUS_OK &&
           route_deliver_changes(route, batch->changes, batch->count, err) == STATUS_OK) {
        status = held_next(held, &batch, err);
    }
    return status == STATUS_AGAIN ? STATUS_OK : STATUS_FAIL;
}

static Status side_end(Route *route, Error *err)
{
    // A commit first: a copy commits by itself, and must not do so for half of what was written. Or
    // it waits for a lock on the table that we hold.
    if (route_commit_all(route, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    SideCopy *side = route->side;
    route->side = NULL;
    atomic_store(&route->options.meter->is_copying, true);
    Status status = side_join(side, route->sink, err);
    atomic_store(&route->options.meter->is_copying, false);
    Table *table = side->table;
    if (status == STATUS_AGAIN && goes_on(route)) {
        // What was held was committed before the next snapshot will be taken.
        copy_once_more(route, table, side->relation);
        side_free(side);
        return STATUS_OK;
    }
    if (status != STATUS_OK) {
        status = status == STATUS_AGAIN ? copy_was_rewritten(side->relation, err) : STATUS_FAIL;
        side_free(side);
        return status;
    }
    if (route->options.dead != NULL) {
        dead_recheck(route->options.dead);
    }
    table->state = TABLE_READY;
    table->copied_at = side->job.snapshot_lsn;
    table->copy_begun = false;
    table->vain_copies = 0;
    table->is_dirty = true;
    table->prepared = NULL;
    route->has_changes = true;
    // What was held has positions behind `written`; the target does not have it all the same.
    Position resumed = route->resumed;
    route->resumed = (Position){0};
    CRASH_POINT("side-rows-are-there");
    status = deliver_held(route, side->held, err);
    CRASH_POINT("side-held-delivered");
    route->resumed = resumed;
    side_free(side);
    route->last_relation = NULL;
    return status == STATUS_OK ? route_commit(route, err) : STATUS_FAIL;
}

// Of those that are due. NULL: there is none, and *ret_left says whether there is another one.
static Table *next_pending(const Route *route, int64_t now_ms, bool *ret_left)
{
    size_t cursor = 0;
    void *value;
    *ret_left = false;
    while (map_next(&route->tables.by_oid, &cursor, &value)) {
        Table *table = value;
        if (table->state == TABLE_PENDING && table->prepared != NULL) {
            if (table->copy_not_before_ms <= now_ms) {
                return table;
            }
            *ret_left = true;
        }
    }
    return NULL;
}

static Status end_side_copy(Route *route, bool must_finish, Error *err)
{
    const SideCopy *side = route->side;
    bool is_over = side != NULL && (must_finish || side_is_due(side));
    return is_over ? side_end(route, err) : STATUS_OK;
}

static Status begin_next_copy(Route *route, Error *err)
{
    Table *table = next_pending(route, clock_monotonic_ms(), &route->has_pending);
    if (table == NULL) {
        return STATUS_OK;
    }
    route->has_pending = true;
    // A commit first: the copy commits by itself, and must not do so for half of what was written.
    // Also of a position alone: if this copy fails, what led to it must not come again.
    if (route_commit_all(route, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const Relation *relation = table->prepared;
    route->last_relation = NULL;
    atomic_fetch_add(&route->options.meter->tables_total, 1);
    return side_begin(route, table, relation, err);
}

// When `until` has been written, no copy may be left behind: the run ends with the next commit.
Status route_serve_copies(Route *route, Error *err)
{
    do {
        bool must_finish = route_until_is_written(route);
        if (end_side_copy(route, must_finish, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (route->side != NULL || !route->has_pending) {
            return STATUS_OK;
        }
        if (begin_next_copy(route, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    } while (route_until_is_written(route) && route->has_pending);
    return STATUS_OK;
}
