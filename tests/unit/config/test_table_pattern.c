#include "config/table_pattern.h"
#include "unit.h"

static bool matches(const char *pattern, const char *schema, const char *name)
{
    return table_pattern_matches(str_from(pattern), str_from(schema), str_from(name));
}

static void test_patterns(void **state)
{
    assert_true(matches("orders", "public", "orders"));
    assert_true(matches("orders", "shop", "orders"));
    assert_false(matches("orders", "public", "orders2"));
    assert_true(matches("shop.orders", "shop", "orders"));
    assert_false(matches("shop.orders", "public", "orders"));
    assert_true(matches("shop.*", "shop", "anything"));
    assert_true(matches("*.orders", "shop", "orders"));
    assert_true(matches("*", "shop", "anything"));
    assert_false(matches("shop.*", "shop2", "orders"));
}

static void test_quotes_and_dots(void **state)
{
    assert_true(matches("\"a.b\"", "public", "a.b"));
    assert_true(matches("a.b", "public", "a.b"));
    assert_true(matches("a.b.c", "a", "b.c"));
    assert_true(matches("\"S\".\"it\"\"s\"", "S", "it\"s"));
    assert_false(matches("shop.\"*\"", "shop", "orders"));
    assert_true(matches("shop.\"*\"", "shop", "*"));
}

static void test_what_is_no_pattern(void **state)
{
    assert_false(matches("", "public", "orders"));
    assert_false(matches("shop.", "shop", "orders"));
    assert_false(matches("\"orders", "public", "orders"));
    assert_true(matches("\"orders", "public", "\"orders"));
}

static void test_names_of_one_table(void **state)
{
    Arena arena = {0};
    Str schema;
    Str name;
    assert_true(table_name_parse(STR("public.orders"), &arena, &schema, &name));
    assert_true(str_is(schema, "public") && str_is(name, "orders"));
    assert_true(table_name_parse(STR("\"a.b\".\"c\"\"d\""), &arena, &schema, &name));
    assert_true(str_is(schema, "a.b") && str_is(name, "c\"d"));
    assert_false(table_name_parse(STR("orders"), &arena, &schema, &name));
    assert_false(table_name_parse(STR("public.*"), &arena, &schema, &name));
    assert_false(table_name_parse(STR("*.orders"), &arena, &schema, &name));
    assert_false(table_name_parse(STR(""), &arena, &schema, &name));
    assert_false(table_name_parse(STR("public."), &arena, &schema, &name));
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_quotes_and_dots),
        cmocka_unit_test(test_what_is_no_pattern),
        cmocka_unit_test(test_names_of_one_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
