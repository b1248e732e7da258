// Tables of the sqlite sink: made, adopted or refused, and changed with the source.
#include "sinks/sqlite_fixture.h"

static void start(Fixture *f)
{
    assert_ok(f, sink_start(f, NULL));
}

static void stop(Fixture *f)
{
    sink_free(f->sink);
    f->sink = NULL;
}

static void insert(Fixture *f, const Relation *relation, const Value *row)
{
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, row));
}

static void commit(Fixture *f)
{
    assert_ok(f, sink_commit(f, "table:100", "ready"));
}

#define COLUMNS_OF(table) "SELECT name, type, pk FROM pragma_table_info('" table "') ORDER BY cid"

static void declares_types_that_lose_nothing(void **state)
{
    Fixture *f = *state;
    const Relation *t =
        TABLE(f, 100, "public", "types", "a", INT8("id", 1), BOOL("b", 2),
              column("i2", 3, OID_INT2, "smallint"), column("o", 4, OID_OID, "oid"),
              FLOAT4("f4", 5), FLOAT8("f8", 6), NUMERIC("n", 7), BYTEA("by", 8),
              column("iv", 9, OID_INTERVAL, "interval"), column("p", 10, 600, "point"),
              column("ts", 11, OID_TIMESTAMPTZ, "timestamp with time zone"),
              column("js", 12, OID_JSONB, "jsonb"), column("ia", 13, 1007, "integer[]"));
    start(f);
    assert_ok(f, sink_prepare(f, NULL, t));
    insert(f, t,
           ROW(T("-9223372036854775808"), T("t"), T("-32768"), T("4294967295"), T("3.4028235e+38"),
               T("-Infinity"), T("12345678901234567890.10"), T("\\x00ff"), T("1 day"), T("(1,2)"),
               T("0044-03-15 12:00:00+00 BC"), T("{\"a\": 1.0}"), T("{1,NULL}")));
    insert(f, t,
           ROW(T("9223372036854775807"), T("f"), T("32767"), T("0"), T("1e-45"),
               T("1.7976931348623157e+308"), T("NaN"), T("\\x"), T("12"), T("7"), T("infinity"),
               T("12"), T("{}")));
    insert(f, t,
           ROW(T("0"), NIL, NIL, NIL, T("NaN"), T("5e-324"), T("-Infinity"), NIL, NIL, NIL, NIL,
               T("\"\""), NIL));
    commit(f);
    assert_look(f, COLUMNS_OF("types"),
                "'id'|'INTEGER'|1\n'b'|'BOOLEAN'|0\n'i2'|'INTEGER'|0\n'o'|'INTEGER'|0\n"
                "'f4'|'REAL'|0\n'f8'|'REAL'|0\n'n'|'TEXT'|0\n'by'|'BLOB'|0\n'iv'|'TEXT'|0\n"
                "'p'|'TEXT'|0\n'ts'|'TEXT'|0\n'js'|'TEXT'|0\n'ia'|'TEXT'|0");
    assert_look(f, "SELECT * FROM types ORDER BY id",
                "-9223372036854775808|1|-32768|4294967295|3.4028234999999999e+38f|-inff|"
                "'12345678901234567890.10'|x00ff|'1 day'|'(1,2)'|'0044-03-15 12:00:00+00 BC'|"
                "'{\"a\": 1.0}'|'{1,NULL}'\n"
                "0|NULL|NULL|NULL|'NaN'|4.9406564584124654e-324f|'-Infinity'|NULL|NULL|NULL|NULL|"
                "'\"\"'|NULL\n"
                "9223372036854775807|0|32767|0|9.9999999999999998e-46f|1.7976931348623157e+308f|"
                "'NaN'|x|'12'|'7'|'infinity'|'12'|'{}'");
}

