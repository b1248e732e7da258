#include "pg/catalog.h"

#include <assert.h>

#include "base/limits.h"
#include "pg/catalog_match.h"
#include "pg/copy_text.h"

// One row a column. Domains are followed down to their base type, each level's typmod being the
// domain's own (pg_type.typtypmod). A true array is a variable-length type with an element type and
// the array subscripting handler. A file and its columns' versions only mean something together, so
// they are read by one statement.
static const char column_query[] =
    "WITH RECURSIVE col AS ("
    "  SELECT attrelid, attnum, attname, atttypid, atttypmod, attnotnull,"
    "         attgenerated <> '' AS generated, attgenerated = 'v' AS virtual,"
    "         atthasdef OR attidentity <> '' AS has_default,"
    "         CASE WHEN atthasmissing THEN (attmissingval::text::text[])[1] END AS missing,"
    "         pg_attribute.xmin::text AS version, relfilenode AS file, relnatts,"
    "         EXISTS (SELECT FROM pg_publication_rel r WHERE r.prrelid = attrelid"
    "                    AND to_jsonb(r) ->> 'prattrs' IS NOT NULL) AS has_list" // none in 14
    "    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
    "   WHERE attrelid = ANY ($1::oid[]) AND attnum > 0 AND NOT attisdropped),"
    " base (attrelid, attnum, oid, typmod, depth) AS ("
    "  SELECT attrelid, attnum, atttypid, atttypmod, 0 FROM col"
    "  UNION ALL"
    "  SELECT b.attrelid, b.attnum, t.typbasetype, t.typtypmod, b.depth + 1"
    "    FROM base b JOIN pg_type t ON t.oid = b.oid WHERE t.typtype = 'd')"
    " SELECT DISTINCT ON (col.attrelid, col.attnum)"
    "        col.attrelid, col.attnum, col.attname, col.atttypid, col.atttypmod,"
    "        format_type(col.atttypid, col.atttypmod), base.oid, base.typmod,"
    "        format_type(base.oid, base.typmod),"
    "        CASE WHEN t.typelem <> 0 AND t.typlen = -1"
    "              AND t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc"
    "             THEN 'a' ELSE t.typtype END,"
    "        col.attnotnull, col.generated, col.has_default, col.missing, col.version, col.file,"
    "        col.relnatts, col.has_list, col.virtual"
    "   FROM col JOIN base USING (attrelid, attnum) JOIN pg_type t ON t.oid = base.oid"
    "  ORDER BY col.attrelid, col.attnum, base.depth DESC";

// Nothing here may open a table, as pg_table_size() does: somebody's ALTER TABLE would hold us up.
static const char table_query[] =
    "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relispartition,"
    "       coalesce((SELECT a.relid::oid"
    "                   FROM pg_partition_ancestors(c.oid) WITH ORDINALITY a (relid, n)"
    "                  ORDER BY a.n DESC LIMIT 1), c.oid),"
    "       c.relreplident, coalesce(s.rows, -1)::bigint,"
    "       coalesce(s.pages * current_setting('block_size')::int, -1)::bigint"
    "  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    "  LEFT JOIN LATERAL ("
    "    WITH RECURSIVE tree (oid) AS ("
    "      SELECT c.oid UNION ALL"
    "      SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid"
    "       WHERE c.relkind = 'p')"
    "    SELECT sum(l.reltuples) FILTER (WHERE l.reltuples >= 0) AS rows,"
    "           sum(l.relpages + coalesce(t.relpages, 0)) FILTER (WHERE l.reltuples >= 0) AS pages"
    "      FROM tree JOIN pg_class l USING (oid) LEFT JOIN pg_class t ON t.oid = l.reltoastrelid"
    "     WHERE l.relkind = 'r') s"
    "    ON c.relkind IN ('r', 'p')";

static const char key_query[] =
    "SELECT indrelid, indisprimary, indisreplident, indimmediate,"
    "       (SELECT string_agg(k::text, ',' ORDER BY n)"
    "          FROM unnest(indkey::int2[]) WITH ORDINALITY u (k, n) WHERE n <= indnkeyatts)"
    "  FROM pg_index"
    " WHERE indrelid = ANY ($1::oid[]) AND indisvalid AND (indisprimary OR indisreplident)";

// ---------------------------------------------------------------------------------------------
// Fields of a result. The server is trusted to send what its catalogs hold, but not blindly.
// ---------------------------------------------------------------------------------------------

static Str field(const PGresult *result, int row, int column)
{
    return str_from(pg_value(result, row, column));
}

static Str field_copy(const PGresult *result, int row, int column, Arena *arena)
{
    return PQgetisnull(result, row, column) ? (Str){NULL, 0}
                                            : str_copy(arena, field(result, row, column));
}

static int64_t field_number(const PGresult *result, int row, int column, int64_t min, int64_t max)
{
    int64_t value;
    if (!str_to_int64(field(result, row, column), &value) || value < min || value > max) {
        return min;
    }
    return value;
}

static uint32_t field_oid(const PGresult *result, int row, int column)
{
    return (uint32_t)field_number(result, row, column, 0, UINT32_MAX);
}

static char field_char(const PGresult *result, int row, int column)
{
    return pg_value(result, row, column)[0];
}

static bool field_bool(const PGresult *result, int row, int column)
{
    return field_char(result, row, column) == 't';
}

static Str oid_array(const uint32_t *oids, size_t count, Arena *arena)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, (size_t)LIMIT_TABLES * 12 + 2);
    buf_char(&text, '{');
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            buf_char(&text, ',');
        }
        buf_uint64(&text, oids[i]);
    }
    buf_char(&text, '}');
    assert(!text.overflowed);
    return str_copy(arena, buf_view(&text));
}

