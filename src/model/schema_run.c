// Follows the program of a schema over a value. A first run stops at the first thing that is wrong
// and says nothing; only when there is one, a second run goes through all and reports.
#include "model/schema_run.h"

#include <assert.h>
#include <stdlib.h>

#include "base/utf8.h"

// Which items or members have been looked at: bits in SchemaValidator.evaluated from @at on. Those
// that unevaluatedItems and unevaluatedProperties ask about.
typedef struct Evaluated {
    size_t at; // in words
    size_t words;
} Evaluated;

// Resources that were entered on the way here: what $dynamicRef looks through.
typedef struct Scope {
    const struct Scope *outer;
    uint32_t resource;
} Scope;

// What an instruction is run with.
typedef struct Frame {
    const Block *block;
    const JsonValue *value;
    const InstancePath *path;
    const Scope *scope;
    Evaluated *evaluated;  // NULL: nobody asks
    const Decimal *number; // what the value is as a number; NULL: it is none
} Frame;

static bool run_block(SchemaValidator *on, uint32_t number, const Frame *from,
                      const JsonValue *value, const InstancePath *path, Evaluated *evaluated);

static bool give_up(SchemaValidator *on, const char *why)
{
    if (on->given_up == NULL) {
        on->given_up = why;
    }
    return false;
}

static bool spend(SchemaValidator *on, uint64_t steps)
{
    if (on->steps <= steps) {
        on->steps = 0;
        return give_up(on, "it takes too many steps");
    }
    on->steps -= steps;
    return true;
}

static void drop_scratch(SchemaValidator *on)
{
    if (on->scratch.total > 0) {
        arena_reset(&on->scratch);
    }
}

// ---------------------------------------------------------------------------------------------
// What has been looked at
// ---------------------------------------------------------------------------------------------

static uint64_t *words_of(SchemaValidator *on, const Evaluated *set)
{
    return (uint64_t *)(void *)on->evaluated.ptr + set->at;
}

// An empty set for the parts of @value. They are given back in the opposite order.
static Evaluated push_set(SchemaValidator *on, const JsonValue *value)
{
    uint32_t parts = value->kind >= JSON_ARRAY ? value->count : 0;
    Evaluated set = {on->evaluated.len / sizeof(uint64_t), (parts + 63) / 64};
    static const uint64_t none;
    for (size_t i = 0; i < set.words; i++) {
        buf_bytes(&on->evaluated, &none, sizeof(none));
    }
    return set;
}

static void pop_set(SchemaValidator *on, const Evaluated *set)
{
    on->evaluated.len = set->at * sizeof(uint64_t);
}

static void mark(SchemaValidator *on, const Evaluated *set, uint32_t part)
{
    if (set != NULL) {
        words_of(on, set)[part / 64] |= UINT64_C(1) << part % 64;
    }
}

static bool is_marked(SchemaValidator *on, const Evaluated *set, uint32_t part)
{
    return (words_of(on, set)[part / 64] >> part % 64 & 1) != 0;
}

static void merge(SchemaValidator *on, const Evaluated *into, const Evaluated *from)
{
    for (size_t i = 0; i < from->words; i++) {
        words_of(on, into)[i] |= words_of(on, from)[i];
    }
}

// ---------------------------------------------------------------------------------------------
// Values alone
// ---------------------------------------------------------------------------------------------

// Text of a typed field may be NaN, which is no number of JSON's: no type has it, and no bound.
static bool run_type(const Instruction *instruction, const Frame *frame)
{
    bool is_named = (instruction->a >> frame->value->kind & 1) != 0;
    if (frame->value->kind != JSON_NUMBER || frame->number == NULL) {
        return is_named && frame->value->kind != JSON_NUMBER;
    }
    return is_named ||
           ((instruction->a >> SCHEMA_INTEGER & 1) != 0 && decimal_is_integer(frame->number));
}

static bool run_enum(const EnumCheck *check, const JsonValue *value)
{
    uint64_t hash = json_hash(value);
    uint32_t low = 0;
    uint32_t high = check->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (check->hashes[middle] < hash) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < check->count && check->hashes[low] == hash; low++) {
        if (json_equal(&check->values[low], value)) {
            return true;
        }
    }
    return false;
}

