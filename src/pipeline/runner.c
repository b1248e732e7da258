// The shell around pipeline/core: threads, connections and clocks.
//
//   runner thread   opens both ends, copies, starts the two others, waits, closes, retries
//   source thread   poll() ──► queue (bounded by bytes) ──► route thread   deliver, commit
//         ▲                                                       │
//         └───────── confirmed position (core, under a lock) ◄────┘
//
// Every attempt opens everything anew and continues from what the sink has stored. So an error
// needs no repair in place: stop all threads, close, wait, open. Batches need not be kept once
// delivered.
#include "pipeline/runner.h"

#include <assert.h>
#include <poll.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/queue.h"
#include "pipeline/core.h"
#include "pipeline/route.h"

enum {
    QUEUE_BYTES = 12 << 20,
    GATHER_MAX = 256,
    GATHER_BYTES = 4 << 20,
    POLL_MS = 200,
    RETRY_MS_MIN = 500,
    RETRY_MS_MAX = 30000,
};

struct Runner {
    const Pipeline *pipeline;
    LogScope scope;
    LogRepeat retry_line;
    pthread_mutex_t lock; // of core and failure
    Core core;
    Error failure; // of the current attempt, the first one
    char last_error[512];
    Wake bell;              // for the runner thread
    Wake source_bell;       // for the source thread: room in the queue, something to confirm
    Cancel cancel;          // of the current attempt
    atomic_int stop_wanted; // CoreStop
    atomic_int phase;
    atomic_bool is_opening;
    State *state;
    Source *source;
    Route *route;
    Queue queue;
    pthread_t source_thread;
    pthread_t route_thread;
    bool threads_run;
    bool is_whole; // of the source thread: the last batch ended a transaction
    Position until;
    int64_t started_us;
    Meter meter;
};

const char *runner_phase_name(RunnerPhase phase)
{
    static const char *const names[] = {"starting", "copying",  "streaming",
                                        "retrying", "draining", "done"};
    return names[phase];
}

static void set_phase(Runner *runner, RunnerPhase phase)
{
    atomic_store(&runner->phase, (int)phase);
}

// ---------------------------------------------------------------------------------------------
// The core, from any thread
// ---------------------------------------------------------------------------------------------

static void post(Runner *runner, CoreEvent event)
{
    event.now_ms = clock_monotonic_ms();
    (void)pthread_mutex_lock(&runner->lock);
    core_step(&runner->core, &event);
    (void)pthread_mutex_unlock(&runner->lock);
}

static void post_failure(Runner *runner, const Error *err)
{
    (void)pthread_mutex_lock(&runner->lock);
    bool first = !runner->core.failed && !runner->core.finished;
    if (first) {
        runner->failure = *err;
    }
    CoreEvent event = {.kind = CORE_FAILED, .error = err->kind, .now_ms = clock_monotonic_ms()};
    core_step(&runner->core, &event);
    (void)pthread_mutex_unlock(&runner->lock);
    wake_set(&runner->bell);
}

static Core core_now(Runner *runner)
{
    (void)pthread_mutex_lock(&runner->lock);
    Core copy = runner->core;
    (void)pthread_mutex_unlock(&runner->lock);
    return copy;
}

typedef struct CoreView {
    CoreState state;
    Position confirmed;
    bool draining;
} CoreView;

static CoreView core_view(Runner *runner)
{
    (void)pthread_mutex_lock(&runner->lock);
    CoreView view = {runner->core.state, runner->core.confirmed, core_is_draining(&runner->core)};
    (void)pthread_mutex_unlock(&runner->lock);
    return view;
}

// ---------------------------------------------------------------------------------------------
// The source thread
// ---------------------------------------------------------------------------------------------

static Status source_step(Runner *runner, Batch **pending, bool draining, Error *err)
{
    const SourceOps *ops = runner->source->ops;
    int wake_fd = runner->source_bell.fd;
    if (*pending != NULL && queue_push(&runner->queue, *pending, (*pending)->bytes)) {
        *pending = NULL;
    }
    if (*pending != NULL || (draining && runner->is_whole)) {
        // Full, or nothing more is wanted: keep the connection alive and take nothing in. A
        // transaction of which a part is delivered is taken to its end: nothing commits a part.
        return ops->poll(runner->source, POLL_MS, wake_fd, NULL, err);
    }
    Batch *batch = NULL;
    Status status = ops->poll(runner->source, POLL_MS, wake_fd, &batch, err);
    if (status == STATUS_OK) {
        *pending = batch;
        runner->is_whole = batch->ends_transaction;
        atomic_store(&runner->meter.received, batch->end.lsn);
        post(runner, (CoreEvent){.kind = CORE_SEALED,
                                 .position = batch->end,
                                 .ends_transaction = batch->ends_transaction});
    }
    return status;
}

