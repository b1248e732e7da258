// The model of a source: the contract of pipeline/source.h on what happened in the world.
#include <assert.h>

#include "base/mem.h"
#include "change/batch.h"
#include "sim.h"

enum { LOOK_US = 2000000, LOOK_OFTEN_US = 20000, POLL_TXS = 4 };

struct Snapshot {
    Lsn lsn;
    uint16_t attnum_max[TABLES];
    Row rows[TABLES][KEYS];
};

struct CopyReader {
    const Snapshot *snapshot;
    const Relation *relation;
    const Relation *now; // what its columns' names mean to the server
    Cancel *cancel;
    uint32_t key;
    uint64_t ordinal;
};

typedef struct Look {
    bool is_there;
    uint8_t version;
    uint32_t absences;
} Look;

typedef struct SimSource {
    Source base;
    bool copy_is_wanted;
    bool is_started;
    Position end;
    uint32_t tx;     // that comes next
    uint32_t change; // in it
    bool in_transaction;
    const Relation *announced[TABLES];
    bool is_told[TABLES];
    uint32_t told[TABLES]; // absences that were told + 1; 0: none
    Look look[TABLES];
    Lsn look_at; // LSN_NONE: nothing is to be told
    int64_t looked_us;
    bool is_fresh;
    Snapshot *fresh; // of the slot that resume() made
    int copy;        // which of the two descriptions the stream uses
    SourceTable items[TABLES];
    SourceTables tables;
} SimSource;

static Cancel *cancel_of(Source *source)
{
    return source->context.cancel;
}

static Status call(Source *source, const char *what, Error *err)
{
    return sim_call(what, cancel_of(source)) ? STATUS_OK : sim_error(cancel_of(source), what, err);
}

static Status source_validates(Source *source, Error *err)
{
    (void)err;
    source->copies = world.copies && ((SimSource *)source)->copy_is_wanted;
    return STATUS_OK;
}

static Status source_opens(Source *source, Error *err)
{
    sim_begun(cancel_of(source));
    sim_check(source->context.subject == &world, "the source was not handed its subject");
    return call(source, "source open", err);
}

static Snapshot *take_snapshot(void)
{
    Snapshot *snapshot = mem_alloc(sizeof(*snapshot));
    snapshot->lsn = world.head;
    for (uint32_t i = 0; i < world.table_count; i++) {
        snapshot->attnum_max[i] = world.tables[i].attnum_max;
        memcpy(snapshot->rows[i], world.tables[i].rows, sizeof(snapshot->rows[i]));
    }
    world_snapshot();
    return snapshot;
}

// ---------------------------------------------------------------------------------------------
// Where to begin
// ---------------------------------------------------------------------------------------------

static void make_slot(SimSource *self, Checkpoint *changed)
{
    char text[POSITION_TEXT_SIZE];
    world.has_slot = true;
    world.confirmed = world.head;
    self->end = (Position){world.head, 0};
    mem_free(self->fresh);
    self->fresh = take_snapshot();
    position_format(self->end, text);
    checkpoint_set(changed, STR("position"), str_from(text));
    checkpoint_set(changed, STR("source"), STR("sim"));
    sim_trace("slot at %s", text);
}

// The server skips what was committed before the position; a message outside transactions, which is
// where it ends, is known to have been delivered.
static void find_place(SimSource *self)
{
    self->tx = 0;
    for (; self->tx < world.tx_count; self->tx++) {
        const WorldTx *tx = &world.txs[self->tx];
        bool is_message = tx->commit_lsn == tx->end_lsn;
        if (tx->commit_lsn >= self->end.lsn && !(is_message && tx->end_lsn <= self->end.lsn)) {
            return;
        }
    }
}

static void look(SimSource *self)
{
    self->look_at = world.head;
    self->looked_us = sim_now_us();
    memset(self->look, 0, sizeof(self->look));
    for (uint32_t i = 0; i < world.table_count; i++) {
        const WorldTable *table = &world.tables[i];
        self->look[i] = (Look){world_wants(table), table->version, table->absences};
    }
}

