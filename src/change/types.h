// What kind of thing a Postgres type is, as far as a target needs to know.
#pragma once

#include <stdbool.h>
#include <stdint.h>

/** Object ids of the stock types, fixed for ever: src/include/catalog/pg_type.dat in Postgres. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_CHAR = 18,
    OID_NAME = 19,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_OID = 26,
    OID_XID = 28,
    OID_CID = 29,
    OID_JSON = 114,
    OID_XML = 142,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_MONEY = 790,
    OID_BPCHAR = 1042,
    OID_VARCHAR = 1043,
    OID_DATE = 1082,
    OID_TIME = 1083,
    OID_TIMESTAMP = 1114,
    OID_TIMESTAMPTZ = 1184,
    OID_INTERVAL = 1186,
    OID_TIMETZ = 1266,
    OID_BIT = 1560,
    OID_VARBIT = 1562,
    OID_NUMERIC = 1700,
    OID_UUID = 2950,
    OID_JSONB = 3802,
    // Types below it are the server's own and the same everywhere (FirstNormalObjectId).
    FIRST_USER_OID = 16384,
};

/** Stock types by what a target does with them. Whatever is not named here is TYPE_OTHER: its text
 *  form is the exact value. */
typedef enum TypeClass {
    TYPE_OTHER,
    TYPE_BOOL,
    TYPE_INT2,
    TYPE_INT4,
    TYPE_INT8,
    TYPE_OID, // oid, xid, cid: unsigned 32 bits
    TYPE_FLOAT4,
    TYPE_FLOAT8,
    TYPE_NUMERIC,
    TYPE_TEXT, // text, varchar, bpchar, name, "char", xml
    TYPE_BYTEA,
    TYPE_DATE,
    TYPE_TIME,
    TYPE_TIMETZ,
    TYPE_TIMESTAMP,
    TYPE_TIMESTAMPTZ,
    TYPE_INTERVAL,
    TYPE_UUID,
    TYPE_JSON,
    TYPE_JSONB,
    TYPE_BIT, // bit, varbit
} TypeClass;

TypeClass type_class(uint32_t type_oid);

static inline bool type_is_json(TypeClass type)
{
    return type == TYPE_JSON || type == TYPE_JSONB;
}

/** Precision and scale of numeric(p,s) from the typmod; false for bare numeric. */
bool numeric_typmod(int32_t typmod, int *ret_precision, int *ret_scale);
