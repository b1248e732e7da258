#include "base/base64.h"
#include "unit.h"

static void both_ways(void **context)
{
    (void)context;
    // RFC 4648, 10.
    static const char *const vectors[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/"},
    };
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        Buf text = {.max = 100};
        Buf data = {.max = 100};
        base64_encode(&text, str_from(vectors[i][0]));
        assert_string_equal(buf_cstring(&text), vectors[i][1]);
        assert_true(base64_decode(&data, str_from(vectors[i][1])));
        assert_string_equal(buf_cstring(&data), vectors[i][0]);
        buf_done(&text);
        buf_done(&data);
    }
}

static void what_is_none(void **context)
{
    (void)context;
    static const char *const texts[] = {
        "Z",    "Zg",   "Zg=",  "Zm9=v", "Zg==Zg==", "====", "Z===",
        "Zm 9", "Zm9_", "Zh==", "Zm9=",  "Zm9v\n",   "=Zm9", "Zm9v="};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        Buf data = {.max = 100};
        if (base64_decode(&data, str_from(texts[i]))) {
            fail_msg("%s", texts[i]);
        }
        buf_done(&data);
    }
    Buf data = {.max = 100};
    assert_false(base64_decode(&data, (Str){"Zm\0v", 4}));
    buf_done(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways),
        cmocka_unit_test(what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
