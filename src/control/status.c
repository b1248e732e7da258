#include "control/status.h"

#include <assert.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "codec/json.h"

enum { ROWS_MAX = 10000 };

static const struct {
    const char *name;
    bool is_text;
} fields[] = {
    [STATUS_PIPELINE] = {"pipeline", true},
    [STATUS_ROUTE] = {"route", true},
    [STATUS_SOURCE] = {"source", true},
    [STATUS_SINK] = {"sink", true},
    [STATUS_STATE] = {"state", true},
    [STATUS_AT] = {"at_us", false},
    [STATUS_PID] = {"pid", false},
    [STATUS_VERSION] = {"version", true},
    [STATUS_HEAD_LSN] = {"head_lsn", true},
    [STATUS_SENT_LSN] = {"sent_lsn", true},
    [STATUS_SENT_LAG_BYTES] = {"sent_lag_bytes", false},
    [STATUS_SENT_LAG_SECONDS] = {"sent_lag_seconds", false},
    [STATUS_RECEIVED_LSN] = {"received_lsn", true},
    [STATUS_RECEIVED_LAG_BYTES] = {"received_lag_bytes", false},
    [STATUS_RECEIVED_LAG_SECONDS] = {"received_lag_seconds", false},
    [STATUS_BUFFERED_LSN] = {"buffered_lsn", true},
    [STATUS_BUFFERED_LAG_BYTES] = {"buffered_lag_bytes", false},
    [STATUS_BUFFERED_LAG_SECONDS] = {"buffered_lag_seconds", false},
    [STATUS_DELIVERED_LSN] = {"delivered_lsn", true},
    [STATUS_DELIVERED_LAG_BYTES] = {"delivered_lag_bytes", false},
    [STATUS_DELIVERED_LAG_SECONDS] = {"delivered_lag_seconds", false},
    [STATUS_DURABLE_LSN] = {"durable_lsn", true},
    [STATUS_DURABLE_LAG_BYTES] = {"durable_lag_bytes", false},
    [STATUS_DURABLE_LAG_SECONDS] = {"durable_lag_seconds", false},
    [STATUS_CONFIRMED_LSN] = {"confirmed_lsn", true},
    [STATUS_CONFIRMED_LAG_BYTES] = {"confirmed_lag_bytes", false},
    [STATUS_CONFIRMED_LAG_SECONDS] = {"confirmed_lag_seconds", false},
    [STATUS_CHANGES] = {"changes", false},
    [STATUS_TRANSACTIONS] = {"transactions", false},
    [STATUS_BYTES] = {"bytes", false},
    [STATUS_CHANGES_PER_SECOND] = {"changes_per_second", false},
    [STATUS_BYTES_PER_SECOND] = {"bytes_per_second", false},
    [STATUS_COPY_TABLES] = {"copy_tables", false},
    [STATUS_COPY_TABLES_DONE] = {"copy_tables_done", false},
    [STATUS_COPY_TABLE] = {"copy_table", true},
    [STATUS_COPY_ROWS] = {"copy_rows", false},
    [STATUS_COPY_ROWS_ESTIMATE] = {"copy_rows_estimate", false},
    [STATUS_COPY_ROWS_PER_SECOND] = {"copy_rows_per_second", false},
    [STATUS_LENT_TO] = {"lent_to_pid", false},
    [STATUS_LENT_AT] = {"lent_at_us", false},
    [STATUS_RETRIES] = {"retries", false},
    [STATUS_RETRY_IN_SECONDS] = {"retry_in_seconds", false},
    [STATUS_LAST_ERROR] = {"last_error", true},
    [STATUS_FAILING] = {"failing", false},
    [STATUS_DEAD_LETTERS] = {"dead_letters", false},
    [STATUS_BUFFER_BYTES] = {"buffer_bytes", false},
    [STATUS_BACKLOG_BYTES] = {"backlog_bytes", false},
    [STATUS_BACKLOG_SECONDS] = {"backlog_seconds", false},
    [STATUS_BUFFER_DROPPED] = {"buffer_dropped", false},
    [STATUS_STALLED] = {"stalled", true},
    [STATUS_STALLED_SECONDS] = {"stalled_seconds", false},
    [STATUS_SLOT] = {"slot", true},
    [STATUS_SLOT_HELD_BYTES] = {"slot_held_bytes", false},
    [STATUS_SLOT_LEFT_BYTES] = {"slot_left_bytes", false},
    [STATUS_SLOT_LEFT_SECONDS] = {"slot_left_seconds", false},
    [STATUS_WAL_BYTES_PER_SECOND] = {"wal_bytes_per_second", false},
};
static_assert(ARRAY_LEN(fields) == STATUS_FIELDS, "every field has a name");

