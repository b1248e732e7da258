// Format wal2json, version 1: one object a transaction, on one line however large it is.
#include "codec/formats.h"
#include "codec/wal2json.h"

// {"xid":742,"change":[
static void begin(Wal2json *codec, const Change *change, Buf *out)
{
    wal2json_open(codec, change->transaction);
    buf_char(out, '{');
    buf_str(out, buf_view(&codec->stamp));
    buf_str(out, codec->stamp.len > 0 ? STR(",\"change\":[") : STR("\"change\":["));
}

static void finish(void *state, Buf *out)
{
    Wal2json *codec = state;
    if (codec->is_open) {
        codec->is_open = false;
        buf_str(out, STR("]}\n"));
    }
}

// A comma before each but the first; cut off by the caller.
static void separate(Buf *out, size_t start)
{
    if (out->len > start) {
        buf_char(out, ',');
    }
}

// In keys there are no nulls.
static bool is_listed(const Change *change, Wal2jsonRow row, uint16_t i)
{
    return wal2json_has_column(change, row, i) &&
           (row != WAL2JSON_IDENTITY || wal2json_column(change, row, i).state != VALUE_NULL);
}

static void write_list(const Change *change, Wal2jsonRow row, const Str *texts, Buf *out)
{
    size_t start = out->len;
    for (uint16_t i = 0; i < change->relation->column_count; i++) {
        if (is_listed(change, row, i)) {
            separate(out, start);
            buf_str(out, texts[i]);
        }
    }
}

static Status write_values(const Change *change, Wal2jsonRow row, Buf *out, Error *err)
{
    size_t start = out->len;
    for (uint16_t i = 0; i < change->relation->column_count; i++) {
        if (!is_listed(change, row, i)) {
            continue;
        }
        separate(out, start);
        Value value = wal2json_column(change, row, i);
        if (wal2json_value(change->relation, i, value, out, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// ,"columnnames":["id"],"columntypes":["integer"],"columnvalues":[1]
static Status write_columns(const Wal2jsonShape *shape, const Change *change, Buf *out, Error *err)
{
    buf_str(out, STR(",\"columnnames\":["));
    write_list(change, WAL2JSON_NEW, shape->names, out);
    buf_str(out, STR("],\"columntypes\":["));
    write_list(change, WAL2JSON_NEW, shape->types, out);
    buf_str(out, STR("],\"columnvalues\":["));
    if (write_values(change, WAL2JSON_NEW, out, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_char(out, ']');
    return STATUS_OK;
}

static Status write_keys(const Wal2jsonShape *shape, const Change *change, Buf *out, Error *err)
{
    buf_str(out, STR(",\"oldkeys\":{\"keynames\":["));
    write_list(change, WAL2JSON_IDENTITY, shape->names, out);
    buf_str(out, STR("],\"keytypes\":["));
    write_list(change, WAL2JSON_IDENTITY, shape->types, out);
    buf_str(out, STR("],\"keyvalues\":["));
    if (write_values(change, WAL2JSON_IDENTITY, out, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_str(out, STR("]}"));
    return STATUS_OK;
}

static void write_pk(const Wal2jsonShape *shape, const Change *change, Buf *out)
{
    buf_str(out, STR(",\"pk\":{\"pknames\":["));
    write_list(change, WAL2JSON_PK, shape->names, out);
    buf_str(out, STR("],\"pktypes\":["));
    write_list(change, WAL2JSON_PK, shape->types, out);
    buf_str(out, STR("]}"));
}

static Str kind_of(ChangeOp op)
{
    switch (op) {
    case CHANGE_UPDATE:
        return STR("update");
    case CHANGE_DELETE:
        return STR("delete");
    default:
        return STR("insert");
    }
}

static Status write_row(Wal2json *codec, const Change *change, Buf *out, Error *err)
{
    const Wal2jsonShape *shape;
    if (wal2json_shape(codec, change->relation, &shape, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_str(out, STR("{\"kind\":\""));
    buf_str(out, kind_of(change->op));
    buf_str(out, STR("\","));
    buf_str(out, shape->table);
    if (change->op != CHANGE_DELETE && write_columns(shape, change, out, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (codec->options->include_pk && wal2json_has_pk(change->relation)) {
        write_pk(shape, change, out);
    }
    if ((change->op == CHANGE_UPDATE || change->op == CHANGE_DELETE) &&
        write_keys(shape, change, out, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_char(out, '}');
    return STATUS_OK;
}

static Status write_message(const LogicalMessage *message, Buf *out, Error *err)
{
    buf_str(out, message->transactional ? STR("{\"kind\":\"message\",\"transactional\":true,")
                                        : STR("{\"kind\":\"message\",\"transactional\":false,"));
    if (wal2json_message(message, out, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_char(out, '}');
    return STATUS_OK;
}

static Status write_change(Wal2json *codec, const Change *change, Buf *out, Error *err)
{
    return change->op == CHANGE_MESSAGE ? write_message(change->message, out, err)
                                        : write_row(codec, change, out, err);
}

static Status write_alone(Wal2json *codec, const Change *change, Buf *out, Error *err)
{
    finish(codec, out);
    buf_str(out, STR("{\"change\":["));
    if (write_change(codec, change, out, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_str(out, STR("]}\n"));
    return STATUS_OK;
}

static Status encode(void *state, const Change *change, Buf *out, Error *err)
{
    Wal2json *codec = state;
    if (change->op == CHANGE_SCHEMA) {
        return STATUS_OK; // the plugin has no such event
    }
    if (!wal2json_is_transactional(change)) {
        return write_alone(codec, change, out, err);
    }
    if (codec->is_open && !transaction_is_same(&codec->transaction, change->transaction)) {
        finish(codec, out);
    }
    if (!codec->is_open) {
        begin(codec, change, out);
    }
    if (change->op == CHANGE_TRUNCATE) {
        return STATUS_OK; // the plugin writes none in this version, but the transaction
    }
    if (codec->has_changes) {
        buf_char(out, ',');
    }
    codec->has_changes = true;
    return write_change(codec, change, out, err);
}

const Codec wal2json1_codec = {
    .name = "wal2json1",
    .state_size = sizeof(Wal2json),
    .init = wal2json_init,
    .encode = encode,
    .finish = finish,
    .describe_column = wal2json_describe_column,
    .done = wal2json_done,
};
