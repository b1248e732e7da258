#include "hub/hub_log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/mem.h"
#include "buffers/disk.h"
#include "pipeline/sink.h"

enum { WAIT_STEP_MS = 50 };

// In front of the keys of a writer's checkpoint: "from:prod-db:position".
#define WRITER_KEYS "from:"

// One that waits for its turn; turns are taken in the order in which they are asked for.
typedef struct Waiter Waiter;

struct Waiter {
    Waiter *next;
};

struct HubLog {
    Arena arena;
    const char *name;
    Settings *settings;
    HubMemory *memory;
    pthread_mutex_t lock; // of `turn` and `first`
    pthread_cond_t is_free;
    const HubWriter *turn; // who writes; NULL: nobody
    Waiter *first;
    // Of the one whose turn it is.
    Sink *sink;        // NULL: it is not open
    Checkpoint stored; // as the sink gave it back, and what was committed since
    Lsn lsn;           // of the next objects
    uint64_t ordinal;  // of the last one that was written since the last commit
    char identity[64]; // "": not known yet
};

HubLog *hub_log_new(Str name, Settings *settings, HubMemory *memory)
{
    HubLog *log = mem_alloc_zero(sizeof(*log));
    log->name = str_to_cstr(&log->arena, name);
    log->settings = settings;
    log->memory = memory;
    (void)pthread_mutex_init(&log->lock, NULL);
    (void)pthread_cond_init(&log->is_free, NULL);
    return log;
}

static void close_sink(HubLog *log)
{
    sink_free(log->sink);
    log->sink = NULL;
    checkpoint_reset(&log->stored);
}

void hub_log_free(HubLog *log)
{
    if (log == NULL) {
        return;
    }
    assert(log->turn == NULL);
    close_sink(log);
    checkpoint_done(&log->stored);
    (void)pthread_cond_destroy(&log->is_free);
    (void)pthread_mutex_destroy(&log->lock);
    arena_done(&log->arena);
    mem_free(log);
}

// ---------------------------------------------------------------------------------------------
// Opening
// ---------------------------------------------------------------------------------------------

static Status commit_sink(HubLog *log, Lsn end, Checkpoint *changed, Error *err)
{
    char text[POSITION_TEXT_SIZE];
    position_format((Position){end, 0}, text);
    checkpoint_set(changed, CHECKPOINT_POSITION, str_from(text));
    if (log->sink->ops->commit(log->sink, changed, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    log->lsn = end;
    log->ordinal = 0;
    return STATUS_OK;
}

// Whoever is pushed to from the first start on gets everything, however late it is reached.
static void name_readers(const HubLog *log, Checkpoint *changed)
{
    Arena scratch = {0};
    for (size_t i = 0; i < log->settings->count; i++) {
        const Setting *setting = &log->settings->items[i];
        for (size_t n = 0; str_is(setting->key, "readers") && n < setting->list.count; n++) {
            Str key = str_from(arena_printf(&scratch, DISK_FIRST_READERS "%" STR_FMT,
                                            STR_ARG(setting->list.items[n])));
            checkpoint_set(changed, key, STR("first"));
        }
    }
    arena_done(&scratch);
}

// A target knows by its name that it was filled from this log and no other.
static Status begin_log(HubLog *log, Error *err)
{
    uint64_t number;
    char name[32];
    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number)) {
        return error_set_errno(err, ERROR_FATAL, errno, "get a random number");
    }
    (void)snprintf(name, sizeof(name), "hub %016" PRIx64, number);
    Checkpoint changed = {0};
    checkpoint_set(&changed, CHECKPOINT_SOURCE, str_from(name));
    name_readers(log, &changed);
    Status status = commit_sink(log, 1, &changed, err);
    checkpoint_set(&log->stored, CHECKPOINT_SOURCE, str_from(name));
    checkpoint_done(&changed);
    return status;
}

static Status continue_log(HubLog *log, Error *err)
{
    const CheckpointEntry *entry = checkpoint_get(&log->stored, CHECKPOINT_POSITION);
    Position position;
    if (entry == NULL) {
        return begin_log(log, err);
    }
    if (!position_parse(entry->value, &position)) {
        return error_set(err, ERROR_FATAL, "the position \"%" STR_FMT "\" is damaged",
                         STR_ARG(entry->value));
    }
    log->lsn = position.lsn;
    log->ordinal = 0;
    return STATUS_OK;
}

