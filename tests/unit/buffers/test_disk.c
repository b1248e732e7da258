// The disk buffer's sink and source, by hand: what goes in at one end comes out at the other.
#include <poll.h>
#include <pthread.h>

#include "base/clock.h"
#include "disk_fixture.h"

static void test_from_end_to_end(void **state)
{
    Checkpoint stored = {0};
    Seen seen = {.next = 1};
    Sink *sink = open_sink(&stored);
    assert_int_equal(stored.count, 0);
    commit(sink, (Position){10, 0}); // where its source begins
    Source *source = open_source("0/A:0");
    tx_add(sink, 1);
    tx_add(sink, 2);
    see_all(source, &seen);
    assert_int_equal(seen.next, 3);
    assert_int_equal(seen.batches, 1); // what has gathered comes at once
    OK(tx_write(sink, 3, err));
    see_all(source, &seen);
    assert_int_equal(seen.next, 3); // not before the commit
    commit(sink, (Position){350, 0});
    see_all(source, &seen);
    assert_int_equal(seen.next, 4);
    assert_true(source->ops->head(source) == 350);
    // A position that moves without changes.
    commit(sink, (Position){390, 0});
    Batch *batch;
    OK(source->ops->poll(source, 0, -1, &batch, err));
    assert_true(batch->count == 0 && batch->end.lsn == 390 && batch->ends_transaction);
    batch_unref(batch);
    source_free(source);
    sink_free(sink);
}

static void test_sink_resumes(void **state)
{
    Checkpoint stored = {0};
    Sink *sink = open_sink(&stored);
    commit(sink, (Position){10, 0});
    tx_add(sink, 1);
    OK(tx_write(sink, 2, err));
    sink_free(sink); // without a commit
    sink = open_sink(&stored);
    assert_int_equal(stored.count, 2);
    char *much = arena_alloc_zero(&arena, 2 << 20);
    Value row[2] = {T("1"), {much, 2 << 20, VALUE_TEXT}};
    Transaction transaction = {.commit_lsn = 200};
    Change change = {
        .op = CHANGE_INSERT, .relation = table, .new_row = row, .transaction = &transaction};
    OK(sink->ops->write(sink, &change, 1, err));
    sink_free(sink); // too much to be in memory only
    sink = open_sink(&stored);
    assert_non_null(strstr(noticed, "bytes that were not committed"));
    assert_int_equal(stored.count, 2);
    assert_true(str_is(checkpoint_get(&stored, STR("position"))->value, "0/96:0"));
    assert_true(str_is(checkpoint_get(&stored, STR("source"))->value, "cluster"));
    tx_add(sink, 2);
    Source *source = open_source("0/A:0");
    Seen seen = {.next = 1};
    see_all(source, &seen);
    assert_int_equal(seen.next, 3);
    // The same while the log stays open, because somebody reads it.
    OK(tx_write(sink, 3, err));
    sink_free(sink);
    checkpoint_reset(&stored);
    sink = open_sink(&stored);
    assert_true(str_is(checkpoint_get(&stored, STR("position"))->value, "0/FA:0"));
    tx_add(sink, 3);
    see_all(source, &seen);
    assert_int_equal(seen.next, 4);
    sink_free(sink);
    FAILS(try_sink("others", &sink, &stored, err), ERROR_CONFIG,
          "is the buffer of the pipeline \"shop\", not of \"others\"");
    sink_free(sink);
    source_free(source);
    checkpoint_done(&stored);
}

