// Decoder of pgoutput messages.
//
// The layouts, as src/backend/replication/logical/proto.c of Postgres writes them (its manual:
// "Logical Replication Message Formats"). Integers are big-endian; u64 is an LSN unless named
// otherwise; "time" is i64, microseconds since 2000-01-01 UTC; "text" ends with a NUL.
//
//   byte  message        fields
//   ----  -------------  -------------------------------------------------------------------------
//   B     begin          u64 commit, time commit, u32 xid
//   C     commit         u8 flags = 0, u64 commit, u64 end, time commit
//   O     origin         u64 commit at the origin, text name
//   R     relation       [xid] u32 oid, text schema*, text name, u8 identity (d n f i), u16
//   columns,
//                        columns x { u8 flags (1 = key), text name, u32 type, i32 typmod }
//   Y     type           [xid] u32 oid, text schema*, text name (of the base type of a domain)
//   I     insert         [xid] u32 relation, 'N' tuple
//   U     update         [xid] u32 relation, [ 'K' tuple | 'O' tuple ], 'N' tuple
//   D     delete         [xid] u32 relation, 'K' tuple | 'O' tuple
//   T     truncate       [xid] u32 tables, u8 flags (1 = cascade, 2 = restart identity),
//                        tables x u32 relation
//   M     message        [xid] u8 flags (1 = transactional), u64 its own, text prefix, u32 length,
//                        content
//   S     stream start   u32 xid, u8 is first segment
//   E     stream stop
//   c     stream commit  u32 xid, then as commit
//   A     stream abort   u32 xid, u32 subxid, with streaming=parallel also u64 abort, time abort
//
//   b P K r p            begin prepare, prepare, commit prepared, rollback prepared, stream
//   prepare:
//                        sent only to who asks for two_phase, which we do not
//
//   [xid]   u32, present between stream start and stream stop only: the (sub)transaction
//   schema* empty for pg_catalog
//   tuple   u16 values, values x { 'n' (null) | 'u' (unchanged TOAST) |
//                                  't' u32 length, text form | 'b' u32 length, binary form }
//
// Postgres's own subscriber ignores most of what it does not know; here an unknown flag, kind or
// leftover byte is an error, because stopping is better than being wrong.
#include "pg/pgoutput.h"

#include <assert.h>
#include <stdarg.h>

#include "base/limits.h"
#include "base/reader.h"
#include "change/change.h"

// 1970-01-01 to 2000-01-01: 10957 days.
#define POSTGRES_EPOCH_US (INT64_C(10957) * 86400 * 1000000)

/** One message being read. */
typedef struct Decoder {
    Reader in;
    Str whole;
    PgoutputKind kind;
    const PgoutputContext *context;
    Arena *arena;
    Error *err;
} Decoder;

const char *pgoutput_kind_name(PgoutputKind kind)
{
    switch (kind) {
    case PGOUTPUT_BEGIN:
        return "begin";
    case PGOUTPUT_COMMIT:
        return "commit";
    case PGOUTPUT_ORIGIN:
        return "origin";
    case PGOUTPUT_RELATION:
        return "relation";
    case PGOUTPUT_TYPE:
        return "type";
    case PGOUTPUT_INSERT:
        return "insert";
    case PGOUTPUT_UPDATE:
        return "update";
    case PGOUTPUT_DELETE:
        return "delete";
    case PGOUTPUT_TRUNCATE:
        return "truncate";
    case PGOUTPUT_MESSAGE:
        return "message";
    case PGOUTPUT_STREAM_START:
        return "stream start";
    case PGOUTPUT_STREAM_STOP:
        return "stream stop";
    case PGOUTPUT_STREAM_COMMIT:
        return "stream commit";
    case PGOUTPUT_STREAM_ABORT:
        return "stream abort";
    }
    return NULL;
}

/** The kinds of protocol version 3 that need two_phase; NULL for others. */
static const char *two_phase_name(uint8_t byte)
{
    switch (byte) {
    case 'b':
        return "begin prepare";
    case 'P':
        return "prepare";
    case 'K':
        return "commit prepared";
    case 'r':
        return "rollback prepared";
    case 'p':
        return "stream prepare";
    default:
        return NULL;
    }
}

