#include "hub/stripe_source.h"

#include "base/clock.h"
#include "codec/json_read.h"
#include "hub/posted.h"
#include "hub/stripe_cli.h"
#include "hub/stripe_event.h"
#include "hub/stripe_list.h"
#include "hub/stripe_signature.h"

enum { OVERLAP_S = 3600 }; // see events_told.c

typedef struct StripeSource {
    Source base;
    Posted posted;
    Arena arena;
    StrList secrets;
    StripeList *list;
    StripeCli *cli; // NULL: none is wanted
    bool is_listing;
    int64_t listing_s; // when the list was begun
    int64_t listed_s;  // all before are told; 0: there is no such news
    Lsn listed_at;     // and are before this
} StripeSource;

static const Option options[] = {{0}};

static StripeSource *self(Source *source)
{
    return (StripeSource *)source;
}

static const StripeSettings *settings_of(const StripeSource *source)
{
    return &source->posted.end->system->stripe;
}

// ---------------------------------------------------------------------------------------------
// Beginning
// ---------------------------------------------------------------------------------------------

static Status stripe_open(Source *base, Error *err)
{
    (void)err;
    StripeSource *source = self(base);
    const HubEnd *end = base->context.subject;
    source->posted = (Posted){
        .source = base,
        .end = end,
        .relation = hub_event_relation(&stripe_relation, end->system->name, &source->arena)};
    source->list = stripe_list_new(settings_of(source), base->context.cancel);
    return STATUS_OK;
}

// Thread: the listener's. What is not from Stripe is not even queued.
static Status gate(void *context, HttpPost *post, Error *err)
{
    const StripeSource *source = context;
    return stripe_signature_check(http_post_field(post, "Stripe-Signature"), http_post_body(post),
                                  &source->secrets, clock_wall_us() / POSTED_SECOND_US, err);
}

static Status find_secrets(StripeSource *source, Error *err)
{
    const StripeSettings *settings = settings_of(source);
    const StrList *given = &settings->endpoint_secrets;
    source->secrets.items = ARENA_ARRAY(&source->arena, Str, given->count + 1);
    source->secrets.count = given->count;
    for (size_t i = 0; i < given->count; i++) {
        source->secrets.items[i] = given->items[i];
    }
    if (!settings->use_cli_listener) {
        return STATUS_OK;
    }
    Str *secret = &source->secrets.items[source->secrets.count++];
    return stripe_cli_secret(settings->api_key, source->base.context.cancel, &source->arena, secret,
                             err);
}

