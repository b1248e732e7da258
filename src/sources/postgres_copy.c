// Copies: a snapshot exported by one connection, and tables read in it by others.
//
// The snapshot and its LSN belong together: every transaction committed before that LSN is visible
// in it, none that committed at or after it is. Creating a logical slot gives exactly that pair;
// for tables that come later, a temporary slot does.
#include <assert.h>

#include "base/crash_point.h"
#include "base/mem.h"
#include "base/reader.h"
#include "pg/copy_text.h"
#include "sources/postgres.h"

enum { COPY_BATCH_BYTES = 1 << 20, ROWS_BYTES = 128 << 10 };

struct Snapshot {
    Arena arena;
    PGconn *conn; // holds it; NULL: the source's walsender does
    Str name;
    Lsn lsn;
};

struct CopyReader {
    Postgres *postgres;
    const Snapshot *snapshot;
    TableReading reading;
    Cancel *cancel;
    bool is_started; // in `form`
    CopyForm form;
    bool has_header; // of COPY BINARY: it has been taken off
    Buf rows;        // of copy_read_rows()
    const Relation *relation;
    Transaction transaction;
    uint64_t ordinal;
    bool is_done;
};

// CREATE_REPLICATION_SLOT answers with name, consistent point, snapshot, plugin.
static Status snapshot_of_temporary_slot(Postgres *postgres, Snapshot *snapshot, Lsn *ret_at,
                                         Error *err)
{
    static atomic_uint sequence;
    if (postgres_connect(postgres, true, &snapshot->conn, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    char sql[256];
    (void)snprintf(sql, sizeof(sql),
                   "CREATE_REPLICATION_SLOT \"weir_copy_%d_%u\" TEMPORARY LOGICAL pgoutput "
                   "EXPORT_SNAPSHOT",
                   PQbackendPID(snapshot->conn), atomic_fetch_add(&sequence, 1));
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_make_slot(postgres, snapshot->conn, sql, &result, err) != STATUS_OK) {
        return error_wrap(err, "create a temporary slot for a copy");
    }
    CRASH_POINT("side-snapshot-taken");
    if (PQntuples(result) != 1 || PQnfields(result) < 3 ||
        !lsn_parse(str_from(pg_value(result, 0, 1)), ret_at)) {
        return error_set(err, ERROR_DATA, "the server gave no consistent point for a copy");
    }
    snapshot->name = str_copy(&snapshot->arena, str_from(pg_value(result, 0, 2)));
    return STATUS_OK;
}

// Without a stream no slot is needed, and no wal_level either.
static Status snapshot_alone(Postgres *postgres, Snapshot *snapshot, Lsn *ret_at, Error *err)
{
    PgWait wait = {.cancel = postgres->base.context.cancel};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_connect(postgres, false, &snapshot->conn, err) != STATUS_OK ||
        pg_run(snapshot->conn, &wait, PG_BEGIN_SNAPSHOT, err) != STATUS_OK ||
        pg_query(snapshot->conn, &wait,
                 "SELECT pg_export_snapshot(), CASE WHEN pg_is_in_recovery()"
                 " THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END",
                 0, NULL, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!lsn_parse(str_from(pg_value(result, 0, 1)), ret_at)) {
        return error_set(err, ERROR_DATA, "the server gave no WAL position");
    }
    snapshot->name = str_copy(&snapshot->arena, str_from(pg_value(result, 0, 0)));
    return STATUS_OK;
}

Status postgres_snapshot_open(Source *source, Snapshot **ret, Lsn *ret_at, Error *err)
{
    Postgres *postgres = (Postgres *)source;
    Snapshot *snapshot = mem_alloc_zero(sizeof(*snapshot));
    Status status = STATUS_OK;
    if (source->context.copy_only) {
        status = snapshot_alone(postgres, snapshot, ret_at, err);
    } else if (postgres->fresh_snapshot.ptr != NULL) {
        snapshot->name = postgres->fresh_snapshot;
        *ret_at = postgres->fresh_snapshot_lsn;
    } else {
        status = snapshot_of_temporary_slot(postgres, snapshot, ret_at, err);
    }
    if (status != STATUS_OK) {
        postgres_snapshot_close(snapshot);
        return STATUS_FAIL;
    }
    snapshot->lsn = *ret_at;
    *ret = snapshot;
    return STATUS_OK;
}

void postgres_snapshot_close(Snapshot *snapshot)
{
    if (snapshot != NULL) {
        pg_close(&snapshot->conn);
        arena_done(&snapshot->arena);
        mem_free(snapshot);
    }
}

// ---------------------------------------------------------------------------------------------
// Reading a table
// ---------------------------------------------------------------------------------------------

// A partitioned table is read through its root; a plain one without its inheritance children, which
// are published by themselves.
static const char facts_query[] =
    "SELECT c.relkind, EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid"
    "                           AND a.attgenerated <> '' AND NOT a.attisdropped),"
    "       c.relkind <> 'r' OR c.relfilenode = pg_relation_filenode(c.oid)"
    "  FROM pg_class c WHERE c.oid = $1::oid";

// Each column as it was in the snapshot, and the name that it has now: the catalog is read as of
// the snapshot, the function speaks of now. COPY, too, goes by what the table is now.
static const char columns_query[] =
    "SELECT attnum, attname, atttypid, attgenerated <> '',"
    "       (pg_identify_object_as_address('pg_class'::regclass, attrelid, attnum)).object_names[3]"
    "  FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped";

// The columns of somebody else's publication, as of the snapshot.
static const char listed_query[] =
    "SELECT a.attname FROM pg_publication_tables t, unnest(t.attnames) AS a (attname)"
    " WHERE t.pubname = $2"
    "   AND (t.schemaname, t.tablename) = (SELECT n.nspname, c.relname FROM pg_class c"
    "        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::oid)";

static const char filter_query[] =
    "SELECT rowfilter FROM pg_publication_tables"
    " WHERE pubname IN ($2, $3) AND rowfilter IS NOT NULL"
    "   AND (schemaname, tablename) = (SELECT n.nspname, c.relname FROM pg_class c"
    "        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::oid)";

static Status read_filter(TableReading *reading, const PgWait *wait, const char *oid, Error *err)
{
    const Postgres *postgres = reading->postgres;
    if (postgres->server_version < 150000 || postgres->publication_name.ptr == NULL) {
        return STATUS_OK;
    }
    Arena scratch = {0};
    const char *parameters[3] = {oid};
    postgres_publication_names(postgres, &scratch, &parameters[1]);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    Status status = pg_query(reading->conn, wait, filter_query, 3, parameters, &result, err);
    arena_done(&scratch);
    if (status != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQntuples(result) > 0) {
        buf_cstr(&reading->filter, pg_value(result, 0, 0));
    }
    return buf_check(&reading->filter, "a row filter", err);
}

static const char columns_changed[] = "its columns changed while it waited";

// With the code that the server has for a table that it does not find as it was named, whose class
// says that this is about the table (verify.c), not about the connection.
static Status changed_meanwhile(const char *what, Error *err)
{
    error_set(err, ERROR_TRANSIENT, "%s", what);
    if (err != NULL) {
        (void)snprintf(err->sqlstate, sizeof(err->sqlstate), "42P01");
    }
    return STATUS_FAIL;
}

static bool is_same_column(const PGresult *result, int row, const Column *column)
{
    uint64_t attnum;
    uint64_t type_oid;
    return str_to_uint64(str_from(pg_value(result, row, 0)), &attnum) &&
           str_to_uint64(str_from(pg_value(result, row, 2)), &type_oid) &&
           (column->attnum == 0 || (uint64_t)column->attnum == attnum) &&
           column->type_oid == type_oid;
}

// Somebody else's publication may leave columns out.
static Status check_left_out(const TableReading *reading, const PgWait *wait, const char *oid,
                             Error *err)
{
    const Postgres *postgres = reading->postgres;
    bool may_leave_out = !postgres->owns_publication && !postgres->base.context.copy_only &&
                         postgres->server_version >= 150000;
    if (!may_leave_out) {
        return changed_meanwhile(columns_changed, err);
    }
    Arena scratch = {0};
    const char *parameters[] = {oid, str_to_cstr(&scratch, postgres->publication_name)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    Status status = pg_query(reading->conn, wait, listed_query, 2, parameters, &result, err);
    arena_done(&scratch);
    if (status != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (int i = 0; i < PQntuples(result); i++) {
        Str name = str_from(pg_value(result, i, 0));
        if (relation_find_column(reading->relation, name) < 0) {
            return changed_meanwhile(columns_changed, err);
        }
    }
    return STATUS_OK;
}

// The relation was described before the snapshot was taken, and the table was locked after it. A
// column that came in between would stay empty for good, for the changes that filled it are in the
// copy; columns that exchanged their names would come out exchanged. The next attempt knows better.
static Status check_columns(const TableReading *reading, const PgWait *wait, const char *oid,
                            Error *err)
{
    const Relation *relation = reading->relation;
    const char *parameters[] = {oid};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(reading->conn, wait, columns_query, 1, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    uint16_t found = 0;
    bool left_out = false;
    for (int i = 0; i < PQntuples(result); i++) {
        Str name = str_from(pg_value(result, i, 1));
        int at = relation_find_column(relation, name);
        if (at < 0) {
            left_out = left_out || pg_value(result, i, 3)[0] != 't'; // generated ones may be
            continue;
        }
        if (!str_equal(name, str_from(pg_value(result, i, 4))) ||
            !is_same_column(result, i, &relation->columns[at])) {
            return changed_meanwhile(columns_changed, err);
        }
        found++;
    }
    if (found != relation->column_count) {
        return changed_meanwhile(columns_changed, err);
    }
    return left_out ? check_left_out(reading, wait, oid, err) : STATUS_OK;
}

static void append_columns(Buf *sql, const Relation *relation)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        buf_cstr(sql, i == 0 ? "" : ", ");
        pg_identifier(sql, relation->columns[i].name);
    }
}

static void append_name(Buf *sql, const Relation *relation)
{
    pg_identifier(sql, relation->schema);
    buf_char(sql, '.');
    pg_identifier(sql, relation->name);
}

// What it is, as of the snapshot, and that this is what the relation says.
static Status look_at_table(TableReading *reading, const PgWait *wait, Error *err)
{
    char oid[16];
    (void)snprintf(oid, sizeof(oid), "%u", reading->relation->oid);
    const char *parameters[] = {oid};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(reading->conn, wait, facts_query, 1, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQntuples(result) == 0) {
        return changed_meanwhile("the table was dropped meanwhile", err);
    }
    // The catalog is read as of the snapshot, the function speaks of now: rows of a table that was
    // rewritten or truncated in between cannot be seen by the snapshot any more.
    if (pg_value(result, 0, 2)[0] != 't') {
        reading->was_rewritten = true;
        return changed_meanwhile("the table was rewritten while it waited", err);
    }
    if (check_columns(reading, wait, oid, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    reading->is_partitioned = pg_value(result, 0, 0)[0] == 'p';
    reading->has_generated = pg_value(result, 0, 1)[0] == 't';
    return read_filter(reading, wait, oid, err);
}

// A snapshot ends with the connection that exported it: invalid_parameter_value before version 17,
// undefined_object since. LOCK TABLE, which comes with it, knows neither.
static Status no_snapshot(Error *err)
{
    bool is_gone =
        err != NULL && (strcmp(err->sqlstate, "22023") == 0 || strcmp(err->sqlstate, "42704") == 0);
    if (is_gone) {
        err->kind = ERROR_TRANSIENT;
        return error_wrap(err, "the connection that held the snapshot is gone");
    }
    return STATUS_FAIL;
}

static void append_from(Buf *sql, const TableReading *reading)
{
    buf_cstr(sql, reading->is_partitioned ? "" : "ONLY ");
    append_name(sql, reading->relation);
}

static Status begin_reading(TableReading *reading, Error *err)
{
    Postgres *postgres = reading->postgres;
    PgWait wait = {.cancel = reading->cancel, .patience_ms = postgres->receive_timeout_ms};
    if (postgres_connect(postgres, false, &reading->conn, err) != STATUS_OK ||
        pg_probe_init(&reading->probe, reading->conn, postgres->url, postgres->receive_timeout_ms,
                      &wait, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    wait = (PgWait){.cancel = reading->cancel, .probe = &reading->probe};
    CLEANUP(buf_done) Buf sql;
    buf_init(&sql, 1 << 20);
    buf_cstr(&sql, PG_BEGIN_SNAPSHOT "; SET TRANSACTION SNAPSHOT ");
    pg_literal(&sql, reading->snapshot->name);
    // Held to the end, so that what is looked at below stays true while the rows are read.
    buf_cstr(&sql, "; LOCK TABLE ONLY ");
    append_name(&sql, reading->relation);
    buf_cstr(&sql, " IN ACCESS SHARE MODE");
    if (pg_run(reading->conn, &wait, buf_cstring(&sql), err) != STATUS_OK) {
        return no_snapshot(err);
    }
    if (look_at_table(reading, &wait, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    append_from(&reading->from, reading);
    return STATUS_OK;
}

// A table that was dropped or altered since its columns were read is read anew by the next attempt.
static void settle_kind(Error *err)
{
    bool changed =
        err != NULL && (strcmp(err->sqlstate, "42P01") == 0 || strcmp(err->sqlstate, "42703") == 0);
    if (changed) {
        err->kind = ERROR_TRANSIENT;
    } else if (err != NULL && strcmp(err->sqlstate, "42501") == 0 && err->hint[0] == '\0') {
        error_hint(err, "GRANT SELECT on the table to the source's user, or leave the table out.");
    }
}

Status postgres_begin_reading(Postgres *postgres, const Snapshot *snapshot,
                              const Relation *relation, Cancel *cancel, TableReading *ret,
                              Error *err)
{
    *ret = (TableReading){
        .postgres = postgres, .snapshot = snapshot, .relation = relation, .cancel = cancel};
    buf_init(&ret->from, LIMIT_TEXT_BYTES);
    buf_init(&ret->filter, 1 << 20);
    if (begin_reading(ret, err) != STATUS_OK) {
        postgres_end_reading(ret);
        settle_kind(err);
        return STATUS_FAIL;
    }
    return STATUS_OK;
}

void postgres_end_reading(TableReading *reading)
{
    pg_close(&reading->conn);
    buf_done(&reading->from);
    buf_done(&reading->filter);
}

static Status start_copy(CopyReader *reader, Error *err)
{
    const TableReading *reading = &reader->reading;
    PgWait wait = {.cancel = reader->cancel, .probe = &reading->probe};
    CLEANUP(buf_done) Buf sql;
    buf_init(&sql, 1 << 20);
    // A table by itself is read without the executor, and without its inheritance children. COPY
    // does not name generated columns, which Postgres 18 publishes.
    bool plain = !reading->is_partitioned && !reading->has_generated && reading->filter.len == 0;
    if (plain) {
        buf_cstr(&sql, "COPY ");
        append_name(&sql, reader->relation);
        buf_cstr(&sql, " (");
        append_columns(&sql, reader->relation);
        buf_char(&sql, ')');
    } else {
        buf_cstr(&sql, "COPY (SELECT ");
        append_columns(&sql, reader->relation);
        buf_cstr(&sql, " FROM ");
        buf_str(&sql, buf_view(&reading->from));
        buf_cstr(&sql, reading->filter.len > 0 ? " WHERE " : "");
        buf_str(&sql, buf_view(&reading->filter));
        buf_char(&sql, ')');
    }
    buf_cstr(&sql,
             reader->form == COPY_FORM_BINARY ? " TO STDOUT WITH (FORMAT binary)" : " TO STDOUT");
    if (buf_check(&sql, "a COPY statement", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return pg_start_copy(reading->conn, &wait, buf_cstring(&sql), PGRES_COPY_OUT, NULL, err);
}

static Status start_reader(CopyReader *reader, CopyForm form, Error *err)
{
    if (reader->is_started) {
        assert(reader->form == form);
        return STATUS_OK;
    }
    reader->is_started = true;
    reader->form = form;
    if (start_copy(reader, err) != STATUS_OK) {
        settle_kind(err);
        return STATUS_FAIL;
    }
    return STATUS_OK;
}

Status postgres_copy_open(Source *source, Snapshot *snapshot, const Relation *relation,
                          Cancel *cancel, CopyReader **ret, Error *err)
{
    CopyReader *reader = mem_alloc_zero(sizeof(*reader));
    reader->postgres = (Postgres *)source;
    reader->snapshot = snapshot;
    reader->relation = relation;
    reader->cancel = cancel;
    reader->transaction = (Transaction){.commit_lsn = snapshot->lsn};
    buf_init(&reader->rows, LIMIT_TEXT_BYTES);
    Error error = {0};
    if (postgres_begin_reading(reader->postgres, snapshot, relation, cancel, &reader->reading,
                               &error) == STATUS_OK) {
        *ret = reader;
        return STATUS_OK;
    }
    bool may_be_read_again = reader->reading.was_rewritten;
    postgres_copy_close(reader);
    if (may_be_read_again) {
        return STATUS_AGAIN;
    }
    if (err != NULL) {
        *err = error;
    }
    return STATUS_FAIL;
}

static Status add_row(CopyReader *reader, Batch *batch, const Transaction *transaction, char *line,
                      int len, Error *err)
{
    const Relation *relation = reader->relation;
    // The batch is not sealed: its bytes are still ours to unescape in place.
    char *row = arena_alloc_bytes(&batch->arena, (size_t)len);
    memcpy(row, line, (size_t)len);
    Value *values = arena_alloc(&batch->arena, relation->column_count * sizeof(Value));
    if (copy_text_decode(row, (size_t)len, values, relation->column_count, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    batch->bytes += (size_t)len + relation->column_count * sizeof(Value);
    Change *change = batch_add(batch);
    change->op = CHANGE_READ;
    change->relation = relation;
    change->new_row = values;
    change->transaction = transaction;
    change->ordinal = ++reader->ordinal;
    return STATUS_OK;
}

static Status finish(CopyReader *reader, Error *err)
{
    PGresult *result = PQgetResult(reader->reading.conn);
    Status status = STATUS_OK;
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        status = pg_result_error(reader->reading.conn, result, "the copy broke off", err);
    }
    PQclear(result);
    reader->is_done = true;
    return status;
}

// The next row as the server sends it, one message each; *ret NULL at the end. To be freed.
static Status next_row(CopyReader *reader, char **ret, int *ret_len, Error *err)
{
    PgWait wait = {.cancel = reader->cancel, .probe = &reader->reading.probe};
    *ret = NULL;
    *ret_len = 0;
    while (!reader->is_done) {
        int len = PQgetCopyData(reader->reading.conn, ret, 1);
        if (len > 0) {
            *ret_len = len;
            return STATUS_OK;
        }
        if (len == -1) {
            return finish(reader, err);
        }
        if (len < -1) {
            return pg_result_error(reader->reading.conn, NULL, "the copy broke off", err);
        }
        if (pg_wait(reader->reading.conn, &wait, false, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// Rows until the batch is full or the table ends.
static Status fill(CopyReader *reader, Batch *batch, Error *err)
{
    Transaction *transaction = arena_alloc(&batch->arena, sizeof(*transaction));
    *transaction = reader->transaction;
    while (batch->bytes < COPY_BATCH_BYTES) {
        char *line;
        int len;
        if (next_row(reader, &line, &len, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (line == NULL) {
            return STATUS_OK;
        }
        Status status = add_row(reader, batch, transaction, line, len, err);
        PQfreemem(line);
        if (status != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

Status postgres_copy_read(CopyReader *reader, Batch **ret, Error *err)
{
    *ret = NULL;
    if (start_reader(reader, COPY_FORM_VALUES, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Batch *batch = batch_new();
    if (fill(reader, batch, err) != STATUS_OK) {
        batch_unref(batch);
        return STATUS_FAIL;
    }
    if (batch->count == 0) {
        batch_unref(batch);
        return STATUS_OK;
    }
    batch_seal(batch, (Position){reader->transaction.commit_lsn, reader->ordinal}, true);
    *ret = batch;
    return STATUS_OK;
}

// The header comes with the first row, the trailer is a message of its own: see "File Formats" of
// COPY in Postgres's manual. A target that is written to by several COPYs needs its own.
static Status strip_binary(CopyReader *reader, Str *row, Error *err)
{
    static const char signature[] = "PGCOPY\n\377\r\n";
    enum { SIGNATURE = sizeof(signature), FIXED = SIGNATURE + 4 + 4 };
    if (!reader->has_header) {
        Reader in = reader_from(row->ptr, row->len);
        Str start;
        uint32_t flags;
        uint32_t extension;
        Str skipped;
        if (!reader_bytes(&in, SIGNATURE, &start) || memcmp(start.ptr, signature, SIGNATURE) != 0 ||
            !reader_u32(&in, &flags) || !reader_u32(&in, &extension) ||
            !reader_bytes(&in, extension, &skipped)) {
            return error_set(err, ERROR_DATA, "the server began a binary copy without its header");
        }
        if ((flags >> 16) != 0) {
            return error_set(err, ERROR_DATA, "the server's binary copy has the unknown flags %x",
                             flags);
        }
        size_t taken = (size_t)FIXED + extension;
        *row = (Str){row->ptr + taken, row->len - taken};
        reader->has_header = true;
    }
    bool is_trailer = row->len == 2 && memcmp(row->ptr, "\377\377", 2) == 0;
    row->len = is_trailer ? 0 : row->len;
    return STATUS_OK;
}

Status postgres_copy_read_rows(CopyReader *reader, CopyForm form, Str *ret, size_t *ret_count,
                               Error *err)
{
    assert(form != COPY_FORM_VALUES);
    if (start_reader(reader, form, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_reset(&reader->rows);
    *ret_count = 0;
    while (reader->rows.len < ROWS_BYTES) {
        char *line;
        int len;
        if (next_row(reader, &line, &len, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (line == NULL) {
            break;
        }
        Str row = {line, (size_t)len};
        Status status = form == COPY_FORM_BINARY ? strip_binary(reader, &row, err) : STATUS_OK;
        buf_str(&reader->rows, row);
        *ret_count += row.len > 0 ? 1 : 0;
        PQfreemem(line);
        if (status != STATUS_OK || buf_check(&reader->rows, "copied rows", err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    *ret = buf_view(&reader->rows);
    return STATUS_OK;
}

void postgres_copy_close(CopyReader *reader)
{
    if (reader != NULL) {
        postgres_end_reading(&reader->reading);
        buf_done(&reader->rows);
        mem_free(reader);
    }
}
