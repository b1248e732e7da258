// Percent-encoding (RFC 3986 §2.1).
#pragma once

#include "base/buf.h"
#include "base/str.h"

/** Append @text: letters, digits and "-_.~" as they are, any other byte as its number. */
void percent_encode(Buf *out, Str text);

/** %41 becomes A; a percent sign that begins no such code stands for itself. In @arena, with a NUL
 *  behind it. */
Str percent_decode(Str text, Arena *arena);
