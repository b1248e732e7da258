// The postgres sink against a real server: rows, transactions, checkpoints.
#include "sinks/postgres_fixture.h"
#include "sinks/postgres_sink.h"

static Relation *people(Fixture *f)
{
    return TABLE(f, 1, "public", "people", "a", INT4("id", 1), TEXT("name", 2), TEXT("note", 3));
}

static void add_three(Fixture *f, const Relation *relation)
{
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"), T("a"), NIL));
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("2"), T("b"), NIL));
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("3"), T("c"), NIL));
}

static void inserts_updates_and_deletes_arrive(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"), T("one"), NIL));
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("2"), T("two"), T("")));
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("3"), T("a\tb\\c\n\"d\"'"), T("\\N")));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, "position", "0/1:0"));
    assert_look(f, "SELECT * FROM people ORDER BY id", "1|one|~\n2|two|\n3|a\tb\\c\n\"d\"'|\\N");
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("1"), T("{\"x\\"), SAME));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("2"), SAME, T("NULL")));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("2"), NIL, SAME));
    add_change(f, CHANGE_DELETE, relation, ROW(T("3"), NONE, NONE), NULL);
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, "position", "0/2:0"));
    assert_look(f, "SELECT * FROM people ORDER BY id", "1|{\"x\\|~\n2|~|NULL");
}

static void a_lone_change_needs_no_set(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"), T("one"), T("x"))));
    assert_ok(f, write_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("1"), T("uno"), SAME)));
    assert_ok(f, write_change(f, CHANGE_UPDATE, relation, ROW(T("1"), NONE, NONE),
                              ROW(T("7"), T("uno"), SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM people", "7|uno|x");
    assert_ok(f, write_change(f, CHANGE_DELETE, relation, ROW(T("7"), NONE, NONE), NULL));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM people", "");
}

static void what_was_not_committed_is_gone_after_a_kill(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    Checkpoint checkpoint = {0};
    begin_with(f, relation);
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"), T("one"), NIL)));
    assert_ok(f, sink_commit(f, "position", "0/10:0"));
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("2"), T("two"), NIL)));
    assert_ok(f, write_change(f, CHANGE_READ, relation, NULL, ROW(T("3"), T("three"), NIL)));
    assert_ok(f, sink_start(f, &checkpoint));
    const CheckpointEntry *entry = checkpoint_get(&checkpoint, STR("position"));
    assert_non_null(entry);
    assert_true(str_is(entry->value, "0/10:0"));
    checkpoint_done(&checkpoint);
    assert_look(f, "SELECT id FROM people", "1");
}

static void checkpoint_entries_are_replaced_and_removed(void **state)
{
    Fixture *f = *state;
    assert_ok(f, sink_start(f, NULL));
    Checkpoint changed = {0};
    checkpoint_set(&changed, STR("a"), STR("it's {\"\\,NULL"));
    checkpoint_set(&changed, STR("b"), STR(""));
    checkpoint_set(&changed, STR("c"), STR("3"));
    assert_ok(f, f->sink->ops->commit(f->sink, &changed, &f->error));
    checkpoint_reset(&changed);
    checkpoint_set(&changed, STR("a"), STR("NULL"));
    checkpoint_set(&changed, STR("c"), (Str){0});
    assert_ok(f, f->sink->ops->commit(f->sink, &changed, &f->error));
    checkpoint_done(&changed);
    assert_look(f, "SELECT pipeline, key, value FROM weir.checkpoint ORDER BY key",
                "it's a \"pipeline\"|a|NULL\nit's a \"pipeline\"|b|");
}

static void a_transaction_spans_writes(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    for (int i = 0; i < 5; i++) {
        const char *key = arena_printf(&f->arena, "%d", i);
        Value id = {.ptr = key, .len = (uint32_t)strlen(key), .state = VALUE_TEXT};
        assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(id, T("x"), NIL)));
        assert_look(f, "SELECT count(*) FROM people", "0");
    }
    assert_ok(f, sink_commit(f, "position", "0/1:0"));
    assert_look(f, "SELECT count(*) FROM people", "5");
}

