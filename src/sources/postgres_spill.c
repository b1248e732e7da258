// A subtransaction that is rolled back is one number in a list: its messages stay where they are
// and are passed over when the transaction is read back. A transaction id names one thing only for
// as long as its transaction is open: none comes round again before, as the server cannot let the
// ids of open transactions go.
#include "sources/postgres_spill.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/reader.h"

typedef struct XidList {
    uint32_t *items;
    size_t count;
    size_t capacity;
} XidList;

struct StreamedTransaction {
    uint32_t xid;
    Spill *spill;
    XidList seen;    // subtransactions with messages
    XidList aborted; // subtransactions that the server said were rolled back
    bool is_whole;   // it has committed: the lists are sorted
    uint32_t kept;   // whose message was kept last
    // The last answer of is_aborted(): the messages of a subtransaction come in runs.
    uint32_t looked_up;
    bool was_aborted;
};

// ---------------------------------------------------------------------------------------------
// Lists of transaction ids
// ---------------------------------------------------------------------------------------------

static int compare_xids(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static void list_sort(XidList *list)
{
    if (list->count < 2) {
        return;
    }
    qsort(list->items, list->count, sizeof(*list->items), compare_xids);
    size_t kept = 1;
    for (size_t i = 1; i < list->count; i++) {
        if (list->items[i] != list->items[kept - 1]) {
            list->items[kept++] = list->items[i];
        }
    }
    list->count = kept;
}

// It counts as memory of the spills: a transaction may have millions of subtransactions.
static void list_resize(XidList *list, size_t capacity)
{
    size_t size = sizeof(*list->items);
    spill_memory_change(list->capacity * size, capacity * size);
    list->capacity = capacity;
    list->items = mem_resize(list->items, capacity * size);
}

static void list_free(XidList *list)
{
    spill_memory_change(list->capacity * sizeof(*list->items), 0);
    mem_free(list->items);
}

// Doubles are thrown out before more memory is taken: two that take turns need no more than two.
static void list_add(XidList *list, uint32_t xid)
{
    if (list->count == list->capacity) {
        list_sort(list);
        if (list->count >= list->capacity / 2) {
            list_resize(list, MAX(list->capacity * 2, (size_t)16));
        }
    }
    list->items[list->count++] = xid;
}

static bool list_has(const XidList *list, uint32_t xid)
{
    return list->count > 0 &&
           bsearch(&xid, list->items, list->count, sizeof(xid), compare_xids) != NULL;
}

// ---------------------------------------------------------------------------------------------
// All of them
// ---------------------------------------------------------------------------------------------

void streamed_init(StreamedTransactions *streamed, const char *directory, size_t memory_max)
{
    *streamed = (StreamedTransactions){.store = spill_store_new(directory, memory_max)};
}

void streamed_free(StreamedTransaction *transaction)
{
    if (transaction != NULL) {
        spill_free(transaction->spill);
        list_free(&transaction->seen);
        list_free(&transaction->aborted);
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
    uint32_t xid = transaction->xid;
    if (kind_of(message) != PGOUTPUT_ORIGIN && !xid_of(message, &xid)) {
        return error_set(err, ERROR_DATA, "a %s message of a running transaction is cut short",
                         pgoutput_kind_name((PgoutputKind)kind_of(message)));
    }
    if (kind_of(message) == PGOUTPUT_TYPE) {
        return STATUS_OK; // nobody reads them
    }
    if (xid != transaction->kept && xid != transaction->xid) {
        list_add(&transaction->seen, xid);
    }
    transaction->kept = xid;
    if (spill_append(transaction->spill, message, err) != STATUS_OK) {
        return error_wrap(err, "keep transaction %u, which is still running", transaction->xid);
    }
    return STATUS_OK;
}

void streamed_abort(StreamedTransactions *streamed, const PgoutputStreamAbort *abort)
{
    StreamedTransaction *transaction = map_get_u64(&streamed->by_xid, abort->xid);
    if (transaction == NULL) {
        return;
    }
    assert(transaction != streamed->receiving); // the decoder lets none come inside a segment
    if (abort->subxid != abort->xid) {
        list_add(&transaction->aborted, abort->subxid);
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
    transaction->is_whole = true;
    list_sort(&transaction->seen);
    list_sort(&transaction->aborted);
    XidList *seen = &transaction->seen;
    size_t kept = 0;
    for (size_t i = 0; i < seen->count; i++) {
        if (!list_has(&transaction->aborted, seen->items[i])) {
            seen->items[kept++] = seen->items[i];
        }
    }
    seen->count = kept;
    *ret = transaction;
    return STATUS_OK;
}

size_t streamed_subtransactions(StreamedTransaction *transaction, const uint32_t **ret)
{
    assert(transaction->is_whole);
    *ret = transaction->seen.items;
    return transaction->seen.count;
}

static bool is_aborted(StreamedTransaction *transaction, Str message)
{
    uint32_t xid;
    if (transaction->aborted.count == 0 || !xid_of(message, &xid)) {
        return false;
    }
    if (xid != transaction->looked_up) {
        transaction->looked_up = xid;
        transaction->was_aborted = list_has(&transaction->aborted, xid);
    }
    return transaction->was_aborted;
}

Status streamed_next(StreamedTransaction *transaction, Str *ret, Error *err)
{
    assert(transaction->is_whole);
    Str message;
    Status status = spill_next(transaction->spill, &message, err);
    if (status != STATUS_OK) {
        return status;
    }
    *ret = is_aborted(transaction, message) ? (Str){0} : message;
    return STATUS_OK;
}
