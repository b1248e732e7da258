// Many updates or deletes in one statement: an array a column, unnested side by side and cast to
// the column's own type, so that the number of parameters does not grow with the rows.
//
// Arrays are sent in binary: nothing in them has to be escaped, or read byte by byte. Their form is
// that of array_recv() in Postgres's arrayfuncs.c. So are their elements, as far as pg/send_form.h
// knows the type; others are sent as text.
#include <assert.h>
#include <endian.h>

#include "sinks/postgres_sink.h"

enum {
    SET_ROWS_MAX = 4000,
    SET_BYTES_MAX = 512 << 10,
    ARRAY_COUNT_AT = 12,
};

typedef struct Set {
    PostgresSink *sink;
    const PgTarget *target;
    uint16_t *columns; // key columns first
    uint16_t column_count;
    uint16_t key_count;
    const PgSendForm **forms;
    Buf *arrays;
    size_t *starts; // of the last row in them
    int64_t rows;
    size_t bytes;
} Set;

static void begin_array(Buf *array, uint32_t element_oid)
{
    buf_be32(array, 1); // dimension
    buf_be32(array, 1); // there may be NULLs
    buf_be32(array, element_oid);
    buf_be32(array, 0); // how many they are: see end_array()
    buf_be32(array, 1); // the first one's number
}

static void end_array(Buf *array, int64_t rows)
{
    uint32_t count = htobe32((uint32_t)rows);
    memcpy(array->ptr + ARRAY_COUNT_AT, &count, sizeof(count));
}

// False: the row has a value that is not in its column's form. Nothing of it is added.
static bool set_add(Set *set, const Value *row)
{
    assert(row != NULL);
    size_t bytes = 0;
    for (uint16_t i = 0; i < set->column_count; i++) {
        size_t before = set->arrays[i].len;
        if (!pg_send_value(set->forms[i], row[set->columns[i]], &set->arrays[i])) {
            while (i-- > 0) {
                set->arrays[i].len = set->starts[i];
            }
            return false;
        }
        set->starts[i] = before;
        bytes += set->arrays[i].len - before;
    }
    set->bytes += bytes;
    set->rows++;
    return true;
}

static bool set_is_full(const Set *set)
{
    return set->rows >= SET_ROWS_MAX || set->bytes >= SET_BYTES_MAX;
}

// A delete has no shape: the key is all there is.
static void choose_columns(Set *set, const Value *shape)
{
    const Relation *relation = set->target->relation;
    set->columns = ARENA_ARRAY(&set->sink->scratch, uint16_t, relation->column_count);
    for (uint16_t i = 0; i < relation->key_count; i++) {
        set->columns[set->column_count++] = relation->key[i];
    }
    for (uint16_t i = 0; shape != NULL && i < relation->column_count; i++) {
        if (!relation_is_key(relation, i) && value_is_known(shape[i])) {
            set->columns[set->column_count++] = i;
        }
    }
}

static void begin_arrays(Set *set, bool all_text)
{
    for (uint16_t i = 0; i < set->column_count; i++) {
        const PgSendForm *form = set->target->column[set->columns[i]].form;
        set->forms[i] = form == NULL || all_text ? pg_send_form(OID_TEXT) : form;
        buf_reset(&set->arrays[i]);
        begin_array(&set->arrays[i], set->forms[i]->element_oid);
    }
}

static void set_init(Set *set, PostgresSink *sink, const PgTarget *target, const Value *shape)
{
    *set = (Set){.sink = sink, .target = target, .key_count = target->relation->key_count};
    choose_columns(set, shape);
    set->forms = ARENA_ARRAY(&sink->scratch, const PgSendForm *, set->column_count);
    set->starts = ARENA_ARRAY(&sink->scratch, size_t, set->column_count);
    set->arrays = ARENA_ARRAY(&sink->scratch, Buf, set->column_count);
    for (uint16_t i = 0; i < set->column_count; i++) {
        buf_init(&set->arrays[i], POSTGRES_ARRAY_MAX);
    }
    begin_arrays(set, false);
}

// Its first row decides on the form: where that takes a text of all columns, the others may be as
// they like.
static bool set_take(Set *set, const Value *row)
{
    if (set_add(set, row)) {
        return true;
    }
    if (set->rows > 0) {
        return false;
    }
    begin_arrays(set, true);
    bool is_added = set_add(set, row);
    assert(is_added);
    return is_added;
}

static void set_done(Set *set)
{
    for (uint16_t i = 0; i < set->column_count; i++) {
        buf_done(&set->arrays[i]);
    }
}

static void cast_column(const Set *set, uint16_t at)
{
    buf_printf(&set->sink->sql, "u.c%u::%" STR_FMT, at,
               STR_ARG(set->target->column[set->columns[at]].type));
}

