// Patterns that name tables: schema.table, schema.*, table; each part quoted as in SQL, or as it
// stands.
#pragma once

#include "base/arena.h"
#include "base/str.h"

/** Whether @pattern names the table. One that is not understood names what it is, as it stands. */
bool table_pattern_matches(Str pattern, Str schema, Str name);

/** @text names one table with its schema: "public.orders". The parts without quotes, in @arena or
 *  in @text. */
MUST_CHECK bool table_name_parse(Str text, Arena *arena, Str *ret_schema, Str *ret_name);
