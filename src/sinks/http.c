// http: — events as requests to somebody's endpoint. At least once: whether what got no answer was
// taken is not known, so it is asked for again. It has the same Idempotency-Key then, by which a
// receiver can tell:
//
//   of an event      its place in the source's history, and a hash of what else makes it that event
//   of a batch       the place of its first event, and a hash of all that are in it
//
// A request never spans transactions, and a route begins again between two of them. So which events
// are together follows from the stream alone, and not from when they came.
//
// A refusal undoes nothing: events before it have been taken. When they come again, so that what
// was refused can be found (pipeline/dead.h), they are known by their ids and left out.
#include <assert.h>
#include <strings.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/hmac.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "pipeline/report.h"
#include "sinks/http_sink.h"

enum {
    ANSWER_MAX = 64 << 10, // an answer only says whether it was taken
    WHY_MAX = 200,         // of its words, in a message
    CONNECT_MS = 10000,
    KEEP_BYTES = 4 << 20, // memory kept between two requests
    HEADERS_OURS = 6,
    ID_BYTES = 24,
    KEY_SIZE = 80,
    CANCEL_CHECK_CHANGES = 64,
};

static HttpSink *self(Sink *sink)
{
    return (HttpSink *)sink;
}

static Status http_open(Sink *base, Error *err)
{
    HttpSink *sink = self(base);
    const SinkContext *context = &base->context;
    Buf *const buffers[] = {&sink->encoded, &sink->filled, &sink->event, &sink->target,
                            &sink->body,    &sink->ids,    &sink->taken};
    for (size_t i = 0; i < ARRAY_LEN(buffers); i++) {
        buf_init(buffers[i], LIMIT_TEXT_BYTES);
    }
    encoder_init(&sink->encoder, &sink->codec, &sink->arena);
    sink->pause = (Pause){context->cancel, context->at_work, context->at_work_context};
    sink->client = http_client_new(&(HttpClientOptions){
        .connect_timeout_ms = MIN(sink->timeout_ms, (int64_t)CONNECT_MS),
        .timeout_ms = sink->timeout_ms,
        .answer_max = ANSWER_MAX,
        .cuts_answer = true,
        .cancel = context->cancel,
        .ca_file = sink->ca_file.len > 0 ? str_to_cstr(&sink->arena, sink->ca_file) : NULL,
    });
    return STATUS_OK;
}

static Status http_resume(Sink *base, Checkpoint *checkpoint, Error *err)
{
    return STATUS_OK;
}

static Status check_names(const HttpSink *sink, const Relation *relation, Error *err)
{
    if (http_template_check(&sink->url, relation, err) != STATUS_OK) {
        return error_wrap(err, "url");
    }
    for (size_t i = 0; i < sink->header_count; i++) {
        if (http_template_check(&sink->headers[i], relation, err) != STATUS_OK) {
            return error_wrap(err, "header");
        }
    }
    return sink->has_body && http_template_check(&sink->body_template, relation, err) != STATUS_OK
               ? error_wrap(err, "body")
               : STATUS_OK;
}

static Status http_prepare(Sink *base, const Relation *was, const Relation *now, Error *err)
{
    return check_names(self(base), now, err);
}

// ---------------------------------------------------------------------------------------------
// Who is who. Receivers remember keys: how they are made must not change.
// ---------------------------------------------------------------------------------------------

static uint64_t short_hash(Str text)
{
    Hmac digest = sha256(text);
    uint64_t number = 0;
    for (size_t i = 0; i < sizeof(number); i++) {
        number = number << 8 | digest.bytes[i];
    }
    return number;
}

// Append the id of @text, which is of @change, or of a line of another format with several changes
// or none: that is its number in the transaction.
static void put_id(HttpSink *sink, const Change *change, Str text, Buf *out)
{
    const Transaction *transaction = &sink->transaction;
    CLEANUP(buf_done) Buf what = {.max = LIMIT_TEXT_BYTES};
    buf_cstr(&what, sink->base.context.pipeline);
    buf_char(&what, '\0');
    // Another server, or this one from a backup, may come to the same place with something else.
    buf_be64(&what, (uint64_t)transaction->commit_time_us);
    buf_be32(&what, transaction->xid);
    buf_be32(&what, change == NULL || change->relation == NULL ? 0 : change->relation->oid);
    buf_be32(&what, change == NULL ? HTTP_OPS : (uint32_t)change->op);
    if (transaction->commit_time_us == 0) {
        buf_str(&what, text); // of a copy
    }
    buf_be64(out, transaction->commit_lsn);
    buf_be64(out, change == NULL ? ++sink->line : change->ordinal);
    buf_be64(out, short_hash(buf_view(&what)));
}

