#include "hub/posted.h"

#include <assert.h>
#include <poll.h>

#include "base/clock.h"
#include "base/crash_point.h"

enum {
    BATCH_BYTES = 1 << 20,
    OK = 200,
    BAD_REQUEST = 400,
    UNAVAILABLE = 503,
};

Status posted_resume(Posted *posted, const Checkpoint *checkpoint, Checkpoint *changed,
                     int64_t overlap_s, Error *err)
{
    const CheckpointEntry *entry = checkpoint_get(checkpoint, CHECKPOINT_POSITION);
    int64_t now_s = clock_wall_us() / POSTED_SECOND_US;
    int64_t since_s = now_s;
    if (entry == NULL) {
        char text[POSITION_TEXT_SIZE];
        posted->position = (Lsn)clock_wall_us();
        position_format((Position){posted->position, 0}, text);
        checkpoint_set(changed, CHECKPOINT_POSITION, str_from(text));
    } else {
        Position position;
        if (!position_parse(entry->value, &position)) {
            return error_set(err, ERROR_FATAL, "the stored position \"%" STR_FMT "\" is damaged",
                             STR_ARG(entry->value));
        }
        posted->position = position.lsn;
        since_s = (int64_t)(position.lsn / POSTED_SECOND_US) - overlap_s;
    }
    posted->confirmed = posted->position;
    return events_told_open(posted->source->context.directory, posted->position, since_s, now_s,
                            &posted->told, err);
}

bool posted_listens(const Posted *posted)
{
    return posted->source->context.until == LSN_NONE && posted->end->inbox != NULL;
}

