// Where a source with several routes continues.
#include "pipeline/merge.h"
#include "unit.h"

enum { ROUTES = 3 };

typedef struct Fixture {
    Checkpoint stored[ROUTES];
    StoredRoute routes[ROUTES];
    Checkpoint merged;
    Error error;
} Fixture;

static int setup(void **state)
{
    static Fixture fixture;
    static const char *const names[ROUTES] = {"p.a", "p.b", "p.c"};
    fixture = (Fixture){0};
    for (size_t i = 0; i < ROUTES; i++) {
        fixture.routes[i] = (StoredRoute){str_from(names[i]), &fixture.stored[i]};
    }
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    for (size_t i = 0; i < ROUTES; i++) {
        checkpoint_done(&f->stored[i]);
    }
    checkpoint_done(&f->merged);
    return 0;
}

static void put(Fixture *f, size_t route, const char *key, const char *value)
{
    checkpoint_set(&f->stored[route], str_from(key), str_from(value));
}

static Status merge(Fixture *f)
{
    return checkpoint_merge(f->routes, ROUTES, &f->merged, &f->error);
}

static void assert_merged(const Fixture *f, const char *key, const char *expected)
{
    const CheckpointEntry *entry = checkpoint_get(&f->merged, str_from(key));
    if (expected == NULL) {
        assert_null(entry);
        return;
    }
    assert_non_null(entry);
    assert_true(str_is(entry->value, expected));
}

static void nothing_stored_is_a_first_start(void **state)
{
    Fixture *f = *state;
    put(f, 1, "sink:length", "7");
    assert_int_equal(merge(f), STATUS_OK);
    assert_int_equal(f->merged.count, 0);
}

static void the_slowest_decides(void **state)
{
    Fixture *f = *state;
    put(f, 0, "position", "0/30:0");
    put(f, 1, "position", "0/20:0");
    put(f, 2, "position", "0/100:0");
    assert_int_equal(merge(f), STATUS_OK);
    assert_merged(f, "position", "0/20:0");
    Position furthest;
    assert_int_equal(checkpoint_furthest(&f->merged, &furthest, &f->error), STATUS_OK);
    assert_true(furthest.lsn == 0x100);
    assert_int_equal(checkpoint_furthest(&f->stored[1], &furthest, &f->error), STATUS_OK);
    assert_true(furthest.lsn == 0x20); // one that was not merged
}

static void a_new_route_does_not_hold_back(void **state)
{
    Fixture *f = *state;
    put(f, 0, "position", "0/30:0");
    put(f, 0, "table:1", "x");
    assert_int_equal(merge(f), STATUS_OK);
    assert_merged(f, "position", "0/30:0");
    assert_merged(f, "table:1", "x");
}

// A table that one of them does not know is to be told.
static void only_what_all_know(void **state)
{
    Fixture *f = *state;
    put(f, 0, "position", "0/20:0");
    put(f, 0, "table:1", "x");
    put(f, 0, "table:2", "y");
    put(f, 1, "position", "0/30:0");
    put(f, 1, "table:2", "other");
    assert_int_equal(merge(f), STATUS_OK);
    assert_merged(f, "table:1", NULL);
    assert_merged(f, "table:2", "y");
}

static void two_sources_are_refused(void **state)
{
    Fixture *f = *state;
    put(f, 0, "position", "0/20:0");
    put(f, 0, "source", "one");
    put(f, 2, "position", "0/30:0");
    put(f, 2, "source", "another");
    assert_int_equal(merge(f), STATUS_FAIL);
    assert_int_equal(f->error.kind, ERROR_CONFIG);
    assert_non_null(strstr(f->error.message, "\"p.a\" and \"p.c\""));
}

static void two_publications_are_refused(void **state)
{
    Fixture *f = *state;
    put(f, 0, "position", "0/20:0");
    put(f, 0, "source", "one");
    put(f, 0, "publication", "16390 16391");
    put(f, 2, "position", "0/30:0");
    put(f, 2, "source", "one");
    put(f, 2, "publication", "16390");
    assert_int_equal(merge(f), STATUS_FAIL);
    assert_int_equal(f->error.kind, ERROR_CONFIG);
    assert_non_null(strstr(f->error.message, "\"p.a\" and \"p.c\""));
    assert_non_null(strstr(f->error.message, "publications"));
}

// A crash came between the two when it had another name; the other one was filled by an earlier
// version, which did not say it.
static void a_publication_that_is_renamed_is_told_to_all(void **state)
{
    Fixture *f = *state;
    put(f, 0, "position", "0/20:0");
    put(f, 0, "publication", "16390");
    put(f, 0, "publication_name", "was");
    put(f, 1, "position", "0/30:0");
    put(f, 1, "publication", "16390");
    put(f, 1, "publication_name", "is");
    assert_int_equal(merge(f), STATUS_OK);
    assert_merged(f, "publication", "16390");
    assert_merged(f, "publication_name", NULL);
    checkpoint_reset(&f->merged);
    put(f, 2, "position", "0/30:0");
    assert_int_equal(merge(f), STATUS_OK);
    assert_merged(f, "publication", NULL);
}

static void a_damaged_position_is_fatal(void **state)
{
    Fixture *f = *state;
    put(f, 1, "position", "here");
    assert_int_equal(merge(f), STATUS_FAIL);
    assert_int_equal(f->error.kind, ERROR_FATAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_stored_is_a_first_start, setup, teardown),
        cmocka_unit_test_setup_teardown(the_slowest_decides, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_route_does_not_hold_back, setup, teardown),
        cmocka_unit_test_setup_teardown(only_what_all_know, setup, teardown),
        cmocka_unit_test_setup_teardown(two_sources_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(two_publications_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_publication_that_is_renamed_is_told_to_all, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_damaged_position_is_fatal, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
