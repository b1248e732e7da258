#include "model/uri.h"

#include "base/ascii.h"
#include "base/buf.h"
#include "base/utf8.h"

// ---------------------------------------------------------------------------------------------
// Parts
// ---------------------------------------------------------------------------------------------

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static Str rest_from(Str text, size_t at)
{
    return (Str){text.ptr + at, text.len - at};
}

// Cuts off and returns what is behind the first @mark; absent when there is none.
static Str cut_behind(Str *text, char mark)
{
    ptrdiff_t at = str_find(*text, mark);
    if (at < 0) {
        return (Str){0};
    }
    Str behind = rest_from(*text, (size_t)at + 1);
    text->len = (size_t)at;
    return behind;
}

// The characters before the first colon, when they can be a scheme.
static size_t scheme_length(Str text)
{
    size_t len = 0;
    while (len < text.len &&
           (ascii_is_letter(text.ptr[len]) ||
            (len > 0 && (ascii_is_digit(text.ptr[len]) || is_one_of(text.ptr[len], "+-."))))) {
        len++;
    }
    return len < text.len && text.ptr[len] == ':' ? len : 0;
}

Uri uri_split(Str text)
{
    Uri uri = {0};
    if (text.ptr == NULL) {
        text = STR("");
    }
    uri.fragment = cut_behind(&text, '#');
    uri.query = cut_behind(&text, '?');
    size_t scheme = scheme_length(text);
    if (scheme > 0) {
        uri.scheme = (Str){text.ptr, scheme};
        text = rest_from(text, scheme + 1);
    }
    if (str_starts_with(text, STR("//"))) {
        text = rest_from(text, 2);
        ptrdiff_t slash = str_find(text, '/');
        size_t len = slash < 0 ? text.len : (size_t)slash;
        uri.authority = (Str){text.ptr, len};
        text = rest_from(text, len);
    }
    uri.path = text;
    return uri;
}

// ---------------------------------------------------------------------------------------------
// Resolution
// ---------------------------------------------------------------------------------------------

// "." and ".." are resolved as far as there is something that they can take away. @out has nothing
// but the path.
static void write_path(Buf *out, Str path)
{
    while (path.len > 0) {
        size_t slash = path.ptr[0] == '/';
        ptrdiff_t next = str_find(rest_from(path, slash), '/');
        size_t len = next < 0 ? path.len : (size_t)next + slash;
        Str segment = {path.ptr + slash, len - slash};
        bool is_up = str_equal(segment, STR(".."));
        bool is_last = len == path.len;
        if (is_up) {
            while (out->len > 0 && out->ptr[out->len - 1] != '/') {
                out->len--;
            }
            out->len -= out->len > 0;
        } else if (!str_equal(segment, STR("."))) {
            buf_bytes(out, path.ptr, len);
        }
        if (is_last && slash > 0 && (is_up || str_equal(segment, STR(".")))) {
            buf_char(out, '/');
        }
        path = rest_from(path, len);
    }
}

static void resolve_path(Buf *out, const Uri *base, const Uri *reference)
{
    Buf joined = {.max = out->max};
    if (reference->path.len > 0 && reference->path.ptr[0] != '/') {
        if (base->authority.ptr != NULL && base->path.len == 0) {
            buf_char(&joined, '/');
        }
        size_t len = base->path.len;
        while (len > 0 && base->path.ptr[len - 1] != '/') {
            len--;
        }
        buf_bytes(&joined, base->path.ptr, len);
    }
    buf_str(&joined, reference->path);
    write_path(out, buf_view(&joined));
    if (joined.len > 0 && joined.ptr[0] != '/' && out->len > 0 && out->ptr[0] == '/') {
        memmove(out->ptr, out->ptr + 1, --out->len); // "a/../b" is "b"
    }
    buf_done(&joined);
}

static void write_lower(Buf *out, Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        buf_char(out, ascii_to_lower(c));
    }
}