static void names_tables(void **state)
{
    Fixture *f = *state;
    start(f);
    assert_ok(f, sink_prepare(f, NULL, TABLE(f, 1, "public", "orders", "a", INT4("id", 1))));
    assert_ok(f, sink_prepare(f, NULL, TABLE(f, 2, "shop", "orders", "a", INT4("id", 1))));
    assert_ok(f, sink_prepare(f, NULL,
                              TABLE(f, 3, "odd \"s\"", "t, 'x'; --", "ab", INT4("a \"b\".c", 1),
                                    TEXT("名前", 2), TEXT("select", 3), TEXT("?1", 4))));
    const Relation *t = TABLE(f, 3, "odd \"s\"", "t, 'x'; --", "ab", INT4("a \"b\".c", 1),
                              TEXT("名前", 2), TEXT("select", 3), TEXT("?1", 4));
    insert(f, t, ROW(T("1"), T("k"), T("v"), NIL));
    assert_ok(f, write_change(f, CHANGE_UPDATE, t, NULL, ROW(T("1"), T("k"), SAME, T("w"))));
    commit(f);
    assert_look(f, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1",
                "'odd \"s\".t, 'x'; --'\n'orders'\n'shop.orders'\n'weir_checkpoint'");
    assert_look(f, "SELECT * FROM \"odd \"\"s\"\".t, 'x'; --\"", "1|'k'|'v'|'w'");
    Buf name = {.max = 200};
    f->sink->ops->describe_table(f->sink, t, &name);
    assert_string_equal(buf_cstring(&name), "\"odd \"\"s\"\".t, 'x'; --\"");
    buf_done(&name);
}

static void tables_that_become_one_are_refused(void **state)
{
    Fixture *f = *state;
    Report report = {0};
    start(f);
    const Relation *dotted = TABLE(f, 1, "public", "shop.orders", "a", INT4("id", 1));
    const Relation *other = TABLE(f, 2, "shop", "Orders", "a", INT4("id", 1));
    assert_ok(f, f->sink->ops->check(f->sink, dotted, &report, &f->error));
    assert_ok(f, f->sink->ops->check(f->sink, other, &report, &f->error));
    assert_int_equal(report.count, 1);
    assert_int_equal(report.problems[0].level, PROBLEM_MUST);
    report_done(&report);
    assert_ok(f, sink_prepare(f, NULL, dotted));
    assert_fails(f, sink_prepare(f, NULL, other), ERROR_CONFIG,
                 "\"public.shop.orders\" and \"shop.Orders\"");
    assert_fails(f,
                 sink_prepare(f, NULL, TABLE(f, 3, "public", "t", "", INT4("A", 1), INT4("a", 2))),
                 ERROR_CONFIG, "\"A\" and \"a\"");
    assert_fails(f, sink_prepare(f, NULL, TABLE(f, 4, "public", "Sqlite_x", "", INT4("a", 1))),
                 ERROR_CONFIG, "reserved");
    assert_fails(f,
                 sink_prepare(f, NULL, TABLE(f, 4, "public", "weir_checkpoint", "", INT4("a", 1))),
                 ERROR_CONFIG, "checkpoint");
}

static void qualified_and_bare_names(void **state)
{
    Fixture *f = *state;
    set_option(f, "names", "qualified");
    start(f);
    assert_ok(f, sink_prepare(f, NULL, TABLE(f, 1, "public", "orders", "a", INT4("id", 1))));
    commit(f);
    f->settings[f->setting_count - 1].value = STR("bare");
    start(f);
    assert_ok(f, sink_prepare(f, NULL, TABLE(f, 2, "shop", "orders", "a", INT4("id", 1))));
    commit(f);
    assert_look(f, "SELECT group_concat(name) FROM sqlite_schema WHERE name LIKE '%orders'",
                "'public.orders,orders'");
}

static const Relation *orders(Fixture *f)
{
    return TABLE(f, 100, "public", "orders", "a", INT4("id", 1), TEXT("note", 2));
}

static void an_existing_table_that_fits_is_taken(void **state)
{
    Fixture *f = *state;
    start(f);
    execute(f, "CREATE TABLE ORDERS (note VARCHAR(30), ID BIGINT NOT NULL PRIMARY KEY)");
    assert_ok(f, sink_prepare(f, NULL, orders(f)));
    insert(f, orders(f), ROW(T("1"), T("007")));
    commit(f);
    assert_look(f, "SELECT * FROM orders", "'007'|1");
}

