// postgres://… — mirrors tables in another Postgres database, exactly once: the checkpoint is a
// table of the target, written in the transaction that writes the rows.
#include <assert.h>

#include "base/limits.h"
#include "pipeline/advice.h"
#include "sinks/postgres_sink.h"

enum { STATEMENT_MAX = 64 << 20, ARRAY_MAX = 1 << 30, ABOUT_MAX = 64 << 10 };

// A smaller table is not worth another index file.
enum { KEY_LATER_BYTES = 8 << 20 };

const SqlTable postgres_checkpoint_table = {.schema = {"weir", 4}, .name = {"checkpoint", 10}};

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

PgWait postgres_sink_wait(const PostgresSink *sink)
{
    return (PgWait){
        .cancel = sink->base.context.cancel,
        .probe = sink->probe.url.ptr == NULL ? NULL : &sink->probe,
    };
}

// ---------------------------------------------------------------------------------------------
// Statements
// ---------------------------------------------------------------------------------------------

// A label that the target's enum does not have: invalid input value for enum app.mood: "glad".
// Where the server speaks another language than English, nobody is told what mends it.
static Status explain_label(Error *err)
{
    static const char start[] = "invalid input value for enum ";
    const char *type = strstr(err->message, start);
    const char *label = type == NULL ? NULL : strstr(type, ": \"");
    const char *end = label == NULL ? NULL : strrchr(label + 3, '"');
    if (end == NULL) {
        return STATUS_FAIL;
    }
    type += sizeof(start) - 1;
    label += 3;
    CLEANUP(buf_done) Buf hint;
    buf_init(&hint, ERROR_MESSAGE_MAX);
    buf_printf(&hint,
               "The source's type has a label that the target's lacks: ALTER TYPE %.*s ADD "
               "VALUE ",
               (int)(label - 3 - type), type);
    sql_literal(&hint, (Str){label, (size_t)(end - label)});
    return error_hint(err, "%s;", buf_cstring(&hint));
}

// What the server says decides which right is missing; where it speaks another language than
// English, all of them are named.
Status postgres_explain(const PostgresSink *sink, Error *err)
{
    if (err == NULL) {
        return STATUS_FAIL;
    }
    // It could write once: a failover has made it a standby, and its address will soon lead on.
    if (strcmp(err->sqlstate, "25006") == 0 && sink->has_position) {
        err->kind = ERROR_TRANSIENT;
        return error_hint(err, "The target takes no changes now, as a standby does: if it is not "
                               "to become writable again, let the URL lead to the one that is.");
    }
    if (strcmp(err->sqlstate, "22P02") == 0 && err->hint[0] == '\0') {
        return explain_label(err);
    }
    if (strcmp(err->sqlstate, "42501") != 0 || err->hint[0] != '\0') {
        return STATUS_FAIL;
    }
    CLEANUP(buf_done) Buf hint;
    CLEANUP(buf_done) Buf user;
    CLEANUP(buf_done) Buf table;
    buf_init(&hint, ERROR_MESSAGE_MAX);
    buf_init(&user, ERROR_MESSAGE_MAX);
    buf_init(&table, ERROR_MESSAGE_MAX);
    sql_identifier(&user, str_from(PQuser(sink->conn)));
    bool about_table = sink->subject.name.len > 0;
    if (about_table) {
        sql_table_name(&table, sink->subject);
    }
    bool owner = strstr(err->message, "must be owner") != NULL;
    bool schema = strstr(err->message, " for schema ") != NULL;
    bool relation = strstr(err->message, " for table ") != NULL;
    bool database = strstr(err->message, " for database ") != NULL;
    if (about_table && owner) {
        buf_printf(&hint, "ALTER TABLE %s OWNER TO %s;", buf_cstring(&table), buf_cstring(&user));
    } else if (about_table && schema) {
        buf_cstr(&hint, "GRANT USAGE, CREATE ON SCHEMA ");
        sql_identifier(&hint, sink->subject.schema);
        buf_printf(&hint, " TO %s;", buf_cstring(&user));
    } else {
        if (!relation) {
            buf_cstr(&hint, "GRANT CREATE ON DATABASE ");
            sql_identifier(&hint, str_from(PQdb(sink->conn)));
            buf_printf(&hint, " TO %s;%s", buf_cstring(&user), database ? "" : " ");
        }
        if (about_table && !database) {
            buf_printf(&hint, "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON %s TO %s;",
                       buf_cstring(&table), buf_cstring(&user));
        }
    }
    return error_hint(err, "%s", buf_cstring(&hint));
}

