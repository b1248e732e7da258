// libpq without surprises: connections and statements that can be cancelled, that do not block the
// caller's other duties, and whose failures say what to do.
#pragma once

#include <libpq-fe.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "io/cancel.h"

/** How a call waits for the server. Zeroed: until it answers. */
typedef struct PgWait {
    Cancel *cancel; // gives up with ERROR_CANCELLED; may be NULL
    // Called every @tick_ms while waiting, for duties that cannot wait as long; may be NULL.
    void (*tick)(void *context);
    void *tick_context;
    int tick_ms;
    // A server from which nothing has come for so long is lost, ERROR_TRANSIENT; 0: it may take any
    // time. Only for what no lock, no running transaction and no number of rows can hold up.
    int64_t patience_ms;
    // For all else: asked when nothing has come for long; may be NULL. See pg/probe.h.
    const struct PgProbe *probe;
} PgWait;

typedef struct PgConnect {
    Str url;                      // URL or keyword string, as libpq takes it
    const char *application_name; // shown in pg_stat_activity
    bool replication;             // a walsender of the database
} PgConnect;

/**
 * Connect, with every setting that decides about text output fixed: UTF-8, ISO dates, UTC, hex
 * bytea, shortest exact floats, empty search_path; and without the server's own timeouts. Gives up
 * after 30 s unless the URL has a connect_timeout. The error names host, port, database and user,
 * never the password. Close with pg_close().
 */
MUST_CHECK Status pg_connect(const PgConnect *options, const PgWait *wait, PGconn **ret,
                             Error *err);

/** "database \"shop\" on db.example:5432 as \"weir\"": for messages. In @arena. */
Str pg_describe(const PGconn *conn, Arena *arena);

/** Begins a transaction whose statements all read one moment. */
#define PG_BEGIN_SNAPSHOT "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

/** Run one statement with text parameters (NULL: SQL NULL). Any result but rows, no rows and an
 *  empty query is a failure. */
MUST_CHECK Status pg_query(PGconn *conn, const PgWait *wait, const char *sql, int count,
                           const char *const *parameters, PGresult **ret, Error *err);

/** Run statements for their effect; the simple protocol, so several separated by semicolons are
 *  fine, and replication commands too. */
MUST_CHECK Status pg_run(PGconn *conn, const PgWait *wait, const char *sql, Error *err);

/** The same, with the last result. */
MUST_CHECK Status pg_run_result(PGconn *conn, const PgWait *wait, const char *sql, PGresult **ret,
                                Error *err);

/**
 * Read one moment with all statements until pg_end_snapshot(): each of its own would see what was
 * committed in between. Those of a snapshot that the connection has anyway belong to it.
 */
MUST_CHECK Status pg_begin_snapshot(PGconn *conn, const PgWait *wait, bool *ret_is_begun,
                                    Error *err);

/** @is_read: nothing failed in it. Otherwise @err is left alone: it says what did. */
MUST_CHECK Status pg_end_snapshot(PGconn *conn, const PgWait *wait, bool is_begun, bool is_read,
                                  Error *err);

/** Take the results of what was sent by hand (the end of a COPY). */
MUST_CHECK Status pg_results(PGconn *conn, const PgWait *wait, PGresult **ret, Error *err);

/** The next result of statements in a pipeline, whatever it says; NULL behind the last one of each.
 */
MUST_CHECK Status pg_next_result(PGconn *conn, const PgWait *wait, PGresult **ret, Error *err);

/** Ask the server to stop what runs, whether it hears it or not. Waits for nothing: @conn is of no
 *  use behind this but to be closed, as the request may come to a later statement. */
void pg_ask_to_stop(PGconn *conn);

/**
 * End the statement that was sent and whose rows nobody wants any more: the server is asked to stop
 * it, and what still comes is dropped. A server that does not answer for 10 s, or whose answer
 * @cancel does not wait for, loses the connection: its next use says that it is lost.
 */
void pg_stop(PGconn *conn, Cancel *cancel);

/** Run a statement that has to enter the COPY state @expected. @ret_before: the result of the one
 *  statement in front of it in @sql, for the caller to PQclear(); NULL: there is none. */
MUST_CHECK Status pg_start_copy(PGconn *conn, const PgWait *wait, const char *sql,
                                ExecStatusType expected, PGresult **ret_before, Error *err);

static inline Status pg_start_copy_both(PGconn *conn, const PgWait *wait, const char *sql,
                                        Error *err)
{
    return pg_start_copy(conn, wait, sql, PGRES_COPY_BOTH, NULL, err);
}

/** Wait for the socket: readable and, with @writing, writable. Consumes what has arrived. */
MUST_CHECK Status pg_wait(PGconn *conn, const PgWait *wait, bool writing, Error *err);

/** Turn a failed result (NULL: the connection's last error) into @err; "<what>: " in front. */
Status pg_result_error(PGconn *conn, const PGresult *result, const char *what, Error *err);

/** What lets the user of @conn see every row, whatever the policies of a table say. */
void pg_bypass_row_security(const PGconn *conn, Buf *sql);

/** The text of a cell: "" for NULL, and for a row or column that the server has left out. Never
 * NULL, so that no answer of a server has to be expected. */
const char *pg_value(const PGresult *result, int row, int column);

// It is NULL for a cell that is not there: pg_value().
#ifdef BANNED
#    define PQgetvalue(a, b, c) BANNED(PQgetvalue)
#endif

/** What to do about an SQLSTATE. */
ErrorKind pg_error_kind(const char *sqlstate);

/** "a ""quoted"" name" — always quoted. */
void pg_identifier(Buf *sql, Str name);

/** 'it''s'; right whatever standard_conforming_strings says. */
void pg_literal(Buf *sql, Str text);

/** For CLEANUP; accept NULL inside. */
void pg_result_clear(PGresult **result);
void pg_close(PGconn **conn);
