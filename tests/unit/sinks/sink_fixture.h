// A sink with changes made by hand. What is particular to a kind of sink (where it writes, how one
// looks at that without it) is in <kind>_fixture.h; those define look() and the setup.
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pipeline/sink.h"
#include "relations.h"

enum { BATCH_MAX = 256 };

typedef struct Fixture {
    const char *kind;
    const SinkOps *ops; // NULL: the kind's
    const void *subject;
    char directory[64]; // of a sink that writes a file, with its contents
    char path[128];
    Arena arena;
    Cancel cancel;
    Sink *sink;
    Error error;
    Transaction transaction;
    uint64_t ordinal;
    char notice[4096]; // the last one
    Setting settings[8];
    size_t setting_count;
    Change batch[BATCH_MAX]; // of the next write_batch()
    size_t batch_count;
} Fixture;

#define TABLE(f, oid, schema, name, key, ...)                                 \
    relation_of(&(f)->arena, oid, schema, name, key, (Column[]){__VA_ARGS__}, \
                ARRAY_LEN(((Column[]){__VA_ARGS__})))

// ---------------------------------------------------------------------------------------------
// What has to hold
// ---------------------------------------------------------------------------------------------

#define assert_ok(f, expression)                                      \
    do {                                                              \
        if ((expression) != STATUS_OK) {                              \
            fail_msg("%s (%s)", (f)->error.message, (f)->error.hint); \
        }                                                             \
    } while (0)

/** @part has to be in the message, or in the hint. */
#define assert_fails(f, expression, expected_kind, part)                                         \
    do {                                                                                         \
        (f)->error = (Error){0};                                                                 \
        assert_int_equal(expression, STATUS_FAIL);                                               \
        if (strstr((f)->error.message, part) == NULL && strstr((f)->error.hint, part) == NULL) { \
            fail_msg("\"%s\" is not in: %s (%s)", part, (f)->error.message, (f)->error.hint);    \
        }                                                                                        \
        assert_string_equal(error_kind_name((f)->error.kind), error_kind_name(expected_kind));   \
    } while (0)

#define assert_look(f, sql, expected) assert_string_equal(look(f, sql), expected)

#define sink_test(function) \
    cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

// ---------------------------------------------------------------------------------------------
// The fixture
// ---------------------------------------------------------------------------------------------

static inline void set_option(Fixture *f, const char *key, const char *value)
{
    assert_true(f->setting_count < ARRAY_LEN(f->settings));
    f->settings[f->setting_count++] =
        (Setting){.key = str_from(key), .value = str_from(value), .origin = STR("the test")};
}

static inline Fixture *fixture_new(const char *kind)
{
    Fixture *f = mem_alloc_zero(sizeof(*f));
    f->kind = kind;
    f->transaction = (Transaction){
        .commit_lsn = 0x16B374D848, .xid = 742, .commit_time_us = INT64_C(1763704259123456)};
    assert_int_equal(cancel_init(&f->cancel, &f->error), STATUS_OK);
    return f;
}

/** With a directory of its own, and the path of a file in it that is not there yet. */
static inline Fixture *fixture_with_file(const char *kind)
{
    Fixture *f = fixture_new(kind);
    (void)snprintf(f->directory, sizeof(f->directory), "/tmp/weir-%s-XXXXXX", kind);
    assert_non_null(mkdtemp(f->directory));
    (void)snprintf(f->path, sizeof(f->path), "%s/target.%s", f->directory, kind);
    set_option(f, "path", f->path);
    return f;
}

static inline int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info, (void)type, (void)ftw;
    return remove(path);
}

