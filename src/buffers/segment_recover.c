// Finding the end of the log.
//
// Only the last segment can be torn: the one before it was synced before it was begun. So that one
// is read, record by record. Behind its last COMMIT everything goes: those transactions come again.
//
// Damage there is either the tail that a crash left, or damage of what was durable, which must
// never be cut off in silence. What tells them apart is the mark: after every sync, how far the log
// is durable is noted in the lock file. That is not synced itself, so after a power cut it may be
// an older one, but a process that is killed leaves it as it is. Damage before the mark is an
// error.
//
// A COMMIT behind the mark is no proof that it was synced. Its sync may have failed: the kernel
// then forgets that the pages were to be written, but still shows what they had, and the next sync
// succeeds without them. So what is behind the mark is written again and synced, and only what is
// found then counts.
#include <dirent.h>
#include <inttypes.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/reader.h"
#include "buffers/segment_inside.h"
#include "pipeline/advice.h"

enum { MARK_SIZE = 20, COPY_BYTES = 1 << 20 };

// ---------------------------------------------------------------------------------------------
// The mark
// ---------------------------------------------------------------------------------------------

void segment_mark(SegmentLog *log)
{
    Buf bytes;
    buf_init(&bytes, MARK_SIZE);
    buf_be64(&bytes, log->durable.sequence);
    buf_be64(&bytes, log->durable.offset);
    buf_be32(&bytes, crc32c(0, bytes.ptr, bytes.len));
    // An older mark is only worth less.
    Status ignored = file_write(&log->lock, 0, buf_view(&bytes), NULL);
    (void)ignored;
    buf_done(&bytes);
}

