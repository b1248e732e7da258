// The duckdb sink as a whole: rows in a mirror, what is durable when, and what goes wrong.
#include <signal.h>
#include <sys/wait.h>

#include "sinks/duckdb_fixture.h"

static Relation *orders(Fixture *f)
{
    return TABLE(f, 100, "public", "orders", "a", INT4("id", 1), TEXT("note", 2),
                 decimal("price", 3, 10, 2));
}

static void start_with(Fixture *f, const Relation *relation)
{
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, NULL, relation));
}

static void insert(Fixture *f, const Relation *relation, const Value *row)
{
    add_change(f, CHANGE_INSERT, relation, NULL, row);
}

static void update(Fixture *f, const Relation *relation, const Value *before, const Value *row)
{
    add_change(f, CHANGE_UPDATE, relation, before, row);
}

static void delete (Fixture *f, const Relation *relation, const Value *row)
{
    add_change(f, CHANGE_DELETE, relation, row, NULL);
}

static void mirrors_rows(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    assert_ok(f, write_change(f, CHANGE_READ, t, NULL, ROW(T("1"), T("one"), T("1.10"))));
    insert(f, t, ROW(T("2"), T(""), NIL));
    insert(f, t, ROW(T("3"), NIL, T("0.00")));
    update(f, t, NULL, ROW(T("2"), T("two"), T("2.50")));
    delete (f, t, ROW(T("3"), NONE, NONE));
    insert(f, t, ROW(T("3"), T("again"), T("3.00")));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM orders ORDER BY id", "1|one|1.10\n2|two|2.50\n3|again|3.00");
}

static void keeps_unchanged_columns(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    insert(f, t, ROW(T("1"), T("one"), T("1.10")));
    insert(f, t, ROW(T("2"), T("two"), T("2.20")));
    insert(f, t, ROW(T("3"), NIL, T("3.30")));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    update(f, t, NULL, ROW(T("1"), SAME, T("9.99")));
    update(f, t, NULL, ROW(T("2"), T("TWO"), SAME));
    update(f, t, NULL, ROW(T("3"), SAME, NIL));
    insert(f, t, ROW(T("4"), T("four"), T("4.40")));
    update(f, t, NULL, ROW(T("4"), SAME, T("4.41")));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM orders ORDER BY id",
                "1|one|9.99\n2|TWO|2.20\n3|NULL|NULL\n4|four|4.41");
}

static void moves_rows_to_another_key(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    insert(f, t, ROW(T("1"), T("one"), T("1.10")));
    insert(f, t, ROW(T("2"), T("two"), T("2.20")));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    update(f, t, ROW(T("1"), NONE, NONE), ROW(T("11"), T("eleven"), T("1.10")));
    update(f, t, ROW(T("2"), NONE, NONE), ROW(T("12"), SAME, T("12.00")));
    insert(f, t, ROW(T("1"), T("new"), NIL));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM orders ORDER BY id", "1|new|NULL\n11|eleven|1.10\n12|two|12.00");
}

static void a_row_comes_and_goes_and_comes(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    for (int round = 0; round < 3; round++) {
        insert(f, t, ROW(T("1"), T("a"), NIL));
        delete (f, t, ROW(T("1"), NONE, NONE));
        insert(f, t, ROW(T("1"), T("b"), NIL));
        assert_ok(f, write_batch(f));
        delete (f, t, ROW(T("1"), NONE, NONE));
        assert_ok(f, write_batch(f));
        insert(f, t, ROW(T("1"), T("c"), NIL));
        assert_ok(f, write_batch(f));
        assert_ok(f, sink_commit(f, NULL, NULL));
        assert_look(f, "SELECT * FROM orders", "1|c|NULL");
        delete (f, t, ROW(T("1"), NONE, NONE));
        assert_ok(f, write_batch(f));
        assert_ok(f, sink_commit(f, NULL, NULL));
        assert_look(f, "SELECT count(*) FROM orders", "0");
    }
}

