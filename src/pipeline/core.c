#include "pipeline/core.h"

#include <assert.h>

enum {
    VAIN_ATTEMPTS_MIN = 3,
    AT_ONCE_MAX = 100, // each may have found one more change that the target refuses
};

void core_init(Core *core, const CoreOptions *options)
{
    assert(options->route_count >= 1);
    assert(options->route_count <= LIMIT_ROUTES);
    assert(options->retry_ms_min > 0);
    *core = (Core){.options = *options, .state = CORE_OPENING};
}

static Position slowest(const Core *core)
{
    Position least = core->durable[0];
    for (uint32_t i = 1; i < core->options.route_count; i++) {
        least = position_min(least, core->durable[i]);
    }
    return least;
}

static bool has_reached(const Core *core, Position until)
{
    return until.lsn != LSN_NONE && position_compare(slowest(core), until) >= 0;
}

static bool until_reached(const Core *core)
{
    return has_reached(core, core->options.until);
}

// An attempt that was asked for by a borrower has its own end, and no other.
static bool end_reached(const Core *core)
{
    return core->loan_until.lsn != LSN_NONE ? has_reached(core, core->loan_until)
                                            : until_reached(core);
}

static bool drained(const Core *core)
{
    return (core->stop == CORE_STOP_DRAIN || core->is_cut_short) &&
           position_compare(slowest(core), core->received) >= 0;
}

// Acknowledge last: only what every route has made durable, and never backwards.
static void advance(Core *core)
{
    core->confirmed = position_max(core->confirmed, slowest(core));
    if (core->state == CORE_RUNNING && (end_reached(core) || drained(core))) {
        core->finished = true;
        core->state = CORE_CLOSING;
    }
}

static void on_opened(Core *core, const CoreEvent *event)
{
    assert(core->state == CORE_OPENING);
    core->state = CORE_RUNNING;
    core->received = event->position;
    for (uint32_t i = 0; i < core->options.route_count; i++) {
        core->durable[i] = event->routes == NULL ? event->position : event->routes[i];
        assert(position_compare(core->durable[i], event->position) >= 0);
    }
    advance(core);
}

static void on_sealed(Core *core, const CoreEvent *event)
{
    if (core->state == CORE_RUNNING && event->ends_transaction) {
        assert(position_compare(event->position, core->received) >= 0);
        core->received = event->position;
    }
}

static void on_durable(Core *core, const CoreEvent *event)
{
    assert(event->route < core->options.route_count);
    // A commit that returns while the others are already being stopped is still a fact.
    if (core->state != CORE_RUNNING && core->state != CORE_CLOSING) {
        return;
    }
    assert(position_compare(event->position, core->durable[event->route]) >= 0);
    core->progressed = true;
    core->durable[event->route] = event->position;
    advance(core);
}

static void on_failed(Core *core, const CoreEvent *event)
{
    bool first = !core->failed && !core->finished;
    bool running = core->state == CORE_OPENING || core->state == CORE_RUNNING;
    if (running && first) {
        core->failed = true;
        core->error = event->error;
        core->state = CORE_CLOSING;
    }
}

// Both ends are closed. When the loan was taken back before it began, the next attempt is at once.
static void lend(Core *core)
{
    core->is_cut_short = false;
    core->loan_until = (Position){0};
    core->failed = false;
    core->finished = false;
    core->progressed = false;
    core->retries = 0;
    core->vain_attempts = 0;
    core->state = core->is_lending ? CORE_LENT : CORE_OPENING;
}

static int64_t retry_delay(const Core *core)
{
    int64_t delay = core->options.retry_ms_min;
    for (int64_t i = 0; i < core->retries && delay < core->options.retry_ms_max; i++) {
        delay *= 2;
    }
    return delay < core->options.retry_ms_max ? delay : core->options.retry_ms_max;
}

// The attempt has ended for a loan, or of what passes while one was wanted. What does not pass is
// told before anybody else meets it, and so is the end of a run.
static bool ends_for_loan(const Core *core)
{
    bool passes = core->error == ERROR_TRANSIENT || core->error == ERROR_AGAIN ||
                  core->error == ERROR_CANCELLED;
    bool is_there = core->loan_until.lsn != LSN_NONE && core->finished;
    bool is_cut = core->is_cut_short && (core->failed ? passes : !until_reached(core));
    return core->stop == CORE_STOP_NONE && (is_there || is_cut);
}

// Neither did anything become durable, nor was a table copied whole, nor came a copy further.
static bool was_in_vain(Core *core, const CoreEvent *event)
{
    bool is_other = event->tables_left != core->tables_left;
    bool is_further = is_other || event->rows_copied > core->rows_copied;
    if (is_further) {
        core->tables_left = event->tables_left;
        core->rows_copied = event->rows_copied;
    }
    bool others_get_on = event->others != core->others;
    core->others = event->others;
    return !core->progressed && !is_further && !others_get_on;
}

static void note_attempt(Core *core, const CoreEvent *event)
{
    bool in_vain = was_in_vain(core, event);
    if (in_vain && core->vain_attempts == 0) {
        core->vain_since_ms = event->now_ms;
    }
    core->vain_attempts = in_vain ? core->vain_attempts + 1 : 0;
}

// An attempt may take longer than all patience; two that failed are not yet a rule.
static bool is_out_of_patience(const Core *core, int64_t now_ms)
{
    return core->options.patience_ms > 0 && core->vain_attempts >= VAIN_ATTEMPTS_MIN &&
           now_ms - core->vain_since_ms >= core->options.patience_ms;
}

