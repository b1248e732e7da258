// A bell between threads that can be waited on with poll(): set by any thread, cleared by the one
// that waits.
#pragma once

#include "base/error.h"

typedef struct Wake {
    int fd; // readable while set; -1: not open
} Wake;

MUST_CHECK Status wake_init(Wake *wake, Error *err);
void wake_done(Wake *wake);

/** Thread: any. Async-signal-safe. */
void wake_set(Wake *wake);

void wake_clear(Wake *wake);

/** Wait until it is set or @timeout_ms have passed (-1: for ever), then clear it. */
void wake_wait(Wake *wake, int timeout_ms);
