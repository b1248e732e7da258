// The source of the disk buffer: reads the log, and has another source for copies.
//
// The other source, the one that the log is filled from, is connected to only when a table is to be
// copied. A target goes on taking what the log has while that source is down.
#include <assert.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>

#include "base/mem.h"
#include "buffers/disk.h"
#include "buffers/segment_log.h"
#include "change/pack.h"
#include "pipeline/advice.h"
#include "pipeline/tables.h"

enum { BEGINNING_MS = 100 };

typedef struct DiskSource {
    Source base;
    Str directory;
    Str reader_name;
    StrList origin; // name and options of the other source
    Arena arena;
    SegmentLog *log;
    SegmentLogReader *reader;
    Unpacker unpacker;
    Batch *batch;     // being filled; NULL: none
    Position skipped; // what is at or before it was delivered before
    Position end;     // of the last COMMIT that was read
    Position passed;  // end of the last batch that was passed on
    Position confirmed;
    bool in_group; // changes were read that no COMMIT followed yet
    Tables known;  // by the checkpoint
    bool wants_tables;
    SourceTables news; // that it does not know: told where the log has come to `news_at`
    Lsn news_at;
    pthread_mutex_t lock; // of the other source's opening
    bool is_opened;       // the lock and `known` are made
    Source *other;        // NULL: not made
    bool is_other_open;
} DiskSource;

struct Snapshot {
    const SourceOps *ops;
    Snapshot *inner;
};

struct CopyReader {
    const SourceOps *ops;
    CopyReader *inner;
};

static const Option options[] = {
    {"dir", OPTION_STRING(DiskSource, directory), .required = true, .is_path = true,
     .help = "The log's directory."},
    {"reader", OPTION_STRING(DiskSource, reader_name),
     .help = "The name under which the log knows how far it was read; one of its readers."},
    {"source", OPTION_LIST(DiskSource, origin), .secret = true,
     .help = "Where tables are copied from: the name of a source, then its options as key=value or "
             "key[]=value. "
             "Without it nothing is copied."},
    {0},
};

static DiskSource *self(Source *source)
{
    return (DiskSource *)source;
}

// ---------------------------------------------------------------------------------------------
// The other source
// ---------------------------------------------------------------------------------------------

// "key=value", or "key[]=value" of one of a list.
static void add_item(Arena *arena, StrList *list, const Setting *setting, Str value)
{
    const char *text = arena_printf(arena, "%" STR_FMT "%s=%" STR_FMT, STR_ARG(setting->key),
                                    setting->is_list ? "[]" : "", STR_ARG(value));
    list->items[list->count++] = str_from(text);
}

void disk_source_settings(Str directory, Str reader, const SourceOps *ops, const Settings *settings,
                          Arena *arena, Settings *ret)
{
    size_t most = 1;
    for (size_t i = 0; i < settings->count; i++) {
        most += settings->items[i].is_list ? settings->items[i].list.count : 1;
    }
    StrList origin = {.items = ARENA_ARRAY(arena, Str, most)};
    origin.items[origin.count++] = str_copy(arena, str_from(ops->name));
    for (size_t i = 0; i < settings->count; i++) {
        const Setting *setting = &settings->items[i];
        for (size_t n = 0; setting->is_list && n < setting->list.count; n++) {
            add_item(arena, &origin, setting, setting->list.items[n]);
        }
        if (!setting->is_list) {
            add_item(arena, &origin, setting, setting->value);
        }
    }
    Setting *items = ARENA_ARRAY(arena, Setting, 3);
    items[0] = (Setting){.key = STR("dir"), .value = str_copy(arena, directory)};
    items[1] = (Setting){.key = STR("reader"), .value = str_copy(arena, reader)};
    items[2] = (Setting){.key = STR("source"), .list = origin, .is_list = true};
    *ret = (Settings){.items = items, .count = 3, .origin = str_copy(arena, settings->origin)};
}

static bool take_brackets(Str *key)
{
    bool has = key->len > 2 && key->ptr[key->len - 2] == '[' && key->ptr[key->len - 1] == ']';
    key->len -= has ? 2 : 0;
    return has;
}

