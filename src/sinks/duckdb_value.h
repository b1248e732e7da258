// From Postgres's text to the cells of DuckDB's vectors. Pure functions, independent of the locale
// and of libduckdb: every value of every row goes through here.
//
// The text is that of the type's output function with DateStyle ISO, IntervalStyle postgres and
// bytea_output hex.
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

typedef enum DuckKind {
    DUCK_VARCHAR,
    DUCK_JSON, // VARCHAR under another name
    DUCK_BLOB,
    DUCK_BOOLEAN,
    DUCK_SMALLINT,
    DUCK_INTEGER,
    DUCK_BIGINT,
    DUCK_UINTEGER,
    DUCK_FLOAT,
    DUCK_DOUBLE,
    DUCK_DECIMAL,
    DUCK_DATE,
    DUCK_TIME,
    DUCK_TIMETZ,
    DUCK_TIMESTAMP,
    DUCK_TIMESTAMPTZ,
    DUCK_INTERVAL,
    DUCK_UUID,
} DuckKind;

typedef struct DuckType {
    DuckKind kind;
    uint8_t width; // of DECIMAL: 1 to 38
    uint8_t scale; // 0 to width
} DuckType;

enum { DUCK_DECIMAL_MAX = 38 };

__extension__ typedef __int128 DuckHugeint;

/** Whether a text became a value. */
typedef enum DuckParse {
    DUCK_PARSE_OK,
    DUCK_PARSE_SYNTAX,     // this is not such a value at all
    DUCK_PARSE_CANNOT_HOLD // it is one, and DuckDB's type has no place for it
} DuckParse;

/** Bytes of one cell of a fixed size; 0 for VARCHAR, JSON and BLOB. */
size_t duck_cell_size(DuckType type);

/** Fill the cell of @type from @text; the cell is untouched unless the result is DUCK_PARSE_OK.
 *  Not for VARCHAR, JSON and BLOB. */
MUST_CHECK DuckParse duck_parse(DuckType type, Str text, void *ret_cell);

/** "DECIMAL(10,2)", "TIMESTAMP WITH TIME ZONE": as DuckDB's catalog writes it. */
void duck_type_name(DuckType type, Buf *ret);

/** Say what @parsed, a failure with a value for @type, may be mended with. Returns STATUS_FAIL. */
Status duck_hint_exact(DuckType type, DuckParse parsed, Error *err);

/** A string constant of SQL that is exactly this value where @type is expected: a default. */
MUST_CHECK DuckParse duck_literal(DuckType type, Str text, Buf *sql);
