// A subtransaction that is rolled back is one number in a list: its messages stay where they are
// and are passed over when the transaction is read back. A transaction id names one thing only for
// as long as its transaction is open: none comes round again before, as the server cannot let the
// ids of open transactions go.
#include "sources/postgres_spill.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/reader.h"

struct StreamedTransaction {
    uint32_t xid;
    Spill *spill;
    uint32_t *aborted; // subtransactions; sorted when the reading begins
    size_t aborted_count;
    size_t aborted_capacity;
    bool has_messages;
    bool is_ambiguous;
    bool is_reading;
    // The last answer: the messages of a subtransaction come in runs.
    uint32_t looked_up;
    bool was_aborted;
};

void streamed_init(StreamedTransactions *streamed, const char *directory, size_t memory_max)
{
    *streamed = (StreamedTransactions){.store = spill_store_new(directory, memory_max)};
}

void streamed_free(StreamedTransaction *transaction)
{
    if (transaction != NULL) {
        spill_free(transaction->spill);
        mem_free(transaction->aborted);
        mem_free(transaction);
    }
}

void streamed_drop(StreamedTransactions *streamed)
{
    size_t cursor = 0;
    void *value;
    while (map_next(&streamed->by_xid, &cursor, &value)) {
        streamed_free(value);
    }
    map_reset(&streamed->by_xid);
    streamed->receiving = NULL;
}

void streamed_done(StreamedTransactions *streamed)
{
    streamed_drop(streamed);
    map_done(&streamed->by_xid);
    spill_store_free(streamed->store);
    *streamed = (StreamedTransactions){0};
}

// ---------------------------------------------------------------------------------------------
// Receiving
// ---------------------------------------------------------------------------------------------

static char kind_of(Str message)
{
    return message.len == 0 ? '\0' : message.ptr[0];
}

// Whose it is. Origins alone do not say: they are the whole transaction's.
static bool xid_of(Str message, uint32_t *ret)
{
    Reader in = reader_from(message.ptr, message.len);
    uint8_t kind;
    return kind_of(message) != PGOUTPUT_ORIGIN && reader_u8(&in, &kind) && reader_u32(&in, ret);
}

static bool is_transactional_message(Str message)
{
    enum { FLAGS_AT = 1 + sizeof(uint32_t) };
    return kind_of(message) == PGOUTPUT_MESSAGE && message.len > FLAGS_AT &&
           message.ptr[FLAGS_AT] != 0;
}

bool streamed_is_part(Str message)
{
    switch (kind_of(message)) {
    case PGOUTPUT_ORIGIN:
    case PGOUTPUT_RELATION:
    case PGOUTPUT_TYPE:
    case PGOUTPUT_INSERT:
    case PGOUTPUT_UPDATE:
    case PGOUTPUT_DELETE:
    case PGOUTPUT_TRUNCATE:
        return true;
    case PGOUTPUT_MESSAGE:
        // The others happened whatever becomes of the transaction.
        return is_transactional_message(message);
    default:
        return false;
    }
}

Status streamed_start(StreamedTransactions *streamed, const PgoutputStreamStart *start, Error *err)
{
    assert(streamed->store != NULL);
    StreamedTransaction *known = map_get_u64(&streamed->by_xid, start->xid);
    if (streamed->receiving != NULL) {
        return error_set(err, ERROR_DATA, "the server began a segment inside another");
    }
    if (start->is_first != (known == NULL)) {
        return error_set(err, ERROR_DATA, "the server %s transaction %u",
                         known == NULL ? "went on with the unknown" : "began twice with",
                         start->xid);
    }
    if (known == NULL) {
        known = mem_alloc_zero(sizeof(*known));
        known->xid = start->xid;
        known->spill = spill_new(streamed->store);
        (void)map_put_u64(&streamed->by_xid, start->xid, known);
    }
    streamed->receiving = known;
    return STATUS_OK;
}

