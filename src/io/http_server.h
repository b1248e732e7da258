// A small HTTP server: for looking at a running process, by GET; for taking a connection to it
// over, for something else than HTTP; and for requests with a body, by POST, which may be answered
// later by another thread.
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "io/http_local.h"

typedef struct HttpServer HttpServer;

/**
 * Answer a GET of @path: fill @body and return the status code. @ret_type is a Content-Type; it
 * stays borrowed. Thread: the server's; one request at a time.
 */
typedef unsigned (*HttpHandler)(void *context, Str path, Buf *body, const char **ret_type);

/** A connection that was taken over. */
typedef struct HttpStream {
    int fd;      // read, write, poll and shutdown it; http_stream_close() closes it
    int64_t pid; // of who is at the other end; 0: not known
    void *handle;
} HttpStream;

/** @stream is its own from here on, until http_stream_close(). Thread: the server's; may not wait.
 */
typedef void (*HttpTaker)(void *context, const HttpStream *stream);

/** What a UNIX socket is for. */
typedef struct HttpLocal {
    HttpHandler handler;
    HttpTaker taker; // of who asks for HTTP_PROTOCOL
    void *context;
} HttpLocal;

/** A request with a body. */
typedef struct HttpPost HttpPost;

/**
 * Take @post, which is answered by http_post_answer(), once, at some time before the server is
 * stopped. Thread: the server's; may not wait.
 */
typedef void (*HttpPoster)(void *context, HttpPost *post);

/** What an address is for. */
typedef struct HttpService {
    HttpHandler handler;
    HttpPoster poster; // NULL: GET only
    void *context;
} HttpService;

/**
 * Listen on @address: "host:port", "[::1]:port", or ":port" for loopback. ERROR_CONFIG when that
 * cannot be had.
 */
MUST_CHECK Status http_start(Str address, const HttpService *service, HttpServer **ret, Error *err);

/**
 * Listen on a UNIX socket of that @name in @directory, for this user only; one that is there is
 * taken away. The way there may be longer than the address of a socket.
 */
MUST_CHECK Status http_start_local(const char *directory, const char *name, const HttpLocal *local,
                                   HttpServer **ret, Error *err);

/** Without a query. Valid until it is answered. */
Str http_post_path(const HttpPost *post);

/** At most LIMIT_HTTP_BODY. Valid until it is answered. */
Str http_post_body(const HttpPost *post);

/** Empty: there is no such field, or it is empty. Thread: that of the poster, while it is called.
 */
Str http_post_field(const HttpPost *post, const char *name);

/** Keep @note with it, a copy, for whoever has it later. Once. Thread: that of the poster, while it
 *  is called. */
void http_post_note(HttpPost *post, Str note);

/** Empty: there is none. Valid until it is answered. */
Str http_post_noted(const HttpPost *post);

/** @type: a Content-Type. Both are copied. @post is gone. Thread: any. */
void http_post_answer(HttpPost *post, unsigned code, const char *type, Str body);

/** Before its server is stopped. Thread: any. */
void http_stream_close(const HttpStream *stream);

/** Waits for requests that are being answered; all posts have been. Accepts NULL. */
void http_stop(HttpServer *server);
