#include "control/monitor.h"

#include <assert.h>
#include <pthread.h>

#include "base/mem.h"

// A look at the server that is older says nothing of what it does now.
enum { SIGHT_MS = 30000 };

// What is remembered of one route from look to look.
typedef struct RouteMemory {
    Rate changes;
    Rate bytes;
    Rate rows;
    Watchdog dog;
} RouteMemory;

typedef struct Memory {
    RouteMemory *routes;
    Watchdog dog; // of what comes before the routes
    WalGuard guard;
    WalFigures wal;
    bool has_slot;
} Memory;

struct Monitor {
    const Watched *watched;
    size_t count;
    Arena arena;
    pthread_mutex_t lock; // of the memories
    Memory *memories;
};

Monitor *monitor_new(const Watched *watched, size_t count)
{
    Monitor *monitor = mem_alloc_zero(sizeof(*monitor));
    monitor->watched = watched;
    monitor->count = count;
    monitor->memories = ARENA_ARRAY(&monitor->arena, Memory, count);
    for (size_t i = 0; i < count; i++) {
        size_t routes = watched[i].pipeline->route_count;
        Memory *memory = &monitor->memories[i];
        const PipelineGuards *guards = &watched[i].pipeline->guards;
        memory->routes = ARENA_ARRAY(&monitor->arena, RouteMemory, routes);
        memory->dog.limit_ms = guards->watchdog_ms;
        wal_guard_init(&memory->guard, guards->wal_warning);
        for (size_t j = 0; j < routes; j++) {
            memory->routes[j].dog.limit_ms = guards->watchdog_ms;
        }
    }
    (void)pthread_mutex_init(&monitor->lock, NULL);
    return monitor;
}

void monitor_free(Monitor *monitor)
{
    if (monitor != NULL) {
        (void)pthread_mutex_destroy(&monitor->lock);
        arena_done(&monitor->arena);
        mem_free(monitor);
    }
}

size_t monitor_count(const Monitor *monitor)
{
    return monitor->count;
}

// ---------------------------------------------------------------------------------------------
// What stands still
// ---------------------------------------------------------------------------------------------

static bool is_streaming(RunnerPhase phase)
{
    return phase == PHASE_STREAMING || phase == PHASE_DRAINING;
}

static Stage stage_of_route(const RouteStats *route, RunnerPhase phase)
{
    if (phase == PHASE_COPYING || (is_streaming(phase) && route->is_copying)) {
        return route->is_indexing ? STAGE_INDEX : STAGE_COPY;
    }
    if (!is_streaming(phase)) {
        return STAGE_NONE;
    }
    if (route->activity != ACTIVITY_NONE) {
        return route->activity == ACTIVITY_WRITE ? STAGE_WRITE : STAGE_COMMIT;
    }
    return route->delivered < route->wanted ? STAGE_DELIVER : STAGE_NONE;
}

// What a disk buffer's reader waits for while it opens, the one that fills it says. And nothing is
// known of a server that is not seen.
static Stage stage_of_source(const Watched *watched, const RunnerStats *stats,
                             const SourceSight *sight, int64_t now_ms)
{
    if (stats->phase == PHASE_STARTING) {
        return watched->filler == NULL ? STAGE_OPEN : STAGE_NONE;
    }
    bool is_seen = sight->seen_us != 0 && now_ms - sight->seen_us / 1000 < SIGHT_MS;
    // A drain takes nothing more in.
    if (stats->phase != PHASE_STREAMING || !is_seen || sight->head <= stats->received) {
        return STAGE_NONE;
    }
    return stats->is_full ? STAGE_QUEUE : STAGE_SERVER;
}

static void tell(const Watched *watched, Str route, const Watchdog *dog, WatchdogVerdict verdict,
                 const char *table)
{
    LogScope pipeline = {NULL, "pipeline", watched->pipeline->name};
    LogScope named = {&pipeline, "route", route};
    const LogScope *scope = route.len > 0 ? &named : &pipeline;
    Stage stage = verdict == WATCHDOG_MOVES ? dog->was : dog->stage;
    LogField fields[5] = {
        LOG_CSTR("stage", stage_name(stage)),
        LOG_INT("for_s", dog->for_ms / 1000),
    };
    size_t count = 2;
    if ((stage == STAGE_COPY || stage == STAGE_INDEX) && table[0] != '\0') {
        fields[count++] = LOG_CSTR("table", table);
    }
    if (verdict == WATCHDOG_STALLED) {
        fields[count++] = LOG_CSTR("what", stage_text(stage));
    }
    log_write(verdict == WATCHDOG_STALLED ? LOG_WARN : LOG_INFO, scope,
              verdict == WATCHDOG_STALLED ? "stalled" : "moves again", fields);
}

