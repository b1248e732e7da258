// The rules of a system's mixers:
//
//   receive_mixer: location: model: field of the system: { field: property }
//   push_mixer:    model: location: property: { field: field of the system, search_key: true }
//
// `hardcode` gives a constant in place of what stands on the left, which is then no more than a
// label; without `field` it is the target itself.
#include "base/ascii.h"
#include "base/decimal.h"
#include "base/limits.h"
#include "config/table_pattern.h"
#include "model/convert.h"
#include "model/hub_inside.h"

// One rule that is being read.
typedef struct RuleReader {
    const MixerSource *source;
    const ConfigFile *file;
    bool is_push;
    MixerRule *rule;
} RuleReader;

static bool is_postgresql(const MixerSource *source)
{
    return source->system->type == SYSTEM_POSTGRESQL;
}

// ---------------------------------------------------------------------------------------------
// Constants
// ---------------------------------------------------------------------------------------------

// What YAML takes for a number or a truth value, and JSON does not write so: 007, +1, .5, 0x1F.
static bool is_other_spelling(Str text)
{
    static const char *const words[] = {"True", "TRUE", "False", "FALSE", "Null", "NULL", ".inf",
                                        ".Inf", ".INF", ".nan",  ".NaN",  ".NAN", NULL};
    Decimal as_json;
    double number;
    if (text.len == 0 || decimal_parse(text, &as_json)) {
        return false;
    }
    bool has_sign = text.ptr[0] == '+' || text.ptr[0] == '-';
    Str rest = has_sign ? (Str){text.ptr + 1, text.len - 1} : text;
    bool begins = rest.len > 0 && (rest.ptr[0] == '.' || ascii_is_digit(rest.ptr[0]));
    return config_is_one_of(rest, words) || str_starts_with(rest, STR("0o")) ||
           str_starts_with(rest, STR("0x")) || (begins && str_to_double(rest, &number));
}

