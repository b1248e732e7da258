// Whether something stands still that should not.
#include "base/macros.h"
#include "control/watchdog.h"
#include "unit.h"

static Watchdog dog;

static WatchdogVerdict look(int64_t now_ms, Stage stage, uint64_t progress)
{
    WatchdogFigures figures = {now_ms, stage, progress};
    return watchdog_look(&dog, &figures);
}

static void told_once_and_over(void **context)
{
    (void)context;
    dog = (Watchdog){.limit_ms = 1000};
    assert_int_equal(look(100, STAGE_WRITE, 7), WATCHDOG_NOTHING_NEW);
    assert_int_equal(look(1099, STAGE_WRITE, 7), WATCHDOG_NOTHING_NEW);
    assert_int_equal(look(1100, STAGE_WRITE, 7), WATCHDOG_STALLED);
    assert_int_equal(dog.stage, STAGE_WRITE);
    assert_int_equal(look(2100, STAGE_WRITE, 7), WATCHDOG_NOTHING_NEW);
    assert_int_equal(dog.for_ms, 2000);
    assert_int_equal(look(2200, STAGE_WRITE, 8), WATCHDOG_MOVES);
    assert_int_equal(dog.was, STAGE_WRITE);
    assert_int_equal(dog.stage, STAGE_NONE);
    assert_int_equal(look(3199, STAGE_WRITE, 8), WATCHDOG_NOTHING_NEW);
    assert_int_equal(look(3200, STAGE_WRITE, 8), WATCHDOG_STALLED); // another time
}

static void idle_is_no_stall(void **context)
{
    (void)context;
    dog = (Watchdog){.limit_ms = 1000};
    for (int64_t now = 100; now < 100000; now += 900) {
        assert_int_equal(look(now, STAGE_NONE, 7), WATCHDOG_NOTHING_NEW);
    }
    assert_int_equal(look(100000, STAGE_SERVER, 7), WATCHDOG_NOTHING_NEW); // only now
    assert_int_equal(look(100999, STAGE_SERVER, 7), WATCHDOG_NOTHING_NEW);
    assert_int_equal(look(101000, STAGE_NONE, 7), WATCHDOG_NOTHING_NEW);
    assert_int_equal(look(101500, STAGE_SERVER, 7), WATCHDOG_NOTHING_NEW);
    assert_int_equal(look(102400, STAGE_SERVER, 7), WATCHDOG_NOTHING_NEW);
}

static void nothing_left_to_do(void **context)
{
    (void)context;
    dog = (Watchdog){.limit_ms = 10};
    (void)look(100, STAGE_COMMIT, 1);
    assert_int_equal(look(200, STAGE_COMMIT, 1), WATCHDOG_STALLED);
    assert_int_equal(look(300, STAGE_NONE, 1), WATCHDOG_MOVES);
    assert_int_equal(look(400, STAGE_NONE, 1), WATCHDOG_NOTHING_NEW);
}

static void slow_is_no_stall(void **context)
{
    (void)context;
    dog = (Watchdog){.limit_ms = 1000};
    for (uint64_t i = 1; i < 100; i++) {
        assert_int_equal(look((int64_t)i * 900, STAGE_COPY, i), WATCHDOG_NOTHING_NEW);
    }
}

// The stage that stands still changes; it is one stall.
static void another_stage(void **context)
{
    (void)context;
    dog = (Watchdog){.limit_ms = 1000};
    (void)look(100, STAGE_WRITE, 7);
    assert_int_equal(look(600, STAGE_COMMIT, 7), WATCHDOG_NOTHING_NEW);
    assert_int_equal(look(1100, STAGE_COMMIT, 7), WATCHDOG_STALLED);
    assert_int_equal(look(1200, STAGE_DELIVER, 7), WATCHDOG_NOTHING_NEW);
    assert_int_equal(dog.stage, STAGE_DELIVER);
}

static void switched_off(void **context)
{
    (void)context;
    dog = (Watchdog){0};
    for (int64_t now = 100; now < 10000000; now += 100000) {
        assert_int_equal(look(now, STAGE_WRITE, 7), WATCHDOG_NOTHING_NEW);
    }
}

static void any_figure_counts(void **context)
{
    (void)context;
    uint64_t values[] = {1, 2, 3, 4, 5};
    uint64_t before = progress_of(values, ARRAY_LEN(values));
    assert_true(progress_of(values, ARRAY_LEN(values)) == before);
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        values[i]++;
        assert_true(progress_of(values, ARRAY_LEN(values)) != before);
        values[i]--;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_once_and_over), cmocka_unit_test(idle_is_no_stall),
        cmocka_unit_test(nothing_left_to_do), cmocka_unit_test(slow_is_no_stall),
        cmocka_unit_test(another_stage),      cmocka_unit_test(switched_off),
        cmocka_unit_test(any_figure_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
