#include "hub/hub_pipelines.h"

#include "base/limits.h"
#include "base/mem.h"
#include "buffers/disk.h"
#include "hub/hub_origin.h"
#include "hub/hub_table.h"
#include "hub/listener.h"
#include "hub/push_postgres.h"
#include "hub/push_stripe.h"
#include "hub/receive.h"
#include "hub/stripe_source.h"
#include "hub/webhook_source.h"

// What a target, or a source, that is the hub itself is called.
static Str hub_id(Arena *arena, Str name)
{
    return str_from(arena_printf(arena, "hub:%" STR_FMT, STR_ARG(name)));
}

static Setting *add_setting(Settings *settings, const char *key, Str value)
{
    Setting *setting = &settings->items[settings->count++];
    *setting = (Setting){.key = str_from(key), .value = value, .origin = settings->origin};
    return setting;
}

static Setting *add_list(Settings *settings, const char *key, size_t room, Arena *arena)
{
    Setting *setting = add_setting(settings, key, STR(""));
    setting->is_list = true;
    setting->list.items = ARENA_ARRAY(arena, Str, room);
    return setting;
}

static Settings *new_settings(Arena *arena, size_t room, Str origin)
{
    Settings *settings = ARENA_ARRAY(arena, Settings, 1);
    *settings = (Settings){.items = ARENA_ARRAY(arena, Setting, room), .origin = origin};
    return settings;
}

// ---------------------------------------------------------------------------------------------
// The log
// ---------------------------------------------------------------------------------------------

static Str log_directory(Arena *arena, Str name, const Pipeline *like)
{
    return str_from(arena_printf(arena, "%" STR_FMT "/%" STR_FMT ".log", STR_ARG(like->state_dir),
                                 STR_ARG(name)));
}

static const char *stage_directory(Arena *arena, Str pipeline, const Pipeline *like)
{
    return arena_printf(arena, "%" STR_FMT "/%" STR_FMT ".stage", STR_ARG(like->state_dir),
                        STR_ARG(pipeline));
}

static Str memory_path(Arena *arena, Str name, const Pipeline *like)
{
    return str_from(arena_printf(arena, "%" STR_FMT "/%" STR_FMT ".memory.db",
                                 STR_ARG(like->state_dir), STR_ARG(name)));
}

static void make_log(HubPipelines *made, const Hub *hub, Str name, Str directory)
{
    Settings *settings = new_settings(&made->arena, 2, STR("the hub"));
    (void)add_setting(settings, "dir", directory);
    Setting *readers = add_list(settings, "readers", hub->system_count, &made->arena);
    readers->is_internal = true;
    for (size_t i = 0; i < hub->system_count; i++) {
        if (hub->systems[i].push_count > 0) {
            readers->list.items[readers->list.count++] = hub->systems[i].name;
        }
    }
    made->log = hub_log_new(name, settings, made->memory);
}

// ---------------------------------------------------------------------------------------------
// Systems
// ---------------------------------------------------------------------------------------------

static Settings *postgres_source(HubPipelines *made, const HubSystem *system)
{
    const PostgresqlSettings *from = &system->postgresql;
    Settings *settings = new_settings(&made->arena, 3, system->origin);
    Str url =
        from->replication_dsn.len > 0 ? from->replication_dsn : hub_connection(from, &made->arena);
    (void)add_setting(settings, "url", url);
    (void)add_setting(settings, "copy", from->copy ? STR("true") : STR("false"));
    Setting *tables = add_list(settings, "tables", system->receive_count, &made->arena);
    for (size_t i = 0; i < system->receive_count; i++) {
        tables->list.items[tables->list.count++] = system->receive[i].name;
    }
    return settings;
}

// In front of errors.
#define LOG_CALLED "the hub's log"

static const char *system_called(HubPipelines *made, const HubSystem *system)
{
    return arena_printf(&made->arena, "system %" STR_FMT, STR_ARG(system->name));
}

static PipelineRoute *only_route(HubPipelines *made, const SinkOps *sink, Str id,
                                 const char *called, const HubEnd *end)
{
    PipelineRoute *route = ARENA_ARRAY(&made->arena, PipelineRoute, 1);
    *route = (PipelineRoute){.sink = sink,
                             .settings = new_settings(&made->arena, 1, end->system->origin),
                             .id = id,
                             .called = called,
                             .subject = end};
    return route;
}

static Str name_of(Arena *arena, Str name, const char *direction, const HubSystem *system)
{
    return str_from(arena_printf(arena, "%" STR_FMT ".%s.%" STR_FMT, STR_ARG(name), direction,
                                 STR_ARG(system->name)));
}

const char *hub_system_origin(Str name, const HubSystem *system, Arena *arena)
{
    return hub_origin_name(name_of(arena, name, "to", system).ptr, arena).ptr;
}