// Over many segments: every position can be resumed from, and a table is one pointer throughout.
static void test_source_resumes_anywhere(void **state)
{
    enum { LAST = 3000 };
    Checkpoint stored = {0};
    Sink *sink = open_sink(&stored);
    commit(sink, (Position){10, 0});
    for (uint64_t n = 1; n <= LAST; n++) {
        tx_add(sink, n);
    }
    // In the middle of a transaction.
    Source *source = open_source("0/C8:1");
    Seen seen = {.next = 2};
    see_all(source, &seen);
    assert_int_equal(seen.next, LAST + 1);
    source_free(source);
    for (uint64_t from = 0; from <= LAST; from += 250) {
        char position[POSITION_TEXT_SIZE];
        position_format((Position){from * TX_LSN + 50, 0}, position);
        source = open_source(position);
        seen = (Seen){.next = from + 1};
        see_all(source, &seen);
        assert_int_equal(seen.next, LAST + 1);
        source_free(source);
    }
    source = open_source("F/0:0"); // ahead of the log

    seen = (Seen){.next = LAST + 1};
    see_all(source, &seen);
    assert_int_equal(seen.batches, 0);
    source_free(source);
    sink_free(sink);
}

static void test_confirmed_segments_are_dropped(void **state)
{
    Checkpoint stored = {0};
    Sink *sink = open_sink(&stored);
    commit(sink, (Position){10, 0});
    Source *source = open_source("0/A:0");
    Seen seen = {.next = 1};
    for (uint64_t n = 1; n <= 3000; n++) {
        tx_add(sink, n);
    }
    char path[128];
    fixture_segment(1, path);
    see_all(source, &seen);
    assert_int_equal(access(path, F_OK), 0);
    source->ops->confirm(source, (Position){3000 * TX_LSN, 0});
    assert_int_not_equal(access(path, F_OK), 0);
    tx_add(sink, 3001);
    see_all(source, &seen);
    assert_int_equal(seen.next, 3002);
    source_free(source);
    source = new_source(NULL);
    Checkpoint changed = {0};
    FAILS(try_source(source, "0/64:0", &changed, err), ERROR_CONFIG, "begins at");
    source_free(source);
    sink_free(sink);
    checkpoint_done(&changed);
}

// Larger than a batch and than a segment: its parts are marked, and nothing is to be committed
// between them.
static void test_large_transaction(void **state)
{
    enum { ROWS = 700, BYTES = 10000 };
    Checkpoint stored = {0};
    Sink *sink = open_sink(&stored);
    commit(sink, (Position){10, 0});
    Source *source = open_source("0/A:0");
    char *text = arena_alloc_zero(&arena, BYTES);
    Value row[2] = {T("1"), {text, BYTES, VALUE_TEXT}};
    Transaction transaction = {.commit_lsn = 100, .xid = 1};
    for (uint64_t i = 1; i <= ROWS; i++) {
        Change change = {.op = CHANGE_INSERT,
                         .relation = table,
                         .new_row = row,
                         .transaction = &transaction,
                         .ordinal = i};
        OK(sink->ops->write(sink, &change, 1, err));
    }
    commit(sink, (Position){200, 0});
    Batch *batch = NULL;
    uint64_t ordinal = 0;
    size_t parts = 0;
    Position before = {10, 0};
    do {
        batch_unref(batch);
        OK(source->ops->poll(source, 0, -1, &batch, err));
        for (size_t i = 0; i < batch->count; i++) {
            assert_true(batch->changes[i].ordinal == ++ordinal);
            assert_int_equal(batch->changes[i].new_row[1].len, BYTES);
        }
        assert_true(position_compare(batch->end, before) >= 0);
        assert_true(batch->ends_transaction == (batch->end.lsn == 200));
        parts++;
    } while (!batch->ends_transaction);
    batch_unref(batch);
    assert_true(ordinal == ROWS && parts >= 3);
    // The position moves, and then there is more: for whoever has read it all, and for others.
    commit(sink, (Position){210, 0});
    tx_add(sink, 3);
    source->ops->confirm(source, (Position){200, 0});
    Seen seen = {.next = 3};
    see_all(source, &seen);
    assert_int_equal(seen.next, 4);
    source_free(source);
    source = open_source("0/C8:0");
    seen = (Seen){.next = 3};
    see_all(source, &seen);
    assert_int_equal(seen.next, 4);
    source_free(source);
    sink_free(sink);
}

static void *begin_later(void *argument)
{
    (void)usleep(30000);
    commit(argument, (Position){10, 0});
    return NULL;
}

