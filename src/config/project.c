#include "config/project.h"

#include <assert.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"
#include "config/yaml.h"

enum { VALUE_MAX = 64 * 1024 };

typedef struct Loader {
    Str file;
    Arena *arena;
    Error *err;
    const YamlNode *connections;
} Loader;

static Status complain(Loader *loader, size_t line, const char *what, Str name)
{
    return error_set(loader->err, ERROR_CONFIG, "%" STR_FMT ":%zu: %s \"%" STR_FMT "\"",
                     STR_ARG(loader->file), line, what, STR_ARG(name));
}

static Str origin(Loader *loader, size_t line)
{
    return str_from(arena_printf(loader->arena, "%" STR_FMT ":%zu", STR_ARG(loader->file), line));
}

// ---------------------------------------------------------------------------------------------
// Files and ${…}
// ---------------------------------------------------------------------------------------------

static Status read_file(const char *path, size_t max, Arena *arena, Str *ret, Error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_set_errno(err, ERROR_CONFIG, errno, "open \"%s\"", path);
    }
    char *text = arena_alloc_bytes(arena, max + 1);
    size_t len = 0;
    ssize_t got = 0;
    while (len <= max && (got = read(fd, text + len, max + 1 - len)) > 0) {
        len += (size_t)got;
    }
    int code = errno;
    (void)close(fd);
    if (got < 0) {
        return error_set_errno(err, ERROR_CONFIG, code, "read \"%s\"", path);
    }
    if (len > max) {
        return error_set(err, ERROR_CONFIG, "\"%s\" is larger than %zu bytes", path, max);
    }
    *ret = (Str){text, len};
    return STATUS_OK;
}

static Status expand_one(Loader *loader, Str name, size_t line, Buf *out)
{
    if (str_starts_with(name, STR("file:"))) {
        Str contents;
        const char *path = str_to_cstr(loader->arena, (Str){name.ptr + 5, name.len - 5});
        if (read_file(path, VALUE_MAX, loader->arena, &contents, loader->err) != STATUS_OK) {
            return error_wrap(loader->err, "%" STR_FMT ":%zu", STR_ARG(loader->file), line);
        }
        while (contents.len > 0 && contents.ptr[contents.len - 1] == '\n') {
            contents.len--;
        }
        buf_str(out, contents);
        return STATUS_OK;
    }
    ptrdiff_t colon = str_find(name, ':');
    bool has_default = colon >= 0 && (size_t)colon + 1 < name.len && name.ptr[colon + 1] == '-';
    Str variable = has_default ? (Str){name.ptr, (size_t)colon} : name;
    const char *value = getenv(str_to_cstr(loader->arena, variable));
    if (value != NULL && value[0] != '\0') {
        buf_cstr(out, value);
    } else if (has_default) {
        buf_str(out, (Str){name.ptr + colon + 2, name.len - (size_t)colon - 2});
    } else {
        (void)complain(loader, line, "there is no environment variable", variable);
        return error_hint(loader->err, "Set it, or give a default: ${%" STR_FMT ":-value}.",
                          STR_ARG(variable));
    }
    return STATUS_OK;
}

static Status expand(Loader *loader, Str text, size_t line, Str *ret)
{
    CLEANUP(buf_done) Buf out;
    buf_init(&out, VALUE_MAX);
    for (size_t i = 0; i < text.len; i++) {
        bool opens = text.ptr[i] == '$' && i + 1 < text.len && text.ptr[i + 1] == '{';
        if (!opens) {
            buf_char(&out, text.ptr[i]);
            continue;
        }
        Str rest = {text.ptr + i + 2, text.len - i - 2};
        ptrdiff_t close = str_find(rest, '}');
        if (close < 0) {
            // The value may hold a password: it is not shown.
            return error_set(loader->err, ERROR_CONFIG, "%" STR_FMT ":%zu: \"${\" without \"}\"",
                             STR_ARG(loader->file), line);
        }
        if (expand_one(loader, (Str){rest.ptr, (size_t)close}, line, &out) != STATUS_OK) {
            return STATUS_FAIL;
        }
        i += (size_t)close + 2;
    }
    *ret = str_copy(loader->arena, buf_view(&out));
    return buf_check(&out, "a value", loader->err);
}

// ---------------------------------------------------------------------------------------------
// Settings
// ---------------------------------------------------------------------------------------------

static Status expect_mapping(Loader *loader, const YamlNode *node, const char *what)
{
    if (node->kind == YAML_MAPPING) {
        return STATUS_OK;
    }
    return error_set(loader->err, ERROR_CONFIG,
                     "%" STR_FMT ":%zu: %s has to be a mapping of names to values",
                     STR_ARG(loader->file), node->line, what);
}