static Status begin_list(StripeSource *source, Error *err)
{
    int64_t since_s;
    int64_t now_s = clock_wall_us() / POSTED_SECOND_US;
    if (events_told_since(source->posted.told, now_s, &since_s, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    stripe_list_begin(source->list, since_s);
    source->listing_s = now_s;
    source->is_listing = true;
    return STATUS_OK;
}

static Status stripe_resume(Source *base, const Checkpoint *checkpoint, Checkpoint *changed,
                            Error *err)
{
    StripeSource *source = self(base);
    if (posted_resume(&source->posted, checkpoint, changed, OVERLAP_S, err) != STATUS_OK ||
        (posted_listens(&source->posted) && find_secrets(source, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    return begin_list(source, err);
}

// Tables are what nobody has here.
// ---------------------------------------------------------------------------------------------
// Events
// ---------------------------------------------------------------------------------------------

static Status take_page(StripeSource *source, const JsonValue *events, size_t count, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        HubEvent event;
        Lsn end;
        Error failure;
        if (stripe_event_read(&events[i], &event, &failure) != STATUS_OK) {
            notice_tell(&source->base.context.notice,
                        "an event of Stripe's list is passed over: %s", failure.message);
        } else if (posted_tell(&source->posted, &(HubEvents){&event, 1}, true, &end, err) !=
                   STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// From here on events come by themselves. Between the end of the list and this some may have been
// refused: the list is asked once more.
static Status begin_to_listen(StripeSource *source, Error *err)
{
    const StripeSettings *settings = settings_of(source);
    if (posted_open(&source->posted, gate, source, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (settings->use_cli_listener) {
        source->cli = stripe_cli_new(settings->api_key, source->posted.end->url);
        source->is_listing = false; // until it forwards
    }
    return STATUS_OK;
}

static Status end_of_list(StripeSource *source, Error *err)
{
    if (posted_listens(&source->posted) && !source->posted.is_open) {
        return begin_to_listen(source, err);
    }
    source->is_listing = false;
    return STATUS_OK;
}

static Status take_list(StripeSource *source, Error *err)
{
    Arena scratch = {0};
    const JsonValue *events;
    size_t count;
    Status status = stripe_list_next(source->list, &scratch, &events, &count, err);
    if (status == STATUS_OK) {
        status = take_page(source, events, count, err);
    } else if (status == STATUS_AGAIN) {
        source->listed_s = source->listing_s;
        source->listed_at = source->posted.position;
        status = end_of_list(source, err);
    } else if (err->kind == ERROR_DATA) {
        notice_tell(&source->base.context.notice,
                    "what was missed is not known, and only what comes from now on is told: %s",
                    err->message);
        status = end_of_list(source, err);
    }
    arena_done(&scratch);
    return status;
}

// ---------------------------------------------------------------------------------------------
// Requests
// ---------------------------------------------------------------------------------------------

static Status read_post(void *context, HttpPost *post, Arena *arena, HubEvents *ret, Error *err)
{
    (void)context;
    JsonValue *value = ARENA_ARRAY(arena, JsonValue, 1);
    HubEvent *event = ARENA_ARRAY(arena, HubEvent, 1);
    *ret = (HubEvents){event, 1};
    return json_read(arena, http_post_body(post), value, err) == STATUS_OK
               ? stripe_event_read(value, event, err)
               : STATUS_FAIL;
}

// ---------------------------------------------------------------------------------------------
// Polling
// ---------------------------------------------------------------------------------------------

// The CLI forwards an event once: what it did not forward while it was away, and what was refused,
// is listed.
static Status look_at_cli(StripeSource *source, Error *err)
{
    bool is_ready = false;
    if (source->cli == NULL) {
        return STATUS_OK;
    }
    if (stripe_cli_look(source->cli, clock_monotonic_ms(), &source->base.context.notice, &is_ready,
                        err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_missing = !source->is_listing && inbox_was_full(source->posted.end->inbox);
    return is_ready || is_missing ? begin_list(source, err) : STATUS_OK;
}

// Only when all that was listed is durable, nobody need ask for it again.
static Status note_list(StripeSource *source, Error *err)
{
    if (source->listed_s == 0 || source->posted.confirmed < source->listed_at) {
        return STATUS_OK;
    }
    int64_t listed_s = source->listed_s;
    source->listed_s = 0;
    return events_told_all_before(source->posted.told, listed_s, err);
}

static Status fill(StripeSource *source, Error *err)
{
    if (note_list(source, err) != STATUS_OK || look_at_cli(source, err) != STATUS_OK ||
        (source->is_listing && take_list(source, err) != STATUS_OK) ||
        posted_take(&source->posted, read_post, source, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return STATUS_OK;
}

static Status stripe_poll(Source *base, int timeout_ms, int wake_fd, Batch **ret, Error *err)
{
    StripeSource *source = self(base);
    if (ret == NULL) {
        return posted_rest(wake_fd, timeout_ms);
    }
    if (fill(source, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status = posted_seal(&source->posted, !source->is_listing, ret, err);
    if (status == STATUS_AGAIN && !source->is_listing) {
        int cli_fd = source->cli == NULL ? -1 : stripe_cli_fd(source->cli);
        posted_wait(&source->posted, wake_fd, cli_fd, timeout_ms);
    }
    return status;
}

static void stripe_confirm(Source *base, Position position)
{
    posted_confirm(&self(base)->posted, position);
}

static Status stripe_now(Source *base, Lsn *ret, Error *err)
{
    (void)err;
    *ret = posted_now(&self(base)->posted);
    return STATUS_OK;
}

static Lsn stripe_head(const Source *base)
{
    return ((const StripeSource *)base)->posted.position;
}

static void stripe_close(Source *base)
{
    StripeSource *source = self(base);
    stripe_cli_free(source->cli);
    posted_close(&source->posted);
    stripe_list_free(source->list);
    arena_done(&source->arena);
}

const SourceOps hub_stripe_source = {
    .name = "stripe",
    .summary = "Events of a Stripe account, of a hub.",
    .options = options,
    .instance_size = sizeof(StripeSource),
    .open = stripe_open,
    .resume = stripe_resume,
    .tables = posted_tables,
    .poll = stripe_poll,
    .confirm = stripe_confirm,
    .now = stripe_now,
    .head = stripe_head,
    .close = stripe_close,
};
