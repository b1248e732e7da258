// Requests to a server of our own that says what a test wants it to say.
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/http_client.h"
#include "unit.h"

enum { ANSWERS_MAX = 4, REQUEST_BYTES = 64 << 10 };

// What it says to one connection after the other; NULL: it waits until it is stopped.
typedef struct Server {
    int fd;
    int port;
    pthread_t thread;
    Cancel stop;
    const char *answers[ANSWERS_MAX];
    bool keeps; // all of them to the first connection
    char requests[ANSWERS_MAX][REQUEST_BYTES];
} Server;

static Server server;
static Error err;
static char url[64];

static bool readable(int fd)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = server.stop.fd, .events = POLLIN}};
    return poll(fds, 2, 10000) > 0 && fds[0].revents != 0;
}

// Up to the end of its body, whose length is said.
static bool is_whole(const char *request)
{
    const char *body = strstr(request, "\r\n\r\n");
    const char *length = strstr(request, "Content-Length: ");
    size_t len = length == NULL ? 0 : strtoul(length + strlen("Content-Length: "), NULL, 10);
    return body != NULL && strlen(body + 4) >= len;
}

static void read_request(int fd, char *ret)
{
    size_t len = 0;
    while (!is_whole(ret) && readable(fd)) {
        ssize_t got = read(fd, ret + len, REQUEST_BYTES - 1 - len);
        if (got <= 0) {
            return;
        }
        len += (size_t)got;
    }
}

