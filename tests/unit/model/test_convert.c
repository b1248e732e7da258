// Conversions: the table of docs/hub.md, cell by cell, between JSON types and with columns.
#include <stdio.h>
#include <string.h>

#include "arena_fixture.h"
#include "base/buf.h"
#include "base/limits.h"
#include "codec/json_read.h"
#include "model/convert.h"
#include "model/schema.h"
#include "relations.h"

static Error err;

enum {
    NUL = 1 << JSON_NULL,
    BOOLEAN = 1 << JSON_BOOL,
    STRING = 1 << JSON_STRING,
    ARRAY = 1 << JSON_ARRAY,
    OBJECT = 1 << JSON_OBJECT,
    INTEGER = 1 << SCHEMA_INTEGER,
    NUMBER = 1 << JSON_NUMBER | INTEGER,
};

static JsonValue json(const char *text)
{
    JsonValue value;
    if (json_read(&arena, str_from(text), &value, &err) != STATUS_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    return value;
}

static const char *printed(const JsonValue *value)
{
    CLEANUP(buf_done) Buf out;
    buf_init(&out, LIMIT_TEXT_BYTES);
    json_print(&out, value);
    return str_to_cstr(&arena, buf_view(&out));
}

typedef struct Case {
    const char *from;
    uint32_t types;
    const char *to; // NULL: refused
} Case;

static void json_follows_the_table(void **context)
{
    (void)context;
    static const Case cases[] = {
        // 1: what may be there stays
        {"\"3\"", NUMBER | STRING, "\"3\""},
        {"3", NUMBER | STRING, "3"},
        {"3", SCHEMA_ANY_TYPE, "3"},
        {"3.0", INTEGER, "3.0"},
        {"1e3", INTEGER, "1e3"},
        {"null", NUL | STRING, "null"},
        {"[1]", ARRAY, "[1]"},
        {"123456789012345678901234567890.50", NUMBER, "123456789012345678901234567890.50"},
        // 2: text becomes what it says
        {"\"3\"", NUMBER, "3"},
        {"\"3\"", INTEGER, "3"},
        {"\"-1.50\"", NUMBER | BOOLEAN, "-1.50"},
        {"\"true\"", BOOLEAN, "true"},
        {"\"false\"", NUMBER | BOOLEAN, "false"},
        {"\"{\\\"a\\\": [1]}\"", OBJECT, "{\"a\":[1]}"},
        {"\"[1]\"", ARRAY | NUL, "[1]"},
        {"\"[1]\"", OBJECT, NULL},
        {"\"1.5\"", INTEGER, NULL},
        {"\"true\"", NUMBER, NULL},
        {"\"1\"", BOOLEAN, NULL},
        {"\" 3\"", NUMBER, NULL},
        {"\"03\"", NUMBER, NULL},
        {"\"+3\"", NUMBER, NULL},
        {"\"\"", NUMBER, NULL},
        {"\"null\"", NUL, NULL},
        {"\"NaN\"", NUMBER, NULL},
        {"\"t\"", BOOLEAN, NULL},
        {"\"{\"", OBJECT, NULL},
        // 3: all else becomes text
        {"3", STRING, "\"3\""},
        {"1.50", STRING | NUL, "\"1.50\""},
        {"true", STRING, "\"true\""},
        {"{\"a\":1}", STRING, "\"{\\\"a\\\":1}\""},
        {"[ 1 ]", STRING | NUMBER, "\"[1]\""},
        // 4: the rest is refused
        {"null", STRING, NULL},
        {"null", NUMBER | BOOLEAN | ARRAY | OBJECT, NULL},
        {"1.5", INTEGER, NULL},
        {"1", BOOLEAN, NULL},
        {"true", NUMBER, NULL},
        {"[1]", OBJECT, NULL},
        {"{}", ARRAY | NUMBER, NULL},
        {"3", 0, NULL},
        {"3", NUL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const Case *one = &cases[i];
        JsonValue from = json(one->from);
        JsonValue to;
        Status status = convert_json(&arena, &from, one->types, &to, &err);
        const char *said = status == STATUS_OK ? printed(&to) : err.message;
        if ((status == STATUS_OK) != (one->to != NULL) ||
            (one->to != NULL && strcmp(said, one->to) != 0)) {
            fail_msg("%s to %x: %s", one->from, one->types, said);
        }
        // What is not possible for types is not possible for any value of them.
        uint32_t kind = from.kind == JSON_NUMBER ? NUMBER : 1U << from.kind;
        if (one->to != NULL && from.kind != JSON_NULL) {
            assert_true(convert_is_possible(kind, one->types));
        }
    }
}

static void what_cannot_be_is_known_by_the_types(void **context)
{
    (void)context;
    assert_false(convert_is_possible(BOOLEAN, NUMBER));
    assert_false(convert_is_possible(NUMBER, BOOLEAN | NUL));
    assert_false(convert_is_possible(NUMBER | NUL, BOOLEAN | NUL)); // null is not enough
    assert_false(convert_is_possible(ARRAY, OBJECT));
    assert_false(convert_is_possible(STRING, NUL));
    assert_false(convert_is_possible(STRING, 0));
    assert_true(convert_is_possible(NUMBER, INTEGER));
    assert_true(convert_is_possible(INTEGER, NUMBER));
    assert_true(convert_is_possible(STRING, BOOLEAN));
    assert_true(convert_is_possible(OBJECT, STRING));
}

static void refusals_name_value_and_types(void **context)
{
    (void)context;
    JsonValue value = json("\"a long text that would fill the line of a message if nothing cut it "
                           "somewhere near its end\"");
    JsonValue unchanged = {.kind = JSON_NULL};
    assert_int_equal(convert_json(&arena, &value, NUMBER | NUL, &unchanged, &err), STATUS_FAIL);
    assert_string_equal(err.message, "\"a long text that would fill the line of a message if "
                                     "nothin… cannot become one of: number, null");
    assert_int_equal(err.kind, ERROR_DATA);
    assert_int_equal(unchanged.kind, JSON_NULL);
    char text[CONVERT_TYPES_TEXT];
    convert_types_text(SCHEMA_ANY_TYPE, text);
    assert_string_equal(text, "any");
    convert_types_text(SCHEMA_ANY_TYPE & ~(uint32_t)(1 << JSON_NUMBER | NUL), text);
    assert_string_equal(text, "boolean, integer, string, array, object");
    convert_types_text(0, text);
    assert_string_equal(text, "");
}

// ---------------------------------------------------------------------------------------------
// Columns
// ---------------------------------------------------------------------------------------------

static Column of(uint32_t type, const char *name)
{
    return column("c", 1, type, name);
}

typedef struct ColumnCase {
    uint32_t type;
    const char *text;
    const char *json; // NULL: refused
} ColumnCase;

static void columns_are_read(void **context)
{
    (void)context;
    static const ColumnCase cases[] = {
        {OID_BOOL, "t", "true"},
        {OID_BOOL, "f", "false"},
        {OID_BOOL, "true", NULL},
        {OID_INT2, "-32768", "-32768"},
        {OID_INT8, "9223372036854775807", "9223372036854775807"}, // more than a double holds
        {OID_OID, "4294967295", "4294967295"},
        {OID_INT4, "x", NULL},
        {OID_FLOAT8, "1e+20", "1e+20"},
        {OID_FLOAT8, "0.1", "0.1"},
        {OID_FLOAT8, "NaN", "\"NaN\""},
        {OID_NUMERIC, "-Infinity", "\"-Infinity\""},
        {OID_NUMERIC, "0.50", "0.50"},
        {OID_NUMERIC, "nan", NULL},
        {OID_TEXT, "3", "\"3\""},
        {OID_TEXT, "", "\"\""},
        {OID_TEXT, "\xff", NULL},
        {OID_JSONB, "{\"a\": 1.0}", "{\"a\":1.0}"},
        {OID_JSON, "null", "null"},
        {OID_JSON, "{\"a\":1,\"a\":2}", NULL}, // which one is it?
        {OID_UUID, "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
         "\"6f9619ff-8b86-d011-b42d-00cf4fc964ff\""},
        {OID_TIMESTAMPTZ, "2026-01-01 00:00:00+00", "\"2026-01-01 00:00:00+00\""},
        {OID_BYTEA, "\\x00ff", "\"\\\\x00ff\""},
        {OID_MONEY, "$1.00", "\"$1.00\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Column from = of(cases[i].type, "a type");
        Value value = {
            .ptr = cases[i].text, .len = (uint32_t)strlen(cases[i].text), .state = VALUE_TEXT};
        JsonValue to;
        Status status = convert_from_column(&arena, &from, value, &to, &err);
        const char *said = status == STATUS_OK ? printed(&to) : err.message;
        if ((status == STATUS_OK) != (cases[i].json != NULL) ||
            (cases[i].json != NULL && strcmp(said, cases[i].json) != 0)) {
            fail_msg("%u %s: %s", cases[i].type, cases[i].text, said);
        }
        if (status == STATUS_OK && to.kind != JSON_NULL) {
            // What a column is said to give, it gives.
            bool is_special = to.kind == JSON_STRING && cases[i].type != OID_TEXT &&
                              from.type >= TYPE_FLOAT4 && from.type <= TYPE_NUMERIC;
            assert_true(is_special || (convert_column_types(&from) >> to.kind & 1) != 0 ||
                        (to.kind == JSON_NUMBER && convert_column_types(&from) == INTEGER));
        }
    }
    Column any = of(OID_TEXT, "text");
    JsonValue to;
    assert_int_equal(convert_from_column(&arena, &any, NIL, &to, &err), STATUS_OK);
    assert_int_equal(to.kind, JSON_NULL);
    Value binary = {.ptr = "a", .len = 1, .state = VALUE_BINARY};
    assert_int_equal(convert_from_column(&arena, &any, binary, &to, &err), STATUS_FAIL);
}

static void columns_are_written(void **context)
{
    (void)context;
    static const ColumnCase cases[] = {
        {OID_BOOL, "t", "true"},
        {OID_BOOL, "f", "\"false\""},
        {OID_BOOL, NULL, "1"},
        {OID_INT4, "3", "3"},
        {OID_INT4, "3", "3.0"},
        {OID_INT4, "3", "\"3\""},
        {OID_INT4, "1000", "1e3"},
        {OID_INT4, "-2147483648", "-2147483648"},
        {OID_INT4, NULL, "2147483648"},
        {OID_INT2, NULL, "-32769"},
        {OID_OID, NULL, "-1"},
        {OID_OID, "4294967295", "4294967295"},
        {OID_INT8, "9223372036854775807", "9223372036854775807"},
        {OID_INT8, "9223372036854775807", "9223372036854775807.0"},
        {OID_INT8, "-9223372036854775808", "-9.223372036854775808e18"},
        {OID_INT8, "1230000000000000000", "1.23e18"},
        {OID_INT8, NULL, "9223372036854775808"},
        {OID_INT8, NULL, "1e19"},
        {OID_INT8, NULL, "1e999999999"},
        {OID_INT8, NULL,
         "12345678901234567890123456789012345678901234567890123456789012345678901234567890"},
        {OID_INT8, "0", "-0"},
        {OID_INT4, NULL, "1.5"},
        {OID_INT4, NULL, "true"},
        {OID_INT4, NULL, "\"x\""},
        {OID_INT4, NULL, "\"NaN\""},
        {OID_BOOL, NULL, "\"NaN\""},
        {OID_NUMERIC, "1.50", "1.50"},
        {OID_NUMERIC, "NaN", "\"NaN\""},
        {OID_FLOAT8, "-Infinity", "\"-Infinity\""},
        {OID_FLOAT8, NULL, "\"infinity\""},
        {OID_TEXT, "abc", "\"abc\""},
        {OID_TEXT, "3.0", "3.0"},
        {OID_TEXT, "true", "true"},
        {OID_TEXT, "{\"a\":1}", "{\"a\": 1}"},
        {OID_TEXT, "", "\"\""},
        {OID_TEXT, NULL, "\"a\\u0000b\""},
        {OID_DATE, "2026-01-01", "\"2026-01-01\""},
        {OID_JSONB, "{\"a\":1}", "{\"a\": 1}"},
        {OID_JSONB, "\"3\"", "\"3\""},
        {OID_JSON, "\"a\\u0000b\"", "\"a\\u0000b\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Column to = of(cases[i].type, "a type");
        JsonValue from = json(cases[i].json);
        Value value;
        Status status = convert_to_column(&arena, &to, &from, &value, &err);
        if ((status == STATUS_OK) != (cases[i].text != NULL) ||
            (cases[i].text != NULL && !str_is(value_str(value), cases[i].text))) {
            fail_msg("%s to %u: %" STR_FMT, cases[i].json, cases[i].type,
                     STR_ARG(status == STATUS_OK ? value_str(value) : str_from(err.message)));
        }
    }
    Column any = of(OID_JSONB, "jsonb");
    JsonValue null = {.kind = JSON_NULL};
    Value value;
    assert_int_equal(convert_to_column(&arena, &any, &null, &value, &err), STATUS_OK);
    assert_int_equal(value.state, VALUE_NULL);
    Column small = of(OID_INT2, "smallint");
    JsonValue large = json("70000");
    assert_int_equal(convert_to_column(&arena, &small, &large, &value, &err), STATUS_FAIL);
    assert_string_equal(err.message, "70000 is out of the range of type smallint");
}

// '{}' is no object: text that is not JSON is not taken for it.
static void some_types_are_only_text(void **context)
{
    (void)context;
    Column array = of(1007, "integer[]");
    array.kind = TYPE_KIND_ARRAY;
    Column bits = of(OID_BIT, "bit(3)");
    const Column *columns[] = {&array, &bits};
    Value value;
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        assert_true(convert_fits_column(columns[i], STRING | NUL, true));
        assert_true(convert_fits_column(columns[i], STRING | ARRAY, false));
        assert_false(convert_fits_column(columns[i], NUMBER | ARRAY | OBJECT, true));
        assert_false(convert_fits_column(columns[i], NUMBER | ARRAY | OBJECT, false));
        JsonValue number = json("101");
        assert_int_equal(convert_to_column(&arena, columns[i], &number, &value, &err), STATUS_FAIL);
        JsonValue text = json("\"{1,2}\"");
        assert_int_equal(convert_to_column(&arena, columns[i], &text, &value, &err), STATUS_OK);
        assert_true(str_is(value_str(value), "{1,2}"));
    }
    Column number = of(OID_NUMERIC, "numeric");
    assert_true(convert_fits_column(&number, INTEGER, true));
    assert_false(convert_fits_column(&number, BOOLEAN, true));
}

// What could not be read again is refused while it is written.
static void json_that_is_too_large_is_refused(void **context)
{
    (void)context;
    char *bytes = arena_alloc_bytes(&arena, LIMIT_JSON_BYTES);
    memset(bytes, 'a', LIMIT_JSON_BYTES);
    JsonValue text = {.kind = JSON_STRING, .text = {bytes, LIMIT_JSON_BYTES - 2}};
    Column to = of(OID_JSONB, "jsonb");
    Value value;
    assert_int_equal(convert_to_column(&arena, &to, &text, &value, &err), STATUS_OK);
    text.text.len++;
    assert_int_equal(convert_to_column(&arena, &to, &text, &value, &err), STATUS_FAIL);
    assert_non_null(strstr(err.message, "more than 16777216"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_follows_the_table),
        cmocka_unit_test(what_cannot_be_is_known_by_the_types),
        cmocka_unit_test(refusals_name_value_and_types),
        cmocka_unit_test(columns_are_read),
        cmocka_unit_test(columns_are_written),
        cmocka_unit_test(some_types_are_only_text),
        cmocka_unit_test(json_that_is_too_large_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
