// What duckdb_table.c and duckdb_evolve.c share: tables as they are found in the file.
#pragma once

#include "sinks/duckdb_sink.h"

/** The name of a table while it is made anew. */
#define DUCK_REBUILT "weir_rebuild"

// A column that the target's table has.
typedef struct DuckFound {
    Str name;
    Str type;
} DuckFound;

typedef struct DuckFoundTable {
    SqlTable name;
    bool exists;
    bool is_table;   // not a view
    bool is_made;    // by the open transaction
    bool is_changed; // rows were deleted
    DuckFound *columns;
    size_t count;
} DuckFoundTable;

/** DuckDB tells no names apart that differ in the case of ASCII letters only. */
bool duck_same_name(Str a, Str b);

/** NULL when there is none. */
DuckFound *duck_find_column(const DuckFoundTable *table, Str name);

/** What is at @place; text in @arena. */
MUST_CHECK Status duck_inspect(DuckSink *sink, SqlTable place, Arena *arena, DuckFoundTable *ret,
                               Error *err);

MUST_CHECK Status duck_has_rows(DuckSink *sink, SqlTable table, Arena *arena, bool *ret,
                                Error *err);

/** ERROR_CONFIG unless rows of @now can be written to @table; @is_strict: and it has nothing else.
 */
MUST_CHECK Status duck_require_fit(DuckSink *sink, const DuckFoundTable *table, const Relation *now,
                                   bool is_strict, Error *err);

/** For @table, when it is not there yet. */
MUST_CHECK Status duck_make_schema(DuckSink *sink, SqlTable table, Error *err);

// duckdb_evolve.c

/** Turn @table, which is as @was, into what @now needs, and describe it anew. In the open
 *  transaction. */
MUST_CHECK Status duck_evolve(DuckSink *sink, DuckFoundTable *table, const Relation *was,
                              const Relation *now, Arena *arena, Error *err);
