#include "cli/status_table.h"

#include <inttypes.h>

#include "base/clock.h"
#include "cli/table.h"

void status_row_stopped(StatusRow *row)
{
    static const StatusField of_the_moment[] = {
        STATUS_PID,
        STATUS_LENT_TO,
        STATUS_LENT_AT,
        STATUS_RETRY_IN_SECONDS,
        STATUS_CHANGES_PER_SECOND,
        STATUS_BYTES_PER_SECOND,
        STATUS_COPY_ROWS_PER_SECOND,
        STATUS_STALLED,
        STATUS_STALLED_SECONDS,
        STATUS_SLOT,
        STATUS_SLOT_HELD_BYTES,
        STATUS_SLOT_LEFT_BYTES,
        STATUS_SLOT_LEFT_SECONDS,
        STATUS_WAL_BYTES_PER_SECOND,
        STATUS_BACKLOG_SECONDS,
    };
    for (size_t i = 0; i < ARRAY_LEN(of_the_moment); i++) {
        row->values[of_the_moment[i]] = (Str){NULL, 0};
    }
    // How far the server is by now is not known either.
    for (int field = STATUS_SENT_LSN; field <= STATUS_CONFIRMED_LSN; field += 3) {
        row->values[field + 1] = (Str){NULL, 0};
        row->values[field + 2] = (Str){NULL, 0};
    }
    row->values[STATUS_HEAD_LSN] = (Str){NULL, 0};
    row->values[STATUS_STATE] = STR("not running");
}

static double number(const StatusRow *row, StatusField field)
{
    double value = 0;
    return row->values[field].ptr != NULL && str_to_double(row->values[field], &value) ? value : 0;
}

static bool has(const StatusRow *row, StatusField field)
{
    return row->values[field].len > 0;
}

static Str duration(double seconds, Arena *arena)
{
    int64_t whole = (int64_t)seconds;
    if (seconds < 10) {
        return str_from(arena_printf(arena, "%.1f s", seconds));
    }
    if (whole < 120) {
        return str_from(arena_printf(arena, "%" PRId64 " s", whole));
    }
    if (whole < 7200) {
        return str_from(arena_printf(arena, "%" PRId64 " min", whole / 60));
    }
    return str_from(arena_printf(arena, whole < 172800 ? "%" PRId64 " h" : "%" PRId64 " d",
                                 whole < 172800 ? whole / 3600 : whole / 86400));
}

// "0", "12.3 MB", "12.3 MB 4 s": nothing is missing, nothing that is old, something.
static Str lag(const StatusRow *row, StatusField lsn, Arena *arena)
{
    if (!has(row, lsn) || !has(row, lsn + 1)) {
        return STR("-");
    }
    double bytes = number(row, lsn + 1);
    double seconds = number(row, lsn + 2);
    Str text = bytes > 0 ? format_bytes((int64_t)bytes, arena) : STR("0");
    return seconds < 0.05 ? text
                          : str_from(arena_printf(arena, "%" STR_FMT " %" STR_FMT, STR_ARG(text),
                                                  STR_ARG(duration(seconds, arena))));
}

static Str count(const StatusRow *row, StatusField field, Arena *arena)
{
    return has(row, field) ? format_count((int64_t)number(row, field), arena) : STR("-");
}

static Str bytes(const StatusRow *row, StatusField field, Arena *arena)
{
    return has(row, field) ? format_bytes((int64_t)number(row, field), arena) : STR("-");
}

static Str text(const StatusRow *row, StatusField field)
{
    return has(row, field) ? row->values[field] : STR("-");
}

// ---------------------------------------------------------------------------------------------
// The table
// ---------------------------------------------------------------------------------------------

typedef struct Columns {
    bool route;
    bool buffer;
} Columns;

// "failed, dropped"
static Str state(const StatusRow *row, Arena *arena)
{
    Str name = text(row, STATUS_STATE);
    return has(row, STATUS_BUFFER_DROPPED)
               ? str_from(arena_printf(arena, "%" STR_FMT ", dropped", STR_ARG(name)))
               : name;
}

