// The runner's decisions, event by event.
#include "pipeline/core.h"
#include "unit.h"

static Core core;

static void start(uint32_t routes, Lsn until)
{
    CoreOptions options = {.route_count = routes,
                           .has_until = until != 0,
                           .until = {until, 0},
                           .retry_ms_min = 100,
                           .retry_ms_max = 1000};
    core_init(&core, &options);
}

static void send(CoreEvent event)
{
    core_step(&core, &event);
}

static void opened(Lsn lsn)
{
    send((CoreEvent){.kind = CORE_OPENED, .position = {lsn, 0}});
}

static void sealed(Lsn lsn, uint64_t ordinal, bool ends)
{
    send((CoreEvent){.kind = CORE_SEALED, .position = {lsn, ordinal}, .ends_transaction = ends});
}

static void durable(uint32_t route, Lsn lsn)
{
    send((CoreEvent){.kind = CORE_DURABLE, .route = route, .position = {lsn, 0}});
}

static void failed(ErrorKind kind)
{
    send((CoreEvent){.kind = CORE_FAILED, .error = kind});
}

static void closed(int64_t now_ms)
{
    send((CoreEvent){.kind = CORE_CLOSED, .now_ms = now_ms});
}

static void stop(CoreStop how)
{
    send((CoreEvent){.kind = CORE_STOP, .stop = how});
}

static void lend(bool begins)
{
    send((CoreEvent){.kind = begins ? CORE_LEND : CORE_RETURN});
}

static void give_up(void)
{
    send((CoreEvent){.kind = CORE_GIVE_UP});
}

static void confirms_only_what_is_durable(void **context)
{
    (void)context;
    start(1, 0);
    opened(10);
    assert_int_equal(core.confirmed.lsn, 10);
    sealed(20, 0, true);
    assert_int_equal(core.confirmed.lsn, 10);
    durable(0, 20);
    assert_int_equal(core.confirmed.lsn, 20);
}

static void the_slowest_route_decides(void **context)
{
    (void)context;
    start(3, 0);
    opened(10);
    sealed(30, 0, true);
    durable(0, 30);
    durable(2, 30);
    assert_int_equal(core.confirmed.lsn, 10);
    durable(1, 20);
    assert_int_equal(core.confirmed.lsn, 20);
    durable(1, 30);
    assert_int_equal(core.confirmed.lsn, 30);
}

static void confirmed_never_goes_back(void **context)
{
    (void)context;
    start(1, 0);
    opened(10);
    sealed(50, 0, true);
    durable(0, 50);
    failed(ERROR_TRANSIENT);
    closed(0);
    send((CoreEvent){.kind = CORE_TICK, .now_ms = 100});
    opened(40); // a target that was restored from a backup
    assert_int_equal(core.confirmed.lsn, 50);
}

static void until_ends_well_only_when_durable(void **context)
{
    (void)context;
    start(1, 100);
    opened(10);
    sealed(120, 0, true);
    assert_int_equal(core.state, CORE_RUNNING);
    durable(0, 99);
    assert_int_equal(core.state, CORE_RUNNING);
    durable(0, 120);
    assert_int_equal(core.state, CORE_CLOSING);
    closed(0);
    assert_int_equal(core.state, CORE_DONE);
    assert_true(core_succeeded(&core));
}

static void until_that_is_there_already_ends_at_once(void **context)
{
    (void)context;
    start(1, 100);
    opened(100);
    assert_int_equal(core.state, CORE_CLOSING);
}

static void drain_waits_for_whole_transactions(void **context)
{
    (void)context;
    start(1, 0);
    opened(10);
    sealed(20, 0, true);
    sealed(30, 5, false); // a part of a large transaction: nothing will commit it
    stop(CORE_STOP_DRAIN);
    assert_true(core_is_draining(&core));
    assert_int_equal(core.state, CORE_RUNNING);
    durable(0, 20);
    assert_int_equal(core.state, CORE_CLOSING);
    closed(0);
    assert_true(core_succeeded(&core));
}

