// `weir check`: what prepare() would refuse, found out without changing anything.
#include "sinks/postgres_sink.h"

enum { SCHEMAS_SHOWN = 20 };

// Rights on a table that is there; TRUNCATE can be done without.
static Status check_table_rights(PostgresSink *sink, SqlTable table, Report *report, Error *err)
{
    const char *name = str_to_cstr(&sink->scratch, postgres_table_text(sink, table));
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    CLEANUP(buf_done) Buf mend;
    buf_init(&mend, ERROR_MESSAGE_MAX);
    if (postgres_query(sink,
                       "SELECT has_table_privilege($1, 'SELECT') AND has_table_privilege($1, "
                       "'INSERT') AND has_table_privilege($1, 'UPDATE') AND "
                       "has_table_privilege($1, 'DELETE'), row_security_active($1)",
                       1, &name, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (pg_value(result, 0, 1)[0] == 't') {
        pg_bypass_row_security(sink->session.conn, &mend);
        report_problem(report, PROBLEM_MUST, buf_cstring(&mend),
                       "row security of target table %s may hide rows from user \"%s\"", name,
                       PQuser(sink->session.conn));
        buf_reset(&mend);
    }
    if (pg_value(result, 0, 0)[0] == 't') {
        return STATUS_OK;
    }
    buf_printf(&mend, "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON %s TO ", name);
    sql_identifier(&mend, str_from(PQuser(sink->session.conn)));
    buf_char(&mend, ';');
    report_problem(report, PROBLEM_MUST, buf_cstring(&mend),
                   "rights to write into target table %s are missing", name);
    return STATUS_OK;
}

static Status check_rows(PostgresSink *sink, Str name, Report *report, Error *err)
{
    bool rows;
    Error problem = {0};
    if (postgres_has_rows(sink, name, &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (rows && sink->existing == SQL_EXISTING_FAIL) {
        (void)postgres_refuse_rows(name, &problem);
        report_failure(report, NULL, &problem);
    } else if (rows && sink->existing == SQL_EXISTING_TRUNCATE) {
        report_problem(report, PROBLEM_NOTE, NULL,
                       "the rows of target table %" STR_FMT " will be removed", STR_ARG(name));
    }
    return STATUS_OK;
}

static Status check_existing(PostgresSink *sink, const Relation *relation, SqlTable table,
                             const PgFoundTable *found, Report *report, Error *err)
{
    Error problem = {0};
    bool is_ours = map_get_u64(&sink->ours, relation->oid) != NULL;
    // Ours is altered as the source's table was.
    if (!is_ours && postgres_check_fit(sink, relation, table, found, &problem) != STATUS_OK) {
        report_failure(report, NULL, &problem);
        return STATUS_OK;
    }
    Str name = postgres_table_text(sink, table);
    size_t problems = report->count;
    if (check_table_rights(sink, table, report, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (report->count > problems) {
        return STATUS_OK; // nothing can be read either, perhaps
    }
    bool has_key;
    if (postgres_has_key(sink, relation, table, &has_key, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!has_key) {
        report_problem(report, PROBLEM_NOTE, postgres_key_hint(sink, relation, table),
                       "target table %" STR_FMT " has no unique index on the key: every update and "
                       "delete reads the whole table",
                       STR_ARG(name));
    }
    return is_ours ? STATUS_OK : check_rows(sink, name, report, err);
}

// The rights that are needed where the table is to be made.
static Status check_rights(PostgresSink *sink, SqlTable table, Report *report, Error *err)
{
    const char *parameters[] = {str_to_cstr(&sink->scratch, table.schema)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    CLEANUP(buf_done) Buf mend;
    buf_init(&mend, ERROR_MESSAGE_MAX);
    if (postgres_query(sink,
                       "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),"
                       "       CASE WHEN EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
                       "            THEN has_schema_privilege($1, 'CREATE')"
                       "            ELSE has_database_privilege(current_database(), 'CREATE') END",
                       1, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (pg_value(result, 0, 1)[0] == 't') {
        return STATUS_OK;
    }
    bool schema = pg_value(result, 0, 0)[0] == 't';
    buf_cstr(&mend, schema ? "GRANT USAGE, CREATE ON SCHEMA " : "GRANT CREATE ON DATABASE ");
    sql_identifier(&mend, schema ? table.schema : str_from(PQdb(sink->session.conn)));
    buf_cstr(&mend, " TO ");
    sql_identifier(&mend, str_from(PQuser(sink->session.conn)));
    buf_char(&mend, ';');
    report_problem(report, PROBLEM_MUST, buf_cstring(&mend),
                   "target table \"%" STR_FMT "\".\"%" STR_FMT "\" cannot be made: no right to "
                   "create in %s",
                   STR_ARG(table.schema), STR_ARG(table.name),
                   schema ? "its schema" : "the database");
    return STATUS_OK;
}

// Where positions are stored; looked at once.
static Status check_checkpoint(PostgresSink *sink, Report *report, Error *err)
{
    PgFoundTable found;
    if (sink->checkpoint_is_checked) {
        return STATUS_OK;
    }
    sink->checkpoint_is_checked = true;
    if (postgres_session_find(&sink->session, postgres_checkpoint_table, &sink->scratch, &found,
                              err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return found.exists ? check_table_rights(sink, postgres_checkpoint_table, report, err)
                        : check_rights(sink, postgres_checkpoint_table, report, err);
}

// The same however it is connected to. Where the server does not let us ask, what the connection
// says has to do.
static Str identity(PostgresSink *sink)
{
    if (sink->identity.ptr != NULL) {
        return sink->identity;
    }
    Error refused = {0};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    bool told = postgres_query(sink, "SELECT system_identifier FROM pg_control_system()", 0, NULL,
                               &result, &refused) == STATUS_OK;
    const char *host = PQhost(sink->session.conn);
    sink->identity = str_from(arena_printf(
        &sink->arena, "%s/%s", told ? pg_value(result, 0, 0) : (host == NULL ? "" : host),
        PQdb(sink->session.conn)));
    return sink->identity;
}

static void claim(PostgresSink *sink, Str name, Report *report)
{
    Str database = identity(sink);
    report_claim(report, &(Claim){
                             .key = str_from(arena_printf(&sink->scratch, "%" STR_FMT "/%" STR_FMT,
                                                          STR_ARG(database), STR_ARG(name))),
                             .what = str_from(arena_printf(&sink->scratch, "target table %" STR_FMT,
                                                           STR_ARG(name))),
                             .mend = STR(POSTGRES_SHARE_HINT),
                         });
}

static Status check_use(PostgresSink *sink, SqlTable table, Report *report, Error *err)
{
    bool exists;
    Error refusal;
    if (postgres_session_has_checkpoint(&sink->session, &exists, err) != STATUS_OK ||
        (exists && postgres_use_check(sink, table, &refusal, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    if (exists && refusal.message[0] != '\0') {
        report_failure(report, NULL, &refusal);
    }
    return STATUS_OK;
}

// The lock of claim_table() is looked for, not tried: whoever is about to start would find it
// taken.
static Status check_claim(PostgresSink *sink, const Relation *relation, SqlTable table,
                          Report *report, Error *err)
{
    Str name = postgres_table_text(sink, table);
    bool is_shared = sink->existing == SQL_EXISTING_KEEP;
    if (!is_shared) {
        claim(sink, name, report);
    }
    if (map_get_u64(&sink->ours, relation->oid) != NULL) {
        return STATUS_OK;
    }
    if (is_shared) {
        return check_use(sink, table, report, err);
    }
    bool is_locked;
    if (postgres_sees_lock(sink, POSTGRES_TABLE_LOCK, name, &is_locked, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (is_locked) {
        Error taken;
        (void)postgres_is_anothers(name, &taken);
        report_failure(report, NULL, &taken);
        return STATUS_OK;
    }
    return check_use(sink, table, report, err);
}

// ---------------------------------------------------------------------------------------------
// The mapping of schemas
// ---------------------------------------------------------------------------------------------

static bool has_schema(const Relation *const *relations, size_t count, Str schema)
{
    for (size_t i = 0; i < count; i++) {
        if (str_equal(relations[i]->schema, schema)) {
            return true;
        }
    }
    return false;
}

// "public", "sales" and 3 more.
static void list_schemas(const Relation *const *relations, size_t count, Buf *ret)
{
    size_t schemas = 0;
    for (size_t i = 0; i < count; i++) {
        Str schema = relations[i]->schema;
        if (!has_schema(relations, i, schema) && schemas++ < SCHEMAS_SHOWN) {
            buf_printf(ret, "%s\"%" STR_FMT "\"", schemas == 1 ? "" : ", ", STR_ARG(schema));
        }
    }
    if (schemas > SCHEMAS_SHOWN) {
        buf_printf(ret, " and %zu more", schemas - SCHEMAS_SHOWN);
    }
}

// Of a pipeline that has run, the tables may have gone meanwhile.
void postgres_check_schemas(Sink *base, const Relation *const *relations, size_t count,
                            Report *report)
{
    const PostgresSink *sink = (const PostgresSink *)base;
    CLEANUP(buf_done) Buf mend;
    buf_init(&mend, ERROR_MESSAGE_MAX);
    buf_cstr(&mend, "The tables are in ");
    list_schemas(relations, count, &mend);
    buf_cstr(&mend, ": schema=from:to names one of these first.");
    for (size_t i = 0; i < sink->schemas.count; i++) {
        Str to = sink->schemas.items[i];
        Str from;
        (void)str_split(&to, ':', &from);
        if (to.ptr != NULL && !has_schema(relations, count, from)) {
            report_problem(report, sink->session.has_position ? PROBLEM_NOTE : PROBLEM_MUST,
                           buf_cstring(&mend),
                           "\"schema\" sends schema \"%" STR_FMT "\" to \"%" STR_FMT
                           "\", and no table that is streamed is in it",
                           STR_ARG(from), STR_ARG(to));
        }
    }
}

Status postgres_check_table(Sink *base, const Relation *relation, Report *report, Error *err)
{
    PostgresSink *sink = (PostgresSink *)base;
    SqlTable table = postgres_place(sink, relation);
    PgFoundTable found;
    Error problem = {0};
    arena_reset(&sink->scratch);
    sink->session.subject = table;
    if (sql_check_columns(&postgres_dialect, relation, (SqlMode)sink->mode, &problem) !=
            STATUS_OK ||
        postgres_claim(sink, relation, table, &problem) != STATUS_OK) {
        report_failure(report, NULL, &problem);
        return STATUS_OK;
    }
    if (check_checkpoint(sink, report, err) != STATUS_OK ||
        check_claim(sink, relation, table, report, err) != STATUS_OK ||
        postgres_session_find(&sink->session, table, &sink->scratch, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return found.exists ? check_existing(sink, relation, table, &found, report, err)
                        : check_rights(sink, table, report, err);
}
