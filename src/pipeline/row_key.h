// What names a row, so that changes of one row can be told from changes of others.
//
// A row has one name or several; a name is one column or several, with their values. Rows that have
// a name in common are the same. Rows that each have a name of the same columns, and none in
// common, are different ones. Of others nothing is known: the columns that name a table's rows were
// changed meanwhile, or somebody says only one of two names.
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "change/change.h"

/** The names of the row of a change, as bytes. */
typedef struct RowKey {
    Str before;
    Str after; // empty: the same as before
} RowKey;

/** Begin a name behind those that @names has; what it returns is for row_name_end(). */
size_t row_name_begin(Buf *names);

/** @column: what tells the column from others for as long as a name may be kept; empty: nothing. */
void row_name_add(Buf *names, Str column, Value value);

void row_name_end(Buf *names, size_t begin);

/** By the relation's key, or by all columns when it has none: one name. In @arena. */
void row_key_of_relation(const Change *change, Arena *arena, RowKey *ret);

/** The next one of the names that are left; false at the end, or where they are no names. */
MUST_CHECK bool row_name_next(Str *names, Str *ret);

/** Whether both are names of the same columns. */
bool row_names_are_alike(Str name, Str other);

/** Whether rows of these keys have a name in common. */
bool row_keys_meet(const RowKey *key, const RowKey *other);

// ---------------------------------------------------------------------------------------------
// Sets
// ---------------------------------------------------------------------------------------------

/** Rows of tables, each in the set for one thing or more. Zero-initialised it is empty. */
typedef struct RowSet {
    Arena arena;
    Map tables; // by oid
} RowSet;

/** Things that a name is in the set for. */
typedef struct RowSetItem {
    int64_t id;
    const struct RowSetItem *next;
} RowSetItem;

typedef enum RowSetFound {
    ROW_NOT_FOUND,
    ROW_FOUND,
    ROW_UNKNOWN, // it cannot be told from one that is in the set
} RowSetFound;

/** Copied. */
void row_set_add(RowSet *set, uint32_t oid, const RowKey *key, int64_t id);

/** Whether a row of @key, before or after, is in the set. */
RowSetFound row_set_find(const RowSet *set, uint32_t oid, const RowKey *key);

/** Whether any row of the table is in the set. */
bool row_set_has_table(const RowSet *set, uint32_t oid);

/** What one name, as row_name_next() gives it, is in the set for; NULL: nothing. */
const RowSetItem *row_set_get(const RowSet *set, uint32_t oid, Str name);

void row_set_reset(RowSet *set);
void row_set_done(RowSet *set);
