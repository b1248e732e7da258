// The header's bytes, all numbers big-endian:
//
//    0 magic, with the version      8 checksum of what follows
//   12 log_id   20 sequence   28 first   44 created   52 group   68 previous_size   76 zero
//
// A record's:
//
//    0 checksum of what follows     4 length of the payload
//    8 kind   9 zero   12 end      28 payload
#include "buffers/segment_file.h"

#include <assert.h>
#include <inttypes.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "base/reader.h"
#include "pipeline/advice.h"

static const char magic[8] = {'W', 'E', 'I', 'R', 'L', 'O', 'G', '1'};

enum {
    HEADER_SUMMED = 12,
    RECORD_SUMMED = 4,
    WINDOW_BYTES = 256 << 10,
    // A payload from here on is read to its place directly.
    LARGE_BYTES = 64 << 10,
};

static char *put32(char *at, uint32_t value)
{
    uint32_t wire = htobe32(value);
    memcpy(at, &wire, sizeof(wire));
    return at + sizeof(wire);
}

static char *put64(char *at, uint64_t value)
{
    uint64_t wire = htobe64(value);
    memcpy(at, &wire, sizeof(wire));
    return at + sizeof(wire);
}

void segment_header_encode(const SegmentHeader *header, char ret[static SEGMENT_HEADER_SIZE])
{
    memset(ret, 0, SEGMENT_HEADER_SIZE);
    memcpy(ret, magic, sizeof(magic));
    char *at = ret + HEADER_SUMMED;
    at = put64(at, header->log_id);
    at = put64(at, header->sequence);
    at = put64(at, header->first.lsn);
    at = put64(at, header->first.ordinal);
    at = put64(at, (uint64_t)header->created_us);
    at = put64(at, header->group.sequence);
    at = put64(at, header->group.offset);
    (void)put64(at, header->previous_size);
    uint32_t sum = crc32c(0, ret + HEADER_SUMMED, SEGMENT_HEADER_SIZE - HEADER_SUMMED);
    (void)put32(ret + sizeof(magic), sum);
}

bool segment_header_decode(Str bytes, SegmentHeader *ret)
{
    Reader in = reader_from(bytes.ptr, bytes.len);
    Str mark;
    uint32_t sum;
    uint64_t created;
    SegmentHeader header;
    if (bytes.len != SEGMENT_HEADER_SIZE || !reader_bytes(&in, sizeof(magic), &mark) ||
        memcmp(mark.ptr, magic, sizeof(magic)) != 0 || !reader_u32(&in, &sum) ||
        sum != crc32c(0, in.at, reader_left(&in)) || !reader_u64(&in, &header.log_id) ||
        !reader_u64(&in, &header.sequence) || !reader_u64(&in, &header.first.lsn) ||
        !reader_u64(&in, &header.first.ordinal) || !reader_u64(&in, &created) ||
        !reader_u64(&in, &header.group.sequence) || !reader_u64(&in, &header.group.offset) ||
        !reader_u64(&in, &header.previous_size)) {
        return false;
    }
    header.created_us = (int64_t)created;
    *ret = header;
    return true;
}

static const char suffix[] = ".log";

enum { NAME_DIGITS = 16 };

void segment_name(uint64_t sequence, char ret[static SEGMENT_NAME_SIZE])
{
    (void)snprintf(ret, SEGMENT_NAME_SIZE, "%0*" PRIu64 "%s", NAME_DIGITS, sequence, suffix);
}

bool segment_name_parse(Str name, uint64_t *ret)
{
    char again[SEGMENT_NAME_SIZE];
    uint64_t sequence;
    if (name.len < sizeof(suffix) ||
        !str_to_uint64((Str){name.ptr, name.len - (sizeof(suffix) - 1)}, &sequence) ||
        sequence == 0) {
        return false;
    }
    segment_name(sequence, again);
    if (!str_is(name, again)) {
        return false;
    }
    *ret = sequence;
    return true;
}

// ---------------------------------------------------------------------------------------------
// Records
// ---------------------------------------------------------------------------------------------

static uint32_t record_sum(uint64_t log_id, LogPlace at, const char *bytes, size_t len)
{
    char place[24];
    (void)put64(put64(put64(place, log_id), at.sequence), at.offset);
    return crc32c(crc32c(0, place, sizeof(place)), bytes + RECORD_SUMMED, len - RECORD_SUMMED);
}

void record_seal(uint64_t log_id, LogPlace at, RecordKind kind, Position end, char *bytes,
                 size_t len)
{
    assert(len >= RECORD_HEADER_SIZE && len - RECORD_HEADER_SIZE <= RECORD_BYTES_MAX);
    char *to = put32(bytes + RECORD_SUMMED, (uint32_t)(len - RECORD_HEADER_SIZE));
    to = put32(to, (uint32_t)kind << 24);
    (void)put64(put64(to, end.lsn), end.ordinal);
    (void)put32(bytes, record_sum(log_id, at, bytes, len));
}

// ---------------------------------------------------------------------------------------------
// Reading
// ---------------------------------------------------------------------------------------------

