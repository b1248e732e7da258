// weir status: what runs, how far it is, and what was left by what does not run.
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "buffers/disk.h"
#include "cli/command.h"
#include "cli/pipeline_options.h"
#include "cli/project_pipelines.h"
#include "cli/state_directories.h"
#include "cli/status_table.h"
#include "control/serve.h"
#include "io/http_server.h"

enum { STATUS_BYTES_MAX = 16 << 20, REDRAW_MS = 1000 };

typedef struct StatusOptions {
    Str state;
    Str name;
    int format; // StatusFormat
    bool watch;
} StatusOptions;

typedef enum StatusFormat { FORMAT_TEXT, FORMAT_JSON } StatusFormat;

static const char *const format_choices[] = {"text", "json", NULL};

static const Option status_options[] = {
    {"state", OPTION_STRING(StatusOptions, state), .value_name = "DIR",
     .help = "Directory for the state, as for weir stream and weir run."},
    {"name", OPTION_STRING(StatusOptions, name), .value_name = "NAME",
     .help = "Name of the pipeline, behind SOURCE SINK, as for weir stream."},
    {"format", OPTION_CHOICE(StatusOptions, format, format_choices), .fallback = "text",
     .help = "A table, or one JSON array, for programs."},
    {"watch", OPTION_BOOL(StatusOptions, watch), .help = "Show it again every second."},
    {0},
};

/** A state directory, and what it should be of. */
typedef struct StatusPlace {
    const char *directory;
    Str pipeline; // ptr NULL: whatever it says
    Str route;
} StatusPlace;

typedef struct Places {
    StatusPlace *items;
    size_t count;
    size_t capacity;
} Places;

static StatusPlace *add_place(Places *places, Str state_dir, Str name, Arena *arena)
{
    if (places->count == places->capacity) {
        StatusPlace *items = ARENA_ARRAY(arena, StatusPlace, places->capacity * 2 + 16);
        if (places->count > 0) {
            memcpy(items, places->items, places->count * sizeof(*items));
        }
        places->items = items;
        places->capacity = places->capacity * 2 + 16;
    }
    StatusPlace *place = &places->items[places->count++];
    *place = (StatusPlace){.directory = arena_printf(arena, "%" STR_FMT "/%" STR_FMT,
                                                     STR_ARG(state_dir), STR_ARG(name))};
    return place;
}

// ---------------------------------------------------------------------------------------------
// Which ones
// ---------------------------------------------------------------------------------------------

static void add_pipeline(Places *places, const Pipeline *pipeline, Arena *arena)
{
    const Pipeline *parts =
        pipeline->buffer == NULL ? pipeline : disk_buffer_pipelines(pipeline, arena);
    size_t count = pipeline->buffer == NULL ? 1 : pipeline->route_count + 1;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < parts[i].route_count; j++) {
            const PipelineRoute *route = &parts[i].routes[j];
            Str key = pipeline_route_key(&parts[i], route, arena);
            StatusPlace *place = add_place(places, pipeline->state_dir, key, arena);
            place->pipeline = pipeline->name;
            place->route = route->name;
        }
    }
}

