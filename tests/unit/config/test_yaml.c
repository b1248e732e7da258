// The YAML of project files: what is taken, with its lines, and what is refused, with its line.
#include <stdio.h>

#include "arena_fixture.h"
#include "base/limits.h"
#include "config/yaml.h"

static YamlNode *root;
static Error err;

static Status parse_bytes(Str text)
{
    err = (Error){0};
    root = NULL;
    return yaml_parse(text, STR("a.yml"), &arena, &root, &err);
}

static Status parse(const char *text)
{
    return parse_bytes(str_from(text));
}

static const YamlNode *value(const YamlNode *node, const char *key)
{
    const YamlPair *pair = yaml_find(node, key);
    assert_non_null(pair);
    return pair->value;
}

static void refused(const char *text, const char *said)
{
    assert_int_equal(parse(text), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_CONFIG);
    if (strstr(err.message, said) == NULL) {
        fail_msg("\"%s\": %s", text, err.message);
    }
}

static void the_tree_knows_its_lines(void **context)
{
    (void)context;
    assert_int_equal(parse("# a comment\n"
                           "a:\n"
                           "  b: 1   # another\n"
                           "\n"
                           "  c: [x, {d: y}]\n"
                           "e:\n"
                           "- f\n"
                           "- g: h\n"),
                     STATUS_OK);
    assert_int_equal(root->kind, YAML_MAPPING);
    assert_int_equal(root->count, 2);
    assert_int_equal(root->pairs[0].line, 2);
    assert_int_equal(root->pairs[1].line, 6);
    const YamlNode *a = value(root, "a");
    assert_int_equal(a->pairs[0].line, 3);
    assert_true(str_is(a->pairs[0].value->scalar, "1"));
    assert_int_equal(a->pairs[1].line, 5);
    const YamlNode *c = value(a, "c");
    assert_int_equal(c->kind, YAML_SEQUENCE);
    assert_int_equal(c->count, 2);
    assert_true(str_is(c->items[0]->scalar, "x"));
    assert_true(str_is(value(c->items[1], "d")->scalar, "y"));
    const YamlNode *e = value(root, "e");
    assert_int_equal(e->items[0]->line, 7);
    assert_int_equal(e->items[1]->line, 8);
    assert_null(yaml_find(root, "no"));
    assert_null(yaml_find(e, "g")); // no mapping
    assert_null(yaml_find(NULL, "g"));
}

// As in YAML 1.2: what looks like a number or a boolean is the text that was written.
static void scalars_are_text(void **context)
{
    (void)context;
    static const struct {
        const char *text;
        const char *scalar;
        bool is_null;
    } cases[] = {
        {"a: no\n", "no", false},
        {"a: 0x10\n", "0x10", false},
        {"a: 1_000\n", "1_000", false},
        {"a: 12:30\n", "12:30", false},
        {"a: postgres://u:p@h/d#x?y=z\n", "postgres://u:p@h/d#x?y=z", false},
        {"a: 'it''s'\n", "it's", false},
        {"a: \"tab\\tquote\\\" \\u00e9\"\n", "tab\tquote\" é", false},
        {"a: |\n  one\n  two\n", "one\ntwo\n", false},
        {"a: >\n  one\n  two\n", "one two\n", false},
        {"a: ''\n", "", false},
        {"a: 'null'\n", "null", false},
        {"a: \"~\"\n", "~", false},
        {"a:\n", "", true},
        {"a: ~\n", "~", true},
        {"a: null\n", "null", true},
        {"a: Null\n", "Null", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parse(cases[i].text), STATUS_OK);
        const YamlNode *node = value(root, "a");
        if (!str_is(node->scalar, cases[i].scalar) || node->is_null != cases[i].is_null) {
            fail_msg("%s: \"%s\"", cases[i].text, str_to_cstr(&arena, node->scalar));
        }
    }
}

static void unicode(void **context)
{
    (void)context;
    assert_int_equal(parse("\xEF\xBB\xBF"
                           "größe: 日本 🐘\n"),
                     STATUS_OK);
    assert_true(str_is(value(root, "größe")->scalar, "日本 🐘"));
    // The same letter written in two ways is two keys.
    assert_int_equal(parse("\xC3\xA9: 1\ne\xCC\x81: 2\n"), STATUS_OK);
    assert_int_equal(root->count, 2);
    refused("a: 1\nb: \xFF\xFE\n", "a.yml:");
    refused("a: 1\nb: \xED\xA0\x80\n", "a.yml:");
    refused("a: \x01\n", "a.yml:");
    assert_int_equal(parse_bytes(STR("a: \"x\\0y\"\n")), STATUS_OK);
    assert_int_equal(value(root, "a")->scalar.len, 3);
}

static void windows_line_ends(void **context)
{
    (void)context;
    assert_int_equal(parse("a: 1\r\nb: 2\r\n"), STATUS_OK);
    assert_true(str_is(value(root, "b")->scalar, "2"));
    assert_int_equal(root->pairs[1].line, 2);
}

