// The pgoutput decoder: every message from bytes made by hand, the properties that hold for all of
// them, hostile counts, and what real servers sent (the fuzz corpus).
#include <dirent.h>
#include <stdio.h>

#include "base/limits.h"
#include "change/change.h"
#include "pg/pgoutput.h"
#include "pg/pgoutput_encoder.h"
#include "unit.h"

static const PgoutputContext plain = {.protocol_version = 1};
static const PgoutputContext between = {.protocol_version = 2};
static const PgoutputContext segment = {.protocol_version = 2, .in_stream = true};
static const PgoutputContext parallel = {.protocol_version = 4, .streaming_parallel = true};

/** A valid message, and where in a stream it is one. */
typedef struct Sample {
    const char *name;
    const PgoutputContext *context;
    const uint8_t *bytes;
    size_t len;
} Sample;

// clang-format off: one field a line, as on the wire.

// 2000-01-01 00:00:00.000001 is microsecond 946684800000001.
static const uint8_t begin_bytes[] = {
    'B', 0, 0, 0,    0x16, 0xb3, 0x74, 0xd8, 0x48, // commit record
    0,   0, 0, 0,    0,    0,    0,    1,          // commit time
    0,   0, 2, 0xe6,                               // xid 742
};

static const uint8_t commit_bytes[] = {
    'C',
    0,                                              // flags
    0,    0,    0,    0x16, 0xb3, 0x74, 0xd8, 0x48, // commit record
    0,    0,    0,    0x16, 0xb3, 0x74, 0xd8, 0x78, // its end
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // one microsecond before 2000
};

static const uint8_t origin_bytes[] = {
    'O', 0,   0,   0,   1,   0, 0, 0x23, 0x45, // commit record there
    'n', 'o', 'r', 't', 'h', 0,
};

static const uint8_t relation_bytes[] = {
    'R', 0,   0,   0x40, 0x01,                                              // oid 16385
    's', 'h', 'o', 'p',  0,    'o', '.', '"', 0xc3, 0xa4, 0,    'd',  0, 2, // columns
    1,   'i', 'd', 0,    0,    0,   0,   20,  0xff, 0xff, 0xff, 0xff, 0, 'n',
    0,   0,   0,   4,    0x13, 0,   0,   0,   34, // varchar(30)
};

static const uint8_t relation_catalog_bytes[] = {
    'R', 0, 0, 4, 0xeb, 0, 'p', 0, 'f', 0, 0,
};

static const uint8_t relation_segment_bytes[] = {
    'R', 0, 0, 2,   0xe7, 0, 0, 0x40, 0x01, 's',  0,    't',  0,    'i',
    0,   1, 1, 'a', 0,    0, 0, 0,    23,   0xff, 0xff, 0xff, 0xff,
};

static const uint8_t type_bytes[] = {
    'Y', 0, 0, 0x40, 0x10, 's', 'h', 'o', 'p', 0, 'm', 'o', 'o', 'd', 0,
};

static const uint8_t type_segment_bytes[] = {
    'Y', 0, 0, 2, 0xe7, 0, 0, 0x40, 0x10, 0, 'i', 'n', 't', '4', 0,
};

static const uint8_t insert_bytes[] = {
    'I', 0,   0, 0x40, 0x01, 'N', 0, 5,   't',  0,   0, 0, 2, '4', '2', 'n',
    'u', 'b', 0, 0,    0,    3,   0, 'b', 0xff, 't', 0, 0, 0, 0, // the empty text is not NULL
};

static const uint8_t insert_empty_bytes[] = {'I', 0, 0, 0x40, 0x01, 'N', 0, 0};

static const uint8_t insert_segment_bytes[] = {
    'I', 0, 0, 2, 0xe7, 0, 0, 0x40, 0x01, 'N', 0, 1, 'b', 0, 0, 0, 4, 0, 0, 0, 7,
};

static const uint8_t update_bytes[] = {
    'U', 0, 0, 0x40, 0x01, 'N', 0, 2, 't', 0, 0, 0, 1, '1', 'u',
};

static const uint8_t update_key_bytes[] = {
    'U', 0,   0,   0x40, 0x01, 'K', 0, 2, 't', 0, 0,   0,   1,
    '1', 'n', 'N', 0,    2,    't', 0, 0, 0,   1, '2', 'u',
};

static const uint8_t update_full_bytes[] = {
    'U', 0, 0, 0x40, 0x01, 'O', 0, 1, 'b', 0, 0, 0, 2, 1, 2, 'N', 0, 1, 'n',
};

