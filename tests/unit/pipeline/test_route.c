// What a route delivers, and what it commits together with what.
#include "pipeline/route_fixture.h"

// ---------------------------------------------------------------------------------------------
// Commits and positions
// ---------------------------------------------------------------------------------------------

static void a_part_of_a_transaction_is_never_committed(void **state)
{
    Fixture *f = *state;
    start_at(f, 0x20);
    size_t before = world.done.len;
    begin(f, 0x30);
    add(f, CHANGE_INSERT, f->table, 5);
    deliver_part(f, (Position){0x30, 1}, false);
    assert_ok(f, route_flush(f->route, true, false, &f->error));
    assert_ok(f, route_flush(f->route, true, true, &f->error));
    assert_int_equal(world.done.len, before);

    f->batch = batch_new();
    add_row(f->batch, CHANGE_DELETE, f->table, &(Transaction){.commit_lsn = 0x30, .xid = 0x30}, 2,
            5);
    deliver(f, 0x38);
    settle(f, 0x38);
    assert_string_equal(buf_cstring(&world.done) + before, " +5 -5 [38:0]");
}

// Where a sink has no room for all of it, each part is committed with where it ends, also within a
// transaction; and from there it goes on after a crash.
static void what_there_is_no_room_for_is_committed_in_parts(void **state)
{
    Fixture *f = *state;
    f->options.sink.ops = &narrow_sink;
    f->options.copies = false;
    world.room = 2;
    start_at(f, 0x20);
    size_t before = world.done.len;
    for (int i = 0; i < 2; i++) {
        if (i == 1) {
            open_route(f); // what was not committed is gone
            assert_int_equal(route_durable(f->route).lsn, 0x40);
            assert_int_equal(route_durable(f->route).ordinal, 3);
            assert_ok(f, copy_all(f));
            route_start(f->route, route_durable(f->route));
        }
        begin(f, 0x30);
        add(f, CHANGE_INSERT, f->table, 31);
        begin(f, 0x40);
        for (int id = 41; id <= 44; id++) {
            add(f, CHANGE_INSERT, f->table, id);
        }
        deliver(f, 0x48);
    }
    settle(f, 0x48);
    assert_string_equal(buf_cstring(&world.done) + before,
                        "+31 +41 [40:1 1=ready@0] +42 +43 [40:3] +44 [48:0]");
}

static void what_was_not_committed_comes_again(void **state)
{
    Fixture *f = *state;
    start_at(f, 0x20);
    begin(f, 0x30);
    add(f, CHANGE_INSERT, f->table, 5);
    deliver(f, 0x38);
    settle(f, 0x38);
    begin(f, 0x40);
    add(f, CHANGE_INSERT, f->table, 6);
    deliver(f, 0x48);

    open_route(f);
    assert_int_equal(route_durable(f->route).lsn, 0x38);
    assert_ok(f, copy_all(f)); // the table is there already
    assert_int_equal(atomic_load(&world.copies), 1);
    route_start(f->route, route_durable(f->route));
    size_t before = world.done.len;
    begin(f, 0x40);
    add(f, CHANGE_INSERT, f->table, 6);
    deliver(f, 0x48);
    settle(f, 0x48);
    assert_string_equal(buf_cstring(&world.done) + before, " +6 [48:0]");
}

static void batches_that_gathered_are_one_run(void **state)
{
    Fixture *f = *state;
    Batch *batches[3];
    start_at(f, 0x20);
    size_t before = world.done.len;
    for (int i = 0; i < 3; i++) {
        begin(f, 0x30 + (Lsn)i * 0x10);
        for (int j = 0; j < i; j++) { // the first has none
            add(f, CHANGE_INSERT, f->table, 10 * i + j);
        }
        batches[i] = f->batch;
        f->batch = NULL;
        batch_seal(batches[i], (Position){0x38 + (Lsn)i * 0x10, 0}, true);
    }
    assert_ok(f, route_deliver(f->route, batches, 3, &f->error));
    for (int i = 0; i < 3; i++) {
        batch_unref(batches[i]);
    }
    settle(f, 0x58);
    assert_string_equal(buf_cstring(&world.done) + before, " +10 +20 +21 [58:0]");
}

