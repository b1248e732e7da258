// Turns the table of one version of a relation into that of the next. SQLite can rename and add
// columns in place. Everything else (another key, a dropped column, values that are stored
// differently) makes the table anew and copies its rows, in the transaction that also stores the
// position from which on rows have the new shape.
//
// mode=history never takes a column away: what was dropped stays with its values, and steps aside
// when a new column needs its name.
#pragma once

#include "sinks/sqlite_found.h"

MUST_CHECK Status sqlite_create(SqliteSink *sink, SqlTable table, const Relation *relation,
                                Error *err);

/** Rename the table, also if only the case of a letter changes. */
MUST_CHECK Status sqlite_move_table(SqliteSink *sink, SqliteFound *table, Str to, Error *err);

/** @table has the shape of @was and already the name of @now's. */
MUST_CHECK Status sqlite_evolve(SqliteSink *sink, SqliteFound *table, const Relation *was,
                                const Relation *now, Arena *arena, Error *err);
