// The session of a push sink: what it stores, under which origin it writes, and when it is closed.
#include <assert.h>

#include "base/clock.h"
#include "base/limits.h"
#include "hub/hub_origin.h"
#include "hub/hub_push.h"
#include "hub/hub_table.h"
#include "hub/push_postgres_inside.h"

enum { STATEMENT_MAX = 64 << 20, ABOUT_MAX = 64 << 10, SILENCE_MS = 60000 };

static const Option options[] = {{0}};

static PushSink *self(Sink *sink)
{
    return (PushSink *)sink;
}

// In the checkpoint: where the system was when something was pushed last; empty: not known.
#define PUSHED_KEY STR("sink:pushed")

// ---------------------------------------------------------------------------------------------
// The origin
// ---------------------------------------------------------------------------------------------

static Status call(PushSink *sink, const char *sql, const char *name, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    return postgres_session_query(&sink->session, sql, 1, &name, &result, err);
}

static Status set_up_origin(PushSink *sink, bool exists, Error *err)
{
    const char *name = sink->origin;
    if (!exists && call(sink, "SELECT pg_replication_origin_create($1)", name, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return call(sink, "SELECT pg_replication_origin_session_setup($1)", name, err);
}

// Only what is received can come back. Its progress is not used: the position is in the checkpoint.
static Status take_origin(PushSink *sink, Error *err)
{
    PGconn *conn = sink->session.conn;
    PgWait wait = postgres_session_wait(&sink->session);
    HubOrigin origin;
    if (!sink->receives) {
        return STATUS_OK;
    }
    if (hub_origin_look(conn, &wait, sink->origin, &origin, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!origin.is_allowed) {
        return hub_origin_refuse(conn, sink->system->name, err);
    }
    sink->has_origin = set_up_origin(sink, origin.exists, err) == STATUS_OK;
    if (sink->has_origin) {
        return STATUS_OK;
    }
    if (strcmp(err->sqlstate, "55006") == 0) {
        error_wrap(err, "another session writes under the replication origin \"%s\"", sink->origin);
        return error_hint(err, "It may be a connection that the server has not yet noticed to be "
                               "gone, or another hub of the same name.");
    }
    return error_wrap(err, "replication origin \"%s\"", sink->origin);
}

// ---------------------------------------------------------------------------------------------
// Where the system stands
// ---------------------------------------------------------------------------------------------

static Status ask_position(PushSink *sink, Lsn *ret, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_session_query(&sink->session, "SELECT pg_current_wal_insert_lsn()", 0, NULL,
                               &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return lsn_parse(str_from(pg_value(result, 0, 0)), ret)
               ? STATUS_OK
               : error_set(err, ERROR_DATA, "the server's answer is no LSN");
}

// Where the system was when something was pushed last is stored once it is known, which is behind
// that commit: by the next one that pushes nothing, or at the end. Without it that may have been
// now.
static Status begin_conflicts(PushSink *sink, const Checkpoint *stored, Error *err)
{
    const CheckpointEntry *mark = checkpoint_get(stored, PUSHED_KEY);
    bool is_first = checkpoint_get(stored, CHECKPOINT_POSITION) == NULL;
    Lsn floor = LSN_NONE;
    if (!sink->receives) {
        return STATUS_OK;
    }
    sink->has_mark = mark != NULL && lsn_parse(mark->value, &floor);
    if (!sink->has_mark && !is_first && ask_position(sink, &floor, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    push_conflicts_begin(&sink->conflicts, floor);
    sink->knows_mark = true;
    return STATUS_OK;
}

// What a commit is to store of that.
static void put_mark(PushSink *sink, Checkpoint *changed)
{
    const PushConflicts *conflicts = &sink->conflicts;
    bool pushes = conflicts->open != NULL;
    if (!sink->receives || sink->has_mark != pushes) {
        return;
    }
    char text[32] = "";
    if (!pushes) {
        Lsn last = MAX(conflicts->last, conflicts->floor);
        (void)snprintf(text, sizeof(text), LSN_FMT, LSN_ARG(last));
    }
    checkpoint_set(changed, PUSHED_KEY, str_from(text));
    sink->has_mark = !pushes;
}

// Not of who has only looked, or was refused before it knew what is stored, or while somebody else
// pushes.
static void store_mark(PushSink *sink)
{
    Checkpoint changed = {0};
    Error ignored = {0};
    bool may = sink->knows_mark && sink->has_origin && sink->session.conn != NULL &&
               !sink->session.in_transaction && sink->conflicts.open == NULL &&
               PQstatus(sink->session.conn) == CONNECTION_OK;
    if (may) {
        put_mark(sink, &changed);
    }
    if (changed.count > 0 &&
        postgres_session_store(&sink->session, &changed, &ignored) == STATUS_OK) {
        Status status = postgres_session_commit(&sink->session, &ignored);
        (void)status; // then the next start is only more careful
    }
    checkpoint_done(&changed);
}

// Behind a commit.
static Status note_pushed(PushSink *sink, Error *err)
{
    Lsn now;
    if (sink->conflicts.open == NULL) {
        return STATUS_OK;
    }
    if (ask_position(sink, &now, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    push_conflicts_committed(&sink->conflicts, now);
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// The session
// ---------------------------------------------------------------------------------------------

static Status open_session(PushSink *sink, Error *err)
{
    // What is written depends on what is there when it is written, also behind somebody's lock.
    return postgres_session_open(&sink->session, err) == STATUS_OK
               ? postgres_session_run(&sink->session,
                                      "SET SESSION CHARACTERISTICS AS TRANSACTION"
                                      " ISOLATION LEVEL READ COMMITTED",
                                      err)
               : STATUS_FAIL;
}

static void note_position(PushSink *sink, const Checkpoint *checkpoint)
{
    const CheckpointEntry *entry = checkpoint_get(checkpoint, CHECKPOINT_POSITION);
    if (entry != NULL) {
        (void)snprintf(sink->position, sizeof(sink->position), "%" STR_FMT, STR_ARG(entry->value));
    }
}

static bool is_where_it_was(const PushSink *sink, const Checkpoint *stored)
{
    const CheckpointEntry *entry = checkpoint_get(stored, CHECKPOINT_POSITION);
    return str_is(entry == NULL ? STR("") : entry->value, sink->position);
}

// Lock and origin go back at once: the server may be some time in noticing that we are gone.
static void close_session(PushSink *sink)
{
    Error ignored = {0};
    Status status =
        postgres_session_run(&sink->session,
                             sink->has_origin ? "SELECT pg_advisory_unlock_all();"
                                                "SELECT pg_replication_origin_session_reset()"
                                              : "SELECT pg_advisory_unlock_all()",
                             &ignored);
    (void)status; // it goes anyway
    push_forget_targets(sink);
    postgres_session_close(&sink->session);
    sink->has_origin = false;
}

static Status open_again(PushSink *sink, Error *err)
{
    Checkpoint stored = {0};
    Status status = open_session(sink, err);
    if (status == STATUS_OK) {
        status = postgres_session_lock(&sink->session, err);
    }
    if (status == STATUS_OK) {
        status = postgres_session_read_checkpoint(&sink->session, &stored, err);
    }
    if (status == STATUS_OK && !is_where_it_was(sink, &stored)) {
        status =
            error_set(err, ERROR_TRANSIENT,
                      "another session has written to system \"%" STR_FMT "\" as pipeline \"%s\"",
                      STR_ARG(sink->system->name), sink->base.context.pipeline);
    }
    checkpoint_done(&stored);
    return status == STATUS_OK ? take_origin(sink, err) : STATUS_FAIL;
}

// A connection that had nothing to do for so long may be lost without anybody having noticed, in a
// firewall perhaps, and the system's owner does not want to see it.
static Status be_connected(PushSink *sink, Error *err)
{
    int64_t most_ms = sink->system->postgresql.max_connection_idle_ms;
    bool is_stale = sink->session.conn != NULL && !sink->session.in_transaction && most_ms > 0 &&
                    clock_monotonic_ms() - sink->used_at_ms > most_ms;
    if (is_stale) {
        close_session(sink);
    }
    return sink->session.conn != NULL ? STATUS_OK : open_again(sink, err);
}

static Status push_open(Sink *base, Error *err)
{
    PushSink *sink = self(base);
    const SinkContext *context = &base->context;
    const HubEnd *end = context->subject;
    assert(end != NULL && end->system->type == SYSTEM_POSTGRESQL);
    sink->system = end->system;
    sink->receives = end->system->receive_count > 0;
    const PostgresqlSettings *settings = &end->system->postgresql;
    buf_init(&sink->sql, STATEMENT_MAX);
    buf_init(&sink->about, ABOUT_MAX);
    rate_limit_init(&sink->limit, end->system->rate_limit, end->system->rate_bucket_size,
                    clock_monotonic_us());
    sink->session = (PgSession){
        .url = hub_connection(settings, &sink->arena),
        .pipeline = context->pipeline,
        .cancel = context->cancel,
        // A silent server is asked by a second connection.
        .silence_ms = settings->max_open_connections > 1 ? SILENCE_MS : 0,
        .rights = "SELECT, INSERT, UPDATE, DELETE",
        .unique_hint = "Another row has that value. Give one of them another one, or let the hub "
                       "search by it: search_key: true.",
        .at_work = context->at_work,
        .at_work_context = context->at_work_context,
    };
    sink->origin = hub_origin_name(context->pipeline, &sink->arena).ptr;
    sink->used_at_ms = clock_monotonic_ms();
    return open_session(sink, err);
}

static Status push_resume(Sink *base, Checkpoint *checkpoint, Error *err)
{
    PushSink *sink = self(base);
    sink->session.subject = postgres_checkpoint_table;
    // Who may not write under the origin is refused before anything is made.
    if (postgres_session_lock(&sink->session, err) != STATUS_OK ||
        take_origin(sink, err) != STATUS_OK ||
        postgres_session_make_checkpoint(&sink->session, err) != STATUS_OK ||
        postgres_session_read_checkpoint(&sink->session, checkpoint, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    note_position(sink, checkpoint);
    return begin_conflicts(sink, checkpoint, err);
}

static Status push_look(Sink *base, Checkpoint *checkpoint, Error *err)
{
    PushSink *sink = self(base);
    bool exists;
    sink->session.subject = postgres_checkpoint_table;
    if (postgres_session_has_checkpoint(&sink->session, &exists, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return exists ? postgres_session_read_checkpoint(&sink->session, checkpoint, err) : STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------

static Status push_prepare(Sink *base, const Relation *was, const Relation *now, Error *err)
{
    return STATUS_OK; // its tables are others: see push_target()
}

static Status push_write(Sink *base, const Change *changes, size_t count, Error *err)
{
    PushSink *sink = self(base);
    return be_connected(sink, err) == STATUS_OK ? push_changes(sink, changes, count, err)
                                                : STATUS_FAIL;
}

// What the target would only check at the COMMIT is checked here, where it can still be undone.
static Status push_whole(PushSink *sink, const Change *changes, size_t count, Error *err)
{
    static const PgStatement defer = {.sql = "SET CONSTRAINTS ALL DEFERRED"};
    static const PgStatement check = {.sql = "SET CONSTRAINTS ALL IMMEDIATE",
                                      .what = {"check what was pushed", 21}};
    return postgres_session_send(&sink->session, &defer, err) == STATUS_OK &&
                   push_changes(sink, changes, count, err) == STATUS_OK &&
                   postgres_session_send(&sink->session, &check, err) == STATUS_OK
               ? postgres_session_settle(&sink->session, err)
               : STATUS_FAIL;
}

static Status push_try_write(Sink *base, const Change *changes, size_t count, bool *ret_is_intact,
                             Error *err)
{
    PushSink *sink = self(base);
    if (be_connected(sink, err) != STATUS_OK ||
        postgres_session_begin(&sink->session, err) != STATUS_OK ||
        postgres_session_send(&sink->session, &(PgStatement){.sql = "SAVEPOINT weir_try"}, err) !=
            STATUS_OK) {
        return STATUS_FAIL;
    }
    Error refused = {0};
    int64_t taken = sink->tokens_taken;
    if (push_whole(sink, changes, count, &refused) == STATUS_OK) {
        return postgres_session_send(&sink->session, &(PgStatement){.sql = "RELEASE weir_try"},
                                     err);
    }
    bool can_go_on = refused.kind == ERROR_DATA && PQstatus(sink->session.conn) == CONNECTION_OK;
    if (can_go_on && push_undo(sink, "weir_try", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // Those that are not refused come again, fewer at a time.
    if (count > 1) {
        rate_limit_give_back(&sink->limit, sink->tokens_taken - taken);
    }
    *ret_is_intact = can_go_on;
    *err = refused;
    return STATUS_FAIL;
}

static Status push_commit(Sink *base, Checkpoint *changed, Error *err)
{
    PushSink *sink = self(base);
    if (changed->count == 0 && !sink->session.in_transaction) {
        return STATUS_OK;
    }
    put_mark(sink, changed);
    if (be_connected(sink, err) != STATUS_OK ||
        postgres_session_store(&sink->session, changed, err) != STATUS_OK ||
        (sink->session.in_transaction &&
         postgres_session_commit(&sink->session, err) != STATUS_OK) ||
        note_pushed(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    note_position(sink, changed);
    sink->used_at_ms = clock_monotonic_ms();
    if (sink->system->postgresql.max_idle_connections == 0) {
        close_session(sink);
    }
    return STATUS_OK;
}

static void push_close(Sink *base)
{
    PushSink *sink = self(base);
    store_mark(sink);
    postgres_session_close(&sink->session);
    push_conflicts_done(&sink->conflicts);
    map_done(&sink->targets);
    arena_done(&sink->bound);
    buf_done(&sink->sql);
    buf_done(&sink->about);
    arena_done(&sink->scratch);
    arena_done(&sink->arena);
}

const SinkOps hub_push_postgres = {
    .name = "hub-postgresql",
    .summary = "Rows that objects of a hub become.",
    .options = options,
    .instance_size = sizeof(PushSink),
    .guarantee = GUARANTEE_EXACTLY_ONCE,
    .stores_checkpoint = true,
    .changes_stand_alone = true,
    .open = push_open,
    .resume = push_resume,
    .prepare = push_prepare,
    .write = push_write,
    .make_room = push_make_room,
    .try_write = push_try_write,
    .row_key = hub_push_row_key,
    .commit = push_commit,
    .close = push_close,
    .look = push_look,
};
