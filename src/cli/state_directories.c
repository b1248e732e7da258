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
        const char *lock = arena_printf(arena, "%s/%s/lock", ret->root, entry->d_name);
        if (name.ptr[0] != '.' && is_of_pipeline(name, pipeline) && access(lock, F_OK) == 0) {
            ret->names[ret->count++] = str_copy(arena, name);
        }
    }
    (void)closedir(entries);
    if (ret->count > 0) {
        qsort(ret->names, ret->count, sizeof(*ret->names), compare_names);
    }
    return STATUS_OK;
}
