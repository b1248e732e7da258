#include "hub/hub_wait.h"

#include "base/clock.h"

Status hub_wait_for_tokens(const Pause *pause, RateLimit *limit, int64_t count, Error *err)
{
    for (int64_t taken = 0; taken < count;) {
        int64_t us = rate_limit_take(limit, clock_monotonic_us());
        taken += us == 0;
        if (us > 0 && pause_for(pause, us, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

Status hub_wait_until_there(const Pause *pause, RateLimit *limit, int64_t count, Error *err)
{
    int64_t us;
    while ((us = rate_limit_wait(limit, count, clock_monotonic_us())) > 0) {
        if (pause_for(pause, us, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}
