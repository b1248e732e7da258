// One schedule: a history, processes that live and die, and what must be true at the end.
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>

#include "base/mem.h"
#include "buffers/disk.h"
#include "sim.h"

enum {
    STEPS_MAX = 60000,        // of a schedule, faults and all
    STEPS_TO_END_MAX = 20000, // from the last fault to the end
    STEPS_TO_ROW = 4000,      // until a table that lost its name gets another row
    CLOSES_MAX = 4,
};

// How long a call may go on after the attempt has failed: far longer than the threads need to hear
// of it, far shorter than the longest calls.
#define CANCEL_US 300000000

bool sim_tracing;
Seen sim_seen;

static uint64_t random_state;
static char failure[512];
static jmp_buf out;
static int64_t step_number;

// What this schedule is like.
typedef struct Plan {
    uint32_t actions; // left at the source
    uint32_t act_permille;
    uint32_t fault_permille;
    uint32_t faults;  // left
    uint32_t crashes; // left
    uint32_t stops;   // left
    uint32_t loans;   // left
    int64_t crash_at; // step
    int64_t stop_at;
    int64_t loan_at;  // one begins, or ends
    uint32_t step_us; // a step takes up to
    uint32_t stall_permille;
    uint32_t heaviest;      // bytes that a batch claims to have
    uint32_t ask_permille;  // the user looks after dead letters
    uint32_t drop_permille; // and throws each away
    bool is_ending;         // nothing happens or fails any more
    int64_t ends_from;
    int64_t closed_at; // step of the last row of each table
    uint32_t closes;
} Plan;

static Plan plan;

// The process that is alive. With a buffer it has a pipeline more than routes.
typedef struct Life {
    Runner *runners[TARGETS + 1]; // NULL: ended
    size_t runner_count;
    size_t left;
    Arena arena; // of what a buffer makes of the pipeline
    Pipeline pipeline;
    PipelineRoute routes[TARGETS];
    Settings settings;
    Runner **lender; // of which somebody has borrowed what it has; NULL: none
    bool is_asked;   // to stop
    bool has_polled;
    bool starts_at_end; // nothing failed since it started
    bool is_outrun;     // something has happened since
    // The stream broke off in this attempt; NULL: it did not.
    const Cancel *poll_failed;
    int64_t poll_failed_us;
    Status status;
    Error error; // the first
} Life;

static Life life;

// ---------------------------------------------------------------------------------------------
// Chance, failure, trace
// ---------------------------------------------------------------------------------------------

static uint64_t next_random(void)
{
    uint64_t mixed = random_state += 0x9e3779b97f4a7c15ULL;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
    return mixed ^ (mixed >> 31);
}

uint32_t sim_below(uint32_t n)
{
    return (uint32_t)(((next_random() >> 32) * n) >> 32);
}

bool sim_chance(uint32_t permille)
{
    return sim_below(1000) < permille;
}

void sim_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(failure, sizeof(failure), format, args);
    va_end(args);
    sim_trace("FAILED: %s", failure);
    _longjmp(out, 1);
}

const char *sim_failure(void)
{
    return failure;
}

void sim_trace_line(const char *format, ...)
{
    printf("%5" PRId64 " %10.3f s  %-7s ", step_number, (double)sim_now_us() / 1e6, task_name());
    va_list args;
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    (void)putchar('\n');
}

// ---------------------------------------------------------------------------------------------
// Faults
// ---------------------------------------------------------------------------------------------

static void stall(const char *what, const Cancel *cancel)
{
    static const uint32_t longest[] = {1000, 1000000, 20000000, 120000000, 900000000};
    int64_t until = sim_now_us() + (int64_t)sim_below(longest[sim_below(ARRAY_LEN(longest))]);
    while (sim_now_us() < until && !cancel_is_set(cancel) && !plan.is_ending) {
        task_wait(&plan, until - sim_now_us());
    }
    bool is_late = cancel != NULL && !cancel_is_set(cancel) && life.poll_failed == cancel &&
                   sim_now_us() - life.poll_failed_us > CANCEL_US;
    sim_check(!is_late, "%s goes on although the stream has failed", what);
}

static bool has_fault(void)
{
    bool has = plan.faults > 0 && sim_chance(plan.fault_permille);
    plan.faults -= has;
    sim_seen.faults += has;
    return has;
}

bool sim_call(const char *what, const Cancel *cancel)
{
    sim_trace("%s", what);
    task_yield();
    if (!plan.is_ending && sim_chance(plan.stall_permille)) {
        stall(what, cancel);
    }
    return !cancel_is_set(cancel) && !has_fault();
}

bool sim_call_briefly(const char *what)
{
    sim_trace("%s", what);
    task_yield();
    return !has_fault();
}

