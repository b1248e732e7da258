#include "sinks/sqlite_value.h"

#include <assert.h>
#include <math.h>

static SqliteAffinity affinity_of(const Column *column)
{
    switch (column->type) {
    case TYPE_BOOL:
        return AFFINITY_NUMERIC;
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
    case TYPE_OID:
        return AFFINITY_INTEGER;
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
        return AFFINITY_REAL;
    case TYPE_BYTEA:
        return AFFINITY_BLOB;
    default:
        return AFFINITY_TEXT;
    }
}

const char *sqlite_affinity_name(SqliteAffinity affinity)
{
    static const char *const names[] = {"BLOB", "TEXT", "NUMERIC", "INTEGER", "REAL"};
    return names[affinity];
}

// BOOLEAN has none of the parts that SQLite looks for, and so numeric affinity: 0 and 1 stay
// integers, and whoever reads the file sees what they mean.
static void declare_type(const Column *column, Buf *sql)
{
    buf_cstr(sql,
             column->type == TYPE_BOOL ? "BOOLEAN" : sqlite_affinity_name(affinity_of(column)));
}

// A default is text that SQLite converts to the column's affinity, exactly for integers. (Floats
// are stored by an UPDATE instead: SQLite's own conversion may be off in the last bit.)
static void write_literal(const Column *column, Str text, Buf *sql)
{
    Value value = {text.ptr, (uint32_t)text.len, VALUE_TEXT};
    size_t size;
    if (column->type == TYPE_BYTEA && value_bytea_size(value, &size)) {
        buf_char(sql, 'X');
        sql_literal(sql, (Str){text.ptr + 2, text.len - 2});
    } else if (column->type == TYPE_BOOL) {
        buf_char(sql, str_is(text, "t") ? '1' : '0');
    } else {
        sql_literal(sql, text);
    }
}

const SqlDialect sqlite_dialect = {
    .name = "SQLite",
    .type = declare_type,
    .literal = write_literal,
    .text_type = "TEXT",
    .integer_type = "INTEGER",
    .time_type = "TEXT",
    .by_bytes = "",
    .folds_case = true,
};

static bool contains(Str text, const char *upper_part)
{
    size_t len = strlen(upper_part);
    for (size_t i = 0; i + len <= text.len; i++) {
        if (sqlite3_strnicmp(text.ptr + i, upper_part, (int)len) == 0) {
            return true;
        }
    }
    return false;
}

SqliteAffinity sqlite_affinity(Str declared_type)
{
    static const struct {
        const char *part;
        SqliteAffinity affinity;
    } rules[] = {
        {"INT", AFFINITY_INTEGER}, {"CHAR", AFFINITY_TEXT}, {"CLOB", AFFINITY_TEXT},
        {"TEXT", AFFINITY_TEXT},   {"BLOB", AFFINITY_BLOB}, {"REAL", AFFINITY_REAL},
        {"FLOA", AFFINITY_REAL},   {"DOUB", AFFINITY_REAL},
    };
    if (declared_type.len == 0) {
        return AFFINITY_BLOB;
    }
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (contains(declared_type, rules[i].part)) {
            return rules[i].affinity;
        }
    }
    return AFFINITY_NUMERIC;
}

bool sqlite_type_fits(Str declared_type, const Column *column)
{
    SqliteAffinity have = sqlite_affinity(declared_type);
    SqliteAffinity want = affinity_of(column);
    bool both_numbers = (have == AFFINITY_NUMERIC || have == AFFINITY_INTEGER) &&
                        (want == AFFINITY_NUMERIC || want == AFFINITY_INTEGER);
    // Text and blobs without affinity are kept as they are; a blob also where text is wanted.
    return have == want || have == AFFINITY_BLOB || both_numbers ||
           (want == AFFINITY_BLOB && have == AFFINITY_TEXT);
}

static Status bad_value(const Column *column, Error *err)
{
    return error_set(err, ERROR_DATA,
                     "column \"%" STR_FMT "\" has a value that is not of type %" STR_FMT,
                     STR_ARG(column->name), STR_ARG(column->type_name));
}

static int bind_float(sqlite3_stmt *statement, int index, double number)
{
    if (isnan(number)) {
        return sqlite3_bind_text(statement, index, "NaN", 3, SQLITE_STATIC);
    }
    return sqlite3_bind_double(statement, index, number);
}

static int bind_text(sqlite3_stmt *statement, int index, Value value)
{
    // A NULL pointer would be bound as SQL NULL.
    return sqlite3_bind_text64(statement, index, value.len == 0 ? "" : value.ptr, value.len,
                               SQLITE_STATIC, SQLITE_UTF8);
}

static bool bind_data(sqlite3_stmt *statement, int index, const Column *column, Value value,
                      Arena *scratch, int *ret_code)
{
    int64_t integer;
    bool truth;
    double number;
    size_t size;
    char *bytes;
    switch (column->type) {
    case TYPE_BOOL:
        if (!value_to_bool(value, &truth)) {
            return false;
        }
        *ret_code = sqlite3_bind_int(statement, index, truth);
        return true;
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
    case TYPE_OID:
        if (!value_to_int64(value, &integer)) {
            return false;
        }
        *ret_code = sqlite3_bind_int64(statement, index, integer);
        return true;
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
        if (!value_to_double(value, &number)) {
            return false;
        }
        *ret_code = bind_float(statement, index, number);
        return true;
    case TYPE_BYTEA:
        if (!value_bytea_size(value, &size)) {
            return false;
        }
        bytes = arena_alloc_bytes(scratch, size + 1);
        if (!value_to_bytea(value, bytes, size)) {
            return false;
        }
        *ret_code = sqlite3_bind_blob64(statement, index, bytes, size, SQLITE_STATIC);
        return true;
    default:
        *ret_code = bind_text(statement, index, value);
        return true;
    }
}

Status sqlite_bind(sqlite3_stmt *statement, int index, const Column *column, Value value,
                   Arena *scratch, Error *err)
{
    int code = SQLITE_OK;
    switch (value.state) {
    case VALUE_NULL:
        code = sqlite3_bind_null(statement, index);
        break;
    case VALUE_TEXT:
        if (!bind_data(statement, index, column, value, scratch, &code)) {
            return bad_value(column, err);
        }
        break;
    case VALUE_BINARY:
        return error_set(err, ERROR_FATAL, "column \"%" STR_FMT "\" has a binary value",
                         STR_ARG(column->name)); // nobody asked the server for that
    default:
        return error_set(err, ERROR_DATA, "the server sent no value of column \"%" STR_FMT "\"",
                         STR_ARG(column->name));
    }
    if (code == SQLITE_TOOBIG) {
        error_set(err, ERROR_DATA,
                  "column \"%" STR_FMT "\" has a value of %" PRIu32
                  " bytes, more than SQLite can store",
                  STR_ARG(column->name), value.len);
        return error_hint(err, "Leave the column out of the publication's column list.");
    }
    assert(code == SQLITE_OK);
    return STATUS_OK;
}
