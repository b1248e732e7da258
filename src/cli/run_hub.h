// weir run of a hub.
#pragma once

#include "model/hub.h"

typedef struct RunOptions {
    Str until;
    int64_t patience_ms;
    Str state;
    Str metrics;
    Str listen; // of a hub
} RunOptions;

/** What the pipelines of @hub at @path are named after: what it says, or its folder's real name. In
 *  @arena. */
Str hub_name(const Hub *hub, Str path, Arena *arena);

/** Run the hub at @path, as hub_is_at() has it, to its end. Returns the exit code. */
int run_hub(Str path, const RunOptions *options, Arena *arena);
