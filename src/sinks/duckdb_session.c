#include "sinks/duckdb_session.h"

#include <assert.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crash_point.h"
#include "base/limits.h"
#include "io/file.h"

enum {
    STATEMENT_MAX = 64 << 20,
    // What DuckDB gets for any table. It is mostly a cache of blocks, which the system has in its
    // own already.
    MEMORY_BASE = 64 << 20,
    BLOCKS_PER_COLUMN = 4,
};

// ---------------------------------------------------------------------------------------------
// Errors
// ---------------------------------------------------------------------------------------------

// DuckDB's messages go on with the statement and with advice about its own shell.
static Str first_line(const char *text)
{
    Str line = str_from(text == NULL ? "unknown error" : text);
    ptrdiff_t end = str_find(line, '\n');
    return end < 0 ? line : (Str){line.ptr, (size_t)end};
}

static bool says(Str text, const char *what)
{
    return memmem(text.ptr, text.len, what, strlen(what)) != NULL;
}

static ErrorKind kind_of(int type)
{
    switch (type) {
    case DUCK_ERROR_OUT_OF_RANGE:
    case DUCK_ERROR_CONVERSION:
    case DUCK_ERROR_CONSTRAINT:
        return ERROR_DATA;
    case DUCK_ERROR_TRANSACTION:
    case DUCK_ERROR_IO:
        return ERROR_TRANSIENT;
    case DUCK_ERROR_CATALOG:
    case DUCK_ERROR_BINDER:
    case DUCK_ERROR_DEPENDENCY:
    case DUCK_ERROR_PERMISSION:
    case DUCK_ERROR_OUT_OF_MEMORY:
        return ERROR_CONFIG;
    case DUCK_ERROR_INTERRUPT:
        return ERROR_CANCELLED;
    default:
        return ERROR_FATAL;
    }
}

// A full disk comes in several types: of the statement that wrote, or of the commit.
static bool is_disk_full(Str text)
{
    return says(text, "No space left") || says(text, "Disk quota") || says(text, "ENOSPC") ||
           says(text, "File too large");
}

// So does memory that is not enough.
static bool is_out_of_memory(int type, Str text)
{
    return type == DUCK_ERROR_OUT_OF_MEMORY || says(text, "could not allocate block") ||
           says(text, "failed to pin block") || says(text, "Out of Memory");
}

// Nothing that passes by itself.
static bool is_forbidden(Str text)
{
    return says(text, "Permission denied") || says(text, "Read-only file system") ||
           says(text, "read-only mode");
}

static Status hint_rights(const DuckSession *session, Error *err)
{
    return error_hint(err,
                      "Give the user of this process the right to write to \"%s\" and to its "
                      "directory, where \"%s.wal\" is made, or name another file.",
                      session->path, session->path);
}

static Status hint_disk(const DuckSession *session, Str text, Error *err)
{
    if (says(text, "File too large")) {
        return error_hint(err, "Raise the limit on the size of files: ulimit -f unlimited");
    }
    return error_hint(err, "Make room on the disk that holds \"%s\".", session->path);
}

// A commit appends the transaction's rows to their tables, and holds a block for each column of
// both: of all tables, as a transaction may write to all.
static uint64_t room_for(const DuckSession *session)
{
    return MEMORY_BASE + BLOCKS_PER_COLUMN * session->column_count * session->block_size;
}

// A limit of ours, below the user's, was too low for something: the next sessions of this process
// have all of it.
static atomic_bool has_run_short;

static bool is_our_limit(const DuckSession *session, bool out_of_memory)
{
    bool is_ours = out_of_memory && session->memory_limit < session->memory_most;
    if (is_ours) {
        atomic_store(&has_run_short, true);
    }
    return is_ours;
}

static Status hint_memory(const DuckSession *session, Str text, Error *err)
{
    if (says(text, "temp_directory")) { // also in the name of the setting for its largest size
        return error_hint(err, "Make room beside the file, or raise memory_limit.");
    }
    if (err != NULL && err->kind == ERROR_TRANSIENT) {
        return error_hint(err, "It is tried again with %" PRIu64 " MB, all of memory_limit.",
                          session->memory_most >> 20);
    }
    uint64_t wanted = MAX(room_for(session), session->memory_most * 2);
    return error_hint(err, "Say memory_limit=%" PRIu64 "MB.", wanted >> 20);
}

