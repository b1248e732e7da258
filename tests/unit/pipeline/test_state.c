// The local state: whose it is, and that looking leaves no trace.
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pipeline/state.h"
#include "unit.h"

typedef struct Fixture {
    char directory[64];
    StateOwner owner;
    Error error;
} Fixture;

static int setup(void **state)
{
    static Fixture fixture;
    fixture = (Fixture){.directory = "/tmp/weir-test-state-XXXXXX"};
    assert_non_null(mkdtemp(fixture.directory));
    fixture.owner = (StateOwner){str_from(fixture.directory), STR("p"), STR("sink")};
    *state = &fixture;
    return 0;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info, (void)type, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    Fixture *f = *state;
    return nftw(f->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static bool is_owned(Fixture *f, Checkpoint *checkpoint)
{
    bool owned = false;
    assert_int_equal(state_look(&f->owner, &owned, checkpoint, &f->error), STATUS_OK);
    return owned;
}

static void looking_makes_nothing(void **state)
{
    Fixture *f = *state;
    char path[128];
    assert_false(is_owned(f, NULL));
    (void)snprintf(path, sizeof(path), "%s/p", f->directory);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_start_that_stored_nothing_owns_nothing(void **state)
{
    Fixture *f = *state;
    State *opened;
    assert_int_equal(state_open(&f->owner, &opened, &f->error), STATUS_OK);
    state_close(opened);
    assert_false(is_owned(f, NULL));
    f->owner.sink_id = STR("another sink");
    assert_int_equal(state_open(&f->owner, &opened, &f->error), STATUS_OK);
    state_close(opened);
}

static void one_that_did_does(void **state)
{
    Fixture *f = *state;
    State *opened;
    Checkpoint stored = {0};
    assert_int_equal(state_open(&f->owner, &opened, &f->error), STATUS_OK);
    assert_int_equal(state_own(opened, &f->error), STATUS_OK);
    checkpoint_set(&stored, STR("position"), STR("0/20:0"));
    assert_int_equal(state_save(opened, &stored, &f->error), STATUS_OK);
    checkpoint_reset(&stored);
    assert_true(is_owned(f, &stored)); // also while it runs
    assert_true(str_is(checkpoint_get(&stored, STR("position"))->value, "0/20:0"));
    state_close(opened);
    f->owner.sink_id = STR("another sink");
    bool owned;
    assert_int_equal(state_look(&f->owner, &owned, NULL, &f->error), STATUS_FAIL);
    assert_int_equal(f->error.kind, ERROR_CONFIG);
    assert_int_equal(state_open(&f->owner, &opened, &f->error), STATUS_FAIL);
    assert_non_null(strstr(f->error.message, "its sink is \"sink\", not \"another sink\""));
    checkpoint_done(&stored);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(looking_makes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_start_that_stored_nothing_owns_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_did_does, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
