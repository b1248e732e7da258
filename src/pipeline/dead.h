// Dead letters: changes that a target refuses are set aside, so that the others go on.
//
// Order per key is kept: while a change of a row is set aside, later changes of that row are set
// aside behind it, without being tried. When somebody asks for another try (weir dead retry), they
// are written in their order, up to the next one that is refused.
//
//   stream ─► dead_write() ─┬─► sink
//                           └─► store (letters) ─► dead_retry(), between transactions ─► sink
//
// Where changes stand alone (SinkOps), none waits: one that is written makes those before it void.
//
// A letter is in the store before the position behind it is committed, and is removed from it after
// the commit that has its change; which letters that were is part of the checkpoint. So a crash
// neither loses nor doubles one.
//
// It outlives the attempts of its route. Thread: the runner's while an attempt is opened, then the
// route's.
#pragma once

#include "pipeline/dead_store.h"
#include "pipeline/sink.h"
#include "pipeline/tables.h"

typedef struct Dead Dead;

/** In @directory, borrowed. @sets_aside: what the target refuses; otherwise that is the error that
 * it is, and only letters from before are taken care of. @notice hears of letters that were given
 * up, when an attempt begins. */
RETURNS_NONNULL Dead *dead_new(const char *directory, bool sets_aside, const SinkOps *ops,
                               Notice notice);

/** Accepts NULL. */
void dead_free(Dead *dead);

/**
 * A new attempt. @stored: what the sink has; NULL: nothing. ERROR_CONFIG when the store cannot be
 * the one that it was written with (dead_mark.h).
 */
MUST_CHECK Status dead_begin(Dead *dead, const Checkpoint *stored, Error *err);

/**
 * SinkOps.write() for all of @changes but those that are set aside, now or before. Where a refusal
 * takes the sink's transaction with it, the error is ERROR_AGAIN: the next attempt knows more.
 * Copied rows wait for nothing: what there was of them is void when their copy is committed.
 */
MUST_CHECK Status dead_write(Dead *dead, Sink *sink, const Change *changes, size_t count,
                             Error *err);

/** Whether some of @changes are to be committed before the others are written: all of them
 *  together were refused. */
bool dead_wants_apart(const Dead *dead, const Change *changes, size_t count);

/** How many of @changes in front, whole transactions, may be written between two commits. */
size_t dead_together(const Dead *dead, const Change *changes, size_t count);

/**
 * The sink's commit has failed with @err. Refused was what several transactions come to together:
 * the error is ERROR_AGAIN then, and the next attempt tries them apart. Returns STATUS_FAIL.
 */
Status dead_commit_refused(Dead *dead, Error *err);

/** Whether dead_retry() has something to do, with the same @durable. Looks at the store now and
 *  then. */
MUST_CHECK Status dead_is_due(Dead *dead, Position durable, bool *ret, Error *err);

/** Tables may have been copied: what was set aside of them may be in the copy. */
void dead_recheck(Dead *dead);

/**
 * Write those letters at or before @durable that somebody wants to be tried, and those that wait
 * for nothing any more. Between transactions; a commit has to follow when *ret_wrote, and the rest
 * is due behind it (dead_is_due()) when the sink had no room for all of them.
 */
MUST_CHECK Status dead_retry(Dead *dead, Sink *sink, const Tables *tables, Position durable,
                             bool *ret_wrote, Error *err);

/** Before a commit: letters are durable, and @changed says which ones it has, and which store it
 *  was. */
MUST_CHECK Status dead_prepare_commit(Dead *dead, Checkpoint *changed, Error *err);

/** Behind it. */
MUST_CHECK Status dead_committed(Dead *dead, Error *err);

/** What log_repeat_is_due() knows these lines by. */
#define DEAD_SET_ASIDE STR("set aside")

/** How many were set aside since that was last told: there were too many for a line each. */
int64_t dead_untold(const Dead *dead);

/** How many there are. */
int64_t dead_count(const Dead *dead);
