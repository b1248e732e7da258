#include "io/http_client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <strings.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

enum { HEADERS_MAX = 64 << 10, STEP_MS = 1000, RETRY_AFTER_MAX_S = 86400 };
enum { SECOND_US = 1000000 };
enum { TRIES = 4, PAUSE_MS = 500, PAUSE_MAX_MS = 8000 };

struct HttpClient {
    HttpClientOptions options;
    CURLM *multi; // for its poll(), which a cancel can end, and its connections
    CURL *easy;
    Buf body;
    Buf headers;
    char reason[CURL_ERROR_SIZE];
};

static void init_once(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

HttpClient *http_client_new(const HttpClientOptions *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, init_once);
    HttpClient *client = mem_alloc_zero(sizeof(*client));
    client->options = *options;
    buf_init(&client->body, options->answer_max);
    buf_init(&client->headers, HEADERS_MAX);
    client->multi = curl_multi_init();
    client->easy = curl_easy_init();
    return client;
}

void http_client_free(HttpClient *client)
{
    if (client != NULL) {
        curl_easy_cleanup(client->easy);
        (void)curl_multi_cleanup(client->multi);
        buf_done(&client->body);
        buf_done(&client->headers);
        mem_free(client);
    }
}

// ---------------------------------------------------------------------------------------------
// What comes in
// ---------------------------------------------------------------------------------------------

// Taking fewer bytes than there are ends the transfer.
static size_t take(Buf *buf, const char *data, size_t len)
{
    buf_bytes(buf, data, len);
    return buf->overflowed ? 0 : len;
}

static size_t take_body(char *data, size_t size, size_t count, void *context)
{
    HttpClient *client = context;
    size_t room = client->options.answer_max - client->body.len;
    size_t len = size * count;
    if (client->options.cuts_answer && len > room) {
        buf_bytes(&client->body, data, room);
        return len;
    }
    return take(&client->body, data, len);
}

static size_t take_header(char *data, size_t size, size_t count, void *context)
{
    HttpClient *client = context;
    if (str_starts_with((Str){data, size * count}, STR("HTTP/"))) {
        buf_reset(&client->headers); // what came before was "100 Continue" and the like
    }
    return take(&client->headers, data, size * count);
}

// ---------------------------------------------------------------------------------------------
// A request
// ---------------------------------------------------------------------------------------------

static struct curl_slist *header_list(const HttpRequest *request)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:"); // no round trip before a body
    for (size_t i = 0; request->headers != NULL && request->headers[i] != NULL; i++) {
        list = curl_slist_append(list, request->headers[i]);
    }
    return list;
}

static void set_up(HttpClient *client, const HttpRequest *request, struct curl_slist *headers)
{
    CURL *easy = client->easy;
    curl_easy_reset(easy); // connections stay
#if LIBCURL_VERSION_NUM >= 0x075500
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    (void)curl_easy_setopt(easy, CURLOPT_URL, request->url);
    (void)curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L); // ".." may be the name of something
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "weir/" WEIR_VERSION);
    (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                           (long)client->options.connect_timeout_ms);
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)client->options.timeout_ms);
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, client->reason);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, client);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, client);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    if (client->options.ca_file != NULL) {
        (void)curl_easy_setopt(easy, CURLOPT_CAINFO, client->options.ca_file);
    }
    if (request->body.ptr != NULL) {
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.ptr);
    }
    (void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

static bool is_finished(HttpClient *client, CURLcode *ret)
{
    int left;
    const CURLMsg *message = curl_multi_info_read(client->multi, &left);
    if (message == NULL || message->msg != CURLMSG_DONE) {
        return false;
    }
    *ret = message->data.result;
    return true;
}

// CURLE_ABORTED_BY_CALLBACK: cancelled.
static CURLcode transfer(HttpClient *client)
{
    const Cancel *cancel = client->options.cancel;
    struct curl_waitfd fd = {.fd = cancel_fd(cancel), .events = CURL_WAIT_POLLIN};
    CURLcode code = CURLE_OK;
    if (curl_multi_add_handle(client->multi, client->easy) != CURLM_OK) {
        return CURLE_FAILED_INIT;
    }
    for (;;) {
        int running;
        if (cancel_is_set(cancel)) {
            code = CURLE_ABORTED_BY_CALLBACK;
            break;
        }
        if (curl_multi_perform(client->multi, &running) != CURLM_OK) {
            code = CURLE_FAILED_INIT;
            break;
        }
        if (is_finished(client, &code)) {
            break;
        }
        (void)curl_multi_poll(client->multi, &fd, cancel == NULL ? 0 : 1, STEP_MS, NULL);
    }
    (void)curl_multi_remove_handle(client->multi, client->easy);
    return code;
}

static Status explain(const HttpClient *client, const HttpRequest *request, CURLcode code,
                      Error *err)
{
    const char *reason = client->reason[0] != '\0' ? client->reason : curl_easy_strerror(code);
    const char *url = request->shown != NULL ? request->shown : request->url;
    switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
        return error_set(err, ERROR_CANCELLED, "interrupted");
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        error_set(err, ERROR_CONFIG, "\"%s\" is no address: %s", url, reason);
        return error_hint(err, "It begins with https:// or http://.");
    case CURLE_PEER_FAILED_VERIFICATION:
        error_set(err, ERROR_TRANSIENT, "%s %s: %s", request->method, url, reason);
        return client->options.ca_file != NULL
                   ? error_hint(err,
                                "Nothing was sent. The certificates that are trusted are those "
                                "of ca_file.")
                   : error_hint(err, "Nothing was sent. The certificates that this machine trusts "
                                     "are those of its package ca-certificates.");
    case CURLE_SSL_CACERT_BADFILE:
        return error_set(err, ERROR_CONFIG, "\"%s\" has no certificates that can be read: %s",
                         client->options.ca_file == NULL ? "" : client->options.ca_file, reason);
    case CURLE_WRITE_ERROR:
        return error_set(err, ERROR_DATA, "%s %s: the answer is larger than %zu bytes",
                         request->method, url, client->options.answer_max);
    default:
        return error_set(err, ERROR_TRANSIENT, "%s %s: %s", request->method, url, reason);
    }
}

