// Runs one pipeline: copy, stream, confirm, retry, stop. What the commands talk to.
#pragma once

#include <stdatomic.h>

#include "base/limits.h"
#include "base/log.h"
#include "pipeline/meter.h"
#include "pipeline/sink.h"
#include "pipeline/source.h"
#include "pipeline/state.h"

typedef enum UntilKind {
    UNTIL_FOREVER,
    UNTIL_NOW,  // everything committed before the runner was started
    UNTIL_LSN,  // everything committed before an LSN
    UNTIL_COPY, // the copy alone: no slot, no stream, no state (`weir copy`)
} UntilKind;

/** What becomes of a change that a target refuses. */
typedef enum OnError {
    ON_ERROR_STOP,
    ON_ERROR_DEAD_LETTER, // it is set aside, see dead.h
} OnError;

extern const char *const on_error_choices[]; // NULL-terminated, in the order of OnError

/** One place that the changes go to. */
typedef struct PipelineRoute {
    Str name; // as Pipeline.name; empty: the only one
    const SinkOps *sink;
    Settings *settings;
    Str id;              // the sink as the user wrote it, without secrets
    const char *called;  // in front of its errors; NULL: "sink"
    const void *subject; // see SinkContext
} PipelineRoute;

/** What a user is told of without asking. */
typedef struct PipelineGuards {
    int64_t watchdog_ms; // something stands still for so long; 0: never
    int64_t wal_warning; // bytes of the server's history are held; 0: only what is in danger
    int64_t wal_disk;    // bytes of history that the server has room for; 0: nobody has told
} PipelineGuards;

typedef struct Pipeline Pipeline;

/** What the parts of one pipeline share. The one that reads the source looks at all of it before
 *  anything is made; the others wait for that. */
typedef struct PipelineParts {
    const Pipeline *whole;
    atomic_bool is_looked_at;
    Meter *meters[LIMIT_ROUTES + 1]; // of their runners, as long as these are there
    size_t meter_count;
} PipelineParts;

/** What is to be run. Everything is borrowed and must outlive the runner. */
struct Pipeline {
    Str name; // [A-Za-z0-9_.-]+, NUL-terminated: names the state directory and, by default, the
              // slot
    const SourceOps *source;
    Settings
        *source_settings; // with everything from the command line: tables, publication, slot, copy
    Str source_id; // the source as the user wrote it, without secrets: to tell pipelines apart
    const char *source_called;  // in front of its errors; NULL: "source"
    const void *source_subject; // see SinkContext
    PipelineRoute *routes;
    size_t route_count; // up to LIMIT_ROUTES
    Str state_dir;      // where state directories are; created when missing
    UntilKind until;
    Lsn until_lsn;
    bool stops_there;  // UNTIL_LSN: the targets have nothing of what was committed at or behind it
    bool keeps_tables; // begins nothing, and see SourceContext
    // Of pipelines that are to end at the same place: the first to open asks its source where that
    // is. UNTIL_NOW only; NULL: each asks for itself.
    atomic_uint_fast64_t *shared_now; // Lsn
    // With an end to come to: it is given up when no attempt has got anywhere for so long. 0:
    // never.
    int64_t patience_ms;
    int64_t jobs; // tables copied at the same time
    OnError on_error;
    Settings *buffer;     // NULL: none; otherwise it is no single runner's, see buffers/disk.h
    PipelineParts *parts; // of which this is one; NULL: it is whole
    PipelineGuards guards;
};

/** What is in front of errors of one end. */
const char *pipeline_source_called(const Pipeline *pipeline);
const char *pipeline_route_called(const PipelineRoute *route);

/** What names the state and the checkpoint of one of the pipeline's routes. NUL-terminated, in
 *  @arena. */
Str pipeline_route_key(const Pipeline *pipeline, const PipelineRoute *route, Arena *arena);

