#include "base/utf8.h"

bool utf8_is_valid(Str text)
{
    const char *at = text.ptr;
    size_t left = text.len;
    while (left > 0) {
        uint64_t word;
        size_t len = sizeof(word);
        if (left >= len) {
            memcpy(&word, at, len);
        }
        if (left < len || (word & UINT64_C(0x8080808080808080)) != 0) {
            len = utf8_character(at, left);
        }
        if (len == 0) {
            return false;
        }
        at += len;
        left -= len;
    }
    return true;
}

size_t utf8_encode(uint32_t point, char *out)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    out[0] = (char)((0xf00U >> len & 0xffU) | point);
    return len;
}

size_t utf8_length(Str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += utf8_goes_on(text.ptr[i]) ? 0 : 1;
    }
    return count;
}

size_t utf8_cut(Str text, size_t max)
{
    size_t len = MIN(text.len, max);
    while (len > 0 && len < text.len && utf8_goes_on(text.ptr[len])) {
        len--;
    }
    return len;
}
