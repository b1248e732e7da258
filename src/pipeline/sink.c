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

// An instance that nothing was opened with: it needs no close().
static void discard(Sink *sink)
{
    arena_done(&sink->options_arena);
    mem_free(sink);
}

Status sink_new(const SinkOps *ops, Settings *settings, const SinkContext *context, Sink **ret,
                Error *err)
{
    assert(ops->instance_size >= sizeof(Sink));
    Sink *sink = mem_alloc_zero(ops->instance_size);
    sink->ops = ops;
    sink->context = *context;
    Status status = options_apply(ops->options, sink, settings, &sink->options_arena, err);
    if (status == STATUS_OK && ops->validate != NULL) {
        status = ops->validate(sink, err);
        if (status != STATUS_OK && settings->origin.len > 0) {
            error_wrap(err, "%" STR_FMT, STR_ARG(settings->origin));
        }
    }
    if (status != STATUS_OK) {
        discard(sink);
        return STATUS_FAIL;
    }
    *ret = sink;
    return STATUS_OK;
}

Status sink_validate(const SinkOps *ops, Settings *settings, Error *err)
{
    static const SinkContext nothing = {.pipeline = ""};
    Sink *sink;
    if (sink_new(ops, settings, &nothing, &sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    discard(sink);
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
