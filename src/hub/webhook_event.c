#include "hub/webhook_event.h"

enum { ID_BYTES_MAX = 1000 };

// @what: the setting's name, @path as it is written.
static Status missing(const char *what, Str path, const char *kind, Error *err)
{
    error_set(err, ERROR_DATA, "there is no %s at \"%" STR_FMT "\" of the body", kind,
              STR_ARG(path));
    return error_hint(err, "That is where \"%s\" says that it stands.", what);
}

static Status read_id(const WebhookSettings *settings, const WebhookRequest *request, Str *ret,
                      Error *err)
{
    *ret = request->id;
    if (settings->id_header.len > 0 && ret->len == 0) {
        return error_set(err, ERROR_DATA, "the request has no \"%" STR_FMT "\"",
                         STR_ARG(settings->id_header));
    }
    if (settings->id_at.count > 0) {
        const JsonValue *id = path_find(&settings->id_at, 0, request->body);
        if (!json_is(id, JSON_STRING) && !json_is(id, JSON_NUMBER)) {
            return missing("id", settings->id, "text or number", err);
        }
        *ret = id->text;
        if (ret->len == 0) {
            return missing("id", settings->id, "text or number", err);
        }
    }
    return ret->len <= ID_BYTES_MAX
               ? STATUS_OK
               : error_set(err, ERROR_DATA, "the request's id has more than %d bytes",
                           ID_BYTES_MAX);
}

static Status read_location(const WebhookSettings *settings, const JsonValue *body, Str *ret,
                            Error *err)
{
    *ret = settings->location;
    if (settings->location.len > 0) {
        return STATUS_OK;
    }
    const JsonValue *location = path_find(&settings->location_at, 0, body);
    if (!json_is(location, JSON_STRING)) {
        return missing("location_path", settings->location_path, "text", err);
    }
    *ret = location->text;
    return STATUS_OK;
}

static bool is_one_of(Str word, const StrList *words)
{
    for (size_t i = 0; i < words->count; i++) {
        if (str_equal(word, words->items[i])) {
            return true;
        }
    }
    return false;
}

static Status read_op(const WebhookSettings *settings, const JsonValue *body, ChangeOp *ret,
                      Error *err)
{
    *ret = CHANGE_UPDATE;
    if (settings->operation_at.count == 0) {
        return STATUS_OK;
    }
    const JsonValue *operation = path_find(&settings->operation_at, 0, body);
    if (!json_is(operation, JSON_STRING)) {
        return missing("operation", settings->operation, "text", err);
    }
    Str verb = operation->text; // of "order.deleted" the last word
    Str part;
    for (Str rest = operation->text; str_split(&rest, '.', &part);) {
        verb = part;
    }
    if (is_one_of(operation->text, &settings->deletes) || is_one_of(verb, &settings->deletes)) {
        *ret = CHANGE_DELETE;
    } else if (str_is(verb, "create") || str_is(verb, "created") || str_is(verb, "insert")) {
        *ret = CHANGE_INSERT;
    }
    return STATUS_OK;
}

Status webhook_events_read(const WebhookSettings *settings, const WebhookRequest *request,
                           Arena *arena, HubEvents *ret, Error *err)
{
    const JsonValue *body = request->body;
    HubEvent like = {.created_s = request->came_s};
    if (read_id(settings, request, &like.id, err) != STATUS_OK ||
        read_location(settings, body, &like.location, err) != STATUS_OK ||
        read_op(settings, body, &like.op, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    like.type = like.location;
    const JsonValue *object =
        settings->object_at.count > 0 ? path_find(&settings->object_at, 0, body) : body;
    bool is_list = json_is(object, JSON_ARRAY);
    size_t count = is_list ? object->count : 1;
    HubEvent *events = ARENA_ARRAY(arena, HubEvent, count + 1);
    for (size_t i = 0; i < count; i++) {
        events[i] = like;
        events[i].object = is_list ? &object->items[i] : object;
        if (!json_is(events[i].object, JSON_OBJECT)) {
            return settings->object.len > 0
                       ? missing("object", settings->object, "object or list of objects", err)
                       : error_set(err, ERROR_DATA, "the body is no object or list of objects");
        }
    }
    *ret = (HubEvents){events, count};
    return STATUS_OK;
}
