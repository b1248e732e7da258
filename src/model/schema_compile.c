// From documents to a program. Each schema that is reached becomes a block, once; those that it
// refers to are put on a list, so that nothing here follows the depth of a schema.
//
// A schema that comes back to itself on the same value would never end. Steps that stay on the same
// value (references, allOf and its like) must not form a circle, which is checked at the end;
// $dynamicRef, whose goal is only known later, is held by the limit of depth.
#include <assert.h>
#include <stdlib.h>

#include "model/schema_program.h"
#include "model/schema_set.h"

typedef struct Pending {
    SchemaPlace *place;
    uint32_t number; // of its block
    struct Pending *next;
} Pending;

typedef struct Compiler {
    SchemaSet *set;
    Schema *schema;
    SchemaOptions options;
    Arena scratch;
    Buf code;   // Instruction
    Buf blocks; // Block
    Buf names;  // SchemaName
    Buf edges;  // BlockEdge
    Map name_ids;
    Map block_numbers; // by the address of the schema's value: number + 1
    Map dynamic_names; // by name: number + 1
    Buf dynamic;       // Str, by number
    Buf resources;     // SchemaResource *, by number
    Map dialects;      // by metaschema: vocabularies
    Pending *pending;
    // The schema at work.
    SchemaPlace *place;
    uint32_t number;
    uint32_t vocabularies;
    Error *err;
} Compiler;

static Status fail_at(Compiler *in, Keyword keyword, const char *what)
{
    return error_set(in->err, ERROR_CONFIG, "%" STR_FMT "#%" STR_FMT "/%s %s",
                     STR_ARG(in->place->resource->uri), STR_ARG(in->place->pointer),
                     keyword_table[keyword].name, what);
}

// Puts the place before what went wrong deeper down.
static Status wrap_at(Compiler *in, Keyword keyword)
{
    return error_wrap(in->err, "%" STR_FMT "#%" STR_FMT "/%s", STR_ARG(in->place->resource->uri),
                      STR_ARG(in->place->pointer), keyword_table[keyword].name);
}

// NULL when it is not there, or belongs to a vocabulary that is not in use.
static const JsonValue *keyword_value(const Compiler *in, Keyword keyword)
{
    const KeywordInfo *info = &keyword_table[keyword];
    if ((in->vocabularies >> info->vocabulary & 1) == 0) {
        return NULL;
    }
    return json_member(in->place->value, str_from(info->name));
}

static Instruction *emit(Compiler *in, SchemaOp op, Keyword keyword)
{
    Instruction instruction = {.op = (uint8_t)op, .keyword = (uint8_t)keyword};
    buf_bytes(&in->code, &instruction, sizeof(instruction));
    char *end = in->code.ptr + in->code.len;
    return (Instruction *)(void *)(end - sizeof(instruction));
}

// ---------------------------------------------------------------------------------------------
// Blocks, names, resources
// ---------------------------------------------------------------------------------------------

static uint32_t number_resource(Compiler *in, SchemaResource *resource)
{
    size_t count = in->resources.len / sizeof(void *);
    SchemaResource *const *all = (SchemaResource *const *)(const void *)in->resources.ptr;
    if (resource->number < count && all[resource->number] == resource) {
        return resource->number;
    }
    resource->number = (uint32_t)count;
    buf_bytes(&in->resources, &resource, sizeof(void *));
    return resource->number;
}

static uint32_t block_of(Compiler *in, SchemaPlace *place)
{
    uint64_t key = (uint64_t)(uintptr_t)place->value;
    uintptr_t known = (uintptr_t)map_get_u64(&in->block_numbers, key);
    if (known != 0) {
        return (uint32_t)known - 1;
    }
    uint32_t number = (uint32_t)(in->blocks.len / sizeof(Block));
    Block block = {.resource = number_resource(in, place->resource)};
    block.location = str_from(arena_printf(&in->schema->arena, "%" STR_FMT "#%" STR_FMT,
                                           STR_ARG(place->resource->uri), STR_ARG(place->pointer)));
    buf_bytes(&in->blocks, &block, sizeof(block));
    (void)map_put_u64(&in->block_numbers, key, (void *)(uintptr_t)(number + 1));
    Pending *pending = arena_alloc(&in->scratch, sizeof(*pending));
    *pending = (Pending){place, number, in->pending};
    in->pending = pending;
    return number;
}

