// A schema, a line feed, and a value: the schema is refused, or the value is valid by it or not;
// and the same schema inside of others says the same.
#include "codec/json_read.h"
#include "fuzz.h"
#include "model/schema.h"

typedef enum Verdict { VALID, INVALID, GIVEN_UP } Verdict;

// @wrapper refers to the document as "a"; NULL: the document itself.
static bool compile(Str document, const char *wrapper, Schema **ret)
{
    static const SchemaOptions options = {.assert_formats = true};
    SchemaSet *set = schema_set_new();
    Error err;
    bool fine = schema_set_add(set, STR("http://x.example/a"), document, &err) == STATUS_OK &&
                schema_set_add(set, STR("http://x.example/wrapper"),
                               str_from(wrapper == NULL ? "true" : wrapper), &err) == STATUS_OK;
    Str uri = wrapper == NULL ? STR("http://x.example/a") : STR("http://x.example/wrapper");
    fine = fine && schema_compile(set, uri, &options, ret, &err) == STATUS_OK;
    FUZZ_CHECK(fine || (err.kind == ERROR_CONFIG && err.message[0] != '\0'));
    schema_set_free(set);
    return fine;
}

static Verdict validate(const Schema *schema, const JsonValue *value)
{
    Error err;
    SchemaValidator *validator = schema_validator_new(schema);
    Status status = schema_validate(validator, value, &err);
    size_t count;
    const SchemaProblem *problems = schema_problems(validator, &count);
    FUZZ_CHECK((status == STATUS_OK) == (count == 0) || count == 0);
    FUZZ_CHECK(status == STATUS_OK ||
               strcmp(err.message, "the value cannot be checked: two runs differ") != 0);
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(problems[i].reason.len > 0 && str_find(problems[i].schema, '#') >= 0);
        FUZZ_CHECK(problems[i].instance.len == 0 || problems[i].instance.ptr[0] == '/');
    }
    schema_validator_free(validator);
    return status == STATUS_OK ? VALID : count > 0 ? INVALID : GIVEN_UP;
}

static Verdict judge(Str document, const char *wrapper, const JsonValue *value, Verdict otherwise)
{
    Schema *schema;
    if (!compile(document, wrapper, &schema)) {
        return otherwise;
    }
    Verdict verdict = validate(schema, value);
    schema_free(schema);
    return verdict;
}

// Of a valid value each member has one of the types that the schema is said to leave it; and what
// is valid as a whole is valid as a part.
static void check_valid(Str document, const JsonValue *value)
{
    Schema *schema;
    if (!compile(document, NULL, &schema)) {
        return;
    }
    if ((schema_types(schema) >> value->kind & 1) == 0) {
        FUZZ_CHECK(value->kind == JSON_NUMBER && (schema_types(schema) >> SCHEMA_INTEGER & 1) != 0);
    }
    for (uint32_t i = 0; value->kind == JSON_OBJECT && i < schema_property_count(schema); i++) {
        SchemaProperty property = schema_property(schema, i);
        const JsonValue *member = json_member(value, property.name);
        bool is_named = member == NULL || (property.types >> member->kind & 1) != 0;
        FUZZ_CHECK(is_named ||
                   (member->kind == JSON_NUMBER && (property.types >> SCHEMA_INTEGER & 1) != 0));
    }
    SchemaValidator *validator = schema_validator_new(schema);
    size_t count;
    Status status = schema_validate_part(validator, value, NULL);
    FUZZ_CHECK(status == STATUS_OK || schema_problems(validator, &count) == NULL || count == 0);
    schema_validator_free(validator);
    schema_free(schema);
}

static void check(Str document, const JsonValue *value)
{
    Schema *schema;
    if (!compile(document, "{\"$ref\":\"a\"}", &schema)) {
        return;
    }
    Verdict verdict = validate(schema, value);
    schema_free(schema);
    if (verdict == VALID) {
        check_valid(document, value);
    }
    if (verdict == GIVEN_UP) {
        return;
    }
    Verdict opposite = verdict == VALID ? INVALID : VALID;
    static const char *const same[] = {
        "{\"allOf\":[{\"$ref\":\"a\"}]}", "{\"anyOf\":[false,{\"$ref\":\"a\"}]}",
        "{\"oneOf\":[{\"$ref\":\"a\"},false]}", "{\"if\":{\"$ref\":\"a\"},\"else\":false}",
        "{\"$ref\":\"a\",\"unevaluatedProperties\":true}"};
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        Verdict other = judge(document, same[i], value, verdict);
        FUZZ_CHECK(other == verdict || other == GIVEN_UP);
    }
    Verdict negated = judge(document, "{\"not\":{\"$ref\":\"a\"}}", value, opposite);
    FUZZ_CHECK(negated == opposite || negated == GIVEN_UP);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str value_text = {(const char *)data, size};
    Str schema_text;
    if (!str_split(&value_text, '\n', &schema_text)) {
        return 0;
    }
    Arena arena = {0};
    JsonValue value;
    if (value_text.ptr != NULL && json_read(&arena, value_text, &value, NULL) == STATUS_OK) {
        check(schema_text, &value);
    }
    arena_done(&arena);
    return 0;
}
