// The runner, inside: shared by its files.
//
//   runner.c          the loop around the core, the public face
//   runner_attempt.c  opening both ends, copies, where each route continues
//   runner_threads.c  the threads of a running attempt
//   runner_sight.c    what was seen when: how far everything is
#pragma once

#include "base/log.h"
#include "io/queue.h"
#include "pipeline/core.h"
#include "pipeline/ladder.h"
#include "pipeline/meter.h"
#include "pipeline/route.h"
#include "pipeline/runner.h"

/** One route of the pipeline, with its queue and its thread. */
typedef struct Branch {
    Runner *runner;
    uint32_t index; // of the core's route
    const PipelineRoute *target;
    Str key; // names its state and its checkpoint, NUL-terminated
    LogScope scope;
    State *state;
    Dead *dead; // NULL: nothing can be set aside
    Route *route;
    Queue queue;
    pthread_t thread;
    bool has_warned;        // of letters from before
    atomic_bool is_waiting; // its sink, for somebody else
    bool wants; // of the source thread: the pending batch is still to go into this queue
    Position start;
    Status status; // of its copies
    Error error;
    Meter meter;
} Branch;

struct Runner {
    const Pipeline *pipeline;
    Arena arena;
    LogScope pipeline_scope;
    LogScope scope; // and the route, when there is only one that has a name
    LogRepeat retry_line;
    pthread_mutex_t lock; // of core and failure
    Core core;
    Error failure; // of the current attempt, the first one
    char last_error[512];
    atomic_bool is_failing; // nothing has gone well since `last_error`
    Wake bell;              // for the runner thread
    Wake source_bell;       // for the source thread: room in a queue, something to confirm
    Cancel cancel;          // of the current attempt
    atomic_int stop_wanted; // CoreStop
    atomic_int phase;
    atomic_bool is_opening;
    Source *source;
    Branch *branches;
    size_t branch_count;
    size_t sharers; // see runner_share()
    pthread_t source_thread;
    bool threads_run;
    atomic_bool has_states;
    atomic_bool had_states;
    bool was_lent;  // since the states were opened last
    bool has_begun; // this run was the first start of a route
    bool is_whole;  // of the source thread: the last batch ended a transaction
    Position until;
    Position loan_until;           // of this attempt: as the core has it
    atomic_uint_fast64_t head;     // Lsn: end of the source's history as far as it is known
    atomic_uint_fast64_t received; // Lsn
    atomic_bool is_full;           // a batch waits for room in a queue
    int64_t made_us;               // clock_monotonic_us()
    // Under `lock`.
    int64_t borrower;   // who is to have both ends; 0: we
    bool is_asked;      // and the core does not know yet that there was one
    int64_t lent_to;    // who has them; 0: we, or nobody yet
    int64_t lent_at_us; // when `borrower` first got them; 0: he has not yet
    Lsn borrower_goal;  // where he wants the targets; LSN_NONE: the core knows
    SourceSight sight;  // seen_us 0: none yet
    Timeline heads;     // when the source's end was first seen where
    Timeline changes;   // when what was received was committed
};

/** What a thread has to know of the core, taken at one moment. */
typedef struct CoreView {
    CoreState state;
    Position confirmed;
    bool draining;
} CoreView;

/** Fail with @err, which is the route's: where there are several it says which. */
Status branch_failed(const Branch *branch, Error *err);

// Thread: any.
void runner_post(Runner *runner, CoreEvent event);
/** False: it changes nothing any more. */
bool runner_post_failure(Runner *runner, const Error *err);
CoreView runner_view(Runner *runner);
void runner_set_phase(Runner *runner, RunnerPhase phase);

/** SinkContext.waits of the Branch @context. */
void runner_note_wait(void *context, const Error *why);

// Thread: the runner's.

/** Open both ends, copy, and find out where the stream and each branch continue. */
MUST_CHECK Status runner_open(Runner *runner, Position *ret_start, Error *err);
/** Close what runner_open() opened: the source last, with the final confirmation. */
void runner_close(Runner *runner);

/** For SourceContext.watch. Thread: any. */
void runner_see(void *context, const SourceSight *sight);
/** @batch was taken in. Thread: the source's. */
void runner_note_batch(Runner *runner, const Batch *batch);

MUST_CHECK Status runner_start_threads(Runner *runner, Error *err);
void runner_stop_threads(Runner *runner);
