#include "control/rate.h"

enum { WINDOW_MS = 2000, FIRST_MS = 400 };

void rate_update(Rate *rate, int64_t value, int64_t now_ms)
{
    int64_t elapsed = now_ms - rate->at_ms;
    if (rate->at_ms == 0 || value < rate->value) {
        *rate = (Rate){value, now_ms, 0};
    } else if (elapsed >= WINDOW_MS || (rate->per_second <= 0 && elapsed >= FIRST_MS)) {
        *rate = (Rate){value, now_ms, (double)(value - rate->value) * 1000 / (double)elapsed};
    }
}
