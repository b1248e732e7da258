// Changes of any values, names and types in every format: a format says that it cannot have them,
// or writes lines of which each is JSON.
//
// The first byte is the format, then come the table's name and its columns (type, name), then
// changes: what happened, and a value for each column. Texts have their length in front.
#include "base/reader.h"
#include "codec/codec.h"
#include "codec/json.h"
#include "fuzz.h"

static const uint32_t types[] = {
    OID_BOOL, OID_INT2,      OID_INT8,        OID_FLOAT4, OID_FLOAT8, OID_NUMERIC,
    OID_TEXT, OID_BYTEA,     OID_DATE,        OID_JSON,   OID_JSONB,  OID_UUID,
    OID_OID,  OID_TIMESTAMP, OID_TIMESTAMPTZ, 0,
};

enum { COLUMNS_MAX = 4, CHANGES_MAX = 64 };

static const Transaction transactions[] = {
    {.commit_lsn = 0x16B374D848, .xid = 742, .commit_time_us = 1700000000000000},
    {.commit_lsn = 0x16B374D948, .xid = 743, .origin = {"other\"\xff", 7}},
};

static Str text_of(Reader *in)
{
    uint8_t len = 0;
    Str text = {"", 0};
    if (reader_u8(in, &len)) {
        (void)(reader_bytes(in, MIN(len, reader_left(in)), &text) ? 0 : 1);
    }
    return text;
}

static Column column_of(Reader *in, uint8_t first)
{
    uint32_t oid = types[first % ARRAY_LEN(types)];
    Str name = text_of(in);
    return (Column){.name = name,
                    .attnum = 1,
                    .type_oid = oid,
                    .typmod = -1,
                    .type_name = name,
                    .base_type_oid = oid,
                    .base_typmod = -1,
                    .base_type_name = name,
                    .kind = (TypeKind)(first / ARRAY_LEN(types) % (TYPE_KIND_OTHER + 1)),
                    .type = type_class(oid),
                    .is_identity = (first & 1) != 0};
}

static Value value_of(Reader *in)
{
    uint8_t state = VALUE_NULL;
    if (!reader_u8(in, &state) || state % 8 == VALUE_NULL) {
        return (Value){.state = VALUE_NULL};
    }
    if (state % 8 == VALUE_ABSENT || state % 8 == VALUE_UNCHANGED) {
        return (Value){.state = (ValueState)(state % 8)};
    }
    Str text = text_of(in);
    return (Value){text.ptr, (uint32_t)text.len,
                   state % 8 == VALUE_BINARY ? VALUE_BINARY : VALUE_TEXT};
}

static void check_lines(Str text)
{
    Buf line_again = {.max = SIZE_MAX / 2};
    Str line;
    while (str_split(&text, '\n', &line)) {
        buf_reset(&line_again);
        // Behind the last line there is nothing.
        FUZZ_CHECK(text.ptr != NULL ? json_embed(&line_again, line) : line.len == 0);
    }
    buf_done(&line_again);
}

static bool encode(Reader *in, Encoder *encoder, const Relation *relation, size_t number, Buf *out)
{
    uint8_t op = 0;
    Value old_row[COLUMNS_MAX];
    Value new_row[COLUMNS_MAX];
    (void)(reader_u8(in, &op) ? 0 : 1);
    LogicalMessage message = {.prefix = {"p", 1}, .lsn = 1, .transactional = (op & 8) != 0};
    Change change = {.op = (ChangeOp)(op % (CHANGE_SCHEMA + 1)),
                     .transaction = &transactions[op >> 7],
                     .ordinal = number};
    if (change.op == CHANGE_MESSAGE) {
        message.prefix = text_of(in);
        message.content = text_of(in);
        change.message = &message;
    } else {
        bool has_old = (change.op == CHANGE_UPDATE && (op & 64) != 0) || change.op == CHANGE_DELETE;
        bool has_new = change.op <= CHANGE_UPDATE;
        for (uint16_t i = 0; i < relation->column_count; i++) {
            old_row[i] = has_old ? value_of(in) : (Value){0};
            new_row[i] = has_new ? value_of(in) : (Value){0};
        }
        change.relation = relation;
        change.old_row = has_old ? old_row : NULL;
        change.new_row = has_new ? new_row : NULL;
    }
    Error err = {0};
    if (encoder_encode(encoder, &change, out, &err) != STATUS_OK) {
        FUZZ_CHECK((err.kind == ERROR_DATA || err.kind == ERROR_FATAL) && err.message[0] != '\0');
        return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Reader in = reader_from(data, size);
    uint8_t form = 0;
    uint8_t first;
    Column columns[COLUMNS_MAX];
    uint16_t key[] = {0};
    (void)(reader_u8(&in, &form) ? 0 : 1);
    Relation relation = {.oid = 1,
                         .schema = STR("public"),
                         .identity = IDENTITY_DEFAULT,
                         .columns = columns,
                         .key = key};
    relation.name = text_of(&in);
    while (relation.column_count < 1 + (form >> 6) && reader_u8(&in, &first)) {
        columns[relation.column_count++] = column_of(&in, first);
    }
    relation.key_count = relation.column_count > 0 && (form & 32) != 0 ? 1 : 0;
    relation.key_is_primary = true;
    CodecOptions options = {.format = form % 3 == 0 ? 0 : 1,
                            .version = form % 3,
                            .include_xids = (form & 4) != 0,
                            .include_timestamp = (form & 8) != 0,
                            .include_pk = (form & 16) != 0,
                            .include_transaction = (form & 4) == 0};
    if (relation.column_count == 0 || codec_options_check(&options, NULL) != STATUS_OK) {
        return 0;
    }
    Arena arena = {0};
    Encoder encoder = {0};
    Buf out = {.max = 64 << 20};
    encoder_init(&encoder, &options, &arena);
    bool is_fine = true;
    for (size_t i = 1; is_fine && i <= CHANGES_MAX && reader_left(&in) > 0; i++) {
        is_fine = encode(&in, &encoder, &relation, i, &out);
    }
    if (is_fine) {
        encoder_finish(&encoder, &out);
        check_lines(buf_view(&out));
    }
    encoder_done(&encoder);
    arena_done(&arena);
    buf_done(&out);
    return 0;
}