// Also in the middle of a transaction, as a source that counts otherwise may have it.
static void what_the_target_has_is_skipped(void **state)
{
    Fixture *f = *state;
    start_at(f, 0x20);
    route_start(f->route, (Position){0x40, 2});
    size_t before = world.done.len;
    begin(f, 0x30);
    add(f, CHANGE_INSERT, f->table, 3);
    begin(f, 0x40);
    add(f, CHANGE_INSERT, f->table, 41);
    add(f, CHANGE_INSERT, f->table, 42);
    add(f, CHANGE_INSERT, f->table, 43);
    begin(f, 0x50);
    add(f, CHANGE_INSERT, f->table, 5);
    deliver(f, 0x58);
    settle(f, 0x58);
    assert_string_equal(buf_cstring(&world.done) + before, " +43 +5 [58:0]");
}

// A run that is to stop at an LSN: what was committed before it is there, and nothing else is.
static void nothing_behind_the_end_is_delivered(void **state)
{
    Fixture *f = *state;
    f->options.until = (Position){0x50, 0};
    f->options.stops_there = true;
    start_at(f, 0x20);
    size_t before = world.done.len;
    begin(f, 0x30);
    add(f, CHANGE_INSERT, f->table, 3);
    begin(f, 0x4f);
    add(f, CHANGE_INSERT, f->table, 4);
    begin(f, 0x50);
    add(f, CHANGE_INSERT, f->table, 5);
    begin(f, 0x60);
    add(f, CHANGE_INSERT, f->table, 6);
    deliver(f, 0x68);
    begin(f, 0x70);
    add(f, CHANGE_INSERT, f->table, 7);
    deliver_part(f, (Position){0x70, 1}, false);
    settle(f, 0x50);
    assert_string_equal(buf_cstring(&world.done) + before, " +3 +4 [50:0]");
}

// The stream has come there without a transaction that ends there.
static void the_end_is_a_position_of_its_own(void **state)
{
    Fixture *f = *state;
    f->options.until = (Position){0x50, 0};
    f->options.stops_there = true;
    start_at(f, 0x20);
    size_t before = world.done.len;
    begin(f, 0x60);
    add(f, CHANGE_INSERT, f->table, 6);
    deliver_part(f, (Position){0x60, 1}, false);
    settle(f, 0x50);
    assert_string_equal(buf_cstring(&world.done) + before, " [50:0]");
}

static void a_position_alone_is_stored_at_the_end(void **state)
{
    Fixture *f = *state;
    start_at(f, 0x20);
    size_t before = world.done.len;
    f->batch = batch_new();
    deliver(f, 0x90);
    assert_ok(f, route_flush(f->route, true, true, &f->error));
    assert_string_equal(buf_cstring(&world.done) + before, " [90:0]");
}

static void a_failed_commit_makes_nothing_durable(void **state)
{
    Fixture *f = *state;
    start_at(f, 0x20);
    begin(f, 0x30);
    add(f, CHANGE_INSERT, f->table, 5);
    deliver(f, 0x38);
    world.commit_fails = true;
    assert_int_equal(route_flush(f->route, true, true, &f->error), STATUS_FAIL);
    assert_int_equal(route_durable(f->route).lsn, 0x20);
}

// ---------------------------------------------------------------------------------------------
// Copies before the stream
// ---------------------------------------------------------------------------------------------

static void a_copy_is_stored_with_its_rows(void **state)
{
    Fixture *f = *state;
    open_route(f);
    assert_ok(f, copy_all(f));
    assert_done("[1=copying@0] r1 r2 [1=ready@20]");
}

static void changes_before_the_snapshot_are_in_the_copy(void **state)
{
    Fixture *f = *state;
    world.snapshot_lsn = 0x40;
    start_at(f, 0x20);
    size_t before = world.done.len;
    begin(f, 0x30);
    add(f, CHANGE_INSERT, f->table, 3);
    begin(f, 0x40); // at the snapshot: not in it
    add(f, CHANGE_INSERT, f->table, 4);
    deliver(f, 0x48);
    settle(f, 0x48);
    assert_string_equal(buf_cstring(&world.done) + before, " +4 [48:0]");
}

