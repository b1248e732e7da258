// The shell around pipeline/core: threads, connections and clocks.
//
//   runner thread   opens both ends, copies, starts the others, waits, closes, retries
//   source thread   poll() ─┬► queue (bounded by bytes) ──► route thread   deliver, commit ─┐
//         ▲                 └► queue (bounded by bytes) ──► route thread   deliver, commit ─┤
//         └───────── confirmed position: the slowest route's (core, under a lock) ◄─────────┘
//
// Every attempt opens everything anew and continues from what the sink has stored. So an error
// needs no repair in place: stop all threads, close, wait, open. Batches need not be kept once
// delivered.
#include <assert.h>

#include "base/clock.h"
#include "base/mem.h"
#include "pipeline/runner_inner.h"

enum { RETRY_MS_MIN = 500, RETRY_MS_MAX = 30000 };

const char *const on_error_choices[] = {"stop", "dead-letter", NULL};

const char *runner_phase_name(RunnerPhase phase)
{
    static const char *const names[] = {"starting", "copying", "streaming", "retrying",
                                        "draining", "lent",    "done"};
    return names[phase];
}

void runner_set_phase(Runner *runner, RunnerPhase phase)
{
    atomic_store(&runner->phase, (int)phase);
    if (phase == PHASE_STREAMING) {
        atomic_store(&runner->is_failing, false);
    }
}

// ---------------------------------------------------------------------------------------------
// The core, from any thread
// ---------------------------------------------------------------------------------------------

void runner_post(Runner *runner, CoreEvent event)
{
    event.now_ms = clock_monotonic_ms();
    (void)pthread_mutex_lock(&runner->lock);
    core_step(&runner->core, &event);
    (void)pthread_mutex_unlock(&runner->lock);
}

bool runner_post_failure(Runner *runner, const Error *err)
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
    return first;
}

static Core core_now(Runner *runner)
{
    (void)pthread_mutex_lock(&runner->lock);
    Core copy = runner->core;
    (void)pthread_mutex_unlock(&runner->lock);
    return copy;
}

CoreView runner_view(Runner *runner)
{
    (void)pthread_mutex_lock(&runner->lock);
    CoreView view = {runner->core.state, runner->core.confirmed, core_is_draining(&runner->core)};
    (void)pthread_mutex_unlock(&runner->lock);
    return view;
}

// ---------------------------------------------------------------------------------------------
// The states
// ---------------------------------------------------------------------------------------------

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
        if (runner_view(runner).state == CORE_RUNNING) {
            runner_set_phase(runner, PHASE_DRAINING);
        }
        runner_post(runner, (CoreEvent){.kind = CORE_STOP, .stop = wanted});
        wake_set(&runner->source_bell);
    }
}

