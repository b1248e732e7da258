#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/file.h"
#include "unit.h"

static char directory[] = "/tmp/weir-test-file-XXXXXX";
static char path[64];

static void assert_error(const Error *err, ErrorKind kind, const char *part)
{
    assert_int_equal(err->kind, kind);
    if (strstr(err->message, part) == NULL) {
        fail_msg("%s", err->message);
    }
}

// What was synced last: this stands before libc's.
static struct stat synced;
static int syncs;

int fsync(int fd)
{
    syncs++;
    assert_int_equal(fstat(fd, &synced), 0);
    return (int)syscall(SYS_fsync, fd);
}

// A name is there, or is gone, behind a power cut only when its directory was synced.
static void assert_synced(const char *of)
{
    struct stat info;
    assert_int_equal(stat(of, &info), 0);
    assert_true(S_ISDIR(info.st_mode));
    assert_true(syncs > 0 && synced.st_ino == info.st_ino && synced.st_dev == info.st_dev);
    syncs = 0;
}

static void test_names_survive_a_power_cut(void **state)
{
    char made[128];
    char other[160];
    File file;
    Error err = {0};
    (void)snprintf(made, sizeof(made), "%s/names", directory);
    syncs = 0;
    assert_int_equal(file_make_directory(made, &err), STATUS_OK);
    assert_synced(directory);
    (void)snprintf(other, sizeof(other), "%s/file", made);
    assert_int_equal(file_open(&file, other, &err), STATUS_OK);
    assert_synced(made);
    file_close(&file);
    // Made by a process that ended before it had synced the directory.
    assert_int_equal(file_open(&file, other, &err), STATUS_OK);
    assert_synced(made);
    file_close(&file);
    char whole[160];
    (void)snprintf(whole, sizeof(whole), "%s/whole", made);
    assert_int_equal(file_put_in_place(other, whole, &err), STATUS_OK);
    assert_synced(made);
    assert_int_equal(file_remove(whole, &err), STATUS_OK);
    assert_synced(made);
    assert_int_equal(file_remove(whole, &err), STATUS_OK); // one that removed it may have ended
    assert_synced(made);
    assert_int_equal(rmdir(made), 0);
}

static void test_writes_reads_and_truncates(void **state)
{
    File file;
    uint64_t size;
    char bytes[5];
    Error err = {0};
    assert_int_equal(file_open(&file, path, &err), STATUS_OK);
    assert_int_equal(file_write(&file, 0, STR("hello"), &err), STATUS_OK);
    assert_int_equal(file_write(&file, 3, STR("p me"), &err), STATUS_OK);
    assert_int_equal(file_sync(&file, &err), STATUS_OK);
    assert_int_equal(file_size(&file, &size, &err), STATUS_OK);
    assert_int_equal(size, 7);
    assert_int_equal(file_read(&file, 2, bytes, 5, &err), STATUS_OK);
    assert_memory_equal(bytes, "lp me", 5);
    assert_int_equal(file_read(&file, 3, bytes, 5, &err), STATUS_FAIL); // a byte is missing
    assert_error(&err, ERROR_FATAL, "ends before byte 8");
    assert_int_equal(file_truncate(&file, 4, &err), STATUS_OK);
    assert_int_equal(file_size(&file, &size, &err), STATUS_OK);
    assert_int_equal(size, 4);
    file_close(&file);
    file_close(&file);
}

static void test_reads_beside_the_writer_and_removes(void **state)
{
    File file;
    File reader;
    char bytes[2];
    Error err = {0};
    assert_int_equal(file_open(&file, path, &err), STATUS_OK);
    assert_int_equal(file_write(&file, 0, STR("hello"), &err), STATUS_OK);
    assert_int_equal(file_open_read(&reader, path, &err), STATUS_OK);
    assert_int_equal(file_remove(path, &err), STATUS_OK);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(file_read(&reader, 3, bytes, 2, &err), STATUS_OK); // for whoever has it open
    assert_memory_equal(bytes, "lo", 2);
    assert_int_equal(file_write(&reader, 0, STR("x"), &err), STATUS_FAIL);
    file_close(&reader);
    file_close(&file);
    assert_int_equal(file_remove(path, &err), STATUS_OK); // it is gone already
    assert_int_equal(file_open_read(&reader, path, &err), STATUS_FAIL);
    assert_error(&err, ERROR_CONFIG, "No such file");
    assert_int_equal(reader.fd, -1);
    assert_int_equal(file_remove(directory, &err), STATUS_FAIL);
}

