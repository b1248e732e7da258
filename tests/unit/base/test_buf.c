#include "base/buf.h"
#include "unit.h"

static void assert_contents(const Buf *buf, const char *expected, size_t len)
{
    assert_int_equal(buf->len, len);
    if (len > 0) {
        assert_memory_equal(buf->ptr, expected, len);
    }
}

static void test_appends(void **state)
{
    Buf buf;
    buf_init(&buf, 1000);
    buf_char(&buf, 'a');
    buf_cstr(&buf, "bc");
    buf_str(&buf, STR("d\0e"));
    buf_str(&buf, (Str){0});
    buf_bytes(&buf, NULL, 0);
    buf_printf(&buf, "%s=%d", "x", -1);
    buf_printf(&buf, "%s", "");
    assert_contents(&buf, "abcd\0ex=-1", 10);
    assert_true(str_equal(buf_view(&buf), STR("abcd\0ex=-1")));
    assert_int_equal(buf_check(&buf, "it", NULL), STATUS_OK);
    buf_reset(&buf);
    assert_contents(&buf, NULL, 0);
    buf_done(&buf);
}

static void test_numbers(void **state)
{
    Buf buf;
    buf_init(&buf, 1000);
    buf_uint64(&buf, 0);
    buf_char(&buf, ' ');
    buf_uint64(&buf, UINT64_MAX);
    buf_char(&buf, ' ');
    buf_int64(&buf, INT64_MIN);
    buf_char(&buf, ' ');
    buf_int64(&buf, INT64_MAX);
    buf_char(&buf, ' ');
    buf_int64(&buf, -1);
    assert_string_equal(buf_cstring(&buf), "0 18446744073709551615 -9223372036854775808 "
                                           "9223372036854775807 -1");
    buf_reset(&buf);
    buf_be16(&buf, 0x0102);
    buf_be32(&buf, 0x03040506);
    buf_be64(&buf, 0x0708090a0b0c0d0eULL);
    assert_contents(&buf, "\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe", 14);
    buf_done(&buf);
}

static void test_growth_keeps_contents(void **state)
{
    Buf buf;
    buf_init(&buf, 1 << 20);
    for (int i = 0; i < 100000; i++) {
        buf_char(&buf, (char)('a' + i % 26));
    }
    assert_int_equal(buf.len, 100000);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(buf.ptr[i], 'a' + i % 26);
    }
    buf_done(&buf);
}

// Exactly the ceiling fits, by whatever way it comes.
static void test_ceiling(void **state)
{
    Error err = {0};
    Buf buf;
    buf_init(&buf, 10);
    buf_cstr(&buf, "0123456789");
    assert_int_equal(buf_check(&buf, "the row", &err), STATUS_OK);
    buf_str(&buf, (Str){0});
    assert_int_equal(buf_check(&buf, "the row", &err), STATUS_OK);
    buf_char(&buf, 'x');
    assert_contents(&buf, "0123456789", 10);
    assert_int_equal(buf_check(&buf, "the row", &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_DATA);
    assert_string_equal(err.message, "the row is larger than the limit of 10 bytes");
    buf_reset(&buf);
    assert_int_equal(buf_check(&buf, "the row", &err), STATUS_OK);
    buf_printf(&buf, "%s", "0123456789");
    assert_int_equal(buf_check(&buf, "the row", &err), STATUS_OK);
    assert_contents(&buf, "0123456789", 10);
    buf_reset(&buf);
    buf_printf(&buf, "%s", "0123456789x");
    assert_int_equal(buf_check(&buf, "the row", &err), STATUS_FAIL);
    assert_int_equal(buf.len, 0);
    buf_done(&buf);
}

// The terminator is not content and takes no room of it.
static void test_cstring_at_the_ceiling(void **state)
{
    Buf buf;
    buf_init(&buf, 300);
    for (int i = 0; i < 300; i++) {
        buf_char(&buf, 'a');
        assert_int_equal(strlen(buf_cstring(&buf)), i + 1);
    }
    assert_false(buf.overflowed);
    buf_char(&buf, 'b');
    assert_true(buf.overflowed);
    assert_int_equal(buf.len, 300);
    assert_int_equal(strlen(buf_cstring(&buf)), 300);
    buf_bytes(&buf, "bcd", 3);
    assert_int_equal(buf.len, 300);
    buf_done(&buf);
}

static void test_empty(void **state)
{
    Buf buf;
    buf_init(&buf, 0);
    buf_printf(&buf, "%s", "");
    assert_false(buf.overflowed);
    assert_string_equal(buf_cstring(&buf), "");
    assert_int_equal(buf_view(&buf).len, 0);
    buf_char(&buf, 'x');
    assert_true(buf.overflowed);
    assert_string_equal(buf_cstring(&buf), "");
    buf_done(&buf);
    buf_done(&buf);
    buf_done(NULL);
    Buf zeroed = {0};
    buf_done(&zeroed);
}

static void test_reserve(void **state)
{
    Buf buf;
    buf_init(&buf, 100);
    assert_true(buf_reserve(&buf, 100));
    assert_true(buf.capacity >= 100);
    assert_int_equal(buf.len, 0);
    assert_false(buf_reserve(&buf, 101));
    assert_true(buf.overflowed);
    buf_reset(&buf);
    assert_false(buf_reserve(&buf, SIZE_MAX));
    buf_done(&buf);
    buf_char(&buf, 'a'); // its ceiling outlives its memory
    assert_contents(&buf, "a", 1);
    buf_done(&buf);
}

static void test_quoted(void **state)
{
    (void)state;
    CLEANUP(buf_done) Buf buf;
    buf_init(&buf, 1000);
    buf_quoted(&buf, STR("a\"b\\'"), "\"", '\0');
    buf_quoted(&buf, STR("'a\"\\\0"), "'\\", '\0');
    buf_quoted(&buf, STR("'a\"\\"), "'\\", '\\');
    buf_quoted(&buf, (Str){0}, "'", '\0');
    assert_true(str_equal(buf_view(&buf), STR("\"a\"\"b\\'\""
                                              "'''a\"\\\\\0'"
                                              "'\\'a\"\\\\'"
                                              "''")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_growth_keeps_contents),
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_cstring_at_the_ceiling),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_quoted),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
