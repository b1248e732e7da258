// A pipeline with a disk buffer, taken apart into pipelines that have none.
#include <assert.h>
#include <libgen.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "buffers/disk.h"
#include "buffers/segment_log.h"
#include "io/file.h"

// Without the directory, which may be moved.
#define BUFFER_ID STR("disk:")

Str disk_buffer_directory(const Pipeline *pipeline, Arena *arena)
{
    const Setting *given = settings_find(pipeline->buffer, "dir");
    return given != NULL
               ? given->value
               : str_from(arena_printf(arena, "%" STR_FMT "/%" STR_FMT ".%" STR_FMT "/log",
                                       STR_ARG(pipeline->state_dir), STR_ARG(pipeline->name),
                                       STR_ARG(DISK_BUFFER_ROUTE)));
}

Status disk_buffer_check_named(const Pipeline *pipeline, Error *err)
{
    const PipelineRoute route = {.name = DISK_BUFFER_ROUTE, .id = BUFFER_ID};
    Arena scratch = {0};
    StateOwner owner =
        pipeline_route_owner(pipeline, &route, pipeline_route_key(pipeline, &route, &scratch));
    bool is_there = false;
    Status status = pipeline->buffer != NULL ? STATUS_OK : state_look(&owner, &is_there, NULL, err);
    if (status == STATUS_OK && is_there) {
        error_set(err, ERROR_CONFIG,
                  "the pipeline \"%" STR_FMT "\" has been run with a disk buffer",
                  STR_ARG(pipeline->name));
        status = error_hint(err,
                            "Give --buffer disk here, too, or say so in the file. If it is to have "
                            "none any more: remove \"%s\" when every target has what is in it.",
                            pipeline_route_directory(pipeline, &route, &scratch));
    }
    arena_done(&scratch);
    return status;
}

// @settings with room for @more.
static Settings *settings_copy(const Settings *settings, size_t more, Arena *arena)
{
    Settings *made = ARENA_ARRAY(arena, Settings, 1);
    *made = *settings;
    made->items = ARENA_ARRAY(arena, Setting, settings->count + more);
    for (size_t i = 0; i < settings->count; i++) {
        made->items[i] = settings->items[i];
    }
    return made;
}

static void settings_put(Settings *settings, const char *key, Str value)
{
    Setting *given = settings_find(settings, key);
    Setting *setting = given != NULL ? given : &settings->items[settings->count++];
    *setting = (Setting){.key = str_from(key), .value = value, .origin = settings->origin};
}

// How the log knows the route.
static Str reader_name(const PipelineRoute *route)
{
    return route->name.len > 0 ? route->name : STR("route");
}

static PipelineRoute *log_route(const Pipeline *pipeline, Str directory, Arena *arena)
{
    Settings *settings = settings_copy(pipeline->buffer, 2, arena);
    settings_put(settings, "dir", directory);
    Setting *readers = &settings->items[settings->count++];
    *readers = (Setting){
        .key = STR("readers"), .is_list = true, .is_internal = true, .origin = settings->origin};
    readers->list.items = ARENA_ARRAY(arena, Str, pipeline->route_count);
    for (size_t i = 0; i < pipeline->route_count; i++) {
        readers->list.items[readers->list.count++] = reader_name(&pipeline->routes[i]);
    }
    PipelineRoute *route = ARENA_ARRAY(arena, PipelineRoute, 1);
    *route = (PipelineRoute){
        .name = DISK_BUFFER_ROUTE,
        .called = "buffer",
        .sink = &disk_sink,
        .settings = settings,
        .id = BUFFER_ID,
    };
    return route;
}

// It only follows: each route copies for itself.
static Pipeline filling(const Pipeline *pipeline, Str directory, Arena *arena)
{
    Pipeline made = *pipeline;
    made.source_settings = settings_copy(pipeline->source_settings, 1, arena);
    settings_put(made.source_settings, "copy", STR("false"));
    made.routes = log_route(pipeline, directory, arena);
    made.route_count = 1;
    return made;
}

static Pipeline taking(const Pipeline *pipeline, PipelineRoute *route, Str directory, Arena *arena)
{
    Pipeline made = *pipeline;
    made.source = &disk_source;
    made.source_called = "buffer";
    made.source_settings = ARENA_ARRAY(arena, Settings, 1);
    disk_source_settings(directory, reader_name(route), pipeline->source, pipeline->source_settings,
                         arena, made.source_settings);
    made.routes = route;
    made.route_count = 1;
    return made;
}

Pipeline disk_buffer_patient(const Pipeline *pipeline, Arena *arena)
{
    Pipeline made = *pipeline;
    Settings *settings = settings_copy(pipeline->buffer, 1, arena);
    settings_put(settings, "full", STR("pause"));
    made.buffer = settings;
    return made;
}

