#include "hub/stripe_source.h"

#include <assert.h>
#include <poll.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/mem.h"
#include "codec/json_read.h"
#include "hub/hub_end.h"
#include "hub/stripe_cli.h"
#include "hub/stripe_list.h"
#include "hub/stripe_signature.h"
#include "hub/stripe_told.h"

enum {
    WAITING_MAX = 256, // more than an inbox has
    BATCH_BYTES = 1 << 20,
    SECOND_US = 1000000,
    OVERLAP_S = 3600, // see stripe_told.c
    OK = 200,
    BAD_REQUEST = 400,
    UNAVAILABLE = 503,
};

// A request that is answered when everything before `end` is durable.
typedef struct Waiting {
    HttpPost *post;
    Lsn end;
} Waiting;

typedef struct StripeSource {
    Source base;
    const HubEnd *end;
    Arena arena;
    StrList secrets;
    StripeList *list;
    StripeTold *told;
    StripeCli *cli; // NULL: none is wanted
    Batch *batch;   // being filled
    Lsn position;   // all told events are before it
    Lsn confirmed;
    bool is_listing;
    int64_t listing_s; // when the list was begun
    int64_t listed_s;  // all before are told; 0: there is no such news
    Lsn listed_at;     // and are before this
    bool is_open;      // the inbox is
    Waiting waiting[WAITING_MAX];
    size_t waiting_count;
} StripeSource;

static const Option options[] = {{0}};

static StripeSource *self(Source *source)
{
    return (StripeSource *)source;
}

static const StripeSettings *settings_of(const StripeSource *source)
{
    return &source->end->system->stripe;
}

// ---------------------------------------------------------------------------------------------
// Beginning
// ---------------------------------------------------------------------------------------------

static Status stripe_open(Source *base, Error *err)
{
    (void)err;
    StripeSource *source = self(base);
    source->end = base->context.subject;
    source->list = stripe_list_new(settings_of(source), base->context.cancel);
    return STATUS_OK;
}

