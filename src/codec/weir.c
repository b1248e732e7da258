// Format weir: one JSON object a line with every field of a change. docs/formats.md is its contract
// with the world, docs/weir-event.schema.json its grammar; fields may be added, never changed.
//
// What is the same for every change of a table, or of a transaction, is put together once: most of
// a line is three copies and the values.
#include <assert.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/map.h"
#include "codec/formats.h"
#include "codec/json.h"
#include "codec/row_json.h"

// Of one version of a relation.
typedef struct Shape {
    const Relation *relation;
    Str heads[CHANGE_SCHEMA + 1]; // by ChangeOp: {"op":"insert","schema":"public","table":"orders"
    Str *names;                   // by column: ,"id":
} Shape;

typedef struct WeirCodec {
    Arena arena; // shapes
    Map shapes;  // address of the relation -> Shape
    const Shape *last;
    Buf head; // of the last transaction: ,"lsn":"16/B374D848","xid":742,…,"ordinal":
    bool has_transaction;
    Transaction transaction; // of `head`; its origin is not to be used
    Buf nulls;               // names of the columns that hold the JSON value null: ,"doc","more"
} WeirCodec;

static void weir_init(void *state, const CodecOptions *options)
{
    WeirCodec *codec = state;
    codec->head = (Buf){.max = LIMIT_TEXT_BYTES};
    codec->nulls = (Buf){.max = LIMIT_TEXT_BYTES};
}

static void weir_done(void *state)
{
    WeirCodec *codec = state;
    arena_done(&codec->arena);
    map_done(&codec->shapes);
    buf_done(&codec->head);
    buf_done(&codec->nulls);
}

// ---------------------------------------------------------------------------------------------
// What is put together once
// ---------------------------------------------------------------------------------------------

static Str keep(WeirCodec *codec, Buf *text)
{
    Str copy = str_copy(&codec->arena, buf_view(text));
    buf_reset(text);
    return copy;
}

static Status bad_name(const Relation *relation, Error *err)
{
    error_set(err, ERROR_DATA,
              "table \"%" STR_FMT ".%" STR_FMT "\" or one of its columns has a name that is not "
              "valid UTF-8",
              STR_ARG(relation->schema), STR_ARG(relation->name));
    return error_hint(err, "Rename it: ALTER TABLE … RENAME …");
}

static Status make_shape(WeirCodec *codec, const Relation *relation, Shape **ret, Error *err)
{
    CLEANUP(buf_done) Buf text = {.max = LIMIT_TEXT_BYTES};
    Shape *shape = arena_alloc_zero(&codec->arena, sizeof(*shape));
    shape->relation = relation;
    bool is_valid = true;
    for (ChangeOp op = CHANGE_READ; op <= CHANGE_SCHEMA; op++) {
        buf_printf(&text, "{\"op\":\"%s\",\"schema\":", change_op_name(op));
        is_valid = json_string(&text, relation->schema) && is_valid;
        buf_cstr(&text, ",\"table\":");
        is_valid = json_string(&text, relation->name) && is_valid;
        shape->heads[op] = keep(codec, &text);
    }
    shape->names = ARENA_ARRAY(&codec->arena, Str, relation->column_count);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        buf_char(&text, ',');
        is_valid = json_string(&text, relation->columns[i].name) && is_valid;
        buf_char(&text, ':');
        shape->names[i] = keep(codec, &text);
    }
    if (!is_valid) {
        return bad_name(relation, err);
    }
    *ret = shape;
    return STATUS_OK;
}

