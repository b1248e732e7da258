// sqlite:PATH — tables in an SQLite file, exactly once: the checkpoint is a table in the same file,
// written in the same transaction as the rows.
//
// Everything between two commits is one transaction, however many writes it takes; SQLite moves
// what does not fit into its cache to the log. A crash at any moment leaves the last commit.
#include <assert.h>
#include <libgen.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crash_point.h"
#include "base/limits.h"
#include "base/mem.h"
#include "sinks/sqlite_convert.h"
#include "sinks/sqlite_found.h"
#include "sinks/sqlite_sink.h"
#include "sinks/sqlite_value.h"

enum {
    STATEMENT_MAX = 64 << 20,
    CANCEL_CHECK_CHANGES = 1024,
    CACHE_BYTES = 16 << 20,
    CACHE_BYTES_LEAST = 2 << 20, // as SQLite itself has it
};

const SqlTable sqlite_checkpoint_table = {
    .name = {SQL_CHECKPOINT_TABLE, sizeof(SQL_CHECKPOINT_TABLE) - 1}};

static const char *const name_choices[] = {"auto", "qualified", "bare", NULL};

static const Option options[] = {
    {"path", OPTION_STRING(SqliteSink, path), .required = true, .is_path = true,
     .help = "The database file. It is made if it is missing."},
    {"mode", OPTION_CHOICE(SqliteSink, mode, sql_mode_choices), .fallback = "mirror",
     .help = "mirror: rows as they are now. history: every change is appended."},
    {"existing", OPTION_CHOICE(SqliteSink, existing, sql_existing_choices), .fallback = "fail",
     .help = "What to do with a table that has rows before its first copy: refuse, remove them, or "
             "add rows beside them."},
    {"names", OPTION_CHOICE(SqliteSink, names, name_choices), .fallback = "auto",
     .help = "Table names. auto: \"orders\" for public.orders, \"shop.orders\" for other schemas. "
             "qualified: always with the schema. bare: never."},
    {"busy_timeout", OPTION_MS(SqliteSink, busy_timeout_ms), .fallback = "10s", .max = 3600000,
     .help = "How long to wait while another process writes to the file."},
    {0},
};

static SqliteSink *self(Sink *sink)
{
    return (SqliteSink *)sink;
}

static Status sqlite_validate(Sink *base, Error *err)
{
    SqliteSink *sink = self(base);
    if (str_is(sink->path, ":memory:") || str_find(sink->path, '\0') >= 0) {
        error_set(err, ERROR_CONFIG, "sqlite needs the path of a file");
        return error_hint(err, "For example sqlite:shop.db");
    }
    return STATUS_OK;
}

static Status check_directory(SqliteSink *sink, Error *err)
{
    char *copy = arena_copy(&sink->arena, sink->db.path, strlen(sink->db.path));
    const char *directory = dirname(copy);
    struct stat info;
    if (stat(directory, &info) != 0 || !S_ISDIR(info.st_mode)) {
        error_set(err, ERROR_CONFIG, "there is no directory \"%s\"", directory);
        return error_hint(err, "mkdir -p '%s'", directory);
    }
    if (eaccess(directory, W_OK | X_OK) != 0) {
        error_set_errno(err, ERROR_CONFIG, errno, "make \"%s\"", sink->db.path);
        return error_hint(err, "Give the user of this process the right to write to \"%s\".",
                          directory);
    }
    return STATUS_OK;
}

static void note_entry(SqliteSink *sink, CheckpointEntry entry)
{
    uint64_t oid;
    if (sql_checkpoint_oid(entry.key, CHECKPOINT_TABLE, &oid)) {
        if (entry.value.ptr != NULL) {
            map_put_u64(&sink->ours, oid, sink);
        } else {
            map_remove_u64(&sink->ours, oid);
        }
    }
    sql_mark_note(&sink->marks, &entry);
}

// @checkpoint may be NULL.
static Status read_checkpoint(SqliteSink *sink, Checkpoint *checkpoint, Error *err)
{
    CLEANUP(sqlite_db_finalize) sqlite3_stmt *statement = NULL;
    sql_checkpoint_select(&sink->sql, sqlite_checkpoint_table);
    if (sqlite_db_prepare(&sink->db, &sink->sql, &statement, err) != STATUS_OK) {
        return error_wrap(err, "read the checkpoint");
    }
    sqlite_db_bind_text(statement, 1, str_from(sink->base.context.pipeline));
    for (;;) {
        bool row;
        if (sqlite_db_step(&sink->db, statement, &row, err) != STATUS_OK) {
            return error_wrap(err, "read the checkpoint");
        }
        if (!row) {
            return STATUS_OK;
        }
        Str key = sqlite_db_column(statement, 0);
        Str value = sqlite_db_column(statement, 1);
        if (key.len == 0 || value.len > LIMIT_CHECKPOINT_VALUE) {
            return error_set(err, ERROR_FATAL, "\"%s\" holds a damaged checkpoint", sink->db.path);
        }
        if (checkpoint != NULL) {
            checkpoint_set(checkpoint, key, value.ptr == NULL ? STR("") : value);
        }
        note_entry(sink, (CheckpointEntry){key, value.ptr == NULL ? STR("") : value});
    }
}

