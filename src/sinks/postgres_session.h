// A session that writes into a Postgres database, for the sinks that do: the connection, the open
// transaction, statements that do not wait for each other, and the checkpoint that is stored with
// them.
//
//   open -> { look | lock -> resume } -> { begin | run | query | send | store }* -> commit … ->
//   close
//
//   postgres_session.c    the connection, statements, the transaction
//   postgres_pipeline.c   statements that do not wait for each other
//   postgres_checkpoint.c the locks on a pipeline, and weir.checkpoint
//   postgres_found.c      tables that are there
#pragma once

#include "base/map.h"
#include "pg/connection.h"
#include "pg/probe.h"
#include "pipeline/checkpoint.h"
#include "sinks/sql.h"

/** Whether a result is one that the statement was to come to, of those that are no failure. */
typedef Status PgJudge(PGresult *result, Error *err);

/** A statement to be sent. */
typedef struct PgStatement {
    const char *sql;
    int count;
    const char *const *parameters; // NULL: SQL NULL
    const int *lengths;            // they are in binary; NULL: they are text
    PgJudge *judge;                // NULL: any result is good
    int64_t rows;                  // that it has to touch; 0: the judge knows
    bool is_commit;                // it has to end as COMMIT, not as a ROLLBACK
    Str what;                      // in front of the message of its failure; ptr NULL: nothing
} PgStatement;

/** One that was sent, and whose result is to come. */
typedef struct PgSent {
    PgJudge *judge;
    int64_t rows;
    bool is_commit;
    SqlTable subject;
    Str what;
    bool is_old; // prepared in an earlier transaction, perhaps for a table that is altered by now
} PgSent;

/** One that the session has. */
typedef struct PgPrepared {
    const char *name;
    unsigned transaction; // in which it was prepared
} PgPrepared;

/** Those that were sent, in the order of their results. */
typedef struct PgPipeline {
    PgSent *sent;
    size_t count;
    size_t bytes;         // of their parameters
    bool must_be_checked; // not every result that the server likes is a good one
    bool has_changes;     // or entries of the checkpoint, which may be refused
    Arena arena;          // until the results are taken
    unsigned transaction; // the open one, or the last
    Map prepared;         // SQL -> PgPrepared
    Arena names;          // of those
    unsigned name_count;
    bool is_uncertain; // some of those may not be there
} PgPipeline;

/** Zeroed, with what its owner says of it, it is not open. */
typedef struct PgSession {
    // The owner's, as long as it is open.
    Str url;
    const char *pipeline; // under which its checkpoint is stored
    Cancel *cancel;
    int64_t silence_ms;      // then the server is asked whether it is at work; 0: never
    const char *rights;      // that are needed on a table: "SELECT, INSERT"
    const char *unique_hint; // what to do about a value that is there already
    // Ends what is open beside statements; NULL: nothing ever is.
    Status (*settle_more)(void *owner, Error *err);
    void *owner;
    void (*at_work)(void *at_work_context); // see SinkContext
    void *at_work_context;

    PGconn *conn;
    PgProbe probe; // of conn
    bool in_transaction;
    bool is_trying;    // nothing is prepared: see postgres_session_send()
    bool has_position; // written to by this pipeline before
    SqlTable subject;  // the table that statements are about: for messages
    PgPipeline statements;
    Arena scratch; // one function
} PgSession;

extern const SqlTable postgres_checkpoint_table; // weir.checkpoint (pipeline, key, value)

/** Connect, with the settings of a session that writes. */
MUST_CHECK Status postgres_session_open(PgSession *session, Error *err);

/** Accepts one that was never opened. What its owner said of it stays. */
void postgres_session_close(PgSession *session);

PgWait postgres_session_wait(const PgSession *session);

// Each first ends what is open, or takes the results of what was sent: so failures of that may come
// out of any of them.

/** Run statements for their effect; inside the open transaction, if there is one. */
MUST_CHECK Status postgres_session_run(PgSession *session, const char *sql, Error *err);

/** One statement with text parameters (NULL: SQL NULL) and its result. */
MUST_CHECK Status postgres_session_query(PgSession *session, const char *sql, int count,
                                         const char *const *parameters, PGresult **ret, Error *err);

