// What both sides have to hold is small whatever they have: the buckets, and of rows the two that
// are looked at. Sorting what differs is left to the databases.
#include "pipeline/compare.h"

#include <assert.h>
#include <inttypes.h>

#include "base/limits.h"
#include "base/mem.h"

// More buckets than these are not named one by one: then most of the table differs anyway.
enum { NAMED_BUCKETS_MAX = 4096, BUCKET_ROWS = 4096 };

typedef struct Bucket {
    uint64_t count;
    uint64_t sum;
} Bucket;

unsigned compare_digits(int64_t row_estimate)
{
    unsigned digits = 3;
    while (digits < DIGEST_DIGITS_MAX && row_estimate >> 4 * digits > BUCKET_ROWS) {
        digits++;
    }
    return digits;
}

// ---------------------------------------------------------------------------------------------
// Buckets
// ---------------------------------------------------------------------------------------------

static size_t bucket_count(const CompareSide *side)
{
    assert(side->query.digits >= 1);
    assert(side->query.digits <= DIGEST_DIGITS_MAX);
    return (size_t)1 << 4 * side->query.digits;
}

static Status open_side(CompareSide *side, DigestKind kind, const uint64_t *wanted, size_t count,
                        DigestReader **ret, Error *err)
{
    side->query.kind = kind;
    side->query.wanted = wanted;
    side->query.wanted_count = count;
    return side->open(side->context, &side->query, ret, err);
}

static Status fill_buckets(DigestReader *reader, Bucket *buckets, size_t count, uint64_t *ret_rows,
                           Error *err)
{
    DigestRow row;
    Status status;
    while ((status = reader->next(reader, &row, err)) == STATUS_OK) {
        if (row.key >= count) {
            return error_set(err, ERROR_DATA, "there is no bucket %" PRIu64, row.key);
        }
        buckets[row.key].count += row.count;
        buckets[row.key].sum += row.digest;
        *ret_rows += row.count;
    }
    return status == STATUS_AGAIN ? STATUS_OK : STATUS_FAIL;
}

// The source is asked first and answers last: its server works while the target does.
static Status read_buckets(CompareSide *source, CompareSide *target, Bucket *ours, Bucket *theirs,
                           Comparison *ret, Error *err)
{
    size_t count = bucket_count(source);
    DigestReader *from_source = NULL;
    DigestReader *from_target = NULL;
    Status status = open_side(source, DIGEST_BUCKETS, NULL, 0, &from_source, err);
    if (status == STATUS_OK) {
        status = open_side(target, DIGEST_BUCKETS, NULL, 0, &from_target, err);
    }
    if (status == STATUS_OK) {
        status = fill_buckets(from_target, theirs, count, &ret->target_rows, err);
    }
    if (status == STATUS_OK) {
        status = fill_buckets(from_source, ours, count, &ret->source_rows, err);
    }
    digest_close(from_source);
    digest_close(from_target);
    return status;
}

static size_t unequal_buckets(const Bucket *ours, const Bucket *theirs, size_t count, uint64_t *ret)
{
    size_t unequal = 0;
    for (size_t i = 0; i < count; i++) {
        if (ours[i].count != theirs[i].count || ours[i].sum != theirs[i].sum) {
            ret[unequal++] = i;
        }
    }
    return unequal;
}

// ---------------------------------------------------------------------------------------------
// Rows
// ---------------------------------------------------------------------------------------------

/** One side of a merge. */
typedef struct Cursor {
    DigestReader *reader;
    DigestRow row;
    bool has_row;
    // A row of the current key that the other side does not have: perhaps it has another one.
    bool has_left;
    DigestRow left;
    Arena left_arena;
    size_t value_count; // 0: rows come without values
} Cursor;

typedef struct Merge {
    Cursor source;
    Cursor target;
    CompareVisit visit;
    void *context;
} Merge;

static Status advance(Cursor *cursor, Error *err)
{
    DigestRow next = {0};
    Status status = cursor->reader->next(cursor->reader, &next, err);
    bool is_back = status == STATUS_OK && cursor->has_row &&
                   (next.key < cursor->row.key ||
                    (next.key == cursor->row.key && next.digest < cursor->row.digest));
    if (is_back) {
        return error_set(err, ERROR_DATA, "digests came in another order than they were asked for");
    }
    cursor->row = next;
    cursor->has_row = status == STATUS_OK;
    return status == STATUS_FAIL ? STATUS_FAIL : STATUS_OK;
}

static void keep_left(Cursor *cursor)
{
    Arena *arena = &cursor->left_arena;
    arena_reset(arena);
    cursor->left = cursor->row;
    cursor->has_left = true;
    if (cursor->value_count == 0) {
        return;
    }
    Value *values = ARENA_ARRAY(arena, Value, cursor->value_count);
    for (size_t i = 0; i < cursor->value_count; i++) {
        values[i] = cursor->row.values[i];
        values[i].ptr = str_copy(arena, value_str(values[i])).ptr;
    }
    cursor->left.values = values;
    cursor->left.text = str_copy(arena, cursor->row.text);
}

static Status flush_left(Merge *merge, Error *err)
{
    Cursor *source = &merge->source;
    Cursor *target = &merge->target;
    if (!source->has_left && !target->has_left) {
        return STATUS_OK;
    }
    DifferenceKind kind = source->has_left && target->has_left
                              ? DIFFERENCE_VALUES
                              : (source->has_left ? DIFFERENCE_MISSING : DIFFERENCE_EXTRA);
    const DigestRow *ours = source->has_left ? &source->left : NULL;
    const DigestRow *theirs = target->has_left ? &target->left : NULL;
    source->has_left = target->has_left = false;
    return merge->visit(merge->context, kind, ours, theirs, err);
}

