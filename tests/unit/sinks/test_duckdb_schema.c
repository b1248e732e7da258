// Tables of the duckdb sink: types, what is there already, and every way in which a relation
// changes.
#include "sinks/duckdb_fixture.h"

static void start(Fixture *f)
{
    assert_ok(f, sink_start(f, NULL));
}

static void put(Fixture *f, const Relation *relation, const Value *row)
{
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, row));
}

static void commit(Fixture *f)
{
    assert_ok(f, sink_commit(f, NULL, NULL));
}

#define TYPES "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 't'"

// ---------------------------------------------------------------------------------------------
// Types
// ---------------------------------------------------------------------------------------------

static Relation *every_type(Fixture *f)
{
    return TABLE(
        f, 1, "public", "t", "", column("c_bool", 1, OID_BOOL, "boolean"),
        column("c_int2", 2, OID_INT2, "smallint"), INT4("c_int4", 3), INT8("c_int8", 4),
        column("c_oid", 5, OID_OID, "oid"), column("c_float4", 6, OID_FLOAT4, "real"),
        column("c_float8", 7, OID_FLOAT8, "double precision"), decimal("c_dec", 8, 38, 38),
        decimal("c_dec4", 9, 4, 2), decimal("c_wide", 10, 39, 0), decimal("c_neg", 11, 3, -2),
        column("c_num", 12, OID_NUMERIC, "numeric"), TEXT("c_text", 13),
        column("c_bytea", 14, OID_BYTEA, "bytea"), column("c_date", 15, OID_DATE, "date"),
        column("c_time", 16, OID_TIME, "time"), column("c_timetz", 17, OID_TIMETZ, "timetz"),
        column("c_ts", 18, OID_TIMESTAMP, "timestamp"),
        column("c_tstz", 19, OID_TIMESTAMPTZ, "timestamptz"),
        column("c_int", 20, OID_INTERVAL, "interval"), column("c_uuid", 21, OID_UUID, "uuid"),
        column("c_json", 22, OID_JSON, "json"), column("c_jsonb", 23, OID_JSONB, "jsonb"),
        column("c_bit", 24, OID_BIT, "bit"), column("c_array", 25, 1007, "integer[]"));
}

static const Value lowest[] = {
    T("f"),
    T("-32768"),
    T("-2147483648"),
    T("-9223372036854775808"),
    T("0"),
    T("-3.4028235e+38"),
    T("-1.7976931348623157e+308"),
    T("-0.99999999999999999999999999999999999999"),
    T("-99.99"),
    T("-999999999999999999999999999999999999999"),
    T("-99900"),
    T("NaN"),
    T(""),
    T("\\x"),
    T("4714-11-24 BC"),
    T("00:00:00"),
    T("00:00:00+15:59:59"),
    T("4714-11-24 00:00:00 BC"),
    T("-infinity"),
    T("-178956970 years -8 mons -2147483648 days -2562047788:00:54.775808"),
    T("00000000-0000-0000-0000-000000000000"),
    T("null"),
    T("\"\""),
    T("0"),
    T("{}")};

static const Value highest[] = {T("t"),
                                T("32767"),
                                T("2147483647"),
                                T("9223372036854775807"),
                                T("4294967295"),
                                T("Infinity"),
                                T("NaN"),
                                T("0.99999999999999999999999999999999999999"),
                                T("99.99"),
                                T("999999999999999999999999999999999999999"),
                                T("99900"),
                                T("Infinity"),
                                T("\xf0\x9f\x98\x80 \"it's\"\n\\N\t"),
                                T("\\x00ff0a27"),
                                T("5874897-12-31"),
                                T("24:00:00"),
                                T("24:00:00-15:59:59"),
                                T("294246-12-31 23:59:59.999999"),
                                T("2026-11-21 05:20:59.123456+05:30"),
                                T("1 year 2 mons -3 days +04:05:06.789"),
                                T("ffffffff-ffff-ffff-ffff-ffffffffffff"),
                                T("{\"a\": [1, 1.50, \"\\u00e9\"]}"),
                                T("[1e400]"),
                                T("10110"),
                                T("{1,NULL,\"3\"}")};

