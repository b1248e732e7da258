#include "cli/state_directories.h"

#include <dirent.h>
#include <unistd.h>

#include "cli/pipeline_options.h"

enum { DIRECTORIES_MAX = 10000 };

static bool is_of_pipeline(Str name, Str pipeline)
{
    bool is_route =
        name.len > pipeline.len && str_starts_with(name, pipeline) && name.ptr[pipeline.len] == '.';
    return pipeline.len == 0 || is_route || str_equal(name, pipeline);
}

// A hub's log, which is among them, has a lock and no state.
static bool is_state(const char *root, const char *name, Arena *arena)
{
    return access(arena_printf(arena, "%s/%s/lock", root, name), F_OK) == 0 &&
           access(arena_printf(arena, "%s/%s/state.db", root, name), F_OK) == 0;
}

static int compare_names(const void *a, const void *b)
{
    return str_compare(*(const Str *)a, *(const Str *)b);
}

Status state_directories(Str state, Str pipeline, Arena *arena, StateDirectories *ret, Error *err)
{
    Str root = state.len > 0 ? state : default_state_dir(arena);
    *ret = (StateDirectories){.root = str_to_cstr(arena, root)};
    DIR *entries = opendir(ret->root);
    if (entries == NULL) {
        return errno == ENOENT
                   ? STATUS_OK
                   : error_set_errno(err, ERROR_CONFIG, errno, "look into \"%s\"", ret->root);
    }
    ret->is_there = true;
    ret->names = ARENA_ARRAY(arena, Str, DIRECTORIES_MAX);
    const struct dirent *entry;
    while (ret->count < DIRECTORIES_MAX && (entry = readdir(entries)) != NULL) {
        Str name = str_from(entry->d_name);
        if (name.ptr[0] != '.' && is_of_pipeline(name, pipeline) &&
            is_state(ret->root, entry->d_name, arena)) {
            ret->names[ret->count++] = str_copy(arena, name);
        }
    }
    (void)closedir(entries);
    if (ret->count > 0) {
        qsort(ret->names, ret->count, sizeof(*ret->names), compare_names);
    }
    return STATUS_OK;
}
