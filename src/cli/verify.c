// weir verify: bring the targets to one LSN, hold them there, and compare them with the source.
#include <unistd.h>

#include "base/limits.h"
#include "buffers/disk.h"
#include "cli/command.h"
#include "cli/crew.h"
#include "cli/ending.h"
#include "cli/interrupt.h"
#include "cli/pipeline_options.h"
#include "cli/progress.h"
#include "cli/project_pipelines.h"
#include "cli/verify_print.h"
#include "control/loan.h"

typedef struct VerifyCommandOptions {
    PipelineOptions pipeline;
    StrList only;
    Str route;
    bool repair;
    int64_t limit;
    int format; // VerifyFormat
} VerifyCommandOptions;

typedef enum VerifyFormat { FORMAT_TEXT, FORMAT_JSON } VerifyFormat;

static const char *const format_choices[] = {"text", "json", NULL};

enum { LIMIT_DEFAULT_MAX = 100000 };

static const Option verify_options[] = {
    {"table", OPTION_LIST(VerifyCommandOptions, pipeline.tables), .value_name = "PATTERN",
     .help = "Tables to compare, as weir stream takes them. The pipeline's tables stay what they "
             "are. Can be repeated."},
    EXCLUDE_TABLE_OPTION(VerifyCommandOptions, pipeline.exclude_tables),
    {"only", OPTION_LIST(VerifyCommandOptions, only), .value_name = "PATTERN",
     .help = "Compare these of them only: schema.table, schema.* or table. Can be repeated."},
    {"repair", OPTION_BOOL(VerifyCommandOptions, repair),
     .help = "Write the source's rows over what differs, or copy a table without a key anew, and "
             "compare again."},
    {"limit", OPTION_INT(VerifyCommandOptions, limit), .fallback = "20", .min = 0,
     .max = LIMIT_DEFAULT_MAX,
     .help = "Rows of a table that are printed when they differ. All are counted."},
    {"jobs", OPTION_INT(VerifyCommandOptions, pipeline.jobs), .fallback = "2", .min = 1, .max = 64,
     .help = "Tables copied at the same time, if any are still to be copied."},
    {"buffer", OPTION_CHOICE(VerifyCommandOptions, pipeline.buffer, buffer_choices),
     .fallback = "memory", .help = "Where the pipeline's changes wait, as weir stream was told."},
    {"on-error", OPTION_CHOICE(VerifyCommandOptions, pipeline.on_error, on_error_choices),
     .fallback = "stop", .value_name = "POLICY",
     .help = "What to do with a change that the target refuses on the way, as weir stream has it."},
    PATIENCE_OPTION(VerifyCommandOptions, pipeline.patience_ms),
    {"publication", OPTION_STRING(VerifyCommandOptions, pipeline.publication), .value_name = "NAME",
     .help = "Publication that is read."},
    {"slot", OPTION_STRING(VerifyCommandOptions, pipeline.slot), .value_name = "NAME",
     .help = "Slot that is read."},
    {"state", OPTION_STRING(VerifyCommandOptions, pipeline.state), .value_name = "DIR",
     .help = "Directory for the state. Default: what the file says, else $XDG_STATE_HOME/weir or "
             "~/.local/state/weir."},
    {"name", OPTION_STRING(VerifyCommandOptions, pipeline.name), .value_name = "NAME",
     .help = "Name of the pipeline; of a project: the one to verify. Default: all of them."},
    {"route", OPTION_STRING(VerifyCommandOptions, route), .value_name = "NAME",
     .help =
         "Of a project: the place that is compared. Default: all that can be. All places of its "
         "pipeline are brought to the LSN."},
    {"progress", OPTION_CHOICE(VerifyCommandOptions, pipeline.progress, progress_choices),
     .fallback = "auto", .help = "Show live progress: auto does so on a terminal."},
    {"format", OPTION_CHOICE(VerifyCommandOptions, format, format_choices), .fallback = "text",
     .help = "The result as text or as one JSON document, for programs."},
    {0},
};