/** The route's state directory. In @arena. */
const char *pipeline_route_directory(const Pipeline *pipeline, const PipelineRoute *route,
                                     Arena *arena);

/** Whose state a route's is. @key: its key. */
StateOwner pipeline_route_owner(const Pipeline *pipeline, const PipelineRoute *route, Str key);

/** Fail: it cannot be compared, as it has never run. */
MUST_CHECK Status pipeline_never_run(const Pipeline *pipeline, const PipelineRoute *route,
                                     Error *err);

typedef enum RunnerPhase {
    PHASE_STARTING,
    PHASE_COPYING,
    PHASE_STREAMING,
    PHASE_RETRYING, // waiting after a transient error
    PHASE_DRAINING, // asked to stop, or `until` reached: delivering what is in flight
    PHASE_LENT,     // another process has both ends, see runner_lend()
    PHASE_DONE,
} RunnerPhase;

const char *runner_phase_name(RunnerPhase phase);

/** Figures for a progress display, taken at one moment. */
typedef struct RunnerStats {
    RunnerPhase phase;
    // The copy.
    int64_t tables_total;
    int64_t tables_done;
    int64_t copy_rows;
    int64_t copy_rows_estimate; // of all tables; -1: not known
    int64_t copy_bytes;
    char copy_table[256]; // one that is being copied now: "public.orders"
    // The stream.
    int64_t changes; // delivered to the sink; of several routes: the one that is behind
    int64_t transactions;
    int64_t bytes;
    int64_t commits;
    Lsn head;            // end of the source's history as far as it is known
    Lsn received;        // taken in from the source
    Lsn durable;         // durable at every sink
    Lsn confirmed;       // what the source may forget
    int64_t lag_ms;      // age of the oldest change that is not durable; 0 when caught up
    int64_t retries;     // restarts after a transient error
    int64_t retry_in_ms; // in PHASE_RETRYING
    int64_t lent_to;     // the process that has them lent, or has them held for it; 0: none
    int64_t lent_at_us;  // since when, microseconds since 1970
    bool has_failed;     // in PHASE_DONE: `last_error` says why
    bool is_failing;     // `last_error` is not over: nothing has been streamed since
    bool is_full;        // what was received waits for room in front of a route
    char last_error[512];
} RunnerStats;

/** The same of one route. */
typedef struct RouteStats {
    Str name; // empty: the only one
    const SinkOps *sink;
    int64_t tables_total;
    int64_t tables_done;
    int64_t copy_rows;
    int64_t copy_rows_estimate; // -1: not known
    int64_t copy_bytes;
    char copy_table[256];
    int64_t changes;
    int64_t transactions;
    int64_t bytes;
    int64_t commits;
    Lsn delivered; // handed to the sink
    Lsn durable;
    int64_t lag_ms;
    int64_t dead_letters;
    Lsn wanted;          // end of the last changes that were taken in for it
    Activity activity;   // what its thread has called the sink for,
    uint64_t activities; // how often it has done so
    bool is_copying;     // it waits for the copy of a table
    bool is_indexing;    // an index is built behind the rows of a copy
    uint64_t at_work;    // how often the target was seen at work on a call that takes long
} RouteStats;

/** How far something is, and what it lacks of the source's head. */
typedef struct Rung {
    Lsn lsn;
    int64_t behind_bytes;
    // Age of the first thing that it lacks; 0: nothing. At least the time for which the source has
    // not been seen.
    int64_t behind_us;
} Rung;

/** The way of the changes to one route, each step at most as far as the one before. */
typedef struct Ladder {
    Lsn head; // end of the source's history; LSN_NONE: not known yet
    Rung sent;
    Rung received;
    Rung buffered; // durable in the disk buffer; lsn LSN_NONE: there is none
    Rung delivered;
    Rung durable;
    Rung confirmed; // to the source
} Ladder;

typedef struct Runner Runner;

