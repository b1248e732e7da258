#include "model/mixer.h"

#include <assert.h>

#include "config/option.h"
#include "model/convert.h"

int model_find_property(const Model *model, Str name)
{
    const SchemaProperty *property = map_get(&model->by_name, name);
    return property == NULL ? -1 : (int)(property - model->properties);
}

// ---------------------------------------------------------------------------------------------
// Finding columns
// ---------------------------------------------------------------------------------------------

typedef struct Binder {
    const MixerRule *rule;
    bool is_pushed;
    const Relation *relation;
    Error *err;
} Binder;

static Status no_column(const Binder *in, const MixerField *field)
{
    const Relation *relation = in->relation;
    Arena scratch = {0};
    const char **names = ARENA_ARRAY(&scratch, const char *, (size_t)relation->column_count + 1);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        names[i] = str_to_cstr(&scratch, relation->columns[i].name);
    }
    error_set(in->err, ERROR_CONFIG,
              "%" STR_FMT ": the table \"%" STR_FMT "\" has no column \"%" STR_FMT "\"",
              STR_ARG(field->origin), STR_ARG(in->rule->location), STR_ARG(field->path.steps[0]));
    (void)suggest_nearest(field->path.steps[0], names, "", in->err);
    arena_done(&scratch);
    return STATUS_FAIL;
}

static Status check_constant(const Binder *in, const MixerField *field, const Column *column)
{
    Arena scratch = {0};
    Value value;
    Status status = convert_to_column(&scratch, column, field->constant, &value, in->err);
    if (status != STATUS_OK && in->err != NULL) {
        in->err->kind = ERROR_CONFIG;
    }
    arena_done(&scratch);
    return status == STATUS_OK ? STATUS_OK
                               : error_wrap(in->err, "%" STR_FMT ": \"%" STR_FMT "\"",
                                            STR_ARG(field->origin), STR_ARG(field->name));
}

static Status check_types(const Binder *in, const MixerField *field, const Column *column)
{
    if (field->path.count > 1 && !type_is_json(column->type)) {
        return error_set(in->err, ERROR_CONFIG,
                         "%" STR_FMT ": \"%" STR_FMT "\" goes into \"%" STR_FMT
                         "\", which is %" STR_FMT " and no json",
                         STR_ARG(field->origin), STR_ARG(field->name), STR_ARG(column->name),
                         STR_ARG(column->type_name));
    }
    if (field->constant != NULL) {
        return check_constant(in, field, column);
    }
    uint32_t of_property = in->rule->model->properties[field->property].types;
    if (convert_fits_column(column, of_property, in->is_pushed)) {
        return STATUS_OK;
    }
    char types[CONVERT_TYPES_TEXT];
    convert_types_text(of_property, types);
    return error_set(in->err, ERROR_CONFIG,
                     "%" STR_FMT ": \"%" STR_FMT "\" is %" STR_FMT
                     ", which cannot be converted %s %s",
                     STR_ARG(field->origin), STR_ARG(column->name), STR_ARG(column->type_name),
                     in->is_pushed ? "from" : "to", types);
}

