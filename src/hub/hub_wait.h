// Waiting in a connector of a hub: for tokens of a rate limit.
#pragma once

#include "base/error.h"
#include "hub/rate_limit.h"
#include "io/pause.h"

/** Until @count tokens are taken. ERROR_CANCELLED: some may have been. */
MUST_CHECK Status hub_wait_for_tokens(const Pause *pause, RateLimit *limit, int64_t count,
                                      Error *err);

/** Until there are @count tokens, at most as many as the bucket holds. None is taken.
 *  ERROR_CANCELLED. */
MUST_CHECK Status hub_wait_until_there(const Pause *pause, RateLimit *limit, int64_t count,
                                       Error *err);
