// Digests of rows as a Postgres server computes them (change/digest.h): of the source, and of a
// target that is one, too.
#pragma once

#include "change/digest.h"
#include "pg/connection.h"

/** Where the rows of a query are. Text is borrowed. */
typedef struct PgRows {
    Str from;     // "ONLY schema.table": the rest of a FROM clause, quoted
    Str filter;   // an expression; empty: all of them
    bool convert; // the server's encoding is another one than UTF-8: bytes are digested in UTF-8
} PgRows;

/** Whether PgRows.convert is to be set. */
bool pg_digest_converts(const PGconn *conn);

/**
 * Ask @query. The reader reads from @conn, which is used for nothing else until it is closed.
 * @owns: it closes @conn, too, also when this fails.
 */
MUST_CHECK Status pg_digest_open(PGconn *conn, bool owns, Cancel *cancel, const PgRows *rows,
                                 const DigestQuery *query, DigestReader **ret, Error *err);
