#include "control/serve.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "control/loan.h"
#include "control/metrics.h"
#include "control/status.h"
#include "io/http_server.h"
#include "io/wake.h"

enum { LOOK_MS = 1000, EARLY_LOOK_MS = 200, KEEP_MS = 10000, STATUS_BYTES_MAX = 16 << 20 };

// Of one route.
typedef struct Place {
    struct Serving *serving;
    const Watched *watched;
    Lender *lender; // of its runner
    const char *directory;
    HttpServer *socket; // NULL: not yet
} Place;

struct Serving {
    Monitor *monitor;
    Arena arena;
    Lender **lenders; // one for each of what is watched
    size_t lender_count;
    Place *places; // as the rows of a status
    size_t place_count;
    int64_t kept_ms;
    HttpServer *http; // NULL: nobody asked for it
    Wake stop;
    atomic_bool is_stopping;
    pthread_t thread;
    bool is_running;
};

// ---------------------------------------------------------------------------------------------
// Answers
// ---------------------------------------------------------------------------------------------

static unsigned write_health(Monitor *monitor, Buf *body)
{
    Arena scratch = {0};
    bool well = true;
    const WatchedView *views = monitor_view(monitor, &scratch);
    for (size_t i = 0; i < monitor_count(monitor); i++) {
        const Pipeline *pipeline = views[i].watched->pipeline;
        RunnerPhase phase = views[i].stats.phase;
        well = well && phase != PHASE_RETRYING && phase != PHASE_DONE;
        Str route = pipeline->route_count == 1 ? pipeline->routes[0].name : STR("");
        buf_printf(body, "%" STR_FMT "%s%" STR_FMT " %s\n", STR_ARG(pipeline->name),
                   route.len > 0 ? "." : "", STR_ARG(route), runner_phase_name(phase));
    }
    arena_done(&scratch);
    return well ? 200 : 503;
}

static unsigned write_status(Monitor *monitor, bool as_json, Buf *body)
{
    Arena scratch = {0};
    StatusRows rows = status_rows(monitor, &scratch);
    if (as_json) {
        status_write_json(&rows, body);
    } else {
        status_write_text(&rows, body);
    }
    arena_done(&scratch);
    return 200;
}

static unsigned handle(void *context, Str path, Buf *body, const char **ret_type)
{
    Monitor *monitor = ((Serving *)context)->monitor;
    if (str_is(path, "/metrics")) {
        *ret_type = "text/plain; version=0.0.4; charset=utf-8";
        metrics_write(monitor, body);
        return 200;
    }
    if (str_is(path, "/health")) {
        return write_health(monitor, body);
    }
    if (str_is(path, "/status")) {
        *ret_type = "application/json";
        return write_status(monitor, true, body);
    }
    if (str_is(path, "/status.tsv")) {
        return write_status(monitor, false, body);
    }
    buf_cstr(body, "/metrics, /health and /status are here\n");
    return str_is(path, "/") ? 200 : 404;
}

static unsigned handle_local(void *context, Str path, Buf *body, const char **ret_type)
{
    const Place *place = context;
    return handle(place->serving, path, body, ret_type);
}

static void take_local(void *context, const HttpStream *stream)
{
    const Place *place = context;
    lender_take(place->lender, stream);
}

// ---------------------------------------------------------------------------------------------
// Places
// ---------------------------------------------------------------------------------------------

// What cannot be had is no reason not to work; the next look tries again.
static void open_sockets(Serving *serving)
{
    for (size_t i = 0; i < serving->place_count; i++) {
        Place *place = &serving->places[i];
        if (place->socket == NULL && runner_has_state(place->watched->runner)) {
            Error ignored = {0};
            HttpLocal local = {handle_local, take_local, place};
            Status status =
                http_start_local(place->directory, SERVE_SOCKET, &local, &place->socket, &ignored);
            (void)status;
        }
    }
}

static void keep_row(const Place *place, const StatusRow *row)
{
    Arena scratch = {0};
    CLEANUP(buf_done) Buf text;
    buf_init(&text, STATUS_BYTES_MAX);
    StatusRows one = {.items = (StatusRow[]){*row}, .count = 1};
    status_write_text(&one, &text);
    const char *path = arena_printf(&scratch, "%s/" SERVE_STATUS, place->directory);
    const char *made = arena_printf(&scratch, "%s/" SERVE_STATUS ".new", place->directory);
    int fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        bool is_written = write(fd, text.ptr, text.len) == (ssize_t)text.len;
        (void)close(fd);
        if (!is_written || rename(made, path) != 0) {
            (void)unlink(made); // the one before stays
        }
    }
    arena_done(&scratch);
}

