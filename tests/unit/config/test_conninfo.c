// Connections that libpq would misunderstand are refused, and no refusal holds a piece of one.
#include <libpq-fe.h>

#include "config/conninfo.h"
#include "unit.h"

static const Option ours[] = {
    {.name = "url", .type = OPTION_TYPE_STRING, .is_path = true},
    {.name = "tables", .type = OPTION_TYPE_STRING},
    {.name = "mode", .type = OPTION_TYPE_STRING},
    {0},
};

static Error err;

static Status check(const char *text)
{
    err = (Error){0};
    return conninfo_check(str_from(text), ours, &err);
}

static void what_libpq_understands_is_taken(void **context)
{
    (void)context;
    static const char *const texts[] = {
        "",
        "postgres://",
        "postgresql://host",
        "postgres:///db",
        "postgres://user@/db",
        "postgres://user:p%40ss%2Fword@host:5432/db",
        "postgres://user:a:b?c#d@host/db?sslmode=require&application_name=x",
        "postgres://host:5432,other:5433,third/db?target_session_attrs=any",
        "postgres://[::1]:5432/db",
        "postgres://[fe80::1%25eth0]/db",
        "postgres://host:/db",
        "postgres://%2Fvar%2Frun/db",
        "postgres://host/db?user=me@server",
        "postgres://host/db?ssl=true",
        "postgres://host?host=/tmp",
        "host=h dbname=d",
        " host = 'a b' password='it\\'s' ",
        "password=a\\ b host=h",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        PQconninfoOption *parsed = PQconninfoParse(texts[i], NULL);
        assert_non_null(parsed);
        PQconninfoFree(parsed);
        if (check(texts[i]) != STATUS_OK) {
            fail_msg("%s: %s", texts[i], err.message);
        }
    }
}

// "Hush" is in the password as it was meant; libpq takes some of it for a host, a port, a database
// or an option, connects there and quotes it.
static void what_would_show_a_password_is_refused_without_it(void **context)
{
    (void)context;
    static const struct {
        const char *text;
        const char *said;
    } cases[] = {
        {"postgres://x:y@postgres:Hush@127.0.0.1:5432/db", "more than one \"@\""},
        {"postgres://x:Hu@Hush@127.0.0.1/db", "more than one \"@\""},
        {"postgres://x:y@Hush/1@127.0.0.1/db", "more than one \"@\""},
        {"postgres://x:Hush/1@127.0.0.1/db", "a \"/\" before the \"@\""},
        {"postgres://x:1/Hush@127.0.0.1/db", "a \"/\" before the \"@\""},
        {"postgres://x:Hush%@127.0.0.1/db", "a \"%\""},
        {"postgres://x:Hush%zz@127.0.0.1/db", "a \"%\""},
        {"postgres://x:Hush%00@127.0.0.1/db", "a \"%\""},
        {"postgres://x:Hush/db", "port"},
        {"postgres://x:7Hush/db", "port"},
        {"postgres://x:99999/db", "port"},
        {"postgres://x:0/db", "port"},
        {"postgres://[::1:Hush/db", "\"[\""},
        {"postgres://[::1]Hush/db", "\"]\""},
        {"postgres://::1/db", "port"},
        {"postgres://x:1/2?Hush@127.0.0.1/db", "unknown name"},
        {"postgres://x:1/2?Hush=3@127.0.0.1/db", "unknown name"},
        {"postgres://host/db?Hu%sh=1", "a \"%\""},
        {"postgres://host/db?password=Hush=1", "a \"=\" in its value"},
        {"postgres://host/db?ssl=Hush", "\"ssl\""},
        {"host=h password=my Hush", "without \"=\""},
        {"host=h password='Hush", "quote"},
        {"host=h password='a'Hush' dbname=d", "cannot be parsed"},
        {"password=my Hush=1 host=h", "unknown name"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(check(cases[i].text), STATUS_FAIL);
        assert_int_equal(err.kind, ERROR_CONFIG);
        if (strstr(err.message, cases[i].said) == NULL) {
            fail_msg("%s: %s", cases[i].text, err.message);
        }
        assert_null(strstr(err.message, "Hush"));
        assert_null(strstr(err.hint, "Hush"));
        assert_true(err.hint[0] != '\0');
    }
}

static void a_misspelt_name_gets_a_suggestion(void **context)
{
    (void)context;
    static const struct {
        const char *text;
        const char *name;
        const char *nearest;
    } cases[] = {
        {"postgres://host/db?tabels=a", "\"tabels\"", "\"tables\""},
        {"postgres://u:p@host/db?mdoe=history", "\"mdoe\"", "\"mode\""},
        {"postgres://host/db?sslmod=require", "\"sslmod\"", "\"sslmode\""},
        {"host=h dbnam=d", "\"dbnam\"", "\"dbname\""},
        {"host=h mode=history", "\"mode\"", "postgres://…?mode="},
        {"postgres://host/db?sslmode", "\"sslmode\"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(check(cases[i].text), STATUS_FAIL);
        assert_non_null(strstr(err.message, cases[i].name));
        assert_non_null(strstr(err.hint, cases[i].nearest));
    }
    // The URL itself is no option that could be meant.
    assert_int_equal(check("postgres://host/db?ulr=a"), STATUS_FAIL);
    assert_null(strstr(err.hint, "\"url\""));
}

static void what_is_added_is_read_as_it_is(void **context)
{
    (void)context;
    static const char *const values[] = {"shop", "a b", "it's", "'", "\\", "\\'", "a\\", "=", "ö"};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        Buf text = {.max = 1000};
        conninfo_add(&text, "user", STR(""));
        conninfo_add(&text, "password", str_from(values[i]));
        conninfo_add(&text, "dbname", str_from(values[i]));
        PQconninfoOption *options = PQconninfoParse(buf_cstring(&text), NULL);
        assert_non_null(options);
        size_t found = 0;
        for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
            if (option->val != NULL) {
                assert_string_equal(option->val, values[i]);
                found++;
            }
        }
        assert_int_equal(found, 2);
        assert_int_equal(check(buf_cstring(&text)), STATUS_OK);
        PQconninfoFree(options);
        buf_done(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_libpq_understands_is_taken),
        cmocka_unit_test(what_would_show_a_password_is_refused_without_it),
        cmocka_unit_test(a_misspelt_name_gets_a_suggestion),
        cmocka_unit_test(what_is_added_is_read_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
