// What we write of a value and what a server sends of it: the same bytes.
#include <endian.h>

#include "pg/send_form.h"
#include "sinks/postgres_fixture.h"

typedef struct TypeSample {
    uint32_t oid;
    const char *type;
    const char *values; // SQL: a set of texts
} TypeSample;

// Some by hand, for the edges, and some by chance.
#define ANY_NUMBER "((random() - 0.5) * 10 ^ (random() * 30 - 10))"
#define ANY_TIME                                                                            \
    "(timestamptz '2000-01-01 00:00:00+00' + (random() - 0.4) * 4e6 * interval '1 hour' + " \
    "random() * interval '1 s')"
#define CHANCE(sql) "SELECT (" sql ")::text FROM generate_series(1, 2000)"
#define EDGES(...)  " UNION ALL SELECT unnest(ARRAY[" __VA_ARGS__ "])"

// Infinite numerics have a scale that is nobody's: sinks/test_postgres_types.c has them.
static const TypeSample samples[] = {
    {OID_BOOL, "boolean", "SELECT unnest(ARRAY['t', 'f'])"},
    {OID_INT2, "smallint", CHANCE("(random() * 65535 - 32768)::int") EDGES("'-32768', '32767'")},
    {OID_INT4, "integer",
     CHANCE("(random() * 4294967295 - 2147483648)::int8") EDGES("'-2147483648', '2147483647'")},
    {OID_INT8, "bigint",
     CHANCE("(random() * 1e18)::int8") EDGES("'-9223372036854775808', '9223372036854775807'")},
    {OID_OID, "oid", CHANCE("(random() * 4294967295)::int8") EDGES("'0', '4294967295'")},
    {OID_FLOAT4, "real",
     CHANCE(ANY_NUMBER "::real") EDGES("'0', '-0', 'NaN', 'Infinity', '-Infinity', '1e-45', "
                                       "'3.4028235e+38', '1e-37', '16777217'")},
    {OID_FLOAT8, "double precision",
     CHANCE(ANY_NUMBER) EDGES("'0', '-0', 'NaN', 'Infinity', '-Infinity', '5e-324', "
                              "'1.7976931348623157e+308', '2.2250738585072014e-308', '0.1', "
                              "'9007199254740993'")},
    {OID_NUMERIC, "numeric",
     CHANCE("round(" ANY_NUMBER "::numeric, (random() * 20)::int)") EDGES(
         "'0', '0.000', '-0.00010', '10000', '100000000', '9999', '0.0001', '0.00001', '1.10', "
         "'NaN', '-12345678901234567890.0123456789', "
         "repeat('9', 3000) || '.' || repeat('0', 900) || '1'")},
    {OID_TEXT, "text", CHANCE("md5(random()::text)") EDGES("'', 'ž', E'a\\tb\\n', '\\N'")},
    {OID_VARCHAR, "varchar", "SELECT unnest(ARRAY['', 'a  '])"},
    {OID_BPCHAR, "bpchar", "SELECT unnest(ARRAY['', 'a  '])"},
    {OID_JSON, "json", "SELECT unnest(ARRAY['{\"b\":  1}', '[]'])"},
    {OID_JSONB, "jsonb", "SELECT unnest(ARRAY['{\"b\": 1}', 'null', '[1, 2]'])"},
    {OID_BYTEA, "bytea", CHANCE("decode(md5(random()::text), 'hex')") EDGES("'\\x', '\\x00ff'")},
    {OID_UUID, "uuid", CHANCE("md5(random()::text)::uuid")},
    {OID_DATE, "date",
     CHANCE(ANY_TIME "::date") EDGES("'4714-11-24 BC', '0001-01-01', '0001-12-31 BC', "
                                     "'5874897-12-31', '2000-02-29', '1900-02-28', 'infinity', "
                                     "'-infinity'")},
    {OID_TIME, "time",
     CHANCE(ANY_TIME "::time") EDGES("'00:00:00', '24:00:00', '23:59:59.999999'")},
    {OID_TIMETZ, "timetz",
     CHANCE(ANY_TIME "::timetz") EDGES("'00:00:00+15:59:59', '23:59:59.5-12', '24:00:00-03:30'")},
    {OID_TIMESTAMP, "timestamp",
     CHANCE(ANY_TIME "::timestamp")
         EDGES("'4714-11-24 00:00:00 BC', '294276-12-31 23:59:59.999999', "
               "'1999-12-31 23:59:59.999999', 'infinity', '-infinity'")},
    {OID_TIMESTAMPTZ, "timestamptz",
     CHANCE(ANY_TIME) EDGES("'4714-11-24 00:00:00+00 BC', '294276-12-31 23:59:59.999999+00', "
                            "'1890-01-01 00:00:00+00:19:32', '1970-01-01 00:00:00-03:30', "
                            "'infinity', '-infinity'")},
    {OID_INTERVAL, "interval",
     CHANCE("make_interval((random() * 200 - 100)::int, (random() * 20 - 10)::int, 0, "
            "(random() * 2e5 - 1e5)::int, 0, 0, random() * 2e7 - 1e7)")
         EDGES("'00:00:00', '-178000000 years', '1 year 2 mons -3 days +04:05:06.789', "
               "'-00:00:00.000001', '2147483647 days'")},
};

