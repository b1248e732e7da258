#include "cli/hub_owner.h"

#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/md5.h"
#include "cli/pipeline_options.h"
#include "codec/json.h"
#include "codec/json_read.h"
#include "config/text_file.h"
#include "hub/hub_table.h"
#include "io/file.h"

enum { OWNER_BYTES = 64 * 1024 };

// ---------------------------------------------------------------------------------------------
// Where a hub is
// ---------------------------------------------------------------------------------------------

static const char *real_path(const char *path, Arena *arena)
{
    char real[PATH_MAX];
    return realpath(path, real) == NULL ? path : str_to_cstr(arena, str_from(real));
}

// A link is followed to the folder, and not of the file: where a mounted map is changed, that leads
// to another folder each time.
const char *hub_place(Str path, Arena *arena)
{
    struct stat info;
    const char *given = str_to_cstr(arena, path);
    if (stat(given, &info) != 0 || S_ISDIR(info.st_mode)) {
        return real_path(given, arena);
    }
    const char *folder = real_path(dirname(str_to_cstr(arena, path)), arena);
    const char *file = basename(str_to_cstr(arena, path));
    return strcmp(file, "weir.yml") == 0 ? folder : arena_printf(arena, "%s/%s", folder, file);
}

// ---------------------------------------------------------------------------------------------
// Which one it is
// ---------------------------------------------------------------------------------------------

static int compare_systems(const void *a, const void *b)
{
    const HubSystem *const *x = a;
    const HubSystem *const *y = b;
    return str_compare((*x)->name, (*y)->name);
}

// Passwords may change.
static Str database_of(const PostgresqlSettings *settings, Arena *arena)
{
    Endpoint endpoint;
    Error none = {0};
    return source_endpoint(hub_connection(settings, arena), arena, &endpoint, &none) == STATUS_OK
               ? endpoint.id
               : STR("");
}

static void put_system(Buf *out, const HubSystem *system, Arena *arena)
{
    json_string_lossy(out, system->name);
    buf_printf(out, " %d ", (int)system->type);
    switch (system->type) {
    case SYSTEM_POSTGRESQL:
        json_string_lossy(out, database_of(&system->postgresql, arena));
        break;
    case SYSTEM_STRIPE:
        json_string_lossy(out, system->stripe.api_base);
        json_string_lossy(out, system->stripe.api_key);
        break;
    case SYSTEM_WEBHOOK:
        break;
    }
    buf_char(out, '\n');
}

// Says nothing of what it is made of.
static Str fingerprint(const Hub *hub, Arena *arena)
{
    const HubSystem **systems = ARENA_ARRAY(arena, const HubSystem *, hub->system_count);
    for (size_t i = 0; i < hub->system_count; i++) {
        systems[i] = &hub->systems[i];
    }
    qsort(systems, hub->system_count, sizeof(void *), compare_systems);
    CLEANUP(buf_done) Buf text = {.max = LIMIT_HUB_BYTES};
    for (size_t i = 0; i < hub->system_count; i++) {
        put_system(&text, systems[i], arena);
    }
    char *digits = arena_alloc_zero(arena, MD5_HEX_SIZE + 1);
    md5_hex(buf_view(&text), digits);
    return str_from(digits);
}

static Str describe(const char *place, const Hub *hub, Arena *arena)
{
    CLEANUP(buf_done) Buf text = {.max = OWNER_BYTES};
    buf_cstr(&text, "{\"hub\":");
    json_string_lossy(&text, str_from(place));
    buf_cstr(&text, ",\"systems\":");
    json_string_lossy(&text, fingerprint(hub, arena));
    buf_cstr(&text, "}\n");
    return str_copy(arena, buf_view(&text));
}

// ---------------------------------------------------------------------------------------------
// Whose its state is
// ---------------------------------------------------------------------------------------------

// *ret_exists: somebody else has made it.
static Status write_owner(const char *path, Str text, bool replaces, bool *ret_exists, Arena *arena,
                          Error *err)
{
    const char *made = arena_printf(arena, "%s.%ld", path, (long)getpid());
    File file = FILE_CLOSED;
    Status status = file_open_private(&file, made, err);
    if (status == STATUS_OK) {
        status = file_truncate(&file, 0, err) == STATUS_OK ? file_write(&file, 0, text, err)
                                                           : STATUS_FAIL;
    }
    file_close(&file);
    if (status == STATUS_OK) {
        status = replaces ? file_replace(made, path, err) : file_put_in_place(made, path, err);
    }
    *ret_exists = status != STATUS_OK && err->os_errno == EEXIST;
    if (status != STATUS_OK) {
        (void)unlink(made);
    }
    return status;
}

static Status read_owner(const char *path, Arena *arena, JsonValue *ret, Error *err)
{
    Str text;
    if (text_file_read(path, OWNER_BYTES, arena, &text, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (json_read(arena, text, ret, err) == STATUS_OK &&
        json_is(json_member(ret, STR("hub")), JSON_STRING) &&
        json_is(json_member(ret, STR("systems")), JSON_STRING)) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG, "\"%s\" does not say whose the state is: it is damaged", path);
    return error_hint(err, "If the hub here is the one that has always been run with this state, "
                           "remove the file.");
}

static bool is_same(const JsonValue *a, const JsonValue *b, Str name)
{
    return str_equal(json_member(a, name)->text, json_member(b, name)->text);
}

static Status is_another(const char *path, const JsonValue *owner, const char *place, Error *err)
{
    Str other = json_member(owner, STR("hub"))->text;
    error_set(err, ERROR_CONFIG,
              "what is kept here under the hub's name is that of the hub \"%" STR_FMT
              "\", and \"%s\" is another one, with other systems",
              STR_ARG(other), place);
    return error_hint(err,
                      "Give this hub a name of its own, in its weir.yml: hub: { name: NAME }; or a "
                      "directory for its state: state: DIR, or --state. If it is the same one, "
                      "moved and changed: remove \"%s\".",
                      path);
}

static Status own(const char *path, const char *place, const Hub *hub, Arena *arena, Error *err)
{
    JsonValue owner;
    JsonValue now;
    Str text = describe(place, hub, arena);
    bool exists = access(path, F_OK) == 0;
    if (!exists && write_owner(path, text, false, &exists, arena, err) == STATUS_OK) {
        return STATUS_OK;
    }
    if (!exists || read_owner(path, arena, &owner, err) != STATUS_OK ||
        json_read(arena, text, &now, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_there = is_same(&owner, &now, STR("hub"));
    bool has_same = is_same(&owner, &now, STR("systems"));
    if (is_there && has_same) {
        return STATUS_OK;
    }
    return is_there || has_same ? write_owner(path, text, true, &exists, arena, err)
                                : is_another(path, &owner, place, err);
}

Status hub_own(Str state, Str name, const char *place, const Hub *hub, Error *err)
{
    Arena scratch = {0};
    const char *directory = str_to_cstr(&scratch, state);
    const char *path = arena_printf(&scratch, "%s/%" STR_FMT ".owner", directory, STR_ARG(name));
    Status status = file_make_directory(directory, err) == STATUS_OK
                        ? own(path, place, hub, &scratch, err)
                        : STATUS_FAIL;
    arena_done(&scratch);
    return status == STATUS_OK ? STATUS_OK : error_wrap(err, "the hub's state");
}
