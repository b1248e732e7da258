// Reading, segment after segment, up to what is durable.
#include <assert.h>
#include <inttypes.h>

#include "base/mem.h"
#include "buffers/segment_inside.h"
#include "pipeline/advice.h"

struct SegmentLogReader {
    SegmentLog *log;
    SegmentLogReader *next; // of the log's list
    Wake wake;
    bool is_open;
    uint64_t sequence; // of the segment that is read, or that is to be opened
    Position passed;   // everything at or before it has been read
    bool in_group;     // and something behind it
    SegmentReader segment;
};

void segment_wake_readers(SegmentLog *log)
{
    for (SegmentLogReader *reader = log->readers; reader != NULL; reader = reader->next) {
        wake_set(&reader->wake);
    }
}

static Status is_dropped(const SegmentLog *log, Position from, Error *err)
{
    char wanted[POSITION_TEXT_SIZE];
    char first[POSITION_TEXT_SIZE];
    position_format(from, wanted);
    position_format(segment_list_first(log), first);
    error_set(err, ERROR_CONFIG, "the buffer \"%s\" begins at %s, behind %s", log->directory, first,
              wanted);
    return error_hint(err,
                      "What is in between was dropped. %s Keep more (max_size, "
                      "max_age), so that it does not happen again.",
                      advice()->fill_anew);
}

// The mutex is held.
static Status find_start(SegmentLogReader *reader, Position from, Error *err)
{
    const SegmentLog *log = reader->log;
    if (log->durable.sequence == 0) {
        reader->sequence = 1;
        return STATUS_OK;
    }
    reader->sequence = segment_list_needed(log, from);
    return reader->sequence == 0 ? is_dropped(log, from, err) : STATUS_OK;
}

Status segment_log_reader_open(SegmentLog *log, Position from, SegmentLogReader **ret, Error *err)
{
    SegmentLogReader *reader = mem_alloc_zero(sizeof(*reader));
    reader->log = log;
    reader->passed = from;
    if (wake_init(&reader->wake, err) != STATUS_OK) {
        mem_free(reader);
        return STATUS_FAIL;
    }
    (void)pthread_mutex_lock(&log->mutex);
    Status status = find_start(reader, from, err);
    if (status == STATUS_OK) {
        reader->next = log->readers;
        log->readers = reader;
    }
    (void)pthread_mutex_unlock(&log->mutex);
    if (status != STATUS_OK) {
        wake_done(&reader->wake);
        mem_free(reader);
        return STATUS_FAIL;
    }
    *ret = reader;
    return STATUS_OK;
}

void segment_log_reader_close(SegmentLogReader *reader)
{
    if (reader == NULL) {
        return;
    }
    SegmentLog *log = reader->log;
    (void)pthread_mutex_lock(&log->mutex);
    SegmentLogReader **at = &log->readers;
    while (*at != reader) {
        at = &(*at)->next;
    }
    *at = reader->next;
    (void)pthread_mutex_unlock(&log->mutex);
    segment_reader_close(&reader->segment);
    wake_done(&reader->wake);
    mem_free(reader);
}

const char *segment_log_reader_path(const SegmentLogReader *reader)
{
    assert(reader->is_open);
    return reader->segment.path;
}

Wake *segment_log_reader_wake(SegmentLogReader *reader)
{
    return &reader->wake;
}

static Status was_dropped(const SegmentLogReader *reader, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "the buffer \"%s\" has dropped its segment %" PRIu64 " before it was read",
              reader->log->directory, reader->sequence);
    return error_hint(err, "%s", advice()->fill_anew);
}

// A segment that has nothing for whoever has everything up to `passed` may go before it was opened.
// The mutex is held.
static void leave_dropped(SegmentLogReader *reader)
{
    const SegmentLog *log = reader->log;
    bool is_dropped = !reader->is_open && reader->sequence < log->durable.sequence &&
                      segment_list_find(log, reader->sequence) == NULL;
    uint64_t needed = is_dropped ? segment_list_needed(log, reader->passed) : 0;
    if (needed > reader->sequence && !reader->in_group) {
        reader->sequence = needed;
    }
}

// How far the reader's segment may be read, 0: not at all yet; *ret_is_last: it may grow. One that
// was dropped is read to its end by whoever has it open.
static Status find_limit(SegmentLogReader *reader, uint64_t *ret, bool *ret_is_last, Error *err)
{
    SegmentLog *log = reader->log;
    (void)pthread_mutex_lock(&log->mutex);
    leave_dropped(reader);
    LogPlace durable = log->durable;
    const Segment *segment = segment_list_find(log, reader->sequence);
    uint64_t size = segment == NULL ? 0 : segment->size;
    (void)pthread_mutex_unlock(&log->mutex);
    *ret_is_last = reader->sequence >= durable.sequence;
    if (*ret_is_last) {
        *ret = reader->sequence == durable.sequence ? durable.offset : 0;
        return STATUS_OK;
    }
    if (segment == NULL) {
        return reader->is_open ? file_size(&reader->segment.file, ret, err)
                               : was_dropped(reader, err);
    }
    *ret = size;
    return STATUS_OK;
}

static Status open_segment(SegmentLogReader *reader, Error *err)
{
    Arena scratch = {.chunk_size = 1024};
    const char *path = segment_path(reader->log, reader->sequence, &scratch);
    Status status = segment_reader_open(&reader->segment, path, err);
    if (status == STATUS_OK && (reader->segment.header.sequence != reader->sequence ||
                                reader->segment.header.log_id != reader->log->id)) {
        segment_reader_close(&reader->segment);
        status = error_set(err, ERROR_FATAL, "\"%s\" is a segment of another log", path);
    }
    arena_done(&scratch);
    reader->is_open = status == STATUS_OK;
    return status;
}

// It was dropped after the look at the list: another look says where to go on, if at all.
static bool is_gone(const SegmentLogReader *reader)
{
    SegmentLog *log = reader->log;
    (void)pthread_mutex_lock(&log->mutex);
    bool gone = segment_list_find(log, reader->sequence) == NULL;
    (void)pthread_mutex_unlock(&log->mutex);
    return gone;
}

static void note_record(SegmentLogReader *reader, const Record *record)
{
    bool is_new = position_compare(record->end, reader->passed) > 0;
    if (record->kind == RECORD_COMMIT) {
        reader->passed = position_max(reader->passed, record->end);
        reader->in_group = false;
    } else if (record->kind != RECORD_STATE && is_new) {
        reader->in_group = true;
    }
}

Status segment_log_next(SegmentLogReader *reader, Arena *arena, Record *ret, Error *err)
{
    for (;;) {
        uint64_t limit = 0;
        bool is_last;
        if (find_limit(reader, &limit, &is_last, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (limit == 0) {
            return STATUS_AGAIN;
        }
        if (!reader->is_open && open_segment(reader, err) != STATUS_OK) {
            if (is_gone(reader)) {
                continue;
            }
            return STATUS_FAIL;
        }
        Status status = segment_reader_next(&reader->segment, limit, arena, ret, err);
        if (status == STATUS_OK) {
            note_record(reader, ret);
        }
        if (status != STATUS_AGAIN || is_last) {
            return status;
        }
        segment_reader_close(&reader->segment);
        reader->is_open = false;
        reader->sequence++;
    }
}