static void test_refusals(void **state)
{
    Checkpoint stored = {0};
    Checkpoint changed = {0};
    cancel_set(&cancel); // nothing ever begins
    Source *source = new_source(NULL);
    FAILS(try_source(source, NULL, &changed, err), ERROR_CANCELLED, "cancelled");
    source_free(source);
    cancel_reset(&cancel);
    Sink *sink = open_sink(&stored);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, begin_later, sink), 0);
    source = open_source("0/A:0");
    (void)pthread_join(thread, NULL);
    source_free(source);
    checkpoint_set(&changed, STR("position"), STR("0/A:0"));
    checkpoint_set(&changed, STR("source"), STR("another cluster"));
    OK(sink->ops->commit(sink, &changed, err));
    source = new_source(NULL);
    FAILS(try_source(source, "0/A:0", &changed, err), ERROR_CONFIG,
          "was \"cluster\", this is \"another cluster\"");
    source_free(source);
    source = new_source(NULL);
    FAILS(try_source(source, "0/A:x", &changed, err), ERROR_FATAL, "is damaged");
    source_free(source);
    // A fresh one is told whose it is.
    checkpoint_reset(&changed);
    source = new_source(NULL);
    OK(try_source(source, NULL, &changed, err));
    assert_true(str_is(checkpoint_get(&changed, STR("source"))->value, "another cluster"));
    assert_true(str_is(checkpoint_get(&changed, STR("position"))->value, "0/A:0"));
    source_free(source);
    sink_free(sink);
    checkpoint_done(&changed);
}

// ---------------------------------------------------------------------------------------------
// Copies
// ---------------------------------------------------------------------------------------------

static void test_copies_from_the_other_source(void **state)
{
    static const char *const origin[] = {"fake", "url=a=b", "tables[]=x", "tables[]=y,z", NULL};
    Checkpoint stored = {0};
    Checkpoint changed = {0};
    Sink *sink = open_sink(&stored);
    commit(sink, (Position){10, 0});
    tx_add(sink, 1);
    Source *source = new_source(origin);
    OK(try_source(source, NULL, &changed, err));
    assert_true(source->copies);
    assert_int_equal(fake_opened, 0);
    // The copy will have what the log has: it goes on from its end.
    assert_true(str_is(checkpoint_get(&changed, STR("position"))->value, "0/96:0"));
    const SourceTables *tables;
    Snapshot *snapshot;
    CopyReader *reader;
    Batch *batch;
    Lsn at;
    fake_is_down = true;
    FAILS(source->ops->tables(source, &tables, err), ERROR_TRANSIENT, "it is down");
    fake_is_down = false;
    OK(source->ops->tables(source, &tables, err));
    assert_int_equal(tables->count, 1);
    OK(source->ops->snapshot_open(source, &snapshot, &at, err));
    assert_true(at == 77);
    OK(source->ops->copy_open(source, snapshot, table, &cancel, &reader, err));
    OK(source->ops->copy_read(reader, &batch, err));
    assert_null(batch);
    source->ops->copy_close(reader);
    source->ops->snapshot_close(snapshot);
    assert_int_equal(fake_opened, 2);
    assert_string_equal(fake_seen, "a=b 2 y,z");
    source_free(source);

    // Nothing is to be copied: the other source may be down.
    Tables known;
    tables_init(&known);
    Table *ready = tables_get(&known, table->oid);
    tables_set_target(&known, ready, table);
    ready->state = TABLE_READY;
    table_save(ready, &stored);
    checkpoint_set(&stored, STR("position"), STR("0/A:0"));
    fake_is_down = true;
    source = new_source(origin);
    OK(source->ops->open(source, err));
    OK(source->ops->resume(source, &stored, &changed, err));
    OK(source->ops->tables(source, &tables, err));
    assert_int_equal(tables->count, 0);
    Seen seen = {.next = 1};
    see_all(source, &seen);
    assert_int_equal(seen.next, 2);
    source_free(source);
    assert_int_equal(fake_opened, 2);
    tables_done(&known);
    sink_free(sink);
    checkpoint_done(&stored);
    checkpoint_done(&changed);
}

