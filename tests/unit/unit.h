// cmocka with what it needs before it, in the one order in which it compiles.
#pragma once

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

// cmocka says when a group's fixture fails, and then counts the tests only: a program that could
// not clean up would pass.
static CMFixtureFunction unit_fixtures[2];
static int unit_fixtures_failed;

static inline int unit_run_fixture(int which, void **state)
{
    unit_fixtures_failed++; // also when it does not come back
    int failed = unit_fixtures[which](state);
    unit_fixtures_failed -= failed == 0;
    return failed;
}

static inline int unit_set_up(void **state)
{
    return unit_run_fixture(0, state);
}

static inline int unit_tear_down(void **state)
{
    return unit_run_fixture(1, state);
}

static inline int unit_run(const char *name, const struct CMUnitTest *tests, size_t count,
                           CMFixtureFunction set_up, CMFixtureFunction tear_down)
{
    unit_fixtures[0] = set_up;
    unit_fixtures[1] = tear_down;
    int failed = _cmocka_run_group_tests(name, tests, count, set_up == NULL ? NULL : unit_set_up,
                                         tear_down == NULL ? NULL : unit_tear_down);
    return failed + unit_fixtures_failed;
}

#undef cmocka_run_group_tests
#define cmocka_run_group_tests(tests, set_up, tear_down) \
    unit_run(#tests, tests, sizeof(tests) / sizeof((tests)[0]), set_up, tear_down)
