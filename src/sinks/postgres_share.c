// Tables that several pipelines write into. Each pipeline stores with its checkpoint what it does
// to a table of the target: that it fills it, so that a copy that starts again empties it, or that
// it adds rows beside those of others (existing=keep). The two exclude each other: rows that one
// pipeline has confirmed must never fall to the TRUNCATE of another.
//
// What is stored outlives the process, so it also counts while its pipeline does not run. The value
// is the number of the table in the target: pipelines with other sources know it too, and it stays
// when the table is renamed. A lock that ends with the transaction covers looking and storing.
#include "sinks/postgres_sink.h"

typedef struct Other {
    Str pipeline; // ptr NULL: nobody
    bool fills;
} Other;

// Looked up in the catalog, for who may not use the schema may still ask.
#define TABLE_NUMBER                                                                    \
    "(SELECT c.oid::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace" \
    " WHERE n.nspname = $2 AND c.relname = $3)"

static Str text_of(PostgresSink *sink, SqlTable table)
{
    buf_reset(&sink->sql);
    sql_table_name(&sink->sql, table);
    return str_copy(&sink->scratch, buf_view(&sink->sql));
}

static Status lock_marks(PostgresSink *sink, SqlTable table, Error *err)
{
    const char *parameters[] = {str_to_cstr(&sink->scratch, text_of(sink, table))};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    return postgres_query(sink,
                          "SELECT pg_advisory_xact_lock(hashtextextended('weir use ' || $1,"
                          " 0))",
                          1, parameters, &result, err);
}

// Another pipeline that does something to the table; one that fills it, if there is one.
static Status find_other(PostgresSink *sink, SqlTable table, Other *ret, Error *err)
{
    const char *parameters[] = {sink->base.context.pipeline,
                                str_to_cstr(&sink->scratch, table.schema),
                                str_to_cstr(&sink->scratch, table.name)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_query(sink,
                       "SELECT pipeline, key LIKE 'sink:filling:%' FROM weir.checkpoint"
                       " WHERE (key LIKE 'sink:filling:%' OR key LIKE 'sink:shared:%')"
                       "   AND pipeline <> $1 AND value = " TABLE_NUMBER
                       " ORDER BY 2 DESC, 1 LIMIT 1",
                       3, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = (Other){0};
    if (PQntuples(result) > 0) {
        ret->pipeline = str_copy(&sink->scratch, str_from(pg_value(result, 0, 0)));
        ret->fills = pg_value(result, 0, 1)[0] == 't';
    }
    return STATUS_OK;
}

static Status refuse(PostgresSink *sink, SqlTable table, const Other *other, Error *err)
{
    Str name = text_of(sink, table);
    CLEANUP(buf_done) Buf forget;
    buf_init(&forget, ERROR_MESSAGE_MAX);
    sql_checkpoint_forget(&forget, postgres_checkpoint_table, other->pipeline, 0);
    if (other->fills) {
        error_set(err, ERROR_CONFIG,
                  "target table %" STR_FMT " is filled by pipeline \"%" STR_FMT
                  "\", whose copy has not come to its end",
                  STR_ARG(name), STR_ARG(other->pipeline));
        return error_hint(err,
                          "Start again when it has, or give each pipeline tables of its own "
                          "(?schema=). If that pipeline is given up, in the target: %s",
                          buf_cstring(&forget));
    }
    error_set(err, ERROR_CONFIG,
              "pipeline \"%" STR_FMT "\" adds rows to target table %" STR_FMT
              ", which this one would have for itself",
              STR_ARG(other->pipeline), STR_ARG(name));
    return error_hint(err, POSTGRES_SHARE_HINT " If that pipeline is given up, in the target: %s",
                      buf_cstring(&forget));
}

Status postgres_use_check(PostgresSink *sink, SqlTable table, Error *ret_refusal, Error *err)
{
    Other other;
    if (find_other(sink, table, &other, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret_refusal = (Error){0};
    if (other.pipeline.ptr != NULL && (other.fills || sink->existing != SQL_EXISTING_KEEP)) {
        (void)refuse(sink, table, &other, ret_refusal);
    }
    return STATUS_OK;
}

Status postgres_use_begin(PostgresSink *sink, SqlTable table, Error *err)
{
    Error refusal;
    if (lock_marks(sink, table, err) != STATUS_OK ||
        postgres_use_check(sink, table, &refusal, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (refusal.message[0] != '\0') {
        if (err != NULL) {
            *err = refusal;
        }
        return STATUS_FAIL;
    }
    return STATUS_OK;
}

Status postgres_use_store(PostgresSink *sink, SqlMark mark, const Relation *relation,
                          SqlTable table, Error *err)
{
    char key[SQL_MARK_KEY_SIZE];
    sql_mark_key(mark, relation->oid, key);
    const char *parameters[] = {sink->base.context.pipeline,
                                str_to_cstr(&sink->scratch, table.schema),
                                str_to_cstr(&sink->scratch, table.name), key};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_query(sink,
                       "INSERT INTO weir.checkpoint AS c (pipeline, key, value)"
                       " VALUES ($1, $4, " TABLE_NUMBER ")"
                       " ON CONFLICT (pipeline, key) DO UPDATE SET value = excluded.value"
                       " WHERE c.value <> excluded.value",
                       4, parameters, &result, err) != STATUS_OK) {
        return error_wrap(err, "store the checkpoint");
    }
    sql_mark_note(&sink->marks, &(CheckpointEntry){.key = str_from(key), .value = STR("1")});
    return STATUS_OK;
}

// Which rows are whose, nobody knows any more.
static Status refuse_clear(PostgresSink *sink, const Relation *relation, Str pipeline, Error *err)
{
    CLEANUP(buf_done) Buf forget;
    buf_init(&forget, ERROR_MESSAGE_MAX);
    sql_checkpoint_forget(&forget, postgres_checkpoint_table, str_from(sink->base.context.pipeline),
                          relation->oid);
    error_set(err, ERROR_CONFIG,
              "table \"%" STR_FMT ".%" STR_FMT "\" has to be copied again, and pipeline \"%" STR_FMT
              "\" has rows in the target's table",
              STR_ARG(relation->schema), STR_ARG(relation->name), STR_ARG(pipeline));
    return error_hint(err,
                      "Delete from the target's table the rows of this pipeline, which only you "
                      "can tell, then in the target: %s and start again with ?existing=keep.",
                      buf_cstring(&forget));
}

Status postgres_use_empty(PostgresSink *sink, const Relation *relation, SqlTable table, Error *err)
{
    Other other;
    if (lock_marks(sink, table, err) != STATUS_OK ||
        find_other(sink, table, &other, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (other.pipeline.ptr != NULL) {
        return refuse_clear(sink, relation, other.pipeline, err);
    }
    return sql_is_marked(&sink->marks, SQL_SHARED, relation->oid)
               ? STATUS_OK
               : postgres_use_store(sink, SQL_FILLING, relation, table, err);
}
