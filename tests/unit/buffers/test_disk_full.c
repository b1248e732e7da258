// The disk buffer when its readers are behind.
#include <pthread.h>

#include "base/clock.h"
#include "disk_fixture.h"

static Status fill_up(Sink *sink, uint64_t first, uint64_t last, uint64_t *ret_next, Error *err)
{
    for (uint64_t n = first; n <= last; n++) {
        *ret_next = n;
        if (tx_write(sink, n, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        commit(sink, (Position){n * TX_LSN + 50, 0});
    }
    *ret_next = last + 1;
    return STATUS_OK;
}

static void test_full_buffer_pauses(void **state)
{
    Checkpoint stored = {0};
    uint64_t next = 1;
    sink_max_size = "200kB";
    Sink *sink = open_sink(&stored);
    commit(sink, (Position){10, 0});
    Source *source = open_source("0/A:0");
    FAILS(fill_up(sink, 1, 10000, &next, err), ERROR_TRANSIENT, "the buffer waits for \"r\"");
    assert_true(next > 200);
    sink_free(sink); // what the runner does then, and again
    sink = open_sink(&stored);
    FAILS(fill_up(sink, next, 10000, &next, err), ERROR_TRANSIENT, "the buffer waits for \"r\"");
    Seen seen = {.next = 1};
    see_all(source, &seen);
    assert_int_equal(seen.next, next);
    source->ops->confirm(source, (Position){(next - 1) * TX_LSN + 50, 0});
    sink_free(sink);
    sink = open_sink(&stored);
    OK(fill_up(sink, next, next + 10, &next, err));
    see_all(source, &seen);
    assert_int_equal(seen.next, next);
    source_free(source);
    sink_free(sink);
    checkpoint_done(&stored);
}

static void test_full_buffer_drops_a_route(void **state)
{
    Checkpoint stored = {0};
    uint64_t next = 1;
    sink_max_size = "200kB";
    sink_full = "drop-route";
    Sink *sink = open_sink(&stored);
    commit(sink, (Position){10, 0});
    // It is only starting: what it has is not known.
    FAILS(fill_up(sink, 1, 10000, &next, err), ERROR_TRANSIENT, "the buffer waits for \"r\"");
    assert_string_equal(noticed, "");
    sink_free(sink);
    sink = open_sink(&stored);
    Source *source = open_source("0/A:0");
    OK(fill_up(sink, next, next + 1, &next, err));
    assert_non_null(strstr(noticed, "keeps nothing more for \"r\""));
    Batch *batch;
    Error error = {0};
    Status status;
    while ((status = source->ops->poll(source, 0, -1, &batch, &error)) == STATUS_OK) {
        batch_unref(batch);
    }
    assert_int_equal(status, STATUS_FAIL);
    assert_int_equal(error.kind, ERROR_CONFIG);
    source_free(source);
    // Filled anew it is a reader like any other.
    noticed[0] = '\0';
    char position[POSITION_TEXT_SIZE];
    position_format((Position){(next - 1) * TX_LSN + 50, 0}, position);
    source = open_source(position);
    OK(fill_up(sink, next, next + 100, &next, err));
    assert_non_null(strstr(noticed, "\"r\" has caught up"));
    Seen seen = {.next = next - 101};
    see_all(source, &seen);
    assert_int_equal(seen.next, next);
    source_free(source);
    sink_free(sink);
    checkpoint_done(&stored);
}

static void *catch_up(void *argument)
{
    SegmentLog *log = argument;
    (void)usleep(300000);
    segment_log_passed(log, STR("r"), segment_log_range(log).last);
    return NULL;
}

// A burst is no trouble, whatever is to be done about readers that are too far behind.
static void test_full_buffer_has_patience(void **state)
{
    Checkpoint stored = {0};
    SegmentLog *log;
    uint64_t next = 1;
    pthread_t thread;
    sink_max_size = "200kB";
    sink_full = "drop-route";
    sink_patience = "10s";
    Sink *sink = open_sink(&stored);
    OK(segment_log_open(log_directory, &log, err));
    commit(sink, (Position){10, 0});
    segment_log_passed(log, STR("r"), (Position){10, 0});
    FAILS(fill_up(sink, 1, 10000, &next, err), ERROR_TRANSIENT, "the buffer waits for \"r\"");
    sink_free(sink);
    sink = open_sink(&stored);
    assert_int_equal(pthread_create(&thread, NULL, catch_up, log), 0);
    OK(fill_up(sink, next, next + 10, &next, err));
    (void)pthread_join(thread, NULL);
    assert_string_equal(noticed, "");
    cancel_set(&cancel);
    FAILS(fill_up(sink, next, next + 10000, &next, err), ERROR_CANCELLED, "cancelled");
    segment_log_close(log);
    sink_free(sink);
    checkpoint_done(&stored);
}

static int waits_begun;
static int waits_ended;
static char waits_why[256];

static void note_wait(void *context, const Error *why)
{
    (void)context;
    waits_begun += why != NULL;
    waits_ended += why == NULL;
    if (why != NULL) {
        (void)snprintf(waits_why, sizeof(waits_why), "%.200s", why->message);
    }
}

static void *catch_up_late(void *argument)
{
    (void)usleep(2500000);
    return catch_up(argument);
}

static void *cancel_late(void *argument)
{
    (void)usleep(1500000);
    cancel_set(&cancel);
    return argument;
}

// However long it takes: said once, and over as soon as the reader has caught up.
static void test_full_buffer_goes_on_at_once(void **state)
{
    Checkpoint stored = {0};
    SegmentLog *log;
    uint64_t next = 1;
    pthread_t thread;
    sink_max_size = "200kB";
    sink_waits = note_wait;
    Sink *sink = open_sink(&stored);
    OK(segment_log_open(log_directory, &log, err));
    commit(sink, (Position){10, 0});
    segment_log_passed(log, STR("r"), (Position){10, 0});
    sink->context.wait_ms = 1; // so that it is full
    FAILS(fill_up(sink, 1, 10000, &next, err), ERROR_TRANSIENT, "the buffer waits for \"r\"");
    sink->context.wait_ms = 0;
    assert_int_equal(pthread_create(&thread, NULL, catch_up_late, log), 0);
    int64_t began_ms = clock_monotonic_ms();
    OK(fill_up(sink, next, next + 10, &next, err));
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    (void)pthread_join(thread, NULL);
    assert_true(took_ms >= 2800 && took_ms < 2800 + 900);
    assert_int_equal(waits_begun, 1);
    assert_int_equal(waits_ended, 1);
    assert_non_null(strstr(waits_why, "the buffer waits for \"r\""));
    assert_non_null(strstr(noticed, "has room again"));
    sink->context.wait_ms = 1;
    FAILS(fill_up(sink, next, 10000, &next, err), ERROR_TRANSIENT, "the buffer waits for \"r\"");
    sink->context.wait_ms = 0;
    assert_int_equal(pthread_create(&thread, NULL, cancel_late, NULL), 0);
    began_ms = clock_monotonic_ms();
    FAILS(fill_up(sink, next, 10000, &next, err), ERROR_CANCELLED, "cancelled");
    took_ms = clock_monotonic_ms() - began_ms;
    (void)pthread_join(thread, NULL);
    assert_true(took_ms >= 1500 && took_ms < 1500 + 900);
    assert_int_equal(waits_ended, 2);
    segment_log_close(log);
    sink_free(sink);
    checkpoint_done(&stored);
}

// How far it was is known after a restart, when it is down; nothing else than that is held.
static void test_cursors_are_remembered(void **state)
{
    Checkpoint stored = {0};
    SegmentLogBacklog backlog;
    SegmentLog *log;
    uint64_t next = 1;
    Sink *sink = open_sink(&stored);
    OK(segment_log_open(log_directory, &log, err));
    commit(sink, (Position){10, 0});
    OK(fill_up(sink, 1, 1000, &next, err));
    segment_log_passed(log, STR("r"), (Position){900 * TX_LSN + 50, 0});
    OK(fill_up(sink, next, 1001, &next, err));
    assert_true(segment_log_backlog(log, STR("r"), &backlog));
    uint64_t bytes = backlog.bytes;
    assert_true(bytes > 0 && backlog.is_known);
    segment_log_close(log);
    sink_free(sink);
    checkpoint_reset(&stored);
    sink = open_sink(&stored);
    for (size_t i = 0; i < stored.count; i++) { // its own business
        assert_false(str_starts_with(stored.entries[i].key, STR("buffer:")));
    }
    OK(segment_log_open(log_directory, &log, err));
    assert_true(segment_log_backlog(log, STR("r"), &backlog));
    assert_true(backlog.is_known);
    assert_int_equal(backlog.bytes, bytes);
    // And one that nobody expects is forgotten.
    segment_log_expect(log, NULL, 0, 0);
    OK(fill_up(sink, next, 1002, &next, err));
    Checkpoint entries = {0};
    segment_log_entries(log, &entries);
    assert_null(checkpoint_get(&entries, STR("buffer:reader:r")));
    checkpoint_done(&entries);
    segment_log_close(log);
    sink_free(sink);
    checkpoint_done(&stored);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_full_buffer_pauses),       TEST(test_full_buffer_drops_a_route),
        TEST(test_full_buffer_has_patience), TEST(test_full_buffer_goes_on_at_once),
        TEST(test_cursors_are_remembered),
    };
    return cmocka_run_group_tests_name("disk_full", tests, NULL, NULL);
}
