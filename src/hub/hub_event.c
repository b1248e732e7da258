#include "hub/hub_event.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/limits.h"
#include "codec/json_read.h"

enum { COLUMN_ID, COLUMN_TYPE, COLUMN_CREATED, COLUMN_OBJECT, COLUMN_REQUEST, COLUMN_COUNT };

int hub_event_rank(ChangeOp op)
{
    return op == CHANGE_INSERT ? 0 : op == CHANGE_DELETE ? 2 : 1;
}

bool hub_event_is_older(const HubEvent *event, int64_t created_s, int rank)
{
    return event->created_s < created_s ||
           (event->created_s == created_s && hub_event_rank(event->op) < rank);
}

// ---------------------------------------------------------------------------------------------
// As a change
// ---------------------------------------------------------------------------------------------

// An event is a row of its own: one that is set aside holds no other up.
static uint16_t key_columns[] = {COLUMN_ID};

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
    COLUMN("request", 5, OID_TEXT, "text", TYPE_TEXT),
};

#define RELATION(number)                                                                      \
    {                                                                                         \
        .oid = (number), .schema = {"", 0}, .name = {"", 0}, .identity = IDENTITY_DEFAULT,    \
        .column_count = COLUMN_COUNT, .columns = columns, .key_count = 1, .key = key_columns, \
        .key_is_primary = true,                                                               \
    }

const Relation stripe_relation = RELATION(1);
const Relation webhook_relation = RELATION(2);

const Relation *hub_event_relation(const Relation *kind, Str system, Arena *arena)
{
    Relation *relation = relation_copy(arena, kind);
    relation->name = str_copy(arena, system);
    return relation;
}

static Value put(Batch *batch, Str text)
{
    return (Value){.ptr = batch_bytes(batch, text.ptr, text.len),
                   .len = (uint32_t)text.len,
                   .state = VALUE_TEXT};
}

// Each is a row of its own, also of those that came with one id, or with none.
static Value put_key(Batch *batch, const HubEvent *event, const Transaction *transaction,
                     uint64_t ordinal)
{
    CLEANUP(buf_done) Buf key = {.max = LIMIT_TEXT_BYTES};
    if (event->id.len > 0 && ordinal == 1) {
        return put(batch, event->id);
    }
    if (event->id.len > 0) {
        buf_printf(&key, "%" STR_FMT "#%" PRIu64, STR_ARG(event->id), ordinal);
    } else {
        buf_printf(&key, "%" PRIu64 "#%" PRIu64, transaction->commit_lsn, ordinal);
    }
    return put(batch, buf_view(&key));
}

void hub_event_put(Batch *batch, const Relation *relation, const HubEvent *event,
                   const Transaction *transaction, uint64_t ordinal)
{
    CLEANUP(buf_done) Buf json;
    buf_init(&json, LIMIT_TEXT_BYTES);
    json_print(&json, event->object);
    char created[32];
    (void)snprintf(created, sizeof(created), "%" PRId64, event->created_s);
    Value *row = batch_row(batch, COLUMN_COUNT);
    row[COLUMN_ID] = put_key(batch, event, transaction, ordinal);
    row[COLUMN_TYPE] = put(batch, event->type);
    row[COLUMN_CREATED] = put(batch, str_from(created));
    row[COLUMN_OBJECT] = put(batch, buf_view(&json));
    row[COLUMN_REQUEST] = put(batch, event->request);
    Change *change = batch_add(batch);
    change->op = event->op;
    change->relation = relation;
    change->transaction = transaction;
    change->ordinal = ordinal;
    if (event->op == CHANGE_DELETE) {
        change->old_row = row;
    } else {
        change->new_row = row;
    }
}

Status hub_event_take(const Change *change, Arena *arena, HubTelling *ret, Error *err)
{
    const Value *row = change->op == CHANGE_DELETE ? change->old_row : change->new_row;
    if (row == NULL || change->relation->column_count != COLUMN_COUNT ||
        !value_is_data(row[COLUMN_OBJECT]) || !value_is_data(row[COLUMN_TYPE]) ||
        !value_is_data(row[COLUMN_REQUEST])) {
        return error_set(err, ERROR_DATA, "the change is no event");
    }
    if (json_read(arena, value_str(row[COLUMN_OBJECT]), &ret->object, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const JsonValue *object = json_member(&ret->object, STR("object"));
    bool is_stripe = change->relation->oid == stripe_relation.oid;
    Str said = json_is(object, JSON_STRING) ? object->text : STR("");
    ret->location = is_stripe ? said : value_str(row[COLUMN_TYPE]);
    ret->request = value_str(row[COLUMN_REQUEST]);
    return STATUS_OK;
}
