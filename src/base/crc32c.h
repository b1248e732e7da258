// CRC-32C (Castagnoli's polynomial): what storage and network protocols use, and what processors
// have an instruction for.
#pragma once

#include <stddef.h>
#include <stdint.h>

/** Of @data behind what gave @crc (0: nothing). By the processor's instruction where it has one. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/** The same without the instruction. */
uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t len);
