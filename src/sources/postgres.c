// The Postgres source: a logical slot read with pgoutput, and copies from exported snapshots.
//
//   postgres.c               options, connections, the order of things
//   postgres_tables.c        which tables are wanted, and which are published
//   postgres_publications.c  publications: made when missing, kept in step
//   postgres_same_publication.c  whether they are still the target's
//   postgres_slot.c          the slot: made when missing, checked when there
//   postgres_timeline.c      whether the server's history is still the target's
//   postgres_check.c         the same, only looked at
//   postgres_copy.c          snapshots and COPY
//   postgres_stream.c        frames → batches
//   postgres_messages.c      pgoutput messages → changes
//   postgres_spill.c         transactions that are sent while they run
//   postgres_watch.c         a look at the server from beside the stream
//
// Three connections: a walsender for the slot and its stream, an ordinary one for catalogs, one to
// look at the server with. Copies open their own.
#include "sources/postgres.h"

#include <assert.h>
#include <sys/random.h>

#include "base/ascii.h"
#include "base/clock.h"
#include "pipeline/advice.h"
#include "pipeline/merge.h"

// What the batches that are filled, queued and written take at the most, with the program itself.
#define DATA_ON_ITS_WAY ((int64_t)40 << 20)

enum { HEARTBEAT_MS_MIN = 1000 };

static const char *const partition_choices[] = {"root", "leaf", NULL};

static const Option postgres_options[] = {
    {"url", OPTION_STRING(Postgres, url), .required = true, .secret = true, .is_path = true,
     .help =
         "Connection URL or keyword string, as libpq takes it; what it leaves out comes from the "
         "PG* environment variables."},
    {"tables", OPTION_LIST(Postgres, tables),
     .help = "Tables to take: schema.table, schema.* or table; all tables when it is left out."},
    {"exclude_tables", OPTION_LIST(Postgres, exclude_tables),
     .help = "Tables to leave out, also where \"tables\" names them: schema.table, schema.* or "
             "table. A partitioned table goes with all its partitions."},
    {"publication", OPTION_STRING(Postgres, publication),
     .help = "Publication to read; made when it is missing. Default: the slot's name, kept in step "
             "with the tables."},
    {"slot", OPTION_STRING(Postgres, slot),
     .help = "Replication slot to read; made when it is missing. Default: weir_ and the pipeline's "
             "name."},
    {"copy", OPTION_BOOL(Postgres, copy), .fallback = "true",
     .help = "Copy the rows that are there before following the changes."},
    {"partitions", OPTION_CHOICE(Postgres, partitions, partition_choices), .fallback = "root",
     .help = "Whether a partitioned table arrives under the name of its root or as its leaves."},
    {"refresh", OPTION_MS(Postgres, refresh_ms), .fallback = "5s", .min = 100, .max = 3600000,
     .help = "How often to look for tables that were added to the publication."},
    {"receive_timeout", OPTION_MS(Postgres, receive_timeout_ms), .fallback = "60s", .min = 1000,
     .max = 3600000,
     .help = "A server from which nothing has come for so long, although it was asked, is lost: "
             "connect again. As wal_receiver_timeout of Postgres."},
    {"heartbeat", OPTION_MS(Postgres, heartbeat_ms), .fallback = "0", .max = 3600000,
     .help = "How often to write a logical message of ours (prefix weir, not delivered) into the "
             "server's WAL, at least 1s; 0: never."},
    {"streaming", OPTION_BOOL(Postgres, streaming), .fallback = "true",
     .help =
         "Receive large transactions while they run, and keep them here until they commit. When "
         "it is off, the server keeps them."},
    {"memory", OPTION_SIZE(Postgres, memory), .fallback = "64MB", .min = 1 << 20,
     .max = INT64_C(1) << 40,
     .help = "Memory that the process aims at, with all its pipelines. Running transactions "
             "of all its sources have what the data on its way leaves of it; what is more goes to "
             "spill_dir."},
    {"spill_dir", OPTION_STRING(Postgres, spill_dir), .value_name = "DIR",
     .help =
         "Directory for what waits and is larger than the memory: running transactions, changes "
         "of a table that is being copied. Default: the pipeline's state directory."},
    {0},
};

