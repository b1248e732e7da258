// What the server's catalogs say about tables: attribute numbers, types behind domains, keys. The
// stream's RELATION messages carry names and type ids only.
//
// The catalogs show the present, a RELATION message shows the past. Where they differ, the message
// is right about what the rows look like, and the catalog is used as far as it can be matched.
#pragma once

#include "base/map.h"
#include "change/relation.h"
#include "pg/connection.h"
#include "pg/pgoutput.h"

typedef struct CatalogColumn {
    Column column; // is_identity is not set here
    bool is_generated;
    bool is_virtual; // generated when it is read (since Postgres 18): it is never published
} CatalogColumn;

typedef struct CatalogTable {
    uint32_t oid;
    Str schema;
    Str name;
    char kind;        // pg_class.relkind: 'r' table, 'p' partitioned, 'v' view, …
    char persistence; // pg_class.relpersistence: 'p' permanent, 'u' unlogged, 't' temporary
    bool is_partition;
    uint32_t root_oid; // of a partition: the topmost table; otherwise oid
    ReplicaIdentity identity;
    // As VACUUM and ANALYZE left them, TOAST included; of a partitioned table: of all leaves. -1:
    // not known.
    int64_t row_estimate;
    int64_t byte_estimate;
    uint32_t file;        // see Relation
    uint64_t definition;  // see Relation
    int16_t highest;      // see Relation
    bool has_column_list; // in some publication
    uint16_t column_count;
    CatalogColumn *columns; // in attnum order; dropped ones are left out
    // attnums in key order; 0 when there is none
    uint16_t primary_count;
    int16_t *primary;
    bool primary_is_deferrable; // then it is no replica identity
    uint16_t replica_count;     // of the index of REPLICA IDENTITY USING INDEX
    int16_t *replica;
} CatalogTable;

typedef struct CatalogTables {
    CatalogTable *items;
    size_t count;
} CatalogTables;

/** How the catalog is asked: the connection, and what to do while waiting. */
typedef struct Catalog {
    PGconn *conn; // search_path is empty, so that type names are complete
    PgWait wait;
} Catalog;

/** Tables by oid; those that do not exist (any more) are left out. In @arena. */
MUST_CHECK Status catalog_load(const Catalog *catalog, const uint32_t *oids, size_t count,
                               Arena *arena, CatalogTables *ret, Error *err);

/** Every table, view and partition outside the system schemas, without columns and keys. */
MUST_CHECK Status catalog_list(const Catalog *catalog, Arena *arena, CatalogTables *ret,
                               Error *err);

/** By oid, or NULL. */
CatalogTable *catalog_find(const CatalogTables *tables, uint32_t oid);

/** Whether an UPDATE or DELETE of the table can say which row it means. */
bool catalog_has_identity(const CatalogTable *table);

/**
 * The relation as it is published now: @published names the columns (count 0: all that are not
 * generated). In @arena.
 */
MUST_CHECK Status catalog_relation(const CatalogTable *table, const Str *published,
                                   size_t published_count, Arena *arena, Relation **ret,
                                   Error *err);

/** The relation of a RELATION message, completed from the catalogs as far as they match. In @arena.
 */
MUST_CHECK Status catalog_describe(const Catalog *catalog, const PgoutputRelation *message,
                                   Arena *arena, Relation **ret, Error *err);
