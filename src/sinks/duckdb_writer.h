// Rows into a table through DuckDB's appender, a vector of columns at a time. What is written is
// part of the session's open transaction; it is in the table once duck_writer_flush() returned.
#pragma once

#include "change/value.h"
#include "sinks/duckdb_session.h"
#include "sinks/duckdb_value.h"

typedef struct DuckWriterColumn {
    Str name;   // in the table; borrowed until the writer is closed
    Str called; // in messages; ptr NULL: by its name
    DuckType type;
    // Of the chunk that is being filled.
    DuckVector vector;
    void *cells;
    uint64_t *validity; // NULL: no row is NULL so far
} DuckWriterColumn;

/** Zero-initialised is closed. */
typedef struct DuckWriter {
    DuckSession *session;
    DuckAppender appender;
    DuckChunk chunk;
    DuckWriterColumn *columns;
    uint16_t column_count;
    uint64_t row;      // in the chunk
    uint64_t capacity; // rows of a chunk
    size_t chunk_bytes;
    size_t unflushed_bytes;
    Arena arena;
    Buf bytes; // of one BLOB
} DuckWriter;

/**
 * Append to @table. Rows have the @count columns named, in that order; other columns of
 * the table get their defaults. @columns (name and type) is copied, the names are not.
 */
MUST_CHECK Status duck_writer_open(DuckWriter *writer, DuckSession *session, SqlTable table,
                                   const DuckWriterColumn *columns, uint16_t count, Error *err);

/** Rows that were not flushed are dropped or written, as the transaction will be: only for a
 *  flushed writer, or when the transaction is given up. Accepts a closed writer. */
void duck_writer_close(DuckWriter *writer);

static inline bool duck_writer_is_open(const DuckWriter *writer)
{
    return writer->appender != NULL;
}

/** Column @at of the row that is being filled. ERROR_DATA names the column, the value and what to
 *  do about one that its type cannot hold; not the row. */
MUST_CHECK Status duck_writer_value(DuckWriter *writer, uint16_t at, Value value, Error *err);

/** The same from our own hands: column @at is VARCHAR, BIGINT or TIMESTAMPTZ. */
void duck_writer_text(DuckWriter *writer, uint16_t at, Str text);
void duck_writer_int64(DuckWriter *writer, uint16_t at, int64_t number);
void duck_writer_null(DuckWriter *writer, uint16_t at);

/** The row is complete: each of its columns was given. */
MUST_CHECK Status duck_writer_end_row(DuckWriter *writer, Error *err);

MUST_CHECK Status duck_writer_flush(DuckWriter *writer, Error *err);