// A copy that was interrupted needs the other source again, at whatever position, and so does one
// that was not begun: of a table that the route waits for, or of all.
static void test_unfinished_copies(void **state)
{
    static const char *const origin[] = {"fake", "url=u", "tables=x", NULL};
    Checkpoint stored = {0};
    Checkpoint changed = {0};
    Tables known;
    Sink *sink = open_sink(&stored);
    commit(sink, (Position){10, 0});
    tables_init(&known);
    Table *unfinished = tables_get(&known, table->oid);
    tables_set_target(&known, unfinished, table);
    for (int i = 0; i < 4; i++) {
        unfinished->state = i == 0 ? TABLE_PENDING : TABLE_READY;
        checkpoint_reset(&stored);
        checkpoint_set(&stored, STR("position"), STR("0/A:0"));
        checkpoint_set(&stored, STR("missing"), i == 2 ? STR("yes") : STR("no"));
        if (i < 3) {
            table_save(unfinished, &stored);
        }
        Source *source = new_source(origin);
        OK(source->ops->open(source, err));
        OK(source->ops->resume(source, &stored, &changed, err));
        const SourceTables *tables;
        OK(source->ops->tables(source, &tables, err));
        assert_int_equal(tables->count, i == 1 ? 0 : 1);
        source_free(source);
    }
    assert_int_equal(fake_opened, 3);
    tables_done(&known);
    sink_free(sink);
    checkpoint_done(&stored);
    checkpoint_done(&changed);
}

// The catalogs are ahead of the log: a table that the target does not know is told where the log
// has come to what they said, behind all that happened before.
static void test_new_tables_are_told_in_their_place(void **state)
{
    static const char *const origin[] = {"fake", "url=u", "tables[]=x", NULL};
    Checkpoint stored = {0};
    Checkpoint changed = {0};
    Tables known;
    Sink *sink = open_sink(&stored);
    commit(sink, (Position){10, 0});
    tx_add(sink, 1); // ends at 150
    tables_init(&known);
    Table *unfinished = tables_get(&known, table->oid);
    tables_set_target(&known, unfinished, table);
    checkpoint_set(&stored, STR("position"), STR("0/A:0"));
    table_save(unfinished, &stored);
    fake_table = other_table;
    fake_end = 240; // tx 2 ends at 250
    Source *source = new_source(origin);
    OK(source->ops->open(source, err));
    OK(source->ops->resume(source, &stored, &changed, err));
    const SourceTables *tables;
    OK(source->ops->tables(source, &tables, err));
    Batch *batch;
    OK(source->ops->poll(source, 0, -1, &batch, err));
    assert_int_equal(batch->count, tx_rows(1));
    batch_unref(batch);
    tx_add(sink, 2);
    OK(source->ops->poll(source, 0, -1, &batch, err));
    assert_int_equal(batch->count, tx_rows(2) + 1);
    const Change *told = &batch->changes[tx_rows(2)];
    assert_int_equal(told->op, CHANGE_SCHEMA);
    assert_ptr_equal(told->relation, other_table);
    assert_true(told->transaction->commit_lsn == 250);
    batch_unref(batch);
    tx_add(sink, 3);
    OK(source->ops->poll(source, 0, -1, &batch, err));
    assert_int_equal(batch->count, tx_rows(3)); // once
    batch_unref(batch);
    source_free(source);
    tables_done(&known);
    sink_free(sink);
    checkpoint_done(&stored);
    checkpoint_done(&changed);
}

