// Objects of models: how they are checked, and how they travel in a batch.
#pragma once

#include "change/batch.h"
#include "model/mixer.h"

/**
 * Check @object by its model, of which @validator is one. A partial object that lacks properties is
 * checked as schema_validate_part() does it: nothing is asked of what is absent. What is deleted
 * need not be valid any more: a model may have changed since it was pushed. ERROR_DATA has the
 * first problem, schema_problems() all of them.
 */
MUST_CHECK Status object_validate(const Object *object, SchemaValidator *validator, Error *err);

/**
 * As which objects of @model are carried: a relation without a key, named by the title, with a
 * column for each property. Its type is boolean, bigint, numeric or text where that is the only
 * type a property can have, beside null, and jsonb otherwise. In @arena.
 */
RETURNS_NONNULL Relation *object_relation(Arena *arena, const Model *model);

/**
 * Append @object, which is valid, to @batch. An upsert is an update: members that are absent are
 * unchanged in its new row; its old row has the search keys that were others before. A delete has
 * them absent in its old row, as are members that cannot be carried. The change's transaction and
 * ordinal are the caller's to set. ERROR_DATA, with nothing appended: an upsert has an integer of
 * more than 64 bits, text with U+0000, or a value that is too large.
 */
MUST_CHECK Status object_put(Batch *batch, const Object *object, Change **ret, Error *err);

/**
 * The object that @change carries, partial, in @arena; it may borrow from the change. Columns are
 * found by their names, as the model may have got others meanwhile. ERROR_DATA: it is no object of
 * @model, or has a property that the model does not have any more.
 */
MUST_CHECK Status object_take(const Model *model, const Change *change, Arena *arena, Object *ret,
                              Error *err);