static void every_type_holds_its_extremes(void **state)
{
    Fixture *f = *state;
    const Relation *t = every_type(f);
    Value nulls[25];
    for (size_t i = 0; i < ARRAY_LEN(nulls); i++) {
        nulls[i] = NIL;
    }
    start(f);
    assert_ok(f, sink_prepare(f, NULL, t));
    put(f, t, lowest);
    put(f, t, highest);
    put(f, t, nulls);
    commit(f);
    execute(f, "SET TimeZone = 'UTC'");
    assert_look(f, TYPES,
                "c_bool|BOOLEAN\nc_int2|SMALLINT\nc_int4|INTEGER\nc_int8|BIGINT\nc_oid|UINTEGER\n"
                "c_float4|FLOAT\nc_float8|DOUBLE\nc_dec|DECIMAL(38,38)\nc_dec4|DECIMAL(4,2)\n"
                "c_wide|VARCHAR\nc_neg|VARCHAR\nc_num|VARCHAR\nc_text|VARCHAR\nc_bytea|BLOB\n"
                "c_date|DATE\nc_time|TIME\nc_timetz|TIME WITH TIME ZONE\nc_ts|TIMESTAMP\n"
                "c_tstz|TIMESTAMP WITH TIME ZONE\nc_int|INTERVAL\nc_uuid|UUID\nc_json|JSON\n"
                "c_jsonb|JSON\nc_bit|VARCHAR\nc_array|VARCHAR");
    assert_look(
        f, "SELECT * FROM t LIMIT 1",
        "false|-32768|-2147483648|-9223372036854775808|0|-3.4028235e+38|-1.7976931348623157e+308|"
        "-.99999999999999999999999999999999999999|-99.99|"
        "-999999999999999999999999999999999999999|-99900|NaN|||4714-11-24 (BC)|00:00:00|"
        "00:00:00+15:59:59|4714-11-24 (BC) 00:00:00|-infinity|"
        "-178956970 years -8 months -2147483648 days -2562047788:00:54.775808|"
        "00000000-0000-0000-0000-000000000000|null|\"\"|0|{}");
    assert_look(
        f, "SELECT * FROM t LIMIT 1 OFFSET 1",
        "true|32767|2147483647|9223372036854775807|4294967295|inf|nan|"
        ".99999999999999999999999999999999999999|99.99|999999999999999999999999999999999999999|"
        "99900|Infinity|\xf0\x9f\x98\x80 "
        "\"it's\"\n\\N\t|\\x00\\xFF\\x0A\\x27|5874897-12-31|24:00:00|"
        "24:00:00-15:59:59|294246-12-31 23:59:59.999999|2026-11-20 23:50:59.123456+00|"
        "1 year 2 months -3 days 04:05:06.789|ffffffff-ffff-ffff-ffff-ffffffffffff|"
        "{\"a\": [1, 1.50, \"\\u00e9\"]}|[1e400]|10110|{1,NULL,\"3\"}");
    assert_look(f, "SELECT count(*), count(COLUMNS(*)) FROM (SELECT * FROM t LIMIT 1 OFFSET 2)",
                "1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0");
    // Each row is found by all its values.
    add_change(f, CHANGE_DELETE, t, highest, NULL);
    add_change(f, CHANGE_DELETE, t, nulls, NULL);
    add_change(f, CHANGE_DELETE, t, lowest, NULL);
    assert_ok(f, write_batch(f));
    commit(f);
    assert_look(f, "SELECT count(*) FROM t", "0");
}

static void exact_keeps_text(void **state)
{
    Fixture *f = *state;
    set_option(f, "exact", "true");
    const Relation *t = TABLE(
        f, 1, "public", "t", "a", decimal("d", 1, 10, 2),
        column("s", 2, OID_TIMESTAMP, "timestamp"), column("z", 3, OID_TIMESTAMPTZ, "timestamptz"),
        column("i", 4, OID_INTERVAL, "interval"), column("y", 5, OID_DATE, "date"),
        column("h", 6, OID_TIME, "time"), column("u", 7, OID_UUID, "uuid"), INT8("n", 8));
    start(f);
    assert_ok(f, sink_prepare(f, NULL, t));
    put(f, t,
        ROW(T("NaN"), T("294276-12-31 23:59:59.999999"), T("294276-12-31 23:59:59.999999+00"),
            T("infinity"), T("infinity"), T("24:00:00"), T("00000000-0000-0000-0000-000000000001"),
            T("1")));
    commit(f);
    assert_look(f, TYPES,
                "d|VARCHAR\ns|VARCHAR\nz|VARCHAR\ni|VARCHAR\ny|DATE\nh|TIME\nu|UUID\nn|BIGINT");
    assert_look(f, "SELECT * FROM t",
                "NaN|294276-12-31 23:59:59.999999|294276-12-31 23:59:59.999999+00|infinity|"
                "infinity|24:00:00|00000000-0000-0000-0000-000000000001|1");
}

