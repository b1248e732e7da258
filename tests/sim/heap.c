// base/mem for the simulated process. Blocks come from one mapping and go to lists by size; when
// the process dies, all of it is dropped at once. What was freed is overwritten: who still reads it
// is found.
#include <assert.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "sim.h"

enum { SMALL_STEP = 32, SMALL_MAX = 1024, SMALL_CLASSES = SMALL_MAX / SMALL_STEP, LISTS = 64 };
enum { POISON = 0xDD, POISON_BYTES = 512 };

#define HEAP_BYTES ((size_t)8 << 30) // of addresses; memory is taken as it is touched

typedef struct Block {
    size_t list;
    struct Block *next;
} Block;

static char *heap;
static size_t used;
static size_t in_use;
static Block *lists[LISTS];

static size_t list_of(size_t size)
{
    if (size <= SMALL_MAX) {
        return size == 0 ? 0 : (size - 1) / SMALL_STEP;
    }
    return SMALL_CLASSES + (size_t)(64 - __builtin_clzll(size - 1)) - 10;
}

static size_t size_of(size_t list)
{
    return list < SMALL_CLASSES ? (list + 1) * SMALL_STEP
                                : (size_t)1 << (list - SMALL_CLASSES + 10);
}

void heap_reset(void)
{
    used = 0;
    in_use = 0;
    memset(lists, 0, sizeof(lists));
}

size_t heap_count(void)
{
    return in_use;
}

static void map_heap(void)
{
    heap = mmap(NULL, HEAP_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert(heap != MAP_FAILED);
}

void *mem_alloc(size_t size)
{
    if (heap == NULL) {
        map_heap();
    }
    size_t list = list_of(size);
    assert(list < LISTS);
    in_use++;
    Block *block = lists[list];
    if (block != NULL) {
        lists[list] = block->next;
        return block + 1;
    }
    size_t bytes = sizeof(Block) + size_of(list);
    assert(used + bytes <= HEAP_BYTES);
    block = (Block *)(void *)(heap + used);
    used += bytes;
    block->list = list;
    return block + 1;
}

void *mem_alloc_zero(size_t size)
{
    return memset(mem_alloc(size), 0, size);
}

void *mem_resize(void *ptr, size_t size)
{
    if (ptr == NULL) {
        return mem_alloc(size);
    }
    size_t room = size_of(((Block *)ptr - 1)->list);
    if (size <= room) {
        return ptr;
    }
    void *bigger = mem_alloc(size);
    memcpy(bigger, ptr, room);
    mem_free(ptr);
    return bigger;
}

void mem_free(void *ptr)
{
    if (ptr == NULL) {
        return;
    }
    Block *block = (Block *)ptr - 1;
    size_t size = size_of(block->list);
    memset(ptr, POISON, MIN(size, (size_t)POISON_BYTES));
    assert(in_use > 0);
    in_use--;
    block->next = lists[block->list];
    lists[block->list] = block;
}
