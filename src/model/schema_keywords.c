#include "model/schema_keywords.h"

#include <assert.h>

#include "base/ascii.h"
#include "base/decimal.h"
#include "model/uri.h"

const char *const vocabulary_names[VOCABULARIES] = {
    [VOCABULARY_CORE] = "core",
    [VOCABULARY_APPLICATOR] = "applicator",
    [VOCABULARY_UNEVALUATED] = "unevaluated",
    [VOCABULARY_VALIDATION] = "validation",
    [VOCABULARY_META_DATA] = "meta-data",
    [VOCABULARY_FORMAT_ANNOTATION] = "format-annotation",
    [VOCABULARY_FORMAT_ASSERTION] = "format-assertion",
    [VOCABULARY_CONTENT] = "content",
};

// "format" belongs to both of its vocabularies; what the second one changes is schema_compile.c's.
const KeywordInfo keyword_table[KEYWORDS] = {
    [KEYWORD_SCHEMA] = {"$schema", SHAPE_URI, VOCABULARY_CORE},
    [KEYWORD_ID] = {"$id", SHAPE_ID, VOCABULARY_CORE},
    [KEYWORD_REF] = {"$ref", SHAPE_REFERENCE, VOCABULARY_CORE},
    [KEYWORD_ANCHOR] = {"$anchor", SHAPE_ANCHOR, VOCABULARY_CORE},
    [KEYWORD_DYNAMIC_REF] = {"$dynamicRef", SHAPE_REFERENCE, VOCABULARY_CORE},
    [KEYWORD_DYNAMIC_ANCHOR] = {"$dynamicAnchor", SHAPE_ANCHOR, VOCABULARY_CORE},
    [KEYWORD_VOCABULARY] = {"$vocabulary", SHAPE_VOCABULARIES, VOCABULARY_CORE},
    [KEYWORD_COMMENT] = {"$comment", SHAPE_STRING, VOCABULARY_CORE},
    [KEYWORD_DEFS] = {"$defs", SHAPE_SCHEMA_MAP, VOCABULARY_CORE},
    [KEYWORD_PREFIX_ITEMS] = {"prefixItems", SHAPE_SCHEMAS, VOCABULARY_APPLICATOR},
    [KEYWORD_ITEMS] = {"items", SHAPE_SCHEMA, VOCABULARY_APPLICATOR},
    [KEYWORD_CONTAINS] = {"contains", SHAPE_SCHEMA, VOCABULARY_APPLICATOR},
    [KEYWORD_ADDITIONAL_PROPERTIES] = {"additionalProperties", SHAPE_SCHEMA, VOCABULARY_APPLICATOR},
    [KEYWORD_PROPERTIES] = {"properties", SHAPE_SCHEMA_MAP, VOCABULARY_APPLICATOR},
    [KEYWORD_PATTERN_PROPERTIES] = {"patternProperties", SHAPE_PATTERN_MAP, VOCABULARY_APPLICATOR},
    [KEYWORD_DEPENDENT_SCHEMAS] = {"dependentSchemas", SHAPE_SCHEMA_MAP, VOCABULARY_APPLICATOR},
    [KEYWORD_DEPENDENCIES] = {"dependencies", SHAPE_DEPENDENCIES, VOCABULARY_APPLICATOR},
    [KEYWORD_PROPERTY_NAMES] = {"propertyNames", SHAPE_SCHEMA, VOCABULARY_APPLICATOR},
    [KEYWORD_IF] = {"if", SHAPE_SCHEMA, VOCABULARY_APPLICATOR},
    [KEYWORD_THEN] = {"then", SHAPE_SCHEMA, VOCABULARY_APPLICATOR},
    [KEYWORD_ELSE] = {"else", SHAPE_SCHEMA, VOCABULARY_APPLICATOR},
    [KEYWORD_ALL_OF] = {"allOf", SHAPE_SCHEMAS, VOCABULARY_APPLICATOR},
    [KEYWORD_ANY_OF] = {"anyOf", SHAPE_SCHEMAS, VOCABULARY_APPLICATOR},
    [KEYWORD_ONE_OF] = {"oneOf", SHAPE_SCHEMAS, VOCABULARY_APPLICATOR},
    [KEYWORD_NOT] = {"not", SHAPE_SCHEMA, VOCABULARY_APPLICATOR},
    [KEYWORD_UNEVALUATED_ITEMS] = {"unevaluatedItems", SHAPE_SCHEMA, VOCABULARY_UNEVALUATED},
    [KEYWORD_UNEVALUATED_PROPERTIES] = {"unevaluatedProperties", SHAPE_SCHEMA,
                                        VOCABULARY_UNEVALUATED},
    [KEYWORD_TYPE] = {"type", SHAPE_TYPES, VOCABULARY_VALIDATION},
    [KEYWORD_CONST] = {"const", SHAPE_ANY, VOCABULARY_VALIDATION},
    [KEYWORD_ENUM] = {"enum", SHAPE_ARRAY, VOCABULARY_VALIDATION},
    [KEYWORD_MULTIPLE_OF] = {"multipleOf", SHAPE_POSITIVE, VOCABULARY_VALIDATION},
    [KEYWORD_MAXIMUM] = {"maximum", SHAPE_NUMBER, VOCABULARY_VALIDATION},
    [KEYWORD_EXCLUSIVE_MAXIMUM] = {"exclusiveMaximum", SHAPE_NUMBER, VOCABULARY_VALIDATION},
    [KEYWORD_MINIMUM] = {"minimum", SHAPE_NUMBER, VOCABULARY_VALIDATION},
    [KEYWORD_EXCLUSIVE_MINIMUM] = {"exclusiveMinimum", SHAPE_NUMBER, VOCABULARY_VALIDATION},
    [KEYWORD_MAX_LENGTH] = {"maxLength", SHAPE_COUNT, VOCABULARY_VALIDATION},
    [KEYWORD_MIN_LENGTH] = {"minLength", SHAPE_COUNT, VOCABULARY_VALIDATION},
    [KEYWORD_PATTERN] = {"pattern", SHAPE_REGEX, VOCABULARY_VALIDATION},
    [KEYWORD_MAX_ITEMS] = {"maxItems", SHAPE_COUNT, VOCABULARY_VALIDATION},
    [KEYWORD_MIN_ITEMS] = {"minItems", SHAPE_COUNT, VOCABULARY_VALIDATION},
    [KEYWORD_UNIQUE_ITEMS] = {"uniqueItems", SHAPE_BOOLEAN, VOCABULARY_VALIDATION},
    [KEYWORD_MAX_CONTAINS] = {"maxContains", SHAPE_COUNT, VOCABULARY_VALIDATION},
    [KEYWORD_MIN_CONTAINS] = {"minContains", SHAPE_COUNT, VOCABULARY_VALIDATION},
    [KEYWORD_MAX_PROPERTIES] = {"maxProperties", SHAPE_COUNT, VOCABULARY_VALIDATION},
    [KEYWORD_MIN_PROPERTIES] = {"minProperties", SHAPE_COUNT, VOCABULARY_VALIDATION},
    [KEYWORD_REQUIRED] = {"required", SHAPE_STRINGS, VOCABULARY_VALIDATION},
    [KEYWORD_DEPENDENT_REQUIRED] = {"dependentRequired", SHAPE_STRINGS_MAP, VOCABULARY_VALIDATION},
    [KEYWORD_TITLE] = {"title", SHAPE_STRING, VOCABULARY_META_DATA},
    [KEYWORD_DESCRIPTION] = {"description", SHAPE_STRING, VOCABULARY_META_DATA},
    [KEYWORD_DEFAULT] = {"default", SHAPE_ANY, VOCABULARY_META_DATA},
    [KEYWORD_DEPRECATED] = {"deprecated", SHAPE_BOOLEAN, VOCABULARY_META_DATA},
    [KEYWORD_READ_ONLY] = {"readOnly", SHAPE_BOOLEAN, VOCABULARY_META_DATA},
    [KEYWORD_WRITE_ONLY] = {"writeOnly", SHAPE_BOOLEAN, VOCABULARY_META_DATA},
    [KEYWORD_EXAMPLES] = {"examples", SHAPE_ARRAY, VOCABULARY_META_DATA},
    [KEYWORD_FORMAT] = {"format", SHAPE_STRING, VOCABULARY_FORMAT_ANNOTATION},
    [KEYWORD_CONTENT_ENCODING] = {"contentEncoding", SHAPE_STRING, VOCABULARY_CONTENT},
    [KEYWORD_CONTENT_MEDIA_TYPE] = {"contentMediaType", SHAPE_STRING, VOCABULARY_CONTENT},
    [KEYWORD_CONTENT_SCHEMA] = {"contentSchema", SHAPE_SCHEMA, VOCABULARY_CONTENT},
};

