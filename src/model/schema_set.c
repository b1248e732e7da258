#include "model/schema_set.h"

#include <assert.h>

#include "base/limits.h"
#include "codec/json_read.h"
#include "model/schema_keywords.h"
#include "model/uri.h"

SchemaSet *schema_set_new(void)
{
    return mem_alloc_zero(sizeof(SchemaSet));
}

void schema_set_free(SchemaSet *set)
{
    if (set == NULL) {
        return;
    }
    map_done(&set->by_uri);
    map_done(&set->resources);
    map_done(&set->places);
    map_done(&set->anchors);
    arena_done(&set->arena);
    mem_free(set);
}

Status schema_set_add(SchemaSet *set, Str uri, Str text, Error *err)
{
    Uri parts = uri_split(uri);
    if (parts.fragment.ptr != NULL) {
        return error_set(err, ERROR_CONFIG, "the URI \"%" STR_FMT "\" of a schema has a fragment",
                         STR_ARG(uri));
    }
    Str place = uri_resolve(&set->arena, STR(""), uri); // as references are
    if (map_get(&set->by_uri, place) != NULL) {
        return error_set(err, ERROR_CONFIG, "there are two schemas at \"%" STR_FMT "\"",
                         STR_ARG(uri));
    }
    if (text.len > LIMIT_JSON_BYTES) {
        return error_set(err, ERROR_CONFIG,
                         "the schema \"%" STR_FMT "\" has %zu bytes, more than %d", STR_ARG(uri),
                         text.len, LIMIT_JSON_BYTES);
    }
    SchemaDocument *document = arena_alloc_zero(&set->arena, sizeof(*document));
    document->uri = place;
    if (json_read(&set->arena, str_copy(&set->arena, text), &document->root, err) != STATUS_OK) {
        if (err != NULL) {
            err->kind = ERROR_CONFIG;
        }
        return error_wrap(err, "the schema \"%" STR_FMT "\" is not JSON", STR_ARG(uri));
    }
    document->next = set->documents;
    set->documents = document;
    (void)map_put(&set->by_uri, document->uri, document);
    return STATUS_OK;
}

Str schema_pointer_add(Arena *arena, Str pointer, Str token)
{
    char *text = arena_alloc_bytes(arena, pointer.len + 1 + 2 * token.len);
    if (pointer.len > 0) {
        memcpy(text, pointer.ptr, pointer.len);
    }
    size_t len = pointer.len;
    text[len++] = '/';
    for (size_t i = 0; i < token.len; i++) {
        char c = token.ptr[i];
        if (c == '~' || c == '/') {
            text[len++] = '~';
            c = c == '~' ? '0' : '1';
        }
        text[len++] = c;
    }
    return (Str){text, len};
}

// ---------------------------------------------------------------------------------------------
// The index
// ---------------------------------------------------------------------------------------------

static Status index_schema(SchemaSet *set, const JsonValue *value, SchemaResource *resource,
                           Str pointer, Error *err);

static Str string_member(const JsonValue *object, Keyword keyword)
{
    const JsonValue *value = json_member(object, str_from(keyword_table[keyword].name));
    return json_is(value, JSON_STRING) ? value->text : (Str){0};
}

// Schemas of other drafts mean other things by the same words: they are left alone, and are an
// error where something refers to them.
static bool is_other_draft(const JsonValue *root)
{
    Str metaschema = string_member(root, KEYWORD_SCHEMA);
    return str_starts_with(metaschema, STR("http://json-schema.org/draft-0")) ||
           str_starts_with(metaschema, STR("https://json-schema.org/draft/2019-09/"));
}

static Status call_resource(SchemaSet *set, Str uri, SchemaResource *resource, Error *err)
{
    SchemaResource *other = map_get(&set->resources, uri);
    if (other != NULL && other != resource) {
        return error_set(err, ERROR_CONFIG, "two schemas have the URI \"%" STR_FMT "\"",
                         STR_ARG(uri));
    }
    (void)map_put(&set->resources, uri, resource);
    return STATUS_OK;
}

