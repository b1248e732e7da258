#include "codec/json.h"
#include "unit.h"

static void assert_text(Buf *buf, const char *expected)
{
    assert_string_equal(buf_cstring(buf), expected);
    buf_reset(buf);
}

static void test_strings_are_escaped(void **state)
{
    Buf buf = {.max = 10000};
    assert_true(json_string(&buf, STR("")));
    assert_text(&buf, "\"\"");
    assert_true(json_string(&buf, (Str){0}));
    assert_text(&buf, "\"\"");
    assert_true(json_string(&buf, STR("a\"b\\c/d'e\x7f")));
    assert_text(&buf, "\"a\\\"b\\\\c/d'e\x7f\"");
    assert_true(json_string(&buf, STR("\b\f\n\r\t\v\x1f")));
    assert_text(&buf, "\"\\b\\f\\n\\r\\t\\u000b\\u001f\"");
    assert_true(json_string(&buf, STR("a\0b")));
    assert_text(&buf, "\"a\\u0000b\"");
    assert_true(json_string(&buf, STR("\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80")));
    assert_text(&buf, "\"\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80\"");
    buf_done(&buf);
}

// The same by the rule alone, one byte at a time.
static void escape_slowly(Buf *buf, Str text)
{
    buf_char(buf, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        const char *named = c == '\0' ? NULL : strchr("\"\\\bb\ff\nn\rr\tt", c);
        if (c == '"' || c == '\\') {
            buf_printf(buf, "\\%c", c);
        } else if (c < 0x20 && named != NULL) {
            buf_printf(buf, "\\%c", named[1]);
        } else if (c < 0x20) {
            buf_printf(buf, "\\u%04x", c);
        } else {
            buf_char(buf, (char)c);
        }
    }
    buf_char(buf, '"');
}

// Eight bytes are looked at together: every byte at every offset has to be seen all the same.
static void test_every_byte_is_seen_everywhere(void **state)
{
    Buf fast = {.max = 1000};
    Buf slow = {.max = 1000};
    for (int byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < 20; at++) {
            char text[20];
            memset(text, byte % 2 == 0 ? '!' : '[', sizeof(text));
            text[at] = (char)byte;
            buf_reset(&fast);
            buf_reset(&slow);
            bool valid = json_string(&fast, (Str){text, sizeof(text)});
            assert_int_equal(valid, byte < 0x80);
            if (valid) {
                escape_slowly(&slow, (Str){text, sizeof(text)});
                assert_true(str_equal(buf_view(&fast), buf_view(&slow)));
            }
        }
    }
    buf_done(&fast);
    buf_done(&slow);
}

// The same numbers in every run.
static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 16;
}

static void test_random_text(void **state)
{
    static const char alphabet[] = "ab \"\\\n\t\1\x1f\x7f{}";
    Buf fast = {.max = 10000};
    Buf slow = {.max = 10000};
    uint32_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        char text[40];
        size_t len = next_random(&seed) % 40;
        for (size_t i = 0; i < len; i++) {
            text[i] = next_random(&seed) % 4 == 0 ? alphabet[next_random(&seed) % 12] : 'x';
        }
        buf_reset(&fast);
        buf_reset(&slow);
        assert_true(json_string(&fast, (Str){text, len}));
        escape_slowly(&slow, (Str){text, len});
        assert_true(str_equal(buf_view(&fast), buf_view(&slow)));
    }
    buf_done(&fast);
    buf_done(&slow);
}

static void test_lossy(void **state)
{
    Buf buf = {.max = 1000};
    json_string_lossy(&buf, STR("a\xff"
                                "b\xc3"));
    assert_text(&buf, "\"a\xef\xbf\xbd"
                      "b\xef\xbf\xbd\"");
    json_string_lossy(&buf, STR("\xe2\x82(\xe2\x82\xac"));
    assert_text(&buf, "\"\xef\xbf\xbd\xef\xbf\xbd(\xe2\x82\xac\"");
    buf_done(&buf);
}

static void test_base64(void **state)
{
    static const char *const pairs[][2] = {
        {"", "\"\""},
        {"f", "\"Zg==\""},
        {"fo", "\"Zm8=\""},
        {"foo", "\"Zm9v\""},
        {"foob", "\"Zm9vYg==\""},
        {"fooba", "\"Zm9vYmE=\""},
        {"foobar", "\"Zm9vYmFy\""},
    };
    Buf buf = {.max = 1000};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        json_base64(&buf, str_from(pairs[i][0]));
        assert_text(&buf, pairs[i][1]);
    }
    json_base64(&buf, STR("\xff\xfe\x00\x3f"));
    assert_text(&buf, "\"//4APw==\"");
    buf_done(&buf);
}

static void test_numbers(void **state)
{
    static const char *const good[] = {"0",
                                       "-0",
                                       "1",
                                       "-12.50",
                                       "1e+20",
                                       "1.5e-07",
                                       "0.0",
                                       "1E5",
                                       "10",
                                       "0e0",
                                       "123456789012345678901"};
    static const char *const bad[] = {"",    "-",        "+1",  ".5",  "5.",  "01",
                                      "1e",  "1e+",      "NaN", " 1",  "1 ",  "1x",
                                      "0x1", "Infinity", "--1", "-.5", "1,0", "1.2.3"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(json_is_number(str_from(good[i])));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(json_is_number(str_from(bad[i])));
    }
}

