#include "hub/push_stripe.h"

#include <assert.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/limits.h"
#include "base/md5.h"
#include "hub/hub_echo.h"
#include "hub/hub_push.h"
#include "hub/hub_same.h"
#include "hub/hub_wait.h"
#include "hub/stripe_api.h"
#include "hub/stripe_made.h"
#include "hub/stripe_request.h"
#include "model/convert.h"
#include "model/object.h"

enum {
    SECOND_US = 1000000,
    // Stripe keeps keys for 24 hours at least.
    KEY_S = 20 * 3600,
    // Between this clock and Stripe's.
    CLOCKS_S = 300,
};

typedef struct StripeSink {
    Sink base;
    const HubEnd *end;
    Pause pause;
    RateLimit limit;
    StripeApi *api;
    HubEcho echo;
    HubWriter writer;
    Arena scratch;       // an object
    Lsn committed;       // what the last commit passed, which may not be stored yet
    Position refused_at; // since the last commit, and why: it comes again until it is found
    Error refused;
} StripeSink;

// A change that is pushed.
typedef struct Push {
    const Change *change;
    const MixerGroup *group;
    Object *object;
    int64_t at_s;   // by Stripe's clock, when it answered last
    bool is_own;    // Stripe has said it itself
    bool lacked_id; // whoever said it did not know one, or one that is gone
} Push;

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
    sink->echo = (HubEcho){sink->end->hub, system, hub_recall_new(sink->end->memory, system->name)};
    sink->writer = (HubWriter){.log = sink->end->log,
                               .system = system->name,
                               .cancel = context->cancel,
                               .notice = context->notice};
    return STATUS_OK;
}

// As far as it goes, nothing comes again.
static Lsn passed_by(const Checkpoint *checkpoint)
{
    const CheckpointEntry *entry = checkpoint_get(checkpoint, CHECKPOINT_POSITION);
    Position position;
    return entry != NULL && entry->value.ptr != NULL && position_parse(entry->value, &position)
               ? position.lsn
               : LSN_NONE;
}

