#include "control/loan.h"

#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "control/serve.h"

enum { LOOK_MS = 20, TELL_MS = 1000, ANSWER_MAX = 1024, REQUEST_MAX = 64 };

#define ANSWER_LENT  "lent"
#define ANSWER_ON    "on"
#define ANSWER_FAILS "fails"
#define REQUEST_AT   "at"

struct Lender {
    const Watched *watched;
    pthread_mutex_t lock; // of what follows
    bool is_stopping;
    bool is_lending;
    HttpStream stream; // of the one that borrows
    pthread_t thread;
    bool has_thread; // to be joined
};

// ---------------------------------------------------------------------------------------------
// The lender
// ---------------------------------------------------------------------------------------------

// A line, whatever @text has. False: whoever is there does not take it.
static bool say(const HttpStream *stream, const char *text)
{
    char line[ANSWER_MAX];
    size_t len = MIN(strlen(text), sizeof(line) - 1);
    for (size_t i = 0; i < len; i++) {
        line[i] = text[i] == '\n' || text[i] == '\r' ? ' ' : text[i];
    }
    line[len++] = '\n';
    return send(stream->fd, line, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool wait_readable(const HttpStream *stream, int timeout_ms)
{
    struct pollfd fd = {.fd = stream->fd, .events = POLLIN};
    return poll(&fd, 1, timeout_ms) > 0;
}

// What the borrower asks for; false: it has gone, or what it says is nothing that is known.
static bool read_request(const HttpStream *stream, Lsn *ret)
{
    char line[REQUEST_MAX];
    size_t len = 0;
    while (len == 0 || line[len - 1] != '\n') {
        (void)wait_readable(stream, -1);
        ssize_t got = len < sizeof(line) ? recv(stream->fd, line + len, 1, 0) : 0;
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) {
            return false;
        }
        len += got > 0 ? 1 : 0;
    }
    Str request = {line, len - 1};
    Str verb;
    return str_split(&request, ' ', &verb) && str_is(verb, REQUEST_AT) && lsn_parse(request, ret) &&
           *ret != LSN_NONE;
}

static bool has_ended(Runner *runner)
{
    RunnerStats stats;
    runner_stats(runner, &stats);
    return stats.phase == PHASE_DONE;
}

// How far a runner has come, as a borrower is told.
typedef struct Progress {
    uint64_t durable;  // by what stays when an attempt fails
    uint64_t anything; // by that, and by what it does
    int64_t retries;
} Progress;

static Progress look(const Watched *watched, RunnerStats *stats)
{
    uint64_t anything[LIMIT_ROUTES];
    uint64_t durable[2 * LIMIT_ROUTES];
    size_t count = watched->pipeline->route_count;
    runner_stats(watched->runner, stats);
    for (size_t i = 0; i < count; i++) {
        RouteStats route;
        runner_route_stats(watched->runner, i, &route);
        anything[i] = route_progress(&route, true);
        durable[2 * i] = route.durable;
        durable[2 * i + 1] = (uint64_t)route.tables_done;
    }
    return (Progress){
        .durable = progress_of(durable, (int)(2 * count)),
        .anything = progress_of(anything, (int)count),
        .retries = stats->retries,
    };
}

// Whether it is getting there, or what keeps it. What an attempt does whose like has failed is no
// news until something is durable.
static void tell_progress(const Lender *lender, Progress *was)
{
    RunnerStats stats;
    Progress now = look(lender->watched, &stats);
    bool is_first = now.retries == was->retries;
    char line[ANSWER_MAX];
    if (now.durable != was->durable || (is_first && now.anything != was->anything)) {
        *was = now;
        (void)say(&lender->stream, ANSWER_ON);
    } else if (stats.phase == PHASE_RETRYING) {
        (void)snprintf(line, sizeof(line), ANSWER_FAILS " %s", stats.last_error);
        (void)say(&lender->stream, line);
    }
}

// While it waits, a borrower has nothing to say: whatever comes is the end.
static bool wait_until_lent(const Lender *lender)
{
    Runner *runner = lender->watched->runner;
    bool goes_on = true;
    RunnerStats stats;
    Progress was = look(lender->watched, &stats);
    int64_t told_ms = clock_monotonic_ms();
    while (goes_on && !runner_is_lent(runner)) {
        goes_on = !has_ended(runner) && !wait_readable(&lender->stream, LOOK_MS);
        if (goes_on && clock_monotonic_ms() - told_ms >= TELL_MS) {
            told_ms = clock_monotonic_ms();
            tell_progress(lender, &was);
        }
    }
    if (!goes_on && has_ended(runner)) {
        (void)say(&lender->stream, "it has come to its end, as weir status may tell");
    }
    return goes_on;
}

static void lend(Lender *lender)
{
    Runner *runner = lender->watched->runner;
    Lsn lsn;
    runner_lend(runner, lender->stream.pid);
    while (wait_until_lent(lender)) {
        if (!say(&lender->stream, ANSWER_LENT) || !read_request(&lender->stream, &lsn)) {
            break;
        }
        runner_lend_at(runner, lsn);
    }
    runner_lend(runner, 0);
}

static void *lend_main(void *argument)
{
    Lender *lender = argument;
    lend(lender);
    (void)pthread_mutex_lock(&lender->lock);
    http_stream_close(&lender->stream);
    lender->is_lending = false;
    (void)pthread_mutex_unlock(&lender->lock);
    return NULL;
}

// NULL: it may be lent.
static const char *reason_not_to(const Lender *lender, const HttpStream *stream, Arena *arena)
{
    if (lender->is_stopping) {
        return "it is ending";
    }
    if (lender->is_lending) {
        return arena_printf(arena, "it is lent to process %" PRId64 " for a verification",
                            lender->stream.pid);
    }
    if (lender->watched->log != NULL && lender->watched->reader.len == 0) {
        return "it fills a disk buffer";
    }
    return stream->pid == 0 ? "it is not known who asks" : NULL;
}

static void join_last(Lender *lender)
{
    if (lender->has_thread) {
        (void)pthread_join(lender->thread, NULL);
        lender->has_thread = false;
    }
}

static const char *begin(Lender *lender, const HttpStream *stream, Arena *arena)
{
    const char *reason = reason_not_to(lender, stream, arena);
    if (reason != NULL) {
        return reason;
    }
    join_last(lender); // it has no more to do than to return
    lender->stream = *stream;
    int code = pthread_create(&lender->thread, NULL, lend_main, lender);
    lender->has_thread = lender->is_lending = code == 0;
    return code == 0 ? NULL : "it has no thread left";
}

void lender_take(Lender *lender, const HttpStream *stream)
{
    Arena scratch = {0};
    (void)pthread_mutex_lock(&lender->lock);
    const char *reason = begin(lender, stream, &scratch);
    (void)pthread_mutex_unlock(&lender->lock);
    if (reason != NULL) {
        (void)say(stream, reason);
        http_stream_close(stream);
    }
    arena_done(&scratch);
}

Lender *lender_new(const Watched *watched)
{
    Lender *lender = mem_alloc_zero(sizeof(*lender));
    lender->watched = watched;
    (void)pthread_mutex_init(&lender->lock, NULL);
    return lender;
}

void lender_stop(Lender *lender)
{
    (void)pthread_mutex_lock(&lender->lock);
    lender->is_stopping = true;
    if (lender->is_lending) {
        (void)shutdown(lender->stream.fd, SHUT_RDWR); // which its thread sees as the end
    }
    (void)pthread_mutex_unlock(&lender->lock);
    join_last(lender);
}

void lender_free(Lender *lender)
{
    (void)pthread_mutex_destroy(&lender->lock);
    mem_free(lender);
}

// ---------------------------------------------------------------------------------------------
// The borrower
// ---------------------------------------------------------------------------------------------

// A borrower that waits for the lender.
typedef struct Waiting {
    int fd;
    const char *directory;
    const LoanPatience *patience;
    int64_t since_ms;         // it has got nowhere
    char answer[ANSWER_MAX];  // the last line of it
    char failing[ANSWER_MAX]; // why, since then, as far as it knows
} Waiting;

static Status lose_patience(const Waiting *waiting, Error *err)
{
    bool is_known = waiting->failing[0] != '\0';
    error_set(err, ERROR_TRANSIENT,
              "the process that has \"%s\" is to bring its target to where it is compared, and has "
              "got nowhere for %" PRId64 " s%s%s",
              waiting->directory, waiting->patience->ms / 1000, is_known ? ": " : "",
              waiting->failing);
    return error_hint(err, "weir status and its log say more. --patience says how long it is "
                           "waited for, 0: for ever.");
}

static Status wait_for_byte(const Waiting *waiting, Error *err)
{
    const Cancel *cancel = waiting->patience->cancel;
    int64_t until_ms = waiting->since_ms + waiting->patience->ms;
    bool has_end = waiting->patience->ms > 0;
    struct pollfd fds[] = {{.fd = waiting->fd, .events = POLLIN},
                           {.fd = cancel->fd, .events = POLLIN}};
    int ready = -1;
    while (ready < 0) {
        int64_t left_ms = MIN(MAX(until_ms - clock_monotonic_ms(), (int64_t)0), (int64_t)INT_MAX);
        ready = poll(fds, ARRAY_LEN(fds), has_end ? (int)left_ms : -1);
        if (ready < 0 && errno != EINTR) {
            return error_set_errno(err, ERROR_TRANSIENT, errno, "wait for a loan");
        }
    }
    if (cancel_is_set(cancel)) {
        return error_set(err, ERROR_CANCELLED, "cancelled");
    }
    return ready > 0 ? STATUS_OK : lose_patience(waiting, err);
}

static Status refuse(const char *directory, const char *reason, Error *err)
{
    error_set(err, ERROR_CONFIG, "the process that has \"%s\" does not lend its pipeline: %s",
              directory, reason);
    return error_hint(err, "Stop it first, or wait for its end.");
}

static Status read_answer(Waiting *waiting, Error *err)
{
    char *answer = waiting->answer;
    size_t len = 0;
    while (len == 0 || answer[len - 1] != '\n') {
        if (wait_for_byte(waiting, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        ssize_t got = len + 1 < ANSWER_MAX ? recv(waiting->fd, answer + len, 1, 0) : 0;
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) {
            return error_set(err, ERROR_TRANSIENT,
                             "the process that has \"%s\" ended before it had lent its pipeline",
                             waiting->directory);
        }
        len += got > 0 ? 1 : 0;
    }
    answer[len - 1] = '\0';
    return STATUS_OK;
}

// Until it is lent. Every second the lender says that it is getting there, or why not.
static Status take_answer(int fd, const char *directory, const LoanPatience *patience, Error *err)
{
    Waiting waiting = {
        .fd = fd, .directory = directory, .patience = patience, .since_ms = clock_monotonic_ms()};
    for (;;) {
        if (read_answer(&waiting, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        Str rest = str_from(waiting.answer);
        Str word;
        if (strcmp(waiting.answer, ANSWER_LENT) == 0) {
            return STATUS_OK;
        }
        if (strcmp(waiting.answer, ANSWER_ON) == 0) {
            waiting.since_ms = clock_monotonic_ms();
            waiting.failing[0] = '\0'; // that is over
        } else if (str_split(&rest, ' ', &word) && str_is(word, ANSWER_FAILS)) {
            (void)snprintf(waiting.failing, sizeof(waiting.failing), "%.*s", (int)rest.len,
                           rest.ptr);
        } else {
            return refuse(directory, waiting.answer, err);
        }
    }
}

Status loan_ask(const char *directory, const LoanPatience *patience, int *ret_fd, Error *err)
{
    int fd;
    *ret_fd = -1;
    if (http_take_local(directory, SERVE_SOCKET, &fd, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (fd >= 0 && take_answer(fd, directory, patience, err) != STATUS_OK) {
        (void)close(fd);
        return STATUS_FAIL;
    }
    *ret_fd = fd;
    return STATUS_OK;
}

Status loan_bring(int fd, const char *directory, Lsn lsn, const LoanPatience *patience, Error *err)
{
    char line[REQUEST_MAX];
    int len = snprintf(line, sizeof(line), REQUEST_AT " " LSN_FMT "\n", LSN_ARG(lsn));
    if (send(fd, line, (size_t)len, MSG_NOSIGNAL) != len) {
        return error_set_errno(err, ERROR_TRANSIENT, errno, "the process that has \"%s\" has ended",
                               directory);
    }
    return take_answer(fd, directory, patience, err);
}
