// Conversions of stored values, each as Postgres's own cast has it.
#include "sinks/sqlite_convert.h"
#include "sinks/sqlite_fixture.h"

enum { DIGITS_10_2 = ((10 << 16) | 2) + 4, DIGITS_5_0 = (5 << 16) + 4 };

static Column with_typmod(Column column, int32_t typmod)
{
    column.typmod = typmod;
    column.base_typmod = typmod;
    return column;
}

static Column varchar(int32_t length)
{
    return with_typmod(column("c", 1, OID_VARCHAR, "character varying"), length + 4);
}

static Column bpchar(int32_t length)
{
    return with_typmod(column("c", 1, OID_BPCHAR, "character"), length + 4);
}

static Column other(uint32_t oid, TypeKind kind)
{
    Column made = column("c", 1, oid, "other");
    made.kind = kind;
    return made;
}

/** The SQL constant @stored after the conversion; "kept" when it stays as it is, "error", or
 * "never". */
static const char *convert(Column was, Column now, const char *stored)
{
    static char result[400];
    SqliteConversion conversion;
    sqlite3 *db;
    sqlite3_stmt *statement;
    char sql[400];
    if (!sqlite_conversion_find(&was, &now, &conversion)) {
        return "never";
    }
    if (conversion.convert == NULL) {
        return "kept";
    }
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(sqlite_conversion_register(db), SQLITE_OK);
    (void)snprintf(sql, sizeof(sql), "SELECT weir_convert(%s, ?1)", stored);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    sqlite_conversion_bind(statement, 1, &conversion);
    Buf text = {.max = sizeof(result)};
    if (sqlite3_step(statement) == SQLITE_ROW) {
        append_value(&text, statement, 0);
    } else {
        buf_cstr(&text, "error");
    }
    (void)snprintf(result, sizeof(result), "%s", buf_cstring(&text));
    buf_done(&text);
    (void)sqlite3_finalize(statement);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return result;
}

#define assert_converts(was, now, stored, expected) \
    assert_string_equal(convert(was, now, stored), expected)

static void to_numeric(void **state)
{
    const Column bare = NUMERIC("c", 1);
    const Column fine = with_typmod(bare, DIGITS_10_2);
    const Column whole = with_typmod(bare, DIGITS_5_0);
    assert_converts(INT4("c", 1), fine, "5", "'5.00'");
    assert_converts(INT4("c", 1), fine, "-5", "'-5.00'");
    assert_converts(INT8("c", 1), bare, "-9223372036854775808", "'-9223372036854775808'");
    assert_converts(bare, fine, "'1.005'", "'1.01'");
    assert_converts(bare, fine, "'-1.005'", "'-1.01'");
    assert_converts(bare, fine, "'9.995'", "'10.00'");
    assert_converts(bare, fine, "'-999.999'", "'-1000.00'");
    assert_converts(bare, fine, "'-0.004'", "'0.00'");
    assert_converts(bare, fine, "'1.2'", "'1.20'");
    assert_converts(bare, fine, "'NaN'", "'NaN'");
    assert_converts(bare, whole, "'0.5'", "'1'");
    assert_converts(bare, whole, "'99.4999'", "'99'");
    assert_converts(fine, bare, "'1.20'", "kept");
    assert_converts(fine, fine, "'1.20'", "kept");
    assert_converts(bare, with_typmod(bare, ((5 << 16) | 0x7fe) + 4), "'1234'", "never"); // (5,-2)
    assert_converts(TEXT("c", 1), fine, "' 7.125 '", "'7.13'");
    assert_converts(TEXT("c", 1), fine, "'1e3'", "error");
    assert_converts(TEXT("c", 1), bare, "'seven'", "error");
    assert_converts(TEXT("c", 1), bare, "''", "error");
    assert_converts(TEXT("c", 1), bare, "'-'", "error");
    assert_converts(FLOAT8("c", 1), bare, "0.1", "never");
    assert_converts(INT4("c", 1), fine, "NULL", "NULL");
}

static void to_integers(void **state)
{
    assert_converts(INT4("c", 1), INT8("c", 1), "1", "kept");
    assert_converts(BOOL("c", 1), INT4("c", 1), "1", "kept");
    assert_converts(NUMERIC("c", 1), INT4("c", 1), "'2.5'", "3");
    assert_converts(NUMERIC("c", 1), INT4("c", 1), "'-2.5'", "-3");
    assert_converts(NUMERIC("c", 1), INT4("c", 1), "'NaN'", "error");
    assert_converts(NUMERIC("c", 1), INT8("c", 1), "'99999999999999999999'", "error");
    assert_converts(FLOAT8("c", 1), INT4("c", 1), "2.5", "2");
    assert_converts(FLOAT8("c", 1), INT4("c", 1), "-3.5", "-4");
    assert_converts(FLOAT8("c", 1), INT8("c", 1), "9.3e18", "error");
    assert_converts(FLOAT8("c", 1), INT8("c", 1), "'NaN'", "error");
    assert_converts(TEXT("c", 1), INT4("c", 1), "'42'", "42");
    assert_converts(TEXT("c", 1), INT4("c", 1), "'0x10'", "error");
    assert_converts(INT4("c", 1), BOOL("c", 1), "7", "1");
    assert_converts(INT4("c", 1), BOOL("c", 1), "0", "0");
    assert_converts(TEXT("c", 1), BOOL("c", 1), "'t'", "never");
}

