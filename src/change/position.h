// Where a change stands in the source's history.
#pragma once

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/** A byte position in Postgres's write-ahead log; 0 is "none" (InvalidXLogRecPtr). */
typedef uint64_t Lsn;

#define LSN_NONE ((Lsn)0)

/** For printf: LSN_FMT with LSN_ARG(lsn) gives "16/B374D848", as Postgres writes it. */
#define LSN_FMT      "%" PRIX32 "/%" PRIX32
#define LSN_ARG(lsn) (uint32_t)((lsn) >> 32), (uint32_t)(lsn)

/**
 * (commit LSN, ordinal of the change in its transaction), ordinals from 1. Never the LSN of a
 * single event: several events share one (a COPY, a multi-row INSERT).
 *
 * As a mark of progress it means "everything at or before this". A finished transaction is marked
 * (end LSN of its commit record, 0): larger than each of its changes, smaller than each change of
 * the next transaction, whose commit LSN is at least that. A keepalive at L is (L, 0). So `lsn` of
 * a mark is always safe to confirm to the server, and skipping is one comparison.
 */
typedef struct Position {
    Lsn lsn;
    uint64_t ordinal;
} Position;

static inline int position_compare(Position a, Position b)
{
    if (a.lsn != b.lsn) {
        return a.lsn < b.lsn ? -1 : 1;
    }
    return (a.ordinal > b.ordinal) - (a.ordinal < b.ordinal);
}

static inline Position position_max(Position a, Position b)
{
    return position_compare(a, b) >= 0 ? a : b;
}

static inline Position position_min(Position a, Position b)
{
    return position_compare(a, b) <= 0 ? a : b;
}

/** "16/B374D848"; false on anything else. */
MUST_CHECK bool lsn_parse(Str text, Lsn *ret);

enum { POSITION_TEXT_SIZE = 48 };

/** "16/B374D848:3", the form in which positions are stored. */
void position_format(Position position, char ret[static POSITION_TEXT_SIZE]);
MUST_CHECK bool position_parse(Str text, Position *ret);