static void what_is_refused_is_named_with_its_line(void **context)
{
    (void)context;
    static const struct {
        const char *text;
        const char *said;
    } cases[] = {
        {"", "a.yml:1: the file is empty"},
        {"# nothing\n\n", "a.yml:1: the file is empty"},
        {"a: 1\nb: 2\na: 3\n", "a.yml:3: \"a\" is given twice, first in line 1"},
        {"a:\n  x: 1\n  y: 2\n  x: 3\n", "a.yml:4: \"x\" is given twice, first in line 2"},
        {"{a: 1, a: 2}\n", "a.yml:1: \"a\" is given twice"},
        {"a: &x 1\nb: *x\n", "a.yml:2: aliases (*name) are not supported"},
        {"a: &x {b: *x}\n", "a.yml:1: aliases"},
        {"base: &b {x: 1}\nc:\n  <<: *b\n", "a.yml:3: aliases"},
        {"*x : 1\n", "a.yml:1:"},
        {"a:\n\tb: 1\n", "a.yml:2: "},
        {"a: 1\n  b: 2\n", "a.yml:2: "},
        {"a: [1, 2\nb: 3\n", "a.yml:2: "},
        {"a: \"open\n", "a.yml:"},
        {"a: 1\n---\nb: 2\n", "a.yml:2: a second document in one file"},
        {"a: 1\n...\n---\nb: 2\n", "a.yml:3: a second document in one file"},
        {"a: 1\nb: @x\n", "a.yml:2: "},
        {"[a, b]: 1\n", "a.yml:1: a key has to be a word"},
        {"{a: 1}: 2\n", "a.yml:1: a key has to be a word"},
        {"a: !!binary }\n", "a.yml:1: "},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        refused(cases[i].text, cases[i].said);
    }
    // An anchor that nobody refers to does no harm.
    assert_int_equal(parse("a: &x 1\n"), STATUS_OK);
}

// What a failed parse has seen is not given back.
static void the_result_is_untouched_by_a_failure(void **context)
{
    (void)context;
    refused("a: 1\na: 2\n", "twice");
    assert_null(root);
    refused("a: 1\n---\nb: 2\n", "second document");
    assert_null(root);
}

static Str repeated(const char *piece, size_t count)
{
    size_t len = strlen(piece);
    char *text = arena_alloc_bytes(&arena, len * count + 1);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + i * len, piece, len);
    }
    text[len * count] = '\0';
    return (Str){text, len * count};
}

static void nesting_is_limited(void **context)
{
    (void)context;
    char text[256];
    (void)snprintf(text, sizeof(text), "%.17s1%.17s", repeated("[", 17).ptr, repeated("]", 17).ptr);
    assert_int_equal(parse(text), STATUS_OK);
    (void)snprintf(text, sizeof(text), "%.18s1%.18s", repeated("[", 18).ptr, repeated("]", 18).ptr);
    refused(text, "a.yml:1: nested too deeply");
    refused(repeated("[", 100000).ptr, "a.yml:1: nested too deeply");
    refused(repeated("{a: ", 1000).ptr, "a.yml:1: nested too deeply");
    refused(repeated("- ", 1000).ptr, "a.yml:1: nested too deeply");
}

static void size_is_limited(void **context)
{
    (void)context;
    Str large = repeated("# filled\n", LIMIT_CONFIG_BYTES / 9 + 1);
    assert_int_equal(parse_bytes(large), STATUS_FAIL);
    assert_non_null(strstr(err.message, "\"a.yml\" is larger than"));
    large.len = LIMIT_CONFIG_BYTES;
    assert_int_equal(parse_bytes(large), STATUS_FAIL);
    assert_non_null(strstr(err.message, "empty"));
    assert_int_equal(parse_bytes(repeated("- x\n", 100000)), STATUS_OK);
    assert_int_equal(root->count, 100000);
    assert_true(str_is(root->items[99999]->scalar, "x"));
    assert_int_equal(root->items[99999]->line, 100000);
    refused(repeated("- x\n", 100001).ptr, "a.yml:100001: too many entries");
}

// Every prefix of a file is read or refused; none is an accident.
static void every_prefix(void **context)
{
    (void)context;
    static const char whole[] = "a:\n  b: [1, 'two', {c: \"d\\n\"}]\n  e: |\n    text\n# end\n";
    for (size_t len = 0; len <= sizeof(whole) - 1; len++) {
        if (parse_bytes((Str){whole, len}) != STATUS_OK) {
            assert_true(err.message[0] != '\0');
            assert_null(root);
        }
    }
    assert_non_null(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tree_knows_its_lines),
        cmocka_unit_test(scalars_are_text),
        cmocka_unit_test(unicode),
        cmocka_unit_test(windows_line_ends),
        cmocka_unit_test(what_is_refused_is_named_with_its_line),
        cmocka_unit_test(the_result_is_untouched_by_a_failure),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(size_is_limited),
        cmocka_unit_test(every_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
