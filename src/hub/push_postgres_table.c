// The tables of rules, as their database has them now.
#include "hub/hub_table.h"
#include "hub/push_postgres_inside.h"

static Status check_generated(const HubTable *table, Error *err)
{
    for (size_t i = 0; i < table->rule->count; i++) {
        if (hub_table_generates(table, &table->rule->fields[i], true, err)) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status find_columns(PushSink *sink, PushTarget *target, Error *err)
{
    const Relation *relation = target->binding.relation;
    PgFoundTable found;
    if (postgres_session_find(&sink->session, target->table, &sink->bound, &found, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    target->columns = ARENA_ARRAY(&sink->bound, const PgFoundColumn *, relation->column_count);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        target->columns[i] = postgres_find_column(&found, relation->columns[i].name);
        if (target->columns[i] == NULL) {
            return error_set(err, ERROR_TRANSIENT,
                             "%" STR_FMT " was altered while it was looked at",
                             STR_ARG(target->name));
        }
    }
    return STATUS_OK;
}

static Status find_target(PushSink *sink, const MixerRule *rule, PushTarget *target, Error *err)
{
    // The catalogs are asked beside the session.
    if (postgres_session_settle(&sink->session, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const Catalog catalog = {.conn = sink->session.conn,
                             .wait = postgres_session_wait(&sink->session)};
    HubTable table;
    if (hub_table_load(&catalog, rule, &sink->bound, &table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (table.catalog == NULL) {
        return hub_table_is_missing(&table, sink->system, err);
    }
    if (check_generated(&table, err) != STATUS_OK ||
        mixer_bind(rule, true, table.relation, &sink->bound, &target->binding, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    target->table = (SqlTable){.schema = rule->schema, .name = rule->table};
    target->name = str_from(hub_table_name(rule, &sink->bound));
    target->tells = sink->receives;
    return find_columns(sink, target, err);
}

Status push_target(PushSink *sink, const MixerRule *rule, const PushTarget **ret, Error *err)
{
    PushTarget *target = map_get_u64(&sink->targets, (uintptr_t)rule);
    if (target == NULL) {
        target = arena_alloc_zero(&sink->bound, sizeof(*target));
        if (find_target(sink, rule, target, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        (void)map_put_u64(&sink->targets, (uintptr_t)rule, target);
    }
    *ret = target;
    return STATUS_OK;
}

void push_forget_targets(PushSink *sink)
{
    map_reset(&sink->targets);
    arena_reset(&sink->bound);
    postgres_session_forget_prepared(&sink->session);
}
