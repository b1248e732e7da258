// Replication slots as an administrator sees them.
#pragma once

#include "change/position.h"
#include "pg/connection.h"

typedef struct SlotInfo {
    Str name;
    Str plugin; // empty: physical
    Str database;
    bool is_active;
    Lsn confirmed;          // LSN_NONE: none
    int64_t retained_bytes; // WAL that the server keeps for it
    Str wal_status;         // reserved, extended, unreserved, lost
} SlotInfo;

typedef struct SlotInfos {
    SlotInfo *items;
    size_t count;
} SlotInfos;

/** All slots of the server, in @arena. */
MUST_CHECK Status slots_list(PGconn *conn, const PgWait *wait, Arena *arena, SlotInfos *ret,
                             Error *err);

/** ERROR_CONFIG when there is none of that name, it is in use, or it cannot be Weir's. */
MUST_CHECK Status slots_drop(PGconn *conn, const PgWait *wait, Str name, Error *err);
