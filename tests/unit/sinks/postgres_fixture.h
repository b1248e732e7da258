// A postgres sink on a server of its own, changes made by hand, and a look into the tables that
// does not go through the sink. Where no server is installed the whole program is skipped (exit
// 77).
#pragma once

#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/sink.h"
#include "unit.h"

enum { SERVER_PORT = 55140, SKIPPED = 77 };

typedef struct Server {
    char bin[256];
    char directory[64];
    char data[80];
} Server;

static Server server;

typedef struct Fixture {
    char database[32];
    Arena arena;
    Cancel cancel;
    Sink *sink;
    PGconn *look; // as the superuser
    Error error;
    Transaction transaction;
    uint64_t ordinal;
    char notice[4096]; // the last one
    char url[256];
    Setting settings[8];
    size_t setting_count;
    Change changes[64]; // queued
    size_t change_count;
} Fixture;

// Values of a row.
#define T(text)  ((Value){.ptr = (text), .len = (uint32_t)sizeof(text) - 1, .state = VALUE_TEXT})
#define NIL      ((Value){.state = VALUE_NULL})
#define SAME     ((Value){.state = VALUE_UNCHANGED})
#define NONE     ((Value){.state = VALUE_ABSENT})
#define ROW(...) ((const Value[]){__VA_ARGS__})

static inline Column column(const char *name, int16_t attnum, uint32_t type, const char *type_name)
{
    return (Column){.name = str_from(name),
                    .attnum = attnum,
                    .type_oid = type,
                    .typmod = -1,
                    .type_name = str_from(type_name),
                    .base_type_oid = type,
                    .base_typmod = -1,
                    .base_type_name = str_from(type_name),
                    .type = type_class(type)};
}

#define INT4(name, attnum) column(name, attnum, OID_INT4, "integer")
#define TEXT(name, attnum) column(name, attnum, OID_TEXT, "text")

/** @key: indexes of columns as letters, "a" is the first; "" is no key. */
static inline Relation *relation_of(Fixture *f, uint32_t oid, const char *schema, const char *name,
                                    const char *key, const Column *columns, size_t count)
{
    uint16_t indexes[16];
    size_t key_count = strlen(key);
    for (size_t i = 0; i < key_count; i++) {
        indexes[i] = (uint16_t)(key[i] - 'a');
    }
    Relation made = {.oid = oid,
                     .schema = str_from(schema),
                     .name = str_from(name),
                     .identity = key_count > 0 ? IDENTITY_DEFAULT : IDENTITY_FULL,
                     .column_count = (uint16_t)count,
                     .columns = (Column *)(uintptr_t)columns,
                     .key_count = (uint16_t)key_count,
                     .key = indexes,
                     .key_is_primary = true};
    return relation_copy(&f->arena, &made);
}

#define TABLE(f, oid, schema, name, key, ...)                       \
    relation_of(f, oid, schema, name, key, (Column[]){__VA_ARGS__}, \
                ARRAY_LEN(((Column[]){__VA_ARGS__})))

// ---------------------------------------------------------------------------------------------
// The server
// ---------------------------------------------------------------------------------------------

/** WEIR_POSTGRES_BIN says which one; otherwise the newest of Debian's packages. */
static inline bool find_server(void)
{
    glob_t found;
    unsigned long best = 0;
    const char *wanted = getenv("WEIR_POSTGRES_BIN");
    if (wanted != NULL) {
        (void)snprintf(server.bin, sizeof(server.bin), "%s", wanted);
        return true;
    }
    if (glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            unsigned long version =
                strtoul(found.gl_pathv[i] + strlen("/usr/lib/postgresql/"), NULL, 10);
            if (version > best) {
                best = version;
            }
        }
    }
    globfree(&found);
    (void)snprintf(server.bin, sizeof(server.bin), "/usr/lib/postgresql/%lu/bin", best);
    return best > 0 && (geteuid() != 0 || getpwnam("postgres") != NULL);
}

