// Pieces of a JSON document on standard output.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/** What is no valid UTF-8 is replaced. */
void json_print_string(Str text);

/** @before, `"name":"text"`; null when it is not known. */
void json_print_text(const char *before, const char *name, Str text, bool is_known);

/** `,"name":1`; null when it is below 0. */
void json_print_number(const char *name, int64_t value);

/** `,"name":true` */
void json_print_bool(const char *name, bool value);
