// From Postgres's text to DuckDB's cells: extremes, and what is refused. Needs no library.
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "change/time_text.h"
#include "sinks/duckdb_value.h"
#include "unit.h"

#define TYPE(name) ((DuckType){.kind = DUCK_##name})

static int64_t number(DuckType type, const char *text)
{
    int64_t cell = 0;
    size_t size = duck_cell_size(type);
    assert_true(size <= sizeof(cell));
    if (duck_parse(type, str_from(text), &cell) != DUCK_PARSE_OK) {
        fail_msg("\"%s\" was refused", text);
    }
    bool is_signed = type.kind != DUCK_UINTEGER && type.kind != DUCK_BOOLEAN;
    unsigned unused = (unsigned)(sizeof(cell) - size) * 8;
    return is_signed ? (int64_t)((uint64_t)cell << unused) >> unused : cell;
}

// The result is what it should be, and the cell was left alone.
static void refused(DuckType type, const char *text, DuckParse expected)
{
    unsigned char cell[16];
    unsigned char before[16];
    memset(before, 0xa5, sizeof(before));
    memset(cell, 0xa5, sizeof(cell));
    DuckParse parsed = duck_parse(type, str_from(text), cell);
    if (parsed != expected) {
        fail_msg("\"%s\" gave %d instead of %d", text, (int)parsed, (int)expected);
    }
    assert_memory_equal(cell, before, sizeof(cell));
}

#define SYNTAX DUCK_PARSE_SYNTAX
#define CANNOT DUCK_PARSE_CANNOT_HOLD

static void integers(void **state)
{
    (void)state;
    assert_int_equal(number(TYPE(BOOLEAN), "t"), 1);
    assert_int_equal(number(TYPE(BOOLEAN), "f"), 0);
    assert_int_equal(number(TYPE(SMALLINT), "-32768"), -32768);
    assert_int_equal(number(TYPE(SMALLINT), "32767"), 32767);
    assert_int_equal(number(TYPE(INTEGER), "-2147483648"), INT32_MIN);
    assert_int_equal(number(TYPE(BIGINT), "-9223372036854775808"), INT64_MIN);
    assert_int_equal(number(TYPE(BIGINT), "9223372036854775807"), INT64_MAX);
    assert_int_equal(number(TYPE(UINTEGER), "4294967295"), UINT32_MAX);
    refused(TYPE(SMALLINT), "32768", CANNOT);
    refused(TYPE(INTEGER), "2147483648", CANNOT);
    refused(TYPE(UINTEGER), "-1", CANNOT);
    refused(TYPE(UINTEGER), "4294967296", CANNOT);
    refused(TYPE(BIGINT), "9223372036854775808", SYNTAX);
    refused(TYPE(INTEGER), "", SYNTAX);
    refused(TYPE(INTEGER), "1 ", SYNTAX);
    refused(TYPE(INTEGER), "0x1", SYNTAX);
    refused(TYPE(BOOLEAN), "true", SYNTAX);
    refused(TYPE(BOOLEAN), "", SYNTAX);
}

static void same_double(const char *text)
{
    double cell;
    double expected = strtod(text, NULL);
    assert_int_equal(duck_parse(TYPE(DOUBLE), str_from(text), &cell), DUCK_PARSE_OK);
    if (memcmp(&cell, &expected, sizeof(cell)) != 0) {
        fail_msg("%s became %.17g", text, cell);
    }
}

static void same_float(const char *text)
{
    float cell;
    float expected = strtof(text, NULL);
    assert_int_equal(duck_parse(TYPE(FLOAT), str_from(text), &cell), DUCK_PARSE_OK);
    if (memcmp(&cell, &expected, sizeof(cell)) != 0) {
        fail_msg("%s became %.9g", text, (double)cell);
    }
}

