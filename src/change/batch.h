// A run of changes with one arena for all their bytes. Filled by one thread, sealed, then immutable
// and reference-counted, so that several routes can share it.
//
// A batch holds whole transactions. Only a transaction larger than the budget is cut: then
// `ends_transaction` is false on every part but the last, and a sink is not asked to commit between
// them, unless it has no room (SinkOps.make_room).
#pragma once

#include <stdatomic.h>
#include <stddef.h>

#include "base/arena.h"
#include "change/change.h"

typedef struct Batch {
    Arena arena;
    Change *changes;
    size_t count;
    size_t capacity;
    size_t bytes;          // payload taken in so far: the measure of budgets
    size_t whole_bytes;    // of those, what came before the open transaction
    Position end;          // set by batch_seal(): everything at or before it is here or was earlier
    bool ends_transaction; // no transaction is open behind the last change
    int64_t sealed_us;     // clock_monotonic_us() at sealing: for latency figures
    bool is_sealed;
    atomic_int references;
} Batch;

/** An empty batch with one reference. */
RETURNS_NONNULL Batch *batch_new(void);

/** The next change, zeroed, to be filled in. Moves earlier ones: keep no pointers to changes. */
RETURNS_NONNULL Change *batch_add(Batch *batch);

/** Row image of @count values in the batch, all VALUE_ABSENT. */
RETURNS_NONNULL Value *batch_row(Batch *batch, size_t count);

/** A copy of the bytes in the batch, counted in its size. */
RETURNS_NONNULL const char *batch_bytes(Batch *batch, const void *data, size_t len);

/** A copy of a row image of @count values, with their bytes, in the batch. NULL of NULL. */
const Value *batch_copy_row(Batch *batch, const Value *row, size_t count);

/** Deep copy of @change, except its relation. @transaction: its transaction's copy in @batch. */
void batch_add_copy(Batch *batch, const Change *change, const Transaction *transaction);

void batch_seal(Batch *batch, Position end, bool ends_transaction);

/** Thread: any. */
Batch *batch_ref(Batch *batch);

/** Accepts NULL. Thread: any. */
void batch_unref(Batch *batch);

/** Room for the changes of several batches. Zero-initialised is empty. */
typedef struct ChangeRun {
    Change *changes;
    size_t capacity;
} ChangeRun;

/**
 * The changes of @count batches, at least one, side by side: so a sink can fold and apply them as
 * one run. Only the structs are copied; what they point to stays in the batches. Until the next
 * call, and as long as the batches.
 */
const Change *change_run_of(ChangeRun *run, Batch *const *batches, size_t count, size_t *ret_count);

void change_run_done(ChangeRun *run);
