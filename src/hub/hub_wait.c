#include "hub/hub_wait.h"

#include <poll.h>

#include "base/clock.h"

enum { STEP_US = 10000000 }; // somebody may wonder

static Status rest(const HubWait *wait, int64_t us, Error *err)
{
    struct pollfd fd = {.fd = wait->cancel == NULL ? -1 : wait->cancel->fd, .events = POLLIN};
    (void)poll(&fd, 1, (int)((us + 999) / 1000));
    if (cancel_is_set(wait->cancel)) {
        return error_set(err, ERROR_CANCELLED, "interrupted");
    }
    if (wait->at_work != NULL) {
        wait->at_work(wait->at_work_context);
    }
    return STATUS_OK;
}

Status hub_wait(const HubWait *wait, int64_t us, Error *err)
{
    int64_t until_us = clock_monotonic_us() + us;
    for (int64_t left_us = us; left_us > 0; left_us = until_us - clock_monotonic_us()) {
        if (rest(wait, MIN(left_us, (int64_t)STEP_US), err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

Status hub_wait_for_tokens(const HubWait *wait, RateLimit *limit, int64_t count, Error *err)
{
    for (int64_t taken = 0; taken < count;) {
        int64_t us = rate_limit_take(limit, clock_monotonic_us());
        taken += us == 0;
        if (us > 0 && rest(wait, MIN(us, (int64_t)STEP_US), err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}
