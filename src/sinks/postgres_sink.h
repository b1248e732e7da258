// The postgres sink, inside: shared by its files.
//
//   postgres.c          options, the session, the transaction, the checkpoint
//   postgres_fit.c      types and tables that are there, and whether they fit
//   postgres_table.c    tables: made, taken over, emptied
//   postgres_alter.c    tables: altered as the source's were
//   postgres_key.c      tables: the primary key, which may come behind the rows
//   postgres_share.c    tables that several pipelines write into
//   postgres_apply.c    mirror: runs of changes, set-wise, else in order
//   postgres_sets.c     many updates or deletes in one statement
//   postgres_rows.c     one change in one statement
//   postgres_history.c  history: every change appended
//   postgres_copy_in.c  COPY … FROM STDIN
//   postgres_pipeline.c statements that do not wait for each other
//   postgres_check.c    `weir check`
//   postgres_verify.c   `weir verify`
#pragma once

#include "change/compaction.h"
#include "pg/connection.h"
#include "pg/probe.h"
#include "pipeline/sink.h"
#include "sinks/sql.h"

/** A column of a target table, as far as writing into it is concerned. */
typedef struct PgColumn {
    // The type without length or scale: a cast to "varchar(3)" cuts silently, one to "varchar"
    // leaves it to the assignment, which refuses.
    Str type;
    Str equals;        // the operator that its index knows
    bool has_equality; // it is that of a stock type: an index of the target may find the row
} PgColumn;

/** A relation version and the table it goes to. */
typedef struct PgTarget {
    const Relation *relation;
    SqlTable table;
    Str name;    // quoted, for statements
    Str columns; // quoted list of all columns, for statements
    const PgColumn *column;
    CopyForm copy_form; // for copied rows of a mirror
} PgTarget;

/** The table that a copy fills, and how far it has come. */
typedef struct PgFilling {
    const PgTarget *target;
    size_t bytes;
    bool is_without_key;
} PgFilling;

/** Rows on their way into one table. */
typedef struct PgCopyIn {
    const PgTarget *target; // NULL: no COPY is open
    CopyForm form;          // text or binary
    Buf buf;
    int64_t rows;
} PgCopyIn;

/** What a statement has to come to. */
typedef enum PgOutcome {
    PG_ANY_OUTCOME,
    PG_ONE_ROW_OUTCOME, // one row was affected
    PG_COMMIT_OUTCOME,  // it ended as COMMIT, not as a ROLLBACK
} PgOutcome;

/** A statement to be sent, with text parameters (NULL: SQL NULL). */
typedef struct PgStatement {
    const char *sql;
    int count;
    const char *const *parameters;
    PgOutcome outcome;
    Str what; // in front of the message of its failure; ptr NULL: nothing
} PgStatement;

/** One that was sent, and whose result is to come. */
typedef struct PgSent {
    PgOutcome outcome;
    SqlTable subject;
    Str what;
    bool is_old; // prepared in an earlier transaction, perhaps for a table that is altered by now
} PgSent;

/** One that the session has. */
typedef struct PgPrepared {
    const char *name;
    unsigned transaction; // in which it was prepared
} PgPrepared;

/** Those that were sent, in the order of their results. */
typedef struct PgPipeline {
    PgSent *sent;
    size_t count;
    size_t bytes;         // of their parameters
    bool must_be_checked; // not every result that the server likes is a good one
    bool has_changes;     // or entries of the checkpoint, which may be refused
    Arena arena;          // until the results are taken
    unsigned transaction; // the open one, or the last
    Map prepared;         // SQL -> PgPrepared
    Arena names;          // of those
    unsigned name_count;
    bool is_uncertain; // some of those may not be there
} PgPipeline;

