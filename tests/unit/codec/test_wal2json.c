#include "codec/changes.h"
#include "golden.h"

enum { FORMAT_WAL2JSON = 1 };

static const CodecOptions v1 = {
    .format = FORMAT_WAL2JSON, .version = 1, .include_transaction = true};
static const CodecOptions v2 = {
    .format = FORMAT_WAL2JSON, .version = 2, .include_transaction = true};
static const CodecOptions v1_more = {.format = FORMAT_WAL2JSON,
                                     .version = 1,
                                     .include_transaction = true,
                                     .include_xids = true,
                                     .include_timestamp = true,
                                     .include_pk = true};
static const CodecOptions v2_more = {.format = FORMAT_WAL2JSON,
                                     .version = 2,
                                     .include_transaction = true,
                                     .include_xids = true,
                                     .include_timestamp = true,
                                     .include_pk = true};
static const CodecOptions v2_bare = {.format = FORMAT_WAL2JSON, .version = 2};

// Everything that the plugin has a form for, and what it has none for, over three transactions.
// clang-format off
static const Change story[] = {
    {.op = CHANGE_SCHEMA, .relation = &orders, .transaction = &snapshot},
    {.op = CHANGE_READ, .relation = &orders, .new_row = row_one, .transaction = &snapshot, .ordinal = 1},
    {.op = CHANGE_READ, .relation = &orders, .new_row = row_two, .transaction = &snapshot, .ordinal = 2},
    {.op = CHANGE_INSERT, .relation = &orders, .new_row = row_one, .transaction = &first, .ordinal = 1},
    {.op = CHANGE_UPDATE, .relation = &orders, .new_row = row_toast, .transaction = &first, .ordinal = 2},
    {.op = CHANGE_UPDATE, .relation = &orders, .old_row = key_one, .new_row = row_moved, .transaction = &first, .ordinal = 3},
    {.op = CHANGE_UPDATE, .relation = &orders_full, .old_row = row_two, .new_row = row_one, .transaction = &first, .ordinal = 4},
    {.op = CHANGE_MESSAGE, .message = &message_text, .transaction = &first, .ordinal = 5},
    {.op = CHANGE_SCHEMA, .relation = &orders_full, .transaction = &second, .ordinal = 1},
    {.op = CHANGE_TRUNCATE, .relation = &orders, .transaction = &second, .ordinal = 1},
    {.op = CHANGE_MESSAGE, .message = &message_bytes, .transaction = &message_alone, .ordinal = 1},
    {.op = CHANGE_DELETE, .relation = &orders, .old_row = key_one, .transaction = &third, .ordinal = 1},
    {.op = CHANGE_DELETE, .relation = &orders_full, .old_row = row_one, .transaction = &third, .ordinal = 2},
};
// clang-format on

static void assert_story(const char *golden, const CodecOptions *options)
{
    Encoding encoding;
    encoding_begin(&encoding, options);
    for (size_t i = 0; i < ARRAY_LEN(story); i++) {
        encode_ok(&encoding, &story[i]);
    }
    encoder_finish(&encoding.encoder, &encoding.out);
    assert_golden(golden, buf_view(&encoding.out));
    size_t len = encoding.out.len;
    encoder_finish(&encoding.encoder, &encoding.out); // nothing is open
    assert_int_equal(encoding.out.len, len);
    encoding_end(&encoding);
}

static void test_version_1(void **state)
{
    assert_story("wal2json/version_1.jsonl", &v1);
}

static void test_version_1_with_more(void **state)
{
    assert_story("wal2json/version_1_more.jsonl", &v1_more);
}

static void test_version_2(void **state)
{
    assert_story("wal2json/version_2.jsonl", &v2);
}

static void test_version_2_with_more(void **state)
{
    assert_story("wal2json/version_2_more.jsonl", &v2_more);
}

static void test_version_2_without_transactions(void **state)
{
    assert_story("wal2json/version_2_bare.jsonl", &v2_bare);
}

