// Requests as bytes over a socket: what is answered, when, and by whom.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "io/http_server.h"
#include "unit.h"

// What was posted last, until somebody answers it.
typedef struct World {
    HttpServer *server;
    uint16_t port;
    pthread_mutex_t lock;
    pthread_cond_t is_there;
    HttpPost *post;
    bool answers_at_once;
    char field[64];
} World;

static unsigned handle(void *context, Str path, Buf *body, const char **ret_type)
{
    (void)context;
    (void)ret_type;
    buf_printf(body, "got %" STR_FMT, STR_ARG(path));
    return str_is(path, "/missing") ? 404 : 200;
}

static void take(void *context, HttpPost *post)
{
    World *world = context;
    Str field = http_post_field(post, "X-Word");
    (void)snprintf(world->field, sizeof(world->field), "%" STR_FMT, STR_ARG(field));
    if (world->answers_at_once) {
        http_post_answer(post, 200, "text/plain", http_post_body(post));
        return;
    }
    (void)pthread_mutex_lock(&world->lock);
    world->post = post;
    (void)pthread_cond_signal(&world->is_there);
    (void)pthread_mutex_unlock(&world->lock);
}

static HttpPost *wait_for_post(World *world)
{
    (void)pthread_mutex_lock(&world->lock);
    while (world->post == NULL) {
        (void)pthread_cond_wait(&world->is_there, &world->lock);
    }
    HttpPost *post = world->post;
    world->post = NULL;
    (void)pthread_mutex_unlock(&world->lock);
    return post;
}

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

static int start(void **state)
{
    World *world = mem_alloc_zero(sizeof(*world));
    Error err = {0};
    char address[32];
    (void)pthread_mutex_init(&world->lock, NULL);
    (void)pthread_cond_init(&world->is_there, NULL);
    HttpService service = {.handler = handle, .poster = take, .context = world};
    world->port = free_port();
    (void)snprintf(address, sizeof(address), ":%u", world->port);
    assert_int_equal(http_start(str_from(address), &service, &world->server, &err), STATUS_OK);
    *state = world;
    return 0;
}

static int stop(void **state)
{
    World *world = *state;
    http_stop(world->server);
    (void)pthread_mutex_destroy(&world->lock);
    (void)pthread_cond_destroy(&world->is_there);
    mem_free(world);
    return 0;
}

static int call(const World *world, const char *request, size_t len)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(world->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    for (size_t sent = 0; sent < len;) {
        ssize_t now = send(fd, request + sent, len - sent, MSG_NOSIGNAL);
        if (now <= 0) {
            break; // it has been refused already
        }
        sent += (size_t)now;
    }
    return fd;
}

// Until the server closes: requests ask for that.
static const char *hear(int fd)
{
    static char answer[4096];
    size_t len = 0;
    ssize_t got;
    while (len < sizeof(answer) - 1 &&
           (got = recv(fd, answer + len, sizeof(answer) - 1 - len, 0)) > 0) {
        len += (size_t)got;
    }
    answer[len] = '\0';
    (void)close(fd);
    return answer;
}

static const char *ask(const World *world, const char *request)
{
    return hear(call(world, request, strlen(request)));
}

#define END "Host: x\r\nConnection: close\r\n"

static void a_get_is_handled(void **state)
{
    const World *world = *state;
    const char *answer = ask(world, "GET /here?a=b HTTP/1.1\r\n" END "\r\n");
    assert_memory_equal(answer, "HTTP/1.1 200", 12);
    assert_non_null(strstr(answer, "\r\n\r\ngot /here"));
    assert_null(strstr(answer, "a=b"));
    assert_memory_equal(ask(world, "GET /missing HTTP/1.1\r\n" END "\r\n"), "HTTP/1.1 404", 12);
}

static void a_post_is_answered_by_another_thread(void **state)
{
    World *world = *state;
    const char *request = "POST /shop?x=1 HTTP/1.1\r\n" END "X-Word: abc\r\n"
                          "Content-Length: 5\r\n\r\nhello";
    int fd = call(world, request, strlen(request));
    HttpPost *post = wait_for_post(world);
    assert_true(str_is(http_post_path(post), "/shop"));
    assert_true(str_is(http_post_body(post), "hello"));
    assert_string_equal(world->field, "abc");
    char nothing;
    assert_int_equal(recv(fd, &nothing, 1, MSG_DONTWAIT), -1);
    // Others are not kept waiting meanwhile.
    assert_memory_equal(ask(world, "GET / HTTP/1.1\r\n" END "\r\n"), "HTTP/1.1 200", 12);
    http_post_answer(post, 503, "application/json", STR("{}"));
    const char *answer = hear(fd);
    assert_memory_equal(answer, "HTTP/1.1 503", 12);
    assert_non_null(strstr(answer, "application/json"));
    assert_non_null(strstr(answer, "\r\n\r\n{}"));
}

