// A route between a source that has one table to copy and a sink that notes what it is given. What
// the sink has is a text, and only what was committed is in it:
//
//   r1 +5 ~5 -5 T M S   a copied row, insert, update, delete, truncate, message, schema event
//   clear               the table was emptied
//   [30:0 1=ready@20]   a commit, with the position and the tables' states that it stored
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "change/batch.h"
#include "pipeline/route.h"
#include "relations.h"

typedef struct World {
    pthread_mutex_t lock; // copies beside the stream come from a thread of their own
    Buf done;
    Checkpoint stored;
    Lsn snapshot_lsn;
    int rows;        // of the table, when it is copied
    bool breaks_off; // the copy does, behind its rows
    bool commit_fails;
    size_t room;           // of narrow_sink: so many changes between two commits
    atomic_bool is_gated;  // copies wait
    atomic_bool is_locked; // snapshots wait, as for a transaction that goes on and on
    atomic_int copies;     // that were begun
} World;

static World world;

// ---------------------------------------------------------------------------------------------
// The sink
// ---------------------------------------------------------------------------------------------

typedef struct FakeSink {
    Sink base;
    Buf pending;    // written, not committed
    size_t written; // changes of that
} FakeSink;

static inline Status fake_open(Sink *base, Error *err)
{
    ((FakeSink *)base)->pending.max = 1 << 20;
    return STATUS_OK;
}

static inline Status fake_resume(Sink *base, Checkpoint *checkpoint, Error *err)
{
    for (size_t i = 0; base->ops->stores_checkpoint && i < world.stored.count; i++) {
        checkpoint_set(checkpoint, world.stored.entries[i].key, world.stored.entries[i].value);
    }
    return STATUS_OK;
}

static inline Status fake_prepare(Sink *base, const Relation *was, const Relation *now, Error *err)
{
    return STATUS_OK;
}

static inline void note(Buf *text, const char *word)
{
    buf_printf(text, text->len > 0 ? " %s" : "%s", word);
}

static inline Status fake_clear(Sink *base, const Relation *relation, Lsn copied_at, Error *err)
{
    note(&((FakeSink *)base)->pending, "clear");
    return STATUS_OK;
}

static inline Status fake_make_room(Sink *base, const Change *changes, size_t count, size_t *ret,
                                    Error *err)
{
    *ret = MIN(count, world.room - ((FakeSink *)base)->written);
    return STATUS_OK;
}

static inline Status fake_write(Sink *base, const Change *changes, size_t count, Error *err)
{
    ((FakeSink *)base)->written += count;
    static const char marks[] = {'r', '+', '~', '-', 'T', 'M', 'S'};
    for (size_t i = 0; i < count; i++) {
        const Value *row = changes[i].new_row != NULL ? changes[i].new_row : changes[i].old_row;
        char word[64];
        (void)snprintf(word, sizeof(word), "%c%.*s", marks[changes[i].op],
                       row == NULL ? 0 : (int)row[0].len, row == NULL ? "" : row[0].ptr);
        note(&((FakeSink *)base)->pending, word);
    }
    return STATUS_OK;
}

// "1 \t state \t 0/LSN \t …" as state@LSN
static inline void note_entry(Buf *text, const CheckpointEntry *entry)
{
    Str rest = entry->value;
    Str field;
    if (str_is(entry->key, "position")) {
        buf_str(text, (Str){rest.ptr + 2, rest.len - 2}); // without "0/"
        return;
    }
    Str prefix = STR("table:");
    if (!str_starts_with(entry->key, prefix)) {
        return;
    }
    buf_printf(text, text->ptr[text->len - 1] == '[' ? "%.*s=" : " %.*s=",
               (int)(entry->key.len - prefix.len), entry->key.ptr + prefix.len);
    (void)str_split(&rest, '\t', &field);
    (void)str_split(&rest, '\t', &field);
    buf_str(text, field);
    (void)str_split(&rest, '\t', &field);
    buf_printf(text, "@%.*s", (int)field.len - 2, field.ptr + 2);
}

