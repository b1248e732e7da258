// When to warn of the WAL that a slot holds.
#include "control/wal_guard.h"
#include "unit.h"

#define MB ((int64_t)1 << 20)
#define GB ((int64_t)1 << 30)

static WalGuard guard;
static int64_t now_ms;

static void begin(int64_t warning_bytes)
{
    wal_guard_init(&guard, warning_bytes);
    now_ms = 1000;
}

// The server's WAL ends at @head.
static WalFigures figures(int64_t head, int64_t retained, int64_t safe)
{
    return (WalFigures){.now_ms = now_ms,
                        .head = (uint64_t)head,
                        .retained_from = (uint64_t)(head - retained),
                        .safe_bytes = safe};
}

static WalVerdict look(int64_t head, int64_t retained, int64_t safe)
{
    WalFigures now = figures(head, retained, safe);
    now_ms += 2000;
    return wal_guard_look(&guard, &now);
}

static void rates(void **context)
{
    (void)context;
    begin(0);
    (void)look(100 * GB, MB, -1);
    assert_true(guard.written_per_second < 0);
    for (int i = 1; i <= 20; i++) {
        (void)look(100 * GB + i * 20 * MB, MB + i * 12 * MB, -1); // 10 MB/s written, 4 freed
    }
    assert_true(guard.written_per_second > 9.9 * (double)MB &&
                guard.written_per_second < 10.1 * (double)MB);
    assert_true(guard.freed_per_second > 3.9 * (double)MB &&
                guard.freed_per_second < 4.1 * (double)MB);
}

static void time_left(void **context)
{
    (void)context;
    begin(0);
    WalFigures now = figures(GB, 0, 600 * MB);
    assert_int_equal(wal_left_ms(&guard, &now), -1);
    guard.written_per_second = (double)(10 * MB);
    guard.freed_per_second = (double)(4 * MB);
    assert_int_equal(wal_left_ms(&guard, &now), 100000);
    guard.freed_per_second = (double)(10 * MB); // it keeps up
    assert_int_equal(wal_left_ms(&guard, &now), -1);
    now.safe_bytes = -1; // there is no limit
    guard.freed_per_second = 0;
    assert_int_equal(wal_left_ms(&guard, &now), -1);
    now.safe_bytes = 0;
    assert_int_equal(wal_left_ms(&guard, &now), 0);
    now.safe_bytes = INT64_MAX;
    guard.written_per_second = 1.5;
    assert_int_equal(wal_left_ms(&guard, &now), -1);
}

// Without a limit: at the threshold, and at each doubling; over when it is clearly below.
static void much_is_held(void **context)
{
    (void)context;
    begin(10 * GB);
    assert_int_equal(look(100 * GB, 9 * GB, -1), WAL_NOTHING_NEW);
    assert_int_equal(look(101 * GB, 10 * GB, -1), WAL_MUCH_HELD);
    assert_int_equal(look(102 * GB, 11 * GB, -1), WAL_NOTHING_NEW);
    assert_int_equal(look(111 * GB, 20 * GB, -1), WAL_MUCH_HELD);
    assert_int_equal(look(130 * GB, 39 * GB, -1), WAL_NOTHING_NEW);
    assert_int_equal(look(131 * GB, 40 * GB, -1), WAL_MUCH_HELD);
    for (int i = 0; i < 20; i++) { // around the threshold it is not over
        assert_int_equal(look(131 * GB, 9 * GB, -1), WAL_NOTHING_NEW);
    }
    int over = 0;
    for (int i = 0; i < 20; i++) {
        WalVerdict verdict = look(131 * GB, GB, -1);
        assert_true(i > 3 || verdict == WAL_NOTHING_NEW); // it has to last
        over += verdict == WAL_OVER;
    }
    assert_int_equal(over, 1);
    assert_int_equal(look(141 * GB, 10 * GB, -1), WAL_MUCH_HELD);
}

static void no_threshold(void **context)
{
    (void)context;
    begin(0);
    assert_int_equal(look(1000 * GB, 900 * GB, -1), WAL_NOTHING_NEW);
}

// With a limit: once for each step to the worse, whatever the rate.
static void comes_near_the_limit(void **context)
{
    (void)context;
    begin(10 * GB);
    assert_int_equal(look(GB, 10 * MB, 54 * MB), WAL_NOTHING_NEW);
    assert_int_equal(look(GB, 48 * MB, 16 * MB), WAL_MAY_BE_LOST);
    assert_int_equal(look(GB, 50 * MB, 14 * MB), WAL_NOTHING_NEW);
    assert_int_equal(look(GB, 61 * MB, 3 * MB), WAL_NEARLY_LOST);
    assert_int_equal(look(GB, 62 * MB, 0), WAL_NOTHING_NEW);
    WalFigures lost = {.now_ms = now_ms, .head = (uint64_t)GB, .safe_bytes = -1, .is_lost = true};
    assert_int_equal(wal_guard_look(&guard, &lost), WAL_LOST);
    assert_int_equal(wal_guard_look(&guard, &lost), WAL_NOTHING_NEW);
}

