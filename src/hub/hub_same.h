// Which values count as the same. Systems do not have the same types: what is a number here is text
// there, and what one has for nothing is another one's empty text.
#pragma once

#include "base/buf.h"
#include "codec/json_value.h"
#include "model/mixer.h"

/**
 * @types: those that the property may have, of which they are, as SchemaProperty.types. A number
 * and a text are the same by their value: 3 and "3.0". So are numbers, and two texts where a number
 * may be; elsewhere texts are the same only byte by byte: "1.1" is not "1.10". A truth is the same
 * as its text. Null and what is empty are nothing, as is a pointer that is NULL, and all of nothing
 * is the same. Of lists and objects this holds for what is in them, of which no types are known:
 * two texts are two there.
 */
bool hub_same(const JsonValue *a, const JsonValue *b, uint32_t types);

/** The same of @text, which json_print() has made of a value. False, too, when it is no JSON. */
bool hub_same_as_printed(Str text, const JsonValue *value, uint32_t types);

/** What stands in @thing, where @cell of @row is pushed to, is the same as that. */
bool hub_same_as_pushed(const JsonValue *thing, const PushedRow *row, const PushedCell *cell);

/**
 * Append a name for @value, a search key of a property that may have the types @types (as
 * SchemaProperty.types): the same for the same key. Where it may be a number, text that is one has
 * that number's name; elsewhere only the same text has. As long as what it is of, and not more than
 * a few times as long.
 */
void hub_key_name(Buf *out, const JsonValue *value, uint32_t types);