size_t sim_weight(void)
{
    return sim_below(plan.heaviest);
}

void sim_begun(const Cancel *cancel)
{
    if (life.poll_failed == cancel) {
        life.poll_failed = NULL;
    }
}

void sim_polled(void)
{
    life.has_polled = true;
}

void sim_poll_failed(const Cancel *cancel)
{
    life.poll_failed = cancel;
    life.poll_failed_us = sim_now_us();
}

void sim_check_retry(const char *message)
{
    sim_check(strstr(message, "fails (") == NULL || strstr(message, "fails (transient)") != NULL,
              "another attempt although %s", message);
}

Status sim_error(const Cancel *cancel, const char *what, Error *err)
{
    static const ErrorKind kinds[] = {ERROR_TRANSIENT, ERROR_TRANSIENT, ERROR_TRANSIENT,
                                      ERROR_TRANSIENT, ERROR_DATA,      ERROR_CONFIG,
                                      ERROR_FATAL};
    ErrorKind kind = cancel_is_set(cancel) ? ERROR_CANCELLED : kinds[sim_below(ARRAY_LEN(kinds))];
    sim_trace("  fails: %s", error_kind_name(kind));
    return error_set(err, kind, "%s fails (%s)", what, error_kind_name(kind));
}

// ---------------------------------------------------------------------------------------------
// Processes
// ---------------------------------------------------------------------------------------------

static void stop_all(bool now)
{
    for (size_t i = 0; i < life.runner_count; i++) {
        if (life.runners[i] != NULL) {
            runner_stop(life.runners[i], now);
        }
    }
}

static void *live(void *argument)
{
    Runner **runner = argument;
    Error err = {0};
    if (runner_run(*runner, &err) != STATUS_OK) {
        if (life.status == STATUS_OK) {
            life.status = STATUS_FAIL;
            life.error = err;
        }
        stop_all(false); // the others cannot do without it
    }
    runner_free(*runner);
    *runner = NULL;
    life.left--;
    return NULL;
}

static void start_runners(const Pipeline *pipelines, size_t count)
{
    Error err = {0};
    life.runner_count = life.left = count;
    for (size_t i = 0; i < count; i++) {
        Status status = runner_new(&pipelines[i], NULL, &life.runners[i], &err);
        sim_check(status == STATUS_OK, "%s", err.message);
    }
    for (size_t i = 0; i < count; i++) {
        task_start("main", live, &life.runners[i]);
    }
}

static void start_life(void)
{
    static const Str names[TARGETS] = {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}};
    sim_seen.lives++;
    heap_reset();
    tasks_reset();
    segments_forget();
    spills_forget();
    life.arena = (Arena){0};
    life.status = STATUS_OK;
    life.error.message[0] = '\0';
    life.is_asked = life.has_polled = false;
    life.lender = NULL;
    life.starts_at_end = plan.is_ending;
    life.is_outrun = false;
    life.poll_failed = NULL;
    life.pipeline = (Pipeline){
        .name = STR("sim"),
        .state_dir = STR("state"),
        .source = &sim_source,
        .source_settings = &life.settings,
        .source_subject = &world,
        .routes = life.routes,
        .route_count = target_count,
        .buffer = world.has_buffer ? &life.settings : NULL,
        .until = sim_chance(700) ? UNTIL_FOREVER : UNTIL_NOW,
        .jobs = 1 + sim_below(3),
        .on_error = plan.is_ending || sim_chance(900) ? ON_ERROR_DEAD_LETTER : ON_ERROR_STOP,
    };
    for (uint32_t i = 0; i < target_count; i++) {
        life.routes[i] = (PipelineRoute){.name = names[i],
                                         .sink = sim_sink(&targets[i]),
                                         .settings = &life.settings,
                                         .subject = &targets[i]};
    }
    // A verification: it begins nothing, and stops at an LSN, which all are behind.
    if (!plan.is_ending && world.head > 0 && sim_chance(100)) {
        life.pipeline.keeps_tables = life.pipeline.stops_there = true;
        life.pipeline.until = UNTIL_LSN;
        life.pipeline.until_lsn = world.head;
    }
    sim_trace("--- process starts: %u routes, %s, %s%s%s", target_count,
              target_kind_name(targets[0].kind),
              target_count > 1 ? target_kind_name(targets[1].kind) : "",
              world.has_buffer ? ", with a buffer" : "",
              life.pipeline.keeps_tables ? ", to verify" : "");
    if (world.has_buffer) {
        start_runners(disk_buffer_pipelines(&life.pipeline, &life.arena), target_count + 1u);
    } else {
        start_runners(&life.pipeline, 1);
    }
}

