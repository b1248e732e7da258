#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "log_fixture.h"

enum { LARGE = 64 << 20, SMALL = 4096 };

static bool is_readable(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return poll(&wait, 1, 0) == 1;
}

// ---------------------------------------------------------------------------------------------

static void test_writes_and_reads(void **state)
{
    SegmentLog *log = fixture_open_log();
    SegmentLogReader *reader;
    assert_true(segment_log_range(log).is_empty);
    OK(segment_log_reader_open(log, (Position){0}, &reader, err));
    assert_int_equal(groups_read(reader, 1, 1), 0);
    OK(group_write(log, 1, 1, LARGE, err));
    assert_int_equal(groups_read(reader, 1, 1), 0); // not before it is committed
    assert_false(is_readable(segment_log_reader_wake(reader)->fd));
    OK(group_commit(log, 1, err));
    assert_true(is_readable(segment_log_reader_wake(reader)->fd));
    assert_int_equal(groups_read(reader, 1, 1), 1);
    for (uint64_t group = 2; group <= 20; group++) {
        OK(group_add(log, group, 1, LARGE, err));
    }
    assert_int_equal(groups_read(reader, 2, 1), 20);
    segment_log_reader_close(reader);
    check_groups(log, 1, 20, 1);
    check_groups(log, 13, 20, 1);
    segment_log_close(log);

    log = fixture_open_log();
    assert_int_equal(segment_log_cut(log), 0);
    check_groups(log, 1, 20, 1);
    OK(group_add(log, 21, 1, LARGE, err));
    check_groups(log, 1, 21, 1);
    segment_log_close(log);
}

static void test_begins_with_the_first_commit(void **state)
{
    Checkpoint changed = {0};
    SegmentLog *log = fixture_open_log();
    SegmentLogReader *reader;
    checkpoint_set(&changed, STR("source"), STR("here"));
    OK(segment_log_commit(log, (Position){500, 0}, &changed, err));
    SegmentLogRange range = segment_log_range(log);
    assert_true(range.first.lsn == 500 && range.last.lsn == 500 && range.bytes > 0);
    FAILS(segment_log_reader_open(log, (Position){499, 9}, &reader, err), ERROR_CONFIG,
          "begins at 0/1F4:0, behind 0/1F3:9");
    OK(segment_log_reader_open(log, (Position){500, 0}, &reader, err));
    segment_log_reader_close(reader);
    // Nothing new is no record.
    checkpoint_reset(&changed);
    OK(segment_log_commit(log, (Position){500, 0}, &changed, err));
    assert_int_equal(segment_log_range(log).bytes, range.bytes);
    OK(segment_log_commit(log, (Position){501, 0}, &changed, err));
    assert_true(segment_log_range(log).bytes > range.bytes);
    segment_log_close(log);
    checkpoint_done(&changed);
}

static void test_remembers(void **state)
{
    Checkpoint changed = {0};
    Checkpoint found = {0};
    SegmentLog *log = fixture_open_log();
    checkpoint_set(&changed, STR("kept"), STR("a\0b"));
    checkpoint_set(&changed, STR("removed"), STR("x"));
    checkpoint_set(&changed, STR("empty"), STR(""));
    OK(segment_log_commit(log, (Position){1, 0}, &changed, err));
    checkpoint_reset(&changed);
    checkpoint_set(&changed, STR("removed"), (Str){NULL, 0});
    OK(segment_log_commit(log, (Position){1, 0}, &changed, err));
    for (uint64_t group = 1; group <= 60; group++) { // over several segments
        OK(group_add(log, group, 4, SMALL, err));
    }
    segment_log_close(log);
    log = fixture_open_log();
    segment_log_entries(log, &found);
    assert_int_equal(found.count, 3);
    assert_true(str_equal(checkpoint_get(&found, STR("kept"))->value, STR("a\0b")));
    assert_true(str_equal(checkpoint_get(&found, STR("empty"))->value, STR("")));
    assert_true(str_is(checkpoint_get(&found, STR("group"))->value, "60"));
    segment_log_close(log);
    checkpoint_done(&changed);
    checkpoint_done(&found);
}

