#include "codec/changes.h"
#include "codec/json.h"
#include "golden.h"

static const CodecOptions plain = {.include_transaction = true};

// ---------------------------------------------------------------------------------------------
// One file a kind of event
// ---------------------------------------------------------------------------------------------

static void assert_events(const char *golden, const Change *changes, size_t count)
{
    Encoding encoding;
    encoding_begin(&encoding, &plain);
    for (size_t i = 0; i < count; i++) {
        encode_ok(&encoding, &changes[i]);
    }
    encoder_finish(&encoding.encoder, &encoding.out);
    assert_golden(golden, buf_view(&encoding.out));
    encoding_end(&encoding);
}

static void test_read(void **state)
{
    const Change changes[] = {
        {.op = CHANGE_READ,
         .relation = &orders,
         .new_row = row_one,
         .transaction = &snapshot,
         .ordinal = 1},
        {.op = CHANGE_READ,
         .relation = &orders,
         .new_row = row_two,
         .transaction = &snapshot,
         .ordinal = 2},
    };
    assert_events("weir/op_read.jsonl", changes, ARRAY_LEN(changes));
}

static void test_insert(void **state)
{
    const Change changes[] = {
        {.op = CHANGE_INSERT,
         .relation = &orders,
         .new_row = row_one,
         .transaction = &first,
         .ordinal = 1},
        {.op = CHANGE_INSERT,
         .relation = &orders,
         .new_row = row_two,
         .transaction = &first,
         .ordinal = 2},
        {.op = CHANGE_INSERT,
         .relation = &orders,
         .new_row = row_one,
         .transaction = &second,
         .ordinal = 18446744073709551615U},
    };
    assert_events("weir/op_insert.jsonl", changes, ARRAY_LEN(changes));
}

static void test_update(void **state)
{
    const Change changes[] = {
        // The key stays; two columns were not sent.
        {.op = CHANGE_UPDATE,
         .relation = &orders,
         .new_row = row_toast,
         .transaction = &first,
         .ordinal = 1},
        // The key changes.
        {.op = CHANGE_UPDATE,
         .relation = &orders,
         .old_row = key_one,
         .new_row = row_moved,
         .transaction = &first,
         .ordinal = 2},
        // All of the old row is there.
        {.op = CHANGE_UPDATE,
         .relation = &orders_full,
         .old_row = row_two,
         .new_row = row_one,
         .transaction = &first,
         .ordinal = 3},
    };
    assert_events("weir/op_update.jsonl", changes, ARRAY_LEN(changes));
}

static void test_delete(void **state)
{
    const Change changes[] = {
        {.op = CHANGE_DELETE,
         .relation = &orders,
         .old_row = key_one,
         .transaction = &first,
         .ordinal = 1},
        {.op = CHANGE_DELETE,
         .relation = &orders_full,
         .old_row = row_two,
         .transaction = &first,
         .ordinal = 2},
    };
    assert_events("weir/op_delete.jsonl", changes, ARRAY_LEN(changes));
}

static void test_truncate(void **state)
{
    const Change changes[] = {
        {.op = CHANGE_TRUNCATE, .relation = &orders, .transaction = &first, .ordinal = 1},
        {.op = CHANGE_TRUNCATE,
         .relation = &orders_full,
         .transaction = &first,
         .ordinal = 2,
         .truncate_flags = TRUNCATE_CASCADE},
        {.op = CHANGE_TRUNCATE,
         .relation = &orders,
         .transaction = &first,
         .ordinal = 3,
         .truncate_flags = TRUNCATE_CASCADE | TRUNCATE_RESTART_IDENTITY},
    };
    assert_events("weir/op_truncate.jsonl", changes, ARRAY_LEN(changes));
}

static void test_message(void **state)
{
    const Change changes[] = {
        {.op = CHANGE_MESSAGE, .message = &message_text, .transaction = &first, .ordinal = 1},
        {.op = CHANGE_MESSAGE,
         .message = &message_bytes,
         .transaction = &message_alone,
         .ordinal = 1},
    };
    assert_events("weir/op_message.jsonl", changes, ARRAY_LEN(changes));
}

