#include "pg/slots.h"

static const char list_query[] =
    "SELECT slot_name, coalesce(plugin, ''), coalesce(database, ''), active,"
    "       coalesce(confirmed_flush_lsn, '0/0'),"
    "       coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
    "                                ELSE pg_current_wal_lsn() END, restart_lsn), 0)::bigint,"
    "       coalesce(wal_status, '')"
    "  FROM pg_replication_slots ORDER BY slot_name";

static Str field(const PGresult *result, int row, int column, Arena *arena)
{
    return str_copy(arena, str_from(pg_value(result, row, column)));
}

Status slots_list(PGconn *conn, const PgWait *wait, Arena *arena, SlotInfos *ret, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(conn, wait, list_query, 0, NULL, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    size_t count = (size_t)PQntuples(result);
    *ret = (SlotInfos){.items = ARENA_ARRAY(arena, SlotInfo, count), .count = count};
    for (int i = 0; i < (int)count; i++) {
        SlotInfo *slot = &ret->items[i];
        *slot = (SlotInfo){
            .name = field(result, i, 0, arena),
            .plugin = field(result, i, 1, arena),
            .database = field(result, i, 2, arena),
            .is_active = pg_value(result, i, 3)[0] == 't',
            .wal_status = field(result, i, 6, arena),
        };
        if (!lsn_parse(str_from(pg_value(result, i, 4)), &slot->confirmed) ||
            !str_to_int64(str_from(pg_value(result, i, 5)), &slot->retained_bytes)) {
            return error_set(err, ERROR_DATA, "the server described slot \"%" STR_FMT "\" badly",
                             STR_ARG(slot->name));
        }
    }
    return STATUS_OK;
}

// A standby or another program may need it, however idle it looks. (That of a subscription cannot
// be told from ours.)
static Status refuse_others(PGconn *conn, const PgWait *wait, const char *name, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(conn, wait,
                 "SELECT coalesce(plugin, '') FROM pg_replication_slots WHERE slot_name = $1", 1,
                 &name, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const char *plugin = PQntuples(result) == 0 ? "pgoutput" : pg_value(result, 0, 0);
    if (strcmp(plugin, "pgoutput") == 0) {
        return STATUS_OK;
    }
    if (plugin[0] == '\0') {
        error_set(err, ERROR_CONFIG, "slot \"%s\" is not Weir's: it is a physical one", name);
    } else {
        error_set(err, ERROR_CONFIG, "slot \"%s\" is not Weir's: its plugin is \"%s\"", name,
                  plugin);
    }
    return error_hint(err, "If nobody needs it: SELECT pg_drop_replication_slot('%s');", name);
}

static Status drop(PGconn *conn, const PgWait *wait, const char *name, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (refuse_others(conn, wait, name, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return pg_query(conn, wait, "SELECT pg_drop_replication_slot($1)", 1, &name, &result, err);
}

Status slots_drop(PGconn *conn, const PgWait *wait, Str name, Error *err)
{
    Arena scratch = {0};
    Status status = drop(conn, wait, str_to_cstr(&scratch, name), err);
    arena_done(&scratch);
    if (status == STATUS_OK) {
        return STATUS_OK;
    }
    if (err != NULL && strcmp(err->sqlstate, "55006") == 0) {
        err->kind = ERROR_CONFIG;
        error_hint(err, "Stop the weir process that reads it first.");
    } else if (err != NULL && strcmp(err->sqlstate, "42704") == 0) {
        error_hint(err, "\"weir slots list\" shows the slots that exist.");
    }
    return STATUS_FAIL;
}
