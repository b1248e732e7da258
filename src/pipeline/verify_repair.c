// Rounds of: read what differs on both sides, write it through the sink as changes of the source
// would be, commit it without a position, and compare again. A round is bounded; what is left over
// is the next one's. A table without a key is left to the copy that any run makes.
#include <assert.h>

#include "base/crash_point.h"
#include "base/mem.h"
#include "pipeline/verify_inner.h"

enum { ROUND_BYTES = 16 << 20 };

typedef struct Round {
    const VerifyPair *pair;
    Arena arena;
    Transaction transaction;
    Change *changes;
    size_t count;
    size_t capacity;
    size_t bytes;
    size_t refused; // changes that the target does not take
    Error refusal;  // the last one
} Round;

static Value copy_value(Round *round, Value value)
{
    if (value_is_data(value)) {
        value.ptr = str_copy(&round->arena, value_str(value)).ptr;
        round->bytes += value.len;
    }
    return value;
}

// In the order of the target's columns; of an old row only the key is known.
static const Value *copy_row(Round *round, const DigestRow *row, bool key_only)
{
    const VerifyPair *pair = round->pair;
    uint16_t columns = pair->target_relation->column_count;
    Value *values = ARENA_ARRAY(&round->arena, Value, columns); // absent
    static_assert(VALUE_ABSENT == 0, "zeroed values are absent");
    size_t count = key_only ? pair->key_count : pair->column_count;
    for (size_t i = 0; i < count; i++) {
        values[pair->target_columns[i].index] = copy_value(round, row->values[i]);
    }
    round->bytes += columns * sizeof(Value) + sizeof(Change);
    return values;
}

static Status take_difference(void *context, DifferenceKind kind, const DigestRow *source,
                              const DigestRow *target, Error *err)
{
    (void)err;
    static const ChangeOp ops[] = {
        [DIFFERENCE_MISSING] = CHANGE_INSERT,
        [DIFFERENCE_EXTRA] = CHANGE_DELETE,
        [DIFFERENCE_VALUES] = CHANGE_UPDATE,
    };
    Round *round = context;
    if (round->bytes >= ROUND_BYTES) {
        return STATUS_OK;
    }
    if (round->count == round->capacity) {
        round->capacity = MAX(round->capacity * 2, (size_t)256);
        round->changes = mem_resize(round->changes, round->capacity * sizeof(Change));
    }
    Change *change = &round->changes[round->count++];
    *change = (Change){.op = ops[kind],
                       .relation = round->pair->target_relation,
                       .transaction = &round->transaction,
                       .ordinal = round->count};
    if (kind == DIFFERENCE_EXTRA) {
        change->old_row = copy_row(round, target, true);
    } else {
        change->new_row = copy_row(round, source, false);
    }
    return STATUS_OK;
}

// A run that is refused is halved until what is refused is found: it may have the value that only
// one row can have, which another row of a later round gives up.
static Status write_what_is_taken(Round *round, const Change *changes, size_t count, Error *err)
{
    Sink *sink = round->pair->target->sink;
    if (sink->ops->try_write == NULL) {
        return sink->ops->write(sink, changes, count, err);
    }
    size_t run = count;
    for (size_t at = 0; at < count;) {
        bool is_intact = false;
        Error refusal = {0};
        run = MIN(run, count - at);
        if (sink->ops->try_write(sink, &changes[at], run, &is_intact, &refusal) == STATUS_OK) {
            at += run;
            run *= 2;
        } else if (refusal.kind != ERROR_DATA || !is_intact) {
            *err = refusal;
            return STATUS_FAIL;
        } else if (run == 1) {
            round->refusal = refusal;
            round->refused++;
            at++;
        } else {
            run /= 2;
        }
    }
    return STATUS_OK;
}

// Rows go before others come that may need what they have: a value that is there once.
static Status write_kind(Round *round, ChangeOp op, Error *err)
{
    size_t count = 0;
    Change *changes = ARENA_ARRAY(&round->arena, Change, round->count);
    for (size_t i = 0; i < round->count; i++) {
        if (round->changes[i].op == op) {
            changes[count++] = round->changes[i];
        }
    }
    return count == 0 ? STATUS_OK : write_what_is_taken(round, changes, count, err);
}

