// Patterns that name tables: schema.table, schema.*, table; each part quoted as in SQL, or as it
// stands.
#pragma once

#include "base/str.h"

/** Whether @pattern names the table. One that is not understood names what it is, as it stands. */
bool table_pattern_matches(Str pattern, Str schema, Str name);
