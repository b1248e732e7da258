// Transactions that are sent while they run come out as if they had come whole.
#include "messages_fixture.h"

enum { TABLE = 1, COLUMNS = 2 };

static int fixture_setup(void **state)
{
    Fixture *f = fixture_new(PGOUTPUT_VERSION_STREAMING);
    streamed_init(&f->postgres.stream.streamed, "/tmp", 64 << 20);
    Column columns[] = {INT4("id", 1), TEXT("v", 2)};
    columns[0].is_identity = true;
    SourceTable items[] = {
        {.relation = relation_of(&f->arena, TABLE, "public", "t", "a", columns, COLUMNS)}};
    postgres_stream_know(&f->postgres, &(SourceTables){items, ARRAY_LEN(items)});
    *state = f;
    return 0;
}

static Status send_start(Fixture *f, uint32_t xid, bool first)
{
    return send(f, &(PgoutputMessage){.kind = PGOUTPUT_STREAM_START, .stream_start = {xid, first}});
}

static Status send_stop(Fixture *f)
{
    return send(f, &(PgoutputMessage){.kind = PGOUTPUT_STREAM_STOP});
}

static void send_abort(Fixture *f, uint32_t xid, uint32_t subxid)
{
    send_ok(f, &(PgoutputMessage){.kind = PGOUTPUT_STREAM_ABORT,
                                  .stream_abort = {.xid = xid, .subxid = subxid}});
}

static Status send_stream_commit(Fixture *f, uint32_t xid, Lsn lsn)
{
    return send(f,
                &(PgoutputMessage){.kind = PGOUTPUT_STREAM_COMMIT,
                                   .commit = {.commit_lsn = lsn, .end_lsn = lsn + 8, .xid = xid}});
}

static PgoutputMessage insert(uint32_t xid, const char *id)
{
    static Value values[COLUMNS];
    values[0] = (Value){.ptr = id, .len = (uint32_t)strlen(id), .state = VALUE_TEXT};
    values[1] = NIL;
    return (PgoutputMessage){.kind = PGOUTPUT_INSERT,
                             .xid = xid,
                             .row = {.relation_oid = TABLE, .new_tuple = {COLUMNS, values}}};
}

static void send_insert(Fixture *f, uint32_t xid, const char *id)
{
    PgoutputMessage message = insert(xid, id);
    send_ok(f, &message);
}

static Status send_note(Fixture *f, uint32_t xid, bool transactional, Lsn lsn)
{
    return send(f, &(PgoutputMessage){.kind = PGOUTPUT_MESSAGE,
                                      .xid = xid,
                                      .message = {.transactional = transactional, .lsn = lsn}});
}

static void replay(Fixture *f)
{
    while (f->postgres.stream.replayed != NULL) {
        if (postgres_replay(&f->postgres, &f->error) != STATUS_OK) {
            fail_msg("%s", f->error.message);
        }
    }
}

static void segment(Fixture *f, uint32_t xid, bool first)
{
    assert_int_equal(send_start(f, xid, first), STATUS_OK);
}

static void show_id(Buf *text, const Change *change)
{
    if (change->op == CHANGE_INSERT) {
        buf_printf(text, "=%.*s", (int)change->new_row[0].len, change->new_row[0].ptr);
    }
}

// +30.2=5: the second change of the transaction that committed at 30, with the id 5.
static void assert_changes(Fixture *f, const char *expected)
{
    assert_changes_as(f, show_id, expected);
}

static void one_comes_out_at_its_commit(void **state)
{
    Fixture *f = *state;
    segment(f, 7, true);
    send_insert(f, 7, "1");
    assert_int_equal(send_stop(f), STATUS_OK);
    assert_changes(f, "");
    assert_int_equal(f->postgres.stream.end.lsn, 0x20);
    segment(f, 7, false);
    send_insert(f, 7, "2");
    assert_int_equal(send_stop(f), STATUS_OK);
    assert_int_equal(send_stream_commit(f, 7, 0x30), STATUS_OK);
    assert_changes(f, "");
    replay(f);
    assert_changes(f, "S30.1 +30.1=1 +30.2=2");
    assert_int_equal(f->postgres.stream.end.lsn, 0x38);
    const Transaction *transaction = f->postgres.stream.batch->changes[1].transaction;
    assert_int_equal(transaction->xid, 7);
}

