// Statements that are sent without waiting for each other: from BEGIN to COMMIT a small transaction
// is one round trip, or two where rows are counted, and its statements are parsed once. See
// "Pipeline Mode" of libpq in Postgres's manual.
#include <assert.h>

#include "base/crash_point.h"
#include "base/limits.h"
#include "base/mem.h"
#include "sinks/postgres_session.h"

enum {
    SENT_MAX = 256,
    SENT_BYTES_MAX = 4 << 20,
    PREPARED_MAX = 1000,
    PREPARED_BYTES_MAX = 1 << 20,
};

void postgres_statements_done(PgPipeline *pipeline)
{
    mem_free(pipeline->sent);
    map_done(&pipeline->prepared);
    arena_done(&pipeline->names);
    arena_done(&pipeline->arena);
    *pipeline = (PgPipeline){0};
}

Status postgres_session_settle_more(PgSession *session, Error *err)
{
    return session->settle_more == NULL ? STATUS_OK : session->settle_more(session->owner, err);
}

// ---------------------------------------------------------------------------------------------
// Sending
// ---------------------------------------------------------------------------------------------

static void note_sent(PgPipeline *pipeline, PgSent sent)
{
    if (pipeline->sent == NULL) {
        // The last statement may have to be prepared, and others forgotten for it.
        pipeline->sent = mem_alloc_zero(sizeof(PgSent) * (SENT_MAX + 2));
    }
    assert(pipeline->count < SENT_MAX + 2);
    pipeline->sent[pipeline->count++] = sent;
}

static Status sent_or_not(PgSession *session, int code, PgSent sent, Error *err)
{
    if (code != 1) {
        return pg_result_error(session->conn, NULL, "send a statement", err);
    }
    note_sent(&session->statements, sent);
    return STATUS_OK;
}

// NULL: all text.
static const int *formats_of(const PgStatement *statement, int formats[LIMIT_COLUMNS])
{
    if (statement->lengths == NULL) {
        return NULL;
    }
    assert(statement->count <= LIMIT_COLUMNS);
    for (int i = 0; i < statement->count; i++) {
        formats[i] = 1;
    }
    return formats;
}

static Status send_unprepared(PgSession *session, const PgStatement *statement, PgSent sent,
                              Error *err)
{
    int formats[LIMIT_COLUMNS];
    int code = PQsendQueryParams(session->conn, statement->sql, statement->count, NULL,
                                 statement->parameters, statement->lengths,
                                 formats_of(statement, formats), 0);
    return sent_or_not(session, code, sent, err);
}

// Which of them are there is not known when one may have been skipped behind a failure.
static Status forget_prepared(PgSession *session, PgSent sent, Error *err)
{
    PgPipeline *pipeline = &session->statements;
    bool is_full =
        pipeline->prepared.count >= PREPARED_MAX || pipeline->names.total >= PREPARED_BYTES_MAX;
    if (!pipeline->is_uncertain && !is_full) {
        return STATUS_OK;
    }
    map_reset(&pipeline->prepared);
    arena_reset(&pipeline->names);
    pipeline->is_uncertain = false;
    return send_unprepared(session, &(PgStatement){.sql = "DEALLOCATE ALL"}, sent, err);
}

