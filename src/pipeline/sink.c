#include "pipeline/sink.h"

#include <assert.h>

#include "base/mem.h"

const SinkOps *sink_find(Str name)
{
    for (const SinkOps *const *ops = sink_registry; *ops != NULL; ops++) {
        if (str_is(name, (*ops)->name)) {
            return *ops;
        }
    }
    return NULL;
}

const char *sink_guarantee_name(SinkGuarantee guarantee)
{
    switch (guarantee) {
    case GUARANTEE_NONE:
        return "none";
    case GUARANTEE_AT_LEAST_ONCE:
        return "at-least-once";
    case GUARANTEE_IDEMPOTENT:
        return "idempotent";
    case GUARANTEE_EXACTLY_ONCE:
        return "exactly-once";
    }
    return "unknown";
}

Status sink_new(const SinkOps *ops, Settings *settings, const SinkContext *context, Sink **ret,
                Error *err)
{
    assert(ops->instance_size >= sizeof(Sink));
    Sink *sink = mem_alloc_zero(ops->instance_size);
    sink->ops = ops;
    sink->context = *context;
    if (options_apply(ops->options, sink, settings, &sink->options_arena, err) != STATUS_OK ||
        (ops->validate != NULL && ops->validate(sink, err) != STATUS_OK)) {
        arena_done(&sink->options_arena);
        mem_free(sink);
        return STATUS_FAIL;
    }
    *ret = sink;
    return STATUS_OK;
}

void sink_free(Sink *sink)
{
    if (sink == NULL) {
        return;
    }
    sink->ops->close(sink);
    arena_done(&sink->options_arena);
    mem_free(sink);
}
