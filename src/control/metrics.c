#include "control/metrics.h"

#include "base/mem.h"

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

static double behind(Lsn head, Lsn at)
{
    return head > at ? (double)(head - at) : 0;
}

static double get_head(const RunnerStats *stats)
{
    return (double)stats->head;
}
static double get_received(const RunnerStats *stats)
{
    return (double)stats->received;
}
static double get_confirmed(const RunnerStats *stats)
{
    return (double)stats->confirmed;
}
static double get_lag_received(const RunnerStats *stats)
{
    return behind(stats->head, stats->received);
}
static double get_lag_confirmed(const RunnerStats *stats)
{
    return behind(stats->head, stats->confirmed);
}
static double get_retries(const RunnerStats *stats)
{
    return (double)stats->retries;
}

static const PipelineFamily pipeline_families[] = {
    {"weir_source_head_lsn_bytes", "gauge", "End of the server's WAL, as far as it has told.",
     get_head},
    {"weir_received_lsn_bytes", "gauge", "Position taken in from the source.", get_received},
    {"weir_confirmed_lsn_bytes", "gauge", "Position that the source was told it may forget.",
     get_confirmed},
    {"weir_received_lag_bytes", "gauge", "WAL between the server's end and what was taken in.",
     get_lag_received},
    {"weir_confirmed_lag_bytes", "gauge", "WAL between the server's end and what was confirmed.",
     get_lag_confirmed},
    {"weir_retries_total", "counter", "Restarts after a passing error.", get_retries},
};

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
static double get_delivered(const RouteStats *route, const RunnerStats *stats)
{
    return (double)route->delivered;
}
static double get_dead_letters(const RouteStats *route, const RunnerStats *stats)
{
    return (double)route->dead_letters;
}
static double get_durable(const RouteStats *route, const RunnerStats *stats)
{
    return (double)route->durable;
}
static double get_lag_delivered(const RouteStats *route, const RunnerStats *stats)
{
    return behind(stats->head, route->delivered);
}
static double get_lag_durable(const RouteStats *route, const RunnerStats *stats)
{
    return behind(stats->head, route->durable);
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
    {"weir_delivered_lsn_bytes", "gauge", "Position handed to the sink.", get_delivered},
    {"weir_durable_lsn_bytes", "gauge", "Position durable at the sink.", get_durable},
    {"weir_delivered_lag_bytes", "gauge", "WAL between the server's end and what was handed over.",
     get_lag_delivered},
    {"weir_durable_lag_bytes", "gauge", "WAL between the server's end and what is durable.",
     get_lag_durable},
    {"weir_lag_seconds", "gauge",
     "Age of the oldest change that was taken in and is not durable at the sink; 0: there is none.",
     get_lag_seconds},
};

// ---------------------------------------------------------------------------------------------
// Text
// ---------------------------------------------------------------------------------------------

typedef struct Sample {
    const Watched *watched;
    const Pipeline *pipeline;
    RunnerStats stats;
    RouteStats *routes;
} Sample;

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

static void write_phases(const Sample *samples, size_t count, Buf *out)
{
    heading(out, "weir_phase", "gauge", "1 for the phase that the pipeline is in.");
    for (size_t i = 0; i < count; i++) {
        for (int phase = 0; phase <= PHASE_DONE; phase++) {
            buf_cstr(out, "weir_phase");
            label_runner(out, samples[i].pipeline);
            label(out, ",", "phase", str_from(runner_phase_name((RunnerPhase)phase)));
            buf_printf(out, "} %d\n", (int)samples[i].stats.phase == phase);
        }
    }
}

static void write_pipelines(const Sample *samples, size_t count, Buf *out)
{
    for (size_t f = 0; f < ARRAY_LEN(pipeline_families); f++) {
        const PipelineFamily *family = &pipeline_families[f];
        heading(out, family->name, family->type, family->help);
        for (size_t i = 0; i < count; i++) {
            buf_cstr(out, family->name);
            label_runner(out, samples[i].pipeline);
            buf_printf(out, "} %.17g\n", family->get(&samples[i].stats));
        }
    }
}

static void write_route(const RouteFamily *family, const Sample *sample, size_t at, Buf *out)
{
    const RouteStats *route = &sample->routes[at];
    buf_cstr(out, family->name);
    label(out, "{", "pipeline", sample->pipeline->name);
    label(out, ",", "route", route->name);
    label(out, ",", "sink", str_from(route->sink->name));
    buf_printf(out, "} %.17g\n", family->get(route, &sample->stats));
}

