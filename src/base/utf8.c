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
