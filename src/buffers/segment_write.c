// Writing: records come together in a buffer, the buffer goes to the file, a commit syncs the file.
//
// A new segment is begun only when everything before it is synced, also within a transaction that
// is larger than a segment. Its name survives a power cut before its first record is committed.
#include <assert.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "buffers/segment_inside.h"

enum {
    FLUSH_BYTES = 1 << 20,
    KEEP_BYTES = 4 << 20, // memory kept between two flushes
};

void segment_writer_close(SegmentLog *log)
{
    file_close(&log->file);
    buf_done(&log->out);
    arena_done(&log->path_arena);
}

static void forget_buffer(SegmentLog *log)
{
    if (log->out.capacity > KEEP_BYTES) {
        buf_done(&log->out);
        buf_init(&log->out, log->out.max);
    } else {
        buf_reset(&log->out);
    }
}

// A failed sync may have lost what it was to keep; a failed write leaves a torn tail.
static Status is_usable(const SegmentLog *log, Error *err)
{
    if (log->is_failed) {
        error_set(err, ERROR_FATAL,
                  "the buffer \"%s\" could not be synced: what it has is not known",
                  log->directory);
        return error_hint(err, "Look into the system's log for errors of the disk, mend it, and "
                               "start again: what is not on the disk comes again.");
    }
    return STATUS_OK;
}

