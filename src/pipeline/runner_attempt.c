// Opening an attempt: both ends, copies, where the stream and each route continue.

#include "base/crash_point.h"
#include "pipeline/merge.h"
#include "pipeline/runner_inner.h"

enum {
    LOOK_POLL_MS = 50,
    // Where patience has an end, so has a wait: whether others get on is seen between attempts.
    WAITS_IN_PATIENCE = 4,
};

static Status find_now(Runner *runner, Error *err)
{
    atomic_uint_fast64_t *shared = runner->pipeline->shared_now;
    uint_fast64_t known = shared == NULL ? LSN_NONE : atomic_load(shared);
    if (known == LSN_NONE) {
        Lsn now;
        if (runner->source->ops->now(runner->source, &now, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        known = LSN_NONE;
        bool is_first = shared == NULL || atomic_compare_exchange_strong(shared, &known, now);
        known = is_first ? now : known;
    }
    runner->until.lsn = known;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Before anything is made
// ---------------------------------------------------------------------------------------------

static StateOwner owner_of(const Branch *branch)
{
    return pipeline_route_owner(branch->runner->pipeline, branch->target, branch->key);
}

static Status is_first_start(const Runner *runner, bool *ret, Error *err)
{
    *ret = true;
    for (size_t i = 0; i < runner->branch_count; i++) {
        StateOwner owner = owner_of(&runner->branches[i]);
        bool is_owned;
        if (state_look(&owner, &is_owned, NULL, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        *ret = *ret && !is_owned;
    }
    return STATUS_OK;
}

static Status wait_for_look(const Runner *runner, const PipelineParts *parts, Error *err)
{
    const Cancel *cancel = &runner->cancel;
    while (!atomic_load(&parts->is_looked_at)) {
        if (cancel_is_set(cancel)) {
            return error_set(err, ERROR_CANCELLED, "cancelled");
        }
        cancel_wait(cancel, LOOK_POLL_MS);
    }
    return STATUS_OK;
}

static bool is_for_loan(const Runner *runner)
{
    return runner->loan_until.lsn != LSN_NONE;
}

static Position end_of(const Runner *runner)
{
    return is_for_loan(runner) ? runner->loan_until : runner->until;
}

static SourceContext source_context(Runner *runner)
{
    const Pipeline *pipeline = runner->pipeline;
    const State *state = runner->branches[0].state; // NULL: not yet, or never
    return (SourceContext){
        .pipeline = pipeline->name.ptr,
        .cancel = &runner->cancel,
        .copy_only = pipeline->until == UNTIL_COPY,
        .keeps_tables = pipeline->keeps_tables,
        .until = end_of(runner).lsn,
        .sharers = runner->sharers,
        .directory = state == NULL ? NULL : state_path(state),
        .subject = pipeline->source_subject,
        .called = pipeline_source_called(pipeline),
        .notice = {log_notice, &runner->scope},
        .watch = {runner_see, runner},
    };
}

static Status connect_source(Runner *runner, const SourceContext *context, Error *err)
{
    const Pipeline *pipeline = runner->pipeline;
    Status status =
        source_new(pipeline->source, pipeline->source_settings, context, &runner->source, err);
    return status == STATUS_OK && runner->source->ops->open(runner->source, err) == STATUS_OK
               ? STATUS_OK
               : error_wrap(err, "%s", pipeline_source_called(pipeline));
}

// What the source tells while it is looked at, it tells again.
static Status look(Runner *runner, Error *err)
{
    SourceContext context = source_context(runner);
    context.notice = (Notice){0};
    const Pipeline *pipeline = runner->pipeline;
    const Pipeline *whole = pipeline->parts == NULL ? pipeline : pipeline->parts->whole;
    return connect_source(runner, &context, err) == STATUS_OK
               ? runner_look(whole, runner->source, &runner->cancel, err)
               : STATUS_FAIL;
}

// A first start that is to be refused leaves no slot, no publication and no state behind. Later
// ones have something to continue from, which says more.
static Status look_first(Runner *runner, Error *err)
{
    const Pipeline *pipeline = runner->pipeline;
    PipelineParts *parts = pipeline->parts;
    bool is_first;
    if (parts != NULL && !pipeline->routes[0].sink->takes_all) {
        return wait_for_look(runner, parts, err);
    }
    if (is_first_start(runner, &is_first, err) != STATUS_OK ||
        (is_first && pipeline->source->check != NULL && look(runner, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    if (parts != NULL) {
        atomic_store(&parts->is_looked_at, true);
    }
    return STATUS_OK;
}

// Who had it on loan may not be quite gone, or somebody else was faster: that passes.
static Status open_state(Branch *branch, Error *err)
{
    StateOwner owner = owner_of(branch);
    owner.may_wait = branch->runner->was_lent;
    return state_open(&owner, &branch->state, err);
}

static Status open_states(Runner *runner, Error *err)
{
    if (runner->has_states || runner->pipeline->until == UNTIL_COPY) {
        return STATUS_OK;
    }
    if (look_first(runner, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < runner->branch_count; i++) {
        Branch *branch = &runner->branches[i];
        if (branch->state == NULL && open_state(branch, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (branch->dead == NULL && branch->target->sink->try_write != NULL) {
            branch->dead = dead_new(state_path(branch->state),
                                    runner->pipeline->on_error == ON_ERROR_DEAD_LETTER,
                                    branch->target->sink, (Notice){log_notice, &branch->scope});
        }
    }
    runner->was_lent = false;
    atomic_store(&runner->has_states, true);
    atomic_store(&runner->had_states, true);
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Opening
// ---------------------------------------------------------------------------------------------

Status branch_failed(const Branch *branch, Error *err)
{
    Str name = branch->target->name;
    bool is_clear = branch->runner->branch_count == 1 || err->kind == ERROR_CANCELLED;
    return is_clear || name.len == 0 ? STATUS_FAIL
                                     : error_wrap(err, "route \"%" STR_FMT "\"", STR_ARG(name));
}

static Status sink_failed(const Branch *branch, Error *err)
{
    (void)error_wrap(err, "%s", pipeline_route_called(branch->target));
    return branch_failed(branch, err);
}

static Status open_source(Runner *runner, Error *err)
{
    const Pipeline *pipeline = runner->pipeline;
    const SourceContext context = source_context(runner);
    if (runner->source == NULL && connect_source(runner, &context, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    runner->source->context = context; // which had no state when it was looked at
    bool first = end_of(runner).lsn == LSN_NONE;
    return pipeline->until == UNTIL_NOW && first ? find_now(runner, err) : STATUS_OK;
}

static Status open_branch(Branch *branch, Error *err)
{
    Runner *runner = branch->runner;
    const Pipeline *pipeline = runner->pipeline;
    bool copy_only = pipeline->until == UNTIL_COPY;
    RouteOptions options = {
        .source = runner->source,
        .sink =
            {
                .ops = branch->target->sink,
                .settings = branch->target->settings,
                .context = {.pipeline = branch->key.ptr,
                            .cancel = &runner->cancel,
                            .sharers = runner->sharers,
                            .source_mark = runner->source->mark,
                            .subject = branch->target->subject,
                            .notice = {log_notice, &branch->scope},
                            .at_work = meter_note_work,
                            .moves = meter_note_move,
                            .at_work_context = &branch->meter,
                            .waits = runner_note_wait,
                            .waits_context = branch,
                            .wait_ms = runner->core.options.patience_ms / WAITS_IN_PATIENCE},
            },
        .state = copy_only ? NULL : branch->state,
        .dead = branch->dead,
        .copies = copy_only || runner->source->copies,
        .keeps_tables = pipeline->keeps_tables,
        .persistent = !copy_only,
        .lanes = (size_t)MAX(pipeline->jobs, (int64_t)1),
        .until = end_of(runner),
        .stops_there = pipeline->stops_there || is_for_loan(runner),
        .cancel = &runner->cancel,
        .meter = &branch->meter,
    };
    if (route_open(&options, &branch->route, err) != STATUS_OK) {
        return sink_failed(branch, err);
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Where to continue
// ---------------------------------------------------------------------------------------------

static const CheckpointEntry *stored(const Branch *branch, Str key)
{
    return checkpoint_get(route_checkpoint(branch->route), key);
}

static Status merge_checkpoints(const Runner *runner, Checkpoint *ret, Error *err)
{
    Arena scratch = {0};
    StoredRoute *routes = ARENA_ARRAY(&scratch, StoredRoute, runner->branch_count);
    for (size_t i = 0; i < runner->branch_count; i++) {
        const Branch *branch = &runner->branches[i];
        routes[i] = (StoredRoute){branch->key, route_checkpoint(branch->route)};
    }
    Status status = checkpoint_merge(routes, runner->branch_count, ret, err);
    arena_done(&scratch);
    return status;
}

static void copy_entry(const Checkpoint *from, Str key, Checkpoint *to)
{
    const CheckpointEntry *entry = checkpoint_get(from, key);
    if (entry != NULL) {
        checkpoint_set(to, key, entry->value);
    }
}

// What the source wants to be stored; and for a new route, where it starts.
static Status store_start(Branch *branch, const Checkpoint *merged, const Checkpoint *changed,
                          Position start, Error *err)
{
    Checkpoint own = {0};
    bool is_new = stored(branch, CHECKPOINT_POSITION) == NULL;
    if (is_new) {
        copy_entry(merged, CHECKPOINT_POSITION, &own);
        copy_entry(merged, CHECKPOINT_SOURCE, &own);
        copy_entry(merged, CHECKPOINT_TIMELINE, &own);
        copy_entry(merged, CHECKPOINT_PUBLICATION, &own);
        copy_entry(merged, CHECKPOINT_PUBLICATION_NAME, &own);
    }
    for (size_t i = 0; i < changed->count; i++) {
        checkpoint_set(&own, changed->entries[i].key, changed->entries[i].value);
    }
    branch->start = is_new ? start : route_durable(branch->route);
    branch->runner->has_begun = branch->runner->has_begun || is_new;
    CRASH_POINT("start-begins");
    Status status = state_own(branch->state, err);
    CRASH_POINT("start-owned");
    if (status == STATUS_OK) {
        status = route_store(branch->route, &own, err);
    }
    CRASH_POINT("start-stored");
    checkpoint_done(&own);
    return status;
}

static Status check_begun(const Runner *runner, Error *err)
{
    const Pipeline *pipeline = runner->pipeline;
    for (size_t i = 0; pipeline->keeps_tables && i < runner->branch_count; i++) {
        if (stored(&runner->branches[i], CHECKPOINT_POSITION) == NULL) {
            return pipeline_never_run(pipeline, &pipeline->routes[i], err);
        }
    }
    return STATUS_OK;
}

static Status resume(Runner *runner, Checkpoint *merged, Checkpoint *changed, Position *ret_start,
                     Error *err)
{
    Source *source = runner->source;
    if (runner->pipeline->until == UNTIL_COPY) {
        return source->ops->resume(source, merged, changed, err);
    }
    if (check_begun(runner, err) != STATUS_OK ||
        merge_checkpoints(runner, merged, err) != STATUS_OK ||
        source->ops->resume(source, merged, changed, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const CheckpointEntry *entry = checkpoint_get(changed, CHECKPOINT_POSITION);
    entry = entry != NULL ? entry : checkpoint_get(merged, CHECKPOINT_POSITION);
    if (entry == NULL || !position_parse(entry->value, ret_start)) {
        return error_set(err, ERROR_FATAL, "the source's position is damaged");
    }
    for (size_t i = 0; i < runner->branch_count; i++) {
        Branch *branch = &runner->branches[i];
        if (store_start(branch, merged, changed, *ret_start, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Copies
// ---------------------------------------------------------------------------------------------

typedef struct BranchCopy {
    Branch *branch;
    const SourceTables *tables;
    pthread_t thread;
} BranchCopy;

static void *copy_main(void *argument)
{
    BranchCopy *copy = argument;
    Branch *branch = copy->branch;
    branch->status = route_copy(branch->route, copy->tables, &branch->error);
    if (branch->status != STATUS_OK) {
        // The others would only copy what the next attempt copies again.
        cancel_set(&branch->runner->cancel);
    }
    return NULL;
}

// The first failure that is not only the echo of another one.
static Status copy_failure(const Runner *runner, Error *err)
{
    const Branch *failed = NULL;
    for (size_t i = 0; i < runner->branch_count; i++) {
        const Branch *branch = &runner->branches[i];
        bool better = branch->status != STATUS_OK &&
                      (failed == NULL || failed->error.kind == ERROR_CANCELLED);
        failed = better ? branch : failed;
    }
    if (failed == NULL) {
        return STATUS_OK;
    }
    *err = failed->error;
    return branch_failed(failed, err);
}

static Status copy_branches(Runner *runner, const SourceTables *tables, Error *err)
{
    if (runner->branch_count == 1) {
        return route_copy(runner->branches[0].route, tables, err);
    }
    Arena scratch = {0};
    BranchCopy *copies = ARENA_ARRAY(&scratch, BranchCopy, runner->branch_count);
    int code = 0;
    size_t started = 0;
    while (code == 0 && started < runner->branch_count) {
        BranchCopy *copy = &copies[started];
        *copy = (BranchCopy){.branch = &runner->branches[started], .tables = tables};
        copy->branch->status = STATUS_OK;
        code = pthread_create(&copy->thread, NULL, copy_main, copy);
        started += code == 0 ? 1 : 0;
    }
    if (code != 0) {
        cancel_set(&runner->cancel);
    }
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(copies[i].thread, NULL);
    }
    arena_done(&scratch);
    return code == 0 ? copy_failure(runner, err)
                     : error_set_errno(err, ERROR_TRANSIENT, code, "start a thread");
}

// ---------------------------------------------------------------------------------------------
// Both ends
// ---------------------------------------------------------------------------------------------

static Status retry_dead(Runner *runner, Error *err)
{
    for (size_t i = 0; i < runner->branch_count; i++) {
        if (route_retry_dead(runner->branches[i].route, err) != STATUS_OK) {
            return sink_failed(&runner->branches[i], err);
        }
    }
    return STATUS_OK;
}

// The policy is said to be that nothing is set aside, and what comes for these rows is.
static void warn_of_letters(Branch *branch)
{
    const Pipeline *pipeline = branch->runner->pipeline;
    int64_t letters = branch->dead == NULL ? 0 : dead_count(branch->dead);
    // The run that a verification begins with has said so.
    bool is_said = branch->has_warned || pipeline->stops_there;
    if (is_said || letters == 0 || pipeline->on_error == ON_ERROR_DEAD_LETTER) {
        return;
    }
    char hint[512];
    (void)snprintf(hint, sizeof(hint),
                   "weir dead list %" STR_FMT " shows them; weir dead retry has them tried again, "
                   "weir dead drop throws them away",
                   STR_ARG(branch->key));
    log_warn(&branch->scope,
             "dead letters are left: later changes of their rows wait behind them, and are not "
             "written",
             LOG_INT("letters", letters), LOG_MESSAGE("hint", hint));
    branch->has_warned = true;
}

Status runner_open(Runner *runner, Position *ret_start, Error *err)
{
    runner_set_phase(runner, PHASE_STARTING);
    if (open_states(runner, err) != STATUS_OK || open_source(runner, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < runner->branch_count; i++) {
        if (open_branch(&runner->branches[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    Source *source = runner->source;
    Checkpoint merged = {0};
    Checkpoint changed = {0};
    Status status = resume(runner, &merged, &changed, ret_start, err);
    checkpoint_done(&merged);
    checkpoint_done(&changed);
    const SourceTables *tables;
    if (status != STATUS_OK || source->ops->tables(source, &tables, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    runner_set_phase(runner, PHASE_COPYING);
    if (copy_branches(runner, tables, err) != STATUS_OK || retry_dead(runner, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < runner->branch_count; i++) {
        warn_of_letters(&runner->branches[i]);
    }
    return STATUS_OK;
}

void runner_close(Runner *runner)
{
    for (size_t i = 0; i < runner->branch_count; i++) {
        route_close(runner->branches[i].route);
        runner->branches[i].route = NULL;
    }
    if (runner->source != NULL && runner->pipeline->until != UNTIL_COPY) {
        runner->source->ops->confirm(runner->source, runner_view(runner).confirmed);
    }
    source_free(runner->source);
    runner->source = NULL;
}
