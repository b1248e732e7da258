// Memory that cannot fail. Running out of memory ends the process: every pipeline can be restarted
// from its checkpoint at any moment, so a branch for it would only be code that is never tested.
// Sizes that come from outside are checked against base/limits.h before they get here.
#pragma once

#include <stddef.h>

#include "base/macros.h"

/** @size bytes, not zeroed. Free with mem_free(). */
RETURNS_NONNULL void *mem_alloc(size_t size);

/** @size bytes, zeroed. Free with mem_free(). */
RETURNS_NONNULL void *mem_alloc_zero(size_t size);

/** Grow or shrink @ptr (NULL: allocate) to @size bytes. */
RETURNS_NONNULL void *mem_resize(void *ptr, size_t size);

/** Accepts NULL. */
void mem_free(void *ptr);

/**
 * For the program, before its first thread: blocks as large as a batch's go back to the system when
 * they are freed. The C library would keep them for later, each thread its own.
 */
void mem_return_large(void);

/**
 * What of @bytes one of @sharers (0: there is one) may take, but at least @least: a process with
 * many pipelines is to take little more memory than one with a single pipeline.
 */
static inline size_t mem_part(size_t bytes, size_t sharers, size_t least)
{
    return MAX(bytes / MAX(sharers, (size_t)1), least);
}
