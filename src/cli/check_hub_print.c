#include <stdio.h>

#include "base/buf.h"
#include "base/limits.h"
#include "cli/check_hub.h"
#include "cli/check_json.h"
#include "cli/json_print.h"
#include "cli/table.h"
#include "codec/json.h"
#include "model/convert.h"

// Called for each rule of all systems, in the order of the files.
typedef void RuleVisitor(const HubCheck *check, const HubSystem *system, const MixerRule *rule,
                         void *context);

static void visit_rules(const HubCheck *check, bool pushed, RuleVisitor *visit, void *context)
{
    for (size_t i = 0; i < check->hub->system_count; i++) {
        const HubSystem *system = &check->hub->systems[i];
        const MixerGroup *groups = pushed ? system->push : system->receive;
        size_t count = pushed ? system->push_count : system->receive_count;
        for (size_t j = 0; j < count; j++) {
            for (size_t k = 0; k < groups[j].count; k++) {
                visit(check, system, &groups[j].rules[k], context);
            }
        }
    }
}

// NULL: not known.
static const char *field_type(const HubCheck *check, const MixerField *field)
{
    return map_get_u64(&check->field_types, (uintptr_t)field);
}

static Str constant_text(const MixerField *field, Arena *arena)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, LIMIT_TEXT_BYTES);
    JsonValue shown = *field->constant;
    if (field->replaced.len > 0) {
        shown = (JsonValue){.kind = JSON_STRING, .text = field->replaced};
    }
    json_print(&text, &shown);
    return str_copy(arena, buf_view(&text));
}

// ---------------------------------------------------------------------------------------------
// Text
// ---------------------------------------------------------------------------------------------

static Str types_text(const Model *model, int property, Arena *arena)
{
    char text[CONVERT_TYPES_TEXT];
    convert_types_text(model->properties[property].types, text);
    return str_from(arena_printf(arena, "%s", text));
}

static Str system_type_text(const HubCheck *check, const MixerField *field)
{
    const char *type = field_type(check, field);
    return type == NULL ? STR("-") : str_from(type);
}

static void add_received(const HubCheck *check, const HubSystem *system, const MixerRule *rule,
                         void *context)
{
    TextTable *table = context;
    for (size_t i = 0; i < rule->count; i++) {
        const MixerField *field = &rule->fields[i];
        bool is_constant = field->constant != NULL;
        const Str cells[] = {
            system->name,
            rule->location,
            is_constant ? constant_text(field, &table->arena) : field->name,
            is_constant ? STR("constant") : system_type_text(check, field),
            rule->model->title,
            rule->model->properties[field->property].name,
            types_text(rule->model, field->property, &table->arena),
        };
        text_table_row(table, cells, ARRAY_LEN(cells));
    }
}

static Str search_key_text(size_t number, Arena *arena)
{
    return str_from(arena_printf(arena, "search key %zu", number));
}

static void add_pushed(const HubCheck *check, const HubSystem *system, const MixerRule *rule,
                       void *context)
{
    TextTable *table = context;
    size_t key = 0;
    for (size_t i = 0; i < rule->count; i++) {
        const MixerField *field = &rule->fields[i];
        bool is_constant = field->constant != NULL;
        key += field->is_search_key;
        const Str cells[] = {
            rule->model->title,
            is_constant ? constant_text(field, &table->arena)
                        : rule->model->properties[field->property].name,
            is_constant ? STR("constant") : types_text(rule->model, field->property, &table->arena),
            system->name,
            rule->location,
            field->name,
            system_type_text(check, field),
            field->is_search_key ? search_key_text(key, &table->arena) : STR(""),
        };
        text_table_row(table, cells, ARRAY_LEN(cells));
    }
}

// The first row is the heading.
static void print_rules(const char *what, const TextTable *table)
{
    if (table->row_count > 1) {
        printf("\n%s\n", what);
        text_table_print(table, 2);
    }
}

static void print_received(const HubCheck *check)
{
    TextTable table = {0};
    const Str heading[] = {STR("SYSTEM"), STR("LOCATION"), STR("FIELD"), STR("TYPE"),
                           STR("MODEL"),  STR("PROPERTY"), STR("TYPE")};
    text_table_row(&table, heading, ARRAY_LEN(heading));
    visit_rules(check, false, add_received, &table);
    print_rules("Received", &table);
    text_table_done(&table);
}

static void print_pushed(const HubCheck *check)
{
    TextTable table = {0};
    const Str heading[] = {STR("MODEL"),    STR("PROPERTY"), STR("TYPE"), STR("SYSTEM"),
                           STR("LOCATION"), STR("FIELD"),    STR("TYPE"), STR("")};
    text_table_row(&table, heading, ARRAY_LEN(heading));
    visit_rules(check, true, add_pushed, &table);
    print_rules("Pushed", &table);
    text_table_done(&table);
}