const char *status_field_name(StatusField field)
{
    return fields[field].name;
}

// ---------------------------------------------------------------------------------------------
// From what runs
// ---------------------------------------------------------------------------------------------

typedef struct Maker {
    Arena *arena;
    StatusRow *row;
} Maker;

static void put_text(const Maker *maker, StatusField field, Str text)
{
    maker->row->values[field] = text.len == 0 ? STR("") : str_copy(maker->arena, text);
}

static void put_number(const Maker *maker, StatusField field, int64_t value)
{
    maker->row->values[field] = str_from(arena_printf(maker->arena, "%" PRId64, value));
}

static void put_seconds(const Maker *maker, StatusField field, int64_t value_us)
{
    maker->row->values[field] =
        str_from(arena_printf(maker->arena, "%.3f", (double)value_us / 1e6));
}

static void put_rate(const Maker *maker, StatusField field, const Rate *rate)
{
    maker->row->values[field] = str_from(arena_printf(maker->arena, "%.1f", rate->per_second));
}

static void put_lsn(const Maker *maker, StatusField field, Lsn lsn)
{
    if (lsn != LSN_NONE) {
        maker->row->values[field] = str_from(arena_printf(maker->arena, LSN_FMT, LSN_ARG(lsn)));
    }
}

// @first: of its three fields.
static void put_rung(const Maker *maker, StatusField first, const Rung *rung)
{
    if (rung->lsn != LSN_NONE) {
        put_lsn(maker, first, rung->lsn);
        put_number(maker, first + 1, rung->behind_bytes);
        put_seconds(maker, first + 2, rung->behind_us);
    }
}

static void put_ladder(const Maker *maker, const Ladder *ladder)
{
    put_lsn(maker, STATUS_HEAD_LSN, ladder->head);
    put_rung(maker, STATUS_SENT_LSN, &ladder->sent);
    put_rung(maker, STATUS_RECEIVED_LSN, &ladder->received);
    put_rung(maker, STATUS_BUFFERED_LSN, &ladder->buffered);
    put_rung(maker, STATUS_DELIVERED_LSN, &ladder->delivered);
    put_rung(maker, STATUS_DURABLE_LSN, &ladder->durable);
    put_rung(maker, STATUS_CONFIRMED_LSN, &ladder->confirmed);
}

static void put_copy(const Maker *maker, const RouteView *route)
{
    put_number(maker, STATUS_COPY_TABLES, route->stats.tables_total);
    put_number(maker, STATUS_COPY_TABLES_DONE, route->stats.tables_done);
    put_number(maker, STATUS_COPY_ROWS, route->stats.copy_rows);
    put_rate(maker, STATUS_COPY_ROWS_PER_SECOND, &route->rows);
    if (route->stats.copy_rows_estimate >= 0) {
        put_number(maker, STATUS_COPY_ROWS_ESTIMATE, route->stats.copy_rows_estimate);
    }
    if (route->stats.copy_table[0] != '\0') {
        put_text(maker, STATUS_COPY_TABLE, str_from(route->stats.copy_table));
    }
}

