// What a message says that tells of the keys of a new row. It may come from anybody.
#include "arena_fixture.h"
#include "hub/hub_given.h"

static Hub *hub;
static Error err;

static int set_up(void **state)
{
    (void)state;
    HubFile model = {STR("p"), STR("models/p.json"),
                     STR("{\"title\":\"product\",\"properties\":{\"id\":{\"type\":\"string\"},"
                         "\"stripe_id\":{},\"number\":{\"type\":\"integer\"}}}")};
    const HubFiles files = {.models = &model, .model_count = 1};
    assert_int_equal(hub_compile(&files, &hub, &err), STATUS_OK);
    return 0;
}

static int tear_down(void **state)
{
    hub_free(hub);
    return free_arena(state);
}

static Status take(const char *content, Object *ret)
{
    const LogicalMessage message = {.prefix = STR(HUB_GIVEN_PREFIX), .content = str_from(content)};
    return hub_given_take(hub, &message, &arena, ret, &err);
}

static void keys_become_what_the_model_has(void **state)
{
    (void)state;
    Object object;
    assert_int_equal(take("{\"model\": \"product\", \"keys\": {\"id\": 5, \"stripe_id\": null, "
                          "\"number\": \"7\"}}",
                          &object),
                     STATUS_OK);
    assert_int_equal(object.op, OBJECT_UPSERT);
    assert_true(object.is_partial);
    assert_int_equal(object.value.count, 2);
    const JsonValue *id = json_member(&object.value, STR("id"));
    const JsonValue *number = json_member(&object.value, STR("number"));
    assert_true(json_is(id, JSON_STRING) && str_is(id->text, "5"));
    assert_true(json_is(number, JSON_NUMBER) && str_is(number->text, "7"));
    assert_int_equal(object.before.count, 0);
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "{",
        "[]",
        "7",
        "{\"model\": \"product\"}",
        "{\"model\": 7, \"keys\": {}}",
        "{\"model\": \"order\", \"keys\": {}}",
        "{\"model\": \"product\", \"keys\": [1]}",
        "{\"model\": \"product\", \"keys\": {\"price\": 1}}",
        "{\"model\": \"product\", \"keys\": {\"number\": \"x\"}}",
        "{\"model\": \"product\", \"keys\": {\"id\": 1, \"id\": 2}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        Object object;
        if (take(wrong[i], &object) != STATUS_FAIL || err.kind != ERROR_DATA) {
            fail_msg("%s", wrong[i]);
        }
    }
    Object nothing;
    assert_int_equal(take("{\"model\": \"product\", \"keys\": {}}", &nothing), STATUS_OK);
    assert_int_equal(nothing.value.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_become_what_the_model_has),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
