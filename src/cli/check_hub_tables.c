// What the databases of a hub say of its rules: columns, their types, unique indexes.
#include "base/limits.h"
#include "cli/check_hub.h"
#include "config/conninfo.h"
#include "pg/catalog.h"

enum { PATIENCE_MS = 60000 };

typedef struct TableChecker {
    HubCheck *check;
    const HubSystem *system;
    Catalog catalog;
    Arena *arena;
} TableChecker;

// A table that a rule names.
typedef struct RuleTable {
    const MixerRule *rule;
    bool is_pushed;
    const CatalogTable *catalog;
    const Relation *relation; // without generated columns
} RuleTable;

// ---------------------------------------------------------------------------------------------
// Connecting
// ---------------------------------------------------------------------------------------------

static Str connection_of(const PostgresqlSettings *settings, Arena *arena)
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

static void fail(const TableChecker *in, const Error *err)
{
    const char *name = str_to_cstr(in->arena, in->system->name);
    report_failure(&in->check->report, arena_printf(in->arena, "system %s", name), err);
}

static const char *table_text(const TableChecker *in, const MixerRule *rule)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, 4 * LIMIT_NAME_BYTES + 8);
    pg_identifier(&text, rule->schema);
    buf_char(&text, '.');
    pg_identifier(&text, rule->table);
    return str_to_cstr(in->arena, buf_view(&text));
}

