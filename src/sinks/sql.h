// What the SQL sinks (postgres, sqlite, duckdb) share: names, table definitions, and the shape of
// history tables and of the checkpoint table. Builds text; executes nothing.
#pragma once

#include "base/buf.h"
#include "change/change.h"
#include "config/option.h"

/** `mode=`: the value of a CHOICE option with sql_mode_choices. */
typedef enum SqlMode {
    SQL_MIRROR,  // rows as they are now
    SQL_HISTORY, // every change is appended
} SqlMode;

extern const char *const sql_mode_choices[]; // "mirror", "history", NULL

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
} SqlTable;

typedef struct SqlDialect {
    const char *name;
    /** The column's type in the target, in the order of CREATE TABLE. */
    void (*type)(const Column *column, Buf *sql);
} SqlDialect;

/** "a ""quoted"" name" — always quoted. */
void sql_identifier(Buf *sql, Str name);

/** 'it''s' — a string constant of standard SQL. */
void sql_literal(Buf *sql, Str text);

/** "schema"."name", or "name". */
void sql_table_name(Buf *sql, SqlTable table);

/** "a", "b": the columns' names; of the key columns only when @key_only. */
void sql_column_list(Buf *sql, const Relation *relation, bool key_only);

/**
 * Columns that a history table has behind the source's own:
 *   _weir_op           text       read, insert, update, delete, truncate
 *   _weir_lsn          text       commit LSN, 16 hexadecimal digits, so that text order is stream
 * order _weir_ordinal      bigint _weir_xid          bigint _weir_commit_time  timestamp with time
 * zone (text where there is none) It has no key, and no column is NOT NULL: a delete has only the
 * key columns.
 */
extern const char *const sql_history_columns[]; // names, NULL-terminated

/** CREATE TABLE IF NOT EXISTS with the key as PRIMARY KEY (mirror). */
void sql_create_table(Buf *sql, const SqlDialect *dialect, SqlTable table, const Relation *relation,
                      SqlMode mode);

/** ALTER TABLE … ADD COLUMN, with the missing value as its default for the rows that are there. */
void sql_add_column(Buf *sql, const SqlDialect *dialect, SqlTable table, const Column *column);
void sql_drop_column(Buf *sql, SqlTable table, Str column);
void sql_rename_column(Buf *sql, SqlTable table, Str from, Str to);
