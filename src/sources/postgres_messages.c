// From pgoutput messages to changes.
//
// Ordinals count the rows, truncates and messages of a transaction as the server sends them, also
// those of tables that are left out: they must come out the same however often a transaction is
// sent again. RELATION messages do not count: when they are sent depends on the connection.
#include <assert.h>

#include "base/crash_point.h"
#include "sources/postgres.h"

Batch *postgres_batch(PostgresStream *stream)
{
    if (stream->batch == NULL) {
        stream->batch = batch_new();
        stream->transaction = NULL;
    }
    return stream->batch;
}

// The open transaction, copied into the current batch the first time a change needs it.
static const Transaction *transaction_in_batch(PostgresStream *stream)
{
    Batch *batch = postgres_batch(stream);
    if (stream->transaction == NULL) {
        Transaction *copy = arena_alloc(&batch->arena, sizeof(*copy));
        *copy = stream->open;
        copy->origin = str_copy(&batch->arena, stream->open.origin);
        stream->transaction = copy;
    }
    return stream->transaction;
}

static Status outside_transaction(const char *what, Error *err)
{
    return error_set(err, ERROR_DATA, "the server sent %s outside a transaction", what);
}

static bool in_transaction(const PostgresStream *stream)
{
    return stream->open.commit_lsn != LSN_NONE;
}

static Status on_begin(PostgresStream *stream, const PgoutputBegin *begin, Error *err)
{
    if (in_transaction(stream)) {
        return error_set(err, ERROR_DATA, "the server began a transaction inside another");
    }
    if (begin->commit_lsn < stream->end.lsn) {
        return error_set(err, ERROR_DATA,
                         "the server sent a transaction out of order: committed at " LSN_FMT
                         " behind " LSN_FMT,
                         LSN_ARG(begin->commit_lsn), LSN_ARG(stream->end.lsn));
    }
    stream->open = (Transaction){
        .commit_lsn = begin->commit_lsn,
        .xid = begin->xid,
        .commit_time_us = begin->commit_time_us,
    };
    stream->transaction = NULL;
    stream->ordinal = 0;
    return STATUS_OK;
}

static Status on_commit(PostgresStream *stream, const PgoutputCommit *commit, Error *err)
{
    if (!in_transaction(stream)) {
        return outside_transaction("a commit", err);
    }
    if (commit->commit_lsn != stream->open.commit_lsn || commit->end_lsn < commit->commit_lsn) {
        return error_set(err, ERROR_DATA,
                         "the server's commit at " LSN_FMT " does not fit its begin",
                         LSN_ARG(commit->commit_lsn));
    }
    stream->end = position_max(stream->end, (Position){commit->end_lsn, 0});
    stream->open = (Transaction){0};
    stream->transaction = NULL;
    return STATUS_OK;
}

