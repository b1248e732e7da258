// The Postgres source, inside: shared by its files. See postgres.c for how they fit together.
#pragma once

#include <pthread.h>

#include "base/limits.h"
#include "base/map.h"
#include "pg/catalog.h"
#include "pg/probe.h"
#include "pg/replication.h"
#include "pipeline/source.h"
#include "sources/postgres_spill.h"

/** Prefix of logical messages that are our own. */
#define POSTGRES_OWN_MESSAGES STR("weir")

enum { MINIMUM_SERVER_VERSION = 140000, TABLES_DIGEST_SIZE = 24 };

/** `partitions=`: how partitioned tables are published. */
typedef enum Partitions {
    PARTITIONS_ROOT, // under the name of the root
    PARTITIONS_LEAF, // each partition by itself
} Partitions;

/** What the stream knows of one relation id. */
typedef struct StreamRelation {
    uint32_t oid;
    const Relation *current; // NULL: not announced yet
    bool is_ignored;         // published, but not wanted
    bool is_announced;       // a SCHEMA change was sent for `current`
    bool is_told;            // the route knows of it, from its checkpoint or from us
    uint64_t published;      // Relation.published, as last told
    uint64_t described;      // `looks` when the server described it last
} StreamRelation;

/** The state of the stream between two poll() calls. */
typedef struct PostgresStream {
    bool is_started;
    Batch *batch; // being filled; NULL: none
    PgoutputContext context;
    const Transaction *transaction; // in the batch; NULL: outside a transaction
    Transaction open;               // the one that is open, for the next batch
    char origin[LIMIT_NAME_BYTES];
    uint64_t ordinal; // of the last change of the open transaction
    StreamedTransactions streamed;
    StreamedTransaction *replayed; // has committed and is read back; NULL: none
    PgoutputCommit replayed_commit;
    bool replayed_is_checked; // the server agrees on what was rolled back
    const char *distrust;     // why streaming is to be left for now; NULL: it is not
    bool takes_whole;         // streaming is off, whatever the option says, until the next start
    Position end;             // everything at or before it has been taken in
    Position passed;          // end of the last batch that was passed on
    Lsn idle;                 // the server has read and sent everything before it
    int64_t idle_sealed_ms;
    int64_t refreshed_ms; // when the catalogs were last asked for new tables
    uint64_t looks;       // counts the looks at the published tables
    // What the last look found. The catalogs are ahead of the stream: it becomes news when the
    // stream has come to `news_at`, so that everything that happened before comes before it.
    SourceTables news;
    Lsn news_at; // LSN_NONE: there are none
    Arena news_arena;
    char tables_digest[TABLES_DIGEST_SIZE]; // of what they said
    Map relations;                          // oid -> StreamRelation
    Arena scratch;                          // of one message
} PostgresStream;

/** Who looks at the server beside the stream. */
typedef struct PostgresWatch {
    struct Postgres *postgres;
    pthread_t thread;
    bool is_running;
    Cancel cancel;             // of the thread's statements, and of the thread
    PGconn *conn;              // of the thread; NULL: not connected
    int failures;              // in a row
    int64_t beat_ms;           // the last heartbeat
    atomic_uint_fast64_t head; // Lsn: end of the WAL when it was last looked at
} PostgresWatch;

typedef struct Postgres {
    Source base;
    // Options.
    Str url;
    StrList tables;         // patterns
    StrList exclude_tables; // patterns, which win
    Str publication;
    Str slot;
    bool copy;
    int partitions; // Partitions
    int64_t refresh_ms;
    int64_t receive_timeout_ms;
    int64_t heartbeat_ms; // 0: none
    bool streaming;
    int64_t memory;
    Str spill_dir;

    Arena arena; // everything below; relations, too
    PGconn *sql; // ordinary connection: catalogs, publications
    PGconn *walsender;
    Replication replication;
    int server_version; // as PQserverVersion(): 150003
    Str database;
    Str system_identifier;
    Str timeline; // that the server is on, in digits
    int64_t wal_sender_timeout_ms;
    Str slot_name;
    Str publication_name;
    Str append_publication; // for tables whose rows cannot be identified; ptr NULL: none
    bool owns_publication;  // we make it and keep it in step with the patterns
    bool is_fresh;          // the checkpoint was empty
    Str fresh_snapshot;     // exported by the creation of the slot; ptr NULL: not valid any more
    Lsn fresh_snapshot_lsn;
    SourceTables published;
    PostgresStream stream;
    atomic_uint_fast64_t head;    // Lsn: as the stream tells it
    atomic_uint_fast64_t arrived; // bytes of the stream
    PostgresWatch watch;
} Postgres;

