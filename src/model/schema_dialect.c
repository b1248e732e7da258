// Which keywords a schema is written with: what its metaschema's "$vocabulary" says.
#include "model/schema_keywords.h"
#include "model/schema_set.h"

static Status read_vocabularies(SchemaSet *set, Str metaschema, const JsonValue *list,
                                uint32_t *ret, Error *err)
{
    *ret = 1U << VOCABULARY_CORE;
    for (uint32_t i = 0; i < list->count; i++) {
        const JsonMember *member = &list->members[i];
        uint32_t found = 0;
        for (Vocabulary each = 0; each < VOCABULARIES; each++) {
            const char *uri =
                arena_printf(&set->arena, SCHEMA_META_BASE "vocab/%s", vocabulary_names[each]);
            found |= str_is(member->name, uri) ? 1U << each : 0;
        }
        // Both vocabularies of formats have the same keyword.
        if (found == 1U << VOCABULARY_FORMAT_ASSERTION) {
            found |= 1U << VOCABULARY_FORMAT_ANNOTATION;
        }
        bool is_needed = member->value.kind != JSON_BOOL || member->value.is_true;
        if (found == 0 && is_needed) {
            return error_set(err, ERROR_CONFIG,
                             "the metaschema \"%" STR_FMT "\" needs the vocabulary \"%" STR_FMT
                             "\", which is not known",
                             STR_ARG(metaschema), STR_ARG(member->name));
        }
        *ret |= found;
    }
    return STATUS_OK;
}

Status schema_set_dialect(SchemaSet *set, const SchemaResource *resource, uint32_t *ret, Error *err)
{
    Str metaschema = resource->metaschema;
    *ret = VOCABULARIES_STANDARD;
    if (metaschema.len > 0 && metaschema.ptr[metaschema.len - 1] == '#') {
        metaschema.len--;
    }
    if (metaschema.len == 0 || str_is(metaschema, SCHEMA_META_BASE "schema")) {
        return STATUS_OK;
    }
    SchemaResource *meta;
    if (schema_set_resource(set, metaschema, &meta, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (meta == NULL) {
        (void)error_set(err, ERROR_CONFIG,
                        "\"%" STR_FMT "\" says by \"$schema\" that it is written by \"%" STR_FMT
                        "\", which is not known",
                        STR_ARG(resource->uri), STR_ARG(metaschema));
        return error_hint(err, "JSON Schema 2020-12 is \"" SCHEMA_META_BASE "schema\".");
    }
    const JsonValue *list = json_member(meta->root, STR("$vocabulary"));
    return json_is(list, JSON_OBJECT) ? read_vocabularies(set, metaschema, list, ret, err)
                                      : STATUS_OK;
}