static void know_tables(SimSource *self, const Checkpoint *checkpoint)
{
    for (uint32_t i = 0; i < world.table_count; i++) {
        const WorldTable *table = &world.tables[i];
        char key[24];
        (void)snprintf(key, sizeof(key), "table:%u", table->oid);
        self->is_told[i] = checkpoint_get(checkpoint, str_from(key)) != NULL;
        self->told[i] = 0;
    }
}

static Status source_resumes(Source *source, const Checkpoint *checkpoint, Checkpoint *changed,
                             Error *err)
{
    SimSource *self = (SimSource *)source;
    if (call(source, "source resume", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const CheckpointEntry *entry = checkpoint_get(checkpoint, STR("position"));
    self->is_fresh = entry == NULL;
    if (entry == NULL) {
        look(self);
        if (call(source, "make slot", err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        make_slot(self, changed);
    } else {
        sim_check(position_parse(entry->value, &self->end), "a stored position is damaged");
        sim_check(self->end.lsn >= world.confirmed,
                  "what is behind " LSN_FMT " is asked for, but " LSN_FMT " was confirmed",
                  LSN_ARG(self->end.lsn), LSN_ARG(world.confirmed));
        sim_check(self->end.ordinal == 0 || sim_seen.cut > 0,
                  "a position inside a transaction is stored");
    }
    find_place(self);
    know_tables(self, checkpoint);
    self->copy = (int)sim_below(2);
    sim_trace("source continues at " LSN_FMT, LSN_ARG(self->end.lsn));
    return call(source, "source resumed", err);
}

// The table as it was then.
static const Relation *seen(const SimSource *self, uint32_t at)
{
    const Look *look = &self->look[at];
    return &world.tables[at].version_list[look->version].relations[0][look->absences + 1];
}

static Status source_lists(Source *source, const SourceTables **ret, Error *err)
{
    SimSource *self = (SimSource *)source;
    if (call(source, "source tables", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!self->is_fresh) {
        look(self);
    }
    self->tables = (SourceTables){.items = self->items};
    for (uint32_t i = 0; i < world.table_count; i++) {
        bool is_left_alone = source->context.keeps_tables && !self->is_told[i];
        if (self->look[i].is_there && !is_left_alone) {
            self->told[i] = self->look[i].absences + 1;
            self->is_told[i] = self->is_told[i] || self->is_fresh;
            self->items[self->tables.count++] = (SourceTable){seen(self, i), -1, -1};
        }
    }
    *ret = &self->tables;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Copies
// ---------------------------------------------------------------------------------------------

static Status snapshot_opens(Source *source, Snapshot **ret, Lsn *ret_at, Error *err)
{
    SimSource *self = (SimSource *)source;
    if (call(source, "snapshot open", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Snapshot *snapshot;
    if (self->fresh != NULL && !self->is_started) {
        snapshot = mem_alloc(sizeof(*snapshot));
        *snapshot = *self->fresh;
    } else {
        world.head += 1 + sim_below(4); // the slot that exports it writes a record
        snapshot = take_snapshot();
    }
    *ret = snapshot;
    *ret_at = snapshot->lsn;
    sim_trace("snapshot at " LSN_FMT, LSN_ARG(snapshot->lsn));
    (void)sim_call("snapshot opened", NULL);
    return STATUS_OK;
}

static void snapshot_closes(Snapshot *snapshot)
{
    mem_free(snapshot);
}

// A table is read by its name and columns as they are now.
static const char *mismatch(const Relation *relation)
{
    const WorldTable *table = world_find(relation->oid);
    const Relation *now = world_relation(table, 0);
    if (!table->exists || !str_equal(now->name, relation->name)) {
        return "the table was dropped meanwhile";
    }
    bool same = now->column_count == relation->column_count;
    for (uint16_t i = 0; same && i < now->column_count; i++) {
        same = str_equal(now->columns[i].name, relation->columns[i].name);
    }
    return same ? NULL : "the table got other columns while it waited";
}

static Status copy_opens(Source *source, Snapshot *snapshot, const Relation *relation,
                         Cancel *cancel, CopyReader **ret, Error *err)
{
    if (call(source, "copy open", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const char *why = mismatch(relation);
    if (why != NULL) {
        return error_set(err, ERROR_TRANSIENT, "%s", why);
    }
    if (world_find(relation->oid)->rewritten_at >= snapshot->lsn) {
        sim_seen.vain_copies++;
        return STATUS_AGAIN; // rows of before are gone
    }
    CopyReader *reader = mem_alloc_zero(sizeof(*reader));
    reader->snapshot = snapshot;
    reader->relation = relation;
    sim_seen.side_copies += ((SimSource *)source)->is_started;
    reader->now = world_relation(world_find(relation->oid), 0);
    reader->cancel = cancel;
    *ret = reader;
    return STATUS_OK;
}

static void add_value(Batch *batch, Value *value, uint32_t number)
{
    char text[16];
    int len = snprintf(text, sizeof(text), "%u", number);
    *value = number == 0
                 ? (Value){.state = VALUE_NULL}
                 : (Value){batch_bytes(batch, text, (size_t)len), (uint32_t)len, VALUE_TEXT};
}

static Value *add_row(Batch *batch, const Relation *relation, const uint32_t *values,
                      uint8_t unchanged)
{
    Value *row = batch_row(batch, relation->column_count);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        int16_t attnum = relation->columns[i].attnum;
        if ((unchanged & (1u << attnum)) != 0) {
            row[i].state = VALUE_UNCHANGED;
        } else {
            add_value(batch, &row[i], values[attnum]);
        }
    }
    return row;
}

// A row of before a column was added reads the column's constant default.
static void read_row(const CopyReader *reader, const Row *row, uint32_t *ret_values)
{
    const WorldTable *table = world_find(reader->relation->oid);
    memcpy(ret_values, row->values, sizeof(row->values));
    for (uint16_t i = 0; i < reader->now->column_count; i++) {
        const Column *column = &reader->now->columns[i];
        uint64_t value = 0;
        if (column->attnum > reader->snapshot->attnum_max[table - world.tables] &&
            column->missing_value.ptr != NULL && str_to_uint64(column->missing_value, &value)) {
            ret_values[column->attnum] = (uint32_t)value;
        }
    }
}

static Status copy_reads(CopyReader *reader, Batch **ret, Error *err)
{
    *ret = NULL;
    if (!sim_call("copy read", reader->cancel)) {
        return sim_error(reader->cancel, "copy read", err);
    }
    const Relation *relation = reader->relation;
    const Row *rows = reader->snapshot->rows[world_find(relation->oid) - world.tables];
    Batch *batch = batch_new();
    Transaction *transaction = arena_alloc_zero(&batch->arena, sizeof(*transaction));
    transaction->commit_lsn = reader->snapshot->lsn;
    size_t most = 1 + sim_below(4);
    while (reader->key < KEYS && batch->count < most) {
        const Row *row = &rows[reader->key++];
        if (row->is_there) {
            Change *change = batch_add(batch);
            change->op = CHANGE_READ;
            change->relation = relation;
            uint32_t values[ATTNUMS + 1];
            read_row(reader, row, values);
            change->new_row = add_row(batch, reader->now, values, 0);
            change->transaction = transaction;
            change->ordinal = ++reader->ordinal;
        }
    }
    if (batch->count == 0) {
        batch_unref(batch);
        return STATUS_OK;
    }
    batch->bytes += sim_weight();
    batch_seal(batch, (Position){reader->snapshot->lsn, reader->ordinal}, true);
    *ret = batch;
    return STATUS_OK;
}

// Held changes are copies.
void __real_batch_add_copy(Batch *batch, const Change *change, const Transaction *transaction);
void __wrap_batch_add_copy(Batch *batch, const Change *change, const Transaction *transaction);

void __wrap_batch_add_copy(Batch *batch, const Change *change, const Transaction *transaction)
{
    __real_batch_add_copy(batch, change, transaction);
    batch->bytes += sim_weight();
}

static void copy_closes(CopyReader *reader)
{
    mem_free(reader);
}

// ---------------------------------------------------------------------------------------------
// The stream
// ---------------------------------------------------------------------------------------------

static const Relation *described(SimSource *self, const WorldChange *change)
{
    const WorldTable *table = &world.tables[change->table];
    const Version *version = &table->version_list[change->version];
    if (self->told[change->table] == 0 && world_wants(table)) {
        self->told[change->table] = table->absences + 1; // it is asked for
    }
    return &version->relations[self->copy][self->told[change->table]];
}

static void announce(SimSource *self, Batch *batch, const WorldChange *from,
                     const Transaction *transaction)
{
    const Relation *relation = described(self, from);
    if (self->announced[from->table] == relation && !sim_chance(50)) {
        return;
    }
    self->announced[from->table] = relation;
    self->is_told[from->table] = true;
    Change *change = batch_add(batch);
    change->op = CHANGE_SCHEMA;
    change->relation = relation;
    change->transaction = transaction;
    change->ordinal = from->ordinal;
}

static void add_message(Batch *batch, Change *change)
{
    LogicalMessage *message = arena_alloc_zero(&batch->arena, sizeof(*message));
    message->prefix = STR("sim");
    message->content = STR("");
    change->message = message;
}

static void add_change(SimSource *self, Batch *batch, const WorldChange *from,
                       const Transaction *transaction)
{
    if (from->op != CHANGE_MESSAGE) {
        announce(self, batch, from, transaction);
    }
    Change *change = batch_add(batch);
    change->op = (ChangeOp)from->op;
    change->transaction = transaction;
    change->ordinal = from->ordinal;
    if (from->op == CHANGE_MESSAGE) {
        add_message(batch, change);
        return;
    }
    const Relation *relation = described(self, from);
    change->relation = relation;
    if (from->op == CHANGE_INSERT || from->op == CHANGE_UPDATE) {
        change->new_row = add_row(batch, relation, from->values, from->unchanged);
    }
    if (from->op == CHANGE_DELETE ||
        (from->op == CHANGE_UPDATE && from->old_key != from->new_key)) {
        Value *old_row = batch_row(batch, relation->column_count);
        add_value(batch, &old_row[0], from->old_key + 1u);
        change->old_row = old_row;
    }
}

// The next transaction, or a part of it. False: cut.
static bool add_transaction(SimSource *self, Batch *batch)
{
    const WorldTx *tx = &world.txs[self->tx];
    Transaction *transaction = NULL;
    for (; self->change < tx->count; self->change++) {
        const WorldChange *change = &world.changes[tx->first + self->change];
        if (!change->is_published) {
            continue;
        }
        if (transaction == NULL) {
            transaction = arena_alloc_zero(&batch->arena, sizeof(*transaction));
            transaction->commit_lsn = tx->commit_lsn;
            transaction->xid = self->tx + 1;
        }
        add_change(self, batch, change, transaction);
        self->end = (Position){tx->commit_lsn, change->ordinal};
        if (change->ordinal < tx->published && sim_chance(100)) {
            self->change++;
            self->in_transaction = true;
            return false;
        }
    }
    self->in_transaction = false;
    self->change = 0;
    self->end = (Position){tx->end_lsn, 0};
    self->tx++;
    return true;
}

static void tell_news(SimSource *self, Batch *batch)
{
    Transaction *now = arena_alloc_zero(&batch->arena, sizeof(*now));
    now->commit_lsn = self->end.lsn;
    for (uint32_t i = 0; i < TABLES; i++) {
        const Look *seen = &self->look[i];
        bool is_told = self->is_told[i] && self->told[i] == seen->absences + 1;
        if (!seen->is_there || is_told) {
            continue;
        }
        const WorldTable *table = &world.tables[i];
        self->is_told[i] = true;
        self->told[i] = seen->absences + 1;
        Change *change = batch_add(batch);
        change->op = CHANGE_SCHEMA;
        change->relation = &table->version_list[seen->version].relations[self->copy][self->told[i]];
        change->transaction = now;
        change->ordinal = 1;
        self->announced[i] = sim_chance(500) ? change->relation : NULL;
        sim_trace("news of table %u at " LSN_FMT ", absences %u", table->oid,
                  LSN_ARG(self->end.lsn), seen->absences);
    }
    self->look_at = LSN_NONE;
}

static void serve_news(SimSource *self, Batch *batch)
{
    if (self->in_transaction) {
        return;
    }
    if (self->look_at != LSN_NONE && self->end.lsn >= self->look_at) {
        tell_news(self, batch);
    }
    int64_t rest_us = world.is_restless ? LOOK_OFTEN_US : LOOK_US;
    if (self->look_at == LSN_NONE && sim_now_us() - self->looked_us >= rest_us) {
        look(self);
    }
}

static Batch *take(SimSource *self)
{
    Position before = self->end;
    Batch *batch = batch_new();
    uint32_t most = 1 + sim_below(POLL_TXS);
    bool is_whole = true;
    for (uint32_t i = 0; is_whole && i < most && self->tx < world.tx_count; i++) {
        is_whole = add_transaction(self, batch);
        serve_news(self, batch);
    }
    if (is_whole && self->tx == world.tx_count && self->end.lsn < world.head) {
        self->end = (Position){world.head, 0}; // a keepalive
    }
    serve_news(self, batch);
    bool moved = position_compare(self->end, before) > 0;
    if (batch->count == 0 && !moved) {
        batch_unref(batch);
        return NULL;
    }
    batch->bytes += sim_weight();
    batch_seal(batch, self->end, !self->in_transaction);
    char text[POSITION_TEXT_SIZE];
    position_format(self->end, text);
    sim_trace("batch of %zu changes to %s%s", batch->count, text,
              batch->ends_transaction ? "" : ", a part");
    return batch;
}

static Status source_polls(Source *source, int timeout_ms, int wake_fd, Batch **ret, Error *err)
{
    SimSource *self = (SimSource *)source;
    self->is_started = true;
    sim_polled();
    if (!sim_call("poll", cancel_of(source))) {
        sim_poll_failed(cancel_of(source));
        return sim_error(cancel_of(source), "poll", err);
    }
    Batch *batch = ret == NULL ? NULL : take(self);
    if (batch != NULL) {
        *ret = batch;
        return STATUS_OK;
    }
    sim_bell_wait(wake_fd, (int64_t)timeout_ms * 1000);
    return STATUS_AGAIN;
}

static void source_confirms(Source *source, Position position)
{
    (void)source;
    if (position.lsn <= world.confirmed) {
        return;
    }
    sim_trace("confirm " LSN_FMT, LSN_ARG(position.lsn));
    sim_check(position.lsn <= world.head, "more is confirmed than there is");
    targets_check_confirmed(position);
    world.confirmed = position.lsn;
}

static Status source_now(Source *source, Lsn *ret, Error *err)
{
    *ret = world.head;
    return call(source, "source now", err);
}

static Lsn source_head(const Source *source)
{
    (void)source;
    return world.head;
}

static void source_closes(Source *source)
{
    mem_free(((SimSource *)source)->fresh);
    (void)sim_call("source close", NULL);
}

// Only for who asks whether it could be there.
static Status copy_reads_rows(CopyReader *reader, CopyForm form, Str *ret, size_t *ret_count,
                              Error *err)
{
    (void)reader;
    (void)form;
    (void)ret;
    (void)ret_count;
    (void)err;
    sim_fail("rows are read in a form that no sink takes");
}

static const Option options[] = {
    {"copy", OPTION_BOOL(SimSource, copy_is_wanted), .fallback = "true", .help = ""}, {0}};

const SourceOps sim_source = {
    .name = "sim",
    .summary = "",
    .options = options,
    .instance_size = sizeof(SimSource),
    .validate = source_validates,
    .open = source_opens,
    .resume = source_resumes,
    .tables = source_lists,
    .snapshot_open = snapshot_opens,
    .snapshot_close = snapshot_closes,
    .copy_open = copy_opens,
    .copy_read = copy_reads,
    .copy_read_rows = copy_reads_rows,
    .copy_close = copy_closes,
    .poll = source_polls,
    .confirm = source_confirms,
    .now = source_now,
    .head = source_head,
    .close = source_closes,
};
