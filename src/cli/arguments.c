#include "base/log.h"
#include "cli/command.h"

static const char *const format_choices[] = {"text", "json", NULL};
static const char *const level_choices[] = {"error", "warn", "info", "debug", NULL};

const Option common_options[] = {
    {"log-format", OPTION_CHOICE(CommonOptions, log_format, format_choices), .fallback = "text",
     .help = "Log lines as text or as JSON objects."},
    {"log-level", OPTION_CHOICE(CommonOptions, log_level, level_choices), .fallback = "info",
     .help = "How much to log."},
    {0},
};

typedef struct Parser {
    const Command *command;
    Arena *arena;
    Settings own;
    Settings common;
    StrList arguments;
    bool help;
    Error *err;
} Parser;

static const Option no_options[] = {{0}};

static const Option *own_options(const Command *command)
{
    return command->options == NULL ? no_options : command->options;
}

// Of several --table options one list is made.
static void add_setting(Settings *settings, const Option *option, Str value, Arena *arena)
{
    for (size_t i = 0; i < settings->count; i++) {
        Setting *setting = &settings->items[i];
        bool repeats = option->type == OPTION_TYPE_LIST && str_is(setting->key, option->name);
        if (repeats) {
            setting->list.items[setting->list.count++] = value;
            return;
        }
    }
    Setting *setting = &settings->items[settings->count++];
    *setting = (Setting){
        .key = str_from(option->name),
        .value = value,
        .origin = str_from(arena_printf(arena, "--%s", option->name)),
    };
    if (option->type == OPTION_TYPE_LIST) {
        // As many as there are words: each option takes one at least.
        setting->is_list = true;
        setting->list.items = ARENA_ARRAY(arena, Str, 4096);
        setting->list.items[setting->list.count++] = value;
    }
}

static Status unknown_option(const Parser *parser, Str word, Str name, Error *err)
{
    const char *names[128];
    size_t count = 0;
    const Option *tables[] = {own_options(parser->command), common_options};
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        for (const Option *o = tables[i]; o->type != OPTION_END && count < 126; o++) {
            names[count++] = o->name;
        }
    }
    names[count++] = "help";
    names[count] = NULL;
    // A connection in its place may have the "=" in its password: as a piece it would not be known.
    bool is_name = str_find(name, ':') < 0;
    error_set(err, ERROR_CONFIG, "unknown option \"--%" STR_FMT "\" of \"weir %s\"",
              STR_ARG(is_name ? name : word), parser->command->name);
    return suggest_nearest(name, names, "--", err)
               ? STATUS_FAIL
               : error_hint(err, "\"weir %s --help\" lists the options.", parser->command->name);
}

static const Option *find_option(Parser *parser, Str name, Settings **ret_settings)
{
    const Option *option = option_find(own_options(parser->command), name);
    *ret_settings = &parser->own;
    if (option == NULL) {
        option = option_find(common_options, name);
        *ret_settings = &parser->common;
    }
    return option;
}

// One long option; *taken: the next word was its value.
static Status parse_long(Parser *parser, Str word, const char *next, bool *taken)
{
    Str value = word;
    Str name;
    (void)str_split(&value, '=', &name);
    Settings *settings;
    const Option *option = find_option(parser, name, &settings);
    bool negated = false;
    if (option == NULL && str_starts_with(name, STR("no-"))) {
        option = find_option(parser, (Str){name.ptr + 3, name.len - 3}, &settings);
        negated = option != NULL && option->type == OPTION_TYPE_BOOL;
        option = negated ? option : NULL;
    }
    if (option == NULL) {
        return unknown_option(parser, word, name, parser->err);
    }
    if (option->type == OPTION_TYPE_BOOL && value.ptr == NULL) {
        add_setting(settings, option, negated ? STR("false") : STR("true"), parser->arena);
        return STATUS_OK;
    }
    if (negated) {
        return error_set(parser->err, ERROR_CONFIG, "option \"--%" STR_FMT "\" takes no value",
                         STR_ARG(name));
    }
    if (value.ptr == NULL) {
        if (next == NULL) {
            error_set(parser->err, ERROR_CONFIG, "option \"--%" STR_FMT "\" needs a value",
                      STR_ARG(name));
            return error_hint(parser->err, "Write it as --%s %s.", option->name,
                              option_value_word(option));
        }
        value = str_from(next);
        *taken = true;
    }
    add_setting(settings, option, value, parser->arena);
    return STATUS_OK;
}