static void two_processes_cannot_be_one_pipeline(void **state)
{
    Fixture *f = *state;
    Sink *other = NULL;
    Checkpoint checkpoint = {0};
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_open_another(f, false, &other));
    assert_fails(f, other->ops->resume(other, &checkpoint, &f->error), ERROR_TRANSIENT,
                 "another session");
    sink_free(other);
    checkpoint_done(&checkpoint);
}

static void a_lane_copies_beside(void **state)
{
    Fixture *f = *state;
    Sink *lane = NULL;
    Relation *relation = people(f);
    begin_with(f, relation);
    assert_ok(f, sink_open_another(f, true, &lane));
    assert_ok(f, lane->ops->prepare(lane, relation, relation, &f->error));
    assert_ok(f, lane->ops->clear(lane, relation, LSN_NONE, &f->error));
    add_change(f, CHANGE_READ, relation, NULL, ROW(T("1"), T("one"), NIL));
    add_change(f, CHANGE_READ, relation, NULL, ROW(T("2"), T("two"), NIL));
    assert_ok(f, lane->ops->write(lane, f->batch, 1, &f->error));
    assert_ok(f, lane->ops->write(lane, f->batch + 1, 1, &f->error)); // the same COPY
    Checkpoint changed = {0};
    checkpoint_set(&changed, STR("table:1"), STR("ready"));
    assert_ok(f, lane->ops->commit(lane, &changed, &f->error));
    checkpoint_done(&changed);
    sink_free(lane);
    assert_look(f, "SELECT id FROM people ORDER BY id", "1\n2");
    assert_look(f, "SELECT value FROM weir.checkpoint WHERE key = 'table:1'", "ready");
}

// The server may not have noticed yet that its client is gone, and commit what it sent last.
static void a_lane_that_is_left_is_waited_for(void **state)
{
    Fixture *f = *state;
    Sink *lane = NULL;
    Checkpoint checkpoint = {0};
    Relation *relation = people(f);
    begin_with(f, relation);
    assert_ok(f, sink_open_another(f, true, &lane));
    assert_ok(f, sink_make(f));
    assert_ok(f, f->sink->ops->open(f->sink, &f->error));
    assert_fails(f, f->sink->ops->resume(f->sink, &checkpoint, &f->error), ERROR_TRANSIENT,
                 "another session");
    sink_free(lane);
    assert_ok(f, sink_start(f, &checkpoint));
    checkpoint_done(&checkpoint);
}

// The configuration may be another one later.
static void commits_are_durable_whatever_the_server_says(void **state)
{
    Fixture *f = *state;
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, postgres_query((PostgresSink *)f->sink,
                                "SELECT setting, source FROM pg_settings"
                                " WHERE name = 'synchronous_commit'",
                                0, NULL, &result, &f->error));
    assert_string_equal(PQgetvalue(result, 0, 0), "on");
    assert_string_equal(PQgetvalue(result, 0, 1), "session");
}

static void a_refused_copy_row_is_found_at_the_commit(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    assert_ok(f, write_change(f, CHANGE_READ, relation, NULL, ROW(T("1"), T("one"), NIL)));
    assert_ok(f, write_change(f, CHANGE_READ, relation, NULL, ROW(T("1"), T("two"), NIL)));
    assert_fails(f, sink_commit(f, "position", "0/1:0"), ERROR_DATA,
                 "insert into \"public\".\"people\"");
    assert_ok(f, sink_start(f, NULL));
    assert_look(f, "SELECT count(*) FROM people", "0");
    assert_look(f, "SELECT count(*) FROM weir.checkpoint WHERE key = 'position'", "0");
}

// A set cannot exchange two unique values; one by one, in the source's order, it works.
static void sets_that_fail_are_applied_in_order(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    execute(f, "ALTER TABLE people ADD UNIQUE (name)");
    add_three(f, relation);
    assert_ok(f, write_batch(f));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("1"), T("free"), SAME));
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("4"), T("a"), NIL));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("3"), T("z"), SAME));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id, name FROM people ORDER BY id", "1|free\n2|b\n3|z\n4|a");
}

