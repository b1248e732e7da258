// The postgres sink, inside: shared by its files.
//
//   postgres_session.h  the session, the transaction, the checkpoint: what others use, too
//   postgres.c          options, opening, writing
//   postgres_fit.c      types that are there, and whether tables fit
//   postgres_table.c    tables: made, taken over, emptied
//   postgres_alter.c    tables: altered as the source's were
//   postgres_key.c      tables: the primary key, which may come behind the rows
//   postgres_share.c    tables that several pipelines write into
//   postgres_apply.c    mirror: runs of changes, set-wise, else in order
//   postgres_sets.c     many updates or deletes in one statement
//   postgres_rows.c     one change in one statement
//   postgres_history.c  history: every change appended
//   postgres_copy_in.c  COPY … FROM STDIN
//   postgres_check.c    `weir check`
//   postgres_verify.c   `weir verify`
#pragma once

#include "change/compaction.h"
#include "pg/send_form.h"
#include "pipeline/sink.h"
#include "sinks/postgres_session.h"

/** A column of a target table, as far as writing into it is concerned. */
typedef struct PgColumn {
    // The type without length or scale: a cast to "varchar(3)" cuts silently, one to "varchar"
    // leaves it to the assignment, which refuses.
    Str type;
    Str equals;             // the operator that its index knows
    bool has_equality;      // it is that of a stock type: an index of the target may find the row
    uint32_t type_oid;      // of the base type
    const PgSendForm *form; // of its values; NULL: they are sent as text
} PgColumn;

/** A relation version and the table it goes to. */
typedef struct PgTarget {
    const Relation *relation;
    SqlTable table;
    Str name;    // quoted, for statements
    Str columns; // quoted list of all columns, for statements
    const PgColumn *column;
    CopyForm copy_form; // for copied rows of a mirror
    CopyForm row_form;  // of rows that are values: binary when every column has a form
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

typedef struct PostgresSink {
    Sink base;
    // Options.
    Str url;
    StrList schemas; // one target schema, or from:to pairs
    int mode;        // SqlMode
    int existing;    // SqlExisting
    bool triggers;
    int64_t receive_timeout_ms;

    Arena arena;       // as long as the instance
    Arena scratch;     // one call
    PgSession session; // is_trying: a run that is refused as sets is not applied row by row
    bool is_quiet;     // the target's triggers and foreign keys do not act
    bool checkpoint_is_checked;
    Str identity; // of the target's database, for check(); ptr NULL: not asked for yet
    bool has_looked_for_source;
    bool is_source;  // the database is the one that is read from
    Map targets;     // by the address of the relation
    Map type_exists; // type name -> whether the target has it
    Map ours;        // oid -> any: the checkpoint that was read has an entry for the table
    SqlTargets owners;
    SqlMarks marks;
    PgFilling filling;
    PgCopyIn copy;
    Buf sql;
    Buf about; // the change that is applied by itself: for messages
} PostgresSink;

extern const SqlDialect postgres_dialect;
// Of the sink's session.

static inline PgWait postgres_sink_wait(const PostgresSink *sink)
{
    return postgres_session_wait(&sink->session);
}

MUST_CHECK static inline Status postgres_begin(PostgresSink *sink, Error *err)
{
    return postgres_session_begin(&sink->session, err);
}

MUST_CHECK static inline Status postgres_run(PostgresSink *sink, const char *sql, Error *err)
{
    return postgres_session_run(&sink->session, sql, err);
}

MUST_CHECK static inline Status postgres_query(PostgresSink *sink, const char *sql, int count,
                                               const char *const *parameters, PGresult **ret,
                                               Error *err)
{
    return postgres_session_query(&sink->session, sql, count, parameters, ret, err);
}

/** What is in sink->sql. */
MUST_CHECK Status postgres_run_buf(PostgresSink *sink, Error *err);

/** Store whether the table has the mark. */
MUST_CHECK Status postgres_mark(PostgresSink *sink, SqlMark mark, uint32_t oid, bool is_marked,
                                Error *err);

// postgres_fit.c

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

// postgres_copy_in.c

/** Have a COPY into all columns of @target open, in history mode with the history columns. */
MUST_CHECK Status postgres_copy_into(PostgresSink *sink, const PgTarget *target, CopyForm form,
                                     Error *err);
/** Likewise, for rows of a mirror that are values: in the form that fits the table. */
MUST_CHECK Status postgres_copy_values_into(PostgresSink *sink, const PgTarget *target, Error *err);
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
