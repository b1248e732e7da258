// A row becomes one statement, whatever is there already: so many of them can be sent without
// waiting for each other.
//
//   WITH found1 AS (UPDATE "t" AS t SET … WHERE t."id" = $1 RETURNING 1),
//        found2 AS (UPDATE "t" AS t SET … WHERE t."code" = $2 AND NOT EXISTS (SELECT FROM found1)
//                   RETURNING 1),
//        made AS (INSERT INTO "t" (…) SELECT … WHERE NOT EXISTS (SELECT FROM found1)
//                 AND NOT EXISTS (SELECT FROM found2) RETURNING 1)
//   SELECT 'id' FROM found1 UNION ALL SELECT 'code' FROM found2 UNION ALL SELECT '' FROM made
//
// Where the object says only the code, `made` also returns the keys, of which a message is made.
//
// What was made by somebody else in between, the INSERT stumbles over: push_postgres_rows.c.
#include <assert.h>

#include "hub/hub_given.h"
#include "hub/push_postgres_inside.h"
#include "model/convert.h"

enum { SHOWN_BYTES_MAX = 60 };

// A function of the server takes 100 arguments: more keys than these are not told.
enum { GIVEN_KEYS_MAX = 50 };

typedef struct Writer {
    const PushTarget *target;
    const PushedRow *row;
    Buf *sql;
    bool tells;      // of a new row, the keys that it was given
    bool is_lacking; // also of one that is found
} Writer;

// ---------------------------------------------------------------------------------------------
// Cells
// ---------------------------------------------------------------------------------------------

static int column_of(const PushTarget *target, const PushedRow *row, size_t cell)
{
    int column = target->binding.columns[row->cells[cell].field - row->rule->fields];
    assert(column >= 0);
    return column;
}

static const PgFoundColumn *found_column(const Writer *in, size_t cell)
{
    return in->target->columns[column_of(in->target, in->row, cell)];
}

static void name(const Writer *in, size_t cell)
{
    pg_identifier(in->sql, found_column(in, cell)->name);
}

// Its type without a length: a cast to varchar(3) would cut in silence.
static void parameter(const Writer *in, size_t cell)
{
    buf_printf(in->sql, "$%zu::%" STR_FMT, cell + 1, STR_ARG(found_column(in, cell)->cast));
}

static void is_equal(const Writer *in, size_t cell)
{
    buf_cstr(in->sql, "t.");
    name(in, cell);
    buf_printf(in->sql, " %" STR_FMT " ", STR_ARG(found_column(in, cell)->equals));
    parameter(in, cell);
}

// ---------------------------------------------------------------------------------------------
// Keys that the database gives
// ---------------------------------------------------------------------------------------------

// One that is null is one that it does not have yet.
static bool says(const PushedRow *row, const MixerField *field)
{
    for (size_t i = 0; i < row->count; i++) {
        if (row->cells[i].field == field) {
            return row->cells[i].value.kind != JSON_NULL;
        }
    }
    return false;
}

// Somebody finds the object by it.
static bool is_key(const PushedRow *row, const MixerField *field)
{
    return field->constant == NULL && row->rule->model->is_search_key[field->property];
}

// The database may give the row a key.
static bool may_be_given(const Writer *in)
{
    size_t keys = 0;
    size_t given = 0;
    for (size_t i = 0; i < in->row->rule->count; i++) {
        const MixerField *field = &in->row->rule->fields[i];
        keys += is_key(in->row, field);
        given += is_key(in->row, field) && !says(in->row, field);
    }
    return in->target->tells && given > 0 && keys <= GIVEN_KEYS_MAX;
}

static int column_of_field(const Writer *in, size_t field)
{
    return in->target->binding.columns[field];
}

static void key_name(const Writer *in, size_t field)
{
    pg_identifier(in->sql, in->target->columns[column_of_field(in, field)]->name);
}

// What a WITH query gives of each row: keys, if they are to be told.
static void put_result(const Writer *in, bool tells)
{
    const char *before = "";
    buf_cstr(in->sql, tells ? "" : "1");
    if (!tells) {
        return;
    }
    for (size_t i = 0; i < in->row->rule->count; i++) {
        if (is_key(in->row, &in->row->rule->fields[i])) {
            buf_cstr(in->sql, before);
            key_name(in, i);
            before = ", ";
        }
    }
}

