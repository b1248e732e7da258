// What runs, looked at once a second: rates, and what a user should be told of without asking.
#pragma once

#include "buffers/segment_log.h"
#include "control/rate.h"
#include "pipeline/runner.h"

/** A pipeline, or a part of one with a disk buffer, and what runs it. Borrowed. */
typedef struct Watched {
    const Pipeline *pipeline;
    Runner *runner;
    SegmentLog *log; // the buffer; NULL: there is none
    Str reader;      // as which the part reads it; empty: it fills it
    Runner *filler;  // what fills it; NULL: this part does, or there is none
} Watched;

/** What is known of a route at one moment. */
typedef struct RouteView {
    RouteStats stats;
    Ladder ladder; // from the server
    Rate changes;
    Rate bytes;
    Rate rows; // of its copy
} RouteView;

/** The same of one of @watched. */
typedef struct WatchedView {
    const Watched *watched;
    RunnerStats stats;
    Ladder own; // from its own source, which may be the disk buffer
    RouteView *routes;
} WatchedView;

typedef struct Monitor Monitor;

/** @watched: borrowed. */
Monitor *monitor_new(const Watched *watched, size_t count);

/** Accepts NULL. */
void monitor_free(Monitor *monitor);

/** Once a second or so. Thread: one. */
void monitor_look(Monitor *monitor, int64_t now_ms);

size_t monitor_count(const Monitor *monitor);

/** As it is now; what needs time to be known, as it was at the last look. In @arena. Thread: any.
 */
WatchedView *monitor_view(Monitor *monitor, Arena *arena);
