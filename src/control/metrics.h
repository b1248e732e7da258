// What runs, in the text format of Prometheus, and whether it is well.
#pragma once

#include "control/http.h"
#include "pipeline/runner.h"

/** A pipeline and what runs it. Borrowed. */
typedef struct Watched {
    const Pipeline *pipeline;
    Runner *runner;
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
