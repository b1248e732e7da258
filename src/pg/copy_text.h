// The text format of COPY: one row a line, columns separated by tabs, NULL as \N, and a backslash
// before what would be mistaken for those. See "File Formats" on Postgres's COPY page.
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "change/value.h"

/**
 * Split one row (with or without its newline) into exactly @count values. The bytes of @row are
 * unescaped in place and the values point into them. @row is changed even on failure.
 */
MUST_CHECK Status copy_text_decode(char *row, size_t len, Value *values, size_t count, Error *err);

/** Append @text escaped, without separator. */
void copy_text_encode(Buf *out, Str text);

/** Append @count values as one row with tabs and a newline; only null and text values are allowed.
 */
void copy_text_encode_row(Buf *out, const Value *values, size_t count);
