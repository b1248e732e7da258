#include "hub/receive.h"

#include "base/crash_point.h"
#include "base/limits.h"
#include "hub/hub_echo.h"
#include "hub/hub_end.h"
#include "hub/hub_event.h"
#include "hub/hub_given.h"
#include "hub/hub_push.h"
#include "hub/hub_stage.h"
#include "model/object.h"
#include "model/receiver.h"
#include "pg/connection.h"

// So much is kept in memory until the commit. It is also what is written into the hub's log in one
// turn, which others wait for.
enum { KEPT_BYTES = 4 << 20 };

// In the checkpoint: what of the stage is the hub's, and not in its log yet; empty: nothing.
#define STAGE_KEY STR("sink:stage")

// Of each value of a key in a message.
enum { KEY_SHOWN = 100 };

typedef struct Origin Origin;

// A transaction of the source, as its objects have it.
struct Origin {
    Transaction transaction;
    const Transaction *from; // the source's; only its address is looked at
    Origin *before;          // in the batch
};

typedef struct ReceiveSink {
    Sink base;
    const HubEnd *end;
    HubWriter writer;
    HubStage *stage;
    Receiver *receiver;
    HubEcho echo;   // recall NULL: echoes are known by their origin
    Batch *batch;   // objects that are not in the log yet; NULL: none
    Origin *origin; // of its last ones; NULL: there is none
    Map told;       // by oid: tables of which a truncate was told
    Arena scratch;  // of the last change
} ReceiveSink;

static const Option options[] = {{0}};

static ReceiveSink *self(Sink *sink)
{
    return (ReceiveSink *)sink;
}

static Status receive_open(Sink *base, Error *err)
{
    (void)err;
    ReceiveSink *sink = self(base);
    sink->end = base->context.subject;
    sink->writer = (HubWriter){.log = sink->end->log,
                               .system = sink->end->system->name,
                               .cancel = base->context.cancel,
                               .notice = base->context.notice};
    sink->stage = hub_stage_new(sink->end->stage, &base->context);
    sink->receiver = receiver_new(sink->end->hub, sink->end->system);
    sink->echo = (HubEcho){.hub = sink->end->hub, .system = sink->end->system};
    if (sink->end->memory != NULL) {
        sink->echo.recall = hub_recall_new(sink->end->memory, sink->end->system->name);
    }
    return STATUS_OK;
}

static Status receive_prepare(Sink *base, const Relation *was, const Relation *now, Error *err)
{
    (void)base;
    (void)was;
    (void)now;
    (void)err;
    return STATUS_OK; // rules are bound where the first row comes
}

// ---------------------------------------------------------------------------------------------
// Objects
// ---------------------------------------------------------------------------------------------

// By its key, as nothing else tells which row of a copy it is.
static void put_key(const Change *change, Buf *out)
{
    const Relation *relation = change->relation;
    const char *between = " where ";
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const Value *value = &change->new_row[i];
        if (relation_is_key(relation, i) && value->state == VALUE_TEXT) {
            buf_cstr(out, between);
            pg_identifier(out, relation->columns[i].name);
            buf_cstr(out, " = ");
            buf_str(out, (Str){value->ptr, MIN(value->len, (uint32_t)KEY_SHOWN)});
            between = " and ";
        }
    }
}

static Status is_invalid(ReceiveSink *sink, const Change *change, const Received *outcome,
                         Error *err)
{
    CLEANUP(buf_done) Buf key;
    buf_init(&key, LIMIT_TEXT_BYTES);
    if (change->op == CHANGE_READ) {
        put_key(change, &key);
    }
    // The relation of events is no more than whose they are.
    Str table = relation_title(change->relation->schema, change->relation->name, &sink->scratch);
    Str what = sink->end->system->type == SYSTEM_POSTGRESQL ? table : outcome->rule->location;
    *err = outcome->error;
    error_wrap(err, "\"%" STR_FMT "\"%" STR_FMT " is no \"%" STR_FMT "\"", STR_ARG(what),
               STR_ARG(buf_view(&key)), STR_ARG(outcome->rule->model->title));
    return STATUS_FAIL;
}

