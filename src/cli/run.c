// weir run: every pipeline of a project file, a thread each.
#include <pthread.h>
#include <signal.h>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/ending.h"
#include "cli/interrupt.h"
#include "cli/pipeline_options.h"
#include "cli/project_pipelines.h"
#include "control/metrics.h"

typedef struct RunOptions {
    Str until;
    Str state;
    Str metrics;
} RunOptions;

static const Option run_options[] = {
    {"until", OPTION_STRING(RunOptions, until), .value_name = "now|LSN",
     .help = "Stop when everything committed before now, or before an LSN, is delivered."},
    {"state", OPTION_STRING(RunOptions, state), .value_name = "DIR",
     .help = "Directory for the state. Default: what the file says, else $XDG_STATE_HOME/weir or "
             "~/.local/state/weir."},
    METRICS_OPTION(RunOptions),
    {0},
};

typedef struct RunThread {
    const Pipeline *pipeline;
    Runner *runner;
    pthread_t thread;
    bool is_started;
    Status status;
    Error error;
} RunThread;

static void report_end(const RunThread *run)
{
    LogScope scope = {NULL, "pipeline", run->pipeline->name};
    if (run->status == STATUS_OK) {
        log_info(&scope, interrupt_signal() == 0 ? "done" : "stopped");
    } else if (is_reader_gone(run->status, &run->error)) {
        log_info(&scope, "nobody reads standard output any more");
    } else {
        log_failure(LOG_ERROR, &scope, "failed", &run->error);
    }
}

// An end is said at once: the other pipelines may run for ever.
static void *run_main(void *argument)
{
    RunThread *run = argument;
    run->status = runner_run(run->runner, &run->error);
    report_end(run);
    return NULL;
}

// The worse one first; a reader that has gone is no failure of the others.
static int worst_code(const RunThread *runs, size_t count)
{
    static const int order[] = {EXIT_INTERRUPTED, EXIT_FAILED, EXIT_USAGE, EXIT_PIPE};
    for (size_t o = 0; o < ARRAY_LEN(order); o++) {
        for (size_t i = 0; i < count; i++) {
            if (ending_code(runs[i].status, &runs[i].error) == order[o]) {
                return order[o];
            }
        }
    }
    return EXIT_DONE;
}

static void run_threads(RunThread *runs, Runner **runners, size_t count)
{
    interrupt_watch(runners, count);
    for (size_t i = 0; i < count; i++) {
        int code = pthread_create(&runs[i].thread, NULL, run_main, &runs[i]);
        runs[i].is_started = code == 0;
        if (code != 0) {
            runs[i].status =
                error_set_errno(&runs[i].error, ERROR_TRANSIENT, code, "start a thread");
            report_end(&runs[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (runs[i].is_started) {
            (void)pthread_join(runs[i].thread, NULL);
        }
    }
    interrupt_clear();
}

static void free_runners(Runner **runners, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        runner_free(runners[i]);
    }
}

static int run_project(const Pipeline *pipelines, size_t count, Str address, Arena *arena)
{
    RunThread *runs = ARENA_ARRAY(arena, RunThread, count);
    Runner **runners = ARENA_ARRAY(arena, Runner *, count);
    Watched *watched = ARENA_ARRAY(arena, Watched, count);
    MetricsServer *metrics = NULL;
    Error err = {0};
    for (size_t i = 0; i < count; i++) {
        if (runner_new(&pipelines[i], NULL, &runners[i], &err) != STATUS_OK) {
            free_runners(runners, i);
            return report_error(&err);
        }
        runs[i].pipeline = &pipelines[i];
        runs[i].runner = runners[i];
        watched[i] = (Watched){&pipelines[i], runners[i]};
    }
    if (address.len > 0 && metrics_start(address, watched, count, &metrics, &err) != STATUS_OK) {
        free_runners(runners, count);
        return report_error(&err);
    }
    for (size_t i = 0; i < count; i++) {
        tell_start(&pipelines[i]);
    }
    run_threads(runs, runners, count);
    metrics_stop(metrics);
    free_runners(runners, count);
    return worst_code(runs, count);
}

static int run_run(Invocation *invocation)
{
    RunOptions *options = invocation->options;
    Str path = invocation->arguments.count > 0 ? invocation->arguments.items[0] : STR(".");
    Pipeline *pipelines;
    size_t count;
    Error err = {0};
    if (project_pipelines(path, options->state, options->until, invocation->arena, &pipelines,
                          &count, &err) != STATUS_OK) {
        return report_error(&err);
    }
    return run_project(pipelines, count, options->metrics, invocation->arena);
}

static const char *const examples[] = {"weir run", "weir run pipelines/ --until now", NULL};

const Command run_command = {
    .name = "run",
    .arguments = "[DIR|FILE]",
    .arguments_max = 1,
    .summary = "run every pipeline of a project",
    .description =
        "Reads weir.yml in DIR (by default here), or FILE, and runs all of its pipelines. One "
        "that fails does not stop the others; how each ended is said, and the exit code "
        "is that of the worst.",
    .examples = examples,
    .options = run_options,
    .options_size = sizeof(RunOptions),
    .run = run_run,
};
