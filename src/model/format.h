// The formats that "format" names (JSON Schema 2020-12, validation §7.3).
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

/** @text, which is UTF-8, is of the format. @scratch is for memory that is needed meanwhile. */
typedef bool (*FormatCheck)(Arena *scratch, Str text);

/** NULL: there is no such format, and anything goes. */
FormatCheck format_find(Str name);

// One file a family.
bool format_date(Arena *scratch, Str text);
bool format_time(Arena *scratch, Str text);
bool format_date_time(Arena *scratch, Str text);
bool format_duration(Arena *scratch, Str text);
bool format_hostname(Arena *scratch, Str text);
bool format_idn_hostname(Arena *scratch, Str text);
bool format_email(Arena *scratch, Str text);
bool format_idn_email(Arena *scratch, Str text);
