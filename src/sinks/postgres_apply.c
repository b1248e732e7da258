// Mirror: the target's rows are the source's rows.
//
// A run of changes is compacted to one change per key and applied in sets: deletes, inserts by
// COPY, updates grouped by the columns they know. A few changes are applied one by one, as nothing
// is waited for in between. Where one way is refused, the run is taken back and tried in the other
// one: sets can meet what single changes would not (two rows that exchange a unique value, a
// trigger that counts), and the other way round. Only if that fails too it is an error.
//
// Every statement checks how many rows it touched: a row that should be there and is not means that
// the target is no mirror any more, and nobody may be left to believe it is.
#include <assert.h>

#include "sinks/postgres_sink.h"

// So many changes are sent one by one before their results are asked for: a set would take longer
// to begin than they do.
enum { LONE_MAX = 2, FEW_MAX = 20 };

// ---------------------------------------------------------------------------------------------
// Folded runs
// ---------------------------------------------------------------------------------------------

static Status copy_inserts(PostgresSink *sink, const PgTarget *target, const CompactedTable *table,
                           Error *err)
{
    if (table->count_by_op[COMPACTED_INSERT] == 0) {
        return STATUS_OK;
    }
    if (postgres_copy_values_into(sink, target, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < table->row_count; i++) {
        if (table->rows[i].op == COMPACTED_INSERT &&
            postgres_copy_row(sink, table->rows[i].row, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return postgres_copy_end(sink, err);
}

static Status apply_compacted(PostgresSink *sink, const Compacted *compacted, Error *err)
{
    // All deletes before all inserts, over all tables: a row may move from one partition to
    // another.
    for (size_t i = 0; i < compacted->table_count; i++) {
        const CompactedTable *table = &compacted->tables[i];
        const PgTarget *target = postgres_target(sink, table->relation);
        if (postgres_apply_sets(sink, target, table, COMPACTED_DELETE, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    for (size_t i = 0; i < compacted->table_count; i++) {
        const CompactedTable *table = &compacted->tables[i];
        const PgTarget *target = postgres_target(sink, table->relation);
        if (copy_inserts(sink, target, table, err) != STATUS_OK ||
            postgres_apply_sets(sink, target, table, COMPACTED_UPDATE, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status apply_in_order(PostgresSink *sink, const Change *changes, size_t count, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        bool has_row = changes[i].relation != NULL && changes[i].op != CHANGE_SCHEMA;
        if (has_row && postgres_apply_one(sink, &changes[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

typedef enum Way { IN_SETS, IN_ORDER } Way;

// All or nothing of the run. What comes out of it is about the run: nothing else is waited for.
static Status apply_way(PostgresSink *sink, Way way, const Change *changes,
                        const Compacted *compacted, Error *err)
{
    const PgStatement begin = {.sql = "SAVEPOINT weir"};
    const PgStatement end = {.sql = "RELEASE weir"};
    if (postgres_session_send(&sink->session, &begin, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status = way == IN_SETS ? apply_compacted(sink, compacted, err)
                                   : apply_in_order(sink, changes, compacted->consumed, err);
    // Not before the results are there, or nothing could be taken back.
    return status == STATUS_OK && postgres_session_settle(&sink->session, err) == STATUS_OK
               ? postgres_session_send(&sink->session, &end, err)
               : STATUS_FAIL;
}

static Status take_back(PostgresSink *sink, Error *err)
{
    postgres_session_drop_results(&sink->session);
    return postgres_copy_abort(sink, err) == STATUS_OK
               ? postgres_run(sink, "ROLLBACK TO weir; RELEASE weir", err)
               : STATUS_FAIL;
}

// Each way can do what the other cannot: sets what a constraint checks at the end of a statement,
// single changes what it checks at each. When neither can, the change that was refused is told.
static Status apply_either_way(PostgresSink *sink, const Change *changes,
                               const Compacted *compacted, Error *err)
{
    Way first = compacted->consumed <= FEW_MAX ? IN_ORDER : IN_SETS;
    Way second = first == IN_SETS ? IN_ORDER : IN_SETS;
    Error failures[2] = {0};
    if (apply_way(sink, first, changes, compacted, &failures[first]) == STATUS_OK) {
        return STATUS_OK;
    }
    bool can_go_on = failures[first].kind == ERROR_DATA && !sink->session.is_trying &&
                     PQstatus(sink->session.conn) == CONNECTION_OK;
    if (!can_go_on) {
        *err = failures[first];
        return STATUS_FAIL;
    }
    if (take_back(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (apply_way(sink, second, changes, compacted, &failures[second]) == STATUS_OK) {
        return STATUS_OK;
    }
    bool is_refused = failures[second].kind == ERROR_DATA;
    *err = failures[is_refused ? IN_ORDER : second];
    return STATUS_FAIL;
}

static Status apply_folded(PostgresSink *sink, const Change *changes, const Compacted *compacted,
                           Error *err)
{
    if (compacted->table_count == 0) {
        return STATUS_OK;
    }
    // A lone change: a savepoint would cost more than it could save.
    if (compacted->consumed <= LONE_MAX) {
        return apply_in_order(sink, changes, compacted->consumed, err);
    }
    // Changes that were sent before are no part of this run: nobody may try them in another way.
    return postgres_session_settle_changes(&sink->session, err) == STATUS_OK
               ? apply_either_way(sink, changes, compacted, err)
               : STATUS_FAIL;
}

// ---------------------------------------------------------------------------------------------
// Runs
// ---------------------------------------------------------------------------------------------

// Copied rows need no folding: they go in as they come, and the COPY stays open for more.
static Status copy_reads(PostgresSink *sink, const Change *changes, size_t count, Error *err)
{
    const PgTarget *target = postgres_target(sink, changes[0].relation);
    if (postgres_copy_values_into(sink, target, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < count; i++) {
        if (postgres_copy_row(sink, changes[i].new_row, err) != STATUS_OK) {
            return error_wrap(err, "insert into %" STR_FMT, STR_ARG(target->name));
        }
    }
    return STATUS_OK;
}

static size_t reads_together(const Change *changes, size_t count)
{
    size_t run = 0;
    while (run < count && changes[run].op == CHANGE_READ &&
           changes[run].relation == changes[0].relation) {
        run++;
    }
    return run;
}

// Tables that were truncated together have to be truncated together: foreign keys between them.
static size_t truncates_together(const Change *changes, size_t count)
{
    size_t run = 1;
    while (run < count && changes[run].op == CHANGE_TRUNCATE &&
           changes[run].transaction == changes[0].transaction) {
        run++;
    }
    return run;
}

static Status truncate(PostgresSink *sink, const Change *changes, size_t count, Error *err)
{
    Str *names = ARENA_ARRAY(&sink->scratch, Str, count);
    for (size_t i = 0; i < count; i++) {
        names[i] = postgres_target(sink, changes[i].relation)->name;
    }
    return postgres_empty(sink, names, count, err);
}

static Status apply_run(PostgresSink *sink, const Change *changes, size_t count, size_t *ret_taken,
                        Error *err)
{
    *ret_taken = reads_together(changes, count);
    if (*ret_taken > 0) {
        return copy_reads(sink, changes, *ret_taken, err);
    }
    if (changes[0].op == CHANGE_TRUNCATE) {
        *ret_taken = truncates_together(changes, count);
        return truncate(sink, changes, *ret_taken, err);
    }
    Compacted compacted;
    compact(changes, count, MOVES_ARE_BARRIERS, &sink->scratch, &compacted);
    *ret_taken = compacted.consumed;
    if (apply_folded(sink, changes, &compacted, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (compacted.barrier != NULL && compacted.barrier->op != CHANGE_TRUNCATE) {
        *ret_taken += 1;
        return postgres_apply_one(sink, compacted.barrier, err);
    }
    return STATUS_OK;
}

Status postgres_mirror(PostgresSink *sink, const Change *changes, size_t count, Error *err)
{
    for (size_t at = 0; at < count;) {
        size_t taken;
        arena_reset(&sink->scratch);
        if (apply_run(sink, changes + at, count - at, &taken, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        assert(taken > 0);
        at += taken;
    }
    return STATUS_OK;
}
