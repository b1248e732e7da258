#include "hub/hub_push.h"

#include "base/limits.h"
#include "model/object.h"

static Status no_model(const Change *change, Error *err)
{
    Str name = change->relation == NULL ? STR("") : change->relation->name;
    error_set(err, ERROR_DATA, "the hub has no model \"%" STR_FMT "\", of which there is a change",
              STR_ARG(name));
    return error_hint(err, "Give the hub its model back until the buffer is empty.");
}

Status hub_push_take(const HubEnd *end, const Change *change, Arena *arena, Object *ret,
                     const MixerGroup **ret_group, Error *err)
{
    *ret_group = NULL;
    const Model *model =
        change->relation == NULL ? NULL : hub_find_model(end->hub, change->relation->name);
    if (model == NULL) {
        return no_model(change, err);
    }
    const MixerGroup *group = hub_find_push(end->system, model);
    if (group == NULL) {
        return STATUS_OK;
    }
    *ret_group = group;
    return object_take(model, change, arena, ret, err);
}

static Value cell_of(const Change *change, const Value *row, Str property)
{
    int column = relation_find_column(change->relation, property);
    return row == NULL || column < 0 ? (Value){.state = VALUE_ABSENT} : row[column];
}

// Of an update the old row has what was another one before.
static Str names_of(const Model *model, const Change *change, bool is_before, Arena *arena)
{
    CLEANUP(buf_done) Buf names;
    buf_init(&names, 2 * (size_t)LIMIT_MESSAGE_BYTES);
    for (uint32_t i = 0; i < model->property_count; i++) {
        Str property = model->properties[i].name;
        Value was = cell_of(change, change->old_row, property);
        Value is = cell_of(change, change->new_row, property);
        Value value = value_is_data(was) && (is_before || change->new_row == NULL) ? was : is;
        if (model->is_search_key[i] && value_is_data(value)) {
            size_t begin = row_name_begin(&names);
            row_name_add(&names, property, value);
            row_name_end(&names, begin);
        }
    }
    return str_copy(arena, buf_view(&names));
}

void hub_push_row_key(Sink *sink, const Change *change, Arena *arena, RowKey *ret)
{
    const HubEnd *end = sink->context.subject;
    const Model *model = hub_find_model(end->hub, change->relation->name);
    *ret = (RowKey){0};
    if (model == NULL) {
        return; // it is not known what it is
    }
    ret->before = names_of(model, change, true, arena);
    Str after = names_of(model, change, false, arena);
    ret->after = str_equal(after, ret->before) ? ret->after : after;
}
