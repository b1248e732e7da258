// mode=mirror: the rows as they are after the changes, set by set.
//
// DuckDB keeps columns in vectors of 2048 rows and rewrites whole ones, so an UPDATE of scattered
// rows costs thirty times what it costs to delete them and append them anew. Therefore nothing is
// ever updated in place: deleted rows are joined from a temporary table, and every row that has a
// new value, after its unknown columns were looked up, is appended.
#include <assert.h>

#include "base/limits.h"
#include "change/compaction.h"
#include "sinks/duckdb_sink.h"

// ---------------------------------------------------------------------------------------------
// Appending
// ---------------------------------------------------------------------------------------------

Status duck_append_end(DuckSink *sink, Error *err)
{
    if (!duck_writer_is_open(&sink->writer)) {
        return STATUS_OK;
    }
    if (duck_writer_flush(&sink->writer, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    duck_writer_close(&sink->writer);
    sink->writes_to = NULL;
    return STATUS_OK;
}

Status duck_append_to(DuckSink *sink, const DuckTable *table, Error *err)
{
    if (sink->writes_to == table) {
        return STATUS_OK;
    }
    if (duck_append_end(sink, err) != STATUS_OK ||
        duck_writer_open(&sink->writer, &sink->session, table->target, table->columns,
                         table->column_count, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sink->writes_to = table;
    return STATUS_OK;
}

Status duck_stage(DuckSink *sink, const DuckWriterColumn *columns, uint16_t count, Error *err)
{
    Buf *sql = &sink->session.sql;
    SqlTable stage = {.catalog = STR("temp"), .schema = STR("main"), .name = STR(DUCK_STAGE)};
    if (duck_append_end(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    buf_cstr(sql, "CREATE OR REPLACE TEMPORARY TABLE " DUCK_TEMPORARY(DUCK_STAGE) " (");
    for (uint16_t i = 0; i < count; i++) {
        buf_cstr(sql, i == 0 ? "" : ", ");
        sql_identifier(sql, columns[i].name);
        buf_char(sql, ' ');
        duck_type_name(columns[i].type, sql);
    }
    buf_char(sql, ')');
    if (duck_run(&sink->session, NULL, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return duck_writer_open(&sink->writer, &sink->session, stage, columns, count, err);
}

Status duck_about_row(const Relation *relation, const Value *row, Error *err)
{
    if (relation->key_count == 0) {
        return STATUS_FAIL;
    }
    CLEANUP(buf_done) Buf text;
    buf_init(&text, ERROR_MESSAGE_MAX);
    sql_describe_row(&text, relation, row);
    return error_wrap(err, "row%" STR_FMT, STR_ARG(buf_view(&text)));
}

static Status append_row(DuckSink *sink, const DuckTable *table, const Value *row, Error *err)
{
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (duck_writer_value(&sink->writer, i, row[i], err) != STATUS_OK) {
            return duck_about_row(table->relation, row, err);
        }
    }
    return duck_writer_end_row(&sink->writer, err);
}

const Value *duck_full_row(DuckSink *sink, const Change *change)
{
    uint16_t count = change->relation->column_count;
    const Value *row = change->new_row;
    Value *filled = NULL;
    for (uint16_t i = 0; i < count && change->old_row != NULL; i++) {
        if (value_is_known(row[i]) || !value_is_known(change->old_row[i])) {
            continue;
        }
        if (filled == NULL) {
            filled = ARENA_ARRAY(&sink->scratch, Value, count);
            memcpy(filled, row, count * sizeof(Value));
            row = filled;
        }
        filled[i] = change->old_row[i];
    }
    return row;
}

// ---------------------------------------------------------------------------------------------
// Deleting
// ---------------------------------------------------------------------------------------------

// Names in the stage: k0, k1, … the key that finds the row; c0, c1, … its values.
static Str stage_name(DuckSink *sink, char kind, uint16_t index)
{
    return str_from(arena_printf(&sink->scratch, "%c%u", kind, index));
}

static DuckWriterColumn stage_column(DuckSink *sink, const DuckTable *table, char kind,
                                     uint16_t index)
{
    uint16_t column = kind == 'k' ? table->relation->key[index] : index;
    return (DuckWriterColumn){.name = stage_name(sink, kind, index),
                              .called = table->columns[column].name,
                              .type = table->columns[column].type};
}

static void put_column(Buf *sql, const char *table, Str column)
{
    buf_printf(sql, "%s.", table);
    sql_identifier(sql, column);
}

// t."id" = s."k0" AND …
static void put_key_join(DuckSink *sink, const DuckTable *table)
{
    Buf *sql = &sink->session.sql;
    for (uint16_t i = 0; i < table->relation->key_count; i++) {
        buf_cstr(sql, i == 0 ? "" : " AND ");
        put_column(sql, "t", table->columns[table->relation->key[i]].name);
        buf_printf(sql, " = s.\"k%u\"", i);
    }
}

Status duck_run_delete(DuckSink *sink, DuckTable *table, uint64_t expected, Error *err)
{
    uint64_t count;
    table->changed_in = sink->transaction;
    if (duck_run(&sink->session, &count, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (expected == DUCK_ANY || count == expected) {
        return STATUS_OK;
    }
    error_set(err, ERROR_DATA,
              "updates and deletes of %" PRIu64 " rows met %" PRIu64 " rows in table \"%" STR_FMT
              ".%" STR_FMT "\" of \"%s\"",
              expected, count, STR_ARG(table->target.schema), STR_ARG(table->target.name),
              sink->session.path);
    return error_hint(err, "Somebody else has changed the target's rows. Have the table copied "
                           "again.");
}

static void put_delete(DuckSink *sink, const DuckTable *table)
{
    buf_cstr(&sink->session.sql, "DELETE FROM ");
    sql_table_name(&sink->session.sql, table->target);
}

static Status delete_staged_keys(DuckSink *sink, DuckTable *table, uint64_t expected, Error *err)
{
    put_delete(sink, table);
    buf_cstr(&sink->session.sql, " AS t USING " DUCK_TEMPORARY(DUCK_STAGE) " AS s WHERE ");
    put_key_join(sink, table);
    return duck_run_delete(sink, table, expected, err);
}

Status duck_truncate(DuckSink *sink, DuckTable *table, Error *err)
{
    if (duck_append_end(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    put_delete(sink, table);
    return duck_run_delete(sink, table, DUCK_ANY, err);
}

// The rows that go: deleted ones, and those that come back with other values.
static Status delete_rows(DuckSink *sink, DuckTable *table, const CompactedTable *compacted,
                          Error *err)
{
    const Relation *relation = table->relation;
    DuckWriterColumn *columns = ARENA_ARRAY(&sink->scratch, DuckWriterColumn, relation->key_count);
    uint64_t count = 0;
    for (uint16_t i = 0; i < relation->key_count; i++) {
        columns[i] = stage_column(sink, table, 'k', i);
    }
    for (size_t i = 0; i < compacted->row_count; i++) {
        const CompactedRow *row = &compacted->rows[i];
        bool goes = row->op == COMPACTED_DELETE || (row->op == COMPACTED_UPDATE && row->is_full);
        if (!goes) {
            continue;
        }
        if (count == 0 && duck_stage(sink, columns, relation->key_count, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        for (uint16_t k = 0; k < relation->key_count; k++) {
            if (duck_writer_value(&sink->writer, k, row->row[relation->key[k]], err) != STATUS_OK) {
                return duck_about_row(relation, row->row, err);
            }
        }
        if (duck_writer_end_row(&sink->writer, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        count++;
    }
    if (count == 0) {
        return STATUS_OK;
    }
    return duck_append_end(sink, err) == STATUS_OK ? delete_staged_keys(sink, table, count, err)
                                                   : STATUS_FAIL;
}

// ---------------------------------------------------------------------------------------------
// Updates that leave columns as they are
//
// The stage has the key that finds the row (k), the new values (c), and for columns that only some
// of the updates know, whether this one does (u). The rows that are found are remembered, then
// inserted anew with the new values, then deleted: in this order the moves of rows to keys that
// others leave are one set, and values that stay, which are long as a rule, go the shortest way.
// ---------------------------------------------------------------------------------------------

// An update: which row, and its new values, some of them not known.
typedef struct PartialRow {
    const Value *from; // has the key under which the row is found
    const Value *row;
} PartialRow;

typedef struct PartialRows {
    const PartialRow *rows;
    size_t count;
    // How many of the rows know each column: all of them, some or none.
    const size_t *known;
} PartialRows;

static bool is_staged(const PartialRows *rows, uint16_t column)
{
    return rows->known[column] > 0;
}

static bool is_mixed(const PartialRows *rows, uint16_t column)
{
    return rows->known[column] > 0 && rows->known[column] < rows->count;
}

static Status open_partial(DuckSink *sink, const DuckTable *table, const PartialRows *rows,
                           Error *err)
{
    const Relation *relation = table->relation;
    uint16_t count = 0;
    size_t most = (size_t)relation->key_count + 2 * (size_t)relation->column_count;
    DuckWriterColumn *columns = ARENA_ARRAY(&sink->scratch, DuckWriterColumn, most);
    for (uint16_t i = 0; i < relation->key_count; i++) {
        columns[count++] = stage_column(sink, table, 'k', i);
    }
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (is_staged(rows, i)) {
            columns[count++] = stage_column(sink, table, 'c', i);
        }
        if (is_mixed(rows, i)) {
            columns[count++] =
                (DuckWriterColumn){.name = stage_name(sink, 'u', i), .type = {.kind = DUCK_BIGINT}};
        }
    }
    return duck_stage(sink, columns, count, err);
}

static Status stage_partial_row(DuckSink *sink, const Relation *relation, const PartialRows *rows,
                                const PartialRow *partial, Error *err)
{
    uint16_t at = 0;
    for (uint16_t i = 0; i < relation->key_count; i++) {
        Value key = partial->from[relation->key[i]];
        if (duck_writer_value(&sink->writer, at++, key, err) != STATUS_OK) {
            return duck_about_row(relation, partial->from, err);
        }
    }
    for (uint16_t i = 0; i < relation->column_count; i++) {
        bool is_known = value_is_known(partial->row[i]);
        Value value = is_known ? partial->row[i] : (Value){.state = VALUE_NULL};
        if (is_staged(rows, i) && duck_writer_value(&sink->writer, at++, value, err) != STATUS_OK) {
            return duck_about_row(relation, partial->from, err);
        }
        if (is_mixed(rows, i)) {
            duck_writer_int64(&sink->writer, at++, is_known ? 1 : 0);
        }
    }
    return duck_writer_end_row(&sink->writer, err);
}

static Status stage_partial(DuckSink *sink, const DuckTable *table, const PartialRows *rows,
                            Error *err)
{
    if (open_partial(sink, table, rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < rows->count; i++) {
        if (stage_partial_row(sink, table->relation, rows, &rows->rows[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return duck_append_end(sink, err);
}

static void put_staged_with_target(DuckSink *sink, const DuckTable *table)
{
    buf_cstr(&sink->session.sql, " FROM " DUCK_TEMPORARY(DUCK_STAGE) " AS s JOIN ");
    sql_table_name(&sink->session.sql, table->target);
    buf_cstr(&sink->session.sql, " AS t ON ");
    put_key_join(sink, table);
}

static void put_find(DuckSink *sink, const DuckTable *table)
{
    buf_cstr(&sink->session.sql, "CREATE OR REPLACE TEMPORARY TABLE " DUCK_TEMPORARY(DUCK_FOUND));
    buf_cstr(&sink->session.sql, " AS SELECT t.rowid AS r");
    put_staged_with_target(sink, table);
}

static void put_insert_completed(DuckSink *sink, const DuckTable *table, const PartialRows *rows)
{
    Buf *sql = &sink->session.sql;
    uint16_t count = table->relation->column_count;
    buf_cstr(sql, "INSERT INTO ");
    sql_table_name(sql, table->target);
    buf_cstr(sql, " (");
    for (uint16_t i = 0; i < count; i++) {
        buf_cstr(sql, i == 0 ? "" : ", ");
        sql_identifier(sql, table->columns[i].name);
    }
    buf_cstr(sql, ") SELECT ");
    for (uint16_t i = 0; i < count; i++) {
        buf_cstr(sql, i == 0 ? "" : ", ");
        if (is_mixed(rows, i)) {
            buf_printf(sql, "CASE s.\"u%u\" WHEN 1 THEN s.\"c%u\" ELSE ", i, i);
        }
        if (is_staged(rows, i) && !is_mixed(rows, i)) {
            buf_printf(sql, "s.\"c%u\"", i);
        } else {
            put_column(sql, "t", table->columns[i].name);
        }
        buf_cstr(sql, is_mixed(rows, i) ? " END" : "");
    }
    put_staged_with_target(sink, table);
}

static Status replace_partial(DuckSink *sink, DuckTable *table, const PartialRows *rows, Error *err)
{
    if (stage_partial(sink, table, rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    put_find(sink, table);
    if (duck_run(&sink->session, NULL, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    put_insert_completed(sink, table, rows);
    if (duck_run(&sink->session, NULL, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    put_delete(sink, table);
    buf_cstr(&sink->session.sql, " WHERE rowid IN (SELECT r FROM " DUCK_TEMPORARY(DUCK_FOUND) ")");
    return duck_run_delete(sink, table, rows->count, err);
}

// No two of @rows are of the same row.
static Status update_partial(DuckSink *sink, DuckTable *table, const PartialRow *rows, size_t count,
                             Error *err)
{
    uint16_t column_count = table->relation->column_count;
    size_t *known = ARENA_ARRAY(&sink->scratch, size_t, column_count);
    for (size_t i = 0; i < count; i++) {
        for (uint16_t column = 0; column < column_count; column++) {
            known[column] += value_is_known(rows[i].row[column]) ? 1 : 0;
        }
    }
    PartialRows partial = {.rows = rows, .count = count, .known = known};
    return count == 0 ? STATUS_OK : replace_partial(sink, table, &partial, err);
}

static bool is_partial(const CompactedRow *row)
{
    return row->op == COMPACTED_MOVE || (row->op == COMPACTED_UPDATE && !row->is_full);
}

static Status update_rows(DuckSink *sink, DuckTable *table, const CompactedTable *compacted,
                          Error *err)
{
    PartialRow *rows = ARENA_ARRAY(&sink->scratch, PartialRow, compacted->row_count);
    size_t count = 0;
    for (size_t i = 0; i < compacted->row_count; i++) {
        const CompactedRow *row = &compacted->rows[i];
        if (is_partial(row)) {
            rows[count++] = (PartialRow){row->from, row->row};
        }
    }
    return update_partial(sink, table, rows, count, err);
}

static Status append_rows(DuckSink *sink, DuckTable *table, const CompactedTable *compacted,
                          Error *err)
{
    for (size_t i = 0; i < compacted->row_count; i++) {
        const CompactedRow *row = &compacted->rows[i];
        bool comes = row->op == COMPACTED_INSERT || (row->op == COMPACTED_UPDATE && row->is_full);
        if (comes && (duck_append_to(sink, table, err) != STATUS_OK ||
                      append_row(sink, table, row->row, err) != STATUS_OK)) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Tables with a key
// ---------------------------------------------------------------------------------------------

static Status apply_barrier(DuckSink *sink, DuckTable *table, const Change *change, Error *err)
{
    if (change->op == CHANGE_TRUNCATE) {
        return duck_truncate(sink, table, err);
    }
    if (change->op != CHANGE_UPDATE || change->new_row == NULL) {
        return error_set(err, ERROR_FATAL, "a change of kind \"%s\" was left over",
                         change_op_name(change->op));
    }
    const Value *row = duck_full_row(sink, change);
    PartialRow partial = {change->old_row == NULL ? row : change->old_row, row};
    return update_partial(sink, table, &partial, 1, err);
}

static Status apply_keyed(DuckSink *sink, DuckTable *table, const Change *changes, size_t count,
                          Error *err)
{
    size_t done = 0;
    while (done < count) {
        Compacted compacted;
        compact(changes + done, count - done, MOVES_ARE_FOLDED, &sink->scratch, &compacted);
        assert(compacted.table_count <= 1);
        for (size_t i = 0; i < compacted.table_count; i++) {
            const CompactedTable *rows = &compacted.tables[i];
            if (delete_rows(sink, table, rows, err) != STATUS_OK ||
                update_rows(sink, table, rows, err) != STATUS_OK ||
                append_rows(sink, table, rows, err) != STATUS_OK) {
                return STATUS_FAIL;
            }
        }
        assert(compacted.consumed > 0 || compacted.barrier != NULL);
        done += compacted.consumed;
        if (compacted.barrier == NULL) {
            continue;
        }
        if (apply_barrier(sink, table, compacted.barrier, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        done = (size_t)(compacted.barrier - changes) + 1;
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Tables without a key
//
// A row is named by all its values, and several rows may have them. What a run of changes does to
// such a table is a sum: each new row image counts +1, each old one -1, in whatever order.
// ---------------------------------------------------------------------------------------------

typedef struct Image {
    struct Image *next; // in order of first appearance
    const Value *row;
    int64_t count;
} Image;

typedef struct ImageSum {
    DuckSink *sink;
    const Relation *relation;
    Map images; // row image as bytes -> Image
    Image *first;
    Image **tail;
    Buf bytes;
} ImageSum;

static Status no_image(const Change *change, Error *err)
{
    const Relation *relation = change->relation;
    error_set(err, ERROR_DATA,
              "the table has no key, and an update or delete did not bring the row's old values");
    return error_hint(err,
                      "In the source: ALTER TABLE \"%" STR_FMT "\".\"%" STR_FMT
                      "\" REPLICA IDENTITY FULL; or give the table a primary key.",
                      STR_ARG(relation->schema), STR_ARG(relation->name));
}

static Status image_add(ImageSum *sum, const Change *change, const Value *row, int64_t count,
                        Error *err)
{
    buf_reset(&sum->bytes);
    for (uint16_t i = 0; i < sum->relation->column_count; i++) {
        if (row == NULL || !value_is_known(row[i])) {
            return no_image(change, err);
        }
        bool is_null = row[i].state == VALUE_NULL;
        uint32_t len = is_null ? UINT32_MAX : row[i].len;
        buf_bytes(&sum->bytes, &len, sizeof(len));
        buf_bytes(&sum->bytes, row[i].ptr, is_null ? 0 : len);
    }
    if (buf_check(&sum->bytes, "a row", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Image *image = map_get(&sum->images, buf_view(&sum->bytes));
    if (image == NULL) {
        image = arena_alloc_zero(&sum->sink->scratch, sizeof(*image));
        image->row = row;
        *sum->tail = image;
        sum->tail = &image->next;
        map_put(&sum->images, str_copy(&sum->sink->scratch, buf_view(&sum->bytes)), image);
    }
    image->count += count;
    return STATUS_OK;
}

static Status image_sum(ImageSum *sum, const Change *changes, size_t count, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        const Change *change = &changes[i];
        bool has_old = change->op == CHANGE_UPDATE || change->op == CHANGE_DELETE;
        bool has_new =
            change->op == CHANGE_UPDATE || change->op == CHANGE_INSERT || change->op == CHANGE_READ;
        if (has_old && image_add(sum, change, change->old_row, -1, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (has_new &&
            image_add(sum, change, duck_full_row(sum->sink, change), 1, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// Equal by DuckDB's types may be different by Postgres's text (-0 and 0; one month and thirty
// days).
static bool compares_as_text(DuckType type)
{
    return type.kind == DUCK_FLOAT || type.kind == DUCK_DOUBLE || type.kind == DUCK_INTERVAL ||
           type.kind == DUCK_TIMETZ;
}

// @count rows of each staged image, whose number is in the stage's last column.
static Status delete_images(DuckSink *sink, DuckTable *table, uint64_t expected, Error *err)
{
    Buf *sql = &sink->session.sql;
    put_delete(sink, table);
    buf_cstr(sql,
             " WHERE rowid IN (SELECT r FROM (SELECT t.rowid AS r, s.n AS n, row_number() "
             "OVER (PARTITION BY s.rowid) AS i FROM " DUCK_TEMPORARY(DUCK_STAGE) " AS s JOIN ");
    sql_table_name(sql, table->target);
    buf_cstr(sql, " AS t ON ");
    for (uint16_t i = 0; i < table->relation->column_count; i++) {
        const char *format = compares_as_text(table->columns[i].type) ? "CAST(" : "(";
        const char *end = compares_as_text(table->columns[i].type) ? " AS VARCHAR)" : ")";
        buf_cstr(sql, i == 0 ? "" : " AND ");
        buf_cstr(sql, format);
        put_column(sql, "t", table->columns[i].name);
        buf_printf(sql, "%s IS NOT DISTINCT FROM %ss.\"c%u\"%s", end, format, i, end);
    }
    buf_cstr(sql, ") WHERE i <= n)");
    return duck_run_delete(sink, table, expected, err);
}

static Status stage_images(ImageSum *sum, const DuckTable *table, uint64_t *ret_count, Error *err)
{
    DuckSink *sink = sum->sink;
    uint16_t width = sum->relation->column_count;
    DuckWriterColumn *columns = ARENA_ARRAY(&sink->scratch, DuckWriterColumn, (size_t)width + 1);
    uint64_t count = 0;
    for (uint16_t i = 0; i < width; i++) {
        columns[i] = stage_column(sink, table, 'c', i);
    }
    columns[width] = (DuckWriterColumn){.name = STR("n"), .type = {.kind = DUCK_BIGINT}};
    for (const Image *image = sum->first; image != NULL; image = image->next) {
        if (image->count >= 0) {
            continue;
        }
        if (count == 0 && duck_stage(sink, columns, (uint16_t)(width + 1), err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        for (uint16_t i = 0; i < width; i++) {
            if (duck_writer_value(&sink->writer, i, image->row[i], err) != STATUS_OK) {
                return STATUS_FAIL;
            }
        }
        duck_writer_int64(&sink->writer, width, -image->count);
        if (duck_writer_end_row(&sink->writer, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        count += (uint64_t)-image->count;
    }
    *ret_count = count;
    return count == 0 ? STATUS_OK : duck_append_end(sink, err);
}

static Status append_images(const ImageSum *sum, const DuckTable *table, Error *err)
{
    for (const Image *image = sum->first; image != NULL; image = image->next) {
        for (int64_t i = 0; i < image->count; i++) {
            if (duck_append_to(sum->sink, table, err) != STATUS_OK ||
                append_row(sum->sink, table, image->row, err) != STATUS_OK) {
                return STATUS_FAIL;
            }
        }
    }
    return STATUS_OK;
}

// No TRUNCATE among @changes.
static Status apply_images(DuckSink *sink, DuckTable *table, const Change *changes, size_t count,
                           Error *err)
{
    ImageSum sum = {.sink = sink, .relation = table->relation, .bytes = {.max = LIMIT_TEXT_BYTES}};
    uint64_t expected;
    sum.tail = &sum.first;
    Status status = image_sum(&sum, changes, count, err);
    if (status == STATUS_OK) {
        status = stage_images(&sum, table, &expected, err);
    }
    if (status == STATUS_OK && expected > 0) {
        status = delete_images(sink, table, expected, err);
    }
    if (status == STATUS_OK) {
        status = append_images(&sum, table, err);
    }
    map_done(&sum.images);
    buf_done(&sum.bytes);
    return status;
}

static Status apply_keyless(DuckSink *sink, DuckTable *table, const Change *changes, size_t count,
                            Error *err)
{
    size_t start = 0;
    for (size_t i = 0; i <= count; i++) {
        if (i < count && changes[i].op != CHANGE_TRUNCATE) {
            continue;
        }
        if (i > start && apply_images(sink, table, changes + start, i - start, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (i < count && duck_truncate(sink, table, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        start = i + 1;
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------

static bool is_new_row(ChangeOp op)
{
    return op == CHANGE_READ || op == CHANGE_INSERT;
}

static bool only_new_rows(const Change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ChangeOp op = changes[i].op;
        if (!is_new_row(op) && op != CHANGE_MESSAGE && op != CHANGE_SCHEMA) {
            return false;
        }
    }
    return true;
}

static Status append_changes(DuckSink *sink, DuckTable *table, const Change *changes, size_t count,
                             Error *err)
{
    if (duck_append_to(sink, table, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < count; i++) {
        if (is_new_row(changes[i].op) &&
            append_row(sink, table, changes[i].new_row, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

Status duck_apply(DuckSink *sink, DuckTable *table, const Change *changes, size_t count, Error *err)
{
    if (only_new_rows(changes, count)) {
        return append_changes(sink, table, changes, count, err);
    }
    return table->relation->key_count > 0 ? apply_keyed(sink, table, changes, count, err)
                                          : apply_keyless(sink, table, changes, count, err);
}
