#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "unit.h"

static void test_set(void **state)
{
    Error err;
    memset(&err, 0xa5, sizeof(err)); // an uninitialised one, as callers have it
    assert_int_equal(error_set(&err, ERROR_CONFIG, "no table \"%s\"", "a.b"), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.message, "no table \"a.b\"");
    assert_string_equal(err.hint, "");
    assert_string_equal(err.sqlstate, "");
    assert_int_equal(err.os_errno, 0);
    assert_int_equal(err.line, __LINE__ - 6);
    assert_non_null(strstr(err.file, "test_error.c"));
}

static void test_set_errno(void **state)
{
    Error err;
    assert_int_equal(error_set_errno(&err, ERROR_TRANSIENT, ENOSPC, "write \"%s\"", "x"),
                     STATUS_FAIL);
    assert_string_equal(err.message, "write \"x\": No space left on device");
    assert_int_equal(err.os_errno, ENOSPC);
}

static void test_wrap_and_hint(void **state)
{
    Error err;
    error_set(&err, ERROR_DATA, "it is \"%s\"", "100%d");
    err.sqlstate[0] = 'x';
    assert_int_equal(error_hint(&err, "Run %s.", "this"), STATUS_FAIL);
    assert_int_equal(error_wrap(&err, "table \"%s\"", "t%s"), STATUS_FAIL);
    assert_int_equal(error_wrap(&err, "pipeline %d", 1), STATUS_FAIL);
    assert_string_equal(err.message, "pipeline 1: table \"t%s\": it is \"100%d\"");
    assert_string_equal(err.hint, "Run this.");
    assert_int_equal(err.kind, ERROR_DATA);
    assert_int_equal(err.sqlstate[0], 'x');
}

static void test_no_error_wanted(void **state)
{
    assert_int_equal(error_set(NULL, ERROR_DATA, "x"), STATUS_FAIL);
    assert_int_equal(error_set_errno(NULL, ERROR_DATA, EIO, "x"), STATUS_FAIL);
    assert_int_equal(error_wrap(NULL, "x"), STATUS_FAIL);
    assert_int_equal(error_hint(NULL, "x"), STATUS_FAIL);
}

// An error always gets through: too long is cut.
static void test_too_long(void **state)
{
    char text[ERROR_MESSAGE_MAX * 2];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    Error err;
    error_set(&err, ERROR_DATA, "%s", text);
    assert_int_equal(strlen(err.message), ERROR_MESSAGE_MAX - 1);
    error_wrap(&err, "%s", text);
    assert_int_equal(strlen(err.message), ERROR_MESSAGE_MAX - 1);
    error_wrap(&err, "short");
    assert_int_equal(strlen(err.message), ERROR_MESSAGE_MAX - 1);
    assert_int_equal(strncmp(err.message, "short: aaa", 10), 0);
    error_hint(&err, "%s", text);
    assert_int_equal(strlen(err.hint), ERROR_MESSAGE_MAX - 1);
    error_set_errno(&err, ERROR_DATA, EIO, "%s", text);
    assert_int_equal(strlen(err.message), ERROR_MESSAGE_MAX - 1);
}

static void test_kind_names(void **state)
{
    assert_string_equal(error_kind_name(ERROR_TRANSIENT), "transient");
    assert_string_equal(error_kind_name(ERROR_DATA), "data");
    assert_string_equal(error_kind_name(ERROR_CONFIG), "config");
    assert_string_equal(error_kind_name(ERROR_FATAL), "fatal");
    assert_string_equal(error_kind_name(ERROR_CANCELLED), "cancelled");
    assert_string_equal(error_kind_name((ErrorKind)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),           cmocka_unit_test(test_set_errno),
        cmocka_unit_test(test_wrap_and_hint), cmocka_unit_test(test_no_error_wanted),
        cmocka_unit_test(test_too_long),      cmocka_unit_test(test_kind_names),
    };
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
