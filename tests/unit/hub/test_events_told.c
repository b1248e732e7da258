// Which events were told: when that counts, and what a crash makes of it.
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub/events_told.h"
#include "unit.h"

enum { NOW = 1700000000, DAY = 86400 };

static char directory[] = "/tmp/weir-test-told-XXXXXX";
static char path[128];
static EventsTold *told;
static Error err;

static void start_at(Lsn end, int64_t now_s)
{
    assert_int_equal(events_told_open(directory, end, NOW, now_s, &told, &err), STATUS_OK);
}

static int set_up(void **context)
{
    (void)context;
    start_at(100, NOW);
    return 0;
}

static int tear_down(void **context)
{
    (void)context;
    events_told_close(told);
    static const char *const endings[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof(path), "%s/events.db%s", directory, endings[i]);
        (void)unlink(path);
    }
    return 0;
}

// As if the process had been killed when everything before @end was durable.
static void crash(Lsn end)
{
    events_told_close(told);
    start_at(end, NOW);
}

static HubEvent event_of(const char *id, const char *object, int64_t created_s, ChangeOp op)
{
    return (HubEvent){.id = str_from(id),
                      .type = STR("product.updated"),
                      .location = STR("product"),
                      .object_id = str_from(object),
                      .created_s = created_s,
                      .op = op};
}

static void add(const char *id, const char *object, int64_t created_s, ChangeOp op, Lsn lsn)
{
    HubEvent event = event_of(id, object, created_s, op);
    assert_int_equal(events_told_add(told, &event, lsn, &err), STATUS_OK);
}

// Where it, or something newer, was told; 0: it is news.
static Lsn find(const char *id, const char *object, int64_t created_s, ChangeOp op)
{
    HubEvent event = event_of(id, object, created_s, op);
    Lsn lsn = 0;
    Status status = events_told_find(told, &event, &lsn, &err);
    assert_int_not_equal(status, STATUS_FAIL);
    return status == STATUS_OK ? lsn : 0;
}

static Lsn find_update(const char *id, const char *object, int64_t created_s)
{
    return find(id, object, created_s, CHANGE_UPDATE);
}

static Status save(void)
{
    return events_told_save(told, 1, NOW, &err);
}

static int64_t since(void)
{
    int64_t ret;
    assert_int_equal(events_told_since(told, NOW + 9 * DAY, &ret, &err), STATUS_OK);
    return ret;
}

static void an_event_is_told_once(void **context)
{
    (void)context;
    assert_int_equal(find_update("evt_1", "prod_1", NOW), 0);
    add("evt_1", "prod_1", NOW, CHANGE_UPDATE, 100);
    assert_int_equal(find_update("evt_1", "prod_1", NOW), 100);
    assert_int_equal(save(), STATUS_OK);
    crash(101);
    assert_int_equal(find_update("evt_1", "prod_1", NOW), 100);
    assert_int_equal(find_update("evt_2", "prod_1", NOW), 0);
    assert_int_equal(find_update("evt_2", "prod_2", NOW - 1), 0);
}

static void what_is_older_is_not_told(void **context)
{
    (void)context;
    add("evt_1", "prod_1", NOW, CHANGE_UPDATE, 100);
    add("evt_2", "prod_2", NOW + 9, CHANGE_UPDATE, 101);
    assert_int_equal(find_update("evt_3", "prod_1", NOW - 1), 100);
    assert_int_equal(find_update("evt_3", "prod_1", NOW + 1), 0);
    // Of the same second.
    assert_int_equal(find("evt_3", "prod_1", NOW, CHANGE_INSERT), 100);
    assert_int_equal(find("evt_3", "prod_1", NOW, CHANGE_UPDATE), 0);
    assert_int_equal(find("evt_3", "prod_1", NOW, CHANGE_DELETE), 0);
    add("evt_3", "prod_1", NOW, CHANGE_DELETE, 102);
    assert_int_equal(find("evt_4", "prod_1", NOW, CHANGE_UPDATE), 102);
    assert_int_equal(find("evt_4", "prod_1", NOW + 1, CHANGE_INSERT), 0);
}