static bool run_bound(const Instruction *instruction, const Frame *frame)
{
    const NumberCheck *check = instruction->data;
    if (frame->number == NULL) {
        return frame->value->kind != JSON_NUMBER;
    }
    int order = decimal_compare(frame->number, &check->number);
    switch ((Keyword)instruction->keyword) {
    case KEYWORD_MINIMUM:
        return order >= 0;
    case KEYWORD_EXCLUSIVE_MINIMUM:
        return order > 0;
    case KEYWORD_MAXIMUM:
        return order <= 0;
    default:
        return order < 0;
    }
}

static bool run_multiple(SchemaValidator *on, const NumberCheck *check, const Frame *frame)
{
    if (frame->number == NULL) {
        return frame->value->kind != JSON_NUMBER;
    }
    size_t digits = decimal_digits(&check->number);
    return spend(on, (uint64_t)(decimal_digits(frame->number) + 4 * digits) * (digits / 9 + 1)) &&
           decimal_is_multiple(frame->number, &check->number);
}

static bool run_length(const Instruction *instruction, const JsonValue *value)
{
    if (value->kind != JSON_STRING) {
        return true;
    }
    bool is_most = instruction->keyword == KEYWORD_MAX_LENGTH;
    size_t bytes = value->text.len;
    // A character has one to four bytes.
    if (is_most ? bytes <= instruction->a : bytes / 4 >= instruction->a) {
        return true;
    }
    size_t length = utf8_length(value->text);
    return is_most ? length <= instruction->a : length >= instruction->a;
}

static bool search(SchemaValidator *on, const Regex *regex, Str text)
{
    bool found = regex_search(regex, text, &on->regex, &on->steps);
    return on->steps == 0 ? give_up(on, "it takes too many steps") : found;
}

static bool run_pattern(SchemaValidator *on, const PatternCheck *check, const JsonValue *value)
{
    return value->kind != JSON_STRING || search(on, check->regex, value->text);
}

// What memory a check took stands for the work it did: a pattern can be far larger than its text.
static bool run_format(SchemaValidator *on, const FormatUse *use, const JsonValue *value)
{
    if (value->kind != JSON_STRING) {
        return true;
    }
    bool fits = use->check(&on->scratch, value->text);
    uint64_t steps = value->text.len + on->scratch.total / 8;
    drop_scratch(on);
    return spend(on, steps) && fits;
}

static bool run_count(const Instruction *instruction, const JsonValue *value)
{
    switch ((Keyword)instruction->keyword) {
    case KEYWORD_MIN_ITEMS:
        return value->kind != JSON_ARRAY || value->count >= instruction->a;
    case KEYWORD_MAX_ITEMS:
        return value->kind != JSON_ARRAY || value->count <= instruction->a;
    case KEYWORD_MIN_PROPERTIES:
        return value->kind != JSON_OBJECT || value->count >= instruction->a;
    default:
        return value->kind != JSON_OBJECT || value->count <= instruction->a;
    }
}

// ---------------------------------------------------------------------------------------------
// Arrays
// ---------------------------------------------------------------------------------------------

typedef struct HashedItem {
    uint64_t hash;
    uint32_t index;
} HashedItem;

static int compare_items(const void *a, const void *b)
{
    const HashedItem *x = a;
    const HashedItem *y = b;
    return x->hash != y->hash ? (x->hash < y->hash ? -1 : 1)
                              : (x->index > y->index) - (x->index < y->index);
}

// Two items that are equal; false: there are none.
static bool find_twins(SchemaValidator *on, const JsonValue *value, uint32_t *ret_one,
                       uint32_t *ret_other)
{
    HashedItem *items = ARENA_ARRAY(&on->scratch, HashedItem, value->count);
    for (uint32_t i = 0; i < value->count; i++) {
        items[i] = (HashedItem){json_hash(&value->items[i]), i};
    }
    qsort(items, value->count, sizeof(*items), compare_items);
    for (uint32_t i = 1; i < value->count; i++) {
        for (uint32_t before = i; before-- > 0 && items[before].hash == items[i].hash;) {
            if (!spend(on, 1)) {
                return true;
            }
            if (json_equal(&value->items[items[before].index], &value->items[items[i].index])) {
                *ret_one = MIN(items[before].index, items[i].index);
                *ret_other = MAX(items[before].index, items[i].index);
                return true;
            }
        }
    }
    return false;
}

