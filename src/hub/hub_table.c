#include "hub/hub_table.h"

#include "base/limits.h"
#include "config/conninfo.h"

// ---------------------------------------------------------------------------------------------
// Connecting
// ---------------------------------------------------------------------------------------------

Str hub_connection(const PostgresqlSettings *settings, Arena *arena)
{
    if (settings->dsn.len > 0) {
        return settings->dsn;
    }
    CLEANUP(buf_done) Buf text;
    buf_init(&text, LIMIT_URL_BYTES * 4);
    buf_printf(&text, "port=%lld", (long long)settings->port);
    conninfo_add(&text, "host", settings->hostname);
    conninfo_add(&text, "dbname", settings->database);
    conninfo_add(&text, "user", settings->username);
    conninfo_add(&text, "password", settings->password);
    return str_copy(arena, buf_view(&text));
}

// ---------------------------------------------------------------------------------------------
// Tables
// ---------------------------------------------------------------------------------------------

const char *hub_table_name(const MixerRule *rule, Arena *arena)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, 4 * LIMIT_NAME_BYTES + 8);
    pg_identifier(&text, rule->schema);
    buf_char(&text, '.');
    pg_identifier(&text, rule->table);
    return str_to_cstr(arena, buf_view(&text));
}

// *ret_oid 0: there is none.
static Status find_table(const Catalog *catalog, const MixerRule *rule, Arena *arena,
                         uint32_t *ret_oid, Error *err)
{
    const char *parameters[] = {str_to_cstr(arena, rule->schema), str_to_cstr(arena, rule->table)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    int64_t oid = 0;
    if (pg_query(catalog->conn, &catalog->wait,
                 "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                 " WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')",
                 2, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_found = str_to_int64(str_from(pg_value(result, 0, 0)), &oid);
    *ret_oid = is_found && oid > 0 && oid <= UINT32_MAX ? (uint32_t)oid : 0;
    return STATUS_OK;
}

Status hub_table_load(const Catalog *catalog, const MixerRule *rule, Arena *arena, HubTable *ret,
                      Error *err)
{
    CatalogTables found = {0};
    Relation *relation = NULL;
    uint32_t oid;
    if (find_table(catalog, rule, arena, &oid, err) != STATUS_OK ||
        (oid > 0 && catalog_load(catalog, &oid, 1, arena, &found, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    const CatalogTable *table = found.count == 0 ? NULL : &found.items[0];
    if (table != NULL && catalog_relation(table, NULL, 0, arena, &relation, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = (HubTable){.rule = rule, .catalog = table, .relation = relation};
    return STATUS_OK;
}

Status hub_table_is_missing(const HubTable *table, const HubSystem *system, Error *err)
{
    Arena scratch = {.chunk_size = 4096};
    error_set(err, ERROR_CONFIG, "%" STR_FMT ": there is no table %s in system %" STR_FMT,
              STR_ARG(table->rule->origin), hub_table_name(table->rule, &scratch),
              STR_ARG(system->name));
    arena_done(&scratch);
    return STATUS_FAIL;
}

bool hub_table_generates(const HubTable *table, const MixerField *field, bool is_pushed, Error *err)
{
    for (uint16_t i = 0; field->path.count > 0 && i < table->catalog->column_count; i++) {
        const CatalogColumn *column = &table->catalog->columns[i];
        if (column->is_generated && str_equal(column->column.name, field->path.steps[0])) {
            error_set(err, ERROR_CONFIG,
                      "%" STR_FMT ": the column \"%" STR_FMT "\" is generated, and cannot be %s",
                      STR_ARG(field->origin), STR_ARG(column->column.name),
                      is_pushed ? "pushed" : "received");
            return true;
        }
    }
    return false;
}
