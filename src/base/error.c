#include "base/error.h"

#include <assert.h>
#include <stdarg.h>

#include "base/secret.h"

void error_set_at(Error *err, ErrorKind kind, int os_errno, const char *file, int line,
                  const char *format, ...)
{
    assert(format != NULL);
    if (err == NULL) {
        return;
    }
    *err = (Error){.kind = kind, .os_errno = os_errno, .file = file, .line = line};
    va_list args;
    va_start(args, format);
    secret_format(err->message, sizeof(err->message), format, args);
    va_end(args);
    if (os_errno != 0) {
        size_t used = strlen(err->message);
        char text[128];
        // The GNU strerror_r, which may return a constant instead of filling the buffer.
        const char *reason = strerror_r(os_errno, text, sizeof(text));
        (void)snprintf(err->message + used, sizeof(err->message) - used, ": %s", reason);
    }
}

void error_add_context(Error *err, const char *format, ...)
{
    assert(format != NULL);
    if (err == NULL) {
        return;
    }
    char context[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    secret_format(context, sizeof(context), format, args);
    va_end(args);

    char whole[ERROR_MESSAGE_MAX * 2 + 4];
    (void)snprintf(whole, sizeof(whole), "%s: %s", context, err->message);
    size_t len = MIN(strlen(whole), sizeof(err->message) - 1);
    memcpy(err->message, whole, len);
    err->message[len] = '\0';
}

void error_set_hint(Error *err, const char *format, ...)
{
    assert(format != NULL);
    if (err == NULL) {
        return;
    }
    va_list args;
    va_start(args, format);
    secret_format(err->hint, sizeof(err->hint), format, args);
    va_end(args);
}

const char *error_kind_name(ErrorKind kind)
{
    switch (kind) {
    case ERROR_TRANSIENT:
        return "transient";
    case ERROR_AGAIN:
        return "again";
    case ERROR_DATA:
        return "data";
    case ERROR_CONFIG:
        return "config";
    case ERROR_FATAL:
        return "fatal";
    case ERROR_CANCELLED:
        return "cancelled";
    }
    return "unknown";
}
