// duckdb:PATH — tables in a DuckDB file, exactly once: the checkpoint is a table in the same file,
// written in the same transaction as the rows.
//
// Everything between two commits is one transaction, however many writes it takes. COMMIT appends
// to the write-ahead log beside the file and syncs it, so a crash at any moment leaves the last
// commit; DuckDB moves the log into the file by itself once it has grown, and when the sink is
// closed.
#include <assert.h>
#include <libgen.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crash_point.h"
#include "base/limits.h"
#include "sinks/duckdb_sink.h"

enum { RETURN_AFTER_CELLS = 1 << 18 };

static const Option options[] = {
    {"path", OPTION_STRING(DuckSink, path), .required = true, .is_path = true,
     .help = "The database file. It is made if it is missing."},
    {"mode", OPTION_CHOICE(DuckSink, mode, sql_mode_choices), .fallback = "mirror",
     .help = "mirror: rows as they are now. history: every change is appended."},
    {"existing", OPTION_CHOICE(DuckSink, existing, sql_existing_choices), .fallback = "fail",
     .help = "What to do with a table that has rows before its first copy: refuse, remove them, or "
             "add rows beside them."},
    {"exact", OPTION_BOOL(DuckSink, exact), .fallback = "false",
     .help =
         "Keep numeric, timestamps and intervals as text, for values that DuckDB's types do not "
         "have: NaN, years after 294246, infinite intervals."},
    {"memory_limit", OPTION_SIZE(DuckSink, memory_limit), .fallback = "2GB",
     .min = INT64_C(64) << 20, .max = INT64_C(1) << 46,
     .help =
         "Memory that DuckDB may use at most. It begins with 64MB and takes more for tables with "
         "hundreds of columns."},
    {"threads", OPTION_INT(DuckSink, threads), .fallback = "2", .min = 1, .max = 256,
     .help = "Threads that DuckDB may use."},
    {"block_size", OPTION_SIZE(DuckSink, block_size), .fallback = "256KB", .min = 16 << 10,
     .max = 256 << 10,
     .help = "Of a file that is made: smaller blocks take less memory for tables with hundreds of "
             "columns, and more space on disk. A power of two."},
    {"library", OPTION_STRING(DuckSink, library),
     .help =
         "Path of libduckdb. Without it: $WEIR_DUCKDB_LIBRARY, libduckdb.so beside the program, "
         "the system's library path."},
    {0},
};

static DuckSink *self(Sink *sink)
{
    return (DuckSink *)sink;
}

SqlTable duck_checkpoint_table(const DuckSink *sink)
{
    return (SqlTable){
        .catalog = sink->session.catalog, .schema = STR("weir"), .name = STR("checkpoint")};
}