static void test_schema(void **state)
{
    Column columns[] = {
        column("order", 1, OID_INT8, "bigint"),
        column("a \"b\"", 2, 70000, "shop.price"),
        column("note", 3, OID_VARCHAR, "character varying(30)"),
    };
    columns[0].not_null = true;
    columns[0].is_identity = true;
    columns[1].base_type_oid = OID_NUMERIC;
    columns[1].base_type_name = STR("numeric(10,2)");
    columns[1].base_typmod = 655366;
    columns[2].typmod = 34;
    columns[2].is_identity = true;
    columns[1].missing_value = STR("7.50");
    columns[2].missing_value = STR("a \"b\"");
    columns[2].attnum = 0;
    uint16_t key[] = {2, 0};
    const Relation lines = {
        .oid = 70001,
        .schema = STR("my \"shop\""),
        .name = STR("lines"),
        .identity = IDENTITY_INDEX,
        .column_count = 3,
        .columns = columns,
        .key_count = 2,
        .key = key,
    };
    Relation empty = {.oid = 5, .schema = STR("s"), .name = STR("t"), .identity = IDENTITY_NOTHING};
    const Change changes[] = {
        {.op = CHANGE_SCHEMA, .relation = &orders, .transaction = &snapshot},
        {.op = CHANGE_SCHEMA, .relation = &orders_full, .transaction = &first, .ordinal = 1},
        {.op = CHANGE_SCHEMA, .relation = &lines, .transaction = &second, .ordinal = 1},
        {.op = CHANGE_SCHEMA, .relation = &empty, .transaction = &second, .ordinal = 2},
        {.op = CHANGE_INSERT,
         .relation = &empty,
         .new_row = row_one,
         .transaction = &second,
         .ordinal = 2},
    };
    assert_events("weir/op_schema.jsonl", changes, ARRAY_LEN(changes));
}

// ---------------------------------------------------------------------------------------------
// One file a class of types
// ---------------------------------------------------------------------------------------------

enum { SAMPLES_MAX = 12 };

static const struct TypeSamples {
    const char *golden;
    uint32_t type_oid;
    const char *type_name;
    Value samples[SAMPLES_MAX];
} types[] = {
    {"weir/type_bool.jsonl", OID_BOOL, "boolean", {T("t"), T("f"), NIL}},
    {"weir/type_int2.jsonl", OID_INT2, "smallint", {T("-32768"), T("32767"), T("0")}},
    {"weir/type_int4.jsonl", OID_INT4, "integer", {T("-2147483648"), T("2147483647")}},
    {"weir/type_int8.jsonl",
     OID_INT8,
     "bigint",
     {T("-9223372036854775808"), T("9223372036854775807"), T("9007199254740993")}},
    {"weir/type_oid.jsonl", OID_OID, "oid", {T("0"), T("4294967295")}},
    {"weir/type_float4.jsonl",
     OID_FLOAT4,
     "real",
     {T("1.1"), T("3.4028235e+38"), T("1e-45"), T("NaN"), T("-Infinity")}},
    {"weir/type_float8.jsonl",
     OID_FLOAT8,
     "double precision",
     {T("0.1"), T("-0"), T("1.7976931348623157e+308"), T("5e-324"), T("1e+20"), T("NaN"),
      T("Infinity"), T("-Infinity")}},
    {"weir/type_numeric.jsonl",
     OID_NUMERIC,
     "numeric",
     {T("0.00"), T("-123456789012345678901234567890.123456789012345678901234567890"),
      T("1000000000000000000000000000000000000000"), T("0.000000000000000000000000000001"),
      T("NaN"), T("Infinity"), T("-Infinity"), NIL}},
    {"weir/type_text.jsonl",
     OID_TEXT,
     "text",
     {T(""), T("null"), T("\b\f\n\r\t\v\x1f\x7f\"\\/"), T("\xc3\xa9\xe2\x82\xac"),
      T("\xf0\x9f\x98\x80"), T("\xe2\x80\xa8"), T("  padded  "), T("\xef\xbf\xbf")}},
    {"weir/type_bytea.jsonl", OID_BYTEA, "bytea", {T("\\x"), T("\\x00ff5c22")}},
    {"weir/type_date.jsonl",
     OID_DATE,
     "date",
     {T("2026-11-21"), T("infinity"), T("-infinity"), T("4714-11-24 BC"), T("5874897-12-31")}},
    {"weir/type_time.jsonl",
     OID_TIME,
     "time without time zone",
     {T("00:00:00"), T("24:00:00"), T("12:34:56.789012")}},
    {"weir/type_timetz.jsonl", OID_TIMETZ, "time with time zone", {T("12:34:56.7-08:30")}},
    {"weir/type_timestamp.jsonl",
     OID_TIMESTAMP,
     "timestamp without time zone",
     {T("2026-11-21 05:20:59.123456"), T("infinity"), T("0044-03-15 12:00:00 BC")}},
    {"weir/type_timestamptz.jsonl",
     OID_TIMESTAMPTZ,
     "timestamp with time zone",
     {T("2026-11-21 05:20:59.123456+00"), T("-infinity")}},
    {"weir/type_interval.jsonl",
     OID_INTERVAL,
     "interval",
     {T("1 year 2 mons -3 days +04:05:06.789"), T("00:00:00")}},
    {"weir/type_uuid.jsonl", OID_UUID, "uuid", {T("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")}},
    {"weir/type_json.jsonl",
     OID_JSON,
     "json",
     {T("{\r\n \"a\" : 1.50 ,\t\"a\":\"\\n\" }"), T("12345678901234567890"), T("null"),
      T("\"null\""), T(" [ ] "), NIL}},
    {"weir/type_jsonb.jsonl",
     OID_JSONB,
     "jsonb",
     {T("{\"a\": {\"b\": [1, 2.0, null, \"\xc3\xbc\"]}}"), T("null"), T("true")}},
    {"weir/type_bit.jsonl", OID_VARBIT, "bit varying", {T(""), T("0101")}},
    {"weir/type_other.jsonl",
     1007,
     "integer[]",
     {T("{1,NULL,3}"), T("[0:1]={1,2}"), T("{\"a \\\\ b\",\"NULL\"}"), T("[1,10)"), T("$1,000.00"),
      T("192.168.0.1/24")}},
};

