// Whether a server that has not answered for long is still at work for us: asked by a second
// connection.
//
// A statement may wait for a lock, and a COPY for its first row, for hours. So silence alone tells
// nothing; but a server whose session waits for us, while we wait for it, will wait for ever. It
// has not got what we sent, or its answer was lost: something between us has forgotten the
// connection, and TCP, which is fine as far as that something, does not tell.
#pragma once

#include "pg/connection.h"

typedef struct PgProbe {
    Str url;
    int64_t after_ms; // of silence
    char pid[16];     // of our session at the server, which a pooler may have another number for
    char started[64]; // when that session began: numbers are used again
    // It was asked, and is at work: it waits neither for us nor for anybody's lock. NULL: who
    // cares.
    void (*at_work)(void *context);
    void *context;
} PgProbe;

/** Ask who we are at the server. @url has to live as long as @probe. */
MUST_CHECK Status pg_probe_init(PgProbe *probe, PGconn *conn, Str url, int64_t after_ms,
                                const PgWait *wait, Error *err);

/**
 * The server has been silent for after_ms. *ret_is_waiting: its session waits for us, or is gone.
 * With @ends, such a session is ended, so that its locks do not keep us out when we come again.
 * ERROR_TRANSIENT when nobody answers there. That no other session can be had says nothing.
 */
MUST_CHECK Status pg_probe_ask(const PgProbe *probe, bool ends, Cancel *cancel,
                               bool *ret_is_waiting, Error *err);