static void truncates(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    insert(f, t, ROW(T("1"), T("old"), NIL));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    insert(f, t, ROW(T("2"), T("old"), NIL));
    add_change(f, CHANGE_TRUNCATE, t, NULL, NULL);
    insert(f, t, ROW(T("1"), T("new"), NIL));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM orders", "1|new|NULL");
}

static void a_row_that_is_not_there_is_an_error(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    delete (f, t, ROW(T("7"), NONE, NONE));
    assert_fails(f, write_batch(f), ERROR_DATA, "met 0 rows in table \"main.orders\"");
    start_with(f, t);
    update(f, t, NULL, ROW(T("7"), T("x"), NIL));
    assert_fails(f, write_batch(f), ERROR_DATA, "met 0 rows");
    start_with(f, t);
    update(f, t, NULL, ROW(T("7"), SAME, NIL));
    assert_fails(f, write_batch(f), ERROR_DATA, "met 0 rows");
    start_with(f, t);
    insert(f, t, ROW(T("7"), T("x"), NIL));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    execute(f, "INSERT INTO orders VALUES (7, 'twice', 1)");
    delete (f, t, ROW(T("7"), NONE, NONE));
    assert_fails(f, write_batch(f), ERROR_DATA, "of 1 rows met 2 rows");
}

static void tables_without_a_key_are_sums(void **state)
{
    Fixture *f = *state;
    const Relation *t = TABLE(f, 101, "public", "log", "", TEXT("who", 1), INT4("n", 2),
                              column("x", 3, OID_FLOAT8, "double precision"));
    start_with(f, t);
    for (int i = 0; i < 3; i++) {
        insert(f, t, ROW(T("a"), T("1"), T("0")));
    }
    insert(f, t, ROW(T("a"), T("1"), T("-0")));
    insert(f, t, ROW(NIL, T("2"), T("NaN")));
    insert(f, t, ROW(T(""), T("2"), T("NaN")));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    delete (f, t, ROW(T("a"), T("1"), T("0")));
    delete (f, t, ROW(T("a"), T("1"), T("0")));
    update(f, t, ROW(NIL, T("2"), T("NaN")), ROW(T("b"), T("2"), SAME));
    update(f, t, ROW(T("b"), T("2"), T("NaN")), ROW(T("c"), T("3"), T("1")));
    insert(f, t, ROW(T("gone"), T("1"), T("0")));
    delete (f, t, ROW(T("gone"), T("1"), T("0")));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM log ORDER BY who, n, CAST(x AS VARCHAR)",
                "|2|nan\na|1|-0.0\na|1|0.0\nc|3|1.0");
    delete (f, t, ROW(T("a"), T("1"), T("0")));
    delete (f, t, ROW(T("a"), T("1"), T("0")));
    assert_fails(f, write_batch(f), ERROR_DATA, "of 2 rows met 1 rows");
}

static void a_table_without_identity_takes_inserts_only(void **state)
{
    Fixture *f = *state;
    const Relation *t = TABLE(f, 101, "public", "log", "", TEXT("who", 1), INT4("n", 2));
    start_with(f, t);
    insert(f, t, ROW(T("a"), T("1")));
    assert_ok(f, write_batch(f));
    update(f, t, NULL, ROW(T("a"), T("2")));
    assert_fails(f, write_batch(f), ERROR_DATA,
                 "ALTER TABLE \"public\".\"log\" REPLICA IDENTITY FULL");
}

static void several_tables_in_one_write(void **state)
{
    Fixture *f = *state;
    const Relation *a = orders(f);
    const Relation *b = TABLE(f, 102, "shop", "target", "b", TEXT("x", 1), INT8("id", 2));
    const Relation *c = TABLE(f, 103, "memory", "TABLE", "a", INT8("id", 1));
    start_with(f, a);
    assert_ok(f, sink_prepare(f, NULL, b));
    assert_ok(f, sink_prepare(f, NULL, c));
    for (int i = 0; i < 10; i++) {
        char *id = arena_printf(&f->arena, "%d", i);
        Value key = {.ptr = id, .len = (uint32_t)strlen(id), .state = VALUE_TEXT};
        insert(f, a, ROW(key, T("a"), NIL));
        insert(f, b, ROW(T("b"), key));
        add_change(f, CHANGE_MESSAGE, NULL, NULL, NULL);
        insert(f, c, ROW(key));
    }
    delete (f, b, ROW(NONE, T("3")));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f,
                "SELECT (SELECT sum(id) FROM main.orders), (SELECT sum(id) FROM shop.target), "
                "(SELECT sum(id) FROM target.memory.\"TABLE\")",
                "45|42|45");
}

