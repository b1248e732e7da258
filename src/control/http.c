#include "control/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>

#include "base/mem.h"

enum { BODY_MAX = 16 << 20, CONNECTIONS_MAX = 16, TIMEOUT_S = 10 };

struct HttpServer {
    struct MHD_Daemon *daemon;
    HttpHandler handler;
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
static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    const HttpServer *server = context;
    if (*state == NULL) {
        *state = &is_seen;
        return MHD_YES;
    }
    if (*upload_size != 0) {
        *upload_size = 0; // a body is read past
        return MHD_YES;
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

void http_stop(HttpServer *server)
{
    if (server != NULL) {
        MHD_stop_daemon(server->daemon);
        mem_free(server);
    }
}
