// mode=history of the sqlite sink.
#include "sinks/sqlite_fixture.h"

#define HISTORY "SELECT id, note, price, _weir_op FROM orders ORDER BY rowid"

static const Relation *orders(Fixture *f)
{
    return TABLE(f, 100, "public", "orders", "a", INT4("id", 1), TEXT("note", 2),
                 NUMERIC("price", 3));
}

static void start_with(Fixture *f, const Relation *relation)
{
    if (f->setting_count == 1) {
        set_option(f, "mode", "history");
    }
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, NULL, relation));
}

static void commit(Fixture *f)
{
    assert_ok(f, sink_commit(f, "table:100", "ready"));
}

static void appends_every_change(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    f->transaction.xid = 0;
    f->transaction.commit_time_us = 0;
    assert_ok(f, write_change(f, CHANGE_READ, t, NULL, ROW(T("1"), T("a"), NIL)));
    f->transaction.xid = 743;
    f->transaction.commit_time_us = INT64_C(1763704259123456);
    assert_ok(f, write_change(f, CHANGE_INSERT, t, NULL, ROW(T("2"), T("b"), T("1.0"))));
    assert_ok(f, write_change(f, CHANGE_UPDATE, t, NULL, ROW(T("2"), T("c"), T("2.0"))));
    assert_ok(f, write_change(f, CHANGE_DELETE, t, ROW(T("2"), NONE, NONE), NULL));
    assert_ok(f, write_change(f, CHANGE_TRUNCATE, t, NULL, NULL));
    assert_ok(f, write_change(f, CHANGE_MESSAGE, NULL, NULL, NULL));
    commit(f);
    assert_look(f, "SELECT * FROM orders ORDER BY rowid",
                "1|'a'|NULL|'read'|'00000016B374D848'|1|NULL|NULL\n"
                "2|'b'|'1.0'|'insert'|'00000016B374D848'|2|743|'2025-11-21T05:50:59.123456Z'\n"
                "2|'c'|'2.0'|'update'|'00000016B374D848'|3|743|'2025-11-21T05:50:59.123456Z'\n"
                "2|NULL|NULL|'delete'|'00000016B374D848'|4|743|'2025-11-21T05:50:59.123456Z'\n"
                "NULL|NULL|NULL|'truncate'|'00000016B374D848'|5|743|"
                "'2025-11-21T05:50:59.123456Z'");
}

static void unchanged_columns_come_from_the_last_row(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    assert_ok(f, write_change(f, CHANGE_READ, t, NULL, ROW(T("1"), T("large"), T("1"))));
    assert_ok(f, write_change(f, CHANGE_INSERT, t, NULL, ROW(T("2"), T("other"), T("1"))));
    assert_ok(f, write_change(f, CHANGE_UPDATE, t, NULL, ROW(T("1"), SAME, T("2"))));
    commit(f);
    start_with(f, t);
    assert_ok(f, write_change(f, CHANGE_UPDATE, t, NULL, ROW(T("1"), SAME, SAME)));
    // The key moves: the old row of the change says where the value is.
    assert_ok(
        f, write_change(f, CHANGE_UPDATE, t, ROW(T("1"), NONE, NONE), ROW(T("3"), SAME, T("3"))));
    assert_ok(f, write_change(f, CHANGE_UPDATE, t, NULL, ROW(T("3"), SAME, T("4"))));
    commit(f);
    assert_look(f, HISTORY,
                "1|'large'|'1'|'read'\n2|'other'|'1'|'insert'\n1|'large'|'2'|'update'\n"
                "1|'large'|'2'|'update'\n1|NULL|NULL|'delete'\n3|'large'|'3'|'update'\n"
                "3|'large'|'4'|'update'");
}

static void unchanged_columns_come_from_the_old_row(void **state)
{
    Fixture *f = *state;
    const Relation *t =
        TABLE(f, 100, "public", "orders", "", INT4("id", 1), TEXT("note", 2), NUMERIC("price", 3));
    start_with(f, t);
    assert_ok(f, write_change(f, CHANGE_UPDATE, t, ROW(T("1"), T("old"), NIL),
                              ROW(T("1"), SAME, T("2"))));
    commit(f);
    assert_look(f, HISTORY, "1|'old'|'2'|'update'");
    assert_fails(f, write_change(f, CHANGE_UPDATE, t, NULL, ROW(T("1"), SAME, T("2"))), ERROR_DATA,
                 "no earlier row");
}

static void an_unknown_value_is_never_null(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    assert_fails(f, write_change(f, CHANGE_UPDATE, t, NULL, ROW(T("1"), SAME, NIL)), ERROR_DATA,
                 "no earlier row");
    assert_ok(f, write_change(f, CHANGE_DELETE, t, ROW(T("1"), NONE, NONE), NULL));
    assert_fails(f, write_change(f, CHANGE_UPDATE, t, NULL, ROW(T("1"), SAME, NIL)), ERROR_DATA,
                 "no earlier row");
    assert_fails(f, write_change(f, CHANGE_INSERT, t, NULL, ROW(T("1"), SAME, NIL)), ERROR_DATA,
                 "\"note\"");
    assert_fails(f, write_change(f, CHANGE_INSERT, t, NULL, ROW(T("1"), NONE, NIL)), ERROR_DATA,
                 "\"note\"");
    assert_fails(f, write_change(f, CHANGE_DELETE, t, NULL, NULL), ERROR_DATA, "which row");
    assert_ok(f, write_change(f, CHANGE_INSERT, t, NULL, ROW(T("1"), NIL, NIL)));
    commit(f);
    assert_look(f, "SELECT count(*) FROM orders", "2");
}

