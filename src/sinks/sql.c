#include "sinks/sql.h"

#include <assert.h>
#include <stdio.h>

#include "base/ascii.h"
#include "base/utf8.h"
#include "pipeline/advice.h"

const char *const sql_mode_choices[] = {"mirror", "history", NULL};
const char *const sql_existing_choices[] = {"fail", "truncate", "keep", NULL};

const char *const sql_history_columns[] = {
    [SQL_HISTORY_OP] = "_weir_op",
    [SQL_HISTORY_LSN] = "_weir_lsn",
    [SQL_HISTORY_ORDINAL] = "_weir_ordinal",
    [SQL_HISTORY_XID] = "_weir_xid",
    [SQL_HISTORY_COMMIT_TIME] = "_weir_commit_time",
    [SQL_HISTORY_COLUMN_COUNT] = NULL,
};

// The quote is doubled and nothing else is special: neither an identifier nor a string constant of
// standard SQL knows an escape character.
static void quoted(Buf *sql, Str text, const char *quote)
{
    assert(str_find(text, '\0') < 0);
    buf_quoted(sql, text, quote, '\0');
}

void sql_identifier(Buf *sql, Str name)
{
    assert(name.len > 0);
    quoted(sql, name, "\"");
}

void sql_literal(Buf *sql, Str text)
{
    quoted(sql, text, "'");
}

void sql_table_name(Buf *sql, SqlTable table)
{
    if (table.catalog.len > 0) {
        sql_identifier(sql, table.catalog);
        buf_char(sql, '.');
    }
    if (table.schema.len > 0) {
        sql_identifier(sql, table.schema);
        buf_char(sql, '.');
    }
    sql_identifier(sql, table.name);
}

void sql_column_list(Buf *sql, const Relation *relation, bool key_only)
{
    uint16_t count = key_only ? relation->key_count : relation->column_count;
    for (uint16_t i = 0; i < count; i++) {
        if (i > 0) {
            buf_cstr(sql, ", ");
        }
        sql_identifier(sql, relation->columns[key_only ? relation->key[i] : i].name);
    }
}

const char *sql_history_type(const SqlDialect *dialect, int which)
{
    switch (which) {
    case SQL_HISTORY_ORDINAL:
    case SQL_HISTORY_XID:
        return dialect->integer_type;
    case SQL_HISTORY_COMMIT_TIME:
        return dialect->time_type;
    default:
        return dialect->text_type;
    }
}

void sql_history_lsn(Lsn lsn, char ret[static SQL_LSN_TEXT_SIZE])
{
    (void)snprintf(ret, SQL_LSN_TEXT_SIZE, "%016" PRIX64, lsn);
}

static void column_definition(Buf *sql, const SqlDialect *dialect, const Column *column)
{
    sql_identifier(sql, column->name);
    buf_char(sql, ' ');
    dialect->type(column, sql);
}

void sql_create_table(Buf *sql, const SqlDialect *dialect, SqlTable table, const Relation *relation,
                      SqlMode mode)
{
    const char *comma = "";
    buf_cstr(sql, "CREATE TABLE IF NOT EXISTS ");
    sql_table_name(sql, table);
    buf_cstr(sql, " (");
    for (uint16_t i = 0; i < relation->column_count; i++) {
        buf_cstr(sql, comma);
        column_definition(sql, dialect, &relation->columns[i]);
        if (mode == SQL_MIRROR && dialect->declares_not_null && relation->columns[i].not_null) {
            buf_cstr(sql, " NOT NULL");
        }
        comma = ", ";
    }
    if (mode == SQL_HISTORY) {
        for (int i = 0; i < SQL_HISTORY_COLUMN_COUNT; i++) {
            buf_printf(sql, "%s\"%s\" %s", comma, sql_history_columns[i],
                       sql_history_type(dialect, i));
            comma = ", ";
        }
    } else if (relation->key_count > 0) {
        buf_cstr(sql, ", PRIMARY KEY (");
        sql_column_list(sql, relation, true);
        buf_char(sql, ')');
    }
    buf_char(sql, ')');
}

