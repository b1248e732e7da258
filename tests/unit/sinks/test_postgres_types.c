// The postgres sink against a real server: every kind of value, on each of the ways into a table.
#include "sinks/postgres_fixture.h"

typedef struct Sample {
    const char *type;
    const char *text; // as the server writes it
} Sample;

static const Sample samples[] = {
    {"boolean", "f"},
    {"smallint", "-32768"},
    {"integer", "2147483647"},
    {"bigint", "-9223372036854775808"},
    {"real", "1e-45"},
    {"real", "NaN"},
    {"real", "-0"},
    {"double precision", "1.7976931348623157e+308"},
    {"double precision", "-Infinity"},
    {"double precision", "0.1"},
    {"numeric", "NaN"},
    {"numeric", "Infinity"},
    {"numeric", "-123456789012345678901234567890.000000000012345678900"},
    {"numeric(6,3)", "123.450"},
    {"money", "-$92,233,720,368,547,758.08"},
    {"text", ""},
    {"text", "NULL"},
    {"text", "\\N"},
    {"text", "\"{},\\\\'$1\t\n\r\v\f\b%s"},
    {"text", "žluťoučký \xf0\x9f\x90\x98"},
    {"character varying(5)", "ab   "},
    {"character(5)", "ab   "},
    {"\"char\"", "\\377"},
    {"name", "a name"},
    {"bytea", "\\x"},
    {"bytea", "\\x00ff5c27"},
    {"date", "4713-01-01 BC"},
    {"date", "5874897-12-31"},
    {"date", "-infinity"},
    {"time without time zone", "24:00:00"},
    {"time(2) without time zone", "23:59:59.99"},
    {"time with time zone", "00:00:00+15:59:59"},
    {"timestamp without time zone", "294276-12-31 23:59:59.999999"},
    {"timestamp with time zone", "4714-11-24 00:00:00+00 BC"},
    {"timestamp with time zone", "infinity"},
    {"interval", "-178000000 years"},
    {"interval", "1 year 2 mons -3 days +04:05:06.789"},
    {"interval day to second(0)", "3 days 04:05:06"},
    {"uuid", "00000000-0000-0000-0000-0000000000ff"},
    {"json", "{\"b\":  1, \"a\":[1.10, null], \"a\":\"\\u00e9\"}"},
    {"jsonb", "{\"a\": [1.10, null], \"b\": 100000000000000000000000}"},
    {"jsonb", "null"},
    {"xml", "<a>b &amp; c</a>"},
    {"bit(3)", "101"},
    {"bit varying", ""},
    {"bit varying(7)", "0101010"},
    {"inet", "10.0.0.1"},
    {"inet", "::ffff:1.2.3.4/120"},
    {"cidr", "10.0.0.0/8"},
    {"macaddr8", "08:00:2b:01:02:03:04:05"},
    {"point", "(1e+308,-0)"},
    {"polygon", "((0,0),(1,1),(1,0))"},
    {"circle", "<(0,0),3>"},
    {"tsvector", "'a':1A 'it''s':2"},
    {"tsquery", "'a' & !'b'"},
    {"pg_lsn", "16/B374D848"},
    {"oid", "4294967295"},
    {"xid", "4294967295"},
    {"integer[]", "{1,NULL,3}"},
    {"integer[]", "[0:1]={7,8}"},
    {"integer[]", "{{{1,2},{3,4}},{{5,6},{7,8}}}"},
    {"text[]", "{\"\",NULL,\"NULL\",\"a \\\"q\\\" \\\\ {,}\"}"},
    {"numeric(6,2)[]", "{1.50,NaN}"},
    {"character varying(3)[]", "{abc,NULL}"},
    {"bytea[]", "{\"\\\\x00ff\"}"},
    {"int4range", "[1,10)"},
    {"int4range", "empty"},
    {"tstzrange", "[\"2020-01-01 00:00:00+00\",)"},
    {"int8multirange", "{[1,2),[5,9)}"},
    {"app.mood", "so 'so\" \\"},
    {"app.mood[]", "{\"so 'so\\\" \\\\\",ok}"},
    {"app.pair", "(1,\"a \"\"b\"\", (c)\")"},
    {"app.amount", "12.50"},
    {"app.short", "abc"},
    {"extensions.ltree", "Top.Science.Astronomy"},
    {"extensions.citext", "Mixed CASE"},
};

static Column column_of(Fixture *f, const char *type)
{
    const char *sql = arena_printf(
        &f->arena,
        "CREATE TEMP TABLE probe (v %s); SELECT CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE "
        "t.oid END FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        " WHERE a.attrelid = 'probe'::regclass AND a.attname = 'v'",
        type);
    uint64_t oid, base;
    assert_true(str_to_uint64(str_from(look(f, sql)), &base));
    assert_true(str_to_uint64(str_from(look(f, "SELECT atttypid::oid FROM pg_attribute WHERE "
                                               "attrelid = 'probe'::regclass AND attname = 'v'")),
                              &oid));
    execute(f, "DROP TABLE probe");
    Column made = column("v", 2, (uint32_t)oid, type);
    made.base_type_oid = (uint32_t)base;
    made.type = type_class((uint32_t)base);
    return made;
}

