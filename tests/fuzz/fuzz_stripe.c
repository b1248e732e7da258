// What anybody may post: a line that is to be a signature, then a body. A signature that was not
// made with the secret never holds, and one that was does; a body is an event or is told what is
// wrong, and comes out of the change that it becomes as it went in.
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "codec/json_read.h"
#include "fuzz.h"
#include "hub/stripe_event.h"
#include "hub/stripe_signature.h"

enum { NOW_S = 1700000000, DIGEST_SIZE = 32 };

static Str secret = {"whsec_fuzz", 10};

static void check_signed(Str body)
{
    const StrList secrets = {.items = &secret, .count = 1};
    Buf text = {.max = SIZE_MAX / 2};
    unsigned char digest[DIGEST_SIZE];
    unsigned size = 0;
    Error err = {0};
    buf_printf(&text, "%d.", NOW_S);
    buf_str(&text, body);
    FUZZ_CHECK(HMAC(EVP_sha256(), secret.ptr, (int)secret.len, (const unsigned char *)text.ptr,
                    text.len, digest, &size) != NULL);
    buf_reset(&text);
    buf_printf(&text, "t=%d,v1=", NOW_S);
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        buf_printf(&text, "%02x", digest[i]);
    }
    FUZZ_CHECK(stripe_signature_check(buf_view(&text), body, &secrets, NOW_S, &err) == STATUS_OK);
    text.ptr[text.len - 1] = text.ptr[text.len - 1] == '0' ? '1' : '0';
    FUZZ_CHECK(stripe_signature_check(buf_view(&text), body, &secrets, NOW_S, &err) != STATUS_OK);
    buf_done(&text);
}

static void check_change(const HubEvent *event, Arena *arena)
{
    static const Transaction transaction = {.commit_lsn = 1};
    Batch *batch = batch_new();
    HubTelling told;
    Error err = {0};
    hub_event_put(batch, &stripe_relation, event, &transaction, 1);
    FUZZ_CHECK(hub_event_take(&batch->changes[0], arena, &told, &err) == STATUS_OK);
    FUZZ_CHECK(json_equal(&told.object, event->object) &&
               str_equal(told.location, event->location) &&
               str_equal(told.request, event->request));
    batch_unref(batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str body = {(const char *)data, size};
    Str header = {0};
    Arena arena = {0};
    Error err = {0};
    JsonValue value;
    HubEvent event;
    const StrList secrets = {.items = &secret, .count = 1};
    if (!str_split(&body, '\n', &header)) {
        return 0;
    }
    FUZZ_CHECK(stripe_signature_check(header, body, &secrets, NOW_S, &err) != STATUS_OK);
    FUZZ_CHECK(err.kind == ERROR_DATA && err.message[0] != '\0');
    check_signed(body);
    if (json_read(&arena, body, &value, &err) == STATUS_OK &&
        stripe_event_read(&value, &event, &err) == STATUS_OK) {
        FUZZ_CHECK(event.id.len > 0 && event.location.len > 0);
        check_change(&event, &arena);
    }
    arena_done(&arena);
    return 0;
}
