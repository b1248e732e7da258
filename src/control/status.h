// What `weir status` shows: a row of named figures for each route. The process that runs it writes
// rows, the command reads them, from that process or from what it left behind.
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "control/monitor.h"

typedef enum StatusField {
    STATUS_PIPELINE,
    STATUS_ROUTE,
    STATUS_SOURCE,
    STATUS_SINK,
    STATUS_STATE,
    STATUS_AT, // when this was so, microseconds since 1970
    STATUS_PID,
    STATUS_VERSION,
    STATUS_HEAD_LSN,
    // Three for each step of the ladder, in its order.
    STATUS_SENT_LSN,
    STATUS_SENT_LAG_BYTES,
    STATUS_SENT_LAG_SECONDS,
    STATUS_RECEIVED_LSN,
    STATUS_RECEIVED_LAG_BYTES,
    STATUS_RECEIVED_LAG_SECONDS,
    STATUS_BUFFERED_LSN,
    STATUS_BUFFERED_LAG_BYTES,
    STATUS_BUFFERED_LAG_SECONDS,
    STATUS_DELIVERED_LSN,
    STATUS_DELIVERED_LAG_BYTES,
    STATUS_DELIVERED_LAG_SECONDS,
    STATUS_DURABLE_LSN,
    STATUS_DURABLE_LAG_BYTES,
    STATUS_DURABLE_LAG_SECONDS,
    STATUS_CONFIRMED_LSN,
    STATUS_CONFIRMED_LAG_BYTES,
    STATUS_CONFIRMED_LAG_SECONDS,
    STATUS_CHANGES,
    STATUS_TRANSACTIONS,
    STATUS_BYTES,
    STATUS_CHANGES_PER_SECOND,
    STATUS_BYTES_PER_SECOND,
    STATUS_COPY_TABLES,
    STATUS_COPY_TABLES_DONE,
    STATUS_COPY_TABLE,
    STATUS_COPY_ROWS,
    STATUS_COPY_ROWS_ESTIMATE,
    STATUS_COPY_ROWS_PER_SECOND,
    STATUS_LENT_TO, // a process
    STATUS_LENT_AT, // microseconds since 1970
    STATUS_RETRIES,
    STATUS_RETRY_IN_SECONDS,
    STATUS_LAST_ERROR,
    STATUS_FAILING, // 1: the last error is not over
    STATUS_DEAD_LETTERS,
    STATUS_BUFFER_BYTES,
    STATUS_BACKLOG_BYTES,
    STATUS_BACKLOG_SECONDS,
    STATUS_BUFFER_DROPPED, // 1: the buffer keeps nothing for it any more
    STATUS_STALLED,        // a stage; none: nothing stands still
    STATUS_STALLED_SECONDS,
    STATUS_SLOT,
    STATUS_SLOT_HELD_BYTES,
    STATUS_SLOT_LEFT_BYTES, // that may be written before it may be lost
    STATUS_SLOT_LEFT_SECONDS,
    STATUS_WAL_BYTES_PER_SECOND,
    STATUS_FIELDS,
} StatusField;

/** "sent_lag_bytes". */
const char *status_field_name(StatusField field);

/** Values as text; ptr NULL: there is none. */
typedef struct StatusRow {
    Str values[STATUS_FIELDS];
} StatusRow;

typedef struct StatusRows {
    StatusRow *items;
    size_t count;
} StatusRows;

/** Of everything that @monitor watches. In @arena. Thread: any. */
StatusRows status_rows(Monitor *monitor, Arena *arena);

/** A line of names, and one a row, with tabs between; control characters become blanks. */
void status_write_text(const StatusRows *rows, Buf *out);

/** Names that are not known are left out, so that two versions understand each other. ERROR_DATA
 *  when it is nothing of the kind. In @arena. */
MUST_CHECK Status status_read_text(Str text, Arena *arena, StatusRows *ret, Error *err);

/** An array of objects, for programs. */
void status_write_json(const StatusRows *rows, Buf *out);
