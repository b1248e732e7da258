// A small HTTP server for looking at a running process: GET only.
#pragma once

#include "base/buf.h"
#include "base/error.h"

typedef struct HttpServer HttpServer;

/**
 * Answer a GET of @path: fill @body and return the status code. @ret_type is a Content-Type; it
 * stays borrowed. Thread: the server's; one request at a time.
 */
typedef unsigned (*HttpHandler)(void *context, Str path, Buf *body, const char **ret_type);

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
MUST_CHECK Status http_start_local(const char *directory, const char *name, HttpHandler handler,
                                   void *context, HttpServer **ret, Error *err);

/**
 * Ask who listens there for @path, and have what is answered in @body. False: nobody listens.
 * ERROR_TRANSIENT when somebody does and gives no answer within a few seconds.
 */
MUST_CHECK Status http_ask_local(const char *directory, const char *name, const char *path,
                                 bool *ret_listens, Buf *body, Error *err);

/** Waits for requests that are being answered. Accepts NULL. */
void http_stop(HttpServer *server);
