// The sink of the disk buffer. It has no tables: changes are written as they are, and what they
// belong to is remembered by the log, which gives it back to resume().
//
//   write    records of about a megabyte, each whole by itself; nobody sees them yet
//   commit   one more record with the position and what is to be remembered, and one sync
#include <assert.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/limits.h"
#include "buffers/disk.h"
#include "buffers/segment_log.h"
#include "change/pack.h"

enum {
    RECORD_BYTES = 1 << 20,
    // A reader that has never told how far it is may only be starting.
    STARTING_US = 60 * 1000000,
    // A write that waits longer than that for readers says so.
    SAID_MS = 1000,
    WAIT_STEP_MS = 50,
};

// `full=`
typedef enum Full { FULL_PAUSE, FULL_DROP_ROUTE } Full;

static const char *const full_choices[] = {"pause", "drop-route", NULL};

// Among what the log remembers, and nobody else's business.
#define OWN_KEYS  STR("buffer:")
#define OWNER_KEY STR("buffer:pipeline")

typedef struct DiskSink {
    Sink base;
    Str directory;
    int64_t segment;
    int64_t keep;
    int64_t max_size;
    int64_t max_age_ms;
    int64_t patience_ms;
    int full; // Full
    StrList readers;
    bool is_given_up[LIMIT_ROUTES]; // of them, when they were last looked at
    Arena arena;
    SegmentLog *log;
    Packer packer;
    bool in_group;       // something was written since the last commit
    uint64_t packed_for; // the segment that has the packer's relations
    bool is_owned;       // the log has the pipeline's name
} DiskSink;

static const Option options[] = {
    {"dir", OPTION_STRING(DiskSink, directory), .is_path = true, .value_name = "DIR",
     .help =
         "The log's directory, made when it is missing. In a project file it may be relative to "
         "that. Default: PIPELINE.buffer/log in the state directory."},
    {"segment", OPTION_SIZE(DiskSink, segment), .fallback = "64MB", .min = 1 << 16,
     .max = INT64_C(1) << 40,
     .help = "How large a file of the log becomes. What all have read is dropped by whole files."},
    {"keep", OPTION_SIZE(DiskSink, keep), .fallback = "0", .min = 0, .max = INT64_MAX,
     .help = "How much of what all have read is kept, to be sent again."},
    {"max_size", OPTION_SIZE(DiskSink, max_size), .fallback = "0", .min = 0, .max = INT64_MAX,
     .help = "How much may be kept because of one reader; 0: as much as there is room for."},
    {"max_age", OPTION_MS(DiskSink, max_age_ms), .fallback = "0", .min = 0, .max = INT64_MAX / 1000,
     .help = "For how long something may be kept because of one reader; 0: for ever."},
    {"patience", OPTION_MS(DiskSink, patience_ms), .fallback = "30s", .min = 0, .max = 3600000,
     .help = "How long a reader has to be behind before max_size counts: after a burst, or one "
             "large transaction, it only needs a moment."},
    {"full", OPTION_CHOICE(DiskSink, full, full_choices), .fallback = "pause",
     .help = "What to do about a reader that is behind by more: take nothing more from the source, "
             "or drop what only that reader needs."},
    {"readers", OPTION_LIST(DiskSink, readers), .is_internal = true,
     .help = "Who reads the log: nothing is dropped that one of them still needs."},
    {0},
};

static DiskSink *self(Sink *sink)
{
    return (DiskSink *)sink;
}

static Status validate(Sink *base, Error *err)
{
    Str directory = self(base)->directory;
    if (directory.len == 0 || str_find(directory, '\0') >= 0) {
        return error_set(err, ERROR_CONFIG, "the disk buffer needs the path of a directory");
    }
    if (self(base)->max_size > 0 && self(base)->max_size <= self(base)->keep) {
        return error_set(err, ERROR_CONFIG, "max_size has to be more than keep");
    }
    return STATUS_OK;
}

