#include <assert.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/mem.h"
#include "pipeline/merge.h"
#include "pipeline/route_inner.h"
#include "pipeline/shape.h"

enum {
    COMMIT_BYTES = 16 << 20, // commit at the latest when this much is written,
    COMMIT_MS = 500,         // or the oldest uncommitted change is this old
    IDLE_COMMIT_MS = 8000,   // how often a position that moved without changes is stored
    LANE_POLL_MS = 50,
    REST_US_MAX = 50000,
    PATIENCE_US_MAX = 200000,
    REST_US_LOG = 10000,      // each commit of a log wakes all of its readers
    REST_US_NOTHING = 250000, // a sink that keeps nothing: only the position is at stake
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
void route_adopt(Route *route, Table *table)
{
    if (!route->options.copies && table->state == TABLE_PENDING) {
        table->state = TABLE_READY;
        table->copied_at = LSN_NONE;
        table->is_dirty = true;
    }
}

static void copy_again(Route *route, Table *table)
{
    table_copy_again(table, route->durable.lsn);
    table->prepared = NULL;
    route->has_pending = true;
}

// What happened while it was not published is in its rows only.
void route_close_gap(Route *route, Table *table, const Relation *now)
{
    bool copies = route->options.copies;
    if (table_tell_gap(table, now, copies, &route->sink->context.notice) && copies) {
        copy_again(route, table);
    }
}

// Of a sink that takes everything the checkpoint only says which tables the source has told.
void route_note_told(Route *route, const Relation *relation)
{
    if (route->sink->ops->takes_all && relation != NULL) {
        Table *table = tables_get(&route->tables, relation->oid);
        route_adopt(route, table);
        tables_set_target(&route->tables, table, relation);
    }
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
    route_adopt(route, table);
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
        route_note_told(route, change->relation);
        return STATUS_OK;
    }
    Table *table = find_table(route, change->relation);
    if (table->target == NULL && change->op == CHANGE_SCHEMA && table->state == TABLE_PENDING) {
        route->has_pending = true;
        describe_pending(route, table, change); // the shape to start the copy with
        return STATUS_OK;
    }
    if (table->prepared != change->relation) {
        route_close_gap(route, table, change->relation);
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
Status route_deliver_changes(Route *route, const Change *changes, size_t count, Error *err)
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
        if (route_deliver_changes(route, *run, part, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        *run += part;
        *count -= part;
        Position end = {(*run)->transaction->commit_lsn, 0};
        route->written = (*run)->ordinal > 0 ? position_max(route->written, end) : route->written;
        route->in_transaction = false;
        if (route_commit_all(route, err) != STATUS_OK) {
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
    return route_deliver_changes(route, run, changes, err);
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
    // after each one, the next may begin only when twice its duration has passed. One that was slow
    // by chance does not count.
    int64_t now_us = clock_monotonic_us();
    int64_t took_us = now_us - began_us;
    int64_t usual_us = MIN(took_us, route->commit_took_us);
    route->commit_took_us = took_us;
    int64_t least_us = route->sink->ops->takes_all ? REST_US_LOG : 0;
    int64_t rest_us = MAX(MIN(usual_us * 2, (int64_t)REST_US_MAX), least_us);
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

Status route_commit(Route *route, Error *err)
{
    assert(!route->in_transaction);
    if (commit_at(route, route->written, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    atomic_store(&route->options.meter->waiting_us, 0);
    return STATUS_OK;
}

// Of a run, and perhaps of a transaction: the rest comes behind it.
static Status commit_part(Route *route, Error *err)
{
    assert(!route->options.copies);
    return commit_at(route, position_max(route->handed, route->durable), err);
}

bool route_until_is_written(const Route *route)
{
    Position until = route->options.until;
    return until.lsn != LSN_NONE && position_compare(route->written, until) >= 0;
}

static bool is_time(const Route *route, bool idle, bool draining, int64_t now_ms)
{
    if (position_compare(route->written, route->durable) <= 0 && !route->has_changes) {
        return false;
    }
    if (idle && (draining || route_until_is_written(route))) {
        return true;
    }
    if (!route->has_changes) {
        return now_ms - route->committed_at_ms >= IDLE_COMMIT_MS;
    }
    bool rested = clock_monotonic_us() >= route->rest_until_us;
    return (idle && rested) || route->uncommitted_bytes >= COMMIT_BYTES ||
           now_ms - route->uncommitted_since_ms >= COMMIT_MS;
}

int64_t route_patience_us(const Route *route, int64_t now_us)
{
    if (route->side != NULL) {
        return LANE_POLL_MS * INT64_C(1000);
    }
    int64_t left_us = PATIENCE_US_MAX;
    if (route->has_changes && !route->in_transaction) {
        left_us = route->rest_until_us - now_us;
    } else if (position_compare(route->written, route->durable) > 0 && !route->in_transaction) {
        left_us = (route->committed_at_ms + IDLE_COMMIT_MS) * 1000 - now_us;
    }
    return MIN(MAX(left_us, (int64_t)1), (int64_t)PATIENCE_US_MAX);
}

Status route_commit_all(Route *route, Error *err)
{
    bool is_behind = position_compare(route->written, route->durable) > 0;
    return route->has_changes || is_behind ? route_commit(route, err) : STATUS_OK;
}

static Status retry_dead(Route *route, Error *err)
{
    Dead *dead = route->options.dead;
    route->written = position_max(route->written, route->durable); // before the first delivery
    bool has_written;
    if (route_commit_all(route, err) != STATUS_OK ||
        dead_retry(dead, route->sink, &route->tables, route->durable, &has_written, err) !=
            STATUS_OK) {
        return STATUS_FAIL;
    }
    // A letter has the shape of its time, and the next change of its table brings its own.
    tables_forget_prepared(&route->tables);
    route->last_relation = NULL;
    return has_written ? route_commit(route, err) : STATUS_OK;
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
    if (!draining && route_serve_copies(route, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (is_time(route, idle, draining, clock_monotonic_ms())) {
        return route_commit(route, err);
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
