// Pieces of JSON (RFC 8259), appended to a Buf. Text that comes from outside is checked: what these
// functions write is valid JSON in valid UTF-8, or they say that it could not be.
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/** Arrays and objects inside each other that json_embed() follows. */
enum { JSON_DEPTH_MAX = 65536 };

/**
 * @text in quotes. Escaped is what RFC 8259 requires and nothing else: the quote, the backslash,
 * and control characters, as \b \f \n \r \t where there is such a form and \u00xx otherwise, just
 * as Postgres does it. False, with an unfinished string in @out, when @text is not UTF-8.
 */
MUST_CHECK bool json_string(Buf *out, Str text);

/** The same for bytes that need not be UTF-8: each byte that is not part of it becomes U+FFFD. */
void json_string_lossy(Buf *out, Str text);

/** @data in quotes as base64 (RFC 4648 §4, with padding). */
void json_base64(Buf *out, Str data);

/** @text is a number as JSON has them: "-0", "1e+20", "0.50" are, "NaN", ".5", "01" are not. */
bool json_is_number(Str text);

/** @text is one JSON string with its quotes. */
bool json_is_string(Str text);

/**
 * @text, which must be one JSON value, as it is: digits, key order, duplicate keys and spaces stay.
 * Only line ends, which are white space outside of strings, become spaces, so that the result is
 * one line. False, with nothing appended, when it is not JSON or nested deeper than JSON_DEPTH_MAX.
 */
MUST_CHECK bool json_embed(Buf *out, Str text);

/** @text, a valid JSON value, is the literal null. */
bool json_is_null(Str text);
