// Several routes of one source: where that source continues.
#pragma once

#include "base/error.h"
#include "change/position.h"
#include "pipeline/checkpoint.h"

/** What one route has stored. */
typedef struct StoredRoute {
    Str key; // what it is called
    const Checkpoint *checkpoint;
} StoredRoute;

/** The entry "position". *ret_has false: there is none. ERROR_FATAL when it is damaged. */
MUST_CHECK Status checkpoint_position(const Checkpoint *checkpoint, bool *ret_has, Position *ret,
                                      Error *err);

/** The same of the route that is furthest, of those whose checkpoints were merged: what the source
 *  must not have forgotten. (0, 0): there is none. */
MUST_CHECK Status checkpoint_furthest(const Checkpoint *checkpoint, Position *ret, Error *err);

/**
 * What the source of all these routes continues from: where the slowest one is; the others skip
 * what they have. A route that is new starts there, too, with copies of its own, so @ret is empty
 * only when all of them are. ERROR_CONFIG when they were filled from different sources.
 */
MUST_CHECK Status checkpoint_merge(const StoredRoute *routes, size_t count, Checkpoint *ret,
                                   Error *err);
