// The disk buffer's two ends, a source to copy from, and transactions that are known by their
// numbers.
#pragma once

#include "buffers/disk.h"
#include "log_fixture.h"
#include "pipeline/tables.h"
#include "relations.h"

// ---------------------------------------------------------------------------------------------
// A source to copy from
// ---------------------------------------------------------------------------------------------

typedef struct Fake {
    Source base;
    Str url;
    StrList names;
    bool copy;
} Fake;

static const Option fake_options[] = {
    {"url", OPTION_STRING(Fake, url), .required = true},
    {"tables", OPTION_LIST(Fake, names)},
    {"copy", OPTION_BOOL(Fake, copy), .fallback = "true"},
    {0},
};

static int fake_opened;
static bool fake_is_down;
static const Relation *fake_table;
static Lsn fake_end;
static char fake_seen[128]; // the options as they arrived

static inline Status fake_validate(Source *source, Error *err)
{
    source->copies = ((Fake *)source)->copy;
    return STATUS_OK;
}

static inline Status fake_open(Source *source, Error *err)
{
    const Fake *fake = (const Fake *)source;
    fake_opened++;
    (void)snprintf(fake_seen, sizeof(fake_seen), "%" STR_FMT " %zu %" STR_FMT, STR_ARG(fake->url),
                   fake->names.count, STR_ARG(fake->names.items[fake->names.count - 1]));
    return fake_is_down ? error_set(err, ERROR_TRANSIENT, "it is down") : STATUS_OK;
}

static inline Status fake_tables(Source *source, const SourceTables **ret, Error *err)
{
    static SourceTable table;
    static const SourceTables tables = {&table, 1};
    table.relation = fake_table;
    *ret = &tables;
    return STATUS_OK;
}

static inline Status fake_snapshot(Source *source, Snapshot **ret, Lsn *ret_at, Error *err)
{
    *ret = (Snapshot *)source;
    *ret_at = 77;
    return STATUS_OK;
}

static inline void fake_snapshot_close(Snapshot *snapshot)
{
    assert_non_null(snapshot);
}

static inline Status fake_copy(Source *source, Snapshot *snapshot, const Relation *relation,
                               Cancel *cancel, CopyReader **ret, Error *err)
{
    assert_ptr_equal(snapshot, source);
    *ret = (CopyReader *)source;
    return STATUS_OK;
}

static inline Status fake_read(CopyReader *reader, Batch **ret, Error *err)
{
    *ret = NULL;
    return STATUS_OK;
}

static inline Status fake_read_rows(CopyReader *reader, CopyForm form, Str *ret, size_t *ret_count,
                                    Error *err)
{
    *ret_count = 0;
    return STATUS_OK;
}

static inline Status fake_now(Source *source, Lsn *ret, Error *err)
{
    *ret = fake_end;
    return STATUS_OK;
}

static inline void fake_copy_close(CopyReader *reader)
{
    assert_non_null(reader);
}

static inline void fake_close(Source *source)
{
}

static const SourceOps fake_source = {
    .name = "fake",
    .options = fake_options,
    .instance_size = sizeof(Fake),
    .validate = fake_validate,
    .open = fake_open,
    .tables = fake_tables,
    .snapshot_open = fake_snapshot,
    .snapshot_close = fake_snapshot_close,
    .copy_open = fake_copy,
    .copy_read = fake_read,
    .copy_read_rows = fake_read_rows,
    .now = fake_now,
    .copy_close = fake_copy_close,
    .close = fake_close,
};

const SourceOps *const source_registry[] = {&fake_source, &disk_source, NULL};

// ---------------------------------------------------------------------------------------------
// Both ends
// ---------------------------------------------------------------------------------------------

static Arena arena;
static Cancel cancel;
static char noticed[1024];
static const Relation *table;
static const Relation *other_table;
static const char *sink_max_size;
static const char *sink_full;
static const char *sink_patience;
static void (*sink_waits)(void *context, const Error *why); // NULL: it may wait for a moment

static inline void notice(void *context, const char *message)
{
    (void)snprintf(noticed, sizeof(noticed), "%s", message);
}

static inline int setup(void **state)
{
    const Column columns[] = {INT4("id", 1), TEXT("x", 2)};
    fixture_make_directory();
    noticed[0] = '\0';
    sink_max_size = "0";
    sink_full = "pause";
    sink_patience = "0";
    sink_waits = NULL;
    fake_opened = 0;
    fake_is_down = false;
    table = relation_of(&arena, 1, "public", "t", "a", columns, 2);
    fake_table = table;
    fake_end = 0;
    other_table = relation_of(&arena, 2, "public", "other", "a", columns, 2);
    OK(cancel_init(&cancel, err));
    return 0;
}

static inline int teardown(void **state)
{
    fixture_remove_directory();
    arena_done(&arena);
    cancel_done(&cancel);
    return 0;
}

static inline Status try_sink(const char *pipeline, Sink **ret, Checkpoint *checkpoint, Error *err)
{
    static Str readers[] = {{"r", 1}};
    Setting items[] = {
        {.key = STR("dir"), .value = str_from(log_directory)},
        {.key = STR("segment"), .value = STR("64kB")},
        {.key = STR("readers"), .list = {readers, 1}, .is_list = true, .is_internal = true},
        {.key = STR("max_size"), .value = str_from(sink_max_size)},
        {.key = STR("full"), .value = str_from(sink_full)},
        {.key = STR("patience"), .value = str_from(sink_patience)},
    };
    Settings settings = {.items = items, .count = ARRAY_LEN(items)};
    SinkContext context = {
        .pipeline = pipeline, .cancel = &cancel, .notice = {notice, NULL}, .waits = sink_waits};
    assert_int_equal(sink_new(&disk_sink, &settings, &context, ret, err), STATUS_OK);
    return (*ret)->ops->open(*ret, err) == STATUS_OK ? (*ret)->ops->resume(*ret, checkpoint, err)
                                                     : STATUS_FAIL;
}

