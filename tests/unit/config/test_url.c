// Connections as they are written on a command line.
#include "arena_fixture.h"
#include "config/url.h"

static const Option postgres_options[] = {
    {.name = "url", .type = OPTION_TYPE_STRING, .is_path = true},
    {.name = "schema", .type = OPTION_TYPE_STRING},
    {0},
};
static const Option duckdb_options[] = {
    {.name = "path", .type = OPTION_TYPE_STRING, .is_path = true},
    {.name = "mode", .type = OPTION_TYPE_STRING},
    {0},
};
static const Option http_options[] = {
    {.name = "url", .type = OPTION_TYPE_STRING},
    {.name = "batch", .type = OPTION_TYPE_STRING},
    {.name = "secret", .type = OPTION_TYPE_STRING, .secret = true},
    {0},
};
static const Option no_options[] = {{0}};
static const EndpointKind kinds[] = {{"postgres", postgres_options},
                                     {"duckdb", duckdb_options},
                                     {"stdout", no_options},
                                     {"null", no_options},
                                     {"http", http_options}};

static Endpoint endpoint;
static Error err;

static Status parse(const char *text)
{
    err = (Error){0};
    endpoint = (Endpoint){0};
    return endpoint_parse(str_from(text), kinds, ARRAY_LEN(kinds), &arena, &endpoint, &err);
}

static void assert_setting(const char *key, const char *value)
{
    for (size_t i = 0; i < endpoint.settings.count; i++) {
        if (str_is(endpoint.settings.items[i].key, key)) {
            assert_true(str_is(endpoint.settings.items[i].value, value));
            return;
        }
    }
    fail_msg("no setting %s", key);
}

static void postgres_urls(void **context)
{
    (void)context;
    assert_int_equal(parse("postgres://weir:p%40ss@db:5433/shop?sslmode=require&schema=mirror"),
                     STATUS_OK);
    assert_int_equal(endpoint.kind, 0);
    assert_setting("url", "postgres://weir:p%40ss@db:5433/shop?sslmode=require");
    assert_setting("schema", "mirror");
    assert_true(str_is(endpoint.id, "postgres://weir@db:5433/shop"));
    assert_true(str_is(endpoint.name, "shop"));
    assert_int_equal(parse("postgresql://localhost/a%20b"), STATUS_OK);
    assert_true(str_is(endpoint.name, "a b"));
    assert_int_equal(parse("postgres://"), STATUS_OK);
}

static void no_part_of_a_password_is_shown(void **context)
{
    (void)context;
    static const char *const urls[] = {
        "postgres://u:se:cr%40et@host/db",
        "postgres://u:secret@host",
        "postgres://u:secret@host:5432,other:5433/db",
        "postgres://u:secret@/db?host=/tmp&password=secret",
        "postgres://u:secret?secret@host/db?sslmode=disable",
        "host=h password=secret dbname=d",
        "host=h password='a secret' dbname=d",
        "host=h password = 'a\\' secret' dbname=d",
        "password=a\\ secret host=h",
        "host=h\tpassword=secret\tdbname=d",
    };
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        assert_int_equal(parse(urls[i]), STATUS_OK);
        const char *id = str_to_cstr(&arena, endpoint.id);
        assert_null(strstr(id, "secret"));
        assert_null(strstr(id, "cr%40et"));
    }
}

// What would show one is refused: config/test_conninfo has the cases.
static void malformed_connections_are_refused(void **context)
{
    (void)context;
    static const char *const urls[] = {
        "postgres://u:se:cr@secret@host/db",
        "postgres://u:1/secret?secret@host/db",
        "password='secret",
        "postgres:/u:secret@host/db",
        "postgres:host=h password=secret",
        "postgres:postgres://u:secret@host/db",
        "postgres",
        "postgres://host/db?scheam=secret",
    };
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        assert_int_equal(parse(urls[i]), STATUS_FAIL);
        assert_null(strstr(err.message, "secret"));
        assert_null(strstr(err.hint, "secret"));
    }
    assert_non_null(strstr(err.message, "\"scheam\""));
    assert_non_null(strstr(err.hint, "\"schema\""));
}

