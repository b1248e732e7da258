// From the server's messages to changes: where each one stands, and what is known of its rows. The
// messages are those of the tests' own encoder; no server is needed for tables that are known.
#include "messages_fixture.h"

enum { KEYED = 1, FULL = 2 };

static int fixture_setup(void **state)
{
    Fixture *f = fixture_new(PGOUTPUT_VERSION_MIN);
    Column columns[] = {INT4("id", 1), TEXT("long", 2), TEXT("note", 3)};
    columns[0].is_identity = true;
    SourceTable items[] = {
        {.relation = relation_of(&f->arena, KEYED, "public", "keyed", "a", columns, 3)},
        {.relation = relation_of(&f->arena, FULL, "public", "full", "", columns, 3)}};
    postgres_stream_know(&f->postgres, &(SourceTables){items, ARRAY_LEN(items)});
    *state = f;
    return 0;
}

static Status send_begin(Fixture *f, Lsn commit_lsn)
{
    return send(f, &(PgoutputMessage){.kind = PGOUTPUT_BEGIN,
                                      .begin = {.commit_lsn = commit_lsn, .xid = 7}});
}

static Status send_commit(Fixture *f, Lsn commit_lsn, Lsn end_lsn)
{
    return send(f, &(PgoutputMessage){.kind = PGOUTPUT_COMMIT,
                                      .commit = {.commit_lsn = commit_lsn, .end_lsn = end_lsn}});
}

static PgoutputTuple tuple(const Value *row)
{
    return (PgoutputTuple){row == NULL ? 0 : 3, (Value *)(uintptr_t)row};
}

static void send_row(Fixture *f, PgoutputKind kind, uint32_t oid, char old_kind, const Value *old,
                     const Value *new)
{
    send_ok(f, &(PgoutputMessage){.kind = kind,
                                  .row = {.relation_oid = oid,
                                          .old_kind = old_kind,
                                          .old_tuple = tuple(old),
                                          .new_tuple = tuple(new)}});
}

static Status send_note(Fixture *f, bool transactional, Lsn lsn)
{
    return send(f, &(PgoutputMessage){.kind = PGOUTPUT_MESSAGE,
                                      .message = {.transactional = transactional,
                                                  .lsn = lsn,
                                                  .prefix = STR("p"),
                                                  .content = STR("c")}});
}

static void show_row(Buf *text, const Value *row)
{
    for (int i = 0; row != NULL && i < 3; i++) {
        buf_cstr(text, i == 0 ? ":" : ",");
        buf_str(text, row[i].state == VALUE_TEXT        ? (Str){row[i].ptr, row[i].len}
                      : row[i].state == VALUE_UNCHANGED ? STR("same")
                      : row[i].state == VALUE_NULL      ? STR("null")
                                                        : STR("?"));
    }
}

static void show_rows(Buf *text, const Change *change)
{
    show_row(text, change->old_row);
    show_row(text, change->new_row);
}

// +30.2:new row, -30.2:old row, ~30.2:old row:new row; the others have none.
static void assert_changes(Fixture *f, const char *expected)
{
    assert_changes_as(f, show_rows, expected);
}

static void each_transaction_counts_from_one(void **state)
{
    Fixture *f = *state;
    uint32_t both[] = {KEYED, FULL};
    assert_int_equal(send_begin(f, 0x30), STATUS_OK);
    send_row(f, PGOUTPUT_INSERT, KEYED, 0, NULL, ROW(T("1"), T("a"), NIL));
    send_row(f, PGOUTPUT_INSERT, KEYED, 0, NULL, ROW(T("2"), T("b"), NIL));
    send_ok(f, &(PgoutputMessage){.kind = PGOUTPUT_TRUNCATE,
                                  .truncate = {.count = 2, .relation_oids = both}});
    assert_int_equal(send_note(f, true, 0x2F), STATUS_OK);
    assert_int_equal(send_commit(f, 0x30, 0x38), STATUS_OK);
    assert_int_equal(send_begin(f, 0x38), STATUS_OK);
    send_row(f, PGOUTPUT_INSERT, KEYED, 0, NULL, ROW(T("3"), T("c"), NIL));
    assert_int_equal(send_commit(f, 0x38, 0x48), STATUS_OK);
    assert_changes(f, "S30.1 +30.1:1,a,null +30.2:2,b,null S30.3 T30.3 T30.4 M30.5 +38.1:3,c,null");
}

// The end of the commit record: behind each change, not behind any of the next transaction.
static void a_commit_ends_behind_its_changes(void **state)
{
    Fixture *f = *state;
    const PostgresStream *stream = &f->postgres.stream;
    assert_int_equal(send_begin(f, 0x30), STATUS_OK);
    assert_int_equal(stream->end.lsn, 0x20);
    send_row(f, PGOUTPUT_INSERT, KEYED, 0, NULL, ROW(T("1"), T("a"), NIL));
    assert_int_equal(stream->end.lsn, 0x20);
    assert_int_equal(send_commit(f, 0x30, 0x38), STATUS_OK);
    assert_int_equal(stream->end.lsn, 0x38);
    assert_int_equal(stream->end.ordinal, 0);
}

