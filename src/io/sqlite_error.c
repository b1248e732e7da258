#include "io/sqlite_error.h"

#include <errno.h>

bool sqlite_is_full(sqlite3 *db, int code)
{
    int os_errno = db == NULL ? 0 : sqlite3_system_errno(db);
    code &= 0xff;
    return code == SQLITE_FULL ||
           (code == SQLITE_IOERR && (os_errno == ENOSPC || os_errno == EDQUOT));
}

static bool is_said(sqlite3 *db)
{
    return db != NULL && sqlite3_errcode(db) != SQLITE_OK;
}

const char *sqlite_reason(sqlite3 *db, int code)
{
    return is_said(db) ? sqlite3_errmsg(db) : sqlite3_errstr(code);
}

// Of what an I/O error may be about, what the disk has to do with.
static bool is_disk_failure(int code)
{
    switch (code) {
    case SQLITE_IOERR_NOMEM:
    case SQLITE_IOERR_LOCK:
    case SQLITE_IOERR_BLOCKED:
    case SQLITE_IOERR_RDLOCK:
    case SQLITE_IOERR_UNLOCK:
    case SQLITE_IOERR_CHECKRESERVEDLOCK:
        return false;
    default:
        return (code & 0xff) == SQLITE_IOERR;
    }
}

Status sqlite_error(Error *err, sqlite3 *db, int code, const char *action, const char *path)
{
    bool has_failed = is_disk_failure(is_said(db) ? sqlite3_extended_errcode(db) : code);
    code &= 0xff; // without what the extended codes add
    ErrorKind kind = ERROR_TRANSIENT;
    const char *hint = NULL;
    if (sqlite_is_full(db, code)) {
        hint = "The disk is full: free some space, or use --state on another disk.";
    } else if (has_failed) {
        kind = ERROR_FATAL;
        hint = "Look into the system's log for errors of the disk.";
    } else if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) {
        kind = ERROR_CONFIG;
        hint = "The file is damaged, or another program's: restore it, or give another directory "
               "with --state.";
    } else if (code == SQLITE_READONLY || code == SQLITE_CANTOPEN || code == SQLITE_PERM) {
        kind = ERROR_CONFIG;
        hint = "Check the permissions of the directory, or give another with --state.";
    }
    error_set(err, kind, "%s \"%s\": %s", action, path, sqlite_reason(db, code));
    return hint == NULL ? STATUS_FAIL : error_hint(err, "%s", hint);
}