// Thread: the listener's. What is not from Stripe is not even queued.
static Status gate(void *context, const HttpPost *post, Error *err)
{
    const StripeSource *source = context;
    return stripe_signature_check(http_post_field(post, "Stripe-Signature"), http_post_body(post),
                                  &source->secrets, clock_wall_us() / SECOND_US, err);
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

// A run with an end to come to takes what Stripe has by now. Nobody need listen for that.
static bool listens(const StripeSource *source)
{
    return source->base.context.until == LSN_NONE && source->end->inbox != NULL;
}

static Status begin_list(StripeSource *source, Error *err)
{
    int64_t since_s;
    if (stripe_told_since(source->told, &since_s, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    stripe_list_begin(source->list, since_s);
    source->listing_s = clock_wall_us() / SECOND_US;
    source->is_listing = true;
    return STATUS_OK;
}

static Status stripe_resume(Source *base, const Checkpoint *checkpoint, Checkpoint *changed,
                            Error *err)
{
    StripeSource *source = self(base);
    const CheckpointEntry *entry = checkpoint_get(checkpoint, CHECKPOINT_POSITION);
    int64_t now_s = clock_wall_us() / SECOND_US;
    int64_t since_s = now_s;
    if (entry == NULL) {
        char text[POSITION_TEXT_SIZE];
        source->position = (Lsn)clock_wall_us();
        position_format((Position){source->position, 0}, text);
        checkpoint_set(changed, CHECKPOINT_POSITION, str_from(text));
    } else {
        Position position;
        if (!position_parse(entry->value, &position)) {
            return error_set(err, ERROR_FATAL, "the stored position \"%" STR_FMT "\" is damaged",
                             STR_ARG(entry->value));
        }
        source->position = position.lsn;
        since_s = (int64_t)(position.lsn / SECOND_US) - OVERLAP_S;
    }
    source->confirmed = source->position;
    if (stripe_told_open(base->context.directory, source->position, since_s, now_s, &source->told,
                         err) != STATUS_OK ||
        (listens(source) && find_secrets(source, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    return begin_list(source, err);
}

// Tables are what nobody has here.
static Status stripe_tables(Source *base, const SourceTables **ret, Error *err)
{
    static const SourceTables none = {0};
    (void)base;
    (void)err;
    *ret = &none;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Events
// ---------------------------------------------------------------------------------------------

// *ret_end: what has to be durable before the event need not be told again.
static Status take_event(StripeSource *source, const StripeEvent *event, bool is_listed,
                         Lsn *ret_end, Error *err)
{
    Lsn lsn;
    *ret_end = LSN_NONE;
    if (hub_find_location(source->end->system, event->location) == NULL) {
        return STATUS_OK; // nothing is made of it
    }
    Status status = stripe_told_find(source->told, event, &lsn, err);
    if (status != STATUS_AGAIN) {
        *ret_end = status == STATUS_OK ? lsn + 1 : LSN_NONE;
        return status;
    }
    // What is listed was before now, and a run up to now is to have it.
    lsn = is_listed ? source->position : MAX(source->position, (Lsn)clock_wall_us());
    if (stripe_told_add(source->told, event, lsn, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Transaction *transaction = ARENA_ARRAY(&source->batch->arena, Transaction, 1);
    transaction->commit_lsn = lsn;
    transaction->commit_time_us = event->created_s * SECOND_US;
    stripe_event_put(source->batch, event, transaction);
    source->position = lsn + 1;
    *ret_end = source->position;
    return STATUS_OK;
}

static Status take_page(StripeSource *source, const JsonValue *events, size_t count, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        StripeEvent event;
        Lsn end;
        Error failure;
        if (stripe_event_read(&events[i], &event, &failure) != STATUS_OK) {
            notice_tell(&source->base.context.notice,
                        "an event of Stripe's list is passed over: %s", failure.message);
        } else if (take_event(source, &event, true, &end, err) != STATUS_OK) {
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
    if (inbox_open(source->end->inbox, gate, source, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    source->is_open = true;
    if (settings->use_cli_listener) {
        source->cli = stripe_cli_new(settings->api_key, source->end->url);
        source->is_listing = false; // until it forwards
    }
    return STATUS_OK;
}

static Status end_of_list(StripeSource *source, Error *err)
{
    if (listens(source) && !source->is_open) {
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
        source->listed_at = source->position;
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

// Answered at once, or when what it told is durable.
static void answer_at(StripeSource *source, HttpPost *post, Lsn end)
{
    if (end == LSN_NONE || end <= source->confirmed) {
        inbox_answer(source->end->inbox, post, OK, NULL);
        return;
    }
    assert(source->waiting_count < WAITING_MAX);
    source->waiting[source->waiting_count++] = (Waiting){post, end};
}

// It is signed: something is set up in a way that is not right, and nobody may look at answers.
static void refuse(StripeSource *source, HttpPost *post, const Error *failure)
{
    notice_tell(&source->base.context.notice, "a request is refused: %s%s%s", failure->message,
                failure->hint[0] == '\0' ? "" : ". ", failure->hint);
    inbox_answer(source->end->inbox, post, BAD_REQUEST, failure->message);
}

static Status take_post(StripeSource *source, HttpPost *post, Error *err)
{
    Arena scratch = {0};
    JsonValue value;
    StripeEvent event;
    Error failure = {0};
    Lsn end = LSN_NONE;
    Status status = STATUS_OK;
    if (json_read(&scratch, http_post_body(post), &value, &failure) != STATUS_OK ||
        stripe_event_read(&value, &event, &failure) != STATUS_OK) {
        refuse(source, post, &failure);
    } else {
        status = take_event(source, &event, false, &end, err);
        if (status == STATUS_OK) {
            answer_at(source, post, end);
        } else {
            inbox_answer(source->end->inbox, post, UNAVAILABLE, "try again later");
        }
    }
    arena_done(&scratch);
    return status;
}

static Status take_posts(StripeSource *source, Error *err)
{
    HttpPost *post;
    while (source->batch->bytes < BATCH_BYTES && (post = inbox_take(source->end->inbox)) != NULL) {
        if (take_post(source, post, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static void answer_durable(StripeSource *source)
{
    size_t kept = 0;
    for (size_t i = 0; i < source->waiting_count; i++) {
        const Waiting *waiting = &source->waiting[i];
        if (waiting->end <= source->confirmed) {
            inbox_answer(source->end->inbox, waiting->post, OK, NULL);
        } else {
            source->waiting[kept++] = *waiting;
        }
    }
    source->waiting_count = kept;
}

// ---------------------------------------------------------------------------------------------
// Polling
// ---------------------------------------------------------------------------------------------

// What the CLI did not forward while it was away is listed.
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
    return is_ready ? begin_list(source, err) : STATUS_OK;
}

// Only when all that was listed is durable, nobody need ask for it again.
static Status note_list(StripeSource *source, Error *err)
{
    if (source->listed_s == 0 || source->confirmed < source->listed_at) {
        return STATUS_OK;
    }
    int64_t listed_s = source->listed_s;
    source->listed_s = 0;
    return stripe_told_all_before(source->told, listed_s, err);
}

static Status fill(StripeSource *source, Error *err)
{
    if (note_list(source, err) != STATUS_OK || look_at_cli(source, err) != STATUS_OK ||
        (source->is_listing && take_list(source, err) != STATUS_OK) ||
        (source->is_open && take_posts(source, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    return STATUS_OK;
}

// Where a run is to end, and there is nothing more before it.
static bool has_come_to_end(StripeSource *source)
{
    Lsn until = source->base.context.until;
    if (until == LSN_NONE || source->is_listing || source->position >= until) {
        return false;
    }
    source->position = until;
    return true;
}

static void wait(const StripeSource *source, int wake_fd, int timeout_ms)
{
    const Cancel *cancel = source->base.context.cancel;
    struct pollfd fds[] = {
        {.fd = source->is_open ? inbox_fd(source->end->inbox) : -1, .events = POLLIN},
        {.fd = source->cli == NULL ? -1 : stripe_cli_fd(source->cli), .events = POLLIN},
        {.fd = wake_fd, .events = POLLIN},
        {.fd = cancel == NULL ? -1 : cancel->fd, .events = POLLIN},
    };
    (void)poll(fds, ARRAY_LEN(fds), timeout_ms);
}

static Status stripe_poll(Source *base, int timeout_ms, int wake_fd, Batch **ret, Error *err)
{
    StripeSource *source = self(base);
    if (ret == NULL) {
        struct pollfd fd = {.fd = wake_fd, .events = POLLIN};
        (void)poll(&fd, 1, timeout_ms);
        return STATUS_AGAIN;
    }
    source->batch = source->batch == NULL ? batch_new() : source->batch;
    if (fill(source, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (source->batch->count == 0 && !has_come_to_end(source)) {
        if (!source->is_listing) {
            wait(source, wake_fd, timeout_ms);
        }
        return STATUS_AGAIN;
    }
    CRASH_POINT("events-told-begins");
    if (stripe_told_save(source->told, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("events-told");
    batch_seal(source->batch, (Position){source->position, 0}, true);
    *ret = source->batch;
    source->batch = NULL;
    return STATUS_OK;
}

static void stripe_confirm(Source *base, Position position)
{
    StripeSource *source = self(base);
    if (source->told == NULL || position.lsn <= source->confirmed) {
        return;
    }
    source->confirmed = position.lsn;
    answer_durable(source);
}

static Status stripe_now(Source *base, Lsn *ret, Error *err)
{
    (void)err;
    *ret = (Lsn)clock_wall_us();
    base->context.until = *ret;
    return STATUS_OK;
}

static Lsn stripe_head(const Source *base)
{
    return ((const StripeSource *)base)->position;
}

static void stripe_close(Source *base)
{
    StripeSource *source = self(base);
    stripe_cli_free(source->cli);
    for (size_t i = 0; i < source->waiting_count; i++) {
        inbox_answer(source->end->inbox, source->waiting[i].post, UNAVAILABLE,
                     "it is not taken at the moment: try again later");
    }
    if (source->is_open) {
        inbox_close(source->end->inbox);
    }
    batch_unref(source->batch);
    stripe_told_close(source->told);
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
    .tables = stripe_tables,
    .poll = stripe_poll,
    .confirm = stripe_confirm,
    .now = stripe_now,
    .head = stripe_head,
    .close = stripe_close,
};
