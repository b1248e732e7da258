#include "model/format.h"

#include "base/ascii.h"
#include "model/regex.h"
#include "model/uri.h"

static bool format_ipv4(Arena *scratch, Str text)
{
    return uri_is_ipv4(text);
}

static bool format_ipv6(Arena *scratch, Str text)
{
    return uri_is_ipv6(text);
}

static bool format_uri(Arena *scratch, Str text)
{
    return uri_is_valid(text, URI_ABSOLUTE);
}

static bool format_uri_reference(Arena *scratch, Str text)
{
    return uri_is_valid(text, URI_REFERENCE);
}

static bool format_iri(Arena *scratch, Str text)
{
    return uri_is_valid(text, URI_ABSOLUTE | URI_UNICODE);
}

static bool format_iri_reference(Arena *scratch, Str text)
{
    return uri_is_valid(text, URI_REFERENCE | URI_UNICODE);
}

static bool format_uuid(Arena *scratch, Str text)
{
    enum { UUID_CHARACTERS = 36 };
    for (size_t i = 0; i < text.len; i++) {
        bool wants_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (wants_dash ? text.ptr[i] != '-' : !ascii_is_hex(text.ptr[i])) {
            return false;
        }
    }
    return text.len == UUID_CHARACTERS;
}

static bool format_json_pointer(Arena *scratch, Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '~' &&
            (i + 1 == text.len || (text.ptr[i + 1] != '0' && text.ptr[i + 1] != '1'))) {
            return false;
        }
    }
    return text.len == 0 || text.ptr[0] == '/';
}

// A number without leading zeros, then "#" or a pointer.
static bool format_relative_json_pointer(Arena *scratch, Str text)
{
    size_t digits = 0;
    while (digits < text.len && ascii_is_digit(text.ptr[digits])) {
        digits++;
    }
    if (digits == 0 || (digits > 1 && text.ptr[0] == '0')) {
        return false;
    }
    Str rest = {text.ptr + digits, text.len - digits};
    return str_is(rest, "#") || format_json_pointer(scratch, rest);
}

static bool format_regex(Arena *scratch, Str text)
{
    return regex_is_valid(scratch, text);
}

// ---------------------------------------------------------------------------------------------
// URI templates (RFC 6570 §2)
// ---------------------------------------------------------------------------------------------

static bool is_name_part(Str text, size_t *at)
{
    char c = text.ptr[*at];
    if (c == '%') {
        bool fine = text.len - *at > 2 && ascii_is_hex(text.ptr[*at + 1]) &&
                    ascii_is_hex(text.ptr[*at + 2]);
        *at += 2;
        return fine;
    }
    return ascii_is_alphanumeric(c) || c == '_';
}

// "name", with dots inside, and "*" or ":" and a number up to 9999 behind it.
static bool is_variable(Str text)
{
    size_t at = 0;
    bool wants_part = true;
    for (; at < text.len && text.ptr[at] != '*' && text.ptr[at] != ':'; at++) {
        if (text.ptr[at] == '.' && !wants_part) {
            wants_part = true;
        } else if (is_name_part(text, &at)) {
            wants_part = false;
        } else {
            return false;
        }
    }
    if (wants_part || at >= text.len) {
        return !wants_part;
    }
    Str modifier = {text.ptr + at + 1, text.len - at - 1};
    if (text.ptr[at] == '*') {
        return modifier.len == 0;
    }
    for (size_t i = 0; i < modifier.len; i++) {
        if (!ascii_is_digit(modifier.ptr[i])) {
            return false;
        }
    }
    return modifier.len >= 1 && modifier.len <= 4 && modifier.ptr[0] != '0';
}

// What is between braces.
static bool is_expression(Str text)
{
    if (text.len > 0 && strchr("+#./;?&", text.ptr[0]) != NULL && text.ptr[0] != '\0') {
        text = (Str){text.ptr + 1, text.len - 1};
    }
    Str variable;
    while (str_split(&text, ',', &variable)) {
        if (!is_variable(variable)) {
            return false;
        }
    }
    return true;
}

static bool format_uri_template(Arena *scratch, Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '{') {
            Str rest = {text.ptr + i + 1, text.len - i - 1};
            ptrdiff_t end = str_find(rest, '}');
            if (end < 0 || !is_expression((Str){rest.ptr, (size_t)end})) {
                return false;
            }
            i += (size_t)end + 1;
        } else if (c == '%') {
            if (text.len - i < 3 || !ascii_is_hex(text.ptr[i + 1]) ||
                !ascii_is_hex(text.ptr[i + 2])) {
                return false;
            }
        } else if ((c >= 0 && c <= 0x20) || c == 0x7f || strchr("\"<>\\^`|}", c) != NULL) {
            return false;
        }
    }
    return true;
}

// ---------------------------------------------------------------------------------------------
// All
// ---------------------------------------------------------------------------------------------

FormatCheck format_find(Str name)
{
    static const struct {
        const char *name;
        FormatCheck check;
    } formats[] = {
        {"date-time", format_date_time},
        {"date", format_date},
        {"time", format_time},
        {"duration", format_duration},
        {"email", format_email},
        {"idn-email", format_idn_email},
        {"hostname", format_hostname},
        {"idn-hostname", format_idn_hostname},
        {"ipv4", format_ipv4},
        {"ipv6", format_ipv6},
        {"uri", format_uri},
        {"uri-reference", format_uri_reference},
        {"iri", format_iri},
        {"iri-reference", format_iri_reference},
        {"uuid", format_uuid},
        {"uri-template", format_uri_template},
        {"json-pointer", format_json_pointer},
        {"relative-json-pointer", format_relative_json_pointer},
        {"regex", format_regex},
    };
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        if (str_is(name, formats[i].name)) {
            return formats[i].check;
        }
    }
    return NULL;
}
