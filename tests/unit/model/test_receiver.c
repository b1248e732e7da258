// Receivers: every rule of a location, each with an object or with all that is wrong.
#include <string.h>

#include "arena_fixture.h"
#include "base/buf.h"
#include "base/limits.h"
#include "codec/json_read.h"
#include "model/object.h"
#include "model/receiver.h"
#include "relations.h"

#define MODEL(title, properties) \
    "{\"title\":\"" title "\",\"required\":[\"name\"],\"properties\":{" properties "}}"

static const char systems[] =
    "db:\n  type: postgresql\n  dsn: x\n  receive_mixer:\n"
    "    public.items:\n"
    "      product:\n        id: { field: id }\n        name: { field: name }\n"
    "      price:\n        name: { field: name }\n        amount: { field: amount }\n"
    "    public.documents:\n"
    "      document:\n        text.name: { field: name }\n        text: { field: all }\n"
    "      product:\n        text.name: { field: name }\n"
    "  push_mixer:\n    product:\n      public.items:\n"
    "        id: { field: id, search_key: true }\n        name: { field: name }\n"
    "gateway:\n  type: stripe\n  api_key: k\n  use_cli_listener: true\n  receive_mixer:\n"
    "    item:\n"
    "      product:\n        number: { field: id }\n        title: { field: name }\n"
    "      price:\n        title: { field: name }\n        amount.value: { field: amount }\n"
    "    bare:\n      product:\n        a: { field: name }\n";

static Hub *hub;
static Error err;

