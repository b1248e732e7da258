// What the official suite (tests/schema) does not ask: messages, limits, typed rows.
#include "base/buf.h"
#include "base/mem.h"
#include "codec/json_read.h"
#include "model/schema.h"
#include "unit.h"

typedef struct Checked {
    SchemaSet *set;
    Schema *schema;
    SchemaValidator *validator;
    Arena arena;
    Error err;
} Checked;

static Status compile(Checked *on, const char *text)
{
    static const SchemaOptions options = {.assert_formats = true};
    *on = (Checked){.set = schema_set_new()};
    Status status = schema_set_add(on->set, STR("s.json"), str_from(text), &on->err);
    return status != STATUS_OK
               ? status
               : schema_compile(on->set, STR("s.json"), &options, &on->schema, &on->err);
}

static void done(Checked *on)
{
    schema_validator_free(on->validator);
    schema_free(on->schema);
    schema_set_free(on->set);
    arena_done(&on->arena);
}

static Status validate(Checked *on, const char *text)
{
    JsonValue value;
    Error err;
    if (json_read(&on->arena, str_from(text), &value, &err) != STATUS_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    if (on->validator == NULL) {
        on->validator = schema_validator_new(on->schema);
    }
    return schema_validate(on->validator, &value, &on->err);
}

static void begin(Checked *on, const char *schema)
{
    if (compile(on, schema) != STATUS_OK) {
        fail_msg("%s: %s", schema, on->err.message);
    }
    // What was compiled needs the set no longer.
    schema_set_free(on->set);
    on->set = NULL;
}

// ---------------------------------------------------------------------------------------------
// Messages
// ---------------------------------------------------------------------------------------------

static void what_messages_say(void **state)
{
    static const struct {
        const char *schema;
        const char *value;
        const char *message;
    } cases[] = {
        {"{\"properties\":{\"price\":{\"minimum\":0}}}", "{\"price\":-3}",
         "price: -3 is less than the minimum 0 (s.json#/properties/price/minimum)"},
        {"{\"type\":[\"integer\",\"null\"]}", "\"x\"",
         "\"x\" is not null or an integer (s.json#/type)"},
        {"{\"type\":\"integer\"}", "1.5", "1.5 is not an integer (s.json#/type)"},
        {"{\"required\":[\"a\",\"b\"]}", "{\"a\":1}",
         "the member \"b\" is missing (s.json#/required)"},
        {"{\"items\":{\"enum\":[1,\"x\"]}}", "[1,2]",
         NULL}, // the order of an enum is the program's own
        {"{\"items\":{\"const\":[]}}", "[[],{}]",
         "1: the object of 0 is not the array of 0 (s.json#/items/const)"},
        {"{\"multipleOf\":0.01}", "19.995",
         "19.995 is not a multiple of 0.01 (s.json#/multipleOf)"},
        {"{\"exclusiveMaximum\":1e2}", "100",
         "100 is not less than 1e2 (s.json#/exclusiveMaximum)"},
        {"{\"maxLength\":2}", "\"\xc3\xa9\xc3\xa9\xc3\xa9\"",
         "\"\xc3\xa9\xc3\xa9\xc3\xa9\" has 3 characters, more than 2 (s.json#/maxLength)"},
        {"{\"minItems\":2}", "[1]", "it has 1 items, fewer than 2 (s.json#/minItems)"},
        {"{\"uniqueItems\":true}", "[1,2,1.0]", "items 0 and 2 are equal (s.json#/uniqueItems)"},
        {"{\"pattern\":\"^a\"}", "\"b\"", "\"b\" does not match the pattern ^a (s.json#/pattern)"},
        {"{\"format\":\"date\"}", "\"2023-02-29\"",
         "\"2023-02-29\" is not of the format date (s.json#/format)"},
        {"{\"properties\":{\"a\":true},\"additionalProperties\":false}", "{\"b\":1}",
         "it has the member \"b\", which the schema does not have (s.json#/additionalProperties)"},
        {"{\"properties\":{\"a\":true},\"unevaluatedProperties\":false}", "{\"b\":1}",
         "it has the member \"b\", which the schema does not have (s.json#/unevaluatedProperties)"},
        {"{\"contains\":{\"type\":\"null\"}}", "[1]",
         "0 of its items are as contains asks, 1 must be (s.json#/contains)"},
        {"{\"not\":{\"type\":\"null\"}}", "null", "null is what it must not be (s.json#/not)"},
        {"{\"oneOf\":[{\"minimum\":1},{\"minimum\":2}]}", "3",
         "it is as both the schemas 0 and 1 of oneOf ask (s.json#/oneOf)"},
        {"{\"properties\":{\"a\":{\"$ref\":\"#/$defs/x\"}},\"$defs\":{\"x\":{\"type\":\"null\"}}}",
         "{\"a\":1}", "a: 1 is not null (s.json#/$defs/x/type)"},
        {"{\"properties\":{\"a/b\":{\"items\":false}}}", "{\"a/b\":[1]}",
         "a~1b/0: there may be no such value (s.json#/properties/a~1b/items)"},
        {"{\"dependentRequired\":{\"a\":[\"b\"]}}", "{\"a\":1}",
         "the member \"b\" is missing (s.json#/dependentRequired)"},
        {"{\"propertyNames\":{\"maxLength\":1}}", "{\"ab\":1}",
         "ab: \"ab\" has 2 characters, more than 1 (s.json#/propertyNames/maxLength)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Checked on;
        begin(&on, cases[i].schema);
        assert_int_equal(validate(&on, cases[i].value), STATUS_FAIL);
        assert_int_equal(on.err.kind, ERROR_DATA);
        if (cases[i].message != NULL) {
            assert_string_equal(on.err.message, cases[i].message);
        }
        done(&on);
    }
}

static void all_problems_are_listed(void **state)
{
    Checked on;
    begin(&on,
          "{\"properties\":{\"a\":{\"type\":\"string\",\"minLength\":2},\"b\":{\"minimum\":5}},"
          "\"required\":[\"c\"]}");
    assert_int_equal(validate(&on, "{\"a\":\"x\",\"b\":1}"), STATUS_FAIL);
    size_t count;
    const SchemaProblem *problems = schema_problems(on.validator, &count);
    assert_int_equal(count, 3);
    assert_true(str_is(problems[0].instance, "/a"));
    assert_true(str_is(problems[0].schema, "s.json#/properties/a/minLength"));
    assert_true(str_is(problems[1].instance, "/b"));
    assert_true(str_is(problems[1].reason, "1 is less than the minimum 5"));
    assert_true(str_is(problems[2].instance, ""));
    assert_int_equal(validate(&on, "{\"a\":\"xy\",\"b\":5,\"c\":0}"), STATUS_OK);
    (void)schema_problems(on.validator, &count);
    assert_int_equal(count, 0);
    done(&on);
}

// anyOf says that nothing holds, and why each does not.
static void branches_say_why(void **state)
{
    Checked on;
    begin(&on, "{\"anyOf\":[{\"type\":\"null\"},{\"minimum\":7}]}");
    assert_int_equal(validate(&on, "3"), STATUS_FAIL);
    size_t count;
    const SchemaProblem *problems = schema_problems(on.validator, &count);
    assert_int_equal(count, 3);
    assert_true(str_is(problems[0].schema, "s.json#/anyOf"));
    assert_true(str_is(problems[1].schema, "s.json#/anyOf/0/type"));
    assert_true(str_is(problems[2].schema, "s.json#/anyOf/1/minimum"));
    done(&on);
}

static void long_values_are_cut(void **state)
{
    Checked on;
    begin(&on, "{\"maxLength\":3}");
    Buf text = {.max = 10000};
    buf_char(&text, '"');
    for (int i = 0; i < 1000; i++) {
        buf_cstr(&text, "\xc3\xa9");
    }
    buf_char(&text, '"');
    assert_int_equal(validate(&on, buf_cstring(&text)), STATUS_FAIL);
    assert_true(strlen(on.err.message) < 150);
    assert_non_null(strstr(on.err.message, "\xc3\xa9… has 1000 characters"));
    buf_done(&text);
    done(&on);
}

// A number and a name of megabytes: the reason is there all the same.
static void very_long_values_have_reasons(void **state)
{
    enum { LENGTH = 3 << 20 };
    char *text = mem_alloc(LENGTH + 1);
    memset(text, '9', LENGTH);
    text[LENGTH] = '\0';
    Checked on;
    begin(&on, "{\"maximum\":1,\"additionalProperties\":false}");
    assert_int_equal(validate(&on, text), STATUS_FAIL);
    assert_non_null(strstr(on.err.message, "9999… is greater than the maximum 1 (s.json#/max"));

    memcpy(text, "{\"", 2);
    memcpy(text + LENGTH - 4, "\":0}", 4);
    assert_int_equal(validate(&on, text), STATUS_FAIL);
    size_t count;
    const SchemaProblem *problems = schema_problems(on.validator, &count);
    assert_int_equal(count, 1);
    assert_true(str_starts_with(problems[0].reason, STR("it has the member \"9999")));
    mem_free(text);
    done(&on);
}

// ---------------------------------------------------------------------------------------------
// Schemas that are refused
// ---------------------------------------------------------------------------------------------

static void what_is_no_schema(void **state)
{
    static const struct {
        const char *schema;
        const char *message;
    } cases[] = {
        {"{\"type\":\"int\"}", "s.json#/type must be one or several distinct ones of: null, "
                               "boolean, integer, number, string, array, object"},
        {"{\"properties\":{\"a\":{\"minimum\":\"0\"}}}",
         "s.json#/properties/a/minimum must be a number"},
        {"{\"$defs\":{\"a\":{\"minLength\":-1}}}",
         "s.json#/$defs/a/minLength must be an integer that is not negative"},
        {"{\"allOf\":[]}", "s.json#/allOf must be an array of at least one schema"},
        {"{\"items\":[{}]}", "s.json#/items must be a schema: an object or a boolean"},
        {"{\"required\":[\"a\",\"a\"]}",
         "s.json#/required must be an array of at most 10000 distinct strings"},
        {"{\"multipleOf\":0}",
         "s.json#/multipleOf must be a number greater than 0 of at most 1000 digits"},
        {"{\"$ref\":\"#/$defs/x\"}", "s.json#/$ref: \"s.json\" has no schema at \"#/$defs/x\""},
        {"{\"$ref\":\"other.json\"}",
         "s.json#/$ref: \"other.json\" is at \"other.json\", where there is no schema"},
        {"{\"pattern\":\"(\"}",
         "s.json#/pattern: the pattern \"(\" is wrong at byte 2: a parenthesis is not closed"},
        {"{\"patternProperties\":{\"(a)\\\\1\":true}}",
         "s.json#/patternProperties: the pattern \"(a)\\1\" refers back to a group, which takes "
         "time without a limit to match"},
        {"{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}",
         "\"s.json\" is not a schema of JSON Schema 2020-12 (its \"$schema\" is "
         "\"http://json-schema.org/draft-07/schema#\")"},
        {"{\"$schema\":\"http://x.example/s\"}",
         "\"s.json\" says by \"$schema\" that it is written by \"http://x.example/s\", which is "
         "not known"},
        {"7", "\"s.json\" is not a schema of JSON Schema 2020-12 (its \"$schema\" is \"\")"},
        {"{", "the schema \"s.json\" is not JSON: line 1, column 2: the name of a member is "
              "missing"},
        {"{\"$schema\":\"x:m\",\"$defs\":{\"m\":{\"$id\":\"x:m\",\"$vocabulary\":{\"x:v\":true}}}}",
         "the metaschema \"x:m\" needs the vocabulary \"x:v\", which is not known"},
        {"{\"$ref\":\"#%zz\"}", "s.json#/$ref must be a URI reference"},
        {"{\"$ref\":\"#a%00b\",\"$defs\":{\"a\":{\"$anchor\":\"a\"}}}",
         "s.json#/$ref: \"s.json\" has no schema at \"#a\""},
        {"{\"$ref\":\"#/~2\"}", "s.json#/$ref: \"s.json\" has no schema at \"#/~2\""},
        {"{\"$ref\":\"#/enum/01\",\"enum\":[1,{}]}",
         "s.json#/$ref: \"s.json\" has no schema at \"#/enum/01\""},
        {"{\"$ref\":\"#/enum/0\",\"enum\":[1]}",
         "s.json#/$ref: \"s.json\" has no schema at \"#/enum/0\""},
        {"{\"$anchor\":\"1a\"}", "s.json#/$anchor must begin with a letter or _, and go on with "
                                 "letters, digits, _, - and ."},
        {"{\"$id\":\"a#b\"}", "a#/$id must be a URI reference without a fragment"},
        {"{\"title\":1}", "s.json#/title must be a string"},
        {"{\"enum\":1}", "s.json#/enum must be an array"},
        {"{\"uniqueItems\":1}", "s.json#/uniqueItems must be true or false"},
        {"{\"type\":[]}", "s.json#/type must be one or several distinct ones of: null, boolean, "
                          "integer, number, string, array, object"},
        {"{\"type\":[\"null\",1]}", "s.json#/type must be one or several distinct ones of: null, "
                                    "boolean, integer, number, string, array, object"},
        {"{\"dependentRequired\":{\"a\":[1]}}",
         "s.json#/dependentRequired must be an object whose members are arrays of distinct "
         "strings"},
        {"{\"properties\":{\"a\":1}}",
         "s.json#/properties must be an object whose members are schemas"},
        {"{\"$vocabulary\":{\"a\":1}}",
         "s.json#/$vocabulary must be an object whose members are booleans"},
        {"{\"$defs\":{\"a\":{\"$id\":\"x\"},\"b\":{\"$id\":\"x\"}}}",
         "two schemas have the URI \"x\""},
        {"{\"$defs\":{\"a\":{\"$anchor\":\"x\"},\"b\":{\"$anchor\":\"x\"}}}",
         "two schemas have the anchor \"s.json#x\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Checked on;
        if (compile(&on, cases[i].schema) == STATUS_OK) {
            fail_msg("%s", cases[i].schema);
        }
        assert_int_equal(on.err.kind, ERROR_CONFIG);
        assert_string_equal(on.err.message, cases[i].message);
        assert_null(on.schema);
        done(&on);
    }
}

static void circles(void **state)
{
    static const char *const endless[] = {
        "{\"$ref\":\"#\"}",
        "{\"allOf\":[{\"$ref\":\"#\"}]}",
        "{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"anyOf\":[true,{\"$ref\":\"#/$defs/b\"}]},"
        "\"b\":{\"not\":{\"$ref\":\"#/$defs/a\"}}}}",
        "{\"if\":true,\"then\":{\"$ref\":\"#\"}}",
        "{\"dependentSchemas\":{\"a\":{\"$ref\":\"#\"}}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(endless); i++) {
        Checked on;
        assert_int_equal(compile(&on, endless[i]), STATUS_FAIL);
        assert_non_null(strstr(on.err.message, "refers to itself"));
        done(&on);
    }
    Checked on; // a part of the value is another one
    begin(&on, "{\"properties\":{\"next\":{\"$ref\":\"#\"}},\"type\":\"object\"}");
    assert_int_equal(validate(&on, "{\"next\":{\"next\":{}}}"), STATUS_OK);
    assert_int_equal(validate(&on, "{\"next\":{\"next\":1}}"), STATUS_FAIL);
    done(&on);
}

// ---------------------------------------------------------------------------------------------
// Limits
// ---------------------------------------------------------------------------------------------

// What a dynamic reference leads to is known only when it is followed.
static void a_dynamic_circle_is_given_up(void **state)
{
    Checked on;
    begin(&on, "{\"$dynamicAnchor\":\"a\",\"$ref\":\"t\",\"$defs\":{\"t\":{\"$id\":\"t\","
               "\"$dynamicRef\":\"#a\",\"$defs\":{\"d\":{\"$dynamicAnchor\":\"a\"}}}}}");
    assert_int_equal(validate(&on, "1"), STATUS_FAIL);
    assert_string_equal(on.err.message,
                        "the value cannot be checked: schemas are nested too deeply");
    size_t count;
    (void)schema_problems(on.validator, &count);
    assert_int_equal(count, 0);
    done(&on);
}

static void large_schemas_are_refused(void **state)
{
    Buf text = {.max = 10 << 20};
    buf_cstr(&text, "{\"required\":[\"a\"");
    for (int i = 0; i < 10000; i++) {
        buf_printf(&text, ",\"%d\"", i);
    }
    buf_cstr(&text, "]}");
    Checked on;
    assert_int_equal(compile(&on, buf_cstring(&text)), STATUS_FAIL);
    assert_non_null(strstr(on.err.message, "at most 10000"));
    done(&on);
    // Each of 1001 resources may have each of 1001 anchors.
    buf_reset(&text);
    buf_cstr(&text, "{\"$defs\":{\"x\":true");
    for (int i = 0; i <= 1000; i++) {
        buf_printf(&text,
                   ",\"%d\":{\"$id\":\"r%d\",\"$dynamicAnchor\":\"a%d\",\"items\":{\"$dynamicRef\":"
                   "\"#a%d\"}}",
                   i, i, i, i);
    }
    buf_cstr(&text, "}}");
    assert_int_equal(compile(&on, buf_cstring(&text)), STATUS_FAIL);
    assert_string_equal(on.err.message, "the schema has 1001 names of dynamic anchors in 1002 "
                                        "resources: together they may be 1000000");
    done(&on);
    buf_done(&text);
}

// 2 to the 40th, if nobody counted.
static void too_many_steps_are_given_up(void **state)
{
    Buf text = {.max = 100000};
    buf_cstr(&text, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{\"d40\":true");
    for (int i = 0; i < 40; i++) {
        buf_printf(&text,
                   ",\"d%d\":{\"allOf\":[{\"$ref\":\"#/$defs/d%d\"},{\"$ref\":\"#/$defs/d%d\"}]}",
                   i, i + 1, i + 1);
    }
    buf_cstr(&text, "}}");
    Checked on;
    begin(&on, buf_cstring(&text));
    assert_int_equal(validate(&on, "1"), STATUS_FAIL);
    assert_string_equal(on.err.message, "the value cannot be checked: it takes too many steps");
    buf_done(&text);
    done(&on);
}

// Patterns in the value: the table of letters is made 2500 times for each, which is work, too.
static void hidden_work_counts(void **state)
{
    Buf text = {.max = 1 << 20};
    Checked on;
    begin(&on, "{\"items\":{\"format\":\"regex\"}}");
    for (int i = 0; i < 20; i++) {
        buf_cstr(&text, i == 0 ? "[\"[" : ",\"[");
        for (int each = 0; each < 2500; each++) {
            buf_cstr(&text, "\\\\p{L}");
        }
        buf_cstr(&text, "]\"");
    }
    buf_cstr(&text, "]");
    assert_int_equal(validate(&on, buf_cstring(&text)), STATUS_FAIL);
    assert_string_equal(on.err.message, "the value cannot be checked: it takes too many steps");
    buf_done(&text);
    done(&on);
}

// As deep as the reader goes, through several blocks a level.
static void deep_values(void **state)
{
    Checked on;
    begin(&on, "{\"anyOf\":[{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}},{\"const\":1}]}");
    Buf text = {.max = 1000};
    for (int i = 0; i < JSON_READ_DEPTH_MAX; i++) {
        buf_char(&text, '[');
    }
    buf_char(&text, '1');
    for (int i = 0; i < JSON_READ_DEPTH_MAX; i++) {
        buf_char(&text, ']');
    }
    assert_int_equal(validate(&on, buf_cstring(&text)), STATUS_OK);
    buf_done(&text);
    done(&on);
}

// ---------------------------------------------------------------------------------------------
// Rows
// ---------------------------------------------------------------------------------------------

static void typed_rows(void **state)
{
    Checked on;
    begin(&on, "{\"title\":\"product\",\"properties\":{\"id\":{\"type\":\"integer\"},"
               "\"price\":{\"type\":[\"number\",\"null\"],\"multipleOf\":0.01}},"
               "\"required\":[\"id\"],\"additionalProperties\":false}");
    assert_true(str_is(schema_title(on.schema), "product"));
    JsonMember members[] = {
        {.name = STR("price"), .value = {.kind = JSON_NUMBER, .text = STR("19.99")}},
        {.name = STR("id"), .value = {.kind = JSON_NUMBER, .text = STR("42")}},
    };
    JsonValue row = {.kind = JSON_OBJECT, .count = ARRAY_LEN(members), .members = members};
    on.validator = schema_validator_new(on.schema);
    assert_int_equal(schema_validate(on.validator, &row, &on.err), STATUS_OK);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        members[i].name_id = schema_name_id(on.schema, members[i].name);
    }
    assert_int_not_equal(members[0].name_id, members[1].name_id);
    assert_int_equal(schema_validate(on.validator, &row, &on.err), STATUS_OK);
    // A numeric of Postgres may be what no JSON number is.
    members[0].value.text = STR("NaN");
    assert_int_equal(schema_validate(on.validator, &row, &on.err), STATUS_FAIL);
    assert_string_equal(on.err.message,
                        "price: NaN is not null or a number (s.json#/properties/price/type)");
    members[0].value = (JsonValue){.kind = JSON_NULL};
    assert_int_equal(schema_validate(on.validator, &row, &on.err), STATUS_OK);
    members[0].name = STR("prize");
    members[0].name_id = schema_name_id(on.schema, members[0].name);
    assert_int_not_equal(members[0].name_id, 0);
    assert_int_equal(schema_validate(on.validator, &row, &on.err), STATUS_FAIL);
    assert_string_equal(on.err.message,
                        "it has the member \"prize\", which the schema does not have "
                        "(s.json#/additionalProperties)");
    done(&on);
}

static void check_property(const Schema *schema, uint32_t index, const char *name, uint32_t types,
                           bool is_required)
{
    SchemaProperty property = schema_property(schema, index);
    assert_true(str_is(property.name, name));
    assert_int_equal(property.types, types);
    assert_int_equal(property.is_required, is_required);
    assert_int_equal(property.is_described, strcmp(name, "only") != 0);
    assert_int_equal(property.name_id, schema_name_id(schema, property.name));
}

static Status validate_part(Checked *on, const char *text)
{
    JsonValue value;
    assert_int_equal(json_read(&on->arena, str_from(text), &value, &on->err), STATUS_OK);
    return schema_validate_part(on->validator, &value, &on->err);
}

// Whatever members are added, what is refused stays invalid.
static void parts_of_an_object(void **state)
{
    (void)state;
    Checked on;
    begin(
        &on,
        "{\"$ref\":\"#/$defs/base\",\"allOf\":[{\"properties\":{\"a\":{\"minimum\":0}},"
        "\"required\":[\"b\"]}],\"type\":\"object\",\"required\":[\"a\"],"
        "\"minProperties\":2,\"maxProperties\":2,\"anyOf\":[{\"required\":[\"x\"],\"properties\":"
        "{\"q\":{\"const\":1}}},"
        "{\"required\":[\"y\"],\"properties\":{\"q\":{\"const\":2}}}],"
        "\"oneOf\":[{\"required\":[\"x\"]},{\"required\":[\"y\"]}],\"not\":{\"required\":[\"a\"]},"
        "\"if\":{\"required\":[\"x\"]},\"then\":false,\"else\":false,\"dependentRequired\":{\"a\":["
        "\"x\"]},"
        "\"dependentSchemas\":{\"a\":false},\"enum\":[1],\"const\":1,"
        "\"propertyNames\":{\"maxLength\":3},\"patternProperties\":{\"^p\":{\"type\":\"null\"}},"
        "\"unevaluatedProperties\":false,\"properties\":{\"a\":{\"type\":\"integer\"},"
        "\"n\":{\"required\":[\"z\"]}},"
        "\"$defs\":{\"base\":{\"properties\":{\"a\":{\"maximum\":9}},\"required\":[\"c\"]}}}");
    on.validator = schema_validator_new(on.schema);
    assert_int_equal(validate_part(&on, "{}"), STATUS_OK);
    assert_int_equal(validate_part(&on, "{\"a\":1}"), STATUS_OK);
    assert_int_equal(validate_part(&on, "{\"q\":2}"), STATUS_OK);
    assert_int_equal(validate_part(&on, "{\"u\":2}"), STATUS_OK); // unevaluatedProperties
    static const char *const refused[] = {
        "[]",            // type
        "{\"a\":\"1\"}", // properties
        "{\"a\":-1}",    // allOf
        "{\"a\":10}",    // $ref
        "{\"q\":3}",     // anyOf
        "{\"long\":1}",  // propertyNames
        "{\"p\":1}",     // patternProperties
        "{\"n\":{}}",    // what is inside is whole
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (validate_part(&on, refused[i]) != STATUS_FAIL) {
            fail_msg("%s", refused[i]);
        }
    }
    size_t count;
    assert_true(str_is(schema_problems(on.validator, &count)->instance, "/n"));
    // The next check is of a whole again.
    assert_int_equal(validate(&on, "{\"a\":1}"), STATUS_FAIL);
    done(&on);
}

static void what_members_may_be(void **state)
{
    const uint32_t integer = 1U << SCHEMA_INTEGER;
    Checked on;
    begin(
        &on,
        "{\"properties\":{\"id\":{\"type\":\"integer\"},\"price\":{\"type\":[\"number\",\"null\"]},"
        "\"name\":{\"$ref\":\"#/$defs/text\"},\"any\":{\"minimum\":1},\"never\":false},"
        "\"required\":[\"only\",\"id\"],\"$defs\":{\"text\":{\"type\":[\"string\",\"null\"]}}}");
    assert_int_equal(schema_property_count(on.schema), 6);
    check_property(on.schema, 0, "id", integer, true);
    check_property(on.schema, 1, "price", 1U << JSON_NUMBER | integer | 1U << JSON_NULL, false);
    check_property(on.schema, 2, "name", 1U << JSON_STRING | 1U << JSON_NULL, false);
    check_property(on.schema, 3, "any", SCHEMA_ANY_TYPE, false);
    check_property(on.schema, 4, "never", 0, false);
    check_property(on.schema, 5, "only", SCHEMA_ANY_TYPE, true);
    done(&on);
    // As programs write it that make schemas of their own types.
    begin(&on,
          "{\"properties\":{\"any\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]},"
          "\"one\":{\"oneOf\":[{\"$ref\":\"#/$defs/i\"},{\"const\":\"a\"},false]},"
          "\"all\":{\"type\":[\"number\",\"array\"],\"allOf\":[{\"type\":[\"integer\",\"null\"]}]},"
          "\"enum\":{\"enum\":[1.0,\"a\",null]},\"fraction\":{\"const\":0.5},"
          "\"open\":{\"anyOf\":[{\"type\":\"string\"},{\"minLength\":1}]}},"
          "\"$defs\":{\"i\":{\"type\":\"integer\"}}}");
    check_property(on.schema, 0, "any", 1U << JSON_STRING | 1U << JSON_NULL, false);
    check_property(on.schema, 1, "one", 1U << JSON_STRING | integer, false);
    check_property(on.schema, 2, "all", integer, false);
    check_property(on.schema, 3, "enum", 1U << JSON_STRING | 1U << JSON_NULL | integer, false);
    check_property(on.schema, 4, "fraction", 1U << JSON_NUMBER | integer, false);
    check_property(on.schema, 5, "open", SCHEMA_ANY_TYPE, false);
    done(&on);
    begin(&on, "true");
    assert_int_equal(schema_property_count(on.schema), 0);
    done(&on);
}

// Looking at all of it would take 20 to the power of 20 steps.
static void types_that_are_hard_to_find(void **state)
{
    (void)state;
    Checked on;
    CLEANUP(buf_done) Buf text;
    buf_init(&text, 1 << 20);
    buf_cstr(&text, "{\"properties\":{\"a\":{\"$ref\":\"#/$defs/0\"}},\"$defs\":{");
    for (int i = 0; i < 20; i++) {
        buf_printf(&text, "\"%d\":{\"anyOf\":[", i);
        for (int j = 0; j < 20; j++) {
            buf_printf(&text, "%s{\"$ref\":\"#/$defs/%d\"}", j == 0 ? "" : ",", i + 1);
        }
        buf_cstr(&text, "]},");
    }
    buf_cstr(&text, "\"20\":{\"type\":\"string\"}}}");
    begin(&on, buf_cstring(&text));
    check_property(on.schema, 0, "a", SCHEMA_ANY_TYPE, false);
    done(&on);
}

// Names whose numbers meet in an object's table, as those in between belong to another object.
static void names_that_meet(void **state)
{
    Checked on;
    begin(&on, "{\"properties\":{\"a\":true,\"b\":true,\"c\":true,\"d\":true,\"e\":true,\"f\":true,"
               "\"g\":true,\"h\":true,\"i\":true,"
               "\"x\":{\"properties\":{\"a\":{\"const\":1},\"i\":{\"const\":2}},"
               "\"required\":[\"i\"]}}}");
    assert_int_equal(validate(&on, "{\"x\":{\"i\":2,\"a\":1}}"), STATUS_OK);
    assert_int_equal(validate(&on, "{\"x\":{\"i\":1}}"), STATUS_FAIL);
    assert_int_equal(validate(&on, "{\"x\":{\"i\":2,\"a\":2}}"), STATUS_FAIL);
    assert_int_equal(validate(&on, "{\"x\":{\"a\":1}}"), STATUS_FAIL);
    done(&on);
}

static void several_documents(void **state)
{
    SchemaSet *set = schema_set_new();
    static const SchemaOptions options = {0};
    Error err;
    Schema *schema;
    JsonValue value = {.kind = JSON_STRING, .text = STR("x")};
    assert_int_equal(
        schema_set_add(set, STR("models/a.json"), STR("{\"$ref\":\"b.json#/$defs/n\"}"), &err),
        STATUS_OK);
    assert_int_equal(schema_set_add(set, STR("models/b.json"),
                                    STR("{\"$defs\":{\"n\":{\"type\":\"number\"}}}"), &err),
                     STATUS_OK);
    assert_int_equal(schema_set_add(set, STR("models/b.json"), STR("true"), &err), STATUS_FAIL);
    assert_string_equal(err.message, "there are two schemas at \"models/b.json\"");
    assert_int_equal(schema_set_add(set, STR("c.json#x"), STR("true"), &err), STATUS_FAIL);
    assert_string_equal(err.message, "the URI \"c.json#x\" of a schema has a fragment");
    assert_int_equal(schema_compile(set, STR("models/a.json"), &options, &schema, &err), STATUS_OK);
    SchemaValidator *validator = schema_validator_new(schema);
    assert_int_equal(schema_validate(validator, &value, &err), STATUS_FAIL);
    assert_string_equal(err.message, "\"x\" is not a number (models/b.json#/$defs/n/type)");
    schema_validator_free(validator);
    schema_free(schema);
    schema_set_free(set);
}

// However its URI is written, a document is where references look for it.
static void ways_to_write_a_uri(void **state)
{
    static const char *const uris[] = {"./models/a.json", "../models/a.json", "x/../models/a.json",
                                       "HTTP://A.example/models/./a.json"};
    static const SchemaOptions options = {0};
    for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
        SchemaSet *set = schema_set_new();
        Schema *schema = NULL;
        Error err = {0};
        assert_int_equal(schema_set_add(set, str_from(uris[i]), STR("{}"), &err), STATUS_OK);
        if (schema_compile(set, str_from(uris[i]), &options, &schema, &err) != STATUS_OK) {
            print_error("%s: %s\n", uris[i], err.message);
        }
        bool is_found = schema != NULL;
        schema_free(schema);
        schema_set_free(set);
        assert_true(is_found);
    }
}

// What a mistake leaves behind is not taken for the whole: the second attempt says the same.
static void a_mistake_stays(void **state)
{
    static const char *const texts[] = {
        "{\"$defs\":{\"x\":{\"$anchor\":\"q\"},\"y\":{\"$anchor\":\"q\"}},"
        "\"properties\":{\"z\":{}}}",
        "{\"$ref\":\"#/other\",\"other\":{\"$defs\":{\"x\":{\"$anchor\":\"q\"},"
        "\"y\":{\"$anchor\":\"q\"}},\"properties\":{\"z\":{}}}}",
    };
    static const SchemaOptions options = {0};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        Checked on;
        assert_int_equal(compile(&on, texts[i]), STATUS_FAIL);
        Error again = {0};
        assert_int_equal(schema_compile(on.set, STR("s.json"), &options, &on.schema, &again),
                         STATUS_FAIL);
        assert_non_null(strstr(again.message, "two schemas have the anchor \"s.json#q\""));
        done(&on);
    }
}

// Of three resources that have the anchor, the outermost has the word.
static void the_outermost_dynamic_anchor(void **state)
{
    Checked on;
    begin(&on, "{\"$id\":\"http://x.example/r\",\"$ref\":\"m\",\"$defs\":{"
               "\"a\":{\"$dynamicAnchor\":\"n\",\"const\":1},"
               "\"m\":{\"$id\":\"m\",\"$ref\":\"i\",\"$defs\":{"
               "\"a\":{\"$dynamicAnchor\":\"n\",\"const\":2}}},"
               "\"i\":{\"$id\":\"i\",\"$dynamicRef\":\"#n\",\"$defs\":{"
               "\"a\":{\"$dynamicAnchor\":\"n\",\"const\":3}}}}}");
    assert_int_equal(validate(&on, "1"), STATUS_OK);
    assert_int_equal(validate(&on, "2"), STATUS_FAIL);
    assert_int_equal(validate(&on, "3"), STATUS_FAIL);
    done(&on);
}

// Formats are asserted when it is asked for; the metaschema is there in any case.
static void options(void **state)
{
    static const SchemaOptions loose = {0};
    SchemaSet *set = schema_set_new();
    Schema *schema;
    JsonValue value = {.kind = JSON_STRING, .text = STR("x")};
    assert_int_equal(schema_set_add(set, STR("a"), STR("{\"format\":\"date\"}"), NULL), STATUS_OK);
    assert_int_equal(schema_compile(set, STR("a"), &loose, &schema, NULL), STATUS_OK);
    SchemaValidator *validator = schema_validator_new(schema);
    assert_int_equal(schema_validate(validator, &value, NULL), STATUS_OK);
    schema_validator_free(validator);
    schema_free(schema);
    schema_set_free(set);

    Checked on;
    begin(&on, "{\"$ref\":\"https://json-schema.org/draft/2020-12/schema\"}");
    assert_int_equal(validate(&on, "{\"properties\":{\"a\":{\"minimum\":3}}}"), STATUS_OK);
    assert_int_equal(validate(&on, "{\"properties\":{\"a\":{\"minimum\":\"3\"}}}"), STATUS_FAIL);
    assert_string_equal(
        on.err.message,
        "properties/a/minimum: \"3\" is not a number "
        "(https://json-schema.org/draft/2020-12/meta/validation#/properties/minimum/type)");
    done(&on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_messages_say),
        cmocka_unit_test(all_problems_are_listed),
        cmocka_unit_test(branches_say_why),
        cmocka_unit_test(long_values_are_cut),
        cmocka_unit_test(very_long_values_have_reasons),
        cmocka_unit_test(what_is_no_schema),
        cmocka_unit_test(circles),
        cmocka_unit_test(a_dynamic_circle_is_given_up),
        cmocka_unit_test(large_schemas_are_refused),
        cmocka_unit_test(too_many_steps_are_given_up),
        cmocka_unit_test(hidden_work_counts),
        cmocka_unit_test(deep_values),
        cmocka_unit_test(typed_rows),
        cmocka_unit_test(parts_of_an_object),
        cmocka_unit_test(what_members_may_be),
        cmocka_unit_test(types_that_are_hard_to_find),
        cmocka_unit_test(names_that_meet),
        cmocka_unit_test(several_documents),
        cmocka_unit_test(ways_to_write_a_uri),
        cmocka_unit_test(a_mistake_stays),
        cmocka_unit_test(the_outermost_dynamic_anchor),
        cmocka_unit_test(options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
