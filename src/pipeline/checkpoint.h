// What a pipeline has to remember to continue after a crash: a small map from text to text, with
// the keys below, and
//
//   table:<oid>        copy state and columns of one table (src/pipeline/tables.h)
//   sink:<anything>    what a sink needs for itself (the file sink's length)
//
// It is stored with the data, in the same transaction, by every sink that can; by the runner in the
// local state directory for the others. Only what changed is handed to commit().
#pragma once

#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

#define CHECKPOINT_TABLE    "table:"        // and an oid behind it: see above
#define CHECKPOINT_POSITION STR("position") // "16/B374D848:0": what is at or before it is delivered
#define CHECKPOINT_SOURCE   STR("source")   // the cluster, database and slot it was read from
#define CHECKPOINT_TIMELINE STR("timeline") // the one of that cluster to which the position belongs
#define CHECKPOINT_MISSING  STR("missing")  // "yes": a table waits for its first copy (route.c)
#define CHECKPOINT_COPIES   STR("copies")   // "no": what was there before is not copied (route.c)
#define CHECKPOINT_DEAD     STR("dead")     // dead letters that the last commit has (dead.h)
// Which publications of that database: their oids, as the name may be given to another one; and
// what the first was called, for who is told that it is another one now.
#define CHECKPOINT_PUBLICATION      STR("publication")
#define CHECKPOINT_PUBLICATION_NAME STR("publication_name")
// The store that they are in, as it was before that commit (dead_mark.h).
#define CHECKPOINT_DEAD_STORE STR("dead_store")
// Of several routes' checkpoints merged (merge.h): the furthest position. Nobody stores it.
#define CHECKPOINT_FURTHEST STR("furthest")

typedef struct CheckpointEntry {
    Str key;
    Str value; // ptr NULL: the entry is to be removed
} CheckpointEntry;

/** Owns its memory. Zero-initialised is empty. */
typedef struct Checkpoint {
    Arena arena;
    CheckpointEntry *entries;
    size_t count;
    size_t capacity;
} Checkpoint;

/** Insert or replace; copies both. A @value with ptr NULL marks the entry as removed. */
void checkpoint_set(Checkpoint *checkpoint, Str key, Str value);

/** NULL when there is no such entry. */
const CheckpointEntry *checkpoint_get(const Checkpoint *checkpoint, Str key);

/** Whether the entry @key is there and says @value. */
bool checkpoint_says(const Checkpoint *checkpoint, Str key, const char *value);

/** ERROR_CONFIG when the last run made no copies. Such a run has a new table's changes from the
 * first on; a verification goes on as one that copies, begins no copy, and would pass over them. */
MUST_CHECK Status checkpoint_check_copied(const Checkpoint *checkpoint, Error *err);

/** Empty it, keep memory. */
void checkpoint_reset(Checkpoint *checkpoint);

void checkpoint_done(Checkpoint *checkpoint);