static inline Status fake_commit(Sink *base, Checkpoint *changed, Error *err)
{
    FakeSink *sink = (FakeSink *)base;
    if (world.commit_fails) {
        return error_set(err, ERROR_TRANSIENT, "the target is away");
    }
    (void)pthread_mutex_lock(&world.lock);
    buf_cstr(&sink->pending, sink->pending.len > 0 ? " [" : "[");
    for (size_t i = 0; i < changed->count; i++) {
        note_entry(&sink->pending, &changed->entries[i]);
        checkpoint_set(&world.stored, changed->entries[i].key, changed->entries[i].value);
    }
    buf_char(&sink->pending, ']');
    note(&world.done, buf_cstring(&sink->pending));
    (void)pthread_mutex_unlock(&world.lock);
    buf_reset(&sink->pending);
    sink->written = 0;
    return STATUS_OK;
}

static inline void fake_close(Sink *base)
{
    buf_done(&((FakeSink *)base)->pending);
}

#define FAKE_SINK                                                                             \
    .name = "fake", .summary = "notes", .options = (const Option[]){{0}},                     \
    .instance_size = sizeof(FakeSink), .open = fake_open, .resume = fake_resume,              \
    .prepare = fake_prepare, .clear = fake_clear, .write = fake_write, .commit = fake_commit, \
    .close = fake_close

static const SinkOps serial_sink = {FAKE_SINK, .guarantee = GUARANTEE_EXACTLY_ONCE,
                                    .stores_checkpoint = true, .has_tables = true};
static const SinkOps parallel_sink = {FAKE_SINK, .guarantee = GUARANTEE_EXACTLY_ONCE,
                                      .stores_checkpoint = true, .has_tables = true,
                                      .is_parallel = true};
static const SinkOps event_sink = {FAKE_SINK, .guarantee = GUARANTEE_EXACTLY_ONCE,
                                   .stores_checkpoint = true};
static const SinkOps narrow_sink = {FAKE_SINK, .guarantee = GUARANTEE_EXACTLY_ONCE,
                                    .stores_checkpoint = true, .has_tables = true,
                                    .make_room = fake_make_room};
static const SinkOps forgetful_sink = {FAKE_SINK, .guarantee = GUARANTEE_AT_LEAST_ONCE,
                                       .has_tables = true};

// ---------------------------------------------------------------------------------------------
// The source
// ---------------------------------------------------------------------------------------------

struct Snapshot {
    Lsn lsn;
};

struct CopyReader {
    const Relation *relation;
    Cancel *cancel;
    Lsn lsn;
    int row;
};

// A gate that stays shut is a bug of the test: it ends all the same.
static inline bool pass(atomic_bool *gate, Cancel *cancel)
{
    for (int i = 0; atomic_load(gate); i++) {
        if ((cancel != NULL && cancel_is_set(cancel)) || i == 20000) {
            return false;
        }
        (void)usleep(500);
    }
    return true;
}

static inline Status fake_snapshot_open(Source *source, Snapshot **ret, Lsn *ret_at, Error *err)
{
    if (!pass(&world.is_locked, source->context.cancel)) {
        return error_set(err, ERROR_CANCELLED, "the snapshot was interrupted");
    }
    *ret = mem_alloc(sizeof(**ret));
    **ret = (Snapshot){world.snapshot_lsn};
    *ret_at = world.snapshot_lsn;
    return STATUS_OK;
}

static inline void fake_snapshot_close(Snapshot *snapshot)
{
    mem_free(snapshot);
}

static inline Status fake_copy_open(Source *source, Snapshot *snapshot, const Relation *relation,
                                    Cancel *cancel, CopyReader **ret, Error *err)
{
    atomic_fetch_add(&world.copies, 1);
    *ret = mem_alloc(sizeof(**ret));
    **ret = (CopyReader){.relation = relation, .cancel = cancel, .lsn = snapshot->lsn};
    return STATUS_OK;
}

static inline void add_row(Batch *batch, ChangeOp op, const Relation *relation,
                           const Transaction *transaction, uint64_t ordinal, int id)
{
    Change *change = batch_add(batch);
    Value *row = batch_row(batch, relation->column_count);
    char text[16];
    int len = snprintf(text, sizeof(text), "%d", id);
    row[0] = (Value){batch_bytes(batch, text, (size_t)len), (uint32_t)len, VALUE_TEXT};
    *change = (Change){.op = op,
                       .relation = relation,
                       .old_row = op == CHANGE_DELETE ? row : NULL,
                       .new_row = op == CHANGE_DELETE ? NULL : row,
                       .transaction = transaction,
                       .ordinal = ordinal};
}

