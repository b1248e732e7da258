// weir check: what would happen, what is missing, and what mends it.
#include <unistd.h>

#include "buffers/disk.h"
#include "cli/check_hub.h"
#include "cli/check_json.h"
#include "cli/command.h"
#include "cli/pipeline_options.h"
#include "cli/project_pipelines.h"
#include "cli/table.h"

typedef struct CheckOptions {
    PipelineOptions pipeline;
    bool columns;
    int format; // CheckFormat
    bool dot;
    bool connect;
} CheckOptions;

typedef struct Printed {
    size_t count;
    bool all_ready;
    Claims claims;
} Printed;

typedef enum CheckFormat { FORMAT_TEXT, FORMAT_JSON } CheckFormat;

static const char *const format_choices[] = {"text", "json", NULL};

static const Option check_options[] = {
    {"table", OPTION_LIST(CheckOptions, pipeline.tables), .value_name = "PATTERN",
     .help = "Look at these tables only: schema.table, schema.* or table. Can be repeated."},
    EXCLUDE_TABLE_OPTION(CheckOptions, pipeline.exclude_tables),
    {"publication", OPTION_STRING(CheckOptions, pipeline.publication), .value_name = "NAME",
     .help = "Publication that is to be read."},
    {"slot", OPTION_STRING(CheckOptions, pipeline.slot), .value_name = "NAME",
     .help = "Slot that is to be read."},
    {"state", OPTION_STRING(CheckOptions, pipeline.state), .value_name = "DIR",
     .help = "Directory for the state. Default: what the file says, else $XDG_STATE_HOME/weir or "
             "~/.local/state/weir."},
    {"copy", OPTION_BOOL(CheckOptions, pipeline.copy), .fallback = "true",
     .help = "The rows that are there are not to be copied."},
    {"buffer", OPTION_CHOICE(CheckOptions, pipeline.buffer, buffer_choices), .fallback = "memory",
     .help = "Where changes are to wait for the target."},
    {"name", OPTION_STRING(CheckOptions, pipeline.name), .value_name = "NAME",
     .help = "Name of the pipeline."},
    {"columns", OPTION_BOOL(CheckOptions, columns), .fallback = "true",
     .help = "Leave the columns and their types out."},
    {"format", OPTION_CHOICE(CheckOptions, format, format_choices), .fallback = "text",
     .help = "The report as text or as one JSON document, for programs."},
    {"dot", OPTION_BOOL(CheckOptions, dot), .fallback = "false",
     .help = "Of a hub: a picture for Graphviz in place of the report, with the types."},
    {"connect", OPTION_BOOL(CheckOptions, connect), .fallback = "true",
     .help = "Of a hub: look at its files only, without connecting to its systems."},
    {0},
};

static Str key_text(const Relation *relation, Arena *arena)
{
    if (relation->key_count == 0) {
        return STR("none");
    }
    CLEANUP(buf_done) Buf text;
    buf_init(&text, 64 * 1024);
    for (uint16_t i = 0; i < relation->key_count; i++) {
        buf_printf(&text, "%s%" STR_FMT, i == 0 ? "" : ", ",
                   STR_ARG(relation->columns[relation->key[i]].name));
    }
    return str_copy(arena, buf_view(&text));
}

const char *check_identity_name(const Relation *relation)
{
    switch (relation->identity) {
    case IDENTITY_DEFAULT:
        return relation->key_count > 0 ? "primary key" : "none";
    case IDENTITY_NOTHING:
        return "nothing";
    case IDENTITY_FULL:
        return "full";
    case IDENTITY_INDEX:
        return "index";
    }
    return "?";
}

static Str table_text(const Relation *relation, Arena *arena)
{
    return str_from(arena_printf(arena, "%" STR_FMT ".%" STR_FMT, STR_ARG(relation->schema),
                                 STR_ARG(relation->name)));
}

static void print_tables(const CheckResult *result, bool has_sink, Arena *arena)
{
    if (result->table_count == 0) {
        return;
    }
    TextTable table = {.right = {[2] = true, [3] = true}};
    const Str heading[] = {STR("TABLE"), STR("TARGET"), STR("ROWS"),
                           STR("SIZE"),  STR("KEY"),    STR("IDENTITY")};
    text_table_row(&table, heading, ARRAY_LEN(heading));
    for (size_t i = 0; i < result->table_count; i++) {
        const CheckTable *row = &result->tables[i];
        const Relation *relation = row->source.relation;
        int64_t rows = row->source.row_estimate;
        int64_t bytes = row->source.byte_estimate;
        const Str cells[] = {
            table_text(relation, arena),
            has_sink ? row->target : STR("-"),
            rows < 0 ? STR("?") : format_count(rows, arena),
            bytes < 0 ? STR("?") : format_bytes(bytes, arena),
            key_text(relation, arena),
            str_from(check_identity_name(relation)),
        };
        text_table_row(&table, cells, ARRAY_LEN(cells));
    }
    printf("\nTables (rows as the server estimates them)\n");
    text_table_print(&table, 2);
    text_table_done(&table);
}

