#include "hub/hub_push.h"

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