void sql_describe_row(Buf *text, const Relation *relation, const Value *row)
{
    enum { SHOWN_BYTES_MAX = 60 };
    for (uint16_t i = 0; i < relation->key_count && row != NULL; i++) {
        Value value = row[relation->key[i]];
        Str whole = value_is_data(value) ? value_str(value) : STR("NULL");
        Str shown = {whole.ptr, utf8_cut(whole, SHOWN_BYTES_MAX)};
        buf_cstr(text, i == 0 ? " where \"" : " and \"");
        buf_str(text, relation->columns[relation->key[i]].name);
        buf_cstr(text, "\" = ");
        buf_str(text, shown);
        buf_cstr(text, shown.len < whole.len ? "…" : "");
    }
}

static void alter_table(Buf *sql, SqlTable table, const char *what)
{
    buf_cstr(sql, "ALTER TABLE ");
    sql_table_name(sql, table);
    buf_cstr(sql, what);
}

void sql_add_column(Buf *sql, const SqlDialect *dialect, SqlTable table, const Column *column)
{
    alter_table(sql, table, " ADD COLUMN ");
    column_definition(sql, dialect, column);
    if (column->missing_value.ptr != NULL) {
        buf_cstr(sql, " DEFAULT ");
        if (dialect->literal != NULL) {
            dialect->literal(column, column->missing_value, sql);
        } else {
            sql_literal(sql, column->missing_value);
        }
    }
}

void sql_drop_column(Buf *sql, SqlTable table, Str column)
{
    alter_table(sql, table, " DROP COLUMN ");
    sql_identifier(sql, column);
}

void sql_rename_column(Buf *sql, SqlTable table, Str from, Str to)
{
    alter_table(sql, table, " RENAME COLUMN ");
    sql_identifier(sql, from);
    buf_cstr(sql, " TO ");
    sql_identifier(sql, to);
}

// A name as the target compares it, in @arena.
static Str folded(const SqlDialect *dialect, Arena *arena, Str name)
{
    char *copy = arena_copy(arena, name.ptr, name.len);
    for (size_t i = 0; i < name.len && dialect->folds_case; i++) {
        copy[i] = ascii_to_lower(copy[i]);
    }
    return (Str){copy, name.len};
}

static Status check_history_names(const Relation *relation, const Column *column, Str name,
                                  Error *err)
{
    for (int i = 0; i < SQL_HISTORY_COLUMN_COUNT; i++) {
        if (str_is(name, sql_history_columns[i])) {
            error_set(err, ERROR_CONFIG,
                      "table \"%" STR_FMT ".%" STR_FMT "\" has a column \"%" STR_FMT
                      "\", a name that history tables need for themselves",
                      STR_ARG(relation->schema), STR_ARG(relation->name), STR_ARG(column->name));
            return error_hint(err, "Rename the column in the source, or use mode=mirror.");
        }
    }
    return STATUS_OK;
}

Status sql_check_columns(const SqlDialect *dialect, const Relation *relation, SqlMode mode,
                         Error *err)
{
    Arena scratch = {0};
    Map seen = {0};
    Status status = STATUS_OK;
    for (uint16_t i = 0; i < relation->column_count && status == STATUS_OK; i++) {
        Column *column = &relation->columns[i];
        Str name = folded(dialect, &scratch, column->name);
        Column *other = map_put(&seen, name, column);
        if (other != NULL) {
            error_set(err, ERROR_CONFIG,
                      "columns \"%" STR_FMT "\" and \"%" STR_FMT "\" of table \"%" STR_FMT
                      ".%" STR_FMT "\" are one name in %s",
                      STR_ARG(other->name), STR_ARG(column->name), STR_ARG(relation->schema),
                      STR_ARG(relation->name), dialect->name);
            status = error_hint(err, "Rename one of them in the source, or leave one out of the "
                                     "publication's column list.");
        } else if (mode == SQL_HISTORY) {
            status = check_history_names(relation, column, name, err);
        }
    }
    map_done(&seen);
    arena_done(&scratch);
    return status;
}

static Str table_key(const SqlDialect *dialect, Arena *arena, SqlTable table)
{
    char *text = arena_printf(arena, "%" STR_FMT "%c%" STR_FMT, STR_ARG(table.schema), 0,
                              STR_ARG(table.name));
    return folded(dialect, arena, (Str){text, table.schema.len + 1 + table.name.len});
}

static bool is_checkpoint_table(const SqlDialect *dialect, Arena *arena, SqlTable table)
{
    return str_is(folded(dialect, arena, table.name), SQL_CHECKPOINT_TABLE);
}