static SchemaResource *new_resource(SchemaSet *set, Str uri, const JsonValue *root)
{
    SchemaResource *resource = arena_alloc_zero(&set->arena, sizeof(*resource));
    resource->uri = uri;
    resource->root = root;
    resource->number = UINT32_MAX;
    resource->next = set->all_resources;
    set->all_resources = resource;
    return resource;
}

// Not by printf, as a reference's fragment may have a NUL in it.
static Str anchor_key(SchemaSet *set, const SchemaResource *resource, Str name)
{
    Str uri = resource->uri;
    char *key = arena_alloc_bytes(&set->arena, uri.len + 1 + name.len);
    if (uri.len > 0) {
        memcpy(key, uri.ptr, uri.len);
    }
    key[uri.len] = '#';
    memcpy(key + uri.len + 1, name.ptr, name.len);
    return (Str){key, uri.len + 1 + name.len};
}

SchemaAnchor *schema_set_anchor(SchemaSet *set, const SchemaResource *resource, Str name)
{
    return map_get(&set->anchors, anchor_key(set, resource, name));
}

static Status add_anchor(SchemaSet *set, SchemaPlace *place, Keyword keyword, Error *err)
{
    Str name = string_member(place->value, keyword);
    if (name.ptr == NULL) {
        return STATUS_OK;
    }
    SchemaAnchor *anchor = schema_set_anchor(set, place->resource, name);
    if (anchor != NULL && anchor->place != place) {
        return error_set(err, ERROR_CONFIG,
                         "two schemas have the anchor \"%" STR_FMT "#%" STR_FMT "\"",
                         STR_ARG(place->resource->uri), STR_ARG(name));
    }
    if (anchor == NULL) {
        anchor = arena_alloc_zero(&set->arena, sizeof(*anchor));
        anchor->place = place;
        (void)map_put(&set->anchors, anchor_key(set, place->resource, name), anchor);
    }
    anchor->is_dynamic = anchor->is_dynamic || keyword == KEYWORD_DYNAMIC_ANCHOR;
    return STATUS_OK;
}

