#include "sinks/duckdb_value.h"

#include <assert.h>

#include "base/ascii.h"
#include "change/time_text.h"
#include "change/value.h"
#include "sinks/duckdb_parse.h"
#include "sinks/sql.h"

// DuckDB keeps a UUID as a signed number whose order is that of the text: the top bit is flipped.
static DuckParse parse_uuid(Str text, DuckHugeint *ret)
{
    enum { UUID_TEXT = 36 };
    __extension__ unsigned __int128 value = 0;
    if (text.len != UUID_TEXT) {
        return DUCK_PARSE_SYNTAX;
    }
    for (size_t i = 0; i < UUID_TEXT; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        int digit = is_dash ? 0 : ascii_hex_value(text.ptr[i]);
        if (digit < 0 || is_dash != (text.ptr[i] == '-')) {
            return DUCK_PARSE_SYNTAX;
        }
        if (!is_dash) {
            value = value << 4 | (unsigned)digit;
        }
    }
    __extension__ const unsigned __int128 top = (unsigned __int128)1 << 127;
    *ret = (DuckHugeint)(value ^ top);
    return DUCK_PARSE_OK;
}

static DuckParse parse_bool(Str text, uint8_t *ret)
{
    if (text.len != 1 || (text.ptr[0] != 't' && text.ptr[0] != 'f')) {
        return DUCK_PARSE_SYNTAX;
    }
    *ret = text.ptr[0] == 't' ? 1 : 0;
    return DUCK_PARSE_OK;
}

size_t duck_cell_size(DuckType type)
{
    switch (type.kind) {
    case DUCK_VARCHAR:
    case DUCK_JSON:
    case DUCK_BLOB:
        return 0;
    case DUCK_BOOLEAN:
        return 1;
    case DUCK_SMALLINT:
        return 2;
    case DUCK_INTEGER:
    case DUCK_UINTEGER:
    case DUCK_FLOAT:
    case DUCK_DATE:
        return 4;
    case DUCK_BIGINT:
    case DUCK_DOUBLE:
    case DUCK_TIME:
    case DUCK_TIMETZ:
    case DUCK_TIMESTAMP:
    case DUCK_TIMESTAMPTZ:
        return 8;
    case DUCK_INTERVAL:
    case DUCK_UUID:
        return 16;
    case DUCK_DECIMAL:
        return type.width <= 4 ? 2 : type.width <= 9 ? 4 : type.width <= 18 ? 8 : 16;
    }
    return 0;
}

DuckParse duck_parse(DuckType type, Str text, void *ret_cell)
{
    switch (type.kind) {
    case DUCK_BOOLEAN:
        return parse_bool(text, ret_cell);
    case DUCK_UUID:
        return parse_uuid(text, ret_cell);
    case DUCK_SMALLINT:
    case DUCK_INTEGER:
    case DUCK_BIGINT:
    case DUCK_UINTEGER:
    case DUCK_FLOAT:
    case DUCK_DOUBLE:
    case DUCK_DECIMAL:
        return duck_parse_number(type, text, ret_cell);
    case DUCK_DATE:
    case DUCK_TIME:
    case DUCK_TIMETZ:
    case DUCK_TIMESTAMP:
    case DUCK_TIMESTAMPTZ:
    case DUCK_INTERVAL:
        return duck_parse_time(type, text, ret_cell);
    case DUCK_VARCHAR:
    case DUCK_JSON:
    case DUCK_BLOB:
        break;
    }
    assert(!"a type without a cell of fixed size");
    return DUCK_PARSE_SYNTAX;
}

// These exact=true keeps as text, see duck_type_of().
Status duck_hint_exact(DuckType type, DuckParse parsed, Error *err)
{
    bool helps = type.kind == DUCK_DECIMAL || type.kind == DUCK_TIMESTAMP ||
                 type.kind == DUCK_TIMESTAMPTZ || type.kind == DUCK_INTERVAL;
    if (parsed != DUCK_PARSE_CANNOT_HOLD || !helps) {
        return STATUS_FAIL;
    }
    return error_hint(err, "Set exact=true on the sink: such columns become VARCHAR, with every "
                           "value as Postgres writes it. The next start says how a table that is "
                           "there already is made anew.");
}

