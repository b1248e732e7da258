// The history of a server's timeline, as the server tells it.
#include "sources/postgres.h"
#include "unit.h"

static const char history[] = "# a comment\n"
                              "\n"
                              "1\t0/3000060\tno recovery target specified\n"
                              "  2\t1A/B0\tbefore 2000-01-01 1 9/9\n"
                              "13 5/6\n"
                              "nonsense\tx/y\n";

static bool left(const char *timeline, Lsn *ret)
{
    return postgres_timeline_end(str_from(history), str_from(timeline), ret);
}

static void where_each_was_left(void **context)
{
    (void)context;
    Lsn lsn;
    assert_true(left("1", &lsn) && lsn == 0x3000060);
    assert_true(left("2", &lsn) && lsn == 0x1A000000B0);
    assert_true(left("13", &lsn) && lsn == 0x500000006);
}

static void not_in_it(void **context)
{
    (void)context;
    Lsn lsn;
    assert_false(left("3", &lsn));
    assert_false(left("", &lsn));
    assert_false(left("nonsense", &lsn));
    assert_false(postgres_timeline_end(STR(""), STR("1"), &lsn));
    assert_false(postgres_timeline_end(STR("1"), STR("1"), &lsn));
    assert_false(postgres_timeline_end(STR("1\t"), STR("1"), &lsn));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_each_was_left),
        cmocka_unit_test(not_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
