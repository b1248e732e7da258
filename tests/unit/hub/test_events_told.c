// Which events were told: when that counts, and what a crash makes of it.
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
    assert_int_equal(events_told_save(told, &err), STATUS_OK);
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
    assert_int_equal(events_told_save(told, &err), STATUS_OK);
    add("evt_2", "prod_1", NOW + 1, CHANGE_UPDATE, 101);
    add("evt_3", "prod_1", NOW + 2, CHANGE_UPDATE, 102);
    assert_int_equal(events_told_save(told, &err), STATUS_OK);
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

static void what_nobody_asks_for_goes(void **context)
{
    (void)context;
    add("evt_1", "prod_1", NOW, CHANGE_UPDATE, 100);
    add("evt_2", "prod_1", NOW + 1, CHANGE_UPDATE, 101);
    add("evt_3", "", NOW, CHANGE_UPDATE, 102);
    assert_int_equal(events_told_save(told, &err), STATUS_OK);
    events_told_close(told);
    start_at(103, NOW + 32 * DAY);
    assert_int_equal(find_update("evt_3", "", NOW), 0);
    // The last of an object stays, so that those before it do not come back.
    assert_int_equal(find_update("evt_2", "prod_1", NOW + 1), 101);
    assert_int_equal(find_update("evt_1", "prod_1", NOW), 101);
}

static void a_list_begins_before_the_last_event(void **context)
{
    (void)context;
    assert_int_equal(since(), NOW); // never before the first start
    add("evt_1", "prod_1", NOW + 60, CHANGE_UPDATE, 100);
    assert_int_equal(since(), NOW);
    add("evt_2", "prod_1", NOW + DAY, CHANGE_UPDATE, 101);
    assert_int_equal(since(), NOW + DAY - 3600);
    assert_int_equal(events_told_save(told, &err), STATUS_OK);
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
        cmocka_unit_test_setup_teardown(its_file_is_for_its_owner_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_list_begins_before_the_last_event, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_event_of_the_future_says_nothing_of_now, set_up,
                                        tear_down),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(directory);
    return failed;
}
