#include "base/mem.h"
#include "model/uri.h"
#include "unit.h"

static void check(const char *base, const char *reference, const char *expected)
{
    Arena arena = {0};
    Str found = uri_resolve(&arena, str_from(base), str_from(reference));
    if (!str_is(found, expected)) {
        fail_msg("%s + %s: %s", base, reference, found.ptr);
    }
    arena_done(&arena);
}

// RFC 3986 §5.4, without fragments.
static void references(void **state)
{
    const char *base = "http://a/b/c/d;p?q";
    static const char *const pairs[][2] = {
        {"g:h", "g:h"},
        {"g", "http://a/b/c/g"},
        {"./g", "http://a/b/c/g"},
        {"g/", "http://a/b/c/g/"},
        {"/g", "http://a/g"},
        {"//g", "http://g"},
        {"?y", "http://a/b/c/d;p?y"},
        {"g?y", "http://a/b/c/g?y"},
        {"#s", "http://a/b/c/d;p?q"},
        {"", "http://a/b/c/d;p?q"},
        {";x", "http://a/b/c/;x"},
        {".", "http://a/b/c/"},
        {"./", "http://a/b/c/"},
        {"..", "http://a/b/"},
        {"../", "http://a/b/"},
        {"../g", "http://a/b/g"},
        {"../..", "http://a/"},
        {"../../g", "http://a/g"},
        {"../../../g", "http://a/g"},
        {"/./g", "http://a/g"},
        {"/../g", "http://a/g"},
        {"g.", "http://a/b/c/g."},
        {"..g", "http://a/b/c/..g"},
        {"./g/.", "http://a/b/c/g/"},
        {"g/./h", "http://a/b/c/g/h"},
        {"g/../h", "http://a/b/c/h"},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        check(base, pairs[i][0], pairs[i][1]);
    }
}

static void bases_of_other_kinds(void **state)
{
    check("", "product.json", "product.json");
    check("models/product.json", "price.json", "models/price.json");
    check("models/product.json", "../x.json", "x.json");
    check("models/product.json", "#/a", "models/product.json");
    check("urn:uuid:1", "#/a", "urn:uuid:1");
    check("http://A.example", "x", "http://a.example/x");
    check("HTTP://a/b", "c", "http://a/c");
}

static void decoding(void **state)
{
    Arena arena = {0};
    Str found;
    assert_true(uri_decode(&arena, STR("a%22%c3%A9"), &found));
    assert_true(str_is(found, "a\"\xc3\xa9"));
    assert_false(uri_decode(&arena, STR("%2"), &found));
    assert_false(uri_decode(&arena, STR("%zz"), &found));
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references),
        cmocka_unit_test(bases_of_other_kinds),
        cmocka_unit_test(decoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
