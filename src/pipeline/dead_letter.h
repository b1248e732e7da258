// One dead letter as such: what names its row, and its change as bytes.
#pragma once

#include "base/error.h"
#include "change/batch.h"
#include "change/pack.h"

/**
 * What names the row of @change before and after it, as bytes that are equal when the names are.
 * @ret_new is empty when it is the same. In @arena. A table without a key names it by all its
 * columns.
 */
void dead_keys(const Change *change, Arena *arena, Str *ret_old, Str *ret_new);

/** Whether both name their rows by the same columns: keys that do not cannot be compared. */
bool dead_keys_are_alike(Str a, Str b);

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

/** What a refused letter says about it: the message, and what to do. In @arena. */
const char *dead_reason(const Error *why, Arena *arena);