static Status open_sink(HubLog *log, Error *err)
{
    SinkContext context = {.pipeline = log->name};
    if (sink_new(&disk_sink, log->settings, &context, &log->sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Sink *sink = log->sink;
    sink->context.cancel = log->turn->cancel;
    sink->context.notice = log->turn->notice;
    if (sink->ops->open(sink, err) != STATUS_OK ||
        sink->ops->resume(sink, &log->stored, err) != STATUS_OK ||
        continue_log(log, err) != STATUS_OK ||
        // Before the LSN of what was remembered, and did not get here, is given again.
        hub_memory_begin(log->memory, log->lsn, err) != STATUS_OK) {
        close_sink(log);
        return STATUS_FAIL;
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Turns
// ---------------------------------------------------------------------------------------------

static void join_queue(HubLog *log, Waiter *self)
{
    Waiter **last = &log->first;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = self;
}

static void leave_queue(HubLog *log, const Waiter *self)
{
    Waiter **at = &log->first;
    while (*at != self) {
        at = &(*at)->next;
    }
    *at = self->next;
}

// Who writes much takes one turn after the other, and must not be the one that is always faster.
static Status wait_for_turn(const HubWriter *writer, Error *err)
{
    HubLog *log = writer->log;
    Status status = STATUS_OK;
    Waiter self = {0};
    (void)pthread_mutex_lock(&log->lock);
    join_queue(log, &self);
    while ((log->turn != NULL || log->first != &self) && status == STATUS_OK) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAIT_STEP_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        (void)pthread_cond_timedwait(&log->is_free, &log->lock, &until);
        if (cancel_is_set(writer->cancel)) {
            status = error_set(err, ERROR_CANCELLED, "cancelled");
        }
    }
    log->turn = status == STATUS_OK ? writer : log->turn;
    leave_queue(log, &self);
    (void)pthread_cond_broadcast(&log->is_free); // one that has given up may have been the first
    (void)pthread_mutex_unlock(&log->lock);
    return status;
}

static bool has_turn(const HubWriter *writer)
{
    HubLog *log = writer->log;
    (void)pthread_mutex_lock(&log->lock);
    bool has = log->turn == writer;
    (void)pthread_mutex_unlock(&log->lock);
    return has;
}

static void give_back(const HubWriter *writer)
{
    HubLog *log = writer->log;
    (void)pthread_mutex_lock(&log->lock);
    assert(log->turn == writer);
    log->turn = NULL;
    (void)pthread_cond_broadcast(&log->is_free);
    (void)pthread_mutex_unlock(&log->lock);
}

static Status take_turn(const HubWriter *writer, Error *err)
{
    if (has_turn(writer)) {
        return STATUS_OK;
    }
    if (wait_for_turn(writer, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    HubLog *log = writer->log;
    if (log->sink == NULL && open_sink(log, err) != STATUS_OK) {
        give_back(writer);
        return STATUS_FAIL;
    }
    log->sink->context.cancel = writer->cancel;
    log->sink->context.notice = writer->notice;
    return STATUS_OK;
}

void hub_log_end(const HubWriter *writer)
{
    if (has_turn(writer)) {
        close_sink(writer->log); // opened again, it forgets what was not committed
        give_back(writer);
    }
}

// ---------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------

Lsn hub_log_tail(HubLog *log)
{
    (void)pthread_mutex_lock(&log->lock);
    Lsn lsn = log->lsn;
    (void)pthread_mutex_unlock(&log->lock);
    return lsn;
}

Str hub_log_identity(const HubLog *log)
{
    return str_from(log->identity);
}

// It never changes, so that whoever has seen it written may read it.
static void keep_identity(HubLog *log)
{
    const CheckpointEntry *entry = checkpoint_get(&log->stored, CHECKPOINT_SOURCE);
    if (entry != NULL && log->identity[0] == '\0') {
        (void)snprintf(log->identity, sizeof(log->identity), "%" STR_FMT, STR_ARG(entry->value));
    }
}

static Str writer_keys(const HubWriter *writer, Arena *arena)
{
    return str_from(arena_printf(arena, WRITER_KEYS "%" STR_FMT ":", STR_ARG(writer->system)));
}

Status hub_log_restore(const HubWriter *writer, Checkpoint *ret, Error *err)
{
    if (take_turn(writer, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Arena scratch = {0};
    Str keys = writer_keys(writer, &scratch);
    const Checkpoint *stored = &writer->log->stored;
    keep_identity(writer->log);
    for (size_t i = 0; ret != NULL && i < stored->count; i++) {
        const CheckpointEntry *entry = &stored->entries[i];
        if (str_starts_with(entry->key, keys) && entry->value.ptr != NULL) {
            checkpoint_set(ret, (Str){entry->key.ptr + keys.len, entry->key.len - keys.len},
                           entry->value);
        }
    }
    arena_done(&scratch);
    give_back(writer);
    return STATUS_OK;
}

Status hub_log_begin(const HubWriter *writer, Lsn *ret_lsn, Error *err)
{
    Status status = take_turn(writer, err);
    *ret_lsn = status == STATUS_OK ? writer->log->lsn : LSN_NONE;
    return status;
}

Status hub_log_write(const HubWriter *writer, Change *changes, size_t count, Error *err)
{
    HubLog *log = writer->log;
    assert(has_turn(writer));
    for (size_t i = 0; i < count; i++) {
        assert(changes[i].transaction->commit_lsn == log->lsn);
        changes[i].ordinal = ++log->ordinal;
    }
    return log->sink->ops->write(log->sink, changes, count, err);
}

Status hub_log_commit(const HubWriter *writer, const Checkpoint *changed, Error *err)
{
    if (take_turn(writer, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    HubLog *log = writer->log;
    Arena scratch = {0};
    Checkpoint entries = {0};
    Str keys = writer_keys(writer, &scratch);
    for (size_t i = 0; i < changed->count; i++) {
        const CheckpointEntry *entry = &changed->entries[i];
        Str key = str_from(
            arena_printf(&scratch, "%" STR_FMT "%" STR_FMT, STR_ARG(keys), STR_ARG(entry->key)));
        checkpoint_set(&entries, key, entry->value);
    }
    Status status = commit_sink(log, log->lsn + (log->ordinal > 0 ? 1 : 0), &entries, err);
    for (size_t i = 0; status == STATUS_OK && i < entries.count; i++) {
        checkpoint_set(&log->stored, entries.entries[i].key, entries.entries[i].value);
    }
    checkpoint_done(&entries);
    arena_done(&scratch);
    if (status != STATUS_OK) {
        close_sink(log);
    }
    give_back(writer);
    return status;
}
