#include "hub/events_told.h"

#include <sqlite3.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/sqlite_error.h"

enum {
    // Stripe lists events for 30 days. Counted from when they were told: its clocks for tests may
    // be set to any time.
    KEPT_S = 31 * 86400,
    // Events are not told in the order in which they happened: what a webhook did not deliver at
    // once comes minutes later.
    OVERLAP_S = 3600,
    PATIENCE_MS = 10000,
    // So many old ones are looked at for each that is added. One would do if all of them could go;
    // so those that could go are never more than a third of those that stay.
    LOOKED_AT = 4,
    SECOND_US = 1000000,
};

struct EventsTold {
    Arena arena;
    const char *path;
    sqlite3 *db;
    sqlite3_stmt *find;
    sqlite3_stmt *last;
    sqlite3_stmt *add;
    bool in_transaction;
    uint64_t added; // in it
    Lsn looked_at;  // whether those up to here can go, since that began anew
};

static const char setup[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
    "CREATE TABLE IF NOT EXISTS since (s INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS event (id TEXT PRIMARY KEY, object TEXT NOT NULL,"
    " created_s INTEGER NOT NULL, rank INTEGER NOT NULL, lsn INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS event_object ON event (object, lsn);"
    "CREATE INDEX IF NOT EXISTS event_created ON event (created_s);"
    "CREATE INDEX IF NOT EXISTS event_lsn ON event (lsn);";

static Status failed(const EventsTold *told, int code, Error *err)
{
    return sqlite_error(err, told->db, code, "keep the events that were told in", told->path);
}

static Status execute(EventsTold *told, const char *sql, Error *err)
{
    int code = sqlite3_exec(told->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? STATUS_OK : failed(told, code, err);
}

static Status execute_with(EventsTold *told, const char *sql, int64_t number, Error *err)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(told->db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        (void)sqlite3_bind_int64(statement, 1, number);
        code = sqlite3_step(statement);
    }
    Status status = code == SQLITE_DONE ? STATUS_OK : failed(told, code, err);
    (void)sqlite3_finalize(statement);
    return status;
}

static Status prepare(EventsTold *told, const char *sql, sqlite3_stmt **ret, Error *err)
{
    int code = sqlite3_prepare_v3(told->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
    return code == SQLITE_OK ? STATUS_OK : failed(told, code, err);
}

// The @count-th event behind the last one that was looked at; @end, where fewer are before that.
static Status find_place(EventsTold *told, uint64_t count, Lsn end, Lsn *ret, Error *err)
{
    sqlite3_stmt *statement = NULL;
    Status status = prepare(told,
                            "SELECT lsn FROM event WHERE lsn > ?1 AND lsn < ?2"
                            " ORDER BY lsn LIMIT 1 OFFSET ?3",
                            &statement, err);
    if (status == STATUS_OK) {
        (void)sqlite3_bind_int64(statement, 1, (int64_t)told->looked_at);
        (void)sqlite3_bind_int64(statement, 2, (int64_t)end);
        (void)sqlite3_bind_int64(statement, 3, (int64_t)count - 1);
        int code = sqlite3_step(statement);
        *ret = code == SQLITE_ROW ? (Lsn)sqlite3_column_int64(statement, 0) : end;
        status = code == SQLITE_ROW || code == SQLITE_DONE ? STATUS_OK : failed(told, code, err);
    }
    (void)sqlite3_finalize(statement);
    return status;
}

// Of each object the last event stays, of those before @durable: a webhook may be delivered again
// at any time, and what is not durable may be forgotten.
static Status forget_up_to(EventsTold *told, Lsn last, Lsn durable, Error *err)
{
    sqlite3_stmt *statement = NULL;
    Status status = prepare(told,
                            "DELETE FROM event WHERE lsn > ?1 AND lsn <= ?2 AND (object = id OR"
                            " lsn < (SELECT max(lsn) FROM event newer"
                            " WHERE newer.object = event.object AND newer.lsn < ?3))",
                            &statement, err);
    if (status == STATUS_OK) {
        (void)sqlite3_bind_int64(statement, 1, (int64_t)told->looked_at);
        (void)sqlite3_bind_int64(statement, 2, (int64_t)last);
        (void)sqlite3_bind_int64(statement, 3, (int64_t)durable);
        int code = sqlite3_step(statement);
        status = code == SQLITE_DONE ? STATUS_OK : failed(told, code, err);
    }
    (void)sqlite3_finalize(statement);
    return status;
}

// Those of the next @count events that nobody asks for any more. At the end it begins anew.
static Status forget_some(EventsTold *told, uint64_t count, Lsn durable, int64_t now_s, Error *err)
{
    Lsn end = (Lsn)(now_s - KEPT_S) * SECOND_US;
    Lsn last;
    if (find_place(told, count, end, &last, err) != STATUS_OK ||
        forget_up_to(told, last, durable, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    told->looked_at = last < end ? last : LSN_NONE;
    return STATUS_OK;
}

static Status begin(EventsTold *told, Lsn end, int64_t since_s, int64_t now_s, Error *err)
{
    return execute_with(told, "DELETE FROM event WHERE lsn >= ?1", (int64_t)end, err) ==
                       STATUS_OK &&
                   forget_some(told, INT64_MAX, end, now_s, err) == STATUS_OK
               ? execute_with(told,
                              "INSERT INTO since SELECT ?1 WHERE NOT EXISTS"
                              " (SELECT 1 FROM since)",
                              since_s, err)
               : STATUS_FAIL;
}

static Status open_database(EventsTold *told, Error *err)
{
    if (file_make_private(told->path, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int code = sqlite3_open(told->path, &told->db);
    if (code != SQLITE_OK) {
        return failed(told, code, err);
    }
    (void)sqlite3_busy_timeout(told->db, PATIENCE_MS);
    return execute(told, setup, err) == STATUS_OK &&
                   prepare(told, "SELECT lsn FROM event WHERE id = ?1", &told->find, err) ==
                       STATUS_OK &&
                   prepare(told,
                           "SELECT lsn, created_s, rank FROM event WHERE object = ?1 "
                           "ORDER BY lsn DESC LIMIT 1",
                           &told->last, err) == STATUS_OK &&
                   prepare(told, "INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5)", &told->add,
                           err) == STATUS_OK
               ? STATUS_OK
               : STATUS_FAIL;
}

Status events_told_open(const char *directory, Lsn end, int64_t since_s, int64_t now_s,
                        EventsTold **ret, Error *err)
{
    EventsTold *told = mem_alloc_zero(sizeof(*told));
    told->path = arena_printf(&told->arena, "%s/events.db", directory);
    if (open_database(told, err) != STATUS_OK ||
        begin(told, end, since_s, now_s, err) != STATUS_OK) {
        events_told_close(told);
        return STATUS_FAIL;
    }
    *ret = told;
    return STATUS_OK;
}

void events_told_close(EventsTold *told)
{
    if (told == NULL) {
        return;
    }
    (void)sqlite3_finalize(told->find);
    (void)sqlite3_finalize(told->last);
    (void)sqlite3_finalize(told->add);
    (void)sqlite3_close(told->db);
    arena_done(&told->arena);
    mem_free(told);
}

// Ids of different kinds of objects may be the same where users choose them. What has no id is told
// by each event anew.
static Str object_of(const HubEvent *event, Arena *arena)
{
    return event->object_id.len == 0
               ? event->id
               : str_from(arena_printf(arena, "%" STR_FMT " %" STR_FMT, STR_ARG(event->location),
                                       STR_ARG(event->object_id)));
}

static void bind_text(sqlite3_stmt *statement, int at, Str text)
{
    (void)sqlite3_bind_text64(statement, at, text.ptr, text.len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

static Status find_event(EventsTold *told, const HubEvent *event, Lsn *ret_lsn, Error *err)
{
    bind_text(told->find, 1, event->id);
    int code = sqlite3_step(told->find);
    *ret_lsn = code == SQLITE_ROW ? (Lsn)sqlite3_column_int64(told->find, 0) : LSN_NONE;
    (void)sqlite3_reset(told->find);
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        return failed(told, code, err);
    }
    return code == SQLITE_ROW ? STATUS_OK : STATUS_AGAIN;
}

static Status find_newer(EventsTold *told, const HubEvent *event, Lsn *ret_lsn, Error *err)
{
    Arena scratch = {.chunk_size = 1024};
    bind_text(told->last, 1, object_of(event, &scratch));
    int code = sqlite3_step(told->last);
    bool is_older =
        code == SQLITE_ROW && hub_event_is_older(event, sqlite3_column_int64(told->last, 1),
                                                 sqlite3_column_int(told->last, 2));
    *ret_lsn = is_older ? (Lsn)sqlite3_column_int64(told->last, 0) : LSN_NONE;
    (void)sqlite3_reset(told->last);
    arena_done(&scratch);
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        return failed(told, code, err);
    }
    return is_older ? STATUS_OK : STATUS_AGAIN;
}

Status events_told_find(EventsTold *told, const HubEvent *event, Lsn *ret_lsn, Error *err)
{
    Status status = find_event(told, event, ret_lsn, err);
    return status == STATUS_AGAIN ? find_newer(told, event, ret_lsn, err) : status;
}

Status events_told_add(EventsTold *told, const HubEvent *event, Lsn lsn, Error *err)
{
    if (!told->in_transaction && execute(told, "BEGIN IMMEDIATE", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    told->in_transaction = true;
    Arena scratch = {.chunk_size = 1024};
    bind_text(told->add, 1, event->id);
    bind_text(told->add, 2, object_of(event, &scratch));
    (void)sqlite3_bind_int64(told->add, 3, event->created_s);
    (void)sqlite3_bind_int(told->add, 4, hub_event_rank(event->op));
    (void)sqlite3_bind_int64(told->add, 5, (int64_t)lsn);
    int code = sqlite3_step(told->add);
    (void)sqlite3_reset(told->add);
    arena_done(&scratch);
    told->added++;
    return code == SQLITE_DONE ? STATUS_OK : failed(told, code, err);
}

Status events_told_save(EventsTold *told, Lsn durable, int64_t now_s, Error *err)
{
    if (!told->in_transaction) {
        return STATUS_OK;
    }
    if (forget_some(told, told->added * LOOKED_AT, durable, now_s, err) != STATUS_OK ||
        execute(told, "COMMIT", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    told->in_transaction = false;
    told->added = 0;
    return STATUS_OK;
}

Status events_told_since(EventsTold *told, int64_t now_s, int64_t *ret_s, Error *err)
{
    sqlite3_stmt *statement = NULL;
    Status status =
        prepare(told,
                "SELECT max((SELECT s FROM since),"
                " coalesce((SELECT max(created_s) FROM event WHERE created_s <= ?2) - ?1,"
                " (SELECT s FROM since)))",
                &statement, err);
    if (status == STATUS_OK) {
        (void)sqlite3_bind_int(statement, 1, OVERLAP_S);
        (void)sqlite3_bind_int64(statement, 2, now_s);
        int code = sqlite3_step(statement);
        *ret_s = sqlite3_column_int64(statement, 0);
        status = code == SQLITE_ROW ? STATUS_OK : failed(told, code, err);
    }
    (void)sqlite3_finalize(statement);
    return status;
}

Status events_told_all_before(EventsTold *told, int64_t since_s, Error *err)
{
    return execute_with(told, "UPDATE since SET s = max(s, ?1)", since_s - OVERLAP_S, err);
}