static uint32_t block_of_value(Compiler *in, const JsonValue *value)
{
    SchemaPlace *place = schema_set_place(in->set, value);
    assert(place != NULL); // keyword_misuse() has seen that it is a schema
    return block_of(in, place);
}

// SCHEMA_NONE when the keyword is not there.
static uint32_t block_of_keyword(Compiler *in, Keyword keyword)
{
    const JsonValue *value = keyword_value(in, keyword);
    return value == NULL ? SCHEMA_NONE : block_of_value(in, value);
}

// @to looks at the same value as the schema at work.
static void note_edge(Compiler *in, uint32_t to)
{
    BlockEdge edge = {in->number, to};
    buf_bytes(&in->edges, &edge, sizeof(edge));
}

static uint32_t id_of_name(Compiler *in, Str name)
{
    uintptr_t known = (uintptr_t)map_get(&in->name_ids, name);
    if (known != 0) {
        return (uint32_t)known;
    }
    uint32_t id = SCHEMA_NAME_UNKNOWN + 1 + (uint32_t)(in->names.len / sizeof(SchemaName));
    SchemaName entry = {.name = str_copy(&in->schema->arena, name), .id = id};
    entry.hash = hash_bytes(name.ptr, name.len);
    buf_bytes(&in->names, &entry, sizeof(entry));
    (void)map_put(&in->name_ids, entry.name, (void *)(uintptr_t)id);
    return id;
}

static PropertyCheck property_of(Compiler *in, Str name)
{
    PropertyCheck property = {.name_id = id_of_name(in, name), .block = SCHEMA_NONE};
    property.name = str_copy(&in->schema->arena, name);
    return property;
}

// ---------------------------------------------------------------------------------------------
// Assertions on values
// ---------------------------------------------------------------------------------------------

static uint32_t type_bit(Str name)
{
    for (JsonKind kind = 0; kind <= JSON_OBJECT; kind++) {
        if (str_is(name, json_kind_name(kind))) {
            return UINT32_C(1) << kind;
        }
    }
    return UINT32_C(1) << SCHEMA_INTEGER;
}

static void compile_type(Compiler *in)
{
    const JsonValue *value = keyword_value(in, KEYWORD_TYPE);
    if (value == NULL) {
        return;
    }
    uint32_t types = value->kind == JSON_STRING ? type_bit(value->text) : 0;
    for (uint32_t i = 0; value->kind == JSON_ARRAY && i < value->count; i++) {
        types |= type_bit(value->items[i].text);
    }
    emit(in, SCHEMA_TYPE, KEYWORD_TYPE)->a = types;
}

typedef struct Hashed {
    uint64_t hash;
    const JsonValue *value;
} Hashed;

