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
    return str_copy(arena, str_from(PQgetvalue(result, row, column)));
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
            .is_active = PQgetvalue(result, i, 3)[0] == 't',
            .wal_status = field(result, i, 6, arena),
        };
        if (!lsn_parse(str_from(PQgetvalue(result, i, 4)), &slot->confirmed) ||
            !str_to_int64(str_from(PQgetvalue(result, i, 5)), &slot->retained_bytes)) {
            return error_set(err, ERROR_DATA, "the server described slot \"%" STR_FMT "\" badly",
                             STR_ARG(slot->name));
        }
    }
    return STATUS_OK;
}

Status slots_drop(PGconn *conn, const PgWait *wait, Str name, Error *err)
{
    Arena scratch = {0};
    const char *parameters[] = {str_to_cstr(&scratch, name)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    Status status =
        pg_query(conn, wait, "SELECT pg_drop_replication_slot($1)", 1, parameters, &result, err);
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