static void drain_before_until_is_no_success(void **context)
{
    (void)context;
    start(1, 100);
    opened(10);
    sealed(20, 0, true);
    stop(CORE_STOP_DRAIN);
    durable(0, 20);
    closed(0);
    assert_int_equal(core.state, CORE_DONE);
    assert_false(core_succeeded(&core));
}

static void transient_errors_are_retried_with_growing_pauses(void **context)
{
    (void)context;
    start(1, 0);
    int64_t now = 0;
    static const int64_t pauses[] = {100, 200, 400, 800, 1000, 1000};
    for (size_t i = 0; i < ARRAY_LEN(pauses); i++) {
        failed(ERROR_TRANSIENT);
        assert_int_equal(core.state, CORE_CLOSING);
        closed(now);
        assert_int_equal(core.state, CORE_WAITING);
        assert_int_equal(core.retry_at_ms, now + pauses[i]);
        send((CoreEvent){.kind = CORE_TICK, .now_ms = core.retry_at_ms - 1});
        assert_int_equal(core.state, CORE_WAITING);
        now = core.retry_at_ms;
        send((CoreEvent){.kind = CORE_TICK, .now_ms = now});
        assert_int_equal(core.state, CORE_OPENING);
    }
}

// Begin again at once; after so many times that it may be for ever, not so fast.
static void what_begins_again_for_ever_does_not_race(void **context)
{
    (void)context;
    start(1, 0);
    for (int64_t i = 1; i < 120; i++) {
        failed(ERROR_AGAIN);
        closed(1000 * i);
        assert_int_equal(core.retry_at_ms, 1000 * i + (i <= 100 ? 0 : 100));
        send((CoreEvent){.kind = CORE_TICK, .now_ms = core.retry_at_ms});
        assert_int_equal(core.state, CORE_OPENING);
    }
    opened(10);
    sealed(20, 0, true);
    durable(0, 20);
    failed(ERROR_AGAIN);
    closed(1000000);
    assert_int_equal(core.retry_at_ms, 1000000);
}

static void progress_makes_the_next_pause_short(void **context)
{
    (void)context;
    start(1, 0);
    failed(ERROR_TRANSIENT);
    closed(0);
    send((CoreEvent){.kind = CORE_TICK, .now_ms = 1000});
    opened(10);
    sealed(20, 0, true);
    durable(0, 20);
    failed(ERROR_TRANSIENT);
    closed(2000);
    assert_int_equal(core.retry_at_ms, 2100);
}

static void other_errors_stop(void **context)
{
    (void)context;
    static const ErrorKind kinds[] = {ERROR_DATA, ERROR_CONFIG, ERROR_FATAL, ERROR_CANCELLED};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        start(1, 0);
        opened(10);
        failed(kinds[i]);
        closed(0);
        assert_int_equal(core.state, CORE_DONE);
        assert_false(core_succeeded(&core));
        assert_int_equal(core.error, kinds[i]);
    }
}

static void the_first_error_counts(void **context)
{
    (void)context;
    start(2, 0);
    opened(10);
    failed(ERROR_CONFIG);
    failed(ERROR_TRANSIENT); // what the others say when they are stopped
    closed(0);
    assert_int_equal(core.state, CORE_DONE);
    assert_int_equal(core.error, ERROR_CONFIG);
}

static void a_commit_during_closing_still_counts(void **context)
{
    (void)context;
    start(2, 0);
    opened(10);
    sealed(20, 0, true);
    durable(0, 20);
    failed(ERROR_TRANSIENT);
    durable(1, 20);
    assert_int_equal(core.confirmed.lsn, 20);
}

static void stop_now_is_no_success(void **context)
{
    (void)context;
    start(1, 0);
    opened(10);
    stop(CORE_STOP_DRAIN);
    start(1, 0);
    opened(10);
    sealed(20, 0, true);
    stop(CORE_STOP_DRAIN);
    stop(CORE_STOP_NOW);
    assert_int_equal(core.state, CORE_CLOSING);
    closed(0);
    assert_false(core_succeeded(&core));
}

