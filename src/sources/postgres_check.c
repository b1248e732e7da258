// `weir check`: what resume() would find and make, without making anything.
#include "pipeline/merge.h"
#include "sources/postgres.h"

static const char facts_query[] =
    "SELECT current_setting('wal_level'),"
    "       current_setting('max_replication_slots')::int -"
    "         (SELECT count(*) FROM pg_replication_slots),"
    "       current_setting('max_wal_senders')::int -"
    "         (SELECT count(*) FROM pg_stat_replication),"
    "       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user),"
    "       has_database_privilege(current_database(), 'CREATE'),"
    "       current_setting('server_version'), current_user,"
    "       current_setting('max_slot_wal_keep_size'),"
    "       format('ALTER SYSTEM SET max_replication_slots = %s;  -- and restart the server',"
    "              current_setting('max_replication_slots')::int + 10),"
    "       format('ALTER SYSTEM SET max_wal_senders = %s;  -- and restart the server',"
    "              current_setting('max_wal_senders')::int + 10),"
    "       (SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1),"
    "       (SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1 AND active)";

enum {
    WAL_LEVEL,
    FREE_SLOTS,
    FREE_SENDERS,
    MAY_REPLICATE,
    MAY_CREATE,
    VERSION,
    USER,
    KEEP_SIZE,
    MORE_SLOTS,
    MORE_SENDERS,
    OUR_SLOTS,
    OUR_SENDERS,
};

static Status query_facts(Postgres *postgres, PGresult **ret, Error *err)
{
    PgWait wait = postgres_wait(postgres);
    const char *parameters[] = {str_to_cstr(&postgres->arena, postgres->slot_name)};
    return pg_query(postgres->sql, &wait, facts_query, 1, parameters, ret, err);
}

// What is left of one kind when the pipeline has the one that it needs. A server that says nothing
// has enough.
static int64_t free_beside(const PGresult *facts, int left, int ours)
{
    int64_t count;
    int64_t has;
    bool is_told = str_to_int64(str_from(pg_value(facts, 0, left)), &count) &&
                   str_to_int64(str_from(pg_value(facts, 0, ours)), &has);
    return is_told ? count - (has > 0 ? 0 : 1) : INT64_MAX;
}

// Only of what is there for the pipeline itself: otherwise that has to be mended anyway.
static void check_room(const PGresult *facts, Report *report)
{
    static const struct {
        int left, ours, mend;
        const char *what;
    } kinds[] = {
        {FREE_SLOTS, OUR_SLOTS, MORE_SLOTS, "replication slot is left beside the pipeline's own"},
        {FREE_SENDERS, OUR_SENDERS, MORE_SENDERS, "WAL sender is left beside the pipeline's own"},
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (free_beside(facts, kinds[i].left, kinds[i].ours) == 0) {
            report_problem(report, PROBLEM_NOTE, pg_value(facts, 0, kinds[i].mend),
                           "no %s: weir verify, and the copy of a table that comes later, need one "
                           "for a while",
                           kinds[i].what);
        }
    }
}

