#include "control/metrics.h"

#include <math.h>
#include <stddef.h>

#include "base/arena.h"

// ---------------------------------------------------------------------------------------------
// Families: one line each
// ---------------------------------------------------------------------------------------------

typedef struct PipelineFamily {
    const char *name;
    const char *type;
    const char *help;
    double (*get)(const RunnerStats *stats);
} PipelineFamily;

typedef struct RouteFamily {
    const char *name;
    const char *type;
    const char *help;
    double (*get)(const RouteStats *route, const RunnerStats *stats);
} RouteFamily;

/** Which figure of a step on the way. */
typedef enum RungFigure { RUNG_LSN, RUNG_BYTES, RUNG_SECONDS } RungFigure;

typedef struct RungFamily {
    const char *name;
    const char *help;
    size_t rung; // offset in Ladder
    RungFigure figure;
} RungFamily;

static double get_head(const RunnerStats *stats)
{
    return (double)stats->head;
}
static double get_retries(const RunnerStats *stats)
{
    return (double)stats->retries;
}

static const PipelineFamily pipeline_families[] = {
    {"weir_source_head_lsn_bytes", "gauge", "End of the server's WAL, as it was last seen.",
     get_head},
    {"weir_retries_total", "counter", "Restarts after a passing error.", get_retries},
};

#define RUNG(step) offsetof(Ladder, step)

// Of a pipeline, or of one part of it.
static const RungFamily source_rungs[] = {
    {"weir_sent_lsn_bytes", "Position that the server has sent.", RUNG(sent), RUNG_LSN},
    {"weir_received_lsn_bytes", "Position taken in from the source.", RUNG(received), RUNG_LSN},
    {"weir_confirmed_lsn_bytes", "Position that the source was told it may forget.",
     RUNG(confirmed), RUNG_LSN},
    {"weir_sent_lag_bytes", "WAL between the server's end and what it has sent.", RUNG(sent),
     RUNG_BYTES},
    {"weir_received_lag_bytes", "WAL between the server's end and what was taken in.",
     RUNG(received), RUNG_BYTES},
    {"weir_confirmed_lag_bytes", "WAL between the server's end and what was confirmed.",
     RUNG(confirmed), RUNG_BYTES},
    {"weir_sent_lag_seconds",
     "Age of the first WAL that the server has not sent; 0: there is none.", RUNG(sent),
     RUNG_SECONDS},
    {"weir_received_lag_seconds", "Age of the first WAL that was not taken in; 0: there is none.",
     RUNG(received), RUNG_SECONDS},
    {"weir_confirmed_lag_seconds",
     "Age of the first change that was not confirmed; 0: there is none.", RUNG(confirmed),
     RUNG_SECONDS},
};

// Of a route, all the way from the server.
static const RungFamily route_rungs[] = {
    {"weir_delivered_lsn_bytes", "Position handed to the sink.", RUNG(delivered), RUNG_LSN},
    {"weir_durable_lsn_bytes", "Position durable at the sink.", RUNG(durable), RUNG_LSN},
    {"weir_delivered_lag_bytes", "WAL between the server's end and what was handed over.",
     RUNG(delivered), RUNG_BYTES},
    {"weir_durable_lag_bytes", "WAL between the server's end and what is durable.", RUNG(durable),
     RUNG_BYTES},
    {"weir_delivered_lag_seconds",
     "Age of the first change that was not handed to the sink; 0: there is none.", RUNG(delivered),
     RUNG_SECONDS},
    {"weir_durable_lag_seconds",
     "Age of the first change that is not durable at the sink; 0: there is none.", RUNG(durable),
     RUNG_SECONDS},
};

// Of a route behind a disk buffer.
static const RungFamily buffer_rungs[] = {
    {"weir_buffered_lsn_bytes", "Position durable in the disk buffer.", RUNG(buffered), RUNG_LSN},
    {"weir_buffered_lag_bytes", "WAL between the server's end and what the disk buffer has.",
     RUNG(buffered), RUNG_BYTES},
    {"weir_buffered_lag_seconds",
     "Age of the first change that the disk buffer lacks; 0: there is none.", RUNG(buffered),
     RUNG_SECONDS},
};

