#include "pipeline/dead_store.h"

#include <sqlite3.h>
#include <unistd.h>

#include "base/crash_point.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/sqlite_error.h"

// Another process holds the database for as long as a commit takes.
enum { PATIENCE_MS = 10000 };

struct DeadStore {
    Arena arena;
    const char *path;
    sqlite3 *db;
    bool in_transaction;
    int64_t version; // of the database, as it was last seen; 0: it never was
};

static const char setup[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
    "CREATE TABLE IF NOT EXISTS letter (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " lsn INTEGER NOT NULL, ordinal INTEGER NOT NULL, oid INTEGER NOT NULL,"
    " table_schema TEXT NOT NULL, table_name TEXT NOT NULL, op INTEGER NOT NULL,"
    " is_refused INTEGER NOT NULL, wants_retry INTEGER NOT NULL DEFAULT 0,"
    " happened_us INTEGER NOT NULL, kept_us INTEGER NOT NULL, tried_us INTEGER NOT NULL,"
    " tries INTEGER NOT NULL, error TEXT NOT NULL, old_key BLOB NOT NULL, new_key BLOB NOT NULL,"
    " record BLOB NOT NULL, UNIQUE (lsn, ordinal));"
    "CREATE TABLE IF NOT EXISTS mark (id INTEGER PRIMARY KEY CHECK (id = 1),"
    " identity INTEGER NOT NULL, changes INTEGER NOT NULL, is_reset INTEGER NOT NULL);";

// In the order of read_letter().
#define COLUMNS                                                                      \
    "id, lsn, ordinal, oid, table_schema, table_name, op, is_refused, wants_retry, " \
    "happened_us, kept_us, tried_us, tries, error, old_key, new_key"

static Status failed(const DeadStore *store, int code, const char *what, Error *err)
{
    char action[64];
    (void)snprintf(action, sizeof(action), "%s the dead letters in", what);
    return sqlite_error(err, store->db, code, action, store->path);
}

static Status execute(DeadStore *store, const char *sql, Error *err)
{
    int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? STATUS_OK : failed(store, code, "write", err);
}

static Status open_database(DeadStore *store, Error *err)
{
    if (file_make_private(store->path, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int code = sqlite3_open(store->path, &store->db);
    if (code != SQLITE_OK) {
        return failed(store, code, "open", err);
    }
    (void)sqlite3_busy_timeout(store->db, PATIENCE_MS);
    return execute(store, setup, err);
}

static const char *path_in(const char *directory, Arena *arena)
{
    return arena_printf(arena, "%s/dead.db", directory);
}

bool dead_store_is_there(const char *directory)
{
    Arena scratch = {.chunk_size = 1024};
    bool is_there = access(path_in(directory, &scratch), F_OK) == 0;
    arena_done(&scratch);
    return is_there;
}

Status dead_store_open(const char *directory, bool make, DeadStore **ret, Error *err)
{
    *ret = NULL;
    DeadStore *store = mem_alloc_zero(sizeof(*store));
    store->path = path_in(directory, &store->arena);
    bool is_there = dead_store_is_there(directory);
    if ((!is_there && !make) || open_database(store, err) != STATUS_OK) {
        dead_store_close(store);
        return is_there || make ? STATUS_FAIL : STATUS_OK;
    }
    *ret = store;
    return STATUS_OK;
}

void dead_store_close(DeadStore *store)
{
    if (store != NULL) {
        (void)sqlite3_close(store->db);
        arena_done(&store->arena);
        mem_free(store);
    }
}

// ---------------------------------------------------------------------------------------------
// Statements
// ---------------------------------------------------------------------------------------------

static Status prepare(DeadStore *store, const char *sql, sqlite3_stmt **ret, Error *err)
{
    int code = sqlite3_prepare_v2(store->db, sql, -1, ret, NULL);
    return code == SQLITE_OK ? STATUS_OK : failed(store, code, "read", err);
}

// What is bound lives until the statement is stepped.
static void bind_bytes(sqlite3_stmt *statement, int at, Str bytes, bool is_text)
{
    const char *ptr = bytes.ptr == NULL ? "" : bytes.ptr;
    if (is_text) {
        (void)sqlite3_bind_text64(statement, at, ptr, bytes.len, SQLITE_STATIC, SQLITE_UTF8);
    } else {
        (void)sqlite3_bind_blob64(statement, at, ptr, bytes.len, SQLITE_STATIC);
    }
}

static Str column_bytes(sqlite3_stmt *statement, int column, Arena *arena)
{
    const void *bytes = sqlite3_column_blob(statement, column);
    return bytes == NULL
               ? (Str){"", 0}
               : str_copy(arena, (Str){bytes, (size_t)sqlite3_column_bytes(statement, column)});
}

static void roll_back(DeadStore *store)
{
    store->in_transaction = false;
    (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

static Status begin(DeadStore *store, Error *err)
{
    if (store->in_transaction) {
        return STATUS_OK;
    }
    if (execute(store, "BEGIN IMMEDIATE", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    store->in_transaction = true;
    if (execute(store, "UPDATE mark SET changes = changes + 1", err) != STATUS_OK) {
        roll_back(store);
        return STATUS_FAIL;
    }
    return STATUS_OK;
}

// Frees @statement.
static Status run(DeadStore *store, sqlite3_stmt *statement, bool *ret_found, Error *err)
{
    int code = sqlite3_step(statement);
    *ret_found = sqlite3_changes(store->db) > 0;
    Status status = code == SQLITE_DONE ? STATUS_OK : failed(store, code, "write", err);
    (void)sqlite3_finalize(statement);
    return status;
}

static void read_letter(sqlite3_stmt *statement, Arena *arena, DeadLetter *ret)
{
    int64_t op = sqlite3_column_int64(statement, 6);
    *ret = (DeadLetter){
        .id = sqlite3_column_int64(statement, 0),
        .position = {(Lsn)sqlite3_column_int64(statement, 1),
                     (uint64_t)sqlite3_column_int64(statement, 2)},
        .oid = (uint32_t)sqlite3_column_int64(statement, 3),
        .schema = column_bytes(statement, 4, arena),
        .name = column_bytes(statement, 5, arena),
        .op = op >= CHANGE_READ && op <= CHANGE_SCHEMA ? (ChangeOp)op : CHANGE_SCHEMA,
        .is_refused = sqlite3_column_int64(statement, 7) != 0,
        .wants_retry = sqlite3_column_int64(statement, 8) != 0,
        .happened_us = sqlite3_column_int64(statement, 9),
        .kept_us = sqlite3_column_int64(statement, 10),
        .tried_us = sqlite3_column_int64(statement, 11),
        .tries = sqlite3_column_int64(statement, 12),
        .error = column_bytes(statement, 13, arena),
        .old_key = column_bytes(statement, 14, arena),
        .new_key = column_bytes(statement, 15, arena),
    };
}

// ---------------------------------------------------------------------------------------------
// Reading
// ---------------------------------------------------------------------------------------------

static Status count_letters(DeadStore *store, size_t *ret, Error *err)
{
    sqlite3_stmt *statement = NULL;
    if (prepare(store, "SELECT count(*) FROM letter", &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int code = sqlite3_step(statement);
    *ret = code == SQLITE_ROW ? (size_t)sqlite3_column_int64(statement, 0) : 0;
    (void)sqlite3_finalize(statement);
    return code == SQLITE_ROW ? STATUS_OK : failed(store, code, "read", err);
}

static Status read_list(DeadStore *store, Arena *arena, DeadLetters *ret, Error *err)
{
    size_t count;
    sqlite3_stmt *statement = NULL;
    if (count_letters(store, &count, err) != STATUS_OK ||
        // Unsigned numbers are kept as signed ones: those of an LSN are far from the difference.
        prepare(store, "SELECT " COLUMNS " FROM letter ORDER BY lsn, ordinal", &statement, err) !=
            STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = (DeadLetters){.items = ARENA_ARRAY(arena, DeadLetter, count)};
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW && ret->count < count) {
        read_letter(statement, arena, &ret->items[ret->count++]);
    }
    (void)sqlite3_finalize(statement);
    return code == SQLITE_DONE ? STATUS_OK : failed(store, code, "read", err);
}

Status dead_store_list(DeadStore *store, Arena *arena, DeadLetters *ret, Error *err)
{
    if (store->in_transaction) {
        return read_list(store, arena, ret, err);
    }
    // The count and the letters of one moment.
    if (execute(store, "BEGIN", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status = read_list(store, arena, ret, err);
    (void)sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
    return status;
}

Status dead_store_get(DeadStore *store, int64_t id, Arena *arena, DeadLetter *ret, bool *ret_found,
                      Error *err)
{
    sqlite3_stmt *statement = NULL;
    if (prepare(store, "SELECT " COLUMNS ", record FROM letter WHERE id = ?1", &statement, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    (void)sqlite3_bind_int64(statement, 1, id);
    int code = sqlite3_step(statement);
    *ret_found = code == SQLITE_ROW;
    if (*ret_found) {
        read_letter(statement, arena, ret);
        ret->record = column_bytes(statement, 16, arena);
    }
    (void)sqlite3_finalize(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? STATUS_OK : failed(store, code, "read", err);
}

// One that was made by a version before has no mark.
Status dead_store_mark(DeadStore *store, DeadMark *ret, Error *err)
{
    sqlite3_stmt *statement = NULL;
    if (prepare(store,
                "SELECT coalesce(max(identity), 0), coalesce(max(changes), 0),"
                " coalesce(max(is_reset), 0), EXISTS (SELECT 1 FROM letter) FROM mark",
                &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int code = sqlite3_step(statement);
    *ret = code != SQLITE_ROW ? (DeadMark){0}
                              : (DeadMark){(uint64_t)sqlite3_column_int64(statement, 0),
                                           sqlite3_column_int64(statement, 1),
                                           sqlite3_column_int64(statement, 2) != 0,
                                           sqlite3_column_int64(statement, 3) != 0};
    (void)sqlite3_finalize(statement);
    return code == SQLITE_ROW ? STATUS_OK : failed(store, code, "read", err);
}

static Status has_table(DeadStore *store, const char *name, bool *ret, Error *err)
{
    int code =
        sqlite3_table_column_metadata(store->db, NULL, name, "id", NULL, NULL, NULL, NULL, NULL);
    *ret = code == SQLITE_OK;
    return code == SQLITE_OK || code == SQLITE_ERROR ? STATUS_OK : failed(store, code, "read", err);
}

// Its tables are made when it is opened to be used.
static Status look(DeadStore *store, DeadMark *ret, Error *err)
{
    int code = sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE, NULL);
    if (code != SQLITE_OK) {
        return failed(store, code, "open", err);
    }
    (void)sqlite3_busy_timeout(store->db, PATIENCE_MS);
    bool has_letters;
    bool has_mark;
    if (has_table(store, "letter", &has_letters, err) != STATUS_OK ||
        has_table(store, "mark", &has_mark, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (has_letters && has_mark) {
        return dead_store_mark(store, ret, err);
    }
    size_t count = 0;
    Status status = has_letters ? count_letters(store, &count, err) : STATUS_OK;
    ret->has_letters = count > 0;
    return status;
}

Status dead_store_look(const char *directory, bool *ret_is_there, DeadMark *ret, Error *err)
{
    *ret = (DeadMark){0};
    *ret_is_there = dead_store_is_there(directory);
    if (!*ret_is_there) {
        return STATUS_OK;
    }
    DeadStore *store = mem_alloc_zero(sizeof(*store));
    store->path = path_in(directory, &store->arena);
    Status status = look(store, ret, err);
    dead_store_close(store);
    return status;
}

// https://www.sqlite.org/pragma.html#pragma_data_version
Status dead_store_has_changed(DeadStore *store, bool *ret, Error *err)
{
    sqlite3_stmt *statement = NULL;
    if (prepare(store, "PRAGMA data_version", &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int code = sqlite3_step(statement);
    int64_t version = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : store->version;
    (void)sqlite3_finalize(statement);
    *ret = version != store->version;
    store->version = version;
    return code == SQLITE_ROW ? STATUS_OK : failed(store, code, "read", err);
}

// ---------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------

Status dead_store_add(DeadStore *store, DeadLetter *letter, Error *err)
{
    sqlite3_stmt *statement = NULL;
    if (begin(store, err) != STATUS_OK ||
        prepare(store,
                "INSERT INTO letter (lsn, ordinal, oid, table_schema, table_name, op, is_refused,"
                " happened_us, kept_us, tried_us, tries, error, old_key, new_key, record)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
                &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const int64_t numbers[] = {(int64_t)letter->position.lsn, (int64_t)letter->position.ordinal,
                               letter->oid};
    for (int i = 0; i < (int)ARRAY_LEN(numbers); i++) {
        (void)sqlite3_bind_int64(statement, 1 + i, numbers[i]);
    }
    bind_bytes(statement, 4, letter->schema, true);
    bind_bytes(statement, 5, letter->name, true);
    const int64_t facts[] = {letter->op,      letter->is_refused, letter->happened_us,
                             letter->kept_us, letter->tried_us,   letter->tries};
    for (int i = 0; i < (int)ARRAY_LEN(facts); i++) {
        (void)sqlite3_bind_int64(statement, 6 + i, facts[i]);
    }
    bind_bytes(statement, 12, letter->error, true);
    bind_bytes(statement, 13, letter->old_key, false);
    bind_bytes(statement, 14, letter->new_key, false);
    bind_bytes(statement, 15, letter->record, false);
    bool is_added;
    Status status = run(store, statement, &is_added, err);
    letter->id = sqlite3_last_insert_rowid(store->db);
    return status;
}

Status dead_store_refused(DeadStore *store, int64_t id, Str why, int64_t now_us, Error *err)
{
    sqlite3_stmt *statement = NULL;
    if (begin(store, err) != STATUS_OK ||
        prepare(store,
                "UPDATE letter SET is_refused = 1, wants_retry = 0, tried_us = ?2,"
                " tries = tries + 1, error = ?3 WHERE id = ?1",
                &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    (void)sqlite3_bind_int64(statement, 1, id);
    (void)sqlite3_bind_int64(statement, 2, now_us);
    bind_bytes(statement, 3, why, true);
    bool is_there;
    return run(store, statement, &is_there, err);
}

static Status change_one(DeadStore *store, const char *sql, int64_t id, bool *ret_found, Error *err)
{
    sqlite3_stmt *statement = NULL;
    if (begin(store, err) != STATUS_OK || prepare(store, sql, &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    (void)sqlite3_bind_int64(statement, 1, id);
    return run(store, statement, ret_found, err);
}

Status dead_store_retry(DeadStore *store, int64_t id, bool *ret_found, Error *err)
{
    return change_one(store, "UPDATE letter SET wants_retry = 1 WHERE id = ?1 AND is_refused = 1",
                      id, ret_found, err);
}

Status dead_store_remove(DeadStore *store, int64_t id, bool *ret_found, Error *err)
{
    return change_one(store, "DELETE FROM letter WHERE id = ?1", id, ret_found, err);
}

static Status put_mark(DeadStore *store, const DeadMark *mark, Error *err)
{
    sqlite3_stmt *statement = NULL;
    if (begin(store, err) != STATUS_OK ||
        prepare(store, "INSERT OR REPLACE INTO mark VALUES (1, ?1, ?2, ?3)", &statement, err) !=
            STATUS_OK) {
        return STATUS_FAIL;
    }
    (void)sqlite3_bind_int64(statement, 1, (int64_t)mark->identity);
    (void)sqlite3_bind_int64(statement, 2, mark->changes);
    (void)sqlite3_bind_int64(statement, 3, mark->is_reset);
    bool is_put;
    return run(store, statement, &is_put, err);
}

Status dead_store_name(DeadStore *store, uint64_t identity, int64_t changes, Error *err)
{
    DeadMark mark = {.identity = identity, .changes = changes};
    while (mark.identity == 0) {
        sqlite3_randomness(sizeof(mark.identity), &mark.identity);
    }
    return put_mark(store, &mark, err);
}

Status dead_store_reset(DeadStore *store, int64_t *ret_letters, Error *err)
{
    size_t count;
    const DeadMark mark = {.is_reset = true};
    if (begin(store, err) != STATUS_OK || count_letters(store, &count, err) != STATUS_OK ||
        execute(store, "DELETE FROM letter", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret_letters = (int64_t)count;
    return put_mark(store, &mark, err);
}

Status dead_store_save(DeadStore *store, Error *err)
{
    if (!store->in_transaction) {
        return STATUS_OK;
    }
    CRASH_POINT("dead-save-begins");
    if (execute(store, "COMMIT", err) != STATUS_OK) {
        roll_back(store);
        return STATUS_FAIL;
    }
    store->in_transaction = false;
    CRASH_POINT("dead-saved");
    return STATUS_OK;
}
