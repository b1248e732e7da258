#include "base/mem.h"
#include "codec/json_read.h"
#include "unit.h"

static void check_same(const char *text, const char *expected)
{
    Arena arena = {0};
    Buf out = {.max = 1 << 20};
    JsonValue value;
    Error err;
    if (json_read(&arena, str_from(text), &value, &err) != STATUS_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    json_print(&out, &value);
    assert_string_equal(buf_cstring(&out), expected);
    JsonValue copy = json_copy(&arena, &value);
    assert_true(json_equal(&copy, &value));
    assert_true(json_hash(&copy) == json_hash(&value));
    buf_done(&out);
    arena_done(&arena);
}

static void check_refused(const char *text, const char *message)
{
    Arena arena = {0};
    JsonValue value = {.count = 77};
    Error err = {0};
    assert_int_equal(json_read(&arena, str_from(text), &value, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_DATA);
    assert_string_equal(err.message, message);
    assert_int_equal(value.count, 77);
    arena_done(&arena);
}

static void values(void **state)
{
    check_same("null", "null");
    check_same(" [true , false,\n{} ] ", "[true,false,{}]");
    check_same("{\"b\":[1.50,-0,1E5],\"a\":\"x\"}", "{\"b\":[1.50,-0,1E5],\"a\":\"x\"}");
    check_same("\"\"", "\"\"");
    check_same("123456789012345678901234567890", "123456789012345678901234567890");
}

static void escapes(void **state)
{
    check_same("\"\\u0041\\n\\/\\\"\\\\ \\b\\f\\r\\t\"", "\"A\\n/\\\"\\\\ \\b\\f\\r\\t\"");
    check_same("\"\\ud83d\\udc32\"", "\"\xf0\x9f\x90\xb2\"");
    check_same("\"a\\u00e9\xc3\xa9z\"", "\"a\xc3\xa9\xc3\xa9z\"");
    Arena arena = {0};
    JsonValue value;
    assert_int_equal(json_read(&arena, STR("\"a\\u0000b\""), &value, NULL), STATUS_OK);
    assert_true(str_equal(value.text, STR("a\0b")));
    arena_done(&arena);
}

static void what_is_no_json(void **state)
{
    check_refused("", "line 1, column 1: there is no value");
    check_refused("[1,\n 2,]", "line 2, column 4: there is no value");
    check_refused("[1 2]", "line 1, column 4: a comma or a closing bracket is missing");
    check_refused("{\"a\":1", "line 1, column 7: a comma or a closing brace is missing");
    check_refused("{a:1}", "line 1, column 2: the name of a member is missing");
    check_refused("{\"a\" 1}", "line 1, column 6: a colon is missing");
    check_refused("1 2", "line 1, column 3: something follows the value");
    check_refused("01", "line 1, column 1: this is no number, or its exponent is too large");
    check_refused("1e9999999999",
                  "line 1, column 1: this is no number, or its exponent is too large");
    check_refused("NaN", "line 1, column 1: there is no value");
    check_refused("nul", "line 1, column 1: there is no value");
    check_refused("\"abc", "line 1, column 5: the string does not end");
    check_refused("\"a\nb\"", "line 1, column 3: the string does not end");
    check_refused("\"\\x\"", "line 1, column 4: there is no such escape");
    check_refused("\"\\ud83d\"", "line 1, column 8: there is no such escape");
    check_refused("\"\\udc32\"", "line 1, column 8: there is no such escape");
    check_refused("\"\\udc32\\udc32\"", "line 1, column 8: there is no such escape");
    check_refused("\"\xff\"", "line 1, column 2: this is not UTF-8");
    check_refused("\"\\n\xc3\"", "line 1, column 4: this is not UTF-8");
}

static void a_name_twice(void **state)
{
    check_refused("{\"a\":1,\"b\":2,\"\\u0061\":3}",
                  "line 1, column 25: the object that ends here has \"a\" twice");
    Buf text = {.max = 1 << 20};
    buf_cstr(&text, "{\"n7\":0");
    for (int i = 0; i < 40; i++) {
        buf_printf(&text, ",\"n%d\":0", i);
    }
    buf_char(&text, '}');
    Arena arena = {0};
    JsonValue value;
    Error err;
    assert_int_equal(json_read(&arena, buf_view(&text), &value, &err), STATUS_FAIL);
    assert_non_null(strstr(err.message, "has \"n7\" twice"));
    arena_done(&arena);
    buf_done(&text);
}

static Status read_nested(size_t depth)
{
    Buf text = {.max = 1 << 20};
    for (size_t i = 0; i < depth; i++) {
        buf_char(&text, '[');
    }
    for (size_t i = 0; i < depth; i++) {
        buf_char(&text, ']');
    }
    Arena arena = {0};
    JsonValue value;
    Status status = json_read(&arena, buf_view(&text), &value, NULL);
    arena_done(&arena);
    buf_done(&text);
    return status;
}

static void how_deep(void **state)
{
    assert_int_equal(read_nested(JSON_READ_DEPTH_MAX), STATUS_OK);
    assert_int_equal(read_nested(JSON_READ_DEPTH_MAX + 1), STATUS_FAIL);
}

static bool equal(const char *a, const char *b)
{
    Arena arena = {0};
    JsonValue x;
    JsonValue y;
    assert_int_equal(json_read(&arena, str_from(a), &x, NULL), STATUS_OK);
    assert_int_equal(json_read(&arena, str_from(b), &y, NULL), STATUS_OK);
    bool same = json_equal(&x, &y);
    assert_int_equal(same, json_equal(&y, &x));
    if (same) {
        assert_true(json_hash(&x) == json_hash(&y));
    }
    arena_done(&arena);
    return same;
}

static void equality(void **state)
{
    assert_true(equal("1", "1.0"));
    assert_true(equal("[1e2]", "[100]"));
    assert_true(equal("{\"a\":1,\"b\":[2]}", "{\"b\":[2.0],\"a\":1}"));
    assert_false(equal("{\"a\":1,\"b\":2}", "{\"a\":1}"));
    assert_false(equal("{\"a\":1}", "{\"b\":1}"));
    assert_false(equal("[1,2]", "[2,1]"));
    assert_false(equal("[1]", "[1,1]"));
    assert_false(equal("0", "false"));
    assert_false(equal("\"1\"", "1"));
    assert_false(equal("null", "false"));
}

// Members are looked for in another way where there are many.
static void large_objects(void **state)
{
    enum { MEMBERS = 100 };
    Buf one = {.max = 1 << 20};
    Buf other = {.max = 1 << 20};
    Buf changed = {.max = 1 << 20};
    for (int i = 0; i < MEMBERS; i++) {
        buf_printf(&one, "%s\"m%d\":%d", i == 0 ? "{" : ",", i, i);
        buf_printf(&other, "%s\"m%d\":%d.0", i == 0 ? "{" : ",", MEMBERS - 1 - i, MEMBERS - 1 - i);
        buf_printf(&changed, "%s\"m%d\":%d", i == 0 ? "{" : ",", i, i == 77 ? -1 : i);
    }
    buf_char(&one, '}');
    buf_char(&other, '}');
    buf_char(&changed, '}');
    assert_true(equal(buf_cstring(&one), buf_cstring(&other)));
    assert_false(equal(buf_cstring(&one), buf_cstring(&changed)));
    buf_done(&one);
    buf_done(&other);
    buf_done(&changed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),          cmocka_unit_test(escapes),
        cmocka_unit_test(what_is_no_json), cmocka_unit_test(a_name_twice),
        cmocka_unit_test(how_deep),        cmocka_unit_test(equality),
        cmocka_unit_test(large_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
