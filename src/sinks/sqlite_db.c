#include "sinks/sqlite_db.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/sqlite_error.h"

enum {
    BUSY_POLL_MS = 20,          // how often another process's lock is tried again
    CANCEL_CHECK_STEPS = 20000, // virtual machine steps between looks at the cancel token
};

static ErrorKind kind_of(SqliteDb *db, int code)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_PROTOCOL:
        return ERROR_TRANSIENT;
    case SQLITE_IOERR:
        // What a failed fsync left behind is unknown, and a second one would report success.
        return code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC ? ERROR_FATAL
                                                                            : ERROR_TRANSIENT;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
        return ERROR_DATA;
    case SQLITE_INTERRUPT:
        return cancel_is_set(db->cancel) ? ERROR_CANCELLED : ERROR_TRANSIENT;
    case SQLITE_ERROR: // a table or column that somebody changed, a function that is missing
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERROR_CONFIG;
    default:
        return ERROR_FATAL;
    }
}

static void add_hint(const SqliteDb *db, int code, Error *err)
{
    if (sqlite_is_full(db->handle, code)) {
        error_hint(err, "The disk of \"%s\" is full. Make room; nothing is lost meanwhile.",
                   db->path);
        return;
    }
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        error_hint(err,
                   "Another process is writing to \"%s\". End its transaction, or raise "
                   "busy_timeout.",
                   db->path);
        break;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        error_hint(err,
                   "Give the user of this process the right to write to \"%s\" and to its "
                   "directory, in which SQLite keeps two files beside it.",
                   db->path);
        break;
    case SQLITE_IOERR: // errno is a later one's by now
        error_hint(err,
                   "Look into the system's log for errors of the disk, and at the limit on the "
                   "size of files (ulimit -f).");
        break;
    case SQLITE_CORRUPT:
        error_hint(err, "The file is damaged. Restore it from a backup, or remove it to copy "
                        "everything again.");
        break;
    case SQLITE_CONSTRAINT:
        if (code == SQLITE_CONSTRAINT_UNIQUE) {
            error_hint(err, "SQLite looks at each row alone: where the source's constraint is "
                            "deferrable, or rows exchange their values, the target can have no "
                            "UNIQUE one. Drop it there, or make it a plain index.");
        }
        break;
    case SQLITE_NOTADB:
        error_hint(err, "\"%s\" is some other file. Name a new file, or an SQLite database.",
                   db->path);
        break;
    default:
        break;
    }
}

Status sqlite_db_fail(SqliteDb *db, int code, Error *err, const char *what, ...)
{
    error_set(err, kind_of(db, code), "%s", sqlite_reason(db->handle, code));
    char context[512];
    va_list args;
    va_start(args, what);
    (void)vsnprintf(context, sizeof(context), what, args);
    va_end(args);
    error_wrap(err, "%s", context);
    add_hint(db, code, err);
    return STATUS_FAIL;
}

// A path is always a path, also where SQLite would see a URI or a database in memory in it.
static const char *plain_path(const SqliteDb *db, Buf *path)
{
    if (db->path[0] != '/' && db->path[0] != '.') {
        buf_cstr(path, "./");
    }
    buf_cstr(path, db->path);
    return buf_cstring(path);
}

Status sqlite_db_exists(const SqliteDb *db, bool *ret, Error *err)
{
    struct stat info;
    if (stat(db->path, &info) != 0) {
        if (errno == ENOENT) {
            *ret = false;
            return STATUS_OK;
        }
        return error_set_errno(err, ERROR_CONFIG, errno, "look at \"%s\"", db->path);
    }
    if (!S_ISREG(info.st_mode)) {
        return error_set(err, ERROR_CONFIG, "\"%s\" is not a file", db->path);
    }
    *ret = true;
    return STATUS_OK;
}

// SQLite's own busy_timeout sleeps and cannot be cancelled.
static int wait_for_lock(void *context, int attempts)
{
    SqliteDb *db = context;
    int64_t now = clock_monotonic_ms();
    if (attempts == 0) {
        db->busy_since_ms = now;
    }
    if (cancel_is_set(db->cancel) || now - db->busy_since_ms >= db->busy_timeout_ms) {
        return 0;
    }
    cancel_wait(db->cancel, BUSY_POLL_MS);
    return 1;
}

static int should_interrupt(void *context)
{
    const SqliteDb *db = context;
    return cancel_is_set(db->cancel);
}

static Status configure(SqliteDb *db, Error *err)
{
    (void)sqlite3_extended_result_codes(db->handle, 1);
    (void)sqlite3_busy_handler(db->handle, wait_for_lock, db);
    sqlite3_progress_handler(db->handle, CANCEL_CHECK_STEPS, should_interrupt, db);
    // FULL: COMMIT returns only after the log is on the disk. The log is emptied every 16 MB, and
    // shrunk to 64 MB after a big transaction.
    const char *settings = "PRAGMA synchronous = FULL;"
                           "PRAGMA wal_autocheckpoint = 4000;"
                           "PRAGMA journal_size_limit = 67108864;"
                           "PRAGMA foreign_keys = OFF;"
                           "PRAGMA recursive_triggers = OFF;"
                           "SELECT 1 FROM sqlite_schema";
    char cache[64];
    (void)snprintf(cache, sizeof(cache), "PRAGMA cache_size = -%zu", db->cache_bytes / 1024);
    return sqlite_db_exec(db, settings, err) == STATUS_OK ? sqlite_db_exec(db, cache, err)
                                                          : STATUS_FAIL;
}

