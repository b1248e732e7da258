// One file of the disk buffer: a segment. How it looks, and reading it.
//
//   header | STATE | record | record | …
//
// The header says which segment of which log it is, and how the log stood when it was begun. Every
// record has a checksum that also covers where it stands: one that was written elsewhere, or left
// by an earlier use of the disk, is damage like any other.
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "change/position.h"
#include "io/file.h"

/** A place in the log. */
typedef struct LogPlace {
    uint64_t sequence; // of the segment, from 1; 0: nowhere
    uint64_t offset;   // in its file
} LogPlace;

/** What a record is. Stored: the numbers never change. */
typedef enum RecordKind {
    RECORD_STATE = 1,    // the first of each segment: all that the log remembers
    RECORD_RELATION = 2, // change/pack.h
    RECORD_CHANGES = 3,  // change/pack.h; `end` is the position of the last one
    RECORD_COMMIT = 4,   // whole transactions up to `end`, and what is to be remembered with them
} RecordKind;

enum {
    SEGMENT_HEADER_SIZE = 84,
    RECORD_HEADER_SIZE = 28,
    SEGMENT_NAME_SIZE = 32,
};

#define RECORD_BYTES_MAX ((size_t)3 << 30) // one change of two rows, see LIMIT_MESSAGE_BYTES

typedef struct SegmentHeader {
    uint64_t log_id; // the same in all segments of a log, and in no other log
    uint64_t sequence;
    Position first;     // everything at or before it is in earlier segments
    int64_t created_us; // since 1970
    // Where the records begin that no COMMIT followed when it was begun; {own, 0}: there were none;
    // {0, 0}: there was no COMMIT at all.
    LogPlace group;
    uint64_t previous_size; // of the segment before it
} SegmentHeader;

void segment_header_encode(const SegmentHeader *header, char ret[static SEGMENT_HEADER_SIZE]);

/** False when it is not a whole and undamaged header. */
MUST_CHECK bool segment_header_decode(Str bytes, SegmentHeader *ret);

/** "0000000000000001.log" */
void segment_name(uint64_t sequence, char ret[static SEGMENT_NAME_SIZE]);

/** False when it is the name of no segment. */
MUST_CHECK bool segment_name_parse(Str name, uint64_t *ret);

typedef struct Record {
    RecordKind kind;
    Position end;
    Str payload;
    uint64_t offset; // where it stands in its segment
} Record;

/** Fill in the first RECORD_HEADER_SIZE of @bytes; the payload is behind them already. @at: where
 *  the record is going to stand. */
void record_seal(uint64_t log_id, LogPlace at, RecordKind kind, Position end, char *bytes,
                 size_t len);

/** Reads the records of one segment in order, through a window of its own. */
typedef struct SegmentReader {
    File file;
    char *path; // owned
    SegmentHeader header;
    uint64_t offset; // of the next record
    char *window;
    uint64_t window_at; // its offset in the file
    size_t window_len;
    bool is_damaged; // the last failure was about what the file has, not about reading it
} SegmentReader;

/** Open and look at the header. On failure is_damaged says whether it is the header. */
MUST_CHECK Status segment_reader_open(SegmentReader *reader, const char *path, Error *err);

/** Accepts a zeroed one. */
void segment_reader_close(SegmentReader *reader);

/**
 * The next record, its payload in @arena; STATUS_AGAIN when it would begin at @limit. Nothing at or
 * behind @limit is looked at. Damage is ERROR_FATAL with file and offset; the reader stays where
 * it was.
 */
MUST_CHECK Status segment_reader_next(SegmentReader *reader, uint64_t limit, Arena *arena,
                                      Record *ret, Error *err);