static bool has_extensions(Fixture *f)
{
    return strcmp(look(f, "SELECT count(*) FROM pg_available_extensions"
                          " WHERE name IN ('ltree', 'citext')"),
                  "2") == 0;
}

static bool is_left_out(Fixture *f, const Sample *sample)
{
    if (!str_starts_with(str_from(sample->type), STR("extensions.")) || has_extensions(f)) {
        return false;
    }
    print_message("SKIPPED %s: the server has no such extension\n", sample->type);
    return true;
}

static void make_types(Fixture *f)
{
    execute(f, "CREATE SCHEMA extensions");
    if (has_extensions(f)) {
        execute(f, "CREATE EXTENSION ltree SCHEMA extensions;"
                   "CREATE EXTENSION citext SCHEMA extensions");
    }
    execute(f, "SET timezone = 'UTC'; SET lc_monetary = 'C'; CREATE SCHEMA app;"
               "CREATE TYPE app.mood AS ENUM ('ok', 'so ''so\" \\');"
               "CREATE TYPE app.pair AS (a int, b text);"
               "CREATE DOMAIN app.amount AS numeric(8,2) CHECK (VALUE > 0);"
               "CREATE DOMAIN app.short AS varchar(3)");
}

enum { ROWS = 30 };

static Value *row_of(Fixture *f, int id, Value value)
{
    Value *row = ARENA_ARRAY(&f->arena, Value, 2);
    const char *text = arena_printf(&f->arena, "%d", id);
    row[0] = (Value){.ptr = text, .len = (uint32_t)strlen(text), .state = VALUE_TEXT};
    row[1] = value;
    return row;
}

// Copied, by COPY, by sets that are large enough to be some, and one by one.
static void check_keyed(Fixture *f, const Relation *relation, Value value)
{
    add_change(f, CHANGE_READ, relation, NULL, row_of(f, 0, value));
    for (int i = 1; i < ROWS; i++) {
        add_change(f, CHANGE_INSERT, relation, NULL, row_of(f, i, i % 2 == 0 ? value : NIL));
    }
    assert_ok(f, write_batch(f));
    for (int i = 1; i < ROWS - 2; i++) {
        add_change(f, CHANGE_UPDATE, relation, NULL, row_of(f, i, value));
    }
    assert_ok(f, write_batch(f));
    add_change(f, CHANGE_UPDATE, relation, NULL, row_of(f, ROWS - 2, value));
    assert_ok(f, write_batch(f));
    add_change(f, CHANGE_UPDATE, relation, NULL, row_of(f, ROWS - 1, value));
    add_change(f, CHANGE_INSERT, relation, NULL, row_of(f, ROWS, value));
    assert_ok(f, write_batch(f));
}

static void check_keyless(Fixture *f, const Relation *relation, Value value)
{
    const Value *row = ROW(T("1"), value);
    add_change(f, CHANGE_INSERT, relation, NULL, row);
    add_change(f, CHANGE_INSERT, relation, NULL, row);
    add_change(f, CHANGE_DELETE, relation, row, NULL);
    add_change(f, CHANGE_UPDATE, relation, row, ROW(T("2"), value));
    assert_ok(f, write_batch(f));
}

static void every_value_arrives_as_it_is(void **state)
{
    Fixture *f = *state;
    make_types(f);
    assert_ok(f, sink_start(f, NULL));
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        const Sample *sample = &samples[i];
        if (is_left_out(f, sample)) {
            continue;
        }
        Column typed = column_of(f, sample->type);
        uint32_t oid = (uint32_t)i * 2 + 1;
        Relation *keyed =
            TABLE(f, oid, "app", arena_printf(&f->arena, "keyed%zu", i), "a", INT4("id", 1), typed);
        Relation *keyless = TABLE(f, oid + 1, "app", arena_printf(&f->arena, "keyless%zu", i), "",
                                  INT4("id", 1), typed);
        Value value = {
            .ptr = sample->text, .len = (uint32_t)strlen(sample->text), .state = VALUE_TEXT};
        assert_ok(f, sink_prepare(f, NULL, keyed));
        assert_ok(f, sink_prepare(f, NULL, keyless));
        check_keyed(f, keyed, value);
        check_keyless(f, keyless, value);
        assert_ok(f, sink_commit(f, NULL, NULL));
        const char *t = sample->text;
        const char *all = "";
        for (int row = 0; row <= ROWS; row++) {
            all = arena_printf(&f->arena, "%s%s%s", all, row > 0 ? "\n" : "", t);
        }
        assert_look(f, arena_printf(&f->arena, "SELECT v FROM app.keyed%zu ORDER BY id", i), all);
        assert_look(f, arena_printf(&f->arena, "SELECT id, v FROM app.keyless%zu", i),
                    arena_printf(&f->arena, "2|%s", t));
    }
}

