// weir help, and --help everywhere: printed from the tables.
#include "cli/command.h"
#include "pipeline/sink.h"
#include "pipeline/source.h"

enum { WIDTH = 80, OPTION_COLUMN = 26 };

const ExitCodeText exit_code_texts[] = {
    {EXIT_DONE, "Done; also a stop that was asked for with SIGTERM, when --until was not given."},
    {EXIT_FAILED, "Failed, or stopped before --until was reached; verify: something differs."},
    {EXIT_USAGE, "Something must be changed first: the command, a setting, a permission."},
    {EXIT_INTERRUPTED, "Interrupted with Ctrl-C. What was delivered is kept, as always."},
    {EXIT_PIPE, "Nobody reads standard output any more."},
    {0},
};

// Words wrapped to the page, every line indented.
static void print_wrapped(const char *text, int indent, int first_column)
{
    int column = first_column;
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, " ");
        if (column > indent && column + 1 + (int)len > WIDTH) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (column < indent) {
            printf("%*s", indent - column, "");
            column = indent;
        } else if (at != text) {
            printf(" ");
            column++;
        }
        printf("%.*s", (int)len, at);
        column += (int)len;
        at += len;
        at += strspn(at, " ");
    }
    printf("\n");
}

const char *option_value_word(const Option *option)
{
    if (option->value_name != NULL) {
        return option->value_name;
    }
    switch (option->type) {
    case OPTION_TYPE_INT:
        return "N";
    case OPTION_TYPE_SIZE:
        return "SIZE";
    case OPTION_TYPE_MS:
        return "TIME";
    case OPTION_TYPE_CHOICE:
        return "WORD";
    case OPTION_TYPE_STRING:
    case OPTION_TYPE_LIST:
        return "TEXT";
    case OPTION_TYPE_BOOL:
    case OPTION_END:
        break;
    }
    return "";
}

const char *option_dashes(const Option *option)
{
    bool is_on = option->type == OPTION_TYPE_BOOL && option->fallback != NULL &&
                 strcmp(option->fallback, "true") == 0;
    return is_on ? "--no-" : "--";
}

static void print_option(const Option *option, bool is_typed)
{
    bool is_word = !is_typed && option->type == OPTION_TYPE_BOOL;
    const char *value = is_word ? "true|false" : option_value_word(option);
    int column = printf("  %s%s%s%s", is_typed ? option_dashes(option) : "", option->name,
                        value[0] == '\0' ? "" : " ", value);
    if (column >= OPTION_COLUMN) {
        printf("\n");
        column = 0;
    }
    CLEANUP(buf_done) Buf text;
    buf_init(&text, 4096);
    buf_cstr(&text, option->help);
    if (option->type == OPTION_TYPE_CHOICE) {
        buf_cstr(&text, " One of ");
        names_join(&text, option->choices);
        buf_char(&text, '.');
    }
    if (option->fallback != NULL && !(is_typed && option->type == OPTION_TYPE_BOOL)) {
        bool is_dot = strcmp(option->fallback, ".") == 0; // would look like the sentence's end
        buf_printf(&text, is_dot ? " Default: \"%s\"." : " Default: %s.", option->fallback);
    }
    print_wrapped(buf_cstring(&text), OPTION_COLUMN, column);
}

// @is_typed: with dashes, as on a command line, and not as parameters of a URL.
static void print_options(const Option *options, bool is_typed)
{
    for (const Option *option = options; option->type != OPTION_END; option++) {
        print_option(option, is_typed);
    }
}

void print_command_help(const Command *command)
{
    printf("weir %s — %s\n\nUsage: weir %s %s%s[OPTION]...\n\n", command->name, command->summary,
           command->name, command->arguments, command->arguments[0] == '\0' ? "" : " ");
    if (command->description != NULL) {
        print_wrapped(command->description, 0, 0);
        printf("\n");
    }
    printf("Options:\n");
    if (command->options != NULL) {
        print_options(command->options, true);
    }
    print_options(common_options, true);
    printf("  --help                  Show this page.\n");
    if (command->examples != NULL) {
        printf("\nExamples:\n");
        for (const char *const *example = command->examples; *example != NULL; example++) {
            printf("  %s\n", *example);
        }
    }
}

