// `weir verify`: what the source's rows come to, in the snapshot that the target stands at.
#include "pg/digest.h"
#include "sources/postgres.h"

Status postgres_digest_open(Source *source, Snapshot *snapshot, const DigestQuery *query,
                            Cancel *cancel, DigestReader **ret, Error *err)
{
    TableReading reading;
    if (postgres_begin_reading((Postgres *)source, snapshot, query->relation, cancel, &reading,
                               err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    PgRows rows = {.from = buf_view(&reading.from),
                   .filter = buf_view(&reading.filter),
                   .convert = pg_digest_converts(reading.conn)};
    PGconn *conn = reading.conn;
    reading.conn = NULL; // the reader's from here on
    Status status = pg_digest_open(conn, true, cancel, &rows, query, ret, err);
    postgres_end_reading(&reading);
    return status;
}
