// A temporary store of byte records for what has to be kept but may be larger than memory: a list
// of records is appended to, read back once in order, and dropped.
//
// A spill begins in memory as long as all spills of the process together are within the budget;
// from then on it goes to a file. All spills of a store share one file that has no name: whatever
// ends the process, nothing is left behind. The file is made of blocks; those of a dropped spill go
// to the next one, and take no room on disk meanwhile, where the file system can make holes.
//
// Thread: one at a time for a store and its spills. Stores of different threads share the budget.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

typedef struct SpillStore SpillStore;
typedef struct Spill Spill;

/**
 * A store without spills; nothing is made on disk before it is needed. @directory: where the file
 * will be, copied. @memory_max: what all spills of the process may take in memory before those of
 * this store go to disk.
 */
RETURNS_NONNULL SpillStore *spill_store_new(const char *directory, size_t memory_max);

/** All its spills have to be freed before. Accepts NULL. */
void spill_store_free(SpillStore *store);

/** ERROR_CONFIG when the file could not be made. Makes nothing. */
MUST_CHECK Status spill_check(const char *directory, Error *err);

/** Bytes that all spills of the process, and what goes with them, have in memory. Thread: any. */
size_t spill_memory_used(void);

/**
 * What goes with the spills has @now bytes of memory instead of @was: it is taken from the same
 * budget, although it is never refused. Thread: any.
 */
void spill_memory_change(size_t was, size_t now);

/** An empty spill. */
RETURNS_NONNULL Spill *spill_new(SpillStore *store);

/** Free its memory and its part of the file. Accepts NULL. */
void spill_free(Spill *spill);

/**
 * Add a record, of any bytes. Not after the first spill_next(). After a failure, a full disk among
 * them, the spill can only be freed.
 */
MUST_CHECK Status spill_append(Spill *spill, Str record, Error *err);

/** The next record, valid until the next call; STATUS_AGAIN behind the last one. */
MUST_CHECK Status spill_next(Spill *spill, Str *ret, Error *err);

/** Bytes of its records so far, and how many of them are in the file. */
uint64_t spill_size(const Spill *spill);
uint64_t spill_size_on_disk(const Spill *spill);