static inline Sink *open_sink(Checkpoint *checkpoint)
{
    Sink *sink;
    OK(try_sink("shop", &sink, checkpoint, err));
    return sink;
}

static inline Source *new_source(const char *const *origin)
{
    Setting items[3] = {
        {.key = STR("dir"), .value = str_from(log_directory)},
        {.key = STR("reader"), .value = STR("r")},
        {.key = STR("source"), .is_list = true, .list = {ARENA_ARRAY(&arena, Str, 8), 0}},
    };
    for (; origin != NULL && *origin != NULL; origin++) {
        items[2].list.items[items[2].list.count++] = str_from(*origin);
    }
    Settings settings = {.items = items, .count = origin == NULL ? 2 : 3};
    SourceContext context = {.pipeline = "route", .cancel = &cancel, .notice = {notice, NULL}};
    Source *source;
    OK(source_new(&disk_source, &settings, &context, &source, err));
    return source;
}

/** @position NULL: a fresh one. *changed: what resume() wants stored. */
static inline Status try_source(Source *source, const char *position, Checkpoint *changed,
                                Error *err)
{
    Checkpoint stored = {0};
    if (position != NULL) {
        checkpoint_set(&stored, STR("position"), str_from(position));
        checkpoint_set(&stored, STR("source"), STR("cluster"));
    }
    Status status = source->ops->open(source, err);
    if (status == STATUS_OK) {
        status = source->ops->resume(source, &stored, changed, err);
    }
    checkpoint_done(&stored);
    return status;
}

static inline Source *open_source(const char *position)
{
    Source *source = new_source(NULL);
    Checkpoint changed = {0};
    OK(try_source(source, position, &changed, err));
    checkpoint_done(&changed);
    return source;
}

static inline void commit(Sink *sink, Position end)
{
    Checkpoint changed = {0};
    char text[POSITION_TEXT_SIZE];
    position_format(end, text);
    checkpoint_set(&changed, STR("position"), str_from(text));
    checkpoint_set(&changed, STR("source"), STR("cluster"));
    OK(sink->ops->commit(sink, &changed, err));
    checkpoint_done(&changed);
}

enum { TX_LSN = 100 };

// Transaction n has n % 3 + 1 rows, commits at n * TX_LSN, ends 50 behind that.
static inline uint64_t tx_rows(uint64_t n)
{
    return n % 3 + 1;
}

static inline void make_row(uint64_t n, uint64_t ordinal, char text[static 64])
{
    (void)snprintf(text, 64, "%llu/%llu", (unsigned long long)n, (unsigned long long)ordinal);
}

static inline Status tx_write(Sink *sink, uint64_t n, Error *err)
{
    Change changes[3];
    Value rows[3][2];
    char text[3][64];
    Transaction transaction = {
        .commit_lsn = n * TX_LSN, .xid = (uint32_t)n, .commit_time_us = (int64_t)n};
    for (uint64_t i = 0; i < tx_rows(n); i++) {
        make_row(n, i + 1, text[i]);
        rows[i][0] = T("1");
        rows[i][1] = (Value){text[i], (uint32_t)strlen(text[i]), VALUE_TEXT};
        changes[i] = (Change){.op = CHANGE_INSERT,
                              .relation = n % 5 == 0 ? other_table : table,
                              .new_row = rows[i],
                              .transaction = &transaction,
                              .ordinal = i + 1};
    }
    return sink->ops->write(sink, changes, tx_rows(n), err);
}

static inline void tx_add(Sink *sink, uint64_t n)
{
    OK(tx_write(sink, n, err));
    commit(sink, (Position){n * TX_LSN + 50, 0});
}

typedef struct Seen {
    uint64_t next;    // transaction that is to come
    uint64_t ordinal; // of its last row
    bool has_begun;   // with what it was to begin with: nothing comes twice
    size_t batches;
    const Relation *table;
    const Relation *other;
} Seen;

// What a route does: skip what was delivered, and expect the rest in order, each once.
static inline void see(Seen *seen, const Batch *batch)
{
    seen->batches++;
    for (size_t i = 0; i < batch->count; i++) {
        const Change *change = &batch->changes[i];
        uint64_t n = change->transaction->commit_lsn / TX_LSN;
        char text[64];
        if (n < seen->next && !seen->has_begun) {
            continue;
        }
        seen->has_begun = true;
        assert_true(n == seen->next && change->ordinal == seen->ordinal + 1);
        make_row(n, change->ordinal, text);
        assert_true(str_is(value_str(change->new_row[1]), text));
        assert_int_equal(change->transaction->xid, (uint32_t)n);
        const Relation **known = n % 5 == 0 ? &seen->other : &seen->table;
        assert_true(*known == NULL || *known == change->relation);
        *known = change->relation;
        seen->ordinal++;
        if (seen->ordinal == tx_rows(n)) {
            seen->next++;
            seen->ordinal = 0;
        }
    }
    if (batch->ends_transaction) {
        assert_int_equal(seen->ordinal, 0);
        assert_true(batch->end.lsn >= (seen->next - 1) * TX_LSN);
    }
}

static inline void see_all(Source *source, Seen *seen)
{
    Batch *batch;
    for (;;) {
        Error error = {0};
        Status status = source->ops->poll(source, 0, -1, &batch, &error);
        if (status == STATUS_FAIL) {
            fail_msg("%s", error.message);
        }
        if (status == STATUS_AGAIN) {
            return;
        }
        see(seen, batch);
        batch_unref(batch);
    }
}
