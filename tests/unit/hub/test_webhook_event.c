// What a request tells, by the settings of its system.
#include <stdio.h>

#include "arena_fixture.h"
#include "codec/json_read.h"
#include "hub/webhook_event.h"

static Error err;
static WebhookSettings settings;
static HubEvents told;

static void set_path(Str *text, Path *path, const char *written)
{
    *text = str_from(written);
    assert_int_equal(path_parse_dotted(*text, &arena, path, &err), STATUS_OK);
}

static int reset(void **context)
{
    (void)context;
    static Str deletes[] = {{"delete", 6}, {"deleted", 7}};
    settings = (WebhookSettings){.deletes = {deletes, 2}};
    return 0;
}

static Status read(const char *body, const char *header)
{
    JsonValue *value = ARENA_ARRAY(&arena, JsonValue, 1);
    assert_int_equal(json_read(&arena, str_from(body), value, &err), STATUS_OK);
    const WebhookRequest request = {value, str_from(header), 7};
    return webhook_events_read(&settings, &request, &arena, &told, &err);
}

static void assert_bad(const char *body, const char *header, const char *part)
{
    assert_int_equal(read(body, header), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_DATA);
    if (strstr(err.message, part) == NULL) {
        fail_msg("%s: %s", body, err.message);
    }
}

static void the_body_is_the_object(void **context)
{
    (void)context;
    settings.location = STR("orders");
    assert_int_equal(read("{\"a\": 1}", ""), STATUS_OK);
    assert_int_equal(told.count, 1);
    assert_true(str_is(told.items->location, "orders"));
    assert_int_equal(told.items->id.len, 0);
    assert_int_equal(told.items->op, CHANGE_UPDATE);
    assert_int_equal(told.items->created_s, 7);
    assert_true(json_is(json_member(told.items->object, STR("a")), JSON_NUMBER));
    assert_int_equal(read("[{\"a\": 1}, {\"a\": 2}]", ""), STATUS_OK);
    assert_int_equal(told.count, 2);
    assert_int_equal(read("[]", ""), STATUS_OK);
    assert_int_equal(told.count, 0);
    assert_bad("1", "", "the body is no object");
    assert_bad("[{}, 1]", "", "the body is no object");
}

static void where_things_stand(void **context)
{
    (void)context;
    set_path(&settings.id, &settings.id_at, "meta.id");
    set_path(&settings.location_path, &settings.location_at, "meta.kind");
    set_path(&settings.operation, &settings.operation_at, "meta.what");
    set_path(&settings.object, &settings.object_at, "data.0");
    assert_int_equal(read("{\"meta\":{\"id\":12,\"kind\":\"k\",\"what\":\"order.deleted\"},"
                          "\"data\":[{\"x\":1},{}]}",
                          ""),
                     STATUS_OK);
    assert_true(str_is(told.items->id, "12"));
    assert_true(str_is(told.items->location, "k"));
    assert_int_equal(told.items->op, CHANGE_DELETE);
    assert_int_equal(told.items->object->count, 1);
    assert_bad("{}", "", "\"meta.id\"");
    assert_bad("{\"meta\":{\"id\":\"\"}}", "", "\"meta.id\"");
    assert_bad("{\"meta\":{\"id\":true}}", "", "\"meta.id\"");
    assert_bad("{\"meta\":{\"id\":1}}", "", "\"meta.kind\"");
    assert_bad("{\"meta\":{\"id\":1,\"kind\":\"k\"}}", "", "\"meta.what\"");
    assert_bad("{\"meta\":{\"id\":1,\"kind\":\"k\",\"what\":\"x\"}}", "", "\"data.0\"");
}

static void what_has_happened(void **context)
{
    (void)context;
    static const struct {
        const char *said;
        ChangeOp op;
    } cases[] = {
        {"created", CHANGE_INSERT},       {"a.b.created", CHANGE_INSERT},
        {"insert", CHANGE_INSERT},        {"delete", CHANGE_DELETE},
        {"order.deleted", CHANGE_DELETE}, {"undeleted", CHANGE_UPDATE},
        {"deleted.order", CHANGE_UPDATE}, {"", CHANGE_UPDATE},
        {"updated", CHANGE_UPDATE},
    };
    settings.location = STR("orders");
    set_path(&settings.operation, &settings.operation_at, "what");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char body[100];
        (void)snprintf(body, sizeof(body), "{\"what\":\"%s\"}", cases[i].said);
        assert_int_equal(read(body, ""), STATUS_OK);
        assert_int_equal(told.items->op, cases[i].op);
    }
}

static void an_id_in_a_header(void **context)
{
    (void)context;
    static char large[1002];
    memset(large, 'x', sizeof(large) - 1);
    settings.location = STR("orders");
    settings.id_header = STR("X-Id");
    assert_int_equal(read("{}", "abc"), STATUS_OK);
    assert_true(str_is(told.items->id, "abc"));
    assert_bad("{}", "", "has no \"X-Id\"");
    assert_bad("{}", large, "more than 1000 bytes");
}

// Each object is a row of its own, by which a dead letter is known.
static void rows_have_names_of_their_own(void **context)
{
    (void)context;
    Batch *batch = batch_new();
    const Transaction transaction = {.commit_lsn = 42};
    settings.location = STR("orders");
    assert_int_equal(read("[{\"a\":1},{\"a\":2}]", "msg"), STATUS_OK);
    hub_event_put(batch, &webhook_relation, &told.items[0], &transaction, 1);
    hub_event_put(batch, &webhook_relation, &told.items[1], &transaction, 2);
    assert_int_equal(read("{}", ""), STATUS_OK);
    hub_event_put(batch, &webhook_relation, &told.items[0], &transaction, 1);
    static const char *const keys[] = {"msg", "msg#2", "42#1"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_true(str_is(value_str(batch->changes[i].new_row[0]), keys[i]));
    }
    HubTelling it;
    assert_int_equal(hub_event_take(&batch->changes[1], &arena, &it, &err), STATUS_OK);
    assert_true(str_is(it.location, "orders"));
    assert_true(str_is(it.request, "")); // nobody but Stripe says one
    assert_true(str_is(json_member(&it.object, STR("a"))->text, "2"));
    batch_unref(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_body_is_the_object, reset),
        cmocka_unit_test_setup(where_things_stand, reset),
        cmocka_unit_test_setup(what_has_happened, reset),
        cmocka_unit_test_setup(an_id_in_a_header, reset),
        cmocka_unit_test_setup(rows_have_names_of_their_own, reset),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
