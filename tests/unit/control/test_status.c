// Rows of a status: written by one process, read by another.
#include "control/status.h"
#include "unit.h"

static Arena arena;

static int cleanup(void **context)
{
    (void)context;
    arena_done(&arena);
    return 0;
}

static StatusRows read_text(const char *text)
{
    StatusRows rows = {0};
    Error err = {0};
    assert_int_equal(status_read_text(str_from(text), &arena, &rows, &err), STATUS_OK);
    return rows;
}

static void comes_back(void **context)
{
    (void)context;
    StatusRow row = {0};
    row.values[STATUS_PIPELINE] = STR("shop");
    row.values[STATUS_ROUTE] = STR("");
    row.values[STATUS_LAST_ERROR] = STR("a\tb\nc\\d \\N \xc3\xa9");
    row.values[STATUS_CHANGES] = STR("12");
    StatusRows rows = {&row, 1};
    CLEANUP(buf_done) Buf text;
    buf_init(&text, 1 << 20);
    status_write_text(&rows, &text);
    StatusRows back = read_text(buf_cstring(&text));
    assert_int_equal(back.count, 1);
    const Str *values = back.items[0].values;
    assert_true(str_is(values[STATUS_PIPELINE], "shop"));
    assert_true(values[STATUS_ROUTE].ptr != NULL && values[STATUS_ROUTE].len == 0);
    assert_true(str_is(values[STATUS_LAST_ERROR], "a b c\\d \\N \xc3\xa9"));
    assert_true(str_is(values[STATUS_CHANGES], "12"));
    assert_null(values[STATUS_STATE].ptr);
}

// An older or newer program says less or more.
static void other_versions(void **context)
{
    (void)context;
    StatusRows rows = read_text("pipeline\tnew\tchanges\nshop\twhat\t3\nshop\n\nx\ty\tz\tmore\n");
    assert_int_equal(rows.count, 3);
    assert_true(str_is(rows.items[0].values[STATUS_CHANGES], "3"));
    assert_null(rows.items[1].values[STATUS_CHANGES].ptr);
    assert_true(str_is(rows.items[2].values[STATUS_CHANGES], "z"));
}

static void nothing_of_the_kind(void **context)
{
    (void)context;
    static const char *const texts[] = {"", "\n", "route\tpipeline\n", "{}"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        StatusRows rows;
        Error err = {0};
        assert_int_equal(status_read_text(str_from(texts[i]), &arena, &rows, &err), STATUS_FAIL);
    }
    assert_int_equal(read_text("pipeline").count, 0);
    assert_int_equal(read_text("pipeline\n\\").count, 1);
}

static void as_json(void **context)
{
    (void)context;
    StatusRows rows = read_text("pipeline\tchanges\tretries\nsh\"op\t1.5\tmany\n");
    CLEANUP(buf_done) Buf text;
    buf_init(&text, 1 << 20);
    status_write_json(&rows, &text);
    const char *json = buf_cstring(&text);
    assert_non_null(strstr(json, "\"pipeline\":\"sh\\\"op\""));
    assert_non_null(strstr(json, "\"changes\":1.5,"));
    assert_non_null(strstr(json, "\"retries\":null")); // no number
    buf_reset(&text);
    status_write_json(&(StatusRows){0}, &text);
    assert_string_equal(buf_cstring(&text), "[]\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(comes_back, cleanup),
        cmocka_unit_test_teardown(other_versions, cleanup),
        cmocka_unit_test_teardown(nothing_of_the_kind, cleanup),
        cmocka_unit_test_teardown(as_json, cleanup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
