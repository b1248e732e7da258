// Folds a run of changes to one final change per key: what makes SQL targets fast, and what fills
// unchanged columns from earlier changes of the same run.
//
//   insert, update            -> insert of the final row
//   insert, delete            -> nothing
//   update, update            -> one update with the columns of both
//   update, delete            -> delete of the old key
//   delete, insert            -> update with every column (the row existed before and after)
//   key-changing update       -> delete of the old key, insert of the new one, when every column is
//                                known; otherwise a move, or a barrier (see below)
//
// INSERT + UPDATE with an unchanged TOASTed column folds to the inserted value; an update's known
// columns are never overwritten by "unchanged".
#pragma once

#include "base/arena.h"
#include "change/change.h"

typedef enum CompactedOp {
    COMPACTED_INSERT, // the key was not there before this run; every column is known
    COMPACTED_UPDATE, // the key was there; absent and unchanged columns keep the target's value
    COMPACTED_DELETE, // the key was there; `row` has the key columns
    COMPACTED_MOVE,   // the key of `from` was there; what `row` does not know is in the row there
    COMPACTED_OPS,
} CompactedOp;

/** What a key-changing update is whose row is not known as a whole. A target that finds the rows of
 * all moves before it changes anything folds them, however they follow each other (a ring of moves
 * has no order in which they could be done one by one). */
typedef enum CompactedMoves {
    MOVES_ARE_BARRIERS,
    MOVES_ARE_FOLDED,
} CompactedMoves;

typedef struct CompactedRow {
    CompactedOp op;
    bool is_full; // every column of `row` is known: an upsert is possible
    const Value *row;
    const Value *from;  // COMPACTED_MOVE: has the key before the run; otherwise `row`, which has it
    const Change *last; // the last change folded into it: for messages and positions
} CompactedRow;

/** The final changes of one table, in the order in which their keys were first touched. Applying
 * all deletes, then all moves at once, then all inserts, then all updates gives the state after the
 * run. */
typedef struct CompactedTable {
    const Relation *relation;
    CompactedRow *rows;
    size_t row_count;
    size_t count_by_op[COMPACTED_OPS];
} CompactedTable;

typedef struct Compacted {
    CompactedTable *tables;
    size_t table_count;
    size_t consumed; // changes folded, from the start of the run; the barrier does not count
    // The change behind them cannot be folded and has to be applied by itself, in order, before the
    // rest of the run is compacted: a TRUNCATE, a key-changing update with unchanged columns (see
    // CompactedMoves), any update or delete of a table without a key, another version of a table
    // that is in the run already, and whatever cannot be (an insert of a key that is there, a
    // delete of one that is not: the target will say so). NULL when the run was used up.
    const Change *barrier;
} Compacted;

/**
 * Fold @changes up to the first barrier. Everything returned is in @arena or borrowed from
 * @changes. CHANGE_MESSAGE and CHANGE_SCHEMA are skipped over (they count as consumed).
 * Inserts into tables without a key are kept one by one as COMPACTED_INSERT.
 */
void compact(const Change *changes, size_t count, CompactedMoves moves, Arena *arena,
             Compacted *ret);