static PGresult *ask(const char *sql, int format)
{
    PGresult *result = PQexecParams(server.look, sql, 0, NULL, NULL, NULL, NULL, format);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQresultErrorMessage(result));
    }
    return result;
}

static void check_value(const PgSendForm *form, const PGresult *texts, const PGresult *bytes,
                        int row, const char *type)
{
    Buf out = {.max = 1 << 20};
    const char *text = PQgetvalue(texts, row, 0);
    Value value = {.ptr = text, .len = (uint32_t)strlen(text), .state = VALUE_TEXT};
    buf_cstr(&out, "before");
    if (!pg_send_value(form, value, &out)) {
        fail_msg("%s of type %s is not written", text, type);
    }
    uint32_t len = (uint32_t)PQgetlength(bytes, row, 0);
    Str written = buf_view(&out);
    uint32_t said = 0;
    assert_true(written.len >= strlen("before") + sizeof(said));
    memcpy(&said, written.ptr + strlen("before"), sizeof(said));
    const char *data = written.ptr + strlen("before") + sizeof(said);
    if (be32toh(said) != len || written.len != strlen("before") + sizeof(said) + len ||
        memcmp(data, PQgetvalue(bytes, row, 0), len) != 0) {
        fail_msg("%s of type %s has other bytes", text, type);
    }
    buf_done(&out);
}

static void the_bytes_are_the_servers(void **state)
{
    Fixture *f = *state;
    execute(f, "SET timezone = 'UTC'; SET intervalstyle = 'postgres'; SET extra_float_digits = 3");
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        const TypeSample *sample = &samples[i];
        const PgSendForm *form = pg_send_form(sample->oid);
        assert_non_null(form);
        assert_int_equal(form->type_oid, sample->oid);
        // Texts are what the type makes of them, and old times may have offsets of seconds.
        execute(f, arena_printf(&f->arena,
                                "DROP TABLE IF EXISTS t;"
                                "CREATE TABLE t AS SELECT x::%s AS v FROM (%s) AS s (x)",
                                sample->type, sample->values));
        for (int zone = 0; zone < 2; zone++) {
            execute(f, zone == 0 ? "SET timezone = 'UTC'" : "SET timezone = 'Europe/Amsterdam'");
            PGresult *texts = ask("SELECT v FROM t", 0);
            PGresult *bytes = ask("SELECT v FROM t", 1);
            assert_int_equal(PQntuples(texts), PQntuples(bytes));
            assert_true(PQntuples(texts) >= 1);
            for (int row = 0; row < PQntuples(texts); row++) {
                check_value(form, texts, bytes, row, sample->type);
            }
            PQclear(texts);
            PQclear(bytes);
        }
    }
}