// As convert_from_column() has it: most types are text, as Postgres writes it, which neither a cast
// nor JSON does of all of them.
static void key_as_json(const Writer *in, size_t field)
{
    switch (in->target->binding.relation->columns[column_of_field(in, field)].type) {
    case TYPE_BOOL:
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
    case TYPE_NUMERIC:
    case TYPE_JSON:
    case TYPE_JSONB:
        key_name(in, field);
        return;
    case TYPE_OID:
        key_name(in, field);
        buf_cstr(in->sql, "::text::bigint");
        return;
    case TYPE_OTHER:
    case TYPE_TEXT:
    case TYPE_BYTEA:
    case TYPE_DATE:
    case TYPE_TIME:
    case TYPE_TIMETZ:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
    case TYPE_INTERVAL:
    case TYPE_UUID:
    case TYPE_BIT:
        break;
    }
    buf_cstr(in->sql, "CASE WHEN ");
    key_name(in, field);
    buf_cstr(in->sql, " IS NOT NULL THEN format('%s', ");
    key_name(in, field);
    buf_cstr(in->sql, ") END");
}

static void put_keys(const Writer *in)
{
    const char *before = "";
    for (size_t i = 0; i < in->row->rule->count; i++) {
        const MixerField *field = &in->row->rule->fields[i];
        if (is_key(in->row, field)) {
            buf_cstr(in->sql, before);
            pg_literal(in->sql, in->row->rule->model->properties[field->property].name);
            buf_cstr(in->sql, ", ");
            key_as_json(in, i);
            before = ", ";
        }
    }
}

// The columns of which the object does not say what they are.
static void put_given(const Writer *in)
{
    const char *before = "";
    for (size_t i = 0; i < in->row->rule->count; i++) {
        const MixerField *field = &in->row->rule->fields[i];
        if (is_key(in->row, field) && !says(in->row, field)) {
            buf_cstr(in->sql, before);
            key_name(in, i);
            before = ", ";
        }
    }
}

// @by: by what it was found.
static void select_outcome(const Writer *in, Str by, bool tells)
{
    buf_cstr(in->sql, "SELECT ");
    pg_literal(in->sql, by);
    if (!tells) {
        return;
    }
    buf_cstr(in->sql, " || CASE WHEN num_nonnulls(");
    put_given(in);
    buf_cstr(in->sql, ") = 0 THEN '' ELSE left(pg_logical_emit_message(true, '" HUB_GIVEN_PREFIX
                      "', json_build_object('model', ");
    pg_literal(in->sql, in->row->rule->model->title);
    buf_cstr(in->sql, ", 'keys', json_build_object(");
    put_keys(in);
    buf_cstr(in->sql, "))::text)::text, 0) END");
}

// ---------------------------------------------------------------------------------------------
// Upserts
// ---------------------------------------------------------------------------------------------

static void not_found_before(const Writer *in, size_t key, const char *before)
{
    for (size_t i = 0; i < key; i++) {
        buf_printf(in->sql, "%sNOT EXISTS (SELECT FROM found%zu)", before, i + 1);
        before = " AND ";
    }
}

// What an update cannot set: the row's own number, if the database insists on giving it.
static bool is_given(const Writer *in, size_t cell)
{
    return found_column(in, cell)->is_identity_always;
}

static bool sets_something(const Writer *in, size_t key)
{
    for (size_t i = 0; i < in->row->count; i++) {
        if (i != key && !is_given(in, i)) {
            return true;
        }
    }
    return false;
}

static void update_set(const Writer *in, size_t key)
{
    const char *before = " SET ";
    buf_cstr(in->sql, "UPDATE ");
    buf_str(in->sql, in->target->name);
    buf_cstr(in->sql, " AS t");
    for (size_t i = 0; i < in->row->count; i++) {
        if (i != key && !is_given(in, i)) {
            buf_cstr(in->sql, before);
            name(in, i);
            buf_cstr(in->sql, " = ");
            parameter(in, i);
            before = ", ";
        }
    }
}

