// Which tables are wanted, by the patterns, and which are published.
#include <assert.h>

#include "config/table_pattern.h"
#include "sources/postgres.h"

static bool any_matches(const StrList *patterns, Str schema, Str name)
{
    for (size_t i = 0; i < patterns->count; i++) {
        if (table_pattern_matches(patterns->items[i], schema, name)) {
            return true;
        }
    }
    return false;
}

static bool is_excluded(const Postgres *postgres, Str schema, Str name)
{
    return any_matches(&postgres->exclude_tables, schema, name);
}

static bool matches(const Postgres *postgres, Str schema, Str name)
{
    bool is_included = postgres->tables.count == 0 || any_matches(&postgres->tables, schema, name);
    return is_included && !is_excluded(postgres, schema, name);
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
        if (!table_pattern_matches(text, table->schema, table->name)) {
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

static const CatalogTable *root_of(const CatalogTables *all, const CatalogTable *table)
{
    return table->is_partition ? catalog_find(all, table->root_oid) : NULL;
}

static bool is_wanted(const Postgres *postgres, const CatalogTables *all, const CatalogTable *table)
{
    if (!can_be_published(table) || !matches(postgres, table->schema, table->name)) {
        return false;
    }
    // A partition comes with its root, unless only the partition is asked for.
    const CatalogTable *root = root_of(all, table);
    return root == NULL || (postgres->tables.count > 0 &&
                            !any_matches(&postgres->tables, root->schema, root->name) &&
                            !is_excluded(postgres, root->schema, root->name));
}

// ---------------------------------------------------------------------------------------------
// Exclusions
// ---------------------------------------------------------------------------------------------

// Whether what is published comes as whole partitioned tables, and not leaf by leaf with a choice.
static Status comes_whole(Postgres *postgres, Arena *arena, bool *ret, Error *err)
{
    *ret = true;
    if (postgres_find_owner(postgres, arena, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (postgres->owns_publication) {
        return STATUS_OK;
    }
    PublicationFacts facts;
    if (postgres_look_up_publication(postgres, postgres->publication_name, arena, &facts, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = !facts.exists || facts.via_root;
    return STATUS_OK;
}

// What comes with the rest of its table cannot be left out, and must not seem to be.
static Status check_part(const Postgres *postgres, const CatalogTables *all,
                         const CatalogTable *table, Error *err)
{
    const CatalogTable *root = root_of(all, table);
    if (root == NULL || !is_excluded(postgres, table->schema, table->name) ||
        !matches(postgres, root->schema, root->name)) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG,
              "table \"%" STR_FMT ".%" STR_FMT "\" cannot be excluded by itself: it is a partition "
              "of \"%" STR_FMT ".%" STR_FMT "\", which is streamed as a whole",
              STR_ARG(table->schema), STR_ARG(table->name), STR_ARG(root->schema),
              STR_ARG(root->name));
    return error_hint(err, "Exclude that one, or none of its partitions.");
}

static const char *idle_exclusions(const Postgres *postgres, const CatalogTables *all, Arena *arena)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, 64 * 1024);
    for (size_t i = 0; i < postgres->exclude_tables.count; i++) {
        Str pattern = postgres->exclude_tables.items[i];
        bool is_idle = true;
        for (size_t j = 0; is_idle && j < all->count; j++) {
            is_idle = !table_pattern_matches(pattern, all->items[j].schema, all->items[j].name);
        }
        if (is_idle) {
            buf_printf(&text, "%s\"%" STR_FMT "\"", text.len == 0 ? "" : ", ", STR_ARG(pattern));
        }
    }
    return text.len == 0 ? NULL : str_copy(arena, buf_view(&text)).ptr;
}

// One that matches nothing is no error: the table may have been dropped, or not be there yet.
static Status check_exclusions(Postgres *postgres, const CatalogTables *all, Arena *arena,
                               WantedTables *ret, Error *err)
{
    bool whole;
    if (postgres->exclude_tables.count == 0) {
        return STATUS_OK;
    }
    if (comes_whole(postgres, arena, &whole, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < all->count; i++) {
        const CatalogTable *table = &all->items[i];
        bool is_part = table->is_partition && (whole || table->kind == 'p');
        if (is_part && check_part(postgres, all, table, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    ret->idle_exclusions = idle_exclusions(postgres, all, arena);
    return STATUS_OK;
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

// Without a column there is nothing to publish: such a table is left out, and that is said once.
static bool has_columns(const Postgres *postgres, const CatalogTable *table)
{
    for (uint16_t i = 0; i < table->column_count; i++) {
        const CatalogColumn *column = &table->columns[i];
        bool may_be_published = postgres->server_version >= 180000 && !column->is_virtual;
        if (!column->is_generated || may_be_published) {
            return true;
        }
    }
    if (!postgres->stream.is_started) {
        notice_tell(&postgres->base.context.notice,
                    "table \"%" STR_FMT ".%" STR_FMT "\" has no column to publish: it is left out",
                    STR_ARG(table->schema), STR_ARG(table->name));
    }
    return false;
}

Status postgres_wanted(Postgres *postgres, Arena *arena, WantedTables *ret, Error *err)
{
    Catalog catalog = postgres_catalog(postgres);
    CatalogTables all;
    CatalogTables tables;
    *ret = (WantedTables){0};
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
    if (!postgres->stream.is_started &&
        check_exclusions(postgres, &all, arena, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (load_wanted(postgres, &all, arena, &tables, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    ret->listed = all;
    ret->loaded = tables;
    ret->items = ARENA_ARRAY(arena, WantedTable, tables.count);
    for (size_t i = 0; i < tables.count; i++) {
        if (has_columns(postgres, &tables.items[i])) {
            ret->items[ret->count++] = (WantedTable){
                .table = &tables.items[i],
                .append_only = !catalog_has_identity(&tables.items[i]),
            };
        }
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Published tables
// ---------------------------------------------------------------------------------------------

bool postgres_is_passing(const Error *err)
{
    static const char *const states[] = {"42P01", "42704", "42710", "3F000", "XX000", "55P03"};
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (strcmp(err->sqlstate, states[i]) == 0) {
            return true;
        }
    }
    return false;
}

// pg_publication_tables gives what arrives: roots or leaves, and since Postgres 15 the columns.
static const char published_query[] =
    "SELECT DISTINCT ON (n.nspname, c.relname) c.oid, %s, %s, %s FROM pg_publication_tables t"
    "  JOIN pg_namespace n ON n.nspname = t.schemaname"
    "  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename"
    " WHERE t.pubname IN ($1, $2) ORDER BY n.nspname, c.relname";

// FOR TABLES IN SCHEMA, since Postgres 15.
static const char schema_entries[] =
    "UNION ALL SELECT concat(s.oid, ' ', p.xmin) FROM pg_publication p"
    "   JOIN pg_publication_namespace s ON s.pnpubid = p.oid"
    "  WHERE p.pubname = %s AND s.pnnspid IN (SELECT k.relnamespace FROM pg_class k"
    "        WHERE k.oid = c.oid OR k.oid IN (SELECT relid FROM pg_partition_ancestors(c.oid)))";

// What publishes table c in the @publication, $1 or $2: its entries for the table, for one that it
// is a partition of, for its schema, or for all tables. The publication's own row has a new version
// when it is to publish other kinds of changes, and so has a partition's when it is attached again.
static const char *entries(const Postgres *postgres, const char *publication, Arena *arena)
{
    const char *schemas =
        postgres->server_version >= 150000 ? arena_printf(arena, schema_entries, publication) : "";
    return arena_printf(
        arena,
        "(SELECT hashtextextended(string_agg(e.entry, ',' ORDER BY e.entry)"
        "   || (SELECT coalesce(string_agg(concat(i.inhrelid, ' ', i.xmin), ',' ORDER BY "
        "i.inhrelid), '')"
        "         FROM pg_inherits i WHERE i.inhrelid = c.oid OR"
        "              i.inhrelid IN (SELECT relid FROM pg_partition_ancestors(c.oid))), 0) FROM ("
        " SELECT concat(p.oid, ' ', p.xmin) AS entry FROM pg_publication p WHERE p.pubname = %s "
        "AND p.puballtables"
        " UNION ALL SELECT concat(r.oid, ' ', p.xmin) FROM pg_publication p"
        "   JOIN pg_publication_rel r ON r.prpubid = p.oid"
        "  WHERE p.pubname = %s AND (r.prrelid = c.oid OR"
        "        r.prrelid IN (SELECT relid FROM pg_partition_ancestors(c.oid))) %s) e)",
        publication, publication, schemas);
}

typedef struct PublishedTable {
    Str *columns;
    size_t column_count; // 0: all that are not generated
    uint64_t published;  // see Relation
} PublishedTable;

typedef struct Published {
    uint32_t *oids;
    PublishedTable *items; // as many
    size_t count;
    // They were looked up for it, in the same snapshot; items NULL: not yet.
    CatalogTables listed;
    CatalogTables loaded;
} Published;

static void read_columns(const PGresult *result, int row, Arena *arena, PublishedTable *table)
{
    Str rest = str_copy(arena, str_from(pg_value(result, row, 1)));
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
    table->columns = names;
    table->column_count = count;
}

// Two columns from @column on: the entries of the main publication, and those of the second one.
static uint64_t read_entries(const PGresult *result, int row, int column)
{
    int64_t digest;
    uint64_t flag = 0;
    if (!str_to_int64(str_from(pg_value(result, row, column)), &digest)) {
        flag = PUBLISHED_INSERTS;
        if (!str_to_int64(str_from(pg_value(result, row, column + 1)), &digest)) {
            return PUBLISHED_NO_MORE;
        }
    }
    return MAX((uint64_t)digest & ~PUBLISHED_INSERTS, PUBLISHED_NO_MORE + 1) | flag;
}

Status postgres_publishing(Postgres *postgres, uint32_t oid, uint64_t *ret, Error *err)
{
    Arena scratch = {0};
    const char *parameters[3];
    postgres_publication_names(postgres, &scratch, parameters);
    parameters[2] = arena_printf(&scratch, "%u", oid);
    const char *sql =
        arena_printf(&scratch, "SELECT %s, %s FROM (SELECT $3::oid AS oid) c",
                     entries(postgres, "$1", &scratch), entries(postgres, "$2", &scratch));
    PgWait wait = postgres_wait(postgres);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    Status status = pg_query(postgres->sql, &wait, sql, 3, parameters, &result, err);
    arena_done(&scratch);
    if (status == STATUS_OK) {
        *ret = read_entries(result, 0, 0);
    }
    return status;
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
    const char *sql = arena_printf(arena, published_query, columns, entries(postgres, "$1", arena),
                                   entries(postgres, "$2", arena));
    const char *parameters[2];
    postgres_publication_names(postgres, arena, parameters);
    PgWait wait = postgres_wait(postgres);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(postgres->sql, &wait, sql, 2, parameters, &result, err) != STATUS_OK) {
        if (err != NULL && postgres_is_passing(err)) {
            err->kind = ERROR_TRANSIENT;
        }
        return error_wrap(err, "look up what is published");
    }
    size_t rows = (size_t)PQntuples(result);
    *ret = (Published){
        .oids = ARENA_ARRAY(arena, uint32_t, rows),
        .items = ARENA_ARRAY(arena, PublishedTable, rows),
    };
    for (int i = 0; i < (int)rows; i++) {
        uint64_t oid;
        if (str_to_uint64(str_from(pg_value(result, i, 0)), &oid)) {
            PublishedTable *table = &ret->items[ret->count];
            ret->oids[ret->count++] = (uint32_t)oid;
            read_columns(result, i, arena, table);
            table->published = read_entries(result, i, 2);
        }
    }
    return STATUS_OK;
}

// What a publication of ours publishes: one that was there before the server was upgraded to 18 has
// no stored generated columns.
static Status publishes_generated(Postgres *postgres, Arena *arena, bool *ret, Error *err)
{
    *ret = postgres->server_version >= 180000;
    if (!*ret) {
        return STATUS_OK;
    }
    PublicationFacts facts;
    if (postgres_look_up_publication(postgres, postgres->publication_name, arena, &facts, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = !facts.exists || facts.has_generated;
    return STATUS_OK;
}

static void stored_columns(const CatalogTable *table, Arena *arena, PublishedTable *ret)
{
    ret->columns = ARENA_ARRAY(arena, Str, table->column_count);
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (!table->columns[i].is_virtual) {
            ret->columns[ret->column_count++] = table->columns[i].column.name;
        }
    }
}

// `weir copy` needs no publication: what the patterns want is what is copied.
static Status wanted_as_published(Postgres *postgres, Arena *arena, Published *ret, Error *err)
{
    WantedTables wanted;
    bool has_generated;
    if (postgres_wanted(postgres, arena, &wanted, err) != STATUS_OK ||
        publishes_generated(postgres, arena, &has_generated, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = (Published){
        .oids = ARENA_ARRAY(arena, uint32_t, wanted.count),
        .items = ARENA_ARRAY(arena, PublishedTable, wanted.count),
        .count = wanted.count,
        .listed = wanted.listed,
        .loaded = wanted.loaded,
    };
    for (size_t i = 0; i < wanted.count; i++) {
        ret->oids[i] = wanted.items[i].table->oid;
        if (has_generated) {
            stored_columns(wanted.items[i].table, arena, &ret->items[i]);
        }
    }
    return STATUS_OK;
}

// A leaf that is published by itself comes with its root, too, and is excluded with it.
static bool is_named(const Postgres *postgres, const CatalogTables *all, const CatalogTable *table)
{
    const CatalogTable *root = root_of(all, table);
    if (root != NULL && is_excluded(postgres, root->schema, root->name)) {
        return false;
    }
    return matches(postgres, table->schema, table->name) ||
           (root != NULL && postgres->owns_publication &&
            !is_excluded(postgres, table->schema, table->name) &&
            matches(postgres, root->schema, root->name));
}

// The stream names a leaf, and not what it is a partition of.
static Status is_part_of_excluded(Postgres *postgres, uint32_t oid, bool *ret, Error *err)
{
    *ret = false;
    if (postgres->exclude_tables.count == 0) {
        return STATUS_OK;
    }
    char number[16];
    (void)snprintf(number, sizeof(number), "%u", oid);
    const char *parameters[] = {number};
    PgWait wait = postgres_wait(postgres);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(
            postgres->sql, &wait,
            "SELECT n.nspname, c.relname FROM pg_partition_ancestors($1::oid) a"
            "  JOIN pg_class c ON c.oid = a.relid JOIN pg_namespace n ON n.oid = c.relnamespace",
            1, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (int i = 0; !*ret && i < PQntuples(result); i++) {
        *ret = is_excluded(postgres, str_from(pg_value(result, i, 0)),
                           str_from(pg_value(result, i, 1)));
    }
    return STATUS_OK;
}

Status postgres_takes(Postgres *postgres, uint32_t oid, Str schema, Str name, bool *ret, Error *err)
{
    *ret = true;
    if (postgres->owns_publication) {
        return STATUS_OK;
    }
    // Those that the pipeline has, and no others: also where it was given other patterns before.
    if (postgres->base.context.keeps_tables) {
        *ret = postgres_stream_is_told(postgres, oid);
        return STATUS_OK;
    }
    bool is_part = false;
    *ret = matches(postgres, schema, name);
    if (*ret && is_part_of_excluded(postgres, oid, &is_part, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = *ret && !is_part;
    return STATUS_OK;
}

static Status is_wanted_here(Postgres *postgres, const CatalogTables *all,
                             const CatalogTable *table, bool *ret, Error *err)
{
    const SourceContext *context = &postgres->base.context;
    if (!context->copy_only && !context->narrows_tables) {
        return postgres_takes(postgres, table->oid, table->schema, table->name, ret, err);
    }
    *ret = context->copy_only || is_named(postgres, all, table);
    return STATUS_OK;
}

static Status look_up(Postgres *postgres, Published *published, Arena *arena, Error *err)
{
    Catalog catalog = postgres_catalog(postgres);
    if (published->loaded.items == NULL &&
        catalog_load(&catalog, published->oids, published->count, arena, &published->loaded, err) !=
            STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_missing = published->listed.items == NULL && postgres->base.context.narrows_tables;
    return is_missing ? catalog_list(&catalog, arena, &published->listed, err) : STATUS_OK;
}

// The tables of @published that are wanted. In @arena.
static Status describe(Postgres *postgres, Published *published, Arena *arena, SourceTables *ret,
                       Error *err)
{
    Arena scratch = {0};
    Status status = look_up(postgres, published, &scratch, err);
    *ret = (SourceTables){.items = ARENA_ARRAY(arena, SourceTable, published->count)};
    for (size_t i = 0; status == STATUS_OK && i < published->count; i++) {
        const CatalogTable *table = catalog_find(&published->loaded, published->oids[i]);
        bool is_ours = false;
        if (table != NULL) {
            status = is_wanted_here(postgres, &published->listed, table, &is_ours, err);
        }
        if (status != STATUS_OK || !is_ours) {
            continue;
        }
        const PublishedTable *item = &published->items[i];
        Relation *relation;
        status = catalog_relation(table, item->columns, item->column_count, arena, &relation, err);
        if (status == STATUS_OK) {
            relation->published = item->published;
            ret->items[ret->count++] =
                (SourceTable){relation, table->row_estimate, table->byte_estimate};
        }
    }
    arena_done(&scratch);
    return status;
}

Status postgres_published(Postgres *postgres, bool as_wanted, Arena *arena, SourceTables *ret,
                          Error *err)
{
    PgWait wait = postgres_wait(postgres);
    bool is_begun;
    if (pg_begin_snapshot(postgres->sql, &wait, &is_begun, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Arena scratch = {0};
    Published published = {0};
    Status status = as_wanted ? wanted_as_published(postgres, &scratch, &published, err)
                              : read_published(postgres, &scratch, &published, err);
    if (status == STATUS_OK) {
        status = describe(postgres, &published, arena, ret, err);
    }
    arena_done(&scratch);
    Status ended = pg_end_snapshot(postgres->sql, &wait, is_begun, status == STATUS_OK, err);
    return status == STATUS_OK ? ended : STATUS_FAIL;
}

static const char digest_query[] =
    "SELECT hashtextextended(concat("
    "  (SELECT string_agg(concat_ws(' ', c.oid, c.relnamespace, c.relname, c.relreplident),"
    "                     ',' ORDER BY c.oid)"
    "     FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'"
    "      AND c.oid >= 16384), '|',"
    "  (SELECT string_agg(concat_ws(' ', i.indexrelid, i.indisprimary), ',' ORDER BY i.indexrelid)"
    "     FROM pg_index i WHERE i.indisprimary OR i.indisreplident), '|',"
    "  (SELECT string_agg(concat_ws(' ', h.inhrelid, h.inhparent, h.xmin), ',' ORDER BY h.inhrelid,"
    "                     h.inhparent) FROM pg_inherits h), '|',"
    "  (SELECT string_agg(concat_ws(' ', p.oid, p.xmin), ',' ORDER BY p.oid)"
    "     FROM pg_publication p WHERE p.pubname IN ($1, $2)), '|',"
    "  (SELECT string_agg(concat_ws(' ', r.oid, r.prrelid), ',' ORDER BY r.oid)"
    "     FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid"
    "    WHERE p.pubname IN ($1, $2)), '|', %s), 0)";

// FOR TABLES IN SCHEMA, since Postgres 15.
static const char schemas_query[] =
    "(SELECT string_agg(concat_ws(' ', s.oid, s.pnnspid), ',' ORDER BY s.oid)"
    "   FROM pg_publication_namespace s JOIN pg_publication p ON p.oid = s.pnpubid"
    "  WHERE p.pubname IN ($1, $2))";

Status postgres_tables_digest(Postgres *postgres, char ret[static TABLES_DIGEST_SIZE], Error *err)
{
    Arena scratch = {0};
    const char *parameters[2];
    postgres_publication_names(postgres, &scratch, parameters);
    PgWait wait = postgres_wait(postgres);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    const char *schemas = postgres->server_version >= 150000 ? schemas_query : "''";
    const char *sql = arena_printf(&scratch, digest_query, schemas);
    Status status = pg_query(postgres->sql, &wait, sql, 2, parameters, &result, err);
    arena_done(&scratch);
    if (status != STATUS_OK) {
        return error_wrap(err, "look for new tables");
    }
    (void)snprintf(ret, TABLES_DIGEST_SIZE, "%s", pg_value(result, 0, 0));
    return STATUS_OK;
}
