// Any bytes as what the process at the other end of a UNIX socket answers, in pieces of any size:
// the body is what stands behind the head, and of a connection that is taken over nothing behind
// the head is read.
//
// The first byte says what is asked for and how the answer ends, the second how large its pieces
// are.
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "io/http_local.h"

enum { HEAD_MAX = 1024 };

static Str answer;
static size_t taken;
static size_t piece;
static bool is_cut; // the connection breaks in the place of an end

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
ssize_t __wrap_send(int fd, const void *data, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t size, int flags);
// NOLINTEND(bugprone-reserved-identifier)

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    return 0;
}

ssize_t __wrap_send(int fd, const void *data, size_t size, int flags)
{
    return (ssize_t)size;
}

ssize_t __wrap_recv(int fd, void *data, size_t size, int flags)
{
    size_t len = MIN(MIN(size, piece), answer.len - taken);
    if (len == 0 && is_cut) {
        errno = ECONNRESET;
        return -1;
    }
    if (len > 0) {
        memcpy(data, answer.ptr + taken, len);
    }
    taken += len;
    return (ssize_t)len;
}

// How long the head is, with the empty line that ends it; 0: nothing ends it.
static size_t head_size(void)
{
    for (size_t len = 4; len <= answer.len; len++) {
        if (memcmp(answer.ptr + len - 4, "\r\n\r\n", 4) == 0) {
            return len;
        }
    }
    return 0;
}

static bool has_code(size_t head, const char *code)
{
    return head >= 12 && memcmp(answer.ptr + 8, code, 4) == 0;
}

static void ask(void)
{
    Error err = {0};
    Buf body = {.max = answer.len};
    bool listens;
    Status status = http_ask_local("/", "socket", "/status", &listens, &body, &err);
    size_t head = head_size();
    // What stands where the code does may be behind the head, and is none then.
    FUZZ_CHECK(listens && (status == STATUS_OK) == (!is_cut && has_code(head, " 200")));
    if (status == STATUS_OK) {
        Str rest = {answer.ptr + head, answer.len - head};
        FUZZ_CHECK(str_equal(buf_view(&body), rest));
    } else {
        FUZZ_CHECK(err.kind == ERROR_TRANSIENT && err.message[0] != '\0' && body.len == 0);
    }
    buf_done(&body);
}

static void take(void)
{
    Error err = {0};
    int fd = -1;
    Status status = http_take_local("/", "socket", &fd, &err);
    size_t head = head_size();
    bool has_head = head > 0 && head <= HEAD_MAX;
    FUZZ_CHECK((status == STATUS_OK) == (has_head && has_code(head, " 101")));
    FUZZ_CHECK((status == STATUS_OK) == (fd >= 0));
    if (has_head) {
        FUZZ_CHECK(taken == head);
    }
    if (status == STATUS_OK) {
        (void)close(fd);
    } else {
        FUZZ_CHECK(err.kind == (has_head ? ERROR_CONFIG : ERROR_TRANSIENT));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    answer = (Str){(const char *)data + 2, size - 2};
    taken = 0;
    piece = data[1] + 1U;
    is_cut = (data[0] & 2) != 0;
    if ((data[0] & 1) != 0) {
        take();
    } else {
        ask();
    }
    return 0;
}