static void what_does_not_fit_says_exact(void **state)
{
    Fixture *f = *state;
    const Relation *t = TABLE(f, 1, "public", "t", "", column("s", 1, OID_TIMESTAMP, "timestamp"),
                              column("i", 2, OID_INTERVAL, "interval"));
    start(f);
    assert_ok(f, sink_prepare(f, NULL, t));
    assert_fails(f, write_change(f, CHANGE_INSERT, t, NULL, ROW(T("294276-01-01 00:00:00"), NIL)),
                 ERROR_DATA, "exact=true");
    assert_non_null(strstr(f->error.message, "column \"s\": DuckDB's type TIMESTAMP"));
    assert_fails(f, write_change(f, CHANGE_INSERT, t, NULL, ROW(NIL, T("-infinity"))), ERROR_DATA,
                 "column \"i\": DuckDB's type INTERVAL");
    assert_fails(f, write_change(f, CHANGE_INSERT, t, NULL, ROW(T("yesterday"), NIL)), ERROR_DATA,
                 "a value that came is no TIMESTAMP");
    assert_string_equal(f->error.hint, "");
}

// Nothing that exact=true would change.
static void what_no_option_helps_says_nothing_of_it(void **state)
{
    Fixture *f = *state;
    const Relation *t = TABLE(f, 1, "public", "t", "", INT4("id", 1));
    start(f);
    assert_ok(f, sink_prepare(f, NULL, t));
    assert_fails(f, write_change(f, CHANGE_INSERT, t, NULL, ROW(T("2147483648"))), ERROR_DATA,
                 "DuckDB's type INTEGER cannot hold");
    assert_string_equal(f->error.hint, "");
}

static void a_default_that_does_not_fit_says_exact(void **state)
{
    Fixture *f = *state;
    const Relation *was = TABLE(f, 1, "public", "t", "a", INT4("id", 1));
    Column added = column("s", 2, OID_TIMESTAMP, "timestamp");
    added.has_default = true;
    added.missing_value = STR("294276-01-01 00:00:00");
    const Relation *now = TABLE(f, 1, "public", "t", "a", INT4("id", 1), added);
    start(f);
    assert_ok(f, sink_prepare(f, NULL, was));
    assert_fails(f, sink_prepare(f, was, now), ERROR_DATA, "cannot hold its default");
    assert_non_null(strstr(f->error.hint, "exact=true"));
}

static void a_table_of_another_exact_says_so(void **state)
{
    Fixture *f = *state;
    const Relation *t = TABLE(f, 1, "public", "t", "", column("s", 1, OID_TIMESTAMP, "timestamp"));
    start(f);
    execute(f, "CREATE TABLE t (s VARCHAR)");
    assert_fails(f, sink_prepare(f, NULL, t), ERROR_CONFIG, "does not fit");
    assert_non_null(strstr(f->error.hint, "It was made with exact=true: say that again."));
    start(f);
    execute(f, "CREATE OR REPLACE TABLE t (s INTEGER)");
    assert_fails(f, sink_prepare(f, NULL, t), ERROR_CONFIG, "does not fit");
    assert_null(strstr(f->error.hint, "exact"));
}

// ---------------------------------------------------------------------------------------------
// What is there already
// ---------------------------------------------------------------------------------------------