/** Nothing is opened yet. @scope: fields for its log lines (NULL: none). */
MUST_CHECK Status runner_new(const Pipeline *pipeline, const LogScope *scope, Runner **ret,
                             Error *err);

/** Its routes share the process's memory: there are @sharers of them in all. Before runner_run().
 */
void runner_share(Runner *runner, size_t sharers);

/** Run to the end. STATUS_OK: `until` was reached, or a drain was asked for and is complete. */
MUST_CHECK Status runner_run(Runner *runner, Error *err);

/** Ask it to stop. First call: deliver what was received, commit, confirm, return STATUS_OK.
 *  @now: give up at once (ERROR_CANCELLED). Thread: any. Async-signal-safe. */
void runner_stop(Runner *runner, bool now);

/**
 * Ask it to end its attempt as a drain does, and to leave its ends and its state to the process
 * @borrower, until that is 0 again: then it goes on from what is stored. Asked to stop meanwhile,
 * it ends at once. Thread: any.
 */
void runner_lend(Runner *runner, int64_t borrower);

/**
 * While it is lent: bring the targets to exactly @lsn, as Pipeline.stops_there has it, and leave
 * them again. It is lent when it is there. Thread: any.
 */
void runner_lend_at(Runner *runner, Lsn lsn);

/** They are left to the process that runner_lend() has named last. Thread: any. */
bool runner_is_lent(Runner *runner);

/** Thread: any. */
void runner_stats(Runner *runner, RunnerStats *ret);

/** Of the pipeline's @route-th route. Thread: any. */
void runner_route_stats(Runner *runner, size_t route, RouteStats *ret);

/**
 * Of the @route-th route of @runner, which takes from the disk buffer that @filler fills (NULL:
 * from the source itself). Thread: any.
 */
void runner_ladder(Runner *runner, size_t route, Runner *filler, Ladder *ret);

/** Its state directories are there, and locked for it. Thread: any. */
bool runner_has_state(Runner *runner);

/** They were at some time. Thread: any. */
bool runner_had_state(Runner *runner);

/** What the source saw last. False: nothing yet, or it does not look. Thread: any. */
bool runner_sight(Runner *runner, SourceSight *ret);

/** Accepts NULL. */
void runner_free(Runner *runner);

/**
 * Have the only route of @pipeline, which does not run, go on behind @to: what is behind it is
 * delivered again. ERROR_CONFIG when its sink has tables, or when it has no more than that.
 * *ret_was: where it was.
 */
MUST_CHECK Status runner_rewind(const Pipeline *pipeline, Position to, Position *ret_was,
                                Error *err);

/** One row of `weir check`. */
typedef struct CheckTable {
    SourceTable source;
    Str target;        // where it goes
    Str *column_types; // the target's types, by column
} CheckTable;

typedef struct CheckResult {
    Arena arena;
    CheckTable *tables;
    size_t table_count;
    Report report;          // facts and problems, those of the source first
    size_t shared_problems; // which are so many, and the same for all routes
} CheckResult;

/**
 * Look at both ends and change nothing. What is found wrong, an end that cannot be reached among
 * it, is in the reports. @open: the pipeline's source, which is open; NULL: it is opened for that
 * long. @stored: where the source is to continue; NULL: what the targets have.
 * @results: one for each route; one when there is none, and then it is the source's.
 */
void runner_check(const Pipeline *pipeline, Source *open, const Checkpoint *stored, Cancel *cancel,
                  CheckResult *results);

/** Whether the @route-th route of @pipeline has a position that its next run would go on from.
 *  Changes nothing. */
MUST_CHECK Status runner_has_begun(const Pipeline *pipeline, size_t route, Cancel *cancel,
                                   bool *ret, Error *err);

/** As the first start of @pipeline would be refused: the first thing that runner_check() finds. */
MUST_CHECK Status runner_look(const Pipeline *pipeline, Source *open, Cancel *cancel, Error *err);

void check_results_done(CheckResult *results, size_t count);