static void a_missing_row_is_an_error_that_names_it(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"), T("a"), NIL));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("41"), T("b"), SAME));
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("2"), T("c"), NIL));
    assert_fails(f, settled(f, write_batch(f)), ERROR_DATA,
                 "update in \"public\".\"people\" where \"id\" = 41: the target's row is missing");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, relation, relation));
    assert_fails(
        f, settled(f, write_change(f, CHANGE_DELETE, relation, ROW(T("42"), NONE, NONE), NULL)),
        ERROR_DATA, "delete in \"public\".\"people\" where \"id\" = 42");
}

static void a_set_with_a_missing_row_is_no_success(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    add_change(f, CHANGE_DELETE, relation, ROW(T("1"), NONE, NONE), NULL);
    add_change(f, CHANGE_DELETE, relation, ROW(T("2"), NONE, NONE), NULL);
    add_change(f, CHANGE_DELETE, relation, ROW(T("3"), NONE, NONE), NULL);
    assert_fails(f, settled(f, write_batch(f)), ERROR_DATA, "where \"id\" = 1");
}

static void moved_rows_keep_what_is_unchanged(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"), T("a"), T("large")));
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("2"), T("b"), T("huge")));
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("3"), T("c"), NIL));
    assert_ok(f, write_batch(f));
    add_change(f, CHANGE_UPDATE, relation, ROW(T("1"), NONE, NONE), ROW(T("11"), T("a"), SAME));
    add_change(f, CHANGE_UPDATE, relation, ROW(T("2"), NONE, NONE), ROW(T("1"), T("b2"), SAME));
    add_change(f, CHANGE_UPDATE, relation, ROW(T("3"), NONE, NONE), ROW(T("2"), T("c"), NIL));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM people ORDER BY id", "1|b2|huge\n2|c|~\n11|a|large");
}

// Every kind of text that differs from a cast to text, and types without an equality.
static void rows_without_a_key_are_found_by_their_values(void **state)
{
    Fixture *f = *state;
    Column blank = column("c", 2, OID_BPCHAR, "character(5)");
    Relation *relation = TABLE(
        f, 2, "public", "loose", "", column("b", 1, OID_BOOL, "boolean"), blank,
        column("i", 3, 869, "inet"), column("j", 4, OID_JSON, "json"), column("p", 5, 600, "point"),
        column("n", 6, OID_NUMERIC, "numeric"), column("x", 7, OID_XML, "xml"),
        column("f", 8, OID_FLOAT8, "double precision"), column("q", 9, 18, "\"char\""));
    begin_with(f, relation);
#define LOOSE(n)                                                                              \
    ROW(T("t"), T("ab   "), T("10.0.0.1"), T("{\"a\":  1}"), T("(1,2)"), T(n), T("<a>b</a>"), \
        T("-0"), T("z"))
    add_change(f, CHANGE_INSERT, relation, NULL, LOOSE("1.0"));
    add_change(f, CHANGE_INSERT, relation, NULL, LOOSE("1.00"));
    add_change(f, CHANGE_INSERT, relation, NULL, LOOSE("1.00"));
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(NIL, NIL, NIL, NIL, NIL, NIL, NIL, NIL, NIL));
    assert_ok(f, write_batch(f));
    assert_ok(f, write_change(f, CHANGE_DELETE, relation, LOOSE("1.00"), NULL));
    assert_ok(f, write_change(f, CHANGE_UPDATE, relation, LOOSE("1.00"), LOOSE("2.5")));
    assert_ok(f, write_change(f, CHANGE_UPDATE, relation,
                              ROW(NIL, NIL, NIL, NIL, NIL, NIL, NIL, NIL, NIL),
                              ROW(T("f"), NIL, NIL, NIL, NIL, NIL, NIL, NIL, NIL)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT b, n FROM loose ORDER BY n", "t|1.0\nt|2.5\nf|~");
    assert_fails(f, settled(f, write_change(f, CHANGE_DELETE, relation, LOOSE("1.00"), NULL)),
                 ERROR_DATA, "row is missing");
}

static void a_table_without_identity_says_what_to_do(void **state)
{
    Fixture *f = *state;
    Relation *relation = TABLE(f, 2, "app", "lo\"ose", "", INT4("a", 1));
    begin_with(f, relation);
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"))));
    assert_fails(f, write_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("2"))), ERROR_DATA,
                 "ALTER TABLE \"app\".\"lo\"\"ose\" REPLICA IDENTITY FULL;");
}

