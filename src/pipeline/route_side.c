#include "pipeline/route_side.h"

#include "base/crash_point.h"
#include "base/mem.h"

enum { HELD_MAX = 16 << 20 };

static void *side_main(void *argument)
{
    SideCopy *side = argument;
    CopyJob *job = &side->job;
    side->status = job->source->ops->snapshot_open(job->source, &job->snapshot, &job->snapshot_lsn,
                                                   &side->error);
    if (side->status == STATUS_OK) {
        atomic_store(&side->snapshot_lsn, job->snapshot_lsn);
    }
    if (side->status == STATUS_OK && side->sink != NULL) {
        side->status = copy_table(job, side->sink, side->table, side->relation, &side->error);
    }
    if (side->status == STATUS_OK && side->sink != NULL) {
        Checkpoint nothing = {0};
        side->status = copy_commit(job, side->sink, &nothing, &side->error);
        CRASH_POINT("side-rows-committed");
        checkpoint_done(&nothing);
    }
    atomic_store(&side->is_finished, true);
    return NULL;
}

void side_free(SideCopy *side)
{
    sink_free(side->sink);
    if (side->job.snapshot != NULL) {
        side->job.source->ops->snapshot_close(side->job.snapshot);
    }
    held_free(side->held);
    mem_free(side);
}

Status side_start(const CopyJob *job, const SinkRecipe *recipe, Table *table,
                  const Relation *relation, SideCopy **ret, Error *err)
{
    SideCopy *side = mem_alloc_zero(sizeof(*side));
    side->job = *job;
    side->table = table;
    side->relation = relation;
    side->held = held_new(source_spill_directory(job->source));
    if (recipe != NULL && sink_open_lane(recipe, &side->sink, err) != STATUS_OK) {
        side_free(side);
        return STATUS_FAIL;
    }
    table->state = TABLE_COPYING;
    int code = pthread_create(&side->thread, NULL, side_main, side);
    if (code != 0) {
        side_free(side);
        return error_set_errno(err, ERROR_TRANSIENT, code, "start a thread");
    }
    *ret = side;
    return STATUS_OK;
}

Status side_hold(SideCopy *side, const Change *change, Error *err)
{
    return held_add(side->held, change, atomic_load(&side->snapshot_lsn), err);
}

bool side_is_due(const SideCopy *side)
{
    return atomic_load(&side->is_finished) || held_bytes(side->held) >= HELD_MAX;
}

Status side_join(SideCopy *side, Sink *sink, Error *err)
{
    (void)pthread_join(side->thread, NULL);
    if (side->status == STATUS_FAIL) {
        *err = side->error;
    }
    if (side->status != STATUS_OK) {
        return side->status;
    }
    return side->sink != NULL ? STATUS_OK
                              : copy_table(&side->job, sink, side->table, side->relation, err);
}

void side_abandon(SideCopy *side)
{
    cancel_set(side->job.cancel);
    (void)pthread_join(side->thread, NULL);
    side_free(side);
}