/** How our statements wait: cancelled by the pipeline, status updates go on meanwhile, and a server
 *  that does not answer is lost. Not for what may have to wait for others. */
PgWait postgres_wait(Postgres *postgres);

/** How long `sql` waits for a lock, at most half of receive_timeout. */
MUST_CHECK Status postgres_limit_locks(Postgres *postgres, int64_t limit_ms, Error *err);

Catalog postgres_catalog(Postgres *postgres);

/** Where the server's WAL ends, as a position that the stream will come to even when it is idle. */
MUST_CHECK Status postgres_wal_end(Postgres *postgres, Lsn *ret, Error *err);

/** @lsn, or where the record before it ends, if there is only a page's header in between: nothing
 *  is ever sent up to there on an idle server. */
Lsn postgres_before_page_header(Lsn lsn);

/** Connect, with the settings that make text output exact. @replication: a walsender. */
MUST_CHECK Status postgres_connect(Postgres *postgres, bool replication, PGconn **ret, Error *err);

/**
 * Connect the walsender, if it is not, and see whether what @checkpoint says is of this server, and
 * still in its past. *ret_has: it has a position, *ret. Changes nothing.
 */
MUST_CHECK Status postgres_take_checkpoint(Postgres *postgres, const Checkpoint *checkpoint,
                                           bool *ret_has, Position *ret, Error *err);

/** Connect the walsender, which must not be connected. */
MUST_CHECK Status postgres_connect_walsender(Postgres *postgres, Error *err);

// postgres_tables.c: which tables are wanted, and which are published.

/** One table that the patterns want, and how it has to be published. */
typedef struct WantedTable {
    const CatalogTable *table;
    bool append_only;  // rows cannot be identified: inserts and truncates only
    bool is_added;     // to a publication that was there
    bool is_published; // see postgres_match_published()
} WantedTable;

typedef struct WantedTables {
    WantedTable *items;
    size_t count;
    // At a start: exclusions that leave nothing out, "a", "b"; NULL: there are none.
    const char *idle_exclusions;
    CatalogTables listed; // every table there is, by name
    CatalogTables loaded; // those that match, with their columns
} WantedTables;

/** Tables that match the patterns. At a start ERROR_CONFIG: a pattern without any, and one that
 *  excludes a part of what is published as a whole. */
MUST_CHECK Status postgres_wanted(Postgres *postgres, Arena *arena, WantedTables *ret, Error *err);

/** Whether a table of the publication is one of the pipeline's: what we publish ourselves is what
 *  the patterns want, leaves of a wanted root included. */
MUST_CHECK Status postgres_takes(Postgres *postgres, uint32_t oid, Str schema, Str name, bool *ret,
                                 Error *err);

/** What is said of WantedTables.idle_exclusions. */
#define IDLE_EXCLUSIONS "no table matches %s: nothing is left out by it"

size_t postgres_count_wanted(const WantedTables *wanted, bool append_only);

/** The tables that are published now, or (@as_wanted) that would be by ourselves. In @arena. */
MUST_CHECK Status postgres_published(Postgres *postgres, bool as_wanted, Arena *arena,
                                     SourceTables *ret, Error *err);

/** Relation.published of a table as it is now. */
MUST_CHECK Status postgres_publishing(Postgres *postgres, uint32_t oid, uint64_t *ret, Error *err);

/** A digest of everything that decides which tables are published: cheap to ask for often. */
MUST_CHECK Status postgres_tables_digest(Postgres *postgres, char ret[static TABLES_DIGEST_SIZE],
                                         Error *err);

/** Something was dropped, made or locked between two looks at the catalogs: look again later. */
bool postgres_is_passing(const Error *err);

// postgres_publications.c