static void what_is_not_sent_is_not_invented(void **state)
{
    Fixture *f = *state;
    assert_int_equal(send_begin(f, 0x30), STATUS_OK);
    // Only the key of the old row is sent; its other NULLs mean nothing.
    send_row(f, PGOUTPUT_UPDATE, KEYED, 'K', ROW(T("1"), NIL, NIL), ROW(T("2"), SAME, T("n")));
    send_row(f, PGOUTPUT_DELETE, KEYED, 'K', ROW(T("2"), NIL, NIL), NULL);
    send_row(f, PGOUTPUT_UPDATE, KEYED, 0, NULL, ROW(T("3"), SAME, NIL));
    assert_changes(f, "S30.1 ~30.1:1,?,?:2,same,n -30.2:2,?,? ~30.3:3,same,null");
}

static void a_whole_old_row_tells_what_is_unchanged(void **state)
{
    Fixture *f = *state;
    assert_int_equal(send_begin(f, 0x30), STATUS_OK);
    send_row(f, PGOUTPUT_UPDATE, FULL, 'O', ROW(T("1"), T("long"), NIL), ROW(T("1"), SAME, T("n")));
    send_row(f, PGOUTPUT_UPDATE, FULL, 'O', ROW(T("1"), SAME, NIL), ROW(T("1"), SAME, NIL));
    send_row(f, PGOUTPUT_DELETE, FULL, 'O', ROW(T("1"), T("long"), NIL), NULL);
    assert_changes(f, "S30.1 ~30.1:1,long,null:1,long,n ~30.2:1,same,null:1,same,null "
                      "-30.3:1,long,null");
}

// It stands between two transactions, and a server that sends it again does not double it.
static void a_message_outside_transactions_comes_once(void **state)
{
    Fixture *f = *state;
    assert_int_equal(send_note(f, false, 0x20), STATUS_OK); // the target has it
    assert_int_equal(send_note(f, false, 0x30), STATUS_OK);
    assert_int_equal(send_note(f, false, 0x30), STATUS_OK);
    assert_int_equal(send_begin(f, 0x30), STATUS_OK);
    send_row(f, PGOUTPUT_INSERT, KEYED, 0, NULL, ROW(T("1"), T("a"), NIL));
    assert_changes(f, "M30.0 S30.1 +30.1:1,a,null");
}

// A heartbeat moves the position, and nobody is told. A message of that prefix in a transaction is
// somebody's.
static void our_own_messages_are_no_changes(void **state)
{
    Fixture *f = *state;
    PgoutputMessage beat = {.kind = PGOUTPUT_MESSAGE,
                            .message = {.lsn = 0x30, .prefix = STR("weir"), .content = STR("c")}};
    assert_int_equal(send(f, &beat), STATUS_OK);
    assert_true(f->postgres.stream.end.lsn == 0x30);
    assert_int_equal(send_begin(f, 0x30), STATUS_OK);
    beat.message.transactional = true;
    assert_int_equal(send(f, &beat), STATUS_OK);
    assert_changes(f, "M30.1");
}

static void nonsense_is_refused(void **state)
{
    Fixture *f = *state;
    assert_int_equal(send_commit(f, 0x30, 0x38), STATUS_FAIL);
    assert_int_equal(send_note(f, true, 0x30), STATUS_FAIL);
    assert_int_equal(send_begin(f, 0x18), STATUS_FAIL); // behind what was taken in
    assert_int_equal(send_begin(f, 0x30), STATUS_OK);
    assert_int_equal(send_begin(f, 0x30), STATUS_FAIL);
    assert_int_equal(send_commit(f, 0x31, 0x38), STATUS_FAIL);
    assert_int_equal(send_commit(f, 0x30, 0x2F), STATUS_FAIL);
    PgoutputMessage row = {.kind = PGOUTPUT_INSERT,
                           .row = {.relation_oid = 99, .new_tuple = tuple(ROW(NIL, NIL, NIL))}};
    assert_int_equal(send(f, &row), STATUS_FAIL); // a table that was not described
    row.row.relation_oid = KEYED;
    row.row.new_tuple.count = 2;
    assert_int_equal(send(f, &row), STATUS_FAIL);
    assert_int_equal(f->error.kind, ERROR_DATA);
}

#define message_test(function) \
    cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        message_test(each_transaction_counts_from_one),
        message_test(a_commit_ends_behind_its_changes),
        message_test(what_is_not_sent_is_not_invented),
        message_test(a_whole_old_row_tells_what_is_unchanged),
        message_test(a_message_outside_transactions_comes_once),
        message_test(our_own_messages_are_no_changes),
        message_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
