// A compiled schema: blocks of instructions, one block a schema. For schema_compile.c, which makes
// it, and schema_run.c and schema_message.c, which follow it.
#pragma once

#include "base/decimal.h"
#include "model/format.h"
#include "model/regex.h"
#include "model/schema.h"
#include "model/schema_keywords.h"

enum {
    SCHEMA_NONE = UINT32_MAX, // no block, no limit
    SCHEMA_NAME_UNKNOWN = 1,  // name ids begin behind it
    SCHEMA_INSTRUCTIONS_MAX = 1000000,
    SCHEMA_DEPTH_MAX = 1000,     // blocks inside each other while a value is checked
    SCHEMA_STEPS_MAX = 50000000, // of one value, until it is given up
};

typedef enum SchemaOp {
    SCHEMA_TYPE,     // a: a bit for each JsonKind, and SCHEMA_INTEGER
    SCHEMA_CONST,    // data: JsonValue
    SCHEMA_ENUM,     // data: EnumCheck
    SCHEMA_BOUND,    // data: NumberCheck; the keyword says which bound
    SCHEMA_MULTIPLE, // data: NumberCheck
    SCHEMA_LENGTH,   // a: characters, by keyword at the least or at the most
    SCHEMA_PATTERN,  // data: PatternCheck
    SCHEMA_FORMAT,   // data: FormatUse
    SCHEMA_COUNT,    // a: items or members, by keyword
    SCHEMA_UNIQUE,
    SCHEMA_ARRAY,      // data: ArrayCheck
    SCHEMA_CONTAINS,   // data: ContainsCheck
    SCHEMA_OBJECT,     // data: ObjectCheck
    SCHEMA_NAMES,      // a: block
    SCHEMA_NEEDS,      // data: NeedsCheck: if a member is there, others must be
    SCHEMA_DEPENDENT,  // a: name id, b: block
    SCHEMA_REFERENCE,  // a: block
    SCHEMA_DYNAMIC,    // a: block, b: number of the anchor's name
    SCHEMA_ALL,        // data: BlockList
    SCHEMA_ANY,        // data: BlockList
    SCHEMA_ONE,        // data: BlockList
    SCHEMA_NOT,        // a: block
    SCHEMA_IF,         // data: IfCheck
    SCHEMA_REST_ITEMS, // a: block for items that nothing else has looked at
    SCHEMA_REST_MEMBERS,
} SchemaOp;

typedef struct Instruction {
    uint8_t op;      // SchemaOp
    uint8_t keyword; // that it was made of
    uint32_t a;
    uint32_t b;
    const void *data;
} Instruction;

typedef struct Block {
    uint32_t first; // instruction
    uint32_t count;
    uint32_t resource; // number
    bool is_never;     // the schema false
    bool has_rest;     // an instruction asks what the others have looked at
    Str location;      // "URI#pointer"
} Block;

typedef struct BlockList {
    uint32_t count;
    uint32_t blocks[];
} BlockList;

typedef struct EnumCheck {
    uint32_t count;
    const JsonValue *values;
    const uint64_t *hashes; // in order
} EnumCheck;

typedef struct NumberCheck {
    Decimal number;
    Str text;
} NumberCheck;

typedef struct PatternCheck {
    const Regex *regex;
    Str text;
    uint32_t block; // of patternProperties
} PatternCheck;

typedef struct FormatUse {
    FormatCheck check;
    Str name;
} FormatUse;

typedef struct ArrayCheck {
    uint32_t items; // block
    uint32_t prefix_count;
    uint32_t prefix[];
} ArrayCheck;

typedef struct ContainsCheck {
    uint32_t block;
    uint32_t min;
    uint32_t max;
} ContainsCheck;

typedef struct PropertyCheck {
    Str name;
    uint32_t name_id;
    uint32_t block; // SCHEMA_NONE: it is only required
    bool is_required;
} PropertyCheck;

typedef struct ObjectCheck {
    uint32_t count;
    PropertyCheck *properties;
    uint32_t *slots; // of properties + 1 by name id, 0 is free; a power of two of them
    uint32_t mask;
    uint32_t required;
    uint32_t pattern_count;
    PatternCheck *patterns;
    uint32_t additional; // block
} ObjectCheck;

typedef struct NeedsCheck {
    PropertyCheck member;
    uint32_t count;
    const PropertyCheck *needed;
} NeedsCheck;

typedef struct IfCheck {
    uint32_t condition;
    uint32_t then;
    uint32_t otherwise;
} IfCheck;

typedef struct SchemaName {
    Str name;
    uint64_t hash;
    uint32_t id; // 0: the slot is free
} SchemaName;

struct Schema {
    Arena arena;
    Instruction *code;
    Block *blocks;
    uint32_t block_count;
    uint32_t resource_count;
    SchemaName *names; // open addressing, a power of two
    size_t name_capacity;
    // For each name of a dynamic anchor and each resource the block, or SCHEMA_NONE.
    uint32_t *dynamic;
    Str title;
};

/** The block is the schema false. */
static inline bool schema_block_is_never(const Schema *schema, uint32_t block)
{
    return schema->blocks[block].is_never;
}

/** From one block to another that looks at the same value. */
typedef struct BlockEdge {
    uint32_t from;
    uint32_t to;
} BlockEdge;

/** A block that comes back to itself by edges, or leads to one that does; SCHEMA_NONE: there is
 *  none. */
uint32_t schema_find_circle(Arena *scratch, const BlockEdge *edges, size_t edge_count,
                            size_t blocks);