static int set_up(void **context)
{
    (void)context;
    HubFile models[] = {
        {STR("p"), STR("models/p.json"),
         STR(MODEL("product", "\"id\":{\"type\":\"integer\"},\"name\":{\"type\":\"string\"}"))},
        {STR("q"), STR("models/q.json"),
         STR(MODEL(
             "price",
             "\"amount\":{\"type\":\"number\",\"minimum\":0},\"name\":{\"type\":\"string\"}"))},
        {STR("d"), STR("models/d.json"), STR(MODEL("document", "\"name\":{},\"all\":{}"))},
    };
    HubFile file = {STR("s.yml"), STR("s.yml"), str_from(systems)};
    const HubFiles files = {
        .models = models, .model_count = 3, .systems = &file, .system_count = 1};
    if (hub_compile(&files, &hub, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
    return 0;
}

static Receiver *receiver_of(const char *system)
{
    return receiver_new(hub, hub_find_system(hub, str_from(system)));
}

static Relation *items(const char *name)
{
    const Column columns[] = {INT8("id", 1), TEXT("name", 2), NUMERIC("amount", 3)};
    return relation_of(&arena, 1, "public", name, "a", columns, ARRAY_LEN(columns));
}

static void assert_object(const Received *outcome, const char *title, const char *expected)
{
    CLEANUP(buf_done) Buf out;
    buf_init(&out, LIMIT_TEXT_BYTES);
    if (!outcome->is_valid) {
        fail_msg("%s", outcome->error.message);
    }
    json_print(&out, &outcome->object.value);
    assert_true(str_is(outcome->object.model->title, title));
    assert_string_equal(buf_cstring(&out), expected);
}

static void one_change_makes_objects_of_several_models(void **context)
{
    (void)context;
    Receiver *receiver = receiver_of("db");
    const Relation *relation = items("items");
    ReceivedList list;
    for (int i = 0; i < 3; i++) { // the columns are found once
        assert_int_equal(receiver_row(receiver, CHANGE_INSERT, relation, NULL,
                                      ROW(T("1"), T("a"), T("0.50")), &list, &err),
                         STATUS_OK);
        assert_int_equal(list.count, 2);
        assert_object(&list.items[0], "product", "{\"id\":1,\"name\":\"a\"}");
        assert_object(&list.items[1], "price", "{\"name\":\"a\",\"amount\":0.50}");
    }
    assert_int_equal(
        receiver_row(receiver, CHANGE_DELETE, relation, NULL, ROW(T("1"), NONE, NONE), &list, &err),
        STATUS_OK);
    assert_object(&list.items[0], "product", "{\"id\":1}");
    assert_int_equal(list.items[0].object.op, OBJECT_DELETE);
    assert_object(&list.items[1], "price", "{}");
    receiver_free(receiver);
}

static void one_that_is_invalid_does_not_hold_up_the_other(void **context)
{
    (void)context;
    Receiver *receiver = receiver_of("db");
    ReceivedList list;
    assert_int_equal(receiver_row(receiver, CHANGE_INSERT, items("items"), NULL,
                                  ROW(T("1"), NIL, T("-1")), &list, &err),
                     STATUS_OK);
    assert_false(list.items[0].is_valid);
    assert_int_equal(list.items[0].problem_count, 1);
    assert_int_equal(list.items[0].error.kind, ERROR_DATA);
    assert_non_null(strstr(list.items[0].error.message, "product: name: "));
    assert_false(list.items[1].is_valid);
    assert_int_equal(list.items[1].problem_count, 2);
    assert_true(str_is(list.items[1].problems[1].instance, "/amount"));
    // What is no value of its type has no object to be checked; the other one has no such column.
    assert_int_equal(receiver_row(receiver, CHANGE_INSERT, items("items"), NULL,
                                  ROW(T("1"), T("a"), T("x")), &list, &err),
                     STATUS_OK);
    assert_object(&list.items[0], "product", "{\"id\":1,\"name\":\"a\"}");
    assert_false(list.items[1].is_valid);
    assert_int_equal(list.items[1].problem_count, 0);
    assert_non_null(strstr(list.items[1].error.message, "column \"amount\": "));
    receiver_free(receiver);
}

static void tables_without_rules_and_that_do_not_fit(void **context)
{
    (void)context;
    Receiver *receiver = receiver_of("db");
    ReceivedList list;
    const Value *row = ROW(T("1"), T("a"), T("1"));
    assert_int_equal(receiver_row(receiver, CHANGE_INSERT, items("others"), NULL, row, &list, &err),
                     STATUS_OK);
    assert_int_equal(list.count, 0);
    Relation *renamed = items("items");
    renamed->columns[2].name = STR("sum");
    for (int i = 0; i < 2; i++) { // what failed is not taken for known
        assert_int_equal(receiver_row(receiver, CHANGE_INSERT, renamed, NULL, row, &list, &err),
                         STATUS_FAIL);
        assert_int_equal(err.kind, ERROR_CONFIG);
        assert_non_null(strstr(err.message, "no column \"amount\""));
    }
    receiver_free(receiver);
}

// By two paths, and for two models: text with an escape is a copy, of which there is one.
static void a_column_is_read_once(void **context)
{
    (void)context;
    Receiver *receiver = receiver_of("db");
    const Column columns[] = {column("text", 1, OID_JSONB, "jsonb")};
    const Relation *relation = relation_of(&arena, 2, "public", "documents", "", columns, 1);
    ReceivedList list;
    assert_int_equal(receiver_row(receiver, CHANGE_INSERT, relation, NULL,
                                  ROW(T("{\"name\":\"a\\nb\"}")), &list, &err),
                     STATUS_OK);
    assert_object(&list.items[0], "document", "{\"name\":\"a\\nb\",\"all\":{\"name\":\"a\\nb\"}}");
    assert_object(&list.items[1], "product", "{\"name\":\"a\\nb\"}");
    const JsonMember *members = list.items[0].object.value.members;
    const char *name = members[0].value.text.ptr;
    assert_ptr_equal(members[1].value.members[0].value.text.ptr, name);
    assert_ptr_equal(list.items[1].object.value.members[0].value.text.ptr, name);
    receiver_free(receiver);
}

static void json_is_received(void **context)
{
    (void)context;
    Receiver *receiver = receiver_of("gateway");
    JsonValue value;
    assert_int_equal(json_read(&arena,
                               STR("{\"number\":\"7\",\"title\":\"a\",\"amount\":{\"value\":2}}"),
                               &value, &err),
                     STATUS_OK);
    ReceivedList list = receiver_json(receiver, STR("item"), CHANGE_INSERT, &value);
    assert_int_equal(list.count, 2);
    assert_object(&list.items[0], "product", "{\"id\":7,\"name\":\"a\"}");
    assert_object(&list.items[1], "price", "{\"name\":\"a\",\"amount\":2}");
    assert_int_equal(receiver_json(receiver, STR("other"), CHANGE_INSERT, &value).count, 0);
    // A location with all of the model's properties asks for what is required, one without does
    // not.
    value = (JsonValue){.kind = JSON_OBJECT};
    list = receiver_json(receiver, STR("item"), CHANGE_INSERT, &value);
    assert_non_null(strstr(list.items[0].error.message, "\"name\" is missing"));
    list = receiver_json(receiver, STR("bare"), CHANGE_INSERT, &value);
    assert_object(&list.items[0], "product", "{}");
    value = (JsonValue){.kind = JSON_NULL};
    list = receiver_json(receiver, STR("item"), CHANGE_INSERT, &value);
    assert_false(list.items[0].is_valid || list.items[1].is_valid);
    receiver_free(receiver);
    receiver_free(NULL);
}

// A product's first location is the table of items: a document that goes takes none along.
static void a_delete_elsewhere_deletes_nothing(void **context)
{
    (void)context;
    Receiver *receiver = receiver_of("db");
    const Column columns[] = {column("text", 1, OID_JSONB, "jsonb")};
    const Relation *relation = relation_of(&arena, 2, "public", "documents", "a", columns, 1);
    ReceivedList list;
    assert_int_equal(receiver_row(receiver, CHANGE_DELETE, relation, NULL,
                                  ROW(T("{\"name\":\"a\"}")), &list, &err),
                     STATUS_OK);
    assert_int_equal(list.count, 1);
    assert_object(&list.items[0], "document", "{\"name\":\"a\",\"all\":{\"name\":\"a\"}}");
    receiver_free(receiver);
    receiver = receiver_of("gateway");
    const JsonValue value = {.kind = JSON_OBJECT};
    assert_int_equal(receiver_json(receiver, STR("item"), CHANGE_DELETE, &value).count, 2);
    assert_int_equal(receiver_json(receiver, STR("bare"), CHANGE_DELETE, &value).count, 0);
    receiver_free(receiver);
}

// Through a batch, to the row that had the one before.
static void a_search_key_that_changes_is_carried(void **context)
{
    (void)context;
    Receiver *receiver = receiver_of("db");
    const Relation *relation = items("items");
    ReceivedList list;
    assert_int_equal(receiver_row(receiver, CHANGE_UPDATE, relation, ROW(T("1"), T("a"), T("2")),
                                  ROW(T("1"), T("b"), T("2")), &list, &err),
                     STATUS_OK);
    assert_int_equal(list.items[0].object.before.count, 0); // its name is no key
    assert_int_equal(receiver_row(receiver, CHANGE_UPDATE, relation, ROW(T("1"), NONE, NONE),
                                  ROW(T("7"), T("b"), T("2")), &list, &err),
                     STATUS_OK);
    assert_int_equal(list.items[0].object.before.count, 1);
    Batch *batch = batch_new();
    Change *change;
    Object object;
    PushedRow row;
    const Model *model = hub_find_model(hub, STR("product"));
    assert_int_equal(object_put(batch, &list.items[0].object, &change, &err), STATUS_OK);
    assert_int_equal(object_take(model, change, &arena, &object, &err), STATUS_OK);
    const HubSystem *db = hub_find_system(hub, STR("db"));
    assert_int_equal(mixer_push(hub_find_push(db, model)->rules, &object, &arena, &row, &err),
                     STATUS_OK);
    assert_non_null(row.changed);
    assert_true(str_is(row.changed->before.text, "1") && str_is(row.changed->value.text, "7"));
    assert_int_equal(
        object_put(batch, &(Object){.model = model, .value = object.value}, &change, &err),
        STATUS_OK);
    assert_null(change->old_row);
    batch_unref(batch);
    receiver_free(receiver);
}

static int clean_up(void **context)
{
    hub_free(hub);
    return free_arena(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_change_makes_objects_of_several_models),
        cmocka_unit_test(one_that_is_invalid_does_not_hold_up_the_other),
        cmocka_unit_test(tables_without_rules_and_that_do_not_fit),
        cmocka_unit_test(a_column_is_read_once),
        cmocka_unit_test(json_is_received),
        cmocka_unit_test(a_delete_elsewhere_deletes_nothing),
        cmocka_unit_test(a_search_key_that_changes_is_carried),
    };
    return cmocka_run_group_tests(tests, set_up, clean_up);
}
