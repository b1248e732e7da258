// Requests over HTTP and HTTPS (libcurl), one at a time. Connections are kept and used again.
// Certificates are always checked; redirects are not followed: what is sent has secrets in it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"
#include "io/pause.h"

typedef struct HttpClient HttpClient;

typedef struct HttpClientOptions {
    int64_t connect_timeout_ms; // until there is a connection
    int64_t timeout_ms;         // until all of the answer is there
    size_t answer_max;          // bytes of an answer's body
    bool cuts_answer;           // what is behind them is passed over, and no error
    const Cancel *cancel;       // may be NULL
    const char *ca_file;        // certificates to trust instead of this machine's; NULL: those
} HttpClientOptions;

typedef struct HttpRequest {
    const char *method;         // "GET"
    const char *url;            // "https://…"
    const char *const *headers; // "Name: value"; NULL-terminated, or NULL
    Str body;                   // ptr NULL: none
    const char *shown;          // what messages call the URL, which may have a secret; NULL: it
} HttpRequest;

/** Valid until the client's next request. */
typedef struct HttpAnswer {
    int status; // 200
    Str body;
    Str headers;            // the lines, as they came
    int64_t retry_after_ms; // of Retry-After, seconds or a date; -1: it says nothing
    int64_t date_s;         // of Date, since 1970; -1: it says nothing
} HttpAnswer;

RETURNS_NONNULL HttpClient *http_client_new(const HttpClientOptions *options);

/** Accepts NULL. */
void http_client_free(HttpClient *client);

/**
 * STATUS_OK: there is an answer, whatever it says. ERROR_TRANSIENT: no connection, no answer in
 * time, or one that breaks off; ERROR_CONFIG: the URL is none; ERROR_DATA: the answer is larger
 * than answer_max; ERROR_CANCELLED. What was asked for may have been done all the same.
 */
MUST_CHECK Status http_client_ask(HttpClient *client, const HttpRequest *request, HttpAnswer *ret,
                                  Error *err);

/** How a request is made again. */
typedef struct HttpRetry {
    bool (*is_wanted)(const HttpAnswer *answer); // it has to be asked again
    Pause pause;
} HttpRetry;

/**
 * http_client_ask(), again when there is no answer or one that wants that: after as long as it says
 * (Retry-After), or ever longer. STATUS_OK: an answer, whatever it says but that. ERROR_TRANSIENT:
 * no luck after some tries.
 */
MUST_CHECK Status http_client_ask_again(HttpClient *client, const HttpRequest *request,
                                        const HttpRetry *retry, HttpAnswer *ret, Error *err);

/** The value of a header of @answer, whatever the case of its name; ptr NULL: there is none. */
Str http_answer_header(const HttpAnswer *answer, const char *name);

/**
 * What a status says: 2xx is fine. ERROR_TRANSIENT: 408, 409, 425, 429 and 5xx; ERROR_CONFIG: 401,
 * 403, and 3xx, as the address is another one; ERROR_DATA: any other. @what says what was asked
 * for, @why what the answer's body says of it; "": nothing.
 */
MUST_CHECK Status http_answer_check(const HttpAnswer *answer, const char *what, Str why,
                                    Error *err);
