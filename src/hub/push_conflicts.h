// Two systems may change one thing at the same time. The log has both changes in one order, and
// every system has to end with the later one. A system passes over its own changes, as it has them
// already; unless one of others, which stands before it in the log, was pushed over it after it was
// made. Then it is pushed back.
//
// This is what remembers where a system stood when something was pushed to it. In doubt it says
// that there may be a conflict: to push a change back where it is already costs a write.
#pragma once

#include "base/map.h"
#include "change/position.h"
#include "model/mixer.h"

typedef struct ConflictEntry ConflictEntry;

/** Zero-initialised knows of nothing. One thread. */
typedef struct PushConflicts {
    Map by_key; // hash of a search key and its value -> ConflictEntry
    Arena arena;
    ConflictEntry *open; // pushed in the open transaction
    Lsn floor;           // up to there anything may have been pushed
    Lsn last;            // where the system was when the last of by_key was pushed
} PushConflicts;

/** What was pushed before is not known: the system stands at @now. */
void push_conflicts_begin(PushConflicts *conflicts, Lsn now);

/** @row is pushed in the open transaction. */
void push_conflicts_note(PushConflicts *conflicts, const PushedRow *row);

/** The open transaction is committed, and the system stands at @now or further. */
void push_conflicts_committed(PushConflicts *conflicts, Lsn now);

/** Own changes come in their order: this one was made at @made. */
void push_conflicts_pass(PushConflicts *conflicts, Lsn made);

/** Whether something may have been pushed over @row after it was made at @made. */
bool push_conflicts_has(const PushConflicts *conflicts, const PushedRow *row, Lsn made);

void push_conflicts_done(PushConflicts *conflicts);
