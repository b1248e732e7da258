// What an SQLite file already has in the place where a relation goes, and whether that fits.
#pragma once

#include "sinks/sqlite_sink.h"
#include "sinks/sqlite_value.h"

// A column that the target's table has.
typedef struct SqliteColumn {
    Str name;
    SqliteAffinity affinity;
    Str declared;
    bool in_key;
    bool required; // NOT NULL without a default
    bool dropped;  // mirror: the source has it no more
    int now;       // index in the relation that the table is for, or -1
} SqliteColumn;

typedef struct SqliteFound {
    SqlTable name;
    bool exists;
    bool is_table;  // not a view, not a virtual table
    bool has_rowid; // not WITHOUT ROWID
    SqliteColumn *columns;
    size_t count;
    size_t key_count;
} SqliteFound;

/** Same name for SQLite: the case of ASCII letters does not count. */
bool sqlite_same_name(Str a, Str b);

/** Prepare @sql with a text for ?1. Finalize it in any case. */
MUST_CHECK Status sqlite_query(SqliteSink *sink, const char *sql, Str parameter, sqlite3_stmt **ret,
                               Error *err);

/** Is there a table of that name? */
MUST_CHECK Status sqlite_has_table(SqliteSink *sink, Str name, bool *ret, Error *err);

/** Text of @ret is in @arena. */
MUST_CHECK Status sqlite_inspect(SqliteSink *sink, SqlTable name, Arena *arena, SqliteFound *ret,
                                 Error *err);

/** NULL when there is none. */
SqliteColumn *sqlite_found_column(const SqliteFound *table, Str name);

bool sqlite_is_history_column(Str name);

MUST_CHECK Status sqlite_has_rows(SqliteSink *sink, SqlTable table, bool *ret, Error *err);

/**
 * ERROR_CONFIG with everything that keeps @table from taking the rows of
 * @relation. @is_strict: somebody else made it, so that a column more tells of
 * a misunderstanding; in a table of ours it is the user's own business, as long
 * as it can be left out of an INSERT.
 */
MUST_CHECK Status sqlite_require_fit(SqliteSink *sink, const SqliteFound *table,
                                     const Relation *relation, bool is_strict, Error *err);