static void an_existing_table_that_differs_is_refused(void **state)
{
    static const struct {
        const char *sql;
        const char *part;
    } cases[] = {
        {"CREATE TABLE orders (id INTEGER PRIMARY KEY)", "column \"note\" is missing"},
        {"CREATE TABLE orders (id INTEGER PRIMARY KEY, note INTERVAL)",
         "column \"note\" of type \"INTERVAL\" cannot hold text"},
        {"CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT, more TEXT)",
         "column \"more\" is not in the source"},
        {"CREATE TABLE orders (id INTEGER, note TEXT PRIMARY KEY)",
         "its primary key is not (\"id\")"},
        {"CREATE TABLE orders (id INTEGER, note TEXT)", "its primary key is not (\"id\")"},
        {"CREATE VIEW orders AS SELECT 1 AS id, 'x' AS note", "it is not a plain table"},
    };
    Fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Report report = {0};
        start(f);
        execute(f, cases[i].sql);
        assert_fails(f, sink_prepare(f, NULL, orders(f)), ERROR_CONFIG, cases[i].part);
        start(f);
        assert_ok(f, f->sink->ops->check(f->sink, orders(f), &report, &f->error));
        assert_int_equal(report.count, 1);
        assert_non_null(strstr(report.problems[0].what.ptr, cases[i].part));
        report_done(&report);
        execute(f, i == 5 ? "DROP VIEW orders" : "DROP TABLE orders");
    }
}

static void rows_that_are_there_are_not_touched_unasked(void **state)
{
    Fixture *f = *state;
    Report report = {0};
    start(f);
    execute(f, "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT);"
               "INSERT INTO orders VALUES (7, 'mine')");
    assert_fails(f, sink_prepare(f, NULL, orders(f)), ERROR_CONFIG, "existing=truncate");
    start(f);
    assert_ok(f, f->sink->ops->check(f->sink, orders(f), &report, &f->error));
    assert_int_equal(report.count, 1);
    report_done(&report);
    set_option(f, "existing", "keep");
    start(f);
    assert_ok(f, sink_prepare(f, NULL, orders(f)));
    insert(f, orders(f), ROW(T("1"), NIL));
    assert_look(f, "SELECT count(*) FROM orders", "1");
    f->settings[f->setting_count - 1].value = STR("truncate");
    start(f);
    assert_ok(f, sink_prepare(f, NULL, orders(f)));
    insert(f, orders(f), ROW(T("1"), NIL));
    commit(f);
    assert_look(f, "SELECT id FROM orders", "1");
    // Now they are ours: the option says nothing about them any more.
    start(f);
    assert_ok(f, sink_prepare(f, NULL, orders(f)));
    assert_ok(f, sink_prepare(f, orders(f), orders(f)));
    commit(f);
    assert_look(f, "SELECT id FROM orders", "1");
}

static void a_table_of_ours_that_is_gone_is_an_error(void **state)
{
    Fixture *f = *state;
    start(f);
    assert_ok(f, sink_prepare(f, NULL, orders(f)));
    commit(f);
    execute(f, "DROP TABLE orders");
    start(f);
    assert_fails(f, sink_prepare(f, orders(f), orders(f)), ERROR_CONFIG, "key = 'table:100'");
    // Not of this pipeline's making: then it is a new one.
    stop(f);
    execute(f, "DELETE FROM weir_checkpoint");
    start(f);
    assert_ok(f, sink_prepare(f, NULL, orders(f)));
}

/** Two rows in a table of the first shape, then the second shape. */
static Status change(Fixture *f, const Relation *was, const Relation *now, const Value *first,
                     const Value *second)
{
    start(f);
    assert_ok(f, sink_prepare(f, NULL, was));
    insert(f, was, first);
    insert(f, was, second);
    commit(f);
    start(f);
    return sink_prepare(f, was, now);
}

