// Two sides in memory, compared as two databases are, and once more by somebody who has all rows.
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "pipeline/compare.h"
#include "unit.h"

enum { ROWS_MAX = 600, COPIES_MAX = 3 };

typedef struct Side {
    DigestRow rows[ROWS_MAX];
    size_t count;
    size_t asked[3];  // by kind
    DigestKind fails; // when that is asked for
    bool is_broken;
    bool is_disordered;
} Side;

typedef struct SideReader {
    DigestReader base;
    const Side *side;
    DigestQuery query;
    size_t at;
    Value value;
    char text[32];
} SideReader;

static uint64_t bucket_of(const DigestQuery *query, uint64_t key)
{
    return key >> (64 - 4 * query->digits);
}

static bool is_wanted(const DigestQuery *query, uint64_t key)
{
    uint64_t sought = query->kind == DIGEST_PAIRS ? bucket_of(query, key) : key;
    bool found = query->wanted == NULL;
    for (size_t i = 0; i < query->wanted_count; i++) {
        found = found || query->wanted[i] == sought;
    }
    return found;
}

// A bucket for each row: their sums are what counts.
static Status side_next(DigestReader *base, DigestRow *ret, Error *err)
{
    SideReader *reader = (SideReader *)base;
    while (reader->at < reader->side->count) {
        const DigestRow *row = &reader->side->rows[reader->at++];
        if (reader->query.kind == DIGEST_BUCKETS) {
            *ret = (DigestRow){bucket_of(&reader->query, row->key), row->digest, 1};
            return STATUS_OK;
        }
        if (is_wanted(&reader->query, row->key)) {
            *ret = *row;
            (void)snprintf(reader->text, sizeof(reader->text), "%llx,",
                           (unsigned long long)row->digest);
            reader->value = (Value){reader->text, (uint32_t)strlen(reader->text), VALUE_TEXT};
            ret->text = str_from(reader->text);
            ret->values = &reader->value;
            return STATUS_OK;
        }
    }
    return STATUS_AGAIN;
}

static int open_readers;

static void side_close(DigestReader *base)
{
    open_readers--;
    mem_free(base);
}

static int by_digests(const void *a, const void *b)
{
    const DigestRow *left = a;
    const DigestRow *right = b;
    if (left->key != right->key) {
        return left->key < right->key ? -1 : 1;
    }
    return left->digest == right->digest ? 0 : (left->digest < right->digest ? -1 : 1);
}

static Status side_open(void *context, const DigestQuery *query, DigestReader **ret, Error *err)
{
    Side *side = context;
    side->asked[query->kind]++;
    if (side->is_broken && side->fails == query->kind) {
        return error_set(err, ERROR_TRANSIENT, "broken");
    }
    if (!side->is_disordered) {
        qsort(side->rows, side->count, sizeof(side->rows[0]), by_digests);
    }
    SideReader *reader = mem_alloc_zero(sizeof(*reader));
    *reader = (SideReader){.base = {side_next, side_close}, .side = side, .query = *query};
    *ret = &reader->base;
    open_readers++;
    return STATUS_OK;
}

static CompareSide asked(Side *side)
{
    return (CompareSide){
        .query = {.column_count = 1, .key_count = 1, .digits = 3}, .open = side_open, side};
}

static void put(Side *side, uint64_t key, uint64_t digest)
{
    assert_true(side->count < ROWS_MAX);
    side->rows[side->count++] = (DigestRow){.key = key, .digest = digest};
}

static Status compare(Side *ours, Side *theirs, size_t keys_max, Comparison *ret, Error *err)
{
    CompareSide source = asked(ours);
    CompareSide target = asked(theirs);
    Status status = compare_tables(&source, &target, keys_max, ret, err);
    assert_int_equal(open_readers, 0);
    return status;
}

// ---------------------------------------------------------------------------------------------
// What is found
// ---------------------------------------------------------------------------------------------