static void uncommitted_work_is_dropped(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    Checkpoint checkpoint = {0};
    start_with(f, t);
    insert(f, t, ROW(T("1"), T("kept"), NIL));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, "position", "0/1:0"));
    insert(f, t, ROW(T("2"), T("lost"), NIL));
    assert_ok(f, write_batch(f));
    assert_look(f, "SELECT count(*) FROM orders", "1");
    update(f, t, NULL, ROW(T("1"), T("lost"), NIL));
    assert_ok(f, write_batch(f));
    insert(f, t, ROW(T("3"), T("in the appender"), NIL));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_start(f, &checkpoint));
    assert_look(f, "SELECT * FROM orders", "1|kept|NULL");
    const CheckpointEntry *entry = checkpoint_get(&checkpoint, STR("position"));
    assert_non_null(entry);
    assert_true(str_is(entry->value, "0/1:0"));
    checkpoint_done(&checkpoint);
}

static void checkpoints_are_by_pipeline(void **state)
{
    Fixture *f = *state;
    Checkpoint changed = {0};
    Checkpoint checkpoint = {0};
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_commit(f, "position", "0/1:0"));
    checkpoint_set(&changed, STR("position"), STR("0/2:0"));
    checkpoint_set(&changed, STR("table:1"), STR("a\nb'c"));
    assert_ok(f, f->sink->ops->commit(f->sink, &changed, &f->error));
    checkpoint_set(&changed, STR("table:1"), (Str){0});
    checkpoint_set(&changed, STR("table:2"), STR(""));
    assert_ok(f, f->sink->ops->commit(f->sink, &changed, &f->error));
    execute(f, "INSERT INTO weir.checkpoint VALUES ('other', 'position', 'F/F:0')");
    assert_ok(f, sink_start(f, &checkpoint));
    assert_int_equal(checkpoint.count, 2);
    assert_true(str_is(checkpoint_get(&checkpoint, STR("position"))->value, "0/2:0"));
    assert_true(str_is(checkpoint_get(&checkpoint, STR("table:2"))->value, ""));
    checkpoint_done(&changed);
    checkpoint_done(&checkpoint);
}

static void rows_wider_than_a_vector(void **state)
{
    Fixture *f = *state;
    enum { ROWS = 5000, LARGE = 100 * 1000 };
    const Relation *t = TABLE(f, 104, "public", "big", "a", INT8("id", 1), TEXT("v", 2));
    char *large = arena_alloc_bytes(&f->arena, LARGE);
    memset(large, 'x', LARGE);
    start_with(f, t);
    for (int i = 0; i < ROWS; i++) {
        char id[24];
        (void)snprintf(id, sizeof(id), "%d", i);
        Value row[] = {{.ptr = id, .len = (uint32_t)strlen(id), .state = VALUE_TEXT},
                       {.ptr = large, .len = i % 5 == 0 ? LARGE / 10 : 3, .state = VALUE_TEXT}};
        row[1] = i % 7 == 0 ? NIL : row[1];
        assert_ok(f, write_change(f, CHANGE_READ, t, NULL, row));
    }
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT count(*), count(v), sum(id), sum(length(v)) FROM big",
                "5000|4285|12497500|8580284");
}