static void *source_main(void *argument)
{
    Runner *runner = argument;
    Batch *pending = NULL;
    for (;;) {
        CoreView view = core_view(runner);
        if (view.state != CORE_RUNNING) {
            break;
        }
        runner->source->ops->confirm(runner->source, view.confirmed);
        Error err = {0};
        if (source_step(runner, &pending, view.draining, &err) == STATUS_FAIL) {
            post_failure(runner, &err);
            break;
        }
        wake_clear(&runner->source_bell);
        atomic_store(&runner->meter.head, runner->source->ops->head(runner->source));
    }
    batch_unref(pending);
    return NULL;
}

// ---------------------------------------------------------------------------------------------
// The route thread
// ---------------------------------------------------------------------------------------------

// Everything that has gathered while the sink was busy goes to it at once: the further it is
// behind, the larger its runs, without any setting.
static size_t gather(Runner *runner, Batch **batches, int64_t patience_ms)
{
    size_t count = 0;
    size_t bytes = 0;
    while (count < GATHER_MAX && bytes < GATHER_BYTES) {
        Batch *batch = queue_pop(&runner->queue, count == 0 ? patience_ms : 0);
        if (batch == NULL) {
            break;
        }
        bytes += batch->bytes;
        batches[count++] = batch;
    }
    return count;
}