static bool run_unique(SchemaValidator *on, const Frame *frame)
{
    uint32_t one = 0;
    uint32_t other = 0;
    if (frame->value->kind != JSON_ARRAY || frame->value->count < 2) {
        return true;
    }
    if (!spend(on, frame->value->count)) {
        return false;
    }
    bool has_twins = find_twins(on, frame->value, &one, &other);
    drop_scratch(on);
    if (!has_twins) {
        return true;
    }
    schema_report_as(on, frame->block, "uniqueItems", frame->path, "items %u and %u are equal", one,
                     other);
    return false;
}

static bool run_item(SchemaValidator *on, uint32_t block, const Frame *frame, uint32_t index)
{
    InstancePath path = {.outer = frame->path, .index = index};
    return run_block(on, block, frame, &frame->value->items[index], &path, NULL);
}

static bool run_array(SchemaValidator *on, const ArrayCheck *check, const Frame *frame)
{
    if (frame->value->kind != JSON_ARRAY) {
        return true;
    }
    bool is_valid = true;
    for (uint32_t i = 0; i < frame->value->count; i++) {
        uint32_t block = i < check->prefix_count ? check->prefix[i] : check->items;
        if (block == SCHEMA_NONE) {
            break;
        }
        mark(on, frame->evaluated, i);
        is_valid = run_item(on, block, frame, i) && is_valid;
        if (!is_valid && !on->is_reporting) {
            return false;
        }
    }
    return is_valid;
}

// Runs a block whose outcome is not yet a problem.
static bool run_quietly(SchemaValidator *on, uint32_t block, const Frame *frame,
                        Evaluated *evaluated)
{
    bool was_reporting = on->is_reporting;
    on->is_reporting = false;
    bool is_valid = run_block(on, block, frame, frame->value, frame->path, evaluated);
    on->is_reporting = was_reporting;
    return is_valid;
}

static bool run_contains(SchemaValidator *on, const ContainsCheck *check, const Frame *frame)
{
    if (frame->value->kind != JSON_ARRAY) {
        return true;
    }
    uint32_t found = 0;
    bool was_reporting = on->is_reporting;
    on->is_reporting = false;
    for (uint32_t i = 0; i < frame->value->count; i++) {
        if (run_item(on, check->block, frame, i)) {
            mark(on, frame->evaluated, i);
            found++;
        }
    }
    on->is_reporting = was_reporting;
    if (found < check->min) {
        schema_report_as(on, frame->block, check->min == 1 ? "contains" : "minContains",
                         frame->path, "%u of its items are as contains asks, %u must be", found,
                         check->min);
        return false;
    }
    if (found > check->max) {
        schema_report_as(on, frame->block, "maxContains", frame->path,
                         "%u of its items are as contains asks, %u may be", found, check->max);
        return false;
    }
    return true;
}

// ---------------------------------------------------------------------------------------------
// Objects
// ---------------------------------------------------------------------------------------------

static uint32_t id_of(const SchemaValidator *on, const JsonMember *member)
{
    return member->name_id != 0 ? member->name_id : schema_name_id(on->schema, member->name);
}

static const JsonMember *find_member(const SchemaValidator *on, const JsonValue *object,
                                     uint32_t id)
{
    for (uint32_t i = 0; i < object->count; i++) {
        if (id_of(on, &object->members[i]) == id) {
            return &object->members[i];
        }
    }
    return NULL;
}

static const PropertyCheck *find_property(const ObjectCheck *check, uint32_t id)
{
    for (uint32_t slot = id & check->mask;; slot = (slot + 1) & check->mask) {
        if (check->slots[slot] == 0) {
            return NULL;
        }
        const PropertyCheck *property = &check->properties[check->slots[slot] - 1];
        if (property->name_id == id) {
            return property;
        }
    }
}

static bool run_member(SchemaValidator *on, uint32_t block, const Frame *frame, uint32_t index)
{
    const JsonMember *member = &frame->value->members[index];
    InstancePath path = {.outer = frame->path, .name = member->name};
    mark(on, frame->evaluated, index);
    return run_block(on, block, frame, &member->value, &path, NULL);
}

