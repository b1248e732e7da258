// Signatures, made by Stripe's SDK for Python 16.1.0: WebhookSignature.generate_signature_header().
#include <stdio.h>

#include "hub/stripe_signature.h"
#include "unit.h"

#define BODY "{\"id\":\"evt_1\",\"object\":\"event\"}"
#define ONE  "fe79aee1a002fffa0e48e9e0419752a55f344c646cc7cba408ff68411d3d7a4e" // by whsec_one
#define TWO  "b69178dc863611687c43df34b349404ffc7b16692271c89de73b433310b9a39c" // by whsec_two

enum { SIGNED = 1700000000 };

static bool holds_at(const char *header, const char *body, const char *secret, int64_t now_s,
                     Error *err)
{
    Str items[] = {STR("whsec_other"), str_from(secret)};
    StrList secrets = {.items = items, .count = 2};
    Status status = stripe_signature_check(str_from(header), str_from(body), &secrets, now_s, err);
    assert_true(status == STATUS_OK || err->kind == ERROR_DATA);
    return status == STATUS_OK;
}

static bool holds(const char *header)
{
    Error err = {0};
    return holds_at(header, BODY, "whsec_one", SIGNED, &err);
}

static void what_the_sdk_signs_holds(void **state)
{
    (void)state;
    Error err = {0};
    assert_true(holds("t=1700000000,v1=" ONE));
    assert_true(holds_at("t=1700000000,v1=" TWO, BODY, "whsec_two", SIGNED, &err));
    assert_true(
        holds_at("t=1700000000,v1=2bdfe1e99000c40e8036c905f2b5ab9e4e5acb946b2fa0d2e27ff96b7bd91b55",
                 "", "whsec_one", SIGNED, &err));
    assert_true(
        holds_at("t=1700000000,v1=61bd1d4b16f1f9bf516c54285e1c9e44b8f62ca8c11399dccf348fa98da2799a",
                 "{\"name\":\"Grüße 🎁\\n\"}", "whsec_one", SIGNED, &err));
}

// While a secret is exchanged, Stripe signs by both.
static void one_of_several_is_enough(void **state)
{
    (void)state;
    assert_true(holds("t=1700000000,v1=" TWO ",v1=" ONE));
    assert_true(holds("t=1700000000,v1=" ONE ",v1=" TWO ",v0=" TWO));
    assert_true(holds("v0=" TWO ",v1=" ONE ",t=1700000000"));
    assert_true(holds("t=1700000000, v1=" ONE));
}

static void others_do_not_hold(void **state)
{
    (void)state;
    Error err = {0};
    assert_false(holds("t=1700000000,v1=" TWO));
    assert_false(holds("t=1700000001,v1=" ONE));
    assert_false(holds("t=1700000000,v0=" ONE));
    assert_false(holds_at("t=1700000000,v1=" ONE, BODY " ", "whsec_one", SIGNED, &err));
    assert_false(holds_at("t=1700000000,v1=" ONE, BODY, "whsec_onE", SIGNED, &err));
    assert_non_null(strstr(err.message, "not signed by a secret"));
    assert_false(holds_at("t=1700000000,v1=" ONE, BODY, "", SIGNED, &err));
    // Each byte counts.
    char header[] = "t=1700000000,v1=" ONE;
    for (size_t i = strlen("t=1700000000,v1="); i < sizeof(header) - 1; i++) {
        char was = header[i];
        header[i] = was == '0' ? '1' : '0';
        assert_false(holds(header));
        header[i] = was;
    }
    assert_true(holds(header));
}

static void what_is_no_header_does_not_hold(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "",
        ",",
        "=",
        "t",
        "t=",
        "t=,v1=" ONE,
        "t=1700000000",
        "t=x1700000000,v1=" ONE,
        "v1=" ONE,
        "t=1700000000,v1",
        "t=1700000000,v1=",
        "t=1700000000,v1=" ONE "00",
        "t=1700000000,v1=FE79AEE1A002FFFA0E48E9E0419752A55F344C646CC7CBA408FF68411D3D7A4E",
        "t=99999999999999999999999999,v1=" ONE,
        "T=1700000000,V1=" ONE,
    };
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        assert_false(holds(headers[i]));
    }
}

static void it_holds_for_five_minutes(void **state)
{
    (void)state;
    Error err = {0};
    const char *header = "t=1700000000,v1=" ONE;
    assert_true(holds_at(header, BODY, "whsec_one", SIGNED + 300, &err));
    assert_false(holds_at(header, BODY, "whsec_one", SIGNED + 301, &err));
    assert_non_null(strstr(err.message, "five minutes"));
    assert_true(holds_at(header, BODY, "whsec_one", SIGNED - 3600, &err));
}

// However many there are: only so many are looked at.
static void many_signatures_are_no_harm(void **state)
{
    (void)state;
    char header[16384] = "t=1700000000";
    size_t len = strlen(header);
    for (int i = 0; i < 100; i++) {
        len += (size_t)snprintf(header + len, sizeof(header) - len, ",v1=%s", TWO);
    }
    (void)snprintf(header + len, sizeof(header) - len, ",v1=%s", ONE);
    assert_false(holds(header));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_sdk_signs_holds),
        cmocka_unit_test(one_of_several_is_enough),
        cmocka_unit_test(others_do_not_hold),
        cmocka_unit_test(what_is_no_header_does_not_hold),
        cmocka_unit_test(it_holds_for_five_minutes),
        cmocka_unit_test(many_signatures_are_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