// *ret_streams: nothing that was found stops it from being connected to as a stream.
static Status check_server(Postgres *postgres, Report *report, bool needs_publication,
                           bool *ret_streams, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (query_facts(postgres, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Arena scratch = {0};
    Str where = pg_describe(postgres->sql, &scratch);
    const char *user = pg_value(result, 0, USER);
    report_problem(report, PROBLEM_FACT, NULL, "PostgreSQL %s, %" STR_FMT,
                   pg_value(result, 0, VERSION), STR_ARG(where));
    if (strcmp(pg_value(result, 0, WAL_LEVEL), "logical") != 0) {
        report_problem(report, PROBLEM_MUST,
                       "ALTER SYSTEM SET wal_level = logical;  -- and restart the server",
                       "wal_level is %s", pg_value(result, 0, WAL_LEVEL));
    }
    int64_t free_senders;
    bool has_sender = !str_to_int64(str_from(pg_value(result, 0, FREE_SENDERS)), &free_senders) ||
                      free_senders > 0;
    bool may_replicate = pg_value(result, 0, MAY_REPLICATE)[0] == 't';
    *ret_streams = has_sender && may_replicate;
    if (!has_sender) {
        Error taken;
        error_set(&taken, ERROR_TRANSIENT, "every WAL sender is taken");
        error_hint(&taken, "%s", pg_value(result, 0, MORE_SENDERS));
        report_failure(report, NULL, &taken);
    }
    if (!may_replicate) {
        report_problem(report, PROBLEM_MUST,
                       arena_printf(&scratch, "ALTER ROLE \"%s\" REPLICATION;", user),
                       "user \"%s\" may not use replication", user);
    }
    if (needs_publication && pg_value(result, 0, MAY_CREATE)[0] != 't') {
        report_problem(
            report, PROBLEM_MUST,
            arena_printf(&scratch, "GRANT CREATE ON DATABASE \"%" STR_FMT "\" TO \"%s\";",
                         STR_ARG(postgres->database), user),
            "user \"%s\" may not create a publication; or let somebody else make one, and "
            "name it with --publication",
            user);
    }
    if (strcmp(pg_value(result, 0, KEEP_SIZE), "-1") == 0) {
        report_problem(report, PROBLEM_NOTE, "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB';",
                       "max_slot_wal_keep_size is not set: a pipeline that is stopped for long can "
                       "fill the server's disk with WAL");
    }
    check_room(result, report);
    arena_done(&scratch);
    return STATUS_OK;
}

// Who reads a table, and who owns it: only an owner may publish it. Each with what grants it.
static const char rights_query[] =
    "SELECT format('%I.%I', n.nspname, c.relname), has_schema_privilege(n.oid, 'USAGE'),"
    "       has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'),"
    "       pg_has_role(c.relowner, 'USAGE') OR c.oid <> ALL ($2::oid[]),"
    "       format('GRANT USAGE ON SCHEMA %I TO %I;', n.nspname, current_user),"
    "       format('GRANT SELECT ON %I.%I TO %I;', n.nspname, c.relname, current_user),"
    "       CASE WHEN (SELECT rolsuper FROM pg_roles r WHERE r.oid = c.relowner)" // not to be lent
    "            THEN format('ALTER TABLE %I.%I OWNER TO %I;', n.nspname, c.relname, current_user)"
    "            ELSE format('GRANT %I TO %I;', pg_get_userbyid(c.relowner), current_user) END,"
    "       current_user"
    "  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.oid = ANY ($1::oid[]) ORDER BY n.nspname, c.relname";

static Status query_rights(Postgres *postgres, const WantedTables *wanted, PGresult **ret,
                           Error *err)
{
    CLEANUP(buf_done) Buf all;
    CLEANUP(buf_done) Buf unpublished;
    buf_init(&all, (size_t)LIMIT_TABLES * 12 + 2);
    buf_init(&unpublished, (size_t)LIMIT_TABLES * 12 + 2);
    postgres_oids(wanted, false, &all);
    postgres_oids(wanted, true, &unpublished);
    const char *parameters[] = {buf_cstring(&all), buf_cstring(&unpublished)};
    PgWait wait = postgres_wait(postgres);
    return pg_query(postgres->sql, &wait, rights_query, 2, parameters, ret, err);
}

static Status check_rights(Postgres *postgres, const WantedTables *wanted, Report *report,
                           Error *err)
{
    enum { NAME, USAGE, READS, OWNS, GRANT_USAGE, GRANT_SELECT, GRANT_OWNER, GRANTED_TO };
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (query_rights(postgres, wanted, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (int i = 0; i < PQntuples(result); i++) {
        const char *user = pg_value(result, i, GRANTED_TO);
        const char *name = pg_value(result, i, NAME);
        if (postgres->copy && pg_value(result, i, USAGE)[0] != 't') {
            report_problem(report, PROBLEM_MUST, pg_value(result, i, GRANT_USAGE),
                           "user \"%s\" may not use the schema of table %s", user, name);
        }
        if (postgres->copy && pg_value(result, i, READS)[0] != 't') {
            report_problem(report, PROBLEM_MUST, pg_value(result, i, GRANT_SELECT),
                           "user \"%s\" may not read table %s", user, name);
        }
        if (postgres->owns_publication && pg_value(result, i, OWNS)[0] != 't') {
            report_problem(report, PROBLEM_MUST, pg_value(result, i, GRANT_OWNER),
                           "user \"%s\" may not publish table %s, which is somebody else's; or "
                           "let its owner make a publication, and name it with --publication",
                           user, name);
        }
    }
    return STATUS_OK;
}

static Status check_free_slots(Postgres *postgres, Report *report, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (query_facts(postgres, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int64_t free_slots;
    if (str_to_int64(str_from(pg_value(result, 0, FREE_SLOTS)), &free_slots) && free_slots < 1) {
        report_problem(report, PROBLEM_MUST, pg_value(result, 0, MORE_SLOTS),
                       "every replication slot is taken");
    }
    return STATUS_OK;
}

// What resume() asks before it makes anything. @streams: the walsender can be connected.
static Status look_at_slot(Postgres *postgres, const Checkpoint *checkpoint, bool streams,
                           bool *ret_exists, Error *err)
{
    bool has_position;
    Position position;
    Position start;
    Status status =
        streams ? postgres_take_checkpoint(postgres, checkpoint, &has_position, &position, err)
                : checkpoint_position(checkpoint, &has_position, &position, err);
    return status == STATUS_OK ? postgres_find_slot(postgres, has_position ? &position : NULL,
                                                    ret_exists, &start, err)
                               : STATUS_FAIL;
}

static Status check_slot(Postgres *postgres, const Checkpoint *checkpoint, bool streams,
                         Report *report, Error *err)
{
    bool exists = false;
    Error unusable = {0};
    if (look_at_slot(postgres, checkpoint, streams, &exists, &unusable) != STATUS_OK) {
        report_failure(report, NULL, &unusable);
        return STATUS_OK;
    }
    report_problem(report, PROBLEM_FACT, NULL, "replication slot \"%" STR_FMT "\" %s",
                   STR_ARG(postgres->slot_name), exists ? "exists" : "will be made");
    return exists ? STATUS_OK : check_free_slots(postgres, report, err);
}

static void add_ddl(Postgres *postgres, Report *report, Str name, const WantedTables *wanted,
                    bool append_only)
{
    if (postgres_count_wanted(wanted, append_only) == 0) {
        return;
    }
    CLEANUP(buf_done) Buf sql;
    buf_init(&sql, 1 << 20);
    postgres_create_publication(postgres, &sql, name, wanted, append_only);
    report_problem(report, PROBLEM_FACT, NULL, "publication \"%" STR_FMT "\" will be made: %.3000s",
                   STR_ARG(name), buf_cstring(&sql));
}

// Tables whose rows cannot be identified: what works, what does not, and what mends it.
static void check_identity(const Postgres *postgres, const PublicationFacts *facts,
                           const WantedTables *wanted, Arena *arena, Report *report)
{
    for (size_t i = 0; i < wanted->count; i++) {
        const CatalogTable *table = wanted->items[i].table;
        const char *text = postgres_identity_text(postgres, facts, &wanted->items[i], arena);
        if (text == NULL) {
            continue;
        }
        CLEANUP(buf_done) Buf sql;
        buf_init(&sql, 64 * 1024);
        buf_cstr(&sql, "ALTER TABLE ");
        pg_identifier(&sql, table->schema);
        buf_char(&sql, '.');
        pg_identifier(&sql, table->name);
        buf_cstr(&sql, " REPLICA IDENTITY FULL;  -- or give it a primary key");
        report_problem(report, PROBLEM_NOTE, buf_cstring(&sql), "%s", text);
    }
}

static void check_missing(const Postgres *postgres, const WantedTables *wanted, Arena *arena,
                          Report *report)
{
    const char *text = postgres_missing_text(postgres, wanted, arena);
    if (text == NULL) {
        return;
    }
    CLEANUP(buf_done) Buf sql;
    buf_init(&sql, 1 << 20);
    buf_cstr(&sql, "ALTER PUBLICATION ");
    pg_identifier(&sql, postgres->publication_name);
    const char *before = " ADD TABLE ";
    for (size_t i = 0; i < wanted->count; i++) {
        const CatalogTable *table = wanted->items[i].table;
        if (!wanted->items[i].is_published) {
            buf_cstr(&sql, before);
            pg_identifier(&sql, table->schema);
            buf_char(&sql, '.');
            pg_identifier(&sql, table->name);
            before = ", ";
        }
    }
    buf_char(&sql, ';');
    report_problem(report, PROBLEM_NOTE, buf_cstring(&sql), "%s", text);
}

// Of a publication that is there.
static void check_kinds(const Postgres *postgres, Str untold, Report *report)
{
    if (untold.len == 0) {
        return;
    }
    CLEANUP(buf_done) Buf sql;
    buf_init(&sql, 4096);
    buf_cstr(&sql, "ALTER PUBLICATION ");
    pg_identifier(&sql, postgres->publication_name);
    buf_cstr(&sql, " SET (publish = 'insert, update, delete, truncate');");
    report_problem(report, PROBLEM_NOTE, buf_cstring(&sql),
                   "publication \"%" STR_FMT "\" does not publish %" STR_FMT
                   ": the target will be without them",
                   STR_ARG(postgres->publication_name), STR_ARG(untold));
}

static Status look_at_publication(Postgres *postgres, Arena *arena, WantedTables *wanted,
                                  PublicationFacts *ret, Error *err)
{
    if (postgres_wanted(postgres, arena, wanted, err) != STATUS_OK ||
        postgres_find_owner(postgres, arena, err) != STATUS_OK ||
        postgres_look_up_publication(postgres, postgres->publication_name, arena, ret, err) !=
            STATUS_OK ||
        postgres_require_tables(postgres, wanted, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return postgres_match_published(postgres, wanted, err);
}

static Status check_publication(Postgres *postgres, Report *report, bool *ret_streams, Error *err)
{
    Arena scratch = {0};
    WantedTables wanted;
    PublicationFacts facts;
    Status status = look_at_publication(postgres, &scratch, &wanted, &facts, err);
    if (status == STATUS_OK && facts.exists) {
        report_problem(report, PROBLEM_FACT, NULL, "publication \"%" STR_FMT "\" exists",
                       STR_ARG(postgres->publication_name));
        check_kinds(postgres, facts.untold, report);
        check_missing(postgres, &wanted, &scratch, report);
    } else if (status == STATUS_OK) {
        add_ddl(postgres, report, postgres->publication_name, &wanted, false);
        add_ddl(postgres, report, postgres_append_name(postgres, &scratch), &wanted, true);
    }
    if (status == STATUS_OK && wanted.idle_exclusions != NULL) {
        report_problem(report, PROBLEM_NOTE, NULL, IDLE_EXCLUSIONS, wanted.idle_exclusions);
    }
    if (status == STATUS_OK) {
        check_identity(postgres, &facts, &wanted, &scratch, report);
        status = check_server(postgres, report, !facts.exists, ret_streams, err);
    }
    if (status == STATUS_OK) {
        status = check_rights(postgres, &wanted, report, err);
    }
    arena_done(&scratch);
    return status;
}

// What is in a publication of somebody else's; otherwise what the patterns want.
static Status would_publish(Postgres *postgres, Error *err)
{
    return postgres_published(postgres, postgres->owns_publication, &postgres->arena,
                              &postgres->published, err);
}

// "{1,2}"
static void published_oids(const Postgres *postgres, Buf *ret)
{
    buf_init(ret, (size_t)LIMIT_TABLES * 12 + 2);
    buf_char(ret, '{');
    for (size_t i = 0; i < postgres->published.count; i++) {
        buf_printf(ret, "%s%u", i == 0 ? "" : ",", postgres->published.items[i].relation->oid);
    }
    buf_char(ret, '}');
}

// Tables with policies that may hide rows from this user. A leaf is read by itself where the leaves
// are what is published, and through its root otherwise, by the root's policies.
static const char policies_query[] =
    "SELECT c.oid, format('%I.%I', n.nspname, c.relname)"
    "  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE row_security_active(c.oid) AND"
    "       CASE WHEN $2 THEN c.relkind <> 'p' AND"
    "            (c.oid = ANY ($1::oid[]) OR c.oid IN (SELECT t.relid FROM unnest($1::oid[]) w "
    "(oid),"
    "                                                   pg_partition_tree(w.oid) t))"
    "            ELSE c.oid = ANY ($1::oid[]) END"
    " ORDER BY n.nspname, c.relname";

static Status query_policies(Postgres *postgres, PGresult **ret, Error *err)
{
    CLEANUP(buf_done) Buf oids;
    published_oids(postgres, &oids);
    const char *parameters[] = {buf_cstring(&oids),
                                postgres->partitions == PARTITIONS_LEAF ? "true" : "false"};
    PgWait wait = postgres_wait(postgres);
    return pg_query(postgres->sql, &wait, policies_query, 2, parameters, ret, err);
}

// The stream has every row. A table that the pipeline has is read again only when it is verified,
// or copied anew.
static Status check_policies(Postgres *postgres, const Checkpoint *checkpoint, Report *report,
                             Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    CLEANUP(buf_done) Buf mend;
    buf_init(&mend, LIMIT_NAME_BYTES * 4);
    if (!postgres->copy) {
        return STATUS_OK;
    }
    if (query_policies(postgres, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    pg_bypass_row_security(postgres->sql, &mend);
    for (int i = 0; i < PQntuples(result); i++) {
        char entry[32];
        (void)snprintf(entry, sizeof(entry), CHECKPOINT_TABLE "%s", pg_value(result, i, 0));
        bool is_known = checkpoint_get(checkpoint, str_from(entry)) != NULL;
        report_problem(report, is_known ? PROBLEM_NOTE : PROBLEM_MUST, buf_cstring(&mend),
                       "row security of table %s may hide rows from user \"%s\": it cannot be %s",
                       pg_value(result, i, 1), PQuser(postgres->sql),
                       is_known ? "verified, or copied again" : "copied");
    }
    return STATUS_OK;
}

// Generated columns, but for those of a table that a given publication has with a list of columns:
// what such a list leaves out is left out on purpose. (14 has no such lists.)
static const char generated_query[] =
    "SELECT a.attrelid, a.attname, format('%I.%I', n.nspname, c.relname), a.attgenerated"
    "  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
    "  JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped"
    "   AND a.attgenerated <> ''"
    "   AND NOT EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid"
    "                    WHERE p.pubname = $2 AND to_jsonb(r) ->> 'prattrs' IS NOT NULL"
    "                      AND (r.prrelid = c.oid OR"
    "                           r.prrelid IN (SELECT relid FROM pg_partition_ancestors(c.oid))))"
    " ORDER BY n.nspname, c.relname, a.attnum";

// public.orders (total, tax), public.lines (price) and 7 more.
typedef struct LeftOut {
    Buf text;
    size_t count; // columns
    size_t shown;
    uint64_t table; // the last one that was added, by its oid
} LeftOut;

enum { LEFT_OUT_SHOWN = 30 };

static void leave_out(LeftOut *list, uint64_t oid, const char *table, const char *column)
{
    if (list->count++ >= LEFT_OUT_SHOWN) {
        return;
    }
    if (oid == list->table) {
        buf_printf(&list->text, ", %s", column);
    } else {
        buf_printf(&list->text, "%s%s (%s", list->shown == 0 ? "" : "), ", table, column);
    }
    list->shown++;
    list->table = oid;
}

// For the end of a sentence.
static const char *left_out_text(LeftOut *list)
{
    buf_char(&list->text, ')');
    if (list->count > list->shown) {
        buf_printf(&list->text, " and %zu more", list->count - list->shown);
    }
    return buf_cstring(&list->text);
}

static const Relation *published_relation(const Postgres *postgres, uint64_t oid)
{
    for (size_t i = 0; i < postgres->published.count; i++) {
        if (postgres->published.items[i].relation->oid == oid) {
            return postgres->published.items[i].relation;
        }
    }
    return NULL;
}

static void report_generated(const Postgres *postgres, LeftOut *stored, LeftOut *virtual,
                             Report *report)
{
    bool may_be = postgres->server_version >= 180000;
    CLEANUP(buf_done) Buf mend;
    buf_init(&mend, LIMIT_NAME_BYTES * 4);
    buf_cstr(&mend, "ALTER PUBLICATION ");
    pg_identifier(&mend, postgres->publication_name);
    buf_cstr(&mend, " SET (publish_generated_columns = stored);");
    if (stored->count > 0 && may_be) {
        report_problem(report, PROBLEM_NOTE, buf_cstring(&mend),
                       "publication \"%" STR_FMT "\" does not publish generated columns, so they "
                       "are left out: %s",
                       STR_ARG(postgres->publication_name), left_out_text(stored));
    } else if (stored->count > 0) {
        report_problem(report, PROBLEM_NOTE, NULL,
                       "Postgres before 18 does not publish generated columns, so they are left "
                       "out: %s",
                       left_out_text(stored));
    }
    if (virtual->count > 0) {
        report_problem(report, PROBLEM_NOTE, NULL,
                       "Postgres does not publish virtual generated columns, so they are left out: "
                       "%s",
                       left_out_text(virtual));
    }
}

static Status check_generated(Postgres *postgres, Report *report, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    CLEANUP(buf_done) Buf oids;
    published_oids(postgres, &oids);
    Arena scratch = {0};
    const char *parameters[] = {
        buf_cstring(&oids),
        postgres->owns_publication ? NULL : str_to_cstr(&scratch, postgres->publication_name)};
    PgWait wait = postgres_wait(postgres);
    Status status = pg_query(postgres->sql, &wait, generated_query, 2, parameters, &result, err);
    arena_done(&scratch);
    if (status != STATUS_OK) {
        return STATUS_FAIL;
    }
    LeftOut stored = {.text = {.max = 1 << 20}};
    LeftOut virtual = {.text = {.max = 1 << 20}};
    for (int i = 0; i < PQntuples(result); i++) {
        uint64_t oid;
        const char *column = pg_value(result, i, 1);
        const Relation *relation = str_to_uint64(str_from(pg_value(result, i, 0)), &oid)
                                       ? published_relation(postgres, oid)
                                       : NULL;
        if (relation != NULL && relation_find_column(relation, str_from(column)) < 0) {
            bool is_virtual = pg_value(result, i, 3)[0] == 'v';
            leave_out(is_virtual ? &virtual : &stored, oid, pg_value(result, i, 2), column);
        }
    }
    report_generated(postgres, &stored, &virtual, report);
    buf_done(&stored.text);
    buf_done(&virtual.text);
    return STATUS_OK;
}

Status postgres_check(Source *source, const Checkpoint *checkpoint, Report *report,
                      const SourceTables **ret, Error *err)
{
    Postgres *postgres = (Postgres *)source;
    bool streams = false;
    if (check_publication(postgres, report, &streams, err) != STATUS_OK ||
        check_slot(postgres, checkpoint, streams, report, err) != STATUS_OK ||
        would_publish(postgres, err) != STATUS_OK ||
        check_policies(postgres, checkpoint, report, err) != STATUS_OK ||
        check_generated(postgres, report, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = &postgres->published;
    return STATUS_OK;
}
