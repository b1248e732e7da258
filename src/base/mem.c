#include "base/mem.h"

#include <malloc.h>

// The one place that may call them (base/banned.h).
#undef malloc
#undef calloc
#undef realloc

enum { LARGE_BLOCK = 64 * 1024 };

static void *check(void *ptr, size_t size)
{
    if (ptr == NULL) {
        (void)fprintf(stderr, "weir: out of memory (%zu bytes)\n", size);
        abort();
    }
    return ptr;
}

void *mem_alloc(size_t size)
{
    return check(malloc(size == 0 ? 1 : size), size);
}

void *mem_alloc_zero(size_t size)
{
    return check(calloc(1, size == 0 ? 1 : size), size);
}

void *mem_resize(void *ptr, size_t size)
{
    return check(realloc(ptr, size == 0 ? 1 : size), size);
}

void mem_free(void *ptr)
{
    free(ptr);
}

void mem_return_large(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
#endif
}
