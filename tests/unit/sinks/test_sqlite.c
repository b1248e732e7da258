// The sqlite sink as a whole: rows in a mirror, what is visible when, and what goes wrong.
#include <stdio.h>
#include <sys/stat.h>

#include "sinks/sqlite_fixture.h"
#include "sinks/sqlite_sink.h"

static Relation *orders(Fixture *f)
{
    return TABLE(f, 100, "public", "orders", "a", INT4("id", 1), TEXT("note", 2),
                 NUMERIC("price", 3));
}

static void start_with(Fixture *f, const Relation *relation)
{
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, NULL, relation));
}

static Status insert(Fixture *f, const Relation *relation, const Value *row)
{
    return write_change(f, CHANGE_INSERT, relation, NULL, row);
}

static Status update(Fixture *f, const Relation *relation, const Value *before, const Value *row)
{
    return write_change(f, CHANGE_UPDATE, relation, before, row);
}

static Status delete (Fixture *f, const Relation *relation, const Value *row)
{
    return write_change(f, CHANGE_DELETE, relation, row, NULL);
}

static void mirrors_rows(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    assert_ok(f, write_change(f, CHANGE_READ, t, NULL, ROW(T("1"), T("one"), T("1.10"))));
    assert_ok(f, insert(f, t, ROW(T("2"), T(""), NIL)));
    assert_ok(f, insert(f, t, ROW(T("3"), NIL, T("0.000"))));
    assert_ok(f, update(f, t, NULL, ROW(T("2"), T("two"), T("2.50"))));
    assert_ok(f, delete (f, t, ROW(T("3"), NONE, NONE)));
    assert_ok(f, insert(f, t, ROW(T("3"), T("again"), T("3"))));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM orders ORDER BY id",
                "1|'one'|'1.10'\n2|'two'|'2.50'\n3|'again'|'3'");
}