// All that says something about one member; *ret_required counts it when it is required.
static bool check_member(SchemaValidator *on, const ObjectCheck *check, const Frame *frame,
                         uint32_t index, uint32_t *ret_required)
{
    const JsonMember *member = &frame->value->members[index];
    const PropertyCheck *property = find_property(check, id_of(on, member));
    bool is_named = property != NULL && property->block != SCHEMA_NONE;
    bool is_valid = true;
    if (property != NULL && property->is_required) {
        ++*ret_required;
    }
    if (is_named) {
        is_valid = run_member(on, property->block, frame, index);
    }
    for (uint32_t i = 0; i < check->pattern_count; i++) {
        if (search(on, check->patterns[i].regex, member->name)) {
            is_named = true;
            is_valid = run_member(on, check->patterns[i].block, frame, index) && is_valid;
        }
    }
    if (is_named || check->additional == SCHEMA_NONE) {
        return is_valid;
    }
    if (schema_block_is_never(on->schema, check->additional)) {
        schema_report_as(on, frame->block, "additionalProperties", frame->path,
                         "it has the member \"%" STR_FMT "\", which the schema does not have",
                         STR_ARG(member->name));
        return false;
    }
    return run_member(on, check->additional, frame, index);
}

static void report_missing(SchemaValidator *on, const Frame *frame, const char *keyword,
                           const PropertyCheck *property)
{
    schema_report_as(on, frame->block, keyword, frame->path,
                     "the member \"%" STR_FMT "\" is missing", STR_ARG(property->name));
}

// Each member is looked at once: there may be many of them, and many that are required.
static void report_required(SchemaValidator *on, const ObjectCheck *check, const Frame *frame)
{
    bool *is_there = ARENA_ARRAY(&on->scratch, bool, check->count + 1);
    for (uint32_t i = 0; i < frame->value->count; i++) {
        const PropertyCheck *property = find_property(check, id_of(on, &frame->value->members[i]));
        if (property != NULL) {
            is_there[property - check->properties] = true;
        }
    }
    for (uint32_t i = 0; i < check->count; i++) {
        if (check->properties[i].is_required && !is_there[i]) {
            report_missing(on, frame, "required", &check->properties[i]);
        }
    }
    drop_scratch(on);
}

// The value is the whole, of which only some members are known.
static bool is_part(const SchemaValidator *on, const Frame *frame)
{
    return on->is_part && frame->path == NULL;
}

static bool run_object(SchemaValidator *on, const ObjectCheck *check, const Frame *frame)
{
    if (frame->value->kind != JSON_OBJECT) {
        return true;
    }
    uint32_t wanted = is_part(on, frame) ? 0 : check->required;
    if (!on->is_reporting && frame->value->count < wanted) {
        return false;
    }
    bool is_valid = true;
    uint32_t required = 0;
    for (uint32_t i = 0; i < frame->value->count; i++) {
        is_valid = check_member(on, check, frame, i, &required) && is_valid;
        if (!is_valid && !on->is_reporting) {
            return false;
        }
    }
    if (on->is_reporting && required < wanted) {
        report_required(on, check, frame);
    }
    return is_valid && required >= wanted;
}

static bool run_names(SchemaValidator *on, uint32_t block, const Frame *frame)
{
    bool is_valid = true;
    for (uint32_t i = 0; frame->value->kind == JSON_OBJECT && i < frame->value->count; i++) {
        Str name = frame->value->members[i].name;
        JsonValue value = {.kind = JSON_STRING, .text = name};
        InstancePath path = {.outer = frame->path, .name = name};
        is_valid = run_block(on, block, frame, &value, &path, NULL) && is_valid;
        if (!is_valid && !on->is_reporting) {
            return false;
        }
    }
    return is_valid;
}

static bool run_needs(SchemaValidator *on, const Instruction *instruction, const Frame *frame)
{
    const NeedsCheck *check = instruction->data;
    const char *keyword = keyword_table[instruction->keyword].name;
    if (frame->value->kind != JSON_OBJECT ||
        find_member(on, frame->value, check->member.name_id) == NULL) {
        return true;
    }
    bool is_valid = true;
    for (uint32_t i = 0; i < check->count; i++) {
        if (!spend(on, frame->value->count)) {
            return false;
        }
        if (find_member(on, frame->value, check->needed[i].name_id) == NULL) {
            is_valid = false;
            report_missing(on, frame, keyword, &check->needed[i]);
        }
    }
    return is_valid;
}

