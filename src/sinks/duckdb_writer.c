#include "sinks/duckdb_writer.h"

#include <assert.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"

// DuckDB collects up to a hundred chunks before they go to the table, whatever size their text has;
// these keep large values from piling up there.
enum { CHUNK_BYTES_MAX = 4 << 20, UNFLUSHED_BYTES_MAX = 16 << 20 };

static int error_type(const DuckWriter *writer)
{
    const DuckLibrary *library = &writer->session->library;
    if (library->appender_error_data == NULL) {
        return DUCK_ERROR_CONSTRAINT; // what can go wrong with a row that is complete
    }
    DuckErrorData data = library->appender_error_data(writer->appender);
    int type = library->error_data_error_type(data);
    library->destroy_error_data(&data);
    return type;
}

static Status fail(DuckWriter *writer, Error *err)
{
    return duck_fail(writer->session, error_type(writer),
                     writer->session->library.appender_error(writer->appender), err);
}

// After a reset the vectors have new memory.
static void look_at_vectors(DuckWriter *writer)
{
    const DuckLibrary *library = &writer->session->library;
    for (uint16_t i = 0; i < writer->column_count; i++) {
        DuckWriterColumn *column = &writer->columns[i];
        column->vector = library->data_chunk_get_vector(writer->chunk, i);
        column->cells = library->vector_get_data(column->vector);
        column->validity = NULL;
    }
    writer->row = 0;
    writer->chunk_bytes = 0;
}

static Status make_appender(DuckWriter *writer, SqlTable table, Error *err)
{
    DuckSession *session = writer->session;
    const DuckLibrary *library = &session->library;
    Arena *arena = &writer->arena;
    if (library->appender_create_ext(session->connection, str_to_cstr(arena, table.catalog),
                                     str_to_cstr(arena, table.schema),
                                     str_to_cstr(arena, table.name),
                                     &writer->appender) != DUCK_SUCCESS) {
        duck_fail(session, DUCK_ERROR_CATALOG,
                  writer->appender == NULL ? NULL : library->appender_error(writer->appender), err);
        return STATUS_FAIL;
    }
    for (uint16_t i = 0; i < writer->column_count; i++) {
        const char *name = str_to_cstr(arena, writer->columns[i].name);
        if (library->appender_add_column(writer->appender, name) != DUCK_SUCCESS) {
            return duck_fail(session, DUCK_ERROR_CATALOG, library->appender_error(writer->appender),
                             err);
        }
    }
    return STATUS_OK;
}

static void make_chunk(DuckWriter *writer)
{
    const DuckLibrary *library = &writer->session->library;
    // The table's own types: a JSON column takes VARCHAR's cells, but not a vector called VARCHAR.
    DuckLogicalType *types = ARENA_ARRAY(&writer->arena, DuckLogicalType, writer->column_count);
    for (uint16_t i = 0; i < writer->column_count; i++) {
        types[i] = library->appender_column_type(writer->appender, i);
    }
    writer->chunk = library->create_data_chunk(types, writer->column_count);
    for (uint16_t i = 0; i < writer->column_count; i++) {
        library->destroy_logical_type(&types[i]);
    }
    writer->capacity = library->vector_size();
    look_at_vectors(writer);
}

Status duck_writer_open(DuckWriter *writer, DuckSession *session, SqlTable table,
                        const DuckWriterColumn *columns, uint16_t count, Error *err)
{
    assert(!duck_writer_is_open(writer));
    assert(count > 0);
    *writer = (DuckWriter){
        .session = session, .column_count = count, .bytes = {.max = LIMIT_MESSAGE_BYTES}};
    writer->columns = ARENA_ARRAY(&writer->arena, DuckWriterColumn, count);
    memcpy(writer->columns, columns, count * sizeof(*columns));
    if (make_appender(writer, table, err) != STATUS_OK) {
        duck_writer_close(writer);
        return STATUS_FAIL;
    }
    make_chunk(writer);
    return STATUS_OK;
}

void duck_writer_close(DuckWriter *writer)
{
    if (writer->session == NULL) {
        return;
    }
    const DuckLibrary *library = &writer->session->library;
    if (writer->chunk != NULL) {
        library->destroy_data_chunk(&writer->chunk);
    }
    if (writer->appender != NULL) {
        (void)library->appender_destroy(&writer->appender);
    }
    buf_done(&writer->bytes);
    arena_done(&writer->arena);
    *writer = (DuckWriter){0};
}

// ---------------------------------------------------------------------------------------------
// Values
// ---------------------------------------------------------------------------------------------

void duck_writer_null(DuckWriter *writer, uint16_t at)
{
    const DuckLibrary *library = &writer->session->library;
    DuckWriterColumn *column = &writer->columns[at];
    if (column->validity == NULL) {
        library->vector_ensure_validity_writable(column->vector);
        column->validity = library->vector_get_validity(column->vector);
    }
    column->validity[writer->row / 64] &= ~(UINT64_C(1) << (writer->row % 64));
}

void duck_writer_text(DuckWriter *writer, uint16_t at, Str text)
{
    const DuckLibrary *library = &writer->session->library;
    library->put_text(writer->columns[at].vector, writer->row, text.len == 0 ? "" : text.ptr,
                      text.len);
    writer->chunk_bytes += text.len;
}

