// Runs pipelines side by side: a thread for each, and one for each part of a pipeline that has a
// disk buffer.
#pragma once

#include "cli/progress.h"
#include "pipeline/runner.h"

typedef struct CrewOptions {
    Str metrics;       // address to serve figures on; empty: none
    bool has_progress; // of the last route
    ProgressMode progress;
} CrewOptions;

/** Run @pipelines to their ends, and say how each came to it. Returns the exit code: the worst. */
int crew_run(const Pipeline *pipelines, size_t count, const CrewOptions *options, Arena *arena);