static void test_equal_tables_are_asked_once(void **state)
{
    static Side ours, theirs;
    ours = theirs = (Side){0};
    for (uint64_t i = 0; i < 100; i++) {
        put(&ours, i << 50, i * i);
        put(&theirs, (99 - i) << 50, (99 - i) * (99 - i));
    }
    Comparison found;
    Error err = {0};
    assert_int_equal(compare(&ours, &theirs, 10, &found, &err), STATUS_OK);
    assert_int_equal(comparison_differences(&found), 0);
    assert_int_equal(found.source_rows, 100);
    assert_int_equal(found.target_rows, 100);
    assert_int_equal(ours.asked[DIGEST_PAIRS] + theirs.asked[DIGEST_PAIRS], 0);
    mem_free(found.keys);
}

typedef struct Seen {
    uint64_t counts[3];
    uint64_t last;
} Seen;

static Status see(void *context, DifferenceKind kind, const DigestRow *source,
                  const DigestRow *target, Error *err)
{
    Seen *seen = context;
    assert_true((source == NULL) == (kind == DIFFERENCE_EXTRA));
    assert_true((target == NULL) == (kind == DIFFERENCE_MISSING));
    const DigestRow *row = source == NULL ? target : source;
    char text[32];
    (void)snprintf(text, sizeof(text), "%llx,", (unsigned long long)row->digest);
    assert_true(str_is(row->text, text)); // its own, whatever has been read since
    assert_true(str_is(value_str(row->values[0]), text));
    assert_true(row->key >= seen->last);
    if (kind == DIFFERENCE_VALUES) {
        assert_true(source->key == target->key);
        assert_true(source->digest != target->digest);
    }
    seen->counts[kind]++;
    seen->last = row->key;
    return STATUS_OK;
}

// Rows of one side that the other has not, by whoever has all of them: as multisets.
static uint64_t surplus(const Side *a, const Side *b)
{
    static bool taken[ROWS_MAX];
    memset(taken, 0, sizeof(taken));
    uint64_t count = 0;
    for (size_t i = 0; i < a->count; i++) {
        bool found = false;
        for (size_t j = 0; !found && j < b->count; j++) {
            found = !taken[j] && by_digests(&a->rows[i], &b->rows[j]) == 0;
            taken[j] = taken[j] || found;
        }
        count += found ? 0 : 1;
    }
    return count;
}

static uint64_t random_number(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return *seed >> 20;
}

