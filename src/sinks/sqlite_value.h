// How Postgres's values are stored in SQLite:
//
//   boolean                          BOOLEAN   0, 1
//   smallint, integer, bigint, oid   INTEGER
//   real, double precision           REAL      'NaN' as text: SQLite has none; -0 becomes 0
//   bytea                            BLOB
//   everything else                  TEXT      exactly as Postgres writes it: numeric with every
//   digit
//
// SQLite converts what is stored to the affinity of the declared type, which it guesses from parts
// of the type's name. So no other type names are ever declared.
#pragma once

#include <sqlite3.h>

#include "sinks/sql.h"

extern const SqlDialect sqlite_dialect;

/** SQLite's column affinities: section 3.1 of https://www.sqlite.org/datatype3.html */
typedef enum SqliteAffinity {
    AFFINITY_BLOB, // keeps what it gets
    AFFINITY_TEXT,
    AFFINITY_NUMERIC,
    AFFINITY_INTEGER,
    AFFINITY_REAL,
} SqliteAffinity;

SqliteAffinity sqlite_affinity(Str declared_type);

/** "TEXT", …: a declared type of that affinity. */
const char *sqlite_affinity_name(SqliteAffinity affinity);

/** A target column of that declared type keeps the values of @column exactly. */
bool sqlite_type_fits(Str declared_type, const Column *column);

/**
 * Bind a value of @column to parameter @index without copying it: it, and @scratch, have to stay
 * until the statement was stepped. One that is not known (absent, unchanged) is ERROR_DATA.
 */
MUST_CHECK Status sqlite_bind(sqlite3_stmt *statement, int index, const Column *column, Value value,
                              Arena *scratch, Error *err);
