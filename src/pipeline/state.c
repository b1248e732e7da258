#include "pipeline/state.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/crash_point.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/sqlite_error.h"
#include "pipeline/advice.h"

enum { LOOK_PATIENCE_MS = 2000 };

struct State {
    Arena arena;
    StateOwner owner;
    bool is_owned;
    const char *path; // of the directory
    int lock_fd;
    pthread_mutex_t lock; // of a save: copies in several threads store their tables
    sqlite3 *db;
    sqlite3_stmt *put;
    sqlite3_stmt *remove;
};

static Status sqlite_failed(const State *state, int code, const char *what, Error *err)
{
    char action[64];
    (void)snprintf(action, sizeof(action), "%s in the state directory", what);
    return sqlite_error(err, state->db, code, action, state->path);
}

static Status make_directory(const char *path, Error *err)
{
    if (file_make_directory(path, err) == STATUS_OK) {
        return STATUS_OK;
    }
    (void)error_wrap(err, "the state directory");
    return error_hint(err, "Give a directory that can be written with --state.");
}

// Who has the lock, for whoever wants it, too. It is only told: that it cannot be written, with a
// full disk, is no reason not to run.
static void leave_pid(const State *state)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%d", (int)getpid());
    if (ftruncate(state->lock_fd, 0) != 0 ||
        pwrite(state->lock_fd, text, (size_t)len, 0) != (ssize_t)len) {
        return;
    }
}

static Status refuse_lock(const State *state, Error *err)
{
    char text[24];
    uint64_t pid;
    ErrorKind kind = state->owner.may_wait ? ERROR_TRANSIENT : ERROR_CONFIG;
    ssize_t len = pread(state->lock_fd, text, sizeof(text), 0);
    if (len > 0 && str_to_uint64((Str){text, (size_t)len}, &pid)) {
        error_set(err, kind,
                  "the pipeline is already running: \"%s\" is locked by process %" PRIu64,
                  state->path, pid);
    } else {
        error_set(err, kind, "the pipeline is already running: \"%s\" is locked by another process",
                  state->path);
    }
    return error_hint(err, "Stop the other weir process, or give this pipeline %s.",
                      advice()->another_name);
}

