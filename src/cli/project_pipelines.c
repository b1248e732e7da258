#include "cli/project_pipelines.h"

#include <unistd.h>

#include "buffers/disk.h"
#include "cli/pipeline_options.h"
#include "config/config_file.h"
#include "config/project.h"

static Status unknown_type(const Settings *settings, const char *what, Str type,
                           const char *const *names, Error *err)
{
    error_set(err, ERROR_CONFIG, "%" STR_FMT ": unknown type of %s \"%" STR_FMT "\"",
              STR_ARG(settings->origin), what, STR_ARG(type));
    (void)suggest_nearest(type, names, "", err);
    return STATUS_FAIL;
}

static Status find_source(const ProjectEnd *end, const SourceOps **ret, Error *err)
{
    *ret = source_find(end->type);
    if (*ret != NULL) {
        return STATUS_OK;
    }
    const char *names[64] = {0};
    for (size_t i = 0; source_registry[i] != NULL && i < ARRAY_LEN(names) - 1; i++) {
        names[i] = source_registry[i]->name;
    }
    return unknown_type(&end->settings, "source", end->type, names, err);
}

static Status find_sink(const ProjectEnd *end, const SinkOps **ret, Error *err)
{
    *ret = sink_find(end->type);
    if (*ret != NULL) {
        return STATUS_OK;
    }
    const char *names[64] = {0};
    for (size_t i = 0; sink_registry[i] != NULL && i < ARRAY_LEN(names) - 1; i++) {
        names[i] = sink_registry[i]->name;
    }
    return unknown_type(&end->settings, "sink", end->type, names, err);
}

static Status wrong_type(const Setting *url, const char *type, const char *found, Error *err)
{
    return error_set(err, ERROR_CONFIG,
                     "%" STR_FMT ": the type is \"%s\", and the url is one of \"%s\"",
                     STR_ARG(url->origin), type, found);
}

// `url:` is what would stand on a command line: the options in it become settings of their own.
// *ret_id names the end without telling a secret.
static Status load_end(Settings *settings, const char *type, bool is_source, Arena *arena,
                       Str *ret_id, Error *err)
{
    Setting *url = settings_find(settings, "url");
    if (url == NULL || url->is_list) {
        *ret_id = endpoint_path_id(type, STR(""), arena);
        return STATUS_OK;
    }
    Endpoint endpoint;
    Status status = is_source ? source_endpoint(url->value, arena, &endpoint, err)
                              : sink_endpoint(url->value, arena, &endpoint, err);
    if (status != STATUS_OK) {
        return error_wrap(err, "%" STR_FMT, STR_ARG(url->origin));
    }
    const char *found =
        is_source ? source_registry[endpoint.kind]->name : sink_registry[endpoint.kind]->name;
    if (strcmp(found, type) != 0) {
        return wrong_type(url, type, found, err);
    }
    Setting *items = ARENA_ARRAY(arena, Setting, settings->count + endpoint.settings.count);
    size_t count = 0;
    for (size_t i = 0; i < settings->count; i++) {
        if (&settings->items[i] != url) {
            items[count++] = settings->items[i];
        }
    }
    for (size_t i = 0; i < endpoint.settings.count; i++) {
        items[count] = endpoint.settings.items[i];
        items[count++].origin = url->origin;
    }
    settings->items = items;
    settings->count = count;
    *ret_id = endpoint.id;
    return STATUS_OK;
}

static void anchor(const Project *project, Settings *settings, const char *key, Arena *arena)
{
    Setting *setting = settings_find(settings, key);
    if (setting != NULL && !setting->is_list) {
        setting->value = config_beside(project->file, setting->value, arena);
    }
}

// Behind load_end().
static void anchor_paths(const Project *project, Settings *settings, const char *type, Arena *arena,
                         Str *id)
{
    anchor(project, settings, "spill_dir", arena);
    anchor(project, settings, "path", arena);
    anchor(project, settings, "ca_file", arena);
    const Setting *path = settings_find(settings, "path");
    if (path != NULL && !path->is_list) {
        *id = endpoint_path_id(type, path->value, arena);
    }
}

static Status load_jobs(const ProjectPipeline *project, Pipeline *ret, Error *err)
{
    ret->jobs = 2;
    Str text = project->jobs.value;
    if (text.len > 0 && (!str_to_int64(text, &ret->jobs) || ret->jobs < 1 || ret->jobs > 64)) {
        return error_set(err, ERROR_CONFIG,
                         "%" STR_FMT ": \"jobs\" has the value \"%" STR_FMT
                         "\", expected a whole number from 1 to 64",
                         STR_ARG(project->jobs.origin), STR_ARG(text));
    }
    return STATUS_OK;
}

static Status load_on_error(const ProjectPipeline *project, Pipeline *ret, Error *err)
{
    Str text = project->on_error.value;
    for (int i = 0; on_error_choices[i] != NULL; i++) {
        if (text.len == 0 || str_is(text, on_error_choices[i])) {
            ret->on_error = (OnError)i; // the first is what it is when nothing is said
            return STATUS_OK;
        }
    }
    error_set(err, ERROR_CONFIG,
              "%" STR_FMT ": \"on_error\" has the value \"%" STR_FMT "\", which is no policy",
              STR_ARG(project->on_error.origin), STR_ARG(text));
    return error_hint(err, "It is \"stop\" or \"dead-letter\".");
}

