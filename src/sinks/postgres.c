// postgres://… — mirrors tables in another Postgres database, exactly once: the checkpoint is a
// table of the target, written in the transaction that writes the rows.
#include <assert.h>

#include "base/limits.h"
#include "sinks/postgres_sink.h"

enum { STATEMENT_MAX = 64 << 20 };

static const Option options[] = {
    {"url", OPTION_STRING(PostgresSink, url), .required = true, .secret = true, .is_path = true,
     .help =
         "Connection URL or keyword string, as libpq takes it; what it leaves out comes from the "
         "PG* environment variables."},
    {"schema", OPTION_LIST(PostgresSink, schemas),
     .help =
         "Where tables go: one schema for all, or from:to pairs. Default: the source's schema."},
    {"mode", OPTION_CHOICE(PostgresSink, mode, sql_mode_choices), .fallback = "mirror",
     .help = "mirror: rows as they are now. history: every change is appended."},
    {"existing", OPTION_CHOICE(PostgresSink, existing, sql_existing_choices), .fallback = "fail",
     .help = "What to do with a table that has rows before its first copy: refuse, remove them, or "
             "add rows beside them."},
    {"triggers", OPTION_BOOL(PostgresSink, triggers), .fallback = "false",
     .help = "Let the target's triggers and foreign keys act on what is written. Otherwise they do "
             "not, as with Postgres's own replication, if the user may set "
             "session_replication_role."},
    {0},
};

static PostgresSink *self(Sink *sink)
{
    return (PostgresSink *)sink;
}

PgWait postgres_sink_wait(const PostgresSink *sink)
{
    return (PgWait){.cancel = sink->base.context.cancel};
}

// ---------------------------------------------------------------------------------------------
// Statements
// ---------------------------------------------------------------------------------------------

static Status explain(const PostgresSink *sink, Error *err)
{
    if (err == NULL || strcmp(err->sqlstate, "42501") != 0 || err->hint[0] != '\0') {
        return STATUS_FAIL;
    }
    const char *user = PQuser(sink->conn);
    return error_hint(
        err,
        "GRANT CREATE ON DATABASE \"%s\" TO \"%s\"; and for tables that exist: GRANT "
        "SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA … TO \"%s\";",
        PQdb(sink->conn), user, user);
}

Status postgres_run(PostgresSink *sink, const char *sql, Error *err)
{
    PgWait wait = postgres_sink_wait(sink);
    return pg_run(sink->conn, &wait, sql, err) == STATUS_OK ? STATUS_OK : explain(sink, err);
}

Status postgres_run_with(PostgresSink *sink, const char *sql, int count,
                         const char *const *parameters, int64_t *ret_rows, Error *err)
{
    PgWait wait = postgres_sink_wait(sink);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(sink->conn, &wait, sql, count, parameters, &result, err) != STATUS_OK) {
        return explain(sink, err);
    }
    if (!str_to_int64(str_from(PQcmdTuples(result)), ret_rows)) {
        *ret_rows = 0;
    }
    return STATUS_OK;
}

