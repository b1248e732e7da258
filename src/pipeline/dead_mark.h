// What a target's checkpoint says of the store of dead letters, and whether the store that is there
// can be the one that it means. They lie in two places, of which each may be lost, or put back to
// what it was, without the other.
#pragma once

#include "pipeline/checkpoint.h"
#include "pipeline/dead_store.h"

/** Which store it was, and how far it had come. */
typedef struct DeadSaid {
    uint64_t identity; // 0: nothing is said; the checkpoint is of a version before, or new
    int64_t changes;   // DeadMark.changes
    int64_t letters;   // how many it had
} DeadSaid;

/** ERROR_FATAL when the entry is damaged. */
MUST_CHECK Status dead_said_read(const Checkpoint *stored, DeadSaid *ret, Error *err);

void dead_said_write(const DeadSaid *said, Checkpoint *changed);

bool dead_said_is_same(const DeadSaid *a, const DeadSaid *b);

/**
 * @mark: of the store in @directory; NULL: it has none. ERROR_CONFIG when letters were lost with a
 * store that is gone, when it is another store, or an older state of it. One that is newer is fine:
 * letters are durable before the position behind them, and others drop them and ask for them.
 */
MUST_CHECK Status dead_said_check(const DeadSaid *said, const char *directory, const DeadMark *mark,
                                  Error *err);
