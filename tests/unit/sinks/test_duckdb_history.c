// mode=history: every change a row, and no column NULL only because Postgres did not send it.
#include "sinks/duckdb_fixture.h"

static Relation *docs(Fixture *f)
{
    return TABLE(f, 1, "public", "docs", "a", INT4("id", 1), TEXT("a", 2), TEXT("b", 3),
                 column("x", 4, OID_FLOAT8, "double precision"));
}

static void start_with(Fixture *f, const Relation *relation)
{
    set_option(f, "mode", "history");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, NULL, relation));
}

static void flush(Fixture *f)
{
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
}

static void read_row(Fixture *f, const Relation *relation, const Value *row)
{
    add_change(f, CHANGE_READ, relation, NULL, row);
}

static void insert(Fixture *f, const Relation *relation, const Value *row)
{
    add_change(f, CHANGE_INSERT, relation, NULL, row);
}

static void update(Fixture *f, const Relation *relation, const Value *before, const Value *row)
{
    add_change(f, CHANGE_UPDATE, relation, before, row);
}

#define ROWS "SELECT id, a, b, x, _weir_op FROM docs ORDER BY _weir_lsn, _weir_ordinal, _weir_op"

static void every_change_is_a_row(void **state)
{
    Fixture *f = *state;
    const Relation *t = docs(f);
    Transaction copy = {.commit_lsn = 0x1000};
    start_with(f, t);
    read_row(f, t, ROW(T("1"), T("a"), NIL, T("0.5")));
    f->batch[0].transaction = &copy;
    insert(f, t, ROW(T("2"), T("b"), T(""), NIL));
    update(f, t, NULL, ROW(T("2"), T("c"), T(""), T("1")));
    add_change(f, CHANGE_DELETE, t, ROW(T("2"), NONE, NONE, NONE), NULL);
    add_change(f, CHANGE_MESSAGE, NULL, NULL, NULL);
    add_change(f, CHANGE_TRUNCATE, t, NULL, NULL);
    flush(f);
    assert_look(f, "SELECT * REPLACE (epoch_us(_weir_commit_time) AS _weir_commit_time) FROM docs",
                "1|a|NULL|0.5|read|0000000000001000|1|NULL|NULL\n"
                "2|b||NULL|insert|00000016B374D848|2|742|1763704259123456\n"
                "2|c||1.0|update|00000016B374D848|3|742|1763704259123456\n"
                "2|NULL|NULL|NULL|delete|00000016B374D848|4|742|1763704259123456\n"
                "NULL|NULL|NULL|NULL|truncate|00000016B374D848|6|742|1763704259123456");
    assert_look(f,
                "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'docs' "
                "AND column_name LIKE '\\_weir%' ESCAPE '\\'",
                "_weir_op|VARCHAR\n_weir_lsn|VARCHAR\n_weir_ordinal|BIGINT\n_weir_xid|BIGINT\n"
                "_weir_commit_time|TIMESTAMP WITH TIME ZONE");
}

static void unchanged_columns_are_filled(void **state)
{
    Fixture *f = *state;
    const Relation *t = docs(f);
    start_with(f, t);
    insert(f, t, ROW(T("1"), T("a1"), T("b1"), T("-0")));
    insert(f, t, ROW(T("2"), T("a2"), NIL, T("2")));
    insert(f, t, ROW(T("3"), T("a3"), T("b3"), T("3")));
    flush(f);
    execute(f, "DELETE FROM docs WHERE false");
    // From the table; from this write; from both; a NULL; from the old row.
    update(f, t, NULL, ROW(T("1"), SAME, T("B1"), SAME));
    update(f, t, NULL, ROW(T("1"), T("A1"), SAME, SAME));
    update(f, t, NULL, ROW(T("1"), SAME, SAME, T("1")));
    update(f, t, NULL, ROW(T("2"), SAME, SAME, T("22")));
    update(f, t, ROW(T("3"), T("a3"), T("b3"), T("3")), ROW(T("3"), SAME, T("B3"), SAME));
    insert(f, t, ROW(T("4"), T("a4"), T("b4"), T("4")));
    update(f, t, NULL, ROW(T("4"), SAME, T("B4"), SAME));
    flush(f);
    assert_look(f, ROWS,
                "1|a1|b1|-0.0|insert\n2|a2|NULL|2.0|insert\n3|a3|b3|3.0|insert\n"
                "1|a1|B1|-0.0|update\n1|A1|B1|-0.0|update\n1|A1|B1|1.0|update\n"
                "2|a2|NULL|22.0|update\n3|a3|B3|3.0|update\n4|a4|b4|4.0|insert\n"
                "4|a4|B4|4.0|update");
}

