// Mixers: what a system says becomes objects of models, and objects become what another system
// takes. Pure functions; hub.h is where the rules come from, docs/hub.md says what they mean.
//
//     a row or a JSON object -> mixer_receive… -> Object -> mixer_push -> cells of one location
#pragma once

#include "base/error.h"
#include "base/map.h"
#include "change/change.h"
#include "model/path.h"
#include "model/schema.h"

/** A canonical model. Immutable. */
typedef struct Model {
    Str title;
    Str file; // "models/product.json": for messages
    Schema *schema;
    uint32_t property_count; // at most LIMIT_COLUMNS
    SchemaProperty *properties;
    Map by_name;              // of them
    bool *is_search_key;      // by property: some system is searched by it
    const Relation *relation; // as which its objects are carried: model/object.h
} Model;

/** Index of the property of that name, or -1. */
int model_find_property(const Model *model, Str name);

/** What goes where. */
typedef struct MixerField {
    Str name;                  // in the system, as the file has it; empty: received, and a constant
    Path path;                 // the same, taken apart
    int property;              // of the model: index; -1: pushed, and a constant
    const JsonValue *constant; // NULL: none
    Str replaced;              // a constant in which ${…} was: as the file has it, to be shown
    bool is_search_key;        // pushed
    Str origin;                // "systems/prod-db.yml:17"
} MixerField;

/** Between one location of a system and one model. */
typedef struct MixerRule {
    const Model *model;
    Str location; // as the file has it
    Str schema;   // of a table: its parts
    Str table;
    MixerField *fields; // in the order of the file; at least one; no two have one target
    size_t count;
    size_t search_key_count; // pushed: at least one
    bool is_whole;           // received: every property of the model has a field
    bool is_owner;           // received: what is deleted there is the object itself. The system's
                             // first rule for its model
    Str origin;
} MixerRule;

// ---------------------------------------------------------------------------------------------
// Objects
// ---------------------------------------------------------------------------------------------

typedef enum ObjectOp { OBJECT_UPSERT, OBJECT_DELETE } ObjectOp;

/** What a system says of one thing, in the words of a model. */
typedef struct Object {
    const Model *model;
    ObjectOp op;
    // What is absent may be there all the same: of an update, of a delete, or of a rule that does
    // not have all properties.
    bool is_partial;
    JsonValue value; // an object; its members are properties of the model, with their name_id
    // Search keys that were others before this change, as they were: an object as well.
    JsonValue before;
} Object;

/** @was is what @object was before an update: what it was found by. */
void object_was(Object *object, const Object *was, Arena *arena);

// ---------------------------------------------------------------------------------------------
// Rows of a relation
// ---------------------------------------------------------------------------------------------

/** A rule whose fields are found in a relation. Lives as long as both. */
typedef struct MixerBinding {
    const MixerRule *rule;
    const Relation *relation;
    int *columns; // by field: index; -1: a constant that is received
} MixerBinding;

/**
 * Find the columns of a rule in a table of @relation's columns, in @arena. ERROR_CONFIG, with the
 * rule's place: a column is missing, a step goes into one that is no json, or none of its values
 * could become one of the property's types (received), or the other way round (pushed).
 */
MUST_CHECK Status mixer_bind(const MixerRule *rule, bool is_pushed, const Relation *relation,
                             Arena *arena, MixerBinding *ret, Error *err);

// ---------------------------------------------------------------------------------------------
// Receiving
// ---------------------------------------------------------------------------------------------

/** A row, and what has been read of it: each value once, however many rules and paths ask for it.
 */
typedef struct MixerRow {
    const Value *values;
    const JsonValue **read; // by column; NULL: not yet
} MixerRow;

/** A row of @relation, of which what is read will be in @arena. */
MixerRow mixer_row(const Relation *relation, const Value *values, Arena *arena);

/**
 * The object that a row is by a rule that is received. @op: read, insert, update, or delete, of
 * which @row is the old row. Absent and unchanged columns, and those whose path leads nowhere, are
 * not in the object; NULL is null. A value that cannot have one of the property's types stays as it
 * is: object_validate() says so. *ret may borrow from @row and @arena. ERROR_DATA, with the
 * column's name: a value is not what its type says.
 */
MUST_CHECK Status mixer_receive_row(const MixerBinding *binding, ChangeOp op, const MixerRow *row,
                                    Arena *arena, Object *ret, Error *err);

/** The same from a JSON value; @op insert: it is whole. ERROR_DATA: it is no object. */
MUST_CHECK Status mixer_receive_json(const MixerRule *rule, ChangeOp op, const JsonValue *value,
                                     Arena *arena, Object *ret, Error *err);

/** @object, which @rule has made, did not have the search keys that it does not say: they are null.
 *  In @arena. */
void mixer_receive_no_keys(const MixerRule *rule, Object *object, Arena *arena);

// ---------------------------------------------------------------------------------------------
// Pushing
// ---------------------------------------------------------------------------------------------

typedef struct PushedCell {
    const MixerField *field; // field->path: where in the location
    JsonValue value;
} PushedCell;

/** A search key that has another value than before. */
typedef struct PushedKey {
    const MixerField *field;
    JsonValue before;
    JsonValue value;
} PushedKey;

/** What is pushed to one location. */
typedef struct PushedRow {
    const MixerRule *rule;
    ObjectOp op;
    PushedCell *cells;       // search keys by which it can be found first, in the rule's order
    size_t count;            // 0: the object says nothing about this location
    size_t search_key_count; // of them; 0, of an upsert: there is nothing to find it by
    PushedKey *changed;      // of an upsert: its first search key; NULL: it was the same before
    // An upsert only says which search keys go together, of a location that takes more, or of a
    // model that has more: it changes a row that is there, and makes none.
    bool only_if_there;
} PushedRow;

/**
 * What @object is by a rule that is pushed. An upsert has a cell for each member and each constant;
 * a search key that is null finds nothing and is a value like others. A delete has all search keys
 * and nothing else: ERROR_DATA when one is absent or null. *ret borrows from @object and @arena.
 */
MUST_CHECK Status mixer_push(const MixerRule *rule, const Object *object, Arena *arena,
                             PushedRow *ret, Error *err);

/** The same of an object that is deleted, by the search keys that it says: all that are there and
 *  not null. */
void mixer_push_delete(const MixerRule *rule, const Object *object, Arena *arena, PushedRow *ret);

/**
 * The cells of @row in text form, as a row image of the binding's relation, in @arena: all other
 * columns are absent. ERROR_DATA, with the field's place: a column cannot hold its value.
 */
MUST_CHECK Status mixer_push_values(const MixerBinding *binding, const PushedRow *row, Arena *arena,
                                    Value **ret, Error *err);