Status posted_open(Posted *posted, InboxGate gate, void *context, Error *err)
{
    if (inbox_open(posted->end->inbox, gate, context, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    posted->is_open = true;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Events
// ---------------------------------------------------------------------------------------------

static bool is_wanted(const Posted *posted, const HubEvents *events)
{
    for (size_t i = 0; i < events->count; i++) {
        if (hub_find_location(posted->end->system, events->items[i].location) != NULL) {
            return true;
        }
    }
    return false;
}

Status posted_tell(Posted *posted, const HubEvents *events, bool is_listed, Lsn *ret_end,
                   Error *err)
{
    Lsn lsn;
    *ret_end = LSN_NONE;
    if (!is_wanted(posted, events)) {
        return STATUS_OK; // nothing is made of it
    }
    const HubEvent *first = events->items;
    bool has_id = first->id.len > 0;
    Status status = has_id ? events_told_find(posted->told, first, &lsn, err) : STATUS_AGAIN;
    if (status != STATUS_AGAIN) {
        *ret_end = status == STATUS_OK ? lsn + 1 : LSN_NONE;
        return status;
    }
    // What is listed was before now, and a run up to now is to have it.
    lsn = is_listed ? posted->position : MAX(posted->position, (Lsn)clock_wall_us());
    if (has_id && events_told_add(posted->told, first, lsn, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    posted->batch = posted->batch == NULL ? batch_new() : posted->batch;
    Transaction *transaction = ARENA_ARRAY(&posted->batch->arena, Transaction, 1);
    transaction->commit_lsn = lsn;
    transaction->commit_time_us = first->created_s * POSTED_SECOND_US;
    for (size_t i = 0; i < events->count; i++) {
        hub_event_put(posted->batch, posted->relation, &events->items[i], transaction, i + 1);
    }
    posted->position = lsn + 1;
    *ret_end = posted->position;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Requests
// ---------------------------------------------------------------------------------------------

// Answered at once, or when what it told is durable.
static void answer_at(Posted *posted, HttpPost *post, Lsn end)
{
    if (end == LSN_NONE || end <= posted->confirmed) {
        inbox_answer(posted->end->inbox, post, OK, NULL);
        return;
    }
    assert(posted->waiting_count < POSTED_WAITING_MAX);
    posted->waiting[posted->waiting_count++] = (PostedWaiting){post, end};
}

// It is signed: something is set up in a way that is not right, and nobody may look at answers.
static void refuse(Posted *posted, HttpPost *post, const Error *failure)
{
    notice_tell(&posted->source->context.notice, "a request is refused: %s%s%s", failure->message,
                failure->hint[0] == '\0' ? "" : ". ", failure->hint);
    inbox_answer(posted->end->inbox, post, BAD_REQUEST, failure->message);
}

static Status take_post(Posted *posted, HttpPost *post, PostedReader reader, void *context,
                        Error *err)
{
    Arena scratch = {0};
    HubEvents events;
    Error failure = {0};
    Lsn end = LSN_NONE;
    Status status = STATUS_OK;
    if (reader(context, post, &scratch, &events, &failure) != STATUS_OK) {
        refuse(posted, post, &failure);
    } else {
        status = posted_tell(posted, &events, false, &end, err);
        if (status == STATUS_OK) {
            answer_at(posted, post, end);
        } else {
            inbox_answer(posted->end->inbox, post, UNAVAILABLE, "try again later");
        }
    }
    arena_done(&scratch);
    return status;
}

Status posted_take(Posted *posted, PostedReader reader, void *context, Error *err)
{
    HttpPost *post;
    while (posted->is_open && (posted->batch == NULL || posted->batch->bytes < BATCH_BYTES) &&
           (post = inbox_take(posted->end->inbox)) != NULL) {
        if (take_post(posted, post, reader, context, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Batches
// ---------------------------------------------------------------------------------------------

// Where a run is to end, and there is nothing more before it.
static bool has_come_to_end(Posted *posted, bool is_complete)
{
    Lsn until = posted->source->context.until;
    if (until == LSN_NONE || !is_complete || posted->position >= until) {
        return false;
    }
    posted->position = until;
    return true;
}

Status posted_seal(Posted *posted, bool is_complete, Batch **ret, Error *err)
{
    bool is_empty = posted->batch == NULL || posted->batch->count == 0;
    if (is_empty && !has_come_to_end(posted, is_complete)) {
        return STATUS_AGAIN;
    }
    posted->batch = posted->batch == NULL ? batch_new() : posted->batch;
    CRASH_POINT("events-told-begins");
    if (events_told_save(posted->told, posted->confirmed, clock_wall_us() / POSTED_SECOND_US,
                         err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("events-told");
    batch_seal(posted->batch, (Position){posted->position, 0}, true);
    *ret = posted->batch;
    posted->batch = NULL;
    return STATUS_OK;
}

void posted_wait(const Posted *posted, int wake_fd, int other_fd, int timeout_ms)
{
    const Cancel *cancel = posted->source->context.cancel;
    struct pollfd fds[] = {
        {.fd = posted->is_open ? inbox_fd(posted->end->inbox) : -1, .events = POLLIN},
        {.fd = other_fd, .events = POLLIN},
        {.fd = wake_fd, .events = POLLIN},
        {.fd = cancel_fd(cancel), .events = POLLIN},
    };
    (void)poll(fds, ARRAY_LEN(fds), timeout_ms);
}

Status posted_tables(Source *source, const SourceTables **ret, Error *err)
{
    static const SourceTables none = {0};
    (void)source;
    (void)err;
    *ret = &none;
    return STATUS_OK;
}

Status posted_rest(int wake_fd, int timeout_ms)
{
    struct pollfd fd = {.fd = wake_fd, .events = POLLIN};
    (void)poll(&fd, 1, timeout_ms);
    return STATUS_AGAIN;
}

void posted_confirm(Posted *posted, Position position)
{
    if (posted->told == NULL || position.lsn <= posted->confirmed) {
        return;
    }
    posted->confirmed = position.lsn;
    size_t kept = 0;
    for (size_t i = 0; i < posted->waiting_count; i++) {
        const PostedWaiting *waiting = &posted->waiting[i];
        if (waiting->end <= posted->confirmed) {
            inbox_answer(posted->end->inbox, waiting->post, OK, NULL);
        } else {
            posted->waiting[kept++] = *waiting;
        }
    }
    posted->waiting_count = kept;
}

Lsn posted_now(Posted *posted)
{
    posted->source->context.until = (Lsn)clock_wall_us();
    return posted->source->context.until;
}

void posted_close(Posted *posted)
{
    for (size_t i = 0; i < posted->waiting_count; i++) {
        inbox_answer(posted->end->inbox, posted->waiting[i].post, UNAVAILABLE,
                     "it is not taken at the moment: try again later");
    }
    if (posted->is_open) {
        inbox_close(posted->end->inbox);
    }
    batch_unref(posted->batch);
    events_told_close(posted->told);
}