// However a transaction is cut, and wherever its parts lie in memory, the bytes are the same.
static void test_cut_transactions(void **state)
{
    const CodecOptions *const all[] = {&v1, &v2, &v1_more, &v2_more, &v2_bare};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        Encoding whole;
        Encoding parts;
        Transaction moving; // each at the same address: what counts is inside
        encoding_begin(&whole, all[i]);
        encoding_begin(&parts, all[i]);
        Buf collected = {.max = 1 << 20};
        for (size_t j = 0; j < ARRAY_LEN(story); j++) {
            encode_ok(&whole, &story[j]);
            Change change = story[j];
            moving = *change.transaction;
            change.transaction = &moving;
            encode_ok(&parts, &change);
            buf_str(&collected, buf_view(&parts.out)); // flushed after every change
            buf_reset(&parts.out);
        }
        encoder_finish(&whole.encoder, &whole.out);
        encoder_finish(&parts.encoder, &parts.out);
        buf_str(&collected, buf_view(&parts.out));
        assert_true(str_equal(buf_view(&whole.out), buf_view(&collected)));
        buf_done(&collected);
        encoding_end(&whole);
        encoding_end(&parts);
    }
}

// Two transactions with a commit between them are not joined, and each is complete.
static void test_finish_separates(void **state)
{
    Encoding encoding;
    encoding_begin(&encoding, &v1);
    encode_ok(&encoding, &story[3]);
    encoder_finish(&encoding.encoder, &encoding.out);
    assert_int_equal(encoding.out.ptr[encoding.out.len - 1], '\n');
    encode_ok(&encoding, &story[11]);
    encoder_finish(&encoding.encoder, &encoding.out);
    size_t lines = 0;
    for (size_t i = 0; i < encoding.out.len; i++) {
        lines += encoding.out.ptr[i] == '\n';
    }
    assert_int_equal(lines, 2);
    encoding_end(&encoding);
}

static const struct {
    uint32_t type_oid;
    const char *type_name;
    Value value;
    const char *expected;
} values[] = {
    {OID_INT8, "bigint", T("9223372036854775807"),
     "\"type\":\"bigint\",\"value\":9223372036854775807"},
    {OID_NUMERIC, "numeric(5,2)", T("-1.50"), "\"type\":\"numeric(5,2)\",\"value\":-1.50"},
    {OID_NUMERIC, "numeric", T("NaN"), "\"value\":null"},
    {OID_FLOAT8, "double precision", T("-Infinity"), "\"value\":null"},
    {OID_FLOAT4, "real", T("1e+20"), "\"value\":1e+20"},
    {OID_OID, "oid", T("4294967295"), "\"value\":4294967295"},
    {OID_XID, "xid", T("7"), "\"value\":\"7\""},
    {OID_BOOL, "boolean", T("t"), "\"value\":true"},
    {OID_BOOL, "boolean", T("f"), "\"value\":false"},
    {OID_BYTEA, "bytea", T("\\x00ff"), "\"value\":\"00ff\""},
    {OID_JSONB, "jsonb", T("{\"a\": 1}"), "\"value\":\"{\\\"a\\\": 1}\""},
    {OID_CHAR, "\"char\"", T("x"), "\"type\":\"char\",\"value\":\"x\""},
    {70000, "public.mood", T("sad"), "\"type\":\"mood\",\"value\":\"sad\""},
    {70000, "public.\"Mood\"", T("sad"), "\"type\":\"Mood\""},
    {70000, "public.\"Mood\"[]", T("{sad}"), "\"type\":\"\\\"Mood\\\"[]\""},
    {70000, "shop.mood", T("sad"), "\"type\":\"shop.mood\""},
    {70000, "\"my shop\".mood", T("sad"), "\"type\":\"\\\"my shop\\\".mood\""},
    {70000, "\"a\"\"b\"", T("sad"), "\"type\":\"\\\"a\\\"\\\"b\\\"\""},
};

static void test_values_and_types(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        Column made = column("v", 1, values[i].type_oid, values[i].type_name);
        Encoding encoding;
        Error err = {0};
        encoding_begin(&encoding, &v2);
        assert_int_equal(encode_value(&encoding, &made, values[i].value, &err), STATUS_OK);
        if (strstr(buf_cstring(&encoding.out), values[i].expected) == NULL) {
            fail_msg("%s", buf_cstring(&encoding.out));
        }
        encoding_end(&encoding);
    }
}

