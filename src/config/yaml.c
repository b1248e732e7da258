#include "config/yaml.h"

#include <yaml.h>

#include "base/limits.h"
#include "base/mem.h"

enum { NESTING_MAX = 16, ENTRIES_MAX = 100000 };

typedef struct Reader {
    yaml_parser_t parser;
    yaml_event_t event;
    bool has_event;
    Str file;
    Arena *arena;
    Error *err;
    size_t entries;
} YamlReader;

static Status complain(YamlReader *reader, size_t line, const char *what)
{
    return error_set(reader->err, ERROR_CONFIG, "%" STR_FMT ":%zu: %s", STR_ARG(reader->file), line,
                     what);
}

static size_t event_line(const YamlReader *reader)
{
    return reader->event.start_mark.line + 1;
}

static Status next_event(YamlReader *reader)
{
    if (reader->has_event) {
        yaml_event_delete(&reader->event);
        reader->has_event = false;
    }
    if (yaml_parser_parse(&reader->parser, &reader->event) != 1) {
        const char *problem = reader->parser.problem;
        return complain(reader, reader->parser.problem_mark.line + 1,
                        problem == NULL ? "not valid YAML" : problem);
    }
    reader->has_event = true;
    return STATUS_OK;
}

static Status read_node(YamlReader *reader, int depth, YamlNode **ret);

static YamlNode *new_node(YamlReader *reader, YamlKind kind)
{
    YamlNode *node = arena_alloc_zero(reader->arena, sizeof(*node));
    node->kind = kind;
    node->line = event_line(reader);
    return node;
}

static Str event_scalar(const YamlReader *reader)
{
    return str_copy(reader->arena, (Str){(const char *)reader->event.data.scalar.value,
                                         reader->event.data.scalar.length});
}

// YAML 1.2's core schema: `no` and `on` are text, and only these are null.
static YamlNode *read_scalar(YamlReader *reader)
{
    YamlNode *node = new_node(reader, YAML_SCALAR);
    node->scalar = event_scalar(reader);
    node->is_plain = reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->is_null = node->is_plain && (node->scalar.len == 0 || str_is(node->scalar, "~") ||
                                       str_is(node->scalar, "null"));
    return node;
}

static void *grow(Arena *arena, void *old, size_t size, size_t count)
{
    // Grown at every power of two.
    if (count == 0 || (count & (count - 1)) != 0) {
        return count == 0 ? arena_alloc(arena, size) : old;
    }
    return memcpy(arena_alloc(arena, size * count * 2), old, size * count);
}

static Status add_pair(YamlReader *reader, YamlNode *node, int depth)
{
    if (reader->event.type != YAML_SCALAR_EVENT) {
        return complain(reader, event_line(reader), "a key has to be a word");
    }
    YamlPair pair = {.key = event_scalar(reader), .line = event_line(reader)};
    for (size_t i = 0; i < node->count; i++) {
        if (str_equal(node->pairs[i].key, pair.key)) {
            return error_set(reader->err, ERROR_CONFIG,
                             "%" STR_FMT ":%zu: \"%" STR_FMT "\" is given twice, first in line %zu",
                             STR_ARG(reader->file), pair.line, STR_ARG(pair.key),
                             node->pairs[i].line);
        }
    }
    if (next_event(reader) != STATUS_OK || read_node(reader, depth + 1, &pair.value) != STATUS_OK) {
        return STATUS_FAIL;
    }
    node->pairs = grow(reader->arena, node->pairs, sizeof(YamlPair), node->count);
    node->pairs[node->count++] = pair;
    return STATUS_OK;
}

static Status add_item(YamlReader *reader, YamlNode *node, int depth)
{
    YamlNode *item;
    if (read_node(reader, depth + 1, &item) != STATUS_OK) {
        return STATUS_FAIL;
    }
    node->items = grow(reader->arena, node->items, sizeof(YamlNode *), node->count);
    node->items[node->count++] = item;
    return STATUS_OK;
}

static Status read_collection(YamlReader *reader, YamlKind kind, yaml_event_type_t end, int depth,
                              YamlNode **ret)
{
    YamlNode *node = new_node(reader, kind);
    if (depth > NESTING_MAX) {
        return complain(reader, node->line, "nested too deeply");
    }
    for (;;) {
        if (next_event(reader) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (reader->event.type == end) {
            *ret = node;
            return STATUS_OK;
        }
        if (++reader->entries > ENTRIES_MAX) {
            return complain(reader, event_line(reader), "too many entries");
        }
        Status status =
            kind == YAML_MAPPING ? add_pair(reader, node, depth) : add_item(reader, node, depth);
        if (status != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
}

static Status read_node(YamlReader *reader, int depth, YamlNode **ret)
{
    switch (reader->event.type) {
    case YAML_SCALAR_EVENT:
        *ret = read_scalar(reader);
        return STATUS_OK;
    case YAML_MAPPING_START_EVENT:
        return read_collection(reader, YAML_MAPPING, YAML_MAPPING_END_EVENT, depth, ret);
    case YAML_SEQUENCE_START_EVENT:
        return read_collection(reader, YAML_SEQUENCE, YAML_SEQUENCE_END_EVENT, depth, ret);
    case YAML_ALIAS_EVENT:
        return complain(reader, event_line(reader), "aliases (*name) are not supported");
    default:
        return complain(reader, event_line(reader), "a value is missing");
    }
}

static Status read_document(YamlReader *reader, YamlNode **ret)
{
    // Stream start, document start, the root; after it document end, and nothing more.
    if (next_event(reader) != STATUS_OK || next_event(reader) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (reader->event.type == YAML_STREAM_END_EVENT) {
        return complain(reader, 1, "the file is empty");
    }
    if (next_event(reader) != STATUS_OK || read_node(reader, 0, ret) != STATUS_OK ||
        next_event(reader) != STATUS_OK || next_event(reader) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (reader->event.type != YAML_STREAM_END_EVENT) {
        return complain(reader, event_line(reader), "a second document in one file");
    }
    return STATUS_OK;
}

Status yaml_parse(Str text, Str file, Arena *arena, YamlNode **ret, Error *err)
{
    if (text.len > LIMIT_CONFIG_BYTES) {
        return error_set(err, ERROR_CONFIG, "\"%" STR_FMT "\" is larger than %d bytes",
                         STR_ARG(file), LIMIT_CONFIG_BYTES);
    }
    YamlReader reader = {.file = file, .arena = arena, .err = err};
    if (yaml_parser_initialize(&reader.parser) != 1) {
        return error_set(err, ERROR_TRANSIENT, "libyaml is out of memory");
    }
    yaml_parser_set_input_string(&reader.parser,
                                 (const unsigned char *)(text.len == 0 ? "" : text.ptr), text.len);
    YamlNode *root = NULL;
    Status status = read_document(&reader, &root);
    if (reader.has_event) {
        yaml_event_delete(&reader.event);
    }
    yaml_parser_delete(&reader.parser);
    if (status == STATUS_OK) {
        *ret = root;
    }
    return status;
}

const YamlPair *yaml_find(const YamlNode *mapping, const char *key)
{
    for (size_t i = 0; mapping != NULL && mapping->kind == YAML_MAPPING && i < mapping->count;
         i++) {
        if (str_is(mapping->pairs[i].key, key)) {
            return &mapping->pairs[i];
        }
    }
    return NULL;
}