// ---------------------------------------------------------------------------------------------
// Tables
// ---------------------------------------------------------------------------------------------

static ReplicaIdentity identity_from(char code)
{
    switch (code) {
    case 'n':
        return IDENTITY_NOTHING;
    case 'f':
        return IDENTITY_FULL;
    case 'i':
        return IDENTITY_INDEX;
    default:
        return IDENTITY_DEFAULT;
    }
}

static void read_tables(const PGresult *result, Arena *arena, CatalogTables *ret)
{
    size_t count = (size_t)PQntuples(result);
    ret->items = ARENA_ARRAY(arena, CatalogTable, count);
    ret->count = count;
    for (int i = 0; i < (int)count; i++) {
        ret->items[i] = (CatalogTable){
            .oid = field_oid(result, i, 0),
            .schema = field_copy(result, i, 1, arena),
            .name = field_copy(result, i, 2, arena),
            .kind = field_char(result, i, 3),
            .persistence = field_char(result, i, 4),
            .is_partition = field_bool(result, i, 5),
            .root_oid = field_oid(result, i, 6),
            .identity = identity_from(field_char(result, i, 7)),
            .row_estimate = field_number(result, i, 8, -1, INT64_MAX),
            .byte_estimate = field_number(result, i, 9, -1, INT64_MAX),
        };
    }
}

CatalogTable *catalog_find(const CatalogTables *tables, uint32_t oid)
{
    for (size_t i = 0; i < tables->count; i++) {
        if (tables->items[i].oid == oid) {
            return &tables->items[i];
        }
    }
    return NULL;
}

static TypeKind kind_from(char code)
{
    switch (code) {
    case 'a':
        return TYPE_KIND_ARRAY;
    case 'b':
        return TYPE_KIND_BASE;
    case 'e':
        return TYPE_KIND_ENUM;
    case 'c':
        return TYPE_KIND_COMPOSITE;
    case 'r':
        return TYPE_KIND_RANGE;
    case 'm':
        return TYPE_KIND_MULTIRANGE;
    default:
        return TYPE_KIND_OTHER;
    }
}

static CatalogColumn read_column(const PGresult *result, int row, Arena *arena)
{
    uint32_t base_oid = field_oid(result, row, 6);
    return (CatalogColumn){
        .column =
            {
                .attnum = (int16_t)field_number(result, row, 1, 0, INT16_MAX),
                .name = field_copy(result, row, 2, arena),
                .type_oid = field_oid(result, row, 3),
                .typmod = (int32_t)field_number(result, row, 4, -1, INT32_MAX),
                .type_name = field_copy(result, row, 5, arena),
                .base_type_oid = base_oid,
                .base_typmod = (int32_t)field_number(result, row, 7, -1, INT32_MAX),
                .base_type_name = field_copy(result, row, 8, arena),
                .kind = kind_from(field_char(result, row, 9)),
                .type = type_class(base_oid),
                .not_null = field_bool(result, row, 10),
                .has_default = field_bool(result, row, 12),
                .missing_value = field_copy(result, row, 13, arena),
            },
        .is_generated = field_bool(result, row, 11),
        .is_virtual = field_bool(result, row, 18),
    };
}

