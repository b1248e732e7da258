// One change in one statement: for what cannot be a set, and to find out which change of a set it
// was that failed.
#include <assert.h>

#include "pipeline/advice.h"
#include "sinks/postgres_sink.h"

typedef struct Statement {
    Buf *sql;
    const char **parameters;
    int count;
    Arena *arena;
} Statement;

static Statement new_statement(PostgresSink *sink, const Relation *relation)
{
    buf_reset(&sink->sql);
    // Each column at most three times: what it becomes, and twice what it was.
    size_t most = (size_t)relation->column_count * 3 + 1;
    return (Statement){.sql = &sink->sql,
                       .parameters = ARENA_ARRAY(&sink->scratch, const char *, most),
                       .arena = &sink->scratch};
}

static void parameter(Statement *statement, Value value)
{
    assert(value.state == VALUE_NULL || value.state == VALUE_TEXT);
    statement->parameters[statement->count++] =
        value.state == VALUE_NULL ? NULL : str_to_cstr(statement->arena, value_str(value));
    buf_printf(statement->sql, "$%d", statement->count);
}

static void name(Statement *statement, const PgTarget *target, uint16_t column)
{
    sql_identifier(statement->sql, target->relation->columns[column].name);
}

static void describe_change(Buf *text, const PgTarget *target, const Change *change)
{
    buf_reset(text);
    buf_cstr(text, change_op_name(change->op));
    buf_cstr(text, " in ");
    buf_str(text, target->name);
    const Value *row = change->old_row != NULL ? change->old_row : change->new_row;
    sql_describe_row(text, target->relation, row);
}

static Status about_change(const PostgresSink *sink, Error *err)
{
    return error_wrap(err, "%" STR_FMT, STR_ARG(buf_view(&sink->about)));
}

static Status must_be_one(PGresult *result, Error *err)
{
    const char *rows = PQcmdTuples(result);
    if (strcmp(rows, "1") == 0) {
        return STATUS_OK;
    }
    error_set(err, ERROR_DATA,
              strcmp(rows, "0") == 0 ? "the target's row is missing"
                                     : "the target has more than one such row");
    return error_hint(err,
                      "The target's rows are not the source's: somebody else has written to "
                      "the table, or a trigger has. weir verify --repair --on-error "
                      "dead-letter mends it (see verify.md), or copy it anew. %s",
                      advice()->start_anew);
}