// A name is never used twice: the server may still have it.
static Status prepare(PgSession *session, const char *sql, PgSent sent, PgPrepared **ret,
                      Error *err)
{
    PgPipeline *pipeline = &session->statements;
    if (forget_prepared(session, sent, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    PgPrepared *made = arena_alloc(&pipeline->names, sizeof(*made));
    *made = (PgPrepared){
        .name = arena_printf(&pipeline->names, "weir_%u", ++pipeline->name_count),
        .transaction = pipeline->transaction,
    };
    (void)map_put(&pipeline->prepared, str_copy(&pipeline->names, str_from(sql)), made);
    *ret = made;
    return sent_or_not(session, PQsendPrepare(session->conn, made->name, sql, 0, NULL), sent, err);
}

static Status send_prepared(PgSession *session, const PgStatement *statement, PgSent sent,
                            Error *err)
{
    PgPipeline *pipeline = &session->statements;
    PgPrepared *found = map_get(&pipeline->prepared, str_from(statement->sql));
    PgSent preparing = sent;
    preparing.judge = NULL;
    preparing.rows = 0;
    preparing.is_commit = false;
    bool is_there = found != NULL && !pipeline->is_uncertain;
    if (!is_there && prepare(session, statement->sql, preparing, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sent.is_old = found->transaction != pipeline->transaction;
    int formats[LIMIT_COLUMNS];
    int code =
        PQsendQueryPrepared(session->conn, found->name, statement->count, statement->parameters,
                            statement->lengths, formats_of(statement, formats), 0);
    return sent_or_not(session, code, sent, err);
}

static size_t parameter_bytes(const PgStatement *statement)
{
    size_t bytes = 0;
    for (int i = 0; i < statement->count; i++) {
        const char *parameter = statement->parameters[i];
        if (parameter != NULL) {
            bytes += statement->lengths == NULL ? strlen(parameter) : (size_t)statement->lengths[i];
        }
    }
    return bytes;
}

Status postgres_session_send(PgSession *session, const PgStatement *statement, Error *err)
{
    PgPipeline *pipeline = &session->statements;
    size_t bytes = parameter_bytes(statement);
    bool is_full = pipeline->count >= SENT_MAX || pipeline->bytes + bytes > SENT_BYTES_MAX;
    if ((is_full ? postgres_session_settle(session, err)
                 : postgres_session_settle_more(session, err)) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQpipelineStatus(session->conn) == PQ_PIPELINE_OFF &&
        PQenterPipelineMode(session->conn) != 1) {
        return pg_result_error(session->conn, NULL, "send a statement", err);
    }
    pipeline->bytes += bytes;
    pipeline->must_be_checked =
        pipeline->must_be_checked || statement->judge != NULL || statement->rows > 0;
    pipeline->has_changes = pipeline->has_changes || statement->what.ptr != NULL;
    PgSent sent = {.judge = statement->judge,
                   .rows = statement->rows,
                   .is_commit = statement->is_commit,
                   .subject = session->subject};
    if (statement->what.ptr != NULL) {
        sent.what = str_copy(&pipeline->arena, statement->what);
    }
    return session->is_trying ? send_unprepared(session, statement, sent, err)
                              : send_prepared(session, statement, sent, err);
}

// ---------------------------------------------------------------------------------------------
// Results
// ---------------------------------------------------------------------------------------------

// Somebody has altered the table since, or thrown the session's statements away: a new session sees
// it as it is, and knows what to say. A value may be refused because its parameter still has the
// type that the column had (class 22).
static bool is_outdated(const PgSent *sent, const Error *err)
{
    bool is_about_shape = err->kind == ERROR_CONFIG && strcmp(err->sqlstate, "42501") != 0;
    return sent->is_old && (is_about_shape || strncmp(err->sqlstate, "22", 2) == 0);
}

static Status refused(PgSession *session, const PgSent *sent, const PGresult *result, Error *err)
{
    (void)pg_result_error(session->conn, result, "the server refused a statement", err);
    session->subject = sent->subject;
    if (is_outdated(sent, err)) {
        err->kind = ERROR_TRANSIENT;
    }
    (void)postgres_session_explain(session, err);
    bool is_change = !sent->is_commit && err->hint[0] == '\0';
    if (is_change && strcmp(err->sqlstate, "23505") == 0) {
        error_hint(err, "%s", session->unique_hint);
    }
    return STATUS_FAIL;
}

static Status judge(PgSession *session, const PgSent *sent, PGresult *result, Error *err)
{
    ExecStatusType state = PQresultStatus(result);
    if (state != PGRES_COMMAND_OK && state != PGRES_TUPLES_OK) {
        return refused(session, sent, result, err);
    }
    // COMMIT of a transaction that has failed succeeds, as a ROLLBACK.
    if (sent->is_commit && strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        return error_set(err, ERROR_FATAL, "the target answered COMMIT with %s",
                         PQcmdStatus(result));
    }
    int64_t rows = 0;
    if (sent->rows > 0 &&
        (!str_to_int64(str_from(PQcmdTuples(result)), &rows) || rows != sent->rows)) {
        return error_set(err, ERROR_DATA, "%lld rows were found instead of %lld", (long long)rows,
                         (long long)sent->rows);
    }
    return sent->judge == NULL ? STATUS_OK : sent->judge(result, err);
}

// The results of one statement: one, and the NULL behind it. The first failure is the one that
// counts: those behind it say that they were skipped.
static Status take_result(PgSession *session, const PgSent *sent, Status before, Error *ret_failure,
                          Error *err)
{
    PgWait wait = postgres_session_wait(session);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    CLEANUP(pg_result_clear) PGresult *end = NULL;
    if (pg_next_result(session->conn, &wait, &result, err) != STATUS_OK ||
        pg_next_result(session->conn, &wait, &end, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (result == NULL || end != NULL) {
        return pg_result_error(session->conn, NULL, "the server's answers are out of step", err);
    }
    if (before == STATUS_OK && judge(session, sent, result, ret_failure) != STATUS_OK) {
        if (sent->what.ptr != NULL) {
            (void)error_wrap(ret_failure, "%" STR_FMT, STR_ARG(sent->what));
        }
        return STATUS_AGAIN;
    }
    return STATUS_OK;
}

static Status take_results(PgSession *session, Error *ret_failure, Error *err)
{
    PgPipeline *pipeline = &session->statements;
    PgWait wait = postgres_session_wait(session);
    CLEANUP(pg_result_clear) PGresult *sync = NULL;
    Status status = STATUS_OK;
    for (size_t i = 0; i < pipeline->count; i++) {
        Status taken = take_result(session, &pipeline->sent[i], status, ret_failure, err);
        if (taken == STATUS_FAIL) {
            return STATUS_FAIL;
        }
        status = taken == STATUS_OK ? status : STATUS_AGAIN;
    }
    if (pg_next_result(session->conn, &wait, &sync, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQresultStatus(sync) != PGRES_PIPELINE_SYNC || PQexitPipelineMode(session->conn) != 1) {
        return pg_result_error(session->conn, NULL, "the server's answers are out of step", err);
    }
    return status;
}

static Status synchronise(PgSession *session, Error *err)
{
    const PgPipeline *pipeline = &session->statements;
    if (PQpipelineSync(session->conn) != 1 || PQflush(session->conn) < 0) {
        return pg_result_error(session->conn, NULL, "send statements", err);
    }
    if (pipeline->sent[pipeline->count - 1].is_commit) {
        CRASH_POINT("postgres-commit-is-sent");
    }
    return STATUS_OK;
}

Status postgres_session_settle(PgSession *session, Error *err)
{
    PgPipeline *pipeline = &session->statements;
    if (pipeline->count == 0) {
        return postgres_session_settle_more(session, err);
    }
    SqlTable subject = session->subject;
    Error failure = {0};
    Status status = synchronise(session, err);
    if (status == STATUS_OK) {
        status = take_results(session, &failure, err);
    }
    pipeline->count = 0;
    pipeline->bytes = 0;
    pipeline->must_be_checked = false;
    pipeline->has_changes = false;
    arena_reset(&pipeline->arena);
    if (status == STATUS_OK) {
        session->subject = subject;
        return STATUS_OK;
    }
    pipeline->is_uncertain = true;
    // Also when what came behind it could not be read any more.
    if (failure.message[0] != '\0' && err != NULL) {
        *err = failure;
    }
    return STATUS_FAIL;
}

Status postgres_session_settle_changes(PgSession *session, Error *err)
{
    return session->statements.has_changes ? postgres_session_settle(session, err) : STATUS_OK;
}

void postgres_session_drop_results(PgSession *session)
{
    Error ignored = {0};
    Status status =
        session->statements.count > 0 ? postgres_session_settle(session, &ignored) : STATUS_OK;
    (void)status; // the savepoint, or the connection, is given up
}

void postgres_session_forget_prepared(PgSession *session)
{
    session->statements.is_uncertain = true;
}
