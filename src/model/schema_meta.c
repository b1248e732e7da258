// The metaschemas of 2020-12, written out from the table of keywords: each says the same as the
// published one, without its titles, comments and defaults.
#include "base/buf.h"
#include "model/schema_keywords.h"
#include "model/schema_set.h"

enum { META_BYTES_MAX = 64 * 1024 };

#define META      "{\"$dynamicRef\":\"#meta\"}"
#define DEF(name) "{\"$ref\":\"#/$defs/" name "\"}"
#define STRINGS   "{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"uniqueItems\":true}"

static const char *shape_text(Shape shape)
{
    switch (shape) {
    case SHAPE_ANY:
        return "true";
    case SHAPE_SCHEMA:
        return META;
    case SHAPE_SCHEMAS:
        return DEF("schemaArray");
    case SHAPE_SCHEMA_MAP:
        return "{\"type\":\"object\",\"additionalProperties\":" META "}";
    case SHAPE_PATTERN_MAP:
        return "{\"type\":\"object\",\"additionalProperties\":" META
               ",\"propertyNames\":{\"format\":\"regex\"}}";
    case SHAPE_DEPENDENCIES:
        return "{\"type\":\"object\",\"additionalProperties\":{\"anyOf\":[" META
               ",{\"$ref\":\"meta/validation#/$defs/stringArray\"}]}}";
    case SHAPE_STRING:
        return "{\"type\":\"string\"}";
    case SHAPE_URI:
        return DEF("uriString");
    case SHAPE_REFERENCE:
        return DEF("uriReferenceString");
    case SHAPE_ID:
        return "{\"$ref\":\"#/$defs/uriReferenceString\",\"pattern\":\"^[^#]*#?$\"}";
    case SHAPE_ANCHOR:
        return DEF("anchorString");
    case SHAPE_VOCABULARIES:
        return "{\"type\":\"object\",\"propertyNames\":" DEF(
            "uriString") ",\"additionalProperties\":{\"type\":\"boolean\"}}";
    case SHAPE_BOOLEAN:
        return "{\"type\":\"boolean\"}";
    case SHAPE_NUMBER:
        return "{\"type\":\"number\"}";
    case SHAPE_POSITIVE:
        return "{\"type\":\"number\",\"exclusiveMinimum\":0}";
    case SHAPE_COUNT:
        return DEF("nonNegativeInteger");
    case SHAPE_TYPES:
        return "{\"anyOf\":[" DEF("simpleTypes") ",{\"type\":\"array\",\"items\":" DEF(
            "simpleTypes") ",\"minItems\":1,\"uniqueItems\":true}]}";
    case SHAPE_STRINGS:
        return DEF("stringArray");
    case SHAPE_STRINGS_MAP:
        return "{\"type\":\"object\",\"additionalProperties\":" DEF("stringArray") "}";
    case SHAPE_ARRAY:
        return "{\"type\":\"array\",\"items\":true}";
    case SHAPE_REGEX:
        return "{\"type\":\"string\",\"format\":\"regex\"}";
    }
    return "true";
}

// What the shapes of a vocabulary's keywords refer to, under the names that the standard has.
static const char *const definitions[VOCABULARIES] = {
    [VOCABULARY_CORE] =
        "\"anchorString\":{\"type\":\"string\",\"pattern\":\"^[A-Za-z_][-A-Za-z0-9._]*$\"},"
        "\"uriString\":{\"type\":\"string\",\"format\":\"uri\"},"
        "\"uriReferenceString\":{\"type\":\"string\",\"format\":\"uri-reference\"}",
    [VOCABULARY_APPLICATOR] =
        "\"schemaArray\":{\"type\":\"array\",\"minItems\":1,\"items\":" META "}",
    [VOCABULARY_VALIDATION] =
        "\"nonNegativeInteger\":{\"type\":\"integer\",\"minimum\":0},"
        "\"nonNegativeIntegerDefault0\":{\"$ref\":\"#/$defs/nonNegativeInteger\",\"default\":0},"
        "\"simpleTypes\":{\"enum\":[\"array\",\"boolean\",\"integer\",\"null\",\"number\","
        "\"object\",\"string\"]},"
        "\"stringArray\":" STRINGS,
};