void print_overview(void)
{
    printf("weir — stream every change of a Postgres database to wherever it is needed\n\n"
           "Usage: weir COMMAND ...\n\nCommands:\n");
    for (const Command *const *command = commands; *command != NULL; command++) {
        if (!(*command)->is_hidden) {
            printf("  %-10s %s\n", (*command)->name, (*command)->summary);
        }
    }
    printf("\nTo begin with:\n"
           "  weir check  postgres://localhost/shop duckdb:shop.duckdb   changes nothing\n"
           "  weir stream postgres://localhost/shop duckdb:shop.duckdb   copies, then follows\n");
    printf("\nSources:\n");
    for (const SourceOps *const *source = source_registry; *source != NULL; source++) {
        printf("  %-10s %s\n", (*source)->name, (*source)->summary);
    }
    printf("\nSinks:\n");
    for (const SinkOps *const *sink = sink_registry; *sink != NULL; sink++) {
        printf("  %-10s %s\n", (*sink)->name, (*sink)->summary);
    }
    printf("\nExit codes:\n");
    for (const ExitCodeText *text = exit_code_texts; text->meaning != NULL; text++) {
        print_wrapped(text->meaning, 13, printf("  %-10d ", (int)text->code));
    }
    printf(
        "\n\"weir COMMAND --help\" explains a command, \"weir help NAME\" a source or a sink.\n");
}

// How its options are written where it is named.
static void print_url(const char *name, const Option *options)
{
    const Option *path = options;
    while (path->type != OPTION_END && !path->is_path) {
        path++;
    }
    bool is_secret = path->type != OPTION_END && path->secret;
    printf("Written as: %s:%s%s\n\nOptions:\n", name,
           path->type == OPTION_END ? "" : (is_secret ? "//USER@HOST/DATABASE" : "PATH"),
           options->type == OPTION_END ? "" : "?OPTION=VALUE&…");
    print_options(options, false);
    printf(options->type == OPTION_END ? "  none\n" : "");
}

static bool print_connector(Str name)
{
    const SourceOps *source = source_find(name);
    const SinkOps *sink = sink_find(name);
    if (source != NULL) {
        printf("source %s — %s\n\n", source->name, source->summary);
        print_url(source->name, source->options);
    }
    if (sink != NULL) {
        printf("%ssink %s — %s\n\nGuarantee: %s\n\n", source == NULL ? "" : "\n", sink->name,
               sink->summary, sink_guarantee_name(sink->guarantee));
        print_url(sink->name, sink->options);
    }
    return source != NULL || sink != NULL;
}

static bool suggest_page(Str name, Error *err)
{
    const char *names[128];
    size_t count = 0;
    const size_t most = ARRAY_LEN(names) - 1;
    for (size_t i = 0; commands[i] != NULL && count < most; i++) {
        names[count] = commands[i]->name;
        count += commands[i]->is_hidden ? 0 : 1;
    }
    for (size_t i = 0; source_registry[i] != NULL && count < most; i++) {
        names[count++] = source_registry[i]->name;
    }
    for (size_t i = 0; sink_registry[i] != NULL && count < most; i++) {
        names[count++] = sink_registry[i]->name;
    }
    names[count] = NULL;
    return suggest_nearest(name, names, "weir help ", err);
}

static int help_run(Invocation *invocation)
{
    if (invocation->arguments.count == 0) {
        print_overview();
        return EXIT_DONE;
    }
    Str name = invocation->arguments.items[0];
    const Command *command = command_find(name);
    if (command != NULL) {
        print_command_help(command);
        return EXIT_DONE;
    }
    if (print_connector(name)) {
        return EXIT_DONE;
    }
    Error err;
    if (may_be_connection(name)) {
        error_set(&err, ERROR_CONFIG, "a connection is no command, source or sink");
        error_hint(&err, "\"weir help\" lists them.");
        return report_error(&err);
    }
    error_set(&err, ERROR_CONFIG, "there is no command, source or sink \"%" STR_FMT "\"",
              STR_ARG(name));
    if (!suggest_page(name, &err)) {
        error_hint(&err, "\"weir help\" lists them.");
    }
    return report_error(&err);
}

const Command help_command = {
    .name = "help",
    .arguments = "[NAME]",
    .arguments_max = 1,
    .summary = "explain a command, a source or a sink",
    .run = help_run,
};
