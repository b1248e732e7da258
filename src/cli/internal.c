// weir internal: pages and completions made from the tables. tools/gen_docs keeps their results in
// the repository and fails when they are not those of the program.
#include "buffers/disk.h"
#include "cli/command.h"
#include "cli/pipeline_options.h"
#include "model/hub.h"
#include "pipeline/sink.h"
#include "pipeline/source.h"

static const char *type_word(const Option *option)
{
    switch (option->type) {
    case OPTION_TYPE_STRING:
        return "text";
    case OPTION_TYPE_BOOL:
        return "true/false";
    case OPTION_TYPE_INT:
        return "number";
    case OPTION_TYPE_SIZE:
        return "size";
    case OPTION_TYPE_MS:
        return "duration";
    case OPTION_TYPE_LIST:
        return "list";
    case OPTION_TYPE_CHOICE:
    case OPTION_END:
        break;
    }
    return "";
}

// ---------------------------------------------------------------------------------------------
// docs/OPTIONS.md
// ---------------------------------------------------------------------------------------------

static void md_type(const Option *option)
{
    if (option->type != OPTION_TYPE_CHOICE) {
        printf("%s", type_word(option));
        return;
    }
    for (int i = 0; option->choices[i] != NULL; i++) {
        printf("%s`%s`", i == 0 ? "" : ", ", option->choices[i]);
    }
}

static void md_text(const char *text)
{
    for (; *text != '\0'; text++) {
        printf(*text == '|' ? "\\|" : "%c", *text);
    }
}

// @is_typed: with dashes, as on a command line, and not as parameters of a URL.
static void md_options(const Option *options, bool is_typed)
{
    if (options == NULL || options->type == OPTION_END) {
        printf("No options.\n");
        return;
    }
    printf("| Option | Value | Default | |\n|---|---|---|---|\n");
    for (const Option *option = options; option->type != OPTION_END; option++) {
        if (option->is_internal) {
            continue;
        }
        bool is_flag = is_typed && option->type == OPTION_TYPE_BOOL;
        bool has_default = option->fallback != NULL && !is_flag;
        printf("| `%s%s` | ", is_typed ? option_dashes(option) : "", option->name);
        if (!is_flag) {
            md_type(option);
        }
        printf(has_default ? " | `%s` | " : " | %.0s | ", has_default ? option->fallback : "");
        md_text(option->help);
        printf("%s%s |\n", option->required ? " Required." : "",
               option->secret ? " A secret: never shown." : "");
    }
}

static void print_options_md(void)
{
    printf(
        "# Options\n\nMade by `tools/gen_docs` from the tables of the program: change those.\n\n"
        "Options of sources and sinks are parameters of a URL (`duckdb:shop.duckdb?mode=history`) "
        "and keys in a project file.\n");
    for (const Command *const *command = commands; *command != NULL; command++) {
        if (!(*command)->is_hidden) {
            printf("\n## weir %s %s\n\n%s.\n\n", (*command)->name, (*command)->arguments,
                   (*command)->summary);
            md_options((*command)->options, true);
        }
    }
    printf("\n## Every command\n\n");
    md_options(common_options, true);
    printf("\n## Exit codes\n\n| Code | |\n|---|---|\n");
    for (const ExitCodeText *text = exit_code_texts; text->meaning != NULL; text++) {
        printf("| %d | %s |\n", (int)text->code, text->meaning);
    }
    for (const SourceOps *const *source = source_registry; *source != NULL; source++) {
        printf("\n## Source %s\n\n%s.\n\n", (*source)->name, (*source)->summary);
        md_options((*source)->options, false);
    }
    for (const SinkOps *const *sink = sink_registry; *sink != NULL; sink++) {
        printf("\n## Sink %s\n\n%s Guarantee: %s.\n\n", (*sink)->name, (*sink)->summary,
               sink_guarantee_name((*sink)->guarantee));
        md_options((*sink)->options, false);
    }
    printf("\n## Buffer disk\n\nKeys of `buffer: { type: disk, … }` of a pipeline in a project "
           "file.\n\n");
    md_options(disk_sink.options, false);
    printf("\n## Guards\n\nKeys of a pipeline in a project file, beside `from` and `to`.\n\n");
    md_options(guard_options, false);
    for (const SystemKind *kind = system_kinds; kind->name != NULL; kind++) {
        printf("\n## System %s\n\n%s in a hub.\n\n", kind->name, kind->summary);
        md_options(kind->options, false);
    }
}