// A file system without shared memory refuses WAL without an error: then SQLite keeps its rollback
// journal, which is as safe and slower.
Status sqlite_db_use_wal(SqliteDb *db, Error *err)
{
    return sqlite_db_exec(db, "PRAGMA journal_mode = WAL", err);
}

Status sqlite_db_open(SqliteDb *db, bool create, Error *err)
{
    assert(db->handle == NULL);
    Buf path;
    buf_init(&path, PATH_MAX);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
    int code = sqlite3_open_v2(plain_path(db, &path), &db->handle, flags, NULL);
    buf_done(&path);
    if (code != SQLITE_OK) {
        return sqlite_db_fail(db, code, err, "open \"%s\"", db->path);
    }
    // Without the right to write, SQLite opens it for reading and says nothing.
    if (sqlite3_db_readonly(db->handle, "main") == 1) {
        return sqlite_db_fail(db, SQLITE_READONLY, err, "open \"%s\" for writing", db->path);
    }
    return configure(db, err) == STATUS_OK ? STATUS_OK : error_wrap(err, "open");
}

void sqlite_db_close(SqliteDb *db)
{
    // Closing rolls back. A connection with unfinalized statements would stay open for ever.
    int code = sqlite3_close(db->handle);
    assert(code == SQLITE_OK);
    (void)code;
    db->handle = NULL;
    db->in_transaction = false;
}

Status sqlite_db_exec(SqliteDb *db, const char *sql, Error *err)
{
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? STATUS_OK : sqlite_db_fail(db, code, err, "\"%s\"", db->path);
}

Status sqlite_db_exec_buf(SqliteDb *db, Buf *sql, Error *err)
{
    if (buf_check(sql, "an SQL statement", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status = sqlite_db_exec(db, buf_cstring(sql), err);
    buf_reset(sql);
    return status;
}

Status sqlite_db_prepare(SqliteDb *db, Buf *sql, sqlite3_stmt **ret, Error *err)
{
    if (buf_check(sql, "an SQL statement", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    assert(sql->len <= INT_MAX);
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v3(db->handle, sql->ptr, (int)sql->len, SQLITE_PREPARE_PERSISTENT,
                                  &statement, NULL);
    buf_reset(sql);
    if (code != SQLITE_OK) {
        return sqlite_db_fail(db, code, err, "\"%s\"", db->path);
    }
    *ret = statement;
    return STATUS_OK;
}

Status sqlite_db_step(SqliteDb *db, sqlite3_stmt *statement, bool *ret_row, Error *err)
{
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW || code == SQLITE_DONE) {
        *ret_row = code == SQLITE_ROW;
        return STATUS_OK;
    }
    Status status = sqlite_db_fail(db, code, err, "\"%s\"", db->path);
    (void)sqlite3_reset(statement);
    return status;
}

Status sqlite_db_run(SqliteDb *db, sqlite3_stmt *statement, Error *err)
{
    bool row = false;
    if (sqlite_db_step(db, statement, &row, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    assert(!row);
    (void)sqlite3_reset(statement);
    return STATUS_OK;
}

void sqlite_db_bind_text(sqlite3_stmt *statement, int index, Str text)
{
    // A NULL pointer would be bound as SQL NULL.
    int code = sqlite3_bind_text64(statement, index, text.ptr == NULL ? "" : text.ptr, text.len,
                                   SQLITE_STATIC, SQLITE_UTF8);
    assert(code == SQLITE_OK);
    (void)code;
}

Status sqlite_db_begin(SqliteDb *db, Error *err)
{
    if (db->in_transaction) {
        return STATUS_OK;
    }
    if (sqlite_db_exec(db, "BEGIN IMMEDIATE", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    db->in_transaction = true;
    return STATUS_OK;
}

Status sqlite_db_commit(SqliteDb *db, Error *err)
{
    assert(db->in_transaction);
    int moved = 0;
    (void)sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (moved) {
        error_set(err, ERROR_CONFIG, "\"%s\" was moved or removed while it was in use", db->path);
        return error_hint(err, "Put the file back. Without it everything is copied again.");
    }
    if (sqlite_db_exec(db, "COMMIT", err) != STATUS_OK) {
        return error_wrap(err, "commit");
    }
    db->in_transaction = false;
    return STATUS_OK;
}

Str sqlite_db_column(sqlite3_stmt *statement, int column)
{
    // The text first: asking for the length before it could convert twice.
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return (Str){text, (size_t)sqlite3_column_bytes(statement, column)};
}

void sqlite_db_finalize(sqlite3_stmt **statement)
{
    (void)sqlite3_finalize(*statement);
    *statement = NULL;
}
