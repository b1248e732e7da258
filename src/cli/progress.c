// The live display: a few lines at the bottom of the terminal, redrawn by a thread of their own.
// Log lines are printed above it: the log's guard takes the lines away before, and the next tick
// draws them again.
#include "cli/progress.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "cli/table.h"
#include "control/rate.h"
#include "io/wake.h"

enum { REDRAW_MS = 200, LOG_MS = 10000, LINES_MAX = 4, BAR_WIDTH = 24 };

const char *const progress_choices[] = {"auto", "always", "never", NULL};

struct Progress {
    const Pipeline *pipeline;
    Runner *runner;
    bool is_live; // draws; otherwise logs from time to time
    bool has_color;
    pthread_t thread;
    Wake stop;
    atomic_bool is_stopping;
    pthread_mutex_t lock; // of the lines on the screen
    int lines_drawn;
    int64_t began_ms;
    int64_t logged_ms;
    Rate rows;
    Rate changes;
    Rate bytes;
};

// ---------------------------------------------------------------------------------------------
// Lines
// ---------------------------------------------------------------------------------------------

typedef struct Screen {
    Buf lines[LINES_MAX];
    int count;
    bool color;
} Screen;

static Buf *new_line(Screen *screen)
{
    Buf *line = &screen->lines[screen->count++];
    buf_init(line, 4096);
    return line;
}

static void styled(const Screen *screen, Buf *line, const char *style, const char *text)
{
    buf_printf(line, "%s%s%s", screen->color ? style : "", text, screen->color ? "\033[0m" : "");
}

#define STYLE_BOLD   "\033[1m"
#define STYLE_DIM    "\033[2m"
#define STYLE_GREEN  "\033[32m"
#define STYLE_YELLOW "\033[33m"

static void duration(Buf *line, int64_t ms)
{
    int64_t seconds = ms / 1000;
    if (seconds < 60) {
        buf_printf(line, "%llds", (long long)seconds);
    } else if (seconds < 3600) {
        buf_printf(line, "%lldm%02llds", (long long)(seconds / 60), (long long)(seconds % 60));
    } else {
        buf_printf(line, "%lldh%02lldm", (long long)(seconds / 3600),
                   (long long)(seconds % 3600 / 60));
    }
}

static void bar(const Screen *screen, Buf *line, double share)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int parts = (int)(share * BAR_WIDTH * 8);
    parts = MAX(MIN(parts, BAR_WIDTH * 8), 0);
    buf_cstr(line, screen->color ? STYLE_GREEN : "");
    for (int i = 0; i < parts / 8; i++) {
        buf_cstr(line, "█");
    }
    buf_cstr(line, eighths[parts % 8]);
    buf_cstr(line, screen->color ? "\033[0m" STYLE_DIM : "");
    for (int i = (parts + 7) / 8; i < BAR_WIDTH; i++) {
        buf_cstr(line, "░");
    }
    buf_cstr(line, screen->color ? "\033[0m" : "");
}

static void draw_heading(const Progress *progress, const RunnerStats *stats, Screen *screen,
                         int64_t now_ms)
{
    Buf *line = new_line(screen);
    bool trouble = stats->phase == PHASE_RETRYING;
    styled(screen, line, trouble ? STYLE_YELLOW : STYLE_BOLD, runner_phase_name(stats->phase));
    buf_printf(line, "  %" STR_FMT " ", STR_ARG(progress->pipeline->source_id));
    styled(screen, line, STYLE_DIM, "→");
    for (size_t i = 0; i < progress->pipeline->route_count; i++) {
        buf_printf(line, "%s%" STR_FMT, i == 0 ? " " : ", ",
                   STR_ARG(progress->pipeline->routes[i].id));
    }
    buf_cstr(line, "  ");
    buf_cstr(line, screen->color ? STYLE_DIM : "");
    duration(line, now_ms - progress->began_ms);
    buf_cstr(line, screen->color ? "\033[0m" : "");
}