static void floating_point(void **state)
{
    (void)state;
    static const char *const texts[] = {"0",
                                        "-0",
                                        "1",
                                        "-1.5",
                                        "0.1",
                                        "3.14",
                                        "1e10",
                                        "1e+22",
                                        "1e23",
                                        "1e-22",
                                        "1e-23",
                                        "9007199254740991",
                                        "9007199254740992",
                                        "9007199254740993",
                                        "0.30000000000000004",
                                        "123456789012345678",
                                        "1.7976931348623157e+308",
                                        "2.2250738585072014e-308",
                                        "5e-324",
                                        "1.401298464324817e-45",
                                        "16777216",
                                        "16777217",
                                        "8.589973e+09",
                                        "1e-10",
                                        "1e-11",
                                        "1.00000006",
                                        "1.000000059604644775390625",
                                        "0.000000000000000000000000000000000001",
                                        "100000000000000000000000",
                                        "1234567890123456789012345.678901234567890"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        same_double(texts[i]);
        same_float(texts[i]);
    }
    srand(42);
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = (uint64_t)rand() << 33 ^ (uint64_t)rand() << 11 ^ (uint64_t)rand();
        uint32_t half = (uint32_t)bits;
        double value;
        float small;
        char text[64];
        memcpy(&value, &bits, sizeof(value));
        memcpy(&small, &half, sizeof(small));
        if (isfinite(value) && isfinite(small)) {
            (void)snprintf(text, sizeof(text), "%.17g",
                           i % 2 == 0 ? value : (double)(rand() % 1000000) / 128);
            same_double(text);
            (void)snprintf(text, sizeof(text), "%.9g", (double)small);
            same_float(text);
        }
    }
    double cell;
    assert_int_equal(duck_parse(TYPE(DOUBLE), STR("NaN"), &cell), DUCK_PARSE_OK);
    assert_true(isnan(cell));
    assert_int_equal(duck_parse(TYPE(DOUBLE), STR("-Infinity"), &cell), DUCK_PARSE_OK);
    assert_true(isinf(cell) && cell < 0);
    static const char *const wrong[] = {"",    "-",   ".",  "e1", "1e",   "1e+", "1.2.3",
                                        "nan", "inf", "1 ", " 1", "0x10", "1,5", "--1"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        refused(TYPE(DOUBLE), wrong[i], SYNTAX);
        refused(TYPE(FLOAT), wrong[i], SYNTAX);
    }
}

static void the_locale_does_not_matter(void **state)
{
    (void)state;
    if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL && setlocale(LC_ALL, "fr_FR.UTF-8") == NULL) {
        skip();
    }
    double cell;
    assert_int_equal(duck_parse(TYPE(DOUBLE), STR("2.2250738585072014e-308"), &cell),
                     DUCK_PARSE_OK);
    (void)setlocale(LC_ALL, "C");
    assert_true(cell > 0 && cell < 1e-300);
}

static int64_t scaled(int width, int scale, const char *text)
{
    return number((DuckType){DUCK_DECIMAL, (uint8_t)width, (uint8_t)scale}, text);
}

static void decimals(void **state)
{
    (void)state;
    DuckType wide = {DUCK_DECIMAL, 38, 10};
    assert_int_equal(scaled(4, 2, "99.99"), 9999);
    assert_int_equal(scaled(4, 2, "-0.01"), -1);
    assert_int_equal(scaled(4, 4, "0.1234"), 1234);
    assert_int_equal(scaled(9, 0, "-999999999"), -999999999);
    assert_int_equal(scaled(10, 2, "1.5"), 150);
    assert_int_equal(scaled(10, 2, "7"), 700);
    assert_int_equal(scaled(10, 2, "1.500"), 150);
    assert_int_equal(scaled(18, 18, "0.000000000000000001"), 1);
    DuckHugeint cell;
    assert_int_equal(duck_parse(wide, STR("-1234567890123456789012345678.0123456789"), &cell),
                     DUCK_PARSE_OK);
    char text[64];
    __extension__ unsigned __int128 magnitude = (unsigned __int128)-cell;
    int at = sizeof(text) - 1;
    text[at] = '\0';
    for (; magnitude > 0; magnitude /= 10) {
        text[--at] = (char)('0' + (int)(magnitude % 10));
    }
    assert_string_equal(text + at, "12345678901234567890123456780123456789");
    refused((DuckType){DUCK_DECIMAL, 4, 2}, "100.00", CANNOT);
    refused((DuckType){DUCK_DECIMAL, 4, 2}, "1.001", CANNOT);
    refused((DuckType){DUCK_DECIMAL, 4, 2}, "100", CANNOT);
    refused(wide, "12345678901234567890123456789", CANNOT);
    // One digit more would not fit into the number either that they are gathered in.
    refused((DuckType){DUCK_DECIMAL, 38, 0}, "199999999999999999999999999999999999999", CANNOT);
    refused(wide, "NaN", CANNOT);
    refused(wide, "-Infinity", CANNOT);
    refused(wide, "", SYNTAX);
    refused(wide, "-", SYNTAX);
    refused(wide, "1e5", SYNTAX);
    refused(wide, "1.2.3", SYNTAX);
}