static Str rate_text(const HubSystem *system, Arena *arena)
{
    return system->rate_limit == 0
               ? STR("none")
               : str_from(arena_printf(arena, "%lld/s, %lld at once", (long long)system->rate_limit,
                                       (long long)system->rate_bucket_size));
}

static void print_systems(const HubCheck *check)
{
    TextTable table = {0};
    const Str heading[] = {STR("SYSTEM"), STR("TYPE"), STR("RATE LIMIT")};
    text_table_row(&table, heading, ARRAY_LEN(heading));
    for (size_t i = 0; i < check->hub->system_count; i++) {
        const HubSystem *system = &check->hub->systems[i];
        const Str cells[] = {system->name, str_from(system_kinds[system->type].name),
                             rate_text(system, &table.arena)};
        text_table_row(&table, cells, ARRAY_LEN(cells));
    }
    printf("\nSystems\n");
    text_table_print(&table, 2);
    text_table_done(&table);
}

void hub_print_text(const HubCheck *check)
{
    printf("Hub %" STR_FMT "\n", STR_ARG(check->directory));
    print_systems(check);
    print_received(check);
    print_pushed(check);
    check_print_findings(&check->report);
    bool ready = report_count(&check->report, PROBLEM_MUST) == 0;
    const char *fine = check->asks ? "Nothing is missing." : "Its files are right.";
    printf("\n%s\n", ready ? fine : "Something must be mended first.");
}

// ---------------------------------------------------------------------------------------------
// JSON
// ---------------------------------------------------------------------------------------------

static void json_types(uint32_t types)
{
    bool is_first = true;
    printf(",\"types\":[");
    for (int kind = JSON_NULL; kind <= SCHEMA_INTEGER; kind++) {
        bool is_part_of_number = kind == SCHEMA_INTEGER && (types >> JSON_NUMBER & 1) != 0;
        if ((types >> kind & 1) == 0 || is_part_of_number) {
            continue;
        }
        printf("%s\"%s\"", is_first ? "" : ",",
               kind == SCHEMA_INTEGER ? "integer" : json_kind_name((JsonKind)kind));
        is_first = false;
    }
    printf("]");
}

static void json_models(const HubCheck *check)
{
    printf(",\n\"models\":[");
    for (size_t i = 0; i < check->hub->model_count; i++) {
        const Model *model = &check->hub->models[i];
        json_print_text(i == 0 ? "\n {" : ",\n {", "title", model->title, true);
        json_print_text(",", "file", model->file, true);
        printf(",\"properties\":[");
        for (uint32_t j = 0; j < model->property_count; j++) {
            const SchemaProperty *property = &model->properties[j];
            json_print_text(j == 0 ? "\n  {" : ",\n  {", "name", property->name, true);
            json_types(property->types);
            json_print_bool("required", property->is_required);
            printf("}");
        }
        printf("]}");
    }
    printf("]");
}

static void json_systems(const HubCheck *check)
{
    printf(",\n\"systems\":[");
    for (size_t i = 0; i < check->hub->system_count; i++) {
        const HubSystem *system = &check->hub->systems[i];
        json_print_text(i == 0 ? "\n {" : ",\n {", "name", system->name, true);
        json_print_text(",", "type", str_from(system_kinds[system->type].name), true);
        json_print_number("rate_limit", system->rate_limit > 0 ? system->rate_limit : -1);
        json_print_number("rate_bucket_size",
                          system->rate_limit > 0 ? system->rate_bucket_size : -1);
        printf("}");
    }
    printf("]");
}

typedef struct JsonRules {
    bool pushed;
    size_t count;
} JsonRules;

static void json_field(const HubCheck *check, const MixerRule *rule, const MixerField *field,
                       bool pushed)
{
    const char *type = field_type(check, field);
    bool has_property = field->property >= 0;
    json_print_text("", "field", field->name, field->name.len > 0);
    json_print_text(",", "type", str_from(type), type != NULL);
    json_print_text(",", "property",
                    has_property ? rule->model->properties[field->property].name : STR(""),
                    has_property);
    if (field->constant != NULL) {
        Arena scratch = {0};
        printf(",\"constant\":%" STR_FMT, STR_ARG(constant_text(field, &scratch)));
        arena_done(&scratch);
    }
    if (pushed) {
        json_print_bool("search_key", field->is_search_key);
    }
}

