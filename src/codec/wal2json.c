#include "codec/wal2json.h"

#include "base/clock.h"
#include "base/limits.h"
#include "codec/json.h"

void wal2json_init(void *state, const CodecOptions *options)
{
    Wal2json *codec = state;
    codec->options = options;
    codec->stamp = (Buf){.max = LIMIT_TEXT_BYTES};
}

void wal2json_done(void *state)
{
    Wal2json *codec = state;
    arena_done(&codec->arena);
    map_done(&codec->shapes);
    buf_done(&codec->stamp);
}

// ---------------------------------------------------------------------------------------------
// Names
// ---------------------------------------------------------------------------------------------

// The plugin runs with the session's search_path, by default "$user", public: types of that schema
// have no prefix there, and do in the catalog's description, which is made with an empty one.
//
// A name that format_type() has quoted is put into the JSON with just those quotes, unless it is an
// array's. We do so where that gives a JSON string; for "my schema".mood and "a""b" it does not.
static bool write_type(Str type, Buf *out)
{
    Str prefix = STR("public.");
    if (str_starts_with(type, prefix)) {
        type.ptr += prefix.len;
        type.len -= prefix.len;
    }
    if (json_is_string(type)) {
        buf_str(out, type);
        return true;
    }
    return json_string(out, type);
}

static Status bad_name(const Relation *relation, Error *err)
{
    return error_set(err, ERROR_DATA,
                     "table \"%" STR_FMT ".%" STR_FMT
                     "\", one of its columns or a type has a name that is not valid UTF-8",
                     STR_ARG(relation->schema), STR_ARG(relation->name));
}

static Str keep(Wal2json *codec, Buf *text)
{
    Str copy = str_copy(&codec->arena, buf_view(text));
    buf_reset(text);
    return copy;
}

static Status make_shape(Wal2json *codec, const Relation *relation, Wal2jsonShape **ret, Error *err)
{
    CLEANUP(buf_done) Buf text = {.max = LIMIT_TEXT_BYTES};
    Wal2jsonShape *shape = arena_alloc_zero(&codec->arena, sizeof(*shape));
    shape->relation = relation;
    shape->names = ARENA_ARRAY(&codec->arena, Str, relation->column_count);
    shape->types = ARENA_ARRAY(&codec->arena, Str, relation->column_count);
    buf_cstr(&text, "\"schema\":");
    bool is_valid = json_string(&text, relation->schema);
    buf_cstr(&text, ",\"table\":");
    is_valid = json_string(&text, relation->name) && is_valid;
    shape->table = keep(codec, &text);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        is_valid = json_string(&text, relation->columns[i].name) && is_valid;
        shape->names[i] = keep(codec, &text);
        is_valid = write_type(relation->columns[i].type_name, &text) && is_valid;
        shape->types[i] = keep(codec, &text);
    }
    if (!is_valid) {
        return bad_name(relation, err);
    }
    *ret = shape;
    return STATUS_OK;
}

