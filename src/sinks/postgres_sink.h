// The postgres sink, inside: shared by its files.
//
//   postgres.c          options, the transaction, the checkpoint
//   postgres_table.c    tables: made, checked, altered
//   postgres_apply.c    mirror: set-wise, and row by row when a set fails
//   postgres_history.c  history: every change appended
//   postgres_copy_in.c  COPY … FROM STDIN
#pragma once

#include "change/compaction.h"
#include "pg/connection.h"
#include "pipeline/sink.h"
#include "sinks/sql.h"

/** A relation version and the table it goes to. */
typedef struct PgTarget {
    const Relation *relation;
    SqlTable table;
    Str name;         // quoted, for statements
    Str columns;      // quoted list of all columns, for statements
    const Str *types; // of the table's columns, as the target names them; by column
} PgTarget;

/** Rows on their way into one table. */
typedef struct PgCopyIn {
    const PgTarget *target; // NULL: no COPY is open
    Buf buf;
    int64_t rows;
} PgCopyIn;

typedef struct PostgresSink {
    Sink base;
    // Options.
    Str url;
    StrList schemas; // one target schema, or from:to pairs
    int mode;        // SqlMode
    int existing;    // SqlExisting
    bool triggers;

    Arena arena;   // as long as the instance
    Arena scratch; // one write
    PGconn *conn;
    bool in_transaction;
    Map targets;     // by the address of the relation
    Map type_exists; // type name -> whether the target has it
    SqlTargets owners;
    PgCopyIn copy;
    Buf sql;
} PostgresSink;

extern const SqlDialect postgres_dialect;

PgWait postgres_sink_wait(const PostgresSink *sink);

/** BEGIN, unless a transaction is open. */
MUST_CHECK Status postgres_begin(PostgresSink *sink, Error *err);

/** Run a statement without result; inside the open transaction, if there is one. */
MUST_CHECK Status postgres_run(PostgresSink *sink, const char *sql, Error *err);

/** The same with text parameters (NULL: SQL NULL); *ret_rows: affected rows. */
MUST_CHECK Status postgres_run_with(PostgresSink *sink, const char *sql, int count,
                                    const char *const *parameters, int64_t *ret_rows, Error *err);

// postgres_table.c

SqlTable postgres_place(const PostgresSink *sink, const Relation *relation);
Status postgres_prepare(Sink *base, const Relation *was, const Relation *now, Error *err);
Status postgres_clear(Sink *base, const Relation *relation, Error *err);
Status postgres_check_table(Sink *base, const Relation *relation, Report *report, Error *err);
/** The target's type of a column, of a table that is made for it. */
Str postgres_type_for(PostgresSink *sink, const Column *column);
/** Prepared before, always. */
const PgTarget *postgres_target(const PostgresSink *sink, const Relation *relation);

// postgres_copy_in.c

/** Open a COPY into all columns of @target and, in history mode, the history columns. */
MUST_CHECK Status postgres_copy_begin(PostgresSink *sink, const PgTarget *target, bool history,
                                      Error *err);
/** Append the values as the beginning of a row; the caller ends it, see postgres_copy_end_row(). */
MUST_CHECK Status postgres_copy_row(PostgresSink *sink, const Value *row, Error *err);
MUST_CHECK Status postgres_copy_flush(PostgresSink *sink, Error *err);
/** Close the COPY that is open, if one is. */
MUST_CHECK Status postgres_copy_end(PostgresSink *sink, Error *err);

// postgres_apply.c, postgres_history.c

MUST_CHECK Status postgres_mirror(PostgresSink *sink, const Change *changes, size_t count,
                                  Error *err);
MUST_CHECK Status postgres_history(PostgresSink *sink, const Change *changes, size_t count,
                                   Error *err);
