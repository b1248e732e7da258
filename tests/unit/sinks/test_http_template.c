#include "arena_fixture.h"
#include "codec/changes.h"
#include "sinks/http_template.h"

static Error err;
static Buf out;

static const Value slashes[] = {T("1"), T("a/b?ü"), NIL, SAME};
static const Value before[] = {T("1"), T("old"), NIL, T("{\"was\": 1}")};
static const Value key_only[] = {T("9"), NONE, NONE, NONE};

static const Change insert = {.op = CHANGE_INSERT,
                              .relation = &orders,
                              .new_row = row_one,
                              .transaction = &first,
                              .ordinal = 3};
static const Change update = {.op = CHANGE_UPDATE,
                              .relation = &orders,
                              .new_row = slashes,
                              .transaction = &first,
                              .ordinal = 4};
static const Change update_full = {.op = CHANGE_UPDATE,
                                   .relation = &orders_full,
                                   .new_row = slashes,
                                   .old_row = before,
                                   .transaction = &first,
                                   .ordinal = 5};
static const Change moved = {.op = CHANGE_UPDATE,
                             .relation = &orders,
                             .new_row = row_one,
                             .old_row = key_only,
                             .transaction = &first,
                             .ordinal = 6};
static const Change gone = {.op = CHANGE_DELETE,
                            .relation = &orders,
                            .old_row = key_only,
                            .transaction = &first,
                            .ordinal = 7};
static const Change copied = {.op = CHANGE_READ,
                              .relation = &orders,
                              .new_row = row_one,
                              .transaction = &snapshot,
                              .ordinal = 1};
static const LogicalMessage note = {.prefix = STR("p")};
static const Change message = {.op = CHANGE_MESSAGE, .message = &note, .transaction = &first};