static void add_receiving(HubPipelines *made, Str name, HubEnd *end, const Pipeline *like)
{
    const HubSystem *system = end->system;
    Pipeline *pipeline = &made->receiving[made->receiving_count++];
    *pipeline = *like;
    pipeline->name = name_of(&made->arena, name, "from", system);
    end->stage = stage_directory(&made->arena, pipeline->name, like);
    if (system->type != SYSTEM_POSTGRESQL) {
        pipeline->source = system->type == SYSTEM_STRIPE ? &hub_stripe_source : &hub_webhook_source;
        pipeline->source_settings = new_settings(&made->arena, 1, system->origin);
        end->inbox = inbox_new();
        end->url = listener_url(made->listen, system->name, &made->arena);
        made->has_inbox = true;
    } else {
        pipeline->source = source_find(STR("postgres"));
        pipeline->source_settings = postgres_source(made, system);
    }
    pipeline->source_id = system->name;
    pipeline->source_called = system_called(made, system);
    pipeline->source_subject = end;
    pipeline->routes = only_route(made, &hub_receive, hub_id(&made->arena, name), LOG_CALLED, end);
    pipeline->route_count = 1;
}

static void add_pushing(HubPipelines *made, Str name, const HubEnd *end, Str directory,
                        const Pipeline *like)
{
    static const SinkOps *const sinks[] = {
        [SYSTEM_POSTGRESQL] = &hub_push_postgres, [SYSTEM_STRIPE] = &hub_push_stripe};
    const HubSystem *system = end->system;
    Settings *settings = new_settings(&made->arena, 2, system->origin);
    (void)add_setting(settings, "dir", directory);
    (void)add_setting(settings, "reader", system->name);
    Pipeline *pipeline = &made->pushing[made->pushing_count++];
    *pipeline = *like;
    pipeline->name = name_of(&made->arena, name, "to", system);
    pipeline->source = &disk_source;
    pipeline->source_settings = settings;
    pipeline->source_id = hub_id(&made->arena, name);
    pipeline->source_called = LOG_CALLED;
    pipeline->source_subject = end;
    pipeline->routes =
        only_route(made, sinks[system->type], system->name, system_called(made, system), end);
    pipeline->route_count = 1;
}

static void add_system(HubPipelines *made, Str name, const HubSystem *system, Str directory,
                       const Pipeline *like)
{
    HubEnd *end = &made->ends[system - made->ends[0].hub->systems];
    end->memory = system->type == SYSTEM_STRIPE ? made->memory : NULL;
    end->origin = hub_system_origin(name, system, &made->arena);
    if (system->receive_count > 0) {
        add_receiving(made, name, end, like);
    }
    if (system->push_count > 0) {
        add_pushing(made, name, end, directory, like);
    }
}

// The log knows its readers one by one.
static Status check_readers(const Hub *hub, Error *err)
{
    size_t readers = 0;
    for (size_t i = 0; i < hub->system_count; i++) {
        readers += hub->systems[i].push_count > 0;
    }
    return readers <= LIMIT_ROUTES
               ? STATUS_OK
               : error_set(err, ERROR_CONFIG, "%zu systems are pushed to, and %d can be", readers,
                           LIMIT_ROUTES);
}

Status hub_pipelines_new(const Hub *hub, Str name, Str listen, const Pipeline *like,
                         HubPipelines **ret, Error *err)
{
    if (check_readers(hub, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    HubPipelines *made = mem_alloc_zero(sizeof(*made));
    Arena *arena = &made->arena;
    Str address = listen.len > 0 ? listen : hub->listen;
    made->listen = address.len > 0 ? address : STR(LISTENER_ADDRESS);
    made->ends = ARENA_ARRAY(arena, HubEnd, hub->system_count + 1);
    made->receiving = ARENA_ARRAY(arena, Pipeline, hub->system_count);
    made->pushing = ARENA_ARRAY(arena, Pipeline, hub->system_count);
    Str directory = log_directory(arena, name, like);
    made->memory = hub_memory_new(memory_path(arena, name, like), hub->keep_duplicates_ms);
    make_log(made, hub, name, directory);
    made->end_count = hub->system_count;
    for (size_t i = 0; i < hub->system_count; i++) {
        made->ends[i] = (HubEnd){.hub = hub, .system = &hub->systems[i], .log = made->log};
    }
    for (size_t i = 0; i < hub->system_count; i++) {
        add_system(made, name, &hub->systems[i], directory, like);
    }
    *ret = made;
    return STATUS_OK;
}

void hub_pipelines_free(HubPipelines *pipelines)
{
    if (pipelines != NULL) {
        for (size_t i = 0; i < pipelines->end_count; i++) {
            inbox_free(pipelines->ends[i].inbox);
        }
        hub_log_free(pipelines->log);
        hub_memory_free(pipelines->memory);
        arena_done(&pipelines->arena);
        mem_free(pipelines);
    }
}
