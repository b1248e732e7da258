#include "cli/check_json.h"

#include "buffers/disk.h"
#include "cli/json_print.h"

static void print_columns(const CheckTable *table, bool has_sink)
{
    const Relation *relation = table->source.relation;
    printf(",\"columns\":[");
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const Column *column = &relation->columns[i];
        bool has_type = has_sink && table->column_types != NULL;
        json_print_text(i == 0 ? "\n    {" : ",\n    {", "name", column->name, true);
        json_print_text(",", "type", column->type_name, true);
        json_print_text(",", "target_type", has_type ? table->column_types[i] : STR(""), has_type);
        json_print_bool("key", relation_is_key(relation, i));
        json_print_bool("not_null", column->not_null);
        printf("}");
    }
    printf("]");
}

static void print_table(const CheckTable *table, bool has_sink, bool columns, bool is_first)
{
    const Relation *relation = table->source.relation;
    json_print_text(is_first ? "\n   {" : ",\n   {", "schema", relation->schema, true);
    json_print_text(",", "name", relation->name, true);
    json_print_text(",", "target", table->target, has_sink);
    json_print_number("rows", table->source.row_estimate);
    json_print_number("bytes", table->source.byte_estimate);
    printf(",\"key\":[");
    for (uint16_t i = 0; i < relation->key_count; i++) {
        printf(i == 0 ? "" : ",");
        json_print_string(relation->columns[relation->key[i]].name);
    }
    printf("]");
    json_print_text(",", "identity", str_from(check_identity_name(relation)), true);
    if (columns) {
        print_columns(table, has_sink);
    }
    printf("}");
}

static void print_facts(const Report *report)
{
    bool is_first = true;
    printf(",\n  \"facts\":[");
    for (size_t i = 0; i < report->count; i++) {
        if (report->problems[i].level == PROBLEM_FACT) {
            printf(is_first ? "" : ",");
            json_print_string(report->problems[i].what);
            is_first = false;
        }
    }
    printf("]");
}

void check_json_findings(const Report *report)
{
    bool is_first = true;
    printf(",\n  \"findings\":[");
    for (size_t i = 0; i < report->count; i++) {
        const Problem *problem = &report->problems[i];
        if (problem->level != PROBLEM_FACT) {
            bool must = problem->level == PROBLEM_MUST;
            json_print_text(is_first ? "\n   {" : ",\n   {", "level",
                            must ? STR("must") : STR("note"), true);
            json_print_text(",", "what", problem->what, true);
            json_print_text(",", "mend", problem->mend, problem->mend.len > 0);
            printf("}");
            is_first = false;
        }
    }
    printf("]");
}

void check_json_pipeline(const Pipeline *pipeline, const PipelineRoute *route,
                         const CheckResult *result, bool columns, bool is_ready, bool is_first)
{
    bool has_sink = route != NULL;
    const char *guarantee = has_sink ? sink_guarantee_name(route->sink->guarantee) : NULL;
    json_print_text(is_first ? "{\"pipelines\":[\n {" : ",\n {", "name", pipeline->name, true);
    json_print_text(",", "source", pipeline->source_id, true);
    Arena scratch = {0};
    Str buffer = pipeline->buffer == NULL ? STR("") : disk_buffer_directory(pipeline, &scratch);
    json_print_text(",", "buffer", buffer, pipeline->buffer != NULL);
    arena_done(&scratch);
    json_print_text(",", "route", has_sink ? route->name : STR(""),
                    has_sink && route->name.len > 0);
    json_print_text(",", "sink", has_sink ? route->id : STR(""), has_sink);
    json_print_text(",", "guarantee", str_from(guarantee), has_sink);
    json_print_bool("ready", is_ready);
    print_facts(&result->report);
    printf(",\n  \"tables\":[");
    for (size_t i = 0; i < result->table_count; i++) {
        print_table(&result->tables[i], has_sink, columns, i == 0);
    }
    printf("]");
    check_json_findings(&result->report);
    printf("}");
}

void check_json_end(bool is_ready)
{
    printf("],\n\"ready\":%s}\n", is_ready ? "true" : "false");
}
