#include "hub/stripe_request.h"

#include "base/buf.h"
#include "base/decimal.h"
#include "base/limits.h"
#include "base/percent.h"

enum { ID_BYTES_MAX = 500 };

// ---------------------------------------------------------------------------------------------
// The body
// ---------------------------------------------------------------------------------------------

// Where a value is: its own step, and the way to it.
typedef struct Place {
    const struct Place *parent; // NULL: it is a member of the body
    Str name;
} Place;

static void put_name(Buf *out, const Place *place)
{
    if (place->parent == NULL) {
        percent_encode(out, place->name);
        return;
    }
    put_name(out, place->parent);
    buf_char(out, '[');
    percent_encode(out, place->name);
    buf_char(out, ']');
}

static void put_pair(Buf *out, const Place *place, Str text)
{
    if (out->len > 0) {
        buf_char(out, '&');
    }
    put_name(out, place);
    buf_char(out, '=');
    percent_encode(out, text);
}

// Amounts are integers, and Stripe takes no "10.00" for one.
static void put_number(Buf *out, const Place *place, Str text)
{
    Decimal number;
    char digits[24];
    if (decimal_parse(text, &number) && number.is_small) {
        (void)snprintf(digits, sizeof(digits), "%lld", (long long)number.small);
        text = str_from(digits);
    }
    put_pair(out, place, text);
}

static void put_value(Buf *out, const Place *place, const JsonValue *value, bool is_new);

static void put_items(Buf *out, const Place *place, const JsonValue *value, bool is_new)
{
    for (uint32_t i = 0; i < value->count; i++) {
        char index[16];
        (void)snprintf(index, sizeof(index), "%u", i);
        const Place item = {place, str_from(index)};
        put_value(out, &item, &value->items[i], is_new);
    }
}

static void put_members(Buf *out, const Place *place, const JsonValue *value, bool is_new)
{
    for (uint32_t i = 0; i < value->count; i++) {
        const Place member = {place, value->members[i].name};
        put_value(out, &member, &value->members[i].value, is_new);
    }
}

static bool is_nothing(const JsonValue *value)
{
    return value->kind == JSON_NULL ||
           ((value->kind == JSON_ARRAY || value->kind == JSON_OBJECT) && value->count == 0);
}

static void put_value(Buf *out, const Place *place, const JsonValue *value, bool is_new)
{
    if (is_nothing(value)) {
        if (!is_new) {
            put_pair(out, place, STR(""));
        }
        return;
    }
    switch (value->kind) {
    case JSON_NULL:
        break;
    case JSON_BOOL:
        put_pair(out, place, value->is_true ? STR("true") : STR("false"));
        break;
    case JSON_NUMBER:
        put_number(out, place, value->text);
        break;
    case JSON_STRING:
        put_pair(out, place, value->text);
        break;
    case JSON_ARRAY:
        put_items(out, place, value, is_new);
        break;
    case JSON_OBJECT:
        put_members(out, place, value, is_new);
        break;
    }
}

static void put_step(Buf *out, const Place *parent, const Path *path, size_t step,
                     const JsonValue *value, bool is_new)
{
    const Place place = {parent, path->steps[step]};
    if (step + 1 < path->count) {
        put_step(out, &place, path, step + 1, value, is_new);
    } else {
        put_value(out, &place, value, is_new);
    }
}

// ---------------------------------------------------------------------------------------------
// The request
// ---------------------------------------------------------------------------------------------

static Status read_id(const PushedRow *row, Arena *arena, Str *ret, Error *err)
{
    *ret = (Str){0};
    if (row->search_key_count == 0) {
        return STATUS_OK;
    }
    const JsonValue *value = &row->cells[0].value;
    CLEANUP(buf_done) Buf text = {.max = LIMIT_TEXT_BYTES};
    if (value->kind == JSON_STRING) {
        buf_str(&text, value->text);
    } else {
        json_print(&text, value);
    }
    *ret = str_copy(arena, buf_view(&text));
    bool is_sound = ret->len > 0 && ret->len <= ID_BYTES_MAX && !str_is(*ret, ".") &&
                    !str_is(*ret, "..") && value->kind != JSON_ARRAY && value->kind != JSON_OBJECT;
    return is_sound ? STATUS_OK
                    : error_set(err, ERROR_DATA,
                                "%" STR_FMT ": the \"%" STR_FMT "\" of an object of Stripe is "
                                "empty or cannot be one",
                                STR_ARG(row->cells[0].field->origin),
                                STR_ARG(row->cells[0].field->name));
}

static const char *path_of(const PushedRow *row, Str id, Arena *arena)
{
    CLEANUP(buf_done) Buf path = {.max = LIMIT_TEXT_BYTES};
    Str rest = row->rule->location;
    Str part;
    buf_cstr(&path, "/v1");
    while (str_split(&rest, '/', &part)) {
        buf_char(&path, '/');
        percent_encode(&path, part);
    }
    if (id.len > 0) {
        buf_char(&path, '/');
        percent_encode(&path, id);
    }
    return arena_copy(arena, path.ptr, path.len);
}

Status stripe_request(const PushedRow *row, Arena *arena, StripeRequest *ret, bool *ret_is_empty,
                      Error *err)
{
    Str id;
    *ret_is_empty = false;
    if (read_id(row, arena, &id, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_delete = row->op == OBJECT_DELETE;
    *ret = (StripeRequest){
        .method = is_delete ? "DELETE" : "POST", .path = path_of(row, id, arena), .id = id};
    if (is_delete) {
        return STATUS_OK;
    }
    CLEANUP(buf_done) Buf body = {.max = LIMIT_TEXT_BYTES};
    for (size_t i = 0; i < row->count; i++) {
        const PushedCell *cell = &row->cells[i];
        if (!cell->field->is_search_key) {
            put_step(&body, NULL, &cell->field->path, 0, &cell->value, id.len == 0);
        }
    }
    *ret_is_empty = body.len == 0 && id.len > 0;
    ret->body = str_copy(arena, buf_view(&body));
    ret->body.ptr = body.len == 0 ? "" : ret->body.ptr;
    return buf_check(&body, "a request", err);
}
