#include "change/batch.h"

#include <assert.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/mem.h"

// Most batches of a stream that is not busy have one small transaction.
enum { FIRST_CHUNK = 16 * 1024, CHUNK = 256 * 1024, FIRST_CHANGES = 64 };

// Batches of a busy stream follow each other by the hundreds, and taking memory from the system
// anew for each costs as much as decoding them. So a few that are done with are kept.
enum { KEPT_MAX = 4, KEPT_CHUNKS = 16, KEPT_CHANGES = 32 * 1024 };

#ifdef __SANITIZE_ADDRESS__
static const bool keeps_batches = false; // what still points to one has to be seen
#else
static const bool keeps_batches = true;
#endif

static struct {
    pthread_mutex_t lock;
    Batch *batches[KEPT_MAX];
    size_t count;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static Batch *take_kept(void)
{
    (void)pthread_mutex_lock(&kept.lock);
    Batch *batch = kept.count > 0 ? kept.batches[--kept.count] : NULL;
    (void)pthread_mutex_unlock(&kept.lock);
    return batch;
}

static void batch_free(Batch *batch)
{
    arena_done(&batch->arena);
    mem_free(batch->changes);
    mem_free(batch);
}

// One that was hardly used gives its memory back: so does a stream that is not busy any more.
static bool is_worth_keeping(const Batch *batch)
{
    return keeps_batches && batch->arena.chunk_size == CHUNK && batch->bytes >= CHUNK &&
           batch->capacity <= KEPT_CHANGES;
}

static void keep_or_free(Batch *batch)
{
    if (!is_worth_keeping(batch)) {
        batch_free(batch);
        return;
    }
    arena_recycle(&batch->arena, KEPT_CHUNKS);
    *batch = (Batch){.arena = batch->arena, .changes = batch->changes, .capacity = batch->capacity};
    (void)pthread_mutex_lock(&kept.lock);
    bool has_room = kept.count < KEPT_MAX;
    if (has_room) {
        kept.batches[kept.count++] = batch;
    }
    (void)pthread_mutex_unlock(&kept.lock);
    if (!has_room) {
        batch_free(batch);
    }
}

Batch *batch_new(void)
{
    Batch *batch = take_kept();
    if (batch == NULL) {
        batch = mem_alloc_zero(sizeof(*batch));
        batch->arena.chunk_size = FIRST_CHUNK;
    }
    atomic_init(&batch->references, 1);
    return batch;
}

Change *batch_add(Batch *batch)
{
    assert(!batch->is_sealed);
    if (batch->count == batch->capacity) {
        if (batch->capacity > 0) {
            batch->arena.chunk_size = CHUNK;
        }
        batch->capacity = MAX(batch->capacity * 2, (size_t)FIRST_CHANGES);
        batch->changes = mem_resize(batch->changes, batch->capacity * sizeof(Change));
    }
    Change *change = &batch->changes[batch->count++];
    *change = (Change){0};
    batch->bytes += sizeof(*change);
    return change;
}

Value *batch_row(Batch *batch, size_t count)
{
    assert(!batch->is_sealed);
    static_assert(VALUE_ABSENT == 0, "zeroed values are absent");
    batch->bytes += count * sizeof(Value);
    return ARENA_ARRAY(&batch->arena, Value, count);
}

const char *batch_bytes(Batch *batch, const void *data, size_t len)
{
    assert(!batch->is_sealed);
    batch->bytes += len;
    char *copy = arena_alloc_bytes(&batch->arena, len);
    if (len > 0) {
        memcpy(copy, data, len);
    }
    return copy;
}

const Value *batch_copy_row(Batch *batch, const Value *row, size_t count)
{
    if (row == NULL) {
        return NULL;
    }
    Value *copy = batch_row(batch, count);
    for (size_t i = 0; i < count; i++) {
        copy[i] = row[i];
        if (value_is_data(row[i])) {
            copy[i].ptr = batch_bytes(batch, row[i].ptr, row[i].len);
        }
    }
    return copy;
}

void batch_add_copy(Batch *batch, const Change *change, const Transaction *transaction)
{
    Change *copy = batch_add(batch);
    *copy = *change;
    copy->transaction = transaction;
    if (change->relation != NULL) {
        copy->old_row = batch_copy_row(batch, change->old_row, change->relation->column_count);
        copy->new_row = batch_copy_row(batch, change->new_row, change->relation->column_count);
    }
    if (change->message != NULL) {
        LogicalMessage *message = arena_alloc(&batch->arena, sizeof(*message));
        *message = *change->message;
        message->prefix.ptr = batch_bytes(batch, message->prefix.ptr, message->prefix.len);
        message->content.ptr = batch_bytes(batch, message->content.ptr, message->content.len);
        copy->message = message;
    }
}

void batch_seal(Batch *batch, Position end, bool ends_transaction)
{
    assert(!batch->is_sealed);
    batch->end = end;
    batch->ends_transaction = ends_transaction;
    batch->sealed_us = clock_monotonic_us();
    batch->is_sealed = true;
}

Batch *batch_ref(Batch *batch)
{
    int before = atomic_fetch_add(&batch->references, 1);
    assert(before > 0);
    return batch;
}

void batch_unref(Batch *batch)
{
    if (batch == NULL) {
        return;
    }
    int before = atomic_fetch_sub(&batch->references, 1);
    assert(before > 0);
    if (before == 1) {
        keep_or_free(batch);
    }
}

const Change *change_run_of(ChangeRun *run, Batch *const *batches, size_t count, size_t *ret_count)
{
    size_t total = 0;
    assert(count > 0);
    for (size_t i = 0; i < count; i++) {
        total += batches[i]->count;
    }
    *ret_count = total;
    if (count == 1) {
        return batches[0]->changes;
    }
    if (total > run->capacity) {
        run->capacity = total * 2;
        run->changes = mem_resize(run->changes, run->capacity * sizeof(Change));
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (batches[i]->count > 0) {
            memcpy(&run->changes[at], batches[i]->changes, batches[i]->count * sizeof(Change));
            at += batches[i]->count;
        }
    }
    return run->changes;
}

void change_run_done(ChangeRun *run)
{
    mem_free(run->changes);
    *run = (ChangeRun){0};
}
