// What the parts of the patterns' machine share: regex_parse.c, regex_class.c, regex.c.
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

typedef struct CharacterRange {
    uint32_t from;
    uint32_t to; // inclusive
} CharacterRange;

/** A set of characters: in order and apart once class_finish() is done. */
typedef struct CharacterClass {
    CharacterRange *ranges;
    size_t count;
    size_t capacity;
    uint64_t ascii[2]; // a bit each
} CharacterClass;

void class_add(Arena *arena, CharacterClass *class, uint32_t from, uint32_t to);
void class_add_class(Arena *arena, CharacterClass *class, const CharacterClass *other);

/** All of the categories (model/unicode.h) that have their bit. */
void class_add_categories(Arena *arena, CharacterClass *class, uint32_t categories);

/** \d, \s or \w, by its letter; the large letter is the complement. */
void class_add_escape(Arena *arena, CharacterClass *class, char letter);

/** Sort the ranges and join them. */
void class_finish(CharacterClass *class);

/** The complement of a finished class, finished. */
CharacterClass class_complement(Arena *arena, const CharacterClass *class);

/** Of a finished class. */
bool class_has(const CharacterClass *class, uint32_t point);

typedef enum NodeKind {
    NODE_CLASS,
    NODE_SEQUENCE,    // all in the list, one behind the other
    NODE_CHOICE,      // one of those in the list
    NODE_REPEAT,      // first, from min to max times
    NODE_BEGIN,       // ^
    NODE_END,         // $
    NODE_BOUNDARY,    // \b
    NODE_NO_BOUNDARY, // \B
    NODE_LOOK,        // first, from here on or up to here
    NODE_REFERENCE,   // back to a group
} NodeKind;

enum { REPEAT_ENDLESS = UINT32_MAX };

typedef struct Node {
    NodeKind kind;
    struct Node *first; // of the list; what is repeated or looked for
    struct Node *last;  // of the list
    struct Node *next;  // neighbours in the list that this node is in
    struct Node *before;
    CharacterClass class;
    uint32_t min;
    uint32_t max;
    bool is_behind; // of a look
    bool is_negated;
    uint32_t look; // its number, from 1; 0: it has none yet
} Node;

/** ERROR_CONFIG: @pattern is none by ECMA-262. */
MUST_CHECK Status regex_parse(Arena *arena, Str pattern, Node **ret, Error *err);