static Status route_step(Runner *runner, Error *err)
{
    Route *route = runner->route;
    Batch *batches[GATHER_MAX];
    size_t count = gather(runner, batches, route_patience_ms(route, clock_monotonic_ms()));
    Status status = count == 0 ? STATUS_OK : route_deliver(route, batches, count, err);
    for (size_t i = 0; i < count; i++) {
        batch_unref(batches[i]);
    }
    if (status != STATUS_OK) {
        return STATUS_FAIL;
    }
    Position before = route_durable(route);
    bool idle = queue_is_empty(&runner->queue);
    if (route_flush(route, idle, core_view(runner).draining, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (position_compare(route_durable(route), before) > 0) {
        post(runner, (CoreEvent){.kind = CORE_DURABLE, .position = route_durable(route)});
        wake_set(&runner->source_bell);
        wake_set(&runner->bell);
    }
    return STATUS_OK;
}

static void *route_main(void *argument)
{
    Runner *runner = argument;
    while (!queue_is_closed(&runner->queue)) {
        Error err = {0};
        if (route_step(runner, &err) != STATUS_OK) {
            post_failure(runner, &err);
            break;
        }
    }
    return NULL;
}

// ---------------------------------------------------------------------------------------------
// One attempt
// ---------------------------------------------------------------------------------------------

static void notice(void *context, const char *message)
{
    Runner *runner = context;
    log_warn(&runner->scope, message);
}

static Status open_source(Runner *runner, Error *err)
{
    const Pipeline *pipeline = runner->pipeline;
    SourceContext context = {
        .pipeline = runner->pipeline->name.ptr,
        .cancel = &runner->cancel,
        .copy_only = pipeline->until == UNTIL_COPY,
        .until = runner->until.lsn,
        .notice = notice,
        .notice_context = runner,
    };
    Status status =
        source_new(pipeline->source, pipeline->source_settings, &context, &runner->source, err);
    if (status != STATUS_OK || runner->source->ops->open(runner->source, err) != STATUS_OK) {
        return error_wrap(err, "source");
    }
    bool first = runner->until.lsn == LSN_NONE;
    if (pipeline->until == UNTIL_NOW && first) {
        return runner->source->ops->now(runner->source, &runner->until.lsn, err);
    }
    return STATUS_OK;
}

static Status open_route(Runner *runner, Error *err)
{
    const Pipeline *pipeline = runner->pipeline;
    bool copy_only = pipeline->until == UNTIL_COPY;
    RouteOptions options = {
        .source = runner->source,
        .sink =
            {
                .ops = pipeline->sink,
                .settings = pipeline->sink_settings,
                .context = {.pipeline = pipeline->name.ptr,
                            .cancel = &runner->cancel,
                            .notice = notice,
                            .notice_context = runner},
            },
        .state = copy_only ? NULL : runner->state,
        .copies = copy_only || runner->source->copies,
        .persistent = !copy_only,
        .lanes = (size_t)MAX(pipeline->jobs, (int64_t)1),
        .until = runner->until,
        .cancel = &runner->cancel,
        .meter = &runner->meter,
    };
    if (route_open(&options, &runner->route, err) != STATUS_OK) {
        return error_wrap(err, "sink");
    }
    return STATUS_OK;
}

// Copy, and find out where the stream continues.
static Status catch_up(Runner *runner, Position *ret_start, Error *err)
{
    Source *source = runner->source;
    Route *route = runner->route;
    Checkpoint changed = {0};
    static const Checkpoint nothing = {0};
    bool copy_only = runner->pipeline->until == UNTIL_COPY;
    const Checkpoint *stored = copy_only ? &nothing : route_checkpoint(route);
    Status status = source->ops->resume(source, stored, &changed, err);
    *ret_start = route_durable(route);
    const CheckpointEntry *entry = checkpoint_get(&changed, STR("position"));
    if (status == STATUS_OK && entry != NULL && !position_parse(entry->value, ret_start)) {
        status = error_set(err, ERROR_FATAL, "the source's position is damaged");
    }
    if (status == STATUS_OK && !copy_only) {
        status = route_store(route, &changed, err);
    }
    checkpoint_done(&changed);
    const SourceTables *tables;
    if (status != STATUS_OK || source->ops->tables(source, &tables, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    set_phase(runner, PHASE_COPYING);
    return route_copy(route, tables, err);
}

static Status attempt_open(Runner *runner, Position *ret_start, Error *err)
{
    set_phase(runner, PHASE_STARTING);
    if (open_source(runner, err) != STATUS_OK || open_route(runner, err) != STATUS_OK ||
        catch_up(runner, ret_start, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return STATUS_OK;
}

static Status start_threads(Runner *runner, Error *err)
{
    queue_init(&runner->queue, QUEUE_BYTES, &runner->source_bell);
    runner->threads_run = true;
    runner->is_whole = true;
    int code = pthread_create(&runner->route_thread, NULL, route_main, runner);
    if (code == 0) {
        code = pthread_create(&runner->source_thread, NULL, source_main, runner);
        if (code != 0) {
            queue_close(&runner->queue);
            (void)pthread_join(runner->route_thread, NULL);
        }
    }
    if (code != 0) {
        queue_done(&runner->queue);
        runner->threads_run = false;
        return error_set_errno(err, ERROR_TRANSIENT, code, "start a thread");
    }
    return STATUS_OK;
}

static void log_streaming(const Runner *runner, Position start)
{
    char text[POSITION_TEXT_SIZE];
    position_format(start, text);
    log_info(&runner->scope, "streaming", LOG_CSTR("from", text));
}

static void take_stop(Runner *runner)
{
    CoreStop wanted = (CoreStop)atomic_load(&runner->stop_wanted);
    if (wanted != CORE_STOP_NONE) {
        if (core_view(runner).state == CORE_RUNNING) {
            set_phase(runner, PHASE_DRAINING);
        }
        post(runner, (CoreEvent){.kind = CORE_STOP, .stop = wanted});
        wake_set(&runner->source_bell);
    }
}

static void set_until(Runner *runner, Position until)
{
    (void)pthread_mutex_lock(&runner->lock);
    runner->core.options.until = until;
    (void)pthread_mutex_unlock(&runner->lock);
}

// `weir copy` has no stream: its end is reached where it begins.
static Position after_opening(Runner *runner, Position start)
{
    if (runner->pipeline->until == UNTIL_COPY) {
        Position end = {1, 0};
        set_until(runner, end);
        return end;
    }
    route_start(runner->route, start);
    atomic_store(&runner->meter.received, start.lsn);
    atomic_store(&runner->meter.durable, start.lsn);
    set_until(runner, runner->until);
    return start;
}

static void on_opening(Runner *runner)
{
    Position start = {0};
    Error err = {0};
    atomic_store(&runner->is_opening, true);
    if (atomic_load(&runner->stop_wanted) != (int)core_now(runner).stop) {
        return; // asked to stop meanwhile: runner_stop() did not know that there is much to cancel
    }
    Status status = attempt_open(runner, &start, &err);
    atomic_store(&runner->is_opening, false);
    if (status != STATUS_OK) {
        take_stop(runner); // so that a cancelled copy counts as interrupted, not as failed
        post_failure(runner, &err);
        return;
    }
    post(runner, (CoreEvent){.kind = CORE_OPENED, .position = after_opening(runner, start)});
    if (core_view(runner).state != CORE_RUNNING) {
        return;
    }
    set_phase(runner, PHASE_STREAMING);
    log_streaming(runner, start);
    if (start_threads(runner, &err) != STATUS_OK) {
        post_failure(runner, &err);
    }
}

// Stop the threads, then close both ends: the source last, with the final confirmation.
static void on_closing(Runner *runner)
{
    bool failed = core_now(runner).failed;
    if (failed) {
        cancel_set(&runner->cancel);
    }
    if (runner->threads_run) {
        queue_close(&runner->queue);
        wake_set(&runner->source_bell);
        (void)pthread_join(runner->route_thread, NULL);
        (void)pthread_join(runner->source_thread, NULL);
        for (void *item; (item = queue_pop(&runner->queue, 0)) != NULL;) {
            batch_unref(item);
        }
        queue_done(&runner->queue);
        runner->threads_run = false;
    }
    route_close(runner->route);
    runner->route = NULL;
    if (runner->source != NULL && runner->pipeline->until != UNTIL_COPY) {
        runner->source->ops->confirm(runner->source, core_view(runner).confirmed);
    }
    source_free(runner->source);
    runner->source = NULL;
    post(runner, (CoreEvent){.kind = CORE_CLOSED});
}

static void on_waiting(Runner *runner, const Core *core)
{
    set_phase(runner, PHASE_RETRYING);
    int64_t left = core->retry_at_ms - clock_monotonic_ms();
    if (left > 0) {
        wake_wait(&runner->bell, (int)MIN(left, (int64_t)1000));
        return;
    }
    cancel_reset(&runner->cancel);
    post(runner, (CoreEvent){.kind = CORE_TICK});
}

// A drain delivers what was received. While the route waits for a copy it delivers nothing, perhaps
// for hours: everything before the copy is committed, and the copy starts again the next time.
static void on_running(Runner *runner, const Core *core)
{
    if (core->stop == CORE_STOP_DRAIN && route_is_copying(runner->route)) {
        log_info(&runner->scope, "the copy that is under way starts again next time");
        post(runner, (CoreEvent){.kind = CORE_GIVE_UP});
    } else {
        wake_wait(&runner->bell, 1000);
    }
}

static void log_retry(Runner *runner)
{
    Core core = core_now(runner);
    if (core.state != CORE_WAITING) {
        return;
    }
    (void)pthread_mutex_lock(&runner->lock);
    (void)snprintf(runner->last_error, sizeof(runner->last_error), "%.500s",
                   runner->failure.message);
    (void)pthread_mutex_unlock(&runner->lock);
    int64_t times;
    if (!log_repeat_is_due(&runner->retry_line, str_from(runner->failure.message),
                           clock_monotonic_ms(), &times)) {
        return;
    }
    LogField fields[6] = {
        LOG_CSTR("error", runner->failure.message),
        LOG_INT("in_ms", MAX(core.retry_at_ms - clock_monotonic_ms(), (int64_t)0)),
        LOG_INT("attempt", core.retries),
    };
    size_t count = 3;
    if (times > 1) {
        fields[count++] = LOG_INT("times", times); // since the last such line
    }
    if (runner->failure.hint[0] != '\0') {
        fields[count++] = LOG_CSTR("hint", runner->failure.hint);
    }
    log_write(LOG_WARN, &runner->scope, "retrying", fields);
}

static void run_loop(Runner *runner)
{
    for (;;) {
        take_stop(runner);
        Core core = core_now(runner);
        switch (core.state) {
        case CORE_OPENING:
            on_opening(runner);
            break;
        case CORE_RUNNING:
            on_running(runner, &core);
            break;
        case CORE_CLOSING:
            on_closing(runner);
            log_retry(runner);
            break;
        case CORE_WAITING:
            on_waiting(runner, &core);
            break;
        case CORE_DONE:
            set_phase(runner, PHASE_DONE);
            return;
        }
    }
}

// ---------------------------------------------------------------------------------------------
// The public face
// ---------------------------------------------------------------------------------------------

Status runner_new(const Pipeline *pipeline, const LogScope *scope, Runner **ret, Error *err)
{
    assert(pipeline->source != NULL);
    assert(pipeline->sink != NULL);
    Runner *runner = mem_alloc_zero(sizeof(*runner));
    runner->pipeline = pipeline;
    runner->scope = (LogScope){scope, "pipeline", pipeline->name};
    runner->bell.fd = runner->source_bell.fd = runner->cancel.fd = -1;
    (void)pthread_mutex_init(&runner->lock, NULL);
    meter_init(&runner->meter);
    if (wake_init(&runner->bell, err) != STATUS_OK ||
        wake_init(&runner->source_bell, err) != STATUS_OK ||
        cancel_init(&runner->cancel, err) != STATUS_OK) {
        runner_free(runner);
        return STATUS_FAIL;
    }
    if (pipeline->until == UNTIL_LSN) {
        runner->until = (Position){pipeline->until_lsn, 0};
    }
    CoreOptions options = {
        .route_count = 1,
        .has_until = pipeline->until != UNTIL_FOREVER,
        .never_retries = pipeline->until == UNTIL_COPY,
        .retry_ms_min = RETRY_MS_MIN,
        .retry_ms_max = RETRY_MS_MAX,
    };
    core_init(&runner->core, &options);
    *ret = runner;
    return STATUS_OK;
}

Status runner_run(Runner *runner, Error *err)
{
    const Pipeline *pipeline = runner->pipeline;
    if (pipeline->until != UNTIL_COPY &&
        state_open(pipeline->state_dir, pipeline->name, pipeline->source_id, pipeline->sink_id,
                   &runner->state, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    run_loop(runner);
    state_close(runner->state);
    runner->state = NULL;
    if (core_succeeded(&runner->core)) {
        return STATUS_OK;
    }
    if (runner->failure.message[0] == '\0') {
        return error_set(err, ERROR_CANCELLED, "interrupted before everything was delivered");
    }
    if (err != NULL) {
        *err = runner->failure;
    }
    return STATUS_FAIL;
}

void runner_stop(Runner *runner, bool now)
{
    int wanted = now ? CORE_STOP_NOW : CORE_STOP_DRAIN;
    int seen = atomic_load(&runner->stop_wanted);
    while (seen < wanted && !atomic_compare_exchange_weak(&runner->stop_wanted, &seen, wanted)) {
    }
    // While opening there is nothing to drain, only waiting to cut short.
    if (now || atomic_load(&runner->is_opening)) {
        cancel_set(&runner->cancel);
    }
    wake_set(&runner->bell);
}

void runner_stats(Runner *runner, RunnerStats *ret)
{
    const Meter *meter = &runner->meter;
    *ret = (RunnerStats){
        .phase = (RunnerPhase)atomic_load(&runner->phase),
        .tables_total = atomic_load(&meter->tables_total),
        .tables_done = atomic_load(&meter->tables_done),
        .copy_rows = atomic_load(&meter->copy_rows),
        .copy_rows_estimate = atomic_load(&meter->copy_rows_estimate),
        .copy_bytes = atomic_load(&meter->copy_bytes),
        .changes = atomic_load(&meter->changes),
        .transactions = atomic_load(&meter->transactions),
        .bytes = atomic_load(&meter->bytes),
        .commits = atomic_load(&meter->commits),
        .head = atomic_load(&meter->head),
        .received = atomic_load(&meter->received),
        .durable = atomic_load(&meter->durable),
    };
    int64_t waiting = atomic_load(&meter->waiting_us);
    ret->lag_ms = waiting == 0 ? 0 : MAX((clock_monotonic_us() - waiting) / 1000, (int64_t)0);
    (void)pthread_mutex_lock(&runner->meter.name_lock);
    memcpy(ret->copy_table, meter->copy_table, sizeof(ret->copy_table));
    (void)pthread_mutex_unlock(&runner->meter.name_lock);
    (void)pthread_mutex_lock(&runner->lock);
    ret->retries = runner->core.restarts;
    if (runner->core.state == CORE_WAITING) {
        ret->retry_in_ms = MAX(runner->core.retry_at_ms - clock_monotonic_ms(), (int64_t)0);
    }
    memcpy(ret->last_error, runner->last_error, sizeof(ret->last_error));
    (void)pthread_mutex_unlock(&runner->lock);
}

void runner_free(Runner *runner)
{
    if (runner == NULL) {
        return;
    }
    wake_done(&runner->bell);
    wake_done(&runner->source_bell);
    cancel_done(&runner->cancel);
    meter_done(&runner->meter);
    (void)pthread_mutex_destroy(&runner->lock);
    mem_free(runner);
}