static void test_gets_its_name_when_it_is_whole(void **state)
{
    char unfinished[80];
    char byte;
    File file;
    Error err = {0};
    (void)snprintf(unfinished, sizeof(unfinished), "%s-new", path);
    assert_int_equal(file_put_in_place(unfinished, path, &err), STATUS_FAIL);
    assert_error(&err, ERROR_CONFIG, "No such file");
    for (int at = 0; at < 2; at++) {
        assert_int_equal(file_open(&file, unfinished, &err), STATUS_OK);
        assert_int_equal(file_write(&file, 0, at == 0 ? STR("1") : STR("2"), &err), STATUS_OK);
        file_close(&file);
        assert_int_equal(file_put_in_place(unfinished, path, &err),
                         at == 0 ? STATUS_OK : STATUS_FAIL); // nothing is replaced
    }
    assert_error(&err, ERROR_TRANSIENT, "File exists");
    assert_int_equal(file_open_read(&file, path, &err), STATUS_OK);
    assert_int_equal(file_read(&file, 0, &byte, 1, &err), STATUS_OK);
    assert_int_equal(byte, '1');
    file_close(&file);
    for (int at = 0; at < 2; at++) {
        assert_int_equal(file_replace(unfinished, path, &err), at == 0 ? STATUS_OK : STATUS_FAIL);
    }
    assert_error(&err, ERROR_CONFIG, "No such file");
    assert_int_equal(file_open_read(&file, path, &err), STATUS_OK);
    assert_int_equal(file_read(&file, 0, &byte, 1, &err), STATUS_OK);
    assert_int_equal(byte, '2');
    file_close(&file);
    assert_int_equal(file_remove(path, &err), STATUS_OK);
}

static void test_is_locked(void **state)
{
    File file;
    File other;
    Error err = {0};
    assert_int_equal(file_open(&file, path, &err), STATUS_OK);
    assert_int_equal(file_open(&other, path, &err), STATUS_FAIL);
    assert_error(&err, ERROR_CONFIG, "another process is writing");
    assert_int_equal(other.fd, -1);
    file_close(&file);
    assert_int_equal(file_open(&other, path, &err), STATUS_OK);
    file_close(&other);
}

static void test_notices_that_it_was_replaced(void **state)
{
    File file;
    char moved[80];
    Error err = {0};
    (void)snprintf(moved, sizeof(moved), "%s.1", path);
    assert_int_equal(file_open(&file, path, &err), STATUS_OK);
    assert_int_equal(file_is_in_place(&file, &err), STATUS_OK);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(file_is_in_place(&file, &err), STATUS_FAIL);
    assert_error(&err, ERROR_CONFIG, "removed, moved or replaced");
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(file_is_in_place(&file, &err), STATUS_FAIL);
    (void)close(fd);
    (void)unlink(moved);
    file_close(&file);
}

static void test_wrong_paths(void **state)
{
    static const struct {
        const char *suffix;
        const char *message;
    } cases[] = {
        {"", "is a directory"},
        {"/missing/file", "No such file or directory"},
        {"/plain/file", "Not a directory"},
        {"/fifo", "is not a regular file"},
    };
    char wrong[128];
    (void)snprintf(wrong, sizeof(wrong), "%s/plain", directory);
    (void)close(open(wrong, O_CREAT | O_WRONLY, 0600));
    (void)snprintf(wrong, sizeof(wrong), "%s/fifo", directory);
    assert_int_equal(mkfifo(wrong, 0600), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        File file;
        bool exists;
        Error err = {0};
        (void)snprintf(wrong, sizeof(wrong), "%s%s", directory, cases[i].suffix);
        assert_int_equal(file_check(wrong, &exists, &err), STATUS_FAIL);
        assert_error(&err, ERROR_CONFIG, cases[i].message);
        assert_true(err.hint[0] != '\0' || i == 2);
        assert_int_equal(file_open(&file, wrong, &err), STATUS_FAIL);
        assert_error(&err, ERROR_CONFIG, cases[i].message);
        assert_int_equal(file.fd, -1);
    }
}

static void test_check_makes_nothing(void **state)
{
    char absent[128];
    bool exists = true;
    Error err = {0};
    (void)snprintf(absent, sizeof(absent), "%s/absent", directory);
    assert_int_equal(file_check(absent, &exists, &err), STATUS_OK);
    assert_false(exists);
    assert_int_not_equal(access(absent, F_OK), 0);
    assert_int_equal(file_check(path, &exists, &err), STATUS_OK);
    assert_true(exists);
}

