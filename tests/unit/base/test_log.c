// What comes again and again is counted; a line is whole.
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "unit.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

static LogRepeat repeat;
static int64_t times;

static bool due(const char *text, int64_t now_ms)
{
    return log_repeat_is_due(&repeat, str_from(text), now_ms, &times);
}

// One attempt a second from @from on, @count of them; how many were said.
static int said(const char *text, int64_t from, int64_t count)
{
    int lines = 0;
    for (int64_t i = 0; i < count; i++) {
        lines += due(text, from + i * SECOND);
    }
    return lines;
}

static void the_first_are_said(void **context)
{
    (void)context;
    repeat = (LogRepeat){0};
    assert_int_equal(said("a", 0, 5), 5);
    assert_int_equal(times, 1);
    assert_int_equal(said("a", 5 * SECOND, 59), 0);
}

static void then_at_growing_pauses_with_a_count(void **context)
{
    (void)context;
    repeat = (LogRepeat){0};
    assert_int_equal(said("a", 0, 5), 5);
    // The fifth was at 4 s, the next is a minute later, then two, then four.
    assert_int_equal(said("a", 5 * SECOND, 60), 1);
    assert_int_equal(times, 60);
    assert_int_equal(said("a", 65 * SECOND, 120), 1);
    assert_int_equal(times, 120);
    assert_int_equal(said("a", 185 * SECOND, 240), 1);
    // A day of failing every second is some thirty lines, and an hour never passes without one.
    repeat = (LogRepeat){0};
    int lines = said("a", 0, 24 * 3600);
    assert_in_range(lines, 24, 35);
    assert_int_equal(said("a", 24 * HOUR, 3600), 1);
    assert_int_equal(times, 3600);
}

static void another_text_starts_anew(void **context)
{
    (void)context;
    repeat = (LogRepeat){0};
    assert_int_equal(said("a", 0, 100), 6);
    assert_true(due("b", 100 * SECOND));
    assert_int_equal(times, 1);
    assert_int_equal(said("b", 101 * SECOND, 10), 4);
}

static void quiet_starts_anew(void **context)
{
    (void)context;
    repeat = (LogRepeat){0};
    assert_int_equal(said("a", 0, 30), 5);
    assert_true(due("a", 30 * SECOND + 10 * MINUTE));
    assert_int_equal(times, 26); // with those of before that were not said
    assert_int_equal(said("a", 40 * SECOND + 10 * MINUTE, 30), 4);
}

// What log_info() writes with a field of @len bytes, all of them @c.
static void write_with(char c, size_t len, LogFormat format, char ret[static 64 * 1024])
{
    static char large[20000];
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);
    assert_true(file != NULL && before >= 0 && len <= sizeof(large));
    memset(large, c, len);
    log_setup(LOG_INFO, format);
    assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
    log_info(NULL, "said", LOG_CSTR("a", "\"\n"), LOG_STR("large", ((Str){large, len})),
             LOG_INT("n", 5));
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    (void)close(before);
    rewind(file);
    ret[fread(ret, 1, 64 * 1024 - 1, file)] = '\0';
    (void)fclose(file);
    log_setup(LOG_INFO, LOG_TEXT);
}

static void a_line_is_whole_however_large_a_field_is(void **context)
{
    (void)context;
    static char line[64 * 1024];
    write_with('x', 3, LOG_JSON, line);
    assert_string_equal(strchr(line, ','), ",\"level\":\"info\",\"message\":\"said\",\"a\":"
                                           "\"\\\"\\n\",\"large\":\"xxx\",\"n\":5}\n");
    static const char *const json = ",\"a\":\"\\\"\\n\",\"n\":5}\n";
    const struct {
        char c;
        size_t len;
    } large[] = {{'x', 16384}, {'x', 20000}, {'\1', 3000}, {'"', 9000}};
    for (size_t i = 0; i < ARRAY_LEN(large); i++) {
        write_with(large[i].c, large[i].len, LOG_JSON, line);
        assert_non_null(strstr(line, json));
        write_with('x', 20000, LOG_TEXT, line);
        assert_non_null(strstr(line, "said a=\"\\\"\\n\" n=5\n"));
    }
    // Nor is it anything but UTF-8, whatever somebody's words are in.
    write_with('\xe9', 2, LOG_JSON, line);
    assert_non_null(strstr(line, ",\"large\":\"\xef\xbf\xbd\xef\xbf\xbd\",\"n\":5}\n"));
    // At the edge, too, there is always room for its end.
    for (size_t len = 16200; len < 16384; len++) {
        write_with('x', len, LOG_JSON, line);
        assert_true(strlen(line) <= 16384);
        assert_int_equal(line[strlen(line) - 2], '}');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_are_said),
        cmocka_unit_test(then_at_growing_pauses_with_a_count),
        cmocka_unit_test(another_text_starts_anew),
        cmocka_unit_test(quiet_starts_anew),
        cmocka_unit_test(a_line_is_whole_however_large_a_field_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
