#include "pg/replication.h"

#include <assert.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/reader.h"

enum {
    INTERVAL_MS_MAX = 10000,
    INTERVAL_MS_MIN = 250,
    STOP_MS_MAX = 5000,
    FLOOD_GAP_US = 1000, // wake-ups closer to each other than this,
    FLOOD_WAKES = 16,    // and so many of them in a row, are a flood
    REST_US_MIN = 200,   // how old messages may become in it before they are read, at the least
    REST_FRAMES = 50,    // and, when more than so many come a millisecond, at the most:
    REST_US_TCP = 1000,
    REST_US_NEAR = 12000, // over loopback;
    REST_US_UNIX = 200,   // a Unix-domain socket takes some 300 messages, then the sender waits
    REST_BYTES = 8192,    // so many are worth a read, where the age is not known
    NEAR_SPACE = 131072,  // of the receive buffer: two of the largest packets, or the sender stalls
};

// Postgres counts microseconds from 2000-01-01.
static const int64_t postgres_epoch_us = INT64_C(946684800000000);

void replication_init(Replication *replication, PGconn *conn, int64_t wal_sender_timeout_ms,
                      int64_t silence_ms_max)
{
    int64_t interval = INTERVAL_MS_MAX;
    if (wal_sender_timeout_ms > 0) {
        interval = MIN(interval, wal_sender_timeout_ms / 4);
    }
    *replication = (Replication){
        .conn = conn,
        .interval_ms = MAX(interval, (int64_t)INTERVAL_MS_MIN),
        .silence_ms_max = silence_ms_max,
        .last_received_ms = clock_monotonic_ms(),
    };
}

// @why may be empty.
static Status stream_lost(const Replication *replication, const char *what, Str why, Error *err)
{
    Arena scratch = {.chunk_size = 1024};
    Str where = pg_describe(replication->conn, &scratch);
    error_set(err, ERROR_TRANSIENT, "%s: %" STR_FMT "%s%" STR_FMT, what, STR_ARG(where),
              why.len > 0 ? ": " : "", STR_ARG(why));
    arena_done(&scratch);
    return STATUS_FAIL;
}

static Status lost(const Replication *replication, const char *what, Error *err)
{
    return stream_lost(replication, what, str_trim(str_from(PQerrorMessage(replication->conn))),
                       err);
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    return (address->ss_family == AF_INET && ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET) ||
           (address->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr));
}

// On one machine the sender of a TCP packet does the receiver's work too, and a walsender sends a
// packet a message: that takes it longer than to decode them. Messages that the receiver has no
// room for only gather on the sender's side, and go in large packets once there is some. So the
// room is small here, and rest_in_flood() takes care that it is full. Its size must not change: the
// kernel would enlarge it, as it does for who reads late.
static void suit_connection(Replication *replication)
{
    const int space = NEAR_SPACE;
    int socket = PQsocket(replication->conn);
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    replication->is_near = false;
    replication->rest_us_max = REST_US_TCP;
    if (getpeername(socket, (struct sockaddr *)&address, &len) != 0) {
        return;
    }
    if (address.ss_family == AF_UNIX) {
        replication->rest_us_max = REST_US_UNIX;
    } else if (is_loopback(&address)) {
        replication->is_near =
            setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &space, sizeof(space)) == 0;
        replication->rest_us_max = replication->is_near ? REST_US_NEAR : REST_US_TCP;
    }
}

Status replication_start(Replication *replication, const PgWait *wait, Str slot, Lsn start,
                         const char *options, Error *err)
{
    CLEANUP(buf_done) Buf sql;
    buf_init(&sql, 64 * 1024);
    buf_printf(&sql, "START_REPLICATION SLOT \"%" STR_FMT "\" LOGICAL " LSN_FMT " (%s)",
               STR_ARG(slot), LSN_ARG(start), options);
    suit_connection(replication);
    replication->received = start;
    replication->confirmed = start;
    replication->last_status_confirmed = start;
    replication->last_received_ms = replication->last_status_ms = clock_monotonic_ms();
    return pg_start_copy_both(replication->conn, wait, buf_cstring(&sql), err);
}

// 'w': WAL start, WAL end, send time (8 bytes each), then the plugin's message.
static Status read_data(Replication *replication, Reader *in, Frame *ret, Error *err)
{
    uint64_t start;
    uint64_t end;
    uint64_t sent;
    if (!reader_u64(in, &start) || !reader_u64(in, &end) || !reader_u64(in, &sent)) {
        return error_set(err, ERROR_DATA, "a replication data frame is cut short");
    }
    replication->head = MAX(replication->head, end);
    replication->received = MAX(replication->received, start);
    replication->sent_us = sent;
    ret->kind = FRAME_DATA;
    ret->start = start;
    ret->end = end;
    ret->data = (Str){(const char *)in->at, reader_left(in)};
    return STATUS_OK;
}

