// Verifying, inside: shared by its files.
//
//   verify.c         both ends, and each table in turn
//   verify_repair.c  the source's rows written where the target's differ
#pragma once

#include "base/log.h"
#include "pipeline/dead_store.h"
#include "pipeline/merge.h"
#include "pipeline/shape.h"
#include "pipeline/state.h"
#include "pipeline/tables.h"
#include "pipeline/verify.h"

struct Verify {
    const Pipeline *pipeline;
    Cancel *cancel;
    LogScope scope;
    Source *source; // one of our own, beside that of the run
    const SourceTables *tables;
    Snapshot *snapshot;
    Lsn lsn;
};

/** A target that is being compared. */
typedef struct VerifyTarget {
    Verify *verify;
    const VerifyOptions *options;
    Arena arena;
    State *state; // locked, so that nobody runs the pipeline meanwhile
    const PipelineRoute *route;
    Str key; // of the route
    Sink *sink;
    Checkpoint stored;
    Tables tables;
    DeadStore *dead_store; // NULL: there is none, or nothing is repaired
    DeadLetters letters;   // what it has
} VerifyTarget;

/** A table that is being compared. */
typedef struct VerifyPair {
    VerifyTarget *target;
    const Relation *source_relation;
    const Relation *target_relation;
    DigestColumn *source_columns; // the same columns in the same order, those of the key first
    DigestColumn *target_columns;
    size_t column_count;
    size_t key_count;
    bool has_key;
    bool is_whole; // each column of one side is one of the other
    CompareSide source_side;
    CompareSide target_side;
} VerifyPair;

/** Another instance of the sink, where this one has failed in the midst of a transaction. */
MUST_CHECK Status verify_reopen(VerifyTarget *target, Error *err);

/** compare_tables() of both sides. */
MUST_CHECK Status verify_compare(VerifyPair *pair, size_t keys_max, Comparison *ret, Error *err);

/** Rows that one round of repairs reads, at the most. */
enum { VERIFY_REPAIR_KEYS = 100000 };

/**
 * Write what the source has over what compare_tables() has found to differ in @table, and compare
 * again, until it is equal; or have it copied anew. *ret_reason: why it is not equal yet; NULL: it
 * is.
 */
MUST_CHECK Status verify_repair(VerifyPair *pair, VerifyTable *table, const char **ret_reason,
                                Error *err);

/** @table is equal: drop the letters that were set aside of it before the LSN. */
MUST_CHECK Status verify_void_letters(const VerifyPair *pair, VerifyTable *table, Error *err);
