#include "base/md5.h"
#include "unit.h"

static void assert_md5(Str text, const char *expected)
{
    char hex[MD5_HEX_SIZE + 1] = {0};
    md5_hex(text, hex);
    assert_string_equal(hex, expected);
}

// The test suite of RFC 1321, A.5.
static void test_vectors_of_the_rfc(void **state)
{
    assert_md5(STR(""), "d41d8cd98f00b204e9800998ecf8427e");
    assert_md5(STR("a"), "0cc175b9c0f1b6a831c399e269772661");
    assert_md5(STR("abc"), "900150983cd24fb0d6963f7d28e17f72");
    assert_md5(STR("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
    assert_md5(STR("abcdefghijklmnopqrstuvwxyz"), "c3fcd3d76192e4007dfb496cca67e13b");
    assert_md5(STR("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
               "d174ab98d277d9f5a5611c2c9f419d9f");
    assert_md5(STR("123456789012345678901234567890123456789012345678901234567890123456789012345"
                   "67890"),
               "57edf4a22be3c955ac49da2e2107b67a");
}

// Around the end of a block, where the length has room or has not: "x" so many times, by md5sum.
static void test_ends_of_blocks(void **state)
{
    static const struct {
        size_t len;
        const char *expected;
    } cases[] = {
        {55, "04364420e25c512fd958a70738aa8f72"},  {56, "668a72d5ba17f08e62dabcafad6db14b"},
        {57, "693037871c4a9d3d8685018905cb530a"},  {63, "7dc2ca208106a2f703567bdff99d8981"},
        {64, "c1bb4f81d892b2d57947682aeb252456"},  {65, "1bc932052302d074bdec39795fe00cf6"},
        {119, "ab347a5f68c8a443cfcddc633f12c24f"}, {120, "fb98667f98096de92620b64f46e1c5b5"},
        {128, "d69cb61a6ee87200676eb0d4b90edbcb"}, {200, "30a83621ce5422fbdfdd539777458c78"},
    };
    char text[256];
    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_md5((Str){text, cases[i].len}, cases[i].expected);
    }
}

static void test_the_number_is_the_first_digits(void **state)
{
    assert_true(md5_number(STR("a")) == UINT64_C(0x0cc175b9c0f1b6a8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_of_the_rfc),
        cmocka_unit_test(test_ends_of_blocks),
        cmocka_unit_test(test_the_number_is_the_first_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
