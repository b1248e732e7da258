#include "pg/copy_text.h"

#include <assert.h>

// CopyReadAttributesText() in src/backend/commands/copyfromparse.c; the octal and hex forms are
// read too, although CopyAttributeOutText() in copyto.c never writes them.
static char unescape(const char **at, const char *end)
{
    char c = *(*at)++;
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'v':
        return '\v';
    default:
        break;
    }
    if (c < '0' || c > '7') {
        return c;
    }
    int octal = c - '0';
    for (int i = 0; i < 2 && *at < end && **at >= '0' && **at <= '7'; i++) {
        octal = octal * 8 + (*(*at)++ - '0');
    }
    return (char)octal;
}

static size_t unescape_in_place(char *field, size_t len, const char *first_backslash)
{
    const char *end = field + len;
    const char *at = first_backslash;
    char *out = field + (first_backslash - field);
    while (at < end) {
        char c = *at++;
        if (c == '\\' && at < end) {
            c = unescape(&at, end);
        }
        *out++ = c;
    }
    return (size_t)(out - field);
}

static Value decode_field(char *field, size_t len)
{
    if (len == 2 && field[0] == '\\' && field[1] == 'N') {
        return (Value){.state = VALUE_NULL};
    }
    const char *backslash = len == 0 ? NULL : memchr(field, '\\', len);
    if (backslash != NULL) {
        len = unescape_in_place(field, len, backslash);
    }
    return (Value){.state = VALUE_TEXT, .ptr = field, .len = (uint32_t)len};
}

Status copy_text_decode(char *row, size_t len, Value *values, size_t count, Error *err)
{
    if (len > 0 && row[len - 1] == '\n') {
        len--;
    }
    if (len > UINT32_MAX) {
        return error_set(err, ERROR_DATA, "a COPY row of %zu bytes is too large", len);
    }
    if (count == 0) {
        return len == 0 ? STATUS_OK
                        : error_set(err, ERROR_DATA, "a COPY row has data but no columns");
    }
    char *field = row;
    char *end = row + len;
    for (size_t i = 0; i < count; i++) {
        char *tab = memchr(field, '\t', (size_t)(end - field));
        bool last = i + 1 == count;
        if ((tab == NULL) != last) {
            return error_set(err, ERROR_DATA, "a COPY row has %s than %zu columns",
                             last ? "more" : "fewer", count);
        }
        size_t field_len = (size_t)((tab == NULL ? end : tab) - field);
        values[i] = decode_field(field, field_len);
        field = tab == NULL ? end : tab + 1;
    }
    return STATUS_OK;
}

static char escape_letter(char c)
{
    switch (c) {
    case '\\':
        return '\\';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\v':
        return 'v';
    default:
        return 0;
    }
}

void copy_text_encode(Buf *out, Str text)
{
    const char *start = text.ptr;
    const char *end = text.ptr + text.len;
    for (const char *at = start; at < end; at++) {
        // Everything that needs an escape is a control character or the backslash.
        if ((unsigned char)*at > '\r' && *at != '\\') {
            continue;
        }
        char letter = escape_letter(*at);
        if (letter != 0) {
            buf_bytes(out, start, (size_t)(at - start));
            buf_char(out, '\\');
            buf_char(out, letter);
            start = at + 1;
        }
    }
    buf_bytes(out, start, (size_t)(end - start));
}

void copy_text_encode_row(Buf *out, const Value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert(values[i].state == VALUE_NULL || values[i].state == VALUE_TEXT);
        if (i > 0) {
            buf_char(out, '\t');
        }
        if (values[i].state == VALUE_NULL) {
            buf_bytes(out, "\\N", 2);
        } else {
            copy_text_encode(out, value_str(values[i]));
        }
    }
    buf_char(out, '\n');
}
