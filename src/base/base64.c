#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(Buf *out, Str data)
{
    const uint8_t *bytes = (const uint8_t *)data.ptr;
    for (size_t i = 0; i < data.len; i += 3) {
        size_t left = MIN(data.len - i, (size_t)3);
        uint32_t group = (uint32_t)bytes[i] << 16;
        group |= left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        group |= left > 2 ? bytes[i + 2] : 0;
        char text[] = {alphabet[group >> 18], alphabet[group >> 12 & 63],
                       left > 1 ? alphabet[group >> 6 & 63] : '=',
                       left > 2 ? alphabet[group & 63] : '='};
        buf_bytes(out, text, sizeof(text));
    }
}

static int digit(char c)
{
    const char *at = c == '\0' ? NULL : strchr(alphabet, c);
    return at == NULL ? -1 : (int)(at - alphabet);
}

// Four characters, the last @padding of which are "=".
static bool decode_group(Buf *out, const char *text, size_t padding)
{
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < 4 - padding ? digit(text[i]) : 0;
        if (value < 0) {
            return false;
        }
        group = group << 6 | (uint32_t)value;
    }
    const char bytes[] = {(char)(group >> 16), (char)(group >> 8), (char)group};
    buf_bytes(out, bytes, 3 - padding);
    return padding == 0 || (group & (padding == 1 ? 0xffU : 0xffffU)) == 0;
}

bool base64_decode(Buf *out, Str text)
{
    if (text.len % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < text.len; i += 4) {
        bool is_last = i + 4 == text.len;
        size_t padding = !is_last || text.ptr[i + 3] != '=' ? 0 : text.ptr[i + 2] != '=' ? 1 : 2;
        if (!decode_group(out, text.ptr + i, padding)) {
            return false;
        }
    }
    return true;
}