// A position that is stored half-way through must mean the same when it comes the other way.
static void what_was_rolled_back_does_not_count(void **state)
{
    Fixture *f = *state;
    segment(f, 7, true);
    send_insert(f, 7, "1");
    send_insert(f, 8, "never");
    send_insert(f, 9, "never"); // inside 8
    send_insert(f, 10, "2");
    assert_int_equal(send_stop(f), STATUS_OK);
    send_abort(f, 7, 9);
    send_abort(f, 7, 8);
    send_abort(f, 7, 99); // nothing of it was sent
    segment(f, 7, false);
    send_insert(f, 11, "never");
    send_insert(f, 7, "3");
    assert_int_equal(send_stop(f), STATUS_OK);
    send_abort(f, 7, 11);
    assert_int_equal(send_stream_commit(f, 7, 0x30), STATUS_OK);
    replay(f);
    assert_changes(f, "S30.1 +30.1=1 +30.2=2 +30.3=3");
}

// Bytes that this process has read and written in its life.
static int64_t bytes_moved(void)
{
    int64_t bytes[2] = {-1, -1};
    FILE *file = fopen("/proc/self/io", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "rchar: %" SCNd64 " wchar: %" SCNd64, &bytes[0], &bytes[1]), 2);
    (void)fclose(file);
    return bytes[0] + bytes[1];
}

// However much was kept of it, on disk too: a number is noted, or a file is closed.
static void to_roll_back_takes_no_time(void **state)
{
    enum { ROWS = 20000, LITTLE = 1024 };
    Fixture *f = *state;
    streamed_done(&f->postgres.stream.streamed);
    streamed_init(&f->postgres.stream.streamed, "/tmp", 64 << 10);
    int64_t before = bytes_moved();
    for (uint32_t xid = 7; xid < 9; xid++) {
        segment(f, xid, true);
        for (int i = 0; i < ROWS; i++) {
            send_insert(f, xid + 100, "1");
        }
        assert_int_equal(send_stop(f), STATUS_OK);
    }
    int64_t kept = bytes_moved();
    assert_true(kept - before > (int64_t)2 * ROWS * 10);
    send_abort(f, 7, 107);
    send_abort(f, 8, 8);
    assert_true(bytes_moved() - kept < LITTLE); // of the question itself
    assert_int_equal(send_stream_commit(f, 7, 0x30), STATUS_OK);
    replay(f);
    assert_changes(f, "");
}

// Whatever is known of a transaction counts, not only its messages.
static void subtransactions_take_of_the_budget(void **state)
{
    enum { COUNT = 50000 };
    Fixture *f = *state;
    streamed_done(&f->postgres.stream.streamed);
    streamed_init(&f->postgres.stream.streamed, "/tmp", 0);
    segment(f, 7, true);
    for (uint32_t i = 0; i < COUNT; i++) {
        send_insert(f, 100 + i, "1");
    }
    assert_int_equal(send_stop(f), STATUS_OK);
    size_t seen = spill_memory_used();
    assert_in_range(seen, COUNT * sizeof(uint32_t), COUNT * sizeof(uint32_t) * 4);
    for (uint32_t i = 0; i < COUNT; i++) {
        send_abort(f, 7, 100 + i);
    }
    assert_in_range(spill_memory_used() - seen, COUNT * sizeof(uint32_t),
                    COUNT * sizeof(uint32_t) * 4);
    send_abort(f, 7, 7);
    assert_int_equal(spill_memory_used(), 0);
}

static void they_may_take_turns(void **state)
{
    Fixture *f = *state;
    segment(f, 7, true);
    send_insert(f, 7, "1");
    assert_int_equal(send_stop(f), STATUS_OK);
    segment(f, 8, true);
    send_insert(f, 8, "2");
    assert_int_equal(send_stop(f), STATUS_OK);
    segment(f, 9, true);
    send_insert(f, 9, "never");
    assert_int_equal(send_stop(f), STATUS_OK);
    send_ok(f, &(PgoutputMessage){.kind = PGOUTPUT_BEGIN, .begin = {.commit_lsn = 0x30, .xid = 6}});
    send_insert(f, 0, "3");
    send_ok(f, &(PgoutputMessage){.kind = PGOUTPUT_COMMIT,
                                  .commit = {.commit_lsn = 0x30, .end_lsn = 0x38}});
    assert_int_equal(send_stream_commit(f, 8, 0x40), STATUS_OK);
    replay(f);
    send_abort(f, 9, 9);
    segment(f, 7, false);
    send_insert(f, 7, "4");
    assert_int_equal(send_stop(f), STATUS_OK);
    assert_int_equal(send_stream_commit(f, 7, 0x50), STATUS_OK);
    replay(f);
    assert_changes(f, "S30.1 +30.1=3 +40.1=2 +50.1=1 +50.2=4");
}