static void test_is_one_in_a_process_and_locked_for_others(void **state)
{
    SegmentLog *log = fixture_open_log();
    SegmentLog *again = fixture_open_log();
    assert_ptr_equal(log, again);
    segment_log_close(again);
    pid_t child = fork();
    if (child == 0) {
        // The other process has a list of its own.
        char path[128];
        File file;
        Error err = {0};
        fixture_path("lock", path);
        bool refused = file_open(&file, path, &err) == STATUS_FAIL && err.kind == ERROR_CONFIG;
        _exit(refused ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    segment_log_close(log);
    segment_log_close(NULL);
}

static void test_rolls_back(void **state)
{
    SegmentLog *log = fixture_open_log();
    SegmentLogReader *reader;
    for (uint64_t group = 1; group <= 3; group++) {
        OK(group_add(log, group, 1, LARGE, err));
    }
    uint64_t bytes = segment_log_range(log).bytes;
    OK(segment_log_reader_open(log, (Position){0}, &reader, err));
    OK(group_write(log, 7, 40, SMALL, err)); // several segments, none committed
    OK(segment_log_rollback(log, err));
    assert_int_equal(segment_log_range(log).bytes, bytes);
    OK(segment_log_rollback(log, err));
    OK(group_add(log, 4, 1, SMALL, err));
    OK(group_add(log, 5, 1, SMALL, err));
    assert_int_equal(groups_read(reader, 1, 1), 5);
    segment_log_reader_close(reader);
    segment_log_close(log);
    log = fixture_open_log();
    assert_int_equal(segment_log_cut(log), 0);
    check_groups(log, 1, 5, 1);
    segment_log_close(log);
}

// One transaction over many segments: nothing of it is there before its end, all of it afterwards.
static void test_group_larger_than_a_segment(void **state)
{
    SegmentLog *log = fixture_open_log();
    OK(group_add(log, 1, 1, SMALL, err));
    for (int i = 0; i < 50; i++) {
        OK(group_write(log, 3, 30, SMALL, err));
    }
    segment_log_close(log);
    log = fixture_open_log();
    assert_true(segment_log_cut(log) > 50 * 1024);
    assert_int_equal(segment_log_cut(log), 0); // told once
    check_groups(log, 1, 1, 1);
    OK(group_write(log, 2, 90, SMALL, err)); // about two segments a record
    OK(group_write(log, 3, 90, SMALL, err));
    segment_log_close(log);
    log = fixture_open_log();
    check_groups(log, 1, 1, 1);
    OK(group_add(log, 2, 90, SMALL, err));
    OK(group_add(log, 3, 90, SMALL, err));
    check_groups(log, 2, 3, 90);
    segment_log_close(log);
    log = fixture_open_log();
    check_groups(log, 2, 3, 90);
    segment_log_close(log);
}

// ---------------------------------------------------------------------------------------------
// Crashes
// ---------------------------------------------------------------------------------------------

// The files of a log as they were.
typedef struct Saved {
    Str lock;
    Str segments[8];
    size_t count;
} Saved;

static Saved save(void)
{
    Saved saved = {0};
    char path[128];
    fixture_path("lock", path);
    saved.lock = fixture_read(path);
    for (fixture_segment(1, path); access(path, F_OK) == 0;
         fixture_segment(saved.count + 1, path)) {
        assert_true(saved.count < ARRAY_LEN(saved.segments));
        saved.segments[saved.count++] = fixture_read(path);
    }
    return saved;
}

static void restore(const Saved *saved, Str lock)
{
    char path[128];
    fixture_empty_directory();
    fixture_path("lock", path);
    fixture_write(path, lock);
    for (size_t i = 0; i < saved->count; i++) {
        fixture_segment(i + 1, path);
        fixture_write(path, saved->segments[i]);
    }
}

static void discard(Saved *saved)
{
    mem_free((void *)(uintptr_t)saved->lock.ptr);
    for (size_t i = 0; i < saved->count; i++) {
        mem_free((void *)(uintptr_t)saved->segments[i].ptr);
    }
}

// Every way in which the last group can be torn: all that was committed before is there, and
// writing goes on.
static void check_torn(const Saved *before, const Saved *after, uint64_t last, size_t scale)
{
    const Str *tail = &after->segments[after->count - 1];
    bool same_segment = before->count == after->count;
    size_t from = same_segment ? before->segments[before->count - 1].len : 0;
    char path[128];
    fixture_segment(after->count, path);
    for (size_t len = from; len <= tail->len; len++) {
        for (int flip = 0; flip < 2; flip++) {
            Str torn = *tail;
            torn.len = flip == 0 ? len : tail->len;
            if (flip == 1 && len == tail->len) {
                continue;
            }
            restore(after, before->lock);
            char *byte = (char *)(uintptr_t)tail->ptr + len;
            *byte = (char)(*byte ^ (flip == 1 ? 0x10 : 0));
            fixture_write(path, torn);
            *byte = (char)(*byte ^ (flip == 1 ? 0x10 : 0));
            SegmentLog *log = fixture_open_log();
            bool whole = flip == 0 && len == tail->len;
            check_groups(log, 1, whole ? last : last - 1, scale);
            assert_int_equal(segment_log_cut(log) > 0, !whole && (len > from || flip == 1));
            if (!whole) {
                OK(group_add(log, last, scale, SMALL, err));
            }
            OK(group_add(log, last + 1, scale, SMALL, err));
            segment_log_close(log);
            log = fixture_open_log();
            assert_int_equal(segment_log_cut(log), 0);
            check_groups(log, 1, last + 1, scale);
            segment_log_close(log);
        }
    }
}

static void test_torn_tail(void **state)
{
    for (uint64_t last = 1; last <= 8; last++) { // the first has begun the log; 4 and 8 are empty
        fixture_empty_directory();
        SegmentLog *log = fixture_open_log();
        for (uint64_t group = 1; group < last; group++) {
            OK(group_add(log, group, 1, LARGE, err));
        }
        segment_log_close(log);
        Saved before = save();
        log = fixture_open_log();
        OK(group_add(log, last, 1, LARGE, err));
        segment_log_close(log);
        Saved after = save();
        check_torn(&before, &after, last, 1);
        discard(&before);
        discard(&after);
    }
}

// The last group has begun a new segment.
static void test_torn_new_segment(void **state)
{
    SegmentLog *log = fixture_open_log();
    OK(group_add(log, 1, 1, SMALL, err));
    OK(group_add(log, 2, 30, SMALL, err));
    OK(group_add(log, 3, 30, SMALL, err));
    segment_log_close(log);
    Saved before = save();
    log = fixture_open_log();
    OK(group_write(log, 4, 30, SMALL, err));
    OK(group_commit(log, 4, err));
    OK(group_add(log, 5, 1, 1, err)); // its record is in a segment of its own
    segment_log_close(log);
    Saved after = save();
    assert_true(after.count > before.count);
    // Each byte of the last segment, with the mark of the commit before it.
    log = fixture_open_log();
    segment_log_close(log);
    fixture_empty_directory();
    restore(&after, after.lock);
    char path[128];
    fixture_segment(after.count, path);
    Str tail = after.segments[after.count - 1];
    for (size_t len = 0; len < tail.len; len++) {
        restore(&after, before.lock);
        fixture_write(path, (Str){tail.ptr, len});
        log = fixture_open_log();
        Checkpoint entries = {0};
        segment_log_entries(log, &entries);
        assert_true(str_is(checkpoint_get(&entries, STR("group"))->value, "4"));
        checkpoint_done(&entries);
        OK(group_add(log, 5, 1, LARGE, err));
        segment_log_close(log);
        log = fixture_open_log();
        assert_true(segment_log_range(log).last.lsn == 50);
        segment_log_close(log);
    }
    discard(&before);
    discard(&after);
}

// What is marked as durable is never cut off: each byte of it, cut or flipped, is named.
static void test_damage_is_named(void **state)
{
    SegmentLog *log = fixture_open_log();
    for (uint64_t group = 1; group <= 6; group++) {
        OK(group_add(log, group, 1, LARGE, err));
    }
    segment_log_close(log);
    Saved saved = save();
    char path[128];
    fixture_segment(1, path);
    Str whole = saved.segments[0];
    for (size_t at = 0; at < whole.len; at++) {
        restore(&saved, saved.lock);
        fixture_write(path, (Str){whole.ptr, at});
        FAILS(segment_log_open(log_directory, &log, err), ERROR_FATAL, path);
        FAILS(segment_log_open(log_directory, &log, err), ERROR_FATAL, "is damaged at byte ");
        restore(&saved, saved.lock);
        char *byte = (char *)(uintptr_t)whole.ptr + at;
        *byte = (char)(*byte ^ 1);
        fixture_write(path, whole);
        *byte = (char)(*byte ^ 1);
        FAILS(segment_log_open(log_directory, &log, err), ERROR_FATAL, path);
        FAILS(segment_log_open(log_directory, &log, err), ERROR_FATAL, "is damaged at byte ");
    }
    // Nothing was changed by the failures.
    restore(&saved, saved.lock);
    log = fixture_open_log();
    check_groups(log, 1, 6, 1);
    segment_log_close(log);
    discard(&saved);
}

// In segments that are not read at the start: found when they are.
static void test_damage_of_older_segments(void **state)
{
    SegmentLog *log = fixture_open_log();
    for (uint64_t group = 1; group <= 13; group++) {
        OK(group_add(log, group, 20, SMALL, err));
    }
    segment_log_close(log);
    Saved saved = save();
    assert_true(saved.count >= 3);
    char path[128];
    fixture_segment(2, path);
    Str whole = saved.segments[1];
    for (size_t at = 0; at < whole.len; at += 7) {
        restore(&saved, saved.lock);
        fixture_write(path, (Str){whole.ptr, at});
        FAILS(segment_log_open(log_directory, &log, err), ERROR_FATAL, path);
        restore(&saved, saved.lock);
        char *byte = (char *)(uintptr_t)whole.ptr + at;
        *byte = (char)(*byte ^ 0x40);
        fixture_write(path, whole);
        *byte = (char)(*byte ^ 0x40);
        Error error = {0};
        Status status = segment_log_open(log_directory, &log, &error);
        if (status == STATUS_OK) {
            Arena arena = {0};
            Record record;
            SegmentLogReader *reader;
            OK(segment_log_reader_open(log, (Position){0}, &reader, err));
            do {
                status = segment_log_next(reader, &arena, &record, &error);
            } while (status == STATUS_OK);
            assert_int_equal(segment_log_next(reader, &arena, &record, &error), STATUS_FAIL);
            segment_log_reader_close(reader);
            segment_log_close(log);
            arena_done(&arena);
        }
        assert_int_equal(status, STATUS_FAIL);
        assert_int_equal(error.kind, ERROR_FATAL);
        assert_non_null(strstr(error.message, path));
        assert_non_null(strstr(error.message, "at byte "));
    }
    discard(&saved);
}

static void test_missing_segments(void **state)
{
    char path[128];
    SegmentLog *log = fixture_open_log();
    for (uint64_t group = 1; group <= 13; group++) {
        OK(group_add(log, group, 20, SMALL, err));
    }
    segment_log_close(log);
    Saved saved = save();
    fixture_segment(2, path);
    assert_int_equal(unlink(path), 0);
    FAILS(segment_log_open(log_directory, &log, err), ERROR_FATAL, "2.log\" is missing");
    restore(&saved, saved.lock);
    fixture_segment(saved.count, path);
    assert_int_equal(unlink(path), 0);
    FAILS(segment_log_open(log_directory, &log, err), ERROR_FATAL, "is missing");
    for (size_t i = 1; i <= saved.count; i++) {
        fixture_segment(i, path);
        (void)unlink(path);
    }
    FAILS(segment_log_open(log_directory, &log, err), ERROR_FATAL, "is missing");
    // Of another log.
    fixture_empty_directory();
    log = fixture_open_log();
    for (uint64_t group = 1; group <= 13; group++) {
        OK(group_add(log, group, 20, SMALL, err));
    }
    segment_log_close(log);
    fixture_segment(2, path);
    fixture_write(path, saved.segments[1]);
    FAILS(segment_log_open(log_directory, &log, err), ERROR_FATAL, "of another log");
    discard(&saved);
}

// Whole and undamaged, but not where it was written.
static void test_moved_records(void **state)
{
    char path[128];
    uint64_t ends[3];
    SegmentLog *log = fixture_open_log();
    OK(group_commit(log, 1, err));
    for (uint64_t i = 0; i < 3; i++) {
        ends[i] = segment_log_range(log).bytes;
        OK(group_commit(log, i + 2, err));
    }
    segment_log_close(log);
    fixture_segment(1, path);
    Str whole = fixture_read(path);
    size_t len = (size_t)(ends[2] - ends[1]);
    assert_int_equal(len, ends[1] - ends[0]);
    char *bytes = (char *)(uintptr_t)whole.ptr;
    memcpy(bytes + ends[0], bytes + ends[1], len);
    fixture_write(path, whole);
    FAILS(segment_log_open(log_directory, &log, err), ERROR_FATAL, "does not fit its checksum");
    mem_free(bytes);
}

static void test_full_disk(void **state)
{
    SegmentLog *log = fixture_open_log();
    struct rlimit limit;
    (void)signal(SIGXFSZ, SIG_IGN);
    OK(group_add(log, 1, 1, LARGE, err));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit less = {.rlim_cur = 3000, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
    FAILS(group_add(log, 3, 90, LARGE, err), ERROR_CONFIG, "write to");
    OK(segment_log_rollback(log, err));
    OK(group_add(log, 2, 1, LARGE, err)); // there is room for this one
    FAILS(group_add(log, 3, 90, LARGE, err), ERROR_CONFIG, "write to");
    check_groups(log, 1, 2, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    OK(segment_log_rollback(log, err));
    OK(group_add(log, 3, 1, LARGE, err));
    check_groups(log, 1, 3, 1);
    segment_log_close(log);
    log = fixture_open_log();
    assert_int_equal(segment_log_cut(log), 0);
    check_groups(log, 1, 3, 1);
    segment_log_close(log);
}

// ---------------------------------------------------------------------------------------------
// Retention
// ---------------------------------------------------------------------------------------------

static void test_retention(void **state)
{
    const Str names[] = {STR("fast"), STR("slow")};
    SegmentLogBacklog backlog;
    SegmentLogReader *reader;
    SegmentLog *log = fixture_open_log();
    for (uint64_t group = 1; group <= 40; group++) {
        OK(group_add(log, group, 20, SMALL, err));
    }
    uint64_t all = segment_log_range(log).bytes;
    segment_log_passed(log, names[0], (Position){400, 0}); // nobody is expected yet
    assert_int_equal(segment_log_range(log).bytes, all);
    segment_log_expect(log, names, 2, 0);
    segment_log_passed(log, names[0], (Position){400, 0});
    assert_int_equal(segment_log_range(log).bytes, all); // the slow one has said nothing
    assert_true(segment_log_backlog(log, names[1], &backlog));
    assert_int_equal(backlog.bytes, all);
    assert_false(backlog.is_known);
    assert_true(segment_log_backlog(log, names[0], &backlog));
    assert_true(backlog.bytes == 0 && backlog.age_us == 0 && backlog.is_known);
    assert_false(segment_log_backlog(log, STR("nobody"), &backlog));

    uint64_t bytes = all;
    for (uint64_t group = 1; group <= 40; group++) {
        segment_log_passed(log, names[1], (Position){group * GROUP_LSN, 0});
        SegmentLogRange range = segment_log_range(log);
        assert_true(range.bytes <= bytes);
        bytes = range.bytes;
        check_groups(log, group + 1, 40, 20); // what it still needs is there
        assert_true(range.first.lsn <= group * GROUP_LSN);
    }
    assert_true(bytes < all / 4);
    FAILS(segment_log_reader_open(log, (Position){10, 0}, &reader, err), ERROR_CONFIG, "begins at");
    segment_log_close(log);

    log = fixture_open_log();
    check_groups(log, 41, 40, 20);
    assert_int_equal(segment_log_range(log).bytes, bytes);
    segment_log_close(log);
}

// A group over many segments that everybody has read is not kept because the last one is.
static void test_retention_of_a_large_group(void **state)
{
    const Str names[] = {STR("a")};
    SegmentLogReader *reader;
    SegmentLog *log = fixture_open_log();
    OK(group_add(log, 1, 1, SMALL, err));
    OK(group_write(log, 2, 90, SMALL, err));
    OK(group_add(log, 3, 90, SMALL, err)); // one commit for both
    segment_log_expect(log, names, 1, 0);
    segment_log_passed(log, names[0], (Position){GROUP_LSN, 0});
    assert_true(segment_log_range(log).first.lsn <= GROUP_LSN);
    segment_log_passed(log, names[0], (Position){3 * GROUP_LSN, 0});
    assert_true(segment_log_range(log).bytes < 10000);
    assert_true(segment_log_range(log).first.lsn == 3 * GROUP_LSN);
    FAILS(segment_log_reader_open(log, (Position){GROUP_LSN, 0}, &reader, err), ERROR_CONFIG,
          "begins at 0/1E:0, behind 0/A:0");
    OK(group_add(log, 4, 1, SMALL, err));
    OK(group_add(log, 5, 1, SMALL, err));
    check_groups(log, 4, 5, 1);
    segment_log_close(log);
    log = fixture_open_log();
    check_groups(log, 4, 5, 1);
    assert_true(segment_log_range(log).first.lsn == 5 * GROUP_LSN ||
                segment_log_range(log).first.lsn <= 4 * GROUP_LSN);
    segment_log_close(log);
}

static void test_backlog_and_giving_up(void **state)
{
    const Str names[] = {STR("slow")};
    SegmentLogBacklog backlog;
    SegmentLog *log = fixture_open_log();
    // Who tells how far it is before it is expected is not forgotten.
    OK(group_add(log, 1, 20, SMALL, err));
    segment_log_passed(log, names[0], (Position){GROUP_LSN, 0});
    assert_false(segment_log_backlog(log, names[0], &backlog));
    segment_log_expect(log, names, 1, 0);
    assert_true(segment_log_backlog(log, names[0], &backlog));
    assert_true(backlog.is_known);
    // Nothing happened for long: what comes then is new to everybody.
    segment_log_passed(log, names[0], (Position){GROUP_LSN, 0});
    (void)usleep(50000);
    int64_t began_us = clock_monotonic_us();
    OK(group_add(log, 2, 20, SMALL, err));
    assert_true(segment_log_backlog(log, names[0], &backlog));
    assert_true(backlog.bytes > 0 && backlog.age_us <= clock_monotonic_us() - began_us);
    for (uint64_t group = 3; group <= 20; group++) {
        OK(group_add(log, group, 20, SMALL, err));
        segment_log_passed(log, names[0], (Position){(group - 1) * GROUP_LSN, 0});
    }
    // Always behind by one group, but never for long.
    (void)usleep(50000);
    OK(group_add(log, 21, 20, SMALL, err));
    int64_t before_us = clock_monotonic_us();
    segment_log_passed(log, names[0], (Position){20 * GROUP_LSN, 0});
    assert_true(segment_log_backlog(log, names[0], &backlog));
    assert_true(backlog.is_known && backlog.bytes > 0);
    assert_true(backlog.age_us <= clock_monotonic_us() - before_us);
    (void)usleep(50000);
    assert_true(segment_log_backlog(log, names[0], &backlog));
    assert_true(backlog.age_us >= 50000);

    for (uint64_t group = 22; group <= 40; group++) {
        OK(group_add(log, group, 20, SMALL, err));
    }
    uint64_t bytes = segment_log_range(log).bytes;
    segment_log_give_up(log, names[0]);
    assert_true(segment_log_range(log).bytes < bytes / 2);
    assert_false(segment_log_backlog(log, names[0], &backlog));
    // What it needs is gone: it stays given up, until it begins anew.
    segment_log_passed(log, names[0], (Position){21 * GROUP_LSN, 0});
    assert_false(segment_log_backlog(log, names[0], &backlog));
    segment_log_passed(log, names[0], (Position){40 * GROUP_LSN, 0});
    assert_true(segment_log_backlog(log, names[0], &backlog));
    assert_int_equal(backlog.bytes, 0);
    segment_log_close(log);
}

// @last: how many groups there are when the readers begin to wait.
static void check_waiting_readers(uint64_t last)
{
    const Str names[] = {STR("a")};
    SegmentLogReader *begun;
    SegmentLogReader *waiting;
    fixture_empty_directory();
    SegmentLog *log = fixture_open_log();
    segment_log_expect(log, names, 1, 0);
    for (uint64_t group = 1; group <= last; group++) {
        OK(group_add(log, group, 20, SMALL, err));
    }
    Position end = {last * GROUP_LSN, 0};
    OK(segment_log_reader_open(log, end, &begun, err));
    OK(segment_log_reader_open(log, (Position){GROUP_LSN, 0}, &waiting, err));
    assert_int_equal(groups_read(waiting, 2, 20), last);
    segment_log_passed(log, names[0], end);
    for (uint64_t group = last + 1; group <= 40; group++) {
        OK(group_add(log, group, 20, SMALL, err));
        segment_log_passed(log, names[0], end); // nothing new, but time to drop something
    }
    assert_int_equal(groups_read(begun, last + 1, 20), 40);
    assert_int_equal(groups_read(waiting, last + 1, 20), 40);
    segment_log_reader_close(begun);
    segment_log_reader_close(waiting);
    segment_log_close(log);
}

// What has nothing for a reader that has just begun, or that waits at the end, may go under its
// feet.
static void test_retention_beside_readers_that_wait(void **state)
{
    for (uint64_t last = 2; last <= 12; last++) {
        check_waiting_readers(last);
    }
}

static void test_retention_keeps_for_replays_and_drops_a_route(void **state)
{
    const Str names[] = {STR("fast"), STR("dead")};
    SegmentLogReader *reader;
    Arena arena = {0};
    Record record;
    SegmentLog *log = fixture_open_log();
    for (uint64_t group = 1; group <= 40; group++) {
        OK(group_add(log, group, 20, SMALL, err));
    }
    uint64_t all = segment_log_range(log).bytes;
    OK(segment_log_reader_open(log, (Position){0}, &reader, err));
    segment_log_expect(log, names, 2, all / 2);
    segment_log_passed(log, names[0], (Position){400, 0});
    assert_int_equal(segment_log_range(log).bytes, all);
    segment_log_expect(log, names, 1, all / 2); // without the dead one
    uint64_t kept = segment_log_range(log).bytes;
    assert_true(kept >= all / 2 && kept < all * 3 / 4);
    segment_log_expect(log, names, 1, 2 * all);
    assert_int_equal(segment_log_range(log).bytes, kept);
    segment_log_expect(log, names, 1, 0);
    assert_true(segment_log_range(log).bytes < kept);
    // A reader that was there before is told, not left with a hole.
    FAILS(segment_log_next(reader, &arena, &record, err), ERROR_CONFIG, "has dropped its segment");
    segment_log_reader_close(reader);
    segment_log_close(log);
    arena_done(&arena);
}

// ---------------------------------------------------------------------------------------------
// Against a model
// ---------------------------------------------------------------------------------------------

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

typedef struct Model {
    SegmentLog *log;
    SegmentLogReader *readers[3];
    uint64_t read[3];   // group up to which each has read
    uint64_t passed[3]; // and told so
    uint64_t last;      // committed
    uint64_t seed;
} Model;

static const Str model_names[] = {{"a", 1}, {"b", 1}, {"c", 1}};

static void model_open(Model *model)
{
    model->log = fixture_open_log();
    assert_int_equal(segment_log_cut(model->log) == 0 || model->last > 0, true);
    segment_log_expect(model->log, model_names, 3, 0);
    for (size_t i = 0; i < 3; i++) {
        model->read[i] = model->passed[i];
        OK(segment_log_reader_open(model->log, (Position){model->passed[i] * GROUP_LSN, 0},
                                   &model->readers[i], err));
    }
}

static void model_close(Model *model)
{
    for (size_t i = 0; i < 3; i++) {
        segment_log_reader_close(model->readers[i]);
    }
    segment_log_close(model->log);
}

static void model_step(Model *model)
{
    size_t who = (size_t)(next_random(&model->seed) % 3);
    switch (next_random(&model->seed) % 8) {
    case 0: // reopen, with something that was not committed
        OK(group_write(model->log, model->last + 3, 20, SMALL, err));
        model_close(model);
        model_open(model);
        break;
    case 1: // roll back
        OK(group_write(model->log, model->last + 2, 20, SMALL, err));
        OK(segment_log_rollback(model->log, err));
        break;
    case 2:
    case 3: // a reader reads
        model->read[who] = groups_read(model->readers[who], model->read[who] + 1, 20);
        assert_true(model->read[who] == model->last);
        break;
    case 4: // and says so
        model->passed[who] = model->read[who];
        segment_log_passed(model->log, model_names[who],
                           (Position){model->passed[who] * GROUP_LSN, 0});
        break;
    default:
        OK(group_add(model->log, model->last + 1, 20, SMALL, err));
        model->last++;
    }
    uint64_t least = MIN(MIN(model->passed[0], model->passed[1]), model->passed[2]);
    assert_true(segment_log_range(model->log).first.lsn <= least * GROUP_LSN);
}

static void test_against_a_model(void **state)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        Model model = {.seed = seed * UINT64_C(0x9E3779B97F4A7C15)};
        fixture_empty_directory();
        model_open(&model);
        for (int i = 0; i < 120; i++) {
            model_step(&model);
        }
        uint64_t least = MIN(MIN(model.passed[0], model.passed[1]), model.passed[2]);
        check_groups(model.log, least + 1, model.last, 20);
        model_close(&model);
    }
}

// ---------------------------------------------------------------------------------------------
// Threads and processes
// ---------------------------------------------------------------------------------------------

enum { THREAD_GROUPS = 400, KILLS = 150 };

static void *read_all(void *argument)
{
    SegmentLog *log = argument;
    SegmentLogReader *reader;
    const Str name = STR("a");
    OK(segment_log_reader_open(log, (Position){0}, &reader, err));
    uint64_t group = 0;
    while (group < THREAD_GROUPS) {
        wake_wait(segment_log_reader_wake(reader), 1000);
        group = groups_read(reader, group + 1, 3);
        segment_log_passed(log, name, (Position){group * GROUP_LSN, 0});
    }
    segment_log_reader_close(reader);
    return NULL;
}

static void test_readers_beside_the_writer(void **state)
{
    const Str names[] = {STR("a"), STR("b")};
    pthread_t threads[3];
    SegmentLog *log = fixture_open_log();
    segment_log_expect(log, names, 2, 0); // "b" keeps all
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, log), 0);
    }
    for (uint64_t group = 1; group <= THREAD_GROUPS; group++) {
        OK(group_add(log, group, 3, SMALL, err));
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    segment_log_expect(log, names, 1, 0);
    check_groups(log, THREAD_GROUPS + 1, THREAD_GROUPS, 3);
    segment_log_close(log);
}

