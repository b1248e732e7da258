#include "change/time_text.h"
#include "sinks/duckdb_parse.h"

// DuckDB's special values: the largest number and its negative are the infinities.
#define DATE_INFINITY      INT32_MAX
#define TIMESTAMP_INFINITY INT64_MAX

// DuckDB stores how far an offset is west of the easternmost one.
enum { TIMETZ_OFFSET_BITS = 24 };

static DuckParse parse_date(Str text, int32_t *ret)
{
    int sign = time_text_infinity(text);
    if (sign != 0) {
        *ret = sign * DATE_INFINITY;
        return DUCK_PARSE_OK;
    }
    int64_t days;
    if (!time_text_date(text, &days)) {
        return DUCK_PARSE_SYNTAX;
    }
    if (days >= DATE_INFINITY || days <= -DATE_INFINITY) {
        return DUCK_PARSE_CANNOT_HOLD;
    }
    *ret = (int32_t)days;
    return DUCK_PARSE_OK;
}

static DuckParse parse_time(Str text, int64_t *ret)
{
    int64_t micros;
    if (!time_text_time(text, &micros)) {
        return DUCK_PARSE_SYNTAX;
    }
    *ret = micros;
    return DUCK_PARSE_OK;
}

static DuckParse parse_timetz(Str text, uint64_t *ret)
{
    int64_t micros;
    int64_t offset;
    if (!time_text_timetz(text, &micros, &offset)) {
        return DUCK_PARSE_SYNTAX;
    }
    *ret = (uint64_t)micros << TIMETZ_OFFSET_BITS | (uint64_t)(TIMETZ_OFFSET_MAX - offset);
    return DUCK_PARSE_OK;
}

static DuckParse parse_timestamp(Str text, bool with_zone, int64_t *ret)
{
    int sign = time_text_infinity(text);
    if (sign != 0) {
        *ret = sign * TIMESTAMP_INFINITY;
        return DUCK_PARSE_OK;
    }
    int64_t days;
    int64_t micros;
    if (!time_text_timestamp(text, with_zone, &days, &micros)) {
        return DUCK_PARSE_SYNTAX;
    }
    int64_t total;
    if (__builtin_mul_overflow(days, MICROS_PER_DAY, &total) ||
        __builtin_add_overflow(total, micros, &total) || total >= TIMESTAMP_INFINITY ||
        total <= -TIMESTAMP_INFINITY) {
        return DUCK_PARSE_CANNOT_HOLD;
    }
    *ret = total;
    return DUCK_PARSE_OK;
}

static DuckParse parse_interval(Str text, Interval *ret)
{
    if (time_text_infinity(text) != 0) {
        return DUCK_PARSE_CANNOT_HOLD;
    }
    return time_text_interval(text, ret) ? DUCK_PARSE_OK : DUCK_PARSE_SYNTAX;
}

DuckParse duck_parse_time(DuckType type, Str text, void *ret_cell)
{
    switch (type.kind) {
    case DUCK_DATE:
        return parse_date(text, ret_cell);
    case DUCK_TIME:
        return parse_time(text, ret_cell);
    case DUCK_TIMETZ:
        return parse_timetz(text, ret_cell);
    case DUCK_INTERVAL:
        return parse_interval(text, ret_cell);
    default:
        return parse_timestamp(text, type.kind == DUCK_TIMESTAMPTZ, ret_cell);
    }
}