static uint64_t read_be64(const char *bytes)
{
    uint64_t number = 0;
    for (size_t i = 0; i < sizeof(number); i++) {
        number = number << 8 | (unsigned char)bytes[i];
    }
    return number;
}

static void request_key(const HttpSink *sink, char ret[static KEY_SIZE])
{
    uint64_t lsn = read_be64(sink->ids.ptr);
    uint64_t ordinal = read_be64(sink->ids.ptr + 8);
    uint64_t hash = sink->batch == BATCH_NONE ? read_be64(sink->ids.ptr + 16)
                                              : short_hash(buf_view(&sink->ids));
    (void)snprintf(ret, KEY_SIZE, "%" PRIX32 "-%" PRIX32 "-%" PRIu64 "-%016" PRIx64,
                   (uint32_t)(lsn >> 32), (uint32_t)lsn, ordinal, hash);
}

// ---------------------------------------------------------------------------------------------
// Requests
// ---------------------------------------------------------------------------------------------

static void empty(Buf *buf)
{
    if (buf->capacity > KEEP_BYTES) {
        buf_done(buf);
    }
    buf_reset(buf);
}

static void forget_request(HttpSink *sink)
{
    empty(&sink->target);
    empty(&sink->body);
    empty(&sink->ids);
    sink->count = 0;
}

static bool wants_to_be_asked_again(const HttpAnswer *answer)
{
    Error err = {0};
    return http_answer_check(answer, "", STR(""), &err) != STATUS_OK && err.kind == ERROR_TRANSIENT;
}

static const char *put_header(HttpSink *sink, const char *name, Str value)
{
    return arena_printf(&sink->scratch, "%s: %" STR_FMT, name, STR_ARG(value));
}

// @ret: room for HEADERS_OURS.
static size_t sign(HttpSink *sink, Str key, const char **ret)
{
    char time[24];
    size_t count = 0;
    CLEANUP(buf_done) Buf signature = {.max = 256};
    WebhookScheme scheme = (WebhookScheme)sink->scheme;
    if (scheme == WEBHOOK_NONE) {
        return 0;
    }
    (void)snprintf(time, sizeof(time), "%" PRId64, clock_wall_us() / 1000000);
    webhook_sign(scheme, sink->key, &(WebhookMessage){key, str_from(time), buf_view(&sink->body)},
                 &signature);
    if (scheme == WEBHOOK_STANDARD) {
        ret[count++] = put_header(sink, "webhook-id", key);
        ret[count++] = put_header(sink, "webhook-timestamp", str_from(time));
        ret[count++] = put_header(sink, "webhook-signature", buf_view(&signature));
    } else {
        const char *name = str_to_cstr(&sink->scratch, sink->signature_header);
        ret[count++] = put_header(sink, name, buf_view(&signature));
    }
    return count;
}

static void end_body(HttpSink *sink)
{
    if (sink->batch == BATCH_ARRAY) {
        buf_char(&sink->body, ']');
    }
}

static const char *content_type(const HttpSink *sink)
{
    return sink->batch == BATCH_NDJSON ? "Content-Type: application/x-ndjson"
                                       : "Content-Type: application/json";
}

static bool contains(Str text, Str piece)
{
    return text.len > 0 && piece.len > 0 &&
           memmem(text.ptr, text.len, piece.ptr, piece.len) != NULL;
}

// Some receivers say what they were told.
static bool has_secret(const HttpSink *sink, Str text)
{
    Str line;
    Str rest = buf_view(&sink->target);
    for (size_t i = 0; str_split(&rest, '\0', &line); i++) {
        Str value = line;
        Str name;
        bool is_split = str_split(&value, i == 1 ? '?' : ':', &name) && value.ptr != NULL;
        if (i > 0 && is_split && contains(text, str_trim(value))) {
            return true;
        }
    }
    return contains(text, sink->secret) || contains(text, sink->key);
}

// The first line of what the answer says.
static Str words_of(const HttpSink *sink, const HttpAnswer *answer)
{
    Str text = {answer->body.ptr, MIN(answer->body.len, (size_t)WHY_MAX)};
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.ptr[i] < ' ') {
            text.len = i;
        }
    }
    while (text.len > 0 && !utf8_is_valid(text)) {
        text.len--; // cut in the middle of a character
    }
    return has_secret(sink, answer->body) ? STR("") : str_trim(text);
}

