#include "control/loan.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "control/serve.h"
#include "io/wake.h"

enum { LOOK_MS = 20, ANSWER_MAX = 512, REQUEST_MAX = 64 };

#define ANSWER_LENT "lent"
#define REQUEST_AT  "at"

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

// A line. Whoever does not take it has gone, which is found out soon enough.
static void say(const HttpStream *stream, const char *text)
{
    char line[ANSWER_MAX];
    int len = snprintf(line, sizeof(line), "%s\n", text);
    if (len > 0) {
        (void)send(stream->fd, line, MIN((size_t)len, sizeof(line) - 1), MSG_NOSIGNAL);
    }
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

// While it waits, a borrower has nothing to say: whatever comes is the end.
static bool wait_until_lent(const Lender *lender)
{
    Runner *runner = lender->watched->runner;
    bool goes_on = true;
    while (goes_on && !runner_is_lent(runner)) {
        goes_on = !has_ended(runner) && !wait_readable(&lender->stream, LOOK_MS);
    }
    if (!goes_on && has_ended(runner)) {
        say(&lender->stream, "it has come to its end, as weir status may tell");
    }
    return goes_on;
}

static void lend(Lender *lender)
{
    Runner *runner = lender->watched->runner;
    Lsn lsn;
    runner_lend(runner, lender->stream.pid);
    while (wait_until_lent(lender)) {
        say(&lender->stream, ANSWER_LENT);
        if (!read_request(&lender->stream, &lsn)) {
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
        say(stream, reason);
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

static Status wait_for_answer(int fd, const Cancel *cancel, Error *err)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = cancel->fd, .events = POLLIN}};
    while (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno == EINTR) {
    }
    return cancel_is_set(cancel) ? error_set(err, ERROR_CANCELLED, "cancelled") : STATUS_OK;
}

static Status refuse(const char *directory, const char *reason, Error *err)
{
    error_set(err, ERROR_CONFIG, "the process that has \"%s\" does not lend its pipeline: %s",
              directory, reason);
    return error_hint(err, "Stop it first, or wait for its end.");
}

static Status take_answer(int fd, const char *directory, const Cancel *cancel, Error *err)
{
    char answer[ANSWER_MAX] = "";
    size_t len = 0;
    while (len == 0 || answer[len - 1] != '\n') {
        if (wait_for_answer(fd, cancel, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        ssize_t got = len + 1 < sizeof(answer) ? recv(fd, answer + len, 1, 0) : 0;
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) {
            return error_set(err, ERROR_TRANSIENT,
                             "the process that has \"%s\" ended before it had lent its pipeline",
                             directory);
        }
        len += got > 0 ? 1 : 0;
    }
    answer[len - 1] = '\0';
    return strcmp(answer, ANSWER_LENT) == 0 ? STATUS_OK : refuse(directory, answer, err);
}

Status loan_ask(const char *directory, const Cancel *cancel, int *ret_fd, Error *err)
{
    int fd;
    *ret_fd = -1;
    if (http_take_local(directory, SERVE_SOCKET, &fd, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (fd >= 0 && take_answer(fd, directory, cancel, err) != STATUS_OK) {
        (void)close(fd);
        return STATUS_FAIL;
    }
    *ret_fd = fd;
    return STATUS_OK;
}

Status loan_bring(int fd, const char *directory, Lsn lsn, const Cancel *cancel, Error *err)
{
    char line[REQUEST_MAX];
    int len = snprintf(line, sizeof(line), REQUEST_AT " " LSN_FMT "\n", LSN_ARG(lsn));
    if (send(fd, line, (size_t)len, MSG_NOSIGNAL) != len) {
        return error_set_errno(err, ERROR_TRANSIENT, errno, "the process that has \"%s\" has ended",
                               directory);
    }
    return take_answer(fd, directory, cancel, err);
}
