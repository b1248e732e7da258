#include "base/utf8.h"
#include "unit.h"

static size_t encode_point(uint32_t point, char ret[static 4])
{
    if (point < 0x80) {
        ret[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        ret[0] = (char)(0xc0 | point >> 6);
        ret[1] = (char)(0x80 | (point & 63));
        return 2;
    }
    if (point < 0x10000) {
        ret[0] = (char)(0xe0 | point >> 12);
        ret[1] = (char)(0x80 | (point >> 6 & 63));
        ret[2] = (char)(0x80 | (point & 63));
        return 3;
    }
    ret[0] = (char)(0xf0 | point >> 18);
    ret[1] = (char)(0x80 | (point >> 12 & 63));
    ret[2] = (char)(0x80 | (point >> 6 & 63));
    ret[3] = (char)(0x80 | (point & 63));
    return 4;
}

static void every_code_point(void **state)
{
    for (uint32_t point = 0; point < 0x120000; point++) {
        char bytes[4];
        size_t len = encode_point(point, bytes);
        bool is_surrogate = point >= 0xd800 && point <= 0xdfff;
        bool expected = !is_surrogate && point <= 0x10ffff;
        if (utf8_is_valid((Str){bytes, len}) != expected) {
            fail_msg("U+%04X", point);
        }
        for (size_t cut = 1; cut < len; cut++) {
            assert_false(utf8_is_valid((Str){bytes, cut}));
        }
    }
}

static void what_no_code_point_gives(void **state)
{
    static const char *const wrong[] = {
        "\x80",             // a tail
        "\xc0\x80",         // NUL in two bytes
        "\xc1\xbf",         // U+007F in two
        "\xe0\x9f\xbf",     // U+07FF in three
        "\xf0\x8f\xbf\xbf", // U+FFFF in four
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xff",
        "\xc3(",
        "\xc3\xc3",
        "\xe2\x82(",
        "\xf0\x9f\x98(",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_false(utf8_is_valid(str_from(wrong[i])));
        assert_int_equal(utf8_character(wrong[i], strlen(wrong[i])), 0);
    }
}

// Eight bytes are looked at together.
static void wherever_it_stands(void **state)
{
    for (size_t at = 0; at < 20; at++) {
        char text[24];
        memset(text, 'x', sizeof(text));
        assert_true(utf8_is_valid((Str){text, sizeof(text)}));
        memcpy(text + at, "\xf0\x9f\x98\x80", 4);
        assert_true(utf8_is_valid((Str){text, sizeof(text)}));
        text[at + 3] = 'x';
        assert_false(utf8_is_valid((Str){text, sizeof(text)}));
        assert_false(utf8_is_valid((Str){text, at + 1}));
    }
    assert_true(utf8_is_valid((Str){0}));
}

static void cut_between_two_characters(void **state)
{
    Str text = STR("a\u00e9\u20ac\U0001f600"); // ends at 1, 3, 6 and 10
    static const size_t ends[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10, 10};
    for (size_t max = 0; max < ARRAY_LEN(ends); max++) {
        assert_int_equal(utf8_cut(text, max), ends[max]);
    }
    assert_int_equal(utf8_length(text), 4);
    assert_int_equal(utf8_cut((Str){0}, 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point),
        cmocka_unit_test(what_no_code_point_gives),
        cmocka_unit_test(wherever_it_stands),
        cmocka_unit_test(cut_between_two_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