Keyword keyword_find(Str name)
{
    for (Keyword keyword = 0; keyword < KEYWORDS; keyword++) {
        if (str_is(name, keyword_table[keyword].name)) {
            return keyword;
        }
    }
    return KEYWORDS;
}

static bool is_schema(const JsonValue *value)
{
    return value->kind == JSON_BOOL || value->kind == JSON_OBJECT;
}

static bool is_strings(const JsonValue *value)
{
    enum { STRINGS_MAX = 10000 };
    if (value->kind != JSON_ARRAY || value->count > STRINGS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < value->count; i++) {
        if (value->items[i].kind != JSON_STRING) {
            return false;
        }
        for (uint32_t before = 0; before < i; before++) {
            if (str_equal(value->items[before].text, value->items[i].text)) {
                return false;
            }
        }
    }
    return true;
}

static bool is_map_of(const JsonValue *value, bool (*fits)(const JsonValue *))
{
    for (uint32_t i = 0; value->kind == JSON_OBJECT && i < value->count; i++) {
        if (!fits(&value->members[i].value)) {
            return false;
        }
    }
    return value->kind == JSON_OBJECT;
}

static bool is_schema_or_strings(const JsonValue *value)
{
    return is_schema(value) || is_strings(value);
}

static bool is_boolean(const JsonValue *value)
{
    return value->kind == JSON_BOOL;
}

