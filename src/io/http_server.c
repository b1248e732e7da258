#include "io/http_server.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

enum { BODY_MAX = 16 << 20, CONNECTIONS_MAX = 16, TIMEOUT_S = 10, BACKLOG = 16 };

// Where posts are taken: one that waits for its answer has a connection to itself.
enum { POST_CONNECTIONS_MAX = 512, POST_IDLE_S = 60, POST_READ_S = 5 };

struct HttpServer {
    struct MHD_Daemon *daemon;
    char *path; // of a UNIX socket; NULL: it is none
    struct stat file;
    HttpHandler handler;
    HttpTaker taker;   // NULL: no connection is taken over
    HttpPoster poster; // NULL: GET only
    void *context;
};

struct HttpPost {
    struct MHD_Connection *connection;
    Str path;
    Buf body;
    int64_t began_ms;
    bool is_taken; // by the poster: when the connection is heard of again, there is an answer
    unsigned code;
    char *type;
    Buf answer;
    Buf note;
};

// microhttpd calls with the head, then with each piece of a body, at last with nothing more. Only
// then may it be answered without closing the connection. What it is told to keep for the request
// is this, or the post.
static char is_seen;

static enum MHD_Result send_body(const HttpServer *server, struct MHD_Connection *connection,
                                 unsigned code, const Buf *body, const char *type)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body->len, body->ptr, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) {
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED) {
        const char *methods = server->poster == NULL ? "GET, HEAD" : "GET, HEAD, POST";
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, methods);
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

// ---------------------------------------------------------------------------------------------
// Posts
// ---------------------------------------------------------------------------------------------

Str http_post_path(const HttpPost *post)
{
    return post->path;
}

Str http_post_body(const HttpPost *post)
{
    return buf_view(&post->body);
}

Str http_post_field(const HttpPost *post, const char *name)
{
    return str_from(MHD_lookup_connection_value(post->connection, MHD_HEADER_KIND, name));
}

void http_post_note(HttpPost *post, Str note)
{
    buf_init(&post->note, note.len);
    buf_str(&post->note, note);
}

Str http_post_noted(const HttpPost *post)
{
    return buf_view(&post->note);
}

void http_post_answer(HttpPost *post, unsigned code, const char *type, Str body)
{
    post->code = code;
    post->type = mem_alloc(strlen(type) + 1);
    memcpy(post->type, type, strlen(type) + 1);
    buf_str(&post->answer, body);
    MHD_resume_connection(post->connection);
}

static void free_post(HttpPost *post)
{
    mem_free(post->type);
    buf_done(&post->body);
    buf_done(&post->answer);
    buf_done(&post->note);
    mem_free(post);
}

static enum MHD_Result refuse_post(const HttpServer *server, struct MHD_Connection *connection,
                                   unsigned code, const char *reason)
{
    CLEANUP(buf_done) Buf body;
    buf_init(&body, BODY_MAX);
    buf_printf(&body, "{\"error\":\"%s\"}\n", reason);
    return send_body(server, connection, code, &body, "application/json");
}

static enum MHD_Result is_too_large(const HttpServer *server, struct MHD_Connection *connection)
{
    return refuse_post(server, connection, MHD_HTTP_CONTENT_TOO_LARGE,
                       "the body is larger than 1 MB");
}

// One that says how large it is, and is too large, is not even read.
static enum MHD_Result begin_post(const HttpServer *server, struct MHD_Connection *connection,
                                  const char *path, void **state)
{
    uint64_t size = 0;
    Str length = str_from(
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH));
    if (length.len > 0 && (!str_to_uint64(length, &size) || size > LIMIT_HTTP_BODY)) {
        return is_too_large(server, connection);
    }
    (void)MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                    (unsigned)POST_READ_S);
    HttpPost *post = mem_alloc_zero(sizeof(*post));
    post->connection = connection;
    post->path = str_from(path); // microhttpd's, for as long as the request is
    post->began_ms = clock_monotonic_ms();
    buf_init(&post->body, LIMIT_HTTP_BODY);
    buf_init(&post->answer, BODY_MAX);
    *state = post;
    return MHD_YES;
}

