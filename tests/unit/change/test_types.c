#include "base/macros.h"
#include "change/types.h"
#include "unit.h"

static void test_class(void **state)
{
    static const struct {
        uint32_t oid;
        TypeClass class;
    } cases[] = {
        {16, TYPE_BOOL},       {17, TYPE_BYTEA},         {18, TYPE_TEXT},
        {19, TYPE_TEXT},       {20, TYPE_INT8},          {21, TYPE_INT2},
        {23, TYPE_INT4},       {25, TYPE_TEXT},          {26, TYPE_OID},
        {28, TYPE_OID},        {29, TYPE_OID},           {114, TYPE_JSON},
        {142, TYPE_TEXT},      {700, TYPE_FLOAT4},       {701, TYPE_FLOAT8},
        {1042, TYPE_TEXT},     {1043, TYPE_TEXT},        {1082, TYPE_DATE},
        {1083, TYPE_TIME},     {1114, TYPE_TIMESTAMP},   {1184, TYPE_TIMESTAMPTZ},
        {1186, TYPE_INTERVAL}, {1266, TYPE_TIMETZ},      {1560, TYPE_BIT},
        {1562, TYPE_BIT},      {1700, TYPE_NUMERIC},     {2950, TYPE_UUID},
        {3802, TYPE_JSONB},    {790, TYPE_OTHER}, // money: its text depends on the locale
        {869, TYPE_OTHER},                        // inet
        {1007, TYPE_OTHER},                       // integer[]
        {3904, TYPE_OTHER},                       // int4range
        {16384, TYPE_OTHER},                      // a user's own
        {0, TYPE_OTHER},       {UINT32_MAX, TYPE_OTHER},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(type_class(cases[i].oid), cases[i].class);
    }
}

// ((precision << 16) | (scale & 0x7ff)) + 4
static void test_numeric_typmod(void **state)
{
    static const struct {
        int32_t typmod;
        int precision;
        int scale;
    } cases[] = {
        {655366, 10, 2},                           // numeric(10,2)
        {65540, 1, 0},                             // numeric(1)
        {65537004, 1000, 1000},                    // numeric(1000,1000)
        {329729, 5, -3},                           // numeric(5,-3), since Postgres 15
        {132074, 2, 998},       {66564, 1, -1024}, // as small as eleven bits go
        {66563, 1, 1023},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int precision = -1;
        int scale = -1;
        assert_true(numeric_typmod(cases[i].typmod, &precision, &scale));
        assert_int_equal(precision, cases[i].precision);
        assert_int_equal(scale, cases[i].scale);
    }
    int precision = 42;
    int scale = 43;
    assert_false(numeric_typmod(-1, &precision, &scale));
    assert_false(numeric_typmod(3, &precision, &scale));
    assert_false(numeric_typmod(INT32_MIN, &precision, &scale));
    assert_int_equal(precision, 42);
    assert_int_equal(scale, 43);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_class),
        cmocka_unit_test(test_numeric_typmod),
    };
    return cmocka_run_group_tests_name("types", tests, NULL, NULL);
}
