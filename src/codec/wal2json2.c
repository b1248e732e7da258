// Format wal2json, version 2: one object a line for each change, and for the begin and the commit
// of a transaction.
#include "codec/formats.h"
#include "codec/wal2json.h"

static void write_action(char action, Buf *out)
{
    buf_str(out, STR("{\"action\":\""));
    buf_char(out, action);
    buf_char(out, '"');
}

static void write_stamp(const Wal2json *codec, Buf *out)
{
    if (codec->stamp.len > 0) {
        buf_char(out, ',');
        buf_str(out, buf_view(&codec->stamp));
    }
}

// What stands outside of transactions has no transaction id and no time of its own.
static void write_no_stamp(const Wal2json *codec, Buf *out)
{
    buf_str(out, codec->options->include_xids ? STR(",\"xid\":null") : STR(""));
    buf_str(out, codec->options->include_timestamp ? STR(",\"timestamp\":null") : STR(""));
}

static void write_mark(const Wal2json *codec, char action, Buf *out)
{
    if (codec->options->include_transaction) {
        write_action(action, out);
        write_stamp(codec, out);
        buf_str(out, STR("}\n"));
    }
}

static void finish(void *state, Buf *out)
{
    Wal2json *codec = state;
    if (codec->is_open) {
        codec->is_open = false;
        write_mark(codec, 'C', out);
    }
}

static Status write_column(const Wal2jsonShape *shape, const Change *change, Wal2jsonRow row,
                           uint16_t i, Buf *out, Error *err)
{
    buf_str(out, STR("{\"name\":"));
    buf_str(out, shape->names[i]);
    buf_str(out, STR(",\"type\":"));
    buf_str(out, shape->types[i]);
    if (row != WAL2JSON_PK) {
        buf_str(out, STR(",\"value\":"));
        Value value = wal2json_column(change, row, i);
        if (wal2json_value(shape->relation, i, value, out, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    buf_char(out, '}');
    return STATUS_OK;
}

static Status write_columns(const Wal2jsonShape *shape, const Change *change, Wal2jsonRow row,
                            Buf *out, Error *err)
{
    static const char *const members[] = {
        [WAL2JSON_NEW] = ",\"columns\":[",
        [WAL2JSON_IDENTITY] = ",\"identity\":[",
        [WAL2JSON_PK] = ",\"pk\":[",
    };
    buf_cstr(out, members[row]);
    size_t start = out->len;
    for (uint16_t i = 0; i < shape->relation->column_count; i++) {
        if (!wal2json_has_column(change, row, i)) {
            continue;
        }
        if (out->len > start) {
            buf_char(out, ',');
        }
        if (write_column(shape, change, row, i, out, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    buf_char(out, ']');
    return STATUS_OK;
}

static bool has_identity(const Change *change)
{
    return change->op == CHANGE_UPDATE || change->op == CHANGE_DELETE;
}

static Status write_row(Wal2json *codec, const Wal2jsonShape *shape, const Change *change, Buf *out,
                        Error *err)
{
    if (change->op != CHANGE_DELETE &&
        write_columns(shape, change, WAL2JSON_NEW, out, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (has_identity(change) &&
        write_columns(shape, change, WAL2JSON_IDENTITY, out, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return codec->options->include_pk ? write_columns(shape, change, WAL2JSON_PK, out, err)
                                      : STATUS_OK;
}

static Status write_message(const LogicalMessage *message, Buf *out, Error *err)
{
    buf_str(out, message->transactional ? STR(",\"transactional\":true,")
                                        : STR(",\"transactional\":false,"));
    return wal2json_message(message, out, err);
}

static char action_of(ChangeOp op)
{
    switch (op) {
    case CHANGE_UPDATE:
        return 'U';
    case CHANGE_DELETE:
        return 'D';
    case CHANGE_TRUNCATE:
        return 'T';
    case CHANGE_MESSAGE:
        return 'M';
    default:
        return 'I';
    }
}

static Status write_change(Wal2json *codec, const Change *change, Buf *out, Error *err)
{
    if (change->op == CHANGE_MESSAGE) {
        return write_message(change->message, out, err);
    }
    const Wal2jsonShape *shape;
    if (wal2json_shape(codec, change->relation, &shape, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_char(out, ',');
    buf_str(out, shape->table);
    return change->op == CHANGE_TRUNCATE ? STATUS_OK : write_row(codec, shape, change, out, err);
}

static void follow_transaction(Wal2json *codec, const Change *change, Buf *out)
{
    bool is_part = wal2json_is_transactional(change);
    if (!is_part ||
        (codec->is_open && !transaction_is_same(&codec->transaction, change->transaction))) {
        finish(codec, out);
    }
    if (is_part && !codec->is_open) {
        wal2json_open(codec, change->transaction);
        write_mark(codec, 'B', out);
    }
}

static Status encode(void *state, const Change *change, Buf *out, Error *err)
{
    Wal2json *codec = state;
    if (change->op == CHANGE_SCHEMA) {
        return STATUS_OK; // the plugin has no such event
    }
    follow_transaction(codec, change, out);
    write_action(action_of(change->op), out);
    if (codec->is_open) {
        write_stamp(codec, out);
    } else {
        write_no_stamp(codec, out);
    }
    if (write_change(codec, change, out, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_str(out, STR("}\n"));
    return STATUS_OK;
}

const Codec wal2json2_codec = {
    .name = "wal2json2",
    .state_size = sizeof(Wal2json),
    .init = wal2json_init,
    .encode = encode,
    .finish = finish,
    .describe_column = wal2json_describe_column,
    .done = wal2json_done,
};