// Whoever looks at `lent_to` and finds its number may take both ends: it is gone before we do. What
// was asked for is passed on even when it is over: it may have cancelled the attempt.
static void take_loan(Runner *runner)
{
    (void)pthread_mutex_lock(&runner->lock);
    const Core *core = &runner->core;
    bool is_asked = runner->is_asked;
    bool is_over = runner->borrower == 0 && (is_asked || core->is_lending);
    bool is_running = core->state == CORE_RUNNING;
    bool was_lent = core->state == CORE_LENT && is_over;
    Position goal = {core->state == CORE_LENT ? runner->borrower_goal : LSN_NONE, 0};
    runner->is_asked = false;
    runner->lent_to = runner->lent_to == runner->borrower ? runner->lent_to : 0;
    runner->borrower_goal = LSN_NONE;
    (void)pthread_mutex_unlock(&runner->lock);
    if (is_asked) {
        runner->loan_until = (Position){0}; // another borrower's
        if (is_running) {
            runner_set_phase(runner, PHASE_DRAINING);
        }
        runner_post(runner, (CoreEvent){.kind = CORE_LEND});
        wake_set(&runner->source_bell);
    }
    if (was_lent) {
        log_info(&runner->scope, "the loan is over: taking it up again");
    }
    if (is_over) {
        runner_post(runner, (CoreEvent){.kind = CORE_RETURN});
        wake_set(&runner->source_bell);
    } else if (goal.lsn != LSN_NONE) {
        runner_post(runner, (CoreEvent){.kind = CORE_GO, .position = goal});
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
    for (size_t i = 0; i < runner->branch_count; i++) {
        Branch *branch = &runner->branches[i];
        route_start(branch->route, branch->start);
        atomic_store(&branch->meter.delivered, branch->start.lsn);
        atomic_store(&branch->meter.durable, branch->start.lsn);
    }
    atomic_store(&runner->received, start.lsn);
    (void)pthread_mutex_lock(&runner->lock);
    timeline_begin(&runner->changes, start.lsn);
    (void)pthread_mutex_unlock(&runner->lock);
    set_until(runner, runner->until);
    return start;
}

static void post_opened(Runner *runner, Position start)
{
    Position routes[LIMIT_ROUTES];
    CoreEvent event = {.kind = CORE_OPENED, .position = after_opening(runner, start)};
    if (runner->pipeline->until != UNTIL_COPY) {
        for (size_t i = 0; i < runner->branch_count; i++) {
            routes[i] = runner->branches[i].start;
        }
        event.routes = routes;
    }
    runner_post(runner, event);
}

// A loan begins, or one ends, and the core does not know yet.
static bool is_asked_for_loan(Runner *runner)
{
    (void)pthread_mutex_lock(&runner->lock);
    bool is_over = runner->borrower == 0 && runner->core.is_lending;
    bool is_asked = runner->is_asked || is_over;
    (void)pthread_mutex_unlock(&runner->lock);
    return is_asked;
}

static void on_opening(Runner *runner)
{
    Position start = {0};
    Error err = {0};
    cancel_reset(&runner->cancel); // it was for the attempt before, or is asked for below
    atomic_store(&runner->is_opening, true);
    if (atomic_load(&runner->stop_wanted) != (int)core_now(runner).stop ||
        is_asked_for_loan(runner)) {
        return; // asked meanwhile by who did not know that there is much to cancel
    }
    runner->loan_until = core_now(runner).loan_until;
    Status status = runner_open(runner, &start, &err);
    atomic_store(&runner->is_opening, false);
    if (status != STATUS_OK) {
        take_stop(runner); // so that a cancelled copy counts as interrupted, not as failed
        take_loan(runner);
        (void)runner_post_failure(runner, &err);
        return;
    }
    post_opened(runner, start);
    if (runner_view(runner).state != CORE_RUNNING) {
        return;
    }
    runner_set_phase(runner, PHASE_STREAMING);
    log_streaming(runner, start);
    if (runner_start_threads(runner, &err) != STATUS_OK) {
        (void)runner_post_failure(runner, &err);
    }
}

static void tell_untold(const Branch *branch)
{
    int64_t letters = branch->dead == NULL ? 0 : dead_untold(branch->dead);
    if (letters > 0) {
        log_warn(&branch->scope, "more changes were set aside since the last such line",
                 LOG_INT("letters", letters), LOG_CSTR("hint", "weir dead list shows them"));
    }
}

static void close_states(Runner *runner)
{
    atomic_store(&runner->has_states, false);
    for (size_t i = 0; i < runner->branch_count; i++) {
        tell_untold(&runner->branches[i]);
        dead_free(runner->branches[i].dead);
        runner->branches[i].dead = NULL;
        state_close(runner->branches[i].state);
        runner->branches[i].state = NULL;
    }
}

// The one that fills a buffer waits for those that read it, and fails for as long as it is full.
static int64_t moves_of_parts(const Runner *runner)
{
    const PipelineParts *parts = runner->pipeline->parts;
    bool waits = parts != NULL && runner->pipeline->routes[0].sink->takes_all;
    int64_t moves = 0;
    for (size_t i = 0; waits && i < parts->meter_count; i++) {
        moves +=
            atomic_load(&parts->meters[i]->commits) + atomic_load(&parts->meters[i]->copy_rows);
    }
    return moves;
}

// Stop the threads, then close both ends: the source last, with the final confirmation.
static void on_closing(Runner *runner)
{
    bool failed = core_now(runner).failed;
    if (failed) {
        cancel_set(&runner->cancel);
    }
    runner_stop_threads(runner);
    runner_close(runner);
    CoreEvent closed = {.kind = CORE_CLOSED, .others = moves_of_parts(runner)};
    for (size_t i = 0; i < runner->branch_count; i++) {
        Meter *meter = &runner->branches[i].meter;
        closed.tables_left += atomic_load(&meter->tables_total) - atomic_load(&meter->tables_done);
        closed.rows_copied += atomic_load(&meter->copy_rows);
    }
    runner_post(runner, closed);
}

static void log_lent(Runner *runner, int64_t borrower)
{
    if (runner->loan_until.lsn == LSN_NONE) {
        log_info(&runner->scope, "lent for a verification", LOG_INT("process", borrower));
        return;
    }
    char text[POSITION_TEXT_SIZE];
    position_format(runner->loan_until, text);
    log_info(&runner->scope, "held for a verification", LOG_CSTR("at", text),
             LOG_INT("process", borrower));
    runner->loan_until = (Position){0};
}

static void on_lent(Runner *runner)
{
    close_states(runner);
    (void)pthread_mutex_lock(&runner->lock);
    bool is_new = runner->lent_to != runner->borrower;
    bool goes = runner->borrower_goal != LSN_NONE; // and is not lent before it is there
    int64_t borrower = runner->lent_to = goes ? 0 : runner->borrower;
    if (borrower != 0 && runner->lent_at_us == 0) {
        runner->lent_at_us = clock_wall_us();
    }
    (void)pthread_mutex_unlock(&runner->lock);
    if (is_new && borrower != 0) {
        runner->was_lent = true;
        runner_set_phase(runner, PHASE_LENT);
        log_lent(runner, borrower);
    }
    wake_wait(&runner->bell, goes ? 0 : 1000);
}

static void on_waiting(Runner *runner, const Core *core)
{
    runner_set_phase(runner, PHASE_RETRYING);
    int64_t left = core->retry_at_ms - clock_monotonic_ms();
    if (left > 0) {
        wake_wait(&runner->bell, (int)MIN(left, (int64_t)1000));
        return;
    }
    runner_post(runner, (CoreEvent){.kind = CORE_TICK});
}

// A drain delivers what was received. While the route waits for a copy it delivers nothing, perhaps
// for hours: everything before the copy is committed, and the copy starts again the next time. The
// same goes for a sink that waits for somebody else.
static void on_running(Runner *runner, const Core *core)
{
    bool is_copying = false;
    bool is_waiting = false;
    for (size_t i = 0; i < runner->branch_count; i++) {
        is_copying = is_copying || route_is_copying(runner->branches[i].route);
        is_waiting = is_waiting || atomic_load(&runner->branches[i].is_waiting);
    }
    bool is_draining = core->stop == CORE_STOP_DRAIN || core->is_cut_short;
    if (is_draining && is_copying) {
        log_info(&runner->scope, "the copy that is under way starts again next time");
    }
    if (is_draining && (is_copying || is_waiting)) {
        runner_post(runner, (CoreEvent){.kind = CORE_GIVE_UP});
    } else {
        wake_wait(&runner->bell, 1000);
    }
}

static void note_failure(Runner *runner, const Error *failure)
{
    (void)pthread_mutex_lock(&runner->lock);
    (void)snprintf(runner->last_error, sizeof(runner->last_error), "%.500s", failure->message);
    (void)pthread_mutex_unlock(&runner->lock);
    atomic_store(&runner->is_failing, true);
}

// To whoever looks it is trouble like that which is tried again. A drain stays one.
void runner_note_wait(void *context, const Error *why)
{
    Branch *branch = context;
    Runner *runner = branch->runner;
    int was = why != NULL ? PHASE_STREAMING : PHASE_RETRYING;
    int now = why != NULL ? PHASE_RETRYING : PHASE_STREAMING;
    if (why != NULL) {
        note_failure(runner, why);
        log_failure(LOG_WARN, &branch->scope, "waiting", why);
    }
    atomic_store(&branch->is_waiting, why != NULL);
    atomic_store(&runner->is_failing, why != NULL);
    (void)atomic_compare_exchange_strong(&runner->phase, &was, now);
    wake_set(&runner->bell);
}

static void log_retry(Runner *runner)
{
    Core core = core_now(runner);
    if (core.state != CORE_WAITING || runner->failure.kind == ERROR_AGAIN) {
        return;
    }
    note_failure(runner, &runner->failure);
    int64_t times;
    if (!log_repeat_is_due(&runner->retry_line, str_from(runner->failure.message),
                           clock_monotonic_ms(), &times)) {
        return;
    }
    LogField fields[6] = {
        LOG_MESSAGE("error", runner->failure.message),
        LOG_INT("in_ms", MAX(core.retry_at_ms - clock_monotonic_ms(), (int64_t)0)),
        LOG_INT("attempt", core.retries),
    };
    size_t count = 3;
    if (times > 1) {
        fields[count++] = LOG_INT("times", times); // since the last such line
    }
    if (runner->failure.hint[0] != '\0') {
        fields[count++] = LOG_MESSAGE("hint", runner->failure.hint);
    }
    log_write(LOG_WARN, &runner->scope, "retrying", fields);
}

static void run_loop(Runner *runner)
{
    for (;;) {
        take_stop(runner);
        take_loan(runner);
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
        case CORE_LENT:
            on_lent(runner);
            break;
        case CORE_DONE:
            runner_set_phase(runner, PHASE_DONE);
            return;
        }
    }
}