static const uint8_t update_segment_bytes[] = {
    'U', 0, 0, 2,   0xe7, 0, 0, 0x40, 0x01, 'O', 0, 1, 't', 0,
    0,   0, 1, 'x', 'N',  0, 1, 't',  0,    0,   0, 1, 'y',
};

static const uint8_t delete_bytes[] = {
    'D', 0, 0, 0x40, 0x01, 'K', 0, 2, 't', 0, 0, 0, 1, '1', 'n',
};

static const uint8_t delete_segment_bytes[] = {
    'D', 0, 0, 2, 0xe7, 0, 0, 0x40, 0x01, 'O', 0, 1, 't', 0, 0, 0, 1, '1',
};

static const uint8_t truncate_bytes[] = {
    'T', 0, 0, 0, 2, 3, 0, 0, 0x40, 0x01, 0, 0, 0x40, 0x02,
};

static const uint8_t truncate_segment_bytes[] = {
    'T', 0, 0, 2, 0xe7, 0, 0, 0, 1, 0, 0, 0, 0x40, 0x01,
};

static const uint8_t message_bytes[] = {
    'M',
    0,                                           // not transactional
    0,   0,   0,   0x16, 0xb3, 0x74, 0xd8, 0x48, // its own position
    'w', 'e', 'i', 'r',  0,    0,    0,    0,    3, 'a', 0, 0xff,
};

static const uint8_t message_segment_bytes[] = {
    'M', 0, 0, 2, 0xe7, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0,
};

static const uint8_t stream_start_bytes[] = {'S', 0, 0, 2, 0xe6, 1};
static const uint8_t stream_stop_bytes[] = {'E'};

static const uint8_t stream_commit_bytes[] = {
    'c', 0, 0, 2, 0xe6, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2,
};

static const uint8_t stream_abort_bytes[] = {'A', 0, 0, 2, 0xe6, 0, 0, 2, 0xe7};

static const uint8_t stream_abort_parallel_bytes[] = {
    'A', 0, 0, 2, 0xe6, 0, 0, 2, 0xe7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3,
};

#define SAMPLE(name, context)                                 \
    {                                                         \
#        name, &(context), name##_bytes, sizeof(name##_bytes) \
    }
static const Sample samples[] = {
    SAMPLE(begin, plain),
    SAMPLE(commit, plain),
    SAMPLE(origin, plain),
    SAMPLE(relation, plain),
    SAMPLE(relation_catalog, plain),
    SAMPLE(relation_segment, segment),
    SAMPLE(type, plain),
    SAMPLE(type_segment, segment),
    SAMPLE(insert, plain),
    SAMPLE(insert_empty, plain),
    SAMPLE(insert_segment, segment),
    SAMPLE(update, plain),
    SAMPLE(update_key, plain),
    SAMPLE(update_full, plain),
    SAMPLE(update_segment, segment),
    SAMPLE(delete, plain),
    SAMPLE(delete_segment, segment),
    SAMPLE(truncate, plain),
    SAMPLE(truncate_segment, segment),
    SAMPLE(message, plain),
    SAMPLE(message_segment, segment),
    SAMPLE(stream_start, between),
    SAMPLE(stream_stop, segment),
    SAMPLE(stream_commit, between),
    SAMPLE(stream_abort, between),
    SAMPLE(stream_abort_parallel, parallel),
};
// clang-format on

static Arena arena;
static Error err;
static char *received; // the message of the last decode()

static int reset(void **state)
{
    (void)state;
    arena_done(&arena);
    mem_free(received);
    received = NULL;
    return 0;
}

// The message is copied into memory of exactly its size, so that the address sanitizer sees the
// first byte read behind it. The result is valid until the next call.
static Status decode(const PgoutputContext *context, const void *bytes, size_t len,
                     PgoutputMessage *ret)
{
    mem_free(received);
    received = mem_alloc(len);
    memcpy(received, bytes, len);
    err = (Error){0};
    return pgoutput_decode(context, (Str){received, len}, &arena, ret, &err);
}

