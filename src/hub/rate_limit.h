// How many things may be done in a second: a bucket of tokens that fills evenly, up to its size. A
// full one lets through so many at once. Pure: the clock comes in as an argument.
#pragma once

#include <stdint.h>

/** Zeroed: no limit. */
typedef struct RateLimit {
    int64_t per_second; // tokens that come in a second; 0: no limit
    int64_t size;       // tokens that the bucket holds, at least 1
    int64_t level;      // millionths of a token that are in it
    int64_t at_us;      // when
} RateLimit;

/** A full bucket. */
void rate_limit_init(RateLimit *limit, int64_t per_second, int64_t size, int64_t now_us);

/**
 * Take a token: 0, or how many microseconds there are to wait until there is one, and none is
 * taken. @now_us: of a clock that may stand, and may jump back: then it goes on from there.
 */
int64_t rate_limit_take(RateLimit *limit, int64_t now_us);

/** How many microseconds there are to wait until there are @count tokens, at most as many as the
 *  bucket holds; 0: there are. None is taken. */
int64_t rate_limit_wait(RateLimit *limit, int64_t count, int64_t now_us);

/** How many there are; INT64_MAX: no limit. */
int64_t rate_limit_tokens(RateLimit *limit, int64_t now_us);

/** What @count tokens were taken for was not done. */
void rate_limit_give_back(RateLimit *limit, int64_t count);
