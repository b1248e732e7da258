#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/spill.h"
#include "unit.h"

enum { MUCH = 64 << 20, NOTHING = 0 };

static char directory[] = "/tmp/weir-test-spill-XXXXXX";

static size_t files(void)
{
    size_t count = 0;
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count - 2; // "." and ".."
}

// Bytes that the number decides, of a length that it decides: some none, few more than a block.
static Str record_of(uint32_t number, char *bytes, size_t max)
{
    size_t len = number % 97 == 0 ? (number * 7919u) % max : (number * 31u) % 300;
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)(number * 131 + i * 7);
    }
    return (Str){bytes, len};
}

static void append(Spill *spill, Str record)
{
    Error err = {0};
    if (spill_append(spill, record, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
}

static void expect(Spill *spill, Str record)
{
    Error err = {0};
    Str found;
    if (spill_next(spill, &found, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(found.len, record.len);
    assert_true(str_equal(found, record));
}

static void expect_end(Spill *spill)
{
    Error err = {0};
    Str found;
    assert_int_equal(spill_next(spill, &found, &err), STATUS_AGAIN);
    assert_int_equal(spill_next(spill, &found, &err), STATUS_AGAIN);
}

enum { LARGEST = 300000, RECORDS = 2000 };

static void fill_and_read(size_t memory_max)
{
    char *bytes = mem_alloc(LARGEST);
    SpillStore *store = spill_store_new(directory, memory_max);
    Spill *spill = spill_new(store);
    uint64_t size = 0;
    for (uint32_t i = 0; i < RECORDS; i++) {
        Str record = record_of(i, bytes, LARGEST);
        append(spill, record);
        size += record.len;
    }
    assert_int_equal(spill_size(spill), size);
    assert_true(spill_memory_used() <= memory_max);
    if (memory_max == NOTHING) {
        assert_int_equal(spill_size_on_disk(spill), size);
    } else if (memory_max == MUCH) {
        assert_int_equal(spill_size_on_disk(spill), 0);
    } else {
        assert_in_range(spill_size_on_disk(spill), 1, size - 1);
    }
    assert_int_equal(files(), 0); // it has no name
    for (uint32_t i = 0; i < RECORDS; i++) {
        expect(spill, record_of(i, bytes, LARGEST));
    }
    expect_end(spill);
    spill_free(spill);
    spill_store_free(store);
    assert_int_equal(spill_memory_used(), 0);
    mem_free(bytes);
}

static void in_memory(void **state)
{
    fill_and_read(MUCH);
}

static void on_disk(void **state)
{
    fill_and_read(NOTHING);
}

static void from_memory_to_disk(void **state)
{
    fill_and_read(1 << 20);
}

static void an_empty_one_ends_at_once(void **state)
{
    SpillStore *store = spill_store_new(directory, MUCH);
    Spill *spill = spill_new(store);
    expect_end(spill);
    spill_free(spill);
    spill_free(NULL);
    spill_store_free(store);
    spill_store_free(NULL);
}

// The buffer goes from one to the other, with blocks that are filled in part.
static void many_take_turns(void **state)
{
    enum { SPILLS = 50, TURNS = 60 };
    char *bytes = mem_alloc(LARGEST);
    SpillStore *store = spill_store_new(directory, 1 << 20);
    Spill *spills[SPILLS];
    for (uint32_t s = 0; s < SPILLS; s++) {
        spills[s] = spill_new(store);
    }
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        for (uint32_t s = 0; s < SPILLS; s++) {
            if ((turn + s) % 3 > 0) {
                append(spills[s], record_of(turn * SPILLS + s, bytes, 100000));
                append(spills[s], record_of(turn + s, bytes, 100000));
            }
        }
    }
    for (uint32_t s = 0; s < SPILLS; s++) {
        for (uint32_t turn = 0; turn < TURNS; turn++) {
            if ((turn + s) % 3 > 0) {
                expect(spills[s], record_of(turn * SPILLS + s, bytes, 100000));
                expect(spills[s], record_of(turn + s, bytes, 100000));
            }
        }
        expect_end(spills[s]);
        spill_free(spills[s]);
    }
    spill_store_free(store);
    assert_int_equal(spill_memory_used(), 0);
    mem_free(bytes);
}

// One that has gone to disk stays there, also when there is room in memory again.
static void the_order_is_kept(void **state)
{
    enum { BYTES = 200000 };
    char *bytes = mem_alloc_zero(BYTES);
    SpillStore *store = spill_store_new(directory, BYTES + BYTES / 2);
    Spill *large = spill_new(store);
    append(large, (Str){bytes, BYTES});
    Spill *spill = spill_new(store);
    append(spill, STR("first"));
    append(spill, (Str){bytes, BYTES});
    assert_int_equal(spill_size_on_disk(spill), BYTES);
    spill_free(large);
    append(spill, STR("last"));
    expect(spill, STR("first"));
    expect(spill, (Str){bytes, BYTES});
    expect(spill, STR("last"));
    expect_end(spill);
    spill_free(spill);
    spill_store_free(store);
    mem_free(bytes);
}

// What a dropped one leaves is used again: the file is no larger than what is kept at one time.
static void room_is_used_again(void **state)
{
    enum { BYTES = 200000, LIMIT = 1 << 20 };
    char *bytes = mem_alloc_zero(BYTES);
    struct rlimit limit = {LIMIT, RLIM_INFINITY};
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    SpillStore *store = spill_store_new(directory, NOTHING);
    Spill *stays = spill_new(store);
    append(stays, STR("stays"));
    for (int i = 0; i < 100; i++) {
        Spill *spill = spill_new(store);
        bytes[0] = (char)i;
        append(spill, (Str){bytes, BYTES});
        append(spill, (Str){bytes, BYTES});
        if (i % 2 == 0) {
            expect(spill, (Str){bytes, BYTES});
        }
        spill_free(spill);
        if (i == 50) {
            expect(stays, STR("stays"));
            spill_free(stays);
            stays = spill_new(store);
        }
    }
    spill_free(stays);
    spill_store_free(store);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    mem_free(bytes);
}

static bool can_make_holes(void)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    bool can = fd >= 0 && ftruncate(fd, 4096) == 0 &&
               fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
    (void)close(fd);
    return can;
}

// What our files without a name take in the directory.
static size_t room_on_disk(void)
{
    size_t room = 0;
    for (int fd = 0; fd < 100; fd++) {
        char link[64];
        char path[256] = "";
        struct stat info;
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        if (readlink(link, path, sizeof(path) - 1) > 0 &&
            strncmp(path, directory, strlen(directory)) == 0 && fstat(fd, &info) == 0) {
            room += (size_t)info.st_blocks * 512;
        }
    }
    return room;
}

// Nobody has to wait until the last one goes for the room that a large one took.
static void room_is_given_back(void **state)
{
    enum { TURNS = 400, SMALL = 1000, LARGE = 50000, TIMES = 3, ROUND = 1 << 20 };
    if (!can_make_holes()) {
        skip();
    }
    char *bytes = mem_alloc(LARGE);
    SpillStore *store = spill_store_new(directory, NOTHING);
    Spill *small = spill_new(store);
    for (uint32_t time = 0; time < TIMES; time++) {
        Spill *large = spill_new(store);
        for (uint32_t turn = 0; turn < TURNS; turn++) {
            memset(bytes, (int)(time * TURNS + turn), LARGE);
            append(large, (Str){bytes, LARGE});
            append(small, (Str){bytes, SMALL});
        }
        assert_in_range(room_on_disk(), TURNS * LARGE - ROUND, TURNS * LARGE + 3 * ROUND);
        for (uint32_t turn = 0; turn < TURNS; turn++) {
            memset(bytes, (int)(time * TURNS + turn), LARGE);
            expect(large, (Str){bytes, LARGE});
        }
        spill_free(large);
        assert_in_range(room_on_disk(), 0, 3 * ROUND);
    }
    for (uint32_t turn = 0; turn < TIMES * TURNS; turn++) {
        memset(bytes, (int)turn, SMALL);
        expect(small, (Str){bytes, SMALL});
    }
    expect_end(small);
    spill_free(small);
    assert_int_equal(room_on_disk(), 0);
    spill_store_free(store);
    mem_free(bytes);
}

// Two that took turns: their blocks do not lie side by side.
static void neighbours_stay(void **state)
{
    enum { SPILLS = 7, TURNS = 30, BYTES = 64 << 10 };
    char *bytes = mem_alloc(BYTES);
    SpillStore *store = spill_store_new(directory, NOTHING);
    Spill *spills[SPILLS];
    for (int s = 0; s < SPILLS; s++) {
        spills[s] = spill_new(store);
    }
    for (int turn = 0; turn < TURNS; turn++) {
        for (int s = 0; s < SPILLS; s++) {
            memset(bytes, turn * SPILLS + s, BYTES);
            append(spills[s], (Str){bytes, BYTES});
        }
    }
    static const int order[SPILLS] = {3, 4, 0, 6, 1, 5, 2};
    for (int i = 0; i < SPILLS; i++) {
        for (int turn = 0; turn < TURNS; turn++) {
            memset(bytes, turn * SPILLS + order[i], BYTES);
            expect(spills[order[i]], (Str){bytes, BYTES});
        }
        spill_free(spills[order[i]]);
    }
    spill_store_free(store);
    mem_free(bytes);
}

static void a_full_disk_is_an_error(void **state)
{
    enum { BYTES = 100000 };
    char *bytes = mem_alloc_zero(BYTES);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit limit = {300000, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    SpillStore *store = spill_store_new(directory, NOTHING);
    Spill *spill = spill_new(store);
    Error err = {0};
    Status status = STATUS_OK;
    for (int i = 0; i < 10 && status == STATUS_OK; i++) {
        status = spill_append(spill, (Str){bytes, BYTES}, &err);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, STATUS_FAIL);
    assert_non_null(strstr(err.message, directory));
    spill_free(spill);
    spill_store_free(store);
    mem_free(bytes);
}

static void a_directory_that_is_not_there(void **state)
{
    Error err = {0};
    assert_int_equal(spill_check("/no/such/place", &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.hint, "mkdir -p '/no/such/place'");
    assert_int_equal(spill_check(directory, &err), STATUS_OK);
    SpillStore *store = spill_store_new("/no/such/place", 1 << 20);
    Spill *spill = spill_new(store);
    append(spill, STR("in memory it is fine"));
    spill_free(spill);
    spill_store_free(store);
    store = spill_store_new("/no/such/place", NOTHING);
    spill = spill_new(store);
    assert_int_equal(spill_append(spill, STR("x"), &err), STATUS_FAIL);
    assert_non_null(strstr(err.message, "/no/such/place"));
    spill_free(spill);
    spill_store_free(store);
}

static int make_directory(void **state)
{
    (void)signal(SIGXFSZ, SIG_IGN);
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static int remove_directory(void **state)
{
    return rmdir(directory); // fails when something was left in it
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_memory),
        cmocka_unit_test(on_disk),
        cmocka_unit_test(from_memory_to_disk),
        cmocka_unit_test(an_empty_one_ends_at_once),
        cmocka_unit_test(many_take_turns),
        cmocka_unit_test(the_order_is_kept),
        cmocka_unit_test(room_is_used_again),
        cmocka_unit_test(room_is_given_back),
        cmocka_unit_test(neighbours_stay),
        cmocka_unit_test(a_full_disk_is_an_error),
        cmocka_unit_test(a_directory_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
