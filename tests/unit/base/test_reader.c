#include "base/reader.h"
#include "unit.h"

static void test_integers(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff};
    Reader in = reader_from(bytes, sizeof(bytes));
    uint8_t a;
    uint16_t b;
    uint32_t c;
    uint64_t d;
    assert_int_equal(reader_left(&in), 15);
    assert_true(reader_u16(&in, &b) && b == 0x0102);
    assert_true(reader_u32(&in, &c) && c == 0x03040506);
    assert_true(reader_u64(&in, &d) && d == 0x0708090a0b0c0d0eULL);
    assert_true(reader_u8(&in, &a) && a == 0xff);
    assert_int_equal(reader_left(&in), 0);
}

// One byte too few: false, nothing read, the output as it was.
static void test_too_short(void **state)
{
    static const uint8_t bytes[8] = {0};
    for (size_t len = 0; len < 8; len++) {
        Reader in = reader_from(bytes, len);
        uint64_t d = 42;
        assert_false(reader_u64(&in, &d));
        assert_int_equal(d, 42);
        uint32_t c = 42;
        assert_int_equal(reader_u32(&in, &c), len >= 4);
        assert_int_equal(c, len >= 4 ? 0 : 42);
        in = reader_from(bytes, len);
        uint16_t b = 42;
        assert_int_equal(reader_u16(&in, &b), len >= 2);
        assert_int_equal(b, len >= 2 ? 0 : 42);
        in = reader_from(bytes, len);
        uint8_t a = 42;
        assert_int_equal(reader_u8(&in, &a), len >= 1);
        assert_int_equal(a, len >= 1 ? 0 : 42);
    }
}

static void test_bytes(void **state)
{
    Reader in = reader_from("abcdef", 6);
    Str text = STR("untouched");
    assert_false(reader_bytes(&in, 7, &text));
    assert_false(reader_bytes(&in, SIZE_MAX, &text));
    assert_true(str_is(text, "untouched"));
    assert_int_equal(reader_left(&in), 6);
    assert_true(reader_bytes(&in, 0, &text) && text.len == 0);
    assert_true(reader_bytes(&in, 2, &text) && str_is(text, "ab"));
    assert_true(reader_bytes(&in, 4, &text) && str_is(text, "cdef"));
    assert_true(reader_bytes(&in, 0, &text) && text.len == 0);
    assert_false(reader_bytes(&in, 1, &text));
}

static void test_cstring(void **state)
{
    Reader in = reader_from("ab\0\0cd", 6);
    Str text;
    assert_true(reader_cstring(&in, &text) && str_is(text, "ab"));
    assert_true(reader_cstring(&in, &text) && str_is(text, ""));
    assert_false(reader_cstring(&in, &text)); // no NUL behind "cd"
    assert_int_equal(reader_left(&in), 2);
    assert_true(str_is(text, ""));
}

static void test_no_bytes(void **state)
{
    Reader in = reader_from(NULL, 0);
    uint8_t byte;
    Str text;
    assert_int_equal(reader_left(&in), 0);
    assert_false(reader_u8(&in, &byte));
    assert_false(reader_cstring(&in, &text));
    assert_true(reader_bytes(&in, 0, &text));
    assert_int_equal(text.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers), cmocka_unit_test(test_too_short),
        cmocka_unit_test(test_bytes),    cmocka_unit_test(test_cstring),
        cmocka_unit_test(test_no_bytes),
    };
    return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
