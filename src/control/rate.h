// A rate over the last seconds, not since the start: what is happening now.
#pragma once

#include <stdint.h>

/** Zero-initialised: nothing is known yet. */
typedef struct Rate {
    int64_t value;
    int64_t at_ms;
    double per_second;
} Rate;

/** The counter stands at @value. One that goes back begins anew. */
void rate_update(Rate *rate, int64_t value, int64_t now_ms);