void duck_type_name(DuckType type, Buf *ret)
{
    static const char *const names[] = {
        [DUCK_VARCHAR] = "VARCHAR",     [DUCK_JSON] = "JSON",
        [DUCK_BLOB] = "BLOB",           [DUCK_BOOLEAN] = "BOOLEAN",
        [DUCK_SMALLINT] = "SMALLINT",   [DUCK_INTEGER] = "INTEGER",
        [DUCK_BIGINT] = "BIGINT",       [DUCK_UINTEGER] = "UINTEGER",
        [DUCK_FLOAT] = "FLOAT",         [DUCK_DOUBLE] = "DOUBLE",
        [DUCK_DECIMAL] = "DECIMAL",     [DUCK_DATE] = "DATE",
        [DUCK_TIME] = "TIME",           [DUCK_TIMETZ] = "TIME WITH TIME ZONE",
        [DUCK_TIMESTAMP] = "TIMESTAMP", [DUCK_TIMESTAMPTZ] = "TIMESTAMP WITH TIME ZONE",
        [DUCK_INTERVAL] = "INTERVAL",   [DUCK_UUID] = "UUID",
    };
    buf_cstr(ret, names[type.kind]);
    if (type.kind == DUCK_DECIMAL) {
        buf_printf(ret, "(%u,%u)", type.width, type.scale);
    }
}

// ---------------------------------------------------------------------------------------------
// Literals: only for defaults, so clarity goes before speed. A string constant, which DuckDB turns
// into the column's type; an expression it would fill in by an UPDATE, and after that the
// transaction could not alter the table again.
// ---------------------------------------------------------------------------------------------

// "\x0aff" is a BLOB's text form too once each byte has its own prefix.
static DuckParse blob_literal(Str text, Buf *sql)
{
    size_t size;
    Value value = {.ptr = text.ptr, .len = (uint32_t)text.len, .state = VALUE_TEXT};
    if (!value_bytea_size(value, &size)) {
        return DUCK_PARSE_SYNTAX;
    }
    buf_char(sql, '\'');
    for (size_t i = 0; i < size; i++) {
        buf_cstr(sql, "\\x");
        buf_bytes(sql, text.ptr + 2 + i * 2, 2);
    }
    buf_char(sql, '\'');
    return DUCK_PARSE_OK;
}

// DuckDB writes the era behind the date, and every year of it with our digits.
static void date_literal(Str text, Buf *sql)
{
    if (text.len <= 3 || memcmp(text.ptr + text.len - 3, " BC", 3) != 0) {
        sql_literal(sql, text);
        return;
    }
    Str rest = {text.ptr, text.len - 3};
    Str date;
    (void)str_split(&rest, ' ', &date);
    buf_char(sql, '\'');
    buf_str(sql, date);
    buf_cstr(sql, rest.len > 0 ? " (BC) " : " (BC)");
    buf_str(sql, rest);
    buf_char(sql, '\'');
}

static void interval_literal(const Interval *interval, Buf *sql)
{
    // DuckDB reads the number before its sign, and INT64_MIN has no positive counterpart.
    int64_t last = interval->micros == INT64_MIN ? -1 : 0;
    buf_printf(sql,
               "'%" PRId32 " months %" PRId32 " days %" PRId64 " microseconds %" PRId64
               " microseconds'",
               interval->months, interval->days, interval->micros - last, last);
}

DuckParse duck_literal(DuckType type, Str text, Buf *sql)
{
    union {
        char bytes[16];
        DuckHugeint align;
        Interval interval;
    } cell;
    if (type.kind == DUCK_VARCHAR || type.kind == DUCK_JSON) {
        sql_literal(sql, text);
        return DUCK_PARSE_OK;
    }
    if (type.kind == DUCK_BLOB) {
        return blob_literal(text, sql);
    }
    DuckParse parsed = duck_parse(type, text, &cell);
    if (parsed != DUCK_PARSE_OK) {
        return parsed;
    }
    switch (type.kind) {
    case DUCK_DATE:
    case DUCK_TIMESTAMP:
    case DUCK_TIMESTAMPTZ:
        date_literal(text, sql);
        break;
    case DUCK_INTERVAL:
        interval_literal(&cell.interval, sql);
        break;
    default:
        sql_literal(sql, text);
        break;
    }
    return DUCK_PARSE_OK;
}
