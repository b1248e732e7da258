#include "model/object.h"

#include <assert.h>

#include "base/crc32c.h"
#include "model/convert.h"

Status object_validate(const Object *object, SchemaValidator *validator, Error *err)
{
    if (object->op == OBJECT_DELETE) {
        return STATUS_OK;
    }
    // Its members are distinct properties: then none is absent.
    bool is_whole = !object->is_partial || object->value.count == object->model->property_count;
    Status status = is_whole ? schema_validate(validator, &object->value, err)
                             : schema_validate_part(validator, &object->value, err);
    return status == STATUS_OK ? STATUS_OK
                               : error_wrap(err, "%" STR_FMT, STR_ARG(object->model->title));
}

// ---------------------------------------------------------------------------------------------
// Relations
// ---------------------------------------------------------------------------------------------

typedef struct Carrier {
    uint32_t type_oid;
    const char *type_name;
} Carrier;

// The one Postgres type that holds what @types allows; several types, and nested ones, are jsonb.
static Carrier carrier_of(uint32_t types)
{
    switch (types & ~(1U << JSON_NULL)) {
    case 1U << JSON_BOOL:
        return (Carrier){OID_BOOL, "boolean"};
    case 1U << SCHEMA_INTEGER:
        return (Carrier){OID_INT8, "bigint"};
    case 1U << JSON_NUMBER | 1U << SCHEMA_INTEGER:
        return (Carrier){OID_NUMERIC, "numeric"};
    case 1U << JSON_STRING:
        return (Carrier){OID_TEXT, "text"};
    default:
        return (Carrier){OID_JSONB, "jsonb"};
    }
}

Relation *object_relation(Arena *arena, const Model *model)
{
    Relation *relation = arena_alloc_zero(arena, sizeof(*relation));
    relation->oid = MAX(crc32c(0, model->title.ptr, model->title.len), RELATION_OID_FIRST);
    relation->name = model->title;
    relation->schema = STR("");
    relation->identity = IDENTITY_FULL;
    relation->column_count = (uint16_t)model->property_count;
    relation->columns = ARENA_ARRAY(arena, Column, model->property_count);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        Carrier carrier = carrier_of(model->properties[i].types);
        relation->columns[i] = (Column){
            .name = model->properties[i].name,
            .type_oid = carrier.type_oid,
            .typmod = -1,
            .type_name = str_from(carrier.type_name),
            .base_type_oid = carrier.type_oid,
            .base_typmod = -1,
            .base_type_name = str_from(carrier.type_name),
            .type = type_class(carrier.type_oid),
        };
    }
    return relation;
}

// ---------------------------------------------------------------------------------------------
// Changes
// ---------------------------------------------------------------------------------------------

static Status put_members(Arena *scratch, const Object *object, const JsonValue *value, Value *row,
                          Error *err)
{
    const Model *model = object->model;
    for (uint32_t i = 0; i < value->count; i++) {
        const JsonMember *member = &value->members[i];
        int column = model_find_property(model, member->name);
        assert(column >= 0);
        Error failure = {0};
        if (convert_to_column(scratch, &model->relation->columns[column], &member->value,
                              &row[column], &failure) == STATUS_OK) {
            continue;
        }
        // Of what is deleted only the search keys count, and one that is absent is told by the
        // push.
        row[column] = (Value){.state = VALUE_ABSENT};
        if (object->op != OBJECT_DELETE) {
            *err = failure;
            return error_wrap(err, "%" STR_FMT ": %" STR_FMT, STR_ARG(model->title),
                              STR_ARG(member->name));
        }
    }
    return STATUS_OK;
}

// An image in which only those of @value are there; the others are @absent.
static Status make_row(Arena *scratch, const Object *object, const JsonValue *value,
                       ValueState absent, Value **ret, Error *err)
{
    uint16_t count = object->model->relation->column_count;
    *ret = ARENA_ARRAY(scratch, Value, count);
    for (uint16_t i = 0; i < count; i++) {
        (*ret)[i].state = absent;
    }
    return put_members(scratch, object, value, *ret, err);
}

