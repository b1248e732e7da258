// Signatures that others have made: the vector of Standard Webhooks' own libraries, GitHub's of its
// documentation, and Python's hmac.
#include "arena_fixture.h"
#include "io/webhook_signature.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define BODY   "{\"test\": 2432232314}"

static Error err;

static const char *signed_by(WebhookScheme scheme, const char *secret, const char *body)
{
    static Buf out;
    Str key;
    buf_done(&out);
    buf_init(&out, 1000);
    assert_int_equal(webhook_key(scheme, str_from(secret), &arena, &key, &err), STATUS_OK);
    const WebhookMessage message = {STR("msg_p5jXN8AQM9LWM0D4loKWxJek"), STR("1614265330"),
                                    str_from(body)};
    webhook_sign(scheme, key, &message, &out);
    return buf_cstring(&out);
}

static void known_signatures(void **context)
{
    (void)context;
    static const char known[] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    assert_string_equal(signed_by(WEBHOOK_STANDARD, SECRET, BODY), known);
    assert_string_equal(signed_by(WEBHOOK_STANDARD, SECRET + 6, BODY), known);
    assert_string_equal(
        signed_by(WEBHOOK_HMAC_SHA256, "It's a Secret to Everybody", "Hello, World!"),
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
}

enum { SIGNED_S = 1614265330 };

static Status check_at(WebhookScheme scheme, const char *signature, const char *body, int64_t now_s)
{
    const char *const secrets[] = {"whsec_b3RoZXI=", SECRET, "It's a Secret to Everybody"};
    Str keys[2];
    size_t first = scheme == WEBHOOK_STANDARD ? 0 : 1;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(webhook_key(scheme, str_from(secrets[first + i]), &arena, &keys[i], &err),
                         STATUS_OK);
    }
    const WebhookMessage message = {STR("msg_p5jXN8AQM9LWM0D4loKWxJek"), STR("1614265330"),
                                    str_from(body)};
    return webhook_check(scheme, &message, str_from(signature), keys, 2, now_s, &err);
}

#define KNOWN "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define HEX   "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

static void what_is_signed_holds(void **context)
{
    (void)context;
    const WebhookScheme standard = WEBHOOK_STANDARD;
    assert_int_equal(check_at(standard, KNOWN, BODY, SIGNED_S), STATUS_OK);
    assert_int_equal(check_at(standard, "v1a,xx v1,AAAA " KNOWN " v2,x", BODY, SIGNED_S),
                     STATUS_OK);
    assert_int_equal(check_at(standard, KNOWN, BODY, SIGNED_S + WEBHOOK_TOLERANCE_S), STATUS_OK);
    assert_int_equal(check_at(standard, KNOWN, BODY, SIGNED_S - WEBHOOK_TOLERANCE_S), STATUS_OK);
    assert_int_equal(check_at(WEBHOOK_HMAC_SHA256, "sha256=" HEX, "Hello, World!", 0), STATUS_OK);
    assert_int_equal(check_at(WEBHOOK_HMAC_SHA256, HEX, "Hello, World!", 0), STATUS_OK);
    assert_int_equal(check_at(WEBHOOK_NONE, "", BODY, 0), STATUS_OK);
}

static void nothing_else_holds(void **context)
{
    (void)context;
    static const struct {
        WebhookScheme scheme;
        const char *signature;
        const char *body;
        int64_t now_s;
    } cases[] = {
        {WEBHOOK_STANDARD, KNOWN, BODY " ", SIGNED_S},
        {WEBHOOK_STANDARD, KNOWN, BODY, SIGNED_S + WEBHOOK_TOLERANCE_S + 1},
        {WEBHOOK_STANDARD, KNOWN, BODY, SIGNED_S - WEBHOOK_TOLERANCE_S - 1},
        {WEBHOOK_STANDARD, KNOWN, BODY, INT64_MIN},
        {WEBHOOK_STANDARD, "", BODY, SIGNED_S},
        {WEBHOOK_STANDARD, "v1,", BODY, SIGNED_S},
        {WEBHOOK_STANDARD, "v1", BODY, SIGNED_S},
        {WEBHOOK_STANDARD, "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", BODY, SIGNED_S},
        {WEBHOOK_STANDARD, "v1,h0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", BODY, SIGNED_S},
        {WEBHOOK_STANDARD, KNOWN "AAAA", BODY, SIGNED_S},
        {WEBHOOK_STANDARD, "sha256=" HEX, BODY, SIGNED_S},
        {WEBHOOK_HMAC_SHA256, "sha1=" HEX, "Hello, World!", 0},
        {WEBHOOK_HMAC_SHA256, HEX "00", "Hello, World!", 0},
        {WEBHOOK_HMAC_SHA256, HEX, "Hello, World", 0},
        {WEBHOOK_HMAC_SHA256, "", "Hello, World!", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(
            check_at(cases[i].scheme, cases[i].signature, cases[i].body, cases[i].now_s),
            STATUS_FAIL);
        assert_int_equal(err.kind, ERROR_DATA);
    }
}

static void secrets_that_are_none(void **context)
{
    (void)context;
    static const char *const secrets[] = {"", "whsec_", "whsec_hush!", "whsec_aHVzaA",
                                          "plain hush"};
    Str key;
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        assert_int_equal(webhook_key(WEBHOOK_STANDARD, str_from(secrets[i]), &arena, &key, &err),
                         STATUS_FAIL);
        assert_int_equal(err.kind, ERROR_CONFIG);
        assert_null(strstr(err.message, "hush"));
    }
    assert_int_equal(webhook_key(WEBHOOK_HMAC_SHA256, STR(""), &arena, &key, &err), STATUS_FAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_signatures),
        cmocka_unit_test(what_is_signed_holds),
        cmocka_unit_test(nothing_else_holds),
        cmocka_unit_test(secrets_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