static void adds_columns_with_what_old_rows_read(void **state)
{
    Fixture *f = *state;
    Relation *now = TABLE(f, 100, "public", "orders", "a", INT4("id", 1), TEXT("note", 2),
                          TEXT("t", 3), INT8("i", 4), BOOL("b", 5), BYTEA("by", 6), FLOAT8("f", 7),
                          FLOAT4("g", 8), NUMERIC("n", 9), TEXT("none", 10));
    const Str missing[] = {STR("it's"),      STR("-9223372036854775808"),
                           STR("t"),         STR("\\x00ff"),
                           STR("-Infinity"), STR("NaN"),
                           STR("1.50")};
    for (int i = 0; i < 7; i++) {
        now->columns[i + 2].missing_value = missing[i];
    }
    assert_ok(f, change(f, orders(f), now, ROW(T("1"), T("a")), ROW(T("2"), NIL)));
    insert(f, now, ROW(T("3"), NIL, NIL, NIL, NIL, NIL, NIL, NIL, NIL, NIL));
    commit(f);
    assert_look(f, "SELECT * FROM orders ORDER BY id",
                "1|'a'|'it's'|-9223372036854775808|1|x00ff|-inff|'NaN'|'1.50'|NULL\n"
                "2|NULL|'it's'|-9223372036854775808|1|x00ff|-inff|'NaN'|'1.50'|"
                "NULL\n"
                "3|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL");
}

static void drops_and_renames_columns_at_once(void **state)
{
    Fixture *f = *state;
    const Relation *was = TABLE(f, 100, "public", "orders", "a", INT4("id", 1), TEXT("a", 2),
                                TEXT("b", 3), TEXT("gone", 4), TEXT("kept", 5));
    // a and b exchange their names, kept takes that of the dropped one, and a new kept appears.
    const Relation *now = TABLE(f, 100, "public", "orders", "a", INT4("key", 1), TEXT("b", 2),
                                TEXT("a", 3), TEXT("gone", 5), INT4("kept", 6));
    assert_ok(f, change(f, was, now, ROW(T("1"), T("a1"), T("b1"), T("g1"), T("k1")),
                        ROW(T("2"), T("a2"), NIL, NIL, T("k2"))));
    insert(f, now, ROW(T("3"), T("b3"), T("a3"), T("g3"), T("3")));
    commit(f);
    assert_look(f, "SELECT key, a, b, gone, kept FROM orders ORDER BY key",
                "1|'b1'|'a1'|'k1'|NULL\n2|NULL|'a2'|'k2'|NULL\n3|'a3'|'b3'|'g3'|3");
    assert_look(f, COLUMNS_OF("orders"),
                "'key'|'INTEGER'|1\n'b'|'TEXT'|0\n'a'|'TEXT'|0\n'gone'|'TEXT'|0\n"
                "'kept'|'INTEGER'|0");
}

static void renames_without_a_rebuild(void **state)
{
    Fixture *f = *state;
    const Relation *was =
        TABLE(f, 100, "public", "orders", "a", INT4("id", 1), TEXT("a", 2), TEXT("b", 3));
    const Relation *now =
        TABLE(f, 100, "shop", "Sales", "a", INT4("ID", 1), TEXT("b", 2), TEXT("a", 3));
    start(f);
    assert_ok(f, sink_prepare(f, NULL, was));
    insert(f, was, ROW(T("1"), T("a1"), T("b1")));
    commit(f);
    execute(f, "CREATE INDEX by_a ON orders (a)");
    start(f);
    assert_ok(f, sink_prepare(f, was, now));
    commit(f);
    assert_look(f, "SELECT * FROM \"shop.Sales\"", "1|'a1'|'b1'");
    assert_look(f, "SELECT sql FROM sqlite_schema WHERE name = 'by_a'",
                "'CREATE INDEX by_a ON \"shop.Sales\" (\"b\")'");
    // Only the letters' case differs.
    const Relation *lower =
        TABLE(f, 100, "shop", "sales", "a", INT4("ID", 1), TEXT("b", 2), TEXT("a", 3));
    assert_ok(f, sink_prepare(f, now, lower));
    commit(f);
    assert_look(f, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '%sales'",
                "'shop.sales'");
}