static void dates(void **state)
{
    (void)state;
    assert_int_equal(number(TYPE(DATE), "1970-01-01"), 0);
    assert_int_equal(number(TYPE(DATE), "2000-02-29"), 11016);
    assert_int_equal(number(TYPE(DATE), "1969-12-31"), -1);
    assert_int_equal(number(TYPE(DATE), "0001-01-01"), -719162);
    assert_int_equal(number(TYPE(DATE), "0001-12-31 BC"), -719163);
    assert_int_equal(number(TYPE(DATE), "0001-02-29 BC"), -719469);
    assert_int_equal(number(TYPE(DATE), "4714-11-24 BC"), -2440588);
    assert_int_equal(number(TYPE(DATE), "5874897-12-31"), INT64_C(2145042905));
    assert_int_equal(number(TYPE(DATE), "infinity"), INT32_MAX);
    assert_int_equal(number(TYPE(DATE), "-infinity"), -INT32_MAX);
    static const char *const wrong[] = {"",           "2021-02-29", "1900-02-29",  "2021-13-01",
                                        "2021-00-01", "2021-01-00", "2021-01-32",  "0000-01-01",
                                        "21-01-01",   "2021-1-1",   "2021-01-01 ", "2021-01-01 AD",
                                        "2021/01/01", " BC",        "Infinity",    "infinity "};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        refused(TYPE(DATE), wrong[i], SYNTAX);
    }
}

static void times(void **state)
{
    (void)state;
    assert_int_equal(number(TYPE(TIME), "00:00:00"), 0);
    assert_int_equal(number(TYPE(TIME), "24:00:00"), INT64_C(86400000000));
    assert_int_equal(number(TYPE(TIME), "23:59:59.999999"), INT64_C(86399999999));
    assert_int_equal(number(TYPE(TIME), "00:00:00.1"), 100000);
    // 40 bits of microseconds, 24 bits of how far west of +15:59:59.
    assert_int_equal(number(TYPE(TIMETZ), "00:00:00+00"), 57599);
    assert_int_equal(number(TYPE(TIMETZ), "00:00:01+15:59:59"), INT64_C(1000000) << 24);
    assert_int_equal(number(TYPE(TIMETZ), "00:00:00-15:59:59"), 115198);
    assert_int_equal(number(TYPE(TIMETZ), "00:00:00-03:30"), 57599 + 12600);
    static const char *const wrong[] = {
        "",          "24:00:00.000001",  "25:00:00", "12:60:00",    "12:00:60", "12:00",
        "12:00:00.", "12:00:00.1234567", "1:00:00",  "12:00:00+01", "-12:00:00"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        refused(TYPE(TIME), wrong[i], SYNTAX);
    }
    refused(TYPE(TIMETZ), "12:00:00", SYNTAX);
    refused(TYPE(TIMETZ), "12:00:00+16", SYNTAX);
    refused(TYPE(TIMETZ), "12:00:00+01:60", SYNTAX);
    refused(TYPE(TIMETZ), "12:00:00+01:", SYNTAX);
}