static void tables_truncated_together_are_truncated_together(void **state)
{
    Fixture *f = *state;
    Relation *parent = TABLE(f, 1, "public", "parent", "a", INT4("id", 1));
    Relation *child = TABLE(f, 2, "public", "child", "a", INT4("id", 1), INT4("parent", 2));
    begin_with(f, parent);
    assert_ok(f, sink_prepare(f, NULL, child));
    assert_ok(f, sink_commit(f, NULL, NULL));
    execute(f, "ALTER TABLE child ADD FOREIGN KEY (parent) REFERENCES parent");
    add_change(f, CHANGE_INSERT, parent, NULL, ROW(T("1")));
    add_change(f, CHANGE_INSERT, child, NULL, ROW(T("1"), T("1")));
    add_change(f, CHANGE_TRUNCATE, parent, NULL, NULL);
    add_change(f, CHANGE_TRUNCATE, child, NULL, NULL);
    add_change(f, CHANGE_INSERT, parent, NULL, ROW(T("2")));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT (SELECT string_agg(id::text, ',') FROM parent), count(*) FROM child",
                "2|0");
    // Alone the parent cannot be truncated, whether or not the key acts: its rows are deleted.
    assert_ok(f, write_change(f, CHANGE_TRUNCATE, parent, NULL, NULL));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT count(*) FROM parent", "0");
}

static void triggers_and_foreign_keys_do_not_act(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    execute(f, "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS "
               "$$BEGIN NEW.name := 'spoilt'; RETURN NEW; END$$;"
               "CREATE TRIGGER spoil BEFORE INSERT OR UPDATE ON people FOR EACH ROW "
               "EXECUTE FUNCTION spoil()");
    add_three(f, relation);
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT count(*) FROM people WHERE name = 'spoilt'", "0");
    set_option(f, "triggers", "true");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, relation, relation));
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("4"), T("a"), NIL)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT name FROM people WHERE id = 4", "spoilt");
}

// Sent together, and yet nothing of it is there: neither what came before nor the position.
static void what_is_counted_is_counted_before_the_commit(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    Checkpoint checkpoint = {0};
    begin_with(f, relation);
    assert_ok(f, sink_commit(f, "position", "0/1:0"));
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"), T("one"), NIL)));
    assert_ok(f, write_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("2"), T("two"), SAME)));
    assert_fails(f, sink_commit(f, "position", "0/2:0"), ERROR_DATA, "\"id\" = 2");
    assert_ok(f, sink_start(f, &checkpoint));
    assert_true(str_is(checkpoint_get(&checkpoint, STR("position"))->value, "0/1:0"));
    assert_look(f, "SELECT * FROM people", "");
    checkpoint_done(&checkpoint);
}

static void the_first_failure_is_the_one_that_is_told(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"), T("one"), NIL)));
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("x"), T("two"), NIL)));
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("y"), T("three"), NIL)));
    assert_fails(f, sink_commit(f, NULL, NULL), ERROR_DATA,
                 "insert in \"public\".\"people\" where \"id\" = x: ");
}

static Value number(char text[static 16], int value)
{
    return (Value){
        .ptr = text, .len = (uint32_t)snprintf(text, 16, "%d", value), .state = VALUE_TEXT};
}

static void more_statements_than_are_sent_at_once(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    for (int round = 0; round < 2; round++) {
        char id[16];
        for (int i = 1; i <= 700; i++) {
            const Value key = number(id, i);
            assert_ok(f,
                      round == 0
                          ? write_change(f, CHANGE_INSERT, relation, NULL, ROW(key, T("a"), NIL))
                          : write_change(f, CHANGE_UPDATE, relation, NULL, ROW(key, T("b"), NIL)));
        }
        assert_ok(f, sink_commit(f, NULL, NULL));
    }
    assert_look(f, "SELECT count(*), sum(id) FROM people WHERE name = 'b'", "700|245350");
}