/** The error for this message: what kind it is, what is wrong and where reading stopped. */
PRINTF_LIKE(2, 3)
__attribute__((cold, noinline)) static void say_bad(const Decoder *decoder, const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    assert(len >= 0);
    error_set(decoder->err, ERROR_DATA, "pgoutput message \"%s\": %s, at byte %zu of %zu",
              pgoutput_kind_name(decoder->kind), what,
              decoder->whole.len - reader_left(&decoder->in), decoder->whole.len);
}

#define bad(decoder, ...) (say_bad(decoder, __VA_ARGS__), status_fail())

__attribute__((cold)) static Status truncated(const Decoder *decoder)
{
    return bad(decoder, "it ends too early");
}

/** The last step of every message: hand it out unless bytes are left over. */
static Status finish(const Decoder *decoder, const PgoutputMessage *message, PgoutputMessage *ret)
{
    size_t left = reader_left(&decoder->in);
    if (left != 0) {
        return bad(decoder, "%zu bytes are left over", left);
    }
    *ret = *message;
    return STATUS_OK;
}

/** A Postgres timestamp as microseconds since 1970; false when there is no such number. */
static bool time_from_wire(uint64_t wire, int64_t *ret)
{
    return !__builtin_add_overflow((int64_t)wire, POSTGRES_EPOCH_US, ret);
}

static Status read_xid(Decoder *decoder, uint32_t *ret)
{
    if (!reader_u32(&decoder->in, ret)) {
        return truncated(decoder);
    }
    if (*ret == 0) {
        return bad(decoder, "it has no transaction id");
    }
    return STATUS_OK;
}

/** The transaction of a message inside a stream segment; elsewhere there is none to read. */
static Status read_segment_xid(Decoder *decoder, PgoutputMessage *ret)
{
    return decoder->context->in_stream ? read_xid(decoder, &ret->xid) : STATUS_OK;
}

static Status check_name(const Decoder *decoder, Str name, const char *what)
{
    if (name.len == 0) {
        return bad(decoder, "the name of the %s is empty", what);
    }
    if (name.len > LIMIT_NAME_BYTES) {
        return bad(decoder, "the name of the %s has %zu bytes", what, name.len);
    }
    return STATUS_OK;
}

static Status read_qualified_name(Decoder *decoder, const char *what, Str *ret_schema,
                                  Str *ret_name)
{
    if (!reader_cstring(&decoder->in, ret_schema) || !reader_cstring(&decoder->in, ret_name)) {
        return truncated(decoder);
    }
    if (ret_schema->len == 0) {
        *ret_schema = STR("pg_catalog");
    }
    if (check_name(decoder, *ret_schema, "schema") != STATUS_OK) {
        return STATUS_FAIL;
    }
    return check_name(decoder, *ret_name, what);
}

/** False, with the reader where it was, when this is no value or not all of it is there. */
static inline bool read_value(Reader *in, Value *ret)
{
    const uint8_t *before = in->at;
    uint8_t kind;
    if (!reader_u8(in, &kind)) {
        return false;
    }
    if (kind == 't' || kind == 'b') {
        uint32_t len;
        Str data;
        if (!reader_u32(in, &len) || !reader_bytes(in, len, &data)) {
            in->at = before;
            return false;
        }
        *ret = (Value){data.ptr, len, kind == 't' ? VALUE_TEXT : VALUE_BINARY};
        return true;
    }
    if (kind == 'n' || kind == 'u') {
        *ret = (Value){NULL, 0, kind == 'n' ? VALUE_NULL : VALUE_UNCHANGED};
        return true;
    }
    in->at = before;
    return false;
}

/** Why read_value() refused what comes next: away from the hot path, so it looks again. */
__attribute__((cold)) static Status bad_value(Decoder *decoder, uint32_t column)
{
    Reader look = decoder->in;
    uint8_t kind;
    uint32_t len;
    if (!reader_u8(&look, &kind)) {
        return truncated(decoder);
    }
    if (kind != 't' && kind != 'b') {
        return bad(decoder, "value %u is of the unknown kind 0x%02x", column + 1, kind);
    }
    if (!reader_u32(&look, &len)) {
        return truncated(decoder);
    }
    if (len > INT32_MAX) {
        return bad(decoder, "value %u has a negative length", column + 1);
    }
    return bad(decoder, "value %u is %u bytes long but only %zu are left", column + 1, len,
               reader_left(&look));
}

