#include "hub/hub_stage.h"

#include <assert.h>
#include <unistd.h>

#include "base/mem.h"
#include "buffers/disk.h"
#include "buffers/segment_log.h"
#include "change/pack.h"

// What has been read is removed by whole segments: so much stays.
#define SEGMENT STR("16MB")

#define READER STR("hub")

struct HubStage {
    const char *directory;
    const SinkContext *context;
    Arena arena;
    Sink *sink; // NULL: not opened yet
    SegmentLog *log;
    Position end;     // of what is durable
    Lsn lsn;          // of what is open
    uint64_t ordinal; // of the last one that was written; 0: nothing is open
    SegmentLogReader *reader;
    Unpacker unpacker;
    bool is_read; // to the end of its range; what it gave out is still used
};

HubStage *hub_stage_new(const char *directory, const SinkContext *context)
{
    HubStage *stage = mem_alloc_zero(sizeof(*stage));
    stage->directory = directory;
    stage->context = context;
    return stage;
}

static void close_reader(HubStage *stage)
{
    segment_log_reader_close(stage->reader);
    stage->reader = NULL;
    unpacker_done(&stage->unpacker);
    stage->unpacker = (Unpacker){0};
}

void hub_stage_free(HubStage *stage)
{
    if (stage == NULL) {
        return;
    }
    close_reader(stage);
    segment_log_close(stage->log);
    sink_free(stage->sink);
    arena_done(&stage->arena);
    mem_free(stage);
}

// ---------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------

static Status new_sink(HubStage *stage, Sink **ret, Error *err)
{
    Str reader = READER;
    Setting items[] = {
        {.key = STR("dir"), .value = str_from(stage->directory)},
        {.key = STR("segment"), .value = SEGMENT},
        {.key = STR("readers"), .is_list = true, .is_internal = true, .list = {&reader, 1}},
    };
    Settings settings = {.items = items, .count = ARRAY_LEN(items), .origin = STR("the hub")};
    const SinkContext context = {.pipeline = stage->context->pipeline,
                                 .cancel = stage->context->cancel,
                                 .notice = stage->context->notice};
    return sink_new(&disk_sink, &settings, &context, ret, err);
}

static Status open_stage(HubStage *stage, Error *err)
{
    if (stage->sink != NULL) {
        return STATUS_OK;
    }
    Sink *sink;
    Checkpoint stored = {0};
    if (new_sink(stage, &sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status = sink->ops->open(sink, err);
    if (status == STATUS_OK) {
        status = sink->ops->resume(sink, &stored, err);
    }
    if (status == STATUS_OK) {
        status = segment_log_open(stage->directory, &stage->log, err);
    }
    checkpoint_done(&stored);
    if (status != STATUS_OK) {
        sink_free(sink);
        return STATUS_FAIL;
    }
    stage->sink = sink;
    stage->end = segment_log_range(stage->log).last;
    return STATUS_OK;
}

Status hub_stage_begin(HubStage *stage, Lsn *ret_lsn, Error *err)
{
    if (open_stage(stage, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    stage->lsn = stage->end.lsn + 1;
    *ret_lsn = stage->lsn;
    return STATUS_OK;
}

Status hub_stage_write(HubStage *stage, Change *changes, size_t count, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        assert(changes[i].transaction->commit_lsn == stage->lsn);
        changes[i].ordinal = ++stage->ordinal;
    }
    return stage->sink->ops->write(stage->sink, changes, count, err);
}

bool hub_stage_is_open(const HubStage *stage)
{
    return stage->ordinal > 0;
}

void hub_stage_format(const HubStageRange *range, char ret[static HUB_STAGE_TEXT])
{
    char from[POSITION_TEXT_SIZE];
    char to[POSITION_TEXT_SIZE];
    position_format(range->from, from);
    position_format(range->to, to);
    (void)snprintf(ret, HUB_STAGE_TEXT, "%s %s", from, to);
}

bool hub_stage_parse(Str text, HubStageRange *ret)
{
    ptrdiff_t space = str_find(text, ' ');
    return space >= 0 && position_parse((Str){text.ptr, (size_t)space}, &ret->from) &&
           position_parse((Str){text.ptr + space + 1, text.len - (size_t)space - 1}, &ret->to);
}

Status hub_stage_commit(HubStage *stage, HubStageRange *ret, Error *err)
{
    const Position end = {stage->lsn, stage->ordinal};
    char text[POSITION_TEXT_SIZE];
    Checkpoint changed = {0};
    position_format(end, text);
    checkpoint_set(&changed, CHECKPOINT_POSITION, str_from(text));
    Status status = stage->sink->ops->commit(stage->sink, &changed, err);
    checkpoint_done(&changed);
    if (status == STATUS_OK) {
        *ret = (HubStageRange){stage->end, end};
        stage->end = end;
        stage->ordinal = 0;
    }
    return status;
}

// ---------------------------------------------------------------------------------------------
// Reading
// ---------------------------------------------------------------------------------------------

static Status open_reader(HubStage *stage, Position from, Error *err)
{
    if (stage->reader != NULL && !stage->is_read) {
        return STATUS_OK;
    }
    close_reader(stage);
    stage->is_read = false;
    return open_stage(stage, err) == STATUS_OK
               ? segment_log_reader_open(stage->log, from, &stage->reader, err)
               : STATUS_FAIL;
}

static Status take_record(HubStage *stage, const Record *record, const HubStageRange *range,
                          Batch *batch, Error *err)
{
    switch (record->kind) {
    case RECORD_STATE:
        unpacker_begin_segment(&stage->unpacker);
        return STATUS_OK;
    case RECORD_RELATION:
        return unpack_relation(&stage->unpacker, record->payload, err);
    case RECORD_CHANGES:
        return position_compare(record->end, range->from) <= 0
                   ? STATUS_OK
                   : unpack_changes(&stage->unpacker, record->payload, batch, err);
    case RECORD_COMMIT:
        break;
    }
    return STATUS_OK;
}

Status hub_stage_next(HubStage *stage, HubStageRange *range, Batch *batch, Error *err)
{
    size_t before = batch->count;
    if (position_compare(range->from, range->to) >= 0) {
        stage->is_read = true;
        return STATUS_AGAIN;
    }
    if (open_reader(stage, range->from, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    while (batch->count == before) {
        Record record;
        Status status = segment_log_next(stage->reader, &batch->arena, &record, err);
        if (status == STATUS_AGAIN) {
            return error_set(err, ERROR_FATAL, "\"%s\" ends before what the hub's log has noted",
                             stage->directory);
        }
        if (status != STATUS_OK || take_record(stage, &record, range, batch, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        batch->bytes += record.payload.len;
    }
    range->from = change_position(&batch->changes[batch->count - 1]);
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Removing
// ---------------------------------------------------------------------------------------------

void hub_stage_passed(HubStage *stage, Position to)
{
    if (stage->log != NULL) {
        segment_log_passed(stage->log, READER, to);
    }
}

Status hub_stage_forget(HubStage *stage, Error *err)
{
    if (stage->sink == NULL && access(stage->directory, F_OK) != 0) {
        return STATUS_OK;
    }
    if (open_stage(stage, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    hub_stage_passed(stage, stage->end);
    return STATUS_OK;
}