// What is wrong with all requests and not with this one, http_answer_check() cannot know.
static bool is_about_endpoint(const HttpSink *sink, int status)
{
    switch (status) {
    case 404:
    case 410:
        return !sink->url.has_names;
    case 405:
    case 407:
    case 415:
        return true;
    default:
        return false;
    }
}

static Status check_answer(const HttpSink *sink, const char *method, const HttpAnswer *answer,
                           Error *err)
{
    char what[512];
    (void)snprintf(what, sizeof(what), "%s %s", method, sink->shown);
    if (http_answer_check(answer, what, words_of(sink, answer), err) == STATUS_OK) {
        return STATUS_OK;
    }
    if (is_about_endpoint(sink, answer->status)) {
        err->kind = ERROR_CONFIG;
        return error_hint(err, "That is no answer to this event but to all: look at \"url\" and "
                               "\"method\", and at the receiver.");
    }
    if (answer->status == 413 && sink->count > 1) {
        return error_hint(err, "A smaller batch_bytes makes smaller requests.");
    }
    return STATUS_FAIL;
}

static Status ask(HttpSink *sink, Str key, Error *err)
{
    const char **headers =
        ARENA_ARRAY(&sink->scratch, const char *, sink->header_count + HEADERS_OURS);
    const char *method = sink->target.ptr;
    const char *url = method + strlen(method) + 1;
    const char *header = url + strlen(url) + 1;
    size_t count = 0;
    for (size_t i = 0; i < sink->header_count; i++, header += strlen(header) + 1) {
        headers[count++] = header;
    }
    if (!sink->has_type) {
        headers[count++] = content_type(sink);
    }
    headers[count++] = put_header(sink, "Idempotency-Key", key);
    count += sign(sink, key, headers + count);
    assert(count < sink->header_count + HEADERS_OURS);
    const HttpRequest request = {.method = method,
                                 .url = url,
                                 .headers = headers,
                                 .body = buf_view(&sink->body),
                                 .shown = sink->shown};
    const HttpRetry retry = {.is_wanted = wants_to_be_asked_again, .pause = sink->pause};
    HttpAnswer answer;
    if (http_client_ask_again(sink->client, &request, &retry, &answer, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const SinkContext *context = &sink->base.context;
    if (context->moves != NULL) {
        context->moves(context->at_work_context); // many requests are one long call
    }
    return check_answer(sink, method, &answer, err);
}

static Status send_request(HttpSink *sink, Error *err)
{
    char key[KEY_SIZE];
    if (sink->count == 0) {
        return STATUS_OK;
    }
    end_body(sink);
    if (buf_check(&sink->body, "a request", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    request_key(sink, key);
    CRASH_POINT("http-asks");
    Status status = ask(sink, str_from(key), err);
    CRASH_POINT("http-has-asked");
    arena_reset(&sink->scratch);
    if (status == STATUS_OK && sink->is_trying) {
        buf_str(&sink->taken, buf_view(&sink->ids));
        sink->taken_at = sink->taken.len;
    }
    forget_request(sink);
    return status;
}

// ---------------------------------------------------------------------------------------------
// Events
// ---------------------------------------------------------------------------------------------

static void put_nul_ended(Buf *out, const char *text)
{
    buf_bytes(out, text, strlen(text) + 1);
}

// Where @change goes: into sink->filled.
static Status fill_target(HttpSink *sink, const Change *change, Str event, Error *err)
{
    Buf *out = &sink->filled;
    buf_reset(out);
    put_nul_ended(out, change == NULL ? sink->methods[CHANGE_INSERT] : sink->methods[change->op]);
    size_t start = out->len;
    if (http_template_fill(&sink->url, change, event, out, err) != STATUS_OK) {
        return error_wrap(err, "url");
    }
    if (out->len - start > LIMIT_URL_BYTES) {
        return error_set(err, ERROR_DATA, "the url has more than %d bytes", LIMIT_URL_BYTES);
    }
    buf_char(out, '\0');
    for (size_t i = 0; i < sink->header_count; i++) {
        if (http_template_fill(&sink->headers[i], change, event, out, err) != STATUS_OK) {
            return error_wrap(err, "header");
        }
        buf_char(out, '\0');
    }
    return buf_check(out, "the headers", err);
}

static Status fill_body(HttpSink *sink, const Change *change, Str *event, Error *err)
{
    if (!sink->has_body) {
        return STATUS_OK;
    }
    buf_reset(&sink->event);
    if (http_template_fill(&sink->body_template, change, *event, &sink->event, err) != STATUS_OK) {
        return error_wrap(err, "body");
    }
    *event = buf_view(&sink->event);
    return buf_check(&sink->event, "the body", err);
}

// It has been taken already, before a refusal of one behind it.
static bool is_taken(HttpSink *sink, const char id[static ID_BYTES])
{
    size_t left = sink->taken.len - sink->taken_at;
    if (left == 0) {
        return false;
    }
    if (memcmp(sink->taken.ptr + sink->taken_at, id, ID_BYTES) == 0) {
        sink->taken_at += ID_BYTES;
        return true;
    }
    sink->taken.len = sink->taken_at; // others come instead: whatever that means, all are sent
    return false;
}

static bool fits(const HttpSink *sink, Str event)
{
    bool is_same_place = str_equal(buf_view(&sink->target), buf_view(&sink->filled));
    return sink->batch != BATCH_NONE && is_same_place && sink->count < (size_t)sink->batch_events &&
           sink->body.len + event.len + 2 <= (size_t)sink->batch_bytes;
}

static void append(HttpSink *sink, Str event, Str id)
{
    if (sink->count == 0) {
        buf_str(&sink->target, buf_view(&sink->filled));
    }
    if (sink->batch == BATCH_ARRAY) {
        buf_char(&sink->body, sink->count == 0 ? '[' : ',');
    }
    buf_str(&sink->body, event);
    if (sink->batch == BATCH_NDJSON) {
        buf_char(&sink->body, '\n');
    }
    buf_str(&sink->ids, id);
    sink->count++;
}

// @text: without its line end. @change: NULL where a line is not of one.
static Status add_event(HttpSink *sink, const Change *change, Str text, Error *err)
{
    char bytes[ID_BYTES];
    Buf id = {.ptr = bytes, .capacity = ID_BYTES, .max = ID_BYTES};
    put_id(sink, change, text, &id);
    if (is_taken(sink, bytes)) {
        return STATUS_OK;
    }
    Str event = text;
    if (fill_target(sink, change, text, err) != STATUS_OK ||
        fill_body(sink, change, &event, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!fits(sink, event) && send_request(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    append(sink, event, buf_view(&id));
    return sink->batch == BATCH_NONE ? send_request(sink, err) : STATUS_OK;
}

// What the encoder has written: whole lines, but for a transaction that is one line.
static Status take_lines(HttpSink *sink, const Change *change, Error *err)
{
    Str rest = buf_view(&sink->encoded);
    size_t whole = 0;
    for (ptrdiff_t end = str_find(rest, '\n'); end >= 0; end = str_find(rest, '\n')) {
        Str line = {rest.ptr, (size_t)end};
        if (add_event(sink, sink->has_lines ? NULL : change, line, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        whole += line.len + 1;
        rest = (Str){rest.ptr + line.len + 1, rest.len - line.len - 1};
    }
    if (rest.len > 0 && whole > 0) {
        memmove(sink->encoded.ptr, sink->encoded.ptr + whole, rest.len);
    }
    sink->encoded.len = rest.len;
    if (rest.len == 0) {
        empty(&sink->encoded);
    }
    return STATUS_OK;
}

static Status end_transaction(HttpSink *sink, Error *err)
{
    encoder_finish(&sink->encoder, &sink->encoded);
    sink->has_transaction = false;
    if (buf_check(&sink->encoded, "the encoded transaction", err) != STATUS_OK ||
        take_lines(sink, NULL, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return send_request(sink, err);
}

static Status begin_transaction(HttpSink *sink, const Change *change, Error *err)
{
    if (sink->has_transaction && transaction_is_same(&sink->transaction, change->transaction)) {
        return STATUS_OK;
    }
    if (sink->has_transaction && end_transaction(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sink->transaction = *change->transaction;
    sink->has_transaction = true;
    sink->line = 0;
    return STATUS_OK;
}

static Status encode(HttpSink *sink, const Change *change, Error *err)
{
    if (encoder_encode(&sink->encoder, change, &sink->encoded, err) != STATUS_OK) {
        // The encoder is of no more use, and what it was in the midst of is lost with it.
        encoder_done(&sink->encoder);
        encoder_init(&sink->encoder, &sink->codec, &sink->arena);
        buf_reset(&sink->encoded);
        return STATUS_FAIL;
    }
    return buf_check(&sink->encoded, "the encoded change", err) == STATUS_OK
               ? take_lines(sink, change, err)
               : STATUS_FAIL;
}

static Status write_one(HttpSink *sink, const Change *change, Error *err)
{
    if (!sink->is_wanted[change->op]) {
        return STATUS_OK;
    }
    // Ended with the one before: what is wrong there is not wrong here.
    if (begin_transaction(sink, change, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (encode(sink, change, err) != STATUS_OK) {
        char position[POSITION_TEXT_SIZE];
        position_format(change_position(change), position);
        return error_wrap(err, "%s at %s", change_op_name(change->op), position);
    }
    return STATUS_OK;
}

static Status http_write(Sink *base, const Change *changes, size_t count, Error *err)
{
    HttpSink *sink = self(base);
    for (size_t i = 0; i < count; i++) {
        if (i % CANCEL_CHECK_CHANGES == 0 && cancel_is_set(base->context.cancel)) {
            return error_set(err, ERROR_CANCELLED, "cancelled");
        }
        if (write_one(sink, &changes[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// What was written before is not of those that are tried: nobody may take its refusal for theirs.
static Status send_waiting(HttpSink *sink, Error *err)
{
    if (send_request(sink, err) == STATUS_OK) {
        return STATUS_OK;
    }
    if (err->kind == ERROR_DATA) {
        err->kind = ERROR_CONFIG;
        return error_hint(err, "It is about an event that is no row, and cannot be set aside: "
                               "\"ops\" says which events are sent.");
    }
    return STATUS_FAIL;
}

static Status http_try_write(Sink *base, const Change *changes, size_t count, bool *ret_is_intact,
                             Error *err)
{
    HttpSink *sink = self(base);
    *ret_is_intact = false;
    if (sink->has_lines) {
        return http_write(base, changes, count, err); // nothing is an event by itself
    }
    if (send_waiting(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    size_t began_at = sink->taken_at;
    sink->is_trying = true;
    Status status = http_write(base, changes, count, err);
    if (status == STATUS_OK) {
        status = send_request(sink, err);
    }
    sink->is_trying = false;
    if (status == STATUS_OK) {
        if (sink->taken_at == sink->taken.len) {
            sink->taken_at = 0;
            empty(&sink->taken);
        }
        return STATUS_OK;
    }
    forget_request(sink);
    empty(&sink->encoded);
    sink->taken_at = began_at;
    *ret_is_intact = err->kind == ERROR_DATA;
    return STATUS_FAIL;
}

static Status http_commit(Sink *base, Checkpoint *changed, Error *err)
{
    HttpSink *sink = self(base);
    return sink->has_transaction ? end_transaction(sink, err) : send_request(sink, err);
}

static void http_close(Sink *base)
{
    HttpSink *sink = self(base);
    Buf *const buffers[] = {&sink->encoded, &sink->filled, &sink->event, &sink->target,
                            &sink->body,    &sink->ids,    &sink->taken};
    for (size_t i = 0; i < ARRAY_LEN(buffers); i++) {
        buf_done(buffers[i]);
    }
    http_client_free(sink->client);
    encoder_done(&sink->encoder);
    arena_done(&sink->scratch);
    arena_done(&sink->arena);
}

// ---------------------------------------------------------------------------------------------
// Looking
// ---------------------------------------------------------------------------------------------

static void http_describe_column(Sink *base, const Column *column, Buf *ret_type)
{
    codec_find(&self(base)->codec)->describe_column(column, ret_type);
}

static void http_describe_table(Sink *base, const Relation *relation, Buf *ret_name)
{
    const HttpSink *sink = self(base);
    buf_printf(ret_name, "%s %s", sink->methods[CHANGE_INSERT], sink->shown);
}

static Status http_check(Sink *base, const Relation *relation, Report *report, Error *err)
{
    Error wrong = {0};
    if (check_names(self(base), relation, &wrong) != STATUS_OK) {
        report_failure(report, NULL, &wrong);
    }
    return STATUS_OK;
}

const SinkOps http_sink = {
    .name = "http",
    .summary = "Requests with JSON, to a webhook or an API.",
    .options = http_options,
    .instance_size = sizeof(HttpSink),
    .guarantee = GUARANTEE_AT_LEAST_ONCE,
    .stores_checkpoint = false,
    .has_tables = false,
    .is_parallel = false,
    .validate = http_validate,
    .open = http_open,
    .resume = http_resume,
    .prepare = http_prepare,
    .write = http_write,
    .try_write = http_try_write,
    .commit = http_commit,
    .close = http_close,
    .describe_column = http_describe_column,
    .describe_table = http_describe_table,
    .check = http_check,
};
