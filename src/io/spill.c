// In memory a record is its length (4 bytes, host order) and its bytes, one behind the other in
// chunks, never across two. On disk it is the same, but runs on from block to block. A record is
// either in memory or on disk, and all that are in memory come before those on disk: so a spill
// never has to be moved, and the budget is kept however many there are.
//
// One buffer of a block serves all spills of a store: only one is written at a time. It is written
// out when another one's turn comes.
#include "io/spill.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/crash_point.h"
#include "base/mem.h"
#include "io/file.h"

enum {
    CHUNK_BYTES = 64 * 1024,
    BLOCK_BYTES = 64 * 1024,
    HEADER_BYTES = sizeof(uint32_t),
};

typedef struct Chunk Chunk;
struct Chunk {
    Chunk *next;
    size_t used;
    size_t capacity;
    char bytes[];
};

typedef struct BlockList {
    uint32_t *items;
    size_t count;
    size_t capacity;
} BlockList;

struct SpillStore {
    Arena arena;
    const char *directory;
    const char *path; // for messages: the file has no name
    size_t memory_max;
    File file;
    BlockList free;
    uint32_t blocks; // of the file, free ones among them
    Spill *writer;   // whose last block the buffer has; NULL: nobody's
    char *buffer;
    size_t written; // of the buffer: bytes that the file has, too
};

struct Spill {
    SpillStore *store;
    Chunk *first;
    Chunk *last;
    uint64_t memory_bytes; // of records with their headers
    uint64_t memory_records;
    BlockList blocks;
    uint64_t disk_bytes; // of records with their headers
    uint64_t disk_records;
    // Reading.
    bool is_reading;
    size_t chunk_at; // in the first one
    uint64_t disk_at;
    char *block;
    Buf record; // one that lies in several blocks
};

static atomic_size_t memory_used;

size_t spill_memory_used(void)
{
    return atomic_load(&memory_used);
}

void spill_memory_change(size_t was, size_t now)
{
    atomic_fetch_add(&memory_used, now - was); // modulo the size of the type
}

static void list_push(BlockList *list, uint32_t block)
{
    if (list->count == list->capacity) {
        list->capacity = MAX(list->capacity * 2, (size_t)16);
        list->items = mem_resize(list->items, list->capacity * sizeof(*list->items));
    }
    list->items[list->count++] = block;
}

// ---------------------------------------------------------------------------------------------
// The file
// ---------------------------------------------------------------------------------------------