static void stop_while_waiting_ends_at_once(void **context)
{
    (void)context;
    start(1, 0);
    failed(ERROR_TRANSIENT);
    closed(0);
    stop(CORE_STOP_DRAIN);
    assert_int_equal(core.state, CORE_DONE);
    assert_true(core_succeeded(&core));
    start(1, 0);
    core.options.has_until = true;
    failed(ERROR_TRANSIENT);
    closed(0);
    stop(CORE_STOP_DRAIN);
    assert_false(core_succeeded(&core));
}

// While it connects or copies: nothing is lost, the next start continues. A service manager must
// not take that for a failure; a script that waits for an end must.
static void stop_while_opening_is_a_good_end_without_until(void **context)
{
    (void)context;
    start(1, 0);
    stop(CORE_STOP_DRAIN);
    assert_int_equal(core.state, CORE_CLOSING);
    failed(ERROR_CANCELLED);
    closed(0);
    assert_int_equal(core.state, CORE_DONE);
    assert_true(core_succeeded(&core));
    start(1, 0);
    core.options.has_until = true; // `now`, which the source has not told yet
    stop(CORE_STOP_DRAIN);
    closed(0);
    assert_false(core_succeeded(&core));
    start(1, 0);
    stop(CORE_STOP_DRAIN);
    stop(CORE_STOP_NOW);
    closed(0);
    assert_false(core_succeeded(&core));
}

static void each_route_continues_from_where_it_is(void **context)
{
    (void)context;
    start(2, 0);
    const Position routes[] = {{30, 0}, {10, 0}};
    send((CoreEvent){.kind = CORE_OPENED, .position = {10, 0}, .routes = routes});
    assert_int_equal(core.confirmed.lsn, 10);
    sealed(30, 0, true);
    durable(1, 20);
    assert_int_equal(core.confirmed.lsn, 20);
    stop(CORE_STOP_DRAIN);
    assert_int_equal(core.state, CORE_RUNNING);
    durable(1, 30); // the other one has it already
    assert_int_equal(core.confirmed.lsn, 30);
    assert_int_equal(core.state, CORE_CLOSING);
}

static void a_drain_that_cannot_go_on_is_given_up(void **context)
{
    (void)context;
    start(1, 0);
    opened(10);
    sealed(20, 0, true);
    give_up();
    assert_int_equal(core.state, CORE_RUNNING); // nobody asked to stop
    stop(CORE_STOP_DRAIN);
    assert_int_equal(core.state, CORE_RUNNING);
    give_up();
    assert_int_equal(core.state, CORE_CLOSING);
    closed(0);
    assert_int_equal(core.state, CORE_DONE);
    assert_int_equal(core.confirmed.lsn, 10);
    assert_true(core_succeeded(&core));
}

static void a_loan_begins_when_everything_is_delivered(void **context)
{
    (void)context;
    start(2, 0);
    opened(10);
    sealed(20, 0, true);
    lend(true);
    assert_true(core_is_draining(&core));
    durable(0, 20);
    assert_int_equal(core.state, CORE_RUNNING);
    durable(1, 20);
    assert_int_equal(core.state, CORE_CLOSING);
    assert_int_equal(core.confirmed.lsn, 20);
    closed(0);
    assert_int_equal(core.state, CORE_LENT);
    send((CoreEvent){.kind = CORE_TICK, .now_ms = 100000});
    assert_int_equal(core.state, CORE_LENT);
    lend(false);
    assert_int_equal(core.state, CORE_OPENING);
    opened(30); // the borrower was faster
    assert_false(core_is_draining(&core));
    assert_int_equal(core.state, CORE_RUNNING);
    assert_int_equal(core.retries + core.restarts, 0);
}