// The other way round.
static Status other_settings(DiskSource *source, Arena *arena, const SourceOps **ret_ops,
                             Settings *ret, Error *err)
{
    const StrList *origin = &source->origin;
    *ret_ops = source_find(origin->items[0]);
    if (*ret_ops == NULL || *ret_ops == &disk_source || (*ret_ops)->copy_read_rows == NULL) {
        return error_set(err, ERROR_CONFIG, "the buffer cannot be filled from \"%" STR_FMT "\"",
                         STR_ARG(origin->items[0]));
    }
    Setting *items = ARENA_ARRAY(arena, Setting, origin->count);
    size_t count = 0;
    for (size_t i = 1; i < origin->count; i++) {
        Str value = origin->items[i];
        Str key;
        (void)str_split(&value, '=', &key);
        bool is_list = take_brackets(&key);
        bool again = is_list && count > 0 && str_equal(items[count - 1].key, key);
        if (!again) {
            items[count] = (Setting){.key = key, .is_list = is_list};
            items[count].value = is_list ? STR("") : value;
            items[count++].list.items = ARENA_ARRAY(arena, Str, is_list ? origin->count : 1);
        }
        StrList *list = &items[count - 1].list;
        if (is_list) {
            list->items[list->count++] = value;
        }
    }
    *ret = (Settings){.items = items, .count = count};
    return STATUS_OK;
}

