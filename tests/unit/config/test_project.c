// Project files: what they say, and that every mistake is named with its line.
#include <stdio.h>
#include <stdlib.h>

#include "arena_fixture.h"
#include "config/project.h"

static Project project;
static Error err;

static Status parse(const char *text)
{
    err = (Error){0};
    return project_parse(str_from(text), STR("weir.yml"), &arena, &project, &err);
}

#define GOOD                                                                  \
    "connections:\n"                                                          \
    "  shop: { type: postgres, url: 'postgres://h/${WEIR_TEST_DB:-shop}' }\n" \
    "  lake:\n"                                                               \
    "    type: duckdb\n"                                                      \
    "    path: no\n"                                                          \
    "pipelines:\n"                                                            \
    "  one:\n"                                                                \
    "    from: { connection: shop, tables: [public.a, \"public.b,c\"] }\n"    \
    "    to: { connection: lake, mode: history }\n"                           \
    "    jobs: 4\n"                                                           \
    "    wal_warning: 3GB\n"

static void a_project_is_read(void **context)
{
    (void)context;
    assert_int_equal(parse(GOOD), STATUS_OK);
    assert_int_equal(project.count, 1);
    const ProjectPipeline *one = &project.pipelines[0];
    assert_true(str_is(one->name, "one"));
    assert_true(str_is(one->source.type, "postgres"));
    assert_true(str_is(one->source.settings.items[0].value, "postgres://h/shop"));
    assert_int_equal(one->source.settings.items[1].list.count, 2);
    assert_true(str_is(one->source.settings.items[1].list.items[1], "public.b,c"));
    assert_true(str_is(one->sinks[0].settings.items[0].value, "no")); // YAML 1.2: not a boolean
    assert_true(str_is(one->sinks[0].settings.items[1].key, "mode"));
    assert_true(str_is(one->sinks[0].settings.items[1].origin, "weir.yml:9"));
    assert_true(str_is(one->jobs.value, "4"));
    assert_true(str_is(one->jobs.origin, "weir.yml:10"));
    assert_int_equal(one->guards.count, 1);
    assert_true(str_is(one->guards.items[0].key, "wal_warning"));
    assert_true(str_is(one->guards.items[0].value, "3GB"));
    assert_true(str_is(one->guards.items[0].origin, "weir.yml:11"));
}

static void variables_are_replaced(void **context)
{
    (void)context;
    (void)setenv("WEIR_TEST_DB", "other", 1);
    assert_int_equal(parse(GOOD), STATUS_OK);
    assert_true(str_is(project.pipelines[0].source.settings.items[0].value, "postgres://h/other"));
    (void)unsetenv("WEIR_TEST_DB");
}

