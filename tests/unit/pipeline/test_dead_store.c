// The store of dead letters, by two who have it open, as a pipeline and a command have.
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pipeline/dead_store.h"
#include "unit.h"

typedef struct Fixture {
    char directory[64];
    DeadStore *store;
    Arena arena;
    Error error;
} Fixture;

// The connection that was opened last: what holds for one connection only can be asked there.
static sqlite3 *opened;

static int note_opened(sqlite3 *db, char **ret_message, const void *api)
{
    (void)ret_message;
    (void)api;
    opened = db;
    return SQLITE_OK;
}

static int set_up(void **state)
{
    static Fixture fixture;
    fixture = (Fixture){.directory = "/tmp/weir-test-letters-XXXXXX"};
    *state = &fixture;
    return mkdtemp(fixture.directory) == NULL ||
           dead_store_open(fixture.directory, true, &fixture.store, &fixture.error) != STATUS_OK;
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    dead_store_close(f->store);
    arena_done(&f->arena);
    static const char *const names[] = {"dead.db", "dead.db-wal", "dead.db-shm"};
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", f->directory, names[i]);
        (void)unlink(path);
    }
    return rmdir(f->directory);
}

static int64_t add(Fixture *f, Lsn lsn, uint64_t ordinal, bool is_refused)
{
    DeadLetter letter = {
        .position = {lsn, ordinal},
        .oid = UINT32_MAX,
        .schema = STR("public"),
        .name = STR("it's a \"table\""),
        .op = CHANGE_UPDATE,
        .is_refused = is_refused,
        .happened_us = 1,
        .kept_us = 2,
        .tried_us = 3,
        .tries = is_refused ? 1 : 0,
        .error = is_refused ? STR("too long") : STR(""),
        .old_key = {"a\0b", 3},
        .new_key = {"", 0},
        .record = {"\0\xff", 2},
    };
    assert_int_equal(dead_store_add(f->store, &letter, &f->error), STATUS_OK);
    return letter.id;
}

static void save(Fixture *f)
{
    assert_int_equal(dead_store_save(f->store, &f->error), STATUS_OK);
}

static DeadLetters list(Fixture *f, DeadStore *store)
{
    DeadLetters letters;
    assert_int_equal(dead_store_list(store, &f->arena, &letters, &f->error), STATUS_OK);
    return letters;
}

static DeadStore *open_another(Fixture *f)
{
    DeadStore *other;
    assert_int_equal(dead_store_open(f->directory, false, &other, &f->error), STATUS_OK);
    assert_non_null(other);
    return other;
}

static void assert_bytes(Str found, const char *bytes, size_t len)
{
    assert_int_equal(found.len, len);
    assert_memory_equal(found.ptr, bytes, len);
}

static void a_letter_comes_back_as_it_was(void **state)
{
    Fixture *f = *state;
    DeadLetter letter;
    bool found;
    int64_t id = add(f, UINT64_C(0x7fffffffffffffff), 7, true);
    save(f);
    assert_int_equal(dead_store_get(f->store, id, &f->arena, &letter, &found, &f->error),
                     STATUS_OK);
    assert_true(found);
    assert_true(letter.id == id && letter.oid == UINT32_MAX && letter.op == CHANGE_UPDATE);
    assert_true(letter.position.lsn == UINT64_C(0x7fffffffffffffff));
    assert_true(letter.position.ordinal == 7 && letter.is_refused && !letter.wants_retry);
    assert_true(letter.happened_us == 1 && letter.kept_us == 2 && letter.tried_us == 3);
    assert_int_equal(letter.tries, 1);
    assert_bytes(letter.schema, "public", 6);
    assert_bytes(letter.name, "it's a \"table\"", 14);
    assert_bytes(letter.error, "too long", 8);
    assert_bytes(letter.old_key, "a\0b", 3);
    assert_bytes(letter.record, "\0\xff", 2);
    assert_int_equal(letter.new_key.len, 0);
    assert_int_equal(dead_store_get(f->store, id + 1, &f->arena, &letter, &found, &f->error),
                     STATUS_OK);
    assert_false(found);
}

static void they_are_listed_in_the_order_of_their_changes(void **state)
{
    Fixture *f = *state;
    (void)add(f, 30, 1, true);
    (void)add(f, 20, 10, false);
    (void)add(f, 20, 9, true);
    DeadLetters letters = list(f, f->store); // also what is not saved yet
    assert_int_equal(letters.count, 3);
    assert_true(letters.items[0].position.ordinal == 9 && letters.items[0].record.len == 0);
    assert_true(letters.items[1].position.ordinal == 10 && letters.items[2].position.lsn == 30);
}