#define ACCEPT(name, context) accept(&(context), name##_bytes, sizeof(name##_bytes))
static PgoutputMessage accept(const PgoutputContext *context, const void *bytes, size_t len)
{
    PgoutputMessage message;
    if (decode(context, bytes, len, &message) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
    return message;
}

// Refused as ERROR_DATA, the caller's struct as it was.
static void refuse(const PgoutputContext *context, const void *bytes, size_t len)
{
    PgoutputMessage message;
    PgoutputMessage untouched;
    memset(&message, 0xa5, sizeof(message));
    memset(&untouched, 0xa5, sizeof(untouched));
    if (decode(context, bytes, len, &message) != STATUS_FAIL) {
        fail_msg("a message of %zu bytes was accepted", len);
    }
    assert_int_equal(err.kind, ERROR_DATA);
    assert_memory_equal(&message, &untouched, sizeof(message));
}

#define REFUSE(context, says, ...)                              \
    do {                                                        \
        const uint8_t refuse_bytes[] = {__VA_ARGS__};           \
        refuse(&(context), refuse_bytes, sizeof(refuse_bytes)); \
        assert_string_equal(err.message, says);                 \
    } while (0)

static void assert_str(Str text, const char *expected)
{
    if (!str_is(text, expected)) {
        fail_msg("\"%" STR_FMT "\" is not \"%s\"", STR_ARG(text), expected);
    }
}

static void assert_value(Value value, ValueState state, const char *bytes, size_t len)
{
    assert_int_equal(value.state, state);
    assert_int_equal(value.len, len);
    if (len > 0) {
        assert_memory_equal(value.ptr, bytes, len);
    }
}

static void test_begin(void **state)
{
    PgoutputMessage message = ACCEPT(begin, plain);
    assert_int_equal(message.kind, PGOUTPUT_BEGIN);
    assert_int_equal(message.xid, 0);
    assert_int_equal(message.begin.commit_lsn, 0x16b374d848);
    assert_int_equal(message.begin.commit_time_us, 946684800000001);
    assert_int_equal(message.begin.xid, 742);
}

static void test_commit(void **state)
{
    PgoutputMessage message = ACCEPT(commit, plain);
    assert_int_equal(message.kind, PGOUTPUT_COMMIT);
    assert_int_equal(message.commit.commit_lsn, 0x16b374d848);
    assert_int_equal(message.commit.end_lsn, 0x16b374d878);
    assert_int_equal(message.commit.commit_time_us, 946684799999999);
    assert_int_equal(message.commit.xid, 0);
}

static void test_origin(void **state)
{
    PgoutputMessage message = ACCEPT(origin, plain);
    assert_int_equal(message.kind, PGOUTPUT_ORIGIN);
    assert_int_equal(message.origin.commit_lsn, 0x100002345);
    assert_str(message.origin.name, "north");
    // Inside a segment too, and without a transaction id there.
    message = ACCEPT(origin, segment);
    assert_int_equal(message.xid, 0);
}

static void test_relation(void **state)
{
    PgoutputMessage message = ACCEPT(relation, plain);
    const PgoutputRelation *relation = &message.relation;
    assert_int_equal(message.kind, PGOUTPUT_RELATION);
    assert_int_equal(message.xid, 0);
    assert_int_equal(relation->oid, 16385);
    assert_str(relation->schema, "shop");
    assert_str(relation->name, "o.\"ä");
    assert_int_equal(relation->identity, IDENTITY_DEFAULT);
    assert_int_equal(relation->column_count, 2);
    assert_str(relation->columns[0].name, "id");
    assert_int_equal(relation->columns[0].type_oid, OID_INT8);
    assert_int_equal(relation->columns[0].typmod, -1);
    assert_true(relation->columns[0].is_key);
    assert_str(relation->columns[1].name, "n");
    assert_int_equal(relation->columns[1].type_oid, OID_VARCHAR);
    assert_int_equal(relation->columns[1].typmod, 34);
    assert_false(relation->columns[1].is_key);
}

static void test_relation_forms(void **state)
{
    PgoutputMessage message = ACCEPT(relation_catalog, plain);
    assert_str(message.relation.schema, "pg_catalog");
    assert_int_equal(message.relation.identity, IDENTITY_FULL);
    assert_int_equal(message.relation.column_count, 0);

    message = ACCEPT(relation_segment, segment);
    assert_int_equal(message.xid, 743);
    assert_int_equal(message.relation.oid, 16385);
    assert_int_equal(message.relation.identity, IDENTITY_INDEX);
}

static void test_type(void **state)
{
    PgoutputMessage message = ACCEPT(type, plain);
    assert_int_equal(message.kind, PGOUTPUT_TYPE);
    assert_int_equal(message.type.oid, 16400);
    assert_str(message.type.schema, "shop");
    assert_str(message.type.name, "mood");

    message = ACCEPT(type_segment, segment);
    assert_int_equal(message.xid, 743);
    assert_str(message.type.schema, "pg_catalog");
    assert_str(message.type.name, "int4");
}

static void test_insert(void **state)
{
    PgoutputMessage message = ACCEPT(insert, plain);
    const PgoutputRow *row = &message.row;
    assert_int_equal(message.kind, PGOUTPUT_INSERT);
    assert_int_equal(message.xid, 0);
    assert_int_equal(row->relation_oid, 16385);
    assert_int_equal(row->old_kind, 0);
    assert_int_equal(row->old_tuple.count, 0);
    assert_int_equal(row->new_tuple.count, 5);
    assert_value(row->new_tuple.values[0], VALUE_TEXT, "42", 2);
    assert_value(row->new_tuple.values[1], VALUE_NULL, NULL, 0);
    assert_value(row->new_tuple.values[2], VALUE_UNCHANGED, NULL, 0);
    assert_value(row->new_tuple.values[3], VALUE_BINARY, "\0b\xff", 3);
    assert_value(row->new_tuple.values[4], VALUE_TEXT, "", 0);
    // Borrowed, not copied.
    assert_ptr_equal(row->new_tuple.values[0].ptr, received + 13);

    message = ACCEPT(insert_empty, plain);
    assert_int_equal(message.row.new_tuple.count, 0);

    message = ACCEPT(insert_segment, segment);
    assert_int_equal(message.xid, 743);
    assert_int_equal(message.row.relation_oid, 16385);
    assert_value(message.row.new_tuple.values[0], VALUE_BINARY, "\0\0\0\x07", 4);
}

static void test_update(void **state)
{
    PgoutputMessage message = ACCEPT(update, plain);
    assert_int_equal(message.kind, PGOUTPUT_UPDATE);
    assert_int_equal(message.row.old_kind, 0);
    assert_value(message.row.new_tuple.values[0], VALUE_TEXT, "1", 1);
    assert_value(message.row.new_tuple.values[1], VALUE_UNCHANGED, NULL, 0);

    message = ACCEPT(update_key, plain);
    assert_int_equal(message.row.old_kind, 'K');
    assert_int_equal(message.row.old_tuple.count, 2);
    assert_value(message.row.old_tuple.values[0], VALUE_TEXT, "1", 1);
    assert_value(message.row.old_tuple.values[1], VALUE_NULL, NULL, 0);
    assert_value(message.row.new_tuple.values[0], VALUE_TEXT, "2", 1);

    message = ACCEPT(update_full, plain);
    assert_int_equal(message.row.old_kind, 'O');
    assert_value(message.row.old_tuple.values[0], VALUE_BINARY, "\1\2", 2);
    assert_value(message.row.new_tuple.values[0], VALUE_NULL, NULL, 0);

    message = ACCEPT(update_segment, segment);
    assert_int_equal(message.xid, 743);
    assert_value(message.row.old_tuple.values[0], VALUE_TEXT, "x", 1);
    assert_value(message.row.new_tuple.values[0], VALUE_TEXT, "y", 1);
}

static void test_delete(void **state)
{
    PgoutputMessage message = ACCEPT(delete, plain);
    assert_int_equal(message.kind, PGOUTPUT_DELETE);
    assert_int_equal(message.row.old_kind, 'K');
    assert_int_equal(message.row.old_tuple.count, 2);
    assert_value(message.row.old_tuple.values[0], VALUE_TEXT, "1", 1);
    assert_int_equal(message.row.new_tuple.count, 0);

    message = ACCEPT(delete_segment, segment);
    assert_int_equal(message.xid, 743);
    assert_int_equal(message.row.old_kind, 'O');
}

static void test_truncate(void **state)
{
    PgoutputMessage message = ACCEPT(truncate, plain);
    assert_int_equal(message.kind, PGOUTPUT_TRUNCATE);
    assert_int_equal(message.truncate.flags, TRUNCATE_CASCADE | TRUNCATE_RESTART_IDENTITY);
    assert_int_equal(message.truncate.count, 2);
    assert_int_equal(message.truncate.relation_oids[0], 16385);
    assert_int_equal(message.truncate.relation_oids[1], 16386);

    message = ACCEPT(truncate_segment, segment);
    assert_int_equal(message.xid, 743);
    assert_int_equal(message.truncate.flags, 0);
    assert_int_equal(message.truncate.count, 1);
}

static void test_message(void **state)
{
    PgoutputMessage message = ACCEPT(message, plain);
    assert_int_equal(message.kind, PGOUTPUT_MESSAGE);
    assert_false(message.message.transactional);
    assert_int_equal(message.message.lsn, 0x16b374d848);
    assert_str(message.message.prefix, "weir");
    assert_true(str_equal(message.message.content, STR("a\0\xff")));

    message = ACCEPT(message_segment, segment);
    assert_int_equal(message.xid, 743);
    assert_true(message.message.transactional);
    assert_str(message.message.prefix, "");
    assert_int_equal(message.message.content.len, 0);
}

static void test_stream_messages(void **state)
{
    PgoutputMessage message = ACCEPT(stream_start, between);
    assert_int_equal(message.kind, PGOUTPUT_STREAM_START);
    assert_int_equal(message.stream_start.xid, 742);
    assert_true(message.stream_start.is_first);

    message = ACCEPT(stream_stop, segment);
    assert_int_equal(message.kind, PGOUTPUT_STREAM_STOP);

    message = ACCEPT(stream_commit, between);
    assert_int_equal(message.kind, PGOUTPUT_STREAM_COMMIT);
    assert_int_equal(message.commit.xid, 742);
    assert_int_equal(message.commit.commit_lsn, 0x100000000);
    assert_int_equal(message.commit.end_lsn, 0x100000008);
    assert_int_equal(message.commit.commit_time_us, 946684800000002);

    message = ACCEPT(stream_abort, between);
    assert_int_equal(message.kind, PGOUTPUT_STREAM_ABORT);
    assert_int_equal(message.stream_abort.xid, 742);
    assert_int_equal(message.stream_abort.subxid, 743);
    assert_int_equal(message.stream_abort.abort_lsn, LSN_NONE);
    assert_int_equal(message.stream_abort.abort_time_us, 0);

    message = ACCEPT(stream_abort_parallel, parallel);
    assert_int_equal(message.stream_abort.xid, 742);
    assert_int_equal(message.stream_abort.subxid, 743);
    assert_int_equal(message.stream_abort.abort_lsn, 0x100000000);
    assert_int_equal(message.stream_abort.abort_time_us, 946684800000003);

    // Which form it has is not told by the protocol version, but by what was asked for.
    const PgoutputContext not_parallel = {.protocol_version = 4};
    message = ACCEPT(stream_abort, not_parallel);
    assert_int_equal(message.stream_abort.subxid, 743);
}

// No strict prefix of a valid message is one.
static void test_every_prefix_is_refused(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        for (size_t len = 0; len < samples[i].len; len++) {
            refuse(samples[i].context, samples[i].bytes, len);
        }
    }
}