Status mixer_bind(const MixerRule *rule, bool is_pushed, const Relation *relation, Arena *arena,
                  MixerBinding *ret, Error *err)
{
    const Binder in = {rule, is_pushed, relation, err};
    MixerBinding binding = {rule, relation, ARENA_ARRAY(arena, int, rule->count)};
    for (size_t i = 0; i < rule->count; i++) {
        const MixerField *field = &rule->fields[i];
        bool has_column = is_pushed || field->constant == NULL;
        binding.columns[i] = has_column ? relation_find_column(relation, field->path.steps[0]) : -1;
        if (!has_column) {
            continue;
        }
        if (binding.columns[i] < 0) {
            return no_column(&in, field);
        }
        if (check_types(&in, field, &relation->columns[binding.columns[i]]) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    *ret = binding;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Receiving
// ---------------------------------------------------------------------------------------------

// Without members, for which there is room in *ret_members.
static Object begin_object(const MixerRule *rule, ChangeOp op, Arena *arena,
                           JsonMember **ret_members)
{
    bool is_whole = op == CHANGE_READ || op == CHANGE_INSERT;
    assert(is_whole || op == CHANGE_UPDATE || op == CHANGE_DELETE);
    *ret_members = ARENA_ARRAY(arena, JsonMember, rule->count);
    return (Object){
        .model = rule->model,
        .op = op == CHANGE_DELETE ? OBJECT_DELETE : OBJECT_UPSERT,
        .is_partial = !is_whole || !rule->is_whole,
        .value = {.kind = JSON_OBJECT, .members = *ret_members},
    };
}

static void add_member(Object *object, JsonMember *members, const MixerField *field,
                       const JsonValue *value, Arena *arena)
{
    const SchemaProperty *property = &object->model->properties[field->property];
    JsonMember *member = &members[object->value.count++];
    *member = (JsonMember){.name = property->name, .name_id = property->name_id};
    if (convert_json(arena, value, property->types, &member->value, NULL) != STATUS_OK) {
        member->value = *value; // the model's check names all that is wrong
    }
}

MixerRow mixer_row(const Relation *relation, const Value *values, Arena *arena)
{
    return (MixerRow){values, ARENA_ARRAY(arena, const JsonValue *, relation->column_count)};
}

// What a column has, which is known.
static Status read_column(const Column *column, Value value, Arena *arena, const JsonValue **ret,
                          Error *err)
{
    JsonValue *read = arena_alloc(arena, sizeof(*read));
    if (convert_from_column(arena, column, value, read, err) != STATUS_OK) {
        return error_wrap(err, "column \"%" STR_FMT "\"", STR_ARG(column->name));
    }
    *ret = read;
    return STATUS_OK;
}

// *ret NULL: the row says nothing about the field.
static Status read_field(const MixerField *field, const Relation *relation, int column,
                         const MixerRow *row, Arena *arena, const JsonValue **ret, Error *err)
{
    *ret = NULL;
    if (!value_is_known(row->values[column])) {
        return STATUS_OK;
    }
    if (row->read[column] == NULL && read_column(&relation->columns[column], row->values[column],
                                                 arena, &row->read[column], err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = path_find(&field->path, 1, row->read[column]);
    return STATUS_OK;
}

Status mixer_receive_row(const MixerBinding *binding, ChangeOp op, const MixerRow *row,
                         Arena *arena, Object *ret, Error *err)
{
    const MixerRule *rule = binding->rule;
    JsonMember *members;
    Object object = begin_object(rule, op, arena, &members);
    for (size_t i = 0; i < rule->count; i++) {
        const MixerField *field = &rule->fields[i];
        int column = binding->columns[i];
        const JsonValue *value = field->constant;
        if (column >= 0 &&
            read_field(field, binding->relation, column, row, arena, &value, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (value != NULL) {
            add_member(&object, members, field, value, arena);
        }
    }
    *ret = object;
    return STATUS_OK;
}

Status mixer_receive_json(const MixerRule *rule, ChangeOp op, const JsonValue *value, Arena *arena,
                          Object *ret, Error *err)
{
    if (value->kind != JSON_OBJECT) {
        return error_set(err, ERROR_DATA, "a JSON %s came where an object is expected",
                         json_kind_name(value->kind));
    }
    JsonMember *members;
    Object object = begin_object(rule, op, arena, &members);
    for (size_t i = 0; i < rule->count; i++) {
        const MixerField *field = &rule->fields[i];
        const JsonValue *found =
            field->constant != NULL ? field->constant : path_find(&field->path, 0, value);
        if (found != NULL) {
            add_member(&object, members, field, found, arena);
        }
    }
    *ret = object;
    return STATUS_OK;
}

void mixer_receive_no_keys(const MixerRule *rule, Object *object, Arena *arena)
{
    JsonMember *members = ARENA_ARRAY(arena, JsonMember, object->value.count + rule->count);
    uint32_t count = object->value.count;
    for (uint32_t i = 0; i < count; i++) {
        members[i] = object->value.members[i];
    }
    for (size_t i = 0; i < rule->count; i++) {
        int at = rule->fields[i].property;
        const SchemaProperty *property = &object->model->properties[at];
        if (object->model->is_search_key[at] &&
            json_member(&object->value, property->name) == NULL) {
            members[count++] = (JsonMember){
                .name = property->name, .name_id = property->name_id, .value = {.kind = JSON_NULL}};
        }
    }
    object->value.members = members;
    object->value.count = count;
}

void object_was(Object *object, const Object *was, Arena *arena)
{
    JsonMember *members = ARENA_ARRAY(arena, JsonMember, was->value.count);
    object->before = (JsonValue){.kind = JSON_OBJECT, .members = members};
    for (uint32_t i = 0; i < was->value.count; i++) {
        const JsonMember *member = &was->value.members[i];
        int property = model_find_property(was->model, member->name);
        const JsonValue *now = json_member(&object->value, member->name);
        assert(property >= 0);
        if (object->model->is_search_key[property] && member->value.kind != JSON_NULL &&
            now != NULL && !json_equal(now, &member->value)) {
            members[object->before.count++] = *member;
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Pushing
// ---------------------------------------------------------------------------------------------

// Of the object or of the rule; NULL: absent.
static const JsonValue *cell_value(const MixerField *field, const Object *object)
{
    return field->constant != NULL
               ? field->constant
               : json_member(&object->value, object->model->properties[field->property].name);
}

static bool is_found_by(const MixerField *field, const JsonValue *value)
{
    return field->is_search_key && value != NULL && value->kind != JSON_NULL;
}

static void add_cell(PushedRow *row, const MixerField *field, const JsonValue *value)
{
    row->cells[row->count++] = (PushedCell){field, *value};
}

static void add_search_keys(PushedRow *row, const Object *object)
{
    for (size_t i = 0; i < row->rule->count; i++) {
        const MixerField *field = &row->rule->fields[i];
        const JsonValue *value = cell_value(field, object);
        if (is_found_by(field, value)) {
            add_cell(row, field, value);
            row->search_key_count++;
        }
    }
}

// Of the first search key. Where only others are new, the row is found by that one.
static void add_changed_key(PushedRow *row, const Object *object, Arena *arena)
{
    if (object->before.count == 0 || row->search_key_count == 0) {
        return;
    }
    const PushedCell *cell = &row->cells[0];
    Str name = object->model->properties[cell->field->property].name;
    const JsonValue *before = json_member(&object->before, name);
    if (before != NULL) {
        row->changed = arena_alloc(arena, sizeof(*row->changed));
        *row->changed = (PushedKey){cell->field, *before, cell->value};
    }
}

// One that is null is one that the row did not have, or not yet: the others say which it is.
static Status missing_search_key(const PushedRow *row, const Object *object, Error *err)
{
    for (size_t i = 0; i < row->rule->count; i++) {
        const MixerField *field = &row->rule->fields[i];
        bool is_missing = row->search_key_count == 0 || cell_value(field, object) == NULL;
        if (field->is_search_key && is_missing) {
            return error_set(err, ERROR_DATA,
                             "%" STR_FMT ": what is to be deleted in \"%" STR_FMT
                             "\" cannot be found: its \"%" STR_FMT "\" is not known",
                             STR_ARG(field->origin), STR_ARG(row->rule->location),
                             STR_ARG(field->name));
        }
    }
    return STATUS_OK;
}

void mixer_push_delete(const MixerRule *rule, const Object *object, Arena *arena, PushedRow *ret)
{
    assert(rule->model == object->model && object->op == OBJECT_DELETE);
    PushedRow row = {
        .rule = rule, .op = object->op, .cells = ARENA_ARRAY(arena, PushedCell, rule->count)};
    add_search_keys(&row, object);
    *ret = row;
}

// Whether @object says nothing but search keys of any system, although its model has more.
static bool has_keys_alone(const Object *object)
{
    const Model *model = object->model;
    bool model_has_more = false;
    for (uint32_t i = 0; i < model->property_count; i++) {
        model_has_more = model_has_more || !model->is_search_key[i];
    }
    for (uint32_t i = 0; i < object->value.count; i++) {
        int property = model_find_property(model, object->value.members[i].name);
        if (property < 0 || !model->is_search_key[property]) {
            return false;
        }
    }
    return model_has_more;
}

Status mixer_push(const MixerRule *rule, const Object *object, Arena *arena, PushedRow *ret,
                  Error *err)
{
    assert(rule->model == object->model);
    PushedRow row = {
        .rule = rule, .op = object->op, .cells = ARENA_ARRAY(arena, PushedCell, rule->count)};
    add_search_keys(&row, object);
    if (object->op == OBJECT_DELETE) {
        if (missing_search_key(&row, object, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        *ret = row;
        return STATUS_OK;
    }
    bool says_something = row.count > 0;
    bool says_more = false;
    bool takes_more = false;
    for (size_t i = 0; i < rule->count; i++) {
        const MixerField *field = &rule->fields[i];
        const JsonValue *value = cell_value(field, object);
        bool is_more = field->constant == NULL && !field->is_search_key;
        takes_more = takes_more || is_more;
        says_more = says_more || (is_more && value != NULL);
        if (value != NULL && !is_found_by(field, value)) {
            add_cell(&row, field, value);
            says_something = says_something || field->constant == NULL;
        }
    }
    // Constants alone would make rows of nothing.
    row.count = says_something ? row.count : 0;
    row.only_if_there =
        row.search_key_count > 1 && ((takes_more && !says_more) || has_keys_alone(object));
    add_changed_key(&row, object, arena);
    *ret = row;
    return STATUS_OK;
}

Status mixer_push_values(const MixerBinding *binding, const PushedRow *row, Arena *arena,
                         Value **ret, Error *err)
{
    assert(binding->rule == row->rule);
    Value *values = ARENA_ARRAY(arena, Value, binding->relation->column_count);
    for (size_t i = 0; i < row->count; i++) {
        const PushedCell *cell = &row->cells[i];
        int column = binding->columns[cell->field - row->rule->fields];
        if (convert_to_column(arena, &binding->relation->columns[column], &cell->value,
                              &values[column], err) != STATUS_OK) {
            return error_wrap(err, "%" STR_FMT ": \"%" STR_FMT "\" of \"%" STR_FMT "\"",
                              STR_ARG(cell->field->origin), STR_ARG(cell->field->name),
                              STR_ARG(row->rule->location));
        }
    }
    *ret = values;
    return STATUS_OK;
}
