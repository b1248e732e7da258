// What SQLite says of a database: a target, or one of our own (the state, the dead letters).
#pragma once

#include <sqlite3.h>

#include "base/error.h"

/** The disk is full: a file that is mapped may be what there is no room for. @db may be NULL. */
bool sqlite_is_full(sqlite3 *db, int code);

/** Why a call failed. It names tables and columns, never values. @db may be NULL. */
const char *sqlite_reason(sqlite3 *db, int code);

/**
 * Of a database of our own: @err about a failed call: "<action> "<path>": <why>", its kind and a
 * hint. @db: NULL when it was not opened; @code: what the call returned. ERROR_FATAL when the disk
 * fails: what a failed fsync left behind is not known, and a second one would report success.
 * Returns FAIL.
 */
Status sqlite_error(Error *err, sqlite3 *db, int code, const char *action, const char *path);