static void timestamps(void **state)
{
    (void)state;
    assert_int_equal(number(TYPE(TIMESTAMP), "1970-01-01 00:00:00"), 0);
    assert_int_equal(number(TYPE(TIMESTAMP), "1969-12-31 23:59:59.999999"), -1);
    assert_int_equal(number(TYPE(TIMESTAMP), "2026-11-21 05:20:59.5"), INT64_C(1795238459500000));
    assert_int_equal(number(TYPE(TIMESTAMP), "4714-11-24 00:00:00 BC"),
                     INT64_C(-210866803200000000));
    assert_int_equal(number(TYPE(TIMESTAMP), "294247-01-10 04:00:54.775806"), INT64_MAX - 1);
    assert_int_equal(number(TYPE(TIMESTAMP), "infinity"), INT64_MAX);
    assert_int_equal(number(TYPE(TIMESTAMP), "-infinity"), -INT64_MAX);
    assert_int_equal(number(TYPE(TIMESTAMPTZ), "1970-01-01 02:00:00+02"), 0);
    assert_int_equal(number(TYPE(TIMESTAMPTZ), "1969-12-31 20:29:59-03:30"), -1000000);
    assert_int_equal(number(TYPE(TIMESTAMPTZ), "1892-06-01 00:19:32+00:19:32"),
                     INT64_C(-2448316800000000));
    assert_int_equal(number(TYPE(TIMESTAMPTZ), "0044-03-15 12:00:00+00 BC"),
                     INT64_C(-63517780800000000));
    refused(TYPE(TIMESTAMP), "294247-01-10 04:00:54.775807", CANNOT);
    refused(TYPE(TIMESTAMP), "294276-12-31 23:59:59.999999", CANNOT);
    refused(TYPE(TIMESTAMP), "1970-01-01", SYNTAX);
    refused(TYPE(TIMESTAMP), "1970-01-01T00:00:00", SYNTAX);
    refused(TYPE(TIMESTAMP), "1970-01-01 00:00:00+00", SYNTAX);
    refused(TYPE(TIMESTAMPTZ), "1970-01-01 00:00:00", SYNTAX);
    refused(TYPE(TIMESTAMPTZ), "1970-01-01 00:00:00 +00", SYNTAX);
}

static void interval(const char *text, int32_t months, int32_t days, int64_t micros)
{
    Interval cell;
    if (duck_parse(TYPE(INTERVAL), str_from(text), &cell) != DUCK_PARSE_OK) {
        fail_msg("\"%s\" was refused", text);
    }
    assert_int_equal(cell.months, months);
    assert_int_equal(cell.days, days);
    assert_int_equal(cell.micros, micros);
}

static void intervals(void **state)
{
    (void)state;
    interval("00:00:00", 0, 0, 0);
    interval("1 year 2 mons 3 days 04:05:06.789", 14, 3, INT64_C(14706789000));
    interval("-1 years -2 mons +3 days -04:05:06.789", -14, 3, INT64_C(-14706789000));
    interval("1 mon", 1, 0, 0);
    interval("-1 days", 0, -1, 0);
    interval("1 day -00:00:00.000001", 0, 1, -1);
    interval("178956970 years 7 mons", INT32_MAX, 0, 0);
    interval("-178956970 years -8 mons", INT32_MIN, 0, 0);
    interval("2147483647 days", 0, INT32_MAX, 0);
    interval("2562047788:00:54.775807", 0, 0, INT64_MAX);
    interval("-2562047788:00:54.775808", 0, 0, INT64_MIN);
    refused(TYPE(INTERVAL), "infinity", CANNOT);
    refused(TYPE(INTERVAL), "-infinity", CANNOT);
    static const char *const wrong[] = {"",          "1",
                                        "1 ",        "1 year ",
                                        "1 week",    "1 year2 mons",
                                        "P1Y",       "2562047788:00:54.775808",
                                        "1:00:00",   "00:00",
                                        "00:60:00x", "- 1 day",
                                        "@ 1 year",  "+",
                                        "-",         "1 year 00:00:00 1 day"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        refused(TYPE(INTERVAL), wrong[i], SYNTAX);
    }
}

