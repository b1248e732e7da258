#include "cli/project_pipelines.h"

#include "cli/pipeline_options.h"
#include "config/project.h"

static Status unknown_type(const Settings *settings, const char *what, Str type,
                           const char *const *names, Error *err)
{
    error_set(err, ERROR_CONFIG, "%" STR_FMT ": unknown type of %s \"%" STR_FMT "\"",
              STR_ARG(settings->origin), what, STR_ARG(type));
    const char *nearest = nearest_name(type, names);
    return nearest == NULL ? STATUS_FAIL : error_hint(err, "Did you mean \"%s\"?", nearest);
}

static Status find_connectors(const ProjectPipeline *project, Pipeline *ret, Error *err)
{
    ret->source = source_find(project->source_type);
    ret->sink = sink_find(project->sink_type);
    const char *names[64];
    size_t count = 0;
    if (ret->source == NULL) {
        for (; source_registry[count] != NULL && count < ARRAY_LEN(names) - 1; count++) {
            names[count] = source_registry[count]->name;
        }
        names[count] = NULL;
        return unknown_type(&project->source, "source", project->source_type, names, err);
    }
    if (ret->sink == NULL) {
        for (; sink_registry[count] != NULL && count < ARRAY_LEN(names) - 1; count++) {
            names[count] = sink_registry[count]->name;
        }
        names[count] = NULL;
        return unknown_type(&project->sink, "sink", project->sink_type, names, err);
    }
    return STATUS_OK;
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
        const Setting *path = settings_find(settings, "path");
        *ret_id = endpoint_path_id(type, path == NULL ? STR("") : path->value, arena);
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

static Status load_one(ProjectPipeline *project, Arena *arena, Pipeline *ret, Error *err)
{
    if (find_connectors(project, ret, err) != STATUS_OK ||
        load_jobs(project, ret, err) != STATUS_OK ||
        load_end(&project->source, ret->source->name, true, arena, &ret->source_id, err) !=
            STATUS_OK ||
        load_end(&project->sink, ret->sink->name, false, arena, &ret->sink_id, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (pipeline_check_name(project->name, err) != STATUS_OK) {
        return error_wrap(err, "%" STR_FMT, STR_ARG(project->origin));
    }
    ret->name = project->name;
    ret->source_settings = &project->source;
    ret->sink_settings = &project->sink;
    return pipeline_validate(ret, err);
}

// A relative directory in the file is relative to the file.
static Str state_dir(const Project *project, Str given, Arena *arena)
{
    if (given.len > 0) {
        return given;
    }
    if (project->state.len == 0) {
        return default_state_dir(arena);
    }
    if (project->state.ptr[0] == '/') {
        return project->state;
    }
    size_t end = project->file.len;
    while (end > 0 && project->file.ptr[end - 1] != '/') {
        end--;
    }
    return str_from(arena_printf(arena, "%" STR_FMT "%" STR_FMT,
                                 STR_ARG(((Str){project->file.ptr, end})),
                                 STR_ARG(project->state)));
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
        if (load_one(&project.pipelines[i], arena, &pipelines[i], err) != STATUS_OK ||
            pipeline_parse_until(until, &pipelines[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        pipelines[i].state_dir = state_dir(&project, state, arena);
    }
    *ret = pipelines;
    *ret_count = project.count;
    return STATUS_OK;
}