static Status make_other(DiskSource *source, Error *err)
{
    const SourceOps *ops;
    Settings settings;
    if (other_settings(source, &source->arena, &ops, &settings, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    SourceContext context = source->base.context;
    context.keeps_tables = false; // it does not stream, and keeps them anyway: see tables()
    return source_new(ops, &settings, &context, &source->other, err);
}

static Status open_other_locked(DiskSource *source, Error *err)
{
    if (source->origin.count == 0) {
        return error_set(err, ERROR_CONFIG,
                         "the buffer \"%" STR_FMT "\" has no source to copy from",
                         STR_ARG(source->directory));
    }
    if (source->is_other_open) {
        return STATUS_OK;
    }
    if (source->other == NULL && make_other(source, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (source->other->ops->open(source->other, err) != STATUS_OK) {
        source_free(source->other);
        source->other = NULL;
        return STATUS_FAIL;
    }
    source->is_other_open = true;
    return STATUS_OK;
}

// Thread: any.
static Status open_other(DiskSource *source, Error *err)
{
    (void)pthread_mutex_lock(&source->lock);
    Status status = open_other_locked(source, err);
    (void)pthread_mutex_unlock(&source->lock);
    return status;
}

static Status snapshot_open(Source *base, Snapshot **ret, Lsn *ret_at, Error *err)
{
    DiskSource *source = self(base);
    Snapshot *inner;
    if (open_other(source, err) != STATUS_OK ||
        source->other->ops->snapshot_open(source->other, &inner, ret_at, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = mem_alloc(sizeof(Snapshot));
    **ret = (Snapshot){source->other->ops, inner};
    return STATUS_OK;
}

static void snapshot_close(Snapshot *snapshot)
{
    if (snapshot != NULL) {
        snapshot->ops->snapshot_close(snapshot->inner);
        mem_free(snapshot);
    }
}

static Status copy_open(Source *base, Snapshot *snapshot, const Relation *relation, Cancel *cancel,
                        CopyReader **ret, Error *err)
{
    DiskSource *source = self(base);
    CopyReader *inner;
    if (snapshot->ops->copy_open(source->other, snapshot->inner, relation, cancel, &inner, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = mem_alloc(sizeof(CopyReader));
    **ret = (CopyReader){snapshot->ops, inner};
    return STATUS_OK;
}

static Status copy_read(CopyReader *reader, Batch **ret, Error *err)
{
    return reader->ops->copy_read(reader->inner, ret, err);
}

static Status copy_read_rows(CopyReader *reader, CopyForm form, Str *ret, size_t *ret_count,
                             Error *err)
{
    return reader->ops->copy_read_rows(reader->inner, form, ret, ret_count, err);
}

static void copy_close(CopyReader *reader)
{
    if (reader != NULL) {
        reader->ops->copy_close(reader->inner);
        mem_free(reader);
    }
}

// The other source's catalogs are ahead of the log, which may still have the last changes of a
// table whose name a new one has taken. So the log's own place for the news is waited for.
static Status find_news(DiskSource *source, const SourceTables *tables, Error *err)
{
    if (source->known.by_oid.count == 0) {
        return STATUS_OK; // no name is taken yet
    }
    source->news.items = ARENA_ARRAY(&source->arena, SourceTable, tables->count);
    for (size_t i = 0; i < tables->count; i++) {
        if (tables_find(&source->known, tables->items[i].relation->oid) == NULL) {
            source->news.items[source->news.count++] = tables->items[i];
        }
    }
    Lsn until = source->base.context.until;
    if (source->news.count == 0 ||
        source->other->ops->now(source->other, &source->news_at, err) == STATUS_OK) {
        source->news_at = until == LSN_NONE ? source->news_at : MIN(source->news_at, until);
        return STATUS_OK;
    }
    return STATUS_FAIL;
}

// Nothing joins the pipeline in such a run, nor what waits for its first copy.
static const SourceTables *known_only(DiskSource *source, const SourceTables *tables)
{
    SourceTables *known = ARENA_ARRAY(&source->arena, SourceTables, 1);
    known->items = ARENA_ARRAY(&source->arena, SourceTable, tables->count);
    for (size_t i = 0; i < tables->count; i++) {
        if (tables_find(&source->known, tables->items[i].relation->oid) != NULL) {
            known->items[known->count++] = tables->items[i];
        }
    }
    return known;
}

// What a connection costs is spared where nothing is to be copied, and so is being stopped by it.
static Status tables(Source *base, const SourceTables **ret, Error *err)
{
    static const SourceTables none = {0};
    DiskSource *source = self(base);
    if (!source->wants_tables) {
        *ret = &none;
        return STATUS_OK;
    }
    if (open_other(source, err) != STATUS_OK ||
        source->other->ops->tables(source->other, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (base->context.keeps_tables) {
        *ret = known_only(source, *ret);
    }
    return find_news(source, *ret, err);
}

// ---------------------------------------------------------------------------------------------
// Opening
// ---------------------------------------------------------------------------------------------

static Status validate(Source *base, Error *err)
{
    DiskSource *source = self(base);
    if (str_find(source->directory, '\0') >= 0) {
        return error_set(err, ERROR_CONFIG, "the disk buffer needs the path of a directory");
    }
    if (source->origin.count == 0) {
        return STATUS_OK;
    }
    Arena scratch = {0};
    const SourceOps *ops;
    Settings settings;
    Status status = other_settings(source, &scratch, &ops, &settings, err);
    if (status == STATUS_OK) {
        status = source_validate(ops, &settings, err);
    }
    arena_done(&scratch);
    return status;
}

static Status disk_source_open(Source *base, Error *err)
{
    DiskSource *source = self(base);
    (void)pthread_mutex_init(&source->lock, NULL);
    tables_init(&source->known);
    source->is_opened = true;
    if (source->origin.count > 0) {
        if (make_other(source, err) != STATUS_OK) {
            return error_wrap(err, "source");
        }
        base->context.called = "source"; // what copies read
        base->copies = source->other->copies;
    }
    return segment_log_open(str_to_cstr(&source->arena, source->directory), &source->log, err);
}

// ---------------------------------------------------------------------------------------------
// Resuming
// ---------------------------------------------------------------------------------------------

static Status is_another(const DiskSource *source, Str stored, Str now, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "the buffer \"%" STR_FMT "\" is not of the source that the target was filled from: "
              "that was \"%" STR_FMT "\", this is \"%" STR_FMT "\"",
              STR_ARG(source->directory), STR_ARG(stored), STR_ARG(now));
    return error_hint(err,
                      "Positions of another cluster, database or slot mean nothing here. Name "
                      "the old source and buffer, or start again under %s.",
                      advice()->another_name);
}

// Whose positions these are: what the log's own source has said.
static Status check_identity(DiskSource *source, const Checkpoint *checkpoint, Checkpoint *changed,
                             Error *err)
{
    Checkpoint entries = {0};
    segment_log_entries(source->log, &entries);
    const CheckpointEntry *now = checkpoint_get(&entries, CHECKPOINT_SOURCE);
    const CheckpointEntry *stored = checkpoint_get(checkpoint, CHECKPOINT_SOURCE);
    Status status = STATUS_OK;
    if (now != NULL && stored == NULL) {
        checkpoint_set(changed, CHECKPOINT_SOURCE, now->value);
    } else if (now != NULL && !str_equal(now->value, stored->value)) {
        status = is_another(source, stored->value, now->value, err);
    }
    checkpoint_done(&entries);
    return status;
}

// A copy that is not finished needs the list of tables, and so does one that has not begun.
static Status look_at_copies(DiskSource *source, const Checkpoint *checkpoint, Error *err)
{
    if (!source->base.copies) {
        return STATUS_OK;
    }
    if (tables_load(&source->known, checkpoint, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    source->wants_tables =
        source->known.by_oid.count == 0 || checkpoint_says(checkpoint, CHECKPOINT_MISSING, "yes");
    size_t cursor = 0;
    void *value;
    while (map_next(&source->known.by_oid, &cursor, &value)) {
        const Table *table = value;
        source->wants_tables = source->wants_tables || table->state != TABLE_READY;
    }
    return STATUS_OK;
}

// What is left of the time before it is no beginning: the oldest segment is as old as it happens to
// be.
static bool joins_late(const DiskSource *source)
{
    Checkpoint entries = {0};
    bool are_named = false;
    bool is_named = false;
    segment_log_entries(source->log, &entries);
    for (size_t i = 0; i < entries.count; i++) {
        Str key = entries.entries[i].key;
        Str prefix = STR(DISK_FIRST_READERS);
        if (str_starts_with(key, prefix)) {
            are_named = true;
            is_named = is_named || str_equal((Str){key.ptr + prefix.len, key.len - prefix.len},
                                             source->reader_name);
        }
    }
    checkpoint_done(&entries);
    return are_named && !is_named;
}

// With copies a snapshot will have everything up to now, and the stream goes on from here. Without
// them everything that the log has is news.
static Position first_position(const DiskSource *source, const SegmentLogRange *range,
                               Checkpoint *changed)
{
    bool has_past = !source->base.copies && !joins_late(source);
    Position start = has_past ? range->first : range->last;
    char text[POSITION_TEXT_SIZE];
    position_format(start, text);
    checkpoint_set(changed, CHECKPOINT_POSITION, str_from(text));
    return start;
}

// The log begins when the pipeline that fills it has reached its source. What holds that up, it
// says itself.
static Status wait_for_beginning(const DiskSource *source, SegmentLogRange *ret, Error *err)
{
    const Cancel *cancel = source->base.context.cancel;
    for (;;) {
        *ret = segment_log_range(source->log);
        if (!ret->is_empty) {
            return STATUS_OK;
        }
        if (cancel_is_set(cancel)) {
            return error_set(err, ERROR_CANCELLED, "cancelled");
        }
        cancel_wait(cancel, BEGINNING_MS);
    }
}

// What was dropped cannot be had back: nothing more is kept for this reader.
static Status open_reader(DiskSource *source, Position start, Error *err)
{
    Error failure = {0};
    if (segment_log_reader_open(source->log, start, &source->reader, &failure) == STATUS_OK) {
        segment_log_passed(source->log, source->reader_name, start);
        return STATUS_OK;
    }
    if (failure.kind == ERROR_CONFIG) {
        segment_log_give_up(source->log, source->reader_name);
    }
    *err = failure;
    return STATUS_FAIL;
}

static Status disk_source_resume(Source *base, const Checkpoint *checkpoint, Checkpoint *changed,
                                 Error *err)
{
    DiskSource *source = self(base);
    const CheckpointEntry *entry = checkpoint_get(checkpoint, CHECKPOINT_POSITION);
    SegmentLogRange range;
    Position start;
    if (wait_for_beginning(source, &range, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (entry == NULL) {
        start = first_position(source, &range, changed);
    } else if (!position_parse(entry->value, &start)) {
        return error_set(err, ERROR_FATAL, "the stored position \"%" STR_FMT "\" is damaged",
                         STR_ARG(entry->value));
    }
    if (check_identity(source, checkpoint, changed, err) != STATUS_OK ||
        look_at_copies(source, checkpoint, err) != STATUS_OK ||
        open_reader(source, start, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    source->skipped = start;
    source->end = start;
    source->passed = start;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Reading
// ---------------------------------------------------------------------------------------------

// The log tells of them itself. What was found at the start would come behind that, and be older.
static void drop_news(DiskSource *source, const Change *changes, size_t count)
{
    SourceTables *news = &source->news;
    for (size_t i = 0; i < count && news->count > 0; i++) {
        const Relation *relation = changes[i].relation;
        for (size_t n = 0; relation != NULL && n < news->count; n++) {
            if (news->items[n].relation->oid == relation->oid) {
                news->items[n--] = news->items[--news->count];
            }
        }
    }
}

// Its checksum was right: it was not written by a program that writes as this one reads.
static Status is_unreadable(const DiskSource *source, const Record *record, Error *err)
{
    return error_wrap(err, "\"%s\" at byte %" PRIu64, segment_log_reader_path(source->reader),
                      record->offset);
}

static Status take_changes(DiskSource *source, const Record *record, Error *err)
{
    size_t before = source->batch->count;
    if (unpack_changes(&source->unpacker, record->payload, source->batch, err) != STATUS_OK) {
        return is_unreadable(source, record, err);
    }
    const Batch *batch = source->batch;
    drop_news(source, batch->changes + before, batch->count - before);
    source->batch->bytes += record->payload.len;
    source->in_group = true;
    return STATUS_OK;
}

// *ret_kept: the batch has something of it.
static Status take(DiskSource *source, const Record *record, bool *ret_kept, Error *err)
{
    bool is_old = position_compare(record->end, source->skipped) <= 0;
    *ret_kept = false;
    switch (record->kind) {
    case RECORD_STATE:
        unpacker_begin_segment(&source->unpacker);
        return STATUS_OK;
    case RECORD_RELATION:
        return unpack_relation(&source->unpacker, record->payload, err) == STATUS_OK
                   ? STATUS_OK
                   : is_unreadable(source, record, err);
    case RECORD_CHANGES:
        *ret_kept = !is_old;
        return is_old ? STATUS_OK : take_changes(source, record, err);
    case RECORD_COMMIT:
        source->in_group = false;
        source->end = position_max(source->end, record->end);
        return STATUS_OK;
    }
    return STATUS_OK;
}

static void tell_news_in_time(DiskSource *source)
{
    Batch *batch = source->batch;
    if (source->news.count == 0 || source->in_group || source->end.lsn < source->news_at) {
        return;
    }
    Transaction *now = arena_alloc_zero(&batch->arena, sizeof(*now));
    now->commit_lsn = source->end.lsn;
    for (size_t i = 0; i < source->news.count; i++) {
        Change *change = batch_add(batch);
        change->op = CHANGE_SCHEMA;
        change->relation = source->news.items[i].relation;
        change->transaction = now;
        change->ordinal = 1; // behind everything so far; the next transaction is later
    }
    source->news.count = 0;
}

// Until the batch is full or there is nothing more.
static Status fill(DiskSource *source, Error *err)
{
    for (;;) {
        if (source->batch == NULL) {
            source->batch = batch_new();
        }
        Batch *batch = source->batch;
        tell_news_in_time(source);
        Record record;
        bool is_kept;
        Status status = segment_log_next(source->reader, &batch->arena, &record, err);
        if (status != STATUS_OK) {
            return status;
        }
        if (take(source, &record, &is_kept, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (!is_kept && batch->count == 0) {
            arena_reset(&batch->arena); // what is skipped may be much
        }
        if (source_batch_is_full(&source->base, batch, source->in_group)) {
            return STATUS_OK;
        }
        if (cancel_is_set(source->base.context.cancel)) {
            return error_set(err, ERROR_CANCELLED, "cancelled");
        }
    }
}

// A part of a group says nothing about positions: only whole transactions end somewhere.
static Batch *seal(DiskSource *source)
{
    Batch *batch = source->batch;
    source->batch = NULL;
    batch_seal(batch, source->end, !source->in_group);
    source->passed = source->end;
    return batch;
}

static void wait(const DiskSource *source, bool reading, int wake_fd, int timeout_ms)
{
    const Cancel *cancel = source->base.context.cancel;
    struct pollfd fds[] = {
        {.fd = reading ? segment_log_reader_wake(source->reader)->fd : -1, .events = POLLIN},
        {.fd = wake_fd, .events = POLLIN},
        {.fd = cancel_fd(cancel), .events = POLLIN},
    };
    (void)poll(fds, ARRAY_LEN(fds), timeout_ms);
}

static Status disk_source_poll(Source *base, int timeout_ms, int wake_fd, Batch **ret, Error *err)
{
    DiskSource *source = self(base);
    assert(source->reader != NULL);
    if (ret != NULL) {
        // Before the look: what comes after it rings again.
        wake_clear(segment_log_reader_wake(source->reader));
        Status status = fill(source, err);
        if (status == STATUS_FAIL) {
            return error_wrap(err, "read the buffer \"%" STR_FMT "\"", STR_ARG(source->directory));
        }
        bool moved = position_compare(source->end, source->passed) > 0;
        if (status == STATUS_OK || moved || source->batch->count > 0) {
            *ret = seal(source);
            return STATUS_OK;
        }
    }
    wait(source, ret != NULL, wake_fd, timeout_ms);
    return STATUS_AGAIN;
}

static void disk_source_confirm(Source *base, Position position)
{
    DiskSource *source = self(base);
    if (source->log != NULL && position_compare(position, source->confirmed) > 0) {
        source->confirmed = position;
        segment_log_passed(source->log, source->reader_name, position);
    }
}

// What the other source has now will be in the log later.
static Status now(Source *base, Lsn *ret, Error *err)
{
    DiskSource *source = self(base);
    if (source->origin.count == 0) {
        *ret = segment_log_range(source->log).last.lsn;
    } else if (open_other(source, err) != STATUS_OK ||
               source->other->ops->now(source->other, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    base->context.until = *ret;
    return STATUS_OK;
}

static Lsn head(const Source *base)
{
    const DiskSource *source = (const DiskSource *)base;
    return segment_log_range(source->log).last.lsn;
}

static void disk_source_close(Source *base)
{
    DiskSource *source = self(base);
    batch_unref(source->batch);
    segment_log_reader_close(source->reader);
    segment_log_close(source->log);
    source_free(source->other);
    unpacker_done(&source->unpacker);
    arena_done(&source->arena);
    if (source->is_opened) {
        tables_done(&source->known);
        (void)pthread_mutex_destroy(&source->lock);
    }
}

const SourceOps disk_source = {
    .name = "disk",
    .summary = "The disk buffer: a log that another pipeline fills.",
    .options = options,
    .instance_size = sizeof(DiskSource),
    .validate = validate,
    .open = disk_source_open,
    .resume = disk_source_resume,
    .tables = tables,
    .snapshot_open = snapshot_open,
    .snapshot_close = snapshot_close,
    .copy_open = copy_open,
    .copy_read = copy_read,
    .copy_read_rows = copy_read_rows,
    .copy_close = copy_close,
    .poll = disk_source_poll,
    .confirm = disk_source_confirm,
    .now = now,
    .head = head,
    .close = disk_source_close,
};
