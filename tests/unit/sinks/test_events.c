// The sinks stdout: and file:. The runner is played by hand: it keeps the checkpoint that commit()
// added to, and hands it to the next instance.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codec/changes.h"
#include "golden.h"
#include "pipeline/sink.h"

static char directory[] = "/tmp/weir-test-events-XXXXXX";
static char path[64];
static Checkpoint stored;

typedef struct Pair {
    const char *key;
    const char *value;
} Pair;

// @pairs ends with a NULL key.
static Status make_sink(const char *name, const Pair *pairs, Sink **ret, Error *err)
{
    Setting items[8] = {0};
    Settings settings = {.items = items, .origin = STR("the test")};
    for (; pairs->key != NULL; pairs++) {
        items[settings.count++] = (Setting){.key = str_from(pairs->key),
                                            .value = str_from(pairs->value),
                                            .origin = STR("the test")};
    }
    const SinkContext context = {.pipeline = "test"};
    return sink_new(sink_find(str_from(name)), &settings, &context, ret, err);
}

static Status open_with(const char *existing, const char *format, Sink **ret, Error *err)
{
    const Pair pairs[] = {{"path", path}, {"existing", existing}, {"format", format}, {NULL, NULL}};
    Sink *sink = NULL;
    *ret = NULL;
    if (make_sink("file", pairs, &sink, err) != STATUS_OK || sink == NULL) {
        return STATUS_FAIL;
    }
    Checkpoint checkpoint = {0};
    for (size_t i = 0; i < stored.count; i++) {
        checkpoint_set(&checkpoint, stored.entries[i].key, stored.entries[i].value);
    }
    Status status = sink->ops->open(sink, err);
    if (status == STATUS_OK) {
        status = sink->ops->resume(sink, &checkpoint, err);
    }
    checkpoint_done(&checkpoint);
    if (status != STATUS_OK) {
        sink_free(sink);
        return STATUS_FAIL;
    }
    *ret = sink;
    return STATUS_OK;
}

