#include "cli/run_hub.h"

#include <sys/stat.h>

#include "cli/command.h"
#include "cli/crew.h"
#include "cli/ending.h"
#include "cli/hub_owner.h"
#include "cli/pipeline_options.h"
#include "cli/project_pipelines.h"
#include "config/config_file.h"
#include "hub/hub_pipelines.h"
#include "hub/listener.h"
#include "pipeline/advice.h"

Str hub_name(const Hub *hub, Str path, Arena *arena)
{
    if (hub->name.len > 0) {
        return hub->name;
    }
    struct stat info;
    char *place = str_to_cstr(arena, str_from(hub_place(path, arena)));
    char *slash = strrchr(place, '/');
    if (slash != NULL && stat(place, &info) == 0 && !S_ISDIR(info.st_mode)) {
        *slash = '\0'; // of the file
        slash = strrchr(place, '/');
    }
    char *name = slash == NULL ? place : slash + 1;
    for (char *byte = name; *byte != '\0'; byte++) {
        *byte = config_is_name_char(*byte) ? *byte : '_';
    }
    return config_is_name(str_from(name)) ? str_from(name) : STR("hub");
}

static Str state_dir(const Hub *hub, const RunOptions *options, Arena *arena)
{
    if (options->state.len > 0) {
        return options->state;
    }
    return hub->state.len > 0 ? hub->state : default_state_dir(arena);
}

static Status load_common(const Hub *hub, const RunOptions *options, Arena *arena, Pipeline *ret,
                          Error *err)
{
    Settings no_guards = {0};
    *ret = (Pipeline){
        .state_dir = state_dir(hub, options, arena),
        .patience_ms = options->patience_ms,
        .jobs = 2,
        .on_error = ON_ERROR_DEAD_LETTER,
    };
    if (options_apply(guard_options, &ret->guards, &no_guards, arena, err) != STATUS_OK ||
        pipeline_parse_until(options->until, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (ret->until == UNTIL_LSN) {
        error_set(err, ERROR_CONFIG, "an LSN is no end for a hub, which has several systems");
        return error_hint(err, "Say --until now, or nothing.");
    }
    return STATUS_OK;
}

// What is pushed may say something in its turn, as Stripe does which ids it gives: that is pushed,
// too.
static int push_to_end(const HubPipelines *pipelines, const CrewOptions *crew, Arena *arena)
{
    int code;
    Lsn before;
    do {
        before = hub_log_tail(pipelines->log);
        code = crew_run(pipelines->pushing, pipelines->pushing_count, crew, arena);
    } while (code == EXIT_DONE && hub_log_tail(pipelines->log) != before);
    return code;
}

// With an end to come to, all that is received is in the log before anything is pushed: then the
// log's end is where pushing ends.
static int run_to_end(const HubPipelines *pipelines, const CrewOptions *crew, Arena *arena)
{
    int code = pipelines->receiving_count == 0
                   ? EXIT_DONE
                   : crew_run(pipelines->receiving, pipelines->receiving_count, crew, arena);
    return code != EXIT_DONE || pipelines->pushing_count == 0 ? code
                                                              : push_to_end(pipelines, crew, arena);
}

static int run_for_ever(const HubPipelines *pipelines, const CrewOptions *crew, Arena *arena)
{
    Listener *listener = NULL;
    Error err = {0};
    if (pipelines->has_inbox &&
        listener_start(pipelines->listen, pipelines->ends, pipelines->end_count, &listener, &err) !=
            STATUS_OK) {
        return report_error(&err);
    }
    size_t count = pipelines->receiving_count + pipelines->pushing_count;
    Pipeline *all = ARENA_ARRAY(arena, Pipeline, count);
    for (size_t i = 0; i < pipelines->receiving_count; i++) {
        all[i] = pipelines->receiving[i];
    }
    for (size_t i = 0; i < pipelines->pushing_count; i++) {
        all[pipelines->receiving_count + i] = pipelines->pushing[i];
    }
    int code = crew_run(all, count, crew, arena);
    listener_stop(listener);
    return code;
}

#define HUB_NAME "(hub: { name: NAME } in its weir.yml)"

static const Advice of_hub = {
    .another_name = "another name, by one of the hub " HUB_NAME,
    .start_anew = "Start the hub again under another name " HUB_NAME ": what happens from then on "
                  "is received, and of a system with copy: true all of its rows.",
    .fill_anew = "Start the hub again under another name " HUB_NAME ", with copy: true of the "
                 "systems whose rows are to be pushed anew.",
};

int run_hub(Str path, const RunOptions *options, Arena *arena)
{
    Hub *hub;
    Pipeline common;
    HubPipelines *pipelines;
    Error err = {0};
    advice_set(&of_hub);
    if (hub_load(path, &hub, &err) != STATUS_OK) {
        return report_error(&err);
    }
    Str name = hub_name(hub, path, arena);
    if (load_common(hub, options, arena, &common, &err) != STATUS_OK ||
        hub_pipelines_new(hub, name, options->listen, &common, &pipelines, &err) != STATUS_OK) {
        hub_free(hub);
        return report_error(&err);
    }
    if (hub_own(common.state_dir, name, hub_place(path, arena), hub, &err) != STATUS_OK) {
        hub_pipelines_free(pipelines);
        hub_free(hub);
        return report_error(&err);
    }
    CrewOptions crew = {.metrics = options->metrics};
    int code = common.until == UNTIL_FOREVER ? run_for_ever(pipelines, &crew, arena)
                                             : run_to_end(pipelines, &crew, arena);
    hub_pipelines_free(pipelines);
    hub_free(hub);
    return code;
}
