// What runs, looked at once a second: rates, and what a user should be told of without asking.
#pragma once

#include "buffers/segment_log.h"
#include "control/rate.h"
#include "control/wal_guard.h"
#include "control/watchdog.h"
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
    Stage stalled;
    int64_t stalled_ms;
} RouteView;

/** The same of one of @watched. */
typedef struct WatchedView {
    const Watched *watched;
    RunnerStats stats;
    Ladder own; // from its own source, which may be the disk buffer
    RouteView *routes;
    Stage stalled; // before the routes
    int64_t stalled_ms;
    bool has_slot;
    WalFigures wal;      // of the slot
    int64_t wal_left_ms; // until it is lost; -1: for ever, or not known
    WalVerdict wal_verdict;
    double written_per_second; // bytes of WAL on the server; -1: not known yet
} WatchedView;

/** Another number than before: the route moves. @counts_work: also when its target is only seen to
 *  be at work for it. */
uint64_t route_progress(const RouteStats *route, bool counts_work);

typedef struct Monitor Monitor;

/** @watched: borrowed. */
Monitor *monitor_new(const Watched *watched, size_t count);

/** Accepts NULL. */
void monitor_free(Monitor *monitor);

/** Once a second or so. Says what is to be said, in the log. Thread: one. */
void monitor_look(Monitor *monitor, int64_t now_ms);

size_t monitor_count(const Monitor *monitor);

/** As it is now; what needs time to be known, as it was at the last look. In @arena. Thread: any.
 */
WatchedView *monitor_view(Monitor *monitor, Arena *arena);