static void to_floats(void **state)
{
    assert_converts(INT8("c", 1), FLOAT8("c", 1), "3", "3f");
    assert_converts(INT4("c", 1), FLOAT4("c", 1), "16777217", "16777216f");
    assert_converts(FLOAT4("c", 1), FLOAT8("c", 1), "3.4", "3.4000000953674316f");
    assert_converts(FLOAT4("c", 1), FLOAT8("c", 1), "'NaN'", "'NaN'");
    assert_converts(FLOAT8("c", 1), FLOAT4("c", 1), "3.4000000953674316", "3.3999999999999999f");
    assert_converts(FLOAT8("c", 1), FLOAT4("c", 1), "0.1", "0.10000000000000001f");
    assert_converts(NUMERIC("c", 1), FLOAT8("c", 1), "'0.1'", "0.10000000000000001f");
    assert_converts(NUMERIC("c", 1), FLOAT8("c", 1), "'NaN'", "'NaN'");
    assert_converts(NUMERIC("c", 1), FLOAT8("c", 1), "'-Infinity'", "-inff");
    assert_converts(TEXT("c", 1), FLOAT8("c", 1), "'x'", "error");
}

static void to_text(void **state)
{
    assert_converts(INT4("c", 1), TEXT("c", 1), "-7", "'-7'");
    assert_converts(BOOL("c", 1), TEXT("c", 1), "1", "'true'");
    assert_converts(NUMERIC("c", 1), TEXT("c", 1), "'1.0'", "kept");
    assert_converts(varchar(3), TEXT("c", 1), "'abc'", "kept");
    assert_converts(varchar(3), varchar(9), "'abc'", "kept");
    assert_converts(bpchar(5), TEXT("c", 1), "'abc  '", "'abc'");
    assert_converts(bpchar(5), bpchar(7), "'åbc  '", "'åbc    '");
    assert_converts(bpchar(5), bpchar(2), "'abc  '", "error");
    assert_converts(TEXT("c", 1), bpchar(4), "'名'", "'名   '");
    assert_converts(INT4("c", 1), bpchar(3), "12", "'12 '");
    assert_converts(FLOAT8("c", 1), TEXT("c", 1), "1.5", "never");
    assert_converts(BYTEA("c", 1), TEXT("c", 1), "x'00'", "never");
    assert_converts(other(869, TYPE_KIND_BASE), TEXT("c", 1), "'::1'", "never"); // inet
    assert_converts(other(90000, TYPE_KIND_ENUM), TEXT("c", 1), "'sad'", "kept");
    assert_converts(TEXT("c", 1), other(90000, TYPE_KIND_ENUM), "'sad'", "kept");
    assert_converts(TEXT("c", 1), other(90000, TYPE_KIND_RANGE), "'[1,2]'", "never");
    assert_converts(column("c", 1, OID_JSONB, "jsonb"), TEXT("c", 1), "'{}'", "kept");
    assert_converts(column("c", 1, OID_JSONB, "jsonb"), column("c", 1, OID_JSON, "json"), "'{}'",
                    "kept");
    assert_converts(column("c", 1, OID_JSON, "json"), column("c", 1, OID_JSONB, "jsonb"), "'{}'",
                    "never");
}

static void modifiers_of_times_and_bits(void **state)
{
    const Column time = column("c", 1, OID_TIMESTAMP, "timestamp");
    const Column bits = column("c", 1, OID_VARBIT, "bit varying");
    assert_converts(with_typmod(time, 3), time, "''", "kept");
    assert_converts(time, with_typmod(time, 6), "''", "kept");
    assert_converts(with_typmod(time, 0), with_typmod(time, 3), "''", "kept");
    assert_converts(time, with_typmod(time, 3), "''", "never");
    assert_converts(time, column("c", 1, OID_DATE, "date"), "''", "never");
    assert_converts(with_typmod(bits, 3), with_typmod(bits, 5), "''", "kept");
    assert_converts(with_typmod(bits, 5), with_typmod(bits, 3), "''", "never");
    assert_converts(with_typmod(column("c", 1, OID_BIT, "bit"), 3),
                    with_typmod(column("c", 1, OID_BIT, "bit"), 5), "''", "never");
}

// It is not for statements of others, whose second argument would be any pointer.
static void without_its_pointer_it_refuses(void **state)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(sqlite_conversion_register(db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "SELECT weir_convert(1, 12345)", NULL, NULL, NULL),
                     SQLITE_ERROR);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(to_numeric),
        cmocka_unit_test(to_integers),
        cmocka_unit_test(to_floats),
        cmocka_unit_test(to_text),
        cmocka_unit_test(modifiers_of_times_and_bits),
        cmocka_unit_test(without_its_pointer_it_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
