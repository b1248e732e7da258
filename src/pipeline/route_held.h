// The changes of a table that is copied beside the stream, held back until its rows are there. A
// few are in memory as they came. More are packed into a spill, so that also a transaction of any
// size takes no more than its part of memory.
//
// Thread: the route's.
#pragma once

#include "base/error.h"
#include "change/batch.h"

typedef struct Held Held;

/** Nothing is held. @directory: where the file will be if there is to be one, copied. */
RETURNS_NONNULL Held *held_new(const char *directory);

/** Accepts NULL. */
void held_free(Held *held);

/**
 * Hold a copy of @change, which has a relation and comes behind those that are held; the relation
 * itself has to outlive @held. What was committed before @copied_at is in the copy, and is not held
 * or not any longer; LSN_NONE: it is not known yet. Not after the first held_next().
 */
MUST_CHECK Status held_add(Held *held, const Change *change, Lsn copied_at, Error *err);

/** Bytes of what is held, as Batch.bytes counts them; not those of memory. */
uint64_t held_bytes(const Held *held);

/** The next of those that are held, valid until the next call; STATUS_AGAIN behind the last. */
MUST_CHECK Status held_next(Held *held, Batch **ret, Error *err);