// Whose keys go together is said more than once, also to who has said it: a row that has them
// already is left alone. It need not be found, as nothing else would be done to it.
static void differs(const Writer *in, size_t key)
{
    const char *before = " AND (";
    for (size_t i = 0; i < in->row->count; i++) {
        if (i != key && !is_given(in, i)) {
            buf_cstr(in->sql, before);
            if (found_column(in, i)->has_equality) {
                buf_char(in->sql, '(');
                is_equal(in, i);
                buf_cstr(in->sql, ") IS NOT TRUE");
            } else {
                buf_cstr(in->sql, "true");
            }
            before = " OR ";
        }
    }
    buf_char(in->sql, ')');
}

// The row that has search key @key. One with another number than it should have is not the one.
static void find_by(const Writer *in, size_t key)
{
    bool updates = sets_something(in, key);
    buf_printf(in->sql, "found%zu AS (", key + 1);
    if (updates) {
        update_set(in, key);
    } else {
        buf_cstr(in->sql, "SELECT ");
        put_result(in, in->is_lacking);
        buf_cstr(in->sql, " FROM ");
        buf_str(in->sql, in->target->name);
        buf_cstr(in->sql, " AS t");
    }
    buf_cstr(in->sql, " WHERE ");
    is_equal(in, key);
    for (size_t i = 0; i < in->row->count; i++) {
        if (i != key && is_given(in, i)) {
            buf_cstr(in->sql, " AND ");
            is_equal(in, i);
        }
    }
    if (updates && in->row->only_if_there) {
        differs(in, key);
    }
    not_found_before(in, key, " AND ");
    if (updates) {
        buf_cstr(in->sql, " RETURNING ");
        put_result(in, in->is_lacking);
    }
    buf_cstr(in->sql, "), ");
}

static void insert_into(const Writer *in)
{
    buf_cstr(in->sql, "INSERT INTO ");
    buf_str(in->sql, in->target->name);
    for (size_t i = 0; i < in->row->count; i++) {
        buf_cstr(in->sql, i == 0 ? " (" : ", ");
        name(in, i);
    }
    buf_cstr(in->sql, ") OVERRIDING SYSTEM VALUE SELECT ");
    for (size_t i = 0; i < in->row->count; i++) {
        buf_cstr(in->sql, i == 0 ? "" : ", ");
        parameter(in, i);
    }
}

static void upsert(const Writer *in)
{
    size_t keys = in->row->search_key_count;
    buf_cstr(in->sql, "WITH ");
    for (size_t i = 0; i < keys; i++) {
        find_by(in, i);
    }
    buf_cstr(in->sql, "made AS (");
    if (in->row->only_if_there) {
        buf_cstr(in->sql, "SELECT WHERE false) ");
    } else {
        insert_into(in);
        not_found_before(in, keys, " WHERE ");
        buf_cstr(in->sql, " RETURNING ");
        put_result(in, in->tells);
        buf_cstr(in->sql, ") ");
    }
    for (size_t i = 0; i < keys; i++) {
        select_outcome(in, found_column(in, i)->name, in->is_lacking);
        buf_printf(in->sql, " FROM found%zu UNION ALL ", i + 1);
    }
    select_outcome(in, STR(""), in->tells && !in->row->only_if_there);
    buf_cstr(in->sql, " FROM made");
}

static void delete_row(const Writer *in)
{
    buf_cstr(in->sql, "DELETE FROM ");
    buf_str(in->sql, in->target->name);
    for (size_t i = 0; i < in->row->count; i++) {
        buf_cstr(in->sql, i == 0 ? " AS t WHERE " : " AND ");
        is_equal(in, i);
    }
}

// ---------------------------------------------------------------------------------------------
// Statements
// ---------------------------------------------------------------------------------------------

static bool is_null_key(const PushTarget *target, const PushedRow *row, size_t cell)
{
    const PushedCell *at = &row->cells[cell];
    return at->field->is_search_key && at->value.kind == JSON_NULL &&
           target->columns[column_of(target, row, cell)]->not_null;
}

static PushedRow without_null_keys(const PushTarget *target, const PushedRow *row, Arena *arena)
{
    PushedRow kept = *row;
    kept.cells = ARENA_ARRAY(arena, PushedCell, row->count);
    kept.count = 0;
    for (size_t i = 0; i < row->count; i++) {
        if (!is_null_key(target, row, i)) {
            kept.cells[kept.count++] = row->cells[i];
        }
    }
    return kept;
}

