// The connection of a sink that writes into Postgres, and its transaction.
#include "sinks/postgres_session.h"

#include <assert.h>

#include "base/limits.h"

PgWait postgres_session_wait(const PgSession *session)
{
    return (PgWait){
        .cancel = session->cancel,
        .probe = session->probe.url.ptr == NULL ? NULL : &session->probe,
    };
}

// ---------------------------------------------------------------------------------------------
// Failures
// ---------------------------------------------------------------------------------------------

// A label that the target's enum does not have: invalid input value for enum app.mood: "glad".
// Where the server speaks another language than English, nobody is told what mends it.
static Status explain_label(Error *err)
{
    static const char start[] = "invalid input value for enum ";
    const char *type = strstr(err->message, start);
    const char *label = type == NULL ? NULL : strstr(type, ": \"");
    const char *end = label == NULL ? NULL : strrchr(label + 3, '"');
    if (end == NULL) {
        return STATUS_FAIL;
    }
    type += sizeof(start) - 1;
    label += 3;
    CLEANUP(buf_done) Buf hint;
    buf_init(&hint, ERROR_MESSAGE_MAX);
    buf_printf(&hint,
               "The source's type has a label that the target's lacks: ALTER TYPE %.*s ADD "
               "VALUE ",
               (int)(label - 3 - type), type);
    sql_literal(&hint, (Str){label, (size_t)(end - label)});
    return error_hint(err, "%s;", buf_cstring(&hint));
}

// What the server says decides which right is missing; where it speaks another language than
// English, all of them are named.
Status postgres_session_explain(const PgSession *session, Error *err)
{
    if (err == NULL) {
        return STATUS_FAIL;
    }
    // It could write once: a failover has made it a standby, and its address will soon lead on.
    if (strcmp(err->sqlstate, "25006") == 0 && session->has_position) {
        err->kind = ERROR_TRANSIENT;
        return error_hint(err, "The target takes no changes now, as a standby does: if it is not "
                               "to become writable again, let the URL lead to the one that is.");
    }
    if (strcmp(err->sqlstate, "22P02") == 0 && err->hint[0] == '\0') {
        return explain_label(err);
    }
    if (strcmp(err->sqlstate, "42501") != 0 || err->hint[0] != '\0') {
        return STATUS_FAIL;
    }
    CLEANUP(buf_done) Buf hint;
    CLEANUP(buf_done) Buf user;
    CLEANUP(buf_done) Buf table;
    buf_init(&hint, ERROR_MESSAGE_MAX);
    buf_init(&user, ERROR_MESSAGE_MAX);
    buf_init(&table, ERROR_MESSAGE_MAX);
    sql_identifier(&user, str_from(PQuser(session->conn)));
    bool about_table = session->subject.name.len > 0;
    if (about_table) {
        sql_table_name(&table, session->subject);
    }
    bool owner = strstr(err->message, "must be owner") != NULL;
    bool schema = strstr(err->message, " for schema ") != NULL;
    bool relation = strstr(err->message, " for table ") != NULL;
    bool database = strstr(err->message, " for database ") != NULL;
    if (about_table && owner) {
        buf_printf(&hint, "ALTER TABLE %s OWNER TO %s;", buf_cstring(&table), buf_cstring(&user));
    } else if (about_table && schema) {
        buf_cstr(&hint, "GRANT USAGE, CREATE ON SCHEMA ");
        sql_identifier(&hint, session->subject.schema);
        buf_printf(&hint, " TO %s;", buf_cstring(&user));
    } else {
        if (!relation) {
            buf_cstr(&hint, "GRANT CREATE ON DATABASE ");
            sql_identifier(&hint, str_from(PQdb(session->conn)));
            buf_printf(&hint, " TO %s;%s", buf_cstring(&user), database ? "" : " ");
        }
        if (about_table && !database) {
            buf_printf(&hint, "GRANT %s ON %s TO %s;", session->rights, buf_cstring(&table),
                       buf_cstring(&user));
        }
    }
    return error_hint(err, "%s", buf_cstring(&hint));
}

// ---------------------------------------------------------------------------------------------
// Statements
// ---------------------------------------------------------------------------------------------