// As it was when the reader started: behind changes of a later shape that would be wrong.
static void test_what_the_log_tells_is_no_news(void **state)
{
    static const char *const origin[] = {"fake", "url=u", "tables[]=x", NULL};
    Checkpoint stored = {0};
    Checkpoint changed = {0};
    Tables known;
    Sink *sink = open_sink(&stored);
    commit(sink, (Position){10, 0});
    tables_init(&known);
    Table *unfinished = tables_get(&known, other_table->oid);
    tables_set_target(&known, unfinished, other_table);
    checkpoint_set(&stored, STR("position"), STR("0/A:0"));
    table_save(unfinished, &stored);
    fake_table = table;
    fake_end = 140; // tx 1 ends at 150
    Source *source = new_source(origin);
    OK(source->ops->open(source, err));
    OK(source->ops->resume(source, &stored, &changed, err));
    const SourceTables *tables;
    OK(source->ops->tables(source, &tables, err));
    tx_add(sink, 1);
    Batch *batch;
    OK(source->ops->poll(source, 0, -1, &batch, err));
    assert_int_equal(batch->count, tx_rows(1));
    batch_unref(batch);
    source_free(source);
    tables_done(&known);
    sink_free(sink);
    checkpoint_done(&stored);
    checkpoint_done(&changed);
}

static void test_settings_of_the_other_source(void **state)
{
    Str names[] = {STR("a"), STR("b=c"), STR("d")};
    Setting given[] = {
        {.key = STR("url"), .value = STR("postgres://u:p@h/d?x=y")},
        {.key = STR("tables"), .list = {names, 3}, .is_list = true},
        {.key = STR("copy"), .value = STR("no")},
    };
    Settings settings = {.items = given, .count = 3};
    Settings made;
    disk_source_settings(str_from(log_directory), STR("r"), &fake_source, &settings, &arena, &made);
    SourceContext context = {.pipeline = "route", .cancel = &cancel, .notice = {notice, NULL}};
    Source *source;
    OK(source_new(&disk_source, &made, &context, &source, err));
    OK(source->ops->open(source, err));
    assert_false(source->copies);
    const SourceTables *tables;
    Snapshot *snapshot;
    Lsn at;
    OK(source->ops->tables(source, &tables, err));
    OK(source->ops->snapshot_open(source, &snapshot, &at, err));
    source->ops->snapshot_close(snapshot);
    assert_string_equal(fake_seen, "postgres://u:p@h/d?x=y 3 d");
    source_free(source);
    given[0].key = STR("ur");
    disk_source_settings(str_from(log_directory), STR("r"), &fake_source, &settings, &arena, &made);
    FAILS(source_validate(&disk_source, &made, err), ERROR_CONFIG, "ur");
}

// ---------------------------------------------------------------------------------------------
// Waiting, threads, processes
// ---------------------------------------------------------------------------------------------

static void *add_later(void *argument)
{
    (void)usleep(30000);
    tx_add(argument, 1);
    return NULL;
}