Status object_put(Batch *batch, const Object *object, Change **ret, Error *err)
{
    Arena scratch = {0};
    const Relation *relation = object->model->relation;
    bool is_upsert = object->op == OBJECT_UPSERT;
    Value *row;
    Value *before = NULL;
    Status status = make_row(&scratch, object, &object->value,
                             is_upsert ? VALUE_UNCHANGED : VALUE_ABSENT, &row, err);
    if (status == STATUS_OK && is_upsert && object->before.count > 0) {
        status = make_row(&scratch, object, &object->before, VALUE_ABSENT, &before, err);
    }
    if (status == STATUS_OK) {
        const Value *copy = batch_copy_row(batch, row, relation->column_count);
        const Value *old = batch_copy_row(batch, before, relation->column_count);
        Change *change = batch_add(batch);
        change->op = is_upsert ? CHANGE_UPDATE : CHANGE_DELETE;
        change->relation = relation;
        change->new_row = is_upsert ? copy : NULL;
        change->old_row = is_upsert ? old : copy;
        *ret = change;
    }
    arena_done(&scratch);
    return status;
}

static Status no_object(const Model *model, const Change *change, Error *err)
{
    return error_set(err, ERROR_DATA,
                     "a change of \"%" STR_FMT "\" (%s) is no object of the model \"%" STR_FMT "\"",
                     STR_ARG(change->relation == NULL ? STR("") : change->relation->name),
                     change_op_name(change->op), STR_ARG(model->title));
}

// The property of a column that has a value, or -1 and an error.
static int find_property(const Model *model, const Column *column, Error *err)
{
    int property = model_find_property(model, column->name);
    if (property < 0) {
        error_set(err, ERROR_DATA,
                  "an object of the model \"%" STR_FMT "\" has the property \"%" STR_FMT
                  "\", which the model does not have any more",
                  STR_ARG(model->title), STR_ARG(column->name));
        error_hint(err, "Give the model its property back until the buffer is empty.");
    }
    return property;
}

static Status take_members(const Model *model, const Relation *relation, const Value *row,
                           Arena *arena, JsonValue *ret, Error *err)
{
    JsonMember *members = ARENA_ARRAY(arena, JsonMember, relation->column_count);
    *ret = (JsonValue){.kind = JSON_OBJECT, .members = members};
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (!value_is_known(row[i])) {
            continue;
        }
        int property = find_property(model, &relation->columns[i], err);
        JsonMember *member = &members[ret->count++];
        if (property < 0) {
            return STATUS_FAIL;
        }
        member->name = model->properties[property].name;
        member->name_id = model->properties[property].name_id;
        if (convert_from_column(arena, &relation->columns[i], row[i], &member->value, err) !=
            STATUS_OK) {
            return error_wrap(err, "%" STR_FMT ": %" STR_FMT, STR_ARG(model->title),
                              STR_ARG(member->name));
        }
    }
    return STATUS_OK;
}

Status object_take(const Model *model, const Change *change, Arena *arena, Object *ret, Error *err)
{
    bool is_upsert = change->op == CHANGE_UPDATE;
    const Value *row = is_upsert ? change->new_row : change->old_row;
    bool is_object = change->relation != NULL && (is_upsert || change->op == CHANGE_DELETE) &&
                     row != NULL && str_equal(change->relation->name, model->title);
    if (!is_object) {
        return no_object(model, change, err);
    }
    Object object = {
        .model = model, .op = is_upsert ? OBJECT_UPSERT : OBJECT_DELETE, .is_partial = true};
    if (take_members(model, change->relation, row, arena, &object.value, err) != STATUS_OK ||
        (is_upsert && change->old_row != NULL &&
         take_members(model, change->relation, change->old_row, arena, &object.before, err) !=
             STATUS_OK)) {
        return STATUS_FAIL;
    }
    *ret = object;
    return STATUS_OK;
}