static void what_is_not_saved_is_nobody_elses_and_goes(void **state)
{
    Fixture *f = *state;
    bool found;
    int64_t first = add(f, 10, 1, true);
    save(f);
    (void)add(f, 10, 2, true);
    assert_int_equal(dead_store_remove(f->store, first, &found, &f->error), STATUS_OK);
    assert_true(found);
    DeadStore *other = open_another(f);
    assert_int_equal(list(f, other).count, 1);
    dead_store_close(f->store);
    f->store = other;
    DeadLetters letters = list(f, f->store);
    assert_int_equal(letters.count, 1);
    assert_int_equal(letters.items[0].id, first);
}

static void a_change_is_no_letter_twice(void **state)
{
    Fixture *f = *state;
    (void)add(f, 10, 1, true);
    DeadLetter again = {.position = {10, 1}, .op = CHANGE_INSERT};
    assert_int_equal(dead_store_add(f->store, &again, &f->error), STATUS_FAIL);
    assert_non_null(strstr(f->error.message, "dead.db"));
}

static void ids_are_never_given_again(void **state)
{
    Fixture *f = *state;
    bool found;
    int64_t id = add(f, 10, 1, true);
    assert_int_equal(dead_store_remove(f->store, id, &found, &f->error), STATUS_OK);
    save(f);
    assert_true(add(f, 10, 1, true) > id);
    assert_int_equal(dead_store_remove(f->store, id, &found, &f->error), STATUS_OK);
    assert_false(found);
}

static void only_what_was_refused_can_be_asked_for(void **state)
{
    Fixture *f = *state;
    bool found;
    int64_t refused = add(f, 10, 1, true);
    int64_t waits = add(f, 10, 2, false);
    assert_int_equal(dead_store_retry(f->store, waits, &found, &f->error), STATUS_OK);
    assert_false(found);
    assert_int_equal(dead_store_retry(f->store, refused, &found, &f->error), STATUS_OK);
    assert_true(found);
    assert_true(list(f, f->store).items[0].wants_retry);
    assert_int_equal(dead_store_refused(f->store, refused, STR("still"), 99, &f->error), STATUS_OK);
    DeadLetters letters = list(f, f->store);
    assert_false(letters.items[0].wants_retry);
    assert_true(letters.items[0].tries == 2 && letters.items[0].tried_us == 99);
    assert_bytes(letters.items[0].error, "still", 5);
    // One that waited was tried, and has a reason of its own now.
    assert_int_equal(dead_store_refused(f->store, waits, STR("too"), 99, &f->error), STATUS_OK);
    assert_true(list(f, f->store).items[1].is_refused);
}

static void what_another_writes_is_noticed(void **state)
{
    Fixture *f = *state;
    bool has_changed;
    bool found;
    int64_t id = add(f, 10, 1, true);
    save(f);
    assert_int_equal(dead_store_has_changed(f->store, &has_changed, &f->error), STATUS_OK);
    assert_true(has_changed); // it was never asked
    assert_int_equal(dead_store_has_changed(f->store, &has_changed, &f->error), STATUS_OK);
    assert_false(has_changed);
    DeadStore *other = open_another(f);
    assert_int_equal(dead_store_retry(other, id, &found, &f->error), STATUS_OK);
    assert_int_equal(dead_store_save(other, &f->error), STATUS_OK);
    dead_store_close(other);
    assert_int_equal(dead_store_has_changed(f->store, &has_changed, &f->error), STATUS_OK);
    assert_true(has_changed);
    save(f); // nothing: there is no transaction
}

static void one_that_is_not_there_is_made_only_when_asked(void **state)
{
    Fixture *f = *state;
    DeadStore *store;
    assert_true(dead_store_is_there(f->directory));
    assert_false(dead_store_is_there("/nowhere"));
    assert_int_equal(dead_store_open("/nowhere", false, &store, &f->error), STATUS_OK);
    assert_null(store);
    assert_int_equal(dead_store_open("/nowhere", true, &store, &f->error), STATUS_FAIL);
    assert_non_null(strstr(f->error.message, "/nowhere/dead.db"));
}

static int64_t pragma(const char *sql)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(opened, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    return value;
}

// Less than FULL does not sync the log at each commit: letters would be lost by a power cut, and
// the target's position is behind them by then.
static void a_commit_is_synced(void **state)
{
    Fixture *f = *state;
    enum { FULL = 2 };
    assert_int_equal(sqlite3_auto_extension((void (*)(void))note_opened), SQLITE_OK);
    DeadStore *other = open_another(f);
    sqlite3_reset_auto_extension();
    assert_non_null(opened);
    assert_int_equal(pragma("PRAGMA synchronous"), FULL);
    dead_store_close(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_letter_comes_back_as_it_was),
        TEST(they_are_listed_in_the_order_of_their_changes),
        TEST(what_is_not_saved_is_nobody_elses_and_goes),
        TEST(a_change_is_no_letter_twice),
        TEST(ids_are_never_given_again),
        TEST(only_what_was_refused_can_be_asked_for),
        TEST(what_another_writes_is_noticed),
        TEST(one_that_is_not_there_is_made_only_when_asked),
        TEST(a_commit_is_synced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
