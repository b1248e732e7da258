// Changes become rows, a chunk at a time: the unit that is sent without waiting, that waits for the
// rate limit, and that is repeated.
//
//   BEGIN  { SAVEPOINT  row … row  (answers)  RELEASE } …
//
// A chunk is repeated when its failure may come from a table that looks otherwise by now, or from a
// row that somebody else has made in the meantime.
#include "base/clock.h"
#include "base/limits.h"
#include "hub/hub_push.h"
#include "hub/hub_wait.h"
#include "hub/push_postgres_inside.h"

enum { CHUNK_OBJECTS = 100, CHUNK_BYTES = 4 << 20, TRIES = 4, MOMENT_MS = 100 };

typedef struct PendingRow PendingRow;

struct PendingRow {
    PendingRow *next;
    PushedRow row;
};

typedef struct Chunk {
    PendingRow *first;
    PendingRow **last;
    int64_t objects; // that have rows here
    size_t bytes;
} Chunk;

// ---------------------------------------------------------------------------------------------
// Objects
// ---------------------------------------------------------------------------------------------

static void add_row(PushSink *sink, Chunk *chunk, const PushedRow *row)
{
    PendingRow *pending = arena_alloc(&sink->scratch, sizeof(*pending));
    *pending = (PendingRow){.row = *row};
    *chunk->last = pending;
    chunk->last = &pending->next;
}

static size_t bytes_of(const Change *change)
{
    const Value *row = change->new_row != NULL ? change->new_row : change->old_row;
    size_t bytes = 0;
    for (uint16_t i = 0; row != NULL && i < change->relation->column_count; i++) {
        bytes += value_is_data(row[i]) ? row[i].len : 0;
    }
    return bytes;
}

// What came from here is there. Pushed back, it could only undo what has happened here since; but
// that is what it has to do where something older was pushed over it.
static bool is_own(const PushSink *sink, const Change *change)
{
    return str_equal(change->transaction->origin, sink->system->name);
}

static bool passes_over(const PushSink *sink, const Change *change, const PushedRow *row)
{
    return is_own(sink, change) &&
           !push_conflicts_has(&sink->conflicts, row, change->transaction->origin_lsn);
}

