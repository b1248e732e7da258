// How a function fails. A fallible function returns Status and takes `Error *err` last; the error
// says in one sentence what happened and, by its kind, what the runner should do next.
// Library code returns errors; only the runner and the commands log them.
#pragma once

#include <errno.h>
#include <stdbool.h>

#include "base/macros.h"

typedef enum Status {
    STATUS_OK,
    STATUS_AGAIN, // not now: nothing was done, nothing is wrong, @err is untouched
    STATUS_FAIL,  // @err says why
} Status;

typedef enum ErrorKind {
    ERROR_TRANSIENT, // may work later: retry with backoff
    ERROR_AGAIN,     // what was begun was given up, and its reason seen to: begin again at once
    ERROR_DATA,      // this change can never be delivered as it is
    ERROR_CONFIG,    // the user must change something: a setting, a URL, a table, a permission
    ERROR_FATAL,     // a broken promise (bug, failed fsync, corrupt state): stop
    ERROR_CANCELLED, // the cancel token was set: somebody asked us to give up
} ErrorKind;

enum { ERROR_MESSAGE_MAX = 2048 };

/** Lives in the caller's frame, so that reporting an error cannot fail. */
typedef struct Error {
    ErrorKind kind;
    int os_errno;     // 0 when no system call was involved
    char sqlstate[6]; // "" when no SQL server was involved
    const char *file; // where it was raised
    int line;
    char message[ERROR_MESSAGE_MAX]; // lower case, no full stop, names in quotes
    char hint[ERROR_MESSAGE_MAX]; // what the user can do about it; "" when there is nothing to say
} Error;

/** STATUS_FAIL, seen to be it by the compiler and the analyzers wherever an error is set. */
static inline Status status_fail(void)
{
    return STATUS_FAIL;
}

/**
 * Set @err (NULL is allowed) and return STATUS_FAIL, for `return error_set(...)`. Too long a
 * message is cut: an error always gets through. In the arguments of this and of the functions
 * below, what may be a password is hidden (base/secret.h).
 */
#define error_set(err, kind, ...) error_set_errno(err, kind, 0, __VA_ARGS__)

/** The same; ": <strerror>" is appended to the message, unless @os_errno is 0. */
#define error_set_errno(err, kind, os_errno, ...) \
    (error_set_at(err, kind, os_errno, __FILE__, __LINE__, __VA_ARGS__), status_fail())

/** Put "<context>: " before the message. Returns STATUS_FAIL. */
#define error_wrap(err, ...) (error_add_context(err, __VA_ARGS__), status_fail())

/** Say what the user can do: whole sentences, exact SQL where SQL mends it. Returns STATUS_FAIL. */
#define error_hint(err, ...) (error_set_hint(err, __VA_ARGS__), status_fail())

// Called through the macros above; @err may be NULL in each.
void error_set_at(Error *err, ErrorKind kind, int os_errno, const char *file, int line,
                  const char *format, ...) PRINTF_LIKE(6, 7);
void error_add_context(Error *err, const char *format, ...) PRINTF_LIKE(2, 3);
void error_set_hint(Error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/** "transient", "data", … for logs. */
const char *error_kind_name(ErrorKind kind);
