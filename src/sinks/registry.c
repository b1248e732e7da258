#include "pipeline/sink.h"

const SinkOps *const sink_registry[] = {
    NULL,
};
