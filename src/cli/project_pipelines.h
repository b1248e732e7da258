// From a project file to pipelines: shared by `weir run` and `weir check`.
#pragma once

#include "pipeline/runner.h"

/**
 * The pipelines of the project at @path, in @arena. @state: directory for the state, empty: what
 * the file says (relative to it) or the default. @until: as --until takes it, empty: none.
 */
MUST_CHECK Status project_pipelines(Str path, Str state, Str until, Arena *arena, Pipeline **ret,
                                    size_t *ret_count, Error *err);
