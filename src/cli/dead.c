// weir dead: changes that a target refused, and what becomes of them.
#include "base/clock.h"
#include "base/limits.h"
#include "cli/command.h"
#include "cli/pipeline_options.h"
#include "cli/state_directories.h"
#include "cli/table.h"
#include "codec/codec.h"
#include "io/file.h"
#include "pipeline/dead_letter.h"
#include "pipeline/dead_store.h"

typedef struct DeadOptions {
    Str state;
    bool all;
} DeadOptions;

static const Option dead_options[] = {
    {"all", OPTION_BOOL(DeadOptions, all), .fallback = "false",
     .help = "For retry and drop: every letter, and not those of the given numbers."},
    {"state", OPTION_STRING(DeadOptions, state), .value_name = "DIR",
     .help = "Directory for the state, as for weir stream and weir run."},
    {0},
};

// ---------------------------------------------------------------------------------------------
// Stores
// ---------------------------------------------------------------------------------------------

static const char *store_path(const StateDirectories *stores, size_t index, Arena *arena)
{
    return arena_printf(arena, "%s/%" STR_FMT, stores->root, STR_ARG(stores->names[index]));
}

// The state directories that have letters. @pipeline: its name, or that of one of its routes;
// empty: all.
static Status find_stores(Str state, Str pipeline, Arena *arena, StateDirectories *ret, Error *err)
{
    if (state_directories(state, pipeline, arena, ret, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!ret->is_there) {
        error_set(err, ERROR_CONFIG, "there is no state directory \"%s\"", ret->root);
        return error_hint(err,
                          "Give the directory that the pipeline was started with: --state DIR.");
    }
    if (pipeline.len > 0 && ret->count == 0) {
        error_set(err, ERROR_CONFIG, "there is no pipeline \"%" STR_FMT "\" in \"%s\"",
                  STR_ARG(pipeline), ret->root);
        return error_hint(err, "weir dead list shows those that have letters; weir run keeps the "
                               "state where weir.yml says, and so does --state DIR.");
    }
    size_t kept = 0;
    for (size_t i = 0; i < ret->count; i++) {
        if (dead_store_is_there(store_path(ret, i, arena))) {
            ret->names[kept++] = ret->names[i];
        }
    }
    ret->count = kept;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// list
// ---------------------------------------------------------------------------------------------

static const char *state_name(const DeadLetter *letter)
{
    if (!letter->is_refused) {
        return "waits";
    }
    return letter->wants_retry ? "to retry" : "refused";
}

static Str time_text(int64_t unix_us, Arena *arena)
{
    char text[CLOCK_TEXT_SIZE];
    if (unix_us == 0) {
        return STR("-");
    }
    clock_format_us(unix_us, text);
    Str whole = str_from(text);
    ptrdiff_t dot = str_find(whole, '.');
    return str_from(
        arena_printf(arena, "%.*sZ", (int)(dot < 0 ? (ptrdiff_t)whole.len - 1 : dot), text));
}

static Str position_text(Position position, Arena *arena)
{
    char text[POSITION_TEXT_SIZE];
    position_format(position, text);
    return str_copy(arena, str_from(text));
}

// All of it, since what is wrong often comes last; on one line, and nothing in it that a terminal
// would obey.
static Str reason_text(Str reason, Arena *arena)
{
    char *text = arena_alloc_bytes(arena, reason.len + 1);
    for (size_t i = 0; i < reason.len; i++) {
        unsigned char c = (unsigned char)reason.ptr[i];
        text[i] = c < ' ' || c == 0x7f ? ' ' : reason.ptr[i];
    }
    return (Str){text, reason.len};
}

// Most are of tables, which say so by their schema.
static Str title_text(const DeadLetter *letter, Arena *arena)
{
    Str title = relation_title(letter->schema, letter->name, arena);
    const RelationWords *words = relation_words(letter->oid, letter->schema);
    return letter->schema.len > 0
               ? title
               : str_from(arena_printf(arena, "%s %" STR_FMT, words->kind, STR_ARG(title)));
}

static void add_rows(TextTable *table, Str name, const DeadLetters *letters, Arena *arena)
{
    for (size_t i = 0; i < letters->count; i++) {
        const DeadLetter *letter = &letters->items[i];
        const Str cells[] = {
            name,
            str_from(arena_printf(arena, "%lld", (long long)letter->id)),
            title_text(letter, arena),
            str_from(change_op_name(letter->op)),
            position_text(dead_shown(letter), arena),
            time_text(letter->kept_us, arena),
            str_from(state_name(letter)),
            reason_text(letter->error, arena),
        };
        text_table_row(table, cells, ARRAY_LEN(cells));
    }
}

static Status list(const StateDirectories *stores, Arena *arena, Error *err)
{
    TextTable table = {.right = {[1] = true}};
    const Str heading[] = {STR("PIPELINE"), STR("ID"),    STR("TABLE"), STR("CHANGE"),
                           STR("POSITION"), STR("SINCE"), STR("STATE"), STR("REASON")};
    text_table_row(&table, heading, ARRAY_LEN(heading));
    Status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < stores->count; i++) {
        DeadStore *store = NULL;
        DeadLetters letters;
        status = dead_store_open(store_path(stores, i, arena), false, &store, err);
        if (status == STATUS_OK && store != NULL) {
            status = dead_store_list(store, arena, &letters, err);
        }
        if (status == STATUS_OK && store != NULL) {
            add_rows(&table, stores->names[i], &letters, arena);
        }
        dead_store_close(store);
    }
    if (status == STATUS_OK && table.row_count > 1) {
        text_table_print(&table, 0);
    } else if (status == STATUS_OK) {
        printf("no dead letters\n");
    }
    text_table_done(&table);
    return status;
}

// ---------------------------------------------------------------------------------------------
// show
// ---------------------------------------------------------------------------------------------

static Status print_change(const DeadLetter *letter, Arena *arena, Error *err)
{
    CLEANUP(buf_done) Buf line;
    buf_init(&line, LIMIT_TEXT_BYTES);
    Unpacker unpacker = {0};
    Batch *batch = batch_new();
    CodecOptions options = {0};
    Encoder encoder = {0};
    encoder_init(&encoder, &options, arena);
    Status status = dead_unpack(letter->record, &unpacker, batch, err);
    if (status == STATUS_OK) {
        status = encoder_encode(&encoder, &batch->changes[0], &line, err);
    }
    if (status == STATUS_OK) {
        printf("%" STR_FMT, STR_ARG(buf_view(&line)));
    }
    encoder_done(&encoder);
    batch_unref(batch);
    unpacker_done(&unpacker);
    return status;
}

static Status show_letter(const DeadLetter *letter, Arena *arena, Error *err)
{
    printf("letter %lld: %s in %s %" STR_FMT ", %s\n", (long long)letter->id,
           change_op_name(letter->op), relation_words(letter->oid, letter->schema)->kind,
           STR_ARG(relation_title(letter->schema, letter->name, arena)), state_name(letter));
    printf("  position   %" STR_FMT "\n", STR_ARG(position_text(dead_shown(letter), arena)));
    printf("  committed  %" STR_FMT "\n", STR_ARG(time_text(letter->happened_us, arena)));
    printf("  set aside  %" STR_FMT "\n", STR_ARG(time_text(letter->kept_us, arena)));
    if (letter->tries > 0) {
        printf("  tried      %lld times, last %" STR_FMT "\n", (long long)letter->tries,
               STR_ARG(time_text(letter->tried_us, arena)));
        printf("  reason     %" STR_FMT "\n", STR_ARG(letter->error));
    } else {
        printf("  reason     an earlier change of this row is set aside\n");
    }
    printf("  change     ");
    return print_change(letter, arena, err);
}

static Status no_such_letter(int64_t id, Error *err)
{
    error_set(err, ERROR_CONFIG, "there is no dead letter %lld", (long long)id);
    return error_hint(err, "weir dead list shows which there are.");
}

static Status show(DeadStore *store, int64_t id, Arena *arena, Error *err)
{
    DeadLetter letter;
    bool is_there;
    if (dead_store_get(store, id, arena, &letter, &is_there, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return is_there ? show_letter(&letter, arena, err) : no_such_letter(id, err);
}

// ---------------------------------------------------------------------------------------------
// retry, drop
// ---------------------------------------------------------------------------------------------

static Status retry(DeadStore *store, int64_t id, Arena *arena, Error *err)
{
    DeadLetter letter;
    bool is_there;
    if (dead_store_get(store, id, arena, &letter, &is_there, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!is_there) {
        return no_such_letter(id, err);
    }
    if (!letter.is_refused) {
        error_set(err, ERROR_CONFIG, "dead letter %lld waits behind an earlier one of its row",
                  (long long)id);
        return error_hint(err, "Retry or drop that one: those behind it follow by themselves.");
    }
    return dead_store_retry(store, id, &is_there, err);
}

static Status drop(DeadStore *store, int64_t id, Arena *arena, Error *err)
{
    (void)arena;
    bool is_there;
    if (dead_store_remove(store, id, &is_there, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return is_there ? STATUS_OK : no_such_letter(id, err);
}

// ---------------------------------------------------------------------------------------------
// Actions
// ---------------------------------------------------------------------------------------------

typedef struct Action {
    const char *name;
    Status (*run)(DeadStore *store, int64_t id, Arena *arena, Error *err); // on one letter
    bool writes;
    const char *done; // behind the number of letters
} Action;

static const Action actions[] = {
    {"show", show, false, NULL},
    {"retry", retry, true,
     "to be tried again: at once if the pipeline runs, otherwise with its next start"},
    {"drop", drop, true, "dropped for good"},
};

static Status run_on_all(const Action *action, DeadStore *store, int64_t *ret_count, Arena *arena,
                         Error *err)
{
    DeadLetters letters;
    if (dead_store_list(store, arena, &letters, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < letters.count; i++) {
        bool is_meant = action->run != retry || letters.items[i].is_refused;
        if (is_meant && action->run(store, letters.items[i].id, arena, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        *ret_count += is_meant ? 1 : 0;
    }
    return STATUS_OK;
}

static Status run_on_some(const Action *action, DeadStore *store, const StrList *arguments,
                          Arena *arena, Error *err)
{
    for (size_t i = 2; i < arguments->count; i++) {
        int64_t id;
        if (!str_to_int64(arguments->items[i], &id)) {
            error_set(err, ERROR_CONFIG, "\"%" STR_FMT "\" is not the number of a letter",
                      STR_ARG(arguments->items[i]));
            return error_hint(err, "weir dead list shows them.");
        }
        if (action->run(store, id, arena, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status one_store(const StateDirectories *stores, Str pipeline, Error *err)
{
    if (stores->count == 1) {
        return STATUS_OK;
    }
    if (stores->count == 0) {
        return error_set(err, ERROR_CONFIG, "the pipeline \"%" STR_FMT "\" has no dead letters",
                         STR_ARG(pipeline));
    }
    error_set(err, ERROR_CONFIG, "%zu routes of \"%" STR_FMT "\" have dead letters", stores->count,
              STR_ARG(pipeline));
    return error_hint(err, "Say which, as weir dead list names it: %" STR_FMT,
                      STR_ARG(stores->names[0]));
}

static Status run_action(const Action *action, const Invocation *invocation, Error *err)
{
    const StrList *arguments = &invocation->arguments;
    const DeadOptions *options = invocation->options;
    Arena *arena = invocation->arena;
    Str pipeline = arguments->items[1];
    int64_t count = (int64_t)arguments->count - 2;
    StateDirectories stores;
    DeadStore *store = NULL;
    if (find_stores(options->state, pipeline, arena, &stores, err) != STATUS_OK ||
        one_store(&stores, pipeline, err) != STATUS_OK ||
        dead_store_open(store_path(&stores, 0, arena), false, &store, err) != STATUS_OK ||
        store == NULL) {
        return STATUS_FAIL;
    }
    Status status = options->all ? run_on_all(action, store, &count, arena, err)
                                 : run_on_some(action, store, arguments, arena, err);
    if (status == STATUS_OK) {
        status = dead_store_save(store, err);
    }
    dead_store_close(store);
    if (status == STATUS_OK && action->writes) {
        printf("%lld letter%s %s\n", (long long)count, count == 1 ? "" : "s", action->done);
    }
    return status;
}

// ---------------------------------------------------------------------------------------------
// reset
// ---------------------------------------------------------------------------------------------

// Of one route. One that is not there is made: the whole state directory may be lost.
static Status find_directory(Str state, Str pipeline, Arena *arena, const char **ret, Error *err)
{
    StateDirectories found;
    if (pipeline_check_name(pipeline, err) != STATUS_OK ||
        state_directories(state, pipeline, arena, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_one = found.count == 0;
    for (size_t i = 0; i < found.count; i++) {
        is_one = is_one || str_equal(found.names[i], pipeline);
    }
    if (!is_one) {
        error_set(err, ERROR_CONFIG,
                  "\"%" STR_FMT "\" has routes, of which each has its own letters",
                  STR_ARG(pipeline));
        return error_hint(err, "Say which, as the error of the start names it: %" STR_FMT,
                          STR_ARG(found.names[0]));
    }
    *ret = arena_printf(arena, "%s/%" STR_FMT, found.root, STR_ARG(pipeline));
    return file_make_directory(*ret, err);
}

static Status reset_store(const char *directory, int64_t *ret_letters, Error *err)
{
    DeadStore *store;
    if (dead_store_open(directory, true, &store, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status = dead_store_reset(store, ret_letters, err);
    if (status == STATUS_OK) {
        status = dead_store_save(store, err);
    }
    dead_store_close(store);
    return status;
}

static Status reset(const Invocation *invocation, Error *err)
{
    const StrList *arguments = &invocation->arguments;
    const DeadOptions *options = invocation->options;
    const char *directory;
    int64_t letters;
    if (arguments->count != 2 || options->all) {
        error_set(err, ERROR_CONFIG, "\"weir dead reset\" takes the name of one pipeline");
        return error_hint(err, "For example: weir dead reset shop");
    }
    if (find_directory(options->state, arguments->items[1], invocation->arena, &directory, err) !=
            STATUS_OK ||
        reset_store(directory, &letters, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    printf("a new store in \"%s/dead.db\", %lld letter%s thrown away: the next start goes on with "
           "it\n",
           directory, (long long)letters, letters == 1 ? "" : "s");
    return STATUS_OK;
}

static const char *const examples[] = {
    "weir dead list",
    "weir dead show shop 17",
    "weir dead retry shop --all",
    NULL,
};

static Status unknown_action(Str word, Error *err)
{
    static const char *const names[] = {"list", "show", "retry", "drop", "reset", NULL};
    error_set(err, ERROR_CONFIG, "\"weir dead\" has no \"%" STR_FMT "\"", STR_ARG(word));
    return suggest_nearest(word, names, "weir dead ", err)
               ? STATUS_FAIL
               : error_hint(err, "For example: %s", examples[0]);
}

static Status list_arguments(const Invocation *invocation, Error *err)
{
    const StrList *arguments = &invocation->arguments;
    const DeadOptions *options = invocation->options;
    StateDirectories stores;
    if (arguments->count > 2 || options->all) {
        error_set(err, ERROR_CONFIG, "\"weir dead list\" takes the name of a pipeline, or nothing");
        return error_hint(err, "For example: %s", examples[0]);
    }
    Str pipeline = arguments->count == 2 ? arguments->items[1] : (Str){"", 0};
    return find_stores(options->state, pipeline, invocation->arena, &stores, err) == STATUS_OK
               ? list(&stores, invocation->arena, err)
               : STATUS_FAIL;
}

static Status action_arguments(const Action *action, const Invocation *invocation, Error *err)
{
    const StrList *arguments = &invocation->arguments;
    const DeadOptions *options = invocation->options;
    bool may_be_all = action->writes && options->all;
    if (arguments->count >= 2 && (arguments->count > 2) != options->all &&
        (may_be_all || !options->all)) {
        return run_action(action, invocation, err);
    }
    error_set(err, ERROR_CONFIG, "\"weir dead %s\" takes PIPELINE and %s", action->name,
              action->writes ? "either numbers of letters or --all" : "numbers of letters");
    return error_hint(err, "For example: weir dead %s shop 17", action->name);
}

static int dead_run(Invocation *invocation)
{
    Str word = invocation->arguments.items[0];
    Error err = {0};
    if (str_is(word, "list")) {
        return list_arguments(invocation, &err) == STATUS_OK ? EXIT_DONE : report_error(&err);
    }
    if (str_is(word, "reset")) {
        return reset(invocation, &err) == STATUS_OK ? EXIT_DONE : report_error(&err);
    }
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (str_is(word, actions[i].name)) {
            return action_arguments(&actions[i], invocation, &err) == STATUS_OK
                       ? EXIT_DONE
                       : report_error(&err);
        }
    }
    (void)unknown_action(word, &err);
    return report_error(&err);
}

const Command dead_command = {
    .name = "dead",
    .arguments =
        "list [PIPELINE] | show PIPELINE ID... | retry PIPELINE ID... | drop PIPELINE ID... | "
        "reset PIPELINE",
    .arguments_min = 1,
    .arguments_max = 1000,
    .summary = "see, retry and drop changes that a target refused",
    .description =
        "With --on-error dead-letter (on_error: dead-letter in weir.yml), a change that the target "
        "refuses is set aside with the reason, and so are later changes of the same row behind it, "
        "in their order; everything else goes on. retry has them tried again: at once when the "
        "pipeline runs, otherwise with its next start. drop throws a change away for good; what "
        "waited behind it is tried then. A start is refused when the letters are lost, or are not "
        "those that the target was written with; reset goes on without them, for good: weir verify "
        "--repair then makes the rows right. PIPELINE is the name that the pipeline logs, or one "
        "of its routes (shop.lake).",
    .examples = examples,
    .options = dead_options,
    .options_size = sizeof(DeadOptions),
    .run = dead_run,
};
