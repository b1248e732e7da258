#include "codec/row_json.h"

#include "codec/json.h"

static bool is_special_number(Str text)
{
    return str_equal(text, STR("NaN")) || str_equal(text, STR("Infinity")) ||
           str_equal(text, STR("-Infinity"));
}

static bool write_number(Buf *out, Str text)
{
    if (json_is_number(text)) {
        buf_str(out, text);
        return true;
    }
    return is_special_number(text) && json_string(out, text);
}

static bool write_bool(Buf *out, Value value)
{
    bool truth;
    if (!value_to_bool(value, &truth)) {
        return false;
    }
    buf_str(out, truth ? STR("true") : STR("false"));
    return true;
}

static bool write_text(Buf *out, const Column *column, Value value)
{
    switch (column->type) {
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
    case TYPE_OID:
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
    case TYPE_NUMERIC:
        return write_number(out, value_str(value));
    case TYPE_BOOL:
        return write_bool(out, value);
    case TYPE_JSON:
    case TYPE_JSONB:
        return json_embed(out, value_str(value));
    default:
        return json_string(out, value_str(value));
    }
}

bool row_json_value(Buf *out, const Column *column, Value value)
{
    if (value.state == VALUE_NULL) {
        buf_str(out, STR("null"));
        return true;
    }
    return value.state == VALUE_TEXT && write_text(out, column, value);
}

static bool has_key(const Relation *relation, const Value *row)
{
    if (row == NULL || relation->key_count == 0) {
        return false;
    }
    for (uint16_t i = 0; i < relation->key_count; i++) {
        if (!value_is_known(row[relation->key[i]])) {
            return false;
        }
    }
    return true;
}

const Value *row_with_key(const Change *change)
{
    const Value *row =
        has_key(change->relation, change->old_row) ? change->old_row : change->new_row;
    return has_key(change->relation, row) ? row : NULL;
}
