#include "change/types.h"

TypeClass type_class(uint32_t type_oid)
{
    switch (type_oid) {
    case OID_BOOL:
        return TYPE_BOOL;
    case OID_INT2:
        return TYPE_INT2;
    case OID_INT4:
        return TYPE_INT4;
    case OID_INT8:
        return TYPE_INT8;
    case OID_OID:
    case OID_XID:
    case OID_CID:
        return TYPE_OID;
    case OID_FLOAT4:
        return TYPE_FLOAT4;
    case OID_FLOAT8:
        return TYPE_FLOAT8;
    case OID_NUMERIC:
        return TYPE_NUMERIC;
    case OID_TEXT:
    case OID_VARCHAR:
    case OID_BPCHAR:
    case OID_NAME:
    case OID_CHAR:
    case OID_XML:
        return TYPE_TEXT;
    case OID_BYTEA:
        return TYPE_BYTEA;
    case OID_DATE:
        return TYPE_DATE;
    case OID_TIME:
        return TYPE_TIME;
    case OID_TIMETZ:
        return TYPE_TIMETZ;
    case OID_TIMESTAMP:
        return TYPE_TIMESTAMP;
    case OID_TIMESTAMPTZ:
        return TYPE_TIMESTAMPTZ;
    case OID_INTERVAL:
        return TYPE_INTERVAL;
    case OID_UUID:
        return TYPE_UUID;
    case OID_JSON:
        return TYPE_JSON;
    case OID_JSONB:
        return TYPE_JSONB;
    case OID_BIT:
    case OID_VARBIT:
        return TYPE_BIT;
    default:
        return TYPE_OTHER;
    }
}

// numerictypmodin() in src/backend/utils/adt/numeric.c: ((precision << 16) | (scale & 0x7ff)) + 4,
// the scale being a signed number of eleven bits since Postgres 15.
bool numeric_typmod(int32_t typmod, int *ret_precision, int *ret_scale)
{
    if (typmod < 4) {
        return false;
    }
    uint32_t packed = (uint32_t)typmod - 4;
    *ret_precision = (int)(packed >> 16 & 0xffff);
    *ret_scale = (int)((packed & 0x7ff) ^ 0x400) - 0x400;
    return true;
}