static void test_leftover_bytes_are_refused(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        uint8_t longer[256] = {0};
        memcpy(longer, samples[i].bytes, samples[i].len);
        refuse(samples[i].context, longer, samples[i].len + 1);
        assert_non_null(strstr(err.message, "1 bytes are left over"));
        refuse(samples[i].context, longer, sizeof(longer));
    }
}

static void assert_encodes_to(const PgoutputContext *context, const PgoutputMessage *message,
                              Str expected)
{
    Buf again;
    buf_init(&again, LIMIT_TEXT_BYTES);
    encode_pgoutput(&again, context, message);
    assert_int_equal(again.len, expected.len);
    assert_memory_equal(again.ptr, expected.ptr, expected.len);
    buf_done(&again);
}

static void test_decode_then_encode(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        PgoutputMessage message = accept(samples[i].context, samples[i].bytes, samples[i].len);
        assert_encodes_to(samples[i].context, &message,
                          (Str){(const char *)samples[i].bytes, samples[i].len});
    }
}

// xorshift64: the same rows in every run.
static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % limit;
}

static PgoutputTuple random_tuple(void)
{
    static const char bytes[] = "\0any bytes \xff\xfe 0123456789";
    uint16_t count = (uint16_t)random_below(random_below(20) == 0 ? LIMIT_COLUMNS + 1 : 12);
    Value *values = ARENA_ARRAY(&arena, Value, count);
    for (uint16_t i = 0; i < count; i++) {
        values[i].state = (ValueState)(VALUE_NULL + random_below(4));
        if (value_is_data(values[i])) {
            values[i].ptr = bytes;
            values[i].len = random_below(sizeof(bytes));
        }
    }
    return (PgoutputTuple){count, values};
}