static void draw_copy(const Progress *progress, const RunnerStats *stats, Screen *screen,
                      Arena *arena)
{
    Buf *line = new_line(screen);
    // Estimates are old: never all of it before it is done. A table that was never analyzed has
    // none.
    int64_t estimate = MAX(stats->copy_rows_estimate, stats->copy_rows);
    bool is_known = stats->copy_rows_estimate > 0;
    if (is_known) {
        double share = MIN((double)stats->copy_rows / (double)estimate, 0.99);
        bar(screen, line, share);
        buf_printf(line, " %3.0f%%  ", share * 100);
    }
    buf_printf(line, "%" STR_FMT " rows  %" STR_FMT, STR_ARG(format_count(stats->copy_rows, arena)),
               STR_ARG(format_bytes(stats->copy_bytes, arena)));
    if (progress->rows.per_second > 0) {
        buf_printf(line, "  %" STR_FMT "/s",
                   STR_ARG(format_count((int64_t)progress->rows.per_second, arena)));
        int64_t left = is_known ? estimate - stats->copy_rows : 0;
        if (left > 0) {
            buf_cstr(line, "  ");
            duration(line, (int64_t)((double)left / progress->rows.per_second * 1000));
            buf_cstr(line, " left");
        }
    }
    line = new_line(screen);
    buf_printf(line, "table %lld of %lld  ",
               (long long)MIN(stats->tables_done + 1, stats->tables_total),
               (long long)stats->tables_total);
    styled(screen, line, STYLE_DIM, stats->copy_table);
}

static void draw_stream(const Progress *progress, const RunnerStats *stats, Screen *screen,
                        Arena *arena)
{
    Buf *line = new_line(screen);
    buf_printf(line, "%" STR_FMT " changes  %" STR_FMT "/s  %" STR_FMT " transactions  %" STR_FMT,
               STR_ARG(format_count(stats->changes, arena)),
               STR_ARG(format_count((int64_t)progress->changes.per_second, arena)),
               STR_ARG(format_count(stats->transactions, arena)),
               STR_ARG(format_bytes(stats->bytes, arena)));
    line = new_line(screen);
    int64_t behind = stats->head > stats->durable ? (int64_t)(stats->head - stats->durable) : 0;
    bool late = stats->lag_ms >= 1000;
    char lag[64];
    (void)snprintf(lag, sizeof(lag), "lag %lld ms", (long long)stats->lag_ms);
    styled(screen, line, late ? STYLE_YELLOW : STYLE_GREEN, lag);
    buf_printf(line, "  %" STR_FMT " behind  durable " LSN_FMT,
               STR_ARG(format_bytes(behind, arena)), LSN_ARG(stats->durable));
    if (stats->copy_rows > 0) {
        buf_printf(line, "  %" STR_FMT " rows copied",
                   STR_ARG(format_count(stats->copy_rows, arena)));
    }
    if (stats->retries > 0) {
        buf_printf(line, "  %lld reconnects", (long long)stats->retries);
    }
}

static void draw_retry(const RunnerStats *stats, Screen *screen)
{
    Buf *line = new_line(screen);
    buf_cstr(line, "again in ");
    duration(line, stats->retry_in_ms + 999);
    buf_printf(line, ": %s", stats->last_error);
}

static void compose(const Progress *progress, const RunnerStats *stats, Screen *screen,
                    int64_t now_ms, Arena *arena)
{
    draw_heading(progress, stats, screen, now_ms);
    switch (stats->phase) {
    case PHASE_COPYING:
        draw_copy(progress, stats, screen, arena);
        break;
    case PHASE_RETRYING:
        draw_retry(stats, screen);
        break;
    case PHASE_STREAMING:
    case PHASE_DRAINING:
        draw_stream(progress, stats, screen, arena);
        break;
    case PHASE_STARTING:
    case PHASE_LENT:
    case PHASE_DONE:
        break;
    }
}

// ---------------------------------------------------------------------------------------------
// The terminal
// ---------------------------------------------------------------------------------------------

static int terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) {
        return 80;
    }
    return size.ws_col;
}

// As much of the line as fits: escapes take no room, a UTF-8 character takes one cell.
static void append_fitting(Buf *out, const Buf *line, int columns)
{
    int used = 0;
    for (size_t i = 0; i < line->len;) {
        unsigned char c = (unsigned char)line->ptr[i];
        size_t len = 1;
        if (c == '\033') {
            while (i + len < line->len && line->ptr[i + len] != 'm') {
                len++;
            }
            len = MIN(len + 1, line->len - i);
        } else {
            while (i + len < line->len && utf8_goes_on(line->ptr[i + len])) {
                len++;
            }
            used++;
            if (used >= columns) {
                break;
            }
        }
        buf_bytes(out, line->ptr + i, len);
        i += len;
    }
}

static void put(const Buf *text)
{
    ssize_t wrote = write(STDERR_FILENO, text->ptr, text->len);
    (void)wrote; // a terminal that is gone needs no display
}

static void erase_into(Progress *progress, Buf *out)
{
    for (int i = 0; i < progress->lines_drawn; i++) {
        buf_cstr(out, "\033[1A\033[2K");
    }
    progress->lines_drawn = 0;
}