Status postgres_begin(PostgresSink *sink, Error *err)
{
    if (sink->in_transaction) {
        return STATUS_OK;
    }
    if (postgres_run(sink, "BEGIN", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sink->in_transaction = true;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Opening
// ---------------------------------------------------------------------------------------------

static Status postgres_validate(Sink *base, Error *err)
{
    PostgresSink *sink = self(base);
    for (size_t i = 0; i < sink->schemas.count; i++) {
        Str item = sink->schemas.items[i];
        bool pair = str_find(item, ':') >= 0;
        if (!pair && sink->schemas.count > 1) {
            error_set(err, ERROR_CONFIG, "\"schema\" names several schemas for one place");
            return error_hint(err, "Give one schema for all tables, or pairs: schema=public:app,"
                                   "sales:crm");
        }
    }
    return STATUS_OK;
}

// As Postgres's own apply worker does: the source has checked its foreign keys and run its
// triggers, and their effects arrive as changes of their own.
static Status quiet_triggers(PostgresSink *sink, Error *err)
{
    Error refused = {0};
    if (sink->triggers ||
        postgres_run(sink, "SET session_replication_role = replica", &refused) == STATUS_OK) {
        return STATUS_OK;
    }
    if (refused.kind != ERROR_CONFIG) {
        *err = refused;
        return STATUS_FAIL;
    }
    if (!sink->base.context.is_lane) {
        sink->base.context.notice(sink->base.context.notice_context,
                                  "the target's user may not set session_replication_role: its "
                                  "triggers and foreign keys act on what is written");
    }
    return STATUS_OK;
}

static Status postgres_open(Sink *base, Error *err)
{
    PostgresSink *sink = self(base);
    buf_init(&sink->sql, STATEMENT_MAX);
    buf_init(&sink->copy.buf, LIMIT_TEXT_BYTES);
    PgWait wait = postgres_sink_wait(sink);
    PgConnect connect = {
        .url = sink->url,
        .application_name = arena_printf(&sink->arena, "weir/%s", base->context.pipeline),
    };
    if (pg_connect(&connect, &wait, &sink->conn, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return quiet_triggers(sink, err);
}

// Two processes that write as one pipeline would double every change.
static Status lock_pipeline(PostgresSink *sink, Error *err)
{
    const char *parameters[] = {sink->base.context.pipeline};
    PgWait wait = postgres_sink_wait(sink);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(sink->conn, &wait, "SELECT pg_try_advisory_lock(hashtext('weir'), hashtext($1))",
                 1, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQgetvalue(result, 0, 0)[0] == 't') {
        return STATUS_OK;
    }
    error_set(err, ERROR_TRANSIENT, "another session writes to the target as pipeline \"%s\"",
              sink->base.context.pipeline);
    return error_hint(err, "It may be a connection that the target has not yet noticed to be gone; "
                           "otherwise give this pipeline another --name.");
}

static Status make_checkpoint_table(PostgresSink *sink, Error *err)
{
    PgWait wait = postgres_sink_wait(sink);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(sink->conn, &wait, "SELECT to_regclass('weir.checkpoint') IS NOT NULL", 0, NULL,
                 &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQgetvalue(result, 0, 0)[0] == 't') {
        return STATUS_OK;
    }
    return postgres_run(sink,
                        "CREATE SCHEMA IF NOT EXISTS weir;"
                        "CREATE TABLE IF NOT EXISTS weir.checkpoint (pipeline text NOT NULL,"
                        " key text NOT NULL, value text NOT NULL, PRIMARY KEY (pipeline, key))",
                        err);
}

static Status postgres_resume(Sink *base, Checkpoint *checkpoint, Error *err)
{
    PostgresSink *sink = self(base);
    if (lock_pipeline(sink, err) != STATUS_OK || make_checkpoint_table(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const char *parameters[] = {base->context.pipeline};
    PgWait wait = postgres_sink_wait(sink);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(sink->conn, &wait, "SELECT key, value FROM weir.checkpoint WHERE pipeline = $1", 1,
                 parameters, &result, err) != STATUS_OK) {
        return explain(sink, err);
    }
    for (int i = 0; i < PQntuples(result); i++) {
        checkpoint_set(checkpoint, str_from(PQgetvalue(result, i, 0)),
                       str_from(PQgetvalue(result, i, 1)));
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------

static Status postgres_write(Sink *base, const Change *changes, size_t count, Error *err)
{
    PostgresSink *sink = self(base);
    if (postgres_begin(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return sink->mode == SQL_MIRROR ? postgres_mirror(sink, changes, count, err)
                                    : postgres_history(sink, changes, count, err);
}

static Status store_entry(PostgresSink *sink, const CheckpointEntry *entry, Error *err)
{
    int64_t rows;
    const char *parameters[] = {
        sink->base.context.pipeline,
        str_to_cstr(&sink->scratch, entry->key),
        entry->value.ptr == NULL ? NULL : str_to_cstr(&sink->scratch, entry->value),
    };
    if (entry->value.ptr == NULL) {
        return postgres_run_with(sink,
                                 "DELETE FROM weir.checkpoint WHERE pipeline = $1 AND key = $2", 2,
                                 parameters, &rows, err);
    }
    return postgres_run_with(sink,
                             "INSERT INTO weir.checkpoint VALUES ($1, $2, $3)"
                             " ON CONFLICT (pipeline, key) DO UPDATE SET value = excluded.value",
                             3, parameters, &rows, err);
}

static Status postgres_commit(Sink *base, Checkpoint *changed, Error *err)
{
    PostgresSink *sink = self(base);
    arena_reset(&sink->scratch);
    if (changed->count > 0 && postgres_begin(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < changed->count; i++) {
        if (store_entry(sink, &changed->entries[i], err) != STATUS_OK) {
            return error_wrap(err, "store the checkpoint");
        }
    }
    if (!sink->in_transaction) {
        return STATUS_OK;
    }
    // When the connection breaks here, nobody knows whether it was committed: what resume() reads
    // after the reconnect is the answer.
    sink->in_transaction = false;
    return postgres_run(sink, "COMMIT", err);
}

static void postgres_close(Sink *base)
{
    PostgresSink *sink = self(base);
    pg_close(&sink->conn);
    map_done(&sink->targets);
    map_done(&sink->type_exists);
    sql_targets_done(&sink->owners);
    buf_done(&sink->sql);
    buf_done(&sink->copy.buf);
    arena_done(&sink->scratch);
    arena_done(&sink->arena);
}

static void describe_column(Sink *base, const Column *column, Buf *ret_type)
{
    buf_str(ret_type, postgres_type_for(self(base), column));
}

static void describe_table(Sink *base, const Relation *relation, Buf *ret_name)
{
    sql_table_name(ret_name, postgres_place(self(base), relation));
}

const SinkOps postgres_sink = {
    .name = "postgres",
    .summary = "Tables in another Postgres database.",
    .options = options,
    .instance_size = sizeof(PostgresSink),
    .guarantee = GUARANTEE_EXACTLY_ONCE,
    .stores_checkpoint = true,
    .has_tables = true,
    .is_parallel = true,
    .validate = postgres_validate,
    .open = postgres_open,
    .resume = postgres_resume,
    .prepare = postgres_prepare,
    .clear = postgres_clear,
    .write = postgres_write,
    .commit = postgres_commit,
    .close = postgres_close,
    .describe_column = describe_column,
    .describe_table = describe_table,
    .check = postgres_check_table,
};