static inline Status fake_copy_read(CopyReader *reader, Batch **ret, Error *err)
{
    *ret = NULL;
    if (!pass(&world.is_gated, reader->cancel)) {
        return error_set(err, ERROR_CANCELLED, "the copy was interrupted");
    }
    if (reader->row == world.rows) {
        return world.breaks_off ? error_set(err, ERROR_TRANSIENT, "the copy broke off") : STATUS_OK;
    }
    Batch *batch = batch_new();
    Transaction *transaction = arena_alloc_zero(&batch->arena, sizeof(*transaction));
    transaction->commit_lsn = reader->lsn;
    reader->row++;
    add_row(batch, CHANGE_READ, reader->relation, transaction, (uint64_t)reader->row, reader->row);
    batch_seal(batch, (Position){reader->lsn, (uint64_t)reader->row}, true);
    *ret = batch;
    return STATUS_OK;
}

static inline void fake_copy_close(CopyReader *reader)
{
    mem_free(reader);
}

static const SourceOps fake_source = {
    .name = "fake",
    .instance_size = sizeof(Source),
    .snapshot_open = fake_snapshot_open,
    .snapshot_close = fake_snapshot_close,
    .copy_open = fake_copy_open,
    .copy_read = fake_copy_read,
    .copy_close = fake_copy_close,
};

// ---------------------------------------------------------------------------------------------
// The fixture
// ---------------------------------------------------------------------------------------------

typedef struct Fixture {
    Arena arena;
    Source source;
    RouteOptions options;
    Settings settings;
    Cancel cancel;
    Meter meter;
    Route *route;
    Error error;
    const Relation *table;
    Batch *batch; // being filled
    Transaction *transaction;
    uint64_t ordinal;
} Fixture;

#define assert_ok(f, expression)                \
    do {                                        \
        if ((expression) != STATUS_OK) {        \
            fail_msg("%s", (f)->error.message); \
        }                                       \
    } while (0)

#define assert_done(expected) assert_string_equal(buf_cstring(&world.done), expected)

static inline const Relation *table_of(Fixture *f, uint32_t oid, const char *name)
{
    const Column columns[] = {INT4("id", 1), TEXT("v", 2)};
    return relation_of(&f->arena, oid, "public", name, "a", columns, ARRAY_LEN(columns));
}

static inline int fixture_setup(void **state)
{
    Fixture *f = mem_alloc_zero(sizeof(*f));
    world = (World){.done = {.max = 1 << 20}, .snapshot_lsn = 0x20, .rows = 2};
    (void)pthread_mutex_init(&world.lock, NULL);
    assert_int_equal(cancel_init(&f->cancel, &f->error), STATUS_OK);
    meter_init(&f->meter);
    f->source = (Source){.ops = &fake_source, .copies = true, .context.cancel = &f->cancel};
    f->settings = (Settings){.origin = STR("the test")};
    f->table = table_of(f, 1, "t");
    f->options = (RouteOptions){
        .source = &f->source,
        .sink = {.ops = &serial_sink,
                 .settings = &f->settings,
                 .context = {.pipeline = "test", .cancel = &f->cancel}},
        .copies = true,
        .persistent = true,
        .lanes = 1,
        .cancel = &f->cancel,
        .meter = &f->meter,
    };
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    Fixture *f = *state;
    route_close(f->route);
    batch_unref(f->batch);
    cancel_done(&f->cancel);
    meter_done(&f->meter);
    buf_done(&world.done);
    checkpoint_done(&world.stored);
    (void)pthread_mutex_destroy(&world.lock);
    arena_done(&f->arena);
    mem_free(f);
    return 0;
}

/** Open the route (again, as after a crash: what was not committed is gone). */
static inline void open_route(Fixture *f)
{
    route_close(f->route);
    f->route = NULL;
    cancel_reset(&f->cancel);
    assert_ok(f, route_open(&f->options, &f->route, &f->error));
}