// ---------------------------------------------------------------------------------------------
// weir.1
// ---------------------------------------------------------------------------------------------

// In roff a line must not begin with a dot or a quote, and a dash is written \-.
static void roff_text(const char *text)
{
    if (*text == '.' || *text == '\'') {
        printf("\\&");
    }
    for (; *text != '\0'; text++) {
        printf(*text == '-' ? "\\-" : (*text == '\\' ? "\\e" : "%c"), *text);
    }
}

static void roff_options(const Option *options, bool is_typed)
{
    for (const Option *option = options; option != NULL && option->type != OPTION_END; option++) {
        printf(".TP\n.B ");
        roff_text(is_typed ? option_dashes(option) : "");
        roff_text(option->name);
        const char *value = option_value_word(option);
        printf("%s", value[0] == '\0' ? "" : " ");
        roff_text(value);
        printf("\n");
        roff_text(option->help);
        if (option->fallback != NULL && !(is_typed && option->type == OPTION_TYPE_BOOL)) {
            printf(" Default: ");
            roff_text(option->fallback);
            printf(".");
        }
        printf("\n");
    }
}

static void print_man(void)
{
    printf(".TH WEIR 1 \"\" \"weir %s\"\n.SH NAME\nweir \\- stream every change of a Postgres "
           "database "
           "to wherever it is needed\n.SH SYNOPSIS\n.B weir\n.I COMMAND\n[\\fIOPTION\\fR]...\n"
           ".SH COMMANDS\n",
           WEIR_VERSION);
    for (const Command *const *command = commands; *command != NULL; command++) {
        if ((*command)->is_hidden) {
            continue;
        }
        printf(".SS weir %s %s\n", (*command)->name, (*command)->arguments);
        roff_text((*command)->description != NULL ? (*command)->description : (*command)->summary);
        printf("\n");
        roff_options((*command)->options, true);
    }
    printf(".SH OPTIONS OF EVERY COMMAND\n");
    roff_options(common_options, true);
    for (const SourceOps *const *source = source_registry; *source != NULL; source++) {
        printf(".SH SOURCE %s\n", (*source)->name);
        roff_options((*source)->options, false);
    }
    for (const SinkOps *const *sink = sink_registry; *sink != NULL; sink++) {
        printf(".SH SINK %s\nGuarantee: %s.\n", (*sink)->name,
               sink_guarantee_name((*sink)->guarantee));
        roff_options((*sink)->options, false);
    }
    printf(".SH EXIT STATUS\n");
    for (const ExitCodeText *text = exit_code_texts; text->meaning != NULL; text++) {
        printf(".TP\n%d\n", (int)text->code);
        roff_text(text->meaning);
        printf("\n");
    }
}

// ---------------------------------------------------------------------------------------------
// Completions
// ---------------------------------------------------------------------------------------------

static void bash_words(const Command *command)
{
    if (command->options != NULL) {
        for (const Option *o = command->options; o->type != OPTION_END; o++) {
            printf("%s%s ", option_dashes(o), o->name);
        }
    }
    for (const Option *o = common_options; o->type != OPTION_END; o++) {
        printf("%s%s ", option_dashes(o), o->name);
    }
    printf("--help");
}

static void choice_words(const Option *option)
{
    for (int i = 0; option->choices[i] != NULL; i++) {
        printf("%s%s", i == 0 ? "" : " ", option->choices[i]);
    }
}

// The words that may follow an option.
static void bash_values(const char *pattern, const Option *options)
{
    for (const Option *o = options; o != NULL && o->type != OPTION_END; o++) {
        if (o->type == OPTION_TYPE_CHOICE) {
            printf("        %s --%s') words='", pattern, o->name);
            choice_words(o);
            printf("' ;;\n");
        }
    }
}

