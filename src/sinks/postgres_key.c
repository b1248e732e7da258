// The primary key of a table that was made here. While the table is filled for the first time it
// may be without: an index that is built behind the rows takes half of the time.
#include "sinks/postgres_sink.h"

// The key's name and columns: by name, in key order, as a quoted list.
static Status find_key(PostgresSink *sink, SqlTable table, PGresult **ret, Error *err)
{
    const char *parameters[] = {str_to_cstr(&sink->scratch, table.schema),
                                str_to_cstr(&sink->scratch, table.name)};
    return postgres_query(
        sink,
        "SELECT quote_ident(o.conname), (SELECT string_agg('\"' || replace(a.attname, '\"', '\"\"')"
        "       || '\"', ', ' ORDER BY k.at) FROM unnest(o.conkey) WITH ORDINALITY AS k (attnum, "
        "at)"
        "       JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.attnum)"
        "  FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid"
        "  JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relname = $2 AND o.contype = 'p'",
        2, parameters, ret, err);
}

static Buf *alter_table(PostgresSink *sink, SqlTable table)
{
    buf_reset(&sink->sql);
    buf_cstr(&sink->sql, "ALTER TABLE ");
    sql_table_name(&sink->sql, table);
    return &sink->sql;
}

// Until the transaction ends. With the 64 MB that a server comes with, the keys of some million
// rows are sorted on disk, by one process.
#define SORT_IN_MEMORY                                                             \
    "SELECT set_config(name, greatest(setting::int8, 262144)::text || 'kB', true)" \
    " FROM pg_settings WHERE name = 'maintenance_work_mem'"

Status postgres_set_key(PostgresSink *sink, SqlTable table, const Relation *relation, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    CLEANUP(buf_done) Buf wanted;
    buf_init(&wanted, 1 << 20);
    sql_column_list(&wanted, relation, true);
    if (find_key(sink, table, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool has_key = PQntuples(result) > 0;
    if (str_is(buf_view(&wanted), has_key ? pg_value(result, 0, 1) : "")) {
        return STATUS_OK;
    }
    if (has_key) {
        buf_printf(alter_table(sink, table), " DROP CONSTRAINT %s", pg_value(result, 0, 0));
        if (postgres_run_buf(sink, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    if (wanted.len == 0) {
        return STATUS_OK;
    }
    if (postgres_run(sink, SORT_IN_MEMORY, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_printf(alter_table(sink, table), " ADD PRIMARY KEY (%s)", buf_cstring(&wanted));
    return postgres_run_buf(sink, err);
}

Status postgres_drop_key(PostgresSink *sink, SqlTable table, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (find_key(sink, table, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQntuples(result) == 0) {
        return STATUS_OK; // an attempt before this one came as far
    }
    Error refusal = {0};
    buf_reset(&sink->sql);
    buf_cstr(&sink->sql, "SAVEPOINT weir_key; ALTER TABLE ");
    sql_table_name(&sink->sql, table);
    buf_printf(&sink->sql, " DROP CONSTRAINT %s; RELEASE weir_key", pg_value(result, 0, 0));
    if (postgres_run_buf(sink, &refusal) == STATUS_OK) {
        return STATUS_OK;
    }
    if (refusal.sqlstate[0] == '\0') {
        *err = refusal;
        return STATUS_FAIL;
    }
    // A foreign key or a view may need it by now.
    return postgres_run(sink, "ROLLBACK TO weir_key; RELEASE weir_key", err);
}
