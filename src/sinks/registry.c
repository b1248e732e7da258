#include "pipeline/sink.h"

extern const SinkOps duckdb_sink;
extern const SinkOps file_sink;
extern const SinkOps http_sink;
extern const SinkOps null_sink;
extern const SinkOps postgres_sink;
extern const SinkOps sqlite_sink;
extern const SinkOps stdout_sink;

const SinkOps *const sink_registry[] = {
    &null_sink,     &stdout_sink, &file_sink,   &http_sink,
    &postgres_sink, &sqlite_sink, &duckdb_sink, NULL,
};