static void tick(void *context)
{
    Postgres *postgres = context;
    if (postgres->stream.is_started) {
        // A failure will be met again by the next poll, which can report it.
        Status ignored = replication_status(&postgres->replication, 1000, NULL);
        (void)ignored;
    }
}

PgWait postgres_wait(Postgres *postgres)
{
    return (PgWait){
        .cancel = postgres->base.context.cancel,
        .tick = tick,
        .tick_context = postgres,
        .tick_ms = 250,
        .patience_ms = postgres->receive_timeout_ms,
    };
}

Catalog postgres_catalog(Postgres *postgres)
{
    return (Catalog){.conn = postgres->sql, .wait = postgres_wait(postgres)};
}

Status postgres_connect(Postgres *postgres, bool replication, PGconn **ret, Error *err)
{
    Arena scratch = {0};
    PgConnect options = {
        .url = postgres->url,
        .application_name = arena_printf(&scratch, "weir/%s", postgres->base.context.pipeline),
        .replication = replication,
    };
    PgWait wait = {.cancel = postgres->base.context.cancel};
    Status status = pg_connect(&options, &wait, ret, err);
    arena_done(&scratch);
    return status;
}

static Status postgres_validate(Source *source, Error *err)
{
    Postgres *postgres = (Postgres *)source;
    source->copies = postgres->copy;
    for (size_t i = 0; i < postgres->slot.len; i++) {
        char c = postgres->slot.ptr[i];
        bool fine = ascii_is_lower(c) || ascii_is_digit(c) || c == '_';
        if (!fine || postgres->slot.len > LIMIT_IDENTIFIER_SLOT) {
            error_set(err, ERROR_CONFIG, "\"%" STR_FMT "\" is not a valid slot name",
                      STR_ARG(postgres->slot));
            return error_hint(err, "Postgres allows up to 63 lower-case letters, digits and _.");
        }
    }
    if (postgres->heartbeat_ms > 0 && postgres->heartbeat_ms < HEARTBEAT_MS_MIN) {
        return error_set(err, ERROR_CONFIG, "heartbeat has to be 1s or more, or 0 for none");
    }
    // The server would cut it, and then not find what it has made.
    if (postgres->publication.len > LIMIT_IDENTIFIER_SLOT) {
        error_set(err, ERROR_CONFIG, "\"%" STR_FMT "\" is too long for a publication",
                  STR_ARG(postgres->publication));
        return error_hint(err, "Names in Postgres have up to 63 bytes.");
    }
    return STATUS_OK;
}

static Status read_facts(Postgres *postgres, Error *err)
{
    PgWait wait = postgres_wait(postgres);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(postgres->sql, &wait,
                 "SELECT current_database(),"
                 "       (SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout')",
                 0, NULL, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    postgres->database = str_copy(&postgres->arena, str_from(pg_value(result, 0, 0)));
    if (!str_to_int64(str_from(pg_value(result, 0, 1)), &postgres->wal_sender_timeout_ms)) {
        postgres->wal_sender_timeout_ms = 0;
    }
    return STATUS_OK;
}

// Who can see this lock is in the same database, by whatever address it came there. Where it cannot
// be taken, nobody is warned.
static void leave_mark(Postgres *postgres)
{
    uint32_t number;
    PgWait wait = postgres_wait(postgres);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    Error refused = {0};
    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number)) {
        return;
    }
    const char *parameters[] = {arena_printf(&postgres->arena, "%u", number)};
    if (pg_query(postgres->sql, &wait, "SELECT pg_advisory_lock_shared($1::bigint)", 1, parameters,
                 &result, &refused) == STATUS_OK) {
        postgres->base.mark = str_from(parameters[0]);
    }
}

// A look at the catalogs may have to wait for somebody's ALTER TABLE, and a lock is no silence.
Status postgres_limit_locks(Postgres *postgres, int64_t limit_ms, Error *err)
{
    PgWait wait = postgres_wait(postgres);
    char sql[64];
    (void)snprintf(sql, sizeof(sql), "SET lock_timeout = %d",
                   (int)MIN(postgres->receive_timeout_ms / 2, limit_ms));
    return pg_run(postgres->sql, &wait, sql, err);
}