// Values of a domain are strings, whatever it is made of.
static void test_domain(void **state)
{
    Column made = column("v", 1, 70000, "public.price");
    made.base_type_oid = OID_INT4;
    made.type = TYPE_INT4;
    Encoding encoding;
    Error err = {0};
    encoding_begin(&encoding, &v2);
    assert_int_equal(encode_value(&encoding, &made, T("5"), &err), STATUS_OK);
    assert_non_null(strstr(buf_cstring(&encoding.out), "\"value\":\"5\""));
    encoding_end(&encoding);
}

// With REPLICA IDENTITY FULL the source has filled the unchanged column from the old row.
static void test_unchanged_of_full_identity(void **state)
{
    static const char new_bytes[] = "2other";
    static const char old_bytes[] = "2cup long";
    const Value toasted = {old_bytes + 4, 5, VALUE_TEXT};
    const Value new_row[] = {
        {new_bytes, 1, VALUE_TEXT}, {new_bytes + 1, 5, VALUE_TEXT}, toasted, NIL};
    const Value old_row[] = {
        {old_bytes, 1, VALUE_TEXT}, {old_bytes + 1, 3, VALUE_TEXT}, toasted, NIL};
    const Change change = {.op = CHANGE_UPDATE,
                           .relation = &orders_full,
                           .old_row = old_row,
                           .new_row = new_row,
                           .transaction = &first,
                           .ordinal = 1};
    Encoding encoding;
    encoding_begin(&encoding, &v1);
    encode_ok(&encoding, &change);
    assert_non_null(
        strstr(buf_cstring(&encoding.out), "\"columnnames\":[\"id\",\"item\",\"doc\"]"));
    assert_non_null(strstr(buf_cstring(&encoding.out), "\"keynames\":[\"id\",\"item\",\"note\"]"));
    encoding_end(&encoding);
}

static void test_refuses_bad_values(void **state)
{
    static const struct {
        uint32_t type_oid;
        Value value;
    } bad[] = {
        {OID_INT4, T("x")},
        {OID_BOOL, T("yes")},
        {OID_BYTEA, T("\\")},
        {OID_TEXT, T("\xc3")},
        {OID_INT4, {"\0\0\0\1", 4, VALUE_BINARY}},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        Column made = column("v", 1, bad[i].type_oid, "of some type");
        Encoding encoding;
        Error err = {0};
        encoding_begin(&encoding, i % 2 == 0 ? &v1 : &v2);
        assert_int_equal(encode_value(&encoding, &made, bad[i].value, &err), STATUS_FAIL);
        encoding_end(&encoding);
    }
}

static void test_options(void **state)
{
    static const struct {
        CodecOptions options;
        bool valid;
    } cases[] = {
        {{.format = 0, .include_transaction = true}, true},
        {{.format = 0, .version = 1, .include_transaction = true}, true},
        {{.format = 0, .version = 2, .include_transaction = true}, false},
        {{.format = 0, .include_xids = true, .include_transaction = true}, false},
        {{.format = 0}, false},
        {{.format = 1, .include_transaction = true}, true}, // version 1, as the plugin
        {{.format = 1}, false},
        {{.format = 1, .version = 2}, true},
        {{.format = 2, .version = 1, .include_transaction = true}, true},
        {{.format = 2, .version = 2, .include_transaction = true}, false},
        {{.format = 3}, true},
        {{.format = 3, .version = 1}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Error err = {0};
        Status status = codec_options_check(&cases[i].options, &err);
        assert_int_equal(status, cases[i].valid ? STATUS_OK : STATUS_FAIL);
        assert_true(cases[i].valid || err.kind == ERROR_CONFIG);
    }
    const CodecOptions names[] = {v1, v2, {.format = 2}, {.format = 3}};
    assert_ptr_equal(codec_find(&names[0]), codec_find(&names[2]));
    assert_ptr_equal(codec_find(&names[1]), codec_find(&names[3]));
    assert_ptr_not_equal(codec_find(&names[0]), codec_find(&names[1]));
}

static int setup(void **state)
{
    changes_setup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_version_1_with_more),
        cmocka_unit_test(test_version_2),
        cmocka_unit_test(test_version_2_with_more),
        cmocka_unit_test(test_version_2_without_transactions),
        cmocka_unit_test(test_cut_transactions),
        cmocka_unit_test(test_finish_separates),
        cmocka_unit_test(test_values_and_types),
        cmocka_unit_test(test_domain),
        cmocka_unit_test(test_unchanged_of_full_identity),
        cmocka_unit_test(test_refuses_bad_values),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
