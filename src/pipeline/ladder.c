#include "pipeline/ladder.h"

#include <assert.h>

#include "base/macros.h"

enum { EXACTNESS = 16 };

void timeline_begin(Timeline *timeline, Lsn from)
{
    if (timeline->count == 0 && timeline->from == LSN_NONE) {
        timeline->from = from;
    }
}

Lsn timeline_end(const Timeline *timeline)
{
    return timeline->count == 0 ? LSN_NONE : timeline->entries[timeline->count - 1].end;
}

// Neighbours become one that says of both what is true of both: the later end, the earlier time.
// @share: for how much of its age an entry may stand then; 0: for any.
static void join_neighbours(Timeline *timeline, int64_t share)
{
    TimelineEntry *entries = timeline->entries;
    size_t last = timeline->count - 1;
    size_t kept = 0;
    bool is_joined = false;
    for (size_t i = 1; i < last; i++) {
        int64_t since_us = entries[kept].at_us;
        int64_t span_us = entries[i + 1].at_us - since_us;
        int64_t age_us = entries[last].at_us - since_us;
        bool joins = share > 0 ? span_us <= age_us / share : !is_joined;
        if (joins) {
            entries[kept].end = entries[i].end;
        } else {
            entries[++kept] = entries[i];
        }
        is_joined = joins;
    }
    entries[++kept] = entries[last];
    timeline->count = kept + 1;
}

static void thin_out(Timeline *timeline)
{
    join_neighbours(timeline, EXACTNESS);
    if (timeline->count > TIMELINE_MAX / 4 * 3) {
        join_neighbours(timeline, 0);
    }
}

void timeline_add(Timeline *timeline, Lsn end, int64_t at_us)
{
    if (end <= MAX(timeline_end(timeline), timeline->from)) {
        return;
    }
    if (timeline->count == TIMELINE_MAX) {
        thin_out(timeline);
    }
    timeline->entries[timeline->count++] = (TimelineEntry){end, at_us};
}

// The entry that @at is before the end of; `count` when there is none.
static size_t first_behind(const Timeline *timeline, Lsn at)
{
    size_t low = 0;
    size_t high = timeline->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (timeline->entries[middle].end > at) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

// What is lacking is younger than @known_us, the last thing that is not. That is all there is to go
// by where the timeline begins later.
static int64_t lacking_since(const Timeline *timeline, size_t entry, Lsn at, int64_t known_us)
{
    int64_t since_us = timeline->entries[entry].at_us;
    return at < timeline->from && known_us != LADDER_NEVER ? MIN(since_us, known_us) : since_us;
}

int64_t ladder_behind_us(Lsn at, const LadderStage *stages, size_t count, int64_t now_us)
{
    int64_t known_us = LADDER_NEVER;
    for (size_t i = 0; i < count; i++) {
        const Timeline *timeline = stages[i].timeline;
        size_t entry = first_behind(timeline, at);
        if (entry < timeline->count) {
            return MAX(now_us - lacking_since(timeline, entry, at, known_us), (int64_t)0);
        }
        if (entry > 0) {
            known_us = MAX(known_us, timeline->entries[entry - 1].at_us);
        }
        at = MAX(at, stages[i].reached);
    }
    return 0;
}

int64_t ladder_behind_bytes(Lsn at, Lsn head)
{
    return head > at ? (int64_t)(head - at) : 0;
}
