#include "control/http.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

enum { BODY_MAX = 16 << 20, CONNECTIONS_MAX = 16, TIMEOUT_S = 10, PATIENCE_S = 3, BACKLOG = 16 };

struct HttpServer {
    struct MHD_Daemon *daemon;
    char *path; // of a UNIX socket; NULL: it is none
    struct stat file;
    HttpHandler handler;
    HttpTaker taker; // NULL: no connection is taken over
    void *context;
};

// microhttpd calls with the head, then with each piece of a body, at last with nothing more. Only
// then may it be answered without closing the connection.
static char is_seen;

static enum MHD_Result send_body(struct MHD_Connection *connection, unsigned code, const Buf *body,
                                 const char *type)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body->len, body->ptr, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) {
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED) {
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

// NOLINTNEXTLINE(readability-function-size): the signature is microhttpd's
static void take_over(void *context, struct MHD_Connection *connection, void *state,
                      const char *more, size_t more_size, MHD_socket fd,
                      struct MHD_UpgradeResponseHandle *handle)
{
    (void)connection;
    (void)state;
    (void)more; // whoever asks says nothing before it is answered
    (void)more_size;
    const HttpServer *server = context;
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);
    bool is_known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    HttpStream stream = {.fd = fd, .pid = is_known ? peer.pid : 0, .handle = handle};
    server->taker(server->context, &stream);
}

static bool wants_to_take(const HttpServer *server, struct MHD_Connection *connection)
{
    const char *wanted =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_UPGRADE);
    return server->taker != NULL && wanted != NULL && strcmp(wanted, HTTP_PROTOCOL) == 0;
}

static enum MHD_Result hand_over(HttpServer *server, struct MHD_Connection *connection)
{
    struct MHD_Response *response = MHD_create_response_for_upgrade(take_over, server);
    if (response == NULL) {
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_UPGRADE, HTTP_PROTOCOL);
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_SWITCHING_PROTOCOLS, response);
    MHD_destroy_response(response);
    return result;
}

void http_stream_close(const HttpStream *stream)
{
    (void)MHD_upgrade_action(stream->handle, MHD_UPGRADE_ACTION_CLOSE);
}

// NOLINTNEXTLINE(readability-function-size): the signature is microhttpd's
static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    HttpServer *server = context;
    if (*state == NULL) {
        *state = &is_seen;
        return MHD_YES;
    }
    if (*upload_size != 0) {
        *upload_size = 0; // a body is read past
        return MHD_YES;
    }
    if (wants_to_take(server, connection)) {
        return hand_over(server, connection);
    }
    CLEANUP(buf_done) Buf body;
    buf_init(&body, BODY_MAX);
    const char *type = "text/plain; charset=utf-8";
    unsigned code = MHD_HTTP_METHOD_NOT_ALLOWED;
    if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0) {
        code = server->handler(server->context, str_from(path), &body, &type);
    } else {
        buf_cstr(&body, "only GET\n");
    }
    if (body.overflowed) {
        buf_reset(&body);
        code = MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
    return send_body(connection, code, &body, type);
}

// "host:port" → both parts; the brackets of an IPv6 address go.
static bool split_address(Str address, char host[static 256], char port[static 16])
{
    size_t colon = address.len;
    while (colon > 0 && address.ptr[colon - 1] != ':') {
        colon--;
    }
    if (colon == 0) {
        return false;
    }
    Str name = {address.ptr, colon - 1};
    Str number = {address.ptr + colon, address.len - colon};
    if (name.len >= 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']') {
        name = (Str){name.ptr + 1, name.len - 2};
    }
    uint64_t parsed;
    if (name.len >= 256 || !str_to_uint64(number, &parsed) || parsed == 0 || parsed > 65535) {
        return false;
    }
    (void)snprintf(host, 256, "%" STR_FMT, STR_ARG(name));
    (void)snprintf(port, 16, "%u", (unsigned)parsed);
    return true;
}