// FNV-1a over number and version of each column.
static uint64_t digest_columns(const PGresult *result, int first, int end)
{
    uint64_t digest = 0xcbf29ce484222325;
    for (int i = first; i < end; i++) {
        uint64_t words[] = {field_oid(result, i, 1), field_oid(result, i, 14)};
        for (size_t j = 0; j < ARRAY_LEN(words); j++) {
            digest = (digest ^ words[j]) * 0x100000001b3;
        }
    }
    return digest;
}

// Rows come ordered by table, so each table's columns are one run.
static void read_columns(const PGresult *result, Arena *arena, const CatalogTables *tables)
{
    int rows = PQntuples(result);
    for (int first = 0; first < rows;) {
        uint32_t oid = field_oid(result, first, 0);
        int end = first;
        while (end < rows && field_oid(result, end, 0) == oid) {
            end++;
        }
        CatalogTable *table = catalog_find(tables, oid);
        if (table != NULL) {
            table->definition = digest_columns(result, first, end);
            table->file = field_oid(result, first, 15);
            table->highest = (int16_t)field_number(result, first, 16, 0, LIMIT_COLUMNS);
            table->has_column_list = field_bool(result, first, 17);
            table->column_count = (uint16_t)MIN(end - first, LIMIT_COLUMNS);
            table->columns = ARENA_ARRAY(arena, CatalogColumn, table->column_count);
            for (int i = 0; i < table->column_count; i++) {
                table->columns[i] = read_column(result, first + i, arena);
            }
        }
        first = end;
    }
}

static uint16_t read_attnums(Str list, Arena *arena, int16_t **ret)
{
    *ret = ARENA_ARRAY(arena, int16_t, list.len / 2 + 1);
    uint16_t count = 0;
    Str item;
    while (str_split(&list, ',', &item)) {
        int64_t attnum;
        // 0 is an expression: such an index cannot be a key of ours.
        if (!str_to_int64(item, &attnum) || attnum <= 0 || attnum > INT16_MAX) {
            return 0;
        }
        (*ret)[count++] = (int16_t)attnum;
    }
    return count;
}

static void read_keys(const PGresult *result, Arena *arena, const CatalogTables *tables)
{
    for (int i = 0; i < PQntuples(result); i++) {
        CatalogTable *table = catalog_find(tables, field_oid(result, i, 0));
        if (table == NULL) {
            continue;
        }
        if (field_bool(result, i, 1)) {
            table->primary_count = read_attnums(field(result, i, 4), arena, &table->primary);
            table->primary_is_deferrable = !field_bool(result, i, 3);
        }
        if (field_bool(result, i, 2)) {
            table->replica_count = read_attnums(field(result, i, 4), arena, &table->replica);
        }
    }
}

static Status load_tables(const Catalog *catalog, const char *oids, Arena *arena,
                          CatalogTables *ret, Error *err)
{
    const char *parameters[] = {oids};
    const char *tables = arena_printf(arena, "%s WHERE c.oid = ANY ($1::oid[])", table_query);
    CLEANUP(pg_result_clear) PGresult *classes = NULL;
    CLEANUP(pg_result_clear) PGresult *columns = NULL;
    CLEANUP(pg_result_clear) PGresult *keys = NULL;
    if (pg_query(catalog->conn, &catalog->wait, tables, 1, parameters, &classes, err) !=
            STATUS_OK ||
        pg_query(catalog->conn, &catalog->wait, column_query, 1, parameters, &columns, err) !=
            STATUS_OK ||
        pg_query(catalog->conn, &catalog->wait, key_query, 1, parameters, &keys, err) !=
            STATUS_OK) {
        return error_wrap(err, "read the catalogs");
    }
    read_tables(classes, arena, ret);
    read_columns(columns, arena, ret);
    read_keys(keys, arena, ret);
    return STATUS_OK;
}

