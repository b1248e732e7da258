#include "pipeline/source.h"

#include <assert.h>

#include "base/mem.h"

const SourceOps *source_find(Str name)
{
    for (const SourceOps *const *ops = source_registry; *ops != NULL; ops++) {
        if (str_is(name, (*ops)->name)) {
            return *ops;
        }
    }
    return NULL;
}

Status source_new(const SourceOps *ops, Settings *settings, const SourceContext *context,
                  Source **ret, Error *err)
{
    assert(ops->instance_size >= sizeof(Source));
    Source *source = mem_alloc_zero(ops->instance_size);
    source->ops = ops;
    source->context = *context;
    if (options_apply(ops->options, source, settings, &source->options_arena, err) != STATUS_OK ||
        (ops->validate != NULL && ops->validate(source, err) != STATUS_OK)) {
        arena_done(&source->options_arena);
        mem_free(source);
        return STATUS_FAIL;
    }
    *ret = source;
    return STATUS_OK;
}

void source_free(Source *source)
{
    if (source == NULL) {
        return;
    }
    source->ops->close(source);
    arena_done(&source->options_arena);
    mem_free(source);
}
