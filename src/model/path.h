// Where a value stands inside of another one, as mixers write it: "metadata.id" and "items.0.id"
// where it is read, "metadata[id]" where it is written.
#pragma once

#include "base/error.h"
#include "codec/json_value.h"

enum { PATH_STEPS_MAX = 32 };

/** The first step names a column of a row, or a member of an object. */
typedef struct Path {
    Str *steps;
    size_t count; // at least 1
} Path;

/**
 * "metadata.id": steps with dots between them. A dot that belongs to a name is written "\.", a
 * backslash "\\". In @arena. ERROR_CONFIG: an empty step, another character behind a backslash, or
 * more than PATH_STEPS_MAX steps.
 */
MUST_CHECK Status path_parse_dotted(Str text, Arena *arena, Path *ret, Error *err);

/** "metadata[id]": a name, and the steps inside of it in brackets. In @arena. ERROR_CONFIG: an
 *  empty step, a bracket out of place, or more than PATH_STEPS_MAX steps. */
MUST_CHECK Status path_parse_bracketed(Str text, Arena *arena, Path *ret, Error *err);

/**
 * The value at steps @first to the last of @path inside of @value. A step in an array is the index
 * of an item, from 0. NULL: there is none, as a member or an item is missing, or what a step looks
 * into is neither object nor array.
 */
const JsonValue *path_find(const Path *path, size_t first, const JsonValue *value);

/** One is the other or is inside of it. */
bool path_overlaps(const Path *a, const Path *b);