static void a_dropped_and_added_column_is_a_new_one(void **state)
{
    Fixture *f = *state;
    const Relation *now = TABLE(f, 100, "public", "orders", "a", INT4("id", 1), TEXT("note", 3));
    assert_ok(f, change(f, orders(f), now, ROW(T("1"), T("old")), ROW(T("2"), NIL)));
    commit(f);
    assert_look(f, "SELECT * FROM orders ORDER BY id", "1|NULL\n2|NULL");
    assert_look(f, COLUMNS_OF("orders"), "'id'|'INTEGER'|1\n'note'|'TEXT'|0");
}

static void changes_the_key(void **state)
{
    Fixture *f = *state;
    const Relation *was =
        TABLE(f, 100, "public", "orders", "a", INT4("id", 1), TEXT("code", 2), TEXT("note", 3));
    const Relation *now =
        TABLE(f, 100, "public", "orders", "ba", INT4("id", 1), TEXT("code", 2), TEXT("note", 3));
    const Relation *keyless =
        TABLE(f, 100, "public", "orders", "", INT4("id", 1), TEXT("code", 2), TEXT("note", 3));
    assert_ok(f, change(f, was, now, ROW(T("1"), T("x"), T("a")), ROW(T("2"), T("y"), NIL)));
    insert(f, now, ROW(T("1"), T("y"), T("b")));
    commit(f);
    assert_look(f, COLUMNS_OF("orders"), "'id'|'INTEGER'|2\n'code'|'TEXT'|1\n'note'|'TEXT'|0");
    assert_ok(f, sink_prepare(f, now, keyless));
    insert(f, keyless, ROW(T("1"), T("y"), T("b")));
    commit(f);
    assert_look(f, "SELECT * FROM orders ORDER BY rowid",
                "1|'x'|'a'\n2|'y'|NULL\n1|'y'|'b'\n1|'y'|'b'");
    // Rows that a new key does not tell apart cannot be kept.
    assert_fails(f, sink_prepare(f, keyless, now), ERROR_DATA, "UNIQUE");
}

static void changes_types_with_their_values(void **state)
{
    Fixture *f = *state;
    const Relation *was = TABLE(f, 100, "public", "orders", "a", INT4("id", 1), INT4("i", 2),
                                TEXT("t", 3), BOOL("b", 4));
    Relation *now = TABLE(f, 100, "public", "orders", "a", INT8("id", 1), TEXT("i", 2),
                          NUMERIC("t", 3), TEXT("b", 4));
    now->columns[2].base_typmod = ((10 << 16) | 2) + 4;
    assert_ok(f, change(f, was, now, ROW(T("1"), T("-5"), T("2.345"), T("t")),
                        ROW(T("2"), NIL, NIL, T("f"))));
    commit(f);
    assert_look(f, "SELECT * FROM orders ORDER BY id", "1|'-5'|'2.35'|'true'\n2|NULL|NULL|'false'");
    assert_look(f, COLUMNS_OF("orders"),
                "'id'|'INTEGER'|1\n'i'|'TEXT'|0\n't'|'TEXT'|0\n'b'|'TEXT'|0");
}

static void a_type_that_cannot_be_converted_stops(void **state)
{
    Fixture *f = *state;
    const Relation *now = TABLE(f, 100, "public", "orders", "a", INT4("id", 1),
                                column("note", 2, OID_TIMESTAMP, "timestamp without time zone"));
    assert_fails(f, change(f, orders(f), now, ROW(T("1"), T("a")), ROW(T("2"), NIL)), ERROR_CONFIG,
                 "from text to timestamp without time zone");
    assert_non_null(strstr(f->error.hint, "'it''s a \"pipeline\"' AND key = 'table:100'"));
    // An empty table has nothing to convert.
    stop(f);
    execute(f, "DELETE FROM orders");
    start(f);
    assert_ok(f, sink_prepare(f, orders(f), now));
}

static void a_value_that_cannot_be_converted_stops(void **state)
{
    Fixture *f = *state;
    const Relation *now = TABLE(f, 100, "public", "orders", "a", INT4("id", 1), INT4("note", 2));
    assert_fails(f, change(f, orders(f), now, ROW(T("1"), T("5")), ROW(T("2"), T("five"))),
                 ERROR_CONFIG, "cannot be converted");
    assert_null(strstr(f->error.message, "five"));
}