Str uri_resolve(Arena *arena, Str base, Str reference)
{
    Uri from = uri_split(base);
    Uri to = uri_split(reference);
    Buf path = {.max = (base.len + reference.len + 2) * 2};
    if (to.scheme.ptr != NULL) {
        // An opaque path such as a URN's has no segments.
        bool has_segments = to.authority.ptr != NULL || str_starts_with(to.path, STR("/"));
        if (has_segments) {
            write_path(&path, to.path);
        } else {
            buf_str(&path, to.path);
        }
    } else {
        to.scheme = from.scheme;
        if (to.authority.ptr != NULL) {
            write_path(&path, to.path);
        } else {
            to.authority = from.authority;
            if (to.path.len == 0) {
                buf_str(&path, from.path);
                to.query = to.query.ptr == NULL ? from.query : to.query;
            } else {
                resolve_path(&path, &from, &to);
            }
        }
    }
    Buf out = {.max = (base.len + reference.len + 8) * 2};
    if (to.scheme.ptr != NULL) {
        write_lower(&out, to.scheme);
        buf_char(&out, ':');
    }
    if (to.authority.ptr != NULL) {
        buf_cstr(&out, "//");
        write_lower(&out, to.authority);
    }
    buf_str(&out, buf_view(&path));
    if (to.query.ptr != NULL) {
        buf_char(&out, '?');
        buf_str(&out, to.query);
    }
    Str resolved = str_copy(arena, buf_view(&out));
    buf_done(&path);
    buf_done(&out);
    return resolved;
}

bool uri_decode(Arena *arena, Str text, Str *ret)
{
    char *out = arena_alloc_bytes(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            if (text.len - i < 3 || !ascii_is_hex(text.ptr[i + 1]) ||
                !ascii_is_hex(text.ptr[i + 2])) {
                return false;
            }
            c = (char)(ascii_hex_value(text.ptr[i + 1]) << 4 | ascii_hex_value(text.ptr[i + 2]));
            i += 2;
        }
        out[len++] = c;
    }
    *ret = (Str){out, len};
    return true;
}

// ---------------------------------------------------------------------------------------------
// What parts are made of
// ---------------------------------------------------------------------------------------------

// RFC 3987's ucschar: neither private nor reserved nor no character at all.
static bool is_unicode_character(uint32_t point)
{
    if (point < 0xa0 || (point >= 0xd800 && point <= 0xf8ff) ||
        (point >= 0xfdd0 && point <= 0xfdef) || (point >= 0xfff0 && point <= 0xffff)) {
        return false;
    }
    return (point & 0xfffe) != 0xfffe && point < 0xf0000 && !(point >= 0xe0000 && point < 0xe1000);
}

static bool is_private(uint32_t point)
{
    return (point >= 0xe000 && point <= 0xf8ff) || (point >= 0xf0000 && (point & 0xfffe) != 0xfffe);
}

// Unreserved characters and sub-delimiters, and what is in @more.
static bool is_made_of(Str text, const char *more, unsigned form, bool private_too)
{
    for (size_t i = 0; i < text.len;) {
        char c = text.ptr[i];
        size_t len = utf8_character(text.ptr + i, text.len - i);
        if (len == 0) {
            return false;
        }
        if (c == '%') {
            if (text.len - i < 3 || !ascii_is_hex(text.ptr[i + 1]) ||
                !ascii_is_hex(text.ptr[i + 2])) {
                return false;
            }
            len = 3;
        } else if (len > 1) {
            uint32_t point = utf8_decode(text.ptr + i, len);
            if ((form & URI_UNICODE) == 0 ||
                !(is_unicode_character(point) || (private_too && is_private(point)))) {
                return false;
            }
        } else if (!ascii_is_alphanumeric(c) && !is_one_of(c, "-._~!$&'()*+,;=") &&
                   !is_one_of(c, more)) {
            return false;
        }
        i += len;
    }
    return true;
}

bool uri_is_ipv4(Str text)
{
    Str part;
    int parts = 0;
    for (; str_split(&text, '.', &part); parts++) {
        int value = 0;
        for (size_t i = 0; i < part.len && i < 4; i++) {
            if (!ascii_is_digit(part.ptr[i])) {
                return false;
            }
            value = value * 10 + (part.ptr[i] - '0');
        }
        if (part.len == 0 || part.len > 3 || value > 255 || (part.len > 1 && part.ptr[0] == '0')) {
            return false;
        }
    }
    return parts == 4;
}