static void print_columns(const CheckResult *result, bool has_sink, Arena *arena)
{
    for (size_t i = 0; i < result->table_count; i++) {
        const CheckTable *row = &result->tables[i];
        const Relation *relation = row->source.relation;
        TextTable table = {0};
        const Str heading[] = {STR("COLUMN"), STR("TYPE"), STR("TARGET TYPE"), STR("")};
        text_table_row(&table, heading, ARRAY_LEN(heading));
        for (uint16_t c = 0; c < relation->column_count; c++) {
            const Column *column = &relation->columns[c];
            bool key = relation_is_key(relation, c);
            const Str cells[] = {
                column->name,
                column->type_name,
                has_sink && row->column_types != NULL ? row->column_types[c] : STR("-"),
                str_from(key ? "key" : (column->not_null ? "not null" : "")),
            };
            text_table_row(&table, cells, ARRAY_LEN(cells));
        }
        printf("\n%" STR_FMT "\n", STR_ARG(table_text(relation, arena)));
        text_table_print(&table, 2);
        text_table_done(&table);
    }
}

static void print_problem(const Problem *problem)
{
    bool color = isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == NULL;
    bool must = problem->level == PROBLEM_MUST;
    printf("  %s%s%s  %" STR_FMT "\n", color ? (must ? "\033[31m" : "\033[33m") : "",
           must ? "must" : "note", color ? "\033[0m" : "", STR_ARG(problem->what));
    if (problem->mend.len > 0) {
        printf("        %" STR_FMT "\n", STR_ARG(problem->mend));
    }
}

static void print_facts(const Pipeline *pipeline, const PipelineRoute *route, const Report *report)
{
    printf("Pipeline %" STR_FMT "\n  source     %" STR_FMT "\n", STR_ARG(pipeline->name),
           STR_ARG(pipeline->source_id));
    if (pipeline->buffer != NULL) {
        Arena scratch = {0};
        printf("  buffer     disk:%" STR_FMT "\n",
               STR_ARG(disk_buffer_directory(pipeline, &scratch)));
        arena_done(&scratch);
    }
    if (route != NULL && route->name.len > 0) {
        printf("  route      %" STR_FMT "\n", STR_ARG(route->name));
    }
    if (route != NULL) {
        printf("  sink       %" STR_FMT "\n  guarantee  %s\n", STR_ARG(route->id),
               sink_guarantee_name(route->sink->guarantee));
    }
    if (report_count(report, PROBLEM_FACT) > 0) {
        printf("\nSource\n");
    }
    for (size_t i = 0; i < report->count; i++) {
        if (report->problems[i].level == PROBLEM_FACT) {
            printf("  %" STR_FMT "\n", STR_ARG(report->problems[i].what));
        }
    }
}

void check_print_findings(const Report *report)
{
    size_t must = report_count(report, PROBLEM_MUST);
    size_t note = report_count(report, PROBLEM_NOTE);
    if (must + note > 0) {
        printf("\nFindings\n");
    }
    for (size_t i = 0; i < report->count; i++) {
        if (report->problems[i].level != PROBLEM_FACT) {
            print_problem(&report->problems[i]);
        }
    }
}

static void print_text(const Pipeline *pipeline, const PipelineRoute *route,
                       const CheckResult *result, bool columns, Arena *arena)
{
    bool has_sink = route != NULL;
    print_facts(pipeline, route, &result->report);
    print_tables(result, has_sink, arena);
    if (columns) {
        print_columns(result, has_sink, arena);
    }
    check_print_findings(&result->report);
    bool ready = report_count(&result->report, PROBLEM_MUST) == 0;
    printf("\n%s\n", ready ? "Ready." : "Something must be mended first.");
}

// @route NULL: the source alone.
static void print_result(const Pipeline *pipeline, const PipelineRoute *route,
                         const CheckResult *result, const CheckOptions *options, Printed *printed)
{
    bool ready = report_count(&result->report, PROBLEM_MUST) == 0;
    bool is_first = printed->count++ == 0;
    printed->all_ready = printed->all_ready && ready;
    if (options->format == FORMAT_JSON) {
        check_json_pipeline(pipeline, route, result, options->columns, ready, is_first);
        return;
    }
    Arena scratch = {0};
    printf(is_first ? "" : "\n");
    print_text(pipeline, route, result, options->columns, &scratch);
    arena_done(&scratch);
}

