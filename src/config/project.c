#include "config/project.h"

#include <sys/stat.h>

#include "base/limits.h"
#include "config/config_file.h"
#include "config/text_file.h"

typedef struct Loader {
    ConfigFile file;
    const YamlNode *connections;
} Loader;

// ---------------------------------------------------------------------------------------------
// Pipelines
// ---------------------------------------------------------------------------------------------

static Status unknown_connection(Loader *loader, size_t line, Str name)
{
    const char *names[64];
    size_t count = 0;
    for (size_t i = 0; i < loader->connections->count && count < ARRAY_LEN(names) - 1; i++) {
        names[count++] = str_to_cstr(loader->file.arena, loader->connections->pairs[i].key);
    }
    names[count] = NULL;
    (void)config_complain(&loader->file, line, "there is no connection", name);
    return config_suggest(&loader->file, name, names);
}

// How an end is written, with a connection that there is.
static Status hint_end(Loader *loader, Str end)
{
    Str known = loader->connections->count > 0 ? loader->connections->pairs[0].key : STR("NAME");
    return error_hint(loader->file.err,
                      "For example: %" STR_FMT ": { connection: %" STR_FMT " }, which names one of "
                      "\"connections\".",
                      STR_ARG(end), STR_ARG(known));
}

// `from:` or `to:`: the settings of the connection it names, and its own.
static Status load_end(Loader *loader, const YamlPair *end, bool in_list, ProjectEnd *ret)
{
    if (config_expect_mapping(&loader->file, end->value, "an end of a pipeline") != STATUS_OK) {
        return hint_end(loader, end->key);
    }
    Str name;
    const YamlPair *reference = yaml_find(end->value, "connection");
    if (reference == NULL) {
        (void)config_complain(&loader->file, end->line, "\"connection\" is missing in", end->key);
        return hint_end(loader, end->key);
    }
    if (config_scalar(&loader->file, reference, &name) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const YamlPair *connection =
        yaml_find(loader->connections, str_to_cstr(loader->file.arena, name));
    if (connection == NULL) {
        return unknown_connection(loader, reference->line, name);
    }
    if (config_expect_mapping(&loader->file, connection->value, "a connection") != STATUS_OK) {
        return STATUS_FAIL;
    }
    const YamlPair *type = yaml_find(connection->value, "type");
    if (type == NULL) {
        return config_complain(&loader->file, connection->line, "\"type\" is missing in connection",
                               name);
    }
    *ret = (ProjectEnd){.name = in_list ? name : STR("")};
    ret->settings = (Settings){
        .items = ARENA_ARRAY(loader->file.arena, Setting,
                             connection->value->count + end->value->count + 1),
        .origin = config_origin(&loader->file, connection->line),
    };
    const YamlPair *own_name = in_list ? yaml_find(end->value, "name") : NULL;
    static const char *const of_connection[] = {"type", NULL};
    static const char *const of_end[] = {"connection", NULL};
    static const char *const of_listed[] = {"connection", "name", NULL};
    if ((own_name != NULL && config_scalar(&loader->file, own_name, &ret->name) != STATUS_OK) ||
        config_scalar(&loader->file, type, &ret->type) != STATUS_OK ||
        config_add_settings(&loader->file, connection->value, of_connection, &ret->settings) !=
            STATUS_OK) {
        return STATUS_FAIL;
    }
    return config_add_settings(&loader->file, end->value, in_list ? of_listed : of_end,
                               &ret->settings);
}

static Status load_sinks(Loader *loader, const YamlPair *to, ProjectPipeline *ret)
{
    bool is_list = to->value->kind == YAML_SEQUENCE;
    size_t count = is_list ? to->value->count : 1;
    if (count == 0 || count > LIMIT_ROUTES) {
        return error_set(loader->file.err, ERROR_CONFIG,
                         "%" STR_FMT ":%zu: \"to\" has %zu places, expected 1 to %d",
                         STR_ARG(loader->file.name), to->line, count, LIMIT_ROUTES);
    }
    ret->sinks = ARENA_ARRAY(loader->file.arena, ProjectEnd, count);
    for (size_t i = 0; i < count; i++) {
        YamlPair item = *to;
        if (is_list) {
            item.value = to->value->items[i];
            item.line = item.value->line;
        }
        if (load_end(loader, &item, is_list, &ret->sinks[i]) != STATUS_OK) {
            return STATUS_FAIL;
        }
        for (size_t j = 0; j < i; j++) {
            if (str_equal(ret->sinks[i].name, ret->sinks[j].name)) {
                (void)config_complain(&loader->file, item.line, "two places have the name",
                                      ret->sinks[i].name);
                return error_hint(loader->file.err, "Tell them apart: { connection: …, name: … }.");
            }
        }
        ret->sink_count++;
    }
    return STATUS_OK;
}

static Status load_buffer(Loader *loader, const YamlPair *buffer, ProjectPipeline *ret)
{
    static const char *const kinds[] = {"memory", "disk", NULL};
    static const char *const of_buffer[] = {"type", NULL};
    const YamlNode *node = buffer->value;
    const YamlPair *type = node->kind == YAML_MAPPING ? yaml_find(node, "type") : buffer;
    ret->buffer_settings = (Settings){.origin = config_origin(&loader->file, buffer->line)};
    ret->buffer = STR("disk"); // only that has settings
    if (type != NULL && config_scalar(&loader->file, type, &ret->buffer) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!config_is_one_of(ret->buffer, kinds)) {
        (void)config_complain(&loader->file, type == NULL ? buffer->line : type->line,
                              "unknown type of buffer",
                              type == NULL ? ret->buffer : type->value->scalar);
        return error_hint(loader->file.err, "It is \"memory\" or \"disk\".");
    }
    if (node->kind != YAML_MAPPING) {
        return STATUS_OK;
    }
    ret->buffer_settings.items = ARENA_ARRAY(loader->file.arena, Setting, node->count);
    return config_add_settings(&loader->file, node, of_buffer, &ret->buffer_settings);
}

// @pair may be NULL.
static Status load_word(Loader *loader, const YamlPair *pair, Setting *ret)
{
    if (pair == NULL) {
        return STATUS_OK;
    }
    return config_setting(&loader->file, pair, ret);
}

static Status load_guards(Loader *loader, const YamlNode *node, ProjectPipeline *ret)
{
    static const char *const names[] = {"watchdog", "wal_warning", "wal_disk"};
    Settings *guards = &ret->guards;
    guards->origin = ret->origin;
    guards->items = ARENA_ARRAY(loader->file.arena, Setting, ARRAY_LEN(names));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const YamlPair *pair = yaml_find(node, names[i]);
        if (pair == NULL) {
            continue;
        }
        if (config_setting(&loader->file, pair, &guards->items[guards->count++]) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status load_pipeline(Loader *loader, const YamlPair *pair, ProjectPipeline *ret)
{
    static const char *const known[] = {"from",        "to",       "jobs",     "buffer", "watchdog",
                                        "wal_warning", "wal_disk", "on_error", NULL};
    const YamlNode *node = pair->value;
    if (config_expect_mapping(&loader->file, node, "a pipeline") != STATUS_OK ||
        config_check_keys(&loader->file, node, known) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = (ProjectPipeline){.name = pair->key, .origin = config_origin(&loader->file, pair->line)};
    const YamlPair *from = yaml_find(node, "from");
    const YamlPair *to = yaml_find(node, "to");
    if (from == NULL || to == NULL) {
        const char *end = from == NULL ? "from" : "to";
        (void)config_complain(&loader->file, pair->line,
                              from == NULL ? "\"from\" is missing in pipeline"
                                           : "\"to\" is missing in pipeline",
                              pair->key);
        return hint_end(loader, str_from(end));
    }
    const YamlPair *buffer = yaml_find(node, "buffer");
    if (load_word(loader, yaml_find(node, "jobs"), &ret->jobs) != STATUS_OK ||
        load_word(loader, yaml_find(node, "on_error"), &ret->on_error) != STATUS_OK ||
        load_guards(loader, node, ret) != STATUS_OK ||
        (buffer != NULL && load_buffer(loader, buffer, ret) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    return load_end(loader, from, false, &ret->source) == STATUS_OK ? load_sinks(loader, to, ret)
                                                                    : STATUS_FAIL;
}

static Status load_project(Loader *loader, const YamlNode *root, Project *ret)
{
    static const char *const known[] = {"connections", "pipelines", "state", NULL};
    if (config_expect_mapping(&loader->file, root, "a project file") != STATUS_OK ||
        config_check_keys(&loader->file, root, known) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const YamlPair *connections = yaml_find(root, "connections");
    const YamlPair *pipelines = yaml_find(root, "pipelines");
    const YamlPair *state = yaml_find(root, "state");
    if (connections == NULL || pipelines == NULL) {
        return error_set(loader->file.err, ERROR_CONFIG, "%" STR_FMT ": \"%s\" is missing",
                         STR_ARG(loader->file.name),
                         connections == NULL ? "connections" : "pipelines");
    }
    if (config_expect_mapping(&loader->file, connections->value, "\"connections\"") != STATUS_OK ||
        config_expect_mapping(&loader->file, pipelines->value, "\"pipelines\"") != STATUS_OK ||
        (state != NULL && config_scalar(&loader->file, state, &ret->state) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    loader->connections = connections->value;
    const YamlNode *list = pipelines->value;
    ret->pipelines = ARENA_ARRAY(loader->file.arena, ProjectPipeline, list->count);
    for (size_t i = 0; i < list->count; i++) {
        if (load_pipeline(loader, &list->pairs[i], &ret->pipelines[i]) != STATUS_OK) {
            return STATUS_FAIL;
        }
        ret->count++;
    }
    return STATUS_OK;
}

Status project_parse(Str text, Str file, Arena *arena, Project *ret, Error *err)
{
    YamlNode *root;
    Loader loader = {.file = {.name = file, .arena = arena, .err = err}};
    Project project = {.file = file};
    if (yaml_parse(text, file, arena, &root, err) != STATUS_OK ||
        load_project(&loader, root, &project) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = project;
    return STATUS_OK;
}

Status project_load(Str path, Arena *arena, Project *ret, Error *err)
{
    const char *file = str_to_cstr(arena, path);
    struct stat info;
    if (stat(file, &info) == 0 && S_ISDIR(info.st_mode)) {
        file = arena_printf(arena, "%s/weir.yml", file);
    }
    Str text;
    if (text_file_read(file, LIMIT_CONFIG_BYTES, arena, &text, err) != STATUS_OK) {
        return error_hint(err, "\"weir init\" makes a weir.yml to start from.");
    }
    return project_parse(text, str_from(file), arena, ret, err);
}