typedef struct PostgresSink {
    Sink base;
    // Options.
    Str url;
    StrList schemas; // one target schema, or from:to pairs
    int mode;        // SqlMode
    int existing;    // SqlExisting
    bool triggers;
    int64_t receive_timeout_ms;

    Arena arena;   // as long as the instance
    Arena scratch; // one call
    PGconn *conn;
    PgProbe probe; // of conn
    bool is_quiet; // the target's triggers and foreign keys do not act
    bool in_transaction;
    bool is_trying; // a run that is refused as sets is not applied row by row
    bool checkpoint_is_checked;
    Str identity;      // of the target's database, for check(); ptr NULL: not asked for yet
    bool has_position; // written to by this pipeline before
    bool has_looked_for_source;
    bool is_source;   // the database is the one that is read from
    SqlTable subject; // the table that statements are about: for messages
    Map targets;      // by the address of the relation
    Map type_exists;  // type name -> whether the target has it
    Map ours;         // oid -> any: the checkpoint that was read has an entry for the table
    SqlTargets owners;
    SqlMarks marks;
    PgFilling filling;
    PgCopyIn copy;
    PgPipeline pipeline;
    Buf sql;
    Buf about; // the change that is applied by itself: for messages
} PostgresSink;

extern const SqlDialect postgres_dialect;
extern const SqlTable postgres_checkpoint_table; // weir.checkpoint (pipeline, key, value)

PgWait postgres_sink_wait(const PostgresSink *sink);

/** BEGIN, unless a transaction is open. */
MUST_CHECK Status postgres_begin(PostgresSink *sink, Error *err);

// Statements. Each first ends the COPY that is open, or takes the results of what was sent: so both
// may stay open across calls, and their failures may come out of any of them.

/** Run statements for their effect; inside the open transaction, if there is one. */
MUST_CHECK Status postgres_run(PostgresSink *sink, const char *sql, Error *err);

/** What is in sink->sql. */
MUST_CHECK Status postgres_run_buf(PostgresSink *sink, Error *err);

/** One statement with text parameters (NULL: SQL NULL) and its result. */
MUST_CHECK Status postgres_query(PostgresSink *sink, const char *sql, int count,
                                 const char *const *parameters, PGresult **ret, Error *err);

/** The same without result; *ret_rows: affected rows. */
MUST_CHECK Status postgres_run_with(PostgresSink *sink, const char *sql, int count,
                                    const char *const *parameters, int64_t *ret_rows, Error *err);

/** A 42501 in @err gets the GRANT that mends it as its hint. Returns STATUS_FAIL. */
Status postgres_explain(const PostgresSink *sink, Error *err);

/** One more element of an array in text form that buf_char(array, '}') ends. */
void postgres_array_add(Buf *array, Str value, bool is_null);

/** Whether weir.checkpoint is there. */
MUST_CHECK Status postgres_has_checkpoint(PostgresSink *sink, bool *ret, Error *err);

/** Store whether the table has the mark. */
MUST_CHECK Status postgres_mark(PostgresSink *sink, SqlMark mark, uint32_t oid, bool is_marked,
                                Error *err);

// postgres_fit.c

typedef struct PgFoundColumn {
    Str name;
    Str type;           // with length and scale
    Str cast;           // without
    uint32_t type_oid;  // of the base type
    int32_t typmod;     // likewise
    bool not_null;      // as a column, domains aside
    bool must_be_given; // NOT NULL without a default
    bool is_generated;
    bool is_identity_always;
    bool has_equality;
    Str equals; // "=", or OPERATOR(schema.=)
} PgFoundColumn;

typedef struct PgFoundTable {
    bool exists;
    char kind; // pg_class.relkind
    PgFoundColumn *columns;
    size_t count;
} PgFoundTable;

/** Look the table up. In @arena. */
MUST_CHECK Status postgres_find_table(PostgresSink *sink, SqlTable table, Arena *arena,
                                      PgFoundTable *ret, Error *err);
