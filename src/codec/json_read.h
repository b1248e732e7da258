// Reads JSON text (RFC 8259) into a tree. What is not JSON is refused with the place where it ends
// to be it: text that is not UTF-8, half a surrogate pair, a number with an exponent out of range
// (base/decimal.h). So are objects that have a name twice, which others read in different ways.
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "codec/json_value.h"

/** Arrays and objects inside each other. */
enum { JSON_READ_DEPTH_MAX = 256 };

/**
 * *ret is valid as long as @arena and @text are: strings without escapes, and numbers, are slices
 * of the text. Longer text than LIMIT_JSON_BYTES is refused. ERROR_DATA with line and column of
 * what is wrong.
 */
MUST_CHECK Status json_read(Arena *arena, Str text, JsonValue *ret, Error *err);
