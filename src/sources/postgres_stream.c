// The stream: frames are taken in until nothing more has arrived or a batch is full.
#include <assert.h>

#include "base/clock.h"
#include "pipeline/advice.h"
#include "sources/postgres.h"

enum {
    XIDS_AT_ONCE = 10000, // subtransactions in one question
    REPLAY_TURN = 4096,   // messages of a transaction that are read back in a turn
    FREE_SLOT_MS = 10000, // the server may take so long to see that a connection was closed
    IDLE_SEAL_MS = 100,   // how often a position that moved without changes is passed on
    STREAM_LOCK_MS = 2000,
};

void postgres_stream_done(Postgres *postgres)
{
    PostgresStream *stream = &postgres->stream;
    batch_unref(stream->batch);
    streamed_free(stream->replayed);
    streamed_done(&stream->streamed);
    map_done(&stream->relations);
    arena_done(&stream->scratch);
    arena_done(&stream->news_arena);
    *stream = (PostgresStream){0};
}

// The server looks a publication up as it was at each transaction: one that was made after the slot
// does not exist yet for the transactions in between.
static Status publication_too_young(const Postgres *postgres, Error *err)
{
    bool missing = err != NULL && strstr(err->message, "publication \"") != NULL &&
                   strstr(err->message, "does not exist") != NULL;
    if (missing && postgres->is_fresh) {
        err->kind = ERROR_CONFIG;
        error_hint(err,
                   "The slot is older than the publication, and nothing has been read from it yet: "
                   "SELECT pg_drop_replication_slot('%" STR_FMT "'); it is made anew.",
                   STR_ARG(postgres->slot_name));
    } else if (missing) {
        err->kind = ERROR_CONFIG;
        error_hint(err,
                   "The publication was dropped for a while, and the server cannot tell what "
                   "was changed meanwhile. Nothing was skipped. %s",
                   advice()->start_anew);
    }
    return STATUS_FAIL;
}

static Status start_stream(Postgres *postgres, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    int version = PGOUTPUT_VERSION_MAX;
    if (postgres->server_version < 150000) {
        version = PGOUTPUT_VERSION_STREAMING;
    } else if (postgres->server_version < 160000) {
        version = PGOUTPUT_VERSION_TWO_PHASE;
    }
    CLEANUP(buf_done) Buf options;
    buf_init(&options, 16 * 1024);
    CLEANUP(buf_done) Buf names;
    buf_init(&names, 4096);
    pg_identifier(&names, postgres->publication_name);
    if (postgres->append_publication.ptr != NULL) {
        buf_char(&names, ',');
        pg_identifier(&names, postgres->append_publication);
    }
    bool streaming = postgres->streaming && !stream->takes_whole;
    buf_printf(&options, "proto_version '%d', messages 'true', streaming '%s', publication_names ",
               version, streaming ? "on" : "off");
    pg_literal(&options, buf_view(&names));
    stream->context = (PgoutputContext){.protocol_version = version};
    PgWait wait = postgres_wait(postgres);
    if (replication_start(&postgres->replication, &wait, postgres->slot_name, stream->end.lsn,
                          buf_cstring(&options), err) != STATUS_OK) {
        (void)publication_too_young(postgres, err);
        return error_wrap(err, "start replication from slot \"%" STR_FMT "\"",
                          STR_ARG(postgres->slot_name));
    }
    stream->is_started = true;
    postgres->fresh_snapshot = (Str){NULL, 0}; // the walsender's next command ended it
    stream->refreshed_ms = clock_monotonic_ms();
    // From here on nothing is read while somebody is waited for.
    return postgres_limit_locks(postgres, STREAM_LOCK_MS, err);
}

static Batch *seal(PostgresStream *stream, Position end, bool ends_transaction)
{
    Batch *batch = stream->batch;
    stream->batch = NULL;
    stream->transaction = NULL;
    batch_seal(batch, end, ends_transaction);
    return batch;
}

static Batch *seal_boundary(PostgresStream *stream)
{
    stream->passed = stream->end;
    return seal(stream, stream->end, true);
}

