// Relations and changes made by hand, for the tests of codecs and of the sinks that use them.
#pragma once

#include "change/change.h"
#include "codec/codec.h"
#include "unit.h"

#define TEXT(literal) ((Value){"" literal, sizeof(literal) - 1, VALUE_TEXT})
#define NOTHING       ((Value){.state = VALUE_NULL})
#define UNCHANGED     ((Value){.state = VALUE_UNCHANGED})
#define ABSENT        ((Value){.state = VALUE_ABSENT})

static inline Column column_of(const char *name, uint32_t type_oid, const char *type_name)
{
    return (Column){
        .name = str_from(name),
        .type_oid = type_oid,
        .typmod = -1,
        .type_name = str_from(type_name),
        .base_type_oid = type_oid,
        .base_typmod = -1,
        .base_type_name = str_from(type_name),
        .type = type_class(type_oid),
    };
}

/** public.orders (id integer primary key, item text not null, note text, doc jsonb) */
static Column orders_columns[4];
static uint16_t orders_key[] = {0};
static Relation orders;

/** Like it, with REPLICA IDENTITY FULL. */
static Column full_columns[4];
static Relation orders_full;

static inline void changes_setup(void)
{
    orders_columns[0] = column_of("id", OID_INT4, "integer");
    orders_columns[0].is_identity = true;
    orders_columns[0].not_null = true;
    orders_columns[1] = column_of("item", OID_TEXT, "text");
    orders_columns[1].not_null = true;
    orders_columns[2] = column_of("note", OID_TEXT, "text");
    orders_columns[3] = column_of("doc", OID_JSONB, "jsonb");
    orders = (Relation){
        .oid = 16384,
        .schema = STR("public"),
        .name = STR("orders"),
        .identity = IDENTITY_DEFAULT,
        .column_count = 4,
        .columns = orders_columns,
        .key_count = 1,
        .key = orders_key,
        .key_is_primary = true,
    };
    orders_full = orders;
    orders_full.oid = 16390;
    orders_full.name = STR("orders_full");
    orders_full.identity = IDENTITY_FULL;
    orders_full.columns = full_columns;
    for (int i = 0; i < 4; i++) {
        full_columns[i] = orders_columns[i];
        full_columns[i].is_identity = true;
    }
}

static const Transaction first = {
    .commit_lsn = 0x16B374D848, .xid = 742, .commit_time_us = 1795238459123400};
static const Transaction second = {.commit_lsn = 0x16B374D900,
                                   .xid = 743,
                                   .commit_time_us = 1795238460000000,
                                   .origin = {"other \"node\"", 12}};
static const Transaction third = {
    .commit_lsn = 0x16B374DA00, .xid = 4294967295U, .commit_time_us = 1795238461120000};
static const Transaction snapshot = {.commit_lsn = 0x16B374D000};

// clang-format off
static const Value row_one[] = {TEXT("1"), TEXT("a \"cup\"\n"), NOTHING, TEXT("{\"a\": [1, null]}")};
static const Value row_two[] = {TEXT("2"), TEXT("tee f\xc3\xbcr zwei"), TEXT(""), TEXT("null")};
static const Value row_toast[] = {TEXT("1"), TEXT("cup"), UNCHANGED, UNCHANGED};
static const Value row_moved[] = {TEXT("3"), TEXT("cup"), UNCHANGED, NOTHING};
static const Value key_one[] = {TEXT("1"), ABSENT, ABSENT, ABSENT};
// clang-format on

static const LogicalMessage message_text = {
    .prefix = {"app", 3}, .content = {"hello\tyou", 9}, .lsn = 0x16B374D840, .transactional = true};
static const LogicalMessage message_bytes = {
    .prefix = {"bin", 3}, .content = {"a\xff\0b", 4}, .lsn = 0x16B374E000, .transactional = false};
static const Transaction message_alone = {.commit_lsn = 0x16B374E000};

/** An encoder with its buffer. */
typedef struct Encoding {
    CodecOptions options;
    Arena arena;
    Encoder encoder;
    Buf out;
} Encoding;

static inline void encoding_begin(Encoding *encoding, const CodecOptions *options)
{
    *encoding = (Encoding){.options = *options, .out = {.max = 1 << 24}};
    assert_int_equal(codec_options_check(options, NULL), STATUS_OK);
    encoder_init(&encoding->encoder, &encoding->options, &encoding->arena);
}

static inline void encoding_end(Encoding *encoding)
{
    encoder_done(&encoding->encoder);
    arena_done(&encoding->arena);
    buf_done(&encoding->out);
}

static inline void encode_ok(Encoding *encoding, const Change *change)
{
    Error err = {0};
    if (encoder_encode(&encoding->encoder, change, &encoding->out, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
}
