// A request to give up, and who waits for it.
#include <pthread.h>

#include "base/clock.h"
#include "io/cancel.h"
#include "unit.h"

enum { LONG_MS = 60000, SHORT_MS = 30 };

static void *set_it(void *cancel)
{
    cancel_set(cancel);
    return NULL;
}

static void a_wait_ends_when_it_is_set(void **state)
{
    (void)state;
    Cancel cancel;
    pthread_t thread;
    assert_int_equal(cancel_init(&cancel, NULL), STATUS_OK);
    int64_t began_ms = clock_monotonic_ms();
    cancel_wait(&cancel, SHORT_MS);
    assert_true(clock_monotonic_ms() - began_ms >= SHORT_MS - 1);
    assert_int_equal(pthread_create(&thread, NULL, set_it, &cancel), 0);
    cancel_wait(&cancel, LONG_MS);
    assert_true(cancel_is_set(&cancel));
    cancel_wait(&cancel, LONG_MS); // and it stays
    assert_true(clock_monotonic_ms() - began_ms < LONG_MS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    cancel_reset(&cancel);
    assert_false(cancel_is_set(&cancel));
    began_ms = clock_monotonic_ms();
    cancel_wait(&cancel, SHORT_MS);
    assert_true(clock_monotonic_ms() - began_ms >= SHORT_MS - 1);
    cancel_done(&cancel);
}

static void none_is_a_pause(void **state)
{
    (void)state;
    int64_t began_ms = clock_monotonic_ms();
    cancel_wait(NULL, SHORT_MS);
    assert_true(clock_monotonic_ms() - began_ms >= SHORT_MS - 1);
    assert_int_equal(cancel_fd(NULL), -1);
    assert_false(cancel_is_set(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_ends_when_it_is_set),
        cmocka_unit_test(none_is_a_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