// Whoever sends it byte by byte gets no answer.
static enum MHD_Result read_post(HttpPost *post, const char *upload, size_t *upload_size)
{
    buf_bytes(&post->body, upload, *upload_size);
    *upload_size = 0;
    return clock_monotonic_ms() - post->began_ms > POST_READ_S * 1000 ? MHD_NO : MHD_YES;
}

// Suspended before it is given away: its answer may be there at once.
static enum MHD_Result finish_post(HttpServer *server, HttpPost *post)
{
    if (post->is_taken) {
        return send_body(server, post->connection, post->code, &post->answer, post->type);
    }
    if (post->body.overflowed) {
        return is_too_large(server, post->connection);
    }
    post->is_taken = true;
    MHD_suspend_connection(post->connection);
    server->poster(server->context, post);
    return MHD_YES;
}

// NOLINTNEXTLINE(readability-non-const-parameter): the signature is microhttpd's
static void request_completed(void *context, struct MHD_Connection *connection, void **state,
                              enum MHD_RequestTerminationCode how)
{
    (void)context;
    (void)how;
    if (*state != NULL && *state != &is_seen) {
        free_post(*state);
        *state = NULL;
        (void)MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                        (unsigned)POST_IDLE_S);
    }
}

// ---------------------------------------------------------------------------------------------
// Requests
// ---------------------------------------------------------------------------------------------

static enum MHD_Result refuse_method(const HttpServer *server, struct MHD_Connection *connection)
{
    CLEANUP(buf_done) Buf body;
    buf_init(&body, BODY_MAX);
    if (server->poster == NULL) {
        buf_cstr(&body, "only GET\n");
        return send_body(server, connection, MHD_HTTP_METHOD_NOT_ALLOWED, &body,
                         "text/plain; charset=utf-8");
    }
    return refuse_post(server, connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and POST");
}

static enum MHD_Result get(HttpServer *server, struct MHD_Connection *connection, const char *path)
{
    CLEANUP(buf_done) Buf body;
    buf_init(&body, BODY_MAX);
    const char *type = "text/plain; charset=utf-8";
    unsigned code = server->handler(server->context, str_from(path), &body, &type);
    if (body.overflowed) {
        buf_reset(&body);
        code = MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
    return send_body(server, connection, code, &body, type);
}

// NOLINTNEXTLINE(readability-function-size): the signature is microhttpd's
static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    HttpServer *server = context;
    bool is_post = server->poster != NULL && strcmp(method, MHD_HTTP_METHOD_POST) == 0;
    if (*state == NULL) {
        *state = &is_seen;
        return is_post ? begin_post(server, connection, path, state) : MHD_YES;
    }
    if (is_post) {
        return *upload_size != 0 ? read_post(*state, upload, upload_size)
                                 : finish_post(server, *state);
    }
    if (*upload_size != 0) {
        *upload_size = 0; // a body is read past
        return MHD_YES;
    }
    if (wants_to_take(server, connection)) {
        return hand_over(server, connection);
    }
    bool is_get =
        strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    return is_get ? get(server, connection, path) : refuse_method(server, connection);
}

// ---------------------------------------------------------------------------------------------
// Addresses
// ---------------------------------------------------------------------------------------------

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
    bool posts = server->poster != NULL;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO;
    flags |= found->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0;
    flags |= posts ? MHD_ALLOW_SUSPEND_RESUME : 0;
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, answer, server, MHD_OPTION_SOCK_ADDR, found->ai_addr,
        MHD_OPTION_NOTIFY_COMPLETED, request_completed, NULL, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(posts ? POST_CONNECTIONS_MAX : CONNECTIONS_MAX), MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)(posts ? POST_IDLE_S : TIMEOUT_S), MHD_OPTION_END);
    int reason = errno;
    freeaddrinfo(found);
    if (server->daemon == NULL) {
        return error_set_errno(err, ERROR_CONFIG, reason, "listen on \"%" STR_FMT "\"",
                               STR_ARG(address));
    }
    return STATUS_OK;
}

Status http_start(Str address, const HttpService *service, HttpServer **ret, Error *err)
{
    HttpServer *server = mem_alloc_zero(sizeof(*server));
    server->handler = service->handler;
    server->poster = service->poster;
    server->context = service->context;
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
    int fd = http_local_address(directory, name, &place, &address) ? listen_local(&address) : -1;
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
