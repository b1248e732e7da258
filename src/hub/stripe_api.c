#include "hub/stripe_api.h"

#include <strings.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "codec/json_read.h"

// As Stripe's own libraries have them.
enum { CONNECT_MS = 30000, ANSWER_MS = 80000 };

struct StripeApi {
    Arena arena;
    Arena scratch; // a request
    const char *base;
    const char *authorization;
    Pause pause;
    HttpClient *client;
};

StripeApi *stripe_api_new(const StripeSettings *settings, const Pause *pause)
{
    StripeApi *api = mem_alloc_zero(sizeof(*api));
    api->base = str_to_cstr(&api->arena, settings->api_base);
    api->authorization =
        arena_printf(&api->arena, "Authorization: Bearer %" STR_FMT, STR_ARG(settings->api_key));
    api->pause = *pause;
    api->client = http_client_new(&(HttpClientOptions){.connect_timeout_ms = CONNECT_MS,
                                                       .timeout_ms = ANSWER_MS,
                                                       .answer_max = LIMIT_JSON_BYTES,
                                                       .cancel = pause->cancel});
    return api;
}

void stripe_api_free(StripeApi *api)
{
    if (api != NULL) {
        http_client_free(api->client);
        arena_done(&api->scratch);
        arena_done(&api->arena);
        mem_free(api);
    }
}

static Str should_retry(const HttpAnswer *answer)
{
    return http_answer_header(answer, "Stripe-Should-Retry");
}

bool stripe_api_is_final(const HttpAnswer *answer)
{
    bool is_kept = str_is(http_answer_header(answer, "Idempotent-Replayed"), "true") ||
                   (answer->status >= 500 && str_is(should_retry(answer), "false"));
    return answer->status >= 400 && is_kept;
}

static bool wants_to_be_asked_again(const HttpAnswer *answer)
{
    Str said = should_retry(answer);
    if (stripe_api_is_final(answer)) {
        return false;
    }
    if (str_is(said, "true") || str_is(said, "false")) {
        return str_is(said, "true");
    }
    return answer->status == 409 || answer->status == 429 || answer->status >= 500;
}

Status stripe_api_ask(StripeApi *api, const StripeQuestion *question, HttpAnswer *ret, Error *err)
{
    arena_reset(&api->scratch);
    const char *headers[6] = {api->authorization, "Stripe-Version: " STRIPE_API_VERSION};
    size_t count = 2;
    if (question->body.ptr != NULL) {
        headers[count++] = "Content-Type: application/x-www-form-urlencoded";
    }
    if (question->key.len > 0) {
        headers[count++] =
            arena_printf(&api->scratch, "Idempotency-Key: %" STR_FMT, STR_ARG(question->key));
    }
    const HttpRequest request = {
        .method = question->method,
        .url = arena_printf(&api->scratch, "%s%s", api->base, question->path),
        .headers = headers,
        .body = question->body,
    };
    const HttpRetry retry = {.is_wanted = wants_to_be_asked_again, .pause = api->pause};
    return http_client_ask_again(api->client, &request, &retry, ret, err);
}

// ---------------------------------------------------------------------------------------------
// Answers
// ---------------------------------------------------------------------------------------------

static Str text_at(const JsonValue *object, const char *name)
{
    const JsonValue *value = json_member(object, str_from(name));
    return json_is(value, JSON_STRING) ? value->text : STR("");
}

static Status refused(const StripeQuestion *question, const HttpAnswer *answer,
                      const JsonValue *body, Error *err)
{
    char what[512];
    (void)snprintf(what, sizeof(what), "%s %s", question->method, question->path);
    const JsonValue *said = json_member(body, STR("error"));
    Str why = text_at(said, "message");
    Str parameter = text_at(said, "param");
    Status status = http_answer_check(answer, what, why, err);
    if (answer->status == 401) {
        return error_hint(err, "Stripe does not know the system's api_key.");
    }
    return parameter.len == 0
               ? status
               : error_hint(err, "It is about \"%" STR_FMT "\".", STR_ARG(parameter));
}

bool stripe_api_is_gone(const HttpAnswer *answer, Arena *arena)
{
    JsonValue body;
    Error not_json;
    return answer->status == 404 ||
           (answer->status == 403 &&
            json_read(arena, answer->body, &body, &not_json) == STATUS_OK &&
            str_is(text_at(json_member(&body, STR("error")), "code"), "account_invalid"));
}

Status stripe_api_read(const StripeQuestion *question, const HttpAnswer *answer, Arena *arena,
                       JsonValue *ret, Error *err)
{
    Error not_json;
    bool is_json = json_read(arena, answer->body, ret, &not_json) == STATUS_OK;
    if (answer->status < 200 || answer->status >= 300) {
        return refused(question, answer, is_json ? ret : NULL, err);
    }
    if (!is_json || ret->kind != JSON_OBJECT) {
        return error_set(err, ERROR_TRANSIENT, "%s %s: the answer is no JSON object",
                         question->method, question->path);
    }
    return STATUS_OK;
}