Status wal2json_shape(Wal2json *codec, const Relation *relation, const Wal2jsonShape **ret,
                      Error *err)
{
    if (codec->last != NULL && codec->last->relation == relation) {
        *ret = codec->last;
        return STATUS_OK;
    }
    uint64_t key = (uintptr_t)relation;
    Wal2jsonShape *shape = map_get_u64(&codec->shapes, key);
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

// ---------------------------------------------------------------------------------------------
// Transactions
// ---------------------------------------------------------------------------------------------

bool wal2json_is_transactional(const Change *change)
{
    return change->op != CHANGE_READ &&
           (change->op != CHANGE_MESSAGE || change->message->transactional);
}

// As timestamptz_to_str() in a session with the time zone UTC: without zeros at the end.
static void write_timestamp(int64_t unix_us, Buf *out)
{
    char text[CLOCK_TEXT_SIZE];
    clock_format_us(unix_us, text);
    Str time = str_from(text);
    char *separator = memchr(text, 'T', time.len);
    if (separator != NULL) {
        *separator = ' ';
    }
    time.len--; // the Z
    while (time.len > 0 && time.ptr[time.len - 1] == '0') {
        time.len--;
    }
    time.len -= time.len > 0 && time.ptr[time.len - 1] == '.';
    buf_printf(out, "\"timestamp\":\"%" STR_FMT "+00\"", STR_ARG(time));
}

void wal2json_open(Wal2json *codec, const Transaction *transaction)
{
    codec->is_open = true;
    codec->has_changes = false;
    codec->transaction = *transaction;
    Buf *stamp = &codec->stamp;
    buf_reset(stamp);
    if (codec->options->include_xids) {
        buf_printf(stamp, "\"xid\":%" PRIu32, transaction->xid);
    }
    if (codec->options->include_timestamp) {
        buf_cstr(stamp, stamp->len > 0 ? "," : "");
        write_timestamp(transaction->commit_time_us, stamp);
    }
}

// ---------------------------------------------------------------------------------------------
// Rows
// ---------------------------------------------------------------------------------------------

bool wal2json_has_pk(const Relation *relation)
{
    return relation->key_is_primary && relation->key_count > 0;
}

// With REPLICA IDENTITY FULL the source fills an unchanged column of the new image from the old
// one, so that both are the same bytes at the same address; the plugin leaves it out.
static bool was_sent(const Change *change, uint16_t i)
{
    Value now = change->new_row[i];
    if (!value_is_known(now)) {
        return false;
    }
    return change->old_row == NULL || !value_is_data(now) || now.len == 0 ||
           now.ptr != change->old_row[i].ptr;
}

static const Value *identity_image(const Change *change)
{
    return change->old_row != NULL ? change->old_row : change->new_row;
}

bool wal2json_has_column(const Change *change, Wal2jsonRow row, uint16_t i)
{
    const Relation *relation = change->relation;
    switch (row) {
    case WAL2JSON_NEW:
        return was_sent(change, i);
    case WAL2JSON_IDENTITY:
        return value_is_known(identity_image(change)[i]) &&
               (change->old_row != NULL || relation->columns[i].is_identity);
    case WAL2JSON_PK:
        return wal2json_has_pk(relation) && relation_is_key(relation, i);
    }
    return false;
}

Value wal2json_column(const Change *change, Wal2jsonRow row, uint16_t i)
{
    return row == WAL2JSON_NEW ? change->new_row[i] : identity_image(change)[i];
}

// NaN and the infinities become null.
static bool write_number(Buf *out, Str text)
{
    if (json_is_number(text)) {
        buf_str(out, text);
        return true;
    }
    bool is_special = str_equal(text, STR("NaN")) || str_equal(text, STR("Infinity")) ||
                      str_equal(text, STR("-Infinity"));
    if (is_special) {
        buf_str(out, STR("null"));
    }
    return is_special;
}

static bool write_text(uint32_t type_oid, Value value, Buf *out)
{
    bool truth;
    Str text = value_str(value);
    switch (type_oid) { // as declared: values of a domain are strings
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
    case OID_FLOAT4:
    case OID_FLOAT8:
    case OID_NUMERIC:
        return write_number(out, text);
    case OID_BOOL:
        if (!value_to_bool(value, &truth)) {
            return false;
        }
        buf_str(out, truth ? STR("true") : STR("false"));
        return true;
    case OID_BYTEA: // without its \x
        return text.len >= 2 && json_string(out, (Str){text.ptr + 2, text.len - 2});
    default:
        return json_string(out, text);
    }
}

Status wal2json_value(const Relation *relation, uint16_t i, Value value, Buf *out, Error *err)
{
    const Column *column = &relation->columns[i];
    if (value.state == VALUE_NULL) {
        buf_str(out, STR("null"));
        return STATUS_OK;
    }
    if (value.state == VALUE_TEXT && write_text(column->type_oid, value, out)) {
        return STATUS_OK;
    }
    return codec_bad_value(relation, column, value, err);
}

// The plugin takes the content for a C string, so a NUL ends it.
Status wal2json_message(const LogicalMessage *message, Buf *out, Error *err)
{
    buf_str(out, STR("\"prefix\":"));
    if (!json_string(out, message->prefix)) {
        return error_set(err, ERROR_DATA,
                         "the prefix of the logical message at " LSN_FMT " is not valid UTF-8",
                         LSN_ARG(message->lsn));
    }
    Str content = message->content;
    ptrdiff_t nul = str_find(content, '\0');
    if (nul >= 0) {
        content.len = (size_t)nul;
    }
    buf_str(out, STR(",\"content\":"));
    json_string_lossy(out, content);
    return STATUS_OK;
}

void wal2json_describe_column(const Column *column, Buf *out)
{
    switch (column->type_oid) {
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
    case OID_FLOAT4:
    case OID_FLOAT8:
    case OID_NUMERIC:
        buf_cstr(out, "number");
        break;
    case OID_BOOL:
        buf_cstr(out, "boolean");
        break;
    default:
        buf_cstr(out, "string");
        break;
    }
}
