// A sqlite sink on a file of its own, and a look into the file that does not go through the sink.
#pragma once

#include <sqlite3.h>

#include "sinks/sink_fixture.h"

static inline int fixture_setup(void **state)
{
    *state = fixture_with_file("sqlite");
    return 0;
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
