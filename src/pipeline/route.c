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
#include "pipeline/route.h"

#include <assert.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/mem.h"
#include "pipeline/merge.h"
#include "pipeline/route_side.h"
#include "pipeline/shape.h"

enum {
    COMMIT_BYTES = 16 << 20, // commit at the latest when this much is written,
    COMMIT_MS = 500,         // or the oldest uncommitted change is this old
    IDLE_COMMIT_MS = 8000,   // how often a position that moved without changes is stored
    LANE_POLL_MS = 50,
    COPY_REST_MS = 100, // when a table was rewritten before its rows were read, doubled
    COPY_RESTS = 6,     // up to so often
    REST_US_MAX = 50000,
    REST_US_LOG = 10000,      // each commit of a log wakes all of its readers
    REST_US_NOTHING = 250000, // a sink that keeps nothing: only the position is at stake
};

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
    int64_t rest_until_us; // no commit before it, unless there is much to commit
    Lsn last_commit_lsn;   // for counting transactions only
    Table *last_table;     // cache of the table of `last_relation`
    const Relation *last_relation;
    bool has_pending;    // some table waits for its copy
    bool says_missing;   // the checkpoint does, see save_missing()
    bool says_no_copies; // the same
    ChangeRun merged;    // several batches' changes
    SideCopy *side;
    CopyJob job;
};