static void put_runner(const Maker *maker, const RunnerStats *stats)
{
    put_text(maker, STATUS_STATE,
             str_from(stats->has_failed ? "failed" : runner_phase_name(stats->phase)));
    if (stats->lent_to != 0) {
        put_number(maker, STATUS_LENT_TO, stats->lent_to);
        put_number(maker, STATUS_LENT_AT, stats->lent_at_us);
    }
    put_number(maker, STATUS_RETRIES, stats->retries);
    if (stats->phase == PHASE_RETRYING) {
        put_seconds(maker, STATUS_RETRY_IN_SECONDS, stats->retry_in_ms * 1000);
    }
    if (stats->last_error[0] != '\0') {
        put_text(maker, STATUS_LAST_ERROR, str_from(stats->last_error));
    }
    if (stats->is_failing) {
        put_number(maker, STATUS_FAILING, 1);
    }
}

static void put_buffer(const Maker *maker, const Watched *watched)
{
    if (watched->log == NULL) {
        return;
    }
    put_number(maker, STATUS_BUFFER_BYTES, (int64_t)segment_log_range(watched->log).bytes);
    SegmentLogBacklog backlog;
    if (watched->reader.len == 0) {
        return;
    }
    if (segment_log_backlog(watched->log, watched->reader, &backlog)) {
        put_number(maker, STATUS_BACKLOG_BYTES, (int64_t)backlog.bytes);
        put_seconds(maker, STATUS_BACKLOG_SECONDS, backlog.age_us);
    } else if (backlog.is_given_up) {
        put_number(maker, STATUS_BUFFER_DROPPED, 1);
    }
}

static void put_guards(const Maker *maker, const WatchedView *view, const RouteView *route)
{
    bool is_route = route->stalled != STAGE_NONE;
    Stage stage = is_route ? route->stalled : view->stalled;
    if (stage != STAGE_NONE) {
        put_text(maker, STATUS_STALLED, str_from(stage_name(stage)));
        put_number(maker, STATUS_STALLED_SECONDS,
                   (is_route ? route->stalled_ms : view->stalled_ms) / 1000);
    }
    if (!view->has_slot) {
        return;
    }
    put_text(maker, STATUS_SLOT, str_from(wal_verdict_name(view->wal_verdict, view->wal.is_disk)));
    put_number(maker, STATUS_SLOT_HELD_BYTES, wal_retained(&view->wal));
    if (view->wal.safe_bytes >= 0) {
        put_number(maker, STATUS_SLOT_LEFT_BYTES, view->wal.safe_bytes);
    }
    if (view->wal_left_ms >= 0) {
        put_number(maker, STATUS_SLOT_LEFT_SECONDS, view->wal_left_ms / 1000);
    }
    if (view->written_per_second >= 0) {
        put_number(maker, STATUS_WAL_BYTES_PER_SECOND, (int64_t)view->written_per_second);
    }
}

static void make_row(const WatchedView *view, size_t at, Arena *arena, StatusRow *ret)
{
    const Pipeline *pipeline = view->watched->pipeline;
    const RouteView *route = &view->routes[at];
    Maker maker = {arena, ret};
    put_text(&maker, STATUS_PIPELINE, pipeline->name);
    put_text(&maker, STATUS_ROUTE, pipeline->routes[at].name);
    put_text(&maker, STATUS_SOURCE, pipeline->source_id);
    put_text(&maker, STATUS_SINK, pipeline->routes[at].id);
    put_number(&maker, STATUS_AT, clock_wall_us());
    put_number(&maker, STATUS_PID, getpid());
    put_text(&maker, STATUS_VERSION, STR(WEIR_VERSION));
    put_runner(&maker, &view->stats);
    put_ladder(&maker, &route->ladder);
    put_number(&maker, STATUS_CHANGES, route->stats.changes);
    put_number(&maker, STATUS_TRANSACTIONS, route->stats.transactions);
    put_number(&maker, STATUS_BYTES, route->stats.bytes);
    put_number(&maker, STATUS_DEAD_LETTERS, route->stats.dead_letters);
    put_rate(&maker, STATUS_CHANGES_PER_SECOND, &route->changes);
    put_rate(&maker, STATUS_BYTES_PER_SECOND, &route->bytes);
    put_copy(&maker, route);
    put_buffer(&maker, view->watched);
    put_guards(&maker, view, route);
}