static void test_types(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        Column made = column("v", 1, types[i].type_oid, types[i].type_name);
        Encoding encoding;
        Error err = {0};
        encoding_begin(&encoding, &plain);
        for (size_t j = 0; j < SAMPLES_MAX && types[i].samples[j].state != VALUE_ABSENT; j++) {
            if (encode_value(&encoding, &made, types[i].samples[j], &err) != STATUS_OK) {
                fail_msg("%s", err.message);
            }
        }
        assert_golden(types[i].golden, buf_view(&encoding.out));
        encoding_end(&encoding);
    }
}

// A domain is written as what it is made of.
static void test_domain(void **state)
{
    Column made = column("v", 1, 70000, "price");
    made.base_type_oid = OID_NUMERIC;
    made.type = TYPE_NUMERIC;
    Encoding encoding;
    Error err = {0};
    encoding_begin(&encoding, &plain);
    assert_int_equal(encode_value(&encoding, &made, T("1.50"), &err), STATUS_OK);
    assert_non_null(strstr(buf_cstring(&encoding.out), "\"new\":{\"v\":1.50}"));
    encoding_end(&encoding);
}

// ---------------------------------------------------------------------------------------------
// What cannot be written
// ---------------------------------------------------------------------------------------------

static void assert_refused(uint32_t type_oid, Value value, ErrorKind kind, const char *in_message)
{
    Column made = column("v", 1, type_oid, "of some type");
    Encoding encoding;
    Error err = {0};
    encoding_begin(&encoding, &plain);
    assert_int_equal(encode_value(&encoding, &made, value, &err), STATUS_FAIL);
    assert_int_equal(err.kind, kind);
    if (strstr(err.message, in_message) == NULL) {
        fail_msg("%s", err.message);
    }
    encoding_end(&encoding);
}

static void test_refuses_bad_values(void **state)
{
    const char *where = "column \"v\" of table \"s.t\"";
    assert_refused(OID_BOOL, T("true"), ERROR_DATA, where);
    assert_refused(OID_BOOL, T(""), ERROR_DATA, where);
    assert_refused(OID_INT4, T(""), ERROR_DATA, where);
    assert_refused(OID_INT4, T("1}"), ERROR_DATA, where);
    assert_refused(OID_NUMERIC, T("nan"), ERROR_DATA, where);
    assert_refused(OID_JSONB, T("{"), ERROR_DATA, where);
    assert_refused(OID_JSON, T("{}\n{}"), ERROR_DATA, where);
    assert_refused(OID_TEXT, T("\xff"), ERROR_DATA, where);
    assert_refused(OID_TEXT, ((Value){"ab", 2, VALUE_BINARY}), ERROR_FATAL, "binary");
}

static void test_refuses_bad_names(void **state)
{
    const Relation relation = {.oid = 1, .schema = STR("s"), .name = STR("t\xff")};
    const Change change = {
        .op = CHANGE_TRUNCATE, .relation = &relation, .transaction = &first, .ordinal = 1};
    Encoding encoding;
    Error err = {0};
    encoding_begin(&encoding, &plain);
    assert_int_equal(encoder_encode(&encoding.encoder, &change, &encoding.out, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_DATA);
    encoding_end(&encoding);
}

// Every line is one JSON value by our own strict reader, whatever the text.
static void test_lines_are_json(void **state)
{
    Buf check = {.max = 1 << 20};
    Encoding encoding;
    encoding_begin(&encoding, &plain);
    for (uint32_t byte = 0; byte < 0x80; byte++) {
        char text[] = {'a', (char)byte, 'b'};
        const Value row[] = {T("1"), {text, 3, VALUE_TEXT}, {text, 2, VALUE_TEXT}, NIL};
        const Change change = {.op = CHANGE_INSERT,
                               .relation = &orders,
                               .new_row = row,
                               .transaction = &first,
                               .ordinal = byte};
        buf_reset(&encoding.out);
        encode_ok(&encoding, &change);
        Str line = buf_view(&encoding.out);
        assert_int_equal(str_find(line, '\n'), (ptrdiff_t)line.len - 1);
        assert_true(json_embed(&check, line));
    }
    buf_done(&check);
    encoding_end(&encoding);
}

static int setup(void **state)
{
    changes_setup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_insert),
        cmocka_unit_test(test_update),
        cmocka_unit_test(test_delete),
        cmocka_unit_test(test_truncate),
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_schema),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_domain),
        cmocka_unit_test(test_refuses_bad_values),
        cmocka_unit_test(test_refuses_bad_names),
        cmocka_unit_test(test_lines_are_json),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