// A table that is dropped between two statements would have a name, and no columns.
Status catalog_load(const Catalog *catalog, const uint32_t *oids, size_t count, Arena *arena,
                    CatalogTables *ret, Error *err)
{
    if (count > LIMIT_TABLES) {
        return error_set(err, ERROR_CONFIG, "%zu tables are more than the limit of %d", count,
                         LIMIT_TABLES);
    }
    bool is_begun;
    if (pg_begin_snapshot(catalog->conn, &catalog->wait, &is_begun, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Str list = oid_array(oids, count, arena);
    Status status = load_tables(catalog, list.ptr, arena, ret, err);
    Status ended =
        pg_end_snapshot(catalog->conn, &catalog->wait, is_begun, status == STATUS_OK, err);
    return status == STATUS_OK ? ended : STATUS_FAIL;
}

Status catalog_list(const Catalog *catalog, Arena *arena, CatalogTables *ret, Error *err)
{
    // Weir's own tables are never replicated: a pipeline into its own database would feed itself.
    const char *sql = arena_printf(
        arena,
        "%s WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%%'"
        " AND n.nspname NOT IN ('information_schema', 'weir') ORDER BY n.nspname, c.relname",
        table_query);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(catalog->conn, &catalog->wait, sql, 0, NULL, &result, err) != STATUS_OK) {
        return error_wrap(err, "list the tables");
    }
    read_tables(result, arena, ret);
    return STATUS_OK;
}

// RelationGetIndexList() in relcache.c: a deferrable primary key does not identify rows.
bool catalog_has_identity(const CatalogTable *table)
{
    switch (table->identity) {
    case IDENTITY_FULL:
        return true;
    case IDENTITY_INDEX:
        return table->replica_count > 0;
    case IDENTITY_DEFAULT:
        return table->primary_count > 0 && !table->primary_is_deferrable;
    case IDENTITY_NOTHING:
        break;
    }
    return false;
}

// ---------------------------------------------------------------------------------------------
// Relations
// ---------------------------------------------------------------------------------------------

static void set_key(const CatalogTable *table, Arena *arena, Relation *relation)
{
    bool by_index = table->identity == IDENTITY_INDEX;
    uint16_t count = by_index ? table->replica_count : table->primary_count;
    const int16_t *attnums = by_index ? table->replica : table->primary;
    if (!by_index && table->primary_is_deferrable) {
        count = 0; // within a transaction two rows may have one key: it names no row
    }
    relation->key = ARENA_ARRAY(arena, uint16_t, count);
    for (uint16_t i = 0; i < count; i++) {
        int found = relation_find_attnum(relation, attnums[i]);
        if (found < 0) {
            relation->key_count = 0; // a key that is not published whole is none
            return;
        }
        relation->key[i] = (uint16_t)found;
    }
    relation->key_count = count;
    relation->key_is_primary = !by_index && count > 0;
}

static void set_identity(const CatalogTable *table, Relation *relation)
{
    bool full = table->identity == IDENTITY_FULL;
    bool keyed = catalog_has_identity(table) && !full;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        relation->columns[i].is_identity = full || (keyed && relation_is_key(relation, i));
    }
}

static bool is_published(const CatalogColumn *column, const Str *published, size_t count)
{
    if (count == 0) {
        return !column->is_generated;
    }
    for (size_t i = 0; i < count; i++) {
        if (str_equal(column->column.name, published[i])) {
            return true;
        }
    }
    return false;
}

static bool has_names(const CatalogTable *table)
{
    bool has = table->schema.len > 0 && table->name.len > 0;
    for (uint16_t i = 0; i < table->column_count; i++) {
        has = has && table->columns[i].column.name.len > 0;
    }
    return has;
}

Status catalog_relation(const CatalogTable *table, const Str *published, size_t published_count,
                        Arena *arena, Relation **ret, Error *err)
{
    if (!has_names(table)) {
        return error_set(err, ERROR_DATA, "the server described table %u without names",
                         table->oid);
    }
    Relation *relation = arena_alloc_zero(arena, sizeof(*relation));
    relation->oid = table->oid;
    relation->schema = str_copy(arena, table->schema);
    relation->name = str_copy(arena, table->name);
    relation->identity = table->identity;
    relation->file = table->file;
    relation->definition = table->definition;
    relation->highest = table->highest;
    relation->columns = ARENA_ARRAY(arena, Column, table->column_count);
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (is_published(&table->columns[i], published, published_count)) {
            relation->columns[relation->column_count++] = table->columns[i].column;
        }
    }
    if (relation->column_count == 0) {
        error_set(err, ERROR_CONFIG, "table \"%" STR_FMT ".%" STR_FMT "\" has no column to publish",
                  STR_ARG(table->schema), STR_ARG(table->name));
        return error_hint(err, "Leave the table out of the publication.");
    }
    set_key(table, arena, relation);
    set_identity(table, relation);
    *ret = relation_copy(arena, relation);
    return STATUS_OK;
}

