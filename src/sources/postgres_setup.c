// What has to be on the server before the stream: publications that name the tables, and the slot.
//
// A table whose rows cannot be identified (no primary key, no replica identity) must not be in a
// publication of updates and deletes: Postgres would then refuse those in the user's application.
// So such tables go into a second publication, of inserts and truncates only.
#include <assert.h>

#include "sources/postgres.h"

static const char append_suffix[] = "_append";

// ---------------------------------------------------------------------------------------------
// Patterns: schema.table, schema.*, table
// ---------------------------------------------------------------------------------------------

// One part of a pattern: quoted as in SQL, or as it stands.
static bool take_part(Str *rest, Arena *arena, Str *ret)
{
    if (rest->len == 0 || rest->ptr[0] != '"') {
        ptrdiff_t dot = str_find(*rest, '.');
        size_t len = dot < 0 ? rest->len : (size_t)dot;
        *ret = (Str){rest->ptr, len};
        *rest = (Str){rest->ptr + len, rest->len - len};
        return len > 0;
    }
    char *name = arena_alloc_bytes(arena, rest->len);
    size_t len = 0;
    for (size_t i = 1; i < rest->len; i++) {
        bool quote = rest->ptr[i] == '"';
        bool doubled = quote && i + 1 < rest->len && rest->ptr[i + 1] == '"';
        if (quote && !doubled) {
            *ret = (Str){name, len};
            *rest = (Str){rest->ptr + i + 1, rest->len - i - 1};
            return len > 0;
        }
        name[len++] = rest->ptr[i];
        i += doubled ? 1 : 0;
    }
    return false;
}

typedef struct Pattern {
    Str schema; // ptr NULL: any
    Str name;   // ptr NULL: any
} Pattern;

static bool parse_pattern(Str text, Arena *arena, Pattern *ret)
{
    Str rest = text;
    Str first;
    if (!take_part(&rest, arena, &first)) {
        return false;
    }
    if (rest.len == 0) {
        *ret = (Pattern){.name = str_is(first, "*") ? (Str){NULL, 0} : first};
        return true;
    }
    if (rest.ptr[0] != '.') {
        return false;
    }
    rest = (Str){rest.ptr + 1, rest.len - 1};
    Str second = rest;
    bool quoted = rest.len > 0 && rest.ptr[0] == '"';
    if (!quoted) {
        // A name with a dot in it needs no quotes behind the schema.
        rest.len = 0;
    } else if (!take_part(&rest, arena, &second)) {
        return false;
    }
    if (rest.len != 0 || second.len == 0) {
        return false;
    }
    *ret = (Pattern){.schema = str_is(first, "*") ? (Str){NULL, 0} : first,
                     .name = str_is(second, "*") && !quoted ? (Str){NULL, 0} : second};
    return true;
}

static bool pattern_matches(Str text, Str schema, Str name)
{
    Arena scratch = {0};
    Pattern pattern;
    bool matches = parse_pattern(text, &scratch, &pattern) &&
                   (pattern.schema.ptr == NULL || str_equal(pattern.schema, schema)) &&
                   (pattern.name.ptr == NULL || str_equal(pattern.name, name));
    arena_done(&scratch);
    // As it stands, too: a table "a.b" is named by a.b when no schema a has a table b.
    return matches || str_equal(text, name);
}

bool postgres_matches(const Postgres *postgres, Str schema, Str name)
{
    if (postgres->tables.count == 0) {
        return true;
    }
    for (size_t i = 0; i < postgres->tables.count; i++) {
        if (pattern_matches(postgres->tables.items[i], schema, name)) {
            return true;
        }
    }
    return false;
}

// ---------------------------------------------------------------------------------------------
// Wanted tables
// ---------------------------------------------------------------------------------------------

static bool can_be_published(const CatalogTable *table)
{
    return (table->kind == 'r' || table->kind == 'p') && table->persistence == 'p';
}

static const char *kind_name(const CatalogTable *table)
{
    switch (table->kind) {
    case 'v':
        return "a view";
    case 'm':
        return "a materialized view";
    case 'f':
        return "a foreign table";
    default:
        return table->persistence == 'u' ? "an unlogged table" : "a temporary table";
    }
}

