// UTF-8 as table 3-7 of the Unicode standard has it: each character is the shortest form of a code
// point that is no surrogate.
#pragma once

#include "base/str.h"

/** Whether @byte goes on with a character that began before it. */
static inline bool utf8_goes_on(char byte)
{
    return ((uint8_t)byte & 0xc0) == 0x80;
}

/** Bytes of the character at @at, of which there are @left, at least one: 1 to 4, or 0 when it is
 *  not one. */
static inline size_t utf8_character(const char *at, size_t left)
{
    const uint8_t *bytes = (const uint8_t *)at;
    uint8_t lead = bytes[0];
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4) {
        return 0;
    }
    size_t len = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    // Overlong forms, surrogates and what lies behind U+10FFFF are told by the second byte.
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (left < len || bytes[1] < low || bytes[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if (!utf8_goes_on(at[i])) {
            return 0;
        }
    }
    return len;
}

bool utf8_is_valid(Str text);

/** The code point of the character at @at, whose length utf8_character() said. */
static inline uint32_t utf8_decode(const char *at, size_t len)
{
    const uint8_t *bytes = (const uint8_t *)at;
    uint32_t point = len == 1 ? bytes[0] : bytes[0] & (0xffU >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        point = point << 6 | (bytes[i] & 0x3fU);
    }
    return point;
}

/** @point, which is no surrogate and at most U+10FFFF, is written to @out: 1 to 4 bytes, the result
 *  says how many. */
size_t utf8_encode(uint32_t point, char *out);

/** How many characters @text, which is UTF-8, has. */
size_t utf8_length(Str text);

/** The most bytes of @text, up to @max, that end between two characters. */
size_t utf8_cut(Str text, size_t max);
