#include "cli/pipeline_options.h"

#include "base/map.h"
#include "config/config_file.h"

enum { CONNECTORS_MAX = 64, JOBS_DEFAULT = 2 };

const char *const buffer_choices[] = {"memory", "disk", NULL};

const Option guard_options[] = {
    {"watchdog", OPTION_MS(PipelineGuards, watchdog_ms), .fallback = "5min", .max = 604800000,
     .help = WATCHDOG_HELP},
    {"wal_warning", OPTION_SIZE(PipelineGuards, wal_warning), .fallback = "10GB",
     .max = INT64_C(1) << 60, .help = WAL_WARNING_HELP},
    {"wal_disk", OPTION_SIZE(PipelineGuards, wal_disk), .max = INT64_C(1) << 60,
     .help = WAL_DISK_HELP},
    {0},
};

// Both ends may be of one kind: messages say which it is.
static void name_end(Endpoint *endpoint, Str end)
{
    endpoint->settings.origin = end;
    for (size_t i = 0; i < endpoint->settings.count; i++) {
        endpoint->settings.items[i].origin = end;
    }
}

Status source_endpoint(Str text, Arena *arena, Endpoint *ret, Error *err)
{
    EndpointKind kinds[CONNECTORS_MAX];
    size_t count = 0;
    for (; source_registry[count] != NULL && count < CONNECTORS_MAX; count++) {
        kinds[count] =
            (EndpointKind){source_registry[count]->name, source_registry[count]->options};
    }
    if (endpoint_parse(text, kinds, count, arena, ret, err) == STATUS_OK) {
        name_end(ret, STR("the source's connection"));
        return STATUS_OK;
    }
    Str rest = text;
    Str scheme;
    bool is_sink = str_split(&rest, ':', &scheme) && sink_find(scheme) != NULL;
    if (is_sink && source_find(scheme) == NULL) {
        error_set(err, ERROR_CONFIG, "\"%" STR_FMT ":\" can be a sink, not a source",
                  STR_ARG(scheme));
        return error_hint(err, "The source comes first: postgres://host/database.");
    }
    return error_wrap(err, "source");
}

Status sink_endpoint(Str text, Arena *arena, Endpoint *ret, Error *err)
{
    EndpointKind kinds[CONNECTORS_MAX];
    size_t count = 0;
    for (; sink_registry[count] != NULL && count < CONNECTORS_MAX; count++) {
        kinds[count] = (EndpointKind){sink_registry[count]->name, sink_registry[count]->options};
    }
    if (endpoint_parse(text, kinds, count, arena, ret, err) != STATUS_OK) {
        return error_wrap(err, "sink");
    }
    name_end(ret, STR("the sink's connection"));
    return STATUS_OK;
}

Str default_state_dir(Arena *arena)
{
    const char *state = getenv("XDG_STATE_HOME");
    if (state != NULL && state[0] == '/') {
        return str_from(arena_printf(arena, "%s/weir", state));
    }
    const char *home = getenv("HOME");
    return str_from(arena_printf(arena, "%s/.local/state/weir", home == NULL ? "" : home));
}

static Setting *add(Settings *settings, const char *key, const char *option)
{
    Setting *setting = &settings->items[settings->count++];
    *setting = (Setting){.key = str_from(key), .origin = str_from(option)};
    return setting;
}

static void add_list(Settings *settings, const char *key, const char *option, StrList list)
{
    if (list.count > 0) {
        Setting *setting = add(settings, key, option);
        setting->is_list = true;
        setting->list = list;
    }
}

// The options of the command are settings of the source.
static Settings *source_settings(const Endpoint *endpoint, const PipelineOptions *options,
                                 Arena *arena)
{
    Settings *settings = ARENA_ARRAY(arena, Settings, 1);
    settings->origin = endpoint->settings.origin;
    settings->items = ARENA_ARRAY(arena, Setting, endpoint->settings.count + 9);
    settings->count = endpoint->settings.count;
    memcpy(settings->items, endpoint->settings.items, settings->count * sizeof(Setting));
    add_list(settings, "tables", "--table", options->tables);
    add_list(settings, "exclude_tables", "--exclude-table", options->exclude_tables);
    if (options->publication.len > 0) {
        add(settings, "publication", "--publication")->value = options->publication;
    }
    if (options->slot.len > 0) {
        add(settings, "slot", "--slot")->value = options->slot;
    }
    if (!options->copy) {
        add(settings, "copy", "--no-copy")->value = STR("false");
    }
    return settings;
}

