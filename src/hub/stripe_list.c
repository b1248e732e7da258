// A list begins behind an event: behind the newest one before the time that is asked for. When
// there is none, all that there is was after it, and the oldest one is looked for from page to
// page.
#include "hub/stripe_list.h"

#include <inttypes.h>

#include "base/mem.h"
#include "hub/stripe_api.h"

typedef enum ListState {
    LIST_BEHIND, // the event behind which it begins is not known
    LIST_OLDEST, // there is none: the oldest is looked for
    LIST_NEWER,  // what is newer than the last one
} ListState;

// Stripe keeps events for 30 days. So many nobody waits for at a start.
enum { LIST_EVENTS_MAX = 10000000 };

struct StripeList {
    StripeApi *api;
    int64_t since_s;
    ListState state;
    char last[256];   // an event's id: where the list has come to, from whichever end
    int64_t returned; // events, since it was begun
};

StripeList *stripe_list_new(const StripeSettings *settings, const Cancel *cancel)
{
    StripeList *list = mem_alloc_zero(sizeof(*list));
    list->api = stripe_api_new(settings, &(Pause){.cancel = cancel});
    return list;
}

void stripe_list_free(StripeList *list)
{
    if (list != NULL) {
        stripe_api_free(list->api);
        mem_free(list);
    }
}

void stripe_list_begin(StripeList *list, int64_t since_s)
{
    list->since_s = since_s;
    list->state = LIST_BEHIND;
    list->last[0] = '\0';
    list->returned = 0;
}

static Status is_no_list(Error *err)
{
    return error_set(err, ERROR_TRANSIENT, "list Stripe's events: the answer is no list");
}

// Whoever goes on asking would do so for ever, or miss events.
static Status is_no_api(Error *err, const char *what)
{
    error_set(err, ERROR_CONFIG, "list Stripe's events: the API %s", what);
    return error_hint(err, "Is it Stripe's? api_base says whom to ask; without it that is Stripe.");
}

static bool has_id(const JsonValue *event, const char *id)
{
    const JsonValue *its = json_member(event, STR("id"));
    return json_is(its, JSON_STRING) && str_is(its->text, id);
}

// What was asked for begins behind the last one: that cannot be in it.
static Status check_page(StripeList *list, const JsonValue *data, Error *err)
{
    for (size_t i = 0; list->last[0] != '\0' && i < data->count; i++) {
        if (has_id(&data->items[i], list->last)) {
            return is_no_api(err, "gives the same events again and again: it does not know "
                                  "\"ending_before\" and \"starting_after\"");
        }
    }
    list->returned += (int64_t)data->count;
    return list->returned <= LIST_EVENTS_MAX
               ? STATUS_OK
               : is_no_api(err, "has no end of them: there are more than 10000000");
}

// Whether @event is from before the time that is asked for.
static Status check_behind(const StripeList *list, const JsonValue *event, Error *err)
{
    const JsonValue *created = json_member(event, STR("created"));
    int64_t created_s;
    if (!json_is(created, JSON_NUMBER) || !str_to_int64(created->text, &created_s)) {
        return is_no_list(err);
    }
    return created_s < list->since_s
               ? STATUS_OK
               : is_no_api(err, "gives events of another time: it does not know \"created\"");
}

// The newest first.
static Status ask(StripeList *list, const char *query, Arena *arena, const JsonValue **ret_data,
                  bool *ret_has_more, Error *err)
{
    const StripeQuestion question = {.method = "GET",
                                     .path = arena_printf(arena, "/v1/events?%s", query)};
    HttpAnswer answer;
    if (stripe_api_ask(list->api, &question, &answer, err) != STATUS_OK) {
        return error_wrap(err, "list Stripe's events");
    }
    // The answer is the client's until the next one.
    answer.body = str_copy(arena, answer.body);
    JsonValue *value = ARENA_ARRAY(arena, JsonValue, 1);
    if (stripe_api_read(&question, &answer, arena, value, err) != STATUS_OK) {
        return error_wrap(err, "list Stripe's events");
    }
    const JsonValue *more = json_member(value, STR("has_more"));
    *ret_data = json_member(value, STR("data"));
    *ret_has_more = json_is(more, JSON_BOOL) && more->is_true;
    return json_is(*ret_data, JSON_ARRAY) ? check_page(list, *ret_data, err) : is_no_list(err);
}

static Status come_to(StripeList *list, const JsonValue *event, Error *err)
{
    const JsonValue *id = json_member(event, STR("id"));
    if (!json_is(id, JSON_STRING) || id->text.len == 0 || id->text.len >= sizeof(list->last)) {
        return is_no_list(err);
    }
    (void)snprintf(list->last, sizeof(list->last), "%" STR_FMT, STR_ARG(id->text));
    return STATUS_OK;
}

static void turn_round(const JsonValue *data, Arena *arena, const JsonValue **ret,
                       size_t *ret_count)
{
    JsonValue *turned = ARENA_ARRAY(arena, JsonValue, data->count);
    for (size_t i = 0; i < data->count; i++) {
        turned[i] = data->items[data->count - 1 - i];
    }
    *ret = turned;
    *ret_count = data->count;
}

static Status find_behind(StripeList *list, Arena *arena, Error *err)
{
    const JsonValue *data;
    bool has_more;
    const char *query = arena_printf(arena, "limit=1&created%%5Blt%%5D=%" PRId64, list->since_s);
    if (ask(list, query, arena, &data, &has_more, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (data->count == 0) {
        list->state = LIST_OLDEST;
        return STATUS_OK;
    }
    list->state = LIST_NEWER;
    return check_behind(list, &data->items[0], err) == STATUS_OK
               ? come_to(list, &data->items[0], err)
               : STATUS_FAIL;
}

// The page that is the last in Stripe's order is the first in ours.
static Status find_oldest(StripeList *list, Arena *arena, const JsonValue **ret, size_t *ret_count,
                          Error *err)
{
    const JsonValue *data;
    bool has_more;
    do {
        const char *query =
            arena_printf(arena, "limit=100&created%%5Bgte%%5D=%" PRId64 "%s%s", list->since_s,
                         list->last[0] == '\0' ? "" : "&starting_after=", list->last);
        if (ask(list, query, arena, &data, &has_more, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (data->count == 0) {
            stripe_list_begin(list, list->since_s); // nothing has happened yet
            return STATUS_AGAIN;
        }
        if (come_to(list, &data->items[data->count - 1], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    } while (has_more);
    list->state = LIST_NEWER;
    turn_round(data, arena, ret, ret_count);
    return come_to(list, &data->items[0], err);
}

Status stripe_list_next(StripeList *list, Arena *arena, const JsonValue **ret, size_t *ret_count,
                        Error *err)
{
    const JsonValue *data;
    bool has_more;
    if (list->state == LIST_BEHIND && find_behind(list, arena, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (list->state == LIST_OLDEST) {
        return find_oldest(list, arena, ret, ret_count, err);
    }
    const char *query = arena_printf(arena, "limit=100&ending_before=%s", list->last);
    if (ask(list, query, arena, &data, &has_more, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (data->count == 0) {
        return STATUS_AGAIN;
    }
    turn_round(data, arena, ret, ret_count);
    return come_to(list, &data->items[0], err);
}
