// What comes again and again is counted.
#include "base/log.h"
#include "unit.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

static LogRepeat repeat;
static int64_t times;

static bool due(const char *text, int64_t now_ms)
{
    return log_repeat_is_due(&repeat, str_from(text), now_ms, &times);
}

// One attempt a second from @from on, @count of them; how many were said.
static int said(const char *text, int64_t from, int64_t count)
{
    int lines = 0;
    for (int64_t i = 0; i < count; i++) {
        lines += due(text, from + i * SECOND);
    }
    return lines;
}

static void the_first_are_said(void **context)
{
    (void)context;
    repeat = (LogRepeat){0};
    assert_int_equal(said("a", 0, 5), 5);
    assert_int_equal(times, 1);
    assert_int_equal(said("a", 5 * SECOND, 59), 0);
}

static void then_at_growing_pauses_with_a_count(void **context)
{
    (void)context;
    repeat = (LogRepeat){0};
    assert_int_equal(said("a", 0, 5), 5);
    // The fifth was at 4 s, the next is a minute later, then two, then four.
    assert_int_equal(said("a", 5 * SECOND, 60), 1);
    assert_int_equal(times, 60);
    assert_int_equal(said("a", 65 * SECOND, 120), 1);
    assert_int_equal(times, 120);
    assert_int_equal(said("a", 185 * SECOND, 240), 1);
    // A day of failing every second is some thirty lines, and an hour never passes without one.
    repeat = (LogRepeat){0};
    int lines = said("a", 0, 24 * 3600);
    assert_in_range(lines, 24, 35);
    assert_int_equal(said("a", 24 * HOUR, 3600), 1);
    assert_int_equal(times, 3600);
}

static void another_text_starts_anew(void **context)
{
    (void)context;
    repeat = (LogRepeat){0};
    assert_int_equal(said("a", 0, 100), 6);
    assert_true(due("b", 100 * SECOND));
    assert_int_equal(times, 1);
    assert_int_equal(said("b", 101 * SECOND, 10), 4);
}

static void quiet_starts_anew(void **context)
{
    (void)context;
    repeat = (LogRepeat){0};
    assert_int_equal(said("a", 0, 30), 5);
    assert_true(due("a", 30 * SECOND + 10 * MINUTE));
    assert_int_equal(said("a", 40 * SECOND + 10 * MINUTE, 30), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_are_said),
        cmocka_unit_test(then_at_growing_pauses_with_a_count),
        cmocka_unit_test(another_text_starts_anew),
        cmocka_unit_test(quiet_starts_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
