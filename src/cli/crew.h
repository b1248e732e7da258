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

/** Run @pipeline, which has a disk buffer, to its end, with what fills the buffer and with those of
 * its routes that @takes says. Nothing is said and served; @err is the first failure. */
MUST_CHECK Status crew_run_routes(const Pipeline *pipeline, const bool *takes,
                                  ProgressMode progress, Error *err);
