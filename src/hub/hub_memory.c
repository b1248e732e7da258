#include "hub/hub_memory.h"

#include <pthread.h>
#include <sqlite3.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/sqlite_error.h"

enum { CLEANED_LEAST = 100 };

// What is forgotten only when it is said, in SQL: sqlite knows partial indexes by the same words.
#define NEVER "9223372036854775807"

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
    sqlite3_stmt *clean_old;
    sqlite3_stmt *clean_passed;
    sqlite3_stmt *clean_void;
    Lsn end; // the log has got at least that far
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
    Lsn passed;
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
    memory->end = 1; // what holds at once is before
    (void)pthread_mutex_init(&memory->lock, NULL);
    return memory;
}

static void close_file(HubMemory *memory)
{
    (void)sqlite3_finalize(memory->find);
    (void)sqlite3_finalize(memory->add);
    (void)sqlite3_finalize(memory->pass);
    (void)sqlite3_finalize(memory->drop);
    (void)sqlite3_finalize(memory->clean_old);
    (void)sqlite3_finalize(memory->clean_passed);
    (void)sqlite3_finalize(memory->clean_void);
    (void)sqlite3_close(memory->db);
    memory->find = memory->add = memory->pass = memory->drop = NULL;
    memory->clean_old = memory->clean_passed = memory->clean_void = NULL;
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
    " value BLOB, lsn INTEGER, at_us INTEGER);"                                        \
    "CREATE INDEX IF NOT EXISTS fact_what ON fact (system, what);"

// Each is for one way in which facts go, and has only those that it is about.
#define INDEX_SQL                                                                 \
    "CREATE INDEX IF NOT EXISTS fact_lsn ON fact (lsn) WHERE lsn > 0;"            \
    "CREATE INDEX IF NOT EXISTS fact_at ON fact (at_us) WHERE at_us < " NEVER ";" \
    "CREATE INDEX IF NOT EXISTS fact_until ON fact (system, until)"               \
    " WHERE until IS NOT NULL;"                                                   \
    "CREATE INDEX IF NOT EXISTS fact_void ON fact (lsn) WHERE value IS NULL;"

#define OF_FACT "system = ?1 AND what = ?2"

static Status set_up(HubMemory *memory, Error *err)
{
    (void)sqlite3_busy_timeout(memory->db, 5000);
    if (execute(memory, SETUP_SQL, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // Files of before have none.
    if (sqlite3_table_column_metadata(memory->db, NULL, "fact", "until", NULL, NULL, NULL, NULL,
                                      NULL) != SQLITE_OK &&
        execute(memory, "ALTER TABLE fact ADD COLUMN until INTEGER", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return execute(memory, INDEX_SQL, err);
}

static Status prepare_all(HubMemory *memory, Error *err)
{
    const struct {
        sqlite3_stmt **statement;
        const char *sql;
    } all[] = {
        {&memory->find, "SELECT value, at_us FROM fact WHERE " OF_FACT " ORDER BY id DESC LIMIT 1"},
        {&memory->add, "INSERT INTO fact (system, what, value, lsn, at_us, until)"
                       " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"},
        {&memory->pass, "DELETE FROM fact WHERE " OF_FACT " AND id < (SELECT max(id) FROM fact"
                        " WHERE " OF_FACT " AND lsn < ?3)"},
        {&memory->drop, "DELETE FROM fact INDEXED BY fact_lsn WHERE lsn >= ?1 AND lsn > 0"},
        {&memory->clean_old, "DELETE FROM fact WHERE id IN (SELECT id FROM fact"
                             " WHERE at_us < ?1 AND at_us < " NEVER " ORDER BY at_us LIMIT ?2)"},
        {&memory->clean_passed, "DELETE FROM fact WHERE id IN (SELECT id FROM fact"
                                " WHERE system = ?1 AND until < ?2 LIMIT ?3)"},
        // With what it made void, which would be known again.
        {&memory->clean_void,
         "DELETE FROM fact WHERE id IN (SELECT older.id FROM (SELECT id, system, what FROM fact"
         " WHERE value IS NULL AND lsn < ?1 LIMIT ?2) AS void JOIN fact AS older"
         " ON older.system = void.system AND older.what = void.what AND older.id <= void.id)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (prepare(memory, all[i].sql, all[i].statement, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

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
    if (status != STATUS_OK || set_up(memory, err) != STATUS_OK ||
        prepare_all(memory, err) != STATUS_OK) {
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

static Status drop(HubMemory *memory, Lsn end, Error *err)
{
    (void)sqlite3_bind_int64(memory->drop, 1, (int64_t)end);
    if (run(memory, memory->drop, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    memory->end = MAX(memory->end, end);
    return STATUS_OK;
}

Status hub_memory_begin(HubMemory *memory, Lsn end, Error *err)
{
    Status status = STATUS_OK;
    (void)pthread_mutex_lock(&memory->lock);
    // A hub that has nothing to remember has no such file.
    if (memory->db != NULL || access(memory->path, F_OK) == 0) {
        status = open_file(memory, err) == STATUS_OK ? drop(memory, end, err) : STATUS_FAIL;
    }
    (void)pthread_mutex_unlock(&memory->lock);
    return status;
}

// ---------------------------------------------------------------------------------------------
// Who remembers
// ---------------------------------------------------------------------------------------------

HubRecall *hub_recall_new(HubMemory *memory, Str system)
{
    HubRecall *recall = mem_alloc_zero(sizeof(*recall));
    recall->memory = memory;
    recall->system = str_copy(&recall->arena, system);
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

// What is forgotten takes no room for ever. More goes than comes in, so it never piles up; and not
// all of it at once, as everybody waits for that.
static Status clean(const HubRecall *recall, Error *err)
{
    HubMemory *memory = recall->memory;
    int64_t most = CLEANED_LEAST + 2 * (int64_t)recall->count;
    (void)sqlite3_bind_int64(memory->clean_old, 1, clock_wall_us() - memory->keep_us);
    (void)sqlite3_bind_int64(memory->clean_old, 2, most);
    bind(memory->clean_passed, 1, recall->system);
    (void)sqlite3_bind_int64(memory->clean_passed, 2, (int64_t)recall->passed);
    (void)sqlite3_bind_int64(memory->clean_passed, 3, most);
    (void)sqlite3_bind_int64(memory->clean_void, 1, (int64_t)memory->end);
    (void)sqlite3_bind_int64(memory->clean_void, 2, most);
    return run(memory, memory->clean_old, err) == STATUS_OK &&
                   run(memory, memory->clean_passed, err) == STATUS_OK
               ? run(memory, memory->clean_void, err)
               : STATUS_FAIL;
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
                              .stays = fact->stays,
                              .until = fact->until};
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
    (void)sqlite3_bind_int64(memory->pass, 3, lsn == LSN_NONE ? INT64_MAX : (int64_t)lsn);
    bind(memory->add, 1, recall->system);
    bind(memory->add, 2, fact->what);
    bind(memory->add, 3, fact->value);
    (void)sqlite3_bind_int64(memory->add, 4, (int64_t)lsn);
    bool times_out = !fact->stays && fact->until == LSN_NONE;
    (void)sqlite3_bind_int64(memory->add, 5, times_out ? now_us : INT64_MAX);
    if (fact->until == LSN_NONE) {
        (void)sqlite3_bind_null(memory->add, 6);
    } else {
        (void)sqlite3_bind_int64(memory->add, 6, (int64_t)fact->until);
    }
    // What holds at once makes all before it void, and what does not, what is void by now.
    sqlite3_stmt *first = lsn == LSN_NONE ? memory->add : memory->pass;
    sqlite3_stmt *second = lsn == LSN_NONE ? memory->pass : memory->add;
    return run(memory, first, err) == STATUS_OK ? run(memory, second, err) : STATUS_FAIL;
}

static Status save_all(const HubRecall *recall, Lsn lsn, Error *err)
{
    HubMemory *memory = recall->memory;
    int64_t now_us = clock_wall_us();
    if (open_file(memory, err) != STATUS_OK ||
        execute(memory, "BEGIN IMMEDIATE", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    memory->end = MAX(memory->end, lsn); // it is the turn of @lsn: what is before is in the log
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

void hub_recall_pass(HubRecall *recall, Lsn lsn)
{
    recall->passed = MAX(recall->passed, lsn);
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