static void append_word(Buf *name, Str word)
{
    for (size_t i = 0; i < word.len && i < 24; i++) {
        buf_char(name, config_is_name_char(word.ptr[i]) ? word.ptr[i] : '_');
    }
}

// Readable, and different for different ends: shop-to-duckdb-shop-3f2a.
static Str derive_name(const Endpoint *source, const Endpoint *sink, const char *connector,
                       Arena *arena)
{
    CLEANUP(buf_done) Buf name;
    buf_init(&name, 256);
    append_word(&name, source->name);
    buf_printf(&name, "-to-%s", connector);
    if (!str_is(sink->name, connector)) {
        buf_char(&name, '-');
        append_word(&name, sink->name);
    }
    uint64_t hash =
        hash_bytes(source->id.ptr, source->id.len) * 31 + hash_bytes(sink->id.ptr, sink->id.len);
    buf_printf(&name, "-%04x", (unsigned)(hash >> 16 & 0xffff));
    return str_copy(arena, buf_view(&name));
}

Status pipeline_check_name(Str name, Error *err)
{
    if (config_is_name(name)) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG, "\"%" STR_FMT "\" is not a valid pipeline name", STR_ARG(name));
    return error_hint(err, "Up to 100 letters, digits, _, - and . are allowed.");
}

Status pipeline_validate(const Pipeline *pipeline, Error *err)
{
    if (source_validate(pipeline->source, pipeline->source_settings, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < pipeline->route_count; i++) {
        const PipelineRoute *route = &pipeline->routes[i];
        if (sink_validate(route->sink, route->settings, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

Status pipeline_parse_until(Str text, Pipeline *ret, Error *err)
{
    if (text.len == 0) {
        ret->until = UNTIL_FOREVER;
    } else if (str_is(text, "now")) {
        ret->until = UNTIL_NOW;
    } else if (lsn_parse(text, &ret->until_lsn)) {
        ret->until = UNTIL_LSN;
    } else {
        return error_set(err, ERROR_CONFIG,
                         "--until takes \"now\" or an LSN such as 16/B374D848, not \"%" STR_FMT
                         "\"",
                         STR_ARG(text));
    }
    return STATUS_OK;
}

Status pipeline_from_options(Str source, Str sink, const PipelineOptions *options, bool copy_only,
                             Arena *arena, Pipeline *ret, Error *err)
{
    Endpoint from;
    Endpoint to;
    if (source_endpoint(source, arena, &from, err) != STATUS_OK ||
        sink_endpoint(sink, arena, &to, err) != STATUS_OK ||
        pipeline_parse_until(options->until, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    PipelineRoute *route = ARENA_ARRAY(arena, PipelineRoute, 1);
    route->sink = sink_registry[to.kind];
    route->settings = ARENA_ARRAY(arena, Settings, 1);
    *route->settings = to.settings;
    route->id = to.id;
    ret->name =
        options->name.len > 0 ? options->name : derive_name(&from, &to, route->sink->name, arena);
    ret->source = source_registry[from.kind];
    ret->source_settings = source_settings(&from, options, arena);
    ret->source_id = from.id;
    ret->routes = route;
    ret->route_count = 1;
    ret->state_dir = options->state.len > 0 ? options->state : default_state_dir(arena);
    ret->on_error = (OnError)options->on_error;
    ret->guards = options->guards;
    ret->patience_ms = options->patience_ms;
    ret->jobs = options->jobs == 0 ? JOBS_DEFAULT : options->jobs;
    if (copy_only) {
        ret->until = UNTIL_COPY;
    } else if (options->buffer == BUFFER_DISK) {
        ret->buffer = ARENA_ARRAY(arena, Settings, 1);
        ret->buffer->origin = STR("--buffer");
    }
    return pipeline_check_name(ret->name, err);
}