static bool is_one_of(Str key, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (str_is(key, *names)) {
            return true;
        }
    }
    return false;
}

static Status check_keys(Loader *loader, const YamlNode *node, const char *const *known)
{
    for (size_t i = 0; i < node->count; i++) {
        const YamlPair *pair = &node->pairs[i];
        if (!is_one_of(pair->key, known)) {
            const char *nearest = nearest_name(pair->key, known);
            (void)complain(loader, pair->line, "unknown key", pair->key);
            return nearest == NULL ? STATUS_FAIL
                                   : error_hint(loader->err, "Did you mean \"%s\"?", nearest);
        }
    }
    return STATUS_OK;
}

static Status scalar(Loader *loader, const YamlPair *pair, Str *ret)
{
    if (pair->value->kind != YAML_SCALAR || pair->value->is_null) {
        return complain(loader, pair->line, "one value is expected for", pair->key);
    }
    return expand(loader, pair->value->scalar, pair->value->line, ret);
}

static Status add_list(Loader *loader, const YamlPair *pair, Setting *setting)
{
    setting->is_list = true;
    setting->list.items = ARENA_ARRAY(loader->arena, Str, pair->value->count);
    for (size_t i = 0; i < pair->value->count; i++) {
        const YamlNode *item = pair->value->items[i];
        if (item->kind != YAML_SCALAR || item->is_null) {
            return complain(loader, item->line, "a list of words is expected for", pair->key);
        }
        Str *slot = &setting->list.items[setting->list.count++];
        if (expand(loader, item->scalar, item->line, slot) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status add_setting(Loader *loader, const YamlPair *pair, Settings *settings)
{
    Setting *setting = &settings->items[settings->count++];
    *setting = (Setting){.key = pair->key, .origin = origin(loader, pair->line)};
    if (pair->value->kind == YAML_SEQUENCE) {
        return add_list(loader, pair, setting);
    }
    return scalar(loader, pair, &setting->value);
}

static Status add_settings(Loader *loader, const YamlNode *node, const char *const *without,
                           Settings *settings)
{
    for (size_t i = 0; i < node->count; i++) {
        if (!is_one_of(node->pairs[i].key, without) &&
            add_setting(loader, &node->pairs[i], settings) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Pipelines
// ---------------------------------------------------------------------------------------------

static Status unknown_connection(Loader *loader, size_t line, Str name)
{
    const char *names[64];
    size_t count = 0;
    for (size_t i = 0; i < loader->connections->count && count < ARRAY_LEN(names) - 1; i++) {
        names[count++] = str_to_cstr(loader->arena, loader->connections->pairs[i].key);
    }
    names[count] = NULL;
    (void)complain(loader, line, "there is no connection", name);
    const char *nearest = nearest_name(name, names);
    return nearest == NULL ? STATUS_FAIL : error_hint(loader->err, "Did you mean \"%s\"?", nearest);
}

// `from:` or `to:`: the settings of the connection it names, and its own.
static Status load_end(Loader *loader, const YamlPair *end, bool in_list, ProjectEnd *ret)
{
    if (expect_mapping(loader, end->value, "an end of a pipeline") != STATUS_OK) {
        return STATUS_FAIL;
    }
    Str name;
    const YamlPair *reference = yaml_find(end->value, "connection");
    if (reference == NULL) {
        return complain(loader, end->line, "\"connection\" is missing in", end->key);
    }
    if (scalar(loader, reference, &name) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const YamlPair *connection = yaml_find(loader->connections, str_to_cstr(loader->arena, name));
    if (connection == NULL) {
        return unknown_connection(loader, reference->line, name);
    }
    if (expect_mapping(loader, connection->value, "a connection") != STATUS_OK) {
        return STATUS_FAIL;
    }
    const YamlPair *type = yaml_find(connection->value, "type");
    if (type == NULL) {
        return complain(loader, connection->line, "\"type\" is missing in connection", name);
    }
    *ret = (ProjectEnd){.name = in_list ? name : STR("")};
    ret->settings = (Settings){
        .items =
            ARENA_ARRAY(loader->arena, Setting, connection->value->count + end->value->count + 1),
        .origin = origin(loader, connection->line),
    };
    const YamlPair *own_name = in_list ? yaml_find(end->value, "name") : NULL;
    static const char *const of_connection[] = {"type", NULL};
    static const char *const of_end[] = {"connection", NULL};
    static const char *const of_listed[] = {"connection", "name", NULL};
    if ((own_name != NULL && scalar(loader, own_name, &ret->name) != STATUS_OK) ||
        scalar(loader, type, &ret->type) != STATUS_OK ||
        add_settings(loader, connection->value, of_connection, &ret->settings) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return add_settings(loader, end->value, in_list ? of_listed : of_end, &ret->settings);
}

static Status load_sinks(Loader *loader, const YamlPair *to, ProjectPipeline *ret)
{
    bool is_list = to->value->kind == YAML_SEQUENCE;
    size_t count = is_list ? to->value->count : 1;
    if (count == 0 || count > LIMIT_ROUTES) {
        return error_set(loader->err, ERROR_CONFIG,
                         "%" STR_FMT ":%zu: \"to\" has %zu places, expected 1 to %d",
                         STR_ARG(loader->file), to->line, count, LIMIT_ROUTES);
    }
    ret->sinks = ARENA_ARRAY(loader->arena, ProjectEnd, count);
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
                (void)complain(loader, item.line, "two places have the name", ret->sinks[i].name);
                return error_hint(loader->err, "Tell them apart: { connection: …, name: … }.");
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
    ret->buffer_settings = (Settings){.origin = origin(loader, buffer->line)};
    ret->buffer = STR("disk"); // only that has settings
    if (type != NULL && scalar(loader, type, &ret->buffer) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!is_one_of(ret->buffer, kinds)) {
        (void)complain(loader, type == NULL ? buffer->line : type->line, "unknown type of buffer",
                       ret->buffer);
        return error_hint(loader->err, "It is \"memory\" or \"disk\".");
    }
    if (node->kind != YAML_MAPPING) {
        return STATUS_OK;
    }
    ret->buffer_settings.items = ARENA_ARRAY(loader->arena, Setting, node->count);
    return add_settings(loader, node, of_buffer, &ret->buffer_settings);
}

// @pair may be NULL.
static Status load_word(Loader *loader, const YamlPair *pair, Setting *ret)
{
    if (pair == NULL) {
        return STATUS_OK;
    }
    ret->key = pair->key;
    ret->origin = origin(loader, pair->line);
    return scalar(loader, pair, &ret->value);
}

static Status load_guards(Loader *loader, const YamlNode *node, ProjectPipeline *ret)
{
    static const char *const names[] = {"watchdog", "wal_warning", "wal_disk"};
    Settings *guards = &ret->guards;
    guards->origin = ret->origin;
    guards->items = ARENA_ARRAY(loader->arena, Setting, ARRAY_LEN(names));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const YamlPair *pair = yaml_find(node, names[i]);
        if (pair == NULL) {
            continue;
        }
        Setting *setting = &guards->items[guards->count++];
        *setting = (Setting){.key = str_from(names[i]), .origin = origin(loader, pair->line)};
        if (scalar(loader, pair, &setting->value) != STATUS_OK) {
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
    if (expect_mapping(loader, node, "a pipeline") != STATUS_OK ||
        check_keys(loader, node, known) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = (ProjectPipeline){.name = pair->key, .origin = origin(loader, pair->line)};
    const YamlPair *from = yaml_find(node, "from");
    const YamlPair *to = yaml_find(node, "to");
    if (from == NULL || to == NULL) {
        return complain(loader, pair->line,
                        from == NULL ? "\"from\" is missing in pipeline"
                                     : "\"to\" is missing in pipeline",
                        pair->key);
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
    if (expect_mapping(loader, root, "a project file") != STATUS_OK ||
        check_keys(loader, root, known) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const YamlPair *connections = yaml_find(root, "connections");
    const YamlPair *pipelines = yaml_find(root, "pipelines");
    const YamlPair *state = yaml_find(root, "state");
    if (connections == NULL || pipelines == NULL) {
        return error_set(loader->err, ERROR_CONFIG, "%" STR_FMT ": \"%s\" is missing",
                         STR_ARG(loader->file), connections == NULL ? "connections" : "pipelines");
    }
    if (expect_mapping(loader, connections->value, "\"connections\"") != STATUS_OK ||
        expect_mapping(loader, pipelines->value, "\"pipelines\"") != STATUS_OK ||
        (state != NULL && scalar(loader, state, &ret->state) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    loader->connections = connections->value;
    const YamlNode *list = pipelines->value;
    ret->pipelines = ARENA_ARRAY(loader->arena, ProjectPipeline, list->count);
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
    Loader loader = {.file = file, .arena = arena, .err = err};
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
    if (read_file(file, LIMIT_CONFIG_BYTES, arena, &text, err) != STATUS_OK) {
        return error_hint(err, "\"weir init\" makes a weir.yml to start from.");
    }
    return project_parse(text, str_from(file), arena, ret, err);
}
