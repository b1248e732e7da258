#include <stdio.h>

#include "base/map.h"
#include "unit.h"

static int values[4096];

static void test_text_keys(void **state)
{
    Map map = {0};
    assert_null(map_get(&map, STR("a")));
    assert_null(map_remove(&map, STR("a")));
    assert_null(map_put(&map, STR("a"), &values[0]));
    assert_null(map_put(&map, STR("b"), &values[1]));
    assert_null(map_put(&map, (Str){0}, &values[2])); // the empty text is a key
    assert_null(map_put(&map, STR("a\0b"), &values[3]));
    assert_int_equal(map.count, 4);
    assert_ptr_equal(map_get(&map, STR("a")), &values[0]);
    assert_ptr_equal(map_get(&map, STR("b")), &values[1]);
    assert_ptr_equal(map_get(&map, STR("")), &values[2]);
    assert_ptr_equal(map_get(&map, STR("a\0b")), &values[3]);
    assert_null(map_get(&map, STR("c")));
    assert_ptr_equal(map_put(&map, STR("a"), &values[9]), &values[0]);
    assert_int_equal(map.count, 4);
    assert_ptr_equal(map_remove(&map, STR("a")), &values[9]);
    assert_null(map_remove(&map, STR("a")));
    assert_null(map_get(&map, STR("a")));
    assert_ptr_equal(map_get(&map, STR("b")), &values[1]);
    map_done(&map);
}

static void test_extreme_numbers(void **state)
{
    static const uint64_t keys[] = {0, 1, UINT32_MAX, UINT64_MAX, UINT64_MAX / 2};
    Map map = {0};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_null(map_put_u64(&map, keys[i], &values[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_ptr_equal(map_get_u64(&map, keys[i]), &values[i]);
        assert_ptr_equal(map_remove_u64(&map, keys[i]), &values[i]);
    }
    assert_int_equal(map.count, 0);
    map_done(&map);
}

// Multiples of @stride; 0: without any order. Ordered keys hardly ever collide.
static uint64_t key_number(uint64_t number, uint64_t stride)
{
    return stride == 0 ? hash_bytes(&number, sizeof(number)) : number * stride;
}

// Against a plain array: random insertions, replacements and removals of @keys numbers.
static void check_against_model(uint32_t keys, uint64_t first, uint64_t stride)
{
    static const int *model[1500];
    assert_true(keys <= ARRAY_LEN(model));
    memset(model, 0, sizeof(model));
    Map map = {0};
    size_t count = 0;
    uint32_t random = 11;
    for (uint32_t round = 0; round < 30000; round++) {
        random = random * 1664525 + 1013904223;
        // Waves: mostly insertions, then mostly removals.
        bool insert = (random >> 8) % 10 < (round / 5000 % 2 == 0 ? 8U : 2U);
        uint32_t key = (random >> 12) % keys;
        if (insert) {
            int *value = &values[round % ARRAY_LEN(values)];
            assert_ptr_equal(map_put_u64(&map, key_number(first + key, stride), value), model[key]);
            count += model[key] == NULL ? 1 : 0;
            model[key] = value;
        } else {
            assert_ptr_equal(map_remove_u64(&map, key_number(first + key, stride)), model[key]);
            count -= model[key] == NULL ? 0 : 1;
            model[key] = NULL;
        }
        assert_int_equal(map.count, count);
        for (uint32_t i = 0; i < keys && (keys < 100 || round % 1000 == 0); i++) {
            assert_ptr_equal(map_get_u64(&map, key_number(first + i, stride)), model[i]);
        }
    }
    map_done(&map);
}

static void test_random_operations(void **state)
{
    check_against_model(1500, 0, 0);
    check_against_model(1500, 0, 1);
    check_against_model(1500, 0, 1 << 20); // xids and oids come in steps
    check_against_model(1500, 0, UINT64_C(1) << 52);
    // 23 fill a table of 32 nearly as far as it goes; some sets of keys wrap around its end.
    for (uint64_t first = 0; first < 10; first++) {
        check_against_model(23, first * 100, 0);
    }
}

static void test_iteration(void **state)
{
    Map map = {0};
    size_t cursor = 0;
    void *value;
    assert_false(map_next(&map, &cursor, &value));
    for (uint64_t i = 0; i < 1000; i++) {
        values[i] = 0;
        map_put_u64(&map, i, &values[i]);
    }
    cursor = 0;
    while (map_next(&map, &cursor, &value)) {
        ++*(int *)value;
    }
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(values[i], 1); // each once
    }
    map_done(&map);
}

static void test_many_text_keys(void **state)
{
    static char keys[2000][16];
    Map map = {0};
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(keys[i], sizeof(keys[i]), "table_%d", i);
        map_put(&map, str_from(keys[i]), keys[i]);
    }
    for (int i = 0; i < 2000; i += 2) {
        assert_ptr_equal(map_remove(&map, str_from(keys[i])), keys[i]);
    }
    for (int i = 0; i < 2000; i++) {
        assert_ptr_equal(map_get(&map, str_from(keys[i])), i % 2 == 0 ? NULL : keys[i]);
    }
    map_done(&map);
}

static void test_reset_and_done(void **state)
{
    Map map = {0};
    map_reset(&map);
    map_put_u64(&map, 1, &values[0]);
    map_reset(&map);
    assert_int_equal(map.count, 0);
    assert_null(map_get_u64(&map, 1));
    map_put_u64(&map, 1, &values[1]);
    assert_ptr_equal(map_get_u64(&map, 1), &values[1]);
    map_done(&map);
    map_done(&map);
    map_done(NULL);
    assert_null(map_get_u64(&map, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_keys),         cmocka_unit_test(test_extreme_numbers),
        cmocka_unit_test(test_random_operations), cmocka_unit_test(test_iteration),
        cmocka_unit_test(test_many_text_keys),    cmocka_unit_test(test_reset_and_done),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
