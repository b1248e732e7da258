#include "pipeline/shape.h"

static void tell(Sink *sink, const Relation *was, const Relation *aside)
{
    notice_tell(&sink->context.notice,
                "table \"%" STR_FMT ".%" STR_FMT
                "\" is another one now: the rows of the one that had this name "
                "before are in \"%" STR_FMT ".%" STR_FMT "\"",
                STR_ARG(was->schema), STR_ARG(was->name), STR_ARG(aside->schema),
                STR_ARG(aside->name));
}

// Its name is needed for another table.
static Status step_aside(Tables *tables, Sink *sink, Table *table, Error *err)
{
    const Relation *was = table->target;
    if (table->state == TABLE_COPYING) {
        // Its copy writes under the name. The next attempt asks the source what the table is
        // called.
        return error_set(err, ERROR_TRANSIENT,
                         "table \"%" STR_FMT ".%" STR_FMT
                         "\" lost its name to another one while it was copied",
                         STR_ARG(was->schema), STR_ARG(was->name));
    }
    bool is_there;
    if (sink->ops->has(sink, was, &is_there, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const Relation *aside = tables_aside(tables, table);
    if (is_there && sink->ops->prepare(sink, was, aside, err) != STATUS_OK) {
        return error_wrap(err,
                          "rename it to \"%" STR_FMT
                          "\", because the source has another table \"%" STR_FMT ".%" STR_FMT
                          "\" now",
                          STR_ARG(aside->name), STR_ARG(was->schema), STR_ARG(was->name));
    }
    tables_set_target(tables, table, aside);
    if (table->state == TABLE_READY) {
        table->prepared = NULL; // its next change brings its name back; a copy does so by itself
    }
    if (is_there) {
        tell(sink, was, aside);
    }
    return STATUS_OK;
}

Status shape_table(Tables *tables, Sink *sink, Table *table, const Relation *relation, Error *err)
{
    Table *rival = sink->ops->has_tables ? tables_rival(tables, relation) : NULL;
    if ((rival != NULL && step_aside(tables, sink, rival, err) != STATUS_OK) ||
        sink->ops->prepare(sink, table->target, relation, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    tables_set_target(tables, table, relation);
    return STATUS_OK;
}