static Status open_file(SpillStore *store, Error *err)
{
    if (store->file.fd >= 0) {
        return STATUS_OK;
    }
    if (file_open_unnamed(&store->file, store->directory, store->path, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    store->buffer = mem_alloc(BLOCK_BYTES);
    return STATUS_OK;
}

static uint64_t offset_of(uint32_t block)
{
    return (uint64_t)block * BLOCK_BYTES;
}

static uint32_t take_block(SpillStore *store)
{
    return store->free.count > 0 ? store->free.items[--store->free.count] : store->blocks++;
}

static int compare_blocks(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

// They lie side by side where the spill was written alone: few holes are made of many blocks.
static void make_holes(const SpillStore *store, const BlockList *blocks)
{
    size_t begin = 0;
    for (size_t i = 1; i <= blocks->count; i++) {
        if (i < blocks->count && blocks->items[i] == blocks->items[i - 1] + 1) {
            continue;
        }
        // Only room is lost by a failure: not every file system can do it.
        Status ignored = file_punch(&store->file, offset_of(blocks->items[begin]),
                                    offset_of((uint32_t)(i - begin)), NULL);
        (void)ignored;
        begin = i;
    }
}

// The first ones are taken first again, so that also the next spill's lie side by side.
static void give_back_blocks(SpillStore *store, BlockList *blocks)
{
    if (blocks->count == 0) {
        return;
    }
    qsort(blocks->items, blocks->count, sizeof(*blocks->items), compare_blocks);
    for (size_t i = blocks->count; i > 0; i--) {
        list_push(&store->free, blocks->items[i - 1]);
    }
    if (store->free.count < store->blocks) {
        make_holes(store, blocks);
        return;
    }
    store->free.count = 0;
    store->blocks = 0;
    // The same: it is tried again when they have all come back once more.
    Status ignored = file_truncate(&store->file, 0, NULL);
    (void)ignored;
}

// How much of the last block is in use: all of it rather than nothing.
static size_t fill_of_last_block(const Spill *spill)
{
    size_t rest = (size_t)(spill->disk_bytes % BLOCK_BYTES);
    return rest == 0 && spill->disk_bytes > 0 ? BLOCK_BYTES : rest;
}

static Status write_buffer(SpillStore *store, Error *err)
{
    const Spill *writer = store->writer;
    if (writer == NULL || writer->blocks.count == 0) {
        return STATUS_OK;
    }
    size_t fill = fill_of_last_block(writer);
    uint64_t offset = offset_of(writer->blocks.items[writer->blocks.count - 1]) + store->written;
    Str bytes = {store->buffer + store->written, fill - store->written};
    CRASH_POINT("spill-begins");
    if (file_write(&store->file, offset, bytes, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("spill-written");
    store->written = fill;
    return STATUS_OK;
}

// The buffer is @spill's from now on.
static Status become_writer(Spill *spill, Error *err)
{
    SpillStore *store = spill->store;
    if (store->writer == spill) {
        return STATUS_OK;
    }
    if (write_buffer(store, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    store->writer = spill;
    store->written = fill_of_last_block(spill);
    return STATUS_OK;
}

static Status append_to_file(Spill *spill, Str bytes, Error *err)
{
    SpillStore *store = spill->store;
    while (bytes.len > 0) {
        if (spill->disk_bytes == (uint64_t)spill->blocks.count * BLOCK_BYTES) {
            if (write_buffer(store, err) != STATUS_OK) {
                return STATUS_FAIL;
            }
            list_push(&spill->blocks, take_block(store));
            store->written = 0;
        }
        size_t fill = (size_t)(spill->disk_bytes % BLOCK_BYTES);
        size_t step = MIN(bytes.len, BLOCK_BYTES - fill);
        memcpy(store->buffer + fill, bytes.ptr, step);
        spill->disk_bytes += step;
        bytes = (Str){bytes.ptr + step, bytes.len - step};
    }
    return STATUS_OK;
}

static Status append_on_disk(Spill *spill, Str record, Error *err)
{
    uint32_t len = (uint32_t)record.len;
    if (open_file(spill->store, err) != STATUS_OK || become_writer(spill, err) != STATUS_OK ||
        append_to_file(spill, (Str){(const char *)&len, sizeof(len)}, err) != STATUS_OK ||
        append_to_file(spill, record, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    spill->disk_records++;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Memory
// ---------------------------------------------------------------------------------------------

// Within the budget; NULL: there is no room for @need bytes.
static Chunk *new_chunk(const SpillStore *store, size_t need)
{
    size_t capacity = MAX(need, (size_t)CHUNK_BYTES - sizeof(Chunk));
    size_t size = sizeof(Chunk) + capacity;
    if (atomic_fetch_add(&memory_used, size) + size > store->memory_max) {
        atomic_fetch_sub(&memory_used, size);
        return NULL;
    }
    Chunk *chunk = mem_alloc(size);
    chunk->next = NULL;
    chunk->used = 0;
    chunk->capacity = capacity;
    return chunk;
}

static void free_first_chunk(Spill *spill)
{
    Chunk *next = spill->first->next;
    atomic_fetch_sub(&memory_used, sizeof(Chunk) + spill->first->capacity);
    mem_free(spill->first);
    spill->first = next;
}

static void free_chunks(Spill *spill)
{
    while (spill->first != NULL) {
        free_first_chunk(spill);
    }
}

static bool append_in_memory(Spill *spill, Str record)
{
    if (spill->disk_records > 0) {
        return false; // what is on disk comes behind what is in memory
    }
    uint32_t len = (uint32_t)record.len;
    size_t need = HEADER_BYTES + record.len;
    if (spill->last == NULL || need > spill->last->capacity - spill->last->used) {
        Chunk *chunk = new_chunk(spill->store, need);
        if (chunk == NULL) {
            return false;
        }
        *(spill->last == NULL ? &spill->first : &spill->last->next) = chunk;
        spill->last = chunk;
    }
    char *at = spill->last->bytes + spill->last->used;
    memcpy(at, &len, sizeof(len));
    if (record.len > 0) {
        memcpy(at + HEADER_BYTES, record.ptr, record.len);
    }
    spill->last->used += need;
    spill->memory_bytes += need;
    spill->memory_records++;
    return true;
}

// ---------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------

SpillStore *spill_store_new(const char *directory, size_t memory_max)
{
    SpillStore *store = mem_alloc_zero(sizeof(*store));
    store->directory = arena_printf(&store->arena, "%s", directory);
    store->path = arena_printf(&store->arena, "%s/weir-spill", directory);
    store->memory_max = memory_max;
    store->file = FILE_CLOSED;
    return store;
}

void spill_store_free(SpillStore *store)
{
    if (store == NULL) {
        return;
    }
    assert(store->free.count == store->blocks || store->blocks == 0);
    file_close(&store->file);
    mem_free(store->free.items);
    mem_free(store->buffer);
    arena_done(&store->arena);
    mem_free(store);
}

Status spill_check(const char *directory, Error *err)
{
    Arena scratch = {0};
    bool exists;
    Status status = file_check(arena_printf(&scratch, "%s/weir-spill", directory), &exists, err);
    arena_done(&scratch);
    return status;
}

Spill *spill_new(SpillStore *store)
{
    Spill *spill = mem_alloc_zero(sizeof(*spill));
    spill->store = store;
    buf_init(&spill->record, UINT32_MAX);
    return spill;
}

void spill_free(Spill *spill)
{
    if (spill == NULL) {
        return;
    }
    SpillStore *store = spill->store;
    if (store->writer == spill) {
        store->writer = NULL;
    }
    give_back_blocks(store, &spill->blocks);
    free_chunks(spill);
    buf_done(&spill->record);
    mem_free(spill->blocks.items);
    mem_free(spill->block);
    mem_free(spill);
}

Status spill_append(Spill *spill, Str record, Error *err)
{
    assert(!spill->is_reading);
    if (record.len > UINT32_MAX) {
        return error_set(err, ERROR_DATA, "a record of %zu bytes is too large to be kept",
                         record.len);
    }
    return append_in_memory(spill, record) ? STATUS_OK : append_on_disk(spill, record, err);
}

uint64_t spill_size(const Spill *spill)
{
    return spill->memory_bytes + spill->disk_bytes -
           (spill->memory_records + spill->disk_records) * HEADER_BYTES;
}

uint64_t spill_size_on_disk(const Spill *spill)
{
    return spill->disk_bytes - spill->disk_records * HEADER_BYTES;
}

// ---------------------------------------------------------------------------------------------
// Reading
// ---------------------------------------------------------------------------------------------

static Status start_reading(Spill *spill, Error *err)
{
    spill->is_reading = true;
    if (spill->disk_records == 0) {
        return STATUS_OK;
    }
    if (spill->store->writer == spill) {
        if (write_buffer(spill->store, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        spill->store->writer = NULL;
    }
    spill->block = mem_alloc(BLOCK_BYTES);
    return STATUS_OK;
}

static Str take_from_memory(Spill *spill)
{
    uint32_t len;
    const char *at = spill->first->bytes + spill->chunk_at;
    memcpy(&len, at, sizeof(len));
    spill->chunk_at += HEADER_BYTES + len;
    assert(spill->chunk_at <= spill->first->used);
    return (Str){at + HEADER_BYTES, len};
}

// What there is of the current block, and no more than @wanted bytes.
static Status take_from_block(Spill *spill, size_t wanted, Str *ret, Error *err)
{
    size_t at = (size_t)(spill->disk_at % BLOCK_BYTES);
    uint64_t left = spill->disk_bytes - spill->disk_at;
    if (at == 0) {
        uint32_t block = spill->blocks.items[spill->disk_at / BLOCK_BYTES];
        if (file_read(&spill->store->file, offset_of(block), spill->block,
                      (size_t)MIN(left, (uint64_t)BLOCK_BYTES), err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    *ret = (Str){spill->block + at, MIN(wanted, BLOCK_BYTES - at)};
    spill->disk_at += ret->len;
    return STATUS_OK;
}

// Exactly @wanted bytes: where they are, or put together when they lie in several blocks.
static Status take_from_disk(Spill *spill, size_t wanted, Str *ret, Error *err)
{
    if (wanted > spill->disk_bytes - spill->disk_at) {
        return error_set(err, ERROR_FATAL, "\"%s\" is damaged: a record of %zu bytes at the end",
                         spill->store->path, wanted);
    }
    *ret = (Str){spill->block, 0};
    if (wanted == 0) {
        return STATUS_OK;
    }
    if (take_from_block(spill, wanted, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (ret->len == wanted) {
        return STATUS_OK;
    }
    buf_reset(&spill->record);
    buf_str(&spill->record, *ret);
    while (spill->record.len < wanted) {
        if (take_from_block(spill, wanted - spill->record.len, ret, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        buf_str(&spill->record, *ret);
    }
    *ret = buf_view(&spill->record);
    return STATUS_OK;
}

Status spill_next(Spill *spill, Str *ret, Error *err)
{
    if (!spill->is_reading && start_reading(spill, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // What has been read is needed no more, and what it becomes needs the room.
    if (spill->first != NULL && spill->chunk_at == spill->first->used) {
        free_first_chunk(spill);
        spill->chunk_at = 0;
    }
    if (spill->first != NULL) {
        *ret = take_from_memory(spill);
        return STATUS_OK;
    }
    if (spill->disk_at == spill->disk_bytes) {
        return STATUS_AGAIN;
    }
    Str header;
    uint32_t len;
    if (take_from_disk(spill, sizeof(len), &header, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    memcpy(&len, header.ptr, sizeof(len));
    return take_from_disk(spill, len, ret, err);
}
