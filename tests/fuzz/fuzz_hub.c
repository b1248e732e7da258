// A model on the first line and a file of systems behind it: they are refused with a message, or
// make a hub whose rules fit its models.
#include "fuzz.h"
#include "model/hub.h"

static void check_field(const MixerRule *rule, const MixerField *field, bool is_pushed)
{
    const Model *model = rule->model;
    bool is_constant = field->constant != NULL;
    FUZZ_CHECK(field->origin.len > 0);
    FUZZ_CHECK(field->property < (int)model->property_count);
    FUZZ_CHECK((field->property >= 0) == (!is_pushed || !is_constant));
    FUZZ_CHECK((field->name.len > 0) == (is_pushed || !is_constant));
    FUZZ_CHECK((field->path.count > 0) == (field->name.len > 0));
    FUZZ_CHECK(!field->is_search_key || (is_pushed && !is_constant));
    if (!is_pushed && is_constant) {
        uint32_t types = model->properties[field->property].types;
        FUZZ_CHECK((types >> field->constant->kind & 1) != 0 ||
                   (field->constant->kind == JSON_NUMBER && (types >> SCHEMA_INTEGER & 1) != 0));
    }
}

static void check_rule(const MixerRule *rule, bool is_pushed)
{
    size_t keys = 0;
    FUZZ_CHECK(rule->count > 0 && rule->location.len > 0);
    for (size_t i = 0; i < rule->count; i++) {
        check_field(rule, &rule->fields[i], is_pushed);
        keys += rule->fields[i].is_search_key;
        for (size_t j = 0; j < i; j++) {
            FUZZ_CHECK(is_pushed ? !path_overlaps(&rule->fields[i].path, &rule->fields[j].path)
                                 : rule->fields[i].property != rule->fields[j].property);
        }
    }
    FUZZ_CHECK(keys == rule->search_key_count && (keys > 0) == is_pushed);
}

static void check_groups(const MixerGroup *groups, size_t count, bool is_pushed)
{
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(groups[i].count > 0);
        for (size_t j = 0; j < groups[i].count; j++) {
            check_rule(&groups[i].rules[j], is_pushed);
        }
    }
}

static void check_hub(const Hub *hub)
{
    for (size_t i = 0; i < hub->model_count; i++) {
        const Model *model = &hub->models[i];
        FUZZ_CHECK(hub_find_model(hub, model->title) == model);
        FUZZ_CHECK(model->relation->column_count == model->property_count);
    }
    for (size_t i = 0; i < hub->system_count; i++) {
        const HubSystem *system = &hub->systems[i];
        FUZZ_CHECK(hub_find_system(hub, system->name) == system);
        FUZZ_CHECK((system->rate_limit > 0) == (system->rate_bucket_size > 0));
        check_groups(system->receive, system->receive_count, false);
        check_groups(system->push, system->push_count, true);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    // Files and variables of this machine are not part of the input.
    if (size >= 2 && memmem(data, size, "${", 2) != NULL) {
        return 0;
    }
    Str systems = {(const char *)data, size};
    Str model;
    if (!str_split(&systems, '\n', &model) || memmem(data, size, "_file", 5) != NULL) {
        return 0;
    }
    HubFile models = {STR("models/m.json"), STR("models/m.json"), model};
    HubFile file = {STR("systems/s.yml"), STR("systems/s.yml"), systems};
    const HubFiles files = {&models, 1, &file, 1};
    Hub *hub;
    Error err = {0};
    if (hub_compile(&files, &hub, &err) == STATUS_OK) {
        check_hub(hub);
        hub_free(hub);
    } else {
        FUZZ_CHECK(err.kind == ERROR_CONFIG && err.message[0] != '\0');
    }
    return 0;
}