static Status damaged(SegmentReader *reader, const char *what, Error *err)
{
    reader->is_damaged = true;
    error_set(err, ERROR_FATAL, "\"%s\" is damaged at byte %" PRIu64 ": %s", reader->path,
              reader->offset, what);
    return error_hint(err, "Nothing behind it was read. Put the file back from a backup. %s",
                      advice()->start_anew);
}

static Status read_header(SegmentReader *reader, Error *err)
{
    char bytes[SEGMENT_HEADER_SIZE];
    uint64_t size;
    if (file_size(&reader->file, &size, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (size < sizeof(bytes)) {
        return damaged(reader, "its header is not whole", err);
    }
    if (file_read(&reader->file, 0, bytes, sizeof(bytes), err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!segment_header_decode((Str){bytes, sizeof(bytes)}, &reader->header)) {
        return damaged(reader, "its header does not fit its checksum", err);
    }
    return STATUS_OK;
}

Status segment_reader_open(SegmentReader *reader, const char *path, Error *err)
{
    size_t len = strlen(path) + 1;
    *reader = (SegmentReader){.file = FILE_CLOSED, .path = mem_alloc(len)};
    memcpy(reader->path, path, len);
    if (file_open_read(&reader->file, reader->path, err) != STATUS_OK ||
        read_header(reader, err) != STATUS_OK) {
        bool is_damaged = reader->is_damaged;
        segment_reader_close(reader);
        reader->is_damaged = is_damaged;
        return STATUS_FAIL;
    }
    reader->window = mem_alloc(WINDOW_BYTES);
    reader->offset = SEGMENT_HEADER_SIZE;
    return STATUS_OK;
}

void segment_reader_close(SegmentReader *reader)
{
    if (reader->path != NULL) {
        file_close(&reader->file);
        mem_free(reader->path);
        mem_free(reader->window);
    }
    *reader = (SegmentReader){.file = FILE_CLOSED};
}

// How many bytes from @offset on are in the window.
static size_t in_window(const SegmentReader *reader, uint64_t offset)
{
    bool inside = offset >= reader->window_at && offset < reader->window_at + reader->window_len;
    return inside ? reader->window_len - (size_t)(offset - reader->window_at) : 0;
}

// @len bytes at @offset, all of them before @limit.
static Status fetch(SegmentReader *reader, uint64_t offset, uint64_t limit, char *ret, size_t len,
                    Error *err)
{
    if (in_window(reader, offset) < len && len < LARGE_BYTES) {
        size_t most = (size_t)MIN(limit - offset, (uint64_t)WINDOW_BYTES);
        reader->window_len = 0;
        if (file_read(&reader->file, offset, reader->window, most, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        reader->window_at = offset;
        reader->window_len = most;
    }
    size_t have = MIN(in_window(reader, offset), len);
    if (have > 0) {
        memcpy(ret, reader->window + (offset - reader->window_at), have);
    }
    return have == len ? STATUS_OK
                       : file_read(&reader->file, offset + have, ret + have, len - have, err);
}

typedef struct RecordHeader {
    uint32_t sum;
    uint32_t len;
    uint32_t kind;
    Position end;
} RecordHeader;

static bool decode_header(const char *bytes, RecordHeader *ret)
{
    Reader in = reader_from(bytes, RECORD_HEADER_SIZE);
    if (!reader_u32(&in, &ret->sum) || !reader_u32(&in, &ret->len) ||
        !reader_u32(&in, &ret->kind) || !reader_u64(&in, &ret->end.lsn) ||
        !reader_u64(&in, &ret->end.ordinal)) {
        return false;
    }
    bool is_padded = (ret->kind & 0xFFFFFF) == 0;
    ret->kind >>= 24;
    return is_padded && ret->kind >= RECORD_STATE && ret->kind <= RECORD_COMMIT;
}

Status segment_reader_next(SegmentReader *reader, uint64_t limit, Arena *arena, Record *ret,
                           Error *err)
{
    reader->is_damaged = false;
    uint64_t offset = reader->offset;
    if (offset >= limit) {
        return STATUS_AGAIN;
    }
    if (limit - offset < RECORD_HEADER_SIZE) {
        return damaged(reader, "the record's header is not whole", err);
    }
    char head[RECORD_HEADER_SIZE];
    RecordHeader header;
    if (fetch(reader, offset, limit, head, sizeof(head), err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!decode_header(head, &header)) {
        return damaged(reader, "there is no record", err);
    }
    // Before memory is taken.
    if (header.len > limit - offset - RECORD_HEADER_SIZE) {
        return damaged(reader, "the record is not whole", err);
    }
    size_t len = RECORD_HEADER_SIZE + (size_t)header.len;
    char *bytes = arena_alloc_bytes(arena, len);
    memcpy(bytes, head, sizeof(head));
    if (fetch(reader, offset + sizeof(head), limit, bytes + sizeof(head), header.len, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    LogPlace at = {reader->header.sequence, offset};
    if (header.sum != record_sum(reader->header.log_id, at, bytes, len)) {
        return damaged(reader, "the record does not fit its checksum", err);
    }
    reader->offset += len;
    *ret = (Record){.kind = (RecordKind)header.kind,
                    .end = header.end,
                    .payload = {bytes + RECORD_HEADER_SIZE, header.len},
                    .offset = offset};
    return STATUS_OK;
}