static void a_loan_that_is_not_wanted_any_more(void **context)
{
    (void)context;
    start(1, 0);
    opened(10);
    sealed(20, 0, true);
    lend(true);
    lend(false);
    assert_true(core_is_draining(&core)); // nothing more has been taken in since
    durable(0, 20);
    closed(0);
    assert_int_equal(core.state, CORE_OPENING);
    lend(true);
    assert_int_equal(core.state, CORE_CLOSING); // a copy is cut short
    closed(0);
    assert_int_equal(core.state, CORE_LENT);
}

static void a_loan_while_waiting_begins_at_once(void **context)
{
    (void)context;
    start(1, 0);
    failed(ERROR_TRANSIENT);
    closed(0);
    assert_int_equal(core.state, CORE_WAITING);
    lend(true);
    assert_int_equal(core.state, CORE_LENT);
    lend(false);
    assert_int_equal(core.state, CORE_OPENING);
}

static void an_error_while_a_loan_is_wanted(void **context)
{
    (void)context;
    start(1, 0);
    opened(10);
    lend(true);
    closed(0);
    assert_int_equal(core.state, CORE_LENT);
    lend(false);
    opened(10);
    sealed(20, 0, true);
    lend(true);
    failed(ERROR_TRANSIENT); // the borrower will meet it, if it does not pass
    closed(0);
    assert_int_equal(core.state, CORE_LENT);
    lend(false);
    opened(10);
    sealed(20, 0, true);
    lend(true);
    failed(ERROR_FATAL);
    closed(0);
    assert_int_equal(core.state, CORE_DONE);
    assert_false(core_succeeded(&core));
}

static void stop_while_lent_ends_at_once(void **context)
{
    (void)context;
    start(1, 0);
    opened(10);
    lend(true);
    closed(0);
    stop(CORE_STOP_DRAIN);
    assert_int_equal(core.state, CORE_DONE);
    assert_true(core_succeeded(&core));
    start(1, 0);
    opened(10);
    sealed(20, 0, true);
    lend(true);
    stop(CORE_STOP_DRAIN); // before it is
    durable(0, 20);
    closed(0);
    assert_int_equal(core.state, CORE_DONE);
    assert_true(core_succeeded(&core));
}

static void go(Lsn lsn)
{
    send((CoreEvent){.kind = CORE_GO, .position = {lsn, 0}});
}

static void a_borrower_may_have_it_brought_somewhere(void **context)
{
    (void)context;
    start(2, 0);
    opened(10);
    go(30); // it is not lent
    assert_int_equal(core.state, CORE_RUNNING);
    lend(true);
    closed(0);
    go(30);
    assert_int_equal(core.state, CORE_OPENING);
    opened(20);
    sealed(40, 0, true);
    failed(ERROR_TRANSIENT); // its target is down: the borrower waits
    closed(0);
    assert_int_equal(core.state, CORE_WAITING);
    send((CoreEvent){.kind = CORE_TICK, .now_ms = 100000});
    opened(20);
    sealed(40, 0, true);
    durable(0, 30);
    assert_int_equal(core.state, CORE_RUNNING);
    durable(1, 30);
    assert_int_equal(core.state, CORE_CLOSING);
    closed(0);
    assert_int_equal(core.state, CORE_LENT);
    lend(false);
    opened(30);
    sealed(40, 0, true);
    durable(0, 40);
    durable(1, 40);
    assert_int_equal(core.state, CORE_RUNNING);
}

static void a_borrower_that_goes_on_the_way(void **context)
{
    (void)context;
    start(1, 0);
    opened(10);
    lend(true);
    closed(0);
    go(30);
    lend(false); // while it opens
    assert_int_equal(core.state, CORE_CLOSING);
    closed(0);
    assert_int_equal(core.state, CORE_OPENING);
    assert_int_equal(core.loan_until.lsn, LSN_NONE);
    opened(10);
    lend(true);
    closed(0);
    go(30);
    failed(ERROR_TRANSIENT);
    closed(0);
    lend(false); // while it waits
    assert_int_equal(core.state, CORE_OPENING);
    opened(10);
    lend(true);
    closed(0);
    go(30);
    opened(10);
    sealed(20, 0, true);
    lend(false); // on the way
    lend(true);  // and another one comes
    durable(0, 20);
    closed(0);
    assert_int_equal(core.state, CORE_LENT);
    stop(CORE_STOP_DRAIN);
    assert_true(core_succeeded(&core));
}