static void an_origin_is_the_transactions(void **state)
{
    Fixture *f = *state;
    segment(f, 7, true);
    send_ok(f, &(PgoutputMessage){.kind = PGOUTPUT_ORIGIN, .origin = {.name = STR("there")}});
    send_insert(f, 7, "1");
    assert_int_equal(send_stop(f), STATUS_OK);
    assert_int_equal(send_stream_commit(f, 7, 0x30), STATUS_OK);
    replay(f);
    assert_true(str_is(f->postgres.stream.batch->changes[1].transaction->origin, "there"));
}

static void the_server_can_be_asked_for_the_others(void **state)
{
    Fixture *f = *state;
    segment(f, 7, true);
    for (int i = 0; i < 100; i++) { // in turns
        send_insert(f, 9, "1");
        send_insert(f, 8, "1");
        send_insert(f, 7, "1");
    }
    send_insert(f, 10, "1");
    assert_int_equal(send_stop(f), STATUS_OK);
    send_abort(f, 7, 8);
    assert_int_equal(send_stream_commit(f, 7, 0x30), STATUS_OK);
    const uint32_t *xids;
    assert_int_equal(streamed_subtransactions(f->postgres.stream.replayed, &xids), 2);
    assert_int_equal(xids[0], 9);
    assert_int_equal(xids[1], 10);
}

static void messages_are_not_kept(void **state)
{
    Fixture *f = *state;
    segment(f, 7, true);
    assert_int_equal(send_note(f, 7, false, 0x28), STATUS_OK);
    assert_changes(f, "M28.0"); // whatever becomes of the transaction
    assert_null(f->postgres.stream.distrust);
    assert_int_equal(send_note(f, 7, true, 0x29), STATUS_OK);
    assert_non_null(f->postgres.stream.distrust);
    assert_changes(f, "M28.0");
}

static void what_is_not_ended_is_dropped(void **state)
{
    Fixture *f = *state;
    segment(f, 7, true);
    send_insert(f, 7, "1");
    assert_int_equal(send_stop(f), STATUS_OK);
    segment(f, 8, true);
    send_insert(f, 8, "1");
    streamed_drop(&f->postgres.stream.streamed);
    assert_int_equal(spill_memory_used(), 0);
    f->postgres.stream.context.in_stream = false;
    segment(f, 7, true); // comes again from its begin
    send_insert(f, 7, "2");
    assert_int_equal(send_stop(f), STATUS_OK);
    assert_int_equal(send_stream_commit(f, 7, 0x30), STATUS_OK);
    assert_int_equal(postgres_replay(&f->postgres, &f->error), STATUS_OK);
    assert_changes(f, "S30.1 +30.1=2"); // and is left half-way
}

static void nonsense_is_refused(void **state)
{
    Fixture *f = *state;
    assert_int_equal(send_start(f, 7, false), STATUS_FAIL); // goes on with what did not begin
    f->postgres.stream.context.in_stream = false;
    assert_int_equal(send_stream_commit(f, 7, 0x30), STATUS_FAIL);
    f->postgres.stream.open = (Transaction){0};
    segment(f, 7, true);
    Str damaged[] = {STR("I"), STR("I\0\0\0"), STR("D\0\0"), STR("Q\0\0\0\7"), STR("")};
    for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
        f->error = (Error){0};
        assert_int_equal(postgres_message(&f->postgres, 0, damaged[i], &f->error), STATUS_FAIL);
        assert_int_equal(f->error.kind, ERROR_DATA);
    }
    assert_int_equal(postgres_message(&f->postgres, 0, STR("I\0\0\0\7rest"), &f->error), STATUS_OK);
    assert_int_equal(send_stop(f), STATUS_OK);
    assert_int_equal(send_start(f, 7, true), STATUS_FAIL); // begins twice
    f->postgres.stream.context.in_stream = false;
    send_abort(f, 5, 5);                                           // nobody knows it: nothing to do
    assert_int_equal(send_stream_commit(f, 7, 0x18), STATUS_FAIL); // behind what was taken in
    assert_int_equal(send_stream_commit(f, 7, 0x30), STATUS_OK);
    assert_int_equal(postgres_replay(&f->postgres, &f->error), STATUS_FAIL); // the "rest"
    assert_int_equal(f->error.kind, ERROR_DATA);
}

#define spill_test(function) \
    cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        spill_test(one_comes_out_at_its_commit),
        spill_test(what_was_rolled_back_does_not_count),
        spill_test(to_roll_back_takes_no_time),
        spill_test(subtransactions_take_of_the_budget),
        spill_test(they_may_take_turns),
        spill_test(an_origin_is_the_transactions),
        spill_test(the_server_can_be_asked_for_the_others),
        spill_test(messages_are_not_kept),
        spill_test(what_is_not_ended_is_dropped),
        spill_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