static Status take_lock(State *state, Error *err)
{
    const char *path = arena_printf(&state->arena, "%s/lock", state->path);
    state->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (state->lock_fd < 0) {
        error_set_errno(err, ERROR_CONFIG, errno, "open \"%s\"", path);
        return error_hint(err, "Give a directory that can be written with --state.");
    }
    if (flock(state->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return refuse_lock(state, err);
    }
    leave_pid(state);
    return STATUS_OK;
}

static Status execute(State *state, const char *sql, Error *err)
{
    int code = sqlite3_exec(state->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? STATUS_OK : sqlite_failed(state, code, "write", err);
}

#define TABLES_SQL                                                              \
    "BEGIN;"                                                                    \
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT);"       \
    "CREATE TABLE IF NOT EXISTS checkpoint (key TEXT PRIMARY KEY, value TEXT);" \
    "COMMIT;"

static Status open_file(State *state, const char *path, const char *sql, Error *err)
{
    if (file_make_private(path, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int code = sqlite3_open(path, &state->db);
    return code == SQLITE_OK ? execute(state, sql, err)
                             : sqlite_failed(state, code, "open the database", err);
}

// A new file is made beside its place, where nothing of it counts, and put there when it is
// complete: the disk is waited for once, and not for each step of sqlite's.
static Status make_file(State *state, const char *path, Error *err)
{
    const char *made = arena_printf(&state->arena, "%s.new", path);
    (void)unlink(made); // what another process left behind
    Status status =
        open_file(state, made, "PRAGMA synchronous=OFF; PRAGMA journal_mode=WAL;" TABLES_SQL, err);
    int code = sqlite3_close(state->db);
    state->db = NULL;
    if (status == STATUS_OK && code != SQLITE_OK) {
        status = sqlite_failed(state, code, "write", err);
    }
    if (status == STATUS_OK) {
        status = file_put_in_place(made, path, err);
    }
    if (status != STATUS_OK) {
        (void)unlink(made);
    }
    return status;
}

static Status open_database(State *state, Error *err)
{
    const char *path = arena_printf(&state->arena, "%s/state.db", state->path);
    if (access(path, F_OK) != 0 && make_file(state, path, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // FULL: when save() returns, a power cut does not take it back.
    if (open_file(state, path, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" TABLES_SQL,
                  err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int code = sqlite3_prepare_v2(state->db, "INSERT OR REPLACE INTO checkpoint VALUES (?1, ?2)",
                                  -1, &state->put, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_prepare_v2(state->db, "DELETE FROM checkpoint WHERE key = ?1", -1,
                                  &state->remove, NULL);
    }
    return code == SQLITE_OK ? STATUS_OK : sqlite_failed(state, code, "prepare", err);
}

static Status bind_text(State *state, sqlite3_stmt *statement, int at, Str text, Error *err)
{
    int code = sqlite3_bind_text64(statement, at, text.ptr == NULL ? "" : text.ptr, text.len,
                                   SQLITE_TRANSIENT, SQLITE_UTF8);
    return code == SQLITE_OK ? STATUS_OK : sqlite_failed(state, code, "bind", err);
}

static Str column_str(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return (Str){text == NULL ? "" : text, (size_t)sqlite3_column_bytes(statement, column)};
}

// *ret_is_owned: somebody has it. Then it has to be for the same sink. The source may have another
// address, or user, by now: which one it is, is part of the checkpoint.
static Status check_owner(State *state, bool *ret_is_owned, Error *err)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(state->db, "SELECT value FROM meta WHERE key = 'sink'", -1,
                                  &statement, NULL);
    if (code != SQLITE_OK) {
        return sqlite_failed(state, code, "read", err);
    }
    code = sqlite3_step(statement);
    Str stored = {NULL, 0};
    if (code == SQLITE_ROW) {
        stored = str_copy(&state->arena, column_str(statement, 0));
    }
    (void)sqlite3_finalize(statement);
    *ret_is_owned = code == SQLITE_ROW;
    if (code == SQLITE_DONE || (code == SQLITE_ROW && str_equal(stored, state->owner.sink_id))) {
        return STATUS_OK;
    }
    if (code != SQLITE_ROW) {
        return sqlite_failed(state, code, "read", err);
    }
    error_set(err, ERROR_CONFIG,
              "the state directory \"%s\" belongs to another pipeline: its sink is \"%" STR_FMT
              "\", not \"%" STR_FMT "\"",
              state->path, STR_ARG(stored), STR_ARG(state->owner.sink_id));
    return error_hint(err, "Give this pipeline %s, or another directory with --state.",
                      advice()->another_name);
}

static State *state_new(const StateOwner *owner)
{
    State *state = mem_alloc_zero(sizeof(*state));
    state->lock_fd = -1;
    (void)pthread_mutex_init(&state->lock, NULL);
    state->owner = *owner;
    state->path = arena_printf(&state->arena, "%" STR_FMT "/%" STR_FMT, STR_ARG(owner->dir),
                               STR_ARG(owner->name));
    return state;
}

Status state_open(const StateOwner *owner, State **ret, Error *err)
{
    State *state = state_new(owner);
    if (make_directory(state->path, err) != STATUS_OK || take_lock(state, err) != STATUS_OK ||
        open_database(state, err) != STATUS_OK ||
        check_owner(state, &state->is_owned, err) != STATUS_OK) {
        state_close(state);
        return STATUS_FAIL;
    }
    *ret = state;
    return STATUS_OK;
}

static Status look(State *state, bool *ret_is_owned, Checkpoint *checkpoint, Error *err)
{
    *ret_is_owned = false;
    const char *path = arena_printf(&state->arena, "%s/state.db", state->path);
    if (access(path, F_OK) != 0) {
        return STATUS_OK;
    }
    int code = sqlite3_open_v2(path, &state->db, SQLITE_OPEN_READWRITE, NULL);
    if (code != SQLITE_OK) {
        return sqlite_failed(state, code, "open the database", err);
    }
    (void)sqlite3_busy_timeout(state->db, LOOK_PATIENCE_MS);
    // The first start may have been killed before it had made the tables. Whatever else keeps us
    // from reading them is no first start.
    code = sqlite3_table_column_metadata(state->db, NULL, "checkpoint", "key", NULL, NULL, NULL,
                                         NULL, NULL);
    if (code != SQLITE_OK) {
        return code == SQLITE_ERROR ? STATUS_OK
                                    : sqlite_failed(state, code, "read the checkpoint", err);
    }
    if (check_owner(state, ret_is_owned, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return checkpoint == NULL ? STATUS_OK : state_load(state, checkpoint, err);
}

Status state_look(const StateOwner *owner, bool *ret_is_owned, Checkpoint *checkpoint, Error *err)
{
    State *state = state_new(owner);
    Status status = look(state, ret_is_owned, checkpoint, err);
    state_close(state);
    return status;
}

Status state_own(State *state, Error *err)
{
    if (state->is_owned) {
        return STATUS_OK;
    }
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(state->db, "INSERT OR REPLACE INTO meta VALUES ('sink', ?1)", -1,
                                  &statement, NULL);
    if (code != SQLITE_OK) {
        return sqlite_failed(state, code, "write", err);
    }
    Str sink = state->owner.sink_id;
    (void)sqlite3_bind_text64(statement, 1, sink.ptr, sink.len, SQLITE_STATIC, SQLITE_UTF8);
    code = sqlite3_step(statement);
    (void)sqlite3_finalize(statement);
    state->is_owned = code == SQLITE_DONE;
    return state->is_owned ? STATUS_OK : sqlite_failed(state, code, "write", err);
}

const char *state_path(const State *state)
{
    return state->path;
}

Status state_load(State *state, Checkpoint *checkpoint, Error *err)
{
    sqlite3_stmt *statement = NULL;
    int code =
        sqlite3_prepare_v2(state->db, "SELECT key, value FROM checkpoint", -1, &statement, NULL);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW) {
            checkpoint_set(checkpoint, column_str(statement, 0), column_str(statement, 1));
        }
    }
    Status status =
        code == SQLITE_DONE ? STATUS_OK : sqlite_failed(state, code, "read the checkpoint", err);
    (void)sqlite3_finalize(statement);
    return status;
}

static Status save_entry(State *state, const CheckpointEntry *entry, Error *err)
{
    bool remove = entry->value.ptr == NULL;
    sqlite3_stmt *statement = remove ? state->remove : state->put;
    if (bind_text(state, statement, 1, entry->key, err) != STATUS_OK ||
        (!remove && bind_text(state, statement, 2, entry->value, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    int code = sqlite3_step(statement);
    Status status =
        code == SQLITE_DONE ? STATUS_OK : sqlite_failed(state, code, "store the checkpoint", err);
    (void)sqlite3_reset(statement);
    return status;
}

static Status save_locked(State *state, const Checkpoint *changed, Error *err)
{
    if (execute(state, "BEGIN IMMEDIATE", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < changed->count; i++) {
        if (save_entry(state, &changed->entries[i], err) != STATUS_OK) {
            (void)sqlite3_exec(state->db, "ROLLBACK", NULL, NULL, NULL);
            return STATUS_FAIL;
        }
    }
    CRASH_POINT("state-filled");
    if (execute(state, "COMMIT", err) != STATUS_OK) {
        (void)sqlite3_exec(state->db, "ROLLBACK", NULL, NULL, NULL);
        return STATUS_FAIL;
    }
    return STATUS_OK;
}

Status state_save(State *state, const Checkpoint *changed, Error *err)
{
    (void)pthread_mutex_lock(&state->lock);
    Status status = save_locked(state, changed, err);
    (void)pthread_mutex_unlock(&state->lock);
    return status;
}

void state_close(State *state)
{
    if (state == NULL) {
        return;
    }
    (void)sqlite3_finalize(state->put);
    (void)sqlite3_finalize(state->remove);
    (void)sqlite3_close(state->db);
    if (state->lock_fd >= 0) {
        (void)close(state->lock_fd);
    }
    (void)pthread_mutex_destroy(&state->lock);
    arena_done(&state->arena);
    mem_free(state);
}
