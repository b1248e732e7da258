#include "pg/probe.h"

#include "base/macros.h"

Status pg_probe_init(PgProbe *probe, PGconn *conn, Str url, int64_t after_ms, const PgWait *wait,
                     Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(conn, wait,
                 "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()", 0,
                 NULL, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQntuples(result) != 1) {
        return error_set(err, ERROR_DATA, "the server does not know our session");
    }
    *probe = (PgProbe){.url = url, .after_ms = after_ms};
    (void)snprintf(probe->pid, sizeof(probe->pid), "%s", pg_value(result, 0, 0));
    (void)snprintf(probe->started, sizeof(probe->started), "%s", pg_value(result, 0, 1));
    return STATUS_OK;
}

// The names of wait events are those of "The Cumulative Statistics System" in Postgres's manual.
#define OUR_SESSION " FROM pg_stat_activity WHERE pid = $1::int AND backend_start = $2::timestamptz"
#define IT_WAITS                                                                       \
    "(coalesce(state, '') LIKE 'idle%' OR coalesce(wait_event, '') IN ('ClientRead', " \
    "'ClientWrite'))"

static Status ask(const PgProbe *probe, PGconn *conn, bool ends, const PgWait *wait,
                  bool *ret_is_waiting, Error *err)
{
    const char *parameters[] = {probe->pid, probe->started};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(conn, wait,
                 "SELECT wait_event_type IS DISTINCT FROM 'Lock'" OUR_SESSION " AND NOT " IT_WAITS,
                 2, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret_is_waiting = PQntuples(result) == 0;
    if (probe->at_work != NULL && pg_value(result, 0, 0)[0] == 't') {
        probe->at_work(probe->context);
    }
    if (!*ret_is_waiting || !ends) {
        return STATUS_OK;
    }
    CLEANUP(pg_result_clear) PGresult *ended = NULL;
    return pg_query(conn, wait, "SELECT pg_terminate_backend(pid)" OUR_SESSION " AND " IT_WAITS, 2,
                    parameters, &ended, err);
}

Status pg_probe_ask(const PgProbe *probe, bool ends, Cancel *cancel, bool *ret_is_waiting,
                    Error *err)
{
    const PgConnect options = {.url = probe->url, .application_name = "weir"};
    const PgWait wait = {.cancel = cancel, .patience_ms = probe->after_ms};
    CLEANUP(pg_close) PGconn *conn = NULL;
    Error failure = {0};
    *ret_is_waiting = false;
    if (pg_connect(&options, &wait, &conn, &failure) != STATUS_OK) {
        bool is_silent = strstr(failure.message, "no answer in time") != NULL;
        if (!is_silent && failure.kind != ERROR_CANCELLED) {
            return STATUS_OK;
        }
        *err = failure;
        return STATUS_FAIL;
    }
    return ask(probe, conn, ends, &wait, ret_is_waiting, err);
}
