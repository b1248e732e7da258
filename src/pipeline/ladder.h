// How far behind a position is, in time: pure arithmetic on what was seen when.
//
// All times are of the source's clock, in microseconds since 1970, so that a difference between
// clocks never shows. What a position lacks is as old as the first thing behind it. Where nothing
// is lacking that is known of, a position counts as being at the end: on an idle source it is
// behind by nothing, however long ago the last transaction was.
#pragma once

#include <stddef.h>

#include "change/position.h"

enum { TIMELINE_MAX = 1024 };

// No time.
#define LADDER_NEVER INT64_MIN

/** Everything behind the entry before, up to @end, happened at @at_us or later. */
typedef struct TimelineEntry {
    Lsn end;
    int64_t at_us;
} TimelineEntry;

/** When which part of the history was written. Zero-initialised is empty. When it is full,
 *  neighbours are joined: what is long ago is known less exactly, by a sixteenth of its age. */
typedef struct Timeline {
    TimelineEntry entries[TIMELINE_MAX];
    size_t count;
    Lsn from; // nothing is known of what is before it
} Timeline;

/** It begins at @from; nothing happens if it has begun. */
void timeline_begin(Timeline *timeline, Lsn from);

/** Something was written up to @end, the first of it at @at_us. What is known already (received
 *  again, say) is left out. */
void timeline_add(Timeline *timeline, Lsn end, int64_t at_us);

/** End of what it knows; LSN_NONE: nothing. */
Lsn timeline_end(const Timeline *timeline);

/** One step on the way from the source: what was seen there, and how far it has seen everything,
 *  which may be further than the last thing of interest. */
typedef struct LadderStage {
    const Timeline *timeline;
    Lsn reached;
} LadderStage;

/** How old the first thing is that @at lacks; 0: it lacks nothing. @stages: the way back to the
 *  source's end, the nearest first. Never negative. */
int64_t ladder_behind_us(Lsn at, const LadderStage *stages, size_t count, int64_t now_us);

/** The same in bytes of the source's history. */
int64_t ladder_behind_bytes(Lsn at, Lsn head);