// With the last try when patience ends, not before.
static int64_t retry_at(const Core *core, int64_t now_ms)
{
    int64_t at = now_ms + retry_delay(core);
    bool has_end = core->options.patience_ms > 0 && core->vain_attempts > 0;
    int64_t end = core->vain_since_ms + core->options.patience_ms;
    return has_end && end > now_ms && end < at ? end : at;
}

// Only what passes is worth another try, and only when nobody has asked to stop.
static void on_closed(Core *core, const CoreEvent *event)
{
    assert(core->state == CORE_CLOSING);
    if (ends_for_loan(core)) {
        lend(core);
        return;
    }
    bool may_retry = core->error == ERROR_TRANSIENT || core->error == ERROR_AGAIN;
    bool retry =
        core->failed && may_retry && core->stop == CORE_STOP_NONE && !core->options.never_retries;
    if (!retry) {
        core->state = CORE_DONE;
        return;
    }
    core->retries = core->progressed ? 0 : core->retries;
    core->at_once = core->progressed || core->error != ERROR_AGAIN ? 0 : core->at_once + 1;
    core->retry_at_ms = event->now_ms;
    if (core->at_once > AT_ONCE_MAX) {
        core->retry_at_ms += core->options.retry_ms_min; // it may go round in a circle
    }
    if (core->error == ERROR_TRANSIENT) {
        note_attempt(core, event);
        if (is_out_of_patience(core, event->now_ms)) {
            core->gave_up_after_ms = event->now_ms - core->vain_since_ms;
            core->state = CORE_DONE;
            return;
        }
        core->retry_at_ms = retry_at(core, event->now_ms);
        core->retries++;
    }
    core->restarts++;
    core->progressed = false;
    core->failed = false;
    core->state = CORE_WAITING;
}

static void cut_short(Core *core)
{
    core->failed = true;
    core->error = ERROR_CANCELLED;
    core->state = CORE_CLOSING;
}

static void on_stop(Core *core, const CoreEvent *event)
{
    if (event->stop <= core->stop) {
        return;
    }
    core->stop = event->stop;
    if (core->state == CORE_WAITING || core->state == CORE_LENT) {
        // Nothing is open: there is nothing to drain, and nothing unconfirmed that was promised.
        core->state = CORE_DONE;
        core->finished = event->stop == CORE_STOP_DRAIN;
    } else if (core->stop == CORE_STOP_NOW && core->state != CORE_DONE) {
        core->failed = core->failed || !core->finished;
        core->error = ERROR_CANCELLED;
        core->state = CORE_CLOSING;
    } else if (core->state == CORE_OPENING) {
        cut_short(core); // the copy is interrupted: it continues with the next start
    } else {
        advance(core);
    }
}

static void end_for_loan(Core *core)
{
    core->is_cut_short = true;
    if (core->state == CORE_OPENING) {
        cut_short(core); // the copy is interrupted: it continues afterwards
    } else {
        advance(core);
    }
}

static void on_lend(Core *core)
{
    if (core->stop != CORE_STOP_NONE || core->state == CORE_DONE) {
        return; // the end gives up both ends, too
    }
    core->is_lending = true;
    if (core->state == CORE_WAITING) {
        lend(core);
    } else if (core->state != CORE_LENT) {
        end_for_loan(core); // also what another borrower has asked for
    }
}

static void on_go(Core *core, const CoreEvent *event)
{
    if (core->state == CORE_LENT) {
        core->loan_until = event->position;
        core->state = CORE_OPENING;
    }
}

static void on_return(Core *core)
{
    bool is_for_loan = core->loan_until.lsn != LSN_NONE;
    core->is_lending = false;
    if (core->state == CORE_LENT || (core->state == CORE_WAITING && is_for_loan)) {
        lend(core);
    } else if (is_for_loan && core->state != CORE_DONE) {
        end_for_loan(core);
    }
}

// What was not delivered is not confirmed either, and comes again with the next start.
static void on_give_up(Core *core)
{
    if (core->state == CORE_RUNNING && core_is_draining(core)) {
        cut_short(core);
    }
}

static void on_tick(Core *core, const CoreEvent *event)
{
    if (core->state == CORE_WAITING && event->now_ms >= core->retry_at_ms) {
        core->state = CORE_OPENING;
    }
}

void core_step(Core *core, const CoreEvent *event)
{
    switch (event->kind) {
    case CORE_OPENED:
        on_opened(core, event);
        break;
    case CORE_SEALED:
        on_sealed(core, event);
        break;
    case CORE_DURABLE:
        on_durable(core, event);
        break;
    case CORE_FAILED:
        on_failed(core, event);
        break;
    case CORE_CLOSED:
        on_closed(core, event);
        break;
    case CORE_STOP:
        on_stop(core, event);
        break;
    case CORE_LEND:
        on_lend(core);
        break;
    case CORE_GO:
        on_go(core, event);
        break;
    case CORE_RETURN:
        on_return(core);
        break;
    case CORE_GIVE_UP:
        on_give_up(core);
        break;
    case CORE_TICK:
        on_tick(core, event);
        break;
    }
}

bool core_is_draining(const Core *core)
{
    return core->stop != CORE_STOP_NONE || core->is_cut_short || core->state == CORE_CLOSING;
}

bool core_succeeded(const Core *core)
{
    bool cut_short =
        core->failed && core->error == ERROR_CANCELLED && core->stop == CORE_STOP_DRAIN;
    bool ended_well = core->state == CORE_DONE && (cut_short || (core->finished && !core->failed));
    // A stop is a good end, but not of a run that was to reach something and has not.
    return ended_well && (!core->options.has_until || until_reached(core));
}
