// Floating point numbers as Postgres writes them, rounded as its own float4in() and float8in() do.
// Whatever locale the program has.
#pragma once

#include <stdbool.h>

#include "base/str.h"

/** Infinity and NaN included. What is too large for the type becomes infinity, as strtod() has it.
 */
MUST_CHECK bool float_text_double(Str text, double *ret);
/** Rounded once, from the text, not from the double. */
MUST_CHECK bool float_text_float(Str text, float *ret);