static Status index_member(SchemaSet *set, const JsonMember *member, const SchemaPlace *place,
                           Error *err)
{
    Keyword keyword = keyword_find(member->name);
    const JsonValue *value = &member->value;
    Shape shape = keyword == KEYWORDS ? SHAPE_ANY : keyword_table[keyword].shape;
    bool is_map =
        shape == SHAPE_SCHEMA_MAP || shape == SHAPE_PATTERN_MAP || shape == SHAPE_DEPENDENCIES;
    Str pointer = schema_pointer_add(&set->arena, place->pointer, member->name);
    if (shape == SHAPE_SCHEMA) {
        return index_schema(set, value, place->resource, pointer, err);
    }
    for (uint32_t i = 0; shape == SHAPE_SCHEMAS && value->kind == JSON_ARRAY && i < value->count;
         i++) {
        Str token = str_from(arena_printf(&set->arena, "%u", i));
        if (index_schema(set, &value->items[i], place->resource,
                         schema_pointer_add(&set->arena, pointer, token), err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    for (uint32_t i = 0; is_map && value->kind == JSON_OBJECT && i < value->count; i++) {
        const JsonMember *of = &value->members[i];
        if (index_schema(set, &of->value, place->resource,
                         schema_pointer_add(&set->arena, pointer, of->name), err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// "$id" makes a resource of its own. *pointer becomes that in the resource.
static Status enter_resource(SchemaSet *set, const JsonValue *value, SchemaResource **resource,
                             Str *pointer, Error *err)
{
    Str id = string_member(value, KEYWORD_ID);
    if (id.ptr != NULL && !str_starts_with(id, STR("#"))) {
        Str uri = uri_resolve(&set->arena, (*resource)->uri, id);
        *resource = new_resource(set, uri, value);
        (*resource)->metaschema = string_member(value, KEYWORD_SCHEMA);
        *pointer = STR("");
        return call_resource(set, uri, *resource, err);
    }
    return STATUS_OK;
}

static Status index_schema(SchemaSet *set, const JsonValue *value, SchemaResource *resource,
                           Str pointer, Error *err)
{
    if ((value->kind != JSON_OBJECT && value->kind != JSON_BOOL) ||
        schema_set_place(set, value) != NULL) {
        return STATUS_OK; // compiling what is no schema is an error
    }
    Str outer = resource->metaschema;
    if (value->kind == JSON_OBJECT && value != resource->root &&
        enter_resource(set, value, &resource, &pointer, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (resource->metaschema.ptr == NULL) {
        resource->metaschema = outer;
    }
    SchemaPlace *place = arena_alloc_zero(&set->arena, sizeof(*place));
    *place = (SchemaPlace){value, resource, pointer};
    (void)map_put_u64(&set->places, (uint64_t)(uintptr_t)value, place);
    if (value->kind == JSON_BOOL) {
        return STATUS_OK;
    }
    if (add_anchor(set, place, KEYWORD_ANCHOR, err) != STATUS_OK ||
        add_anchor(set, place, KEYWORD_DYNAMIC_ANCHOR, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (uint32_t i = 0; i < value->count; i++) {
        if (index_member(set, &value->members[i], place, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status index_document(SchemaSet *set, SchemaDocument *document, Error *err)
{
    document->is_indexed = true;
    SchemaResource *resource = new_resource(set, document->uri, &document->root);
    resource->metaschema = string_member(&document->root, KEYWORD_SCHEMA);
    Str id = string_member(&document->root, KEYWORD_ID);
    if (id.ptr != NULL && !str_starts_with(id, STR("#"))) {
        resource->uri = uri_resolve(&set->arena, document->uri, id);
    }
    if (call_resource(set, document->uri, resource, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (is_other_draft(&document->root)) {
        return STATUS_OK;
    }
    if (call_resource(set, resource->uri, resource, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return index_schema(set, &document->root, resource, STR(""), err);
}

// What was found before a mistake is not all that there is: nothing may be compiled from it, now or
// later.
static Status give_mistake(const SchemaSet *set, Error *err)
{
    if (set->is_broken && err != NULL) {
        *err = set->mistake;
    }
    return set->is_broken ? STATUS_FAIL : STATUS_OK;
}

Status schema_set_index(SchemaSet *set, Error *err)
{
    for (SchemaDocument *document = set->documents; document != NULL && !set->is_broken;
         document = document->next) {
        set->is_broken =
            !document->is_indexed && index_document(set, document, &set->mistake) != STATUS_OK;
    }
    return give_mistake(set, err);
}

SchemaPlace *schema_set_place(SchemaSet *set, const JsonValue *value)
{
    return map_get_u64(&set->places, (uint64_t)(uintptr_t)value);
}

// ---------------------------------------------------------------------------------------------
// References
// ---------------------------------------------------------------------------------------------

Status schema_set_resource(SchemaSet *set, Str uri, SchemaResource **ret, Error *err)
{
    *ret = map_get(&set->resources, uri);
    if (*ret != NULL) {
        return STATUS_OK;
    }
    Str text = schema_meta_text(&set->arena, uri);
    if (text.ptr == NULL) {
        return STATUS_OK;
    }
    if (schema_set_add(set, uri, text, err) != STATUS_OK ||
        schema_set_index(set, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = map_get(&set->resources, uri);
    return STATUS_OK;
}

static bool unescape_token(Arena *arena, Str token, Str *ret)
{
    char *text = arena_alloc_bytes(arena, token.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < token.len; i++) {
        char c = token.ptr[i];
        if (c == '~') {
            i++;
            if (i == token.len || (token.ptr[i] != '0' && token.ptr[i] != '1')) {
                return false;
            }
            c = token.ptr[i] == '0' ? '~' : '/';
        }
        text[len++] = c;
    }
    *ret = (Str){text, len};
    return true;
}

static const JsonValue *child(const JsonValue *value, Str token)
{
    uint64_t index;
    if (value->kind == JSON_OBJECT) {
        return json_member(value, token);
    }
    if (value->kind != JSON_ARRAY || !str_to_uint64(token, &index) || index >= value->count ||
        (token.len > 1 && token.ptr[0] == '0')) {
        return NULL;
    }
    return &value->items[index];
}

// Follow a JSON Pointer. What it leads to need not be where schemas are expected.
static Status follow(SchemaSet *set, SchemaResource *resource, Str pointer, SchemaPlace **ret,
                     Error *err)
{
    const JsonValue *value = resource->root;
    SchemaPlace *last = schema_set_place(set, value);
    assert(last != NULL);
    Str behind = last->pointer; // of @value, in the resource of @last
    Str token;
    Str rest = {pointer.ptr + 1, pointer.len - 1};
    *ret = NULL;
    while (str_split(&rest, '/', &token)) {
        if (!unescape_token(&set->arena, token, &token)) {
            return STATUS_OK;
        }
        value = child(value, token);
        if (value == NULL) {
            return STATUS_OK;
        }
        behind = schema_pointer_add(&set->arena, behind, token);
        SchemaPlace *place = schema_set_place(set, value);
        if (place != NULL) {
            last = place;
            behind = place->pointer;
        }
    }
    if (last->value != value) {
        set->is_broken =
            index_schema(set, value, last->resource, behind, &set->mistake) != STATUS_OK;
        if (give_mistake(set, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    *ret = schema_set_place(set, value);
    return STATUS_OK;
}

static Status follow_fragment(SchemaSet *set, SchemaResource *resource, Str fragment,
                              SchemaPlace **ret, Str *ret_anchor, Error *err)
{
    *ret = NULL;
    *ret_anchor = (Str){0};
    if (fragment.len == 0) {
        *ret = schema_set_place(set, resource->root);
        return STATUS_OK;
    }
    if (fragment.ptr[0] == '/') {
        return follow(set, resource, fragment, ret, err);
    }
    SchemaAnchor *anchor = schema_set_anchor(set, resource, fragment);
    if (anchor != NULL) {
        *ret = anchor->place;
        *ret_anchor = anchor->is_dynamic ? fragment : (Str){0};
    }
    return STATUS_OK;
}

Status schema_set_resolve(SchemaSet *set, const SchemaResource *from, Str reference,
                          SchemaPlace **ret, Str *ret_anchor, Error *err)
{
    Str uri = uri_resolve(&set->arena, from->uri, reference);
    SchemaResource *resource;
    if (schema_set_resource(set, uri, &resource, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (resource == NULL) {
        (void)error_set(err, ERROR_CONFIG,
                        "\"%" STR_FMT "\" is at \"%" STR_FMT "\", where there is no schema",
                        STR_ARG(reference), STR_ARG(uri));
        return error_hint(err, "Schemas are never fetched: put the document with the others.");
    }
    if (schema_set_place(set, resource->root) == NULL) {
        return error_set(err, ERROR_CONFIG,
                         "\"%" STR_FMT
                         "\" is not a schema of JSON Schema 2020-12 (its \"$schema\" is \"%" STR_FMT
                         "\")",
                         STR_ARG(uri), STR_ARG(resource->metaschema));
    }
    Str fragment = uri_split(reference).fragment;
    if (!uri_decode(&set->arena, fragment, &fragment)) {
        return error_set(err, ERROR_CONFIG, "the reference \"%" STR_FMT "\" has a broken %%",
                         STR_ARG(reference));
    }
    SchemaPlace *place;
    if (follow_fragment(set, resource, fragment, &place, ret_anchor, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (place == NULL) {
        return error_set(err, ERROR_CONFIG, "\"%" STR_FMT "\" has no schema at \"#%" STR_FMT "\"",
                         STR_ARG(resource->uri), STR_ARG(fragment));
    }
    *ret = place;
    return STATUS_OK;
}