static Status push_resume(Sink *base, Checkpoint *checkpoint, Error *err)
{
    StripeSink *sink = self(base);
    hub_recall_pass(sink->echo.recall, passed_by(checkpoint));
    return hub_log_restore(&sink->writer, NULL, err);
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

// What was asked for is done: set aside, its id would be lost, and the next change would make a
// second object. It comes again, by the same key, when the model can say it.
static Status cannot_say(Error *err)
{
    if (err->kind != ERROR_DATA) {
        return STATUS_FAIL;
    }
    err->kind = ERROR_CONFIG;
    error_wrap(err, "what Stripe has made cannot be told");
    return error_hint(err, "Stripe's ids are text: let the property that has them be a string.");
}

// That what was pushed is done is known as soon as the log has what is told of it, and not before.
static Status tell_by(StripeSink *sink, const Object *object, Batch *batch, Error *err)
{
    Transaction transaction = {.commit_time_us = clock_wall_us(),
                               .origin = sink->end->system->name};
    const Checkpoint nothing = {0};
    Change *made;
    if (object_put(batch, object, &made, err) != STATUS_OK) {
        return cannot_say(err);
    }
    made->transaction = &transaction;
    if (hub_log_begin(&sink->writer, &transaction.commit_lsn, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (object->op == OBJECT_UPSERT) {
        hub_echo_tell(&sink->echo, object, transaction.commit_lsn, &sink->scratch);
    }
    if (hub_recall_save(sink->echo.recall, transaction.commit_lsn, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("stripe-id-telling");
    return hub_log_write(&sink->writer, batch->changes, batch->count, err) == STATUS_OK
               ? hub_log_commit(&sink->writer, &nothing, err)
               : STATUS_FAIL;
}

// All by which somebody finds @object.
static Object keys_of(StripeSink *sink, const Object *object, ObjectOp op)
{
    const Model *model = object->model;
    Object keys = {.model = model, .op = op, .is_partial = true};
    keys.value = (JsonValue){.kind = JSON_OBJECT};
    for (int i = 0; i < (int)model->property_count; i++) {
        if (hub_echo_is_key(sink->end->hub, model, i)) {
            add_member(&keys, i, json_member(&object->value, model->properties[i].name),
                       &sink->scratch);
        }
    }
    return keys;
}

static Status tell(StripeSink *sink, const Object *object, Error *err)
{
    Batch *batch = batch_new();
    Status status = tell_by(sink, object, batch, err);
    hub_log_end(&sink->writer); // where it failed
    batch_unref(batch);
    CRASH_POINT("stripe-id-told");
    return status;
}

// At once, as what was pushed does not come again. Only keys: the rest may have changed since. But
// where a delete was told that the log has behind @object, there is no row any more.
static Status tell_ids(StripeSink *sink, const Push *push, Error *err)
{
    const Object keys = keys_of(sink, push->object, OBJECT_UPSERT);
    bool was_deleted;
    bool is_told;
    if (hub_echo_is_told_deleted(&sink->echo, push->object, &sink->scratch, &was_deleted, err) !=
            STATUS_OK ||
        hub_echo_is_told(&sink->echo, push->object, change_position(push->change).lsn,
                         &sink->scratch, &is_told, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (was_deleted) {
        return tell(sink, push->object, err);
    }
    // With fewer, nobody could find it by anything but the id.
    return is_told || keys.value.count < 2 ? STATUS_OK : tell(sink, &keys, err);
}

static Status tell_delete(StripeSink *sink, const Object *object, Error *err)
{
    const Object keys = keys_of(sink, object, OBJECT_DELETE);
    bool is_told;
    if (hub_echo_will_go(&sink->echo, object, &sink->scratch, &is_told, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (is_told || keys.value.count < 2) {
        return STATUS_OK;
    }
    hub_echo_tell_delete(&sink->echo, object, &sink->scratch);
    return tell(sink, &keys, err);
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
        error_wrap(err, "the id \"%" STR_FMT "\" as \"%" STR_FMT "\"", STR_ARG(kept.text),
                   STR_ARG(object->model->properties[property].name));
        return cannot_say(err);
    }
    hub_echo_set(object, property, value, &sink->scratch);
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Requests
// ---------------------------------------------------------------------------------------------

// The same for the same request about the same change of the same log, and for no other.
static Str key_of(StripeSink *sink, const Change *change, const StripeRequest *request, Str salt)
{
    char place[POSITION_TEXT_SIZE];
    char digits[MD5_HEX_SIZE];
    position_format(change_position(change), place);
    Str identity = hub_log_identity(sink->end->log);
    const char *all = arena_printf(
        &sink->scratch, "%" STR_FMT "\n%s\n%s %s\n%" STR_FMT "\n%" STR_FMT, STR_ARG(identity),
        place, request->method, request->path, STR_ARG(request->body), STR_ARG(salt));
    md5_hex(str_from(all), digits);
    return str_from(arena_printf(&sink->scratch, "weir-%.*s", MD5_HEX_SIZE, digits));
}

// What a change has asked for, of each of its rows. It is noted before that, and until nothing
// comes again: whoever comes again asks by the same key.
typedef struct Asked {
    Str name;
    int64_t first_us; // 0: it has asked for nothing yet
    int64_t salt;     // of the key: when it was taken; 0: it is the first
} Asked;

static Status recall_asked(StripeSink *sink, const Push *push, const StripeRequest *request,
                           Asked *ret, Error *err)
{
    char place[POSITION_TEXT_SIZE];
    position_format(change_position(push->change), place);
    Str identity = hub_log_identity(sink->end->log);
    Str known;
    Str first;
    *ret = (Asked){.name = str_from(arena_printf(&sink->scratch, "a%" STR_FMT " %s %s",
                                                 STR_ARG(identity), place, request->path))};
    if (hub_recall_get(sink->echo.recall, ret->name, &sink->scratch, &known, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (known.ptr != NULL &&
        (!str_split(&known, ' ', &first) || !str_to_int64(first, &ret->first_us) ||
         !str_to_int64(known, &ret->salt))) {
        return error_set(err, ERROR_FATAL, "the hub's memory is damaged: it has no time of %s",
                         str_to_cstr(&sink->scratch, ret->name));
    }
    return STATUS_OK;
}

// Known before it is asked.
static void put_asked(StripeSink *sink, const Push *push, const Asked *asked)
{
    Str value = str_from(arena_printf(&sink->scratch, "%lld %lld", (long long)asked->first_us,
                                      (long long)asked->salt));
    hub_recall_put(sink->echo.recall, &(HubFact){.what = asked->name,
                                                 .value = value,
                                                 .until = change_position(push->change).lsn});
}

static Str salt_of(StripeSink *sink, const Asked *asked)
{
    return asked->salt == 0
               ? STR("")
               : str_from(arena_printf(&sink->scratch, "%lld", (long long)asked->salt));
}

// What is asked for is known when it comes back before it is asked for.
static Status ask_by_key(StripeSink *sink, const Push *push, const StripeQuestion *question,
                         HttpAnswer *ret, Error *err)
{
    return hub_echo_push(&sink->echo, push->object, question->key, err) == STATUS_OK
               ? stripe_api_ask(sink->api, question, ret, err)
               : STATUS_FAIL;
}

// What is asked for, and how it was answered.
typedef struct Asking {
    const PushedRow *row;
    const StripeRequest *request;
    StripeQuestion question;
    HttpAnswer answer;
    JsonValue made; // it was made before, and there was no answer; JSON_NULL: the answer counts
} Asking;

// What is changed again by the next key is the same then; what is made again is a second one.
static Status find_made(StripeSink *sink, const Push *push, Asking *asking, const Asked *asked,
                        Error *err)
{
    const StripeMade made = {
        .api = sink->api,
        .pause = &sink->pause,
        .limit = &sink->limit,
        .echo = &sink->echo,
        .object = push->object,
        .row = asking->row,
        .path = asking->request->path,
        .since_s = asked->first_us / SECOND_US - CLOCKS_S,
    };
    return stripe_find_made(&made, &sink->scratch, &asking->made, err);
}

static Status ask_by_salt(StripeSink *sink, const Push *push, Asking *asking, const Asked *asked,
                          Error *err)
{
    put_asked(sink, push, asked);
    asking->question.key = key_of(sink, push->change, asking->request, salt_of(sink, asked));
    return ask_by_key(sink, push, &asking->question, &asking->answer, err);
}

static Status ask_by_new_key(StripeSink *sink, const Push *push, Asking *asking, Asked *asked,
                             Error *err)
{
    asked->salt = clock_wall_us();
    return ask_by_salt(sink, push, asking, asked, err);
}

static Status ask(StripeSink *sink, const Push *push, Asking *asking, Error *err)
{
    const StripeRequest *request = asking->request;
    bool is_new = request->id.len == 0;
    int64_t now_us = clock_wall_us();
    Asked asked;
    asking->question =
        (StripeQuestion){.method = request->method, .path = request->path, .body = request->body};
    if (request->body.ptr == NULL) { // a delete
        return ask_by_key(sink, push, &asking->question, &asking->answer, err);
    }
    if (recall_asked(sink, push, request, &asked, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    asked.first_us = asked.first_us == 0 ? now_us : asked.first_us;
    // Stripe may have forgotten the key by now, and what was asked for by it.
    bool is_late = now_us - MAX(asked.first_us, asked.salt) > (int64_t)KEY_S * SECOND_US;
    if (is_late && is_new) {
        if (find_made(sink, push, asking, &asked, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        return asking->made.kind != JSON_NULL ? STATUS_OK
                                              : ask_by_new_key(sink, push, asking, &asked, err);
    }
    if (ask_by_salt(sink, push, asking, &asked, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!stripe_api_is_final(&asking->answer)) {
        return STATUS_OK;
    }
    // Below 500 nothing was done, and by now it may be another matter.
    if (is_new && asking->answer.status >= 500 &&
        find_made(sink, push, asking, &asked, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return asking->made.kind != JSON_NULL ? STATUS_OK
                                          : ask_by_new_key(sink, push, asking, &asked, err);
}

// Of what Stripe itself has said, it may still have everything: to ask costs less than an event
// that tells nothing, and undoes nothing.
static Status has_it(StripeSink *sink, const PushedRow *row, const StripeRequest *request,
                     bool *ret, Error *err)
{
    const StripeQuestion question = {.method = "GET", .path = request->path};
    HttpAnswer answer;
    JsonValue said;
    if (hub_wait_for_tokens(&sink->pause, &sink->limit, 1, err) != STATUS_OK ||
        stripe_api_ask(sink->api, &question, &answer, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = answer.status == 404; // that it is gone is still to come
    if (*ret) {
        return STATUS_OK;
    }
    if (stripe_api_read(&question, &answer, &sink->scratch, &said, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = true;
    for (size_t i = row->search_key_count; i < row->count && *ret; i++) {
        *ret = hub_same_as_pushed(&said, row, &row->cells[i]);
    }
    return STATUS_OK;
}

// Of objects of @model Stripe says when they are deleted.
static bool tells_deletes(const HubSystem *system, const Model *model)
{
    for (size_t i = 0; i < system->receive_count; i++) {
        const MixerGroup *group = &system->receive[i];
        for (size_t r = 0; r < group->count; r++) {
            if (group->rules[r].model == model && group->rules[r].is_owner) {
                return true;
            }
        }
    }
    return false;
}

// There is no such object. A delete is done; all else is nothing where its delete is still to come
// in the log.
static void note_not_there(StripeSink *sink, const Push *push)
{
    if (push->object->op == OBJECT_UPSERT && push->lacked_id) {
        hub_echo_put_unheard(&sink->echo, push->object, &sink->scratch);
    }
}

// By which it is remembered that @push has made what @row is.
static Str made_name(StripeSink *sink, const Push *push, const PushedRow *row)
{
    char place[POSITION_TEXT_SIZE];
    position_format(change_position(push->change), place);
    Str identity = hub_log_identity(sink->end->log);
    return str_from(arena_printf(&sink->scratch, "m%" STR_FMT " %s %" STR_FMT, STR_ARG(identity),
                                 place, STR_ARG(row->rule->location)));
}

// The change comes again: it would change what it has made, and what a new object says may not be
// said to one that is there.
static Status has_made(StripeSink *sink, const Push *push, const PushedRow *row, bool *ret,
                       Error *err)
{
    Str known;
    if (hub_recall_get(sink->echo.recall, made_name(sink, push, row), &sink->scratch, &known,
                       err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = known.ptr != NULL;
    return STATUS_OK;
}

static Status take_new(StripeSink *sink, Push *push, const PushedRow *row, const JsonValue *said,
                       Error *err)
{
    Object *object = push->object;
    if (take_id(sink, row->rule, said, object, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    hub_recall_put(sink->echo.recall, &(HubFact){.what = made_name(sink, push, row),
                                                 .value = STR(""),
                                                 .until = change_position(push->change).lsn});
    if (hub_echo_pushed(&sink->echo, object, push->at_s, err) != STATUS_OK ||
        hub_echo_push(&sink->echo, object, STR(""), err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("stripe-id-kept");
    return STATUS_OK;
}

static Status take_answer(StripeSink *sink, Push *push, const Asking *asking, Error *err)
{
    const PushedRow *row = asking->row;
    const StripeRequest *request = asking->request;
    const HttpAnswer *answer = &asking->answer;
    Object *object = push->object;
    JsonValue said;
    push->at_s = answer->date_s >= 0 ? answer->date_s : clock_wall_us() / SECOND_US;
    CRASH_POINT("stripe-asked");
    bool is_gone = row->op == OBJECT_DELETE
                       ? stripe_api_is_gone(answer, &sink->scratch)
                       : answer->status == 404 && tells_deletes(sink->end->system, object->model);
    if (is_gone && request->id.len > 0) {
        note_not_there(sink, push);
        return STATUS_OK;
    }
    if (stripe_api_read(&asking->question, answer, &sink->scratch, &said, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (row->op == OBJECT_DELETE) {
        return STATUS_OK; // it is gone when all of its rows are
    }
    if (request->id.len > 0) {
        return hub_echo_pushed(&sink->echo, object, push->at_s, err);
    }
    return take_new(sink, push, row, &said, err);
}

static Status push_row(StripeSink *sink, Push *push, const PushedRow *row, Error *err)
{
    StripeRequest request;
    bool is_empty;
    if (stripe_request(row, &sink->scratch, &request, &is_empty, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_there = is_empty;
    if (!is_there && request.id.len > 0 && has_made(sink, push, row, &is_there, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!is_there && push->is_own && request.id.len > 0 &&
        has_it(sink, row, &request, &is_there, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (is_there) {
        return STATUS_OK;
    }
    Asking asking = {.row = row, .request = &request};
    if (ask(sink, push, &asking, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (asking.made.kind == JSON_NULL) {
        return take_answer(sink, push, &asking, err);
    }
    push->at_s = clock_wall_us() / SECOND_US;
    return take_new(sink, push, row, &asking.made, err);
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

static bool has_only_keys(const StripeSink *sink, const Object *object)
{
    for (uint32_t i = 0; i < object->value.count; i++) {
        int property = model_find_property(object->model, object->value.members[i].name);
        if (!hub_echo_is_key(sink->end->hub, object->model, property)) {
            return false;
        }
    }
    return true;
}

static Status push_rows(StripeSink *sink, Push *push, Error *err)
{
    bool has_token = false;
    for (size_t i = 0; i < push->group->count; i++) {
        PushedRow row;
        // An id that an earlier rule brought is the object's from here on.
        if (mixer_push(&push->group->rules[i], push->object, &sink->scratch, &row, err) !=
            STATUS_OK) {
            return STATUS_FAIL;
        }
        if (row.count == 0) {
            continue;
        }
        if (!has_token && hub_wait_for_tokens(&sink->pause, &sink->limit, 1, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        has_token = true;
        if (push_row(sink, push, &row, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// Until this is saved the same request would come again, which Stripe knows by its key. It is known
// until nothing comes again: what was pushed long ago would undo what was pushed since.
static void note_done(StripeSink *sink, const Push *push, Str done)
{
    hub_recall_put(
        sink->echo.recall,
        &(HubFact){.what = done, .value = STR(""), .until = change_position(push->change).lsn});
}

// Gives the object the id that it has there. *ret_is_there: there is something to do; otherwise it
// is gone, or goes further on in the log, as Stripe itself has deleted it since.
static Status find_object(StripeSink *sink, const Push *push, bool had_gone, bool *ret_is_there,
                          Error *err)
{
    Object *object = push->object;
    bool goes;
    if (hub_echo_complete(&sink->echo, object, &sink->scratch, err) != STATUS_OK ||
        hub_echo_will_go(&sink->echo, object, &sink->scratch, &goes, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (object->op == OBJECT_DELETE) {
        *ret_is_there = !had_gone || knows_ids(push->group, object);
        return STATUS_OK;
    }
    *ret_is_there = !goes;
    if (goes && push->lacked_id) {
        hub_echo_put_unheard(&sink->echo, object, &sink->scratch);
    }
    return STATUS_OK;
}

static Status push_object(StripeSink *sink, Push *push, Str done, Error *err)
{
    Object *object = push->object;
    bool goes;
    bool had_gone;
    bool is_there;
    if (hub_echo_will_go(&sink->echo, object, &sink->scratch, &goes, err) != STATUS_OK ||
        hub_echo_drop_gone(&sink->echo, object, &sink->scratch, &had_gone, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // Whoever said this does not know the id, or not yet. A row with an id that is gone is not
    // found by the one that the object has now, when it is deleted.
    bool is_delete = object->op == OBJECT_DELETE;
    push->lacked_id = !knows_ids(push->group, object);
    bool tells = is_delete ? had_gone : push->lacked_id;
    if (find_object(sink, push, had_gone, &is_there, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // Who only says which keys go together makes nothing again.
    if (!is_there || (goes && !is_delete) ||
        (had_gone && !is_delete && has_only_keys(sink, object) &&
         !knows_ids(push->group, object))) {
        note_done(sink, push, done);
        return STATUS_OK;
    }
    Error failure;
    if (push_rows(sink, push, &failure) != STATUS_OK) {
        *err = failure;
        Error second;
        if (failure.kind == ERROR_DATA &&
            hub_echo_refused(&sink->echo, object, &second) != STATUS_OK) {
            *err = second;
        }
        return STATUS_FAIL;
    }
    // Until then each of its rows has to be found, however often that is asked for.
    if (is_delete && hub_echo_pushed(&sink->echo, object, push->at_s, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    note_done(sink, push, done);
    if (!tells || !knows_ids(push->group, object)) {
        return STATUS_OK;
    }
    return is_delete ? tell_delete(sink, object, err) : tell_ids(sink, push, err);
}

// ---------------------------------------------------------------------------------------------
// What Stripe has said itself
// ---------------------------------------------------------------------------------------------

// Its id is gone, and nothing else is known by its keys.
static Status is_gone(StripeSink *sink, const Push *push, bool *ret, Error *err)
{
    Object now = *push->object;
    if (hub_echo_drop_gone(&sink->echo, &now, &sink->scratch, ret, err) != STATUS_OK ||
        hub_echo_complete(&sink->echo, &now, &sink->scratch, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = *ret && !knows_ids(push->group, &now);
    return STATUS_OK;
}

// What tell_ids() told. By now the object may be gone: who has got its id since does not know that.
static Status pass_told(StripeSink *sink, const Push *push, Str done, Error *err)
{
    bool gone;
    if (is_gone(sink, push, &gone, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    note_done(sink, push, done);
    return gone ? tell_delete(sink, push->object, err) : STATUS_OK;
}

// A row that had not heard of the id is not found by it. It is told, and that it is gone when that
// comes by.
static Status pass_delete(StripeSink *sink, const Push *push, Error *err)
{
    bool is_unheard;
    bool gone;
    if (is_gone(sink, push, &gone, err) != STATUS_OK ||
        hub_echo_take_unheard(&sink->echo, push->object, &sink->scratch, &is_unheard, err) !=
            STATUS_OK) {
        return STATUS_FAIL;
    }
    return gone && is_unheard ? tell_ids(sink, push, err) : STATUS_OK;
}

// Pushed back, it could only undo what has happened there since; but that is what it has to do
// where something older was pushed over it.
static Status pass(StripeSink *sink, Push *push, Str done, Error *err)
{
    bool is_over;
    if (push->object->op == OBJECT_UPSERT && has_only_keys(sink, push->object)) {
        return pass_told(sink, push, done, err);
    }
    if (hub_echo_pass(&sink->echo, push->object,
                      push->change->transaction->commit_time_us / SECOND_US, &is_over,
                      err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (is_over) {
        return push_object(sink, push, done, err);
    }
    note_done(sink, push, done);
    return push->object->op == OBJECT_DELETE ? pass_delete(sink, push, err) : STATUS_OK;
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
    Object object;
    Push push = {.change = change,
                 .object = &object,
                 .is_own = str_equal(change->transaction->origin, sink->end->system->name)};
    if (hub_push_take(sink->end, change, &sink->scratch, &object, &push.group, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (push.group == NULL) {
        return STATUS_OK;
    }
    return push.is_own ? pass(sink, &push, done, err) : push_object(sink, &push, done, err);
}

static Status push_change(StripeSink *sink, const Change *change, Error *err)
{
    if (change->op == CHANGE_SCHEMA) {
        return STATUS_OK; // it has the place of the change behind it
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

// The runner stores the checkpoint behind this: until then all that is committed may come again.
static Status push_commit(Sink *base, Checkpoint *changed, Error *err)
{
    StripeSink *sink = self(base);
    hub_recall_pass(sink->echo.recall, sink->committed);
    sink->committed = MAX(sink->committed, passed_by(changed));
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
    .row_key = hub_push_row_key,
    .commit = push_commit,
    .close = push_close,
};
