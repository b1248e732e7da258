#include <assert.h>

#include "model/schema_program.h"

enum { REFERENCES_MAX = 16 };

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

// @left: how many references are followed.
static uint32_t types_of(const Schema *schema, uint32_t number, int left)
{
    uint32_t types = SCHEMA_ANY_TYPE;
    const Block *block = &schema->blocks[number];
    for (uint32_t i = 0; i < block->count; i++) {
        const Instruction *instruction = &schema->code[block->first + i];
        if (instruction->op == SCHEMA_TYPE) {
            uint32_t named = instruction->a;
            bool has_number = (named >> JSON_NUMBER & 1) != 0;
            types &= has_number ? named | 1U << SCHEMA_INTEGER : named;
        } else if (instruction->op == SCHEMA_REFERENCE && left > 0) {
            types &= types_of(schema, instruction->a, left - 1);
        }
    }
    return block->is_never ? 0 : types;
}

uint32_t schema_property_count(const Schema *schema)
{
    const ObjectCheck *check = object_check(schema, &schema->blocks[0]);
    return check == NULL ? 0 : check->count;
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
        .types = is_described ? types_of(schema, property->block, REFERENCES_MAX)
                              : (uint32_t)SCHEMA_ANY_TYPE,
        .is_described = is_described,
        .is_required = property->is_required,
    };
}