static void crash(void)
{
    sim_trace("--- process dies");
    sim_seen.crashes++;
    plan.crashes--;
    plan.crash_at = step_number + 1 + sim_below(400);
    targets_crash();
    letters_crash();
    files_crash();
    if (target_count < TARGETS && !targets[0].refusals.is_narrow && sim_chance(100)) {
        target_count++; // the pipeline gets another route
    }
    start_life();
}

static void stop(bool now)
{
    if (life.left > 0) {
        sim_trace("--- process is asked to stop%s", now ? " at once" : "");
        life.is_asked = true;
        stop_all(now);
    }
}

static void end_loan(void)
{
    if (life.lender != NULL && *life.lender != NULL) {
        sim_trace("--- the loan is over");
        sim_check(!runner_is_lent(*life.lender) || !runner_has_state(*life.lender),
                  "the lender has what it has lent");
        runner_lend(*life.lender, 0);
    }
    life.lender = NULL;
}

static void begin_loan(void)
{
    Runner **runner = &life.runners[sim_below((uint32_t)life.runner_count)];
    if (*runner != NULL && !life.pipeline.keeps_tables) { // a verification does not lend
        sim_trace("--- somebody asks for a loan");
        life.lender = runner;
        runner_lend(*runner, 1);
    }
}

// ---------------------------------------------------------------------------------------------
// What happens when
// ---------------------------------------------------------------------------------------------

static void make_plan(void)
{
    static const uint32_t rates[] = {0, 3, 10, 40};
    static const uint32_t speeds[] = {10, 300, 20000, 200000};
    static const uint32_t weights[] = {1, 1, 8 << 20, 60 << 20};
    plan = (Plan){
        .actions = 1 + sim_below(sim_chance(100) ? 40 : 10),
        .act_permille = 20 + sim_below(200),
        .fault_permille = rates[sim_below(4)],
        .faults = sim_below(5),
        .crashes = sim_chance(600) ? sim_below(4) : 0,
        .stops = sim_chance(200) ? 1 + sim_below(2) : 0,
        .crash_at = 1 + sim_below(400),
        .stop_at = 1 + sim_below(400),
        .loans = sim_chance(300) ? 1 + sim_below(3) : 0,
        .loan_at = 1 + sim_below(400),
        .step_us = speeds[sim_below(4)],
        .stall_permille = rates[sim_below(4)],
        .heaviest = weights[sim_below(4)],
        .ask_permille = sim_below(40),
        .drop_permille = sim_chance(300) ? 100 : 0,
    };
}

static void close_world(void)
{
    plan.closes++;
    plan.closed_at = step_number;
    life.is_outrun = true;
    world_close();
}

static void begin_ending(void)
{
    plan.is_ending = true;
    plan.faults = 0;
    plan.ends_from = step_number;
    end_loan();
    targets_heal();
    close_world();
    task_wake(&plan);
    sim_trace("--- nothing fails any more");
}

// The user looks after dead letters. What is asked for at the end is asked for once.
static void look_after_letters(void)
{
    static const uint32_t most[] = {100, 1000};
    for (uint32_t i = 0; i < target_count; i++) {
        Refusals *refusals = &targets[i].refusals;
        if (!refusals->has_letters) {
            continue;
        }
        if (plan.is_ending) {
            letters_ask(i, 1000, 0);
        } else if (sim_chance(plan.ask_permille)) {
            refusals->salt += sim_chance(300);
            refusals->permille = sim_chance(100) ? 0 : refusals->permille;
            letters_ask(i, most[sim_below(2)], plan.drop_permille);
        }
    }
}

static void happen(void)
{
    look_after_letters();
    if (plan.is_ending) {
        return;
    }
    if (plan.crashes > 0 && step_number >= plan.crash_at) {
        crash();
        return;
    }
    if (plan.stops > 0 && step_number >= plan.stop_at) {
        plan.stops--;
        plan.stop_at = step_number + sim_below(200);
        stop(sim_chance(400));
    }
    if (plan.loans > 0 && step_number >= plan.loan_at) {
        plan.loan_at = step_number + sim_below(200);
        if (life.lender == NULL) {
            begin_loan();
        } else if (*life.lender != NULL && runner_is_lent(*life.lender) && sim_chance(700)) {
            sim_trace("--- the borrower wants it to be at " LSN_FMT, LSN_ARG(world.head));
            runner_lend_at(*life.lender, world.head);
        } else {
            plan.loans--;
            end_loan();
        }
    }
    if (sim_chance(plan.act_permille)) {
        if (plan.actions > 0) {
            plan.actions--;
            world_act();
        } else if (plan.crashes == 0 || sim_chance(100)) {
            begin_ending();
        }
    }
}

static bool needs_another_row(void)
{
    return plan.is_ending && plan.closes < CLOSES_MAX && targets_wait_for_rows();
}

