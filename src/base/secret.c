#include "base/secret.h"

#include <assert.h>
#include <ctype.h>
#include <strings.h>

static const char mask[] = "***";

// Position of the first colon of a URL's authority, where its password begins; -1: no URL.
static ptrdiff_t find_authority_colon(Str text)
{
    for (size_t i = 0; i + 3 <= text.len; i++) {
        if (memcmp(text.ptr + i, "://", 3) == 0) {
            ptrdiff_t colon = str_find((Str){text.ptr + i + 3, text.len - i - 3}, ':');
            return colon < 0 ? -1 : (ptrdiff_t)i + 3 + colon;
        }
    }
    return -1;
}

// @is_cut: the end of @text is lost, and may have been the @.
static bool find_in_url(Str text, bool is_cut, Str *ret)
{
    ptrdiff_t colon = find_authority_colon(text);
    if (colon < 0) {
        return false;
    }
    size_t start = (size_t)colon + 1;
    size_t end = text.len;
    while (!is_cut && end > start && text.ptr[end - 1] != '@') {
        end--;
    }
    if (!is_cut && end == start) {
        return false;
    }
    *ret = (Str){text.ptr + start, end - start - (is_cut ? 0 : 1)};
    return true;
}

static size_t skip_name(Str text, size_t at)
{
    while (at < text.len && (isalnum((unsigned char)text.ptr[at]) || text.ptr[at] == '%')) {
        at++;
    }
    return at;
}

static bool is_file(Str name)
{
    return name.len == 8 && strncasecmp(name.ptr, "passfile", 8) == 0;
}

// Of the option that begins at @at, which one of those is: *ret is all behind its "=".
static bool find_value(Str text, size_t begin, Str *ret)
{
    size_t at = skip_name(text, begin);
    if (is_file((Str){text.ptr + begin, at - begin})) {
        return false;
    }
    while (at < text.len && isspace((unsigned char)text.ptr[at])) {
        at++;
    }
    if (at == text.len || text.ptr[at] != '=') {
        return false;
    }
    *ret = (Str){text.ptr + at + 1, text.len - at - 1};
    return true;
}

// password=, sslpassword=, PASSWORD =, pass%77ord=, passwd=, secret=, header=
static bool find_behind_name(Str text, Str *ret)
{
    static const Str names[] = {{"pass", 4}, {"secret", 6}, {"header", 6}};
    for (size_t i = 0; i < text.len; i++) {
        for (size_t j = 0; j < ARRAY_LEN(names); j++) {
            if (text.len - i >= names[j].len &&
                strncasecmp(text.ptr + i, names[j].ptr, names[j].len) == 0 &&
                find_value(text, i, ret)) {
                return true;
            }
        }
    }
    return false;
}

static bool is_word_byte(char c)
{
    return !isspace((unsigned char)c) && strchr("\"'`()<>,;", c) == NULL;
}

// Keys and secrets of Stripe say by their first letters what they are; those stay, as they tell
// which one it is.
static bool find_token(Str text, Str *ret)
{
    static const char *const prefixes[] = {"sk_live_", "sk_test_", "rk_live_", "rk_test_",
                                           "whsec_"};
    for (size_t i = 0; i < text.len; i++) {
        Str rest = {text.ptr + i, text.len - i};
        for (size_t j = 0; j < ARRAY_LEN(prefixes); j++) {
            size_t start = strlen(prefixes[j]);
            size_t end = start;
            while (str_starts_with(rest, str_from(prefixes[j])) && end < rest.len &&
                   is_word_byte(rest.ptr[end])) {
                end++;
            }
            if (end > start) {
                *ret = (Str){rest.ptr + start, end - start};
                return true;
            }
        }
    }
    return false;
}

static void take_first(Str found, bool *has, Str *ret)
{
    *ret = *has && ret->ptr < found.ptr ? *ret : found;
    *has = true;
}

static bool find(Str text, bool is_cut, Str *ret)
{
    Str found;
    bool has = false;
    if (find_in_url(text, is_cut, &found)) {
        take_first(found, &has, ret);
    }
    if (find_behind_name(text, &found)) {
        take_first(found, &has, ret);
    }
    if (find_token(text, &found)) {
        take_first(found, &has, ret);
    }
    return has;
}

bool secret_find(Str text, Str *ret)
{
    return find(text, false, ret);
}

// ---------------------------------------------------------------------------------------------
// Texts without them
// ---------------------------------------------------------------------------------------------

static Str before(Str text, Str piece)
{
    return (Str){text.ptr, (size_t)(piece.ptr - text.ptr)};
}

static Str behind(Str text, Str piece)
{
    const char *end = piece.ptr + piece.len;
    return (Str){end, (size_t)(text.ptr + text.len - end)};
}

void secret_hide(Buf *out, Str text)
{
    Str piece;
    while (secret_find(text, &piece)) {
        buf_str(out, before(text, piece));
        buf_cstr(out, mask);
        text = behind(text, piece);
    }
    buf_str(out, text);
}

typedef struct Line {
    char *ptr;
    size_t len;
    size_t max;
} Line;

static void add(Line *line, Str text)
{
    size_t len = MIN(text.len, line->max - line->len);
    memcpy(line->ptr + line->len, text.ptr, len);
    line->len += len;
}

static void add_hidden(Line *line, Str text, bool is_cut)
{
    Str piece;
    while (find(text, is_cut, &piece)) {
        add(line, before(text, piece));
        add(line, str_from(mask));
        text = behind(text, piece);
    }
    add(line, text);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
// How many bytes the first @len bytes of @format make.
static size_t length_made(char *format, size_t len, va_list args)
{
    char kept = format[len];
    format[len] = '\0';
    va_list copy;
    va_copy(copy, args);
    int ret = vsnprintf(NULL, 0, format, copy);
    va_end(copy);
    format[len] = kept;
    return ret < 0 ? 0 : (size_t)ret;
}
#pragma GCC diagnostic pop

// Where an argument's text begins and ends is what the format makes up to its conversion, and with
// it. @text is all that it makes.
static void add_arguments_hidden(Line *line, Str text, char *format, va_list args)
{
    bool is_cut = text.len == line->max;
    size_t at = 0;
    size_t done = 0;
    const char *next;
    while ((next = strchr(format + at, '%')) != NULL) {
        size_t start = (size_t)(next - format);
        at = start + 1 + strspn(next + 1, "-+ #0123456789.*hlzjt");
        at += format[at] == '\0' ? 0 : 1;
        size_t from = MIN(length_made(format, start, args), text.len);
        size_t to = MIN(length_made(format, at, args), text.len);
        add(line, (Str){text.ptr + done, from - done});
        add_hidden(line, (Str){text.ptr + from, to - from}, is_cut && to == text.len);
        done = to;
    }
    add(line, (Str){text.ptr + done, text.len - done});
}

void secret_format(char *target, size_t size, const char *format, va_list args)
{
    assert(size > 0 && size <= SECRET_TEXT_MAX && strlen(format) < SECRET_TEXT_MAX);
    char whole[SECRET_TEXT_MAX];
    va_list copy;
    va_copy(copy, args);
    int made = vsnprintf(whole, size, format, copy);
    va_end(copy);
    Str text = {whole, made < 0 ? 0 : MIN((size_t)made, size - 1)};
    Line line = {.ptr = target, .max = size - 1};
    Str ignored;
    if (find(text, true, &ignored)) {
        char parts[SECRET_TEXT_MAX];
        (void)snprintf(parts, sizeof(parts), "%s", format);
        add_arguments_hidden(&line, text, parts, args);
    } else {
        add(&line, text);
    }
    target[line.len] = '\0';
}