static void a_value_out_of_range_names_its_column(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    insert(f, t, ROW(T("1"), T("x"), T("NaN")));
    assert_fails(
        f, write_batch(f), ERROR_DATA,
        "row where \"id\" = 1: column \"price\": DuckDB's type DECIMAL(10,2) cannot hold NaN");
    assert_fails(f, write_change(f, CHANGE_INSERT, t, NULL, ROW(T("1"), T("\xff\xfe"), NIL)),
                 ERROR_DATA, "column \"note\": text that came is not UTF-8");
}

// Values of a row of which some stay go through a table whose columns have names of their own.
static void a_value_out_of_range_of_a_partial_row(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    insert(f, t, ROW(T("1"), T("x"), T("2.5")));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_fails(f, write_change(f, CHANGE_UPDATE, t, NULL, ROW(T("1"), SAME, T("123456789.00"))),
                 ERROR_DATA,
                 "row where \"id\" = 1: column \"price\": DuckDB's type DECIMAL(10,2) cannot hold "
                 "123456789.00");
}

static void a_constraint_of_somebody_elses(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    assert_ok(f, sink_commit(f, NULL, NULL));
    execute(f, "ALTER TABLE orders ALTER note SET NOT NULL");
    insert(f, t, ROW(T("1"), NIL, NIL));
    assert_ok(f, write_batch(f)); // the appender looks at it later
    assert_fails(f, sink_commit(f, NULL, NULL), ERROR_DATA,
                 "NOT NULL constraint failed: orders.note");
}

static void names_may_be_hostile(void **state)
{
    Fixture *f = *state;
    const Relation *t =
        TABLE(f, 105, "a.b\"c", "x'; DROP TABLE y; --", "b", TEXT("weird \"name\"", 1),
              INT4("s.\"k0\"", 2), TEXT("größe", 3), TEXT("t", 4), TEXT("s", 5));
    start_with(f, t);
    insert(f, t, ROW(T("a"), T("1"), T("ü"), T("t"), T("s")));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    update(f, t, NULL, ROW(SAME, T("1"), T("ä"), SAME, T("S")));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM \"a.b\"\"c\".\"x'; DROP TABLE y; --\"", "a|1|ä|t|S");
    const Relation *own = TABLE(f, 106, "weir", "Checkpoint", "a", INT4("id", 1));
    assert_fails(f, sink_prepare(f, NULL, own), ERROR_CONFIG, "needs for itself");
    const Relation *twice = TABLE(f, 107, "public", "t", "a", INT4("id", 1), INT4("ID", 2));
    assert_fails(f, sink_prepare(f, NULL, twice), ERROR_CONFIG, "are one name in DuckDB");
}

static void the_catalog_is_not_a_schema(void **state)
{
    Fixture *f = *state;
    // The file is called target.duckdb, so "target" is the catalog too.
    const Relation *t = TABLE(f, 108, "target", "t", "a", INT4("id", 1), TEXT("v", 2));
    start_with(f, t);
    insert(f, t, ROW(T("1"), T("x")));
    assert_ok(f, write_batch(f));
    update(f, t, NULL, ROW(T("1"), T("y")));
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM target.target.t", "1|y");
}

// ---------------------------------------------------------------------------------------------
// What cannot be opened
// ---------------------------------------------------------------------------------------------

static void the_library_is_missing(void **state)
{
    Fixture *f = *state;
    set_option(f, "library", "/nonexistent/libduckdb.so");
    assert_ok(f, sink_make(f));
    assert_fails(f, f->sink->ops->open(f->sink, &f->error), ERROR_CONFIG,
                 "npm install @duckdb/node-bindings-linux-x64");
    assert_non_null(strstr(f->error.message, "/nonexistent/libduckdb.so"));
}

static void the_library_is_another_one(void **state)
{
    Fixture *f = *state;
    set_option(f, "library", "libm.so.6");
    assert_ok(f, sink_make(f));
    assert_fails(f, f->sink->ops->open(f->sink, &f->error), ERROR_CONFIG, "has no function");
}

