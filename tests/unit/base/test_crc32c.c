#include <string.h>

#include "base/crc32c.h"
#include "unit.h"

typedef uint32_t Sum(uint32_t crc, const void *data, size_t len);

// Of RFC 3720, B.4, and the check value that catalogues of CRCs give.
static void check_vectors(Sum *sum)
{
    uint8_t bytes[32];
    assert_int_equal(sum(0, "", 0), 0);
    assert_int_equal(sum(0, "123456789", 9), 0xE3069283);
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(sum(0, bytes, sizeof(bytes)), 0x8A9136AA);
    memset(bytes, 0xFF, sizeof(bytes));
    assert_int_equal(sum(0, bytes, sizeof(bytes)), 0x62A8AB43);
    for (uint8_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = i;
    }
    assert_int_equal(sum(0, bytes, sizeof(bytes)), 0x46DD794E);
    for (uint8_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(31 - i);
    }
    assert_int_equal(sum(0, bytes, sizeof(bytes)), 0x113FDB5C);
}

static void test_known_vectors(void **state)
{
    check_vectors(crc32c);
    check_vectors(crc32c_by_table);
}

// At every alignment and length around the eight bytes of a step, in one part or in two.
static void test_both_ways_are_the_same(void **state)
{
    uint8_t bytes[96];
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        random = random * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(random >> 24);
    }
    for (size_t from = 0; from < 16; from++) {
        for (size_t len = 0; from + len <= sizeof(bytes); len++) {
            uint32_t whole = crc32c(7, bytes + from, len);
            assert_int_equal(whole, crc32c_by_table(7, bytes + from, len));
            uint32_t head = crc32c(7, bytes + from, len / 3);
            assert_int_equal(whole, crc32c(head, bytes + from + len / 3, len - len / 3));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_vectors),
        cmocka_unit_test(test_both_ways_are_the_same),
    };
    return cmocka_run_group_tests_name("crc32c", tests, NULL, NULL);
}
