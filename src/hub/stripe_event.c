#include "hub/stripe_event.h"

static Str text_of(const JsonValue *object, Str name)
{
    const JsonValue *value = json_member(object, name);
    return json_is(value, JSON_STRING) ? value->text : STR("");
}

static ChangeOp op_of(Str type)
{
    Str verb = type;
    Str part;
    for (Str rest = type; str_split(&rest, '.', &part);) {
        verb = part;
    }
    if (str_is(verb, "created")) {
        return CHANGE_INSERT;
    }
    return str_is(verb, "deleted") ? CHANGE_DELETE : CHANGE_UPDATE;
}

Status stripe_event_read(const JsonValue *value, HubEvent *ret, Error *err)
{
    const JsonValue *created = json_member(value, STR("created"));
    const JsonValue *request = json_member(value, STR("request"));
    *ret = (HubEvent){.id = text_of(value, STR("id")),
                      .type = text_of(value, STR("type")),
                      .request = text_of(request, STR("idempotency_key")),
                      .object = json_member(json_member(value, STR("data")), STR("object"))};
    ret->location = text_of(ret->object, STR("object"));
    ret->object_id = text_of(ret->object, STR("id"));
    ret->op = op_of(ret->type);
    if (ret->id.len == 0 || ret->type.len == 0 || !json_is(created, JSON_NUMBER) ||
        !str_to_int64(created->text, &ret->created_s)) {
        return error_set(err, ERROR_DATA, "this is no event of Stripe");
    }
    if (ret->location.len == 0) {
        error_set(err, ERROR_DATA, "the event has no object in \"data\"");
        return error_hint(err, "The endpoint has to send snapshots, not thin events.");
    }
    return STATUS_OK;
}
