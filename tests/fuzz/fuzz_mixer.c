// A row or a JSON object is received by a rule with each type of property: what comes out of it is
// told apart by the model's check, and an object that is valid comes back the same from a batch,
// and from a table of columns that hold its properties.
//
// The first byte: the op and whether a JSON text follows; otherwise follow the row's values, each a
// byte for its state, a byte of length, the bytes.
#include "codec/json_read.h"
#include "fuzz.h"
#include "model/convert.h"
#include "model/hub.h"
#include "model/object.h"

static const char model_text[] =
    "{\"title\":\"m\",\"required\":[\"s\"],\"properties\":{\"i\":{\"type\":[\"integer\",\"null\"]},"
    "\"n\":{\"type\":[\"number\",\"null\"],\"minimum\":-5},\"s\":{\"type\":\"string\"},"
    "\"b\":{\"type\":[\"boolean\",\"null\"]},\"any\":{},\"mix\":{\"type\":[\"number\",\"string\"]},"
    "\"nested\":{\"type\":[\"object\",\"array\"]},\"c\":{\"const\":7}}}";

#define FIELDS                                                                            \
    "        a: { field: i }\n        b: { field: n }\n        c: { field: s }\n"         \
    "        d: { field: b }\n        e.x.0: { field: any }\n        f: { field: mix }\n" \
    "        g: { field: nested }\n        h: { field: c, hardcode: 7 }\n"

static const char systems_text[] =
    "db:\n  type: postgresql\n  dsn: x\n  receive_mixer:\n    s.t:\n      m:\n" FIELDS
    "  push_mixer:\n    m:\n      s.u:\n        i: { field: i, search_key: true }\n"
    "        s: { field: s, search_key: true }\n        n: { field: n }\n"
    "        b: { field: b }\n        any: { field: any }\n        mix: { field: mix }\n"
    "        nested: { field: nested }\n        k: { field: k, hardcode: x }\n"
    "json:\n  type: stripe\n  api_key: x\n  use_cli_listener: true\n"
    "  receive_mixer:\n    t:\n      m:\n" FIELDS;

enum { COLUMNS = 7 };

typedef struct Fixture {
    Hub *hub;
    const Model *model;
    SchemaValidator *validator;
    Arena arena;
    MixerBinding received;
    MixerBinding pushed; // to columns that hold what the properties can be
} Fixture;

static Relation *make_relation(Arena *arena, const char *const *names, const uint32_t *types,
                               uint16_t count)
{
    Relation *relation = arena_alloc_zero(arena, sizeof(*relation));
    relation->column_count = count;
    relation->columns = ARENA_ARRAY(arena, Column, count);
    for (uint16_t i = 0; i < count; i++) {
        relation->columns[i] = (Column){.name = str_from(names[i]),
                                        .type_oid = types[i],
                                        .type_name = STR("t"),
                                        .type = type_class(types[i])};
    }
    return relation;
}

static const Fixture *fixture(void)
{
    static Fixture made;
    if (made.hub != NULL) {
        return &made;
    }
    static const char *const from[] = {"a", "b", "c", "d", "e", "f", "g"};
    static const uint32_t from_types[] = {OID_TEXT,  OID_NUMERIC, OID_VARCHAR, OID_BOOL,
                                          OID_JSONB, OID_FLOAT8,  OID_JSON};
    static const char *const to[] = {"i", "s", "n", "b", "any", "mix", "nested", "k"};
    static const uint32_t to_types[] = {OID_INT8,  OID_TEXT,  OID_NUMERIC, OID_BOOL,
                                        OID_JSONB, OID_JSONB, OID_JSON,    OID_DATE};
    HubFile models = {STR("m"), STR("models/m.json"), str_from(model_text)};
    HubFile systems = {STR("s"), STR("s"), str_from(systems_text)};
    const HubFiles files = {&models, 1, &systems, 1};
    Error err;
    FUZZ_CHECK(hub_compile(&files, &made.hub, &err) == STATUS_OK);
    made.model = hub_find_model(made.hub, STR("m"));
    made.validator = schema_validator_new(made.model->schema);
    const HubSystem *db = &made.hub->systems[0];
    FUZZ_CHECK(mixer_bind(db->receive[0].rules, false,
                          make_relation(&made.arena, from, from_types, COLUMNS), &made.arena,
                          &made.received, &err) == STATUS_OK);
    FUZZ_CHECK(mixer_bind(db->push[0].rules, true,
                          make_relation(&made.arena, to, to_types, COLUMNS + 1), &made.arena,
                          &made.pushed, &err) == STATUS_OK);
    return &made;
}

// The same by value: null members are there, absent ones are not.
static void check_same(const JsonValue *a, const JsonValue *b)
{
    FUZZ_CHECK(json_equal(a, b));
}

// Of what is deleted, a value that its property cannot carry is left out: only search keys count.
static void check_part_of(const JsonValue *part, const JsonValue *whole)
{
    for (uint32_t i = 0; i < part->count; i++) {
        const JsonValue *other = json_member(whole, part->members[i].name);
        FUZZ_CHECK(other != NULL);
        check_same(&part->members[i].value, other);
    }
}