// *ret_oid 0: there is none.
static Status find_table(const TableChecker *in, const MixerRule *rule, uint32_t *ret_oid,
                         Error *err)
{
    const char *parameters[] = {str_to_cstr(in->arena, rule->schema),
                                str_to_cstr(in->arena, rule->table)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    int64_t oid = 0;
    if (pg_query(in->catalog.conn, &in->catalog.wait,
                 "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                 " WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')",
                 2, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_found = str_to_int64(str_from(pg_value(result, 0, 0)), &oid);
    *ret_oid = is_found && oid > 0 && oid <= UINT32_MAX ? (uint32_t)oid : 0;
    return STATUS_OK;
}

// *ret_is_there: else the report says what is wrong with it.
static Status load_table(const TableChecker *in, RuleTable *table, bool *ret_is_there, Error *err)
{
    const MixerRule *rule = table->rule;
    CatalogTables found = {0};
    Relation *relation;
    uint32_t oid;
    *ret_is_there = false;
    if (find_table(in, rule, &oid, err) != STATUS_OK ||
        (oid > 0 && catalog_load(&in->catalog, &oid, 1, in->arena, &found, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    if (found.count == 0) {
        report_problem(&in->check->report, PROBLEM_MUST, NULL,
                       "%" STR_FMT ": there is no table %s in system %" STR_FMT,
                       STR_ARG(rule->origin), table_text(in, rule), STR_ARG(in->system->name));
        return STATUS_OK;
    }
    if (catalog_relation(&found.items[0], NULL, 0, in->arena, &relation, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    table->catalog = &found.items[0];
    table->relation = relation;
    *ret_is_there = true;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Columns
// ---------------------------------------------------------------------------------------------

// The relation has no generated columns: they are neither published nor written.
static bool names_generated(const TableChecker *in, const RuleTable *table)
{
    bool found = false;
    for (size_t i = 0; i < table->rule->count; i++) {
        const MixerField *field = &table->rule->fields[i];
        for (uint16_t j = 0; field->path.count > 0 && j < table->catalog->column_count; j++) {
            const CatalogColumn *column = &table->catalog->columns[j];
            if (column->is_generated && str_equal(column->column.name, field->path.steps[0])) {
                found = true;
                report_problem(&in->check->report, PROBLEM_MUST, NULL,
                               "%" STR_FMT ": the column \"%" STR_FMT
                               "\" is generated, and cannot be %s",
                               STR_ARG(field->origin), STR_ARG(column->column.name),
                               table->is_pushed ? "pushed" : "received");
            }
        }
    }
    return found;
}

static bool bind(const TableChecker *in, const RuleTable *table, MixerBinding *ret)
{
    Error err = {0};
    if (names_generated(in, table)) {
        return false;
    }
    if (mixer_bind(table->rule, table->is_pushed, table->relation, in->arena, ret, &err) !=
        STATUS_OK) {
        report_failure(&in->check->report, NULL, &err);
        return false;
    }
    for (size_t i = 0; i < table->rule->count; i++) {
        if (ret->columns[i] >= 0) {
            Str type = table->relation->columns[ret->columns[i]].type_name;
            (void)map_put_u64(&in->check->field_types, (uintptr_t)&table->rule->fields[i],
                              str_to_cstr(&in->check->arena, type));
        }
    }
    return true;
}

static bool is_bound(const MixerBinding *binding, int column)
{
    for (size_t i = 0; i < binding->rule->count; i++) {
        if (binding->columns[i] == column) {
            return true;
        }
    }
    return false;
}

static void note_unfilled(const TableChecker *in, const MixerBinding *binding)
{
    const Relation *relation = binding->relation;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const Column *column = &relation->columns[i];
        if (column->not_null && !column->has_default && !is_bound(binding, i)) {
            report_problem(&in->check->report, PROBLEM_NOTE, NULL,
                           "no new row can be pushed to %s of system %" STR_FMT ": \"%" STR_FMT
                           "\" is not null, has no default, and is not pushed",
                           table_text(in, binding->rule), STR_ARG(in->system->name),
                           STR_ARG(column->name));
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Keys
// ---------------------------------------------------------------------------------------------

// Search keys are tried one after the other: each has to name one row by itself.
static Status check_search_keys(const TableChecker *in, const RuleTable *table,
                                const MixerBinding *binding, Error *err)
{
    const char *parameters[] = {arena_printf(in->arena, "%u", table->catalog->oid)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(in->catalog.conn, &in->catalog.wait,
                 "SELECT indkey[0] FROM pg_index WHERE indrelid = $1::oid AND indisunique"
                 "   AND indisvalid AND indimmediate AND indnkeyatts = 1 AND indpred IS NULL",
                 1, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < binding->rule->count; i++) {
        const MixerField *field = &binding->rule->fields[i];
        bool is_unique = !field->is_search_key;
        for (int row = 0; row < PQntuples(result) && !is_unique; row++) {
            int64_t attnum;
            is_unique = str_to_int64(str_from(pg_value(result, row, 0)), &attnum) &&
                        attnum == binding->relation->columns[binding->columns[i]].attnum;
        }
        if (is_unique) {
            continue;
        }
        CLEANUP(buf_done) Buf mend;
        buf_init(&mend, ERROR_MESSAGE_MAX);
        buf_printf(&mend, "CREATE UNIQUE INDEX ON %s (", table_text(in, binding->rule));
        pg_identifier(&mend, field->name);
        buf_cstr(&mend, ");");
        report_problem(&in->check->report, PROBLEM_MUST, buf_cstring(&mend),
                       "%" STR_FMT ": the search key \"%" STR_FMT
                       "\" has no unique index of its own in %s",
                       STR_ARG(field->origin), STR_ARG(field->name), table_text(in, binding->rule));
    }
    return STATUS_OK;
}

static bool searches_by(const MixerGroup *group, int property)
{
    for (size_t i = 0; i < group->count; i++) {
        const MixerRule *rule = &group->rules[i];
        for (size_t j = 0; j < rule->count; j++) {
            if (rule->fields[j].is_search_key && rule->fields[j].property == property) {
                return true;
            }
        }
    }
    return false;
}

// Another system that finds objects by @property; NULL: there is none.
static const HubSystem *who_searches(const TableChecker *in, const Model *model, int property)
{
    const Hub *hub = in->check->hub;
    for (size_t i = 0; i < hub->system_count; i++) {
        const HubSystem *system = &hub->systems[i];
        const MixerGroup *group = system == in->system ? NULL : hub_find_push(system, model);
        if (group != NULL && searches_by(group, property)) {
            return system;
        }
    }
    return NULL;
}

// Of a deleted row the server sends the replica identity.
static void note_deletes(const TableChecker *in, const MixerBinding *binding)
{
    const char *name = table_text(in, binding->rule);
    for (size_t i = 0; i < binding->rule->count; i++) {
        int column = binding->columns[i];
        bool is_sent = column < 0 || binding->relation->columns[column].is_identity;
        const HubSystem *other =
            is_sent ? NULL
                    : who_searches(in, binding->rule->model, binding->rule->fields[i].property);
        if (other != NULL) {
            report_problem(&in->check->report, PROBLEM_NOTE,
                           arena_printf(in->arena, "ALTER TABLE %s REPLICA IDENTITY FULL;", name),
                           "a delete in %s does not say \"%" STR_FMT
                           "\", by which it has to be found in system %" STR_FMT,
                           name, STR_ARG(binding->relation->columns[column].name),
                           STR_ARG(other->name));
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Systems
// ---------------------------------------------------------------------------------------------

static Status check_rule(const TableChecker *in, const MixerRule *rule, bool is_pushed, Error *err)
{
    RuleTable table = {.rule = rule, .is_pushed = is_pushed};
    MixerBinding binding;
    bool is_there;
    if (load_table(in, &table, &is_there, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!is_there || !bind(in, &table, &binding)) {
        return STATUS_OK;
    }
    if (!is_pushed) {
        note_deletes(in, &binding);
        return STATUS_OK;
    }
    note_unfilled(in, &binding);
    return check_search_keys(in, &table, &binding, err);
}

static Status check_groups(const TableChecker *in, const MixerGroup *groups, size_t count,
                           bool is_pushed, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < groups[i].count; j++) {
            if (check_rule(in, &groups[i].rules[j], is_pushed, err) != STATUS_OK) {
                return STATUS_FAIL;
            }
        }
    }
    return STATUS_OK;
}

void hub_check_tables(HubCheck *check, const HubSystem *system)
{
    Arena scratch = {0};
    Error err = {0};
    CLEANUP(pg_close) PGconn *conn = NULL;
    const PgWait wait = {.patience_ms = PATIENCE_MS};
    const PgConnect connect = {.url = connection_of(&system->postgresql, &scratch),
                               .application_name = "weir check"};
    TableChecker in = {.check = check, .system = system, .arena = &scratch};
    Status status = pg_connect(&connect, &wait, &conn, &err);
    in.catalog = (Catalog){.conn = conn, .wait = wait};
    if (status == STATUS_OK) {
        status = check_groups(&in, system->receive, system->receive_count, false, &err);
    }
    if (status == STATUS_OK) {
        status = check_groups(&in, system->push, system->push_count, true, &err);
    }
    if (status != STATUS_OK) {
        fail(&in, &err);
    }
    arena_done(&scratch);
}