static void test_embeds_what_is_json(void **state)
{
    static const char *const good[] = {
        "1",
        "null",
        "true",
        "false",
        "\"x\"",
        "[]",
        "{}",
        " [ ] ",
        "[1,2,[3,{\"a\":{}}]]",
        "{\"a\":1,\"a\":2}",
        "\"\\u0000\\ud800\\/\\\"\"",
        "[[],[[]],{}]",
        "-1.50e+3",
        "{\"a\" : [ 1 , 2 ] , \"b\" : null }",
        "\"\xc3\xbc\"",
    };
    Buf buf = {.max = 1000};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!json_embed(&buf, str_from(good[i]))) {
            fail_msg("%s", good[i]);
        }
        assert_text(&buf, good[i]);
    }
    buf_done(&buf);
}

static void test_embeds_nothing_else(void **state)
{
    static const char *const bad[] = {
        "",           " ",       "nul",         "nulls",     "True",     "'x'",
        "\"x",        "\"\\x\"", "\"\\u12g4\"", "\"\\",      "\"\n\"",   "\"\t\"",
        "[",          "]",       "[1",          "[1,",       "[1,]",     "[,1]",
        "[1 2]",      "[1]]",    "{",           "}",         "{\"a\"}",  "{\"a\":}",
        "{\"a\":1,}", "{1:2}",   "{\"a\" 1}",   "{\"a\":1]", "[1}",      "{,}",
        "1 2",        "01",      "[01]",        "NaN",       "\"\xff\"", "\"\xed\xa0\x80\"",
        "{\"a\":1}{", "[1}]",    "{\"\\q\":1}", "\f1",
    };
    Buf buf = {.max = 1000};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (json_embed(&buf, str_from(bad[i])) || buf.len > 0) {
            fail_msg("%s", bad[i]);
        }
    }
    assert_false(json_embed(&buf, STR("1\0")));
    assert_false(json_embed(&buf, STR("\"\\\0\"")));
    buf_done(&buf);
}

static void test_no_prefix_is_json(void **state)
{
    Str whole = STR("{\"a\":[1.5,true,null,\"\\u00e9\xc3\xbc\\n\"],\"b\":{\"c\":{}}}");
    Buf buf = {.max = 1000};
    for (size_t len = 0; len < whole.len; len++) {
        char *copy = mem_alloc(len + 1); // of that size, so that reading on is found
        memcpy(copy, whole.ptr, len);
        assert_false(json_embed(&buf, (Str){copy, len}));
        mem_free(copy);
    }
    assert_true(json_embed(&buf, whole));
    buf_done(&buf);
}

static void test_embedded_is_one_line(void **state)
{
    Buf buf = {.max = 1000};
    assert_true(json_embed(&buf, STR("{\r\n  \"a\\n\":\n\t1\n}")));
    assert_text(&buf, "{    \"a\\n\": \t1 }");
    buf_done(&buf);
}

static void nest(Buf *buf, size_t depth)
{
    buf_reset(buf);
    for (size_t i = 0; i < depth; i++) {
        buf_cstr(buf, i % 3 == 0 ? "{\"a\":" : "[");
    }
    buf_char(buf, '1');
    for (size_t i = depth; i-- > 0;) {
        buf_char(buf, i % 3 == 0 ? '}' : ']');
    }
}

static void test_depth(void **state)
{
    Buf deep = {.max = 1 << 20};
    Buf out = {.max = 1 << 20};
    nest(&deep, JSON_DEPTH_MAX);
    assert_true(json_embed(&out, buf_view(&deep)));
    assert_true(str_equal(buf_view(&out), buf_view(&deep)));
    buf_reset(&out);
    nest(&deep, JSON_DEPTH_MAX + 1);
    assert_false(json_embed(&out, buf_view(&deep)));
    buf_done(&deep);
    buf_done(&out);
}

static void test_null_and_strings(void **state)
{
    assert_true(json_is_null(STR("null")));
    assert_true(json_is_null(STR(" null\n")));
    assert_false(json_is_null(STR("\"null\"")));
    assert_true(json_is_string(STR("\"a\\\"b\"")));
    assert_false(json_is_string(STR("\"a\"\"b\"")));
    assert_false(json_is_string(STR("\"a\".b")));
    assert_false(json_is_string(STR("a")));
    assert_false(json_is_string(STR("\"")));
}

// A full buffer drops bytes and says so; nothing is written outside.
static void test_ceiling(void **state)
{
    for (size_t max = 0; max < 12; max++) {
        Buf buf = {.max = max};
        assert_true(json_string(&buf, STR("ab\ncd")));
        assert_int_equal(buf_check(&buf, "it", NULL), max < 8 ? STATUS_FAIL : STATUS_OK);
        buf_done(&buf);
        buf = (Buf){.max = max};
        assert_true(json_embed(&buf, STR("[1,\n2,3]")));
        assert_int_equal(buf_check(&buf, "it", NULL), max < 8 ? STATUS_FAIL : STATUS_OK);
        buf_done(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings_are_escaped),
        cmocka_unit_test(test_every_byte_is_seen_everywhere),
        cmocka_unit_test(test_random_text),
        cmocka_unit_test(test_lossy),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_embeds_what_is_json),
        cmocka_unit_test(test_embeds_nothing_else),
        cmocka_unit_test(test_no_prefix_is_json),
        cmocka_unit_test(test_embedded_is_one_line),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_null_and_strings),
        cmocka_unit_test(test_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