static size_t cells_of(const Columns *columns, const StatusRow *row, Arena *arena,
                       Str cells[static TEXT_TABLE_COLUMNS])
{
    size_t n = 0;
    cells[n++] = text(row, STATUS_PIPELINE);
    if (columns->route) {
        cells[n++] = text(row, STATUS_ROUTE);
    }
    cells[n++] = state(row, arena);
    cells[n++] = lag(row, STATUS_SENT_LSN, arena);
    cells[n++] = lag(row, STATUS_RECEIVED_LSN, arena);
    if (columns->buffer) {
        cells[n++] = lag(row, STATUS_BUFFERED_LSN, arena);
    }
    cells[n++] = lag(row, STATUS_DELIVERED_LSN, arena);
    cells[n++] = lag(row, STATUS_DURABLE_LSN, arena);
    cells[n++] = text(row, STATUS_DURABLE_LSN);
    cells[n++] = count(row, STATUS_CHANGES_PER_SECOND, arena);
    cells[n++] = bytes(row, STATUS_BYTES_PER_SECOND, arena);
    cells[n++] = bytes(row, STATUS_SLOT_HELD_BYTES, arena);
    return n;
}

static size_t heading_of(const Columns *columns, Str cells[static TEXT_TABLE_COLUMNS])
{
    size_t n = 0;
    cells[n++] = STR("PIPELINE");
    if (columns->route) {
        cells[n++] = STR("ROUTE");
    }
    cells[n++] = STR("STATE");
    cells[n++] = STR("UNSENT");
    cells[n++] = STR("UNRECEIVED");
    if (columns->buffer) {
        cells[n++] = STR("UNBUFFERED");
    }
    cells[n++] = STR("UNDELIVERED");
    cells[n++] = STR("NOT DURABLE");
    cells[n++] = STR("DURABLE TO");
    cells[n++] = STR("CHANGES/S");
    cells[n++] = STR("BYTES/S");
    cells[n++] = STR("WAL HELD");
    return n;
}

static void print_table(const StatusRows *rows, Arena *arena)
{
    Columns columns = {0};
    for (size_t i = 0; i < rows->count; i++) {
        columns.route = columns.route || has(&rows->items[i], STATUS_ROUTE);
        columns.buffer = columns.buffer || has(&rows->items[i], STATUS_BUFFERED_LSN);
    }
    TextTable table = {0};
    Str cells[TEXT_TABLE_COLUMNS];
    size_t width = heading_of(&columns, cells);
    for (size_t i = 2 + columns.route; i < width; i++) {
        table.right[i] = true;
    }
    text_table_row(&table, cells, width);
    for (size_t i = 0; i < rows->count; i++) {
        (void)cells_of(&columns, &rows->items[i], arena, cells);
        text_table_row(&table, cells, width);
    }
    text_table_print(&table, 0);
    text_table_done(&table);
}

// ---------------------------------------------------------------------------------------------
// What is to be said
// ---------------------------------------------------------------------------------------------

static void begin_note(const StatusRow *row)
{
    printf("%" STR_FMT "%s%" STR_FMT ": ", STR_ARG(row->values[STATUS_PIPELINE]),
           has(row, STATUS_ROUTE) ? "." : "", STR_ARG(row->values[STATUS_ROUTE]));
}

static void note_error(const StatusRow *row, Arena *arena)
{
    bool is_well = str_is(row->values[STATUS_STATE], "streaming") ||
                   str_is(row->values[STATUS_STATE], "copying");
    if (!has(row, STATUS_LAST_ERROR) || !has(row, STATUS_FAILING) || is_well) {
        return;
    }
    begin_note(row);
    if (has(row, STATUS_RETRY_IN_SECONDS)) {
        Str left = duration(number(row, STATUS_RETRY_IN_SECONDS), arena);
        printf("again in %" STR_FMT ": ", STR_ARG(left));
    }
    printf("%" STR_FMT "\n", STR_ARG(row->values[STATUS_LAST_ERROR]));
}

static void note_copy(const StatusRow *row, Arena *arena)
{
    if (!str_is(row->values[STATUS_STATE], "copying") || !has(row, STATUS_COPY_TABLE)) {
        return;
    }
    begin_note(row);
    printf("copying %" STR_FMT ", %" STR_FMT " of %" STR_FMT " tables done, %" STR_FMT
           " rows, %" STR_FMT "/s\n",
           STR_ARG(row->values[STATUS_COPY_TABLE]),
           STR_ARG(count(row, STATUS_COPY_TABLES_DONE, arena)),
           STR_ARG(count(row, STATUS_COPY_TABLES, arena)),
           STR_ARG(count(row, STATUS_COPY_ROWS, arena)),
           STR_ARG(count(row, STATUS_COPY_ROWS_PER_SECOND, arena)));
}