static void clear_removes_only_the_last_copy(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    Lsn copied_at = f->transaction.commit_lsn;
    start_with(f, t);
    assert_ok(f, write_change(f, CHANGE_READ, t, NULL, ROW(T("1"), T("first copy"), NIL)));
    f->transaction.commit_lsn++;
    assert_ok(f, write_change(f, CHANGE_INSERT, t, NULL, ROW(T("2"), T("a"), NIL)));
    assert_ok(f, write_change(f, CHANGE_READ, t, NULL, ROW(T("1"), T("b"), NIL)));
    assert_ok(f, write_change(f, CHANGE_READ, t, NULL, ROW(T("2"), T("b"), NIL)));
    commit(f);
    start_with(f, t);
    assert_ok(f, f->sink->ops->clear(f->sink, t, copied_at, &f->error));
    commit(f);
    assert_look(f, HISTORY, "1|'first copy'|NULL|'read'\n2|'a'|NULL|'insert'");
    assert_ok(f, f->sink->ops->clear(f->sink, t, LSN_NONE, &f->error));
    commit(f);
    assert_look(f, HISTORY, "2|'a'|NULL|'insert'");
}

static void columns_are_added_and_never_dropped(void **state)
{
    Fixture *f = *state;
    const Relation *was = orders(f);
    // note is dropped, an integer of its name is added, price becomes cost.
    Relation *now = TABLE(f, 100, "public", "sales", "a", INT8("id", 1), NUMERIC("cost", 3),
                          INT4("note", 4), TEXT("more", 5));
    now->columns[3].missing_value = STR("so");
    start_with(f, was);
    assert_ok(f, write_change(f, CHANGE_INSERT, was, NULL, ROW(T("1"), T("a"), T("1.5"))));
    assert_ok(f, write_change(f, CHANGE_UPDATE, was, NULL, ROW(T("1"), SAME, T("2.5"))));
    commit(f);
    assert_ok(f, sink_prepare(f, was, now));
    assert_ok(f, write_change(f, CHANGE_UPDATE, now, NULL, ROW(T("1"), SAME, T("7"), SAME)));
    commit(f);
    assert_look(f, "SELECT id, note_old1, cost, note, more, _weir_op FROM sales ORDER BY rowid",
                "1|'a'|'1.5'|NULL|'so'|'insert'\n1|'a'|'2.5'|NULL|'so'|'update'\n"
                "1|NULL|'2.5'|7|'so'|'update'");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, now, now));
}

static void types_change_with_their_values(void **state)
{
    Fixture *f = *state;
    const Relation *was = orders(f);
    const Relation *now =
        TABLE(f, 100, "public", "orders", "c", TEXT("id", 1), TEXT("note", 2), NUMERIC("price", 3));
    start_with(f, was);
    assert_ok(f, write_change(f, CHANGE_INSERT, was, NULL, ROW(T("2"), T("b"), T("1"))));
    assert_ok(f, write_change(f, CHANGE_INSERT, was, NULL, ROW(T("1"), T("a"), T("2"))));
    assert_ok(f, write_change(f, CHANGE_UPDATE, was, NULL, ROW(T("1"), SAME, T("3"))));
    commit(f);
    assert_ok(f, sink_prepare(f, was, now));
    assert_ok(f, write_change(f, CHANGE_UPDATE, now, NULL, ROW(T("x"), SAME, T("3"))));
    commit(f);
    assert_look(f, HISTORY,
                "'2'|'b'|'1'|'insert'\n'1'|'a'|'2'|'insert'\n'1'|'a'|'3'|'update'\n"
                "'x'|'a'|'3'|'update'");
    assert_look(f,
                "SELECT count(*) FROM pragma_table_info('orders') WHERE type <> 'INTEGER' "
                "AND pk = 0",
                "6");
}

static void an_existing_table_needs_the_history_columns(void **state)
{
    Fixture *f = *state;
    set_option(f, "mode", "history");
    assert_ok(f, sink_start(f, NULL));
    execute(f, "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT, price TEXT)");
    assert_fails(f, sink_prepare(f, NULL, orders(f)), ERROR_CONFIG,
                 "column \"_weir_op\" is missing");
    assert_non_null(strstr(f->error.message, "it has a primary key"));
}

static void a_column_of_that_name_is_refused(void **state)
{
    Fixture *f = *state;
    set_option(f, "mode", "history");
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, sink_prepare(f, NULL, TABLE(f, 1, "public", "t", "", TEXT("_WEIR_op", 1))),
                 ERROR_CONFIG, "_WEIR_op");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        sink_test(appends_every_change),
        sink_test(unchanged_columns_come_from_the_last_row),
        sink_test(unchanged_columns_come_from_the_old_row),
        sink_test(an_unknown_value_is_never_null),
        sink_test(clear_removes_only_the_last_copy),
        sink_test(columns_are_added_and_never_dropped),
        sink_test(types_change_with_their_values),
        sink_test(an_existing_table_needs_the_history_columns),
        sink_test(a_column_of_that_name_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