// @checkpoint may be NULL.
static Status look(SqliteSink *sink, Checkpoint *checkpoint, Error *err)
{
    bool exists = false;
    if (sink->db.handle != NULL &&
        sqlite_has_table(sink, STR(SQL_CHECKPOINT_TABLE), &exists, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return exists ? read_checkpoint(sink, checkpoint, err) : STATUS_OK;
}

static Status sqlite_look(Sink *base, Checkpoint *checkpoint, Error *err)
{
    return look(self(base), checkpoint, err);
}

// Looks, and leaves no trace: `weir check` comes this far.
static Status sqlite_open(Sink *base, Error *err)
{
    SqliteSink *sink = self(base);
    bool exists;
    sink->sql = (Buf){.max = STATEMENT_MAX};
    sink->message = (Buf){.max = STATEMENT_MAX};
    sink->db =
        (SqliteDb){.path = str_to_cstr(&sink->arena, sink->path),
                   .cancel = base->context.cancel,
                   .cache_bytes = mem_part(CACHE_BYTES, base->context.sharers, CACHE_BYTES_LEAST),
                   .busy_timeout_ms = sink->busy_timeout_ms};
    if (sqlite_db_exists(&sink->db, &exists, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!exists) {
        return check_directory(sink, err);
    }
    return sqlite_db_open(&sink->db, false, err) == STATUS_OK ? look(sink, NULL, err) : STATUS_FAIL;
}

static Status prepare_checkpoint_statements(SqliteSink *sink, Error *err)
{
    sql_checkpoint_store(&sink->sql, sqlite_checkpoint_table);
    if (sqlite_db_prepare(&sink->db, &sink->sql, &sink->store, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sql_checkpoint_remove(&sink->sql, sqlite_checkpoint_table);
    return sqlite_db_prepare(&sink->db, &sink->sql, &sink->remove, err);
}

static Status sqlite_resume(Sink *base, Checkpoint *checkpoint, Error *err)
{
    SqliteSink *sink = self(base);
    if (sink->db.handle == NULL && sqlite_db_open(&sink->db, true, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int code = sqlite_conversion_register(sink->db.handle);
    if (code != SQLITE_OK) {
        return sqlite_db_fail(&sink->db, code, err, "\"%s\"", sink->db.path);
    }
    if (sqlite_db_use_wal(&sink->db, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sql_checkpoint_create(&sink->sql, &sqlite_dialect, sqlite_checkpoint_table);
    if (sqlite_db_exec_buf(&sink->db, &sink->sql, err) != STATUS_OK ||
        prepare_checkpoint_statements(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return read_checkpoint(sink, checkpoint, err);
}

static Status begin(SqliteSink *sink, Error *err)
{
    assert(sink->store != NULL); // resume() comes first
    return sqlite_db_begin(&sink->db, err);
}

static Status sqlite_prepare_table(Sink *base, const Relation *was, const Relation *now, Error *err)
{
    SqliteSink *sink = self(base);
    if (begin(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return sqlite_prepare(sink, was, now, err);
}

static Status sqlite_has_shape(Sink *base, const Relation *relation, bool *ret, Error *err)
{
    return sqlite_has(self(base), relation, ret, err);
}

static bool sqlite_keeps_rows(Sink *base, const Relation *relation)
{
    return sql_is_marked(&self(base)->marks, SQL_KEPT, relation->oid);
}

static Status sqlite_clear_table(Sink *base, const Relation *relation, Lsn copied_at, Error *err)
{
    SqliteSink *sink = self(base);
    SqliteTable *table;
    if (begin(sink, err) != STATUS_OK ||
        sqlite_table_find(sink, relation, &table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (sql_is_marked(&sink->marks, SQL_KEPT, relation->oid)) {
        return sql_kept_clear((SqlMode)sink->mode, relation, copied_at, base->context.pipeline,
                              sqlite_checkpoint_table, err);
    }
    return sqlite_clear(sink, table, copied_at, err);
}

static bool has_row(ChangeOp op)
{
    return op != CHANGE_MESSAGE && op != CHANGE_SCHEMA;
}

static Status sqlite_write(Sink *base, const Change *changes, size_t count, Error *err)
{
    SqliteSink *sink = self(base);
    if (begin(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < count; i++) {
        if (i % CANCEL_CHECK_CHANGES == 0 && cancel_is_set(base->context.cancel)) {
            return error_set(err, ERROR_CANCELLED, "cancelled");
        }
        if (!has_row(changes[i].op)) {
            continue;
        }
        SqliteTable *table;
        if (sqlite_table_find(sink, changes[i].relation, &table, err) != STATUS_OK ||
            sqlite_apply(sink, table, &changes[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status sqlite_try_write(Sink *base, const Change *changes, size_t count, bool *ret_is_intact,
                               Error *err)
{
    SqliteSink *sink = self(base);
    if (begin(sink, err) != STATUS_OK ||
        sqlite_db_exec(&sink->db, "SAVEPOINT weir_try", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Error refused = {0};
    if (sqlite_write(base, changes, count, &refused) == STATUS_OK) {
        return sqlite_db_exec(&sink->db, "RELEASE weir_try", err);
    }
    if (refused.kind == ERROR_DATA) {
        if (sqlite_db_exec(&sink->db, "ROLLBACK TO weir_try; RELEASE weir_try", err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        *ret_is_intact = true;
    }
    *err = refused;
    return STATUS_FAIL;
}

static Status store_entry(SqliteSink *sink, const CheckpointEntry *entry, Error *err)
{
    bool is_removed = entry->value.ptr == NULL;
    sqlite3_stmt *statement = is_removed ? sink->remove : sink->store;
    sqlite_db_bind_text(statement, 1, str_from(sink->base.context.pipeline));
    sqlite_db_bind_text(statement, 2, entry->key);
    if (!is_removed) {
        sqlite_db_bind_text(statement, 3, entry->value);
    }
    if (sqlite_db_run(&sink->db, statement, err) != STATUS_OK) {
        return error_wrap(err, "store the checkpoint");
    }
    return STATUS_OK;
}

Status sqlite_note_kept(SqliteSink *sink, uint32_t oid, bool is_kept, Error *err)
{
    char key[SQL_MARK_KEY_SIZE];
    CheckpointEntry entry;
    if (!sql_mark_change(&sink->marks, SQL_KEPT, oid, is_kept, key, &entry)) {
        return STATUS_OK;
    }
    if (store_entry(sink, &entry, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sql_mark_note(&sink->marks, &entry);
    return STATUS_OK;
}

static Status sqlite_commit(Sink *base, Checkpoint *changed, Error *err)
{
    SqliteSink *sink = self(base);
    if (changed->count == 0 && !sink->db.in_transaction) {
        return STATUS_OK;
    }
    if (begin(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < changed->count; i++) {
        if (store_entry(sink, &changed->entries[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    CRASH_POINT("sqlite-position-stored");
    if (sqlite_db_commit(&sink->db, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < changed->count; i++) {
        note_entry(sink, changed->entries[i]);
    }
    return STATUS_OK;
}

static void sqlite_close(Sink *base)
{
    SqliteSink *sink = self(base);
    size_t cursor = 0;
    void *table;
    while (map_next(&sink->tables, &cursor, &table)) {
        sqlite_table_free(table);
    }
    map_done(&sink->tables);
    map_done(&sink->ours);
    sql_marks_done(&sink->marks);
    sqlite_db_finalize(&sink->store);
    sqlite_db_finalize(&sink->remove);
    sqlite_db_close(&sink->db);
    sql_targets_done(&sink->targets);
    buf_done(&sink->sql);
    buf_done(&sink->message);
    arena_done(&sink->scratch);
    arena_done(&sink->arena);
    sink->last = NULL;
}

static void sqlite_describe_column(Sink *base, const Column *column, Buf *ret_type)
{
    sqlite_dialect.type(column, ret_type);
}

static void sqlite_describe_table(Sink *base, const Relation *relation, Buf *ret_name)
{
    Arena arena = {.chunk_size = LIMIT_NAME_BYTES};
    sql_table_name(ret_name, sqlite_target(self(base), relation, &arena));
    arena_done(&arena);
}

static Status sqlite_check_table(Sink *base, const Relation *relation, Report *report, Error *err)
{
    return sqlite_check(self(base), relation, report, err);
}

const SinkOps sqlite_sink = {
    .name = "sqlite",
    .summary = "Tables in an SQLite file.",
    .options = options,
    .instance_size = sizeof(SqliteSink),
    .guarantee = GUARANTEE_EXACTLY_ONCE,
    .stores_checkpoint = true,
    .has_tables = true,
    .is_parallel = false, // SQLite has one writer at a time
    .validate = sqlite_validate,
    .open = sqlite_open,
    .resume = sqlite_resume,
    .prepare = sqlite_prepare_table,
    .has = sqlite_has_shape,
    .clear = sqlite_clear_table,
    .keeps_rows = sqlite_keeps_rows,
    .write = sqlite_write,
    .try_write = sqlite_try_write,
    .commit = sqlite_commit,
    .close = sqlite_close,
    .describe_column = sqlite_describe_column,
    .describe_table = sqlite_describe_table,
    .look = sqlite_look,
    .check = sqlite_check_table,
    .digest_check = sqlite_digest_check,
    .digest_columns = sqlite_digest_columns,
    .digest_open = sqlite_digest_open,
};
