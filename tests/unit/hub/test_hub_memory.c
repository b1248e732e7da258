// What a hub remembers: when it holds, and what a crash makes of it.
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder_fixture.h"
#include "hub/hub_memory.h"

static char path[64];
static HubMemory *memory;
static HubRecall *receiver;
static HubRecall *pusher;
static Error err;

static void start(int64_t keep_ms)
{
    memory = hub_memory_new(str_from(path), keep_ms);
    receiver = hub_recall_new(memory, STR("gateway"));
    pusher = hub_recall_new(memory, STR("gateway"));
}

static void stop(void)
{
    hub_recall_free(receiver);
    hub_recall_free(pusher);
    hub_memory_free(memory);
}

// As if the process had been killed, and the log ended with @end.
static void crash(Lsn end)
{
    stop();
    start(3600000);
    assert_int_equal(hub_memory_begin(memory, end, &err), STATUS_OK);
}

static int set_up(void **context)
{
    (void)context;
    new_path(path);
    start(3600000);
    return 0;
}

static int tear_down(void **context)
{
    (void)context;
    stop();
    return 0;
}

static void put(HubRecall *recall, const char *what, const char *value)
{
    hub_recall_put(recall, &(HubFact){.what = str_from(what), .value = str_from(value)});
}

static void save(HubRecall *recall, Lsn lsn)
{
    assert_int_equal(hub_recall_save(recall, lsn, &err), STATUS_OK);
}

static void assert_known(HubRecall *recall, const char *what, const char *value)
{
    Str got;
    assert_int_equal(hub_recall_get(recall, str_from(what), &arena, &got, &err), STATUS_OK);
    if (value == NULL) {
        assert_null(got.ptr);
    } else {
        assert_non_null(got.ptr);
        assert_string_equal(str_to_cstr(&arena, got), value);
    }
}

static void what_waits_is_known_to_its_writer_alone(void **context)
{
    (void)context;
    put(receiver, "name", "a");
    put(receiver, "name", "b");
    assert_known(receiver, "name", "b");
    assert_known(pusher, "name", NULL);
    save(receiver, 1);
    assert_known(receiver, "name", "b");
    assert_known(pusher, "name", "b");
    put(pusher, "name", NULL);
    assert_known(pusher, "name", NULL);
    save(pusher, LSN_NONE);
    assert_known(receiver, "name", NULL);
    put(receiver, "empty", "");
    save(receiver, 1);
    assert_known(receiver, "empty", "");
}

// Whoever has asked keeps it, whatever becomes of what waits.
static void what_waits_is_the_callers_once_it_is_got(void **context)
{
    (void)context;
    Str saved;
    Str undone;
    put(pusher, "link", "prod_1");
    assert_int_equal(hub_recall_get(pusher, STR("link"), &arena, &saved, &err), STATUS_OK);
    size_t mark = hub_recall_mark(pusher);
    put(pusher, "link", "prod_2");
    assert_int_equal(hub_recall_get(pusher, STR("link"), &arena, &undone, &err), STATUS_OK);
    hub_recall_undo(pusher, mark);
    save(pusher, LSN_NONE);
    for (int i = 0; i < 100; i++) {
        put(pusher, "other", "garbage in the same place");
    }
    assert_true(str_is(saved, "prod_1"));
    assert_true(str_is(undone, "prod_2"));
}

static void systems_are_apart(void **context)
{
    (void)context;
    HubRecall *other = hub_recall_new(memory, STR("other"));
    put(receiver, "name", "a");
    save(receiver, LSN_NONE);
    assert_known(other, "name", NULL);
    hub_recall_free(other);
}

static void what_waits_can_be_undone(void **context)
{
    (void)context;
    put(receiver, "name", "a");
    size_t mark = hub_recall_mark(receiver);
    put(receiver, "name", "b");
    put(receiver, "price", "1");
    put(receiver, "name", "c");
    hub_recall_undo(receiver, mark);
    assert_known(receiver, "name", "a");
    assert_known(receiver, "price", NULL);
    save(receiver, 1);
    assert_known(receiver, "name", "a");
    assert_known(receiver, "price", NULL);
}

