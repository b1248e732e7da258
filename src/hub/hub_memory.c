#include "hub/hub_memory.h"

#include <pthread.h>
#include <sqlite3.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/sqlite_error.h"

enum { CLEAN_EVERY_MS = 60000 };

struct HubMemory {
    Arena arena;
    const char *path;
    int64_t keep_us;
    pthread_mutex_t lock; // of all below: a transaction is one thread's
    sqlite3 *db;          // NULL: not open
    sqlite3_stmt *find;
    sqlite3_stmt *add;
    sqlite3_stmt *pass; // what is older than what the log has
    sqlite3_stmt *drop;
    int64_t cleaned_at_ms;
};

// A fact that is not saved yet.
typedef struct Pending {
    HubFact fact;
    struct Pending *before; // of the same name; NULL: it is the first
} Pending;

struct HubRecall {
    HubMemory *memory;
    Arena arena; // as long as it
    Str system;
    Str writer;
    Arena facts; // until they are saved
    Map by_name; // the last Pending of each
    Pending **items;
    size_t count;
    size_t capacity;
};

HubMemory *hub_memory_new(Str path, int64_t keep_ms)
{
    HubMemory *memory = mem_alloc_zero(sizeof(*memory));
    memory->path = str_to_cstr(&memory->arena, path);
    memory->keep_us = keep_ms * 1000;
    (void)pthread_mutex_init(&memory->lock, NULL);
    return memory;
}

static void close_file(HubMemory *memory)
{
    (void)sqlite3_finalize(memory->find);
    (void)sqlite3_finalize(memory->add);
    (void)sqlite3_finalize(memory->pass);
    (void)sqlite3_finalize(memory->drop);
    (void)sqlite3_close(memory->db);
    memory->find = memory->add = memory->pass = memory->drop = NULL;
    memory->db = NULL;
}

void hub_memory_free(HubMemory *memory)
{
    if (memory != NULL) {
        close_file(memory);
        (void)pthread_mutex_destroy(&memory->lock);
        arena_done(&memory->arena);
        mem_free(memory);
    }
}

// ---------------------------------------------------------------------------------------------
// The file
// ---------------------------------------------------------------------------------------------

static Status failed(const HubMemory *memory, int code, const char *action, Error *err)
{
    return sqlite_error(err, memory->db, code, action, memory->path);
}

