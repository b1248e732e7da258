// weir stream, weir copy.
#include "base/clock.h"
#include "buffers/disk.h"
#include "cli/command.h"
#include "cli/crew.h"
#include "cli/ending.h"
#include "cli/interrupt.h"
#include "cli/pipeline_options.h"
#include "cli/progress.h"
#include "control/serve.h"

#define SHARED_OPTIONS                                                                     \
    {"table", OPTION_LIST(PipelineOptions, tables), .value_name = "PATTERN",               \
     .help = "Take only these tables: schema.table, schema.* or table. Can be repeated."}, \
        EXCLUDE_TABLE_OPTION(PipelineOptions, exclude_tables),                             \
        {"jobs",    OPTION_INT(PipelineOptions, jobs),        .fallback = "2", .min = 1,   \
         .max = 64, .help = "Tables copied at the same time."},                            \
        {"watchdog", OPTION_MS(PipelineOptions, guards.watchdog_ms), .fallback = "5min",   \
         .max = 604800000, .help = WATCHDOG_HELP},                                         \
        {"progress", OPTION_CHOICE(PipelineOptions, progress, progress_choices),           \
         .fallback = "auto", .help = "Show live progress: auto does so on a terminal."},

static const Option stream_options[] = {
    SHARED_OPTIONS{"publication", OPTION_STRING(PipelineOptions, publication), .value_name = "NAME",
                   .help = "Publication to read; made when it is missing."},
    {"slot", OPTION_STRING(PipelineOptions, slot), .value_name = "NAME",
     .help = "Replication slot to read; made when it is missing."},
    {"copy", OPTION_BOOL(PipelineOptions, copy), .fallback = "true",
     .help = "Do not copy the rows that are there: follow the changes only."},
    {"until", OPTION_STRING(PipelineOptions, until), .value_name = "now|LSN",
     .help = "Stop when everything committed before now, or before an LSN, is delivered."},
    PATIENCE_OPTION(PipelineOptions, patience_ms),
    {"state", OPTION_STRING(PipelineOptions, state), .value_name = "DIR",
     .help = "Directory for the state. Default: $XDG_STATE_HOME/weir or ~/.local/state/weir."},
    {"buffer", OPTION_CHOICE(PipelineOptions, buffer, buffer_choices), .fallback = "memory",
     .help =
         "Where changes wait for the target: on disk, the source need not keep them meanwhile."},
    ON_ERROR_OPTION(PipelineOptions),
    {"wal-warning", OPTION_SIZE(PipelineOptions, guards.wal_warning), .fallback = "10GB",
     .max = INT64_C(1) << 60, .help = WAL_WARNING_HELP},
    {"wal-disk", OPTION_SIZE(PipelineOptions, guards.wal_disk), .max = INT64_C(1) << 60,
     .help = WAL_DISK_HELP},
    METRICS_OPTION(PipelineOptions),
    {"name", OPTION_STRING(PipelineOptions, name), .value_name = "NAME",
     .help = "Name of the pipeline, under which its state is kept. Default: made from both ends."},
    {0},
};

static const Option copy_options[] = {
    SHARED_OPTIONS{0},
};

static void summarize(const Pipeline *pipeline, Runner *runner, int64_t began_us, Status status)
{
    RunnerStats stats;
    runner_stats(runner, &stats);
    char position[32];
    (void)snprintf(position, sizeof(position), LSN_FMT, LSN_ARG(stats.durable));
    LogField fields[] = {
        LOG_STR("pipeline", pipeline->name),
        LOG_INT("rows_copied", stats.copy_rows),
        LOG_INT("changes", stats.changes),
        LOG_INT("ms", (clock_monotonic_us() - began_us) / 1000),
        // A copy has no position.
        pipeline->until == UNTIL_COPY ? (LogField){0} : LOG_CSTR("durable", position),
        {0},
    };
    bool done = status == STATUS_OK && interrupt_signal() == 0;
    log_write(LOG_INFO, NULL, done ? "done" : "stopped", fields);
}