// The log did not get that far: what was known before holds.
static void what_was_not_received_is_not_remembered(void **context)
{
    (void)context;
    put(pusher, "name", "pushed");
    save(pusher, LSN_NONE);
    put(receiver, "name", "received");
    put(receiver, "price", "1");
    save(receiver, 7);
    crash(7); // no transaction of the LSN 7 is in it
    assert_known(receiver, "name", "pushed");
    assert_known(receiver, "price", NULL);
    put(receiver, "name", "received");
    save(receiver, 7);
    crash(8);
    assert_known(receiver, "name", "received");
    put(receiver, "name", "later");
    save(receiver, 8);
    crash(8);
    assert_known(receiver, "name", "received");
}

static void what_was_pushed_is_remembered(void **context)
{
    (void)context;
    put(receiver, "name", "received");
    save(receiver, 7);
    put(pusher, "name", "pushed");
    save(pusher, LSN_NONE);
    crash(7);
    assert_known(receiver, "name", "pushed");
    put(receiver, "name", "again");
    save(receiver, 7);
    crash(8);
    assert_known(receiver, "name", "again");
}

// Whoever is next has the LSN that it was to have, whichever system that is of.
static void what_others_were_to_have_is_forgotten_with_it(void **context)
{
    (void)context;
    HubRecall *other = hub_recall_new(memory, STR("other"));
    put(receiver, "name", "received");
    save(receiver, 7);
    put(other, "name", "of another");
    save(other, 8);
    assert_int_equal(hub_memory_begin(memory, 8, &err), STATUS_OK);
    assert_known(receiver, "name", "received");
    assert_known(other, "name", NULL);
    assert_int_equal(hub_memory_begin(memory, 7, &err), STATUS_OK);
    assert_known(receiver, "name", NULL);
    hub_recall_free(other);
}

static void it_is_forgotten_after_a_while(void **context)
{
    (void)context;
    put(receiver, "name", "a");
    hub_recall_put(receiver,
                   &(HubFact){.what = STR("link"), .value = STR("prod_1"), .stays = true});
    save(receiver, 1);
    stop();
    start(500);
    (void)usleep(700000);
    assert_known(receiver, "name", NULL);
    assert_known(receiver, "link", "prod_1");
    put(receiver, "name", "b");
    save(receiver, 2);
    assert_known(receiver, "name", "b");
    stop();
    start(0);
    put(receiver, "name", "c");
    save(receiver, 2);
    (void)usleep(1000);
    assert_known(receiver, "name", NULL);
}

// How many facts the file has. It may not be open otherwise.
static int rows(void)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM fact", -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int count = sqlite3_column_int(statement, 0);
    (void)sqlite3_finalize(statement);
    (void)sqlite3_close(db);
    return count;
}

static void put_number(HubRecall *recall, const char *what, int number, Str value, Lsn until)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%s %d", what, number);
    hub_recall_put(recall, &(HubFact){.what = str_from(name),
                                      .value = value,
                                      .stays = until == LSN_NONE,
                                      .until = until});
}

static void it_stays_until_it_is_passed(void **context)
{
    (void)context;
    stop();
    start(0);
    hub_recall_put(pusher, &(HubFact){.what = STR("done"), .value = STR("1"), .until = 7});
    hub_recall_put(pusher, &(HubFact){.what = STR("next"), .value = STR("2"), .until = 8});
    save(pusher, LSN_NONE);
    (void)usleep(1000);
    crash(5);
    assert_known(pusher, "done", "1");
    hub_recall_pass(pusher, 7);
    put(pusher, "other", "x");
    save(pusher, LSN_NONE);
    assert_known(pusher, "done", "1");
    hub_recall_pass(pusher, 8);
    put(pusher, "other", "y");
    save(pusher, LSN_NONE);
    assert_known(pusher, "done", NULL);
    assert_known(pusher, "next", "2");
    assert_int_equal(rows(), 2);
}

