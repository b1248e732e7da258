// A sink makes changes durable somewhere else. This is the whole contract for writing one;
// docs/adding-a-sink.md walks through a complete example.
//
//   open -> resume -> { has | prepare | clear | write | try_write | end_copy | commit }* -> close
//   open -> look -> { check }* -> close      before anything is made, and for `weir check`
//   open -> resume -> { has | digest_columns | digest_open }* -> close             `weir verify`
//
// All calls of one instance come from one thread, may block, and should give up soon after
// context->cancel is set (ERROR_CANCELLED). Changes arrive in commit order and are borrowed: copy
// what you keep. After a failure the runner closes the instance, opens a new one, asks it where to
// resume and sends everything behind that again; what is at or before the resumed position it skips
// itself.
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/notice.h"
#include "change/change.h"
#include "change/digest.h"
#include "config/option.h"
#include "io/cancel.h"
#include "pg/copy_form.h"
#include "pipeline/checkpoint.h"
#include "pipeline/report.h"
#include "pipeline/row_key.h"

typedef struct Sink Sink;

typedef enum SinkGuarantee {
    GUARANTEE_NONE,          // null: nothing is kept
    GUARANTEE_AT_LEAST_ONCE, // a change may arrive again after a crash
    GUARANTEE_IDEMPOTENT,    // it may be written again, and that changes nothing
    GUARANTEE_EXACTLY_ONCE,  // the checkpoint is stored with the data, in one transaction
} SinkGuarantee;

typedef struct SinkContext {
    const char *pipeline; // its name: the key under which checkpoints are stored
    Cancel *cancel;
    size_t sharers;  // routes of the process, which share its memory; 0: there is one
    bool is_lane;    // a second instance for copying a table beside the first
    Str source_mark; // the source's, see Source.mark
    // What whoever made the pipeline hands to its connector beside the options; it outlives it.
    // NULL: nothing, or only validate() is called.
    const void *subject;
    // Tell the user something that is not an error. Thread: the sink's.
    Notice notice;
    // Tell that the target is seen at work on a call that has not come back. NULL: nobody wants to
    // know. Thread: the sink's.
    void (*at_work)(void *at_work_context);
    // The same, and it has got on: more was delivered. Seen at work it may also be while it waits.
    void (*moves)(void *at_work_context);
    void *at_work_context;
    // Tell that a call waits for somebody else than the target, and why; @why NULL: not any more.
    // It fails with ERROR_CANCELLED as soon as `cancel` is set, and with that other error after
    // `wait_ms`, if that is not 0. Without this function it may wait for a moment only. Thread: the
    // sink's.
    void (*waits)(void *waits_context, const Error *why);
    void *waits_context;
    int64_t wait_ms;
} SinkContext;

