// stdout: — one line an event to standard output. At least once: what the reader took in before a
// crash is not known, so it is sent again.
#include <unistd.h>

#include "io/file.h"
#include "sinks/events.h"

static const char name[] = "standard output";

typedef struct StdoutSink {
    Sink base;
    CodecOptions codec;
    Events events;
    bool in_line; // what was written does not end with a line end
} StdoutSink;

static const Option options[] = {
    CODEC_OPTIONS(StdoutSink, codec),
    {0},
};

static Status stdout_validate(Sink *base, Error *err)
{
    return codec_options_check(&((StdoutSink *)base)->codec, err);
}

static Status stdout_open(Sink *base, Error *err)
{
    StdoutSink *sink = (StdoutSink *)base;
    events_init(&sink->events, &sink->codec);
    return STATUS_OK;
}

static Status stdout_resume(Sink *base, Checkpoint *checkpoint, Error *err)
{
    return STATUS_OK;
}

static Status stdout_prepare(Sink *base, const Relation *was, const Relation *now, Error *err)
{
    return STATUS_OK;
}

static Status flush(Sink *base, Error *err)
{
    StdoutSink *sink = (StdoutSink *)base;
    Str data = buf_view(&sink->events.out);
    sink->in_line = data.len > 0 ? data.ptr[data.len - 1] != '\n' : sink->in_line;
    Status status = stream_write(STDOUT_FILENO, name, data, base->context.cancel, err);
    events_reset(&sink->events);
    return status;
}

static Status stdout_write(Sink *base, const Change *changes, size_t count, Error *err)
{
    return events_write(&((StdoutSink *)base)->events, base, changes, count, flush, err);
}

static Status stdout_commit(Sink *base, Checkpoint *changed, Error *err)
{
    return events_finish(&((StdoutSink *)base)->events, base, flush, err);
}

static void stdout_close(Sink *base)
{
    StdoutSink *sink = (StdoutSink *)base;
    // A transaction that was cut in its line is sent again: on a line of its own. When nobody reads
    // any more, that is as good as it gets.
    if (sink->in_line && !cancel_is_set(base->context.cancel)) {
        Status status = stream_write(STDOUT_FILENO, name, STR("\n"), base->context.cancel, NULL);
        (void)status;
    }
    events_done(&sink->events);
}

static void stdout_describe_column(Sink *base, const Column *column, Buf *ret_type)
{
    codec_find(&((StdoutSink *)base)->codec)->describe_column(column, ret_type);
}

static void stdout_describe_table(Sink *base, const Relation *relation, Buf *ret_name)
{
    buf_cstr(ret_name, name);
}

const SinkOps stdout_sink = {
    .name = "stdout",
    .summary = "One JSON object a line, to standard output.",
    .options = options,
    .instance_size = sizeof(StdoutSink),
    .guarantee = GUARANTEE_AT_LEAST_ONCE,
    .stores_checkpoint = false,
    .has_tables = false,
    .is_parallel = false,
    .validate = stdout_validate,
    .open = stdout_open,
    .resume = stdout_resume,
    .prepare = stdout_prepare,
    .write = stdout_write,
    .commit = stdout_commit,
    .close = stdout_close,
    .describe_column = stdout_describe_column,
    .describe_table = stdout_describe_table,
};
