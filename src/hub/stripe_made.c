#include "hub/stripe_made.h"

#include "base/buf.h"
#include "base/percent.h"
#include "hub/hub_same.h"
#include "hub/hub_wait.h"

enum { PAGES_MAX = 1000, ID_BYTES_MAX = 500 };

// By which some system finds the object.
static bool is_key(const StripeMade *made, const PushedCell *cell)
{
    return !cell->field->is_search_key && cell->field->property >= 0 &&
           cell->value.kind != JSON_NULL &&
           hub_echo_is_key(made->echo->hub, made->object->model, cell->field->property);
}

static bool has_key(const StripeMade *made)
{
    const PushedRow *row = made->row;
    for (size_t i = row->search_key_count; i < row->count; i++) {
        if (is_key(made, &row->cells[i])) {
            return true;
        }
    }
    return false;
}

static bool says_the_same(const StripeMade *made, const JsonValue *thing)
{
    const PushedRow *row = made->row;
    bool only_keys = has_key(made);
    for (size_t i = row->search_key_count; i < row->count; i++) {
        const PushedCell *cell = &row->cells[i];
        bool counts = only_keys ? is_key(made, cell) : !cell->field->is_search_key;
        if (counts && !hub_same_as_pushed(thing, row, cell)) {
            return false;
        }
    }
    return true;
}

static bool is_older(const StripeMade *made, const JsonValue *thing)
{
    const JsonValue *created = json_member(thing, STR("created"));
    int64_t created_s;
    return json_is(created, JSON_NUMBER) && str_to_int64(created->text, &created_s) &&
           created_s < made->since_s;
}

static Status is_it(const StripeMade *made, const JsonValue *thing, bool *ret, Error *err)
{
    const JsonValue *id = json_member(thing, STR("id"));
    *ret = json_is(id, JSON_STRING) && !is_older(made, thing) && says_the_same(made, thing);
    if (!*ret) {
        return STATUS_OK;
    }
    // Two may say the same. What another push has made is another one.
    bool is_pushed;
    if (hub_echo_is_pushed(made->echo, made->object, id, &is_pushed, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = !is_pushed;
    return STATUS_OK;
}

static Status ask(const StripeMade *made, Str behind, Arena *arena, JsonValue *ret, Error *err)
{
    CLEANUP(buf_done) Buf query = {.max = ID_BYTES_MAX * 4};
    buf_cstr(&query, "?limit=100");
    if (behind.len > 0) {
        buf_cstr(&query, "&starting_after=");
        percent_encode(&query, behind);
    }
    const StripeQuestion question = {
        .method = "GET",
        .path = arena_printf(arena, "%s%" STR_FMT, made->path, STR_ARG(buf_view(&query))),
    };
    HttpAnswer answer;
    if (hub_wait_for_tokens(made->pause, made->limit, 1, err) != STATUS_OK ||
        stripe_api_ask(made->api, &question, &answer, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    answer.body = str_copy(arena, answer.body); // the client's until the next one
    return stripe_api_read(&question, &answer, arena, ret, err);
}

// *ret_last: the id behind which the next page begins; empty: there is none that matters.
static Status look_at(const StripeMade *made, const JsonValue *page, const JsonValue **ret,
                      Str *ret_last, Error *err)
{
    const JsonValue *data = json_member(page, STR("data"));
    const JsonValue *more = json_member(page, STR("has_more"));
    *ret = NULL;
    *ret_last = STR("");
    if (!json_is(data, JSON_ARRAY)) {
        return error_set(err, ERROR_DATA, "the answer is no list");
    }
    for (size_t i = 0; i < data->count; i++) {
        bool found;
        if (is_it(made, &data->items[i], &found, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (found) {
            *ret = &data->items[i];
            return STATUS_OK;
        }
    }
    if (data->count > 0 && json_is(more, JSON_BOOL) && more->is_true) {
        const JsonValue *last = &data->items[data->count - 1];
        const JsonValue *id = json_member(last, STR("id"));
        bool is_end = is_older(made, last) || !json_is(id, JSON_STRING);
        *ret_last = is_end || id->text.len > ID_BYTES_MAX ? STR("") : id->text;
    }
    return STATUS_OK;
}

static Status look(const StripeMade *made, Arena *page_arena, Arena *arena, JsonValue *ret,
                   Error *err)
{
    char behind[ID_BYTES_MAX + 1] = "";
    *ret = (JsonValue){.kind = JSON_NULL};
    for (int pages = 0; pages < PAGES_MAX; pages++) {
        JsonValue page;
        const JsonValue *found;
        Str last;
        arena_reset(page_arena);
        if (ask(made, str_from(behind), page_arena, &page, err) != STATUS_OK ||
            look_at(made, &page, &found, &last, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (found != NULL) {
            *ret = json_copy(arena, found);
            return STATUS_OK;
        }
        if (last.len == 0) {
            return STATUS_OK;
        }
        (void)snprintf(behind, sizeof(behind), "%" STR_FMT, STR_ARG(last));
    }
    return error_set(err, ERROR_DATA, "the list has no end: more than %d pages are new", PAGES_MAX);
}

Status stripe_find_made(const StripeMade *made, Arena *arena, JsonValue *ret, Error *err)
{
    Arena page = {0};
    Status status = look(made, &page, arena, ret, err);
    arena_done(&page);
    return status == STATUS_OK
               ? STATUS_OK
               : error_wrap(err,
                            "it is not known what POST %s, which was answered with an error, "
                            "has made",
                            made->path);
}
