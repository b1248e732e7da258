// The log of a hub: what all its systems have said, in one order. Each system that is received from
// writes it by a HubWriter, one at a time; whoever pushes reads it by the disk source (buffers/).
//
//   write … write ─► commit ─► one fsync for the objects and the writer's checkpoint
//
// Its LSNs are numbers of its own. All objects of one commit have the LSN that the log ended with,
// and ordinals from 1; the log then ends with the next LSN.
#pragma once

#include "base/notice.h"
#include "change/change.h"
#include "config/option.h"
#include "hub/hub_memory.h"
#include "io/cancel.h"
#include "pipeline/checkpoint.h"

typedef struct HubLog HubLog;

/** A system that is received from. Thread: one at a time. */
typedef struct HubWriter {
    HubLog *log;
    Str system;     // its name: whose checkpoint it is
    Cancel *cancel; // of its pipeline
    Notice notice;
} HubWriter;

/** @name: the hub's, copied. @settings: those of the disk sink (buffers/disk.h), borrowed. @memory:
 *  what is remembered of what is in the log, told where that ends whenever it is opened; outlives
 *  it. Nothing is opened yet. */
RETURNS_NONNULL HubLog *hub_log_new(Str name, Settings *settings, HubMemory *memory);

/** No writer has its turn. Accepts NULL. */
void hub_log_free(HubLog *log);

/** What the writer's commits have stored; makes the log when it is missing. Waits for its turn, and
 *  gives it back. @ret may be NULL. */
MUST_CHECK Status hub_log_restore(const HubWriter *writer, Checkpoint *ret, Error *err);

/** Which log it is, behind hub_log_restore(): no two logs have one name. It lives as long as
 *  @log. */
Str hub_log_identity(const HubLog *log);

/** Wait until no other writes, unless it is the writer's turn already. *ret_lsn: what the
 *  transactions of its changes have to have as commit LSN. */
MUST_CHECK Status hub_log_begin(const HubWriter *writer, Lsn *ret_lsn, Error *err);

/** What the log ends with, as far as it is known yet. Thread: any, when nobody writes. */
Lsn hub_log_tail(HubLog *log);

/** Behind hub_log_begin(). Sets the changes' ordinals. After a failure only hub_log_end() may be
 *  called. */
MUST_CHECK Status hub_log_write(const HubWriter *writer, Change *changes, size_t count, Error *err);

/** Make what was written durable, and @changed with it, and give the turn back. */
MUST_CHECK Status hub_log_commit(const HubWriter *writer, const Checkpoint *changed, Error *err);

/** Drop what was not committed, and give the turn back, if the writer has it. */
void hub_log_end(const HubWriter *writer);
