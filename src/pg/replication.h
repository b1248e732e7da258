// A replication connection: START_REPLICATION on a logical slot, frames in, status updates out.
// See "Streaming Replication Protocol" in Postgres's manual.
//
// Thread: the source's.
#pragma once

#include "change/position.h"
#include "pg/connection.h"

typedef struct Replication {
    PGconn *conn;
    Lsn head;                 // end of the server's WAL as far as it has told us
    Lsn received;             // reported as written: everything before it has arrived here
    Lsn confirmed;            // reported as flushed and applied
    int64_t interval_ms;      // between status updates
    int64_t silence_ms_max;   // longer, and the server is lost
    int64_t last_status_ms;   // when the last one was sent
    int64_t last_received_ms; // when the last frame arrived
    int64_t last_wake_us;     // when bytes last woke us up
    bool has_taken;           // frames since then
    unsigned soon_wakes;      // in a row, each soon behind the one before: a flood
    bool is_near;             // the server is at the other end of loopback: its clock is ours
    int64_t rest_us_max;      // that suits the connection
    uint64_t sent_us;         // by the server's clock, when it sent the newest frame of data
    int64_t rest_us;          // how old messages of a flood may become before they are read
    int64_t rated_us;         // when that was last decided,
    int64_t flood_frames;     // and what has been taken since
    Lsn last_status_confirmed;
    bool reply_wanted; // the server asked for an update at once
    bool ping_sent;
    bool is_silent; // for too long: there is nobody to say goodbye to
} Replication;

typedef enum FrameKind {
    FRAME_DATA,      // a message of the output plugin
    FRAME_KEEPALIVE, // everything before `end` has been sent
} FrameKind;

typedef struct Frame {
    FrameKind kind;
    Lsn start; // WAL position of the data
    Lsn end;   // keepalive: how far the server has read and sent
    Str data;  // valid until replication_release()
    char *buffer;
} Frame;

/** Take over @conn (not owned), which must be a replication connection of a database. A server that
 *  says nothing for @silence_ms_max, although it was asked, is lost. */
void replication_init(Replication *replication, PGconn *conn, int64_t wal_sender_timeout_ms,
                      int64_t silence_ms_max);

/** Send START_REPLICATION; @options: the list between the parentheses. */
MUST_CHECK Status replication_start(Replication *replication, const PgWait *wait, Str slot,
                                    Lsn start, const char *options, Error *err);

/**
 * The next frame that has already arrived; STATUS_AGAIN when there is none: then wait with
 * replication_wait(). ERROR_TRANSIENT when the connection is lost or the server stops.
 */
MUST_CHECK Status replication_next(Replication *replication, Frame *ret, Error *err);

void replication_release(Frame *frame);

/**
 * Wait for bytes (only with @reading), for @wake_fd, or for @timeout_ms at the most, and keep the
 * status updates going meanwhile. A server that has been silent for too long is ERROR_TRANSIENT.
 */
MUST_CHECK Status replication_wait(Replication *replication, bool reading, int wake_fd,
                                   int timeout_ms, Error *err);

/** Send a status update if one is due: asked for, the interval is over, or the confirmed position
 *  has moved and the last update is @eager_ms ago. */
MUST_CHECK Status replication_status(Replication *replication, int64_t eager_ms, Error *err);

/** Send the last status, end the stream, and wait until the server has taken both. Best effort. */
void replication_stop(Replication *replication);