static void an_end_that_is_reached_is_no_loan(void **context)
{
    (void)context;
    start(1, 20);
    opened(10);
    sealed(20, 0, true);
    lend(true);
    durable(0, 20);
    closed(0);
    assert_int_equal(core.state, CORE_DONE);
    assert_true(core_succeeded(&core));
}

// ---------------------------------------------------------------------------------------------
// Patience
// ---------------------------------------------------------------------------------------------

enum { PATIENCE_MS = 5000 };

static void start_patient(void)
{
    start(1, 1000);
    core.options.patience_ms = PATIENCE_MS;
}

// Opens after a pause, and fails; *now: when it has. False: it is not tried any more.
static bool attempt(int64_t *now, int64_t takes_ms, int64_t tables_left, int64_t rows_copied)
{
    send((CoreEvent){.kind = CORE_TICK, .now_ms = core.retry_at_ms});
    assert_int_equal(core.state, CORE_OPENING);
    *now = MAX(*now, core.retry_at_ms) + takes_ms;
    failed(ERROR_TRANSIENT);
    send((CoreEvent){.kind = CORE_CLOSED,
                     .now_ms = *now,
                     .tables_left = tables_left,
                     .rows_copied = rows_copied});
    return core.state == CORE_WAITING;
}

static void patience_ends_with_a_last_attempt(void **context)
{
    (void)context;
    start_patient();
    int64_t now = 7000;
    failed(ERROR_TRANSIENT);
    closed(now);
    int64_t attempts = 1;
    while (attempt(&now, 0, 0, 0)) {
        attempts++;
        assert_true(core.retry_at_ms <= 7000 + PATIENCE_MS);
    }
    assert_int_equal(now, 7000 + PATIENCE_MS);
    assert_int_equal(core.state, CORE_DONE);
    assert_int_equal(core.vain_attempts, attempts + 1);
    assert_int_equal(core.gave_up_after_ms, PATIENCE_MS);
    assert_false(core_succeeded(&core));
}

static void an_attempt_that_got_somewhere_renews_patience(void **context)
{
    (void)context;
    start_patient();
    int64_t now = 0;
    failed(ERROR_TRANSIENT);
    closed(now);
    // A copy that comes further each time, then tables that are done, one by one.
    for (int64_t rows = 1; rows < 9; rows++) {
        assert_true(attempt(&now, 3000, 5, rows));
    }
    for (int64_t left = 4; left > 0; left--) {
        assert_true(attempt(&now, 3000, left, 3));
    }
    // Something durable.
    send((CoreEvent){.kind = CORE_TICK, .now_ms = core.retry_at_ms});
    opened(10);
    sealed(20, 0, true);
    durable(0, 20);
    failed(ERROR_TRANSIENT);
    send((CoreEvent){.kind = CORE_CLOSED, .now_ms = now + 3000, .tables_left = 1});
    assert_int_equal(core.vain_attempts, 0);
    // And one that comes no further, however many rows it copies again.
    now = core.retry_at_ms;
    assert_true(attempt(&now, 3000, 1, 3));
    assert_true(attempt(&now, 3000, 1, 2));
    assert_false(attempt(&now, 3000, 1, 3));
}

