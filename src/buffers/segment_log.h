// The disk buffer: an append-only log of changes in a directory of its own, one writer and any
// number of readers, all of one process.
//
//   write … write ─► commit ─► one fsync for all of it ─► readers see it
//
// What was committed survives a power cut; what was not is gone after it, all of it: the log always
// ends with a commit. A torn tail is cut off when the log is opened, and told. Any other damage is
// ERROR_FATAL that names file and offset.
//
// The log is a chain of segments (segment_file.h). Each begins with all that the log remembers, so
// that the oldest ones can be dropped when no reader needs them any more.
#pragma once

#include "buffers/segment_file.h"
#include "io/wake.h"
#include "pipeline/checkpoint.h"

typedef struct SegmentLog SegmentLog;

/**
 * Open the log in @directory, making it when it is missing. Within one process everybody who opens
 * the directory gets the same log; for another process it is locked (ERROR_CONFIG). Thread: any.
 */
MUST_CHECK Status segment_log_open(const char *directory, SegmentLog **ret, Error *err);

/** Accepts NULL. Thread: any. */
void segment_log_close(SegmentLog *log);

/** How much the repair of a torn tail cut off when the log was opened; told once, then 0. */
uint64_t segment_log_cut(SegmentLog *log);

typedef struct SegmentLogRange {
    bool is_empty;  // nothing was ever committed
    Position first; // everything behind it up to
    Position last;  // this is in the log
    uint64_t bytes; // on disk
} SegmentLogRange;

/**
 * What opening the log in @directory would find, without making, mending or locking anything;
 * @entries as by segment_log_entries(). A log that is not there is empty. Thread: any.
 */
MUST_CHECK Status segment_log_look(const char *directory, SegmentLogRange *ret, Checkpoint *entries,
                                   Error *err);

/** Thread: any. */
SegmentLogRange segment_log_range(SegmentLog *log);

/** What was remembered with the commits: each key's last value. Thread: any. */
void segment_log_entries(SegmentLog *log, Checkpoint *ret);

// ---------------------------------------------------------------------------------------------
// Writing: one thread at a time. After a failure only segment_log_rollback() may be called.
// ---------------------------------------------------------------------------------------------

/** Forget what was written since the last commit. */
MUST_CHECK Status segment_log_rollback(SegmentLog *log, Error *err);

/**
 * Get ready to write: begin a new segment when the last one has @segment_bytes or more. A segment
 * grows beyond that only by what is written between two calls. *ret_segment: the segment that the
 * next records go to, which begins with nothing but the log's memory.
 */
MUST_CHECK Status segment_log_begin(SegmentLog *log, uint64_t segment_bytes, uint64_t *ret_segment,
                                    Error *err);

/** The next record's payload is appended to this buffer; segment_log_end() follows. */
RETURNS_NONNULL Buf *segment_log_record(SegmentLog *log);

/** The record is complete. Its LSN is not smaller than that of any before it. */
MUST_CHECK Status segment_log_end(SegmentLog *log, RecordKind kind, Position end, Error *err);

/**
 * Make everything written so far durable, with @end as the new end of the log and the entries of
 * @changed to be remembered. The first commit of an empty log says where it begins.
 */
MUST_CHECK Status segment_log_commit(SegmentLog *log, Position end, const Checkpoint *changed,
                                     Error *err);

// ---------------------------------------------------------------------------------------------
// Reading: each reader belongs to one thread.
// ---------------------------------------------------------------------------------------------

typedef struct SegmentLogReader SegmentLogReader;

/**
 * Read what is behind @from. The first records may be older: whole segments are read, and RELATION
 * records of a segment are needed for all that follows. ERROR_CONFIG when the log has been dropped
 * up to a later position.
 */
MUST_CHECK Status segment_log_reader_open(SegmentLog *log, Position from, SegmentLogReader **ret,
                                          Error *err);

/** Accepts NULL. */
void segment_log_reader_close(SegmentLogReader *reader);

/**
 * The next durable record, its payload in @arena; STATUS_AGAIN when there is none yet. The last
 * record before STATUS_AGAIN is a COMMIT.
 */
MUST_CHECK Status segment_log_next(SegmentLogReader *reader, Arena *arena, Record *ret, Error *err);

/** The file that the last record came from; until the next one is asked for. */
RETURNS_NONNULL const char *segment_log_reader_path(const SegmentLogReader *reader);

/** Readable when more has become durable since it was last cleared. */
Wake *segment_log_reader_wake(SegmentLogReader *reader);

// ---------------------------------------------------------------------------------------------
// Retention: a segment is dropped when everybody who is expected to read it has done so.
// Thread: any.
// ---------------------------------------------------------------------------------------------

/**
 * Who reads this log, and how many bytes of what all have read are kept for replays. Until it is
 * called nothing is dropped. A name that has not told yet how far it is needs everything.
 */
void segment_log_expect(SegmentLog *log, const Str *names, size_t count, uint64_t keep_bytes);

/** @name has everything at or before @position. It may tell so before it is expected. */
void segment_log_passed(SegmentLog *log, Str name, Position position);

/** Add how far readers are, as far as the log does not remember it, to what a commit is to store:
 *  the next opening knows them then. */
void segment_log_cursors(SegmentLog *log, Checkpoint *changed);

/** How far @name is is not known any more, also to the next opening: everything is kept until it
 *  tells. Of the writer, between two commits. */
MUST_CHECK Status segment_log_forget(SegmentLog *log, Str name, Error *err);

typedef struct SegmentLogBacklog {
    uint64_t bytes; // on disk because of it
    int64_t age_us; // it lacks something that has been in the log for at least this long
    bool is_known;  // it has told how far it is
    bool is_given_up;
} SegmentLogBacklog;

/** How much @name holds. What is too much is for the caller to decide. False: it is not expected,
 *  or was given up. */
bool segment_log_backlog(SegmentLog *log, Str name, SegmentLogBacklog *ret);

/** Drop what only @name needs. It is expected again when it tells a position that can be read on
 *  from; otherwise its reader finds out. */
void segment_log_give_up(SegmentLog *log, Str name);