static void mistakes_are_named_with_their_line(void **context)
{
    (void)context;
    static const struct {
        const char *text;
        const char *message;
        const char *hint;
    } cases[] = {
        {"", "empty", ""},
        {"- a\n", "weir.yml:1", ""},
        {"connections: {}\n", "\"pipelines\" is missing", ""},
        {"conections: {}\npipelines: {}\n", "weir.yml:1: unknown key \"conections\"",
         "connections"},
        {"connections: {}\nconnections: {}\n",
         "weir.yml:2: \"connections\" is given twice, first in line 1", ""},
        {"connections:\n  a: &x {}\n  b: *x\npipelines: {}\n", "weir.yml:3: aliases", ""},
        {"connections: {}\npipelines:\n  p: { from: { connection: a } }\n",
         "weir.yml:3: \"to\" is missing", ""},
        {"connections:\n  shop: { type: postgres }\npipelines:\n  p:\n    from: { connection: shpo "
         "}\n    to: { connection: shop }\n",
         "weir.yml:5: there is no connection \"shpo\"", "\"shop\""},
        {"connections:\n  a: { path: x }\npipelines:\n  p:\n    from: { connection: a }\n    to: { "
         "connection: a }\n",
         "\"type\" is missing", ""},
        {"connections:\n  a: { type: duckdb, path: '${WEIR_TEST_NOT_SET}' }\npipelines:\n  p: { "
         "from: { connection: a }, to: { connection: a } }\n",
         "weir.yml:2: there is no environment variable", ":-value"},
        {"connections:\n  a: { type: duckdb, path: '${unclosed' }\npipelines:\n  p: { from: { "
         "connection: a }, to: { connection: a } }\n",
         "without", ""},
        {"connections:\n  a: { type: null }\npipelines:\n  p: { from: { connection: a }, to: { "
         "connection: a } }\n",
         "weir.yml:2: one value is expected for \"type\"", "written \"null\""},
        {"connections:\n  a: { type: postgres }\npipelines:\n  p: { from: { connection: a, tables: "
         "[null] }, to: { connection: a } }\n",
         "weir.yml:4: a list of words is expected for \"tables\"", "written \"null\""},
        {"connections: [\n", "weir.yml:", ""},
        {"connections: {}\npipelines: {}\n---\na: 1\n", "second document", ""},
        {"connections: {}\npipelines:\n  p: { from: { connection: a }, to: { connection: a }, job: "
         "1 }\n",
         "unknown key \"job\"", "\"jobs\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parse(cases[i].text), STATUS_FAIL);
        assert_int_equal(err.kind, ERROR_CONFIG);
        if (strstr(err.message, cases[i].message) == NULL ||
            strstr(err.hint, cases[i].hint) == NULL) {
            fail_msg("case %zu: %s (%s)", i, err.message, err.hint);
        }
    }
}

static void nesting_is_limited(void **context)
{
    (void)context;
    char deep[4096];
    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    assert_int_equal(parse(deep), STATUS_FAIL);
}

static void parse_buffer(const char *written, Status expected)
{
    char text[512];
    (void)snprintf(text, sizeof(text),
                   "connections: { a: { type: postgres, url: postgres://h/a } }\n"
                   "pipelines:\n"
                   "  p:\n"
                   "    from: { connection: a }\n"
                   "    to: { connection: a }\n"
                   "    %s\n",
                   written);
    assert_int_equal(parse(text), expected);
}

static void a_buffer_is_a_word_or_a_mapping(void **context)
{
    (void)context;
    const ProjectPipeline *one;
    parse_buffer("", STATUS_OK);
    assert_int_equal(project.pipelines[0].buffer.len, 0);
    parse_buffer("buffer: disk", STATUS_OK);
    one = &project.pipelines[0];
    assert_true(str_is(one->buffer, "disk"));
    assert_int_equal(one->buffer_settings.count, 0);
    assert_true(str_is(one->buffer_settings.origin, "weir.yml:6"));
    parse_buffer("buffer: { keep: 1GB, full: pause }", STATUS_OK);
    one = &project.pipelines[0];
    assert_true(str_is(one->buffer, "disk"));
    assert_int_equal(one->buffer_settings.count, 2);
    assert_true(str_is(settings_find(&one->buffer_settings, "keep")->value, "1GB"));
    parse_buffer("buffer: { type: memory }", STATUS_OK);
    assert_true(str_is(project.pipelines[0].buffer, "memory"));
    parse_buffer("buffer: tape", STATUS_FAIL);
    assert_non_null(strstr(err.message, "weir.yml:6: unknown type of buffer \"tape\""));
    parse_buffer("buffer: [disk]", STATUS_FAIL);
    parse_buffer("buffer: { type: [disk] }", STATUS_FAIL);
    parse_buffer("buffer:", STATUS_FAIL);
}

static const char several[] = "connections:\n"
                              "  a: { type: postgres, url: postgres://h/a }\n"
                              "  b: { type: sqlite, path: b.db }\n"
                              "pipelines:\n"
                              "  p:\n"
                              "    from: { connection: a }\n"
                              "    to:\n"
                              "      - { connection: b }\n"
                              "      - { connection: b, name: history, mode: history }\n";

static void changes_go_to_several_places(void **context)
{
    (void)context;
    assert_int_equal(parse(several), STATUS_OK);
    const ProjectPipeline *one = &project.pipelines[0];
    assert_int_equal(one->sink_count, 2);
    assert_true(str_is(one->sinks[0].name, "b"));
    assert_true(str_is(one->sinks[1].name, "history"));
    assert_int_equal(one->sinks[1].settings.count, 2);
    assert_true(str_is(one->sinks[1].settings.items[1].key, "mode"));
    assert_int_equal(parse(arena_printf(&arena, "%s      - { connection: b }\n", several)),
                     STATUS_FAIL);
    assert_non_null(strstr(err.message, "weir.yml:10"));
    assert_non_null(strstr(err.hint, "name"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_project_is_read),
        cmocka_unit_test(variables_are_replaced),
        cmocka_unit_test(mistakes_are_named_with_their_line),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(a_buffer_is_a_word_or_a_mapping),
        cmocka_unit_test(changes_go_to_several_places),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
