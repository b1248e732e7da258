// The postgres sink against a real server: mode=history.
#include "sinks/postgres_fixture.h"

static Relation *people(Fixture *f)
{
    return TABLE(f, 1, "public", "people", "a", INT4("id", 1), TEXT("name", 2), TEXT("note", 3));
}

static int history_setup(void **state)
{
    int failed = fixture_setup(state);
    set_option(*state, "mode", "history");
    return failed;
}

static void next_transaction(Fixture *f)
{
    f->transaction.commit_lsn += 0x100;
    f->ordinal = 0;
}

static const char rows_sql[] = "SELECT _weir_op, id, name, note FROM people"
                               " ORDER BY _weir_lsn, _weir_ordinal, _weir_op";

static void every_change_is_appended(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"), T("a\t\\"), NIL));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("1"), T("b"), T("x")));
    add_change(f, CHANGE_DELETE, relation, ROW(T("1"), NONE, NONE), NULL);
    add_change(f, CHANGE_TRUNCATE, relation, NULL, NULL);
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, "position", "0/1:0"));
    assert_look(f, "SELECT * FROM people ORDER BY _weir_ordinal",
                "1|a\t\\|~|insert|00000016B374D848|1|742|2025-11-21 05:50:59.123456+00\n"
                "1|b|x|update|00000016B374D848|2|742|2025-11-21 05:50:59.123456+00\n"
                "1|~|~|delete|00000016B374D848|3|742|2025-11-21 05:50:59.123456+00\n"
                "~|~|~|truncate|00000016B374D848|4|742|2025-11-21 05:50:59.123456+00");
}

static void a_copied_row_has_no_transaction(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    f->transaction = (Transaction){.commit_lsn = 0xABC};
    assert_ok(f, write_change(f, CHANGE_READ, relation, NULL, ROW(T("1"), T("a"), NIL)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT _weir_op, _weir_lsn, _weir_xid, _weir_commit_time FROM people",
                "read|0000000000000ABC|~|~");
}

static void unchanged_values_come_from_the_last_row(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    add_change(f, CHANGE_READ, relation, NULL, ROW(T("1"), T("a"), T("large")));
    add_change(f, CHANGE_READ, relation, NULL, ROW(T("2"), T("z"), NIL));
    assert_ok(f, write_batch(f));
    next_transaction(f);
    // In one write: the last row is that of the same batch.
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("1"), T("b"), SAME));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("1"), SAME, T("huge")));
    add_change(f, CHANGE_UPDATE, relation, ROW(T("1"), NONE, NONE), ROW(T("5"), T("c"), SAME));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("5"), T("d"), SAME));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("2"), T("y"), SAME));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, rows_sql,
                "read|1|a|large\nread|2|z|~\nupdate|1|b|large\nupdate|1|b|huge\ndelete|1|~|~\n"
                "update|5|c|huge\nupdate|5|d|huge\nupdate|2|y|~");
    assert_look(f, "SELECT count(*) FROM pg_index WHERE indrelid = 'people'::regclass", "1");
}

static void nobody_guesses_what_is_not_known(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    assert_fails(f, write_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("1"), T("b"), SAME)),
                 ERROR_DATA, "ALTER TABLE \"public\".\"people\" REPLICA IDENTITY FULL;");
    begin_with(f, relation);
    assert_ok(f, write_change(f, CHANGE_READ, relation, NULL, ROW(T("1"), T("a"), T("x"))));
    next_transaction(f);
    assert_ok(f, write_change(f, CHANGE_DELETE, relation, ROW(T("1"), NONE, NONE), NULL));
    assert_fails(f, write_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("1"), T("b"), SAME)),
                 ERROR_DATA, "no earlier row");
}

static void a_full_old_row_knows_it(void **state)
{
    Fixture *f = *state;
    Relation *relation =
        TABLE(f, 1, "public", "people", "", INT4("id", 1), TEXT("name", 2), TEXT("note", 3));
    begin_with(f, relation);
    assert_ok(f, write_change(f, CHANGE_UPDATE, relation, ROW(T("1"), T("a"), T("x")),
                              ROW(T("2"), T("b"), SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, rows_sql, "update|2|b|x");
}

static void only_an_interrupted_copy_is_cleared(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    Lsn copied_at = f->transaction.commit_lsn;
    begin_with(f, relation);
    assert_ok(f, write_change(f, CHANGE_READ, relation, NULL, ROW(T("1"), T("a"), T("x"))));
    next_transaction(f);
    assert_ok(f, write_change(f, CHANGE_DELETE, relation, ROW(T("1"), NONE, NONE), NULL));
    next_transaction(f);
    assert_ok(f, write_change(f, CHANGE_READ, relation, NULL, ROW(T("2"), T("b"), T("y"))));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_ok(f, f->sink->ops->clear(f->sink, relation, copied_at, &f->error));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, rows_sql, "read|1|a|x\ndelete|1|~|~");
}

static void columns_stay_and_step_aside(void **state)
{
    Fixture *f = *state;
    Relation *was = people(f);
    begin_with(f, was);
    assert_ok(f, write_change(f, CHANGE_READ, was, NULL, ROW(T("1"), T("a"), T("x"))));
    Relation *dropped = TABLE(f, 1, "public", "people", "a", INT4("id", 1), TEXT("name", 2));
    assert_ok(f, sink_prepare(f, was, dropped));
    Relation *again =
        TABLE(f, 1, "public", "people", "a", INT4("id", 1), TEXT("name", 2), INT4("note", 4));
    assert_ok(f, sink_prepare(f, dropped, again));
    next_transaction(f);
    assert_ok(f, write_change(f, CHANGE_INSERT, again, NULL, ROW(T("2"), T("b"), T("7"))));
    Relation *renamed =
        TABLE(f, 1, "public", "people", "a", INT4("id", 1), TEXT("note_old1", 2), INT4("note", 4));
    assert_ok(f, sink_prepare(f, again, renamed));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id, note_old1, note, note_old1_old1 FROM people ORDER BY id",
                "1|a|~|x\n2|b|7|~");
}

static void a_type_that_cannot_be_converted_steps_aside(void **state)
{
    Fixture *f = *state;
    Relation *was = people(f);
    begin_with(f, was);
    assert_ok(f, write_change(f, CHANGE_READ, was, NULL, ROW(T("1"), T("a"), T("12"))));
    Relation *now =
        TABLE(f, 1, "public", "people", "a", INT4("id", 1), INT4("name", 2), INT4("note", 3));
    assert_ok(f, sink_prepare(f, was, now));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT name, name_old1, note FROM people", "~|a|12");
    assert_look(f, "SELECT pg_typeof(name), pg_typeof(note) FROM people", "integer|integer");
}

static void a_mirror_is_no_history(void **state)
{
    Fixture *f = *state;
    execute(f, "CREATE TABLE people (id int, name text, note text)");
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, sink_prepare(f, NULL, people(f)), ERROR_CONFIG,
                 "column \"_weir_op\" of a history is missing");
}

#define history_test(function) \
    cmocka_unit_test_setup_teardown(function, history_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        history_test(every_change_is_appended),
        history_test(a_copied_row_has_no_transaction),
        history_test(unchanged_values_come_from_the_last_row),
        history_test(nobody_guesses_what_is_not_known),
        history_test(a_full_old_row_knows_it),
        history_test(only_an_interrupted_copy_is_cleared),
        history_test(columns_stay_and_step_aside),
        history_test(a_type_that_cannot_be_converted_steps_aside),
        history_test(a_mirror_is_no_history),
    };
    return run_on_server(tests, "sinks/test_postgres_history");
}