static Status postgres_open(Source *source, Error *err)
{
    Postgres *postgres = (Postgres *)source;
    if (postgres->spill_dir.len > 0) {
        source->spill_directory = str_to_cstr(&postgres->arena, postgres->spill_dir);
        if (spill_check(source->spill_directory, err) != STATUS_OK) {
            return error_wrap(err, "spill_dir");
        }
    }
    if (postgres_connect(postgres, false, &postgres->sql, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    postgres->server_version = PQserverVersion(postgres->sql);
    if (postgres->server_version < MINIMUM_SERVER_VERSION) {
        error_set(err, ERROR_CONFIG, "the server is PostgreSQL %d, which is too old",
                  postgres->server_version / 10000);
        return error_hint(err, "PostgreSQL 14 or later is needed.");
    }
    postgres_choose_names(postgres);
    // Where a table is truncated all the time it may take a while until it is our turn.
    if (postgres_limit_locks(postgres, postgres->receive_timeout_ms, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    leave_mark(postgres);
    return read_facts(postgres, err);
}

// pg_current_wal_insert_lsn() may stand behind a page header that only the next record will be
// written after: nothing is ever sent up to there on an idle server, so such an LSN is moved back
// to the page's start, where the last record ends. See XLogBytePosToRecPtr() in xlog.c.
Lsn postgres_before_page_header(Lsn lsn)
{
    enum { PAGE = 8192, SHORT_HEADER = 24, LONG_HEADER = 40 };
    Lsn offset = lsn % PAGE;
    return offset == SHORT_HEADER || offset == LONG_HEADER ? lsn - offset : lsn;
}

// What stands last in the WAL may be no commit (a page was pruned, say): on an idle server nobody
// writes that out for up to 20 s, and until then nothing is sent up to there. The empty transaction
// of pg_current_xact_id() is written out at once, by the WAL writer, with all before it.
Status postgres_wal_end(Postgres *postgres, Lsn *ret, Error *err)
{
    PgWait wait = postgres_wait(postgres);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    Lsn lsn;
    if (pg_query(postgres->sql, &wait, "SELECT pg_current_wal_insert_lsn(), pg_current_xact_id()",
                 0, NULL, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!lsn_parse(str_from(pg_value(result, 0, 0)), &lsn)) {
        return error_set(err, ERROR_DATA, "the server gave no WAL position");
    }
    *ret = postgres_before_page_header(lsn);
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Resuming
// ---------------------------------------------------------------------------------------------

// What a checkpoint belongs to: positions of one cluster mean nothing in another.
static Str source_identity(Postgres *postgres)
{
    return str_from(arena_printf(&postgres->arena,
                                 "system=%" STR_FMT " slot=%" STR_FMT " database=%" STR_FMT,
                                 STR_ARG(postgres->system_identifier), STR_ARG(postgres->slot_name),
                                 STR_ARG(postgres->database)));
}

static Status identify_system(Postgres *postgres, Lsn *ret_end, Error *err)
{
    PgWait wait = postgres_wait(postgres);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_run_result(postgres->walsender, &wait, "IDENTIFY_SYSTEM", &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQntuples(result) != 1 || PQnfields(result) < 3 ||
        !lsn_parse(str_from(pg_value(result, 0, 2)), ret_end)) {
        return error_set(err, ERROR_DATA, "the server did not identify itself");
    }
    postgres->system_identifier = str_copy(&postgres->arena, str_from(pg_value(result, 0, 0)));
    postgres->timeline = str_copy(&postgres->arena, str_from(pg_value(result, 0, 1)));
    return STATUS_OK;
}

static Status check_identity(Postgres *postgres, const Checkpoint *checkpoint, Error *err)
{
    const CheckpointEntry *stored = checkpoint_get(checkpoint, CHECKPOINT_SOURCE);
    Str now = source_identity(postgres);
    if (stored == NULL || str_equal(stored->value, now)) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG,
              "this source is not the one that the target was filled from: it was \"%" STR_FMT
              "\", it is \"%" STR_FMT "\"",
              STR_ARG(stored->value), STR_ARG(now));
    return error_hint(
        err,
        "Positions of another cluster, database or slot mean nothing here. Connect to "
        "the old one, or start again under %s.",
        advice()->another_name);
}

static Status check_server_end(Position stored, Lsn end, Error *err)
{
    if (stored.lsn <= end) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG,
              "the server's WAL ends at " LSN_FMT ", before the position of the target, " LSN_FMT,
              LSN_ARG(end), LSN_ARG(stored.lsn));
    return error_hint(err,
                      "The server seems to have been restored from a backup: the target has "
                      "changes that it has lost. %s",
                      advice()->start_anew);
}

Status postgres_connect_walsender(Postgres *postgres, Error *err)
{
    if (postgres_connect(postgres, true, &postgres->walsender, err) != STATUS_OK) {
        if (err != NULL && (strstr(err->message, "must be") != NULL ||
                            strstr(err->message, "WAL sender") != NULL)) {
            error_hint(err, "ALTER ROLE \"%s\" REPLICATION;", PQuser(postgres->sql));
        }
        return STATUS_FAIL;
    }
    replication_init(&postgres->replication, postgres->walsender, postgres->wal_sender_timeout_ms,
                     postgres->receive_timeout_ms);
    return STATUS_OK;
}

// So that a table which comes back to the publication is told from one that is new.
static void take_told(Postgres *postgres, const Checkpoint *checkpoint)
{
    const Str prefix = STR(CHECKPOINT_TABLE);
    for (size_t i = 0; i < checkpoint->count; i++) {
        Str key = checkpoint->entries[i].key;
        uint64_t oid;
        if (str_starts_with(key, prefix) &&
            str_to_uint64((Str){key.ptr + prefix.len, key.len - prefix.len}, &oid)) {
            postgres_stream_told(postgres, (uint32_t)oid);
        }
    }
}

// Before the slot is made, whose snapshot the copies are taken from: what was not published yet
// when the slot's history began has missed changes, and is told later.
static Status look_before_slot(Postgres *postgres, const Position *stored, Error *err)
{
    postgres->is_fresh = stored == NULL;
    return !postgres->is_fresh
               ? STATUS_OK
               : postgres_published(postgres, false, &postgres->arena, &postgres->published, err);
}

Status postgres_take_checkpoint(Postgres *postgres, const Checkpoint *checkpoint, bool *ret_has,
                                Position *ret, Error *err)
{
    Lsn end;
    Position furthest = {0};
    *ret = (Position){0};
    if (checkpoint_position(checkpoint, ret_has, ret, err) != STATUS_OK ||
        checkpoint_furthest(checkpoint, &furthest, err) != STATUS_OK ||
        (postgres->walsender == NULL && postgres_connect_walsender(postgres, err) != STATUS_OK) ||
        identify_system(postgres, &end, err) != STATUS_OK ||
        check_identity(postgres, checkpoint, err) != STATUS_OK ||
        check_server_end(furthest, end, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return postgres_check_timeline(postgres, checkpoint, furthest.lsn, err) == STATUS_OK
               ? postgres_check_publication(postgres, checkpoint, err)
               : STATUS_FAIL;
}

static Status resume_stream(Postgres *postgres, const Checkpoint *checkpoint, Checkpoint *changed,
                            Error *err)
{
    bool has_position;
    Position position;
    Position start;
    if (postgres_take_checkpoint(postgres, checkpoint, &has_position, &position, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    const Position *stored = has_position ? &position : NULL;
    if (postgres_publish(postgres, err) != STATUS_OK ||
        postgres_note_publication(postgres, checkpoint, changed, err) != STATUS_OK ||
        look_before_slot(postgres, stored, err) != STATUS_OK ||
        postgres_slot(postgres, stored, &start, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!has_position) {
        char text[POSITION_TEXT_SIZE];
        position_format(start, text);
        checkpoint_set(changed, CHECKPOINT_POSITION, str_from(text));
    }
    if (checkpoint_get(checkpoint, CHECKPOINT_SOURCE) == NULL) {
        checkpoint_set(changed, CHECKPOINT_SOURCE, source_identity(postgres));
    }
    const CheckpointEntry *timeline = checkpoint_get(checkpoint, CHECKPOINT_TIMELINE);
    if (timeline == NULL || !str_equal(timeline->value, postgres->timeline)) {
        checkpoint_set(changed, CHECKPOINT_TIMELINE, postgres->timeline);
    }
    int64_t memory = MAX(postgres->memory - DATA_ON_ITS_WAY, (int64_t)0);
    streamed_init(&postgres->stream.streamed, source_spill_directory(&postgres->base),
                  (size_t)memory);
    take_told(postgres, checkpoint);
    postgres->stream.end = start;
    postgres->stream.passed = start;
    return postgres_watch_start(postgres, err);
}

static Status postgres_resume(Source *source, const Checkpoint *checkpoint, Checkpoint *changed,
                              Error *err)
{
    Postgres *postgres = (Postgres *)source;
    if (source->context.copy_only) {
        return STATUS_OK;
    }
    return resume_stream(postgres, checkpoint, changed, err);
}

// A table that the route does not know may have the name of one whose last changes are still to
// come: it is told once more, in its place in the stream. But not behind what the run is to reach.
static Status postgres_tables(Source *source, const SourceTables **ret, Error *err)
{
    Postgres *postgres = (Postgres *)source;
    PostgresStream *stream = &postgres->stream;
    SourceTables *published = &postgres->published;
    bool streams = postgres->walsender != NULL;
    if (!source->context.copy_only && !streams &&
        postgres_find_publications(postgres, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (source->context.narrows_tables && postgres_tell_unpublished(postgres, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!postgres->is_fresh && postgres_published(postgres, source->context.copy_only,
                                                  &postgres->arena, published, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = published;
    if (!streams) {
        return STATUS_OK;
    }
    postgres_stream_know(postgres, published);
    for (size_t i = 0; postgres->is_fresh && i < published->count; i++) {
        postgres_stream_told(postgres, published->items[i].relation->oid);
    }
    Lsn end;
    if (postgres_wal_end(postgres, &end, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Lsn until = source->context.until;
    stream->looks++;
    stream->news = *published;
    stream->news_at = until == LSN_NONE ? end : MIN(end, until);
    return STATUS_OK;
}

static void postgres_confirm(Source *source, Position position)
{
    Postgres *postgres = (Postgres *)source;
    Lsn confirmed = postgres->replication.confirmed;
    postgres->replication.confirmed = MAX(confirmed, position.lsn);
}

static Status postgres_now(Source *source, Lsn *ret, Error *err)
{
    if (postgres_wal_end((Postgres *)source, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    source->context.until = *ret;
    return STATUS_OK;
}

static Lsn postgres_head(const Source *source)
{
    const Postgres *postgres = (const Postgres *)source;
    Lsn told = atomic_load(&postgres->head);
    Lsn seen = atomic_load(&postgres->watch.head);
    return MAX(told, seen);
}

static void postgres_close(Source *source)
{
    Postgres *postgres = (Postgres *)source;
    postgres_watch_stop(postgres);
    if (postgres->stream.is_started) {
        replication_stop(&postgres->replication);
    }
    postgres_stream_done(postgres);
    pg_close(&postgres->walsender);
    pg_close(&postgres->sql);
    arena_done(&postgres->arena);
}

const SourceOps postgres_source = {
    .name = "postgres",
    .summary = "PostgreSQL 14 to 18, by logical replication",
    .options = postgres_options,
    .instance_size = sizeof(Postgres),
    .looks = true,
    .validate = postgres_validate,
    .open = postgres_open,
    .check = postgres_check,
    .resume = postgres_resume,
    .tables = postgres_tables,
    .snapshot_open = postgres_snapshot_open,
    .snapshot_close = postgres_snapshot_close,
    .copy_open = postgres_copy_open,
    .copy_read = postgres_copy_read,
    .copy_read_rows = postgres_copy_read_rows,
    .copy_close = postgres_copy_close,
    .digest_open = postgres_digest_open,
    .poll = postgres_poll,
    .confirm = postgres_confirm,
    .now = postgres_now,
    .head = postgres_head,
    .close = postgres_close,
};