static PgoutputMessage random_row(const PgoutputContext *context)
{
    static const char kinds[] = {PGOUTPUT_INSERT, PGOUTPUT_UPDATE, PGOUTPUT_DELETE};
    PgoutputMessage message = {.kind = (PgoutputKind)kinds[random_below(3)]};
    message.xid = context->in_stream ? 1 + random_below(UINT32_MAX - 1) : 0;
    message.row.relation_oid = random_below(UINT32_MAX);
    if (message.kind != PGOUTPUT_INSERT) {
        message.row.old_kind = random_below(2) == 0 ? 'K' : 'O';
        message.row.old_tuple = random_tuple();
    }
    if (message.kind == PGOUTPUT_UPDATE && random_below(2) == 0) {
        message.row.old_kind = 0;
        message.row.old_tuple = (PgoutputTuple){0};
    }
    if (message.kind != PGOUTPUT_DELETE) {
        message.row.new_tuple = random_tuple();
    }
    return message;
}

static void assert_tuples_equal(PgoutputTuple a, PgoutputTuple b)
{
    assert_int_equal(a.count, b.count);
    for (uint16_t i = 0; i < a.count; i++) {
        assert_true(value_equal(a.values[i], b.values[i]));
    }
}

static void test_encode_then_decode_random_rows(void **state)
{
    random_state = 20261121;
    for (int round = 0; round < 3000; round++) {
        const PgoutputContext *context = random_below(2) == 0 ? &plain : &segment;
        PgoutputMessage sent = random_row(context);
        Buf wire;
        buf_init(&wire, LIMIT_TEXT_BYTES);
        encode_pgoutput(&wire, context, &sent);
        PgoutputMessage got = accept(context, wire.ptr, wire.len);
        assert_int_equal(got.kind, sent.kind);
        assert_int_equal(got.xid, sent.xid);
        assert_int_equal(got.row.relation_oid, sent.row.relation_oid);
        assert_int_equal(got.row.old_kind, sent.row.old_kind);
        assert_tuples_equal(got.row.old_tuple, sent.row.old_tuple);
        assert_tuples_equal(got.row.new_tuple, sent.row.new_tuple);
        refuse(context, wire.ptr, random_below((uint32_t)wire.len));
        buf_done(&wire);
        arena_reset(&arena);
    }
}