// Not even when it was noted and its position is behind the end by one.
static void what_was_not_durable_was_not_told(void **context)
{
    (void)context;
    add("evt_1", "prod_1", NOW, CHANGE_UPDATE, 100);
    assert_int_equal(save(), STATUS_OK);
    add("evt_2", "prod_1", NOW + 1, CHANGE_UPDATE, 101);
    add("evt_3", "prod_1", NOW + 2, CHANGE_UPDATE, 102);
    assert_int_equal(save(), STATUS_OK);
    add("evt_4", "prod_1", NOW + 3, CHANGE_UPDATE, 103);
    crash(102);
    assert_int_equal(find_update("evt_4", "prod_1", NOW + 3), 0);
    assert_int_equal(find_update("evt_3", "prod_1", NOW + 2), 0);
    assert_int_equal(find_update("evt_2", "prod_1", NOW + 1), 101);
    assert_int_equal(find_update("evt_9", "prod_1", NOW), 101);
    crash(101);
    assert_int_equal(find_update("evt_2", "prod_1", NOW + 1), 0);
    assert_int_equal(find_update("evt_9", "prod_1", NOW), 0); // as old as the one before
}

// Customers may choose ids, and what has none is no object that others could be older than.
static void objects_are_told_apart(void **context)
{
    (void)context;
    add("evt_1", "gold", NOW, CHANGE_UPDATE, 100);
    HubEvent price = event_of("evt_2", "gold", NOW - 5, CHANGE_UPDATE);
    price.location = STR("price");
    Lsn lsn;
    assert_int_equal(events_told_find(told, &price, &lsn, &err), STATUS_AGAIN);
    add("evt_3", "", NOW, CHANGE_UPDATE, 101);
    assert_int_equal(find_update("evt_4", "", NOW - 5), 0);
    assert_int_equal(find_update("evt_3", "", NOW), 101);
}

// When an event was told.
static Lsn at(int64_t time_s)
{
    return (Lsn)time_s * 1000000;
}

static void what_nobody_asks_for_goes(void **context)
{
    (void)context;
    add("evt_1", "prod_1", NOW - 900 * DAY, CHANGE_UPDATE, at(NOW));
    add("evt_2", "prod_1", NOW - 900 * DAY, CHANGE_UPDATE, at(NOW) + 1);
    add("evt_3", "", NOW, CHANGE_UPDATE, at(NOW) + 2);
    assert_int_equal(save(), STATUS_OK);
    Lsn end = at(NOW) + 3;
    events_told_close(told);
    start_at(end, NOW + 30 * DAY); // whenever it happened: it was told not long ago
    assert_int_equal(find_update("evt_1", "prod_1", NOW - 900 * DAY), at(NOW));
    assert_int_equal(find_update("evt_3", "", NOW), end - 1);
    events_told_close(told);
    start_at(end, NOW + 32 * DAY);
    assert_int_equal(find_update("evt_3", "", NOW), 0);
    // The last of an object stays, so that those before it do not come back.
    assert_int_equal(find_update("evt_2", "prod_1", NOW - 900 * DAY), end - 2);
    assert_int_equal(find_update("evt_1", "prod_1", NOW - 901 * DAY), end - 2);
}

static int64_t count_events(void)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    (void)snprintf(path, sizeof(path), "%s/events.db", directory);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM event", -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t count = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    (void)sqlite3_close(db);
    return count;
}

