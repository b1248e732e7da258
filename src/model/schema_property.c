#include <assert.h>

#include "model/schema_program.h"

enum { BLOCKS_MAX = 1000 };

// NULL: the block says nothing about members.
static const ObjectCheck *object_check(const Schema *schema, const Block *block)
{
    for (uint32_t i = 0; i < block->count; i++) {
        if (schema->code[block->first + i].op == SCHEMA_OBJECT) {
            return schema->code[block->first + i].data;
        }
    }
    return NULL;
}

// Looks at blocks until it has seen so many: what it does not look at may be of any type.
typedef struct TypeSearch {
    const Schema *schema;
    uint32_t left;
} TypeSearch;

static uint32_t types_of(TypeSearch *search, uint32_t number);

static uint32_t types_of_value(const JsonValue *value)
{
    Decimal number;
    bool is_fraction = value->kind == JSON_NUMBER && decimal_parse(value->text, &number) &&
                       !decimal_is_integer(&number);
    if (value->kind != JSON_NUMBER) {
        return 1U << value->kind;
    }
    return is_fraction ? 1U << JSON_NUMBER | 1U << SCHEMA_INTEGER : 1U << SCHEMA_INTEGER;
}

static uint32_t types_of_enum(const EnumCheck *check)
{
    uint32_t types = 0;
    for (uint32_t i = 0; i < check->count; i++) {
        types |= types_of_value(&check->values[i]);
    }
    return types;
}

static uint32_t types_of_any(TypeSearch *search, const BlockList *list)
{
    uint32_t types = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        types |= types_of(search, list->blocks[i]);
    }
    return types;
}

static uint32_t types_of_all(TypeSearch *search, const BlockList *list)
{
    uint32_t types = SCHEMA_ANY_TYPE;
    for (uint32_t i = 0; i < list->count; i++) {
        types &= types_of(search, list->blocks[i]);
    }
    return types;
}

static uint32_t types_of_instruction(TypeSearch *search, const Instruction *instruction)
{
    uint32_t named = instruction->a;
    switch ((SchemaOp)instruction->op) {
    case SCHEMA_TYPE:
        return (named >> JSON_NUMBER & 1) != 0 ? named | 1U << SCHEMA_INTEGER : named;
    case SCHEMA_CONST:
        return types_of_value(instruction->data);
    case SCHEMA_ENUM:
        return types_of_enum(instruction->data);
    case SCHEMA_REFERENCE:
        return types_of(search, instruction->a);
    case SCHEMA_ALL:
        return types_of_all(search, instruction->data);
    case SCHEMA_ANY:
    case SCHEMA_ONE:
        return types_of_any(search, instruction->data);
    default:
        return SCHEMA_ANY_TYPE;
    }
}

static uint32_t types_of(TypeSearch *search, uint32_t number)
{
    const Block *block = &search->schema->blocks[number];
    uint32_t types = SCHEMA_ANY_TYPE;
    if (block->is_never) {
        return 0;
    }
    if (search->left == 0) {
        return types;
    }
    search->left--;
    for (uint32_t i = 0; i < block->count; i++) {
        types &= types_of_instruction(search, &search->schema->code[block->first + i]);
    }
    return types;
}

static uint32_t types_of_block(const Schema *schema, uint32_t number)
{
    TypeSearch search = {schema, BLOCKS_MAX};
    return types_of(&search, number);
}

uint32_t schema_property_count(const Schema *schema)
{
    const ObjectCheck *check = object_check(schema, &schema->blocks[0]);
    return check == NULL ? 0 : check->count;
}

uint32_t schema_types(const Schema *schema)
{
    return types_of_block(schema, 0);
}

SchemaProperty schema_property(const Schema *schema, uint32_t index)
{
    const ObjectCheck *check = object_check(schema, &schema->blocks[0]);
    assert(check != NULL && index < check->count);
    const PropertyCheck *property = &check->properties[index];
    bool is_described = property->block != SCHEMA_NONE;
    return (SchemaProperty){
        .name = property->name,
        .name_id = property->name_id,
        .types = is_described ? types_of_block(schema, property->block) : (uint32_t)SCHEMA_ANY_TYPE,
        .is_described = is_described,
        .is_required = property->is_required,
    };
}
