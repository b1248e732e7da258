// Tables: made from the source's relation, taken over when they are there, emptied.
#include <assert.h>

#include "pipeline/advice.h"
#include "sinks/postgres_sink.h"

static PostgresSink *self(Sink *sink)
{
    return (PostgresSink *)sink;
}

Status postgres_has_rows(PostgresSink *sink, Str name, bool *ret, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    const char *sql =
        arena_printf(&sink->scratch, "SELECT EXISTS (SELECT 1 FROM %" STR_FMT ")", STR_ARG(name));
    if (postgres_query(sink, sql, 0, NULL, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = pg_value(result, 0, 0)[0] == 't';
    return STATUS_OK;
}

Str postgres_table_text(PostgresSink *sink, SqlTable table)
{
    buf_reset(&sink->sql);
    sql_table_name(&sink->sql, table);
    return str_copy(&sink->arena, buf_view(&sink->sql));
}

// ---------------------------------------------------------------------------------------------
// Emptying
// ---------------------------------------------------------------------------------------------

// TRUNCATE may be refused where DELETE is not: it is a right of its own, and it is not possible for
// a table that a foreign key of another one points to, even if that key does not act, nor for one
// of whose rows a deferred constraint is still to be checked (55006).
static bool may_delete_instead(const Error *err)
{
    return strcmp(err->sqlstate, "42501") == 0 || strcmp(err->sqlstate, "0A000") == 0 ||
           strcmp(err->sqlstate, "42809") == 0 || strcmp(err->sqlstate, "55006") == 0;
}

Status postgres_empty(PostgresSink *sink, const Str *names, size_t count, Error *err)
{
    Error refusal = {0};
    // What was sent before may fail by itself.
    if (postgres_session_settle(&sink->session, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_reset(&sink->sql);
    buf_cstr(&sink->sql, "SAVEPOINT weir_empty; TRUNCATE ");
    for (size_t i = 0; i < count; i++) {
        buf_cstr(&sink->sql, i == 0 ? "" : ", ");
        buf_str(&sink->sql, names[i]);
    }
    buf_cstr(&sink->sql, "; RELEASE weir_empty");
    if (postgres_run_buf(sink, &refusal) == STATUS_OK) {
        return STATUS_OK;
    }
    if (!may_delete_instead(&refusal)) {
        *err = refusal;
        return STATUS_FAIL;
    }
    if (postgres_run(sink, "ROLLBACK TO weir_empty; RELEASE weir_empty", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < count; i++) {
        buf_reset(&sink->sql);
        buf_cstr(&sink->sql, "DELETE FROM ");
        buf_str(&sink->sql, names[i]);
        if (postgres_run_buf(sink, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// A second and a half in all.
enum { CLAIM_ATTEMPTS = 16 };
#define CLAIM_PAUSE "SELECT pg_sleep(0.1)"

Status postgres_is_anothers(Str name, Error *err)
{
    error_set(err, ERROR_CONFIG, "target table %" STR_FMT " is another pipeline's, which runs now",
              STR_ARG(name));
    return error_hint(err, POSTGRES_SHARE_HINT);
}

// Another pipeline may be about to fill the same table, which has no rows yet. The lock is the
// session's, so whoever comes first has it as long as it runs; and for a moment longer if it was
// killed, until the server notices.
static Status claim_table(PostgresSink *sink, Str name, Error *err)
{
    const char *parameters[] = {str_to_cstr(&sink->scratch, name)};
    for (int attempt = 1;; attempt++) {
        CLEANUP(pg_result_clear) PGresult *result = NULL;
        if (postgres_query(sink, "SELECT pg_try_advisory_lock(" POSTGRES_TABLE_LOCK ")", 1,
                           parameters, &result, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (pg_value(result, 0, 0)[0] == 't') {
            return STATUS_OK;
        }
        if (attempt == CLAIM_ATTEMPTS) {
            return postgres_is_anothers(name, err);
        }
        if (postgres_run(sink, CLAIM_PAUSE, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
}

Status postgres_refuse_rows(Str name, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "target table %" STR_FMT " has rows that this pipeline did not copy", STR_ARG(name));
    return error_hint(err,
                      "Empty it, or say what to do with them: ?existing=truncate removes "
                      "them, ?existing=keep adds the source's rows beside them. " NAME_OF_BEFORE);
}

// A table with rows that this pipeline did not put there.
static Status settle_existing(PostgresSink *sink, const Relation *relation, Str name, Error *err)
{
    bool rows;
    if (postgres_has_rows(sink, name, &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool kept = rows && sink->existing == SQL_EXISTING_KEEP;
    if (postgres_mark(sink, SQL_KEPT, relation->oid, kept, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!rows || kept) {
        return STATUS_OK;
    }
    if (sink->existing == SQL_EXISTING_TRUNCATE) {
        return postgres_empty(sink, &name, 1, err);
    }
    return postgres_refuse_rows(name, err);
}

bool postgres_keeps_rows(Sink *base, const Relation *relation)
{
    const SqlMarks *marks = &self(base)->marks;
    return sql_is_marked(marks, SQL_KEPT, relation->oid) ||
           sql_is_marked(marks, SQL_SHARED, relation->oid);
}

Status postgres_clear(Sink *base, const Relation *relation, Lsn copied_at, Error *err)
{
    PostgresSink *sink = self(base);
    const PgTarget *target = postgres_target(sink, relation);
    if (sql_is_marked(&sink->marks, SQL_KEPT, relation->oid)) {
        return sql_kept_clear((SqlMode)sink->mode, relation, copied_at, base->context.pipeline,
                              postgres_checkpoint_table, err);
    }
    // Its copies are committed whole: nothing is left of one that was interrupted.
    if (sql_is_marked(&sink->marks, SQL_SHARED, relation->oid) &&
        (copied_at == LSN_NONE || sink->mode == SQL_HISTORY)) {
        return STATUS_OK;
    }
    if (postgres_begin(sink, err) != STATUS_OK ||
        postgres_use_empty(sink, relation, target->table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // A lane has ended the first copy, which this instance may not know.
    if (copied_at != LSN_NONE &&
        postgres_mark(sink, SQL_NEW, relation->oid, false, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (sink->mode == SQL_MIRROR) {
        return postgres_empty(sink, &target->name, 1, err);
    }
    buf_reset(&sink->sql);
    sql_clear_history(&sink->sql, &postgres_dialect, target->table, copied_at);
    return postgres_run_buf(sink, err);
}

// ---------------------------------------------------------------------------------------------
// Making
// ---------------------------------------------------------------------------------------------

static Relation *with_target_types(PostgresSink *sink, const Relation *relation, Arena *arena)
{
    Relation *copy = relation_copy(arena, relation);
    for (uint16_t i = 0; i < copy->column_count; i++) {
        copy->columns[i].type_name = postgres_type_for(sink, &relation->columns[i]);
    }
    return copy;
}

static bool has_large_values(const Relation *relation)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        TypeClass type = relation->columns[i].type;
        if (type == TYPE_OTHER || type == TYPE_TEXT || type == TYPE_BYTEA || type == TYPE_NUMERIC ||
            type_is_json(type) || type == TYPE_BIT) {
            return true;
        }
    }
    return false;
}

static Status make_table(PostgresSink *sink, const Relation *relation, SqlTable table, Error *err)
{
    if (postgres_session_make_schema(&sink->session, table.schema, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const Relation *typed = with_target_types(sink, relation, &sink->scratch);
    buf_reset(&sink->sql);
    sql_create_table(&sink->sql, &postgres_dialect, table, typed, (SqlMode)sink->mode);
    // The last row of a key is looked up for what an update leaves unchanged.
    if (sink->mode == SQL_HISTORY && relation->key_count > 0 && relation->key_count < 30 &&
        has_large_values(relation)) {
        buf_cstr(&sink->sql, "; CREATE INDEX ON ");
        sql_table_name(&sink->sql, table);
        buf_cstr(&sink->sql, " (");
        sql_column_list(&sink->sql, relation, true);
        buf_cstr(&sink->sql, ", \"_weir_lsn\", \"_weir_ordinal\")");
    }
    return postgres_run_buf(sink, err);
}

// Types whose binary form is the same in every version that there is, and means the same in another
// database: no numbers of catalog rows in it, nothing that a locale decides.
static bool is_binary_safe(uint32_t type_oid)
{
    static const uint32_t safe[] = {
        OID_BOOL,        OID_BYTEA, OID_INT2,    OID_INT4,     OID_INT8,    OID_FLOAT4,
        OID_FLOAT8,      OID_TEXT,  OID_VARCHAR, OID_BPCHAR,   OID_DATE,    OID_TIMESTAMP,
        OID_TIMESTAMPTZ, OID_TIME,  OID_TIMETZ,  OID_INTERVAL, OID_NUMERIC, OID_UUID,
        OID_JSON,        OID_JSONB, OID_BIT,     OID_VARBIT,
    };
    for (size_t i = 0; i < ARRAY_LEN(safe); i++) {
        if (safe[i] == type_oid) {
            return true;
        }
    }
    return false;
}

// Rows of a copy can pass as they are: in binary where both sides have the same types.
static CopyForm choose_copy_form(const PostgresSink *sink, const Relation *relation,
                                 const PgFoundTable *found)
{
    if (sink->mode == SQL_HISTORY || relation->column_count == 0) {
        return COPY_FORM_VALUES;
    }
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const Column *column = &relation->columns[i];
        const PgFoundColumn *there = postgres_find_column(found, column->name);
        if (!is_binary_safe(column->base_type_oid) || there->type_oid != column->base_type_oid) {
            return COPY_FORM_TEXT;
        }
    }
    return COPY_FORM_BINARY;
}

static void remember(PostgresSink *sink, const Relation *relation, SqlTable table,
                     const PgFoundTable *found)
{
    PgTarget *target = arena_alloc_zero(&sink->arena, sizeof(*target));
    PgColumn *columns = ARENA_ARRAY(&sink->arena, PgColumn, relation->column_count);
    bool all_have_forms = sink->mode == SQL_MIRROR && relation->column_count > 0;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const PgFoundColumn *column = postgres_find_column(found, relation->columns[i].name);
        assert(column != NULL);
        columns[i] = (PgColumn){.type = str_copy(&sink->arena, column->cast),
                                .equals = str_copy(&sink->arena, column->equals),
                                .has_equality = column->has_equality,
                                .type_oid = column->type_oid,
                                .form = pg_send_form(column->type_oid)};
        all_have_forms = all_have_forms && columns[i].form != NULL;
    }
    Str name = postgres_table_text(sink, table);
    buf_reset(&sink->sql);
    sql_column_list(&sink->sql, relation, false);
    *target = (PgTarget){
        .relation = relation,
        .table = {.schema = str_copy(&sink->arena, table.schema),
                  .name = str_copy(&sink->arena, table.name)},
        .columns = str_copy(&sink->arena, buf_view(&sink->sql)),
        .name = name,
        .column = columns,
        .copy_form = choose_copy_form(sink, relation, found),
        .row_form = all_have_forms ? COPY_FORM_BINARY : COPY_FORM_TEXT,
    };
    (void)map_put_u64(&sink->targets, (uint64_t)(uintptr_t)relation, target);
}

const PgTarget *postgres_target(PostgresSink *sink, const Relation *relation)
{
    const PgTarget *target = map_get_u64(&sink->targets, (uint64_t)(uintptr_t)relation);
    assert(target != NULL);
    sink->session.subject = target->table;
    return target;
}

// ---------------------------------------------------------------------------------------------
// All of it
// ---------------------------------------------------------------------------------------------

static bool is_checkpoint_table(SqlTable table)
{
    return str_equal(table.schema, postgres_checkpoint_table.schema) &&
           str_equal(table.name, postgres_checkpoint_table.name);
}

Status postgres_sees_lock(PostgresSink *sink, const char *key, Str parameter, bool *ret, Error *err)
{
    const char *parameters[] = {str_to_cstr(&sink->scratch, parameter)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    // The server shows a key's two halves; see pg_locks in Postgres's manual.
    const char *sql =
        arena_printf(&sink->scratch,
                     "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d"
                     "   ON d.oid = l.database AND d.datname = current_database(),"
                     "   LATERAL (SELECT %s AS key) k"
                     "  WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted"
                     "    AND l.classid = (k.key >> 32 & 4294967295)::oid"
                     "    AND l.objid = (k.key & 4294967295)::oid)",
                     key);
    if (postgres_query(sink, sql, 1, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = pg_value(result, 0, 0)[0] == 't';
    return STATUS_OK;
}

// A copy would empty it, and a stream would follow itself.
static Status is_sources_own(PostgresSink *sink, const Relation *relation, SqlTable table,
                             bool *ret, Error *err)
{
    Str mark = sink->base.context.source_mark;
    *ret = false;
    if (mark.ptr == NULL || !str_equal(relation->schema, table.schema) ||
        !str_equal(relation->name, table.name)) {
        return STATUS_OK;
    }
    if (!sink->has_looked_for_source) {
        if (postgres_sees_lock(sink, "$1::bigint", mark, &sink->is_source, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        sink->has_looked_for_source = true;
    }
    *ret = sink->is_source;
    return STATUS_OK;
}

Status postgres_claim(PostgresSink *sink, const Relation *relation, SqlTable table, Error *err)
{
    if (is_checkpoint_table(table)) {
        error_set(err, ERROR_CONFIG,
                  "table \"weir.checkpoint\" would go where the target keeps its own checkpoint");
        return error_hint(err,
                          "Leave the schema \"weir\" out of the pipeline, or send it elsewhere "
                          "with ?schema=weir:other.");
    }
    bool is_source;
    if (is_sources_own(sink, relation, table, &is_source, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (is_source) {
        error_set(err, ERROR_CONFIG,
                  "table \"%" STR_FMT "\".\"%" STR_FMT "\" is the source's own: the target is the "
                  "database that is read from",
                  STR_ARG(table.schema), STR_ARG(table.name));
        return error_hint(err, "Name another database, or another schema in it with ?schema=.");
    }
    return sql_targets_claim(&sink->owners, &postgres_dialect, relation, table, err);
}

// Make the table, or take the one that is there.
static Status make_or_take(PostgresSink *sink, const Relation *now, SqlTable table, Str name,
                           Error *err)
{
    PgFoundTable found;
    bool is_shared = sink->existing == SQL_EXISTING_KEEP;
    if (postgres_session_find(&sink->session, table, &sink->scratch, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // Nobody else fills a table that is new, so it may be without its key for a while.
    bool may_lack_key =
        !found.exists && !is_shared && sink->mode == SQL_MIRROR && now->key_count > 0;
    if (postgres_mark(sink, SQL_NEW, now->oid, may_lack_key, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!found.exists) {
        return postgres_mark(sink, SQL_KEPT, now->oid, false, err) == STATUS_OK
                   ? make_table(sink, now, table, err)
                   : STATUS_FAIL;
    }
    if (postgres_check_fit(sink, now, table, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool has_key;
    if (postgres_has_key(sink, now, table, &has_key, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!has_key) {
        const char *hint = postgres_key_hint(sink, now, table);
        notice_tell(&sink->base.context.notice,
                    "target table %" STR_FMT " has no unique index on the key: every update "
                    "and delete reads the whole table (%s)",
                    STR_ARG(name), hint);
    }
    return settle_existing(sink, now, name, err);
}

static Status bring_about(PostgresSink *sink, const Relation *was, const Relation *now,
                          SqlTable table, Error *err)
{
    Str name = postgres_table_text(sink, table);
    bool is_shared = sink->existing == SQL_EXISTING_KEEP;
    if (was != NULL) {
        is_shared = sql_is_marked(&sink->marks, SQL_SHARED, now->oid);
        if (postgres_evolve(sink, was, now, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        // Once more: in a target that was restored from a dump the table has another number.
        return is_shared ? postgres_use_store(sink, SQL_SHARED, now, table, err) : STATUS_OK;
    }
    if (!is_shared && claim_table(sink, name, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (postgres_use_begin(sink, table, err) != STATUS_OK ||
        make_or_take(sink, now, table, name, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    SqlMark use = is_shared ? SQL_SHARED : SQL_FILLING;
    SqlMark other_use = is_shared ? SQL_FILLING : SQL_SHARED;
    return postgres_mark(sink, other_use, now->oid, false, err) == STATUS_OK
               ? postgres_use_store(sink, use, now, table, err)
               : STATUS_FAIL;
}

Status postgres_has(Sink *base, const Relation *relation, bool *ret, Error *err)
{
    PostgresSink *sink = self(base);
    SqlTable table = postgres_place(sink, relation);
    PgFoundTable found;
    Error misfit = {0};
    arena_reset(&sink->scratch);
    sink->session.subject = table;
    if (postgres_session_find(&sink->session, table, &sink->scratch, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = found.exists && postgres_check_fit(sink, relation, table, &found, &misfit) == STATUS_OK;
    return STATUS_OK;
}

Status postgres_prepare(Sink *base, const Relation *was, const Relation *now, Error *err)
{
    PostgresSink *sink = self(base);
    SqlTable table = postgres_place(sink, now);
    PgFoundTable found;
    arena_reset(&sink->scratch);
    if (sql_check_columns(&postgres_dialect, now, (SqlMode)sink->mode, err) != STATUS_OK ||
        postgres_claim(sink, now, table, err) != STATUS_OK ||
        postgres_begin(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (postgres_session_settle(&sink->session, err) != STATUS_OK) {
        return error_wrap(err, "what was written before it");
    }
    sink->session.subject = table;
    postgres_session_forget_prepared(&sink->session);
    if (bring_about(sink, was, now, table, err) != STATUS_OK ||
        postgres_session_find(&sink->session, table, &sink->scratch, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!found.exists) {
        error_set(err, ERROR_CONFIG,
                  "target table \"%" STR_FMT "\".\"%" STR_FMT "\" is gone: it was made by this "
                  "pipeline, and dropped by somebody else",
                  STR_ARG(table.schema), STR_ARG(table.name));
        return error_hint(err, "%s", advice()->start_anew);
    }
    if (postgres_check_fit(sink, now, table, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    remember(sink, now, table, &found);
    sink->session.subject = postgres_target(sink, now)->table;
    return STATUS_OK;
}