static void existing_rows(void **state)
{
    Fixture *f = *state;
    const Relation *t = TABLE(f, 1, "public", "t", "a", INT4("id", 1), TEXT("v", 2));
    start(f);
    execute(f, "CREATE TABLE t (V VARCHAR, ID INTEGER)");
    assert_ok(f, sink_prepare(f, NULL, t));
    start(f);
    execute(f, "INSERT INTO t VALUES ('theirs', 7)");
    assert_fails(f, sink_prepare(f, NULL, t), ERROR_CONFIG, "existing=truncate");
    set_option(f, "existing", "keep");
    start(f);
    assert_ok(f, sink_prepare(f, NULL, t));
    put(f, t, ROW(T("1"), T("ours")));
    commit(f);
    assert_look(f, "SELECT * FROM t ORDER BY id", "ours|1\ntheirs|7");
    start(f);
    assert_ok(f, sink_prepare(f, t, t));
    assert_fails(f, f->sink->ops->clear(f->sink, t, 0x1000, &f->error), ERROR_CONFIG, "table:1");
    assert_ok(f, f->sink->ops->clear(f->sink, t, LSN_NONE, &f->error));
    assert_look(f, "SELECT * FROM t ORDER BY id", "ours|1\ntheirs|7");
    f->setting_count--;
    set_option(f, "existing", "truncate");
    start(f);
    execute(f, "DELETE FROM weir.checkpoint");
    start(f);
    assert_ok(f, sink_prepare(f, NULL, t));
    put(f, t, ROW(T("2"), T("ours")));
    commit(f);
    assert_look(f, "SELECT * FROM t ORDER BY id", "ours|2");
}

static void an_existing_table_that_does_not_fit(void **state)
{
    Fixture *f = *state;
    const Relation *t = TABLE(f, 1, "public", "t", "a", INT4("id", 1), TEXT("v", 2));
    start(f);
    execute(f, "CREATE TABLE t (id BIGINT, w VARCHAR)");
    assert_fails(f, sink_prepare(f, NULL, t), ERROR_CONFIG,
                 "column \"id\" is BIGINT and not INTEGER; column \"v\" is missing");
    start(f);
    execute(f, "DROP TABLE t; CREATE TABLE t (id INTEGER, v VARCHAR, more INTEGER)");
    assert_fails(f, sink_prepare(f, NULL, t), ERROR_CONFIG, "it has 3 columns instead of 2");
    start(f);
    execute(f, "DROP TABLE t; CREATE VIEW t AS SELECT 1::INTEGER AS id, 'x' AS v");
    assert_fails(f, sink_prepare(f, NULL, t), ERROR_CONFIG, "it is not a table");
    start(f);
    execute(f, "DROP VIEW t");
    assert_fails(f, sink_prepare(f, t, t), ERROR_CONFIG, "which this pipeline made, is not in");
}

static void tables_of_one_name(void **state)
{
    Fixture *f = *state;
    const Relation *a = TABLE(f, 1, "public", "t", "a", INT4("id", 1));
    const Relation *b = TABLE(f, 2, "main", "T", "a", INT4("id", 1));
    start(f);
    assert_ok(f, sink_prepare(f, NULL, a));
    assert_fails(f, sink_prepare(f, NULL, b), ERROR_CONFIG, "would both go to");
}

static void check_tells_what_is_wrong(void **state)
{
    Fixture *f = *state;
    const Relation *t = TABLE(f, 1, "public", "t", "a", INT4("id", 1), decimal("v", 2, 5, 1));
    Report report = {0};
    Buf text = {.max = 256};
    start(f);
    execute(f, "CREATE TABLE t (id INTEGER, v DECIMAL(5,1)); INSERT INTO t VALUES (1, 1)");
    assert_ok(f, sink_make(f));
    assert_ok(f, f->sink->ops->open(f->sink, &f->error));
    assert_ok(f, f->sink->ops->check(f->sink, t, &report, &f->error));
    assert_int_equal(report.count, 1);
    assert_non_null(strstr(report.problems[0].mend.ptr, "say existing=truncate"));
    f->sink->ops->describe_column(f->sink, &t->columns[1], &text);
    f->sink->ops->describe_table(f->sink, t, &text);
    assert_string_equal(buf_cstring(&text), "DECIMAL(5,1)\"main\".\"t\"");
    buf_done(&text);
    report_done(&report);
}

// ---------------------------------------------------------------------------------------------
// Changes of the relation
// ---------------------------------------------------------------------------------------------

// Each edit in three situations: rows only of earlier transactions; of this one too; and rows of
// earlier ones deleted in this one, which is what DuckDB does not alter in place.
typedef enum Situation { CLEAN, INSERTED, DELETED, SITUATIONS } Situation;

