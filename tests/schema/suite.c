// Runs the official JSON Schema test suite, 2020-12, over the validator:
//
//   suite FOLDER PAGE
//
// FOLDER has tests/draft2020-12 and remotes. Tests that fail must be listed by name in PAGE
// (docs/json-schema.md), and those that are listed there must fail; required ones always pass.
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/json_read.h"
#include "model/schema.h"

enum { FILE_MAX = 16 << 20, REMOTES_MAX = 1000, DEPTH_MAX = 8, SKIPPED = 77 };

#define REMOTE_BASE "http://localhost:1234/"

typedef struct Remote {
    Str uri;
    Str text;
} Remote;

typedef struct Count {
    unsigned passed;
    unsigned failed;
} Count;

typedef struct Suite {
    Arena arena;
    const char *folder;
    Str page;
    Remote remotes[REMOTES_MAX];
    size_t remote_count;
    Count required;
    Count format;
    Count bignum;
    Count other; // optional ones
    unsigned unexpected;
} Suite;

static bool read_whole(Arena *arena, const char *path, Str *ret)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return false;
    }
    Buf text = {.max = FILE_MAX};
    char block[4096];
    size_t got;
    while ((got = fread(block, 1, sizeof(block), file)) > 0) {
        buf_bytes(&text, block, got);
    }
    bool fine = ferror(file) == 0 && !text.overflowed;
    (void)fclose(file);
    *ret = str_copy(arena, buf_view(&text));
    buf_done(&text);
    return fine;
}

static _Noreturn void give_up(const char *what, const char *which)
{
    (void)fprintf(stderr, "%s: %s\n", which, what);
    exit(1);
}

typedef void (*FileVisitor)(Suite *suite, const char *path, const char *name);

// Calls @visit for each *.json below the folder @path; @name is what is behind the first folder.
static void visit_files(Suite *suite, const char *path, const char *name, FileVisitor visit,
                        int depth)
{
    struct dirent **entries;
    int count = depth > DEPTH_MAX ? -1 : scandir(path, &entries, NULL, alphasort);
    if (count < 0) {
        give_up(strerror(errno), path);
    }
    for (int i = 0; i < count; i++) {
        const char *entry = entries[i]->d_name;
        struct stat info;
        const char *inner = arena_printf(&suite->arena, "%s/%s", path, entry);
        const char *inner_name = name[0] == '\0'
                                     ? str_to_cstr(&suite->arena, str_from(entry))
                                     : arena_printf(&suite->arena, "%s/%s", name, entry);
        size_t len = strlen(entry);
        if (entry[0] != '.' && stat(inner, &info) == 0) {
            if (S_ISDIR(info.st_mode)) {
                visit_files(suite, inner, inner_name, visit, depth + 1);
            } else if (len > 5 && strcmp(entry + len - 5, ".json") == 0) {
                visit(suite, inner, inner_name);
            }
        }
        free(entries[i]);
    }
    free(entries);
}

static void keep_remote(Suite *suite, const char *path, const char *name)
{
    if (suite->remote_count == REMOTES_MAX) {
        give_up("there are too many", path);
    }
    Remote *remote = &suite->remotes[suite->remote_count++];
    remote->uri = str_from(arena_printf(&suite->arena, REMOTE_BASE "%s", name));
    if (!read_whole(&suite->arena, path, &remote->text)) {
        give_up("cannot be read", path);
    }
}

static bool contains(Str text, const char *what)
{
    return text.len > 0 && memmem(text.ptr, text.len, what, strlen(what)) != NULL;
}

static Count *count_of(Suite *suite, const char *name)
{
    if (strncmp(name, "optional/", 9) != 0) {
        return &suite->required;
    }
    if (strncmp(name, "optional/format", 15) == 0) {
        return &suite->format;
    }
    return strcmp(name, "optional/bignum.json") == 0 ? &suite->bignum : &suite->other;
}

static void note(Suite *suite, const char *file, Str group, Str test, const char *problem)
{
    Count *count = count_of(suite, file);
    const char *name = arena_printf(&suite->arena, "`%s`: %" STR_FMT ": %" STR_FMT "\n", file,
                                    STR_ARG(group), STR_ARG(test));
    bool is_listed = contains(suite->page, name);
    if (problem == NULL) {
        count->passed++;
    } else {
        count->failed++;
    }
    if (problem != NULL && (!is_listed || count == &suite->required)) {
        printf("failed: %.*s: %s\n", (int)strlen(name) - 1, name, problem);
        suite->unexpected++;
    } else if (problem == NULL && is_listed) {
        printf("passes, but is listed as failing: %s", name);
        suite->unexpected++;
    }
}

