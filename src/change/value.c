#include "change/value.h"

#include "base/ascii.h"

bool value_equal(Value a, Value b)
{
    if (a.state != b.state) {
        return false;
    }
    return !value_is_data(a) || str_equal(value_str(a), value_str(b));
}

bool value_to_int64(Value value, int64_t *ret)
{
    return value.state == VALUE_TEXT && str_to_int64(value_str(value), ret);
}

bool value_to_bool(Value value, bool *ret)
{
    if (value.state != VALUE_TEXT || value.len != 1) {
        return false;
    }
    if (value.ptr[0] != 't' && value.ptr[0] != 'f') {
        return false;
    }
    *ret = value.ptr[0] == 't';
    return true;
}

bool value_to_double(Value value, double *ret)
{
    return value.state == VALUE_TEXT && str_to_double(value_str(value), ret);
}

bool value_bytea_size(Value value, size_t *ret)
{
    if (value.state != VALUE_TEXT || value.len < 2 || value.len % 2 != 0 || value.ptr[0] != '\\' ||
        value.ptr[1] != 'x') {
        return false;
    }
    *ret = (value.len - 2) / 2;
    return true;
}

bool value_to_bytea(Value value, char *ret, size_t ret_capacity)
{
    size_t size;
    if (!value_bytea_size(value, &size) || size > ret_capacity) {
        return false;
    }
    const char *hex = value.ptr + 2;
    for (size_t i = 0; i < size; i++) {
        int high = ascii_hex_value(hex[i * 2]);
        int low = ascii_hex_value(hex[i * 2 + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret[i] = (char)(high << 4 | low);
    }
    return true;
}