static void print_bash(void)
{
    printf("# bash completion for weir\n_weir() {\n    local word=${COMP_WORDS[COMP_CWORD]}\n"
           "    local before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words=''\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='");
    for (const Command *const *command = commands; *command != NULL; command++) {
        printf((*command)->is_hidden ? "%.0s" : "%s ", (*command)->name);
    }
    printf("--help --version'\n    else\n        case \"$command $before\" in\n"
           "        'slots slots') words='list drop' ;;\n");
    bash_values("*'", common_options);
    for (const Command *const *command = commands; *command != NULL; command++) {
        if (!(*command)->is_hidden) {
            char pattern[64];
            (void)snprintf(pattern, sizeof(pattern), "'%s", (*command)->name);
            bash_values(pattern, (*command)->options);
            printf("        '%s '*) words='", (*command)->name);
            bash_words(*command);
            printf("' ;;\n");
        }
    }
    printf("        esac\n    fi\n"
           "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n}\n"
           "complete -o default -F _weir weir\n");
}

static void zsh_text(const char *text)
{
    for (; *text != '\0'; text++) {
        bool special = strchr("'[]:", *text) != NULL;
        printf(special ? " " : "%c", *text);
    }
}

static void zsh_options(const Option *options)
{
    for (const Option *o = options; o != NULL && o->type != OPTION_END; o++) {
        printf(" \\\n        '%s%s%s[", o->type == OPTION_TYPE_LIST ? "*" : "", option_dashes(o),
               o->name);
        zsh_text(o->help);
        printf("]");
        if (o->type == OPTION_TYPE_CHOICE) {
            printf(":value:(");
            choice_words(o);
            printf(")");
        } else if (o->type != OPTION_TYPE_BOOL) {
            printf(":value:");
        }
        printf("'");
    }
}

static void print_zsh(void)
{
    printf("#compdef weir\n_weir() {\n    if (( CURRENT == 2 )); then\n        local -a words=(\n");
    for (const Command *const *command = commands; *command != NULL; command++) {
        if (!(*command)->is_hidden) {
            printf("            '%s:", (*command)->name);
            zsh_text((*command)->summary);
            printf("'\n");
        }
    }
    printf("        )\n        _describe command words\n        return\n    fi\n    case $words[2] "
           "in\n");
    for (const Command *const *command = commands; *command != NULL; command++) {
        if (!(*command)->is_hidden) {
            printf("    %s) _arguments '*:argument:_files'", (*command)->name);
            zsh_options((*command)->options);
            zsh_options(common_options);
            printf(" ;;\n");
        }
    }
    printf("    esac\n}\n_weir \"$@\"\n");
}

static void fish_text(const char *text)
{
    for (; *text != '\0'; text++) {
        printf(*text == '\'' || *text == '\\' ? "\\%c" : "%c", *text);
    }
}

static void fish_options(const char *condition, const char *name, const Option *options)
{
    for (const Option *o = options; o != NULL && o->type != OPTION_END; o++) {
        printf("complete -c weir -n '%s%s%s' -l %s%s -d '", condition, name[0] == '\0' ? "" : " ",
               name, option_dashes(o) + 2, o->name);
        fish_text(o->help);
        printf("'");
        if (o->type == OPTION_TYPE_CHOICE) {
            printf(" -x -a '");
            choice_words(o);
            printf("'");
        } else if (o->type != OPTION_TYPE_BOOL) {
            printf(" -r");
        }
        printf("\n");
    }
}

static void print_fish(void)
{
    printf("# fish completion for weir\n");
    for (const Command *const *command = commands; *command != NULL; command++) {
        if (!(*command)->is_hidden) {
            printf("complete -c weir -n __fish_use_subcommand -f -a %s -d '", (*command)->name);
            fish_text((*command)->summary);
            printf("'\n");
            fish_options("__fish_seen_subcommand_from", (*command)->name, (*command)->options);
        }
    }
    fish_options("not __fish_use_subcommand", "", common_options);
}

static int internal_run(Invocation *invocation)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } pages[] = {
        {"options-md", print_options_md}, {"man", print_man},
        {"completion-bash", print_bash},  {"completion-zsh", print_zsh},
        {"completion-fish", print_fish},
    };
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (str_is(invocation->arguments.items[0], pages[i].name)) {
            pages[i].print();
            return EXIT_DONE;
        }
    }
    Error err;
    error_set(&err, ERROR_CONFIG, "there is no page \"%" STR_FMT "\"",
              STR_ARG(invocation->arguments.items[0]));
    return report_error(&err);
}

const Command internal_command = {
    .name = "internal",
    .arguments = "PAGE",
    .arguments_min = 1,
    .arguments_max = 1,
    .summary = "print a page made from the tables",
    .run = internal_run,
    .is_hidden = true,
};