/** Decide on names: slot, publication, whether the latter is ours. */
void postgres_choose_names(Postgres *postgres);

/** Of the main publication, and of the second one: NULL when there is none. In @arena. */
void postgres_publication_names(const Postgres *postgres, Arena *arena, const char *ret[static 2]);

/** What the second one is called, or would be. In @arena. */
Str postgres_append_name(const Postgres *postgres, Arena *arena);

/** Whether the publication is ours to make and to keep in step. Changes nothing. */
MUST_CHECK Status postgres_find_owner(Postgres *postgres, Arena *arena, Error *err);

/** Make or check the publications; or (SourceContext.keeps_tables) only look at them. */
MUST_CHECK Status postgres_publish(Postgres *postgres, Error *err);

/** Another instance streams, and has made the publications: look at them. */
MUST_CHECK Status postgres_find_publications(Postgres *postgres, Error *err);

/** Tell of what the patterns want that no publication has. */
MUST_CHECK Status postgres_tell_unpublished(Postgres *postgres, Error *err);

/** CREATE PUBLICATION for the wanted tables of one sort. */
void postgres_create_publication(const Postgres *postgres, Buf *sql, Str name,
                                 const WantedTables *wanted, bool append_only);

/** What is said of a publication. */
typedef struct PublicationFacts {
    bool exists;
    bool has_updates;   // or deletes: Postgres refuses those of a table without replica identity
    bool via_root;      // partitioned tables come whole, and not leaf by leaf
    bool has_generated; // columns that are stored (since Postgres 18)
    Str untold;         // kinds of changes that it leaves out, in words
} PublicationFacts;

/** Text in @arena. */
MUST_CHECK Status postgres_look_up_publication(Postgres *postgres, Str name, Arena *arena,
                                               PublicationFacts *ret, Error *err);

/** ERROR_CONFIG when there is nothing to make a publication of. */
MUST_CHECK Status postgres_require_tables(const Postgres *postgres, const WantedTables *wanted,
                                          Error *err);

/** Which of @wanted are published now, by the main publication or the second one. */
MUST_CHECK Status postgres_match_published(Postgres *postgres, WantedTables *wanted, Error *err);

/** "{1,2}": their oids, or (@unpublished_only) of those that are not. */
void postgres_oids(const WantedTables *wanted, bool unpublished_only, Buf *ret);

/** What a table without replica identity means, or NULL: nothing is wrong. In @arena. */
const char *postgres_identity_text(const Postgres *postgres, const PublicationFacts *facts,
                                   const WantedTable *table, Arena *arena);

/** Which of the tables that were asked for by name a given publication does not have, or NULL. In
 *  @arena. */
const char *postgres_missing_text(const Postgres *postgres, const WantedTables *wanted,
                                  Arena *arena);

// postgres_same_publication.c

/** Whether the publications are those that @checkpoint says the target was filled from.
 * ERROR_CONFIG when they are not, with both names; STATUS_OK when it says none. Changes nothing. */
MUST_CHECK Status postgres_check_publication(Postgres *postgres, const Checkpoint *checkpoint,
                                             Error *err);

/** Behind postgres_publish(): what @checkpoint is to say of them, and does not. */
MUST_CHECK Status postgres_note_publication(Postgres *postgres, const Checkpoint *checkpoint,
                                            Checkpoint *changed, Error *err);

/** ERROR_CONFIG: the target was filled from it. */
MUST_CHECK Status postgres_publication_is_gone(Str name, Error *err);

/** CHECKPOINT_PUBLICATION: oids of the main publication, and of the second one or 0. False: it is
 *  damaged, and @ret as it was. */
bool postgres_parse_publications(Str text, uint32_t ret[static 2]);

// postgres_slot_wait.c

/** Run @sql, which makes a logical slot, over @walsender, for as long as transactions that are open
 *  hold it up. Which ones is told to the source's notice. Thread: any. */
MUST_CHECK Status postgres_make_slot(Postgres *postgres, PGconn *walsender, const char *sql,
                                     PGresult **ret, Error *err);

// postgres_slot.c

/** Make or check the slot; *ret_start: where the stream begins. @stored: position of the
 * checkpoint, NULL when there is none. */
