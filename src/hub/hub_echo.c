#include "hub/hub_echo.h"

#include "base/buf.h"
#include "base/decimal.h"
#include "base/limits.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/json_read.h"

// What comes first in a fact's name; a title has no such byte.
#define OF_VALUES "v"
#define OF_IDS    "i"

// ---------------------------------------------------------------------------------------------
// Values
// ---------------------------------------------------------------------------------------------

static bool put_number(Buf *out, Str text)
{
    Decimal number;
    if (!decimal_parse(text, &number)) {
        return false;
    }
    if (number.is_small) {
        buf_int64(out, number.small);
        return true;
    }
    buf_cstr(out, number.is_negative ? "-" : "");
    buf_str(out, number.whole);
    buf_str(out, number.fraction);
    buf_char(out, 'e');
    buf_int64(out, number.exponent);
    return true;
}

static void put_value(Buf *out, const JsonValue *value);

static void put_quoted(Buf *out, const JsonValue *value)
{
    CLEANUP(buf_done) Buf text = {.max = LIMIT_TEXT_BYTES};
    put_value(&text, value);
    json_string_lossy(out, buf_view(&text));
}

static void put_items(Buf *out, const JsonValue *value)
{
    for (uint32_t i = 0; i < value->count; i++) {
        buf_char(out, i == 0 ? '[' : ',');
        put_quoted(out, &value->items[i]);
    }
    buf_cstr(out, value->count == 0 ? "" : "]");
}

static void put_members(Buf *out, const JsonValue *value)
{
    if (value->count == 0) {
        return;
    }
    const JsonMember **sorted = json_sorted_members(value);
    for (uint32_t i = 0; i < value->count; i++) {
        buf_char(out, i == 0 ? '{' : ',');
        json_string_lossy(out, sorted[i]->name);
        buf_char(out, ':');
        put_quoted(out, &sorted[i]->value);
    }
    buf_char(out, '}');
    mem_free(sorted);
}

// The same for what counts as the same.
static void put_value(Buf *out, const JsonValue *value)
{
    switch (value->kind) {
    case JSON_NULL:
        break;
    case JSON_BOOL:
        buf_cstr(out, value->is_true ? "true" : "false");
        break;
    case JSON_NUMBER:
    case JSON_STRING:
        if (!put_number(out, value->text)) {
            buf_str(out, value->text);
        }
        break;
    case JSON_ARRAY:
        put_items(out, value);
        break;
    case JSON_OBJECT:
        put_members(out, value);
        break;
    }
}

static Str text_of(const JsonValue *value, Arena *arena)
{
    CLEANUP(buf_done) Buf text = {.max = LIMIT_TEXT_BYTES};
    put_value(&text, value);
    return (Str){arena_copy(arena, text.ptr == NULL ? "" : text.ptr, text.len), text.len};
}

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

