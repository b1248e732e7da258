// What counts as an echo, and which ids are known.
#include "codec/json_read.h"
#include "folder_fixture.h"
#include "hub/hub_echo.h"

#define MODEL                                                                                \
    "{\"title\":\"product\",\"properties\":{\"id\":{},\"stripe_id\":{},\"name\":{\"type\":[" \
    "\"string\",\"null\"]},\"price\":{},"                                                    \
    "\"data\":{},\"sku\":{\"type\":\"string\"}}}"

static const char systems[] = "gateway:\n  type: stripe\n  api_key: k\n  push_mixer:\n"
                              "    product:\n      products:\n"
                              "        stripe_id: { field: id, search_key: true }\n"
                              "        id: { field: 'metadata[id]' }\n"
                              "        name: { field: name }\n        data: { field: data }\n"
                              "db:\n  type: postgresql\n  dsn: x\n  push_mixer:\n"
                              "    product:\n      public.products:\n"
                              "        id: { field: id, search_key: true }\n"
                              "        price: { field: price }\n"
                              "        sku: { field: sku, search_key: true }\n";

static Hub *hub;
static HubMemory *memory;
static HubEcho received;
static HubEcho pushed;
static Error err;

static int set_up(void **context)
{
    (void)context;
    char path[64];
    HubFile model = {STR("p"), STR("models/p.json"), STR(MODEL)};
    HubFile file = {STR("s.yml"), STR("s.yml"), str_from(systems)};
    const HubFiles files = {
        .models = &model, .model_count = 1, .systems = &file, .system_count = 1};
    if (hub_compile(&files, &hub, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
    new_path(path);
    memory = hub_memory_new(str_from(path), 3600000);
    received = (HubEcho){hub, hub_find_system(hub, STR("gateway")),
                         hub_recall_new(memory, STR("gateway"))};
    pushed = received;
    pushed.recall = hub_recall_new(memory, STR("gateway"));
    return 0;
}

static int tear_down(void **context)
{
    (void)context;
    hub_recall_free(received.recall);
    hub_recall_free(pushed.recall);
    hub_memory_free(memory);
    hub_free(hub);
    return 0;
}

static Object object_of(ObjectOp op, const char *json)
{
    Object object = {.model = hub_find_model(hub, STR("product")), .op = op, .is_partial = true};
    assert_int_equal(json_read(&arena, str_from(json), &object.value, &err), STATUS_OK);
    return object;
}

static void push(const char *json)
{
    Object object = object_of(OBJECT_UPSERT, json);
    assert_int_equal(hub_echo_push(&pushed, &object, STR(""), &err), STATUS_OK);
}

static bool is_echo_of(ObjectOp op, const char *json)
{
    Object object = object_of(op, json);
    bool is_echo;
    assert_int_equal(hub_echo_receive(&received, &object, STR(""), &arena, &is_echo, &err),
                     STATUS_OK);
    return is_echo;
}

static bool is_echo(const char *json)
{
    return is_echo_of(OBJECT_UPSERT, json);
}

static void what_was_pushed_is_an_echo(void **context)
{
    (void)context;
    push("{\"id\":1,\"stripe_id\":\"prod_1\",\"name\":\"a\",\"price\":5}");
    assert_true(is_echo("{\"id\":\"1\",\"stripe_id\":\"prod_1\",\"name\":\"a\"}"));
    assert_true(is_echo("{\"stripe_id\":\"prod_1\",\"name\":\"a\"}"));
    assert_false(is_echo("{\"stripe_id\":\"prod_2\",\"name\":\"a\"}"));
    // The price was not told to it.
    assert_false(is_echo("{\"stripe_id\":\"prod_1\",\"price\":5}"));
}

static void what_differs_is_none_and_is_known_then(void **context)
{
    (void)context;
    push("{\"stripe_id\":\"prod_1\",\"name\":\"a\"}");
    assert_false(is_echo("{\"stripe_id\":\"prod_1\",\"name\":\"b\"}"));
    assert_true(is_echo("{\"stripe_id\":\"prod_1\",\"name\":\"b\"}"));  // told twice
    assert_false(is_echo("{\"stripe_id\":\"prod_1\",\"name\":\"a\"}")); // a real change, back
    hub_recall_undo(received.recall, 0);
    assert_true(is_echo("{\"stripe_id\":\"prod_1\",\"name\":\"a\"}"));
}

static void types_do_not_matter(void **context)
{
    (void)context;
    static const struct {
        const char *told;
        const char *comes;
        bool is_echo;
    } cases[] = {
        {"3", "\"3\"", true},
        {"3.0", "\"3\"", true},
        {"\"3.10\"", "3.1", true},
        {"\"3\"", "4", false},
        {"123456789012345678901", "\"123456789012345678901.0\"", true},
        {"123456789012345678901", "123456789012345678902", false},
        {"-123456789012345678901", "123456789012345678901", false},
        {"true", "\"true\"", true},
        {"true", "false", false},
        {"null", "\"\"", true},
        {"null", "{}", true},
        {"null", "[]", true},
        {"null", "\"null\"", false},
        {"null", "false", false},
        {"{\"a\":1,\"b\":[2]}", "{\"b\":[\"2\"],\"a\":\"1\"}", true},
        {"{\"a\":1}", "{\"a\":1,\"b\":2}", false},
        {"[\"a\",\"b\"]", "[\"a,b\"]", false},
        {"[\"a\",\"b\"]", "[\"b\",\"a\"]", false},
        {"\"a\"", "\"A\"", false},
        {"-0", "\"0\"", true},
        {"1.1", "\"1.10\"", true},
        {"{\"a\":\"1.1\"}", "{\"a\":\"1.10\"}", false},
        {"{\"a\":{\"b\":[3.0]}}", "{\"a\":{\"b\":[\"3\"]}}", true},
        {"{\"a\":null}", "{\"a\":\"\"}", true},
        {"{\"a\":1}", "\"{\\\"a\\\":1}\"", false},
        {"\"1.1\"", "\"1.10\"", true}, // it may be a number
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        push(arena_printf(&arena, "{\"stripe_id\":\"p\",\"data\":%s}", cases[i].told));
        if (is_echo(arena_printf(&arena, "{\"stripe_id\":\"p\",\"data\":%s}", cases[i].comes)) !=
            cases[i].is_echo) {
            fail_msg("%s and %s", cases[i].told, cases[i].comes);
        }
        hub_recall_undo(received.recall, 0);
    }
}

// Of two texts each byte counts where no number may be, though both look like one.
static void texts_are_no_numbers(void **context)
{
    (void)context;
    static const char *const cases[][2] = {{"1.1", "1.10"}, {"1e3", "1000"}, {"-0", "0"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        push(arena_printf(&arena, "{\"stripe_id\":\"p\",\"name\":\"%s\"}", cases[i][0]));
        for (size_t n = 0; n < 2; n++) {
            const char *json =
                arena_printf(&arena, "{\"stripe_id\":\"p\",\"name\":\"%s\"}", cases[i][n]);
            assert_int_equal(is_echo(json), n == 0);
        }
        hub_recall_undo(received.recall, 0);
    }
}

// @levels of objects around @inner.
static const char *nested(int levels, const char *inner)
{
    Buf text;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < levels; i++) {
        buf_cstr(&text, "{\"a\\\"\":");
    }
    buf_cstr(&text, inner);
    for (int i = 0; i < levels; i++) {
        buf_char(&text, '}');
    }
    const char *copy = str_to_cstr(&arena, buf_view(&text));
    buf_done(&text);
    return copy;
}

static Object object_with_data(const char *data)
{
    Object object = object_of(OBJECT_UPSERT, "{\"stripe_id\":\"p\"}");
    JsonValue value;
    assert_int_equal(json_read(&arena, str_from(data), &value, &err), STATUS_OK);
    hub_echo_set(&object, 4, value, &arena);
    return object;
}

// As deep as JSON may be: with quotes in quotes it would have more bytes than there are.
static void depth_costs_nothing(void **context)
{
    (void)context;
    Object told = object_with_data(nested(256, "1"));
    assert_int_equal(hub_echo_push(&pushed, &told, STR("key"), &err), STATUS_OK);
    const char *const comes[] = {"1", "\"1\"", "2"};
    const bool expected[] = {true, true, false};
    for (size_t i = 0; i < ARRAY_LEN(comes); i++) {
        bool is_echo;
        for (size_t by_request = 0; by_request < 2; by_request++) {
            Object object = object_with_data(nested(256, comes[i]));
            assert_int_equal(hub_echo_receive(&received, &object,
                                              by_request ? STR("key") : STR("other"), &arena,
                                              &is_echo, &err),
                             STATUS_OK);
            assert_int_equal(is_echo, expected[i]);
            hub_recall_undo(received.recall, 0);
        }
    }
}

// Two that are cut would be the same.
static void what_is_too_large_is_refused(void **context)
{
    (void)context;
    static char text[(16 << 20) + 1];
    memset(text, 'x', sizeof(text));
    Object object = object_of(OBJECT_UPSERT, "{\"stripe_id\":\"p\"}");
    hub_echo_set(&object, 2, (JsonValue){.kind = JSON_STRING, .text = {text, sizeof(text)}},
                 &arena);
    bool is_echo;
    assert_int_equal(hub_echo_push(&pushed, &object, STR(""), &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_DATA);
    assert_non_null(strstr(err.message, "\"name\" of a \"product\""));
    assert_int_equal(hub_echo_receive(&received, &object, STR(""), &arena, &is_echo, &err),
                     STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_DATA);
    hub_recall_undo(received.recall, 0);
    hub_recall_undo(pushed.recall, 0);
}

static void a_refused_push_leaves_nothing(void **context)
{
    (void)context;
    push("{\"stripe_id\":\"prod_1\",\"name\":\"a\"}");
    Object object = object_of(OBJECT_UPSERT, "{\"stripe_id\":\"prod_1\",\"name\":\"a\"}");
    assert_int_equal(hub_echo_refused(&pushed, &object, &err), STATUS_OK);
    assert_false(is_echo("{\"stripe_id\":\"prod_1\",\"name\":\"a\"}"));
}

static void deletes_have_echoes(void **context)
{
    (void)context;
    push("{\"stripe_id\":\"prod_1\",\"name\":\"a\"}");
    assert_false(is_echo_of(OBJECT_DELETE, "{\"stripe_id\":\"prod_1\"}"));
    hub_recall_undo(received.recall, 0);
    Object object = object_of(OBJECT_DELETE, "{\"stripe_id\":\"prod_1\"}");
    assert_int_equal(hub_echo_push(&pushed, &object, STR(""), &err), STATUS_OK);
    assert_true(is_echo_of(OBJECT_DELETE, "{\"stripe_id\":\"prod_1\",\"name\":\"a\"}"));
    assert_false(is_echo("{\"stripe_id\":\"prod_1\",\"name\":\"a\"}")); // it is there again
}

static void one_without_an_id_is_none(void **context)
{
    (void)context;
    push("{\"id\":1,\"name\":\"a\"}");
    assert_false(is_echo("{\"id\":1,\"name\":\"a\"}"));
    assert_false(is_echo("{\"id\":1,\"name\":\"a\",\"stripe_id\":null}"));
}

static void assert_completed(ObjectOp op, const char *json, const char *id)
{
    Object object = object_of(op, json);
    assert_int_equal(hub_echo_complete(&pushed, &object, &arena, &err), STATUS_OK);
    const JsonValue *value = json_member(&object.value, STR("stripe_id"));
    if (id == NULL) {
        assert_true(value == NULL || value->kind == JSON_NULL);
    } else {
        assert_true(json_is(value, JSON_STRING));
        assert_true(str_is(value->text, id));
    }
}

// Whether the log is right, and not the system.
static bool passes_over(ObjectOp op, const char *json, int64_t made_s)
{
    Object object = object_of(op, json);
    bool is_over;
    assert_int_equal(hub_echo_pass(&pushed, &object, made_s, &is_over, &err), STATUS_OK);
    return is_over;
}

static bool will_go(const char *json)
{
    Object object = object_of(OBJECT_UPSERT, json);
    bool goes;
    assert_int_equal(hub_echo_will_go(&pushed, &object, &arena, &goes, &err), STATUS_OK);
    return goes;
}

static void a_request_is_known_when_it_comes_back_late(void **context)
{
    (void)context;
    Object first = object_of(OBJECT_UPSERT, "{\"stripe_id\":\"p\",\"name\":\"a\",\"data\":1}");
    Object second = object_of(OBJECT_UPSERT, "{\"stripe_id\":\"p\",\"name\":\"b\",\"data\":1}");
    assert_int_equal(hub_echo_push(&pushed, &first, STR("key 1"), &err), STATUS_OK);
    assert_int_equal(hub_echo_push(&pushed, &second, STR("key 2"), &err), STATUS_OK);
    bool is_echo;
    Object late = object_of(OBJECT_UPSERT, "{\"stripe_id\":\"p\",\"name\":\"a\",\"data\":\"1\"}");
    assert_int_equal(hub_echo_receive(&received, &late, STR("key 1"), &arena, &is_echo, &err),
                     STATUS_OK);
    assert_true(is_echo);
    // What the system has made of it is news, and nothing else of it is.
    Object other = object_of(OBJECT_UPSERT, "{\"stripe_id\":\"p\",\"name\":\"a\",\"data\":2}");
    assert_int_equal(hub_echo_receive(&received, &other, STR("key 1"), &arena, &is_echo, &err),
                     STATUS_OK);
    assert_false(is_echo);
    assert_null(json_member(&other.value, STR("name")));
    assert_non_null(json_member(&other.value, STR("data")));
    assert_non_null(json_member(&other.value, STR("stripe_id")));
}

static void what_was_pushed_over_is_pushed_back(void **context)
{
    (void)context;
    const char *json = "{\"stripe_id\":\"p\",\"name\":\"a\"}";
    Object object = object_of(OBJECT_UPSERT, json);
    assert_false(passes_over(OBJECT_UPSERT, json, 100));
    assert_int_equal(hub_echo_pushed(&pushed, &object, 100, &err), STATUS_OK);
    assert_false(passes_over(OBJECT_UPSERT, json, 101));
    assert_true(passes_over(OBJECT_UPSERT, json, 100)); // in doubt
    assert_true(passes_over(OBJECT_UPSERT, json, 99));
    assert_false(passes_over(OBJECT_DELETE, json, 99));
    assert_true(passes_over(OBJECT_UPSERT, json, 101)); // it is gone
}

static void what_goes_is_known(void **context)
{
    (void)context;
    const char *json = "{\"id\":1,\"stripe_id\":\"p\"}";
    push(json);
    assert_false(will_go(json));
    assert_false(is_echo_of(OBJECT_DELETE, json));
    assert_int_equal(hub_recall_save(received.recall, 1, &err), STATUS_OK);
    assert_true(will_go(json));
    assert_completed(OBJECT_UPSERT, "{\"id\":1}", "p");
    assert_true(is_echo("{\"stripe_id\":\"p\",\"name\":\"late\"}"));
    assert_false(is_echo("{\"stripe_id\":\"q\",\"name\":\"late\"}"));
    // The reader of the log comes by that.
    assert_false(passes_over(OBJECT_DELETE, json, 1));
    assert_false(will_go(json));
    assert_completed(OBJECT_UPSERT, "{\"id\":1}", NULL);
    Object object = object_of(OBJECT_UPSERT, json);
    bool gone;
    assert_int_equal(hub_echo_drop_gone(&pushed, &object, &arena, &gone, &err), STATUS_OK);
    assert_true(gone);
    assert_true(json_is(json_member(&object.value, STR("stripe_id")), JSON_NULL));
}

static void a_key_that_changes_brings_its_id(void **context)
{
    (void)context;
    push("{\"id\":1,\"stripe_id\":\"p\"}");
    Object object = object_of(OBJECT_UPSERT, "{\"id\":2}");
    assert_int_equal(json_read(&arena, STR("{\"id\":1}"), &object.before, &err), STATUS_OK);
    assert_int_equal(hub_echo_complete(&pushed, &object, &arena, &err), STATUS_OK);
    assert_true(str_is(json_member(&object.value, STR("stripe_id"))->text, "p"));
    assert_int_equal(hub_echo_push(&pushed, &object, STR(""), &err), STATUS_OK);
    assert_completed(OBJECT_UPSERT, "{\"id\":1}", NULL);
    assert_completed(OBJECT_UPSERT, "{\"id\":2}", "p");
}

static void ids_are_known_by_other_keys(void **context)
{
    (void)context;
    assert_completed(OBJECT_UPSERT, "{\"id\":1,\"stripe_id\":null,\"name\":\"b\"}", NULL);
    push("{\"id\":1,\"stripe_id\":\"prod_1\",\"name\":\"a\"}");
    assert_completed(OBJECT_UPSERT, "{\"id\":1,\"stripe_id\":null,\"name\":\"b\"}", "prod_1");
    assert_completed(OBJECT_UPSERT, "{\"id\":\"1\"}", "prod_1");
    assert_completed(OBJECT_DELETE, "{\"id\":1}", "prod_1");
    assert_completed(OBJECT_UPSERT, "{\"id\":2}", NULL);
    assert_completed(OBJECT_UPSERT, "{\"name\":\"a\"}", NULL); // by which nobody finds anything
    assert_completed(OBJECT_UPSERT, "{\"id\":1,\"stripe_id\":\"prod_7\"}", "prod_7");
    // What is received is known when the reader of the log comes by.
    assert_false(is_echo("{\"id\":2,\"stripe_id\":\"prod_2\"}"));
    assert_int_equal(hub_recall_save(received.recall, 1, &err), STATUS_OK);
    assert_completed(OBJECT_UPSERT, "{\"id\":2}", NULL);
    assert_false(passes_over(OBJECT_UPSERT, "{\"id\":2,\"stripe_id\":\"prod_2\"}", 1));
    assert_completed(OBJECT_UPSERT, "{\"id\":2}", "prod_2");
    // It is found until it is gone.
    Object object = object_of(OBJECT_DELETE, "{\"id\":1,\"stripe_id\":\"prod_1\"}");
    assert_int_equal(hub_echo_push(&pushed, &object, STR(""), &err), STATUS_OK);
    assert_completed(OBJECT_DELETE, "{\"id\":1}", "prod_1"); // it may have to be asked again
    assert_int_equal(hub_echo_pushed(&pushed, &object, 1, &err), STATUS_OK);
    assert_completed(OBJECT_UPSERT, "{\"id\":1}", NULL);
}

// By which value something is found follows from what the property may be.
static void text_is_no_number_as_a_key(void **context)
{
    (void)context;
    push("{\"sku\":\"1.1\",\"stripe_id\":\"prod_1\"}");
    push("{\"id\":\"2.0\",\"stripe_id\":\"prod_2\"}");
    assert_completed(OBJECT_UPSERT, "{\"sku\":\"1.1\"}", "prod_1");
    assert_completed(OBJECT_UPSERT, "{\"sku\":\"1.10\"}", NULL);
    assert_completed(OBJECT_UPSERT, "{\"id\":2}", "prod_2");
    assert_completed(OBJECT_UPSERT, "{\"id\":\"2\"}", "prod_2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_pushed_is_an_echo, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_differs_is_none_and_is_known_then, set_up, tear_down),
        cmocka_unit_test_setup_teardown(types_do_not_matter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(texts_are_no_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(depth_costs_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_too_large_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(text_is_no_number_as_a_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refused_push_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deletes_have_echoes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_without_an_id_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ids_are_known_by_other_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_request_is_known_when_it_comes_back_late, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_was_pushed_over_is_pushed_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_goes_is_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_that_changes_brings_its_id, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
