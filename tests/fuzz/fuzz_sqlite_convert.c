// Stored values of any bytes, and what an ALTER COLUMN TYPE between any two types makes of them: a
// value or an error, of a size that the value and the new type bound.
//
// The first four bytes are the types and their modifiers, the rest is the value's text.
#include <sqlite3.h>

#include "fuzz.h"
#include "sinks/sqlite_convert.h"
#include "sinks/sqlite_value.h"

static const uint32_t types[] = {
    OID_BOOL,     OID_INT2,    OID_INT4, OID_INT8,    OID_OID,       OID_FLOAT4,
    OID_FLOAT8,   OID_NUMERIC, OID_TEXT, OID_VARCHAR, OID_BPCHAR,    OID_NAME,
    OID_BYTEA,    OID_DATE,    OID_TIME, OID_TIMETZ,  OID_TIMESTAMP, OID_TIMESTAMPTZ,
    OID_INTERVAL, OID_UUID,    OID_JSON, OID_JSONB,   OID_BIT,       OID_VARBIT,
};

enum { LENGTH_MAX = 120 };

static int32_t typmod_of(uint32_t type, uint8_t byte)
{
    if (byte == 0) {
        return -1;
    }
    switch (type) {
    case OID_NUMERIC:
        return (((1 + byte % 40) << 16) | (byte / 3 % 40)) + 4;
    case OID_VARCHAR:
    case OID_BPCHAR:
        return 4 + byte % LENGTH_MAX;
    case OID_BIT:
    case OID_VARBIT:
        return byte % LENGTH_MAX;
    case OID_TIME:
    case OID_TIMETZ:
    case OID_TIMESTAMP:
    case OID_TIMESTAMPTZ:
        return byte % 7;
    default:
        return -1;
    }
}

static Column column_of(uint8_t type, uint8_t modifier)
{
    uint32_t oid = types[type % ARRAY_LEN(types)];
    int32_t typmod = typmod_of(oid, modifier);
    return (Column){.name = STR("c"),
                    .attnum = 1,
                    .type_oid = oid,
                    .typmod = typmod,
                    .type_name = STR("type"),
                    .base_type_oid = oid,
                    .base_typmod = typmod,
                    .base_type_name = STR("type"),
                    .type = type_class(oid)};
}

static sqlite3_stmt *prepare(sqlite3 **ret_db)
{
    static sqlite3 *db;
    static sqlite3_stmt *statement;
    if (statement == NULL) {
        FUZZ_CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
        FUZZ_CHECK(sqlite_conversion_register(db) == SQLITE_OK);
        FUZZ_CHECK(sqlite3_prepare_v2(db, "SELECT weir_convert(?1, ?2)", -1, &statement, NULL) ==
                   SQLITE_OK);
    }
    *ret_db = db;
    return statement;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4) {
        return 0;
    }
    Column was = column_of(data[0], data[1]);
    Column now = column_of(data[2], data[3]);
    Value value = {(const char *)data + 4, (uint32_t)(size - 4), VALUE_TEXT};
    SqliteConversion conversion;
    sqlite3 *db;
    sqlite3_stmt *statement = prepare(&db);
    Arena scratch = {0};
    Error err = {0};
    if (sqlite_bind(statement, 1, &was, value, &scratch, &err) != STATUS_OK) {
        FUZZ_CHECK(err.message[0] != '\0');
    } else if (sqlite_conversion_find(&was, &now, &conversion) && conversion.convert != NULL) {
        sqlite_conversion_bind(statement, 2, &conversion);
        if (sqlite3_step(statement) == SQLITE_ROW) {
            FUZZ_CHECK(sqlite3_column_bytes(statement, 0) <= (int)value.len + 512);
        } else {
            FUZZ_CHECK(sqlite3_errmsg(db)[0] != '\0');
        }
    }
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
    arena_done(&scratch);
    return 0;
}