// 'k': WAL end, send time, whether an answer is wanted.
static Status read_keepalive(Replication *replication, Reader *in, Frame *ret, Error *err)
{
    uint64_t end;
    uint64_t sent;
    uint8_t reply;
    if (!reader_u64(in, &end) || !reader_u64(in, &sent) || !reader_u8(in, &reply)) {
        return error_set(err, ERROR_DATA, "a replication keepalive is cut short");
    }
    replication->head = MAX(replication->head, end);
    replication->received = MAX(replication->received, end);
    replication->reply_wanted = replication->reply_wanted || reply != 0;
    ret->kind = FRAME_KEEPALIVE;
    ret->end = end;
    return STATUS_OK;
}

static Status stream_ended(Replication *replication, Error *err)
{
    PGresult *result = PQgetResult(replication->conn);
    Status status = STATUS_FAIL;
    if (result != NULL && PQresultStatus(result) == PGRES_FATAL_ERROR) {
        pg_result_error(replication->conn, result, "the replication stream was ended", err);
    } else {
        status = error_set(err, ERROR_TRANSIENT, "the server ended the replication stream");
    }
    PQclear(result);
    return status;
}

Status replication_next(Replication *replication, Frame *ret, Error *err)
{
    char *buffer = NULL;
    int len = PQgetCopyData(replication->conn, &buffer, 1);
    if (len == 0) {
        return STATUS_AGAIN;
    }
    if (len == -1) {
        return stream_ended(replication, err);
    }
    if (len < 0) {
        return lost(replication, "the replication stream broke", err);
    }
    // The clock is read once a wake-up, in replication_wait(); this only says that something came.
    replication->ping_sent = false;
    replication->has_taken = true;
    replication->flood_frames++;
    *ret = (Frame){.buffer = buffer};
    Reader in = reader_from(buffer, (size_t)len);
    uint8_t kind = 0;
    Status status;
    if (reader_u8(&in, &kind) && kind == 'w') {
        status = read_data(replication, &in, ret, err);
    } else if (kind == 'k') {
        status = read_keepalive(replication, &in, ret, err);
    } else {
        status = error_set(err, ERROR_DATA, "unknown replication frame 0x%02x", kind);
    }
    if (status != STATUS_OK) {
        replication_release(ret);
    }
    return status;
}

void replication_release(Frame *frame)
{
    PQfreemem(frame->buffer);
    frame->buffer = NULL;
}

// 'r': written, flushed, applied, time, whether we want an answer.
static Status send_status(Replication *replication, bool ping, int64_t now_ms, Error *err)
{
    bool moved = replication->confirmed > replication->last_status_confirmed;
    if (moved) {
        CRASH_POINT("confirm-is-sent");
    }
    CLEANUP(buf_done) Buf message;
    buf_init(&message, 64);
    buf_char(&message, 'r');
    buf_be64(&message, replication->received);
    buf_be64(&message, replication->confirmed);
    buf_be64(&message, replication->confirmed);
    buf_be64(&message, (uint64_t)(clock_wall_us() - postgres_epoch_us));
    buf_char(&message, ping ? 1 : 0);
    if (PQputCopyData(replication->conn, message.ptr, (int)message.len) != 1 ||
        PQflush(replication->conn) < 0) {
        return lost(replication, "a status update could not be sent", err);
    }
    if (moved) {
        CRASH_POINT("confirm-was-sent");
    }
    replication->last_status_ms = now_ms;
    replication->last_status_confirmed = replication->confirmed;
    replication->reply_wanted = false;
    return STATUS_OK;
}

Status replication_status(Replication *replication, int64_t eager_ms, Error *err)
{
    int64_t now_ms = clock_monotonic_ms();
    int64_t since = now_ms - replication->last_status_ms;
    bool moved = replication->confirmed > replication->last_status_confirmed;
    if (replication->reply_wanted || since >= replication->interval_ms ||
        (moved && since >= eager_ms)) {
        return send_status(replication, false, now_ms, err);
    }
    return STATUS_OK;
}

static Status check_silence(Replication *replication, int64_t now_ms, Error *err)
{
    int64_t silent = now_ms - replication->last_received_ms;
    if (silent >= replication->silence_ms_max) {
        replication->is_silent = true;
        char what[64];
        (void)snprintf(what, sizeof(what), "the server has been silent for %d seconds",
                       (int)(silent / 1000));
        return stream_lost(replication, what, STR(""), err);
    }
    if (silent >= replication->silence_ms_max / 3 && !replication->ping_sent) {
        replication->ping_sent = true;
        return send_status(replication, true, now_ms, err);
    }
    return STATUS_OK;
}

static size_t unread_bytes(const Replication *replication)
{
    int count = 0;
    return ioctl(PQsocket(replication->conn), FIONREAD, &count) == 0 && count > 0 ? (size_t)count
                                                                                  : 0;
}

// By its own clock, how long the newest message that was read had been on its way: as much of the
// stream as a server sends in that time waits for us. A message of the future comes through a
// tunnel from a server with another clock.
static bool age_us(const Replication *replication, int64_t *ret)
{
    uint64_t now_us = (uint64_t)(clock_wall_us() - postgres_epoch_us);
    *ret = (int64_t)MIN(now_us - replication->sent_us, (uint64_t)REST_US_NEAR);
    return now_us >= replication->sent_us;
}

