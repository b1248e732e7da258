// The local state of one pipeline: a directory with a lock and a small SQLite database. It says
// whose state it is, and keeps the checkpoint for sinks that cannot store it with the data.
#pragma once

#include "base/error.h"
#include "pipeline/checkpoint.h"

typedef struct State State;

/** Whose state it is. Everything is borrowed. */
typedef struct StateOwner {
    Str dir; // where state directories are
    Str name;
    Str sink_id;
    bool may_wait; // another process that has it will end: ERROR_TRANSIENT, not ERROR_CONFIG
} StateOwner;

/**
 * Open @dir/@name, creating it when missing, and lock it for this process. ERROR_CONFIG when
 * another process has it, or when it belongs to a pipeline with another source or sink.
 */
MUST_CHECK Status state_open(const StateOwner *owner, State **ret, Error *err);

/**
 * What state_open() and state_load() would find, without making or locking anything. *ret_is_owned:
 * state_own() was called before. @checkpoint may be NULL.
 */
MUST_CHECK Status state_look(const StateOwner *owner, bool *ret_is_owned, Checkpoint *checkpoint,
                             Error *err);

/** It belongs to this pipeline from now on: something is stored, here or in the target. */
MUST_CHECK Status state_own(State *state, Error *err);

/** The directory. It lives as long as @state. */
const char *state_path(const State *state);

/** The stored checkpoint, added to @checkpoint. */
MUST_CHECK Status state_load(State *state, Checkpoint *checkpoint, Error *err);

/** Merge @changed into what is stored. Durable when it returns STATUS_OK. Thread: any. */
MUST_CHECK Status state_save(State *state, const Checkpoint *changed, Error *err);

/** Unlock and close. Accepts NULL. */
void state_close(State *state);