typedef struct SinkOps {
    const char *name;      // the scheme in a URL and `type:` in a file
    const char *summary;   // one line for --help
    const Option *options; // parsed into the instance before open()
    size_t instance_size;
    SinkGuarantee guarantee;
    // commit() keeps the checkpoint and resume() gives it back. Otherwise the runner keeps it in
    // the local state directory once commit() has returned.
    bool stores_checkpoint;
    // Has tables that prepare() shapes and clear() empties. Otherwise it is a stream of events:
    // tables are copied one at a time, between the changes.
    bool has_tables;
    // Several instances may write different tables at the same time: parallel copy.
    bool is_parallel;
    // Gets every change as the source tells it, CHANGE_SCHEMA included; nothing is prepared.
    bool takes_all;
    // A change says what its row is to be, whatever it is before. So one that was refused holds up
    // no later one that says all that it did, and is void when that is written; nor one that undoes
    // nothing of it, behind which it is tried again.
    bool changes_stand_alone;

    /** Look at the parsed options before anything is opened. NULL: nothing to look at. */
    Status (*validate)(Sink *sink, Error *err);

    /** Connect, or open the file. Creates nothing but the place where checkpoints are stored. */
    Status (*open)(Sink *sink, Error *err);

    /**
     * Find the target's last committed state and fill @checkpoint with what was stored under
     * context->pipeline. When the runner stores it, @checkpoint already holds it, and resume() only
     * reads its own "sink:" entries. The start may still be refused, by what the source says to
     * that: whatever the target cannot take back (to cut off a torn tail) waits for the first
     * write() or commit().
     */
    Status (*resume)(Sink *sink, Checkpoint *checkpoint, Error *err);

    /**
     * Create the target table of @now, or turn the one that was made for @was (NULL: none known)
     * into it. Called before the first change of each relation version, also after every open(), so
     * it has to accept a table that is right already. Part of the open transaction where the target
     * can. An existing table that does not fit is ERROR_CONFIG with what differs and what to do.
     */
    Status (*prepare)(Sink *sink, const Relation *was, const Relation *now, Error *err);

    /**
     * Is the table that prepare() made for @relation there, and fit for it? Somebody may have
     * dropped it, or put another one in its place. Only with has_tables.
     */
    Status (*has)(Sink *sink, const Relation *relation, bool *ret, Error *err);

    /**
     * Remove all rows of the table: its copy starts again. @copied_at: the snapshot of the last
     * copy that came to its end, LSN_NONE if none did. A history keeps what is as old as that. Only
     * with has_tables.
     */
    Status (*clear)(Sink *sink, const Relation *relation, Lsn copied_at, Error *err);

    /**
     * The table of @relation, which is prepared, has rows of others that are to stay: a copy into
     * it is committed whole, for clear() could not tell its rows from theirs. NULL: never.
     */
    bool (*keeps_rows)(Sink *sink, const Relation *relation);

    /**
     * Take @changes. They may become visible at the target only together with commit(): a
     * transaction that is larger than a batch arrives in several writes.
     */
    Status (*write)(Sink *sink, const Change *changes, size_t count, Error *err);

    /**
     * How many of the @count changes that come next may be written with what is written already,
     * when those behind them would have to wait for long (a rate limit). *ret 0: none, and a commit
     * comes first, also within a transaction of the source, of which the target then has a part for
     * a while; behind a commit there is room for one, which is waited for here. NULL: always for
     * all. Only for the one sink of a pipeline, which nothing is copied into: what is held back
     * during a copy becomes durable as a whole, and no other route may begin within a transaction.
     */
    Status (*make_room)(Sink *sink, const Change *changes, size_t count, size_t *ret, Error *err);

    /**
     * As write(), and all of @changes are applied when it returns. When they are refused
     * (ERROR_DATA) and the target can undo just them, *ret_is_intact: the open transaction is as it
     * was before, and goes on. NULL: nothing is ever refused.
     */
    Status (*try_write)(Sink *sink, const Change *changes, size_t count, bool *ret_is_intact,
                        Error *err);

    /**
     * What names the row of @change, in @arena. NULL: what its relation says.
     */
    void (*row_key)(Sink *sink, const Change *change, Arena *arena, RowKey *ret);

    /**
     * The form in which write_rows() would rather have the copied rows of @relation, which is
     * prepared; COPY_FORM_VALUES: by write(). Both may be NULL.
     */
    CopyForm (*copy_form)(Sink *sink, const Relation *relation);

    /** As write(), for @count copied rows in copy_form()'s form. */
    Status (*write_rows)(Sink *sink, const Relation *relation, Str rows, size_t count, Error *err);

    /**
     * All rows of a copy into the table of @relation have been written: what was put off while it
     * was filled has to be done before the commit that follows. May be NULL.
     */
    Status (*end_copy)(Sink *sink, const Relation *relation, Error *err);

    /**
     * Make everything written so far durable, together with the entries of @changed. When it
     * returns, the source may forget these changes. A sink without stores_checkpoint may add
     * "sink:" entries.
     */
    Status (*commit)(Sink *sink, Checkpoint *changed, Error *err);

    /** Also called after a failed open(). Uncommitted work is dropped. Never fails. */
    void (*close)(Sink *sink);

    /** For `weir check`: the target's type of a column, and where the table goes. May be NULL. */
    void (*describe_column)(Sink *sink, const Column *column, Buf *ret_type);
    void (*describe_table)(Sink *sink, const Relation *relation, Buf *ret_name);

    /**
     * In place of resume(), for who only looks: @checkpoint as resume() would fill it, and refused
     * what it would refuse. Makes and changes nothing, takes no lock. NULL: nothing is stored, and
     * nothing refused.
     */
    Status (*look)(Sink *sink, Checkpoint *checkpoint, Error *err);

    /** Behind look(): report what prepare() would refuse, and claim what no other route may write
     *  to. Changes nothing. May be NULL. */
    Status (*check)(Sink *sink, const Relation *relation, Report *report, Error *err);

    /** The same of what the options say of tables, where they are none of @relations: a typing
     *  error, perhaps. NULL: they say nothing of the kind. */
    void (*check_options)(Sink *sink, const Relation *const *relations, size_t count,
                          Report *report);

    /** Before open(): whether `weir verify` can compare its tables. ERROR_CONFIG: not as it is set
     *  up (a history). NULL, as the next two: never. */
    Status (*digest_check)(Sink *sink, Error *err);

    /** How the table that prepare() made for @relation keeps @count columns, whose index is set:
     * set form and type. Text lives as long as the instance. */
    Status (*digest_columns)(Sink *sink, const Relation *relation, DigestColumn *columns,
                             size_t count, Error *err);

    /** Answer @query about the rows of that table, all of them. Nothing else is asked of the sink
     *  until the reader is closed. */
    Status (*digest_open)(Sink *sink, const DigestQuery *query, DigestReader **ret, Error *err);
} SinkOps;

/** Every instance starts with this. */
struct Sink {
    const SinkOps *ops;
    SinkContext context;
    Arena options_arena; // text of the parsed options
};

/** NULL-terminated: sinks/registry.c */
extern const SinkOps *const sink_registry[];

/** By name, or NULL. */
const SinkOps *sink_find(Str name);

/** The name shown to users: "exactly-once", … */
const char *sink_guarantee_name(SinkGuarantee guarantee);

/** A new instance with its options parsed and validated; not opened. NULL and @err on failure. */
MUST_CHECK Status sink_new(const SinkOps *ops, Settings *settings, const SinkContext *context,
                           Sink **ret, Error *err);

/** Whether sink_new() would take @settings: nothing is connected to. */
MUST_CHECK Status sink_validate(const SinkOps *ops, Settings *settings, Error *err);

/** close() and free. Accepts NULL. */
void sink_free(Sink *sink);
