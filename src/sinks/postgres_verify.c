// `weir verify`: what the target's rows come to.
#include "base/limits.h"
#include "pg/digest.h"
#include "sinks/postgres_sink.h"

static PostgresSink *self(Sink *sink)
{
    return (PostgresSink *)sink;
}

Status postgres_digest_check(Sink *base, Error *err)
{
    return sql_require_mirror((SqlMode)self(base)->mode, err);
}

static DigestForm form_of(TypeClass type)
{
    switch (type) {
    case TYPE_BYTEA:
        return DIGEST_BYTES;
    case TYPE_TEXT:
    case TYPE_JSON:
    case TYPE_JSONB:
    case TYPE_BIT:
    case TYPE_OTHER:
        return DIGEST_TEXT;
    default:
        return DIGEST_WORD;
    }
}

// A table that was there may have wider types: the source's values are brought to them, as the
// target has done. What a type of the user's makes of a text is not known: the texts are compared.
static void settle_column(PostgresSink *sink, const Column *column, const PgFoundColumn *found,
                          DigestColumn *ret)
{
    bool is_own = found->type_oid < FIRST_USER_OID;
    bool is_same = str_equal(found->type, postgres_type_for(sink, column));
    ret->form = is_own ? form_of(type_class(found->type_oid)) : DIGEST_TEXT;
    ret->type = is_same || !is_own ? (Str){0} : str_copy(&sink->arena, found->type);
}

Status postgres_digest_columns(Sink *base, const Relation *relation, DigestColumn *columns,
                               size_t count, Error *err)
{
    PostgresSink *sink = self(base);
    SqlTable table = postgres_place(sink, relation);
    PgFoundTable found;
    arena_reset(&sink->scratch);
    sink->session.subject = table;
    if (postgres_session_find(&sink->session, table, &sink->scratch, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < count; i++) {
        const Column *column = &relation->columns[columns[i].index];
        const PgFoundColumn *there = postgres_find_column(&found, column->name);
        if (there == NULL) {
            return error_set(err, ERROR_CONFIG, "the target's table has no column \"%" STR_FMT "\"",
                             STR_ARG(column->name));
        }
        settle_column(sink, column, there, &columns[i]);
    }
    return STATUS_OK;
}

Status postgres_sink_digest_open(Sink *base, const DigestQuery *query, DigestReader **ret,
                                 Error *err)
{
    PostgresSink *sink = self(base);
    sink->session.subject = postgres_place(sink, query->relation);
    CLEANUP(buf_done) Buf from;
    buf_init(&from, LIMIT_TEXT_BYTES);
    sql_table_name(&from, sink->session.subject);
    PgRows rows = {.from = buf_view(&from), .convert = pg_digest_converts(sink->session.conn)};
    return pg_digest_open(sink->session.conn, false, base->context.cancel, &rows, query, ret, err);
}