static void a_rebuild_keeps_what_users_added(void **state)
{
    Fixture *f = *state;
    const Relation *was =
        TABLE(f, 100, "public", "orders", "a", INT4("id", 1), TEXT("note", 2), TEXT("gone", 3));
    const Relation *now = orders(f);
    start(f);
    assert_ok(f, sink_prepare(f, NULL, was));
    insert(f, was, ROW(T("1"), T("a"), T("g")));
    commit(f);
    execute(f, "ALTER TABLE orders ADD COLUMN mine INTEGER DEFAULT 5;"
               "CREATE INDEX by_note ON orders (note);"
               "CREATE INDEX by_gone ON orders (gone);"
               "CREATE VIEW seen AS SELECT id, note FROM orders;"
               "CREATE TABLE audit (id);"
               "CREATE TRIGGER t AFTER INSERT ON orders BEGIN "
               "INSERT INTO audit VALUES (new.id); END");
    start(f);
    assert_ok(f, sink_prepare(f, was, now));
    insert(f, now, ROW(T("2"), T("b")));
    commit(f);
    assert_look(f, "SELECT * FROM orders ORDER BY id", "1|'a'|5\n2|'b'|NULL");
    assert_look(f, "SELECT * FROM seen ORDER BY id", "1|'a'\n2|'b'");
    assert_look(f, "SELECT * FROM audit", "2");
    assert_look(f, "SELECT name FROM sqlite_schema WHERE type = 'index' AND name LIKE 'by%'",
                "'by_note'");
    assert_non_null(strstr(f->notice, "CREATE INDEX by_gone"));
}

static void a_column_of_users_steps_aside(void **state)
{
    Fixture *f = *state;
    const Relation *now =
        TABLE(f, 100, "public", "orders", "a", INT4("id", 1), TEXT("note", 2), TEXT("more", 3));
    start(f);
    assert_ok(f, sink_prepare(f, NULL, orders(f)));
    insert(f, orders(f), ROW(T("1"), T("a")));
    commit(f);
    execute(f, "ALTER TABLE orders ADD COLUMN More TEXT DEFAULT 'mine'");
    start(f);
    assert_ok(f, sink_prepare(f, orders(f), now));
    commit(f);
    assert_look(f, "SELECT id, note, more, More_old1 FROM orders", "1|'a'|NULL|'mine'");
}

static void an_uncommitted_change_of_shape_is_undone(void **state)
{
    Fixture *f = *state;
    const Relation *now = TABLE(f, 100, "public", "orders", "a", INT4("id", 1), INT8("n", 3));
    assert_ok(f, change(f, orders(f), now, ROW(T("1"), T("a")), ROW(T("2"), NIL)));
    start(f);
    assert_look(f, COLUMNS_OF("orders"), "'id'|'INTEGER'|1\n'note'|'TEXT'|0");
    assert_ok(f, sink_prepare(f, orders(f), now));
    commit(f);
    assert_look(f, COLUMNS_OF("orders"), "'id'|'INTEGER'|1\n'n'|'INTEGER'|0");
}

static void a_column_that_cannot_be_left_out_is_in_the_way(void **state)
{
    Fixture *f = *state;
    start(f);
    assert_ok(f, sink_prepare(f, NULL, orders(f)));
    commit(f);
    stop(f);
    execute(f, "DROP TABLE orders; CREATE TABLE orders "
               "(id INTEGER PRIMARY KEY, note TEXT, mine TEXT NOT NULL DEFAULT 'x')");
    start(f);
    assert_ok(f, sink_prepare(f, orders(f), orders(f)));
    stop(f);
    execute(f, "DROP TABLE orders; CREATE TABLE orders "
               "(id INTEGER PRIMARY KEY, note TEXT, mine TEXT NOT NULL)");
    start(f);
    assert_fails(f, sink_prepare(f, orders(f), orders(f)), ERROR_CONFIG, "\"mine\"");
}

/** A table with one row, known by its oid under a name. */
static const Relation *named(Fixture *f, uint32_t oid, const char *name)
{
    return TABLE(f, oid, "public", name, "a", INT4("id", 1));
}

