// A log in a directory of its own, groups of records that are known by their numbers, and looking
// at what a log has.
#pragma once

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "buffers/segment_log.h"
#include "unit.h"

static char log_directory[64];

static inline void fixture_make_directory(void)
{
    // In memory where that can be: these tests sync thousands of times.
    const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(log_directory, sizeof(log_directory), "%s/weir-test-log-XXXXXX", where);
    assert_non_null(mkdtemp(log_directory));
}

static inline void fixture_path(const char *name, char ret[static 128])
{
    (void)snprintf(ret, 128, "%s/%s", log_directory, name);
}

static inline void fixture_segment(uint64_t sequence, char ret[static 128])
{
    char name[SEGMENT_NAME_SIZE];
    segment_name(sequence, name);
    fixture_path(name, ret);
}

static inline void fixture_empty_directory(void)
{
    char path[512];
    DIR *entries = opendir(log_directory);
    assert_non_null(entries);
    for (const struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        (void)snprintf(path, sizeof(path), "%s/%s", log_directory, entry->d_name);
        (void)unlink(path);
    }
    (void)closedir(entries);
}

static inline void fixture_remove_directory(void)
{
    fixture_empty_directory();
    (void)rmdir(log_directory);
}

/** A file's bytes, at most 16 MB; owned by the caller (mem_free). */
static inline Str fixture_read(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = mem_alloc(16 << 20);
    size_t len = fread(bytes, 1, 16 << 20, file);
    (void)fclose(file);
    return (Str){bytes, len};
}

static inline void fixture_write(const char *path, Str bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, file), bytes.len);
    (void)fclose(file);
}