static void edit(Fixture *f, Situation situation, const Relation *was, const Relation *now)
{
    start(f);
    execute(f, "DROP TABLE IF EXISTS t; DROP TABLE IF EXISTS moved; DELETE FROM weir.checkpoint; "
               "DROP SCHEMA IF EXISTS elsewhere CASCADE");
    start(f); // it remembers which tables it made
    assert_ok(f, sink_prepare(f, NULL, was));
    put(f, was, ROW(T("1"), T("11"), T("one")));
    put(f, was, ROW(T("2"), T("22"), NIL));
    put(f, was, ROW(T("3"), T("33"), T("three")));
    assert_ok(f, sink_commit(f, "table:1", "x"));
    assert_ok(f, sink_prepare(f, was, was));
    if (situation == INSERTED) {
        put(f, was, ROW(T("4"), T("44"), T("four")));
    }
    if (situation == DELETED) {
        assert_ok(f, write_change(f, CHANGE_DELETE, was, ROW(T("3"), NONE, NONE), NULL));
    }
    assert_ok(f, sink_prepare(f, was, now));
    assert_ok(f, sink_prepare(f, now, now));
}

// What the first two columns of every row have to be, the key of @now being its first column.
static void finish(Fixture *f, Situation situation, const char *sql, const char *two_rows,
                   const char *third, const char *fourth)
{
    const char *more = situation == DELETED ? "" : arena_printf(&f->arena, "\n%s", third);
    const char *last = situation == INSERTED ? arena_printf(&f->arena, "\n%s", fourth) : "";
    commit(f);
    assert_string_equal(look(f, sql), arena_printf(&f->arena, "%s%s%s", two_rows, more, last));
    // And again from the file.
    start(f);
    assert_string_equal(look(f, sql), arena_printf(&f->arena, "%s%s%s", two_rows, more, last));
}

#define WAS(f) TABLE(f, 1, "public", "t", "a", INT4("id", 1), INT4("n", 2), TEXT("v", 3))

static void adds_columns(void **state)
{
    Fixture *f = *state;
    Column plain = INT4("plain", 4);
    Column with = column("added", 5, OID_TIMESTAMPTZ, "timestamptz");
    Column blob = column("blob", 6, OID_BYTEA, "bytea");
    Column span = column("span", 7, OID_INTERVAL, "interval");
    with.missing_value = STR("0044-03-15 12:00:00.5+02 BC");
    blob.missing_value = STR("\\x00ff");
    span.missing_value = STR("1 mon -2562047788:00:54.775808");
    for (Situation s = CLEAN; s < SITUATIONS; s++) {
        const Relation *was = WAS(f);
        const Relation *now = TABLE(f, 1, "public", "t", "a", INT4("id", 1), INT4("n", 2),
                                    TEXT("v", 3), plain, with, blob, span);
        edit(f, s, was, now);
        put(f, now, ROW(T("9"), NIL, NIL, T("9"), NIL, NIL, NIL));
        assert_ok(f, write_change(f, CHANGE_UPDATE, now, NULL,
                                  ROW(T("2"), T("23"), NIL, T("5"), SAME, SAME, SAME)));
        assert_ok(f, write_change(f, CHANGE_DELETE, now,
                                  ROW(T("9"), NONE, NONE, NONE, NONE, NONE, NONE), NULL));
        finish(f, s, "SELECT id, n, plain, epoch_us(added), blob, span FROM t ORDER BY id",
               "1|11|NULL|-63517787999500000|\\x00\\xFF|1 month -2562047788:00:54.775808\n"
               "2|23|5|-63517787999500000|\\x00\\xFF|1 month -2562047788:00:54.775808",
               "3|33|NULL|-63517787999500000|\\x00\\xFF|1 month -2562047788:00:54.775808",
               "4|44|NULL|-63517787999500000|\\x00\\xFF|1 month -2562047788:00:54.775808");
        assert_look(f, "SELECT count(column_default) FROM duckdb_columns() WHERE table_name = 't'",
                    "0");
    }
}

