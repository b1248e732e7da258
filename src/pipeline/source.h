// A source produces changes: first the rows that are there, then everything that happens.
//
//   open -> check | resume -> { snapshot, copies } -> { poll | confirm }* -> close
//
// open, resume, poll, confirm and close come from the source's thread, one at a time. Copies run in
// threads of their own beside it and only read what resume() has fixed.
#pragma once

#include "base/error.h"
#include "base/notice.h"
#include "change/batch.h"
#include "change/digest.h"
#include "config/option.h"
#include "io/cancel.h"
#include "pg/copy_form.h"
#include "pipeline/checkpoint.h"
#include "pipeline/report.h"

typedef struct Source Source;
typedef struct Snapshot Snapshot; // a consistent view of the source; the source's own struct
typedef struct CopyReader CopyReader;

/** A table that the source publishes. */
typedef struct SourceTable {
    const Relation *relation;
    int64_t row_estimate;  // -1: not known
    int64_t byte_estimate; // -1: not known
} SourceTable;

typedef struct SourceTables {
    SourceTable *items;
    size_t count;
} SourceTables;

/** What a source sees of its server beside the stream, at one moment. */
typedef struct SourceSight {
    int64_t seen_us;  // clock_monotonic_us() then
    int64_t clock_us; // the server's clock then, since 1970
    Lsn head;         // end of the server's history
    Lsn sent;         // as far as it says it has sent; LSN_NONE: not known
    uint64_t arrived; // bytes that have come from it, ever more
    // The slot, or what else holds the server's history for us.
    bool has_slot;
    bool is_unreserved; // what it holds may go at any moment
    bool is_lost;       // some of it is gone
    Lsn retained_from;  // it holds everything from here on; LSN_NONE: not known
    int64_t safe_bytes; // that can be written before it may be lost; -1: there is no limit
} SourceSight;

/** Who wants to know, from time to time. Thread of tell(): any. */
typedef struct SourceWatch {
    void (*tell)(void *context, const SourceSight *sight); // NULL: nobody
    void *context;
} SourceWatch;

typedef struct SourceContext {
    const char *pipeline;
    Cancel *cancel;
    bool copy_only;        // no stream will follow: `weir copy`
    bool keeps_tables;     // resume() and poll() neither make nor alter what is published
    bool narrows_tables;   // tables() gives only those that the settings name
    Lsn until;             // where the run is to end; LSN_NONE: nowhere, or it is asked by now()
    size_t sharers;        // routes of the process, which share its memory; 0: there is one
    const char *directory; // of the pipeline's state, for files of one's own; NULL: there is none
    const void *subject;   // see SinkContext
    const char *called;    // in front of errors of copies
    Notice notice;
    SourceWatch watch;
} SourceContext;

