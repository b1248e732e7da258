#include "io/pause.h"

#include "base/clock.h"

enum { STEP_US = 10000000 }; // somebody may wonder

static Status step(const Pause *pause, int64_t us, Error *err)
{
    cancel_wait(pause->cancel, (int)((us + 999) / 1000));
    if (cancel_is_set(pause->cancel)) {
        return error_set(err, ERROR_CANCELLED, "interrupted");
    }
    if (pause->at_work != NULL) {
        pause->at_work(pause->at_work_context);
    }
    return STATUS_OK;
}

Status pause_for(const Pause *pause, int64_t us, Error *err)
{
    int64_t until_us = clock_monotonic_us() + us;
    for (int64_t left_us = us; left_us > 0; left_us = until_us - clock_monotonic_us()) {
        if (step(pause, MIN(left_us, (int64_t)STEP_US), err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}