// Every pattern has to name something, so that a typing error does not pass for an empty table.
static Status check_pattern(Str text, const CatalogTables *all, Error *err)
{
    const CatalogTable *unfit = NULL;
    for (size_t i = 0; i < all->count; i++) {
        const CatalogTable *table = &all->items[i];
        if (!pattern_matches(text, table->schema, table->name)) {
            continue;
        }
        if (can_be_published(table)) {
            return STATUS_OK;
        }
        unfit = table;
    }
    if (unfit != NULL) {
        error_set(err, ERROR_CONFIG,
                  "\"%" STR_FMT ".%" STR_FMT "\" is %s: its changes are not in the WAL",
                  STR_ARG(unfit->schema), STR_ARG(unfit->name), kind_name(unfit));
        return error_hint(err, "Only permanent tables can be streamed.");
    }
    error_set(err, ERROR_CONFIG, "no table matches \"%" STR_FMT "\"", STR_ARG(text));
    return error_hint(err,
                      "Write schema.table, schema.* or table, with double quotes around a name "
                      "that has a dot or a star in it: public.\"odd.name\".");
}

static bool is_wanted(const Postgres *postgres, const CatalogTables *all, const CatalogTable *table)
{
    if (!can_be_published(table) || !postgres_matches(postgres, table->schema, table->name)) {
        return false;
    }
    if (!table->is_partition) {
        return true;
    }
    // A partition comes with its root, unless only the partition is asked for.
    for (size_t i = 0; i < all->count; i++) {
        if (all->items[i].oid == table->root_oid) {
            return postgres->tables.count > 0 &&
                   !postgres_matches(postgres, all->items[i].schema, all->items[i].name);
        }
    }
    return true;
}

static Status load_wanted(Postgres *postgres, const CatalogTables *all, Arena *arena,
                          CatalogTables *ret, Error *err)
{
    uint32_t *oids = ARENA_ARRAY(arena, uint32_t, all->count);
    size_t count = 0;
    for (size_t i = 0; i < all->count; i++) {
        if (is_wanted(postgres, all, &all->items[i])) {
            oids[count++] = all->items[i].oid;
        }
    }
    Catalog catalog = postgres_catalog(postgres);
    return catalog_load(&catalog, oids, count, arena, ret, err);
}

