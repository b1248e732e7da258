// Runs pipelines side by side: a thread for each, and one for each part of a pipeline that has a
// disk buffer.
#pragma once

#include "pipeline/runner.h"

/**
 * Run @pipelines to their ends, and say how each came to it. @metrics: address to serve figures on;
 * empty: none. Returns the exit code: the worst.
 */
int crew_run(const Pipeline *pipelines, size_t count, Str metrics, Arena *arena);