Pipeline *disk_buffer_pipelines(const Pipeline *pipeline, Arena *arena)
{
    assert(pipeline->buffer != NULL);
    Str directory = disk_buffer_directory(pipeline, arena);
    Pipeline *made = ARENA_ARRAY(arena, Pipeline, pipeline->route_count + 1);
    made[0] = filling(pipeline, directory, arena);
    for (size_t i = 0; i < pipeline->route_count; i++) {
        made[i + 1] = taking(pipeline, &pipeline->routes[i], directory, arena);
    }
    PipelineParts *parts = ARENA_ARRAY(arena, PipelineParts, 1);
    parts->whole = pipeline;
    atomic_init(&parts->is_looked_at, false);
    atomic_uint_fast64_t *now = ARENA_ARRAY(arena, atomic_uint_fast64_t, 1);
    for (size_t i = 0; i <= pipeline->route_count; i++) {
        made[i].buffer = NULL;
        made[i].parts = parts;
        made[i].shared_now = now;
    }
    return made;
}

// ---------------------------------------------------------------------------------------------
// Looking
// ---------------------------------------------------------------------------------------------

// The directory, or what is there of the way to it.
static void check_place(Str directory, Arena *scratch, Report *report)
{
    char *path = str_to_cstr(scratch, directory);
    struct stat info;
    int code;
    while ((code = stat(path, &info) == 0 ? 0 : errno) == ENOENT && strcmp(path, ".") != 0) {
        path = dirname(path); // ends at "/" or "."
    }
    if (code == 0 && !S_ISDIR(info.st_mode)) {
        code = ENOTDIR;
    } else if (code == 0 && eaccess(path, R_OK | W_OK | X_OK) != 0) {
        code = errno;
    }
    if (code != 0) {
        Error err = {0};
        (void)file_error(&err, code, "use the directory", path);
        report_failure(report, "buffer", &err);
    }
}

void disk_buffer_check(const Pipeline *pipeline, Report *report, Checkpoint *ret_stored)
{
    Arena scratch = {0};
    Error err = {0};
    Str directory = disk_buffer_directory(pipeline, &scratch);
    const Pipeline *filler = disk_buffer_pipelines(pipeline, &scratch);
    Str key = pipeline_route_key(filler, &filler->routes[0], &scratch);
    check_place(directory, &scratch, report);
    if (disk_sink_look(directory, key.ptr, ret_stored, &err) != STATUS_OK) {
        report_failure(report, "buffer", &err);
    }
    if (settings_find(pipeline->buffer, "max_size") == NULL &&
        settings_find(pipeline->buffer, "max_age") == NULL) {
        report_problem(report, PROBLEM_NOTE, "buffer: { type: disk, max_size: 50GB }",
                       "a target that is down for long can fill the disk with the buffer");
    }
    arena_done(&scratch);
}

// ---------------------------------------------------------------------------------------------
// Once more
// ---------------------------------------------------------------------------------------------

static Status check_range(SegmentLog *log, Str directory, Lsn from, Error *err)
{
    SegmentLogRange range = segment_log_range(log);
    if (range.is_empty) {
        return error_set(err, ERROR_CONFIG, "the buffer \"%" STR_FMT "\" has nothing yet",
                         STR_ARG(directory));
    }
    if (from >= range.first.lsn && from <= range.last.lsn) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG,
              "the buffer \"%" STR_FMT "\" has " LSN_FMT " to " LSN_FMT ", not " LSN_FMT,
              STR_ARG(directory), LSN_ARG(range.first.lsn), LSN_ARG(range.last.lsn), LSN_ARG(from));
    if (from > range.last.lsn) {
        return error_hint(err, "Give an LSN that it has. What comes behind its end is delivered by "
                               "weir run, as always.");
    }
    return error_hint(err, "What every route has is dropped, but for what the buffer is to keep "
                           "(keep).");
}

// The cursor goes first: nothing may be dropped that the route is going to ask for.
static Status rewind_in(SegmentLog *log, Lsn from, Pipeline *part, Error *err)
{
    Position was;
    Str reader = settings_find(part->source_settings, "reader")->value;
    if (segment_log_forget(log, reader, err) != STATUS_OK ||
        runner_rewind(part, (Position){from, 0}, &was, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    part->parts = NULL; // the others do not run
    part->until = UNTIL_LSN;
    part->until_lsn = was.lsn;
    return STATUS_OK;
}

Status disk_buffer_rewind(Str directory, Lsn from, Pipeline *part, Error *err)
{
    Arena scratch = {0};
    SegmentLog *log = NULL;
    Status status = segment_log_open(str_to_cstr(&scratch, directory), &log, err);
    if (status == STATUS_OK && check_range(log, directory, from, err) != STATUS_OK) {
        status = STATUS_FAIL;
    }
    if (status == STATUS_OK) {
        status = rewind_in(log, from, part, err);
    }
    segment_log_close(log);
    arena_done(&scratch);
    return status;
}