// What was prepared for a table that somebody has altered since is no reason to stop: a new session
// sees the table as it is.
static void what_was_prepared_may_be_outdated(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"), T("one"), NIL)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    execute(f, "ALTER TABLE people ALTER COLUMN name TYPE bytea USING name::bytea");
    Status status = write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("2"), T("two"), NIL));
    assert_fails(f, settled(f, status), ERROR_TRANSIENT, "is of type bytea");
    execute(f, "ALTER TABLE people ALTER COLUMN name TYPE varchar USING 'mended'");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, relation, relation));
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("2"), T("two"), NIL)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM people ORDER BY id", "1|mended|~\n2|two|~");
}

// What was sent before a run is no part of it: that nobody else can apply the run in another way
// must not make a row that was missing there before all right.
static void a_missing_row_stays_one_whatever_comes_behind_it(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    assert_ok(f, write_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("7"), T("x"), SAME)));
    add_three(f, relation);
    assert_fails(f, settled(f, write_batch(f)), ERROR_DATA,
                 "where \"id\" = 7: the target's row is missing");
    assert_look(f, "SELECT * FROM people", "");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, relation, relation));
    // The same with a barrier, a key that moves, in front of them.
    add_change(f, CHANGE_UPDATE, relation, ROW(T("7"), NONE, NONE), ROW(T("8"), T("x"), SAME));
    char ids[40][8];
    for (int i = 0; i < 40; i++) {
        (void)snprintf(ids[i], sizeof(ids[i]), "%d", i + 10);
        add_change(f, CHANGE_INSERT, relation, NULL, ROW(T(ids[i]), T("a"), NIL));
    }
    assert_fails(f, settled(f, write_batch(f)), ERROR_DATA, "where \"id\" = 7");
    assert_look(f, "SELECT * FROM people", "");
}

static void a_refusal_in_front_of_a_run_keeps_its_words(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("x"), T("a"), NIL)));
    add_three(f, relation);
    assert_fails(f, settled(f, write_batch(f)), ERROR_DATA, "where \"id\" = x: ");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, relation, relation));
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("y"), T("a"), NIL)));
    add_change(f, CHANGE_TRUNCATE, relation, NULL, NULL);
    assert_fails(f, settled(f, write_batch(f)), ERROR_DATA, "where \"id\" = y: ");
}

// A value that is refused is refused for good: who tries again, as for a statement that may be
// outdated, would meet it in the same transaction for ever.
static void what_is_refused_is_so_behind_many_others(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    for (int i = 1; i <= 700; i++) {
        char id[16];
        const Value key = number(id, i);
        assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(key, T("a"), NIL)));
    }
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("x"), T("a"), NIL)));
    assert_fails(f, sink_commit(f, NULL, NULL), ERROR_DATA, "where \"id\" = x: ");
}

// What was prepared before has parameters of the types that the columns had.
static void values_have_the_types_of_now(void **state)
{
    Fixture *f = *state;
    Relation *was = TABLE(f, 1, "public", "t", "a", INT4("id", 1), column("d", 2, OID_DATE, "date"),
                          INT4("n", 3));
    Relation *now = TABLE(f, 1, "public", "t", "a", INT4("id", 1),
                          column("d", 2, OID_TIMESTAMP, "timestamp without time zone"),
                          column("n", 3, OID_INT8, "bigint"));
    begin_with(f, was);
    assert_ok(f, write_change(f, CHANGE_INSERT, was, NULL, ROW(T("1"), T("2026-01-02"), T("3"))));
    assert_ok(f, write_change(f, CHANGE_UPDATE, was, NULL, ROW(T("1"), T("2026-01-03"), T("4"))));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_ok(f, sink_prepare(f, was, now));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_ok(f, write_change(f, CHANGE_UPDATE, now, NULL,
                              ROW(T("1"), T("2026-01-03 04:05:06"), T("5000000000"))));
    assert_ok(f, write_change(f, CHANGE_INSERT, now, NULL,
                              ROW(T("2"), T("2026-01-04 05:06:07"), T("6000000000"))));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM t ORDER BY id",
                "1|2026-01-03 04:05:06|5000000000\n2|2026-01-04 05:06:07|6000000000");
}

