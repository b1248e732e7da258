// The sink of docs/adding-a-sink.md, compiled as it stands there.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../../examples/csv_sink.c"
#include "unit.h"

static void changes_become_lines(void **context)
{
    (void)context;
    char path[] = "/tmp/weir-csv-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    Setting setting = {.key = STR("path"), .value = str_from(path), .origin = STR("test")};
    Settings settings = {.items = &setting, .count = 1, .origin = STR("test")};
    SinkContext sink_context = {.pipeline = "test"};
    Sink *sink;
    Error err = {0};
    assert_int_equal(sink_new(&csv_sink, &settings, &sink_context, &sink, &err), STATUS_OK);
    assert_int_equal(sink->ops->open(sink, &err), STATUS_OK);

    Column columns[] = {{.name = STR("id")}, {.name = STR("name")}};
    Relation relation = {
        .schema = STR("public"), .name = STR("t"), .column_count = 2, .columns = columns};
    Value row[] = {{"1", 1, VALUE_TEXT}, {"say \"hi\"", 8, VALUE_TEXT}};
    Value key[] = {{"1", 1, VALUE_TEXT}, {NULL, 0, VALUE_ABSENT}};
    const Change changes[] = {
        {.op = CHANGE_INSERT, .relation = &relation, .new_row = row},
        {.op = CHANGE_TRUNCATE, .relation = &relation},
        {.op = CHANGE_DELETE, .relation = &relation, .old_row = key},
    };
    Checkpoint changed = {0};
    assert_int_equal(sink->ops->write(sink, changes, 3, &err), STATUS_OK);
    assert_int_equal(sink->ops->commit(sink, &changed, &err), STATUS_OK);
    sink_free(sink);

    char text[256] = "";
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    (void)unlink(path);
    text[len] = '\0';
    assert_string_equal(text, "insert,t,\"1\",\"say \"\"hi\"\"\"\ndelete,t,\"1\",\"\"\n");
}

static char *read_all(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    static char text[2][64 * 1024];
    static int next;
    char *into = text[next++ % 2];
    *ret_len = fread(into, 1, sizeof(text[0]) - 1, file);
    into[*ret_len] = '\0';
    (void)fclose(file);
    return into;
}

static void the_page_shows_this_code(void **context)
{
    (void)context;
    size_t code_len;
    size_t page_len;
    const char *code = read_all(TESTS_DIR "/../examples/csv_sink.c", &code_len);
    const char *page = read_all(TESTS_DIR "/../docs/adding-a-sink.md", &page_len);
    assert_true(code_len > 1000);
    assert_non_null(strstr(page, code));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_become_lines),
        cmocka_unit_test(the_page_shows_this_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
