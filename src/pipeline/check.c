// `weir check`: look at both ends and change nothing.
#include "pipeline/runner.h"

static Str target_type(Sink *sink, const Column *column, Arena *arena)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, 64 * 1024);
    if (sink->ops->describe_column != NULL) {
        sink->ops->describe_column(sink, column, &text);
    }
    return str_copy(arena, buf_view(&text));
}

static Str target_name(Sink *sink, const Relation *relation, Arena *arena)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, 64 * 1024);
    if (sink->ops->describe_table != NULL) {
        sink->ops->describe_table(sink, relation, &text);
    }
    return str_copy(arena, buf_view(&text));
}

static void add_tables(CheckResult *result, const SourceTables *tables)
{
    result->tables = ARENA_ARRAY(&result->arena, CheckTable, tables->count);
    result->table_count = tables->count;
    for (size_t i = 0; i < tables->count; i++) {
        // The source's relations go with the source.
        result->tables[i].source = tables->items[i];
        result->tables[i].source.relation =
            relation_copy(&result->arena, tables->items[i].relation);
    }
}

static void describe_target(CheckResult *result, Sink *sink)
{
    for (size_t i = 0; i < result->table_count; i++) {
        CheckTable *table = &result->tables[i];
        const Relation *relation = table->source.relation;
        table->target = target_name(sink, relation, &result->arena);
        table->column_types = ARENA_ARRAY(&result->arena, Str, relation->column_count);
        for (uint16_t c = 0; c < relation->column_count; c++) {
            table->column_types[c] = target_type(sink, &relation->columns[c], &result->arena);
        }
    }
}

// A failure of one end is a finding, so that the other end is looked at too.
static void report_failure(Report *report, const char *end, const Error *err)
{
    report_problem(report, PROBLEM_MUST, err->hint[0] == '\0' ? NULL : err->hint, "%s: %s", end,
                   err->message);
}

static void check_source(const Pipeline *pipeline, Cancel *cancel, CheckResult *result)
{
    Error err = {0};
    SourceContext context = {.pipeline = pipeline->name.ptr, .cancel = cancel};
    Source *source = NULL;
    const SourceTables *tables;
    Status status =
        source_new(pipeline->source, pipeline->source_settings, &context, &source, &err);
    if (status == STATUS_OK) {
        status = source->ops->open(source, &err);
    }
    if (status == STATUS_OK) {
        status = source->ops->check(source, &result->report, &tables, &err);
    }
    if (status == STATUS_OK) {
        add_tables(result, tables);
    } else {
        report_failure(&result->report, "source", &err);
    }
    source_free(source);
}

static void check_sink(const Pipeline *pipeline, const PipelineRoute *route, Cancel *cancel,
                       CheckResult *result)
{
    Error err = {0};
    SinkContext context = {.pipeline = pipeline->name.ptr, .cancel = cancel};
    Sink *sink = NULL;
    if (sink_new(route->sink, route->settings, &context, &sink, &err) != STATUS_OK) {
        report_failure(&result->report, "sink", &err);
        return;
    }
    Status status = sink->ops->open(sink, &err);
    // Behind open(), so that the target can be asked; and also when it cannot be opened.
    describe_target(result, sink);
    for (size_t i = 0; i < result->table_count && status == STATUS_OK && sink->ops->check != NULL;
         i++) {
        status = sink->ops->check(sink, result->tables[i].source.relation, &result->report, &err);
    }
    if (status != STATUS_OK) {
        report_failure(&result->report, "sink", &err);
    }
    sink_free(sink);
}

Status runner_check(const Pipeline *pipeline, const PipelineRoute *route, CheckResult *ret,
                    Error *err)
{
    *ret = (CheckResult){0};
    Cancel cancel;
    if (cancel_init(&cancel, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    check_source(pipeline, &cancel, ret);
    if (route != NULL) {
        check_sink(pipeline, route, &cancel, ret);
    }
    cancel_done(&cancel);
    return STATUS_OK;
}

void check_result_done(CheckResult *result)
{
    report_done(&result->report);
    arena_done(&result->arena);
}