static void watch(const Watched *watched, Str route, Watchdog *dog, const WatchdogFigures *figures,
                  const char *table)
{
    WatchdogVerdict verdict = watchdog_look(dog, figures);
    if (verdict != WATCHDOG_NOTHING_NEW) {
        tell(watched, route, dog, verdict, table);
    }
}

uint64_t route_progress(const RouteStats *route, bool counts_work)
{
    const uint64_t values[] = {
        route->delivered,
        route->durable,
        route->activities,
        (uint64_t)route->changes,
        (uint64_t)route->copy_rows,
        (uint64_t)route->copy_bytes,
        (uint64_t)route->tables_done,
        counts_work ? route->at_work : 0,
    };
    return progress_of(values, ARRAY_LEN(values));
}

static void watch_route(const Watched *watched, Watchdog *dog, const RouteStats *route,
                        RunnerPhase phase, int64_t now_ms)
{
    Stage stage = stage_of_route(route, phase);
    // Nothing else tells how far an index is.
    WatchdogFigures figures = {now_ms, stage, route_progress(route, stage == STAGE_INDEX)};
    watch(watched, route->name, dog, &figures, route->copy_table);
}

// A route that stands still holds up what comes before it: that is said once.
static void watch_source(const Watched *watched, Memory *memory, const RunnerStats *stats,
                         const SourceSight *sight, int64_t now_ms)
{
    uint64_t routes = 0;
    for (size_t i = 0; stats->is_full && i < watched->pipeline->route_count; i++) {
        routes += memory->routes[i].dog.progress; // what there is room for when they move
    }
    const uint64_t values[] = {stats->received, sight->sent, sight->arrived, routes};
    WatchdogFigures figures = {now_ms, stage_of_source(watched, stats, sight, now_ms),
                               progress_of(values, ARRAY_LEN(values))};
    for (size_t i = 0; i < watched->pipeline->route_count; i++) {
        if (memory->routes[i].dog.stage != STAGE_NONE) {
            figures.stage = STAGE_NONE;
        }
    }
    Str route = watched->pipeline->route_count == 1 ? watched->pipeline->routes[0].name : STR("");
    watch(watched, route, &memory->dog, &figures, "");
}

// ---------------------------------------------------------------------------------------------
// What the slot holds
// ---------------------------------------------------------------------------------------------

static const char *wal_message(WalVerdict verdict, bool is_disk)
{
    static const char *const messages[][2] = {
        [WAL_MUCH_HELD] = {"the slot holds much WAL", "the slot holds much WAL"},
        [WAL_MAY_BE_LOST] = {"the slot may be lost", "the slot may fill the server's disk"},
        [WAL_NEARLY_LOST] = {"the slot is nearly lost",
                             "the slot has nearly filled the server's disk"},
        [WAL_LOST] = {"the slot is lost", "the slot is lost"},
        [WAL_OVER] = {"the slot is well again", "the slot is well again"},
    };
    return messages[verdict][is_disk];
}

static void tell_wal(const Watched *watched, const WalGuard *guard, const WalFigures *wal,
                     WalVerdict verdict)
{
    LogScope pipeline = {NULL, "pipeline", watched->pipeline->name};
    int64_t left_ms = wal_left_ms(guard, wal);
    LogField fields[8] = {LOG_INT("held_bytes", wal_retained(wal))};
    size_t count = 1;
    if (wal->safe_bytes >= 0) {
        fields[count++] = LOG_INT("left_bytes", wal->safe_bytes);
    }
    if (left_ms >= 0) {
        fields[count++] = LOG_INT("left_s", left_ms / 1000);
    }
    if (guard->written_per_second >= 0) {
        fields[count++] = LOG_INT("written_bytes_per_s", guard->written_per_second);
        fields[count++] = LOG_INT("freed_bytes_per_s", guard->freed_per_second);
    }
    if (verdict != WAL_OVER && verdict != WAL_LOST) {
        fields[count++] = LOG_CSTR(
            "hint",
            !wal->is_disk && (wal->safe_bytes >= 0 || wal->is_unreserved)
                ? "weir status shows what is slow. Raise max_slot_wal_keep_size to win time."
                : "weir status shows what is slow. The server's disk fills.");
    }
    log_write(verdict == WAL_OVER ? LOG_INFO : LOG_WARN, &pipeline,
              wal_message(verdict, wal->is_disk), fields);
}

