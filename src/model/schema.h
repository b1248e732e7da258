// JSON Schema 2020-12. Documents are put into a set, under their URIs; one of them is compiled to a
// program, which needs the set no longer; a validator runs the program over values. Nothing is ever
// fetched: what a schema refers to is in the set, or is a metaschema of 2020-12, which every set
// has.
//
//     schema_set_add(set, uri, text)… -> schema_compile(set, uri) -> schema_validate(validator,
//     value)…
//
// docs/json-schema.md says what is supported and what is not.
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "codec/json_value.h"

/** Documents that may refer to each other. Not thread-safe. */
typedef struct SchemaSet SchemaSet;

RETURNS_NONNULL SchemaSet *schema_set_new(void);

/** Accepts NULL. */
void schema_set_free(SchemaSet *set);

/** @text, which is copied, is the schema at @uri, a path or an absolute URI without a fragment.
 *  ERROR_CONFIG: it is not JSON, or the set has another one there. */
MUST_CHECK Status schema_set_add(SchemaSet *set, Str uri, Str text, Error *err);

typedef struct SchemaOptions {
    bool assert_formats; // "format" is checked; otherwise only where a metaschema says so
} SchemaOptions;

/** A compiled schema: immutable, may be shared by threads. */
typedef struct Schema Schema;

/**
 * Compile the document that was added at @uri and all it refers to. ERROR_CONFIG says what is not a
 * schema and where: a keyword with a value that it cannot have, a reference to what is not there, a
 * pattern that is not taken, a schema that refers to itself without looking at a part of the value,
 * or one that is too large.
 */
MUST_CHECK Status schema_compile(SchemaSet *set, Str uri, const SchemaOptions *options,
                                 Schema **ret, Error *err);

/** Accepts NULL. */
void schema_free(Schema *schema);

/** "title" of the schema itself; ptr NULL when it has none. */
Str schema_title(const Schema *schema);

/** What @schema calls the member @name, for JsonMember.name_id: never 0. Names that it does not
 *  know have one and the same. */
uint32_t schema_name_id(const Schema *schema, Str name);

/** Types as a set: a bit for each JsonKind, and SCHEMA_INTEGER; "number" has both. */
enum { SCHEMA_INTEGER = JSON_OBJECT + 1, SCHEMA_ANY_TYPE = (1 << (SCHEMA_INTEGER + 1)) - 1 };

/** What the schema itself says of a member that its "properties" or "required" names. */
typedef struct SchemaProperty {
    Str name;
    uint32_t name_id; // for JsonMember
    // What "type", "const" and "enum" leave, also those in "$ref", "allOf", "anyOf" and "oneOf";
    // SCHEMA_ANY_TYPE: nothing says anything.
    uint32_t types;
    bool is_described; // by "properties"; otherwise it is only required
    bool is_required;
} SchemaProperty;

uint32_t schema_property_count(const Schema *schema);

/** The types that the schema itself leaves, as SchemaProperty.types. */
uint32_t schema_types(const Schema *schema);

/** @index is less than the count: those of "properties" in their order, then the others. */
SchemaProperty schema_property(const Schema *schema, uint32_t index);

enum { SCHEMA_PROBLEMS_MAX = 32 };

/** What is wrong with a value; valid until the validator's next use. */
typedef struct SchemaProblem {
    Str instance; // JSON Pointer to the part that is wrong: "/price", "" for the whole
    Str schema;   // the keyword's place: "#/properties/price/minimum", behind its document's URI
    Str reason;   // "-3 is less than the minimum 0"
} SchemaProblem;

/** Working memory of one thread. */
typedef struct SchemaValidator SchemaValidator;

/** @schema outlives it. */
RETURNS_NONNULL SchemaValidator *schema_validator_new(const Schema *schema);

/** Accepts NULL. */
void schema_validator_free(SchemaValidator *validator);

/**
 * ERROR_DATA: @value is not valid, and the message says what its first problem is, such as "price:
 * -3 is less than the minimum 0 (#/properties/price/minimum)"; or, without any problem in the list,
 * checking it would take more than the limits allow.
 */
MUST_CHECK Status schema_validate(SchemaValidator *validator, const JsonValue *value, Error *err);

/**
 * The same for a part of a value that is an object: more members may belong to it that are not
 * known here. So only what holds for any such object is checked: what the schema itself, and those
 * that it has in "$ref", "allOf" and "anyOf", say of the object's type and of each member that is
 * there.
 */
MUST_CHECK Status schema_validate_part(SchemaValidator *validator, const JsonValue *value,
                                       Error *err);

/** Of the last check: the first SCHEMA_PROBLEMS_MAX. */
const SchemaProblem *schema_problems(const SchemaValidator *validator, size_t *ret_count);
