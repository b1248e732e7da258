#include "hub/push_stripe.h"

#include <assert.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/limits.h"
#include "base/md5.h"
#include "hub/hub_echo.h"
#include "hub/hub_push.h"
#include "hub/hub_wait.h"
#include "hub/stripe_api.h"
#include "hub/stripe_request.h"
#include "model/convert.h"
#include "model/object.h"

typedef struct StripeSink {
    Sink base;
    const HubEnd *end;
    Pause pause;
    RateLimit limit;
    StripeApi *api;
    HubEcho echo;
    HubWriter writer;
    Arena scratch;       // an object
    Position refused_at; // since the last commit, and why: it comes again until it is found
    Error refused;
} StripeSink;

static const Option options[] = {{0}};

static StripeSink *self(Sink *sink)
{
    return (StripeSink *)sink;
}

static Status push_open(Sink *base, Error *err)
{
    (void)err;
    StripeSink *sink = self(base);
    const SinkContext *context = &base->context;
    sink->end = context->subject;
    assert(sink->end->memory != NULL && sink->end->system->type == SYSTEM_STRIPE);
    const HubSystem *system = sink->end->system;
    sink->pause = (Pause){context->cancel, context->at_work, context->at_work_context};
    rate_limit_init(&sink->limit, system->rate_limit, system->rate_bucket_size,
                    clock_monotonic_us());
    sink->api = stripe_api_new(&system->stripe, &sink->pause);
    sink->echo = (HubEcho){sink->end->hub, system,
                           hub_recall_new(sink->end->memory, system->name, STR("push"))};
    sink->writer = (HubWriter){.log = sink->end->log,
                               .system = system->name,
                               .cancel = context->cancel,
                               .notice = context->notice};
    return STATUS_OK;
}

static Status push_resume(Sink *base, Checkpoint *checkpoint, Error *err)
{
    (void)checkpoint;
    StripeSink *sink = self(base);
    Lsn end;
    return hub_log_restore(&sink->writer, NULL, &end, err) == STATUS_OK
               ? hub_recall_begin(sink->echo.recall, end, err)
               : STATUS_FAIL;
}

