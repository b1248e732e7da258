// The parts of the sqlite sink. sqlite.c runs it. sqlite_schema.c decides which table a relation
// gets, with sqlite_found.c (what is there) and sqlite_evolve.c (from one shape to the next).
// sqlite_apply.c and sqlite_history.c write rows, sqlite_verify.c digests them; sqlite_db.c is the
// file.
#pragma once

#include "pipeline/sink.h"
#include "sinks/sql.h"
#include "sinks/sqlite_db.h"

/** `names=`: how a table of another schema than public is called. */
typedef enum SqliteNames {
    SQLITE_NAMES_AUTO,      // "orders" of public, "shop.orders" of any other schema
    SQLITE_NAMES_QUALIFIED, // always "schema.table"
    SQLITE_NAMES_BARE,      // never
} SqliteNames;

enum { SQLITE_UPDATES = 8 };

/** UPDATE of one set of columns. */
typedef struct SqliteUpdate {
    sqlite3_stmt *statement;
    uint64_t *columns; // bits
} SqliteUpdate;

/** One version of a relation that prepare() made a table for, with its statements. */
typedef struct SqliteTable {
    Arena arena;
    const Relation *relation;
    SqlTable target;
    const char *rowid; // a name of the row id that no column hides; NULL: none is left
    sqlite3_stmt *insert;
    sqlite3_stmt *remove;
    sqlite3_stmt *latest; // history: the last row of a key
    uint64_t *columns;    // scratch bits of one update
    SqliteUpdate updates[SQLITE_UPDATES];
    size_t update_count;
    size_t next_update; // to be replaced next
    bool has_index;     // of a table without a key: made by this instance
} SqliteTable;

typedef struct SqliteSink {
    Sink base;
    Str path;
    int mode;
    int existing;
    int names;
    int64_t busy_timeout_ms;

    SqliteDb db;
    Arena arena;   // as long as the file is open
    Arena scratch; // one call, one row
    Buf sql;       // the statement that is being built; empty between uses
    Buf message;   // likewise
    SqlTargets targets;
    Map tables; // oid -> SqliteTable
    Map ours;   // oid -> any: the checkpoint has an entry for the table
    SqlMarks marks;
    SqliteTable *last;   // the table of the last change
    sqlite3_stmt *store; // checkpoint entries
    sqlite3_stmt *remove;
} SqliteSink;

// sqlite.c

extern const SqlTable sqlite_checkpoint_table;

/** Store whether the table has rows of others that are to stay. */
MUST_CHECK Status sqlite_note_kept(SqliteSink *sink, uint32_t oid, bool is_kept, Error *err);

// sqlite_schema.c

/** The table of @relation; text in @arena. */
SqlTable sqlite_target(const SqliteSink *sink, const Relation *relation, Arena *arena);

/** The file is open; see SinkOps. All in the open transaction. */
MUST_CHECK Status sqlite_prepare(SqliteSink *sink, const Relation *was, const Relation *now,
                                 Error *err);

/** See SinkOps. */
MUST_CHECK Status sqlite_has(SqliteSink *sink, const Relation *relation, bool *ret, Error *err);

/** The file may not be there. */
MUST_CHECK Status sqlite_check(SqliteSink *sink, const Relation *relation, Report *report,
                               Error *err);

// sqlite_evolve.c

/** SQL that makes the pipeline forget the table, so that it is copied again; valid until the next.
 */
const char *sqlite_forget_statement(SqliteSink *sink, const Relation *relation);

/** Give @err that as its hint, with what to do to the table first. Returns STATUS_FAIL. */
Status sqlite_hint_copy_again(SqliteSink *sink, SqlTable table, const Relation *relation,
                              Error *err);

// sqlite_apply.c

/** Statements of @relation from now on: in sink->tables, in place of an earlier version's. */
void sqlite_table_put(SqliteSink *sink, const Relation *relation, SqlTable target,
                      const char *rowid);

/** Finalize the statements of the relation's earlier version. */
void sqlite_table_forget(SqliteSink *sink, uint32_t oid);
void sqlite_table_free(SqliteTable *table);

/** The table that prepare() made for exactly this version; ERROR_FATAL when there is none. */
MUST_CHECK Status sqlite_table_find(SqliteSink *sink, const Relation *relation, SqliteTable **ret,
                                    Error *err);

/** A transaction is open. */
MUST_CHECK Status sqlite_apply(SqliteSink *sink, SqliteTable *table, const Change *change,
                               Error *err);

/** Name of the index of our own on a table; see sqlite_make_index(). */
void sqlite_index_name(Buf *sql, SqlTable target);

/**
 * An index by which statements find rows of a table that has no key in SQLite: of a history by the
 * source's key, of a table without a key by some of its columns. It is made when it is first
 * needed, and dropped when the table changes its shape.
 */
MUST_CHECK Status sqlite_make_index(SqliteSink *sink, const SqliteTable *table, Error *err);

/** The update moves its row to another key. */
bool sqlite_key_changes(const Relation *relation, const Change *change);

/** Remove the rows of an interrupted copy. */
MUST_CHECK Status sqlite_clear(SqliteSink *sink, SqliteTable *table, Lsn copied_at, Error *err);

// sqlite_history.c

MUST_CHECK Status sqlite_append(SqliteSink *sink, SqliteTable *table, const Change *change,
                                Error *err);

// sqlite_verify.c: see SinkOps.

Status sqlite_digest_check(Sink *base, Error *err);
Status sqlite_digest_columns(Sink *base, const Relation *relation, DigestColumn *columns,
                             size_t count, Error *err);
Status sqlite_digest_open(Sink *base, const DigestQuery *query, DigestReader **ret, Error *err);