// Only where the directory is, or just was, ours.
static void keep_rows(Serving *serving)
{
    Arena scratch = {0};
    StatusRows rows = status_rows(serving->monitor, &scratch);
    for (size_t i = 0; i < serving->place_count; i++) {
        if (runner_had_state(serving->places[i].watched->runner)) {
            keep_row(&serving->places[i], &rows.items[i]);
        }
    }
    arena_done(&scratch);
}

static size_t count_sockets(const Serving *serving)
{
    size_t count = 0;
    for (size_t i = 0; i < serving->place_count; i++) {
        count += serving->places[i].socket != NULL;
    }
    return count;
}

static void *serve_main(void *argument)
{
    Serving *serving = argument;
    while (!atomic_load(&serving->is_stopping)) {
        int64_t now_ms = clock_monotonic_ms();
        monitor_look(serving->monitor, now_ms);
        size_t before = count_sockets(serving);
        open_sockets(serving);
        size_t now = count_sockets(serving);
        if (now > before || now_ms - serving->kept_ms >= KEEP_MS) {
            serving->kept_ms = now_ms;
            keep_rows(serving);
        }
        wake_wait(&serving->stop, now < serving->place_count ? EARLY_LOOK_MS : LOOK_MS);
    }
    return NULL;
}

// ---------------------------------------------------------------------------------------------
// Beginning and end
// ---------------------------------------------------------------------------------------------

static void find_places(Serving *serving, const Watched *watched, size_t count)
{
    Arena *arena = &serving->arena;
    size_t most = 0;
    for (size_t i = 0; i < count; i++) {
        most += watched[i].pipeline->route_count;
    }
    serving->places = ARENA_ARRAY(arena, Place, most);
    serving->lenders = ARENA_ARRAY(arena, Lender *, count);
    for (size_t i = 0; i < count; i++) {
        const Pipeline *pipeline = watched[i].pipeline;
        Lender *lender = serving->lenders[serving->lender_count++] = lender_new(&watched[i]);
        for (size_t j = 0; j < pipeline->route_count; j++) {
            const char *directory = pipeline_route_directory(pipeline, &pipeline->routes[j], arena);
            serving->places[serving->place_count++] = (Place){.serving = serving,
                                                              .watched = &watched[i],
                                                              .lender = lender,
                                                              .directory = directory};
        }
    }
}

static Status start(Serving *serving, Str address, Error *err)
{
    if (wake_init(&serving->stop, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    HttpService service = {.handler = handle, .context = serving};
    if (address.len > 0 && http_start(address, &service, &serving->http, err) != STATUS_OK) {
        return error_wrap(err, "metrics");
    }
    int code = pthread_create(&serving->thread, NULL, serve_main, serving);
    if (code != 0) {
        return error_set_errno(err, ERROR_TRANSIENT, code, "start a thread");
    }
    serving->is_running = true;
    return STATUS_OK;
}

Status serve_start(Str address, const Watched *watched, size_t count, Serving **ret, Error *err)
{
    Serving *serving = mem_alloc_zero(sizeof(*serving));
    serving->stop.fd = -1;
    serving->monitor = monitor_new(watched, count);
    find_places(serving, watched, count);
    if (start(serving, address, err) != STATUS_OK) {
        serve_stop(serving);
        return STATUS_FAIL;
    }
    *ret = serving;
    return STATUS_OK;
}

void serve_stop(Serving *serving)
{
    if (serving == NULL) {
        return;
    }
    if (serving->is_running) {
        atomic_store(&serving->is_stopping, true);
        wake_set(&serving->stop);
        (void)pthread_join(serving->thread, NULL);
        keep_rows(serving);
    }
    for (size_t i = 0; i < serving->lender_count; i++) {
        lender_stop(serving->lenders[i]);
    }
    for (size_t i = 0; i < serving->place_count; i++) {
        http_stop(serving->places[i].socket);
    }
    for (size_t i = 0; i < serving->lender_count; i++) {
        lender_free(serving->lenders[i]);
    }
    http_stop(serving->http);
    monitor_free(serving->monitor);
    wake_done(&serving->stop);
    arena_done(&serving->arena);
    mem_free(serving);
}