Status postgres_run(PostgresSink *sink, const char *sql, Error *err)
{
    PgWait wait = postgres_sink_wait(sink);
    if (postgres_settle(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return pg_run(sink->conn, &wait, sql, err) == STATUS_OK ? STATUS_OK
                                                            : postgres_explain(sink, err);
}

Status postgres_run_buf(PostgresSink *sink, Error *err)
{
    if (buf_check(&sink->sql, "a statement", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return postgres_run(sink, buf_cstring(&sink->sql), err);
}

Status postgres_query(PostgresSink *sink, const char *sql, int count, const char *const *parameters,
                      PGresult **ret, Error *err)
{
    PgWait wait = postgres_sink_wait(sink);
    if (postgres_settle(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return pg_query(sink->conn, &wait, sql, count, parameters, ret, err) == STATUS_OK
               ? STATUS_OK
               : postgres_explain(sink, err);
}

Status postgres_run_with(PostgresSink *sink, const char *sql, int count,
                         const char *const *parameters, int64_t *ret_rows, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_query(sink, sql, count, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!str_to_int64(str_from(PQcmdTuples(result)), ret_rows)) {
        *ret_rows = 0;
    }
    return STATUS_OK;
}

Status postgres_begin(PostgresSink *sink, Error *err)
{
    if (sink->in_transaction) {
        return STATUS_OK;
    }
    sink->in_transaction = true;
    sink->pipeline.transaction++;
    return postgres_send(sink, &(PgStatement){.sql = "BEGIN"}, err);
}

static Status commit_transaction(PostgresSink *sink, Error *err)
{
    const PgStatement commit = {.sql = "COMMIT", .outcome = PG_COMMIT_OUTCOME};
    // What only we find wrong must not be committed.
    if (sink->pipeline.must_be_checked && postgres_settle(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // When the connection breaks here, nobody knows whether it was committed: what resume() reads
    // after the reconnect is the answer.
    sink->in_transaction = false;
    return postgres_send(sink, &commit, err) == STATUS_OK ? postgres_settle(sink, err)
                                                          : STATUS_FAIL;
}

void postgres_array_add(Buf *array, Str value, bool is_null)
{
    buf_char(array, array->len == 0 ? '{' : ',');
    if (is_null) {
        buf_cstr(array, "NULL");
        return;
    }
    buf_char(array, '"');
    const char *end = value.ptr + value.len;
    const char *start = value.ptr;
    for (const char *at = start; at < end; at++) {
        if (*at == '"' || *at == '\\') {
            buf_bytes(array, start, (size_t)(at - start));
            buf_char(array, '\\');
            start = at;
        }
    }
    buf_bytes(array, start, (size_t)(end - start));
    buf_char(array, '"');
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

// - A commit that a crash of the target takes back would be lost: the source has let go of it. Set
//   also where it is right, or else it follows what the configuration says later.
// - The server should notice soon that we are gone, for the transaction and the lock that it holds.
// - Statements are many and small: compiling them never pays. Sets are looked up by the key's index
//   however large the table is; at the default costs each of them would read all of it.
static const char session[] =
    "SELECT set_config('synchronous_commit', coalesce(nullif("
    "current_setting('synchronous_commit'), 'off'), 'local'), false);"
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;"
    "SET jit = off; SET random_page_cost = 0.1";

static Status try_lock(PostgresSink *sink, const char *sql, Error *err)
{
    const char *parameters[] = {sink->base.context.pipeline};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_query(sink, sql, 1, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (pg_value(result, 0, 0)[0] == 't') {
        return STATUS_OK;
    }
    error_set(err, ERROR_TRANSIENT, "another session writes to the target as pipeline \"%s\"",
              sink->base.context.pipeline);
    return error_hint(err, "It may be a connection that the target has not yet noticed to be gone; "
                           "otherwise give this pipeline " ANOTHER_NAME ".");
}

// Two processes that write as one pipeline would double every change. The session that goes on has
// the first lock. Lanes share the second, so that it also waits for those that another one has left
// behind: they may be about to commit.
static Status lock_pipeline(PostgresSink *sink, Error *err)
{
    return try_lock(sink,
                    "SELECT CASE WHEN pg_try_advisory_lock(hashtext('weir'), hashtext($1))"
                    " AND pg_try_advisory_lock(hashtext('weir lane'), hashtext($1))"
                    " THEN pg_advisory_unlock(hashtext('weir lane'), hashtext($1)) END",
                    err);
}

static Status lock_lane(PostgresSink *sink, Error *err)
{
    return try_lock(sink, "SELECT pg_try_advisory_lock_shared(hashtext('weir lane'), hashtext($1))",
                    err);
}

Status postgres_has_checkpoint(PostgresSink *sink, bool *ret, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_query(sink,
                       "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n"
                       " ON n.oid = c.relnamespace"
                       " WHERE n.nspname = 'weir' AND c.relname = 'checkpoint')",
                       0, NULL, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = pg_value(result, 0, 0)[0] == 't';
    return STATUS_OK;
}

static Status make_checkpoint_table(PostgresSink *sink, Error *err)
{
    bool exists;
    // Looked for first: IF NOT EXISTS wants the right to create also where there is nothing to
    // create.
    if (postgres_has_checkpoint(sink, &exists, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (exists) {
        return STATUS_OK;
    }
    // The lock because two pipelines may start at the same time.
    if (postgres_begin(sink, err) != STATUS_OK ||
        postgres_run(sink, "SELECT pg_advisory_xact_lock(hashtext('weir'), 0)", err) != STATUS_OK ||
        postgres_make_schema(sink, postgres_checkpoint_table.schema, err) != STATUS_OK ||
        postgres_run(sink,
                     "CREATE TABLE IF NOT EXISTS weir.checkpoint (pipeline text NOT NULL,"
                     " key text NOT NULL, value text NOT NULL, PRIMARY KEY (pipeline, key))",
                     err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return commit_transaction(sink, err);
}

// @checkpoint may be NULL.
static Status read_checkpoint(PostgresSink *sink, Checkpoint *checkpoint, Error *err)
{
    const char *parameters[] = {sink->base.context.pipeline};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_query(sink, "SELECT key, value FROM weir.checkpoint WHERE pipeline = $1", 1,
                       parameters, &result, err) != STATUS_OK) {
        return error_wrap(err, "read the checkpoint");
    }
    for (int i = 0; i < PQntuples(result); i++) {
        CheckpointEntry entry = {str_from(pg_value(result, i, 0)),
                                 str_from(pg_value(result, i, 1))};
        if (checkpoint != NULL) {
            checkpoint_set(checkpoint, entry.key, entry.value);
        }
        uint64_t oid;
        if (sql_checkpoint_oid(entry.key, CHECKPOINT_TABLE, &oid)) {
            map_put_u64(&sink->ours, oid, sink);
        }
        sink->has_position = sink->has_position || str_equal(entry.key, CHECKPOINT_POSITION);
        sql_mark_note(&sink->marks, &entry);
    }
    return STATUS_OK;
}

static Status open_lane(PostgresSink *sink, Error *err)
{
    return lock_lane(sink, err) == STATUS_OK ? read_checkpoint(sink, NULL, err) : STATUS_FAIL;
}

static Status postgres_open(Sink *base, Error *err)
{
    PostgresSink *sink = self(base);
    buf_init(&sink->sql, STATEMENT_MAX);
    buf_init(&sink->about, ABOUT_MAX);
    buf_init(&sink->copy.buf, LIMIT_TEXT_BYTES);
    PgWait wait = postgres_sink_wait(sink);
    PgConnect connect = {
        .url = sink->url,
        .application_name = arena_printf(&sink->arena, "weir/%s", base->context.pipeline),
    };
    if (pg_connect(&connect, &wait, &sink->conn, err) != STATUS_OK ||
        pg_probe_init(&sink->probe, sink->conn, sink->url, sink->receive_timeout_ms, &wait, err) !=
            STATUS_OK ||
        postgres_run(sink, session, err) != STATUS_OK || quiet_triggers(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sink->probe.at_work = base->context.at_work;
    sink->probe.context = base->context.at_work_context;
    return base->context.is_lane ? open_lane(sink, err) : STATUS_OK;
}

static Status postgres_resume(Sink *base, Checkpoint *checkpoint, Error *err)
{
    PostgresSink *sink = self(base);
    sink->subject = postgres_checkpoint_table;
    if (lock_pipeline(sink, err) != STATUS_OK || make_checkpoint_table(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return read_checkpoint(sink, checkpoint, err);
}

static Status postgres_look(Sink *base, Checkpoint *checkpoint, Error *err)
{
    PostgresSink *sink = self(base);
    bool exists;
    sink->subject = postgres_checkpoint_table;
    if (postgres_has_checkpoint(sink, &exists, err) != STATUS_OK) {
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
    sink->is_trying = true;
    Status status = apply(sink, changes, count, err);
    sink->is_trying = false;
    if (status == STATUS_OK) {
        return postgres_settle(sink, err);
    }
    postgres_drop_results(sink);
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
    bool can_go_on = refused.kind == ERROR_DATA && PQstatus(sink->conn) == CONNECTION_OK;
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

static Status store(PostgresSink *sink, const char *sql, int count, const char *const *parameters,
                    Error *err)
{
    return postgres_send(sink,
                         &(PgStatement){.sql = sql,
                                        .count = count,
                                        .parameters = parameters,
                                        .what = STR("store the checkpoint")},
                         err);
}

// Most commits have nothing but the position.
static Status store_entry(PostgresSink *sink, const CheckpointEntry *entry, Error *err)
{
    const char *parameters[] = {sink->base.context.pipeline,
                                str_to_cstr(&sink->scratch, entry->key),
                                str_to_cstr(&sink->scratch, entry->value)};
    return store(sink,
                 "INSERT INTO weir.checkpoint (pipeline, key, value) VALUES ($1, $2, $3)"
                 " ON CONFLICT (pipeline, key) DO UPDATE SET value = excluded.value",
                 3, parameters, err);
}

// Entries of one kind, in one statement.
static Status store_entries(PostgresSink *sink, const Checkpoint *changed, bool removed,
                            const char *sql, Error *err)
{
    CLEANUP(buf_done) Buf keys;
    CLEANUP(buf_done) Buf values;
    buf_init(&keys, ARRAY_MAX);
    buf_init(&values, ARRAY_MAX);
    for (size_t i = 0; i < changed->count; i++) {
        const CheckpointEntry *entry = &changed->entries[i];
        if ((entry->value.ptr == NULL) == removed) {
            postgres_array_add(&keys, entry->key, false);
            postgres_array_add(&values, entry->value, removed);
        }
    }
    if (keys.len == 0) {
        return STATUS_OK;
    }
    buf_char(&keys, '}');
    buf_char(&values, '}');
    if (buf_check(&keys, "the checkpoint", err) != STATUS_OK ||
        buf_check(&values, "the checkpoint", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const char *parameters[] = {sink->base.context.pipeline, buf_cstring(&keys),
                                buf_cstring(&values)};
    return store(sink, sql, removed ? 2 : 3, parameters, err);
}

static Status store_checkpoint(PostgresSink *sink, const Checkpoint *changed, Error *err)
{
    if (changed->count == 0) {
        return STATUS_OK;
    }
    // What was written is reported under its own name.
    if (postgres_begin(sink, err) != STATUS_OK || postgres_copy_end(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sink->subject = postgres_checkpoint_table;
    if (changed->count == 1 && changed->entries[0].value.ptr != NULL) {
        return store_entry(sink, &changed->entries[0], err);
    }
    if (store_entries(sink, changed, true,
                      "DELETE FROM weir.checkpoint WHERE pipeline = $1 AND key = ANY ($2::text[])",
                      err) != STATUS_OK ||
        store_entries(sink, changed, false,
                      "INSERT INTO weir.checkpoint (pipeline, key, value)"
                      " SELECT $1, k, v FROM unnest($2::text[], $3::text[]) AS u (k, v)"
                      " ON CONFLICT (pipeline, key) DO UPDATE SET value = excluded.value",
                      err) != STATUS_OK) {
        return STATUS_FAIL;
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
    SqlTable subject = sink->subject;
    const Checkpoint changed = {.entries = &entry, .count = 1};
    if (store_checkpoint(sink, &changed, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sink->subject = subject;
    sql_mark_note(&sink->marks, &entry);
    return STATUS_OK;
}

static Status postgres_commit(Sink *base, Checkpoint *changed, Error *err)
{
    PostgresSink *sink = self(base);
    arena_reset(&sink->scratch);
    if (store_checkpoint(sink, changed, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return sink->in_transaction ? commit_transaction(sink, err) : STATUS_OK;
}

static void postgres_close(Sink *base)
{
    PostgresSink *sink = self(base);
    pg_close(&sink->conn);
    map_done(&sink->targets);
    map_done(&sink->type_exists);
    map_done(&sink->ours);
    sql_targets_done(&sink->owners);
    sql_marks_done(&sink->marks);
    buf_done(&sink->sql);
    buf_done(&sink->about);
    buf_done(&sink->copy.buf);
    postgres_pipeline_done(&sink->pipeline);
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
