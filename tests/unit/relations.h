// Columns, relations and values made by hand, for the tests of whatever takes them.
#pragma once

#include <string.h>

#include "change/relation.h"
#include "unit.h"

// Values of a row.
#define T(text)  ((Value){.ptr = (text), .len = (uint32_t)sizeof(text) - 1, .state = VALUE_TEXT})
#define NIL      ((Value){.state = VALUE_NULL})
#define SAME     ((Value){.state = VALUE_UNCHANGED})
#define NONE     ((Value){.state = VALUE_ABSENT})
#define ROW(...) ((const Value[]){__VA_ARGS__})

static inline Column column(const char *name, int16_t attnum, uint32_t type, const char *type_name)
{
    return (Column){.name = str_from(name),
                    .attnum = attnum,
                    .type_oid = type,
                    .typmod = -1,
                    .type_name = str_from(type_name),
                    .base_type_oid = type,
                    .base_typmod = -1,
                    .base_type_name = str_from(type_name),
                    .type = type_class(type)};
}

#define INT4(name, attnum)    column(name, attnum, OID_INT4, "integer")
#define INT8(name, attnum)    column(name, attnum, OID_INT8, "bigint")
#define TEXT(name, attnum)    column(name, attnum, OID_TEXT, "text")
#define BOOL(name, attnum)    column(name, attnum, OID_BOOL, "boolean")
#define FLOAT4(name, attnum)  column(name, attnum, OID_FLOAT4, "real")
#define FLOAT8(name, attnum)  column(name, attnum, OID_FLOAT8, "double precision")
#define NUMERIC(name, attnum) column(name, attnum, OID_NUMERIC, "numeric")
#define BYTEA(name, attnum)   column(name, attnum, OID_BYTEA, "bytea")

/** @key: indexes of columns as letters, "a" is the first; "" is no key. */
static inline Relation *relation_of(Arena *memory, uint32_t oid, const char *schema,
                                    const char *name, const char *key, const Column *columns,
                                    size_t count)
{
    uint16_t indexes[16];
    size_t key_count = strlen(key);
    assert_true(key_count <= ARRAY_LEN(indexes));
    for (size_t i = 0; i < key_count; i++) {
        indexes[i] = (uint16_t)(key[i] - 'a');
    }
    Relation made = {.oid = oid,
                     .schema = str_from(schema),
                     .name = str_from(name),
                     .identity = key_count > 0 ? IDENTITY_DEFAULT : IDENTITY_FULL,
                     .column_count = (uint16_t)count,
                     .columns = (Column *)(uintptr_t)columns,
                     .key_count = (uint16_t)key_count,
                     .key = indexes,
                     .key_is_primary = true};
    return relation_copy(memory, &made);
}