static void tell_cut(DiskSink *sink)
{
    uint64_t cut = segment_log_cut(sink->log);
    if (cut > 0) {
        notice_tell(&sink->base.context.notice,
                    "the buffer \"%" STR_FMT "\" ended with %" PRIu64
                    " bytes that were not committed; they were cut off, and come "
                    "again",
                    STR_ARG(sink->directory), cut);
    }
}

static Status disk_sink_open(Sink *base, Error *err)
{
    DiskSink *sink = self(base);
    if (segment_log_open(str_to_cstr(&sink->arena, sink->directory), &sink->log, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    tell_cut(sink);
    return STATUS_OK;
}

static Status check_owner(Str directory, const char *pipeline, const Checkpoint *entries,
                          Error *err)
{
    const CheckpointEntry *owner = checkpoint_get(entries, OWNER_KEY);
    if (owner == NULL || str_is(owner->value, pipeline)) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG,
              "\"%" STR_FMT "\" is the buffer of the pipeline \"%" STR_FMT "\", not of \"%s\"",
              STR_ARG(directory), STR_ARG(owner->value), pipeline);
    return error_hint(err, "Give each pipeline a directory of its own.");
}

static void give_back(const Checkpoint *entries, const SegmentLogRange *range, Checkpoint *ret)
{
    for (size_t i = 0; i < entries->count; i++) {
        const CheckpointEntry *entry = &entries->entries[i];
        if (!str_starts_with(entry->key, OWN_KEYS)) {
            checkpoint_set(ret, entry->key, entry->value);
        }
    }
    char text[POSITION_TEXT_SIZE];
    position_format(range->last, text);
    if (!range->is_empty) {
        checkpoint_set(ret, CHECKPOINT_POSITION, str_from(text));
    }
}

static Status resume(Sink *base, Checkpoint *checkpoint, Error *err)
{
    DiskSink *sink = self(base);
    Checkpoint entries = {0};
    segment_log_entries(sink->log, &entries);
    sink->is_owned = checkpoint_get(&entries, OWNER_KEY) != NULL;
    Status status = check_owner(sink->directory, base->context.pipeline, &entries, err);
    if (status == STATUS_OK) {
        status = segment_log_rollback(sink->log, err);
    }
    if (status == STATUS_OK) {
        SegmentLogRange range = segment_log_range(sink->log);
        give_back(&entries, &range, checkpoint);
        segment_log_expect(sink->log, sink->readers.items, sink->readers.count,
                           (uint64_t)sink->keep);
    }
    checkpoint_done(&entries);
    return status;
}

Status disk_sink_look(Str directory, const char *pipeline, Checkpoint *ret, Error *err)
{
    Arena scratch = {0};
    Checkpoint entries = {0};
    SegmentLogRange range;
    Status status = segment_log_look(str_to_cstr(&scratch, directory), &range, &entries, err);
    if (status == STATUS_OK) {
        status = check_owner(directory, pipeline, &entries, err);
    }
    if (status == STATUS_OK) {
        give_back(&entries, &range, ret);
    }
    checkpoint_done(&entries);
    arena_done(&scratch);
    return status;
}

// ---------------------------------------------------------------------------------------------
// Readers that are too far behind
// ---------------------------------------------------------------------------------------------

typedef enum Verdict { VERDICT_FINE, VERDICT_WAIT, VERDICT_TOO_FAR } Verdict;

static Verdict judge(const DiskSink *sink, const SegmentLogBacklog *backlog)
{
    bool is_large = sink->max_size > 0 && backlog->bytes > (uint64_t)sink->max_size;
    bool is_old = sink->max_age_ms > 0 && backlog->age_us > sink->max_age_ms * 1000;
    int64_t patience_us = sink->patience_ms * 1000;
    if (!backlog->is_known) {
        patience_us = MAX(patience_us, (int64_t)STARTING_US);
    } else if (is_old) {
        return VERDICT_TOO_FAR;
    }
    if (!is_large && !is_old) {
        return VERDICT_FINE;
    }
    return backlog->age_us < patience_us ? VERDICT_WAIT : VERDICT_TOO_FAR;
}

// It may have read what it has not confirmed: whether it comes to its end is its to say.
static void tell_given_up(DiskSink *sink, Str name, const SegmentLogBacklog *backlog)
{
    notice_tell(&sink->base.context.notice,
                "the buffer keeps nothing more for \"%" STR_FMT "\", which is behind by %" PRIu64
                " bytes and %" PRId64 " s: it goes on if it has read what is dropped; otherwise it "
                "fails, and its target has to be filled anew",
                STR_ARG(name), backlog->bytes, backlog->age_us / 1000000);
}

static void tell_caught_up(DiskSink *sink, Str name)
{
    notice_tell(&sink->base.context.notice,
                "\"%" STR_FMT "\" has caught up with what the buffer has: it is kept for it again",
                STR_ARG(name));
}

// Without figures, so that it is the same message each time.
static void is_full(const DiskSink *sink, Str name, Error *err)
{
    error_set(err, ERROR_TRANSIENT,
              "the buffer waits for \"%" STR_FMT "\", which is behind by more than it may be",
              STR_ARG(name));
    error_hint(err, sink->full == FULL_DROP_ROUTE
                        ? "It is given up if it does not catch up soon (patience)."
                        : "Nothing is taken from the source meanwhile, whose WAL grows. Get the "
                          "target to work, allow more (max_size, max_age), or give it up (full: "
                          "drop-route).");
}

// Whether to wait for one of them, and @ret_why.
static bool look_at_readers(DiskSink *sink, Error *ret_why)
{
    bool waits = false;
    for (size_t i = 0; i < sink->readers.count; i++) {
        Str name = sink->readers.items[i];
        SegmentLogBacklog backlog;
        bool was_given_up = sink->is_given_up[i];
        bool is_kept = segment_log_backlog(sink->log, name, &backlog);
        sink->is_given_up[i] = backlog.is_given_up;
        if (!is_kept) {
            continue;
        }
        if (was_given_up) {
            tell_caught_up(sink, name);
        }
        Verdict verdict = judge(sink, &backlog);
        if (verdict == VERDICT_TOO_FAR && sink->full == FULL_DROP_ROUTE) {
            segment_log_give_up(sink->log, name);
            sink->is_given_up[i] = true;
            tell_given_up(sink, name, &backlog);
        } else if (verdict != VERDICT_FINE) {
            is_full(sink, name, ret_why);
            waits = true;
        }
    }
    return waits;
}

static void say_wait(const DiskSink *sink, const Error *why)
{
    const SinkContext *context = &sink->base.context;
    if (context->waits != NULL) {
        context->waits(context->waits_context, why);
    }
}

// Between two transactions. The attempt goes on meanwhile: whoever has caught up is not kept
// waiting by the delay of another one, and the source's thread keeps its connection alive.
static Status wait_for_readers(DiskSink *sink, Error *err)
{
    const SinkContext *context = &sink->base.context;
    int64_t most_ms = context->waits == NULL ? SAID_MS : context->wait_ms;
    int64_t began_ms = clock_monotonic_ms();
    bool is_said = false;
    Status status = STATUS_OK;
    Error full = {0};
    while (status == STATUS_OK && look_at_readers(sink, &full)) {
        int64_t waited_ms = clock_monotonic_ms() - began_ms;
        if (cancel_is_set(context->cancel)) {
            status = error_set(err, ERROR_CANCELLED, "cancelled");
        } else if (most_ms > 0 && waited_ms >= most_ms) {
            *err = full;
            status = STATUS_FAIL;
        } else {
            if (waited_ms >= SAID_MS && !is_said) {
                say_wait(sink, &full);
                is_said = true;
            }
            cancel_wait(context->cancel, WAIT_STEP_MS);
        }
    }
    if (is_said) {
        say_wait(sink, NULL);
        if (status == STATUS_OK) {
            notice_tell(&context->notice, "the buffer has room again");
        }
    }
    return status;
}

// ---------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------

// Those of @changes that the segment does not have yet.
static Status write_relations(DiskSink *sink, const Change *changes, size_t count, Error *err)
{
    const Relation *last = NULL;
    for (size_t i = 0; i < count; i++) {
        const Relation *relation = changes[i].relation;
        if (relation == NULL || relation == last || packer_has(&sink->packer, relation)) {
            continue;
        }
        last = relation;
        (void)pack_relation(&sink->packer, relation, segment_log_record(sink->log));
        if (segment_log_end(sink->log, RECORD_RELATION, change_position(&changes[i]), err) !=
            STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status write_record(DiskSink *sink, const Change *changes, size_t count, size_t *ret_written,
                           Error *err)
{
    uint64_t segment;
    if (segment_log_begin(sink->log, (uint64_t)sink->segment, &segment, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (segment != sink->packed_for) {
        packer_begin_segment(&sink->packer);
        sink->packed_for = segment;
    }
    if (write_relations(sink, changes, count, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret_written =
        pack_changes(&sink->packer, changes, count, RECORD_BYTES, segment_log_record(sink->log));
    return segment_log_end(sink->log, RECORD_CHANGES, change_position(&changes[*ret_written - 1]),
                           err);
}

static Status disk_sink_write(Sink *base, const Change *changes, size_t count, Error *err)
{
    DiskSink *sink = self(base);
    if (!sink->in_group && wait_for_readers(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sink->in_group = true;
    for (size_t at = 0; at < count;) {
        size_t written;
        if (cancel_is_set(base->context.cancel)) {
            return error_set(err, ERROR_CANCELLED, "cancelled");
        }
        if (write_record(sink, changes + at, count - at, &written, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        at += written;
    }
    return STATUS_OK;
}

// All of @changed but the position, which the log keeps by itself.
static Status split(DiskSink *sink, const Checkpoint *changed, Checkpoint *ret_entries,
                    Position *ret_end, Error *err)
{
    for (size_t i = 0; i < changed->count; i++) {
        const CheckpointEntry *entry = &changed->entries[i];
        if (!str_equal(entry->key, CHECKPOINT_POSITION)) {
            checkpoint_set(ret_entries, entry->key, entry->value);
        } else if (!position_parse(entry->value, ret_end)) {
            return error_set(err, ERROR_FATAL, "the position \"%" STR_FMT "\" is damaged",
                             STR_ARG(entry->value));
        }
    }
    if (!sink->is_owned) {
        checkpoint_set(ret_entries, OWNER_KEY, str_from(sink->base.context.pipeline));
    }
    segment_log_cursors(sink->log, ret_entries);
    return STATUS_OK;
}

static Status commit(Sink *base, Checkpoint *changed, Error *err)
{
    DiskSink *sink = self(base);
    Position end = segment_log_range(sink->log).last;
    Checkpoint entries = {0};
    Status status = split(sink, changed, &entries, &end, err);
    if (status == STATUS_OK) {
        status = segment_log_commit(sink->log, end, &entries, err);
        sink->is_owned = sink->is_owned || status == STATUS_OK;
        sink->in_group = false;
    }
    checkpoint_done(&entries);
    return status;
}

static void disk_sink_close(Sink *base)
{
    DiskSink *sink = self(base);
    segment_log_close(sink->log);
    packer_done(&sink->packer);
    arena_done(&sink->arena);
}

static void describe_column(Sink *base, const Column *column, Buf *ret_type)
{
    buf_str(ret_type, column->type_name);
}

static void describe_table(Sink *base, const Relation *relation, Buf *ret_name)
{
    buf_str(ret_name, self(base)->directory);
}

const SinkOps disk_sink = {
    .name = "disk",
    .summary = "The disk buffer: a log that other pipelines read.",
    .options = options,
    .instance_size = sizeof(DiskSink),
    .guarantee = GUARANTEE_EXACTLY_ONCE,
    .stores_checkpoint = true,
    .has_tables = false,
    .is_parallel = false,
    .takes_all = true,
    .validate = validate,
    .open = disk_sink_open,
    .resume = resume,
    .write = disk_sink_write,
    .commit = commit,
    .close = disk_sink_close,
    .describe_column = describe_column,
    .describe_table = describe_table,
};