static int run_pipeline(const Pipeline *pipeline, const PipelineOptions *options)
{
    Error err = {0};
    Runner *runner = NULL;
    if (runner_new(pipeline, NULL, &runner, &err) != STATUS_OK) {
        return report_error(&err);
    }
    Serving *serving = NULL;
    const Watched watched[] = {{.pipeline = pipeline, .runner = runner}};
    if (serve_start(options->metrics, watched, 1, &serving, &err) != STATUS_OK) {
        runner_free(runner);
        return report_error(&err);
    }
    Runner *const runners[] = {runner};
    interrupt_watch(runners, 1);
    int64_t began_us = clock_monotonic_us();
    Progress *progress = progress_start((ProgressMode)options->progress, pipeline, runner);
    tell_start(pipeline);
    Status status = runner_run(runner, &err);
    progress_stop(progress);
    interrupt_clear();
    serve_stop(serving);
    bool quiet = is_reader_gone(status, &err);
    if (!quiet) {
        summarize(pipeline, runner, began_us, status);
    }
    runner_free(runner);
    if (status != STATUS_OK && !quiet) {
        (void)report_error(&err);
    }
    return ending_code(status, &err);
}

static int start(Invocation *invocation, bool copy_only)
{
    PipelineOptions *options = invocation->options;
    options->copy = options->copy || copy_only;
    Pipeline pipeline = {0};
    Error err = {0};
    if (pipeline_from_options(invocation->arguments.items[0], invocation->arguments.items[1],
                              options, copy_only, invocation->arena, &pipeline,
                              &err) != STATUS_OK ||
        pipeline_validate(&pipeline, &err) != STATUS_OK ||
        (!copy_only && disk_buffer_check_named(&pipeline, &err) != STATUS_OK)) {
        return report_error(&err);
    }
    if (pipeline.buffer != NULL) {
        CrewOptions crew = {.metrics = options->metrics,
                            .has_progress = true,
                            .progress = (ProgressMode)options->progress};
        return crew_run(&pipeline, 1, &crew, invocation->arena);
    }
    return run_pipeline(&pipeline, options);
}

static int stream_run(Invocation *invocation)
{
    return start(invocation, false);
}

static int copy_run(Invocation *invocation)
{
    return start(invocation, true);
}

static const char *const stream_examples[] = {
    "weir stream postgres://localhost/shop duckdb:shop.duckdb",
    "weir stream postgres://localhost/shop stdout: --table public.orders",
    "weir stream postgres://localhost/shop postgres://replica/shop --until now",
    NULL,
};

static const char *const copy_examples[] = {
    "weir copy postgres://localhost/shop sqlite:shop.db",
    "weir copy postgres://localhost/shop postgres://other/shop --jobs 4",
    NULL,
};

const Command stream_command = {
    .name = "stream",
    .arguments = "SOURCE SINK",
    .arguments_min = 2,
    .arguments_max = 2,
    .summary = "copy what is there, then follow every change",
    .description =
        "Copies the tables of SOURCE into SINK from one consistent snapshot and then delivers "
        "every "
        "change that is committed, in order. What is missing on the source (publication, slot) is "
        "made. Run the same command again and it continues where it was, also after a crash: "
        "nothing is copied twice and nothing is skipped. Without --until it follows for ever; the "
        "first Ctrl-C delivers what was received and stops, a second stops at once.",
    .examples = stream_examples,
    .options = stream_options,
    .options_size = sizeof(PipelineOptions),
    .run = stream_run,
};

const Command copy_command = {
    .name = "copy",
    .arguments = "SOURCE SINK",
    .arguments_min = 2,
    .arguments_max = 2,
    .summary = "copy what is there, once",
    .description = "Copies the tables of SOURCE into SINK from one consistent snapshot. Needs no "
                   "replication slot and no wal_level, and leaves nothing behind on the source.",
    .examples = copy_examples,
    .options = copy_options,
    .options_size = sizeof(PipelineOptions),
    .run = copy_run,
};
