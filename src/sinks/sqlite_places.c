// The table weir_tables: which table holds which relation of the source.
//
// A relation is known by its oid and can change its name, and another can take it: in
//
//   ALTER TABLE orders RENAME TO orders_old; ALTER TABLE orders_new RENAME TO orders;
//
// each rename shows only with the next row of its table, perhaps never. So the names of the source
// say where new rows go, and this table says where the old ones are.
#include "base/limits.h"
#include "sinks/sqlite_sink.h"
#include "sinks/sqlite_value.h"

Status sqlite_places_create(SqliteSink *sink, Error *err)
{
    return sqlite_db_exec(&sink->db,
                          "CREATE TABLE IF NOT EXISTS " SQLITE_PLACES_TABLE
                          " (\"pipeline\" TEXT NOT NULL, \"oid\" INTEGER NOT NULL, "
                          "\"table\" TEXT NOT NULL, \"source_schema\" TEXT NOT NULL, "
                          "\"source_table\" TEXT NOT NULL, PRIMARY KEY (\"pipeline\", \"oid\")) "
                          "WITHOUT ROWID",
                          err);
}

Status sqlite_has_table(SqliteSink *sink, const char *name, bool *ret, Error *err)
{
    CLEANUP(sqlite_db_finalize) sqlite3_stmt *statement = NULL;
    buf_cstr(&sink->sql, "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' "
                         "AND name = ?1 COLLATE NOCASE");
    if (sqlite_db_prepare(&sink->db, &sink->sql, &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sqlite_db_bind_text(statement, 1, str_from(name));
    return sqlite_db_step(&sink->db, statement, ret, err);
}

const SqlitePlace *sqlite_place_find(const SqliteSink *sink, uint32_t oid)
{
    return map_get_u64(&sink->ours, oid) == NULL ? NULL : map_get_u64(&sink->places, oid);
}

static Status remember(SqliteSink *sink, uint32_t oid, Str table, Str schema, Str name, Error *err)
{
    const Relation relation = {.oid = oid, .schema = schema, .name = name};
    SqlitePlace *place = map_get_u64(&sink->places, oid);
    if (place == NULL) {
        place = arena_alloc(&sink->arena, sizeof(*place));
        map_put_u64(&sink->places, oid, place);
    }
    *place = (SqlitePlace){oid, str_copy(&sink->arena, table), str_copy(&sink->arena, schema),
                           str_copy(&sink->arena, name)};
    return sql_targets_claim(&sink->targets, &sqlite_dialect, &relation,
                             (SqlTable){.name = place->table}, err);
}

Status sqlite_places_load(SqliteSink *sink, Error *err)
{
    CLEANUP(sqlite_db_finalize) sqlite3_stmt *statement = NULL;
    buf_cstr(&sink->sql, "SELECT \"oid\", \"table\", \"source_schema\", \"source_table\" "
                         "FROM " SQLITE_PLACES_TABLE " WHERE \"pipeline\" = ?1");
    if (sqlite_db_prepare(&sink->db, &sink->sql, &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sqlite_db_bind_text(statement, 1, str_from(sink->base.context.pipeline));
    for (;;) {
        bool row;
        if (sqlite_db_step(&sink->db, statement, &row, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (!row) {
            return STATUS_OK;
        }
        int64_t oid = sqlite3_column_int64(statement, 0);
        Str table = sqlite_db_column(statement, 1);
        if (oid < 0 || oid > UINT32_MAX || table.len == 0) {
            return error_set(err, ERROR_FATAL,
                             "table \"" SQLITE_PLACES_TABLE "\" in \"%s\" is damaged",
                             sink->db.path);
        }
        if (map_get_u64(&sink->ours, (uint64_t)oid) != NULL &&
            remember(sink, (uint32_t)oid, table, sqlite_db_column(statement, 2),
                     sqlite_db_column(statement, 3), err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
}

static Status store(SqliteSink *sink, const SqlitePlace *place, Error *err)
{
    CLEANUP(sqlite_db_finalize) sqlite3_stmt *statement = NULL;
    buf_cstr(&sink->sql,
             "INSERT OR REPLACE INTO " SQLITE_PLACES_TABLE " VALUES (?1, ?2, ?3, ?4, ?5)");
    if (sqlite_db_prepare(&sink->db, &sink->sql, &statement, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sqlite_db_bind_text(statement, 1, str_from(sink->base.context.pipeline));
    (void)sqlite3_bind_int64(statement, 2, place->oid);
    sqlite_db_bind_text(statement, 3, place->table);
    sqlite_db_bind_text(statement, 4, place->schema);
    sqlite_db_bind_text(statement, 5, place->name);
    return sqlite_db_run(&sink->db, statement, err);
}

Status sqlite_place_put(SqliteSink *sink, const Relation *relation, SqlTable table, Error *err)
{
    const SqlitePlace *place = sqlite_place_find(sink, relation->oid);
    if (place != NULL && str_equal(place->table, table.name) &&
        str_equal(place->schema, relation->schema) && str_equal(place->name, relation->name)) {
        return STATUS_OK;
    }
    if (remember(sink, relation->oid, table.name, relation->schema, relation->name, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    map_put_u64(&sink->ours, relation->oid, sink);
    return store(sink, map_get_u64(&sink->places, relation->oid), err);
}