Status sql_targets_claim(SqlTargets *targets, const SqlDialect *dialect, const Relation *relation,
                         SqlTable table, Error *err)
{
    if (is_checkpoint_table(dialect, &targets->arena, table)) {
        error_set(err, ERROR_CONFIG,
                  "table \"%" STR_FMT ".%" STR_FMT "\" has the name of the target's checkpoint "
                  "table \"" SQL_CHECKPOINT_TABLE "\"",
                  STR_ARG(relation->schema), STR_ARG(relation->name));
        return error_hint(err, "Leave the table out of the pipeline, or rename it.");
    }
    Str key = table_key(dialect, &targets->arena, table);
    const SqlTarget *owner = map_get(&targets->by_table, key);
    if (owner != NULL && owner->oid != relation->oid) {
        error_set(err, ERROR_CONFIG,
                  "tables \"%" STR_FMT ".%" STR_FMT "\" and \"%" STR_FMT ".%" STR_FMT
                  "\" would both go to table \"%" STR_FMT "\" of the target",
                  STR_ARG(owner->schema), STR_ARG(owner->name), STR_ARG(relation->schema),
                  STR_ARG(relation->name), STR_ARG(table.name));
        return error_hint(err, "Leave one of them out of this pipeline, or rename one.");
    }
    SqlTarget *target = map_get_u64(&targets->by_relation, relation->oid);
    if (target == NULL) {
        target = arena_alloc_zero(&targets->arena, sizeof(*target));
        target->oid = relation->oid;
        map_put_u64(&targets->by_relation, relation->oid, target);
    } else {
        map_remove(&targets->by_table, target->key);
    }
    target->schema = str_copy(&targets->arena, relation->schema);
    target->name = str_copy(&targets->arena, relation->name);
    target->key = key;
    map_put(&targets->by_table, key, target);
    return STATUS_OK;
}

void sql_targets_done(SqlTargets *targets)
{
    map_done(&targets->by_table);
    map_done(&targets->by_relation);
    arena_done(&targets->arena);
}

void sql_checkpoint_create(Buf *sql, const SqlDialect *dialect, SqlTable table)
{
    const char *text = dialect->text_type;
    buf_cstr(sql, "CREATE TABLE IF NOT EXISTS ");
    sql_table_name(sql, table);
    buf_printf(sql,
               " (\"pipeline\" %s NOT NULL, \"key\" %s NOT NULL, \"value\" %s NOT NULL, "
               "PRIMARY KEY (\"pipeline\", \"key\"))",
               text, text, text);
}

void sql_checkpoint_select(Buf *sql, SqlTable table)
{
    buf_cstr(sql, "SELECT \"key\", \"value\" FROM ");
    sql_table_name(sql, table);
    buf_cstr(sql, " WHERE \"pipeline\" = $1");
}

void sql_checkpoint_store(Buf *sql, SqlTable table)
{
    buf_cstr(sql, "INSERT INTO ");
    sql_table_name(sql, table);
    buf_cstr(sql,
             " (\"pipeline\", \"key\", \"value\") VALUES ($1, $2, $3) "
             "ON CONFLICT (\"pipeline\", \"key\") DO UPDATE SET \"value\" = excluded.\"value\"");
}

void sql_checkpoint_remove(Buf *sql, SqlTable table)
{
    buf_cstr(sql, "DELETE FROM ");
    sql_table_name(sql, table);
    buf_cstr(sql, " WHERE \"pipeline\" = $1 AND \"key\" = $2");
}

void sql_checkpoint_forget(Buf *sql, SqlTable table, Str pipeline, uint32_t oid)
{
    table.catalog = (Str){0}; // whoever has opened the file is in it
    buf_cstr(sql, "DELETE FROM ");
    sql_table_name(sql, table);
    buf_cstr(sql, " WHERE pipeline = ");
    sql_literal(sql, pipeline);
    if (oid != 0) {
        buf_printf(sql, " AND key = '" CHECKPOINT_TABLE "%" PRIu32 "'", oid);
    }
    buf_char(sql, ';');
}