Status postgres_wanted(Postgres *postgres, Arena *arena, WantedTables *ret, Error *err)
{
    Catalog catalog = postgres_catalog(postgres);
    CatalogTables all;
    CatalogTables tables;
    if (catalog_list(&catalog, arena, &all, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // A table that is dropped later is no typing error.
    size_t patterns = postgres->stream.is_started ? 0 : postgres->tables.count;
    for (size_t i = 0; i < patterns; i++) {
        if (check_pattern(postgres->tables.items[i], &all, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    if (load_wanted(postgres, &all, arena, &tables, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    ret->items = ARENA_ARRAY(arena, WantedTable, tables.count);
    ret->count = tables.count;
    for (size_t i = 0; i < tables.count; i++) {
        ret->items[i] = (WantedTable){
            .table = &tables.items[i],
            .append_only = !catalog_has_identity(&tables.items[i]),
        };
    }
    return STATUS_OK;
}

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
        if (*at >= 'A' && *at <= 'Z') {
            *at = (char)(*at - 'A' + 'a');
        } else if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9'))) {
            *at = '_';
        }
    }
    return str_from(slot);
}

Status postgres_choose_names(Postgres *postgres, Error *err)
{
    (void)err;
    postgres->slot_name = postgres->slot;
    if (postgres->slot_name.len == 0) {
        postgres->slot_name = slot_from_pipeline(postgres->base.context.pipeline, &postgres->arena);
    }
    if (postgres->base.context.copy_only) {
        postgres->publication_name = (Str){NULL, 0};
        return STATUS_OK;
    }
    postgres->publication_name = postgres->publication;
    postgres->owns_publication = postgres->publication.len == 0;
    if (postgres->owns_publication) {
        postgres->publication_name = postgres->slot_name;
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Publications
// ---------------------------------------------------------------------------------------------

typedef struct Publication {
    bool exists;
    bool all_tables;
    bool updates_and_deletes;
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
            "SELECT p.puballtables, p.pubupdate AND p.pubdelete, r.prrelid, n.nspname, c.relname"
            "  FROM pg_publication p LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid"
            "  LEFT JOIN pg_class c ON c.oid = r.prrelid"
            "  LEFT JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = $1",
            1, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int rows = PQntuples(result);
    *ret =
        (Publication){.exists = rows > 0, .tables = ARENA_ARRAY(arena, CatalogTable, (size_t)rows)};
    for (int i = 0; i < rows; i++) {
        ret->all_tables = PQgetvalue(result, i, 0)[0] == 't';
        ret->updates_and_deletes = PQgetvalue(result, i, 1)[0] == 't';
        uint64_t oid;
        if (!PQgetisnull(result, i, 2) && str_to_uint64(str_from(PQgetvalue(result, i, 2)), &oid)) {
            ret->tables[ret->count++] = (CatalogTable){
                .oid = (uint32_t)oid,
                .schema = str_copy(arena, str_from(PQgetvalue(result, i, 3))),
                .name = str_copy(arena, str_from(PQgetvalue(result, i, 4))),
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
static void append_changes(Buf *sql, Str name, const Publication *existing,
                           const WantedTables *wanted, bool append_only)
{
    for (size_t i = 0; i < wanted->count; i++) {
        const WantedTable *table = &wanted->items[i];
        if (table->append_only == append_only && !publication_has(existing, table->table->oid)) {
            append_alter(sql, name, " ADD TABLE ONLY ", table->table);
        }
    }
    for (size_t i = 0; i < existing->count; i++) {
        if (!belongs(wanted, existing->tables[i].oid, append_only)) {
            append_alter(sql, name, " DROP TABLE ONLY ", &existing->tables[i]);
        }
    }
}

// A table that was dropped between the look at the catalogs and the statement: look again.
static bool is_passing(const Error *err)
{
    static const char *const states[] = {"42P01", "42704", "42710", "3F000", "XX000"};
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (strcmp(err->sqlstate, states[i]) == 0) {
            return true;
        }
    }
    return false;
}

static Status run_setup(Postgres *postgres, Buf *sql, Error *err)
{
    if (buf_check(sql, "a statement", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    PgWait wait = postgres_wait(postgres);
    if (pg_run(postgres->sql, &wait, buf_cstring(sql), err) == STATUS_OK) {
        return STATUS_OK;
    }
    if (err != NULL && strcmp(err->sqlstate, "42501") == 0) {
        error_hint(err,
                   "Let somebody who owns the tables run: %" STR_FMT "; and then name it with "
                   "--publication.",
                   STR_ARG(buf_view(sql)));
    }
    return error_wrap(err, "set up the publication");
}

// Append what makes the publication, or brings it in step.
static Status keep_publication(Postgres *postgres, Str name, const WantedTables *wanted,
                               bool append_only, Arena *arena, Buf *sql, Error *err)
{
    Publication existing;
    if (read_publication(postgres, name, arena, &existing, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!existing.exists) {
        // Also when no table needs it yet: the stream names its publications once, and Postgres
        // looks them up as they were at each transaction.
        postgres_create_publication(postgres, sql, name, wanted, append_only);
        buf_cstr(sql, "; ");
    } else if (!existing.all_tables) {
        append_changes(sql, name, &existing, wanted, append_only);
    }
    return STATUS_OK;
}

static Str append_name(const Postgres *postgres, Arena *arena)
{
    return str_from(
        arena_printf(arena, "%" STR_FMT "%s", STR_ARG(postgres->publication_name), append_suffix));
}

// A publication that was named and is there is somebody else's, and read as it is, unless we made
// it in an earlier run: then its companion is there, too.
static Status find_owner(Postgres *postgres, Arena *arena, Error *err)
{
    Publication given;
    Publication companion;
    if (postgres->publication.len == 0) {
        postgres->owns_publication = true;
        return STATUS_OK;
    }
    if (read_publication(postgres, postgres->publication_name, arena, &given, err) != STATUS_OK ||
        read_publication(postgres, append_name(postgres, arena), arena, &companion, err) !=
            STATUS_OK) {
        return STATUS_FAIL;
    }
    postgres->owns_publication = !given.exists || companion.exists;
    return STATUS_OK;
}

static Status publish_owned(Postgres *postgres, const WantedTables *wanted, Arena *arena,
                            Error *err)
{
    Str append = append_name(postgres, arena);
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

static void tell_append_only(const Postgres *postgres, const CatalogTable *table, Arena *arena)
{
    const SourceContext *context = &postgres->base.context;
    context->notice(
        context->notice_context,
        arena_printf(arena,
                     "table \"%" STR_FMT ".%" STR_FMT
                     "\" has no replica identity: its inserts are streamed, its updates "
                     "and deletes cannot be (weir check says what mends it)",
                     STR_ARG(table->schema), STR_ARG(table->name)));
}

Status postgres_publish(Postgres *postgres, Error *err)
{
    Arena scratch = {0};
    WantedTables wanted;
    Status status = postgres_wanted(postgres, &scratch, &wanted, err);
    bool is_start = !postgres->stream.is_started;
    if (status == STATUS_OK && is_start) {
        status = find_owner(postgres, &scratch, err);
    }
    if (status == STATUS_OK && wanted.count == 0 && postgres->owns_publication && is_start) {
        error_set(err, ERROR_CONFIG, "there is no table to stream in database \"%" STR_FMT "\"",
                  STR_ARG(postgres->database));
        status = error_hint(err, "Create a table first, or connect to another database.");
    }
    if (status == STATUS_OK && postgres->owns_publication) {
        status = publish_owned(postgres, &wanted, &scratch, err);
    }
    for (size_t i = 0; status == STATUS_OK && is_start && i < wanted.count; i++) {
        if (wanted.items[i].append_only) {
            tell_append_only(postgres, wanted.items[i].table, &scratch);
        }
    }
    arena_done(&scratch);
    return status;
}

// ---------------------------------------------------------------------------------------------
// Published tables
// ---------------------------------------------------------------------------------------------

// pg_publication_tables gives what arrives: roots or leaves, and since Postgres 15 the columns.
static const char published_query[] =
    "SELECT DISTINCT ON (n.nspname, c.relname) c.oid, %s FROM pg_publication_tables t"
    "  JOIN pg_namespace n ON n.nspname = t.schemaname"
    "  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename"
    " WHERE t.pubname IN ($1, $2) ORDER BY n.nspname, c.relname";

typedef struct Published {
    uint32_t *oids;
    Str **columns;
    size_t *column_counts;
    size_t count;
} Published;

static void read_columns(const PGresult *result, int row, Arena *arena, Published *published)
{
    Str rest = str_copy(arena, str_from(PQgetvalue(result, row, 1)));
    Str *names = ARENA_ARRAY(arena, Str, rest.len / 3 + 1);
    size_t count = 0;
    uint64_t len;
    for (ptrdiff_t colon; (colon = str_find(rest, ':')) > 0;) {
        if (!str_to_uint64((Str){rest.ptr, (size_t)colon}, &len) ||
            len > rest.len - (size_t)colon - 1) {
            break;
        }
        size_t used = (size_t)colon + 1 + len;
        names[count++] = (Str){rest.ptr + colon + 1, len};
        rest = (Str){rest.ptr + used, rest.len - used};
    }
    published->columns[published->count] = names;
    published->column_counts[published->count] = count;
}

static Status read_published(Postgres *postgres, Arena *arena, Published *ret, Error *err)
{
    // Each name with its length in front: a name may hold any byte that could separate two.
    const char *columns = "''";
    if (postgres->server_version >= 180000) {
        columns = "(SELECT string_agg(octet_length(u.a::text) || ':' || u.a, '' ORDER BY u.n)"
                  "   FROM unnest(t.attnames) WITH ORDINALITY u (a, n))";
    } else if (postgres->server_version >= 150000) {
        // Of a table without a column list these name its generated columns, which are not sent.
        columns = "(SELECT string_agg(octet_length(a.attname::text) || ':' || a.attname, '' ORDER "
                  "BY a.attnum) FROM pg_attribute a"
                  "  WHERE a.attrelid = c.oid AND a.attname = ANY (t.attnames)"
                  "    AND a.attgenerated = '')";
    }
    char sql[2048];
    (void)snprintf(sql, sizeof(sql), published_query, columns);
    const char *parameters[] = {str_to_cstr(arena, postgres->publication_name),
                                postgres->append_publication.ptr == NULL
                                    ? NULL
                                    : str_to_cstr(arena, postgres->append_publication)};
    PgWait wait = postgres_wait(postgres);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(postgres->sql, &wait, sql, 2, parameters, &result, err) != STATUS_OK) {
        if (err != NULL && is_passing(err)) {
            err->kind = ERROR_TRANSIENT;
        }
        return STATUS_FAIL;
    }
    size_t rows = (size_t)PQntuples(result);
    *ret = (Published){
        .oids = ARENA_ARRAY(arena, uint32_t, rows),
        .columns = ARENA_ARRAY(arena, Str *, rows),
        .column_counts = ARENA_ARRAY(arena, size_t, rows),
    };
    for (int i = 0; i < (int)rows; i++) {
        uint64_t oid;
        if (str_to_uint64(str_from(PQgetvalue(result, i, 0)), &oid)) {
            ret->oids[ret->count] = (uint32_t)oid;
            read_columns(result, i, arena, ret);
            ret->count++;
        }
    }
    return STATUS_OK;
}

// `weir copy` needs no publication: what the patterns want is what is copied.
static Status wanted_as_published(Postgres *postgres, Arena *arena, Published *ret, Error *err)
{
    WantedTables wanted;
    if (postgres_wanted(postgres, arena, &wanted, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = (Published){
        .oids = ARENA_ARRAY(arena, uint32_t, wanted.count),
        .columns = ARENA_ARRAY(arena, Str *, wanted.count),
        .column_counts = ARENA_ARRAY(arena, size_t, wanted.count),
        .count = wanted.count,
    };
    for (size_t i = 0; i < wanted.count; i++) {
        ret->oids[i] = wanted.items[i].table->oid;
    }
    return STATUS_OK;
}

static Status describe_published(Postgres *postgres, const Published *published, Arena *arena,
                                 Error *err)
{
    Catalog catalog = postgres_catalog(postgres);
    CatalogTables tables;
    if (catalog_load(&catalog, published->oids, published->count, arena, &tables, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    SourceTables list = {.items = ARENA_ARRAY(&postgres->arena, SourceTable, published->count)};
    for (size_t i = 0; i < published->count; i++) {
        const CatalogTable *table = NULL;
        for (size_t j = 0; j < tables.count; j++) {
            table = tables.items[j].oid == published->oids[i] ? &tables.items[j] : table;
        }
        // What we publish ourselves is what the patterns want, leaves of a wanted root included.
        bool is_wanted_here =
            postgres->owns_publication || postgres->base.context.copy_only ||
            (table != NULL && postgres_matches(postgres, table->schema, table->name));
        if (table == NULL || !is_wanted_here) {
            continue;
        }
        Relation *relation;
        if (catalog_relation(table, published->columns[i], published->column_counts[i],
                             &postgres->arena, &relation, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        list.items[list.count++] = (SourceTable){relation, table->row_estimate, table->bytes};
    }
    postgres->published = list;
    return STATUS_OK;
}

Status postgres_read_published(Postgres *postgres, Error *err)
{
    Arena scratch = {0};
    Published published;
    Status status = postgres->base.context.copy_only
                        ? wanted_as_published(postgres, &scratch, &published, err)
                        : read_published(postgres, &scratch, &published, err);
    if (status == STATUS_OK) {
        status = describe_published(postgres, &published, &scratch, err);
    }
    arena_done(&scratch);
    return status;
}

static const char digest_query[] =
    "SELECT md5(concat("
    "  (SELECT string_agg(concat_ws(' ', c.oid, c.relnamespace, c.relname, c.relreplident,"
    "                               c.relhasindex), ',' ORDER BY c.oid)"
    "     FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'"
    "      AND c.oid >= 16384), '|',"
    "  (SELECT string_agg(concat_ws(' ', r.prpubid, r.prrelid), ',' ORDER BY r.prpubid, r.prrelid)"
    "     FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid"
    "    WHERE p.pubname IN ($1, $2))))";

Status postgres_tables_digest(Postgres *postgres, char ret[static 33], Error *err)
{
    Arena scratch = {0};
    const char *parameters[] = {str_to_cstr(&scratch, postgres->publication_name),
                                postgres->append_publication.ptr == NULL
                                    ? NULL
                                    : str_to_cstr(&scratch, postgres->append_publication)};
    PgWait wait = postgres_wait(postgres);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    Status status = pg_query(postgres->sql, &wait, digest_query, 2, parameters, &result, err);
    arena_done(&scratch);
    if (status != STATUS_OK) {
        return error_wrap(err, "look for new tables");
    }
    (void)snprintf(ret, 33, "%.32s", PQgetvalue(result, 0, 0));
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// The slot
// ---------------------------------------------------------------------------------------------

static Status slot_is_gone(const Postgres *postgres, Position stored, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "replication slot \"%" STR_FMT "\" does not exist any more: changes since " LSN_FMT
              " may be lost",
              STR_ARG(postgres->slot_name), LSN_ARG(stored.lsn));
    return error_hint(err, "Nothing was skipped. Start again with another --name, which copies the "
                           "tables anew (sink option existing=truncate empties them first).");
}

static Status slot_was_remade(const Postgres *postgres, Position stored, Lsn confirmed, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "replication slot \"%" STR_FMT "\" stands at " LSN_FMT
              ", but the target has only what was committed before " LSN_FMT
              ": it was dropped and made again, or somebody else has read from it",
              STR_ARG(postgres->slot_name), LSN_ARG(confirmed), LSN_ARG(stored.lsn));
    return error_hint(err, "Nothing was skipped. Start again with another --name, which copies the "
                           "tables anew (sink option existing=truncate empties them first).");
}

static Status check_slot_state(const Postgres *postgres, const PGresult *result, Error *err)
{
    const char *plugin = PQgetvalue(result, 0, 0);
    Str database = str_from(PQgetvalue(result, 0, 1));
    if (strcmp(plugin, "pgoutput") != 0) {
        error_set(
            err, ERROR_CONFIG, "replication slot \"%" STR_FMT "\" is for %s, not for pgoutput",
            STR_ARG(postgres->slot_name), plugin[0] == '\0' ? "physical replication" : plugin);
        return error_hint(err, "Name another slot with --slot; it is made when it is missing.");
    }
    if (!str_equal(database, postgres->database)) {
        error_set(err, ERROR_CONFIG,
                  "replication slot \"%" STR_FMT "\" belongs to database \"%" STR_FMT "\"",
                  STR_ARG(postgres->slot_name), STR_ARG(database));
        return error_hint(err, "Name another slot with --slot; it is made when it is missing.");
    }
    if (PQgetvalue(result, 0, 2)[0] == 't') {
        error_set(err, ERROR_TRANSIENT, "replication slot \"%" STR_FMT "\" is in use by process %s",
                  STR_ARG(postgres->slot_name), PQgetvalue(result, 0, 3));
        return error_hint(err, "Another weir may be reading it, or the server has not yet noticed "
                               "that an earlier connection is gone.");
    }
    if (strcmp(PQgetvalue(result, 0, 4), "lost") == 0) {
        error_set(err, ERROR_CONFIG,
                  "replication slot \"%" STR_FMT "\" is lost: the server has removed WAL that it "
                  "needs (max_slot_wal_keep_size)",
                  STR_ARG(postgres->slot_name));
        return error_hint(err,
                          "SELECT pg_drop_replication_slot('%" STR_FMT
                          "'); then start again with another --name, which copies the tables anew.",
                          STR_ARG(postgres->slot_name));
    }
    return STATUS_OK;
}

static Status use_slot(const Postgres *postgres, const PGresult *result, const Position *stored,
                       Position *ret_start, Error *err)
{
    Lsn confirmed;
    if (check_slot_state(postgres, result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!lsn_parse(str_from(PQgetvalue(result, 0, 5)), &confirmed)) {
        return error_set(err, ERROR_TRANSIENT, "replication slot \"%" STR_FMT "\" is not ready yet",
                         STR_ARG(postgres->slot_name));
    }
    if (stored != NULL && confirmed > stored->lsn) {
        return slot_was_remade(postgres, *stored, confirmed, err);
    }
    *ret_start = stored == NULL ? (Position){confirmed, 0} : *stored;
    return STATUS_OK;
}

static Status slot_refused(const Postgres *postgres, Error *err)
{
    if (err != NULL && strcmp(err->sqlstate, "53400") == 0) {
        err->kind = ERROR_CONFIG;
        error_hint(err,
                   "ALTER SYSTEM SET max_replication_slots = 20; and restart the server, or free "
                   "one: SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                   "WHERE NOT active AND slot_name = '…';");
    } else if (err != NULL && strstr(err->message, "wal_level") != NULL) {
        err->kind = ERROR_CONFIG;
        error_hint(err, "ALTER SYSTEM SET wal_level = logical; and restart the server.");
    } else if (err != NULL && strcmp(err->sqlstate, "42501") == 0) {
        error_hint(err, "ALTER ROLE \"%s\" REPLICATION;", PQuser(postgres->sql));
    }
    return error_wrap(err, "create replication slot \"%" STR_FMT "\"",
                      STR_ARG(postgres->slot_name));
}

static Status create_slot(Postgres *postgres, Position *ret_start, Error *err)
{
    char sql[256];
    (void)snprintf(sql, sizeof(sql),
                   "CREATE_REPLICATION_SLOT \"%" STR_FMT "\" LOGICAL pgoutput EXPORT_SNAPSHOT",
                   STR_ARG(postgres->slot_name));
    PgWait wait = postgres_wait(postgres);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_run_result(postgres->walsender, &wait, sql, &result, err) != STATUS_OK) {
        return slot_refused(postgres, err);
    }
    Lsn at;
    if (PQntuples(result) != 1 || PQnfields(result) < 3 ||
        !lsn_parse(str_from(PQgetvalue(result, 0, 1)), &at)) {
        return error_set(err, ERROR_DATA, "the server gave no consistent point for the slot");
    }
    postgres->fresh_snapshot = str_copy(&postgres->arena, str_from(PQgetvalue(result, 0, 2)));
    postgres->fresh_snapshot_lsn = at;
    *ret_start = (Position){at, 0};
    return STATUS_OK;
}

// The slot's row, or no row.
static Status read_slot(Postgres *postgres, PGresult **ret, Error *err)
{
    Arena scratch = {0};
    const char *parameters[] = {str_to_cstr(&scratch, postgres->slot_name)};
    PgWait wait = postgres_wait(postgres);
    Status status =
        pg_query(postgres->sql, &wait,
                 "SELECT coalesce(plugin, ''), database, active, active_pid, wal_status,"
                 "       confirmed_flush_lsn"
                 "  FROM pg_replication_slots WHERE slot_name = $1",
                 1, parameters, ret, err);
    arena_done(&scratch);
    return status;
}

Status postgres_slot(Postgres *postgres, const Position *stored, Position *ret_start, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (read_slot(postgres, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQntuples(result) > 0) {
        return use_slot(postgres, result, stored, ret_start, err);
    }
    return stored != NULL ? slot_is_gone(postgres, *stored, err)
                          : create_slot(postgres, ret_start, err);
}

Status postgres_slot_exists(Postgres *postgres, bool *ret, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (read_slot(postgres, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = PQntuples(result) > 0;
    return *ret ? check_slot_state(postgres, result, err) : STATUS_OK;
}

Status postgres_would_publish(Postgres *postgres, Error *err)
{
    Arena scratch = {0};
    Published published;
    Status status = find_owner(postgres, &scratch, err);
    // What is in a publication of somebody else's; otherwise what the patterns want.
    if (status == STATUS_OK) {
        status = postgres->owns_publication
                     ? wanted_as_published(postgres, &scratch, &published, err)
                     : read_published(postgres, &scratch, &published, err);
    }
    if (status == STATUS_OK) {
        status = describe_published(postgres, &published, &scratch, err);
    }
    arena_done(&scratch);
    return status;
}

Status postgres_publication_exists(Postgres *postgres, Str name, bool *ret, Error *err)
{
    Arena scratch = {0};
    Publication given;
    Status status = read_publication(postgres, name, &scratch, &given, err);
    *ret = status == STATUS_OK && given.exists;
    arena_done(&scratch);
    return status;
}
