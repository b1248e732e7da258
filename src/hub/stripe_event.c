#include "hub/stripe_event.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/limits.h"
#include "codec/json_read.h"

enum { COLUMN_ID, COLUMN_TYPE, COLUMN_CREATED, COLUMN_OBJECT, COLUMN_COUNT };

static Str text_of(const JsonValue *object, Str name)
{
    const JsonValue *value = json_member(object, name);
    return json_is(value, JSON_STRING) ? value->text : STR("");
}

static ChangeOp op_of(Str type)
{
    Str verb = type;
    Str part;
    for (Str rest = type; str_split(&rest, '.', &part);) {
        verb = part;
    }
    if (str_is(verb, "created")) {
        return CHANGE_INSERT;
    }
    return str_is(verb, "deleted") ? CHANGE_DELETE : CHANGE_UPDATE;
}

Status stripe_event_read(const JsonValue *value, StripeEvent *ret, Error *err)
{
    const JsonValue *created = json_member(value, STR("created"));
    *ret = (StripeEvent){.id = text_of(value, STR("id")),
                         .type = text_of(value, STR("type")),
                         .object = json_member(json_member(value, STR("data")), STR("object"))};
    ret->location = text_of(ret->object, STR("object"));
    ret->object_id = text_of(ret->object, STR("id"));
    ret->op = op_of(ret->type);
    if (ret->id.len == 0 || ret->type.len == 0 || !json_is(created, JSON_NUMBER) ||
        !str_to_int64(created->text, &ret->created_s)) {
        return error_set(err, ERROR_DATA, "this is no event of Stripe");
    }
    if (ret->location.len == 0) {
        error_set(err, ERROR_DATA, "the event has no object in \"data\"");
        return error_hint(err, "The endpoint has to send snapshots, not thin events.");
    }
    return STATUS_OK;
}

int stripe_event_rank(ChangeOp op)
{
    return op == CHANGE_INSERT ? 0 : op == CHANGE_DELETE ? 2 : 1;
}

bool stripe_event_is_older(const StripeEvent *event, int64_t created_s, int rank)
{
    return event->created_s < created_s ||
           (event->created_s == created_s && stripe_event_rank(event->op) < rank);
}

// ---------------------------------------------------------------------------------------------
// As a change
// ---------------------------------------------------------------------------------------------

// An event is a row of its own: one that is set aside holds no other up.
static uint16_t key[] = {COLUMN_ID};

#define COLUMN(column, number, oid, text, of_class)                                                \
    {                                                                                              \
        .name = {column, sizeof(column) - 1}, .attnum = (number), .type_oid = (oid), .typmod = -1, \
        .type_name = {text, sizeof(text) - 1}, .base_type_oid = (oid), .base_typmod = -1,          \
        .base_type_name = {text, sizeof(text) - 1}, .type = (of_class),                            \
        .is_identity = (number) == 1, .not_null = true                                             \
    }

static Column columns[] = {
    COLUMN("id", 1, OID_TEXT, "text", TYPE_TEXT),
    COLUMN("type", 2, OID_TEXT, "text", TYPE_TEXT),
    COLUMN("created", 3, OID_INT8, "bigint", TYPE_INT8),
    COLUMN("object", 4, OID_JSON, "json", TYPE_JSON),
};

const Relation stripe_relation = {
    .oid = 1,
    .schema = {"stripe", 6},
    .name = {"event", 5},
    .identity = IDENTITY_DEFAULT,
    .column_count = COLUMN_COUNT,
    .columns = columns,
    .key_count = 1,
    .key = key,
    .key_is_primary = true,
};

static Value put(Batch *batch, Str text)
{
    return (Value){.ptr = batch_bytes(batch, text.ptr, text.len),
                   .len = (uint32_t)text.len,
                   .state = VALUE_TEXT};
}

void stripe_event_put(Batch *batch, const StripeEvent *event, const Transaction *transaction)
{
    CLEANUP(buf_done) Buf json;
    buf_init(&json, LIMIT_TEXT_BYTES);
    json_print(&json, event->object);
    char created[32];
    (void)snprintf(created, sizeof(created), "%" PRId64, event->created_s);
    Value *row = batch_row(batch, COLUMN_COUNT);
    row[COLUMN_ID] = put(batch, event->id);
    row[COLUMN_TYPE] = put(batch, event->type);
    row[COLUMN_CREATED] = put(batch, str_from(created));
    row[COLUMN_OBJECT] = put(batch, buf_view(&json));
    Change *change = batch_add(batch);
    change->op = event->op;
    change->relation = &stripe_relation;
    change->transaction = transaction;
    change->ordinal = 1;
    if (event->op == CHANGE_DELETE) {
        change->old_row = row;
    } else {
        change->new_row = row;
    }
}

Status stripe_event_object(const Change *change, Arena *arena, JsonValue *ret, Str *ret_location,
                           Error *err)
{
    const Value *row = change->op == CHANGE_DELETE ? change->old_row : change->new_row;
    if (row == NULL || change->relation->column_count != COLUMN_COUNT ||
        !value_is_data(row[COLUMN_OBJECT])) {
        return error_set(err, ERROR_DATA, "the change is no event of Stripe");
    }
    if (json_read(arena, value_str(row[COLUMN_OBJECT]), ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret_location = text_of(ret, STR("object"));
    return STATUS_OK;
}