static void column_name(const Set *set, uint16_t at)
{
    sql_identifier(&set->sink->sql, set->target->relation->columns[set->columns[at]].name);
}

static void unnest_and_match(const Set *set, const char *keyword)
{
    Buf *sql = &set->sink->sql;
    buf_printf(sql, " %s unnest(", keyword);
    for (uint16_t i = 0; i < set->column_count; i++) {
        buf_printf(sql, "%s$%u::%s[]", i == 0 ? "" : ", ", i + 1, set->forms[i]->element);
    }
    buf_cstr(sql, ") AS u (");
    for (uint16_t i = 0; i < set->column_count; i++) {
        buf_printf(sql, "%sc%u", i == 0 ? "" : ", ", i);
    }
    buf_cstr(sql, ") WHERE ");
    for (uint16_t i = 0; i < set->key_count; i++) {
        buf_cstr(sql, i == 0 ? "t." : " AND t.");
        column_name(set, i);
        buf_printf(sql, " %" STR_FMT " ", STR_ARG(set->target->column[set->columns[i]].equals));
        cast_column(set, i);
    }
}

// Its result comes later: the next set is made meanwhile.
static Status send_set(Set *set, const char *what, Error *err)
{
    const char **parameters = ARENA_ARRAY(&set->sink->scratch, const char *, set->column_count);
    int *lengths = ARENA_ARRAY(&set->sink->scratch, int, set->column_count);
    for (uint16_t i = 0; i < set->column_count; i++) {
        if (buf_check(&set->arrays[i], "a set of changes", err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        end_array(&set->arrays[i], set->rows);
        parameters[i] = set->arrays[i].ptr;
        lengths[i] = (int)set->arrays[i].len;
    }
    if (buf_check(&set->sink->sql, "a statement", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_reset(&set->sink->about);
    buf_printf(&set->sink->about, "%s in %" STR_FMT, what, STR_ARG(set->target->name));
    return postgres_session_send(&set->sink->session,
                                 &(PgStatement){.sql = buf_cstring(&set->sink->sql),
                                                .count = set->column_count,
                                                .parameters = parameters,
                                                .lengths = lengths,
                                                .rows = set->rows,
                                                .what = buf_view(&set->sink->about)},
                                 err);
}

static Status run_deletes(Set *set, Error *err)
{
    buf_reset(&set->sink->sql);
    buf_cstr(&set->sink->sql, "DELETE FROM ");
    buf_str(&set->sink->sql, set->target->name);
    buf_cstr(&set->sink->sql, " AS t");
    unnest_and_match(set, "USING");
    return send_set(set, "deletes", err);
}

static Status run_updates(Set *set, Error *err)
{
    if (set->column_count == set->key_count) {
        return STATUS_OK; // only the key is known, and it stays
    }
    buf_reset(&set->sink->sql);
    buf_cstr(&set->sink->sql, "UPDATE ");
    buf_str(&set->sink->sql, set->target->name);
    for (uint16_t i = set->key_count; i < set->column_count; i++) {
        buf_cstr(&set->sink->sql, i == set->key_count ? " AS t SET " : ", ");
        column_name(set, i);
        buf_cstr(&set->sink->sql, " = ");
        cast_column(set, i);
    }
    unnest_and_match(set, "FROM");
    return send_set(set, "updates", err);
}

static bool same_shape(const Relation *relation, const Value *a, const Value *b)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (value_is_known(a[i]) != value_is_known(b[i])) {
            return false;
        }
    }
    return true;
}

// Apply the rows from @first on that have its operation and shape, as many as make one statement;
// they are marked.
static Status apply_set(PostgresSink *sink, const PgTarget *target, const CompactedTable *table,
                        size_t first, bool *done, Error *err)
{
    CompactedOp op = table->rows[first].op;
    const Value *shape = op == COMPACTED_DELETE ? NULL : table->rows[first].row;
    Set set;
    set_init(&set, sink, target, shape);
    for (size_t i = first; i < table->row_count && !set_is_full(&set); i++) {
        const CompactedRow *row = &table->rows[i];
        bool fits = !done[i] && row->op == op &&
                    (shape == NULL || same_shape(table->relation, shape, row->row));
        done[i] = done[i] || (fits && set_take(&set, row->row));
    }
    Status status = op == COMPACTED_DELETE ? run_deletes(&set, err) : run_updates(&set, err);
    set_done(&set);
    return status;
}

Status postgres_apply_sets(PostgresSink *sink, const PgTarget *target, const CompactedTable *table,
                           CompactedOp op, Error *err)
{
    if (table->count_by_op[op] == 0) {
        return STATUS_OK;
    }
    bool *done = ARENA_ARRAY(&sink->scratch, bool, table->row_count);
    for (size_t i = 0; i < table->row_count; i++) {
        if (table->rows[i].op == op && !done[i] &&
            apply_set(sink, target, table, i, done, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}
