// Relations and changes made by hand, for the tests of codecs and of the sinks that use them.
#pragma once

#include "change/change.h"
#include "codec/codec.h"
#include "relations.h"

/** public.orders (id integer primary key, item text not null, note text, doc jsonb) */
static Column orders_columns[4];
static uint16_t orders_key[] = {0};
static Relation orders;

/** Like it, with REPLICA IDENTITY FULL. */
static Column full_columns[4];
static Relation orders_full;

static inline void changes_setup(void)
{
    orders_columns[0] = INT4("id", 1);
    orders_columns[0].is_identity = true;
    orders_columns[0].not_null = true;
    orders_columns[1] = TEXT("item", 2);
    orders_columns[1].not_null = true;
    orders_columns[2] = TEXT("note", 3);
    orders_columns[3] = column("doc", 4, OID_JSONB, "jsonb");
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
static const Value row_one[] = {T("1"), T("a \"cup\"\n"), NIL, T("{\"a\": [1, null]}")};
static const Value row_two[] = {T("2"), T("tee f\xc3\xbcr zwei"), T(""), T("null")};
static const Value row_toast[] = {T("1"), T("cup"), SAME, SAME};
static const Value row_moved[] = {T("3"), T("cup"), SAME, NIL};
static const Value key_one[] = {T("1"), NONE, NONE, NONE};
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

/** A row of one column, inserted. */
static inline Status encode_value(Encoding *encoding, const Column *column, Value value, Error *err)
{
    const Relation relation = {.oid = 1,
                               .schema = STR("s"),
                               .name = STR("t"),
                               .column_count = 1,
                               .columns = (Column *)(uintptr_t)column};
    const Change change = {.op = CHANGE_INSERT,
                           .relation = &relation,
                           .new_row = &value,
                           .transaction = &first,
                           .ordinal = 1};
    return encoder_encode(&encoding->encoder, &change, &encoding->out, err);
}

static inline void encode_ok(Encoding *encoding, const Change *change)
{
    Error err = {0};
    if (encoder_encode(&encoding->encoder, change, &encoding->out, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
}
