#include <stdio.h>

#include "base/mem.h"
#include "io/spill.h"
#include "pipeline/route_held.h"
#include "relations.h"
#include "unit.h"

enum { WIDTH = 1000, MEMORY_MAX = 8 << 20 };

typedef struct Fixture {
    Arena arena;
    const Relation *relations[2];
    Held *held;
    Error error;
    uint32_t added;
    uint32_t found;
} Fixture;

static int setup(void **state)
{
    Fixture *f = mem_alloc_zero(sizeof(*f));
    const Column columns[] = {INT4("id", 1), TEXT("v", 2)};
    f->relations[0] = relation_of(&f->arena, 1, "s", "t", "a", columns, 1);
    f->relations[1] = relation_of(&f->arena, 1, "s", "t", "a", columns, 2);
    f->held = held_new("/tmp");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    held_free(f->held);
    assert_int_equal(spill_memory_used(), 0);
    arena_done(&f->arena);
    mem_free(f);
    return 0;
}

// Five changes a transaction, and a column more from some change on.
enum { A_TRANSACTION = 5, WIDER_FROM = 7 };

static Lsn lsn_of(uint32_t number)
{
    return 0x100 + number / A_TRANSACTION * 0x10;
}

static Status hold(Fixture *f, Lsn copied_at)
{
    // None of it lives on.
    uint32_t number = f->added++;
    char bytes[WIDTH];
    char origin[20];
    memset(bytes, 'a' + (int)(number % 26), sizeof(bytes));
    (void)snprintf(bytes, 20, "%u", number);
    (void)snprintf(origin, sizeof(origin), "from %u", number / A_TRANSACTION);
    Value row[2] = {{bytes, (uint32_t)strlen(bytes), VALUE_TEXT}, {bytes, WIDTH, VALUE_BINARY}};
    Transaction transaction = {
        .commit_lsn = lsn_of(number), .xid = number / A_TRANSACTION, .origin = str_from(origin)};
    Change change = {.op = CHANGE_INSERT,
                     .relation = f->relations[number >= WIDER_FROM],
                     .new_row = row,
                     .transaction = &transaction,
                     .ordinal = number % A_TRANSACTION + 1};
    return held_add(f->held, &change, copied_at, &f->error);
}

static void hold_many(Fixture *f, uint32_t count, Lsn copied_at)
{
    for (uint32_t i = 0; i < count; i++) {
        if (hold(f, copied_at) != STATUS_OK) {
            fail_msg("%s", f->error.message);
        }
    }
}

static void check(const Fixture *f, const Change *change)
{
    uint32_t number = f->found;
    char text[20];
    (void)snprintf(text, sizeof(text), "from %u", number / A_TRANSACTION);
    assert_true(str_is(change->transaction->origin, text));
    (void)snprintf(text, sizeof(text), "%u", number);
    assert_int_equal(change->op, CHANGE_INSERT);
    assert_int_equal(change->ordinal, number % A_TRANSACTION + 1);
    assert_int_equal(change->transaction->commit_lsn, lsn_of(number));
    assert_int_equal(change->transaction->xid, number / A_TRANSACTION);
    assert_ptr_equal(change->relation, f->relations[number >= WIDER_FROM]);
    assert_memory_equal(change->new_row[0].ptr, text, strlen(text));
    if (number >= WIDER_FROM) {
        assert_int_equal(change->new_row[1].len, WIDTH);
        assert_int_equal(change->new_row[1].state, VALUE_BINARY);
        assert_memory_equal(change->new_row[1].ptr, text, strlen(text));
        assert_int_equal(change->new_row[1].ptr[WIDTH - 1], 'a' + (int)(number % 26));
    }
}

// All from @first on.
static void expect(Fixture *f, uint32_t first, size_t largest)
{
    Batch *batch;
    Status status;
    f->found = first;
    while ((status = held_next(f->held, &batch, &f->error)) == STATUS_OK) {
        assert_true(batch->count > 0);
        assert_true(batch->bytes <= largest);
        for (size_t i = 0; i < batch->count; i++, f->found++) {
            check(f, &batch->changes[i]);
        }
    }
    assert_int_equal(status, STATUS_AGAIN);
    assert_int_equal(f->found, f->added);
}

static void a_few_stay_in_memory(void **state)
{
    Fixture *f = *state;
    hold_many(f, 20, LSN_NONE);
    assert_int_equal(spill_memory_used(), 0);
    assert_in_range(held_bytes(f->held), 13 * WIDTH, 40 * WIDTH);
    expect(f, 0, SIZE_MAX);
}

static void nothing_is_held(void **state)
{
    Fixture *f = *state;
    assert_int_equal(held_bytes(f->held), 0);
    expect(f, 0, SIZE_MAX);
}

// Whatever there is, it takes no more than its part of memory, and comes back in small parts.
static void many_take_no_more_memory(void **state)
{
    enum { MANY = 60000 };
    Fixture *f = *state;
    for (int i = 0; i < 60; i++) {
        hold_many(f, MANY / 60, LSN_NONE);
        assert_true(spill_memory_used() <= MEMORY_MAX);
    }
    assert_in_range(held_bytes(f->held), (uint64_t)MANY * WIDTH, (uint64_t)MANY * WIDTH * 2);
    assert_in_range(spill_memory_used(), MEMORY_MAX / 2, MEMORY_MAX);
    expect(f, 0, 1 << 20);
}

// It was committed before the snapshot, so the copy has it.
static void what_the_copy_has_is_dropped(void **state)
{
    Fixture *f = *state;
    hold_many(f, 30000, LSN_NONE);
    assert_true(spill_memory_used() > 0);
    hold_many(f, 30000, lsn_of(59990));
    assert_int_equal(spill_memory_used(), 0);
    expect(f, 59990, SIZE_MAX);
}

// What is told from the rest only by reading it stays.
static void the_rest_is_held_as_it_is(void **state)
{
    Fixture *f = *state;
    hold_many(f, 40, LSN_NONE);
    hold_many(f, 10, lsn_of(20));
    hold_many(f, 10, lsn_of(45));
    expect(f, 0, SIZE_MAX);
}

static void a_directory_that_is_not_there(void **state)
{
    Fixture *f = *state;
    held_free(f->held);
    f->held = held_new("/no/such/place");
    Status status = STATUS_OK;
    for (int i = 0; i < 60000 && status == STATUS_OK; i++) {
        status = hold(f, LSN_NONE);
    }
    assert_int_equal(status, STATUS_FAIL);
    assert_int_equal(f->error.kind, ERROR_CONFIG);
    assert_non_null(strstr(f->error.message, "table that is being copied"));
    assert_non_null(strstr(f->error.message, "/no/such/place"));
}

#define held_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        held_test(nothing_is_held),           held_test(a_few_stay_in_memory),
        held_test(many_take_no_more_memory),  held_test(what_the_copy_has_is_dropped),
        held_test(the_rest_is_held_as_it_is), held_test(a_directory_that_is_not_there),
    };
    return cmocka_run_group_tests_name("route_held", tests, NULL, NULL);
}
