#include "model/path.h"

#include <assert.h>

#include "base/ascii.h"

static Status refuse(Str text, const char *why, Error *err)
{
    return error_set(err, ERROR_CONFIG, "\"%" STR_FMT "\" is no path: %s", STR_ARG(text), why);
}

static Status add_step(Path *path, Str text, Str step, Error *err)
{
    if (step.len == 0) {
        return refuse(text, "a name in it is empty", err);
    }
    if (path->count == PATH_STEPS_MAX) {
        return error_set(err, ERROR_CONFIG, "\"%" STR_FMT "\" has more than %d steps",
                         STR_ARG(text), PATH_STEPS_MAX);
    }
    path->steps[path->count++] = step;
    return STATUS_OK;
}

Status path_parse_dotted(Str text, Arena *arena, Path *ret, Error *err)
{
    Path path = {.steps = ARENA_ARRAY(arena, Str, PATH_STEPS_MAX)};
    char *bytes = arena_alloc_bytes(arena, text.len + 1); // of all steps, one behind the other
    Str step = {bytes, 0};
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.ptr[i];
        if (byte == '.') {
            if (add_step(&path, text, step, err) != STATUS_OK) {
                return STATUS_FAIL;
            }
            step = (Str){step.ptr + step.len, 0};
            continue;
        }
        if (byte == '\\') {
            bool is_escape =
                i + 1 < text.len && (text.ptr[i + 1] == '.' || text.ptr[i + 1] == '\\');
            if (!is_escape) {
                refuse(text, "a backslash stands before a dot or a backslash only", err);
                return error_hint(err, "Write \\\\ for a backslash that belongs to the name.");
            }
            byte = text.ptr[++i];
        }
        bytes[step.ptr - bytes + (ptrdiff_t)step.len++] = byte;
    }
    if (add_step(&path, text, step, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = path;
    return STATUS_OK;
}

Status path_parse_bracketed(Str text, Arena *arena, Path *ret, Error *err)
{
    static const char out_of_place[] = "its brackets are not as in \"metadata[id]\"";
    Path path = {.steps = ARENA_ARRAY(arena, Str, PATH_STEPS_MAX)};
    Str rest = text;
    Str step;
    size_t name = 0;
    while (name < rest.len && rest.ptr[name] != '[' && rest.ptr[name] != ']') {
        name++;
    }
    step = (Str){rest.ptr, name};
    rest = (Str){rest.ptr + name, rest.len - name};
    if (add_step(&path, text, step, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    while (rest.len > 0) {
        ptrdiff_t close = str_find(rest, ']');
        if (rest.ptr[0] != '[' || close < 0) {
            return refuse(text, out_of_place, err);
        }
        step = (Str){rest.ptr + 1, (size_t)close - 1};
        if (str_find(step, '[') >= 0) {
            return refuse(text, out_of_place, err);
        }
        if (add_step(&path, text, step, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        rest = (Str){rest.ptr + close + 1, rest.len - (size_t)close - 1};
    }
    *ret = path;
    return STATUS_OK;
}

// "0", "17"; not "01", "+1": one item has one spelling.
static bool is_index(Str step, uint64_t *ret)
{
    return (step.len == 1 || step.ptr[0] != '0') && ascii_is_digit(step.ptr[0]) &&
           str_to_uint64(step, ret);
}

const JsonValue *path_find(const Path *path, size_t first, const JsonValue *value)
{
    for (size_t i = first; i < path->count && value != NULL; i++) {
        uint64_t index;
        if (value->kind == JSON_ARRAY) {
            bool is_there = is_index(path->steps[i], &index) && index < value->count;
            value = is_there ? &value->items[index] : NULL;
        } else {
            value = json_member(value, path->steps[i]);
        }
    }
    return value;
}

bool path_overlaps(const Path *a, const Path *b)
{
    assert(a->count > 0 && b->count > 0);
    for (size_t i = 0; i < MIN(a->count, b->count); i++) {
        if (!str_equal(a->steps[i], b->steps[i])) {
            return false;
        }
    }
    return true;
}
