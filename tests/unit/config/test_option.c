// Option tables: defaults, every type, and every way to get one wrong.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "arena_fixture.h"
#include "config/option.h"

typedef struct Fields {
    Str text;
    bool flag;
    int64_t number;
    int64_t size;
    int64_t time;
    int choice;
    StrList list;
    Str password;
} Fields;

static const char *const choices[] = {"red", "green", NULL};

static const Option table[] = {
    {"text", OPTION_STRING(Fields, text), .help = "-", .required = true},
    {"flag", OPTION_BOOL(Fields, flag), .help = "-", .fallback = "true"},
    {"number", OPTION_INT(Fields, number), .help = "-", .fallback = "7", .min = 1, .max = 64},
    {"size", OPTION_SIZE(Fields, size), .help = "-", .fallback = "16MB"},
    {"time", OPTION_MS(Fields, time), .help = "-", .fallback = "5s", .max = 129600000},
    {"choice", OPTION_CHOICE(Fields, choice, choices), .help = "-", .fallback = "green"},
    {"list", OPTION_LIST(Fields, list), .help = "-"},
    {"password", OPTION_STRING(Fields, password), .help = "-", .secret = true},
    {"inside", OPTION_LIST(Fields, list), .help = "-", .is_internal = true},
    {0},
};

static Fields fields;
static Error err;

static Status apply(size_t count, Setting *items)
{
    fields = (Fields){0};
    err = (Error){0};
    for (size_t i = 0; i < count; i++) {
        items[i].origin = STR("weir.yml:3");
    }
    Settings settings = {.items = items, .count = count, .origin = STR("weir.yml:1")};
    return options_apply(table, &fields, &settings, &arena, &err);
}

static Status apply_one(const char *key, const char *value)
{
    Setting items[] = {{.key = STR("text"), .value = STR("x")},
                       {.key = str_from(key), .value = str_from(value)}};
    return apply(2, items);
}

static void defaults_are_applied(void **context)
{
    (void)context;
    Setting items[] = {{.key = STR("text"), .value = STR("hello")}};
    assert_int_equal(apply(1, items), STATUS_OK);
    assert_true(str_is(fields.text, "hello"));
    assert_true(fields.flag);
    assert_int_equal(fields.number, 7);
    assert_int_equal(fields.size, 16 << 20);
    assert_int_equal(fields.time, 5000);
    assert_int_equal(fields.choice, 1);
    assert_true(items[0].used);
}

static void values_are_parsed(void **context)
{
    (void)context;
    assert_int_equal(apply_one("flag", "off"), STATUS_OK);
    assert_false(fields.flag);
    assert_int_equal(apply_one("size", "64kB"), STATUS_OK);
    assert_int_equal(fields.size, 65536);
    assert_int_equal(apply_one("time", "2min"), STATUS_OK);
    assert_int_equal(fields.time, 120000);
    assert_int_equal(apply_one("choice", "red"), STATUS_OK);
    assert_int_equal(fields.choice, 0);
    assert_int_equal(apply_one("list", "s.\"a,b\",\"c\"\",\",d"), STATUS_OK);
    assert_int_equal(fields.list.count, 3);
    assert_true(str_is(fields.list.items[0], "s.\"a,b\""));
    assert_true(str_is(fields.list.items[1], "\"c\"\",\""));
    assert_int_equal(apply_one("list", "a\"b,c"), STATUS_OK);
    assert_int_equal(fields.list.count, 2);
    assert_int_equal(apply_one("list", "a, b ,,c"), STATUS_OK);
    assert_int_equal(fields.list.count, 3);
    assert_true(str_is(fields.list.items[1], "b"));
}

