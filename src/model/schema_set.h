// Where schemas are: documents, the resources in them that have a URI of their own, anchors, and
// the place of each schema. For schema_compile.c.
#pragma once

#include "base/map.h"
#include "model/schema.h"

/** A schema with a URI, and what is inside of it up to the next one. */
typedef struct SchemaResource {
    Str uri; // without a fragment
    const JsonValue *root;
    Str metaschema;  // what "$schema" says; empty: nothing, it is 2020-12
    uint32_t number; // in a program; UINT32_MAX: it has none
    struct SchemaResource *next;
} SchemaResource;

typedef struct SchemaPlace {
    const JsonValue *value;
    SchemaResource *resource;
    Str pointer; // in the resource
} SchemaPlace;

typedef struct SchemaAnchor {
    SchemaPlace *place;
    bool is_dynamic;
} SchemaAnchor;

typedef struct SchemaDocument {
    Str uri;
    JsonValue root;
    bool is_indexed;
    struct SchemaDocument *next;
} SchemaDocument;

struct SchemaSet {
    Arena arena;
    SchemaDocument *documents;
    SchemaResource *all_resources;
    Map by_uri;     // documents
    Map resources;  // by URI; one may have several
    Map places;     // by the address of the schema's value
    Map anchors;    // by URI#name
    bool is_broken; // a document has a mistake that keeps it from being looked at as a whole
    Error mistake;
};

/** Find resources, anchors and places in all documents that were not looked at so far. A mistake
 *  in one stays the set's: each further call fails with it. */
MUST_CHECK Status schema_set_index(SchemaSet *set, Error *err);

/** The resource at @uri, or NULL. Metaschemas are added when they are asked for. */
MUST_CHECK Status schema_set_resource(SchemaSet *set, Str uri, SchemaResource **ret, Error *err);

/** NULL when @resource has no such anchor. */
SchemaAnchor *schema_set_anchor(SchemaSet *set, const SchemaResource *resource, Str name);

/** What @reference in @from is. *ret_anchor is the dynamic anchor that its fragment names, or
 * empty. ERROR_CONFIG: there is nothing. */
MUST_CHECK Status schema_set_resolve(SchemaSet *set, const SchemaResource *from, Str reference,
                                     SchemaPlace **ret, Str *ret_anchor, Error *err);

/** The place of @value, which is a schema in an indexed document. */
SchemaPlace *schema_set_place(SchemaSet *set, const JsonValue *value);

/** @pointer with "/" and @token behind it, as JSON Pointer has it, in @arena. */
Str schema_pointer_add(Arena *arena, Str pointer, Str token);

// schema_dialect.c

/** The vocabularies that @resource is written with, a bit each (schema_keywords.h). ERROR_CONFIG:
 *  it needs one, or a metaschema, that is not known. */
MUST_CHECK Status schema_set_dialect(SchemaSet *set, const SchemaResource *resource, uint32_t *ret,
                                     Error *err);

// schema_meta.c

/** The text of the metaschema of 2020-12 at @uri, in @arena; ptr NULL when it is none. */
Str schema_meta_text(Arena *arena, Str uri);
