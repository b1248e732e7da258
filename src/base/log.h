// Structured log lines: a constant message and fields, as text or JSON, one write() a line.
// A field that does not fit into a line of 16 kB is left out.
// A LogScope adds its field to every line written under it: pipeline -> route -> table.
// Never log row data. In fields of text, what may be a password is hidden (base/secret.h).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

typedef enum LogLevel { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG } LogLevel;

typedef enum LogFormat { LOG_TEXT, LOG_JSON } LogFormat;

typedef struct LogScope {
    const struct LogScope *parent;
    const char *key;
    Str value;
} LogScope;

typedef enum LogFieldKind {
    LOG_FIELD_END,
    LOG_FIELD_STR,
    LOG_FIELD_MESSAGE,
    LOG_FIELD_INT,
} LogFieldKind;

typedef struct LogField {
    LogFieldKind kind;
    const char *key;
    Str text;
    int64_t number;
} LogField;

#define LOG_STR(name, value)  ((LogField){.kind = LOG_FIELD_STR, .key = (name), .text = (value)})
#define LOG_CSTR(name, value) LOG_STR(name, str_from(value))
/** The words of an Error: secrets are hidden already, and what looks like one is advice. */
#define LOG_MESSAGE(name, value) \
    ((LogField){.kind = LOG_FIELD_MESSAGE, .key = (name), .text = str_from(value)})
#define LOG_INT(name, value) \
    ((LogField){.kind = LOG_FIELD_INT, .key = (name), .number = (int64_t)(value)})

/** Set once at start, before threads exist. */
void log_setup(LogLevel level, LogFormat format);

/** Whoever writes to stderr by itself has to know. */
bool log_is_json(void);

/** Called with true before a line and false after it, under the log's lock: lets the progress
 *  display step aside on a terminal. NULL removes it. Thread: any. */
void log_set_guard(void (*guard)(void *context, bool writing), void *context);

/** Thread: any. Call through the macros below. */
void log_write(LogLevel level, const LogScope *scope, const char *message, const LogField *fields);

/** An error with its hint as one line of level LOG_ERROR (or LOG_WARN when it will be retried). */
void log_failure(LogLevel level, const LogScope *scope, const char *message, const Error *err);

/** A line that may come again and again, as a failing attempt does. Zeroed: it never came. */
typedef struct LogRepeat {
    uint64_t hash; // of its text
    int64_t times; // in a row
    int64_t unsaid;
    int64_t last_ms;
    int64_t pause_ms;
    int64_t due_ms;
} LogRepeat;

/**
 * Whether to say @text now: the first five times, then after pauses that double from a minute to
 * an hour. *ret_times: how often it came since it was last said, this time included. Another text
 * starts anew, and so does the same after ten quiet minutes.
 */
bool log_repeat_is_due(LogRepeat *repeat, Str text, int64_t now_ms, int64_t *ret_times);

#define log_at(level, scope, message, ...) \
    log_write(level, scope, message, (const LogField[]){__VA_ARGS__ __VA_OPT__(, ){0}})
#define log_error(scope, ...) log_at(LOG_ERROR, scope, __VA_ARGS__)
#define log_warn(scope, ...)  log_at(LOG_WARN, scope, __VA_ARGS__)
#define log_info(scope, ...)  log_at(LOG_INFO, scope, __VA_ARGS__)
#define log_debug(scope, ...) log_at(LOG_DEBUG, scope, __VA_ARGS__)

/** Notice.tell of whoever has a log: @message is a warning. @context: its LogScope. */
static inline void log_notice(void *context, const char *message)
{
    log_warn(context, message);
}
