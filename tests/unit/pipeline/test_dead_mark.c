// Whether a store of dead letters can be the one that the target's checkpoint means.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/dead_mark.h"
#include "unit.h"

static Status read_entry(const char *text, DeadSaid *ret, Error *err)
{
    Checkpoint stored = {0};
    if (text != NULL) {
        checkpoint_set(&stored, CHECKPOINT_DEAD_STORE, str_from(text));
    }
    Status status = dead_said_read(&stored, ret, err);
    checkpoint_done(&stored);
    return status;
}

static void what_is_said_comes_back(void **context)
{
    (void)context;
    Error err = {0};
    Checkpoint changed = {0};
    const DeadSaid said = {UINT64_MAX, INT64_MAX - 1, 10000};
    DeadSaid again;
    dead_said_write(&said, &changed);
    assert_int_equal(dead_said_read(&changed, &again, &err), STATUS_OK);
    assert_true(dead_said_is_same(&said, &again));
    again.changes--;
    assert_false(dead_said_is_same(&said, &again));
    checkpoint_done(&changed);
    assert_int_equal(read_entry(NULL, &again, &err), STATUS_OK);
    assert_int_equal(again.identity, 0);
    assert_int_equal(dead_said_read(NULL, &again, &err), STATUS_OK);
    assert_int_equal(again.identity, 0);
}

static void a_damaged_entry_is_told(void **context)
{
    (void)context;
    static const char *const entries[] = {"",       "7",      "7:1",
                                          "7:1:",   "7:1:2:", "7:1:2:3",
                                          "0:1:2",  "-7:1:2", "7:x:2",
                                          "7:1:y",  " 7:1:2", "7::2",
                                          "7:-1:2", "7:1:-2", "7:9223372036854775807:2"};
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        DeadSaid said;
        Error err = {0};
        assert_int_equal(read_entry(entries[i], &said, &err), STATUS_FAIL);
        assert_int_equal(err.kind, ERROR_FATAL);
    }
}

// What is said against it; "" when nothing is.
static const char *verdict(const DeadSaid *said, const DeadMark *mark)
{
    static Error err;
    err = (Error){0};
    Status status = dead_said_check(said, "/states/shop", mark, &err);
    assert_int_equal(status == STATUS_OK, err.message[0] == '\0');
    if (status != STATUS_OK) {
        assert_int_equal(err.kind, ERROR_CONFIG);
        assert_non_null(strstr(err.message, "\"/states/shop/dead.db\""));
        assert_non_null(strstr(err.hint, "weir dead reset shop --state /states goes on"));
    }
    return err.message;
}

static void one_that_is_as_new_is_taken(void **context)
{
    (void)context;
    const DeadSaid said = {7, 5, 2};
    assert_string_equal(verdict(&said, &(DeadMark){7, 5, false, true}), "");
    assert_string_equal(verdict(&said, &(DeadMark){7, 6, false, false}), ""); // they were dropped
    assert_string_equal(verdict(&said, &(DeadMark){0, 0, true, false}), "");  // reset by hand
}

static void where_nothing_is_said_any_is_taken(void **context)
{
    (void)context;
    const DeadSaid nothing = {0};
    assert_string_equal(verdict(&nothing, NULL), "");
    assert_string_equal(verdict(&nothing, &(DeadMark){0}), "");
    assert_string_equal(verdict(&nothing, &(DeadMark){0, 0, false, true}), "");
    assert_string_equal(verdict(&nothing, &(DeadMark){7, 5, false, true}), "");
}

static void one_without_letters_may_be_lost(void **context)
{
    (void)context;
    const DeadSaid said = {7, 5, 0};
    assert_string_equal(verdict(&said, NULL), "");
    assert_string_equal(verdict(&said, &(DeadMark){0}), "");
}

static void others_are_refused(void **context)
{
    (void)context;
    const DeadSaid said = {7, 5, 2};
    assert_non_null(strstr(verdict(&said, NULL), "there were 2, and"));
    assert_non_null(strstr(verdict(&said, NULL), "is not there"));
    assert_non_null(strstr(verdict(&said, &(DeadMark){0}), "is empty"));
    assert_non_null(strstr(verdict(&said, &(DeadMark){8, 5, false, true}), "not this target's"));
    // One of a version before.
    assert_non_null(strstr(verdict(&said, &(DeadMark){0, 0, false, true}), "not this target's"));
    assert_non_null(
        strstr(verdict(&said, &(DeadMark){7, 4, false, true}), "older than the target"));
}

// ---------------------------------------------------------------------------------------------
// The store
// ---------------------------------------------------------------------------------------------

