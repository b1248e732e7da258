#include "io/sqlite_error.h"

#include <errno.h>

// A file that is mapped may be what there is no room for.
static bool is_full(sqlite3 *db, int code)
{
    int os_errno = db == NULL ? 0 : sqlite3_system_errno(db);
    return code == SQLITE_FULL ||
           (code == SQLITE_IOERR && (os_errno == ENOSPC || os_errno == EDQUOT));
}

Status sqlite_error(Error *err, sqlite3 *db, int code, const char *action, const char *path)
{
    code &= 0xff; // without what the extended codes add
    ErrorKind kind = ERROR_TRANSIENT;
    const char *hint = NULL;
    if (is_full(db, code)) {
        hint = "The disk is full: free some space, or use --state on another disk.";
    } else if (code == SQLITE_IOERR) {
        kind = ERROR_FATAL;
        hint = "Look into the system's log for errors of the disk.";
    } else if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_READONLY ||
               code == SQLITE_CANTOPEN || code == SQLITE_PERM) {
        kind = ERROR_CONFIG;
        hint = "Check the permissions of the directory, or give another with --state.";
    }
    error_set(err, kind, "%s \"%s\": %s", action, path,
              db == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(db));
    return hint == NULL ? STATUS_FAIL : error_hint(err, "%s", hint);
}
