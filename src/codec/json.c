#include "codec/json.h"

#include <assert.h>

#include "base/ascii.h"
#include "base/base64.h"
#include "base/utf8.h"

// ---------------------------------------------------------------------------------------------
// Strings
// ---------------------------------------------------------------------------------------------

#define EVERY_BYTE(value) (UINT64_MAX / 255 * (value))

// Eight bytes that need no escape and are ASCII. A byte's high bit is set in the sum when the byte
// is: not ASCII; below ' '; '"'; '\\'. Borrows can only set bits above a byte that is caught
// anyway.
static bool is_plain(uint64_t bytes)
{
    uint64_t quotes = bytes ^ EVERY_BYTE((uint64_t)'"');
    uint64_t backslashes = bytes ^ EVERY_BYTE((uint64_t)'\\');
    uint64_t caught = bytes | (bytes - EVERY_BYTE(0x20)) | (quotes - EVERY_BYTE(1)) |
                      (backslashes - EVERY_BYTE(1));
    return (caught & EVERY_BYTE(0x80)) == 0;
}

static const uint8_t *skip_plain(const uint8_t *at, const uint8_t *end)
{
    while (end - at >= 8) {
        uint64_t bytes;
        memcpy(&bytes, at, sizeof(bytes));
        if (!is_plain(bytes)) {
            break;
        }
        at += 8;
    }
    while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\') {
        at++;
    }
    return at;
}

static void escape(Buf *out, uint8_t byte)
{
    static const char short_forms[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n',  ['\f'] = 'f',
        ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\',
    };
    assert(byte < sizeof(short_forms));
    char pair[] = {'\\', short_forms[byte]};
    if (pair[1] != '\0') {
        buf_bytes(out, pair, sizeof(pair));
    } else {
        static const char digits[] = "0123456789abcdef";
        char code[] = {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
        buf_bytes(out, code, sizeof(code));
    }
}

// @lossy: replace what is not UTF-8 instead of giving up.
static bool write_string(Buf *out, Str text, bool lossy)
{
    const uint8_t *at = (const uint8_t *)text.ptr;
    const uint8_t *end = text.len == 0 ? at : at + text.len;
    buf_char(out, '"');
    while (at < end) {
        const uint8_t *from = at;
        at = skip_plain(at, end);
        if (at > from) {
            buf_bytes(out, from, (size_t)(at - from));
        }
        if (at == end) {
            break;
        }
        if (*at < 0x80) {
            escape(out, *at++);
            continue;
        }
        size_t len = utf8_character((const char *)at, (size_t)(end - at));
        if (len > 0) {
            buf_bytes(out, at, len);
        } else if (lossy) {
            buf_cstr(out, "\xef\xbf\xbd");
        } else {
            return false;
        }
        at += MAX(len, (size_t)1);
    }
    buf_char(out, '"');
    return true;
}

bool json_string(Buf *out, Str text)
{
    return write_string(out, text, false);
}

void json_string_lossy(Buf *out, Str text)
{
    (void)write_string(out, text, true);
}

void json_base64(Buf *out, Str data)
{
    buf_char(out, '"');
    base64_encode(out, data);
    buf_char(out, '"');
}

// ---------------------------------------------------------------------------------------------
// Values that are JSON already
// ---------------------------------------------------------------------------------------------

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && ascii_is_digit(*at)) {
        at++;
    }
    return at;
}

// Behind the number at @at, or NULL when there is none.
static const char *skip_number(const char *at, const char *end)
{
    at += at < end && *at == '-';
    const char *digits = at;
    at = skip_digits(at, end);
    if (at == digits || (*digits == '0' && at - digits > 1)) {
        return NULL;
    }
    if (at < end && *at == '.') {
        digits = ++at;
        at = skip_digits(at, end);
        if (at == digits) {
            return NULL;
        }
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        digits = at;
        at = skip_digits(at, end);
        if (at == digits) {
            return NULL;
        }
    }
    return at;
}

bool json_is_number(Str text)
{
    return text.len > 0 && skip_number(text.ptr, text.ptr + text.len) == text.ptr + text.len;
}

static const char *skip_escape(const char *at, const char *end)
{
    if (end - at < 2) {
        return NULL;
    }
    if (at[1] != 'u') {
        return at[1] != '\0' && strchr("\"\\/bfnrt", at[1]) != NULL ? at + 2 : NULL;
    }
    bool is_code = end - at >= 6 && ascii_is_hex(at[2]) && ascii_is_hex(at[3]) &&
                   ascii_is_hex(at[4]) && ascii_is_hex(at[5]);
    return is_code ? at + 6 : NULL;
}

