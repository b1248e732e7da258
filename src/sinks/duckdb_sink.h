// The parts of the duckdb sink: duckdb.c runs it, duckdb_table.c shapes tables, duckdb_apply.c and
// duckdb_history.c write rows through duckdb_writer.c, duckdb_verify.c digests them,
// duckdb_session.c is the file, duckdb_library.c the library.
//
// Tables have no primary key. DuckDB's indexes would not find the rows of a batch (it joins by
// hashing and scanning), they would have to fit into memory, keep deleted rows from being cleaned
// up and tables from being altered. That a key names one row is promised by what writes here: the
// source's key, and positions stored with the rows. Every delete and update counts what it hit.
#pragma once

#include "base/map.h"
#include "pipeline/sink.h"
#include "sinks/duckdb_session.h"
#include "sinks/duckdb_writer.h"
#include "sinks/sql.h"

/** The version of a relation that prepare() made or found a table for. */
typedef struct DuckTable {
    Arena arena;
    const Relation *relation;
    SqlTable target;
    // The relation's columns, in history mode with those of SQL_HISTORY_… behind them; named as the
    // table spells them.
    DuckWriterColumn *columns;
    uint16_t column_count;
    // Transactions (DuckSink.transaction) in which this happened last. DuckDB commits no
    // transaction that changed rows of an earlier one and then altered the table.
    uint64_t changed_in; // rows were deleted
    uint64_t made_in;    // the table was made
} DuckTable;

typedef struct DuckSink {
    Sink base;
    Str path;
    Str library;
    int mode;
    int existing;
    bool exact;
    int64_t memory_limit;
    int64_t threads;
    int64_t block_size;

    DuckSession session;
    uint64_t transaction; // counts them, from 1
    uint64_t cells;       // written since memory was returned
    Arena scratch;        // one call
    SqlTargets targets;
    Map tables; // oid -> DuckTable
    Map ours;   // oid -> itself: the checkpoint has an entry for the table
    SqlMarks marks;
    // What rows are being appended to.
    DuckWriter writer;
    const DuckTable *writes_to; // NULL: to a table of our own
} DuckSink;

// duckdb.c

SqlTable duck_checkpoint_table(const DuckSink *sink);

/** Store whether the table has rows of others that are to stay. */
MUST_CHECK Status duck_note_kept(DuckSink *sink, uint32_t oid, bool is_kept, Error *err);

// duckdb_table.c

extern const SqlDialect *const duck_dialects[2][2]; // by exact, by whether JSON is there

static inline const SqlDialect *duck_dialect(const DuckSink *sink)
{
    return duck_dialects[sink->exact][sink->session.has_json];
}

/** How a column is kept. */
DuckType duck_type_of(const Column *column, bool exact, bool has_json);

/** Where a relation goes: text in @arena or borrowed. */
SqlTable duck_target(const DuckSink *sink, const Relation *relation);

/** See SinkOps. In the open transaction. */
MUST_CHECK Status duck_prepare(DuckSink *sink, const Relation *was, const Relation *now,
                               Error *err);

/** See SinkOps. */
MUST_CHECK Status duck_has(DuckSink *sink, const Relation *relation, bool *ret, Error *err);

/** The file may not be there. */
MUST_CHECK Status duck_check(DuckSink *sink, const Relation *relation, Report *report, Error *err);

/** The table that prepare() made for exactly this version; ERROR_FATAL when there is none. */
MUST_CHECK Status duck_table_find(DuckSink *sink, const Relation *relation, DuckTable **ret,
                                  Error *err);
void duck_table_free(DuckTable *table);

// duckdb_apply.c

#define DUCK_STAGE "weir_stage"
#define DUCK_FOUND "weir_found"

/** Append to @table from here on: to the last one it is flushed. */
MUST_CHECK Status duck_append_to(DuckSink *sink, const DuckTable *table, Error *err);

/** Say which row the failure @err is about: @row, by its key. Returns STATUS_FAIL. */
Status duck_about_row(const Relation *relation, const Value *row, Error *err);

/** Everything appended is in its table, which others may now change. */
MUST_CHECK Status duck_append_end(DuckSink *sink, Error *err);

/** A temporary table of rows to be joined with others, made anew with these columns: append to it
 *  through sink->writer, then duck_append_end(). */
MUST_CHECK Status duck_stage(DuckSink *sink, const DuckWriterColumn *columns, uint16_t count,
                             Error *err);

/** A temporary table by its full name, in SQL. */
#define DUCK_TEMPORARY(name) "\"temp\".\"main\".\"" name "\""

/** Mirror: bring @table to the state after @changes, which are all of its relation. */
MUST_CHECK Status duck_apply(DuckSink *sink, DuckTable *table, const Change *changes, size_t count,
                             Error *err);

/** The known values of the new row, those that an update left out taken from the old one. */
const Value *duck_full_row(DuckSink *sink, const Change *change);

/** Run session->sql, a DELETE on @table, and count its rows: ERROR_DATA unless they are @expected.
 *  DUCK_ANY: as many as there are. */
#define DUCK_ANY UINT64_MAX
MUST_CHECK Status duck_run_delete(DuckSink *sink, DuckTable *table, uint64_t expected, Error *err);

MUST_CHECK Status duck_truncate(DuckSink *sink, DuckTable *table, Error *err);

// duckdb_history.c

MUST_CHECK Status duck_append_history(DuckSink *sink, DuckTable *table, const Change *changes,
                                      size_t count, Error *err);

// duckdb_verify.c: see SinkOps.

Status duck_digest_check(Sink *base, Error *err);
Status duck_digest_columns(Sink *base, const Relation *relation, DigestColumn *columns,
                           size_t count, Error *err);
Status duck_digest_open(Sink *base, const DigestQuery *query, DigestReader **ret, Error *err);