static void who_waits_for_others_is_patient_while_they_get_on(void **context)
{
    (void)context;
    start_patient();
    failed(ERROR_TRANSIENT);
    closed(0);
    int64_t now = 0;
    for (int64_t others = 1; others < 20; others++) {
        send((CoreEvent){.kind = CORE_TICK, .now_ms = core.retry_at_ms});
        now = core.retry_at_ms + 2000;
        failed(ERROR_TRANSIENT);
        send((CoreEvent){.kind = CORE_CLOSED, .now_ms = now, .others = others});
        assert_int_equal(core.state, CORE_WAITING);
        assert_int_equal(core.vain_attempts, 0);
    }
    while (core.state == CORE_WAITING) {
        send((CoreEvent){.kind = CORE_TICK, .now_ms = core.retry_at_ms});
        now = core.retry_at_ms;
        failed(ERROR_TRANSIENT);
        send((CoreEvent){.kind = CORE_CLOSED, .now_ms = now, .others = 19});
    }
    assert_int_equal(core.gave_up_after_ms, PATIENCE_MS);
}

static void a_long_attempt_is_not_counted_before_it_ends(void **context)
{
    (void)context;
    start_patient();
    int64_t now = 0;
    failed(ERROR_TRANSIENT);
    closed(60000); // a server that answers nothing
    now = 60000;
    assert_true(attempt(&now, 1000, 0, 0));
}

static void attempts_that_take_long_are_three(void **context)
{
    (void)context;
    start_patient();
    int64_t now = 0;
    failed(ERROR_TRANSIENT);
    closed(now);
    assert_true(attempt(&now, (int64_t)10 * PATIENCE_MS, 0, 0));
    assert_true(core.retry_at_ms > now); // no less of a pause for being late
    assert_false(attempt(&now, 0, 0, 0));
}

static void without_patience_it_is_tried_for_ever(void **context)
{
    (void)context;
    start_patient();
    core.options.patience_ms = 0;
    int64_t now = 0;
    failed(ERROR_TRANSIENT);
    closed(now);
    for (int i = 0; i < 1000; i++) {
        assert_true(attempt(&now, 1000, 0, 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(confirms_only_what_is_durable),
        cmocka_unit_test(the_slowest_route_decides),
        cmocka_unit_test(confirmed_never_goes_back),
        cmocka_unit_test(until_ends_well_only_when_durable),
        cmocka_unit_test(until_that_is_there_already_ends_at_once),
        cmocka_unit_test(drain_waits_for_whole_transactions),
        cmocka_unit_test(drain_before_until_is_no_success),
        cmocka_unit_test(transient_errors_are_retried_with_growing_pauses),
        cmocka_unit_test(what_begins_again_for_ever_does_not_race),
        cmocka_unit_test(progress_makes_the_next_pause_short),
        cmocka_unit_test(other_errors_stop),
        cmocka_unit_test(the_first_error_counts),
        cmocka_unit_test(a_commit_during_closing_still_counts),
        cmocka_unit_test(stop_now_is_no_success),
        cmocka_unit_test(stop_while_waiting_ends_at_once),
        cmocka_unit_test(stop_while_opening_is_a_good_end_without_until),
        cmocka_unit_test(each_route_continues_from_where_it_is),
        cmocka_unit_test(a_drain_that_cannot_go_on_is_given_up),
        cmocka_unit_test(a_loan_begins_when_everything_is_delivered),
        cmocka_unit_test(a_loan_that_is_not_wanted_any_more),
        cmocka_unit_test(a_loan_while_waiting_begins_at_once),
        cmocka_unit_test(an_error_while_a_loan_is_wanted),
        cmocka_unit_test(stop_while_lent_ends_at_once),
        cmocka_unit_test(a_borrower_may_have_it_brought_somewhere),
        cmocka_unit_test(a_borrower_that_goes_on_the_way),
        cmocka_unit_test(an_end_that_is_reached_is_no_loan),
        cmocka_unit_test(patience_ends_with_a_last_attempt),
        cmocka_unit_test(an_attempt_that_got_somewhere_renews_patience),
        cmocka_unit_test(who_waits_for_others_is_patient_while_they_get_on),
        cmocka_unit_test(a_long_attempt_is_not_counted_before_it_ends),
        cmocka_unit_test(attempts_that_take_long_are_three),
        cmocka_unit_test(without_patience_it_is_tried_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