static Status push_prepare(Sink *base, const Relation *was, const Relation *now, Error *err)
{
    (void)base;
    (void)was;
    (void)now;
    (void)err;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Ids
// ---------------------------------------------------------------------------------------------

static void add_member(Object *object, int property, const JsonValue *value, Arena *arena)
{
    if (value != NULL && value->kind != JSON_NULL) {
        hub_echo_set(object, property, *value, arena);
    }
}

// That what was pushed is done is known as soon as the log has what is told of it, and not before.
static Status tell(StripeSink *sink, const Object *object, Batch *batch, Error *err)
{
    Transaction transaction = {.commit_time_us = clock_wall_us(),
                               .origin = sink->end->system->name};
    const Checkpoint nothing = {0};
    Change *made;
    if (object_put(batch, object, &made, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    made->transaction = &transaction;
    return hub_log_begin(&sink->writer, &transaction.commit_lsn, err) == STATUS_OK &&
                   hub_recall_save(sink->echo.recall, transaction.commit_lsn, err) == STATUS_OK &&
                   hub_log_write(&sink->writer, batch->changes, batch->count, err) == STATUS_OK
               ? hub_log_commit(&sink->writer, &nothing, err)
               : STATUS_FAIL;
}

// All by which somebody finds @object, and nothing else: the rest may have changed since. At once,
// as what was pushed does not come again.
static Status tell_ids(StripeSink *sink, const Object *object, Error *err)
{
    const Model *model = object->model;
    Object told = {.model = model, .op = OBJECT_UPSERT, .is_partial = true};
    told.value = (JsonValue){.kind = JSON_OBJECT};
    for (int i = 0; i < (int)model->property_count; i++) {
        if (hub_echo_is_key(sink->end->hub, model, i)) {
            add_member(&told, i, json_member(&object->value, model->properties[i].name),
                       &sink->scratch);
        }
    }
    if (told.value.count < 2) {
        return STATUS_OK; // nobody could find it by anything but the id
    }
    Batch *batch = batch_new();
    Status status = tell(sink, &told, batch, err);
    batch_unref(batch);
    CRASH_POINT("stripe-id-told");
    return status;
}

// Stripe's id as one of the types that the model's property may have.
static Status take_id(StripeSink *sink, const MixerRule *rule, const JsonValue *answer,
                      Object *object, Error *err)
{
    const JsonValue *id = json_member(answer, STR("id"));
    int property = hub_echo_id(rule);
    JsonValue value;
    if (!json_is(id, JSON_STRING) || id->text.len == 0) {
        return error_set(err, ERROR_TRANSIENT, "the answer to a new \"%" STR_FMT "\" has no id",
                         STR_ARG(rule->location));
    }
    const JsonValue kept = json_copy(&sink->scratch, id);
    if (convert_json(&sink->scratch, &kept, object->model->properties[property].types, &value,
                     err) != STATUS_OK) {
        return error_wrap(err, "Stripe's id");
    }
    hub_echo_set(object, property, value, &sink->scratch);
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Requests
// ---------------------------------------------------------------------------------------------

// The same for the same request about the same change of the same log, and for no other.
static Str key_of(StripeSink *sink, const Change *change, const StripeRequest *request,
                  const char *salt)
{
    char place[POSITION_TEXT_SIZE];
    char digits[MD5_HEX_SIZE];
    position_format(change_position(change), place);
    Str identity = hub_log_identity(sink->end->log);
    const char *all =
        arena_printf(&sink->scratch, "%" STR_FMT "\n%s\n%s %s\n%" STR_FMT "\n%s", STR_ARG(identity),
                     place, request->method, request->path, STR_ARG(request->body), salt);
    md5_hex(str_from(all), digits);
    return str_from(arena_printf(&sink->scratch, "weir-%.*s", MD5_HEX_SIZE, digits));
}

static bool is_remembered(const HttpAnswer *answer)
{
    return str_is(http_answer_header(answer, "Idempotent-Replayed"), "true");
}

static Status ask(StripeSink *sink, const Change *change, const StripeRequest *request,
                  StripeQuestion *question, HttpAnswer *ret, Error *err)
{
    bool is_delete = request->body.ptr == NULL;
    *question = (StripeQuestion){
        .method = request->method,
        .path = request->path,
        .body = request->body,
        .key = is_delete ? STR("") : key_of(sink, change, request, ""),
    };
    if (stripe_api_ask(sink->api, question, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // Stripe keeps what it refused by a key. Nothing was done, and by now it may be another matter.
    if (ret->status >= 400 && ret->status < 500 && is_remembered(ret)) {
        char salt[32];
        (void)snprintf(salt, sizeof(salt), "%lld", (long long)clock_wall_us());
        question->key = key_of(sink, change, request, salt);
        return stripe_api_ask(sink->api, question, ret, err);
    }
    return STATUS_OK;
}

static Status push_row(StripeSink *sink, const Change *change, const PushedRow *row, Object *object,
                       Error *err)
{
    StripeRequest request;
    StripeQuestion question;
    HttpAnswer answer;
    JsonValue said;
    bool is_empty;
    if (stripe_request(row, &sink->scratch, &request, &is_empty, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (is_empty) {
        return STATUS_OK;
    }
    if (ask(sink, change, &request, &question, &answer, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("stripe-asked");
    if (row->op == OBJECT_DELETE && answer.status == 404) {
        return STATUS_OK; // it is gone already
    }
    if (stripe_api_read(&question, &answer, &sink->scratch, &said, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (request.id.len > 0) {
        return STATUS_OK;
    }
    if (take_id(sink, row->rule, &said, object, err) != STATUS_OK ||
        hub_echo_push(&sink->echo, object, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("stripe-id-kept");
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Objects
// ---------------------------------------------------------------------------------------------

static bool knows_ids(const MixerGroup *group, const Object *object)
{
    for (size_t i = 0; i < group->count; i++) {
        Str name = object->model->properties[hub_echo_id(&group->rules[i])].name;
        const JsonValue *id = json_member(&object->value, name);
        if (id == NULL || id->kind == JSON_NULL) {
            return false;
        }
    }
    return true;
}

static Status push_rows(StripeSink *sink, const Change *change, const MixerGroup *group,
                        Object *object, Error *err)
{
    bool has_token = false;
    for (size_t i = 0; i < group->count; i++) {
        PushedRow row;
        // An id that an earlier rule brought is the object's from here on.
        if (mixer_push(&group->rules[i], object, &sink->scratch, &row, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (row.count == 0) {
            continue;
        }
        if (!has_token && hub_wait_for_tokens(&sink->pause, &sink->limit, 1, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        has_token = true;
        if (push_row(sink, change, &row, object, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status push_object(StripeSink *sink, const Change *change, const MixerGroup *group,
                          Object *object, Str done, Error *err)
{
    // Whoever said this does not know the id, or not yet.
    bool tells = object->op == OBJECT_UPSERT && !knows_ids(group, object);
    if (hub_echo_complete(&sink->echo, object, &sink->scratch, err) != STATUS_OK ||
        hub_echo_push(&sink->echo, object, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Error failure;
    if (push_rows(sink, change, group, object, &failure) != STATUS_OK) {
        *err = failure;
        Error second;
        if (failure.kind == ERROR_DATA &&
            hub_echo_refused(&sink->echo, object, &second) != STATUS_OK) {
            *err = second;
        }
        return STATUS_FAIL;
    }
    if (object->op == OBJECT_DELETE) {
        hub_echo_deleted(&sink->echo, object);
    }
    // Until this is saved the same request would come again, which Stripe knows by its key.
    hub_recall_put(sink->echo.recall, &(HubFact){.what = done, .value = STR("")});
    return tells && knows_ids(group, object) ? tell_ids(sink, object, err) : STATUS_OK;
}

// By which it is remembered that @change was pushed: a run that is refused comes again in parts,
// and one that ends early comes again from its begin.
static Str done_name(StripeSink *sink, const Change *change)
{
    char place[POSITION_TEXT_SIZE];
    position_format(change_position(change), place);
    Str identity = hub_log_identity(sink->end->log);
    return str_from(arena_printf(&sink->scratch, "d%" STR_FMT " %s", STR_ARG(identity), place));
}

static Status push_new(StripeSink *sink, const Change *change, Str done, Error *err)
{
    const MixerGroup *group;
    Object object;
    if (hub_push_take(sink->end, change, &sink->scratch, &object, &group, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return group == NULL ? STATUS_OK : push_object(sink, change, group, &object, done, err);
}

// It came from there: pushed back, it could only undo what has happened there since.
static bool passes_over(const StripeSink *sink, const Change *change)
{
    return str_equal(change->transaction->origin, sink->end->system->name);
}

static Status push_change(StripeSink *sink, const Change *change, Error *err)
{
    if (change->op == CHANGE_SCHEMA || passes_over(sink, change)) {
        return STATUS_OK; // the former has the place of the change behind it
    }
    if (sink->refused.message[0] != '\0' &&
        position_compare(sink->refused_at, change_position(change)) == 0) {
        *err = sink->refused;
        return STATUS_FAIL;
    }
    Str known;
    arena_reset(&sink->scratch);
    Str done = done_name(sink, change);
    if (hub_recall_get(sink->echo.recall, done, &sink->scratch, &known, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (known.ptr != NULL || push_new(sink, change, done, err) == STATUS_OK) {
        return STATUS_OK;
    }
    sink->refused_at = change_position(change);
    sink->refused = err->kind == ERROR_DATA ? *err : (Error){0};
    return STATUS_FAIL;
}

static Status push_write(Sink *base, const Change *changes, size_t count, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (push_change(self(base), &changes[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// Nothing can be taken back, and nothing has to be: what was pushed is passed over when it comes
// again.
static Status push_try_write(Sink *base, const Change *changes, size_t count, bool *ret_is_intact,
                             Error *err)
{
    Status status = push_write(base, changes, count, err);
    *ret_is_intact = status != STATUS_OK && err->kind == ERROR_DATA;
    return status;
}

static Status push_commit(Sink *base, Checkpoint *changed, Error *err)
{
    (void)changed;
    StripeSink *sink = self(base);
    if (hub_recall_save(sink->echo.recall, LSN_NONE, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sink->refused = (Error){0};
    return STATUS_OK;
}

static void push_close(Sink *base)
{
    StripeSink *sink = self(base);
    if (sink->writer.log != NULL) {
        hub_log_end(&sink->writer);
    }
    stripe_api_free(sink->api);
    hub_recall_free(sink->echo.recall);
    arena_done(&sink->scratch);
}

static void push_row_key(Sink *base, const Change *change, Arena *arena, RowKey *ret)
{
    hub_push_row_key(self(base)->end, change, arena, ret);
}

const SinkOps hub_push_stripe = {
    .name = "hub-stripe",
    .summary = "Requests to Stripe's API that objects of a hub become.",
    .options = options,
    .instance_size = sizeof(StripeSink),
    .guarantee = GUARANTEE_IDEMPOTENT,
    .changes_stand_alone = true,
    .open = push_open,
    .resume = push_resume,
    .prepare = push_prepare,
    .write = push_write,
    .try_write = push_try_write,
    .row_key = push_row_key,
    .commit = push_commit,
    .close = push_close,
};
