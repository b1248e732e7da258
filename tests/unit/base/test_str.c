#include <math.h>

#include "base/str.h"
#include "unit.h"

static const Str nothing = {NULL, 0};

static void assert_str(Str text, const char *expected)
{
    if (!str_is(text, expected)) {
        fail_msg("\"%" STR_FMT "\" is not \"%s\"", STR_ARG(text), expected);
    }
}

static void test_equal(void **state)
{
    assert_true(str_equal(nothing, STR("")));
    assert_true(str_equal(STR("a\0b"), STR("a\0b")));
    assert_false(str_equal(STR("a\0b"), STR("a\0c")));
    assert_false(str_equal(STR("a"), STR("ab")));
    assert_true(str_is(STR("ab"), "ab"));
    assert_true(str_is(nothing, ""));
    assert_int_equal(str_from(NULL).len, 0);
    assert_int_equal(str_from("abc").len, 3);
}

static void test_starts_with(void **state)
{
    assert_true(str_starts_with(STR("postgres://x"), STR("postgres:")));
    assert_true(str_starts_with(STR("a"), STR("a")));
    assert_true(str_starts_with(STR("a"), nothing));
    assert_true(str_starts_with(nothing, nothing));
    assert_false(str_starts_with(STR("a"), STR("ab")));
    assert_false(str_starts_with(STR("ba"), STR("a")));
}

static void test_compare(void **state)
{
    assert_int_equal(str_compare(STR("a"), STR("a")), 0);
    assert_int_equal(str_compare(nothing, STR("")), 0);
    assert_true(str_compare(STR("a"), STR("b")) < 0);
    assert_true(str_compare(STR("b"), STR("a")) > 0);
    assert_true(str_compare(STR("a"), STR("aa")) < 0);
    assert_true(str_compare(STR("aa"), STR("a")) > 0);
    assert_true(str_compare(nothing, STR("a")) < 0);
    assert_true(str_compare(STR("\xff"), STR("a")) > 0); // bytes, not signed characters
}

static void test_find_and_trim(void **state)
{
    assert_int_equal(str_find(STR("a=b=c"), '='), 1);
    assert_int_equal(str_find(STR("abc"), '='), -1);
    assert_int_equal(str_find(STR("a\0b"), '\0'), 1);
    assert_int_equal(str_find(nothing, 'a'), -1);
    assert_str(str_trim(STR(" \t\r\n a b \n")), "a b");
    assert_str(str_trim(STR("  ")), "");
    assert_str(str_trim(nothing), "");
}

static void test_split(void **state)
{
    Str rest = STR("a,,b,");
    Str head;
    const char *const expected[] = {"a", "", "b", ""};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_true(str_split(&rest, ',', &head));
        assert_str(head, expected[i]);
    }
    assert_false(str_split(&rest, ',', &head));
    rest = STR("");
    assert_true(str_split(&rest, ',', &head)); // one empty field
    assert_str(head, "");
    assert_false(str_split(&rest, ',', &head));
    rest = nothing;
    assert_false(str_split(&rest, ',', &head));
}

static void test_copies(void **state)
{
    Arena arena = {0};
    char text[] = "abc";
    Str copy = str_copy(&arena, str_from(text));
    const char *cstr = str_to_cstr(&arena, (Str){text, 2});
    text[0] = 'x';
    assert_str(copy, "abc");
    assert_string_equal(cstr, "ab");
    assert_string_equal(str_to_cstr(&arena, nothing), "");
    assert_int_equal(str_copy(&arena, nothing).len, 0);
    arena_done(&arena);
}

static void test_to_uint64(void **state)
{
    uint64_t value = 42;
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1a",
                                      "0x1",
                                      "1.0",
                                      "18446744073709551616",
                                      "99999999999999999999",
                                      "184467440737095516150"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(str_to_uint64(str_from(bad[i]), &value));
        assert_int_equal(value, 42);
    }
    assert_false(str_to_uint64(STR("1\0"), &value));
    assert_true(str_to_uint64(STR("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    assert_true(str_to_uint64(STR("000"), &value));
    assert_int_equal(value, 0);
}

static void test_to_int64(void **state)
{
    int64_t value = 42;
    static const char *const bad[] = {
        "", "-", "--1", "+1", "- 1", "9223372036854775808", "-9223372036854775809", "1e3"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(str_to_int64(str_from(bad[i]), &value));
        assert_int_equal(value, 42);
    }
    assert_true(str_to_int64(STR("-9223372036854775808"), &value));
    assert_true(value == INT64_MIN);
    assert_true(str_to_int64(STR("9223372036854775807"), &value));
    assert_true(value == INT64_MAX);
    assert_true(str_to_int64(STR("-0"), &value));
    assert_int_equal(value, 0);
}

static void test_to_double(void **state)
{
    double value = 42;
    static const char *const bad[] = {"",     " 1",  "1 ",    "\v1",    "\f1",    "x", "1x",
                                      "0x10", "1e",  "1e999", "-1e999", "nan(1)", ".", "-",
                                      "--1",  "1,5", "inf1",  "e5",     "0x1p-3"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (str_to_double(str_from(bad[i]), &value)) {
            fail_msg("\"%s\" was taken for a number", bad[i]);
        }
        assert_true(value == 42);
    }
    assert_false(str_to_double(STR("1\0"), &value));
    assert_true(str_to_double(STR("-1.5e-3"), &value) && value == -1.5e-3);
    assert_true(str_to_double(STR("0.1"), &value) && value == 0.1);
    assert_true(str_to_double(STR("1e-999"), &value) && value == 0);
    assert_true(str_to_double(STR("5e-324"), &value) && value == 5e-324);
    assert_true(str_to_double(STR("1.7976931348623157e+308"), &value) && isfinite(value));
    assert_true(str_to_double(STR("NaN"), &value) && isnan(value));
    assert_true(str_to_double(STR("Infinity"), &value) && isinf(value) && value > 0);
    assert_true(str_to_double(STR("-Infinity"), &value) && isinf(value) && value < 0);
}

static void test_distance(void **state)
{
    assert_int_equal(str_distance(STR("table"), STR("table")), 0);
    assert_int_equal(str_distance(STR("tabel"), STR("table")), 1); // two swapped
    assert_int_equal(str_distance(STR("tables"), STR("table")), 1);
    assert_int_equal(str_distance(STR("tble"), STR("table")), 1);
    assert_int_equal(str_distance(STR("cable"), STR("table")), 1);
    assert_int_equal(str_distance(STR("kitten"), STR("sitting")), 3);
    assert_int_equal(str_distance(nothing, STR("abc")), 3);
    assert_int_equal(str_distance(STR("abc"), nothing), 3);
    char longest[65];
    memset(longest, 'a', sizeof(longest));
    assert_int_equal(str_distance((Str){longest, 64}, (Str){longest, 64}), 0);
    assert_int_equal(str_distance((Str){longest, 65}, (Str){longest, 65}), 64); // "far"
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),     cmocka_unit_test(test_starts_with),
        cmocka_unit_test(test_compare),   cmocka_unit_test(test_find_and_trim),
        cmocka_unit_test(test_split),     cmocka_unit_test(test_copies),
        cmocka_unit_test(test_to_uint64), cmocka_unit_test(test_to_int64),
        cmocka_unit_test(test_to_double), cmocka_unit_test(test_distance),
    };
    return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
