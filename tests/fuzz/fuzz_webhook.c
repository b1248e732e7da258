// What anybody may post to a webhook: a line that is to be a signature, then a body. A signature
// that was not made with the secret never holds, and one that was does; a body tells events or is
// told what is wrong, and they come out of the changes that they become as they went in.
#include "codec/json_read.h"
#include "fuzz.h"
#include "hub/webhook_event.h"
#include "io/webhook_signature.h"

enum { NOW_S = 1700000000 };

static const Str secret = {"0123456789abcdef", 16};

static void check_signatures(Str header, Str body)
{
    const WebhookScheme schemes[] = {WEBHOOK_HMAC_SHA256, WEBHOOK_STANDARD};
    for (size_t i = 0; i < 2; i++) {
        const WebhookMessage message = {STR("id"), STR("1700000000"), body};
        Buf made = {.max = 1000};
        Error err = {0};
        FUZZ_CHECK(webhook_check(schemes[i], &message, header, &secret, 1, NOW_S, &err) !=
                   STATUS_OK);
        FUZZ_CHECK(err.kind == ERROR_DATA && err.message[0] != '\0');
        webhook_sign(schemes[i], secret, &message, &made);
        FUZZ_CHECK(webhook_check(schemes[i], &message, buf_view(&made), &secret, 1, NOW_S, &err) ==
                   STATUS_OK);
        buf_done(&made);
    }
}

static void check_change(const HubEvent *event, uint64_t ordinal, Arena *arena)
{
    static const Transaction transaction = {.commit_lsn = 1};
    Batch *batch = batch_new();
    HubTelling told;
    Error err = {0};
    hub_event_put(batch, &webhook_relation, event, &transaction, ordinal);
    FUZZ_CHECK(hub_event_take(&batch->changes[0], arena, &told, &err) == STATUS_OK);
    FUZZ_CHECK(json_equal(&told.object, event->object) &&
               str_equal(told.location, event->location) && told.request.len == 0);
    batch_unref(batch);
}

static void check_body(const WebhookSettings *settings, const JsonValue *body, Arena *arena)
{
    const WebhookRequest request = {body, STR("id"), NOW_S};
    HubEvents events;
    Error err = {0};
    if (webhook_events_read(settings, &request, arena, &events, &err) != STATUS_OK) {
        FUZZ_CHECK(err.kind == ERROR_DATA && err.message[0] != '\0');
        return;
    }
    for (size_t i = 0; i < events.count; i++) {
        FUZZ_CHECK(json_is(events.items[i].object, JSON_OBJECT));
        check_change(&events.items[i], i + 1, arena);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Str steps[] = {{"id", 2}, {"type", 4}, {"what", 4}, {"data", 4}, {"items", 5}};
    static Str deletes[] = {{"deleted", 7}};
    const WebhookSettings plain = {.location = STR("a")};
    const WebhookSettings paths = {.id = STR("id"),
                                   .id_at = {&steps[0], 1},
                                   .location_path = STR("type"),
                                   .location_at = {&steps[1], 1},
                                   .operation = STR("what"),
                                   .operation_at = {&steps[2], 1},
                                   .deletes = {deletes, 1},
                                   .object = STR("data.items"),
                                   .object_at = {&steps[3], 2}};
    Str body = {(const char *)data, size};
    Str header = {0};
    Arena arena = {0};
    Error err = {0};
    JsonValue value;
    if (!str_split(&body, '\n', &header)) {
        return 0;
    }
    check_signatures(header, body);
    if (json_read(&arena, body, &value, &err) == STATUS_OK) {
        check_body(&plain, &value, &arena);
        check_body(&paths, &value, &arena);
    }
    arena_done(&arena);
    return 0;
}
