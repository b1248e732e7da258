// What runs, in the text format of Prometheus, and whether it is well.
#pragma once

#include "buffers/segment_log.h"
#include "control/http.h"
#include "pipeline/runner.h"

/** A pipeline, or a part of one with a disk buffer, and what runs it. Borrowed. */
typedef struct Watched {
    const Pipeline *pipeline;
    Runner *runner;
    SegmentLog *log; // the buffer; NULL: there is none
    Str reader;      // as which the part reads it; empty: it fills it
} Watched;

typedef struct MetricsServer MetricsServer;

/** Every figure of all of @watched. Thread: any. */
void metrics_write(const Watched *watched, size_t count, Buf *out);

/**
 * Serve /metrics and /health on @address (see http_start()) until metrics_stop(). /health is 200
 * when every pipeline copies or streams, and 503 when one of them waits to retry or has ended.
 */
MUST_CHECK Status metrics_start(Str address, const Watched *watched, size_t count,
                                MetricsServer **ret, Error *err);

/** Accepts NULL. */
void metrics_stop(MetricsServer *server);
