// Checks rows against a schema on one core: schema SCHEMA ROWS SECONDS
//
// ROWS has a JSON object a line. Prints how many rows a second were checked when they are there as
// typed fields, and when each is read from its text first, and how many of the rows are valid.
#include "model/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "codec/json_read.h"

enum { FILE_MAX = 64 << 20, ROWS_MAX = 100000 };

typedef struct Bench {
    Arena arena;
    Str texts[ROWS_MAX];
    JsonValue rows[ROWS_MAX];
    size_t count;
    SchemaValidator *validator;
} Bench;

static _Noreturn void give_up(const char *what, const char *why)
{
    (void)fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static Str read_whole(Arena *arena, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        give_up(path, "cannot be opened");
    }
    Buf text = {.max = FILE_MAX};
    char block[4096];
    size_t got;
    while ((got = fread(block, 1, sizeof(block), file)) > 0) {
        buf_bytes(&text, block, got);
    }
    (void)fclose(file);
    Str copy = str_copy(arena, buf_view(&text));
    buf_done(&text);
    return copy;
}

// What a typed row is: fields whose names the schema was asked for once.
static void keep_row(Bench *bench, const Schema *schema, Str line)
{
    Error err;
    JsonValue *row = &bench->rows[bench->count];
    if (json_read(&bench->arena, line, row, &err) != STATUS_OK) {
        give_up("a row", err.message);
    }
    JsonMember *members = ARENA_ARRAY(&bench->arena, JsonMember, row->count + 1);
    for (uint32_t i = 0; i < row->count; i++) {
        members[i] = row->members[i];
        members[i].name_id = schema_name_id(schema, members[i].name);
    }
    row->members = members;
    bench->texts[bench->count++] = line;
}

static double now(void)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static bool check_typed(Bench *bench, size_t row, Arena *scratch)
{
    return schema_validate(bench->validator, &bench->rows[row], NULL) == STATUS_OK;
}

static bool check_text(Bench *bench, size_t row, Arena *scratch)
{
    JsonValue value;
    arena_reset(scratch);
    return json_read(scratch, bench->texts[row], &value, NULL) == STATUS_OK &&
           schema_validate(bench->validator, &value, NULL) == STATUS_OK;
}

static void run(Bench *bench, const char *name, double seconds,
                bool (*check)(Bench *, size_t, Arena *))
{
    Arena scratch = {0};
    size_t valid = 0;
    for (size_t row = 0; row < bench->count; row++) {
        valid += check(bench, row, &scratch);
    }
    uint64_t checked = 0;
    double began = now();
    double took = 0;
    while (took < seconds) {
        for (size_t row = 0; row < bench->count; row++) {
            (void)check(bench, row, &scratch);
        }
        checked += bench->count;
        took = now() - began;
    }
    printf("%s %.0f %zu\n", name, (double)checked / took, valid);
    arena_done(&scratch);
}

int main(int argc, char **argv)
{
    static Bench bench;
    Error err;
    Schema *schema;
    if (argc != 4) {
        return 2;
    }
    double seconds = strtod(argv[3], NULL);
    SchemaSet *set = schema_set_new();
    if (schema_set_add(set, STR("bench"), read_whole(&bench.arena, argv[1]), &err) != STATUS_OK ||
        schema_compile(set, STR("bench"), &(SchemaOptions){0}, &schema, &err) != STATUS_OK) {
        give_up(argv[1], err.message);
    }
    schema_set_free(set);
    bench.validator = schema_validator_new(schema);
    Str lines = read_whole(&bench.arena, argv[2]);
    Str line;
    while (str_split(&lines, '\n', &line)) {
        if (line.len > 0 && bench.count < ROWS_MAX) {
            keep_row(&bench, schema, line);
        }
    }
    run(&bench, "typed", seconds, check_typed);
    run(&bench, "text", seconds, check_text);
    schema_validator_free(bench.validator);
    schema_free(schema);
    arena_done(&bench.arena);
    return 0;
}