// A save takes away what it made void, but not at the cost of all who wait for it.
static void what_is_passed_goes_bit_by_bit(void **context)
{
    (void)context;
    enum { COUNT = 2000 };
    for (int i = 0; i < COUNT; i++) {
        put_number(pusher, "done", i, STR("1"), 7);
    }
    save(pusher, LSN_NONE);
    hub_recall_pass(pusher, 8);
    int before = rows();
    assert_int_equal(before, COUNT);
    for (int i = 0; rows() > 1; i++) {
        put(pusher, "other", "x");
        save(pusher, LSN_NONE);
        assert_in_range(before - rows(), 1, 200);
        before = rows();
        assert_true(i < COUNT / 50);
    }
}

static void what_says_nothing_takes_no_room(void **context)
{
    (void)context;
    for (int i = 0; i < 300; i++) {
        put_number(pusher, "link", i, STR("prod"), LSN_NONE);
        save(pusher, LSN_NONE);
        put_number(pusher, "link", i, (Str){0}, LSN_NONE);
        save(pusher, LSN_NONE);
    }
    put(pusher, "other", "x");
    save(pusher, LSN_NONE);
    assert_int_equal(rows(), 1);
    assert_known(pusher, "link 0", NULL);
}

// What was known before may come back as long as the log is not there.
static void what_says_nothing_yet_makes_nothing_void(void **context)
{
    (void)context;
    hub_recall_put(pusher, &(HubFact){.what = STR("link"), .value = STR("prod_1"), .stays = true});
    save(pusher, LSN_NONE);
    hub_recall_put(pusher, &(HubFact){.what = STR("link"), .stays = true});
    save(pusher, 7);
    assert_known(pusher, "link", NULL);
    put(pusher, "other", "x");
    save(pusher, LSN_NONE);
    crash(7);
    assert_known(pusher, "link", "prod_1");
    hub_recall_put(pusher, &(HubFact){.what = STR("link"), .stays = true});
    save(pusher, 7);
    crash(8);
    put(pusher, "other", "y");
    save(pusher, LSN_NONE);
    assert_known(pusher, "link", NULL);
    assert_int_equal(rows(), 1);
}

// Files of before know what they knew.
static void an_older_file_is_read(void **context)
{
    (void)context;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db,
                     "CREATE TABLE fact (id INTEGER PRIMARY KEY, system TEXT, what BLOB,"
                     " value BLOB, writer TEXT, lsn INTEGER, at_us INTEGER);"
                     "INSERT INTO fact (system, what, value, writer, lsn, at_us) VALUES"
                     " (CAST('gateway' AS BLOB), CAST('link' AS BLOB), CAST('prod' AS BLOB),"
                     " CAST('to' AS BLOB), 0, 9223372036854775807)",
                     NULL, NULL, NULL),
        SQLITE_OK);
    (void)sqlite3_close(db);
    assert_known(pusher, "link", "prod");
    hub_recall_put(pusher, &(HubFact){.what = STR("done"), .value = STR("1"), .until = 7});
    save(pusher, LSN_NONE);
    assert_known(pusher, "done", "1");
}

static void its_file_is_for_its_owner_only(void **context)
{
    (void)context;
    struct stat info;
    mode_t was = umask(022);
    assert_int_equal(hub_memory_begin(memory, 1, &err), STATUS_OK);
    assert_int_equal(stat(path, &info), -1); // there is nothing to remember
    assert_known(receiver, "name", NULL);
    (void)umask(was);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void a_file_that_cannot_be_is_an_error(void **context)
{
    (void)context;
    HubMemory *none = hub_memory_new(STR("/nowhere/at/all"), 1000);
    HubRecall *recall = hub_recall_new(none, STR("a"));
    Str got;
    assert_int_equal(hub_recall_get(recall, STR("b"), &arena, &got, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_non_null(strstr(err.message, "/nowhere/at/all"));
    hub_recall_free(recall);
    hub_memory_free(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_others_were_to_have_is_forgotten_with_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_waits_is_known_to_its_writer_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_waits_is_the_callers_once_it_is_got, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(systems_are_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_waits_can_be_undone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_not_received_is_not_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_pushed_is_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_forgotten_after_a_while, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_stays_until_it_is_passed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_passed_goes_bit_by_bit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_says_nothing_takes_no_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_says_nothing_yet_makes_nothing_void, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_older_file_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(its_file_is_for_its_owner_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_is_an_error, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