/** NULL when there is none of that name. */
const PgFoundColumn *postgres_find_column(const PgFoundTable *found, Str name);
/** Every value of @column is the same value in @found. */
bool postgres_type_fits(PostgresSink *sink, const Column *column, const PgFoundColumn *found);

/** ERROR_CONFIG with what keeps the table from taking the relation, and what mends it. */
MUST_CHECK Status postgres_check_fit(PostgresSink *sink, const Relation *relation, SqlTable table,
                                     const PgFoundTable *found, Error *err);
/** The table has a unique index on the key, or needs none. */
MUST_CHECK Status postgres_has_key(PostgresSink *sink, const Relation *relation, SqlTable table,
                                   bool *ret, Error *err);
/** The statement that gives it one. In sink->scratch. */
const char *postgres_key_hint(PostgresSink *sink, const Relation *relation, SqlTable table);
/** The target's type of a column, of a table that is made for it. */
Str postgres_type_for(PostgresSink *sink, const Column *column);
SqlTable postgres_place(const PostgresSink *sink, const Relation *relation);

// postgres_table.c, postgres_check.c

/** The key of the lock on a table that a pipeline has for itself; $1: its name. */
#define POSTGRES_TABLE_LOCK "hashtextextended('weir ' || $1, 0)"
/** Whether some session of this database has the advisory lock whose @key is SQL of $1. */
MUST_CHECK Status postgres_sees_lock(PostgresSink *sink, const char *key, Str parameter, bool *ret,
                                     Error *err);

/** The relation goes to that table from now on, which nothing else uses. */
MUST_CHECK Status postgres_claim(PostgresSink *sink, const Relation *relation, SqlTable table,
                                 Error *err);
MUST_CHECK Status postgres_has_rows(PostgresSink *sink, Str name, bool *ret, Error *err);
/** ERROR_CONFIG: somebody else fills the table @name. */
Status postgres_is_anothers(Str name, Error *err);
#define POSTGRES_SHARE_HINT                                                \
    "Give each pipeline tables of its own (?schema=), or let all of them " \
    "add to what is there (?existing=keep)."
/** ERROR_CONFIG: those of the table @name are somebody else's, and `existing` is "fail". */
Status postgres_refuse_rows(Str name, Error *err);
/** The quoted name. In sink->arena. */
Str postgres_table_text(PostgresSink *sink, SqlTable table);
Status postgres_prepare(Sink *base, const Relation *was, const Relation *now, Error *err);
Status postgres_has(Sink *base, const Relation *relation, bool *ret, Error *err);
bool postgres_keeps_rows(Sink *base, const Relation *relation);
Status postgres_clear(Sink *base, const Relation *relation, Lsn copied_at, Error *err);
void postgres_check_schemas(Sink *base, const Relation *const *relations, size_t count,
                            Report *report);
Status postgres_check_table(Sink *base, const Relation *relation, Report *report, Error *err);
/** CREATE SCHEMA, unless it is there. */
MUST_CHECK Status postgres_make_schema(PostgresSink *sink, Str schema, Error *err);
/** Prepared before, always. Statements are about it from here on. */
const PgTarget *postgres_target(PostgresSink *sink, const Relation *relation);
/** Remove all rows of the tables @names ("a", "b"): by TRUNCATE, else by DELETE. */
MUST_CHECK Status postgres_empty(PostgresSink *sink, const Str *names, size_t count, Error *err);

// postgres_alter.c

/** Turn the table of @was into that of @now. */
MUST_CHECK Status postgres_evolve(PostgresSink *sink, const Relation *was, const Relation *now,
                                  Error *err);

// postgres_key.c

/** Give the table the primary key that @relation has, in place of the one that it may have. */
MUST_CHECK Status postgres_set_key(PostgresSink *sink, SqlTable table, const Relation *relation,
                                   Error *err);
/** Take its primary key away, unless something of the target needs it. */
MUST_CHECK Status postgres_drop_key(PostgresSink *sink, SqlTable table, Error *err);

// postgres_share.c

