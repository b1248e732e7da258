#include "pipeline/copy.h"

#include <assert.h>

#include "base/crash_point.h"
#include "pipeline/shape.h"

// A target with tables may keep what was copied so far: a copy that starts again clears it. Bounds
// the size of the target's transaction.
enum { COMMIT_EVERY_BYTES = 64 << 20 };

enum { LANES_MAX = 64 };

Status sink_open_lane(const SinkRecipe *recipe, Sink **ret, Error *err)
{
    SinkContext context = recipe->context;
    context.is_lane = true;
    Sink *sink;
    if (sink_new(recipe->ops, recipe->settings, &context, &sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (sink->ops->open(sink, err) != STATUS_OK) {
        sink_free(sink);
        return STATUS_FAIL;
    }
    *ret = sink;
    return STATUS_OK;
}

Status write_schema_event(Sink *sink, const Relation *relation, const Transaction *transaction,
                          uint64_t ordinal, Error *err)
{
    Change change = {
        .op = CHANGE_SCHEMA, .relation = relation, .transaction = transaction, .ordinal = ordinal};
    return sink->ops->write(sink, &change, 1, err);
}

Status copy_commit(const CopyJob *job, Sink *sink, Checkpoint *changed, Error *err)
{
    CRASH_POINT("commit-begins");
    if (sink->ops->commit(sink, changed, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("commit-in-sink");
    if (!sink->ops->stores_checkpoint && job->state != NULL && changed->count > 0 &&
        state_save(job->state, changed, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("commit-is-over");
    return STATUS_OK;
}

// Rows that the copy replaces are removed while the table still has their shape: a target cannot
// convert every value to every new type, and need not.
static Status clear_old_shape(Sink *sink, const Table *table, const Relation *relation, Error *err)
{
    const Relation *was = table->target;
    if (was == NULL || !table->copy_begun || !sink->ops->has_tables ||
        relation_equal(was, relation)) {
        return STATUS_OK;
    }
    if (sink->ops->prepare(sink, was, was, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return sink->ops->clear(sink, was, table->copied_at, err);
}

Status copy_prepare(const CopyJob *job, Sink *sink, Table *table, const Relation *relation,
                    Checkpoint *changed, Error *err)
{
    if (clear_old_shape(sink, table, relation, err) != STATUS_OK ||
        shape_table(job->tables, sink, table, relation, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    table->state = TABLE_PENDING;
    // Rows may follow: from here on the target's rows of this table are ours to remove.
    bool begun_before = table->copy_begun;
    table->copy_begun = true;
    if (job->persistent) {
        table_save(table, changed);
        tables_save(job->tables, changed); // one that stepped aside
    }
    table->copy_begun = begun_before;
    return STATUS_OK;
}

bool copy_is_whole(Sink *sink, const Relation *relation)
{
    return sink->ops->keeps_rows != NULL && sink->ops->keeps_rows(sink, relation);
}

static Status write_batch(const CopyJob *job, Sink *sink, const Batch *batch, Error *err)
{
    Status status = job->dead == NULL
                        ? sink->ops->write(sink, batch->changes, batch->count, err)
                        : dead_write(job->dead, sink, batch->changes, batch->count, err);
    if (status != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("copy-rows-written");
    atomic_fetch_add(&job->meter->copy_rows, (int64_t)batch->count);
    atomic_fetch_add(&job->meter->copy_bytes, (int64_t)batch->bytes);
    return STATUS_OK;
}

// A large table is not one transaction of the target, unless it must be.
static Status commit_part(const CopyJob *job, Sink *sink, const Relation *relation,
                          size_t *uncommitted, Error *err)
{
    if (!sink->ops->has_tables || *uncommitted < COMMIT_EVERY_BYTES ||
        copy_is_whole(sink, relation)) {
        return STATUS_OK;
    }
    *uncommitted = 0;
    Checkpoint nothing = {0};
    Status status = copy_commit(job, sink, &nothing, err);
    CRASH_POINT("copy-part-committed");
    checkpoint_done(&nothing);
    return status;
}

static Status read_values(const CopyJob *job, Sink *sink, CopyReader *reader,
                          const Relation *relation, Error *err)
{
    size_t uncommitted = 0;
    for (;;) {
        Batch *batch;
        if (job->source->ops->copy_read(reader, &batch, err) != STATUS_OK) {
            return error_wrap(err, "%s", job->source->context.called);
        }
        if (batch == NULL) {
            return STATUS_OK;
        }
        uncommitted += batch->bytes;
        Status status = write_batch(job, sink, batch, err);
        batch_unref(batch);
        if (status != STATUS_OK ||
            commit_part(job, sink, relation, &uncommitted, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
}

// Where both ends speak Postgres's COPY, nobody looks into the rows.
static Status pass_rows(const CopyJob *job, Sink *sink, CopyReader *reader,
                        const Relation *relation, Error *err)
{
    CopyForm form = sink->ops->copy_form(sink, relation);
    size_t uncommitted = 0;
    for (;;) {
        Str rows;
        size_t count;
        if (job->source->ops->copy_read_rows(reader, form, &rows, &count, err) != STATUS_OK) {
            return error_wrap(err, "%s", job->source->context.called);
        }
        if (count == 0) {
            return STATUS_OK;
        }
        uncommitted += rows.len;
        if (sink->ops->write_rows(sink, relation, rows, count, err) != STATUS_OK ||
            commit_part(job, sink, relation, &uncommitted, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        CRASH_POINT("copy-rows-passed");
        atomic_fetch_add(&job->meter->copy_rows, (int64_t)count);
        atomic_fetch_add(&job->meter->copy_bytes, (int64_t)rows.len);
    }
}

static Status read_rows(const CopyJob *job, Sink *sink, CopyReader *reader,
                        const Relation *relation, Error *err)
{
    bool can_pass = sink->ops->copy_form != NULL && job->source->ops->copy_read_rows != NULL &&
                    sink->ops->copy_form(sink, relation) != COPY_FORM_VALUES;
    return can_pass ? pass_rows(job, sink, reader, relation, err)
                    : read_values(job, sink, reader, relation, err);
}

// When rows of it were told before, they are void: a reader is told so in a way that it knows.
static Status start_events(const CopyJob *job, Sink *sink, const Table *table,
                           const Relation *relation, Error *err)
{
    const Transaction transaction = {.commit_lsn = job->snapshot_lsn};
    if (write_schema_event(sink, relation, &transaction, 0, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const Change truncate = {
        .op = CHANGE_TRUNCATE, .relation = relation, .transaction = &transaction};
    return table->copy_begun ? sink->ops->write(sink, &truncate, 1, err) : STATUS_OK;
}

static Status start_table(const CopyJob *job, Sink *sink, const Table *table,
                          const Relation *relation, Error *err)
{
    if (!sink->ops->has_tables) {
        return start_events(job, sink, table, relation, err);
    }
    // copy_prepare() did this for the first instance; a lane has its own statements to prepare.
    if (sink->context.is_lane &&
        sink->ops->prepare(sink, table->target, relation, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return table->copy_begun ? sink->ops->clear(sink, relation, table->copied_at, err) : STATUS_OK;
}

static Status name_table(const Relation *relation, Error *err)
{
    return error_wrap(err, "copy of table \"%" STR_FMT ".%" STR_FMT "\"", STR_ARG(relation->schema),
                      STR_ARG(relation->name));
}

Status copy_was_rewritten(const Relation *relation, Error *err)
{
    error_set(err, ERROR_TRANSIENT, "it was truncated or rewritten before its rows could be read");
    return name_table(relation, err);
}

Status copy_table(const CopyJob *job, Sink *sink, Table *table, const Relation *relation,
                  Error *err)
{
    assert(table->target != NULL);
    meter_set_table(job->meter, relation->schema, relation->name);
    CopyReader *reader = NULL;
    Status status = job->source->ops->copy_open(job->source, job->snapshot, relation, job->cancel,
                                                &reader, err);
    if (status == STATUS_AGAIN) {
        return STATUS_AGAIN;
    }
    if (status != STATUS_OK) {
        error_wrap(err, "%s", job->source->context.called);
        return name_table(relation, err);
    }
    status = start_table(job, sink, table, relation, err);
    CRASH_POINT("copy-table-begins");
    if (status == STATUS_OK) {
        table->copy_begun = true;
        status = read_rows(job, sink, reader, relation, err);
    }
    job->source->ops->copy_close(reader);
    CRASH_POINT("copy-table-read");
    if (status == STATUS_OK && sink->ops->end_copy != NULL) {
        atomic_fetch_add(&job->meter->copies_ending, 1);
        status = sink->ops->end_copy(sink, relation, err);
        atomic_fetch_sub(&job->meter->copies_ending, 1);
    }
    if (status != STATUS_OK) {
        return name_table(relation, err);
    }
    atomic_fetch_add(&job->meter->tables_done, 1);
    return STATUS_OK;
}

static Status commit_table(const CopyJob *job, Sink *sink, Checkpoint *changed, Error *err)
{
    if (job->dead == NULL) {
        return copy_commit(job, sink, changed, err);
    }
    if (dead_prepare_commit(job->dead, changed, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("copy-letters-kept");
    return copy_commit(job, sink, changed, err) == STATUS_OK ? dead_committed(job->dead, err)
                                                             : STATUS_FAIL;
}

// Rows and state in one commit.
static Status copy_whole_table(const CopyJob *job, Sink *sink, Table *table,
                               const Relation *relation, Error *err)
{
    Status status = copy_table(job, sink, table, relation, err);
    if (status != STATUS_OK) {
        return status;
    }
    table->state = TABLE_READY;
    table->copied_at = job->snapshot_lsn;
    table->copy_begun = false;
    Checkpoint changed = {0};
    if (job->persistent) {
        table_save(table, &changed);
    }
    status = commit_table(job, sink, &changed, err);
    CRASH_POINT("copy-table-committed");
    checkpoint_done(&changed);
    return status == STATUS_OK ? STATUS_OK : name_table(relation, err);
}

// One lane: a thread with a sink instance of its own that takes table after table.
typedef struct Lanes {
    const CopyJob *job;
    const SourceTable *tables;
    size_t count;
    atomic_size_t next;
    pthread_mutex_t lock;
    bool failed;
    Error error; // the first
} Lanes;

typedef struct Lane {
    Lanes *all;
    Sink *sink;
    pthread_t thread;
} Lane;

static void *lane_main(void *argument)
{
    Lane *lane = argument;
    Lanes *all = lane->all;
    for (;;) {
        size_t at = atomic_fetch_add(&all->next, 1);
        if (at >= all->count || cancel_is_set(all->job->cancel)) {
            return NULL;
        }
        const Relation *relation = all->tables[at].relation;
        Table *table = tables_find(all->job->tables, relation->oid);
        Error error = {0};
        if (copy_whole_table(all->job, lane->sink, table, relation, &error) != STATUS_FAIL) {
            continue;
        }
        (void)pthread_mutex_lock(&all->lock);
        if (!all->failed) {
            all->failed = true;
            all->error = error;
        }
        (void)pthread_mutex_unlock(&all->lock);
        // The others would only make rows that the next attempt copies again.
        cancel_set(all->job->cancel);
        return NULL;
    }
}

static Status run_lanes(Lanes *all, Lane *lanes, size_t count, Error *err)
{
    size_t started = 0;
    for (; started < count; started++) {
        lanes[started].all = all;
        int code = pthread_create(&lanes[started].thread, NULL, lane_main, &lanes[started]);
        if (code != 0) {
            cancel_set(all->job->cancel);
            all->failed = true;
            error_set_errno(&all->error, ERROR_TRANSIENT, code, "start a thread");
            break;
        }
    }
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(lanes[i].thread, NULL);
    }
    if (all->failed) {
        if (err != NULL) {
            *err = all->error;
        }
        return STATUS_FAIL;
    }
    if (cancel_is_set(all->job->cancel)) {
        return error_set(err, ERROR_CANCELLED, "the copy was interrupted");
    }
    return STATUS_OK;
}

static Status copy_in_lanes(const CopyJob *job, const SinkRecipe *recipe, const SourceTable *tables,
                            size_t count, size_t lane_count, Error *err)
{
    Lane lanes[LANES_MAX] = {0};
    Lanes all = {.job = job, .tables = tables, .count = count};
    (void)pthread_mutex_init(&all.lock, NULL);
    Status status = STATUS_OK;
    for (size_t i = 0; i < lane_count && status == STATUS_OK; i++) {
        status = sink_open_lane(recipe, &lanes[i].sink, err);
    }
    if (status == STATUS_OK) {
        status = run_lanes(&all, lanes, lane_count, err);
    }
    for (size_t i = 0; i < lane_count; i++) {
        sink_free(lanes[i].sink);
    }
    (void)pthread_mutex_destroy(&all.lock);
    return status;
}

static Status prepare_all(const CopyJob *job, Sink *sink, const SourceTable *tables, size_t count,
                          Error *err)
{
    Checkpoint changed = {0};
    Status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        const Relation *relation = tables[i].relation;
        Table *table = tables_get(job->tables, relation->oid);
        status = copy_prepare(job, sink, table, relation, &changed, err);
        if (status != STATUS_OK) {
            error_wrap(err, "table \"%" STR_FMT ".%" STR_FMT "\"", STR_ARG(relation->schema),
                       STR_ARG(relation->name));
        }
    }
    CRASH_POINT("copy-tables-shaped");
    if (status == STATUS_OK) {
        status = copy_commit(job, sink, &changed, err);
    }
    CRASH_POINT("copy-prepared");
    checkpoint_done(&changed);
    return status;
}

Status copy_tables(const CopyJob *job, Sink *sink, const SinkRecipe *recipe,
                   const SourceTable *tables, size_t count, size_t lanes, Error *err)
{
    if (prepare_all(job, sink, tables, count, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    lanes = MIN(MIN(lanes, count), (size_t)LANES_MAX);
    if (sink->ops->is_parallel && lanes > 1) {
        return copy_in_lanes(job, recipe, tables, count, lanes, err);
    }
    for (size_t i = 0; i < count; i++) {
        Table *table = tables_find(job->tables, tables[i].relation->oid);
        if (copy_whole_table(job, sink, table, tables[i].relation, err) == STATUS_FAIL) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}
