#include "pipeline/checkpoint.h"

#include <assert.h>

#include "base/mem.h"

static CheckpointEntry *find(const Checkpoint *checkpoint, Str key)
{
    for (size_t i = 0; i < checkpoint->count; i++) {
        if (str_equal(checkpoint->entries[i].key, key)) {
            return &checkpoint->entries[i];
        }
    }
    return NULL;
}

static Str copy_value(Arena *arena, Str value)
{
    return value.ptr == NULL ? value : str_copy(arena, value);
}

void checkpoint_set(Checkpoint *checkpoint, Str key, Str value)
{
    assert(key.len > 0);
    CheckpointEntry *entry = find(checkpoint, key);
    if (entry != NULL) {
        entry->value = copy_value(&checkpoint->arena, value);
        return;
    }
    if (checkpoint->count == checkpoint->capacity) {
        checkpoint->capacity = MAX(checkpoint->capacity * 2, (size_t)8);
        checkpoint->entries =
            mem_resize(checkpoint->entries, checkpoint->capacity * sizeof(CheckpointEntry));
    }
    checkpoint->entries[checkpoint->count++] =
        (CheckpointEntry){str_copy(&checkpoint->arena, key), copy_value(&checkpoint->arena, value)};
}

const CheckpointEntry *checkpoint_get(const Checkpoint *checkpoint, Str key)
{
    const CheckpointEntry *entry = find(checkpoint, key);
    return entry == NULL || entry->value.ptr == NULL ? NULL : entry;
}

bool checkpoint_says(const Checkpoint *checkpoint, Str key, const char *value)
{
    const CheckpointEntry *entry = checkpoint_get(checkpoint, key);
    return entry != NULL && str_is(entry->value, value);
}

Status checkpoint_check_copied(const Checkpoint *checkpoint, Error *err)
{
    return checkpoint_says(checkpoint, CHECKPOINT_COPIES, "no")
               ? error_set(err, ERROR_CONFIG,
                           "the pipeline was last run without copies: brought on from there as one "
                           "that makes them, it would pass over tables that are new")
               : STATUS_OK;
}

void checkpoint_reset(Checkpoint *checkpoint)
{
    checkpoint->count = 0;
    arena_reset(&checkpoint->arena);
}

void checkpoint_done(Checkpoint *checkpoint)
{
    arena_done(&checkpoint->arena);
    mem_free(checkpoint->entries);
    *checkpoint = (Checkpoint){0};
}