// What the type's output function does not write is left to the server, and leaves nothing behind.
static void other_texts_are_not_written(void **state)
{
    static const struct {
        uint32_t oid;
        const char *text;
    } others[] = {
        {OID_BOOL, "true"},
        {OID_BOOL, ""},
        {OID_INT2, "32768"},
        {OID_INT4, " 1"},
        {OID_INT4, "2147483648"},
        {OID_INT4, ""},
        {OID_INT8, "9223372036854775808"},
        {OID_INT8, "1.0"},
        {OID_OID, "-1"},
        {OID_FLOAT4, "1e39"},
        {OID_FLOAT4, "1e-60"},
        {OID_FLOAT8, "1e400"},
        {OID_FLOAT8, "1E-400"},
        {OID_FLOAT8, "x"},
        {OID_FLOAT8, ""},
        {OID_NUMERIC, "1e3"},
        {OID_NUMERIC, "1."},
        {OID_NUMERIC, ".5"},
        {OID_NUMERIC, "-"},
        {OID_NUMERIC, ""},
        {OID_NUMERIC, "--1"},
        {OID_DATE, "2024-02-30"},
        {OID_DATE, "2024-1-1"},
        {OID_DATE, "01/02/2024"},
        {OID_DATE, "2024-01-01 00:00:00"},
        {OID_DATE, ""},
        {OID_TIME, "24:00:01"},
        {OID_TIME, "12:00"},
        {OID_TIMETZ, "12:00:00"},
        {OID_TIMESTAMP, "2024-01-01 00:00:00+00"},
        {OID_TIMESTAMP, "2024-01-01"},
        {OID_TIMESTAMP, "294277-01-09 04:00:54.775807"},
        {OID_TIMESTAMPTZ, "2024-01-01 00:00:00"},
        {OID_TIMESTAMPTZ, "2024-01-01 00:00:00 UTC"},
        {OID_INTERVAL, "infinity"},
        {OID_INTERVAL, "P1D"},
        {OID_INTERVAL, ""},
        {OID_BYTEA, "abc"},
        {OID_BYTEA, "\\x0"},
        {OID_BYTEA, "\\x0g"},
        {OID_UUID, "00000000-0000-0000-0000-0000000000f"},
        {OID_UUID, "00000000x0000-0000-0000-0000000000ff"},
        {OID_UUID, "00000000-0000-0000-0000-0000000000fg"},
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        Buf out = {.max = 1 << 20};
        Value value = {
            .ptr = others[i].text, .len = (uint32_t)strlen(others[i].text), .state = VALUE_TEXT};
        buf_cstr(&out, "before");
        if (pg_send_value(pg_send_form(others[i].oid), value, &out)) {
            fail_msg("\"%s\" was taken as %u", others[i].text, others[i].oid);
        }
        assert_string_equal(buf_cstring(&out), "before");
        buf_done(&out);
    }
}

static void null_has_no_bytes(void **state)
{
    Buf out = {.max = 100};
    assert_true(pg_send_value(pg_send_form(OID_INT4), (Value){.state = VALUE_NULL}, &out));
    assert_int_equal(out.len, 4);
    assert_memory_equal(out.ptr, "\377\377\377\377", 4);
    buf_done(&out);
}

static void other_types_have_no_form(void **state)
{
    assert_null(pg_send_form(0));
    assert_null(pg_send_form(OID_MONEY)); // its text depends on a locale
    assert_null(pg_send_form(1007));      // integer[]
    assert_null(pg_send_form(FIRST_USER_OID));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        sink_test(the_bytes_are_the_servers),
        cmocka_unit_test(other_texts_are_not_written),
        cmocka_unit_test(null_has_no_bytes),
        cmocka_unit_test(other_types_have_no_form),
    };
    return run_on_server(tests, "pg/test_send_form");
}
