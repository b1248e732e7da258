#include <assert.h>
#include <string.h>

#include "base/cursor.h"
#include "change/float_text.h"
#include "sinks/duckdb_parse.h"

static DuckParse parse_integer(DuckType type, Str text, void *ret_cell)
{
    static const struct {
        int64_t min;
        int64_t max;
    } ranges[] = {
        [DUCK_SMALLINT] = {INT16_MIN, INT16_MAX},
        [DUCK_INTEGER] = {INT32_MIN, INT32_MAX},
        [DUCK_BIGINT] = {INT64_MIN, INT64_MAX},
        [DUCK_UINTEGER] = {0, UINT32_MAX},
    };
    int64_t value;
    assert(type.kind < ARRAY_LEN(ranges));
    if (!str_to_int64(text, &value)) {
        return DUCK_PARSE_SYNTAX;
    }
    if (value < ranges[type.kind].min || value > ranges[type.kind].max) {
        return DUCK_PARSE_CANNOT_HOLD;
    }
    // The low bytes come first on every machine that DuckDB's library is built for.
    memcpy(ret_cell, &value, duck_cell_size(type));
    return DUCK_PARSE_OK;
}

static DuckHugeint power_of_ten(int exponent)
{
    DuckHugeint power = 1;
    for (int i = 0; i < exponent; i++) {
        power *= 10;
    }
    return power;
}

// Postgres pads or cuts to the column's scale itself, so digits beyond it can only be zeros.
static DuckParse parse_scaled(DuckType type, Str text, DuckHugeint *ret)
{
    Cursor in = cursor_of(text);
    bool negative = cursor_accept(&in, '-');
    DuckHugeint value = 0;
    int places = -1; // behind the point; -1: it has not been seen
    int count = 0;
    bool is_zero_beyond = true;
    if (cursor_at_end(&in) || str_is(text, "NaN") || str_is(text, "Infinity") ||
        str_is(text, "-Infinity")) {
        return cursor_at_end(&in) ? DUCK_PARSE_SYNTAX : DUCK_PARSE_CANNOT_HOLD;
    }
    for (; in.at < in.end; in.at++) {
        if (*in.at == '.' && places < 0) {
            places = 0;
            continue;
        }
        if (!ascii_is_digit(*in.at)) {
            return DUCK_PARSE_SYNTAX;
        }
        if (places >= type.scale) {
            is_zero_beyond = is_zero_beyond && *in.at == '0';
            continue;
        }
        count += value > 0 || *in.at != '0' ? 1 : 0;
        places += places >= 0 ? 1 : 0;
        if (count > type.width) {
            return DUCK_PARSE_CANNOT_HOLD;
        }
        value = value * 10 + (*in.at - '0');
    }
    int missing = type.scale - MAX(places, 0);
    if (!is_zero_beyond || (value > 0 && count + missing > type.width)) {
        return DUCK_PARSE_CANNOT_HOLD;
    }
    value = value > 0 ? value * power_of_ten(missing) : 0;
    *ret = negative ? -value : value;
    return DUCK_PARSE_OK;
}

static DuckParse parse_numeric(DuckType type, Str text, void *ret)
{
    DuckHugeint value;
    DuckParse parsed = parse_scaled(type, text, &value);
    if (parsed == DUCK_PARSE_OK) {
        memcpy(ret, &value, duck_cell_size(type)); // see parse_integer()
    }
    return parsed;
}

DuckParse duck_parse_number(DuckType type, Str text, void *ret_cell)
{
    switch (type.kind) {
    case DUCK_FLOAT:
        return float_text_float(text, ret_cell) ? DUCK_PARSE_OK : DUCK_PARSE_SYNTAX;
    case DUCK_DOUBLE:
        return float_text_double(text, ret_cell) ? DUCK_PARSE_OK : DUCK_PARSE_SYNTAX;
    case DUCK_DECIMAL:
        return parse_numeric(type, text, ret_cell);
    default:
        return parse_integer(type, text, ret_cell);
    }
}