// Without a limit, and with a disk whose size is known.
static void the_disk_is_the_limit(void **context)
{
    (void)context;
    begin(0);
    WalFigures now = figures(100 * GB, 48 * MB, -1);
    wal_figures_limit(&now, 0);
    assert_true(now.safe_bytes == -1 && !now.is_disk);
    wal_figures_limit(&now, 64 * MB);
    assert_true(now.safe_bytes == 16 * MB && now.is_disk);
    assert_int_equal(wal_guard_look(&guard, &now), WAL_MAY_BE_LOST);
    assert_string_equal(wal_verdict_name(WAL_MAY_BE_LOST, now.is_disk), "disk_may_fill");
    guard.written_per_second = (double)MB;
    guard.freed_per_second = 0;
    assert_int_equal(wal_left_ms(&guard, &now), 16000);
    now = figures(100 * GB, 65 * MB, -1);
    wal_figures_limit(&now, 64 * MB);
    assert_true(now.safe_bytes == 0);
    assert_int_equal(wal_guard_look(&guard, &now), WAL_NEARLY_LOST);
    now = figures(100 * GB, 48 * MB, 5 * MB); // the server's own limit comes first
    wal_figures_limit(&now, 64 * MB);
    assert_true(now.safe_bytes == 5 * MB && !now.is_disk);
    now = figures(100 * GB, 48 * MB, GB); // or it is beyond what the disk has
    wal_figures_limit(&now, 64 * MB);
    assert_true(now.safe_bytes == 16 * MB && now.is_disk);
}

static void gets_better(void **context)
{
    (void)context;
    begin(10 * GB);
    assert_int_equal(look(GB, 50 * MB, 14 * MB), WAL_MAY_BE_LOST);
    int over = 0;
    for (int i = 0; i < 20; i++) {
        over += look(GB, 0, 64 * MB) == WAL_OVER;
    }
    assert_int_equal(over, 1);
    assert_int_equal(look(GB, 50 * MB, 14 * MB), WAL_MAY_BE_LOST); // it is said again
}

// A busy server with a slot that keeps up: nothing is held, however fast it writes.
static void busy_and_well(void **context)
{
    (void)context;
    begin(10 * GB);
    for (int i = 1; i < 100; i++) {
        assert_int_equal(look(GB + i * 100 * MB, 10 * MB, 900 * MB), WAL_NOTHING_NEW);
    }
    assert_int_equal(wal_left_ms(&guard, &(WalFigures){.safe_bytes = GB}), -1);
}

// Held up for a moment on a busy server: little time would be left, but next to nothing is held.
static void held_up_for_a_moment(void **context)
{
    (void)context;
    begin(0);
    int64_t held = 10 * MB;
    for (; held < 250 * MB; held += 40 * MB) { // 20 MB a second
        assert_int_equal(look(GB + held, held, 1000 * MB - held), WAL_NOTHING_NEW);
    }
    WalFigures now = figures(GB + held, held, 1000 * MB - held);
    assert_in_range(wal_left_ms(&guard, &now), 1, 60000);
    assert_int_not_equal(look(GB + held, held, 1000 * MB - held), WAL_NOTHING_NEW);
}

// Half an hour is left at this rate: before a quarter of the room is.
static void runs_out_of_time(void **context)
{
    (void)context;
    begin(0);
    WalVerdict worst = WAL_NOTHING_NEW;
    for (int i = 0; i < 10; i++) { // 50 MB a second
        WalVerdict verdict =
            look(1000 * GB + i * 100 * MB, 40 * GB + i * 100 * MB, 90 * GB - i * 100 * MB);
        worst = verdict > worst ? verdict : worst;
    }
    assert_int_equal(worst, WAL_MAY_BE_LOST);
}

static void server_says_so(void **context)
{
    (void)context;
    begin(0);
    WalFigures now = figures(GB, 100 * MB, -1);
    now.is_unreserved = true;
    assert_int_equal(wal_guard_look(&guard, &now), WAL_NEARLY_LOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),
        cmocka_unit_test(time_left),
        cmocka_unit_test(much_is_held),
        cmocka_unit_test(no_threshold),
        cmocka_unit_test(comes_near_the_limit),
        cmocka_unit_test(the_disk_is_the_limit),
        cmocka_unit_test(gets_better),
        cmocka_unit_test(busy_and_well),
        cmocka_unit_test(held_up_for_a_moment),
        cmocka_unit_test(runs_out_of_time),
        cmocka_unit_test(server_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