static void *serve(void *context)
{
    (void)context;
    int fd = -1;
    for (size_t i = 0; i < ANSWERS_MAX && (fd >= 0 || readable(server.fd)); i++) {
        fd = fd >= 0 ? fd : accept4(server.fd, NULL, NULL, SOCK_CLOEXEC);
        read_request(fd, server.requests[i]);
        const char *answer = server.answers[i];
        if (answer == NULL) {
            (void)readable(-1);
        } else {
            (void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
        }
        if (!server.keeps) {
            (void)close(fd);
            fd = -1;
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return NULL;
}

static int start(void **context)
{
    (void)context;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    server = (Server){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    err = (Error){0};
    if (bind(server.fd, (struct sockaddr *)&address, len) != 0 || listen(server.fd, 5) != 0 ||
        getsockname(server.fd, (struct sockaddr *)&address, &len) != 0 ||
        cancel_init(&server.stop, &err) != STATUS_OK) {
        return 1;
    }
    server.port = ntohs(address.sin_port);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/v1/products", server.port);
    return 0;
}

static int stop(void **context)
{
    (void)context;
    cancel_set(&server.stop);
    if (server.thread != 0) {
        (void)pthread_join(server.thread, NULL);
    }
    cancel_done(&server.stop);
    return close(server.fd);
}

static void run(void)
{
    assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

static HttpClient *client_of(const Cancel *cancel)
{
    return http_client_new(&(HttpClientOptions){
        .connect_timeout_ms = 2000, .timeout_ms = 5000, .answer_max = 1000, .cancel = cancel});
}

static Status ask(HttpClient *client, HttpAnswer *ret)
{
    return http_client_ask(client, &(HttpRequest){.method = "GET", .url = url}, ret, &err);
}

static void assert_refused(const HttpRequest *request, ErrorKind kind, const char *part)
{
    HttpClient *client = client_of(NULL);
    HttpAnswer answer;
    assert_int_equal(http_client_ask(client, request, &answer, &err), STATUS_FAIL);
    assert_int_equal(err.kind, kind);
    if (strstr(err.message, part) == NULL) {
        fail_msg("%s", err.message);
    }
    http_client_free(client);
}

static void what_is_sent_and_what_comes_back(void **context)
{
    (void)context;
    server.answers[0] =
        "HTTP/1.1 100 Continue\r\nX-Old: 1\r\n\r\n"
        "HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX-This:  one two \r\n\r\nhello";
    run();
    HttpClient *client = client_of(NULL);
    HttpAnswer answer;
    char body[3000];
    memset(body, 'x', sizeof(body)); // older versions of libcurl would ask with "Expect"
    const char *const headers[] = {"Authorization: Bearer key", "X-Mine: 1", NULL};
    assert_int_equal(http_client_ask(client,
                                     &(HttpRequest){.method = "POST",
                                                    .url = url,
                                                    .headers = headers,
                                                    .body = {body, sizeof(body)}},
                                     &answer, &err),
                     STATUS_OK);
    assert_int_equal(answer.status, 201);
    assert_true(str_is(answer.body, "hello"));
    assert_true(str_is(http_answer_header(&answer, "x-this"), "one two"));
    assert_null(http_answer_header(&answer, "X-Thi").ptr);
    assert_null(http_answer_header(&answer, "X-Old").ptr);
    assert_int_equal(answer.retry_after_ms, -1);
    const char *request = server.requests[0];
    assert_int_equal(strncmp(request, "POST /v1/products HTTP/1.1\r\n", 28), 0);
    assert_non_null(strstr(request, "\r\nAuthorization: Bearer key\r\n"));
    assert_non_null(strstr(request, "\r\nX-Mine: 1\r\n"));
    assert_non_null(strstr(request, "\r\nUser-Agent: weir/"));
    assert_non_null(strstr(request, "\r\nContent-Length: 3000\r\n"));
    assert_null(strstr(request, "Expect"));
    http_client_free(client);
}

static void a_connection_is_used_again(void **context)
{
    (void)context;
    server.keeps = true;
    server.answers[0] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    server.answers[1] = "HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nb";
    server.answers[2] = "HTTP/1.1 204 No Content\r\n\r\n";
    run();
    HttpClient *client = client_of(NULL);
    HttpAnswer answer;
    assert_int_equal(ask(client, &answer), STATUS_OK);
    assert_true(str_is(answer.body, "a"));
    assert_int_equal(ask(client, &answer), STATUS_OK);
    assert_int_equal(answer.status, 404);
    assert_true(str_is(answer.body, "b"));
    assert_int_equal(
        http_client_ask(client, &(HttpRequest){.method = "DELETE", .url = url}, &answer, &err),
        STATUS_OK);
    assert_int_equal(answer.status, 204);
    assert_int_equal(answer.body.len, 0);
    assert_int_equal(strncmp(server.requests[2], "DELETE ", 7), 0);
    http_client_free(client);
}

static void *cancel_soon(void *cancel)
{
    (void)usleep(400000); // by then there is a connection, and nothing else to wait for
    cancel_set(cancel);
    return NULL;
}

static void a_cancel_ends_the_wait_at_once(void **context)
{
    (void)context;
    run(); // it never answers
    Cancel cancel;
    assert_int_equal(cancel_init(&cancel, &err), STATUS_OK);
    HttpClient *client = client_of(&cancel);
    pthread_t thread;
    HttpAnswer answer;
    int64_t began_ms = clock_monotonic_ms();
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancel), 0);
    assert_int_equal(ask(client, &answer), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_CANCELLED);
    assert_true(clock_monotonic_ms() - began_ms < 950);
    (void)pthread_join(thread, NULL);
    http_client_free(client);
    cancel_done(&cancel);
}

static void no_answer_may_come_later(void **context)
{
    (void)context;
    server.answers[0] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    server.answers[1] = "";
    run(); // the third gets none
    const HttpRequest request = {.method = "GET", .url = url};
    assert_refused(&request, ERROR_TRANSIENT, "GET http://127.0.0.1:");
    assert_refused(&request, ERROR_TRANSIENT, "GET http://127.0.0.1:");
    HttpClient *client = http_client_new(
        &(HttpClientOptions){.connect_timeout_ms = 2000, .timeout_ms = 100, .answer_max = 1000});
    HttpAnswer answer;
    assert_int_equal(ask(client, &answer), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_TRANSIENT);
    http_client_free(client);
}

static void no_connection_may_come_later(void **context)
{
    (void)context;
    assert_int_equal(shutdown(server.fd, SHUT_RDWR), 0); // its port refuses from now on
    assert_refused(&(HttpRequest){.method = "GET", .url = url}, ERROR_TRANSIENT, "onnect");
}

static void an_answer_has_a_limit(void **context)
{
    (void)context;
    static char long_answer[3000];
    (void)snprintf(long_answer, sizeof(long_answer), "HTTP/1.1 200 OK\r\n\r\n%02000d", 0);
    server.answers[0] = long_answer;
    run();
    assert_refused(&(HttpRequest){.method = "GET", .url = url}, ERROR_DATA,
                   "the answer is larger than 1000 bytes");
}

static void what_is_no_address_is_refused(void **context)
{
    (void)context;
    assert_refused(&(HttpRequest){.method = "GET", .url = "file:///etc/passwd"}, ERROR_CONFIG,
                   "is no address");
    assert_refused(&(HttpRequest){.method = "GET", .url = "https://user:pw@ho st/"}, ERROR_CONFIG,
                   "is no address");
    assert_null(strstr(err.message, "pw"));
}

static void a_status_says_what_to_do(void **context)
{
    (void)context;
    static const struct {
        int status;
        ErrorKind kind;
    } cases[] = {
        {301, ERROR_CONFIG},    {400, ERROR_DATA},      {401, ERROR_CONFIG},
        {402, ERROR_DATA},      {403, ERROR_CONFIG},    {404, ERROR_DATA},
        {408, ERROR_TRANSIENT}, {409, ERROR_TRANSIENT}, {429, ERROR_TRANSIENT},
        {500, ERROR_TRANSIENT}, {503, ERROR_TRANSIENT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        HttpAnswer answer = {.status = cases[i].status};
        assert_int_equal(http_answer_check(&answer, "POST /v1/products", STR("no"), &err),
                         STATUS_FAIL);
        assert_int_equal(err.kind, cases[i].kind);
    }
    assert_string_equal(err.message, "POST /v1/products: the answer is 503: no");
    assert_int_equal(http_answer_check(&(HttpAnswer){.status = 200}, "GET", STR(""), &err),
                     STATUS_OK);
}

static void when_to_come_again_is_read(void **context)
{
    (void)context;
    server.answers[0] =
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\nContent-Length: 0\r\n\r\n";
    // By the server's clock; it is past; by ours, as it does not say what its clock is.
    server.answers[1] = "HTTP/1.1 503 No\r\nRetry-After: Sat, 01 Jan 2000 00:01:10 GMT\r\n"
                        "Date: Fri, 31 Dec 1999 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n";
    server.answers[2] = "HTTP/1.1 503 No\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n"
                        "Content-Length: 0\r\n\r\n";
    server.answers[3] = "HTTP/1.1 503 No\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n";
    run();
    HttpClient *client = client_of(NULL);
    HttpAnswer answer;
    assert_int_equal(ask(client, &answer), STATUS_OK);
    assert_int_equal(answer.retry_after_ms, 7000);
    assert_int_equal(ask(client, &answer), STATUS_OK);
    assert_int_equal(answer.retry_after_ms, 71000);
    assert_int_equal(ask(client, &answer), STATUS_OK);
    assert_int_equal(answer.retry_after_ms, 0);
    assert_int_equal(ask(client, &answer), STATUS_OK);
    assert_int_equal(answer.retry_after_ms, -1);
    http_client_free(client);
}

static bool is_busy(const HttpAnswer *answer)
{
    return answer->status >= 500;
}

#define ANSWER_200 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static void asked_again_until_there_is_an_answer(void **context)
{
    (void)context;
    server.answers[0] = "HTTP/1.1 503 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    server.answers[1] = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut";
    server.answers[2] = ANSWER_200;
    run();
    HttpClient *client = client_of(NULL);
    HttpAnswer answer;
    const HttpRequest request = {.method = "POST", .url = url, .body = STR("x")};
    int64_t began_ms = clock_monotonic_ms();
    assert_int_equal(
        http_client_ask_again(client, &request, &(HttpRetry){.is_wanted = is_busy}, &answer, &err),
        STATUS_OK);
    assert_int_equal(answer.status, 200);
    assert_in_range(clock_monotonic_ms() - began_ms, 1000, 20000);
    assert_string_equal(server.requests[0] + 100, server.requests[2] + 100);
    http_client_free(client);
}

static void nobody_is_asked_for_ever(void **context)
{
    (void)context;
    for (size_t i = 0; i < ANSWERS_MAX; i++) {
        server.answers[i] = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    }
    run();
    HttpClient *client = client_of(NULL);
    HttpAnswer answer;
    const HttpRequest request = {.method = "POST", .url = url, .body = STR("x"), .shown = "it"};
    assert_int_equal(
        http_client_ask_again(client, &request, &(HttpRetry){.is_wanted = is_busy}, &answer, &err),
        STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_TRANSIENT);
    assert_string_equal(err.message, "POST it: the answer is 503, and wants to be asked again");
    http_client_free(client);
}

static void a_pause_is_ended_at_once(void **context)
{
    (void)context;
    server.answers[0] = "HTTP/1.1 503 No\r\nRetry-After: 999\r\nContent-Length: 0\r\n\r\n";
    run();
    Cancel cancel;
    assert_int_equal(cancel_init(&cancel, &err), STATUS_OK);
    HttpClient *client = client_of(NULL); // which is not told
    HttpAnswer answer;
    const HttpRequest request = {.method = "POST", .url = url, .body = STR("x")};
    const HttpRetry retry = {.is_wanted = is_busy, .pause = {.cancel = &cancel}};
    cancel_set(&cancel);
    assert_int_equal(http_client_ask_again(client, &request, &retry, &answer, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_CANCELLED);
    http_client_free(client);
    cancel_done(&cancel);
}

static void the_end_of_an_answer_can_be_passed_over(void **context)
{
    (void)context;
    server.answers[0] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
    run();
    HttpClient *client = http_client_new(&(HttpClientOptions){
        .connect_timeout_ms = 2000, .timeout_ms = 5000, .answer_max = 4, .cuts_answer = true});
    HttpAnswer answer;
    assert_int_equal(ask(client, &answer), STATUS_OK);
    assert_true(str_is(answer.body, "0123"));
    http_client_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_sent_and_what_comes_back, start, stop),
        cmocka_unit_test_setup_teardown(a_connection_is_used_again, start, stop),
        cmocka_unit_test_setup_teardown(a_cancel_ends_the_wait_at_once, start, stop),
        cmocka_unit_test_setup_teardown(no_answer_may_come_later, start, stop),
        cmocka_unit_test_setup_teardown(no_connection_may_come_later, start, stop),
        cmocka_unit_test_setup_teardown(an_answer_has_a_limit, start, stop),
        cmocka_unit_test_setup_teardown(when_to_come_again_is_read, start, stop),
        cmocka_unit_test_setup_teardown(asked_again_until_there_is_an_answer, start, stop),
        cmocka_unit_test_setup_teardown(nobody_is_asked_for_ever, start, stop),
        cmocka_unit_test_setup_teardown(a_pause_is_ended_at_once, start, stop),
        cmocka_unit_test_setup_teardown(the_end_of_an_answer_can_be_passed_over, start, stop),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_status_says_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