// ---------------------------------------------------------------------------------------------
// The public face
// ---------------------------------------------------------------------------------------------

const char *pipeline_source_called(const Pipeline *pipeline)
{
    return pipeline->source_called == NULL ? "source" : pipeline->source_called;
}

const char *pipeline_route_called(const PipelineRoute *route)
{
    return route->called == NULL ? "sink" : route->called;
}

Str pipeline_route_key(const Pipeline *pipeline, const PipelineRoute *route, Arena *arena)
{
    return route->name.len == 0
               ? pipeline->name
               : str_from(arena_printf(arena, "%" STR_FMT ".%" STR_FMT, STR_ARG(pipeline->name),
                                       STR_ARG(route->name)));
}

const char *pipeline_route_directory(const Pipeline *pipeline, const PipelineRoute *route,
                                     Arena *arena)
{
    Str key = pipeline_route_key(pipeline, route, arena);
    return arena_printf(arena, "%" STR_FMT "/%" STR_FMT, STR_ARG(pipeline->state_dir),
                        STR_ARG(key));
}

StateOwner pipeline_route_owner(const Pipeline *pipeline, const PipelineRoute *route, Str key)
{
    return (StateOwner){pipeline->state_dir, key, route->id};
}

Status pipeline_never_run(const Pipeline *pipeline, const PipelineRoute *route, Error *err)
{
    if (route->name.len == 0) {
        error_set(err, ERROR_CONFIG,
                  "the pipeline \"%" STR_FMT "\" has never run: there is nothing to compare",
                  STR_ARG(pipeline->name));
    } else {
        error_set(err, ERROR_CONFIG,
                  "route \"%" STR_FMT "\" of the pipeline \"%" STR_FMT
                  "\" has never run: there is nothing to compare",
                  STR_ARG(route->name), STR_ARG(pipeline->name));
    }
    return error_hint(err, "Begin it with weir stream or weir run, and verify when its copies are "
                           "done. If it has run: with the same URLs, or the same --name?");
}