void duck_writer_int64(DuckWriter *writer, uint16_t at, int64_t number)
{
    memcpy((char *)writer->columns[at].cells + writer->row * sizeof(number), &number,
           sizeof(number));
}

static Str called(const DuckWriterColumn *column)
{
    return column->called.ptr != NULL ? column->called : column->name;
}

// A number or a time that has no place is shown; not what may be anything.
static Status fail_value(const DuckWriter *writer, uint16_t at, DuckParse parsed, Value value,
                         Error *err)
{
    enum { SHOWN_BYTES_MAX = 60 };
    const DuckWriterColumn *column = &writer->columns[at];
    Buf type = {.max = LIMIT_NAME_BYTES};
    duck_type_name(column->type, &type);
    if (parsed == DUCK_PARSE_CANNOT_HOLD) {
        Str shown = {value.ptr, utf8_cut(value_str(value), SHOWN_BYTES_MAX)};
        error_set(err, ERROR_DATA,
                  "column \"%" STR_FMT "\": DuckDB's type %s cannot hold %" STR_FMT "%s",
                  STR_ARG(called(column)), buf_cstring(&type), STR_ARG(shown),
                  shown.len < value.len ? "…" : "");
    } else {
        error_set(err, ERROR_DATA, "column \"%" STR_FMT "\": a value that came is no %s",
                  STR_ARG(called(column)), buf_cstring(&type));
    }
    buf_done(&type);
    return duck_hint_exact(column->type, parsed, err);
}

static Status write_blob(DuckWriter *writer, uint16_t at, Value value, Error *err)
{
    size_t size;
    if (!value_bytea_size(value, &size)) {
        return fail_value(writer, at, DUCK_PARSE_SYNTAX, value, err);
    }
    buf_reset(&writer->bytes);
    if (!buf_reserve(&writer->bytes, size)) {
        return buf_check(&writer->bytes, "a bytea value", err);
    }
    if (!value_to_bytea(value, writer->bytes.ptr, size)) {
        return fail_value(writer, at, DUCK_PARSE_SYNTAX, value, err);
    }
    duck_writer_text(writer, at, (Str){writer->bytes.ptr, size});
    return STATUS_OK;
}

Status duck_writer_value(DuckWriter *writer, uint16_t at, Value value, Error *err)
{
    assert(at < writer->column_count);
    DuckWriterColumn *column = &writer->columns[at];
    if (value.state == VALUE_NULL) {
        duck_writer_null(writer, at);
        return STATUS_OK;
    }
    if (value.state != VALUE_TEXT) {
        return error_set(err, ERROR_FATAL, "column \"%" STR_FMT "\": a value of state %d came",
                         STR_ARG(called(column)), (int)value.state);
    }
    size_t size = duck_cell_size(column->type);
    if (size > 0) {
        void *cell = (char *)column->cells + writer->row * size;
        DuckParse parsed = duck_parse(column->type, value_str(value), cell);
        return parsed == DUCK_PARSE_OK ? STATUS_OK : fail_value(writer, at, parsed, value, err);
    }
    if (column->type.kind == DUCK_BLOB) {
        return write_blob(writer, at, value, err);
    }
    if (!utf8_is_valid(value_str(value))) {
        error_set(err, ERROR_DATA, "column \"%" STR_FMT "\": text that came is not UTF-8",
                  STR_ARG(called(column)));
        return error_hint(err, "DuckDB keeps nothing else. Mend the value in the source; databases "
                               "with the encoding SQL_ASCII check nothing.");
    }
    duck_writer_text(writer, at, value_str(value));
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Rows
// ---------------------------------------------------------------------------------------------

static Status append_chunk(DuckWriter *writer, Error *err)
{
    const DuckLibrary *library = &writer->session->library;
    if (writer->row == 0) {
        return STATUS_OK;
    }
    if (duck_check_cancel(writer->session, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    library->data_chunk_set_size(writer->chunk, writer->row);
    if (library->append_data_chunk(writer->appender, writer->chunk) != DUCK_SUCCESS) {
        return fail(writer, err);
    }
    writer->unflushed_bytes += writer->chunk_bytes;
    library->data_chunk_reset(writer->chunk);
    look_at_vectors(writer);
    return STATUS_OK;
}

Status duck_writer_end_row(DuckWriter *writer, Error *err)
{
    writer->row++;
    if (writer->row < writer->capacity && writer->chunk_bytes < CHUNK_BYTES_MAX) {
        return STATUS_OK;
    }
    if (append_chunk(writer, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return writer->unflushed_bytes < UNFLUSHED_BYTES_MAX ? STATUS_OK
                                                         : duck_writer_flush(writer, err);
}

Status duck_writer_flush(DuckWriter *writer, Error *err)
{
    if (!duck_writer_is_open(writer)) {
        return STATUS_OK;
    }
    if (append_chunk(writer, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    writer->unflushed_bytes = 0;
    return writer->session->library.appender_flush(writer->appender) == DUCK_SUCCESS
               ? STATUS_OK
               : fail(writer, err);
}
