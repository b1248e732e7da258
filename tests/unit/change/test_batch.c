#include <pthread.h>
#include <string.h>

#include "change/batch.h"
#include "unit.h"

static const Relation relation = {.column_count = 4};

static Value text(const char *bytes)
{
    return (Value){bytes, (uint32_t)strlen(bytes), VALUE_TEXT};
}

static void test_changes_are_zeroed_and_kept(void **state)
{
    Batch *batch = batch_new();
    for (uint64_t i = 1; i <= 1000; i++) {
        Change *change = batch_add(batch);
        static const Change zero = {0};
        assert_memory_equal(change, &zero, sizeof(zero));
        change->ordinal = i;
    }
    assert_int_equal(batch->count, 1000);
    for (uint64_t i = 1; i <= 1000; i++) {
        assert_int_equal(batch->changes[i - 1].ordinal, i);
    }
    batch_unref(batch);
}

static void test_rows_and_bytes(void **state)
{
    Batch *batch = batch_new();
    const Value *row = batch_row(batch, 1600);
    for (size_t i = 0; i < 1600; i++) {
        assert_int_equal(row[i].state, VALUE_ABSENT);
    }
    char source[] = "abc";
    const char *copy = batch_bytes(batch, source, 3);
    source[0] = 'x';
    assert_memory_equal(copy, "abc", 3);
    assert_non_null(batch_bytes(batch, NULL, 0));
    assert_non_null(batch_row(batch, 0));
    assert_true(batch->bytes >= 1600 * sizeof(Value) + 3);
    batch_unref(batch);
}

// Its memory may be that of one that was large.
static void test_a_new_batch_is_empty(void **state)
{
    for (int round = 0; round < 20; round++) {
        Batch *batch = batch_new();
        assert_int_equal(batch->count, 0);
        assert_int_equal(batch->bytes, 0);
        assert_int_equal(batch->whole_bytes, 0);
        assert_int_equal(batch->arena.total, 0);
        assert_int_equal(batch->sealed_us, 0);
        assert_false(batch->ends_transaction);
        assert_false(batch->is_sealed);
        for (uint64_t i = 0; i < 10000; i++) {
            static const Change zero = {0};
            Change *change = batch_add(batch);
            assert_memory_equal(change, &zero, sizeof(zero));
            change->ordinal = i;
            Value *row = batch_row(batch, 4);
            assert_int_equal(row[3].state, VALUE_ABSENT);
            row[3] = text("a");
        }
        batch->whole_bytes = batch->bytes;
        batch_seal(batch, (Position){1, 0}, true);
        batch_unref(batch);
    }
}

static void test_nothing_in_an_empty_batch(void **state)
{
    Batch *batch = batch_new();
    assert_non_null(batch_bytes(batch, NULL, 0));
    batch_unref(batch);
    batch = batch_new();
    assert_non_null(batch_row(batch, 0));
    batch_unref(batch);
}

static void test_copy_of_a_row_change(void **state)
{
    char bytes[] = "old";
    Value old_row[4] = {text(bytes), {.state = VALUE_NULL}, {0}, {0}};
    Value new_row[4] = {
        text("new"), {.state = VALUE_UNCHANGED}, {"\0\1", 2, VALUE_BINARY}, {NULL, 0, VALUE_TEXT}};
    Transaction theirs = {.commit_lsn = 1};
    Transaction ours = {.commit_lsn = 2};
    Change change = {.op = CHANGE_UPDATE,
                     .relation = &relation,
                     .old_row = old_row,
                     .new_row = new_row,
                     .transaction = &theirs,
                     .ordinal = 7};
    Batch *batch = batch_new();
    size_t before = batch->bytes;
    batch_add_copy(batch, &change, &ours);
    // The original goes away.
    memset(bytes, 'x', sizeof(bytes));
    memset(old_row, 0xa5, sizeof(old_row));
    memset(new_row, 0xa5, sizeof(new_row));
    memset(&change, 0xa5, sizeof(change));

    const Change *copy = &batch->changes[0];
    assert_int_equal(batch->count, 1);
    assert_int_equal(copy->op, CHANGE_UPDATE);
    assert_ptr_equal(copy->relation, &relation);
    assert_ptr_equal(copy->transaction, &ours);
    assert_int_equal(copy->ordinal, 7);
    assert_null(copy->message);
    assert_true(value_equal(copy->old_row[0], text("old")));
    assert_int_equal(copy->old_row[1].state, VALUE_NULL);
    assert_int_equal(copy->old_row[2].state, VALUE_ABSENT);
    assert_true(value_equal(copy->new_row[0], text("new")));
    assert_int_equal(copy->new_row[1].state, VALUE_UNCHANGED);
    assert_true(value_equal(copy->new_row[2], (Value){"\0\1", 2, VALUE_BINARY}));
    assert_true(value_equal(copy->new_row[3], text("")));
    // All that was taken in counts: the change, two rows, eight bytes.
    assert_int_equal(batch->bytes - before, sizeof(Change) + 8 * sizeof(Value) + 8);
    batch_unref(batch);
}