// Those of one transaction of the source, which committed at @made, share theirs. Its LSN is known
// when it is the system's turn.
static const Transaction *transaction_of(ReceiveSink *sink, const Transaction *from, Lsn made)
{
    Origin *last = sink->origin;
    if (last == NULL || last->from != from || last->transaction.origin_lsn != made) {
        sink->origin = arena_alloc_zero(&sink->batch->arena, sizeof(*sink->origin));
        sink->origin->from = from;
        sink->origin->before = last;
        sink->origin->transaction = (Transaction){.commit_time_us = from->commit_time_us,
                                                  .origin = sink->end->system->name,
                                                  .origin_lsn = made};
    }
    return &sink->origin->transaction;
}

// Nothing is made of what the system only repeats.
static Status take_object(ReceiveSink *sink, const Change *change, Str request, Object *object,
                          Error *err)
{
    bool is_echo = false;
    Change *made;
    if (sink->echo.recall != NULL && hub_echo_receive(&sink->echo, object, request, &sink->scratch,
                                                      &is_echo, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (is_echo) {
        return STATUS_OK;
    }
    if (object_put(sink->batch, object, &made, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    made->transaction = transaction_of(sink, change->transaction, change->transaction->commit_lsn);
    return STATUS_OK;
}

static Status mix_row(ReceiveSink *sink, const Change *change, ReceivedList *ret, Error *err)
{
    const Value *row = change->op == CHANGE_DELETE ? change->old_row : change->new_row;
    if (row == NULL) {
        return error_set(err, ERROR_DATA, "a delete of \"%" STR_FMT ".%" STR_FMT "\" has no row",
                         STR_ARG(change->relation->schema), STR_ARG(change->relation->name));
    }
    return receiver_row(sink->receiver, change->op, change->relation, change->old_row, row, ret,
                        err);
}

static Status mix_event(ReceiveSink *sink, const Change *change, ReceivedList *ret,
                        Str *ret_request, Error *err)
{
    HubTelling *told = ARENA_ARRAY(&sink->scratch, HubTelling, 1);
    if (hub_event_take(change, &sink->scratch, told, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret_request = told->request;
    *ret = receiver_json(sink->receiver, told->location, change->op, &told->object);
    return STATUS_OK;
}

static Status take_row(ReceiveSink *sink, const Change *change, Error *err)
{
    ReceivedList outcomes;
    Str request = {0};
    bool is_table = sink->end->system->type == SYSTEM_POSTGRESQL;
    arena_reset(&sink->scratch);
    if ((is_table ? mix_row(sink, change, &outcomes, err)
                  : mix_event(sink, change, &outcomes, &request, err)) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < outcomes.count; i++) {
        Received *outcome = &outcomes.items[i];
        if (!outcome->is_valid) {
            return is_invalid(sink, change, outcome, err);
        }
        if (take_object(sink, change, request, &outcome->object, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// Which rows there were, nobody tells.
static void tell_truncate(ReceiveSink *sink, const Relation *relation)
{
    if (hub_find_table(sink->end->system, relation->schema, relation->name) == NULL ||
        map_put_u64(&sink->told, relation->oid, sink) != NULL) {
        return;
    }
    notice_tell(&sink->base.context.notice,
                "\"%" STR_FMT ".%" STR_FMT "\" was truncated: its rows stay in the other systems, "
                "as nothing says which they were",
                STR_ARG(relation->schema), STR_ARG(relation->name));
}

// What was pushed there has come back.
static bool is_ours(const ReceiveSink *sink, const Change *change)
{
    return str_is(change->transaction->origin, sink->end->origin);
}

static Status read_given(ReceiveSink *sink, const LogicalMessage *message, Object *ret, Error *err)
{
    Received checked;
    if (hub_given_take(sink->end->hub, message, &sink->scratch, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    receiver_object(sink->receiver, ret, &checked);
    if (!checked.is_valid) {
        *err = checked.error;
        return STATUS_FAIL;
    }
    return STATUS_OK;
}

// A message is no row that could be set aside.
static Status take_given(ReceiveSink *sink, const Change *change, Error *err)
{
    Object object;
    Error why = {0};
    arena_reset(&sink->scratch);
    if (read_given(sink, change->message, &object, &why) != STATUS_OK) {
        notice_tell(&sink->base.context.notice,
                    "keys that \"%" STR_FMT "\" gave a new row are not told to the others: %s",
                    STR_ARG(sink->end->system->name), why.message);
        return STATUS_OK;
    }
    // With fewer, nobody could find it by anything but what was given.
    return object.value.count < 2 ? STATUS_OK : take_object(sink, change, STR(""), &object, err);
}

static Status take(ReceiveSink *sink, const Change *change, Error *err)
{
    switch (change->op) {
    case CHANGE_READ:
    case CHANGE_INSERT:
    case CHANGE_UPDATE:
    case CHANGE_DELETE:
        return is_ours(sink, change) ? STATUS_OK : take_row(sink, change, err);
    case CHANGE_TRUNCATE:
        tell_truncate(sink, change->relation);
        return STATUS_OK;
    case CHANGE_MESSAGE:
        return is_ours(sink, change) && str_is(change->message->prefix, HUB_GIVEN_PREFIX)
                   ? take_given(sink, change, err)
                   : STATUS_OK;
    case CHANGE_SCHEMA:
        break;
    }
    return STATUS_OK;
}

static Status mix(ReceiveSink *sink, const Change *changes, size_t count, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (cancel_is_set(sink->base.context.cancel)) {
            return error_set(err, ERROR_CANCELLED, "cancelled");
        }
        if (take(sink, &changes[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------

static Status is_late(ReceiveSink *sink, const Change *change, bool *ret, Error *err)
{
    Object object;
    const MixerGroup *group;
    *ret = false;
    arena_reset(&sink->scratch);
    if (hub_push_take(sink->end, change, &sink->scratch, &object, &group, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return group == NULL || object.op == OBJECT_DELETE
               ? STATUS_OK
               : hub_echo_drop_gone(&sink->echo, &object, &sink->scratch, ret, err);
}

// What the system tells of what is gone was before that. Rows would get the id that is gone, in
// place of a newer object's, which may be in the log already: so this is asked when nobody else
// writes there.
static Status drop_late(ReceiveSink *sink, Error *err)
{
    Batch *batch = sink->batch;
    size_t kept = 0;
    for (size_t i = 0; i < batch->count; i++) {
        bool late;
        if (is_late(sink, &batch->changes[i], &late, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (!late) {
            batch->changes[kept++] = batch->changes[i];
        }
    }
    batch->count = kept;
    return STATUS_OK;
}

static void set_lsn(ReceiveSink *sink, Lsn lsn)
{
    for (Origin *origin = sink->origin; origin != NULL; origin = origin->before) {
        origin->transaction.commit_lsn = lsn;
    }
}

static void drop_batch(ReceiveSink *sink)
{
    batch_unref(sink->batch);
    sink->batch = NULL;
    sink->origin = NULL;
}

// Takes the log's turn, which the commit gives back.
static Status write_log(ReceiveSink *sink, Error *err)
{
    if (sink->batch == NULL || sink->batch->count == 0) {
        return STATUS_OK;
    }
    Lsn lsn;
    if (hub_log_begin(&sink->writer, &lsn, err) != STATUS_OK ||
        (sink->echo.recall != NULL && drop_late(sink, err) != STATUS_OK) ||
        (sink->echo.recall != NULL && hub_recall_save(sink->echo.recall, lsn, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    set_lsn(sink, lsn);
    Status status = hub_log_write(&sink->writer, sink->batch->changes, sink->batch->count, err);
    drop_batch(sink);
    return status;
}

// ---------------------------------------------------------------------------------------------
// The stage
// ---------------------------------------------------------------------------------------------

static Status write_stage(ReceiveSink *sink, Error *err)
{
    if (sink->batch == NULL || sink->batch->count == 0) {
        return STATUS_OK;
    }
    Lsn lsn;
    if (hub_stage_begin(sink->stage, &lsn, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    set_lsn(sink, lsn);
    Status status = hub_stage_write(sink->stage, sink->batch->changes, sink->batch->count, err);
    drop_batch(sink);
    return status;
}

// Where others are waited for, nothing is known of when the rest comes. What is remembered of a
// system's echoes belongs to the log's own LSNs; its events are small, and committed soon.
static Status put_aside(ReceiveSink *sink, Error *err)
{
    return sink->echo.recall == NULL ? write_stage(sink, err) : write_log(sink, err);
}

// The model may have changed since it was staged: the hub was ended in between.
static Status take_staged(ReceiveSink *sink, const Change *change, Error *err)
{
    const Model *model = hub_find_model(sink->end->hub, change->relation->name);
    Object object;
    Change *made;
    arena_reset(&sink->scratch);
    if (model == NULL) {
        error_set(err, ERROR_CONFIG, "the hub has no model \"%" STR_FMT "\", which was received",
                  STR_ARG(change->relation->name));
        return error_hint(err, "Give the hub its model back.");
    }
    if (object_take(model, change, &sink->scratch, &object, err) != STATUS_OK ||
        object_put(sink->batch, &object, &made, err) != STATUS_OK) {
        return error_hint(err,
                          "It was received before the hub was ended, from \"%s\". If the model "
                          "has changed since, give the hub the one that it had until that is "
                          "in its log.",
                          sink->end->stage);
    }
    made->transaction = transaction_of(sink, change->transaction, change->transaction->origin_lsn);
    return STATUS_OK;
}

// STATUS_AGAIN: there is nothing more.
static Status read_stage(ReceiveSink *sink, HubStageRange *range, Error *err)
{
    Batch *staged = batch_new();
    Status status = STATUS_OK;
    while (status == STATUS_OK && staged->bytes < KEPT_BYTES) {
        status = hub_stage_next(sink->stage, range, staged, err);
    }
    status = status == STATUS_AGAIN && staged->count > 0 ? STATUS_OK : status;
    sink->batch = status == STATUS_OK ? batch_new() : NULL;
    for (size_t i = 0; i < staged->count && status == STATUS_OK; i++) {
        status = take_staged(sink, &staged->changes[i], err);
    }
    batch_unref(staged);
    return status;
}

static Status note_range(ReceiveSink *sink, const HubStageRange *range, Checkpoint *changed,
                         Error *err)
{
    char text[HUB_STAGE_TEXT] = "";
    if (position_compare(range->from, range->to) < 0) {
        hub_stage_format(range, text);
    }
    checkpoint_set(changed, STAGE_KEY, str_from(text));
    return hub_log_commit(&sink->writer, changed, err);
}

// A part at a time, between which others have their turn.
static Status move_stage(ReceiveSink *sink, HubStageRange range, Error *err)
{
    for (;;) {
        if (cancel_is_set(sink->base.context.cancel)) {
            return error_set(err, ERROR_CANCELLED, "cancelled");
        }
        Status status = read_stage(sink, &range, err);
        if (status == STATUS_AGAIN) {
            return STATUS_OK;
        }
        CRASH_POINT("stage-part-read");
        Checkpoint changed = {0};
        if (status == STATUS_OK) {
            status = write_log(sink, err);
        }
        if (status == STATUS_OK) {
            status = note_range(sink, &range, &changed, err);
        }
        checkpoint_done(&changed);
        if (status != STATUS_OK) {
            return STATUS_FAIL;
        }
        CRASH_POINT("stage-part-moved");
        hub_stage_passed(sink->stage, range.from);
    }
}

// From note_range() on it counts, and is not asked for again.
static Status commit_stage(ReceiveSink *sink, Checkpoint *changed, Error *err)
{
    HubStageRange range;
    if (write_stage(sink, err) != STATUS_OK ||
        hub_stage_commit(sink->stage, &range, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("stage-durable");
    if (note_range(sink, &range, changed, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("stage-counts");
    return move_stage(sink, range, err);
}

// What somebody who was ended has not moved.
static Status finish_stage(ReceiveSink *sink, Error *err)
{
    Checkpoint stored = {0};
    HubStageRange range;
    Status status = hub_log_restore(&sink->writer, &stored, err);
    const CheckpointEntry *entry = checkpoint_get(&stored, STAGE_KEY);
    if (status == STATUS_OK && entry != NULL && entry->value.len > 0) {
        status = hub_stage_parse(entry->value, &range)
                     ? move_stage(sink, range, err)
                     : error_set(err, ERROR_FATAL, "the stage's range \"%" STR_FMT "\" is damaged",
                                 STR_ARG(entry->value));
    }
    checkpoint_done(&stored);
    // Behind it may be what was staged and never noted.
    return status == STATUS_OK ? hub_stage_forget(sink->stage, err) : STATUS_FAIL;
}

static Status receive_resume(Sink *base, Checkpoint *checkpoint, Error *err)
{
    ReceiveSink *sink = self(base);
    return finish_stage(sink, err) == STATUS_OK ? hub_log_restore(&sink->writer, checkpoint, err)
                                                : STATUS_FAIL;
}

// ---------------------------------------------------------------------------------------------
// What is called
// ---------------------------------------------------------------------------------------------

// Of a run that is refused nothing is kept.
static Status receive_try_write(Sink *base, const Change *changes, size_t count,
                                bool *ret_is_intact, Error *err)
{
    ReceiveSink *sink = self(base);
    if (sink->batch == NULL) {
        sink->batch = batch_new();
    }
    size_t before = sink->batch->count;
    size_t mark = sink->echo.recall == NULL ? 0 : hub_recall_mark(sink->echo.recall);
    *ret_is_intact = true;
    if (mix(sink, changes, count, err) != STATUS_OK) {
        sink->batch->count = before;
        if (sink->echo.recall != NULL) {
            hub_recall_undo(sink->echo.recall, mark);
        }
        return STATUS_FAIL;
    }
    *ret_is_intact = false;
    return sink->batch->bytes < KEPT_BYTES ? STATUS_OK : put_aside(sink, err);
}

static Status receive_write(Sink *base, const Change *changes, size_t count, Error *err)
{
    bool is_intact;
    return receive_try_write(base, changes, count, &is_intact, err);
}

static Status receive_commit(Sink *base, Checkpoint *changed, Error *err)
{
    ReceiveSink *sink = self(base);
    if (hub_stage_is_open(sink->stage)) {
        return commit_stage(sink, changed, err);
    }
    return write_log(sink, err) == STATUS_OK ? hub_log_commit(&sink->writer, changed, err)
                                             : STATUS_FAIL;
}

static void receive_close(Sink *base)
{
    ReceiveSink *sink = self(base);
    if (sink->writer.log != NULL) {
        hub_log_end(&sink->writer);
    }
    batch_unref(sink->batch);
    hub_stage_free(sink->stage);
    receiver_free(sink->receiver);
    hub_recall_free(sink->echo.recall);
    map_done(&sink->told);
    arena_done(&sink->scratch);
}

const SinkOps hub_receive = {
    .name = "hub",
    .summary = "The log of a hub: changes, mixed into objects of its models.",
    .options = options,
    .instance_size = sizeof(ReceiveSink),
    .guarantee = GUARANTEE_EXACTLY_ONCE,
    .stores_checkpoint = true,
    .changes_stand_alone = true,
    .open = receive_open,
    .resume = receive_resume,
    .prepare = receive_prepare,
    .write = receive_write,
    .try_write = receive_try_write,
    .commit = receive_commit,
    .close = receive_close,
};
