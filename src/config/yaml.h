// A YAML file as a tree that knows its lines. The subset that configuration needs: mappings,
// sequences, scalars; duplicate keys, aliases and several documents are refused.
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

typedef enum YamlKind { YAML_SCALAR, YAML_MAPPING, YAML_SEQUENCE } YamlKind;

typedef struct YamlNode YamlNode;

typedef struct YamlPair {
    Str key;
    size_t line; // of the key, from 1
    YamlNode *value;
} YamlPair;

struct YamlNode {
    YamlKind kind;
    size_t line; // from 1
    Str scalar;
    bool is_null;  // an empty plain scalar, ~ or null
    bool is_plain; // a scalar without quotes
    YamlPair *pairs;
    YamlNode **items;
    size_t count;
};

/** Parse @text; @file is for messages. Everything is in @arena. */
MUST_CHECK Status yaml_parse(Str text, Str file, Arena *arena, YamlNode **ret, Error *err);

/** The value of @key in a mapping, or NULL. */
const YamlPair *yaml_find(const YamlNode *mapping, const char *key);
