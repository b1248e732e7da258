#include "pipeline/source.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

enum { BATCH_BYTES = 2 << 20, LEAST_BYTES = 256 << 10 };

const SourceOps *source_find(Str name)
{
    for (const SourceOps *const *ops = source_registry; *ops != NULL; ops++) {
        if (str_is(name, (*ops)->name)) {
            return *ops;
        }
    }
    return NULL;
}

// An instance that nothing was opened with: it needs no close().
static void discard(Source *source)
{
    arena_done(&source->options_arena);
    mem_free(source);
}

Status source_new(const SourceOps *ops, Settings *settings, const SourceContext *context,
                  Source **ret, Error *err)
{
    assert(ops->instance_size >= sizeof(Source));
    Source *source = mem_alloc_zero(ops->instance_size);
    source->ops = ops;
    source->context = *context;
    Status status = options_apply(ops->options, source, settings, &source->options_arena, err);
    if (status == STATUS_OK && ops->validate != NULL) {
        status = ops->validate(source, err);
        if (status != STATUS_OK && settings->origin.len > 0) {
            error_wrap(err, "%" STR_FMT, STR_ARG(settings->origin));
        }
    }
    if (status != STATUS_OK) {
        discard(source);
        return STATUS_FAIL;
    }
    *ret = source;
    return STATUS_OK;
}

Status source_validate(const SourceOps *ops, Settings *settings, Error *err)
{
    static const SourceContext nothing = {.pipeline = ""};
    Source *source;
    if (source_new(ops, settings, &nothing, &source, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    discard(source);
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

const char *source_spill_directory(const Source *source)
{
    if (source->spill_directory != NULL) {
        return source->spill_directory;
    }
    if (source->context.directory != NULL) {
        return source->context.directory;
    }
    const char *temporary = getenv("TMPDIR");
    return temporary != NULL && temporary[0] != '\0' ? temporary : "/var/tmp";
}

bool source_batch_is_full(const Source *source, Batch *batch, bool in_transaction)
{
    size_t most = mem_part(BATCH_BYTES, source->context.sharers, LEAST_BYTES);
    if (!in_transaction) {
        batch->whole_bytes = batch->bytes;
        return batch->bytes >= most;
    }
    return batch->bytes - batch->whole_bytes >= most;
}
