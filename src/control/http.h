// A small HTTP server for looking at a running process: GET only; and for taking a connection to it
// over, for something else than HTTP.
#pragma once

#include "base/buf.h"
#include "base/error.h"

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

/** What a connection may be taken over for: the word in HTTP's field Upgrade. */
#define HTTP_PROTOCOL "weir-loan"

/**
 * Listen on @address: "host:port", "[::1]:port", or ":port" for loopback. ERROR_CONFIG when that
 * cannot be had.
 */
MUST_CHECK Status http_start(Str address, HttpHandler handler, void *context, HttpServer **ret,
                             Error *err);

/**
 * Listen on a UNIX socket of that @name in @directory, for this user only; one that is there is
 * taken away. The way there may be longer than the address of a socket.
 */
MUST_CHECK Status http_start_local(const char *directory, const char *name, const HttpLocal *local,
                                   HttpServer **ret, Error *err);

/**
 * Ask who listens there for @path, and have what is answered in @body. False: nobody listens.
 * ERROR_TRANSIENT when somebody does and gives no answer within a few seconds.
 */
MUST_CHECK Status http_ask_local(const char *directory, const char *name, const char *path,
                                 bool *ret_listens, Buf *body, Error *err);

/**
 * Ask who listens there to take the connection over. *ret_fd: its end of it, which the caller
 * closes; -1: nobody listens. ERROR_CONFIG when somebody does, and does not know of it.
 */
MUST_CHECK Status http_take_local(const char *directory, const char *name, int *ret_fd, Error *err);

/** Before its server is stopped. Thread: any. */
void http_stream_close(const HttpStream *stream);

/** Waits for requests that are being answered. Accepts NULL. */
void http_stop(HttpServer *server);