// clang-format off: one message a line.

static void test_hostile_counts(void **state)
{
    arena_done(&arena);
    REFUSE(plain, "pgoutput message \"insert\": a row of 65535 columns, at byte 8 of 11", 'I', 0, 0,
           0, 1, 'N', 0xff, 0xff, 'n', 'n', 'n');
    REFUSE(plain, "pgoutput message \"insert\": a row of 1664 columns in 3 bytes, at byte 8 of 11",
           'I', 0, 0, 0, 1, 'N', 0x06, 0x80, 'n', 'n', 'n');
    REFUSE(plain, "pgoutput message \"relation\": 65535 columns in 3 bytes, at byte 12 of 15", 'R',
           0, 0, 0, 1, 's', 0, 't', 0, 'd', 0xff, 0xff, 0, 0, 0);
    REFUSE(plain, "pgoutput message \"relation\": 2 columns in 11 bytes, at byte 12 of 23", 'R', 0,
           0, 0, 1, 's', 0, 't', 0, 'd', 0, 2, 0, 'a', 0, 0, 0, 0, 23, 0, 0, 0, 0);
    REFUSE(plain, "pgoutput message \"truncate\": 2147483648 tables in 4 bytes, at byte 6 of 10",
           'T', 0x80, 0, 0, 0, 0, 0, 0, 0, 1);
    REFUSE(plain, "pgoutput message \"truncate\": 1073741825 tables in 4 bytes, at byte 6 of 10",
           'T', 0x40, 0, 0, 1, 0, 0, 0, 0, 1);
    REFUSE(plain, "pgoutput message \"truncate\": 2 tables in 7 bytes, at byte 6 of 13", 'T', 0, 0,
           0, 2, 0, 0, 0, 0, 1, 0, 0, 0);
    // Nothing was allocated for any of them.
    assert_int_equal(arena.total, 0);
}

static void test_bad_values(void **state)
{
    REFUSE(plain,
           "pgoutput message \"insert\": value 2 is of the unknown kind 0x78, at byte 9 of 10", 'I',
           0, 0, 0, 1, 'N', 0, 2, 'n', 'x');
    REFUSE(plain, "pgoutput message \"insert\": value 1 has a negative length, at byte 8 of 14",
           'I', 0, 0, 0, 1, 'N', 0, 1, 't', 0xff, 0xff, 0xff, 0xff, 'x');
    REFUSE(plain,
           "pgoutput message \"insert\": value 1 is 2 bytes long but only 1 are left, "
           "at byte 8 of 14",
           'I', 0, 0, 0, 1, 'N', 0, 1, 'b', 0, 0, 0, 2, 'x');
    REFUSE(plain, "pgoutput message \"insert\": it ends too early, at byte 8 of 12", 'I', 0, 0, 0,
           1, 'N', 0, 1, 't', 0, 0, 0);
    REFUSE(plain,
           "pgoutput message \"message\": its content is 4294967295 bytes long but only 1 are "
           "left, at byte 15 of 16",
           'M', 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 'x');
}

