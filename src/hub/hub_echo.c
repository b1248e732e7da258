#include "hub/hub_echo.h"

#include <assert.h>

#include "base/buf.h"
#include "base/limits.h"
#include "codec/json.h"
#include "codec/json_read.h"
#include "hub/hub_same.h"

// What comes first in a fact's name; a title has no such byte.
#define OF_VALUES   "v"
#define OF_IDS      "i"
#define OF_GONE     "g"
#define OF_DELETED  "x" // a delete was asked for, or is about to be
#define OF_GOING    "d" // the log has that, and its reader has not come by it
#define OF_UNHEARD  "u" // of one that goes, something was said by who did not know the id
#define OF_TELLS    "n" // where the log was told of an id last
#define OF_TOLD     "k" // that what has the key is deleted, which the reader has not come by
#define OF_TIMES    "t" // of the last push
#define OF_REQUESTS "r"

// ---------------------------------------------------------------------------------------------
// Properties
// ---------------------------------------------------------------------------------------------

int hub_echo_id(const MixerRule *rule)
{
    for (size_t i = 0; i < rule->count; i++) {
        if (rule->fields[i].is_search_key) {
            return rule->fields[i].property;
        }
    }
    return -1;
}

static bool has_field(const MixerRule *rule, int property, bool is_key)
{
    for (size_t i = 0; i < rule->count; i++) {
        const MixerField *field = &rule->fields[i];
        if (field->property == property && (field->is_search_key || !is_key)) {
            return true;
        }
    }
    return false;
}

// @group may be NULL.
static bool is_pushed(const MixerGroup *group, int property, bool is_key)
{
    for (size_t r = 0; group != NULL && r < group->count; r++) {
        if (has_field(&group->rules[r], property, is_key)) {
            return true;
        }
    }
    return false;
}

bool hub_echo_is_key(const Hub *hub, const Model *model, int property)
{
    for (size_t i = 0; i < hub->system_count; i++) {
        if (is_pushed(hub_find_push(&hub->systems[i], model), property, true)) {
            return true;
        }
    }
    return false;
}

// NULL: absent or null.
static const JsonValue *known_member(const Object *object, int property)
{
    const JsonValue *value =
        property < 0 ? NULL : json_member(&object->value, object->model->properties[property].name);
    return value == NULL || value->kind == JSON_NULL ? NULL : value;
}

void hub_echo_set(Object *object, int property, JsonValue value, Arena *arena)
{
    const Model *model = object->model;
    uint32_t count = object->value.count;
    JsonMember *members = ARENA_ARRAY(arena, JsonMember, count + 1);
    Str name = model->properties[property].name;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!str_equal(object->value.members[i].name, name)) {
            members[kept++] = object->value.members[i];
        }
    }
    members[kept++] =
        (JsonMember){.name = name, .name_id = model->properties[property].name_id, .value = value};
    object->value = (JsonValue){.kind = JSON_OBJECT, .count = kept, .members = members};
}

// ---------------------------------------------------------------------------------------------
// Names of facts
// ---------------------------------------------------------------------------------------------

// Of the value of a search key. Nothing is cut: what differs has another name.
static Str key_text(const Object *object, int key, const JsonValue *value, Arena *arena)
{
    CLEANUP(buf_done) Buf text = {.max = SIZE_MAX};
    hub_key_name(&text, value, object->model->properties[key].types);
    return (Str){arena_copy(arena, text.ptr == NULL ? "" : text.ptr, text.len), text.len};
}

// "v<title> <id> <property>": each with its length in front, as it may have any bytes.
static Str fact_name(const char *kind, const Str *parts, size_t count, Arena *arena)
{
    CLEANUP(buf_done) Buf name = {.max = SIZE_MAX};
    buf_cstr(&name, kind);
    for (size_t i = 0; i < count; i++) {
        buf_uint64(&name, parts[i].len);
        buf_char(&name, ':');
        buf_str(&name, parts[i]);
    }
    return (Str){arena_copy(arena, name.ptr, name.len), name.len};
}