// The same when the table is looked at before each change, not found ready in a run.
static void also_when_it_is_known_from_the_checkpoint_only(void **state)
{
    Fixture *f = *state;
    world.snapshot_lsn = 0x40;
    start_at(f, 0x20);
    start_at(f, 0x20);
    assert_int_equal(atomic_load(&world.copies), 1);
    size_t before = world.done.len;
    begin(f, 0x30);
    add(f, CHANGE_INSERT, f->table, 3);
    add(f, CHANGE_INSERT, f->table, 33);
    begin(f, 0x40);
    add(f, CHANGE_INSERT, f->table, 4);
    begin(f, 0x38); // delivered behind it, as no server would: still in the copy
    add(f, CHANGE_INSERT, f->table, 34);
    deliver(f, 0x48);
    settle(f, 0x48);
    assert_string_equal(buf_cstring(&world.done) + before, " +4 [48:0]");
}

static void an_interrupted_copy_begins_with_an_empty_table(void **state)
{
    Fixture *f = *state;
    world.breaks_off = true;
    open_route(f);
    assert_int_equal(copy_all(f), STATUS_FAIL);
    assert_done("[1=copying@0]"); // nothing was cleared: the rows there might be the user's
    world.breaks_off = false;
    open_route(f);
    assert_ok(f, copy_all(f));
    assert_done("[1=copying@0] [1=copying@0] clear r1 r2 [1=ready@20]");
}

static void without_copies_all_that_comes_is_delivered(void **state)
{
    Fixture *f = *state;
    f->options.copies = false;
    start_at(f, 0x20);
    begin(f, 0x30);
    add(f, CHANGE_INSERT, f->table, 3);
    deliver(f, 0x38);
    settle(f, 0x38);
    assert_int_equal(atomic_load(&world.copies), 0);
    assert_done("+3 [38:0 1=ready@0]");
}

// ---------------------------------------------------------------------------------------------
// Copies while the stream runs
// ---------------------------------------------------------------------------------------------

// @sink copies the table @late, of which changes are delivered before, while and after that.
static const Relation *appear(Fixture *f, const SinkOps *sink)
{
    f->options.sink.ops = sink;
    start_at(f, 0x20);
    const Relation *late = table_of(f, 2, "late");
    buf_reset(&world.done);
    world.snapshot_lsn = 0x60;
    begin(f, 0x30);
    add(f, CHANGE_INSERT, f->table, 3);
    announce(f, late);
    add(f, CHANGE_INSERT, late, 31);
    deliver(f, 0x38);
    return late;
}

static void a_table_that_appears_is_copied_between_transactions(void **state)
{
    Fixture *f = *state;
    const Relation *late = appear(f, &serial_sink);
    atomic_store(&world.is_locked, true);
    flush(f);
    begin(f, 0x50); // in the snapshot
    add(f, CHANGE_INSERT, late, 5);
    add(f, CHANGE_INSERT, f->table, 55);
    begin(f, 0x60);
    add(f, CHANGE_INSERT, late, 6);
    deliver(f, 0x68);
    settle(f, 0x68);
    // What was written has its position before the copy commits anything: it would come again.
    assert_ptr_equal(strstr(buf_cstring(&world.done), "+3 [38:0] "), world.done.ptr);
    atomic_store(&world.is_locked, false);
    settle_with(f, "2=ready@60]");
    assert_string_equal(essence(f), "+3 2=copying@0 +55 r1 r2 +6 2=ready@60");
}

static const CheckpointEntry *stored_missing(void)
{
    return checkpoint_get(&world.stored, STR("missing"));
}

// Nothing else of it is stored before its copy begins, which a crash may prevent.
static void a_table_that_waits_is_noted(void **state)
{
    Fixture *f = *state;
    const Relation *late = appear(f, &serial_sink);
    assert_null(stored_missing());
    begin(f, 0x50);
    add(f, CHANGE_INSERT, late, 5);
    deliver(f, 0x58);
    assert_ok(f, route_flush(f->route, true, true, &f->error)); // while draining no copy begins
    assert_int_equal(route_durable(f->route).lsn, 0x58);
    assert_true(str_is(stored_missing()->value, "yes"));
    settle_with(f, "2=ready@");
    assert_true(str_is(stored_missing()->value, "no"));
}

