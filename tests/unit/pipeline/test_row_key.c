// What names rows, and sets of them: which changes are of one row, of different ones, or unclear.
#include "arena_fixture.h"
#include "pipeline/row_key.h"
#include "relations.h"

enum { OID = 7 };

static Str one_name(const char *column, const char *value)
{
    static Buf names;
    buf_init(&names, 1 << 10);
    size_t begin = row_name_begin(&names);
    row_name_add(&names, str_from(column), (Value){value, (uint32_t)strlen(value), VALUE_TEXT});
    row_name_end(&names, begin);
    Str copy = str_copy(&arena, buf_view(&names));
    buf_done(&names);
    return copy;
}

static Str joined(Str first, Str second)
{
    char *bytes = arena_alloc_bytes(&arena, first.len + second.len);
    memcpy(bytes, first.ptr, first.len);
    memcpy(bytes + first.len, second.ptr, second.len);
    return (Str){bytes, first.len + second.len};
}

static RowKey by(Str before)
{
    return (RowKey){.before = before};
}

static RowSetFound found(const RowSet *set, Str names)
{
    const RowKey key = by(names);
    return row_set_find(set, OID, &key);
}

static void the_relation_s_key_is_a_name(void **context)
{
    (void)context;
    const Column columns[] = {INT4("id", 1), TEXT("v", 2)};
    const Relation *relation = relation_of(&arena, OID, "s", "t", "a", columns, 2);
    RowKey inserted;
    RowKey changed;
    RowKey moved;
    row_key_of_relation(&(Change){.relation = relation, .new_row = ROW(T("1"), T("x"))}, &arena,
                        &inserted);
    row_key_of_relation(&(Change){.relation = relation,
                                  .old_row = ROW(T("1"), NONE),
                                  .new_row = ROW(T("1"), T("y"))},
                        &arena, &changed);
    row_key_of_relation(
        &(Change){.relation = relation, .old_row = ROW(T("1"), NONE), .new_row = ROW(T("2"), SAME)},
        &arena, &moved);
    assert_int_equal(changed.after.len, 0);
    assert_true(str_equal(inserted.before, changed.before));
    assert_true(str_equal(inserted.before, moved.before));
    assert_true(moved.after.len > 0 && !str_equal(moved.after, moved.before));
    assert_true(row_keys_meet(&inserted, &moved));
    const RowKey next = by(moved.after);
    assert_true(row_keys_meet(&moved, &next));
    assert_false(row_keys_meet(&inserted, &next));
}

static void without_a_key_all_columns_are(void **context)
{
    (void)context;
    const Column columns[] = {INT4("id", 1), TEXT("v", 2)};
    const Relation *relation = relation_of(&arena, OID, "s", "t", "", columns, 2);
    RowKey one;
    RowKey other;
    row_key_of_relation(&(Change){.relation = relation, .new_row = ROW(T("1"), T("x"))}, &arena,
                        &one);
    row_key_of_relation(&(Change){.relation = relation, .new_row = ROW(T("1"), NIL)}, &arena,
                        &other);
    assert_false(row_keys_meet(&one, &other));
    assert_true(row_keys_meet(&one, &one));
}

static void rows_of_one_column_are_told_apart(void **context)
{
    (void)context;
    RowSet set = {0};
    assert_int_equal(found(&set, one_name("id", "1")), ROW_NOT_FOUND);
    const RowKey key = by(one_name("id", "1"));
    row_set_add(&set, OID, &key, 5);
    assert_int_equal(found(&set, one_name("id", "1")), ROW_FOUND);
    assert_int_equal(found(&set, one_name("id", "2")), ROW_NOT_FOUND);
    assert_int_equal(found(&set, one_name("di", "1")), ROW_UNKNOWN);
    assert_int_equal(found(&set, (Str){0}), ROW_UNKNOWN);
    assert_int_equal(row_set_find(&set, OID + 1, &key), ROW_NOT_FOUND);
    assert_true(row_set_has_table(&set, OID));
    assert_false(row_set_has_table(&set, OID + 1));
    row_set_reset(&set);
    assert_int_equal(found(&set, one_name("id", "1")), ROW_NOT_FOUND);
    row_set_done(&set);
}