// Rows of one key that are left on both sides are one row with other values. There may be several
// of one key only where nothing forbids it.
static Status leave(Merge *merge, Cursor *side, Error *err)
{
    Cursor *other = side == &merge->source ? &merge->target : &merge->source;
    bool is_other_key = (side->has_left && side->left.key != side->row.key) ||
                        (other->has_left && other->left.key != side->row.key);
    if ((is_other_key || side->has_left) && flush_left(merge, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    keep_left(side);
    return advance(side, err);
}

// Below 0: the source's row comes first.
static int order(const Cursor *source, const Cursor *target)
{
    if (!source->has_row || !target->has_row) {
        return source->has_row ? -1 : 1;
    }
    const DigestRow *a = &source->row;
    const DigestRow *b = &target->row;
    if (a->key != b->key) {
        return a->key < b->key ? -1 : 1;
    }
    return a->digest == b->digest ? 0 : (a->digest < b->digest ? -1 : 1);
}

static Status merge_all(Merge *merge, Error *err)
{
    Cursor *source = &merge->source;
    Cursor *target = &merge->target;
    if (advance(source, err) != STATUS_OK || advance(target, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    while (source->has_row || target->has_row) {
        int which = order(source, target);
        Status status =
            which == 0 ? advance(source, err) : leave(merge, which < 0 ? source : target, err);
        if (status == STATUS_OK && which == 0) {
            status = advance(target, err);
        }
        if (status != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return flush_left(merge, err);
}

static Status merge_sides(CompareSide *source, CompareSide *target, DigestKind kind, Merge *merge,
                          Error *err)
{
    size_t values = kind == DIGEST_ROWS ? source->query.column_count : 0;
    merge->source.value_count = merge->target.value_count = values;
    Status status = open_side(source, kind, source->query.wanted, source->query.wanted_count,
                              &merge->source.reader, err);
    if (status == STATUS_OK) {
        status = open_side(target, kind, source->query.wanted, source->query.wanted_count,
                           &merge->target.reader, err);
    }
    if (status == STATUS_OK) {
        status = merge_all(merge, err);
    }
    digest_close(merge->source.reader);
    digest_close(merge->target.reader);
    arena_done(&merge->source.left_arena);
    arena_done(&merge->target.left_arena);
    return status;
}

// ---------------------------------------------------------------------------------------------
// The public face
// ---------------------------------------------------------------------------------------------

typedef struct Count {
    Comparison *comparison;
    size_t keys_max;
} Count;

static Status count_one(void *context, DifferenceKind kind, const DigestRow *source,
                        const DigestRow *target, Error *err)
{
    (void)err;
    Count *count = context;
    Comparison *comparison = count->comparison;
    uint64_t key = source == NULL ? target->key : source->key;
    size_t known = comparison->key_count;
    comparison->counts[kind]++;
    bool is_new = known == 0 || comparison->keys[known - 1] != key;
    if (is_new && known < count->keys_max) {
        comparison->keys[comparison->key_count++] = key;
    }
    return STATUS_OK;
}

static Status compare_unequal(CompareSide *source, CompareSide *target, const uint64_t *unequal,
                              size_t unequal_count, Count *count, Error *err)
{
    if (unequal_count == 0) {
        return STATUS_OK;
    }
    bool names = unequal_count <= NAMED_BUCKETS_MAX;
    Merge merge = {.visit = count_one, .context = count};
    count->comparison->keys = mem_alloc_zero(count->keys_max * sizeof(uint64_t));
    source->query.wanted = names ? unequal : NULL;
    source->query.wanted_count = names ? unequal_count : 0;
    return merge_sides(source, target, DIGEST_PAIRS, &merge, err);
}

Status compare_tables(CompareSide *source, CompareSide *target, size_t keys_max, Comparison *ret,
                      Error *err)
{
    assert(source->query.column_count == target->query.column_count);
    assert(source->query.digits == target->query.digits);
    assert(keys_max > 0);
    *ret = (Comparison){0};
    size_t buckets = bucket_count(source);
    Bucket *ours = mem_alloc_zero(buckets * sizeof(*ours));
    Bucket *theirs = mem_alloc_zero(buckets * sizeof(*theirs));
    uint64_t *unequal = mem_alloc_zero(buckets * sizeof(*unequal));
    Count count = {ret, keys_max};
    Status status = read_buckets(source, target, ours, theirs, ret, err);
    if (status == STATUS_OK) {
        size_t unequal_count = unequal_buckets(ours, theirs, buckets, unequal);
        status = compare_unequal(source, target, unequal, unequal_count, &count, err);
    }
    mem_free(ours);
    mem_free(theirs);
    mem_free(unequal);
    if (status != STATUS_OK) {
        mem_free(ret->keys);
        ret->keys = NULL;
    }
    return status;
}

Status compare_rows(CompareSide *source, CompareSide *target, const uint64_t *keys,
                    size_t key_count, CompareVisit visit, void *context, Error *err)
{
    Merge merge = {.visit = visit, .context = context};
    source->query.wanted = keys;
    source->query.wanted_count = key_count;
    return merge_sides(source, target, DIGEST_ROWS, &merge, err);
}