static Schema *compile(Suite *suite, SchemaSet *set, const JsonValue *schema, bool assert_formats,
                       Error *err)
{
    Buf text = {.max = FILE_MAX};
    json_print(&text, schema);
    Schema *compiled = NULL;
    Status status = schema_set_add(set, STR("test:schema"), buf_view(&text), err);
    buf_done(&text);
    for (size_t i = 0; i < suite->remote_count && status == STATUS_OK; i++) {
        status = schema_set_add(set, suite->remotes[i].uri, suite->remotes[i].text, err);
    }
    if (status != STATUS_OK) {
        return NULL;
    }
    SchemaOptions options = {.assert_formats = assert_formats};
    status = schema_compile(set, STR("test:schema"), &options, &compiled, err);
    return status == STATUS_OK ? compiled : NULL;
}

static const char *run_test(const Schema *schema, const JsonValue *test, Error *err)
{
    if (schema == NULL) {
        return err->message;
    }
    SchemaValidator *validator = schema_validator_new(schema);
    Status status = schema_validate(validator, json_member(test, STR("data")), err);
    size_t problems;
    (void)schema_problems(validator, &problems);
    schema_validator_free(validator);
    bool wanted = json_member(test, STR("valid"))->is_true;
    if (status == STATUS_FAIL && problems == 0) {
        return err->message;
    }
    if ((status == STATUS_OK) == wanted) {
        return NULL;
    }
    return wanted ? err->message : "it is taken for valid";
}

static void run_group(Suite *suite, const char *name, const JsonValue *group)
{
    Error err = {0};
    SchemaSet *set = schema_set_new();
    bool assert_formats = strncmp(name, "optional/format/", 16) == 0;
    Schema *schema = compile(suite, set, json_member(group, STR("schema")), assert_formats, &err);
    schema_set_free(set);
    const JsonValue *tests = json_member(group, STR("tests"));
    for (uint32_t i = 0; i < tests->count; i++) {
        const JsonValue *test = &tests->items[i];
        note(suite, name, json_member(group, STR("description"))->text,
             json_member(test, STR("description"))->text, run_test(schema, test, &err));
    }
    schema_free(schema);
}

static void run_file(Suite *suite, const char *path, const char *name)
{
    Str text;
    JsonValue groups;
    Error err;
    if (!read_whole(&suite->arena, path, &text)) {
        give_up("cannot be read", path);
    }
    if (json_read(&suite->arena, text, &groups, &err) != STATUS_OK) {
        give_up(err.message, path);
    }
    for (uint32_t i = 0; i < groups.count; i++) {
        run_group(suite, name, &groups.items[i]);
    }
}

static void print_count(const char *name, const Count *count)
{
    printf("result: JSON Schema suite, %s: %u of %u pass\n", name, count->passed,
           count->passed + count->failed);
}

int main(int argc, char **argv)
{
    static Suite suite;
    struct stat info;
    if (argc != 3) {
        return 2;
    }
    suite.folder = argv[1];
    if (suite.folder[0] == '\0' || stat(suite.folder, &info) != 0) {
        printf("the official JSON Schema test suite is not there: ./dev test gets it\n");
        return SKIPPED;
    }
    if (!read_whole(&suite.arena, argv[2], &suite.page)) {
        give_up("cannot be read", argv[2]);
    }
    visit_files(&suite, arena_printf(&suite.arena, "%s/remotes", suite.folder), "", keep_remote, 0);
    visit_files(&suite, arena_printf(&suite.arena, "%s/tests/draft2020-12", suite.folder), "",
                run_file, 0);
    print_count("required", &suite.required);
    print_count("optional, formats", &suite.format);
    print_count("optional, bignum", &suite.bignum);
    print_count("optional, others", &suite.other);
    bool has_run = suite.required.passed > 1000 && suite.format.passed > 100;
    arena_done(&suite.arena);
    return suite.unexpected == 0 && has_run ? 0 : 1;
}