static void init_branch(Runner *runner, size_t index)
{
    const Pipeline *pipeline = runner->pipeline;
    Branch *branch = &runner->branches[index];
    branch->runner = runner;
    branch->index = (uint32_t)index;
    branch->target = &pipeline->routes[index];
    branch->key = pipeline_route_key(pipeline, branch->target, &runner->arena);
    branch->scope = runner->scope;
    if (branch->target->name.len > 0) {
        branch->scope = (LogScope){&runner->pipeline_scope, "route", branch->target->name};
    }
    meter_init(&branch->meter);
    PipelineParts *parts = pipeline->parts;
    if (parts != NULL) {
        assert(parts->meter_count < ARRAY_LEN(parts->meters));
        parts->meters[parts->meter_count++] = &branch->meter;
    }
}

Status runner_new(const Pipeline *pipeline, const LogScope *scope, Runner **ret, Error *err)
{
    assert(pipeline->source != NULL);
    assert(pipeline->route_count > 0);
    assert(pipeline->route_count <= LIMIT_ROUTES);
    assert(pipeline->buffer == NULL);
    Runner *runner = mem_alloc_zero(sizeof(*runner));
    runner->pipeline = pipeline;
    runner->made_us = clock_monotonic_us();
    runner->pipeline_scope = (LogScope){scope, "pipeline", pipeline->name};
    runner->scope = runner->pipeline_scope;
    if (pipeline->route_count == 1 && pipeline->routes[0].name.len > 0) {
        runner->scope = (LogScope){&runner->pipeline_scope, "route", pipeline->routes[0].name};
    }
    runner->bell.fd = runner->source_bell.fd = runner->cancel.fd = -1;
    (void)pthread_mutex_init(&runner->lock, NULL);
    runner->branch_count = pipeline->route_count;
    runner->branches = ARENA_ARRAY(&runner->arena, Branch, pipeline->route_count);
    for (size_t i = 0; i < runner->branch_count; i++) {
        init_branch(runner, i);
    }
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
        .route_count = (uint32_t)pipeline->route_count,
        .has_until = pipeline->until != UNTIL_FOREVER,
        .never_retries = pipeline->until == UNTIL_COPY,
        .retry_ms_min = RETRY_MS_MIN,
        .retry_ms_max = RETRY_MS_MAX,
        .patience_ms = pipeline->until == UNTIL_FOREVER ? 0 : pipeline->patience_ms,
    };
    core_init(&runner->core, &options);
    *ret = runner;
    return STATUS_OK;
}