static void test_poll_waits(void **state)
{
    Checkpoint stored = {0};
    Batch *batch = NULL;
    Error error = {0};
    pthread_t thread;
    Wake bell;
    Sink *sink = open_sink(&stored);
    commit(sink, (Position){10, 0});
    Source *source = open_source("0/A:0");
    OK(wake_init(&bell, err));
    assert_int_equal(pthread_create(&thread, NULL, add_later, sink), 0);
    int64_t began = clock_monotonic_ms();
    while (source->ops->poll(source, 10000, bell.fd, &batch, &error) == STATUS_AGAIN) {
    }
    assert_non_null(batch);
    batch_unref(batch);
    assert_int_equal(pthread_join(thread, NULL), 0);
    wake_set(&bell);
    assert_int_equal(source->ops->poll(source, 10000, bell.fd, &batch, &error), STATUS_AGAIN);
    assert_int_equal(source->ops->poll(source, 10000, bell.fd, NULL, &error), STATUS_AGAIN);
    wake_clear(&bell);
    // Nothing is taken in when nothing is wanted.
    tx_add(sink, 2);
    assert_int_equal(source->ops->poll(source, 1, bell.fd, NULL, &error), STATUS_AGAIN);
    cancel_set(&cancel);
    assert_int_equal(source->ops->poll(source, 10000, bell.fd, NULL, &error), STATUS_AGAIN);
    assert_true(clock_monotonic_ms() - began < 9000);
    wake_done(&bell);
    source_free(source);
    sink_free(sink);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static uint64_t last_transaction(const Checkpoint *stored)
{
    const CheckpointEntry *entry = checkpoint_get(stored, STR("position"));
    Position position = {0};
    assert_true(entry == NULL || position_parse(entry->value, &position));
    return position.lsn / TX_LSN;
}

// What a pipeline does: go on behind what the sink has.
static void write_until_killed(int told)
{
    Checkpoint stored = {0};
    Sink *sink;
    Error err = {0};
    if (try_sink("shop", &sink, &stored, &err) != STATUS_OK) {
        _exit(3);
    }
    uint64_t n = last_transaction(&stored);
    if (n == 0) {
        commit(sink, (Position){10, 0});
    }
    uint64_t seed = n + 99;
    for (;;) {
        uint64_t until = n + 1 + next_random(&seed) % 20;
        while (n < until) {
            if (tx_write(sink, ++n, &err) != STATUS_OK) {
                _exit(4);
            }
        }
        commit(sink, (Position){n * TX_LSN + 50, 0});
        if (write(told, &n, sizeof(n)) != (ssize_t)sizeof(n)) {
            _exit(5);
        }
    }
}

// Each time everything that was ever told to be durable is read, from the first transaction to the
// last, and nothing twice.
static void test_killed_at_random(void **state)
{
    enum { KILLS = 150 };
    uint64_t seed = 7;
    uint64_t told = 0;
    for (int i = 0; i < KILLS; i++) {
        told = MAX(told, run_and_kill(write_until_killed, (unsigned)(next_random(&seed) % 6000)));
        if (i % 10 != 9) {
            continue;
        }
        Seen seen = {.next = 1};
        Checkpoint changed = {0};
        Source *source = new_source(NULL);
        OK(try_source(source, NULL, &changed, err));
        see_all(source, &seen);
        assert_true(seen.next > told);
        told = seen.next - 1;
        source_free(source);
        checkpoint_done(&changed);
    }
    printf("%d kills: %llu transactions\n", KILLS, (unsigned long long)told);
    assert_true(told > 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

// A record whose checksum is right and which is none: file and place are named.
static void test_names_what_it_cannot_read(void **state)
{
    const RecordKind kinds[] = {RECORD_RELATION, RECORD_CHANGES};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        SegmentLog *log;
        uint64_t segment;
        Batch *batch;
        Checkpoint stored = {0};
        Sink *sink = open_sink(&stored);
        commit(sink, (Position){10, 0});
        OK(segment_log_open(log_directory, &log, err));
        OK(segment_log_begin(log, 1 << 20, &segment, err));
        buf_str(segment_log_record(log), STR("\x01garbage"));
        OK(segment_log_end(log, kinds[i], (Position){20, 1}, err));
        commit(sink, (Position){20, 0});
        Source *source = open_source("0/A:0");
        Error error = {0};
        assert_int_equal(source->ops->poll(source, 0, -1, &batch, &error), STATUS_FAIL);
        assert_int_equal(error.kind, ERROR_FATAL);
        assert_non_null(strstr(error.message, "read the buffer \""));
        assert_non_null(strstr(error.message, "/0000000000000001.log\" at byte "));
        source_free(source);
        segment_log_close(log);
        sink_free(sink);
        checkpoint_done(&stored);
        fixture_empty_directory();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_names_what_it_cannot_read),
        TEST(test_from_end_to_end),
        TEST(test_sink_resumes),
        TEST(test_source_resumes_anywhere),
        TEST(test_confirmed_segments_are_dropped),
        TEST(test_large_transaction),
        TEST(test_refusals),
        TEST(test_copies_from_the_other_source),
        TEST(test_unfinished_copies),
        TEST(test_new_tables_are_told_in_their_place),
        TEST(test_what_the_log_tells_is_no_news),
        TEST(test_settings_of_the_other_source),
        TEST(test_poll_waits),
        TEST(test_killed_at_random),
    };
    return cmocka_run_group_tests_name("disk", tests, NULL, NULL);
}