static Status parse_word(Parser *parser, const char *word, const char *next, bool *taken)
{
    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        parser->help = true;
        return STATUS_OK;
    }
    if (strncmp(word, "--", 2) == 0 && word[2] != '\0') {
        return parse_long(parser, str_from(word + 2), next, taken);
    }
    if (word[0] == '-' && word[1] == 'j' &&
        option_find(own_options(parser->command), STR("jobs"))) {
        Str joined = word[2] == '\0' ? STR("jobs")
                                     : str_from(arena_printf(parser->arena, "jobs=%s", word + 2));
        return parse_long(parser, joined, next, taken);
    }
    if (word[0] == '-' && word[1] != '\0') {
        error_set(parser->err, ERROR_CONFIG, "unknown option \"%s\" of \"weir %s\"", word,
                  parser->command->name);
        return error_hint(parser->err, "\"weir %s --help\" lists the options.",
                          parser->command->name);
    }
    parser->arguments.items[parser->arguments.count++] = str_from(word);
    return STATUS_OK;
}

static Status check_count(const Parser *parser)
{
    const Command *command = parser->command;
    size_t count = parser->arguments.count;
    if (count >= command->arguments_min && count <= command->arguments_max) {
        return STATUS_OK;
    }
    error_set(parser->err, ERROR_CONFIG, "\"weir %s\" takes %s, and was given %zu argument%s",
              command->name, command->arguments[0] == '\0' ? "no arguments" : command->arguments,
              count, count == 1 ? "" : "s");
    if (command->examples != NULL) {
        return error_hint(parser->err, "\"weir %s --help\" explains them. For example: %s",
                          command->name, command->examples[0]);
    }
    return error_hint(parser->err, "\"weir %s --help\" explains them.", command->name);
}

Status arguments_parse(const Command *command, int count, char **words, Arena *arena,
                       Arguments *ret, Error *err)
{
    size_t most = (size_t)count + 1;
    Parser parser = {
        .command = command,
        .arena = arena,
        .own = {.items = ARENA_ARRAY(arena, Setting, most), .origin = STR("the command line")},
        .common = {.items = ARENA_ARRAY(arena, Setting, most), .origin = STR("the command line")},
        .arguments = {.items = ARENA_ARRAY(arena, Str, most)},
        .err = err,
    };
    if (count > 4096) {
        return error_set(err, ERROR_CONFIG, "more than 4096 words on the command line");
    }
    for (int i = 0; i < count; i++) {
        bool taken = false;
        const char *next = i + 1 < count ? words[i + 1] : NULL;
        if (strcmp(words[i], "--") == 0) {
            for (i++; i < count; i++) {
                parser.arguments.items[parser.arguments.count++] = str_from(words[i]);
            }
            break;
        }
        if (parse_word(&parser, words[i], next, &taken) != STATUS_OK) {
            return STATUS_FAIL;
        }
        i += taken ? 1 : 0;
    }
    *ret = (Arguments){
        .invocation = {.command = command,
                       .arguments = parser.arguments,
                       .arena = arena,
                       .options = arena_alloc_zero(arena, command->options_size + 1)},
        .help = parser.help,
    };
    if (parser.help) {
        return STATUS_OK;
    }
    if (options_apply(common_options, &ret->common, &parser.common, arena, err) != STATUS_OK ||
        options_apply(own_options(command), ret->invocation.options, &parser.own, arena, err) !=
            STATUS_OK) {
        return STATUS_FAIL;
    }
    return check_count(&parser);
}
