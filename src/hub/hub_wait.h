// Waiting in a connector of a hub: for tokens of a rate limit, or until a system is asked again.
#pragma once

#include "base/error.h"
#include "hub/rate_limit.h"
#include "io/cancel.h"

/** Whom the wait is for. */
typedef struct HubWait {
    const Cancel *cancel; // ends it; may be NULL
    // Told now and then that the call that does not come back gets on. NULL: nobody wants to know.
    void (*at_work)(void *at_work_context);
    void *at_work_context;
} HubWait;

/** So many microseconds. ERROR_CANCELLED. */
MUST_CHECK Status hub_wait(const HubWait *wait, int64_t us, Error *err);

/** Until @count tokens are taken. ERROR_CANCELLED: some may have been. */
MUST_CHECK Status hub_wait_for_tokens(const HubWait *wait, RateLimit *limit, int64_t count,
                                      Error *err);