static inline Status copy_all(Fixture *f)
{
    SourceTable item = {.relation = f->table, .row_estimate = -1, .byte_estimate = -1};
    SourceTables tables = {.items = &item, .count = 1};
    return route_copy(f->route, &tables, &f->error);
}

/** As far as a stream that begins at @lsn. */
static inline void start_at(Fixture *f, Lsn lsn)
{
    open_route(f);
    assert_ok(f, copy_all(f));
    route_start(f->route, (Position){lsn, 0});
}

/** The changes that follow are of a transaction that commits there. */
static inline void begin(Fixture *f, Lsn commit_lsn)
{
    if (f->batch == NULL) {
        f->batch = batch_new();
    }
    f->transaction = arena_alloc_zero(&f->batch->arena, sizeof(*f->transaction));
    *f->transaction = (Transaction){.commit_lsn = commit_lsn, .xid = (uint32_t)commit_lsn};
    f->ordinal = 0;
}

static inline void add(Fixture *f, ChangeOp op, const Relation *relation, int id)
{
    add_row(f->batch, op, relation, f->transaction, ++f->ordinal, id);
}

static inline void announce(Fixture *f, const Relation *relation)
{
    Change *change = batch_add(f->batch);
    *change = (Change){.op = CHANGE_SCHEMA,
                       .relation = relation,
                       .transaction = f->transaction,
                       .ordinal = f->ordinal + 1};
}

static inline void deliver_part(Fixture *f, Position end, bool ends_transaction)
{
    Batch *batch = f->batch;
    f->batch = NULL;
    batch_seal(batch, end, ends_transaction);
    assert_ok(f, route_deliver(f->route, &batch, 1, &f->error));
    batch_unref(batch); // what the route keeps, it has copied
}

static inline void deliver(Fixture *f, Lsn end)
{
    deliver_part(f, (Position){end, 0}, true);
}

static inline void flush(Fixture *f)
{
    assert_ok(f, route_flush(f->route, true, false, &f->error));
}

/** Until everything up to @lsn is committed; a commit may rest for a moment. */
static inline void settle(Fixture *f, Lsn lsn)
{
    for (int i = 0; i < 4000 && position_compare(route_durable(f->route), (Position){lsn, 0}) < 0;
         i++) {
        flush(f);
        (void)usleep(500);
    }
    assert_int_equal(route_durable(f->route).lsn, lsn);
}

/** What the sink has committed so far, while copies may go on. */
static inline const char *done_now(Fixture *f)
{
    (void)pthread_mutex_lock(&world.lock);
    const char *copy = str_to_cstr(&f->arena, buf_view(&world.done));
    (void)pthread_mutex_unlock(&world.lock);
    return copy;
}

/** Until the sink has committed that. */
static inline void settle_with(Fixture *f, const char *part)
{
    for (int i = 0; i < 4000 && strstr(done_now(f), part) == NULL; i++) {
        flush(f);
        (void)usleep(500);
    }
    if (strstr(done_now(f), part) == NULL) {
        fail_msg("\"%s\" is not in: %s", part, done_now(f));
    }
}

/**
 * What the sink has without the positions: which commits a position is in, and how often one is
 * committed alone, is a matter of time.
 */
static inline char *essence(Fixture *f)
{
    Buf text = {.max = 1 << 20};
    Str rest = str_from(done_now(f));
    while (rest.len > 0) {
        Str word = rest;
        rest = str_split(&rest, ' ', &word) ? rest : (Str){0};
        bool is_commit = word.ptr[0] == '[' || word.ptr[word.len - 1] == ']';
        const char *state = memchr(word.ptr, '=', word.len);
        if (!is_commit || state != NULL) {
            char copy[64];
            const char *from = word.ptr[0] == '[' ? word.ptr + 1 : word.ptr;
            (void)snprintf(copy, sizeof(copy), "%.*s", (int)(word.ptr + word.len - from), from);
            copy[strcspn(copy, "]")] = '\0';
            note(&text, copy);
        }
    }
    char *result = arena_copy(&f->arena, buf_cstring(&text), text.len);
    buf_done(&text);
    return result;
}

#define route_test(function) \
    cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)