/** prepare() of a table that this pipeline did not have: ERROR_CONFIG when another one fills it, or
 *  adds rows to it that this one would not let be. Until the transaction ends nobody else begins.
 */
MUST_CHECK Status postgres_use_begin(PostgresSink *sink, SqlTable table, Error *err);
/** What postgres_use_begin() would refuse now (empty: nothing), for check(). */
MUST_CHECK Status postgres_use_check(PostgresSink *sink, SqlTable table, Error *ret_refusal,
                                     Error *err);
/** Store what this pipeline does to the table, which is there: SQL_FILLING or SQL_SHARED. */
MUST_CHECK Status postgres_use_store(PostgresSink *sink, SqlMark mark, const Relation *relation,
                                     SqlTable table, Error *err);
/** The table is about to be emptied and filled anew: ERROR_CONFIG when others have rows there. */
MUST_CHECK Status postgres_use_empty(PostgresSink *sink, const Relation *relation, SqlTable table,
                                     Error *err);

// postgres_pipeline.c

/** Send a statement of the open transaction, with others that wait for their results: its failure
 *  comes out of a later call. Nothing that it refers to is needed any more. */
MUST_CHECK Status postgres_send(PostgresSink *sink, const PgStatement *statement, Error *err);
/** Take the results of all that were sent, or end the COPY that is open. */
MUST_CHECK Status postgres_settle(PostgresSink *sink, Error *err);
/** The same, unless there is nothing but what no data can make fail. */
MUST_CHECK Status postgres_settle_changes(PostgresSink *sink, Error *err);
/** Take the results of what was sent behind a failure that is known already. */
void postgres_drop_results(PostgresSink *sink);
/** A table has another shape from now on: what was prepared has parameters of its old types. */
void postgres_forget_prepared(PostgresSink *sink);
void postgres_pipeline_done(PgPipeline *pipeline);

// postgres_copy_in.c

/** Have a COPY into all columns of @target open, in history mode with the history columns. */
MUST_CHECK Status postgres_copy_into(PostgresSink *sink, const PgTarget *target, CopyForm form,
                                     Error *err);
/** Send @count rows in the form of the COPY that is open. */
MUST_CHECK Status postgres_copy_rows(PostgresSink *sink, Str rows, size_t count, Error *err);
/** Append a whole row of a mirror. */
MUST_CHECK Status postgres_copy_row(PostgresSink *sink, const Value *row, Error *err);
/** Send what has gathered, when it is worth it. */
MUST_CHECK Status postgres_copy_flush(PostgresSink *sink, Error *err);
/** Close the COPY that is open, if one is. */
MUST_CHECK Status postgres_copy_end(PostgresSink *sink, Error *err);
/** Close it so that none of its rows count. */
MUST_CHECK Status postgres_copy_abort(PostgresSink *sink, Error *err);

// postgres_apply.c, postgres_sets.c, postgres_rows.c, postgres_history.c

MUST_CHECK Status postgres_mirror(PostgresSink *sink, const Change *changes, size_t count,
                                  Error *err);
/** The rows of @table with that operation, which is not COMPACTED_INSERT. */
MUST_CHECK Status postgres_apply_sets(PostgresSink *sink, const PgTarget *target,
                                      const CompactedTable *table, CompactedOp op, Error *err);
/** One change that is neither a TRUNCATE nor without a table. */
MUST_CHECK Status postgres_apply_one(PostgresSink *sink, const Change *change, Error *err);
MUST_CHECK Status postgres_history(PostgresSink *sink, const Change *changes, size_t count,
                                   Error *err);

// postgres_verify.c

Status postgres_digest_check(Sink *base, Error *err);
Status postgres_digest_columns(Sink *base, const Relation *relation, DigestColumn *columns,
                               size_t count, Error *err);
Status postgres_sink_digest_open(Sink *base, const DigestQuery *query, DigestReader **ret,
                                 Error *err);
