#include "cli/project_pipelines.h"

#include "cli/pipeline_options.h"
#include "config/project.h"

static Str setting_value(const Settings *settings, const char *key)
{
    for (size_t i = 0; i < settings->count; i++) {
        if (str_is(settings->items[i].key, key)) {
            return settings->items[i].value;
        }
    }
    return (Str){NULL, 0};
}

static Status unknown_type(const ProjectPipeline *project, const char *what, Str type,
                           const char *const *names, Error *err)
{
    error_set(err, ERROR_CONFIG, "%" STR_FMT ": unknown type of %s \"%" STR_FMT "\"",
              STR_ARG(project->origin), what, STR_ARG(type));
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
        return unknown_type(project, "source", project->source_type, names, err);
    }
    if (ret->sink == NULL) {
        for (; sink_registry[count] != NULL && count < ARRAY_LEN(names) - 1; count++) {
            names[count] = sink_registry[count]->name;
        }
        names[count] = NULL;
        return unknown_type(project, "sink", project->sink_type, names, err);
    }
    return STATUS_OK;
}

// What names an end without telling a secret: parsed as on the command line.
static Status describe_end(const Settings *settings, const char *type, bool is_source, Arena *arena,
                           Str *ret, Error *err)
{
    Str url = setting_value(settings, "url");
    Str path = setting_value(settings, "path");
    Endpoint endpoint;
    if (url.len == 0) {
        url = str_from(arena_printf(arena, "%s:%" STR_FMT, type, STR_ARG(path)));
    }
    Status status = is_source ? source_endpoint(url, arena, &endpoint, err)
                              : sink_endpoint(url, arena, &endpoint, err);
    if (status == STATUS_OK) {
        *ret = endpoint.id;
    }
    return status;
}

static Status load_jobs(const ProjectPipeline *project, Pipeline *ret, Error *err)
{
    ret->jobs = 2;
    if (project->jobs.len > 0 &&
        (!str_to_int64(project->jobs, &ret->jobs) || ret->jobs < 1 || ret->jobs > 64)) {
        return error_set(err, ERROR_CONFIG,
                         "%" STR_FMT ": \"jobs\" has the value \"%" STR_FMT
                         "\", expected a whole number from 1 to 64",
                         STR_ARG(project->origin), STR_ARG(project->jobs));
    }
    return STATUS_OK;
}

static Status load_one(ProjectPipeline *project, Arena *arena, Pipeline *ret, Error *err)
{
    if (find_connectors(project, ret, err) != STATUS_OK ||
        load_jobs(project, ret, err) != STATUS_OK ||
        describe_end(&project->source, ret->source->name, true, arena, &ret->source_id, err) !=
            STATUS_OK ||
        describe_end(&project->sink, ret->sink->name, false, arena, &ret->sink_id, err) !=
            STATUS_OK ||
        pipeline_check_name(project->name, err) != STATUS_OK) {
        return error_wrap(err, "pipeline \"%" STR_FMT "\"", STR_ARG(project->name));
    }
    ret->name = project->name;
    ret->source_settings = &project->source;
    ret->sink_settings = &project->sink;
    return STATUS_OK;
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
