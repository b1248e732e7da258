// The replication origin under which a database is pushed to, by which what was pushed is known
// when it comes back: Transaction.origin.
#pragma once

#include "pg/connection.h"

/** Its name, for the pipeline that pushes. In @arena. */
Str hub_origin_name(const char *pipeline, Arena *arena);

/** What a database says of an origin. */
typedef struct HubOrigin {
    bool exists;
    bool is_allowed; // to the connection's user: to write under it, and to make it where it is not
} HubOrigin;

MUST_CHECK Status hub_origin_look(PGconn *conn, const PgWait *wait, const char *name,
                                  HubOrigin *ret, Error *err);

/** ERROR_CONFIG: it is not allowed to the user of @system; the hint is the GRANT that mends it.
 *  Returns STATUS_FAIL. */
Status hub_origin_refuse(const PGconn *conn, Str system, Error *err);