static void before_and_after_count(void **context)
{
    (void)context;
    RowSet set = {0};
    const RowKey moved = {one_name("id", "1"), one_name("id", "2")};
    row_set_add(&set, OID, &moved, 5);
    assert_int_equal(found(&set, one_name("id", "1")), ROW_FOUND);
    assert_int_equal(found(&set, one_name("id", "2")), ROW_FOUND);
    const RowKey comes = {one_name("id", "3"), one_name("id", "1")};
    assert_int_equal(row_set_find(&set, OID, &comes), ROW_FOUND);
    const RowKey passes = {one_name("id", "3"), one_name("id", "4")};
    assert_int_equal(row_set_find(&set, OID, &passes), ROW_NOT_FOUND);
    row_set_done(&set);
}

static void one_name_in_common_is_enough(void **context)
{
    (void)context;
    RowSet set = {0};
    const RowKey key = by(joined(one_name("id", "1"), one_name("sku", "a")));
    row_set_add(&set, OID, &key, 5);
    assert_int_equal(found(&set, one_name("id", "1")), ROW_FOUND);
    assert_int_equal(found(&set, one_name("sku", "a")), ROW_FOUND);
    assert_int_equal(found(&set, one_name("sku", "b")), ROW_NOT_FOUND);
    assert_int_equal(found(&set, joined(one_name("id", "2"), one_name("sku", "a"))), ROW_FOUND);
    assert_int_equal(found(&set, one_name("ean", "1")), ROW_UNKNOWN);
    // One that has only the one name cannot be told from one that has only the other.
    const RowKey other = by(one_name("sku", "c"));
    row_set_add(&set, OID, &other, 6);
    assert_int_equal(found(&set, one_name("id", "2")), ROW_UNKNOWN);
    assert_int_equal(found(&set, one_name("sku", "d")), ROW_NOT_FOUND);
    row_set_done(&set);
}

static void a_name_lists_what_it_is_there_for(void **context)
{
    (void)context;
    RowSet set = {0};
    const RowKey first = by(joined(one_name("id", "1"), one_name("sku", "a")));
    const RowKey second = by(one_name("id", "1"));
    row_set_add(&set, OID, &first, 5);
    row_set_add(&set, OID, &second, 6);
    Str names = second.before;
    Str name;
    assert_true(row_name_next(&names, &name));
    assert_false(row_name_next(&names, &(Str){0}));
    const RowSetItem *item = row_set_get(&set, OID, name);
    assert_int_equal(item->id, 6);
    assert_int_equal(item->next->id, 5);
    assert_null(item->next->next);
    assert_null(row_set_get(&set, OID + 1, name));
    row_set_done(&set);
}

// What is kept in a file may be anything.
static void damaged_names_are_unclear(void **context)
{
    (void)context;
    RowSet set = {0};
    Str whole = one_name("id", "1");
    const RowKey key = by(whole);
    row_set_add(&set, OID, &key, 5);
    for (size_t len = 0; len < whole.len; len++) {
        assert_int_equal(found(&set, (Str){whole.ptr, len}), ROW_UNKNOWN);
    }
    // A column that is gone from the catalog is none that could be compared.
    assert_int_equal(found(&set, one_name("", "1")), ROW_UNKNOWN);
    assert_false(row_names_are_alike(STR("\0\0\0\0"), STR("\0\0\0\0")));
    row_set_done(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_relation_s_key_is_a_name),
        cmocka_unit_test(without_a_key_all_columns_are),
        cmocka_unit_test(rows_of_one_column_are_told_apart),
        cmocka_unit_test(before_and_after_count),
        cmocka_unit_test(one_name_in_common_is_enough),
        cmocka_unit_test(a_name_lists_what_it_is_there_for),
        cmocka_unit_test(damaged_names_are_unclear),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
