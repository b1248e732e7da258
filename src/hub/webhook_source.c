#include "hub/webhook_source.h"

#include "base/clock.h"
#include "codec/json_read.h"
#include "hub/posted.h"
#include "hub/webhook_event.h"
#include "io/webhook_signature.h"

typedef struct WebhookSource {
    Source base;
    Posted posted;
    const char *signature_header; // in the arena, as is the next
    const char *id_header;        // NULL: none is looked at
    Arena arena;
} WebhookSource;

static const Option options[] = {{0}};

static WebhookSource *self(Source *source)
{
    return (WebhookSource *)source;
}

static const WebhookSettings *settings_of(const WebhookSource *source)
{
    return &source->posted.end->system->webhook;
}

static Status webhook_open(Source *base, Error *err)
{
    (void)err;
    WebhookSource *source = self(base);
    const HubEnd *end = base->context.subject;
    source->posted = (Posted){
        .source = base,
        .end = end,
        .relation = hub_event_relation(&webhook_relation, end->system->name, &source->arena)};
    const WebhookSettings *settings = settings_of(source);
    bool is_standard = settings->scheme == WEBHOOK_STANDARD;
    source->signature_header =
        is_standard ? "webhook-signature" : str_to_cstr(&source->arena, settings->signature_header);
    source->id_header =
        settings->id_header.len == 0 ? NULL : str_to_cstr(&source->arena, settings->id_header);
    return STATUS_OK;
}

// Thread: the listener's. What is forged is not even queued.
static Status gate(void *context, HttpPost *post, Error *err)
{
    const WebhookSource *source = context;
    const WebhookSettings *settings = settings_of(source);
    const WebhookMessage message = {.id = http_post_field(post, "webhook-id"),
                                    .time = http_post_field(post, "webhook-timestamp"),
                                    .body = http_post_body(post)};
    if (webhook_check((WebhookScheme)settings->scheme, &message,
                      http_post_field(post, source->signature_header), settings->keys,
                      settings->secrets.count, clock_wall_us() / POSTED_SECOND_US,
                      err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (source->id_header != NULL) {
        http_post_note(post, http_post_field(post, source->id_header));
    }
    return STATUS_OK;
}

static Status webhook_resume(Source *base, const Checkpoint *checkpoint, Checkpoint *changed,
                             Error *err)
{
    WebhookSource *source = self(base);
    if (posted_resume(&source->posted, checkpoint, changed, 0, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return posted_listens(&source->posted) ? posted_open(&source->posted, gate, source, err)
                                           : STATUS_OK;
}

static Status read_post(void *context, HttpPost *post, Arena *arena, HubEvents *ret, Error *err)
{
    JsonValue *body = ARENA_ARRAY(arena, JsonValue, 1);
    const WebhookRequest request = {body, http_post_noted(post),
                                    clock_wall_us() / POSTED_SECOND_US};
    return json_read(arena, http_post_body(post), body, err) == STATUS_OK
               ? webhook_events_read(settings_of(context), &request, arena, ret, err)
               : STATUS_FAIL;
}

static Status webhook_poll(Source *base, int timeout_ms, int wake_fd, Batch **ret, Error *err)
{
    WebhookSource *source = self(base);
    if (ret == NULL) {
        return posted_rest(wake_fd, timeout_ms);
    }
    if (posted_take(&source->posted, read_post, source, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status = posted_seal(&source->posted, true, ret, err);
    if (status == STATUS_AGAIN) {
        posted_wait(&source->posted, wake_fd, -1, timeout_ms);
    }
    return status;
}

static void webhook_confirm(Source *base, Position position)
{
    posted_confirm(&self(base)->posted, position);
}

static Status webhook_now(Source *base, Lsn *ret, Error *err)
{
    (void)err;
    *ret = posted_now(&self(base)->posted);
    return STATUS_OK;
}

static Lsn webhook_head(const Source *base)
{
    return ((const WebhookSource *)base)->posted.position;
}

static void webhook_close(Source *base)
{
    WebhookSource *source = self(base);
    posted_close(&source->posted);
    arena_done(&source->arena);
}

const SourceOps hub_webhook_source = {
    .name = "webhook",
    .summary = "What is posted to a system of a hub.",
    .options = options,
    .instance_size = sizeof(WebhookSource),
    .open = webhook_open,
    .resume = webhook_resume,
    .tables = posted_tables,
    .poll = webhook_poll,
    .confirm = webhook_confirm,
    .now = webhook_now,
    .head = webhook_head,
    .close = webhook_close,
};
