// One dead letter as such: its change as bytes, and in other shapes.
#pragma once

#include "base/error.h"
#include "change/batch.h"
#include "change/pack.h"
#include "pipeline/dead_store.h"

/**
 * DeadLetter.position of @change. Copied rows are told from all others by their table, too: each
 * copy counts its own, and several are of one snapshot.
 */
Position dead_place(const Change *change);

/** Where it stands in the stream: a copied row is before all that is told behind its snapshot. */
Position dead_stands(const DeadLetter *letter);

/** As the log had it when it was set aside: the number of a copied row is that in its table. */
Position dead_shown(const DeadLetter *letter);

/** As bytes, in @arena. ERROR_DATA: it is too large to be kept. */
MUST_CHECK Status dead_pack(const Change *change, Arena *arena, Str *ret, Error *err);

/** What dead_pack() made: one change in @batch, whose values are slices of @record and whose
 *  relation lives as long as @unpacker. ERROR_FATAL when it is damaged. */
MUST_CHECK Status dead_unpack(Str record, Unpacker *unpacker, Batch *batch, Error *err);

/**
 * @change in the shape that its table has in the target now: columns by their numbers, those that
 * came later with what rows from before have there. In @arena.
 */
void dead_reshape(const Change *change, const Relation *now, Arena *arena, Change *ret);

// What a letter's change is to a later one of the same row, where changes stand alone.
typedef enum DeadStanding {
    DEAD_AGAINST, // both count, in their order
    DEAD_APART,   // neither undoes what the other says: in either order the row comes out the same
    DEAD_COVERED, // it says nothing that the later one does not say: with that alone it does, too
} DeadStanding;

/** @was does not change what the row is called. */
DeadStanding dead_standing(const Change *was, const Change *later);

/** What a refused letter says about it: the message, and what to do. In @arena. */
const char *dead_reason(const Error *why, Arena *arena);
