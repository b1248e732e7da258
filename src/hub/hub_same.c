#include "hub/hub_same.h"

#include "base/decimal.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/json_read.h"
#include "model/path.h"
#include "model/schema.h"

// ---------------------------------------------------------------------------------------------
// Comparing
// ---------------------------------------------------------------------------------------------

static bool may_be_number(uint32_t types)
{
    return (types & (1U << JSON_NUMBER | 1U << SCHEMA_INTEGER)) != 0;
}

static bool is_nothing(const JsonValue *value)
{
    if (value == NULL || value->kind == JSON_NULL) {
        return true;
    }
    bool is_list = value->kind == JSON_ARRAY || value->kind == JSON_OBJECT;
    return is_list ? value->count == 0 : value->kind == JSON_STRING && value->text.len == 0;
}

static bool same_numbers(Str a, Str b)
{
    Decimal x;
    Decimal y;
    return decimal_parse(a, &x) && decimal_parse(b, &y) && decimal_compare(&x, &y) == 0;
}

static bool same_items(const JsonValue *a, const JsonValue *b)
{
    bool are_same = a->count == b->count;
    for (uint32_t i = 0; i < a->count && are_same; i++) {
        are_same = hub_same(&a->items[i], &b->items[i], 0);
    }
    return are_same;
}

static bool same_members(const JsonValue *a, const JsonValue *b)
{
    if (a->count != b->count) {
        return false;
    }
    const JsonMember **x = json_sorted_members(a);
    const JsonMember **y = json_sorted_members(b);
    bool are_same = true;
    for (uint32_t i = 0; i < a->count && are_same; i++) {
        are_same = str_equal(x[i]->name, y[i]->name) && hub_same(&x[i]->value, &y[i]->value, 0);
    }
    mem_free(x);
    mem_free(y);
    return are_same;
}

// @value as the text that a system has for it which has no such type.
static bool is_text_of(Str text, const JsonValue *value)
{
    switch (value->kind) {
    case JSON_BOOL:
        return str_is(text, value->is_true ? "true" : "false");
    case JSON_NUMBER:
        return same_numbers(text, value->text);
    case JSON_NULL:
    case JSON_STRING:
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    return false;
}

static bool same_of_one_kind(const JsonValue *a, const JsonValue *b, uint32_t types)
{
    switch (a->kind) {
    case JSON_NULL:
        break;
    case JSON_BOOL:
        return a->is_true == b->is_true;
    case JSON_NUMBER:
        return same_numbers(a->text, b->text);
    case JSON_STRING:
        return str_equal(a->text, b->text) ||
               (may_be_number(types) && same_numbers(a->text, b->text));
    case JSON_ARRAY:
        return same_items(a, b);
    case JSON_OBJECT:
        return same_members(a, b);
    }
    return true;
}

bool hub_same(const JsonValue *a, const JsonValue *b, uint32_t types)
{
    if (is_nothing(a) || is_nothing(b)) {
        return is_nothing(a) && is_nothing(b);
    }
    if (a->kind == b->kind) {
        return same_of_one_kind(a, b, types);
    }
    return (a->kind == JSON_STRING && is_text_of(a->text, b)) ||
           (b->kind == JSON_STRING && is_text_of(b->text, a));
}

bool hub_same_as_printed(Str text, const JsonValue *value, uint32_t types)
{
    Arena scratch = {.chunk_size = 1024};
    JsonValue printed;
    Error none;
    bool is_same =
        json_read(&scratch, text, &printed, &none) == STATUS_OK && hub_same(&printed, value, types);
    arena_done(&scratch);
    return is_same;
}

bool hub_same_as_pushed(const JsonValue *thing, const PushedRow *row, const PushedCell *cell)
{
    int property = cell->field->property;
    return hub_same(path_find(&cell->field->path, 0, thing), &cell->value,
                    property < 0 ? 0 : row->rule->model->properties[property].types);
}

// ---------------------------------------------------------------------------------------------
// Names of keys
// ---------------------------------------------------------------------------------------------

static bool put_number(Buf *out, Str text)
{
    Decimal number;
    if (!decimal_parse(text, &number)) {
        return false;
    }
    if (number.is_small) {
        buf_int64(out, number.small);
        return true;
    }
    buf_cstr(out, number.is_negative ? "-" : "");
    buf_str(out, number.whole);
    buf_str(out, number.fraction);
    buf_char(out, 'e');
    buf_int64(out, number.exponent);
    return true;
}

static void put_tree(Buf *out, const JsonValue *value);

static void put_items(Buf *out, const JsonValue *value)
{
    buf_char(out, '[');
    for (uint32_t i = 0; i < value->count; i++) {
        buf_cstr(out, i == 0 ? "" : ",");
        put_tree(out, &value->items[i]);
    }
    buf_char(out, ']');
}

static void put_members(Buf *out, const JsonValue *value)
{
    const JsonMember **sorted = json_sorted_members(value);
    buf_char(out, '{');
    for (uint32_t i = 0; i < value->count; i++) {
        buf_cstr(out, i == 0 ? "" : ",");
        json_string_lossy(out, sorted[i]->name);
        buf_char(out, ':');
        put_tree(out, &sorted[i]->value);
    }
    buf_char(out, '}');
    mem_free(sorted);
}

// As JSON, in the order of names, each number in one way.
static void put_tree(Buf *out, const JsonValue *value)
{
    switch (value->kind) {
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_STRING:
        json_print(out, value);
        break;
    case JSON_NUMBER:
        if (!put_number(out, value->text)) {
            buf_str(out, value->text);
        }
        break;
    case JSON_ARRAY:
        put_items(out, value);
        break;
    case JSON_OBJECT:
        put_members(out, value);
        break;
    }
}

void hub_key_name(Buf *out, const JsonValue *value, uint32_t types)
{
    if (is_nothing(value)) {
        return;
    }
    if (value->kind != JSON_STRING) {
        put_tree(out, value);
    } else if (!may_be_number(types) || !put_number(out, value->text)) {
        buf_str(out, value->text);
    }
}