static Status duck_validate(Sink *base, Error *err)
{
    DuckSink *sink = self(base);
    if (str_is(sink->path, ":memory:")) {
        error_set(err, ERROR_CONFIG, "the duckdb sink needs the path of a file");
        return error_hint(err, "Say duckdb:PATH, for example duckdb:shop.duckdb.");
    }
    if (memchr(sink->path.ptr, '\0', sink->path.len) != NULL) {
        return error_set(err, ERROR_CONFIG, "the path of the duckdb sink has a NUL in it");
    }
    if ((sink->block_size & (sink->block_size - 1)) != 0) {
        error_set(err, ERROR_CONFIG, "block_size=%" PRId64 " is not a power of two",
                  sink->block_size);
        return error_hint(err, "Say 16KB, 32KB, 64KB, 128KB or 256KB.");
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// What the checkpoint says about tables
// ---------------------------------------------------------------------------------------------

static void note_entry(DuckSink *sink, CheckpointEntry entry)
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

static Status store_entry(DuckSink *sink, const CheckpointEntry *entry, Error *err)
{
    bool is_removed = entry->value.ptr == NULL;
    Str parameters[] = {str_from(sink->base.context.pipeline), entry->key, entry->value};
    if (is_removed) {
        sql_checkpoint_remove(&sink->session.sql, duck_checkpoint_table(sink));
    } else {
        sql_checkpoint_store(&sink->session.sql, duck_checkpoint_table(sink));
    }
    if (duck_select(&sink->session, parameters, is_removed ? 2 : 3, NULL, NULL, err) != STATUS_OK) {
        return error_wrap(err, "store the checkpoint");
    }
    note_entry(sink, *entry);
    return STATUS_OK;
}

Status duck_note_kept(DuckSink *sink, uint32_t oid, bool is_kept, Error *err)
{
    char key[SQL_MARK_KEY_SIZE];
    CheckpointEntry entry;
    return sql_mark_change(&sink->marks, SQL_KEPT, oid, is_kept, key, &entry)
               ? store_entry(sink, &entry, err)
               : STATUS_OK;
}

static Status read_checkpoint(DuckSink *sink, Checkpoint *checkpoint, Error *err)
{
    Str pipeline = str_from(sink->base.context.pipeline);
    Arena arena = {0};
    DuckRows rows;
    sql_checkpoint_select(&sink->session.sql, duck_checkpoint_table(sink));
    Status status = duck_select(&sink->session, &pipeline, 1, &arena, &rows, err);
    for (size_t i = 0; status == STATUS_OK && i < rows.row_count; i++) {
        Str key = rows.cells[i * 2];
        Str value = rows.cells[i * 2 + 1];
        if (key.len == 0 || value.ptr == NULL || value.len > LIMIT_CHECKPOINT_VALUE) {
            status = error_set(err, ERROR_FATAL, "\"%s\" holds a damaged checkpoint",
                               sink->session.path);
            break;
        }
        if (checkpoint != NULL) {
            checkpoint_set(checkpoint, key, value);
        }
        note_entry(sink, (CheckpointEntry){key, value});
    }
    arena_done(&arena);
    return status == STATUS_OK ? STATUS_OK : error_wrap(err, "read the checkpoint");
}

// ---------------------------------------------------------------------------------------------
// Opening and closing
// ---------------------------------------------------------------------------------------------

static DuckSettings settings_of(const DuckSink *sink)
{
    // In the order of the struct.
    return (DuckSettings){sink->path, sink->library, sink->memory_limit, sink->threads,
                          sink->block_size};
}

static Status check_directory(DuckSink *sink, Error *err)
{
    char *copy = arena_copy(&sink->session.arena, sink->path.ptr, sink->path.len);
    const char *directory = dirname(copy);
    struct stat info;
    if (stat(directory, &info) != 0 || !S_ISDIR(info.st_mode)) {
        error_set(err, ERROR_CONFIG, "there is no directory \"%s\"", directory);
        return error_hint(err, "mkdir -p '%s'", directory);
    }
    if (eaccess(directory, W_OK | X_OK) != 0) {
        error_set_errno(err, ERROR_CONFIG, errno, "make \"%s\"", sink->session.path);
        return error_hint(err, "Give the user of this process the right to write to \"%s\".",
                          directory);
    }
    return STATUS_OK;
}

static Status has_checkpoint_table(DuckSink *sink, bool *ret, Error *err)
{
    Arena arena = {0};
    DuckRows rows;
    buf_cstr(&sink->session.sql, "SELECT 't' FROM duckdb_tables() WHERE database_name = $1 AND "
                                 "schema_name = 'weir' AND table_name = 'checkpoint'");
    Status status = duck_select(&sink->session, &sink->session.catalog, 1, &arena, &rows, err);
    if (status == STATUS_OK) {
        *ret = rows.row_count > 0;
    }
    arena_done(&arena);
    return status;
}

static Status open_session(DuckSink *sink, Error *err)
{
    DuckSettings settings = settings_of(sink);
    return duck_session_open(&sink->session, &settings, err);
}

// @checkpoint may be NULL.
static Status look(DuckSink *sink, Checkpoint *checkpoint, Error *err)
{
    bool exists = false;
    if (sink->session.connection != NULL && has_checkpoint_table(sink, &exists, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return exists ? read_checkpoint(sink, checkpoint, err) : STATUS_OK;
}

static Status duck_look(Sink *base, Checkpoint *checkpoint, Error *err)
{
    return look(self(base), checkpoint, err);
}

// Looks, and makes nothing: `weir check` comes this far.
static Status duck_open(Sink *base, Error *err)
{
    DuckSink *sink = self(base);
    DuckSettings settings = settings_of(sink);
    if (duck_session_load(&sink->session, &settings, base->context.cancel, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (access(sink->session.path, F_OK) != 0 && errno == ENOENT) {
        return check_directory(sink, err);
    }
    return open_session(sink, err) == STATUS_OK ? look(sink, NULL, err) : STATUS_FAIL;
}

static Status duck_resume(Sink *base, Checkpoint *checkpoint, Error *err)
{
    DuckSink *sink = self(base);
    Buf *sql = &sink->session.sql;
    if (sink->session.connection == NULL && open_session(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_cstr(sql, "CREATE SCHEMA IF NOT EXISTS ");
    sql_identifier(sql, sink->session.catalog);
    buf_cstr(sql, ".\"weir\"");
    if (duck_run(&sink->session, NULL, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sql_checkpoint_create(sql, duck_dialect(sink), duck_checkpoint_table(sink));
    if (duck_run(&sink->session, NULL, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return read_checkpoint(sink, checkpoint, err);
}

static void duck_close(Sink *base)
{
    DuckSink *sink = self(base);
    size_t cursor = 0;
    void *table;
    // Before the session: closing an appender writes what it holds into the transaction that is
    // open, which is rolled back then. Without one it would be committed.
    duck_writer_close(&sink->writer);
    duck_session_close(&sink->session);
    while (map_next(&sink->tables, &cursor, &table)) {
        duck_table_free(table);
    }
    map_done(&sink->tables);
    map_done(&sink->ours);
    sql_marks_done(&sink->marks);
    sql_targets_done(&sink->targets);
    arena_done(&sink->scratch);
    sink->writes_to = NULL;
}

// ---------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------

static Status begin(DuckSink *sink, Error *err)
{
    assert(sink->session.connection != NULL); // resume() comes first
    if (!sink->session.in_transaction) {
        sink->transaction++;
    }
    return duck_begin(&sink->session, err);
}

static Status duck_has_table(Sink *base, const Relation *relation, bool *ret, Error *err)
{
    DuckSink *sink = self(base);
    if (begin(sink, err) != STATUS_OK || duck_append_end(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return duck_has(sink, relation, ret, err);
}

static Status duck_prepare_table(Sink *base, const Relation *was, const Relation *now, Error *err)
{
    DuckSink *sink = self(base);
    if (begin(sink, err) != STATUS_OK || duck_append_end(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return duck_prepare(sink, was, now, err);
}

static bool duck_keeps_rows(Sink *base, const Relation *relation)
{
    return sql_is_marked(&self(base)->marks, SQL_KEPT, relation->oid);
}

static Status duck_clear_table(Sink *base, const Relation *relation, Lsn copied_at, Error *err)
{
    DuckSink *sink = self(base);
    DuckTable *table;
    if (begin(sink, err) != STATUS_OK || duck_append_end(sink, err) != STATUS_OK ||
        duck_table_find(sink, relation, &table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (sql_is_marked(&sink->marks, SQL_KEPT, relation->oid)) {
        return sql_kept_clear((SqlMode)sink->mode, relation, copied_at, base->context.pipeline,
                              duck_checkpoint_table(sink), err);
    }
    if (sink->mode == SQL_MIRROR) {
        return duck_truncate(sink, table, err);
    }
    sql_clear_history(&sink->session.sql, duck_dialect(sink), table->target, copied_at);
    return duck_run_delete(sink, table, DUCK_ANY, err);
}

// Changes of one table, in order. Tables do not depend on each other in the target, so each can
// have all its changes of a write at once.
typedef struct Group {
    struct Group *next;
    const Relation *relation;
    Change *copies;
    size_t count;
    size_t copied;
} Group;

// Not a message, not an announcement.
static bool has_row(const Change *change)
{
    return change->relation != NULL && change->op != CHANGE_SCHEMA;
}

static Status write_table(DuckSink *sink, const Relation *relation, const Change *changes,
                          size_t count, Error *err)
{
    DuckTable *table;
    if (duck_table_find(sink, relation, &table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sink->cells += count * relation->column_count;
    Status status = sink->mode == SQL_HISTORY
                        ? duck_append_history(sink, table, changes, count, err)
                        : duck_apply(sink, table, changes, count, err);
    if (status != STATUS_OK) {
        return error_wrap(err, "table \"%" STR_FMT ".%" STR_FMT "\"", STR_ARG(relation->schema),
                          STR_ARG(relation->name));
    }
    return STATUS_OK;
}

static Group *find_group(DuckSink *sink, Map *groups, Group ***tail, const Relation *relation)
{
    Group *group = map_get_u64(groups, relation->oid);
    if (group == NULL) {
        group = arena_alloc_zero(&sink->scratch, sizeof(*group));
        group->relation = relation;
        map_put_u64(groups, relation->oid, group);
        **tail = group;
        *tail = &group->next;
    }
    return group;
}

static Status write_grouped(DuckSink *sink, const Change *changes, size_t count, Error *err)
{
    Map groups = {0};
    Group *first = NULL;
    Group **tail = &first;
    for (size_t i = 0; i < count; i++) {
        if (has_row(&changes[i])) {
            find_group(sink, &groups, &tail, changes[i].relation)->count++;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (has_row(&changes[i])) {
            Group *group = find_group(sink, &groups, &tail, changes[i].relation);
            if (group->copies == NULL) {
                group->copies = ARENA_ARRAY(&sink->scratch, Change, group->count);
            }
            group->copies[group->copied++] = changes[i];
        }
    }
    map_done(&groups);
    for (const Group *group = first; group != NULL; group = group->next) {
        if (write_table(sink, group->relation, group->copies, group->count, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// The only relation with rows among @changes, or NULL.
static const Relation *single_relation(const Change *changes, size_t count)
{
    const Relation *relation = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!has_row(&changes[i])) {
            continue;
        }
        if (relation != NULL && relation != changes[i].relation) {
            return NULL;
        }
        relation = changes[i].relation;
    }
    return relation;
}

// Pages that are returned have to be taken again: after much work, so that it costs little of it.
static void return_memory(DuckSink *sink, uint64_t cells_min)
{
    if (sink->cells >= cells_min) {
        duck_session_return_memory(&sink->session);
        sink->cells = 0;
    }
}

static Status duck_write(Sink *base, const Change *changes, size_t count, Error *err)
{
    DuckSink *sink = self(base);
    if (begin(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const Relation *single = single_relation(changes, count);
    Status status = single != NULL ? write_table(sink, single, changes, count, err)
                                   : write_grouped(sink, changes, count, err);
    arena_reset(&sink->scratch);
    return_memory(sink, RETURN_AFTER_CELLS);
    return status;
}

// DuckDB has no savepoints: what it refuses ends the transaction.
static Status duck_try_write(Sink *base, const Change *changes, size_t count, bool *ret_is_intact,
                             Error *err)
{
    *ret_is_intact = false;
    return duck_write(base, changes, count, err) == STATUS_OK ? duck_append_end(self(base), err)
                                                              : STATUS_FAIL;
}

static Status duck_commit_all(Sink *base, Checkpoint *changed, Error *err)
{
    DuckSink *sink = self(base);
    if (changed->count == 0 && !sink->session.in_transaction) {
        return STATUS_OK;
    }
    if (begin(sink, err) != STATUS_OK || duck_append_end(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < changed->count; i++) {
        if (store_entry(sink, &changed->entries[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    CRASH_POINT("duckdb-position-stored");
    if (duck_commit(&sink->session, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return_memory(sink, RETURN_AFTER_CELLS / 64);
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// weir check
// ---------------------------------------------------------------------------------------------

static void duck_describe_column(Sink *base, const Column *column, Buf *ret_type)
{
    duck_dialect(self(base))->type(column, ret_type);
}

static void duck_describe_table(Sink *base, const Relation *relation, Buf *ret_name)
{
    SqlTable target = duck_target(self(base), relation);
    target.catalog = (Str){0};
    sql_table_name(ret_name, target);
}

static Status duck_check_table(Sink *base, const Relation *relation, Report *report, Error *err)
{
    return duck_check(self(base), relation, report, err);
}

const SinkOps duckdb_sink = {
    .name = "duckdb",
    .summary = "Tables in a DuckDB file.",
    .options = options,
    .instance_size = sizeof(DuckSink),
    .guarantee = GUARANTEE_EXACTLY_ONCE,
    .stores_checkpoint = true,
    .has_tables = true,
    .is_parallel = false, // one process, one connection, one transaction
    .validate = duck_validate,
    .open = duck_open,
    .resume = duck_resume,
    .prepare = duck_prepare_table,
    .has = duck_has_table,
    .clear = duck_clear_table,
    .keeps_rows = duck_keeps_rows,
    .write = duck_write,
    .try_write = duck_try_write,
    .commit = duck_commit_all,
    .close = duck_close,
    .describe_column = duck_describe_column,
    .describe_table = duck_describe_table,
    .look = duck_look,
    .check = duck_check_table,
    .digest_check = duck_digest_check,
    .digest_columns = duck_digest_columns,
    .digest_open = duck_digest_open,
};
