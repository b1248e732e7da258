#include "io/http_local.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { BODY_MAX = 16 << 20, PATIENCE_S = 3 };

static void close_fd(const int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

bool http_local_address(const char *directory, const char *name, int *ret_directory,
                        struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    *ret_directory = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int len =
        snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", *ret_directory, name);
    return *ret_directory >= 0 && len > 0 && (size_t)len < sizeof(ret->sun_path);
}

static Status no_answer(const char *directory, int code, Error *err)
{
    return error_set_errno(err, ERROR_TRANSIENT, code,
                           "the process that has \"%s\" gives no answer", directory);
}

// Head and all, until it is closed.
static Status exchange(int fd, const char *directory, const char *path, Buf *ret, Error *err)
{
    char request[256];
    int len = snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\n\r\n", path);
    if (send(fd, request, (size_t)len, MSG_NOSIGNAL) != len) {
        return no_answer(directory, errno, err);
    }
    for (;;) {
        char piece[16384];
        ssize_t got = recv(fd, piece, sizeof(piece), 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return no_answer(directory, errno, err);
        }
        if (got == 0) {
            return buf_check(ret, "the answer", err);
        }
        buf_bytes(ret, piece, (size_t)got);
    }
}

static Status take_body(const Buf *answer, const char *directory, Buf *body, Error *err)
{
    static const char end_of_head[] = "\r\n\r\n";
    const char *end = answer->len == 0
                          ? NULL // nor need there be any memory
                          : memmem(answer->ptr, answer->len, end_of_head, strlen(end_of_head));
    bool has_code = end != NULL && end - answer->ptr >= (ptrdiff_t)strlen("HTTP/1.0 200");
    if (!has_code || memcmp(answer->ptr + strlen("HTTP/1.0"), " 200", 4) != 0) {
        return no_answer(directory, EPROTO, err);
    }
    const char *start = end + strlen(end_of_head);
    buf_bytes(body, start, answer->len - (size_t)(start - answer->ptr));
    return STATUS_OK;
}

// *ret_fd -1: nobody listens. What is set is the caller's, also when it fails.
static Status connect_local(const char *directory, const char *name, int *ret_fd, Error *err)
{
    CLEANUP(close_fd) int place = -1;
    struct sockaddr_un address;
    *ret_fd = -1;
    if (!http_local_address(directory, name, &place, &address)) {
        return STATUS_OK;
    }
    int fd = *ret_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = PATIENCE_S};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0) {
        return error_set_errno(err, ERROR_TRANSIENT, errno, "make a socket");
    }
    if (connect(fd, (const struct sockaddr *)(const void *)&address, sizeof(address)) == 0) {
        return STATUS_OK;
    }
    // The socket of one that was killed is still there, and nobody listens on it.
    if (errno == ECONNREFUSED || errno == ENOENT) {
        close_fd(&fd);
        *ret_fd = -1;
        return STATUS_OK;
    }
    return no_answer(directory, errno, err);
}

Status http_ask_local(const char *directory, const char *name, const char *path, bool *ret_listens,
                      Buf *body, Error *err)
{
    CLEANUP(close_fd) int fd = -1;
    Status status = connect_local(directory, name, &fd, err);
    *ret_listens = fd >= 0;
    if (status != STATUS_OK || fd < 0) {
        return status;
    }
    CLEANUP(buf_done) Buf answer;
    buf_init(&answer, BODY_MAX);
    return exchange(fd, directory, path, &answer, err) == STATUS_OK
               ? take_body(&answer, directory, body, err)
               : STATUS_FAIL;
}

// The head of an answer, and not a byte of what follows it.
static Status read_head(int fd, const char *directory, char *head, size_t size, Error *err)
{
    size_t len = 0;
    while (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4) != 0) {
        if (len == size) {
            return no_answer(directory, EPROTO, err);
        }
        ssize_t got = recv(fd, head + len, 1, 0);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            return no_answer(directory, got == 0 ? EPROTO : errno, err);
        }
        len += got > 0 ? 1 : 0;
    }
    return STATUS_OK;
}

static Status ask_to_take(int fd, const char *directory, Error *err)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n"
                                  "Connection: Upgrade\r\nUpgrade: " HTTP_PROTOCOL "\r\n\r\n";
    char head[1024] = {0};
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request)) {
        return no_answer(directory, errno, err);
    }
    if (read_head(fd, directory, head, sizeof(head), err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (memcmp(head + strlen("HTTP/1.1"), " 101", 4) == 0) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG, "the process that has \"%s\" does not know what it is asked for",
              directory);
    return error_hint(err, "It may be an older weir. Stop it first.");
}

Status http_take_local(const char *directory, const char *name, int *ret_fd, Error *err)
{
    CLEANUP(close_fd) int fd = -1;
    if (connect_local(directory, name, &fd, err) != STATUS_OK ||
        (fd >= 0 && ask_to_take(fd, directory, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    *ret_fd = fd;
    fd = -1;
    return STATUS_OK;
}
