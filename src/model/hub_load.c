// Finds and reads the files of a hub.
#include <dirent.h>
#include <libgen.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "config/text_file.h"
#include "model/hub_inside.h"

enum { FOLDERS_DEPTH_MAX = 16, KEEP_DUPLICATES_MS = 3600000 };

typedef struct FileList {
    const char *const *endings; // of names that are taken
    HubFile *items;
    size_t count;
    size_t bytes; // of them, and of the lists before
    Arena *arena;
    Error *err;
} FileList;

// ---------------------------------------------------------------------------------------------
// Where they are
// ---------------------------------------------------------------------------------------------

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool is_regular_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static Status read_place(const ConfigFile *file, const YamlNode *hub, const char *key,
                         const char *directory, const char **ret)
{
    Str path;
    const YamlPair *pair = yaml_find(hub, key);
    if (pair == NULL) {
        return STATUS_OK;
    }
    if (config_scalar(file, pair, &path) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_absolute = path.len > 0 && path.ptr[0] == '/';
    *ret = is_absolute ? str_to_cstr(file->arena, path)
                       : arena_printf(file->arena, "%s/%" STR_FMT, directory, STR_ARG(path));
    return STATUS_OK;
}

static const Option hub_options[] = {
    {"assert_formats", OPTION_BOOL(HubPlaces, assert_formats), .fallback = "false",
     .help = "Formats in models are checked."},
    {"keep_duplicates_for", OPTION_MS(HubPlaces, keep_duplicates_ms), .fallback = "1h", .min = 0,
     .max = INT64_C(31) * 86400000,
     .help = "How long what a system was told is known again when it comes back."},
    {"listen", OPTION_STRING(HubPlaces, listen), .value_name = "HOST:PORT",
     .help = "Where the hub is called over HTTP."},
    {"name", OPTION_STRING(HubPlaces, name), .value_name = "NAME",
     .help = "What the hub is called, and all that is kept of it."},
    {0},
};

static Status read_options(const ConfigFile *file, const YamlNode *hub, HubPlaces *places)
{
    static const char *const places_keys[] = {"models", "systems", NULL};
    Settings settings = {.items = ARENA_ARRAY(file->arena, Setting, hub->count),
                         .origin = config_origin(file, hub->line)};
    if (config_add_settings(file, hub, places_keys, &settings) != STATUS_OK ||
        options_apply(hub_options, places, &settings, file->arena, file->err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (places->name.len > 0 && !config_is_name(places->name)) {
        (void)config_complain(file, yaml_find(hub, "name")->line,
                              "this is no name of a hub:", places->name);
        return error_hint(file->err, "Up to 100 letters, digits, _, - and . are allowed.");
    }
    return STATUS_OK;
}

static Status read_state(const ConfigFile *file, const YamlNode *root, HubPlaces *places)
{
    const YamlPair *state = yaml_find(root, "state");
    if (state == NULL) {
        return STATUS_OK;
    }
    if (config_scalar(file, state, &places->state) != STATUS_OK) {
        return STATUS_FAIL;
    }
    places->state = config_beside(file->name, places->state, file->arena);
    return STATUS_OK;
}

// What stands beside `hub:`, which may be missing.
static Status read_root(const ConfigFile *file, const YamlNode *root, HubPlaces *places)
{
    static const char *const known[] = {"hub", "state", NULL};
    if (config_check_keys(file, root, known) != STATUS_OK) {
        return yaml_find(root, "hub") == NULL
                   ? STATUS_FAIL
                   : error_hint(file->err, "A file with \"hub\" has no pipelines of its own.");
    }
    return read_state(file, root, places);
}

// @node: what `hub:` is.
static Status read_places(const ConfigFile *file, const YamlNode *node, const char *directory,
                          HubPlaces *places)
{
    static const char *const known[] = {
        "models", "systems", "assert_formats", "keep_duplicates_for", "listen", "name", NULL};
    if (node->kind == YAML_SCALAR && node->is_null) {
        return STATUS_OK; // the folders are where they are by default
    }
    return config_expect_mapping(file, node, "\"hub\"") == STATUS_OK &&
                   config_check_keys(file, node, known) == STATUS_OK &&
                   read_place(file, node, "models", directory, &places->models) == STATUS_OK &&
                   read_place(file, node, "systems", directory, &places->systems) == STATUS_OK
               ? read_options(file, node, places)
               : STATUS_FAIL;
}

Status hub_read_places(const ConfigFile *file, Str text, const char *folder, HubPlaces *ret,
                       bool *ret_is_hub)
{
    YamlNode *root;
    if (yaml_parse(text, file->name, file->arena, &root, file->err) != STATUS_OK ||
        config_expect_mapping(file, root, "weir.yml") != STATUS_OK) {
        return STATUS_FAIL;
    }
    const YamlPair *hub = yaml_find(root, "hub");
    bool has_pipelines =
        yaml_find(root, "pipelines") != NULL || yaml_find(root, "connections") != NULL;
    *ret_is_hub = hub != NULL || (*ret_is_hub && !has_pipelines);
    if (!*ret_is_hub) {
        return STATUS_OK;
    }
    if (read_root(file, root, ret) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return hub == NULL ? STATUS_OK : read_places(file, hub->value, folder, ret);
}

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

// @given: a folder, or its weir.yml. *ret_is_hub: it has one, though its files may be wrong.
static Status find_places(Str given, Arena *arena, HubPlaces *places, bool *ret_is_hub, Error *err)
{
    bool is_file = is_regular_file(str_to_cstr(arena, given));
    const char *folder = is_file ? dirname(str_to_cstr(arena, given)) : str_to_cstr(arena, given);
    const char *path =
        is_file ? str_to_cstr(arena, given) : arena_printf(arena, "%s/weir.yml", folder);
    const ConfigFile file = {str_from(path), arena, err};
    *places = (HubPlaces){.models = arena_printf(arena, "%s/models", folder),
                          .systems = arena_printf(arena, "%s/systems", folder),
                          .keep_duplicates_ms = KEEP_DUPLICATES_MS};
    *ret_is_hub = is_folder(places->models) && is_folder(places->systems);
    if (!exists(path)) {
        return STATUS_OK;
    }
    Str text;
    return text_file_read(path, LIMIT_CONFIG_BYTES, arena, &text, err) == STATUS_OK
               ? hub_read_places(&file, text, folder, places, ret_is_hub)
               : STATUS_FAIL;
}

bool hub_is_at(Str path)
{
    Arena scratch = {0};
    HubPlaces places;
    Error err;
    bool is_hub = false;
    (void)find_places(path, &scratch, &places, &is_hub, &err);
    arena_done(&scratch);
    return is_hub;
}

// ---------------------------------------------------------------------------------------------
// Reading them
// ---------------------------------------------------------------------------------------------

static bool has_ending(const FileList *list, Str name)
{
    for (const char *const *ending = list->endings; *ending != NULL; ending++) {
        size_t len = strlen(*ending);
        if (name.len > len && memcmp(name.ptr + name.len - len, *ending, len) == 0) {
            return true;
        }
    }
    return false;
}

static Status add_file(FileList *list, const char *path, const char *uri)
{
    Str text;
    if (exists(path) && !is_regular_file(path)) {
        return error_set(list->err, ERROR_CONFIG, "\"%s\" is no regular file", path);
    }
    if (list->count == LIMIT_HUB_FILES) {
        return error_set(list->err, ERROR_CONFIG, "\"%s\": there are more than %d files", path,
                         LIMIT_HUB_FILES);
    }
    if (text_file_read(path, LIMIT_JSON_BYTES, list->arena, &text, list->err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    list->bytes += text.len;
    if (list->bytes > LIMIT_HUB_BYTES) {
        return error_set(list->err, ERROR_CONFIG,
                         "\"%s\": the files together are larger than %d bytes", path,
                         LIMIT_HUB_BYTES);
    }
    list->items[list->count++] = (HubFile){str_from(path), str_from(uri), text};
    return STATUS_OK;
}

// Folders inside of it too. Names with a dot before them are not looked at: version control, and
// what Kubernetes puts beside the files of a mounted map.
static Status add_folder(FileList *list, const char *path, const char *uri, int depth)
{
    if (depth > FOLDERS_DEPTH_MAX) {
        error_set(list->err, ERROR_CONFIG, "\"%s\": folders are nested too deeply", path);
        return error_hint(list->err, "A link may lead back to a folder that it is in.");
    }
    DIR *folder = opendir(path);
    if (folder == NULL) {
        error_set_errno(list->err, ERROR_CONFIG, errno, "open \"%s\"", path);
        return error_hint(list->err, "A hub has the folders models and systems.");
    }
    Status status = STATUS_OK;
    while (status == STATUS_OK) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            status = errno == 0
                         ? STATUS_OK
                         : error_set_errno(list->err, ERROR_CONFIG, errno, "read \"%s\"", path);
            break;
        }
        const char *inner = arena_printf(list->arena, "%s/%s", path, entry->d_name);
        const char *inner_uri = arena_printf(list->arena, "%s/%s", uri, entry->d_name);
        if (entry->d_name[0] == '.') {
            continue;
        }
        if (is_folder(inner)) {
            status = add_folder(list, inner, inner_uri, depth + 1);
        } else if (has_ending(list, str_from(entry->d_name))) {
            status = add_file(list, inner, inner_uri);
        }
    }
    (void)closedir(folder);
    return status;
}

static int compare_files(const void *a, const void *b)
{
    const HubFile *x = a;
    const HubFile *y = b;
    return str_compare(x->uri, y->uri);
}

// @what: the folder's name by default, and what its files are called by in schemas.
static Status read_files(FileList *list, const char *path, const char *what)
{
    list->items = ARENA_ARRAY(list->arena, HubFile, LIMIT_HUB_FILES);
    if (add_folder(list, path, what, 0) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // A folder tells its files in any order, and messages should not depend on it.
    qsort(list->items, list->count, sizeof(HubFile), compare_files);
    if (list->count > 0) {
        return STATUS_OK;
    }
    error_set(list->err, ERROR_CONFIG, "\"%s\" has no files", path);
    return error_hint(list->err, "Models are *.json, systems are *.yml or *.yaml.");
}

static Status read_hub(const HubPlaces *places, Arena *arena, HubFiles *ret, Error *err)
{
    static const char *const of_models[] = {".json", NULL};
    static const char *const of_systems[] = {".yml", ".yaml", NULL};
    FileList models = {.endings = of_models, .arena = arena, .err = err};
    if (read_files(&models, places->models, "models") != STATUS_OK) {
        return STATUS_FAIL;
    }
    FileList systems = {.endings = of_systems, .bytes = models.bytes, .arena = arena, .err = err};
    if (read_files(&systems, places->systems, "systems") != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = (HubFiles){.models = models.items,
                      .model_count = models.count,
                      .systems = systems.items,
                      .system_count = systems.count,
                      .assert_formats = places->assert_formats,
                      .keep_duplicates_ms = places->keep_duplicates_ms,
                      .listen = places->listen,
                      .name = places->name,
                      .state = places->state};
    return STATUS_OK;
}

Status hub_load(Str path, Hub **ret, Error *err)
{
    Arena scratch = {0};
    HubPlaces places;
    HubFiles files;
    bool is_hub;
    Status status = find_places(path, &scratch, &places, &is_hub, err);
    if (status == STATUS_OK) {
        status = read_hub(&places, &scratch, &files, err);
    }
    if (status == STATUS_OK) {
        status = hub_compile(&files, ret, err);
    }
    arena_done(&scratch);
    return status;
}
