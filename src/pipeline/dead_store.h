// Where dead letters are kept: changes that the target refused, and those that wait behind them.
// A database of its own in the state directory, which a command may write to while the pipeline
// runs.
#pragma once

#include "base/error.h"
#include "change/change.h"

typedef struct DeadStore DeadStore;

typedef struct DeadLetter {
    int64_t id;        // grows, and is never given again
    Position position; // of the change
    uint32_t oid;      // of its table, and what that was called
    Str schema;
    Str name;
    ChangeOp op;
    bool is_refused;     // the target refused it; otherwise it waits behind one that was
    bool wants_retry;    // somebody has asked for it
    int64_t happened_us; // since 1970: when its transaction was committed, when it was set aside,
    int64_t kept_us;     // when it was tried last
    int64_t tried_us;
    int64_t tries; // how often the target has refused it
    Str error;     // why, the last time; empty when it was never tried
    Str old_key;   // the names of its row before and after the change (RowKey)
    Str new_key;   // empty: the same as old_key
    Str record;    // see dead_letter_pack(); empty when it was not asked for
} DeadLetter;

typedef struct DeadLetters {
    DeadLetter *items; // in the order of their positions
    size_t count;
} DeadLetters;

/** Which store it is, and how far it has come: a target's checkpoint says so, too (dead_mark.h). */
typedef struct DeadMark {
    uint64_t identity; // random; 0: it has none yet
    int64_t changes;   // grows with each transaction that writes to the store
    bool is_reset;     // by hand: it takes the place of whichever was there
    bool has_letters;
} DeadMark;

/** Whether @directory has a store. */
bool dead_store_is_there(const char *directory);

/**
 * Open the store in @directory. Made when missing, if @make: otherwise *ret is NULL then. Several
 * processes may have it open. ERROR_CONFIG when it is damaged or not to be written.
 */
MUST_CHECK Status dead_store_open(const char *directory, bool make, DeadStore **ret, Error *err);

/** Its mark, without making or changing anything. *ret_is_there false: there is no store. */
MUST_CHECK Status dead_store_look(const char *directory, bool *ret_is_there, DeadMark *ret,
                                  Error *err);

MUST_CHECK Status dead_store_mark(DeadStore *store, DeadMark *ret, Error *err);

/** Give it @identity, which is @changes old; 0: a random one. Durable with dead_store_save(). */
MUST_CHECK Status dead_store_name(DeadStore *store, uint64_t identity, int64_t changes, Error *err);

/** Throw all letters away, and be new: DeadMark.is_reset. Durable with dead_store_save(). */
MUST_CHECK Status dead_store_reset(DeadStore *store, int64_t *ret_letters, Error *err);

/** All letters, without their records. In @arena. */
MUST_CHECK Status dead_store_list(DeadStore *store, Arena *arena, DeadLetters *ret, Error *err);

/** One of them, with its record; *ret_found false: there is none of that id. In @arena. */
MUST_CHECK Status dead_store_get(DeadStore *store, int64_t id, Arena *arena, DeadLetter *ret,
                                 bool *ret_found, Error *err);

/** @letter->id is set. What is added, refused or removed is durable with dead_store_save(). */
MUST_CHECK Status dead_store_add(DeadStore *store, DeadLetter *letter, Error *err);

/** It was tried, and refused. */
MUST_CHECK Status dead_store_refused(DeadStore *store, int64_t id, Str why, int64_t now_us,
                                     Error *err);

/** Ask for another try. *ret_found: there is one of that id that was refused. */
MUST_CHECK Status dead_store_retry(DeadStore *store, int64_t id, bool *ret_found, Error *err);

/** *ret_found false: there is none of that id any more. */
MUST_CHECK Status dead_store_remove(DeadStore *store, int64_t id, bool *ret_found, Error *err);

MUST_CHECK Status dead_store_save(DeadStore *store, Error *err);

/** Whether another process has written since this was last asked. */
MUST_CHECK Status dead_store_has_changed(DeadStore *store, bool *ret, Error *err);

/** Accepts NULL. */
void dead_store_close(DeadStore *store);
