#include "base/str.h"

#include <assert.h>
#include <errno.h>

#include "base/ascii.h"

bool str_starts_with(Str text, Str prefix)
{
    return text.len >= prefix.len &&
           (prefix.len == 0 || memcmp(text.ptr, prefix.ptr, prefix.len) == 0);
}

int str_compare(Str a, Str b)
{
    size_t shared = MIN(a.len, b.len);
    int order = shared == 0 ? 0 : memcmp(a.ptr, b.ptr, shared);
    if (order != 0) {
        return order;
    }
    return (a.len > b.len) - (a.len < b.len);
}

ptrdiff_t str_find(Str text, char byte)
{
    const char *found = text.len == 0 ? NULL : memchr(text.ptr, byte, text.len);
    return found == NULL ? -1 : found - text.ptr;
}

Str str_trim(Str text)
{
    while (text.len > 0 && ascii_is_space(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && ascii_is_space(text.ptr[text.len - 1])) {
        text.len--;
    }
    return text;
}

bool str_split(Str *text, char separator, Str *ret_head)
{
    assert(text != NULL);
    if (text->ptr == NULL) {
        return false;
    }
    ptrdiff_t at = str_find(*text, separator);
    if (at < 0) {
        *ret_head = *text;
        *text = (Str){NULL, 0};
        return true;
    }
    *ret_head = (Str){text->ptr, (size_t)at};
    *text = (Str){text->ptr + at + 1, text->len - (size_t)at - 1};
    return true;
}

Str str_copy(Arena *arena, Str text)
{
    return (Str){arena_copy(arena, text.ptr, text.len), text.len};
}

char *str_to_cstr(Arena *arena, Str text)
{
    return arena_copy(arena, text.ptr, text.len);
}

bool str_to_uint64(Str text, uint64_t *ret)
{
    uint64_t value = 0;
    if (text.len == 0) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c < '0' || c > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(c - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *ret = value;
    return true;
}

bool str_to_int64(Str text, int64_t *ret)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    Str digits = negative ? (Str){text.ptr + 1, text.len - 1} : text;
    uint64_t magnitude;
    if (!str_to_uint64(digits, &magnitude)) {
        return false;
    }
    uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    if (magnitude > limit) {
        return false;
    }
    *ret = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

// What strtod() takes beyond decimal numbers and names: leading space, hexadecimal, nan(…).
static bool is_plain_number(Str text)
{
    return text.len > 0 && text.ptr[0] != '\0' &&
           strchr("+-.0123456789NnIi", text.ptr[0]) != NULL && str_find(text, 'x') < 0 &&
           str_find(text, 'X') < 0 && str_find(text, '(') < 0;
}

// Also "NaN", "Infinity" and "-Infinity", as Postgres writes them. An overflow such as 1e999 is not
// a number here, an underflow is 0: what the C library gives for text that Postgres wrote.
bool str_to_double(Str text, double *ret)
{
    char copy[512];
    if (text.len >= sizeof(copy) || !is_plain_number(text)) {
        return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    char *end = NULL;
    errno = 0;
    double value = strtod(copy, &end);
    if (end != copy + text.len) {
        return false;
    }
    if (errno == ERANGE && (value > 1 || value < -1)) {
        return false;
    }
    *ret = value;
    return true;
}

// Damerau-Levenshtein without memory: names are short, so the recursion of the textbook is replaced
// by three rows on the stack and anything longer is simply "far".
unsigned str_distance(Str a, Str b)
{
    enum { LONGEST = 64 };
    if (a.len > LONGEST || b.len > LONGEST) {
        return LONGEST;
    }
    unsigned before[LONGEST + 1] = {0};
    unsigned last[LONGEST + 1];
    unsigned row[LONGEST + 1];
    for (size_t j = 0; j <= b.len; j++) {
        last[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.len; j++) {
            unsigned replace = last[j - 1] + (a.ptr[i - 1] == b.ptr[j - 1] ? 0 : 1);
            unsigned insert = row[j - 1] + 1;
            unsigned remove = last[j] + 1;
            row[j] = MIN(replace, MIN(insert, remove));
            bool swapped =
                i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1];
            if (swapped) {
                row[j] = MIN(row[j], before[j - 2] + 1);
            }
        }
        memcpy(before, last, sizeof(before));
        memcpy(last, row, sizeof(last));
    }
    return last[b.len];
}