static int compare_hashed(const void *a, const void *b)
{
    const Hashed *x = a;
    const Hashed *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static void compile_enum(Compiler *in)
{
    const JsonValue *value = keyword_value(in, KEYWORD_ENUM);
    if (value == NULL) {
        return;
    }
    Arena *arena = &in->schema->arena;
    Hashed *sorted = ARENA_ARRAY(&in->scratch, Hashed, value->count + 1);
    for (uint32_t i = 0; i < value->count; i++) {
        sorted[i] = (Hashed){json_hash(&value->items[i]), &value->items[i]};
    }
    qsort(sorted, value->count, sizeof(*sorted), compare_hashed);
    JsonValue *values = ARENA_ARRAY(arena, JsonValue, value->count + 1);
    uint64_t *hashes = ARENA_ARRAY(arena, uint64_t, value->count + 1);
    for (uint32_t i = 0; i < value->count; i++) {
        values[i] = json_copy(arena, sorted[i].value);
        hashes[i] = sorted[i].hash;
    }
    EnumCheck *check = arena_alloc(arena, sizeof(*check));
    *check = (EnumCheck){value->count, values, hashes};
    emit(in, SCHEMA_ENUM, KEYWORD_ENUM)->data = check;
}

static void compile_const(Compiler *in)
{
    const JsonValue *value = keyword_value(in, KEYWORD_CONST);
    if (value != NULL) {
        JsonValue *copy = arena_alloc(&in->schema->arena, sizeof(*copy));
        *copy = json_copy(&in->schema->arena, value);
        emit(in, SCHEMA_CONST, KEYWORD_CONST)->data = copy;
    }
}

static void compile_number(Compiler *in, SchemaOp op, Keyword keyword)
{
    const JsonValue *value = keyword_value(in, keyword);
    if (value == NULL) {
        return;
    }
    NumberCheck *check = arena_alloc(&in->schema->arena, sizeof(*check));
    check->text = str_copy(&in->schema->arena, value->text);
    bool is_number = decimal_parse(check->text, &check->number);
    assert(is_number); // the reader takes no other
    emit(in, op, keyword)->data = check;
}

// A count that is larger than any that can be is taken for the largest.
static uint32_t count_of(const JsonValue *value)
{
    Decimal number;
    bool is_number = decimal_parse(value->text, &number);
    assert(is_number);
    return number.is_small && number.small < SCHEMA_NONE ? (uint32_t)number.small : SCHEMA_NONE;
}

static void compile_count(Compiler *in, SchemaOp op, Keyword keyword)
{
    const JsonValue *value = keyword_value(in, keyword);
    if (value != NULL) {
        emit(in, op, keyword)->a = count_of(value);
    }
}

static Status compile_pattern(Compiler *in, Str pattern, Keyword keyword, PatternCheck *ret)
{
    *ret = (PatternCheck){.text = str_copy(&in->schema->arena, pattern), .block = SCHEMA_NONE};
    if (regex_compile(&in->schema->arena, ret->text, &ret->regex, in->err) != STATUS_OK) {
        return wrap_at(in, keyword);
    }
    return STATUS_OK;
}

static Status compile_strings(Compiler *in)
{
    compile_count(in, SCHEMA_LENGTH, KEYWORD_MAX_LENGTH);
    compile_count(in, SCHEMA_LENGTH, KEYWORD_MIN_LENGTH);
    const JsonValue *pattern = keyword_value(in, KEYWORD_PATTERN);
    if (pattern != NULL) {
        PatternCheck *check = arena_alloc(&in->schema->arena, sizeof(*check));
        if (compile_pattern(in, pattern->text, KEYWORD_PATTERN, check) != STATUS_OK) {
            return STATUS_FAIL;
        }
        emit(in, SCHEMA_PATTERN, KEYWORD_PATTERN)->data = check;
    }
    bool asserts =
        in->options.assert_formats || (in->vocabularies >> VOCABULARY_FORMAT_ASSERTION & 1) != 0;
    const JsonValue *format = asserts ? json_member(in->place->value, STR("format")) : NULL;
    FormatCheck check = format == NULL ? NULL : format_find(format->text);
    if (check != NULL) {
        FormatUse *use = arena_alloc(&in->schema->arena, sizeof(*use));
        *use = (FormatUse){check, str_copy(&in->schema->arena, format->text)};
        emit(in, SCHEMA_FORMAT, KEYWORD_FORMAT)->data = use;
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Arrays and objects
// ---------------------------------------------------------------------------------------------

static void compile_array(Compiler *in)
{
    compile_count(in, SCHEMA_COUNT, KEYWORD_MAX_ITEMS);
    compile_count(in, SCHEMA_COUNT, KEYWORD_MIN_ITEMS);
    const JsonValue *unique = keyword_value(in, KEYWORD_UNIQUE_ITEMS);
    if (unique != NULL && unique->is_true) {
        (void)emit(in, SCHEMA_UNIQUE, KEYWORD_UNIQUE_ITEMS);
    }
    const JsonValue *prefix = keyword_value(in, KEYWORD_PREFIX_ITEMS);
    uint32_t items = block_of_keyword(in, KEYWORD_ITEMS);
    if (prefix != NULL || items != SCHEMA_NONE) {
        uint32_t count = prefix == NULL ? 0 : prefix->count;
        ArrayCheck *check =
            arena_alloc(&in->schema->arena, sizeof(*check) + count * sizeof(uint32_t));
        check->items = items;
        check->prefix_count = count;
        for (uint32_t i = 0; i < count; i++) {
            check->prefix[i] = block_of_value(in, &prefix->items[i]);
        }
        emit(in, SCHEMA_ARRAY, KEYWORD_ITEMS)->data = check;
    }
    uint32_t contains = block_of_keyword(in, KEYWORD_CONTAINS);
    if (contains != SCHEMA_NONE) {
        const JsonValue *min = keyword_value(in, KEYWORD_MIN_CONTAINS);
        const JsonValue *max = keyword_value(in, KEYWORD_MAX_CONTAINS);
        ContainsCheck *check = arena_alloc(&in->schema->arena, sizeof(*check));
        *check = (ContainsCheck){contains, min == NULL ? 1 : count_of(min),
                                 max == NULL ? SCHEMA_NONE : count_of(max)};
        emit(in, SCHEMA_CONTAINS, KEYWORD_CONTAINS)->data = check;
    }
}

static PropertyCheck *find_property(ObjectCheck *check, uint32_t name_id)
{
    uint32_t slot = name_id & check->mask;
    while (check->slots[slot] != 0) {
        PropertyCheck *property = &check->properties[check->slots[slot] - 1];
        if (property->name_id == name_id) {
            return property;
        }
        slot = (slot + 1) & check->mask;
    }
    return NULL;
}

static PropertyCheck *put_property(Compiler *in, ObjectCheck *check, Str name)
{
    PropertyCheck property = property_of(in, name);
    PropertyCheck *known = find_property(check, property.name_id);
    if (known != NULL) {
        return known;
    }
    uint32_t slot = property.name_id & check->mask;
    while (check->slots[slot] != 0) {
        slot = (slot + 1) & check->mask;
    }
    check->properties[check->count] = property;
    check->slots[slot] = ++check->count;
    return &check->properties[check->count - 1];
}

static void put_properties(Compiler *in, ObjectCheck *check, const JsonValue *properties,
                           const JsonValue *required)
{
    uint32_t most =
        (properties == NULL ? 0 : properties->count) + (required == NULL ? 0 : required->count);
    uint32_t capacity = 4;
    while (capacity < most * 2) {
        capacity *= 2;
    }
    check->properties = ARENA_ARRAY(&in->schema->arena, PropertyCheck, most + 1);
    check->slots = ARENA_ARRAY(&in->schema->arena, uint32_t, capacity);
    check->mask = capacity - 1;
    for (uint32_t i = 0; properties != NULL && i < properties->count; i++) {
        const JsonMember *member = &properties->members[i];
        put_property(in, check, member->name)->block = block_of_value(in, &member->value);
    }
    for (uint32_t i = 0; required != NULL && i < required->count; i++) {
        put_property(in, check, required->items[i].text)->is_required = true;
        check->required++; // they are distinct
    }
}

static Status put_patterns(Compiler *in, ObjectCheck *check, const JsonValue *patterns)
{
    if (patterns == NULL) {
        return STATUS_OK;
    }
    check->patterns = ARENA_ARRAY(&in->schema->arena, PatternCheck, patterns->count + 1);
    for (uint32_t i = 0; i < patterns->count; i++) {
        const JsonMember *member = &patterns->members[i];
        PatternCheck *pattern = &check->patterns[check->pattern_count++];
        if (compile_pattern(in, member->name, KEYWORD_PATTERN_PROPERTIES, pattern) != STATUS_OK) {
            return STATUS_FAIL;
        }
        pattern->block = block_of_value(in, &member->value);
    }
    return STATUS_OK;
}

static Status compile_members(Compiler *in)
{
    const JsonValue *properties = keyword_value(in, KEYWORD_PROPERTIES);
    const JsonValue *patterns = keyword_value(in, KEYWORD_PATTERN_PROPERTIES);
    const JsonValue *required = keyword_value(in, KEYWORD_REQUIRED);
    uint32_t additional = block_of_keyword(in, KEYWORD_ADDITIONAL_PROPERTIES);
    if (properties == NULL && patterns == NULL && required == NULL && additional == SCHEMA_NONE) {
        return STATUS_OK;
    }
    ObjectCheck *check = arena_alloc_zero(&in->schema->arena, sizeof(*check));
    check->additional = additional;
    put_properties(in, check, properties, required);
    if (put_patterns(in, check, patterns) != STATUS_OK) {
        return STATUS_FAIL;
    }
    emit(in, SCHEMA_OBJECT, KEYWORD_PROPERTIES)->data = check;
    return STATUS_OK;
}

static void compile_needs(Compiler *in, Keyword keyword, const JsonMember *member)
{
    NeedsCheck *check = arena_alloc_zero(&in->schema->arena, sizeof(*check));
    PropertyCheck *needed = ARENA_ARRAY(&in->schema->arena, PropertyCheck, member->value.count + 1);
    for (uint32_t i = 0; i < member->value.count; i++) {
        needed[i] = property_of(in, member->value.items[i].text);
    }
    *check = (NeedsCheck){property_of(in, member->name), member->value.count, needed};
    emit(in, SCHEMA_NEEDS, keyword)->data = check;
}

static void compile_dependents(Compiler *in, Keyword keyword)
{
    const JsonValue *value = keyword_value(in, keyword);
    for (uint32_t i = 0; value != NULL && i < value->count; i++) {
        const JsonMember *member = &value->members[i];
        if (member->value.kind == JSON_ARRAY) {
            compile_needs(in, keyword, member);
            continue;
        }
        uint32_t name = id_of_name(in, member->name);
        uint32_t block = block_of_value(in, &member->value);
        note_edge(in, block);
        Instruction *instruction = emit(in, SCHEMA_DEPENDENT, keyword);
        instruction->a = name;
        instruction->b = block;
    }
}

static Status compile_object(Compiler *in)
{
    compile_count(in, SCHEMA_COUNT, KEYWORD_MAX_PROPERTIES);
    compile_count(in, SCHEMA_COUNT, KEYWORD_MIN_PROPERTIES);
    if (compile_members(in) != STATUS_OK) {
        return STATUS_FAIL;
    }
    uint32_t names = block_of_keyword(in, KEYWORD_PROPERTY_NAMES);
    if (names != SCHEMA_NONE) {
        emit(in, SCHEMA_NAMES, KEYWORD_PROPERTY_NAMES)->a = names;
    }
    compile_dependents(in, KEYWORD_DEPENDENT_REQUIRED);
    compile_dependents(in, KEYWORD_DEPENDENT_SCHEMAS);
    compile_dependents(in, KEYWORD_DEPENDENCIES);
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Schemas on the same value
// ---------------------------------------------------------------------------------------------

static void compile_list(Compiler *in, SchemaOp op, Keyword keyword)
{
    const JsonValue *value = keyword_value(in, keyword);
    if (value == NULL) {
        return;
    }
    BlockList *list =
        arena_alloc(&in->schema->arena, sizeof(*list) + value->count * sizeof(uint32_t));
    list->count = value->count;
    for (uint32_t i = 0; i < value->count; i++) {
        list->blocks[i] = block_of_value(in, &value->items[i]);
        note_edge(in, list->blocks[i]);
    }
    emit(in, op, keyword)->data = list;
}

static void compile_if(Compiler *in)
{
    IfCheck check = {block_of_keyword(in, KEYWORD_IF), block_of_keyword(in, KEYWORD_THEN),
                     block_of_keyword(in, KEYWORD_ELSE)};
    if (check.condition == SCHEMA_NONE) {
        return;
    }
    IfCheck *kept = arena_alloc(&in->schema->arena, sizeof(*kept));
    *kept = check;
    const uint32_t parts[] = {check.condition, check.then, check.otherwise};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (parts[i] != SCHEMA_NONE) {
            note_edge(in, parts[i]);
        }
    }
    emit(in, SCHEMA_IF, KEYWORD_IF)->data = kept;
}

static uint32_t number_dynamic_name(Compiler *in, Str name)
{
    uintptr_t known = (uintptr_t)map_get(&in->dynamic_names, name);
    if (known == 0) {
        Str copy = str_copy(&in->scratch, name);
        buf_bytes(&in->dynamic, &copy, sizeof(copy));
        known = in->dynamic.len / sizeof(copy);
        (void)map_put(&in->dynamic_names, copy, (void *)known);
    }
    return (uint32_t)known - 1;
}

static Status compile_reference(Compiler *in, Keyword keyword)
{
    const JsonValue *value = keyword_value(in, keyword);
    if (value == NULL) {
        return STATUS_OK;
    }
    SchemaPlace *place = NULL;
    Str anchor;
    if (schema_set_resolve(in->set, in->place->resource, value->text, &place, &anchor, in->err) !=
        STATUS_OK) {
        return wrap_at(in, keyword);
    }
    uint32_t block = block_of(in, place);
    note_edge(in, block);
    // Where it leads to by its text has to be a dynamic anchor; otherwise it is an ordinary
    // reference.
    bool is_dynamic = keyword == KEYWORD_DYNAMIC_REF && anchor.len > 0;
    uint32_t name = is_dynamic ? number_dynamic_name(in, anchor) : 0;
    Instruction *instruction = emit(in, is_dynamic ? SCHEMA_DYNAMIC : SCHEMA_REFERENCE, keyword);
    instruction->a = block;
    instruction->b = name;
    return STATUS_OK;
}

static Status compile_same_value(Compiler *in)
{
    if (compile_reference(in, KEYWORD_REF) != STATUS_OK ||
        compile_reference(in, KEYWORD_DYNAMIC_REF) != STATUS_OK) {
        return STATUS_FAIL;
    }
    compile_list(in, SCHEMA_ALL, KEYWORD_ALL_OF);
    compile_list(in, SCHEMA_ANY, KEYWORD_ANY_OF);
    compile_list(in, SCHEMA_ONE, KEYWORD_ONE_OF);
    uint32_t not = block_of_keyword(in, KEYWORD_NOT);
    if (not != SCHEMA_NONE) {
        note_edge(in, not );
        emit(in, SCHEMA_NOT, KEYWORD_NOT)->a = not ;
    }
    compile_if(in);
    return STATUS_OK;
}

// Last, as they ask what all others have looked at.
static bool compile_rest(Compiler *in)
{
    uint32_t items = block_of_keyword(in, KEYWORD_UNEVALUATED_ITEMS);
    uint32_t members = block_of_keyword(in, KEYWORD_UNEVALUATED_PROPERTIES);
    if (items != SCHEMA_NONE) {
        emit(in, SCHEMA_REST_ITEMS, KEYWORD_UNEVALUATED_ITEMS)->a = items;
    }
    if (members != SCHEMA_NONE) {
        emit(in, SCHEMA_REST_MEMBERS, KEYWORD_UNEVALUATED_PROPERTIES)->a = members;
    }
    return items != SCHEMA_NONE || members != SCHEMA_NONE;
}

// ---------------------------------------------------------------------------------------------
// Dialects
// ---------------------------------------------------------------------------------------------

static Status enter_dialect(Compiler *in)
{
    Str metaschema = in->place->resource->metaschema;
    uintptr_t known = (uintptr_t)map_get(&in->dialects, metaschema);
    if (known == 0) {
        uint32_t vocabularies;
        if (schema_set_dialect(in->set, in->place->resource, &vocabularies, in->err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        known = vocabularies;
        (void)map_put(&in->dialects, metaschema, (void *)known);
    }
    in->vocabularies = (uint32_t)known;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// All
// ---------------------------------------------------------------------------------------------

static Status check_keywords(Compiler *in)
{
    const JsonValue *value = in->place->value;
    for (uint32_t i = 0; i < value->count; i++) {
        Keyword keyword = keyword_find(value->members[i].name);
        if (keyword == KEYWORDS || keyword_value(in, keyword) == NULL) {
            continue;
        }
        const char *misuse = keyword_misuse(keyword, &value->members[i].value);
        if (misuse != NULL) {
            return fail_at(in, keyword, misuse);
        }
    }
    return STATUS_OK;
}

// Also those that nothing refers to: a mistake in one is a mistake.
static void compile_definitions(Compiler *in)
{
    const JsonValue *defs = keyword_value(in, KEYWORD_DEFS);
    for (uint32_t i = 0; defs != NULL && i < defs->count; i++) {
        (void)block_of_value(in, &defs->members[i].value);
    }
    (void)block_of_keyword(in, KEYWORD_CONTENT_SCHEMA);
}

static Status compile_keywords(Compiler *in, bool *ret_has_rest)
{
    if (enter_dialect(in) != STATUS_OK || check_keywords(in) != STATUS_OK) {
        return STATUS_FAIL;
    }
    compile_type(in);
    compile_const(in);
    compile_enum(in);
    compile_number(in, SCHEMA_BOUND, KEYWORD_MINIMUM);
    compile_number(in, SCHEMA_BOUND, KEYWORD_EXCLUSIVE_MINIMUM);
    compile_number(in, SCHEMA_BOUND, KEYWORD_MAXIMUM);
    compile_number(in, SCHEMA_BOUND, KEYWORD_EXCLUSIVE_MAXIMUM);
    compile_number(in, SCHEMA_MULTIPLE, KEYWORD_MULTIPLE_OF);
    if (compile_strings(in) != STATUS_OK) {
        return STATUS_FAIL;
    }
    compile_array(in);
    if (compile_object(in) != STATUS_OK || compile_same_value(in) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret_has_rest = compile_rest(in);
    compile_definitions(in);
    return STATUS_OK;
}

static Status compile_block(Compiler *in, const Pending *pending)
{
    in->place = pending->place;
    in->number = pending->number;
    const JsonValue *value = pending->place->value;
    size_t first = in->code.len / sizeof(Instruction);
    bool has_rest = false;
    if (value->kind == JSON_OBJECT && compile_keywords(in, &has_rest) != STATUS_OK) {
        return STATUS_FAIL;
    }
    size_t count = in->code.len / sizeof(Instruction) - first;
    if (first + count > SCHEMA_INSTRUCTIONS_MAX) {
        return error_set(in->err, ERROR_CONFIG, "the schema is larger than %d instructions",
                         SCHEMA_INSTRUCTIONS_MAX);
    }
    Block *block = &((Block *)(void *)in->blocks.ptr)[pending->number];
    block->first = (uint32_t)first;
    block->count = (uint32_t)count;
    block->has_rest = has_rest;
    block->is_never = value->kind == JSON_BOOL && !value->is_true;
    return STATUS_OK;
}

static Status compile_pending(Compiler *in)
{
    while (in->pending != NULL) {
        Pending *pending = in->pending;
        in->pending = pending->next;
        if (compile_block(in, pending) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// In which resources the names of dynamic anchors have a schema; each of them is compiled, and may
// have further resources and names.
static Status compile_dynamic(Compiler *in)
{
    size_t names;
    size_t resources;
    do {
        names = in->dynamic.len / sizeof(Str);
        resources = in->resources.len / sizeof(void *);
        if (names * resources > SCHEMA_INSTRUCTIONS_MAX) {
            return error_set(in->err, ERROR_CONFIG,
                             "the schema has %zu names of dynamic anchors in %zu resources: "
                             "together they may be %d",
                             names, resources, SCHEMA_INSTRUCTIONS_MAX);
        }
        for (size_t i = 0; i < names * resources; i++) {
            SchemaResource *resource = ((SchemaResource **)(void *)in->resources.ptr)[i / names];
            Str name = ((Str *)(void *)in->dynamic.ptr)[i % names];
            SchemaAnchor *anchor = schema_set_anchor(in->set, resource, name);
            if (anchor != NULL && anchor->is_dynamic) {
                (void)block_of(in, anchor->place);
            }
        }
        if (compile_pending(in) != STATUS_OK) {
            return STATUS_FAIL;
        }
    } while (names != in->dynamic.len / sizeof(Str) ||
             resources != in->resources.len / sizeof(void *));
    in->schema->resource_count = (uint32_t)resources;
    in->schema->dynamic = ARENA_ARRAY(&in->schema->arena, uint32_t, names * resources + 1);
    for (size_t i = 0; i < names * resources; i++) {
        SchemaResource *resource = ((SchemaResource **)(void *)in->resources.ptr)[i % resources];
        Str name = ((Str *)(void *)in->dynamic.ptr)[i / resources];
        SchemaAnchor *anchor = schema_set_anchor(in->set, resource, name);
        in->schema->dynamic[i] = anchor != NULL && anchor->is_dynamic ? block_of(in, anchor->place)
                                                                      : (uint32_t)SCHEMA_NONE;
    }
    return STATUS_OK;
}

static Status check_circles(Compiler *in)
{
    size_t blocks = in->blocks.len / sizeof(Block);
    const BlockEdge *edges = (const BlockEdge *)(const void *)in->edges.ptr;
    uint32_t found =
        schema_find_circle(&in->scratch, edges, in->edges.len / sizeof(*edges), blocks);
    if (found == SCHEMA_NONE) {
        return STATUS_OK;
    }
    const Block *block = &((const Block *)(const void *)in->blocks.ptr)[found];
    return error_set(in->err, ERROR_CONFIG,
                     "the schema %" STR_FMT
                     " refers to itself without looking at a part of the value",
                     STR_ARG(block->location));
}

static void keep_names(Compiler *in)
{
    size_t count = in->names.len / sizeof(SchemaName);
    size_t capacity = 8;
    while (capacity < count * 2) {
        capacity *= 2;
    }
    Schema *schema = in->schema;
    schema->name_capacity = capacity;
    schema->names = ARENA_ARRAY(&schema->arena, SchemaName, capacity);
    for (size_t i = 0; i < count; i++) {
        const SchemaName *name = &((const SchemaName *)(const void *)in->names.ptr)[i];
        size_t slot = name->hash & (capacity - 1);
        while (schema->names[slot].id != 0) {
            slot = (slot + 1) & (capacity - 1);
        }
        schema->names[slot] = *name;
    }
}

static void keep_program(Compiler *in)
{
    Schema *schema = in->schema;
    schema->code = arena_alloc(&schema->arena, in->code.len + 1);
    if (in->code.len > 0) {
        memcpy(schema->code, in->code.ptr, in->code.len);
    }
    schema->blocks = arena_alloc(&schema->arena, in->blocks.len);
    memcpy(schema->blocks, in->blocks.ptr, in->blocks.len);
    schema->block_count = (uint32_t)(in->blocks.len / sizeof(Block));
    keep_names(in);
}

static Status compile_all(Compiler *in, Str uri)
{
    SchemaPlace *root = NULL;
    Str anchor;
    static const SchemaResource nowhere = {.uri = {"", 0}};
    if (schema_set_index(in->set, in->err) != STATUS_OK ||
        schema_set_resolve(in->set, &nowhere, uri, &root, &anchor, in->err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const JsonValue *title = json_member(root->value, STR("title"));
    if (json_is(title, JSON_STRING)) {
        in->schema->title = str_copy(&in->schema->arena, title->text);
    }
    (void)block_of(in, root); // the first: number 0
    if (compile_pending(in) != STATUS_OK || compile_dynamic(in) != STATUS_OK ||
        check_circles(in) != STATUS_OK) {
        return STATUS_FAIL;
    }
    keep_program(in);
    return STATUS_OK;
}

Status schema_compile(SchemaSet *set, Str uri, const SchemaOptions *options, Schema **ret,
                      Error *err)
{
    Compiler in = {.set = set, .options = *options, .err = err};
    in.schema = mem_alloc_zero(sizeof(Schema));
    Buf *const bufs[] = {&in.code, &in.blocks, &in.names, &in.edges, &in.dynamic, &in.resources};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++) {
        buf_init(bufs[i], SIZE_MAX / 2); // bounded by the documents' size
    }
    Status status = compile_all(&in, uri);
    if (status == STATUS_OK) {
        *ret = in.schema;
    } else {
        schema_free(in.schema);
    }
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++) {
        buf_done(bufs[i]);
    }
    map_done(&in.name_ids);
    map_done(&in.block_numbers);
    map_done(&in.dynamic_names);
    map_done(&in.dialects);
    arena_done(&in.scratch);
    return status;
}

void schema_free(Schema *schema)
{
    if (schema != NULL) {
        arena_done(&schema->arena);
        mem_free(schema);
    }
}

Str schema_title(const Schema *schema)
{
    return schema->title;
}

uint32_t schema_name_id(const Schema *schema, Str name)
{
    uint64_t hash = hash_bytes(name.ptr, name.len);
    size_t slot = hash & (schema->name_capacity - 1);
    while (schema->names[slot].id != 0) {
        const SchemaName *known = &schema->names[slot];
        if (known->hash == hash && str_equal(known->name, name)) {
            return known->id;
        }
        slot = (slot + 1) & (schema->name_capacity - 1);
    }
    return SCHEMA_NAME_UNKNOWN;
}
