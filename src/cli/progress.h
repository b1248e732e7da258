// Live progress on a terminal, or a log line from time to time.
#pragma once

#include "pipeline/runner.h"

typedef enum ProgressMode { PROGRESS_AUTO, PROGRESS_ALWAYS, PROGRESS_NEVER } ProgressMode;

extern const char *const progress_choices[]; // "auto", "always", "never", NULL

typedef struct Progress Progress;

/** Watch @runner from a thread of its own until progress_stop(). NULL when there is nothing to
 * show. */
Progress *progress_start(ProgressMode mode, const Pipeline *pipeline, Runner *runner);

/** Accepts NULL. The terminal is left clean. */
void progress_stop(Progress *progress);