static Status read_tuple(Decoder *decoder, PgoutputTuple *ret)
{
    uint16_t count;
    if (!reader_u16(&decoder->in, &count)) {
        return truncated(decoder);
    }
    if (count > LIMIT_COLUMNS) {
        return bad(decoder, "a row of %u columns", count);
    }
    if (count > reader_left(&decoder->in)) {
        return bad(decoder, "a row of %u columns in %zu bytes", count, reader_left(&decoder->in));
    }
    Value *values = arena_alloc(decoder->arena, count * sizeof(Value));
    Reader in = decoder->in; // a local, so that the loop can keep it in registers
    for (uint32_t i = 0; i < count; i++) {
        if (!read_value(&in, &values[i])) {
            decoder->in = in;
            return bad_value(decoder, i);
        }
    }
    decoder->in = in;
    *ret = (PgoutputTuple){count, values};
    return STATUS_OK;
}

static Status decode_begin(Decoder *decoder, PgoutputMessage *ret)
{
    PgoutputMessage message = {.kind = PGOUTPUT_BEGIN};
    PgoutputBegin *begin = &message.begin;
    uint64_t time;
    if (!reader_u64(&decoder->in, &begin->commit_lsn) || !reader_u64(&decoder->in, &time)) {
        return truncated(decoder);
    }
    if (begin->commit_lsn == LSN_NONE) {
        return bad(decoder, "it has no commit position");
    }
    if (!time_from_wire(time, &begin->commit_time_us)) {
        return bad(decoder, "the commit time is out of range");
    }
    if (read_xid(decoder, &begin->xid) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return finish(decoder, &message, ret);
}

/** What COMMIT and STREAM COMMIT have in common. */
static Status read_commit(Decoder *decoder, PgoutputCommit *ret)
{
    uint8_t flags;
    uint64_t time;
    if (!reader_u8(&decoder->in, &flags) || !reader_u64(&decoder->in, &ret->commit_lsn) ||
        !reader_u64(&decoder->in, &ret->end_lsn) || !reader_u64(&decoder->in, &time)) {
        return truncated(decoder);
    }
    if (flags != 0) {
        return bad(decoder, "unknown flags 0x%02x", flags);
    }
    // A position that is confirmed to the server comes from here.
    if (ret->commit_lsn == LSN_NONE || ret->end_lsn <= ret->commit_lsn) {
        return bad(decoder, "the commit record ends at " LSN_FMT " but starts at " LSN_FMT,
                   LSN_ARG(ret->end_lsn), LSN_ARG(ret->commit_lsn));
    }
    if (!time_from_wire(time, &ret->commit_time_us)) {
        return bad(decoder, "the commit time is out of range");
    }
    return STATUS_OK;
}

static Status decode_commit(Decoder *decoder, PgoutputMessage *ret)
{
    PgoutputMessage message = {.kind = PGOUTPUT_COMMIT};
    if (read_commit(decoder, &message.commit) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return finish(decoder, &message, ret);
}

static Status decode_origin(Decoder *decoder, PgoutputMessage *ret)
{
    PgoutputMessage message = {.kind = PGOUTPUT_ORIGIN};
    PgoutputOrigin *origin = &message.origin;
    if (!reader_u64(&decoder->in, &origin->commit_lsn) ||
        !reader_cstring(&decoder->in, &origin->name)) {
        return truncated(decoder);
    }
    return finish(decoder, &message, ret);
}

static Status read_identity(Decoder *decoder, ReplicaIdentity *ret)
{
    uint8_t identity;
    if (!reader_u8(&decoder->in, &identity)) {
        return truncated(decoder);
    }
    switch (identity) {
    case IDENTITY_DEFAULT:
    case IDENTITY_NOTHING:
    case IDENTITY_FULL:
    case IDENTITY_INDEX:
        *ret = (ReplicaIdentity)identity;
        return STATUS_OK;
    default:
        return bad(decoder, "the replica identity 0x%02x is unknown", identity);
    }
}

static Status read_column(Decoder *decoder, PgoutputColumn *ret)
{
    uint8_t flags;
    uint32_t typmod;
    if (!reader_u8(&decoder->in, &flags) || !reader_cstring(&decoder->in, &ret->name) ||
        !reader_u32(&decoder->in, &ret->type_oid) || !reader_u32(&decoder->in, &typmod)) {
        return truncated(decoder);
    }
    if (flags > 1) {
        return bad(decoder, "a column has the unknown flags 0x%02x", flags);
    }
    ret->is_key = flags == 1;
    ret->typmod = (int32_t)typmod;
    return check_name(decoder, ret->name, "column");
}

static Status decode_relation(Decoder *decoder, PgoutputMessage *ret)
{
    PgoutputMessage message = {.kind = PGOUTPUT_RELATION};
    PgoutputRelation *relation = &message.relation;
    if (read_segment_xid(decoder, &message) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!reader_u32(&decoder->in, &relation->oid)) {
        return truncated(decoder);
    }
    if (read_qualified_name(decoder, "table", &relation->schema, &relation->name) != STATUS_OK ||
        read_identity(decoder, &relation->identity) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!reader_u16(&decoder->in, &relation->column_count)) {
        return truncated(decoder);
    }
    enum { COLUMN_BYTES_MIN = 1 + 1 + 4 + 4 }; // flags, NUL of the name, type, typmod
    if (relation->column_count > LIMIT_COLUMNS ||
        relation->column_count > reader_left(&decoder->in) / COLUMN_BYTES_MIN) {
        return bad(decoder, "%u columns in %zu bytes", relation->column_count,
                   reader_left(&decoder->in));
    }
    relation->columns =
        arena_alloc(decoder->arena, relation->column_count * sizeof(PgoutputColumn));
    for (uint32_t i = 0; i < relation->column_count; i++) {
        if (read_column(decoder, &relation->columns[i]) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return finish(decoder, &message, ret);
}

static Status decode_type(Decoder *decoder, PgoutputMessage *ret)
{
    PgoutputMessage message = {.kind = PGOUTPUT_TYPE};
    PgoutputType *type = &message.type;
    if (read_segment_xid(decoder, &message) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!reader_u32(&decoder->in, &type->oid)) {
        return truncated(decoder);
    }
    if (read_qualified_name(decoder, "type", &type->schema, &type->name) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return finish(decoder, &message, ret);
}

/** How the three row messages begin: their transaction, the table, and what row comes next. */
static Status read_row_start(Decoder *decoder, PgoutputMessage *ret, uint8_t *ret_next)
{
    if (read_segment_xid(decoder, ret) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!reader_u32(&decoder->in, &ret->row.relation_oid) || !reader_u8(&decoder->in, ret_next)) {
        return truncated(decoder);
    }
    return STATUS_OK;
}

static Status decode_insert(Decoder *decoder, PgoutputMessage *ret)
{
    PgoutputMessage message = {.kind = PGOUTPUT_INSERT};
    uint8_t next;
    if (read_row_start(decoder, &message, &next) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (next != 'N') {
        return bad(decoder, "a new row was expected, not 0x%02x", next);
    }
    if (read_tuple(decoder, &message.row.new_tuple) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return finish(decoder, &message, ret);
}

static Status decode_update(Decoder *decoder, PgoutputMessage *ret)
{
    PgoutputMessage message = {.kind = PGOUTPUT_UPDATE};
    uint8_t next;
    if (read_row_start(decoder, &message, &next) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (next == 'K' || next == 'O') {
        message.row.old_kind = (char)next;
        if (read_tuple(decoder, &message.row.old_tuple) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (!reader_u8(&decoder->in, &next)) {
            return truncated(decoder);
        }
    }
    if (next != 'N') {
        return bad(decoder, "a new row was expected, not 0x%02x", next);
    }
    if (read_tuple(decoder, &message.row.new_tuple) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return finish(decoder, &message, ret);
}

static Status decode_delete(Decoder *decoder, PgoutputMessage *ret)
{
    PgoutputMessage message = {.kind = PGOUTPUT_DELETE};
    uint8_t next;
    if (read_row_start(decoder, &message, &next) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (next != 'K' && next != 'O') {
        return bad(decoder, "an old row or key was expected, not 0x%02x", next);
    }
    message.row.old_kind = (char)next;
    if (read_tuple(decoder, &message.row.old_tuple) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return finish(decoder, &message, ret);
}

static Status decode_truncate(Decoder *decoder, PgoutputMessage *ret)
{
    static_assert(TRUNCATE_CASCADE == 1 && TRUNCATE_RESTART_IDENTITY == 2, "the flags on the wire");
    PgoutputMessage message = {.kind = PGOUTPUT_TRUNCATE};
    PgoutputTruncate *truncate = &message.truncate;
    uint8_t flags;
    if (read_segment_xid(decoder, &message) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!reader_u32(&decoder->in, &truncate->count) || !reader_u8(&decoder->in, &flags)) {
        return truncated(decoder);
    }
    if ((flags & ~(TRUNCATE_CASCADE | TRUNCATE_RESTART_IDENTITY)) != 0) {
        return bad(decoder, "unknown flags 0x%02x", flags);
    }
    truncate->flags = flags;
    size_t left = reader_left(&decoder->in);
    if (truncate->count > left / sizeof(uint32_t)) {
        return bad(decoder, "%u tables in %zu bytes", truncate->count, left);
    }
    truncate->relation_oids = arena_alloc(decoder->arena, truncate->count * sizeof(uint32_t));
    for (uint32_t i = 0; i < truncate->count; i++) {
        if (!reader_u32(&decoder->in, &truncate->relation_oids[i])) {
            return truncated(decoder);
        }
    }
    return finish(decoder, &message, ret);
}

static Status decode_message(Decoder *decoder, PgoutputMessage *ret)
{
    PgoutputMessage message = {.kind = PGOUTPUT_MESSAGE};
    PgoutputLogicalMessage *logical = &message.message;
    uint8_t flags;
    uint32_t len;
    if (read_segment_xid(decoder, &message) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!reader_u8(&decoder->in, &flags) || !reader_u64(&decoder->in, &logical->lsn) ||
        !reader_cstring(&decoder->in, &logical->prefix) || !reader_u32(&decoder->in, &len)) {
        return truncated(decoder);
    }
    if (flags > 1) {
        return bad(decoder, "unknown flags 0x%02x", flags);
    }
    logical->transactional = flags == 1;
    if (!reader_bytes(&decoder->in, len, &logical->content)) {
        return bad(decoder, "its content is %u bytes long but only %zu are left", len,
                   reader_left(&decoder->in));
    }
    return finish(decoder, &message, ret);
}

static Status decode_stream_start(Decoder *decoder, PgoutputMessage *ret)
{
    PgoutputMessage message = {.kind = PGOUTPUT_STREAM_START};
    uint8_t first;
    if (read_xid(decoder, &message.stream_start.xid) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!reader_u8(&decoder->in, &first)) {
        return truncated(decoder);
    }
    if (first > 1) {
        return bad(decoder, "unknown flags 0x%02x", first);
    }
    message.stream_start.is_first = first == 1;
    return finish(decoder, &message, ret);
}

static Status decode_stream_stop(const Decoder *decoder, PgoutputMessage *ret)
{
    PgoutputMessage message = {.kind = PGOUTPUT_STREAM_STOP};
    return finish(decoder, &message, ret);
}

static Status decode_stream_commit(Decoder *decoder, PgoutputMessage *ret)
{
    PgoutputMessage message = {.kind = PGOUTPUT_STREAM_COMMIT};
    if (read_xid(decoder, &message.commit.xid) != STATUS_OK ||
        read_commit(decoder, &message.commit) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return finish(decoder, &message, ret);
}

static Status decode_stream_abort(Decoder *decoder, PgoutputMessage *ret)
{
    PgoutputMessage message = {.kind = PGOUTPUT_STREAM_ABORT};
    PgoutputStreamAbort *aborted = &message.stream_abort;
    if (read_xid(decoder, &aborted->xid) != STATUS_OK ||
        read_xid(decoder, &aborted->subxid) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (decoder->context->streaming_parallel) {
        uint64_t time;
        // No position is right: a transaction that a crash ended has no abort record.
        if (!reader_u64(&decoder->in, &aborted->abort_lsn) || !reader_u64(&decoder->in, &time)) {
            return truncated(decoder);
        }
        if (!time_from_wire(time, &aborted->abort_time_us)) {
            return bad(decoder, "the abort time is out of range");
        }
    }
    return finish(decoder, &message, ret);
}

static bool is_about_streams(PgoutputKind kind)
{
    return kind == PGOUTPUT_STREAM_START || kind == PGOUTPUT_STREAM_STOP ||
           kind == PGOUTPUT_STREAM_COMMIT || kind == PGOUTPUT_STREAM_ABORT;
}

/** Whole transactions and other segments may not come inside a stream segment. */
static Status check_place(const Decoder *decoder)
{
    const PgoutputContext *context = decoder->context;
    bool is_boundary = decoder->kind == PGOUTPUT_BEGIN || decoder->kind == PGOUTPUT_COMMIT;
    if (is_about_streams(decoder->kind)) {
        if (context->protocol_version < PGOUTPUT_VERSION_STREAMING) {
            return bad(decoder, "protocol version %d has no such message",
                       context->protocol_version);
        }
        if (decoder->kind == PGOUTPUT_STREAM_STOP) {
            return context->in_stream ? STATUS_OK : bad(decoder, "no stream segment was started");
        }
        is_boundary = true;
    }
    if (is_boundary && context->in_stream) {
        return bad(decoder, "it came inside a stream segment");
    }
    return STATUS_OK;
}

__attribute__((cold)) static Status bad_kind(const Decoder *decoder)
{
    uint8_t byte = (uint8_t)decoder->kind;
    const char *two_phase = two_phase_name(byte);
    if (two_phase != NULL) {
        return error_set(decoder->err, ERROR_DATA,
                         "pgoutput message \"%s\": two-phase decoding was not asked for, at byte 0",
                         two_phase);
    }
    return error_set(decoder->err, ERROR_DATA,
                     "pgoutput message of the unknown kind 0x%02x, at byte 0", byte);
}

static Status dispatch(Decoder *decoder, PgoutputMessage *ret)
{
    switch (decoder->kind) {
    case PGOUTPUT_BEGIN:
        return decode_begin(decoder, ret);
    case PGOUTPUT_COMMIT:
        return decode_commit(decoder, ret);
    case PGOUTPUT_ORIGIN:
        return decode_origin(decoder, ret);
    case PGOUTPUT_RELATION:
        return decode_relation(decoder, ret);
    case PGOUTPUT_TYPE:
        return decode_type(decoder, ret);
    case PGOUTPUT_INSERT:
        return decode_insert(decoder, ret);
    case PGOUTPUT_UPDATE:
        return decode_update(decoder, ret);
    case PGOUTPUT_DELETE:
        return decode_delete(decoder, ret);
    case PGOUTPUT_TRUNCATE:
        return decode_truncate(decoder, ret);
    case PGOUTPUT_MESSAGE:
        return decode_message(decoder, ret);
    case PGOUTPUT_STREAM_START:
        return decode_stream_start(decoder, ret);
    case PGOUTPUT_STREAM_STOP:
        return decode_stream_stop(decoder, ret);
    case PGOUTPUT_STREAM_COMMIT:
        return decode_stream_commit(decoder, ret);
    case PGOUTPUT_STREAM_ABORT:
        return decode_stream_abort(decoder, ret);
    }
    return bad_kind(decoder);
}

Status pgoutput_decode(const PgoutputContext *context, Str message, Arena *arena,
                       PgoutputMessage *ret, Error *err)
{
    assert(context->protocol_version >= PGOUTPUT_VERSION_MIN);
    assert(context->protocol_version <= PGOUTPUT_VERSION_MAX);
    assert(!context->streaming_parallel || context->protocol_version >= PGOUTPUT_VERSION_PARALLEL);

    Decoder decoder = {
        .in = reader_from(message.ptr, message.len),
        .whole = message,
        .context = context,
        .arena = arena,
        .err = err,
    };
    uint8_t kind;
    if (message.len > LIMIT_MESSAGE_BYTES) {
        return error_set(err, ERROR_DATA, "a pgoutput message of %zu bytes", message.len);
    }
    if (!reader_u8(&decoder.in, &kind)) {
        return error_set(err, ERROR_DATA, "a pgoutput message of no bytes");
    }
    decoder.kind = (PgoutputKind)kind;
    if (check_place(&decoder) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return dispatch(&decoder, ret);
}