static void drops_columns(void **state)
{
    Fixture *f = *state;
    for (Situation s = CLEAN; s < SITUATIONS; s++) {
        const Relation *now = TABLE(f, 1, "public", "t", "a", INT4("id", 1), TEXT("v", 3));
        edit(f, s, WAS(f), now);
        assert_ok(f, write_change(f, CHANGE_UPDATE, now, NULL, ROW(T("2"), T("two"))));
        finish(f, s, "SELECT * FROM t ORDER BY id", "1|one\n2|two", "3|three", "4|four");
    }
}

static void replaces_every_column(void **state)
{
    Fixture *f = *state;
    const Relation *now = TABLE(f, 1, "public", "t", "", TEXT("id", 7), INT8("x", 8));
    for (Situation s = CLEAN; s < SITUATIONS; s++) {
        edit(f, s, WAS(f), now);
        finish(f, s, "SELECT * FROM t", "NULL|NULL\nNULL|NULL", "NULL|NULL", "NULL|NULL");
    }
}

static void renames_columns(void **state)
{
    Fixture *f = *state;
    for (Situation s = CLEAN; s < SITUATIONS; s++) {
        const Relation *now =
            TABLE(f, 1, "public", "t", "a", INT4("v", 1), INT4("ID", 2), TEXT("n", 3));
        edit(f, s, WAS(f), now);
        assert_ok(f, write_change(f, CHANGE_UPDATE, now, NULL, ROW(T("2"), T("23"), SAME)));
        finish(f, s, "SELECT v, ID, n FROM t ORDER BY v", "1|11|one\n2|23|NULL", "3|33|three",
               "4|44|four");
    }
}

static void changes_types(void **state)
{
    Fixture *f = *state;
    for (Situation s = CLEAN; s < SITUATIONS; s++) {
        Column padded = column("v", 3, OID_BPCHAR, "character(20)");
        const Relation *now =
            TABLE(f, 1, "public", "t", "a", INT8("id", 1), decimal("n", 2, 10, 1), padded);
        edit(f, s, WAS(f), now);
        put(f, now, ROW(T("5000000000"), T("1.5"), T("x")));
        assert_ok(f, write_change(f, CHANGE_DELETE, now, ROW(T("5000000000"), NONE, NONE), NULL));
        finish(f, s, "SELECT * FROM t ORDER BY id", "1|11.0|one\n2|22.0|NULL", "3|33.0|three",
               "4|44.0|four");
        assert_look(f, TYPES, "id|BIGINT\nn|DECIMAL(10,1)\nv|VARCHAR");
    }
}

static void a_type_that_needs_a_copy(void **state)
{
    Fixture *f = *state;
    const Relation *was = WAS(f);
    const Relation *now = TABLE(f, 1, "public", "t", "a", INT4("id", 1),
                                column("n", 2, OID_TIMESTAMP, "timestamp"), TEXT("v", 3));
    start(f);
    assert_ok(f, sink_prepare(f, NULL, was));
    put(f, was, ROW(T("1"), T("11"), T("one")));
    assert_ok(f, sink_commit(f, "table:1", "x"));
    assert_fails(f, sink_prepare(f, was, now), ERROR_CONFIG, "Have the table copied again");
    start(f);
    assert_ok(f, sink_prepare(f, was, was));
    assert_ok(f, f->sink->ops->clear(f->sink, was, LSN_NONE, &f->error));
    assert_ok(f, sink_prepare(f, was, now));
    put(f, now, ROW(T("1"), T("2026-01-01 00:00:00"), T("one")));
    commit(f);
    assert_look(f, "SELECT * FROM t", "1|2026-01-01 00:00:00|one");
}