// The row keeps its values when its key changes, and another row may get its old key.
static void keys_wander(void **state)
{
    Fixture *f = *state;
    const Relation *t = docs(f);
    start_with(f, t);
    insert(f, t, ROW(T("1"), T("first"), T("b"), T("1")));
    flush(f);
    update(f, t, ROW(T("1"), NONE, NONE, NONE), ROW(T("2"), SAME, T("c"), T("1")));
    insert(f, t, ROW(T("1"), T("second"), T("d"), T("1")));
    update(f, t, NULL, ROW(T("2"), SAME, T("e"), T("1")));
    update(f, t, NULL, ROW(T("1"), SAME, T("f"), T("1")));
    flush(f);
    update(f, t, NULL, ROW(T("2"), SAME, T("g"), T("1")));
    update(f, t, NULL, ROW(T("1"), SAME, T("h"), T("1")));
    add_change(f, CHANGE_DELETE, t, ROW(T("1"), NONE, NONE, NONE), NULL);
    insert(f, t, ROW(T("1"), T("third"), T("i"), T("1")));
    update(f, t, NULL, ROW(T("1"), SAME, T("j"), T("1")));
    flush(f);
    assert_look(f, ROWS,
                "1|first|b|1.0|insert\n1|NULL|NULL|NULL|delete\n2|first|c|1.0|update\n1|second|d|1."
                "0|insert\n"
                "2|first|e|1.0|update\n1|second|f|1.0|update\n2|first|g|1.0|update\n"
                "1|second|h|1.0|update\n1|NULL|NULL|NULL|delete\n1|third|i|1.0|insert\n"
                "1|third|j|1.0|update");
}

// Ordinals of copied rows say nothing about changes at the snapshot's own LSN, which come after it.
static void a_copied_row_is_older_than_its_lsn(void **state)
{
    Fixture *f = *state;
    const Relation *t = docs(f);
    start_with(f, t);
    f->ordinal = 1000;
    read_row(f, t, ROW(T("1"), T("copied"), T("b"), NIL));
    flush(f);
    f->ordinal = 0;
    update(f, t, NULL, ROW(T("1"), T("changed"), SAME, NIL));
    flush(f);
    update(f, t, NULL, ROW(T("1"), SAME, SAME, NIL));
    flush(f);
    assert_look(f, "SELECT id, a, b FROM docs WHERE _weir_op = 'update' ORDER BY _weir_ordinal",
                "1|changed|b\n1|changed|b");
}

static void without_an_earlier_row_it_fails(void **state)
{
    Fixture *f = *state;
    const Relation *t = docs(f);
    start_with(f, t);
    update(f, t, NULL, ROW(T("1"), SAME, T("b"), NIL));
    assert_fails(f, write_batch(f), ERROR_DATA, "no earlier row");
    const Relation *keyless = TABLE(f, 2, "public", "log", "", TEXT("a", 1), TEXT("b", 2));
    assert_ok(f, sink_prepare(f, NULL, keyless));
    update(f, keyless, NULL, ROW(T("a"), SAME));
    assert_fails(f, write_batch(f), ERROR_DATA, "REPLICA IDENTITY FULL");
    update(f, keyless, ROW(T("z"), T("b")), ROW(T("a"), SAME));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT a, b FROM log", "a|b");
}

static void clearing_keeps_what_happened(void **state)
{
    Fixture *f = *state;
    const Relation *t = docs(f);
    Transaction first = {.commit_lsn = 0x1000};
    Transaction second = {.commit_lsn = 0x2000000000};
    start_with(f, t);
    read_row(f, t, ROW(T("1"), T("copy"), NIL, NIL));
    f->batch[0].transaction = &first;
    update(f, t, NULL, ROW(T("1"), T("change"), NIL, NIL));
    read_row(f, t, ROW(T("1"), T("interrupted"), NIL, NIL));
    f->batch[2].transaction = &second;
    flush(f);
    assert_ok(f, f->sink->ops->clear(f->sink, t, first.commit_lsn, &f->error));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT a FROM docs", "copy\nchange");
}

// What the source has no more stays.
static void columns_stay(void **state)
{
    Fixture *f = *state;
    const Relation *was = docs(f);
    const Relation *now = TABLE(f, 1, "public", "docs", "a", INT4("id", 1), INT4("a", 5),
                                column("b", 3, OID_TIMESTAMP, "timestamp"), INT8("x", 6));
    start_with(f, was);
    insert(f, was, ROW(T("1"), T("one"), T("text"), T("1")));
    flush(f);
    assert_ok(f, sink_prepare(f, was, now));
    insert(f, now, ROW(T("2"), T("7"), T("2026-01-01 00:00:00"), T("8")));
    flush(f);
    assert_look(f, "SELECT id, a, a_old1, b, b_old1, x, x_old1 FROM docs ORDER BY _weir_ordinal",
                "1|NULL|one|NULL|text|NULL|1.0\n2|7|NULL|2026-01-01 00:00:00|NULL|8|NULL");
    const Relation *clash = TABLE(f, 3, "public", "c", "a", INT4("id", 1), INT4("_WEIR_op", 2));
    assert_fails(f, sink_prepare(f, NULL, clash), ERROR_CONFIG, "history tables need");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        sink_test(every_change_is_a_row),
        sink_test(unchanged_columns_are_filled),
        sink_test(keys_wander),
        sink_test(a_copied_row_is_older_than_its_lsn),
        sink_test(without_an_earlier_row_it_fails),
        sink_test(clearing_keeps_what_happened),
        sink_test(columns_stay),
    };
    int skip = skip_without_library("duckdb_history");
    return skip != 0 ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
