// The inverse of pgoutput_decode(), for tests: what it gives back must be the message that was
// decoded, byte by byte, so that a decoder which drops or invents something is caught.
#pragma once

#include <assert.h>

#include "base/buf.h"
#include "pg/pgoutput.h"

static inline void encode_text(Buf *out, Str text)
{
    buf_str(out, text);
    buf_char(out, '\0');
}

/** Schema names: pg_catalog is sent as nothing. */
static inline void encode_schema(Buf *out, Str schema)
{
    encode_text(out, str_is(schema, "pg_catalog") ? (Str){0} : schema);
}

static inline void encode_time(Buf *out, int64_t unix_us)
{
    buf_be64(out, (uint64_t)unix_us - UINT64_C(946684800000000));
}

static inline void encode_tuple(Buf *out, char marker, PgoutputTuple tuple)
{
    buf_char(out, marker);
    buf_be16(out, tuple.count);
    for (uint16_t i = 0; i < tuple.count; i++) {
        Value value = tuple.values[i];
        switch (value.state) {
        case VALUE_NULL:
            buf_char(out, 'n');
            break;
        case VALUE_UNCHANGED:
            buf_char(out, 'u');
            break;
        case VALUE_TEXT:
        case VALUE_BINARY:
            buf_char(out, value.state == VALUE_TEXT ? 't' : 'b');
            buf_be32(out, value.len);
            buf_bytes(out, value.ptr, value.len);
            break;
        case VALUE_ABSENT:
            assert(value.state != VALUE_ABSENT);
        }
    }
}

static inline void encode_commit(Buf *out, const PgoutputCommit *commit)
{
    buf_char(out, 0);
    buf_be64(out, commit->commit_lsn);
    buf_be64(out, commit->end_lsn);
    encode_time(out, commit->commit_time_us);
}

static inline void encode_relation(Buf *out, const PgoutputRelation *relation)
{
    buf_be32(out, relation->oid);
    encode_schema(out, relation->schema);
    encode_text(out, relation->name);
    buf_char(out, (char)relation->identity);
    buf_be16(out, relation->column_count);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        buf_char(out, relation->columns[i].is_key ? 1 : 0);
        encode_text(out, relation->columns[i].name);
        buf_be32(out, relation->columns[i].type_oid);
        buf_be32(out, (uint32_t)relation->columns[i].typmod);
    }
}

static inline void encode_type(Buf *out, const PgoutputType *type)
{
    buf_be32(out, type->oid);
    encode_schema(out, type->schema);
    encode_text(out, type->name);
}

static inline void encode_row(Buf *out, PgoutputKind kind, const PgoutputRow *row)
{
    buf_be32(out, row->relation_oid);
    if (row->old_kind != 0) {
        encode_tuple(out, row->old_kind, row->old_tuple);
    }
    if (kind != PGOUTPUT_DELETE) {
        encode_tuple(out, 'N', row->new_tuple);
    }
}

static inline void encode_truncate(Buf *out, const PgoutputTruncate *truncate)
{
    buf_be32(out, truncate->count);
    buf_char(out, (char)truncate->flags);
    for (uint32_t i = 0; i < truncate->count; i++) {
        buf_be32(out, truncate->relation_oids[i]);
    }
}

static inline void encode_logical_message(Buf *out, const PgoutputLogicalMessage *message)
{
    buf_char(out, message->transactional ? 1 : 0);
    buf_be64(out, message->lsn);
    encode_text(out, message->prefix);
    buf_be32(out, (uint32_t)message->content.len);
    buf_str(out, message->content);
}

static inline void encode_stream_abort(Buf *out, const PgoutputContext *context,
                                       const PgoutputStreamAbort *abort)
{
    buf_be32(out, abort->xid);
    buf_be32(out, abort->subxid);
    if (context->streaming_parallel) {
        buf_be64(out, abort->abort_lsn);
        encode_time(out, abort->abort_time_us);
    }
}

/** The messages that carry the xid of their (sub)transaction inside a stream segment. */
static inline bool has_segment_xid(PgoutputKind kind)
{
    return memchr("RYIUDTM", (int)kind, 7) != NULL;
}

/** Append @message as a server in the state of @context would send it. */
static inline void encode_pgoutput(Buf *out, const PgoutputContext *context,
                                   const PgoutputMessage *message)
{
    buf_char(out, (char)message->kind);
    if (context->in_stream && has_segment_xid(message->kind)) {
        buf_be32(out, message->xid);
    }
    switch (message->kind) {
    case PGOUTPUT_BEGIN:
        buf_be64(out, message->begin.commit_lsn);
        encode_time(out, message->begin.commit_time_us);
        buf_be32(out, message->begin.xid);
        return;
    case PGOUTPUT_COMMIT:
        encode_commit(out, &message->commit);
        return;
    case PGOUTPUT_ORIGIN:
        buf_be64(out, message->origin.commit_lsn);
        encode_text(out, message->origin.name);
        return;
    case PGOUTPUT_RELATION:
        encode_relation(out, &message->relation);
        return;
    case PGOUTPUT_TYPE:
        encode_type(out, &message->type);
        return;
    case PGOUTPUT_INSERT:
    case PGOUTPUT_UPDATE:
    case PGOUTPUT_DELETE:
        encode_row(out, message->kind, &message->row);
        return;
    case PGOUTPUT_TRUNCATE:
        encode_truncate(out, &message->truncate);
        return;
    case PGOUTPUT_MESSAGE:
        encode_logical_message(out, &message->message);
        return;
    case PGOUTPUT_STREAM_START:
        buf_be32(out, message->stream_start.xid);
        buf_char(out, message->stream_start.is_first ? 1 : 0);
        return;
    case PGOUTPUT_STREAM_STOP:
        return;
    case PGOUTPUT_STREAM_COMMIT:
        buf_be32(out, message->commit.xid);
        encode_commit(out, &message->commit);
        return;
    case PGOUTPUT_STREAM_ABORT:
        encode_stream_abort(out, context, &message->stream_abort);
        return;
    }
}