static Sink *open_ok(const char *existing)
{
    Error err = {0};
    Sink *sink;
    if (open_with(existing, "weir", &sink, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
    return sink;
}

static void assert_refused(const char *existing, const char *part)
{
    Error err = {0};
    Sink *sink;
    assert_int_equal(open_with(existing, "weir", &sink, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_true(err.hint[0] != '\0');
    if (strstr(err.message, part) == NULL) {
        fail_msg("%s", err.message);
    }
}

static void write_ok(Sink *sink, const Change *changes, size_t count)
{
    Error err = {0};
    if (sink->ops->write(sink, changes, count, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
}

static Status commit(Sink *sink, Error *err)
{
    Checkpoint changed = {0};
    Status status = sink->ops->commit(sink, &changed, err);
    for (size_t i = 0; status == STATUS_OK && i < changed.count; i++) {
        checkpoint_set(&stored, changed.entries[i].key, changed.entries[i].value);
    }
    checkpoint_done(&changed);
    return status;
}

static void commit_ok(Sink *sink)
{
    Error err = {0};
    if (commit(sink, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
}

static void set_file(const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    (void)fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void add_to_file(const char *text)
{
    FILE *file = fopen(path, "ab");
    assert_non_null(file);
    (void)fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static Buf file_contents(void)
{
    Buf buf = {.max = 1 << 26};
    golden_read(path, &buf);
    return buf;
}

static void assert_file(const char *expected)
{
    Buf buf = file_contents();
    assert_string_equal(buf_cstring(&buf), expected);
    buf_done(&buf);
}

static int fresh(void **state)
{
    checkpoint_done(&stored);
    (void)unlink(path);
    return 0;
}

// Ten transactions of three inserts; the rows of the fifth are so large that each is written out at
// once.
enum { TRANSACTIONS = 10, ROWS = 3, LARGE = 300 << 10 };

static Transaction transactions[TRANSACTIONS];
static Value rows[TRANSACTIONS][ROWS][4];
static char ids[TRANSACTIONS][ROWS][8];
static Change load[TRANSACTIONS * ROWS];

static void make_load(void)
{
    static char large[LARGE];
    memset(large, 'x', sizeof(large));
    for (int t = 0; t < TRANSACTIONS; t++) {
        transactions[t] =
            (Transaction){.commit_lsn = (Lsn)(1000 + t * 100), .xid = (uint32_t)t + 1};
        for (int r = 0; r < ROWS; r++) {
            int len = snprintf(ids[t][r], sizeof(ids[t][r]), "%d", t * ROWS + r);
            rows[t][r][0] = (Value){ids[t][r], (uint32_t)len, VALUE_TEXT};
            rows[t][r][1] = t == 4 ? (Value){large, LARGE, VALUE_TEXT} : T("some text");
            rows[t][r][2] = NIL;
            rows[t][r][3] = NIL;
            load[t * ROWS + r] = (Change){.op = CHANGE_INSERT,
                                          .relation = &orders,
                                          .new_row = rows[t][r],
                                          .transaction = &transactions[t],
                                          .ordinal = (uint64_t)r + 1};
        }
    }
}

// ---------------------------------------------------------------------------------------------
// file:
// ---------------------------------------------------------------------------------------------

// What a file has that was written in one go.
static Buf whole_load(const char *format)
{
    Error err = {0};
    Sink *sink;
    (void)fresh(NULL);
    assert_int_equal(open_with("fail", format, &sink, &err), STATUS_OK);
    write_ok(sink, load, ARRAY_LEN(load));
    commit_ok(sink);
    sink_free(sink);
    Buf buf = file_contents();
    (void)fresh(NULL);
    return buf;
}

// Write from @from, commit behind transaction @commit_at, go on to change @crash_at and stop there.
static void write_and_crash(const char *format, int from, int commit_at, size_t crash_at)
{
    Error err = {0};
    Sink *sink;
    assert_int_equal(open_with("fail", format, &sink, &err), STATUS_OK);
    commit_ok(sink); // as the runner does at the start
    size_t committed = (size_t)commit_at * ROWS;
    for (size_t i = (size_t)from * ROWS; i < crash_at; i++) {
        if (i == committed) {
            commit_ok(sink);
        }
        write_ok(sink, &load[i], 1);
    }
    sink_free(sink);
}

// At whatever change the process dies, and whatever torn bytes it leaves: after the next run the
// file is as if nothing had happened.
static void test_crash_anywhere(void **state)
{
    static const char *const formats[] = {"weir", "wal2json1", "wal2json2"};
    for (size_t f = 0; f < ARRAY_LEN(formats); f++) {
        Buf expected = whole_load(formats[f]);
        for (int at = 0; at < TRANSACTIONS; at++) {
            for (size_t crash = (size_t)at * ROWS + 1; crash < ARRAY_LEN(load); crash += 4) {
                (void)fresh(NULL);
                write_and_crash(formats[f], 0, at, crash);
                add_to_file("{\"torn");
                Error err = {0};
                Sink *sink;
                assert_int_equal(open_with("fail", formats[f], &sink, &err), STATUS_OK);
                write_ok(sink, &load[at * ROWS], ARRAY_LEN(load) - (size_t)at * ROWS);
                commit_ok(sink);
                sink_free(sink);
                Buf found = file_contents();
                assert_true(str_equal(buf_view(&expected), buf_view(&found)));
                buf_done(&found);
            }
        }
        buf_done(&expected);
    }
}

static void test_commit_without_changes(void **state)
{
    Sink *sink = open_ok("fail");
    commit_ok(sink);
    assert_string_equal(checkpoint_get(&stored, STR("sink:length"))->value.ptr, "0");
    commit_ok(sink);
    sink_free(sink);
    sink = open_ok("fail"); // an empty file of ours
    sink_free(sink);
    assert_file("");
}

static void test_existing_file(void **state)
{
    set_file("a line\n");
    assert_refused("fail", "is there already and is not empty (7 B)");
    assert_file("a line\n");
    Sink *sink = open_ok("truncate");
    commit_ok(sink);
    assert_file("");
    sink_free(sink);

    (void)fresh(NULL);
    set_file("a line\n");
    sink = open_ok("append");
    commit_ok(sink);
    write_ok(sink, load, 1);
    sink_free(sink); // not committed
    add_to_file("torn");
    Buf torn = file_contents();
    sink = open_ok("append");
    assert_file(buf_cstring(&torn)); // the start may still be refused
    commit_ok(sink);
    assert_file("a line\n");
    sink_free(sink);
    buf_done(&torn);

    (void)fresh(NULL);
    set_file("half a line");
    assert_refused("append", "does not end with a line end");
    assert_file("half a line");

    (void)fresh(NULL);
    set_file("");
    sink = open_ok("fail");
    sink_free(sink);
}

static void test_not_the_file_it_was(void **state)
{
    Sink *sink = open_ok("fail");
    write_ok(sink, load, 1);
    commit_ok(sink);
    sink_free(sink);
    Buf ours = file_contents();
    char message[64];

    assert_int_equal(truncate(path, 10), 0);
    (void)snprintf(message, sizeof(message), "has 10 bytes, fewer than the %zu", ours.len);
    assert_refused("fail", message);
    assert_refused("truncate", message); // only for the first start

    (void)unlink(path);
    (void)snprintf(message, sizeof(message), "is gone, with the %zu bytes", ours.len);
    assert_refused("fail", message);
    assert_int_not_equal(access(path, F_OK), 0);

    char *other = mem_alloc_zero(ours.len + 100);
    memset(other, 'y', ours.len + 99);
    set_file(other);
    assert_refused("fail", "is not the file that was written");
    assert_file(other); // and nothing was cut off
    mem_free(other);

    // Moved away and back, by way of a copy: it is the bytes that count.
    (void)unlink(path);
    set_file(buf_cstring(&ours));
    add_to_file("torn");
    sink = open_ok("fail");
    commit_ok(sink);
    sink_free(sink);
    assert_file(buf_cstring(&ours));
    buf_done(&ours);
}

static void test_two_writers(void **state)
{
    Sink *sink = open_ok("fail");
    assert_refused("fail", "another process is writing");
    sink_free(sink);
    sink_free(open_ok("fail"));
}

static void test_changed_behind_our_back(void **state)
{
    Error err = {0};
    Sink *sink = open_ok("fail");
    write_ok(sink, load, 1);
    commit_ok(sink);
    assert_int_equal(truncate(path, 3), 0);
    write_ok(sink, load, 1);
    assert_int_equal(commit(sink, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_FATAL);
    assert_non_null(strstr(err.message, "it has 3 bytes"));
    sink_free(sink);
    add_to_file("more"); // it grew, without a commit of ours
    assert_refused("fail", "fewer than");
}

static void test_replaced_while_written(void **state)
{
    Error err = {0};
    Sink *sink = open_ok("fail");
    write_ok(sink, load, 1);
    commit_ok(sink);
    (void)unlink(path);
    write_ok(sink, load, 1);
    assert_int_equal(commit(sink, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_CONFIG);
    sink_free(sink);
}

static void test_damaged_state(void **state)
{
    Error err = {0};
    Sink *sink;
    checkpoint_set(&stored, STR("sink:length"), STR("12x"));
    assert_int_equal(open_with("fail", "weir", &sink, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_FATAL);
}

static void test_options(void **state)
{
    static const struct {
        const char *sink;
        Pair pairs[4];
        const char *message; // NULL: they are fine
    } cases[] = {
        {"file", {{"path", ""}}, "\"path\" has an empty value"},
        {"file", {{"format", "weir"}}, "path"},
        {"file", {{"path", "x"}, {"format", "xml"}}, "format"},
        {"file", {{"path", "x"}, {"version", "2"}}, "has no version 2"},
        {"file", {{"path", "x"}, {"format", "wal2json"}, {"version", "2"}}, NULL},
        {"file", {{"path", "x"}, {"include_xids", "true"}}, "include_"},
        {"stdout", {{"format", "wal2json"}, {"include_transaction", "no"}}, "version 2"},
        {"stdout", {{"format", "wal2json2"}, {"include_transaction", "no"}}, NULL},
        {"stdout", {{"path", "x"}}, "path"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Error err = {0};
        Sink *sink = NULL;
        Status status = make_sink(cases[i].sink, cases[i].pairs, &sink, &err);
        assert_int_equal(status, cases[i].message == NULL ? STATUS_OK : STATUS_FAIL);
        if (cases[i].message != NULL && strstr(err.message, cases[i].message) == NULL) {
            fail_msg("%s", err.message);
        }
        sink_free(sink);
    }
}

// An error of the encoder names the change.
static void test_bad_change(void **state)
{
    Error err = {0};
    const Value row[] = {T("1"), T("\xff"), NIL, NIL};
    const Change change = {.op = CHANGE_INSERT,
                           .relation = &orders,
                           .new_row = row,
                           .transaction = &first,
                           .ordinal = 7};
    Sink *sink = open_ok("fail");
    assert_int_equal(sink->ops->write(sink, &change, 1, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_DATA);
    assert_non_null(strstr(err.message, "insert at 16/B374D848:7: column \"item\""));
    sink_free(sink);
}

// ---------------------------------------------------------------------------------------------
// null:
// ---------------------------------------------------------------------------------------------

static void test_null(void **state)
{
    static const Pair none[] = {{NULL, NULL}};
    Cancel cancel;
    Checkpoint changed = {0};
    Error err = {0};
    Sink *sink = NULL;
    assert_int_equal(make_sink("null", none, &sink, &err), STATUS_OK);
    assert_int_equal(sink->ops->open(sink, &err), STATUS_OK);
    assert_int_equal(sink->ops->resume(sink, &changed, &err), STATUS_OK);
    assert_int_equal(sink->ops->prepare(sink, NULL, &orders, &err), STATUS_OK);
    assert_int_equal(sink->ops->write(sink, load, ARRAY_LEN(load), &err), STATUS_OK);
    assert_int_equal(sink->ops->commit(sink, &changed, &err), STATUS_OK);
    assert_int_equal(changed.count, 0);
    assert_int_equal(cancel_init(&cancel, &err), STATUS_OK);
    cancel_set(&cancel);
    sink->context.cancel = &cancel;
    assert_int_equal(sink->ops->write(sink, load, 1, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_CANCELLED);
    cancel_done(&cancel);
    sink_free(sink);
}

// ---------------------------------------------------------------------------------------------
// stdout:
// ---------------------------------------------------------------------------------------------

static int saved_stdout = -1;

static void redirect(int fd)
{
    (void)fflush(stdout);
    saved_stdout = dup(STDOUT_FILENO);
    assert_true(dup2(fd, STDOUT_FILENO) >= 0);
}

static void restore(void)
{
    (void)dup2(saved_stdout, STDOUT_FILENO);
    (void)close(saved_stdout);
}

static Sink *open_stdout(const char *format)
{
    const Pair pairs[] = {{"format", format}, {NULL, NULL}};
    Checkpoint checkpoint = {0};
    Sink *sink = NULL;
    assert_int_equal(make_sink("stdout", pairs, &sink, NULL), STATUS_OK);
    assert_int_equal(sink->ops->open(sink, NULL), STATUS_OK);
    assert_int_equal(sink->ops->resume(sink, &checkpoint, NULL), STATUS_OK);
    return sink;
}

static void test_stdout_is_what_a_file_gets(void **state)
{
    static const char *const formats[] = {"weir", "wal2json1", "wal2json2"};
    for (size_t f = 0; f < ARRAY_LEN(formats); f++) {
        Buf expected = whole_load(formats[f]);
        int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
        redirect(fd);
        Sink *sink = open_stdout(formats[f]);
        Checkpoint changed = {0};
        Status written = sink->ops->write(sink, load, ARRAY_LEN(load), NULL);
        Status committed = sink->ops->commit(sink, &changed, NULL);
        sink_free(sink);
        restore();
        (void)close(fd);
        assert_int_equal(written, STATUS_OK);
        assert_int_equal(committed, STATUS_OK);
        assert_int_equal(changed.count, 0);
        Buf found = file_contents();
        assert_true(str_equal(buf_view(&expected), buf_view(&found)));
        buf_done(&found);
        buf_done(&expected);
    }
}

static void test_stdout_closed(void **state)
{
    int ends[2];
    Error err = {0};
    Checkpoint changed = {0};
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(ends), 0);
    (void)close(ends[0]);
    redirect(ends[1]);
    Sink *sink = open_stdout("weir");
    Status written = sink->ops->write(sink, load, 1, &err);
    Status committed = sink->ops->commit(sink, &changed, &err);
    sink_free(sink);
    restore();
    (void)close(ends[1]);
    assert_int_equal(written, STATUS_OK); // it is in the buffer
    assert_int_equal(committed, STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_FATAL);
    assert_int_equal(err.os_errno, EPIPE);
}

// A line that was begun and will never be completed is ended, so that the next one is whole.
static void test_stdout_ends_a_torn_line(void **state)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    redirect(fd);
    Sink *sink = open_stdout("wal2json1");
    Status written = sink->ops->write(sink, &load[4 * ROWS], 2, NULL); // two of three
    sink_free(sink);
    restore();
    (void)close(fd);
    assert_int_equal(written, STATUS_OK);
    Buf found = file_contents();
    assert_true(found.len > LARGE);
    assert_int_equal(str_find(buf_view(&found), '\n'), (ptrdiff_t)found.len - 1);
    buf_done(&found);
}

static int setup(void **state)
{
    changes_setup();
    make_load();
    if (mkdtemp(directory) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/out.ndjson", directory);
    return 0;
}

static int teardown(void **state)
{
    (void)fresh(NULL);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_crash_anywhere, fresh),
        cmocka_unit_test_setup(test_commit_without_changes, fresh),
        cmocka_unit_test_setup(test_existing_file, fresh),
        cmocka_unit_test_setup(test_not_the_file_it_was, fresh),
        cmocka_unit_test_setup(test_two_writers, fresh),
        cmocka_unit_test_setup(test_changed_behind_our_back, fresh),
        cmocka_unit_test_setup(test_replaced_while_written, fresh),
        cmocka_unit_test_setup(test_damaged_state, fresh),
        cmocka_unit_test_setup(test_options, fresh),
        cmocka_unit_test_setup(test_bad_change, fresh),
        cmocka_unit_test(test_null),
        cmocka_unit_test_setup(test_stdout_is_what_a_file_gets, fresh),
        cmocka_unit_test_setup(test_stdout_closed, fresh),
        cmocka_unit_test_setup(test_stdout_ends_a_torn_line, fresh),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
