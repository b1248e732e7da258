// The keywords of JSON Schema 2020-12 in one table: it says what their values may be, where schemas
// are inside schemas, and what the metaschemas say (model/schema_meta.c).
#pragma once

#include <stdbool.h>

#include "base/str.h"
#include "codec/json_value.h"

typedef enum Vocabulary {
    VOCABULARY_CORE,
    VOCABULARY_APPLICATOR,
    VOCABULARY_UNEVALUATED,
    VOCABULARY_VALIDATION,
    VOCABULARY_META_DATA,
    VOCABULARY_FORMAT_ANNOTATION,
    VOCABULARY_FORMAT_ASSERTION,
    VOCABULARY_CONTENT,
    VOCABULARIES,
} Vocabulary;

/** All of a schema that says nothing else. */
enum { VOCABULARIES_STANDARD = (1 << VOCABULARIES) - 1 - (1 << VOCABULARY_FORMAT_ASSERTION) };

/** "core", "applicator", …, as in the vocabularies' URIs. */
extern const char *const vocabulary_names[VOCABULARIES];

#define SCHEMA_META_BASE "https://json-schema.org/draft/2020-12/"

/** What the value of a keyword is. */
typedef enum Shape {
    SHAPE_ANY,
    SHAPE_SCHEMA,
    SHAPE_SCHEMAS,      // an array of at least one
    SHAPE_SCHEMA_MAP,   // an object of them
    SHAPE_PATTERN_MAP,  // the same, the names are patterns
    SHAPE_DEPENDENCIES, // an object of schemas or arrays of strings
    SHAPE_STRING,
    SHAPE_URI,
    SHAPE_REFERENCE, // a URI reference
    SHAPE_ID,        // the same without a fragment
    SHAPE_ANCHOR,
    SHAPE_VOCABULARIES, // an object of booleans, the names are URIs
    SHAPE_BOOLEAN,
    SHAPE_NUMBER,
    SHAPE_POSITIVE,
    SHAPE_COUNT, // an integer that is not negative
    SHAPE_TYPES,
    SHAPE_STRINGS, // an array of distinct ones
    SHAPE_STRINGS_MAP,
    SHAPE_ARRAY,
    SHAPE_REGEX,
} Shape;

typedef enum Keyword {
    KEYWORD_SCHEMA,
    KEYWORD_ID,
    KEYWORD_REF,
    KEYWORD_ANCHOR,
    KEYWORD_DYNAMIC_REF,
    KEYWORD_DYNAMIC_ANCHOR,
    KEYWORD_VOCABULARY,
    KEYWORD_COMMENT,
    KEYWORD_DEFS,
    KEYWORD_PREFIX_ITEMS,
    KEYWORD_ITEMS,
    KEYWORD_CONTAINS,
    KEYWORD_ADDITIONAL_PROPERTIES,
    KEYWORD_PROPERTIES,
    KEYWORD_PATTERN_PROPERTIES,
    KEYWORD_DEPENDENT_SCHEMAS,
    KEYWORD_DEPENDENCIES,
    KEYWORD_PROPERTY_NAMES,
    KEYWORD_IF,
    KEYWORD_THEN,
    KEYWORD_ELSE,
    KEYWORD_ALL_OF,
    KEYWORD_ANY_OF,
    KEYWORD_ONE_OF,
    KEYWORD_NOT,
    KEYWORD_UNEVALUATED_ITEMS,
    KEYWORD_UNEVALUATED_PROPERTIES,
    KEYWORD_TYPE,
    KEYWORD_CONST,
    KEYWORD_ENUM,
    KEYWORD_MULTIPLE_OF,
    KEYWORD_MAXIMUM,
    KEYWORD_EXCLUSIVE_MAXIMUM,
    KEYWORD_MINIMUM,
    KEYWORD_EXCLUSIVE_MINIMUM,
    KEYWORD_MAX_LENGTH,
    KEYWORD_MIN_LENGTH,
    KEYWORD_PATTERN,
    KEYWORD_MAX_ITEMS,
    KEYWORD_MIN_ITEMS,
    KEYWORD_UNIQUE_ITEMS,
    KEYWORD_MAX_CONTAINS,
    KEYWORD_MIN_CONTAINS,
    KEYWORD_MAX_PROPERTIES,
    KEYWORD_MIN_PROPERTIES,
    KEYWORD_REQUIRED,
    KEYWORD_DEPENDENT_REQUIRED,
    KEYWORD_TITLE,
    KEYWORD_DESCRIPTION,
    KEYWORD_DEFAULT,
    KEYWORD_DEPRECATED,
    KEYWORD_READ_ONLY,
    KEYWORD_WRITE_ONLY,
    KEYWORD_EXAMPLES,
    KEYWORD_FORMAT,
    KEYWORD_CONTENT_ENCODING,
    KEYWORD_CONTENT_MEDIA_TYPE,
    KEYWORD_CONTENT_SCHEMA,
    KEYWORDS, // how many; also: none
} Keyword;

typedef struct KeywordInfo {
    const char *name;
    Shape shape;
    Vocabulary vocabulary;
} KeywordInfo;

extern const KeywordInfo keyword_table[KEYWORDS];

/** KEYWORDS when there is none of that name. */
Keyword keyword_find(Str name);

/** What @value, which @keyword has, must be but is not: "must be a number"; NULL: it is fine.
 *  Schemas inside of it are not looked into. */
const char *keyword_misuse(Keyword keyword, const JsonValue *value);
