#include <stdbool.h>
#include <string.h>

#include "base/arena.h"
#include "unit.h"

enum { ALIGNMENT = _Alignof(max_align_t) };

static void assert_aligned(const void *memory)
{
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % ALIGNMENT, 0);
}

static void test_everything_is_aligned(void **state)
{
    Arena arena = {0};
    for (size_t size = 0; size < 300; size++) {
        assert_aligned(arena_alloc(&arena, size));
        assert_non_null(arena_alloc_bytes(&arena, size % 7)); // puts the next one out of step
    }
    assert_aligned(arena_alloc(&arena, 100001));
    assert_aligned(arena_alloc(&arena, 1));
    arena_done(&arena);
}

// Nothing is something: row images of tables without columns, empty texts.
static void test_no_bytes(void **state)
{
    Arena arena = {0};
    assert_non_null(arena_alloc_bytes(&arena, 0));
    arena_done(&arena);
    assert_aligned(arena_alloc(&arena, 0));
    arena_done(&arena);
    assert_non_null(ARENA_ARRAY(&arena, int, 0));
    arena_done(&arena);
    assert_string_equal(arena_copy(&arena, NULL, 0), "");
    arena_done(&arena);
    // Behind a chunk of its own whose end is not aligned.
    (void)arena_alloc_bytes(&arena, 20001);
    assert_aligned(arena_alloc(&arena, 0));
    arena_done(&arena);
}

// Every allocation keeps its bytes whatever is allocated around it.
static void test_allocations_do_not_overlap(void **state)
{
    enum { COUNT = 2000 };
    Arena arena = {.chunk_size = 1024};
    unsigned char *parts[COUNT];
    size_t sizes[COUNT];
    uint32_t random = 7;
    size_t total = 0;
    for (int i = 0; i < COUNT; i++) {
        random = random * 1664525 + 1013904223;
        sizes[i] = (random >> 16) % (i % 50 == 0 ? 5000 : 200);
        parts[i] = random & 0x8000 ? arena_alloc(&arena, sizes[i])
                                   : (unsigned char *)arena_alloc_bytes(&arena, sizes[i]);
        memset(parts[i], i & 0xff, sizes[i]);
        total += sizes[i];
    }
    assert_true(arena.total >= total);
    for (int i = 0; i < COUNT; i++) {
        for (size_t at = 0; at < sizes[i]; at++) {
            assert_int_equal(parts[i][at], i & 0xff);
        }
    }
    arena_done(&arena);
}

static void test_zeroed(void **state)
{
    Arena arena = {0};
    memset(arena_alloc(&arena, 5000), 0xff, 5000);
    arena_reset(&arena); // the same memory comes again
    const char *bytes = arena_alloc_zero(&arena, 5000);
    const long *numbers = ARENA_ARRAY(&arena, long, 100);
    for (size_t i = 0; i < 5000; i++) {
        assert_int_equal(bytes[i], 0);
    }
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(numbers[i], 0);
    }
    arena_done(&arena);
}

static void test_reset_keeps_one_chunk(void **state)
{
    Arena arena = {0};
    void *first = arena_alloc(&arena, 16);
    for (int round = 0; round < 10; round++) {
        (void)arena_alloc(&arena, 1000);
        (void)arena_alloc(&arena, 1000000); // one of its own: not kept
        arena_reset(&arena);
        assert_int_equal(arena.total, 0);
        assert_ptr_equal(arena_alloc(&arena, 16), first);
    }
    arena_done(&arena);
    (void)arena_alloc(&arena, 1000000);
    arena_reset(&arena);
    assert_null(arena.spare);
    arena_done(&arena);
}

static bool is_one_of(const void *pointer, void *const *pointers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (pointers[i] == pointer) {
            return true;
        }
    }
    return false;
}

static void test_recycle_keeps_chunks(void **state)
{
    enum { PART = 1008, PARTS = 4, KEPT = 3, CHUNKS = 5 };
    Arena arena = {.chunk_size = PART * PARTS + ALIGNMENT};
    for (int round = 0; round < 3; round++) {
        void *firsts[CHUNKS];
        for (size_t i = 0; i < CHUNKS * PARTS; i++) {
            void *part = arena_alloc(&arena, PART);
            firsts[i / PARTS] = i % PARTS == 0 ? part : firsts[i / PARTS];
        }
        (void)arena_alloc(&arena, 1000000); // one of its own: not kept
        arena_recycle(&arena, KEPT);
        assert_int_equal(arena.total, 0);
        for (size_t i = 0; i < KEPT * PARTS; i++) {
            assert_true(i % PARTS != 0 || arena.spare != NULL);
            const void *part = arena_alloc(&arena, PART);
            assert_true(i % PARTS != 0 || is_one_of(part, firsts, CHUNKS));
        }
        assert_null(arena.spare);
    }
    arena_recycle(&arena, 0);
    assert_null(arena.spare);
    arena_done(&arena);
}

static void test_large_allocation_wastes_nothing(void **state)
{
    Arena arena = {0};
    const char *before = arena_alloc_bytes(&arena, 8);
    (void)arena_alloc_bytes(&arena, 1000000);
    assert_ptr_equal(arena_alloc_bytes(&arena, 8), before + 8);
    arena_done(&arena);
}

static void test_copy_and_printf(void **state)
{
    Arena arena = {0};
    const char *copy = arena_copy(&arena, "a\0b", 3);
    assert_memory_equal(copy, "a\0b", 4); // with the NUL behind it
    assert_string_equal(arena_printf(&arena, "%s-%d", "x", 42), "x-42");
    assert_string_equal(arena_printf(&arena, "%s", ""), "");
    assert_int_equal(strlen(arena_printf(&arena, "%100000d", 1)), 100000);
    arena_done(&arena);
}

static void test_done_twice(void **state)
{
    Arena arena = {0};
    arena_reset(&arena);
    arena_done(&arena);
    (void)arena_alloc(&arena, 1);
    arena_reset(&arena);
    arena_done(&arena);
    arena_done(&arena);
    arena_done(NULL);
    assert_aligned(arena_alloc(&arena, 1)); // usable again
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_is_aligned),
        cmocka_unit_test(test_no_bytes),
        cmocka_unit_test(test_allocations_do_not_overlap),
        cmocka_unit_test(test_zeroed),
        cmocka_unit_test(test_reset_keeps_one_chunk),
        cmocka_unit_test(test_recycle_keeps_chunks),
        cmocka_unit_test(test_large_allocation_wastes_nothing),
        cmocka_unit_test(test_copy_and_printf),
        cmocka_unit_test(test_done_twice),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
