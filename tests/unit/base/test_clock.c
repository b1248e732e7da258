#include <string.h>

#include "base/clock.h"
#include "unit.h"

static void assert_formats(int64_t unix_us, const char *expected)
{
    char text[CLOCK_TEXT_SIZE];
    memset(text, 'x', sizeof(text));
    clock_format_us(unix_us, text);
    assert_string_equal(text, expected);
}

static void test_format(void **state)
{
    assert_formats(0, "1970-01-01T00:00:00.000000Z");
    assert_formats(1, "1970-01-01T00:00:00.000001Z");
    assert_formats(946684800000000, "2000-01-01T00:00:00.000000Z");
    assert_formats(951825599999999, "2000-02-29T11:59:59.999999Z");
    assert_formats(-1, "1969-12-31T23:59:59.999999Z");
    assert_formats(-1000000, "1969-12-31T23:59:59.000000Z");
    assert_formats(-62135596800000000, "0001-01-01T00:00:00.000000Z");
    assert_formats(253402300799999999, "9999-12-31T23:59:59.999999Z");
    assert_formats(253402300800000000, "10000-01-01T00:00:00.000000Z");
    assert_formats(INT64_MAX, "294247-01-10T04:00:54.775807Z");
    assert_formats(INT64_MIN, "-290308-12-21T19:59:05.224192Z");
}

static void test_now(void **state)
{
    int64_t before = clock_monotonic_us();
    int64_t middle = clock_monotonic_ms();
    int64_t after = clock_monotonic_us();
    assert_true(before > 0 && before <= after);
    assert_true(middle >= before / 1000 && middle <= after / 1000);
    assert_true(clock_wall_us() > INT64_C(1577836800000000)); // 2020
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_now),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
