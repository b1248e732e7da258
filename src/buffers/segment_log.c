// Opening and closing, the list of segments, what is remembered, and retention.
#include "buffers/segment_log.h"

#include <assert.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/reader.h"
#include "buffers/segment_inside.h"

// ---------------------------------------------------------------------------------------------
// Opening
// ---------------------------------------------------------------------------------------------

// One object a directory: its readers and its writer come from different pipelines' threads.
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static SegmentLog *open_logs;

static Status find_directory(const char *directory, struct stat *ret, Error *err)
{
    if (file_make_directory(directory, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (stat(directory, ret) != 0) {
        return file_error(err, errno, "look at the directory", directory);
    }
    if (!S_ISDIR(ret->st_mode)) {
        return file_error(err, ENOTDIR, "open the directory", directory);
    }
    return STATUS_OK;
}

static void destroy(SegmentLog *log)
{
    segment_writer_close(log);
    file_close(&log->lock);
    checkpoint_done(&log->entries);
    mem_free(log->segments);
    mem_free(log->cursors);
    arena_done(&log->cursor_arena);
    arena_done(&log->arena);
    (void)pthread_mutex_destroy(&log->mutex);
    mem_free(log);
}

static void load_cursors(SegmentLog *log);

static SegmentLog *log_new(const char *directory)
{
    SegmentLog *log = mem_alloc_zero(sizeof(*log));
    (void)pthread_mutex_init(&log->mutex, NULL);
    atomic_init(&log->cut, 0);
    log->references = 1;
    log->directory = str_to_cstr(&log->arena, str_from(directory));
    log->lock_path = arena_printf(&log->arena, "%s/lock", directory);
    log->lock = FILE_CLOSED;
    log->file = FILE_CLOSED;
    return log;
}

static Status create(const char *directory, const struct stat *info, SegmentLog **ret, Error *err)
{
    SegmentLog *log = log_new(directory);
    log->device = info->st_dev;
    log->inode = info->st_ino;
    buf_init(&log->out, RECORD_BYTES_MAX + ((size_t)64 << 20));
    if (file_open_private(&log->lock, log->lock_path, err) != STATUS_OK ||
        segment_recover(log, err) != STATUS_OK || segment_cut_back(log, err) != STATUS_OK) {
        destroy(log);
        return error_wrap(err, "open the buffer \"%s\"", directory);
    }
    segment_mark(log);
    log->oldest_file = log->count == 0 ? 1 : log->segments[0].sequence;
    load_cursors(log);
    log->opened_us = clock_monotonic_us();
    *ret = log;
    return STATUS_OK;
}

Status segment_log_look(const char *directory, SegmentLogRange *ret, Checkpoint *entries,
                        Error *err)
{
    struct stat info;
    Status status = STATUS_OK;
    SegmentLog *log = log_new(directory);
    log->only_looks = true;
    if (stat(log->lock_path, &info) == 0 &&
        (file_open_read(&log->lock, log->lock_path, err) != STATUS_OK ||
         segment_recover(log, err) != STATUS_OK)) {
        status = error_wrap(err, "look at the buffer \"%s\"", directory);
    }
    if (status == STATUS_OK) {
        *ret = segment_log_range(log);
        segment_log_entries(log, entries);
    }
    destroy(log);
    return status;
}

static Status find_or_create(const char *directory, SegmentLog **ret, Error *err)
{
    struct stat info;
    if (find_directory(directory, &info, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (SegmentLog *log = open_logs; log != NULL; log = log->next_open) {
        if (log->device == info.st_dev && log->inode == info.st_ino) {
            log->references++;
            *ret = log;
            return STATUS_OK;
        }
    }
    SegmentLog *log;
    if (create(directory, &info, &log, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    log->next_open = open_logs;
    open_logs = log;
    *ret = log;
    return STATUS_OK;
}

Status segment_log_open(const char *directory, SegmentLog **ret, Error *err)
{
    (void)pthread_mutex_lock(&open_lock);
    Status status = find_or_create(directory, ret, err);
    (void)pthread_mutex_unlock(&open_lock);
    return status;
}

void segment_log_close(SegmentLog *log)
{
    if (log == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&open_lock);
    assert(log->references > 0);
    if (--log->references == 0) {
        SegmentLog **at = &open_logs;
        while (*at != log) {
            at = &(*at)->next_open;
        }
        *at = log->next_open;
        destroy(log);
    }
    (void)pthread_mutex_unlock(&open_lock);
}

uint64_t segment_log_cut(SegmentLog *log)
{
    return atomic_exchange(&log->cut, 0);
}

// ---------------------------------------------------------------------------------------------
// The list of segments
// ---------------------------------------------------------------------------------------------

const char *segment_path(const SegmentLog *log, uint64_t sequence, Arena *arena)
{
    char name[SEGMENT_NAME_SIZE];
    segment_name(sequence, name);
    return arena_printf(arena, "%s/%s", log->directory, name);
}

void segment_list_add(SegmentLog *log, const SegmentHeader *header, uint64_t size)
{
    if (log->count == log->capacity) {
        log->capacity = MAX(log->capacity * 2, (size_t)16);
        log->segments = mem_resize(log->segments, log->capacity * sizeof(Segment));
    }
    log->segments[log->count++] = (Segment){
        .sequence = header->sequence,
        .first = header->first,
        .group = MAX(header->group.sequence, UINT64_C(1)),
        .size = size,
        .age_us = log->opened_us == 0 ? MAX(clock_wall_us() - header->created_us, (int64_t)0) : 0,
    };
}

Segment *segment_list_find(const SegmentLog *log, uint64_t sequence)
{
    // They are numbered without gaps.
    bool inside = log->count > 0 && sequence >= log->segments[0].sequence &&
                  sequence - log->segments[0].sequence < log->count;
    return inside ? &log->segments[sequence - log->segments[0].sequence] : NULL;
}

// The last segment that begins at or before @position has it, or an earlier one in which the group
// of records began. Of a group that is behind, only what the last segment says of relations is
// needed.
uint64_t segment_list_needed(const SegmentLog *log, Position position)
{
    if (position_compare(position, log->position) >= 0) {
        return log->durable.sequence;
    }
    const Segment *found = NULL;
    for (size_t i = 0; i < log->count; i++) {
        if (log->segments[i].sequence <= log->durable.sequence &&
            position_compare(log->segments[i].first, position) <= 0) {
            found = &log->segments[i];
        }
    }
    return found == NULL || segment_list_find(log, found->group) == NULL ? 0 : found->group;
}

Position segment_list_first(const SegmentLog *log)
{
    for (size_t i = 0; i < log->count; i++) {
        const Segment *segment = &log->segments[i];
        if (segment->sequence <= log->durable.sequence &&
            segment_list_find(log, segment->group) != NULL) {
            return segment->first;
        }
    }
    return log->position;
}

SegmentLogRange segment_log_range(SegmentLog *log)
{
    (void)pthread_mutex_lock(&log->mutex);
    SegmentLogRange range = {.is_empty = log->durable.sequence == 0, .last = log->position};
    for (size_t i = 0; i < log->count; i++) {
        range.bytes += log->segments[i].size;
    }
    if (!range.is_empty) {
        range.first = segment_list_first(log);
    }
    (void)pthread_mutex_unlock(&log->mutex);
    return range;
}

// ---------------------------------------------------------------------------------------------
// What is remembered
// ---------------------------------------------------------------------------------------------

// Count; for each: length and bytes of the key, then 0 (to be removed) or 1, length and bytes of
// the value.
void segment_entries_encode(const Checkpoint *entries, Buf *out)
{
    buf_be32(out, (uint32_t)entries->count);
    for (size_t i = 0; i < entries->count; i++) {
        const CheckpointEntry *entry = &entries->entries[i];
        buf_be32(out, (uint32_t)entry->key.len);
        buf_str(out, entry->key);
        buf_char(out, entry->value.ptr != NULL);
        if (entry->value.ptr != NULL) {
            buf_be32(out, (uint32_t)entry->value.len);
            buf_str(out, entry->value);
        }
    }
}

MUST_CHECK static bool take_entry(Reader *in, Str *ret_key, Str *ret_value)
{
    uint32_t len;
    uint8_t has_value;
    *ret_value = (Str){NULL, 0};
    return reader_u32(in, &len) && len > 0 && reader_bytes(in, len, ret_key) &&
           reader_u8(in, &has_value) && has_value <= 1 &&
           (has_value == 0 || (reader_u32(in, &len) && len <= LIMIT_CHECKPOINT_VALUE &&
                               reader_bytes(in, len, ret_value)));
}

bool segment_entries_decode(Str payload, Checkpoint *ret)
{
    Reader in = reader_from(payload.ptr, payload.len);
    uint32_t count;
    if (!reader_u32(&in, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        Str key;
        Str value;
        if (!take_entry(&in, &key, &value)) {
            return false;
        }
        checkpoint_set(ret, key, value);
    }
    return reader_left(&in) == 0;
}

void segment_log_entries(SegmentLog *log, Checkpoint *ret)
{
    (void)pthread_mutex_lock(&log->mutex);
    for (size_t i = 0; i < log->entries.count; i++) {
        const CheckpointEntry *entry = &log->entries.entries[i];
        if (entry->value.ptr != NULL) {
            checkpoint_set(ret, entry->key, entry->value);
        }
    }
    (void)pthread_mutex_unlock(&log->mutex);
}

// ---------------------------------------------------------------------------------------------
// Retention
// ---------------------------------------------------------------------------------------------

// The first segment that the cursor has to read.
static uint64_t needed_by(const SegmentLog *log, const Cursor *cursor)
{
    uint64_t needed = cursor->is_known ? segment_list_needed(log, cursor->position) : 0;
    return needed == 0 ? log->segments[0].sequence : needed;
}

// The first segment that is to be kept.
static uint64_t keep_from(const SegmentLog *log)
{
    uint64_t keep = log->durable.sequence;
    for (size_t i = 0; i < log->cursor_count; i++) {
        const Cursor *cursor = &log->cursors[i];
        bool counts = cursor->is_expected && !cursor->is_given_up;
        keep = counts ? MIN(keep, needed_by(log, cursor)) : keep;
    }
    uint64_t bytes = 0;
    for (size_t i = log->count; i > 0 && log->keep_bytes > 0; i--) {
        bytes += log->segments[i - 1].size;
        if (bytes >= log->keep_bytes) {
            return MIN(keep, log->segments[i - 1].sequence);
        }
    }
    return log->keep_bytes > 0 ? log->segments[0].sequence : keep;
}

// How many. Files go one after the other, oldest first, so that neither a crash nor one that cannot
// be removed leaves a gap.
static size_t remove_files(const SegmentLog *log, uint64_t from, uint64_t to)
{
    Arena scratch = {.chunk_size = 1024};
    uint64_t sequence = from;
    while (sequence < to && file_unlink(segment_path(log, sequence, &scratch), NULL) == STATUS_OK) {
        CRASH_POINT("buffer-segment-removed");
        sequence++;
        arena_reset(&scratch);
    }
    // One that a power cut brings back is dropped once more.
    Status ignored = sequence > from ? file_sync_directory_of(log->lock_path, NULL) : STATUS_OK;
    (void)ignored;
    arena_done(&scratch);
    return (size_t)(sequence - from);
}

// Off the list with what nobody needs. The mutex is held.
static void drop_old(SegmentLog *log)
{
    if (!log->is_expecting || log->durable.sequence == 0) {
        return;
    }
    uint64_t first = log->segments[0].sequence;
    uint64_t keep = keep_from(log);
    if (keep <= first) {
        return;
    }
    size_t count = (size_t)(keep - first);
    assert(count < log->count);
    log->count -= count;
    memmove(log->segments, log->segments + count, log->count * sizeof(Segment));
}

// Remove the files that are off the list, by one thread at a time: it also takes what another one
// drops meanwhile. A file that cannot be removed is tried again the next time; it only takes up
// room. The mutex is held, but not while files are removed, which may take long.
static void remove_dropped(SegmentLog *log)
{
    bool works = !log->is_removing;
    while (works && log->count > 0 && log->oldest_file < log->segments[0].sequence) {
        uint64_t from = log->oldest_file;
        uint64_t to = log->segments[0].sequence;
        log->is_removing = true;
        (void)pthread_mutex_unlock(&log->mutex);
        size_t count = remove_files(log, from, to);
        (void)pthread_mutex_lock(&log->mutex);
        log->oldest_file += count;
        log->is_removing = false;
        works = count == to - from;
    }
}

static Cursor *find_cursor(const SegmentLog *log, Str name)
{
    for (size_t i = 0; i < log->cursor_count; i++) {
        if (str_equal(log->cursors[i].name, name)) {
            return &log->cursors[i];
        }
    }
    return NULL;
}

static void set_mark(const SegmentLog *log, Cursor *cursor)
{
    cursor->mark = log->position;
    cursor->marked_us = clock_monotonic_us();
}

void segment_mark_cursors(SegmentLog *log)
{
    for (size_t i = 0; i < log->cursor_count; i++) {
        Cursor *cursor = &log->cursors[i];
        if (cursor->is_known && position_compare(cursor->position, cursor->mark) >= 0) {
            set_mark(log, cursor);
        }
    }
}

static Cursor *get_cursor(SegmentLog *log, Str name)
{
    Cursor *known = find_cursor(log, name);
    if (known != NULL) {
        return known;
    }
    if (log->cursor_count == log->cursor_capacity) {
        log->cursor_capacity = MAX(log->cursor_capacity * 2, (size_t)8);
        log->cursors = mem_resize(log->cursors, log->cursor_capacity * sizeof(Cursor));
    }
    Cursor *cursor = &log->cursors[log->cursor_count++];
    *cursor = (Cursor){.name = str_copy(&log->cursor_arena, name)};
    set_mark(log, cursor);
    return cursor;
}

void segment_log_expect(SegmentLog *log, const Str *names, size_t count, uint64_t keep_bytes)
{
    (void)pthread_mutex_lock(&log->mutex);
    for (size_t i = 0; i < log->cursor_count; i++) {
        log->cursors[i].is_expected = false;
    }
    for (size_t i = 0; i < count; i++) {
        get_cursor(log, names[i])->is_expected = true;
    }
    log->keep_bytes = keep_bytes;
    log->is_expecting = true;
    drop_old(log);
    remove_dropped(log);
    (void)pthread_mutex_unlock(&log->mutex);
}

void segment_log_passed(SegmentLog *log, Str name, Position position)
{
    (void)pthread_mutex_lock(&log->mutex);
    Cursor *cursor = get_cursor(log, name);
    cursor->is_stored = cursor->is_stored && position_compare(position, cursor->position) == 0;
    cursor->position = position;
    cursor->is_known = true;
    cursor->is_given_up = cursor->is_given_up && segment_list_needed(log, cursor->position) == 0;
    if (position_compare(position, cursor->mark) >= 0) {
        set_mark(log, cursor);
    }
    drop_old(log);
    remove_dropped(log);
    (void)pthread_mutex_unlock(&log->mutex);
}

// ---------------------------------------------------------------------------------------------
// Cursors that outlive the process
// ---------------------------------------------------------------------------------------------

static const char cursor_prefix[] = "buffer:reader:";

static void load_cursors(SegmentLog *log)
{
    for (size_t i = 0; i < log->entries.count; i++) {
        const CheckpointEntry *entry = &log->entries.entries[i];
        Str name = entry->key;
        Position position;
        if (str_starts_with(name, str_from(cursor_prefix)) &&
            position_parse(entry->value, &position)) {
            name.ptr += sizeof(cursor_prefix) - 1;
            name.len -= sizeof(cursor_prefix) - 1;
            Cursor *cursor = get_cursor(log, name);
            cursor->position = position;
            cursor->is_known = true;
            cursor->is_stored = true;
        }
    }
}

// One that nobody expects any more is forgotten.
static void store_cursor(Cursor *cursor, Arena *scratch, Checkpoint *changed)
{
    Str key = str_from(arena_printf(scratch, "%s%" STR_FMT, cursor_prefix, STR_ARG(cursor->name)));
    char text[POSITION_TEXT_SIZE];
    position_format(cursor->position, text);
    if (cursor->is_expected && cursor->is_known && !cursor->is_stored) {
        checkpoint_set(changed, key, str_from(text));
        cursor->is_stored = true;
    } else if (!cursor->is_expected && cursor->is_stored) {
        checkpoint_set(changed, key, (Str){NULL, 0});
        cursor->is_stored = false;
    }
}

void segment_log_cursors(SegmentLog *log, Checkpoint *changed)
{
    Arena scratch = {.chunk_size = 1024};
    (void)pthread_mutex_lock(&log->mutex);
    for (size_t i = 0; i < log->cursor_count; i++) {
        store_cursor(&log->cursors[i], &scratch, changed);
        CRASH_POINT("buffer-cursor-stored");
    }
    (void)pthread_mutex_unlock(&log->mutex);
    arena_done(&scratch);
}

Status segment_log_forget(SegmentLog *log, Str name, Error *err)
{
    (void)pthread_mutex_lock(&log->mutex);
    Cursor *cursor = get_cursor(log, name);
    cursor->is_known = false;
    cursor->is_stored = false;
    (void)pthread_mutex_unlock(&log->mutex);
    Arena scratch = {.chunk_size = 1024};
    Checkpoint changed = {0};
    Str key = str_from(arena_printf(&scratch, "%s%" STR_FMT, cursor_prefix, STR_ARG(name)));
    checkpoint_set(&changed, key, (Str){NULL, 0});
    Status status = segment_log_commit(log, segment_log_range(log).last, &changed, err);
    checkpoint_done(&changed);
    arena_done(&scratch);
    return status;
}

static uint64_t bytes_from(const SegmentLog *log, uint64_t sequence)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < log->count; i++) {
        bytes += log->segments[i].sequence >= sequence ? log->segments[i].size : 0;
    }
    return bytes;
}

// Since when it has been in the log what the cursor lacks first, at the latest: the segment behind
// that one was begun later. Of segments of this process the cursor's mark says it better.
static int64_t age_of(const SegmentLog *log, const Cursor *cursor)
{
    int64_t now_us = clock_monotonic_us();
    int64_t age_us = now_us - cursor->marked_us;
    const Segment *behind = segment_list_find(log, needed_by(log, cursor) + 1);
    return behind == NULL || behind->age_us == 0
               ? age_us
               : MAX(age_us, behind->age_us + now_us - log->opened_us);
}

bool segment_log_backlog(SegmentLog *log, Str name, SegmentLogBacklog *ret)
{
    (void)pthread_mutex_lock(&log->mutex);
    const Cursor *cursor = find_cursor(log, name);
    bool is_kept = cursor != NULL && cursor->is_expected && !cursor->is_given_up;
    *ret = (SegmentLogBacklog){
        .is_known = cursor != NULL && cursor->is_known,
        .is_given_up = cursor != NULL && cursor->is_given_up,
    };
    if (is_kept && log->durable.sequence != 0 &&
        !(cursor->is_known && position_compare(cursor->position, log->position) >= 0)) {
        ret->bytes = bytes_from(log, needed_by(log, cursor));
        ret->age_us = age_of(log, cursor);
    }
    (void)pthread_mutex_unlock(&log->mutex);
    return is_kept;
}

void segment_log_give_up(SegmentLog *log, Str name)
{
    (void)pthread_mutex_lock(&log->mutex);
    get_cursor(log, name)->is_given_up = true;
    drop_old(log);
    remove_dropped(log);
    (void)pthread_mutex_unlock(&log->mutex);
}
