// file:PATH — one line an event, exactly once. The runner keeps the checkpoint in the local state;
// with it, in the same transaction, the length that the file had at that commit:
//
//   write all ─► sync the file ─► "sink:length" and position stored together by the runner
//
// A crash anywhere leaves a file at least as long as the stored length. What is behind it was not
// committed, and will be sent again: it is cut off before the first write or commit, and not by
// resume(), as the start may still be refused. With an old state directory it is what no source
// sends any more.
//
// Cutting a file that is not ours would destroy it, so "sink:tail" keeps a hash of the last bytes
// before the length. It also survives a move to another disk, which an inode number does not.
#include <assert.h>
#include <inttypes.h>

#include "base/crash_point.h"
#include "io/file.h"
#include "pipeline/advice.h"
#include "sinks/events.h"

enum {
    TAIL_BYTES = 4096,
    HASH_TEXT_SIZE = 17,
};

typedef enum Existing { EXISTING_FAIL, EXISTING_APPEND, EXISTING_TRUNCATE } Existing;

static const char *const existing_choices[] = {"fail", "append", "truncate", NULL};

typedef struct FileSink {
    Sink base;
    Str path_option;
    int existing; // Existing
    CodecOptions codec;
    Arena arena;
    Events events;
    const char *path;
    File file;
    uint64_t written;  // length of the file
    bool is_untouched; // since resume(): what is behind that is still there
    bool is_dirty;     // something happened to the file since the last sync
} FileSink;

static const Option options[] = {
    {"path", OPTION_STRING(FileSink, path_option), .required = true, .is_path = true,
     .help = "The file. It is made if it is missing."},
    {"existing", OPTION_CHOICE(FileSink, existing, existing_choices), .fallback = "fail",
     .help = "What to do at the first start with a file that is not empty: refuse, write behind "
             "what is there, or remove that."},
    CODEC_OPTIONS(FileSink, codec),
    {0},
};

static FileSink *self(Sink *sink)
{
    return (FileSink *)sink;
}

static Status file_validate(Sink *base, Error *err)
{
    FileSink *sink = self(base);
    sink->file = FILE_CLOSED;
    if (str_find(sink->path_option, '\0') >= 0) {
        error_set(err, ERROR_CONFIG, "file needs the path of a file");
        return error_hint(err, "For example file:changes.ndjson");
    }
    return codec_options_check(&sink->codec, err);
}

static Status file_sink_open(Sink *base, Error *err)
{
    FileSink *sink = self(base);
    bool exists;
    sink->path = str_to_cstr(&sink->arena, sink->path_option);
    events_init(&sink->events, &sink->codec);
    return file_check(sink->path, &exists, err);
}

// ---------------------------------------------------------------------------------------------
// Where to continue
// ---------------------------------------------------------------------------------------------

// FNV-1a: stored, so it must never change.
static uint64_t hash(Str data)
{
    uint64_t value = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < data.len; i++) {
        value = (value ^ (uint8_t)data.ptr[i]) * UINT64_C(0x100000001b3);
    }
    return value;
}

