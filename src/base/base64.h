// Base64 (RFC 4648 §4).
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/** Append @data, with padding. */
void base64_encode(Buf *out, Str data);

/** Append what @text stands for. False, with something or nothing appended, when @text is no base64
 *  with its padding, or one that ends in bits of no byte. */
MUST_CHECK bool base64_decode(Buf *out, Str text);