static void uuids(void **state)
{
    (void)state;
    DuckHugeint zero;
    DuckHugeint most;
    assert_int_equal(duck_parse(TYPE(UUID), STR("00000000-0000-0000-0000-000000000000"), &zero),
                     DUCK_PARSE_OK);
    assert_int_equal(duck_parse(TYPE(UUID), STR("ffffffff-ffff-ffff-FFFF-ffffffffffff"), &most),
                     DUCK_PARSE_OK);
    assert_true(zero < 0 && most > 0 && zero + most == -1);
    refused(TYPE(UUID), "00000000-0000-0000-0000-00000000000", SYNTAX);
    refused(TYPE(UUID), "0000000000000-0000-0000-000000000000", SYNTAX);
    refused(TYPE(UUID), "g0000000-0000-0000-0000-000000000000", SYNTAX);
    refused(TYPE(UUID), "00000000-0000-0000-0000-0000000000-0", SYNTAX);
}

// Every prefix of a text of fixed form is refused or is a value of its own, and reads nothing
// behind its end: the copies are as long as they say.
static void prefixes(void **state)
{
    (void)state;
    static const struct {
        DuckKind kind;
        const char *text;
        size_t shortest; // prefixes below this are refused
    } cases[] = {
        {DUCK_DATE, "5874897-12-31 BC", 7},
        {DUCK_TIME, "23:59:59.999999", 8},
        {DUCK_TIMETZ, "23:59:59.999999-15:59:59", 11},
        {DUCK_TIMESTAMP, "294246-12-31 23:59:59.999999 BC", 18},
        {DUCK_TIMESTAMPTZ, "2026-12-31 23:59:59.999999-15:59:59 BC", 22},
        {DUCK_INTERVAL, "-1 years -2 mons +3 days -04:05:06.789", 7},
        {DUCK_UUID, "00000000-0000-0000-0000-000000000000", 36},
        {DUCK_DOUBLE, "-1.25e+10", 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].text);
        for (size_t cut = 0; cut <= len; cut++) {
            char *copy = malloc(cut == 0 ? 1 : cut);
            DuckHugeint cell;
            memcpy(copy, cases[i].text, cut);
            DuckType type = {.kind = cases[i].kind};
            DuckParse parsed = duck_parse(type, (Str){copy, cut}, &cell);
            free(copy);
            assert_true(cut >= cases[i].shortest || parsed != DUCK_PARSE_OK);
            assert_true(cut != len || parsed == DUCK_PARSE_OK || type.kind == DUCK_DATE ||
                        type.kind == DUCK_TIMESTAMP);
        }
    }
}

static void literal(DuckType type, const char *text, const char *expected)
{
    Buf sql = {.max = 1024};
    assert_int_equal(duck_literal(type, str_from(text), &sql), DUCK_PARSE_OK);
    assert_string_equal(buf_cstring(&sql), expected);
    buf_done(&sql);
}

static void literals(void **state)
{
    (void)state;
    literal(TYPE(VARCHAR), "it's", "'it''s'");
    literal(TYPE(BLOB), "\\x00ff", "'\\x00\\xff'");
    literal(TYPE(DATE), "0044-03-15 BC", "'0044-03-15 (BC)'");
    literal(TYPE(TIMESTAMPTZ), "0044-03-15 12:00:00+00 BC", "'0044-03-15 (BC) 12:00:00+00'");
    literal(TYPE(INTERVAL), "-1 mons 00:00:01",
            "'-1 months 0 days 1000000 microseconds 0 microseconds'");
    literal(TYPE(INTERVAL), "-2562047788:00:54.775808",
            "'0 months 0 days -9223372036854775807 microseconds -1 microseconds'");
    literal((DuckType){DUCK_DECIMAL, 5, 2}, "1.50", "'1.50'");
    Buf sql = {.max = 1024};
    assert_int_equal(duck_literal(TYPE(INTEGER), STR("x'); DROP"), &sql), DUCK_PARSE_SYNTAX);
    assert_int_equal(duck_literal(TYPE(BLOB), STR("x"), &sql), DUCK_PARSE_SYNTAX);
    assert_int_equal(sql.len, 0);
    buf_done(&sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(floating_point),
        cmocka_unit_test(the_locale_does_not_matter),
        cmocka_unit_test(decimals),
        cmocka_unit_test(dates),
        cmocka_unit_test(times),
        cmocka_unit_test(timestamps),
        cmocka_unit_test(intervals),
        cmocka_unit_test(uuids),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(literals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