// One by one each of them is refused; together they are not.
static void a_few_changes_that_only_a_set_can_make(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    set_option(f, "triggers", "true"); // by which the constraint is checked
    begin_with(f, relation);
    execute(f, "ALTER TABLE people ADD UNIQUE (name) DEFERRABLE INITIALLY IMMEDIATE");
    add_three(f, relation);
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("1"), T("b"), NIL));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("2"), T("c"), NIL));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("3"), T("a"), NIL));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id, name FROM people ORDER BY id", "1|b\n2|c\n3|a");
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("1"), T("x"), NIL));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("2"), T("a"), NIL));
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("4"), T("y"), NIL));
    assert_fails(f, write_batch(f), ERROR_DATA, "update in \"public\".\"people\" where \"id\" = 2");
}

static void a_cancelled_sink_gives_up(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    execute(f, "BEGIN; LOCK TABLE people");
    cancel_set(&f->cancel);
    assert_fails(
        f, settled(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"), T("a"), NIL))),
        ERROR_CANCELLED, "");
    execute(f, "ROLLBACK");
}

static void a_lost_connection_is_transient(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    begin_with(f, relation);
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"), T("a"), NIL)));
    execute(f, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
               "WHERE application_name LIKE 'weir/%' AND datname = current_database()");
    assert_fails(f, sink_commit(f, "position", "0/1:0"), ERROR_TRANSIENT, "");
    assert_ok(f, sink_start(f, NULL));
    assert_look(f, "SELECT count(*) FROM people", "0");
}

// A commit that the target forgets in a crash would be lost: the source has let go of it.
static void a_commit_is_always_flushed(void **state)
{
    Fixture *f = *state;
    Relation *relation = people(f);
    execute(f, "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', "
               "current_database()); END$$");
    begin_with(f, relation);
    execute(f, "CREATE TABLE seen (setting text);"
               "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
               "INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); "
               "RETURN NEW; END$$;"
               "CREATE TRIGGER see BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION see();"
               "ALTER TABLE people ENABLE ALWAYS TRIGGER see");
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"), T("a"), NIL)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT setting FROM seen", "local");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        sink_test(inserts_updates_and_deletes_arrive),
        sink_test(a_lone_change_needs_no_set),
        sink_test(what_was_not_committed_is_gone_after_a_kill),
        sink_test(checkpoint_entries_are_replaced_and_removed),
        sink_test(a_transaction_spans_writes),
        sink_test(two_processes_cannot_be_one_pipeline),
        sink_test(a_lane_copies_beside),
        sink_test(a_lane_that_is_left_is_waited_for),
        sink_test(commits_are_durable_whatever_the_server_says),
        sink_test(a_refused_copy_row_is_found_at_the_commit),
        sink_test(sets_that_fail_are_applied_in_order),
        sink_test(a_missing_row_is_an_error_that_names_it),
        sink_test(a_set_with_a_missing_row_is_no_success),
        sink_test(moved_rows_keep_what_is_unchanged),
        sink_test(rows_without_a_key_are_found_by_their_values),
        sink_test(a_table_without_identity_says_what_to_do),
        sink_test(tables_truncated_together_are_truncated_together),
        sink_test(triggers_and_foreign_keys_do_not_act),
        sink_test(what_is_counted_is_counted_before_the_commit),
        sink_test(the_first_failure_is_the_one_that_is_told),
        sink_test(more_statements_than_are_sent_at_once),
        sink_test(what_was_prepared_may_be_outdated),
        sink_test(a_missing_row_stays_one_whatever_comes_behind_it),
        sink_test(a_refusal_in_front_of_a_run_keeps_its_words),
        sink_test(what_is_refused_is_so_behind_many_others),
        sink_test(values_have_the_types_of_now),
        sink_test(a_few_changes_that_only_a_set_can_make),
        sink_test(a_cancelled_sink_gives_up),
        sink_test(a_lost_connection_is_transient),
        sink_test(a_commit_is_always_flushed),
    };
    return run_on_server(tests, "sinks/test_postgres");
}
