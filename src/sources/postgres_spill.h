// Transactions that the server sends while they run, in segments, with those of others in between:
// each is kept as it came until it commits, then read back in order, or dropped when it aborts.
//
// Nothing here knows of tables or batches: a streamed transaction goes in as pgoutput messages and
// comes out as the messages that count.
//
// Thread: the source's.
#pragma once

#include "base/map.h"
#include "io/spill.h"
#include "pg/pgoutput.h"

/** One that has not ended, or that has committed and is being read back. */
typedef struct StreamedTransaction StreamedTransaction;

/** Zero-initialised holds nothing and can be done with. */
typedef struct StreamedTransactions {
    SpillStore *store;
    Map by_xid;                     // StreamedTransaction
    StreamedTransaction *receiving; // whose segment is open; NULL: between segments
} StreamedTransactions;

/** As of spill_store_new(). */
void streamed_init(StreamedTransactions *streamed, const char *directory, size_t memory_max);

/** Drop everything. Those that streamed_commit() has handed out have to be freed before. */
void streamed_done(StreamedTransactions *streamed);

/** Forget those that have not committed, as if none had been sent. */
void streamed_drop(StreamedTransactions *streamed);

/** Whether @message is one that is kept: it changes nothing before its transaction commits. Logical
 *  messages are none: in a segment it cannot be told to which subtransaction one belongs. */
bool streamed_is_part(Str message);

/** A segment begins and ends. ERROR_DATA when it cannot. */
MUST_CHECK Status streamed_start(StreamedTransactions *streamed, const PgoutputStreamStart *start,
                                 Error *err);
MUST_CHECK Status streamed_stop(StreamedTransactions *streamed, Error *err);

/** A message of the open segment, as it was sent. */
MUST_CHECK Status streamed_keep(StreamedTransactions *streamed, Str message, Error *err);

/** A transaction or one of its subtransactions was rolled back. One that is not known is none. */
void streamed_abort(StreamedTransactions *streamed, const PgoutputStreamAbort *abort);

/** The transaction is whole, and the caller's from now on. ERROR_DATA when it is not known. */
MUST_CHECK Status streamed_commit(StreamedTransactions *streamed, uint32_t xid,
                                  StreamedTransaction **ret, Error *err);

/**
 * The subtransactions that messages of it belong to and that were not rolled back, as far as the
 * server has said; valid as long as @transaction.
 */
size_t streamed_subtransactions(StreamedTransaction *transaction, const uint32_t **ret);

/**
 * The next message, valid until the next call: empty in the place of one that was rolled back, so
 * that a call is never long. STATUS_AGAIN behind the last one.
 */
MUST_CHECK Status streamed_next(StreamedTransaction *transaction, Str *ret, Error *err);

/** Accepts NULL. */
void streamed_free(StreamedTransaction *transaction);
