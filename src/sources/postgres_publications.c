// The publications that name the tables: made when missing, kept in step, or read as they are.
//
// A table whose rows cannot be identified (no primary key, no replica identity) must not be in a
// publication of updates and deletes: Postgres would then refuse those in the user's application.
// So such tables go into a second publication, of inserts and truncates only.
#include "base/ascii.h"
#include "base/crash_point.h"
#include "sources/postgres.h"

static const char append_suffix[] = "_append";

enum { MISSING_SHOWN = 20 };

// ---------------------------------------------------------------------------------------------
// Names
// ---------------------------------------------------------------------------------------------

// Lower-case letters, digits and underscores, 63 at the most; a longer name keeps its end, where
// default names have what tells them apart.
static Str slot_from_pipeline(const char *pipeline, Arena *arena)
{
    static const char prefix[] = "weir_";
    size_t len = strlen(pipeline);
    size_t most = LIMIT_IDENTIFIER_SLOT - (sizeof(prefix) - 1) - (sizeof(append_suffix) - 1);
    const char *from = len > most ? pipeline + (len - most) : pipeline;
    char *slot = arena_printf(arena, "%s%s", prefix, from);
    for (char *at = slot; *at != '\0'; at++) {
        *at = ascii_is_alphanumeric(*at) ? ascii_to_lower(*at) : '_';
    }
    return str_from(slot);
}

void postgres_choose_names(Postgres *postgres)
{
    postgres->slot_name = postgres->slot;
    if (postgres->slot_name.len == 0) {
        postgres->slot_name = slot_from_pipeline(postgres->base.context.pipeline, &postgres->arena);
    }
    if (postgres->base.context.copy_only) {
        postgres->publication_name = (Str){NULL, 0};
        return;
    }
    postgres->publication_name = postgres->publication;
    postgres->owns_publication = postgres->publication.len == 0;
    if (postgres->owns_publication) {
        postgres->publication_name = postgres->slot_name;
    }
}

// ---------------------------------------------------------------------------------------------
// Publications
// ---------------------------------------------------------------------------------------------

typedef struct Publication {
    bool exists;
    bool all_tables;
    PublicationFacts facts;
    CatalogTable *tables; // named in it: oid, schema and name only
    size_t count;
} Publication;