Status duck_fail(const DuckSession *session, int type, const char *text, Error *err)
{
    Str line = first_line(text);
    bool disk_full = is_disk_full(line);
    bool out_of_memory = !disk_full && is_out_of_memory(type, line);
    bool forbidden = is_forbidden(line);
    bool passes = disk_full || is_our_limit(session, out_of_memory);
    ErrorKind kind = passes                       ? ERROR_TRANSIENT
                     : out_of_memory || forbidden ? ERROR_CONFIG
                                                  : kind_of(type);
    error_set(err, kind, "\"%s\": %" STR_FMT, session->path, STR_ARG(line));
    if (disk_full) {
        return hint_disk(session, line, err);
    }
    if (forbidden) {
        return hint_rights(session, err);
    }
    return out_of_memory ? hint_memory(session, line, err) : STATUS_FAIL;
}

// Opening has no error types, only text.
static Status fail_open(const DuckSession *session, const char *text, Error *err)
{
    Str line = first_line(text);
    if (says(line, "Could not set lock") || says(line, "onflicting lock")) {
        error_set(err, ERROR_TRANSIENT, "\"%s\" is in use by another process: %" STR_FMT,
                  session->path, STR_ARG(line));
        return error_hint(err, "DuckDB lets one process at a time write to a file. Close the other "
                               "one.");
    }
    if (says(line, "not a valid DuckDB") || says(line, "magic bytes")) {
        error_set(err, ERROR_CONFIG, "\"%s\" is not a DuckDB file", session->path);
        return error_hint(err, "Name another file; a missing one is made.");
    }
    if (says(line, "version number") || says(line, "newer version") ||
        says(line, "storage version")) {
        error_set(err, ERROR_CONFIG, "\"%s\" is of another version of DuckDB than the library %s",
                  session->path, (&session->library)->library_version());
        return error_hint(err, "DuckDB says: %" STR_FMT, STR_ARG(line));
    }
    if (is_disk_full(line)) {
        error_set(err, ERROR_TRANSIENT, "open \"%s\": %" STR_FMT, session->path, STR_ARG(line));
        return hint_disk(session, line, err);
    }
    if (is_forbidden(line)) {
        error_set(err, ERROR_CONFIG, "open \"%s\": %" STR_FMT, session->path, STR_ARG(line));
        return hint_rights(session, err);
    }
    bool is_damaged =
        says(line, "corrupt") || says(line, "checksum") || says(line, "replaying WAL");
    return error_set(err, is_damaged ? ERROR_FATAL : ERROR_CONFIG, "open \"%s\": %" STR_FMT,
                     session->path, STR_ARG(line));
}

static Status fail_result(const DuckSession *session, DuckResult *result, Error *err)
{
    const DuckLibrary *library = &session->library;
    return duck_fail(session, library->result_error_type(result), library->result_error(result),
                     err);
}