#define OK(call)                                         \
    do {                                                 \
        Error ok_error = {0};                            \
        Error *err = &ok_error;                          \
        if ((call) != STATUS_OK) {                       \
            fail_msg("%s: %s", #call, ok_error.message); \
        }                                                \
    } while (0)

/** Fails with that kind and with @part in its message. */
#define FAILS(call, expected_kind, part)                                                           \
    do {                                                                                           \
        Error fails_error = {0};                                                                   \
        Error *err = &fails_error;                                                                 \
        assert_int_equal((call), STATUS_FAIL);                                                     \
        if (fails_error.kind != (expected_kind) || strstr(fails_error.message, (part)) == NULL) {  \
            fail_msg("%s: %s: %s", #call, error_kind_name(fails_error.kind), fails_error.message); \
        }                                                                                          \
    } while (0)

static inline int fixture_setup(void **state)
{
    fixture_make_directory();
    return 0;
}

static inline int fixture_teardown(void **state)
{
    fixture_remove_directory();
    return 0;
}

static inline SegmentLog *fixture_open_log(void)
{
    SegmentLog *log;
    OK(segment_log_open(log_directory, &log, err));
    return log;
}

// Groups: number g has (g % 4) records of sizes that vary, and commits at LSN g * 10.

enum { GROUP_LSN = 10 };

static inline size_t group_records(uint64_t group)
{
    return group % 4;
}

static inline size_t record_len(uint64_t group, size_t record, size_t scale)
{
    return (size_t)((group * 37 + record * 101) % 97) * scale;
}

static inline char record_byte(uint64_t group, size_t record, size_t at)
{
    return (char)(group * 7 + record * 3 + at);
}

static inline Status group_write(SegmentLog *log, uint64_t group, size_t scale,
                                 uint64_t segment_bytes, Error *err)
{
    for (size_t i = 0; i < group_records(group); i++) {
        uint64_t segment;
        if (segment_log_begin(log, segment_bytes, &segment, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        Buf *out = segment_log_record(log);
        buf_be64(out, group);
        buf_be32(out, (uint32_t)i);
        for (size_t at = 0; at < record_len(group, i, scale); at++) {
            buf_char(out, record_byte(group, i, at));
        }
        Position end = {group * GROUP_LSN - 5, i + 1};
        if (segment_log_end(log, RECORD_CHANGES, end, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static inline Status group_commit(SegmentLog *log, uint64_t group, Error *err)
{
    Checkpoint changed = {0};
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)group);
    checkpoint_set(&changed, STR("group"), str_from(text));
    Position end = {group * GROUP_LSN, 0};
    Status status = segment_log_commit(log, end, &changed, err);
    checkpoint_done(&changed);
    return status;
}

static inline Status group_add(SegmentLog *log, uint64_t group, size_t scale,
                               uint64_t segment_bytes, Error *err)
{
    return group_write(log, group, scale, segment_bytes, err) == STATUS_OK
               ? group_commit(log, group, err)
               : STATUS_FAIL;
}

static inline void check_record(const Record *record, uint64_t group, size_t index, size_t scale)
{
    assert_int_equal(record->kind, RECORD_CHANGES);
    assert_true(record->end.lsn == group * GROUP_LSN - 5);
    assert_true(record->end.ordinal == index + 1);
    assert_int_equal(record->payload.len, 12 + record_len(group, index, scale));
    for (size_t at = 12; at < record->payload.len; at++) {
        assert_true(record->payload.ptr[at] == record_byte(group, index, at - 12));
    }
}

/**
 * Read groups on: whole ones, in order, each once; the first is @first (skipping older ones).
 * Returns the last one, or @first - 1.
 */
static inline uint64_t groups_read(SegmentLogReader *reader, uint64_t first, size_t scale)
{
    Arena arena = {0};
    uint64_t group = first;
    size_t index = 0;
    for (;;) {
        Record record;
        Error error = {0};
        Status status = segment_log_next(reader, &arena, &record, &error);
        if (status == STATUS_AGAIN) {
            break;
        }
        if (status != STATUS_OK) {
            fail_msg("%s", error.message);
        }
        if (record.kind == RECORD_STATE || record.end.lsn < first * GROUP_LSN - 5) {
            continue; // older than what is looked for
        }
        if (record.kind == RECORD_COMMIT) {
            assert_int_equal(index, group_records(group));
            assert_true(record.end.lsn == group * GROUP_LSN);
            group++;
            index = 0;
        } else {
            check_record(&record, group, index++, scale);
        }
        arena_reset(&arena);
    }
    assert_int_equal(index, 0); // the last thing is a commit
    arena_done(&arena);
    return group - 1;
}

/** That the log has the groups from @first to @last, and remembers the last. */
static inline void check_groups(SegmentLog *log, uint64_t first, uint64_t last, size_t scale)
{
    SegmentLogReader *reader;
    OK(segment_log_reader_open(log, (Position){(first - 1) * GROUP_LSN, 0}, &reader, err));
    uint64_t found = groups_read(reader, first, scale);
    if (found != last) {
        fail_msg("found group %llu, not %llu", (unsigned long long)found, (unsigned long long)last);
    }
    segment_log_reader_close(reader);
    Checkpoint entries = {0};
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)last);
    segment_log_entries(log, &entries);
    const CheckpointEntry *entry = checkpoint_get(&entries, STR("group"));
    assert_int_equal(entry != NULL, last > 0);
    assert_true(entry == NULL || str_is(entry->value, text));
    checkpoint_done(&entries);
    assert_true(segment_log_range(log).last.lsn == last * GROUP_LSN);
}

// Crashes

/**
 * SIGKILL for another process after some time in @write_on, which never returns and says, as
 * uint64_t to the file descriptor, up to where everything is durable. Returns the last it said,
 * or 0.
 */
static inline uint64_t run_and_kill(void (*write_on)(int told), unsigned after_us)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)close(ends[0]);
        write_on(ends[1]);
    }
    (void)close(ends[1]);
    (void)usleep(after_us);
    (void)kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    uint64_t said;
    uint64_t last = 0;
    while (read(ends[0], &said, sizeof(said)) == (ssize_t)sizeof(said)) {
        last = said;
    }
    (void)close(ends[0]);
    return last;
}