// Seconds since 1970; -1: there is none.
static int64_t date(const HttpAnswer *answer, const char *name)
{
    char text[64];
    Str value = http_answer_header(answer, name);
    if (value.ptr == NULL || value.len >= sizeof(text)) {
        return -1;
    }
    (void)snprintf(text, sizeof(text), "%" STR_FMT, STR_ARG(value));
    return curl_getdate(text, NULL);
}

// A date is by the server's clock, which its answer tells; one that has passed is now.
static int64_t retry_after(const HttpAnswer *answer)
{
    Str value = http_answer_header(answer, "Retry-After");
    uint64_t seconds;
    if (value.ptr == NULL || !str_to_uint64(value, &seconds)) {
        int64_t until_s = date(answer, "Retry-After");
        if (until_s < 0) {
            return -1;
        }
        int64_t now_s = answer->date_s >= 0 ? answer->date_s : clock_wall_us() / SECOND_US;
        seconds = (uint64_t)MAX(until_s - now_s, 0);
    }
    return (int64_t)MIN(seconds, (uint64_t)RETRY_AFTER_MAX_S) * 1000;
}

Status http_client_ask(HttpClient *client, const HttpRequest *request, HttpAnswer *ret, Error *err)
{
    buf_reset(&client->body);
    buf_reset(&client->headers);
    client->reason[0] = '\0';
    struct curl_slist *headers = header_list(request);
    set_up(client, request, headers);
    CURLcode code = transfer(client);
    long status = 0;
    (void)curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    if (code != CURLE_OK) {
        return explain(client, request, code, err);
    }
    *ret = (HttpAnswer){.status = (int)status,
                        .body = buf_view(&client->body),
                        .headers = buf_view(&client->headers)};
    ret->date_s = date(ret, "Date");
    ret->retry_after_ms = retry_after(ret);
    return STATUS_OK;
}

// Half of it is chance, so that those who were sent away together do not come back together.
static int64_t pause_ms(int tries, int64_t least_ms)
{
    int64_t most = MIN((int64_t)PAUSE_MS << tries, (int64_t)PAUSE_MAX_MS);
    int64_t chosen = most / 2 + clock_monotonic_us() % (most / 2 + 1);
    return MAX(chosen, least_ms);
}

Status http_client_ask_again(HttpClient *client, const HttpRequest *request, const HttpRetry *retry,
                             HttpAnswer *ret, Error *err)
{
    for (int tries = 0; tries < TRIES; tries++) {
        Status status = http_client_ask(client, request, ret, err);
        if (status == STATUS_OK && !retry->is_wanted(ret)) {
            return STATUS_OK;
        }
        if (status == STATUS_OK) {
            error_set(err, ERROR_TRANSIENT, "%s %s: the answer is %d, and wants to be asked again",
                      request->method, request->shown != NULL ? request->shown : request->url,
                      ret->status);
        } else if (err->kind != ERROR_TRANSIENT) {
            return STATUS_FAIL;
        }
        // Also behind the last try: whoever begins anew does not know how long to wait.
        Error cancelled;
        int64_t least_ms = status == STATUS_OK ? ret->retry_after_ms : 0;
        if (pause_for(&retry->pause, pause_ms(tries, least_ms) * 1000, &cancelled) != STATUS_OK) {
            *err = cancelled;
            return STATUS_FAIL;
        }
    }
    return STATUS_FAIL;
}

// ---------------------------------------------------------------------------------------------
// Answers
// ---------------------------------------------------------------------------------------------

Str http_answer_header(const HttpAnswer *answer, const char *name)
{
    size_t len = strlen(name);
    Str rest = answer->headers;
    Str line;
    while (str_split(&rest, '\n', &line)) {
        if (line.len > len && line.ptr[len] == ':' && strncasecmp(line.ptr, name, len) == 0) {
            return str_trim((Str){line.ptr + len + 1, line.len - len - 1});
        }
    }
    return (Str){0};
}

static ErrorKind kind_of(int status)
{
    switch (status) {
    case 401:
    case 403:
        return ERROR_CONFIG;
    case 408:
    case 409:
    case 425:
    case 429:
        return ERROR_TRANSIENT;
    default:
        break;
    }
    if (status >= 500) {
        return ERROR_TRANSIENT;
    }
    return status >= 400 ? ERROR_DATA : ERROR_CONFIG;
}

Status http_answer_check(const HttpAnswer *answer, const char *what, Str why, Error *err)
{
    int status = answer->status;
    if (status >= 200 && status < 300) {
        return STATUS_OK;
    }
    error_set(err, kind_of(status), "%s: the answer is %d%s%" STR_FMT, what, status,
              why.len > 0 ? ": " : "", STR_ARG(why));
    if (status >= 300 && status < 400) {
        Str to = http_answer_header(answer, "Location");
        return error_hint(err, "Redirects are not followed; this one is to \"%" STR_FMT "\".",
                          STR_ARG(to));
    }
    return STATUS_FAIL;
}
