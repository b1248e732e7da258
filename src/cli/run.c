// weir run: every pipeline of a project file.
#include <unistd.h>

#include "buffers/disk.h"
#include "cli/command.h"
#include "cli/crew.h"
#include "cli/pipeline_options.h"
#include "cli/project_pipelines.h"
#include "cli/run_hub.h"
#include "model/hub.h"

static const Option run_options[] = {
    {"until", OPTION_STRING(RunOptions, until), .value_name = "now|LSN",
     .help = "Stop when everything committed before now, or before an LSN, is delivered."},
    PATIENCE_OPTION(RunOptions, patience_ms),
    {"state", OPTION_STRING(RunOptions, state), .value_name = "DIR",
     .help = "Directory for the state. Default: what the file says, else $XDG_STATE_HOME/weir or "
             "~/.local/state/weir."},
    METRICS_OPTION(RunOptions),
    {"listen", OPTION_STRING(RunOptions, listen), .value_name = "HOST:PORT",
     .help = "Of a hub: where webhooks come in. Default: what its weir.yml says, else "
             "127.0.0.1:4000."},
    {0},
};

static int run_run(Invocation *invocation)
{
    RunOptions *options = invocation->options;
    Str path = project_path(&invocation->arguments);
    Pipeline *pipelines;
    size_t count;
    Error err = {0};
    if (may_be_connection(path) && access(str_to_cstr(invocation->arena, path), F_OK) != 0) {
        error_set(&err, ERROR_CONFIG, "\"weir run\" takes a project, and was given a connection");
        error_hint(&err, "For example: weir stream SOURCE SINK.");
        return report_error(&err);
    }
    if (hub_is_at(path)) {
        return run_hub(path, options, invocation->arena);
    }
    if (options->listen.len > 0) {
        error_set(&err, ERROR_CONFIG, "--listen is for a hub, and this is none");
        return report_error(&err);
    }
    if (project_pipelines(path, options->state, options->until, invocation->arena, &pipelines,
                          &count, &err) != STATUS_OK) {
        return report_error(&err);
    }
    for (size_t i = 0; i < count; i++) {
        pipelines[i].patience_ms = options->patience_ms;
        if (disk_buffer_check_named(&pipelines[i], &err) != STATUS_OK) {
            return report_error(&err);
        }
    }
    CrewOptions crew = {.metrics = options->metrics};
    return crew_run(pipelines, count, &crew, invocation->arena);
}

static const char *const examples[] = {"weir run", "weir run pipelines/ --until now", NULL};

const Command run_command = {
    .name = "run",
    .arguments = "[DIR|FILE]",
    .arguments_max = 1,
    .summary = "run every pipeline of a project, or a hub",
    .description =
        "Reads weir.yml in DIR (by default here), or FILE, and runs all of its pipelines. One "
        "that fails does not stop the others; how each ended is said, and the exit code "
        "is that of the worst. A folder with models and systems is a hub, which keeps its systems "
        "in step (docs/hub.md).",
    .examples = examples,
    .options = run_options,
    .options_size = sizeof(RunOptions),
    .run = run_run,
};