static bool is_schemas(const JsonValue *value)
{
    for (uint32_t i = 0; value->kind == JSON_ARRAY && i < value->count; i++) {
        if (!is_schema(&value->items[i])) {
            return false;
        }
    }
    return value->kind == JSON_ARRAY && value->count > 0;
}

static bool is_type_name(const JsonValue *value)
{
    if (value->kind != JSON_STRING) {
        return false;
    }
    for (JsonKind kind = 0; kind <= JSON_OBJECT; kind++) {
        if (str_is(value->text, json_kind_name(kind))) {
            return true;
        }
    }
    return str_is(value->text, "integer");
}

static bool is_types(const JsonValue *value)
{
    if (value->kind != JSON_ARRAY) {
        return is_type_name(value);
    }
    for (uint32_t i = 0; i < value->count; i++) {
        if (!is_type_name(&value->items[i])) {
            return false;
        }
    }
    return value->count > 0 && is_strings(value);
}

static bool is_count(const JsonValue *value)
{
    Decimal number;
    return value->kind == JSON_NUMBER && decimal_parse(value->text, &number) &&
           decimal_is_integer(&number) && !number.is_negative;
}

static bool is_divisor(const JsonValue *value)
{
    Decimal number;
    return value->kind == JSON_NUMBER && decimal_parse(value->text, &number) &&
           !number.is_negative && decimal_digits(&number) > 0 &&
           decimal_digits(&number) <= DECIMAL_DIVISOR_DIGITS;
}

static bool is_anchor(Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool starts = ascii_is_letter(c) || c == '_';
        if (!starts && (i == 0 || !(ascii_is_digit(c) || c == '-' || c == '.'))) {
            return false;
        }
    }
    return text.len > 0;
}

static bool is_id(Str text)
{
    return uri_is_valid(text, URI_REFERENCE) && uri_split(text).fragment.len == 0;
}

static const char *string_misuse(Shape shape, const JsonValue *value)
{
    if (value->kind != JSON_STRING) {
        return "must be a string";
    }
    switch (shape) {
    case SHAPE_URI:
        return uri_is_valid(value->text, URI_ABSOLUTE) ? NULL : "must be a URI";
    case SHAPE_REFERENCE:
        return uri_is_valid(value->text, URI_REFERENCE) ? NULL : "must be a URI reference";
    case SHAPE_ID:
        return is_id(value->text) ? NULL : "must be a URI reference without a fragment";
    case SHAPE_ANCHOR:
        return is_anchor(value->text)
                   ? NULL
                   : "must begin with a letter or _, and go on with letters, digits, _, - and .";
    default:
        return NULL;
    }
}

const char *keyword_misuse(Keyword keyword, const JsonValue *value)
{
    switch (keyword_table[keyword].shape) {
    case SHAPE_ANY:
        return NULL;
    case SHAPE_SCHEMA:
        return is_schema(value) ? NULL : "must be a schema: an object or a boolean";
    case SHAPE_SCHEMAS:
        return is_schemas(value) ? NULL : "must be an array of at least one schema";
    case SHAPE_SCHEMA_MAP:
    case SHAPE_PATTERN_MAP:
        return is_map_of(value, is_schema) ? NULL : "must be an object whose members are schemas";
    case SHAPE_DEPENDENCIES:
        return is_map_of(value, is_schema_or_strings)
                   ? NULL
                   : "must be an object whose members are schemas or arrays of distinct strings";
    case SHAPE_STRING:
    case SHAPE_REGEX:
    case SHAPE_URI:
    case SHAPE_REFERENCE:
    case SHAPE_ID:
    case SHAPE_ANCHOR:
        return string_misuse(keyword_table[keyword].shape, value);
    case SHAPE_VOCABULARIES:
        return is_map_of(value, is_boolean) ? NULL : "must be an object whose members are booleans";
    case SHAPE_BOOLEAN:
        return value->kind == JSON_BOOL ? NULL : "must be true or false";
    case SHAPE_NUMBER:
        return value->kind == JSON_NUMBER ? NULL : "must be a number";
    case SHAPE_POSITIVE:
        return is_divisor(value) ? NULL : "must be a number greater than 0 of at most 1000 digits";
    case SHAPE_COUNT:
        return is_count(value) ? NULL : "must be an integer that is not negative";
    case SHAPE_TYPES:
        return is_types(value) ? NULL
                               : "must be one or several distinct ones of: null, boolean, "
                                 "integer, number, string, array, object";
    case SHAPE_STRINGS:
        return is_strings(value) ? NULL : "must be an array of at most 10000 distinct strings";
    case SHAPE_STRINGS_MAP:
        return is_map_of(value, is_strings)
                   ? NULL
                   : "must be an object whose members are arrays of distinct strings";
    case SHAPE_ARRAY:
        return value->kind == JSON_ARRAY ? NULL : "must be an array";
    }
    return NULL;
}