static void opening_makes_no_file(void **state)
{
    Fixture *f = *state;
    assert_ok(f, sink_make(f));
    assert_ok(f, f->sink->ops->open(f->sink, &f->error));
    assert_int_not_equal(access(f->path, F_OK), 0);
    // `weir check` asks all the same.
    Column json = column("j", 1, OID_JSONB, "jsonb");
    Buf type = {.max = 64};
    f->sink->ops->describe_column(f->sink, &json, &type);
    assert_string_equal(buf_cstring(&type), "JSON");
    buf_done(&type);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void the_file_is_no_database(void **state)
{
    Fixture *f = *state;
    write_file(f->path, "this is a letter to my grandmother, not a database; it is long enough to "
                        "be read as a header, which it is not");
    assert_ok(f, sink_make(f));
    assert_fails(f, f->sink->ops->open(f->sink, &f->error), ERROR_CONFIG, "is not a DuckDB file");
}

// The name comes with a whole file: a process that ended while it made one leaves the other name.
static void a_crash_left_half_of_a_new_file(void **state)
{
    Fixture *f = *state;
    char unfinished[sizeof(f->path) + 16];
    (void)snprintf(unfinished, sizeof(unfinished), "%s.weir-%d", f->path, (int)getpid());
    write_file(unfinished, "half of a header");
    start_with(f, orders(f));
    assert_int_not_equal(access(unfinished, F_OK), 0);
    assert_int_equal(access(f->path, F_OK), 0);
}

static void a_link_to_a_file_that_is_missing(void **state)
{
    Fixture *f = *state;
    char file[sizeof(f->path) + 16];
    (void)snprintf(file, sizeof(file), "%s.there", f->path);
    assert_int_equal(symlink(file, f->path), 0);
    start_with(f, orders(f));
    assert_int_equal(access(file, F_OK), 0);
}

static void there_is_no_directory(void **state)
{
    Fixture *f = *state;
    f->settings[0].value = STR("/nonexistent/dir/x.duckdb");
    assert_ok(f, sink_make(f));
    assert_fails(f, f->sink->ops->open(f->sink, &f->error), ERROR_CONFIG,
                 "there is no directory \"/nonexistent/dir\"");
    f->settings[0].value = STR(":memory:");
    assert_fails(f, sink_make(f), ERROR_CONFIG, "duckdb:PATH");
}

static void cancelled_work_stops(void **state)
{
    Fixture *f = *state;
    const Relation *t = orders(f);
    start_with(f, t);
    cancel_set(&f->cancel);
    insert(f, t, ROW(T("1"), T("x"), NIL));
    Status status = write_batch(f);
    if (status == STATUS_OK) {
        status = sink_commit(f, NULL, NULL);
    }
    assert_int_equal(status, STATUS_FAIL);
    assert_string_equal(error_kind_name(f->error.kind), error_kind_name(ERROR_CANCELLED));
}

static void *cancel_soon(void *context)
{
    Fixture *f = context;
    (void)usleep(50 * 1000);
    cancel_set(&f->cancel);
    return NULL;
}

static void a_long_statement_is_interrupted(void **state)
{
    Fixture *f = *state;
    pthread_t thread;
    assert_ok(f, sink_start(f, NULL));
    DuckSession *session = &((DuckSink *)f->sink)->session;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, f), 0);
    assert_fails(f,
                 duck_exec(session,
                           "SELECT count(*) FROM range(1000000000) a(x), range(1000) b(y) "
                           "WHERE x % 7 = y % 5",
                           &f->error),
                 ERROR_CANCELLED, "target.duckdb");
    assert_int_equal(pthread_join(thread, NULL), 0);
}

// ---------------------------------------------------------------------------------------------
// Other processes
// ---------------------------------------------------------------------------------------------

static pid_t in_child(void (*work)(Fixture *f, int fd), Fixture *f, int *ret_fd)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(fds[0]);
        work(f, fds[1]);
        _exit(1);
    }
    (void)close(fds[1]);
    *ret_fd = fds[0];
    return child;
}

static void reap(pid_t child, int fd)
{
    int status;
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    (void)close(fd);
}

static void hold_file(Fixture *f, int fd)
{
    if (sink_start(f, NULL) == STATUS_OK && write(fd, "x", 1) == 1) {
        (void)pause();
    }
}

