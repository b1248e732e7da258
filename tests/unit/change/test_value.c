#include <math.h>
#include <stdio.h>

#include "change/value.h"
#include "unit.h"

static Value text(const char *bytes)
{
    return (Value){bytes, (uint32_t)strlen(bytes), VALUE_TEXT};
}

static const ValueState states[] = {VALUE_ABSENT, VALUE_NULL, VALUE_UNCHANGED, VALUE_TEXT,
                                    VALUE_BINARY};

static void test_states(void **state)
{
    static const struct {
        bool data;
        bool known;
    } expected[] = {
        [VALUE_ABSENT] = {false, false},    [VALUE_NULL] = {false, true},
        [VALUE_UNCHANGED] = {false, false}, [VALUE_TEXT] = {true, true},
        [VALUE_BINARY] = {true, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        Value value = {"x", 1, states[i]};
        assert_int_equal(value_is_data(value), expected[states[i]].data);
        assert_int_equal(value_is_known(value), expected[states[i]].known);
    }
    Value zeroed = {0};
    assert_int_equal(zeroed.state, VALUE_ABSENT);
}

// No state is ever taken for another, and only data has bytes to compare.
static void test_equal(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        for (size_t j = 0; j < ARRAY_LEN(states); j++) {
            Value a = {"x", 1, states[i]};
            Value b = {"x", 1, states[j]};
            assert_int_equal(value_equal(a, b), i == j);
            b.ptr = "y";
            assert_int_equal(value_equal(a, b), i == j && !value_is_data(a));
        }
    }
    assert_true(value_equal(text(""), (Value){NULL, 0, VALUE_TEXT}));
    assert_false(value_equal(text(""), (Value){NULL, 0, VALUE_NULL}));
    assert_false(value_equal(text("a"), text("aa")));
}

static void test_to_int64(void **state)
{
    int64_t number = 42;
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        bool fine = value_to_int64((Value){"7", 1, states[i]}, &number);
        assert_int_equal(fine, states[i] == VALUE_TEXT);
        assert_int_equal(number, states[i] == VALUE_TEXT ? 7 : 42);
        number = 42;
    }
    assert_true(value_to_int64(text("-9223372036854775808"), &number) && number == INT64_MIN);
    assert_false(value_to_int64(text("1.0"), &number));
    assert_false(value_to_int64(text(""), &number));
}

static void test_to_bool(void **state)
{
    bool flag = true;
    assert_true(value_to_bool(text("f"), &flag) && !flag);
    assert_true(value_to_bool(text("t"), &flag) && flag);
    assert_false(value_to_bool(text(""), &flag));
    assert_false(value_to_bool(text("true"), &flag));
    assert_false(value_to_bool(text("1"), &flag));
    assert_false(value_to_bool((Value){"t", 1, VALUE_BINARY}, &flag));
    assert_false(value_to_bool((Value){"t", 1, VALUE_NULL}, &flag));
}

static void test_to_double(void **state)
{
    double number = 42;
    assert_true(value_to_double(text("1.5"), &number) && number == 1.5);
    assert_true(value_to_double(text("NaN"), &number) && isnan(number));
    assert_true(value_to_double(text("-Infinity"), &number) && isinf(number) && number < 0);
    number = 42;
    assert_false(value_to_double((Value){"1", 1, VALUE_BINARY}, &number));
    assert_false(value_to_double(text("one"), &number));
    assert_true(number == 42);
}

static void test_bytea(void **state)
{
    size_t size = 42;
    static const char *const bad[] = {"", "\\", "x00", "\\x0", "0x00", "\\X00", "abc"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(value_bytea_size(text(bad[i]), &size));
        assert_int_equal(size, 42);
    }
    assert_false(value_bytea_size((Value){"\\x00", 4, VALUE_BINARY}, &size));
    assert_true(value_bytea_size(text("\\x"), &size) && size == 0);
    assert_true(value_bytea_size(text("\\x00ffAb"), &size) && size == 3);
    char bytes[3];
    assert_true(value_to_bytea(text("\\x00ffAb"), bytes, sizeof(bytes)));
    assert_memory_equal(bytes, "\x00\xff\xab", 3);
    assert_false(value_to_bytea(text("\\x00ffAb"), bytes, 2));
    assert_true(value_to_bytea(text("\\x"), bytes, 0));
    assert_false(value_to_bytea(text("\\x0g"), bytes, sizeof(bytes)));
    assert_false(value_to_bytea(text("\\xg0"), bytes, sizeof(bytes)));
    assert_false(value_to_bytea(text("\\x\xff\xff"), bytes, sizeof(bytes)));
}

// Each byte there and back.
static void test_bytea_every_byte(void **state)
{
    for (int byte = 0; byte < 256; byte++) {
        char hex[8];
        char got;
        (void)snprintf(hex, sizeof(hex), "\\x%02x", byte);
        assert_true(value_to_bytea(text(hex), &got, 1));
        assert_int_equal((unsigned char)got, byte);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),           cmocka_unit_test(test_equal),
        cmocka_unit_test(test_to_int64),         cmocka_unit_test(test_to_bool),
        cmocka_unit_test(test_to_double),        cmocka_unit_test(test_bytea),
        cmocka_unit_test(test_bytea_every_byte),
    };
    return cmocka_run_group_tests_name("value", tests, NULL, NULL);
}
