// A postgres sink on a server of its own, and a look into the tables that does not go through the
// sink. Where no server is installed the whole program is skipped (exit 77).
#pragma once

#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <sys/wait.h>

#include "sinks/sink_fixture.h"

enum { SERVER_PORT = 55140, SKIPPED = 77 };

typedef struct Server {
    char bin[256];
    char directory[64];
    char data[80];
    char database[32]; // the test's own
    char url[256];     // of it, for the sink
    PGconn *look;      // to it, as the superuser
} Server;

static Server server;

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

static inline void server_stop(void)
{
    const char *stop[] = {"pg_ctl", "-D", server.data, "-m", "immediate", "-w", "stop", NULL};
    PQfinish(server.look);
    (void)run_program("pg_ctl", stop);
    remove_tree(server.directory);
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
    PGresult *result = PQexec(server.look, sql);
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

/** Change the target behind the sink's back. */
static inline void execute(Fixture *f, const char *sql)
{
    PGresult *result = PQexec(server.look, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQresultErrorMessage(result));
    }
    PQclear(result);
}

// ---------------------------------------------------------------------------------------------
// A database for each test
// ---------------------------------------------------------------------------------------------

static inline void as_user(Fixture *f, const char *user)
{
    (void)snprintf(server.url, sizeof(server.url), "host=%s port=%d dbname=%s user=%s",
                   server.directory, SERVER_PORT, server.database, user);
    f->settings[0].value = str_from(server.url);
}

static inline int fixture_setup(void **state)
{
    static int number;
    (void)snprintf(server.database, sizeof(server.database), "test%d", ++number);
    PGconn *conn = connect_as("postgres", "postgres");
    char sql[64];
    (void)snprintf(sql, sizeof(sql), "CREATE DATABASE %s", server.database);
    PGresult *result = PQexec(conn, sql);
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    PQfinish(conn);
    PQfinish(server.look);
    server.look = connect_as(server.database, "postgres");
    Fixture *f = fixture_new("postgres");
    execute(f, "SET client_min_messages = error");
    set_option(f, "url", "");
    as_user(f, "postgres");
    *state = f;
    return 0;
}

/** What the target said to what was written, if @status does not know: it may say so later. */
static inline Status settled(Fixture *f, Status status)
{
    return status == STATUS_OK ? sink_commit(f, NULL, NULL) : status;
}