static void test_copy_without_rows(void **state)
{
    Transaction transaction = {.commit_lsn = 2};
    Change insert = {.op = CHANGE_INSERT, .relation = &relation, .new_row = (Value[4]){{0}}};
    Change truncate = {
        .op = CHANGE_TRUNCATE, .relation = &relation, .truncate_flags = TRUNCATE_CASCADE};
    Batch *batch = batch_new();
    batch_add_copy(batch, &insert, &transaction);
    batch_add_copy(batch, &truncate, &transaction);
    assert_null(batch->changes[0].old_row);
    assert_non_null(batch->changes[0].new_row);
    assert_null(batch->changes[1].old_row);
    assert_null(batch->changes[1].new_row);
    assert_int_equal(batch->changes[1].truncate_flags, TRUNCATE_CASCADE);
    batch_unref(batch);
}

static void test_copy_of_a_message(void **state)
{
    char prefix[] = "weir";
    char content[] = "a\0b";
    LogicalMessage message = {
        .prefix = str_from(prefix), .content = {content, 3}, .lsn = 9, .transactional = true};
    Change change = {.op = CHANGE_MESSAGE, .message = &message};
    Batch *batch = batch_new();
    batch_add_copy(batch, &change, NULL);
    memset(prefix, 'x', sizeof(prefix));
    memset(content, 'x', sizeof(content));
    memset(&message, 0xa5, sizeof(message));
    const LogicalMessage *copy = batch->changes[0].message;
    assert_true(str_is(copy->prefix, "weir"));
    assert_true(str_equal(copy->content, STR("a\0b")));
    assert_int_equal(copy->lsn, 9);
    assert_true(copy->transactional);
    batch_unref(batch);
}

static void test_seal(void **state)
{
    Batch *batch = batch_new();
    assert_false(batch->is_sealed);
    batch_seal(batch, (Position){5, 0}, true);
    assert_true(batch->is_sealed);
    assert_int_equal(batch->end.lsn, 5);
    assert_true(batch->ends_transaction);
    assert_true(batch->sealed_us > 0);
    batch_unref(batch);
}

static void *share(void *argument)
{
    Batch *batch = argument;
    for (int i = 0; i < 10000; i++) {
        batch_unref(batch_ref(batch));
    }
    batch_unref(batch);
    return NULL;
}

// The last one to let go frees it, whichever thread that is.
static void test_references(void **state)
{
    Batch *batch = batch_new();
    (void)batch_bytes(batch, "abc", 3);
    batch_seal(batch, (Position){1, 0}, true);
    assert_ptr_equal(batch_ref(batch), batch);
    batch_unref(batch);
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, share, batch_ref(batch)), 0);
    }
    batch_unref(batch);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    batch_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes_are_zeroed_and_kept),
        cmocka_unit_test(test_rows_and_bytes),
        cmocka_unit_test(test_a_new_batch_is_empty),
        cmocka_unit_test(test_nothing_in_an_empty_batch),
        cmocka_unit_test(test_copy_of_a_row_change),
        cmocka_unit_test(test_copy_without_rows),
        cmocka_unit_test(test_copy_of_a_message),
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_references),
    };
    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
