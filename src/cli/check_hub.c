#include "cli/check_hub.h"

#include "cli/command.h"

// ---------------------------------------------------------------------------------------------
// What the files say
// ---------------------------------------------------------------------------------------------

// Which rules of any system name a model.
typedef struct Mentions {
    bool is_received;
    bool is_pushed;
    bool *received; // by property
    bool *pushed;
} Mentions;

static void mention(const MixerRule *rule, bool pushed, Mentions *mentions)
{
    *(pushed ? &mentions->is_pushed : &mentions->is_received) = true;
    for (size_t i = 0; i < rule->count; i++) {
        if (rule->fields[i].property >= 0) {
            (pushed ? mentions->pushed : mentions->received)[rule->fields[i].property] = true;
        }
    }
}

static void mention_groups(const HubCheck *check, const MixerGroup *groups, size_t count,
                           bool pushed, Mentions *mentions)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < groups[i].count; j++) {
            const MixerRule *rule = &groups[i].rules[j];
            mention(rule, pushed, &mentions[rule->model - check->hub->models]);
        }
    }
}

static void note(HubCheck *check, const Model *model, const char *what)
{
    report_problem(&check->report, PROBLEM_NOTE, NULL, "the model \"%" STR_FMT "\" is %s",
                   STR_ARG(model->title), what);
}

static void note_model(HubCheck *check, const Model *model, const Mentions *mentions)
{
    if (!mentions->is_received) {
        note(check, model,
             mentions->is_pushed ? "pushed, and no system says anything of it"
                                 : "neither received nor pushed");
        return;
    }
    if (!mentions->is_pushed) {
        note(check, model, "received, and pushed nowhere");
    }
    for (uint32_t i = 0; i < model->property_count; i++) {
        if (mentions->pushed[i] && !mentions->received[i]) {
            report_problem(&check->report, PROBLEM_NOTE, NULL,
                           "\"%" STR_FMT "\" of the model \"%" STR_FMT
                           "\" is pushed, and no system says what it is",
                           STR_ARG(model->properties[i].name), STR_ARG(model->title));
        }
    }
}

static void note_models(HubCheck *check)
{
    const Hub *hub = check->hub;
    Mentions *mentions = ARENA_ARRAY(&check->arena, Mentions, hub->model_count);
    for (size_t i = 0; i < hub->model_count; i++) {
        mentions[i].received = ARENA_ARRAY(&check->arena, bool, hub->models[i].property_count);
        mentions[i].pushed = ARENA_ARRAY(&check->arena, bool, hub->models[i].property_count);
    }
    for (size_t i = 0; i < hub->system_count; i++) {
        const HubSystem *system = &hub->systems[i];
        mention_groups(check, system->receive, system->receive_count, false, mentions);
        mention_groups(check, system->push, system->push_count, true, mentions);
    }
    for (size_t i = 0; i < hub->model_count; i++) {
        note_model(check, &hub->models[i], &mentions[i]);
    }
}

// ---------------------------------------------------------------------------------------------
// The command
// ---------------------------------------------------------------------------------------------

static void print(const HubCheck *check, HubFormat format)
{
    switch (format) {
    case HUB_TEXT:
        hub_print_text(check);
        break;
    case HUB_JSON:
        hub_print_json(check);
        break;
    case HUB_DOT:
        hub_print_dot(check);
        break;
    }
}

// A picture has no room for them.
static void point_to_findings(const HubCheck *check)
{
    Error err = {0};
    error_set(&err, ERROR_CONFIG, "something must be mended first");
    error_hint(&err, "weir check %" STR_FMT " says what; with --no-connect, no system is asked.",
               STR_ARG(check->directory));
    (void)report_error(&err);
}

int check_hub(Str directory, HubFormat format, bool connect)
{
    Hub *hub;
    Error err = {0};
    if (hub_load(directory, &hub, &err) != STATUS_OK) {
        return report_error(&err);
    }
    HubCheck check = {.directory = directory, .hub = hub, .asks = connect};
    note_models(&check);
    for (size_t i = 0; i < hub->system_count && check.asks; i++) {
        if (hub->systems[i].type == SYSTEM_POSTGRESQL) {
            hub_check_tables(&check, &hub->systems[i]);
        }
    }
    print(&check, format);
    int code = report_count(&check.report, PROBLEM_MUST) > 0 ? EXIT_USAGE : EXIT_DONE;
    if (code != EXIT_DONE && format == HUB_DOT) {
        point_to_findings(&check);
    }
    report_done(&check.report);
    map_done(&check.field_types);
    arena_done(&check.arena);
    hub_free(hub);
    return code;
}
