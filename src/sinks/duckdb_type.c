// How a column of Postgres is kept in DuckDB.
#include "sinks/duckdb_sink.h"

static DuckType numeric_type(const Column *column, bool exact)
{
    int precision;
    int scale;
    DuckType text = {.kind = DUCK_VARCHAR};
    // NaN has no place in a DECIMAL; a scale outside the precision has none either.
    if (exact || !numeric_typmod(column->base_typmod, &precision, &scale)) {
        return text;
    }
    if (precision < 1 || precision > DUCK_DECIMAL_MAX || scale < 0 || scale > precision) {
        return text;
    }
    return (DuckType){DUCK_DECIMAL, (uint8_t)precision, (uint8_t)scale};
}

static DuckKind kind_of(TypeClass type, bool exact, bool has_json)
{
    switch (type) {
    case TYPE_BOOL:
        return DUCK_BOOLEAN;
    case TYPE_INT2:
        return DUCK_SMALLINT;
    case TYPE_INT4:
        return DUCK_INTEGER;
    case TYPE_INT8:
        return DUCK_BIGINT;
    case TYPE_OID:
        return DUCK_UINTEGER;
    case TYPE_FLOAT4:
        return DUCK_FLOAT;
    case TYPE_FLOAT8:
        return DUCK_DOUBLE;
    case TYPE_BYTEA:
        return DUCK_BLOB;
    // These four hold every value of Postgres's type: DATE reaches further on both sides, TIME
    // knows 24:00:00, TIMETZ the same offsets.
    case TYPE_DATE:
        return DUCK_DATE;
    case TYPE_TIME:
        return DUCK_TIME;
    case TYPE_TIMETZ:
        return DUCK_TIMETZ;
    case TYPE_UUID:
        return DUCK_UUID;
    // Postgres's years 294247 (from 10 January) to 294276 are beyond DuckDB's.
    case TYPE_TIMESTAMP:
        return exact ? DUCK_VARCHAR : DUCK_TIMESTAMP;
    case TYPE_TIMESTAMPTZ:
        return exact ? DUCK_VARCHAR : DUCK_TIMESTAMPTZ;
    // Postgres 17's infinite ones are not in DuckDB.
    case TYPE_INTERVAL:
        return exact ? DUCK_VARCHAR : DUCK_INTERVAL;
    case TYPE_JSON:
    case TYPE_JSONB:
        return has_json ? DUCK_JSON : DUCK_VARCHAR;
    case TYPE_NUMERIC:
    case TYPE_TEXT:
    case TYPE_BIT:
    case TYPE_OTHER:
        return DUCK_VARCHAR;
    }
    return DUCK_VARCHAR;
}

DuckType duck_type_of(const Column *column, bool exact, bool has_json)
{
    if (column->type == TYPE_NUMERIC) {
        return numeric_type(column, exact);
    }
    return (DuckType){.kind = kind_of(column->type, exact, has_json)};
}

// A dialect's functions know the column only, so there is one for each combination.
static void put_type(const Column *column, bool exact, bool has_json, Buf *sql)
{
    duck_type_name(duck_type_of(column, exact, has_json), sql);
}

// The caller has seen that the text is a value of the type.
static void put_literal(const Column *column, bool exact, bool has_json, Str text, Buf *sql)
{
    if (duck_literal(duck_type_of(column, exact, has_json), text, sql) != DUCK_PARSE_OK) {
        buf_cstr(sql, "NULL");
    }
}

#define DIALECT(suffix, exact, has_json)                                   \
    static void type_##suffix(const Column *column, Buf *sql)              \
    {                                                                      \
        put_type(column, exact, has_json, sql);                            \
    }                                                                      \
    static void literal_##suffix(const Column *column, Str text, Buf *sql) \
    {                                                                      \
        put_literal(column, exact, has_json, text, sql);                   \
    }                                                                      \
    static const SqlDialect dialect_##suffix = {                           \
        .name = "DuckDB",                                                  \
        .type = type_##suffix,                                             \
        .literal = literal_##suffix,                                       \
        .text_type = "VARCHAR",                                            \
        .integer_type = "BIGINT",                                          \
        .time_type = "TIMESTAMP WITH TIME ZONE",                           \
        .by_bytes = "",                                                    \
        .declares_not_null = false,                                        \
        .folds_case = true,                                                \
    };

DIALECT(native_text, false, false)
DIALECT(native_json, false, true)
DIALECT(exact_text, true, false)
DIALECT(exact_json, true, true)

const SqlDialect *const duck_dialects[2][2] = {
    {&dialect_native_text, &dialect_native_json},
    {&dialect_exact_text, &dialect_exact_json},
};
