// COPY's text format: what is encoded is decoded, byte for byte.
#include "pg/copy_text.h"
#include "unit.h"

static Value text(const char *bytes, size_t len)
{
    return (Value){.state = VALUE_TEXT, .ptr = bytes, .len = (uint32_t)len};
}

static void every_byte_comes_back(void **context)
{
    (void)context;
    char all[255];
    for (int i = 0; i < 255; i++) {
        all[i] = (char)(i + 1);
    }
    const Value row[] = {
        text(all, sizeof(all)), {.state = VALUE_NULL}, text("", 0), text("\\N", 2), text("a", 1)};
    Buf out;
    buf_init(&out, 4096);
    copy_text_encode_row(&out, row, 5);
    Value back[5];
    assert_int_equal(copy_text_decode(out.ptr, out.len, back, 5, NULL), STATUS_OK);
    for (int i = 0; i < 5; i++) {
        assert_true(value_equal(row[i], back[i]));
    }
    buf_done(&out);
}

static void a_row_has_as_many_columns_as_expected(void **context)
{
    (void)context;
    Value values[3];
    Error err = {0};
    char two[] = "a\tb\n";
    assert_int_equal(copy_text_decode(two, 4, values, 3, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_DATA);
    char four[] = "a\tb\tc\td\n";
    assert_int_equal(copy_text_decode(four, 8, values, 3, &err), STATUS_FAIL);
    char three[] = "\t\t\n";
    assert_int_equal(copy_text_decode(three, 3, values, 3, &err), STATUS_OK);
    assert_int_equal(values[1].state, VALUE_TEXT);
    assert_int_equal(values[1].len, 0);
}

static void octal_and_single_letters(void **context)
{
    (void)context;
    Value value;
    char row[] = "\\101\\x\\\\\\b\\";
    assert_int_equal(copy_text_decode(row, sizeof(row) - 1, &value, 1, NULL), STATUS_OK);
    assert_true(str_equal(value_str(value), STR("Ax\\\b\\")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_comes_back),
        cmocka_unit_test(a_row_has_as_many_columns_as_expected),
        cmocka_unit_test(octal_and_single_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