static Status add_project(Places *places, Str path, const StatusOptions *options, Arena *arena,
                          Error *err)
{
    Pipeline *pipelines;
    size_t count;
    if (project_pipelines(path, options->state, STR(""), arena, &pipelines, &count, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < count; i++) {
        add_pipeline(places, &pipelines[i], arena);
    }
    return STATUS_OK;
}

// Every state directory, or those of one pipeline.
static Status add_found(Places *places, Str state, Str name, Arena *arena, const char **ret_root,
                        Error *err)
{
    StateDirectories found;
    if (state_directories(state, name, arena, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < found.count; i++) {
        (void)add_place(places, str_from(found.root), found.names[i], arena);
    }
    *ret_root = found.root;
    return STATUS_OK;
}

static Status add_named(Places *places, Str name, const StatusOptions *options, Arena *arena,
                        Error *err)
{
    if (may_be_connection(name)) {
        error_set(err, ERROR_CONFIG, "\"weir status\" takes both connections, or none");
        return error_hint(err, "For example: weir status SOURCE SINK.");
    }
    const char *root;
    if (pipeline_check_name(name, err) != STATUS_OK ||
        add_found(places, options->state, name, arena, &root, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (places->count > 0) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG, "there is no state of a pipeline \"%" STR_FMT "\" in \"%s\"",
              STR_ARG(name), root);
    return error_hint(err,
                      "weir status shows all that are there; --state names another directory.");
}

static bool exists(Str path, Arena *arena)
{
    return access(str_to_cstr(arena, path), F_OK) == 0;
}

static Status find_places(const Invocation *invocation, Places *ret, Error *err)
{
    const StatusOptions *options = invocation->options;
    const StrList *words = &invocation->arguments;
    Arena *arena = invocation->arena;
    if (words->count == 2) {
        PipelineOptions ends = {.name = options->name, .state = options->state};
        Pipeline pipeline = {0};
        Status status = pipeline_from_options(words->items[0], words->items[1], &ends, false, arena,
                                              &pipeline, err);
        if (status == STATUS_OK) {
            add_pipeline(ret, &pipeline, arena);
        }
        return status;
    }
    if (words->count == 1) {
        return exists(words->items[0], arena)
                   ? add_project(ret, words->items[0], options, arena, err)
                   : add_named(ret, words->items[0], options, arena, err);
    }
    if (exists(STR("weir.yml"), arena)) {
        return add_project(ret, STR("."), options, arena, err);
    }
    const char *root;
    return add_found(ret, options->state, STR(""), arena, &root, err);
}

// ---------------------------------------------------------------------------------------------
// How they are
// ---------------------------------------------------------------------------------------------

static bool is_same(const StatusRow *row, Str pipeline, Str route)
{
    return str_equal(row->values[STATUS_PIPELINE], pipeline) &&
           str_equal(row->values[STATUS_ROUTE], route);
}

// A process tells of all its routes on each of its sockets.
static bool is_of_place(const StatusPlace *place, const StatusRow *row, Arena *arena)
{
    Str pipeline = row->values[STATUS_PIPELINE];
    Str route = row->values[STATUS_ROUTE];
    if (place->pipeline.ptr != NULL) {
        return is_same(row, place->pipeline, place->route);
    }
    Str key = route.len == 0 ? pipeline
                             : str_from(arena_printf(arena, "%" STR_FMT ".%" STR_FMT,
                                                     STR_ARG(pipeline), STR_ARG(route)));
    Str directory = str_from(place->directory);
    return directory.len > key.len && directory.ptr[directory.len - key.len - 1] == '/' &&
           str_equal((Str){directory.ptr + directory.len - key.len, key.len}, key);
}

static Status read_kept(const char *path, Buf *ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char piece[16384];
    ssize_t got = 0;
    while (fd >= 0 && (got = read(fd, piece, sizeof(piece))) > 0) {
        buf_bytes(ret, piece, (size_t)got);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return fd >= 0 && got == 0 && !ret->overflowed ? STATUS_OK : STATUS_FAIL;
}

static Str last_part(const char *directory)
{
    const char *slash = strrchr(directory, '/');
    return str_from(slash == NULL ? directory : slash + 1);
}

static StatusRow row_of_place(const StatusPlace *place, Str state)
{
    StatusRow row = {0};
    row.values[STATUS_PIPELINE] =
        place->pipeline.ptr != NULL ? place->pipeline : last_part(place->directory);
    row.values[STATUS_ROUTE] = place->route.ptr != NULL ? place->route : STR("");
    row.values[STATUS_STATE] = state;
    return row;
}

// It does not run: how far it was then is all that is known.
static StatusRow kept_row(const StatusPlace *place, Arena *arena)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, STATUS_BYTES_MAX);
    StatusRows kept = {0};
    const char *path = arena_printf(arena, "%s/" SERVE_STATUS, place->directory);
    Error ignored = {0};
    bool is_known = read_kept(path, &text) == STATUS_OK &&
                    status_read_text(buf_view(&text), arena, &kept, &ignored) == STATUS_OK &&
                    kept.count == 1 && is_of_place(place, &kept.items[0], arena);
    StatusRow row = is_known ? kept.items[0] : row_of_place(place, STR(""));
    status_row_stopped(&row);
    if (!exists(str_from(place->directory), arena)) {
        row.values[STATUS_STATE] = STR("never started");
    }
    return row;
}

// What was found of each place.
typedef struct Answer {
    bool is_known;
    StatusRow row;
} Answer;

static void take_answer(const Places *places, const StatusRow *row, Arena *arena, Answer *answers)
{
    for (size_t i = 0; i < places->count; i++) {
        if (!answers[i].is_known && is_of_place(&places->items[i], row, arena)) {
            answers[i] = (Answer){true, *row};
            return;
        }
    }
}

static void ask(const Places *places, size_t at, Arena *arena, Answer *answers)
{
    const StatusPlace *place = &places->items[at];
    CLEANUP(buf_done) Buf text;
    buf_init(&text, STATUS_BYTES_MAX);
    StatusRows told = {0};
    Error failure = {0};
    bool listens;
    Status status =
        http_ask_local(place->directory, SERVE_SOCKET, "/status.tsv", &listens, &text, &failure);
    if (status == STATUS_OK && listens) {
        status = status_read_text(buf_view(&text), arena, &told, &failure);
    }
    if (status != STATUS_OK) {
        answers[at] = (Answer){true, row_of_place(place, STR("no answer"))};
        answers[at].row.values[STATUS_LAST_ERROR] = str_copy(arena, str_from(failure.message));
        answers[at].row.values[STATUS_FAILING] = STR("1");
        return;
    }
    for (size_t i = 0; i < told.count; i++) {
        take_answer(places, &told.items[i], arena, answers);
    }
}

static StatusRows gather(const Places *places, Arena *arena)
{
    Answer *answers = ARENA_ARRAY(arena, Answer, places->count + 1);
    for (size_t i = 0; i < places->count; i++) {
        if (!answers[i].is_known) {
            ask(places, i, arena, answers);
        }
    }
    StatusRows rows = {.items = ARENA_ARRAY(arena, StatusRow, places->count + 1)};
    for (size_t i = 0; i < places->count; i++) {
        rows.items[rows.count++] =
            answers[i].is_known ? answers[i].row : kept_row(&places->items[i], arena);
    }
    return rows;
}

// ---------------------------------------------------------------------------------------------
// Showing
// ---------------------------------------------------------------------------------------------

static void show(const StatusRows *rows, StatusFormat format)
{
    if (format == FORMAT_TEXT) {
        status_table_print(rows);
        return;
    }
    CLEANUP(buf_done) Buf text;
    buf_init(&text, STATUS_BYTES_MAX);
    status_write_json(rows, &text);
    (void)fwrite(text.ptr, 1, text.len, stdout);
}

// Until it is interrupted, or nobody reads it any more.
static void show_for_ever(const Places *places, StatusFormat format)
{
    bool is_terminal = isatty(STDOUT_FILENO) == 1;
    (void)signal(SIGPIPE, SIG_DFL);
    for (;;) {
        Arena arena = {0};
        StatusRows rows = gather(places, &arena);
        printf(is_terminal ? "\033[H\033[J" : "");
        show(&rows, format);
        (void)fflush(stdout);
        arena_done(&arena);
        (void)nanosleep(&(struct timespec){REDRAW_MS / 1000, 0}, NULL);
    }
}

static int status_run(Invocation *invocation)
{
    const StatusOptions *options = invocation->options;
    Places places = {0};
    Error err = {0};
    if (find_places(invocation, &places, &err) != STATUS_OK) {
        return report_error(&err);
    }
    if (options->watch) {
        show_for_ever(&places, (StatusFormat)options->format);
    }
    StatusRows rows = gather(&places, invocation->arena);
    show(&rows, (StatusFormat)options->format);
    return EXIT_DONE;
}

static const char *const examples[] = {
    "weir status",
    "weir status shop --watch",
    "weir status postgres://localhost/shop duckdb:shop.duckdb --format json",
    NULL,
};

const Command status_command = {
    .name = "status",
    .arguments = "[DIR|FILE | SOURCE SINK | PIPELINE]",
    .arguments_max = 2,
    .summary = "show what runs, and how far it is",
    .description =
        "Shows each route of the pipelines of a project (DIR, FILE, or weir.yml here), of the one "
        "between SOURCE and SINK, of PIPELINE by name, or of all that have their state in the "
        "directory for it: what each step lacks of the end of the server's WAL, in bytes, and how "
        "old the first thing is that it lacks; rates; what holds it up. One that does not run is "
        "shown as it was. Only who may read the state can ask.",
    .examples = examples,
    .options = status_options,
    .options_size = sizeof(StatusOptions),
    .run = status_run,
};
