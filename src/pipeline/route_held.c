#include "pipeline/route_held.h"

#include <assert.h>

#include "base/mem.h"
#include "change/pack.h"
#include "io/spill.h"

enum {
    TAIL_BYTES = 256 << 10, // packed at once
    MEMORY_MAX = 8 << 20,   // of all spills of the process, before these go to disk
};

struct Held {
    SpillStore *store;
    Spill *spill;         // records of changes, those that came first
    Batch *tail;          // those behind them
    uint64_t spill_bytes; // as the tails had counted them
    Packer packer;
    Unpacker unpacker;
    const Transaction *transaction; // of the last change in the tail; NULL: the tail is empty
    Lsn last_commit;                // of the last change; LSN_NONE: nothing is held
    Batch *given;                   // by held_next()
};

Held *held_new(const char *directory)
{
    Held *held = mem_alloc_zero(sizeof(*held));
    held->store = spill_store_new(directory, MEMORY_MAX);
    held->spill = spill_new(held->store);
    held->tail = batch_new();
    return held;
}

void held_free(Held *held)
{
    if (held == NULL) {
        return;
    }
    batch_unref(held->given);
    batch_unref(held->tail);
    spill_free(held->spill);
    spill_store_free(held->store);
    packer_done(&held->packer);
    unpacker_done(&held->unpacker);
    mem_free(held);
}

static void empty_tail(Held *held)
{
    batch_unref(held->tail);
    held->tail = batch_new();
    held->transaction = NULL;
}

static void drop_all(Held *held)
{
    spill_free(held->spill);
    held->spill = spill_new(held->store);
    held->spill_bytes = 0;
    empty_tail(held);
    held->last_commit = LSN_NONE;
}

static Status spill_tail(Held *held, Error *err)
{
    Batch *tail = held->tail;
    Buf record;
    buf_init(&record, UINT32_MAX);
    for (size_t i = 0; i < tail->count; i++) {
        pack_share_relation(&held->packer, &held->unpacker, tail->changes[i].relation);
    }
    (void)pack_changes(&held->packer, tail->changes, tail->count, SIZE_MAX, &record);
    Status status = buf_check(&record, "a change", err);
    if (status == STATUS_OK) {
        status = spill_append(held->spill, buf_view(&record), err);
    }
    buf_done(&record);
    held->spill_bytes += tail->bytes;
    empty_tail(held);
    return status;
}

static void add_to_tail(Held *held, const Change *change)
{
    // By value: the batches of two transactions can be at the same address, one after the other.
    const Transaction *now = change->transaction;
    const Transaction *last = held->transaction;
    if (last == NULL || last->commit_lsn != now->commit_lsn || last->xid != now->xid) {
        Transaction *copy = arena_alloc(&held->tail->arena, sizeof(*copy));
        *copy = *now;
        copy->origin = str_copy(&held->tail->arena, now->origin);
        held->transaction = copy;
    }
    batch_add_copy(held->tail, change, held->transaction);
}

Status held_add(Held *held, const Change *change, Lsn copied_at, Error *err)
{
    assert(held->given == NULL);
    Lsn commit = change->transaction->commit_lsn;
    if (held->last_commit != LSN_NONE && held->last_commit < copied_at) {
        drop_all(held);
    }
    if (commit < copied_at) {
        return STATUS_OK;
    }
    add_to_tail(held, change);
    held->last_commit = commit;
    if (held->tail->bytes >= TAIL_BYTES && spill_tail(held, err) != STATUS_OK) {
        return error_wrap(err, "hold changes of a table that is being copied");
    }
    return STATUS_OK;
}

uint64_t held_bytes(const Held *held)
{
    return held->spill_bytes + held->tail->bytes;
}

// What is read of a spill is valid until more of it is read: as long as its batch.
Status held_next(Held *held, Batch **ret, Error *err)
{
    Str record;
    batch_unref(held->given);
    held->given = NULL;
    Status status = spill_next(held->spill, &record, err);
    if (status == STATUS_OK) {
        held->given = batch_new();
        *ret = held->given;
        return unpack_changes(&held->unpacker, record, held->given, err);
    }
    if (status == STATUS_FAIL || held->tail->count == 0) {
        return status;
    }
    held->given = held->tail;
    held->tail = batch_new();
    *ret = held->given;
    return STATUS_OK;
}
