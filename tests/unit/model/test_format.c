// What the official suite (tests/schema) does not ask of formats.
#include "base/mem.h"
#include "model/format.h"
#include "unit.h"

static void check(const char *format, const char *text, bool expected)
{
    Arena arena = {0};
    FormatCheck fits = format_find(str_from(format));
    assert_non_null(fits);
    if (fits(&arena, str_from(text)) != expected) {
        fail_msg("%s: %s", format, text);
    }
    arena_done(&arena);
}

static void mail(void **state)
{
    check("email", "\"a\\\"b\"@example.com", true);
    check("email", "\"a\\\"@example.com", false);
    check("email", "\"a\"b\"@example.com", false);
    check("email", "\"a\x01\"@example.com", false);
    check("email", "\"\xc3\xa9\"@example.com", false);
    check("idn-email", "\"\xc3\xa9\"@example.com", true);
    check("email", "a@[IPv6:12345::]", false);
}

static void host_names(void **state)
{
    check("hostname", "xn--99999999999999", false); // a number that overflows
    check("hostname", "xn--a-0", false);            // one that does not end
    check("hostname", "xn--mnchen-3ya", true);
    check("hostname", "xn--Mnchen-3ya", true);
    check("idn-hostname", "m\xc3\xbcnchen.example", true);
    check("idn-hostname", "M\xc3\x9cNCHEN.example", false); // large letters are not stable
    check("idn-hostname", "\xe2\x98\x83.example", false);   // a snowman
}

static void others(void **state)
{
    check("time", "12:00:00.Z", false);
    check("date-time", "2024-02-29T00:00:00Z", true);
    check("date-time", "2023-02-29T00:00:00Z", false);
    check("date", "1900-02-29", false);
    check("date", "2000-02-29", true);
    check("uri-template", "{%4}", false);
    check("uri-template", "{a:x}", false);
    check("uri-template", "%4", false);
    check("json-pointer", "/a~2", false);
    check("uri", "http://[::1", false);
    check("uri", "http://[v1.]/", false);
    check("uri", "http://a@b@c/", false);
    assert_null(format_find(STR("colour")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail),
        cmocka_unit_test(host_names),
        cmocka_unit_test(others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
