// One open DuckDB file: statements, results, the transaction, and what its errors mean to us.
#pragma once

#include <pthread.h>

#include "base/buf.h"
#include "io/cancel.h"
#include "sinks/duckdb_library.h"
#include "sinks/sql.h"

enum { DUCK_BLOCK_DEFAULT = 256 << 10 }; // DuckDB's

typedef struct DuckSettings {
    Str path;
    Str library;
    int64_t memory_limit; // bytes, at most
    int64_t threads;
    int64_t block_size; // of a file that is made, bytes
} DuckSettings;

/** Zero-initialised is closed. */
typedef struct DuckSession {
    DuckLibrary library;
    const char *path; // as the user wrote it
    const Cancel *cancel;
    Arena arena; // as long as the session
    DuckDatabase database;
    DuckConnection connection;
    Str catalog; // the name under which DuckDB knows the file
    bool has_json;
    uint64_t memory_most;  // the user's memory_limit
    uint64_t memory_limit; // as set now
    uint64_t column_count; // see duck_session_make_room()
    uint64_t block_size;   // of the file
    bool in_transaction;
    Buf sql; // the statement that is being built; empty between uses
    // Interrupts what runs when the cancel token is set: a statement may take minutes.
    pthread_t watcher;
    int watcher_stop; // an eventfd
    bool is_watched;
    Str identity; // of the file that is open; ptr NULL: none
    struct DuckSession *next_open;
} DuckSession;

/** Load the library, nothing else. */
MUST_CHECK Status duck_session_load(DuckSession *session, const DuckSettings *settings,
                                    const Cancel *cancel, Error *err);

/** Open the file, make it if it is missing. The library is loaded. */
MUST_CHECK Status duck_session_open(DuckSession *session, const DuckSettings *settings, Error *err);

/** Give freed memory back to the system, which the allocator inside DuckDB otherwise keeps for a
 *  while: a third of what a large transaction takes. */
void duck_session_return_memory(const DuckSession *session);

/** Raise DuckDB's memory limit to the user's: for what is not begun again when it runs short. */
MUST_CHECK Status duck_session_take_all_memory(DuckSession *session, Error *err);

/** Raise DuckDB's memory limit, up to the user's, to what a transaction takes that writes to so
 * many columns more. */
MUST_CHECK Status duck_session_make_room(DuckSession *session, uint16_t column_count, Error *err);

/** Rolls back. Accepts a zeroed or half-opened session. */
void duck_session_close(DuckSession *session);

/** Execute session->sql and empty it. @ret_changed (rows) may be NULL. */
MUST_CHECK Status duck_run(DuckSession *session, uint64_t *ret_changed, Error *err);

/** Execute @sql. */
MUST_CHECK Status duck_exec(DuckSession *session, const char *sql, Error *err);

/** Text of a result, row by row; a NULL has ptr NULL. */
typedef struct DuckRows {
    Str *cells;
    size_t row_count;
    size_t column_count;
} DuckRows;

/** Execute session->sql, whose $1… are @parameters and whose columns are all VARCHAR, and empty it.
 *  @ret is in @arena; NULL: the result is not wanted. */
MUST_CHECK Status duck_select(DuckSession *session, const Str *parameters, size_t parameter_count,
                              Arena *arena, DuckRows *ret, Error *err);

/** BEGIN, unless a transaction is open. */
MUST_CHECK Status duck_begin(DuckSession *session, Error *err);

/** COMMIT: durable when it returns. */
MUST_CHECK Status duck_commit(DuckSession *session, Error *err);

/** Turn an error of DuckDB into ours: @type of duckdb_error_type, @text its message. */
Status duck_fail(const DuckSession *session, int type, const char *text, Error *err);

MUST_CHECK Status duck_check_cancel(const DuckSession *session, Error *err);
