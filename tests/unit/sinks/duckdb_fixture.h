// A duckdb sink on a file of its own, and a look into the file that does not go through the sink's
// statements.
#pragma once

#include "sinks/duckdb_sink.h"
#include "sinks/sink_fixture.h"

static inline int fixture_setup(void **state)
{
    *state = fixture_with_file("duckdb");
    return 0;
}

static inline Column decimal(const char *name, int16_t attnum, int precision, int scale)
{
    Column made = column(name, attnum, OID_NUMERIC, "numeric");
    made.typmod = made.base_typmod = ((precision << 16) | (scale & 0x7ff)) + 4;
    return made;
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