static double rung_figure(const RungFamily *family, const Ladder *ladder)
{
    const Rung *rung = (const Rung *)(const void *)((const char *)ladder + family->rung);
    switch (family->figure) {
    case RUNG_LSN:
        return (double)rung->lsn;
    case RUNG_BYTES:
        return (double)rung->behind_bytes;
    case RUNG_SECONDS:
        return (double)rung->behind_us / 1e6;
    }
    return 0;
}

static double get_changes(const RouteStats *route, const RunnerStats *stats)
{
    return (double)route->changes;
}
static double get_transactions(const RouteStats *route, const RunnerStats *stats)
{
    return (double)route->transactions;
}
static double get_bytes(const RouteStats *route, const RunnerStats *stats)
{
    return (double)route->bytes;
}
static double get_commits(const RouteStats *route, const RunnerStats *stats)
{
    return (double)route->commits;
}
static double get_copy_rows(const RouteStats *route, const RunnerStats *stats)
{
    return (double)route->copy_rows;
}
static double get_copy_bytes(const RouteStats *route, const RunnerStats *stats)
{
    return (double)route->copy_bytes;
}
static double get_tables_total(const RouteStats *route, const RunnerStats *stats)
{
    return (double)route->tables_total;
}
static double get_tables_done(const RouteStats *route, const RunnerStats *stats)
{
    return (double)route->tables_done;
}
static double get_dead_letters(const RouteStats *route, const RunnerStats *stats)
{
    return (double)route->dead_letters;
}
static double get_lag_seconds(const RouteStats *route, const RunnerStats *stats)
{
    return (double)route->lag_ms / 1000;
}

static const RouteFamily route_families[] = {
    {"weir_changes_total", "counter", "Changes delivered to the sink.", get_changes},
    {"weir_transactions_total", "counter", "Transactions delivered to the sink.", get_transactions},
    {"weir_bytes_total", "counter", "Bytes of changes delivered to the sink.", get_bytes},
    {"weir_commits_total", "counter", "Commits at the sink.", get_commits},
    {"weir_dead_letters", "gauge",
     "Changes that the sink refused, and those that wait behind them.", get_dead_letters},
    {"weir_copy_rows", "gauge", "Rows copied by the copy that runs or ran last.", get_copy_rows},
    {"weir_copy_bytes", "gauge", "Bytes copied by the copy that runs or ran last.", get_copy_bytes},
    {"weir_copy_tables", "gauge", "Tables that the copy has to copy.", get_tables_total},
    {"weir_copy_tables_done", "gauge", "Tables that it has copied.", get_tables_done},
    {"weir_lag_seconds", "gauge",
     "Age of the oldest change that was taken in and is not durable at the sink; 0: there is none.",
     get_lag_seconds},
};

// ---------------------------------------------------------------------------------------------
// Text
// ---------------------------------------------------------------------------------------------

static void label(Buf *out, const char *before, const char *name, Str value)
{
    buf_printf(out, "%s%s=\"", before, name);
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '\\' || c == '"') {
            buf_char(out, '\\');
        }
        buf_char(out, c == '\n' ? ' ' : c);
    }
    buf_char(out, '"');
}

