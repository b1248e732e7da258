// What a hub remembers of its systems beside the log: facts, each under a name. An SQLite file in
// the state directory.
//
// What a push tells holds at once. What is received holds when the objects that it is about are in
// the log: a fact is written in front of them, with their LSN, by whose turn it is there, and one
// whose objects did not get there is forgotten before anybody else has that LSN. So a crash forgets
// no push that was made, and remembers nothing that was not received.
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "change/position.h"

/** Of all systems. Thread: any. */
typedef struct HubMemory HubMemory;

typedef struct HubFact {
    Str what;   // its name, of any bytes
    Str value;  // of any bytes; ptr NULL: nothing is known of it
    bool stays; // otherwise it is forgotten after a while
    Lsn until;  // not LSN_NONE: it stays till hub_recall_pass() has passed that, and no longer
} HubFact;

/** @path is copied; the file is made at the first use. @keep_ms: for so long facts are known. */
RETURNS_NONNULL HubMemory *hub_memory_new(Str path, int64_t keep_ms);

/** Accepts NULL. */
void hub_memory_free(HubMemory *memory);

/** Forget what was saved for objects that did not get into the log, which ends with @end: others
 *  will have their LSNs. Nobody saves anything meanwhile. */
MUST_CHECK Status hub_memory_begin(HubMemory *memory, Lsn end, Error *err);

/** One who remembers things of @system. Thread: one at a time. */
typedef struct HubRecall HubRecall;

/** @system is copied; @memory outlives it. */
RETURNS_NONNULL HubRecall *hub_recall_new(HubMemory *memory, Str system);

/** What was not saved is forgotten. Accepts NULL. */
void hub_recall_free(HubRecall *recall);

/** What is known now, in @arena; ptr NULL: nothing. What is not saved yet counts. */
MUST_CHECK Status hub_recall_get(HubRecall *recall, Str what, Arena *arena, Str *ret, Error *err);

/** Remember a fact at the next hub_recall_save(). Copied. */
void hub_recall_put(HubRecall *recall, const HubFact *fact);

/** How many facts wait to be saved. */
size_t hub_recall_mark(const HubRecall *recall);

/** Forget those behind the first @mark of them. */
void hub_recall_undo(HubRecall *recall, size_t mark);

/** What stays until something before @lsn is needed no more. It goes with the next saves. */
void hub_recall_pass(HubRecall *recall, Lsn lsn);

/** Store what waits, as soon as the log has @lsn; LSN_NONE: at once. Durable. */
MUST_CHECK Status hub_recall_save(HubRecall *recall, Lsn lsn, Error *err);