static void moves_tables(void **state)
{
    Fixture *f = *state;
    for (Situation s = CLEAN; s < SITUATIONS; s++) {
        const Relation *now =
            TABLE(f, 1, "public", "moved", "a", INT4("id", 1), INT4("n", 2), TEXT("v", 3));
        edit(f, s, WAS(f), now);
        assert_ok(f, write_change(f, CHANGE_UPDATE, now, NULL, ROW(T("2"), T("23"), SAME)));
        finish(f, s, "SELECT * FROM moved ORDER BY id", "1|11|one\n2|23|NULL", "3|33|three",
               "4|44|four");
        now = TABLE(f, 1, "elsewhere", "t", "a", INT4("id", 1), INT4("nn", 2), TEXT("v", 3));
        edit(f, s, WAS(f), now);
        assert_ok(f, write_change(f, CHANGE_UPDATE, now, NULL, ROW(T("2"), T("23"), SAME)));
        finish(f, s, "SELECT id, nn, v FROM elsewhere.t ORDER BY id", "1|11|one\n2|23|NULL",
               "3|33|three", "4|44|four");
        assert_look(f, "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'main'", "0");
    }
    const Relation *was = WAS(f);
    start(f);
    execute(f, "CREATE TABLE moved (id INTEGER); CREATE TABLE t (id INTEGER, n INTEGER, v TEXT)");
    assert_fails(f, sink_prepare(f, was, TABLE(f, 1, "public", "moved", "a", INT4("id", 1))),
                 ERROR_CONFIG, "already has a table \"main.moved\"");
}

static void changes_the_key(void **state)
{
    Fixture *f = *state;
    const Relation *was = WAS(f);
    const Relation *now =
        TABLE(f, 1, "public", "t", "bc", INT4("id", 1), INT4("n", 2), TEXT("v", 3));
    edit(f, CLEAN, was, now);
    assert_ok(f, write_change(f, CHANGE_UPDATE, now, NULL, ROW(T("9"), T("11"), T("one"))));
    commit(f);
    assert_look(f, "SELECT id FROM t ORDER BY n", "9\n2\n3");
}

static void a_change_is_part_of_the_transaction(void **state)
{
    Fixture *f = *state;
    const Relation *now = TABLE(f, 1, "public", "t", "a", INT4("id", 1), TEXT("more", 4));
    edit(f, DELETED, WAS(f), now);
    start(f);
    assert_look(f, "SELECT * FROM t ORDER BY id", "1|11|one\n2|22|NULL\n3|33|three");
}

static void several_changes_in_one_transaction(void **state)
{
    Fixture *f = *state;
    const Relation *a = WAS(f);
    const Relation *b = TABLE(f, 1, "public", "t", "a", INT4("id", 1), INT8("n", 2), TEXT("w", 3));
    const Relation *c =
        TABLE(f, 1, "public", "t", "a", INT4("id", 1), INT8("n", 2), TEXT("w", 3), INT4("x", 4));
    const Relation *d = TABLE(f, 1, "public", "u", "a", INT4("id", 1), TEXT("w", 3), INT4("x", 4));
    edit(f, DELETED, a, b);
    assert_ok(f, write_change(f, CHANGE_UPDATE, b, NULL, ROW(T("1"), T("12"), SAME)));
    assert_ok(f, sink_prepare(f, b, c));
    assert_ok(f, write_change(f, CHANGE_UPDATE, c, NULL, ROW(T("2"), SAME, SAME, T("7"))));
    assert_ok(f, sink_prepare(f, c, d));
    assert_ok(f, write_change(f, CHANGE_UPDATE, d, NULL, ROW(T("1"), T("eins"), SAME)));
    put(f, d, ROW(T("5"), T("five"), NIL));
    commit(f);
    assert_look(f, "SELECT * FROM u ORDER BY id", "1|eins|NULL\n2|NULL|7\n5|five|NULL");
    start(f);
    assert_look(f, "SELECT * FROM u ORDER BY id", "1|eins|NULL\n2|NULL|7\n5|five|NULL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        sink_test(every_type_holds_its_extremes),
        sink_test(exact_keeps_text),
        sink_test(what_does_not_fit_says_exact),
        sink_test(what_no_option_helps_says_nothing_of_it),
        sink_test(a_default_that_does_not_fit_says_exact),
        sink_test(a_table_of_another_exact_says_so),
        sink_test(existing_rows),
        sink_test(an_existing_table_that_does_not_fit),
        sink_test(tables_of_one_name),
        sink_test(check_tells_what_is_wrong),
        sink_test(adds_columns),
        sink_test(drops_columns),
        sink_test(replaces_every_column),
        sink_test(renames_columns),
        sink_test(changes_types),
        sink_test(a_type_that_needs_a_copy),
        sink_test(moves_tables),
        sink_test(changes_the_key),
        sink_test(a_change_is_part_of_the_transaction),
        sink_test(several_changes_in_one_transaction),
    };
    int skip = skip_without_library("duckdb_schema");
    return skip != 0 ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
