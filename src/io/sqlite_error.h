// What SQLite says of a database of our own: the state, the dead letters.
#pragma once

#include <sqlite3.h>

#include "base/error.h"

/**
 * @err about a failed call: "<action> "<path>": <why>", its kind and a hint. @db: NULL when it was
 * not opened; @code: what the call returned. ERROR_FATAL when the disk fails: what a failed fsync
 * left behind is not known, and a second one would report success. Returns FAIL.
 */
Status sqlite_error(Error *err, sqlite3 *db, int code, const char *action, const char *path);