// ---------------------------------------------------------------------------------------------
// Other schemas on the same value
// ---------------------------------------------------------------------------------------------

static bool run_here(SchemaValidator *on, uint32_t block, const Frame *frame)
{
    return run_block(on, block, frame, frame->value, frame->path, frame->evaluated);
}

static bool run_dependent(SchemaValidator *on, const Instruction *instruction, const Frame *frame)
{
    if (frame->value->kind != JSON_OBJECT) {
        return true;
    }
    return spend(on, frame->value->count) &&
           (find_member(on, frame->value, instruction->a) == NULL ||
            run_here(on, instruction->b, frame));
}

// What a schema that fails has looked at does not count.
static bool run_branch(SchemaValidator *on, uint32_t block, const Frame *frame)
{
    if (frame->evaluated == NULL) {
        return run_quietly(on, block, frame, NULL);
    }
    Evaluated set = push_set(on, frame->value);
    bool is_valid = run_quietly(on, block, frame, &set);
    if (is_valid) {
        merge(on, frame->evaluated, &set);
    }
    pop_set(on, &set);
    return is_valid;
}

static bool run_dynamic(SchemaValidator *on, const Instruction *instruction, const Frame *frame)
{
    const uint32_t *blocks =
        on->schema->dynamic + (size_t)instruction->b * on->schema->resource_count;
    uint32_t block = instruction->a;
    // The outermost has the word.
    for (const Scope *scope = frame->scope; scope != NULL; scope = scope->outer) {
        if (blocks[scope->resource] != SCHEMA_NONE) {
            block = blocks[scope->resource];
        }
    }
    return run_here(on, block, frame);
}

static bool run_all(SchemaValidator *on, const BlockList *list, const Frame *frame)
{
    bool is_valid = true;
    for (uint32_t i = 0; i < list->count; i++) {
        is_valid = run_here(on, list->blocks[i], frame) && is_valid;
        if (!is_valid && !on->is_reporting) {
            return false;
        }
    }
    return is_valid;
}

// Why none of several schemas holds: each for its own reasons.
static void report_branches(SchemaValidator *on, const BlockList *list, const Frame *frame)
{
    for (uint32_t i = 0; on->is_reporting && i < list->count; i++) {
        (void)run_block(on, list->blocks[i], frame, frame->value, frame->path, NULL);
    }
}

static bool run_any(SchemaValidator *on, const BlockList *list, const Frame *frame)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        found += run_branch(on, list->blocks[i], frame);
        if (found > 0 && frame->evaluated == NULL) {
            return true;
        }
    }
    if (found == 0) {
        schema_report_as(on, frame->block, "anyOf", frame->path,
                         "it is as none of the %u schemas of anyOf asks", list->count);
        report_branches(on, list, frame);
    }
    return found > 0;
}

static bool run_one(SchemaValidator *on, const BlockList *list, const Frame *frame)
{
    uint32_t found = 0;
    uint32_t first = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        if (!run_branch(on, list->blocks[i], frame)) {
            continue;
        }
        if (found++ > 0) {
            schema_report_as(on, frame->block, "oneOf", frame->path,
                             "it is as both the schemas %u and %u of oneOf ask", first, i);
            return false;
        }
        first = i;
    }
    if (found == 0) {
        schema_report_as(on, frame->block, "oneOf", frame->path,
                         "it is as none of the %u schemas of oneOf asks", list->count);
        report_branches(on, list, frame);
    }
    return found == 1;
}

static bool run_if(SchemaValidator *on, const IfCheck *check, const Frame *frame)
{
    bool holds = run_branch(on, check->condition, frame);
    uint32_t next = holds ? check->then : check->otherwise;
    return next == SCHEMA_NONE || run_here(on, next, frame);
}

static bool run_rest(SchemaValidator *on, const Instruction *instruction, const Frame *frame)
{
    bool of_items = instruction->op == SCHEMA_REST_ITEMS;
    if (frame->value->kind != (of_items ? JSON_ARRAY : JSON_OBJECT)) {
        return true;
    }
    bool is_valid = true;
    for (uint32_t i = 0; i < frame->value->count; i++) {
        if (is_marked(on, frame->evaluated, i)) {
            continue;
        }
        if (!of_items && schema_block_is_never(on->schema, instruction->a)) {
            schema_report_as(on, frame->block, "unevaluatedProperties", frame->path,
                             "it has the member \"%" STR_FMT "\", which the schema does not have",
                             STR_ARG(frame->value->members[i].name));
            is_valid = false;
        } else {
            bool fits = of_items ? run_item(on, instruction->a, frame, i)
                                 : run_member(on, instruction->a, frame, i);
            is_valid = fits && is_valid;
            mark(on, frame->evaluated, i);
        }
        if (!is_valid && !on->is_reporting) {
            return false;
        }
    }
    return is_valid;
}

