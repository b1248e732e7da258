// What the SQL sinks (postgres, sqlite, duckdb) share: names, table definitions, and the shape of
// history tables and of the checkpoint table. Builds text; executes nothing.
#pragma once

#include "base/buf.h"
#include "base/map.h"
#include "change/change.h"
#include "config/option.h"
#include "pipeline/checkpoint.h"

/** `mode=`: the value of a CHOICE option with sql_mode_choices. */
typedef enum SqlMode {
    SQL_MIRROR,  // rows as they are now
    SQL_HISTORY, // every change is appended
} SqlMode;

extern const char *const sql_mode_choices[]; // "mirror", "history", NULL

/** ERROR_CONFIG: a history's rows are not those of the source. */
MUST_CHECK Status sql_require_mirror(SqlMode mode, Error *err);

/** `existing=`: what to do with a target table that has rows before its first copy. */
typedef enum SqlExisting {
    SQL_EXISTING_FAIL,
    SQL_EXISTING_TRUNCATE, // they are removed
    SQL_EXISTING_KEEP,     // rows are added beside them
} SqlExisting;

extern const char *const sql_existing_choices[]; // "fail", "truncate", "keep", NULL

/** Where a relation goes. */
typedef struct SqlTable {
    Str schema; // empty: the target has no schemas
    Str name;
    Str catalog; // empty: not said; with a schema only
} SqlTable;

/** ERROR_CONFIG, of SQL_EXISTING_FAIL: @table of the file @path has rows before its first copy. */
Status sql_refuse_rows(SqlTable table, const char *path, Error *err);

typedef struct SqlDialect {
    const char *name;
    /** The column's type in the target, as in CREATE TABLE. */
    void (*type)(const Column *column, Buf *sql);
    /** A constant of the column's type, from Postgres's text. NULL: sql_literal(). */
    void (*literal)(const Column *column, Str text, Buf *sql);
    const char *text_type;    // of history and checkpoint columns
    const char *integer_type; // 64 bits
    const char *time_type;    // of _weir_commit_time
    const char *by_bytes;     // behind a text that is compared: in the order of its bytes
    bool declares_not_null;   // mirror: what is NOT NULL in the source is so in the target
    bool folds_case;          // "Id" and "id" are one name (ASCII letters)
} SqlDialect;

/** "a ""quoted"" name" — always quoted. */
void sql_identifier(Buf *sql, Str name);

/** 'it''s' — a string constant of standard SQL. */
void sql_literal(Buf *sql, Str text);

/** "catalog"."schema"."name", as much of it as is said. */
void sql_table_name(Buf *sql, SqlTable table);

/** "a", "b": the columns' names; of the key columns only, in key order, when @key_only. */
void sql_column_list(Buf *sql, const Relation *relation, bool key_only);

/**
 * ` where "id" = 5 and "part" = x`: which row a message is about, by its key, each value of it
 * shortened; nothing for a table without a key, or when @row is NULL. Nothing of a row beyond its
 * key goes into one.
 */
void sql_describe_row(Buf *text, const Relation *relation, const Value *row);

/**
 * Columns that a history table has behind the source's own:
 *
 *   _weir_op           text        read, insert, update, delete, truncate
 *   _weir_lsn          text        commit LSN, 16 hexadecimal digits: text order is stream order
 *   _weir_ordinal      bigint      of the change in its transaction
 *   _weir_xid          bigint      NULL when there is none
 *   _weir_commit_time  timestamp with time zone (text where there is none), NULL of a copied row
 *
 * Such a table has no key, and no column is NOT NULL: a delete has only the key columns.
 *
 * An update that changes the key is two rows of one position: "delete" with the old key, "update"
 * with the new row. Otherwise nobody could see that the old key is gone. A TRUNCATE is one row
 * without values. Unchanged columns have the value that the last row of the key had, never NULL.
 */
extern const char *const sql_history_columns[]; // names, NULL-terminated

enum {
    SQL_HISTORY_OP,
    SQL_HISTORY_LSN,
    SQL_HISTORY_ORDINAL,
    SQL_HISTORY_XID,
    SQL_HISTORY_COMMIT_TIME,
    SQL_HISTORY_COLUMN_COUNT,
};

/** The target's type of history column @which (SQL_HISTORY_OP…). */
const char *sql_history_type(const SqlDialect *dialect, int which);

enum { SQL_LSN_TEXT_SIZE = 17 };

/** 16 upper-case hexadecimal digits. */
void sql_history_lsn(Lsn lsn, char ret[static SQL_LSN_TEXT_SIZE]);

/** CREATE TABLE IF NOT EXISTS with the key as PRIMARY KEY (mirror). */
void sql_create_table(Buf *sql, const SqlDialect *dialect, SqlTable table, const Relation *relation,
                      SqlMode mode);

