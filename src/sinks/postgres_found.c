// What a database has: columns of its tables, and how their values are compared.
#include "sinks/postgres_session.h"

// Types whose "=" holds whenever two values have the same text.
#define WITH_EQUALITY                                                                          \
    "'{bool,int2,int4,int8,oid,float4,float8,numeric,money,text,varchar,bpchar,name,\"char\"," \
    "bytea,date,time,timetz,timestamp,timestamptz,interval,uuid,bit,varbit,inet,cidr,macaddr," \
    "macaddr8,pg_lsn,jsonb}'::regtype[]"

static const char find_sql[] =
    "SELECT c.relkind, a.attname, format_type(a.atttypid, a.atttypmod),"
    "       format_type(a.atttypid, -1),"
    "       CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END,"
    "       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,"
    "       a.attnotnull, a.attnotnull AND NOT a.atthasdef AND a.attidentity = '',"
    "       a.attgenerated <> '', a.attidentity = 'a',"
    "       coalesce(CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END"
    "                = ANY (" WITH_EQUALITY "), false),"
    // The search path is empty: an extension's operator is found through its type.
    "       coalesce((SELECT format('OPERATOR(%I.%s)', s.nspname, o.oprname)"
    "          FROM pg_opclass k JOIN pg_am m ON m.oid = k.opcmethod AND m.amname = 'btree'"
    "          JOIN pg_amop p ON p.amopfamily = k.opcfamily AND p.amopstrategy = 3"
    "           AND p.amoplefttype = k.opcintype AND p.amoprighttype = k.opcintype"
    "          JOIN pg_operator o ON o.oid = p.amopopr"
    "          JOIN pg_namespace s ON s.oid = o.oprnamespace"
    "         WHERE k.opcdefault"
    "           AND k.opcintype = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END"
    "         LIMIT 1), '=')"
    "  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    "  LEFT JOIN pg_attribute a"
    "    ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    "  LEFT JOIN pg_type t ON t.oid = a.atttypid"
    " WHERE n.nspname = $1 AND c.relname = $2 ORDER BY a.attnum";

static bool is_true(const PGresult *result, int row, int column)
{
    return pg_value(result, row, column)[0] == 't';
}

static Status take_column(const PGresult *result, int row, Arena *arena, PgFoundColumn *ret,
                          Error *err)
{
    uint64_t oid;
    int64_t typmod;
    if (!str_to_uint64(str_from(pg_value(result, row, 4)), &oid) || oid > UINT32_MAX ||
        !str_to_int64(str_from(pg_value(result, row, 5)), &typmod) || typmod < INT32_MIN ||
        typmod > INT32_MAX) {
        return error_set(err, ERROR_FATAL, "the target's catalog has a type that is no number");
    }
    *ret = (PgFoundColumn){
        .name = str_copy(arena, str_from(pg_value(result, row, 1))),
        .type = str_copy(arena, str_from(pg_value(result, row, 2))),
        .cast = str_copy(arena, str_from(pg_value(result, row, 3))),
        .type_oid = (uint32_t)oid,
        .typmod = (int32_t)typmod,
        .not_null = is_true(result, row, 6),
        .must_be_given = is_true(result, row, 7),
        .is_generated = is_true(result, row, 8),
        .is_identity_always = is_true(result, row, 9),
        .has_equality = is_true(result, row, 10),
        .equals = str_copy(arena, str_from(pg_value(result, row, 11))),
    };
    return STATUS_OK;
}

Status postgres_session_find(PgSession *session, SqlTable table, Arena *arena, PgFoundTable *ret,
                             Error *err)
{
    const char *parameters[] = {str_to_cstr(arena, table.schema), str_to_cstr(arena, table.name)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_session_query(session, find_sql, 2, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int rows = PQntuples(result);
    *ret = (PgFoundTable){.exists = rows > 0,
                          .columns = ARENA_ARRAY(arena, PgFoundColumn, (size_t)rows)};
    for (int i = 0; i < rows; i++) {
        ret->kind = pg_value(result, i, 0)[0];
        // A table without columns is one row of the outer join.
        if (!PQgetisnull(result, i, 1) &&
            take_column(result, i, arena, &ret->columns[ret->count++], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

const PgFoundColumn *postgres_find_column(const PgFoundTable *found, Str name)
{
    for (size_t i = 0; i < found->count; i++) {
        if (str_equal(found->columns[i].name, name)) {
            return &found->columns[i];
        }
    }
    return NULL;
}