static Status read_constant(const RuleReader *in, const YamlPair *pair, JsonValue *ret)
{
    const YamlNode *node = pair->value;
    Error *err = in->file->err;
    Decimal number;
    Str text;
    if (node->kind != YAML_SCALAR || (node->is_null && node->scalar.len == 0)) {
        config_complain(in->file, pair->line, "one value is expected for", pair->key);
        return error_hint(err, "An empty text is \"\", and nothing is null.");
    }
    if (config_expand(in->file, node, &text) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (node->is_plain && is_other_spelling(text)) {
        config_complain(in->file, pair->line, "this constant may be text or not:", node->scalar);
        return error_hint(err, "Put it in quotes, or write it as JSON does: 7, 0.5, true, null.");
    }
    *ret = (JsonValue){.kind = JSON_STRING, .text = text};
    if (node->is_plain && (node->is_null || str_is(text, "null"))) {
        *ret = (JsonValue){.kind = JSON_NULL};
    } else if (node->is_plain && (str_is(text, "true") || str_is(text, "false"))) {
        *ret = (JsonValue){.kind = JSON_BOOL, .is_true = text.len == 4};
    } else if (node->is_plain && decimal_parse(text, &number)) {
        ret->kind = JSON_NUMBER;
    }
    return STATUS_OK;
}

static Status set_constant(const RuleReader *in, const YamlPair *pair, MixerField *field)
{
    JsonValue *value = arena_alloc_zero(in->file->arena, sizeof(*value));
    JsonValue written;
    if (read_constant(in, pair, &written) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *value = written;
    field->constant = value;
    // What it stands for may be a secret.
    field->replaced =
        config_is_replaced(pair->value) ? str_copy(in->file->arena, pair->value->scalar) : STR("");
    if (in->is_push) {
        return STATUS_OK;
    }
    const SchemaProperty *property = &in->rule->model->properties[field->property];
    if (convert_json(in->file->arena, &written, property->types, value, NULL) == STATUS_OK) {
        return STATUS_OK;
    }
    // Without the value: it may have come from a variable.
    char types[CONVERT_TYPES_TEXT];
    convert_types_text(property->types, types);
    return error_set(in->file->err, ERROR_CONFIG,
                     "%" STR_FMT ": the constant for \"%" STR_FMT "\" cannot become one of: %s",
                     STR_ARG(field->origin), STR_ARG(property->name), types);
}

// ---------------------------------------------------------------------------------------------
// Fields
// ---------------------------------------------------------------------------------------------

static Status find_property(const RuleReader *in, size_t line, Str name, int *ret)
{
    const Model *model = in->rule->model;
    *ret = model_find_property(model, name);
    if (*ret >= 0) {
        return STATUS_OK;
    }
    const char **names = ARENA_ARRAY(in->file->arena, const char *, model->property_count + 1);
    for (uint32_t i = 0; i < model->property_count; i++) {
        names[i] = str_to_cstr(in->file->arena, model->properties[i].name);
    }
    error_set(in->file->err, ERROR_CONFIG,
              "%" STR_FMT ":%zu: the model \"%" STR_FMT "\" has no property \"%" STR_FMT "\"",
              STR_ARG(in->file->name), line, STR_ARG(model->title), STR_ARG(name));
    return suggest_nearest(name, names, "", in->file->err)
               ? STATUS_FAIL
               : error_hint(in->file->err, "Its properties are in %" STR_FMT ".",
                            STR_ARG(model->file));
}

static Status name_path(const RuleReader *in, MixerField *field)
{
    Error *err = in->file->err;
    bool is_table = is_postgresql(in->source);
    bool has_bracket = str_find(field->name, '[') >= 0 || str_find(field->name, ']') >= 0;
    if (field->name.len == 0 || field->name.len > LIMIT_NAME_BYTES) {
        return error_set(err, ERROR_CONFIG,
                         "%" STR_FMT ": the name of a field has %zu bytes, expected 1 to %d",
                         STR_ARG(field->origin), field->name.len, LIMIT_NAME_BYTES);
    }
    if (is_table && in->is_push) {
        if (has_bracket) {
            error_set(err, ERROR_CONFIG,
                      "%" STR_FMT ": a part of a column cannot be pushed: \"%" STR_FMT "\"",
                      STR_ARG(field->origin), STR_ARG(field->name));
            return error_hint(err, "Push the whole column, as a property that is an object.");
        }
        Str *step = arena_alloc(in->file->arena, sizeof(*step));
        *step = field->name;
        field->path = (Path){step, 1};
        return STATUS_OK;
    }
    if (has_bracket && !in->is_push) {
        error_set(err, ERROR_CONFIG, "%" STR_FMT ": \"%" STR_FMT "\" has brackets",
                  STR_ARG(field->origin), STR_ARG(field->name));
        return error_hint(err, "What is received is named with dots: metadata.id.");
    }
    Status status = in->is_push
                        ? path_parse_bracketed(field->name, in->file->arena, &field->path, err)
                        : path_parse_dotted(field->name, in->file->arena, &field->path, err);
    return status == STATUS_OK ? STATUS_OK : error_wrap(err, "%" STR_FMT, STR_ARG(field->origin));
}

// The keys of a field: `field` and `search_key`.
typedef struct FieldKeys {
    Str field;
    bool is_search_key;
} FieldKeys;

static const Option field_options[] = {
    {"field", OPTION_STRING(FieldKeys, field), .help = "Where it goes."},
    {"search_key", OPTION_BOOL(FieldKeys, is_search_key), .help = "It finds the row."},
    {0},
};

static Status read_field_keys(const RuleReader *in, const YamlPair *pair, FieldKeys *ret)
{
    static const char *const received[] = {"field", "hardcode", NULL};
    static const char *const pushed[] = {"field", "search_key", "hardcode", NULL};
    static const char *const of_others[] = {"hardcode", NULL};
    const YamlNode *keys = pair->value;
    if (keys->kind != YAML_MAPPING) {
        config_complain(in->file, pair->line, "a mapping is expected for", pair->key);
        return error_hint(in->file->err, "Write %" STR_FMT ": { field: NAME }.",
                          STR_ARG(pair->key));
    }
    if (!in->is_push && yaml_find(keys, "search_key") != NULL) {
        config_complain(in->file, yaml_find(keys, "search_key")->line, "unknown key",
                        STR("search_key"));
        return error_hint(in->file->err, "Search keys belong to what is pushed.");
    }
    Settings settings = {.items = ARENA_ARRAY(in->file->arena, Setting, keys->count),
                         .origin = config_origin(in->file, pair->line)};
    return config_check_keys(in->file, keys, in->is_push ? pushed : received) == STATUS_OK &&
                   config_add_settings(in->file, keys, of_others, &settings) == STATUS_OK
               ? options_apply(field_options, ret, &settings, in->file->arena, in->file->err)
               : STATUS_FAIL;
}

static Status read_field(const RuleReader *in, const YamlPair *pair, MixerField *ret)
{
    FieldKeys keys = {0};
    if (read_field_keys(in, pair, &keys) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const YamlPair *constant = yaml_find(pair->value, "hardcode");
    if (keys.field.len == 0 && constant == NULL) {
        config_complain(in->file, pair->line, "\"field\" is missing in", pair->key);
        return error_hint(in->file->err, "Write %" STR_FMT ": { field: NAME }.",
                          STR_ARG(pair->key));
    }
    if (constant != NULL && keys.is_search_key) {
        config_complain(in->file, constant->line, "a constant is no search key:", pair->key);
        return error_hint(in->file->err, "It would find the same row for every object.");
    }
    Str target = keys.field.len > 0 ? keys.field : pair->key;
    Str from = constant != NULL ? STR("") : pair->key;
    *ret = (MixerField){.name = in->is_push ? target : from,
                        .property = -1,
                        .is_search_key = keys.is_search_key,
                        .origin = config_origin(in->file, pair->line)};
    bool has_property = !in->is_push || constant == NULL;
    if (has_property &&
        find_property(in, pair->line, in->is_push ? from : target, &ret->property) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (constant != NULL && set_constant(in, constant, ret) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool has_name = in->is_push || constant == NULL;
    return has_name ? name_path(in, ret) : STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Rules
// ---------------------------------------------------------------------------------------------

static Status check_target(const RuleReader *in, const MixerField *field)
{
    for (size_t i = 0; i < in->rule->count; i++) {
        const MixerField *other = &in->rule->fields[i];
        bool collides = in->is_push ? path_overlaps(&other->path, &field->path)
                                    : other->property == field->property;
        if (collides) {
            Str name =
                in->is_push ? field->name : in->rule->model->properties[field->property].name;
            error_set(in->file->err, ERROR_CONFIG,
                      "%" STR_FMT ": \"%" STR_FMT "\" is a target twice, first at %" STR_FMT,
                      STR_ARG(field->origin), STR_ARG(name), STR_ARG(other->origin));
            return error_hint(in->file->err, "Leave one of them out.");
        }
    }
    return STATUS_OK;
}

static Status read_fields(const RuleReader *in, const YamlPair *pair)
{
    const YamlNode *fields = pair->value;
    MixerRule *rule = in->rule;
    if (fields->kind != YAML_MAPPING || fields->count == 0 || fields->count > LIMIT_COLUMNS) {
        config_complain(in->file, pair->line, "there are no fields, or too many, for", pair->key);
        return error_hint(in->file->err, "Write from 1 to %d of NAME: { field: NAME }.",
                          LIMIT_COLUMNS);
    }
    rule->fields = ARENA_ARRAY(in->file->arena, MixerField, fields->count);
    for (size_t i = 0; i < fields->count; i++) {
        MixerField *field = &rule->fields[rule->count];
        if (read_field(in, &fields->pairs[i], field) != STATUS_OK ||
            check_target(in, field) != STATUS_OK) {
            return STATUS_FAIL;
        }
        rule->count++;
        rule->search_key_count += field->is_search_key;
    }
    // No two have one target.
    rule->is_whole = !in->is_push && rule->count == rule->model->property_count;
    if (in->is_push && rule->search_key_count == 0) {
        config_complain(in->file, pair->line, "there is no search key for the location", pair->key);
        return error_hint(in->file->err, "Add search_key: true to what finds a row, such as its "
                                         "primary key.");
    }
    return STATUS_OK;
}

static Status find_model(const MixerSource *source, const YamlPair *pair, const Model **ret)
{
    *ret = hub_find_model(source->hub, pair->key);
    if (*ret != NULL) {
        return STATUS_OK;
    }
    const ConfigFile *file = source->file;
    size_t count = source->hub->model_count;
    const char **titles = ARENA_ARRAY(file->arena, const char *, count + 1);
    for (size_t i = 0; i < count; i++) {
        titles[i] = str_to_cstr(file->arena, source->hub->models[i].title);
    }
    config_complain(file, pair->line, "there is no model", pair->key);
    return config_suggest(file, pair->key, titles);
}

static Status name_location(const MixerSource *source, const YamlPair *pair, MixerRule *rule)
{
    rule->location = pair->key;
    rule->origin = config_origin(source->file, pair->line);
    if (pair->key.len == 0 || pair->key.len > LIMIT_NAME_BYTES) {
        return config_complain(source->file, pair->line,
                               "this is no name of a location:", pair->key);
    }
    if (is_postgresql(source) &&
        !table_name_parse(pair->key, source->file->arena, &rule->schema, &rule->table)) {
        config_complain(source->file, pair->line, "this is no name of a table:", pair->key);
        return error_hint(source->file->err, "Write it with its schema: public.products.");
    }
    return STATUS_OK;
}

// One name can be written in several ways: public.t and "public".t.
static bool is_same_location(const MixerSource *source, const MixerRule *a, const MixerRule *b)
{
    return is_postgresql(source) ? str_equal(a->schema, b->schema) && str_equal(a->table, b->table)
                                 : str_equal(a->location, b->location);
}

static Status check_location(const MixerSource *source, const MixerRule *rule,
                             const MixerRule *other)
{
    if (!is_same_location(source, rule, other)) {
        return STATUS_OK;
    }
    return error_set(source->file->err, ERROR_CONFIG,
                     "%" STR_FMT ": \"%" STR_FMT "\" is given twice, first at %" STR_FMT,
                     STR_ARG(rule->origin), STR_ARG(rule->location), STR_ARG(other->origin));
}

// A mixer is a mapping of mappings: of groups, and in each of rules.
static Status begin_groups(const MixerSource *source, const YamlPair *mixer, MixerGroup **ret)
{
    if (config_expect_mapping(source->file, mixer->value, "a mixer") != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = ARENA_ARRAY(source->file->arena, MixerGroup, mixer->value->count);
    return STATUS_OK;
}

static Status begin_group(const MixerSource *source, const YamlPair *outer, MixerGroup *ret)
{
    if (outer->value->kind != YAML_MAPPING || outer->value->count == 0) {
        config_complain(source->file, outer->line, "there are no rules for", outer->key);
        return error_hint(source->file->err, "Leave it out, or say what goes where.");
    }
    *ret = (MixerGroup){.name = outer->key,
                        .rules = ARENA_ARRAY(source->file->arena, MixerRule, outer->value->count)};
    return STATUS_OK;
}

static Status read_location(const MixerSource *source, const YamlPair *location, MixerGroup *group)
{
    if (begin_group(source, location, group) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < location->value->count; i++) {
        const YamlPair *pair = &location->value->pairs[i];
        MixerRule *rule = &group->rules[i];
        const RuleReader in = {source, source->file, false, rule};
        if (name_location(source, location, rule) != STATUS_OK ||
            find_model(source, pair, &rule->model) != STATUS_OK ||
            read_fields(&in, pair) != STATUS_OK) {
            return STATUS_FAIL;
        }
        group->count++;
    }
    return STATUS_OK;
}

// The first location that a model is received from has its objects; others know more of them.
static void find_owners(HubSystem *system, MixerGroup *group)
{
    for (size_t i = 0; i < group->count; i++) {
        MixerRule *rule = &group->rules[i];
        rule->is_owner = true;
        for (const MixerGroup *before = system->receive; before < group; before++) {
            for (size_t j = 0; j < before->count; j++) {
                rule->is_owner = rule->is_owner && before->rules[j].model != rule->model;
            }
        }
    }
}

Status hub_read_receive(const MixerSource *source, const YamlPair *mixer, HubSystem *into)
{
    if (begin_groups(source, mixer, &into->receive) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < mixer->value->count; i++) {
        if (read_location(source, &mixer->value->pairs[i], &into->receive[i]) != STATUS_OK) {
            return STATUS_FAIL;
        }
        for (size_t j = 0; j < i; j++) {
            if (check_location(source, into->receive[i].rules, into->receive[j].rules) !=
                STATUS_OK) {
                return STATUS_FAIL;
            }
        }
        find_owners(into, &into->receive[i]);
        into->receive_count++;
    }
    return STATUS_OK;
}

static Status read_pushed(const MixerSource *source, const YamlPair *title, MixerGroup *group)
{
    const Model *model;
    if (find_model(source, title, &model) != STATUS_OK ||
        begin_group(source, title, group) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < title->value->count; i++) {
        const YamlPair *pair = &title->value->pairs[i];
        MixerRule *rule = &group->rules[i];
        const RuleReader in = {source, source->file, true, rule};
        rule->model = model;
        if (name_location(source, pair, rule) != STATUS_OK || read_fields(&in, pair) != STATUS_OK) {
            return STATUS_FAIL;
        }
        for (size_t j = 0; j < i; j++) {
            if (check_location(source, rule, &group->rules[j]) != STATUS_OK) {
                return STATUS_FAIL;
            }
        }
        group->count++;
    }
    return STATUS_OK;
}

Status hub_read_push(const MixerSource *source, const YamlPair *mixer, HubSystem *into)
{
    if (begin_groups(source, mixer, &into->push) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < mixer->value->count; i++) {
        if (read_pushed(source, &mixer->value->pairs[i], &into->push[i]) != STATUS_OK) {
            return STATUS_FAIL;
        }
        into->push_count++;
    }
    return STATUS_OK;
}