// Nothing of DuckDB's stops a second one in this process, and each would lose the other's commits.
static void one_in_this_process_has_the_file(void **state)
{
    Fixture *f = *state;
    Sink *another = NULL;
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, sink_open_another(f, false, &another), ERROR_CONFIG, "is open already");
    sink_free(f->sink);
    f->sink = NULL;
    assert_ok(f, sink_open_another(f, false, &another));
    sink_free(another);
}

static void the_file_is_in_use(void **state)
{
    Fixture *f = *state;
    char byte;
    int fd;
    pid_t child = in_child(hold_file, f, &fd);
    assert_int_equal(read(fd, &byte, 1), 1);
    assert_fails(f, sink_start(f, NULL), ERROR_TRANSIENT, "in use by another process");
    reap(child, fd);
    assert_ok(f, sink_start(f, NULL));
}

// Adds 1 to ten rows and to a checkpoint entry, commit after commit, and tells of each commit.
static void count_up(Fixture *f, int fd)
{
    const Relation *t = TABLE(f, 109, "public", "counter", "a", INT4("id", 1), INT8("n", 2));
    Checkpoint checkpoint = {0};
    if (sink_start(f, &checkpoint) != STATUS_OK) {
        return;
    }
    const CheckpointEntry *entry = checkpoint_get(&checkpoint, STR("position"));
    uint64_t n = 0;
    if ((entry != NULL && !str_to_uint64(entry->value, &n)) ||
        sink_prepare(f, entry == NULL ? NULL : t, t) != STATUS_OK) {
        return;
    }
    for (;;) {
        char number[24];
        (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)n);
        for (int i = 0; i < 10; i++) {
            Value id = {.ptr = &"0123456789"[i], .len = 1, .state = VALUE_TEXT};
            Value next = {.ptr = number, .len = (uint32_t)strlen(number), .state = VALUE_TEXT};
            add_change(f, n == 0 ? CHANGE_INSERT : CHANGE_UPDATE, t, NULL, ROW(id, next));
        }
        n++;
        char position[24];
        (void)snprintf(position, sizeof(position), "%llu", (unsigned long long)n);
        if (write_batch(f) != STATUS_OK || sink_commit(f, "position", position) != STATUS_OK ||
            write(fd, &n, sizeof(n)) != sizeof(n)) {
            return;
        }
        arena_reset(&f->arena);
        t = TABLE(f, 109, "public", "counter", "a", INT4("id", 1), INT8("n", 2));
        if (sink_prepare(f, t, t) != STATUS_OK) {
            return;
        }
    }
}

static void a_kill_leaves_the_last_commit(void **state)
{
    Fixture *f = *state;
    enum { KILLS = 12 };
    uint64_t last = 0;
    for (int i = 0; i < KILLS; i++) {
        uint64_t told;
        uint64_t first = last;
        int fd;
        pid_t child = in_child(count_up, f, &fd);
        // A moment that is never the same: so many commits, and then somewhere in the next one.
        for (int commits = 0; commits < 3 + i * 5; commits++) {
            assert_int_equal(read(fd, &told, sizeof(told)), sizeof(told));
            last = told;
        }
        (void)usleep((useconds_t)(i * 331));
        assert_int_equal(kill(child, SIGKILL), 0);
        while (read(fd, &told, sizeof(told)) == sizeof(told)) {
            last = told;
        }
        reap(child, fd);
        Checkpoint checkpoint = {0};
        uint64_t stored;
        assert_ok(f, sink_start(f, &checkpoint));
        assert_true(str_to_uint64(checkpoint_get(&checkpoint, STR("position"))->value, &stored));
        // What was told is there; one commit more may be there without having been told.
        assert_true(stored == last || stored == last + 1);
        assert_true(stored > first);
        assert_string_equal(
            look(f, "SELECT count(*), count(DISTINCT id), min(n) + 1, max(n) + 1 FROM counter"),
            arena_printf(&f->arena, "10|10|%llu|%llu", (unsigned long long)stored,
                         (unsigned long long)stored));
        last = stored;
        checkpoint_done(&checkpoint);
        sink_free(f->sink);
        f->sink = NULL;
    }
}

