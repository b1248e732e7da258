// Waiting that may take long: until somebody is asked again, or until there is room.
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "io/cancel.h"

/** Whom a pause is for. */
typedef struct Pause {
    const Cancel *cancel; // ends it; may be NULL
    // Told now and then that the call that does not come back gets on. NULL: nobody wants to know.
    void (*at_work)(void *at_work_context);
    void *at_work_context;
} Pause;

/** So many microseconds. ERROR_CANCELLED. */
MUST_CHECK Status pause_for(const Pause *pause, int64_t us, Error *err);