static Status execute(HubMemory *memory, const char *sql, Error *err)
{
    int code = sqlite3_exec(memory->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? STATUS_OK : failed(memory, code, "write", err);
}

static Status prepare(HubMemory *memory, const char *sql, sqlite3_stmt **ret, Error *err)
{
    int code = sqlite3_prepare_v3(memory->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
    return code == SQLITE_OK ? STATUS_OK : failed(memory, code, "read", err);
}

// FULL: what was saved, a power cut does not take back.
#define SETUP_SQL                                                                      \
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"                                \
    "CREATE TABLE IF NOT EXISTS fact (id INTEGER PRIMARY KEY, system TEXT, what BLOB," \
    " value BLOB, writer TEXT, lsn INTEGER, at_us INTEGER);"                           \
    "CREATE INDEX IF NOT EXISTS fact_what ON fact (system, what);"

#define OF_FACT "system = ?1 AND what = ?2"

static Status open_file(HubMemory *memory, Error *err)
{
    if (memory->db != NULL) {
        return STATUS_OK;
    }
    if (file_make_private(memory->path, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int code = sqlite3_open(memory->path, &memory->db);
    Status status =
        code == SQLITE_OK ? STATUS_OK : failed(memory, code, "open the hub's memory", err);
    if (status == STATUS_OK) {
        (void)sqlite3_busy_timeout(memory->db, 5000);
        status = execute(memory, SETUP_SQL, err);
    }
    if (status != STATUS_OK ||
        prepare(memory, "SELECT value, at_us FROM fact WHERE " OF_FACT " ORDER BY id DESC LIMIT 1",
                &memory->find, err) != STATUS_OK ||
        prepare(memory,
                "INSERT INTO fact (system, what, value, writer, lsn, at_us)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                &memory->add, err) != STATUS_OK ||
        prepare(memory,
                "DELETE FROM fact WHERE " OF_FACT " AND id < (SELECT max(id) FROM fact"
                " WHERE " OF_FACT " AND lsn < ?3)",
                &memory->pass, err) != STATUS_OK ||
        prepare(memory,
                "DELETE FROM fact WHERE (system = ?1 AND writer = ?2 AND lsn >= ?3) OR at_us < ?4",
                &memory->drop, err) != STATUS_OK) {
        close_file(memory);
        return STATUS_FAIL;
    }
    return STATUS_OK;
}

static void bind(sqlite3_stmt *statement, int at, Str bytes)
{
    if (bytes.ptr == NULL && bytes.len == 0) {
        (void)sqlite3_bind_null(statement, at);
    } else {
        (void)sqlite3_bind_blob64(statement, at, bytes.ptr, bytes.len, SQLITE_STATIC);
    }
}

static Status run(HubMemory *memory, sqlite3_stmt *statement, Error *err)
{
    int code = sqlite3_step(statement);
    Status status = code == SQLITE_DONE ? STATUS_OK : failed(memory, code, "write", err);
    (void)sqlite3_reset(statement);
    return status;
}

// ---------------------------------------------------------------------------------------------
// Who remembers
// ---------------------------------------------------------------------------------------------

HubRecall *hub_recall_new(HubMemory *memory, Str system, Str writer)
{
    HubRecall *recall = mem_alloc_zero(sizeof(*recall));
    recall->memory = memory;
    recall->system = str_copy(&recall->arena, system);
    recall->writer = str_copy(&recall->arena, writer);
    return recall;
}

void hub_recall_free(HubRecall *recall)
{
    if (recall != NULL) {
        map_done(&recall->by_name);
        mem_free(recall->items);
        arena_done(&recall->facts);
        arena_done(&recall->arena);
        mem_free(recall);
    }
}

// What the writer saved for @lsn and later, and all that is too old.
static Status drop(const HubRecall *recall, int64_t lsn, Error *err)
{
    HubMemory *memory = recall->memory;
    bind(memory->drop, 1, recall->system);
    bind(memory->drop, 2, recall->writer);
    (void)sqlite3_bind_int64(memory->drop, 3, lsn);
    (void)sqlite3_bind_int64(memory->drop, 4, clock_wall_us() - memory->keep_us);
    return run(memory, memory->drop, err);
}

Status hub_recall_begin(HubRecall *recall, Lsn end, Error *err)
{
    HubMemory *memory = recall->memory;
    (void)pthread_mutex_lock(&memory->lock);
    Status status = open_file(memory, err);
    if (status == STATUS_OK) {
        status = drop(recall, (int64_t)end, err);
    }
    (void)pthread_mutex_unlock(&memory->lock);
    return status;
}

// What is forgotten takes no room for ever.
static Status clean(const HubRecall *recall, Error *err)
{
    HubMemory *memory = recall->memory;
    int64_t now_ms = clock_monotonic_ms();
    if (now_ms - memory->cleaned_at_ms < CLEAN_EVERY_MS) {
        return STATUS_OK;
    }
    memory->cleaned_at_ms = now_ms;
    return drop(recall, INT64_MAX, err);
}

// ptr NULL stays NULL: that is to know nothing.
static Str copy_of(Str value, Arena *arena)
{
    return value.ptr == NULL ? value : (Str){arena_copy(arena, value.ptr, value.len), value.len};
}

static Status find(const HubRecall *recall, Str what, Arena *arena, Str *ret, Error *err)
{
    HubMemory *memory = recall->memory;
    sqlite3_stmt *statement = memory->find;
    bind(statement, 1, recall->system);
    bind(statement, 2, what);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW &&
        sqlite3_column_int64(statement, 1) >= clock_wall_us() - memory->keep_us &&
        sqlite3_column_type(statement, 0) != SQLITE_NULL) {
        const void *bytes = sqlite3_column_blob(statement, 0);
        size_t len = (size_t)sqlite3_column_bytes(statement, 0);
        *ret = (Str){arena_copy(arena, bytes == NULL ? "" : bytes, len), len};
    }
    Status status =
        code == SQLITE_ROW || code == SQLITE_DONE ? STATUS_OK : failed(memory, code, "read", err);
    (void)sqlite3_reset(statement);
    return status;
}

Status hub_recall_get(HubRecall *recall, Str what, Arena *arena, Str *ret, Error *err)
{
    *ret = (Str){0};
    const Pending *pending = map_get(&recall->by_name, what);
    if (pending != NULL) {
        *ret = copy_of(pending->fact.value, arena); // it goes when it is saved
        return STATUS_OK;
    }
    HubMemory *memory = recall->memory;
    (void)pthread_mutex_lock(&memory->lock);
    Status status =
        open_file(memory, err) == STATUS_OK ? find(recall, what, arena, ret, err) : STATUS_FAIL;
    (void)pthread_mutex_unlock(&memory->lock);
    return status;
}

// ---------------------------------------------------------------------------------------------
// What waits
// ---------------------------------------------------------------------------------------------

void hub_recall_put(HubRecall *recall, const HubFact *fact)
{
    Pending *pending = arena_alloc_zero(&recall->facts, sizeof(*pending));
    pending->fact = (HubFact){.what = str_copy(&recall->facts, fact->what),
                              .value = copy_of(fact->value, &recall->facts),
                              .stays = fact->stays};
    pending->before = map_put(&recall->by_name, pending->fact.what, pending);
    if (recall->count == recall->capacity) {
        recall->capacity = MAX(recall->capacity * 2, (size_t)64);
        recall->items = mem_resize(recall->items, recall->capacity * sizeof(Pending *));
    }
    recall->items[recall->count++] = pending;
}

size_t hub_recall_mark(const HubRecall *recall)
{
    return recall->count;
}

void hub_recall_undo(HubRecall *recall, size_t mark)
{
    while (recall->count > mark) {
        Pending *last = recall->items[--recall->count];
        (void)map_remove(&recall->by_name, last->fact.what); // its key goes with it
        if (last->before != NULL) {
            (void)map_put(&recall->by_name, last->before->fact.what, last->before);
        }
    }
}

static Status save(const HubRecall *recall, const HubFact *fact, Lsn lsn, int64_t now_us,
                   Error *err)
{
    HubMemory *memory = recall->memory;
    bind(memory->pass, 1, recall->system);
    bind(memory->pass, 2, fact->what);
    // What holds at once makes all before it void.
    (void)sqlite3_bind_int64(memory->pass, 3, lsn == LSN_NONE ? INT64_MAX : (int64_t)lsn);
    bind(memory->add, 1, recall->system);
    bind(memory->add, 2, fact->what);
    bind(memory->add, 3, fact->value);
    bind(memory->add, 4, recall->writer);
    (void)sqlite3_bind_int64(memory->add, 5, (int64_t)lsn);
    (void)sqlite3_bind_int64(memory->add, 6, fact->stays ? INT64_MAX : now_us);
    return run(memory, memory->pass, err) == STATUS_OK ? run(memory, memory->add, err)
                                                       : STATUS_FAIL;
}

static Status save_all(const HubRecall *recall, Lsn lsn, Error *err)
{
    HubMemory *memory = recall->memory;
    int64_t now_us = clock_wall_us();
    if (open_file(memory, err) != STATUS_OK ||
        execute(memory, "BEGIN IMMEDIATE", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status = clean(recall, err);
    for (size_t i = 0; i < recall->count && status == STATUS_OK; i++) {
        const Pending *pending = recall->items[i];
        if (map_get(&recall->by_name, pending->fact.what) == pending) {
            status = save(recall, &pending->fact, lsn, now_us, err);
        }
    }
    if (status != STATUS_OK || execute(memory, "COMMIT", err) != STATUS_OK) {
        (void)sqlite3_exec(memory->db, "ROLLBACK", NULL, NULL, NULL);
        return STATUS_FAIL;
    }
    return STATUS_OK;
}

Status hub_recall_save(HubRecall *recall, Lsn lsn, Error *err)
{
    if (recall->count == 0) {
        return STATUS_OK;
    }
    HubMemory *memory = recall->memory;
    (void)pthread_mutex_lock(&memory->lock);
    Status status = save_all(recall, lsn, err);
    (void)pthread_mutex_unlock(&memory->lock);
    if (status == STATUS_OK) {
        recall->count = 0;
        map_reset(&recall->by_name);
        arena_reset(&recall->facts);
    }
    return status;
}