static void wrong_values_name_the_place_and_what_is_expected(void **context)
{
    (void)context;
    static const char *const wrong[][2] = {
        {"flag", "maybe"},     {"number", "0"},     {"number", "65"}, {"number", "1e3"},
        {"number", ""},        {"size", "10 GiBs"}, {"size", "-1"},   {"size", "9999999999GB"},
        {"time", "5 parsecs"}, {"choice", "blue"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(apply_one(wrong[i][0], wrong[i][1]), STATUS_FAIL);
        assert_int_equal(err.kind, ERROR_CONFIG);
        assert_non_null(strstr(err.message, "weir.yml:3"));
        assert_non_null(strstr(err.message, wrong[i][0]));
    }
}

static void an_unknown_key_gets_a_suggestion(void **context)
{
    (void)context;
    assert_int_equal(apply_one("pasword", "hunter2"), STATUS_FAIL);
    assert_non_null(strstr(err.hint, "\"password\""));
    assert_null(strstr(err.message, "hunter2"));
    assert_int_equal(apply_one("completely_else", "1"), STATUS_FAIL);
    assert_non_null(strstr(err.hint, "Known options"));
}

static void a_wrong_name_is_told_the_nearest_or_all(void **context)
{
    (void)context;
    static const char *const none[] = {NULL};
    err = (Error){0};
    assert_true(suggest_nearest(STR("gren"), choices, "--", &err));
    assert_string_equal(err.hint, "Did you mean \"--green\"?");
    err = (Error){0};
    assert_false(suggest_nearest(STR("violet"), choices, "--", &err));
    assert_string_equal(err.hint, "");
    assert_int_equal(suggest_name(STR("gren"), choices, "Known here", &err), STATUS_FAIL);
    assert_string_equal(err.hint, "Did you mean \"green\"?");
    err = (Error){0};
    assert_int_equal(suggest_name(STR("violet"), choices, "Known here", &err), STATUS_FAIL);
    assert_string_equal(err.hint, "Known here: red, green.");
    err = (Error){0};
    assert_int_equal(suggest_name(STR("violet"), none, "Known here", &err), STATUS_FAIL);
    assert_string_equal(err.hint, "");
}

static void an_internal_option_is_no_users(void **context)
{
    (void)context;
    Str words[] = {STR("a")};
    Setting items[] = {{.key = STR("text"), .value = STR("x")},
                       {.key = STR("inside"), .is_list = true, .list = {words, 1}}};
    assert_int_equal(apply(2, items), STATUS_FAIL);
    assert_non_null(strstr(err.message, "unknown option \"inside\""));
    assert_null(strstr(err.hint, "inside"));
    items[1].is_internal = true;
    assert_int_equal(apply(2, items), STATUS_OK);
    assert_int_equal(apply_one("insid", "a"), STATUS_FAIL);
    assert_null(strstr(err.hint, "inside"));
}

static void a_range_has_units(void **context)
{
    (void)context;
    assert_int_equal(apply_one("time", "3d"), STATUS_FAIL);
    assert_non_null(strstr(err.message, "from 0 to 36h"));
    assert_int_equal(apply_one("number", "65"), STATUS_FAIL);
    assert_non_null(strstr(err.message, "a whole number from 1 to 64"));
}

static void missing_and_repeated_keys_are_refused(void **context)
{
    (void)context;
    assert_int_equal(apply(0, NULL), STATUS_FAIL);
    assert_non_null(strstr(err.message, "\"text\" is missing"));
    Setting twice[] = {{.key = STR("text"), .value = STR("a")},
                       {.key = STR("text"), .value = STR("b")}};
    assert_int_equal(apply(2, twice), STATUS_FAIL);
    assert_non_null(strstr(err.message, "given twice"));
}

static void nothing_is_no_value(void **context)
{
    (void)context;
    static const char *const empty[][2] = {
        {"password", ""}, {"list", ""}, {"list", " , "}, {"password_file", "/dev/null"}};
    for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
        assert_int_equal(apply_one(empty[i][0], empty[i][1]), STATUS_FAIL);
        assert_int_equal(err.kind, ERROR_CONFIG);
        assert_non_null(strstr(err.message, "has an empty value"));
    }
    Str words[] = {STR("a"), STR(" ")};
    Setting items[] = {{.key = STR("text"), .value = STR("x")},
                       {.key = STR("list"), .is_list = true, .list = {words, 2}}};
    for (size_t count = 0; count <= 2; count += 2) {
        items[1].list.count = count;
        assert_int_equal(apply(2, items), STATUS_FAIL);
        assert_non_null(strstr(err.message, "weir.yml:3: \"list\" has an empty value"));
    }
    assert_int_equal(apply_one("password", " "), STATUS_OK);
}

static void a_secret_can_come_from_a_file(void **context)
{
    (void)context;
    char path[] = "/tmp/weir-secret-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "hunter2\n", 8), 8);
    (void)close(fd);
    assert_int_equal(apply_one("password_file", path), STATUS_OK);
    assert_true(str_is(fields.password, "hunter2"));
    assert_int_equal(apply_one("number_file", path), STATUS_FAIL); // the wrong option for it
    assert_non_null(strstr(err.message, "\"number\" has the value \"…\", expected"));
    (void)unlink(path);
    assert_int_equal(apply_one("password_file", path), STATUS_FAIL);
    assert_non_null(strstr(err.message, path));
}

static void a_list_goes_only_into_a_list(void **context)
{
    (void)context;
    Str words[] = {STR("a,b"), STR("c")};
    Setting items[] = {{.key = STR("text"), .value = STR("x")},
                       {.key = STR("list"), .is_list = true, .list = {words, 2}}};
    assert_int_equal(apply(2, items), STATUS_OK);
    assert_int_equal(fields.list.count, 2);
    assert_true(str_is(fields.list.items[0], "a,b"));
    items[1].key = STR("number");
    assert_int_equal(apply(2, items), STATUS_FAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_applied),
        cmocka_unit_test(values_are_parsed),
        cmocka_unit_test(wrong_values_name_the_place_and_what_is_expected),
        cmocka_unit_test(an_unknown_key_gets_a_suggestion),
        cmocka_unit_test(a_wrong_name_is_told_the_nearest_or_all),
        cmocka_unit_test(an_internal_option_is_no_users),
        cmocka_unit_test(a_range_has_units),
        cmocka_unit_test(missing_and_repeated_keys_are_refused),
        cmocka_unit_test(nothing_is_no_value),
        cmocka_unit_test(a_secret_can_come_from_a_file),
        cmocka_unit_test(a_list_goes_only_into_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
