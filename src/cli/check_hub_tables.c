// What the databases of a hub say of its rules: columns, their types, unique indexes.
#include "base/limits.h"
#include "cli/check_hub.h"
#include "cli/run_hub.h"
#include "hub/hub_origin.h"
#include "hub/hub_pipelines.h"
#include "hub/hub_table.h"

enum { PATIENCE_MS = 60000 };

typedef struct TableChecker {
    HubCheck *check;
    const HubSystem *system;
    Catalog catalog;
    Arena *arena;
} TableChecker;

// ---------------------------------------------------------------------------------------------
// Tables
// ---------------------------------------------------------------------------------------------

static void fail(const TableChecker *in, const Error *err)
{
    const char *name = str_to_cstr(in->arena, in->system->name);
    report_failure(&in->check->report, arena_printf(in->arena, "system %s", name), err);
}

// ---------------------------------------------------------------------------------------------
// Columns
// ---------------------------------------------------------------------------------------------

static bool names_generated(const TableChecker *in, const HubTable *table, bool is_pushed)
{
    bool found = false;
    for (size_t i = 0; i < table->rule->count; i++) {
        Error err = {0};
        if (hub_table_generates(table, &table->rule->fields[i], is_pushed, &err)) {
            found = true;
            report_failure(&in->check->report, NULL, &err);
        }
    }
    return found;
}

static bool bind(const TableChecker *in, const HubTable *table, bool is_pushed, MixerBinding *ret)
{
    Error err = {0};
    if (names_generated(in, table, is_pushed)) {
        return false;
    }
    if (mixer_bind(table->rule, is_pushed, table->relation, in->arena, ret, &err) != STATUS_OK) {
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
                           hub_table_name(binding->rule, in->arena), STR_ARG(in->system->name),
                           STR_ARG(column->name));
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Keys
// ---------------------------------------------------------------------------------------------

// Search keys are tried one after the other: each has to name one row by itself.
static Status check_search_keys(const TableChecker *in, const HubTable *table,
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
        buf_printf(&mend, "CREATE UNIQUE INDEX ON %s (", hub_table_name(binding->rule, in->arena));
        pg_identifier(&mend, field->name);
        buf_cstr(&mend, ");");
        report_problem(
            &in->check->report, PROBLEM_MUST, buf_cstring(&mend),
            "%" STR_FMT ": the search key \"%" STR_FMT "\" has no unique index of its own in %s",
            STR_ARG(field->origin), STR_ARG(field->name), hub_table_name(binding->rule, in->arena));
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

// Another system that finds objects by @property, a database if there is one; NULL: there is none.
static const HubSystem *who_searches(const TableChecker *in, const Model *model, int property)
{
    const Hub *hub = in->check->hub;
    const HubSystem *found = NULL;
    for (size_t i = 0; i < hub->system_count; i++) {
        const HubSystem *system = &hub->systems[i];
        const MixerGroup *group = system == in->system ? NULL : hub_find_push(system, model);
        bool is_better = found == NULL || found->type != SYSTEM_POSTGRESQL;
        if (is_better && group != NULL && searches_by(group, property)) {
            found = system;
        }
    }
    return found;
}

// Of a deleted row the server sends the replica identity. A database needs all keys to find a row;
// Stripe's id is remembered by the others, once it is known.
static void check_deletes(const TableChecker *in, const MixerBinding *binding)
{
    const char *name = hub_table_name(binding->rule, in->arena);
    for (size_t i = 0; i < binding->rule->count; i++) {
        int column = binding->columns[i];
        bool is_sent = column < 0 || binding->relation->columns[column].is_identity;
        const HubSystem *other =
            is_sent ? NULL
                    : who_searches(in, binding->rule->model, binding->rule->fields[i].property);
        if (other != NULL) {
            bool is_needed = other->type == SYSTEM_POSTGRESQL && binding->rule->is_owner;
            report_problem(&in->check->report, is_needed ? PROBLEM_MUST : PROBLEM_NOTE,
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
    HubTable table;
    MixerBinding binding;
    Error missing = {0};
    if (hub_table_load(&in->catalog, rule, in->arena, &table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (table.catalog == NULL) {
        (void)hub_table_is_missing(&table, in->system, &missing);
        report_failure(&in->check->report, NULL, &missing);
        return STATUS_OK;
    }
    if (!bind(in, &table, is_pushed, &binding)) {
        return STATUS_OK;
    }
    if (!is_pushed) {
        check_deletes(in, &binding);
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

// What is pushed is known by its origin when it comes back.
static Status check_origin(const TableChecker *in, Error *err)
{
    const HubSystem *system = in->system;
    if (system->receive_count == 0 || system->push_count == 0) {
        return STATUS_OK;
    }
    Str name = hub_name(in->check->hub, in->check->directory, in->arena);
    HubOrigin origin;
    if (hub_origin_look(in->catalog.conn, &in->catalog.wait,
                        hub_system_origin(name, system, in->arena), &origin, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!origin.is_allowed) {
        Error refusal = {0};
        (void)hub_origin_refuse(in->catalog.conn, system->name, &refusal);
        report_failure(&in->check->report, NULL, &refusal);
    }
    return STATUS_OK;
}

void hub_check_tables(HubCheck *check, const HubSystem *system)
{
    Arena scratch = {0};
    Error err = {0};
    CLEANUP(pg_close) PGconn *conn = NULL;
    const PgWait wait = {.patience_ms = PATIENCE_MS};
    const PgConnect connect = {.url = hub_connection(&system->postgresql, &scratch),
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
    if (status == STATUS_OK) {
        status = check_origin(&in, &err);
    }
    if (status != STATUS_OK) {
        fail(&in, &err);
    }
    arena_done(&scratch);
}