/** ALTER TABLE … ADD COLUMN, with the missing value as its default for the rows that are there. */
void sql_add_column(Buf *sql, const SqlDialect *dialect, SqlTable table, const Column *column);
void sql_drop_column(Buf *sql, SqlTable table, Str column);
void sql_rename_column(Buf *sql, SqlTable table, Str from, Str to);

/**
 * A relation that the target cannot hold as it is: two columns that the target takes for one
 * (dialect->folds_case), or a column named like one of the history columns (@mode history). Then
 * ERROR_CONFIG naming them.
 */
MUST_CHECK Status sql_check_columns(const SqlDialect *dialect, const Relation *relation,
                                    SqlMode mode, Error *err);

/**
 * DELETE of the rows that a copy behind the one of @copied_at has added to a history. That one, and
 * what the stream has added, are history.
 */
void sql_clear_history(Buf *sql, const SqlDialect *dialect, SqlTable table, Lsn copied_at);

/** A relation and the table it goes to. */
typedef struct SqlTarget {
    uint32_t oid;
    Str schema; // the relation's
    Str name;
    Str key; // in SqlTargets.by_table
} SqlTarget;

/** Which relation owns which target table. Zero-initialised is empty. */
typedef struct SqlTargets {
    Arena arena;
    Map by_table;    // "schema\0name", folded when the dialect folds
    Map by_relation; // oid
} SqlTargets;

/**
 * @relation goes to @table from now on; the table it went to before is given up. When another
 * relation goes there already, or it is the checkpoint table: ERROR_CONFIG naming both, and nothing
 * is claimed. Relations are told apart by oid.
 */
MUST_CHECK Status sql_targets_claim(SqlTargets *targets, const SqlDialect *dialect,
                                    const Relation *relation, SqlTable table, Error *err);

void sql_targets_done(SqlTargets *targets);

// The checkpoint table: (pipeline, key, value), primary key (pipeline, key). Parameters are $1, $2,
// $3, which all three databases take, in the order of the comment.
#define SQL_CHECKPOINT_TABLE "weir_checkpoint"

/** CREATE TABLE IF NOT EXISTS. */
void sql_checkpoint_create(Buf *sql, const SqlDialect *dialect, SqlTable table);

/** SELECT key, value: pipeline. */
void sql_checkpoint_select(Buf *sql, SqlTable table);

/** INSERT or replace: pipeline, key, value. */
void sql_checkpoint_store(Buf *sql, SqlTable table);

/** DELETE: pipeline, key. */
void sql_checkpoint_remove(Buf *sql, SqlTable table);

/** For a person to run: DELETE of what @pipeline has stored about a table, @oid, which it copies
 *  again then; 0: of all that it has stored. */
void sql_checkpoint_forget(Buf *sql, SqlTable table, Str pipeline, uint32_t oid);

/** @key is @prefix and the oid of a table. */
bool sql_checkpoint_oid(Str key, const char *prefix, uint64_t *ret);

/** What is stored with the checkpoint about a table of the target, by its relation's oid. */
typedef enum SqlMark {
    // `existing=keep`, and it had rows before its first copy: its copies are committed whole or not
    // at all, so that one which starts again finds nothing of its own. The option may be another
    // one by then.
    SQL_KEPT,
    // Made here, and its first copy has not come to its end: it may not have its key yet.
    SQL_NEW,
    // It is being filled by a pipeline that empties it when its copy starts again: nobody else may
    // have rows there. The value is the target's name or number of the table.
    SQL_FILLING,
    // `existing=keep`, whether it had rows or not: others may add rows, too. The value as above.
    SQL_SHARED,
    SQL_MARKS,
} SqlMark;

/** Zero-initialised: none. */
typedef struct SqlMarks {
    Map oids[SQL_MARKS];
} SqlMarks;

enum { SQL_MARK_KEY_SIZE = 32 };

/** The key of the entry. */
void sql_mark_key(SqlMark mark, uint32_t oid, char ret[static SQL_MARK_KEY_SIZE]);

/** What has to be stored, in the open transaction, for the table to have the mark or not
 *  (@is_marked): false if nothing. The entry's key is in @key. */
MUST_CHECK bool sql_mark_change(const SqlMarks *marks, SqlMark mark, uint32_t oid, bool is_marked,
                                char key[static SQL_MARK_KEY_SIZE], CheckpointEntry *ret);

/** An entry of the checkpoint was read or stored (ptr NULL: removed): if it is one of these, take
 *  note of it. */
void sql_mark_note(SqlMarks *marks, const CheckpointEntry *entry);

bool sql_is_marked(const SqlMarks *marks, SqlMark mark, uint32_t oid);

void sql_marks_done(SqlMarks *marks);

/** clear() of a table that is SQL_KEPT: nothing to do, or ERROR_CONFIG when a copy has come to its
 * end before. Its rows may have changed since, so nobody knows any more which are whose. */
MUST_CHECK Status sql_kept_clear(SqlMode mode, const Relation *relation, Lsn copied_at,
                                 const char *pipeline, SqlTable checkpoint, Error *err);
