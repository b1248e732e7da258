#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

struct ArenaChunk {
    ArenaChunk *older;
    size_t size; // of the usable space behind this header
};

enum { ALIGNMENT = _Alignof(max_align_t) };

static size_t standard_size(const Arena *arena)
{
    return arena->chunk_size == 0 ? ARENA_CHUNK_DEFAULT : arena->chunk_size;
}

static char *chunk_space(ArenaChunk *chunk)
{
    return (char *)(chunk + 1);
}

static ArenaChunk *chunk_new(size_t size)
{
    ArenaChunk *chunk = mem_alloc(sizeof(*chunk) + size);
    chunk->size = size;
    return chunk;
}

// A request larger than a quarter of a chunk gets a chunk of its own, put behind the newest one,
// so that the free space of the newest is not thrown away.
static char *alloc_large(Arena *arena, size_t size)
{
    ArenaChunk *chunk = chunk_new(size);
    if (arena->head == NULL) {
        chunk->older = NULL;
        arena->head = chunk;
        arena->next = arena->end = chunk_space(chunk) + size;
    } else {
        chunk->older = arena->head->older;
        arena->head->older = chunk;
    }
    return chunk_space(chunk);
}

static char *alloc_slow(Arena *arena, size_t size)
{
    size_t standard = standard_size(arena);
    if (size > standard / 4) {
        return alloc_large(arena, size);
    }
    ArenaChunk *chunk = arena->spare;
    if (chunk != NULL && chunk->size == standard) {
        arena->spare = chunk->older;
    } else {
        chunk = chunk_new(standard);
    }
    chunk->older = arena->head;
    arena->head = chunk;
    arena->next = chunk_space(chunk) + size;
    arena->end = chunk_space(chunk) + chunk->size;
    return chunk_space(chunk);
}

char *arena_alloc_bytes(Arena *arena, size_t size)
{
    assert(arena != NULL);
    arena->total += size;
    // An empty arena has no space at all, not even for nothing: the result is never NULL.
    if (size <= (size_t)(arena->end - arena->next) && arena->next != NULL) {
        char *result = arena->next;
        arena->next += size;
        return result;
    }
    return alloc_slow(arena, size);
}

void *arena_alloc(Arena *arena, size_t size)
{
    assert(arena != NULL);
    assert(size < SIZE_MAX / 2);
    size_t padding = (size_t)(-(uintptr_t)arena->next) % ALIGNMENT;
    if (padding < (size_t)(arena->end - arena->next)) {
        arena->next += padding;
    } else {
        arena->next = arena->end;
    }
    // Rounded up, so that text behind it does not cost the next allocation its alignment. Nothing
    // counts as one byte: the end of a chunk, which is free for nothing, need not be aligned.
    size_t rounded = (MAX(size, (size_t)1) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    char *result = arena_alloc_bytes(arena, rounded);
    assert((uintptr_t)result % ALIGNMENT == 0);
    return result;
}

void *arena_alloc_zero(Arena *arena, size_t size)
{
    return memset(arena_alloc(arena, size), 0, size);
}

void *arena_alloc_array(Arena *arena, size_t size, size_t count)
{
    assert(size > 0);
    assert(count <= SIZE_MAX / 2 / size);
    return arena_alloc_zero(arena, size * count);
}

char *arena_copy(Arena *arena, const void *data, size_t len)
{
    char *copy = arena_alloc_bytes(arena, len + 1);
    if (len > 0) {
        memcpy(copy, data, len);
    }
    copy[len] = '\0';
    return copy;
}

char *arena_printf(Arena *arena, const char *format, ...)
{
    assert(format != NULL);
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    assert(len >= 0);
    char *text = arena_alloc_bytes(arena, (size_t)len + 1);
    va_start(args, format);
    (void)vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

static void free_list(ArenaChunk *chunk)
{
    while (chunk != NULL) {
        ArenaChunk *older = chunk->older;
        mem_free(chunk);
        chunk = older;
    }
}

void arena_recycle(Arena *arena, size_t keep_max)
{
    assert(arena != NULL);
    ArenaChunk *lists[] = {arena->spare, arena->head};
    size_t kept = 0;
    arena->spare = NULL;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        for (ArenaChunk *chunk = lists[i]; chunk != NULL;) {
            ArenaChunk *older = chunk->older;
            if (kept < keep_max && chunk->size == standard_size(arena)) {
                chunk->older = arena->spare;
                arena->spare = chunk;
                kept++;
            } else {
                mem_free(chunk);
            }
            chunk = older;
        }
    }
    arena->head = NULL;
    arena->next = arena->end = NULL;
    arena->total = 0;
}

void arena_reset(Arena *arena)
{
    arena_recycle(arena, 1);
}

void arena_done(Arena *arena)
{
    if (arena == NULL) {
        return;
    }
    free_list(arena->head);
    free_list(arena->spare);
    arena->head = arena->spare = NULL;
    arena->next = arena->end = NULL;
    arena->total = 0;
}