static void test_bad_row_kinds(void **state)
{
    REFUSE(plain, "pgoutput message \"insert\": a new row was expected, not 0x4b, at byte 6 of 8",
           'I', 0, 0, 0, 1, 'K', 0, 0);
    REFUSE(plain, "pgoutput message \"update\": a new row was expected, not 0x58, at byte 6 of 8",
           'U', 0, 0, 0, 1, 'X', 0, 0);
    REFUSE(plain, "pgoutput message \"update\": a new row was expected, not 0x4f, at byte 9 of 11",
           'U', 0, 0, 0, 1, 'K', 0, 0, 'O', 0, 0);
    REFUSE(plain,
           "pgoutput message \"delete\": an old row or key was expected, not 0x4e, at byte 6 of 8",
           'D', 0, 0, 0, 1, 'N', 0, 0);
}

static void test_bad_fields(void **state)
{
    REFUSE(plain, "pgoutput message \"commit\": unknown flags 0x01, at byte 26 of 26", 'C', 1, 0, 0,
           0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0);
    REFUSE(plain,
           "pgoutput message \"commit\": the commit record ends at 0/1 but starts at 0/1, "
           "at byte 26 of 26",
           'C', 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    REFUSE(plain, "pgoutput message \"begin\": it has no commit position, at byte 17 of 21", 'B', 0,
           0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
    REFUSE(plain, "pgoutput message \"begin\": it has no transaction id, at byte 21 of 21", 'B', 0,
           0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    REFUSE(plain, "pgoutput message \"begin\": the commit time is out of range, at byte 17 of 21",
           'B', 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1);
    REFUSE(plain, "pgoutput message \"truncate\": unknown flags 0x04, at byte 6 of 10", 'T', 0, 0,
           0, 1, 4, 0, 0, 0, 1);
    REFUSE(plain, "pgoutput message \"message\": unknown flags 0x02, at byte 15 of 15", 'M', 2, 0,
           0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0);
    REFUSE(plain,
           "pgoutput message \"relation\": the replica identity 0x78 is unknown, "
           "at byte 10 of 12",
           'R', 0, 0, 0, 1, 's', 0, 't', 0, 'x', 0, 0);
    REFUSE(plain, "pgoutput message \"relation\": the name of the table is empty, at byte 8 of 11",
           'R', 0, 0, 0, 1, 's', 0, 0, 'd', 0, 0);
    REFUSE(plain,
           "pgoutput message \"relation\": a column has the unknown flags 0x02, "
           "at byte 23 of 23",
           'R', 0, 0, 0, 1, 's', 0, 't', 0, 'd', 0, 1, 2, 'a', 0, 0, 0, 0, 23, 0, 0, 0, 0);
    REFUSE(between, "pgoutput message \"stream start\": unknown flags 0x02, at byte 6 of 6", 'S', 0,
           0, 0, 1, 2);
    REFUSE(segment, "pgoutput message \"insert\": it has no transaction id, at byte 5 of 12", 'I',
           0, 0, 0, 0, 0, 0, 0, 1, 'N', 0, 0);
}

static void test_unknown_kinds(void **state)
{
    refuse(&plain, "", 0);
    assert_string_equal(err.message, "a pgoutput message of no bytes");
    REFUSE(plain, "pgoutput message of the unknown kind 0x7a, at byte 0", 'z', 0, 0);
    REFUSE(plain, "pgoutput message of the unknown kind 0x00, at byte 0", 0);
    const char *two_phase = "bPKrp";
    static const char *const names[] = {"begin prepare", "prepare", "commit prepared",
                                        "rollback prepared", "stream prepare"};
    for (size_t i = 0; two_phase[i] != '\0'; i++) {
        char expected[128];
        (void)snprintf(expected, sizeof(expected),
                       "pgoutput message \"%s\": two-phase decoding was not asked for, at byte 0",
                       names[i]);
        refuse(&between, &two_phase[i], 1);
        assert_string_equal(err.message, expected);
    }
}
// clang-format on

// What may come depends on where in the stream it stands.
static void test_place(void **state)
{
    refuse(&plain, stream_start_bytes, sizeof(stream_start_bytes));
    assert_string_equal(err.message, "pgoutput message \"stream start\": protocol version 1 has no "
                                     "such message, at byte 1 of 6");
    refuse(&between, stream_stop_bytes, sizeof(stream_stop_bytes));
    assert_string_equal(err.message, "pgoutput message \"stream stop\": no stream segment was "
                                     "started, at byte 1 of 1");
    refuse(&segment, begin_bytes, sizeof(begin_bytes));
    assert_string_equal(err.message, "pgoutput message \"begin\": it came inside a stream segment, "
                                     "at byte 1 of 21");
    refuse(&segment, commit_bytes, sizeof(commit_bytes));
    refuse(&segment, stream_start_bytes, sizeof(stream_start_bytes));
    refuse(&segment, stream_commit_bytes, sizeof(stream_commit_bytes));
    refuse(&segment, stream_abort_bytes, sizeof(stream_abort_bytes));
}

static void test_name_too_long(void **state)
{
    uint8_t bytes[LIMIT_NAME_BYTES + 64] = {'Y', 0, 0, 0, 1, 's', 0};
    memset(bytes + 7, 'x', LIMIT_NAME_BYTES);
    assert_int_equal(accept(&plain, bytes, 7 + LIMIT_NAME_BYTES + 1).type.name.len,
                     LIMIT_NAME_BYTES);
    bytes[7 + LIMIT_NAME_BYTES] = 'x';
    refuse(&plain, bytes, 7 + LIMIT_NAME_BYTES + 2);
    assert_non_null(strstr(err.message, "the name of the type has 1025 bytes"));
}

static void test_kind_names(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        assert_non_null(pgoutput_kind_name((PgoutputKind)samples[i].bytes[0]));
    }
    assert_string_equal(pgoutput_kind_name(PGOUTPUT_STREAM_ABORT), "stream abort");
    assert_null(pgoutput_kind_name((PgoutputKind)'b'));
}

static size_t read_recorded(const char *name, uint8_t *ret, size_t capacity)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), TESTS_DIR "/fuzz/corpus/pgoutput/%s", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t len = fread(ret, 1, capacity, file);
    assert_true(feof(file));
    (void)fclose(file);
    return len;
}

