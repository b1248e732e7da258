// A request to give up, visible to blocking code in other threads: a flag to test between steps and
// a file descriptor to wait on beside one's own.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef struct Cancel {
    atomic_bool is_set;
    int fd; // an eventfd, readable once set; never read it
} Cancel;

MUST_CHECK Status cancel_init(Cancel *cancel, Error *err);
void cancel_done(Cancel *cancel);

/** Thread: any. Async-signal-safe. */
void cancel_set(Cancel *cancel);

/** Take the request back. The descriptor stays the same. Thread: when nobody waits on it any more.
 */
void cancel_reset(Cancel *cancel);

/** What to poll for POLLIN beside one's own: -1, which poll() passes over, when @cancel is NULL. */
static inline int cancel_fd(const Cancel *cancel)
{
    return cancel == NULL ? -1 : cancel->fd;
}

/** Until it is set, or @timeout_ms have passed; NULL never is. Thread: any. */
void cancel_wait(const Cancel *cancel, int timeout_ms);

static inline bool cancel_is_set(const Cancel *cancel)
{
    return cancel != NULL && atomic_load_explicit(&cancel->is_set, memory_order_relaxed);
}