// Behind the string whose opening quote is at @at, or NULL when it is not one.
static const char *skip_string(const char *at, const char *end)
{
    at++;
    for (;;) {
        at = (const char *)skip_plain((const uint8_t *)at, (const uint8_t *)end);
        if (at == end) {
            return NULL;
        }
        if (*at == '"') {
            return at + 1;
        }
        if (*at == '\\') {
            at = skip_escape(at, end);
            if (at == NULL) {
                return NULL;
            }
            continue;
        }
        size_t len = (uint8_t)*at < 0x80 ? 0 // a control character
                                         : utf8_character(at, (size_t)(end - at));
        if (len == 0) {
            return NULL;
        }
        at += len;
    }
}

bool json_is_string(Str text)
{
    return text.len > 0 && text.ptr[0] == '"' &&
           skip_string(text.ptr, text.ptr + text.len) == text.ptr + text.len;
}

static const char *skip_word(const char *at, const char *end, const char *word)
{
    size_t len = strlen(word);
    return (size_t)(end - at) >= len && memcmp(at, word, len) == 0 ? at + len : NULL;
}

static const char *skip_scalar(const char *at, const char *end)
{
    switch (*at) {
    case '"':
        return skip_string(at, end);
    case 't':
        return skip_word(at, end, "true");
    case 'f':
        return skip_word(at, end, "false");
    case 'n':
        return skip_word(at, end, "null");
    default:
        return skip_number(at, end);
    }
}

static const char *skip_spaces(const char *at, const char *end)
{
    while (at < end && ascii_is_space(*at)) {
        at++;
    }
    return at;
}

// Checks without recursion, so that a deep value cannot exhaust the stack: one bit a level says
// whether it is an object.
typedef struct Checker {
    const char *at;
    const char *end;
    size_t depth;
    uint64_t is_object[JSON_DEPTH_MAX / 64];
} Checker;

static bool in_object(const Checker *checker)
{
    size_t level = checker->depth - 1;
    return checker->depth > 0 && (checker->is_object[level / 64] >> level % 64 & 1) != 0;
}

static bool enter(Checker *checker, bool is_object)
{
    size_t level = checker->depth;
    if (level == JSON_DEPTH_MAX) {
        return false;
    }
    uint64_t bit = (uint64_t)1 << level % 64;
    uint64_t *word = &checker->is_object[level / 64];
    if (level % 64 == 0) {
        *word = 0; // the first of its word: 8 KB are not cleared for each small value
    }
    *word = is_object ? *word | bit : *word & ~bit;
    checker->depth++;
    checker->at++;
    return true;
}

static bool take(Checker *checker, char c)
{
    checker->at = skip_spaces(checker->at, checker->end);
    if (checker->at == checker->end || *checker->at != c) {
        return false;
    }
    checker->at++;
    return true;
}

// In an object: the key and colon of the next member.
static bool check_key(Checker *checker)
{
    if (!in_object(checker)) {
        return true;
    }
    checker->at = skip_spaces(checker->at, checker->end);
    if (checker->at == checker->end || *checker->at != '"') {
        return false;
    }
    checker->at = skip_string(checker->at, checker->end);
    return checker->at != NULL && take(checker, ':');
}

// After a value: close every level that ends here. True when another value follows, or when the
// outermost value is complete (depth 0).
static bool check_behind(Checker *checker)
{
    while (checker->depth > 0) {
        if (take(checker, ',')) {
            return check_key(checker);
        }
        if (!take(checker, in_object(checker) ? '}' : ']')) {
            return false;
        }
        checker->depth--;
    }
    return true;
}

static bool check_value(Checker *checker)
{
    checker->at = skip_spaces(checker->at, checker->end);
    if (checker->at == checker->end) {
        return false;
    }
    char c = *checker->at;
    if (c != '{' && c != '[') {
        checker->at = skip_scalar(checker->at, checker->end);
        return checker->at != NULL && check_behind(checker);
    }
    if (!enter(checker, c == '{')) {
        return false;
    }
    if (take(checker, c == '{' ? '}' : ']')) {
        checker->depth--;
        return check_behind(checker);
    }
    return check_key(checker);
}

static bool is_json(Str text)
{
    Checker checker;
    checker.at = text.ptr;
    checker.end = text.ptr + text.len;
    checker.depth = 0;
    do {
        if (!check_value(&checker)) {
            return false;
        }
    } while (checker.depth > 0);
    return skip_spaces(checker.at, checker.end) == checker.end;
}

bool json_embed(Buf *out, Str text)
{
    if (text.len == 0 || !is_json(text)) {
        return false;
    }
    size_t start = out->len;
    buf_str(out, text);
    for (size_t i = start; i < out->len; i++) {
        if (out->ptr[i] == '\n' || out->ptr[i] == '\r') {
            out->ptr[i] = ' ';
        }
    }
    return true;
}

bool json_is_null(Str text)
{
    return str_is(str_trim(text), "null");
}
