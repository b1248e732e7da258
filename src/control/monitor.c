#include "control/monitor.h"

#include <assert.h>
#include <pthread.h>

#include "base/mem.h"

// What is remembered of one route from look to look.
typedef struct RouteMemory {
    Rate changes;
    Rate bytes;
    Rate rows;
} RouteMemory;

typedef struct Memory {
    RouteMemory *routes;
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
        monitor->memories[i].routes = ARENA_ARRAY(&monitor->arena, RouteMemory, routes);
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

static void look_at_route(RouteMemory *memory, const RouteStats *stats, int64_t now_ms)
{
    rate_update(&memory->changes, stats->changes, now_ms);
    rate_update(&memory->bytes, stats->bytes, now_ms);
    rate_update(&memory->rows, stats->copy_rows, now_ms);
}

void monitor_look(Monitor *monitor, int64_t now_ms)
{
    for (size_t i = 0; i < monitor->count; i++) {
        const Watched *watched = &monitor->watched[i];
        for (size_t j = 0; j < watched->pipeline->route_count; j++) {
            RouteStats stats;
            runner_route_stats(watched->runner, j, &stats);
            (void)pthread_mutex_lock(&monitor->lock);
            look_at_route(&monitor->memories[i].routes[j], &stats, now_ms);
            (void)pthread_mutex_unlock(&monitor->lock);
        }
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
        for (size_t j = 0; j < routes; j++) {
            view_route(monitor, i, j, &views[i].routes[j]);
        }
    }
    return views;
}