Status sql_refuse_rows(SqlTable table, const char *path, Error *err)
{
    error_set(err, ERROR_CONFIG, "table \"%" STR_FMT "%s%" STR_FMT "\" in \"%s\" already has rows",
              STR_ARG(table.schema), table.schema.len > 0 ? "." : "", STR_ARG(table.name), path);
    return error_hint(err,
                      "Empty it, use another file, or say existing=truncate (its rows are "
                      "removed) or existing=keep (rows are added beside them). " NAME_OF_BEFORE);
}

Status sql_require_mirror(SqlMode mode, Error *err)
{
    return mode == SQL_MIRROR ? STATUS_OK
                              : error_set(err, ERROR_CONFIG,
                                          "a target with mode=history has every change, and is "
                                          "nothing that its source's rows can be compared with");
}

// ---------------------------------------------------------------------------------------------
// Copies that start again
// ---------------------------------------------------------------------------------------------

void sql_clear_history(Buf *sql, const SqlDialect *dialect, SqlTable table, Lsn copied_at)
{
    char lsn[SQL_LSN_TEXT_SIZE];
    sql_history_lsn(copied_at, lsn);
    buf_cstr(sql, "DELETE FROM ");
    sql_table_name(sql, table);
    buf_printf(sql, " WHERE \"%s\" = '%s' AND \"%s\"%s > '%s'", sql_history_columns[SQL_HISTORY_OP],
               change_op_name(CHANGE_READ), sql_history_columns[SQL_HISTORY_LSN], dialect->by_bytes,
               lsn);
}

bool sql_checkpoint_oid(Str key, const char *prefix, uint64_t *ret)
{
    Str start = str_from(prefix);
    return str_starts_with(key, start) &&
           str_to_uint64((Str){key.ptr + start.len, key.len - start.len}, ret);
}

static const char *const mark_prefixes[] = {
    [SQL_KEPT] = "sink:kept:",
    [SQL_NEW] = "sink:new:",
    [SQL_FILLING] = "sink:filling:",
    [SQL_SHARED] = "sink:shared:",
};

void sql_mark_key(SqlMark mark, uint32_t oid, char ret[static SQL_MARK_KEY_SIZE])
{
    (void)snprintf(ret, SQL_MARK_KEY_SIZE, "%s%" PRIu32, mark_prefixes[mark], oid);
}

bool sql_mark_change(const SqlMarks *marks, SqlMark mark, uint32_t oid, bool is_marked,
                     char key[static SQL_MARK_KEY_SIZE], CheckpointEntry *ret)
{
    sql_mark_key(mark, oid, key);
    *ret = (CheckpointEntry){.key = str_from(key), .value = is_marked ? STR("1") : (Str){0}};
    return is_marked != sql_is_marked(marks, mark, oid);
}

void sql_mark_note(SqlMarks *marks, const CheckpointEntry *entry)
{
    for (int mark = 0; mark < SQL_MARKS; mark++) {
        uint64_t oid;
        if (!sql_checkpoint_oid(entry->key, mark_prefixes[mark], &oid)) {
            continue;
        }
        if (entry->value.ptr != NULL) {
            (void)map_put_u64(&marks->oids[mark], oid, marks);
        } else {
            (void)map_remove_u64(&marks->oids[mark], oid);
        }
    }
}

bool sql_is_marked(const SqlMarks *marks, SqlMark mark, uint32_t oid)
{
    return map_get_u64(&marks->oids[mark], oid) != NULL;
}

void sql_marks_done(SqlMarks *marks)
{
    for (int mark = 0; mark < SQL_MARKS; mark++) {
        map_done(&marks->oids[mark]);
    }
}

Status sql_kept_clear(SqlMode mode, const Relation *relation, Lsn copied_at, const char *pipeline,
                      SqlTable checkpoint, Error *err)
{
    if (mode == SQL_HISTORY || copied_at == LSN_NONE) {
        return STATUS_OK;
    }
    CLEANUP(buf_done) Buf forget;
    buf_init(&forget, ERROR_MESSAGE_MAX);
    sql_checkpoint_forget(&forget, checkpoint, str_from(pipeline), relation->oid);
    error_set(err, ERROR_CONFIG,
              "table \"%" STR_FMT ".%" STR_FMT
              "\" has to be copied again, and existing=keep forbids to empty the target's",
              STR_ARG(relation->schema), STR_ARG(relation->name));
    return error_hint(err,
                      "Delete from the target's table what is not yours, which only you can tell, "
                      "then in the target: %s",
                      buf_cstring(&forget));
}