// What may be a key, as a key: found by it in sets and alone.
static void every_value_that_can_be_a_key_is_one(void **state)
{
    Fixture *f = *state;
    make_types(f);
    assert_ok(f, sink_start(f, NULL));
    size_t keys = 0;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        const Sample *sample = &samples[i];
        if (is_left_out(f, sample)) {
            continue;
        }
        Column typed = column_of(f, sample->type);
        char *probe = look(
            f, arena_printf(&f->arena, "CREATE TEMP TABLE probe (v %s PRIMARY KEY)", sample->type));
        if (probe[0] != '\0') {
            continue; // no equality
        }
        execute(f, "DROP TABLE probe");
        keys++;
        Relation *relation = TABLE(f, (uint32_t)i + 1, "app", arena_printf(&f->arena, "key%zu", i),
                                   "b", INT4("n", 1), typed);
        Value value = {
            .ptr = sample->text, .len = (uint32_t)strlen(sample->text), .state = VALUE_TEXT};
        assert_ok(f, sink_prepare(f, NULL, relation));
        assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("0"), value)));
        assert_ok(f, write_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("1"), value)));
        add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("2"), value));
        add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("3"), value));
        add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("4"), value)); // folded: one set
        assert_ok(f, write_batch(f));
        assert_ok(f, sink_commit(f, NULL, NULL));
        assert_look(f, arena_printf(&f->arena, "SELECT n, v FROM app.key%zu", i),
                    arena_printf(&f->arena, "4|%s", sample->text));
        add_change(f, CHANGE_DELETE, relation, ROW(NONE, value), NULL);
        add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("5"), value));
        add_change(f, CHANGE_DELETE, relation, ROW(NONE, value), NULL);
        assert_ok(f, write_batch(f));
        assert_ok(f, sink_commit(f, NULL, NULL));
        assert_look(f, arena_printf(&f->arena, "SELECT * FROM app.key%zu", i), "");
    }
    assert_true(keys > 50);
}

// A set that is refused is not applied in another way.
static void try_batch(Fixture *f)
{
    bool is_intact;
    size_t count = f->batch_count;
    f->batch_count = 0;
    assert_ok(f, f->sink->ops->try_write(f->sink, f->batch, count, &is_intact, &f->error));
}

// A value that only the server can read stands among others that go in as bytes.
static void a_value_in_another_form_is_let_to_the_server(void **state)
{
    Fixture *f = *state;
    Relation *relation =
        TABLE(f, 1, "app", "t", "a", INT4("id", 1), column("v", 2, OID_NUMERIC, "numeric"));
    relation->columns[1].base_type_oid = OID_NUMERIC;
    char *digits = arena_alloc(&f->arena, 6000);
    memset(digits, '7', 6000);
    Value large = {.ptr = digits, .len = 6000, .state = VALUE_TEXT};
    execute(f, "CREATE SCHEMA app");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, NULL, relation));
    for (int i = 0; i < ROWS; i++) {
        add_change(f, CHANGE_INSERT, relation, NULL, row_of(f, i, i % 7 == 3 ? large : T("1.50")));
    }
    try_batch(f);
    for (int i = 0; i < ROWS; i++) {
        add_change(f, CHANGE_UPDATE, relation, NULL, row_of(f, i, i % 7 == 4 ? large : T("2.50")));
    }
    try_batch(f);
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f,
                "SELECT v = repeat('7', 6000)::numeric, CASE WHEN v < 10 THEN v END, count(*),"
                " bool_and((id % 7 = 4) = (v > 10)) FROM app.t GROUP BY 1, 2 ORDER BY 1",
                "f|2.50|26|t\nt|~|4|t");
}

// Four bytes are a number of either type, and not the same one.
static void a_column_that_has_another_type_by_now_gets_the_values(void **state)
{
    Fixture *f = *state;
    Relation *relation = TABLE(f, 1, "app", "t", "a", INT4("id", 1), INT4("v", 2));
    execute(f, "CREATE SCHEMA app");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, NULL, relation));
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, row_of(f, 0, T("1"))));
    assert_ok(f, sink_commit(f, NULL, NULL));
    execute(f, "ALTER TABLE app.t ALTER v TYPE real");
    for (int i = 1; i < ROWS; i++) {
        add_change(f, CHANGE_INSERT, relation, NULL, row_of(f, i, T("12")));
    }
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT v, count(*) FROM app.t GROUP BY v ORDER BY v", "1|1\n12|29");
    execute(f, "ALTER TABLE app.t ALTER v TYPE int");
    execute(f, "ALTER TABLE app.t ALTER id TYPE bigint");
    for (int i = 1; i < ROWS; i++) {
        add_change(f, CHANGE_UPDATE, relation, NULL, row_of(f, i, T("13")));
    }
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT v, count(*) FROM app.t GROUP BY v ORDER BY v", "1|1\n13|29");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        sink_test(every_value_arrives_as_it_is),
        sink_test(every_value_that_can_be_a_key_is_one),
        sink_test(a_value_in_another_form_is_let_to_the_server),
        sink_test(a_column_that_has_another_type_by_now_gets_the_values),
    };
    return run_on_server(tests, "sinks/test_postgres_types");
}
