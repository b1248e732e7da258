// Making a slot, and who keeps it waiting: every transaction that has written and is still open
// when it begins, for as long as that takes. A session that was forgotten may take days.
#include "sources/postgres.h"

enum { SAY_MS = 5000, TOLD_MAX = 1024 };

typedef struct SlotWait {
    Postgres *postgres;
    PGconn *conn; // a session of its own: the others are waiting, or of another thread; or NULL
    char pid[16]; // of the session that makes it
    char told[TOLD_MAX];
} SlotWait;

// 0 stands for a prepared transaction, which has no session. Who blocks is asked once: it stops all
// who take locks for that long.
static const char holders_query[] =
    "WITH blocking AS MATERIALIZED (SELECT pg_blocking_pids($1::int) AS pids)"
    "SELECT format('process %s (user \"%s\", application \"%s\", %s, since %s)', pid, usename,"
    "              application_name, coalesce(state, 'state not visible'),"
    "              coalesce(date_trunc('second', xact_start)::text, 'a time not visible'))"
    "  FROM blocking JOIN pg_stat_activity ON pid = ANY (pids)"
    " UNION ALL SELECT format('prepared transaction %L (user \"%s\", since %s)', gid, owner,"
    "                         date_trunc('second', prepared))"
    "  FROM blocking JOIN pg_prepared_xacts ON 0 = ANY (pids) LIMIT 5";

static void tell_holders(SlotWait *waiting, const PGresult *result)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, TOLD_MAX * 8);
    for (int i = 0; i < PQntuples(result); i++) {
        buf_printf(&text, "%s%s", i == 0 ? "" : ", ", pg_value(result, i, 0));
    }
    char now[TOLD_MAX];
    (void)snprintf(now, sizeof(now), "%s", buf_cstring(&text));
    if (text.len == 0 || strcmp(now, waiting->told) == 0) {
        return;
    }
    memcpy(waiting->told, now, sizeof(now));
    notice_tell(&waiting->postgres->base.context.notice,
                "a snapshot of the source waits for transactions that are open there: %s", now);
}

// What it cannot find out is not told.
static void look_for_holders(void *context)
{
    SlotWait *waiting = context;
    Error ignored = {0};
    PgWait wait = {.cancel = waiting->postgres->base.context.cancel, .patience_ms = SAY_MS};
    const char *parameters[] = {waiting->pid};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    bool is_connected =
        waiting->conn != NULL ||
        postgres_connect(waiting->postgres, false, &waiting->conn, &ignored) == STATUS_OK;
    if (is_connected && pg_query(waiting->conn, &wait, holders_query, 1, parameters, &result,
                                 &ignored) == STATUS_OK) {
        tell_holders(waiting, result);
    } else {
        pg_close(&waiting->conn);
    }
}

Status postgres_make_slot(Postgres *postgres, PGconn *walsender, const char *sql, PGresult **ret,
                          Error *err)
{
    SlotWait waiting = {.postgres = postgres};
    (void)snprintf(waiting.pid, sizeof(waiting.pid), "%d", PQbackendPID(walsender));
    PgWait wait = {.cancel = postgres->base.context.cancel,
                   .tick = look_for_holders,
                   .tick_context = &waiting,
                   .tick_ms = SAY_MS};
    Status status = pg_run_result(walsender, &wait, sql, ret, err);
    pg_close(&waiting.conn);
    return status;
}
