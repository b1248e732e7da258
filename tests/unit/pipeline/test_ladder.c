// How far behind a position is, in time.
#include "pipeline/ladder.h"
#include "unit.h"

static int64_t behind(Lsn at, const LadderStage *stages, size_t count, int64_t now_us)
{
    return ladder_behind_us(at, stages, count, now_us);
}

// The head of the source, seen at 100, 200 and 300.
static Timeline heads(void)
{
    Timeline timeline = {0};
    timeline_begin(&timeline, 1000);
    timeline_add(&timeline, 1100, 200);
    timeline_add(&timeline, 1200, 300);
    return timeline;
}

static void first_thing_that_is_lacking(void **context)
{
    (void)context;
    Timeline head = heads();
    LadderStage stages[] = {{&head, 1200}};
    assert_int_equal(behind(1000, stages, 1, 1000), 800);
    assert_int_equal(behind(1050, stages, 1, 1000), 800);
    assert_int_equal(behind(1100, stages, 1, 1000), 700);
    assert_int_equal(behind(1199, stages, 1, 1000), 700);
}

static void nothing_is_lacking(void **context)
{
    (void)context;
    Timeline head = heads();
    LadderStage stages[] = {{&head, 1200}};
    assert_int_equal(behind(1200, stages, 1, 1000), 0);
    assert_int_equal(behind(1300, stages, 1, 1000000), 0);
    assert_int_equal(behind(1200, stages, 1, INT64_MAX), 0);
    assert_int_equal(behind(0, stages, 0, 1000), 0);
    Timeline nothing = {0};
    LadderStage empty[] = {{&nothing, LSN_NONE}};
    assert_int_equal(behind(50, empty, 1, 1000), 0);
}

static void clocks_that_differ(void **context)
{
    (void)context;
    Timeline head = heads();
    LadderStage stages[] = {{&head, 1200}};
    assert_int_equal(behind(1000, stages, 1, 50), 0);
}

// All changes that came are durable at 1040; the positions behind them had nothing of interest.
static void changes_that_are_not_of_interest(void **context)
{
    (void)context;
    Timeline head = heads();
    Timeline changes = {0};
    timeline_begin(&changes, 1000);
    timeline_add(&changes, 1040, 150);
    LadderStage all[] = {{&changes, 1200}, {&head, 1200}};
    assert_int_equal(behind(1040, all, 2, 1000), 0);
    assert_int_equal(behind(1039, all, 2, 1000), 850);
    LadderStage some[] = {{&changes, 1150}, {&head, 1200}};
    assert_int_equal(behind(1040, some, 2, 1000), 700);
}

// The commit times say it, where the head was not watched yet.
static void before_it_was_watched(void **context)
{
    (void)context;
    Timeline head = {0};
    timeline_begin(&head, 5000);
    timeline_add(&head, 5001, 9000);
    Timeline changes = {0};
    timeline_begin(&changes, 1000);
    LadderStage stages[] = {{&changes, 1000}, {&head, 5001}};
    assert_int_equal(behind(1000, stages, 2, 9500), 500); // nothing has come: at least so much
    timeline_add(&changes, 1100, 2000);
    stages[0].reached = 1100;
    assert_int_equal(behind(1100, stages, 2, 9500), 7500);
    assert_int_equal(behind(1000, stages, 2, 9500), 7500);
    stages[0].reached = 5000; // from here on it was watched
    assert_int_equal(behind(1100, stages, 2, 9500), 500);
    stages[0].reached = 5001;
    assert_int_equal(behind(1100, stages, 2, 9500), 0);
}

static void what_comes_again(void **context)
{
    (void)context;
    Timeline timeline = heads();
    timeline_add(&timeline, 1100, 900);
    timeline_add(&timeline, 1200, 900);
    timeline_begin(&timeline, 1150);
    LadderStage stages[] = {{&timeline, 1200}};
    assert_int_equal(behind(1000, stages, 1, 1000), 800);
    assert_true(timeline_end(&timeline) == 1200);
}

// However long it runs: never too young, and exact for what was just seen.
static void long_timelines(void **context)
{
    (void)context;
    Timeline timeline = {0};
    timeline_begin(&timeline, 1);
    const Lsn last = 100000;
    for (Lsn lsn = 2; lsn <= last; lsn++) {
        timeline_add(&timeline, lsn, (int64_t)lsn);
    }
    LadderStage stages[] = {{&timeline, last}};
    int64_t now = (int64_t)last + 10;
    for (Lsn at = 1; at < last; at++) {
        int64_t exact = now - (int64_t)at - 1;
        int64_t said = behind(at, stages, 1, now);
        assert_true(said >= exact);
        assert_true(said <= exact + exact / 8);
        assert_true(at + 10 < last || said == exact);
    }
    assert_true(timeline.count <= TIMELINE_MAX);
}

// All of one moment: there is nothing to tell them apart by.
static void one_moment(void **context)
{
    (void)context;
    Timeline timeline = {0};
    for (Lsn lsn = 1; lsn <= 10000; lsn++) {
        timeline_add(&timeline, lsn, 5);
    }
    LadderStage stages[] = {{&timeline, 10000}};
    assert_int_equal(behind(9999, stages, 1, 7), 2);
    assert_int_equal(behind(0, stages, 1, 7), 2);
    assert_int_equal(behind(10000, stages, 1, 7), 0);
    assert_true(timeline.count <= TIMELINE_MAX);
}

// Nothing can be joined without saying too much: then it is said of what is oldest, too.
static void times_that_go_back(void **context)
{
    (void)context;
    Timeline timeline = {0};
    for (Lsn lsn = 1; lsn <= 5 * (Lsn)TIMELINE_MAX; lsn++) {
        timeline_add(&timeline, lsn, -(int64_t)(lsn * lsn));
    }
    assert_true(timeline.count <= TIMELINE_MAX);
    assert_true(timeline_end(&timeline) == 5 * (Lsn)TIMELINE_MAX);
}

static void bytes(void **context)
{
    (void)context;
    assert_int_equal(ladder_behind_bytes(10, 30), 20);
    assert_int_equal(ladder_behind_bytes(30, 10), 0);
    assert_int_equal(ladder_behind_bytes(30, LSN_NONE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_thing_that_is_lacking),
        cmocka_unit_test(nothing_is_lacking),
        cmocka_unit_test(clocks_that_differ),
        cmocka_unit_test(changes_that_are_not_of_interest),
        cmocka_unit_test(before_it_was_watched),
        cmocka_unit_test(what_comes_again),
        cmocka_unit_test(long_timelines),
        cmocka_unit_test(one_moment),
        cmocka_unit_test(times_that_go_back),
        cmocka_unit_test(bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
