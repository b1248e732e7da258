// Rows as requests to Stripe: what is in the form, and where it goes.
#include "arena_fixture.h"
#include "codec/json_read.h"
#include "hub/stripe_request.h"
#include "model/hub.h"
#include "model/object.h"

#define MODEL                                                                                    \
    "{\"title\":\"product\",\"properties\":{\"id\":{},\"stripe_id\":{},\"name\":{},\"data\":{}," \
    "\"price\":{}}}"

static const char systems[] = "gateway:\n  type: stripe\n  api_key: k\n  push_mixer:\n"
                              "    product:\n      products:\n"
                              "        stripe_id: { field: id, search_key: true }\n"
                              "        id: { field: 'metadata[my id]' }\n"
                              "        name: { field: name }\n"
                              "        data: { field: data }\n"
                              "        price: { field: 'a[b][c]' }\n";

static Hub *hub;
static Error err;
static StripeRequest request;
static bool is_empty;

static int set_up(void **context)
{
    (void)context;
    HubFile model = {STR("p"), STR("models/p.json"), STR(MODEL)};
    HubFile file = {STR("s.yml"), STR("s.yml"), str_from(systems)};
    const HubFiles files = {
        .models = &model, .model_count = 1, .systems = &file, .system_count = 1};
    if (hub_compile(&files, &hub, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
    return 0;
}

static int tear_down(void **context)
{
    hub_free(hub);
    return free_arena(context);
}

static Status ask(ObjectOp op, const char *json)
{
    Object object = {.model = hub_find_model(hub, STR("product")), .op = op, .is_partial = true};
    PushedRow row;
    if (json_read(&arena, str_from(json), &object.value, &err) != STATUS_OK ||
        mixer_push(&hub->systems[0].push[0].rules[0], &object, &arena, &row, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
    return stripe_request(&row, &arena, &request, &is_empty, &err);
}

static void assert_form(const char *json, const char *path, const char *body)
{
    assert_int_equal(ask(OBJECT_UPSERT, json), STATUS_OK);
    assert_false(is_empty);
    assert_string_equal(request.method, "POST");
    assert_string_equal(request.path, path);
    assert_non_null(request.body.ptr);
    assert_string_equal(str_to_cstr(&arena, request.body), body);
}

#define NEW "/v1/products"
#define OLD "/v1/products/prod_1"

static void one_without_an_id_is_made(void **context)
{
    (void)context;
    assert_form("{\"id\":7,\"stripe_id\":null,\"name\":\"Mug\"}", NEW,
                "metadata[my%20id]=7&name=Mug");
    assert_int_equal(request.id.len, 0);
    assert_form("{\"name\":\"Mug\"}", NEW, "name=Mug");
}

static void one_with_an_id_is_changed(void **context)
{
    (void)context;
    assert_form("{\"id\":7,\"stripe_id\":\"prod_1\",\"name\":\"Mug\"}", OLD,
                "metadata[my%20id]=7&name=Mug");
    assert_true(str_is(request.id, "prod_1"));
    assert_form("{\"stripe_id\":\"a/b ?&#%\",\"name\":\"\"}", "/v1/products/a%2Fb%20%3F%26%23%25",
                "name=");
    assert_form("{\"stripe_id\":12,\"name\":\"x\"}", "/v1/products/12", "name=x");
}

static void text_is_encoded(void **context)
{
    (void)context;
    assert_form("{\"stripe_id\":\"prod_1\",\"name\":\"a+b=c&d \\n\\u00e9\\ud83d\\ude00-_.~\"}", OLD,
                "name=a%2Bb%3Dc%26d%20%0A%C3%A9%F0%9F%98%80-_.~");
}

static void values_have_forms(void **context)
{
    (void)context;
    assert_form("{\"name\":true,\"price\":false}", NEW, "name=true&a[b][c]=false");
    assert_form("{\"price\":10.00}", NEW, "a[b][c]=10");
    assert_form("{\"price\":1e3}", NEW, "a[b][c]=1000");
    assert_form("{\"price\":-0.50}", NEW, "a[b][c]=-0.50");
    assert_form("{\"price\":-0}", NEW, "a[b][c]=0");
    assert_form("{\"price\":12345678901234567890}", NEW, "a[b][c]=12345678901234567890");
}

static void inner_values_have_brackets(void **context)
{
    (void)context;
    assert_form("{\"data\":[{\"a b\":1,\"c\":[true]},\"x\"],\"price\":{\"d\":2}}", NEW,
                "data[0][a%20b]=1&data[0][c][0]=true&data[1]=x&a[b][c][d]=2");
}

static void nothing_takes_a_value_away(void **context)
{
    (void)context;
    assert_form("{\"stripe_id\":\"prod_1\",\"name\":null,\"data\":[],\"price\":{}}", OLD,
                "name=&data=&a[b][c]=");
    assert_form("{\"stripe_id\":\"prod_1\",\"data\":{\"a\":null,\"b\":[null]}}", OLD,
                "data[a]=&data[b][0]=");
    // There is nothing yet that could be taken away.
    assert_form("{\"id\":1,\"name\":null,\"data\":{\"a\":null,\"b\":[]}}", NEW,
                "metadata[my%20id]=1");
    assert_form("{\"name\":\"\"}", NEW, "name=");
    assert_form("{\"name\":null}", NEW, "");
}

static void an_id_alone_asks_for_nothing(void **context)
{
    (void)context;
    assert_int_equal(ask(OBJECT_UPSERT, "{\"stripe_id\":\"prod_1\"}"), STATUS_OK);
    assert_true(is_empty);
}

static void a_delete_is_one(void **context)
{
    (void)context;
    assert_int_equal(ask(OBJECT_DELETE, "{\"stripe_id\":\"prod_1\",\"name\":\"x\"}"), STATUS_OK);
    assert_string_equal(request.method, "DELETE");
    assert_string_equal(request.path, OLD);
    assert_null(request.body.ptr);
    assert_false(is_empty);
}

// Any of these would be a request about something else.
static void what_is_no_id_is_refused(void **context)
{
    (void)context;
    static const char *const ids[] = {"\"\"", "\".\"", "\"..\"", "[]", "{\"a\":1}"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        const char *json = arena_printf(&arena, "{\"stripe_id\":%s,\"name\":\"x\"}", ids[i]);
        assert_int_equal(ask(OBJECT_UPSERT, json), STATUS_FAIL);
        assert_int_equal(err.kind, ERROR_DATA);
        assert_int_equal(ask(OBJECT_DELETE, json), STATUS_FAIL);
    }
    assert_non_null(strstr(err.message, "s.yml:7: the \"id\" of an object of Stripe is empty"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_without_an_id_is_made),
        cmocka_unit_test(one_with_an_id_is_changed),
        cmocka_unit_test(text_is_encoded),
        cmocka_unit_test(values_have_forms),
        cmocka_unit_test(inner_values_have_brackets),
        cmocka_unit_test(nothing_takes_a_value_away),
        cmocka_unit_test(an_id_alone_asks_for_nothing),
        cmocka_unit_test(a_delete_is_one),
        cmocka_unit_test(what_is_no_id_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
