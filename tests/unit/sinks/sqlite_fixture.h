// A sqlite sink on a file of its own, changes made by hand, and a look into the file that does not
// go through the sink.
#pragma once

#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pipeline/sink.h"
#include "unit.h"

typedef struct Fixture {
    char directory[64];
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

#define INT4(name, attnum)    column(name, attnum, OID_INT4, "integer")
#define INT8(name, attnum)    column(name, attnum, OID_INT8, "bigint")
#define TEXT(name, attnum)    column(name, attnum, OID_TEXT, "text")
#define BOOL(name, attnum)    column(name, attnum, OID_BOOL, "boolean")
#define FLOAT4(name, attnum)  column(name, attnum, OID_FLOAT4, "real")
#define FLOAT8(name, attnum)  column(name, attnum, OID_FLOAT8, "double precision")
#define NUMERIC(name, attnum) column(name, attnum, OID_NUMERIC, "numeric")
#define BYTEA(name, attnum)   column(name, attnum, OID_BYTEA, "bytea")

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

static inline void take_notice(void *context, const char *message)
{
    Fixture *f = context;
    (void)snprintf(f->notice, sizeof(f->notice), "%s", message);
}

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
    (void)snprintf(f->directory, sizeof(f->directory), "/tmp/weir-sqlite-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    (void)snprintf(f->path, sizeof(f->path), "%s/target.db", f->directory);
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
    SinkContext context = {.pipeline = "it's a pipeline",
                           .cancel = &f->cancel,
                           .notice = take_notice,
                           .notice_context = f};
    Settings settings = {f->settings, f->setting_count, STR("the test")};
    for (size_t i = 0; i < f->setting_count; i++) {
        f->settings[i].used = false;
    }
    sink_free(f->sink);
    f->sink = NULL;
    return sink_new(sink_find(STR("sqlite")), &settings, &context, &f->sink, &f->error);
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

static inline Status write_change(Fixture *f, ChangeOp op, const Relation *relation,
                                  const Value *old_row, const Value *new_row)
{
    Change change = {.op = op,
                     .relation = relation,
                     .old_row = old_row,
                     .new_row = new_row,
                     .transaction = &f->transaction,
                     .ordinal = ++f->ordinal};
    return f->sink->ops->write(f->sink, &change, 1, &f->error);
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

static inline void append_value(Buf *text, sqlite3_stmt *statement, int column)
{
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_NULL:
        buf_cstr(text, "NULL");
        break;
    case SQLITE_INTEGER:
        buf_int64(text, sqlite3_column_int64(statement, column));
        break;
    case SQLITE_FLOAT:
        buf_printf(text, "%.17gf", sqlite3_column_double(statement, column));
        break;
    case SQLITE_TEXT:
        buf_printf(text, "'%s'", (const char *)sqlite3_column_text(statement, column));
        break;
    default:
        buf_cstr(text, "x");
        for (int i = 0; i < sqlite3_column_bytes(statement, column); i++) {
            buf_printf(text, "%02x",
                       ((const unsigned char *)sqlite3_column_blob(statement, column))[i]);
        }
    }
}

/** What another connection reads: 1|'text'|0.5f|x00ff|NULL, rows apart by a newline. */
static inline char *look(Fixture *f, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    Buf text = {.max = 1 << 20};
    assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) {
        buf_cstr(&text, sqlite3_errmsg(db));
    }
    while (statement != NULL && sqlite3_step(statement) == SQLITE_ROW) {
        buf_cstr(&text, text.len > 0 ? "\n" : "");
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            buf_cstr(&text, i > 0 ? "|" : "");
            append_value(&text, statement, i);
        }
    }
    (void)sqlite3_finalize(statement);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    char *result = arena_copy(&f->arena, buf_cstring(&text), text.len);
    buf_done(&text);
    return result;
}

/** Change the file behind the sink's back. */
static inline void execute(Fixture *f, const char *sql)
{
    sqlite3 *db;
    char *message = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) {
        fail_msg("%s: %s", sql, message);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

#define assert_look(f, sql, expected) assert_string_equal(look(f, sql), expected)

#define sqlite_test(function) \
    cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)
