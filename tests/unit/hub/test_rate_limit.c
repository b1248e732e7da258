// The token bucket: to the token and the microsecond.
#include "hub/rate_limit.h"
#include "unit.h"

enum { SECOND = 1000000 };

// How many tokens there are now.
static int take_all(RateLimit *limit, int64_t now_us)
{
    int taken = 0;
    while (rate_limit_take(limit, now_us) == 0) {
        taken++;
    }
    return taken;
}

static void a_full_bucket_is_a_burst(void **state)
{
    (void)state;
    RateLimit limit;
    rate_limit_init(&limit, 10, 100, 5);
    assert_int_equal(take_all(&limit, 5), 100);
    assert_int_equal(rate_limit_take(&limit, 5), SECOND / 10);
}

static void tokens_come_one_by_one(void **state)
{
    (void)state;
    RateLimit limit;
    rate_limit_init(&limit, 10, 3, 0);
    assert_int_equal(take_all(&limit, 0), 3);
    assert_int_equal(rate_limit_take(&limit, 99999), 1);
    assert_int_equal(rate_limit_take(&limit, 100000), 0);
    assert_int_equal(rate_limit_take(&limit, 100000), 100000);
    assert_int_equal(take_all(&limit, 300000), 2);
    // What was waited for does not count twice.
    assert_int_equal(rate_limit_take(&limit, 350000), 50000);
    assert_int_equal(take_all(&limit, 400000), 1);
}

static void several_are_waited_for_without_being_taken(void **state)
{
    (void)state;
    RateLimit limit;
    rate_limit_init(&limit, 10, 3, 0);
    assert_int_equal(rate_limit_tokens(&limit, 0), 3);
    assert_int_equal(rate_limit_wait(&limit, 3, 0), 0);
    assert_int_equal(take_all(&limit, 0), 3);
    assert_int_equal(rate_limit_wait(&limit, 2, 50000), 150000);
    assert_int_equal(rate_limit_tokens(&limit, 99999), 0);
    assert_int_equal(rate_limit_wait(&limit, 2, 199999), 1);
    assert_int_equal(rate_limit_wait(&limit, 2, 200000), 0);
    assert_int_equal(rate_limit_tokens(&limit, 200000), 2);
    assert_int_equal(take_all(&limit, 200000), 2);
    // What was not done is there again, and no more than there is room for.
    rate_limit_give_back(&limit, 2);
    assert_int_equal(rate_limit_tokens(&limit, 200000), 2);
    rate_limit_give_back(&limit, 2);
    assert_int_equal(take_all(&limit, 200000), 3);
    RateLimit none = {0};
    rate_limit_give_back(&none, 5);
    assert_int_equal(rate_limit_wait(&none, 100, 0), 0);
    assert_true(rate_limit_tokens(&none, 0) == INT64_MAX);
}

static void a_pause_fills_it_and_no_more(void **state)
{
    (void)state;
    RateLimit limit;
    rate_limit_init(&limit, 10, 3, 0);
    assert_int_equal(take_all(&limit, 0), 3);
    assert_int_equal(take_all(&limit, 1000 * (int64_t)SECOND), 3);
    assert_int_equal(take_all(&limit, INT64_MAX / 2), 3);
    // A bucket that is almost full has room for the rest only.
    rate_limit_init(&limit, 10, 3, 0);
    assert_int_equal(rate_limit_take(&limit, 0), 0);
    assert_int_equal(take_all(&limit, 50000), 2);
    assert_int_equal(rate_limit_take(&limit, 50000), 50000);
}

// A rate that a second cannot be divided by: no token is lost over an hour, and none is made.
static void odd_rates_are_exact(void **state)
{
    (void)state;
    RateLimit limit;
    rate_limit_init(&limit, 7, 1, 0);
    int64_t now = 0;
    int taken = 0;
    while (now <= 3600 * (int64_t)SECOND) {
        int64_t wait = rate_limit_take(&limit, now);
        taken += wait == 0;
        now += wait;
    }
    // Each wait ends up to a microsecond late.
    assert_in_range(taken, 7 * 3600 - 1, 7 * 3600 + 1);
    rate_limit_init(&limit, 1000000, 1000000, 0);
    assert_int_equal(take_all(&limit, 0), 1000000);
    assert_int_equal(take_all(&limit, 3), 3);
}

static void a_clock_that_stands_gives_nothing(void **state)
{
    (void)state;
    RateLimit limit;
    rate_limit_init(&limit, 1, 2, 42);
    assert_int_equal(take_all(&limit, 42), 2);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rate_limit_take(&limit, 42), SECOND);
    }
}

static void a_clock_that_jumps_back_goes_on(void **state)
{
    (void)state;
    RateLimit limit;
    rate_limit_init(&limit, 1, 2, 100 * (int64_t)SECOND);
    assert_int_equal(take_all(&limit, 100 * (int64_t)SECOND), 2);
    assert_int_equal(rate_limit_take(&limit, 0), SECOND);
    assert_int_equal(take_all(&limit, SECOND), 1);
    assert_int_equal(take_all(&limit, 101 * (int64_t)SECOND), 2);
}

static void none_is_no_limit(void **state)
{
    (void)state;
    RateLimit limit;
    rate_limit_init(&limit, 0, 0, 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rate_limit_take(&limit, 0), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_bucket_is_a_burst),
        cmocka_unit_test(tokens_come_one_by_one),
        cmocka_unit_test(several_are_waited_for_without_being_taken),
        cmocka_unit_test(a_pause_fills_it_and_no_more),
        cmocka_unit_test(odd_rates_are_exact),
        cmocka_unit_test(a_clock_that_stands_gives_nothing),
        cmocka_unit_test(a_clock_that_jumps_back_goes_on),
        cmocka_unit_test(none_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