static char directory[] = "/tmp/weir-test-mark-XXXXXX";

static int setup(void **context)
{
    (void)context;
    memset(directory + strlen(directory) - 6, 'X', 6);
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static int teardown(void **context)
{
    (void)context;
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/dead.db", directory);
    (void)unlink(path);
    return rmdir(directory);
}

static DeadStore *open_store(void)
{
    Error err = {0};
    DeadStore *store;
    assert_int_equal(dead_store_open(directory, true, &store, &err), STATUS_OK);
    return store;
}

// As the store says itself, and as it looks to others.
static DeadMark mark_of(DeadStore *store)
{
    Error err = {0};
    DeadMark mark;
    DeadMark seen;
    bool is_there;
    assert_int_equal(dead_store_mark(store, &mark, &err), STATUS_OK);
    assert_int_equal(dead_store_look(directory, &is_there, &seen, &err), STATUS_OK);
    assert_true(is_there);
    assert_int_equal(mark.identity, seen.identity);
    assert_int_equal(mark.changes, seen.changes);
    assert_int_equal(mark.is_reset, seen.is_reset);
    assert_int_equal(mark.has_letters, seen.has_letters);
    return mark;
}

static void add_letter(DeadStore *store, Lsn lsn)
{
    Error err = {0};
    DeadLetter letter = {.position = {lsn, 1}, .is_refused = true};
    assert_int_equal(dead_store_add(store, &letter, &err), STATUS_OK);
}

static void save(DeadStore *store)
{
    Error err = {0};
    assert_int_equal(dead_store_save(store, &err), STATUS_OK);
}

static void looking_makes_no_store(void **context)
{
    (void)context;
    Error err = {0};
    DeadMark mark;
    bool is_there = true;
    assert_int_equal(dead_store_look(directory, &is_there, &mark, &err), STATUS_OK);
    assert_false(is_there);
    assert_false(dead_store_is_there(directory));
}

static void each_transaction_counts(void **context)
{
    (void)context;
    Error err = {0};
    bool is_there;
    DeadStore *store = open_store();
    assert_int_equal(mark_of(store).identity, 0);
    assert_int_equal(dead_store_name(store, 7, 40, &err), STATUS_OK);
    add_letter(store, 1);
    add_letter(store, 2);
    save(store);
    DeadMark mark = mark_of(store);
    assert_true(mark.identity == 7 && mark.changes == 40 && mark.has_letters && !mark.is_reset);
    save(store); // of nothing
    assert_int_equal(mark_of(store).changes, 40);
    assert_int_equal(dead_store_retry(store, 1, &is_there, &err), STATUS_OK);
    save(store);
    assert_int_equal(mark_of(store).changes, 41);
    assert_int_equal(dead_store_remove(store, 1, &is_there, &err), STATUS_OK);
    assert_int_equal(dead_store_refused(store, 2, STR("no"), 1, &err), STATUS_OK);
    save(store);
    assert_int_equal(mark_of(store).changes, 42);
    assert_int_equal(dead_store_remove(store, 2, &is_there, &err), STATUS_OK);
    dead_store_close(store); // not saved
    store = open_store();
    mark = mark_of(store);
    assert_true(mark.identity == 7 && mark.changes == 42 && mark.has_letters);
    dead_store_close(store);
}

static void a_reset_throws_all_away(void **context)
{
    (void)context;
    Error err = {0};
    int64_t letters;
    DeadStore *store = open_store();
    assert_int_equal(dead_store_name(store, 0, 1, &err), STATUS_OK);
    add_letter(store, 1);
    add_letter(store, 2);
    save(store);
    assert_int_not_equal(mark_of(store).identity, 0);
    assert_int_equal(dead_store_reset(store, &letters, &err), STATUS_OK);
    save(store);
    assert_int_equal(letters, 2);
    DeadMark mark = mark_of(store);
    assert_true(mark.identity == 0 && mark.is_reset && !mark.has_letters);
    assert_int_equal(dead_store_name(store, 7, 3, &err), STATUS_OK);
    save(store);
    mark = mark_of(store);
    assert_true(mark.identity == 7 && mark.changes == 3 && !mark.is_reset);
    dead_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_said_comes_back),
        cmocka_unit_test(a_damaged_entry_is_told),
        cmocka_unit_test(one_that_is_as_new_is_taken),
        cmocka_unit_test(where_nothing_is_said_any_is_taken),
        cmocka_unit_test(one_without_letters_may_be_lost),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test_setup_teardown(looking_makes_no_store, setup, teardown),
        cmocka_unit_test_setup_teardown(each_transaction_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reset_throws_all_away, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