static void write_head(Buf *out, const char *name)
{
    buf_printf(out,
               "{\"$schema\":\"" SCHEMA_META_BASE "schema\",\"$id\":\"" SCHEMA_META_BASE
               "%s\",\"$dynamicAnchor\":\"meta\",\"type\":[\"object\",\"boolean\"],",
               name);
}

static void write_properties(Buf *out, Vocabulary vocabulary)
{
    // Both of the format's say the same.
    Vocabulary of =
        vocabulary == VOCABULARY_FORMAT_ASSERTION ? VOCABULARY_FORMAT_ANNOTATION : vocabulary;
    const char *comma = "";
    buf_cstr(out, "\"properties\":{");
    for (Keyword keyword = 0; keyword < KEYWORDS; keyword++) {
        const KeywordInfo *info = &keyword_table[keyword];
        // Left over from earlier drafts, it is said of the metaschema as a whole.
        if (info->vocabulary == of && keyword != KEYWORD_DEPENDENCIES) {
            buf_printf(out, "%s\"%s\":%s", comma, info->name, shape_text(info->shape));
            comma = ",";
        }
    }
    buf_char(out, '}');
}

static void write_vocabulary(Buf *out, Vocabulary vocabulary)
{
    buf_printf(out, "\"$vocabulary\":{\"" SCHEMA_META_BASE "vocab/%s\":true},",
               vocabulary_names[vocabulary]);
    write_properties(out, vocabulary);
    if (definitions[vocabulary] != NULL) {
        buf_printf(out, ",\"$defs\":{%s}", definitions[vocabulary]);
    }
    buf_char(out, '}');
}

static void write_all(Buf *out)
{
    const char *comma = "";
    buf_cstr(out, "\"$vocabulary\":{");
    for (Vocabulary each = 0; each < VOCABULARIES; each++) {
        if ((VOCABULARIES_STANDARD >> each & 1) != 0) {
            buf_printf(out, "%s\"" SCHEMA_META_BASE "vocab/%s\":true", comma,
                       vocabulary_names[each]);
            comma = ",";
        }
    }
    comma = "";
    buf_cstr(out, "},\"allOf\":[");
    for (Vocabulary each = 0; each < VOCABULARIES; each++) {
        if ((VOCABULARIES_STANDARD >> each & 1) != 0) {
            buf_printf(out, "%s{\"$ref\":\"meta/%s\"}", comma, vocabulary_names[each]);
            comma = ",";
        }
    }
    // What earlier drafts had.
    buf_printf(out,
               "],\"properties\":{\"definitions\":%s,\"dependencies\":%s,"
               "\"$recursiveAnchor\":{\"$ref\":\"meta/core#/$defs/anchorString\"},"
               "\"$recursiveRef\":{\"$ref\":\"meta/core#/$defs/uriReferenceString\"}}}",
               shape_text(SHAPE_SCHEMA_MAP), shape_text(SHAPE_DEPENDENCIES));
}

Str schema_meta_text(Arena *arena, Str uri)
{
    if (!str_starts_with(uri, STR(SCHEMA_META_BASE))) {
        return (Str){0};
    }
    Str name = {uri.ptr + strlen(SCHEMA_META_BASE), uri.len - strlen(SCHEMA_META_BASE)};
    Buf out = {.max = META_BYTES_MAX};
    if (str_is(name, "schema")) {
        write_head(&out, "schema");
        write_all(&out);
    }
    for (Vocabulary each = 0; each < VOCABULARIES; each++) {
        const char *of = arena_printf(arena, "meta/%s", vocabulary_names[each]);
        if (str_is(name, of)) {
            write_head(&out, of);
            write_vocabulary(&out, each);
        }
    }
    Str text = out.len == 0 ? (Str){0} : str_copy(arena, buf_view(&out));
    buf_done(&out);
    return text;
}
