// weir replay: one route of a pipeline with a disk buffer gets once more what the buffer has.
#include "base/buf.h"
#include "buffers/disk.h"
#include "cli/command.h"
#include "cli/crew.h"
#include "cli/pipeline_options.h"
#include "cli/project_pipelines.h"

typedef struct ReplayOptions {
    Str route;
    Str from;
    Str project;
    Str state;
    int64_t patience_ms;
} ReplayOptions;

static const Option replay_options[] = {
    {"route", OPTION_STRING(ReplayOptions, route), .value_name = "NAME",
     .help = "The place that gets it again; needed when the pipeline has several."},
    {"from", OPTION_STRING(ReplayOptions, from), .required = true, .value_name = "LSN",
     .help = "Where to begin: everything that was committed at or behind it is sent."},
    {"project", OPTION_STRING(ReplayOptions, project), .fallback = ".", .value_name = "DIR|FILE",
     .help = "The project that has the pipeline."},
    {"state", OPTION_STRING(ReplayOptions, state), .value_name = "DIR",
     .help = "Directory for the state, as for weir run."},
    PATIENCE_OPTION(ReplayOptions, patience_ms),
    {0},
};

static Status check_buffer(const Pipeline *pipeline, Error *err)
{
    if (pipeline->buffer != NULL) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG, "the pipeline \"%" STR_FMT "\" has no buffer to send from",
              STR_ARG(pipeline->name));
    return error_hint(err, "buffer: { type: disk, keep: 10GB } keeps that much for replays.");
}

static Status several_routes(const Pipeline *pipeline, Error *err)
{
    CLEANUP(buf_done) Buf names;
    buf_init(&names, ERROR_MESSAGE_MAX);
    for (size_t i = 0; i < pipeline->route_count; i++) {
        buf_printf(&names, "%s%" STR_FMT, i == 0 ? "" : ", ", STR_ARG(pipeline->routes[i].name));
    }
    error_set(err, ERROR_CONFIG, "the pipeline \"%" STR_FMT "\" has %zu routes: %s",
              STR_ARG(pipeline->name), pipeline->route_count, buf_cstring(&names));
    return error_hint(err, "Say which with --route NAME.");
}

static Status find_route(const Pipeline *pipeline, Str name, size_t *ret, Error *err)
{
    for (size_t i = 0; i < pipeline->route_count; i++) {
        bool is_only = name.len == 0 && pipeline->route_count == 1;
        if (is_only || str_equal(pipeline->routes[i].name, name)) {
            *ret = i;
            return STATUS_OK;
        }
    }
    if (name.len == 0) {
        return several_routes(pipeline, err);
    }
    error_set(err, ERROR_CONFIG, "the pipeline \"%" STR_FMT "\" has no route \"%" STR_FMT "\"",
              STR_ARG(pipeline->name), STR_ARG(name));
    return error_hint(err, "A place in `to:` is called after its connection, or by its name.");
}

static Status prepare(const Invocation *invocation, Pipeline **ret_part, Error *err)
{
    const ReplayOptions *options = invocation->options;
    Arena *arena = invocation->arena;
    Pipeline *pipelines;
    Pipeline *pipeline;
    size_t count;
    size_t route = 0;
    Lsn from;
    if (!lsn_parse(options->from, &from)) {
        return error_set(err, ERROR_CONFIG,
                         "--from takes an LSN such as 16/B374D848, not \"%" STR_FMT "\"",
                         STR_ARG(options->from));
    }
    if (project_pipelines(options->project, options->state, STR(""), arena, &pipelines, &count,
                          err) != STATUS_OK ||
        project_find(pipelines, count, invocation->arguments.items[0], &pipeline, err) !=
            STATUS_OK ||
        check_buffer(pipeline, err) != STATUS_OK ||
        find_route(pipeline, options->route, &route, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret_part = &disk_buffer_pipelines(pipeline, arena)[route + 1];
    (*ret_part)->patience_ms = options->patience_ms;
    return disk_buffer_rewind(disk_buffer_directory(pipeline, arena), from, *ret_part, err);
}

static int replay_run(Invocation *invocation)
{
    Pipeline *part;
    Error err = {0};
    if (prepare(invocation, &part, &err) != STATUS_OK) {
        return report_error(&err);
    }
    return crew_run(part, 1, &(CrewOptions){0}, invocation->arena);
}

static const char *const examples[] = {
    "weir replay shop --route events --from 16/B374D848",
    NULL,
};

const Command replay_command = {
    .name = "replay",
    .arguments = "PIPELINE",
    .arguments_min = 1,
    .arguments_max = 1,
    .summary = "send again what a disk buffer has kept",
    .description =
        "Sends one route of a pipeline with a disk buffer everything from an LSN on once more, and "
        "ends where the route was before. The pipeline must not run meanwhile. When it is "
        "interrupted, the next weir run goes on with it. Only for targets that are streams of "
        "events: one that has tables cannot be changed twice, and finds by itself what it lacks "
        "after a restore.",
    .examples = examples,
    .options = replay_options,
    .options_size = sizeof(ReplayOptions),
    .run = replay_run,
};
