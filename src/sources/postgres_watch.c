// A look at the server from beside the stream, every few seconds: where its WAL ends, what its
// walsender has sent, what time it is there, what the slot holds. And a heartbeat. A connection and
// a thread of its own, so that it goes on while the stream is held up, and never holds it up.
//
// Nothing depends on it. When it fails again and again it is said once, and tried on.

#include "base/clock.h"
#include "sources/postgres.h"

enum { FIRST_MS = 300, LOOK_MS = 2000, FAILURES_TO_SAY = 3 };

static const char look_query[] =
    "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
    "            ELSE pg_current_wal_flush_lsn() END,"
    "       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,"
    "       sender.sent_lsn, slot.restart_lsn, slot.safe_wal_size, slot.wal_status"
    "  FROM (SELECT) AS here"
    "  LEFT JOIN pg_replication_slots slot ON slot.slot_name = $1"
    "  LEFT JOIN pg_stat_replication sender ON sender.pid = slot.active_pid";

static bool read_lsn(const PGresult *result, int column, Lsn *ret)
{
    *ret = LSN_NONE;
    return PQgetisnull(result, 0, column) == 1 ||
           lsn_parse(str_from(pg_value(result, 0, column)), ret);
}

// It may be negative where the limit is passed already.
static bool read_safe(const PGresult *result, int column, int64_t *ret)
{
    *ret = -1;
    bool is_limited = PQgetisnull(result, 0, column) == 0;
    if (is_limited && !str_to_int64(str_from(pg_value(result, 0, column)), ret)) {
        return false;
    }
    *ret = is_limited ? MAX(*ret, (int64_t)0) : -1;
    return true;
}

static Status read_sight(const PGresult *result, SourceSight *ret, Error *err)
{
    if (PQntuples(result) != 1 || !read_lsn(result, 0, &ret->head) || ret->head == LSN_NONE ||
        !str_to_int64(str_from(pg_value(result, 0, 1)), &ret->clock_us) ||
        !read_lsn(result, 2, &ret->sent) || !read_lsn(result, 3, &ret->retained_from) ||
        !read_safe(result, 4, &ret->safe_bytes)) {
        return error_set(err, ERROR_DATA, "the server described its WAL badly");
    }
    Str wal_status = str_from(pg_value(result, 0, 5));
    ret->has_slot = wal_status.len > 0;
    ret->is_unreserved = str_is(wal_status, "unreserved");
    ret->is_lost = str_is(wal_status, "lost");
    ret->head = postgres_before_page_header(ret->head);
    return STATUS_OK;
}

static Status look(PostgresWatch *watch, Error *err)
{
    Postgres *postgres = watch->postgres;
    Arena scratch = {0};
    const char *parameters[] = {str_to_cstr(&scratch, postgres->slot_name)};
    PgWait wait = {.cancel = &watch->cancel};
    SourceSight sight = {0};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    Status status = pg_query(watch->conn, &wait, look_query, 1, parameters, &result, err);
    arena_done(&scratch);
    if (status != STATUS_OK || read_sight(result, &sight, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sight.seen_us = clock_monotonic_us(); // not before: no age may come out too high
    sight.arrived = atomic_load(&postgres->arrived);
    atomic_store(&watch->head, sight.head);
    const SourceWatch *told = &postgres->base.context.watch;
    told->tell(told->context, &sight);
    return STATUS_OK;
}

// Not in a transaction, so it comes at once and belongs to none. The empty transaction behind it is
// what the WAL writer writes out at once, with all before it; nobody has to wait for that.
static Status beat(PostgresWatch *watch, int64_t now_ms, Error *err)
{
    int64_t every_ms = watch->postgres->heartbeat_ms;
    if (every_ms == 0 || (watch->beat_ms != 0 && now_ms - watch->beat_ms < every_ms)) {
        return STATUS_OK;
    }
    PgWait wait = {.cancel = &watch->cancel};
    if (pg_run(watch->conn, &wait,
               "SET synchronous_commit = off;"
               "SELECT pg_logical_emit_message(false, 'weir', 'heartbeat'), pg_current_xact_id()",
               err) != STATUS_OK) {
        return error_wrap(err, "heartbeat");
    }
    watch->beat_ms = now_ms;
    return STATUS_OK;
}

static void rest(PostgresWatch *watch, int64_t ms)
{
    cancel_wait(&watch->cancel, (int)ms);
}

static int64_t pause_ms(const PostgresWatch *watch)
{
    int64_t every_ms = watch->postgres->heartbeat_ms;
    return every_ms == 0 ? LOOK_MS : MIN(every_ms, (int64_t)LOOK_MS);
}

static Status connect_once(PostgresWatch *watch, Error *err)
{
    if (watch->conn != NULL) {
        return STATUS_OK;
    }
    Arena scratch = {0};
    PgConnect options = {
        .url = watch->postgres->url,
        .application_name =
            arena_printf(&scratch, "weir/%s", watch->postgres->base.context.pipeline),
    };
    PgWait wait = {.cancel = &watch->cancel};
    Status status = pg_connect(&options, &wait, &watch->conn, err);
    arena_done(&scratch);
    return status;
}

// A server that is gone for all is said by the stream, and this look ends with it.
static void say_once(PostgresWatch *watch, const Error *err)
{
    watch->failures++;
    if (watch->failures == FAILURES_TO_SAY && !cancel_is_set(&watch->cancel)) {
        notice_tell(&watch->postgres->base.context.notice,
                    "how far the server is cannot be looked at for now: %s", err->message);
    }
}

static void *watch_main(void *argument)
{
    PostgresWatch *watch = argument;
    rest(watch, FIRST_MS); // a run that is over by then has no use for it
    while (!cancel_is_set(&watch->cancel)) {
        Error err = {0};
        if (connect_once(watch, &err) == STATUS_OK && look(watch, &err) == STATUS_OK &&
            beat(watch, clock_monotonic_ms(), &err) == STATUS_OK) {
            watch->failures = 0;
        } else {
            pg_close(&watch->conn);
            say_once(watch, &err);
        }
        rest(watch, pause_ms(watch));
    }
    pg_close(&watch->conn);
    return NULL;
}

Status postgres_watch_start(Postgres *postgres, Error *err)
{
    PostgresWatch *watch = &postgres->watch;
    if (postgres->base.context.watch.tell == NULL) {
        return STATUS_OK;
    }
    watch->postgres = postgres;
    if (cancel_init(&watch->cancel, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int code = pthread_create(&watch->thread, NULL, watch_main, watch);
    if (code != 0) {
        cancel_done(&watch->cancel);
        return error_set_errno(err, ERROR_TRANSIENT, code, "start a thread");
    }
    watch->is_running = true;
    return STATUS_OK;
}

void postgres_watch_stop(Postgres *postgres)
{
    PostgresWatch *watch = &postgres->watch;
    if (!watch->is_running) {
        return;
    }
    cancel_set(&watch->cancel);
    (void)pthread_join(watch->thread, NULL);
    cancel_done(&watch->cancel);
    watch->is_running = false;
}