static int64_t rest_left_us(Replication *replication)
{
    int64_t age;
    if (replication->is_near && age_us(replication, &age)) {
        return replication->rest_us - age;
    }
    if (replication->is_near) {
        replication->is_near = false;
        replication->rest_us = replication->rest_us_max = REST_US_TCP;
    }
    return unread_bytes(replication) < REST_BYTES ? replication->rest_us : 0;
}

static void rate_flood(Replication *replication, int64_t now_us)
{
    bool has_begun = replication->soon_wakes > FLOOD_WAKES;
    int64_t period_us = now_us - replication->rated_us;
    if (has_begun && period_us < 2 * replication->rest_us) {
        return;
    }
    bool is_fast = replication->flood_frames * 1000 > period_us * REST_FRAMES;
    int64_t rest_us = is_fast ? MIN(replication->rest_us * 2, replication->rest_us_max)
                              : MAX(replication->rest_us / 2, (int64_t)REST_US_MIN);
    replication->rest_us = has_begun ? rest_us : REST_US_MIN;
    replication->rated_us = now_us;
    replication->flood_frames = 0;
}

// A walsender sends each message by itself, so whoever reads as fast as it sends is woken up for
// each: most of the CPU time of both goes into that. So messages are left to gather until they are
// rest_us old. With a server on this machine, a part of them that the receive buffer has no room
// for then always waits at the sender, and is taken without the sender's help. A lone transaction,
// which is a few messages with keepalives around them, is not held up.
static void rest_in_flood(Replication *replication)
{
    int64_t now_us = clock_monotonic_us();
    bool is_soon = replication->has_taken && now_us - replication->last_wake_us < FLOOD_GAP_US;
    replication->soon_wakes = is_soon ? replication->soon_wakes + 1 : 0;
    if (replication->soon_wakes >= FLOOD_WAKES) {
        rate_flood(replication, now_us);
        // Not for the little that has just been read.
        int64_t left_us = rest_left_us(replication);
        if (left_us > replication->rest_us / 4) {
            const struct timespec time = {0, left_us * 1000};
            (void)nanosleep(&time, NULL);
            now_us = clock_monotonic_us();
        }
    }
    replication->last_wake_us = now_us;
    replication->has_taken = false;
}

Status replication_wait(Replication *replication, bool reading, int wake_fd, int timeout_ms,
                        Error *err)
{
    if (replication_status(replication, 200, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int64_t left = replication->last_status_ms + replication->interval_ms - clock_monotonic_ms();
    int wait_ms = (int)MIN((int64_t)timeout_ms, MAX(left, (int64_t)0));
    // Bytes of ours that the socket did not take yet go out as soon as it takes some.
    bool unsent = PQflush(replication->conn) > 0;
    struct pollfd waits[] = {
        {.fd = reading || unsent ? PQsocket(replication->conn) : -1,
         .events = (short)((reading ? POLLIN : 0) | (unsent ? POLLOUT : 0))},
        {.fd = wake_fd, .events = POLLIN},
    };
    int ready = poll(waits, ARRAY_LEN(waits), wait_ms);
    if (ready < 0 && errno != EINTR) {
        return error_set_errno(err, ERROR_TRANSIENT, errno, "wait for the server");
    }
    int64_t now_ms = clock_monotonic_ms();
    if (!reading) {
        // Frames may be waiting unread: this says nothing about the server.
        replication->last_received_ms = now_ms;
        return STATUS_OK;
    }
    // Under TLS, bytes can wait inside the library when the socket has none.
    bool readable = ready > 0 && waits[0].revents != 0;
    if (readable) {
        rest_in_flood(replication);
    }
    if (readable || PQsslInUse(replication->conn) == 1) {
        replication->last_received_ms = readable ? now_ms : replication->last_received_ms;
        if (PQconsumeInput(replication->conn) != 1) {
            return lost(replication, "the replication stream broke", err);
        }
    }
    return check_silence(replication, now_ms, err);
}

static bool wait_readable(const Replication *replication, int64_t until_ms)
{
    int64_t left = until_ms - clock_monotonic_ms();
    struct pollfd wait = {.fd = PQsocket(replication->conn), .events = POLLIN};
    return left > 0 && poll(&wait, 1, (int)left) > 0 && PQconsumeInput(replication->conn) == 1;
}

void replication_stop(Replication *replication)
{
    int64_t until_ms = clock_monotonic_ms() + STOP_MS_MAX;
    if (replication->conn == NULL || replication->is_silent ||
        PQstatus(replication->conn) != CONNECTION_OK ||
        send_status(replication, false, clock_monotonic_ms(), NULL) != STATUS_OK ||
        PQputCopyEnd(replication->conn, NULL) != 1 || PQflush(replication->conn) < 0) {
        return;
    }
    // The server answers with its own end of copy after it has read everything of ours.
    for (;;) {
        char *buffer = NULL;
        int len = PQgetCopyData(replication->conn, &buffer, 1);
        if (len > 0) {
            PQfreemem(buffer);
        } else if (len < 0 || !wait_readable(replication, until_ms)) {
            return;
        }
    }
}