Status postgres_session_run(PgSession *session, const char *sql, Error *err)
{
    PgWait wait = postgres_session_wait(session);
    if (postgres_session_settle(session, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return pg_run(session->conn, &wait, sql, err) == STATUS_OK
               ? STATUS_OK
               : postgres_session_explain(session, err);
}

Status postgres_session_query(PgSession *session, const char *sql, int count,
                              const char *const *parameters, PGresult **ret, Error *err)
{
    PgWait wait = postgres_session_wait(session);
    if (postgres_session_settle(session, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return pg_query(session->conn, &wait, sql, count, parameters, ret, err) == STATUS_OK
               ? STATUS_OK
               : postgres_session_explain(session, err);
}

Status postgres_session_begin(PgSession *session, Error *err)
{
    if (session->in_transaction) {
        return STATUS_OK;
    }
    session->in_transaction = true;
    session->statements.transaction++;
    return postgres_session_send(session, &(PgStatement){.sql = "BEGIN"}, err);
}

Status postgres_session_commit(PgSession *session, Error *err)
{
    const PgStatement commit = {.sql = "COMMIT", .is_commit = true};
    // What only we find wrong must not be committed.
    if (session->statements.must_be_checked && postgres_session_settle(session, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // When the connection breaks here, nobody knows whether it was committed: what resume() reads
    // after the reconnect is the answer.
    session->in_transaction = false;
    return postgres_session_send(session, &commit, err) == STATUS_OK
               ? postgres_session_settle(session, err)
               : STATUS_FAIL;
}

Status postgres_session_make_schema(PgSession *session, Str schema, Error *err)
{
    const char *parameters[] = {str_to_cstr(&session->scratch, schema)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    // Looked for first: CREATE SCHEMA IF NOT EXISTS wants the right to create also when it exists.
    if (postgres_session_query(session, "SELECT 1 FROM pg_namespace WHERE nspname = $1", 1,
                               parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQntuples(result) > 0) {
        return STATUS_OK;
    }
    // Another session may make it meanwhile: then this waits for its commit, and fails all the
    // same.
    Error refusal = {0};
    CLEANUP(buf_done) Buf sql;
    buf_init(&sql, ERROR_MESSAGE_MAX);
    buf_cstr(&sql, "SAVEPOINT weir_schema; CREATE SCHEMA IF NOT EXISTS ");
    sql_identifier(&sql, schema);
    buf_cstr(&sql, "; RELEASE weir_schema");
    if (postgres_session_run(session, buf_cstring(&sql), &refusal) == STATUS_OK) {
        return STATUS_OK;
    }
    bool is_made = strcmp(refusal.sqlstate, "23505") == 0 || strcmp(refusal.sqlstate, "42P06") == 0;
    if (is_made) {
        return postgres_session_run(session, "ROLLBACK TO weir_schema; RELEASE weir_schema", err);
    }
    *err = refusal;
    return STATUS_FAIL;
}

void postgres_array_add(Buf *array, Str value, bool is_null)
{
    buf_char(array, array->len == 0 ? '{' : ',');
    if (is_null) {
        buf_cstr(array, "NULL");
        return;
    }
    buf_char(array, '"');
    const char *end = value.ptr + value.len;
    const char *start = value.ptr;
    for (const char *at = start; at < end; at++) {
        if (*at == '"' || *at == '\\') {
            buf_bytes(array, start, (size_t)(at - start));
            buf_char(array, '\\');
            start = at;
        }
    }
    buf_bytes(array, start, (size_t)(end - start));
    buf_char(array, '"');
}

// ---------------------------------------------------------------------------------------------
// Opening
// ---------------------------------------------------------------------------------------------

// - A commit that a crash of the target takes back would be lost: the source has let go of it. Set
//   also where it is right, or else it follows what the configuration says later.
// - The server should notice soon that we are gone, for the transaction and the lock that it holds.
// - Statements are many and small: compiling them never pays. Sets are looked up by the key's index
//   however large the table is; at the default costs each of them would read all of it.
static const char settings[] =
    "SELECT set_config('synchronous_commit', coalesce(nullif("
    "current_setting('synchronous_commit'), 'off'), 'local'), false);"
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;"
    "SET jit = off; SET random_page_cost = 0.1";

Status postgres_session_open(PgSession *session, Error *err)
{
    PgWait wait = postgres_session_wait(session);
    CLEANUP(buf_done) Buf name;
    buf_init(&name, LIMIT_NAME_BYTES);
    buf_printf(&name, "weir/%s", session->pipeline);
    const PgConnect connect = {.url = session->url, .application_name = buf_cstring(&name)};
    if (pg_connect(&connect, &wait, &session->conn, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (session->silence_ms > 0 && pg_probe_init(&session->probe, session->conn, session->url,
                                                 session->silence_ms, &wait, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    session->probe.at_work = session->at_work;
    session->probe.context = session->at_work_context;
    return postgres_session_run(session, settings, err);
}

void postgres_session_close(PgSession *session)
{
    pg_close(&session->conn);
    postgres_statements_done(&session->statements);
    arena_done(&session->scratch);
    session->probe = (PgProbe){0};
    session->in_transaction = false;
    session->is_trying = false;
    session->has_position = false;
    session->subject = (SqlTable){0};
}
