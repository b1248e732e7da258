// postgres://… — mirrors tables in another Postgres database, exactly once: the checkpoint is a
// table of the target, written in the transaction that writes the rows.
#include <assert.h>

#include "base/limits.h"
#include "pipeline/advice.h"
#include "sinks/postgres_sink.h"

enum { STATEMENT_MAX = 64 << 20, ABOUT_MAX = 64 << 10 };

// A smaller table is not worth another index file.
enum { KEY_LATER_BYTES = 8 << 20 };

static const Option options[] = {
    {"url", OPTION_STRING(PostgresSink, url), .required = true, .secret = true, .is_path = true,
     .help =
         "Connection URL or keyword string, as libpq takes it; what it leaves out comes from the "
         "PG* environment variables."},
    {"schema", OPTION_LIST(PostgresSink, schemas),
     .help =
         "Where tables go: one schema for all, or from:to pairs. Default: the source's schema."},
    {"mode", OPTION_CHOICE(PostgresSink, mode, sql_mode_choices), .fallback = "mirror",
     .help = "mirror: rows as they are now. history: every change is appended."},
    {"existing", OPTION_CHOICE(PostgresSink, existing, sql_existing_choices), .fallback = "fail",
     .help = "What to do with a table that has rows before its first copy: refuse, remove them, or "
             "add rows beside them."},
    {"triggers", OPTION_BOOL(PostgresSink, triggers), .fallback = "false",
     .help = "Let the target's triggers and foreign keys act on what is written. Otherwise they do "
             "not, as with Postgres's own replication, if the user may set "
             "session_replication_role."},
    {"receive_timeout", OPTION_MS(PostgresSink, receive_timeout_ms), .fallback = "60s", .min = 1000,
     .max = 3600000,
     .help = "A target from which nothing has come for so long is asked by a second connection "
             "whether it is at work for us. If it waits for us instead, connect again."},
    {0},
};

static PostgresSink *self(Sink *sink)
{
    return (PostgresSink *)sink;
}

// ---------------------------------------------------------------------------------------------
// Statements
// ---------------------------------------------------------------------------------------------

