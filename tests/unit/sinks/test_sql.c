// Names and table definitions, with names that would break what is not quoted.
#include "sinks/sql.h"
#include "unit.h"

static void declare(const Column *column, Buf *sql)
{
    buf_str(sql, column->type_name);
}

static const SqlDialect plain = {.name = "plain",
                                 .type = declare,
                                 .text_type = "text",
                                 .integer_type = "bigint",
                                 .time_type = "timestamptz",
                                 .declares_not_null = true};

static const SqlDialect folding = {.name = "folding", .type = declare, .folds_case = true};

static Column hostile_columns[] = {
    {.name = {"i\"d", 3}, .type_name = {"integer", 7}, .not_null = true},
    {.name = {"a, b.c", 6}, .type_name = {"text", 4}},
    {.name = {"naïve 名", 10}, .type_name = {"text", 4}, .not_null = true},
};
static uint16_t hostile_key[] = {2, 0};
static const Relation hostile = {.oid = 1,
                                 .schema = {"public", 6},
                                 .name = {"t", 1},
                                 .column_count = 3,
                                 .columns = hostile_columns,
                                 .key_count = 2,
                                 .key = hostile_key};
static const SqlTable hostile_table = {{"s.\"", 3}, {"t'", 2}};

static void expect(Buf *sql, const char *expected)
{
    assert_string_equal(buf_cstring(sql), expected);
    assert_false(sql->overflowed);
    buf_done(sql);
}

static void quotes_names_and_text(void **state)
{
    Buf sql = {.max = 4096};
    sql_identifier(&sql, STR("a \"b\" 'c'"));
    buf_char(&sql, ' ');
    sql_literal(&sql, STR("it's \"x\" \\"));
    buf_char(&sql, ' ');
    sql_literal(&sql, (Str){0});
    expect(&sql, "\"a \"\"b\"\" 'c'\" 'it''s \"x\" \\' ''");
    sql_table_name(&sql, hostile_table);
    expect(&sql, "\"s.\"\"\".\"t'\"");
    sql_column_list(&sql, &hostile, true);
    expect(&sql, "\"naïve 名\", \"i\"\"d\"");
}

static void creates_a_mirror(void **state)
{
    Buf sql = {.max = 4096};
    sql_create_table(&sql, &plain, hostile_table, &hostile, SQL_MIRROR);
    expect(&sql, "CREATE TABLE IF NOT EXISTS \"s.\"\"\".\"t'\" (\"i\"\"d\" integer NOT NULL, "
                 "\"a, b.c\" text, \"naïve 名\" text NOT NULL, "
                 "PRIMARY KEY (\"naïve 名\", \"i\"\"d\"))");
    Relation keyless = hostile;
    keyless.key_count = 0;
    sql_create_table(&sql, &folding, (SqlTable){.name = STR("t")}, &keyless, SQL_MIRROR);
    expect(&sql, "CREATE TABLE IF NOT EXISTS \"t\" (\"i\"\"d\" integer, \"a, b.c\" text, "
                 "\"naïve 名\" text)");
}

static void creates_a_history(void **state)
{
    Buf sql = {.max = 4096};
    sql_create_table(&sql, &plain, (SqlTable){.name = STR("t")}, &hostile, SQL_HISTORY);
    expect(&sql, "CREATE TABLE IF NOT EXISTS \"t\" (\"i\"\"d\" integer, \"a, b.c\" text, "
                 "\"naïve 名\" text, \"_weir_op\" text, \"_weir_lsn\" text, "
                 "\"_weir_ordinal\" bigint, \"_weir_xid\" bigint, "
                 "\"_weir_commit_time\" timestamptz)");
}

static void alters_columns(void **state)
{
    Buf sql = {.max = 4096};
    Column column = hostile_columns[1];
    sql_add_column(&sql, &plain, hostile_table, &column);
    expect(&sql, "ALTER TABLE \"s.\"\"\".\"t'\" ADD COLUMN \"a, b.c\" text");
    column.missing_value = STR("it's");
    sql_add_column(&sql, &plain, (SqlTable){.name = STR("t")}, &column);
    expect(&sql, "ALTER TABLE \"t\" ADD COLUMN \"a, b.c\" text DEFAULT 'it''s'");
    sql_drop_column(&sql, (SqlTable){.name = STR("t")}, STR("a\"b"));
    expect(&sql, "ALTER TABLE \"t\" DROP COLUMN \"a\"\"b\"");
    sql_rename_column(&sql, (SqlTable){.name = STR("t")}, STR("a"), STR("b c"));
    expect(&sql, "ALTER TABLE \"t\" RENAME COLUMN \"a\" TO \"b c\"");
}

