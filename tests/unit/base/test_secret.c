// What may be a password is found wherever it stands, and nothing else is hidden.
#include <stdio.h>

#include "base/secret.h"
#include "unit.h"

static const char *hidden(const char *text)
{
    static Buf out;
    buf_done(&out);
    buf_init(&out, 64 * 1024);
    secret_hide(&out, str_from(text));
    return buf_cstring(&out);
}

static void passwords_are_hidden(void **context)
{
    (void)context;
    static const struct {
        const char *text;
        const char *shown;
    } cases[] = {
        {"postgres://u:secret@h:5432/db", "postgres://u:***@h:5432/db"},
        {"x \"mysql://u:secret@h\"", "x \"mysql://u:***@h\""},
        {"://:secret@h", "://:***@h"},
        {"postgres://u@x:secret@h/db", "postgres://u@x:***@h/db"},
        {"postgres://u:1@se:c/r\"et?@h/db", "postgres://u:***@h/db"},
        {"postgres:postgres://u:secret@h", "postgres:postgres://u:***@h"},
        {"a://b@c a://u:secret@h", "a://b@c a:***@h"}, // more than it must
        {"postgres://u:secret@h/db?password=secret&x=1", "postgres://u:***@h/db?password=***"},
        {"host=h password = 'a \\' secret' dbname=d", "host=h password =***"},
        {"host=h sslpassword=secret", "host=h sslpassword=***"},
        {"h?PassWord=secret", "h?PassWord=***"},
        {"h?pass%77ord=secret", "h?pass%77ord=***"},
        {"password=secret://u:x@h", "password=***"},
        {"postgres://u:***@h", "postgres://u:***@h"},
        {"password=", "password=***"},
        {"https://h/x?secret=hush&a=b", "https://h/x?secret=***"},
        {"https://h/x?a=b&header=Authorization: hush", "https://h/x?a=b&header=***"},
        {"key: sk_live_51Abc-x, \"rk_test_9\"", "key: sk_live_***, \"rk_test_***\""},
        {"(whsec_a+/=) (^C to quit)", "(whsec_***) (^C to quit)"},
        {"sk_live_a postgres://u:whsec_b@h", "sk_live_*** postgres://u:***@h"},
        {"postgres://u:x@h sk_test_a", "postgres://u:***@h sk_test_***"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_string_equal(hidden(cases[i].text), cases[i].shown);
    }
}

static void all_else_is_as_it_was(void **context)
{
    (void)context;
    static const char *const texts[] = {
        "",
        ":",
        "://",
        "a@b",
        "pass",
        "postgres://u@h:5432/db",
        "postgres://[::1]:5432/db",
        "https://example.org:80/a?b=c",
        "12:30 a@b",
        "sqlite:/home/a@b/c:d.db?mode=history",
        "https://h/x?secret_file=/x&batch=array",
        "host=h passfile=/x require_auth=password dbname=d",
        "no password supplied: x=1",
        "sk_live_ pk_live_1 whsec_, prod_1",
        "GRANT SELECT ON \"a\" TO \"b@c\"",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_string_equal(hidden(texts[i]), texts[i]);
    }
}

// The words of the message itself are advice, however much they look like a secret.
static void only_arguments_are_hidden(void **context)
{
    (void)context;
    Error err;
    Str word = STR("a://u:secret@h?");
    error_set(&err, ERROR_CONFIG, "%5d%% \"%" STR_FMT "\" and \"%s\", as x://u:p@h%c %-4s|%03x", 42,
              STR_ARG(((Str){word.ptr, word.len - 1})), "a://u@h:1", '!', "z", 7u);
    assert_string_equal(err.message,
                        "   42% \"a://u:***@h\" and \"a://u@h:1\", as x://u:p@h! z   |007");
    error_hint(&err, "Write password='…' or a://u:x@h for %s.", "a://u:secret@h");
    assert_string_equal(err.hint, "Write password='…' or a://u:x@h for a://u:***@h.");
    error_wrap(&err, "in \"%s\"", "x password=secret");
    assert_string_equal(err.message,
                        "in \"x password=***\": "
                        "   42% \"a://u:***@h\" and \"a://u@h:1\", as x://u:p@h! z   |007");
}

// The @ that would tell is beyond what a message can hold.
static void nothing_is_shown_of_what_is_cut(void **context)
{
    (void)context;
    static char word[2 * SECRET_TEXT_MAX];
    (void)snprintf(word, sizeof(word), "a://u:%0*d@h", (int)sizeof(word) - 20, 5);
    Error err;
    error_set(&err, ERROR_CONFIG, "at a://u:x@h: %d \"%s\", %s", 1, word, word);
    assert_string_equal(err.message, "at a://u:x@h: 1 \"a://u:***");
    error_set(&err, ERROR_CONFIG, "\"%s\"", word + 4);
    assert_int_equal(strlen(err.message), ERROR_MESSAGE_MAX - 1);
    assert_int_equal(err.message[100], '0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passwords_are_hidden),
        cmocka_unit_test(all_else_is_as_it_was),
        cmocka_unit_test(only_arguments_are_hidden),
        cmocka_unit_test(nothing_is_shown_of_what_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
