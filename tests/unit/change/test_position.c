#include "change/position.h"
#include "unit.h"

static void test_lsn_parse(void **state)
{
    Lsn lsn = 42;
    static const char *const bad[] = {"",      "/",     "0",    "0/",          "/0",
                                      "0/0/0", "g/0",   "0/ 1", "000000000/0", "0/123456789",
                                      "-1/0",  "0x1/0", " 0/0", "0/0 ",        "16\\B374D848"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (lsn_parse(str_from(bad[i]), &lsn)) {
            fail_msg("\"%s\" was taken for an LSN", bad[i]);
        }
        assert_int_equal(lsn, 42);
    }
    assert_false(lsn_parse((Str){0}, &lsn));
    assert_true(lsn_parse(STR("16/B374D848"), &lsn) && lsn == 0x16b374d848);
    assert_true(lsn_parse(STR("16/b374d848"), &lsn) && lsn == 0x16b374d848);
    assert_true(lsn_parse(STR("0/0"), &lsn) && lsn == LSN_NONE);
    assert_true(lsn_parse(STR("1/A"), &lsn) && lsn == 0x10000000a); // the low half is a number
    assert_true(lsn_parse(STR("FFFFFFFF/FFFFFFFF"), &lsn) && lsn == UINT64_MAX);
}

static void test_format_and_parse(void **state)
{
    static const struct {
        Position position;
        const char *text;
    } cases[] = {
        {{0, 0}, "0/0:0"},
        {{0x16b374d848, 3}, "16/B374D848:3"},
        {{0x10000000a, 1}, "1/A:1"},
        {{UINT64_MAX, UINT64_MAX}, "FFFFFFFF/FFFFFFFF:18446744073709551615"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[POSITION_TEXT_SIZE];
        position_format(cases[i].position, text);
        assert_string_equal(text, cases[i].text);
        Position parsed;
        assert_true(position_parse(str_from(text), &parsed));
        assert_int_equal(position_compare(parsed, cases[i].position), 0);
    }
}

static void test_parse_refuses(void **state)
{
    Position position = {42, 43};
    static const char *const bad[] = {
        "",      "0/0",   ":",      "0/0:",    ":0",
        "0/0:x", "0:0/0", "0/0:-1", "0/0:1:2", "0/0:18446744073709551616"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(position_parse(str_from(bad[i]), &position));
        assert_int_equal(position.lsn, 42);
        assert_int_equal(position.ordinal, 43);
    }
}

static void test_order(void **state)
{
    // A finished transaction is larger than its changes and smaller than those of the next.
    static const Position ordered[] = {
        {0, 0},     {0x100, 0}, {0x100, 1},      {0x100, UINT64_MAX},
        {0x108, 0}, {0x108, 1}, {UINT64_MAX, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(ordered); i++) {
        for (size_t j = 0; j < ARRAY_LEN(ordered); j++) {
            int expected = (i > j) - (i < j);
            assert_int_equal(position_compare(ordered[i], ordered[j]), expected);
            const Position *largest = &ordered[MAX(i, j)];
            const Position *smallest = &ordered[MIN(i, j)];
            Position max = position_max(ordered[i], ordered[j]);
            Position min = position_min(ordered[i], ordered[j]);
            assert_memory_equal(&max, largest, sizeof(max));
            assert_memory_equal(&min, smallest, sizeof(min));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lsn_parse),
        cmocka_unit_test(test_format_and_parse),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests_name("position", tests, NULL, NULL);
}
