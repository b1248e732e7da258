// The other end of a server on a UNIX socket (http_server.h): a process of this machine is asked.
#pragma once

#include <sys/un.h>

#include "base/buf.h"
#include "base/error.h"

/** What a connection may be taken over for: the word in HTTP's field Upgrade. */
#define HTTP_PROTOCOL "weir-loan"

/**
 * Ask who listens on the socket @name in @directory for @path, and have what is answered in @body.
 * False: nobody listens. ERROR_TRANSIENT when somebody does and gives no answer within a few
 * seconds.
 */
MUST_CHECK Status http_ask_local(const char *directory, const char *name, const char *path,
                                 bool *ret_listens, Buf *body, Error *err);

/**
 * Ask who listens there to take the connection over. *ret_fd: its end of it, which the caller
 * closes; -1: nobody listens. ERROR_CONFIG when somebody does, and does not know of it.
 */
MUST_CHECK Status http_take_local(const char *directory, const char *name, int *ret_fd, Error *err);

/**
 * The address of the socket @name in @directory. It has room for some 100 bytes, and a directory's
 * name may have more: it goes by *ret_directory, a descriptor that the caller closes, and that has
 * to stay open as long as @ret is used. False, with errno: there is none.
 */
MUST_CHECK bool http_local_address(const char *directory, const char *name, int *ret_directory,
                                   struct sockaddr_un *ret);
