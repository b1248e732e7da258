// What a borrower makes of the lines that a lender sends.
#include <sys/socket.h>
#include <unistd.h>

#include "control/loan.h"
#include "unit.h"

enum { PATIENCE_MS = 100 };

static Error err;

// The lender has said @answers, and stays silent or has gone.
static Status bring(const char *answers, bool stays)
{
    int ends[2];
    Cancel cancel;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(cancel_init(&cancel, &err), STATUS_OK);
    assert_int_equal(write(ends[1], answers, strlen(answers)), strlen(answers));
    if (!stays) {
        (void)shutdown(ends[1], SHUT_WR);
    }
    const LoanPatience patience = {&cancel, PATIENCE_MS};
    err = (Error){0};
    Status status = loan_bring(ends[0], "/state/shop", 0x5A1, &patience, &err);
    char request[32] = {0};
    assert_int_equal(read(ends[1], request, sizeof(request) - 1), 9);
    assert_string_equal(request, "at 0/5A1\n");
    cancel_done(&cancel);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return status;
}

static void lent_is_the_end(void **context)
{
    (void)context;
    assert_int_equal(bring("lent\n", true), STATUS_OK);
    assert_int_equal(bring("on\nfails no luck\non\nlent\n", false), STATUS_OK);
}

static void any_other_line_is_a_refusal(void **context)
{
    (void)context;
    assert_int_equal(bring("on\nit is ending\n", true), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_non_null(strstr(err.message, "does not lend its pipeline: it is ending"));
}

static void its_end_is_no_loan(void **context)
{
    (void)context;
    assert_int_equal(bring("lent", false), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_TRANSIENT);
    assert_non_null(strstr(err.message, "ended before it had lent"));
}

static void what_keeps_it_is_told(void **context)
{
    (void)context;
    assert_int_equal(bring("on\nfails no luck\n", true), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_TRANSIENT);
    assert_non_null(strstr(err.message, "has got nowhere for 0 s: no luck"));
}

static void what_kept_it_before_is_not(void **context)
{
    (void)context;
    assert_int_equal(bring("fails no luck\non\n", true), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_TRANSIENT);
    assert_null(strstr(err.message, "no luck"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lent_is_the_end),
        cmocka_unit_test(any_other_line_is_a_refusal),
        cmocka_unit_test(its_end_is_no_loan),
        cmocka_unit_test(what_keeps_it_is_told),
        cmocka_unit_test(what_kept_it_before_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
