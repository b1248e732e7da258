// A duckdb sink on a file of its own, changes made by hand, and a look into the file that does not
// go through the sink's statements.
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pipeline/sink.h"
#include "sinks/duckdb_sink.h"
#include "unit.h"

enum { BATCH_MAX = 256 };

typedef struct Fixture {
    char directory[64];
    char path[128];
    Arena arena;
    Cancel cancel;
    Sink *sink;
    Error error;
    Transaction transaction;
    uint64_t ordinal;
    Setting settings[8];
    size_t setting_count;
    Change batch[BATCH_MAX]; // for write_batch()
    size_t batch_count;
} Fixture;

// Values of a row.
#define T(text)  ((Value){.ptr = (text), .len = (uint32_t)sizeof(text) - 1, .state = VALUE_TEXT})
#define NIL      ((Value){.state = VALUE_NULL})
#define SAME     ((Value){.state = VALUE_UNCHANGED})
#define NONE     ((Value){.state = VALUE_ABSENT})
#define ROW(...) ((const Value[]){__VA_ARGS__})

static inline Column column(const char *name, int16_t attnum, uint32_t type, const char *type_name)
{
    return (Column){.name = str_from(name),
                    .attnum = attnum,
                    .type_oid = type,
                    .typmod = -1,
                    .type_name = str_from(type_name),
                    .base_type_oid = type,
                    .base_typmod = -1,
                    .base_type_name = str_from(type_name),
                    .type = type_class(type)};
}

static inline Column decimal(const char *name, int16_t attnum, int precision, int scale)
{
    Column made = column(name, attnum, OID_NUMERIC, "numeric");
    made.typmod = made.base_typmod = ((precision << 16) | (scale & 0x7ff)) + 4;
    return made;
}

#define INT4(name, attnum) column(name, attnum, OID_INT4, "integer")
#define INT8(name, attnum) column(name, attnum, OID_INT8, "bigint")
#define TEXT(name, attnum) column(name, attnum, OID_TEXT, "text")

/** @key: indexes of columns as letters, "a" is the first; "" is no key. */
static inline Relation *relation_of(Fixture *f, uint32_t oid, const char *schema, const char *name,
                                    const char *key, const Column *columns, size_t count)
{
    uint16_t indexes[16];
    size_t key_count = strlen(key);
    for (size_t i = 0; i < key_count; i++) {
        indexes[i] = (uint16_t)(key[i] - 'a');
    }
    Relation made = {.oid = oid,
                     .schema = str_from(schema),
                     .name = str_from(name),
                     .identity = key_count > 0 ? IDENTITY_DEFAULT : IDENTITY_FULL,
                     .column_count = (uint16_t)count,
                     .columns = (Column *)(uintptr_t)columns,
                     .key_count = (uint16_t)key_count,
                     .key = indexes,
                     .key_is_primary = true};
    return relation_copy(&f->arena, &made);
}

#define TABLE(f, oid, schema, name, key, ...)                       \
    relation_of(f, oid, schema, name, key, (Column[]){__VA_ARGS__}, \
                ARRAY_LEN(((Column[]){__VA_ARGS__})))

static inline void set_option(Fixture *f, const char *key, const char *value)
{
    assert_true(f->setting_count < ARRAY_LEN(f->settings));
    f->settings[f->setting_count++] =
        (Setting){.key = str_from(key), .value = str_from(value), .origin = STR("the test")};
}

static inline int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info, (void)type, (void)ftw;
    return remove(path);
}

static inline int fixture_setup(void **state)
{
    Fixture *f = mem_alloc_zero(sizeof(*f));
    (void)snprintf(f->directory, sizeof(f->directory), "/tmp/weir-duckdb-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    (void)snprintf(f->path, sizeof(f->path), "%s/target.duckdb", f->directory);
    assert_int_equal(cancel_init(&f->cancel, &f->error), STATUS_OK);
    f->transaction = (Transaction){
        .commit_lsn = 0x16B374D848, .xid = 742, .commit_time_us = INT64_C(1763704259123456)};
    set_option(f, "path", f->path);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    Fixture *f = *state;
    sink_free(f->sink);
    cancel_done(&f->cancel);
    arena_done(&f->arena);
    (void)nftw(f->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    mem_free(f);
    return 0;
}

/** Make the instance; not opened. */
static inline Status sink_make(Fixture *f)
{
    SinkContext context = {.pipeline = "it's a pipeline", .cancel = &f->cancel};
    Settings settings = {f->settings, f->setting_count, STR("the test")};
    for (size_t i = 0; i < f->setting_count; i++) {
        f->settings[i].used = false;
    }
    sink_free(f->sink);
    f->sink = NULL;
    f->batch_count = 0;
    return sink_new(sink_find(STR("duckdb")), &settings, &context, &f->sink, &f->error);
}

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

/** Open it (again), and get the stored checkpoint. */
static inline Status sink_start(Fixture *f, Checkpoint *checkpoint)
{
    Checkpoint unused = {0};
    if (sink_make(f) != STATUS_OK || f->sink->ops->open(f->sink, &f->error) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status =
        f->sink->ops->resume(f->sink, checkpoint == NULL ? &unused : checkpoint, &f->error);
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

/** Another connection to the sink's file, for look() and execute(). */
static inline void session_beside(Fixture *f, DuckSession *ret)
{
    DuckSession *session = &((DuckSink *)f->sink)->session;
    *ret = (DuckSession){.path = "the file", .sql = {.max = 1 << 20}};
    ret->library = session->library;
    assert_int_equal(session->library.connect(session->database, &ret->connection), DUCK_SUCCESS);
}

static inline void session_done(DuckSession *session)
{
    session->library.disconnect(&session->connection);
    buf_done(&session->sql);
}

/** What is committed, as DuckDB writes it: 1|text|NULL, rows apart by a newline. */
static inline char *look(Fixture *f, const char *sql)
{
    DuckSession session;
    DuckRows rows;
    Buf text = {.max = 1 << 24};
    session_beside(f, &session);
    buf_printf(&session.sql, "SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (%s)", sql);
    if (duck_select(&session, NULL, 0, &f->arena, &rows, &f->error) != STATUS_OK) {
        buf_cstr(&text, f->error.message);
        rows.row_count = 0;
    }
    for (size_t i = 0; i < rows.row_count * rows.column_count && rows.row_count > 0; i++) {
        buf_cstr(&text, i == 0 ? "" : i % rows.column_count == 0 ? "\n" : "|");
        buf_str(&text, rows.cells[i].ptr == NULL ? STR("NULL") : rows.cells[i]);
    }
    session_done(&session);
    char *result = arena_copy(&f->arena, buf_cstring(&text), text.len);
    buf_done(&text);
    return result;
}

/** Change the file behind the sink's back. */
static inline void execute(Fixture *f, const char *sql)
{
    DuckSession session;
    session_beside(f, &session);
    assert_ok(f, duck_exec(&session, sql, &f->error));
    session_done(&session);
}

#define assert_look(f, sql, expected) assert_string_equal(look(f, sql), expected)

#define duckdb_test(function) \
    cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

/** Meson's code for a skipped test, when there is no library to test with; else 0. */
static inline int skip_without_library(const char *test)
{
    enum { SKIPPED = 77 };
    Arena arena = {0};
    DuckLibrary library;
    Error error = {0};
    Status status = duck_library_load((Str){0}, &arena, &library, &error);
    arena_done(&arena);
    if (status == STATUS_OK) {
        return 0;
    }
    (void)printf("%s skipped: %s\n", test, error.message);
    return SKIPPED;
}