static void check_pipeline(const Pipeline *pipeline, const CheckOptions *options, Cancel *cancel,
                           Printed *printed)
{
    Arena scratch = {0};
    Report buffer = {0};
    Checkpoint stored = {0};
    bool has_buffer = pipeline->buffer != NULL;
    size_t count = MAX(pipeline->route_count, (size_t)1);
    CheckResult *results = ARENA_ARRAY(&scratch, CheckResult, count);
    if (has_buffer) {
        disk_buffer_check(pipeline, &buffer, &stored);
    }
    runner_check(pipeline, NULL, has_buffer ? &stored : NULL, cancel, results);
    for (size_t i = 0; i < count; i++) {
        const PipelineRoute *route = pipeline->route_count == 0 ? NULL : &pipeline->routes[i];
        report_add(&results[i].report, &buffer);
        if (route != NULL) {
            Str key = pipeline_route_key(pipeline, route, &scratch);
            claims_take(&printed->claims, key, &results[i].report);
        }
        print_result(pipeline, route, &results[i], options, printed);
    }
    check_results_done(results, count);
    report_done(&buffer);
    checkpoint_done(&stored);
    arena_done(&scratch);
}

// Each is printed as soon as it is known.
static int check_pipelines(const Pipeline *pipelines, size_t count, const CheckOptions *options)
{
    Printed printed = {.all_ready = true};
    Error err = {0};
    Cancel cancel;
    if (cancel_init(&cancel, &err) != STATUS_OK) {
        return report_error(&err);
    }
    for (size_t i = 0; i < count; i++) {
        check_pipeline(&pipelines[i], options, &cancel, &printed);
    }
    if (options->format == FORMAT_JSON) {
        check_json_end(printed.all_ready);
    }
    cancel_done(&cancel);
    claims_done(&printed.claims);
    return printed.all_ready ? EXIT_DONE : EXIT_USAGE;
}

static int check_project(const Invocation *invocation, const CheckOptions *options)
{
    Pipeline *pipelines;
    size_t count;
    Error err = {0};
    if (project_pipelines(project_path(&invocation->arguments), options->pipeline.state, STR(""),
                          invocation->arena, &pipelines, &count, &err) != STATUS_OK) {
        return report_error(&err);
    }
    return check_pipelines(pipelines, count, options);
}

static int check_run_hub(Str directory, const CheckOptions *options)
{
    HubFormat format = options->format == FORMAT_JSON ? HUB_JSON : HUB_TEXT;
    return check_hub(directory, options->dot ? HUB_DOT : format, options->connect);
}

static int refuse_hub_options(void)
{
    Error err;
    error_set(&err, ERROR_CONFIG, "\"--dot\" and \"--no-connect\" are for a hub");
    error_hint(&err, "A hub is a folder with the folders models and systems in it.");
    return report_error(&err);
}

static int check_run(Invocation *invocation)
{
    CheckOptions *options = invocation->options;
    Str path = project_path(&invocation->arguments);
    if (invocation->arguments.count < 2 && hub_is_at(path)) {
        return check_run_hub(path, options);
    }
    if (options->dot || !options->connect) {
        return refuse_hub_options();
    }
    if (project_is_named(&invocation->arguments, invocation->arena)) {
        return check_project(invocation, options);
    }
    bool has_sink = invocation->arguments.count > 1;
    Pipeline pipeline = {0};
    Error err = {0};
    if (pipeline_from_options(invocation->arguments.items[0],
                              has_sink ? invocation->arguments.items[1] : STR("null:"),
                              &options->pipeline, false, invocation->arena, &pipeline,
                              &err) != STATUS_OK) {
        return report_error(&err);
    }
    pipeline.route_count = has_sink ? 1 : 0;
    return check_pipelines(&pipeline, 1, options);
}

static const char *const examples[] = {
    "weir check postgres://localhost/shop",
    "weir check postgres://localhost/shop duckdb:shop.duckdb",
    "weir check pipelines/",
    "weir check --dot hub/ | dot -Tsvg >hub.svg",
    "weir check --format json postgres://localhost/shop | jq .ready",
    NULL,
};

const Command check_command = {
    .name = "check",
    .arguments = "[DIR|FILE | SOURCE [SINK]]",
    .arguments_max = 2,
    .summary = "look at both ends and say what would happen",
    .description =
        "Connects to both ends and changes nothing. Prints the tables that would be streamed, how "
        "each column's type maps, what will be made on the source, and everything that is missing, "
        "with the SQL or setting that mends it. Exit code 2 when something must be mended. "
        "Of a hub, a folder with models and systems: what each system's locations feed, and where "
        "each model is pushed.",
    .examples = examples,
    .options = check_options,
    .options_size = sizeof(CheckOptions),
    .run = check_run,
};