static void note_buffer(const StatusRow *row, Arena *arena)
{
    if (number(row, STATUS_BACKLOG_BYTES) > 0 && has(row, STATUS_PID)) {
        begin_note(row);
        printf("the buffer keeps %" STR_FMT " for it, some of it for %" STR_FMT "\n",
               STR_ARG(bytes(row, STATUS_BACKLOG_BYTES, arena)),
               STR_ARG(duration(number(row, STATUS_BACKLOG_SECONDS), arena)));
    }
}

static void note_dropped(const StatusRow *row)
{
    if (has(row, STATUS_BUFFER_DROPPED)) {
        begin_note(row);
        printf("dropped, being too far behind (full: drop-route): the buffer keeps nothing for it "
               "any more\n");
    }
}

static void note_stall(const StatusRow *row, Arena *arena)
{
    if (has(row, STATUS_STALLED)) {
        begin_note(row);
        printf("stalled for %" STR_FMT ": %s\n",
               STR_ARG(duration(number(row, STATUS_STALLED_SECONDS), arena)),
               stage_text(stage_find(row->values[STATUS_STALLED])));
    }
}

static void note_slot(const StatusRow *row, Arena *arena)
{
    Str slot = row->values[STATUS_SLOT];
    if (slot.len == 0 || str_is(slot, "fine")) {
        return;
    }
    begin_note(row);
    if (str_is(slot, "lost")) {
        printf("the slot is lost\n");
        return;
    }
    printf("the slot holds %" STR_FMT " of WAL",
           STR_ARG(bytes(row, STATUS_SLOT_HELD_BYTES, arena)));
    if (has(row, STATUS_SLOT_LEFT_BYTES)) {
        bool is_disk = str_starts_with(slot, STR("disk"));
        printf(", and %s when %" STR_FMT " more are written",
               is_disk ? "the server's disk is full" : "may be lost",
               STR_ARG(bytes(row, STATUS_SLOT_LEFT_BYTES, arena)));
    }
    if (has(row, STATUS_SLOT_LEFT_SECONDS)) {
        printf(", in %" STR_FMT, STR_ARG(duration(number(row, STATUS_SLOT_LEFT_SECONDS), arena)));
    }
    printf("\n");
}

static void note_dead_letters(const StatusRow *row, Arena *arena)
{
    if (number(row, STATUS_DEAD_LETTERS) > 0) {
        begin_note(row);
        printf("%" STR_FMT " changes were refused, or wait behind one: weir dead list\n",
               STR_ARG(count(row, STATUS_DEAD_LETTERS, arena)));
    }
}

// To the second.
static void print_since(int64_t at_us)
{
    char at[CLOCK_TEXT_SIZE];
    clock_format_us(at_us, at);
    printf(" since %.19sZ\n", at);
}

static void note_end(const StatusRow *row)
{
    int64_t at_us;
    if (str_is(row->values[STATUS_STATE], "not running") && has(row, STATUS_AT) &&
        str_to_int64(row->values[STATUS_AT], &at_us)) {
        begin_note(row);
        printf("not running");
        print_since(at_us);
    }
}

// Also while it brings its targets to where a verification wants them.
static void note_loan(const StatusRow *row)
{
    int64_t at_us;
    if (has(row, STATUS_LENT_TO) && str_to_int64(row->values[STATUS_LENT_AT], &at_us)) {
        begin_note(row);
        printf("lent to weir verify (process %" STR_FMT ")", STR_ARG(row->values[STATUS_LENT_TO]));
        print_since(at_us);
    }
}

void status_table_print(const StatusRows *rows)
{
    if (rows->count == 0) {
        printf("no pipeline has its state here\n");
        return;
    }
    Arena arena = {0};
    print_table(rows, &arena);
    for (size_t i = 0; i < rows->count; i++) {
        const StatusRow *row = &rows->items[i];
        note_end(row);
        note_loan(row);
        note_error(row, &arena);
        note_dropped(row);
        note_stall(row, &arena);
        note_slot(row, &arena);
        note_dead_letters(row, &arena);
        note_copy(row, &arena);
        note_buffer(row, &arena);
    }
    arena_done(&arena);
}