// @property: "" is whether it is there at all.
static Str value_name(const Object *object, Str id, Str property, Arena *arena)
{
    const Str parts[] = {object->model->title, id, property};
    return fact_name(OF_VALUES, parts, ARRAY_LEN(parts), arena);
}

// Of the object as a whole: @kind says what.
static Str whole_name(const char *kind, const Object *object, Str id, Arena *arena)
{
    const Str parts[] = {object->model->title, id};
    return fact_name(kind, parts, ARRAY_LEN(parts), arena);
}

static Str request_name(const Object *object, Str request, Arena *arena)
{
    const Str parts[] = {object->model->title, request};
    return fact_name(OF_REQUESTS, parts, ARRAY_LEN(parts), arena);
}

static Str key_name(const char *kind, const Object *object, int id, int key, const JsonValue *value,
                    Arena *arena)
{
    const SchemaProperty *properties = object->model->properties;
    const Str parts[] = {object->model->title, properties[id].name, properties[key].name,
                         key_text(object, key, value, arena)};
    return fact_name(kind, parts, ARRAY_LEN(parts), arena);
}

static Str id_name(const Object *object, int id, int key, const JsonValue *value, Arena *arena)
{
    return key_name(OF_IDS, object, id, key, value, arena);
}

// ---------------------------------------------------------------------------------------------
// What is known
// ---------------------------------------------------------------------------------------------

// By what the object is known: its id, by the first rule that pushes it. False: it has none.
static bool find_id(const HubEcho *echo, const Object *object, Arena *arena,
                    const MixerGroup **ret_group, Str *ret)
{
    *ret_group = hub_find_push(echo->system, object->model);
    int property = *ret_group == NULL ? -1 : hub_echo_id(&(*ret_group)->rules[0]);
    const JsonValue *id = known_member(object, property);
    *ret = id == NULL ? (Str){0} : key_text(object, property, id, arena);
    return id != NULL;
}

static Str presence(const Object *object)
{
    return object->op == OBJECT_DELETE ? STR("deleted") : STR("there");
}