/** Run one of the server's programs as a user that is not root. */
static inline bool run_program(const char *name, const char **arguments)
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/%s", server.bin, name);
    arguments[0] = path; // by which they find each other
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    pid_t child = fork();
    if (child == 0) {
        bool changed = user == NULL || (setgroups(0, NULL) == 0 && setgid(user->pw_gid) == 0 &&
                                        setuid(user->pw_uid) == 0);
        if (changed && chdir("/") == 0 && freopen("/dev/null", "w", stdout) != NULL) {
            (void)execv(path, (char *const *)(uintptr_t)arguments);
        }
        _exit(126);
    }
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static inline bool server_start(void)
{
    char options[256];
    char log[96];
    (void)snprintf(server.directory, sizeof(server.directory), "/tmp/weir-postgres-XXXXXX");
    if (mkdtemp(server.directory) == NULL) {
        return false;
    }
    if (geteuid() == 0) {
        const struct passwd *user = getpwnam("postgres");
        if (chown(server.directory, user->pw_uid, user->pw_gid) != 0) {
            return false;
        }
    }
    (void)snprintf(server.data, sizeof(server.data), "%s/data", server.directory);
    (void)snprintf(log, sizeof(log), "%s/log", server.directory);
    (void)snprintf(options, sizeof(options),
                   "-c listen_addresses= -c unix_socket_directories=%s -c port=%d -c fsync=off "
                   "-c shared_buffers=16MB -c max_connections=20",
                   server.directory, SERVER_PORT);
    const char *initdb[] = {"initdb",    "-D",    server.data, "-U",   "postgres",
                            "-A",        "trust", "-E",        "UTF8", "--locale=C.UTF-8",
                            "--no-sync", NULL};
    const char *start[] = {"pg_ctl", "-D",    server.data, "-l",    log,
                           "-o",     options, "-w",        "start", NULL};
    return run_program("initdb", initdb) && run_program("pg_ctl", start);
}

static inline int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info, (void)type, (void)ftw;
    return remove(path);
}

