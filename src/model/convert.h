// Values from one type to another: columns of Postgres, members of JSON. One table for all of them
// (docs/hub.md):
//
//   1  a value of a type that may be there stays as it is;
//   2  text becomes what it says in JSON: 3, true, {"a":1};
//   3  any other value, but null, becomes its JSON text, where text may be;
//   4  the rest is refused.
//
// Types are sets as in SchemaProperty.types.
#pragma once

#include "base/error.h"
#include "change/relation.h"
#include "change/value.h"
#include "codec/json_value.h"

enum { CONVERT_TYPES_TEXT = 80 }; // bytes that convert_types_text() needs at the most

/** "integer, string, null": into @ret. */
void convert_types_text(uint32_t types, char ret[static CONVERT_TYPES_TEXT]);

/** Some value of the types @from, other than null, can become one of @to. */
bool convert_is_possible(uint32_t from, uint32_t to);

/** @value as one of @types, by the table. *ret may borrow from @value and from @arena. ERROR_DATA
 *  says what it cannot become. */
MUST_CHECK Status convert_json(Arena *arena, const JsonValue *value, uint32_t types, JsonValue *ret,
                               Error *err);

/** What values of @column are in JSON, null left out. */
uint32_t convert_column_types(const Column *column);

/** Some value of @column, other than NULL, can become one of @types; with @is_pushed the other way
 *  round. Text of arrays, ranges, rows and bits has a form of its own, and is only ever text. */
bool convert_fits_column(const Column *column, uint32_t types, bool is_pushed);

/**
 * A value of @column that is known (value_is_known()), as JSON: numbers with all their digits, json
 * and jsonb as what they hold, text and all other types as text. NaN and the infinities, which JSON
 * does not have, are text. *ret may borrow from @value.
 */
MUST_CHECK Status convert_from_column(Arena *arena, const Column *column, Value value,
                                      JsonValue *ret, Error *err);

/** @value in the text form of @column's type; null is NULL, also of a json. *ret may borrow from
 *  @value. ERROR_DATA: the column cannot hold it. */
MUST_CHECK Status convert_to_column(Arena *arena, const Column *column, const JsonValue *value,
                                    Value *ret, Error *err);