static Status listen_on(HttpServer *server, Str address, Error *err)
{
    char host[256];
    char port[16];
    if (!split_address(address, host, port)) {
        error_set(err, ERROR_CONFIG, "\"%" STR_FMT "\" is no address to listen on",
                  STR_ARG(address));
        return error_hint(err, "Write host:port, or :port for this machine only: :9187.");
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(host[0] == '\0' ? "127.0.0.1" : host, port, &hints, &found);
    if (code != 0) {
        return error_set(err, ERROR_CONFIG, "listen on \"%" STR_FMT "\": %s", STR_ARG(address),
                         gai_strerror(code));
    }
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO;
    flags |= found->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0;
    server->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, answer, server, MHD_OPTION_SOCK_ADDR, found->ai_addr,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S, MHD_OPTION_END);
    int reason = errno;
    freeaddrinfo(found);
    if (server->daemon == NULL) {
        return error_set_errno(err, ERROR_CONFIG, reason, "listen on \"%" STR_FMT "\"",
                               STR_ARG(address));
    }
    return STATUS_OK;
}

Status http_start(Str address, HttpHandler handler, void *context, HttpServer **ret, Error *err)
{
    HttpServer *server = mem_alloc_zero(sizeof(*server));
    server->handler = handler;
    server->context = context;
    if (listen_on(server, address, err) != STATUS_OK) {
        mem_free(server);
        return STATUS_FAIL;
    }
    *ret = server;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// UNIX sockets
// ---------------------------------------------------------------------------------------------

static void close_fd(const int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

// The address has room for some 100 bytes, and a directory's name may have more: it goes by its
// descriptor, which has to stay open as long as @ret is used.
static bool local_address(const char *directory, const char *name, int *ret_directory,
                          struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    *ret_directory = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int len =
        snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", *ret_directory, name);
    return *ret_directory >= 0 && len > 0 && (size_t)len < sizeof(ret->sun_path);
}

// The mode is set before it has a name: nobody else can ever connect.
static int listen_local(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)unlink(address->sun_path);
    if (fd < 0 || fchmod(fd, 0600) != 0 ||
        bind(fd, (const struct sockaddr *)(const void *)address, sizeof(*address)) != 0 ||
        listen(fd, BACKLOG) != 0) {
        int reason = errno;
        close_fd(&fd);
        errno = reason;
        return -1;
    }
    return fd;
}

static Status start_local(HttpServer *server, const char *directory, const char *name, Error *err)
{
    CLEANUP(close_fd) int place = -1;
    struct sockaddr_un address;
    int fd = local_address(directory, name, &place, &address) ? listen_local(&address) : -1;
    if (fd < 0) {
        return error_set_errno(err, ERROR_TRANSIENT, errno, "listen on \"%s/%s\"", directory, name);
    }
    (void)stat(address.sun_path, &server->file);
    server->daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO | MHD_ALLOW_UPGRADE, 0,
                         NULL, NULL, answer, server, MHD_OPTION_LISTEN_SOCKET, fd,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S, MHD_OPTION_END);
    if (server->daemon == NULL) {
        int reason = errno;
        (void)unlink(address.sun_path);
        close_fd(&fd);
        return error_set_errno(err, ERROR_TRANSIENT, reason, "listen on \"%s/%s\"", directory,
                               name);
    }
    return STATUS_OK;
}

Status http_start_local(const char *directory, const char *name, const HttpLocal *local,
                        HttpServer **ret, Error *err)
{
    HttpServer *server = mem_alloc_zero(sizeof(*server));
    server->handler = local->handler;
    server->taker = local->taker;
    server->context = local->context;
    if (start_local(server, directory, name, err) != STATUS_OK) {
        mem_free(server);
        return STATUS_FAIL;
    }
    size_t size = strlen(directory) + strlen(name) + 2;
    server->path = mem_alloc(size);
    (void)snprintf(server->path, size, "%s/%s", directory, name);
    *ret = server;
    return STATUS_OK;
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
    if (!local_address(directory, name, &place, &address)) {
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

void http_stop(HttpServer *server)
{
    if (server == NULL) {
        return;
    }
    // Somebody else's may be there by now.
    struct stat now;
    if (server->path != NULL && stat(server->path, &now) == 0 &&
        now.st_ino == server->file.st_ino && now.st_dev == server->file.st_dev) {
        (void)unlink(server->path);
    }
    MHD_stop_daemon(server->daemon);
    mem_free(server->path);
    mem_free(server);
}
