// Where a pipeline that writes into Postgres keeps its checkpoint, and who may.
#include "base/clock.h"
#include "io/cancel.h"
#include "pipeline/advice.h"
#include "sinks/postgres_session.h"

const SqlTable postgres_checkpoint_table = {.schema = {"weir", 4}, .name = {"checkpoint", 10}};

// ---------------------------------------------------------------------------------------------
// Locks
// ---------------------------------------------------------------------------------------------

// A process that was killed leaves its connection behind, until the server notices: usually within
// this time, so that nothing need be said of it.
enum { LOCK_PATIENCE_MS = 5000, LOCK_PAUSE_MS = 100 };

static Status try_lock(PgSession *session, const char *sql, bool *ret, Error *err)
{
    const char *parameters[] = {session->pipeline};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_session_query(session, sql, 1, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = pg_value(result, 0, 0)[0] == 't';
    return STATUS_OK;
}

static Status take_lock(PgSession *session, const char *sql, Error *err)
{
    int64_t began_ms = clock_monotonic_ms();
    for (;;) {
        bool is_ours;
        if (try_lock(session, sql, &is_ours, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (is_ours) {
            return STATUS_OK;
        }
        if (clock_monotonic_ms() - began_ms >= LOCK_PATIENCE_MS) {
            break;
        }
        cancel_wait(session->cancel, LOCK_PAUSE_MS);
    }
    error_set(err, ERROR_TRANSIENT, "another session writes to the target as pipeline \"%s\"",
              session->pipeline);
    return error_hint(err,
                      "It may be a connection that the target has not yet noticed to be gone; "
                      "otherwise give this pipeline %s.",
                      advice()->another_name);
}

// Two processes that write as one pipeline would double every change. The session that goes on has
// the first lock. Lanes share the second, so that it also waits for those that another one has left
// behind: they may be about to commit.
Status postgres_session_lock(PgSession *session, Error *err)
{
    return take_lock(session,
                     "SELECT CASE WHEN pg_try_advisory_lock(hashtext('weir'), hashtext($1))"
                     " AND pg_try_advisory_lock(hashtext('weir lane'), hashtext($1))"
                     " THEN pg_advisory_unlock(hashtext('weir lane'), hashtext($1)) END",
                     err);
}

Status postgres_session_lock_lane(PgSession *session, Error *err)
{
    return take_lock(
        session, "SELECT pg_try_advisory_lock_shared(hashtext('weir lane'), hashtext($1))", err);
}

// ---------------------------------------------------------------------------------------------
// The table
// ---------------------------------------------------------------------------------------------

Status postgres_session_has_checkpoint(PgSession *session, bool *ret, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_session_query(session,
                               "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n"
                               " ON n.oid = c.relnamespace"
                               " WHERE n.nspname = 'weir' AND c.relname = 'checkpoint')",
                               0, NULL, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = pg_value(result, 0, 0)[0] == 't';
    return STATUS_OK;
}

Status postgres_session_make_checkpoint(PgSession *session, Error *err)
{
    bool exists;
    // Looked for first: IF NOT EXISTS wants the right to create also where there is nothing to
    // create.
    if (postgres_session_has_checkpoint(session, &exists, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (exists) {
        return STATUS_OK;
    }
    // The lock because two pipelines may start at the same time.
    if (postgres_session_begin(session, err) != STATUS_OK ||
        postgres_session_run(session, "SELECT pg_advisory_xact_lock(hashtext('weir'), 0)", err) !=
            STATUS_OK ||
        postgres_session_make_schema(session, postgres_checkpoint_table.schema, err) != STATUS_OK ||
        postgres_session_run(
            session,
            "CREATE TABLE IF NOT EXISTS weir.checkpoint (pipeline text NOT NULL,"
            " key text NOT NULL, value text NOT NULL, PRIMARY KEY (pipeline, key))",
            err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return postgres_session_commit(session, err);
}

Status postgres_session_read_checkpoint(PgSession *session, Checkpoint *ret, Error *err)
{
    const char *parameters[] = {session->pipeline};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_session_query(session,
                               "SELECT key, value FROM weir.checkpoint WHERE pipeline = $1", 1,
                               parameters, &result, err) != STATUS_OK) {
        return error_wrap(err, "read the checkpoint");
    }
    for (int i = 0; i < PQntuples(result); i++) {
        checkpoint_set(ret, str_from(pg_value(result, i, 0)), str_from(pg_value(result, i, 1)));
    }
    session->has_position = checkpoint_get(ret, CHECKPOINT_POSITION) != NULL;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Storing
// ---------------------------------------------------------------------------------------------

static Status store(PgSession *session, const char *sql, int count, const char *const *parameters,
                    Error *err)
{
    return postgres_session_send(session,
                                 &(PgStatement){.sql = sql,
                                                .count = count,
                                                .parameters = parameters,
                                                .what = STR("store the checkpoint")},
                                 err);
}

// Most commits have nothing but the position.
static Status store_entry(PgSession *session, const CheckpointEntry *entry, Error *err)
{
    const char *parameters[] = {session->pipeline, str_to_cstr(&session->scratch, entry->key),
                                str_to_cstr(&session->scratch, entry->value)};
    return store(session,
                 "INSERT INTO weir.checkpoint (pipeline, key, value) VALUES ($1, $2, $3)"
                 " ON CONFLICT (pipeline, key) DO UPDATE SET value = excluded.value",
                 3, parameters, err);
}

// Entries of one kind, in one statement.
static Status store_entries(PgSession *session, const Checkpoint *changed, bool removed,
                            const char *sql, Error *err)
{
    CLEANUP(buf_done) Buf keys;
    CLEANUP(buf_done) Buf values;
    buf_init(&keys, POSTGRES_ARRAY_MAX);
    buf_init(&values, POSTGRES_ARRAY_MAX);
    for (size_t i = 0; i < changed->count; i++) {
        const CheckpointEntry *entry = &changed->entries[i];
        if ((entry->value.ptr == NULL) == removed) {
            postgres_array_add(&keys, entry->key, false);
            postgres_array_add(&values, entry->value, removed);
        }
    }
    if (keys.len == 0) {
        return STATUS_OK;
    }
    buf_char(&keys, '}');
    buf_char(&values, '}');
    if (buf_check(&keys, "the checkpoint", err) != STATUS_OK ||
        buf_check(&values, "the checkpoint", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const char *parameters[] = {session->pipeline, buf_cstring(&keys), buf_cstring(&values)};
    return store(session, sql, removed ? 2 : 3, parameters, err);
}

Status postgres_session_store(PgSession *session, const Checkpoint *changed, Error *err)
{
    if (changed->count == 0) {
        return STATUS_OK;
    }
    arena_reset(&session->scratch);
    // What was written is reported under its own name.
    if (postgres_session_begin(session, err) != STATUS_OK ||
        postgres_session_settle_more(session, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    session->subject = postgres_checkpoint_table;
    if (changed->count == 1 && changed->entries[0].value.ptr != NULL) {
        return store_entry(session, &changed->entries[0], err);
    }
    if (store_entries(session, changed, true,
                      "DELETE FROM weir.checkpoint WHERE pipeline = $1 AND key = ANY ($2::text[])",
                      err) != STATUS_OK ||
        store_entries(session, changed, false,
                      "INSERT INTO weir.checkpoint (pipeline, key, value)"
                      " SELECT $1, k, v FROM unnest($2::text[], $3::text[]) AS u (k, v)"
                      " ON CONFLICT (pipeline, key) DO UPDATE SET value = excluded.value",
                      err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return STATUS_OK;
}
