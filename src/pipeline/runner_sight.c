// What was seen when: how far everything is, and what the source says of its server.
#include <assert.h>

#include "base/clock.h"
#include "pipeline/runner_inner.h"

// The source's clock. Until it is known, ours.
static int64_t source_clock_us(const SourceSight *sight)
{
    return sight->seen_us == 0 ? clock_wall_us()
                               : sight->clock_us + clock_monotonic_us() - sight->seen_us;
}

void runner_see(void *context, const SourceSight *sight)
{
    Runner *runner = context;
    (void)pthread_mutex_lock(&runner->lock);
    runner->sight = *sight;
    // What was there before the first look is older by nobody knows how much.
    timeline_begin(&runner->heads, sight->head - 1);
    timeline_add(&runner->heads, sight->head, sight->clock_us);
    (void)pthread_mutex_unlock(&runner->lock);
}

bool runner_sight(Runner *runner, SourceSight *ret)
{
    (void)pthread_mutex_lock(&runner->lock);
    *ret = runner->sight;
    (void)pthread_mutex_unlock(&runner->lock);
    return ret->seen_us != 0;
}

// When the first of them was committed. A message outside of transactions, and a table that is
// told, have no time of their own: they are of just now.
void runner_note_batch(Runner *runner, const Batch *batch)
{
    if (batch->count == 0) {
        return;
    }
    int64_t at_us = 0;
    for (size_t i = 0; i < batch->count && at_us == 0; i++) {
        at_us = batch->changes[i].transaction->commit_time_us;
    }
    (void)pthread_mutex_lock(&runner->lock);
    timeline_add(&runner->changes, batch->end.lsn,
                 at_us != 0 ? at_us : source_clock_us(&runner->sight));
    (void)pthread_mutex_unlock(&runner->lock);
}

// ---------------------------------------------------------------------------------------------
// The ladder
// ---------------------------------------------------------------------------------------------

enum { STAGES_MAX = 3, UNSEEN_US = 6 * 1000000 };

// One runner's part of the way, at one moment.
typedef struct Way {
    LadderStage stages[STAGES_MAX];
    size_t count;
    Lsn head;
    int64_t now_us;
    int64_t unseen_us; // what may have been written for so long is not known; 0: all of it is
} Way;

static Rung rung(const Way *way, size_t from, Lsn at)
{
    int64_t known_us = ladder_behind_us(at, way->stages + from, way->count - from, way->now_us);
    return (Rung){
        .lsn = at,
        .behind_bytes = ladder_behind_bytes(at, way->head),
        .behind_us = MAX(known_us, way->unseen_us),
    };
}

// The locks are of different runners, and always taken in this order.
static void lock_both(Runner *runner, Runner *filler)
{
    (void)pthread_mutex_lock(&runner->lock);
    if (filler != NULL) {
        (void)pthread_mutex_lock(&filler->lock);
    }
}

static void unlock_both(Runner *runner, Runner *filler)
{
    if (filler != NULL) {
        (void)pthread_mutex_unlock(&filler->lock);
    }
    (void)pthread_mutex_unlock(&runner->lock);
}

// A source that has not been looked at for several looks (it is lent, or cannot be reached) may
// have gone on ever since: who waits for a figure to rise must not be told that nothing is lacking.
static int64_t unseen_us(const Runner *runner)
{
    int64_t seen_us = MAX(runner->sight.seen_us, runner->made_us);
    int64_t age_us = clock_monotonic_us() - seen_us;
    return !runner->pipeline->source->looks || age_us < UNSEEN_US ? 0 : age_us;
}

static Way way_of(const Runner *runner, const Runner *filler)
{
    const Runner *first = filler == NULL ? runner : filler;
    Way way = {.now_us = source_clock_us(&first->sight),
               .head = atomic_load(&first->head),
               .unseen_us = unseen_us(first)};
    if (filler != NULL) {
        way.stages[way.count++] = (LadderStage){&runner->changes, atomic_load(&runner->received)};
    }
    way.stages[way.count++] = (LadderStage){&first->changes, atomic_load(&first->received)};
    // A source that does not look tells its end with the stream.
    way.head = MAX(way.head, timeline_end(&first->heads));
    way.stages[way.count++] = (LadderStage){&first->heads, way.head};
    return way;
}

void runner_ladder(Runner *runner, size_t route, Runner *filler, Ladder *ret)
{
    assert(route < runner->branch_count);
    assert(runner != filler);
    Runner *first = filler == NULL ? runner : filler;
    const Meter *meter = &runner->branches[route].meter;
    lock_both(runner, filler);
    // The last step first: none may seem to be further than the one before.
    Lsn confirmed = first->core.confirmed.lsn;
    Lsn durable = atomic_load(&meter->durable);
    Lsn delivered = atomic_load(&meter->delivered);
    Lsn buffered = filler == NULL ? LSN_NONE : atomic_load(&filler->branches[0].meter.durable);
    Lsn received = atomic_load(&first->received);
    Way way = way_of(runner, filler);
    Lsn sent = MAX(first->sight.sent, received);
    size_t source = way.count - 2; // the stages before are those of a route behind a buffer
    *ret = (Ladder){
        .head = way.head,
        .sent = rung(&way, source, sent),
        .received = rung(&way, source, received),
        .delivered = rung(&way, 0, delivered),
        .durable = rung(&way, 0, durable),
        .confirmed = rung(&way, source, confirmed),
    };
    if (filler != NULL) {
        ret->buffered = rung(&way, source, buffered);
    }
    unlock_both(runner, filler);
}