void push_statement(const PushTarget *target, const PushedRow *row, const Value *values,
                    Arena *arena, PushStatement *ret)
{
    assert(row->count > 0 && row->search_key_count <= row->count);
    const PushedRow kept = without_null_keys(target, row, arena);
    Writer in = {.target = target, .row = &kept, .sql = ret->sql};
    in.tells = may_be_given(&in);
    in.is_lacking = in.tells && kept.count < row->count;
    buf_reset(ret->sql);
    row = &kept;
    if (row->count == 0) {
        return;
    }
    if (row->op == OBJECT_DELETE) {
        delete_row(&in);
    } else if (row->search_key_count == 0) {
        insert_into(&in);
    } else {
        upsert(&in);
    }
    ret->count = (int)row->count;
    ret->parameters = ARENA_ARRAY(arena, const char *, row->count);
    for (size_t i = 0; i < row->count; i++) {
        Value value = values[column_of(target, row, i)];
        assert(value.state == VALUE_NULL || value.state == VALUE_TEXT);
        ret->parameters[i] =
            value.state == VALUE_NULL ? NULL : str_to_cstr(arena, value_str(value));
    }
}

static Status key_parameter(const PushTarget *target, int column, const JsonValue *value,
                            Arena *arena, const char **ret, Error *err)
{
    Value text;
    if (convert_to_column(arena, &target->binding.relation->columns[column], value, &text, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = str_to_cstr(arena, value_str(text));
    return STATUS_OK;
}

Status push_key_statement(const PushTarget *target, const PushedKey *key, Arena *arena,
                          PushStatement *ret, Error *err)
{
    int column = target->binding.columns[key->field - target->binding.rule->fields];
    const PgFoundColumn *found = target->columns[column];
    Buf *sql = ret->sql;
    buf_reset(sql);
    buf_cstr(sql, "WITH moved AS (UPDATE ");
    buf_str(sql, target->name);
    buf_cstr(sql, " AS t SET ");
    pg_identifier(sql, found->name);
    buf_printf(sql, " = $2::%" STR_FMT " WHERE t.", STR_ARG(found->cast));
    pg_identifier(sql, found->name);
    buf_printf(sql, " %" STR_FMT " $1::%" STR_FMT " AND NOT EXISTS (SELECT FROM ",
               STR_ARG(found->equals), STR_ARG(found->cast));
    buf_str(sql, target->name);
    buf_cstr(sql, " AS o WHERE o.");
    pg_identifier(sql, found->name);
    buf_printf(sql, " %" STR_FMT " $2::%" STR_FMT ") RETURNING 1) DELETE FROM ",
               STR_ARG(found->equals), STR_ARG(found->cast));
    buf_str(sql, target->name);
    buf_cstr(sql, " AS t WHERE t.");
    pg_identifier(sql, found->name);
    buf_printf(sql, " %" STR_FMT " $1::%" STR_FMT " AND NOT EXISTS (SELECT FROM moved)",
               STR_ARG(found->equals), STR_ARG(found->cast));
    ret->count = 2;
    ret->parameters = ARENA_ARRAY(arena, const char *, 2);
    return key_parameter(target, column, &key->before, arena, &ret->parameters[0], err) == STATUS_OK
               ? key_parameter(target, column, &key->value, arena, &ret->parameters[1], err)
               : STATUS_FAIL;
}

void push_describe(const PushTarget *target, const PushedRow *row, const Value *values, Buf *text)
{
    buf_reset(text);
    buf_cstr(text, row->op == OBJECT_DELETE ? "delete in " : "upsert in ");
    buf_str(text, target->name);
    for (size_t i = 0; i < row->search_key_count; i++) {
        int column = column_of(target, row, i);
        Str shown = value_str(values[column]);
        shown.len = MIN(shown.len, (size_t)SHOWN_BYTES_MAX);
        buf_cstr(text, i == 0 ? " where \"" : ", \"");
        buf_str(text, target->columns[column]->name);
        buf_cstr(text, "\" = ");
        buf_str(text, shown);
    }
}
