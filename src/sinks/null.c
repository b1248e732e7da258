// null: — counts changes and discards them: how fast is everything before the sink?
#include <stddef.h>

#include "pipeline/sink.h"

typedef struct NullSink {
    Sink base;
    uint64_t changes; // taken since open()
} NullSink;

static const Option options[] = {{0}};

static Status null_open(Sink *sink, Error *err)
{
    return STATUS_OK;
}

static Status null_resume(Sink *sink, Checkpoint *checkpoint, Error *err)
{
    return STATUS_OK;
}

static Status null_prepare(Sink *sink, const Relation *was, const Relation *now, Error *err)
{
    return STATUS_OK;
}

static Status null_write(Sink *base, const Change *changes, size_t count, Error *err)
{
    NullSink *sink = (NullSink *)base;
    if (cancel_is_set(base->context.cancel)) {
        return error_set(err, ERROR_CANCELLED, "cancelled");
    }
    sink->changes += count;
    return STATUS_OK;
}

static Status null_commit(Sink *sink, Checkpoint *changed, Error *err)
{
    return STATUS_OK;
}

static void null_close(Sink *sink)
{
}

static void null_describe_column(Sink *sink, const Column *column, Buf *ret_type)
{
    buf_cstr(ret_type, "nothing");
}

static void null_describe_table(Sink *sink, const Relation *relation, Buf *ret_name)
{
    buf_cstr(ret_name, "nowhere");
}

const SinkOps null_sink = {
    .name = "null",
    .summary = "Counts changes and discards them.",
    .options = options,
    .instance_size = sizeof(NullSink),
    .guarantee = GUARANTEE_NONE,
    .stores_checkpoint = false,
    .has_tables = false,
    .is_parallel = true,
    .open = null_open,
    .resume = null_resume,
    .prepare = null_prepare,
    .write = null_write,
    .commit = null_commit,
    .close = null_close,
    .describe_column = null_describe_column,
    .describe_table = null_describe_table,
};