StatusRows status_rows(Monitor *monitor, Arena *arena)
{
    const WatchedView *views = monitor_view(monitor, arena);
    size_t count = monitor_count(monitor);
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += views[i].watched->pipeline->route_count;
    }
    StatusRows rows = {.items = ARENA_ARRAY(arena, StatusRow, total)};
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < views[i].watched->pipeline->route_count; j++) {
            make_row(&views[i], j, arena, &rows.items[rows.count++]);
        }
    }
    return rows;
}

// ---------------------------------------------------------------------------------------------
// As text
// ---------------------------------------------------------------------------------------------

// "\N" is no value: the backslash of another is doubled.
static void write_value(Str value, Buf *out)
{
    if (value.ptr == NULL) {
        buf_cstr(out, "\\N");
        return;
    }
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        buf_char(out, (unsigned char)c < ' ' ? ' ' : c);
        if (c == '\\') {
            buf_char(out, c);
        }
    }
}

static Str read_value(Str text, Arena *arena)
{
    if (str_is(text, "\\N")) {
        return (Str){NULL, 0};
    }
    char *value = arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        value[len++] = text.ptr[i];
        i += text.ptr[i] == '\\' ? 1 : 0;
    }
    return (Str){value, len};
}

void status_write_text(const StatusRows *rows, Buf *out)
{
    for (int field = 0; field < STATUS_FIELDS; field++) {
        buf_printf(out, "%s%s", field == 0 ? "" : "\t", fields[field].name);
    }
    buf_char(out, '\n');
    for (size_t i = 0; i < rows->count; i++) {
        for (int field = 0; field < STATUS_FIELDS; field++) {
            buf_cstr(out, field == 0 ? "" : "\t");
            write_value(rows->items[i].values[field], out);
        }
        buf_char(out, '\n');
    }
}

static int find_field(Str name)
{
    for (int field = 0; field < STATUS_FIELDS; field++) {
        if (str_is(name, fields[field].name)) {
            return field;
        }
    }
    return STATUS_FIELDS;
}

static void read_row(Str heading, Str line, Arena *arena, StatusRow *ret)
{
    Str name;
    Str value;
    while (str_split(&heading, '\t', &name) && str_split(&line, '\t', &value)) {
        int field = find_field(name);
        if (field < STATUS_FIELDS) {
            ret->values[field] = read_value(value, arena);
        }
    }
}

Status status_read_text(Str text, Arena *arena, StatusRows *ret, Error *err)
{
    Str heading;
    Str first = text;
    Str name;
    Str line;
    bool has_heading = str_split(&text, '\n', &heading);
    first = heading;
    if (!has_heading || !str_split(&first, '\t', &name) || find_field(name) != STATUS_PIPELINE) {
        return error_set(err, ERROR_DATA, "this is no status");
    }
    size_t lines = 0;
    for (size_t i = 0; i < text.len; i++) {
        lines += text.ptr[i] == '\n';
    }
    if (lines > ROWS_MAX) {
        return error_set(err, ERROR_DATA, "a status of %zu lines is too long", lines);
    }
    *ret = (StatusRows){.items = ARENA_ARRAY(arena, StatusRow, lines + 1)};
    while (str_split(&text, '\n', &line)) {
        if (line.len > 0) {
            read_row(heading, line, arena, &ret->items[ret->count++]);
        }
    }
    return STATUS_OK;
}

void status_write_json(const StatusRows *rows, Buf *out)
{
    buf_char(out, '[');
    for (size_t i = 0; i < rows->count; i++) {
        buf_cstr(out, i == 0 ? "\n {" : ",\n {");
        for (int field = 0; field < STATUS_FIELDS; field++) {
            Str value = rows->items[i].values[field];
            buf_printf(out, "%s\"%s\":", field == 0 ? "" : ",", fields[field].name);
            if (value.ptr == NULL || (!fields[field].is_text && !json_is_number(value))) {
                buf_cstr(out, "null");
            } else if (fields[field].is_text) {
                json_string_lossy(out, value);
            } else {
                buf_str(out, value);
            }
        }
        buf_char(out, '}');
    }
    buf_cstr(out, rows->count == 0 ? "]\n" : "\n]\n");
}
