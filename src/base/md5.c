#include "base/md5.h"

enum { BLOCK = 64, LENGTH_BYTES = 8 };

// floor(2^32 * |sin(i + 1)|)
static const uint32_t sines[BLOCK] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

static uint32_t rotate(uint32_t value, unsigned by)
{
    return value << by | value >> (32 - by);
}

static uint32_t little_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

// Section 3.4 of the RFC, its four rounds in one loop.
static void take_block(uint32_t state[static 4], const uint8_t *block)
{
    static const unsigned rotations[4][4] = {
        {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    uint32_t a = state[0];
    uint32_t b = state[1];
    uint32_t c = state[2];
    uint32_t d = state[3];
    for (unsigned i = 0; i < BLOCK; i++) {
        unsigned round = i / 16;
        uint32_t mixed;
        unsigned word;
        switch (round) {
        case 0:
            mixed = (b & c) | (~b & d);
            word = i;
            break;
        case 1:
            mixed = (b & d) | (c & ~d);
            word = (5 * i + 1) % 16;
            break;
        case 2:
            mixed = b ^ c ^ d;
            word = (3 * i + 5) % 16;
            break;
        default:
            mixed = c ^ (b | ~d);
            word = 7 * i % 16;
            break;
        }
        uint32_t sum = a + mixed + sines[i] + little_endian(block + 4 * (size_t)word);
        a = d;
        d = c;
        c = b;
        b += rotate(sum, rotations[round][i % 4]);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

// The end: one bit, zeros, the length in bits.
static void take_tail(uint32_t state[static 4], Str text)
{
    uint8_t tail[2 * BLOCK] = {0};
    size_t rest = text.len % BLOCK;
    size_t size = rest + 1 + LENGTH_BYTES <= BLOCK ? BLOCK : 2 * BLOCK;
    if (rest > 0) {
        memcpy(tail, text.ptr + (text.len - rest), rest);
    }
    tail[rest] = 0x80;
    uint64_t bits = (uint64_t)text.len * 8;
    for (unsigned i = 0; i < LENGTH_BYTES; i++) {
        tail[size - LENGTH_BYTES + i] = (uint8_t)(bits >> 8 * i);
    }
    for (size_t at = 0; at < size; at += BLOCK) {
        take_block(state, tail + at);
    }
}

void md5(Str text, uint8_t ret[static MD5_SIZE])
{
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    for (size_t at = 0; at + BLOCK <= text.len; at += BLOCK) {
        take_block(state, (const uint8_t *)text.ptr + at);
    }
    take_tail(state, text);
    for (unsigned i = 0; i < MD5_SIZE; i++) {
        ret[i] = (uint8_t)(state[i / 4] >> 8 * (i % 4));
    }
}

void md5_hex(Str text, char ret[static MD5_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[MD5_SIZE];
    md5(text, bytes);
    for (size_t i = 0; i < MD5_SIZE; i++) {
        ret[2 * i] = digits[bytes[i] >> 4];
        ret[2 * i + 1] = digits[bytes[i] & 15];
    }
}

uint64_t md5_number(Str text)
{
    uint8_t bytes[MD5_SIZE];
    uint64_t number = 0;
    md5(text, bytes);
    for (size_t i = 0; i < sizeof(number); i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}