static void orders_positions_as_text(void **state)
{
    char small[SQL_LSN_TEXT_SIZE];
    char large[SQL_LSN_TEXT_SIZE];
    sql_history_lsn(0x9FFFFFFFF, small);
    sql_history_lsn(0x1000000000, large);
    assert_string_equal(small, "00000009FFFFFFFF");
    assert_string_equal(large, "0000001000000000");
    assert_true(strcmp(small, large) < 0);
    sql_history_lsn(UINT64_MAX, large);
    assert_string_equal(large, "FFFFFFFFFFFFFFFF");
}

static void refuses_columns_that_become_one(void **state)
{
    Error error = {0};
    Column columns[] = {{.name = STR("Id")}, {.name = STR("id")}};
    Relation relation = {
        .schema = STR("public"), .name = STR("t"), .column_count = 2, .columns = columns};
    assert_int_equal(sql_check_columns(&plain, &relation, SQL_MIRROR, &error), STATUS_OK);
    assert_int_equal(sql_check_columns(&folding, &relation, SQL_MIRROR, &error), STATUS_FAIL);
    assert_int_equal(error.kind, ERROR_CONFIG);
    assert_non_null(strstr(error.message, "\"Id\" and \"id\" of table \"public.t\""));
    // Only ASCII letters fold.
    columns[0].name = STR("É");
    columns[1].name = STR("é");
    assert_int_equal(sql_check_columns(&folding, &relation, SQL_MIRROR, &error), STATUS_OK);
    columns[0].name = STR("_weir_lsn");
    assert_int_equal(sql_check_columns(&plain, &relation, SQL_MIRROR, &error), STATUS_OK);
    assert_int_equal(sql_check_columns(&plain, &relation, SQL_HISTORY, &error), STATUS_FAIL);
    assert_non_null(strstr(error.message, "\"_weir_lsn\""));
}

static void says_which_row(void **state)
{
    (void)state;
    Buf text = {.max = 4096};
    uint16_t key[] = {1, 0};
    Column columns[] = {{.name = STR("id")}, {.name = STR("part")}, {.name = STR("secret")}};
    Relation t = {.columns = columns, .column_count = 3, .key = key, .key_count = 2};
    Value row[] = {{.state = VALUE_NULL},
                   {.ptr = "ü234567890123456789012345678901234567890123456789012345678ünext",
                    .len = 65,
                    .state = VALUE_TEXT},
                   {.ptr = "x", .len = 1, .state = VALUE_TEXT}};
    sql_describe_row(&text, &t, row);
    assert_string_equal(
        buf_cstring(&text),
        " where \"part\" = ü234567890123456789012345678901234567890123456789012345678…"
        " and \"id\" = NULL");
    buf_reset(&text);
    sql_describe_row(&text, &t, NULL);
    t.key_count = 0;
    sql_describe_row(&text, &t, row);
    assert_int_equal(text.len, 0);
    buf_done(&text);
}

static void refuses_tables_that_become_one(void **state)
{
    Error error = {0};
    SqlTargets targets = {0};
    Relation first = {.oid = 1, .schema = STR("public"), .name = STR("Orders")};
    Relation second = {.oid = 2, .schema = STR("shop"), .name = STR("orders")};
    SqlTable upper = {.name = STR("Orders")};
    SqlTable lower = {.name = STR("orders")};
    SqlTable in_schema = {STR("x"), STR("orders")};
    assert_int_equal(sql_targets_claim(&targets, &folding, &first, upper, &error), STATUS_OK);
    assert_int_equal(sql_targets_claim(&targets, &folding, &first, upper, &error), STATUS_OK);
    assert_int_equal(sql_targets_claim(&targets, &folding, &second, lower, &error), STATUS_FAIL);
    assert_int_equal(error.kind, ERROR_CONFIG);
    assert_non_null(strstr(error.message, "\"public.Orders\" and \"shop.orders\""));
    assert_int_equal(sql_targets_claim(&targets, &folding, &second, in_schema, &error), STATUS_OK);
    // A relation that moves gives its table up.
    assert_int_equal(
        sql_targets_claim(&targets, &folding, &first, (SqlTable){.name = STR("old")}, &error),
        STATUS_OK);
    assert_int_equal(sql_targets_claim(&targets, &folding, &second, lower, &error), STATUS_OK);
    assert_int_equal(sql_targets_claim(&targets, &folding, &first,
                                       (SqlTable){.name = STR("Weir_Checkpoint")}, &error),
                     STATUS_FAIL);
    sql_targets_done(&targets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes_names_and_text),
        cmocka_unit_test(creates_a_mirror),
        cmocka_unit_test(creates_a_history),
        cmocka_unit_test(alters_columns),
        cmocka_unit_test(orders_positions_as_text),
        cmocka_unit_test(refuses_columns_that_become_one),
        cmocka_unit_test(says_which_row),
        cmocka_unit_test(refuses_tables_that_become_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
