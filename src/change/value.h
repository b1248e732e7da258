// One column of one row, in the form in which Postgres sent it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/**
 * The five states. Nothing downstream may turn one into another by accident:
 * - absent: the row image does not have this column at all (an old row of key columns only);
 * - null: SQL NULL;
 * - unchanged: a TOASTed column that the UPDATE did not touch, which Postgres therefore did not
 * send. The target keeps what it has; it is never written as NULL;
 * - text: the type's output function, in the server's UTF-8, no NUL behind it;
 * - binary: the type's send function.
 */
typedef enum ValueState {
    VALUE_ABSENT,
    VALUE_NULL,
    VALUE_UNCHANGED,
    VALUE_TEXT,
    VALUE_BINARY,
} ValueState;

typedef struct Value {
    const char *ptr; // borrowed from the batch; meaningful for text and binary only
    uint32_t len;
    ValueState state;
} Value;

static inline Str value_str(Value value)
{
    return (Str){value.ptr, value.len};
}

/** There are bytes: not absent, null or unchanged. */
static inline bool value_is_data(Value value)
{
    return value.state == VALUE_TEXT || value.state == VALUE_BINARY;
}

/** The column's value after the change is known (it may be NULL). */
static inline bool value_is_known(Value value)
{
    return value.state == VALUE_NULL || value_is_data(value);
}

/** Same state and, for data, the same bytes. */
bool value_equal(Value a, Value b);

/** A text value of an integer type or of boolean as a number; false when it is not one. */
MUST_CHECK bool value_to_int64(Value value, int64_t *ret);
MUST_CHECK bool value_to_bool(Value value, bool *ret);

/** A text value of float4, float8 or numeric; NaN and ±Infinity included. */
MUST_CHECK bool value_to_double(Value value, double *ret);

/** bytea's text form "\x0aff" as bytes: @ret_capacity at least value_bytea_size(). */
MUST_CHECK bool value_bytea_size(Value value, size_t *ret);
MUST_CHECK bool value_to_bytea(Value value, char *ret, size_t ret_capacity);