static Status commit_tables(Fixture *f, const char *first, const char *second)
{
    Checkpoint changed = {0};
    checkpoint_set(&changed, str_from(first), STR("ready"));
    checkpoint_set(&changed, str_from(second), STR("ready"));
    Status status = f->sink->ops->commit(f->sink, &changed, &f->error);
    checkpoint_done(&changed);
    return status;
}

static void start_with_two_tables(Fixture *f)
{
    start(f);
    assert_ok(f, sink_prepare(f, NULL, named(f, 1, "orders")));
    assert_ok(f, sink_prepare(f, NULL, named(f, 2, "orders_new")));
    insert(f, named(f, 1, "orders"), ROW(T("1")));
    insert(f, named(f, 2, "orders_new"), ROW(T("2")));
    assert_ok(f, commit_tables(f, "table:1", "table:2"));
}

// What the pipeline does when a name passes from one table to another.
static void a_table_steps_aside_for_another(void **state)
{
    for (int restarts = 0; restarts < 2; restarts++) {
        Fixture *f = *state;
        start_with_two_tables(f);
        const Relation *aside = named(f, 1, "orders_old1");
        const Relation *new = named(f, 2, "orders");
        assert_ok(f, sink_prepare(f, named(f, 1, "orders"), aside));
        assert_ok(f, sink_prepare(f, named(f, 2, "orders_new"), new));
        insert(f, new, ROW(T("20")));
        assert_ok(f, commit_tables(f, "table:1", "table:2"));
        if (restarts > 0) {
            start(f);
        }
        const Relation *old = named(f, 1, "orders_old");
        assert_ok(f, sink_prepare(f, aside, old));
        insert(f, old, ROW(T("10")));
        assert_ok(f, commit_tables(f, "table:1", "table:2"));
        assert_look(f, "SELECT id FROM orders_old ORDER BY 1", "1\n10");
        assert_look(f, "SELECT id FROM orders ORDER BY 1", "2\n20");
        assert_look(f, "SELECT count(*) FROM sqlite_schema WHERE name = 'orders_old1'", "0");
        fixture_teardown(state);
        fixture_setup(state);
    }
}

static void a_name_that_somebody_else_has_is_not_taken(void **state)
{
    Fixture *f = *state;
    start_with_two_tables(f);
    execute(f, "CREATE TABLE orders_old1 (x)");
    assert_fails(f, sink_prepare(f, named(f, 1, "orders"), named(f, 1, "orders_old1")),
                 ERROR_CONFIG, "already has a table \"orders_old1\"");
    start(f);
    assert_look(f, "SELECT id FROM orders", "1");
}

static void describes_columns(void **state)
{
    Fixture *f = *state;
    Buf type = {.max = 100};
    const Column number = NUMERIC("n", 1);
    assert_ok(f, sink_make(f));
    f->sink->ops->describe_column(f->sink, &number, &type);
    assert_string_equal(buf_cstring(&type), "TEXT");
    buf_done(&type);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        sink_test(declares_types_that_lose_nothing),
        sink_test(names_tables),
        sink_test(tables_that_become_one_are_refused),
        sink_test(qualified_and_bare_names),
        sink_test(an_existing_table_that_fits_is_taken),
        sink_test(an_existing_table_that_differs_is_refused),
        sink_test(rows_that_are_there_are_not_touched_unasked),
        sink_test(a_table_of_ours_that_is_gone_is_an_error),
        sink_test(adds_columns_with_what_old_rows_read),
        sink_test(drops_and_renames_columns_at_once),
        sink_test(renames_without_a_rebuild),
        sink_test(a_dropped_and_added_column_is_a_new_one),
        sink_test(changes_the_key),
        sink_test(changes_types_with_their_values),
        sink_test(a_type_that_cannot_be_converted_stops),
        sink_test(a_value_that_cannot_be_converted_stops),
        sink_test(a_rebuild_keeps_what_users_added),
        sink_test(a_column_of_users_steps_aside),
        sink_test(an_uncommitted_change_of_shape_is_undone),
        sink_test(a_column_that_cannot_be_left_out_is_in_the_way),
        sink_test(a_table_steps_aside_for_another),
        sink_test(a_name_that_somebody_else_has_is_not_taken),
        sink_test(describes_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
