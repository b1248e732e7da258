// Between the files that turn text into the cells of DuckDB's vectors: duckdb_value.c, by kind,
// duckdb_number.c and duckdb_time.c.
#pragma once

#include "sinks/duckdb_value.h"

/** Integers, floating point and DECIMAL. As duck_parse(). */
MUST_CHECK DuckParse duck_parse_number(DuckType type, Str text, void *ret_cell);

/** Dates, times and intervals. As duck_parse(). */
MUST_CHECK DuckParse duck_parse_time(DuckType type, Str text, void *ret_cell);