// Root may do everything, so a child does it as nobody.
static int as_nobody(int (*body)(void))
{
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && setuid(65534) != 0) {
            _exit(99);
        }
        _exit(body());
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
}

static int try_forbidden(void)
{
    File file;
    char wrong[128];
    Error err = {0};
    (void)snprintf(wrong, sizeof(wrong), "%s/locked/new", directory);
    bool refused = file_open(&file, wrong, &err) == STATUS_FAIL && err.kind == ERROR_CONFIG &&
                   err.os_errno == EACCES && err.hint[0] != '\0';
    (void)snprintf(wrong, sizeof(wrong), "%s/readonly", directory);
    return refused && file_open(&file, wrong, &err) == STATUS_FAIL && err.kind == ERROR_CONFIG &&
                   err.os_errno == EACCES
               ? 0
               : 1;
}

static mode_t rights(void)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 0777;
}

static void test_is_for_its_owner_only(void **state)
{
    File file;
    Error err = {0};
    mode_t was = umask(022);
    (void)unlink(path);
    assert_int_equal(file_open_private(&file, path, &err), STATUS_OK);
    assert_int_equal(rights(), 0600);
    file_close(&file);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(file_make_private(path, &err), STATUS_OK);
    assert_int_equal(rights(), 0600);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(file_open(&file, path, &err), STATUS_OK);
    assert_int_equal(rights(), 0644); // as the user's umask says
    assert_int_equal(file_write(&file, 0, STR("kept"), &err), STATUS_OK);
    file_close(&file);
    assert_int_equal(file_make_private(path, &err), STATUS_OK);
    assert_int_equal(rights(), 0644); // somebody may want it so
    assert_int_equal(file_open_private(&file, path, &err), STATUS_OK);
    assert_int_equal(rights(), 0644);
    file_close(&file);
    (void)umask(was);
    assert_int_equal(file_make_private("/nowhere/at/all", &err), STATUS_FAIL);
    assert_error(&err, ERROR_CONFIG, "make \"/nowhere/at/all\"");
}

static void test_permissions(void **state)
{
    char name[128];
    assert_int_equal(chmod(directory, 0755), 0);
    (void)snprintf(name, sizeof(name), "%s/locked", directory);
    assert_int_equal(mkdir(name, 0555), 0);
    (void)snprintf(name, sizeof(name), "%s/readonly", directory);
    (void)close(open(name, O_CREAT | O_WRONLY, 0444));
    assert_int_equal(as_nobody(try_forbidden), 0);
}

static void test_too_large(void **state)
{
    struct rlimit before;
    struct rlimit small;
    File file;
    Error err = {0};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(file_open(&file, path, &err), STATUS_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    Status status = file_write(&file, 95, STR("0123456789"), &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, STATUS_FAIL);
    assert_error(&err, ERROR_CONFIG, "File too large");
    file_close(&file);
}

static void test_error_kinds(void **state)
{
    Error err = {0};
    assert_int_equal(file_error(&err, ENOSPC, "write to", "/data/x"), STATUS_FAIL);
    assert_error(&err, ERROR_TRANSIENT, "write to \"/data/x\": No space left on device");
    assert_non_null(strstr(err.hint, "Make room"));
    (void)file_error(&err, EDQUOT, "write to", "/data/x");
    assert_int_equal(err.kind, ERROR_TRANSIENT);
    (void)file_error(&err, EROFS, "make", "/data/x");
    assert_int_equal(err.kind, ERROR_CONFIG);
    (void)file_error(&err, EIO, "write to", "/data/x");
    assert_int_equal(err.kind, ERROR_FATAL);
    (void)file_error(&err, ENOENT, "make", "/data/it/x");
    assert_string_equal(err.hint, "mkdir -p '/data/it'");
}

// A pipe cannot be synced: any failure to sync is final.
static void test_failed_sync_is_fatal(void **state)
{
    int ends[2];
    Error err = {0};
    assert_int_equal(pipe(ends), 0);
    const File file = {.fd = ends[1], .path = "it"};
    assert_int_equal(file_sync(&file, &err), STATUS_FAIL);
    assert_error(&err, ERROR_FATAL, "sync \"it\"");
    (void)close(ends[0]);
    (void)close(ends[1]);
}

// ---------------------------------------------------------------------------------------------
// Streams
// ---------------------------------------------------------------------------------------------

// A child reads in odd pieces and compares.
static int read_back(int fd, const char *data, size_t size)
{
    char part[777];
    size_t at = 0;
    ssize_t got;
    while ((got = read(fd, part, sizeof(part))) > 0) {
        if ((size_t)got > size - at || memcmp(data + at, part, (size_t)got) != 0) {
            return 1;
        }
        at += (size_t)got;
    }
    return at == size ? 0 : 1;
}

static void test_stream_to_pipe(void **state)
{
    static char data[1 << 20];
    int ends[2];
    Error err = {0};
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (char)(i * 7 % 251);
    }
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)close(ends[1]);
        _exit(read_back(ends[0], data, sizeof(data)));
    }
    (void)close(ends[0]);
    Str all = {data, sizeof(data)};
    assert_int_equal(stream_write(ends[1], "the pipe", all, NULL, &err), STATUS_OK);
    (void)close(ends[1]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_stream_to_closed_pipe(void **state)
{
    int ends[2];
    Error err = {0};
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(ends), 0);
    (void)close(ends[0]);
    assert_int_equal(stream_write(ends[1], "standard output", STR("x"), NULL, &err), STATUS_FAIL);
    assert_error(&err, ERROR_FATAL, "write to standard output: Broken pipe");
    assert_int_equal(err.os_errno, EPIPE);
    (void)close(ends[1]);
}