static Status fill(HttpTemplateKind kind, const char *text, const Change *change)
{
    HttpTemplate template;
    if (http_template_parse(kind, str_from(text), &arena, &template, &err) != STATUS_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    buf_reset(&out);
    out.max = 10000;
    return http_template_fill(&template, change, STR("{\"op\":\"x\"}"), &out, &err);
}

static void assert_filled(HttpTemplateKind kind, const char *text, const Change *change,
                          const char *expected)
{
    if (fill(kind, text, change) != STATUS_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    assert_string_equal(buf_cstring(&out), expected);
}

static void assert_not_filled(HttpTemplateKind kind, const char *text, const Change *change,
                              const char *part)
{
    assert_int_equal(fill(kind, text, change), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_DATA);
    if (strstr(err.message, part) == NULL) {
        fail_msg("%s: %s", text, err.message);
    }
}

#define URL    HTTP_TEMPLATE_URL
#define HEADER HTTP_TEMPLATE_HEADER
#define BODY   HTTP_TEMPLATE_BODY

static void urls(void **context)
{
    (void)context;
    assert_filled(URL, "https://h/x?a={1}", &insert, "https://h/x?a={1}");
    assert_filled(URL, "https://h/{{schema}}/{{ table }}/{{key}}/{{op}}", &insert,
                  "https://h/public/orders/1/insert");
    assert_filled(URL, "{{lsn}}-{{ordinal}}-{{xid}}", &insert, "16%2FB374D848-3-742");
    assert_filled(URL, "{{new.item}}", &update, "a%2Fb%3F%C3%BC");
    assert_filled(URL, "{{key.id}}:{{new.id}}:{{old.id}}", &moved, "9:1:9");
    assert_filled(URL, "{{key}}", &gone, "9");
    assert_not_filled(URL, "{{new.note}}", &update, "{{new.note}} is null");
    assert_not_filled(URL, "{{new.id}}", &gone, "this event \"delete\" has none");
    assert_not_filled(URL, "{{old.item}}", &gone, "not known");
    assert_not_filled(URL, "{{commit_time}}", &copied, "is not known of a row that is copied");
    assert_not_filled(URL, "{{table}}", &message, "has none");
}

// Such a step would lead to another place.
static void steps_of_a_path(void **context)
{
    (void)context;
    static const char *const values[] = {"", ".", ".."};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        const Value row[] = {
            T("1"),
            {.ptr = values[i], .len = (uint32_t)strlen(values[i]), .state = VALUE_TEXT},
            NIL,
            NIL};
        Change change = insert;
        change.new_row = row;
        assert_not_filled(URL, "/a/{{new.item}}/b", &change, "none can stand in a URL");
    }
}

static void headers(void **context)
{
    (void)context;
    assert_filled(HEADER, "X-At: {{new.item}} {{commit_time}}", &update,
                  "X-At: a/b?ü 2026-11-21T05:20:59.123400Z");
    assert_not_filled(HEADER, "X: {{new.item}}", &insert, "control character");
}

static void bodies(void **context)
{
    (void)context;
    assert_filled(BODY, "{\"id\": {{new.id}}, \"item\": {{new.item}}, \"doc\":{{new.doc}}}",
                  &insert,
                  "{\"id\": 1, \"item\": \"a \\\"cup\\\"\\n\", \"doc\":{\"a\": [1, null]}}");
    assert_filled(BODY, "\"#{{new.id}} is \\\"{{new.item}}\\\"{{new.note}} of {{ordinal}}\"",
                  &insert, "\"#1 is \\\"a \\\"cup\\\"\\n\\\" of 3\"");
    assert_filled(BODY, "[{{event}}, {{op}}, {{xid}}, {{commit_time}}, {{new.note}}]", &copied,
                  "[{\"op\":\"x\"}, \"read\", 0, null, null]");
    assert_filled(BODY, "[{{key}}, {{old}}, {{new}}]", &gone, "[{\"id\":9}, {\"id\":9}, null]");
    assert_filled(BODY, "[{{old}}, {{new}}]", &update,
                  "[null, {\"id\":1,\"item\":\"a/b?ü\",\"note\":null}]");
    assert_filled(BODY, "[{{new.id}}, {{key}}, {{table}}]", &message, "[null, null, null]");
    assert_filled(BODY, "{\"{{op}}\": 1}", &gone, "{\"delete\": 1}");
}

// Null says that there is nothing. What is not known is another thing.
static void what_the_server_did_not_send(void **context)
{
    (void)context;
    assert_not_filled(BODY, "{{new.doc}}", &update, "{{new.doc}} is not known");
    assert_filled(BODY, "{{new.doc}}", &update_full, "{\"was\": 1}");
    assert_not_filled(BODY, "{{old.id}}", &update, "{{old.id}} is not known");
    assert_filled(BODY, "{{old.id}}", &insert, "null");
    assert_non_null(strstr(err.hint, "REPLICA IDENTITY FULL"));
}

static void what_is_no_template(void **context)
{
    (void)context;
    static const struct {
        HttpTemplateKind kind;
        const char *text;
        const char *part;
    } cases[] = {
        {URL, "{{tabel}}", "there is no {{tabel}}"},
        {URL, "{{}}", "there is no {{}}"},
        {URL, "{{table.x}}", "there is no {{table.x}}"},
        {URL, "{{new.}}", "there is no {{new.}}"},
        {URL, "{{new}}", "{{new}} cannot stand here"},
        {URL, "{{event}}", "{{event}} cannot stand here"},
        {URL, "{{key", "is not closed"},
        {URL, "a b", "a blank"},
        {HEADER, "X: a\rb", "a control character"},
        {BODY, "\"{{new}}\"", "{{new}} cannot stand here"},
        {BODY, "{\"a\": {{new.id}}", "it is no JSON"},
        {BODY, "a {{op}}", "it is no JSON"},
        {BODY, "", "it is no JSON"},
        {BODY, "1{{new.id}}", "it is no JSON"},
        {BODY, "\"\\{{new.item}}n\"", "it is no JSON"},
        {BODY, "\"\\u00{{new.item}}41\"", "it is no JSON"},
        {BODY, "-{{new.id}}", "it is no JSON"},
        {BODY, "[1.{{ordinal}}]", "it is no JSON"},
        {BODY, "{{xid}}{{xid}}", "it is no JSON"},
        {BODY, "{ {{op}}: 1}", "it is no JSON"},
    };
    HttpTemplate template;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (http_template_parse(cases[i].kind, str_from(cases[i].text), &arena, &template, &err) !=
                STATUS_FAIL ||
            err.kind != ERROR_CONFIG || strstr(err.message, cases[i].part) == NULL) {
            fail_msg("%s: %s", cases[i].text, err.message);
        }
    }
    assert_int_equal(http_template_parse(URL, STR("{{tabel}}"), &arena, &template, &err),
                     STATUS_FAIL);
    assert_non_null(strstr(err.hint, "\"table\""));
}

static Status check(HttpTemplateKind kind, const char *text, const Relation *relation)
{
    HttpTemplate template;
    assert_int_equal(http_template_parse(kind, str_from(text), &arena, &template, &err), STATUS_OK);
    return http_template_check(&template, relation, &err);
}

static void what_a_table_has_not(void **context)
{
    (void)context;
    Relation keyless = orders;
    keyless.key_count = 0;
    assert_int_equal(check(URL, "{{key}}{{key.id}}{{new.item}}{{old.doc}}", &orders), STATUS_OK);
    assert_int_equal(check(BODY, "[{{key}}, {{new}}]", &keyless), STATUS_OK);
    assert_int_equal(check(URL, "{{new.items}}", &orders), STATUS_FAIL);
    assert_int_equal(check(URL, "{{key.item}}", &orders), STATUS_FAIL);
    assert_int_equal(check(URL, "{{key}}", &keyless), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_CONFIG);
}

static int setup(void **context)
{
    (void)context;
    changes_setup();
    return 0;
}

static int teardown(void **context)
{
    buf_done(&out);
    return free_arena(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),
        cmocka_unit_test(steps_of_a_path),
        cmocka_unit_test(headers),
        cmocka_unit_test(bodies),
        cmocka_unit_test(what_the_server_did_not_send),
        cmocka_unit_test(what_is_no_template),
        cmocka_unit_test(what_a_table_has_not),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
