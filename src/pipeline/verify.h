// `weir verify`: is the target what the source is? Every row, at one LSN, while the source goes on.
//
//   verify_choose         what cannot be compared is refused before anything is made
//   (the pipeline runs until now: what is to be copied is copied, most of the stream is there)
//   verify_hold           a snapshot of the source, and the LSN that it belongs to
//   (the pipeline runs exactly to that LSN: Pipeline.stops_there)
//   verify_route …        each target stands still, and is compared with the snapshot
//   verify_release
//
// A table that --repair cannot mend row by row is marked in the checkpoint as one whose copy was
// interrupted. Then all of that is done once more, for such tables only: the run copies them.
//
// Thread: one.
#pragma once

#include "base/limits.h"
#include "pipeline/compare.h"
#include "pipeline/runner.h"

typedef struct VerifyResult VerifyResult;

typedef struct VerifyOptions {
    StrList only;               // patterns of tables; none: all
    const VerifyResult *before; // only those tables of it that were to be copied anew; NULL: all
    bool repair;                // write the source's rows where the target's differ
    int64_t limit;              // rows of a table that are told with their values
    Cancel *cancel;
    // A table begins, the @at-th of @count; may be NULL.
    void (*progress)(void *context, const char *table, size_t at, size_t count);
    void *progress_context;
} VerifyOptions;

/** A value on both sides, as text that may have been cut; ptr NULL: NULL. */
typedef struct VerifyValue {
    Str column;
    Str source;
    Str target;
} VerifyValue;

typedef struct VerifyDifference {
    DifferenceKind kind;
    VerifyValue *key; // of the side that has the row; of a table without a key all of its values
    size_t key_count;
    VerifyValue *values; // DIFFERENCE_VALUES: those that differ
    size_t value_count;
} VerifyDifference;

typedef struct VerifyTable {
    uint32_t oid;
    Str schema;
    Str name;
    Str target;
    Str reason; // why it could not be compared; empty: it was
    Str note;   // what was left out; empty: nothing
    Comparison comparison;
    VerifyDifference *differences; // up to VerifyOptions.limit of them
    size_t difference_count;
    uint64_t repaired; // rows written
    uint64_t voided;   // by repair: dead letters dropped, as their rows are right
    bool is_mended;    // by repair: it was compared again, and is equal
    bool is_to_copy;   // by repair: the next run copies it anew
    int64_t us;
} VerifyTable;

struct VerifyResult {
    Arena arena;
    Lsn lsn;
    Str reason; // why the whole route could not be compared; empty: it was
    VerifyTable *tables;
    size_t table_count;
};

typedef struct Verify Verify;

/** Which routes of a pipeline are compared. */
typedef struct VerifyChoice {
    bool takes[LIMIT_ROUTES];
    Str reasons[LIMIT_ROUTES]; // of one that was asked for, and is nothing that can be; or empty
    size_t count;              // of those that are
} VerifyChoice;

/**
 * Those of the routes named @route (empty: of all) that can be. ERROR_CONFIG when there is no such
 * route, when none can be (@ret->reasons says why), or when the source cannot. Text in @arena.
 */
MUST_CHECK Status verify_choose(const Pipeline *pipeline, Str route, Arena *arena,
                                VerifyChoice *ret, Error *err);

/** ERROR_CONFIG when one of its routes that has to be brought somewhere for that has never run: a
 *  comparison begins nothing. Nobody else runs them meanwhile. */
MUST_CHECK Status verify_check_begun(const Pipeline *pipeline, const VerifyChoice *choice,
                                     Cancel *cancel, Error *err);

/** Where the source of @pipeline is now. */
MUST_CHECK Status verify_now(const Pipeline *pipeline, Cancel *cancel, Lsn *ret, Error *err);

/** Take the snapshot. *ret_lsn: every change committed before it is in it, none at or after it is.
 *  @pipeline is borrowed. */
MUST_CHECK Status verify_hold(const Pipeline *pipeline, Cancel *cancel, Verify **ret, Lsn *ret_lsn,
                              Error *err);

/** Compare the target of the pipeline's @route-th route, which must not run meanwhile, and has to
 *  stand at the LSN. */
MUST_CHECK Status verify_route(Verify *verify, size_t route, const VerifyOptions *options,
                               VerifyResult *ret, Error *err);

/** Some table of it is to be copied anew. */
bool verify_has_copies(const VerifyResult *result);

/** What has become of them: @after was made with VerifyOptions.before = @result. */
void verify_take_copies(VerifyResult *result, const VerifyResult *after);

void verify_result_done(VerifyResult *result);

/** Accepts NULL. */
void verify_release(Verify *verify);