/** BEGIN, unless a transaction is open. */
MUST_CHECK Status postgres_session_begin(PgSession *session, Error *err);

/** COMMIT; one is open. When the connection breaks meanwhile, nobody knows whether it was committed
 * but the next session. */
MUST_CHECK Status postgres_session_commit(PgSession *session, Error *err);

/** CREATE SCHEMA, unless it is there. */
MUST_CHECK Status postgres_session_make_schema(PgSession *session, Str schema, Error *err);

/** A 42501 in @err gets the GRANT that mends it as its hint. Returns STATUS_FAIL. */
Status postgres_session_explain(const PgSession *session, Error *err);

// postgres_pipeline.c

/**
 * Send a statement of the open transaction, with others that wait for their results: its failure
 * comes out of a later call. Nothing that it refers to is needed any more. It is prepared when it
 * is new, unless session->is_trying: the parameters of what was prepared have the types that the
 * columns had then, so who looks for the change that is refused takes no chance.
 */
MUST_CHECK Status postgres_session_send(PgSession *session, const PgStatement *statement,
                                        Error *err);
/** Take the results of all that were sent, or end what else is open. */
MUST_CHECK Status postgres_session_settle(PgSession *session, Error *err);
/** End what else is open. */
MUST_CHECK Status postgres_session_settle_more(PgSession *session, Error *err);
/** Settle, unless there is nothing but what no data can make fail. */
MUST_CHECK Status postgres_session_settle_changes(PgSession *session, Error *err);
/** Take the results of what was sent behind a failure that is known already. */
void postgres_session_drop_results(PgSession *session);
/** A table has another shape from now on: what was prepared has parameters of its old types. */
void postgres_session_forget_prepared(PgSession *session);
/** Forget all of them; nothing was ever sent, or the connection is gone. */
void postgres_statements_done(PgPipeline *pipeline);

// postgres_checkpoint.c

/** Be the one session that writes as this pipeline. ERROR_TRANSIENT: there is another one, and has
 *  been for seconds. */
MUST_CHECK Status postgres_session_lock(PgSession *session, Error *err);
/** Be one of those that write beside it. */
MUST_CHECK Status postgres_session_lock_lane(PgSession *session, Error *err);
/** Whether weir.checkpoint is there. */
MUST_CHECK Status postgres_session_has_checkpoint(PgSession *session, bool *ret, Error *err);
/** Make it, unless it is there. */
MUST_CHECK Status postgres_session_make_checkpoint(PgSession *session, Error *err);
/** Put what is stored for this pipeline into @ret. */
MUST_CHECK Status postgres_session_read_checkpoint(PgSession *session, Checkpoint *ret, Error *err);
/** Store the entries of @changed in the open transaction, or in one that this begins. */
MUST_CHECK Status postgres_session_store(PgSession *session, const Checkpoint *changed, Error *err);

// postgres_found.c

typedef struct PgFoundColumn {
    Str name;
    Str type;           // with length and scale
    Str cast;           // without
    uint32_t type_oid;  // of the base type
    int32_t typmod;     // likewise
    bool not_null;      // as a column, domains aside
    bool must_be_given; // NOT NULL without a default
    bool is_generated;
    bool is_identity_always;
    bool has_equality;
    Str equals; // "=", or OPERATOR(schema.=)
} PgFoundColumn;

typedef struct PgFoundTable {
    bool exists;
    char kind; // pg_class.relkind
    PgFoundColumn *columns;
    size_t count;
} PgFoundTable;

/** Look the table up. In @arena. */
MUST_CHECK Status postgres_session_find(PgSession *session, SqlTable table, Arena *arena,
                                        PgFoundTable *ret, Error *err);

/** NULL when there is none of that name. */
const PgFoundColumn *postgres_find_column(const PgFoundTable *found, Str name);

// Arrays in text form.

enum { POSTGRES_ARRAY_MAX = 1 << 30 };

/** One more element of an array that buf_char(array, '}') ends. */
void postgres_array_add(Buf *array, Str value, bool is_null);