static inline void remove_tree(const char *path)
{
    (void)nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static inline int fixture_teardown(void **state)
{
    Fixture *f = *state;
    sink_free(f->sink);
    cancel_done(&f->cancel);
    arena_done(&f->arena);
    if (f->directory[0] != '\0') {
        remove_tree(f->directory);
    }
    mem_free(f);
    return 0;
}

// ---------------------------------------------------------------------------------------------
// The runner's part
// ---------------------------------------------------------------------------------------------

static inline void take_notice(void *context, const char *message)
{
    Fixture *f = context;
    (void)snprintf(f->notice, sizeof(f->notice), "%s", message);
}

static inline Status sink_instance(Fixture *f, bool is_lane, Sink **ret)
{
    SinkContext context = {.pipeline = "it's a \"pipeline\"",
                           .cancel = &f->cancel,
                           .is_lane = is_lane,
                           .subject = f->subject,
                           .notice = {take_notice, f}};
    Settings settings = {f->settings, f->setting_count, STR("the test")};
    for (size_t i = 0; i < f->setting_count; i++) {
        f->settings[i].used = false;
    }
    const SinkOps *ops = f->ops != NULL ? f->ops : sink_find(str_from(f->kind));
    return sink_new(ops, &settings, &context, ret, &f->error);
}

/** Make the fixture's sink anew, as after a kill; not opened. */
static inline Status sink_make(Fixture *f)
{
    sink_free(f->sink);
    f->sink = NULL;
    f->batch_count = 0;
    return sink_instance(f, false, &f->sink);
}

/** One more, opened: another process, or a lane for copies. */
static inline Status sink_open_another(Fixture *f, bool is_lane, Sink **ret)
{
    Sink *sink = NULL;
    if (sink_instance(f, is_lane, &sink) != STATUS_OK ||
        sink->ops->open(sink, &f->error) != STATUS_OK) {
        sink_free(sink);
        return STATUS_FAIL;
    }
    *ret = sink;
    return STATUS_OK;
}

// A postgres session gives its lock back a moment after its client has gone.
static inline Status resume_when_free(Fixture *f, Checkpoint *checkpoint)
{
    Status status;
    for (int i = 0; i < 200; i++) {
        status = f->sink->ops->resume(f->sink, checkpoint, &f->error);
        if (status == STATUS_OK || strstr(f->error.message, "another session") == NULL) {
            break;
        }
        (void)usleep(10000);
    }
    return status;
}

/** Open it (again), and get the stored checkpoint. */
static inline Status sink_start(Fixture *f, Checkpoint *checkpoint)
{
    if (sink_make(f) != STATUS_OK || f->sink->ops->open(f->sink, &f->error) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Checkpoint unused = {0};
    Status status = resume_when_free(f, checkpoint == NULL ? &unused : checkpoint);
    checkpoint_done(&unused);
    return status;
}

static inline Status sink_prepare(Fixture *f, const Relation *was, const Relation *now)
{
    return f->sink->ops->prepare(f->sink, was, now, &f->error);
}

static inline const Value *keep_row(Fixture *f, const Relation *relation, const Value *row)
{
    if (row == NULL) {
        return NULL;
    }
    size_t size = relation->column_count * sizeof(Value);
    return memcpy(arena_alloc(&f->arena, size), row, size);
}

/** A change of the next write_batch(); the rows are copied, their text is not. */
static inline void add_change(Fixture *f, ChangeOp op, const Relation *relation,
                              const Value *old_row, const Value *new_row)
{
    assert_true(f->batch_count < BATCH_MAX);
    f->batch[f->batch_count++] = (Change){.op = op,
                                          .relation = relation,
                                          .old_row = keep_row(f, relation, old_row),
                                          .new_row = keep_row(f, relation, new_row),
                                          .transaction = &f->transaction,
                                          .ordinal = ++f->ordinal};
}

static inline Status write_batch(Fixture *f)
{
    size_t count = f->batch_count;
    f->batch_count = 0;
    return f->sink->ops->write(f->sink, f->batch, count, &f->error);
}

static inline Status write_change(Fixture *f, ChangeOp op, const Relation *relation,
                                  const Value *old_row, const Value *new_row)
{
    add_change(f, op, relation, old_row, new_row);
    return write_batch(f);
}

static inline Status sink_commit(Fixture *f, const char *key, const char *value)
{
    Checkpoint changed = {0};
    if (key != NULL) {
        checkpoint_set(&changed, str_from(key), str_from(value));
    }
    Status status = f->sink->ops->commit(f->sink, &changed, &f->error);
    checkpoint_done(&changed);
    return status;
}

/** Open, prepare and commit. */
static inline void begin_with(Fixture *f, const Relation *relation)
{
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, NULL, relation));
    assert_ok(f, sink_commit(f, NULL, NULL));
}
