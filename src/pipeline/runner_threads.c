// The threads of a running attempt: one of the source, one of each route.
#include "base/clock.h"
#include "base/crash_point.h"
#include "pipeline/runner_inner.h"

enum {
    QUEUE_BYTES = 8 << 20, // and what a route takes out of it at once
    GATHER_MAX = 256,
    LEAST_BYTES = 256 << 10, // where many share the memory
    POLL_MS = 200,
};

// ---------------------------------------------------------------------------------------------
// The source
// ---------------------------------------------------------------------------------------------

// The batch is shared: every queue has a reference. The slowest route is the back-pressure.
static bool pass_on(Runner *runner, Batch *batch)
{
    bool everywhere = true;
    for (size_t i = 0; i < runner->branch_count; i++) {
        Branch *branch = &runner->branches[i];
        if (!branch->wants) {
            continue;
        }
        batch_ref(batch);
        if (queue_push(&branch->queue, batch, batch->bytes)) {
            branch->wants = false;
        } else {
            batch_unref(batch);
            everywhere = false;
        }
    }
    return everywhere;
}

static void take_in(Runner *runner, const Batch *batch)
{
    runner->is_whole = batch->ends_transaction;
    for (size_t i = 0; i < runner->branch_count; i++) {
        runner->branches[i].wants = true;
    }
    atomic_store(&runner->received, batch->end.lsn);
    runner_note_batch(runner, batch);
    runner_post(runner, (CoreEvent){.kind = CORE_SEALED,
                                    .position = batch->end,
                                    .ends_transaction = batch->ends_transaction});
}

static Status source_step(Runner *runner, Batch **pending, bool draining, Error *err)
{
    const SourceOps *ops = runner->source->ops;
    int wake_fd = runner->source_bell.fd;
    if (*pending != NULL && pass_on(runner, *pending)) {
        batch_unref(*pending);
        *pending = NULL;
    }
    atomic_store(&runner->is_full, *pending != NULL);
    if (*pending != NULL || (draining && runner->is_whole)) {
        // Full, or nothing more is wanted: keep the connection alive and take nothing in. A
        // transaction of which a part is delivered is taken to its end: nothing commits a part.
        return ops->poll(runner->source, POLL_MS, wake_fd, NULL, err);
    }
    Status status = ops->poll(runner->source, POLL_MS, wake_fd, pending, err);
    if (status == STATUS_OK) {
        take_in(runner, *pending);
    }
    return status;
}

static void *source_main(void *argument)
{
    Runner *runner = argument;
    Batch *pending = NULL;
    for (;;) {
        CoreView view = runner_view(runner);
        if (view.state != CORE_RUNNING) {
            break;
        }
        runner->source->ops->confirm(runner->source, view.confirmed);
        Error err = {0};
        if (source_step(runner, &pending, view.draining, &err) == STATUS_FAIL) {
            (void)error_wrap(&err, "%s", pipeline_source_called(runner->pipeline));
            if (!runner_post_failure(runner, &err)) {
                // The end is reached, and a route may be at work on what is behind it.
                cancel_set(&runner->cancel);
            }
            break;
        }
        wake_clear(&runner->source_bell);
        atomic_store(&runner->head, runner->source->ops->head(runner->source));
    }
    batch_unref(pending);
    return NULL;
}

// ---------------------------------------------------------------------------------------------
// A route
// ---------------------------------------------------------------------------------------------

// Everything that has gathered while the sink was busy goes to it at once: the further it is
// behind, the larger its runs, without any setting.
static size_t gather(Queue *queue, size_t most, Batch **batches, int64_t patience_us)
{
    size_t count = 0;
    size_t bytes = 0;
    while (count < GATHER_MAX && bytes < most) {
        Batch *batch = queue_pop(queue, count == 0 ? patience_us : 0);
        if (batch == NULL) {
            break;
        }
        bytes += batch->bytes;
        batches[count++] = batch;
    }
    return count;
}

static Status branch_step(Branch *branch, Error *err)
{
    Runner *runner = branch->runner;
    Route *route = branch->route;
    Batch *batches[GATHER_MAX];
    Position before = route_durable(route);
    size_t most = mem_part(QUEUE_BYTES, runner->sharers, LEAST_BYTES);
    size_t count =
        gather(&branch->queue, most, batches, route_patience_us(route, clock_monotonic_us()));
    Status status = count == 0 ? STATUS_OK : route_deliver(route, batches, count, err);
    for (size_t i = 0; i < count; i++) {
        batch_unref(batches[i]);
    }
    if (status != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool idle = queue_is_empty(&branch->queue);
    if (route_flush(route, idle, runner_view(runner).draining, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (position_compare(route_durable(route), before) > 0) {
        CRASH_POINT("confirm-begins");
        runner_post(runner, (CoreEvent){.kind = CORE_DURABLE,
                                        .route = branch->index,
                                        .position = route_durable(route)});
        wake_set(&runner->source_bell);
        wake_set(&runner->bell);
    }
    return STATUS_OK;
}

static void *branch_main(void *argument)
{
    Branch *branch = argument;
    while (!queue_is_closed(&branch->queue)) {
        Error err = {0};
        if (branch_step(branch, &err) != STATUS_OK) {
            (void)branch_failed(branch, &err);
            (void)runner_post_failure(branch->runner, &err);
            break;
        }
    }
    return NULL;
}

// ---------------------------------------------------------------------------------------------
// All of them
// ---------------------------------------------------------------------------------------------

static void end_branches(Runner *runner, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        queue_close(&runner->branches[i].queue);
    }
    for (size_t i = 0; i < count; i++) {
        (void)pthread_join(runner->branches[i].thread, NULL);
    }
}

static void empty_queues(Runner *runner)
{
    for (size_t i = 0; i < runner->branch_count; i++) {
        Queue *queue = &runner->branches[i].queue;
        for (void *item; (item = queue_pop(queue, 0)) != NULL;) {
            batch_unref(item);
        }
        queue_done(queue);
    }
}

Status runner_start_threads(Runner *runner, Error *err)
{
    size_t queue_bytes = mem_part(QUEUE_BYTES, runner->sharers, LEAST_BYTES);
    runner->is_whole = true;
    for (size_t i = 0; i < runner->branch_count; i++) {
        queue_init(&runner->branches[i].queue, queue_bytes, &runner->source_bell);
    }
    int code = 0;
    size_t started = 0;
    while (code == 0 && started < runner->branch_count) {
        Branch *branch = &runner->branches[started];
        code = pthread_create(&branch->thread, NULL, branch_main, branch);
        started += code == 0 ? 1 : 0;
    }
    if (code == 0) {
        code = pthread_create(&runner->source_thread, NULL, source_main, runner);
    }
    if (code != 0) {
        end_branches(runner, started);
        empty_queues(runner);
        return error_set_errno(err, ERROR_TRANSIENT, code, "start a thread");
    }
    runner->threads_run = true;
    return STATUS_OK;
}

void runner_stop_threads(Runner *runner)
{
    if (!runner->threads_run) {
        return;
    }
    wake_set(&runner->source_bell);
    end_branches(runner, runner->branch_count);
    (void)pthread_join(runner->source_thread, NULL);
    empty_queues(runner);
    runner->threads_run = false;
}