static Status flush(SegmentLog *log, Error *err)
{
    assert(!log->in_record);
    Str data = buf_view(&log->out);
    log->is_torn = true;
    CRASH_POINT("buffer-flush-begins");
    if (file_write(&log->file, log->written, data, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("buffer-flushed");
    log->is_torn = false;
    log->written += data.len;
    forget_buffer(log);
    return STATUS_OK;
}

static Status sync(SegmentLog *log, Error *err)
{
    if (file_sync(&log->file, err) != STATUS_OK) {
        log->is_failed = true;
        return STATUS_FAIL;
    }
    CRASH_POINT("buffer-synced");
    return STATUS_OK;
}

static Status open_file(SegmentLog *log, uint64_t sequence, Error *err)
{
    file_close(&log->file);
    arena_reset(&log->path_arena);
    log->path = segment_path(log, sequence, &log->path_arena);
    return file_open_private(&log->file, log->path, err);
}

// ---------------------------------------------------------------------------------------------
// Records
// ---------------------------------------------------------------------------------------------

Buf *segment_log_record(SegmentLog *log)
{
    static const char header[RECORD_HEADER_SIZE];
    assert(!log->in_record && !log->is_torn && log->file.fd >= 0);
    log->in_record = true;
    log->record_at = log->out.len;
    buf_bytes(&log->out, header, sizeof(header));
    return &log->out;
}

static Status end_record(SegmentLog *log, RecordKind kind, Position end, Error *err)
{
    assert(log->in_record);
    log->in_record = false;
    size_t len = log->out.len - log->record_at;
    if (log->out.overflowed || len - RECORD_HEADER_SIZE > RECORD_BYTES_MAX) {
        log->is_torn = true;
        error_set(err, ERROR_DATA, "a change is too large for the buffer \"%s\"", log->directory);
        return error_hint(err,
                          "Both rows of one change may have 3 GB there. Leave the large column "
                          "out of what is published (a publication's column list), or give "
                          "the table a replica identity that does not send the old row.");
    }
    LogPlace at = {log->sequence, log->written + log->record_at};
    record_seal(log->id, at, kind, end, log->out.ptr + log->record_at, len);
    return STATUS_OK;
}

Status segment_log_end(SegmentLog *log, RecordKind kind, Position end, Error *err)
{
    assert(kind == RECORD_RELATION || kind == RECORD_CHANGES);
    assert(end.lsn >= log->position.lsn);
    if (end_record(log, kind, end, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    log->in_group = true;
    return log->out.len < FLUSH_BYTES ? STATUS_OK : flush(log, err);
}

// ---------------------------------------------------------------------------------------------
// Segments
// ---------------------------------------------------------------------------------------------

// Only what is there now: what it replaced and removed in the last segment is forgotten.
static void tidy_entries(SegmentLog *log)
{
    Checkpoint tidy = {0};
    segment_log_entries(log, &tidy);
    (void)pthread_mutex_lock(&log->mutex);
    Checkpoint before = log->entries;
    log->entries = tidy;
    (void)pthread_mutex_unlock(&log->mutex);
    checkpoint_done(&before);
}

static Status end_segment(SegmentLog *log, Error *err)
{
    if (flush(log, err) != STATUS_OK || sync(log, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    (void)pthread_mutex_lock(&log->mutex);
    log->segments[log->count - 1].size = log->written;
    (void)pthread_mutex_unlock(&log->mutex);
    return STATUS_OK;
}

static Status begin_segment(SegmentLog *log, Position first, Error *err)
{
    if (log->sequence != 0 && end_segment(log, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_alone = !log->in_group && log->durable.sequence != 0;
    SegmentHeader header = {
        .log_id = log->id,
        .sequence = log->sequence + 1,
        .first = first,
        .created_us = clock_wall_us(),
        .group = is_alone ? (LogPlace){log->sequence + 1, 0} : log->durable,
        .previous_size = log->written,
    };
    tidy_entries(log);
    log->is_torn = true; // until the file is begun
    CRASH_POINT("buffer-segment-begins");
    if (open_file(log, header.sequence, err) != STATUS_OK ||
        file_truncate(&log->file, 0, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("buffer-segment-made");
    log->is_torn = false;
    log->sequence = header.sequence;
    log->written = 0;
    (void)pthread_mutex_lock(&log->mutex);
    segment_list_add(log, &header, 0);
    (void)pthread_mutex_unlock(&log->mutex);
    char bytes[SEGMENT_HEADER_SIZE];
    segment_header_encode(&header, bytes);
    buf_bytes(&log->out, bytes, sizeof(bytes));
    segment_entries_encode(&log->entries, segment_log_record(log));
    return end_record(log, RECORD_STATE, first, err);
}

// The last segment began within a group, which is committed.
static bool is_over(SegmentLog *log)
{
    if (log->in_group || log->sequence == 0) {
        return false;
    }
    (void)pthread_mutex_lock(&log->mutex);
    bool over = segment_list_find(log, log->sequence)->group != log->sequence;
    (void)pthread_mutex_unlock(&log->mutex);
    return over;
}

Status segment_log_begin(SegmentLog *log, uint64_t segment_bytes, uint64_t *ret_segment, Error *err)
{
    assert(!log->is_torn);
    if (is_usable(log, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_full = log->sequence == 0 || log->written + log->out.len >= segment_bytes;
    if ((is_full || is_over(log)) && begin_segment(log, log->position, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret_segment = log->sequence;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Commits
// ---------------------------------------------------------------------------------------------

// What was synced is there for the readers from now on.
static void publish(SegmentLog *log, Position end, const Checkpoint *changed)
{
    (void)pthread_mutex_lock(&log->mutex);
    Segment *last = &log->segments[log->count - 1];
    last->size = log->written;
    log->durable = (LogPlace){last->sequence, log->written};
    log->position = end;
    segment_mark_cursors(log);
    for (size_t i = 0; i < changed->count; i++) {
        checkpoint_set(&log->entries, changed->entries[i].key, changed->entries[i].value);
    }
    segment_wake_readers(log);
    (void)pthread_mutex_unlock(&log->mutex);
    CRASH_POINT("buffer-mark-begins");
    segment_mark(log);
    CRASH_POINT("buffer-mark-written");
    log->in_group = false;
}

Status segment_log_commit(SegmentLog *log, Position end, const Checkpoint *changed, Error *err)
{
    assert(!log->is_torn);
    if (is_usable(log, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool moved = position_compare(end, log->position) != 0;
    if (!log->in_group && !moved && changed->count == 0) {
        return STATUS_OK;
    }
    bool is_first = log->sequence == 0;
    if ((is_first || is_over(log)) &&
        begin_segment(log, is_first ? end : log->position, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    segment_entries_encode(changed, segment_log_record(log));
    if (end_record(log, RECORD_COMMIT, end, err) != STATUS_OK || flush(log, err) != STATUS_OK ||
        sync(log, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    publish(log, end, changed);
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Going back
// ---------------------------------------------------------------------------------------------

// Take the last segment off the list, if it is @sequence.
static void unlist(SegmentLog *log, uint64_t sequence)
{
    (void)pthread_mutex_lock(&log->mutex);
    if (log->count > 0 && log->segments[log->count - 1].sequence == sequence) {
        log->count--;
    }
    (void)pthread_mutex_unlock(&log->mutex);
}

// The last one first, so that a crash leaves no gap; one more than is known, as its creation may
// have failed half-way.
static Status remove_uncommitted(SegmentLog *log, Error *err)
{
    Arena scratch = {.chunk_size = 1024};
    Status status = STATUS_OK;
    uint64_t sequence = log->sequence + 1;
    for (; sequence > log->durable.sequence && sequence > 0 && status == STATUS_OK; sequence--) {
        status = file_remove(segment_path(log, sequence, &scratch), err);
        if (status == STATUS_OK) {
            unlist(log, sequence);
        }
        arena_reset(&scratch);
    }
    arena_done(&scratch);
    return status;
}

// What is cut is synced, too: after a power cut no part of it may come back behind what is written
// in its place.
Status segment_cut_back(SegmentLog *log, Error *err)
{
    log->is_torn = true;
    log->in_record = false;
    log->in_group = false;
    forget_buffer(log);
    file_close(&log->file);
    log->written = 0;
    CRASH_POINT("buffer-cut-begins");
    if (remove_uncommitted(log, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    LogPlace end = log->durable;
    if (end.sequence != 0) {
        if (open_file(log, end.sequence, err) != STATUS_OK ||
            file_truncate(&log->file, end.offset, err) != STATUS_OK ||
            sync(log, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        (void)pthread_mutex_lock(&log->mutex);
        segment_list_find(log, end.sequence)->size = end.offset;
        (void)pthread_mutex_unlock(&log->mutex);
        log->written = end.offset;
        log->sequence = end.sequence;
    } else {
        log->sequence = 0;
        (void)pthread_mutex_lock(&log->mutex);
        checkpoint_reset(&log->entries);
        log->position = (Position){0};
        (void)pthread_mutex_unlock(&log->mutex);
    }
    CRASH_POINT("buffer-cut-back");
    log->is_torn = false;
    return STATUS_OK;
}

Status segment_log_rollback(SegmentLog *log, Error *err)
{
    if (is_usable(log, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_clean = !log->is_torn && !log->in_record && !log->in_group && log->out.len == 0 &&
                    log->file.fd >= 0;
    return is_clean ? STATUS_OK : segment_cut_back(log, err);
}