// Somebody has removed the file, and not what belongs to it.
static void the_log_of_a_file_that_is_gone(void **state)
{
    Fixture *f = *state;
    char log[sizeof(f->path) + 16];
    int fd;
    uint64_t told = 0;
    (void)snprintf(log, sizeof(log), "%s.wal", f->path);
    pid_t child = in_child(count_up, f, &fd);
    while (told < 3) {
        assert_int_equal(read(fd, &told, sizeof(told)), sizeof(told));
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    reap(child, fd);
    assert_int_equal(access(log, F_OK), 0);
    assert_int_equal(unlink(f->path), 0);
    assert_ok(f, sink_start(f, NULL));
    assert_string_equal(
        look(f, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'counter'"), "0");
}

enum { WIDE = 600 };

static const Relation *wide_table(Fixture *f)
{
    Column *columns = ARENA_ARRAY(&f->arena, Column, WIDE);
    for (int16_t i = 0; i < WIDE; i++) {
        columns[i] = INT4(arena_printf(&f->arena, "c%d", i), (int16_t)(i + 1));
    }
    return relation_of(&f->arena, 110, "public", "wide", "a", columns, WIDE);
}

// Three rows, and then each of them once more. Rows that a file has when it is opened are in blocks
// of their own.
static Status fill_wide_table(Fixture *f, const Relation *t)
{
    for (int round = 0; round < 2; round++) {
        if (round > 0 && (sink_start(f, NULL) != STATUS_OK || sink_prepare(f, t, t) != STATUS_OK)) {
            return STATUS_FAIL;
        }
        for (int i = 0; i < 3; i++) {
            Value *row = ARENA_ARRAY(&f->arena, Value, WIDE);
            for (int c = 0; c < WIDE; c++) {
                row[c] = c == 0 ? (Value){.ptr = &"123"[i], .len = 1, .state = VALUE_TEXT} : T("7");
            }
            add_change(f, round == 0 ? CHANGE_INSERT : CHANGE_UPDATE, t, NULL, row);
        }
        if (write_batch(f) != STATUS_OK || sink_commit(f, "position", "1") != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

#define LOOK_WIDE "SELECT count(*), count(DISTINCT c0), sum(c599) FROM wide"

static void memory_grows_with_the_widest_table(void **state)
{
    Fixture *f = *state;
    const Relation *t = wide_table(f);
    start_with(f, t);
    assert_ok(f, fill_wide_table(f, t));
    assert_look(f, LOOK_WIDE, "3|3|21");
}

static void memory_that_is_not_enough_is_an_end(void **state)
{
    Fixture *f = *state;
    const Relation *t = wide_table(f);
    set_option(f, "memory_limit", "64MB");
    start_with(f, t);
    assert_fails(f, fill_wide_table(f, t), ERROR_CONFIG, "memory_limit=664MB");
}

static void small_blocks_take_little_memory(void **state)
{
    Fixture *f = *state;
    const Relation *t = wide_table(f);
    set_option(f, "memory_limit", "64MB");
    set_option(f, "block_size", "16KB");
    start_with(f, t);
    assert_look(f, "SELECT max(block_size) FROM pragma_database_size()", "16384");
    assert_ok(f, fill_wide_table(f, t));
    assert_look(f, LOOK_WIDE, "3|3|21");
    f->setting_count--;
    set_option(f, "block_size", "20KB");
    assert_fails(f, sink_make(f), ERROR_CONFIG, "not a power of two");
}

static void errors_say_what_to_do(void **state)
{
    (void)state;
    static const struct {
        int type;
        const char *text;
        ErrorKind kind;
        const char *hint;
    } cases[] = {
        {DUCK_ERROR_IO, "IO Error: Could not write file \"a\": No space left on device",
         ERROR_TRANSIENT, "Make room on the disk"},
        {DUCK_ERROR_TRANSACTION, "TransactionContext Error: Failed to commit: Disk quota exceeded",
         ERROR_TRANSIENT, "Make room on the disk"},
        {DUCK_ERROR_TRANSACTION,
         "TransactionContext Error: Failed to commit: could not allocate block of size 256.0 KiB",
         ERROR_CONFIG, "memory_limit=1000MB"},
        {DUCK_ERROR_OUT_OF_MEMORY, "Out of Memory Error: failed to pin block of size 256.0 KiB",
         ERROR_CONFIG, "memory_limit=1000MB"},
        {DUCK_ERROR_OUT_OF_MEMORY,
         "Out of Memory Error: failed to offload data block (max_temp_directory_size)",
         ERROR_CONFIG, "room beside the file"},
        {DUCK_ERROR_IO, "IO Error: Cannot open file \"a.wal\": Permission denied", ERROR_CONFIG,
         "right to write to \"a.duckdb\""},
        {DUCK_ERROR_IO, "IO Error: Cannot open file \"a.wal\": Read-only file system", ERROR_CONFIG,
         "right to write to \"a.duckdb\""},
        {DUCK_ERROR_IO, "IO Error: Could not read from file \"a\": Input/output error",
         ERROR_TRANSIENT, ""},
        {DUCK_ERROR_TRANSACTION, "TransactionContext Error: Conflict on update!", ERROR_TRANSIENT,
         ""},
    };
    DuckSession session = {.path = "a.duckdb", .memory_most = 500 << 20, .memory_limit = 500 << 20};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Error error = {0};
        assert_int_equal(duck_fail(&session, cases[i].type, cases[i].text, &error), STATUS_FAIL);
        assert_string_equal(error_kind_name(error.kind), error_kind_name(cases[i].kind));
        assert_non_null(strstr(error.hint, cases[i].hint));
    }
    // The limit was a lower one of our own.
    Error error = {0};
    session.memory_limit = 100 << 20;
    assert_int_equal(duck_fail(&session, cases[3].type, cases[3].text, &error), STATUS_FAIL);
    assert_int_equal(error.kind, ERROR_TRANSIENT);
    assert_non_null(strstr(error.hint, "tried again with 500 MB"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        sink_test(mirrors_rows),
        sink_test(keeps_unchanged_columns),
        sink_test(moves_rows_to_another_key),
        sink_test(a_row_comes_and_goes_and_comes),
        sink_test(truncates),
        sink_test(a_row_that_is_not_there_is_an_error),
        sink_test(tables_without_a_key_are_sums),
        sink_test(a_table_without_identity_takes_inserts_only),
        sink_test(several_tables_in_one_write),
        sink_test(uncommitted_work_is_dropped),
        sink_test(checkpoints_are_by_pipeline),
        sink_test(rows_wider_than_a_vector),
        sink_test(a_value_out_of_range_names_its_column),
        sink_test(a_value_out_of_range_of_a_partial_row),
        sink_test(a_constraint_of_somebody_elses),
        sink_test(names_may_be_hostile),
        sink_test(the_catalog_is_not_a_schema),
        sink_test(the_library_is_missing),
        sink_test(the_library_is_another_one),
        sink_test(opening_makes_no_file),
        sink_test(the_file_is_no_database),
        sink_test(a_crash_left_half_of_a_new_file),
        sink_test(the_log_of_a_file_that_is_gone),
        sink_test(a_link_to_a_file_that_is_missing),
        sink_test(there_is_no_directory),
        sink_test(cancelled_work_stops),
        sink_test(a_long_statement_is_interrupted),
        sink_test(one_in_this_process_has_the_file),
        sink_test(the_file_is_in_use),
        sink_test(a_kill_leaves_the_last_commit),
        sink_test(memory_grows_with_the_widest_table),
        sink_test(memory_that_is_not_enough_is_an_end),
        sink_test(small_blocks_take_little_memory),
        cmocka_unit_test(errors_say_what_to_do),
    };
    int skip = skip_without_library("duckdb");
    return skip != 0 ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
