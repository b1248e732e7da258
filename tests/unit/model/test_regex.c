#include "base/buf.h"
#include "base/mem.h"
#include "model/regex.h"
#include "unit.h"

static bool matches(const char *pattern, Str text)
{
    Arena arena = {0};
    RegexScratch scratch = {0};
    const Regex *regex;
    Error err;
    uint64_t budget = 100000000;
    if (regex_compile(&arena, str_from(pattern), &regex, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
    bool found = regex_search(regex, text, &scratch, &budget);
    assert_true(budget > 0);
    regex_scratch_done(&scratch);
    arena_done(&arena);
    return found;
}

static void check(const char *pattern, const char *text, bool expected)
{
    if (matches(pattern, str_from(text)) != expected) {
        fail_msg("%s on %s", pattern, text);
    }
}

static void what_matches(void **state)
{
    static const struct {
        const char *pattern;
        const char *yes;
        const char *no;
    } cases[] = {
        {"a|bc|d", "xbcx", "xbx"},
        {"^(?:ab)+$", "ababab", "ababa"},
        {"^a{2,3}$", "aaa", "aaaa"},
        {"^a{2}$", "aa", "a"},
        {"^a{2,}$", "aaaaa", "a"},
        {"^(a*)*$", "aaaa", "aab"},
        {"^(a|)+b$", "aab", "aa"},
        {"^[^a-c]$", "d", "b"},
        {"^[\\w.-]+$", "a_b-c.9", "a b"},
        {"^[a-]$", "-", "b"},
        {"^[\\]\\\\]$", "]", "["},
        {"^[\\b\\-]+$", "-\b", "b"},
        {"^\\ud83dA$|^\\p{ASCII}$", "A", "\xc3\xa9"}, // half a pair is in no text
        {"^.$", "\xc3\xa9", "\n"},
        {"^\\u00e9$", "\xc3\xa9", "e"},
        {"^\\u{1f432}$", "\xf0\x9f\x90\xb2", "x"},
        {"^\\ud83d\\udc32$", "\xf0\x9f\x90\xb2", "x"},
        {"^\\x41\\t\\0?$", "A\t", "A"},
        {"^\\p{Lu}\\P{Lu}$", "\xc3\x89x", "xx"},
        {"^\\p{General_Category=Decimal_Number}$", "\xe0\xa7\xaa", "x"},
        {"\\bword\\b", "a word.", "swords"},
        {"\\Bor\\B", "words", "or"},
        {"", "", NULL},
        {"^$", "", "x"},
        {"[]", NULL, "anything"},
        {"^[^]$", "\n", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (cases[i].yes != NULL) {
            check(cases[i].pattern, cases[i].yes, true);
        }
        if (cases[i].no != NULL) {
            check(cases[i].pattern, cases[i].no, false);
        }
    }
}

static void lookarounds(void **state)
{
    const char *password = "^(?=.*[A-Z])(?=.*\\d)(?!.*\\s).{8,}$";
    check(password, "Passw0rd", true);
    check(password, "passw0rd", false);
    check(password, "Password", false);
    check(password, "Pass w0rd", false);
    check("(?<=\\$)\\d+", "costs $42", true);
    check("(?<=\\$)\\d+", "costs 42", false);
    check("(?<!a+b)c", "aabc", false);
    check("(?<!a+b)c", "bc", true);
    check("^(?=a(?=b(?!c)))", "abd", true); // one inside the other
    check("^(?=a(?=b(?!c)))", "abc", false);
    check("(?<=(?<!x)y)z", "yz", true);
    check("(?<=(?<!x)y)z", "xyz", false);
    check("(?=\xc3\xa9)", "\xe2\x82\xac\xc3\xa9",
          true); // backwards over characters of several bytes
}

static void what_is_no_pattern(void **state)
{
    static const char *const wrong[] = {
        "(",
        ")",
        "[",
        "[b-a]",
        "a**",
        "*a",
        "a{2,1}",
        "a{",
        "a}",
        "]",
        "\\",
        "\\a",
        "\\-",
        "(?a)",
        "(?P<n>a)",
        "(?<1>a)",
        "(?<n>a)(?<n>b)",
        "\\1",
        "\\k<n>",
        "\\u12",
        "\\x4",
        "\\c1",
        "\\u{110000}",
        "[\\w-a]",
        "^*",
        "(?=a)*",
        "\\p{Nope}",
        "\\pL",
        "[\\q]",
        "\\01",
        "\xff",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        Arena arena = {0};
        const Regex *regex = NULL;
        Error err = {0};
        if (regex_compile(&arena, str_from(wrong[i]), &regex, &err) == STATUS_OK) {
            fail_msg("%s", wrong[i]);
        }
        assert_int_equal(err.kind, ERROR_CONFIG);
        assert_null(regex);
        assert_false(regex_is_valid(&arena, str_from(wrong[i])));
        arena_done(&arena);
    }
}

static void check_not_taken(const char *pattern, const char *message)
{
    Arena arena = {0};
    const Regex *regex;
    Error err = {0};
    assert_int_equal(regex_compile(&arena, str_from(pattern), &regex, &err), STATUS_FAIL);
    assert_non_null(strstr(err.message, message));
    assert_true(regex_is_valid(&arena, str_from(pattern)));
    arena_done(&arena);
}

// Patterns by the standard, which would take too long or too much.
static void what_is_not_taken(void **state)
{
    check_not_taken("(a)\\1", "refers back to a group");
    check_not_taken("(?<n>a)\\k<n>", "refers back to a group");
    check_not_taken("(?:a{1000}){1000}", "too large");
    check_not_taken("(?:(?:(?:){100000}){100000}){100000}", "too large");
    check_not_taken("(?:(?:a|b){150}|(?:c|d){150}){100}", "too large");
}

static void check_too_many(const char *part, int count, const char *behind, const char *message)
{
    Buf pattern = {.max = 1 << 20};
    Arena arena = {0};
    const Regex *regex;
    Error err = {0};
    for (int i = 0; i < count; i++) {
        buf_cstr(&pattern, part);
    }
    for (int i = 0; i < count; i++) {
        buf_cstr(&pattern, behind);
    }
    assert_int_equal(regex_compile(&arena, buf_view(&pattern), &regex, &err), STATUS_FAIL);
    assert_non_null(strstr(err.message, message));
    arena_done(&arena);
    buf_done(&pattern);
}

static void there_are_limits(void **state)
{
    check_too_many("(?=a)", 65, "", "has too many lookarounds");
    check_too_many("(", 300, ")", "groups are nested too deeply");
    check_too_many("ab", REGEX_PATTERN_BYTES / 2 + 1, "", "is longer than 16384");
    check_too_many("a{1000}", 21, "", "is too large");
}

// Each of them takes a backtracking matcher longer than the world is old.
static void nothing_runs_away(void **state)
{
    enum { LENGTH = 5000 };
    static const char *const patterns[] = {"^(a+)+$", "^(a|a)*$",    "^(a|aa)+$",
                                           "(a*)*b",  "(?=(a+)+$)b", "^(.*a){20}$"};
    char text[LENGTH + 1];
    memset(text, 'a', LENGTH);
    text[LENGTH] = '!';
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        assert_false(matches(patterns[i], (Str){text, sizeof(text)}));
    }
}

// Before it has found that @pattern is nowhere in @len times the letter a.
static void assert_ended_by(uint64_t budget, Str pattern, size_t len)
{
    Arena arena = {0};
    RegexScratch scratch = {0};
    const Regex *regex;
    assert_int_equal(regex_compile(&arena, pattern, &regex, NULL), STATUS_OK);
    char *text = arena_alloc_bytes(&arena, len);
    memset(text, 'a', len);
    assert_false(regex_search(regex, (Str){text, len}, &scratch, &budget));
    assert_int_equal(budget, 0);
    regex_scratch_done(&scratch);
    arena_done(&arena);
}

// Instructions that take no character cost what they cost.
static void nothing_is_free(void **state)
{
    assert_ended_by(10000, STR("(?:(?:^)?){1000}z"), 1000);
}

static void a_budget_ends_it(void **state)
{
    assert_ended_by(1000, STR("a{1000}b"), 3000);
}

// Whatever bytes they are: a text column of Postgres need not be UTF-8 in every encoding.
static void text_that_is_no_utf8(void **state)
{
    char text[100];
    memset(text, 0x80, sizeof(text));
    assert_false(matches("(?=a)|a", (Str){text, sizeof(text)}));
    text[99] = 'a';
    assert_true(matches("(?=a)", (Str){text, sizeof(text)}));
    assert_true(matches("a$", (Str){text, sizeof(text)}));
}

// Patterns of different sizes share the memory.
static void one_after_the_other(void **state)
{
    Arena arena = {0};
    RegexScratch scratch = {0};
    const Regex *small;
    const Regex *large;
    uint64_t budget = 1000000;
    assert_int_equal(regex_compile(&arena, STR("^ab$"), &small, NULL), STATUS_OK);
    assert_int_equal(regex_compile(&arena, STR("^(?:a|b){300}$"), &large, NULL), STATUS_OK);
    char text[300];
    memset(text, 'b', sizeof(text));
    for (int i = 0; i < 3; i++) {
        assert_true(regex_search(small, STR("ab"), &scratch, &budget));
        assert_true(regex_search(large, (Str){text, sizeof(text)}, &scratch, &budget));
        assert_false(regex_search(small, STR("b"), &scratch, &budget));
        scratch.generation = UINT32_MAX - 1; // it begins again from the start
    }
    regex_scratch_done(&scratch);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_matches),         cmocka_unit_test(lookarounds),
        cmocka_unit_test(what_is_no_pattern),   cmocka_unit_test(what_is_not_taken),
        cmocka_unit_test(there_are_limits),     cmocka_unit_test(nothing_runs_away),
        cmocka_unit_test(a_budget_ends_it),     cmocka_unit_test(nothing_is_free),
        cmocka_unit_test(text_that_is_no_utf8), cmocka_unit_test(one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
