#include "model/convert.h"

#include "base/buf.h"
#include "base/decimal.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "codec/json_read.h"
#include "model/schema.h"

enum {
    TYPE_BIT_NULL = 1 << JSON_NULL,
    TYPE_BIT_BOOL = 1 << JSON_BOOL,
    TYPE_BIT_STRING = 1 << JSON_STRING,
    TYPE_BIT_INTEGER = 1 << SCHEMA_INTEGER,
    TYPE_BITS_NUMBER = 1 << JSON_NUMBER | TYPE_BIT_INTEGER,
    TYPE_BITS_NESTED = 1 << JSON_ARRAY | 1 << JSON_OBJECT,
    MESSAGE_VALUE_BYTES = 60, // of a value, in a message
};

// ---------------------------------------------------------------------------------------------
// Types
// ---------------------------------------------------------------------------------------------

static bool has_number(uint32_t types)
{
    return (types >> JSON_NUMBER & 1) != 0;
}

void convert_types_text(uint32_t types, char ret[static CONVERT_TYPES_TEXT])
{
    // Null last: it is what people add to a type.
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {
        {TYPE_BIT_BOOL, "boolean"},  {TYPE_BIT_INTEGER, "integer"}, {1 << JSON_NUMBER, "number"},
        {TYPE_BIT_STRING, "string"}, {1 << JSON_ARRAY, "array"},    {1 << JSON_OBJECT, "object"},
        {TYPE_BIT_NULL, "null"},
    };
    size_t len = 0;
    types &= has_number(types) ? ~(uint32_t)TYPE_BIT_INTEGER : types;
    ret[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if ((types & names[i].bit) != 0) {
            len += (size_t)snprintf(ret + len, CONVERT_TYPES_TEXT - len, "%s%s",
                                    len == 0 ? "" : ", ", names[i].name);
        }
    }
    if (types == (SCHEMA_ANY_TYPE & ~(uint32_t)TYPE_BIT_INTEGER)) {
        (void)snprintf(ret, CONVERT_TYPES_TEXT, "any");
    }
}

bool convert_is_possible(uint32_t from, uint32_t to)
{
    from &= ~(uint32_t)TYPE_BIT_NULL;
    to &= ~(uint32_t)TYPE_BIT_NULL;
    return (from & to) != 0 || (from != 0 && (to & TYPE_BIT_STRING) != 0) ||
           ((from & TYPE_BIT_STRING) != 0 && to != 0);
}

static bool may_be(const JsonValue *value, uint32_t types)
{
    Decimal number;
    return (types >> value->kind & 1) != 0 ||
           (value->kind == JSON_NUMBER && (types & TYPE_BIT_INTEGER) != 0 &&
            decimal_parse(value->text, &number) && decimal_is_integer(&number));
}

// ---------------------------------------------------------------------------------------------
// JSON
// ---------------------------------------------------------------------------------------------

static Status refuse(const JsonValue *value, uint32_t types, Error *err)
{
    char wanted[CONVERT_TYPES_TEXT];
    convert_types_text(types, wanted);
    CLEANUP(buf_done) Buf shown;
    buf_init(&shown, LIMIT_TEXT_BYTES);
    json_print(&shown, value);
    Str text = buf_view(&shown);
    size_t cut = utf8_cut(text, MESSAGE_VALUE_BYTES);
    return error_set(err, ERROR_DATA, "%" STR_FMT "%s cannot become %s%s", (int)cut, text.ptr,
                     cut < text.len ? "…" : "",
                     types == 0 ? "any value" : "one of: ", types == 0 ? "" : wanted);
}

// What JSON text says, when it is of one of @types.
static bool read_text(Arena *arena, Str text, uint32_t types, JsonValue *ret)
{
    Decimal number;
    JsonValue value = {0};
    bool is_bool = str_is(text, "true") || str_is(text, "false");
    if (is_bool) {
        value = (JsonValue){.kind = JSON_BOOL, .is_true = text.len == 4};
    } else if (decimal_parse(text, &number)) {
        value = (JsonValue){.kind = JSON_NUMBER, .text = text};
    } else if ((types & TYPE_BITS_NESTED) == 0 ||
               json_read(arena, text, &value, NULL) != STATUS_OK || value.kind < JSON_ARRAY) {
        return false;
    }
    *ret = value;
    return may_be(&value, types);
}