static Status send_one(PostgresSink *sink, const Statement *statement, PgJudge *judge, Error *err)
{
    if (buf_check(statement->sql, "a statement", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return postgres_session_send(&sink->session,
                                 &(PgStatement){.sql = buf_cstring(statement->sql),
                                                .count = statement->count,
                                                .parameters = statement->parameters,
                                                .judge = judge,
                                                .what = buf_view(&sink->about)},
                                 err);
}

static Status insert_one(PostgresSink *sink, const PgTarget *target, const Value *row, Error *err)
{
    const Relation *relation = target->relation;
    Statement statement = new_statement(sink, relation);
    buf_cstr(statement.sql, "INSERT INTO ");
    buf_str(statement.sql, target->name);
    if (relation->column_count == 0) {
        buf_cstr(statement.sql, " DEFAULT VALUES");
        return send_one(sink, &statement, NULL, err);
    }
    buf_cstr(statement.sql, " (");
    buf_str(statement.sql, target->columns);
    buf_cstr(statement.sql, ") OVERRIDING SYSTEM VALUE VALUES (");
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (!value_is_known(row[i])) {
            error_set(err, ERROR_DATA, "the new row has no value for \"%" STR_FMT "\"",
                      STR_ARG(relation->columns[i].name));
            return about_change(sink, err);
        }
        buf_cstr(statement.sql, i == 0 ? "" : ", ");
        parameter(&statement, row[i]);
    }
    buf_char(statement.sql, ')');
    // No count: a trigger may put the row elsewhere.
    return send_one(sink, &statement, NULL, err);
}

static void cast_parameter(Statement *statement, const PgTarget *target, uint16_t column,
                           Value value)
{
    parameter(statement, value);
    buf_cstr(statement->sql, "::");
    buf_str(statement->sql, target->column[column].type);
}

// With a cast: beside a composite or a range, a parameter would be of no type at all.
static void where_key(Statement *statement, const PgTarget *target, const Value *row)
{
    const Relation *relation = target->relation;
    for (uint16_t i = 0; i < relation->key_count; i++) {
        uint16_t column = relation->key[i];
        buf_cstr(statement->sql, i == 0 ? " WHERE t." : " AND t.");
        name(statement, target, column);
        buf_printf(statement->sql, " %" STR_FMT " ", STR_ARG(target->column[column].equals));
        cast_parameter(statement, target, column, row[column]);
    }
}

// One of the rows that are equal in every column, for statements FROM or USING `one`. Equal is what
// has the same text: not every type has an equality, and 1.0 is not 1.00 here. Both sides make the
// same way through the type, for a cast to text is not always the type's own text (true, 't').
static void with_one_row(Statement *statement, const PgTarget *target, const Value *row)
{
    const Relation *relation = target->relation;
    const char *before = " WHERE t.";
    buf_cstr(statement->sql,
             "WITH one AS MATERIALIZED (SELECT t.tableoid AS part, t.ctid AS place FROM ");
    buf_str(statement->sql, target->name);
    buf_cstr(statement->sql, " AS t");
    for (uint16_t i = 0; i < relation->column_count; i++) {
        Value value = row[i];
        if (!value_is_known(value)) {
            continue;
        }
        buf_cstr(statement->sql, before);
        before = " AND t.";
        name(statement, target, i);
        if (value.state == VALUE_NULL) {
            buf_cstr(statement->sql, " IS NULL");
            continue;
        }
        if (target->column[i].has_equality) {
            buf_cstr(statement->sql, " = ");
            cast_parameter(statement, target, i, value);
            buf_cstr(statement->sql, " AND t.");
            name(statement, target, i);
        }
        buf_cstr(statement->sql, "::text = ");
        cast_parameter(statement, target, i, value);
        buf_cstr(statement->sql, "::text");
    }
    buf_cstr(statement->sql, " LIMIT 1) ");
}

static void where_one_row(Statement *statement)
{
    buf_cstr(statement->sql, " WHERE t.tableoid = one.part AND t.ctid = one.place");
}

static Status no_identity(const PostgresSink *sink, const PgTarget *target, Error *err)
{
    error_set(err, ERROR_DATA, "the change does not say which row it means");
    CLEANUP(buf_done) Buf source;
    buf_init(&source, ERROR_MESSAGE_MAX);
    sql_table_name(&source,
                   (SqlTable){.schema = target->relation->schema, .name = target->relation->name});
    error_hint(err,
               "On the source: ALTER TABLE %s REPLICA IDENTITY FULL; or give it a primary key.",
               buf_cstring(&source));
    return about_change(sink, err);
}

static bool says_which(const Relation *relation, const Value *row)
{
    for (uint16_t i = 0; row != NULL && i < relation->key_count; i++) {
        if (!value_is_known(row[relation->key[i]])) {
            return false;
        }
    }
    return row != NULL;
}

static Status delete_one(PostgresSink *sink, const PgTarget *target, const Value *row, Error *err)
{
    if (!says_which(target->relation, row)) {
        return no_identity(sink, target, err);
    }
    bool keyed = target->relation->key_count > 0;
    Statement statement = new_statement(sink, target->relation);
    if (!keyed) {
        with_one_row(&statement, target, row);
    }
    buf_cstr(statement.sql, "DELETE FROM ");
    buf_str(statement.sql, target->name);
    buf_cstr(statement.sql, " AS t");
    if (keyed) {
        where_key(&statement, target, row);
    } else {
        buf_cstr(statement.sql, " USING one");
        where_one_row(&statement);
    }
    return send_one(sink, &statement, must_be_one, err);
}

// SET what is known. A key that stays is left out: an identity column of the target may refuse it.
static bool set_known(Statement *statement, const PgTarget *target, const Value *row,
                      const Value *where)
{
    const Relation *relation = target->relation;
    const char *before = " SET ";
    for (uint16_t i = 0; i < relation->column_count; i++) {
        bool stays = relation_is_key(relation, i) && value_equal(row[i], where[i]);
        if (value_is_known(row[i]) && !stays) {
            buf_cstr(statement->sql, before);
            name(statement, target, i);
            buf_cstr(statement->sql, " = ");
            parameter(statement, row[i]);
            before = ", ";
        }
    }
    return before[0] == ',';
}

static Status update_one(PostgresSink *sink, const PgTarget *target, const Change *change,
                         Error *err)
{
    const Relation *relation = target->relation;
    bool keyed = relation->key_count > 0;
    const Value *where = change->old_row;
    if (where == NULL && keyed) {
        where = change->new_row;
    }
    if (!says_which(relation, where)) {
        return no_identity(sink, target, err);
    }
    Statement statement = new_statement(sink, relation);
    if (!keyed) {
        with_one_row(&statement, target, where);
    }
    buf_cstr(statement.sql, "UPDATE ");
    buf_str(statement.sql, target->name);
    buf_cstr(statement.sql, " AS t");
    if (!set_known(&statement, target, change->new_row, where)) {
        return STATUS_OK; // nothing but the key is known, and it stays
    }
    if (keyed) {
        where_key(&statement, target, where);
    } else {
        buf_cstr(statement.sql, " FROM one");
        where_one_row(&statement);
    }
    return send_one(sink, &statement, must_be_one, err);
}

Status postgres_apply_one(PostgresSink *sink, const Change *change, Error *err)
{
    const PgTarget *target = postgres_target(sink, change->relation);
    Status status = STATUS_OK;
    describe_change(&sink->about, target, change);
    switch (change->op) {
    case CHANGE_READ:
    case CHANGE_INSERT:
        status = insert_one(sink, target, change->new_row, err);
        break;
    case CHANGE_UPDATE:
        status = update_one(sink, target, change, err);
        break;
    case CHANGE_DELETE:
        status = delete_one(sink, target, change->old_row, err);
        break;
    case CHANGE_TRUNCATE:
    case CHANGE_MESSAGE:
    case CHANGE_SCHEMA:
        break;
    }
    return status;
}