static Status load_route(const Project *project, ProjectEnd *end, Arena *arena, PipelineRoute *ret,
                         Error *err)
{
    if (end->name.len > 0 && pipeline_check_name(end->name, err) != STATUS_OK) {
        return error_wrap(err, "%" STR_FMT, STR_ARG(end->settings.origin));
    }
    ret->name = end->name;
    ret->settings = &end->settings;
    if (find_sink(end, &ret->sink, err) != STATUS_OK ||
        load_end(ret->settings, ret->sink->name, false, arena, &ret->id, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    anchor_paths(project, ret->settings, ret->sink->name, arena, &ret->id);
    return STATUS_OK;
}

static Status load_one(const Project *project, ProjectPipeline *from, Arena *arena, Pipeline *ret,
                       Error *err)
{
    Settings *source = &from->source.settings;
    if (find_source(&from->source, &ret->source, err) != STATUS_OK ||
        load_jobs(from, ret, err) != STATUS_OK || load_on_error(from, ret, err) != STATUS_OK ||
        options_apply(guard_options, &ret->guards, &from->guards, arena, err) != STATUS_OK ||
        load_end(source, ret->source->name, true, arena, &ret->source_id, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    ret->routes = ARENA_ARRAY(arena, PipelineRoute, from->sink_count);
    for (; ret->route_count < from->sink_count; ret->route_count++) {
        size_t i = ret->route_count;
        if (load_route(project, &from->sinks[i], arena, &ret->routes[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    if (pipeline_check_name(from->name, err) != STATUS_OK) {
        return error_wrap(err, "%" STR_FMT, STR_ARG(from->origin));
    }
    ret->name = from->name;
    ret->source_settings = source;
    return pipeline_validate(ret, err);
}

static Str state_dir(const Project *project, Str given, Arena *arena)
{
    if (given.len > 0) {
        return given;
    }
    return project->state.len == 0 ? default_state_dir(arena)
                                   : config_beside(project->file, project->state, arena);
}

static Status check_route_names(const Pipeline *pipeline, Error *err)
{
    for (size_t i = 0; i < pipeline->route_count; i++) {
        const PipelineRoute *route = &pipeline->routes[i];
        if (str_equal(route->name, DISK_BUFFER_ROUTE)) {
            error_set(err, ERROR_CONFIG,
                      "%" STR_FMT ": \"%" STR_FMT "\" is the name of the buffer itself",
                      STR_ARG(route->settings->origin), STR_ARG(route->name));
            return error_hint(err, "Give the place another one: { connection: …, name: … }.");
        }
    }
    return STATUS_OK;
}

static Status load_buffer(const Project *project, ProjectPipeline *from, Arena *arena,
                          Pipeline *ret, Error *err)
{
    Settings *settings = &from->buffer_settings;
    if (!str_is(from->buffer, "disk")) {
        return settings->count == 0 ? STATUS_OK
                                    : error_set(err, ERROR_CONFIG,
                                                "%" STR_FMT ": a buffer in memory has no settings",
                                                STR_ARG(settings->items[0].origin));
    }
    anchor(project, settings, "dir", arena);
    ret->buffer = settings;
    Pipeline *parts = disk_buffer_pipelines(ret, arena);
    return check_route_names(ret, err) == STATUS_OK ? pipeline_validate(&parts[0], err)
                                                    : STATUS_FAIL;
}

bool project_is_named(const StrList *arguments, Arena *arena)
{
    if (arguments->count != 1) {
        return arguments->count == 0;
    }
    Str word = arguments->items[0];
    bool may_connect = str_find(word, ':') >= 0 || str_find(word, '=') >= 0;
    return !may_connect || access(str_to_cstr(arena, word), F_OK) == 0;
}

Status project_pipelines(Str path, Str state, Str until, Arena *arena, Pipeline **ret,
                         size_t *ret_count, Error *err)
{
    Project project;
    if (project_load(path, arena, &project, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (project.count == 0) {
        return error_set(err, ERROR_CONFIG, "%" STR_FMT ": there is no pipeline in it",
                         STR_ARG(project.file));
    }
    Pipeline *pipelines = ARENA_ARRAY(arena, Pipeline, project.count);
    for (size_t i = 0; i < project.count; i++) {
        pipelines[i].state_dir = state_dir(&project, state, arena);
        if (load_one(&project, &project.pipelines[i], arena, &pipelines[i], err) != STATUS_OK ||
            load_buffer(&project, &project.pipelines[i], arena, &pipelines[i], err) != STATUS_OK ||
            pipeline_parse_until(until, &pipelines[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    *ret = pipelines;
    *ret_count = project.count;
    return STATUS_OK;
}

Str project_path(const StrList *arguments)
{
    return arguments->count == 0 ? STR(".") : arguments->items[0];
}

Status project_find(Pipeline *pipelines, size_t count, Str name, Pipeline **ret, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (str_equal(pipelines[i].name, name)) {
            *ret = &pipelines[i];
            return STATUS_OK;
        }
    }
    return error_set(err, ERROR_CONFIG, "the project has no pipeline \"%" STR_FMT "\"",
                     STR_ARG(name));
}
