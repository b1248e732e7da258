// When a batch of the stream is sealed.
#include "pipeline/source.h"
#include "unit.h"

enum { WHOLE = 2 << 20 }; // what fills a batch of a source that shares its memory with nobody

static void add(Batch *batch, size_t bytes)
{
    batch->bytes += bytes;
}

static void test_full_at_a_boundary(void **state)
{
    Source source = {0};
    Batch *batch = batch_new();
    add(batch, WHOLE - 1);
    assert_false(source_batch_is_full(&source, batch, false));
    add(batch, 1);
    assert_true(source_batch_is_full(&source, batch, false));
    batch_unref(batch);
}

static void test_a_small_transaction_is_not_cut(void **state)
{
    Source source = {0};
    Batch *batch = batch_new();
    add(batch, WHOLE - 1);
    assert_false(source_batch_is_full(&source, batch, false));
    for (int i = 0; i < 10; i++) {
        add(batch, 1000);
        assert_false(source_batch_is_full(&source, batch, true));
    }
    assert_true(source_batch_is_full(&source, batch, false));
    batch_unref(batch);
}

static void test_a_large_one_is_cut(void **state)
{
    Source source = {0};
    Batch *batch = batch_new();
    add(batch, 1000);
    assert_false(source_batch_is_full(&source, batch, false));
    add(batch, WHOLE - 1);
    assert_false(source_batch_is_full(&source, batch, true));
    add(batch, 1);
    assert_true(source_batch_is_full(&source, batch, true));
    batch_unref(batch);
}

static void test_many_share_the_memory(void **state)
{
    Source source = {.context = {.sharers = 4}};
    Batch *batch = batch_new();
    add(batch, WHOLE / 4 - 1);
    assert_false(source_batch_is_full(&source, batch, false));
    add(batch, 1);
    assert_true(source_batch_is_full(&source, batch, false));
    batch_unref(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_at_a_boundary),
        cmocka_unit_test(test_a_small_transaction_is_not_cut),
        cmocka_unit_test(test_a_large_one_is_cut),
        cmocka_unit_test(test_many_share_the_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