static void json_rule(const HubCheck *check, const HubSystem *system, const MixerRule *rule,
                      void *context)
{
    JsonRules *rules = context;
    json_print_text(rules->count++ == 0 ? "\n {" : ",\n {", "system", system->name, true);
    json_print_text(",", "location", rule->location, true);
    json_print_text(",", "model", rule->model->title, true);
    printf(",\"fields\":[");
    for (size_t i = 0; i < rule->count; i++) {
        printf(i == 0 ? "\n  {" : ",\n  {");
        json_field(check, rule, &rule->fields[i], rules->pushed);
        printf("}");
    }
    printf("]}");
}

void hub_print_json(const HubCheck *check)
{
    JsonRules received = {.pushed = false};
    JsonRules pushed = {.pushed = true};
    json_print_text("{", "hub", check->directory, true);
    json_models(check);
    json_systems(check);
    printf(",\n\"received\":[");
    visit_rules(check, false, json_rule, &received);
    printf("],\n\"pushed\":[");
    visit_rules(check, true, json_rule, &pushed);
    printf("]");
    check_json_findings(&check->report);
    json_print_bool("ready", report_count(&check->report, PROBLEM_MUST) == 0);
    printf("}\n");
}

// ---------------------------------------------------------------------------------------------
// A picture
// ---------------------------------------------------------------------------------------------

// In a quoted string of DOT, where a backslash begins an escape of labels.
static void dot_text(Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool is_special = c == '"' || c == '\\';
        printf(is_special ? "\\%c" : "%c", c < 0x20 ? ' ' : c);
    }
}

static void dot_location(const char *side, const HubSystem *system, const MixerRule *rule)
{
    printf("\"%s ", side);
    dot_text(system->name);
    printf(" ");
    dot_text(rule->location);
    printf("\"");
}

static void dot_model(const Model *model)
{
    printf("\"model ");
    dot_text(model->title);
    printf("\"");
}

static void dot_node(const char *side, const HubSystem *system, const MixerRule *rule)
{
    printf("  ");
    dot_location(side, system, rule);
    printf(" [label=\"");
    dot_text(system->name);
    printf("\\n");
    dot_text(rule->location);
    printf("\"];\n");
}

// "name: text"; of what nobody knows the type, the name alone.
static void dot_typed(Str name, Str type)
{
    dot_text(name);
    if (type.len > 0) {
        printf(": ");
        dot_text(type);
    }
}

static void dot_property(const Model *model, int property, Arena *arena)
{
    dot_typed(model->properties[property].name, types_text(model, property, arena));
}

static void dot_field(const HubCheck *check, const MixerField *field)
{
    const char *type = field_type(check, field);
    dot_typed(field->name, str_from(type == NULL ? "" : type));
}

static void dot_fields(const HubCheck *check, const MixerRule *rule, bool pushed)
{
    Arena scratch = {0};
    printf(" [label=\"");
    for (size_t i = 0; i < rule->count; i++) {
        const MixerField *field = &rule->fields[i];
        if (field->constant != NULL) {
            dot_text(constant_text(field, &scratch));
        } else if (pushed) {
            dot_property(rule->model, field->property, &scratch);
        } else {
            dot_field(check, field);
        }
        printf(" → ");
        if (pushed) {
            dot_field(check, field);
        } else {
            dot_property(rule->model, field->property, &scratch);
        }
        printf("%s\\l", field->is_search_key ? " (search key)" : "");
    }
    printf("\"];\n");
    arena_done(&scratch);
}

static void dot_received(const HubCheck *check, const HubSystem *system, const MixerRule *rule,
                         void *context)
{
    (void)context;
    dot_node("from", system, rule);
    printf("  ");
    dot_location("from", system, rule);
    printf(" -> ");
    dot_model(rule->model);
    dot_fields(check, rule, false);
}

static void dot_pushed(const HubCheck *check, const HubSystem *system, const MixerRule *rule,
                       void *context)
{
    (void)context;
    dot_node("to", system, rule);
    printf("  ");
    dot_model(rule->model);
    printf(" -> ");
    dot_location("to", system, rule);
    dot_fields(check, rule, true);
}

void hub_print_dot(const HubCheck *check)
{
    printf("digraph hub {\n  rankdir=LR;\n  node [shape=box];\n");
    for (size_t i = 0; i < check->hub->model_count; i++) {
        printf("  ");
        dot_model(&check->hub->models[i]);
        printf(" [shape=ellipse, label=\"");
        dot_text(check->hub->models[i].title);
        printf("\"];\n");
    }
    visit_rules(check, false, dot_received, NULL);
    visit_rules(check, true, dot_pushed, NULL);
    printf("}\n");
}
