// Project files of any bytes: they are read or refused with a message, and what is read is whole.
// None is a project and a hub.
#include "config/project.h"
#include "fuzz.h"
#include "model/hub_inside.h"

static void check_settings(const Settings *settings)
{
    for (size_t i = 0; i < settings->count; i++) {
        const Setting *setting = &settings->items[i];
        FUZZ_CHECK(setting->key.ptr != NULL && setting->origin.len > 0);
        FUZZ_CHECK(setting->is_list || setting->value.ptr != NULL);
        FUZZ_CHECK(setting->list.count == 0 || setting->is_list);
    }
}

static void check_project(const Project *project)
{
    for (size_t i = 0; i < project->count; i++) {
        const ProjectPipeline *pipeline = &project->pipelines[i];
        FUZZ_CHECK(pipeline->name.ptr != NULL && pipeline->origin.len > 0);
        check_settings(&pipeline->source.settings);
        FUZZ_CHECK(pipeline->sink_count > 0);
        for (size_t j = 0; j < pipeline->sink_count; j++) {
            check_settings(&pipeline->sinks[j].settings);
            FUZZ_CHECK(pipeline->sink_count == 1 || pipeline->sinks[j].name.len > 0);
        }
    }
}

static bool is_place(const char *path)
{
    return path[0] == '/' || strncmp(path, "here/", strlen("here/")) == 0;
}

// @is_by_folders: it would be a hub without this file.
static bool is_hub(Str text, bool is_by_folders, Arena *arena)
{
    Error err = {0};
    const ConfigFile file = {STR("weir.yml"), arena, &err};
    HubPlaces places = {.models = "here/models", .systems = "here/systems"};
    bool is_one = is_by_folders;
    if (hub_read_places(&file, text, "here", &places, &is_one) == STATUS_OK) {
        FUZZ_CHECK(is_place(places.models) && is_place(places.systems));
    } else {
        FUZZ_CHECK(err.kind == ERROR_CONFIG && err.message[0] != '\0');
    }
    return is_one;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    // Files of this machine are not part of the input.
    if (size >= 6 && memmem(data, size, "${file", 6) != NULL) {
        return 0;
    }
    Arena arena = {0};
    Project project = {0};
    Error err = {0};
    Str text = {(const char *)data, size};
    bool by_folders = is_hub(text, true, &arena);
    FUZZ_CHECK(by_folders || !is_hub(text, false, &arena));
    if (project_parse(text, STR("weir.yml"), &arena, &project, &err) == STATUS_OK) {
        check_project(&project);
        FUZZ_CHECK(!by_folders);
    } else {
        FUZZ_CHECK(err.message[0] != '\0');
    }
    arena_done(&arena);
    return 0;
}