static void an_empty_text_is_not_null(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    const Value empty = {.ptr = NULL, .len = 0, .state = VALUE_TEXT};
    start_with(f, t);
    assert_ok(f, insert(f, t, ROW(T("1"), empty, NIL)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM orders", "1|''|NULL");
}

static void unchanged_columns_keep_their_value(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    assert_ok(f, insert(f, t, ROW(T("1"), T("a large text"), T("1"))));
    assert_ok(f, update(f, t, NULL, ROW(T("1"), SAME, T("2"))));
    assert_ok(f, update(f, t, NULL, ROW(T("1"), SAME, SAME)));
    assert_ok(f, update(f, t, NULL, ROW(T("1"), SAME, NIL)));
    // The key moves, and the large column moves with its row.
    assert_ok(f, update(f, t, ROW(T("1"), NONE, NONE), ROW(T("9"), SAME, T("3"))));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM orders", "9|'a large text'|'3'");
}

static void a_key_change_moves_the_row(void **state)
{
    Fixture *f = *state;
    const Relation *t =
        TABLE(f, 100, "public", "parts", "ba", INT4("n", 1), TEXT("kind", 2), TEXT("note", 3));
    start_with(f, t);
    assert_ok(f, insert(f, t, ROW(T("1"), T("x"), T("first"))));
    assert_ok(f, insert(f, t, ROW(T("2"), T("x"), T("second"))));
    // The two exchange their keys, by way of a third.
    assert_ok(f, update(f, t, ROW(T("1"), T("x"), NONE), ROW(T("0"), T("x"), T("first"))));
    assert_ok(f, update(f, t, ROW(T("2"), T("x"), NONE), ROW(T("1"), T("x"), T("second"))));
    assert_ok(f, update(f, t, ROW(T("0"), T("x"), NONE), ROW(T("2"), T("x"), SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM parts ORDER BY n", "1|'x'|'second'\n2|'x'|'first'");
    // An update that repeats the old key changes none.
    assert_ok(f, update(f, t, ROW(T("1"), T("x"), T("second")), ROW(T("1"), T("x"), T("2nd"))));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT note FROM parts WHERE n = 1", "'2nd'");
}

static void a_table_of_nothing_but_its_key(void **state)
{
    Fixture *f = *state;
    const Relation *t = TABLE(f, 100, "public", "tags", "a", TEXT("tag", 1));
    start_with(f, t);
    assert_ok(f, insert(f, t, ROW(T("x"))));
    assert_ok(f, update(f, t, NULL, ROW(T("x"))));
    assert_ok(f, update(f, t, ROW(T("x")), ROW(T("y"))));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM tags", "'y'");
    assert_fails(f, update(f, t, NULL, ROW(T("x"))), ERROR_DATA, "where \"tag\" = x");
}

static void without_a_key_one_of_equal_rows_changes(void **state)
{
    Fixture *f = *state;
    const Relation *t =
        TABLE(f, 100, "public", "log", "", INT4("oid", 1), TEXT("rowid", 2), FLOAT8("f", 3));
    start_with(f, t);
    for (int i = 0; i < 3; i++) {
        assert_ok(f, insert(f, t, ROW(T("1"), NIL, T("NaN"))));
    }
    assert_ok(f, delete (f, t, ROW(T("1"), NIL, T("NaN"))));
    assert_ok(f, update(f, t, ROW(T("1"), NIL, T("NaN")), ROW(T("1"), T("set"), T("0.1"))));
    assert_ok(f, update(f, t, ROW(T("1"), T("set"), T("0.1")), ROW(T("1"), SAME, T("0.2"))));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM log ORDER BY _rowid_",
                "1|'set'|0.20000000000000001f\n1|NULL|'NaN'");
    assert_fails(f, delete (f, t, ROW(T("2"), NIL, T("NaN"))), ERROR_DATA, "like the old one");
    // Not even the values of a row without a key get into a message.
    assert_null(strstr(f->error.message, "NaN"));
}

static void without_a_key_an_index_finds_rows(void **state)
{
    Fixture *f = *state;
    const Relation *t =
        TABLE(f, 100, "public", "log", "", TEXT("t", 1), BOOL("b", 2), INT4("n", 3));
    const Relation *texts = TABLE(f, 101, "public", "texts", "", BYTEA("b", 1), TEXT("t", 2));
    const Relation *bytes = TABLE(f, 102, "public", "bytes", "", BYTEA("b", 1));
    start_with(f, t);
    assert_ok(f, sink_prepare(f, NULL, texts));
    assert_ok(f, sink_prepare(f, NULL, bytes));
    assert_ok(f, insert(f, t, ROW(T("x"), T("t"), NIL)));
    assert_ok(f, insert(f, texts, ROW(T("\\x00"), T("x"))));
    assert_ok(f, insert(f, bytes, ROW(T("\\x00"))));
    assert_ok(f, sink_commit(f, "table:100", "ready"));
    assert_look(f, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'weir_key%'", "0");
    assert_ok(f, update(f, t, ROW(T("x"), T("t"), NIL), ROW(T("x"), T("t"), T("1"))));
    assert_ok(f, delete (f, t, ROW(T("x"), T("t"), T("1"))));
    assert_ok(f, delete (f, texts, ROW(T("\\x00"), T("x"))));
    assert_ok(f, delete (f, bytes, ROW(T("\\x00"))));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT sql FROM sqlite_schema WHERE name LIKE 'weir_key%' ORDER BY name",
                "'CREATE INDEX \"weir_key_log\" ON \"log\" (\"n\")'\n"
                "'CREATE INDEX \"weir_key_texts\" ON \"texts\" (\"t\")'");
    // It goes with the shape it was made for.
    const Relation *now =
        TABLE(f, 100, "public", "log2", "c", TEXT("t", 1), BOOL("b", 2), INT4("n", 3));
    assert_ok(f, sink_prepare(f, t, now));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT count(*) FROM sqlite_schema WHERE tbl_name LIKE 'log%'", "1");
}

static void without_identity_a_delete_cannot_be_told(void **state)
{
    Fixture *f = *state;
    const Relation *t = TABLE(f, 100, "a schema", "log", "", INT4("id", 1));
    start_with(f, t);
    assert_fails(f, delete (f, t, NULL), ERROR_DATA,
                 "ALTER TABLE \"a schema\".\"log\" REPLICA IDENTITY FULL;");
    assert_fails(f, update(f, t, NULL, ROW(T("1"))), ERROR_DATA, "REPLICA IDENTITY FULL");
}

static void all_names_of_the_row_id_may_be_taken(void **state)
{
    Fixture *f = *state;
    const Relation *t =
        TABLE(f, 100, "public", "log", "", INT4("ROWID", 1), INT4("Oid", 2), INT4("_rowid_", 3));
    start_with(f, t);
    assert_ok(f, insert(f, t, ROW(T("1"), T("2"), T("3"))));
    assert_fails(f, delete (f, t, ROW(T("1"), T("2"), T("3"))), ERROR_CONFIG, "row id");
}

static void a_missing_row_is_an_error(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    assert_ok(f, insert(f, t, ROW(T("1"), T("secret"), NIL)));
    assert_fails(f, update(f, t, NULL, ROW(T("2"), T("secret"), NIL)), ERROR_DATA,
                 "update of table \"public.orders\" where \"id\" = 2: the target has no such "
                 "row");
    assert_null(strstr(f->error.message, "secret"));
    assert_non_null(strstr(f->error.hint,
                           "DROP TABLE \"orders\"; DELETE FROM \"weir_checkpoint\" WHERE "
                           "pipeline = 'it''s a \"pipeline\"' AND key = 'table:100';"));
    assert_fails(f, delete (f, t, ROW(T("2"), NONE, NONE)), ERROR_DATA, "delete of table");
    assert_fails(f, update(f, t, NULL, ROW(T("2"), SAME, SAME)), ERROR_DATA, "\"id\" = 2");
}

static void a_row_that_is_there_is_an_error(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    assert_ok(f, insert(f, t, ROW(T("1"), T("a"), NIL)));
    assert_fails(f, insert(f, t, ROW(T("1"), T("b"), NIL)), ERROR_DATA,
                 "where \"id\" = 1: the target already has such a row");
    const Relation *u = TABLE(f, 101, "public", "texts", "a", TEXT("k", 1));
    start_with(f, u);
    assert_ok(f, insert(f, u, ROW(T("x"))));
    assert_fails(f, insert(f, u, ROW(T("x"))), ERROR_DATA, "where \"k\" = x");
    assert_ok(f, insert(f, u, ROW(T("y"))));
    assert_fails(f, update(f, u, ROW(T("y")), ROW(T("x"))), ERROR_DATA, "UNIQUE");
}

static void unknown_values_are_never_written(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    const Value binary = {.ptr = "\0\0\0\1", .len = 4, .state = VALUE_BINARY};
    start_with(f, t);
    assert_fails(f, insert(f, t, ROW(T("1"), SAME, NIL)), ERROR_DATA,
                 "no value of column \"note\"");
    assert_fails(f, insert(f, t, ROW(T("1"), NONE, NIL)), ERROR_DATA,
                 "no value of column \"note\"");
    assert_fails(f, insert(f, t, ROW(binary, NIL, NIL)), ERROR_FATAL, "binary");
    assert_fails(f, insert(f, t, ROW(T("1x"), NIL, NIL)), ERROR_DATA, "\"id\"");
    assert_fails(f, delete (f, t, ROW(SAME, NIL, NIL)), ERROR_DATA, "\"id\"");
}

static void truncate_empties_the_table(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    assert_ok(f, insert(f, t, ROW(T("1"), T("a"), NIL)));
    assert_ok(f, write_change(f, CHANGE_TRUNCATE, t, NULL, NULL));
    assert_ok(f, insert(f, t, ROW(T("2"), T("b"), NIL)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM orders", "2|'b'|NULL");
}

static void messages_and_schema_events_are_passed_over(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    assert_ok(f, write_change(f, CHANGE_MESSAGE, NULL, NULL, NULL));
    assert_ok(f, write_change(f, CHANGE_SCHEMA, t, NULL, NULL));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT count(*) FROM orders", "0");
}

static void many_sets_of_columns_share_the_statements(void **state)
{
    enum { COLUMNS = 70, ROUNDS = 200 };
    Fixture *f = *state;
    Column columns[COLUMNS];
    Value row[COLUMNS];
    char names[COLUMNS][8];
    for (int16_t i = 0; i < COLUMNS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "c%d", i);
        columns[i] = TEXT(names[i], i + 1);
        row[i] = T("0");
    }
    const Relation *t = relation_of(&f->arena, 100, "public", "wide", "a", columns, COLUMNS);
    start_with(f, t);
    assert_ok(f, insert(f, t, row));
    // Each round sets one column and leaves the others; the ninth set replaces the first statement.
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 1; i < COLUMNS; i++) {
            row[i] = i == 1 + round % (COLUMNS - 1) ? T("1") : SAME;
        }
        assert_ok(f, update(f, t, NULL, row));
    }
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT c0, c1, c2, c35, c68, c69 FROM wide", "'0'|'1'|'1'|'1'|'1'|'1'");
}

static void nothing_is_visible_before_commit(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    Checkpoint checkpoint = {0};
    start_with(f, t);
    assert_ok(f, insert(f, t, ROW(T("1"), T("a"), NIL)));
    assert_look(f, "SELECT count(*) FROM sqlite_schema WHERE name = 'orders'", "0");
    assert_ok(f, sink_commit(f, "position", "0/10:0"));
    assert_ok(f, insert(f, t, ROW(T("2"), T("b"), NIL)));
    assert_ok(f, delete (f, t, ROW(T("1"), NONE, NONE)));
    assert_look(f, "SELECT id FROM orders", "1");
    // Gone without a commit: the next one finds the last commit, rows and position alike.
    assert_ok(f, sink_start(f, &checkpoint));
    assert_int_equal(checkpoint.count, 1);
    assert_true(str_is(checkpoint_get(&checkpoint, STR("position"))->value, "0/10:0"));
    checkpoint_done(&checkpoint);
    assert_look(f, "SELECT id FROM orders", "1");
}

// No test can pull the plug; this is what durability hangs on.
static void commits_are_durable(void **state)
{
    Fixture *f = *state;
    sqlite3_stmt *statement;
    assert_ok(f, sink_start(f, NULL));
    assert_int_equal(sqlite3_prepare_v2(((SqliteSink *)f->sink)->db.handle,
                                        "SELECT synchronous, journal_mode FROM pragma_synchronous, "
                                        "pragma_journal_mode",
                                        -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), 2);
    assert_string_equal((const char *)sqlite3_column_text(statement, 1), "wal");
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
}

static void stores_removes_and_returns_the_checkpoint(void **state)
{
    Fixture *f = *state;
    Checkpoint checkpoint = {0};
    Checkpoint changed = {0};
    assert_ok(f, sink_start(f, &checkpoint));
    assert_int_equal(checkpoint.count, 0);
    checkpoint_set(&changed, STR("position"), STR("0/1:0"));
    checkpoint_set(&changed, STR("empty"), STR(""));
    checkpoint_set(&changed, STR("gone"), STR("x"));
    assert_ok(f, f->sink->ops->commit(f->sink, &changed, &f->error));
    checkpoint_reset(&changed);
    checkpoint_set(&changed, STR("position"), STR("0/2:0"));
    checkpoint_set(&changed, STR("gone"), (Str){0});
    checkpoint_set(&changed, STR("never there"), (Str){0});
    assert_ok(f, f->sink->ops->commit(f->sink, &changed, &f->error));
    execute(f, "INSERT INTO weir_checkpoint VALUES ('another', 'position', 'F/F:0')");
    assert_ok(f, sink_start(f, &checkpoint));
    assert_int_equal(checkpoint.count, 2);
    assert_true(str_is(checkpoint_get(&checkpoint, STR("position"))->value, "0/2:0"));
    assert_int_equal(checkpoint_get(&checkpoint, STR("empty"))->value.len, 0);
    checkpoint_done(&checkpoint);
    checkpoint_done(&changed);
}

static void clear_empties_before_a_copy(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    assert_ok(f, write_change(f, CHANGE_READ, t, NULL, ROW(T("1"), NIL, NIL)));
    assert_ok(f, sink_commit(f, "table:100", "copying"));
    start_with(f, t);
    assert_ok(f, f->sink->ops->clear(f->sink, t, LSN_NONE, &f->error));
    assert_ok(f, write_change(f, CHANGE_READ, t, NULL, ROW(T("1"), T("new"), NIL)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM orders", "1|'new'|NULL");
}

static void clear_keeps_what_others_wrote(void **state)
{
    Fixture *f = *state;
    const Relation *t = TABLE(f, 100, "public", "log", "", INT4("id", 1));
    assert_ok(f, sink_start(f, NULL));
    execute(f, "CREATE TABLE log (id INTEGER); INSERT INTO log VALUES (7), (1)");
    set_option(f, "existing", "keep");
    start_with(f, t);
    assert_ok(f, sink_commit(f, "table:100", "copying"));
    assert_ok(f, write_change(f, CHANGE_READ, t, NULL, ROW(T("1"))));
    assert_true(f->sink->ops->keeps_rows(f->sink, t));
    start_with(f, t); // nothing was committed
    assert_ok(f, f->sink->ops->clear(f->sink, t, LSN_NONE, &f->error));
    assert_true(f->sink->ops->keeps_rows(f->sink, t));
    assert_ok(f, write_change(f, CHANGE_READ, t, NULL, ROW(T("2"))));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT group_concat(id) FROM log", "'7,1,2'");
    assert_fails(
        f, f->sink->ops->clear(f->sink, t, 1, &f->error), ERROR_CONFIG,
        "DELETE FROM \"weir_checkpoint\" WHERE pipeline = 'it''s a \"pipeline\"' AND key = "
        "'table:100';");
}

static void a_unique_constraint_of_the_user_is_explained(void **state)
{
    Fixture *f = *state;
    const Relation *t = TABLE(f, 100, "public", "log", "a", INT4("id", 1), TEXT("email", 2));
    assert_ok(f, sink_start(f, NULL));
    execute(f, "CREATE TABLE log (id INTEGER PRIMARY KEY, email TEXT UNIQUE)");
    start_with(f, t);
    assert_ok(f, insert(f, t, ROW(T("1"), T("x"))));
    assert_fails(f, insert(f, t, ROW(T("2"), T("x"))), ERROR_DATA, "make it a plain index");
    assert_fails(f, insert(f, t, ROW(T("1"), T("y"))), ERROR_DATA, "already has such a row");
}

static void a_change_needs_a_prepared_table(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    const Relation *other =
        TABLE(f, 100, "public", "orders", "a", INT8("id", 1), TEXT("note", 2), NUMERIC("price", 3));
    start_with(f, t);
    assert_fails(f, insert(f, other, ROW(T("1"), NIL, NIL)), ERROR_FATAL, "prepared");
    // An equal relation at another address is the same one.
    assert_ok(f, insert(f, orders(f), ROW(T("1"), NIL, NIL)));
}

static void gives_up_when_cancelled(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    cancel_set(&f->cancel);
    assert_fails(f, insert(f, t, ROW(T("1"), NIL, NIL)), ERROR_CANCELLED, "");
}

static void a_locked_file_is_waited_for(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    sqlite3 *other;
    set_option(f, "busy_timeout", "60ms");
    start_with(f, t);
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_fails(f, insert(f, t, ROW(T("1"), NIL, NIL)), ERROR_TRANSIENT, "Another process");
    // Readers are in nobody's way.
    assert_int_equal(sqlite3_exec(other, "ROLLBACK; BEGIN; SELECT * FROM orders", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_ok(f, insert(f, t, ROW(T("1"), NIL, NIL)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
}

static void a_full_disk_is_transient(void **state)
{
    enum { LARGE = 1 << 20 };
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    assert_ok(f, sink_commit(f, NULL, NULL));
    // SQLite's own ceiling gives the very error of a full disk.
    sqlite3 *db = ((SqliteSink *)f->sink)->db.handle;
    assert_int_equal(sqlite3_exec(db, "PRAGMA max_page_count = 20", NULL, NULL, NULL), SQLITE_OK);
    char *large = mem_alloc(LARGE);
    memset(large, 'x', LARGE);
    const Value row[] = {T("1"), {.ptr = large, .len = LARGE, .state = VALUE_TEXT}, NIL};
    assert_fails(f, insert(f, t, row), ERROR_TRANSIENT, "Make room");
    mem_free(large);
}

static void other_files_are_refused(void **state)
{
    Fixture *f = *state;
    FILE *file = fopen(f->path, "w");
    for (int i = 0; i < 1000; i++) {
        assert_true(fputs("this is no database\n", file) >= 0);
    }
    assert_int_equal(fclose(file), 0);
    assert_fails(f, sink_start(f, NULL), ERROR_CONFIG, f->path);
    assert_fails(f, sink_start(f, NULL), ERROR_CONFIG, "some other file");
}

static void a_directory_is_refused(void **state)
{
    Fixture *f = *state;
    assert_int_equal(mkdir(f->path, 0700), 0);
    assert_fails(f, sink_start(f, NULL), ERROR_CONFIG, "is not a file");
}

static void a_missing_directory_is_named(void **state)
{
    Fixture *f = *state;
    char path[160];
    (void)snprintf(path, sizeof(path), "%s/no/where.db", f->directory);
    f->settings[0].value = str_from(path);
    assert_fails(f, sink_start(f, NULL), ERROR_CONFIG, "mkdir -p");
    f->settings[0].value = STR("");
    assert_int_equal(sink_start(f, NULL), STATUS_FAIL);
}

// The right to write is taken away; root would not notice.
static void as_nobody(Fixture *f, mode_t file, mode_t directory)
{
    assert_int_equal(chmod(f->directory, directory), 0);
    if (access(f->path, F_OK) == 0) {
        assert_int_equal(chmod(f->path, file), 0);
    }
    if (geteuid() == 0) {
        assert_int_equal(seteuid(65534), 0);
    }
}

static void as_before(Fixture *f)
{
    if (getuid() == 0) {
        assert_int_equal(seteuid(0), 0);
    }
    assert_int_equal(chmod(f->directory, 0700), 0);
}

static void a_read_only_file_is_refused(void **state)
{
    Fixture *f = *state;
    start_with(f, orders(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    sink_free(f->sink);
    f->sink = NULL;
    as_nobody(f, 0444, 0777);
    Status status = sink_start(f, NULL);
    as_before(f);
    assert_int_equal(status, STATUS_FAIL);
    assert_int_equal(f->error.kind, ERROR_CONFIG);
    assert_non_null(strstr(f->error.hint, "right to write"));
}

static void a_read_only_directory_is_refused(void **state)
{
    Fixture *f = *state;
    as_nobody(f, 0666, 0555);
    Status status = sink_start(f, NULL);
    as_before(f);
    assert_int_equal(status, STATUS_FAIL);
    assert_int_equal(f->error.kind, ERROR_CONFIG);
    assert_non_null(strstr(f->error.hint, "right to write"));
}

static void a_removed_file_stops_the_commit(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_ok(f, insert(f, t, ROW(T("1"), NIL, NIL)));
    assert_int_equal(unlink(f->path), 0);
    assert_fails(f, sink_commit(f, NULL, NULL), ERROR_CONFIG, "moved or removed");
}

static void a_table_dropped_meanwhile_is_an_error(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    assert_ok(f, sink_commit(f, NULL, NULL));
    execute(f, "DROP TABLE orders");
    assert_fails(f, insert(f, t, ROW(T("1"), NIL, NIL)), ERROR_CONFIG, "no such table: orders");
}

static void looking_leaves_no_trace(void **state)
{
    Fixture *f = *state;
    Report report = {0};
    assert_ok(f, sink_make(f));
    assert_ok(f, f->sink->ops->open(f->sink, &f->error));
    assert_ok(f, f->sink->ops->check(f->sink, orders(f), &report, &f->error));
    assert_int_equal(report.count, 0);
    report_done(&report);
    assert_int_equal(access(f->path, F_OK), -1);
}

static void a_path_is_never_a_uri(void **state)
{
    Fixture *f = *state;
    char before[4096];
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(f->directory), 0);
    f->settings[0].value = STR("file:x?mode=memory");
    start_with(f, orders(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_int_equal(access("file:x?mode=memory", F_OK), 0);
    sink_free(f->sink);
    f->sink = NULL;
    assert_int_equal(chdir(before), 0);
}

static void memory_is_no_file(void **state)
{
    Fixture *f = *state;
    f->settings[0].value = STR(":memory:");
    assert_fails(f, sink_make(f), ERROR_CONFIG, "sqlite needs the path of a file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        sink_test(mirrors_rows),
        sink_test(an_empty_text_is_not_null),
        sink_test(unchanged_columns_keep_their_value),
        sink_test(a_key_change_moves_the_row),
        sink_test(a_table_of_nothing_but_its_key),
        sink_test(without_a_key_one_of_equal_rows_changes),
        sink_test(without_a_key_an_index_finds_rows),
        sink_test(without_identity_a_delete_cannot_be_told),
        sink_test(all_names_of_the_row_id_may_be_taken),
        sink_test(a_missing_row_is_an_error),
        sink_test(a_row_that_is_there_is_an_error),
        sink_test(unknown_values_are_never_written),
        sink_test(truncate_empties_the_table),
        sink_test(messages_and_schema_events_are_passed_over),
        sink_test(many_sets_of_columns_share_the_statements),
        sink_test(nothing_is_visible_before_commit),
        sink_test(commits_are_durable),
        sink_test(stores_removes_and_returns_the_checkpoint),
        sink_test(clear_empties_before_a_copy),
        sink_test(clear_keeps_what_others_wrote),
        sink_test(a_unique_constraint_of_the_user_is_explained),
        sink_test(a_change_needs_a_prepared_table),
        sink_test(gives_up_when_cancelled),
        sink_test(a_locked_file_is_waited_for),
        sink_test(a_full_disk_is_transient),
        sink_test(other_files_are_refused),
        sink_test(a_directory_is_refused),
        sink_test(a_missing_directory_is_named),
        sink_test(a_read_only_file_is_refused),
        sink_test(a_read_only_directory_is_refused),
        sink_test(a_removed_file_stops_the_commit),
        sink_test(a_table_dropped_meanwhile_is_an_error),
        sink_test(looking_leaves_no_trace),
        sink_test(a_path_is_never_a_uri),
        sink_test(memory_is_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