/** What all pipelines of one call have come to. */
typedef struct Outcome {
    const VerifyCommandOptions *options;
    Cancel cancel;
    VerifyChoice choice; // of the pipeline that is being verified
    bool is_one_of_many; // that pipeline, so that one which cannot be is passed over
    size_t printed;
    size_t compared; // routes
    bool has_differences;
    bool has_unknown;
} Outcome;

// ---------------------------------------------------------------------------------------------
// One pipeline
// ---------------------------------------------------------------------------------------------

static Status run_until(const Pipeline *pipeline, const Outcome *outcome, Error *err)
{
    ProgressMode mode = (ProgressMode)outcome->options->pipeline.progress;
    if (pipeline->buffer != NULL) {
        return crew_run_routes(pipeline, outcome->choice.takes, mode, err);
    }
    Runner *runner = NULL;
    if (runner_new(pipeline, NULL, &runner, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Runner *const runners[] = {runner};
    interrupt_watch(runners, 1);
    Progress *progress = progress_start(mode, pipeline, runner);
    Status status = runner_run(runner, err);
    progress_stop(progress);
    interrupt_clear();
    runner_free(runner);
    return status;
}

// ---------------------------------------------------------------------------------------------
// A pipeline that runs
// ---------------------------------------------------------------------------------------------

// What the process that runs a pipeline has lent of it: all at once, or each route of a disk
// buffer.
typedef struct Loans {
    int fds[LIMIT_ROUTES]; // -1: none
    size_t count;          // of them
    bool is_by_route; // the lender keeps the buffer, and brings the routes to where we want them
} Loans;

static LoanPatience patience_of(const Outcome *outcome)
{
    return (LoanPatience){&outcome->cancel, outcome->options->pipeline.patience_ms};
}

static Status borrow_route(const Pipeline *pipeline, size_t route, const Outcome *outcome,
                           Loans *loans, Error *err)
{
    Arena scratch = {0};
    const char *directory = pipeline_route_directory(pipeline, &pipeline->routes[route], &scratch);
    LoanPatience patience = patience_of(outcome);
    Status status = loan_ask(directory, &patience, &loans->fds[route], err);
    loans->count += status == STATUS_OK && loans->fds[route] >= 0 ? 1 : 0;
    arena_done(&scratch);
    return status;
}

static void give_back(const Loans *loans)
{
    for (size_t i = 0; i < LIMIT_ROUTES; i++) {
        if (loans->fds[i] >= 0) {
            (void)close(loans->fds[i]);
        }
    }
}

// All routes are in one process. Without a buffer they are one, too.
static Status borrow(const Pipeline *pipeline, const Outcome *outcome, Loans *ret, Error *err)
{
    size_t wanted = 0;
    *ret = (Loans){.is_by_route = pipeline->buffer != NULL};
    for (size_t i = 0; i < LIMIT_ROUTES; i++) {
        ret->fds[i] = -1;
    }
    interrupt_watch(NULL, 0);
    if (!ret->is_by_route) {
        return borrow_route(pipeline, 0, outcome, ret, err);
    }
    for (size_t i = 0; i < pipeline->route_count; i++) {
        if (!outcome->choice.takes[i]) {
            continue;
        }
        wanted++;
        if (borrow_route(pipeline, i, outcome, ret, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return ret->count == 0 || ret->count == wanted
               ? STATUS_OK
               : error_set(err, ERROR_TRANSIENT,
                           "the process that runs the pipeline has just begun, or is ending");
}

static Status have_brought(const Pipeline *pipeline, const Outcome *outcome, const Loans *loans,
                           Lsn lsn, Error *err)
{
    Arena scratch = {0};
    Status status = STATUS_OK;
    LoanPatience patience = patience_of(outcome);
    for (size_t i = 0; status == STATUS_OK && i < pipeline->route_count; i++) {
        if (loans->fds[i] >= 0) {
            const char *directory =
                pipeline_route_directory(pipeline, &pipeline->routes[i], &scratch);
            status = loan_bring(loans->fds[i], directory, lsn, &patience, err);
        }
    }
    arena_done(&scratch);
    return status;
}

// To where @run ends, by whoever can.
static Status bring(const Pipeline *run, Outcome *outcome, const Loans *loans, Error *err)
{
    if (!loans->is_by_route || loans->count == 0) {
        return run_until(run, outcome, err);
    }
    Lsn lsn = run->until_lsn;
    interrupt_watch(NULL, 0);
    if (run->until == UNTIL_NOW && verify_now(run, &outcome->cancel, &lsn, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return have_brought(run, outcome, loans, lsn, err);
}

// ---------------------------------------------------------------------------------------------
// Comparing
// ---------------------------------------------------------------------------------------------

static bool shows_progress(const Outcome *outcome)
{
    ProgressMode mode = (ProgressMode)outcome->options->pipeline.progress;
    return mode == PROGRESS_ALWAYS || (mode == PROGRESS_AUTO && isatty(STDERR_FILENO) == 1);
}

static void show_table(void *context, const char *table, size_t at, size_t count)
{
    (void)context;
    (void)fprintf(stderr, "\r\033[Kcomparing %zu of %zu  %s", at, count, table);
}

static void print_result(Outcome *outcome, const Pipeline *pipeline, const PipelineRoute *route,
                         const VerifyResult *result)
{
    bool is_first = outcome->printed++ == 0;
    for (size_t i = 0; i < result->table_count; i++) {
        VerifyVerdict verdict = verify_verdict(&result->tables[i]);
        outcome->has_differences = outcome->has_differences || verdict == VERDICT_DIFFERENT;
        outcome->has_unknown = outcome->has_unknown || verdict == VERDICT_UNKNOWN;
    }
    if (outcome->options->format == FORMAT_JSON) {
        verify_print_json(pipeline, route, result, is_first);
    } else {
        verify_print_text(pipeline, route, result, is_first);
    }
}

// What is no database is said to be left out, not that it were equal.
static void print_passed_over(Outcome *outcome, const Pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->route_count; i++) {
        if (outcome->choice.reasons[i].len > 0) {
            VerifyResult result = {.reason = outcome->choice.reasons[i]};
            print_result(outcome, pipeline, &pipeline->routes[i], &result);
        }
    }
}

static Status compare_route(Verify *verify, Outcome *outcome, size_t route,
                            const VerifyResult *before, VerifyResult *ret, Error *err)
{
    bool shows = shows_progress(outcome);
    VerifyOptions options = {
        .only = outcome->options->only,
        .before = before,
        .repair = outcome->options->repair && before == NULL,
        .limit = outcome->options->limit,
        .cancel = &outcome->cancel,
        .progress = shows ? show_table : NULL,
    };
    Status status = verify_route(verify, route, &options, ret, err);
    if (shows) {
        (void)fprintf(stderr, "\r\033[K");
    }
    return status;
}

// What has been found of each route of one pipeline.
typedef struct Found {
    const Pipeline *pipeline;
    const Loans *loans;
    VerifyResult results[LIMIT_ROUTES];
    bool is_there[LIMIT_ROUTES];
} Found;

static Status compare_routes(Verify *verify, Outcome *outcome, Found *found, Error *err)
{
    const Pipeline *pipeline = found->pipeline;
    for (size_t i = 0; i < pipeline->route_count; i++) {
        if (!outcome->choice.takes[i]) {
            continue;
        }
        if (compare_route(verify, outcome, i, NULL, &found->results[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        found->is_there[i] = true;
    }
    return STATUS_OK;
}

// The others are as they were.
static Status compare_copies(Verify *verify, Outcome *outcome, Found *found, Error *err)
{
    Status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < found->pipeline->route_count; i++) {
        VerifyResult *result = &found->results[i];
        if (found->is_there[i] && verify_has_copies(result)) {
            VerifyResult after = {0};
            status = compare_route(verify, outcome, i, result, &after, err);
            if (status == STATUS_OK) {
                verify_take_copies(result, &after);
            }
            verify_result_done(&after);
        }
    }
    return status;
}

typedef Status (*CompareAll)(Verify *verify, Outcome *outcome, Found *found, Error *err);

// First as far as the source is now, copies included: what is left of the way to the snapshot's LSN
// is short then, and no longer than that does the source have to keep what the snapshot sees.
static Status hold_and_compare(Outcome *outcome, Found *found, CompareAll compare, Error *err)
{
    const Pipeline *pipeline = found->pipeline;
    Pipeline run = *pipeline;
    Verify *verify = NULL;
    run.keeps_tables = true;
    run.patience_ms = outcome->options->pipeline.patience_ms;
    run.until = UNTIL_NOW;
    if (bring(&run, outcome, found->loans, err) != STATUS_OK ||
        verify_hold(pipeline, &outcome->cancel, &verify, &run.until_lsn, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    run.until = UNTIL_LSN;
    run.stops_there = true;
    Status status = bring(&run, outcome, found->loans, err);
    if (status == STATUS_OK) {
        interrupt_watch(NULL, 0);
        status = compare(verify, outcome, found, err);
    }
    verify_release(verify);
    return status;
}

static bool has_copies(const Found *found)
{
    bool has = false;
    for (size_t i = 0; i < found->pipeline->route_count; i++) {
        has = has || (found->is_there[i] && verify_has_copies(&found->results[i]));
    }
    return has;
}

static Status verify_held(const Pipeline *pipeline, const Loans *loans, Outcome *outcome,
                          Error *err)
{
    Found found = {.pipeline = pipeline, .loans = loans};
    Status status = hold_and_compare(outcome, &found, compare_routes, err);
    if (status == STATUS_OK && has_copies(&found)) {
        status = hold_and_compare(outcome, &found, compare_copies, err);
    }
    for (size_t i = 0; i < pipeline->route_count; i++) {
        if (found.is_there[i]) {
            outcome->compared++;
            print_result(outcome, pipeline, &pipeline->routes[i], &found.results[i]);
        }
        verify_result_done(&found.results[i]);
    }
    if (status == STATUS_OK) {
        print_passed_over(outcome, pipeline);
    }
    return status;
}

static Status verify_pipeline(const Pipeline *pipeline, Outcome *outcome, Arena *arena, Error *err)
{
    Loans loans;
    Error refused = {0};
    if (verify_choose(pipeline, outcome->options->route, arena, &outcome->choice, &refused) !=
        STATUS_OK) {
        if (outcome->is_one_of_many && outcome->choice.count == 0) {
            print_passed_over(outcome, pipeline);
            return STATUS_OK;
        }
        *err = refused;
        return STATUS_FAIL;
    }
    if (disk_buffer_check_named(pipeline, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status = borrow(pipeline, outcome, &loans, err);
    if (status == STATUS_OK) {
        status = verify_check_begun(pipeline, &outcome->choice, &outcome->cancel, err);
    }
    if (status == STATUS_OK) {
        status = verify_held(pipeline, &loans, outcome, err);
    }
    give_back(&loans);
    return status;
}

// ---------------------------------------------------------------------------------------------
// All of them
// ---------------------------------------------------------------------------------------------

// One that fails does not keep the others from being compared. The first failure is the command's.
static Status verify_each(const Pipeline *pipelines, size_t count, Outcome *outcome, Arena *arena,
                          Error *err)
{
    Status status = STATUS_OK;
    for (size_t i = 0; i < count && !cancel_is_set(&outcome->cancel); i++) {
        Error failure = {0};
        if (verify_pipeline(&pipelines[i], outcome, arena, &failure) == STATUS_OK) {
            continue;
        }
        if (count > 1) {
            (void)error_wrap(&failure, "pipeline \"%" STR_FMT "\"", STR_ARG(pipelines[i].name));
        }
        (void)fflush(stdout);
        (void)report_error(&failure);
        *err = status == STATUS_OK ? failure : *err;
        status = STATUS_FAIL;
    }
    if (status == STATUS_OK && outcome->compared == 0) {
        error_set(err, ERROR_CONFIG, "no pipeline of the project can be compared");
        (void)report_error(err);
        status = STATUS_FAIL;
    }
    return status;
}

static int ending(const Outcome *outcome, Status status, const Error *err)
{
    if (outcome->has_differences) {
        return EXIT_FAILED;
    }
    if (status != STATUS_OK) {
        return ending_code(status, err);
    }
    return outcome->has_unknown ? EXIT_USAGE : EXIT_DONE;
}

static int verify_pipelines(const Pipeline *pipelines, size_t count,
                            const VerifyCommandOptions *options)
{
    Arena arena = {0};
    Outcome outcome = {.options = options};
    Error err = {0};
    if (cancel_init(&outcome.cancel, &err) != STATUS_OK) {
        return report_error(&err);
    }
    interrupt_cancels(&outcome.cancel);
    outcome.is_one_of_many = count > 1 && options->route.len == 0;
    Status status = verify_each(pipelines, count, &outcome, &arena, &err);
    interrupt_cancels(NULL);
    int code = ending(&outcome, status, &err);
    if (options->format == FORMAT_JSON) {
        verify_print_json_end(outcome.printed == 0, code == EXIT_DONE);
    }
    cancel_done(&outcome.cancel);
    arena_done(&arena);
    return code;
}

static Status choose(const VerifyCommandOptions *options, Pipeline **pipelines, size_t *count,
                     Error *err)
{
    Str name = options->pipeline.name;
    if (options->pipeline.tables.count + options->pipeline.exclude_tables.count > 0) {
        error_set(err, ERROR_CONFIG, "the tables of a project's pipelines are in its file");
        return error_hint(err, "--only PATTERN compares some of them.");
    }
    if (name.len == 0) {
        return STATUS_OK;
    }
    Status status = project_find(*pipelines, *count, name, pipelines, err);
    *count = 1;
    return status;
}

static int verify_project(const Invocation *invocation, const VerifyCommandOptions *options)
{
    Pipeline *pipelines;
    size_t count;
    Error err = {0};
    if (project_pipelines(project_path(&invocation->arguments), options->pipeline.state, STR(""),
                          invocation->arena, &pipelines, &count, &err) != STATUS_OK ||
        choose(options, &pipelines, &count, &err) != STATUS_OK) {
        return report_error(&err);
    }
    return verify_pipelines(pipelines, count, options);
}

static int verify_run(Invocation *invocation)
{
    VerifyCommandOptions *options = invocation->options;
    const StrList *arguments = &invocation->arguments;
    Pipeline pipeline = {0};
    Error err = {0};
    options->pipeline.copy = true;
    if (project_is_named(arguments, invocation->arena)) {
        return verify_project(invocation, options);
    }
    if (arguments->count < 2) {
        error_set(&err, ERROR_CONFIG, "\"weir verify\" takes a source and a sink, or a project");
        error_hint(&err, "For example: weir verify SOURCE SINK.");
        return report_error(&err);
    }
    if (pipeline_from_options(arguments->items[0], arguments->items[1], &options->pipeline, false,
                              invocation->arena, &pipeline, &err) != STATUS_OK ||
        pipeline_validate(&pipeline, &err) != STATUS_OK) {
        return report_error(&err);
    }
    return verify_pipelines(&pipeline, 1, options);
}

static const char *const examples[] = {
    "weir verify postgres://localhost/shop postgres://replica/shop",
    "weir verify postgres://localhost/shop duckdb:shop.duckdb --only public.orders",
    "weir verify pipelines/ --name shop --repair",
    "weir verify --format json postgres://localhost/shop sqlite:shop.db | jq .equal",
    NULL,
};

const Command verify_command = {
    .name = "verify",
    .arguments = "[DIR|FILE | SOURCE SINK]",
    .arguments_max = 2,
    .summary = "compare every row of the target with the source",
    .description =
        "Brings the pipeline to one LSN, as weir stream --until does, holds it there, and compares "
        "every row of its tables with a snapshot of the source at just that LSN; writes on the "
        "source go on. Both databases compute digests of their rows, so that only what differs "
        "is sent. Takes the arguments that weir stream or weir run was given. A process that runs "
        "the pipeline lends it meanwhile, and goes on afterwards. With --repair the source's rows "
        "are written over what differs. Exit "
        "code 0: everything is equal; 1: something differs; 2: something could not be compared.",
    .examples = examples,
    .options = verify_options,
    .options_size = sizeof(VerifyCommandOptions),
    .run = verify_run,
};
