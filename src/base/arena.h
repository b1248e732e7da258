// Memory with one lifetime. An arena is named for how long it lives (process, connection, batch,
// scratch) and handed over explicitly; whoever keeps a thing longer copies it into their own arena.
#pragma once

#include <stddef.h>

#include "base/macros.h"

typedef struct ArenaChunk ArenaChunk;

/** Zero-initialised is an empty arena with the default chunk size. Not thread-safe. */
typedef struct Arena {
    ArenaChunk *head;  // chunks in use, newest first
    ArenaChunk *spare; // standard chunks for later
    char *next;        // free space of the newest chunk
    char *end;
    size_t chunk_size; // 0: ARENA_CHUNK_DEFAULT
    size_t total;      // bytes handed out since the last reset
} Arena;

enum { ARENA_CHUNK_DEFAULT = 64 * 1024 };

/** @size bytes, aligned for any type, not zeroed. Never NULL. */
RETURNS_NONNULL void *arena_alloc(Arena *arena, size_t size);

/** The same, zeroed. */
RETURNS_NONNULL void *arena_alloc_zero(Arena *arena, size_t size);

/** @size bytes without alignment: for text. */
RETURNS_NONNULL char *arena_alloc_bytes(Arena *arena, size_t size);

/** A copy of @len bytes with a NUL behind them. */
RETURNS_NONNULL char *arena_copy(Arena *arena, const void *data, size_t len);

/** A formatted string with a NUL behind it. */
RETURNS_NONNULL char *arena_printf(Arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);

/** Forget everything, keep one chunk for the next round. */
void arena_reset(Arena *arena);

/** Forget everything, keep chunks of the standard size, @keep_max at the most, for the next round.
 */
void arena_recycle(Arena *arena, size_t keep_max);

/** Free everything. The arena is empty and can be used again. */
void arena_done(Arena *arena);

/** Array of @count elements of @type, zeroed. */
#define ARENA_ARRAY(arena, type, count) ((type *)arena_alloc_array(arena, sizeof(type), count))

RETURNS_NONNULL void *arena_alloc_array(Arena *arena, size_t size, size_t count);