static Batch *seal_part(PostgresStream *stream)
{
    return seal(stream, (Position){stream->open.commit_lsn, stream->ordinal}, false);
}

static bool in_transaction(const PostgresStream *stream)
{
    return stream->open.commit_lsn != LSN_NONE;
}

// A table of somebody else, which we may not publish, is no reason to stop the ones that run.
static Status keep_in_step(Postgres *postgres, Error *err)
{
    Error failure = {0};
    if (postgres_publish(postgres, &failure) == STATUS_OK) {
        return STATUS_OK;
    }
    if (strcmp(failure.sqlstate, "42501") == 0) {
        notice_tell(&postgres->base.context.notice, "%s", failure.message);
        return STATUS_OK;
    }
    *err = failure;
    return STATUS_FAIL;
}

static Status look_at_tables(Postgres *postgres, Error *err)
{
    if (postgres->owns_publication && keep_in_step(postgres, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    PostgresStream *stream = &postgres->stream;
    stream->looks++;
    arena_reset(&stream->news_arena);
    Lsn at;
    if (postgres_published(postgres, false, &stream->news_arena, &stream->news, err) != STATUS_OK ||
        postgres_wal_end(postgres, &at, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    stream->news_at = at;
    return STATUS_OK;
}

// Before a batch ends there: the run may end with it.
static void tell_news_in_time(Postgres *postgres)
{
    const PostgresStream *stream = &postgres->stream;
    if (stream->news_at != LSN_NONE && stream->end.lsn >= stream->news_at &&
        !in_transaction(stream)) {
        postgres_stream_tell_news(postgres);
    }
}

// Tell what is new, and look from time to time which tables are published now.
static Status serve_news(Postgres *postgres, int64_t now_ms, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    if (in_transaction(stream)) {
        return STATUS_OK;
    }
    tell_news_in_time(postgres);
    if (stream->news_at != LSN_NONE || now_ms - stream->refreshed_ms < postgres->refresh_ms) {
        return STATUS_OK;
    }
    stream->refreshed_ms = now_ms;
    char digest[TABLES_DIGEST_SIZE];
    if (postgres_tables_digest(postgres, digest, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (strcmp(digest, stream->tables_digest) == 0) {
        return STATUS_OK;
    }
    memcpy(stream->tables_digest, digest, sizeof(digest));
    Error failure = {0};
    if (look_at_tables(postgres, &failure) == STATUS_OK) {
        return STATUS_OK;
    }
    if (postgres_is_passing(&failure)) {
        stream->tables_digest[0] = '\0'; // somebody makes and drops tables: the next look will do
        return STATUS_OK;
    }
    *err = failure;
    return STATUS_FAIL;
}

// Status updates go on, but nothing is taken in: it would only gather in memory.
static Status answer(Postgres *postgres, Error *err)
{
    return replication_wait(&postgres->replication, false, -1, 0, err);
}

// The slot is free again only after the server has seen the old connection end.
static Status start_again(Postgres *postgres, Error *err)
{
    int64_t until_ms = clock_monotonic_ms() + FREE_SLOT_MS;
    const Cancel *cancel = postgres->base.context.cancel;
    for (;;) {
        Error failure = {0};
        if (start_stream(postgres, &failure) == STATUS_OK) {
            return STATUS_OK;
        }
        if (strcmp(failure.sqlstate, "55006") != 0 || clock_monotonic_ms() >= until_ms) {
            *err = failure;
            return STATUS_FAIL;
        }
        cancel_wait(cancel, 50);
        if (cancel_is_set(cancel)) {
            return error_set(err, ERROR_CANCELLED, "cancelled while the slot was in use");
        }
    }
}

// Receive what is behind the last whole transaction again, this time without streaming: the server
// sorts out itself what was rolled back. What has been confirmed stays as it is: the new stream
// begins behind what was taken in, which may not be durable yet.
static Status take_whole(Postgres *postgres, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    arena_reset(&stream->scratch);
    notice_tell(&postgres->base.context.notice,
                "a large transaction %s: it is received again, and until the next "
                "start the server keeps such transactions itself",
                stream->distrust);
    streamed_free(stream->replayed);
    stream->replayed = NULL;
    streamed_drop(&stream->streamed);
    stream->open = (Transaction){0};
    stream->distrust = NULL;
    stream->takes_whole = true;
    Lsn confirmed = postgres->replication.confirmed;
    stream->is_started = false;
    replication_stop(&postgres->replication);
    pg_close(&postgres->walsender);
    if (postgres_connect_walsender(postgres, err) != STATUS_OK ||
        start_again(postgres, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    postgres->replication.confirmed = confirmed;
    return STATUS_OK;
}

// How many of the subtransactions were rolled back, or cannot be told any more. One that is still
// said to be in progress has committed: its transaction has, and is about to say so, while those
// that were rolled back before are known to be.
static Status count_aborted(Postgres *postgres, const uint32_t *xids, size_t count, int64_t *ret,
                            Error *err)
{
    CLEANUP(buf_done) Buf list;
    buf_init(&list, count * 11 + 3);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&list, "%c%u", i == 0 ? '{' : ',', xids[i]);
    }
    buf_char(&list, '}');
    const char *parameters[] = {buf_cstring(&list)};
    PgWait wait = postgres_wait(postgres);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(postgres->sql, &wait,
                 "WITH here AS (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8 AS next)"
                 "SELECT count(*) FROM here, unnest($1::int8[]) xid"
                 " WHERE coalesce(pg_xact_status((next - ((next - xid) & 4294967295))::text::xid8),"
                 "                'aborted') = 'aborted'",
                 1, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return str_to_int64(str_from(pg_value(result, 0, 0)), ret)
               ? STATUS_OK
               : error_set(err, ERROR_DATA, "the server did not count transactions");
}

// A subtransaction whose changes the server had to keep on its own disk before it could send them
// (they began with much TOAST, or came before the position we start from) is not marked as sent if
// there are more than 4,096 of them, and then nobody is told when it is rolled back
// (ReorderBufferTruncateTXN() in reorderbuffer.c looks at the entries in memory: PostgreSQL 14 to
// 18). So the server is asked. What was rolled back without a word is no longer sorted out here:
// descriptions of tables went with it that the server will not repeat.
static Status check_subtransactions(Postgres *postgres, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    const uint32_t *xids;
    size_t count = streamed_subtransactions(stream->replayed, &xids);
    for (size_t done = 0; done < count && stream->distrust == NULL;) {
        size_t step = MIN(count - done, (size_t)XIDS_AT_ONCE);
        int64_t aborted;
        if (count_aborted(postgres, xids + done, step, &aborted, err) != STATUS_OK) {
            return error_wrap(err, "ask for subtransactions");
        }
        if (aborted > 0) {
            stream->distrust = "was rolled back in part without notice";
        }
        done += step;
    }
    stream->replayed_is_checked = true;
    return STATUS_OK;
}

static Status replay(Postgres *postgres, Error *err)
{
    return postgres->stream.replayed_is_checked ? postgres_replay(postgres, err)
                                                : check_subtransactions(postgres, err);
}

// While a transaction runs, the server decodes it with catalogs that are still moving. It can trip
// over that: a row of pg_class that was changed by a subtransaction, which was rolled back, and
// again later on is no longer found ("could not map filenode … to relation OID": PostgreSQL 14 to
// 18).
static bool server_tripped(const Postgres *postgres, const Error *failure)
{
    return postgres->streaming && !postgres->stream.takes_whole &&
           strncmp(failure->sqlstate, "XX", 2) == 0;
}

static Status next_frame(Postgres *postgres, Frame *ret, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    Error failure = {0};
    Status status = replication_next(&postgres->replication, ret, &failure);
    if (status != STATUS_FAIL) {
        return status;
    }
    if (!server_tripped(postgres, &failure)) {
        *err = failure;
        return STATUS_FAIL;
    }
    if (in_transaction(stream)) {
        // Not one that is streamed: what it had until here may be at the targets already, which
        // only the next attempt takes back. It may go better then, unless data are damaged.
        *err = failure;
        err->kind = strcmp(failure.sqlstate, "XX000") == 0 ? ERROR_TRANSIENT : failure.kind;
        return STATUS_FAIL;
    }
    stream->distrust =
        arena_printf(&postgres->arena, "cannot be streamed by the server (%s)", failure.message);
    return take_whole(postgres, err) == STATUS_OK ? STATUS_AGAIN : STATUS_FAIL;
}

static Status take_frame(Postgres *postgres, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    Frame frame;
    Status status = next_frame(postgres, &frame, err);
    if (status != STATUS_OK) {
        return status;
    }
    atomic_fetch_add_explicit(&postgres->arrived, frame.data.len + 1, memory_order_relaxed);
    if (frame.kind == FRAME_DATA) {
        status = postgres_message(postgres, frame.start, frame.data, err);
    } else {
        stream->idle = MAX(stream->idle, frame.end);
    }
    replication_release(&frame);
    return status;
}

// Everything that has arrived; STATUS_OK with *ret when a batch is to be passed on. A transaction
// that is read back comes before the next frame, and a turn of it is short, so that the server is
// answered in between: nothing else that the loop waits for may take long.
static Status take_frames(Postgres *postgres, Batch **ret, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    for (int replayed = 0; replayed < REPLAY_TURN;) {
        Status status;
        if (stream->distrust != NULL) {
            status = take_whole(postgres, err);
        } else if (stream->replayed != NULL) {
            replayed++;
            status = replay(postgres, err);
        } else {
            status = take_frame(postgres, err);
        }
        if (status != STATUS_OK) {
            return status;
        }
        if (stream->batch != NULL &&
            source_batch_is_full(&postgres->base, stream->batch, in_transaction(stream))) {
            tell_news_in_time(postgres);
            if (stream->replayed != NULL && answer(postgres, err) != STATUS_OK) {
                return STATUS_FAIL;
            }
            *ret = in_transaction(stream) ? seal_part(stream) : seal_boundary(stream);
            return STATUS_OK;
        }
    }
    return STATUS_AGAIN;
}

// Nothing more has arrived: what is whole goes on its way, and a position that moved without
// changes (other tables, other databases) does so from time to time, so that the server can drop
// its WAL.
static Batch *take_idle(PostgresStream *stream, int64_t now_ms)
{
    if (in_transaction(stream)) {
        return NULL;
    }
    // Also by the commit of a transaction that had nothing for us.
    bool moved = position_compare(stream->end, stream->passed) > 0;
    bool has_changes = stream->batch != NULL && stream->batch->count > 0;
    bool due = moved && now_ms - stream->idle_sealed_ms >= IDLE_SEAL_MS;
    if (!has_changes && !due) {
        return NULL;
    }
    stream->idle_sealed_ms = now_ms;
    (void)postgres_batch(stream);
    return seal_boundary(stream);
}

Status postgres_poll(Source *source, int timeout_ms, int wake_fd, Batch **ret, Error *err)
{
    Postgres *postgres = (Postgres *)source;
    PostgresStream *stream = &postgres->stream;
    if (!stream->is_started && start_stream(postgres, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool reading = ret != NULL;
    if (reading) {
        Status status = take_frames(postgres, ret, err);
        if (status == STATUS_FAIL) {
            return publication_too_young(postgres, err);
        }
        if (status == STATUS_OK) {
            return STATUS_OK;
        }
        int64_t now_ms = clock_monotonic_ms();
        if (!in_transaction(&postgres->stream)) {
            postgres->stream.end =
                position_max(postgres->stream.end, (Position){postgres->stream.idle, 0});
        }
        if (serve_news(postgres, now_ms, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        *ret = take_idle(stream, now_ms);
        atomic_store(&postgres->head, postgres->replication.head);
        if (*ret != NULL) {
            return STATUS_OK;
        }
    }
    if (reading && stream->replayed != NULL) {
        return answer(postgres, err) == STATUS_OK ? STATUS_AGAIN : STATUS_FAIL;
    }
    if (replication_wait(&postgres->replication, reading, wake_fd, timeout_ms, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return STATUS_AGAIN;
}