static Status as_text(Arena *arena, const JsonValue *value, Str *ret, Error *err)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, LIMIT_TEXT_BYTES);
    json_print(&text, value);
    *ret = str_copy(arena, buf_view(&text));
    return buf_check(&text, "a value", err);
}

Status convert_json(Arena *arena, const JsonValue *value, uint32_t types, JsonValue *ret,
                    Error *err)
{
    if (may_be(value, types)) {
        *ret = *value;
        return STATUS_OK;
    }
    JsonValue made;
    if (value->kind == JSON_STRING && read_text(arena, value->text, types, &made)) {
        *ret = made;
        return STATUS_OK;
    }
    bool fits =
        value->kind != JSON_NULL && value->kind != JSON_STRING && (types & TYPE_BIT_STRING) != 0;
    if (!fits) {
        return refuse(value, types, err);
    }
    made = (JsonValue){.kind = JSON_STRING};
    if (as_text(arena, value, &made.text, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = made;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Columns
// ---------------------------------------------------------------------------------------------

uint32_t convert_column_types(const Column *column)
{
    switch (column->type) {
    case TYPE_BOOL:
        return TYPE_BIT_BOOL;
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
    case TYPE_OID:
        return TYPE_BIT_INTEGER;
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
    case TYPE_NUMERIC:
        return TYPE_BITS_NUMBER;
    case TYPE_JSON:
    case TYPE_JSONB:
        return SCHEMA_ANY_TYPE & ~(uint32_t)TYPE_BIT_NULL;
    default:
        return TYPE_BIT_STRING;
    }
}

// '{}' is no object, '[1,2)' no array, and '101' no number.
static bool is_only_text(const Column *column)
{
    return column->kind == TYPE_KIND_ARRAY || column->kind == TYPE_KIND_COMPOSITE ||
           column->kind == TYPE_KIND_RANGE || column->kind == TYPE_KIND_MULTIRANGE ||
           column->type == TYPE_BIT;
}

bool convert_fits_column(const Column *column, uint32_t types, bool is_pushed)
{
    if (is_only_text(column)) {
        return (types & TYPE_BIT_STRING) != 0;
    }
    uint32_t of_column = convert_column_types(column);
    return is_pushed ? convert_is_possible(types, of_column)
                     : convert_is_possible(of_column, types);
}

static bool is_no_json_number(Str text)
{
    return str_is(text, "NaN") || str_is(text, "Infinity") || str_is(text, "-Infinity");
}

static Status not_of_its_type(const Column *column, Error *err)
{
    return error_set(err, ERROR_DATA, "the value is none of type %" STR_FMT,
                     STR_ARG(column->type_name));
}

static Status from_number(const Column *column, Str text, JsonValue *ret, Error *err)
{
    Decimal number;
    if (decimal_parse(text, &number)) {
        *ret = (JsonValue){.kind = JSON_NUMBER, .text = text};
        return STATUS_OK;
    }
    if (!is_no_json_number(text)) {
        return not_of_its_type(column, err);
    }
    *ret = (JsonValue){.kind = JSON_STRING, .text = text};
    return STATUS_OK;
}

Status convert_from_column(Arena *arena, const Column *column, Value value, JsonValue *ret,
                           Error *err)
{
    if (value.state == VALUE_NULL) {
        *ret = (JsonValue){.kind = JSON_NULL};
        return STATUS_OK;
    }
    if (value.state != VALUE_TEXT) {
        return error_set(err, ERROR_DATA, "the value is not in text form");
    }
    Str text = value_str(value);
    uint32_t types = convert_column_types(column);
    if (types == TYPE_BIT_BOOL) {
        bool is_true;
        if (!value_to_bool(value, &is_true)) {
            return not_of_its_type(column, err);
        }
        *ret = (JsonValue){.kind = JSON_BOOL, .is_true = is_true};
        return STATUS_OK;
    }
    if ((types & TYPE_BIT_STRING) == 0) {
        return from_number(column, text, ret, err);
    }
    if (types != TYPE_BIT_STRING) {
        return json_read(arena, text, ret, err);
    }
    if (!utf8_is_valid(text)) {
        return error_set(err, ERROR_DATA, "the text is not UTF-8");
    }
    *ret = (JsonValue){.kind = JSON_STRING, .text = text};
    return STATUS_OK;
}

// 3.0 and 3e2 are integers, and Postgres takes digits only. False: no 64 bits hold it.
static bool to_integer(Str text, int64_t *ret)
{
    Decimal number;
    if (str_to_int64(text, ret)) {
        return true;
    }
    if (!decimal_parse(text, &number) || !decimal_is_integer(&number)) {
        return false;
    }
    if (number.is_small) {
        *ret = number.small;
        return true;
    }
    enum { DIGITS_MAX = 19 };
    size_t digits = decimal_digits(&number);
    if (digits + (uint64_t)number.exponent > DIGITS_MAX) {
        return false;
    }
    char plain[64];
    int len = snprintf(plain, sizeof(plain), "%s%" STR_FMT "%" STR_FMT "%.*s",
                       number.is_negative ? "-" : "", STR_ARG(number.whole),
                       STR_ARG(number.fraction), (int)number.exponent, "0000000000000000000");
    return str_to_int64((Str){plain, (size_t)len}, ret);
}

static bool integer_fits(TypeClass type, int64_t value)
{
    switch (type) {
    case TYPE_INT2:
        return value >= INT16_MIN && value <= INT16_MAX;
    case TYPE_INT4:
        return value >= INT32_MIN && value <= INT32_MAX;
    case TYPE_OID:
        return value >= 0 && value <= UINT32_MAX;
    default:
        return true;
    }
}

static Status put_integer(Arena *arena, const Column *column, Str text, Value *ret, Error *err)
{
    int64_t value;
    if (!to_integer(text, &value) || !integer_fits(column->type, value)) {
        return error_set(err, ERROR_DATA, "%" STR_FMT "%s is out of the range of type %" STR_FMT,
                         (int)utf8_cut(text, MESSAGE_VALUE_BYTES), text.ptr,
                         text.len > MESSAGE_VALUE_BYTES ? "…" : "", STR_ARG(column->type_name));
    }
    const char *plain = arena_printf(arena, "%lld", (long long)value);
    *ret = (Value){.ptr = plain, .len = (uint32_t)strlen(plain), .state = VALUE_TEXT};
    return STATUS_OK;
}

static Status put_text(Str text, Value *ret, Error *err)
{
    if (text.len > LIMIT_MESSAGE_BYTES) {
        return error_set(err, ERROR_DATA, "the value has %zu bytes", text.len);
    }
    if (str_find(text, '\0') >= 0) {
        return error_set(err, ERROR_DATA, "the text has the character U+0000");
    }
    *ret = (Value){
        .ptr = text.ptr == NULL ? "" : text.ptr, .len = (uint32_t)text.len, .state = VALUE_TEXT};
    return STATUS_OK;
}

// What is larger could not be read again.
static Status put_json(Arena *arena, const JsonValue *value, Value *ret, Error *err)
{
    Str text;
    if (as_text(arena, value, &text, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return text.len > LIMIT_JSON_BYTES
               ? error_set(err, ERROR_DATA, "its JSON has %zu bytes, more than %d", text.len,
                           LIMIT_JSON_BYTES)
               : put_text(text, ret, err);
}

Status convert_to_column(Arena *arena, const Column *column, const JsonValue *value, Value *ret,
                         Error *err)
{
    if (value->kind == JSON_NULL) {
        *ret = (Value){.state = VALUE_NULL};
        return STATUS_OK;
    }
    uint32_t types = convert_column_types(column);
    bool takes_fractions = types == TYPE_BITS_NUMBER;
    if (type_is_json(column->type)) {
        return put_json(arena, value, ret, err);
    }
    if (takes_fractions && value->kind == JSON_STRING && is_no_json_number(value->text)) {
        return put_text(value->text, ret, err);
    }
    if (is_only_text(column) && value->kind != JSON_STRING) {
        return error_set(err, ERROR_DATA, "a JSON %s cannot become %" STR_FMT,
                         json_kind_name(value->kind), STR_ARG(column->type_name));
    }
    JsonValue made;
    if (convert_json(arena, value, types, &made, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (made.kind == JSON_BOOL) {
        return put_text(made.is_true ? STR("t") : STR("f"), ret, err);
    }
    return types == TYPE_BIT_INTEGER ? put_integer(arena, column, made.text, ret, err)
                                     : put_text(made.text, ret, err);
}