// Only what another attempt cannot mend ends a run that nobody asked to end.
static void check_end(void)
{
    const Error *err = &life.error;
    bool is_good = life.status == STATUS_OK || life.is_asked;
    sim_check(is_good || err->kind != ERROR_CANCELLED, "it was cancelled by nobody");
    sim_check(is_good || err->kind != ERROR_AGAIN, "it does not begin again");
    bool sets_aside = life.pipeline.on_error == ON_ERROR_DEAD_LETTER;
    sim_check(is_good || !sets_aside || strstr(err->message, "is refused") == NULL,
              "it ends for a change that could be set aside");
    sim_check(is_good || err->kind != ERROR_TRANSIENT || strstr(err->message, "state open") != NULL,
              "it gives up although %s", err->message);
}

// Whoever compares has to find the targets just there.
static void check_verified(void)
{
    if (!life.pipeline.keeps_tables || life.status != STATUS_OK || life.is_asked) {
        return;
    }
    sim_seen.verifications++;
    for (uint32_t i = 0; i < target_count; i++) {
        Position at = targets[i].store.position;
        sim_check(at.lsn == life.pipeline.until_lsn && at.ordinal == 0,
                  "it is to be compared at " LSN_FMT ", and stands at " LSN_FMT,
                  LSN_ARG(life.pipeline.until_lsn), LSN_ARG(at.lsn));
    }
}

// A process ended by itself. True: and everything is done.
static bool on_end(void)
{
    sim_trace("--- process ends: %s", life.status == STATUS_OK ? "well" : life.error.message);
    check_end();
    check_verified();
    arena_done(&life.arena);
    files_check_closed();
    sim_check(heap_count() == 0, "the process leaves %zu blocks of memory", heap_count());
    for (uint32_t i = 0; i < TARGETS; i++) {
        for (uint32_t at = 0; at < TABLES; at++) {
            sim_check(targets[i].locks[at] == NULL, "a transaction was left open");
        }
    }
    const char *why = "";
    bool needs_row = needs_another_row();
    bool is_good = plan.is_ending && life.status == STATUS_OK;
    bool is_complete = plan.is_ending && targets_are_complete(&why);
    if (is_good && !life.is_asked && life.starts_at_end && !life.is_outrun) {
        sim_check(is_complete || needs_row || strstr(why, "again") != NULL ||
                      strstr(why, "letters") != NULL,
                  "it ended well before everything was there: %s", why);
    }
    if (is_good && is_complete && !needs_row &&
        world.confirmed >= world.txs[world.tx_count - 1].end_lsn) {
        return true;
    }
    sim_check(!life.starts_at_end || life.is_asked || life.error.kind == ERROR_TRANSIENT || is_good,
              "it fails for no reason: %s", life.error.message);
    sim_advance_us(100000);
    start_life();
    return false;
}

static void go_on(void)
{
    int64_t next_us;
    sim_advance_us(sim_below(plan.step_us));
    if (!tasks_step(&next_us)) {
        sim_check(next_us != INT64_MAX, "every thread waits for ever");
        if (next_us > sim_now_us()) {
            sim_advance_us(next_us - sim_now_us());
        }
    }
}

static void go_to_end(void)
{
    const char *why;
    bool is_complete = targets_are_complete(&why);
    bool is_due = is_complete || step_number - plan.closed_at > STEPS_TO_ROW;
    if (is_due && needs_another_row()) {
        sim_seen.asides++;
        close_world();
    } else if (is_complete && !life.is_asked && life.has_polled) {
        stop(false);
    }
}

static void run(void)
{
    start_life();
    for (;;) {
        step_number++;
        const char *why = "";
        if (step_number > STEPS_MAX ||
            (plan.is_ending && step_number - plan.ends_from > STEPS_TO_END_MAX)) {
            bool complete = targets_are_complete(&why);
            sim_fail("it does not come to an end: %s", complete ? "it does not stop" : why);
        }
        happen();
        go_on();
        if (life.left == 0) {
            if (on_end()) {
                return;
            }
        } else if (plan.is_ending) {
            go_to_end();
        }
    }
}

bool sim_run(uint64_t seed)
{
    random_state = seed * 0xd1342543de82ef95ULL + 1;
    step_number = 0;
    sim_advance_us(1000000 - sim_now_us());
    failure[0] = '\0';
    if (_setjmp(out) != 0) {
        return false;
    }
    make_plan();
    target_count = 1 + sim_below(sim_chance(100) ? TARGETS : 2);
    targets_init();
    letters_init();
    files_init();
    world_init();
    run();
    targets_compare();
    sim_seen.schedules++;
    sim_seen.buffered += world.has_buffer;
    sim_seen.steps += (uint64_t)step_number;
    return true;
}