// What PostgreSQL 15 and 18 sent: see tests/fuzz/record_pgoutput.py, and fuzz_pgoutput.c for the
// first byte of a file.
static void test_recorded_messages(void **state)
{
    DIR *folder = opendir(TESTS_DIR "/fuzz/corpus/pgoutput");
    assert_non_null(folder);
    int count = 0;
    bool seen[256] = {false};
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        uint8_t bytes[16384];
        if (strncmp(entry->d_name, "pg", 2) != 0) {
            continue;
        }
        size_t len = read_recorded(entry->d_name, bytes, sizeof(bytes));
        PgoutputContext context = {.protocol_version = 1 + (bytes[0] & 3),
                                   .in_stream = (bytes[0] & 4) != 0,
                                   .streaming_parallel = (bytes[0] & 8) != 0};
        PgoutputMessage message = accept(&context, bytes + 1, len - 1);
        assert_encodes_to(&context, &message, (Str){(const char *)bytes + 1, len - 1});
        for (size_t prefix = 0; prefix < len - 1; prefix++) {
            refuse(&context, bytes + 1, prefix);
        }
        seen[bytes[1]] = true;
        arena_reset(&arena);
        count++;
    }
    (void)closedir(folder);
    assert_true(count >= 100);
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        assert_true(seen[samples[i].bytes[0]]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_begin, reset),
        cmocka_unit_test_teardown(test_commit, reset),
        cmocka_unit_test_teardown(test_origin, reset),
        cmocka_unit_test_teardown(test_relation, reset),
        cmocka_unit_test_teardown(test_relation_forms, reset),
        cmocka_unit_test_teardown(test_type, reset),
        cmocka_unit_test_teardown(test_insert, reset),
        cmocka_unit_test_teardown(test_update, reset),
        cmocka_unit_test_teardown(test_delete, reset),
        cmocka_unit_test_teardown(test_truncate, reset),
        cmocka_unit_test_teardown(test_message, reset),
        cmocka_unit_test_teardown(test_stream_messages, reset),
        cmocka_unit_test_teardown(test_every_prefix_is_refused, reset),
        cmocka_unit_test_teardown(test_leftover_bytes_are_refused, reset),
        cmocka_unit_test_teardown(test_decode_then_encode, reset),
        cmocka_unit_test_teardown(test_encode_then_decode_random_rows, reset),
        cmocka_unit_test_teardown(test_hostile_counts, reset),
        cmocka_unit_test_teardown(test_bad_values, reset),
        cmocka_unit_test_teardown(test_bad_row_kinds, reset),
        cmocka_unit_test_teardown(test_bad_fields, reset),
        cmocka_unit_test_teardown(test_unknown_kinds, reset),
        cmocka_unit_test_teardown(test_place, reset),
        cmocka_unit_test_teardown(test_name_too_long, reset),
        cmocka_unit_test_teardown(test_kind_names, reset),
        cmocka_unit_test_teardown(test_recorded_messages, reset),
    };
    return cmocka_run_group_tests_name("pgoutput", tests, NULL, NULL);
}