static void guard_wal(const Watched *watched, Memory *memory, const SourceSight *sight)
{
    memory->has_slot = sight->has_slot;
    if (!sight->has_slot) {
        return;
    }
    memory->wal = (WalFigures){
        .now_ms = sight->seen_us / 1000,
        .head = sight->head,
        .retained_from = sight->retained_from,
        .safe_bytes = sight->safe_bytes,
        .is_unreserved = sight->is_unreserved,
        .is_lost = sight->is_lost,
    };
    wal_figures_limit(&memory->wal, watched->pipeline->guards.wal_disk);
    WalVerdict verdict = wal_guard_look(&memory->guard, &memory->wal);
    if (verdict != WAL_NOTHING_NEW) {
        tell_wal(watched, &memory->guard, &memory->wal, verdict);
    }
}

// ---------------------------------------------------------------------------------------------
// A look
// ---------------------------------------------------------------------------------------------

static void look_at(const Watched *watched, Memory *memory, pthread_mutex_t *lock, int64_t now_ms)
{
    RunnerStats stats;
    SourceSight sight;
    runner_stats(watched->runner, &stats);
    bool is_seen = runner_sight(watched->runner, &sight);
    for (size_t j = 0; j < watched->pipeline->route_count; j++) {
        RouteMemory *route = &memory->routes[j];
        RouteStats now;
        runner_route_stats(watched->runner, j, &now);
        (void)pthread_mutex_lock(lock);
        rate_update(&route->changes, now.changes, now_ms);
        rate_update(&route->bytes, now.bytes, now_ms);
        rate_update(&route->rows, now.copy_rows, now_ms);
        watch_route(watched, &route->dog, &now, stats.phase, now_ms);
        (void)pthread_mutex_unlock(lock);
    }
    (void)pthread_mutex_lock(lock);
    watch_source(watched, memory, &stats, &sight, now_ms);
    if (is_seen) {
        guard_wal(watched, memory, &sight);
    }
    (void)pthread_mutex_unlock(lock);
}

void monitor_look(Monitor *monitor, int64_t now_ms)
{
    for (size_t i = 0; i < monitor->count; i++) {
        look_at(&monitor->watched[i], &monitor->memories[i], &monitor->lock, now_ms);
    }
}

static void view_route(Monitor *monitor, size_t i, size_t j, RouteView *ret)
{
    const Watched *watched = &monitor->watched[i];
    runner_route_stats(watched->runner, j, &ret->stats);
    runner_ladder(watched->runner, j, watched->filler, &ret->ladder);
    (void)pthread_mutex_lock(&monitor->lock);
    const RouteMemory *memory = &monitor->memories[i].routes[j];
    ret->changes = memory->changes;
    ret->bytes = memory->bytes;
    ret->rows = memory->rows;
    ret->stalled = memory->dog.stage;
    ret->stalled_ms = memory->dog.stage == STAGE_NONE ? 0 : memory->dog.for_ms;
    (void)pthread_mutex_unlock(&monitor->lock);
}

static void view_guards(Monitor *monitor, size_t i, WatchedView *ret)
{
    (void)pthread_mutex_lock(&monitor->lock);
    const Memory *memory = &monitor->memories[i];
    ret->stalled = memory->dog.stage;
    ret->stalled_ms = memory->dog.stage == STAGE_NONE ? 0 : memory->dog.for_ms;
    ret->has_slot = memory->has_slot;
    ret->wal = memory->wal;
    ret->wal_left_ms = wal_left_ms(&memory->guard, &memory->wal);
    ret->wal_verdict = memory->guard.said;
    ret->written_per_second = memory->guard.written_per_second;
    (void)pthread_mutex_unlock(&monitor->lock);
}

WatchedView *monitor_view(Monitor *monitor, Arena *arena)
{
    WatchedView *views = ARENA_ARRAY(arena, WatchedView, monitor->count);
    for (size_t i = 0; i < monitor->count; i++) {
        const Watched *watched = &monitor->watched[i];
        size_t routes = watched->pipeline->route_count;
        views[i].watched = watched;
        views[i].routes = ARENA_ARRAY(arena, RouteView, routes);
        runner_stats(watched->runner, &views[i].stats);
        runner_ladder(watched->runner, 0, NULL, &views[i].own);
        view_guards(monitor, i, &views[i]);
        for (size_t j = 0; j < routes; j++) {
            view_route(monitor, i, j, &views[i].routes[j]);
        }
    }
    return views;
}
