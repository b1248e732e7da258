// Databases of a hub: how they are connected to, and the tables that rules name.
#pragma once

#include "model/hub.h"
#include "pg/catalog.h"

/** What libpq takes: the system's `dsn`, or its parts. May be in @arena. */
Str hub_connection(const PostgresqlSettings *settings, Arena *arena);

/** The table of a rule, as its database has it. */
typedef struct HubTable {
    const MixerRule *rule;
    const CatalogTable *catalog; // NULL: there is none
    const Relation *relation;    // without generated columns; NULL: there is none
} HubTable;

/** "schema"."table", quoted. In @arena. */
const char *hub_table_name(const MixerRule *rule, Arena *arena);

/** Look it up. In @arena. */
MUST_CHECK Status hub_table_load(const Catalog *catalog, const MixerRule *rule, Arena *arena,
                                 HubTable *ret, Error *err);

/** Say that there is none in @system. */
Status hub_table_is_missing(const HubTable *table, const HubSystem *system, Error *err);

/**
 * Whether @field is a generated column: those are neither received nor written, and the relation
 * does not have them. @err, which may be NULL, says so.
 */
bool hub_table_generates(const HubTable *table, const MixerField *field, bool is_pushed,
                         Error *err);
