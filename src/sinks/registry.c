#include "pipeline/sink.h"

extern const SinkOps sqlite_sink;

const SinkOps *const sink_registry[] = {
    &sqlite_sink,
    NULL,
};