static Status write_round(Round *round, Error *err)
{
    static const ChangeOp order[] = {CHANGE_DELETE, CHANGE_UPDATE, CHANGE_INSERT};
    const VerifyPair *pair = round->pair;
    Sink *sink = pair->target->sink;
    if (sink->ops->prepare(sink, pair->target_relation, pair->target_relation, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        if (write_kind(round, order[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    Checkpoint nothing = {0}; // the position stays where it is
    CRASH_POINT("repair-begins");
    Status status = sink->ops->commit(sink, &nothing, err);
    CRASH_POINT("repair-committed");
    checkpoint_done(&nothing);
    return status;
}

// What rounds have come to.
typedef struct Repair {
    uint64_t written;
    bool is_equal;
    Str refusal; // what the target said last of a change that it did not take; empty: it took all
} Repair;

static void note_round(const VerifyPair *pair, const Round *round, Repair *ret)
{
    ret->written += round->count - round->refused;
    ret->refusal = round->refused == 0
                       ? (Str){0}
                       : str_copy(&pair->target->arena, str_from(round->refusal.message));
}

static Status run_round(VerifyPair *pair, const Comparison *found, Repair *ret, Error *err)
{
    Round round = {.pair = pair, .transaction = {.commit_lsn = pair->target->verify->lsn}};
    Status status = compare_rows(&pair->source_side, &pair->target_side, found->keys,
                                 found->key_count, take_difference, &round, err);
    if (status == STATUS_OK) {
        status = write_round(&round, err);
    }
    if (status == STATUS_OK) {
        note_round(pair, &round, ret);
    }
    mem_free(round.changes);
    arena_done(&round.arena);
    return status == STATUS_OK ? STATUS_OK : error_wrap(err, "repair");
}

// Each round leaves less: somebody who writes meanwhile would have it go on for ever.
static Status run_rounds(VerifyPair *pair, const Comparison *first, Repair *ret, Error *err)
{
    Comparison found = *first;
    found.keys = mem_alloc_zero(first->key_count * sizeof(uint64_t));
    memcpy(found.keys, first->keys, first->key_count * sizeof(uint64_t));
    Status status = STATUS_OK;
    bool goes_on = true;
    while (status == STATUS_OK && goes_on) {
        uint64_t before = comparison_differences(&found);
        status = run_round(pair, &found, ret, err);
        mem_free(found.keys);
        found = (Comparison){0};
        if (status == STATUS_OK) {
            status = verify_compare(pair, VERIFY_REPAIR_KEYS, &found, err);
        }
        uint64_t left = comparison_differences(&found);
        ret->is_equal = left == 0;
        goes_on = left > 0 && left < before;
    }
    mem_free(found.keys);
    return status;
}

// As one whose copy was interrupted: the next run empties it, and copies it again.
static Status mark_for_copy(const VerifyPair *pair, Error *err)
{
    VerifyTarget *target = pair->target;
    Table *table = tables_find(&target->tables, pair->source_relation->oid);
    Checkpoint changed = {0};
    table_copy_again(table, target->verify->lsn);
    table_save(table, &changed);
    CRASH_POINT("repair-mark-begins");
    Status status = target->sink->ops->commit(target->sink, &changed, err);
    CRASH_POINT("repair-marked");
    checkpoint_done(&changed);
    return status == STATUS_OK ? STATUS_OK : error_wrap(err, "repair");
}

// What they would write is in the rows, and what came later, too. The target goes first: letters
// that a crash leaves are dropped by the next repair, which finds the table equal.
Status verify_void_letters(const VerifyPair *pair, VerifyTable *table, Error *err)
{
    VerifyTarget *target = pair->target;
    uint64_t voided = 0;
    for (size_t i = 0; pair->is_whole && i < target->letters.count; i++) {
        const DeadLetter *letter = &target->letters.items[i];
        bool was_there = false; // somebody may drop letters meanwhile
        bool is_void = letter->oid == table->oid && letter->position.lsn < target->verify->lsn;
        if (is_void &&
            dead_store_remove(target->dead_store, letter->id, &was_there, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        voided += was_there ? 1 : 0;
    }
    table->voided = voided;
    if (voided > 0) {
        CRASH_POINT("repair-letters-begin");
    }
    return voided == 0 ? STATUS_OK : dead_store_save(target->dead_store, err);
}

static const char *why_not_equal(const VerifyPair *pair, const Repair *repair)
{
    if (repair->refusal.len == 0) {
        return "what was written has not made it equal: is somebody else writing to it?";
    }
    return arena_printf(
        &pair->target->arena,
        "not all is repaired: the target refuses rows, the last one with: %" STR_FMT,
        STR_ARG(repair->refusal));
}

// What a target has refused with all of its transaction: that is no reason to give up the others.
static Status give_up_table(VerifyPair *pair, const Error *failure, const char **ret_reason,
                            Error *err)
{
    if (failure->kind != ERROR_DATA) {
        *err = *failure;
        return STATUS_FAIL;
    }
    *ret_reason = arena_printf(&pair->target->arena, "not repaired: %s", failure->message);
    return verify_reopen(pair->target, err);
}

Status verify_repair(VerifyPair *pair, VerifyTable *table, const char **ret_reason, Error *err)
{
    *ret_reason = NULL;
    if (!pair->has_key) {
        // Which of its rows is meant cannot be said.
        table->is_to_copy = true;
        *ret_reason = "without a key: copied anew";
        return mark_for_copy(pair, err);
    }
    if (!pair->is_whole) {
        *ret_reason = "not repaired: its columns are not those of the source before its next "
                      "change";
        return STATUS_OK;
    }
    Repair repair = {0};
    Error failure = {0};
    Status status = run_rounds(pair, &table->comparison, &repair, &failure);
    table->repaired = repair.written;
    if (status != STATUS_OK) {
        return give_up_table(pair, &failure, ret_reason, err);
    }
    if (!repair.is_equal) {
        *ret_reason = why_not_equal(pair, &repair);
    }
    return STATUS_OK;
}