static void test_stream_nobody_reads(void **state)
{
    static char data[1 << 20];
    int ends[2];
    Cancel cancel;
    Error err = {0};
    assert_int_equal(cancel_init(&cancel, NULL), STATUS_OK);
    assert_int_equal(pipe(ends), 0);
    cancel_set(&cancel);
    Str all = {data, sizeof(data)};
    assert_int_equal(stream_write(ends[1], "the pipe", all, &cancel, &err), STATUS_FAIL);
    assert_error(&err, ERROR_CANCELLED, "nobody read the pipe");
    (void)close(ends[0]);
    (void)close(ends[1]);
    cancel_done(&cancel);
}

static void test_stream_to_full_device(void **state)
{
    Error err = {0};
    int fd = open("/dev/full", O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(stream_write(fd, "standard output", STR("x"), NULL, &err), STATUS_FAIL);
    assert_error(&err, ERROR_FATAL, "No space left on device");
    (void)close(fd);
}

static int setup(void **state)
{
    if (mkdtemp(directory) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/file", directory);
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"file", "plain", "fifo", "readonly"};
    char name[128];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(name, sizeof(name), "%s/%s", directory, names[i]);
        (void)unlink(name);
    }
    (void)snprintf(name, sizeof(name), "%s/locked", directory);
    (void)rmdir(name);
    return rmdir(directory);
}

static void test_makes_directories(void **state)
{
    char made[256];
    char file[300];
    Error err = {0};
    struct stat info;
    (void)snprintf(made, sizeof(made), "%s/a/b//c", directory);
    assert_int_equal(file_make_directory(made, &err), STATUS_OK);
    assert_int_equal(stat(made, &info), 0);
    assert_true(S_ISDIR(info.st_mode));
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(file_make_directory(made, &err), STATUS_OK);
    (void)snprintf(file, sizeof(file), "%s/f", made);
    FILE *plain = fopen(file, "w");
    assert_non_null(plain);
    (void)fclose(plain);
    (void)snprintf(file, sizeof(file), "%s/f/g", made);
    assert_int_equal(file_make_directory(file, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_non_null(strstr(err.message, "make directory"));
    static const char *const names[] = {"a/b/c/f", "a/b/c", "a/b", "a"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(file, sizeof(file), "%s/%s", directory, names[i]);
        assert_int_equal(remove(file), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes_reads_and_truncates),
        cmocka_unit_test(test_reads_beside_the_writer_and_removes),
        cmocka_unit_test(test_gets_its_name_when_it_is_whole),
        cmocka_unit_test(test_names_survive_a_power_cut),
        cmocka_unit_test(test_is_locked),
        cmocka_unit_test(test_notices_that_it_was_replaced),
        cmocka_unit_test(test_wrong_paths),
        cmocka_unit_test(test_check_makes_nothing),
        cmocka_unit_test(test_is_for_its_owner_only),
        cmocka_unit_test(test_permissions),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_error_kinds),
        cmocka_unit_test(test_failed_sync_is_fatal),
        cmocka_unit_test(test_makes_directories),
        cmocka_unit_test(test_stream_to_pipe),
        cmocka_unit_test(test_stream_to_closed_pipe),
        cmocka_unit_test(test_stream_nobody_reads),
        cmocka_unit_test(test_stream_to_full_device),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
