// Time. Decisions take a time as an argument; only threads and loops read the clock.
#pragma once

#include <stdint.h>

/** Milliseconds of a clock that never goes back; its zero means nothing. */
int64_t clock_monotonic_ms(void);

/** Microseconds of the same clock. */
int64_t clock_monotonic_us(void);

/** Microseconds since 1970-01-01 UTC. */
int64_t clock_wall_us(void);

enum { CLOCK_TEXT_SIZE = 96 };

/** "2026-11-21T05:20:59.123456Z" of microseconds since 1970; years beyond 9999 keep their digits.
 */
void clock_format_us(int64_t unix_us, char ret[static CLOCK_TEXT_SIZE]);