// A process that writes, is killed at any moment, and comes again: what it has told to be committed
// is there, and nothing is there twice.
static void write_until_killed(int told)
{
    SegmentLog *log;
    Error err = {0};
    if (segment_log_open(log_directory, &log, &err) != STATUS_OK) {
        _exit(3);
    }
    for (uint64_t group = segment_log_range(log).last.lsn / GROUP_LSN + 1;; group++) {
        if (group_add(log, group, 20, SMALL, &err) != STATUS_OK ||
            write(told, &group, sizeof(group)) != (ssize_t)sizeof(group)) {
            _exit(4);
        }
    }
}

static void test_killed_at_random(void **state)
{
    uint64_t seed = 42;
    uint64_t told = 0;
    uint64_t torn = 0;
    for (int i = 0; i < KILLS; i++) {
        uint64_t last = run_and_kill(write_until_killed, (unsigned)(next_random(&seed) % 6000));
        told = MAX(told, last);
        SegmentLog *log = fixture_open_log();
        torn += segment_log_cut(log) > 0;
        uint64_t found = segment_log_range(log).last.lsn / GROUP_LSN;
        assert_true(found >= told);
        told = found;
        segment_log_expect(log, model_names, 1, 0);
        uint64_t from = told > 50 ? told - 50 : 0;
        check_groups(log, from + 1, told, 20);
        segment_log_passed(log, model_names[0], (Position){from * GROUP_LSN, 0});
        segment_log_close(log);
    }
    printf("%d kills: %llu groups, %llu torn tails\n", KILLS, (unsigned long long)told,
           (unsigned long long)torn);
    // Unless it is so slow that it is always killed before it has come to something.
    assert_true((told > 100 && torn > 0) || getenv("WEIR_WRAPPER") != NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_writes_and_reads),
        TEST(test_begins_with_the_first_commit),
        TEST(test_remembers),
        TEST(test_is_one_in_a_process_and_locked_for_others),
        TEST(test_rolls_back),
        TEST(test_group_larger_than_a_segment),
        TEST(test_torn_tail),
        TEST(test_torn_new_segment),
        TEST(test_damage_is_named),
        TEST(test_damage_of_older_segments),
        TEST(test_missing_segments),
        TEST(test_moved_records),
        TEST(test_full_disk),
        TEST(test_retention),
        TEST(test_backlog_and_giving_up),
        TEST(test_retention_of_a_large_group),
        TEST(test_retention_beside_readers_that_wait),
        TEST(test_retention_keeps_for_replays_and_drops_a_route),
        TEST(test_against_a_model),
        TEST(test_readers_beside_the_writer),
        TEST(test_killed_at_random),
    };
    return cmocka_run_group_tests_name("segment_log", tests, NULL, NULL);
}
