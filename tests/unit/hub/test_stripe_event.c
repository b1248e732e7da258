// What an event says, and what a change of it gives back.
#include "arena_fixture.h"
#include "codec/json_read.h"
#include "hub/listener.h"
#include "hub/stripe_event.h"

static Error err;

static Status read_text(const char *text, HubEvent *ret)
{
    JsonValue *value = ARENA_ARRAY(&arena, JsonValue, 1);
    assert_int_equal(json_read(&arena, str_from(text), value, &err), STATUS_OK);
    return stripe_event_read(value, ret, &err);
}

static ChangeOp op_of(const char *type)
{
    HubEvent event;
    const char *text = arena_printf(&arena,
                                    "{\"id\":\"e\",\"type\":\"%s\",\"created\":1,"
                                    "\"data\":{\"object\":{\"object\":\"x\"}}}",
                                    type);
    assert_int_equal(read_text(text, &event), STATUS_OK);
    return event.op;
}

static void an_event_is_read(void **state)
{
    (void)state;
    HubEvent event;
    assert_int_equal(
        read_text("{\"id\":\"evt_1\",\"object\":\"event\",\"created\":1700000000,"
                  "\"type\":\"customer.subscription.deleted\",\"data\":{\"object\":"
                  "{\"id\":\"sub_1\",\"object\":\"subscription\"},\"previous_attributes\":{}}}",
                  &event),
        STATUS_OK);
    assert_true(str_is(event.id, "evt_1"));
    assert_true(str_is(event.location, "subscription"));
    assert_true(str_is(event.object_id, "sub_1"));
    assert_int_equal(event.created_s, 1700000000);
    assert_int_equal(event.op, CHANGE_DELETE);
}

static void the_last_word_says_what_happened(void **state)
{
    (void)state;
    assert_int_equal(op_of("product.created"), CHANGE_INSERT);
    assert_int_equal(op_of("customer.subscription.created"), CHANGE_INSERT);
    assert_int_equal(op_of("product.deleted"), CHANGE_DELETE);
    assert_int_equal(op_of("invoice.paid"), CHANGE_UPDATE);
    assert_int_equal(op_of("created.x"), CHANGE_UPDATE);
}

static void what_is_no_event_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}",
        "[]",
        "null",
        "\"evt_1\"",
        "{\"id\":\"e\",\"type\":\"a.b\",\"created\":\"1\",\"data\":{\"object\":{\"object\":\"\"}}}",
        "{\"id\":\"e\",\"type\":\"a.b\",\"created\":1.5,\"data\":{\"object\":{\"object\":\"x\"}}}",
        "{\"id\":7,\"type\":\"a.b\",\"created\":1,\"data\":{\"object\":{\"object\":\"x\"}}}",
        "{\"id\":\"e\",\"created\":1,\"data\":{\"object\":{\"object\":\"x\"}}}",
        "{\"id\":\"e\",\"type\":\"a.b\",\"created\":1,\"data\":{\"object\":{\"object\":1}}}",
        "{\"id\":\"e\",\"type\":\"a.b\",\"created\":1,\"data\":{\"object\":[]}}",
        "{\"id\":\"e\",\"type\":\"a.b\",\"created\":1,\"data\":null}",
        "{\"id\":\"e\",\"type\":\"a.b\",\"created\":1}",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        HubEvent event;
        assert_int_equal(read_text(texts[i], &event), STATUS_FAIL);
        assert_int_equal(err.kind, ERROR_DATA);
    }
}

static void a_change_has_the_object(void **state)
{
    (void)state;
    static const Transaction transaction = {.commit_lsn = 7};
    HubEvent event;
    Batch *batch = batch_new();
    assert_int_equal(read_text("{\"id\":\"e\",\"type\":\"price.deleted\",\"created\":1,\"data\":"
                               "{\"object\":{\"object\":\"price\",\"n\":1.50,\"t\":\"\\u00fc\"}},"
                               "\"request\":{\"id\":\"req_1\",\"idempotency_key\":\"k\"}}",
                               &event),
                     STATUS_OK);
    hub_event_put(batch, &stripe_relation, &event, &transaction, 1);
    const Change *change = &batch->changes[0];
    HubTelling told;
    assert_null(change->new_row);
    assert_int_equal(hub_event_take(change, &arena, &told, &err), STATUS_OK);
    assert_true(json_equal(&told.object, event.object));
    assert_true(str_is(told.location, "price"));
    assert_true(str_is(told.request, "k"));
    assert_true(str_is(json_member(&told.object, STR("n"))->text, "1.50"));
    batch_unref(batch);
}

static void a_system_has_an_address(void **state)
{
    (void)state;
    assert_string_equal(listener_url(STR("127.0.0.1:4000"), STR("pay"), &arena),
                        "http://127.0.0.1:4000/pay");
    assert_string_equal(listener_url(STR(":80"), STR("a b/ü"), &arena),
                        "http://127.0.0.1:80/a%20b%2F%C3%BC");
    assert_string_equal(listener_url(STR("0.0.0.0:1"), STR("x"), &arena), "http://127.0.0.1:1/x");
    assert_string_equal(listener_url(STR("[::]:1"), STR("x"), &arena), "http://[::1]:1/x");
    assert_string_equal(listener_url(STR("hub.lan:1"), STR("x"), &arena), "http://hub.lan:1/x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_read),
        cmocka_unit_test(the_last_word_says_what_happened),
        cmocka_unit_test(what_is_no_event_is_refused),
        cmocka_unit_test(a_change_has_the_object),
        cmocka_unit_test(a_system_has_an_address),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