// As a hash does: sums of others are not those of these.
static uint64_t scatter(uint64_t number)
{
    number = (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return number ^ number >> 27;
}

static void fill_at_random(Side *ours, Side *theirs, uint64_t *seed)
{
    size_t rows = random_number(seed) % 150;
    uint64_t keys = 1 + random_number(seed) % 200;
    uint64_t spread = random_number(seed) % 2 == 0 ? 1 : UINT64_MAX / 211;
    for (size_t i = 0; i < rows; i++) {
        uint64_t key = random_number(seed) % keys * spread;
        uint64_t number = random_number(seed) % 5;
        for (uint64_t n = random_number(seed) % COPIES_MAX; n < COPIES_MAX; n++) {
            put(ours, key, scatter(number));
        }
        for (uint64_t n = random_number(seed) % COPIES_MAX; n < COPIES_MAX; n++) {
            put(theirs, key, scatter(random_number(seed) % 10 == 0 ? number + 1 : number));
        }
    }
}

static void check_against(const Side *ours, const Side *theirs, const uint64_t counts[static 3])
{
    assert_int_equal(counts[DIFFERENCE_MISSING] + counts[DIFFERENCE_VALUES], surplus(ours, theirs));
    assert_int_equal(counts[DIFFERENCE_EXTRA] + counts[DIFFERENCE_VALUES], surplus(theirs, ours));
}

static void test_random_tables(void **state)
{
    static Side ours, theirs;
    uint64_t seed = 1;
    for (int i = 0; i < 300; i++) {
        ours = theirs = (Side){0};
        fill_at_random(&ours, &theirs, &seed);
        Comparison found;
        Error err = {0};
        assert_int_equal(compare(&ours, &theirs, ROWS_MAX, &found, &err), STATUS_OK);
        check_against(&ours, &theirs, found.counts);
        assert_int_equal(found.source_rows, ours.count);
        assert_int_equal(found.target_rows, theirs.count);
        if (found.key_count > 0) {
            CompareSide source = asked(&ours);
            CompareSide target = asked(&theirs);
            Seen seen = {0};
            assert_int_equal(
                compare_rows(&source, &target, found.keys, found.key_count, see, &seen, &err),
                STATUS_OK);
            assert_memory_equal(seen.counts, found.counts, sizeof(seen.counts));
        }
        mem_free(found.keys);
    }
}

static void test_a_row_with_other_values_is_one_difference(void **state)
{
    static Side ours, theirs;
    ours = theirs = (Side){0};
    put(&ours, 1, 10);
    put(&theirs, 1, 11);
    put(&ours, 2, 20);
    put(&theirs, 3, 20);
    Comparison found;
    Error err = {0};
    assert_int_equal(compare(&ours, &theirs, 10, &found, &err), STATUS_OK);
    assert_int_equal(found.counts[DIFFERENCE_VALUES], 1);
    assert_int_equal(found.counts[DIFFERENCE_MISSING], 1);
    assert_int_equal(found.counts[DIFFERENCE_EXTRA], 1);
    assert_int_equal(found.key_count, 3);
    mem_free(found.keys);
}

static void test_all_are_counted_and_the_first_are_named(void **state)
{
    static Side ours, theirs;
    ours = theirs = (Side){0};
    for (uint64_t i = 0; i < 500; i++) {
        put(&ours, i, 1);
    }
    Comparison found;
    Error err = {0};
    assert_int_equal(compare(&ours, &theirs, 20, &found, &err), STATUS_OK);
    assert_int_equal(found.counts[DIFFERENCE_MISSING], 500);
    assert_int_equal(found.key_count, 20);
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(found.keys[i], i);
    }
    mem_free(found.keys);
}

// ---------------------------------------------------------------------------------------------
// What fails
// ---------------------------------------------------------------------------------------------

static void test_failures_close_what_is_open(void **state)
{
    static Side ours, theirs;
    for (int i = 0; i < 4; i++) {
        ours = theirs = (Side){0};
        put(&ours, 1, 1);
        Side *broken = i % 2 == 0 ? &ours : &theirs;
        broken->is_broken = true;
        broken->fails = i < 2 ? DIGEST_BUCKETS : DIGEST_PAIRS;
        Comparison found;
        Error err = {0};
        assert_int_equal(compare(&ours, &theirs, 20, &found, &err), STATUS_FAIL);
        assert_string_equal(err.message, "broken");
        assert_null(found.keys);
    }
}

// It would find differences that are none.
static void test_another_order_is_an_error(void **state)
{
    static Side ours, theirs;
    ours = theirs = (Side){0};
    ours.is_disordered = true;
    put(&ours, 2, 1);
    put(&ours, 1, 1);
    Comparison found;
    Error err = {0};
    assert_int_equal(compare(&ours, &theirs, 20, &found, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_DATA);
}

static void test_large_tables_have_more_buckets(void **state)
{
    assert_int_equal(compare_digits(-1), 3);
    assert_int_equal(compare_digits(16000000), 3);
    assert_int_equal(compare_digits(100000000), 4);
    assert_int_equal(compare_digits(1000000000), 5);
    assert_int_equal(compare_digits(INT64_MAX), DIGEST_DIGITS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_tables_are_asked_once),
        cmocka_unit_test(test_random_tables),
        cmocka_unit_test(test_a_row_with_other_values_is_one_difference),
        cmocka_unit_test(test_all_are_counted_and_the_first_are_named),
        cmocka_unit_test(test_failures_close_what_is_open),
        cmocka_unit_test(test_another_order_is_an_error),
        cmocka_unit_test(test_large_tables_have_more_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