// A type as the message names it, when the catalog's column has another one by now.
static Status describe_type(const Catalog *catalog, Arena *arena, Column *column, Error *err)
{
    static const char sql[] =
        "WITH RECURSIVE base (oid, typmod, depth) AS ("
        "  SELECT $1::oid, $2::int4, 0 UNION ALL"
        "  SELECT t.typbasetype, t.typtypmod, b.depth + 1"
        "    FROM base b JOIN pg_type t ON t.oid = b.oid WHERE t.typtype = 'd')"
        " SELECT format_type($1::oid, $2::int4), b.oid, b.typmod, format_type(b.oid, b.typmod),"
        "        CASE WHEN t.typelem <> 0 AND t.typlen = -1"
        "              AND t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc"
        "             THEN 'a' ELSE t.typtype END"
        "   FROM base b LEFT JOIN pg_type t ON t.oid = b.oid ORDER BY b.depth DESC LIMIT 1";
    const char *parameters[] = {arena_printf(arena, "%u", column->type_oid),
                                arena_printf(arena, "%d", column->typmod)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(catalog->conn, &catalog->wait, sql, 2, parameters, &result, err) != STATUS_OK) {
        return error_wrap(err, "read the catalogs");
    }
    column->type_name = field_copy(result, 0, 0, arena);
    column->base_type_oid = field_oid(result, 0, 1);
    column->base_typmod = (int32_t)field_number(result, 0, 2, -1, INT32_MAX);
    column->base_type_name = field_copy(result, 0, 3, arena);
    column->kind = kind_from(field_char(result, 0, 4));
    column->type = type_class(column->base_type_oid);
    return STATUS_OK;
}

static Status describe_column(const Catalog *catalog, const CatalogColumn *known,
                              const PgoutputColumn *sent, Arena *arena, Column *ret, Error *err)
{
    *ret = known == NULL ? (Column){0} : known->column;
    ret->name = sent->name;
    ret->is_identity = sent->is_key;
    bool same_type =
        known != NULL && ret->type_oid == sent->type_oid && ret->typmod == sent->typmod;
    if (same_type) {
        return STATUS_OK;
    }
    ret->type_oid = sent->type_oid;
    ret->typmod = sent->typmod;
    ret->missing_value = (Str){0}; // a value of the other type
    return describe_type(catalog, arena, ret, err);
}

// The catalog knows the order of the key's columns, the message which columns the key had when it
// was written. By now the table may have another key.
static bool is_key_as_sent(const CatalogTable *table, const Relation *relation)
{
    if (relation->identity == IDENTITY_FULL || relation->identity == IDENTITY_NOTHING) {
        return true;
    }
    bool is_sent = false;
    bool is_same = true;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        bool sent = relation->columns[i].is_identity;
        is_sent = is_sent || sent;
        is_same = is_same && sent == relation_is_key(relation, i);
    }
    bool by_index = relation->identity == IDENTITY_INDEX;
    bool is_partly_published =
        relation->key_count == 0 && (by_index ? table->replica_count : table->primary_count) > 0;
    bool is_deferrable = !is_sent && !by_index && table->primary_is_deferrable;
    return is_same || is_partly_published || is_deferrable;
}

// Of a table that is gone, or that had another key: the replica identity is all that is known.
static void set_key_from_message(Arena *arena, Relation *relation)
{
    relation->key = ARENA_ARRAY(arena, uint16_t, relation->column_count);
    relation->key_count = 0;
    if (relation->identity == IDENTITY_FULL || relation->identity == IDENTITY_NOTHING) {
        return;
    }
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (relation->columns[i].is_identity) {
            relation->key[relation->key_count++] = i;
        }
    }
    relation->key_is_primary = relation->identity == IDENTITY_DEFAULT && relation->key_count > 0;
}

Status catalog_describe(const Catalog *catalog, const PgoutputRelation *message, Arena *arena,
                        Relation **ret, Error *err)
{
    CatalogTables found;
    if (catalog_load(catalog, &message->oid, 1, arena, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const CatalogTable *table = found.count == 0 ? NULL : &found.items[0];
    TableMatch match = catalog_match(table, message, arena);
    Relation relation = {
        .oid = message->oid,
        .schema = message->schema,
        .name = message->name,
        .identity = message->identity,
        .file = table == NULL ? 0 : table->file,
        .definition = table == NULL ? 0 : table->definition,
        .highest = match.highest,
        .is_unclear = !match.is_clear,
        .column_count = message->column_count,
        .columns = ARENA_ARRAY(arena, Column, message->column_count),
    };
    for (uint16_t i = 0; i < message->column_count; i++) {
        if (describe_column(catalog, match.columns[i], &message->columns[i], arena,
                            &relation.columns[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    bool is_known = table != NULL && table->identity == message->identity;
    if (is_known) {
        set_key(table, arena, &relation);
    }
    if (!is_known || !is_key_as_sent(table, &relation)) {
        set_key_from_message(arena, &relation);
    }
    *ret = relation_copy(arena, &relation);
    return STATUS_OK;
}
