#include "change/digest.h"
#include "unit.h"

static void assert_field(const char *text, size_t at, const char *expected)
{
    assert_true(str_is(digest_field(str_from(text), at), expected));
}

static void test_fields(void **state)
{
    assert_field("1,,abc,", 0, "1");
    assert_field("1,,abc,", 1, "");
    assert_field("1,,abc,", 2, "abc");
    assert_field("1,,abc,", 3, "");
    assert_field("1,,abc,", 9, "");
    assert_field("", 0, "");
}

static void test_hexadecimal_digits(void **state)
{
    uint64_t number;
    assert_true(digest_parse_hex(STR("0"), &number) && number == 0);
    assert_true(digest_parse_hex(STR("0a9"), &number) && number == 0xa9);
    assert_true(digest_parse_hex(STR("ffffffffffffffff"), &number) && number == UINT64_MAX);
    number = 7;
    assert_false(digest_parse_hex(STR(""), &number));
    assert_false(digest_parse_hex(STR("10000000000000000"), &number));
    assert_false(digest_parse_hex(STR("A"), &number));
    assert_false(digest_parse_hex(STR("-1"), &number));
    assert_true(number == 7);
}

static void test_lists(void **state)
{
    const uint64_t wanted[] = {0, 0xabc};
    DigestQuery query = {.kind = DIGEST_PAIRS, .digits = 3, .wanted = wanted, .wanted_count = 2};
    CLEANUP(buf_done) Buf sql;
    buf_init(&sql, 1024);
    digest_list(&sql, &query);
    assert_string_equal(buf_cstring(&sql), "000,abc");
    buf_reset(&sql);
    query.kind = DIGEST_ROWS;
    digest_list(&sql, &query);
    assert_string_equal(buf_cstring(&sql), "0000000000000000,0000000000000abc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_hexadecimal_digits),
        cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