static void keyword_strings(void **context)
{
    (void)context;
    assert_int_equal(parse("host=db.example dbname=shop user=weir"), STATUS_OK);
    assert_int_equal(endpoint.kind, 0);
    assert_setting("url", "host=db.example dbname=shop user=weir");
    assert_true(str_is(endpoint.name, "shop"));
    assert_int_equal(parse("host = h dbname = 'my shop' password='it is'"), STATUS_OK);
    assert_true(str_is(endpoint.name, "my shop"));
    assert_true(str_is(endpoint.id, "host=h dbname='my shop'"));
}

static void files(void **context)
{
    (void)context;
    assert_int_equal(parse("duckdb:/data/my%20shop.duckdb?mode=history"), STATUS_OK);
    assert_setting("path", "/data/my shop.duckdb");
    assert_setting("mode", "history");
    assert_true(str_is(endpoint.id, "duckdb:/data/my shop.duckdb"));
    assert_true(str_is(endpoint.name, "my shop"));
    assert_int_equal(parse("duckdb:100%.db"), STATUS_OK);
    assert_setting("path", "100%.db");
    assert_int_equal(endpoint.id.ptr[7], '/'); // relative paths are made absolute
}

static void names_without_a_path(void **context)
{
    (void)context;
    assert_int_equal(parse("-"), STATUS_OK);
    assert_int_equal(endpoint.kind, 2);
    assert_int_equal(parse("stdout"), STATUS_OK);
    assert_int_equal(parse("null:"), STATUS_OK);
    assert_int_equal(endpoint.kind, 3);
    assert_int_equal(parse("null:something"), STATUS_FAIL);
}

// What is no option stays in the URL, as it is.
static void addresses_of_requests(void **context)
{
    (void)context;
    assert_int_equal(parse("https://u:hush@h.example:8080/a/{{key}}?x=1%202&batch=array&y&"
                           "secret_file=%2Fx&%62atch=2&url=3"),
                     STATUS_OK);
    assert_setting("url", "https://u:hush@h.example:8080/a/{{key}}?x=1%202&y&%62atch=2&url=3");
    assert_setting("batch", "array");
    assert_setting("secret_file", "/x");
    assert_int_equal(endpoint.settings.count, 3);
    assert_true(str_is(endpoint.name, "h.example:8080"));
    assert_true(str_starts_with(endpoint.id, STR("http://h.example:8080/…")));
    Str id = endpoint.id;
    assert_int_equal(parse("https://h.example:8080/b?batch=array"), STATUS_OK);
    assert_setting("url", "https://h.example:8080/b");
    assert_false(str_equal(id, endpoint.id));
    assert_int_equal(parse("http://h?secret"), STATUS_OK);
    assert_setting("url", "http://h");
    assert_int_equal(parse("https://h/?secrets=1"), STATUS_FAIL);
    assert_non_null(strstr(err.hint, "\"secret\""));
    assert_int_equal(parse("http:h/x"), STATUS_FAIL);
    assert_non_null(strstr(err.message, "begins with \"http://\""));
}

static void what_is_not_known_gets_a_suggestion(void **context)
{
    (void)context;
    assert_int_equal(parse("shop.duckdb"), STATUS_FAIL);
    assert_non_null(strstr(err.hint, "duckdb:shop.duckdb"));
    assert_int_equal(parse("duckbd:shop"), STATUS_FAIL);
    assert_non_null(strstr(err.hint, "\"duckdb:\""));
    assert_int_equal(parse("mysql://u:secret@h/d"), STATUS_FAIL);
    assert_null(strstr(err.message, "secret"));
    assert_null(strstr(err.hint, "secret"));
    assert_int_equal(parse("Host=h password=secret"), STATUS_FAIL);
    assert_null(strstr(err.message, "secret"));
    assert_int_equal(parse("Host=h password=secret:word"), STATUS_FAIL);
    assert_null(strstr(err.message, "secret"));
    assert_int_equal(parse(""), STATUS_FAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(postgres_urls),
        cmocka_unit_test(no_part_of_a_password_is_shown),
        cmocka_unit_test(malformed_connections_are_refused),
        cmocka_unit_test(keyword_strings),
        cmocka_unit_test(files),
        cmocka_unit_test(names_without_a_path),
        cmocka_unit_test(addresses_of_requests),
        cmocka_unit_test(what_is_not_known_gets_a_suggestion),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