Status postgres_run_buf(PostgresSink *sink, Error *err)
{
    if (buf_check(&sink->sql, "a statement", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return postgres_run(sink, buf_cstring(&sink->sql), err);
}

// ---------------------------------------------------------------------------------------------
// Opening
// ---------------------------------------------------------------------------------------------

static Status postgres_validate(Sink *base, Error *err)
{
    PostgresSink *sink = self(base);
    for (size_t i = 0; i < sink->schemas.count; i++) {
        Str item = sink->schemas.items[i];
        ptrdiff_t colon = str_find(item, ':');
        if (colon == 0 || colon == (ptrdiff_t)item.len - 1) {
            error_set(err, ERROR_CONFIG, "\"schema\" has an empty name");
            return error_hint(err, "Give one schema for all tables, or pairs: schema=public:app,"
                                   "sales:crm");
        }
        if (colon < 0 && sink->schemas.count > 1) {
            error_set(err, ERROR_CONFIG, "\"schema\" names several schemas for one place");
            return error_hint(err, "Give one schema for all tables, or pairs: schema=public:app,"
                                   "sales:crm");
        }
    }
    return STATUS_OK;
}

// As Postgres's own apply worker does: the source has checked its foreign keys and run its
// triggers, and their effects arrive as changes of their own.
static Status quiet_triggers(PostgresSink *sink, Error *err)
{
    Error refused = {0};
    if (sink->triggers) {
        return STATUS_OK;
    }
    if (postgres_run(sink, "SET session_replication_role = replica", &refused) == STATUS_OK) {
        sink->is_quiet = true;
        return STATUS_OK;
    }
    if (refused.kind != ERROR_CONFIG) {
        *err = refused;
        return STATUS_FAIL;
    }
    if (!sink->base.context.is_lane) {
        notice_tell(&sink->base.context.notice,
                    "the target's user may not set session_replication_role: its "
                    "triggers and foreign keys act on what is written");
    }
    return STATUS_OK;
}

// @checkpoint may be NULL.
static Status read_checkpoint(PostgresSink *sink, Checkpoint *checkpoint, Error *err)
{
    Checkpoint own = {0};
    Checkpoint *stored = checkpoint == NULL ? &own : checkpoint;
    Status status = postgres_session_read_checkpoint(&sink->session, stored, err);
    for (size_t i = 0; status == STATUS_OK && i < stored->count; i++) {
        uint64_t oid;
        if (sql_checkpoint_oid(stored->entries[i].key, CHECKPOINT_TABLE, &oid)) {
            map_put_u64(&sink->ours, oid, sink);
        }
        sql_mark_note(&sink->marks, &stored->entries[i]);
    }
    checkpoint_done(&own);
    return status;
}

static Status open_lane(PostgresSink *sink, Error *err)
{
    return postgres_session_lock_lane(&sink->session, err) == STATUS_OK
               ? read_checkpoint(sink, NULL, err)
               : STATUS_FAIL;
}

static Status end_copy(void *owner, Error *err)
{
    return postgres_copy_end(owner, err);
}

static Status postgres_open(Sink *base, Error *err)
{
    PostgresSink *sink = self(base);
    const SinkContext *context = &base->context;
    buf_init(&sink->sql, STATEMENT_MAX);
    buf_init(&sink->about, ABOUT_MAX);
    buf_init(&sink->copy.buf, LIMIT_TEXT_BYTES);
    sink->session = (PgSession){
        .url = sink->url,
        .pipeline = context->pipeline,
        .cancel = context->cancel,
        .silence_ms = sink->receive_timeout_ms,
        .rights = "SELECT, INSERT, UPDATE, DELETE, TRUNCATE",
        .unique_hint = "Where the source's constraint is deferrable, the target's has to be "
                       "DEFERRABLE INITIALLY DEFERRED.",
        .settle_more = end_copy,
        .owner = sink,
        .at_work = context->at_work,
        .at_work_context = context->at_work_context,
    };
    if (postgres_session_open(&sink->session, err) != STATUS_OK ||
        quiet_triggers(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return context->is_lane ? open_lane(sink, err) : STATUS_OK;
}

static Status postgres_resume(Sink *base, Checkpoint *checkpoint, Error *err)
{
    PostgresSink *sink = self(base);
    sink->session.subject = postgres_checkpoint_table;
    if (postgres_session_lock(&sink->session, err) != STATUS_OK ||
        postgres_session_make_checkpoint(&sink->session, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return read_checkpoint(sink, checkpoint, err);
}

static Status postgres_look(Sink *base, Checkpoint *checkpoint, Error *err)
{
    PostgresSink *sink = self(base);
    bool exists;
    sink->session.subject = postgres_checkpoint_table;
    if (postgres_session_has_checkpoint(&sink->session, &exists, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return exists ? read_checkpoint(sink, checkpoint, err) : STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------

// A table that is streamed is not being filled, also when nobody has filled it (--no-copy).
static Status end_filling(PostgresSink *sink, const Change *changes, size_t count, Error *err)
{
    for (size_t i = 0; i < count && sink->marks.oids[SQL_FILLING].count > 0; i++) {
        if (changes[i].op != CHANGE_READ && changes[i].relation != NULL &&
            postgres_mark(sink, SQL_FILLING, changes[i].relation->oid, false, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status apply(PostgresSink *sink, const Change *changes, size_t count, Error *err)
{
    return sink->mode == SQL_MIRROR ? postgres_mirror(sink, changes, count, err)
                                    : postgres_history(sink, changes, count, err);
}

static Status postgres_write(Sink *base, const Change *changes, size_t count, Error *err)
{
    PostgresSink *sink = self(base);
    if (postgres_begin(sink, err) != STATUS_OK ||
        end_filling(sink, changes, count, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return apply(sink, changes, count, err);
}

// Who tries shorter runs finds the change that is refused faster than one statement a row does.
static Status apply_whole(PostgresSink *sink, const Change *changes, size_t count, Error *err)
{
    sink->session.is_trying = true;
    Status status = apply(sink, changes, count, err);
    sink->session.is_trying = false;
    if (status == STATUS_OK) {
        return postgres_session_settle(&sink->session, err);
    }
    postgres_session_drop_results(&sink->session);
    return STATUS_FAIL;
}

static Status postgres_try_write(Sink *base, const Change *changes, size_t count,
                                 bool *ret_is_intact, Error *err)
{
    PostgresSink *sink = self(base);
    if (postgres_begin(sink, err) != STATUS_OK ||
        end_filling(sink, changes, count, err) != STATUS_OK ||
        postgres_run(sink, "SAVEPOINT weir_try", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Error refused = {0};
    if (apply_whole(sink, changes, count, &refused) == STATUS_OK) {
        return postgres_run(sink, "RELEASE weir_try", err);
    }
    bool can_go_on = refused.kind == ERROR_DATA && PQstatus(sink->session.conn) == CONNECTION_OK;
    if (can_go_on &&
        (postgres_copy_abort(sink, err) != STATUS_OK ||
         postgres_run(sink, "ROLLBACK TO weir_try; RELEASE weir_try", err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    *ret_is_intact = can_go_on;
    *err = refused;
    return STATUS_FAIL;
}

static CopyForm postgres_copy_form(Sink *base, const Relation *relation)
{
    return postgres_target(self(base), relation)->copy_form;
}

// A table that is new gets its key behind its rows, if there are many of them.
static Status put_off_key(PostgresSink *sink, const PgTarget *target, size_t bytes, Error *err)
{
    PgFilling *filling = &sink->filling;
    if (filling->target != target) {
        *filling = (PgFilling){.target = target};
    }
    filling->bytes += bytes;
    if (filling->is_without_key || filling->bytes < KEY_LATER_BYTES ||
        !sql_is_marked(&sink->marks, SQL_NEW, target->relation->oid)) {
        return STATUS_OK;
    }
    filling->is_without_key = true;
    return postgres_drop_key(sink, target->table, err);
}

static Status postgres_end_copy(Sink *base, const Relation *relation, Error *err)
{
    PostgresSink *sink = self(base);
    sink->filling = (PgFilling){0};
    if (postgres_begin(sink, err) != STATUS_OK ||
        postgres_mark(sink, SQL_FILLING, relation->oid, false, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!sql_is_marked(&sink->marks, SQL_NEW, relation->oid)) {
        return STATUS_OK;
    }
    const PgTarget *target = postgres_target(sink, relation);
    if (postgres_set_key(sink, target->table, relation, err) != STATUS_OK) {
        return error_wrap(err, "primary key of %" STR_FMT, STR_ARG(target->name));
    }
    return postgres_mark(sink, SQL_NEW, relation->oid, false, err);
}

static Status postgres_write_rows(Sink *base, const Relation *relation, Str rows, size_t count,
                                  Error *err)
{
    PostgresSink *sink = self(base);
    const PgTarget *target = postgres_target(sink, relation);
    if (postgres_begin(sink, err) != STATUS_OK ||
        put_off_key(sink, target, rows.len, err) != STATUS_OK ||
        postgres_copy_into(sink, target, target->copy_form, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (postgres_copy_rows(sink, rows, count, err) != STATUS_OK) {
        return error_wrap(err, "insert into %" STR_FMT, STR_ARG(target->name));
    }
    return STATUS_OK;
}

Status postgres_mark(PostgresSink *sink, SqlMark mark, uint32_t oid, bool is_marked, Error *err)
{
    char key[SQL_MARK_KEY_SIZE];
    CheckpointEntry entry;
    if (!sql_mark_change(&sink->marks, mark, oid, is_marked, key, &entry)) {
        return STATUS_OK;
    }
    SqlTable subject = sink->session.subject;
    const Checkpoint changed = {.entries = &entry, .count = 1};
    if (postgres_session_store(&sink->session, &changed, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sink->session.subject = subject;
    sql_mark_note(&sink->marks, &entry);
    return STATUS_OK;
}

static Status postgres_commit(Sink *base, Checkpoint *changed, Error *err)
{
    PostgresSink *sink = self(base);
    arena_reset(&sink->scratch);
    if (postgres_session_store(&sink->session, changed, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return sink->session.in_transaction ? postgres_session_commit(&sink->session, err) : STATUS_OK;
}

static void postgres_close(Sink *base)
{
    PostgresSink *sink = self(base);
    postgres_session_close(&sink->session);
    map_done(&sink->targets);
    map_done(&sink->type_exists);
    map_done(&sink->ours);
    sql_targets_done(&sink->owners);
    sql_marks_done(&sink->marks);
    buf_done(&sink->sql);
    buf_done(&sink->about);
    buf_done(&sink->copy.buf);
    arena_done(&sink->scratch);
    arena_done(&sink->arena);
}

static void describe_column(Sink *base, const Column *column, Buf *ret_type)
{
    buf_str(ret_type, postgres_type_for(self(base), column));
}

static void describe_table(Sink *base, const Relation *relation, Buf *ret_name)
{
    sql_table_name(ret_name, postgres_place(self(base), relation));
}

const SinkOps postgres_sink = {
    .name = "postgres",
    .summary = "Tables in another Postgres database.",
    .options = options,
    .instance_size = sizeof(PostgresSink),
    .guarantee = GUARANTEE_EXACTLY_ONCE,
    .stores_checkpoint = true,
    .has_tables = true,
    .is_parallel = true,
    .validate = postgres_validate,
    .open = postgres_open,
    .resume = postgres_resume,
    .prepare = postgres_prepare,
    .has = postgres_has,
    .clear = postgres_clear,
    .keeps_rows = postgres_keeps_rows,
    .end_copy = postgres_end_copy,
    .write = postgres_write,
    .try_write = postgres_try_write,
    .copy_form = postgres_copy_form,
    .write_rows = postgres_write_rows,
    .commit = postgres_commit,
    .close = postgres_close,
    .describe_column = describe_column,
    .describe_table = describe_table,
    .look = postgres_look,
    .check = postgres_check_table,
    .check_options = postgres_check_schemas,
    .digest_check = postgres_digest_check,
    .digest_columns = postgres_digest_columns,
    .digest_open = postgres_sink_digest_open,
};
