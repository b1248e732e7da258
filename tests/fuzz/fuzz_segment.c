// Segments of the disk buffer's log: any bytes as the file itself, or records of any kind, length
// and contents under right checksums. The log is opened or refused with a message; what it then has
// is read to its end, is the same after opening it again, and can be written on.
#include <unistd.h>

#include "base/reader.h"
#include "buffers/segment_log.h"
#include "fuzz.h"

enum { LOG_ID = 7 };

static char directory[] = "/dev/shm/weir-fuzz-segment-XXXXXX";
static char segment_path[128];
static char lock_path[128];

static void remove_all(void)
{
    (void)unlink(segment_path);
    (void)unlink(lock_path);
}

static void at_exit(void)
{
    remove_all();
    (void)rmdir(directory);
}

static void begin(void)
{
    if (segment_path[0] == '\0') {
        char name[SEGMENT_NAME_SIZE];
        FUZZ_CHECK(mkdtemp(directory) != NULL);
        segment_name(1, name);
        (void)snprintf(segment_path, sizeof(segment_path), "%s/%s", directory, name);
        (void)snprintf(lock_path, sizeof(lock_path), "%s/lock", directory);
        (void)atexit(at_exit);
    }
    remove_all();
}

static void add_record(Buf *file, RecordKind kind, Position end, Str payload)
{
    static const char head[RECORD_HEADER_SIZE];
    size_t at = file->len;
    buf_bytes(file, head, sizeof(head));
    buf_str(file, payload);
    record_seal(LOG_ID, (LogPlace){1, at}, kind, end, file->ptr + at, file->len - at);
}

// Kind, LSN, length, bytes; again and again.
static void build(Str input, Buf *file)
{
    char header[SEGMENT_HEADER_SIZE];
    SegmentHeader fields = {.log_id = LOG_ID, .sequence = 1, .first = {1, 0}};
    segment_header_encode(&fields, header);
    buf_bytes(file, header, sizeof(header));
    add_record(file, RECORD_STATE, fields.first, STR("\0\0\0\0"));
    Reader in = reader_from(input.ptr, input.len);
    uint8_t kind;
    uint8_t lsn;
    uint8_t len;
    Str payload;
    while (reader_u8(&in, &kind) && reader_u8(&in, &lsn) && reader_u8(&in, &len) &&
           reader_bytes(&in, MIN(len, reader_left(&in)), &payload)) {
        add_record(file, (RecordKind)(kind % 8), (Position){lsn, kind}, payload);
    }
}

static void write_file(Str bytes)
{
    FILE *file = fopen(segment_path, "wb");
    FUZZ_CHECK(file != NULL);
    FUZZ_CHECK(bytes.len == 0 || fwrite(bytes.ptr, 1, bytes.len, file) == bytes.len);
    (void)fclose(file);
}

static size_t count_records(SegmentLog *log)
{
    SegmentLogReader *reader;
    Arena arena = {0};
    Error err = {0};
    size_t count = 0;
    Record record;
    Status status = segment_log_reader_open(log, segment_log_range(log).first, &reader, &err);
    FUZZ_CHECK(status == STATUS_OK);
    while ((status = segment_log_next(reader, &arena, &record, &err)) == STATUS_OK) {
        count++;
        arena_reset(&arena);
    }
    FUZZ_CHECK(status == STATUS_AGAIN);
    segment_log_reader_close(reader);
    arena_done(&arena);
    return count;
}

static bool open_log(SegmentLog **ret)
{
    Error err = {0};
    if (segment_log_open(directory, ret, &err) == STATUS_OK) {
        return true;
    }
    FUZZ_CHECK(err.message[0] != '\0');
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SegmentLog *log;
    Error err = {0};
    Checkpoint none = {0};
    Str input = {(const char *)data, size};
    Buf file;
    begin();
    buf_init(&file, 16 << 20);
    if (size > 0 && data[0] == 'r') {
        buf_bytes(&file, data + 1, size - 1);
    } else {
        build(input, &file);
    }
    write_file(buf_view(&file));
    buf_done(&file);
    if (!open_log(&log)) {
        return 0;
    }
    SegmentLogRange range = segment_log_range(log);
    size_t count = count_records(log);
    segment_log_close(log);
    FUZZ_CHECK(open_log(&log));
    FUZZ_CHECK(segment_log_cut(log) == 0 && count_records(log) == count);
    Position next = {range.last.lsn + 1, 0};
    FUZZ_CHECK(segment_log_commit(log, next, &none, &err) == STATUS_OK);
    FUZZ_CHECK(count_records(log) > count);
    segment_log_close(log);
    return 0;
}
