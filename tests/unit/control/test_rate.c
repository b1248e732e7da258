// Rates over the last seconds.
#include "control/rate.h"
#include "unit.h"

static void of_the_last_seconds(void **context)
{
    (void)context;
    Rate rate = {0};
    rate_update(&rate, 1000, 1); // what was before does not count
    assert_true(rate.per_second <= 0);
    rate_update(&rate, 1100, 501);
    assert_true(rate.per_second > 199 && rate.per_second < 201);
    rate_update(&rate, 5000, 1501); // too early to say
    assert_true(rate.per_second < 201);
    rate_update(&rate, 5100, 2501);
    assert_true(rate.per_second > 1999 && rate.per_second < 2001);
    rate_update(&rate, 5100, 5000);
    assert_true(rate.per_second <= 0);
}

static void begins_anew(void **context)
{
    (void)context;
    Rate rate = {0};
    rate_update(&rate, 1000, 1);
    rate_update(&rate, 3000, 3001);
    rate_update(&rate, 10, 4001);
    assert_true(rate.per_second <= 0);
    rate_update(&rate, 20, 6001);
    assert_true(rate.per_second > 4.9 && rate.per_second < 5.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_the_last_seconds),
        cmocka_unit_test(begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
