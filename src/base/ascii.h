// What a byte is in ASCII, whatever the locale says. Bytes beyond are none of these: they belong to
// characters of UTF-8.
#pragma once

#include <stdbool.h>

static inline bool ascii_is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

static inline bool ascii_is_lower(char c)
{
    return (unsigned char)(c - 'a') < 26;
}

static inline bool ascii_is_upper(char c)
{
    return (unsigned char)(c - 'A') < 26;
}

static inline bool ascii_is_letter(char c)
{
    return ascii_is_lower((char)(c | 0x20));
}

static inline bool ascii_is_alphanumeric(char c)
{
    return ascii_is_letter(c) || ascii_is_digit(c);
}

/** 0 to 15; -1: it is no hexadecimal digit. */
static inline int ascii_hex_value(char c)
{
    char lower = (char)(c | 0x20);
    return ascii_is_digit(c) ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static inline bool ascii_is_hex(char c)
{
    return ascii_hex_value(c) >= 0;
}

/** Between words and lines of text, and of JSON: blank, tab, newline, carriage return. */
static inline bool ascii_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/** 'A' becomes 'a'; all else stays. */
static inline char ascii_to_lower(char c)
{
    return ascii_is_upper(c) ? (char)(c | 0x20) : c;
}