static Status is_known(const HubEcho *echo, Str what, Str value, Arena *arena, bool *ret,
                       Error *err)
{
    Str known;
    if (hub_recall_get(echo->recall, what, arena, &known, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = known.ptr != NULL && str_equal(known, value);
    return STATUS_OK;
}

// What is said of a property.
typedef struct Saying {
    Str what; // the fact's name
    const JsonValue *value;
    uint32_t types; // that the property may have
} Saying;

static Saying saying_of(const Object *object, Str id, const JsonMember *member, Arena *arena)
{
    int property = model_find_property(object->model, member->name);
    return (Saying){value_name(object, id, member->name, arena), &member->value,
                    property < 0 ? 0 : object->model->properties[property].types};
}

static Status was_said(const HubEcho *echo, const Saying *saying, Arena *arena, bool *ret,
                       Error *err)
{
    Str known;
    if (hub_recall_get(echo->recall, saying->what, arena, &known, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = known.ptr != NULL && hub_same_as_printed(known, saying->value, saying->types);
    return STATUS_OK;
}

static Status says_nothing_new(const HubEcho *echo, const Object *object, Str id, Arena *arena,
                               bool *ret, Error *err)
{
    if (is_known(echo, value_name(object, id, STR(""), arena), presence(object), arena, ret, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    uint32_t count = object->op == OBJECT_DELETE ? 0 : object->value.count;
    for (uint32_t i = 0; i < count && *ret; i++) {
        const Saying saying = saying_of(object, id, &object->value.members[i], arena);
        if (was_said(echo, &saying, arena, ret, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status is_gone(const HubEcho *echo, const Object *object, Str id, Arena *arena, bool *ret,
                      Error *err)
{
    return is_known(echo, whole_name(OF_GONE, object, id, arena), STR(""), arena, ret, err);
}

static void put(const HubEcho *echo, Str what, Str value, bool stays)
{
    hub_recall_put(echo->recall, &(HubFact){.what = what, .value = value, .stays = stays});
}

// As JSON, of which so much can be read again.
static Status print_member(const Object *object, const JsonMember *member, Arena *arena, Str *ret,
                           Error *err)
{
    CLEANUP(buf_done) Buf text = {.max = LIMIT_JSON_BYTES};
    json_print(&text, &member->value);
    if (buf_check(&text, "the value", err) != STATUS_OK) {
        return error_wrap(err, "\"%" STR_FMT "\" of a \"%" STR_FMT "\"", STR_ARG(member->name),
                          STR_ARG(object->model->title));
    }
    *ret = str_copy(arena, buf_view(&text));
    return STATUS_OK;
}

// @group: only what it pushes; NULL: all of it.
static Status put_values(const HubEcho *echo, const Object *object, Str id, const MixerGroup *group,
                         Arena *arena, Error *err)
{
    put(echo, value_name(object, id, STR(""), arena), presence(object), false);
    for (uint32_t i = 0; i < object->value.count; i++) {
        const JsonMember *member = &object->value.members[i];
        int property = model_find_property(object->model, member->name);
        if (group != NULL && !is_pushed(group, property, false)) {
            continue;
        }
        Str text;
        if (print_member(object, member, arena, &text, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        put(echo, value_name(object, id, member->name, arena), text, false);
    }
    return STATUS_OK;
}

// The id is no longer found by @key and its value; another one may be by now.
static Status forget_id(const HubEcho *echo, Str what, Str id, Arena *arena, Error *err)
{
    bool is_it;
    if (is_known(echo, what, id, arena, &is_it, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (is_it) {
        put(echo, what, (Str){0}, true);
    }
    return STATUS_OK;
}

static Status put_id(const HubEcho *echo, const Object *object, int id, const JsonValue *value,
                     Arena *arena, Error *err)
{
    CLEANUP(buf_done) Buf printed = {.max = SIZE_MAX};
    json_print(&printed, value);
    Str text = str_copy(arena, buf_view(&printed));
    for (int key = 0; key < (int)object->model->property_count; key++) {
        if (key == id || !hub_echo_is_key(echo->hub, object->model, key)) {
            continue;
        }
        Str name = object->model->properties[key].name;
        const JsonValue *before = json_member(&object->before, name);
        const JsonValue *now = known_member(object, key);
        if (before != NULL && forget_id(echo, id_name(object, id, key, before, arena), text, arena,
                                        err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        Str what = now == NULL ? (Str){0} : id_name(object, id, key, now, arena);
        if (now != NULL && object->op == OBJECT_UPSERT) {
            put(echo, what, text, true);
        } else if (now != NULL && forget_id(echo, what, text, arena, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// By each other key, the id; of a deleted object, none, and that it is gone.
static Status put_ids(const HubEcho *echo, const Object *object, const MixerGroup *group,
                      Arena *arena, Error *err)
{
    for (size_t r = 0; r < group->count; r++) {
        int id = hub_echo_id(&group->rules[r]);
        const JsonValue *value = known_member(object, id);
        if (value == NULL) {
            continue;
        }
        if (object->op == OBJECT_DELETE) {
            Str gone = key_text(object, id, value, arena);
            put(echo, whole_name(OF_GONE, object, gone, arena), STR(""), true);
        }
        if (put_id(echo, object, id, value, arena, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static const JsonValue *other_key(const HubEcho *echo, const Object *object, int id, int key)
{
    return key == id || !hub_echo_is_key(echo->hub, object->model, key) ? NULL
                                                                        : known_member(object, key);
}

void hub_echo_tell_delete(const HubEcho *echo, const Object *object, Arena *arena)
{
    const MixerGroup *group;
    Str id;
    if (!find_id(echo, object, arena, &group, &id)) {
        return;
    }
    int of_id = hub_echo_id(&group->rules[0]);
    put(echo, whole_name(OF_GOING, object, id, arena), STR(""), true);
    for (int key = 0; key < (int)object->model->property_count; key++) {
        const JsonValue *other = other_key(echo, object, of_id, key);
        if (other != NULL) {
            put(echo, key_name(OF_TOLD, object, of_id, key, other, arena), id, true);
        }
    }
}

// The reader of the log has come by it. Another one may have been told since.
static Status pass_delete(const HubEcho *echo, const Object *object, int of_id, Str id,
                          Arena *arena, Error *err)
{
    put(echo, whole_name(OF_GOING, object, id, arena), (Str){0}, true);
    for (int key = 0; key < (int)object->model->property_count; key++) {
        const JsonValue *other = other_key(echo, object, of_id, key);
        if (other != NULL && forget_id(echo, key_name(OF_TOLD, object, of_id, key, other, arena),
                                       id, arena, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

Status hub_echo_is_told_deleted(const HubEcho *echo, const Object *object, Arena *arena, bool *ret,
                                Error *err)
{
    const MixerGroup *group = hub_find_push(echo->system, object->model);
    int of_id = hub_echo_id(&group->rules[0]);
    *ret = false;
    for (int key = 0; !*ret && key < (int)object->model->property_count; key++) {
        const JsonValue *other = other_key(echo, object, of_id, key);
        Str known = {0};
        if (other != NULL &&
            hub_recall_get(echo->recall, key_name(OF_TOLD, object, of_id, key, other, arena), arena,
                           &known, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        *ret = known.ptr != NULL;
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Telling
// ---------------------------------------------------------------------------------------------

// Of all its keys, with what they are.
static Str telling_name(const HubEcho *echo, const Object *object, Arena *arena)
{
    CLEANUP(buf_done) Buf name = {.max = SIZE_MAX};
    for (int key = 0; key < (int)object->model->property_count; key++) {
        const JsonValue *value = other_key(echo, object, -1, key);
        if (value != NULL) {
            const Str parts[] = {object->model->properties[key].name,
                                 key_text(object, key, value, arena)};
            buf_str(&name, fact_name("", parts, ARRAY_LEN(parts), arena));
        }
    }
    return whole_name(OF_TELLS, object, buf_view(&name), arena);
}

void hub_echo_tell(const HubEcho *echo, const Object *object, Lsn lsn, Arena *arena)
{
    Str text = str_from(arena_printf(arena, "%llu", (unsigned long long)lsn));
    put(echo, telling_name(echo, object, arena), text, false);
}

Status hub_echo_is_told(const HubEcho *echo, const Object *object, Lsn since, Arena *arena,
                        bool *ret, Error *err)
{
    Str text;
    uint64_t lsn;
    if (hub_recall_get(echo->recall, telling_name(echo, object, arena), arena, &text, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = text.ptr != NULL && str_to_uint64(text, &lsn) && lsn > since;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Requests
// ---------------------------------------------------------------------------------------------

// What of @object is pushed, as a JSON object of texts that are JSON: so it is no deeper than what
// was read.
static Status put_request(const HubEcho *echo, const Object *object, const MixerGroup *group,
                          Str request, Arena *arena, Error *err)
{
    CLEANUP(buf_done) Buf said = {.max = LIMIT_JSON_BYTES};
    const char *before = "{";
    for (uint32_t i = 0; i < object->value.count; i++) {
        const JsonMember *member = &object->value.members[i];
        Str text;
        if (!is_pushed(group, model_find_property(object->model, member->name), false)) {
            continue;
        }
        if (print_member(object, member, arena, &text, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        buf_cstr(&said, before);
        json_string_lossy(&said, member->name);
        buf_char(&said, ':');
        json_string_lossy(&said, text);
        before = ",";
    }
    buf_cstr(&said, before[0] == '{' ? "{}" : "}");
    if (buf_check(&said, "what is pushed", err) != STATUS_OK) {
        return error_wrap(err, "a \"%" STR_FMT "\"", STR_ARG(object->model->title));
    }
    put(echo, request_name(object, request, arena), buf_view(&said), false);
    return STATUS_OK;
}

// *ret NULL: no such request is known.
static Status find_request(const HubEcho *echo, const Object *object, Str request, Arena *arena,
                           const JsonValue **ret, Error *err)
{
    Str text;
    *ret = NULL;
    if (request.len == 0) {
        return STATUS_OK;
    }
    if (hub_recall_get(echo->recall, request_name(object, request, arena), arena, &text, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    if (text.ptr == NULL) {
        return STATUS_OK;
    }
    JsonValue *said = ARENA_ARRAY(arena, JsonValue, 1);
    *ret = said;
    return json_read(arena, text, said, err);
}

// @by_request: what the request said of it. Where that is NULL, what is remembered counts.
static Status is_news(const HubEcho *echo, const Saying *saying, const JsonValue *by_request,
                      Arena *arena, bool *ret, Error *err)
{
    bool known =
        by_request != NULL && hub_same_as_printed(by_request->text, saying->value, saying->types);
    if (by_request == NULL && was_said(echo, saying, arena, &known, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = !known;
    return STATUS_OK;
}

// What is no news of @object is taken out of it; its keys stay, for others to find it by.
static Status keep_news(const HubEcho *echo, Object *object, Str id, const JsonValue *said,
                        Arena *arena, bool *ret_is_echo, Error *err)
{
    const Model *model = object->model;
    int of_id = hub_echo_id(&hub_find_push(echo->system, model)->rules[0]);
    JsonMember *members = ARENA_ARRAY(arena, JsonMember, object->value.count);
    uint32_t kept = 0;
    *ret_is_echo = true;
    for (uint32_t i = 0; i < object->value.count; i++) {
        const JsonMember *member = &object->value.members[i];
        int property = model_find_property(model, member->name);
        const Saying saying = saying_of(object, id, member, arena);
        bool news = false;
        if (property != of_id && is_news(echo, &saying, json_member(said, member->name), arena,
                                         &news, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (news || hub_echo_is_key(echo->hub, model, property)) {
            members[kept++] = *member;
        }
        *ret_is_echo = *ret_is_echo && !news;
    }
    object->value.members = members;
    object->value.count = kept;
    object->is_partial = true;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Receiving and pushing
// ---------------------------------------------------------------------------------------------

static Status is_echo(const HubEcho *echo, Object *object, Str id, Str request, Arena *arena,
                      bool *ret, Error *err)
{
    const JsonValue *said;
    Status status;
    if (object->op == OBJECT_DELETE) {
        // No id is given twice: it stays so, whatever was said of it since.
        status =
            is_known(echo, whole_name(OF_DELETED, object, id, arena), STR(""), arena, ret, err);
        return status == STATUS_OK && !*ret ? says_nothing_new(echo, object, id, arena, ret, err)
                                            : status;
    }
    // So what another kind of thing says of it behind its delete is late.
    status = hub_echo_will_go(echo, object, arena, ret, err);
    if (status != STATUS_OK || *ret) {
        return status;
    }
    if (find_request(echo, object, request, arena, &said, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return said != NULL ? keep_news(echo, object, id, said, arena, ret, err)
                        : says_nothing_new(echo, object, id, arena, ret, err);
}

Status hub_echo_receive(const HubEcho *echo, Object *object, Str request, Arena *arena,
                        bool *ret_is_echo, Error *err)
{
    const MixerGroup *group;
    Str id;
    *ret_is_echo = false;
    if (!find_id(echo, object, arena, &group, &id)) {
        return STATUS_OK;
    }
    if (is_echo(echo, object, id, request, arena, ret_is_echo, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (*ret_is_echo) {
        return STATUS_OK;
    }
    if (put_values(echo, object, id, NULL, arena, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (object->op == OBJECT_DELETE) {
        hub_echo_tell_delete(echo, object, arena);
    }
    return STATUS_OK;
}

static Status put_push(const HubEcho *echo, const Object *object, Str request, Arena *arena,
                       Error *err)
{
    const MixerGroup *group;
    Str id;
    bool has_id = find_id(echo, object, arena, &group, &id);
    if (has_id && put_values(echo, object, id, group, arena, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (group != NULL && request.len > 0 &&
        put_request(echo, object, group, request, arena, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (object->op == OBJECT_UPSERT) {
        return group == NULL ? STATUS_OK : put_ids(echo, object, group, arena, err);
    }
    // What is to be deleted has to be found until it is gone, however often that is asked for.
    if (has_id) {
        put(echo, whole_name(OF_DELETED, object, id, arena), STR(""), true);
    }
    return STATUS_OK;
}

Status hub_echo_push(const HubEcho *echo, const Object *object, Str request, Error *err)
{
    Arena scratch = {0};
    Status status = put_push(echo, object, request, &scratch, err);
    arena_done(&scratch);
    return status == STATUS_OK ? hub_recall_save(echo->recall, LSN_NONE, err) : STATUS_FAIL;
}

Status hub_echo_pushed(const HubEcho *echo, const Object *object, int64_t at_s, Error *err)
{
    Arena scratch = {0};
    const MixerGroup *group;
    Str id;
    Status status = STATUS_OK;
    if (find_id(echo, object, &scratch, &group, &id)) {
        Str text = str_from(arena_printf(&scratch, "%lld", (long long)at_s));
        put(echo, whole_name(OF_TIMES, object, id, &scratch), text, true);
        status = put_ids(echo, object, group, &scratch, err);
    }
    arena_done(&scratch);
    return status;
}

// In doubt: a clock of seconds does not say which of two was first.
static Status is_pushed_over(const HubEcho *echo, const Object *object, Str id, int64_t made_s,
                             Arena *arena, bool *ret, Error *err)
{
    Str text;
    int64_t pushed_s;
    if (hub_recall_get(echo->recall, whole_name(OF_TIMES, object, id, arena), arena, &text, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = text.ptr != NULL && str_to_int64(text, &pushed_s) && pushed_s >= made_s;
    return STATUS_OK;
}

Status hub_echo_is_pushed(const HubEcho *echo, const Object *object, const JsonValue *id, bool *ret,
                          Error *err)
{
    Arena scratch = {0};
    const MixerGroup *group = hub_find_push(echo->system, object->model);
    assert(group != NULL);
    Str text = key_text(object, hub_echo_id(&group->rules[0]), id, &scratch);
    Status status = is_pushed_over(echo, object, text, INT64_MIN, &scratch, ret, err);
    arena_done(&scratch);
    return status;
}

static Status pass(const HubEcho *echo, const Object *object, int64_t made_s, Arena *arena,
                   bool *ret_is_over, Error *err)
{
    const MixerGroup *group;
    Str id;
    if (!find_id(echo, object, arena, &group, &id)) {
        return STATUS_OK;
    }
    if (object->op == OBJECT_DELETE) {
        if (pass_delete(echo, object, hub_echo_id(&group->rules[0]), id, arena, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    } else {
        bool goes;
        if (hub_echo_will_go(echo, object, arena, &goes, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (goes) {
            return STATUS_OK; // further on in the log
        }
        if (is_gone(echo, object, id, arena, ret_is_over, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (*ret_is_over) {
            return STATUS_OK; // as if another system had said it
        }
        if (is_pushed_over(echo, object, id, made_s, arena, ret_is_over, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return put_ids(echo, object, group, arena, err);
}

Status hub_echo_pass(const HubEcho *echo, const Object *object, int64_t made_s, bool *ret_is_over,
                     Error *err)
{
    Arena scratch = {0};
    *ret_is_over = false;
    Status status = pass(echo, object, made_s, &scratch, ret_is_over, err);
    arena_done(&scratch);
    return status;
}

Status hub_echo_will_go(const HubEcho *echo, const Object *object, Arena *arena, bool *ret,
                        Error *err)
{
    const MixerGroup *group;
    Str id;
    *ret = false;
    return find_id(echo, object, arena, &group, &id)
               ? is_known(echo, whole_name(OF_GOING, object, id, arena), STR(""), arena, ret, err)
               : STATUS_OK;
}

Status hub_echo_refused(const HubEcho *echo, const Object *object, Error *err)
{
    Arena scratch = {0};
    const MixerGroup *group;
    Str id;
    if (find_id(echo, object, &scratch, &group, &id)) {
        put(echo, value_name(object, id, STR(""), &scratch), (Str){0}, false);
        put(echo, whole_name(OF_DELETED, object, id, &scratch), (Str){0}, true);
        for (uint32_t i = 0; i < object->value.count; i++) {
            put(echo, value_name(object, id, object->value.members[i].name, &scratch), (Str){0},
                false);
        }
    }
    arena_done(&scratch);
    return hub_recall_save(echo->recall, LSN_NONE, err);
}

// ---------------------------------------------------------------------------------------------
// Ids
// ---------------------------------------------------------------------------------------------

void hub_echo_put_unheard(const HubEcho *echo, const Object *object, Arena *arena)
{
    const MixerGroup *group;
    Str id;
    if (find_id(echo, object, arena, &group, &id)) {
        put(echo, whole_name(OF_UNHEARD, object, id, arena), STR(""), true);
    }
}

Status hub_echo_take_unheard(const HubEcho *echo, const Object *object, Arena *arena, bool *ret,
                             Error *err)
{
    const MixerGroup *group;
    Str id;
    *ret = false;
    if (!find_id(echo, object, arena, &group, &id)) {
        return STATUS_OK;
    }
    Str what = whole_name(OF_UNHEARD, object, id, arena);
    if (is_known(echo, what, STR(""), arena, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (*ret) {
        put(echo, what, (Str){0}, true);
    }
    return STATUS_OK;
}

Status hub_echo_drop_gone(const HubEcho *echo, Object *object, Arena *arena, bool *ret, Error *err)
{
    const MixerGroup *group = hub_find_push(echo->system, object->model);
    *ret = false;
    for (size_t r = 0; group != NULL && r < group->count; r++) {
        int id = hub_echo_id(&group->rules[r]);
        const JsonValue *value = known_member(object, id);
        bool gone = false;
        if (value != NULL && is_gone(echo, object, key_text(object, id, value, arena), arena, &gone,
                                     err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (gone) {
            hub_echo_set(object, id, (JsonValue){.kind = JSON_NULL}, arena);
            *ret = true;
        }
    }
    return STATUS_OK;
}

// @members: of @object, or what they were before.
static Status find_by_keys(const HubEcho *echo, const Object *object, const JsonValue *members,
                           int id, Arena *arena, Str *ret, Error *err)
{
    *ret = (Str){0};
    for (int key = 0; ret->ptr == NULL && key < (int)object->model->property_count; key++) {
        const JsonValue *value =
            key == id ? NULL : json_member(members, object->model->properties[key].name);
        if (value != NULL && value->kind != JSON_NULL &&
            hub_echo_is_key(echo->hub, object->model, key) &&
            hub_recall_get(echo->recall, id_name(object, id, key, value, arena), arena, ret, err) !=
                STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

Status hub_echo_complete(const HubEcho *echo, Object *object, Arena *arena, Error *err)
{
    const MixerGroup *group = hub_find_push(echo->system, object->model);
    for (size_t r = 0; group != NULL && r < group->count; r++) {
        int id = hub_echo_id(&group->rules[r]);
        Str text;
        JsonValue value;
        if (id < 0 || known_member(object, id) != NULL) {
            continue;
        }
        if (find_by_keys(echo, object, &object->value, id, arena, &text, err) != STATUS_OK ||
            (text.ptr == NULL &&
             find_by_keys(echo, object, &object->before, id, arena, &text, err) != STATUS_OK) ||
            (text.ptr != NULL && json_read(arena, text, &value, err) != STATUS_OK)) {
            return STATUS_FAIL;
        }
        if (text.ptr == NULL) {
            continue;
        }
        bool gone;
        hub_echo_set(object, id, value, arena);
        if (hub_echo_drop_gone(echo, object, arena, &gone, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}