// Held back while it is copied; then what was committed behind the snapshot comes with its end.
static void a_table_is_copied_beside_the_stream(void **state)
{
    Fixture *f = *state;
    const Relation *late = appear(f, &parallel_sink);
    atomic_store(&world.is_gated, true);
    flush(f);
    begin(f, 0x50);
    add(f, CHANGE_INSERT, late, 5);
    add(f, CHANGE_INSERT, f->table, 55);
    deliver(f, 0x58);
    begin(f, 0x60);
    add(f, CHANGE_INSERT, late, 6);
    begin(f, 0x70);
    add(f, CHANGE_DELETE, late, 6);
    add(f, CHANGE_INSERT, f->table, 77);
    deliver(f, 0x78);
    settle(f, 0x78);
    assert_string_equal(essence(f), "+3 2=copying@0 +55 +77");
    atomic_store(&world.is_gated, false);
    settle_with(f, "2=ready@60]");
    begin(f, 0x80);
    add(f, CHANGE_INSERT, late, 8);
    deliver(f, 0x88);
    settle(f, 0x88);
    assert_string_equal(essence(f), "+3 2=copying@0 +55 +77 r1 r2 +6 -6 2=ready@60 +8");
}

static void a_crash_beside_the_stream_copies_again(void **state)
{
    Fixture *f = *state;
    const Relation *late = appear(f, &parallel_sink);
    atomic_store(&world.is_gated, true);
    flush(f);
    begin(f, 0x60);
    add(f, CHANGE_INSERT, late, 6);
    add(f, CHANGE_INSERT, f->table, 66);
    deliver(f, 0x68);
    settle(f, 0x68); // the held one is behind it, and nowhere
    open_route(f);
    atomic_store(&world.is_gated, false);
    buf_reset(&world.done);
    world.snapshot_lsn = 0x70;
    f->table = late;
    // Again beside the stream: the other table goes on at once.
    assert_ok(f, copy_all(f));
    assert_done("");
    route_start(f->route, route_durable(f->route));
    settle_with(f, "2=ready@70]");
    assert_string_equal(essence(f), "2=copying@0 clear r1 r2 2=ready@70");
}

// What the copies at the beginning have not come to is copied before the stream, all at once.
static void an_interrupted_beginning_is_ended_first(void **state)
{
    Fixture *f = *state;
    start_at(f, 0x20);
    open_route(f);
    buf_reset(&world.done);
    f->table = table_of(f, 2, "second");
    assert_ok(f, copy_all(f));
    assert_done("[2=copying@0] r1 r2 [2=ready@20]");
}

// The table as it is published by other entries than before.
static const Relation *published_by(Fixture *f, uint64_t entries)
{
    Relation *relation = relation_copy(&f->arena, f->table);
    relation->published = entries;
    return relation;
}

static void what_was_missed_is_copied_again(void **state)
{
    Fixture *f = *state;
    f->table = published_by(f, 77);
    start_at(f, 0x20);
    buf_reset(&world.done);
    world.snapshot_lsn = 0x60;
    begin(f, 0x30);
    add(f, CHANGE_INSERT, f->table, 3);
    begin(f, 0x40);
    const Relation *back = published_by(f, 78);
    announce(f, back);
    add(f, CHANGE_INSERT, back, 4);
    deliver(f, 0x48);
    settle(f, 0x48);
    settle_with(f, "1=ready@60]");
    begin(f, 0x60);
    announce(f, back);
    add(f, CHANGE_INSERT, back, 6);
    deliver(f, 0x68);
    settle(f, 0x68);
    assert_non_null(strstr(essence(f), "clear r1 r2 1=ready@60 +6"));
    assert_null(strstr(essence(f), "+4"));
}

static void what_was_missed_while_away_is_copied_again(void **state)
{
    Fixture *f = *state;
    f->table = published_by(f, 77);
    start_at(f, 0x20);
    buf_reset(&world.done);
    world.snapshot_lsn = 0x60;
    open_route(f);
    f->table = published_by(f, 78);
    assert_ok(f, copy_all(f));
    assert_done("[1=copying@20] clear r1 r2 [1=ready@60]");
}

// A table whose updates are told no more has lost none yet; but it has when they are told again.
static void what_was_not_missed_is_not_copied_again(void **state)
{
    Fixture *f = *state;
    const uint64_t entries[] = {0, 77, 77, PUBLISHED_INSERTS, PUBLISHED_NO_MORE, 78};
    start_at(f, 0x20);
    world.snapshot_lsn = 0x90;
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        begin(f, 0x30 + i * 0x10);
        buf_reset(&world.done);
        announce(f, published_by(f, entries[i]));
        deliver(f, 0x38 + i * 0x10);
        settle(f, 0x38 + i * 0x10);
        bool is_last = i + 1 == ARRAY_LEN(entries);
        assert_true((strstr(essence(f), "1=copying") != NULL) == is_last);
    }
}

