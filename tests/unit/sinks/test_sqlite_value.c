// SQLite's affinities: our copy of its rules agrees with SQLite, and what fits is kept.
#include "sinks/sqlite_fixture.h"
#include "sinks/sqlite_value.h"

static const char *const declared_types[] = {
    "",
    "INT",
    "INTEGER",
    "BIGINT",
    "point",
    "interval",
    "character varying(3)",
    "nchar",
    "CLOB",
    "Text",
    "BLOB",
    "REAL",
    "FLOAT",
    "double precision",
    "DECIMAL",
    "NUMERIC",
    "BOOLEAN",
    "DATE",
    "DATETIME",
    "STRING",
    "CHARINT",
    "FLOATBLOB",
    "timestamp with time zone",
    "json",
};

// What SQLite does to '1.50' and to 2.0 in a column of that type shows its affinity.
static SqliteAffinity affinity_by_example(sqlite3 *db, const char *type)
{
    char sql[200];
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_exec(db, "DROP TABLE IF EXISTS t", NULL, NULL, NULL), SQLITE_OK);
    (void)snprintf(sql, sizeof(sql), "CREATE TABLE t (c %s); INSERT INTO t VALUES ('1.50'), (2)",
                   type);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT group_concat(typeof(c)) FROM t", -1, &statement, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    Str types = str_from((const char *)sqlite3_column_text(statement, 0));
    SqliteAffinity found = str_is(types, "text,text")      ? AFFINITY_TEXT
                           : str_is(types, "text,integer") ? AFFINITY_BLOB
                           : str_is(types, "real,real")    ? AFFINITY_REAL
                                                           : AFFINITY_NUMERIC;
    (void)sqlite3_finalize(statement);
    return found;
}

static void affinities_are_those_of_sqlite(void **state)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    for (size_t i = 0; i < ARRAY_LEN(declared_types); i++) {
        SqliteAffinity ours = sqlite_affinity(str_from(declared_types[i]));
        // INTEGER and NUMERIC store alike.
        ours = ours == AFFINITY_INTEGER ? AFFINITY_NUMERIC : ours;
        if (ours != affinity_by_example(db, declared_types[i])) {
            fail_msg("%s", declared_types[i]);
        }
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void our_types_fit_themselves(void **state)
{
    const Column columns[] = {
        INT4("c", 1),   INT8("c", 1),    TEXT("c", 1),  BOOL("c", 1),
        FLOAT4("c", 1), NUMERIC("c", 1), BYTEA("c", 1), column("c", 1, OID_INTERVAL, "interval")};
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        Buf type = {.max = 100};
        sqlite_dialect.type(&columns[i], &type);
        assert_true(sqlite_type_fits(buf_view(&type), &columns[i]));
        assert_true(sqlite_type_fits(STR(""), &columns[i]));
        buf_done(&type);
    }
    const Column number = NUMERIC("c", 1);
    assert_false(sqlite_type_fits(STR("NUMERIC(10,2)"), &number));
    const Column integer = INT4("c", 1);
    assert_true(sqlite_type_fits(STR("NUMERIC"), &integer));
    assert_false(sqlite_type_fits(STR("REAL"), &integer));
    assert_false(sqlite_type_fits(STR("TEXT"), &integer));
}

static void defaults_cannot_break_out(void **state)
{
    const Column bytes = BYTEA("c", 1);
    Buf sql = {.max = 200};
    sqlite_dialect.literal(&bytes, STR("\\x00ff"), &sql);
    assert_string_equal(buf_cstring(&sql), "X'00ff'");
    buf_reset(&sql);
    sqlite_dialect.literal(&bytes, STR("\\x0'; xx"), &sql);
    assert_string_equal(buf_cstring(&sql), "X'0''; xx'"); // SQLite refuses it
    buf_reset(&sql);
    sqlite_dialect.literal(&bytes, STR("\\x'"), &sql);
    assert_string_equal(buf_cstring(&sql), "'\\x'''");
    buf_done(&sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(affinities_are_those_of_sqlite),
        cmocka_unit_test(our_types_fit_themselves),
        cmocka_unit_test(defaults_cannot_break_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
