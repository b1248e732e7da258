// Decoder of pgoutput, the output plugin of Postgres's own logical replication: protocol versions 1
// to 4, Postgres 14 to 18. Turns one message (the payload of one XLogData frame) into one struct.
//
// A pure function of its arguments: it holds no state between messages, so the caller tells it in
// PgoutputContext where in the stream a message stands, and keeps that up to date itself.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "change/position.h"
#include "change/relation.h"
#include "change/value.h"

enum {
    PGOUTPUT_VERSION_MIN = 1,
    PGOUTPUT_VERSION_STREAMING = 2, // Postgres 14: transactions sent while they run
    PGOUTPUT_VERSION_TWO_PHASE = 3, // Postgres 15: we never ask for it
    PGOUTPUT_VERSION_PARALLEL = 4,  // Postgres 16: streaming=parallel
    PGOUTPUT_VERSION_MAX = 4,
};

/** The byte that names the message on the wire. */
typedef enum PgoutputKind {
    PGOUTPUT_BEGIN = 'B',
    PGOUTPUT_COMMIT = 'C',
    PGOUTPUT_ORIGIN = 'O',
    PGOUTPUT_RELATION = 'R',
    PGOUTPUT_TYPE = 'Y',
    PGOUTPUT_INSERT = 'I',
    PGOUTPUT_UPDATE = 'U',
    PGOUTPUT_DELETE = 'D',
    PGOUTPUT_TRUNCATE = 'T',
    PGOUTPUT_MESSAGE = 'M',
    PGOUTPUT_STREAM_START = 'S',
    PGOUTPUT_STREAM_STOP = 'E', // has no fields
    PGOUTPUT_STREAM_COMMIT = 'c',
    PGOUTPUT_STREAM_ABORT = 'A',
} PgoutputKind;

/** "begin", "stream start", …; NULL for a byte that is no kind. */
const char *pgoutput_kind_name(PgoutputKind kind);

// All times are microseconds since 1970-01-01 UTC.

typedef struct PgoutputBegin {
    Lsn commit_lsn; // of the commit record: the same value that COMMIT repeats
    int64_t commit_time_us;
    uint32_t xid;
} PgoutputBegin;

/** COMMIT and STREAM COMMIT. */
typedef struct PgoutputCommit {
    Lsn commit_lsn; // start of the commit record
    Lsn end_lsn;    // end of the commit record: what may be confirmed to the server
    int64_t commit_time_us;
    uint32_t xid; // STREAM COMMIT only; 0 in COMMIT, which ends the transaction of the last BEGIN
} PgoutputCommit;

typedef struct PgoutputOrigin {
    Lsn commit_lsn; // of the commit on the origin server; LSN_NONE in a streamed transaction
    Str name;
} PgoutputOrigin;

typedef struct PgoutputColumn {
    Str name;
    uint32_t type_oid;
    int32_t typmod;
    bool is_key; // part of the replica identity; all are with REPLICA IDENTITY FULL
} PgoutputColumn;

typedef struct PgoutputRelation {
    uint32_t oid;
    Str schema; // never empty: the wire's abbreviation for pg_catalog is undone
    Str name;
    ReplicaIdentity identity;
    uint16_t column_count;
    PgoutputColumn *columns;
} PgoutputRelation;

typedef struct PgoutputType {
    uint32_t oid;
    Str schema; // never empty, as above
    Str name;
} PgoutputType;

/** As sent: `count` is whatever the message says, compare it with the relation's before use. */
typedef struct PgoutputTuple {
    uint16_t count;
    Value *values; // VALUE_NULL, _UNCHANGED, _TEXT or _BINARY; bytes borrowed from the message
} PgoutputTuple;

/** INSERT, UPDATE and DELETE. */
typedef struct PgoutputRow {
    uint32_t relation_oid;
    // What old_tuple is: 'O' the whole old row (REPLICA IDENTITY FULL), 'K' its key, 0 none.
    // A 'K' tuple has a value for every column, those outside the replica identity are sent as
    // NULL: only the relation's is_key tells which of them mean anything.
    char old_kind;
    PgoutputTuple old_tuple; // update (unless old_kind is 0), delete
    PgoutputTuple new_tuple; // insert, update
} PgoutputRow;

typedef struct PgoutputTruncate {
    uint32_t flags; // TRUNCATE_CASCADE and TRUNCATE_RESTART_IDENTITY of change/change.h
    uint32_t count;
    uint32_t *relation_oids;
} PgoutputTruncate;

/**
 * pg_logical_emit_message(). Not transactional: sent at once, outside BEGIN and COMMIT too.
 *
 * In a stream segment the server gives the top-level transaction's xid, also for a message of a
 * subtransaction (pgoutput_message() in Postgres): when that is rolled back later, its messages
 * cannot be told from those that stay.
 */
typedef struct PgoutputLogicalMessage {
    bool transactional;
    Lsn lsn;
    Str prefix;
    Str content; // any bytes
} PgoutputLogicalMessage;

typedef struct PgoutputStreamStart {
    uint32_t xid;  // of the top-level transaction
    bool is_first; // the first segment of this transaction
} PgoutputStreamStart;

typedef struct PgoutputStreamAbort {
    uint32_t xid;          // of the top-level transaction
    uint32_t subxid;       // what is rolled back; equal to xid: all of it
    Lsn abort_lsn;         // streaming=parallel only, else LSN_NONE
    int64_t abort_time_us; // streaming=parallel only, else 0
} PgoutputStreamAbort;

typedef struct PgoutputMessage {
    PgoutputKind kind;
    // Inside a stream segment: the (sub)transaction that a relation, type, row, truncate or logical
    // message belongs to. Otherwise 0.
    uint32_t xid;
    union {
        PgoutputBegin begin;
        PgoutputCommit commit; // also STREAM COMMIT
        PgoutputOrigin origin;
        PgoutputRelation relation;
        PgoutputType type;
        PgoutputRow row; // insert, update, delete
        PgoutputTruncate truncate;
        PgoutputLogicalMessage message;
        PgoutputStreamStart stream_start;
        PgoutputStreamAbort stream_abort;
    };
} PgoutputMessage;

typedef struct PgoutputContext {
    int protocol_version;    // as asked for in START_REPLICATION
    bool in_stream;          // between STREAM START and STREAM STOP: messages carry an xid
    bool streaming_parallel; // streaming=parallel was asked for: STREAM ABORT says where and when
} PgoutputContext;

/**
 * Decode @message. Text and value bytes in @ret are borrowed from it; arrays are in @arena (which
 * may keep some bytes of a message that failed).
 *
 * ERROR_DATA, with @ret untouched: cut short, bytes left over, a count or length that cannot be, a
 * kind that is unknown, two-phase, newer than the protocol version, or not allowed at this point of
 * a stream. The error names the kind of message, what is wrong, and the offset.
 */
MUST_CHECK Status pgoutput_decode(const PgoutputContext *context, Str message, Arena *arena,
                                  PgoutputMessage *ret, Error *err);
