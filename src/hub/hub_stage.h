// Where objects wait that are too many to be kept in memory until their commit: a copied table, or
// one large transaction. A log of the writer's own, so that nobody else waits meanwhile.
//
//   begin, write … write ─► commit: durable, but nobody's yet
//   the hub's log takes note of the range, together with the source's position: now it counts
//   next … next ─► the hub's log, a part at a time, each with how far that is
//
// What no range in the hub's log has is void: it comes again from the source.
#pragma once

#include "change/batch.h"
#include "pipeline/sink.h"

typedef struct HubStage HubStage;

/** @directory: made at the first use. Both are borrowed. One thread. */
RETURNS_NONNULL HubStage *hub_stage_new(const char *directory, const SinkContext *context);

/** What was not committed is void. Accepts NULL. */
void hub_stage_free(HubStage *stage);

/** *ret_lsn: what the transactions of the next changes have to have as commit LSN. */
MUST_CHECK Status hub_stage_begin(HubStage *stage, Lsn *ret_lsn, Error *err);

/** Behind hub_stage_begin(). Sets the changes' ordinals. */
MUST_CHECK Status hub_stage_write(HubStage *stage, Change *changes, size_t count, Error *err);

/** Whether something was written since the last commit. */
bool hub_stage_is_open(const HubStage *stage);

/** All behind `from`, up to `to`. */
typedef struct HubStageRange {
    Position from;
    Position to;
} HubStageRange;

enum { HUB_STAGE_TEXT = 2 * POSITION_TEXT_SIZE + 1 };

void hub_stage_format(const HubStageRange *range, char ret[static HUB_STAGE_TEXT]);
MUST_CHECK bool hub_stage_parse(Str text, HubStageRange *ret);

/** What was written is durable, and is *ret. */
MUST_CHECK Status hub_stage_commit(HubStage *stage, HubStageRange *ret, Error *err);

/**
 * Add the next changes of @range to @batch, and shorten @range by them; STATUS_AGAIN when it is
 * empty. What they borrow lives as long as @batch, relations until the next range is read. The
 * range is the same from call to call, until it is empty.
 */
MUST_CHECK Status hub_stage_next(HubStage *stage, HubStageRange *range, Batch *batch, Error *err);

/** What is up to @to is read by nobody any more: the hub's log has noted that. Whole segments of it
 *  are removed. */
void hub_stage_passed(HubStage *stage, Position to);

/** Nothing that is in it counts: likewise, of all of it. */
MUST_CHECK Status hub_stage_forget(HubStage *stage, Error *err);
