#include "base/log.h"

#include <assert.h>
#include <pthread.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/secret.h"
#include "base/utf8.h"

enum {
    LINE_MAX_BYTES = 16 * 1024,
    LINE_END_BYTES = 2,
    REPEAT_SAID = 5,
    REPEAT_PAUSE_MS = 60 * 1000,
    REPEAT_PAUSE_MS_MAX = 60 * 60 * 1000,
    REPEAT_QUIET_MS = 10 * 60 * 1000,
};

static LogLevel log_level = LOG_INFO;
static LogFormat log_format = LOG_TEXT;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*log_guard)(void *context, bool writing);
static void *log_guard_context;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_setup(LogLevel level, LogFormat format)
{
    log_level = level;
    log_format = format;
}

bool log_is_json(void)
{
    return log_format == LOG_JSON;
}

void log_set_guard(void (*guard)(void *context, bool writing), void *context)
{
    (void)pthread_mutex_lock(&log_lock);
    log_guard = guard;
    log_guard_context = context;
    (void)pthread_mutex_unlock(&log_lock);
}

static void quoted(Buf *line, Str text)
{
    buf_char(line, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        size_t len = utf8_character(text.ptr + i, text.len - i);
        if (c == '"' || c == '\\') {
            buf_char(line, '\\');
            buf_char(line, (char)c);
        } else if (c == '\n') {
            buf_cstr(line, "\\n");
        } else if (c < 0x20) {
            buf_printf(line, "\\u%04x", c);
        } else if (len == 0) { // a server's words before it knows the encoding, a file's name
            buf_cstr(line, "\xef\xbf\xbd");
        } else {
            buf_bytes(line, text.ptr + i, len);
            i += len - 1;
        }
    }
    buf_char(line, '"');
}

static bool is_plain(Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\') {
            return false;
        }
    }
    return text.len > 0;
}

// A field that did not fit would leave half a line.
static void drop_unfinished(Buf *line, size_t before)
{
    if (line->overflowed) {
        line->len = before;
        line->overflowed = false;
    }
}

static void field_text(Buf *line, const char *key, Str value)
{
    size_t before = line->len;
    if (log_format == LOG_JSON) {
        buf_char(line, ',');
        quoted(line, str_from(key));
        buf_char(line, ':');
        quoted(line, value);
    } else {
        buf_printf(line, " %s=", key);
        if (is_plain(value)) {
            buf_str(line, value);
        } else {
            quoted(line, value);
        }
    }
    drop_unfinished(line, before);
}

static void field_hidden(Buf *line, const char *key, Str value)
{
    CLEANUP(buf_done) Buf shown;
    buf_init(&shown, LINE_MAX_BYTES);
    secret_hide(&shown, value);
    if (!shown.overflowed) {
        field_text(line, key, buf_view(&shown));
    }
}

static void field_number(Buf *line, const char *key, int64_t value)
{
    size_t before = line->len;
    buf_printf(line, log_format == LOG_JSON ? ",\"%s\":" : " %s=", key);
    buf_int64(line, value);
    drop_unfinished(line, before);
}

static void scope_fields(Buf *line, const LogScope *scope)
{
    if (scope != NULL) {
        scope_fields(line, scope->parent);
        field_hidden(line, scope->key, scope->value);
    }
}

static void start_line(Buf *line, LogLevel level, const char *message)
{
    char when[CLOCK_TEXT_SIZE];
    clock_format_us(clock_wall_us(), when);
    if (log_format == LOG_JSON) {
        buf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", when,
                   level_names[level]);
        quoted(line, str_from(message));
    } else {
        buf_printf(line, "%s %-5s %s", when, level_names[level], message);
    }
}

static void write_line(const Buf *line)
{
    size_t done = 0;
    while (done < line->len) {
        ssize_t wrote = write(STDERR_FILENO, line->ptr + done, line->len - done);
        if (wrote <= 0) {
            return; // nobody reads the log: that must not stop the stream
        }
        done += (size_t)wrote;
    }
}

void log_write(LogLevel level, const LogScope *scope, const char *message, const LogField *fields)
{
    assert(message != NULL);
    if (level > log_level) {
        return;
    }
    CLEANUP(buf_done) Buf line;
    buf_init(&line, LINE_MAX_BYTES - LINE_END_BYTES);
    start_line(&line, level, message);
    scope_fields(&line, scope);
    for (const LogField *field = fields; field->kind != LOG_FIELD_END; field++) {
        if (field->kind == LOG_FIELD_STR) {
            field_hidden(&line, field->key, field->text);
        } else if (field->kind == LOG_FIELD_MESSAGE) {
            field_text(&line, field->key, field->text);
        } else {
            field_number(&line, field->key, field->number);
        }
    }
    line.max = LINE_MAX_BYTES;
    buf_cstr(&line, log_format == LOG_JSON ? "}\n" : "\n");
    (void)pthread_mutex_lock(&log_lock);
    if (log_guard != NULL) {
        log_guard(log_guard_context, true);
    }
    write_line(&line);
    if (log_guard != NULL) {
        log_guard(log_guard_context, false);
    }
    (void)pthread_mutex_unlock(&log_lock);
}

void log_failure(LogLevel level, const LogScope *scope, const char *message, const Error *err)
{
    if (err->hint[0] != '\0') {
        log_at(level, scope, message, LOG_MESSAGE("error", err->message),
               LOG_MESSAGE("hint", err->hint));
    } else {
        log_at(level, scope, message, LOG_MESSAGE("error", err->message));
    }
}

bool log_repeat_is_due(LogRepeat *repeat, Str text, int64_t now_ms, int64_t *ret_times)
{
    uint64_t hash = hash_bytes(text.ptr, text.len);
    bool same =
        repeat->times > 0 && repeat->hash == hash && now_ms - repeat->last_ms < REPEAT_QUIET_MS;
    if (!same) {
        int64_t unsaid = repeat->hash == hash ? repeat->unsaid : 0;
        *repeat = (LogRepeat){.hash = hash, .pause_ms = REPEAT_PAUSE_MS, .unsaid = unsaid};
    }
    repeat->times++;
    repeat->unsaid++;
    repeat->last_ms = now_ms;
    if (repeat->times > REPEAT_SAID && now_ms < repeat->due_ms) {
        return false;
    }
    *ret_times = repeat->unsaid;
    repeat->unsaid = 0;
    if (repeat->times >= REPEAT_SAID) {
        repeat->due_ms = now_ms + repeat->pause_ms;
        repeat->pause_ms = MIN(repeat->pause_ms * 2, (int64_t)REPEAT_PAUSE_MS_MAX);
    }
    return true;
}
