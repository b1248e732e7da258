#include <stdio.h>
#include <stdlib.h>

#include "base/decimal.h"
#include "unit.h"

static Decimal number(const char *text)
{
    Decimal parsed;
    if (!decimal_parse(str_from(text), &parsed)) {
        fail_msg("%s", text);
    }
    return parsed;
}

static int compare(const char *a, const char *b)
{
    Decimal x = number(a);
    Decimal y = number(b);
    assert_int_equal(decimal_compare(&x, &y), -decimal_compare(&y, &x));
    if (decimal_compare(&x, &y) == 0) {
        assert_true(decimal_hash(&x) == decimal_hash(&y));
    }
    return decimal_compare(&x, &y);
}

static bool is_multiple(const char *a, const char *b)
{
    Decimal x = number(a);
    Decimal y = number(b);
    return decimal_is_multiple(&x, &y);
}

static void what_is_a_number(void **state)
{
    static const char *const fine[] = {"0", "-0", "12", "0.5", "-1.50", "1e3", "1E+3", "2.5e-7"};
    static const char *const wrong[] = {
        "",    "-",  "+1", "01",  ".5",   "1.",       "1e",           "1e+",          "1x",
        "NaN", " 1", "1 ", "--1", "0x10", "Infinity", "1e1000000000", "1e-1000000000"};
    for (size_t i = 0; i < ARRAY_LEN(fine); i++) {
        (void)number(fine[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        Decimal kept = {.exponent = 77};
        if (decimal_parse(str_from(wrong[i]), &kept)) {
            fail_msg("%s", wrong[i]);
        }
        assert_int_equal(kept.exponent, 77);
    }
}

static void in_one_order(void **state)
{
    // Each is less than the next one; those that are equal stand on one line.
    static const char *const ordered[][3] = {
        {"-1e400", "-10e399"},
        {"-18446744073709551616"},
        {"-18446744073709551615"},
        {"-1.000000000000000000000000001"},
        {"-1", "-1.0", "-100e-2"},
        {"-1e-400"},
        {"0", "-0", "0.000e77"},
        {"1e-400"},
        {"0.1", "1e-1", "0.10"},
        {"0.11"},
        {"0.2"},
        {"9"},
        {"10", "1e1", "10.00"},
        {"123456789012345678"},
        {"1234567890123456789", "1234567890.123456789e9"},
        {"98249283749234923498293171823948729348710298301928330"},
        {"98249283749234923498293171823948729348710298301928331"},
        {"1e308"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ordered); i++) {
        for (size_t k = 0; k < ARRAY_LEN(ordered[i]) && ordered[i][k] != NULL; k++) {
            assert_int_equal(compare(ordered[i][0], ordered[i][k]), 0);
            for (size_t j = i + 1; j < ARRAY_LEN(ordered); j++) {
                if (compare(ordered[i][k], ordered[j][0]) >= 0) {
                    fail_msg("%s, %s", ordered[i][k], ordered[j][0]);
                }
            }
        }
    }
}

static void integers(void **state)
{
    static const char *const whole[] = {"0",     "1.0",    "-3",
                                        "1e308", "1.50e1", "12345678901234567890"};
    static const char *const broken[] = {"0.5", "1e-1", "1.05e1", "12345678901234567890.1"};
    for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
        Decimal parsed = number(whole[i]);
        assert_true(decimal_is_integer(&parsed));
    }
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        Decimal parsed = number(broken[i]);
        assert_false(decimal_is_integer(&parsed));
    }
}

static void multiples(void **state)
{
    assert_true(is_multiple("19.99", "0.01"));
    assert_false(is_multiple("19.995", "0.01"));
    assert_true(is_multiple("0", "7"));
    assert_true(is_multiple("-21", "7"));
    assert_false(is_multiple("22", "7"));
    assert_true(is_multiple("1e308", "0.5"));
    assert_true(is_multiple("1e308", "0.123456789e-9") == false);
    assert_true(is_multiple("1e999999999", "1024"));
    assert_true(is_multiple("1e3", "1e3"));
    assert_false(is_multiple("1e3", "1e4"));
    // Larger than 18 digits.
    assert_true(is_multiple("246913578024691357802469135780", "123456789012345678901234567890"));
    assert_false(is_multiple("246913578024691357802469135781", "123456789012345678901234567890"));
    assert_true(is_multiple("12345678901234567891e19", "12345678901234567891"));
    assert_false(is_multiple("1e400", "12345678901234567891"));
    assert_true(is_multiple("1e400", "1180591620717411303424")); // 2^70
}

// Against what 64 bits calculate.
static void multiples_of_small_numbers(void **state)
{
    for (int64_t divisor = 1; divisor < 60; divisor++) {
        for (int64_t value = -200; value < 200; value++) {
            char a[32];
            char b[32];
            (void)snprintf(a, sizeof(a), "%ld.%02ld", value / 100, labs(value % 100));
            (void)snprintf(b, sizeof(b), "0.%02ld", divisor);
            assert_int_equal(is_multiple(a, b), value % divisor == 0);
        }
    }
}

static void the_largest_divisor(void **state)
{
    char text[DECIMAL_DIVISOR_DIGITS + 1];
    memset(text, '9', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_true(is_multiple(text, text));
    text[0] = '8';
    char nines[sizeof(text)];
    memset(nines, '9', sizeof(nines) - 1);
    nines[sizeof(nines) - 1] = '\0';
    assert_false(is_multiple(text, nines));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_a_number),
        cmocka_unit_test(in_one_order),
        cmocka_unit_test(integers),
        cmocka_unit_test(multiples),
        cmocka_unit_test(multiples_of_small_numbers),
        cmocka_unit_test(the_largest_divisor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