static void check_carried(const Fixture *on, const Object *object, Arena *arena)
{
    Batch *batch = batch_new();
    Change *change;
    Object taken;
    Error err;
    if (object_put(batch, object, &change, &err) == STATUS_OK) {
        FUZZ_CHECK(object_take(on->model, change, arena, &taken, &err) == STATUS_OK);
        FUZZ_CHECK(taken.op == object->op);
        check_part_of(&taken.value, &object->value);
        FUZZ_CHECK(object->op == OBJECT_DELETE || taken.value.count == object->value.count);
    } else {
        FUZZ_CHECK(err.kind == ERROR_DATA && batch->count == 0);
    }
    batch_unref(batch);
}

static void check_cells(const Fixture *on, const Object *object, const Value *row, Arena *arena)
{
    const Relation *relation = on->pushed.relation;
    const MixerRule *rule = on->pushed.rule;
    for (size_t i = 0; i < rule->count; i++) {
        const MixerField *field = &rule->fields[i];
        int column = on->pushed.columns[i];
        if (field->property < 0) {
            continue;
        }
        const JsonValue *member =
            json_member(&object->value, on->model->properties[field->property].name);
        FUZZ_CHECK(object->op == OBJECT_DELETE || (member != NULL) == value_is_known(row[column]));
        JsonValue back;
        Error err;
        if (member != NULL && value_is_known(row[column])) {
            FUZZ_CHECK(convert_from_column(arena, &relation->columns[column], row[column], &back,
                                           &err) == STATUS_OK);
            check_same(&back, member);
        }
    }
}

static void check_pushed(const Fixture *on, const Object *object, Arena *arena)
{
    PushedRow row;
    Value *values;
    Error err;
    if (mixer_push(on->pushed.rule, object, arena, &row, &err) != STATUS_OK) {
        FUZZ_CHECK(err.kind == ERROR_DATA && object->op == OBJECT_DELETE);
        return;
    }
    FUZZ_CHECK(row.search_key_count <= row.count);
    FUZZ_CHECK(row.op != OBJECT_DELETE || row.search_key_count == row.count);
    if (row.count == 0) {
        return;
    }
    if (mixer_push_values(&on->pushed, &row, arena, &values, &err) == STATUS_OK) {
        check_cells(on, object, values, arena);
    } else {
        FUZZ_CHECK(err.kind == ERROR_DATA);
    }
}

static void check_object(const Fixture *on, const Object *object, Arena *arena)
{
    Error err;
    FUZZ_CHECK(object->value.kind == JSON_OBJECT);
    FUZZ_CHECK(object->value.count <= on->model->property_count);
    for (uint32_t i = 0; i < object->value.count; i++) {
        FUZZ_CHECK(model_find_property(on->model, object->value.members[i].name) >= 0);
    }
    if (object_validate(object, on->validator, &err) == STATUS_OK) {
        check_carried(on, object, arena);
        check_pushed(on, object, arena);
    } else {
        FUZZ_CHECK(err.kind == ERROR_DATA && err.message[0] != '\0');
    }
}

static void read_row(const uint8_t *data, size_t size, Value *row)
{
    static const ValueState states[] = {VALUE_ABSENT, VALUE_NULL, VALUE_UNCHANGED, VALUE_TEXT,
                                        VALUE_BINARY, VALUE_TEXT, VALUE_TEXT,      VALUE_TEXT};
    for (size_t i = 0; i < COLUMNS && size >= 2; i++) {
        size_t len = MIN((size_t)data[1], size - 2);
        row[i] = (Value){(const char *)data + 2, (uint32_t)len, states[data[0] % 8]};
        data += 2 + len;
        size -= 2 + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ChangeOp ops[] = {CHANGE_INSERT, CHANGE_UPDATE, CHANGE_DELETE, CHANGE_READ};
    if (size == 0) {
        return 0;
    }
    const Fixture *on = fixture();
    Arena arena = {0};
    Object object;
    Status status = STATUS_FAIL;
    ChangeOp op = ops[data[0] % 4];
    if ((data[0] & 4) != 0) {
        JsonValue value;
        const MixerRule *rule = on->hub->systems[1].receive[0].rules;
        Str text = {(const char *)data + 1, size - 1};
        if (json_read(&arena, text, &value, NULL) == STATUS_OK) {
            status = mixer_receive_json(rule, op, &value, &arena, &object, NULL);
        }
    } else {
        Value row[COLUMNS] = {0};
        read_row(data + 1, size - 1, row);
        const MixerRow read = mixer_row(on->received.relation, row, &arena);
        status = mixer_receive_row(&on->received, op, &read, &arena, &object, NULL);
    }
    if (status == STATUS_OK) {
        check_object(on, &object, &arena);
    }
    arena_done(&arena);
    return 0;
}