// ---------------------------------------------------------------------------------------------
// Blocks
// ---------------------------------------------------------------------------------------------

// Those that say themselves what is wrong, as they know more about it.
static bool run_with_others(SchemaValidator *on, const Instruction *instruction, const Frame *frame)
{
    switch ((SchemaOp)instruction->op) {
    case SCHEMA_UNIQUE:
        return run_unique(on, frame);
    case SCHEMA_ARRAY:
        return run_array(on, instruction->data, frame);
    case SCHEMA_CONTAINS:
        return run_contains(on, instruction->data, frame);
    case SCHEMA_OBJECT:
        return run_object(on, instruction->data, frame);
    case SCHEMA_NAMES:
        return run_names(on, instruction->a, frame);
    case SCHEMA_NEEDS:
        return run_needs(on, instruction, frame);
    case SCHEMA_DEPENDENT:
        return run_dependent(on, instruction, frame);
    case SCHEMA_REFERENCE:
        return run_here(on, instruction->a, frame);
    case SCHEMA_DYNAMIC:
        return run_dynamic(on, instruction, frame);
    case SCHEMA_ALL:
        return run_all(on, instruction->data, frame);
    case SCHEMA_ANY:
        return run_any(on, instruction->data, frame);
    case SCHEMA_ONE:
        return run_one(on, instruction->data, frame);
    case SCHEMA_IF:
        return run_if(on, instruction->data, frame);
    default:
        return run_rest(on, instruction, frame);
    }
}

static bool run_alone(SchemaValidator *on, const Instruction *instruction, const Frame *frame)
{
    const JsonValue *value = frame->value;
    switch ((SchemaOp)instruction->op) {
    case SCHEMA_TYPE:
        return run_type(instruction, frame);
    case SCHEMA_CONST:
        return json_equal(instruction->data, value);
    case SCHEMA_ENUM:
        return run_enum(instruction->data, value);
    case SCHEMA_BOUND:
        return run_bound(instruction, frame);
    case SCHEMA_MULTIPLE:
        return run_multiple(on, instruction->data, frame);
    case SCHEMA_LENGTH:
        return run_length(instruction, value);
    case SCHEMA_PATTERN:
        return run_pattern(on, instruction->data, value);
    case SCHEMA_FORMAT:
        return run_format(on, instruction->data, value);
    case SCHEMA_COUNT:
        return run_count(instruction, value);
    default:
        assert(instruction->op == SCHEMA_NOT);
        return !run_quietly(on, instruction->a, frame, NULL);
    }
}

static bool speaks_itself(const Instruction *instruction)
{
    return instruction->op >= SCHEMA_UNIQUE && instruction->op != SCHEMA_NOT;
}

// Whatever else the object has, this says the same of it.
static bool holds_of_part(const Instruction *instruction)
{
    switch ((SchemaOp)instruction->op) {
    case SCHEMA_TYPE:
    case SCHEMA_OBJECT: // but for what is required
    case SCHEMA_NAMES:
    case SCHEMA_REFERENCE:
    case SCHEMA_DYNAMIC:
    case SCHEMA_ALL:
    case SCHEMA_ANY: // one that a part cannot satisfy, no whole can
        return true;
    default:
        return false;
    }
}

static bool run_instructions(SchemaValidator *on, const Frame *frame)
{
    const Instruction *instruction = on->schema->code + frame->block->first;
    bool is_valid = true;
    for (uint32_t i = 0; i < frame->block->count; i++, instruction++) {
        if (is_part(on, frame) && !holds_of_part(instruction)) {
            continue;
        }
        if (speaks_itself(instruction)) {
            is_valid = run_with_others(on, instruction, frame) && is_valid;
        } else if (!run_alone(on, instruction, frame)) {
            is_valid = false;
            if (on->is_reporting) {
                schema_report(on, frame->block, instruction, frame->value, frame->path);
            }
        }
        if (!is_valid && (!on->is_reporting || on->given_up != NULL)) {
            return false;
        }
    }
    return is_valid;
}

