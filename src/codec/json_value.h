// A JSON value as a tree of small structs: read from text (codec/json_read.h), or filled in from
// typed fields, without any text in between.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

typedef enum JsonKind {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
} JsonKind;

typedef struct JsonMember JsonMember;

typedef struct JsonValue {
    JsonKind kind;
    uint32_t count; // items or members
    union {
        bool is_true;
        // A number as JSON writes it, so that no digit is lost; a string in UTF-8, without quotes
        // and escapes.
        Str text;
        const struct JsonValue *items;
        const JsonMember *members; // with distinct names
    };
} JsonValue;

struct JsonMember {
    Str name;
    // What a schema calls it (schema_name_id() in model/schema.h), or 0: it has to look it up.
    uint32_t name_id;
    JsonValue value;
};

/** "null", "boolean", "number", "string", "array", "object". */
const char *json_kind_name(JsonKind kind);

static inline bool json_is(const JsonValue *value, JsonKind kind)
{
    return value != NULL && value->kind == kind;
}

/** NULL when @object, which may be NULL or no object, has no such member. */
const JsonValue *json_member(const JsonValue *object, Str name);

/** As JSON Schema compares: numbers by their value, objects whatever the order of their members. */
bool json_equal(const JsonValue *a, const JsonValue *b);

/** The members of @object in the order of their names; to be freed with mem_free(). */
RETURNS_NONNULL const JsonMember **json_sorted_members(const JsonValue *object);

/** Equal values have equal hashes. */
uint64_t json_hash(const JsonValue *value);

/** With everything it points to. */
JsonValue json_copy(Arena *arena, const JsonValue *value);

/** As JSON text on one line, without spaces that are not needed. */
void json_print(Buf *out, const JsonValue *value);