// Of the last bytes before @length.
static Status tail_hash(FileSink *sink, uint64_t length, char ret[static HASH_TEXT_SIZE],
                        Error *err)
{
    char tail[TAIL_BYTES];
    size_t len = (size_t)MIN(length, (uint64_t)TAIL_BYTES);
    if (file_read(&sink->file, length - len, tail, len, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    (void)snprintf(ret, HASH_TEXT_SIZE, "%016" PRIx64, hash((Str){tail, len}));
    return STATUS_OK;
}

static Status hint_lost(FileSink *sink, Error *err)
{
    return error_hint(err,
                      "Put the file back as it was, or start anew: move it away, and give the "
                      "pipeline \"%s\" %s.",
                      sink->base.context.pipeline, advice()->another_name);
}

static Status is_gone(FileSink *sink, uint64_t length, Error *err)
{
    error_set(err, ERROR_CONFIG, "\"%s\" is gone, with the %" PRIu64 " bytes written to it",
              sink->path, length);
    return hint_lost(sink, err);
}

// The first @length bytes are what was committed.
static Status check_committed(FileSink *sink, uint64_t length, const CheckpointEntry *tail,
                              Error *err)
{
    char found[HASH_TEXT_SIZE];
    if (sink->written < length) {
        error_set(err, ERROR_CONFIG,
                  "\"%s\" has %" PRIu64 " bytes, fewer than the %" PRIu64 " written to it",
                  sink->path, sink->written, length);
        return hint_lost(sink, err);
    }
    if (tail_hash(sink, length, found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (tail == NULL || !str_is(tail->value, found)) {
        error_set(err, ERROR_CONFIG,
                  "\"%s\" is not the file that was written: of its %" PRIu64
                  " bytes those before byte %" PRIu64 " are others",
                  sink->path, sink->written, length);
        return hint_lost(sink, err);
    }
    return STATUS_OK;
}

static Status ends_a_line(FileSink *sink, Error *err)
{
    char last;
    if (file_read(&sink->file, sink->written - 1, &last, 1, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (last != '\n') {
        error_set(err, ERROR_CONFIG, "\"%s\" does not end with a line end", sink->path);
        return error_hint(err, "Complete its last line, or name another file.");
    }
    return STATUS_OK;
}

// What somebody else has written.
static Status check_foreign(FileSink *sink, Error *err)
{
    if (sink->written == 0 || sink->existing == EXISTING_TRUNCATE) {
        return STATUS_OK;
    }
    if (sink->existing == EXISTING_APPEND) {
        return ends_a_line(sink, err);
    }
    error_set(err, ERROR_CONFIG, "\"%s\" is there already and is not empty (%" PRIu64 " B)",
              sink->path, sink->written);
    return error_hint(err, "Name another file, or say existing=append to write behind what is "
                           "there, existing=truncate to remove it.");
}

// *ret_exists: the file is there. *ret_length: how much of it was committed.
static Status check_place(FileSink *sink, const Checkpoint *checkpoint, bool *ret_exists,
                          uint64_t *ret_length, Error *err)
{
    const CheckpointEntry *entry = checkpoint_get(checkpoint, STR("sink:length"));
    *ret_length = 0;
    if (entry != NULL && !str_to_uint64(entry->value, ret_length)) {
        return error_set(err, ERROR_FATAL, "the stored length of \"%s\" is damaged", sink->path);
    }
    if (file_check(sink->path, ret_exists, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return *ret_exists || *ret_length == 0 ? STATUS_OK : is_gone(sink, *ret_length, err);
}

// A file has one format. (A checkpoint from before formats were stored says nothing.)
static Status check_format(const FileSink *sink, const Checkpoint *checkpoint, Error *err)
{
    const CheckpointEntry *entry = checkpoint_get(checkpoint, STR("sink:format"));
    const char *wanted = codec_find(&sink->codec)->name;
    if (entry == NULL || str_is(entry->value, wanted)) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG, "\"%s\" has lines of format %" STR_FMT ", not of %s", sink->path,
              STR_ARG(entry->value), wanted);
    return error_hint(err, "Say format=%" STR_FMT ", or name another file, and the pipeline %s.",
                      STR_ARG(entry->value), advice()->another_name);
}

// The file is open. *ret_length: how much of it stays.
static Status check_contents(FileSink *sink, const Checkpoint *checkpoint, uint64_t *ret_length,
                             Error *err)
{
    if (check_format(sink, checkpoint, err) != STATUS_OK ||
        file_size(&sink->file, &sink->written, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (checkpoint_get(checkpoint, STR("sink:length")) != NULL) {
        return check_committed(sink, *ret_length, checkpoint_get(checkpoint, STR("sink:tail")),
                               err);
    }
    *ret_length = sink->existing == EXISTING_TRUNCATE ? 0 : sink->written;
    return check_foreign(sink, err);
}

static Status file_resume(Sink *base, Checkpoint *checkpoint, Error *err)
{
    FileSink *sink = self(base);
    uint64_t length;
    bool exists;
    if (check_place(sink, checkpoint, &exists, &length, err) != STATUS_OK ||
        file_open(&sink->file, sink->path, err) != STATUS_OK ||
        check_contents(sink, checkpoint, &length, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sink->is_dirty = true;
    sink->is_untouched = true;
    sink->written = length;
    return STATUS_OK;
}

static Status file_look(Sink *base, Checkpoint *checkpoint, Error *err)
{
    FileSink *sink = self(base);
    uint64_t length;
    bool exists;
    if (check_place(sink, checkpoint, &exists, &length, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!exists) {
        return STATUS_OK;
    }
    return file_open_read(&sink->file, sink->path, err) == STATUS_OK
               ? check_contents(sink, checkpoint, &length, err)
               : STATUS_FAIL;
}

// ---------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------

static Status file_prepare(Sink *base, const Relation *was, const Relation *now, Error *err)
{
    return STATUS_OK;
}

static Status cut_off(FileSink *sink, Error *err)
{
    uint64_t size;
    if (!sink->is_untouched) {
        return STATUS_OK;
    }
    CRASH_POINT("file-resumes");
    if (file_size(&sink->file, &size, err) != STATUS_OK ||
        (size > sink->written && file_truncate(&sink->file, sink->written, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    CRASH_POINT("file-resumed");
    sink->is_untouched = false;
    return STATUS_OK;
}

// Writing behind a file that somebody has cut would leave a hole of zeros in it.
static Status check_length(FileSink *sink, Error *err)
{
    uint64_t size;
    if (file_size(&sink->file, &size, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (size != sink->written) {
        return error_set(err, ERROR_FATAL,
                         "somebody else has changed \"%s\": it has %" PRIu64 " bytes, and %" PRIu64
                         " were written",
                         sink->path, size, sink->written);
    }
    return STATUS_OK;
}

static Status flush(Sink *base, Error *err)
{
    FileSink *sink = self(base);
    Str data = buf_view(&sink->events.out);
    if (cut_off(sink, err) != STATUS_OK || check_length(sink, err) != STATUS_OK ||
        file_write(&sink->file, sink->written, data, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sink->written += data.len;
    sink->is_dirty = true;
    events_reset(&sink->events);
    return STATUS_OK;
}

static Status file_sink_write(Sink *base, const Change *changes, size_t count, Error *err)
{
    FileSink *sink = self(base);
    assert(sink->file.fd >= 0); // resume() comes first
    return events_write(&sink->events, base, changes, count, flush, err);
}

static Status file_commit(Sink *base, Checkpoint *changed, Error *err)
{
    FileSink *sink = self(base);
    assert(sink->file.fd >= 0);
    char length[24];
    char tail[HASH_TEXT_SIZE];
    if (events_finish(&sink->events, base, flush, err) != STATUS_OK ||
        file_is_in_place(&sink->file, err) != STATUS_OK || cut_off(sink, err) != STATUS_OK ||
        check_length(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("file-written");
    if (sink->is_dirty && file_sync(&sink->file, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CRASH_POINT("file-synced");
    sink->is_dirty = false;
    if (tail_hash(sink, sink->written, tail, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    (void)snprintf(length, sizeof(length), "%" PRIu64, sink->written);
    checkpoint_set(changed, STR("sink:length"), str_from(length));
    checkpoint_set(changed, STR("sink:tail"), str_from(tail));
    checkpoint_set(changed, STR("sink:format"), str_from(codec_find(&sink->codec)->name));
    return STATUS_OK;
}

static void file_sink_close(Sink *base)
{
    FileSink *sink = self(base);
    events_done(&sink->events);
    file_close(&sink->file);
    arena_done(&sink->arena);
}

static void file_describe_column(Sink *base, const Column *column, Buf *ret_type)
{
    codec_find(&self(base)->codec)->describe_column(column, ret_type);
}

static void file_describe_table(Sink *base, const Relation *relation, Buf *ret_name)
{
    buf_str(ret_name, self(base)->path_option);
}

static Status file_sink_check(Sink *base, const Relation *relation, Report *report, Error *err)
{
    FileSink *sink = self(base);
    Arena scratch = {.chunk_size = 1024};
    report_claim(report, &(Claim){
                             .key = file_identity(sink->path, &scratch),
                             .what = str_from(arena_printf(&scratch, "\"%s\"", sink->path)),
                             .mend = STR("Name another file."),
                         });
    arena_done(&scratch);
    return STATUS_OK;
}

const SinkOps file_sink = {
    .name = "file",
    .summary = "One JSON object a line, in a file.",
    .options = options,
    .instance_size = sizeof(FileSink),
    .guarantee = GUARANTEE_EXACTLY_ONCE,
    .stores_checkpoint = false,
    .has_tables = false,
    .is_parallel = false,
    .validate = file_validate,
    .open = file_sink_open,
    .resume = file_resume,
    .prepare = file_prepare,
    .write = file_sink_write,
    .commit = file_commit,
    .close = file_sink_close,
    .describe_column = file_describe_column,
    .describe_table = file_describe_table,
    .look = file_look,
    .check = file_sink_check,
};
