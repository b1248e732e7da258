// weir run of a hub.
#pragma once

#include "config/option.h"

typedef struct RunOptions {
    Str until;
    int64_t patience_ms;
    Str state;
    Str metrics;
    Str listen; // of a hub
} RunOptions;

/** Run the hub at @path, as hub_is_at() has it, to its end. Returns the exit code. */
int run_hub(Str path, const RunOptions *options, Arena *arena);
