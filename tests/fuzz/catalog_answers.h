// A server of bytes: statements are answered with results that are made of the input. Targets that
// use it are linked with pg_query() and its like wrapped (meson.build).
#pragma once

#include "base/reader.h"
#include "fuzz.h"
#include "pg/connection.h"

/** What is left of the input for answers. */
static Reader answers;

enum { ANSWER_ROWS_MAX = 8, ANSWER_COLUMNS_MAX = 20 };

// As a server that is not one would answer, too: other columns, no rows. A cell is its length (255:
// NULL) and its bytes.
static inline PGresult *next_answer(void)
{
    uint8_t rows = 0;
    uint8_t columns = 0;
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    FUZZ_CHECK(result != NULL);
    (void)(reader_u8(&answers, &rows) && reader_u8(&answers, &columns));
    PGresAttDesc described[ANSWER_COLUMNS_MAX] = {0};
    char name[] = "c";
    for (size_t i = 0; i < ANSWER_COLUMNS_MAX; i++) {
        described[i].name = name;
    }
    int width = columns % (ANSWER_COLUMNS_MAX + 1);
    FUZZ_CHECK(width == 0 || PQsetResultAttrs(result, width, described));
    for (int row = 0; width > 0 && row < rows % (ANSWER_ROWS_MAX + 1); row++) {
        for (int column = 0; column < width; column++) {
            uint8_t len = UINT8_MAX;
            Str cell = {"", 0};
            bool is_null = !reader_u8(&answers, &len) || len == UINT8_MAX;
            (void)(!is_null && reader_bytes(&answers, MIN(len, reader_left(&answers)), &cell));
            char copy[UINT8_MAX];
            memcpy(copy, cell.ptr, cell.len);
            FUZZ_CHECK(PQsetvalue(result, row, column, is_null ? NULL : copy,
                                  is_null ? -1 : (int)cell.len));
        }
    }
    return result;
}

// NOLINTBEGIN(bugprone-reserved-identifier,readability-function-size): the linker's names, and the
// signatures of what they stand for
Status __wrap_pg_query(PGconn *conn, const PgWait *wait, const char *sql, int count,
                       const char *const *parameters, PGresult **ret, Error *err);
Status __wrap_pg_begin_snapshot(PGconn *conn, const PgWait *wait, bool *ret_is_begun, Error *err);
Status __wrap_pg_end_snapshot(PGconn *conn, const PgWait *wait, bool is_begun, bool is_read,
                              Error *err);

Status __wrap_pg_query(PGconn *conn, const PgWait *wait, const char *sql, int count,
                       const char *const *parameters, PGresult **ret, Error *err)
{
    *ret = next_answer();
    return STATUS_OK;
}

Status __wrap_pg_begin_snapshot(PGconn *conn, const PgWait *wait, bool *ret_is_begun, Error *err)
{
    *ret_is_begun = false;
    return STATUS_OK;
}

Status __wrap_pg_end_snapshot(PGconn *conn, const PgWait *wait, bool is_begun, bool is_read,
                              Error *err)
{
    return STATUS_OK;
}
// NOLINTEND(bugprone-reserved-identifier,readability-function-size)
