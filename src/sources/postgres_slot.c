// The replication slot: made when missing, checked when there.
#include "base/crash_point.h"
#include "pipeline/advice.h"
#include "sources/postgres.h"

static Status slot_is_gone(const Postgres *postgres, Position stored, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "replication slot \"%" STR_FMT "\" does not exist any more: changes since " LSN_FMT
              " may be lost",
              STR_ARG(postgres->slot_name), LSN_ARG(stored.lsn));
    return error_hint(err, "Nothing was skipped. %s", advice()->start_anew);
}

static Status slot_was_remade(const Postgres *postgres, Position stored, Lsn confirmed, Error *err)
{
    error_set(
        err, ERROR_CONFIG,
        "replication slot \"%" STR_FMT "\" stands at " LSN_FMT
        ", but the target has only what was committed before " LSN_FMT
        ": it was dropped and made again, somebody else has read from it, or the target has lost "
        "commits (restored, failed over)",
        STR_ARG(postgres->slot_name), LSN_ARG(confirmed), LSN_ARG(stored.lsn));
    return error_hint(err, "Nothing was skipped. %s", advice()->start_anew);
}

// pg_replication_slots.invalidation_reason; before 17 it is not told, and there is one.
static const char *why_lost(Str reason)
{
    if (str_is(reason, "idle_timeout")) {
        return "nobody has read from it for too long (idle_replication_slot_timeout)";
    }
    if (str_is(reason, "wal_level_insufficient")) {
        return "the server's wal_level was not logical for a while";
    }
    if (str_is(reason, "rows_removed")) {
        return "the server has removed rows of its catalogs that it needs";
    }
    return "the server has removed WAL that it needs (max_slot_wal_keep_size)";
}

static Status check_slot_state(const Postgres *postgres, const PGresult *result, Error *err)
{
    const char *plugin = pg_value(result, 0, 0);
    Str database = str_from(pg_value(result, 0, 1));
    if (strcmp(plugin, "pgoutput") != 0) {
        error_set(
            err, ERROR_CONFIG, "replication slot \"%" STR_FMT "\" is for %s, not for pgoutput",
            STR_ARG(postgres->slot_name), plugin[0] == '\0' ? "physical replication" : plugin);
        return error_hint(err, "Name another slot with --slot; it is made when it is missing.");
    }
    if (!str_equal(database, postgres->database)) {
        error_set(err, ERROR_CONFIG,
                  "replication slot \"%" STR_FMT "\" belongs to database \"%" STR_FMT "\"",
                  STR_ARG(postgres->slot_name), STR_ARG(database));
        return error_hint(err, "Name another slot with --slot; it is made when it is missing.");
    }
    if (pg_value(result, 0, 2)[0] == 't') {
        error_set(err, ERROR_TRANSIENT, "replication slot \"%" STR_FMT "\" is in use by process %s",
                  STR_ARG(postgres->slot_name), pg_value(result, 0, 3));
        return error_hint(err, "Another weir may be reading it, or the server has not yet noticed "
                               "that an earlier connection is gone.");
    }
    if (strcmp(pg_value(result, 0, 4), "lost") == 0) {
        error_set(err, ERROR_CONFIG, "replication slot \"%" STR_FMT "\" is lost: %s",
                  STR_ARG(postgres->slot_name), why_lost(str_from(pg_value(result, 0, 6))));
        return error_hint(err, "Drop it: weir slots drop SOURCE %" STR_FMT ". %s",
                          STR_ARG(postgres->slot_name), advice()->start_anew);
    }
    return STATUS_OK;
}