static Status load_checkpoint(Route *route, Error *err)
{
    Sink *sink = route->sink;
    bool local = !sink->ops->stores_checkpoint && route->options.state != NULL;
    if (local && state_load(route->options.state, &route->checkpoint, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (sink->ops->resume(sink, &route->checkpoint, err) != STATUS_OK ||
        tables_load(&route->tables, &route->checkpoint, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Dead *dead = route->options.dead;
    if (dead != NULL && dead_begin(dead, &route->checkpoint, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    atomic_store(&route->options.meter->dead_letters, dead == NULL ? 0 : dead_count(dead));
    route->says_missing = checkpoint_says(&route->checkpoint, CHECKPOINT_MISSING, "yes");
    route->says_no_copies = checkpoint_says(&route->checkpoint, CHECKPOINT_COPIES, "no");
    // It would pass over the changes of tables that wait for a copy, which never comes.
    if (route->options.keeps_tables &&
        checkpoint_check_copied(&route->checkpoint, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool has_position;
    if (checkpoint_position(&route->checkpoint, &has_position, &route->durable, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (has_position && !route->options.persistent) {
        error_set(err, ERROR_CONFIG, "the target is kept by the pipeline \"%s\"",
                  sink->context.pipeline);
        return error_hint(err,
                          "weir stream … --until now brings it up to date; a copy beside it needs "
                          "another target.");
    }
    return STATUS_OK;
}

Status route_open(const RouteOptions *options, Route **ret, Error *err)
{
    Route *route = mem_alloc_zero(sizeof(*route));
    route->options = *options;
    tables_init(&route->tables);
    Status status = sink_new(options->sink.ops, options->sink.settings, &options->sink.context,
                             &route->sink, err);
    if (status == STATUS_OK) {
        status = route->sink->ops->open(route->sink, err);
    }
    if (status != STATUS_OK || load_checkpoint(route, err) != STATUS_OK) {
        route_close(route);
        return STATUS_FAIL;
    }
    route->job = (CopyJob){
        .source = options->source,
        .tables = &route->tables,
        .state = options->state,
        .persistent = options->persistent,
        .cancel = options->cancel,
        .meter = options->meter,
    };
    // A row says all that it is: the others need not wait for it.
    if (route->sink->ops->changes_stand_alone && !route->sink->ops->has_tables) {
        route->job.dead = options->dead;
    }
    *ret = route;
    return STATUS_OK;
}

const Checkpoint *route_checkpoint(const Route *route)
{
    return &route->checkpoint;
}

Position route_durable(const Route *route)
{
    return route->durable;
}

// For a verification, see checkpoint_check_copied(). What takes everything as it comes makes no
// copies anyway; whoever reads it there does.
static void save_copies(Route *route, Checkpoint *changed)
{
    bool has_no_copies = !route->options.copies && !route->sink->ops->takes_all;
    if (!route->options.keeps_tables && has_no_copies != route->says_no_copies) {
        checkpoint_set(changed, CHECKPOINT_COPIES, has_no_copies ? STR("no") : STR("yes"));
        route->says_no_copies = has_no_copies;
    }
}

Status route_store(Route *route, Checkpoint *changed, Error *err)
{
    save_copies(route, changed);
    return changed->count == 0 ? STATUS_OK : copy_commit(&route->job, route->sink, changed, err);
}

// Without copies a table is ready as soon as it is known: only what happens from now on counts.
static void adopt(Route *route, Table *table)
{
    if (!route->options.copies && table->state == TABLE_PENDING) {
        table->state = TABLE_READY;
        table->copied_at = LSN_NONE;
        table->is_dirty = true;
    }
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

static void copy_again(Route *route, Table *table)
{
    table_copy_again(table, route->durable.lsn);
    table->prepared = NULL;
    route->has_pending = true;
}

// What happened while it was not published is in its rows only.
static void close_gap(Route *route, Table *table, const Relation *now)
{
    bool copies = route->options.copies;
    if (table_tell_gap(table, now, copies, &route->sink->context.notice) && copies) {
        copy_again(route, table);
    }
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
                    "table \"%" STR_FMT ".%" STR_FMT
                    "\" was truncated or rewritten before its rows "
                    "could be read: it is tried again, beside the stream",
                    STR_ARG(relation->schema), STR_ARG(relation->name));
    }
}

static SourceTables missing_tables(Route *route, const SourceTables *tables, Arena *arena)
{
    SourceTables missing = {.items = ARENA_ARRAY(arena, SourceTable, tables->count)};
    bool goes_on =
        route->options.persistent && route->options.until.lsn == LSN_NONE && has_streamed(route);
    int64_t rows = 0;
    for (size_t i = 0; i < tables->count; i++) {
        const Relation *relation = tables->items[i].relation;
        Table *table = tables_get(&route->tables, relation->oid);
        adopt(route, table);
        close_gap(route, table, relation);
        if (table->state == TABLE_READY || must_wait(route, table, relation)) {
            continue;
        }
        if (goes_on) {
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

// Of a sink that takes everything the checkpoint only says which tables the source has told.
static void note_told(Route *route, const Relation *relation)
{
    if (route->sink->ops->takes_all && relation != NULL) {
        Table *table = tables_get(&route->tables, relation->oid);
        adopt(route, table);
        tables_set_target(&route->tables, table, relation);
    }
}

// What is there from the start is not told.
static Status note_all_told(Route *route, const SourceTables *tables, Error *err)
{
    if (checkpoint_get(&route->checkpoint, CHECKPOINT_POSITION) != NULL) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < tables->count; i++) {
        note_told(route, tables->items[i].relation);
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
    bool can_wait = route->options.persistent && route->options.until.lsn == LSN_NONE;
    for (size_t i = 0; i < tables->count; i++) {
        const Relation *relation = tables->items[i].relation;
        Table *table = tables_find(&route->tables, relation->oid);
        if (table->state == TABLE_READY) {
            continue;
        }
        if (!can_wait) {
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

void route_start(Route *route, Position position)
{
    route->durable = position;
    route->resumed = position;
    route->written = position;
    route->committed_at_ms = clock_monotonic_ms();
}

// ---------------------------------------------------------------------------------------------
// Tables and their shapes
// ---------------------------------------------------------------------------------------------

static Table *find_table(Route *route, const Relation *relation)
{
    if (relation == route->last_relation) {
        return route->last_table;
    }
    Table *table = tables_get(&route->tables, relation->oid);
    adopt(route, table);
    route->last_relation = relation;
    route->last_table = table;
    return table;
}

// Rows that were there before the change may have got values that no event will ever tell: a column
// added with a volatile default, a type changed through an expression. Or it cannot be told which
// columns they are. Then the table is copied anew.
static bool was_rewritten(const Relation *was, const Relation *now)
{
    if (relation_is_uncertain(was, now) || relation_is_rewritten(was, now)) {
        return true;
    }
    Arena scratch = {0};
    SchemaChange *changes;
    size_t count = relation_diff(was, now, &scratch, &changes);
    bool rewritten = false;
    for (size_t i = 0; i < count; i++) {
        const SchemaChange *change = &changes[i];
        rewritten = rewritten || change->edit == SCHEMA_CHANGE_TYPE ||
                    (change->edit == SCHEMA_ADD_COLUMN && change->now->has_default &&
                     change->now->missing_value.ptr == NULL);
    }
    arena_done(&scratch);
    return rewritten;
}

// The stream has come to this description. The table may have the name from another one, which was
// renamed or dropped, and which must not be copied under it any more.
static void describe(Route *route, Table *table, const Change *change)
{
    Position position = change_position(change);
    if (route->has_pending && table->prepared != change->relation) {
        tables_overtake(&route->tables, change->relation, position);
    }
    table->prepared = change->relation;
    table->described_at = position;
}

// The same of a table that waits for its copy. When another one has been copied under the name
// since, it is that one's: this one was renamed or dropped in between, as the stream will say.
static void describe_pending(Route *route, Table *table, const Change *change)
{
    const Table *rival = tables_rival(&route->tables, change->relation);
    bool has_lost_it = rival != NULL && rival->state == TABLE_READY &&
                       rival->copied_at > change->transaction->commit_lsn;
    if (!has_lost_it) {
        describe(route, table, change);
    }
}

static Status reshape(Route *route, Table *table, const Change *change, Error *err)
{
    Sink *sink = route->sink;
    const Relation *was = table->target;
    const Relation *now = change->relation;
    bool differs = was == NULL || !relation_equal(was, now);
    if (was != NULL && route->options.copies && was_rewritten(was, now)) {
        copy_again(route, table);
        return STATUS_OK;
    }
    CRASH_POINT("shape-begins");
    if (shape_table(&route->tables, sink, table, now, err) != STATUS_OK) {
        return error_wrap(err, "table \"%" STR_FMT ".%" STR_FMT "\"", STR_ARG(now->schema),
                          STR_ARG(now->name));
    }
    CRASH_POINT("shape-changed");
    route->has_changes = true;
    describe(route, table, change);
    return !differs || sink->ops->has_tables
               ? STATUS_OK
               : write_schema_event(sink, now, change->transaction, change->ordinal, err);
}

// ---------------------------------------------------------------------------------------------
// Delivery
// ---------------------------------------------------------------------------------------------

typedef enum Verdict { DELIVER, HOLD, DROP } Verdict;

static Verdict judge(Route *route, const Table *table, const Change *change)
{
    switch (table->state) {
    case TABLE_PENDING:
        route->has_pending = true;
        return DROP;
    case TABLE_COPYING:
        return HOLD;
    case TABLE_READY:
        break;
    }
    return change->transaction->commit_lsn < table->copied_at ? DROP : DELIVER;
}

// The source begins where the slowest route is, and tells a table once: to this one it may be news.
static void note_unknown(Route *route, const Change *change)
{
    if (change->op == CHANGE_SCHEMA && route->options.copies) {
        Table *table = find_table(route, change->relation);
        if (table->target == NULL && table->state == TABLE_PENDING) {
            route->has_pending = true;
            describe_pending(route, table, change);
        }
    }
}

static Status take_one(Route *route, const Change *change, bool *ret_deliver, Error *err)
{
    *ret_deliver = false;
    if (position_compare(change_position(change), route->resumed) <= 0) {
        note_unknown(route, change);
        return STATUS_OK;
    }
    if (change->relation == NULL || route->sink->ops->takes_all) {
        *ret_deliver = true;
        note_told(route, change->relation);
        return STATUS_OK;
    }
    Table *table = find_table(route, change->relation);
    if (table->target == NULL && change->op == CHANGE_SCHEMA && table->state == TABLE_PENDING) {
        route->has_pending = true;
        describe_pending(route, table, change); // the shape to start the copy with
        return STATUS_OK;
    }
    if (table->prepared != change->relation) {
        close_gap(route, table, change->relation);
    }
    switch (judge(route, table, change)) {
    case HOLD:
        return side_hold(route->side, change, err);
    case DROP:
        if (table->state == TABLE_PENDING) {
            describe_pending(route, table, change);
        }
        return STATUS_OK;
    case DELIVER:
        break;
    }
    if (table->prepared != change->relation) {
        if (reshape(route, table, change, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (table->state != TABLE_READY) {
            describe_pending(route, table, change);
            return STATUS_OK;
        }
    }
    *ret_deliver = change->op != CHANGE_SCHEMA;
    return STATUS_OK;
}

static Status write_part(Route *route, const Change *changes, size_t count, Error *err)
{
    Meter *meter = route->options.meter;
    for (size_t i = 0; i < count; i++) {
        if (changes[i].transaction->commit_lsn != route->last_commit_lsn) {
            route->last_commit_lsn = changes[i].transaction->commit_lsn;
            atomic_fetch_add(&meter->transactions, 1);
        }
    }
    atomic_fetch_add(&meter->changes, (int64_t)count);
    route->has_changes = true;
    route->handed = change_position(&changes[count - 1]);
    Dead *dead = route->options.dead;
    CRASH_POINT("changes-begin");
    meter_begin(meter, ACTIVITY_WRITE);
    Status status = dead == NULL ? route->sink->ops->write(route->sink, changes, count, err)
                                 : dead_write(dead, route->sink, changes, count, err);
    meter_end(meter);
    CRASH_POINT("changes-written");
    return status;
}

static Status commit_part(Route *route, Error *err);

// As many at a time as the sink has room for.
static Status write_run(Route *route, const Change *changes, size_t count, Error *err)
{
    Sink *sink = route->sink;
    bool is_committed = false;
    while (count > 0) {
        size_t part = count;
        if (sink->ops->make_room != NULL &&
            sink->ops->make_room(sink, changes, count, &part, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        assert(part <= count);
        assert(part > 0 || !is_committed);
        is_committed = part == 0;
        if ((is_committed ? commit_part(route, err) : write_part(route, changes, part, err)) !=
            STATUS_OK) {
            return STATUS_FAIL;
        }
        changes += part;
        count -= part;
    }
    return STATUS_OK;
}

// Nothing to decide: the table is ready in just this shape, and the change is new to it.
static bool is_plain(Route *route, const Change *change)
{
    if (route->sink->ops->takes_all) {
        return change->op != CHANGE_SCHEMA && change->transaction->commit_lsn > route->resumed.lsn;
    }
    if (change->relation == NULL || change->op == CHANGE_SCHEMA) {
        return false;
    }
    const Table *table = find_table(route, change->relation);
    Lsn lsn = change->transaction->commit_lsn;
    return table->state == TABLE_READY && table->prepared == change->relation &&
           lsn >= table->copied_at && lsn > route->resumed.lsn;
}

// Hand the sink the longest runs of changes it is to have: what is skipped, held or reshaped ends
// one.
static Status deliver_changes(Route *route, const Change *changes, size_t count, Error *err)
{
    size_t start = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_plain(route, &changes[i])) {
            continue;
        }
        // What was written before comes first: a reshape may follow.
        if (write_run(route, changes + start, i - start, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        bool deliver;
        if (take_one(route, &changes[i], &deliver, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        start = deliver ? i : i + 1;
    }
    return write_run(route, changes + start, count - start, err);
}

// Transactions are told in the order in which they were committed: the end of the run is cut off. A
// message of its own that ends where the others are cut off stands before them.
static size_t count_before_end(const Route *route, const Change *run, size_t count)
{
    Position until = route->options.until;
    while (route->options.stops_there && count > 0 &&
           position_compare(change_position(&run[count - 1]), until) > 0) {
        count--;
    }
    return count;
}

static void take_in(Route *route, const Batch *batch)
{
    assert(position_compare(batch->end, route->written) >= 0 ||
           position_compare(batch->end, route->resumed) <= 0 || route->options.stops_there);
    bool is_behind_end =
        route->options.stops_there && position_compare(batch->end, route->options.until) > 0;
    Position end = is_behind_end ? route->options.until : batch->end;
    route->written = position_max(route->written, end);
    atomic_store(&route->options.meter->delivered, route->written.lsn);
    if (batch->count > 0 && atomic_load(&route->options.meter->waiting_us) == 0) {
        atomic_store(&route->options.meter->waiting_us, batch->sealed_us);
    }
    // What is cut off has no part here that would have to be made whole.
    route->in_transaction = !batch->ends_transaction && !is_behind_end;
    route->uncommitted_bytes += batch->bytes;
    atomic_fetch_add(&route->options.meter->bytes, (int64_t)batch->bytes);
}

static Status commit_all(Route *route, Error *err);

// All of the run but its end, a few transactions a commit: together they were refused.
static Status deliver_apart(Route *route, const Change **run, size_t *count, Error *err)
{
    const Dead *dead = route->options.dead;
    if (dead == NULL || !dead_wants_apart(dead, *run, *count)) {
        return STATUS_OK;
    }
    Position last = route->written; // a message of its own stands where another transaction begins
    bool is_within = last.lsn == (*run)->transaction->commit_lsn && last.ordinal > 0;
    bool goes_on = route->in_transaction && ((*run)->ordinal == 0 || is_within);
    size_t part = goes_on ? dead_together(dead, *run, *count) : 0;
    for (; part < *count; part = dead_together(dead, *run, *count)) {
        if (deliver_changes(route, *run, part, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        *run += part;
        *count -= part;
        Position end = {(*run)->transaction->commit_lsn, 0};
        route->written = (*run)->ordinal > 0 ? position_max(route->written, end) : route->written;
        route->in_transaction = false;
        if (commit_all(route, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

Status route_deliver(Route *route, Batch *const *batches, size_t count, Error *err)
{
    assert(count > 0);
    if (!route->has_changes) {
        route->uncommitted_since_ms = clock_monotonic_ms();
    }
    size_t changes;
    const Change *run = change_run_of(&route->merged, batches, count, &changes);
    const Dead *dead = route->options.dead;
    if (count > 1 && dead != NULL && dead_wants_apart(dead, run, changes)) {
        return route_deliver(route, batches, 1, err) == STATUS_OK
                   ? route_deliver(route, batches + 1, count - 1, err)
                   : STATUS_FAIL;
    }
    changes = count_before_end(route, run, changes);
    if (deliver_apart(route, &run, &changes, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < count; i++) {
        assert(batches[i]->is_sealed);
        take_in(route, batches[i]);
    }
    return deliver_changes(route, run, changes, err);
}

// ---------------------------------------------------------------------------------------------
// Commits
// ---------------------------------------------------------------------------------------------

// Of a table that waits for its first copy nothing is stored, but the position goes on behind its
// changes. A source that lists its tables only when a copy is wanted has to know that there is one.
static void save_missing(Route *route, Checkpoint *changed)
{
    bool is_missing =
        tables_are_missing(&route->tables) || (route->options.keeps_tables && route->says_missing);
    if (is_missing != route->says_missing) {
        checkpoint_set(changed, CHECKPOINT_MISSING, is_missing ? STR("yes") : STR("no"));
        route->says_missing = is_missing;
    }
}

// Everything at or before @position, which is all that the sink was handed.
static Status commit_at(Route *route, Position position, Error *err)
{
    Checkpoint changed = {0};
    char text[POSITION_TEXT_SIZE];
    position_format(position, text);
    checkpoint_set(&changed, CHECKPOINT_POSITION, str_from(text));
    tables_save(&route->tables, &changed);
    save_missing(route, &changed);
    int64_t began_us = clock_monotonic_us();
    Dead *dead = route->options.dead;
    meter_begin(route->options.meter, ACTIVITY_COMMIT);
    Status status = dead == NULL ? STATUS_OK : dead_prepare_commit(dead, &changed, err);
    if (status == STATUS_OK && copy_commit(&route->job, route->sink, &changed, err) != STATUS_OK) {
        status = dead == NULL ? STATUS_FAIL : dead_commit_refused(dead, err);
    }
    meter_end(route->options.meter);
    checkpoint_done(&changed);
    if (status != STATUS_OK || (dead != NULL && dead_committed(dead, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    // A lone change is committed at once. In a flood, commits take a third of the time at the most:
    // after each one, the next may begin only when twice its duration has passed.
    int64_t now_us = clock_monotonic_us();
    int64_t least_us = route->sink->ops->takes_all ? REST_US_LOG : 0;
    int64_t rest_us = MAX(MIN((now_us - began_us) * 2, (int64_t)REST_US_MAX), least_us);
    bool keeps_nothing = route->sink->ops->guarantee == GUARANTEE_NONE;
    route->rest_until_us = now_us + (keeps_nothing ? REST_US_NOTHING : rest_us);
    route->durable = position;
    route->has_changes = false;
    route->uncommitted_bytes = 0;
    route->committed_at_ms = clock_monotonic_ms();
    Meter *meter = route->options.meter;
    atomic_store(&meter->dead_letters, dead == NULL ? 0 : dead_count(dead));
    atomic_store(&meter->durable, route->durable.lsn);
    atomic_fetch_add(&meter->commits, 1);
    return STATUS_OK;
}

static Status commit(Route *route, Error *err)
{
    assert(!route->in_transaction);
    if (commit_at(route, route->written, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    atomic_store(&route->options.meter->waiting_us, 0);
    return STATUS_OK;
}

// Of a run, and perhaps of a transaction: the rest comes behind it. What was held back (see
// deliver_held()) has positions that the target is behind already.
static Status commit_part(Route *route, Error *err)
{
    return commit_at(route, position_max(route->handed, route->durable), err);
}

static bool until_is_written(const Route *route)
{
    Position until = route->options.until;
    return until.lsn != LSN_NONE && position_compare(route->written, until) >= 0;
}

static bool is_time(const Route *route, bool idle, bool draining, int64_t now_ms)
{
    if (position_compare(route->written, route->durable) <= 0 && !route->has_changes) {
        return false;
    }
    if (idle && (draining || until_is_written(route))) {
        return true;
    }
    if (!route->has_changes) {
        return now_ms - route->committed_at_ms >= IDLE_COMMIT_MS;
    }
    bool rested = clock_monotonic_us() >= route->rest_until_us;
    return (idle && rested) || route->uncommitted_bytes >= COMMIT_BYTES ||
           now_ms - route->uncommitted_since_ms >= COMMIT_MS;
}

int64_t route_patience_ms(const Route *route, int64_t now_ms)
{
    if (route->side != NULL) {
        return LANE_POLL_MS;
    }
    if (route->has_changes && !route->in_transaction) {
        int64_t left_us = route->rest_until_us - clock_monotonic_us();
        return MAX((left_us + 999) / 1000, (int64_t)1);
    }
    if (position_compare(route->written, route->durable) > 0 && !route->in_transaction) {
        int64_t left = route->committed_at_ms + IDLE_COMMIT_MS - now_ms;
        return MIN(MAX(left, (int64_t)1), (int64_t)200);
    }
    return 200;
}

// ---------------------------------------------------------------------------------------------
// Copies while the stream runs
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

static Status commit_all(Route *route, Error *err)
{
    bool is_behind = position_compare(route->written, route->durable) > 0;
    return route->has_changes || is_behind ? commit(route, err) : STATUS_OK;
}

static Status deliver_held(Route *route, Held *held, Error *err)
{
    Batch *batch;
    Status status = held_next(held, &batch, err);
    while (status == STATUS_OK &&
           deliver_changes(route, batch->changes, batch->count, err) == STATUS_OK) {
        status = held_next(held, &batch, err);
    }
    return status == STATUS_AGAIN ? STATUS_OK : STATUS_FAIL;
}

static Status side_end(Route *route, Error *err)
{
    // A commit first: a copy commits by itself, and must not do so for half of what was written. Or
    // it waits for a lock on the table that we hold.
    if (commit_all(route, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    SideCopy *side = route->side;
    route->side = NULL;
    atomic_store(&route->options.meter->is_copying, true);
    Status status = side_join(side, route->sink, err);
    atomic_store(&route->options.meter->is_copying, false);
    Table *table = side->table;
    if (status == STATUS_AGAIN && route->options.until.lsn == LSN_NONE) {
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
    return status == STATUS_OK ? commit(route, err) : STATUS_FAIL;
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
    if (commit_all(route, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const Relation *relation = table->prepared;
    route->last_relation = NULL;
    atomic_fetch_add(&route->options.meter->tables_total, 1);
    return side_begin(route, table, relation, err);
}

// When `until` has been written, no copy may be left behind: the run ends with the next commit.
static Status serve_copies(Route *route, Error *err)
{
    do {
        bool must_finish = until_is_written(route);
        if (end_side_copy(route, must_finish, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (route->side != NULL || !route->has_pending) {
            return STATUS_OK;
        }
        if (begin_next_copy(route, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    } while (until_is_written(route) && route->has_pending);
    return STATUS_OK;
}

static Status retry_dead(Route *route, Error *err)
{
    Dead *dead = route->options.dead;
    route->written = position_max(route->written, route->durable); // before the first delivery
    bool has_written;
    if (commit_all(route, err) != STATUS_OK ||
        dead_retry(dead, route->sink, &route->tables, route->durable, &has_written, err) !=
            STATUS_OK) {
        return STATUS_FAIL;
    }
    // A letter has the shape of its time, and the next change of its table brings its own.
    tables_forget_prepared(&route->tables);
    route->last_relation = NULL;
    return has_written ? commit(route, err) : STATUS_OK;
}

Status route_retry_dead(Route *route, Error *err)
{
    Dead *dead = route->options.dead;
    bool is_due = dead != NULL && route->durable.lsn != LSN_NONE;
    while (is_due) {
        if (dead_is_due(dead, route->durable, &is_due, err) != STATUS_OK ||
            (is_due && retry_dead(route, err) != STATUS_OK)) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

Status route_flush(Route *route, bool idle, bool draining, Error *err)
{
    if (route->in_transaction) {
        return STATUS_OK;
    }
    if (route_retry_dead(route, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!draining && serve_copies(route, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (is_time(route, idle, draining, clock_monotonic_ms())) {
        return commit(route, err);
    }
    return STATUS_OK;
}

bool route_is_copying(const Route *route)
{
    return atomic_load(&route->options.meter->is_copying);
}

void route_close(Route *route)
{
    if (route == NULL) {
        return;
    }
    if (route->side != NULL) {
        side_abandon(route->side);
    }
    sink_free(route->sink);
    checkpoint_done(&route->checkpoint);
    tables_done(&route->tables);
    change_run_done(&route->merged);
    mem_free(route);
}