Status streamed_stop(StreamedTransactions *streamed, Error *err)
{
    if (streamed->receiving == NULL) {
        return error_set(err, ERROR_DATA, "the server ended a segment that it had not begun");
    }
    streamed->receiving = NULL;
    return STATUS_OK;
}

Status streamed_keep(StreamedTransactions *streamed, Str message, Error *err)
{
    StreamedTransaction *transaction = streamed->receiving;
    assert(transaction != NULL);
    assert(streamed_is_part(message));
    uint32_t xid;
    if (kind_of(message) != PGOUTPUT_ORIGIN && !xid_of(message, &xid)) {
        return error_set(err, ERROR_DATA, "a %s message of a running transaction is cut short",
                         pgoutput_kind_name((PgoutputKind)kind_of(message)));
    }
    if (kind_of(message) == PGOUTPUT_TYPE) {
        return STATUS_OK; // nobody reads them
    }
    transaction->has_messages = transaction->has_messages || kind_of(message) == PGOUTPUT_MESSAGE;
    if (spill_append(transaction->spill, message, err) != STATUS_OK) {
        return error_wrap(err, "keep transaction %u, which is still running", transaction->xid);
    }
    return STATUS_OK;
}

static void add_aborted(StreamedTransaction *transaction, uint32_t xid)
{
    if (transaction->aborted_count == transaction->aborted_capacity) {
        transaction->aborted_capacity = MAX(transaction->aborted_capacity * 2, (size_t)16);
        transaction->aborted =
            mem_resize(transaction->aborted, transaction->aborted_capacity * sizeof(uint32_t));
    }
    transaction->aborted[transaction->aborted_count++] = xid;
    transaction->is_ambiguous = transaction->is_ambiguous || transaction->has_messages;
}

void streamed_abort(StreamedTransactions *streamed, const PgoutputStreamAbort *abort)
{
    StreamedTransaction *transaction = map_get_u64(&streamed->by_xid, abort->xid);
    if (transaction == NULL) {
        return;
    }
    assert(transaction != streamed->receiving); // the decoder lets none come inside a segment
    if (abort->subxid != abort->xid) {
        add_aborted(transaction, abort->subxid);
        return;
    }
    (void)map_remove_u64(&streamed->by_xid, abort->xid);
    streamed_free(transaction);
}

// ---------------------------------------------------------------------------------------------
// Reading back
// ---------------------------------------------------------------------------------------------

Status streamed_commit(StreamedTransactions *streamed, uint32_t xid, StreamedTransaction **ret,
                       Error *err)
{
    StreamedTransaction *transaction = map_remove_u64(&streamed->by_xid, xid);
    if (transaction == NULL) {
        return error_set(err, ERROR_DATA, "the server committed the unknown transaction %u", xid);
    }
    assert(transaction != streamed->receiving);
    *ret = transaction;
    return STATUS_OK;
}

bool streamed_is_ambiguous(const StreamedTransaction *transaction)
{
    return transaction->is_ambiguous;
}

static int compare_xids(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static bool is_aborted(StreamedTransaction *transaction, Str message)
{
    uint32_t xid;
    if (transaction->aborted_count == 0 || !xid_of(message, &xid)) {
        return false;
    }
    if (xid != transaction->looked_up) {
        transaction->looked_up = xid;
        transaction->was_aborted = bsearch(&xid, transaction->aborted, transaction->aborted_count,
                                           sizeof(xid), compare_xids) != NULL;
    }
    return transaction->was_aborted;
}

Status streamed_next(StreamedTransaction *transaction, Str *ret, Error *err)
{
    if (!transaction->is_reading) {
        transaction->is_reading = true;
        if (transaction->aborted_count > 1) {
            qsort(transaction->aborted, transaction->aborted_count, sizeof(uint32_t), compare_xids);
        }
    }
    Str message;
    Status status = spill_next(transaction->spill, &message, err);
    if (status != STATUS_OK) {
        return status;
    }
    *ret = is_aborted(transaction, message) ? (Str){0} : message;
    return STATUS_OK;
}
