// Dates, times and intervals as Postgres writes them with DateStyle ISO and IntervalStyle postgres,
// read to the microsecond. Pure functions: every value of every row may go through here.
//
// What is read is what the types' output functions write (src/backend/utils/adt/datetime.c), no
// more: who gets a false has a text that only Postgres can read, or nobody.
#pragma once

#include "base/cursor.h"

#define MICROS_PER_SECOND INT64_C(1000000)
#define MICROS_PER_DAY    (86400 * MICROS_PER_SECOND)

/** Offsets of time zones, in seconds east of Greenwich, are at most so far from it. */
enum { TIMETZ_OFFSET_MAX = 16 * 3600 - 1 };

/** The three parts do not become each other: a month has no number of days. */
typedef struct Interval {
    int32_t months;
    int32_t days;
    int64_t micros;
} Interval;

/** 1, -1 or 0: "infinity", "-infinity" or neither. The functions below take neither of the two. */
int time_text_infinity(Str text);

/** Days since 1970-01-01. */
MUST_CHECK bool time_text_date(Str text, int64_t *ret_days);

/** Microseconds since midnight, up to 24:00. */
MUST_CHECK bool time_text_time(Str text, int64_t *ret_micros);

/** Likewise, and seconds east of Greenwich. */
MUST_CHECK bool time_text_timetz(Str text, int64_t *ret_micros, int64_t *ret_offset);

/** Microseconds are added to the days since 1970-01-01: @with_zone they may be outside of a day,
 *  as the time is that of Greenwich then. Together they may be more than 64 bits hold. */
MUST_CHECK bool time_text_timestamp(Str text, bool with_zone, int64_t *ret_days,
                                    int64_t *ret_micros);

MUST_CHECK bool time_text_interval(Str text, Interval *ret);
