#include "model/receiver.h"

#include <assert.h>

#include "model/object.h"

enum { KNOWN_CHUNK = 1024 };

// What is known of a relation.
typedef struct Known {
    Arena arena;
    const MixerGroup *group; // NULL: no rule is about it
    MixerBinding *bindings;  // by rule
} Known;

struct Receiver {
    const Hub *hub;
    const HubSystem *system;
    SchemaValidator **validators; // by model; NULL: not needed yet
    Map by_relation;
    Arena kept;
    Arena scratch; // of the last change
};

Receiver *receiver_new(const Hub *hub, const HubSystem *system)
{
    Receiver *receiver = mem_alloc_zero(sizeof(*receiver));
    receiver->hub = hub;
    receiver->system = system;
    receiver->validators = ARENA_ARRAY(&receiver->kept, SchemaValidator *, hub->model_count);
    return receiver;
}

static void forget(Known *known)
{
    arena_done(&known->arena);
    mem_free(known);
}

void receiver_free(Receiver *receiver)
{
    if (receiver == NULL) {
        return;
    }
    size_t cursor = 0;
    void *known;
    while (map_next(&receiver->by_relation, &cursor, &known)) {
        forget(known);
    }
    for (size_t i = 0; i < receiver->hub->model_count; i++) {
        schema_validator_free(receiver->validators[i]);
    }
    map_done(&receiver->by_relation);
    arena_done(&receiver->scratch);
    arena_done(&receiver->kept);
    mem_free(receiver);
}

static SchemaValidator *validator_of(Receiver *receiver, const Model *model)
{
    SchemaValidator **slot = &receiver->validators[model - receiver->hub->models];
    if (*slot == NULL) {
        *slot = schema_validator_new(model->schema);
    }
    return *slot;
}

// Several rules may be of one model: what its validator says is valid until its next use.
static void keep_problems(Receiver *receiver, const SchemaValidator *validator, Received *outcome)
{
    Arena *arena = &receiver->scratch;
    const SchemaProblem *problems = schema_problems(validator, &outcome->problem_count);
    SchemaProblem *copy = ARENA_ARRAY(arena, SchemaProblem, outcome->problem_count);
    for (size_t i = 0; i < outcome->problem_count; i++) {
        copy[i] = (SchemaProblem){str_copy(arena, problems[i].instance),
                                  str_copy(arena, problems[i].schema),
                                  str_copy(arena, problems[i].reason)};
    }
    outcome->problems = copy;
}

// @status: whether there is an object at all.
static void finish(Receiver *receiver, Status status, Received *outcome)
{
    if (status != STATUS_OK) {
        return;
    }
    SchemaValidator *validator = validator_of(receiver, outcome->object.model);
    outcome->is_valid = object_validate(&outcome->object, validator, &outcome->error) == STATUS_OK;
    if (!outcome->is_valid) {
        keep_problems(receiver, validator, outcome);
    }
}

// Where an object is only told more of, a delete takes back what was told, and nobody knows what it
// was before.
static ReceivedList begin(Receiver *receiver, const MixerGroup *group, ChangeOp op)
{
    arena_reset(&receiver->scratch);
    size_t count = group == NULL ? 0 : group->count;
    ReceivedList outcomes = {.items = ARENA_ARRAY(&receiver->scratch, Received, count)};
    for (size_t i = 0; i < count; i++) {
        if (op != CHANGE_DELETE || group->rules[i].is_owner) {
            outcomes.items[outcomes.count++].rule = &group->rules[i];
        }
    }
    return outcomes;
}

static Status learn(Receiver *receiver, const Relation *relation, const Known **ret, Error *err)
{
    Known *known = map_get_u64(&receiver->by_relation, (uintptr_t)relation);
    if (known != NULL) {
        *ret = known;
        return STATUS_OK;
    }
    known = mem_alloc_zero(sizeof(*known));
    known->arena.chunk_size = KNOWN_CHUNK;
    known->group = hub_find_table(receiver->system, relation->schema, relation->name);
    size_t count = known->group == NULL ? 0 : known->group->count;
    known->bindings = ARENA_ARRAY(&known->arena, MixerBinding, count);
    for (size_t i = 0; i < count; i++) {
        if (mixer_bind(&known->group->rules[i], false, relation, &known->arena, &known->bindings[i],
                       err) != STATUS_OK) {
            forget(known); // with the rules that did fit
            return STATUS_FAIL;
        }
    }
    (void)map_put_u64(&receiver->by_relation, (uintptr_t)relation, known);
    *ret = known;
    return STATUS_OK;
}

// Of what cannot be read nothing is known.
static void look_before(Receiver *receiver, const Known *known, const MixerRow *before,
                        const ReceivedList *outcomes)
{
    for (size_t i = 0; i < outcomes->count; i++) {
        Received *outcome = &outcomes->items[i];
        const MixerBinding *binding = &known->bindings[outcome->rule - known->group->rules];
        Object was;
        if (outcome->is_valid && mixer_receive_row(binding, CHANGE_UPDATE, before,
                                                   &receiver->scratch, &was, NULL) == STATUS_OK) {
            object_was(&outcome->object, &was, &receiver->scratch);
        }
    }
}

Status receiver_row(Receiver *receiver, ChangeOp op, const Relation *relation, const Value *before,
                    const Value *row, ReceivedList *ret, Error *err)
{
    assert(receiver->system->type == SYSTEM_POSTGRESQL);
    const Known *known;
    if (learn(receiver, relation, &known, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = begin(receiver, known->group, op);
    const MixerRow read = mixer_row(relation, row, &receiver->scratch);
    for (size_t i = 0; i < ret->count; i++) {
        Received *outcome = &ret->items[i];
        const MixerBinding *binding = &known->bindings[outcome->rule - known->group->rules];
        finish(receiver,
               mixer_receive_row(binding, op, &read, &receiver->scratch, &outcome->object,
                                 &outcome->error),
               outcome);
    }
    if (op == CHANGE_UPDATE && before != NULL) {
        const MixerRow was = mixer_row(relation, before, &receiver->scratch);
        look_before(receiver, known, &was, ret);
    }
    return STATUS_OK;
}

void receiver_object(Receiver *receiver, const Object *object, Received *ret)
{
    arena_reset(&receiver->scratch);
    *ret = (Received){.object = *object};
    finish(receiver, STATUS_OK, ret);
}

ReceivedList receiver_json(Receiver *receiver, Str location, ChangeOp op, const JsonValue *value)
{
    const MixerGroup *group = hub_find_location(receiver->system, location);
    ReceivedList outcomes = begin(receiver, group, op);
    bool is_all = op == CHANGE_DELETE && receiver->system->type == SYSTEM_STRIPE;
    for (size_t i = 0; i < outcomes.count; i++) {
        Received *outcome = &outcomes.items[i];
        finish(receiver,
               mixer_receive_json(outcome->rule, op, value, &receiver->scratch, &outcome->object,
                                  &outcome->error),
               outcome);
        if (is_all && outcome->is_valid) {
            mixer_receive_no_keys(outcome->rule, &outcome->object, &receiver->scratch);
        }
    }
    return outcomes;
}
