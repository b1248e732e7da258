// Which publications a checkpoint names.
#include "sources/postgres.h"
#include "unit.h"

static void what_was_stored_is_read(void **state)
{
    (void)state;
    uint32_t oids[2];
    assert_true(postgres_parse_publications(STR("16390"), oids));
    assert_true(oids[0] == 16390 && oids[1] == 0);
    assert_true(postgres_parse_publications(STR("16390 4294967295"), oids));
    assert_true(oids[0] == 16390 && oids[1] == UINT32_MAX);
}

static void anything_else_is_damage(void **state)
{
    (void)state;
    static const char *const damaged[] = {"",     " ",    "0",   "16390 0", "1 2 3",
                                          "1  2", "1 ",   " 1",  "-1",      "4294967296",
                                          "1,2",  "mine", "1 x", "16390\n"};
    uint32_t oids[2] = {7, 8};
    for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
        assert_false(postgres_parse_publications(str_from(damaged[i]), oids));
        assert_true(oids[0] == 7 && oids[1] == 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_stored_is_read),
        cmocka_unit_test(anything_else_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
