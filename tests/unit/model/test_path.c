// Paths into values, in both spellings.
#include <string.h>

#include "arena_fixture.h"
#include "codec/json_read.h"
#include "model/path.h"

static Error err;

// The steps with a blank behind each; NULL: refused.
static const char *steps(Status (*parse)(Str, Arena *, Path *, Error *), Str text)
{
    Path path = {0};
    char *out = arena_alloc_zero(&arena, 4096);
    if (parse(text, &arena, &path, &err) != STATUS_OK) {
        assert_int_equal(err.kind, ERROR_CONFIG);
        return NULL;
    }
    for (size_t i = 0; i < path.count; i++) {
        memcpy(out + strlen(out), path.steps[i].ptr, path.steps[i].len);
        out[strlen(out)] = ' ';
    }
    return out;
}

static void assert_steps(Status (*parse)(Str, Arena *, Path *, Error *), const char *text,
                         const char *expected)
{
    const char *found = steps(parse, str_from(text));
    if ((found == NULL) != (expected == NULL) || (found != NULL && strcmp(found, expected) != 0)) {
        fail_msg("%s: %s", text, found == NULL ? err.message : found);
    }
}

static void dots_and_their_escapes(void **context)
{
    (void)context;
    assert_steps(path_parse_dotted, "id", "id ");
    assert_steps(path_parse_dotted, "metadata.id", "metadata id ");
    assert_steps(path_parse_dotted, "items.0.id", "items 0 id ");
    assert_steps(path_parse_dotted, "a\\.b.c\\\\", "a.b c\\ ");
    assert_steps(path_parse_dotted, "", NULL);
    assert_steps(path_parse_dotted, ".a", NULL);
    assert_steps(path_parse_dotted, "a.", NULL);
    assert_steps(path_parse_dotted, "a..b", NULL);
    assert_steps(path_parse_dotted, "a\\b", NULL);
    assert_steps(path_parse_dotted, "a\\", NULL);
    const char *most = "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.23.24.25.26.27.28."
                       "29.30.31.32";
    assert_non_null(steps(path_parse_dotted, str_from(most)));
    assert_null(steps(path_parse_dotted, str_from(arena_printf(&arena, "%s.33", most))));
}

static void brackets(void **context)
{
    (void)context;
    assert_steps(path_parse_bracketed, "id", "id ");
    assert_steps(path_parse_bracketed, "metadata[id]", "metadata id ");
    assert_steps(path_parse_bracketed, "items[0][price.id]", "items 0 price.id ");
    static const char *const wrong[] = {"",      "[a]",   "a[",    "a[]",    "a]",      "a[b",
                                        "a[b]c", "a[[b]", "a[b]]", "a[[b]]", "a[b[c]]", "a]b["};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_steps(path_parse_bracketed, wrong[i], NULL);
    }
}

static const JsonValue *find(const char *path, const char *value)
{
    Path parsed;
    JsonValue *read = arena_alloc(&arena, sizeof(*read));
    assert_int_equal(path_parse_dotted(str_from(path), &arena, &parsed, &err), STATUS_OK);
    assert_int_equal(json_read(&arena, str_from(value), read, &err), STATUS_OK);
    return path_find(&parsed, 0, read);
}

static void values_are_found(void **context)
{
    (void)context;
    assert_true(str_is(find("metadata.id", "{\"metadata\":{\"id\":3}}")->text, "3"));
    assert_true(str_is(find("items.1.id", "{\"items\":[{},{\"id\":4}]}")->text, "4"));
    assert_true(str_is(find("items.1.id", "{\"items\":{\"1\":{\"id\":5}}}")->text, "5"));
    assert_int_equal(find("a", "{\"a\":null}")->kind, JSON_NULL);
    static const char *const nowhere[][2] = {
        {"b", "{\"a\":1}"},
        {"a.b", "{\"a\":null}"},
        {"a.b", "{\"a\":\"b\"}"},
        {"items.2", "{\"items\":[0,1]}"},
        {"items.01", "{\"items\":[0,1]}"},
        {"items.-1", "{\"items\":[0]}"},
        {"items.x", "{\"items\":[0]}"},
        {"items.99999999999999999999", "{\"items\":[0]}"},
        {"a", "[1]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(nowhere); i++) {
        assert_null(find(nowhere[i][0], nowhere[i][1]));
    }
}

static bool overlap(const char *a, const char *b)
{
    Path x;
    Path y;
    assert_int_equal(path_parse_bracketed(str_from(a), &arena, &x, &err), STATUS_OK);
    assert_int_equal(path_parse_bracketed(str_from(b), &arena, &y, &err), STATUS_OK);
    return path_overlaps(&x, &y);
}

static void one_is_inside_of_the_other(void **context)
{
    (void)context;
    assert_true(overlap("a", "a"));
    assert_true(overlap("a[b]", "a"));
    assert_true(overlap("a", "a[b][c]"));
    assert_false(overlap("a[b]", "a[c]"));
    assert_false(overlap("a", "ab"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dots_and_their_escapes),
        cmocka_unit_test(brackets),
        cmocka_unit_test(values_are_found),
        cmocka_unit_test(one_is_inside_of_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