static Status read_publication(Postgres *postgres, Str name, Arena *arena, Publication *ret,
                               Error *err)
{
    PgWait wait = postgres_wait(postgres);
    const char *parameters[] = {str_to_cstr(arena, name)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(
            postgres->sql, &wait,
            "SELECT p.puballtables, concat_ws(', ', CASE WHEN NOT p.pubinsert THEN 'inserts' END,"
            "       CASE WHEN NOT p.pubupdate THEN 'updates' END,"
            "       CASE WHEN NOT p.pubdelete THEN 'deletes' END,"
            "       CASE WHEN NOT p.pubtruncate THEN 'truncates' END),"
            "       p.pubupdate OR p.pubdelete, r.prrelid, n.nspname, c.relname,"
            "       p.pubviaroot, coalesce(to_jsonb(p) ->> 'pubgencols' = 's', false)"
            "  FROM pg_publication p LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid"
            "  LEFT JOIN pg_class c ON c.oid = r.prrelid"
            "  LEFT JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = $1",
            1, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int rows = PQntuples(result);
    *ret =
        (Publication){.exists = rows > 0, .tables = ARENA_ARRAY(arena, CatalogTable, (size_t)rows)};
    if (rows > 0) {
        ret->all_tables = pg_value(result, 0, 0)[0] == 't';
        ret->facts.untold = str_copy(arena, str_from(pg_value(result, 0, 1)));
        ret->facts.has_updates = pg_value(result, 0, 2)[0] == 't';
        ret->facts.via_root = pg_value(result, 0, 6)[0] == 't';
        ret->facts.has_generated = pg_value(result, 0, 7)[0] == 't';
        ret->facts.exists = true;
    }
    for (int i = 0; i < rows; i++) {
        uint64_t oid;
        if (!PQgetisnull(result, i, 3) && str_to_uint64(str_from(pg_value(result, i, 3)), &oid)) {
            ret->tables[ret->count++] = (CatalogTable){
                .oid = (uint32_t)oid,
                .schema = str_copy(arena, str_from(pg_value(result, i, 4))),
                .name = str_copy(arena, str_from(pg_value(result, i, 5))),
            };
        }
    }
    return STATUS_OK;
}

static bool publication_has(const Publication *publication, uint32_t oid)
{
    for (size_t i = 0; i < publication->count; i++) {
        if (publication->tables[i].oid == oid) {
            return true;
        }
    }
    return false;
}

static void append_table(Buf *sql, const CatalogTable *table)
{
    pg_identifier(sql, table->schema);
    buf_char(sql, '.');
    pg_identifier(sql, table->name);
}

size_t postgres_count_wanted(const WantedTables *wanted, bool append_only)
{
    size_t count = 0;
    for (size_t i = 0; i < wanted->count; i++) {
        count += wanted->items[i].append_only == append_only;
    }
    return count;
}

void postgres_create_publication(const Postgres *postgres, Buf *sql, Str name,
                                 const WantedTables *wanted, bool append_only)
{
    buf_cstr(sql, "CREATE PUBLICATION ");
    pg_identifier(sql, name);
    // ONLY: an inheritance child does not have its parent's key, and is published by itself.
    const char *before = " FOR TABLE ONLY ";
    for (size_t i = 0; i < wanted->count; i++) {
        if (wanted->items[i].append_only == append_only) {
            buf_cstr(sql, before);
            append_table(sql, wanted->items[i].table);
            before = ", ONLY ";
        }
    }
    buf_printf(sql, " WITH (publish = '%s', publish_via_partition_root = %s%s)",
               append_only ? "insert, truncate" : "insert, update, delete, truncate",
               postgres->partitions == PARTITIONS_ROOT ? "true" : "false",
               postgres->server_version >= 180000 ? ", publish_generated_columns = stored" : "");
}

static void append_alter(Buf *sql, Str name, const char *what, const CatalogTable *table)
{
    buf_cstr(sql, "ALTER PUBLICATION ");
    pg_identifier(sql, name);
    buf_cstr(sql, what);
    append_table(sql, table);
    buf_cstr(sql, "; ");
}

static bool belongs(const WantedTables *wanted, uint32_t oid, bool append_only)
{
    for (size_t i = 0; i < wanted->count; i++) {
        if (wanted->items[i].table->oid == oid) {
            return wanted->items[i].append_only == append_only;
        }
    }
    return false;
}

// Bring an existing publication of ours in step with the tables.
static void append_changes(Buf *sql, Str name, const Publication *existing, WantedTables *wanted,
                           bool append_only)
{
    for (size_t i = 0; i < wanted->count; i++) {
        WantedTable *table = &wanted->items[i];
        if (table->append_only == append_only && !publication_has(existing, table->table->oid)) {
            table->is_added = true;
            append_alter(sql, name, " ADD TABLE ONLY ", table->table);
        }
    }
    for (size_t i = 0; i < existing->count; i++) {
        if (!belongs(wanted, existing->tables[i].oid, append_only)) {
            append_alter(sql, name, " DROP TABLE ONLY ", &existing->tables[i]);
        }
    }
}

static Status run_setup(Postgres *postgres, Buf *sql, Error *err)
{
    if (buf_check(sql, "a statement", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    PgWait wait = postgres_wait(postgres);
    CRASH_POINT("publication-begins");
    if (pg_run(postgres->sql, &wait, buf_cstring(sql), err) == STATUS_OK) {
        CRASH_POINT("publication-set-up");
        return STATUS_OK;
    }
    if (err != NULL && postgres_is_passing(err)) {
        err->kind = ERROR_TRANSIENT;
    } else if (err != NULL && strcmp(err->sqlstate, "42501") == 0) {
        error_hint(err,
                   "Let somebody who owns the tables run: %" STR_FMT "; and then name it with "
                   "--publication.",
                   STR_ARG(buf_view(sql)));
    }
    return error_wrap(err, "set up the publication");
}

// Append what makes the publication, or brings it in step.
static Status keep_publication(Postgres *postgres, Str name, WantedTables *wanted, bool append_only,
                               Arena *arena, Buf *sql, Error *err)
{
    Publication existing;
    if (read_publication(postgres, name, arena, &existing, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!existing.exists) {
        if (postgres->stream.is_started) {
            return postgres_publication_is_gone(name, err); // and has been away, however shortly
        }
        // Also when no table needs it yet: the stream names its publications once, and Postgres
        // looks them up as they were at each transaction.
        postgres_create_publication(postgres, sql, name, wanted, append_only);
        buf_cstr(sql, "; ");
    } else if (!existing.all_tables) {
        append_changes(sql, name, &existing, wanted, append_only);
    }
    return STATUS_OK;
}

void postgres_publication_names(const Postgres *postgres, Arena *arena, const char *ret[static 2])
{
    ret[0] = str_to_cstr(arena, postgres->publication_name);
    ret[1] = postgres->append_publication.ptr == NULL
                 ? NULL
                 : str_to_cstr(arena, postgres->append_publication);
}

Str postgres_append_name(const Postgres *postgres, Arena *arena)
{
    return str_from(
        arena_printf(arena, "%" STR_FMT "%s", STR_ARG(postgres->publication_name), append_suffix));
}

// A publication that was named and is there is somebody else's, and read as it is, unless we made
// it in an earlier run: then its companion is there, too.
Status postgres_find_owner(Postgres *postgres, Arena *arena, Error *err)
{
    Publication given;
    Publication companion;
    if (postgres->publication.len == 0) {
        postgres->owns_publication = true;
        return STATUS_OK;
    }
    if (read_publication(postgres, postgres->publication_name, arena, &given, err) != STATUS_OK ||
        read_publication(postgres, postgres_append_name(postgres, arena), arena, &companion, err) !=
            STATUS_OK) {
        return STATUS_FAIL;
    }
    postgres->owns_publication = !given.exists || companion.exists;
    return STATUS_OK;
}

static Status publish_owned(Postgres *postgres, WantedTables *wanted, Arena *arena, Error *err)
{
    Str append = postgres_append_name(postgres, arena);
    // One string of statements is one transaction: a table that moves from one publication to the
    // other is never in neither.
    CLEANUP(buf_done) Buf sql;
    buf_init(&sql, 64 << 20);
    if (keep_publication(postgres, postgres->publication_name, wanted, false, arena, &sql, err) !=
            STATUS_OK ||
        keep_publication(postgres, append, wanted, true, arena, &sql, err) != STATUS_OK ||
        (sql.len > 0 && run_setup(postgres, &sql, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    Publication made;
    if (read_publication(postgres, append, arena, &made, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (made.exists && postgres->append_publication.ptr == NULL) {
        postgres->append_publication = str_copy(&postgres->arena, append);
    }
    return STATUS_OK;
}

Status postgres_look_up_publication(Postgres *postgres, Str name, Arena *arena,
                                    PublicationFacts *ret, Error *err)
{
    Publication given;
    if (read_publication(postgres, name, arena, &given, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = given.facts;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// What is said of them, at a start and by `weir check`
// ---------------------------------------------------------------------------------------------

// A partitioned table is published by any of its leaves, and a leaf with any table above it.
static const char match_query[] =
    "WITH published AS MATERIALIZED (SELECT c.oid FROM pg_publication_tables t"
    "   JOIN pg_namespace n ON n.nspname = t.schemaname"
    "   JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename"
    "  WHERE t.pubname IN ($1, $2)),"
    " family AS MATERIALIZED (SELECT oid FROM published"
    "  UNION SELECT a.relid FROM published p, pg_partition_ancestors(p.oid) a)"
    " SELECT w.place FROM unnest($3::oid[]) WITH ORDINALITY AS w (oid, place)"
    "  WHERE w.oid IN (SELECT oid FROM family)"
    "     OR EXISTS (SELECT FROM pg_partition_ancestors(w.oid) a JOIN published p"
    "                ON p.oid = a.relid)";

Status postgres_match_published(Postgres *postgres, WantedTables *wanted, Error *err)
{
    Arena scratch = {0};
    CLEANUP(buf_done) Buf oids;
    buf_init(&oids, (size_t)LIMIT_TABLES * 12 + 2);
    postgres_oids(wanted, false, &oids);
    const char *parameters[] = {str_to_cstr(&scratch, postgres->publication_name),
                                str_to_cstr(&scratch, postgres_append_name(postgres, &scratch)),
                                buf_cstring(&oids)};
    PgWait wait = postgres_wait(postgres);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    Status status = pg_query(postgres->sql, &wait, match_query, 3, parameters, &result, err);
    for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++) {
        uint64_t place; // counted from 1
        if (str_to_uint64(str_from(pg_value(result, i, 0)), &place) && place >= 1 &&
            place <= wanted->count) {
            wanted->items[place - 1].is_published = true;
        }
    }
    arena_done(&scratch);
    return status;
}

void postgres_oids(const WantedTables *wanted, bool unpublished_only, Buf *ret)
{
    buf_char(ret, '{');
    for (size_t i = 0; i < wanted->count; i++) {
        if (!unpublished_only || !wanted->items[i].is_published) {
            buf_printf(ret, "%s%u", ret->len == 1 ? "" : ",", wanted->items[i].table->oid);
        }
    }
    buf_char(ret, '}');
}

const char *postgres_identity_text(const Postgres *postgres, const PublicationFacts *facts,
                                   const WantedTable *table, Arena *arena)
{
    bool is_given = !postgres->owns_publication;
    if (!table->append_only || (is_given && !table->is_published)) {
        return NULL;
    }
    Str schema = table->table->schema;
    Str name = table->table->name;
    if (is_given && facts->has_updates) {
        return arena_printf(arena,
                            "table \"%" STR_FMT ".%" STR_FMT
                            "\" has no replica identity: as publication \"%" STR_FMT
                            "\" has it, Postgres refuses every update and delete of its rows",
                            STR_ARG(schema), STR_ARG(name), STR_ARG(postgres->publication_name));
    }
    return arena_printf(arena,
                        "table \"%" STR_FMT ".%" STR_FMT
                        "\" has no replica identity: its inserts are streamed, its updates and "
                        "deletes cannot be",
                        STR_ARG(schema), STR_ARG(name));
}

// "a"."b", "c"."d" and 3 more; NULL: all are published. In @arena.
static const char *unpublished_text(const WantedTables *wanted, Arena *arena)
{
    size_t count = 0;
    CLEANUP(buf_done) Buf text;
    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < wanted->count; i++) {
        const CatalogTable *table = wanted->items[i].table;
        if (wanted->items[i].is_published) {
            continue;
        }
        if (count++ < MISSING_SHOWN) {
            buf_printf(&text, "%s\"%" STR_FMT ".%" STR_FMT "\"", count == 1 ? "" : ", ",
                       STR_ARG(table->schema), STR_ARG(table->name));
        }
    }
    if (count > MISSING_SHOWN) {
        buf_printf(&text, " and %zu more", count - MISSING_SHOWN);
    }
    return count == 0 ? NULL : str_copy(arena, buf_view(&text)).ptr;
}

const char *postgres_missing_text(const Postgres *postgres, const WantedTables *wanted,
                                  Arena *arena)
{
    const char *names = unpublished_text(wanted, arena);
    if (names == NULL || postgres->tables.count == 0 || postgres->owns_publication) {
        return NULL;
    }
    return arena_printf(
        arena, "publication \"%" STR_FMT "\" does not have %s: asked for, and not streamed",
        STR_ARG(postgres->publication_name), names);
}

// Somebody else's publication is read as it is.
static Status tell_given(Postgres *postgres, WantedTables *wanted, Arena *arena,
                         PublicationFacts *ret, Error *err)
{
    const Notice *notice = &postgres->base.context.notice;
    if (postgres_look_up_publication(postgres, postgres->publication_name, arena, ret, err) !=
            STATUS_OK ||
        postgres_match_published(postgres, wanted, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (ret->untold.len > 0) {
        notice_tell(notice,
                    "publication \"%" STR_FMT "\" does not publish %" STR_FMT
                    ": the target will be without them",
                    STR_ARG(postgres->publication_name), STR_ARG(ret->untold));
    }
    const char *missing = postgres_missing_text(postgres, wanted, arena);
    if (missing != NULL) {
        notice_tell(notice, "%s", missing);
    }
    return STATUS_OK;
}

static void tell_identity(const Postgres *postgres, const PublicationFacts *facts,
                          const WantedTables *wanted, Arena *arena)
{
    bool is_start = !postgres->stream.is_started;
    for (size_t i = 0; i < wanted->count; i++) {
        const WantedTable *table = &wanted->items[i];
        const char *text = postgres_identity_text(postgres, facts, table, arena);
        if (text != NULL && (is_start || table->is_added)) {
            notice_tell(&postgres->base.context.notice, "%s (weir check says what mends it)", text);
        }
    }
}

Status postgres_require_tables(const Postgres *postgres, const WantedTables *wanted, Error *err)
{
    if (wanted->count > 0 || !postgres->owns_publication) {
        return STATUS_OK;
    }
    bool leaves_out = postgres->exclude_tables.count > 0;
    error_set(err, ERROR_CONFIG, "there is no table to stream in database \"%" STR_FMT "\"%s",
              STR_ARG(postgres->database), leaves_out ? " that is not excluded" : "");
    return error_hint(err, leaves_out ? "Create a table first, or exclude less."
                                      : "Create a table first, or connect to another database.");
}

Status postgres_find_publications(Postgres *postgres, Error *err)
{
    Arena scratch = {0};
    PublicationFacts second = {0};
    Str append = postgres_append_name(postgres, &postgres->arena);
    Status status = postgres_find_owner(postgres, &scratch, err);
    if (status == STATUS_OK && postgres->owns_publication) {
        status = postgres_look_up_publication(postgres, append, &scratch, &second, err);
    }
    if (second.exists) {
        postgres->append_publication = append;
    }
    arena_done(&scratch);
    return status;
}

// What was published by the last run is what the pipeline consists of.
static Status keep_published(Postgres *postgres, Error *err)
{
    Arena scratch = {0};
    PublicationFacts facts = {0};
    Status status = postgres_find_publications(postgres, err);
    if (status == STATUS_OK) {
        status = postgres_look_up_publication(postgres, postgres->publication_name, &scratch,
                                              &facts, err);
    }
    arena_done(&scratch);
    if (status != STATUS_OK || facts.exists) {
        return status;
    }
    error_set(err, ERROR_CONFIG, "there is no publication \"%" STR_FMT "\"",
              STR_ARG(postgres->publication_name));
    return error_hint(err, "Name the one that the pipeline was given with --publication.");
}

Status postgres_tell_unpublished(Postgres *postgres, Error *err)
{
    Arena scratch = {0};
    WantedTables wanted;
    Status status = postgres_wanted(postgres, &scratch, &wanted, err);
    if (status == STATUS_OK) {
        status = postgres_match_published(postgres, &wanted, err);
    }
    const char *names = status == STATUS_OK ? unpublished_text(&wanted, &scratch) : NULL;
    if (names != NULL && (postgres->owns_publication || postgres->tables.count > 0)) {
        notice_tell(&postgres->base.context.notice, "not in the pipeline: %s", names);
    }
    arena_done(&scratch);
    return status;
}

static void tell_idle(const Postgres *postgres, const WantedTables *wanted)
{
    if (wanted->idle_exclusions != NULL) {
        notice_tell(&postgres->base.context.notice, IDLE_EXCLUSIONS, wanted->idle_exclusions);
    }
}

// Made when missing, and kept in step with the patterns.
static Status publish_wanted(Postgres *postgres, Error *err)
{
    Arena scratch = {0};
    WantedTables wanted;
    Status status = postgres_wanted(postgres, &scratch, &wanted, err);
    bool is_start = !postgres->stream.is_started;
    if (status == STATUS_OK && is_start) {
        status = postgres_find_owner(postgres, &scratch, err);
    }
    if (status == STATUS_OK && is_start) {
        status = postgres_require_tables(postgres, &wanted, err);
        tell_idle(postgres, &wanted);
    }
    if (status == STATUS_OK && postgres->owns_publication) {
        status = publish_owned(postgres, &wanted, &scratch, err);
    }
    PublicationFacts facts = {0};
    if (status == STATUS_OK && is_start && !postgres->owns_publication) {
        status = tell_given(postgres, &wanted, &scratch, &facts, err);
    }
    if (status == STATUS_OK) {
        tell_identity(postgres, &facts, &wanted, &scratch);
    }
    arena_done(&scratch);
    return status;
}

Status postgres_publish(Postgres *postgres, Error *err)
{
    if (!postgres->base.context.keeps_tables) {
        return publish_wanted(postgres, err);
    }
    return postgres->stream.is_started ? STATUS_OK : keep_published(postgres, err);
}