// {0, 0} when there is none.
static Status read_mark(const SegmentLog *log, LogPlace *ret, Error *err)
{
    char bytes[MARK_SIZE];
    uint64_t size;
    *ret = (LogPlace){0};
    if (file_size(&log->lock, &size, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (size < MARK_SIZE) {
        return STATUS_OK;
    }
    if (file_read(&log->lock, 0, bytes, sizeof(bytes), err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Reader in = reader_from(bytes, sizeof(bytes));
    LogPlace place;
    uint32_t sum;
    if (reader_u64(&in, &place.sequence) && reader_u64(&in, &place.offset) &&
        reader_u32(&in, &sum) && sum == crc32c(0, bytes, sizeof(bytes) - sizeof(sum))) {
        *ret = place;
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// The files
// ---------------------------------------------------------------------------------------------

typedef struct Sequences {
    uint64_t *items;
    size_t count;
    size_t capacity;
} Sequences;

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static Status list_files(const SegmentLog *log, Sequences *ret, Error *err)
{
    DIR *entries = opendir(log->directory);
    if (entries == NULL) {
        return file_error(err, errno, "read the directory", log->directory);
    }
    const struct dirent *entry;
    while ((errno = 0, entry = readdir(entries)) != NULL) {
        uint64_t sequence;
        if (!segment_name_parse(str_from(entry->d_name), &sequence)) {
            continue;
        }
        if (ret->count == ret->capacity) {
            ret->capacity = MAX(ret->capacity * 2, (size_t)64);
            ret->items = mem_resize(ret->items, ret->capacity * sizeof(*ret->items));
        }
        ret->items[ret->count++] = sequence;
    }
    int code = errno;
    (void)closedir(entries);
    if (code != 0) {
        return file_error(err, code, "read the directory", log->directory);
    }
    if (ret->count > 0) {
        qsort(ret->items, ret->count, sizeof(*ret->items), compare);
    }
    return STATUS_OK;
}

static Status is_missing(const SegmentLog *log, uint64_t sequence, Error *err)
{
    Arena scratch = {.chunk_size = 1024};
    error_set(err, ERROR_FATAL, "\"%s\" is missing, and the log goes on behind it",
              segment_path(log, sequence, &scratch));
    arena_done(&scratch);
    return error_hint(err, "Put the file back. Without it: %s", advice()->start_anew);
}

// ---------------------------------------------------------------------------------------------
// The chain
// ---------------------------------------------------------------------------------------------

typedef struct Recovery {
    SegmentLog *log;
    Sequences files;
    LogPlace mark;
    bool has_damage; // of the last segment
    Error damage;
    uint64_t cut;
} Recovery;

static Status open_segment(const SegmentLog *log, uint64_t sequence, SegmentReader *ret,
                           uint64_t *ret_size, Error *err)
{
    Arena scratch = {.chunk_size = 1024};
    Status status = segment_reader_open(ret, segment_path(log, sequence, &scratch), err);
    arena_done(&scratch);
    if (status == STATUS_OK && file_size(&ret->file, ret_size, err) != STATUS_OK) {
        segment_reader_close(ret);
        status = STATUS_FAIL;
    }
    return status;
}

// That it is the next one of the list, and that the one before it is as long as it was then.
static Status check_chain(const SegmentLog *log, const SegmentReader *reader, uint64_t sequence,
                          Error *err)
{
    const SegmentHeader *header = &reader->header;
    const Segment *last = log->count == 0 ? NULL : &log->segments[log->count - 1];
    if (header->sequence != sequence || header->group.sequence > sequence ||
        (last != NULL && header->log_id != log->id)) {
        error_set(err, ERROR_FATAL, "\"%s\" is a segment of another log", reader->path);
        return error_hint(err, "Put the right file in its place.");
    }
    if (last != NULL && last->size != header->previous_size) {
        Arena scratch = {.chunk_size = 1024};
        error_set(err, ERROR_FATAL,
                  "\"%s\" is damaged at byte %" PRIu64 ": it had %" PRIu64
                  " bytes, and has %" PRIu64,
                  segment_path(log, last->sequence, &scratch),
                  MIN(last->size, header->previous_size), header->previous_size, last->size);
        arena_done(&scratch);
        return error_hint(err, "Put the file back from a backup.");
    }
    return STATUS_OK;
}

static Status add_segment(SegmentLog *log, uint64_t sequence, Error *err)
{
    SegmentReader reader;
    uint64_t size;
    if (open_segment(log, sequence, &reader, &size, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status = check_chain(log, &reader, sequence, err);
    if (status == STATUS_OK) {
        log->id = reader.header.log_id;
        segment_list_add(log, &reader.header, size);
    }
    segment_reader_close(&reader);
    return status;
}

// All but the last.
static Status add_older(Recovery *recovery, Error *err)
{
    for (size_t i = 0; i + 1 < recovery->files.count; i++) {
        if (recovery->files.items[i + 1] != recovery->files.items[i] + 1) {
            return is_missing(recovery->log, recovery->files.items[i] + 1, err);
        }
        if (add_segment(recovery->log, recovery->files.items[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// The last segment
// ---------------------------------------------------------------------------------------------

static Status bad_memory(SegmentReader *reader, const Record *record, Error *err)
{
    reader->is_damaged = true;
    return error_set(err, ERROR_FATAL,
                     "\"%s\" is damaged at byte %" PRIu64 ": what it remembers cannot be read",
                     reader->path, record->offset);
}

static Status take_record(SegmentLog *log, SegmentReader *reader, const Record *record, Error *err)
{
    bool is_first = record->offset == SEGMENT_HEADER_SIZE;
    if (is_first != (record->kind == RECORD_STATE)) {
        return bad_memory(reader, record, err);
    }
    if (record->kind != RECORD_STATE && record->kind != RECORD_COMMIT) {
        return STATUS_OK;
    }
    if (!segment_entries_decode(record->payload, &log->entries)) {
        return bad_memory(reader, record, err);
    }
    const LogPlace *group = &reader->header.group;
    bool is_end = record->kind == RECORD_COMMIT || group->sequence == reader->header.sequence;
    log->durable = is_end ? (LogPlace){reader->header.sequence, reader->offset} : *group;
    log->position = record->end;
    return STATUS_OK;
}

static Status fail_with(const Error *failure, Error *err)
{
    if (err != NULL) {
        *err = *failure;
    }
    return STATUS_FAIL;
}

// Up to the first damage, which is noted.
static Status scan(Recovery *recovery, SegmentReader *reader, uint64_t size, Error *err)
{
    SegmentLog *log = recovery->log;
    Arena scratch = {0};
    Status status = STATUS_OK;
    Error failure = {0};
    while (status == STATUS_OK) {
        Record record;
        status = segment_reader_next(reader, size, &scratch, &record, &failure);
        if (status == STATUS_OK) {
            status = take_record(log, reader, &record, &failure);
        }
        arena_reset(&scratch);
    }
    arena_done(&scratch);
    if (status == STATUS_FAIL && !reader->is_damaged) {
        return fail_with(&failure, err);
    }
    if (status == STATUS_FAIL) {
        recovery->has_damage = true;
        recovery->damage = failure;
    }
    return STATUS_OK;
}

static bool is_before(LogPlace a, LogPlace b)
{
    return a.sequence != b.sequence ? a.sequence < b.sequence : a.offset < b.offset;
}

// Nothing of it is worth anything: its creation was not finished.
static Status remove_unfinished(Recovery *recovery, uint64_t sequence, Error *err)
{
    if (recovery->mark.sequence >= sequence) {
        return fail_with(&recovery->damage, err);
    }
    Arena scratch = {.chunk_size = 1024};
    const char *path = segment_path(recovery->log, sequence, &scratch);
    struct stat info;
    recovery->cut += stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
    Status status = recovery->log->only_looks ? STATUS_OK : file_remove(path, err);
    arena_done(&scratch);
    return status;
}

// *ret_found: it has at least what the log remembered when it was begun.
static Status scan_opened(Recovery *recovery, SegmentReader *reader, uint64_t sequence,
                          uint64_t size, bool *ret_found, Error *err)
{
    SegmentLog *log = recovery->log;
    if (check_chain(log, reader, sequence, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    log->id = reader->header.log_id;
    checkpoint_reset(&log->entries);
    if (scan(recovery, reader, size, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret_found = reader->offset > SEGMENT_HEADER_SIZE;
    if (*ret_found) {
        segment_list_add(log, &reader->header, size);
    } else if (!recovery->has_damage) {
        recovery->has_damage = true;
        error_set(&recovery->damage, ERROR_FATAL, "\"%s\" is damaged at byte %d: it ends there",
                  reader->path, SEGMENT_HEADER_SIZE);
    }
    return STATUS_OK;
}

static Status scan_last(Recovery *recovery, uint64_t sequence, bool *ret_found, Error *err)
{
    SegmentReader reader;
    uint64_t size = 0;
    Error failure = {0};
    *ret_found = false;
    recovery->has_damage = false;
    if (open_segment(recovery->log, sequence, &reader, &size, &failure) != STATUS_OK) {
        if (!reader.is_damaged) {
            return fail_with(&failure, err);
        }
        recovery->has_damage = true;
        recovery->damage = failure;
        return STATUS_OK;
    }
    Status status = scan_opened(recovery, &reader, sequence, size, ret_found, err);
    segment_reader_close(&reader);
    return status;
}

// ---------------------------------------------------------------------------------------------
// The end
// ---------------------------------------------------------------------------------------------

static Status check_end(Recovery *recovery, Error *err)
{
    SegmentLog *log = recovery->log;
    LogPlace end = log->durable;
    if (is_before(end, recovery->mark)) {
        if (recovery->has_damage) {
            return fail_with(&recovery->damage, err);
        }
        const Segment *segment = segment_list_find(log, recovery->mark.sequence);
        if (segment == NULL) {
            return is_missing(log, recovery->mark.sequence, err);
        }
        Arena scratch = {.chunk_size = 1024};
        error_set(err, ERROR_FATAL,
                  "\"%s\" is damaged at byte %" PRIu64 ": it was longer by %" PRIu64 " bytes",
                  segment_path(log, segment->sequence, &scratch), end.offset,
                  recovery->mark.offset - end.offset);
        arena_done(&scratch);
        return error_hint(err, "Put the file back from a backup.");
    }
    const Segment *segment = segment_list_find(log, end.sequence);
    if (end.sequence != 0 && (segment == NULL || segment->size < end.offset)) {
        return is_missing(log, end.sequence, err);
    }
    return STATUS_OK;
}

static Status find_end(Recovery *recovery, Error *err)
{
    SegmentLog *log = recovery->log;
    if (read_mark(log, &recovery->mark, err) != STATUS_OK ||
        list_files(log, &recovery->files, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (recovery->files.count > 0 && add_older(recovery, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool found = false;
    for (size_t left = recovery->files.count; left > 0 && !found; left--) {
        uint64_t sequence = recovery->files.items[left - 1];
        if (left < recovery->files.count) {
            log->count--; // it is the last one now
        }
        if (scan_last(recovery, sequence, &found, err) != STATUS_OK ||
            (!found && remove_unfinished(recovery, sequence, err) != STATUS_OK)) {
            return STATUS_FAIL;
        }
    }
    return check_end(recovery, err);
}

// ---------------------------------------------------------------------------------------------
// What is behind the mark
// ---------------------------------------------------------------------------------------------

// Of an older segment everything is synced: the one behind it was begun after that.
static bool is_doubtful(const Recovery *recovery)
{
    const SegmentLog *log = recovery->log;
    return log->count > 0 && log->durable.sequence == log->segments[log->count - 1].sequence &&
           is_before(recovery->mark, log->durable);
}

static Status write_again(const Recovery *recovery, Error *err)
{
    LogPlace mark = recovery->mark;
    LogPlace end = recovery->log->durable;
    Arena scratch = {0};
    File file;
    Status status =
        file_open_private(&file, segment_path(recovery->log, end.sequence, &scratch), err);
    char *bytes = arena_alloc_bytes(&scratch, COPY_BYTES);
    uint64_t at = mark.sequence == end.sequence ? mark.offset : 0;
    while (status == STATUS_OK && at < end.offset) {
        size_t len = (size_t)MIN(end.offset - at, (uint64_t)COPY_BYTES);
        status = file_read(&file, at, bytes, len, err);
        if (status == STATUS_OK) {
            status = file_write(&file, at, (Str){bytes, len}, err);
        }
        at += len;
    }
    if (status == STATUS_OK) {
        status = file_sync(&file, err);
    }
    file_close(&file);
    arena_done(&scratch);
    return status;
}

static void forget(Recovery *recovery)
{
    SegmentLog *log = recovery->log;
    recovery->files.count = 0;
    log->count = 0;
    log->id = 0;
    log->durable = (LogPlace){0};
    log->position = (Position){0};
    checkpoint_reset(&log->entries);
}

static Status recover(Recovery *recovery, Error *err)
{
    if (find_end(recovery, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (recovery->log->only_looks || !is_doubtful(recovery)) {
        return STATUS_OK;
    }
    if (write_again(recovery, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // It may have been read from memory before, and from the disk when it was written again.
    forget(recovery);
    return find_end(recovery, err);
}

// Adds what is behind the end.
static void count_cut(Recovery *recovery)
{
    const SegmentLog *log = recovery->log;
    LogPlace end = log->durable;
    for (size_t i = 0; i < log->count; i++) {
        const Segment *each = &log->segments[i];
        if (each->sequence >= end.sequence) {
            recovery->cut += each->size - (each->sequence == end.sequence ? end.offset : 0);
        }
    }
}

static Status new_id(uint64_t *ret, Error *err)
{
    do {
        if (getrandom(ret, sizeof(*ret), 0) != (ssize_t)sizeof(*ret)) {
            return error_set_errno(err, ERROR_TRANSIENT, errno, "get random bytes");
        }
    } while (*ret == 0);
    return STATUS_OK;
}

Status segment_recover(SegmentLog *log, Error *err)
{
    Recovery *recovery = mem_alloc_zero(sizeof(*recovery));
    recovery->log = log;
    Status status = recover(recovery, err);
    if (status == STATUS_OK && log->id == 0) {
        status = new_id(&log->id, err);
    }
    count_cut(recovery);
    log->sequence = log->count == 0 ? 0 : log->segments[log->count - 1].sequence;
    atomic_store(&log->cut, recovery->cut);
    mem_free(recovery->files.items);
    mem_free(recovery);
    return status;
}