// Behind the hint that is there.
static void hint_more(Error *err, const char *more)
{
    char hint[ERROR_MESSAGE_MAX];
    (void)snprintf(hint, sizeof(hint), "%.1500s", err->hint);
    error_set_hint(err, "%s%s%s", hint, hint[0] == '\0' ? "" : " ", more);
}

// It holds the source's history back, and nobody has asked for it who does not read on.
static void say_what_stays(const Runner *runner, Error *err)
{
    bool makes = runner->pipeline->source->check != NULL;
    bool will_pass = err->kind == ERROR_TRANSIENT && runner->core.gave_up_after_ms == 0;
    if (!runner->has_begun || !makes || will_pass || err->kind == ERROR_CANCELLED) {
        return;
    }
    hint_more(err, "What was made on the source stays, and holds its WAL, until the next start "
                   "goes on: weir slots list shows it, weir slots drop takes it away.");
}

static void say_how_long(const Core *core, Error *err)
{
    (void)error_wrap(err, "given up: none of %lld attempts in %lld s has got anywhere",
                     (long long)core->vain_attempts,
                     (long long)(core->gave_up_after_ms + 500) / 1000);
    hint_more(err, "What was delivered is kept, and the same command goes on from there. "
                   "--patience says how long it tries, 0: for ever.");
}

void runner_share(Runner *runner, size_t sharers)
{
    runner->sharers = sharers;
}