// The rows have values that no change will ever tell.
static void a_rewritten_table_is_copied_again(void **state)
{
    Fixture *f = *state;
    start_at(f, 0x20);
    buf_reset(&world.done);
    world.snapshot_lsn = 0x60;
    const Column columns[] = {INT4("id", 1), INT8("v", 2)};
    const Relation *now = relation_of(&f->arena, 1, "public", "t", "a", columns, 2);
    begin(f, 0x30);
    announce(f, now);
    add(f, CHANGE_INSERT, now, 3);
    deliver(f, 0x38);
    settle(f, 0x38);
    settle_with(f, "1=ready@60]");
    begin(f, 0x60);
    add(f, CHANGE_INSERT, now, 6);
    deliver(f, 0x68);
    settle(f, 0x68);
    assert_non_null(strstr(essence(f), "clear r1 r2 1=ready@60 +6"));
    assert_null(strstr(essence(f), "+3"));
}

// ---------------------------------------------------------------------------------------------
// Other kinds of sinks
// ---------------------------------------------------------------------------------------------

static void events_tell_a_shape_once(void **state)
{
    Fixture *f = *state;
    f->options.sink.ops = &event_sink;
    start_at(f, 0x20);
    begin(f, 0x30);
    add(f, CHANGE_INSERT, f->table, 3);
    deliver(f, 0x38);
    settle(f, 0x38);
    start_at(f, 0x38); // a restart tells nothing new
    begin(f, 0x40);
    announce(f, f->table);
    add(f, CHANGE_INSERT, f->table, 4);
    deliver(f, 0x48);
    settle(f, 0x48);
    assert_done("[1=copying@0] S r1 r2 [1=ready@20] +3 [38:0] +4 [48:0]");
}

// The local state may say less than what the target has, never more.
static void the_local_state_follows_the_sink(void **state)
{
    Fixture *f = *state;
    char directory[] = "/tmp/weir-test-route-XXXXXX";
    assert_non_null(mkdtemp(directory));
    StateOwner owner = {str_from(directory), STR("p"), STR("sink")};
    assert_ok(f, state_open(&owner, &f->options.state, &f->error));
    f->options.sink.ops = &forgetful_sink;
    start_at(f, 0x20);
    begin(f, 0x30);
    add(f, CHANGE_INSERT, f->table, 3);
    deliver(f, 0x38);
    settle(f, 0x38);
    begin(f, 0x40);
    add(f, CHANGE_INSERT, f->table, 4);
    deliver(f, 0x48);
    world.commit_fails = true;
    assert_int_equal(route_flush(f->route, true, true, &f->error), STATUS_FAIL);
    open_route(f);
    assert_int_equal(route_durable(f->route).lsn, 0x38);
    route_close(f->route);
    f->route = NULL;
    state_close(f->options.state);
    char command[64];
    (void)snprintf(command, sizeof(command), "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        route_test(a_part_of_a_transaction_is_never_committed),
        route_test(what_there_is_no_room_for_is_committed_in_parts),
        route_test(what_was_not_committed_comes_again),
        route_test(batches_that_gathered_are_one_run),
        route_test(what_the_target_has_is_skipped),
        route_test(nothing_behind_the_end_is_delivered),
        route_test(the_end_is_a_position_of_its_own),
        route_test(a_position_alone_is_stored_at_the_end),
        route_test(a_failed_commit_makes_nothing_durable),
        route_test(a_copy_is_stored_with_its_rows),
        route_test(changes_before_the_snapshot_are_in_the_copy),
        route_test(also_when_it_is_known_from_the_checkpoint_only),
        route_test(an_interrupted_copy_begins_with_an_empty_table),
        route_test(without_copies_all_that_comes_is_delivered),
        route_test(a_table_that_appears_is_copied_between_transactions),
        route_test(a_table_that_waits_is_noted),
        route_test(a_table_is_copied_beside_the_stream),
        route_test(a_crash_beside_the_stream_copies_again),
        route_test(an_interrupted_beginning_is_ended_first),
        route_test(what_was_missed_is_copied_again),
        route_test(what_was_missed_while_away_is_copied_again),
        route_test(what_was_not_missed_is_not_copied_again),
        route_test(a_rewritten_table_is_copied_again),
        route_test(events_tell_a_shape_once),
        route_test(the_local_state_follows_the_sink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