MUST_CHECK Status postgres_slot(Postgres *postgres, const Position *stored, Position *ret_start,
                                Error *err);

/** The same without making it: whether it is there, and if so, *ret_start. */
MUST_CHECK Status postgres_find_slot(Postgres *postgres, const Position *stored, bool *ret_exists,
                                     Position *ret_start, Error *err);

// postgres_check.c

Status postgres_check(Source *source, const Checkpoint *checkpoint, Report *report,
                      const SourceTables **ret, Error *err);

// postgres_timeline.c

/** Whether what the target has, up to @furthest, is in the past of the timeline that the server is
 *  on now. The walsender is connected, and the timeline known. */
MUST_CHECK Status postgres_check_timeline(Postgres *postgres, const Checkpoint *checkpoint,
                                          Lsn furthest, Error *err);

/** Where, by @history (the server's TIMELINE_HISTORY), @timeline was left. False: it is not in
 *  it. */
bool postgres_timeline_end(Str history, Str timeline, Lsn *ret);

// postgres_watch.c

/** Tell the context's watch of the server, until postgres_watch_stop(). The slot's name is set. */
MUST_CHECK Status postgres_watch_start(Postgres *postgres, Error *err);
/** Also when it was never started. */
void postgres_watch_stop(Postgres *postgres);

// postgres_copy.c

Status postgres_snapshot_open(Source *source, Snapshot **ret, Lsn *ret_at, Error *err);
void postgres_snapshot_close(Snapshot *snapshot);
Status postgres_copy_open(Source *source, Snapshot *snapshot, const Relation *relation,
                          Cancel *cancel, CopyReader **ret, Error *err);
Status postgres_copy_read(CopyReader *reader, Batch **ret, Error *err);
Status postgres_copy_read_rows(CopyReader *reader, CopyForm form, Str *ret, size_t *ret_count,
                               Error *err);
void postgres_copy_close(CopyReader *reader);

/** A table that is read in a snapshot, on a connection of its own. */
typedef struct TableReading {
    Postgres *postgres;
    const Snapshot *snapshot;
    const Relation *relation;
    Cancel *cancel;
    PGconn *conn;        // in the snapshot, with the table locked against changes of its shape
    PgProbe probe;       // of conn
    Buf from;            // "ONLY schema.table", or the root of partitions without the ONLY
    Buf filter;          // the publication's; empty: none
    bool is_partitioned; // read through its root
    bool has_generated;  // columns
    bool was_rewritten;  // since the snapshot, which sees none of its rows now: the error says so
} TableReading;

/** ERROR_TRANSIENT when the table has changed between @relation and the snapshot. */
MUST_CHECK Status postgres_begin_reading(Postgres *postgres, const Snapshot *snapshot,
                                         const Relation *relation, Cancel *cancel,
                                         TableReading *ret, Error *err);
/** Accepts a zeroed one. */
void postgres_end_reading(TableReading *reading);

// postgres_verify.c

Status postgres_digest_open(Source *source, Snapshot *snapshot, const DigestQuery *query,
                            Cancel *cancel, DigestReader **ret, Error *err);

// postgres_stream.c

Status postgres_poll(Source *source, int timeout_ms, int wake_fd, Batch **ret, Error *err);
void postgres_stream_done(Postgres *postgres);
/** The route knows of this table. */
void postgres_stream_told(Postgres *postgres, uint32_t oid);
bool postgres_stream_is_told(const Postgres *postgres, uint32_t oid);
/** Before the stream: @published, which has to live as long as it, is what rows are read into. */
void postgres_stream_know(Postgres *postgres, const SourceTables *published);

// postgres_messages.c

/** Take one pgoutput message into the batch, or keep it when its transaction is still running. */
MUST_CHECK Status postgres_message(Postgres *postgres, Lsn start, Str message, Error *err);
/** Take the next message of the transaction that is read back, which may be its end. */
MUST_CHECK Status postgres_replay(Postgres *postgres, Error *err);
/** The stream has come to where the news were true. */
void postgres_stream_tell_news(Postgres *postgres);
/** A batch to add to, with the open transaction copied into it. */
Batch *postgres_batch(PostgresStream *stream);
