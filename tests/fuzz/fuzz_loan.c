// Any bytes as what one end of a loan says. A borrower has its loan, or an error that says why it
// has not. A lender brings its targets to what it is asked for, line by line, up to the first that
// asks for nothing.
//
// The first byte says who is told the rest.
#include <sys/socket.h>
#include <unistd.h>

#include "control/loan.h"
#include "fuzz.h"

enum { ANSWER_MAX = 1024, REQUEST_MAX = 64, BORROWER = 7, INPUT_MAX = 4096 };

static Str told; // what is left of it

// The next line that is not longer than @max with its end; false: there is none.
static bool next_line(size_t max, Str *ret)
{
    ptrdiff_t len = str_find(told, '\n');
    if (len < 0 || (size_t)len >= max) {
        return false;
    }
    *ret = (Str){told.ptr, (size_t)len};
    told = (Str){told.ptr + len + 1, told.len - (size_t)len - 1};
    return true;
}

// What is said there is all that ever comes.
static void open_ends(int ret_ends[2])
{
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_ends) == 0);
    FUZZ_CHECK(told.len == 0 || write(ret_ends[1], told.ptr, told.len) == (ssize_t)told.len);
    (void)shutdown(ret_ends[1], SHUT_WR);
}

// ---------------------------------------------------------------------------------------------
// The borrower
// ---------------------------------------------------------------------------------------------

// What the lines come to. NULs end a line as any C string.
static bool is_lent(ErrorKind *ret_kind)
{
    Str line;
    while (next_line(ANSWER_MAX - 1, &line)) {
        Str said = {line.ptr, strnlen(line.ptr, line.len)};
        Str word;
        if (str_is(said, "lent")) {
            return true;
        }
        bool is_on = str_is(said, "on");
        bool fails = str_split(&said, ' ', &word) && str_is(word, "fails");
        if (!is_on && !fails) {
            *ret_kind = ERROR_CONFIG;
            return false;
        }
    }
    *ret_kind = ERROR_TRANSIENT;
    return false;
}

static void borrow(void)
{
    static Cancel cancel;
    static bool is_made;
    Error err = {0};
    int ends[2];
    if (!is_made) {
        FUZZ_CHECK(cancel_init(&cancel, &err) == STATUS_OK);
        is_made = true;
    }
    const LoanPatience patience = {&cancel, 0};
    open_ends(ends);
    Status status = loan_bring(ends[0], "/state", 0x5A1, &patience, &err);
    ErrorKind kind = ERROR_TRANSIENT;
    FUZZ_CHECK((status == STATUS_OK) == is_lent(&kind));
    FUZZ_CHECK(status == STATUS_OK || (err.kind == kind && err.message[0] != '\0'));
    char request[REQUEST_MAX] = {0};
    FUZZ_CHECK(read(ends[1], request, sizeof(request) - 1) > 0);
    FUZZ_CHECK(strcmp(request, "at 0/5A1\n") == 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

// ---------------------------------------------------------------------------------------------
// The lender: what it does to its runner is looked at
// ---------------------------------------------------------------------------------------------

static int64_t borrower;
static size_t brought;

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
void __wrap_runner_lend(Runner *runner, int64_t pid);
void __wrap_runner_lend_at(Runner *runner, Lsn lsn);
bool __wrap_runner_is_lent(Runner *runner);
void __wrap_runner_stats(Runner *runner, RunnerStats *ret);
void __wrap_http_stream_close(const HttpStream *stream);
// NOLINTEND(bugprone-reserved-identifier)

void __wrap_runner_lend(Runner *runner, int64_t pid)
{
    FUZZ_CHECK(pid == (borrower == 0 ? BORROWER : 0));
    borrower = pid;
}

static bool is_asked_for(Lsn *ret)
{
    Str line;
    return next_line(REQUEST_MAX, &line) && str_starts_with(line, STR("at ")) &&
           lsn_parse((Str){line.ptr + 3, line.len - 3}, ret) && *ret != LSN_NONE;
}

void __wrap_runner_lend_at(Runner *runner, Lsn lsn)
{
    Lsn wanted;
    FUZZ_CHECK(borrower == BORROWER && is_asked_for(&wanted) && lsn == wanted);
    brought++;
}

bool __wrap_runner_is_lent(Runner *runner)
{
    return borrower == BORROWER;
}

void __wrap_runner_stats(Runner *runner, RunnerStats *ret)
{
    *ret = (RunnerStats){0};
}

void __wrap_http_stream_close(const HttpStream *stream)
{
    (void)close(stream->fd);
}

// How often it says that it is lent, which is all it says; until it has closed its end.
static size_t read_answers(int fd)
{
    static const char answer[] = "lent\n";
    size_t len = 0;
    for (;;) {
        char byte;
        ssize_t got = recv(fd, &byte, 1, 0);
        if (got < 0 && errno == EINTR) {
            continue; // by the fuzzer's clock
        }
        if (got <= 0) {
            FUZZ_CHECK(len % strlen(answer) == 0);
            return len / strlen(answer);
        }
        FUZZ_CHECK(byte == answer[len % strlen(answer)]);
        len++;
    }
}

static void lend(void)
{
    static const Pipeline pipeline;
    const Watched watched = {.pipeline = &pipeline};
    int ends[2];
    open_ends(ends);
    Lender *lender = lender_new(&watched);
    brought = 0;
    lender_take(lender, &(HttpStream){.fd = ends[0], .pid = BORROWER});
    size_t answered = read_answers(ends[1]);
    lender_stop(lender);
    lender_free(lender);
    Lsn more;
    FUZZ_CHECK(borrower == 0 && answered == brought + 1 && !is_asked_for(&more));
    (void)close(ends[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > INPUT_MAX) {
        return 0;
    }
    told = (Str){(const char *)data + 1, size - 1};
    if ((data[0] & 1) != 0) {
        lend();
    } else {
        borrow();
    }
    return 0;
}
