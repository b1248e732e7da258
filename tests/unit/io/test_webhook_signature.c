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
        cmocka_unit_test(secrets_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