static Status find_shape(WeirCodec *codec, const Relation *relation, const Shape **ret, Error *err)
{
    if (codec->last != NULL && codec->last->relation == relation) {
        *ret = codec->last;
        return STATUS_OK;
    }
    uint64_t key = (uintptr_t)relation;
    Shape *shape = map_get_u64(&codec->shapes, key);
    if (shape == NULL) {
        if (make_shape(codec, relation, &shape, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        (void)map_put_u64(&codec->shapes, key, shape);
    }
    codec->last = shape;
    *ret = shape;
    return STATUS_OK;
}

// Up to the ordinal's value.
static Status transaction_head(WeirCodec *codec, const Transaction *transaction, Error *err)
{
    if (codec->has_transaction && transaction_is_same(&codec->transaction, transaction)) {
        return STATUS_OK;
    }
    Buf *head = &codec->head;
    buf_reset(head);
    buf_printf(head, ",\"lsn\":\"" LSN_FMT "\"", LSN_ARG(transaction->commit_lsn));
    if (transaction->xid != 0) {
        buf_str(head, STR(",\"xid\":"));
        buf_uint64(head, transaction->xid);
    }
    if (transaction->commit_time_us != 0) {
        char time[CLOCK_TEXT_SIZE];
        clock_format_us(transaction->commit_time_us, time);
        buf_str(head, STR(",\"commit_time\":\""));
        buf_cstr(head, time);
        buf_char(head, '"');
    }
    if (transaction->origin.len > 0) {
        buf_cstr(head, ",\"origin\":");
        if (!json_string(head, transaction->origin)) {
            return error_set(err, ERROR_DATA,
                             "the name of the replication origin of transaction %" PRIu32
                             " is not valid UTF-8",
                             transaction->xid);
        }
    }
    buf_cstr(head, ",\"ordinal\":");
    codec->transaction = *transaction;
    codec->has_transaction = true;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Values
// ---------------------------------------------------------------------------------------------

// The JSON value null and SQL's NULL look the same: the former is noted.
static void note_json_null(Buf *nulls, const Shape *shape, uint16_t i, Value value)
{
    TypeClass type = shape->relation->columns[i].type;
    if (type_is_json(type) && json_is_null(value_str(value))) {
        Str name = shape->names[i];
        buf_bytes(nulls, name.ptr, name.len - 1); // without the colon
    }
}

// ,"id":1
static Status write_column(const Shape *shape, uint16_t i, Value value, Buf *out, Error *err)
{
    const Column *column = &shape->relation->columns[i];
    buf_str(out, shape->names[i]);
    return row_json_value(out, column, value)
               ? STATUS_OK
               : codec_bad_value(shape->relation, column, value, err);
}

// Every member is written with a comma before it; the first one's becomes the brace (or bracket).
static void close_group(Buf *out, size_t start, const char brackets[static 2])
{
    if (out->len > start) {
        out->ptr[start] = brackets[0];
    } else {
        buf_char(out, brackets[0]);
    }
    buf_char(out, brackets[1]);
}

// ,"new":{…} and, when there are such columns, ,"new_json_null":[…]
static Status write_row(WeirCodec *codec, const Shape *shape, const Value *row, bool is_new,
                        Buf *out, Error *err)
{
    buf_str(out, is_new ? STR(",\"new\":") : STR(",\"old\":"));
    size_t start = out->len;
    buf_reset(&codec->nulls);
    for (uint16_t i = 0; i < shape->relation->column_count; i++) {
        if (!value_is_known(row[i]) && row[i].state != VALUE_BINARY) {
            continue;
        }
        if (write_column(shape, i, row[i], out, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (row[i].state == VALUE_TEXT) {
            note_json_null(&codec->nulls, shape, i, row[i]);
        }
    }
    close_group(out, start, "{}");
    if (codec->nulls.len > 0) {
        buf_str(out, is_new ? STR(",\"new_json_null\":") : STR(",\"old_json_null\":"));
        start = out->len;
        buf_str(out, buf_view(&codec->nulls));
        close_group(out, start, "[]");
    }
    return STATUS_OK;
}

// The values that find the row before the change: the old ones, when the key changes.
static Status write_key(const Shape *shape, const Change *change, Buf *out, Error *err)
{
    const Relation *relation = shape->relation;
    const Value *row = row_with_key(change);
    if (row == NULL) {
        return STATUS_OK;
    }
    buf_str(out, STR(",\"key\":"));
    size_t start = out->len;
    for (uint16_t i = 0; i < relation->key_count; i++) {
        uint16_t column = relation->key[i];
        if (write_column(shape, column, row[column], out, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    close_group(out, start, "{}");
    return STATUS_OK;
}

static void write_unchanged(const Shape *shape, const Value *row, Buf *out)
{
    size_t before = out->len;
    buf_str(out, STR(",\"unchanged\":"));
    size_t start = out->len;
    for (uint16_t i = 0; i < shape->relation->column_count; i++) {
        if (row[i].state == VALUE_UNCHANGED) {
            buf_bytes(out, shape->names[i].ptr, shape->names[i].len - 1);
        }
    }
    if (out->len == start) {
        out->len = before;
    } else {
        close_group(out, start, "[]");
    }
}

// ---------------------------------------------------------------------------------------------
// Events
// ---------------------------------------------------------------------------------------------

static Status write_rows(WeirCodec *codec, const Shape *shape, const Change *change, Buf *out,
                         Error *err)
{
    if (write_key(shape, change, out, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (change->new_row != NULL) {
        if (write_row(codec, shape, change->new_row, true, out, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        write_unchanged(shape, change->new_row, out);
    }
    if (change->old_row != NULL) {
        return write_row(codec, shape, change->old_row, false, out, err);
    }
    return STATUS_OK;
}

static void write_flags(const Change *change, Buf *out)
{
    buf_printf(out, ",\"cascade\":%s,\"restart_identity\":%s",
               change->truncate_flags & TRUNCATE_CASCADE ? "true" : "false",
               change->truncate_flags & TRUNCATE_RESTART_IDENTITY ? "true" : "false");
}

static const char *identity_name(ReplicaIdentity identity)
{
    switch (identity) {
    case IDENTITY_DEFAULT:
        return "default";
    case IDENTITY_NOTHING:
        return "nothing";
    case IDENTITY_FULL:
        return "full";
    case IDENTITY_INDEX:
        return "index";
    }
    return "default";
}

static bool write_column_type(const Column *column, Buf *out)
{
    buf_cstr(out, ",\"type\":");
    bool is_valid = json_string(out, column->type_name);
    buf_printf(out, ",\"type_oid\":%" PRIu32 ",\"typmod\":%" PRId32, column->type_oid,
               column->typmod);
    if (column->base_type_oid != column->type_oid) {
        buf_cstr(out, ",\"base_type\":");
        is_valid = json_string(out, column->base_type_name) && is_valid;
        buf_printf(out, ",\"base_type_oid\":%" PRIu32, column->base_type_oid);
    }
    return is_valid;
}

static Status write_shape_column(const Shape *shape, uint16_t i, Buf *out, Error *err)
{
    const Column *column = &shape->relation->columns[i];
    buf_cstr(out, ",{\"name\":");
    buf_bytes(out, shape->names[i].ptr + 1, shape->names[i].len - 2);
    if (column->attnum > 0) {
        buf_printf(out, ",\"attnum\":%d", column->attnum);
    }
    if (!write_column_type(column, out)) {
        return bad_name(shape->relation, err);
    }
    buf_printf(out, ",\"not_null\":%s,\"identity\":%s", column->not_null ? "true" : "false",
               column->is_identity ? "true" : "false");
    if (column->missing_value.ptr != NULL) {
        Value value = {column->missing_value.ptr, (uint32_t)column->missing_value.len, VALUE_TEXT};
        buf_cstr(out, ",\"missing\":");
        if (!row_json_value(out, column, value)) {
            return codec_bad_value(shape->relation, column, value, err);
        }
    }
    buf_char(out, '}');
    return STATUS_OK;
}

static Status write_schema(const Shape *shape, Buf *out, Error *err)
{
    const Relation *relation = shape->relation;
    buf_printf(out, ",\"relation_oid\":%" PRIu32 ",\"replica_identity\":\"%s\",\"columns\":",
               relation->oid, identity_name(relation->identity));
    size_t start = out->len;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (write_shape_column(shape, i, out, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    close_group(out, start, "[]");
    buf_cstr(out, ",\"key_columns\":");
    start = out->len;
    for (uint16_t i = 0; i < relation->key_count; i++) {
        Str name = shape->names[relation->key[i]];
        buf_bytes(out, name.ptr, name.len - 1);
    }
    close_group(out, start, "[]");
    buf_printf(out, ",\"key_is_primary\":%s", relation->key_is_primary ? "true" : "false");
    return STATUS_OK;
}

static Status write_message(const LogicalMessage *message, Buf *out, Error *err)
{
    buf_printf(out, ",\"transactional\":%s,\"message_lsn\":\"" LSN_FMT "\",\"prefix\":",
               message->transactional ? "true" : "false", LSN_ARG(message->lsn));
    if (!json_string(out, message->prefix)) {
        return error_set(err, ERROR_DATA,
                         "the prefix of the logical message at " LSN_FMT " is not valid UTF-8",
                         LSN_ARG(message->lsn));
    }
    size_t start = out->len;
    buf_cstr(out, ",\"content\":");
    if (!json_string(out, message->content)) {
        out->len = start;
        buf_cstr(out, ",\"content_base64\":");
        json_base64(out, message->content);
    }
    return STATUS_OK;
}

static Status write_body(WeirCodec *codec, const Shape *shape, const Change *change, Buf *out,
                         Error *err)
{
    switch (change->op) {
    case CHANGE_READ:
    case CHANGE_INSERT:
    case CHANGE_UPDATE:
    case CHANGE_DELETE:
        return write_rows(codec, shape, change, out, err);
    case CHANGE_TRUNCATE:
        write_flags(change, out);
        return STATUS_OK;
    case CHANGE_MESSAGE:
        return write_message(change->message, out, err);
    case CHANGE_SCHEMA:
        return write_schema(shape, out, err);
    }
    return error_set(err, ERROR_FATAL, "a change has the unknown kind %d", (int)change->op);
}

static Status weir_encode(void *state, const Change *change, Buf *out, Error *err)
{
    assert(change->relation != NULL || change->op == CHANGE_MESSAGE);
    WeirCodec *codec = state;
    const Shape *shape = NULL;
    if (transaction_head(codec, change->transaction, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (change->relation == NULL) {
        buf_str(out, STR("{\"op\":\"message\""));
    } else if (find_shape(codec, change->relation, &shape, err) == STATUS_OK) {
        buf_str(out, shape->heads[change->op]);
    } else {
        return STATUS_FAIL;
    }
    buf_str(out, buf_view(&codec->head));
    buf_uint64(out, change->ordinal);
    if (write_body(codec, shape, change, out, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_str(out, STR("}\n"));
    return STATUS_OK;
}

static void weir_finish(void *state, Buf *out)
{
    // Every line says which transaction it is of.
}

static void weir_describe_column(const Column *column, Buf *out)
{
    switch (column->type) {
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
    case TYPE_OID:
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
    case TYPE_NUMERIC:
        buf_cstr(out, "number");
        break;
    case TYPE_BOOL:
        buf_cstr(out, "boolean");
        break;
    case TYPE_JSON:
    case TYPE_JSONB:
        buf_cstr(out, "any JSON value");
        break;
    default:
        buf_cstr(out, "string");
        break;
    }
}

const Codec weir_codec = {
    .name = "weir",
    .state_size = sizeof(WeirCodec),
    .init = weir_init,
    .encode = weir_encode,
    .finish = weir_finish,
    .describe_column = weir_describe_column,
    .done = weir_done,
};