typedef struct SourceOps {
    const char *name;
    const char *summary;
    const Option *options;
    size_t instance_size;
    bool looks; // it tells SourceContext.watch, every few seconds, while it is open

    /** Look at the parsed options before anything is opened. May be NULL. */
    Status (*validate)(Source *source, Error *err);

    /** Connect and look: version, settings, permissions, tables. Changes nothing on the server. */
    Status (*open)(Source *source, Error *err);

    /**
     * Report what resume(@checkpoint) would make and what would stop it, and the tables that would
     * be streamed (valid until close()). Changes nothing on the server.
     */
    Status (*check)(Source *source, const Checkpoint *checkpoint, Report *report,
                    const SourceTables **ret, Error *err);

    /**
     * Get ready to continue behind the position in @checkpoint (none: from the beginning). Makes
     * what is missing (slot, publication), and refuses a checkpoint that is not of this source or
     * that the source can no longer continue from. Entries that must be stored before the first
     * change is delivered are put into @changed, the position to start from among them.
     */
    Status (*resume)(Source *source, const Checkpoint *checkpoint, Checkpoint *changed, Error *err);

    /**
     * The tables published now; valid until close(). Those that the checkpoint does not have are
     * told again by a CHANGE_SCHEMA in the stream, where it has come to as far as this was true.
     * Without resume(): what another instance with the same settings has published.
     */
    Status (*tables)(Source *source, const SourceTables **ret, Error *err);

    /**
     * A consistent view for copies. Every change committed before *ret_at is in it, none at or
     * after *ret_at is. It holds until snapshot_close(). Thread: any; several at a time are fine.
     */
    Status (*snapshot_open)(Source *source, Snapshot **ret, Lsn *ret_at, Error *err);
    void (*snapshot_close)(Snapshot *snapshot);

    /**
     * Read a table in @snapshot. Thread: any. @cancel: of the caller's thread. STATUS_AGAIN when it
     * cannot be read there any more, because it was truncated or rewritten since: in another one it
     * can.
     */
    Status (*copy_open)(Source *source, Snapshot *snapshot, const Relation *relation,
                        Cancel *cancel, CopyReader **ret, Error *err);

    /** The next CHANGE_READ batch, or *ret NULL at the end. */
    Status (*copy_read)(CopyReader *reader, Batch **ret, Error *err);

    /**
     * The next rows in @form, which is not COPY_FORM_VALUES and the same for all calls of one
     * reader; *ret_count 0 at the end. Borrowed until the next call. A reader is read either like
     * this or by copy_read(). May be NULL.
     */
    Status (*copy_read_rows)(CopyReader *reader, CopyForm form, Str *ret, size_t *ret_count,
                             Error *err);
    void (*copy_close)(CopyReader *reader);

    /**
     * Answer @query about the rows that @snapshot has, for `weir verify`: computed where they are.
     * ERROR_TRANSIENT when the table is another one by now. Thread: any. May be NULL.
     */
    Status (*digest_open)(Source *source, Snapshot *snapshot, const DigestQuery *query,
                          Cancel *cancel, DigestReader **ret, Error *err);

    /**
     * The next sealed batch, waiting up to @timeout_ms or until @wake_fd is readable (it is not
     * read); STATUS_AGAIN when there is none. @ret NULL: take nothing in, only keep the connection
     * alive while the pipeline is full. A batch without changes says that the source's position
     * moved.
     */
    Status (*poll)(Source *source, int timeout_ms, int wake_fd, Batch **ret, Error *err);

    /** Everything at or before @position is durable wherever it must be: the source may forget it.
     */
    void (*confirm)(Source *source, Position position);

    /** Where the source's history ends now: what `--until now` waits for. Thread: before poll(). */
    Status (*now)(Source *source, Lsn *ret, Error *err);

    /** Head of the source's history as far as it has told us; LSN_NONE: not known. Thread: any. */
    Lsn (*head)(const Source *source);

    /** Send the last confirmation and part. Also called after a failed open(). Never fails. */
    void (*close)(Source *source);
} SourceOps;

struct Source {
    const SourceOps *ops;
    SourceContext context;
    Arena options_arena;
    bool copies; // set by validate() or open(): tables are copied before they are followed
    // Set by open(), until close(): what a sink knows the place by that is read from, so that it
    // does not write there. ptr NULL: nothing.
    Str mark;
    // Set by open(), until close(): a directory for what waits and is larger than its memory. NULL:
    // that of the pipeline's state.
    const char *spill_directory;
};

/** NULL-terminated: sources/registry.c */
extern const SourceOps *const source_registry[];

const SourceOps *source_find(Str name);

MUST_CHECK Status source_new(const SourceOps *ops, Settings *settings, const SourceContext *context,
                             Source **ret, Error *err);

/** Whether source_new() would take @settings: nothing is connected to. */
MUST_CHECK Status source_validate(const SourceOps *ops, Settings *settings, Error *err);

/** close() and free. Accepts NULL. */
void source_free(Source *source);

/** Where what waits goes that is larger than its memory; as long as @source is open. */
const char *source_spill_directory(const Source *source);

/** Asked behind each change: whether @batch is large enough to be sealed. In the midst of a
 *  transaction it is only when that alone is large enough, so that others are not cut. */
bool source_batch_is_full(const Source *source, Batch *batch, bool in_transaction);
