// The log when the system's calls fail, or take long.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "log_fixture.h"

enum { LARGE = 64 << 20, SMALL = 4096 };

// In the place of the C library's: removing takes long, and what syncs a directory is counted.
static atomic_int unlink_delay_us;
static atomic_int unlinks;
static atomic_bool unlink_fails;
static atomic_int syncs;

int unlink(const char *path)
{
    (void)usleep((useconds_t)atomic_load(&unlink_delay_us));
    if (atomic_load(&unlink_fails)) {
        errno = EBUSY;
        return -1;
    }
    (void)atomic_fetch_add(&unlinks, 1);
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int fsync(int fd)
{
    (void)atomic_fetch_add(&syncs, 1);
    return (int)syscall(SYS_fsync, fd);
}

static atomic_bool sync_fails;
static atomic_int data_syncs;

int fdatasync(int fd)
{
    if (atomic_load(&sync_fails)) {
        errno = EIO;
        return -1;
    }
    (void)atomic_fetch_add(&data_syncs, 1);
    return (int)syscall(SYS_fdatasync, fd);
}

// Nothing more is written, and the next start writes what may be in memory only once more.
static void test_failed_sync(void **state)
{
    Error error = {0};
    SegmentLog *log = fixture_open_log();
    OK(group_add(log, 1, 1, LARGE, err));
    atomic_store(&sync_fails, true);
    FAILS(group_add(log, 2, 1, LARGE, err), ERROR_FATAL, "sync \"");
    atomic_store(&sync_fails, false);
    assert_int_equal(segment_log_rollback(log, &error), STATUS_FAIL);
    assert_non_null(strstr(error.message, "could not be synced"));
    assert_non_null(strstr(error.hint, "start again"));
    check_groups(log, 1, 1, 1); // readers are told nothing of it
    segment_log_close(log);

    atomic_store(&sync_fails, true);
    FAILS(segment_log_open(log_directory, &log, err), ERROR_FATAL, "sync \"");
    atomic_store(&sync_fails, false);
    atomic_store(&data_syncs, 0);
    log = fixture_open_log();
    assert_int_equal(atomic_load(&data_syncs), 2); // written again, and what is cut off
    check_groups(log, 1, 2, 1);
    segment_log_close(log);
    atomic_store(&data_syncs, 0);
    log = fixture_open_log();
    assert_int_equal(atomic_load(&data_syncs), 1);
    segment_log_close(log);
}

static void test_too_large_a_change(void **state)
{
    Error error = {0};
    uint64_t segment;
    SegmentLog *log = fixture_open_log();
    OK(group_add(log, 1, 1, LARGE, err));
    OK(segment_log_begin(log, LARGE, &segment, err));
    Buf *out = segment_log_record(log);
    out->overflowed = true; // as by some GB
    assert_int_equal(segment_log_end(log, RECORD_CHANGES, (Position){20, 1}, &error), STATUS_FAIL);
    assert_int_equal(error.kind, ERROR_DATA);
    assert_non_null(strstr(error.message, log_directory));
    assert_non_null(strstr(error.hint, "column list"));
    OK(segment_log_rollback(log, err));
    OK(group_add(log, 2, 1, LARGE, err));
    check_groups(log, 1, 2, 1);
    segment_log_close(log);
}

static void *has_all(void *argument)
{
    segment_log_passed(argument, STR("late"), (Position){40 * GROUP_LSN, 0});
    return NULL;
}

// One that was away for long frees many files. Nobody waits for that meanwhile but itself, and what
// another one frees is taken along.
static void test_many_are_removed_beside_the_others(void **state)
{
    enum { DELAY_US = 20000, DELAY_MS = DELAY_US / 1000 };
    const Str names[] = {STR("late")};
    pthread_t thread;
    SegmentLog *log = fixture_open_log();
    for (uint64_t group = 1; group <= 40; group++) {
        OK(group_add(log, group, 20, SMALL, err));
    }
    segment_log_expect(log, names, 1, 0);
    char path[128];
    fixture_segment(1, path);
    atomic_store(&unlink_fails, true); // it is tried again, and nothing behind it goes before
    segment_log_passed(log, names[0], (Position){10 * GROUP_LSN, 0});
    atomic_store(&unlink_fails, false);
    assert_int_equal(access(path, F_OK), 0);
    atomic_store(&unlinks, 0);
    atomic_store(&syncs, 0);
    atomic_store(&unlink_delay_us, DELAY_US);
    int64_t began_ms = clock_monotonic_ms();
    assert_int_equal(pthread_create(&thread, NULL, has_all, log), 0);
    while (atomic_load(&unlinks) < 2) {
        (void)usleep(1000);
    }
    int64_t asked_ms = clock_monotonic_ms();
    (void)segment_log_range(log);
    OK(group_add(log, 41, 1, LARGE, err));
    int64_t answered_ms = clock_monotonic_ms();
    int before = atomic_load(&unlinks);
    segment_log_passed(log, names[0], (Position){41 * GROUP_LSN, 0});
    assert_int_equal(pthread_join(thread, NULL), 0);
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    atomic_store(&unlink_delay_us, 0);
    int all = atomic_load(&unlinks);
    assert_true(all >= 10 && took_ms >= (int64_t)all * DELAY_MS);
    assert_true(before < all && answered_ms - asked_ms < took_ms / 2);
    assert_int_equal(atomic_load(&syncs), 1);
    assert_int_not_equal(access(path, F_OK), 0);
    fixture_segment((uint64_t)all, path);
    assert_int_not_equal(access(path, F_OK), 0);
    fixture_segment((uint64_t)all + 1, path);
    assert_int_equal(access(path, F_OK), 0);
    segment_log_close(log);
    log = fixture_open_log();
    check_groups(log, 41, 41, 1);
    segment_log_close(log);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_failed_sync),
        TEST(test_too_large_a_change),
        TEST(test_many_are_removed_beside_the_others),
    };
    return cmocka_run_group_tests_name("segment_calls", tests, NULL, NULL);
}