static void heading(Buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

// Of several runners of one pipeline, the route tells which one.
static void label_runner(Buf *out, const Pipeline *pipeline)
{
    label(out, "{", "pipeline", pipeline->name);
    if (pipeline->route_count == 1 && pipeline->routes[0].name.len > 0) {
        label(out, ",", "route", pipeline->routes[0].name);
    }
}

static void write_phases(const WatchedView *views, size_t count, Buf *out)
{
    heading(out, "weir_phase", "gauge", "1 for the phase that the pipeline is in.");
    for (size_t i = 0; i < count; i++) {
        for (int phase = 0; phase <= PHASE_DONE; phase++) {
            buf_cstr(out, "weir_phase");
            label_runner(out, views[i].watched->pipeline);
            label(out, ",", "phase", str_from(runner_phase_name((RunnerPhase)phase)));
            buf_printf(out, "} %d\n", (int)views[i].stats.phase == phase);
        }
    }
}

static void write_pipelines(const WatchedView *views, size_t count, Buf *out)
{
    for (size_t f = 0; f < ARRAY_LEN(pipeline_families); f++) {
        const PipelineFamily *family = &pipeline_families[f];
        heading(out, family->name, family->type, family->help);
        for (size_t i = 0; i < count; i++) {
            buf_cstr(out, family->name);
            label_runner(out, views[i].watched->pipeline);
            buf_printf(out, "} %.17g\n", family->get(&views[i].stats));
        }
    }
}

static void label_route(Buf *out, const WatchedView *view, const RouteStats *route)
{
    label(out, "{", "pipeline", view->watched->pipeline->name);
    label(out, ",", "route", route->name);
    label(out, ",", "sink", str_from(route->sink->name));
}

static void write_route(const RouteFamily *family, const WatchedView *view, size_t at, Buf *out)
{
    const RouteStats *route = &view->routes[at].stats;
    buf_cstr(out, family->name);
    label_route(out, view, route);
    buf_printf(out, "} %.17g\n", family->get(route, &view->stats));
}

static void write_source_rungs(const WatchedView *views, size_t count, Buf *out)
{
    for (size_t f = 0; f < ARRAY_LEN(source_rungs); f++) {
        const RungFamily *family = &source_rungs[f];
        heading(out, family->name, "gauge", family->help);
        for (size_t i = 0; i < count; i++) {
            buf_cstr(out, family->name);
            label_runner(out, views[i].watched->pipeline);
            buf_printf(out, "} %.17g\n", rung_figure(family, &views[i].own));
        }
    }
}

static void write_route_rung(const RungFamily *family, const WatchedView *view, Buf *out)
{
    for (size_t i = 0; i < view->watched->pipeline->route_count; i++) {
        buf_cstr(out, family->name);
        label_route(out, view, &view->routes[i].stats);
        buf_printf(out, "} %.17g\n", rung_figure(family, &view->routes[i].ladder));
    }
}

static void write_route_rungs(const WatchedView *views, size_t count, Buf *out)
{
    for (size_t f = 0; f < ARRAY_LEN(route_rungs); f++) {
        heading(out, route_rungs[f].name, "gauge", route_rungs[f].help);
        for (size_t i = 0; i < count; i++) {
            write_route_rung(&route_rungs[f], &views[i], out);
        }
    }
    for (size_t f = 0; f < ARRAY_LEN(buffer_rungs); f++) {
        heading(out, buffer_rungs[f].name, "gauge", buffer_rungs[f].help);
        for (size_t i = 0; i < count; i++) {
            if (views[i].watched->filler != NULL) {
                write_route_rung(&buffer_rungs[f], &views[i], out);
            }
        }
    }
}

static void write_routes(const WatchedView *views, size_t count, Buf *out)
{
    for (size_t f = 0; f < ARRAY_LEN(route_families); f++) {
        const RouteFamily *family = &route_families[f];
        heading(out, family->name, family->type, family->help);
        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < views[i].watched->pipeline->route_count; j++) {
                write_route(family, &views[i], j, out);
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Guards
// ---------------------------------------------------------------------------------------------

static void write_stage(const WatchedView *view, Str route, Stage stalled, Buf *out)
{
    for (int stage = STAGE_NONE + 1; stage <= STAGE_COMMIT; stage++) {
        buf_cstr(out, "weir_stalled");
        label(out, "{", "pipeline", view->watched->pipeline->name);
        label(out, ",", "route", route);
        label(out, ",", "stage", str_from(stage_name((Stage)stage)));
        buf_printf(out, "} %d\n", (int)stalled == stage);
    }
}

static void write_stalls(const WatchedView *views, size_t count, Buf *out)
{
    heading(out, "weir_stalled", "gauge",
            "1 for the stage that has stood still for longer than the watchdog lets it.");
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < views[i].watched->pipeline->route_count; j++) {
            const RouteView *route = &views[i].routes[j];
            Stage stalled = route->stalled != STAGE_NONE ? route->stalled : views[i].stalled;
            write_stage(&views[i], route->stats.name, stalled, out);
        }
    }
}

static double get_held(const WatchedView *view)
{
    return (double)wal_retained(&view->wal);
}
static double get_left_bytes(const WatchedView *view)
{
    return view->wal.safe_bytes < 0 ? INFINITY : (double)view->wal.safe_bytes;
}
static double get_left_seconds(const WatchedView *view)
{
    return view->wal_left_ms < 0 ? INFINITY : (double)view->wal_left_ms / 1000;
}
static double get_lost(const WatchedView *view)
{
    return view->wal.is_lost ? 1 : 0;
}

static const struct {
    const char *name;
    const char *help;
    double (*get)(const WatchedView *view);
} slot_families[] = {
    {"weir_slot_held_bytes", "WAL that the server keeps for the slot.", get_held},
    {"weir_slot_left_bytes",
     "WAL that can be written before the slot may be lost; +Inf: the server has no limit.",
     get_left_bytes},
    {"weir_slot_left_seconds",
     "How long that takes at the present rates; +Inf: for ever, or not known.", get_left_seconds},
    {"weir_slot_lost", "1 when the server has removed WAL that the slot needs.", get_lost},
};

static void write_slots(const WatchedView *views, size_t count, Buf *out)
{
    for (size_t f = 0; f < ARRAY_LEN(slot_families); f++) {
        heading(out, slot_families[f].name, "gauge", slot_families[f].help);
        for (size_t i = 0; i < count; i++) {
            if (!views[i].has_slot) {
                continue;
            }
            double value = slot_families[f].get(&views[i]);
            buf_cstr(out, slot_families[f].name);
            label(out, "{", "pipeline", views[i].watched->pipeline->name);
            buf_cstr(out, "} ");
            if (isinf(value)) {
                buf_cstr(out, "+Inf\n");
            } else {
                buf_printf(out, "%.17g\n", value);
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Disk buffers
// ---------------------------------------------------------------------------------------------

static void write_sizes(const WatchedView *views, size_t count, Buf *out)
{
    heading(out, "weir_buffer_bytes", "gauge", "What the disk buffer takes up.");
    for (size_t i = 0; i < count; i++) {
        const Watched *watched = views[i].watched;
        if (watched->log != NULL && watched->reader.len == 0) {
            label(out, "weir_buffer_bytes{", "pipeline", watched->pipeline->name);
            buf_printf(out, "} %.17g\n", (double)segment_log_range(watched->log).bytes);
        }
    }
}

static double get_backlog_bytes(const SegmentLogBacklog *backlog)
{
    return (double)backlog->bytes;
}
static double get_backlog_seconds(const SegmentLogBacklog *backlog)
{
    return (double)backlog->age_us / 1e6;
}
static double get_dropped(const SegmentLogBacklog *backlog)
{
    return backlog->is_given_up ? 1 : 0;
}

static const struct {
    const char *name;
    const char *help;
    double (*get)(const SegmentLogBacklog *backlog);
} buffer_families[] = {
    {"weir_buffer_backlog_bytes", "What the disk buffer keeps for the route.", get_backlog_bytes},
    {"weir_buffer_backlog_seconds", "For how long at least it has kept something for the route.",
     get_backlog_seconds},
    {"weir_buffer_dropped", "1 when it keeps nothing for the route any more (full: drop-route).",
     get_dropped},
};

static void write_buffers(const WatchedView *views, size_t count, Buf *out)
{
    write_sizes(views, count, out);
    for (size_t f = 0; f < ARRAY_LEN(buffer_families); f++) {
        heading(out, buffer_families[f].name, "gauge", buffer_families[f].help);
        for (size_t i = 0; i < count; i++) {
            const Watched *watched = views[i].watched;
            if (watched->log == NULL || watched->reader.len == 0) {
                continue;
            }
            SegmentLogBacklog backlog;
            (void)segment_log_backlog(watched->log, watched->reader, &backlog);
            buf_cstr(out, buffer_families[f].name);
            label(out, "{", "pipeline", watched->pipeline->name);
            label(out, ",", "route", watched->pipeline->routes[0].name);
            buf_printf(out, "} %.17g\n", buffer_families[f].get(&backlog));
        }
    }
}

void metrics_write(Monitor *monitor, Buf *out)
{
    Arena scratch = {0};
    size_t count = monitor_count(monitor);
    const WatchedView *views = monitor_view(monitor, &scratch);
    heading(out, "weir_info", "gauge", "The program that runs.");
    label(out, "weir_info{", "version", STR(WEIR_VERSION));
    buf_cstr(out, "} 1\n");
    write_phases(views, count, out);
    write_pipelines(views, count, out);
    write_source_rungs(views, count, out);
    write_routes(views, count, out);
    write_route_rungs(views, count, out);
    write_stalls(views, count, out);
    write_slots(views, count, out);
    write_buffers(views, count, out);
    arena_done(&scratch);
}