Status runner_run(Runner *runner, Error *err)
{
    run_loop(runner);
    close_states(runner);
    if (core_succeeded(&runner->core)) {
        return STATUS_OK;
    }
    if (runner->failure.message[0] == '\0') {
        return error_set(err, ERROR_CANCELLED, "interrupted before everything was delivered");
    }
    if (runner->core.gave_up_after_ms > 0) {
        say_how_long(&runner->core, &runner->failure);
    }
    note_failure(runner, &runner->failure);
    say_what_stays(runner, &runner->failure);
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

void runner_lend(Runner *runner, int64_t borrower)
{
    (void)pthread_mutex_lock(&runner->lock);
    runner->borrower = borrower;
    runner->borrower_goal = LSN_NONE;
    runner->lent_at_us = 0;
    runner->is_asked = runner->is_asked || borrower != 0;
    // While opening there is nothing to drain, only waiting to cut short. Under the lock: nobody is
    // to find that he was cancelled, and not why.
    bool is_news = borrower != 0 || runner->core.loan_until.lsn != LSN_NONE;
    if (is_news && atomic_load(&runner->is_opening)) {
        cancel_set(&runner->cancel);
    }
    (void)pthread_mutex_unlock(&runner->lock);
    wake_set(&runner->bell);
}

void runner_lend_at(Runner *runner, Lsn lsn)
{
    (void)pthread_mutex_lock(&runner->lock);
    runner->borrower_goal = lsn;
    runner->lent_to = 0;
    (void)pthread_mutex_unlock(&runner->lock);
    wake_set(&runner->bell);
}

bool runner_is_lent(Runner *runner)
{
    (void)pthread_mutex_lock(&runner->lock);
    bool is_lent = runner->borrower != 0 && runner->lent_to == runner->borrower;
    (void)pthread_mutex_unlock(&runner->lock);
    return is_lent;
}

bool runner_has_state(Runner *runner)
{
    return atomic_load(&runner->has_states);
}

bool runner_had_state(Runner *runner)
{
    return atomic_load(&runner->had_states);
}

void runner_route_stats(Runner *runner, size_t route, RouteStats *ret)
{
    assert(route < runner->branch_count);
    Branch *branch = &runner->branches[route];
    Meter *meter = &branch->meter;
    *ret = (RouteStats){
        .name = branch->target->name,
        .sink = branch->target->sink,
        .tables_total = atomic_load(&meter->tables_total),
        .tables_done = atomic_load(&meter->tables_done),
        .copy_rows = atomic_load(&meter->copy_rows),
        .copy_rows_estimate = atomic_load(&meter->copy_rows_estimate),
        .copy_bytes = atomic_load(&meter->copy_bytes),
        .changes = atomic_load(&meter->changes),
        .transactions = atomic_load(&meter->transactions),
        .bytes = atomic_load(&meter->bytes),
        .commits = atomic_load(&meter->commits),
        .delivered = atomic_load(&meter->delivered),
        .durable = atomic_load(&meter->durable),
        .dead_letters = atomic_load(&meter->dead_letters),
    };
    ret->activity = (Activity)atomic_load(&meter->activity);
    ret->activities = atomic_load(&meter->activities);
    ret->is_copying = atomic_load(&meter->is_copying);
    ret->is_indexing = atomic_load(&meter->copies_ending) > 0;
    ret->at_work = atomic_load(&meter->at_work);
    (void)pthread_mutex_lock(&runner->lock);
    ret->wanted = MIN(timeline_end(&runner->changes), (Lsn)atomic_load(&runner->received));
    (void)pthread_mutex_unlock(&runner->lock);
    int64_t waiting = atomic_load(&meter->waiting_us);
    ret->lag_ms = waiting == 0 ? 0 : MAX((clock_monotonic_us() - waiting) / 1000, (int64_t)0);
    (void)pthread_mutex_lock(&meter->name_lock);
    memcpy(ret->copy_table, meter->copy_table, sizeof(ret->copy_table));
    (void)pthread_mutex_unlock(&meter->name_lock);
}

// Copies add up. Of the stream it counts how far the slowest route is.
static void add_route(const RouteStats *route, bool is_first, RunnerStats *ret)
{
    bool is_known = route->copy_rows_estimate >= 0 && ret->copy_rows_estimate >= 0;
    ret->tables_total += route->tables_total;
    ret->tables_done += route->tables_done;
    ret->copy_rows += route->copy_rows;
    ret->copy_rows_estimate = is_known ? ret->copy_rows_estimate + route->copy_rows_estimate : -1;
    ret->copy_bytes += route->copy_bytes;
    ret->commits += route->commits;
    ret->lag_ms = MAX(ret->lag_ms, route->lag_ms);
    if (is_first || route->durable < ret->durable) {
        ret->durable = route->durable;
        ret->changes = route->changes;
        ret->transactions = route->transactions;
        ret->bytes = route->bytes;
    }
    if (is_first || route->copy_table[0] != '\0') {
        memcpy(ret->copy_table, route->copy_table, sizeof(ret->copy_table));
    }
}

void runner_stats(Runner *runner, RunnerStats *ret)
{
    *ret = (RunnerStats){
        .phase = (RunnerPhase)atomic_load(&runner->phase),
        .received = atomic_load(&runner->received),
        .is_full = atomic_load(&runner->is_full),
        .is_failing = atomic_load(&runner->is_failing),
    };
    for (size_t i = 0; i < runner->branch_count; i++) {
        RouteStats route;
        runner_route_stats(runner, i, &route);
        add_route(&route, i == 0, ret);
    }
    (void)pthread_mutex_lock(&runner->lock);
    ret->head = MAX((Lsn)atomic_load(&runner->head), timeline_end(&runner->heads));
    ret->confirmed = runner->core.confirmed.lsn;
    ret->retries = runner->core.restarts;
    ret->has_failed = runner->core.state == CORE_DONE && !core_succeeded(&runner->core);
    if (runner->core.state == CORE_WAITING) {
        ret->retry_in_ms = MAX(runner->core.retry_at_ms - clock_monotonic_ms(), (int64_t)0);
    }
    ret->lent_at_us = runner->lent_at_us;
    ret->lent_to = runner->lent_at_us == 0 ? 0 : runner->borrower;
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
    for (size_t i = 0; i < runner->branch_count; i++) {
        meter_done(&runner->branches[i].meter);
    }
    (void)pthread_mutex_destroy(&runner->lock);
    arena_done(&runner->arena);
    mem_free(runner);
}
