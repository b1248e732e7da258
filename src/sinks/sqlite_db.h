// An SQLite file as the sqlite sink uses it: opened for durable transactions, errors turned into
// ours, waits that can be cancelled.
#pragma once

#include <sqlite3.h>

#include "base/buf.h"
#include "base/error.h"
#include "io/cancel.h"

typedef struct SqliteDb {
    sqlite3 *handle;  // NULL: not open
    const char *path; // as the user wrote it; borrowed
    const Cancel *cancel;
    int64_t busy_timeout_ms;
    size_t cache_bytes;    // of pages
    int64_t busy_since_ms; // when the wait for another process began
    bool in_transaction;
} SqliteDb;

/** Is there a file? Anything at the path that is not a plain file is ERROR_CONFIG. */
MUST_CHECK Status sqlite_db_exists(const SqliteDb *db, bool *ret, Error *err);

/** Open for reading and writing. @create: make the file if it is missing. */
MUST_CHECK Status sqlite_db_open(SqliteDb *db, bool create, Error *err);

/** Switch to write-ahead logging: readers go on while we write. Changes the file. */
MUST_CHECK Status sqlite_db_use_wal(SqliteDb *db, Error *err);

/** Rolls back what is open. All statements must have been finalized. Accepts one that is not open.
 */
void sqlite_db_close(SqliteDb *db);

/** Turn SQLite's result @code into an error: "<what>: <SQLite's message>". Returns STATUS_FAIL. */
Status sqlite_db_fail(SqliteDb *db, int code, Error *err, const char *what, ...) PRINTF_LIKE(4, 5);

/** Execute @sql, one statement or several, without results. */
MUST_CHECK Status sqlite_db_exec(SqliteDb *db, const char *sql, Error *err);

/** Execute what @sql holds, and empty it. */
MUST_CHECK Status sqlite_db_exec_buf(SqliteDb *db, Buf *sql, Error *err);

/** Prepare what @sql holds, and empty it. The statement is kept for long. */
MUST_CHECK Status sqlite_db_prepare(SqliteDb *db, Buf *sql, sqlite3_stmt **ret, Error *err);

/** *ret_row: there is a row; otherwise the statement is done. After a failure it is reset. */
MUST_CHECK Status sqlite_db_step(SqliteDb *db, sqlite3_stmt *statement, bool *ret_row, Error *err);

/** Step a statement that gives no rows, and reset it. */
MUST_CHECK Status sqlite_db_run(SqliteDb *db, sqlite3_stmt *statement, Error *err);

/** Bind text without copying it: it has to stay until the statement was reset. */
void sqlite_db_bind_text(sqlite3_stmt *statement, int index, Str text);

/** Start a write transaction unless one is open: waits for other writers. */
MUST_CHECK Status sqlite_db_begin(SqliteDb *db, Error *err);

/** Commit, durable when it returns. ERROR_CONFIG when the file is no longer at its path. */
MUST_CHECK Status sqlite_db_commit(SqliteDb *db, Error *err);

/** Text of a result column; valid until the statement moves. */
Str sqlite_db_column(sqlite3_stmt *statement, int column);

/** For CLEANUP. */
void sqlite_db_finalize(sqlite3_stmt **statement);
