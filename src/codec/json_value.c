#include "codec/json_value.h"

#include <assert.h>
#include <stdlib.h>

#include "base/decimal.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/json.h"

const char *json_kind_name(JsonKind kind)
{
    static const char *const names[] = {"null", "boolean", "number", "string", "array", "object"};
    assert(kind < ARRAY_LEN(names));
    return names[kind];
}

const JsonValue *json_member(const JsonValue *object, Str name)
{
    if (!json_is(object, JSON_OBJECT)) {
        return NULL;
    }
    for (uint32_t i = 0; i < object->count; i++) {
        if (str_equal(object->members[i].name, name)) {
            return &object->members[i].value;
        }
    }
    return NULL;
}

// ---------------------------------------------------------------------------------------------
// Equality
// ---------------------------------------------------------------------------------------------

static bool equal_numbers(Str a, Str b)
{
    Decimal x;
    Decimal y;
    if (!decimal_parse(a, &x) || !decimal_parse(b, &y)) {
        return str_equal(a, b);
    }
    return decimal_compare(&x, &y) == 0;
}

static int compare_names(const void *a, const void *b)
{
    const JsonMember *const *x = a;
    const JsonMember *const *y = b;
    return str_compare((*x)->name, (*y)->name);
}

const JsonMember **json_sorted_members(const JsonValue *object)
{
    const JsonMember **sorted = mem_alloc(object->count * sizeof(void *));
    for (uint32_t i = 0; i < object->count; i++) {
        sorted[i] = &object->members[i];
    }
    qsort(sorted, object->count, sizeof(void *), compare_names);
    return sorted;
}

static bool equal_large_objects(const JsonValue *a, const JsonValue *b)
{
    const JsonMember **x = json_sorted_members(a);
    const JsonMember **y = json_sorted_members(b);
    bool are_equal = true;
    for (uint32_t i = 0; i < a->count && are_equal; i++) {
        are_equal = str_equal(x[i]->name, y[i]->name) && json_equal(&x[i]->value, &y[i]->value);
    }
    mem_free(x);
    mem_free(y);
    return are_equal;
}

// Of the same number of members, which stand in the same order more often than not.
static bool equal_objects(const JsonValue *a, const JsonValue *b)
{
    enum { FEW = 32 };
    if (a->count > FEW) {
        return equal_large_objects(a, b);
    }
    for (uint32_t i = 0; i < a->count; i++) {
        const JsonMember *member = &a->members[i];
        const JsonValue *other = str_equal(member->name, b->members[i].name)
                                     ? &b->members[i].value
                                     : json_member(b, member->name);
        if (other == NULL || !json_equal(&member->value, other)) {
            return false;
        }
    }
    return true;
}

bool json_equal(const JsonValue *a, const JsonValue *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return a->is_true == b->is_true;
    case JSON_NUMBER:
        return equal_numbers(a->text, b->text);
    case JSON_STRING:
        return str_equal(a->text, b->text);
    case JSON_OBJECT:
        return a->count == b->count && equal_objects(a, b);
    case JSON_ARRAY:
        for (uint32_t i = 0; i < a->count; i++) {
            if (a->count != b->count || !json_equal(&a->items[i], &b->items[i])) {
                return false;
            }
        }
        return a->count == b->count;
    }
    return false;
}

static uint64_t mix(uint64_t hash, uint64_t more)
{
    return (hash ^ more) * UINT64_C(0x9e3779b97f4a7c15) + (more >> 29);
}

static uint64_t hash_number(Str text)
{
    Decimal number;
    return decimal_parse(text, &number) ? decimal_hash(&number) : hash_bytes(text.ptr, text.len);
}

uint64_t json_hash(const JsonValue *value)
{
    uint64_t hash = (uint64_t)value->kind + 1;
    switch (value->kind) {
    case JSON_NULL:
        break;
    case JSON_BOOL:
        hash = mix(hash, value->is_true);
        break;
    case JSON_NUMBER:
        hash = mix(hash, hash_number(value->text));
        break;
    case JSON_STRING:
        hash = mix(hash, hash_bytes(value->text.ptr, value->text.len));
        break;
    case JSON_ARRAY:
        for (uint32_t i = 0; i < value->count; i++) {
            hash = mix(hash, json_hash(&value->items[i]));
        }
        break;
    case JSON_OBJECT:
        // A sum: their order does not count.
        for (uint32_t i = 0; i < value->count; i++) {
            const JsonMember *member = &value->members[i];
            hash += mix(hash_bytes(member->name.ptr, member->name.len), json_hash(&member->value));
        }
        break;
    }
    return hash;
}

// ---------------------------------------------------------------------------------------------
// Copies
// ---------------------------------------------------------------------------------------------

static void copy_members(Arena *arena, JsonValue *value)
{
    JsonMember *members = ARENA_ARRAY(arena, JsonMember, value->count);
    for (uint32_t i = 0; i < value->count; i++) {
        members[i] = value->members[i];
        members[i].name = str_copy(arena, members[i].name);
        members[i].value = json_copy(arena, &value->members[i].value);
    }
    value->members = members;
}

JsonValue json_copy(Arena *arena, const JsonValue *value)
{
    JsonValue copy = *value;
    if (copy.kind == JSON_STRING || copy.kind == JSON_NUMBER) {
        copy.text = str_copy(arena, copy.text);
    } else if (copy.kind == JSON_OBJECT && copy.count > 0) {
        copy_members(arena, &copy);
    } else if (copy.kind == JSON_ARRAY && copy.count > 0) {
        JsonValue *items = ARENA_ARRAY(arena, JsonValue, copy.count);
        for (uint32_t i = 0; i < copy.count; i++) {
            items[i] = json_copy(arena, &value->items[i]);
        }
        copy.items = items;
    }
    return copy;
}

static void print_members(Buf *out, const JsonValue *value)
{
    buf_char(out, '{');
    for (uint32_t i = 0; i < value->count; i++) {
        buf_cstr(out, i == 0 ? "" : ",");
        json_string_lossy(out, value->members[i].name);
        buf_char(out, ':');
        json_print(out, &value->members[i].value);
    }
    buf_char(out, '}');
}

void json_print(Buf *out, const JsonValue *value)
{
    switch (value->kind) {
    case JSON_NULL:
        buf_cstr(out, "null");
        break;
    case JSON_BOOL:
        buf_cstr(out, value->is_true ? "true" : "false");
        break;
    case JSON_NUMBER:
        buf_str(out, value->text);
        break;
    case JSON_STRING:
        json_string_lossy(out, value->text);
        break;
    case JSON_ARRAY:
        buf_char(out, '[');
        for (uint32_t i = 0; i < value->count; i++) {
            buf_cstr(out, i == 0 ? "" : ",");
            json_print(out, &value->items[i]);
        }
        buf_char(out, ']');
        break;
    case JSON_OBJECT:
        print_members(out, value);
        break;
    }
}
