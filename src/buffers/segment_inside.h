// The log, inside: shared by segment_log.c (opening, retention), segment_recover.c,
// segment_write.c and segment_read.c.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include "buffers/segment_log.h"

typedef struct Segment {
    uint64_t sequence;
    Position first; // as in its header
    uint64_t group; // sequence of the segment from which on it is to be read
    uint64_t size;  // of all of it but the last; that one grows
    int64_t age_us; // how old it was when the log was opened; 0: begun since
} Segment;

/** Somebody who reads. */
typedef struct Cursor {
    Str name;
    bool is_expected; // nothing that it needs is dropped
    bool is_known;    // it has told how far it is
    bool is_given_up;
    bool is_stored; // the log remembers `position`
    Position position;
    // The log ended at `mark` at `marked_us`, and the reader is not there yet: so it is late by the
    // time since then at least. Once it is there, the mark is set anew.
    Position mark;
    int64_t marked_us;
} Cursor;

struct SegmentLog {
    // Of the list of open logs, under its lock.
    SegmentLog *next_open;
    int references;
    dev_t device; // of the directory
    ino_t inode;

    Arena arena; // path
    const char *directory;
    File lock; // also holds the mark, see segment_recover.c
    const char *lock_path;
    bool only_looks; // nothing is removed or written
    uint64_t id;
    int64_t opened_us; // on the monotonic clock
    atomic_uint_fast64_t cut;

    pthread_mutex_t mutex; // of all up to the writer's part
    Segment *segments;     // oldest first
    size_t count;
    size_t capacity;
    uint64_t oldest_file; // the first that is there: those before the list are to be removed
    bool is_removing;     // somebody is at that
    LogPlace durable;     // readers go up to here; sequence 0: nothing is committed
    Position position;
    Checkpoint entries;
    SegmentLogReader *readers;
    Cursor *cursors;
    size_t cursor_count;
    size_t cursor_capacity;
    uint64_t keep_bytes;
    bool is_expecting;
    Arena cursor_arena; // their names

    // The writer's.
    uint64_t sequence; // of the last segment; 0: there is none
    File file;         // of it
    const char *path;
    Arena path_arena;
    uint64_t written; // bytes of it
    Buf out;          // what comes behind them
    size_t record_at; // where the open record begins in `out`
    bool in_record;
    bool in_group;  // records were written since the last commit
    bool is_torn;   // a write failed: roll back first
    bool is_failed; // a sync failed: no promise can be kept any more
};

/** The path of a segment, in @arena. */
RETURNS_NONNULL const char *segment_path(const SegmentLog *log, uint64_t sequence, Arena *arena);

/** Add to the end of the list. */
void segment_list_add(SegmentLog *log, const SegmentHeader *header, uint64_t size);

/** The one with that sequence, or NULL. */
Segment *segment_list_find(const SegmentLog *log, uint64_t sequence);

/** Where whoever has everything up to @position has to begin to read; 0: that was dropped. The
 *  mutex is held. */
uint64_t segment_list_needed(const SegmentLog *log, Position position);

/** The first position that can be read on from. The mutex is held, and something is committed. */
Position segment_list_first(const SegmentLog *log);

/** The log has moved on: from now on those lack something who had everything. The mutex is held. */
void segment_mark_cursors(SegmentLog *log);

/** Entries of a checkpoint as the payload of a record, and back into @ret. */
void segment_entries_encode(const Checkpoint *entries, Buf *out);
MUST_CHECK bool segment_entries_decode(Str payload, Checkpoint *ret);

// segment_recover.c

/** Find where the committed part ends: fills the list, durable, position and entries. */
MUST_CHECK Status segment_recover(SegmentLog *log, Error *err);

/** Note in the lock file how far the log is durable. */
void segment_mark(SegmentLog *log);

// segment_write.c

/** Remove all that is behind `durable`, and open the last segment for writing. */
MUST_CHECK Status segment_cut_back(SegmentLog *log, Error *err);

void segment_writer_close(SegmentLog *log);

// segment_read.c

/** Ring the bell of every reader. The mutex is held. */
void segment_wake_readers(SegmentLog *log);
