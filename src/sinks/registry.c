#include "pipeline/sink.h"

extern const SinkOps null_sink;
extern const SinkOps sqlite_sink;

const SinkOps *const sink_registry[] = {
    &null_sink,
    &sqlite_sink,
    NULL,
};