static bool is_ipv6_group(Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!ascii_is_hex(text.ptr[i])) {
            return false;
        }
    }
    return text.len >= 1 && text.len <= 4;
}

// Groups of 16 bits, of which there is at least one; an IPv4 address, where it may be, is two. -1:
// it is none.
static int count_ipv6_groups(Str text, bool ipv4_at_end)
{
    int groups = 0;
    Str group;
    while (str_split(&text, ':', &group)) {
        bool is_last = text.ptr == NULL;
        if (is_last && ipv4_at_end && str_find(group, '.') >= 0) {
            return uri_is_ipv4(group) ? groups + 2 : -1;
        }
        if (!is_ipv6_group(group)) {
            return -1;
        }
        groups++;
    }
    return groups;
}

bool uri_is_ipv6(Str text)
{
    enum { GROUPS = 8, LONGEST = 45 };
    if (text.len > LONGEST) {
        return false;
    }
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.ptr[i] != ':' || text.ptr[i + 1] != ':') {
            continue;
        }
        Str before = {text.ptr, i};
        Str behind = rest_from(text, i + 2);
        int left = before.len == 0 ? 0 : count_ipv6_groups(before, false);
        int right = behind.len == 0 ? 0 : count_ipv6_groups(behind, true);
        return left >= 0 && right >= 0 && left + right < GROUPS;
    }
    return text.len > 0 && count_ipv6_groups(text, true) == GROUPS;
}

// "v1.anything", for addresses of times to come.
static bool is_future_address(Str text)
{
    if (text.len < 4 || (text.ptr[0] | 0x20) != 'v') {
        return false;
    }
    size_t dot = 1;
    while (dot < text.len && ascii_is_hex(text.ptr[dot])) {
        dot++;
    }
    return dot > 1 && dot + 1 < text.len && text.ptr[dot] == '.' && str_find(text, '%') < 0 &&
           is_made_of(rest_from(text, dot + 1), ":", 0, false);
}

static bool is_valid_host_and_port(Str text, unsigned form)
{
    Str host = text;
    Str behind = {0};
    if (text.len > 0 && text.ptr[0] == '[') {
        ptrdiff_t close = str_find(text, ']');
        if (close < 0) {
            return false;
        }
        Str address = {text.ptr + 1, (size_t)close - 1};
        if (!uri_is_ipv6(address) && !is_future_address(address)) {
            return false;
        }
        behind = rest_from(text, (size_t)close + 1);
        host = (Str){0};
    } else {
        ptrdiff_t colon = str_find(text, ':');
        if (colon >= 0) {
            behind = rest_from(text, (size_t)colon);
            host.len = (size_t)colon;
        }
    }
    for (size_t i = 0; i < behind.len; i++) {
        if (i == 0 ? behind.ptr[i] != ':' : !ascii_is_digit(behind.ptr[i])) {
            return false;
        }
    }
    return is_made_of(host, "", form, false);
}

static bool is_valid_authority(Str text, unsigned form)
{
    ptrdiff_t at = str_find(text, '@');
    if (at >= 0) {
        if (!is_made_of((Str){text.ptr, (size_t)at}, ":", form, false)) {
            return false;
        }
        text = rest_from(text, (size_t)at + 1);
    }
    return is_valid_host_and_port(text, form);
}

bool uri_is_valid(Str text, unsigned form)
{
    Uri uri = uri_split(text);
    if (uri.scheme.ptr == NULL) {
        // What looks like a scheme but is none cannot be a path: its first segment has no colon.
        ptrdiff_t colon = str_find(uri.path, ':');
        ptrdiff_t slash = str_find(uri.path, '/');
        if ((form & URI_ABSOLUTE) != 0 ||
            (uri.authority.ptr == NULL && colon >= 0 && (slash < 0 || colon < slash))) {
            return false;
        }
    }
    if (uri.authority.ptr != NULL && !is_valid_authority(uri.authority, form)) {
        return false;
    }
    return is_made_of(uri.path, ":@/", form, false) && is_made_of(uri.query, ":@/?", form, true) &&
           is_made_of(uri.fragment, ":@/?", form, false);
}
