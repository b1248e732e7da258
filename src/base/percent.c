#include "base/percent.h"

#include "base/ascii.h"

// RFC 3986, unreserved; all else is written as its bytes.
static bool is_plain(char byte)
{
    return ascii_is_alphanumeric(byte) || byte == '-' || byte == '_' || byte == '.' || byte == '~';
}

void percent_encode(Buf *out, Str text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        if (is_plain((char)byte)) {
            buf_char(out, (char)byte);
        } else {
            const char escape[] = {'%', hex[byte >> 4], hex[byte & 15]};
            buf_bytes(out, escape, sizeof(escape));
        }
    }
}

Str percent_decode(Str text, Arena *arena)
{
    char *out = arena_alloc_bytes(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool may_be_code = text.ptr[i] == '%' && i + 2 < text.len;
        int high = may_be_code ? ascii_hex_value(text.ptr[i + 1]) : -1;
        int low = may_be_code ? ascii_hex_value(text.ptr[i + 2]) : -1;
        if (high >= 0 && low >= 0) {
            out[len++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[len++] = text.ptr[i];
        }
    }
    out[len] = '\0';
    return (Str){out, len};
}