static void write_routes(const Sample *samples, size_t count, Buf *out)
{
    for (size_t f = 0; f < ARRAY_LEN(route_families); f++) {
        const RouteFamily *family = &route_families[f];
        heading(out, family->name, family->type, family->help);
        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < samples[i].pipeline->route_count; j++) {
                write_route(family, &samples[i], j, out);
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Disk buffers
// ---------------------------------------------------------------------------------------------

static void write_sizes(const Sample *samples, size_t count, Buf *out)
{
    heading(out, "weir_buffer_bytes", "gauge", "What the disk buffer takes up.");
    for (size_t i = 0; i < count; i++) {
        const Watched *watched = samples[i].watched;
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

static void write_buffers(const Sample *samples, size_t count, Buf *out)
{
    write_sizes(samples, count, out);
    for (size_t f = 0; f < ARRAY_LEN(buffer_families); f++) {
        heading(out, buffer_families[f].name, "gauge", buffer_families[f].help);
        for (size_t i = 0; i < count; i++) {
            const Watched *watched = samples[i].watched;
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

void metrics_write(const Watched *watched, size_t count, Buf *out)
{
    Arena scratch = {0};
    Sample *samples = ARENA_ARRAY(&scratch, Sample, count);
    for (size_t i = 0; i < count; i++) {
        const Pipeline *pipeline = watched[i].pipeline;
        samples[i].watched = &watched[i];
        samples[i].pipeline = pipeline;
        samples[i].routes = ARENA_ARRAY(&scratch, RouteStats, pipeline->route_count);
        runner_stats(watched[i].runner, &samples[i].stats);
        for (size_t j = 0; j < pipeline->route_count; j++) {
            runner_route_stats(watched[i].runner, j, &samples[i].routes[j]);
        }
    }
    heading(out, "weir_info", "gauge", "The program that runs.");
    label(out, "weir_info{", "version", STR(WEIR_VERSION));
    buf_cstr(out, "} 1\n");
    write_phases(samples, count, out);
    write_pipelines(samples, count, out);
    write_routes(samples, count, out);
    write_buffers(samples, count, out);
    arena_done(&scratch);
}

// ---------------------------------------------------------------------------------------------
// Over HTTP
// ---------------------------------------------------------------------------------------------

struct MetricsServer {
    const Watched *watched;
    size_t count;
    HttpServer *http;
};

static unsigned write_health(const MetricsServer *server, Buf *body)
{
    bool well = true;
    for (size_t i = 0; i < server->count; i++) {
        RunnerStats stats;
        runner_stats(server->watched[i].runner, &stats);
        well = well && stats.phase != PHASE_RETRYING && stats.phase != PHASE_DONE;
        const Pipeline *pipeline = server->watched[i].pipeline;
        Str route = pipeline->route_count == 1 ? pipeline->routes[0].name : STR("");
        buf_printf(body, "%" STR_FMT "%s%" STR_FMT " %s\n", STR_ARG(pipeline->name),
                   route.len > 0 ? "." : "", STR_ARG(route), runner_phase_name(stats.phase));
    }
    return well ? 200 : 503;
}

static unsigned handle(void *context, Str path, Buf *body, const char **ret_type)
{
    const MetricsServer *server = context;
    if (str_is(path, "/metrics")) {
        *ret_type = "text/plain; version=0.0.4; charset=utf-8";
        metrics_write(server->watched, server->count, body);
        return 200;
    }
    if (str_is(path, "/health")) {
        return write_health(server, body);
    }
    buf_cstr(body, "/metrics and /health are here\n");
    return str_is(path, "/") ? 200 : 404;
}

Status metrics_start(Str address, const Watched *watched, size_t count, MetricsServer **ret,
                     Error *err)
{
    MetricsServer *server = mem_alloc_zero(sizeof(*server));
    server->watched = watched;
    server->count = count;
    if (http_start(address, handle, server, &server->http, err) != STATUS_OK) {
        mem_free(server);
        return error_wrap(err, "metrics");
    }
    *ret = server;
    return STATUS_OK;
}

void metrics_stop(MetricsServer *server)
{
    if (server != NULL) {
        http_stop(server->http);
        mem_free(server);
    }
}