static Status on_origin(PostgresStream *stream, const PgoutputOrigin *origin, Error *err)
{
    if (!in_transaction(stream)) {
        return outside_transaction("an origin", err);
    }
    if (origin->name.len >= sizeof(stream->origin)) {
        return error_set(err, ERROR_DATA, "a replication origin's name of %zu bytes is too long",
                         origin->name.len);
    }
    memcpy(stream->origin, origin->name.ptr, origin->name.len);
    stream->open.origin = (Str){stream->origin, origin->name.len};
    stream->open.origin_lsn = origin->commit_lsn;
    stream->transaction = NULL;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Relations
// ---------------------------------------------------------------------------------------------

static StreamRelation *known_relation(Postgres *postgres, uint32_t oid)
{
    Map *relations = &postgres->stream.relations;
    StreamRelation *known = map_get_u64(relations, oid);
    if (known == NULL) {
        known = arena_alloc_zero(&postgres->arena, sizeof(*known));
        known->oid = oid;
        (void)map_put_u64(relations, oid, known);
    }
    return known;
}

void postgres_stream_told(Postgres *postgres, uint32_t oid)
{
    known_relation(postgres, oid)->is_told = true;
}

bool postgres_stream_is_told(const Postgres *postgres, uint32_t oid)
{
    const StreamRelation *known = map_get_u64(&postgres->stream.relations, oid);
    return known != NULL && known->is_told;
}

void postgres_stream_know(Postgres *postgres, const SourceTables *published)
{
    for (size_t i = 0; i < published->count; i++) {
        const Relation *relation = published->items[i].relation;
        StreamRelation *known = known_relation(postgres, relation->oid);
        known->current = relation;
        known->published = relation->published;
    }
}

// What the server has said since the last look, and what was asked for with it, is newer.
static bool is_newer_than_look(const PostgresStream *stream, const StreamRelation *known)
{
    return known->current != NULL && known->described == stream->looks;
}

// Before its first change, so that the rows are copied even when nothing happens to it.
static void announce_table(Postgres *postgres, StreamRelation *known, const Relation *found)
{
    PostgresStream *stream = &postgres->stream;
    Relation relation = is_newer_than_look(stream, known) ? *known->current : *found;
    if (known->current == NULL || !relation_is_same(known->current, &relation)) {
        known->current = relation_copy(&postgres->arena, &relation);
    }
    known->is_told = true;
    known->published = relation.published;
    Batch *batch = postgres_batch(stream);
    Transaction *now = arena_alloc_zero(&batch->arena, sizeof(*now));
    now->commit_lsn = stream->end.lsn;
    Change *change = batch_add(batch);
    change->op = CHANGE_SCHEMA;
    change->relation = known->current;
    change->transaction = now;
    change->ordinal = 1; // behind everything that is delivered; the next transaction is later
}

void postgres_stream_tell_news(Postgres *postgres)
{
    PostgresStream *stream = &postgres->stream;
    for (size_t i = 0; i < stream->news.count; i++) {
        const Relation *relation = stream->news.items[i].relation;
        StreamRelation *known = known_relation(postgres, relation->oid);
        bool is_same = known->published == relation->published;
        bool is_told = known->is_told && (is_same || is_newer_than_look(stream, known));
        if (!known->is_ignored && !is_told) {
            announce_table(postgres, known, relation);
        }
    }
    stream->news = (SourceTables){0};
    stream->news_at = LSN_NONE;
    arena_reset(&stream->news_arena);
}

// The position of the change that comes next, which the new shape is needed for.
static void announce(PostgresStream *stream, StreamRelation *known)
{
    if (known->is_announced || known->is_ignored) {
        return;
    }
    known->is_announced = true;
    known->is_told = true;
    const Transaction *transaction = transaction_in_batch(stream);
    Change *change = batch_add(stream->batch);
    change->op = CHANGE_SCHEMA;
    change->relation = known->current;
    change->transaction = transaction;
    change->ordinal = stream->ordinal + 1;
}

static Status on_relation(Postgres *postgres, const PgoutputRelation *message, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    if (!in_transaction(stream)) {
        return outside_transaction("a relation", err);
    }
    StreamRelation *known = known_relation(postgres, message->oid);
    bool is_ours;
    if (postgres_takes(postgres, message->oid, message->schema, message->name, &is_ours, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    known->is_ignored = !is_ours;
    if (known->is_ignored) {
        return STATUS_OK;
    }
    Catalog catalog = postgres_catalog(postgres);
    Relation *relation;
    if (catalog_describe(&catalog, message, &stream->scratch, &relation, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // The server describes a table again when its publication changes. And it is asked before a
    // copy may begin: if it is still the same at a later look, nothing is missing since.
    if (postgres_publishing(postgres, message->oid, &known->published, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    relation->published = known->published;
    known->described = stream->looks;
    if (known->current == NULL || !relation_is_same(known->current, relation)) {
        known->current = relation_copy(&postgres->arena, relation);
    }
    // Also when nothing changed since the last connection: the route knows what the target has. Not
    // before a change needs it: of a partition that is published under its root's name, the server
    // describes the partition, too.
    known->is_announced = false;
    return STATUS_OK;
}

static Status find_relation(Postgres *postgres, uint32_t oid, const StreamRelation **ret,
                            Error *err)
{
    StreamRelation *known = map_get_u64(&postgres->stream.relations, oid);
    if (known == NULL || (known->current == NULL && !known->is_ignored)) {
        return error_set(err, ERROR_DATA,
                         "the server sent a change of relation %u without describing it", oid);
    }
    announce(&postgres->stream, known);
    *ret = known;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Rows
// ---------------------------------------------------------------------------------------------

static Status check_width(const Relation *relation, const PgoutputTuple *tuple, Error *err)
{
    if (tuple->count != relation->column_count) {
        return error_set(err, ERROR_DATA,
                         "the server sent a row of %u columns for table \"%" STR_FMT ".%" STR_FMT
                         "\", which has %u",
                         tuple->count, STR_ARG(relation->schema), STR_ARG(relation->name),
                         relation->column_count);
    }
    return STATUS_OK;
}

// A key-only old row has NULLs for the columns outside the replica identity: they are not known.
static void forget_others(const Relation *relation, Value *values)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (!relation->columns[i].is_identity) {
            values[i] = (Value){.state = VALUE_ABSENT};
        }
    }
}

// An old row of identity FULL may lack a TOASTed value that was stored out of line: only when the
// server could not fetch it, so the new row's "unchanged" is the one that counts. The other way
// round, the old row has what the new one leaves out.
static void fill_unchanged(const Relation *relation, const Value *old_row, Value *new_row)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (new_row[i].state == VALUE_UNCHANGED && value_is_known(old_row[i])) {
            new_row[i] = old_row[i];
        }
    }
}

static Status on_row(Postgres *postgres, const PgoutputMessage *message, ChangeOp op, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    const PgoutputRow *row = &message->row;
    if (!in_transaction(stream)) {
        return outside_transaction("a row", err);
    }
    const StreamRelation *known;
    if (find_relation(postgres, row->relation_oid, &known, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    stream->ordinal++;
    if (known->is_ignored) {
        return STATUS_OK;
    }
    const Relation *relation = known->current;
    bool has_new = op != CHANGE_DELETE;
    bool has_old = row->old_kind != 0;
    if ((has_new && check_width(relation, &row->new_tuple, err) != STATUS_OK) ||
        (has_old && check_width(relation, &row->old_tuple, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    if (row->old_kind == 'K') {
        forget_others(relation, row->old_tuple.values);
    }
    if (row->old_kind == 'O' && has_new) {
        fill_unchanged(relation, row->old_tuple.values, row->new_tuple.values);
    }
    const Transaction *transaction = transaction_in_batch(stream);
    Change *change = batch_add(stream->batch);
    change->op = op;
    change->relation = relation;
    change->old_row = has_old ? row->old_tuple.values : NULL;
    change->new_row = has_new ? row->new_tuple.values : NULL;
    change->transaction = transaction;
    change->ordinal = stream->ordinal;
    stream->batch->bytes += (has_old ? relation->column_count * sizeof(Value) : 0) +
                            (has_new ? relation->column_count * sizeof(Value) : 0);
    return STATUS_OK;
}

static Status on_truncate(Postgres *postgres, const PgoutputTruncate *message, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    if (!in_transaction(stream)) {
        return outside_transaction("a truncate", err);
    }
    const StreamRelation *known;
    // What is told of the tables comes first, not between them: they are truncated together.
    for (uint32_t i = 0; i < message->count; i++) {
        if (find_relation(postgres, message->relation_oids[i], &known, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    for (uint32_t i = 0; i < message->count; i++) {
        if (find_relation(postgres, message->relation_oids[i], &known, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        stream->ordinal++;
        if (known->is_ignored) {
            continue;
        }
        const Transaction *transaction = transaction_in_batch(stream);
        Change *change = batch_add(stream->batch);
        change->op = CHANGE_TRUNCATE;
        change->truncate_flags = message->flags;
        change->relation = known->current;
        change->transaction = transaction;
        change->ordinal = stream->ordinal;
    }
    return STATUS_OK;
}

static void add_message(PostgresStream *stream, const PgoutputLogicalMessage *sent,
                        const Transaction *transaction, uint64_t ordinal)
{
    Batch *batch = stream->batch;
    LogicalMessage *message = arena_alloc(&batch->arena, sizeof(*message));
    *message = (LogicalMessage){
        .prefix = sent->prefix, // borrowed from the frame's copy in the batch
        .content = sent->content,
        .lsn = sent->lsn,
        .transactional = sent->transactional,
    };
    Change *change = batch_add(batch);
    change->op = CHANGE_MESSAGE;
    change->message = message;
    change->transaction = transaction;
    change->ordinal = ordinal;
}

// A message outside any transaction stands at its own LSN, the end of its record: a commit record
// may begin exactly there, and its changes are behind the message, so its ordinal is 0. It comes
// between two transactions, as the server sends each of them whole.
static Status on_logical_message(Postgres *postgres, const PgoutputLogicalMessage *sent, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    if (sent->transactional && stream->context.in_stream) {
        stream->distrust = "has messages";
        return STATUS_OK;
    }
    if (sent->transactional) {
        if (!in_transaction(stream)) {
            return outside_transaction("a transactional message", err);
        }
        const Transaction *transaction = transaction_in_batch(stream);
        add_message(stream, sent, transaction, ++stream->ordinal);
        return STATUS_OK;
    }
    Position position = {sent->lsn, 0};
    if (in_transaction(stream) || position_compare(position, stream->end) <= 0) {
        return in_transaction(stream)
                   ? error_set(err, ERROR_DATA, "the server sent a message inside a transaction")
                   : STATUS_OK; // sent again after a reconnect
    }
    stream->end = position;
    if (str_equal(sent->prefix, POSTGRES_OWN_MESSAGES)) {
        return STATUS_OK; // a heartbeat: it is there to move the position
    }
    Transaction *own = arena_alloc_zero(&stream->batch->arena, sizeof(*own));
    own->commit_lsn = sent->lsn;
    add_message(stream, sent, own, 0);
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Transactions that are sent while they run
//
// They change nothing before they commit: not the batch, not the position, not what is known of
// tables. What a segment says of a table may be rolled back, and the server describes each table to
// each of them anew, so descriptions are kept with the rows and take effect when their turn comes.
// Logical messages cannot be kept: in a segment the server gives them the xid of the top-level
// transaction (pgoutput_message() in pgoutput.c), so that one in a subtransaction cannot be told to
// be rolled back with it.
//
// The position goes on meanwhile, with what else commits and with keepalives, and may be confirmed
// past the begin of a transaction that is still running. That loses nothing: it belongs to where
// its commit is, and the server keeps the WAL from the begin of the oldest transaction that was
// running at the confirmed position (the slot's restart_lsn). After a reconnect it sends it from
// its begin.
// ---------------------------------------------------------------------------------------------

static Status on_stream_start(PostgresStream *stream, const PgoutputStreamStart *start, Error *err)
{
    if (in_transaction(stream)) {
        return error_set(err, ERROR_DATA, "the server began a segment inside a transaction");
    }
    stream->context.in_stream = true;
    return streamed_start(&stream->streamed, start, err);
}

static Status on_stream_commit(PostgresStream *stream, const PgoutputCommit *commit, Error *err)
{
    PgoutputBegin begin = {
        .commit_lsn = commit->commit_lsn,
        .commit_time_us = commit->commit_time_us,
        .xid = commit->xid,
    };
    if (on_begin(stream, &begin, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    stream->replayed_commit = *commit;
    stream->replayed_is_checked = false;
    return streamed_commit(&stream->streamed, commit->xid, &stream->replayed, err);
}

static Status take(Postgres *postgres, const PgoutputMessage *message, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    switch (message->kind) {
    case PGOUTPUT_BEGIN:
        return on_begin(stream, &message->begin, err);
    case PGOUTPUT_COMMIT:
        return on_commit(stream, &message->commit, err);
    case PGOUTPUT_ORIGIN:
        return on_origin(stream, &message->origin, err);
    case PGOUTPUT_RELATION:
        return on_relation(postgres, &message->relation, err);
    case PGOUTPUT_TYPE:
        return STATUS_OK; // names of types come from the catalogs
    case PGOUTPUT_INSERT:
        return on_row(postgres, message, CHANGE_INSERT, err);
    case PGOUTPUT_UPDATE:
        return on_row(postgres, message, CHANGE_UPDATE, err);
    case PGOUTPUT_DELETE:
        return on_row(postgres, message, CHANGE_DELETE, err);
    case PGOUTPUT_TRUNCATE:
        return on_truncate(postgres, &message->truncate, err);
    case PGOUTPUT_MESSAGE:
        return on_logical_message(postgres, &message->message, err);
    case PGOUTPUT_STREAM_START:
        return on_stream_start(stream, &message->stream_start, err);
    case PGOUTPUT_STREAM_STOP:
        stream->context.in_stream = false;
        return streamed_stop(&stream->streamed, err);
    case PGOUTPUT_STREAM_COMMIT:
        return on_stream_commit(stream, &message->commit, err);
    case PGOUTPUT_STREAM_ABORT:
        streamed_abort(&stream->streamed, &message->stream_abort);
        return STATUS_OK;
    }
    return error_set(err, ERROR_DATA, "the server sent an unexpected message");
}

static bool keeps_bytes(Str message)
{
    char kind = message.len == 0 ? 0 : message.ptr[0];
    return kind == PGOUTPUT_INSERT || kind == PGOUTPUT_UPDATE || kind == PGOUTPUT_DELETE ||
           kind == PGOUTPUT_MESSAGE;
}

static Status take_bytes(Postgres *postgres, Lsn start, Str message, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    Arena *arena = &stream->scratch;
    if (keeps_bytes(message)) {
        // Values stay slices of the message: one copy into the batch, no other.
        Batch *batch = postgres_batch(stream);
        message.ptr = batch_bytes(batch, message.ptr, message.len);
        arena = &batch->arena;
    } else {
        arena_reset(&stream->scratch);
    }
    PgoutputMessage decoded;
    if (pgoutput_decode(&stream->context, message, arena, &decoded, err) != STATUS_OK ||
        take(postgres, &decoded, err) != STATUS_OK) {
        return error_wrap(err, "at WAL position " LSN_FMT, LSN_ARG(start));
    }
    return STATUS_OK;
}

Status postgres_message(Postgres *postgres, Lsn start, Str message, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    assert(stream->replayed == NULL);
    if (stream->context.in_stream && streamed_is_part(message)) {
        return streamed_keep(&stream->streamed, message, err);
    }
    return take_bytes(postgres, start, message, err);
}

Status postgres_replay(Postgres *postgres, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    Str message;
    Status status = streamed_next(stream->replayed, &message, err);
    CRASH_POINT("spill-read-back");
    if (status == STATUS_OK && message.len > 0) {
        stream->context.in_stream = true;
        status = take_bytes(postgres, stream->replayed_commit.commit_lsn, message, err);
        stream->context.in_stream = false;
    } else if (status == STATUS_AGAIN) {
        streamed_free(stream->replayed);
        stream->replayed = NULL;
        status = on_commit(stream, &stream->replayed_commit, err);
    }
    return status;
}