static void many_wait_side_by_side(void **state)
{
    enum { COUNT = 40 };
    World *world = *state;
    int fds[COUNT];
    HttpPost *posts[COUNT];
    const char *request = "POST /a HTTP/1.1\r\n" END "Content-Length: 1\r\n\r\nx";
    for (int i = 0; i < COUNT; i++) {
        fds[i] = call(world, request, strlen(request));
        posts[i] = wait_for_post(world);
    }
    for (int i = COUNT - 1; i >= 0; i--) {
        http_post_answer(posts[i], 200, "text/plain", STR(""));
    }
    for (int i = 0; i < COUNT; i++) {
        assert_memory_equal(hear(fds[i]), "HTTP/1.1 200", 12);
    }
}

static void an_answer_may_be_there_at_once(void **state)
{
    World *world = *state;
    world->answers_at_once = true;
    for (int i = 0; i < 200; i++) {
        const char *answer = ask(world, "POST /a HTTP/1.1\r\n" END "Content-Length: 4\r\n\r\nbody");
        assert_memory_equal(answer, "HTTP/1.1 200", 12);
        assert_non_null(strstr(answer, "\r\n\r\nbody"));
    }
    const char *answer = ask(world, "POST /a HTTP/1.1\r\n" END "Content-Length: 0\r\n\r\n");
    assert_memory_equal(answer, "HTTP/1.1 200", 12);
    answer = ask(world, "POST /a HTTP/1.1\r\n" END "Transfer-Encoding: chunked\r\n\r\n"
                        "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n");
    assert_non_null(strstr(answer, "\r\n\r\nabcde"));
}

// Whoever has gone meanwhile is no reason to fall over.
static void who_posts_may_go(void **state)
{
    World *world = *state;
    const char *request = "POST /a HTTP/1.1\r\n" END "Content-Length: 1\r\n\r\nx";
    (void)close(call(world, request, strlen(request)));
    HttpPost *post = wait_for_post(world);
    http_post_answer(post, 200, "text/plain", STR("fine"));
    const char *cut = "POST /a HTTP/1.1\r\n" END "Content-Length: 100\r\n\r\nx";
    (void)close(call(world, cut, strlen(cut)));
    assert_memory_equal(ask(world, "GET / HTTP/1.1\r\n" END "\r\n"), "HTTP/1.1 200", 12);
}

static void post_body_of(const World *world, size_t size, const char *head, const char *code)
{
    Buf request;
    buf_init(&request, SIZE_MAX);
    buf_cstr(&request, head);
    for (size_t i = 0; i < size; i++) {
        buf_char(&request, 'x');
    }
    assert_memory_equal(hear(call(world, request.ptr, request.len)), code, strlen(code));
    buf_done(&request);
}

static void what_is_too_large_is_refused(void **state)
{
    World *world = *state;
    world->answers_at_once = true;
    post_body_of(world, LIMIT_HTTP_BODY,
                 "POST /a HTTP/1.1\r\n" END "Content-Length: 1048576\r\n\r\n", "HTTP/1.1 200");
    assert_memory_equal(ask(world, "POST /a HTTP/1.1\r\n" END "Content-Length: 1048577\r\n\r\n"),
                        "HTTP/1.1 413", 12);
    // One that does not say how large it is, is counted.
    const char *chunk = "POST /a HTTP/1.1\r\n" END "Transfer-Encoding: chunked\r\n\r\n"
                        "100001\r\n";
    Buf request;
    buf_init(&request, SIZE_MAX);
    buf_cstr(&request, chunk);
    for (size_t i = 0; i < LIMIT_HTTP_BODY + 1; i++) {
        buf_char(&request, 'x');
    }
    buf_cstr(&request, "\r\n0\r\n\r\n");
    const char *answer = hear(call(world, request.ptr, request.len));
    assert_memory_equal(answer, "HTTP/1.1 413", 12);
    assert_non_null(strstr(answer, "{\"error\":"));
    buf_done(&request);
}

static void other_methods_are_refused(void **state)
{
    const World *world = *state;
    const char *answer = ask(world, "PUT /a HTTP/1.1\r\n" END "Content-Length: 1\r\n\r\nx");
    assert_memory_equal(answer, "HTTP/1.1 405", 12);
    assert_non_null(strstr(answer, "Allow: GET, HEAD, POST"));
    assert_non_null(strstr(answer, "{\"error\":\"only GET and POST\"}"));
}

static void what_is_no_http_is_refused(void **state)
{
    const World *world = *state;
    const char *answer = ask(world, "POST /a HTTP/1.1\r\n" END "Content-Length: abc\r\n\r\n");
    assert_memory_equal(answer, "HTTP/1.1 4", 10);
    answer = ask(world, "what is this\r\n\r\n");
    assert_true(answer[0] == '\0' || strstr(answer, " 400 ") != NULL);
    assert_memory_equal(ask(world, "GET / HTTP/1.1\r\n" END "\r\n"), "HTTP/1.1 200", 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_get_is_handled, start, stop),
        cmocka_unit_test_setup_teardown(a_post_is_answered_by_another_thread, start, stop),
        cmocka_unit_test_setup_teardown(many_wait_side_by_side, start, stop),
        cmocka_unit_test_setup_teardown(an_answer_may_be_there_at_once, start, stop),
        cmocka_unit_test_setup_teardown(who_posts_may_go, start, stop),
        cmocka_unit_test_setup_teardown(what_is_too_large_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(other_methods_are_refused, start, stop),
        cmocka_unit_test_setup_teardown(what_is_no_http_is_refused, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