// "v<title> <id> <property>": each with its length in front, as it may have any bytes.
static Str fact_name(const char *kind, const Str *parts, size_t count, Arena *arena)
{
    CLEANUP(buf_done) Buf name = {.max = LIMIT_TEXT_BYTES};
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

static Str id_name(const Object *object, int id, int key, const JsonValue *value, Arena *arena)
{
    const SchemaProperty *properties = object->model->properties;
    const Str parts[] = {object->model->title, properties[id].name, properties[key].name,
                         text_of(value, arena)};
    return fact_name(OF_IDS, parts, ARRAY_LEN(parts), arena);
}

// ---------------------------------------------------------------------------------------------
// What is known
// ---------------------------------------------------------------------------------------------

// By what the object is known: its id, by the first rule that pushes it. False: it has none.
static bool find_id(const HubEcho *echo, const Object *object, Arena *arena,
                    const MixerGroup **ret_group, Str *ret)
{
    *ret_group = hub_find_push(echo->system, object->model);
    const JsonValue *id =
        *ret_group == NULL ? NULL : known_member(object, hub_echo_id(&(*ret_group)->rules[0]));
    *ret = id == NULL ? (Str){0} : text_of(id, arena);
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

static Status says_nothing_new(const HubEcho *echo, const Object *object, Str id, Arena *arena,
                               bool *ret, Error *err)
{
    if (is_known(echo, value_name(object, id, STR(""), arena), presence(object), arena, ret, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    uint32_t count = object->op == OBJECT_DELETE ? 0 : object->value.count;
    for (uint32_t i = 0; i < count && *ret; i++) {
        const JsonMember *member = &object->value.members[i];
        if (is_known(echo, value_name(object, id, member->name, arena),
                     text_of(&member->value, arena), arena, ret, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static void put(const HubEcho *echo, Str what, Str value, bool stays)
{
    hub_recall_put(echo->recall, &(HubFact){.what = what, .value = value, .stays = stays});
}

// @group: only what it pushes; NULL: all of it.
static void put_values(const HubEcho *echo, const Object *object, Str id, const MixerGroup *group,
                       Arena *arena)
{
    put(echo, value_name(object, id, STR(""), arena), presence(object), false);
    for (uint32_t i = 0; i < object->value.count; i++) {
        const JsonMember *member = &object->value.members[i];
        int property = model_find_property(object->model, member->name);
        if (group == NULL || is_pushed(group, property, false)) {
            put(echo, value_name(object, id, member->name, arena), text_of(&member->value, arena),
                false);
        }
    }
}

// By each other key, the id; of a deleted object, none.
static void put_ids(const HubEcho *echo, const Object *object, const MixerGroup *group,
                    Arena *arena)
{
    for (size_t r = 0; r < group->count; r++) {
        int id = hub_echo_id(&group->rules[r]);
        const JsonValue *value = known_member(object, id);
        for (int key = 0; value != NULL && key < (int)object->model->property_count; key++) {
            const JsonValue *other = key == id ? NULL : known_member(object, key);
            if (other == NULL || !hub_echo_is_key(echo->hub, object->model, key)) {
                continue;
            }
            CLEANUP(buf_done) Buf text = {.max = LIMIT_TEXT_BYTES};
            json_print(&text, value);
            put(echo, id_name(object, id, key, other, arena),
                object->op == OBJECT_DELETE ? (Str){0} : str_copy(arena, buf_view(&text)), true);
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Receiving and pushing
// ---------------------------------------------------------------------------------------------

Status hub_echo_receive(const HubEcho *echo, const Object *object, bool *ret_is_echo, Error *err)
{
    Arena scratch = {0};
    const MixerGroup *group;
    Str id;
    Status status = STATUS_OK;
    *ret_is_echo = false;
    if (find_id(echo, object, &scratch, &group, &id)) {
        status = says_nothing_new(echo, object, id, &scratch, ret_is_echo, err);
        if (status == STATUS_OK && !*ret_is_echo) {
            put_values(echo, object, id, NULL, &scratch);
            put_ids(echo, object, group, &scratch);
        }
    }
    arena_done(&scratch);
    return status;
}

Status hub_echo_push(const HubEcho *echo, const Object *object, Error *err)
{
    Arena scratch = {0};
    const MixerGroup *group;
    Str id;
    if (find_id(echo, object, &scratch, &group, &id)) {
        put_values(echo, object, id, group, &scratch);
    }
    // What is to be deleted has to be found until it is gone, however often that is asked for.
    if (group != NULL && object->op != OBJECT_DELETE) {
        put_ids(echo, object, group, &scratch);
    }
    arena_done(&scratch);
    return hub_recall_save(echo->recall, LSN_NONE, err);
}

void hub_echo_deleted(const HubEcho *echo, const Object *object)
{
    Arena scratch = {0};
    const MixerGroup *group = hub_find_push(echo->system, object->model);
    if (group != NULL) {
        put_ids(echo, object, group, &scratch);
    }
    arena_done(&scratch);
}

Status hub_echo_refused(const HubEcho *echo, const Object *object, Error *err)
{
    Arena scratch = {0};
    const MixerGroup *group;
    Str id;
    if (find_id(echo, object, &scratch, &group, &id)) {
        put(echo, value_name(object, id, STR(""), &scratch), (Str){0}, false);
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

static Status find_by_keys(const HubEcho *echo, const Object *object, int id, Arena *arena,
                           Str *ret, Error *err)
{
    *ret = (Str){0};
    for (int key = 0; ret->ptr == NULL && key < (int)object->model->property_count; key++) {
        const JsonValue *value = key == id ? NULL : known_member(object, key);
        if (value != NULL && hub_echo_is_key(echo->hub, object->model, key) &&
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
        if (find_by_keys(echo, object, id, arena, &text, err) != STATUS_OK ||
            (text.ptr != NULL && json_read(arena, text, &value, err) != STATUS_OK)) {
            return STATUS_FAIL;
        }
        if (text.ptr != NULL) {
            hub_echo_set(object, id, value, arena);
        }
    }
    return STATUS_OK;
}
