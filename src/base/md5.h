// MD5 as RFC 1321 has it: for comparing with databases that have it built in, not for secrets.
#pragma once

#include <stdint.h>

#include "base/str.h"

enum { MD5_SIZE = 16, MD5_HEX_SIZE = 32 };

void md5(Str text, uint8_t ret[static MD5_SIZE]);

/** Its 32 hexadecimal digits in lower case; no NUL behind them. */
void md5_hex(Str text, char ret[static MD5_HEX_SIZE]);

/** Its first eight bytes as one number: the value of its first 16 digits. */
uint64_t md5_number(Str text);
