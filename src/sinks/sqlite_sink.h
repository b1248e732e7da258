// The parts of the sqlite sink: sqlite.c runs it, sqlite_schema.c shapes tables, sqlite_apply.c
// writes rows, sqlite_db.c is the file.
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

// existing=keep: the rows that a copy has written, so that it can start again without touching
// others.
#define SQLITE_COPIED_TABLE "weir_copied"

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
    sqlite3_stmt *note;   // existing=keep: remembers a copied row
    uint64_t *columns;    // scratch bits of one update
    SqliteUpdate updates[SQLITE_UPDATES];
    size_t update_count;
    size_t next_update; // to be replaced next
    bool notes_rows;
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
    Map tables;          // oid -> SqliteTable
    Map ours;            // oid -> itself: the checkpoint has an entry for the table
    SqliteTable *last;   // the table of the last change
    sqlite3_stmt *store; // checkpoint entries
    sqlite3_stmt *remove;
} SqliteSink;

// sqlite_schema.c

/** The table of @relation; text in @arena. */
SqlTable sqlite_target(const SqliteSink *sink, const Relation *relation, Arena *arena);

/** The file is open; see SinkOps. All in the open transaction. */
MUST_CHECK Status sqlite_prepare(SqliteSink *sink, const Relation *was, const Relation *now,
                                 Error *err);

/** The file may not be there. */
MUST_CHECK Status sqlite_check(SqliteSink *sink, const Relation *relation, Report *report,
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

/** The update moves its row to another key. */
bool sqlite_key_changes(const Relation *relation, const Change *change);

/** Remove the rows of an interrupted copy. */
MUST_CHECK Status sqlite_clear(SqliteSink *sink, SqliteTable *table, Error *err);

// sqlite_history.c

MUST_CHECK Status sqlite_append(SqliteSink *sink, SqliteTable *table, const Change *change,
                                Error *err);

/** Name of the index that finds the last row of a key. It is made when it is first needed. */
void sqlite_history_index(Buf *sql, SqlTable target);