// A hub that runs for a year, with ten events a day: half of them of three objects, the others of
// one that nobody says anything more of, or of none.
static void a_year_does_not_take_more_room_than_a_month(void **context)
{
    (void)context;
    int64_t most = 0;
    for (int day = 0; day < 365; day++) {
        int64_t now_s = NOW + (int64_t)day * DAY;
        for (int i = 0; i < 10; i++) {
            char id[32];
            char object[32];
            (void)snprintf(id, sizeof(id), "evt_%d_%d", day, i);
            (void)snprintf(object, sizeof(object), i == 1 ? "once_%d" : "often_%d",
                           i == 1 ? day : i % 3);
            add(id, i == 1 || i % 2 == 0 ? object : "", now_s, CHANGE_UPDATE, at(now_s) + (Lsn)i);
        }
        assert_int_equal(events_told_save(told, at(now_s), now_s, &err), STATUS_OK);
        int64_t stay = day + 1 + 3; // of what was told long ago, and more
        int64_t more = count_events() - stay;
        most = more > most ? more : most;
    }
    assert_in_range(most, 280, 300 + 365 / 3);
    assert_int_equal(find_update("evt_0_1", "once_0", NOW), at(NOW) + 1); // the last of its object
    assert_int_equal(find_update("evt_9", "often_0", NOW), at(NOW + 364 * DAY) + 6);
}

// What makes an old event void may itself be forgotten at the next start.
static void the_last_that_is_durable_stays(void **context)
{
    (void)context;
    Lsn later = at(NOW + 40 * DAY);
    add("evt_1", "prod_1", NOW, CHANGE_UPDATE, at(NOW));
    assert_int_equal(events_told_save(told, 1, NOW, &err), STATUS_OK);
    for (int i = 0; i < 3; i++) {
        char id[32];
        (void)snprintf(id, sizeof(id), "evt_1%d", i);
        add(id, "prod_1", NOW + 40 * DAY + i, CHANGE_UPDATE, later + (Lsn)i);
        assert_int_equal(events_told_save(told, later, NOW + 40 * DAY, &err), STATUS_OK);
    }
    crash(later);
    assert_int_equal(find_update("evt_9", "prod_1", NOW - 1), at(NOW));
}

static void a_list_begins_before_the_last_event(void **context)
{
    (void)context;
    assert_int_equal(since(), NOW); // never before the first start
    add("evt_1", "prod_1", NOW + 60, CHANGE_UPDATE, 100);
    assert_int_equal(since(), NOW);
    add("evt_2", "prod_1", NOW + DAY, CHANGE_UPDATE, 101);
    assert_int_equal(since(), NOW + DAY - 3600);
    assert_int_equal(save(), STATUS_OK);
    assert_int_equal(events_told_all_before(told, NOW + 2 * DAY, &err), STATUS_OK);
    assert_int_equal(since(), NOW + 2 * DAY - 3600);
    assert_int_equal(events_told_all_before(told, NOW + DAY, &err), STATUS_OK);
    crash(102);
    assert_int_equal(since(), NOW + 2 * DAY - 3600);
}

// An event of a clock that somebody has set: what happens until then would be missed.
static void an_event_of_the_future_says_nothing_of_now(void **context)
{
    (void)context;
    add("evt_1", "prod_1", NOW + DAY, CHANGE_UPDATE, 100);
    add("evt_2", "prod_2", NOW + 400 * DAY, CHANGE_UPDATE, 101);
    assert_int_equal(since(), NOW + DAY - 3600);
}

static void its_file_is_for_its_owner_only(void **context)
{
    (void)context;
    struct stat info;
    (void)snprintf(path, sizeof(path), "%s/events.db", directory);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

int main(void)
{
    if (mkdtemp(directory) == NULL) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_event_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_older_is_not_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_not_durable_was_not_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(objects_are_told_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_nobody_asks_for_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_year_does_not_take_more_room_than_a_month, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_last_that_is_durable_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(its_file_is_for_its_owner_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_list_begins_before_the_last_event, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_event_of_the_future_says_nothing_of_now, set_up,
                                        tear_down),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(directory);
    return failed;
}
