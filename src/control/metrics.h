// What runs, in the text format of Prometheus.
#pragma once

#include "base/buf.h"
#include "control/monitor.h"

/** Every figure of all that @monitor watches. Thread: any. */
void metrics_write(Monitor *monitor, Buf *out);