static bool run_with_rest(SchemaValidator *on, Frame *frame)
{
    Evaluated *outer = frame->evaluated;
    Evaluated own = push_set(on, frame->value);
    frame->evaluated = &own;
    bool is_valid = run_instructions(on, frame);
    if (is_valid && outer != NULL) {
        merge(on, outer, &own);
    }
    frame->evaluated = outer;
    pop_set(on, &own);
    return is_valid;
}

static bool run_block(SchemaValidator *on, uint32_t number, const Frame *from,
                      const JsonValue *value, const InstancePath *path, Evaluated *evaluated)
{
    const Block *block = &on->schema->blocks[number];
    if (block->is_never) {
        schema_report_as(on, block, NULL, path, "there may be no such value");
        return false;
    }
    if (on->depth == SCHEMA_DEPTH_MAX) {
        return give_up(on, "schemas are nested too deeply");
    }
    if (!spend(on, block->count + 1)) {
        return false;
    }
    on->depth++;
    Scope scope = {from->scope, block->resource};
    bool is_new = from->scope == NULL || from->scope->resource != block->resource;
    Frame frame = {block, value, path, is_new ? &scope : from->scope, evaluated, NULL};
    Decimal parsed;
    if (value->kind == JSON_NUMBER && block->count > 0 && decimal_parse(value->text, &parsed)) {
        frame.number = &parsed;
    }
    bool is_valid = block->has_rest ? run_with_rest(on, &frame) : run_instructions(on, &frame);
    on->depth--;
    return is_valid;
}

// ---------------------------------------------------------------------------------------------
// Outside
// ---------------------------------------------------------------------------------------------

SchemaValidator *schema_validator_new(const Schema *schema)
{
    SchemaValidator *on = mem_alloc_zero(sizeof(*on));
    on->schema = schema;
    buf_init(&on->evaluated,
             SIZE_MAX / 2); // a bit for each part of the value, SCHEMA_DEPTH_MAX times
    return on;
}

void schema_validator_free(SchemaValidator *validator)
{
    if (validator == NULL) {
        return;
    }
    regex_scratch_done(&validator->regex);
    arena_done(&validator->scratch);
    arena_done(&validator->messages);
    buf_done(&validator->evaluated);
    mem_free(validator);
}

static bool run(SchemaValidator *on, const JsonValue *value, bool is_reporting)
{
    static const Frame outside;
    on->is_reporting = is_reporting;
    on->steps = SCHEMA_STEPS_MAX;
    on->depth = 0;
    on->given_up = NULL;
    buf_reset(&on->evaluated);
    bool is_valid = run_block(on, 0, &outside, value, NULL, NULL);
    return is_valid && on->given_up == NULL;
}

static Status validate(SchemaValidator *validator, const JsonValue *value, Error *err)
{
    validator->problem_count = 0;
    if (run(validator, value, false)) {
        return STATUS_OK;
    }
    arena_reset(&validator->messages);
    if (validator->given_up == NULL) {
        (void)run(validator, value, true);
    }
    if (validator->given_up != NULL || validator->problem_count == 0) {
        validator->problem_count = 0;
        return error_set(err, ERROR_DATA, "the value cannot be checked: %s",
                         validator->given_up == NULL ? "two runs differ" : validator->given_up);
    }
    const SchemaProblem *first = &validator->problems[0];
    Str name = schema_path_name(first->instance);
    return error_set(err, ERROR_DATA, "%" STR_FMT "%s%" STR_FMT " (%" STR_FMT ")", STR_ARG(name),
                     name.len > 0 ? ": " : "", STR_ARG(first->reason), STR_ARG(first->schema));
}

Status schema_validate(SchemaValidator *validator, const JsonValue *value, Error *err)
{
    validator->is_part = false;
    return validate(validator, value, err);
}

Status schema_validate_part(SchemaValidator *validator, const JsonValue *value, Error *err)
{
    validator->is_part = true;
    return validate(validator, value, err);
}

const SchemaProblem *schema_problems(const SchemaValidator *validator, size_t *ret_count)
{
    *ret_count = validator->problem_count;
    return validator->problems;
}