Status duck_check_cancel(const DuckSession *session, Error *err)
{
    return cancel_is_set(session->cancel) ? error_set(err, ERROR_CANCELLED, "cancelled")
                                          : STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Statements
// ---------------------------------------------------------------------------------------------

static Status exec(DuckSession *session, const char *sql, uint64_t *ret_changed, Error *err)
{
    const DuckLibrary *library = &session->library;
    DuckResult result = {0};
    assert(session->connection != NULL);
    if (duck_check_cancel(session, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status = STATUS_OK;
    if (library->query(session->connection, sql, &result) != DUCK_SUCCESS) {
        status = fail_result(session, &result, err);
    } else if (ret_changed != NULL) {
        *ret_changed = library->rows_changed(&result);
    }
    library->destroy_result(&result);
    return status;
}

Status duck_exec(DuckSession *session, const char *sql, Error *err)
{
    return exec(session, sql, NULL, err);
}

Status duck_run(DuckSession *session, uint64_t *ret_changed, Error *err)
{
    Status status = buf_check(&session->sql, "a statement for DuckDB", err);
    if (status == STATUS_OK) {
        status = exec(session, buf_cstring(&session->sql), ret_changed, err);
    }
    buf_reset(&session->sql);
    return status;
}

// What a result holds before its size is known.
typedef struct CellList {
    Arena *arena;
    Str *cells;
    size_t count;
    size_t capacity;
} CellList;

static void cell_add(CellList *list, Str cell)
{
    if (list->count == list->capacity) {
        size_t capacity = MAX(list->capacity * 2, (size_t)64);
        Str *cells = ARENA_ARRAY(list->arena, Str, capacity);
        if (list->count > 0) {
            memcpy(cells, list->cells, list->count * sizeof(Str));
        }
        list->cells = cells;
        list->capacity = capacity;
    }
    list->cells[list->count++] = cell.ptr == NULL ? cell : str_copy(list->arena, cell);
}

static void read_chunk(const DuckLibrary *library, DuckChunk chunk, uint64_t columns,
                       CellList *list)
{
    uint64_t rows = library->data_chunk_get_size(chunk);
    for (uint64_t row = 0; row < rows; row++) {
        for (uint64_t column = 0; column < columns; column++) {
            DuckVector vector = library->data_chunk_get_vector(chunk, column);
            const uint64_t *validity = library->vector_get_validity(vector);
            const DuckString *strings = library->vector_get_data(vector);
            bool is_null = validity != NULL && (validity[row / 64] >> (row % 64) & 1) == 0;
            cell_add(list, is_null ? (Str){0} : duck_string_view(&strings[row]));
        }
    }
}

static void read_rows(const DuckLibrary *library, DuckResult *result, Arena *arena, DuckRows *ret)
{
    CellList list = {.arena = arena};
    uint64_t columns = library->column_count(result);
    for (;;) {
        DuckChunk chunk = library->fetch_chunk(*result);
        if (chunk == NULL) {
            break;
        }
        read_chunk(library, chunk, columns, &list);
        library->destroy_data_chunk(&chunk);
    }
    *ret = (DuckRows){list.cells, columns == 0 ? 0 : list.count / columns, columns};
}

static Status select_prepared(DuckSession *session, DuckStatement statement, const Str *parameters,
                              size_t parameter_count, DuckResult *ret, Error *err)
{
    const DuckLibrary *library = &session->library;
    for (size_t i = 0; i < parameter_count; i++) {
        Str text = parameters[i].ptr == NULL ? STR("") : parameters[i];
        if (library->bind_varchar_length(statement, i + 1, text.ptr, text.len) != DUCK_SUCCESS) {
            return error_set(err, ERROR_FATAL, "\"%s\": bind parameter %zu of a statement",
                             session->path, i + 1);
        }
    }
    if (library->execute_prepared(statement, ret) != DUCK_SUCCESS) {
        return fail_result(session, ret, err);
    }
    return STATUS_OK;
}

Status duck_select(DuckSession *session, const Str *parameters, size_t parameter_count,
                   Arena *arena, DuckRows *ret, Error *err)
{
    const DuckLibrary *library = &session->library;
    DuckStatement statement = NULL;
    DuckResult result = {0};
    Status status = buf_check(&session->sql, "a statement for DuckDB", err);
    if (status == STATUS_OK && library->prepare(session->connection, buf_cstring(&session->sql),
                                                &statement) != DUCK_SUCCESS) {
        status = duck_fail(session, DUCK_ERROR_BINDER, library->prepare_error(statement), err);
    }
    if (status == STATUS_OK) {
        status = select_prepared(session, statement, parameters, parameter_count, &result, err);
    }
    if (status == STATUS_OK && ret != NULL) {
        read_rows(library, &result, arena, ret);
    }
    library->destroy_result(&result);
    library->destroy_prepare(&statement);
    buf_reset(&session->sql);
    return status;
}

Status duck_begin(DuckSession *session, Error *err)
{
    if (session->in_transaction) {
        return STATUS_OK;
    }
    if (duck_exec(session, "BEGIN TRANSACTION", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    session->in_transaction = true;
    return STATUS_OK;
}

Status duck_commit(DuckSession *session, Error *err)
{
    assert(session->in_transaction);
    Error failure = {0};
    if (duck_exec(session, "COMMIT", &failure) != STATUS_OK) {
        // Of the type that a conflict with another connection has, which passes; this does not.
        if (says(str_from(failure.message), "constraint violation")) {
            failure.kind = ERROR_DATA;
        }
        *err = failure;
        return error_wrap(err, "commit");
    }
    session->in_transaction = false;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Opening and closing
// ---------------------------------------------------------------------------------------------

Status duck_session_load(DuckSession *session, const DuckSettings *settings, const Cancel *cancel,
                         Error *err)
{
    session->path = str_to_cstr(&session->arena, settings->path);
    session->cancel = cancel;
    session->memory_most = (uint64_t)settings->memory_limit;
    session->has_json = true; // as every released library has; looked at when the file is open
    session->sql = (Buf){.max = STATEMENT_MAX};
    return duck_library_load(settings->library, &session->arena, &session->library, err);
}

static Status configure(DuckSession *session, const DuckSettings *settings, DuckConfig *config,
                        Error *err)
{
    const DuckLibrary *library = &session->library;
    char memory[32];
    char threads[32];
    char block[32];
    session->memory_limit = atomic_load(&has_run_short)
                                ? session->memory_most
                                : MIN(session->memory_most, (uint64_t)MEMORY_BASE);
    (void)snprintf(memory, sizeof(memory), "%" PRIu64 "B", session->memory_limit);
    (void)snprintf(threads, sizeof(threads), "%" PRId64, settings->threads);
    (void)snprintf(block, sizeof(block), "%" PRId64, settings->block_size);
    const struct {
        const char *name;
        const char *value;
        bool is_optional; // not every version has it
    } wanted[] = {
        {"memory_limit", memory, false},
        {"threads", threads, false},
        {"default_block_size", block, settings->block_size == DUCK_BLOCK_DEFAULT},
        // No statement of ours may make DuckDB fetch code from the network.
        {"autoinstall_known_extensions", "false", false},
        {"autoload_known_extensions", "false", false},
        // Rows of a transaction go to the file as soon as they fill a row group, not five.
        {"write_buffer_row_group_count", "1", true},
    };
    if (library->create_config(config) != DUCK_SUCCESS) {
        return error_set(err, ERROR_FATAL, "DuckDB makes no configuration");
    }
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        if (library->set_config(*config, wanted[i].name, wanted[i].value) != DUCK_SUCCESS &&
            !wanted[i].is_optional) {
            return error_set(err, ERROR_CONFIG, "DuckDB does not take the setting %s=%s",
                             wanted[i].name, wanted[i].value);
        }
    }
    return STATUS_OK;
}

static Status open_database(DuckSession *session, const char *path, DuckConfig config, Error *err)
{
    const DuckLibrary *library = &session->library;
    char *message = NULL;
    Status status = STATUS_OK;
    if (library->open_ext(path, &session->database, config, &message) != DUCK_SUCCESS) {
        session->database = NULL;
        status = fail_open(session, message, err);
    }
    library->free(message);
    return status;
}

// DuckDB makes a file in several writes, and does not take one that lacks some of them for its own:
// a crash between them would leave a file that no later start can open. It gets its name when it is
// whole.
static Status make_file(DuckSession *session, const char *path, DuckConfig config, Error *err)
{
    // Somebody else may be making the same file.
    const char *unfinished = arena_printf(&session->arena, "%s.weir-%d", path, (int)getpid());
    // What was written behind the last checkpoint of a file that was removed: it would be taken for
    // this one's.
    const char *orphan = arena_printf(&session->arena, "%s.wal", path);
    if (file_remove(unfinished, err) != STATUS_OK || file_remove(orphan, err) != STATUS_OK ||
        open_database(session, unfinished, config, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    session->library.close(&session->database);
    CRASH_POINT("start-duckdb-file-made");
    return file_put_in_place(unfinished, path, err);
}

static Status open_file(DuckSession *session, DuckConfig config, Error *err)
{
    const DuckLibrary *library = &session->library;
    // "md:x" or "s3://x" would be something else than a file; "./md:x" is always one.
    const char *prefix = session->path[0] == '/' ? "" : "./";
    const char *path = arena_printf(&session->arena, "%s%s", prefix, session->path);
    struct stat info;
    Status status = STATUS_OK;
    if (lstat(path, &info) != 0 && errno == ENOENT) { // a link that leads nowhere is left to DuckDB
        status = make_file(session, path, config, err);
    }
    if (status == STATUS_OK) {
        status = open_database(session, path, config, err);
    }
    if (status == STATUS_OK &&
        library->connect(session->database, &session->connection) != DUCK_SUCCESS) {
        session->connection = NULL;
        status = error_set(err, ERROR_FATAL, "\"%s\": DuckDB makes no connection", session->path);
    }
    return status;
}

static Status look_around(DuckSession *session, Error *err)
{
    DuckRows rows;
    buf_cstr(&session->sql, "SELECT current_database(), CASE WHEN EXISTS (SELECT 1 FROM "
                            "duckdb_types() WHERE type_name = 'JSON') THEN 't' END, "
                            "(SELECT CAST(max(block_size) AS VARCHAR) FROM pragma_database_size() "
                            "WHERE database_name = current_database())");
    if (duck_select(session, NULL, 0, &session->arena, &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    assert(rows.row_count == 1 && rows.column_count == 3);
    session->catalog = rows.cells[0];
    session->has_json = rows.cells[1].ptr != NULL;
    if (!str_to_uint64(rows.cells[2], &session->block_size)) {
        session->block_size = DUCK_BLOCK_DEFAULT;
    }
    return STATUS_OK;
}

void duck_session_return_memory(const DuckSession *session)
{
    // 4096 is jemalloc's MALLCTL_ARENAS_ALL. What goes wrong only costs memory.
    if (session->library.je_mallctl != NULL) {
        (void)session->library.je_mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
    }
}

static Status raise_limit(DuckSession *session, uint64_t limit, Error *err)
{
    if (limit <= session->memory_limit) {
        return STATUS_OK;
    }
    session->memory_limit = limit;
    buf_printf(&session->sql, "SET GLOBAL memory_limit = '%" PRIu64 "B'", limit);
    return duck_run(session, NULL, err);
}

Status duck_session_take_all_memory(DuckSession *session, Error *err)
{
    return raise_limit(session, session->memory_most, err);
}

Status duck_session_make_room(DuckSession *session, uint16_t column_count, Error *err)
{
    session->column_count += column_count;
    return raise_limit(session, MIN(room_for(session), session->memory_most), err);
}

// Runs beside the session until it is closed. An interrupt that comes between two statements is
// lost, so it is repeated.
static void *watch(void *context)
{
    enum { CANCELLED, STOPPED, AGAIN_MS = 100 };
    const DuckSession *session = context;
    struct pollfd events[] = {
        [CANCELLED] = {.fd = session->cancel->fd, .events = POLLIN},
        [STOPPED] = {.fd = session->watcher_stop, .events = POLLIN},
    };
    int timeout_ms = -1;
    for (;;) {
        int count = poll(events, ARRAY_LEN(events), timeout_ms);
        if (count < 0) {
            continue; // a signal
        }
        if (events[STOPPED].revents != 0) {
            return NULL;
        }
        session->library.interrupt(session->connection);
        events[CANCELLED].fd = -1; // it stays readable
        timeout_ms = AGAIN_MS;
    }
}

static Status start_watching(DuckSession *session, Error *err)
{
    if (session->cancel == NULL) {
        return STATUS_OK;
    }
    session->watcher_stop = eventfd(0, EFD_CLOEXEC);
    if (session->watcher_stop < 0) {
        return error_set_errno(err, ERROR_TRANSIENT, errno, "make an eventfd");
    }
    int code = pthread_create(&session->watcher, NULL, watch, session);
    if (code != 0) {
        (void)close(session->watcher_stop);
        return error_set_errno(err, ERROR_TRANSIENT, code, "start a thread");
    }
    session->is_watched = true;
    return STATUS_OK;
}

static void stop_watching(DuckSession *session)
{
    if (!session->is_watched) {
        return;
    }
    int failed = eventfd_write(session->watcher_stop, 1);
    assert(failed == 0);
    (void)pthread_join(session->watcher, NULL);
    (void)close(session->watcher_stop);
    session->is_watched = false;
}

// DuckDB locks a file against other processes only. Two in this one that have it open would lose
// each other's commits.
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static DuckSession *open_sessions;

static Status take_file(DuckSession *session, Error *err)
{
    Str identity = file_identity(session->path, &session->arena);
    bool taken = false;
    (void)pthread_mutex_lock(&open_lock);
    for (const DuckSession *other = open_sessions; other != NULL; other = other->next_open) {
        taken = taken || str_equal(other->identity, identity);
    }
    if (!taken) {
        session->identity = identity;
        session->next_open = open_sessions;
        open_sessions = session;
    }
    (void)pthread_mutex_unlock(&open_lock);
    if (!taken) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG, "\"%s\" is open already, by another route or pipeline",
              session->path);
    return error_hint(err, "Give each a file of its own: DuckDB lets one at a time write to it.");
}

static void give_file_back(DuckSession *session)
{
    if (session->identity.ptr == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&open_lock);
    DuckSession **at = &open_sessions;
    while (*at != session) {
        at = &(*at)->next_open;
    }
    *at = session->next_open;
    (void)pthread_mutex_unlock(&open_lock);
}

Status duck_session_open(DuckSession *session, const DuckSettings *settings, Error *err)
{
    DuckConfig config = NULL;
    if (take_file(session, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status = configure(session, settings, &config, err);
    if (status == STATUS_OK) {
        status = open_file(session, config, err);
    }
    session->library.destroy_config(&config);
    if (status != STATUS_OK || look_around(session, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return start_watching(session, err);
}

void duck_session_close(DuckSession *session)
{
    const DuckLibrary *library = &session->library;
    stop_watching(session);
    if (session->connection != NULL) {
        library->disconnect(&session->connection); // with the rollback of an open transaction
    }
    if (session->database != NULL) {
        library->close(&session->database);
    }
    give_file_back(session);
    buf_done(&session->sql);
    arena_done(&session->arena);
    *session = (DuckSession){0};
}
