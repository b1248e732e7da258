#include "hub/hub_origin.h"

#include <string.h>

#include "base/buf.h"

// The server's own limit is 512 bytes.
enum { NAME_BYTES_MAX = 500 };

#define FUNCTIONS "pg_catalog.pg_replication_origin_"

Str hub_origin_name(const char *pipeline, Arena *arena)
{
    char *name = arena_printf(arena, "weir_%.*s", NAME_BYTES_MAX, pipeline);
    for (char *at = name; *at != '\0'; at++) {
        if (*at < '!' || *at > '~') {
            *at = '_';
        }
    }
    return str_from(name);
}

Status hub_origin_refuse(const PGconn *conn, Str system, Error *err)
{
    CLEANUP(buf_done) Buf user;
    buf_init(&user, ERROR_MESSAGE_MAX);
    pg_identifier(&user, str_from(PQuser(conn)));
    error_set(err, ERROR_CONFIG,
              "user \"%s\" of system \"%" STR_FMT "\" may not write under a replication origin, by "
              "which what is pushed there is known when it comes back",
              PQuser(conn), STR_ARG(system));
    return error_hint(err,
                      "GRANT EXECUTE ON FUNCTION " FUNCTIONS "create, " FUNCTIONS
                      "session_setup, " FUNCTIONS "session_reset TO %s;",
                      buf_cstring(&user));
}

Status hub_origin_look(PGconn *conn, const PgWait *wait, const char *name, HubOrigin *ret,
                       Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(conn, wait,
                 "SELECT EXISTS (SELECT FROM pg_replication_origin WHERE roname = $1),"
                 " has_function_privilege('" FUNCTIONS "create(text)', 'EXECUTE'),"
                 " has_function_privilege('" FUNCTIONS "session_setup(text)', 'EXECUTE')",
                 1, &name, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool exists = pg_value(result, 0, 0)[0] == 't';
    bool may_make = exists || pg_value(result, 0, 1)[0] == 't';
    bool may_write = pg_value(result, 0, 2)[0] == 't';
    *ret = (HubOrigin){.exists = exists, .is_allowed = may_make && may_write};
    return STATUS_OK;
}