static Status add_object(PushSink *sink, Chunk *chunk, const Change *change, Error *err)
{
    const HubEnd *end = sink->base.context.subject;
    const MixerGroup *group;
    Object *object = arena_alloc(&sink->scratch, sizeof(*object));
    if (hub_push_take(end, change, &sink->scratch, object, &group, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (group == NULL) {
        return STATUS_OK;
    }
    PendingRow **before = chunk->last;
    for (size_t i = 0; i < group->count; i++) {
        PushedRow row;
        if (object->op == OBJECT_DELETE && is_own(sink, change)) {
            // It was done there, by the keys that it says; they are enough to do it again.
            mixer_push_delete(&group->rules[i], object, &sink->scratch, &row);
        } else if (mixer_push(&group->rules[i], object, &sink->scratch, &row, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (row.count == 0 || passes_over(sink, change, &row)) {
            continue;
        }
        add_row(sink, chunk, &row);
        if (sink->receives) {
            push_conflicts_note(&sink->conflicts, &row);
        }
    }
    chunk->objects += chunk->last != before;
    chunk->bytes += bytes_of(change);
    return STATUS_OK;
}

// As many of @changes as make a chunk; *ret_taken of them.
static Status fill_chunk(PushSink *sink, const Change *changes, size_t count, Chunk *ret,
                         size_t *ret_taken, Error *err)
{
    int64_t most =
        sink->limit.per_second == 0 ? CHUNK_OBJECTS : MIN(sink->limit.size, (int64_t)CHUNK_OBJECTS);
    size_t taken = 0;
    *ret = (Chunk){.last = &ret->first};
    while (taken < count && ret->objects < most && ret->bytes < CHUNK_BYTES) {
        const Change *change = &changes[taken++];
        // That a model looks otherwise is the hub's business.
        if (change->op == CHANGE_SCHEMA) {
            continue;
        }
        if (is_own(sink, change)) {
            push_conflicts_pass(&sink->conflicts, change->transaction->origin_lsn);
        }
        if (add_object(sink, ret, change, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    *ret_taken = taken;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// The rate limit
// ---------------------------------------------------------------------------------------------

static Pause pause_of(const PushSink *sink)
{
    const SinkContext *context = &sink->base.context;
    return (Pause){context->cancel, context->at_work, context->at_work_context};
}

static Status take_tokens(PushSink *sink, int64_t count, Error *err)
{
    const Pause pause = pause_of(sink);
    sink->tokens_taken += count;
    return hub_wait_for_tokens(&pause, &sink->limit, count, err);
}

// As nearly as can be told without making rows: one of its own that has to be pushed back, as
// something older was pushed over it, is waited for where it is met.
static bool wants_token(const PushSink *sink, const Change *change)
{
    const HubEnd *end = sink->base.context.subject;
    if (change->relation == NULL || change->op == CHANGE_SCHEMA || is_own(sink, change)) {
        return false;
    }
    const Model *model = hub_find_model(end->hub, change->relation->name);
    return model != NULL && hub_find_push(sink->system, model) != NULL;
}

// How many of @changes in front @tokens are enough for; *ret_wanted: so many they want.
static size_t count_fitting(const PushSink *sink, const Change *changes, size_t count,
                            int64_t tokens, int64_t *ret_wanted)
{
    size_t fitting = 0;
    for (*ret_wanted = 0; fitting < count; fitting++) {
        int64_t more = wants_token(sink, &changes[fitting]) ? 1 : 0;
        if (*ret_wanted + more > tokens) {
            break;
        }
        *ret_wanted += more;
    }
    return fitting;
}

// Nobody is to wait for rows that are locked here until a token comes. Where tokens come one by
// one, those of a moment are written together.
Status push_make_room(Sink *base, const Change *changes, size_t count, size_t *ret, Error *err)
{
    PushSink *sink = (PushSink *)base;
    RateLimit *limit = &sink->limit;
    int64_t wanted;
    *ret = count;
    if (limit->per_second == 0) {
        return STATUS_OK;
    }
    int64_t tokens = rate_limit_tokens(limit, clock_monotonic_us());
    *ret = count_fitting(sink, changes, count, tokens, &wanted);
    if (*ret > 0 || sink->session.in_transaction) {
        return STATUS_OK;
    }
    const Pause pause = pause_of(sink);
    int64_t most = MIN(limit->per_second * MOMENT_MS / 1000, limit->size);
    (void)count_fitting(sink, changes, count, MAX(most, (int64_t)1), &wanted);
    if (hub_wait_until_there(&pause, limit, wanted, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = count_fitting(sink, changes, count, wanted, &wanted);
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Rows
// ---------------------------------------------------------------------------------------------

static Status one_row_was_written(PGresult *result, Error *err)
{
    int rows = PQntuples(result);
    if (rows == 1) {
        return STATUS_OK;
    }
    if (rows == 0) {
        error_set(err, ERROR_DATA, "no row was written");
        return error_hint(err, "A trigger or a rule of the table keeps it out.");
    }
    const char *key = pg_value(result, 0, 0);
    error_set(err, ERROR_DATA, "%d rows have that \"%s\"", rows, key);
    return error_hint(err,
                      "A search key has to find one row: give \"%s\" a unique index of its own. "
                      "weir check names the statement.",
                      key);
}

static Status one_row_if_any(PGresult *result, Error *err)
{
    return PQntuples(result) == 0 ? STATUS_OK : one_row_was_written(result, err);
}

static Status at_most_one_row(PGresult *result, Error *err)
{
    const char *rows = PQcmdTuples(result);
    if (strcmp(rows, "0") == 0 || strcmp(rows, "1") == 0) {
        return STATUS_OK;
    }
    error_set(err, ERROR_DATA, "%s rows have that", rows);
    return error_hint(err, "Search keys have to find one row: give each a unique index of its own. "
                           "weir check names the statements.");
}

static PgJudge *judge_of(const PushedRow *row)
{
    if (row->op == OBJECT_DELETE) {
        return at_most_one_row;
    }
    if (row->search_key_count == 0) {
        return NULL;
    }
    return row->only_if_there ? one_row_if_any : one_row_was_written;
}

static Status send_changed_key(PushSink *sink, const PushTarget *target, const PushedKey *key,
                               Error *err)
{
    PushStatement statement = {.sql = &sink->sql};
    if (push_key_statement(target, key, &sink->scratch, &statement, err) != STATUS_OK ||
        buf_check(&sink->sql, "a statement", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return postgres_session_send(&sink->session,
                                 &(PgStatement){.sql = buf_cstring(&sink->sql),
                                                .count = statement.count,
                                                .parameters = statement.parameters,
                                                .judge = at_most_one_row,
                                                .what = buf_view(&sink->about)},
                                 err);
}

static Status send_row(PushSink *sink, const PushedRow *row, Error *err)
{
    const PushTarget *target;
    Value *values;
    if (push_target(sink, row->rule, &target, err) != STATUS_OK ||
        mixer_push_values(&target->binding, row, &sink->scratch, &values, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    PushStatement statement = {.sql = &sink->sql};
    push_describe(target, row, values, &sink->about);
    sink->session.subject = target->table;
    // What had another key is found by the new one from here on.
    if (row->changed != NULL && send_changed_key(sink, target, row->changed, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    push_statement(target, row, values, &sink->scratch, &statement);
    if (sink->sql.len == 0) {
        return STATUS_OK;
    }
    if (buf_check(&sink->sql, "a statement", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return postgres_session_send(&sink->session,
                                 &(PgStatement){.sql = buf_cstring(&sink->sql),
                                                .count = statement.count,
                                                .parameters = statement.parameters,
                                                .judge = judge_of(row),
                                                .what = buf_view(&sink->about)},
                                 err);
}

static Status send_rows(PushSink *sink, const Chunk *chunk, Error *err)
{
    for (const PendingRow *row = chunk->first; row != NULL; row = row->next) {
        if (send_row(sink, &row->row, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return postgres_session_settle(&sink->session, err);
}

Status push_undo(PushSink *sink, const char *savepoint, Error *err)
{
    char sql[128];
    (void)snprintf(sql, sizeof(sql), "ROLLBACK TO %s; RELEASE %s", savepoint, savepoint);
    postgres_session_drop_results(&sink->session);
    return postgres_session_run(&sink->session, sql, err);
}

// ---------------------------------------------------------------------------------------------
// Once more
// ---------------------------------------------------------------------------------------------

// What a table that was altered since can be blamed for: a value that its column takes by now, a
// column that has gone, a statement that was prepared for other types.
static bool is_about_shape(const Error *err)
{
    static const char *const classes[] = {"22", "26", "42"};
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        if (strncmp(err->sqlstate, classes[i], 2) == 0) {
            return true;
        }
    }
    bool is_ours = err->sqlstate[0] == '\0';
    return is_ours && (err->kind == ERROR_DATA || err->kind == ERROR_CONFIG);
}

// Somebody was faster: the next time the row is there.
static bool is_about_others(const Error *err)
{
    return strcmp(err->sqlstate, "23505") == 0;
}

static Status push_chunk(PushSink *sink, const Chunk *chunk, Error *err)
{
    bool is_old = sink->targets.count > 0;
    for (int tries = 1;; tries++) {
        Error failure = {0};
        if (postgres_session_begin(&sink->session, err) != STATUS_OK ||
            postgres_session_send(&sink->session, &(PgStatement){.sql = "SAVEPOINT weir_push"},
                                  err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (send_rows(sink, chunk, &failure) == STATUS_OK) {
            return postgres_session_send(&sink->session, &(PgStatement){.sql = "RELEASE weir_push"},
                                         err);
        }
        bool may_pass =
            (is_old && is_about_shape(&failure)) || (tries < TRIES && is_about_others(&failure));
        if (!may_pass || PQstatus(sink->session.conn) != CONNECTION_OK) {
            *err = failure;
            return STATUS_FAIL;
        }
        if (push_undo(sink, "weir_push", err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        push_forget_targets(sink);
        is_old = false;
    }
}

Status push_changes(PushSink *sink, const Change *changes, size_t count, Error *err)
{
    for (size_t at = 0; at < count;) {
        Chunk chunk;
        size_t taken;
        arena_reset(&sink->scratch);
        if (fill_chunk(sink, &changes[at], count - at, &chunk, &taken, err) != STATUS_OK ||
            take_tokens(sink, chunk.objects, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (chunk.first != NULL && push_chunk(sink, &chunk, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        at += taken;
    }
    return STATUS_OK;
}