static void erase(Progress *progress)
{
    CLEANUP(buf_done) Buf out;
    buf_init(&out, 4096);
    erase_into(progress, &out);
    buf_cstr(&out, "\r");
    put(&out);
}

// Called by the log around each line it writes.
static void guard(void *context, bool writing)
{
    Progress *progress = context;
    if (writing) {
        (void)pthread_mutex_lock(&progress->lock);
        erase(progress);
    } else {
        (void)pthread_mutex_unlock(&progress->lock);
    }
}

static void draw(Progress *progress, const RunnerStats *stats, int64_t now_ms)
{
    Arena arena = {0};
    Screen screen = {.color = progress->has_color};
    compose(progress, stats, &screen, now_ms, &arena);
    CLEANUP(buf_done) Buf out;
    buf_init(&out, 64 * 1024);
    int width = terminal_width();
    (void)pthread_mutex_lock(&progress->lock);
    erase_into(progress, &out);
    for (int i = 0; i < screen.count; i++) {
        buf_cstr(&out, "\r\033[2K");
        append_fitting(&out, &screen.lines[i], width);
        buf_cstr(&out, progress->has_color ? "\033[0m\n" : "\n");
        buf_done(&screen.lines[i]);
    }
    progress->lines_drawn = screen.count;
    put(&out);
    (void)pthread_mutex_unlock(&progress->lock);
    arena_done(&arena);
}

static void log_progress(Progress *progress, const RunnerStats *stats, int64_t now_ms)
{
    if (now_ms - progress->logged_ms < LOG_MS) {
        return;
    }
    progress->logged_ms = now_ms;
    if (stats->phase == PHASE_COPYING) {
        log_info(NULL, "copying", LOG_STR("pipeline", progress->pipeline->name),
                 LOG_INT("rows", stats->copy_rows), LOG_INT("tables_done", stats->tables_done),
                 LOG_INT("tables", stats->tables_total),
                 LOG_INT("rows_per_s", (int64_t)progress->rows.per_second));
    } else if (stats->phase == PHASE_STREAMING) {
        log_info(NULL, "progress", LOG_STR("pipeline", progress->pipeline->name),
                 LOG_INT("changes", stats->changes), LOG_INT("transactions", stats->transactions),
                 LOG_INT("changes_per_s", (int64_t)progress->changes.per_second),
                 LOG_INT("lag_ms", stats->lag_ms));
    }
}

static void *progress_main(void *argument)
{
    Progress *progress = argument;
    while (!atomic_load(&progress->is_stopping)) {
        RunnerStats stats;
        runner_stats(progress->runner, &stats);
        int64_t now_ms = clock_monotonic_ms();
        rate_update(&progress->rows, stats.copy_rows, now_ms);
        rate_update(&progress->changes, stats.changes, now_ms);
        rate_update(&progress->bytes, stats.bytes, now_ms);
        if (progress->is_live) {
            draw(progress, &stats, now_ms);
        } else {
            log_progress(progress, &stats, now_ms);
        }
        wake_wait(&progress->stop, REDRAW_MS);
    }
    return NULL;
}

Progress *progress_start(ProgressMode mode, const Pipeline *pipeline, Runner *runner)
{
    if (mode == PROGRESS_NEVER) {
        return NULL;
    }
    Progress *progress = mem_alloc_zero(sizeof(*progress));
    progress->pipeline = pipeline;
    progress->runner = runner;
    progress->is_live = mode == PROGRESS_ALWAYS || isatty(STDERR_FILENO) == 1;
    progress->has_color = progress->is_live && getenv("NO_COLOR") == NULL;
    progress->began_ms = progress->logged_ms = clock_monotonic_ms();
    (void)pthread_mutex_init(&progress->lock, NULL);
    if (wake_init(&progress->stop, NULL) != STATUS_OK ||
        pthread_create(&progress->thread, NULL, progress_main, progress) != 0) {
        wake_done(&progress->stop);
        mem_free(progress);
        return NULL; // no display is no reason not to work
    }
    if (progress->is_live) {
        log_set_guard(guard, progress);
    }
    return progress;
}

void progress_stop(Progress *progress)
{
    if (progress == NULL) {
        return;
    }
    atomic_store(&progress->is_stopping, true);
    wake_set(&progress->stop);
    (void)pthread_join(progress->thread, NULL);
    if (progress->is_live) {
        log_set_guard(NULL, NULL);
        erase(progress);
    }
    wake_done(&progress->stop);
    (void)pthread_mutex_destroy(&progress->lock);
    mem_free(progress);
}