static Status use_slot(const Postgres *postgres, const PGresult *result, const Position *stored,
                       Position *ret_start, Error *err)
{
    Lsn confirmed;
    if (check_slot_state(postgres, result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!lsn_parse(str_from(pg_value(result, 0, 5)), &confirmed)) {
        return error_set(err, ERROR_TRANSIENT, "replication slot \"%" STR_FMT "\" is not ready yet",
                         STR_ARG(postgres->slot_name));
    }
    if (stored != NULL && confirmed > stored->lsn) {
        return slot_was_remade(postgres, *stored, confirmed, err);
    }
    *ret_start = stored == NULL ? (Position){confirmed, 0} : *stored;
    return STATUS_OK;
}

static Status slot_refused(const Postgres *postgres, Error *err)
{
    if (err != NULL && strcmp(err->sqlstate, "53400") == 0) {
        err->kind = ERROR_CONFIG;
        error_hint(err,
                   "Raise max_replication_slots (weir check says to what) and restart the server, "
                   "or free one: weir slots list shows them, weir slots drop takes one away.");
    } else if (err != NULL && strstr(err->message, "wal_level") != NULL) {
        err->kind = ERROR_CONFIG;
        error_hint(err, "ALTER SYSTEM SET wal_level = logical; and restart the server.");
    } else if (err != NULL && strcmp(err->sqlstate, "42501") == 0) {
        error_hint(err, "ALTER ROLE \"%s\" REPLICATION;", PQuser(postgres->sql));
    }
    return error_wrap(err, "create replication slot \"%" STR_FMT "\"",
                      STR_ARG(postgres->slot_name));
}

static Status create_slot(Postgres *postgres, Position *ret_start, Error *err)
{
    char sql[256];
    // Standbys may keep it in step (sync_replication_slots), so that it outlives a failover.
    (void)snprintf(sql, sizeof(sql), "CREATE_REPLICATION_SLOT \"%" STR_FMT "\" LOGICAL pgoutput %s",
                   STR_ARG(postgres->slot_name),
                   postgres->server_version >= 170000 ? "(SNAPSHOT 'export', FAILOVER true)"
                                                      : "EXPORT_SNAPSHOT");
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    CRASH_POINT("slot-begins");
    if (postgres_make_slot(postgres, postgres->walsender, sql, &result, err) != STATUS_OK) {
        return slot_refused(postgres, err);
    }
    CRASH_POINT("slot-created");
    Lsn at;
    if (PQntuples(result) != 1 || PQnfields(result) < 3 ||
        !lsn_parse(str_from(pg_value(result, 0, 1)), &at)) {
        return error_set(err, ERROR_DATA, "the server gave no consistent point for the slot");
    }
    postgres->fresh_snapshot = str_copy(&postgres->arena, str_from(pg_value(result, 0, 2)));
    postgres->fresh_snapshot_lsn = at;
    *ret_start = (Position){at, 0};
    return STATUS_OK;
}

// The slot's row, or no row.
static Status read_slot(Postgres *postgres, PGresult **ret, Error *err)
{
    Arena scratch = {0};
    const char *parameters[] = {str_to_cstr(&scratch, postgres->slot_name)};
    const char *reason = postgres->server_version < 170000 ? "''" : "invalidation_reason";
    const char *sql =
        arena_printf(&scratch,
                     "SELECT coalesce(plugin, ''), database, active, active_pid, wal_status,"
                     "       confirmed_flush_lsn, %s"
                     "  FROM pg_replication_slots WHERE slot_name = $1",
                     reason);
    PgWait wait = postgres_wait(postgres);
    Status status = pg_query(postgres->sql, &wait, sql, 1, parameters, ret, err);
    arena_done(&scratch);
    return status;
}

Status postgres_find_slot(Postgres *postgres, const Position *stored, bool *ret_exists,
                          Position *ret_start, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (read_slot(postgres, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret_exists = PQntuples(result) > 0;
    if (*ret_exists) {
        return use_slot(postgres, result, stored, ret_start, err);
    }
    return stored == NULL ? STATUS_OK : slot_is_gone(postgres, *stored, err);
}

Status postgres_slot(Postgres *postgres, const Position *stored, Position *ret_start, Error *err)
{
    bool exists;
    if (postgres_find_slot(postgres, stored, &exists, ret_start, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return exists ? STATUS_OK : create_slot(postgres, ret_start, err);
}