static inline void server_stop(void)
{
    const char *stop[] = {"pg_ctl", "-D", server.data, "-m", "immediate", "-w", "stop", NULL};
    (void)run_program("pg_ctl", stop);
    (void)nftw(server.directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/** Run @tests on a server, or skip them. */
#define run_on_server(tests, what)                                                                \
    (!find_server()                                                                               \
         ? (print_message("SKIPPED %s: no PostgreSQL server is installed\n", what), (int)SKIPPED) \
         : (server_start() ? run_and_stop(cmocka_run_group_tests(tests, NULL, NULL))              \
                           : run_and_stop((print_message("the server does not start\n"), 1))))

static inline int run_and_stop(int result)
{
    server_stop();
    return result;
}

// ---------------------------------------------------------------------------------------------
// Looking
// ---------------------------------------------------------------------------------------------

static inline PGconn *connect_as(const char *database, const char *user)
{
    char text[256];
    (void)snprintf(text, sizeof(text), "host=%s port=%d dbname=%s user=%s", server.directory,
                   SERVER_PORT, database, user);
    PGconn *conn = PQconnectdb(text);
    if (PQstatus(conn) != CONNECTION_OK) {
        fail_msg("%s", PQerrorMessage(conn));
    }
    return conn;
}

/** Columns apart by |, rows by a newline, NULL as ~; a refusal as its text. */
static inline char *look(Fixture *f, const char *sql)
{
    Buf text = {.max = 1 << 24};
    PGresult *result = PQexec(f->look, sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
        buf_cstr(&text, PQresultErrorMessage(result));
    }
    for (int row = 0; row < PQntuples(result); row++) {
        buf_cstr(&text, row > 0 ? "\n" : "");
        for (int i = 0; i < PQnfields(result); i++) {
            buf_cstr(&text, i > 0 ? "|" : "");
            buf_cstr(&text, PQgetisnull(result, row, i) ? "~" : PQgetvalue(result, row, i));
        }
    }
    PQclear(result);
    char *copy = arena_copy(&f->arena, buf_cstring(&text), text.len);
    buf_done(&text);
    return copy;
}

#define assert_look(f, sql, expected) assert_string_equal(look(f, sql), expected)

/** Change the target behind the sink's back. */
static inline void execute(Fixture *f, const char *sql)
{
    PGresult *result = PQexec(f->look, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQresultErrorMessage(result));
    }
    PQclear(result);
}

// ---------------------------------------------------------------------------------------------
// The sink
// ---------------------------------------------------------------------------------------------

static inline void take_notice(void *context, const char *message)
{
    Fixture *f = context;
    (void)snprintf(f->notice, sizeof(f->notice), "%s", message);
}

static inline void set_option(Fixture *f, const char *key, const char *value)
{
    assert_true(f->setting_count < ARRAY_LEN(f->settings));
    f->settings[f->setting_count++] =
        (Setting){.key = str_from(key), .value = str_from(value), .origin = STR("the test")};
}

static inline void as_user(Fixture *f, const char *user)
{
    (void)snprintf(f->url, sizeof(f->url), "host=%s port=%d dbname=%s user=%s", server.directory,
                   SERVER_PORT, f->database, user);
    f->settings[0].value = str_from(f->url);
}

static inline int fixture_setup(void **state)
{
    static int number;
    Fixture *f = mem_alloc_zero(sizeof(*f));
    (void)snprintf(f->database, sizeof(f->database), "test%d", ++number);
    PGconn *conn = connect_as("postgres", "postgres");
    char sql[64];
    (void)snprintf(sql, sizeof(sql), "CREATE DATABASE %s", f->database);
    PGresult *result = PQexec(conn, sql);
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    PQfinish(conn);
    f->look = connect_as(f->database, "postgres");
    execute(f, "SET client_min_messages = error");
    assert_int_equal(cancel_init(&f->cancel, &f->error), STATUS_OK);
    f->transaction = (Transaction){
        .commit_lsn = 0x16B374D848, .xid = 742, .commit_time_us = INT64_C(1763704259123456)};
    set_option(f, "url", "");
    as_user(f, "postgres");
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    Fixture *f = *state;
    sink_free(f->sink);
    cancel_done(&f->cancel);
    PQfinish(f->look);
    arena_done(&f->arena);
    mem_free(f);
    return 0;
}

#define assert_ok(f, expression)                                      \
    do {                                                              \
        if ((expression) != STATUS_OK) {                              \
            fail_msg("%s (%s)", (f)->error.message, (f)->error.hint); \
        }                                                             \
    } while (0)

/** @part has to be in the message, or in the hint. */
#define assert_fails(f, expression, expected_kind, part)                                         \
    do {                                                                                         \
        (f)->error = (Error){0};                                                                 \
        assert_int_equal(expression, STATUS_FAIL);                                               \
        if (strstr((f)->error.message, part) == NULL && strstr((f)->error.hint, part) == NULL) { \
            fail_msg("\"%s\" is not in: %s (%s)", part, (f)->error.message, (f)->error.hint);    \
        }                                                                                        \
        assert_string_equal(error_kind_name((f)->error.kind), error_kind_name(expected_kind));   \
    } while (0)

/** A new instance, opened; @ret replaces nothing. */
static inline Status sink_make(Fixture *f, bool is_lane, Sink **ret)
{
    SinkContext context = {.pipeline = "it's a \"pipeline\"",
                           .cancel = &f->cancel,
                           .is_lane = is_lane,
                           .notice = take_notice,
                           .notice_context = f};
    Settings settings = {f->settings, f->setting_count, STR("the test")};
    for (size_t i = 0; i < f->setting_count; i++) {
        f->settings[i].used = false;
    }
    Sink *sink;
    if (sink_new(sink_find(STR("postgres")), &settings, &context, &sink, &f->error) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (sink->ops->open(sink, &f->error) != STATUS_OK) {
        sink_free(sink);
        return STATUS_FAIL;
    }
    *ret = sink;
    return STATUS_OK;
}

/** Open it (again, as after a kill), and get the stored checkpoint. */
static inline Status sink_start(Fixture *f, Checkpoint *checkpoint)
{
    Checkpoint unused = {0};
    sink_free(f->sink);
    f->sink = NULL;
    if (sink_make(f, false, &f->sink) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // The old session gives its lock back a moment after its client has gone.
    Status status = STATUS_FAIL;
    for (int i = 0; i < 200 && status != STATUS_OK; i++) {
        status =
            f->sink->ops->resume(f->sink, checkpoint == NULL ? &unused : checkpoint, &f->error);
        if (status != STATUS_OK && strstr(f->error.message, "another session") == NULL) {
            break;
        }
        if (status != STATUS_OK) {
            (void)usleep(10000);
        }
    }
    checkpoint_done(&unused);
    return status;
}

static inline Status sink_prepare(Fixture *f, const Relation *was, const Relation *now)
{
    return f->sink->ops->prepare(f->sink, was, now, &f->error);
}

/** One more change of the write that comes. */
static inline void queue(Fixture *f, ChangeOp op, const Relation *relation, const Value *old_row,
                         const Value *new_row)
{
    assert_true(f->change_count < ARRAY_LEN(f->changes));
    f->changes[f->change_count++] = (Change){.op = op,
                                             .relation = relation,
                                             .old_row = old_row,
                                             .new_row = new_row,
                                             .transaction = &f->transaction,
                                             .ordinal = ++f->ordinal};
}

static inline Status write_queued(Fixture *f)
{
    size_t count = f->change_count;
    f->change_count = 0;
    return f->sink->ops->write(f->sink, f->changes, count, &f->error);
}

static inline Status write_change(Fixture *f, ChangeOp op, const Relation *relation,
                                  const Value *old_row, const Value *new_row)
{
    queue(f, op, relation, old_row, new_row);
    return write_queued(f);
}

static inline Status sink_commit(Fixture *f, const char *key, const char *value)
{
    Checkpoint changed = {0};
    if (key != NULL) {
        checkpoint_set(&changed, str_from(key), str_from(value));
    }
    Status status = f->sink->ops->commit(f->sink, &changed, &f->error);
    checkpoint_done(&changed);
    return status;
}

/** Open, prepare and commit. */
static inline void begin_with(Fixture *f, const Relation *relation)
{
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, NULL, relation));
    assert_ok(f, sink_commit(f, NULL, NULL));
}

#define postgres_test(function) \
    cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)
