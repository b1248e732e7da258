// Values of a row as JSON, as format weir has them: docs/formats.md.
#pragma once

#include "base/buf.h"
#include "change/change.h"

/** Append @value of @column, or null. False, with something or nothing appended, when it is neither
 *  NULL nor text that a value of that type can be. */
MUST_CHECK bool row_json_value(Buf *out, const Column *column, Value value);

/** The row image that has the values which find the row before the change; NULL: there is no key,
 *  or the server did not send all of it. */
const Value *row_with_key(const Change *change);
