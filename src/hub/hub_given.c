#include "hub/hub_given.h"

#include "codec/json_read.h"
#include "model/convert.h"

static Status add_key(Object *object, const JsonMember *said, JsonMember *members, Arena *arena,
                      Error *err)
{
    int at = model_find_property(object->model, said->name);
    if (at < 0) {
        return error_set(err, ERROR_DATA, "the model has no property \"%" STR_FMT "\"",
                         STR_ARG(said->name));
    }
    const SchemaProperty *property = &object->model->properties[at];
    JsonMember *member = &members[object->value.count++];
    *member = (JsonMember){.name = property->name, .name_id = property->name_id};
    return convert_json(arena, &said->value, property->types, &member->value, err);
}

static Status add_keys(Object *object, const JsonValue *keys, Arena *arena, Error *err)
{
    JsonMember *members = ARENA_ARRAY(arena, JsonMember, keys->count);
    object->value = (JsonValue){.kind = JSON_OBJECT, .members = members};
    for (uint32_t i = 0; i < keys->count; i++) {
        const JsonMember *said = &keys->members[i];
        if (said->value.kind != JSON_NULL &&
            add_key(object, said, members, arena, err) != STATUS_OK) {
            return error_wrap(err, "\"%" STR_FMT "\"", STR_ARG(said->name));
        }
    }
    return STATUS_OK;
}

Status hub_given_take(const Hub *hub, const LogicalMessage *message, Arena *arena, Object *ret,
                      Error *err)
{
    JsonValue read;
    if (json_read(arena, message->content, &read, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const JsonValue *title = json_member(&read, STR("model"));
    const JsonValue *keys = json_member(&read, STR("keys"));
    if (!json_is(title, JSON_STRING) || !json_is(keys, JSON_OBJECT)) {
        return error_set(err, ERROR_DATA, "it has no model and keys");
    }
    const Model *model = hub_find_model(hub, title->text);
    if (model == NULL) {
        return error_set(err, ERROR_DATA, "the hub has no model \"%" STR_FMT "\"",
                         STR_ARG(title->text));
    }
    *ret = (Object){.model = model, .op = OBJECT_UPSERT, .is_partial = true};
    return add_keys(ret, keys, arena, err);
}
