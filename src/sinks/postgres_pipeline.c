// Statements that are sent without waiting for each other: from BEGIN to COMMIT a small transaction
// is one round trip, or two where rows are counted, and its statements are parsed once. See
// "Pipeline Mode" of libpq in Postgres's manual.
#include <assert.h>

#include "base/crash_point.h"
#include "base/mem.h"
#include "pipeline/advice.h"
#include "sinks/postgres_sink.h"

enum {
    SENT_MAX = 256,
    SENT_BYTES_MAX = 1 << 20,
    PREPARED_MAX = 1000,
    PREPARED_BYTES_MAX = 1 << 20,
};

void postgres_pipeline_done(PgPipeline *pipeline)
{
    mem_free(pipeline->sent);
    map_done(&pipeline->prepared);
    arena_done(&pipeline->names);
    arena_done(&pipeline->arena);
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

static Status sent_or_not(PostgresSink *sink, int code, PgSent sent, Error *err)
{
    if (code != 1) {
        return pg_result_error(sink->conn, NULL, "send a statement", err);
    }
    note_sent(&sink->pipeline, sent);
    return STATUS_OK;
}

static Status send_unprepared(PostgresSink *sink, const PgStatement *statement, PgSent sent,
                              Error *err)
{
    int code = PQsendQueryParams(sink->conn, statement->sql, statement->count, NULL,
                                 statement->parameters, NULL, NULL, 0);
    return sent_or_not(sink, code, sent, err);
}

// Which of them are there is not known when one may have been skipped behind a failure.
static Status forget_prepared(PostgresSink *sink, PgSent sent, Error *err)
{
    PgPipeline *pipeline = &sink->pipeline;
    bool is_full =
        pipeline->prepared.count >= PREPARED_MAX || pipeline->names.total >= PREPARED_BYTES_MAX;
    if (!pipeline->is_uncertain && !is_full) {
        return STATUS_OK;
    }
    map_reset(&pipeline->prepared);
    arena_reset(&pipeline->names);
    pipeline->is_uncertain = false;
    return send_unprepared(sink, &(PgStatement){.sql = "DEALLOCATE ALL"}, sent, err);
}

// A name is never used twice: the server may still have it.
static Status prepare(PostgresSink *sink, const char *sql, PgSent sent, PgPrepared **ret,
                      Error *err)
{
    PgPipeline *pipeline = &sink->pipeline;
    if (forget_prepared(sink, sent, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    PgPrepared *made = arena_alloc(&pipeline->names, sizeof(*made));
    *made = (PgPrepared){
        .name = arena_printf(&pipeline->names, "weir_%u", ++pipeline->name_count),
        .transaction = pipeline->transaction,
    };
    (void)map_put(&pipeline->prepared, str_copy(&pipeline->names, str_from(sql)), made);
    *ret = made;
    return sent_or_not(sink, PQsendPrepare(sink->conn, made->name, sql, 0, NULL), sent, err);
}

static Status send_prepared(PostgresSink *sink, const PgStatement *statement, PgSent sent,
                            Error *err)
{
    PgPipeline *pipeline = &sink->pipeline;
    PgPrepared *found = map_get(&pipeline->prepared, str_from(statement->sql));
    PgSent preparing = sent;
    preparing.outcome = PG_ANY_OUTCOME;
    bool is_there = found != NULL && !pipeline->is_uncertain;
    if (!is_there && prepare(sink, statement->sql, preparing, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sent.is_old = found->transaction != pipeline->transaction;
    int code = PQsendQueryPrepared(sink->conn, found->name, statement->count, statement->parameters,
                                   NULL, NULL, 0);
    return sent_or_not(sink, code, sent, err);
}

static size_t parameter_bytes(const PgStatement *statement)
{
    size_t bytes = 0;
    for (int i = 0; i < statement->count; i++) {
        bytes += statement->parameters[i] == NULL ? 0 : strlen(statement->parameters[i]);
    }
    return bytes;
}

Status postgres_send(PostgresSink *sink, const PgStatement *statement, Error *err)
{
    PgPipeline *pipeline = &sink->pipeline;
    size_t bytes = parameter_bytes(statement);
    bool is_full = pipeline->count >= SENT_MAX || pipeline->bytes + bytes > SENT_BYTES_MAX;
    if ((is_full ? postgres_settle(sink, err) : postgres_copy_end(sink, err)) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQpipelineStatus(sink->conn) == PQ_PIPELINE_OFF && PQenterPipelineMode(sink->conn) != 1) {
        return pg_result_error(sink->conn, NULL, "send a statement", err);
    }
    pipeline->bytes += bytes;
    pipeline->must_be_checked =
        pipeline->must_be_checked || statement->outcome == PG_ONE_ROW_OUTCOME;
    pipeline->has_changes = pipeline->has_changes || statement->what.ptr != NULL;
    PgSent sent = {.outcome = statement->outcome, .subject = sink->subject};
    if (statement->what.ptr != NULL) {
        sent.what = str_copy(&pipeline->arena, statement->what);
    }
    // Who looks for the change that is refused takes no chance: the parameters of what was prepared
    // have the types that the columns had then.
    return sink->is_trying ? send_unprepared(sink, statement, sent, err)
                           : send_prepared(sink, statement, sent, err);
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

static Status refused(PostgresSink *sink, const PgSent *sent, const PGresult *result, Error *err)
{
    (void)pg_result_error(sink->conn, result, "the server refused a statement", err);
    sink->subject = sent->subject;
    if (is_outdated(sent, err)) {
        err->kind = ERROR_TRANSIENT;
    }
    (void)postgres_explain(sink, err);
    bool is_change = sent->outcome != PG_COMMIT_OUTCOME && err->hint[0] == '\0';
    if (is_change && strcmp(err->sqlstate, "23505") == 0) {
        error_hint(err, "Where the source's constraint is deferrable, the target's has to be "
                        "DEFERRABLE INITIALLY DEFERRED.");
    }
    return STATUS_FAIL;
}

static Status must_be_one(const char *rows, Error *err)
{
    if (strcmp(rows, "1") == 0) {
        return STATUS_OK;
    }
    error_set(err, ERROR_DATA,
              strcmp(rows, "0") == 0 ? "the target's row is missing"
                                     : "the target has more than one such row");
    return error_hint(err, "The target's rows are not the source's: somebody else has written to "
                           "the table, or a trigger has. weir verify --repair --on-error "
                           "dead-letter mends it (see verify.md), or copy it anew. " START_ANEW);
}

static Status judge(PostgresSink *sink, const PgSent *sent, PGresult *result, Error *err)
{
    ExecStatusType state = PQresultStatus(result);
    if (state != PGRES_COMMAND_OK && state != PGRES_TUPLES_OK) {
        return refused(sink, sent, result, err);
    }
    switch (sent->outcome) {
    case PG_ONE_ROW_OUTCOME:
        return must_be_one(PQcmdTuples(result), err);
    case PG_COMMIT_OUTCOME:
        // COMMIT of a transaction that has failed succeeds, as a ROLLBACK.
        return strcmp(PQcmdStatus(result), "COMMIT") == 0
                   ? STATUS_OK
                   : error_set(err, ERROR_FATAL, "the target answered COMMIT with %s",
                               PQcmdStatus(result));
    case PG_ANY_OUTCOME:
        break;
    }
    return STATUS_OK;
}

// The results of one statement: one, and the NULL behind it. The first failure is the one that
// counts: those behind it say that they were skipped.
static Status take_result(PostgresSink *sink, const PgSent *sent, Status before, Error *ret_failure,
                          Error *err)
{
    PgWait wait = postgres_sink_wait(sink);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    CLEANUP(pg_result_clear) PGresult *end = NULL;
    if (pg_next_result(sink->conn, &wait, &result, err) != STATUS_OK ||
        pg_next_result(sink->conn, &wait, &end, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (result == NULL || end != NULL) {
        return pg_result_error(sink->conn, NULL, "the server's answers are out of step", err);
    }
    if (before == STATUS_OK && judge(sink, sent, result, ret_failure) != STATUS_OK) {
        if (sent->what.ptr != NULL) {
            (void)error_wrap(ret_failure, "%" STR_FMT, STR_ARG(sent->what));
        }
        return STATUS_AGAIN;
    }
    return STATUS_OK;
}

static Status take_results(PostgresSink *sink, Error *ret_failure, Error *err)
{
    PgPipeline *pipeline = &sink->pipeline;
    PgWait wait = postgres_sink_wait(sink);
    CLEANUP(pg_result_clear) PGresult *sync = NULL;
    Status status = STATUS_OK;
    for (size_t i = 0; i < pipeline->count; i++) {
        Status taken = take_result(sink, &pipeline->sent[i], status, ret_failure, err);
        if (taken == STATUS_FAIL) {
            return STATUS_FAIL;
        }
        status = taken == STATUS_OK ? status : STATUS_AGAIN;
    }
    if (pg_next_result(sink->conn, &wait, &sync, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQresultStatus(sync) != PGRES_PIPELINE_SYNC || PQexitPipelineMode(sink->conn) != 1) {
        return pg_result_error(sink->conn, NULL, "the server's answers are out of step", err);
    }
    return status;
}

static Status synchronise(PostgresSink *sink, Error *err)
{
    const PgPipeline *pipeline = &sink->pipeline;
    if (PQpipelineSync(sink->conn) != 1 || PQflush(sink->conn) < 0) {
        return pg_result_error(sink->conn, NULL, "send statements", err);
    }
    if (pipeline->sent[pipeline->count - 1].outcome == PG_COMMIT_OUTCOME) {
        CRASH_POINT("postgres-commit-is-sent");
    }
    return STATUS_OK;
}

Status postgres_settle(PostgresSink *sink, Error *err)
{
    PgPipeline *pipeline = &sink->pipeline;
    if (pipeline->count == 0) {
        return postgres_copy_end(sink, err);
    }
    SqlTable subject = sink->subject;
    Error failure = {0};
    Status status = synchronise(sink, err);
    if (status == STATUS_OK) {
        status = take_results(sink, &failure, err);
    }
    pipeline->count = 0;
    pipeline->bytes = 0;
    pipeline->must_be_checked = false;
    pipeline->has_changes = false;
    arena_reset(&pipeline->arena);
    if (status == STATUS_OK) {
        sink->subject = subject;
        return STATUS_OK;
    }
    pipeline->is_uncertain = true;
    // Also when what came behind it could not be read any more.
    if (failure.message[0] != '\0' && err != NULL) {
        *err = failure;
    }
    return STATUS_FAIL;
}

Status postgres_settle_changes(PostgresSink *sink, Error *err)
{
    return sink->pipeline.has_changes ? postgres_settle(sink, err) : STATUS_OK;
}

void postgres_drop_results(PostgresSink *sink)
{
    Error ignored = {0};
    Status status = sink->pipeline.count > 0 ? postgres_settle(sink, &ignored) : STATUS_OK;
    (void)status; // the savepoint, or the connection, is given up
}

void postgres_forget_prepared(PostgresSink *sink)
{
    sink->pipeline.is_uncertain = true;
}
